"""Pictures as parts of an HTML page: SVGs that do not clash with each other, PNGs as data."""

import base64
import re
import struct
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree

from dslite.errors import InputError

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
LEFT_OUT = ("metadata", "script", "title", "desc")  # a picture is described by its alt text
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture with what is said of it; exactly one of ``svg`` and ``png`` is given.

    Attributes
    ----------
    stem : str
        Name of its file without the suffix, unique on a page.
    title, caption : str
    alt : str
        What it shows, for a reader who does not see it.
    svg : str
        An SVG file's text.
    png : bytes
        A PNG file's content.
    """

    stem: str
    title: str
    caption: str
    alt: str
    svg: str = ""
    png: bytes = b""

    def __post_init__(self):
        if bool(self.svg) == bool(self.png):
            raise InputError(f"{self.stem}: a picture is either an SVG or a PNG; give one of both")
        if not self.alt.strip():
            raise InputError(f"{self.stem}: a picture without an alt text; say what it shows")


def slug(value: object) -> str:
    """A text as the value of an ``id``: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")


def markup(picture: Picture) -> str:
    """The picture as one HTML element that needs no other file and names its alt text.

    Raises
    ------
    InputError
        The SVG or PNG is damaged, or the SVG needs another file.
    """
    return _svg(picture) if picture.svg else _png(picture)


def _png(picture: Picture) -> str:
    if picture.png[:8] != SIGNATURE or len(picture.png) < 24:
        raise InputError(f"{picture.stem}: is not a PNG; draw it again")
    # Bytes 16 to 23 of a PNG are width and height (RFC 2083, 4.1.1); with them nothing jumps when
    # it is loaded.
    width, height = struct.unpack(">II", picture.png[16:24])
    data = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<img alt="{escape(picture.alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}">'
    )


def _svg(picture: Picture) -> str:
    try:
        root = ElementTree.fromstring(picture.svg)
    except ElementTree.ParseError as error:
        raise InputError(f"{picture.stem}: is not an SVG ({error}); draw it again") from None
    if root.tag != f"{{{SVG}}}svg":
        raise InputError(f"{picture.stem}: is not an SVG (<{root.tag}>); draw it again")
    prefix = f"{slug(picture.stem)}-"
    _keep_drawing(root)
    for element in root.iter():
        _make_own(element, prefix, picture.stem)
    root.attrib |= {"id": f"{prefix}svg", "role": "img", "aria-label": picture.alt}
    return ElementTree.tostring(root, encoding="unicode")


def _keep_drawing(root: ElementTree.Element) -> None:
    """Remove what is no drawing, at every depth."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.split("}")[-1] in LEFT_OUT:
                parent.remove(child)


def _make_own(element: ElementTree.Element, prefix: str, stem: str) -> None:
    """Put the prefix before every id and wherever one is used; matplotlib's repeat themselves.

    In HTML an ``<svg>`` needs no namespace, and SVG 2 has a plain ``href`` for ``xlink:href``.
    """
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        name = "href" if name == f"{{{XLINK}}}href" else name
        if name.startswith(("{", "on")):
            continue
        if name == "id":
            value = prefix + value
        elif name == "href":
            if not value.startswith(("#", "data:")):
                raise InputError(f"{stem}: the SVG needs another file ({value}); draw it without")
            value = re.sub("^#", f"#{prefix}", value)
        element.attrib[name] = re.sub(r"url\(#", f"url(#{prefix}", value)
    element.tag = element.tag.split("}")[-1]
    if element.tag == "style" and element.text:
        # A style sheet in an inline SVG holds for the whole page unless it names the picture.
        rules = re.findall(r"([^{}]+)\{([^{}]*)\}", element.text)
        own = [
            f"{', '.join(f'#{prefix}svg {one.strip()}' for one in names.split(','))} {{{said}}}"
            for names, said in rules
        ]
        element.text = "\n".join(own).replace("url(#", f"url(#{prefix}")

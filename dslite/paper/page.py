"""The paper's page, every published number: verdict, value, interval, provenance, and filters."""

import base64
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.paper import verdicts
from dslite.paper.published import NAMES
from dslite.training.runs import LABELS

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


SYMBOLS = {  # beside the words: a verdict is never told by its colour alone
    verdicts.REPRODUCED: ("✓", "good"),
    verdicts.OVERLAPPING: ("≈", "near"),
    verdicts.CONTRADICTED: ("✗", "bad"),
    verdicts.ITSELF: ("≠", "odd"),
    verdicts.RESTRICTED: ("⊘", "none"),
    verdicts.WEIGHTS: ("∅", "none"),
    verdicts.HARDWARE: ("◇", "none"),
    verdicts.SETTING: ("·", "none"),
}
MEANINGS = {
    verdicts.REPRODUCED: "The published value lies in our 95 % interval and ours in the published "
    "one; a count or a size is equal to the printed digit. Where no interval is published, the "
    "published value lies in ours.",
    verdicts.OVERLAPPING: "The two 95 % intervals have something in common, but at least one value "
    "lies outside of the other's interval.",
    verdicts.CONTRADICTED: "The intervals have nothing in common, or a count or size differs.",
    verdicts.ITSELF: "The number cannot be right beside another one that the paper prints, so "
    "there is nothing to be reproduced. The contradictions are listed below.",
    verdicts.HARDWARE: "A time or a memory of the authors' computer or phone, which are not here.",
    verdicts.WEIGHTS: "The paper's backbone needs ImageNet weights that were not at hand.",
    verdicts.RESTRICTED: "The corpus is handed out under an agreement and was not at hand.",
    verdicts.NOT_RUN: "Could be run here and was not.",
    verdicts.SETTING: "Chosen by the authors and taken over: there is nothing to be reproduced.",
}
OUTCOMES = {  # of a claim
    "holds": ("✓", "good"),
    "does not hold": ("✗", "bad"),
    "a setting, not a result": ("·", "none"),
}
OTHER = ("○", "none")


def words(value: object) -> str:
    """A value as escaped text; None and NaN are empty."""
    return (
        "" if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else _text(value)
    )


def _text(value: object) -> str:
    return escape(str(value))


def corpus(dataset: str) -> str:
    """A corpus as the paper writes it."""
    return NAMES.get(dataset, dataset.upper())


def badge(said: str) -> str:
    """A verdict, or the outcome of a claim, as a symbol and its words."""
    symbol, kind = SYMBOLS.get(said, OUTCOMES.get(said, OTHER))
    return f'<span class="badge {kind}"><i aria-hidden="true">{symbol}</i> {words(said)}</span>'


def region(label: str, content: str) -> str:
    """What may be wider than the page: it scrolls by itself, also by the keyboard."""
    named = f'role="region" tabindex="0" aria-label="{words(label)}"'
    return f'<div class="region" {named}>{content}</div>'


def section(anchor: str, title: str, *content: str) -> str:
    """A part of the page that the contents lead to."""
    head = f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
    return (
        f'{head}\n<h2 id="{anchor}-title">{words(title)}</h2>\n' + "\n".join(content) + "</section>"
    )


def pairs(given: Mapping[str, str], kind: str = "") -> str:
    """Terms and what is said of them, HTML already; those with nothing are left out."""
    held = "".join(f"<dt>{words(k)}</dt><dd>{v}</dd>" for k, v in given.items() if v)
    if not held:
        return ""
    return f'<dl class="{kind}">{held}</dl>' if kind else f"<dl>{held}</dl>"


def row(cells: Iterable[str], head: bool = False) -> str:
    """A row of plain cells, HTML already; the first one names the row, or all name columns."""
    first, *others = cells
    if head:
        return "<tr>" + "".join(f'<th scope="col">{c}</th>' for c in [first, *others]) + "</tr>"
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{c}</td>" for c in others) + "</tr>"


def command(line: object) -> str:
    """A line for the shell; the page's script puts a button beside it."""
    said = words(line)
    return f'<span class="command"><code>{said}</code></span>' if said else ""


def duration(seconds: float) -> str:
    """Seconds as a reader says them: ``2 h 13 min``, ``4 min 5 s``, ``12 s``."""
    if pd.isna(seconds):
        return ""
    whole = round(float(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def provenance(of: Mapping[str, object]) -> str:
    """Where a number comes from and how to repeat it, of a row of numbers or of substitutes."""
    seconds = of.get("seconds")
    return pairs(
        {
            "Runs": ", ".join(words(of.get("runs")).split(";")),
            "Date": words(of.get("date")),
            "Commit": words(of.get("commit")),
            "Hardware": words(of.get("hardware")),
            "Computing": "" if not words(seconds) else duration(seconds),
            "To repeat": command(of.get("command")),
        }
    )


def target(key: object) -> str:
    """The ``id`` of a published number's row."""
    return f"n-{slug(key)}"


TITLES = {
    1: "Corpora",
    2: "Hyperparameters",
    3: "UAR on CCS, CSS, ESS and IEMOCAP",
    4: "UAR on MPSSC, SLEEP, RAVDESS and DEMoS",
    5: "Cost on the device",
}
SHOWN = (3, 4, 5, 1, 2)  # results before circumstances
OPEN = (3, 4, 5)
COLUMNS = {
    **{"devel": "devel", "test": "test", "chance": "chance level"},
    **{"ci_low": "lower bound (test)", "ci_high": "upper bound (test)"},
    **{"minutes": "total minutes", "mean_s": "mean length", "std_s": "deviation of the length"},
    **{"tf_model": "TensorFlow", "tflite_cpu": "TFLite, CPU", "tflite_phone": "TFLite, phone"},
}
QUANTITIES = {
    "mean_time": "Mean time",
    "flops": "FLOPs",
    "parameters": "Parameters",
    "mean_memory": "Mean memory",
    "model_size": "Model size",
}
HEAD = ("Number", "Published", "Here", "Differ\u00adence", "Verdict")
SHARED = 3  # numbers of a corpus with the same remark
CAVEAT = "Another backbone or preset: not a reproduction of DenseNet121's number."
FILTERS = {"verdict": "Verdict", "table": "Table", "corpus": "Corpus"}


def plain(value: float, unit: str = "", like: float | None = None) -> str:
    """A number for a table: per cent with one decimal, else as short as it is exact.

    A measured value (``like`` is the published one) has four significant digits unless it is whole.
    """
    if pd.isna(value):
        return ""
    if unit == "%":
        return f"{value:.1f}"
    if like is None or float(value).is_integer():
        return np.format_float_positional(float(value), trim="-")
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def quantity(number: pd.Series) -> str:
    """What a number is of, beside its table and corpus: ``CutMix, test``."""
    configuration, column = words(number["configuration"]), words(number["column"])
    said = LABELS.get(configuration) or QUANTITIES.get(configuration, configuration)
    parts = [said, COLUMNS.get(column, column.replace("_", " "))]
    text = ", ".join(part for part in parts if part)
    return text[:1].upper() + text[1:]


def _valued(value: float, low: float, high: float, unit: str, like: float | None = None) -> str:
    if pd.isna(value):
        return "–"
    interval = ""
    if not (pd.isna(low) or pd.isna(high)):
        interval = f"<small>{plain(low, unit, like)} to {plain(high, unit, like)}</small>"
    return f"{plain(value, unit, like)} {words(unit)}".strip() + interval


def _difference(number: pd.Series) -> str:
    apart = number["reproduced"] - number["value"]
    if pd.isna(apart):
        return ""
    # Of two decimal fractions; what their binary forms differ by is not to be read.
    text = plain(round(abs(apart), 10), number["unit"], like=number["value"])
    return ("+" if apart > 0 else "−") + text if float(text) else "0"


def _substitute(found: pd.Series) -> str:
    interval = ""
    if not (pd.isna(found["reproduced_ci_low"]) or pd.isna(found["reproduced_ci_high"])):
        interval = f" ({plain(found['reproduced_ci_low'], '%')} to {plain(found['reproduced_ci_high'], '%')})"
    seeds = int(found["seeds"])
    said = [f"{seeds} seed{'s' if seeds != 1 else ''}"]
    if not pd.isna(found["deviation"]) and seeds > 1:
        said.append(f"deviation {found['deviation']:.1f}")
    said += [words(found[name]) for name in ("agreement", "overrides", "remark")]
    return (
        f"<li><b>{words(found['label'])}</b>: {plain(found['reproduced'], '%')} %{interval}; "
        f"{', '.join(filter(None, said))}{provenance(found)}</li>"
    )


def _more(number: pd.Series, others: pd.DataFrame) -> str:
    """What is folded behind a number: provenance, the command, the substitutes."""
    own = provenance(number)
    parts = [own] if own else []
    if len(others):
        listed = "".join(_substitute(found) for _, found in others.iterrows())
        parts.append(f'<p class="caveat">{words(CAVEAT)}</p><ul>{listed}</ul>')
    if not parts:
        return ""
    names = ["Provenance, how to repeat" if words(number["runs"]) else "How to repeat"]
    if len(others):
        names.append(f"{len(others)} substitute{'s' if len(others) > 1 else ''}")
    of = f'<span class="unseen"> of {corpus(number["dataset"])} {quantity(number)}</span>'
    return (
        f'<details><summary class="of">{", ".join(names)}{of}</summary>'
        f'<div class="more">{"".join(parts)}</div></details>'
    )


def _row(number: pd.Series, others: pd.DataFrame, common: str) -> str:
    """A row of values, and below it, over the full width, remark and what is folded."""
    unit = "" if number["unit"] == number["column"] else number["unit"]  # 725 files of files
    here = _valued(
        number["reproduced"],
        number["reproduced_ci_low"],
        number["reproduced_ci_high"],
        unit,
        number["value"],
    )
    if pd.isna(number["reproduced"]) and len(others):
        low, high = plain(others["reproduced"].min(), "%"), plain(others["reproduced"].max(), "%")
        here += f"<small>substi\u00adtutes: {low if low == high else f'{low} to {high}'}</small>"
    assumed = "<small>assumed, see Table 2</small>" if number["status"] == "assumed" else ""
    published = _valued(number["value"], number["low"], number["high"], unit) + assumed
    remark = "" if number["remark"] == common else words(number["remark"])
    behind = (f"<p>{remark}</p>" if remark else "") + _more(number, others)
    kind, span = f'data-verdict="{slug(number["verdict"])}"', ' rowspan="2"' if behind else ""
    below = f'<tr class="behind" {kind}><td colspan="{len(HEAD) - 1}">{behind}</td></tr>'
    return (
        f'<tr id="{target(number["key"])}" {kind}><th scope="row"{span}>{quantity(number)}</th>'
        f'<td class="number">{published}</td><td class="number">{here}</td>'
        f'<td class="number">{_difference(number)}</td><td>{badge(number["verdict"])}</td></tr>'
        f"{below if behind else ''}"
    )


def _common(numbers: pd.DataFrame) -> tuple[str, str]:
    """Verdict and remark that so many of a corpus's numbers share that they are said once."""
    pairs = numbers.loc[numbers["remark"].astype(bool), ["verdict", "remark"]].value_counts()
    return pairs.index[0] if len(pairs) and pairs.iloc[0] >= SHARED else ("", "")


def _body(dataset: str, numbers: pd.DataFrame, substitutes: dict[str, pd.DataFrame]) -> str:
    none, name, remark = pd.DataFrame(), "", ""
    if dataset:
        verdict, remark = _common(numbers)
        shared = f"<p>{badge(verdict)} {words(remark)}</p>" if remark else ""
        name = (
            f'<tr class="corpus"><th scope="rowgroup" colspan="{len(HEAD)}">'
            f"{words(corpus(dataset))}{shared}</th></tr>"
        )
    rows = [_row(one, substitutes.get(one["key"], none), remark) for _, one in numbers.iterrows()]
    return f'<tbody data-corpus="{slug(dataset)}">{name}\n' + "\n".join(rows) + "</tbody>"


def _by_configuration(numbers: pd.DataFrame) -> pd.DataFrame:
    """In their order, but all numbers of one row of the paper's table together."""
    return numbers.sort_values("configuration", key=lambda c: pd.factorize(c)[0], kind="stable")


def _table(n: int, numbers: pd.DataFrame, substitutes: dict[str, pd.DataFrame]) -> str:
    bodies = [
        _body(dataset, rows, substitutes)
        for dataset, rows in _by_configuration(numbers).groupby("dataset", sort=False)
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    title = f"Table {n}: {TITLES.get(n, '')}"
    caption = "<caption>Small: 95 % interval. Difference: ours minus published.</caption>"
    table = (
        f'<table class="numbers">{caption}<thead><tr>{head}</tr></thead>{"".join(bodies)}</table>'
    )
    return (
        f'<details class="fold" id="numbers-{n}" data-table="{n}"{" open" if n in OPEN else ""}>'
        f"<summary><h3>{title}</h3> <small>{len(numbers)} numbers</small></summary>"
        f"{region(title, table)}</details>"
    )


def tables(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> list[str]:
    """Every number, a foldable table for each of the paper's.

    Parameters
    ----------
    numbers, substitutes : DataFrame
        As `dslite.paper.reproduction` gives them.
    """
    of_key = dict(list(substitutes.groupby("key")))
    shown = [n for n in SHOWN if (numbers["table"] == n).any()]
    return [_table(n, numbers[numbers["table"] == n], of_key) for n in shown]


def _choices(numbers: pd.DataFrame) -> dict[str, dict[str, str]]:
    """For each filter what can be chosen: value of the attribute and words."""
    found = set(numbers["verdict"])
    known = [v for v in verdicts.ORDER if v in found]
    held = sorted({words(d) for d in numbers["dataset"]} - {""})
    return {
        "verdict": {slug(v): v for v in [*known, *sorted(found - set(known))]},
        "table": {str(n): f"Table {n}" for n in sorted(set(numbers["table"]))},
        "corpus": {slug(d): corpus(d) for d in held},
    }


def filters(numbers: pd.DataFrame) -> str:
    """A form to choose numbers by; it works by `filter_style`, and the script only counts."""
    boxes = []
    for name, values in _choices(numbers).items():
        options = "".join(
            f'<option value="{v}">{words(said)}</option>' for v, said in values.items()
        )
        boxes.append(
            f'<label>{FILTERS[name]}<select name="{name}" autocomplete="off">'
            f'<option value="">all</option>{options}</select></label>'
        )
    return (
        '<form class="filter" id="filter" aria-label="Show only some numbers">'
        f'{"".join(boxes)}<button type="reset">Show all</button>'
        '<output id="shown" role="status"></output></form>'
    )


def filter_style(numbers: pd.DataFrame) -> str:
    """Style sheet by which the form hides numbers, so that it works without a script.

    A rule for each value: what does not have it, or holds nothing that has it, is not displayed.
    """
    rules = []
    for name, values in _choices(numbers).items():
        for value in values:
            chosen = f'main:has(select[name="{name}"] option[value="{value}"]:checked) #numbers'
            wanted = f'[data-{name}="{value}"]'
            hidden = [f"{chosen} [data-{name}]:not({wanted})"]
            outer = {"verdict": ["tbody", ".fold"], "corpus": [".fold"], "table": []}[name]
            hidden += [f"{chosen} {part}:not(:has({wanted}))" for part in outer]
            rules.append(f"{', '.join(hidden)} {{ display: none; }}")
    return "\n".join(rules)

"""The style of all figures, and parts that several of them have.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook (after
``%matplotlib inline``) shows it once, as the last expression of a cell, and nothing stays open.
Scores come in as fractions, a UAR is drawn in per cent.
"""

import io
import re
import sys
import unicodedata
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter, MaxNLocator
from PIL import Image

# Okabe and Ito's colours, told apart by the colour-blind (jfly.uni-koeln.de/color)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "figure.dpi": 110}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
STYLE |= {"axes.prop_cycle": mpl.cycler(color=COLOURS), "savefig.dpi": 200}
# Fonts are embedded as fonts, so that text stays text; the same picture gives the same file.
STYLE |= {"pdf.fonttype": 42, "svg.hashsalt": "dslite"}
METRICS = {"uar": ("UAR (%)", 100, ".1f"), "spearman": ("Spearman's ρ", 1, ".2f")}
PICTURE_BYTES = 240_000  # of a PNG that is committed, at most
LONGEST = 42  # characters of a label at an axis; a longer one is shortened in its middle
# Fonts of many scripts, looked at before all others that are installed
FONTS = ("Noto Sans", "Source Han", "WenQuanYi", "IPA", "Nanum", "Amiri", "Droid Sans", "Arial")
# Their glyphs are boxes or nothing.
BLANK = ("Last Resort", "LastResort", "Adobe Blank", "Unicode BMP Fallback")
styled = mpl.rc_context(STYLE)


def panels(height: float, rows: int = 1, columns: int = 1, width: float = 7, **shared: Any):
    """Return a figure in inches (7: an A4 page's text) and its axes [rows, columns] or one."""
    figure = _Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **shared)


def whole_ticks() -> MaxNLocator:
    """Return a locator of ticks at round whole numbers."""
    return MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True)


@styled
def save(figure: Figure, path: str | Path, dpi: int = STYLE["savefig.dpi"]) -> None:
    """Write a figure as PNG, PDF or SVG, by the path's suffix, without a date."""
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    figure.savefig(path, metadata=undated.get(Path(path).suffix.lower()), dpi=dpi)


def reduced(picture: str | Path) -> bytes:
    """Return a PNG as it is or, above `PICTURE_BYTES`, with a palette and as small as need be."""
    content, image = Path(picture).read_bytes(), Image.open(picture).convert("RGB")
    for share, colours in product(np.arange(1, 0, -0.1), (256, 128)):
        if len(content) <= PICTURE_BYTES:
            break
        size, buffer = (int(share * image.width), int(share * image.height)), io.BytesIO()
        small = image.resize(size, Image.Resampling.LANCZOS).quantize(colours)
        small.save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
    return content


@styled
def forest(axes: Axes, rows: pd.DataFrame, digits: str = ".1f") -> None:
    """Draw values with one or two intervals: a line each, a heading above each group of them.

    Columns: ``group`` (a mark and colour each, the paper's black; its heading, or empty),
    ``label``, ``value``, ``low``, ``high``, optionally ``low_speakers``, ``high_speakers`` (drawn
    thin), and lists of further values: ``dots``, those of the seeds, and ``of_speakers``
    (strokes, where there is no interval over speakers). Lines are one unit high.
    """
    ticks, place, wider = {}, 0.0, "low_speakers" in rows
    above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "fontsize": 7}
    above["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5}  # over the lines,
    above["zorder"] = 1.5  # under the marks
    first = -1 if rows["group"].iloc[0].startswith("paper") else 0
    for i, (group, of) in enumerate(rows.groupby("group", sort=False), first):
        if group:
            ticks[place] = group
        places = place + bool(group) + np.arange(len(of))
        colour = COLOURS[i % len(COLOURS)] if i >= 0 else "black"
        axes.hlines(places, of["low"], of["high"], color=colour, lw=2.5 if wider else 1.5)
        if wider:
            axes.hlines(places, of["low_speakers"], of["high_speakers"], color=colour, lw=0.7)
        axes.plot(of["value"], places, "os^D"[i % 4], color=colour, ms=5, label=group)
        for value, at in zip(of["value"], places, strict=True):
            if np.isfinite(value):
                text = f"{value:{digits}}".replace("-", "−")
                axes.annotate("0.0" if text in ("+0.0", "−0.0") else text, (value, at), **above)
        strokes = {"marker": "|", "color": colour, "ms": 8, "mew": 1}
        points = {"marker": ".", "color": "black", "ms": 3}
        for name, style in (("of_speakers", strokes), ("dots", points)):
            for at, dots in zip(places, of.get(name, []), strict=False):
                axes.plot(dots, np.full(np.shape(dots), at), ls="", **style)
        ticks |= dict(zip(places.tolist(), of["label"], strict=True))
        place = places[-1] + 1.2
    axes.set_yticks(list(ticks), list(ticks.values()))
    for text in axes.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() in set(rows["group"]) else "normal")
    axes.set_ylim(max(ticks) + 0.6, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)


# Texts of a user: labels in any script


class _Figure(Figure):
    """A figure whose texts are drawn as they are, in fonts that have their characters."""

    def draw(self, renderer: Any) -> None:
        replaced: dict[str, str] = {}  # label without a font -> what is drawn
        at_ticks = set()
        for axes in self.axes:
            for axis in (axes.xaxis, axes.yaxis):
                _make_ticks_legible(axis, replaced)
                ticks = (*axis.majorTicks, *axis.minorTicks)
                at_ticks |= {text for tick in ticks for text in (tick.label1, tick.label2)}
        for text in (text for text in self.findobj(Text) if text not in at_ticks):
            content = text.get_text()
            if "$" in content:
                text.set_parse_math(False)
            if families := _families(content):
                text.set_fontfamily([*text.get_fontfamily(), *families])
            text.set_text(_legible(content, replaced))
        if replaced:
            _report(tuple(replaced.items()))
        super().draw(renderer)


def _make_ticks_legible(axis: Axis, replaced: dict[str, str]) -> None:
    """Give an axis with labels of its own other ones, where they cannot be drawn as they are."""
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, FixedFormatter | FuncFormatter | StrCategoryFormatter):
        return
    places = axis.get_majorticklocs()
    labels = formatter.format_ticks(places)
    if families := _families("".join(labels)):
        axis.set_tick_params(labelfontfamily=[*mpl.rcParams["font.family"], *families])
    plain = [label.replace(r"\$", "$") for label in labels]  # as before an earlier drawing
    legible = [_shortened(_legible(label, replaced)).replace("$", r"\$") for label in plain]
    if legible != labels:
        axis.set_ticks(places, legible)


def _shortened(label: str) -> str:
    """A label of `LONGEST` characters at most."""
    half = LONGEST // 2
    return label if len(label) <= LONGEST else f"{label[:half]}…{label[1 - half :]}"


def _legible(text: str, replaced: dict[str, str]) -> str:
    """A text whose characters are in some font; what was ``replaced`` for that is noted."""
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text

    def spell(match: re.Match) -> str:
        replaced[match[0]] = "-".join(_spelled(character) for character in match[0])
        return replaced[match[0]]

    missing = {character for character in text if not _font(character)}
    return re.sub(f"[{re.escape(''.join(missing))}]+", spell, text) if missing else text


def _spelled(character: str) -> str:
    """A character in ASCII, by its sound where Unicode's name says it, else by its number."""
    sound = re.search("(?:LETTER|SYLLABLE|SIGN) ([A-Z ]+)$", unicodedata.name(character, ""))
    return sound[1].split()[-1].lower() if sound else f"{ord(character):04X}"


def _families(text: str) -> list[str]:
    """Font families, beside the usual one, that a text needs."""
    fonts = {_font(c) for c in unicodedata.normalize("NFC", text)} if not text.isascii() else set()
    return sorted(fonts - {"", _usual()[0]})


@cache
def _font(character: str) -> str:
    """The family of the first font that has a character; empty: none on this machine."""
    family, usual = _usual()
    if ord(character) in usual or character in "\n\t":
        return family
    installed = [f for f in font_manager.fontManager.ttflist if not f.name.startswith(BLANK)]
    ranked = sorted(installed, key=lambda font: (not font.name.startswith(FONTS), font.name))
    return next((font.name for font in ranked if ord(character) in _characters(font.fname)), "")


@cache
def _usual() -> tuple[str, frozenset[int]]:
    """The family that Matplotlib takes first, and its characters."""
    file = font_manager.findfont(font_manager.FontProperties())
    return FT2Font(file).family_name, _characters(file)


@cache
def _characters(file: str) -> frozenset[int]:
    """Numbers of the characters that a font can draw at any size."""
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _report(replaced: tuple[tuple[str, str], ...]) -> None:
    """Say once what is drawn instead of labels that no font has, and what to install."""
    spelled = ", ".join(f"{drawn} for {label}" for label, drawn in replaced)
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():  # a legend for the notebook and its page
        legend = f"In the figures {spelled}: no font of this machine has all characters."
        ipython.display.display(ipython.display.Markdown(legend))
    print(
        f"no font of this machine has some characters of the figure; drawn is {spelled}. Install "
        "one, for instance Noto Sans (Debian: fonts-noto-cjk, fonts-noto-core), and delete "
        f"{mpl.get_cachedir()}/fontlist*.json",
        file=sys.stderr,
        flush=True,
    )

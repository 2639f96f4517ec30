"""The style of all figures, and parts that several of them have.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook (after
``%matplotlib inline``) shows it once, as the last expression of a cell, and nothing stays open.
Scores come in as fractions, a UAR is drawn in per cent.
"""

import io
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
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
styled = mpl.rc_context(STYLE)


def panels(height: float, rows: int = 1, columns: int = 1, width: float = 7, **shared: Any):
    """Return a figure in inches (7: an A4 page's text) and its axes [rows, columns] or one."""
    figure = Figure(figsize=(width, height), layout="constrained")
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

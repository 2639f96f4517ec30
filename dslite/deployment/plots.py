"""Draw what models cost: bars of time, and score against time against size (Pareto)."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from dslite.plots import COLOURS, METRICS, panels, styled

PARTS = {
    "model": "From audio to probabilities",
    "cnn": "Network alone, from the Mel spectrogram",
    "spectrogram": "Spectrogram alone",
}
OTHER = "#999999"
BACKBONES = (*COLOURS, "#000000", "#F0E442")  # the rest of Okabe and Ito's
MARKERS = "osD^vPX*"
LARGEST = 330  # area of the largest file's mark, in square points


@styled
def times(table: pd.DataFrame) -> Figure:
    """Draw bars of the median time of a run, a line from each to its 95th percentile.

    Columns: ``part`` (a key of `PARTS`), ``variant``, ``threads`` (a colour each), ``ms_median``,
    ``ms_p95``.
    """
    parts = [part for part in PARTS if part in set(table["part"])] or list(table["part"].unique())
    colours = dict(zip(sorted(table["threads"].unique()), cycle(COLOURS), strict=False))
    table = table.assign(colour=table["threads"].map(colours))
    blocks = [table[table["part"] == part] for part in parts]
    heights = [0.5 + 0.5 * block["variant"].nunique() + len(block) for block in blocks]
    height = 0.9 + 0.35 * len(parts) + 0.15 * sum(heights)
    figure, column = panels(height, len(parts), squeeze=False, height_ratios=heights)
    for axes, part, block in zip(column[:, 0], parts, blocks, strict=True):
        _draw_bars(axes, block)
        axes.set_title(PARTS.get(part, part))
    column[-1, 0].set_xlabel("Median time of one run (ms); line: to the 95th percentile")
    labels = {f"{n} thread" if n == 1 else f"{n} threads": of for n, of in colours.items()}
    handles = [Line2D([], [], lw=6, color=colour, label=of) for of, colour in labels.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _draw_bars(axes: Axes, block: pd.DataFrame) -> None:
    """Draw one part's bars, those of a variant together, each with its median as text."""
    place = np.arange(len(block)) + 0.5 * (block["variant"].factorize()[0])
    median, high = block["ms_median"].to_numpy(), block["ms_p95"].to_numpy()
    axes.barh(place, median, height=0.85, color=block["colour"])
    axes.hlines(place, median, high, color="black", lw=0.8)
    right = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    ends = np.maximum(median, high)
    for value, end, at in zip(median, ends, place, strict=True):
        axes.annotate(f"{value:.3g}", (end, at), fontsize=7, **right)
    middle = pd.Series(place).groupby(block["variant"].to_numpy(), sort=False).mean()
    axes.set_yticks(middle, middle.index)
    axes.set(xlim=(0, 1.1 * max(ends)), ylim=(max(place) + 0.7, -0.7))
    axes.tick_params(axis="y", length=0)


def front(ms: np.ndarray, score: np.ndarray, *costs: np.ndarray) -> np.ndarray:
    """Return which of some models none beats: nowhere worse, somewhere better; bool [models]."""
    values = np.column_stack([ms, -np.asarray(score), *costs])
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@styled
def pareto(table: pd.DataFrame, metric: str = "uar", partition: str = "devel") -> Figure:
    """Draw score over the median time of a run, a mark's area being the file's size.

    Columns: ``backbone``, ``variant``, ``ms_median``, ``MB`` and the partition's score (a fraction;
    `metric` is a key of `METRICS`); one row a model. The steps lead over `front` in time and score,
    a black edge has what is not beaten when the size counts too.
    """
    name, factor, _ = METRICS[metric]
    table = table.assign(score=factor * table[partition]).reset_index(drop=True)
    figure, axes = panels(4.2)
    axes.set_xscale("log")
    backbones, variants = (list(table[of].unique()) for of in ("backbone", "variant"))
    area = LARGEST * table["MB"] / table["MB"].max()
    unbeaten = front(table["ms_median"], table["score"], table["MB"])
    line = table[front(table["ms_median"], table["score"])].sort_values(["ms_median", "score"])
    steps = {"color": "grey", "lw": 1, "ls": "--", "zorder": 1, "drawstyle": "steps-post"}
    axes.plot(line["ms_median"], line["score"], **steps)
    for i in table["MB"].sort_values(ascending=False).index:  # small ones on top of large ones
        row = table.loc[i]
        look = {"color": BACKBONES[backbones.index(row["backbone"]) % len(BACKBONES)]}
        look["marker"] = MARKERS[variants.index(row["variant"]) % len(MARKERS)]
        look["edgecolors"], look["alpha"] = ("black", 0.9) if unbeaten[i] else ("none", 0.55)
        axes.scatter(row["ms_median"], row["score"], s=area[i], linewidths=1.2, zorder=2, **look)
    axes.margins(0.16)
    axes.set(xlabel="Median time of a run (ms)", ylabel=f"{partition.capitalize()} {name}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    spaces = {"fontsize": 8, "labelspacing": 0.9, "handletextpad": 0.8}
    key = _key(table, backbones, variants, area)
    figure.legend(handles=key, loc="outside right upper", **spaces)
    return figure


def _key(
    table: pd.DataFrame, backbones: Sequence[str], variants: Sequence[str], area: pd.Series
) -> list[Line2D]:
    """Return the handles of the legend: colours, marks, sizes."""

    def mark(label: str, marker: str = "o", size: float = 7, **how: Any) -> Line2D:
        style = {"ls": "", "color": OTHER, "mew": 0} | how
        return Line2D([], [], marker=marker, ms=size, label=label, **style)

    ordered = table["MB"].sort_values().index
    sizes = dict.fromkeys([ordered[0], ordered[len(ordered) // 2], ordered[-1]])
    return [
        *(mark(of, color=BACKBONES[i % len(BACKBONES)]) for i, of in enumerate(backbones)),
        *(mark(of, MARKERS[i % len(MARKERS)]) for i, of in enumerate(variants)),
        *(mark(f"{table['MB'][i]:.3g} MB", size=float(np.sqrt(area[i]))) for i in sizes),
        mark("not beaten in time,\nscore and size", mfc="none", mec="black", mew=1.2),
        mark("none faster and better", "", color="grey", lw=1, ls="--"),
    ]

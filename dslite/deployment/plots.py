"""Draw what models cost: times, and score against time and size (Pareto)."""

from itertools import cycle

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
BACKBONES = (*COLOURS, "#000000", "#F0E442")  # the rest of Okabe and Ito's
ENDS = ("test_low", "test_high")


@styled
def times(table: pd.DataFrame) -> Figure:
    """Draw the median time of a run as a dot, a line from each to its 95th percentile.

    Columns: ``part`` (a key of `PARTS`), ``variant``, ``threads`` (a colour each), ``ms_median``,
    ``ms_p95``. The axis is logarithmic, so that equal distances are equal ratios.
    """
    parts = [part for part in PARTS if part in set(table["part"])] or list(table["part"].unique())
    colours = dict(zip(sorted(table["threads"].unique()), cycle(COLOURS), strict=False))
    blocks = [table[table["part"] == part] for part in parts]
    heights = [0.6 + 0.5 * block["variant"].nunique() + len(block) for block in blocks]
    height = 0.9 + 0.3 * len(parts) + 0.15 * sum(heights)
    shared = {"squeeze": False, "sharex": True, "height_ratios": heights}
    figure, column = panels(height, len(parts), **shared)
    for axes, part, block in zip(column[:, 0], parts, blocks, strict=True):
        place = np.arange(len(block)) + 0.5 * (block["variant"].factorize()[0])
        colour = list(block["threads"].map(colours))
        axes.hlines(place, block["ms_median"], block["ms_p95"], color=colour, lw=1)
        axes.scatter(block["ms_median"], place, c=colour, s=16, zorder=3)
        for value, at in zip(block["ms_median"], place, strict=True):
            left = {"xytext": (-5, 0), "textcoords": "offset points", "ha": "right"}
            axes.annotate(f"{value:.3g}", (value, at), fontsize=7, va="center", **left)
        middle = pd.Series(place).groupby(block["variant"].to_numpy(), sort=False).mean()
        axes.set_yticks(middle, middle.index)
        axes.set(xscale="log", ylim=(max(place) + 0.8, -0.8), title=PARTS.get(part, part))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.25)
    column[0, 0].set_xlim(0.7 * table["ms_median"].min(), None)
    _label_log_axis(column[-1, 0], "Median time of one run (ms, log); line: to the 95th percentile")
    labels = {f"{n} thread" if n == 1 else f"{n} threads": of for n, of in colours.items()}
    style = {"ls": "", "marker": "o", "ms": 4}
    handles = [Line2D([], [], color=colour, label=of, **style) for of, colour in labels.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _label_log_axis(axes: Axes, label: str) -> None:
    """Name a logarithmic x axis and number it at 1, 2 and 5 times each power of ten."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def front(ms: np.ndarray, score: np.ndarray, *costs: np.ndarray) -> np.ndarray:
    """Return which of some models none beats: nowhere worse, somewhere better; bool [models]."""
    values = np.column_stack([ms, -np.asarray(score), *costs])
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@styled
def pareto(table: pd.DataFrame, metric: str = "uar") -> Figure:
    """Draw test score, with its 95 % interval over files, over the median time of a run.

    Columns: ``backbone`` (a colour each), ``variant``, ``ms_median``, ``MB``, ``test`` and
    optionally ``test_low``, ``test_high`` (fractions; `metric` is a key of `METRICS`); one row a
    file. A filled mark is beaten by no other in time, score and size at once; the steps lead over
    `front` in time and score.
    """
    name, factor, _ = METRICS[metric]
    backbones = list(table["backbone"].unique())
    table = table.sort_values("ms_median").reset_index(drop=True)
    score = factor * table["test"]
    ends = [factor * table.get(end, table["test"]).fillna(table["test"]) for end in ENDS]
    figure, axes = panels(4)
    unbeaten = front(table["ms_median"], score, table["MB"])
    line = front(table["ms_median"], score)
    steps = {"color": "grey", "lw": 1, "ls": "--", "zorder": 1, "drawstyle": "steps-post"}
    axes.plot(table["ms_median"][line], score[line], **steps, label="none faster and better")
    for i, row in enumerate(table.itertuples()):
        colour = BACKBONES[backbones.index(row.backbone) % len(BACKBONES)]
        axes.vlines(row.ms_median, ends[0][i], ends[1][i], color=colour, lw=1)
        face = colour if unbeaten[i] else "white"
        axes.plot(row.ms_median, score[i], "o", color=colour, mfc=face, label=row.backbone)
        which = f"{row.backbone}, " if len(backbones) > 1 else ""
        up = i % 2 == 0  # neighbours in time above and below, lest their texts meet
        where = {"xytext": (2, 4 if up else -4), "textcoords": "offset points", "fontsize": 7}
        where |= {"rotation": 40 if up else -40, "va": "bottom" if up else "top"}
        text = f"{which}{row.variant}, {row.MB:.3g} MB"
        axes.annotate(text, (row.ms_median, score[i]), **where)
    axes.set(xscale="log", ylabel=f"Test {name}")
    axes.margins(x=0.15, y=0.35)
    _label_log_axis(axes, "Median time of a run from audio (ms, log)")
    axes.set_title(
        f"{', '.join(backbones)}: score, time and size of {len(table)} files; line: 95 % over the "
        "test files\nfilled: no other is as fast, as good and as small",
        wrap=True,
    )
    axes.grid(alpha=0.25)
    return figure

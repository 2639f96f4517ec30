"""Draw what models cost: bars of time, and score against time against size (Pareto)."""

from collections.abc import Collection, Sequence

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
def times(table: pd.DataFrame, others: Collection[str] = ()) -> Figure:
    """Draw bars of the median time of a run, a line from each to its 95th percentile.

    Columns: ``part`` (a key of `PARTS`), ``variant``, ``threads``, ``ms_median``, ``ms_p95``. A
    variant on several numbers of threads has as many bars; those in ``others``, which do not run in
    TensorFlow Lite, are grey with their number of threads as text.
    """
    parts = [part for part in PARTS if part in set(table["part"])] or list(table["part"].unique())
    counts = sorted(
        int(count) for count in table["threads"][~table["variant"].isin(others)].unique()
    )
    blocks = [_bars(table[table["part"] == part], counts, others) for part in parts]
    heights = [0.5 + sum(0.5 + len(bars) for _, bars in block) for block in blocks]
    figure, column = panels(
        0.9 + 0.35 * len(parts) + 0.15 * sum(heights),
        len(parts),
        squeeze=False,
        height_ratios=heights,
    )
    for axes, part, block in zip(column[:, 0], parts, blocks, strict=True):
        _draw_bars(axes, block)
        axes.set_title(PARTS.get(part, part))
    column[-1, 0].set_xlabel("Median time of one run (ms); line: to the 95th percentile")
    labels = {_threads(count): COLOURS[i % len(COLOURS)] for i, count in enumerate(counts)}
    labels |= {"not TensorFlow Lite": OTHER} if table["variant"].isin(others).any() else {}
    handles = [Line2D([], [], lw=6, color=colour, label=of) for of, colour in labels.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _threads(threads: int) -> str:
    """Return ``1 thread``, ``2 threads``."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


Bar = tuple[str, float, float]  # colour, median, 95th percentile


def _bars(
    block: pd.DataFrame, counts: Sequence[int], others: Collection[str]
) -> list[tuple[str, list[Bar]]]:
    """Return variants in their order, each with its bars."""
    bars = []
    for variant, rows in block.groupby("variant", sort=False):
        other = variant in others
        colours = [
            OTHER if other else COLOURS[counts.index(count) % len(COLOURS)]
            for count in rows["threads"]
        ]
        label = f"{variant} ({_threads(int(rows['threads'].iloc[0]))})" if other else variant
        bars.append((label, list(zip(colours, rows["ms_median"], rows["ms_p95"], strict=True))))
    return bars


def _draw_bars(axes: Axes, block: list[tuple[str, list[Bar]]]) -> None:
    """Draw one part's bars, each with its median as text."""
    place, ticks, farthest = 0.0, [], 0.0
    for label, bars in block:
        ticks.append((place + (len(bars) - 1) / 2, label))
        for colour, median, high in bars:
            axes.barh(place, median, height=0.85, color=colour)
            axes.plot([median, high], [place, place], color="black", lw=0.8)
            right = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(f"{median:.3g}", (max(median, high), place), fontsize=7, **right)
            farthest, place = max(farthest, median, high), place + 1
        place += 0.5
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set(xlim=(0, 1.1 * farthest), ylim=(place - 0.8, -0.7))
    axes.tick_params(axis="y", length=0)


def front(ms: np.ndarray, score: np.ndarray, *costs: np.ndarray) -> np.ndarray:
    """Return which of some models no other beats: bool [models].

    One beats another if it is nowhere slower, nowhere lower in score and in no cost higher, and
    better in at least one of them.

    Examples
    --------
    >>> front(np.array([1.0, 2.0, 2.0]), np.array([0.5, 0.6, 0.4])).tolist()
    [True, True, False]
    """
    values = np.column_stack([ms, -np.asarray(score), *costs])
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@styled
def pareto(table: pd.DataFrame, metric: str = "uar") -> Figure:
    """Draw score over the median time of a run, a mark's area being the file's size.

    Columns: ``backbone``, ``variant``, ``ms_median``, ``MB``, ``devel`` (a fraction; `metric` is a
    key of `METRICS`); one row a model. The line joins the models than which none is both faster
    and better; a black edge has whatever is not beaten when the size counts too (`front`).
    """
    name, factor, _ = METRICS[metric]
    table = table.assign(score=factor * table["devel"]).reset_index(drop=True)
    figure, axes = panels(4.2)
    axes.set_xscale("log")
    backbones, variants = (list(table[of].unique()) for of in ("backbone", "variant"))
    area = LARGEST * table["MB"] / table["MB"].max()
    unbeaten = front(table["ms_median"], table["score"], table["MB"])
    line = table[front(table["ms_median"], table["score"])].sort_values(["ms_median", "score"])
    axes.plot(line["ms_median"], line["score"], color="grey", lw=1, ls="--", zorder=1)
    for i in table["MB"].sort_values(ascending=False).index:  # small ones on top of large ones
        row = table.loc[i]
        axes.scatter(
            row["ms_median"],
            row["score"],
            s=area[i],
            color=BACKBONES[backbones.index(row["backbone"]) % len(BACKBONES)],
            marker=MARKERS[variants.index(row["variant"]) % len(MARKERS)],
            edgecolors="black" if unbeaten[i] else "none",
            linewidths=1.2,
            alpha=0.9 if unbeaten[i] else 0.55,
            zorder=2,
        )
    axes.margins(0.16)
    axes.set(xlabel="Median time of a run (ms)", ylabel=f"Devel {name}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    figure.legend(handles=_key(table, backbones, variants, area), loc="outside right upper",
                  fontsize=8, labelspacing=0.9, handletextpad=0.8)  # fmt: skip
    return figure


def _key(
    table: pd.DataFrame, backbones: Sequence[str], variants: Sequence[str], area: pd.Series
) -> list[Line2D]:
    """Return the handles of the legend: colours, marks, sizes."""

    def mark(label: str, shape: str = "o", colour: str = OTHER, size: float = 7) -> Line2D:
        return Line2D([], [], ls="", marker=shape, color=colour, ms=size, mew=0, label=label)

    handles = [mark(of, colour=BACKBONES[i % len(BACKBONES)]) for i, of in enumerate(backbones)] + [
        mark(of, MARKERS[i % len(MARKERS)]) for i, of in enumerate(variants)
    ]
    ordered = table["MB"].sort_values()
    for i in dict.fromkeys([ordered.index[0], ordered.index[len(ordered) // 2], ordered.index[-1]]):
        handles.append(mark(f"{table['MB'][i]:.3g} MB", size=float(np.sqrt(area[i]))))
    unbeaten = Line2D([], [], ls="", marker="o", mfc="none", mec="black", mew=1.2, ms=7)
    unbeaten.set_label("not beaten in time,\nscore and size")
    first = Line2D([], [], color="grey", lw=1, ls="--", label="none faster and better")
    return [*handles, unbeaten, first]

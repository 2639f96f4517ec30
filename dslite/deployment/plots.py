"""What models cost, drawn: bars of time, and what each buys (Pareto)."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

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
_DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def _plain(value: float, _: object = None) -> str:
    return f"{value:g}"


@styled
def times(table: pd.DataFrame, others: Collection[str] = ()) -> Figure:
    """Bars of the median time of a run, a line from each to its 95th percentile.

    Columns: ``part`` (a key of `PARTS`), ``variant``, ``threads``, ``ms_median``, ``ms_p95``. A
    variant on several numbers of threads has as many bars; those in ``others``, which do not run in
    TensorFlow Lite, are grey and say their number of threads.
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
    labels = {plural(count): COLOURS[i % len(COLOURS)] for i, count in enumerate(counts)}
    labels |= {"not TensorFlow Lite": OTHER} if table["variant"].isin(others).any() else {}
    handles = [Line2D([], [], lw=6, color=colour, label=of) for of, colour in labels.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def plural(threads: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


Bar = tuple[str, float, float]  # colour, median, 95th percentile


def _bars(
    block: pd.DataFrame, counts: Sequence[int], others: Collection[str]
) -> list[tuple[str, list[Bar]]]:
    """Variants in their order, each with its bars."""
    made = []
    for variant, of in block.groupby("variant", sort=False):
        other = variant in others
        colours = [
            OTHER if other else COLOURS[counts.index(count) % len(COLOURS)]
            for count in of["threads"]
        ]
        label = f"{variant} ({plural(int(of['threads'].iloc[0]))})" if other else variant
        made.append((label, list(zip(colours, of["ms_median"], of["ms_p95"], strict=True))))
    return made


def _draw_bars(axes: Axes, block: list[tuple[str, list[Bar]]]) -> None:
    place, ticks, farthest = 0.0, [], 0.0
    for label, bars in block:
        ticks.append((place + (len(bars) - 1) / 2, label))
        for colour, median, high in bars:
            axes.barh(place, median, height=0.85, color=colour)
            axes.plot([median, high], [place, place], color="black", lw=0.8)
            beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(f"{median:.3g}", (max(median, high), place), fontsize=7, **beside)
            farthest, place = max(farthest, median, high), place + 1
        place += 0.5
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set(xlim=(0, 1.1 * farthest), ylim=(place - 0.8, -0.7))
    axes.tick_params(axis="y", length=0)


def front(ms: np.ndarray, score: np.ndarray, *costs: np.ndarray) -> np.ndarray:
    """Which of some models no other beats: bool [models].

    One beats another if it is nowhere slower, nowhere lower in score and in no cost higher, and
    better in at least one of them.
    """
    values = np.column_stack([ms, -np.asarray(score), *costs])
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@styled
def pareto(table: pd.DataFrame, metric: str = "uar") -> Figure:
    """Score over the median time of a run, a mark's area being the file's size.

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
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    figure.legend(handles=_key(table, backbones, variants, area), loc="outside right upper",
                  fontsize=8, labelspacing=0.9, handletextpad=0.8)  # fmt: skip
    _label(figure, axes, table, area, np.flatnonzero(unbeaten))
    return figure


def _key(
    table: pd.DataFrame, backbones: Sequence[str], variants: Sequence[str], area: pd.Series
) -> list[Line2D]:
    """Handles of the legend: colours, marks, sizes."""

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


def _label(
    figure: Figure, axes: Axes, table: pd.DataFrame, area: pd.Series, rows: Sequence[int]
) -> None:
    """Name some marks, where a name lies on no mark, on no other name and inside of the axes."""
    # A legend outside moves the axes, so that places are known after a layout only.
    figure.draw_without_rendering()
    points = axes.transData.transform(table[["ms_median", "score"]].to_numpy(float))
    pixel = figure.dpi / 72
    reach = pixel * np.sqrt(area.to_numpy(float)) / 2
    taken = [
        Bbox.from_extents(x - r, y - r, x + r, y + r)
        for (x, y), r in zip(points, reach, strict=True)
    ]
    inside = axes.get_window_extent()
    for i in sorted(rows, key=lambda i: points[i][0]):
        text = f"{table['backbone'][i]}, {table['variant'][i]}"
        found = _place(points[i], reach[i], len(text), pixel, taken, inside)
        if found is None:
            continue  # the legend still tells what it is
        box, (dx, dy) = found
        taken.append(box)
        axes.annotate(
            text,
            (table["ms_median"][i], table["score"][i]),
            xytext=(
                (box.x0 - points[i][0]) / pixel,
                ((box.y0 + box.y1) / 2 - points[i][1]) / pixel,
            ),
            textcoords="offset points",
            va="center",
            fontsize=7,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "grey", "shrinkB": 0}
            if max(abs(dx), abs(dy)) > 1
            else None,
        )


def _place(
    point: np.ndarray, reach: float, letters: int, pixel: float, taken: list[Bbox], inside: Bbox
) -> tuple[Bbox, tuple[float, float]] | None:
    """A free rectangle for a text of 7 points near a point, the nearest first."""
    width, height = 3.7 * letters * pixel, 9 * pixel
    for far in (1, 3, 6, 10):
        for across, up in _DIRECTIONS:
            x = point[0] + across * (reach + 3 * far * pixel + width / 2)
            y = point[1] + up * (reach + 3 * far * pixel + height / 2)
            box = Bbox.from_extents(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            within &= inside.y0 <= box.y0 and box.y1 <= inside.y1
            if within and not any(box.overlaps(other) for other in taken):
                return box, (across * far, up * far)
    return None

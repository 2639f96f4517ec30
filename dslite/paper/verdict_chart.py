"""The chart of verdicts: how many of each table's numbers have which."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dslite.paper.charts import outside_legend, text_inches
from dslite.plots import COLOURS, panels, styled

# As many as there are verdicts
HATCHES = ("", "////", "xxxx", "....", "\\\\\\\\", "----", "++++", "oooo", "**")
FILLS = (COLOURS[2], COLOURS[4], COLOURS[5], "#EEEEEE", "#CCCCCC", COLOURS[1], COLOURS[3])
FILLS += ("white", "#F0E442")


def _order(column: pd.Series) -> list:
    """Categories of a categorical column, else the values in the order they come."""
    return list(column.cat.categories) if hasattr(column, "cat") else list(column.unique())


@styled
def agreement(summary: pd.DataFrame) -> Figure:
    """Verdicts on the numbers of every table: a bar each, its counts written in.

    Columns: ``table`` (text, or the number of the paper's table), ``verdict``, ``count``. Bars show
    shares, since tables are of very different sizes. Tables and verdicts stay in the order given;
    a categorical column's is that of its categories.
    """
    counts = summary.pivot_table(
        index="table", columns="verdict", values="count", aggfunc="sum", observed=False
    ).reindex(index=_order(summary["table"]), columns=_order(summary["verdict"]), fill_value=0)
    counts = counts.fillna(0).astype(int)
    counts = counts.loc[counts.sum(axis=1) > 0, counts.sum(axis=0) > 0]
    shares = 100 * counts.div(counts.sum(axis=1), axis=0)
    legend_rows = -(-counts.shape[1] // 3)
    figure, axes = panels(0.75 + 0.2 * legend_rows + 0.48 * len(counts))
    places, left, handles = np.arange(len(counts)), np.zeros(len(counts)), []
    for i, verdict in enumerate(counts.columns):
        how = {"facecolor": FILLS[i % len(FILLS)], "hatch": HATCHES[i % len(HATCHES)]}
        how |= {"edgecolor": "black", "linewidth": 0.5}
        axes.barh(places, shares[verdict], left=left, height=0.5, **how)
        left += shares[verdict].to_numpy()
        handles.append(Patch(label=verdict, **how))
    names = [f"Table {name}" if isinstance(name, int) else str(name) for name in counts.index]
    totals = counts.sum(axis=1)
    axes.set_yticks(places, [f"{of} (n = {n})" for of, n in zip(names, totals, strict=True)])
    axes.set(xlabel="Share of a table's numbers (%)", xlim=(0, 100),
             ylim=(len(counts) - 0.6, -0.75))  # fmt: skip
    axes.tick_params(axis="y", length=0)
    outside_legend(figure, handles, "left", handleheight=1.2)
    figure.draw_without_rendering()  # how wide a segment is, is known after a layout only
    inches = axes.get_window_extent().width / figure.dpi
    for place, (_, row) in zip(places, counts.iterrows(), strict=True):
        _write_counts(axes, place, row[row > 0].to_numpy(), 100 / inches)
    return figure


def _write_counts(axes: Axes, place: int, counts: np.ndarray, per_inch: float) -> None:
    """Counts in their segments; above the bar, side by side, where a segment is too narrow."""
    shares = 100 * counts / counts.sum()
    middles = np.cumsum(shares) - shares / 2
    widths = np.array([text_inches(str(count), 8) + 0.1 for count in counts]) * per_inch
    narrow = shares < widths
    above = iter(_side_by_side(middles[narrow], widths[narrow]))
    for count, middle, beyond in zip(counts, middles, narrow, strict=True):
        how = {"ha": "center", "va": "center", "fontsize": 8}
        if not beyond:
            paper = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"}
            axes.text(middle, place, str(count), bbox=paper, **how)
            continue
        x = next(above)
        axes.plot([middle, x], [place - 0.25, place - 0.33], color="black", lw=0.5)
        axes.text(x, place - 0.46, str(count), **how)


def _side_by_side(middles: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Ascending places near the middles for texts of these widths between 0 and 100."""
    places, free = np.array(middles, dtype=float), 0.0
    for i, width in enumerate(widths):
        places[i] = max(places[i], free + width / 2)
        free = places[i] + width / 2
    free = 100.0
    for i, width in reversed(list(enumerate(widths))):
        places[i] = min(places[i], free - width / 2)
        free = places[i] - width / 2
    return places

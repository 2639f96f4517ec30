"""The paper's scores beside our own, drawn: scores, gains, learning, verdicts.

A series is told by its mark, dash or hatch and not by its colour alone, so that every figure can be
read in grey. Scores and gains come in per cent, as the paper prints them; only the devel scores of
`curves` are fractions, as a run's history holds them.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dslite.plots import COLOURS, METRICS, panels, styled

PAPER = "paper"  # what the name of a published source begins with
MARKERS = "os^vPX"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
LINE_IN, APART = 0.155, 0.5  # height of a mark's line; what lies between two groups, in lines
VALUE_POINTS = 7
WHITE_EDGE = [withStroke(linewidth=2, foreground="white")]  # lines pass behind a text


def _paper_first(sources: Sequence[str]) -> list[str]:
    """Every source once, the published ones first, else in their order."""
    return sorted(dict.fromkeys(sources), key=lambda name: not name.startswith(PAPER))


def _marks(sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each source is drawn: the paper black and open, everybody else filled and coloured."""
    marks, ours = {}, 0
    for name in _paper_first(sources):
        if name.startswith(PAPER):
            marks[name] = {"marker": "D", "color": "black", "mfc": "white", "ms": 5}
            continue
        colour = COLOURS[ours % len(COLOURS)]
        marks[name] = {"marker": MARKERS[ours % len(MARKERS)], "color": colour, "ms": 5.5}
        ours += 1
    return marks


def _slots(pairs: pd.DataFrame) -> tuple[dict, dict[str, float], float]:
    """A line for every pair of group and source, the lines of a group beside each other.

    Gives the places of the pairs, of the groups' middles, and where the last line ends.
    """
    places, middles, place = {}, {}, 0.0
    group, source = pairs.columns
    for name, of in pairs.groupby(group, sort=False):
        lines = _paper_first(of[source])
        middles[name] = place + (len(lines) - 1) / 2
        places |= {(name, line): place + i for i, line in enumerate(lines)}
        place += len(lines) + APART
    return places, middles, place - APART


def _draw_lines(axes: Axes, rows: pd.DataFrame, group: str, slots: tuple, styles: Mapping) -> None:
    """Marks at ``value`` with their intervals, and their ``text`` at the right of each."""
    places, middles, end = slots
    for row in rows.to_dict("records"):
        place, style, value = places[row[group], row["source"]], styles[row["source"]], row["value"]
        axes.hlines(place, row["low"], row["high"], color=style["color"], lw=1.4)
        axes.plot(value, place, ls="", mew=1.1, zorder=3, **style)
        right = np.nanmax([value, row["high"]])
        beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        beside |= {"fontsize": VALUE_POINTS, "path_effects": WHITE_EDGE}
        axes.annotate(row["text"], (right, place), **beside)
    axes.set_yticks(list(middles.values()), list(middles))
    axes.tick_params(axis="y", length=0)
    tops = sorted(min(p for (name, _), p in places.items() if name == own) for own in middles)
    axes.hlines(np.array(tops[1:]) - (1 + APART) / 2, 0, 1, color="#DDDDDD", lw=0.6,
                transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_ylim(end - 0.4, -0.7)
    axes.grid(axis="x", alpha=0.3)


def text_inches(text: str, points: float) -> float:
    """Width of a text."""
    width, *_ = text_to_path.get_text_width_height_descent(text, FontProperties(size=points), False)
    return width / 72


def _make_room(axes: Axes, rows: pd.DataFrame, others: Sequence[float], width_in: float) -> None:
    """Limits of the horizontal axis within which every mark, interval and text lies.

    ``rows`` have value, low, high and text; ``width_in`` is the axes' least width in inches.
    """
    ends = np.append(rows[["value", "low", "high"]].to_numpy(dtype=float), others)
    low, high = np.nanmin(ends), np.nanmax(ends)
    low -= 0.04 * max(high - low, 1)
    high += 0.02 * max(high - low, 1)
    for right, text in zip(rows[["value", "high"]].max(axis=1), rows["text"], strict=True):
        share = min(0.7, (text_inches(text, VALUE_POINTS) + 0.12) / width_in)
        high = max(high, low + (right - low) / (1 - share))
    axes.set_xlim(low, high)


def outside_legend(figure: Figure, handles: list, where: str = "right", **how: Any) -> None:
    """A legend above the axes in as many columns as the figure is wide enough for."""
    widest = max(text_inches(handle.get_label(), 8) for handle in handles)
    columns = int((figure.get_figwidth() - 0.2) // (widest + how.get("handlelength", 2) / 9 + 0.32))
    figure.legend(handles=handles, loc=f"outside upper {where}", fontsize=8,
                  ncols=min(max(1, columns), len(handles)), **how)  # fmt: skip


def _key(styles: Mapping[str, dict], labels: Mapping[str, str]) -> list[Line2D]:
    return [Line2D([], [], mew=1.1, label=labels[of], **style) for of, style in styles.items()]


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


@styled
def forest(table: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """UAR of every configuration with its interval, ours beside the published one.

    Parameters
    ----------
    table : DataFrame
        ``dataset`` (a panel each), ``configuration`` (a group of lines), ``source`` (a mark; a
        published one begins with "paper" and is a black, open diamond), ``score``, ``low``,
        ``high`` (per cent; an interval may be NaN, a row without a score is left out) and
        ``seeds`` (int; 0: published). A row with fewer seeds than its source has elsewhere says so.
    chance : mapping of dataset -> float
        Score of guessing in per cent.
    """
    table = table[table["score"].notna()]
    sources, most = _paper_first(table["source"]), table.groupby("source")["seeds"].max()
    styles = _marks(sources)
    texts = [
        f"{row.score:.1f}" + (f" ({_seeds(row.seeds)})" if row.seeds < most[row.source] else "")
        for row in table.itertuples()
    ]
    table = table.assign(value=table["score"], text=texts)
    blocks = [(name, of, _slots(of[["configuration", "source"]])) for name, of in
              table.groupby("dataset", sort=False)]  # fmt: skip
    lines = [end + 0.3 for _, _, (_, _, end) in blocks]
    height = 0.75 + LINE_IN * sum(lines) + 0.3 * len(blocks) + 0.06 * len(sources)
    figure, column = panels(height, len(blocks), squeeze=False, sharex=True, height_ratios=lines)
    for axes, (name, rows, slots) in zip(column[:, 0], blocks, strict=True):
        axes.axvline(chance[name], color="grey", ls="--", lw=1)
        _draw_lines(axes, rows, "configuration", slots, styles)
        axes.set_title(f"{name} (chance: {chance[name]:.1f} %)")
    _make_room(column[0, 0], table, [chance[name] for name, *_ in blocks], 5.2)
    column[-1, 0].set_xlabel("Test UAR (%); line: 95 % interval")
    labels = {of: f"{of} ({_seeds(most[of])})" if most[of] else of for of in sources}
    guessing = Line2D([], [], color="grey", ls="--", lw=1, label="chance")
    outside_legend(figure, [*_key(styles, labels), guessing])
    return figure


@styled
def gains(table: pd.DataFrame) -> Figure:
    """What each augmentation adds to the test UAR of "no augmentation", a group per corpus.

    Parameters
    ----------
    table : DataFrame
        ``dataset`` (its title), ``method`` (a panel each), ``source`` (a mark, as in `forest`),
        ``gain``, ``low``, ``high``: percentage points above the same source without augmentation;
        the interval is NaN for published gains, of which the paper prints none.
    """
    table = table[table["gain"].notna()]
    texts = [f"{gain:+.1f}".replace("-", "−") for gain in table["gain"]]
    table, styles = table.assign(value=table["gain"], text=texts), _marks(table["source"])
    slots = _slots(table[["dataset", "source"]].drop_duplicates())
    methods = list(table["method"].unique())
    height = 1.0 + LINE_IN * slots[2] + 0.06 * len(styles)
    figure, row = panels(height, 1, len(methods), sharex=True, sharey=True, squeeze=False)
    for axes, method in zip(row[0], methods, strict=True):
        axes.axvline(0, color="black", lw=0.8)
        _draw_lines(axes, table[table["method"] == method], "dataset", slots, styles)
        axes.set_title(method)
    _make_room(row[0, 0], table, [0], 5.6 / len(methods))
    figure.supxlabel("Gain in test UAR (percentage points); line: 95 % interval", fontsize=9)
    outside_legend(figure, _key(styles, {of: of for of in styles}))
    return figure


def _mean_over_seeds(runs: pd.DataFrame, column: str) -> pd.Series:
    """Mean at the epochs that all seeds have: beyond, the mean would jump where one ends."""
    return runs.pivot(index="epoch", columns="seed", values=column).dropna().mean(axis=1)


def _draw_curves(axes: Axes, runs: pd.DataFrame, column: str, look: Mapping[str, dict]) -> None:
    for name, of in runs[runs[column].notna()].groupby("configuration", sort=False):
        mean, seeds = _mean_over_seeds(of, column), of["seed"].nunique()
        for _, run in of.groupby("seed") if seeds > 1 else ():
            axes.plot(run["epoch"], run[column], color=look[name]["color"], lw=0.5, alpha=0.6)
        # Each line's marks lie at epochs of their own, lest lines on each other hide them.
        step = max(1, len(mean) // 3)
        every = (list(look).index(name) * step // len(look), step)
        axes.plot(mean.index, mean, lw=1.5, markevery=every, ms=4.5, **look[name])
    # Of runs that stopped at different epochs, each begins its second phase at its own.
    second = runs[runs["phase"] == 2].groupby(["configuration", "seed"])["epoch"].min()
    for epoch in second.unique():
        axes.axvline(epoch - 0.5, color="grey", lw=1, ls=":")


@styled
def curves(history: pd.DataFrame, chance: float | None = None, metric: str = "uar") -> Figure:
    """Learning curves of several runs: thin lines the seeds, thick lines their mean.

    Parameters
    ----------
    history : DataFrame
        ``source`` (a row of panels each), ``configuration`` (dash, marks and colour),
        ``seed``, ``epoch`` (counted through), ``phase`` (1, 2), ``train_loss``, ``devel_loss``,
        ``devel_score`` (a fraction). Epochs that were not scored on devel, those of the last
        training on train and devel together, are left out.
    chance : float, optional
        Score of guessing, a fraction.
    metric : str
        A key of `METRICS`.

    Returns
    -------
    Figure
        Both losses at the left, on one logarithmic axis a row (a new head's first loss is a hundred
        times its last one), and the devel score at the right, on the same axis in all rows.
    """
    label, factor, _ = METRICS[metric]
    history = history[history["devel_score"].notna()]
    history = history.assign(score=factor * history["devel_score"])
    sources, names = (list(history[of].unique()) for of in ("source", "configuration"))
    looks = cycle(zip(LINES, MARKERS, COLOURS, strict=True))
    look = {
        name: {"ls": dash, "marker": mark, "color": colour}
        for name, (dash, mark, colour) in zip(names, looks, strict=False)
    }
    figure, grid = panels(0.7 + 1.55 * len(sources), len(sources), 3, squeeze=False)
    for row, source in zip(grid, sources, strict=True):
        runs = history[history["source"] == source]
        for axes, column in zip(row, ("train_loss", "devel_loss", "score"), strict=True):
            _draw_curves(axes, runs, column, look)
            axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        _logarithmic(row[:2])
        if chance is not None:
            row[2].axhline(factor * chance, color="grey", ls="--", lw=1)
        row[0].set(title=source, ylabel="Train loss")
        row[1].set_ylabel("Devel loss")
        row[2].set_ylabel(f"Devel {label}")
    for axes in grid[-1]:
        axes.set_xlabel("Epoch")
    ends = [axes.get_ylim() for axes in grid[:, 2]]
    for axes in grid[:, 2]:
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    outside_legend(figure, _curves_key(history, look, chance), handlelength=3.4)
    return figure


def _curves_key(history: pd.DataFrame, look: Mapping, chance: float | None) -> list[Line2D]:
    handles = [Line2D([], [], lw=1.5, ms=4.5, label=of, **how) for of, how in look.items()]
    if (history.groupby(["source", "configuration"])["seed"].nunique() > 1).any():
        handles.append(Line2D([], [], color="grey", lw=0.5, label="one seed"))
    if (history["phase"] == 2).any():
        handles.append(Line2D([], [], color="grey", lw=1, ls=":", label="phase 2 begins"))
    if chance is not None:
        handles.append(Line2D([], [], color="grey", lw=1, ls="--", label="chance"))
    return handles


def _logarithmic(pair: Sequence[Axes]) -> None:
    """One logarithmic scale for two axes, with plain numbers."""
    ends = [end for axes in pair for end in axes.dataLim.intervaly if np.isfinite(end)]
    decades = np.log10(max(ends) / min(ends))
    for axes in pair:
        axes.set(yscale="log", ylim=(min(ends) / 1.15, 1.15 * max(ends)))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


# As many as there are verdicts
HATCHES = ("", "////", "xxxx", "....", "\\\\\\\\", "----", "++++", "oooo", "**")
FILLS = (COLOURS[2], COLOURS[4], COLOURS[5], "#EEEEEE", "#CCCCCC", COLOURS[1], COLOURS[3])
FILLS += ("white", "#F0E442")


def _order(column: pd.Series) -> list:
    """Categories of a categorical column, else the values in the order they come."""
    return list(column.cat.categories) if hasattr(column, "cat") else list(column.unique())


@styled
def verdict_bars(summary: pd.DataFrame) -> Figure:
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

"""Charts of explanations: where a network listens, and what its explanations are worth."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import plots as dslite_plots
from dslite.explanation import plots as explanation_plots
from dslite.explanation.plots import TEXT, TICKS
from dslite.features.plots import hz_ticks
from dslite.plots import panels, styled

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MARKERS = "os^Dv*"


def _small_multiples(
    table: pd.DataFrame, ends: tuple[str, str], positions: np.ndarray | None = None
) -> tuple[Figure, np.ndarray, int]:
    """Steps of every class, with its standard error, over the mean of all classes.

    Gives the figure, its axes (one a class) and the number of columns; the steps' edges are the
    table's, or drawn at ``positions``.
    """
    names = list(table["class"].unique())
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    how = {"sharex": True, "sharey": True, "squeeze": False}
    made, grid = panels(0.9 + 1.45 * lines, lines, columns, **how)
    power = int(np.floor(np.log10(table["mean_abs"].max() or 1.0)))
    power = 0 if -2 < power < 3 else power
    unit = f" ($10^{{{power}}}$)" if power else ""
    everyone = table.groupby(ends[0])["mean_abs"].mean().to_numpy() / 10.0**power
    for axes, name in zip(grid.flat, names, strict=False):
        own = table[table["class"] == name]
        edges = positions if positions is not None else [0.0, *own[ends[1]]]
        mean, error = own[["mean_abs", "standard_error"]].to_numpy(dtype=float).T / 10.0**power
        band = {
            "baseline": mean - error,
            "fill": True,
            "color": dslite_plots.COLOURS[4],
            "alpha": 0.5,
        }
        if np.isfinite(error).all():
            axes.stairs(mean + error, edges, label="± standard error", **band)
        axes.stairs(
            mean, edges, color=dslite_plots.COLOURS[0], lw=1.5, baseline=None, label="class"
        )
        other = {"color": "black", "ls": "--", "lw": 0.8, "baseline": None}
        if len(names) > 1:
            axes.stairs(everyone, edges, label="mean of the classes", **other)
        n = int(own["files"].iloc[0])
        text = f"{name} ({n} file{'s' if n > 1 else ''})"
        explanation_plots.entitle(axes, text, (7 - 0.6) / columns - 0.1)
    for i, axes in enumerate(grid.flat):
        axes.tick_params(labelsize=TICKS, labelbottom=i + columns >= len(names))
        if i >= len(names):
            axes.set_axis_off()
    grid[0, 0].set_ylim(bottom=0)
    made.supylabel(f"Mean |SHAP value|{unit}", fontsize=TEXT)
    made.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return made, grid.ravel()[: len(names)], columns


@styled
def frequencies(table: pd.DataFrame) -> Figure:
    """Mean absolute SHAP values of every class by frequency, on the Mel axis.

    Columns as `dslite.explanation.attributions.frequency_table` makes them.
    """
    first = table[table["class"] == table["class"].iloc[0]]
    edges = np.array([first["low_hz"].iloc[0], *first["high_hz"]], dtype=float)
    last = len(edges) - 1
    made, row, columns = _small_multiples(table, ("low_hz", "high_hz"), np.arange(last + 1))
    # The filter bank's ends, which are the round ones, lie a little outside of the picture. Where
    # the axis is short, texts at its linear end would overlap.
    gap, shown = 0.12 * last * (columns > 1), []
    for place, text in reversed(list(zip(*hz_ticks(edges), strict=True))):
        if -0.3 < place < last + 0.3 and (not shown or shown[-1][0] - place > gap):
            shown.append((place, text))
    places, texts = zip(*shown, strict=True)
    row[0].set_xticks(np.clip(places, 0, last), texts)
    row[0].set_xlim(0, last)
    made.supxlabel("Frequency (Hz)", fontsize=TEXT)
    return made


@styled
def times(table: pd.DataFrame) -> Figure:
    """Mean absolute SHAP values of every class over a clip's relative time.

    Columns as `dslite.explanation.attributions.time_table` makes them.
    """
    made, row, _ = _small_multiples(table, ("from_share", "to_share"))
    row[0].set_xlim(0, 1)
    row[0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    made.supxlabel("Relative time in the clip (0: its start, 1: its end)", fontsize=TEXT)
    return made


@styled
def curves(table: pd.DataFrame) -> Figure:
    """Score over the share of the picture that is removed, or shown, in a method's order.

    Columns: ``method`` ("random" is the yardstick, in grey), ``curve`` ("deletion", where a
    faithful method falls early, or "insertion", where it rises early), ``share`` (0 to 1), and
    ``score`` (mean probability).
    """
    verbs = {"deletion": "removed", "insertion": "shown"}
    made, row = panels(2.9, 1, 2, sharey=True)
    known = [name for name in table["method"].unique() if name != "random"]
    for axes, (curve, verb) in zip(row, verbs.items(), strict=True):
        for name in [*known, "random"]:
            own = table[(table["method"] == name) & (table["curve"] == curve)].sort_values("share")
            i = known.index(name) if name in known else 0
            how = {"color": "grey", "ls": "--", "lw": 1.2}
            if name != "random":
                marks = {"marker": MARKERS[i % 6], "ms": 3.5, "markevery": (i, len(known) + 1)}
                how = {"color": dslite_plots.COLOURS[i % 6], "ls": LINES[i % 6], **marks}
            if len(own):
                axes.plot(own["share"], own["score"], label=name, **how)
        axes.set(xlabel=f"Share of the picture {verb}", xlim=(0, 1), title=curve.capitalize())
        axes.grid(alpha=0.3)
    row[0].set(ylabel="Mean probability of the class", ylim=(0, None))
    handles = {of.get_label(): of for axes in row for of in axes.get_lines()}
    made.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return made

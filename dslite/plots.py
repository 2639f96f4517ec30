"""One function per kind of picture, all in one style.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook (after
``%matplotlib inline``) shows it once, as the last expression of a cell, and nothing stays open.
Scores come in as fractions, a UAR is drawn in per cent. Low frequencies lie at the bottom.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, told apart by the colour-blind (jfly.uni-koeln.de/color)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "figure.dpi": 110}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
STYLE |= {"axes.prop_cycle": mpl.cycler(color=COLOURS), "savefig.dpi": 200}
# Fonts are embedded as fonts, so that text stays text; the same picture gives the same file.
STYLE |= {"pdf.fonttype": 42, "svg.hashsalt": "dslite"}
METRICS = {"uar": ("UAR (%)", 100, ".1f"), "spearman": ("Spearman's ρ", 1, ".2f")}
styled = mpl.rc_context(STYLE)


def panels(height: float, rows: int = 1, columns: int = 1, width: float = 7, **shared: Any):
    """Figure in inches (7: an A4 page's text) and its axes [rows, columns], or the only one."""
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


@styled
def durations(durations_s: Mapping[str, np.ndarray], chunk_length_s: float) -> Figure:
    """Histogram of durations in s, float [files] of every partition, and the chunk's length."""
    figure, axes = panels(2.7)
    values = [np.asarray(of, dtype=float) for of in durations_s.values()]
    bins = np.histogram_bin_edges(np.concatenate(values), bins=40)
    labels = [f"{name} ({len(of)} files)" for name, of in durations_s.items()]
    axes.hist(values, bins, stacked=True, label=labels, color=COLOURS[: len(values)])
    axes.axvline(chunk_length_s, color="black", ls="--", label=f"chunk ({chunk_length_s:g} s)")
    axes.set(xlabel="Duration of a file (s)", ylabel="Files")
    axes.yaxis.set_major_locator(whole_ticks())
    figure.legend(loc="outside upper right", ncols=len(values) + 1)
    return figure


@styled
def counts(table: pd.DataFrame, label: str = "Files") -> Figure:
    """Stacked bars of counts: index classes or speakers, columns partitions."""
    figure, axes = panels(2.8)
    texts, places = [str(name) for name in table.index], np.arange(len(table))
    few, below = len(texts) <= 12, np.zeros(len(texts))
    for colour, (partition, column) in zip(COLOURS, table.fillna(0).items(), strict=False):
        bars = axes.bar(places, column, bottom=below, color=colour, label=partition)
        below += column.to_numpy()
        if few:
            how = {"fontsize": 8, "color": "white" if colour == COLOURS[0] else "black"}
            axes.bar_label(
                bars, [f"{n:.0f}" if n else "" for n in column], label_type="center", **how
            )
    turn = 90 if not few or max(map(len, texts)) * len(texts) > 80 else 0
    size = max(5, min(8, 380 / len(texts)))  # points, so that a letter is no higher than a bar
    axes.set_xticks(places, texts, rotation=turn, fontsize=size)
    axes.set(ylabel=label, xlim=(-0.6, len(texts) - 0.4), ylim=(0, 1.05 * max(1, *below)))
    axes.yaxis.set_major_locator(whole_ticks())
    figure.legend(loc="outside upper right", ncols=table.shape[1])
    return figure


@styled
def confusion_matrix(matrix: np.ndarray, classes: Sequence[str], title: str = "") -> Figure:
    """Files int [C, C] of every true class (row): number, and share of the row (paper, Figure 3).

    The darker a cell, the higher its share; a class without files has no shares.
    """
    import seaborn as sns  # here: importing it takes a second

    matrix, names = np.asarray(matrix), list(classes)
    files = matrix.sum(axis=1, keepdims=True)
    shares = 100 * matrix / np.maximum(files, 1)
    texts = np.char.add(np.char.mod("%d\n", matrix), np.char.mod("%.1f %%", shares))
    texts = np.where(files > 0, texts, "0\n–")
    side, letters = min(5.2, 1.2 + 0.72 * len(names)), max(map(len, names))
    turn = 90 if 6 * letters > 72 * (side - 1) / len(names) else 0  # text and cell in points
    beside = max(0, 0.075 * letters - 0.7)  # inches by which the longest name is a long one
    width = min(7, side + 1.8 + beside)
    figure, axes = panels(width - (0.9 if turn else 1.2 + beside), width=width)
    cells = {"annot": texts, "fmt": "", "annot_kws": {"fontsize": 9 if len(names) <= 7 else 7}}
    scale = {"cmap": "Blues", "vmin": 0, "vmax": 100, "linewidths": 0.5, "square": True}
    bar = {"label": "Share of the true class (%)", "shrink": 0.8}
    shares = pd.DataFrame(shares, index=names, columns=names)
    sns.heatmap(shares, ax=axes, cbar_kws=bar, **cells, **scale)
    for text, shade in zip(axes.texts, axes.collections[0].get_facecolors(), strict=True):
        # seaborn's own choice puts white on a light blue: a contrast of 2.4, here 3.3 (WCAG 2)
        text.set_color("white" if sns.utils.relative_luminance(shade) < 0.27 else "black")
    axes.tick_params(axis="x", rotation=turn, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    axes.set(xlabel="Predicted class", ylabel="True class", title=title)
    return figure


@styled
def predicted_against_true(true: np.ndarray, predicted: np.ndarray, title: str = "") -> Figure:
    """Predicted over true numbers, float [files] in the label's unit, and where they are equal."""
    figure, axes = panels(3.6, width=3.8)
    axes.axline(
        (np.mean(true),) * 2, slope=1, color="grey", lw=1, ls="--", label="predicted = true"
    )
    axes.scatter(true, predicted, s=14, alpha=0.5, linewidths=0)
    axes.set(xlabel="True label", ylabel="Predicted label", title=title)
    axes.set_aspect("equal", "datalim")
    axes.legend(fontsize=8)
    return figure


def _marks(
    axes: Axes, places: np.ndarray, values: np.ndarray, ends: tuple, i: int, label: str, digits: str
) -> None:
    """The i-th series' values with their intervals, two arrays, at places on the vertical axis."""
    axes.hlines(places, *ends, color=COLOURS[i])
    axes.plot(values, places, "os^D"[i], color=COLOURS[i], ms=5, label=label)
    above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
    above["path_effects"] = [withStroke(linewidth=2, foreground="white")]  # lines pass behind it
    for value, place in zip(values, places, strict=True):
        if np.isfinite(value):
            axes.annotate(f"{value:{digits}}", (value, place), fontsize=7, **above)


@styled
def ablation(table: pd.DataFrame, chance: float, metric: str = "uar") -> Figure:
    """Scores with their intervals: a line per configuration, a mark per partition.

    Columns: ``configuration``, ``partition``, ``score``, ``low``, ``high`` (fractions; an interval
    may be missing; `metric` is a key of `METRICS`). `chance` is the score of guessing.
    """
    label, factor, digits = METRICS[metric]
    names, partitions = (list(table[of].unique()) for of in ("configuration", "partition"))
    figure, axes = panels(1 + 0.3 * len(names) * max(2, len(partitions)))
    axes.axvline(factor * chance, color="grey", ls="--", lw=1, label="chance")
    for i, partition in enumerate(partitions):
        rows = table[table["partition"] == partition]
        shift = 0.6 * ((i + 0.5) / len(partitions) - 0.5)
        places = np.array([names.index(name) for name in rows["configuration"]]) + shift
        score, low, high = factor * rows[["score", "low", "high"]].to_numpy(dtype=float).T
        _marks(axes, places, score, (low, high), i, partition, digits)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.6))
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=len(partitions) + 1)
    return figure


@styled
def recalls(table: pd.DataFrame) -> Figure:
    """Share of every class's files that was recognised, with its intervals; a line per class.

    Columns: ``class``, ``n`` (files), ``recall``, ``low`` and ``high`` (over files),
    ``low_speakers`` and ``high_speakers`` (fractions, NaN where undefined) and optionally
    ``partition``, a mark each. The mean over the classes is the UAR.
    """
    table = table if "partition" in table else table.assign(partition="")
    names, partitions = (list(table[of].unique()) for of in ("class", "partition"))
    figure, axes = panels(1.1 + 0.34 * len(names) * max(1.2, len(partitions)))
    files = [[] for _ in names]
    for i, partition in enumerate(partitions):
        rows = table[table["partition"] == partition]
        lines = np.array([names.index(name) for name in rows["class"]])
        places = lines + 0.7 * ((i + 0.5) / len(partitions) - 0.5)
        ends = ["low", "high", "low_speakers", "high_speakers"]
        recall, *ends = 100 * rows[["recall", *ends]].to_numpy(dtype=float).T
        _marks(axes, places, recall, ends[:2], i, partition or "recall", ".1f")
        below = places + 0.13 / len(partitions)  # where the other interval does not hide it
        axes.hlines(below, *ends[2:], color=COLOURS[i], lw=0.6)
        uar = np.nanmean(recall)
        axes.axvline(uar, color=COLOURS[i], ls="--", lw=1, label=f"UAR {uar:.1f} %")
        for line, n in zip(lines, rows["n"], strict=True):
            files[line].append(f"{n} {partition}" if partitions[1:] else f"{n}")
    axes.plot([], color="grey", label="95 % over files")
    if table["low_speakers"].notna().any():
        axes.plot([], color="grey", lw=0.6, label="95 % over speakers")
    said = "{}\nn = {}" if partitions[1:] else "{} (n = {})"
    texts = [said.format(name, ", ".join(of)) for name, of in zip(names, files, strict=True)]
    axes.set_yticks(range(len(names)), texts)
    axes.set(xlabel="Recall (%)", xlim=(-2, 102), ylim=(len(names) - 0.5, -0.6))
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=len(partitions) + 1 if partitions[1:] else 4)
    return figure

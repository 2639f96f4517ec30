"""Which classes are taken for which (paper, Figure 3): tables of a run's predictions, and figures.

A table of predictions has one row a file of one partition: ``file, speaker, label, prediction`` and
one column a class. Every share is a fraction. Tables of a partition whose labels are blinded
(empty), and of a regression (no classes), have no rows.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import plots
from dslite.evaluation import metrics

RECALLS = ["class", "n", "recognised", "recall", "low", "high", "low_speakers", "high_speakers"]
CONFUSIONS = ["true", "predicted", "files", "share", "file", "probability", "examples"]
MOST = 10  # confusions of a table
EXAMPLES = 3  # file names of a confusion


def _labelled(predictions: pd.DataFrame, classes: Sequence[str]) -> bool:
    """Whether there are classes and every file's is known."""
    return bool(len(classes) and len(predictions) and (predictions["label"] != "").all())


def recall_table(
    predictions: pd.DataFrame, classes: Sequence[str], draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Compute how much of every class was recognised, file by file, in the card's order.

    Returns one row a class: ``class``, ``n`` (its files), ``recognised``, ``recall``, and its 95 %
    bootstrap intervals ``low, high`` over files and ``low_speakers, high_speakers``; NaN where
    undefined or speakers are unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"speaker": "", "label": ["no", "yes"], "prediction": ["no", "no"]})
    >>> recall_table(table, ["no", "yes"])[["class", "n", "recall"]]
      class  n  recall
    0    no  1     1.0
    1   yes  1     0.0
    """
    if not _labelled(predictions, classes):
        return pd.DataFrame(columns=RECALLS)
    index = pd.Index(classes)
    pair = [index.get_indexer(predictions[column]) for column in ("label", "prediction")]
    n_classes = len(classes)
    matrix = metrics.confusion_matrix(*pair, n_classes)
    table = {"class": list(classes), "n": matrix.sum(axis=1), "recognised": np.diagonal(matrix)}
    table["recall"] = metrics.recalls(*pair, n_classes)
    draw = partial(metrics.bootstrap_recalls, *pair, n_classes, draws=draws, seed=seed)
    speakers = metrics.known_speakers(predictions["speaker"])
    by_speakers = [None] * n_classes if speakers is None else draw(speakers)
    for suffix, intervals in (("", draw()), ("_speakers", by_speakers)):
        ends = np.array([interval or (np.nan, np.nan) for interval in intervals])
        table |= {f"low{suffix}": ends[:, 0], f"high{suffix}": ends[:, 1]}
    return pd.DataFrame(table)


def detection_lines(recalls: pd.DataFrame, partition: str) -> list[str]:
    """Describe a partition's `recall_table` of two classes by sensitivity and specificity.

    The positive class is the one of that name, else the second; other corpora have no line.
    """
    if len(recalls) != 2:
        return []
    rows, lines = recalls.set_index("class"), []
    positive = "positive" if "positive" in rows.index else rows.index[1]
    (negative,) = rows.index.drop(positive)
    for measure, name in (("sensitivity", positive), ("specificity", negative)):
        row = 100 * rows.loc[name]
        text = f"{row['recall']:.1f} %" if row["n"] else "undefined"
        if not np.isnan(row["low"]):
            text += f" ({row['low']:.1f}-{row['high']:.1f})"
        lines.append(f"{partition}: {measure} {text}, the recall of {name}")
    return lines


def confusion_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """List the ten most frequent confusions (then by share and the card's order), with examples.

    Returns one row a pair of classes: ``true``, ``predicted``, ``files``, ``share`` (of the true
    class's files), ``file`` (the most confident one), ``probability`` (of the predicted class
    there; with ``fusion=vote`` its share of the chunks, of a baseline its decision value) and
    ``examples`` (up to three files, the most confident first, joined by "; ").
    """
    if not _labelled(predictions, classes):
        return pd.DataFrame(columns=CONFUSIONS)
    files, rows = predictions["label"].value_counts(), []
    for true, predicted in itertools.permutations(classes, 2):
        pair = predictions[(predictions[["label", "prediction"]] == [true, predicted]).all(axis=1)]
        if len(pair):
            surest = pair.sort_values([predicted, "file"], ascending=[False, True])
            row = [true, predicted, len(pair), len(pair) / files[true]]
            row += [surest["file"].iloc[0], float(surest[predicted].iloc[0])]
            rows.append([*row, "; ".join(surest["file"][:EXAMPLES])])
    rows.sort(key=lambda row: (-row[2], -row[3]))  # stable: then in the card's order
    return pd.DataFrame(rows[:MOST], columns=CONFUSIONS)


def figures(
    scores: Mapping[str, Any], predictions: pd.DataFrame, classes: Sequence[str]
) -> dict[str, Figure]:
    """Draw Figure 3 of the labelled ones of some partitions: file name without suffix -> figure.

    ``scores`` are partition -> what `dslite.evaluation.metrics.evaluate` gives (None: blinded); the
    predictions have a column ``partition``.
    """
    drawn = {}
    for partition, score in scores.items():
        if score and classes:
            for level, suffix in (("file", ""), ("chunk", "_chunks")):
                part = score[level]
                title = f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
                figure = plot_confusion_matrix(part["confusion"], classes, title)
                drawn[f"confusion_{partition}{suffix}"] = figure
        elif score:
            rows, file = predictions[predictions["partition"] == partition], score["file"]
            text = "undefined" if file["score"] is None else f"{file['score']:.3f}"
            title = f"{partition}, {file['n']} files: rho {text}"
            drawn[f"predicted_{partition}"] = _plot_predicted(rows, title)
    return drawn


@plots.styled
def plot_confusion_matrix(matrix: np.ndarray, classes: Sequence[str], title: str = "") -> Figure:
    """Draw files int [C, C] of every true class (row): number, and share of the row.

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
    margin = max(0, 0.075 * letters - 0.7)  # inches by which the longest name is a long one
    width = min(7, side + 1.8 + margin)
    figure, axes = plots.panels(width - (0.9 if turn else 1.2 + margin), width=width)
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


@plots.styled
def _plot_predicted(predictions: pd.DataFrame, title: str) -> Figure:
    """Draw predicted over true numbers."""
    true, predicted = predictions[["label", "prediction"]].to_numpy(dtype=float).T
    figure, axes = plots.panels(3.6, width=3.8)
    line = {"color": "grey", "lw": 1, "ls": "--", "label": "predicted = true"}
    axes.axline((np.mean(true),) * 2, slope=1, **line)
    axes.scatter(true, predicted, s=14, alpha=0.5, linewidths=0)
    axes.set(xlabel="True label", ylabel="Predicted label", title=title)
    axes.set_aspect("equal", "datalim")
    axes.legend(fontsize=8)
    return figure


@plots.styled
def plot_recalls(table: pd.DataFrame) -> Figure:
    """Draw every class's recall with its intervals, and their mean, the UAR.

    Takes `recall_table` with a column ``partition``, a group of lines each.
    """
    percent = ["recall", "low", "high", "low_speakers", "high_speakers"]
    label = table["class"] + table["n"].map(" (n = {})".format)
    rows = table.assign(label=label, **100 * table[percent].astype(float))
    rows = rows.rename(columns={"recall": "value", "partition": "group"})
    uars = rows.groupby("group", sort=False)["value"].mean()
    figure, axes = plots.panels(1 + 0.24 * (len(rows) + len(uars)))
    plots.forest(axes, rows)
    for colour, uar in zip(plots.COLOURS, uars, strict=False):
        axes.axvline(uar, color=colour, ls="--", lw=1, label=f"UAR {uar:.1f} %")
    axes.plot([], color="grey", lw=2.5, label="95 % over files")
    if table["low_speakers"].notna().any():
        axes.plot([], color="grey", lw=0.7, label="95 % over speakers")
    axes.set(xlabel="Recall (%)", xlim=(-2, 102))
    figure.legend(loc="outside upper right", ncols=2 + len(uars))
    return figure

"""Which classes are taken for which (paper, Figure 3): tables of a run's predictions, and figures.

A table of predictions has one row a file of one partition: ``file, speaker, label, prediction`` and
one column a class. Every share is a fraction. Tables of a partition whose labels are blinded
(empty), and of a regression (no classes), have no rows.
"""

import itertools
from collections.abc import Mapping, Sequence
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


def exact_interval(right: int, n: int) -> metrics.Interval:
    """Compute the 95 % interval of a share after Clopper and Pearson (1934); NaN of no files.

    Examples
    --------
    >>> [round(end, 3) for end in exact_interval(16, 16)]
    [0.794, 1.0]
    """
    from scipy.stats import binomtest  # here: half a second that a prediction should not wait for

    if not n:
        return np.nan, np.nan
    interval = binomtest(int(right), int(n)).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)


def recall_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Compute how much of every class was recognised, file by file, in the card's order.

    Returns one row a class: ``class``, ``n`` (its files), ``recognised``, ``recall``, its 95 %
    intervals ``low, high`` over files (`exact_interval`) and ``low_speakers, high_speakers``
    (`dslite.evaluation.metrics.over_speakers`); NaN where undefined or speakers unknown or few.

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
    exact = [exact_interval(*row) for row in zip(table["recognised"], table["n"], strict=True)]
    speakers = metrics.known_speakers(predictions["speaker"])
    by_speakers = [None] * n_classes
    if speakers is not None:
        by_speakers = metrics.speaker_recalls(*pair, n_classes, speakers)
    for suffix, intervals in (("", exact), ("_speakers", by_speakers)):
        ends = np.array([interval or (np.nan, np.nan) for interval in intervals])
        table |= {f"low{suffix}": ends[:, 0], f"high{suffix}": ends[:, 1]}
    return pd.DataFrame(table)


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
    scores: Mapping[str, Any], predictions: pd.DataFrame, classes: Sequence[str], name: str = ""
) -> dict[str, Figure]:
    """Draw Figure 3 of the labelled ones of some partitions: file name without suffix -> figure.

    ``scores`` are partition -> what `dslite.evaluation.metrics.evaluate` gives (None: blinded); the
    predictions have a column ``partition``; ``name`` (corpus, network, seed) is in the titles.
    """
    drawn = {}
    for partition, score in scores.items():
        if score and classes:
            for level, suffix in (("file", ""), ("chunk", "_chunks")):
                part = score[level]
                title = f"{name}\n" * bool(name)
                title += f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
                figure = plot_confusion_matrix(part["confusion"], classes, title, level == "file")
                drawn[f"confusion_{partition}{suffix}"] = figure
        elif score:
            rows, file = predictions[predictions["partition"] == partition], score["file"]
            text = "undefined" if file["score"] is None else f"{file['score']:.3f}"
            title = f"{name}\n" * bool(name) + f"{partition}, {file['n']} files: rho {text}"
            drawn[f"predicted_{partition}"] = _plot_predicted(rows, title)
    return drawn


@plots.styled
def plot_confusion_matrix(
    matrix: np.ndarray, classes: Sequence[str], title: str = "", independent: bool = True
) -> Figure:
    """Draw files int [C, C] of every true class (row): number, and share of the row.

    The darker a cell, the higher its share; cells without files are blank. At the right stands
    each class's recall and, of ``independent`` rows (files, not chunks), its `exact_interval`.
    """
    matrix, names = np.asarray(matrix), list(classes)
    n, files = len(names), matrix.sum(axis=1)
    shares = 100 * matrix / np.maximum(files, 1)[:, None]
    side, letters = min(5.2, 1.2 + 0.72 * n), max(map(len, names))
    turn = 90 if 6 * letters > 72 * (side - 1) / n else 0  # text and cell in points
    margin = max(0, 0.075 * letters - 0.7)  # inches by which the longest name is a long one
    width = min(7, side + 1.8 + margin)
    figure, axes = plots.panels(width - (0.9 if turn else 1.2 + margin), width=width)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    for row, column in np.argwhere(matrix > 0):
        # White on dark blue, black on light: a contrast of 3 at least (WCAG 2)
        colour = "white" if shares[row, column] > 62 else "black"
        text = f"{matrix[row, column]}\n{shares[row, column]:.1f} %"
        where = {"ha": "center", "va": "center", "fontsize": 9 if n <= 7 else 7}
        axes.text(column, row, text, color=colour, **where)
    axes.set_xticks(range(n), names, rotation=turn, parse_math=False)
    axes.set_yticks(range(n), names, parse_math=False)
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    recalls = axes.secondary_yaxis("right")
    texts = [_recall_text(*of, independent) for of in zip(np.diagonal(matrix), files, strict=True)]
    recalls.set_yticks(range(n), texts)
    recalls.tick_params(length=0, labelsize=8)
    recalls.spines[:].set_visible(False)
    recalls.set_ylabel("Recall (%)" + ", 95 % over files" * independent, fontsize=8)
    axes.set(xlabel="Predicted class", ylabel="True class", title=title)
    return figure


def _recall_text(right: int, n: int, with_interval: bool) -> str:
    """A recall in per cent and its interval, or a dash where there is no file."""
    if not n:
        return "–"
    low, high = exact_interval(right, n)
    return f"{100 * right / n:.1f}" + f"\n{100 * low:.0f}–{100 * high:.0f}" * with_interval


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

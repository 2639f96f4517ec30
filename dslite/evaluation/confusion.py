"""Which classes a finished run takes for which (paper, Figure 3).

Every share is a fraction. A partition whose labels are blinded, and a regression, has no recalls
and no confusions.
"""

import html
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import plots
from dslite.evaluation import metrics as evaluation_metrics
from dslite.training.runs import Run

RECALLS = ["class", "n", "recognised", "recall", "low", "high", "low_speakers", "high_speakers"]
CONFUSIONS = ["true", "predicted", "files", "share", "file", "probability", "examples"]
EXAMPLES = 3  # file names told of a confusion


def figures(run: Run) -> dict[str, Figure]:
    """Figure 3 of devel and test, where labelled.

    Returns
    -------
    dict
        File name without suffix -> figure: ``confusion_<partition>`` of files and
        ``confusion_<partition>_chunks``; of a regression ``predicted_<partition>``, of files.
    """
    made = {}
    for partition in ("devel", "test"):
        metrics = run.metrics[partition]
        if metrics is None:
            continue
        if run.task == "regression":
            made[f"predicted_{partition}"] = _predicted(run, partition, metrics["file"])
            continue
        for level, suffix in (("file", ""), ("chunk", "_chunks")):
            part = metrics[level]
            title = f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
            figure = plots.confusion_matrix(np.array(part["confusion"]), run.classes, title)
            made[f"confusion_{partition}{suffix}"] = figure
    return made


def _predicted(run: Run, partition: str, part: dict[str, Any]) -> Figure:
    """Predicted over true numbers of a regression's files."""
    own = run.predictions.query("partition == @partition")
    true, predicted = (own[name].astype(float).to_numpy() for name in ("label", "prediction"))
    score = "undefined" if part["score"] is None else f"{part['score']:.3f}"
    title = f"{partition}, {part['n']} files: rho {score}"
    return plots.predicted_against_true(true, predicted, title)


def _labelled(run: Run, partition: str) -> pd.DataFrame | None:
    """Predictions of a labelled partition of a classification, else None."""
    if run.task == "regression" or run.metrics[partition] is None:
        return None
    return run.predictions.query("partition == @partition")


def recalls(run: Run, partition: str) -> pd.DataFrame:
    """How much of every class was recognised, file by file.

    Returns
    -------
    DataFrame
        One row a class in the card's order: ``class``, ``n`` (its files), ``recognised``,
        ``recall``, and its 95 % bootstrap intervals ``low`` to ``high`` over files and
        ``low_speakers`` to ``high_speakers``; NaN where undefined or speakers are unknown. No row
        for a blinded partition or a regression.
    """
    own = _labelled(run, partition)
    if own is None:
        return pd.DataFrame(columns=RECALLS)
    true, said = (pd.Index(run.classes).get_indexer(own[of]) for of in ("label", "prediction"))
    matrix = evaluation_metrics.confusion(true, said, len(run.classes))
    table = {
        "class": run.classes,
        "n": matrix.sum(axis=1),
        "recognised": np.diagonal(matrix),
        "recall": evaluation_metrics.recalls(true, said, len(run.classes)),
    }
    draws = {"draws": run.settings.bootstrap_draws, "seed": run.record["seed"]}
    draw = partial(evaluation_metrics.bootstrap_recalls, true, said, len(run.classes), **draws)
    speakers = evaluation_metrics.known_speakers(own["speaker"], len(own))
    by_speakers = [None] * len(run.classes) if speakers is None else draw(speakers)
    for suffix, intervals in (("", draw()), ("_speakers", by_speakers)):
        ends = np.array([of or (np.nan, np.nan) for of in intervals])
        table |= {f"low{suffix}": ends[:, 0], f"high{suffix}": ends[:, 1]}
    return pd.DataFrame(table)


def detection(run: Run, partition: str) -> dict[str, Any] | None:
    """Sensitivity and specificity of a corpus with two classes: the recalls of the two.

    Returns
    -------
    dict or None
        ``positive`` and ``negative``, classes: the positive one is the one of that name, else the
        card's second; ``sensitivity`` (the positive class's recall) and ``specificity``, None for a
        class without files; their intervals ``sensitivity_files``, ``sensitivity_speakers``,
        ``specificity_files`` and ``specificity_speakers``, (low, high) or None where undefined.
        None in all for another number of classes, a blinded partition or a regression.
    """
    table = recalls(run, partition).set_index("class")
    if len(table) != 2:
        return None
    positive = "positive" if "positive" in table.index else run.classes[1]
    (negative,) = set(run.classes) - {positive}
    found: dict[str, Any] = {"positive": positive, "negative": negative}
    for measure, name in (("sensitivity", positive), ("specificity", negative)):
        row = table.loc[name]
        found[measure] = float(row["recall"]) if row["n"] else None
        for by, suffix in (("files", ""), ("speakers", "_speakers")):
            low, high = float(row[f"low{suffix}"]), float(row[f"high{suffix}"])
            found[f"{measure}_{by}"] = None if np.isnan(low) else (low, high)
    return found


def confusions(run: Run, partition: str, most: int = 10) -> pd.DataFrame:
    """The most frequent confusions and their most confident examples.

    Parameters
    ----------
    run : Run
    partition : str
    most : int
        Rows.

    Returns
    -------
    DataFrame
        One row a pair of classes, the most frequent first (then the one with the larger share,
        then in the card's order): ``true``, ``predicted``, ``files``, ``share`` (of the true
        class's files), ``file`` (the most confident one), ``probability`` (of the predicted class
        there; with ``fusion=vote`` its share of the chunks, of a baseline its decision value) and
        ``examples`` (up to three files, the most confident first, joined by "; "). No row where
        nothing is confused, for a blinded partition or a regression.
    """
    own = _labelled(run, partition)
    if own is None or (own["label"] == own["prediction"]).all():
        return pd.DataFrame(columns=CONFUSIONS)
    files, place = own["label"].value_counts(), run.classes.index
    found = []
    wrong = own[own["label"] != own["prediction"]]
    for (true, predicted), pair in wrong.groupby(["label", "prediction"]):
        surest = pair.sort_values([predicted, "file"], ascending=[False, True])
        row = {
            "true": true,
            "predicted": predicted,
            "files": len(pair),
            "share": len(pair) / files[true],
            "file": surest["file"].iloc[0],
            "probability": float(surest[predicted].iloc[0]),
            "examples": "; ".join(surest["file"][:EXAMPLES]),
        }
        order = (-row["files"], -row["share"], place(true), place(predicted))
        found.append((order, row))
    ranked = [row for _, row in sorted(found, key=itemgetter(0))]
    return pd.DataFrame(ranked[:most], columns=CONFUSIONS)


def detection_lines(run: Run, partition: str) -> list[str]:
    """Sensitivity and specificity in words, for a corpus with two classes; else none."""
    found = detection(run, partition)
    if found is None:
        return []
    lines = []
    for measure, name in (("sensitivity", "positive"), ("specificity", "negative")):
        value, interval = found[measure], found[f"{measure}_files"]
        said = "undefined" if value is None else f"{100 * value:.1f} %"
        said += f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if interval else ""
        lines.append(f"{partition}: {measure} {said}, the recall of {found[name]}")
    return lines


def with_links(table: pd.DataFrame) -> str:
    """`confusions` as an HTML table; its rows link to ``#confusion-1`` and so on, to listen."""
    if table.empty:
        return "<p>Nothing was confused.</p>"
    shown = table[["true", "predicted", "files", "share", "file", "probability"]].copy()
    shown["share"] = (100 * shown["share"]).map("{:.1f} %".format)
    shown["probability"] = shown["probability"].map("{:.3f}".format)
    for column in ("true", "predicted", "file"):
        shown[column] = shown[column].map(html.escape)
    shown["listen"] = [f'<a href="#confusion-{i}">listen</a>' for i in range(1, len(shown) + 1)]
    return shown.to_html(index=False, escape=False, border=0)


def link_target(number: int, confusion: pd.Series) -> str:
    """What a row of `with_links` links to, as HTML: a heading for what is to be heard."""
    words = f"{confusion['true']} taken for {confusion['predicted']}: {confusion['file']}"
    return f'<div id="confusion-{number}">{number}. {html.escape(words)}</div>'

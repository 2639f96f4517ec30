"""Speaker-independent cross-validation: a corpus divided k times, every file tested once.

With few test speakers a score depends on which they are. In k folds each speaker is tested by a
model that did not learn from them. In every fold epochs and settings are chosen on devel, and a
fold's run is a run like any other.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.datasets import partitions
from dslite.datasets.manifest import Manifest
from dslite.evaluation import metrics
from dslite.settings import PARTITIONS
from dslite.training import runs

LAST = "folds.json"  # written last: without it a cross-validation is not finished
FUSIONS = ("score_mean", "score_vote")  # of chunks; nothing is fused in what is pooled


@dataclass(frozen=True)
class Summary:
    """A finished cross-validation as it lies on disk.

    Attributes
    ----------
    folder : Path
        Holds the folds' runs, ``folds.csv``, ``predictions.csv`` and ``folds.json``.
    table : DataFrame
        Content of ``folds.csv``, one row a fold: files of each partition, speakers tested, both
        scores (fractions, or rho).
    record : dict
        Content of ``folds.json``: ``metric``, ``chance``, the folds' ``mean`` and ``deviation``
        (standard deviation of a sample, ddof 1), and of all files together ``pooled``.
    """

    folder: Path
    table: pd.DataFrame
    record: dict[str, Any]


def cross_validate(
    manifest: Manifest,
    k: int,
    train_fold: Callable[[Manifest], runs.Run],
    log: Callable[[str], None] = print,
) -> Summary:
    """Run once for each of k folds and write what the runs say together.

    Interrupted, it goes on where it was, as far as ``train_fold`` does not repeat what is finished.

    Parameters
    ----------
    manifest : Manifest
    k : int
        Number of folds.
    train_fold : callable
        `dslite.training.experiment.train` or `dslite.training.baselines.train_baseline` with all
        arguments but the manifest.
    log : callable
        Takes the lines of the log.
    """
    folds, finished = partitions.divide(manifest, k), []
    blinded = (manifest.table["label"] == "").sum()
    if blinded:
        log(f"{blinded} files without a label take no part in the cross-validation")
    for i, fold in enumerate(folds, start=1):
        finished.append(train_fold(fold))
        _forget_other(finished[-1])
        log(f"fold {i} of {k}, test: {runs.headline(finished[-1].metrics['test'])}")
    return _gather(folds, finished)


def summaries(dataset: str) -> list[Summary]:
    """Read the finished cross-validations of a corpus, by the names of their folders."""
    return [load(file.parent) for file in sorted(paths.results(dataset).glob(f"*folds/{LAST}"))]


def load(folder: Path) -> Summary:
    """Read a finished cross-validation."""
    record = provenance.read_json(folder / LAST, "run it again")
    return Summary(folder, pd.read_csv(folder / "folds.csv"), record)


def identities(folder: Path) -> list[str]:
    """Return those of the folds that a cross-validation was gathered from; empty if it was not."""
    try:
        return json.loads((folder / LAST).read_text(encoding="utf-8"))["identities"]
    except (OSError, ValueError, KeyError):
        return []


def headline(summary: Summary) -> list[str]:
    """Return a cross-validation's result in two lines: over the folds, and over all files."""
    record, pooled = summary.record, summary.record["pooled"]
    name, factor, unit = ("UAR", 100, " %") if record["metric"] == "uar" else ("rho", 1, "")
    digits = 1 if factor == 100 else 3
    over = f"undefined, as in one of {record['k']} folds"
    if record["mean"] is not None:
        mean, deviation = factor * record["mean"], factor * record["deviation"]
        over = (
            f"{mean:.{digits}f}{unit} ± {deviation:.{digits}f} "
            f"(mean and standard deviation of {record['k']} folds)"
        )
    of_all = {"metric": record["metric"], "chance": record["chance"], "file": pooled}
    speakers = ""
    if pooled["interval_speakers"]:
        low, high = (f"{factor * value:.{digits}f}" for value in pooled["interval_speakers"])
        speakers = f"; drawing speakers [{low}, {high}]"
    return [f"test: {name} {over}", f"pooled: {runs.headline(of_all)}{speakers}"]


def pool(predictions: pd.DataFrame, run: runs.Run) -> dict[str, Any]:
    """Score all test predictions together, as if one model had made them.

    Parameters
    ----------
    predictions : DataFrame
        One row a file, as in ``predictions.csv``.
    run : Run
        Any of the folds': classes, draws and seed of the bootstrap.

    Returns
    -------
    dict
        ``metric``, ``chance`` and ``file`` of `dslite.evaluation.metrics.evaluate`.

    Notes
    -----
    The intervals draw files or speakers, not trainings: what another division or another seed
    would change is not in them. A rank correlation also suffers from what differs between the
    folds' models, such as an offset.
    """
    classes = list(run.classes)
    labels, predicted = predictions["label"], predictions["prediction"]
    if run.task == "regression":
        labels, scores = (
            labels.astype(float).to_numpy(),
            predicted.astype(float).to_numpy()[:, None],
        )
    else:
        index = {name: i for i, name in enumerate(classes)}
        labels, chosen = (column.map(index).to_numpy(int) for column in (labels, predicted))
        # The class that was chosen, not the largest of rounded scores, which may tie.
        scores = np.eye(len(classes))[chosen]
    evaluated = metrics.evaluate(
        labels,
        scores,
        np.arange(len(labels)),
        predictions["speaker"].tolist(),
        classes,
        task=run.task,
        draws=run.settings.bootstrap_draws,
        seed=run.record["seed"],
    )
    file = {key: value for key, value in evaluated["file"].items() if key not in FUSIONS}
    return {"metric": evaluated["metric"], "chance": evaluated["chance"], "file": file}


def _gather(folds: list[Manifest], finished: list[runs.Run]) -> Summary:
    """Write what the folds' runs say together, ``folds.json`` last, next to their folders."""
    folder, table = finished[0].folder.parent, _table(folds, finished)
    tested = [
        run.predictions.query("partition == 'test'").assign(fold=i)
        for i, run in enumerate(finished, start=1)
    ]
    predictions = pd.concat(tested, ignore_index=True)
    whole = pool(predictions, finished[0])
    # A mean over the folds that have a score would not be that of the cross-validation.
    scores = None if table["test_score"].isna().any() else table["test_score"].to_numpy()
    shared = ("dataset", "kind", "preset", "seed", "task", "classes")
    record = {key: finished[0].record[key] for key in shared} | {
        "k": len(folds),
        "division_seed": partitions.SEED,
        "metric": whole["metric"],
        "chance": whole["chance"],
        "mean": None if scores is None else float(scores.mean()),
        "deviation": None if scores is None else float(scores.std(ddof=1)),
        "deviation_ddof": 1,
        "pooled": whole["file"],
        "identities": [run.record["identity"] for run in finished],
        **provenance.record(),
    }
    for name, content in (("folds.csv", table), ("predictions.csv", predictions)):
        with paths.replacing(folder / name) as draft:
            content.to_csv(draft, index=False)
    provenance.write_json(folder / LAST, record)
    return Summary(folder, table, record)


def _table(folds: list[Manifest], finished: list[runs.Run]) -> pd.DataFrame:
    """Content of ``folds.csv``, see `Summary`."""
    rows = []
    for i, (fold, run) in enumerate(zip(folds, finished, strict=True), start=1):
        partition, measured = fold.table["partition"], run.metrics
        rows.append(
            {"fold": i}
            | {name: int((partition == name).sum()) for name in PARTITIONS}
            | {"test_speakers": fold.table["speaker"][partition == "test"].nunique()}
            | {f"{name}_score": measured[name]["file"]["score"] for name in ("devel", "test")}
        )
    return pd.DataFrame(rows).astype({"devel_score": float, "test_score": float})


def _forget_other(run: runs.Run) -> None:
    """Remove an older summary that is not of this fold's run but of the one it replaced."""
    folder = run.folder.parent
    if run.record["identity"] not in identities(folder):
        (folder / LAST).unlink(missing_ok=True)

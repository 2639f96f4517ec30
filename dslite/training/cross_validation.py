"""Speaker-independent cross-validation: a corpus divided k times, every file tested once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.datasets import partitions
from dslite.datasets.manifest import Manifest, claim_results
from dslite.errors import InputError
from dslite.evaluation import metrics, significance
from dslite.settings import PARTITIONS
from dslite.training import contents as run_contents
from dslite.training import records, runs

LAST = "folds.json"  # written last: without it a cross-validation is not finished
FUSIONS = ("score_mean", "score_vote")  # of chunks; nothing is fused in what is pooled


class Summary(NamedTuple):
    """A finished cross-validation as it lies on disk."""

    folder: Path  # of the folds' runs, ``folds.csv``, ``predictions.csv`` and ``folds.json``
    table: pd.DataFrame  # ``folds.csv``: a fold's files, speakers tested, scores (fractions or rho)
    record: dict[str, Any]  # ``folds.json``


def cross_validate(
    manifest: Manifest,
    k: int,
    train_fold: Callable[[Manifest], runs.Run],
    log: Callable[[str], None] = print,
) -> Summary:
    """Run once for each of k folds and write what the runs say together.

    ``train_fold`` is `train` or `train_baseline` with all arguments but the manifest.
    ``folds.json`` holds the folds' ``mean`` and ``deviation`` (of a sample), and ``pooled``: the
    score of all files together.
    """
    finished, rows, tested = [], [], []
    blinded = (manifest.table["label"] == "").sum()
    if blinded:
        log(f"{blinded} files without a label take no part in the cross-validation")
    folds = partitions.divide(manifest, k)
    claim_results(manifest)
    for i, fold in enumerate(folds, start=1):
        run = train_fold(fold)
        folder = run.folder.parent
        if run.record["identity"] not in identities(folder):
            # An older summary is not of this fold's run but of the one it replaced.
            (folder / LAST).unlink(missing_ok=True)
        log(f"fold {i} of {k}, test: {runs.headline(run.metrics['test'])}")
        partition, scored = fold.table["partition"], ("devel", "test")
        row = {"fold": i} | {name: int((partition == name).sum()) for name in PARTITIONS}
        row["test_speakers"] = fold.table["speaker"][partition == "test"].nunique()
        row |= {f"{name}_score": run.metrics[name]["file"]["score"] for name in scored}
        finished.append(run)
        rows.append(row)
        tested.append(run.predictions.query("partition == 'test'").assign(fold=i))
    table = pd.DataFrame(rows).astype({"devel_score": float, "test_score": float})
    predictions = pd.concat(tested, ignore_index=True)
    whole = pool(predictions, run)
    # A mean over the folds that have a score would not be that of the cross-validation.
    scores = None if table["test_score"].isna().any() else table["test_score"].to_numpy()
    shared = ("dataset", "kind", "preset", "seed", "task", "classes")
    record = {key: run.record[key] for key in shared} | {
        "k": k,
        "division_seed": partitions.SEED,
        "metric": whole["metric"],
        "chance": whole["chance"],
        **({"absent": whole["absent"]} if "absent" in whole else {}),
        "mean": None if scores is None else float(scores.mean()),
        "deviation": None if scores is None else float(scores.std(ddof=1)),
        "deviation_ddof": 1,
        "pooled": whole["file"],
        "identities": [run.record["identity"] for run in finished],
        **provenance.record(),
    }
    for name, content in (("folds.csv", table), ("predictions.csv", predictions)):
        paths.write(folder / name, provenance.quoted(content).to_csv(index=False))
    provenance.write_json(folder / LAST, record)
    return Summary(folder, table, record)


def summaries(dataset: str) -> list[Summary]:
    """Read the finished cross-validations of a corpus by name, the user's before recorded ones."""
    gathered = {}
    for home, name, values in records.committed():
        if "folds" in values and name.startswith(f"{dataset}/"):
            gathered[Path(name).name] = load(home / name)
    files = paths.results(dataset).glob(f"*folds/{LAST}")
    gathered |= {file.parent.name: load(file.parent) for file in files}
    return [gathered[name] for name in sorted(gathered)]


def load(folder: Path) -> Summary:
    """Read a finished cross-validation: its folder, or where it would lie in a record's."""
    home = folder.parent.parent
    if (home / records.RUNS).is_file():
        record = dict(records.read(home)[folder.relative_to(home).as_posix()]["folds"])
        return Summary(folder, pd.DataFrame(record.pop("table")), record)
    record = run_contents.read(folder / LAST)
    return Summary(folder, provenance.read_csv(folder / "folds.csv"), record)


def contents(folder: Path) -> dict[str, Any]:
    """Return what a record holds of a cross-validation; its predictions are those of its folds."""
    _, table, record = load(folder)
    return {"folds": record | {"table": table.to_dict("list")}}


def identities(folder: Path) -> list[str]:
    """Return those of the folds that a cross-validation was gathered from; empty if it was not."""
    try:
        return load(folder).record["identities"]
    except (InputError, KeyError):
        return []


def headline(summary: Summary) -> list[str]:
    """Return a cross-validation's result in two lines: over the folds, and over all files."""
    record, pooled = summary.record, summary.record["pooled"]
    uar = record["metric"] == "uar"
    name, factor, unit, digits = ("UAR", 100, " %", ".1f") if uar else ("rho", 1, "", ".3f")
    over = f"undefined, as in one of {record['k']} folds"
    if None not in (record["mean"], record["deviation"]):
        mean, deviation = (f"{factor * record[key]:{digits}}" for key in ("mean", "deviation"))
        over = f"{mean}{unit} ± {deviation} (mean and standard deviation of {record['k']} folds)"
    of_all, speakers = _pooled(record), ""
    if pooled["interval_speakers"]:
        low, high = (f"{factor * value:{digits}}" for value in pooled["interval_speakers"])
        speakers = f"; for new speakers [{low}, {high}]"
    return [f"test: {name} {over}", f"pooled: {runs.headline(of_all)}{speakers}"]


def _pooled(record: dict[str, Any]) -> dict[str, Any]:
    """Return the score of all files together, as a run's partition has it."""
    shared = {"metric": record["metric"], "chance": record["chance"], "file": record["pooled"]}
    return shared | ({"absent": record["absent"]} if "absent" in record else {})


def against_baselines(summary: Summary) -> list[str]:
    """Compare a cross-validation with the finished baselines' on the same folds, in lines.

    Pooled scores; of a classification also the difference, and the gain of each speaker's own UAR.
    """
    record, lines = summary.record, []
    ours, manifests = _tested(summary)
    for other in summaries(record["dataset"]):
        kind, k = other.record["kind"], other.record["k"]
        if kind == record["kind"] or kind not in runs.BASELINES or k != record["k"]:
            continue
        theirs, same = _tested(other)
        if same != manifests:
            continue
        pooled = runs.headline(_pooled(other.record))
        lines.append(f"{runs.LABELS[kind]}, same folds: {pooled}")
        if record["task"] == "regression":
            continue
        both = [ours.assign(kind="network"), theirs.assign(kind=kind)]
        both = pd.concat(both).assign(dataset=record["dataset"], seed=0)
        (row,) = significance.compared(both, "kind", kind).itertuples()
        files = theirs[["file", "prediction"]].merge(ours, on="file")
        columns = (files[name].to_numpy(str) for name in ("label", "prediction_x", "prediction_y"))
        gains = 100 * significance.speaker_gains(*columns, files["speaker"]).sort_values() + 0.0
        ends = f"; for new speakers [{row.low_speakers:+.1f}, {row.high_speakers:+.1f}]"
        lines.append(
            f"  network less baseline: {row.difference:+.1f} points"
            f"{'' if np.isnan(row.low_speakers) else ends}; {row.speakers_better} of {len(gains)} "
            f"speakers better, {row.speakers_worse} worse"
        )
        each = ", ".join(f"{name} {gain:+.1f}" for name, gain in gains.items())
        lines.append(f"  by speaker: {each}")
    return lines


def _tested(summary: Summary) -> tuple[pd.DataFrame, list[str]]:
    """Predictions of all test files, and the digests of the folds' manifests."""
    k = summary.record["k"]
    folds = [runs.load(summary.folder / f"fold{i}") for i in range(1, k + 1)]
    if any(run.predictions is None for run in folds):  # a record of private files
        return pd.DataFrame(), []
    tested = pd.concat([run.predictions[list(runs.TEXTS)] for run in folds])
    return tested.query("partition == 'test'"), [run.record["manifest"] for run in folds]


def pool(predictions: pd.DataFrame, run: runs.Run) -> dict[str, Any]:
    """Score all test predictions together, as if one model had made them; any of the folds' runs.

    What another division or another seed would change is not in the intervals. A rank correlation
    also suffers from an offset between the folds' models.
    """
    classes, both = list(run.classes), predictions[["label", "prediction"]]
    if run.task == "regression":
        labels, scores = both.to_numpy(float).T
        scores = scores[:, None]
    else:
        labels, chosen = both.apply(lambda column: column.map(classes.index)).to_numpy(int).T
        # The class that was chosen, not the largest of rounded scores, which may tie.
        scores = np.eye(len(classes))[chosen]
    drawn = {"draws": run.settings.bootstrap_draws, "seed": run.record["seed"]}
    files, speakers = np.arange(len(labels)), predictions["speaker"].tolist()
    evaluated = metrics.evaluate(labels, scores, files, speakers, classes, task=run.task, **drawn)
    file = {key: value for key, value in evaluated["file"].items() if key not in FUSIONS}
    shared = {key: evaluated[key] for key in ("metric", "chance", "absent") if key in evaluated}
    return shared | {"file": file}

"""A study's tables from records that a test writes: what is in them, and what is not."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.studies import load_study, study_runs, tables, to_markdown
from tests.studies.finished_study import finish, runs_of

RUN = {
    **{"role": "training", "dataset": "d", "preset": "tuned", "backbone": "b", "weights": "w"},
    **{"overrides": "", "folds": None, "metric": "uar", "identity": "i", "status": "finished"},
    **{"low": 0.4, "high": 0.6, "peak_mib": 100.0, "cpu_s": 5.0},
}


def runs(*rows):
    table = pd.DataFrame(rows, columns=["augmentation", "seed", "devel", "test"])
    return table.assign(**RUN, run=[f"d/{name}-s{seed}" for name, seed, *_ in rows])


def test_seeds_are_gathered_by_configuration_and_partition():
    every = runs(("none", 0, 0.5, 0.4), ("none", 1, 0.7, 0.6), ("cutmix", 0, 0.6, 0.5))
    table = tables.seeds_table(every).set_index(["partition", "augmentation"])
    assert table.loc[("test", "none"), "mean"] == pytest.approx(0.5)
    assert table.loc[("devel", "none"), "deviation"] == pytest.approx(np.sqrt(0.02))
    assert table.loc[("devel", "none"), "n"] == 2
    assert np.isnan(table.loc[("test", "cutmix"), "low"])
    assert (table[["low", "high"]].abs().max() <= 1).all()
    every.loc[1:, "status"] = "missing"
    assert tables.seeds_table(every)["mean"].tolist() == [0.5, 0.4]


def predictions(folder, right):
    """12 test files of three speakers, so many recognised, and the same as devel.

    Of a fold they are its own.
    """
    labels = ["x", "y"] * 6
    guesses = [true if i < right else "y" if true == "x" else "x" for i, true in enumerate(labels)]
    fold = folder.name if folder.name.startswith("fold") else ""
    table = pd.DataFrame({"file": [f"{fold}{i:02d}.wav" for i in range(12)], "label": labels})
    table["speaker"] = [f"p{i % 3}" for i in range(12)]
    table = table.assign(partition="test", prediction=guesses)
    both = pd.concat([table, table.assign(partition="devel")])
    both.to_csv(folder / "predictions.csv", index=False)
    return table


def test_each_augmentation_is_compared_with_none(tmp_path):
    def compared(table):
        """As many recognised as the scores say, but none of those without one."""
        right = (12 * table["test"].fillna(0)).astype(int)
        jobs = {
            run: SimpleNamespace(predictions=predictions(tmp_path, n))
            for run, n in zip(table["run"], right, strict=True)
        }
        return tables.comparisons_table(table, jobs)

    table = runs(("none", 0, 0.5, 0.5), ("cutmix", 0, 0.5, 1.0), ("svm", 0, 0.5, 0.5))
    (row,) = compared(table).to_dict("records")
    assert (row["augmentation"], row["baseline"]) == ("cutmix", "none")
    # Six files of three speakers that are all better: enough files, too few speakers for a test
    assert (row["comparisons_speakers"], row["speakers_better"]) == (0, 3)
    assert (row["verdict_speakers"], str(row["p_speakers"])) == ("too few for a test", "nan")
    assert (row["comparisons"], row["verdict"]) == (1, "better")
    assert row["difference"] == pytest.approx(50)
    assert (row["files_worse"], row["files_better"], row["files"]) == (0, 6, 12)
    # Nothing is compared without a baseline or a score.
    without = runs(("cutmix", 0, 0.5, 0.5), ("none", 0, 0.5, np.nan))
    assert compared(without).empty
    regression = runs(("cutmix", 0, 0.5, 0.5), ("none", 0, 0.5, 0.5)).assign(metric="rho")
    assert compared(regression).empty
    private = {run: SimpleNamespace(predictions=None) for run in table["run"]}
    assert tables.comparisons_table(table, private).empty


@pytest.mark.parametrize("folds", [None, 3])
def test_the_tables_of_a_study(lay_study, command, folds):
    study = lay_study(folds=folds, seeds=[0], baselines=["svm"])
    none, augmented, svm = runs_of(study)
    cost = {"wall_s": 9.0, "cpu_s": 8.0, "peak_mib": 5}
    earlier = {"wall_s": 4.0, "cpu_s": 3.0, "peak_mib": 7}  # of a candidate, a row of its own
    finish(none, 0.75, cost=cost, candidate_cost=earlier)
    finish(augmented, 0.5, cost=cost | {"cpu_s": None}, candidate_cost=None)
    for run in (none, augmented):
        for file in run.folder.rglob("metrics.json"):
            scores = json.loads(file.read_text("utf-8"))
            for score in scores.values():
                score |= {"metric": "uar", "file": score["file"] | {"interval_files": [0.4, 0.6]}}
            file.write_text(json.dumps(scores), "utf-8")
            predictions(file.parent, 6)
        if folds:
            summary = run.folder / "folds.json"
            pooled = {"score": 0.6, "interval_files": [0.5, 0.7]}
            record = json.loads(summary.read_text("utf-8"))
            summary.write_text(json.dumps(record | {"metric": "uar", "pooled": pooled}), "utf-8")
    place = paths.results("studies") / "flock"
    status, out, _ = command("study", study)
    page = (place / "README.md").read_text("utf-8")
    assert (status, out) == (0, f"{page}\ntables: {paths.shown(place)}\n")
    table = pd.read_csv(place / "runs.csv")
    assert table["run"].tolist() == [none.name, augmented.name, svm.name]
    assert table["augmentation"].tolist() == ["none", "cutmix+specaugment", "svm"]
    assert table["status"].tolist() == ["finished", "finished", "missing"]
    expected = [np.nan, 0.6, 0.5, 0.7] if folds else [0.75, 0.25, 0.4, 0.6]
    scores = table.loc[0, ["devel", "test", "low", "high"]].tolist()
    assert scores == pytest.approx(expected, nan_ok=True)
    spent, n = pd.read_csv(place / "cost.csv"), folds or 1
    assert spent["wall_s"].tolist() == [5.0 * n, 9.0 * n]
    # One that is unknown makes the sum so.
    assert spent["cpu_s"].tolist() == pytest.approx([5.0 * n, np.nan], nan_ok=True)
    assert spent["peak_mib"].tolist() == [5, 5]  # the most of all, not their sum
    (pair,) = pd.read_csv(place / "comparisons.csv").to_dict("records")
    assert (pair["augmentation"], pair["difference"]) == ("cutmix+specaugment", 0)
    partitions = {"test"} if folds else {"devel", "test"}
    assert set(pd.read_csv(place / "seeds.csv")["partition"]) == partitions
    assert page.startswith("# Do birds like augmentation?\n\nStudy `flock`: 3 runs, 1 missing\n")
    assert all(run.name in page for run in study_runs(load_study(study)))
    # Runs that are here as records only give the same tables.
    assert command("record", study)[0] == 0
    before = {file.name: file.read_text("utf-8") for file in place.iterdir()}
    for run in (none, augmented):
        shutil.rmtree(run.folder)
    assert command("study", study)[1] == out
    assert {file.name: file.read_text("utf-8") for file in place.iterdir()} == before


def test_to_markdown_aligns_numbers_and_leaves_missing_cells_empty():
    frame = pd.DataFrame({"a": [1.50001, np.nan], "b": ["x|y", "z"], "c": ["1.5*", "–2"]})
    assert to_markdown(frame).splitlines() == [
        "| a | b | c |",
        "| ---: | :--- | ---: |",
        "| 1.5 | x\\|y | 1.5* |",
        "|  | z | –2 |",
    ]
    assert to_markdown(frame.head(0)).splitlines()[1] == "| ---: | ---: | ---: |"

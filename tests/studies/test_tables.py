"""A study's tables from records that a test writes: what is in them, and what is not."""

import numpy as np
import pandas as pd
import pytest

from dslite.studies import tables

RUN = {
    **{"role": "training", "dataset": "d", "preset": "tuned", "backbone": "b", "weights": "w"},
    **{"overrides": "", "folds": None, "metric": "uar", "identity": "i", "status": "finished"},
    **{"low": 0.4, "high": 0.6, "peak_mib": 100.0, "cpu_s": 5.0, "energy_j": None},
}


def runs(*rows):
    """A table of runs: augmentation, seed, devel, test, seconds of each."""
    names = ("augmentation", "seed", "devel", "test", "wall_s")
    made = [RUN | dict(zip(names, row, strict=True)) for row in rows]
    return pd.DataFrame([row | {"run": f"d/{row['augmentation']}-s{row['seed']}"} for row in made])


def test_seeds_are_gathered_by_configuration_and_partition():
    found = runs(("none", 0, 0.5, 0.4, 9), ("none", 1, 0.7, 0.6, 9), ("cutmix", 0, 0.6, 0.5, 9))
    table = tables.seeds_table(found).set_index(["partition", "augmentation"])
    assert table.loc[("test", "none"), "mean"] == pytest.approx(0.5)
    assert table.loc[("devel", "none"), "deviation"] == pytest.approx(np.sqrt(0.02))
    assert table.loc[("devel", "none"), "n"] == 2
    assert np.isnan(table.loc[("test", "cutmix"), "low"])
    assert (table[["low", "high"]].abs().max() <= 1).all()


def test_unfinished_runs_have_no_part_in_a_mean():
    found = runs(("none", 0, 0.5, 0.4, 9), ("none", 1, 0.9, 0.9, 9))
    found.loc[1, "status"] = "missing"
    assert tables.seeds_table(found)["mean"].tolist() == [0.5, 0.4]


def predictions(folder, run, right):
    """12 files of three speakers, so many recognised."""
    labels = ["x", "y"] * 6
    said = [true if i < right else "y" if true == "x" else "x" for i, true in enumerate(labels)]
    table = pd.DataFrame({"file": [f"{i:02d}.wav" for i in range(12)], "label": labels})
    table["speaker"] = [f"p{i % 3}" for i in range(12)]
    table = table.assign(partition="test", prediction=said)
    (folder / run).mkdir(parents=True)
    pd.concat([table, table.assign(partition="devel")]).to_csv(
        folder / run / "predictions.csv", index=False
    )


def test_each_augmentation_is_compared_with_none(workplace):
    found = runs(("none", 0, 0.5, 0.5, 9), ("cutmix", 0, 0.5, 1.0, 9), ("svm", 0, 0.5, 0.5, 9))
    for run, right in zip(found["run"], (6, 12, 0), strict=True):
        predictions(workplace, run, right)
    (row,) = tables.comparisons_table(found).to_dict("records")
    assert (row["augmentation"], row["baseline"], row["comparisons"]) == ("cutmix", "none", 1)
    assert row["difference"] == pytest.approx(50)
    assert (row["only_baseline"], row["only_this"]) == (0, 6)
    assert row["files"] == 12


def test_nothing_is_compared_without_a_baseline_or_a_score(workplace):
    found = runs(("cutmix", 0, 0.5, 0.5, 9), ("none", 0, 0.5, np.nan, 9))
    assert tables.comparisons_table(found).empty
    regression = runs(("cutmix", 0, 0.5, 0.5, 9), ("none", 0, 0.5, 0.5, 9)).assign(metric="rho")
    assert tables.comparisons_table(regression).empty


def test_the_cost_of_a_cross_validation_is_that_of_its_folds():
    assert tables._sum("wall_s", [1.0, 2.5]) == 3.5
    assert tables._sum("peak_mib", [100.0, 300.0]) == 300
    assert tables._sum("energy_j", [1.0, None]) is None
    assert tables._sum("energy_j", []) is None


def test_a_chosen_run_s_cost_is_not_its_candidate_s_as_well():
    record = {
        "cost": {"wall_s": 9.0, "peak_mib": 5},
        "candidate_cost": {"wall_s": 4.0, "peak_mib": 3},
    }
    assert tables._own(record, "wall_s") == 5
    assert tables._own(record, "peak_mib") == 5
    assert tables._own({"cost": record["cost"], "candidate_cost": None}, "wall_s") == 9
    assert tables._own({}, "wall_s") is None

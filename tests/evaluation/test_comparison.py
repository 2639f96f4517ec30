"""A study's tables: what is averaged, compared, corrected and refused."""

import math

import numpy as np
import pandas as pd
import pytest

from dslite.errors import InputError
from dslite.evaluation import significance


def voices(rng, n, right, n_classes=3):
    """Labels and predictions [files] that are right with a probability."""
    labels = np.arange(n) % n_classes
    wrong = (labels + rng.integers(1, n_classes, size=n)) % n_classes
    return labels, np.where(rng.random(n) < right, labels, wrong)


def predictions(rng, rights, dataset="d", seeds=(0, 1), speakers=10, n=120, **columns):
    """Rows as `comparison.compared` takes them; ``rights``: augmentation -> share recognised."""
    parts = []
    for augmentation, right in rights.items():
        for seed in seeds:
            labels, said = voices(rng, n, np.full(n, right))
            part = pd.DataFrame({"label": labels, "prediction": said}).replace(
                dict(enumerate("xyz"))
            )
            part["speaker"] = [f"s{i % speakers}" if speakers else "" for i in range(n)]
            part["file"] = [f"{i}.wav" for i in range(n)]
            parts.append(
                part.assign(augmentation=augmentation, seed=seed, dataset=dataset, **columns)
            )
    return pd.concat(parts, ignore_index=True)


def test_a_study_of_several_corpora(rng):
    rows = pd.concat(
        [
            predictions(rng, {"cutmix": 0.8, "none": 0.5, "specaugment": 0.5}),
            predictions(rng, {"none": 0.8, "cutmix": 0.4}, dataset="e", seeds=(0,), speakers=0),
        ]
    )
    found = significance.compared(rows, "augmentation", "none", draws=2000)
    assert found[["dataset", "augmentation", "baseline"]].values.tolist() == [
        ["d", "cutmix", "none"],
        ["d", "specaugment", "none"],
        ["e", "cutmix", "none"],
    ]
    assert found["verdict"].tolist() == ["better", "not told apart", "worse"]
    assert found["unit"].tolist() == ["speaker", "speaker", "file"]
    assert found["units"].tolist() == [10, 10, 120]
    assert found["seeds"].tolist() == [2, 2, 1]
    assert (found["comparisons"] == 3).all()
    assert found["low_speakers"].isna().tolist() == [False, False, True]
    assert (found["low"] <= found["difference"]).all()
    assert found["p_holm"].tolist() == significance.holm(found["p"]).tolist()
    assert found["p_mcnemar_holm"].tolist() == significance.holm(found["p_mcnemar"]).tolist()
    assert found["only_this"][0] > found["only_baseline"][0]
    assert 20 < found["difference"][0] < 40  # points, not fractions


def test_backbones_are_compared_in_the_same_way(rng):
    rows = pd.concat(
        predictions(rng, {"none": right, "cutmix": right}, backbone=name)
        for name, right in (("small", 0.5), ("large", 0.9))
    )
    found = significance.compared(rows, "backbone", "small", ("dataset", "augmentation"), draws=500)
    assert found[["augmentation", "backbone"]].values.tolist() == [
        ["none", "large"],
        ["cutmix", "large"],
    ]
    assert set(found["verdict"]) == {"better"}


def test_only_seeds_that_both_have_are_compared(rng):
    rows = predictions(rng, {"none": 0.5, "cutmix": 0.8})
    short = rows[(rows["augmentation"] == "none") | (rows["seed"] == 1)]
    one = rows[rows["seed"] == 1]
    found = significance.compared(short, "augmentation", "none", draws=500)
    pd.testing.assert_frame_equal(
        found, significance.compared(one, "augmentation", "none", draws=500)
    )
    assert found["seeds"].tolist() == [1]


def test_what_cannot_be_compared_is_unknown_and_does_not_count(rng):
    blinded = predictions(rng, {"none": 0.5, "cutmix": 0.5}, dataset="b").assign(label="")
    apart = predictions(rng, {"none": 0.5, "cutmix": 0.5}, dataset="a")
    apart = apart[(apart["augmentation"] == "none") == (apart["seed"] == 0)]
    whole = predictions(rng, {"none": 0.5, "cutmix": 0.5})
    rows = pd.concat([blinded, apart, whole])
    found = significance.compared(rows, "augmentation", "none", draws=500)
    assert found["verdict"].tolist()[:2] == ["unknown", "unknown"]
    assert found["files"].tolist() == [0, 0, 120]
    assert found["p"].isna().tolist() == [True, True, False]
    assert (found["comparisons"] == 1).all()
    assert found["p_holm"][2] == found["p"][2]


def test_more_comparisons_take_more_draws(rng):
    names = ["none", *(f"a{i}" for i in range(40))]
    rights = dict.fromkeys(names, 0.3) | {"a0": 0.9}
    rows = predictions(rng, rights, seeds=(0,), speakers=0)
    found = significance.compared(rows, "augmentation", "none", draws=100)
    assert found["verdict"][0] == "better"  # 100 draws give 40 x 2 / 101 at best


@pytest.mark.parametrize("change", ["file", "label", "missing", "twice"])
def test_runs_of_another_corpus_are_refused(rng, change):
    rows = predictions(rng, {"none": 0.5, "cutmix": 0.6})
    last = len(rows) - 1
    if change == "missing":
        rows = rows.drop(index=last)
    elif change == "twice":
        rows = pd.concat([rows, rows.tail(1)])
    else:
        rows.loc[rows["augmentation"] == "cutmix", change] = (
            "other" if change == "label" else [f"other{i}.wav" for i in range(120)] * 2
        )
    said = "one seed predicts a file twice" if change == "twice" else "other files or labels"
    with pytest.raises(InputError, match=f"d, cutmix: .*{said}"):
        significance.compared(rows, "augmentation", "none", draws=100)


def test_a_missing_baseline_is_named(rng):
    rows = predictions(rng, {"cutmix": 0.6, "specaugment": 0.6})
    with pytest.raises(InputError, match="d: no predictions of augmentation none"):
        significance.compared(rows, "augmentation", "none")


def test_a_table_of_repeated_runs():
    runs = pd.DataFrame(
        {
            "dataset": ["b", "b", "a", "a"],
            "backbone": ["x", "x", "x", "y"],
            "test": [50.0, 60.0, 70.0, np.nan],
        }
    )
    found = significance.repeated(runs, ["dataset", "backbone"], "test")
    assert found[["dataset", "backbone", "n"]].values.tolist() == [
        ["b", "x", 2],
        ["a", "x", 1],
        ["a", "y", 1],
    ]
    assert found["mean"].tolist()[:2] == [55, 70]
    assert found["deviation"][0] == pytest.approx(math.sqrt(50))
    assert found["mean"].isna().tolist() == [False, False, True]
    assert found["low"].isna().tolist() == [False, True, True]

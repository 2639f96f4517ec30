"""Cross-validation: what the runs of the folds say together, and that it goes on where it was."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score

from dslite import cards, paths, provenance
from dslite.datasets import divide
from dslite.settings import Settings
from dslite.training import baselines, cross_validation, records, runs
from tests.training.toy import quiet

FILES = {"fold1", "fold2", "fold3", "folds.csv", "folds.json", "predictions.csv"}


def acoustic(fold, log=quiet):
    """The baseline that takes a moment."""
    used = cards.settings_of(fold.card)
    return baselines.train_baseline(fold, used, 0, log=log, kind=runs.LIBROSA)


def fails(fold):
    """Breaks off in the second fold."""
    if fold.fold.endswith("fold2"):
        raise OSError("no space left on device")
    return acoustic(fold)


@pytest.fixture
def place(workplace):
    return workplace / "small" / "librosa-svm-s0-3folds"


def test_what_a_cross_validation_leaves(corpus, place):
    built, lines = corpus(), []
    summary = cross_validation.cross_validate(built, 3, acoustic, log=lines.append)
    assert summary.folder == place
    assert {path.name for path in place.iterdir()} == FILES
    predictions = pd.read_csv(place / "predictions.csv", dtype={"label": str})
    assert sorted(predictions["file"]) == sorted(built.table["path"])
    labels = built.table.set_index("path")["label"][predictions["file"]]
    assert (labels.to_numpy() == predictions["label"]).all()
    table, record = pd.read_csv(place / "folds.csv"), json.loads((place / "folds.json").read_text())
    scores = []
    for i, (fold, line) in enumerate(zip(divide(built, 3), lines, strict=True), start=1):
        run = runs.load(place / f"fold{i}")
        part, row = predictions[predictions["fold"] == i], table.iloc[i - 1]
        assert set(part["file"]) == set(fold.table["path"][fold.table["partition"] == "test"])
        assert run.record["fold"] == f"3folds/fold{i}"
        assert run.record["identity"] == record["identities"][i - 1]
        scores.append(balanced_accuracy_score(part["label"], part["prediction"]))
        assert run.metrics["test"]["file"]["score"] == pytest.approx(scores[-1])
        assert f"fold {i} of 3, test: UAR {100 * scores[-1]:.1f} %" in line
        assert row[["train", "devel", "test"]].sum() == 96
        assert row[["test", "test_speakers"]].tolist() == [len(part), part["speaker"].nunique()]
        assert row["devel_score"] == pytest.approx(run.metrics["devel"]["file"]["score"])
    assert table["fold"].tolist() == [1, 2, 3]
    assert table["test_score"].tolist() == pytest.approx(scores)
    assert record["mean"] == pytest.approx(np.mean(scores))
    assert record["deviation"] == pytest.approx(np.std(scores, ddof=1))
    pooled = record["pooled"]
    whole = balanced_accuracy_score(predictions["label"], predictions["prediction"])
    assert (pooled["score"], pooled["n"]) == (pytest.approx(whole), 96)
    low, high = pooled["interval_files"]
    assert low < whole < high
    assert pooled["interval_speakers"] != pooled["interval_files"]
    shared = {"metric": "uar", "chance": 0.25, "k": 3, "division_seed": 0}
    assert {key: record[key] for key in shared} == shared
    assert {"date", "commit", "versions", "hardware"} <= set(record)
    # Folds are not among the runs, and do not lie in the place of the corpus's run.
    assert "fold" not in acoustic(built).record
    assert runs.all_runs()["run"].tolist() == ["librosa-svm-s0"]
    for _ in ("the user's", "recorded"):
        (read,) = cross_validation.summaries("small")
        assert read.record == record
        pd.testing.assert_frame_equal(read.table, table)
        if summary.folder.is_dir():
            values = {f"small/{summary.folder.name}": cross_validation.contents(summary.folder)}
            records.write(paths.records() / "study", values)
            shutil.rmtree(summary.folder)


def test_the_pooled_score_is_not_the_mean_of_scores():
    """Files of large and small folds count alike."""
    predictions = pd.DataFrame({"speaker": [*"aaaabb"], "label": [*"xxxyxy"]})
    predictions = predictions.assign(prediction=[*"xxxyyx"], fold=[1, 1, 1, 1, 2, 2])
    record = {"task": "classification", "classes": ["x", "y"], "seed": 0}
    pooled = cross_validation.pool(predictions, runs.Run(None, record, Settings()))
    assert pooled["file"]["score"] == pytest.approx((3 / 4 + 1 / 2) / 2)  # the mean is 1/2
    assert pooled["file"]["confusion"] == [[3, 1], [1, 1]]
    assert pooled["chance"] == 0.5


def test_a_regression(ages):
    summary = cross_validation.cross_validate(ages, 3, acoustic, log=quiet)
    predictions = pd.read_csv(summary.folder / "predictions.csv")
    assert sorted(predictions["file"]) == sorted(ages.table["path"])
    rho = spearmanr(predictions["label"], predictions["prediction"]).statistic
    assert summary.record["pooled"]["score"] == pytest.approx(rho)
    over, whole = cross_validation.headline(summary)
    mean, deviation = summary.table["test_score"].mean(), summary.table["test_score"].std()
    assert over.startswith(f"test: rho {mean:.3f} ± {deviation:.3f} ")
    assert whole.startswith(f"pooled: rho {rho:.3f} [")


def test_a_fold_without_a_score_leaves_the_mean_undefined(ages, monkeypatch):
    monkeypatch.setattr(
        baselines, "_scores", lambda fitted, values, classes: np.full((len(values), 1), 40.0)
    )
    summary = cross_validation.cross_validate(ages, 3, acoustic, log=quiet)
    run = runs.load(summary.folder / "fold1")
    assert "rho undefined" in runs.headline(run.metrics["devel"])
    record = summary.record
    assert record["mean"] is record["deviation"] is record["pooled"]["score"] is None
    over, whole = cross_validation.headline(summary)
    assert "undefined" in over
    assert "MAE" in whole


def test_files_without_a_label_are_counted(corpus):
    built, lines = corpus(), []
    built.table.loc[[0, 5], "label"] = ""
    summary = cross_validation.cross_validate(built, 3, acoustic, log=lines.append)
    assert lines[0].startswith("2 files without a label")
    assert summary.record["pooled"]["n"] == 94


def test_an_interrupted_cross_validation_goes_on(corpus, place):
    built, repeated = corpus(), {}

    def watched(fold):
        lines = []
        run = acoustic(fold, lines.append)
        repeated[fold.fold] = "not repeated" not in " ".join(lines)
        return run

    with pytest.raises(OSError, match="no space"):
        cross_validation.cross_validate(built, 3, fails, log=quiet)
    assert [path.name for path in place.iterdir()] == ["fold1"]
    cross_validation.cross_validate(built, 3, watched, log=quiet)
    assert repeated == {"3folds/fold1": False, "3folds/fold2": True, "3folds/fold3": True}
    # The same again, interrupted: what is there is still of these folds.
    with pytest.raises(OSError, match="no space"):
        cross_validation.cross_validate(built, 3, fails, log=quiet)
    assert (place / "folds.json").is_file()


@pytest.mark.parametrize("older", ["of other versions", "damaged"])
def test_an_older_summary_does_not_stay_with_other_folds(corpus, place, older, monkeypatch):
    built = corpus()
    cross_validation.cross_validate(built, 3, acoustic, log=quiet)
    if older == "damaged":
        (place / "folds.json").write_text("{")
    else:
        monkeypatch.setattr(provenance, "versions", lambda: {"dslite": "0.0"})
    with pytest.raises(OSError, match="no space"):
        cross_validation.cross_validate(built, 3, fails, log=quiet)
    assert not (place / "folds.json").exists()

"""Cross-validation: who is tested where, what is refused, what the folds say together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score

from dslite import cards, paths, provenance
from dslite.datasets import load_manifest, manifest, partitions
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.settings import Settings
from dslite.training import baselines, cross_validation, runs
from dslite.training import loop as training_fit
from dslite.training import runs as training_runs

CLASSES = ("calm", "happy", "sad", "angry")
BOTH = ("train", "train+devel")  # trainings of a run
SHORT = {"epochs_phase1": 1, "epochs_phase2": 0, "units": 4}


def quiet(line):
    """A log that nobody reads."""


# Runs of folds


@pytest.fixture
def small(small_corpus, workplace):
    """The small corpus: 96 files of 12 speakers."""
    return load_manifest(cards.load(str(small_corpus)))


def acoustic(fold, **given):
    """The baseline that takes a moment."""
    return baselines.train_baseline(
        fold, cards.settings_of(fold.card), 0, log=quiet, kind=runs.LIBROSA, **given
    )


def test_what_a_cross_validation_leaves(small, workplace):
    lines = []
    found = cross_validation.cross_validate(small, 4, acoustic, log=lines.append)
    place = workplace / "small" / "librosa-svm-s0-4folds"
    assert found.folder == place
    assert sorted(path.name for path in place.iterdir()) == [
        *("fold1", "fold2", "fold3", "fold4", "folds.csv", "folds.json", "predictions.csv")
    ]
    assert len(lines) == 4
    predictions = pd.read_csv(place / "predictions.csv", dtype={"label": str})
    assert sorted(predictions["file"]) == sorted(small.table["path"])
    given = small.table.set_index("path")
    assert (given["label"][predictions["file"]].to_numpy() == predictions["label"]).all()
    table, record = pd.read_csv(place / "folds.csv"), json.loads((place / "folds.json").read_text())
    scores, tested = [], []
    for i, (fold, lies) in enumerate(
        zip(cross_validation.divide(small, 4), lines, strict=True), start=1
    ):
        run = runs.load(place / f"fold{i}")
        part = predictions[predictions["fold"] == i]
        assert set(part["file"]) == parts([fold])[0]
        assert run.record["fold"] == f"4folds/fold{i}"
        assert run.record["identity"] == record["identities"][i - 1]
        scores.append(balanced_accuracy_score(part["label"], part["prediction"]))
        assert run.metrics["test"]["file"]["score"] == pytest.approx(scores[-1])
        assert f"fold {i} of 4, test: UAR {100 * scores[-1]:.1f} %" in lies
        tested.append(part["speaker"].nunique())
        row = table.iloc[i - 1]
        assert row[["train", "devel", "test"]].sum() == 96
        assert row["test"] == len(part)
        assert row["devel_score"] == pytest.approx(run.metrics["devel"]["file"]["score"])
    assert table["fold"].tolist() == [1, 2, 3, 4]
    assert table["test_score"].tolist() == pytest.approx(scores)
    assert table["test_speakers"].tolist() == tested
    assert sum(tested) == 12
    assert record["mean"] == pytest.approx(sum(scores) / 4)
    squares = sum((score - sum(scores) / 4) ** 2 for score in scores)
    assert record["deviation"] == pytest.approx((squares / 3) ** 0.5)
    pool = record["pooled"]
    whole = balanced_accuracy_score(predictions["label"], predictions["prediction"])
    assert pool["score"] == pytest.approx(whole)
    assert pool["n"] == 96
    low, high = pool["interval_files"]
    assert low < whole < high
    index = {name: i for i, name in enumerate(CLASSES)}
    true, said = (predictions[column].map(index).to_numpy() for column in ("label", "prediction"))
    by_speakers = metrics.bootstrap_interval(true, said, 4, predictions["speaker"], draws=50)
    assert pool["interval_speakers"] == pytest.approx(by_speakers)
    assert low != by_speakers[0]
    assert (record["metric"], record["chance"], record["k"], record["division_seed"]) == (
        *("uar", 0.25, 4, 0),
    )
    assert {"date", "commit", "versions", "hardware"} <= set(record)


def test_folds_are_not_among_the_runs(small, workplace):
    whole = acoustic(small)
    cross_validation.cross_validate(small, 3, acoustic, log=quiet)
    assert (workplace / "small" / "librosa-svm-s0-3folds" / "fold1" / "metrics.json").is_file()
    assert training_runs.all_runs()["run"].tolist() == ["librosa-svm-s0"]
    assert "fold" not in whole.record
    # The corpus's own run is still known: a fold does not lie in its place.
    assert acoustic(small).record == whole.record


def test_the_pooled_score_is_not_the_mean_of_scores():
    """Files of large and small folds count alike."""
    predictions = pd.DataFrame(
        {
            "speaker": [*"aaaabb"],
            "label": ["x", "x", "x", "y", "x", "y"],
            "prediction": ["x", "x", "x", "y", "y", "x"],
            "fold": [1, 1, 1, 1, 2, 2],
        }
    )
    given = {"task": "classification", "classes": ["x", "y"], "seed": 0}
    found = cross_validation.pool(predictions, runs.Run(None, given, Settings()))
    assert found["file"]["score"] == pytest.approx((3 / 4 + 1 / 2) / 2)  # the mean is 1/2
    assert found["file"]["confusion"] == [[3, 1], [1, 1]]
    assert found["chance"] == 0.5


def as_ages(built):
    """A number that the audio has something to do with."""
    place = built.table["label"].map({"calm": 0, "happy": 1, "sad": 2, "angry": 3})
    ages = (20 + 10 * place + np.arange(len(place)) % 7).astype(str)
    card = built.card.model_copy(update={"task": "regression", "classes": ()})
    return replace(built, card=card, table=built.table.assign(label=ages))


def test_a_regression(small):
    built, lines = as_ages(small), []
    found = cross_validation.cross_validate(built, 3, acoustic, log=lines.append)
    predictions = pd.read_csv(found.folder / "predictions.csv")
    assert sorted(predictions["file"]) == sorted(built.table["path"])
    pool = found.record["pooled"]
    assert found.record["metric"] == "spearman"
    rho = spearmanr(predictions["label"], predictions["prediction"]).statistic
    assert pool["score"] == pytest.approx(rho)
    errors = (predictions["label"] - predictions["prediction"]).abs()
    assert pool["mae"] == pytest.approx(errors.mean())
    over, whole = cross_validation.headline(found)
    mean, deviation = found.table["test_score"].mean(), found.table["test_score"].std()
    assert over.startswith(f"test: rho {mean:.3f} ± {deviation:.3f} ")
    assert whole.startswith(f"pooled: rho {rho:.3f} [")


def test_a_fold_without_a_score_leaves_the_mean_undefined(small, monkeypatch):
    same = lambda fitted, values, classes: np.full((len(values), 1), 40.0)  # noqa: E731
    monkeypatch.setattr(baselines, "_scores", same)
    found = cross_validation.cross_validate(as_ages(small), 3, acoustic, log=quiet)
    assert found.record["mean"] is found.record["deviation"] is None
    assert found.record["pooled"]["score"] is None
    over, whole = cross_validation.headline(found)
    assert "undefined" in over
    assert "MAE" in whole


def test_files_without_a_label_are_counted(small):
    table, lines = small.table.copy(), []
    table.loc[[0, 5], "label"] = ""
    found = cross_validation.cross_validate(
        replace(small, table=table), 3, acoustic, log=lines.append
    )
    assert lines[0].startswith("2 files without a label")
    assert found.record["pooled"]["n"] == 94


# Interruption


def test_an_interrupted_cross_validation_goes_on(small, workplace):
    begun = []

    def one(fold, dies=True):
        if dies and fold.fold.endswith("fold2"):
            raise KeyboardInterrupt
        lines = []
        run = baselines.train_baseline(
            fold, cards.settings_of(fold.card), 0, log=lines.append, kind=runs.LIBROSA
        )
        begun.append((fold.fold, "not repeated" in " ".join(lines)))
        return run

    with pytest.raises(KeyboardInterrupt):
        cross_validation.cross_validate(small, 3, one, log=quiet)
    place = workplace / "small" / "librosa-svm-s0-3folds"
    assert [path.name for path in place.iterdir()] == ["fold1"]
    begun.clear()
    cross_validation.cross_validate(small, 3, lambda fold: one(fold, dies=False), log=quiet)
    assert begun == [("3folds/fold1", True), ("3folds/fold2", False), ("3folds/fold3", False)]
    assert (place / "folds.json").is_file()
    # The same again, interrupted: what is there is still of these folds.
    with pytest.raises(KeyboardInterrupt):
        cross_validation.cross_validate(small, 3, one, log=quiet)
    assert (place / "folds.json").is_file()


@pytest.mark.parametrize("older", ["of other versions", "damaged"])
def test_an_older_summary_does_not_stand_beside_other_folds(small, workplace, older, monkeypatch):
    cross_validation.cross_validate(small, 3, acoustic, log=quiet)
    place = workplace / "small" / "librosa-svm-s0-3folds"
    if older == "damaged":
        (place / "folds.json").write_text("{")
    else:
        monkeypatch.setattr(provenance, "versions", lambda: {"dslite": "0.0"})

    def other(fold):
        if fold.fold.endswith("fold2"):
            raise OSError("no space left on device")
        return acoustic(fold)

    with pytest.raises(OSError, match="no space"):
        cross_validation.cross_validate(small, 3, other, log=quiet)
    assert not (place / "folds.json").exists()


# The commands


def test_the_baseline_command(command, small_corpus, workplace):
    words = ("baseline", small_corpus, "--features=librosa", "--folds=3")
    status, out, err = command(*words)
    assert (status, err) == (0, "")
    record = json.loads((workplace / "small/librosa-svm-s0-3folds/folds.json").read_text())
    for i in (1, 2, 3):
        assert f"fold {i} of 3, test: UAR" in out
    percent = f"{100 * record['mean']:.1f} % ± {100 * record['deviation']:.1f}"
    assert f"test: UAR {percent} (mean and standard deviation of 3 folds)" in out
    low, high = (100 * value for value in record["pooled"]["interval_files"])
    pooled = f"{100 * record['pooled']['score']:.1f} % [{low:.1f}, {high:.1f}] of 96 files"
    assert f"pooled: UAR {pooled}" in out
    assert "librosa-svm-s0-3folds" in out
    assert out.count("not repeated") == 0
    assert command(*words)[1].count("not repeated") == 3
    assert command(*words, "--force")[1].count("not repeated") == 0


def test_the_train_command(command, small_corpus, workplace, tiny, monkeypatch):
    learnt, boards, fit = [], [], training_fit.fit

    def watched(network, task, chunks, *given, **more):
        learnt.append(set(task.store.files["path"].iloc[task.store.file[chunks]]))
        return fit(network, task, chunks, *given, **more)

    def board(folder):
        boards.append(folder)
        return lambda row: None

    monkeypatch.setattr(training_fit, "fit", watched)
    monkeypatch.setattr(training_fit, "tensorboard", board)
    words = ["train", small_corpus, "--weights", tiny, "--folds", 3]
    words += [word for pair in SHORT.items() for word in ("--set", "{}={}".format(*pair))]
    status, out, err = command(*words)
    assert status == 0, err
    used = cards.settings_of(cards.load(str(small_corpus)), "", SHORT)
    name = runs.folder(cards.load(str(small_corpus)), used, 0).name
    assert name.startswith("squeezenet-none-s0-x")
    place = workplace / "small" / f"{name}-3folds"
    predictions = pd.read_csv(place / "predictions.csv")
    assert predictions["file"].nunique() == len(predictions) == 96
    for i in (1, 2, 3):
        assert (place / f"fold{i}" / "model.keras").is_file()
        tested = set(predictions["file"][predictions["fold"] == i])
        assert learnt[2 * i - 1] == set(predictions["file"]) - tested
    assert [board.relative_to(paths.cache() / "tensorboard") for board in boards] == [
        Path("small", place.name, f"fold{i}", name) for i in (1, 2, 3) for name in BOTH
    ]
    assert "pooled: UAR" in out
    status, listed, _ = command("results", small_corpus)
    assert status == 0
    said = [line for line in listed.splitlines() if line.startswith(f"{place.name}: test: UAR ")]
    assert len(said) == 1
    assert said[0].split("; pooled: ")[1] in out


@pytest.mark.parametrize("name", ["train", "baseline"])
def test_what_the_commands_refuse(command, small_corpus, workplace, name):
    for k, told in ((2, "take 3 to 12 folds"), (13, "12 speakers"), (0, "take 3 to 12 folds")):
        status, out, err = command(name, small_corpus, "--folds", k)
        assert (status, out) == (2, "")
        assert told in err
        assert "Traceback" not in err
    assert not workplace.exists()

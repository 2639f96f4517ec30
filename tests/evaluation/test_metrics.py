"""Scores against scikit-learn, scipy, formulas and plain loops."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    balanced_accuracy_score,
    mean_absolute_error,
    root_mean_squared_error,
)
from sklearn.metrics import confusion_matrix as sklearn_matrix

from dslite.cards import Card
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.settings import Settings

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def guesses(rng):
    """Labels and predictions [400] of 4 unequally frequent classes."""
    labels = rng.choice(4, size=400, p=[0.55, 0.25, 0.15, 0.05])
    return labels, np.where(rng.random(400) < 0.5, labels, rng.integers(0, 4, 400))


def test_confusion_recalls_and_uar_agree_with_sklearn(guesses):
    matrix = metrics.confusion_matrix(*guesses, 4)
    np.testing.assert_array_equal(matrix, sklearn_matrix(*guesses))
    assert matrix.dtype == np.int64
    assert metrics.uar(*guesses, 4) == pytest.approx(balanced_accuracy_score(*guesses))
    # A class without files is left out of the mean.
    labels, predictions = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    np.testing.assert_array_equal(metrics.recalls(labels, predictions, 3), [0.5, np.nan, 1.0])
    assert metrics.uar(labels, predictions, 3) == 0.75


@pytest.mark.parametrize("wrong", [[], [0, 3], [-1, 0]])
def test_indices_that_are_no_classes_are_refused(wrong):
    with pytest.raises(ValueError, match="class indices 0 to 2"):
        metrics.confusion_matrix(np.array(wrong), np.array(wrong), 3)


def test_mean_and_vote_can_differ_and_chunks_of_a_file_need_not_be_neighbours():
    scores = np.array([[0.55, 0.45], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]], dtype=np.float32)
    mean, vote = (metrics.fuse(scores, [1, 0, 1, 1], fusion) for fusion in ("mean", "vote"))
    np.testing.assert_allclose(mean, [[0.3, 0.7], [0.4, 0.6]], atol=1e-6)
    np.testing.assert_allclose(vote, [[0, 1], [2 / 3, 1 / 3]], atol=1e-5)
    assert mean.dtype == vote.dtype == np.float64


def test_the_mean_breaks_a_tie_of_the_votes_and_overrules_no_majority_of_one():
    vote = metrics.fuse([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1]], [0, 0], "vote")
    np.testing.assert_allclose(vote, [[0.5, 0.5, 0]], atol=1e-5)
    assert vote.argmax() == 1
    np.testing.assert_allclose(vote.sum(), 1)
    long = np.array([[0.51, 0.49]] * 501 + [[0.0, 1.0]] * 500)
    assert metrics.fuse(long, np.zeros(1001, int), "vote").argmax() == 0
    assert metrics.fuse(long, np.zeros(1001, int), "mean").argmax() == 1


@pytest.mark.parametrize("fusion", ["mean", "vote"])
def test_the_largest_score_that_is_written_is_the_prediction(rng, tmp_path, fusion):
    """Also of classes whose scores agree to more digits than are written."""
    card = Card(dataset="d", layout="table", title="d", classes=("a", "b", "c", "d"))
    files = pd.DataFrame({"path": [f"{i}.wav" for i in range(400)], "speaker": "", "partition": ""})
    scores = 0.25 + rng.integers(-2, 3, (1200, 4)) * 10.0 ** -rng.integers(3, 18, (1200, 1))
    settings = Settings(fusion=fusion)
    _, table = metrics.score(
        files.assign(label=""), card, settings, np.arange(1200) // 3, scores, 0
    )
    table.to_csv(tmp_path / "predictions.csv", index=False)
    again = pd.read_csv(tmp_path / "predictions.csv")
    largest, file = again[list("abcd")].to_numpy().argmax(axis=1), np.arange(1200) // 3
    assert again["prediction"].tolist() == np.array(list("abcd"))[largest].tolist()
    scored = metrics.evaluate(largest[file], scores, file, None, "abcd", fusion=fusion)
    assert scored["file"]["score"] == 1  # what is scored is what is written
    assert len(set(largest)) == 4


def test_the_interval_over_files_is_that_of_a_plain_loop(guesses, rng):
    labels, predictions = guesses
    uars = []
    for _ in range(600):
        files = rng.integers(400, size=400)
        uars.append(metrics.uar(labels[files], predictions[files], 4))
    interval = metrics.bootstrap_interval(*guesses, 4, draws=4000)
    np.testing.assert_allclose(interval, np.quantile(uars, [0.025, 0.975]), atol=0.015)


def test_over_balanced_speakers_it_is_student_s_t_of_their_uars(rng):
    labels, speakers = np.tile([0, 1, 2, 2], 60), np.repeat(np.arange(12), 20)
    quality = rng.uniform(0.5, 0.9, 12)[speakers]
    predictions = np.where(rng.random((3, 240)) < quality, labels, (labels + 1) % 3)
    of_speakers = metrics.uar_by_group(labels, predictions, speakers)
    expected = scipy.stats.t.interval(0.95, 11, of_speakers.mean(), scipy.stats.sem(of_speakers))
    interval = metrics.speaker_interval(labels, predictions, speakers)
    assert interval == pytest.approx(expected)
    # Of unequal ones it lies about the score of all files.
    few = np.delete(np.arange(240), np.arange(60)[::3])
    low, high = metrics.speaker_interval(labels[few], predictions[:, few], speakers[few])
    score = np.mean([metrics.uar(labels[few], of[few], 3) for of in predictions])
    assert (low + high) / 2 == pytest.approx(score)
    recall = metrics.speaker_recalls(labels, predictions, 3, speakers)[2]
    each = (predictions == labels).mean(axis=0)[labels == 2].reshape(12, -1).mean(axis=1)
    assert recall == pytest.approx(
        scipy.stats.t.interval(0.95, 11, each.mean(), scipy.stats.sem(each))
    )


def test_width_of_the_rho_interval_is_that_of_the_formula(rng):
    labels = rng.normal(size=500)
    predictions = labels + rng.normal(size=500)
    interval = metrics.bootstrap_interval_rho(labels, predictions)
    rho = metrics.rho(labels, predictions)
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / 497)  # Bonett and Wright 2000, Fisher's z
    expected = np.tanh([np.arctanh(rho) - half, np.arctanh(rho) + half])
    np.testing.assert_allclose(interval, expected, atol=0.02)


def test_speakers_widen_the_interval_where_their_files_agree(rng):
    speakers = np.repeat(np.arange(12), 30)
    numbers = speakers + rng.normal(size=360)
    guessed = np.where(rng.random(12) < 0.6, 1, -1)[speakers] * numbers
    by_file = metrics.bootstrap_interval_rho(numbers, guessed, draws=300)
    by_speaker = metrics.speaker_interval_rho(numbers, guessed, speakers)
    assert np.diff(by_speaker) > 2 * np.diff(by_file)


@pytest.mark.parametrize("over", ["files", "speakers"])
def test_seeds_that_agree_have_the_interval_of_one_and_others_a_narrower_one(rng, over):
    labels = rng.integers(3, size=300)
    predictions = np.where(rng.random((4, 300)) < 0.7, labels, (labels + 1) % 3)
    function = metrics.bootstrap_interval if over == "files" else metrics.speaker_interval
    last = 3 if over == "files" else np.arange(300) // 5
    one, same = (function(labels, of, last) for of in (predictions[0], predictions[[0, 0, 0]]))
    assert same == pytest.approx(one)
    low, high = function(labels, predictions, last)
    assert low < np.mean([metrics.uar(labels, of_seed, 3) for of_seed in predictions]) < high
    assert high - low < one[1] - one[0]


def test_the_same_seed_draws_the_same(guesses):
    uar, rho = metrics.bootstrap_interval, metrics.bootstrap_interval_rho
    for interval, arrays in ((uar, (*guesses, 4)), (rho, guesses)):
        first, again, other = (interval(*arrays, draws=100, seed=seed) for seed in (3, 3, 4))
        assert first == again != other


def test_an_interval_over_speakers_needs_five():
    labels, predictions = np.array([0, 1] * 20), np.array([0, 1, 1, 1] * 10)
    for speakers, drawn in ((4, False), (5, True)):
        of = np.arange(40) // 2 % speakers
        assert (metrics.speaker_interval(labels, predictions, of) is not None) == drawn
        assert (metrics.speaker_interval_rho(labels, predictions, of) is not None) == drawn
        assert (metrics.speaker_recalls(labels, predictions, 2, of) != [None] * 2) == drawn
        of_speakers = metrics.uar_by_group(labels, predictions, of)
        assert of_speakers.mean() == pytest.approx(metrics.uar(labels, predictions, 2))
        assert list(of_speakers.index) == list(range(speakers))


def test_what_cannot_vary_has_no_interval(monkeypatch):
    monkeypatch.setattr(metrics, "FEWEST", 2)
    labels, predictions = np.array([0, 1, 1]), np.array([0, 1, 0])
    assert metrics.speaker_interval_rho(labels, predictions, ["a"] * 3) is None
    assert metrics.speaker_interval_rho(labels, np.ones(3), list("aab")) is None
    assert metrics.bootstrap_interval(labels[:1], [[0], [1]], 2) is None
    assert metrics.bootstrap_interval_rho(labels, np.ones(3)) is None
    # A rare class that a draw misses does not count as zero.
    labels = np.array([0] * 50 + [1])
    assert metrics.bootstrap_interval(labels, labels, 3) == (1.0, 1.0)
    #                  always right, never, one file, none; the fifth: two files of one speaker
    labels = np.array([0, 0, 0, 1, 1, 2, 4, 4])
    predictions = np.array([0, 0, 0, 0, 0, 2, 4, 0])
    speakers = ["a", "b", "b", "a", "b", "a", "b", "b"]
    by_speaker = metrics.speaker_recalls(labels, predictions, 5, speakers)
    assert by_speaker == [(1.0, 1.0), (0.0, 0.0), None, None, None]
    assert metrics.speaker_recalls(labels, predictions, 5, ["a"] * 8) == [None] * 5
    # Student's t knows no bounds, a score has some.
    assert metrics.speaker_interval(labels, predictions, speakers)[0] == 0


def plain(record):
    """Whether JSON knows every part of a record by itself."""
    return json.loads(json.dumps(record, allow_nan=False)) == record


def test_classification_record(guesses, rng):
    labels, files = guesses[0], np.repeat(np.arange(400), 3)
    scores = rng.dirichlet(np.ones(4), 1200).astype(np.float32)
    speakers, options = [f"s{i % 8}" for i in range(400)], {"draws": 200, "seed": 1}
    record = metrics.evaluate(
        labels[files], scores, files, speakers, list("abcd"), fusion="vote", **options
    )
    assert plain(record)
    assert (record["metric"], record["chance"]) == ("uar", 0.25)
    file, chunk = record["file"], record["chunk"]
    assert (file["n"], chunk["n"], np.sum(chunk["confusion"])) == (400, 1200, 1200)
    vote, mean = (metrics.fuse(scores, files, of).argmax(axis=1) for of in ("vote", "mean"))
    assert file["score"] == file["score_vote"]
    assert file["score_vote"] == pytest.approx(balanced_accuracy_score(labels, vote))
    assert file["score_mean"] == pytest.approx(balanced_accuracy_score(labels, mean))
    assert file["confusion"] == sklearn_matrix(labels, vote).tolist()
    assert file["recall"] == dict(zip("abcd", metrics.recalls(labels, vote, 4), strict=True))
    assert file["interval_files"] == list(metrics.bootstrap_interval(labels, vote, 4, **options))
    assert file["interval_speakers"] == list(metrics.speaker_interval(labels, vote, speakers))
    assert chunk["score"] == metrics.uar(labels[files], scores.argmax(axis=1), 4)
    order = rng.permutation(1200)  # of the chunks; it does not matter
    mixed = metrics.evaluate(
        labels[files][order],
        scores[order],
        files[order],
        None,
        list("abcd"),
        fusion="vote",
        **options,
    )
    assert mixed["chunk"] == chunk
    assert mixed["file"]["confusion"] == file["confusion"]


def test_regression_record(rng):
    labels = rng.integers(1, 10, 60).astype(float)  # ties
    files = np.repeat(np.arange(60), 2)
    scores = (labels[files] + rng.normal(size=120) + 1)[:, None]
    arrays = (labels[files], scores, files, [f"s{i % 6}" for i in range(60)], [])
    record = metrics.evaluate(*arrays, task="regression", draws=50)
    assert plain(record)
    assert (record["metric"], record["chance"]) == ("spearman", 0.0)
    file, chunk = record["file"], record["chunk"]
    assert {"recall", "confusion"}.isdisjoint(file)
    assert set(chunk) == {"n", "score", "pearson", "ccc", "mae", "rmse"} < set(file)
    fused = scores.reshape(60, 2).mean(axis=1)
    assert file["score"] == metrics.rho(labels, fused) == file["score_mean"] > chunk["score"]
    assert file["score"] == pytest.approx(spearmanr(labels, fused).statistic)
    assert file["mae"] == pytest.approx(mean_absolute_error(labels, fused))
    assert file["rmse"] == pytest.approx(root_mean_squared_error(labels, fused))
    # Lin's form: Pearson's r times the bias correction
    r, v = pearsonr(labels, fused).statistic, labels.std() / fused.std()
    u = (labels.mean() - fused.mean()) / np.sqrt(labels.std() * fused.std())
    assert file["pearson"] == pytest.approx(r)
    assert file["ccc"] == pytest.approx(r * 2 / (v + 1 / v + u**2))
    assert file["score_vote"] is None
    assert len(file["interval_speakers"]) == 2
    with pytest.raises(InputError, match="fusion"):
        metrics.evaluate(*arrays, task="regression", fusion="vote")


@pytest.mark.parametrize("speakers", [None, [], ["", "", ""], ["a", "b", ""], ["a", "a", "a"]])
def test_what_is_undefined_becomes_none(speakers):
    scores = np.eye(3)[[0, 1, 0]]
    record = metrics.evaluate([0, 0, 0], scores, [0, 1, 2], speakers, ["a", "b", "c"])
    assert record["file"]["recall"] == pytest.approx({"a": 2 / 3, "b": None, "c": None})
    assert record["file"]["interval_speakers"] is None  # without two that are known
    assert record["file"]["interval_files"] is not None
    constant = metrics.evaluate(
        [1.0, 2.0, 3.0], np.full((3, 1), 0.1), [0, 1, 2], speakers, [], task="regression"
    )
    for measure in ("score", "pearson", "interval_files"):
        assert constant["file"][measure] is None
    assert plain(record)
    assert plain(constant)


@pytest.mark.parametrize(
    ("function", "arrays", "error", "text"),
    [
        (metrics.fuse, ([[0.5, 0.5]], [0], "median"), InputError, "'mean' and 'vote'"),
        (metrics.fuse, ([[0.5]], [0], "vote"), InputError, "regression"),
        (metrics.evaluate, ([0], [[np.nan, 0.5]], [0], None), InputError, "diverged"),
        (metrics.evaluate, ([0, 1], np.eye(2), [0, 0], None), ValueError, "different labels"),
    ],
)
def test_what_is_refused(function, arrays, error, text):
    classes = [["a", "b"]] if function is metrics.evaluate else []
    with pytest.raises(error, match=text):
        function(*arrays, *classes)

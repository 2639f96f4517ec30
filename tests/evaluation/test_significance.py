"""Tests of configurations: against numbers by hand, exact tests and simulations."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from dslite.errors import InputError
from dslite.evaluation import metrics, significance


def test_a_table_of_repeated_runs():
    keys = ["dataset", "backbone"]
    runs = pd.DataFrame({"dataset": list("bbbaa"), "backbone": list("xxxxy")})
    table = significance.repeated(runs.assign(test=[0.60, 0.64, 0.68, 0.7, np.nan]), keys, "test")
    assert table[[*keys, "n"]].values.tolist() == [["b", "x", 3], ["a", "x", 1], ["a", "y", 1]]
    np.testing.assert_allclose(table["mean"], [0.64, 0.7, np.nan])
    # t of 2 degrees of freedom has a closed form: t = (2p - 1) sqrt(2 / (4p (1 - p)))
    half = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)) * 0.04 / math.sqrt(3)
    expected = {"deviation": 0.04, "low": 0.64 - half, "high": 0.64 + half}
    for name, value in expected.items():
        np.testing.assert_allclose(table[name], [value, np.nan, np.nan])


@pytest.mark.parametrize(("b", "c"), [(1, 9), (5, 5), (3, 0), (12, 4), (0, 0)])
def test_mcnemar_is_the_binomial_sum_whatever_the_seeds(b, c):
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    counts = [30, b, c, 7]  # files that both, only the first, only the second and none recognise
    first, second = (np.repeat(right, counts) for right in ([0, 0, 1, 1], [0, 1, 0, 1]))
    labels = np.zeros(len(first), int)
    result = significance.mcnemar(labels, first, second)
    expected = {"only_first": b, "only_second": c, "p": min(1, 2 * tail)}
    assert result == pytest.approx(expected)
    # A file counts once, for the one that recognises it in the larger share of its seeds.
    assert significance.mcnemar(labels, np.stack([first] * 3), np.stack([second] * 3)) == result
    first = np.array([[0, 1, 0], [1, 1, 0]])  # right in 1/2, 0 and all seeds
    second = np.array([[0, 0, 1], [0, 1, 0], [1, 1, 1]])  # in 2/3, 1/3 and 1/3
    result = significance.mcnemar(np.zeros(3, int), first, second)
    assert (result["only_first"], result["only_second"]) == (1, 2)


def test_holm_of_r_s_manual_and_what_is_missing():
    """R's ``p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")``."""
    p = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert significance.holm(p) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    adjusted = significance.holm([np.nan, 0.01, 0.5, np.nan])
    np.testing.assert_allclose(adjusted, [np.nan, 0.02, 0.5, np.nan])
    assert significance.holm([]).size == 0
    assert significance.holm([0.9, 0.8]).max() == 1


def voices(rng, right, n_classes=3):
    """Labels and predictions that are right with a probability, [files] or [seeds, files]."""
    labels = np.arange(np.shape(right)[-1]) % n_classes
    wrong = (labels + rng.integers(1, n_classes, size=np.shape(right))) % n_classes
    return labels, np.where(rng.random(np.shape(right)) < right, labels, wrong)


@pytest.mark.parametrize(
    # Of the draws, so many are beyond either end: of normal ones as many as Student's t with
    # u - 1 degrees of freedom has beyond its 2.5 %, times the root of u / (u - 1)
    ("grouped", "tail"),
    [(False, 0.0218), (True, 0.0108)],
)
def test_the_draws_are_those_of_the_definition(rng, grouped, tail):
    """Against drawing files (or speakers) one by one and scoring each draw anew."""
    labels, first = voices(rng, np.full((2, 60), 0.5))
    _, second = voices(rng, np.full((3, 60), 0.65))
    groups = np.repeat(np.arange(12), 5) if grouped else None
    result = significance.uar_difference(labels, first, second, 3, groups)
    assert significance.uar_difference(labels, first, second, 3, groups) == result
    means = [np.mean([metrics.uar(labels, s, 3) for s in seeds]) for seeds in (first, second)]
    assert result["difference"] == pytest.approx(means[1] - means[0])
    assert result["low"] <= result["difference"] <= result["high"]
    assert result["units"] == (12 if grouped else 60)
    units = np.arange(60).reshape(-1, 5 if grouped else 1)
    gain, drawn = (second == labels).mean(axis=0) - (first == labels).mean(axis=0), []
    for _ in range(1000):
        i = units[rng.integers(len(units), size=len(units))].ravel()
        drawn.append(np.mean([gain[i][labels[i] == c].mean() for c in range(3)]))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    assert (result["low"], result["high"]) == pytest.approx((low, high), abs=0.02)
    plain = 2 * np.mean(np.array(drawn) <= 0)
    assert plain < result["p"] + 0.02 < plain + 0.08


def test_interval_and_p_agree_about_0(rng, monkeypatch):
    """Where p is the level that the interval leaves out, the interval ends at 0."""
    labels, first = voices(rng, np.full(40, 0.5))
    _, second = voices(rng, np.full(40, 0.6))
    for groups in (None, np.arange(40) // 5):
        p = significance.uar_difference(labels, first, second, 3, groups)["p"]
        monkeypatch.setattr(significance, "LEVEL", 1 - p)
        ends = significance.uar_difference(labels, first, second, 3, groups)
        assert min(abs(ends["low"]), abs(ends["high"])) < 0.01


def test_equal_ones_differ_by_nothing(rng):
    labels, seeds = voices(rng, np.full((2, 80), 0.5))
    for groups in (None, np.arange(80) // 3):
        result = significance.uar_difference(labels, seeds, seeds[::-1], 3, groups, draws=300)
        assert [result[key] for key in ("difference", "low", "high", "p")] == [0, 0, 0, 1]


def test_what_differs_by_chance_is_seldom_told_apart(rng):
    """Two configurations of the same quality, each suiting some speakers: p < 0.05 is an error."""
    errors, repeats, speaker = 0, 200, np.repeat(np.arange(15), 8)
    for _ in range(repeats):
        suits = rng.normal(0, 0.15, (2, 15))[:, speaker]
        labels, first = voices(rng, 0.6 + suits[0])
        _, second = voices(rng, 0.6 + suits[1])
        result = significance.uar_difference(labels, first, second, 3, speaker, 400)
        errors += result["p"] < 0.05
    assert 0.01 <= errors / repeats <= 0.08


def test_a_real_difference_is_found_but_few_unanimous_speakers_prove_nothing(rng):
    labels, first = voices(rng, np.full(300, 0.4))
    _, second = voices(rng, np.full(300, 0.8))
    # No draw is on the other side, which says no more than that there were 20,000.
    assert 2 / 20_001 < significance.uar_difference(labels, first, second, 3)["p"] < 0.001
    labels = np.arange(40) % 2
    few = significance.uar_difference(labels, 1 - labels, labels, 2, np.arange(40) // 10)
    assert (few["difference"], few["units"], few["p"]) == (1, 4, 0.125)  # 2 / 2^4
    one = significance.uar_difference(labels, 1 - labels, labels, 2, np.zeros(40))
    assert (one["difference"], one["low"], one["high"], one["p"]) == (1, None, None, None)


def predictions(rng, rights, dataset="d", seeds=(0, 1), speakers=10, n=120, **columns):
    """Rows as `compared` takes them; ``rights``: augmentation -> share recognised."""
    parts, names = [], np.array(list("xyz"))
    speaker = [f"s{i % speakers}" if speakers else "" for i in range(n)]
    for (augmentation, right), seed in itertools.product(rights.items(), seeds):
        labels, predicted = (names[of] for of in voices(rng, np.full(n, right)))
        part = {"label": labels, "prediction": predicted, "speaker": speaker}
        part |= {"file": [f"{i}.wav" for i in range(n)], "augmentation": augmentation}
        parts.append(pd.DataFrame(part | {"seed": seed, "dataset": dataset} | columns))
    return pd.concat(parts, ignore_index=True)


def test_a_study_of_several_corpora(rng, monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 500)
    one = predictions(rng, {"cutmix": 0.8, "none": 0.5, "specaugment": 0.5})
    other = predictions(rng, {"none": 0.8, "cutmix": 0.4}, dataset="e", seeds=(0,), speakers=0)
    table = significance.compared(pd.concat([one, other]), "augmentation", "none")
    columns = ["dataset", "augmentation", "baseline", "verdict", "unit", "units", "seeds"]
    assert table[columns].values.tolist() == [
        ["d", "cutmix", "none", "better", "speaker", 10, 2],
        ["d", "specaugment", "none", "not told apart", "speaker", 10, 2],
        ["e", "cutmix", "none", "worse", "file", 120, 1],
    ]
    assert (table["comparisons"] == 3).all()
    assert table["low_speakers"].isna().tolist() == [False, False, True]
    assert (table["low"] <= table["difference"]).all()
    for p in ("p", "p_mcnemar"):
        assert table[f"{p}_holm"].tolist() == significance.holm(table[p]).tolist()
    assert table["only_this"][0] > table["only_baseline"][0]
    assert 20 < table["difference"][0] < 40  # points, not fractions


def test_only_seeds_and_labels_that_both_have_are_compared(rng):
    rows = predictions(rng, {"none": 0.5, "cutmix": 0.8})
    short = rows[(rows["augmentation"] == "none") | (rows["seed"] == 1)]
    table = significance.compared(short, "augmentation", "none")
    expected = significance.compared(rows[rows["seed"] == 1], "augmentation", "none")
    pd.testing.assert_frame_equal(table, expected)
    assert table["seeds"].tolist() == [1]
    mixed = [significance.compared(of, "augmentation", "none") for of in (rows, rows[::-1])]
    pd.testing.assert_frame_equal(*mixed)  # in whatever order the files and seeds come
    blinded = rows.assign(label="", dataset="b")
    apart = rows[(rows["augmentation"] == "none") == (rows["seed"] == 0)].assign(dataset="a")
    table = significance.compared(pd.concat([blinded, apart, rows]), "augmentation", "none")
    assert table["verdict"].tolist() == ["unknown", "unknown", "better"]
    assert table["files"].tolist() == [0, 0, 120]
    assert table["p"].isna().tolist() == [True, True, False]
    assert (table["comparisons"] == 1).all()  # what cannot be compared does not count
    assert table["p_holm"][2] == table["p"][2]


def test_more_comparisons_take_more_draws(rng, monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 100)  # which give 40 x 2 / 101 at best
    rights = {"none": 0.3, "a0": 0.9} | {f"a{i}": 0.3 for i in range(1, 40)}
    rows = predictions(rng, rights, seeds=(0,), speakers=0, n=60)
    assert significance.compared(rows, "augmentation", "none")["verdict"][0] == "better"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows[:-1], "d, cutmix: .*other files or labels"),
        (lambda rows: rows.assign(file=rows["augmentation"] + rows["file"]), "other files"),
        (lambda rows: rows.assign(label=rows["augmentation"] + rows["file"]), "other .*labels"),
        (lambda rows: rows[rows["augmentation"] != "none"], "d: no .* of augmentation none"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(rng, change, text):
    rows = change(predictions(rng, {"none": 0.5, "cutmix": 0.6}))
    with pytest.raises(InputError, match=text):
        significance.compared(rows, "augmentation", "none")


def test_the_interval_covers_the_true_difference(rng):
    """Of 300 samples of 120 files about 95 % of the intervals hold what the samples come from."""
    held, repeats = 0, 300
    for _ in range(repeats):
        labels, first = voices(rng, np.full((2, 120), 0.55))
        _, second = voices(rng, np.full((2, 120), 0.65))
        result = significance.uar_difference(labels, first, second, 3, draws=400)
        held += result["low"] <= 0.10 <= result["high"]
    assert 0.91 <= held / repeats <= 0.985

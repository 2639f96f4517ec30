"""Statements about configurations: against hand-made numbers, exact tests and simulations."""

import itertools
import math

import numpy as np
import pytest

from dslite.evaluation import metrics, significance

# Over seeds


def test_an_interval_over_seeds_is_students():
    found = significance.over_seeds([0.60, 0.64, 0.68])
    # t of 2 degrees of freedom has a closed form: t = (2p - 1) sqrt(2 / (4p (1 - p)))
    quantile = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    assert found["mean"] == pytest.approx(0.64)
    assert found["deviation"] == pytest.approx(0.04)
    assert found["high"] - found["mean"] == pytest.approx(quantile * 0.04 / math.sqrt(3))
    assert found["mean"] - found["low"] == pytest.approx(found["high"] - found["mean"])
    assert found["n"] == 3


def test_one_seed_has_no_deviation_and_an_undefined_score_no_mean():
    nothing = {"deviation": None, "low": None, "high": None}
    assert significance.over_seeds([0.5]) == nothing | {"mean": 0.5, "n": 1}
    assert significance.over_seeds([0.5, np.nan]) == nothing | {"mean": None, "n": 2}
    with pytest.raises(ValueError, match="no scores"):
        significance.over_seeds([])


# McNemar


def table(both, only_first, only_second, neither):
    """Labels and two predictions with that many files of each kind."""
    first = np.repeat([0, 0, 1, 1], [both, only_first, only_second, neither])
    second = np.repeat([0, 1, 0, 1], [both, only_first, only_second, neither])
    return np.zeros(len(first), int), first, second


@pytest.mark.parametrize(("b", "c"), [(1, 9), (5, 5), (3, 0), (12, 4), (0, 20)])
def test_mcnemar_is_the_binomial_sum(b, c):
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    found = significance.mcnemar(*table(30, b, c, 7))
    assert (found["only_first"], found["only_second"]) == (b, c)
    assert found["p"] == pytest.approx(min(1, 2 * tail))


def test_mcnemar_of_equal_predictions_is_1(rng):
    labels, said = rng.integers(3, size=(2, 40))
    assert significance.mcnemar(labels, said, said) == {"only_first": 0, "only_second": 0, "p": 1.0}


def test_mcnemar_counts_a_file_once_whatever_the_seeds():
    labels, first, second = table(30, 2, 8, 5)
    repeated = significance.mcnemar(labels, np.stack([first] * 3), np.stack([second] * 3))
    assert repeated == significance.mcnemar(labels, first, second)


def test_mcnemar_over_seeds_weighs_shares():
    labels = np.zeros(3, int)
    first = np.array([[0, 1, 0], [1, 1, 0]])  # right in 1/2, 0 and all seeds
    second = np.array([[0, 0, 1], [0, 1, 0], [1, 1, 1]])  # in 2/3, 1/3 and 1/3
    found = significance.mcnemar(labels, first, second)
    assert (found["only_first"], found["only_second"]) == (1, 2)


# Holm


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04 x 1, the last of which may not fall below 0.06.
    assert significance.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_of_r_s_manual():
    """R's ``p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")``."""
    given = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert significance.holm(given) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_holm_rejects_what_the_closed_test_by_bonferroni_rejects(rng):
    """A hypothesis falls when every set that holds it falls by Bonferroni."""
    p = rng.uniform(0, 0.2, 5)
    closed = [
        max(
            min(1, len(others) * min(p[list(others)]))
            for size in range(1, 6)
            for others in itertools.combinations(range(5), size)
            if i in others
        )
        for i in range(5)
    ]
    assert significance.holm(p) == pytest.approx(closed)


def test_holm_passes_over_what_is_missing():
    found = significance.holm([np.nan, 0.01, 0.5, np.nan])
    assert found[[1, 2]] == pytest.approx([0.02, 0.5])
    assert np.isnan(found[[0, 3]]).all()
    assert significance.holm([]).size == 0
    assert significance.holm([0.9, 0.8]).max() == 1


# The paired bootstrap


def voices(rng, n, right, n_classes=3):
    """Labels and predictions that are right with a probability, [files] or [seeds, files]."""
    labels = np.arange(n) % n_classes
    wrong = (labels + rng.integers(1, n_classes, size=np.shape(right))) % n_classes
    return labels, np.where(rng.random(np.shape(right)) < right, labels, wrong)


def test_the_difference_is_that_of_the_uars(rng):
    labels, first = voices(rng, 90, np.full(90, 0.5))
    _, second = voices(rng, 90, np.full(90, 0.7))
    found = significance.uar_difference(labels, first, second, 3, draws=200)
    uars = [metrics.uar(labels, said, 3) for said in (first, second)]
    assert found["difference"] == pytest.approx(uars[1] - uars[0])
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["units"] == 90


def test_seeds_are_averaged_also_where_they_are_unequally_many(rng):
    labels, first = voices(rng, 60, np.full((2, 60), 0.5))
    _, second = voices(rng, 60, np.full((3, 60), 0.6))
    found = significance.uar_difference(labels, first, second, 3, draws=200)
    means = [np.mean([metrics.uar(labels, s, 3) for s in said]) for said in (first, second)]
    assert found["difference"] == pytest.approx(means[1] - means[0])


@pytest.mark.parametrize(
    # Of the draws, so many are beyond either end: of normal ones as many as Student's t with
    # u - 1 degrees of freedom has beyond its 2.5 %, times the root of u / (u - 1)
    ("grouped", "tail"),
    [(False, 0.0218), (True, 0.0108)],
)
def test_the_draws_are_those_of_the_definition(rng, grouped, tail):
    """Against drawing files (or speakers) one by one and scoring each draw anew."""
    labels, first = voices(rng, 60, np.full((2, 60), 0.5))
    _, second = voices(rng, 60, np.full((2, 60), 0.65))
    groups = np.repeat(np.arange(12), 5) if grouped else None
    found = significance.uar_difference(labels, first, second, 3, groups)
    units = [np.flatnonzero(groups == g) for g in range(12)] if grouped else np.arange(60)[:, None]
    drawn = []
    for _ in range(1000):
        i = np.concatenate([units[u] for u in rng.integers(len(units), size=len(units))])
        uars = [np.mean([metrics.uar(labels[i], s[i], 3) for s in x]) for x in (first, second)]
        drawn.append(uars[1] - uars[0])
    low, high = np.quantile(drawn, [tail, 1 - tail])
    assert found["low"] == pytest.approx(low, abs=0.02)
    assert found["high"] == pytest.approx(high, abs=0.02)
    plain = 2 * np.mean(np.array(drawn) <= 0)
    assert plain < found["p"] + 0.02 < plain + 0.08


def test_tails_of_few_units_are_students():
    """Two units: the quartile of Student's t with one degree of freedom (Cauchy's) is 1."""
    normal = math.erfc(math.sqrt(2) / math.sqrt(2)) / 2  # beyond 1 times the root of 2 / 1
    assert significance._tail(0.25, 2) == pytest.approx(normal)
    for units in (2, 5, 200):
        assert significance._expanded(significance._tail(0.025, units), units) == pytest.approx(
            0.025
        )


def test_interval_and_p_agree_about_0(rng):
    """Where p is the level that the interval leaves out, the interval ends at 0."""
    labels, first = voices(rng, 40, np.full(40, 0.5))
    _, second = voices(rng, 40, np.full(40, 0.6))
    for groups in (None, np.arange(40) // 5):
        given = (labels, first, second, 3, groups)
        p = significance.uar_difference(*given)["p"]
        ends = significance.uar_difference(*given, level=1 - p)
        assert min(abs(ends["low"]), abs(ends["high"])) < 0.01


def test_exchanging_the_two_changes_the_sign_only(rng):
    labels, first = voices(rng, 80, np.full(80, 0.5))
    _, second = voices(rng, 80, np.full(80, 0.6))
    there = significance.uar_difference(labels, first, second, 3, seed=1)
    back = significance.uar_difference(labels, second, first, 3, seed=1)
    assert there["difference"] == -back["difference"]
    assert (there["low"], there["high"]) == pytest.approx((-back["high"], -back["low"]), abs=0.01)
    assert there["p"] == pytest.approx(back["p"], abs=0.03)


@pytest.mark.parametrize("groups", [None, np.arange(30) // 3])
def test_equal_predictions_differ_by_nothing(rng, groups):
    labels, said = voices(rng, 30, np.full((3, 30), 0.5))
    found = significance.uar_difference(labels, said, said[::-1], 3, groups, draws=300)
    assert (found["difference"], found["low"], found["high"], found["p"]) == (0, 0, 0, 1)


def test_the_same_seed_draws_the_same(rng):
    labels, first = voices(rng, 60, np.full(60, 0.5))
    _, second = voices(rng, 60, np.full(60, 0.6))
    found = [significance.uar_difference(labels, first, second, 3, seed=s) for s in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_speakers_widen_the_interval_where_their_files_agree(rng):
    speaker = np.repeat(np.arange(20), 15)
    right = np.where(rng.random(20) < 0.5, 0.1, 0.9)[speaker]  # a model suits a speaker or not
    labels, second = voices(rng, 300, right)
    _, first = voices(rng, 300, np.full(300, 0.5))
    files = significance.uar_difference(labels, first, second, 3)
    speakers = significance.uar_difference(labels, first, second, 3, speaker)
    assert speakers["difference"] == files["difference"]
    assert speakers["high"] - speakers["low"] > 1.5 * (files["high"] - files["low"])
    assert (files["units"], speakers["units"]) == (300, 20)


def test_the_interval_covers_the_true_difference(rng):
    """Of 300 samples of 120 files about 95 % of the intervals hold what the samples come from."""
    held, repeats = 0, 300
    for repeat in range(repeats):
        labels, first = voices(rng, 120, np.full((2, 120), 0.55))
        _, second = voices(rng, 120, np.full((2, 120), 0.65))
        found = significance.uar_difference(labels, first, second, 3, draws=400, seed=repeat)
        held += found["low"] <= 0.10 <= found["high"]
    assert 0.91 <= held / repeats <= 0.985


@pytest.mark.parametrize("speakers", [6, 15])
def test_what_differs_by_chance_is_seldom_told_apart(rng, speakers):
    """Two configurations of the same quality, each suiting some speakers: p < 0.05 is an error."""
    errors, repeats, speaker = 0, 400, np.repeat(np.arange(speakers), 8)
    for repeat in range(repeats):
        suits = rng.normal(0, 0.15, (2, speakers))[:, speaker]
        labels, first = voices(rng, len(speaker), 0.6 + suits[0])
        _, second = voices(rng, len(speaker), 0.6 + suits[1])
        found = significance.uar_difference(labels, first, second, 3, speaker, 800, repeat)
        errors += found["p"] < 0.05
    assert 0.01 <= errors / repeats <= 0.08


def test_a_real_difference_is_found(rng):
    labels, first = voices(rng, 300, np.full(300, 0.4))
    _, second = voices(rng, 300, np.full(300, 0.8))
    # No draw is on the other side, which says no more than that there were 20,000.
    assert 2 / 20_001 < significance.uar_difference(labels, first, second, 3)["p"] < 0.001


def test_few_speakers_prove_nothing_by_being_unanimous():
    labels = np.arange(40) % 2
    wrong = 1 - labels
    found = significance.uar_difference(labels, wrong, labels, 2, np.arange(40) // 10)
    assert (found["difference"], found["units"], found["p"]) == (1, 4, 0.125)  # 2 / 2^4
    one = significance.uar_difference(labels, wrong, labels, 2, np.zeros(40))
    assert (one["difference"], one["low"], one["high"], one["p"]) == (1, None, None, None)


def test_arrays_that_do_not_fit():
    labels = np.array([0, 1, 1])
    with pytest.raises(ValueError, match="labels"):
        significance.uar_difference(labels, labels, labels[:2], 2)
    with pytest.raises(ValueError, match="class indices"):
        significance.uar_difference(labels, labels, labels, 1)
    with pytest.raises(ValueError, match="2 speakers for 3 files"):
        significance.uar_difference(labels, labels, labels, 2, ["a", "b"])

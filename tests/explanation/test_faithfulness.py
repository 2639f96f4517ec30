"""Tests of explanations, tested: what is true wins, what is not is told so."""

import numpy as np
import pytest
import tensorflow as tf

from dslite.explanation import faithfulness, masking
from dslite.explanation import methods as explanation_methods
from dslite.explanation.faithfulness import Scrutiny
from dslite.explanation.methods import Explanation, Subject
from dslite.models import backbones, classifier
from tests.explanation.explained import HALVES, SMALL, looking_at, network, noise

SCALE = backbones.BACKBONES["squeezenet"].scale
TOP_LEFT = (HALVES[0], HALVES[0])


def silent(line):
    pass


# Orders and curves


def weighing(weights):
    """As `Subject.masked`: output 1 is the sum of the weights of the kept cells."""

    def see(kept):
        sums = (kept * weights).sum(axis=(1, 2))
        return np.stack([np.full(len(kept), 9.0), sums], axis=1)

    return see


def test_the_order_begins_with_what_raises_most():
    values = np.zeros((28, 28))
    values[2:4, 26:28] = 5  # region 1, 13
    values[0, 0] = 7
    values[27, 27] = -1
    order = faithfulness.order(values)
    assert order.dtype == np.int64
    assert order[:4].tolist() == [14 + 13, 0, 1, 2]
    assert order[-1] == 195
    assert sorted(order) == list(range(196))


def test_curves_of_four_regions_by_hand():
    weights = np.array([[4.0, 1.0], [3.0, 2.0]])
    orders = np.array([[0, 2, 3, 1], [1, 3, 2, 0]])
    deletion, insertion = faithfulness.curves(weighing(weights), orders, 1)
    np.testing.assert_allclose(deletion, [[10, 6, 3, 1, 0], [10, 9, 7, 4, 0]])
    np.testing.assert_allclose(insertion, [[0, 4, 7, 9, 10], [0, 1, 3, 6, 10]])
    np.testing.assert_allclose(faithfulness.area(deletion), [15 / 4, 25 / 4])
    np.testing.assert_allclose(faithfulness.area(insertion), [25 / 4, 15 / 4])


def test_areas_of_known_curves():
    found = faithfulness.area(np.array([[1.0, 1, 1], [1, 0.5, 0], [0, 0, 1]]))
    np.testing.assert_allclose(found, [1, 0.5, 0.25])


def test_an_oracle_s_order_goes_before_a_random_one_and_that_before_its_opposite(rng):
    weights = rng.normal(size=(14, 14)) ** 3
    best = np.argsort(-weights, axis=None)
    orders = np.stack([best, *(rng.permutation(196) for _ in range(10)), best[::-1]])
    deletion, insertion = faithfulness.curves(weighing(weights), orders, 1)
    assert deletion.shape == insertion.shape == (12, faithfulness.STEPS + 1)
    np.testing.assert_allclose(deletion[:, 0], weights.sum())
    np.testing.assert_allclose(deletion[:, -1], 0, atol=1e-9)
    np.testing.assert_allclose(insertion, weights.sum() - deletion, atol=1e-9)
    removed, shown = faithfulness.area(deletion), faithfulness.area(insertion)
    assert removed[0] < removed[1:-1].min() <= removed[1:-1].max() < removed[-1]
    assert shown[0] > shown[1:-1].max() >= shown[1:-1].min() > shown[-1]


# A random head


def weights_of(whole):
    backbone = classifier.backbone_of(whole)
    head = [whole.get_layer(name) for name in ("hidden", "output")]
    return [w.numpy() for w in backbone.weights], [w.numpy() for of in head for w in of.weights]


def test_a_random_head_on_the_same_backbone(tiny, rng):
    whole = network()
    before = whole.get_weights()
    random, again, other = (faithfulness.with_random_head(whole, seed) for seed in (3, 3, 4))
    for one, left in zip(before, whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, left)
    backbone, head = weights_of(whole)
    for made in (random, other):
        same, drawn = weights_of(made)
        assert len(backbone) > 4
        for one, two in zip(backbone, same, strict=True):
            np.testing.assert_array_equal(one, two)
        for one, two in zip(head, drawn, strict=True):
            assert (one != two).all()
    for one, two in zip(random.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    kernels = [weights_of(of)[1][0] for of in (random, other)]
    assert (kernels[0] != kernels[1]).all()
    scaled = SCALE(noise(rng, 2))
    maps = [classifier.backbone_of(of)(scaled, training=False).numpy() for of in (whole, random)]
    np.testing.assert_array_equal(*maps)
    outputs = [of(scaled, training=False).numpy() for of in (whole, random)]
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


def test_a_copy_with_its_own_head_is_the_same_network(tiny, rng):
    """Nothing but the head's weights has changed: put back, they make the old outputs."""
    whole = network(SMALL.model_copy(update={"pooling": "time"}), outputs=1, scale=(40.0, 12.0))
    copy = faithfulness.with_random_head(whole)
    scaled = SCALE(noise(rng, 2))
    expected = whole(scaled, training=False).numpy()
    assert not np.allclose(copy(scaled, training=False), expected, rtol=1e-3)
    for name in ("hidden", "standardised"):
        copy.get_layer(name).set_weights(whole.get_layer(name).get_weights())
    np.testing.assert_allclose(copy(scaled, training=False), expected, rtol=1e-5)


# All tests of pictures


def test_curves_lead_from_the_output_to_the_hidden_picture_and_back(tiny, rng):
    subject = Subject(network(), SMALL, "blur", noise(rng, 4))
    pictures, outputs = noise(rng, 2), [2, 0]
    told = []
    methods = ("partition", "gradient", "grad-cam", "occlusion")
    found = faithfulness.assess(subject, pictures, outputs, evaluations=20, log=told.append)
    assert told == ["scrutiny: picture 1 of 2", "scrutiny: picture 2 of 2"]
    assert list(found.deletion) == list(found.insertion) == [*methods, "random"]
    hidden = np.stack([masking.fill(picture, "blur") for picture in pictures])
    for shown, ends in ((pictures, (0, -1)), (hidden, (-1, 0))):
        said = subject.network(SCALE(tf.constant(shown)), training=False).numpy()
        expected = said[[0, 1], outputs]
        for name in found.deletion:
            assert found.deletion[name].shape == (2, faithfulness.STEPS + 1)
            np.testing.assert_allclose(found.deletion[name][:, ends[0]], expected, atol=1e-5)
            np.testing.assert_allclose(found.insertion[name][:, ends[1]], expected, atol=1e-5)
    assert list(found.additivity) == ["partition", "gradient"]
    assert found.additivity["partition"].max() < 1e-3 < found.additivity["gradient"].max()
    assert list(found.stability) == ["partition", "gradient"]
    assert list(found.randomised) == list(found.randomised_abs) == list(methods)
    assert (np.abs(found.randomised["occlusion"]) < 1).all()
    assert (found.stability["gradient"] < 1).all()
    table = faithfulness.table(found)
    assert table["stability"].notna().tolist() == [True, True, False, False, False]
    assert table["additivity_error"].notna().tolist() == [True, True, False, False, False]
    again = faithfulness.assess(
        subject, pictures, outputs, evaluations=20, methods=["gradient"], log=silent
    )
    for test in ("randomised", "stability", "additivity"):
        once, twice = (getattr(of, test)["gradient"] for of in (found, again))
        np.testing.assert_allclose(once, twice, rtol=1e-5)
    np.testing.assert_allclose(found.deletion["random"], again.deletion["random"], atol=1e-5)


def test_an_oracle_is_said_to_win_and_its_opposite_not(rng, monkeypatch):
    subject = Subject(looking_at(*TOP_LEFT), SMALL)
    pictures = noise(rng, 6) / 4
    pictures[:, TOP_LEFT[0], TOP_LEFT[1], 1] += 180  # what is hidden there was brighter

    def knowing(sign):
        def method(subject, picture, outputs, *, seed=0):
            values = np.zeros(picture.shape[:2])
            values[TOP_LEFT] = sign
            return [Explanation(values, float("nan"), 1.0)]

        return method

    monkeypatch.setitem(explanation_methods.METHODS, "oracle", knowing(1))
    monkeypatch.setitem(explanation_methods.METHODS, "opposite", knowing(-1))
    found = faithfulness.assess(
        subject, pictures, [0] * 6, methods=["oracle", "opposite"], log=silent
    )
    monkeypatch.setitem(explanation_methods.TITLES, "oracle", "Oracle")
    monkeypatch.setitem(explanation_methods.TITLES, "opposite", "Opposite")
    table = faithfulness.table(found)
    assert table.index.tolist() == ["Oracle", "Opposite", "Random order"]
    assert table["beats_random"].tolist()[:2] == ["both", "NO"]
    assert table.loc["Oracle", "deletion_low"] > 0
    assert table.loc["Oracle", "insertion_low"] > 0
    assert table.loc["Opposite", "deletion_high"] < 0
    assert table.loc["Opposite", "insertion_high"] < 0
    np.testing.assert_allclose(table["random_head"][:2], 1)  # it does not look at the network
    # Each region is in the quadrant or not: its 49 of 196 regions go first.
    deletion = found.deletion["oracle"]
    assert (deletion[:, 7:] - deletion[:, -1:]).max() < 0.05


def test_an_explanation_that_depends_on_the_head_falls_with_it(tiny, rng, monkeypatch):
    settings = SMALL.model_copy(update={"pooling": "time"})
    subject = Subject(network(settings), settings)
    pictures, methods = noise(rng, 3), ["partition", "grad-cam", "occlusion"]

    def correlations(seed):
        given = {"evaluations": 60, "seed": seed, "methods": methods, "log": silent}
        return faithfulness.assess(subject, pictures, [0] * 3, **given)

    drawn = [correlations(seed) for seed in range(3)]
    for method in methods:
        found = [of.randomised[method] for of in drawn]
        assert np.abs(np.mean(found)) < 0.5, method
        assert np.abs(found).max() < 0.98, method
    monkeypatch.setattr(faithfulness, "with_random_head", lambda whole, seed: whole)
    same = correlations(0)
    for method in methods:
        np.testing.assert_allclose(same.randomised[method], 1)
        np.testing.assert_allclose(same.randomised_abs[method], 1)


# The table


def scrutinised(deletions, insertions, randomised=(0.5, 0.1), **others):
    """Curves that are flat at these heights in two pictures; random ones at 0.5."""

    def flat(heights):
        curves = {name: np.repeat(np.array(of)[:, None], 3, 1) for name, of in heights.items()}
        return curves | {"random": np.full((len(next(iter(curves.values()))), 3), 0.5)}

    names = dict.fromkeys(deletions, np.array(randomised))
    given = {"additivity": {}, "stability": {}, "randomised": names, "randomised_abs": names}
    return Scrutiny(flat(deletions), flat(insertions), **given | others)


def test_verdicts_gains_and_intervals_by_hand():
    better, worse = (0.2, 0.2), (0.8, 0.8)
    mixed = (0.4, 0.5)
    found = scrutinised(
        {"partition": better, "gradient": better, "grad-cam": worse, "occlusion": mixed},
        {"partition": worse, "gradient": mixed, "grad-cam": worse, "occlusion": better},
        additivity={"partition": np.array([1e-5, 3e-5])},
        stability={"partition": np.array([1.0, 0.8]), "gradient": np.array([0.5, np.nan])},
    )
    table = faithfulness.table(found)
    assert table.index.tolist() == [
        *explanation_methods.TITLES.values(),
        "Random order",
    ]
    assert table["beats_random"].tolist()[:4] == ["both", "deletion", "insertion", "NO"]
    assert np.isnan(table["beats_random"].iloc[4])
    np.testing.assert_allclose(table["deletion"], [0.2, 0.2, 0.8, 0.45, 0.5])
    np.testing.assert_allclose(table["insertion"], [0.8, 0.45, 0.8, 0.2, 0.5])
    np.testing.assert_allclose(table["deletion_gain"][:4], [0.3, 0.3, -0.3, 0.05])
    np.testing.assert_allclose(table["insertion_gain"][:4], [0.3, -0.05, 0.3, -0.3])
    # Of two pictures, one draw in four has the lower gain twice: more than 2.5 %.
    np.testing.assert_allclose(table["deletion_low"][:4], [0.3, 0.3, -0.3, 0], atol=1e-12)
    np.testing.assert_allclose(table["deletion_high"][:4], [0.3, 0.3, -0.3, 0.1])
    np.testing.assert_allclose(table["insertion_low"][:4], [0.3, -0.1, 0.3, -0.3])
    np.testing.assert_allclose(table["insertion_high"][:4], [0.3, 0, 0.3, -0.3], atol=1e-12)
    np.testing.assert_allclose(table["random_head"][:4], 0.3)
    np.testing.assert_allclose(table["additivity_error"][:1], 3e-5)
    assert table["additivity_error"][1:].isna().all()
    np.testing.assert_allclose(table["stability"][:2], [0.9, 0.5])
    assert table["stability"][2:].isna().all()
    assert table.loc["Random order"].notna().sum() == 2


def test_a_gain_that_may_be_chance_is_no_gain(rng):
    heights = 0.5 + rng.normal(0, 0.1, 30)
    heights -= heights.mean() - 0.49  # better on average, by less than it varies
    found = scrutinised({"occlusion": heights}, {"occlusion": heights})
    row = faithfulness.table(found).iloc[0]
    assert row["beats_random"] == "NO"
    assert row["deletion_low"] < 0 < row["deletion_gain"] < row["deletion_high"]
    half = 1.96 * heights.std() / np.sqrt(30)
    assert row["deletion_high"] - row["deletion_low"] == pytest.approx(2 * half, rel=0.15)


def test_curves_as_the_chart_takes_them():
    found = scrutinised({"occlusion": (0.2, 0.4)}, {"occlusion": (0.6, 0.8)})
    table = faithfulness.curve_table(found)
    assert list(table) == ["method", "curve", "share", "score"]
    own = table[table["method"] == "Occlusion"].set_index("curve")
    np.testing.assert_allclose(own.loc["deletion", "score"], 0.3)
    np.testing.assert_allclose(own.loc["insertion", "score"], 0.7)
    np.testing.assert_allclose(own.loc["insertion", "share"], [0, 0.5, 1])
    assert set(table["method"]) == {"Occlusion", "random"}


def test_nothing_to_correlate_is_undefined_and_not_zero(rng):
    constant = Explanation(np.zeros((32, 32)), 0.0, 1.0)
    other = Explanation(rng.normal(size=(32, 32)), 0.0, 1.0)
    assert np.isnan(faithfulness._agreement([constant, other], 14))
    assert faithfulness._agreement([other, other, other], 14) == pytest.approx(1)
    opposite = Explanation(-other.values, 0.0, 1.0)
    assert faithfulness._agreement([other, other, opposite], 14) == pytest.approx(-1 / 3)

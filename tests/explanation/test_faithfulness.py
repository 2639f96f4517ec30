"""Tests of explanations, tested: what is true wins, what is not is told so."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from dslite.explanation import faithfulness, methods
from dslite.explanation.methods import ExplainedModel
from dslite.models import backbones
from tests.explanation.explained import HALVES, SMALL, looking_at, network, noise, silent

SCALE = backbones.BACKBONES["squeezenet"].scale
TOP_LEFT = (HALVES[0], HALVES[0])


def test_curves_of_four_regions_by_hand():
    weights = np.array([[4.0, 1.0], [3.0, 2.0]])

    def outputs(visible):
        """As `ExplainedModel.masked`: output 1 is the sum of the weights of the visible cells."""
        sums = (visible * weights).sum(axis=(1, 2))
        return np.stack([np.full(len(visible), 9.0), sums], axis=1)

    curves = faithfulness._curves(outputs, np.array([[0, 2, 3, 1], [1, 3, 2, 0]]), 1, (2, 2))
    np.testing.assert_allclose(curves[0], [[10, 6, 3, 1, 0], [10, 9, 7, 4, 0]])  # deletion
    np.testing.assert_allclose(curves[1], [[0, 4, 7, 9, 10], [0, 1, 3, 6, 10]])  # insertion


def test_a_random_head_on_the_same_backbone(tiny, rng):
    whole = network(SMALL.model_copy(update={"pooling": "time"}), outputs=1, scale=(40.0, 12.0))
    before, scaled = whole.get_weights(), SCALE(noise(rng, 2))
    random, again, other = (faithfulness._with_random_head(whole, seed) for seed in (3, 3, 4))
    for one, two in ((before, whole.get_weights()), (random.get_weights(), again.get_weights())):
        assert all(map(np.array_equal, one, two))
    expected, outputs = (of(scaled, training=False).numpy() for of in (whole, random))
    assert not np.allclose(outputs, expected, rtol=1e-3)
    for name in ("hidden", "standardised"):
        kernels = [of.get_layer(name).get_weights()[0] for of in (whole, random, other)]
        assert all((kernels[i] != kernels[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
        random.get_layer(name).set_weights(whole.get_layer(name).get_weights())
    # Nothing but the head's weights has changed: put back, they make the old outputs.
    np.testing.assert_allclose(random(scaled, training=False), expected, rtol=1e-5)


def test_curves_lead_from_the_output_to_the_hidden_picture_and_back(tiny, rng, monkeypatch):
    monkeypatch.setattr(methods, "DRAWS", 20)
    monkeypatch.setattr(faithfulness, "STEPS", 7)
    monkeypatch.setattr(faithfulness, "RANDOM_ORDERS", 2)
    model = ExplainedModel(network(), SMALL, "blur", noise(rng, 4))
    pictures, outputs, lines = noise(rng, 2), [2, 0], []
    results = faithfulness.assess(model, pictures, outputs, evaluations=10, log=lines.append)
    assert [line.rpartition(":")[2] for line in lines] == [" picture 1 of 2", " picture 2 of 2"]
    assert results["method"].tolist() == [*methods.METHODS, "random"] * 2
    curves = {name: np.stack(results[name]) for name in ("deletion", "insertion")}
    assert curves["deletion"].shape == curves["insertion"].shape == (10, faithfulness.STEPS + 1)
    filled = np.stack([methods.filling(picture, "blur") for picture in pictures])
    for shown, ends in ((pictures, (0, -1)), (filled, (-1, 0))):
        scores = model.network(SCALE(tf.constant(shown)), training=False).numpy()
        expected = np.repeat(scores[[0, 1], outputs], 5)
        for of, end in zip(curves.values(), ends, strict=True):
            np.testing.assert_allclose(of[:, end], expected, atol=1e-5)
    by_method = results.set_index("method")
    for column in ("additivity_error", "stability"):
        tested = by_method[column].notna()
        assert set(by_method.index[tested]) == {"partition", "gradient"}
    errors = by_method["additivity_error"]
    assert errors["partition"].max() < 1e-3 < errors["gradient"].max()
    assert by_method["random_head"].notna().groupby(level=0).all().sum() == 4
    assert (by_method["random_head"]["occlusion"].abs() < 1).all()
    assert (by_method["stability"]["gradient"] < 1).all()
    table = faithfulness.table(results)
    for column in ("stability", "additivity_error"):
        assert table[column].notna().tolist() == [True, True, False, False, False]


def only(monkeypatch, **chosen):
    """Leave these methods alone, some of them new."""
    monkeypatch.setattr(methods, "METHODS", chosen)
    monkeypatch.setattr(methods, "TITLES", {name: name for name in chosen})


def test_an_oracle_is_said_to_win_and_its_opposite_not(rng, monkeypatch):
    model = ExplainedModel(looking_at(*TOP_LEFT), SMALL)
    pictures = noise(rng, 6) / 4
    pictures[:, TOP_LEFT[0], TOP_LEFT[1], 1] += 180  # what is hidden there was brighter

    def knowing(sign):
        def method(model, picture, outputs, evaluations, seed):
            values = np.zeros(picture.shape[:2])
            values[TOP_LEFT] = sign
            return [values], [np.nan]

        return method

    only(monkeypatch, oracle=knowing(1), opposite=knowing(-1))
    results = faithfulness.assess(model, pictures, [0] * 6, log=silent)
    table = faithfulness.table(results)
    assert table.index.tolist() == ["oracle", "opposite", "Random order"]
    assert table["beats_random"].tolist()[:2] == ["both", "NO"]
    for curve in ("deletion", "insertion"):
        assert table.loc["oracle", f"{curve}_low"] > 0 > table.loc["opposite", f"{curve}_high"]
    np.testing.assert_allclose(table["random_head"][:2], 1)  # it does not look at the network
    # Each region is in the quadrant or not: its 49 of 196 regions go first.
    deletion = np.stack(results.query("method == 'oracle'")["deletion"])
    assert (deletion[:, 7:] - deletion[:, -1:]).max() < 0.05


def test_an_explanation_that_depends_on_the_head_falls_with_it(tiny, rng, monkeypatch):
    only(monkeypatch, **{name: methods.METHODS[name] for name in ("grad-cam", "occlusion")})
    settings = SMALL.model_copy(update={"pooling": "time"})
    monkeypatch.setattr(faithfulness, "STEPS", 4)
    monkeypatch.setattr(faithfulness, "RANDOM_ORDERS", 1)
    model, pictures = ExplainedModel(network(settings), settings), noise(rng, 2)
    assess, arguments = faithfulness.assess, (model, pictures, [0] * 2)
    drawn = pd.concat([assess(*arguments, seed=seed, log=silent) for seed in range(2)])
    for method in methods.METHODS:
        correlations = drawn.loc[drawn["method"] == method, "random_head"]
        assert abs(correlations.mean()) < 0.5, method
        assert correlations.abs().max() < 0.98, method
    monkeypatch.setattr(faithfulness, "_with_random_head", lambda whole, seed: whole)
    same = assess(*arguments, log=silent).query("method != 'random'")
    np.testing.assert_allclose(same[["random_head", "random_head_abs"]], 1)


def results_of(deletions, insertions, **others):
    """Curves that are flat at these heights in some pictures; random ones at 0.5."""
    rows, count = [], len(next(iter(deletions.values())))
    others = {"random_head": {}, "additivity_error": {}, "stability": {}} | others
    for method in (*deletions, "random"):
        for i in range(count):
            heights = (of.get(method, [0.5] * count)[i] for of in (deletions, insertions))
            row = {"method": method, "random_head_abs": 0.3}
            row |= zip(("deletion", "insertion"), (np.full(3, of) for of in heights), strict=True)
            rows.append(row | {k: of.get(method, [np.nan] * count)[i] for k, of in others.items()})
    return pd.DataFrame(rows)


def test_verdicts_gains_and_intervals_by_hand():
    better, worse, mixed = (0.2, 0.2), (0.8, 0.8), (0.4, 0.5)
    results = results_of(
        {"partition": better, "gradient": better, "grad-cam": worse, "occlusion": mixed},
        {"partition": worse, "gradient": mixed, "grad-cam": worse, "occlusion": better},
        random_head=dict.fromkeys(methods.METHODS, (0.5, 0.1)),
        additivity_error={"partition": (1e-5, 3e-5)},
        stability={"partition": (1.0, 0.8), "gradient": (0.5, np.nan)},
    )
    table = faithfulness.table(results)
    assert table.index.tolist() == [*methods.TITLES.values(), "Random order"]
    assert table["beats_random"].tolist()[:4] == ["both", "deletion", "insertion", "NO"]
    nan = np.nan
    expected = {
        "deletion": [0.2, 0.2, 0.8, 0.45, 0.5],
        "insertion": [0.8, 0.45, 0.8, 0.2, 0.5],
        "deletion_gain": [0.3, 0.3, -0.3, 0.05, nan],
        "insertion_gain": [0.3, -0.05, 0.3, -0.3, nan],
        # Of two pictures, one draw in four has the lower gain twice: more than 2.5 %.
        "deletion_low": [0.3, 0.3, -0.3, 0, nan],
        "deletion_high": [0.3, 0.3, -0.3, 0.1, nan],
        "insertion_low": [0.3, -0.1, 0.3, -0.3, nan],
        "insertion_high": [0.3, 0, 0.3, -0.3, nan],
        "random_head": [0.3, 0.3, 0.3, 0.3, nan],
        "additivity_error": [3e-5, nan, nan, nan, nan],
        "stability": [0.9, 0.5, nan, nan, nan],
    }
    for column, values in expected.items():
        np.testing.assert_allclose(table[column].astype(float), values, atol=1e-12)
    assert table.loc["Random order"].notna().sum() == 2
    table = faithfulness.curve_table(results)
    columns = ["method", "curve", "share", "score", "low", "high", "pictures"]
    assert list(table) == columns
    assert (table["low"] <= table["score"] + 1e-12).all()
    assert (table["score"] <= table["high"] + 1e-12).all()
    assert set(table["method"]) == {*methods.TITLES.values(), "random"}
    rows = table[table["method"] == "Occlusion"].set_index("curve")
    np.testing.assert_allclose(rows.loc["deletion", "score"], 0.45)
    np.testing.assert_allclose(rows.loc["insertion", "score"], 0.2)
    np.testing.assert_allclose(rows.loc["insertion", "share"], [0, 0.5, 1])


def test_a_gain_that_may_be_chance_is_no_gain(rng):
    heights = 0.5 + rng.normal(0, 0.1, 30)
    heights -= heights.mean() - 0.49  # better on average, by less than it varies
    row = faithfulness.table(results_of({"occlusion": heights}, {"occlusion": heights})).iloc[0]
    assert row["beats_random"] == "NO"
    assert row["deletion_low"] < 0 < row["deletion_gain"] < row["deletion_high"]
    half = 1.96 * heights.std() / np.sqrt(30)
    assert row["deletion_high"] - row["deletion_low"] == pytest.approx(2 * half, rel=0.15)

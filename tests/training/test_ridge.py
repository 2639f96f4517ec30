"""The head in closed form: two ways to solve it, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dslite.training import ridge


@pytest.fixture
def problem():
    """Few samples of more features: gram, features, targets, weights, part."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 12, 8])
    features = rng.normal(size=(50, 80)) / 9
    features[np.arange(50), labels] += 0.4
    y, part = np.eye(3)[labels], np.arange(50) % 4
    weights = (1 / y.sum(0))[labels]
    return features @ features.T, features, y, weights / weights.mean(), part


@pytest.mark.parametrize("kind", ["exact", "spanned"])
def test_held_out_predictions_are_those_of_the_other_parts_solutions(problem, kind):
    gram, features, y, weights, part = problem
    if kind == "exact":  # what is above the diagonal is not looked at
        system = ridge._Exact(np.tril(gram), y, weights, part)
    else:
        system = ridge._Spanned(gram, np.arange(50), y, weights, part)
    strength = 0.1
    penalty = strength * float(np.mean(weights * gram.diagonal()))
    predicted = system.held_out(strength)
    for i in range(4):
        rest = part != i
        fitted = Ridge(alpha=penalty).fit(features[rest], y[rest], weights[rest])
        assert predicted[~rest] == pytest.approx(fitted.predict(features[~rest]), abs=1e-3)
    dual, offset = system.final(strength)
    whole = Ridge(alpha=penalty).fit(features, y, weights)
    assert gram @ dual + offset == pytest.approx(whole.predict(features), abs=1e-3)


@pytest.mark.parametrize("landmarks", [3072, 90])
def test_a_head_of_half_precision_blocks_tells_the_classes_apart(monkeypatch, landmarks):
    """Exactly, and spanned by a part of the samples; the kernel is of the raw features."""
    monkeypatch.setattr(ridge, "LANDMARKS", landmarks)
    monkeypatch.setattr(ridge, "DRAWN", 60)
    rng = np.random.default_rng(1)
    labels, speakers = np.arange(400) % 3, np.arange(400) // 20
    features = rng.normal(5, 2, (400, 30))
    features[np.arange(400), labels] += 8
    rows, blocks = np.arange(100, 400), {"first": slice(0, 10), "second": slice(10, 30)}
    targets = np.eye(3, dtype=np.float32)[labels]
    features = features.astype(np.float16)
    solution = ridge.solve(features, rows, targets[rows], speakers[rows], blocks)
    logits = features[:100].astype(np.float32) @ solution.kernel + solution.bias
    assert (logits.argmax(1) == labels[:100]).mean() > 0.9
    assert [head["head"] for head in solution.heads] == ["all"]
    assert solution.heads[0]["chosen"] and solution.heads[0]["score"] > 0.9

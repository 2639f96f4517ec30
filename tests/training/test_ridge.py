"""The head in closed form: against scikit-learn, against itself, and in awkward corpora."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge

from dslite.models import pooling
from dslite.training import ridge

WHOLE = {"all": slice(0, 20)}


def corpus(rng, n=120, classes=3, features=20, speakers=6, noise=1.0):
    """Features that tell classes apart, one-hot classes, and who speaks."""
    labels = np.arange(n) % classes
    centres = rng.normal(0, 1, (classes, features))
    values = centres[labels] + noise * rng.normal(0, 1, (n, features))
    groups = np.array([f"s{i}" for i in rng.integers(speakers, size=n)])
    return values.astype(np.float32), np.eye(classes, dtype=np.float32)[labels], groups


def solved(values, targets, groups, blocks=WHOLE, **options):
    """A solution learnt from all samples."""
    return ridge.solve(values, np.arange(len(values)), targets, groups, blocks, **options)


def logits(solution, values):
    return values @ solution.kernel + solution.bias


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("classification", [False, True])
def test_it_is_scikit_learns_ridge(rng, monkeypatch, classification, balance):
    """Standardised, one block, weighted; a classification up to its one temperature."""
    monkeypatch.setattr(ridge, "STRENGTHS", np.array([0.1]))
    monkeypatch.setattr(ridge, "START", 0)
    values, targets, groups = corpus(rng)
    values[:, 3] *= 50
    keep = np.r_[:120:3, 1:60:3, 2:30:3]  # 40, 20 and 10 of a class
    values, targets, groups = values[keep], targets[keep], groups[keep]
    if not classification:
        targets = values[:, :1] / 50 + rng.normal(0, 0.1, (len(values), 1)).astype(np.float32)
    options = {"classification": classification, "balance": balance}
    solution = solved(values, targets, groups, **options)
    weights = np.ones(len(values))
    if classification and balance:
        weights = len(values) / 3 / targets.sum(axis=0)[targets.argmax(axis=1)]
        weights /= weights.mean()
    scale = values.std(axis=0) * np.sqrt(20)
    x = (values - values.mean(axis=0)) / np.maximum(scale, 0.1 * np.sqrt((scale**2).mean()))
    # The norm of a sample is taken by its weight, with the same weights as the errors.
    strength = 0.1 * (weights * (x**2).sum(axis=1)).mean()
    expected = Ridge(alpha=strength).fit(x, targets, weights).predict(x).reshape(targets.shape)
    ours = logits(solution, values)
    factor = (ours * expected).sum() / (expected**2).sum() if classification else 1.0
    np.testing.assert_allclose(ours / factor, expected, atol=2e-3)


def test_few_landmarks_do_nearly_as_well_as_all(rng, monkeypatch):
    values, targets, groups = corpus(rng, n=600, noise=2.0)
    exact = logits(solved(values, targets, groups), values)
    monkeypatch.setattr(ridge, "LANDMARKS", 300)
    monkeypatch.setattr(ridge, "DRAWN", 150)  # they span all of 20 features
    close = logits(solved(values, targets, groups), values)
    np.testing.assert_allclose(softmax(close, 1), softmax(exact, 1), atol=0.02)


def test_landmarks_are_of_every_class(monkeypatch):
    monkeypatch.setattr(ridge, "LANDMARKS", 50)
    monkeypatch.setattr(ridge, "DRAWN", 40)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    drawn = ridge._landmarks(100, np.eye(3)[labels])
    assert len(set(drawn)) == 40
    assert np.bincount(labels[drawn]).tolist() == [24, 12, 4]


def test_speakers_are_not_learnt_by_heart(rng):
    """Where only who speaks tells the classes apart, held-out speakers are at chance."""
    groups = np.repeat([f"s{i}" for i in range(10)], 12)
    labels = np.repeat(np.arange(10) % 2, 12)
    values = np.repeat(rng.normal(0, 1, (10, 20)), 12, axis=0).astype(np.float32)
    (head,) = solved(values, np.eye(2)[labels], groups).heads
    assert head["score"] < 0.8
    assert head["loss"] > 0.5


@pytest.mark.parametrize("landmarks", [3072, 250])
def test_copies_are_held_out_with_their_speaker_and_not_scored(rng, monkeypatch, landmarks):
    """Noise by heart: with its copies elsewhere, a held-out sample would be recognised."""
    monkeypatch.setattr(ridge, "LANDMARKS", landmarks)
    monkeypatch.setattr(ridge, "DRAWN", 200)
    values = rng.normal(size=(100, 200)).astype(np.float32)
    labels, groups = np.arange(100) % 2, np.array([f"s{i % 7}" for i in range(100)])
    values, targets = np.tile(values, (3, 1)), np.eye(2)[np.tile(labels, 3)]
    blocks = {"all": slice(0, 200)}

    def score(groups, copies=values[100:]):
        learnt = np.concatenate([values[:100], copies])
        (head,) = solved(learnt, targets, groups, blocks, originals=100).heads
        return head["score"]

    assert score(np.tile(groups, 3)) < 0.7
    assert score(np.r_[groups, np.repeat(["other", "one more"], 100)]) > 0.95
    # Copies that nobody could recognise count for nothing in the score.
    values[:100, :2] += 10 * targets[:100]
    assert score(np.tile(groups, 3), rng.normal(size=(200, 200)).astype(np.float32)) > 0.9


@pytest.mark.parametrize(
    ("groups", "labels"),
    [
        (["one"] * 12, [0, 1, 2] * 4),  # one speaker
        (list("abcdefghijkl"), [0] * 11 + [2]),  # a class of one sample, and one of none
        (list("abc"), [0, 1, 2]),  # one sample a class
        (list("aabb"), [0, 0, 1, 1]),  # a class a speaker
    ],
)
def test_awkward_corpora_have_a_solution(rng, groups, labels):
    values = rng.normal(0, 1, (len(labels), 20)).astype(np.float32)
    solution = solved(values, np.eye(3, dtype=np.float32)[labels], np.array(groups))
    assert np.isfinite(solution.kernel).all()
    assert np.isfinite(solution.bias).all()


def test_a_rare_class_counts_as_much_as_others(rng):
    labels = np.repeat([0, 1], [190, 10])
    values = (rng.normal(size=(200, 20)) + labels[:, None]).astype(np.float32)
    groups = np.array([f"s{i % 5}" for i in range(200)])
    recall = {}
    for balance in (True, False):
        solution = solved(values, np.eye(2)[labels], groups, balance=balance)
        recall[balance] = (logits(solution, values).argmax(1) == labels)[labels == 1].mean()
    assert recall[True] > 0.9 > recall[False]


def test_probabilities_of_new_samples_are_calibrated(rng):
    """The expected calibration error of 10 bins is small, where features overlap."""
    centres = rng.normal(0, 0.5, (3, 20))

    def drawn(n):
        labels = rng.integers(3, size=n)
        return (centres[labels] + rng.normal(0, 1, (n, 20))).astype(np.float32), labels

    values, labels = drawn(600)
    solution = solved(values, np.eye(3)[labels], np.array([f"s{i % 6}" for i in range(600)]))
    values, labels = drawn(4000)
    probabilities = softmax(logits(solution, values), axis=1)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = (10 * sure).astype(int)
    gaps = [abs(sure[bins == i].mean() - right[bins == i].mean()) for i in set(bins)]
    assert 0.5 < right.mean() < 0.95
    assert np.average(gaps, weights=[np.sum(bins == i) for i in set(bins)]) < 0.05


@pytest.mark.parametrize("value", [0.0, 1000.0])
def test_a_constant_feature_changes_nothing(rng, value):
    values, targets, groups = corpus(rng)
    padded = np.concatenate([values, np.full((120, 1), value, np.float32)], axis=1)
    plain = solved(values, targets, groups)
    with_it = solved(padded, targets, groups, {"all": slice(0, 21)})
    np.testing.assert_allclose(logits(with_it, padded), logits(plain, values), atol=0.02)


def test_where_nothing_varies_the_bias_decides():
    values, targets = np.full((30, 20), 0.1, np.float32), np.eye(3)[np.arange(30) % 3]
    solution = solved(values, targets, np.array([f"s{i % 3}" for i in range(30)]))
    np.testing.assert_allclose(softmax(logits(solution, values), 1), 1 / 3, atol=0.01)


def test_a_regression_has_no_temperature(rng):
    values, _, groups = corpus(rng, n=200)
    targets = (values @ rng.normal(0, 0.2, (20, 1))).astype(np.float32)
    solution = solved(values, targets, groups, classification=False)
    np.testing.assert_allclose(logits(solution, values), targets, atol=0.05)
    assert solution.heads[0]["score"] > 0.99
    constant = solved(values, np.zeros((200, 1)), groups, classification=False)
    assert constant.heads[0]["score"] == 0  # no correlation
    assert np.abs(logits(constant, values)).max() < 1e-6


# Its two systems


@pytest.mark.parametrize("kind", ["exact", "spanned"])
def test_held_out_predictions_are_those_of_the_other_parts_solutions(rng, kind):
    """Of few samples of more features."""
    labels = np.repeat([0, 1, 2], [30, 12, 8])
    features = rng.normal(size=(50, 80)) / 9
    features[np.arange(50), labels] += 0.4
    gram, y, part = features @ features.T, np.eye(3)[labels], np.arange(50) % 4
    weights = (1 / y.sum(0))[labels]
    weights /= weights.mean()
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


# Several heads


def network_blocks(names):
    return {name: slice(10 * i, 10 * i + 10) for i, name in enumerate(names)}


NAMES = [*ridge.HEADS["relative"], *ridge.HEADS["level"][:-1]]


def test_which_heads_there_are():
    assert ridge.heads({"all": slice(0, 5)}) == {"all": ("all",)}
    assert list(ridge.heads(network_blocks(ridge.HEADS["relative"]))) == ["deep", "relative"]
    assert ridge.heads(network_blocks((*NAMES, "products"))) == ridge.HEADS
    assert ridge.heads(network_blocks(NAMES))["level"] == ridge.HEADS["level"][:-1]


def test_the_two_best_heads_are_averaged(rng):
    """What none of them sees has no weight, and one block of noise does no harm."""
    lines, blocks = [], network_blocks(NAMES)
    values, targets, groups = corpus(rng, features=60, noise=4.0)
    values[:, blocks["relative_stride8"]] = rng.normal(0, 1, (120, 10))  # "deep" is noise
    solution = solved(values, targets, groups, blocks, log=lines.append)
    heads = solution.heads
    assert [head["head"] for head in heads] == list(ridge.HEADS)
    ranked = sorted(heads, key=lambda head: head["loss"])
    assert [head["chosen"] for head in ranked] == [True, True, False, False]
    assert not heads[0]["chosen"]
    assert len(lines) == 4
    assert lines[0].startswith("head deep: strength ")
    right = logits(solution, values).argmax(1) == targets.argmax(1)
    assert right.mean() > 0.8


def test_products_of_features_are_solved_as_the_network_makes_them(rng):
    """Classes that are the sign of two features' product, which no linear head tells apart."""
    values = rng.normal(3, 2, (400, 10)).astype(np.float32)
    classes = ((values[:, 3] - 3) * (values[:, 6] - 3) > 0).astype(int)  # see `Products`, of 2 x 8
    targets, groups = np.eye(2, dtype=np.float32)[classes], np.arange(400) % 20
    blocks = {"other": slice(0, 2), "level_stride2": slice(2, 10)}
    shape, rows = (2, 2, 2), np.arange(400)
    solution = ridge.solve(
        *(values.astype(np.float16), rows, targets, groups, blocks), paired=("level_stride2", shape)
    )
    layer = pooling.Products(2, shape)
    layer.build(values.shape)
    layer.set_weights(solution.paired)
    right = (layer(values).numpy() @ solution.kernel + solution.bias).argmax(1) == classes
    assert right.mean() > 0.85
    plain = solved(values, targets, groups, blocks)
    assert (logits(plain, values).argmax(1) == classes).mean() < 0.7


def test_a_blocks_length_and_unit_do_not_decide(rng):
    """A block counts by what it says, not by its number of features or their scale."""
    values, targets, groups = corpus(rng, features=60, noise=4.0)
    blocks = network_blocks(NAMES)
    plain = logits(solved(values, targets, groups, blocks), values)
    scaled = values.copy()
    scaled[:, blocks["level_rows"]] *= 100
    np.testing.assert_allclose(
        logits(solved(scaled, targets, groups, blocks), scaled), plain, atol=0.02
    )


# How it is read


def test_half_precision_on_disk_gives_the_same_bits_each_time(rng, tmp_path, monkeypatch):
    values, targets, groups = corpus(rng, n=200)
    stored = np.memmap(tmp_path / "features", np.float16, "w+", shape=values.shape)
    stored[:] = values
    rows = np.arange(20, 200)
    one, same = (ridge.solve(stored, rows, targets[rows], groups[rows], WHOLE) for _ in range(2))
    np.testing.assert_array_equal(one.kernel, same.kernel)
    np.testing.assert_array_equal(one.bias, same.bias)
    whole = ridge.solve(values, rows, targets[rows], groups[rows], WHOLE)
    np.testing.assert_allclose(logits(one, values), logits(whole, values), atol=0.05)
    # In blocks of other length it is the same but for rounding.
    monkeypatch.setattr(ridge, "BLOCK", 7)
    blockwise = ridge.solve(stored, rows, targets[rows], groups[rows], WHOLE)
    np.testing.assert_allclose(blockwise.kernel, one.kernel, atol=1e-4)


def test_features_are_read_in_blocks(rng, monkeypatch):
    """Never more samples at a time than a block has."""
    monkeypatch.setattr(ridge, "BLOCK", 16)
    monkeypatch.setattr(ridge, "LANDMARKS", 30)
    monkeypatch.setattr(ridge, "DRAWN", 25)
    values, targets, groups = corpus(rng)
    sizes = []

    class Watched(np.ndarray):
        def __getitem__(self, key):
            part = super().__getitem__(key)
            sizes.append(len(part))
            return part.view(np.ndarray)

    solved(values.view(Watched), targets, groups)
    assert max(sizes) == 16

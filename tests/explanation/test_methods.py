"""Values that add up, lie where a network looks, and are what their formulas say."""

import keras
import numpy as np
import pytest
import shap
import tensorflow as tf

from dslite.errors import InputError
from dslite.explanation import attributions, files, masking, methods
from dslite.explanation.methods import Explanation, Subject
from dslite.models import backbones, classifier
from tests.explanation.explained import (
    HALVES,
    SIDE,
    SMALL,
    counting,
    linear,
    looking_at,
    network,
    noise,
)

SCALE = backbones.BACKBONES["squeezenet"].scale


def keras_outputs(network, pictures):
    """What Keras itself says, float32 [n, outputs]."""
    return network(SCALE(tf.constant(pictures)), training=False).numpy()


def test_what_the_error_of_values_is():
    found = Explanation(np.full((2, 2), 0.1), base=0.1, output=0.7)
    assert found.additivity_error == pytest.approx(0.2)
    assert Explanation(np.full((2, 2), 0.3), 0.1, 0.7).additivity_error == pytest.approx(0.6)


# Every method


@pytest.mark.parametrize(("rows", "columns"), [HALVES, HALVES[::-1]])
def test_the_values_lie_in_the_quadrant_that_the_network_looks_at(rng, rows, columns):
    picture, *background = noise(rng, 5)
    picture[rows, columns] = np.minimum(picture[rows, columns] + 60, 255)  # above the mean
    subject = Subject(looking_at(rows, columns), SMALL, background=np.stack(background))
    for method in methods.METHODS:
        one, other = methods.explain(method, subject, picture, [0, 1], 200)
        total = np.abs(one.values).sum()
        assert one.values.shape == (SIDE, SIDE)
        assert one.values.dtype == np.float64
        assert total > 0.01
        share = np.abs(one.values[rows, columns]).sum() / total
        # Grad-CAM's coarse maps are enlarged, and reach two pixels beyond the quadrant.
        assert share > (0.8 if method == "grad-cam" else 0.999), method
        # What raises one of two classes lowers the other.
        np.testing.assert_allclose(one.values, -other.values, atol=1e-5 * total)


def test_every_method_tells_the_output_and_knows_its_kind(tiny, rng):
    subject = Subject(network(), SMALL, background=noise(rng, 3))
    (picture,) = noise(rng)
    expected = keras_outputs(subject.network, picture[None])[0]
    for method in methods.METHODS:
        found = methods.explain(method, subject, picture, [2, 0], 30)
        assert [one.output for one in found] == pytest.approx(expected[[2, 0]], abs=1e-5)
        assert np.isfinite(found[0].base) == (method in methods.ADDITIVE)


def test_methods_without_draws_do_not_change_with_the_seed(tiny, rng):
    subject = Subject(network(), SMALL)
    (picture,) = noise(rng)
    for method in set(methods.METHODS) - set(methods.SEEDED):
        found = [methods.explain(method, subject, picture, [2], seed=s)[0] for s in (0, 1)]
        np.testing.assert_array_equal(found[0].values, found[1].values)
        assert np.abs(found[0].values).sum() > 1e-4


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(InputError, match=r"'gradcam'; did you mean 'grad-cam'\?"):
        methods.require("gradcam")
    with pytest.raises(InputError, match="there is: partition, gradient, grad-cam, occlusion"):
        methods.explain("lime", None, None, [0])
    assert set(methods.TITLES) == set(methods.METHODS)


def test_an_unknown_masker_is_refused_before_anything_is_built():
    with pytest.raises(InputError, match="masker 'means'; did you mean 'mean'"):
        Subject(None, SMALL, "means")


def test_the_subject_says_what_keras_says(tiny, rng):
    subject = Subject(network(), SMALL)
    pictures = noise(rng, 5)
    expected = keras_outputs(subject.network, pictures)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(subject.outputs(pictures), expected, atol=1e-5)
    kept = rng.random((methods.BATCH + 1, 8, 8)) < 0.5  # more than a batch
    masked = subject.masked(pictures[0])(kept)
    for i in (0, 7, methods.BATCH):
        seen = np.kron(kept[i], np.ones((4, 4), bool))[..., None]
        picture = np.where(seen, pictures[0], pictures[0].mean(axis=(0, 1)))
        expected = keras_outputs(subject.network, picture[None])[0]
        np.testing.assert_allclose(masked[i], expected, atol=1e-5)


def test_pictures_are_the_network_s_own(rng):
    mel = rng.integers(0, 256, (2, 16, 24)).astype(np.uint8)
    subject = Subject(looking_at(*HALVES), SMALL)
    scaled = classifier.inputs(tf.constant(mel), SMALL).numpy()
    np.testing.assert_allclose(SCALE(subject.pictures(mel)), scaled, atol=1e-4)


# Partition


@pytest.mark.parametrize("masker", masking.MASKERS)
@pytest.mark.parametrize("side", [32, 61])
def test_partition_leads_from_the_masked_picture_to_the_output(tiny, rng, masker, side):
    settings = SMALL.model_copy(update={"image_size": side})
    for seed in range(2):
        subject = Subject(network(settings, seed=seed), settings, masker)
        (picture,) = noise(rng, side=side)
        found = methods.partition(subject, picture, [0, 1, 2], evaluations=40, seed=seed)
        filling = masking.fill(picture, masker)
        whole, base = keras_outputs(subject.network, np.stack([picture, filling]))
        assert np.abs(whole - base).max() > 1e-3
        for output, one in enumerate(found):
            assert one.values.shape == (side, side)
            assert one.output == pytest.approx(whole[output], abs=1e-5)
            assert one.base == pytest.approx(base[output], abs=1e-4)
            assert base[output] + one.values.sum() == pytest.approx(whole[output], abs=1e-3)
            assert one.additivity_error < 1e-5


def test_partition_of_a_regression_adds_up_in_the_label_s_unit(tiny, rng):
    subject = Subject(network(outputs=1, scale=(40.0, 12.0)), SMALL)
    (picture,) = noise(rng)
    (found,) = methods.partition(subject, picture, [0], evaluations=30)
    assert found.output == pytest.approx(keras_outputs(subject.network, picture[None])[0, 0])
    assert found.additivity_error < 1e-3
    assert np.abs(found.values).sum() > 0.01


def test_partition_of_a_real_run_adds_up(small_run, workplace, rng):
    network = classifier.load_classifier(small_run.folder / "model.keras")
    mel = rng.integers(0, 256, (1, 32, 124)).astype(np.uint8)
    for masker in masking.MASKERS:
        subject = Subject(network, small_run.settings, masker)
        (found,) = methods.partition(subject, subject.pictures(mel)[0], [2], evaluations=40)
        expected = network(classifier.inputs(tf.constant(mel), small_run.settings), training=False)
        assert found.output == pytest.approx(float(expected[0, 2]), abs=1e-5)
        assert found.additivity_error < 1e-3


@pytest.mark.parametrize("evaluations", [3, 8, 60])
def test_partition_is_what_shap_makes_of_the_picture_itself(tiny, rng, evaluations):
    """With shap's own image masker on the real picture, its values summed over the colours."""
    side = 16
    settings = SMALL.model_copy(update={"image_size": side})
    subject = Subject(looking_at(slice(2, 11), slice(5, 16), side), settings)
    (picture,) = noise(rng, side=side)
    picture[:12] *= 0.5
    found = methods.partition(subject, picture, [0, 1], evaluations=evaluations, seed=4)
    mean = np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape)
    masker = shap.maskers.Image(np.array(mean, np.float64), picture.shape)
    explainer = shap.PartitionExplainer(
        lambda pictures: keras_outputs(subject.network, pictures.astype(np.float32)), masker
    )
    with methods._drawing(4):
        theirs = explainer(
            picture[None].astype(np.float64),
            max_evals=evaluations,
            batch_size=methods.BATCH,
            outputs=np.array([0, 1]),
            silent=True,
        )
    values = theirs.values[0].sum(axis=2)
    assert len(np.unique(values[..., 0].round(9))) > evaluations // 10
    assert np.abs(values).sum() > 0.01
    for output, one in enumerate(found):
        np.testing.assert_allclose(one.values, values[..., output], atol=1e-6)
        assert one.base == pytest.approx(theirs.base_values[0][output], abs=1e-6)


def test_outputs_explained_together_share_their_masked_pictures(tiny, rng):
    subject = Subject(network(outputs=6), SMALL)
    (picture,) = noise(rng)
    for outputs in ([3], [0, 1, 2, 3, 4, 5]):
        seen = counting(subject)
        found = methods.partition(subject, picture, outputs, evaluations=80)
        assert len(found) == len(outputs)
        assert 60 < sum(seen) <= 80 + 3
        assert max(seen) <= methods.BATCH


def test_a_seed_decides_all_draws_and_touches_no_other(tiny, rng):
    subject = Subject(network(), SMALL, background=noise(rng, 4))
    (picture,) = noise(rng)
    np.random.seed(11)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    for method in ("partition", "gradient"):
        one, other, third = (
            methods.explain(method, subject, picture, [1], 40, seed)[0] for seed in (5, 6, 5)
        )
        np.testing.assert_array_equal(one.values, third.values)
        assert method == "partition" or not np.allclose(one.values, other.values)
        after = np.random.get_state()  # noqa: NPY002
        assert before[0] == after[0]
        np.testing.assert_array_equal(before[1], after[1])
        assert before[2:] == after[2:]


def test_numpys_generator_is_put_back_after_an_error(tiny, rng):
    subject = Subject(network(), SMALL)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    subject._network = lambda pictures: 1 / 0
    with pytest.raises(ZeroDivisionError):
        methods.partition(subject, noise(rng)[0], [0], evaluations=5, seed=9)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(("count", "side"), [(4, 8), (14, 33), (56, 61)])
def test_cells_are_spread_evenly_and_keep_their_sums(rng, count, side):
    values = rng.normal(size=(count, count))
    pixels = methods._spread(values, side)
    assert pixels.shape == (side, side)
    np.testing.assert_allclose(attributions.regions(pixels, count), values)
    assert len(np.unique(pixels)) == count**2


# Expected gradients


@pytest.mark.parametrize("side", [32, 64])
def test_gradients_of_a_linear_network_are_exact(rng, side):
    settings = SMALL.model_copy(update={"image_size": side})
    whole, weights = linear(rng, side=side)
    picture, background = noise(rng, 2, side)
    subject = Subject(whole, settings, background=background[None])
    found = methods.gradient(subject, picture, [1, 0], draws=3)
    moved = (SCALE(picture) - SCALE(background)).numpy()
    base = keras_outputs(whole, background[None])[0]
    cell = attributions.cells(side, side, masking.cells(side))
    for one, output in zip(found, (1, 0), strict=True):
        exact = (weights[..., output] * moved).sum(axis=2)
        sums = np.bincount(cell.ravel(), exact.ravel())
        expected = (sums / np.bincount(cell.ravel()))[cell]
        np.testing.assert_allclose(one.values, expected, atol=1e-4 * np.abs(expected).max())
        assert one.base == pytest.approx(base[output], abs=1e-4)
        assert one.additivity_error < 1e-3


def test_more_draws_come_nearer_to_the_output(tiny, rng):
    subject = Subject(network(), SMALL, background=noise(rng, 12))
    (picture,) = noise(rng)

    def explained(draws):
        every = [
            methods.gradient(subject, picture, [0, 1, 2], draws=draws, seed=seed)
            for seed in range(3)
        ]
        return [one for found in every for one in found]

    base = keras_outputs(subject.network, subject.background).mean(axis=0)
    np.testing.assert_allclose(subject.expected, base, atol=1e-5)
    few, many = explained(5), explained(600)
    errors = [np.mean([one.additivity_error for one in found]) for found in (few, many)]
    assert 1e-4 < errors[1] < errors[0] / 2
    assert errors[1] < 0.1 * np.mean([np.abs(one.values).sum() for one in many])


def test_gradients_of_a_regression(tiny, rng):
    subject = Subject(network(outputs=1, scale=(40.0, 12.0)), SMALL, background=noise(rng, 8))
    (picture,) = noise(rng)
    (found,) = methods.gradient(subject, picture, [0], draws=400)
    assert found.values.shape == (SIDE, SIDE)
    assert found.additivity_error < 0.25 * np.abs(found.values).sum()


def test_gradients_need_a_background(tiny, rng):
    with pytest.raises(InputError, match="background of training pictures"):
        methods.gradient(Subject(network(), SMALL), noise(rng)[0], [0])


# Grad-CAM


def slope(x, alpha=0.9, beta=2.0):
    """Derivative of AReLU (Chen, Li and Xu 2020)."""
    return np.where(x > 0, 1 + 1 / (1 + np.exp(-beta)), np.clip(alpha, 0.01, 0.99))


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("pooling", ["global", "time"])
def test_grad_cam_by_hand(tiny, rng, pooling, task):
    settings = SMALL.model_copy(update={"pooling": pooling})
    outputs, scale = (3, None) if task == "classes" else (1, (40.0, 12.0))
    whole = network(settings, outputs, scale=scale)
    (picture,) = noise(rng)
    found = methods.grad_cam(Subject(whole, settings), picture, range(outputs))
    maps = classifier.backbone_of(whole)(SCALE(picture[None]), training=False).numpy()[0]
    rows, columns, depth = maps.shape
    pooled = maps.mean(axis=(0, 1)) if pooling == "global" else maps.mean(axis=1).ravel()
    first, unit, last = (
        [of.numpy() for of in whole.get_layer(name).weights]
        for name in ("hidden", "arelu", "output" if task == "classes" else "standardised")
    )
    inner = slope(pooled @ first[0] + first[1], *unit)
    for output, one in enumerate(found):
        gradient = first[0] @ (inner * last[0][:, output]) * (scale[1] if scale else 1)
        if pooling == "global":
            product = (maps * gradient / (rows * columns)).sum(axis=-1)
        else:
            product = (maps * gradient.reshape(rows, 1, depth) / columns).sum(axis=-1)
        enlarged = tf.image.resize(product[..., None], [SIDE, SIDE])[..., 0].numpy()
        assert np.abs(enlarged).max() > 0
        np.testing.assert_allclose(one.values, enlarged, atol=1e-4 * np.abs(enlarged).max())
        assert np.isnan(one.base)
        assert one.output == pytest.approx(keras_outputs(whole, picture[None])[0, output], rel=1e-4)


def test_the_head_s_score_is_what_its_softmax_is_of(tiny, rng):
    whole = network()
    pooled = rng.normal(size=(4, 16)).astype(np.float32)
    scores = methods._scores(whole, tf.constant(pooled))
    expected = classifier.head(whole, tf.constant(pooled), training=False)
    np.testing.assert_allclose(keras.ops.softmax(scores), expected, atol=1e-6)
    assert not np.allclose(np.sum(scores, axis=1), 1)


# Occlusion


@pytest.mark.parametrize("side", [32, 33])
def test_occlusion_by_hand(tiny, rng, side):
    settings = SMALL.model_copy(update={"image_size": side})
    whole = network(settings)
    (picture,) = noise(rng, side=side)
    found = methods.occlusion(Subject(whole, settings), picture, [2, 0])
    edges = [-(-i * side // 14) for i in range(15)]  # of cell floor(p * 14 / side)
    full = keras_outputs(whole, picture[None])[0]
    for row, column in ((0, 0), (3, 9), (13, 13)):
        place = (slice(*edges[row : row + 2]), slice(*edges[column : column + 2]))
        without = picture.copy()
        without[place] = picture.mean(axis=(0, 1))
        drop = full - keras_outputs(whole, without[None])[0]
        for one, output in zip(found, (2, 0), strict=True):
            values = one.values[place]
            assert values.sum() == pytest.approx(drop[output], abs=1e-5)
            assert np.ptp(values) == 0
    assert np.abs(found[0].values).sum() > 1e-3


def test_the_background_of_a_run_are_training_pictures(small_run, workplace, small_corpus):
    from dslite import cards
    from dslite.datasets import load_manifest
    from dslite.features import store as feature_store

    store = feature_store.load_spectrograms(
        load_manifest(cards.load(str(small_corpus))), small_run.settings
    )
    subject = files.subject(small_run, store, "blur", seed=2)
    assert subject.masker == "blur"
    assert len(subject.background) == files.BACKGROUND
    train = subject.pictures(store.mel[store.chunks("train")])
    same = (train[None] == subject.background[:, None]).all(axis=(2, 3, 4))
    assert same.any(axis=1).all()
    chosen = store.file[store.chunks("train")][same.argmax(axis=1)]
    counts = store.files["label"].iloc[chosen].value_counts()
    assert counts.max() - counts.min() <= 1
    other = files.subject(small_run, store, seed=3)
    assert not np.array_equal(subject.background, other.background)

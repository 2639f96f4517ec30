"""Values that add up, lie where a network looks, and are what their formulas say."""

import keras
import numpy as np
import pytest
import shap
import tensorflow as tf

from dslite.explanation import attributions, methods
from dslite.explanation.methods import ExplainedModel, explain
from dslite.models import backbones, classifier, pooling
from tests.explanation.explained import HALVES, PANELS, SIDE, SMALL, looking_at, network, noise

SCALE = backbones.BACKBONES["squeezenet"].scale


def keras_outputs(network, pictures):
    return network(SCALE(tf.constant(pictures)), training=False).numpy()


# Every method


@pytest.mark.parametrize(("rows", "columns"), [HALVES, HALVES[::-1]])
def test_the_values_lie_in_the_quadrant_that_the_network_looks_at(rng, rows, columns):
    picture, *background = noise(rng, 5)
    picture[rows, columns] = np.minimum(picture[rows, columns] + 60, 255)  # above the mean
    model = ExplainedModel(looking_at(rows, columns), SMALL, background=np.stack(background))
    for method in methods.METHODS:
        one, other = explain(method, model, picture, [0, 1], 200)
        total = np.abs(one.values).sum()
        assert one.values.shape == (SIDE, SIDE)
        assert one.values.dtype == np.float64
        assert total > 0.01
        share = np.abs(one.values[rows, columns]).sum() / total
        # Grad-CAM's coarse maps are enlarged, and reach two pixels beyond the quadrant.
        assert share > (0.8 if method == "grad-cam" else 0.999), method
        # What raises one of two classes lowers the other.
        np.testing.assert_allclose(one.values, -other.values, atol=1e-5 * total)


def test_every_method_knows_the_output_its_kind_and_its_draws(tiny, rng):
    model = ExplainedModel(network(), SMALL, background=noise(rng, 3))
    (picture,) = noise(rng)
    expected = keras_outputs(model.network, picture[None])[0]
    for method in methods.METHODS:
        first = explain(method, model, picture, [2, 0], 40, seed=5)
        assert [one.output for one in first] == pytest.approx(expected[[2, 0]], abs=1e-5)
        assert np.isfinite(first[0].base) == (method in ("partition", "gradient"))
        other, again = (explain(method, model, picture, [2, 0], 40, seed)[0] for seed in (6, 5))
        np.testing.assert_array_equal(first[0].values, again.values)
        if method == "gradient":
            assert not np.allclose(first[0].values, other.values)
        elif method not in methods.SEEDED:
            np.testing.assert_array_equal(first[0].values, other.values)


def test_the_model_s_outputs_and_pictures_are_keras_own(tiny, rng):
    model = ExplainedModel(network(), SMALL)
    pictures = noise(rng, 5)
    expected = keras_outputs(model.network, pictures)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(model.outputs(pictures), expected, atol=1e-5)
    visible = rng.random((methods.BATCH + 1, 8, 8)) < 0.5  # more than a batch
    masked = model.masked(pictures[0])(visible)
    for i in (0, 7, methods.BATCH):
        pixels = np.kron(visible[i], np.ones((4, 4), bool))[..., None]
        picture = np.where(pixels, pictures[0], pictures[0].mean(axis=(0, 1)))
        expected = keras_outputs(model.network, picture[None])[0]
        np.testing.assert_allclose(masked[i], expected, atol=1e-5)
    mel = rng.integers(0, 256, (2, 16, 24)).astype(np.uint8)
    scaled = classifier.inputs(tf.constant(mel), SMALL).numpy()
    np.testing.assert_allclose(SCALE(model.pictures(mel)), scaled, atol=1e-4)


# What is hidden


@pytest.mark.parametrize("masker", methods.MASKERS)
@pytest.mark.parametrize(("side", "count"), [(32, 32), (33, 14), (227, 56), (32, 40), (32, 1)])
def test_what_is_visible_stays_to_the_bit(rng, masker, side, count):
    picture = rng.uniform(0, 255, (side, side, 3)).astype(np.float32)
    visible = rng.random((3, count, count)) < 0.6
    visible[0] = True
    filling = methods.filling(picture, masker)
    pictures = methods.hide(picture, filling, visible)
    assert (pictures.shape, pictures.dtype) == ((3, side, side, 3), np.float32)
    pixels = visible.reshape(3, -1)[:, attributions.cells(side, side, (count, count))]
    for masked, mask in zip(pictures, pixels, strict=True):
        np.testing.assert_array_equal(masked[mask], picture[mask])
        np.testing.assert_array_equal(masked[~mask], filling[~mask])
        if not mask.all():
            assert (np.abs(masked[~mask] - picture[~mask]) > 1e-3).mean() > 0.9


def test_the_mean_is_of_the_whole_picture_and_the_blur_of_a_quarter_of_the_side(rng):
    (picture,) = noise(rng)
    expected = np.broadcast_to(picture.reshape(-1, 3).mean(axis=0), picture.shape)
    np.testing.assert_allclose(methods.filling(picture, "mean"), expected, atol=1e-3)
    blurred = methods.filling(picture, "blur")
    padded = np.pad(picture, ((4, 3), (4, 3), (0, 0)), mode="reflect")  # 8 wide, about a pixel
    for row, column in ((0, 0), (5, 31), (16, 16), (31, 2)):
        expected = padded[row : row + 8, column : column + 8].mean(axis=(0, 1))
        np.testing.assert_allclose(blurred[row, column], expected, atol=1e-3)
    assert blurred.std() < picture.std() / 2


# Two panels


def test_a_mask_s_cells_are_square_and_lie_in_one_panel():
    wide = PANELS.model_copy(update={"mel_bands": 48, "columns": 128})
    for settings, count, expected in (
        (SMALL, 14, (14, 14)),
        (SMALL, 56, (32, 32)),
        (PANELS, 14, (28, 28)),
        (PANELS, 56, (64, 64)),
        (wide, 14, (28, 37)),
    ):
        grid = methods.grid(settings, count)
        assert grid == expected
        cell = attributions.cells(*settings.picture_shape, grid)
        halves = np.split(cell, settings.panels)
        assert len(halves) == 1 or not set(halves[0].ravel()) & set(halves[1].ravel())


@pytest.mark.parametrize("masker", methods.MASKERS)
def test_each_panel_is_filled_from_itself(rng, masker):
    picture = noise(rng, side=64)[0]
    picture[:32] = 200.0
    filled = methods.filling(picture, masker, panels=2)
    np.testing.assert_allclose(filled[:32], 200.0, rtol=1e-5)
    np.testing.assert_allclose(filled[32:], methods.filling(picture[32:], masker), rtol=1e-5)


def test_every_method_on_two_panels_and_several_depths(tiny_depths, rng, monkeypatch):
    monkeypatch.setattr(methods, "DRAWS", 100)
    whole = network(PANELS)
    picture, *background = noise(rng, 5, *PANELS.picture_shape)
    model = ExplainedModel(whole, PANELS, background=np.stack(background))
    full = keras_outputs(whole, picture[None])[0]
    for method in methods.METHODS:
        one, other = explain(method, model, picture, [0, 1], 100)
        assert one.values.shape == PANELS.picture_shape
        assert one.output == pytest.approx(full[0], abs=1e-5)
        for values in (*np.split(one.values, 2), *np.split(other.values, 2)):
            assert np.abs(values).sum() > 0
        if method == "partition":
            assert one.additivity_error < 1e-5
        if method == "gradient":
            assert one.additivity_error < 0.3 * np.abs(one.values).sum()


def test_grad_cam_leads_to_the_score_along_all_depths(tiny_depths, rng):
    """Features are averages and deviations: gradient times activation sums up to their share."""
    whole = network(PANELS)
    (picture,) = noise(rng, 1, *PANELS.picture_shape)
    kernel, bias = whole.get_layer("output").get_weights()
    # The brightness has an offset of its own; the features of black are left out.
    scaled = SCALE(tf.constant(picture[None]))
    maps = keras.tree.flatten(classifier.backbone_of(whole)(scaled, training=False))
    score = methods._scores(whole, pooling.pool(whole, scaled, maps)).numpy()[0]
    nothing = [tf.zeros_like(of) for of in (scaled, *maps)]
    start = methods._scores(whole, pooling.pool(whole, nothing[0], nothing[1:])).numpy()[0]
    explained = explain("grad-cam", ExplainedModel(whole, PANELS), picture, range(3))
    sums = [one.values.sum() for one in explained]
    assert np.abs(score - start).max() > 0.01
    np.testing.assert_allclose(sums, score - start, atol=0.1 * np.abs(score - start).max())
    # A panel's features depend on its own maps alone: without its weights nothing is left there.
    edges = np.cumsum([0, *(layer.output.shape[1] for layer in pooling.statistics(whole))])
    level = [layer.name.startswith("level") for layer in pooling.statistics(whole)]
    for without, first, last in zip(level, edges, edges[1:], strict=False):
        kernel[first:last] *= not without
    whole.get_layer("output").set_weights([kernel, bias])
    (one,) = explain("grad-cam", ExplainedModel(whole, PANELS), picture, [0])
    above, below = np.split(np.abs(one.values), 2)
    assert below[4:].max() < 1e-9 < above.max()


# Partition


@pytest.mark.parametrize(("masker", "side"), [("mean", 32), ("blur", 61)])
def test_partition_leads_from_the_masked_picture_to_the_output(tiny, rng, masker, side):
    settings = SMALL.model_copy(update={"image_size": side})
    model = ExplainedModel(network(settings), settings, masker)
    (picture,) = noise(rng, side=side)
    filling = methods.filling(picture, masker)
    whole, base = keras_outputs(model.network, np.stack([picture, filling]))
    assert np.abs(whole - base).max() > 1e-3
    for output, one in enumerate(explain("partition", model, picture, [0, 1, 2], 40)):
        assert one.values.shape == (side, side)
        assert one.output == pytest.approx(whole[output], abs=1e-5)
        assert one.base == pytest.approx(base[output], abs=1e-4)
        assert base[output] + one.values.sum() == pytest.approx(whole[output], abs=1e-3)
        assert one.additivity_error < 1e-5


def test_partition_is_what_shap_makes_of_the_picture_itself(rng):
    """With shap's own image masker on the real picture, its values summed over the colours."""
    side, evaluations = 16, 60
    settings = SMALL.model_copy(update={"image_size": side})
    model = ExplainedModel(looking_at(slice(2, 11), slice(5, 16), side), settings)
    (picture,) = noise(rng, side=side)
    picture[:12] *= 0.5
    ours = explain("partition", model, picture, [0, 1], evaluations, seed=4)
    mean = np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape)
    masker = shap.maskers.Image(np.array(mean, np.float64), picture.shape)
    explainer = shap.PartitionExplainer(
        lambda pictures: keras_outputs(model.network, pictures.astype(np.float32)), masker
    )
    np.random.seed(4)  # noqa: NPY002
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
    for output, one in enumerate(ours):
        np.testing.assert_allclose(one.values, values[..., output], atol=1e-6)
        assert one.base == pytest.approx(theirs.base_values[0][output], abs=1e-6)


# Expected gradients


def linear(rng, outputs, side):
    image = keras.Input((side, side, 3))
    sums = keras.layers.Dense(outputs)(keras.layers.Flatten()(image))
    whole = keras.Model(image, sums)
    weights = rng.normal(0, 1e-3, (side, side, 3, outputs))
    whole.layers[-1].set_weights([weights.reshape(-1, outputs), np.arange(1.0, outputs + 1)])
    return whole, weights


def test_gradients_of_a_linear_network_are_exact(rng, monkeypatch):
    monkeypatch.setattr(methods, "DRAWS", 3)
    side = 64  # 56 cells: some of one pixel, some of two
    settings = SMALL.model_copy(update={"image_size": side})
    whole, weights = linear(rng, 2, side)
    picture, background = noise(rng, 2, side)
    model = ExplainedModel(whole, settings, background=background[None])
    explained = explain("gradient", model, picture, [1, 0])
    moved = (SCALE(picture) - SCALE(background)).numpy()
    base = keras_outputs(whole, background[None])[0]
    cell = attributions.cells(side, side, methods.grid(settings, methods.CELLS))
    for one, output in zip(explained, (1, 0), strict=True):
        exact = (weights[..., output] * moved).sum(axis=2)
        sums = np.bincount(cell.ravel(), exact.ravel())
        expected = (sums / np.bincount(cell.ravel()))[cell]
        np.testing.assert_allclose(one.values, expected, atol=1e-4 * np.abs(expected).max())
        assert one.base == pytest.approx(base[output], abs=1e-4)
        assert one.additivity_error < 1e-3


# Grad-CAM


def slope(x, alpha=0.9, beta=2.0):
    """Derivative of AReLU (Chen, Li and Xu 2020)."""
    return np.where(x > 0, 1 + 1 / (1 + np.exp(-beta)), np.clip(alpha, 0.01, 0.99))


@pytest.mark.parametrize(("pooling", "task"), [("global", "number"), ("time", "classes")])
def test_grad_cam_by_hand(tiny, rng, pooling, task):
    settings = SMALL.model_copy(update={"pooling": pooling})
    outputs, scale = (3, None) if task == "classes" else (1, (40.0, 12.0))
    whole = network(settings, outputs, scale=scale)
    (picture,) = noise(rng)
    explained = explain("grad-cam", ExplainedModel(whole, settings), picture, range(outputs))
    maps = classifier.backbone_of(whole)(SCALE(picture[None]), training=False).numpy()[0]
    rows, columns, depth = maps.shape
    pooled = maps.mean(axis=(0, 1)) if pooling == "global" else maps.mean(axis=1).ravel()
    first, unit, last = (
        [of.numpy() for of in whole.get_layer(name).weights]
        for name in ("hidden", "arelu", "output" if task == "classes" else "standardised")
    )
    inner = slope(pooled @ first[0] + first[1], *unit)
    for output, one in enumerate(explained):
        gradient = first[0] @ (inner * last[0][:, output]) * (scale[1] if scale else 1)
        if pooling == "global":
            product = (maps * gradient / (rows * columns)).sum(axis=-1)
        else:
            product = (maps * gradient.reshape(rows, 1, depth) / columns).sum(axis=-1)
        product *= product.size / SIDE**2  # a place's value is shared by its pixels
        enlarged = tf.image.resize(product[..., None], [SIDE, SIDE])[..., 0].numpy()
        assert np.abs(enlarged).max() > 0
        np.testing.assert_allclose(one.values, enlarged, atol=1e-4 * np.abs(enlarged).max())
        assert np.isnan(one.base)


# Occlusion


def test_occlusion_by_hand(tiny, rng):
    side = 33  # regions of two or three pixels
    settings = SMALL.model_copy(update={"image_size": side})
    whole = network(settings)
    (picture,) = noise(rng, side=side)
    explained = explain("occlusion", ExplainedModel(whole, settings), picture, [2, 0])
    edges = [-(-i * side // 14) for i in range(15)]  # of cell floor(p * 14 / side)
    full = keras_outputs(whole, picture[None])[0]
    for row, column in ((0, 0), (3, 9), (13, 13)):
        place = (slice(*edges[row : row + 2]), slice(*edges[column : column + 2]))
        without = picture.copy()
        without[place] = picture.mean(axis=(0, 1))
        drop = full - keras_outputs(whole, without[None])[0]
        for one, output in zip(explained, (2, 0), strict=True):
            values = one.values[place]
            assert values.sum() == pytest.approx(drop[output], abs=1e-5)
            assert np.ptp(values) < 1e-15
    assert np.abs(explained[0].values).sum() > 1e-3

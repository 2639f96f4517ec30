"""Statistics of maps over time against numpy, and networks that end with them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from dslite.features import spectrogram
from dslite.models import backbones, classifier, pooling
from dslite.settings import Settings
from tests.random_networks import alive

SMALL = {"mel_bands": 32, "columns": 32, "weights": "random", "pooling": "segments"}


def chosen(**differs):
    used = SMALL | {"picture": "clip+level", "backbone": "squeezenet", "head": "ridge"}
    return Settings(**used | differs)


def by_hand(maps, block, panels, segments):
    """Statistics of a block, in float64 and loops: [batch, features]."""
    maps = np.float64(maps)
    height = maps.shape[1] // panels
    part = maps[:, block.panel * height : (block.panel + 1) * height]
    rows = part.shape[1] // block.rows
    part = np.stack(
        [part[:, i * block.rows : (i + 1) * block.rows].mean(axis=1) for i in range(rows)], 1
    )
    edges = np.linspace(0, part.shape[2], segments + 1).round().astype(int)
    spans = [(min(a, part.shape[2] - 1), b) for a, b in itertools.pairwise(edges)]
    parts = [part[:, :, a : max(b, a + 1)].mean(axis=2) for a, b in spans]
    parts.append(np.sqrt(part.var(axis=2) + 1e-6))
    if block.source == pooling.ROWS:
        parts.append(np.sqrt(np.diff(part, axis=2).var(axis=2) + 1e-6))
    return np.concatenate([p.reshape(len(maps), -1) for p in parts], axis=1)


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        *((pooling.ROWS, shape) for shape in ((32, 32, 1), (17, 15, 1))),
        *(("stride8", shape) for shape in ((17, 15, 3), (5, 11, 2), (8, 3, 5), (4, 1, 2))),
    ],
)
@pytest.mark.parametrize("segments", [1, 4])
def test_statistics_are_numpys(rng, source, shape, segments):
    """Also of odd sizes, as networks without padding have them: what is too much is left out."""
    maps = rng.normal(2, 1, (3, *shape)).astype(np.float32)
    for panel, panels, rows in ((0, 1, 1), (0, 2, 2), (1, 2, 1), (1, 2, 2)):
        layer = pooling.TimeStatistics(source, panel, panels, rows, segments)
        expected = by_hand(maps, pooling.Block(panel, source, rows), panels, segments)
        np.testing.assert_allclose(layer(maps), expected, rtol=1e-4, atol=1e-5)


def test_silent_maps_have_a_slope(rng):
    """A constant map's deviation is next to 0, and its gradient is a number."""
    maps = tf.Variable(np.full((2, 8, 8, 3), 0.5, np.float32))
    layer = pooling.TimeStatistics("stride8", 0, 1, 1, 4)
    with tf.GradientTape() as tape:
        statistics = layer(maps)
    np.testing.assert_allclose(statistics[:, -24:], 1e-3, rtol=1e-3)
    assert np.isfinite(tape.gradient(statistics, maps)).all()


@pytest.mark.parametrize("picture", ["clip", "clip+level"])
@pytest.mark.parametrize("backbone", ["vgg16", "densenet121", "mobilenet_v2"])  # each scaling
def test_the_shade_of_each_pixel_is_recovered(backbone, picture, rng):
    """From the colours as each network is fed with them: within 5 % of the range."""
    settings = chosen(backbone=backbone, picture=picture)
    mel = rng.integers(0, 256, (2, 32 * settings.panels, 32)).astype(np.uint8)
    scale = backbones.BACKBONES[backbone].scale
    shades = pooling.brightness(settings, scale)(scale(spectrogram.picture(mel, settings)))
    panels = np.split(mel, settings.panels, axis=1)
    expected = np.concatenate([panel[:, ::-1] for panel in panels], axis=1) / 255
    assert np.abs(shades[..., 0] - expected).max() < 0.05
    if settings.panels == 2:  # of gray to the last digit
        np.testing.assert_allclose(shades[:, 32:, :, 0], expected[:, 32:], atol=1e-4)


@pytest.mark.parametrize("picture", ["clip", "clip+level"])
def test_a_network_ends_with_its_blocks(rng, picture):
    """By numpy from the maps of each depth and the picture's rows, in the order of `blocks`."""
    settings = chosen(picture=picture)
    network = classifier.build_classifier(settings, 4)
    backbone = alive(classifier.backbone_of(network), first=1 / 60)
    mel = rng.integers(0, 256, (3, 32 * settings.panels, 32)).astype(np.uint8)
    images = classifier.inputs(mel, settings)
    sources = dict(zip(pooling.depths(settings), map(np.asarray, backbone(images)), strict=True))
    brightness = network.get_layer("brightness")
    sources[pooling.ROWS] = np.asarray(brightness(images))
    expected = [
        by_hand(sources[block.source], block, settings.panels, settings.segments)
        for block in pooling.blocks(settings)
    ]
    pooled = classifier.pooled_backbone(network)(images)
    np.testing.assert_allclose(pooled, np.concatenate(expected, 1), rtol=1e-3, atol=1e-3)
    names = [layer.name for layer in pooling.statistics(network)]
    assert names == [block.name for block in pooling.blocks(settings)]
    assert [layer.output.shape[-1] for layer in pooling.statistics(network)] == [
        part.shape[1] for part in expected
    ]
    assert network.output_shape == (None, 4)
    assert np.ptp(pooled, axis=0).max() > 0.1


def test_products_are_of_standardised_features_in_pairs(rng):
    """Each with that of another part, row and map, behind the features, or alone."""
    x, shape = rng.normal(size=(3, 7 + 5 * 4 * 2)).astype(np.float32), (5, 4, 2)
    layer = pooling.Products(7, shape)
    layer.build(x.shape)
    mean, factor = rng.normal(size=(2, 40))
    layer.set_weights([mean, factor])
    z = ((x[:, 7:] - mean) * factor).reshape(3, *shape)
    products = [[[z[:, p, r, m] for m in range(2)] for r in range(4)] for p in range(5)]
    for place, (m, r, p) in enumerate(itertools.product(range(2), range(4), range(5))):
        a, b, c = np.unravel_index(place, shape)
        products[a][b][c] = products[a][b][c] * z[:, p, r, m]
    products = np.stack([of for rows in products for maps in rows for of in maps], axis=1)
    np.testing.assert_allclose(layer(x), np.concatenate([x, products], 1), rtol=1e-4, atol=1e-5)
    alone = pooling.Products.from_config(layer.get_config() | {"begin": 0, "joined": False})
    alone.build((3, 40))
    alone.set_weights([mean, factor])
    np.testing.assert_allclose(alone(x[:, 7:]), products, rtol=1e-4, atol=1e-5)


def test_depths_are_told_by_their_stride():
    assert pooling.depths(chosen()) == ("stride2", "stride4", "stride8")
    assert pooling.depths(chosen(picture="clip")) == ("stride4", "stride8")
    assert pooling.depths(Settings(feature_layer="stride16")) == ("stride16",)


@pytest.mark.parametrize(("head", "scale"), [("ridge", (30.0, 5.0)), ("arelu", None)])
def test_a_stored_model_is_the_same(rng, tmp_path, head, scale):
    settings = chosen(head=head, units=4)
    network = alive(classifier.build_classifier(settings, 1 if scale else 3, scale), first=1 / 60)
    network.save(tmp_path / "model.keras")
    again = classifier.load_classifier(tmp_path / "model.keras")
    images = rng.normal(size=(3, 64, 32, 3)).astype(np.float32)
    outputs = network(images).numpy()
    np.testing.assert_array_equal(again(images), outputs)
    assert np.ptp(outputs, axis=0).max() > 0
    maps = classifier.backbone_of(again)(images)
    pooled = pooling.pool(again, images, keras.tree.flatten(maps))
    np.testing.assert_allclose(classifier.head(again, pooled, False), outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        classifier.pooled_backbone(again)(images), pooled, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("head", "trained"), [("ridge", set()), ("arelu", {"hidden", "arelu", "output"})]
)
def test_a_solved_head_is_not_trained(head, trained):
    network = classifier.build_classifier(chosen(head=head), 3)
    classifier.set_trained(network, 0)
    assert {v.path.split("/")[0] for v in network.trainable_variables} == trained
    classifier.set_trained(network, 3)
    backbone = classifier.backbone_of(network)
    assert [layer.trainable for layer in backbone.layers[-4:]] == [False, True, True, True]
    if head == "ridge":  # zero until it is solved: all classes alike
        np.testing.assert_allclose(network(np.ones((1, 64, 32, 3), np.float32)), 1 / 3, rtol=1e-6)

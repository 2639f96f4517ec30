"""A backbone in two parts is the backbone, and what crosses is as little as the rule allows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dslite.models import backbones, classifier, pooling, split
from dslite.settings import Settings
from tests.random_networks import alive

SIDE = 64


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).normal(size=(3, SIDE, SIDE, 3)).astype(np.float32)


def skipping():
    """Two branches and a skip connection: several tensors cross a cut between them."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(image)
    b = layers.Conv2D(5, 3, padding="same", activation="relu", name="b")(a)
    c = layers.Conv2D(6, 3, padding="same", activation="relu", name="c")(a)
    d = layers.BatchNormalization(name="d")(b)
    e = layers.Conv2D(5, 3, padding="same", name="e")(c)
    f = layers.Add(name="f")([d, e])
    g = layers.Concatenate(name="g")([f, a])
    return keras.Model(image, layers.Conv2D(7, 3, name="h")(g), name="skipping")


def parted(name, trained):
    """A fresh network, its last layers (a share or number of them), and the cut before these."""
    fresh = skipping() if name == "skipping" else backbones.build_backbone(name, "random", SIDE)
    network = alive(fresh)
    last = int(trained * len(network.layers)) if isinstance(trained, float) else trained
    return network, network.layers[-last:], split.cut(network, network.layers[-last:])


def stored_by_hand(network, position):
    """Numbers that operations from ``position`` on read of what was made before it."""
    operations, flatten = list(network.operations), keras.tree.flatten
    before = {id(t) for operation in operations[:position] for t in flatten(operation.output)}
    read = {id(t): t for operation in operations[position:] for t in flatten(operation.input)}
    return sum(int(np.prod(t.shape[1:])) for key, t in read.items() if key in before)


# Shares of the layers (Table 2's), or numbers
CUTS = {"mobilenet_v2": (0.2, 17), "squeezenet": (0.1, 0.7, 1.0), "skipping": range(1, 10)}


@pytest.mark.parametrize(("name", "trained"), [(n, t) for n, each in CUTS.items() for t in each])
def test_the_parts_are_the_backbone_and_the_least_is_stored(pictures, name, trained):
    network, learnt, cut = parted(name, trained)
    images = pictures[:, :8, :8] if name == "skipping" else pictures
    output = network(images, training=False).numpy()
    assert output.std(0).mean() > 0.01  # the pictures get through
    start = list(network.operations).index(learnt[0])
    costs = [split.multiply_adds(layer) for layer in network.operations]
    sizes = {
        place: stored_by_hand(network, place)
        for place in range(1, max(start, 1) + 1)
        if sum(costs[place:start]) <= split.RECOMPUTED * sum(costs[start:])
    }
    crossing = cut.trunk(images)
    assert crossing.shape == (3, cut.size)
    np.testing.assert_allclose(cut.tail(crossing), output, rtol=1e-5, atol=1e-5)
    assert cut.is_whole or len(learnt) < len(network.layers)
    if cut.is_whole:
        np.testing.assert_array_equal(crossing, images.reshape(3, -1))
    assert cut.size == sizes[cut.position] == min(sizes.values())
    assert cut.position == max(p for p in sizes if sizes[p] == cut.size)  # the least work
    # All trained layers lie in the tail, and nothing of theirs in the trunk.
    tail = {id(layer) for layer in cut.last.layers}
    assert all(id(x) in tail for x in learnt if not isinstance(x, keras.layers.InputLayer))
    frozen = {id(v) for v in cut.first.weights}
    assert not frozen & {id(v) for layer in learnt for v in layer.weights}


def test_multiply_adds_by_hand():
    layers, image = keras.layers, keras.Input((10, 12, 3))
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2)(image)
    # 5 x 6 places: 3 x 3 x 3 x 2 depthwise numbers, then 6 x 5
    assert split.multiply_adds(keras.Model(image, x)) == 5 * 6 * (3 * 3 * 3 * 2 + 6 * 5)
    image = keras.Input((10, 10, 3))
    x = layers.Conv2D(4, 3, padding="valid")(image)  # 8 x 8 x 4 outputs of 27 each
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)  # 4 x 4 x 4 of 9
    inner = keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))  # 64 x 5
    network = keras.Model(image, layers.Dense(2)(inner(image)))
    assert split.multiply_adds(network) == 8 * 8 * 4 * 27 + 4 * 4 * 4 * 9 + 64 * 5 + 5 * 2


def test_nothing_trained_and_several_tensors():
    with pytest.raises(ValueError, match="no layer is trained"):
        split.cut(skipping(), [])
    assert max(len(parted("skipping", last)[2].shapes) for last in CUTS["skipping"]) > 1


def test_of_several_depths_not_maps_but_their_statistics_cross(rng):
    """What lies before the first trained layer is pooled in the trunk; the parts are the whole."""
    settings = Settings(
        **{"picture": "clip+level", "mel_bands": 32, "columns": 32, "pooling": "segments"},
        **{"backbone": "squeezenet", "weights": "random", "head": "ridge"},
    )
    network = classifier.build_classifier(settings, 3)
    backbone = alive(classifier.backbone_of(network), first=1 / 60)
    whole = classifier.pooled_backbone(network)
    cut = split.cut(whole, backbone.layers[-int(0.3 * len(backbone.layers)) :])
    images = rng.normal(size=(3, 64, 32, 3)).astype(np.float32)
    crossing = cut.trunk(images)
    np.testing.assert_allclose(cut.tail(crossing), whole(images), rtol=1e-4, atol=1e-4)
    maps = backbone(images)
    np.testing.assert_allclose(
        pooling.pool(network, images, maps), whole(images), rtol=1e-5, atol=1e-5
    )
    # Of the two early depths, and of the picture's rows, only the statistics cross.
    early = [layer for layer in pooling.statistics(network) if layer.source != "stride8"]
    vectors = sorted(shape for shape in cut.shapes if len(shape) == 1)
    assert vectors == sorted(layer.output.shape[1:] for layer in early)
    assert (64, 32, 3) not in cut.shapes
    assert split.cut(classifier.pooled_backbone(network), backbone.layers).is_whole


def test_frozen_is_the_same_function(pictures):
    network, _, cut = parted("squeezenet", 0.2)
    constant, expected = split.frozen(cut.trunk, SIDE, SIDE, 3), cut.trunk(pictures).numpy()
    for variable in network.weights:  # it no longer depends on the model
        variable.assign(variable * 0)
    for batch in (pictures, pictures[:1]):
        values = constant(tf.constant(batch)).numpy()
        assert np.abs(values - expected[: len(batch)]).max() <= 1e-5 * np.abs(expected).max()


def test_batch_normalisation_of_the_tail_learns_when_told(pictures):
    network, _, cut = parted("mobilenet_v2", 1.0)
    statistics = [v for v in network.weights if "moving" in v.path]
    before = [v.numpy() for v in statistics]
    for training in (False, True):
        cut.tail(cut.trunk(pictures), training)
        moved = [(v.numpy() != b).any() for v, b in zip(statistics, before, strict=True)]
        assert set(moved) == {training}


def test_gradients_are_those_of_the_whole(pictures):
    network, last, cut = parted("mobilenet_v2", 0.2)
    for layer in network.layers[: -len(last)]:
        layer.trainable = False
    variables = [v.value for v in network.trainable_variables]
    assert variables
    crossing = cut.trunk(pictures)

    def gradients(output):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(output()))
        return tape.gradient(loss, variables)

    whole = gradients(lambda: network(pictures, training=False))
    parts = gradients(lambda: cut.tail(crossing))
    for one, other in zip(parts, whole, strict=True):
        scale = np.abs(other).max()
        assert scale > 0
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * scale)

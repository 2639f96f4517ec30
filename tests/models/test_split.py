"""A backbone in two parts is the backbone, and what crosses is as little as the rule allows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dslite.models import backbones, split
from tests.random_networks import alive

SIDE = 64
NAMES = ("densenet121", "mobilenet_v2", "squeezenet")
SHARES = (0.1, 0.2, 0.3, 0.7, 1.0)  # Table 2's, and all


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).normal(size=(3, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(pictures):
    """Output of each backbone before any cut: name -> float32 [batch, rows, columns, maps]."""
    made = {}

    def output(name):
        if name not in made:
            network = alive(backbones.build_backbone(name, "random", SIDE))
            made[name] = network(pictures, training=False).numpy()
            assert made[name].std(0).mean() > 0.01  # the pictures get through
        return made[name]

    return output


def parted(name, trained):
    """A fresh backbone, cut; ``trained`` is a share or a number of layers."""
    network = alive(backbones.build_backbone(name, "random", SIDE))
    last = int(trained * len(network.layers)) if isinstance(trained, float) else trained
    return network, last, split.cut(network, last)


def skipping(size=8):
    """Two branches and a skip connection: several tensors cross a cut between them."""
    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(image)
    b = layers.Conv2D(5, 3, padding="same", activation="relu", name="b")(a)
    c = layers.Conv2D(6, 3, padding="same", activation="relu", name="c")(a)
    d = layers.BatchNormalization(name="d")(b)
    e = layers.Conv2D(5, 3, padding="same", name="e")(c)
    f = layers.Add(name="f")([d, e])
    g = layers.Concatenate(name="g")([f, a])
    return alive(keras.Model(image, layers.Conv2D(7, 3, name="h")(g), name="skipping"))


# The parts are the whole


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", NAMES)
def test_tail_of_trunk_is_the_backbone(pictures, expected, name, share):
    network, _, cut = parted(name, share)
    crossing = cut.trunk(pictures)
    assert crossing.shape == (3, cut.size)
    np.testing.assert_allclose(cut.tail(crossing), expected(name), rtol=1e-5, atol=1e-5)
    # And the backbone itself still is what it was.
    np.testing.assert_allclose(network(pictures, training=False), expected(name), 1e-5, 1e-5)
    assert cut.is_whole == (share == 1.0)
    if cut.is_whole:
        np.testing.assert_array_equal(crossing, pictures.reshape(3, -1))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", NAMES)
def test_all_trained_layers_lie_in_the_tail(name, share):
    network, last, cut = parted(name, share)
    trained = network.layers[len(network.layers) - last :]
    tail = {id(layer) for layer in cut.last.layers}
    learnt = [layer for layer in trained if not isinstance(layer, keras.layers.InputLayer)]
    assert {id(layer) for layer in learnt} <= tail
    frozen = {id(v) for v in cut.first.weights}
    assert not frozen & {id(v) for layer in trained for v in layer.weights}


@pytest.mark.parametrize("last", [1, 2, 17, 50, 90, 140])
def test_other_counts(pictures, expected, last):
    _, _, cut = parted("mobilenet_v2", last)
    found = cut.tail(cut.trunk(pictures))
    np.testing.assert_allclose(found, expected("mobilenet_v2"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", range(1, 10))
def test_several_tensors_cross(rng, last):
    whole, network = skipping(), skipping()
    cut = split.cut(network, last)
    images = rng.normal(size=(4, 8, 8, 3)).astype(np.float32)
    crossing = cut.trunk(images)
    assert crossing.shape == (4, cut.size)
    np.testing.assert_allclose(cut.tail(crossing), whole(images, training=False), 1e-5, 1e-5)


def test_a_skip_connection_crosses_beside_the_rest(rng):
    cuts = [split.cut(skipping(), last) for last in range(1, 10)]
    assert max(len(cut.shapes) for cut in cuts) > 1


def test_joined_and_separated(rng):
    shapes = ((2, 3, 4), (5,), (1, 2, 2))
    tensors = [tf.constant(rng.normal(size=(3, *shape))) for shape in shapes]
    flat = split.joined(tensors)
    assert flat.shape == (3, 24 + 5 + 4)
    for one, other in zip(split.separated(flat, shapes), tensors, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batch_normalisation_of_the_tail_learns_when_told(pictures):
    network, _, cut = parted("mobilenet_v2", 1.0)
    statistics = [v for v in network.weights if "moving" in v.path]
    before = [v.numpy() for v in statistics]
    cut.tail(cut.trunk(pictures))
    assert all((v.numpy() == b).all() for v, b in zip(statistics, before, strict=True))
    cut.tail(cut.trunk(pictures), True)
    assert all((v.numpy() != b).any() for v, b in zip(statistics, before, strict=True))


@pytest.mark.parametrize("last", [0, -1, 155])
def test_invalid_counts(last):
    network = backbones.build_backbone("mobilenet_v2", "random", 32)
    assert len(network.layers) == 154
    with pytest.raises(ValueError, match="of 154 layers"):
        split.cut(network, last)


# Where it is cut


def stored_by_hand(network, position):
    """Numbers that operations from ``position`` on read of what was made before it."""
    operations = list(network.operations)
    before = {id(t) for o in operations[:position] for t in keras.tree.flatten(o.output)}
    read = {}
    for operation in operations[max(position, 1) :]:
        for tensor in keras.tree.flatten(operation.input):
            if id(tensor) in before:
                read[id(tensor)] = int(np.prod(tensor.shape[1:]))
    return sum(read.values())


def work(layer):
    """Multiply-adds of the layers that have any, by their kinds."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        _, rows, columns, maps = layer.output.shape
        return rows * columns * maps * np.prod(layer.kernel_size)
    if isinstance(layer, keras.layers.Conv2D):
        _, rows, columns, maps = layer.output.shape
        return rows * columns * maps * np.prod(layer.kernel_size) * layer.input.shape[-1]
    return 0


@pytest.mark.parametrize("share", [0.05, *SHARES])
@pytest.mark.parametrize("name", [*NAMES, "skipping"])
def test_the_least_is_stored_that_the_rule_allows(name, share):
    def fresh():
        return skipping() if name == "skipping" else backbones.build_backbone(name, "random", SIDE)

    network = fresh()
    layers = network.layers
    last = max(1, int(share * len(layers)))
    start = list(network.operations).index(layers[-last])
    costs = [work(layer) for layer in network.operations]
    assert [split.multiply_adds(layer) for layer in network.operations] == costs
    allowed = [
        position
        for position in range(1, max(start, 1) + 1)
        if sum(costs[position:start]) <= split.RECOMPUTED * sum(costs[start:])
    ]
    sizes = {position: stored_by_hand(network, position) for position in allowed}
    cut = split.cut(fresh(), last)
    assert cut.position in allowed
    assert cut.size == sizes[cut.position] == min(sizes.values())
    assert cut.position == max(p for p in allowed if sizes[p] == cut.size)  # the least work


def test_densenet_is_cut_where_one_concatenation_crosses():
    """Of Table 2's 42 layers the first belongs to block 11; block 9 is cheap enough to go along."""
    network = backbones.build_backbone("densenet121", "random", 224)
    names = [operation.name for operation in network.operations]
    cut = split.cut(network, 42)
    crossing = cut.shapes[0][-1]
    assert cut.shapes == ((7, 7, crossing),)
    assert crossing <= 832  # what crosses just before the first trained layer
    block = (crossing - 512) // 32
    assert names[cut.position - 1] == f"conv5_block{block}_concat"


# Frozen, learnt, stored


@pytest.mark.parametrize("name", NAMES)
def test_frozen_is_the_same_function(pictures, name):
    network, _, cut = parted(name, 0.2)
    constant = split.frozen(cut.trunk, SIDE, SIDE, 3)
    found, right = constant(tf.constant(pictures)).numpy(), cut.trunk(pictures).numpy()
    assert np.abs(found - right).max() <= 1e-5 * np.abs(right).max()
    one = constant(tf.constant(pictures[:1])).numpy()
    assert np.abs(one - right[:1]).max() <= 1e-5 * np.abs(right).max()
    # It no longer depends on the model.
    for variable in network.weights:
        variable.assign(variable * 0)
    np.testing.assert_array_equal(constant(tf.constant(pictures)).numpy(), found)


@pytest.mark.parametrize(("name", "share"), [("mobilenet_v2", 0.2), ("squeezenet", 0.7)])
def test_gradients_are_those_of_the_whole(pictures, name, share):
    network, last, cut = parted(name, share)
    for layer in network.layers[:-last]:
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


@pytest.mark.parametrize("name", NAMES)
def test_a_model_stored_after_a_cut_is_the_same(pictures, expected, tmp_path, name):
    network = parted(name, 0.2)[0]
    network.save(tmp_path / "cut.keras")
    loaded = keras.models.load_model(tmp_path / "cut.keras")
    found = loaded(pictures, training=False)
    np.testing.assert_allclose(found, expected(name), rtol=1e-5, atol=1e-5)
    assert len(loaded.layers) == len(network.layers)
    assert len(loaded.weights) == len(network.weights)

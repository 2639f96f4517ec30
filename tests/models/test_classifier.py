"""The head, what is trained of the backbone, and what stays as it was pre-trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dslite.features import spectrogram
from dslite.models import backbones, classifier
from dslite.settings import Settings

SIDE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of random weights that stand for pre-trained ones: name -> path."""
    folder = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(0)
    found = {}
    for name in ("squeezenet", "mobilenet_v2"):
        network = backbones.build_backbone(name, "random", SIDE)
        found[name] = str(folder / f"{name}.weights.h5")
        network.save_weights(found[name])
    return found


def chosen(backbone="squeezenet", **differs) -> Settings:
    given = {"weights": "random", "units": 5, "dropout": 0.5, "image_size": SIDE}
    return Settings(backbone=backbone, **(given | differs))


def pictures(rng, n=4) -> np.ndarray:
    return rng.normal(scale=50, size=(n, SIDE, SIDE, 3)).astype(np.float32)


# AReLU


def arelu(x, alpha=0.9, beta=2.0):
    """Chen, Li and Xu 2020, written in branches."""
    clipped = min(max(alpha, 0.01), 0.99)
    gain = 1 + 1 / (1 + np.exp(-beta))
    return np.array([gain * value if value > 0 else clipped * value for value in x.ravel()])


def unit(alpha: float, beta: float) -> classifier.AReLU:
    layer = classifier.AReLU()
    layer.build((None, 7))
    layer.alpha.assign(alpha)
    layer.beta.assign(beta)
    return layer


def test_arelu_starts_as_published(rng):
    x = rng.normal(size=(3, 7)).astype(np.float32)
    layer = classifier.AReLU()
    found = layer(x)
    assert [float(v) for v in layer.trainable_variables] == pytest.approx([0.9, 2.0])
    np.testing.assert_allclose(np.ravel(found), arelu(x), rtol=1e-5)


@pytest.mark.parametrize("alpha", [-3.0, 0.0, 0.01, 0.25, 0.99, 1.7])
@pytest.mark.parametrize("beta", [-4.0, 0.0, 3.0])
def test_arelu_is_the_formula(rng, alpha, beta):
    x = np.concatenate([rng.normal(size=(3, 7)), np.zeros((1, 7))]).astype(np.float32)
    found = unit(alpha, beta)(x)
    np.testing.assert_allclose(np.ravel(found), arelu(x, alpha, beta), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("alpha", "reached"), [(0.5, 1), (0.9, 1), (-0.5, 0), (1.5, 0)])
def test_gradients_reach_alpha_and_beta(rng, alpha, reached):
    x = rng.normal(size=(3, 7)).astype(np.float32)
    layer = unit(alpha, 1.0)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x))
    found = tape.gradient(total, [layer.alpha.value, layer.beta.value])
    gate = 1 / (1 + np.exp(-1.0))
    expected = [reached * x[x < 0].sum(), x[x > 0].sum() * gate * (1 - gate)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# The network


def test_layers_of_the_head():
    network = classifier.build_classifier(chosen(units=6), 3)
    assert network.output_shape == (None, 3)
    assert network.get_layer("hidden").kernel.shape == (512, 6)
    assert network.get_layer("dropout").rate == 0.5
    order = [layer.name for layer in network.layers][2:]
    assert order == ["pooling", "hidden", "arelu", "dropout", "output"]
    # Head: dense 512 x 6 + 6, two scalars, dense 6 x 3 + 3.
    assert network.count_params() == 722_496 + 512 * 6 + 6 + 2 + 6 * 3 + 3


def test_network_by_hand(rng):
    """Pooling, dense, AReLU, dense, softmax, computed from the backbone's maps in numpy."""
    network = classifier.build_classifier(chosen(), 3)
    images = pictures(rng)
    pooled = classifier.backbone_of(network)(images).numpy().mean(axis=(1, 2))
    hidden, output = network.get_layer("hidden"), network.get_layer("output")
    before = pooled @ hidden.kernel.numpy() + hidden.bias.numpy()
    logits = arelu(before).reshape(before.shape) @ output.kernel.numpy() + output.bias.numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = network(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert found.min() >= 0
    assert np.ptp(found, axis=0).max() > 0  # the pictures get through


@pytest.mark.parametrize("scale", [(10.0, 2.5), (-3.0, 0.1)])
def test_regression_undoes_the_standardisation(rng, scale):
    network = classifier.build_classifier(chosen(), 1, scale)
    images = pictures(rng)
    inner = keras.Model(network.input, network.get_layer("standardised").output)(images).numpy()
    assert network.output_shape == (None, 1)
    assert np.ptp(inner) > 0
    expected = inner.astype(np.float64) * scale[1] + scale[0]
    np.testing.assert_allclose(network(images), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [None, (3.0, 2.0)])
def test_a_stored_model_is_the_same(rng, tmp_path, scale):
    network = classifier.build_classifier(chosen(), 3 if scale is None else 1, scale)
    network.get_layer("arelu").alpha.assign(0.3)
    network.get_layer("arelu").beta.assign(-1.0)
    network.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    images = pictures(rng)
    np.testing.assert_array_equal(loaded(images), network(images))
    assert isinstance(loaded.get_layer("arelu"), classifier.AReLU)
    assert classifier.backbone_of(loaded).name == "squeezenet"


def test_weights_come_from_the_file(weights):
    network = classifier.build_classifier(chosen(weights=weights["squeezenet"]), 3)
    expected = backbones.build_backbone("squeezenet", weights["squeezenet"], SIDE)
    for one, other in zip(classifier.backbone_of(network).weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


# Its parts


@pytest.mark.parametrize("pooling", ["global", "time"])
def test_backbone_pooling_and_head_are_the_network(rng, pooling):
    network = classifier.build_classifier(chosen(pooling=pooling, image_size=64), 3)
    images = rng.normal(scale=50, size=(4, 64, 64, 3)).astype(np.float32)
    maps = classifier.backbone_of(network)(images)
    found = classifier.head(network, classifier.pool(network, maps), False)
    np.testing.assert_allclose(found, network(images, training=False), rtol=1e-5)


@pytest.mark.parametrize(("pooling", "length"), [("global", 512), ("time", 3 * 512)])
def test_features_are_means_of_the_maps(rng, weights, pooling, length):
    settings = chosen(pooling=pooling, image_size=64, weights=weights["squeezenet"])
    features = classifier.feature_extractor(settings)
    images = rng.normal(scale=50, size=(4, 64, 64, 3)).astype(np.float32)
    maps = classifier.backbone_of(features)(images).numpy()
    assert maps.shape == (4, 3, 3, 512)
    if pooling == "global":
        expected = maps.mean(axis=(1, 2))
    else:  # columns are time
        expected = maps.mean(axis=2).reshape(4, length)
    assert features.output_shape == (None, length)
    np.testing.assert_allclose(features(images), expected, rtol=1e-5, atol=1e-6)
    assert classifier.build_classifier(settings, 3).get_layer("hidden").kernel.shape == (length, 5)


def test_pooling_over_time_keeps_the_frequency(rng):
    """Energy in another row or in another column: global pooling forgets both."""
    maps = np.zeros((3, 4, 6, 5), np.float32)
    maps[0, 1, 2], maps[1, 3, 2], maps[2, 1, 5] = 1, 1, 1
    pooled = {}
    for name in ("global", "time"):
        image = keras.Input((4, 6, 5))
        layers = keras.layers
        if name == "global":
            out = layers.GlobalAveragePooling2D(name="pooling")(image)
        else:
            columns = layers.AveragePooling2D((1, 6), name="pooling")(image)
            out = layers.Flatten(name="flatten")(columns)
        pooled[name] = classifier.pool(keras.Model(image, out), maps).numpy()
    assert pooled["time"].shape == (3, 20)
    np.testing.assert_array_equal(pooled["global"][0], pooled["global"][1])
    assert (pooled["time"][0] != pooled["time"][1]).any()
    np.testing.assert_array_equal(pooled["time"][0], pooled["time"][2])


def test_a_picture_with_energy_at_another_frequency_has_other_features(weights):
    """A bright bar in low or high rows, seen by the whole network."""
    images = np.full((2, 64, 64, 3), -50, np.float32)
    images[0, 8:24], images[1, 40:56] = 100, 100
    used = chosen(image_size=64, weights=weights["squeezenet"], pooling="time")
    found = classifier.feature_extractor(used)(images).numpy().reshape(2, 3, 512)
    scale = found.std()
    assert scale > 0
    assert np.abs(found[0] - found[1]).max() > scale
    # The energy lies in other rows, not in other maps alone.
    assert np.abs(found[0] - found[1])[[0, 2]].max() > scale / 2


def test_a_feature_layer_ends_the_backbone(rng):
    network = classifier.build_classifier(chosen(feature_layer="fire5_concat", image_size=64), 3)
    inner = classifier.backbone_of(network)
    assert inner.layers[-1].name == "fire5_concat"
    assert network.get_layer("hidden").kernel.shape == (256, 5)
    assert classifier.feature_extractor(chosen(feature_layer="fire5_concat")).output_shape == (
        None,
        256,
    )


# What is trained


@pytest.mark.parametrize(
    ("share", "paper", "code"),
    [(0.7, 298, 129), (0.3, 128, 299), (0.2, 85, 342), (0.1, 42, 385), (0, 0, 0), (1, 427, 0)],
)
def test_shares_of_densenet121(share, paper, code):
    """Table 2's counts; the public code freezes as many first layers instead."""
    for reading, expected in (("paper", paper), ("code", code)):
        used = Settings(trained_share=share, fine_tune_reading=reading)
        assert classifier.trained_layers(used, 427) == expected


def names(variables) -> list[str]:
    return sorted(variable.path for variable in variables)


def learnt(layer) -> list:
    """Variables a layer has for gradients: all but batch normalisation's statistics."""
    return [v for v in layer.weights if not v.path.endswith(("moving_mean", "moving_variance"))]


def assert_trained(network, last: int) -> None:
    """Exactly the last layers of the backbone, and the head, have trained variables."""
    inner = classifier.backbone_of(network)
    expected = [v for layer in inner.layers[len(inner.layers) - last :] for v in learnt(layer)]
    assert names(inner.trainable_variables) == names(expected)
    head = [v for layer in network.layers if layer is not inner for v in layer.weights]
    assert len(head) == 6  # two kernels, two biases, alpha, beta
    assert names(network.trainable_variables) == names(expected + head)


@pytest.mark.parametrize("backbone", ["squeezenet", "mobilenet_v2"])
def test_set_trained_frees_what_was_frozen(backbone):
    network = classifier.build_classifier(chosen(backbone), 3)
    layers = len(classifier.backbone_of(network).layers)
    everything = {"squeezenet": 50, "mobilenet_v2": 156}[backbone]
    for last in (0, layers, 0, 5, layers // 3, 1, layers):
        count = classifier.set_trained(network, last)
        assert_trained(network, last)
        assert count == len(network.trainable_variables) - 6
        if last in (0, layers):
            assert count == (everything if last else 0)


def test_set_trained_frees_a_backbone_frozen_as_a_whole():
    network = classifier.build_classifier(chosen(), 3)
    classifier.backbone_of(network).trainable = False
    assert classifier.set_trained(network, 37) == 50
    assert_trained(network, 37)


def test_set_trained_counts_by_hand():
    """SqueezeNet ends with: squeeze, two expansions, concatenation."""
    network = classifier.build_classifier(chosen(), 3)
    assert classifier.set_trained(network, 1) == 0  # the concatenation has nothing to learn
    assert classifier.set_trained(network, 3) == 4
    assert classifier.set_trained(network, 4) == 6
    trained = names(classifier.backbone_of(network).trainable_variables)
    assert {name.split("/")[-2] for name in trained} == {
        *("fire9_squeeze1x1", "fire9_expand1x1", "fire9_expand3x3")
    }


def test_42_layers_of_densenet121():
    network = classifier.build_classifier(chosen("densenet121"), 6)
    assert len(classifier.backbone_of(network).layers) == 427
    classifier.set_trained(network, 427)
    classifier.set_trained(network, 0)
    assert len(network.trainable_variables) == 6
    # conv5_block11_1_conv to relu: 6 dense blocks (block 11: 5 layers left, 12 to 16: 7 each)
    # and the two last layers; each block has 2 normalisations and 2 convolutions without bias.
    assert classifier.set_trained(network, 42) == 5 * (2 * 2 + 2) + 2 + (1 + 2 + 1)
    assert_trained(network, 42)


def test_only_trained_variables_move(rng, weights):
    """A step of gradient descent on the whole, phase by phase."""
    network = classifier.build_classifier(chosen(weights=weights["squeezenet"], dropout=0), 3)
    images = pictures(rng)
    for last in (0, 4):
        classifier.set_trained(network, last)
        before = {v.path: v.numpy() for v in network.weights}
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(tf.math.log(network(images)[:, 0]))
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(0.01 * gradient)
        moved = {v.path for v in network.weights if (v.numpy() != before[v.path]).any()}
        assert moved <= {v.path for v in variables}
        assert any("alpha" in path for path in moved)
        assert any("fire9" in path for path in moved) == (last == 4)


# Batch normalisation


def statistics(network) -> list[np.ndarray]:
    moving = ("moving_mean", "moving_variance")
    return [v.numpy() for v in classifier.backbone_of(network).weights if v.path.endswith(moving)]


def learning(network, images):
    """The network as a step of training computes it (see `dslite.training.steps`)."""
    maps = classifier.backbone_of(network)(images, training=False)
    return classifier.head(network, classifier.pool(network, maps), True)


@pytest.mark.parametrize("last", [0, 20, 154])
def test_pretrained_statistics_never_update(rng, weights, last):
    settings = chosen("mobilenet_v2", weights=weights["mobilenet_v2"])
    network = classifier.build_classifier(settings, 3)
    classifier.set_trained(network, last)
    before = statistics(network)
    assert len(before) == 2 * 52
    for _ in range(2):
        learning(network, tf.constant(pictures(rng)))
    for one, other in zip(before, statistics(network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_weights_learn_their_statistics(rng):
    network = classifier.build_classifier(chosen("mobilenet_v2"), 3)
    classifier.set_trained(network, 154)
    before = statistics(network)
    network(pictures(rng), training=True)
    changed = [(a != b).any() for a, b in zip(before, statistics(network), strict=True)]
    assert all(changed)


@pytest.mark.parametrize("pretrained", [True, False])
def test_inference_leaves_statistics_alone(rng, weights, pretrained):
    path = weights["mobilenet_v2"] if pretrained else "random"
    network = classifier.build_classifier(chosen("mobilenet_v2", weights=path), 3)
    before = statistics(network)
    network(pictures(rng), training=False)
    for one, other in zip(before, statistics(network), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_on_while_learning_only(rng, weights, rate):
    settings = chosen("mobilenet_v2", weights=weights["mobilenet_v2"], dropout=rate, units=64)
    network = classifier.build_classifier(settings, 3)
    network.get_layer("hidden").kernel.assign(rng.normal(size=(1280, 64)))
    network.get_layer("hidden").bias.assign(rng.normal(size=64))
    images = tf.constant(pictures(rng))
    still = network(images, training=False).numpy()
    found = [learning(network, images).numpy() for _ in range(2)]
    for one, other in ((still, found[0]), (found[0], found[1])):
        assert np.allclose(one, other, atol=1e-6) == (rate == 0)


# From stored spectrograms


@pytest.mark.parametrize("backbone", ["squeezenet", "mobilenet_v2", "densenet121"])
def test_inputs_are_scaled_pictures(rng, backbone):
    mel = rng.integers(0, 256, (2, 16, 20), dtype=np.uint8)
    settings = chosen(backbone)
    mode = {"squeezenet": "caffe", "mobilenet_v2": "tf", "densenet121": "torch"}[backbone]
    picture = spectrogram.picture(mel, settings).numpy()
    expected = keras.applications.imagenet_utils.preprocess_input(picture, mode=mode)
    np.testing.assert_allclose(classifier.inputs(mel, settings), expected, atol=1e-4)


def test_predictor_takes_any_batch_without_dropout(rng):
    settings = chosen()
    network = classifier.build_classifier(settings, 3)
    predict = classifier.predictor(network, settings)
    mel = rng.integers(0, 256, (5, 16, 20), dtype=np.uint8)
    whole = predict(mel).numpy()
    np.testing.assert_allclose(whole, network(classifier.inputs(mel, settings)), rtol=1e-4)
    np.testing.assert_allclose(predict(mel[:1]).numpy(), whole[:1], rtol=1e-4)
    np.testing.assert_allclose(predict(mel[3:]).numpy(), whole[3:], rtol=1e-4)
    assert predict.experimental_get_tracing_count() == 1
    # What is learnt afterwards shows: no weights are frozen into the function.
    network.get_layer("output").bias.assign([5.0, 0.0, 0.0])
    assert (predict(mel).numpy()[:, 0] > 0.9).all()

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
    files = {}
    for name in ("squeezenet", "mobilenet_v2"):
        files[name] = str(folder / f"{name}.weights.h5")
        backbones.build_backbone(name, "random", SIDE).save_weights(files[name])
    return files


def chosen(backbone="squeezenet", **changes) -> Settings:
    usual = {"weights": "random", "units": 5, "dropout": 0.5, "image_size": SIDE}
    return Settings(backbone=backbone, **(usual | changes))


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
    np.testing.assert_allclose(np.ravel(layer(x)), arelu(x), rtol=1e-5)
    assert [float(v) for v in layer.trainable_variables] == pytest.approx([0.9, 2.0])


@pytest.mark.parametrize("beta", [-4.0, 0.0, 3.0])
def test_arelu_is_the_formula(rng, beta):
    x = np.concatenate([rng.normal(size=(3, 7)), np.zeros((1, 7))]).astype(np.float32)
    for alpha in (-3.0, 0.0, 0.01, 0.25, 0.99, 1.7):
        values = unit(alpha, beta)(x)
        np.testing.assert_allclose(np.ravel(values), arelu(x, alpha, beta), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("alpha", "reached"), [(0.5, 1), (0.9, 1), (-0.5, 0), (1.5, 0)])
def test_gradients_reach_alpha_and_beta(rng, alpha, reached):
    x = rng.normal(size=(3, 7)).astype(np.float32)
    layer = unit(alpha, 1.0)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x))
    gradients = tape.gradient(total, [layer.alpha.value, layer.beta.value])
    gate = 1 / (1 + np.exp(-1.0))
    expected = [reached * x[x < 0].sum(), x[x > 0].sum() * gate * (1 - gate)]
    np.testing.assert_allclose(gradients, expected, rtol=1e-4)


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
    outputs = network(images).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-4)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)
    assert outputs.min() >= 0
    assert np.ptp(outputs, axis=0).max() > 0  # the pictures get through


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
    loaded = classifier.load_classifier(tmp_path / "a.keras")
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
    network = classifier.build_classifier(settings, 3)
    assert network.get_layer("hidden").kernel.shape == (length, 5)
    pooled = classifier.pool(network, tf.constant(maps))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    outputs = classifier.head(network, pooled, training=False)
    np.testing.assert_allclose(outputs, network(images, training=False), rtol=1e-4, atol=1e-6)


def test_a_picture_with_energy_at_another_frequency_has_other_features(weights):
    """A bright bar in low or high rows, seen by the whole network."""
    images = np.full((2, 64, 64, 3), -50, np.float32)
    images[0, 8:24], images[1, 40:56] = 100, 100
    used = chosen(image_size=64, weights=weights["squeezenet"], pooling="time")
    low, high = classifier.feature_extractor(used)(images).numpy().reshape(2, 3, 512)
    scale = np.stack([low, high]).std()
    assert scale > 0
    assert np.abs(low - high).max() > scale
    # The energy lies in other rows, not in other maps alone.
    assert np.abs(low - high)[[0, 2]].max() > scale / 2


def test_a_feature_layer_ends_the_backbone():
    network = classifier.build_classifier(chosen(feature_layer="fire5_concat", image_size=64), 3)
    assert classifier.backbone_of(network).layers[-1].name == "fire5_concat"
    assert network.get_layer("hidden").kernel.shape == (256, 5)


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
        classifier.set_trained(network, last)
        assert_trained(network, last)
    assert len(network.trainable_variables) - 6 == everything
    classifier.backbone_of(network).trainable = False
    classifier.set_trained(network, layers)
    assert_trained(network, layers)


def test_densenet121_has_the_papers_layers():
    network = classifier.build_classifier(chosen("densenet121"), 6)
    backbone = classifier.backbone_of(network)
    assert len(backbone.layers) == 427
    assert backbone.count_params() == 7_037_504
    assert backbone.output_shape == (None, 1, 1, 1024)
    classifier.set_trained(network, 42)
    assert_trained(network, 42)
    # conv5_block11_1_conv to relu: 6 dense blocks (block 11: 5 layers left, 12 to 16: 7 each)
    # and the two last layers; each block has 2 normalisations and 2 convolutions without bias.
    assert len(backbone.trainable_variables) == 5 * (2 * 2 + 2) + 2 + (1 + 2 + 1)


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


def test_pretrained_statistics_never_update(rng, weights):
    settings = chosen("mobilenet_v2", weights=weights["mobilenet_v2"])
    network = classifier.build_classifier(settings, 3)
    before = statistics(network)
    assert len(before) == 2 * 52
    for last in (0, 20, 154):
        classifier.set_trained(network, last)
        learning(network, tf.constant(pictures(rng)))
    network(pictures(rng), training=False)
    for one, other in zip(before, statistics(network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_weights_learn_their_statistics(rng):
    network = classifier.build_classifier(chosen("mobilenet_v2"), 3)
    classifier.set_trained(network, 154)
    before = statistics(network)
    network(pictures(rng), training=False)
    assert all((a == b).all() for a, b in zip(before, statistics(network), strict=True))
    network(pictures(rng), training=True)
    assert all((a != b).any() for a, b in zip(before, statistics(network), strict=True))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_on_while_learning_only(rng, weights, rate):
    settings = chosen(weights=weights["squeezenet"], dropout=rate, units=64)
    network = classifier.build_classifier(settings, 3)
    network.get_layer("hidden").kernel.assign(rng.normal(size=(512, 64)))
    network.get_layer("hidden").bias.assign(rng.normal(size=64))
    images = tf.constant(pictures(rng))
    still = network(images, training=False).numpy()
    first, second = (learning(network, images).numpy() for _ in range(2))
    for one, other in ((still, first), (first, second)):
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

"""The head, what is trained of the backbone, and what stays as it was pre-trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dslite.features import spectrogram
from dslite.models import backbones, classifier, pooling
from dslite.settings import Settings
from tests.models.conftest import SIDE


def chosen(backbone="squeezenet", **changes) -> Settings:
    usual = {"weights": "random", "units": 5, "dropout": 0.5, "image_size": SIDE}
    return Settings(backbone=backbone, **(usual | changes))


def pictures(rng, n=4) -> np.ndarray:
    return rng.normal(scale=50, size=(n, SIDE, SIDE, 3)).astype(np.float32)


def arelu(x, alpha=0.9, beta=2.0):
    """Chen, Li and Xu 2020, written in branches."""
    clipped = min(max(alpha, 0.01), 0.99)
    gain = 1 + 1 / (1 + np.exp(-beta))
    return np.array([gain * value if value > 0 else clipped * value for value in x.ravel()])


@pytest.mark.parametrize("beta", [-4.0, 2.0])
@pytest.mark.parametrize("alpha", [-3.0, 0.25, 1.7])
def test_arelu_is_the_formula(rng, alpha, beta):
    x = np.concatenate([rng.normal(size=(3, 7)), np.zeros((1, 7))]).astype(np.float32)
    layer = classifier.AReLU()
    np.testing.assert_allclose(np.ravel(layer(x)), arelu(x), rtol=1e-5)  # as published
    layer.alpha.assign(alpha)
    layer.beta.assign(beta)
    np.testing.assert_allclose(np.ravel(layer(x)), arelu(x, alpha, beta), rtol=1e-5, atol=1e-7)


def test_the_head_by_hand(rng):
    network = classifier.build_classifier(chosen(units=6), 3)
    order = [layer.name for layer in network.layers][2:]
    assert order == ["pooling", "hidden", "arelu", "dropout", "output"]
    assert network.get_layer("dropout").rate == 0.5
    # Head: dense 512 x 6 + 6, two scalars, dense 6 x 3 + 3.
    assert network.count_params() == 722_496 + 512 * 6 + 6 + 2 + 6 * 3 + 3
    images = pictures(rng)
    pooled = classifier.backbone_of(network)(images).numpy().mean(axis=(1, 2))
    hidden, output = network.get_layer("hidden"), network.get_layer("output")
    before = pooled @ hidden.kernel.numpy() + hidden.bias.numpy()
    logits = arelu(before).reshape(before.shape) @ output.kernel.numpy() + output.bias.numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = network(images).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-4)
    assert np.ptp(outputs, axis=0).max() > 0  # the pictures get through


@pytest.mark.parametrize(("kind", "length"), [("global", 512), ("time", 3 * 512)])
def test_features_are_means_of_the_maps(rng, files, kind, length):
    settings = chosen(pooling=kind, image_size=64, weights=str(files["squeezenet"]))
    features = classifier.feature_extractor(settings)
    images = rng.normal(scale=50, size=(4, 64, 64, 3)).astype(np.float32)
    maps = backbones.build_backbone("squeezenet", str(files["squeezenet"]), 64)(images).numpy()
    assert maps.shape == (4, 3, 3, 512)
    # Columns are time: the mean over these alone keeps apart at which frequency the energy lies.
    expected = maps.mean(axis=(1, 2) if kind == "global" else 2).reshape(4, length)
    assert features.output_shape == (None, length)
    np.testing.assert_allclose(features(images), expected, rtol=1e-5, atol=1e-6)
    network = classifier.build_classifier(settings, 3)
    pooled = pooling.pool(network, None, [tf.constant(maps)])
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    outputs = classifier.head(network, pooled, training=False)
    np.testing.assert_allclose(outputs, network(images, training=False), rtol=1e-4, atol=1e-6)


def assert_trained(network, last: int) -> None:
    """Exactly the last layers of the backbone, and the head, have trained variables."""
    inner = classifier.backbone_of(network)
    head = {v.path for layer in network.layers if layer is not inner for v in layer.weights}
    assert len(head) == 6  # two kernels, two biases, alpha, beta
    expected = {v.path for layer in inner.layers[len(inner.layers) - last :] for v in layer.weights}
    moving = {path for path in expected if path.endswith(("moving_mean", "moving_variance"))}
    trained = [v.path for v in network.trainable_variables]
    assert sorted(trained) == sorted((expected - moving) | head)


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


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_on_while_learning_only(rng, rate):
    network = classifier.build_classifier(chosen(dropout=rate, units=64), 3)
    pooled = tf.constant(rng.normal(size=(4, 512)), "float32")
    still, *learnt = (classifier.head(network, pooled, on).numpy() for on in (False, True, True))
    for one, other in ((still, learnt[0]), learnt):
        assert np.allclose(one, other, atol=1e-6) == (rate == 0)


def test_predictor_takes_any_batch_without_dropout(rng):
    settings = chosen(mel_bands=16)
    network = classifier.build_classifier(settings, 3)
    predict = classifier.predictor(network, settings)
    mel = rng.integers(0, 256, (5, 16, 20), dtype=np.uint8)
    scaled = backbones.BACKBONES["squeezenet"].scale(spectrogram.picture(mel, settings))
    expected = network(scaled).numpy()
    for part in (slice(5), slice(1), slice(3, 5)):
        np.testing.assert_allclose(predict(mel[part]), expected[part], rtol=1e-4)
    assert predict.experimental_get_tracing_count() == 1
    # What is learnt afterwards shows: no weights are frozen into the function.
    network.get_layer("output").bias.assign([5.0, 0.0, 0.0])
    assert (predict(mel).numpy()[:, 0] > 0.9).all()


@pytest.mark.parametrize("scale", [(10.0, 2.5), (-3.0, 0.1)])
def test_regression_undoes_the_standardisation(rng, scale):
    network = classifier.build_classifier(chosen(), 1, scale)
    images = pictures(rng)
    inner = keras.Model(network.input, network.get_layer("standardised").output)(images).numpy()
    assert np.ptp(inner) > 0
    expected = inner.astype(np.float64) * scale[1] + scale[0]
    np.testing.assert_allclose(network(images), expected, rtol=1e-5)


@pytest.mark.parametrize("source", ["file", "random"])
def test_statistics_of_random_weights_alone_are_learnt(rng, files, source):
    path = str(files["mobilenet_v2"]) if source == "file" else "random"
    network = classifier.build_classifier(chosen("mobilenet_v2", weights=path), 3)
    moving = ("moving_mean", "moving_variance")
    statistics = [v for v in classifier.backbone_of(network).weights if v.path.endswith(moving)]
    before = [v.numpy() for v in statistics]
    assert len(before) == 2 * 52
    classifier.set_trained(network, 154)
    images = tf.constant(pictures(rng))
    network(images, training=False)
    maps = classifier.backbone_of(network)(images, training=False)  # as a step of training does
    classifier.head(network, pooling.pool(network, None, [maps]), True)
    assert all((v.numpy() == old).all() for v, old in zip(statistics, before, strict=True))
    if source == "random":
        network(images, training=True)
        assert all((v.numpy() != old).any() for v, old in zip(statistics, before, strict=True))

"""The image CNNs: published structure, input scaling, weights from files.

Small ones are built, at small sizes; in slow tests all go from the registry to the device.
"""

import itertools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from dslite import cards, paths
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.models import backbones, classifier, weights
from dslite.settings import BACKBONE_NAMES, Settings
from tests.models.conftest import SIDE
from tests.refusals import refusal

REAL = Path(os.environ.get("DSLITE_REAL_WEIGHTS", paths.ROOT.parent / "shared" / "weights"))


# Structure and scaling


def published_squeezenet():
    """Kernels of SqueezeNet 1.1 in order (the authors' deploy.prototxt): name, shape."""
    yield "conv1", (3, 3, 3, 64)
    channels = 64
    for number, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        yield f"fire{number}_squeeze1x1", (1, 1, channels, squeeze)
        yield f"fire{number}_expand1x1", (1, 1, squeeze, 4 * squeeze)
        yield f"fire{number}_expand3x3", (3, 3, squeeze, 4 * squeeze)
        channels = 8 * squeeze


def test_squeezenet_is_the_published_network(networks):
    layers = networks["squeezenet"].layers
    kernels = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(each.name, each.kernel.shape) for each in kernels] == list(published_squeezenet())
    assert all(each.activation is keras.activations.relu for each in kernels)
    assert networks["squeezenet"].count_params() == 722_496
    pools = {
        after.name: (layer.pool_size, layer.strides)
        for layer, after in itertools.pairwise(layers)
        if isinstance(layer, keras.layers.MaxPooling2D)
    }
    assert pools == {f"fire{number}_squeeze1x1": ((3, 3), (2, 2)) for number in (2, 4, 6)}
    # 224 -> conv1 111 -> pools 55, 27, 13
    assert backbones.BACKBONES["squeezenet"].build(224, 224).output_shape == (None, 13, 13, 512)


def test_the_registry_holds_every_backbone_of_the_settings():
    assert tuple(backbones.BACKBONES) == BACKBONE_NAMES
    for name, entry in backbones.BACKBONES.items():
        plain = "".join(c for c in entry.title.lower().removesuffix(" 1.1") if c.isalnum())
        assert plain == name.replace("_", "")


MODULES = {
    **{"densenet121": "densenet", "densenet169": "densenet", "densenet201": "densenet"},
    **{"nasnet_large": "nasnet", "nasnet_mobile": "nasnet", "squeezenet": "imagenet_utils"},
}
SCALED_INSIDE = {
    "efficientnet_v2_b0": keras.applications.EfficientNetV2B0,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
}


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_scaling_is_that_of_pre_training(rng, name):
    rgb = rng.uniform(0, 255, (2, 5, 6, 3)).astype(np.float32)
    before = rgb.copy()
    backbones.BACKBONES[name].scale(rgb)
    np.testing.assert_array_equal(rgb, before)  # Keras' own scale an array in place
    scaled = backbones.BACKBONES[name].scale(tf.constant(rgb))
    assert scaled.dtype == "float32"
    if name not in SCALED_INSIDE:  # SqueezeNet's weights come from Caffe, Keras' default
        module = getattr(keras.applications, MODULES.get(name, name))
        np.testing.assert_allclose(scaled, module.preprocess_input(rgb.copy()), atol=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param("efficientnet_v2_b0", marks=pytest.mark.slow), "mobilenet_v3_small"]
)
def test_scaling_is_that_inside_the_published_network(rng, name):
    """What the network that the weights were published for does to raw RGB."""
    published = SCALED_INSIDE[name](include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    network = backbones.build_backbone(name, "random", SIDE)
    network.set_weights(published.get_weights())
    inner = {type(layer).__name__ for layer in network.layers}
    assert not {"Rescaling", "Normalization"} & inner
    rgb = rng.uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    first = next(x.name for x in network.layers if isinstance(x, keras.layers.Conv2D))
    theirs, ours = (keras.Model(n.input, n.get_layer(first).output) for n in (published, network))
    expected, scaled = theirs(rgb), backbones.BACKBONES[name].scale(rgb)
    size = np.abs(expected).max()
    np.testing.assert_allclose(ours(scaled), expected, atol=1e-4 * size)
    assert np.abs(ours(rgb / 255).numpy() - expected).max() > 0.01 * size


# Image sizes and layers


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_an_image_that_is_too_small(name):
    entry = backbones.BACKBONES[name]
    with pytest.raises(ValueError, match=r"at least|zero or negative"):
        entry.build(*[entry.smallest - 1] * 2)  # what Keras says without us
    message = refusal(backbones.build_backbone, name, "imagenet", entry.smallest - 1)
    assert message == (
        f"image_size {entry.smallest - 1} is too small for {entry.title} (backbone={name}), "
        f"which needs {entry.smallest} pixels at the least"
    )


@pytest.mark.parametrize(
    ("name", "layer", "last"),
    [
        ("squeezenet", "fire5_concat", "fire5_concat"),
        ("squeezenet", "stride4", "fire3_concat"),
        ("mobilenet_v2", "stride8", "block_6_expand_relu"),  # not the padding behind it
    ],
)
def test_a_network_that_ends_at_a_feature_layer(rng, networks, files, name, layer, last):
    cut = backbones.build_backbone(name, str(files[name]), SIDE, layer)
    whole = networks[name]
    assert cut.name == whole.name
    assert cut.layers[-1].name == last
    assert [x.name for x in cut.layers[1:]] == [x.name for x in whole.layers[1 : len(cut.layers)]]
    picture = rng.normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    expected = keras.Model(whole.input, whole.get_layer(last).output)(picture)
    np.testing.assert_array_equal(cut(picture), expected)


def test_names_of_layers_do_not_depend_on_what_was_built_before(monkeypatch):
    def unnamed(height, width):
        image = x = keras.Input((height, width, 3))
        for _ in range(2):
            x = keras.layers.ReLU()(keras.layers.Conv2D(4, 3)(x))
        return keras.Model(image, x)

    entry = backbones.Backbone("Unnamed", unnamed, tf.identity)
    monkeypatch.setitem(backbones.BACKBONES, "unnamed", entry)
    for _ in range(2):
        network = backbones.build_backbone("unnamed", "random", SIDE, "conv2d_1")
        assert [layer.name for layer in network.layers[1:]] == ["conv2d", "re_lu", "conv2d_1"]


@pytest.mark.parametrize(
    ("name", "layer", "reason", "hint"),
    [
        ("squeezenet", "fire5_conca", "does not exist", "; did you mean 'fire5_concat'?"),
        ("squeezenet", "image", "is the input", "; there is: fire9_concat, fire9_expand3x3"),
        ("squeezenet", "zzz", "does not exist", "; there is: fire9_concat, fire9_expand3x3"),
        ("pooled", "pooling", "has an output of shape (None, 4)", "; there is: maps"),
    ],
)
def test_a_layer_without_feature_maps(monkeypatch, name, layer, reason, hint):
    image = keras.Input((SIDE, SIDE, 3))
    maps = keras.layers.Conv2D(4, 3, name="maps")(image)
    pooled = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pooling")(maps))
    entry = backbones.Backbone("Pooled", lambda *size: pooled, tf.identity)
    monkeypatch.setitem(backbones.BACKBONES, "pooled", entry)
    monkeypatch.setattr(backbones, "fetch", lambda source: pytest.fail("fetched"))
    message = refusal(backbones.build_backbone, name, "imagenet", SIDE, layer)
    begin = f"feature_layer {layer} of {backbones.BACKBONES[name].title} {reason}; it takes a layer"
    assert message.startswith(f"{begin} whose output is [batch, rows, columns, maps]{hint}")
    assert len(message) < 400


def same_weights(one, other) -> None:
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    "name",
    [
        *("other.weights.h5", "legacy.h5", "other.pth"),
        *("conv2d.weights.h5", "conv2d_24.weights.h5", "conv2d_7.h5"),
    ],
)
def test_weights_that_do_not_fit(files, tmp_path, name):
    path, content = tmp_path / name, files["squeezenet"].read_bytes()
    fault = name.partition(".")[0]
    if fault in ("legacy", "other"):
        path.write_bytes(files[f"mobilenet_v2{' legacy' * (fault == 'legacy')}"].read_bytes())
    else:
        path.write_bytes(content)
    if fault.startswith("conv2d"):  # the first and the last one are missing, another has a NaN
        with h5py.File(path, "a") as file:
            values = file["layers"][fault]["vars"]
            if fault == "conv2d_7":
                values["0"][0, 0, 0, 0] = np.nan
            else:
                del values["0"], values["1"]
    # A part of a network needs all weights.
    message = refusal(backbones.build_backbone, "squeezenet", str(path), SIDE, "fire2_concat")
    reason = "leave 1 of 25 kernels of SqueezeNet 1.1 unset or NaN" if fault == "conv2d_7" else ""
    assert message.startswith(f"weights {path} {reason}")
    assert "SqueezeNet 1.1" in message


@pytest.mark.parametrize("name", ["squeezenet.h5", "weights", "x.weights.h5", "model.zip"])
def test_a_format_is_recognised_by_its_content(networks, files, tmp_path, name):
    network, path = "squeezenet", tmp_path / name
    if name == "x.weights.h5":  # a whole network in the older format
        network, whole = "mobilenet_v2", networks["mobilenet_v2"]
        top = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(whole.output))
        with h5py.File(path, "w") as file:
            model = keras.Model(whole.input, top)
            legacy_h5_format.save_weights_to_hdf5_group(file.create_group("model_weights"), model)
    elif name == "model.zip":
        networks[network].save(tmp_path / "model.keras")
        (tmp_path / "model.keras").rename(path)
    else:
        path.write_bytes(files[network].read_bytes())
    same_weights(backbones.build_backbone(network, str(path), SIDE), networks[network])


def test_published_weights_are_fetched_and_loaded(networks, files, monkeypatch):
    published = {weights.REGISTRY["mobilenet_v2"]["url"]: files["mobilenet_v2 legacy"]}
    monkeypatch.setattr(backbones, "fetch", lambda url, checksum: published.pop(url))
    loaded = backbones.build_backbone("mobilenet_v2", "imagenet", SIDE)
    same_weights(loaded, networks["mobilenet_v2"])


def test_the_published_file_of_squeezenet(rng, tmp_path):
    """Its layout, of Keras 1: a slash in a layer's name, layers without weights, no version."""
    shapes, values = dict(published_squeezenet()), {}
    layers = [name.replace("_", "/") for name in shapes]
    with h5py.File(tmp_path / "squeezenet.h5", "w") as file:
        file.attrs["layer_names"] = ["input_1", *layers, "fire9/concat"]
        for name in file.attrs["layer_names"]:
            group, shape = file.create_group(name), shapes.get(name.replace("/", "_"))
            parts = {"W": shape, "b": shape[-1:]} if shape else {}
            group.attrs["weight_names"] = [f"{name}_{part}:0".encode() for part in parts]
            for part, size in parts.items():
                value = rng.normal(size=size).astype(np.float32)
                group.create_dataset(f"{name}_{part}:0", data=value)
                values.setdefault(name.replace("/", "_"), []).append(value)
    network = backbones.build_backbone("squeezenet", str(tmp_path / "squeezenet.h5"), SIDE)
    assert values.keys() == shapes.keys()
    for name, expected in values.items():
        for one, other in zip(network.get_layer(name).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "file"),
    [("mobilenet_v2", "mobilenet_v2.weights.h5"), ("squeezenet", "squeezenet_v1.1.weights.h5")],
)
def test_imagenet_weights_tell_spectrograms_apart(rng, name, file):
    if not (REAL / file).is_file():
        pytest.skip(f"no {REAL / file}; set DSLITE_REAL_WEIGHTS")
    used = Settings(chunk_length_s=1.0, image_size=96, backbone=name, weights=str(REAL / file))
    times = np.arange(16000) / 16000
    waves = [
        np.sin(2 * np.pi * 300 * times),
        np.sin(6000 * np.pi * times**2),
        rng.normal(size=16000),
    ]
    pictures = classifier.inputs(spectrogram.mel_image(np.float32(waves), used), used)
    features = classifier.feature_extractor(used)(pictures).numpy()
    assert np.isfinite(features).all()
    assert (features.std(axis=0) > 0.01 * features.std()).sum() >= 100


# The others take half a minute to five minutes each, most of it the tracing and conversion of
# hundreds of layers.
LEAN = {"mobilenet_v2", "mobilenet_v3_small", "squeezenet"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n if n in LEAN else pytest.param(n, marks=pytest.mark.huge) for n in BACKBONE_NAMES]
)
def test_from_the_registry_to_the_device(name, cache, tmp_path):
    # A process of its own: TensorFlow keeps the graphs of all networks, many GiB for sixteen.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(whole_life, name, tmp_path).result()


def whole_life(name: str, folder: Path) -> None:
    """Build, cut, train one step, save, load and convert a network, at its smallest image."""
    from dslite.deployment import convert, runtime
    from dslite.training import loop, steps

    size, file = max(32, backbones.BACKBONES[name].smallest), folder / "random.weights.h5"
    backbones.build_backbone(name, "random", size).save_weights(file)
    used = Settings(  # weights from a file: as if pre-trained, so that there is something to cut
        **{"backbone": name, "weights": str(file), "image_size": size, "mel_bands": 32},
        **{"chunk_length_s": 1.0, "units": 8, "augmentation": "cutmix+specaugment"},
        **{"optimizer": "adam", "batch_size": 2},
    )
    chunks, drawn = np.arange(2), np.random.default_rng(0)
    mel = drawn.integers(0, 256, (2, 32, spectrogram.frames(used)), dtype=np.uint8)
    table = pd.DataFrame({"label": ["low", "high"], "partition": "train"})
    store = Store(mel, chunks, np.zeros(2), table, folder, (), name)
    card = cards.Card(dataset="noise", layout="table", title="Noise", classes=("low", "high"))
    task = steps.task_of(card, used, store)
    network = loop.build_model(task, chunks, seed=0)
    last = classifier.trained_layers(used, len(classifier.backbone_of(network).layers))
    assert last > 0
    classifier.set_trained(network, last)
    stage = steps.Trunks(task, log=lambda line: None).stage(network, last)
    assert stage.stored is not None
    optimiser = steps.optimizer(used, 1e-3, network.trainable_variables)
    step = steps.train_step(network, stage, task, optimiser)
    (loss,) = loop.epoch_losses(step, stage, task, chunks, drawn)
    assert np.isfinite(loss).all()
    # What is stored and the tail are together the whole network.
    expected = classifier.predictor(network, used)(mel).numpy()
    outputs = steps.predictor(network, stage, task)(chunks)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)

    network.save(folder / "model.keras")
    reloaded, device = classifier.load_classifier(folder / "model.keras"), folder / "cnn.tflite"
    device.write_bytes(convert.convert(convert.functions(reloaded, used)["cnn"], reloaded))
    run = runtime.runner(device)
    on_device = np.concatenate([run(mel[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(on_device, expected, rtol=1e-2, atol=2e-3)

"""The image CNNs: published structure, input scaling, weights from files.

Only small ones are built, at small sizes; facts of the registry are tested for all, and all of them
go from the registry to the device in a slow test.
"""

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
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.models import backbones, classifier, weights
from dslite.settings import BACKBONE_NAMES, Settings

REAL = Path(os.environ.get("DSLITE_REAL_WEIGHTS", paths.ROOT.parent / "shared" / "weights"))
SIDE = 32


def refusal(function, *arguments) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture(scope="module")
def networks():
    """A network with layers of one kind and one of many kinds, with random weights."""
    keras.utils.set_random_seed(0)
    return {
        name: backbones.build_backbone(name, "random", SIDE)
        for name in ("squeezenet", "mobilenet_v2")
    }


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    """Weights of these networks in Keras' own format."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in networks.items():
        network.save_weights(folder / f"{name}.weights.h5")
    return {name: folder / f"{name}.weights.h5" for name in networks}


# Structure and scaling


def published_squeezenet():
    """Kernels of SqueezeNet 1.1 in order (the authors' deploy.prototxt): name, shape."""
    yield "conv1", (3, 3, 3, 64)
    channels = 64
    plan = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
    for number, (squeeze, expand) in enumerate(plan, start=2):
        yield f"fire{number}_squeeze1x1", (1, 1, channels, squeeze)
        yield f"fire{number}_expand1x1", (1, 1, squeeze, expand)
        yield f"fire{number}_expand3x3", (3, 3, squeeze, expand)
        channels = 2 * expand


def test_squeezenet_is_the_published_network(networks):
    layers = networks["squeezenet"].layers
    kernels = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(each.name, each.kernel.shape) for each in kernels] == list(published_squeezenet())
    assert all(each.activation is keras.activations.relu for each in kernels)
    assert networks["squeezenet"].count_params() == 722_496
    pools = [
        (layers[i + 1].name, layer.pool_size, layer.strides)
        for i, layer in enumerate(layers)
        if isinstance(layer, keras.layers.MaxPooling2D)
    ]
    before = ["fire2_squeeze1x1", "fire4_squeeze1x1", "fire6_squeeze1x1"]
    assert pools == [(name, (3, 3), (2, 2)) for name in before]


def test_output_shapes(networks):
    assert networks["squeezenet"].output_shape == (None, 1, 1, 512)
    # 224 -> conv1 111 -> pools 55, 27, 13
    large = backbones.BACKBONES["squeezenet"].build(224)
    assert large.output_shape == (None, 13, 13, 512)
    assert networks["mobilenet_v2"].output_shape == (None, 1, 1, 1280)
    assert networks["mobilenet_v2"].count_params() == 2_257_984


def test_the_registry_holds_every_backbone_of_the_settings():
    assert tuple(backbones.BACKBONES) == BACKBONE_NAMES
    for name, entry in backbones.BACKBONES.items():
        assert entry.imagenet is weights.IMAGENET[name]
        plain = "".join(c for c in entry.title.lower().removesuffix(" 1.1") if c.isalnum())
        assert plain == name.replace("_", "")


MODULES = {
    **{"vgg16": "vgg16", "vgg19": "vgg19", "resnet50": "resnet50", "xception": "xception"},
    **{"inception_v3": "inception_v3", "densenet121": "densenet", "densenet169": "densenet"},
    **{"densenet201": "densenet", "mobilenet": "mobilenet", "mobilenet_v2": "mobilenet_v2"},
    **{"nasnet_large": "nasnet", "nasnet_mobile": "nasnet", "squeezenet": "imagenet_utils"},
    **{"inception_resnet_v2": "inception_resnet_v2"},
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
    if name in MODULES:  # Keras' own: SqueezeNet's weights come from Caffe, the default
        module = getattr(keras.applications, MODULES[name])
        np.testing.assert_allclose(scaled, module.preprocess_input(rgb.copy()), atol=1e-4)
    else:
        assert name in SCALED_INSIDE


@pytest.mark.parametrize(
    "name", [pytest.param("efficientnet_v2_b0", marks=pytest.mark.slow), "mobilenet_v3_small"]
)
def test_scaling_is_that_inside_the_published_network(rng, name):
    """What the network that the weights were published for does to raw RGB."""
    published = SCALED_INSIDE[name](include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    network = backbones.build_backbone(name, "random", SIDE)
    network.set_weights(published.get_weights())
    inner = [type(layer).__name__ for layer in network.layers]
    assert not {"Rescaling", "Normalization"} & set(inner)
    rgb = rng.uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    first = next(x.name for x in network.layers if isinstance(x, keras.layers.Conv2D))
    ends = [(published.get_layer(first).output, network.get_layer(first).output)]
    for theirs, ours in [*ends, (published.output, network.output)]:
        expected = keras.Model(published.input, theirs)(rgb).numpy()
        cut = keras.Model(network.input, ours)
        output = cut(backbones.BACKBONES[name].scale(rgb)).numpy()
        size = np.abs(expected).max()
        assert size > 0
        np.testing.assert_allclose(output, expected, atol=1e-4 * size)
        assert np.abs(cut(rgb / 255).numpy() - expected).max() > 0.01 * size


# Image sizes and layers


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_an_image_that_is_too_small(name):
    entry = backbones.BACKBONES[name]
    with pytest.raises(ValueError, match=r"at least|zero or negative"):
        entry.build(entry.smallest - 1)  # what Keras says without us
    message = refusal(backbones.build_backbone, name, "imagenet", entry.smallest - 1)
    assert message == (
        f"image_size {entry.smallest - 1} is too small for {entry.title} (backbone={name}), "
        f"which needs {entry.smallest} pixels at the least"
    )


@pytest.mark.parametrize(
    ("name", "last"), [("squeezenet", "fire9_concat"), ("inception_v3", "mixed10")]
)
def test_the_smallest_image(name, last):
    network = backbones.build_backbone(name, "random", backbones.BACKBONES[name].smallest)
    assert min(network.output_shape[1:]) >= 1
    # Names as in a fresh process, where Keras' own numbers begin with none.
    names = [layer.name for layer in network.layers]
    assert names[-1] == last
    if name == "inception_v3":
        assert {"conv2d", "conv2d_93"} <= set(names)
        assert "conv2d_94" not in names


@pytest.mark.parametrize(
    ("name", "layer"),
    [("squeezenet", "fire5_concat"), ("mobilenet_v2", "block_13_expand_relu")],
)
def test_a_network_that_ends_at_a_feature_layer(rng, networks, files, name, layer):
    cut = backbones.build_backbone(name, str(files[name]), SIDE, layer)
    whole = networks[name]
    assert cut.name == whole.name
    assert cut.layers[-1].name == layer
    assert [x.name for x in cut.layers[1:]] == [x.name for x in whole.layers[1 : len(cut.layers)]]
    picture = rng.normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    expected = keras.Model(whole.input, whole.get_layer(layer).output)(picture)
    np.testing.assert_array_equal(cut(picture), expected)


def test_names_of_layers_do_not_depend_on_what_was_built_before(rng, tmp_path):
    first, network = (
        backbones.build_backbone("mobilenet_v3_small", "random", SIDE, "activation_12")
        for _ in range(2)
    )
    names = [layer.name for layer in network.layers]
    assert names[1:] == [layer.name for layer in first.layers[1:]]
    assert len(set(names)) == len(names)
    assert names[-1] == "activation_12"
    # And a network whose layers were named anew can be saved.
    network.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert [layer.name for layer in again.layers] == names
    picture = rng.normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(picture), network(picture))


def test_a_part_needs_all_weights(files, tmp_path):
    path = tmp_path / "nan.weights.h5"
    path.write_bytes(files["squeezenet"].read_bytes())
    with h5py.File(path, "a") as file:
        file["layers/conv2d_20/vars/0"][:] = np.nan  # behind the layer that is asked for
    refusal(backbones.build_backbone, "squeezenet", str(path), SIDE, "fire2_concat")


@pytest.mark.parametrize(
    ("name", "layer", "reason", "hint"),
    [
        ("squeezenet", "fire5_conca", "does not exist", "; did you mean 'fire5_concat'?"),
        ("squeezenet", "image", "is the input", "; there is: fire9_concat, fire9_expand3x3"),
        ("squeezenet", "imag", "does not exist", "; there is: fire9_concat, fire9_expand3x3"),
        ("squeezenet", "zzz", "does not exist", "; there is: fire9_concat, fire9_expand3x3"),
        ("mobilenet_v3_small", "zzz", "does not exist", "; there is: activation"),
        ("pooled", "pooling", "has an output of shape (None, 4)", "; there is: maps"),
    ],
)
def test_a_layer_without_feature_maps(monkeypatch, name, layer, reason, hint):
    def pooled(size):
        image = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(4, 3, name="maps")(image)
        return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pooling")(x))

    entry = backbones.Backbone("Pooled", pooled, tf.identity, None)
    monkeypatch.setitem(backbones.BACKBONES, "pooled", entry)
    message = refusal(backbones.build_backbone, name, "random", SIDE, layer)
    title = backbones.BACKBONES[name].title
    assert message.startswith(f"feature_layer {layer} of {title} {reason}; it takes a layer whose")
    assert "output is [batch, rows, columns, maps]" + hint in message
    assert len(message) < 400


def test_a_wrong_layer_is_told_before_weights_are_fetched(monkeypatch):
    monkeypatch.setattr(backbones, "fetch", lambda source: pytest.fail("fetched"))
    refusal(backbones.build_backbone, "squeezenet", "imagenet", SIDE, "zzz")


# Weights by path


def same_weights(one, other) -> None:
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v2"])
def test_weights_come_back(rng, networks, files, name):
    loaded = backbones.build_backbone(name, str(files[name]), SIDE)
    same_weights(loaded, networks[name])
    picture = rng.normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(picture), networks[name](picture))


def test_weights_fit_every_image_size(networks, files):
    loaded = backbones.build_backbone("squeezenet", str(files["squeezenet"]), 64)
    assert loaded.output_shape == (None, 3, 3, 512)
    same_weights(loaded, networks["squeezenet"])


def test_weights_stored_in_half_precision(networks, files, tmp_path):
    half = tmp_path / "half.weights.h5"
    with h5py.File(files["squeezenet"]) as full, h5py.File(half, "w") as smaller:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                smaller[name] = item[()].astype(np.float16)  # HDF5's own rounds less well
            else:
                smaller.require_group(name).attrs.update(item.attrs)

        full.visititems(copy)
        smaller.attrs.update(full.attrs)
    assert half.stat().st_size < 0.6 * files["squeezenet"].stat().st_size
    loaded = backbones.build_backbone("squeezenet", str(half), SIDE)
    for read, full in zip(loaded.weights, networks["squeezenet"].weights, strict=True):
        assert read.dtype == "float32"
        np.testing.assert_array_equal(read.numpy(), full.numpy().astype(np.float16))


def test_weights_of_the_same_seed_are_no_strangers(tmp_path):
    """A network that is born with the file's values has loaded them all the same."""
    keras.utils.set_random_seed(5)
    backbones.build_backbone("squeezenet", "random", SIDE).save_weights(tmp_path / "a.weights.h5")
    keras.utils.set_random_seed(5)
    backbones.build_backbone("squeezenet", str(tmp_path / "a.weights.h5"), SIDE)


@pytest.mark.parametrize(
    ("name", "other", "legacy"),
    [
        ("squeezenet", "mobilenet_v2", False),
        ("squeezenet", "mobilenet_v2", True),
        ("mobilenet_v2", "squeezenet", False),
    ],
)
def test_weights_of_another_network(networks, files, tmp_path, name, other, legacy):
    path = files[other]
    if legacy:
        path = tmp_path / "old.h5"
        write_legacy(networks[other], path)
    message = refusal(backbones.build_backbone, name, str(path), SIDE)
    assert message.startswith(f"weights {path} ")
    assert backbones.BACKBONES[name].title in message


@pytest.mark.parametrize("change", ["lack the first", "lack the last", "nan"])
def test_weights_that_leave_a_kernel_unset(files, tmp_path, change):
    path = tmp_path / "part.weights.h5"
    path.write_bytes(files["squeezenet"].read_bytes())
    with h5py.File(path, "a") as file:
        layers = file["layers"]
        if change == "nan":
            layers["conv2d_7/vars/0"][0, 0, 0, 0] = np.nan
        else:
            values = layers["conv2d" if change == "lack the first" else "conv2d_24"]["vars"]
            del values["0"], values["1"]
    message = refusal(backbones.build_backbone, "squeezenet", str(path), SIDE)
    assert message.startswith(f"weights {path} ")
    if change == "nan":
        assert "leave 1 of 25 kernels of SqueezeNet 1.1 unset or NaN" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.weights.h5", b"these are no weights"),
        ("empty.weights.h5", b""),
        ("cut.weights.h5", None),
        ("text.h5", b"these are no weights"),
        ("text.keras", b"these are no weights"),
        ("weights.txt", b"these are no weights"),
        ("absent.weights.h5", ...),
    ],
)
def test_unreadable_weights(files, tmp_path, name, content):
    if content is None:
        whole = files["squeezenet"].read_bytes()
        content = whole[: len(whole) // 2]
    if content is not ...:
        (tmp_path / name).write_bytes(content)
    message = refusal(backbones.build_backbone, "squeezenet", str(tmp_path / name), SIDE)
    assert message.startswith(f"weights {tmp_path / name} do not fit SqueezeNet 1.1 without top: ")


def write_legacy(network, path) -> None:
    """Weights in the format of the published files."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def test_published_weights_are_fetched_and_loaded(networks, monkeypatch, tmp_path):
    write_legacy(networks["mobilenet_v2"], tmp_path / "a.h5")
    files = {weights.IMAGENET["mobilenet_v2"]: tmp_path / "a.h5"}
    monkeypatch.setattr(backbones, "fetch", files.pop)
    loaded = backbones.build_backbone("mobilenet_v2", "imagenet", SIDE)
    same_weights(loaded, networks["mobilenet_v2"])


# The published file of SqueezeNet


def published_layers():
    """Layers of the network that its file was saved from, in order (squeezenet.py beside it)."""
    yield from ("input_1", "conv1", "relu_conv1", "pool1")
    for number in range(2, 10):
        fire = f"fire{number}"
        yield from (f"{fire}/squeeze1x1", f"{fire}/relu_squeeze1x1", f"{fire}/expand1x1")
        yield from (f"{fire}/expand3x3", f"{fire}/relu_expand1x1", f"{fire}/relu_expand3x3")
        yield f"{fire}/concat"
        if number in (3, 5):
            yield f"pool{number}"


def test_the_published_file_of_squeezenet(rng, tmp_path):
    """Its layout, of Keras 1: a slash in a layer's name, layers without weights, no version."""
    shapes = dict(published_squeezenet())
    values = {}
    with h5py.File(tmp_path / "squeezenet.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in published_layers()]
        for name in published_layers():
            group = file.create_group(name)
            shape = shapes.get(name.replace("/", "_"))
            parts = {"W": shape, "b": shape[-1:]} if shape else {}
            group.attrs["weight_names"] = [f"{name}_{part}:0".encode() for part in parts]
            for part, size in parts.items():
                value = rng.normal(size=size).astype(np.float32)
                group.create_dataset(f"{name}_{part}:0", data=value)
                values.setdefault(name.replace("/", "_"), []).append(value)
    network = backbones.build_backbone("squeezenet", str(tmp_path / "squeezenet.h5"), SIDE)
    assert values.keys() == shapes.keys()
    for name, (kernel, bias) in values.items():
        layer = network.get_layer(name)
        np.testing.assert_array_equal(layer.kernel, kernel)
        np.testing.assert_array_equal(layer.bias, bias)


# Real weights


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "file"),
    [("mobilenet_v2", "mobilenet_v2.weights.h5"), ("squeezenet", "squeezenet_v1.1.weights.h5")],
)
def test_imagenet_weights_tell_spectrograms_apart(rng, name, file):
    if not (REAL / file).is_file():
        pytest.skip(f"no {REAL / file}; set DSLITE_REAL_WEIGHTS")
    used = Settings(chunk_length_s=1.0, image_size=96)
    times = np.arange(16000) / 16000
    waves = [np.sin(2 * np.pi * 300 * times), np.sin(2 * np.pi * 3000 * times**2)]
    waves.append(rng.normal(size=16000))
    mel = spectrogram.mel_image(np.float32(waves), used)
    pictures = backbones.BACKBONES[name].scale(spectrogram.picture(mel, used))
    maps = backbones.build_backbone(name, str(REAL / file), 96)(pictures, training=False).numpy()
    assert np.isfinite(maps).all()
    features = maps.mean(axis=(1, 2))
    assert features.std(axis=1).min() > 0
    assert (features.std(axis=0) > 0.01 * features.std()).sum() >= 100


# From the registry to the device


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_from_the_registry_to_the_device(name, cache, tmp_path):
    # A process of its own: TensorFlow keeps the graphs of all networks, many GiB for sixteen.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(whole_life, name, tmp_path).result()


def whole_life(name: str, folder: Path) -> None:
    """Build, cut, train one step, save, load and convert a network."""
    from dslite.deployment import convert, runtime
    from dslite.training import loop, steps

    size, file = max(64, backbones.BACKBONES[name].smallest), folder / "random.weights.h5"
    backbones.build_backbone(name, "random", size).save_weights(file)
    used = Settings(  # weights from a file: as if pre-trained, so that there is something to cut
        **{"backbone": name, "weights": str(file), "image_size": size, "mel_bands": 32},
        **{"chunk_length_s": 1.0, "units": 8, "augmentation": "cutmix+specaugment"},
        **{"optimizer": "adam", "batch_size": 2},
    )
    chunks, classes = np.arange(4), ("low", "high")
    shape = (4, 32, spectrogram.frames(used))
    mel = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    table = pd.DataFrame({"label": ["low", "high"] * 2, "partition": "train"})
    store = Store(mel, chunks, np.zeros(4), table, folder, (), name)
    card = cards.Card(dataset="noise", layout="table", title="Noise", classes=classes)
    task = steps.task_of(card, used, store)
    network = loop.build_model(task, chunks, seed=0)
    backbone = classifier.backbone_of(network)
    frozen = {v.path: v.numpy() for v in backbone.non_trainable_variables}
    trunks = steps.Trunks(task, log=lambda line: None)
    count = classifier.trained_layers(used, len(backbone.layers))
    assert count > 0
    for last in (0, count):
        classifier.set_trained(network, last)
        stage = trunks.stage(network, last)
        assert stage.stored is not None
        # What is stored and the tail are together the whole network.
        expected = classifier.predictor(network, used)(mel).numpy()
        outputs = steps.predictor(network, stage, task)(chunks)
        np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
        before = [v.numpy() for v in network.trainable_variables]
        optimiser = steps.optimizer(used, 1e-3, network.trainable_variables)
        step = steps.train_step(network, stage, task, optimiser)
        losses = list(loop.epoch_losses(step, stage, task, chunks, np.random.default_rng(0)))
        assert np.isfinite(losses).all()
        after = [v.numpy() for v in network.trainable_variables]
        assert any((a != b).any() for a, b in zip(before, after, strict=True))
    for variable in backbone.non_trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), frozen[variable.path])

    network.save(folder / "model.keras")
    reloaded = classifier.load_classifier(folder / "model.keras")
    expected = classifier.predictor(network, used)(mel).numpy()
    again = classifier.predictor(reloaded, used)(mel).numpy()
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)
    device = folder / "cnn.tflite"
    device.write_bytes(convert.convert(convert.functions(reloaded, used)["cnn"], reloaded))
    run = runtime.runner(device)
    on_device = np.concatenate([run(mel[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(on_device, expected, rtol=1e-2, atol=2e-3)

"""The image CNNs: published structure, input scaling, weights from files and from a server.

Only small ones are built, at small sizes; facts of the registry are tested for all.
"""

import dataclasses
import hashlib
import inspect
import os
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from dslite import paths
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models import backbones, weights
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
    network = networks["squeezenet"]
    found = [
        (layer.name, layer.kernel.shape)
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert found == list(published_squeezenet())
    assert network.count_params() == 722_496
    assert sum(np.prod(shape) + shape[-1] for _, shape in published_squeezenet()) == 722_496
    assert all(
        layer.activation is keras.activations.relu
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def test_squeezenet_pools_before_fire_2_4_and_6(networks):
    order = [layer.name for layer in networks["squeezenet"].layers]
    pools = [
        (order[i + 1], layer.pool_size, layer.strides)
        for i, layer in enumerate(networks["squeezenet"].layers)
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


def test_densenet121_has_the_papers_layers():
    network = backbones.build_backbone("densenet121", "random", SIDE)
    assert len(network.layers) == 427
    assert network.count_params() == 7_037_504
    assert network.output_shape == (None, 1, 1, 1024)


def test_the_registry_holds_every_backbone_of_the_settings():
    assert tuple(backbones.BACKBONES) == BACKBONE_NAMES == tuple(weights.IMAGENET)
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
    found = backbones.BACKBONES[name].scale(tf.constant(rgb))
    assert found.dtype == "float32"
    if name in MODULES:  # Keras' own: SqueezeNet's weights come from Caffe, the default
        module = getattr(keras.applications, MODULES[name])
        np.testing.assert_allclose(found, module.preprocess_input(rgb.copy()), atol=1e-4)
    else:
        assert name in SCALED_INSIDE


@pytest.mark.parametrize("name", SCALED_INSIDE)
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
        found = cut(backbones.BACKBONES[name].scale(rgb)).numpy()
        size = np.abs(expected).max()
        assert size > 0
        np.testing.assert_allclose(found, expected, atol=1e-4 * size)
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


@pytest.mark.parametrize("name", ["squeezenet", "xception", "inception_v3", "mobilenet"])
def test_the_smallest_image(name):
    smallest = backbones.BACKBONES[name].smallest
    assert min(backbones.build_backbone(name, "random", smallest).output_shape[1:]) >= 1


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


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "inception_v3", "squeezenet"])
def test_names_of_layers_do_not_depend_on_what_was_built_before(name):
    side = backbones.BACKBONES[name].smallest
    plain = backbones.BACKBONES[name].build(side)
    first, second = (backbones.build_backbone(name, "random", side) for _ in range(2))
    names = [layer.name for layer in first.layers[1:]]
    assert names == [layer.name for layer in second.layers[1:]]
    assert len(set(names)) == len(names)
    # As in a fresh process, where Keras' own numbers begin with none
    last = {"mobilenet_v3_small": "activation_17", "inception_v3": "mixed10"}
    assert names[-1] == last.get(name, "fire9_concat")
    kinds = [re.sub(r"_\d+$", "", layer.name) for layer in plain.layers[1:]]
    assert [re.sub(r"_\d+$", "", each) for each in names] == kinds
    if name == "inception_v3":
        assert "conv2d_93" in names
        assert "conv2d_94" not in names


def test_a_renamed_network_can_be_saved(rng, tmp_path):
    network = backbones.build_backbone("mobilenet_v3_small", "random", SIDE, "activation_12")
    network.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert [layer.name for layer in again.layers] == [layer.name for layer in network.layers]
    picture = rng.normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(picture), network(picture))


def test_the_last_feature_layer_is_the_whole_network(networks):
    cut = backbones.build_backbone("squeezenet", "random", SIDE, "fire9_concat")
    assert cut.output_shape == networks["squeezenet"].output_shape
    assert cut.count_params() == 722_496


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
        (
            "efficientnet_v2_b0",
            "block5a_se_squeeze",
            "has an output of shape (None, 576)",
            "; did you mean 'block5a_se_",
        ),
    ],
)
def test_a_layer_without_feature_maps(name, layer, reason, hint):
    message = refusal(backbones.build_backbone, name, "random", SIDE, layer)
    title = backbones.BACKBONES[name].title
    assert message.startswith(f"feature_layer {layer} of {title} {reason}; it takes a layer whose")
    assert "output is [batch, rows, columns, maps]" + hint in message
    assert len(message) < 400


def test_a_wrong_layer_is_told_before_weights_are_fetched(server):
    refusal(backbones.build_backbone, "squeezenet", "imagenet", SIDE, "zzz")
    assert not server.asked


# Weights by path


def same_weights(one, other, atol=0.0) -> None:
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=atol)


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
    for found, full in zip(loaded.weights, networks["squeezenet"].weights, strict=True):
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found.numpy(), full.numpy().astype(np.float16))


def test_weights_of_the_same_seed_are_no_strangers(tmp_path):
    """A network that is born with the file's values has loaded them all the same."""
    keras.utils.set_random_seed(5)
    backbones.build_backbone("squeezenet", "random", SIDE).save_weights(tmp_path / "a.weights.h5")
    keras.utils.set_random_seed(5)
    backbones.build_backbone("squeezenet", str(tmp_path / "a.weights.h5"), SIDE)


@pytest.mark.parametrize(
    ("name", "other"), [("squeezenet", "mobilenet_v2"), ("mobilenet_v2", "squeezenet")]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_another_network(networks, files, tmp_path, name, other, legacy):
    path = files[other]
    if legacy:
        path = tmp_path / "old.h5"
        write_legacy(networks[other], path)
    message = refusal(backbones.build_backbone, name, str(path), SIDE)
    assert message.startswith(f"weights {path} ")
    assert backbones.BACKBONES[name].title in message


@pytest.mark.parametrize("where", ["conv1", "fire9_expand3x3"])
def test_weights_that_lack_a_layer(files, tmp_path, where):
    position = [name for name, _ in published_squeezenet()].index(where)
    path = tmp_path / "part.weights.h5"
    path.write_bytes(files["squeezenet"].read_bytes())
    with h5py.File(path, "a") as file:
        group = "layers/conv2d" + (f"_{position}" if position else "")
        del file[group]["vars"]["0"], file[group]["vars"]["1"]
    assert str(path) in refusal(backbones.build_backbone, "squeezenet", str(path), SIDE)


def test_weights_that_are_no_numbers(files, tmp_path):
    path = tmp_path / "nan.weights.h5"
    path.write_bytes(files["squeezenet"].read_bytes())
    with h5py.File(path, "a") as file:
        file["layers/conv2d_7/vars/0"][0, 0, 0, 0] = np.nan
    message = refusal(backbones.build_backbone, "squeezenet", str(path), SIDE)
    assert message.startswith(f"weights {path} leave 1 of 25 kernels of SqueezeNet 1.1 unset")


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


# Weights from a server


def write_legacy(network, path) -> None:
    """Weights in the format of the published files."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


@dataclasses.dataclass
class Server:
    """A host of files: what it holds and what it was asked for."""

    url: str
    content: dict[str, bytes]
    asked: Counter


@pytest.fixture
def server(cache, monkeypatch):
    content, asked = {}, Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/files/")
            asked[name] += 1
            if name not in content:
                self.send_error(404)
                return
            body = content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.removesuffix(b"<lost>"))

        def log_message(self, *_):
            """Quiet."""

    host = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=host.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{host.server_port}/files"
    monkeypatch.setenv(weights.MIRROR, f"{url}/")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield Server(url, content, asked)
    host.shutdown()
    host.server_close()


def publish(monkeypatch, name, **differs) -> str:
    """Change what the registry says of a backbone's file; its name."""
    entry = backbones.BACKBONES[name]
    file = dataclasses.replace(entry.imagenet, **differs)
    monkeypatch.setitem(backbones.BACKBONES, name, dataclasses.replace(entry, imagenet=file))
    return file.url.rpartition("/")[2]


def stored(cache) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def checksum(content: bytes, kind: str = "md5") -> str:
    return f"{kind}:{hashlib.new(kind, content, usedforsecurity=False).hexdigest()}"


def assert_remedies(message, file) -> None:
    """A download that failed says what to do."""
    assert message.endswith(
        f"; get the file in another way and give its path (weights=.../{file}), "
        "or do without it (weights=random)"
    )


def test_every_registry_entry_can_be_checked():
    for name, file in weights.IMAGENET.items():
        assert file.url.startswith("https://"), name
        assert file.name.endswith(".h5"), name
        assert "top" in file.name, name  # without it, that is
        assert file.licence in {"MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0"}, name
        if file.checksum:
            kind, _, digits = file.checksum.partition(":")
            assert len(bytes.fromhex(digits)) == {"md5": 16, "sha256": 32}[kind], name
        else:
            assert name in {"mobilenet", "mobilenet_v2"}
            # HDF5 adds a little to the numbers; MobileNet's file has the size of the one with top.
            numbers = {"mobilenet": 4_253_864, "mobilenet_v2": 2_257_984}[name]
            assert 1 < file.size / (4 * numbers) < 1.05
    urls = {file.url for file in weights.IMAGENET.values()}
    assert len(urls) == len(BACKBONE_NAMES)


@pytest.mark.parametrize("name", [n for n in BACKBONE_NAMES if n != "squeezenet"])
def test_files_and_checksums_are_those_of_keras(name):
    """The installed Keras names the same file and the same checksum for this network."""
    entry = backbones.BACKBONES[name]
    source = Path(inspect.getfile(inspect.unwrap(getattr(keras.applications, entry.title))))
    text = re.sub(r'"\s*f?"', "", source.read_text("utf-8"))  # strings over several lines
    folder = entry.imagenet.url.removesuffix(entry.imagenet.name)
    assert folder in text
    if entry.imagenet.checksum:
        assert entry.imagenet.checksum.removeprefix("md5:") in text
        before = text[: text.index(entry.imagenet.checksum.removeprefix("md5:"))]
        kind = re.sub("[^a-z0-9]", "", name)
        near = re.sub("[^a-z0-9]", "", before[-500:].lower())
        known = {"efficientnetv2b0": "b0", "mobilenetv3small": "small22410float"}
        assert known.get(kind, kind) in near
    else:
        assert "file_hash" not in text


def test_download_by_checksum_happens_once(server, cache, monkeypatch):
    content = b"weights" * 100
    for name, kind in (("densenet121", "md5"), ("squeezenet", "sha256")):
        file = publish(monkeypatch, name, checksum=checksum(content, kind))
        server.content[file] = content
        path = backbones.download(name)
        assert path == cache / "weights" / file
        assert path.read_bytes() == content
        assert backbones.download(name) == path
        assert server.asked.pop(file) == 1
    assert len(stored(cache)) == 2


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(692)


@pytest.mark.parametrize("size", [700, None])
def test_download_without_checksum_happens_once(server, cache, monkeypatch, size):
    file = publish(monkeypatch, "mobilenet_v2", size=size)
    server.content[file] = HDF5
    assert backbones.download("mobilenet_v2").read_bytes() == HDF5
    backbones.download("mobilenet_v2")
    assert server.asked == {file: 1}
    assert stored(cache) == [file]


@pytest.mark.parametrize("size", [700, None])
def test_a_page_instead_of_a_file(server, cache, monkeypatch, size):
    """What a hotel's network answers to everything."""
    file = publish(monkeypatch, "mobilenet_v2", size=size)
    server.content[file] = b"<html>Please log in</html>".ljust(700)
    message = refusal(backbones.download, "mobilenet_v2")
    assert message.startswith(f"{server.url}/{file} is not an HDF5 file; ")
    assert_remedies(message, file)
    assert stored(cache) == []
    server.content[file] = HDF5
    assert backbones.download("mobilenet_v2").read_bytes() == HDF5


def test_downloaded_weights_are_loaded(server, networks, monkeypatch, tmp_path):
    """The whole way of ``weights=imagenet``, in the published files' old format."""
    write_legacy(networks["mobilenet_v2"], tmp_path / "a.h5")
    content = (tmp_path / "a.h5").read_bytes()
    file = publish(monkeypatch, "mobilenet_v2", size=len(content))
    server.content[file] = content
    same_weights(
        backbones.build_backbone("mobilenet_v2", "imagenet", SIDE), networks["mobilenet_v2"]
    )


def test_wrong_checksum(server, cache, monkeypatch):
    file = publish(monkeypatch, "densenet121", checksum=checksum(b"right"))
    server.content[file] = b"wrong"
    message = refusal(backbones.download, "densenet121")
    assert message.startswith(f"{server.url}/{file} is not the published file")
    assert_remedies(message, file)
    assert stored(cache) == []
    server.content[file] = b"right"
    assert backbones.download("densenet121").read_bytes() == b"right"


@pytest.mark.parametrize("known", [{"checksum": checksum(HDF5)}, {"checksum": None, "size": 700}])
def test_damaged_copy_in_the_cache_is_fetched_again(server, cache, monkeypatch, known):
    file = publish(monkeypatch, "densenet121", **known)
    server.content[file] = HDF5
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / file).write_bytes(b"damaged")
    assert backbones.download("densenet121").read_bytes() == HDF5


@pytest.mark.parametrize("size", [5, 900])
def test_wrong_size(server, cache, monkeypatch, size):
    file = publish(monkeypatch, "mobilenet_v2", size=700)
    server.content[file] = bytes(size)
    message = refusal(backbones.download, "mobilenet_v2")
    assert message.startswith(f"{server.url}/{file} has {size} bytes instead of 700")
    assert_remedies(message, file)
    assert stored(cache) == []


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121"])
def test_connection_lost_half_way(server, cache, monkeypatch, name):
    file = publish(monkeypatch, name)
    server.content[file] = bytes(5000) + b"<lost>"
    message = refusal(backbones.download, name)
    assert message.startswith(f"{server.url}/{file} ")
    assert_remedies(message, file)
    assert stored(cache) == []


def test_file_is_not_on_the_server(server, cache, monkeypatch):
    file = publish(monkeypatch, "mobilenet_v2")
    message = refusal(backbones.download, "mobilenet_v2")
    assert message.startswith(f"{server.url}/{file} cannot be downloaded (404")
    assert_remedies(message, file)
    assert stored(cache) == []


def test_no_connection(server, cache, monkeypatch):
    monkeypatch.setenv(weights.MIRROR, "http://127.0.0.1:9/files")  # nobody listens there
    file = publish(monkeypatch, "densenet121")
    message = refusal(backbones.download, "densenet121")
    assert message.startswith(f"http://127.0.0.1:9/files/{file} cannot be downloaded (")
    assert "refused" in message
    assert_remedies(message, file)
    assert stored(cache) == []


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

"""The image CNNs: published structure, input scaling, weights from files and from a server."""

import dataclasses
import hashlib
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from dslite import backbones, paths, spectrogram
from dslite.errors import InputError
from dslite.settings import Settings

REAL = Path(os.environ.get("DSLITE_REAL_WEIGHTS", paths.ROOT.parent / "shared" / "weights"))
SIDE = 32


def refusal(function, *arguments) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture(scope="module")
def networks():
    """One network of each kind but DenseNet121, with random weights."""
    keras.utils.set_random_seed(0)
    return {name: backbones.build(name, "random", SIDE) for name in ("squeezenet", "mobilenet_v2")}


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
    network = backbones.build("densenet121", "random", SIDE)
    assert len(network.layers) == 427
    assert network.count_params() == 7_037_504
    assert network.output_shape == (None, 1, 1, 1024)


@pytest.mark.parametrize(
    ("name", "mode"), [("densenet121", "torch"), ("mobilenet_v2", "tf"), ("squeezenet", "caffe")]
)
def test_scaling_is_that_of_pre_training(rng, name, mode):
    rgb = rng.uniform(0, 255, (2, 5, 6, 3)).astype(np.float32)
    before = rgb.copy()
    expected = keras.applications.imagenet_utils.preprocess_input(rgb.copy(), mode=mode)
    found = backbones.BACKBONES[name].scale(rgb)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(rgb, before)


@pytest.mark.parametrize(
    ("name", "module"), [("densenet121", "densenet"), ("mobilenet_v2", "mobilenet_v2")]
)
def test_scaling_is_the_applications(rng, name, module):
    rgb = rng.uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    expected = getattr(keras.applications, module).preprocess_input(rgb.copy())
    np.testing.assert_allclose(backbones.BACKBONES[name].scale(rgb), expected, atol=1e-5)


# Weights by path


def same_weights(one, other, atol=0.0) -> None:
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v2"])
def test_weights_come_back(rng, networks, files, name):
    loaded = backbones.build(name, str(files[name]), SIDE)
    same_weights(loaded, networks[name])
    picture = rng.normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(picture), networks[name](picture))


def test_weights_fit_every_image_size(networks, files):
    loaded = backbones.build("squeezenet", str(files["squeezenet"]), 64)
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
    loaded = backbones.build("squeezenet", str(half), SIDE)
    for found, full in zip(loaded.weights, networks["squeezenet"].weights, strict=True):
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found.numpy(), full.numpy().astype(np.float16))


def test_weights_of_the_same_seed_are_no_strangers(tmp_path):
    """A network that is born with the file's values has loaded them all the same."""
    keras.utils.set_random_seed(5)
    backbones.build("squeezenet", "random", SIDE).save_weights(tmp_path / "a.weights.h5")
    keras.utils.set_random_seed(5)
    backbones.build("squeezenet", str(tmp_path / "a.weights.h5"), SIDE)


@pytest.mark.parametrize(
    ("name", "other"), [("squeezenet", "mobilenet_v2"), ("mobilenet_v2", "squeezenet")]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_another_network(networks, files, tmp_path, name, other, legacy):
    path = files[other]
    if legacy:
        path = tmp_path / "old.h5"
        write_legacy(networks[other], path)
    message = refusal(backbones.build, name, str(path), SIDE)
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
    assert str(path) in refusal(backbones.build, "squeezenet", str(path), SIDE)


def test_weights_that_are_no_numbers(files, tmp_path):
    path = tmp_path / "nan.weights.h5"
    path.write_bytes(files["squeezenet"].read_bytes())
    with h5py.File(path, "a") as file:
        file["layers/conv2d_7/vars/0"][0, 0, 0, 0] = np.nan
    message = refusal(backbones.build, "squeezenet", str(path), SIDE)
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
    message = refusal(backbones.build, "squeezenet", str(tmp_path / name), SIDE)
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
    monkeypatch.setenv(backbones.MIRROR, f"{url}/")
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


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_every_registry_entry_can_be_checked():
    for name, entry in backbones.BACKBONES.items():
        if entry.imagenet:
            assert entry.imagenet.url.startswith("https://"), name
            assert entry.imagenet.md5 or entry.imagenet.size, name
            assert entry.imagenet.licence, name


def test_download_by_md5_happens_once(server, cache, monkeypatch):
    content = b"weights" * 100
    file = publish(monkeypatch, "densenet121", md5=md5(content))
    server.content[file] = content
    path = backbones.download("densenet121")
    assert path == cache / "weights" / file
    assert path.read_bytes() == content
    assert backbones.download("densenet121") == path
    assert server.asked == {file: 1}
    assert stored(cache) == [file]


def test_download_by_size_happens_once(server, cache, monkeypatch):
    file = publish(monkeypatch, "mobilenet_v2", size=700)
    server.content[file] = b"weights" * 100
    assert backbones.download("mobilenet_v2").read_bytes() == b"weights" * 100
    backbones.download("mobilenet_v2")
    assert server.asked == {file: 1}
    assert stored(cache) == [file]


def test_downloaded_weights_are_loaded(server, networks, monkeypatch, tmp_path):
    """The whole way of ``weights=imagenet``, in the published files' old format."""
    write_legacy(networks["mobilenet_v2"], tmp_path / "a.h5")
    content = (tmp_path / "a.h5").read_bytes()
    file = publish(monkeypatch, "mobilenet_v2", size=len(content))
    server.content[file] = content
    same_weights(backbones.build("mobilenet_v2", "imagenet", SIDE), networks["mobilenet_v2"])


def test_wrong_md5(server, cache, monkeypatch):
    file = publish(monkeypatch, "densenet121", md5=md5(b"right"))
    server.content[file] = b"wrong"
    message = refusal(backbones.download, "densenet121")
    assert message.startswith(f"{server.url}/{file} is not the published file")
    assert f"weights=.../{file}" in message
    assert stored(cache) == []
    server.content[file] = b"right"
    assert backbones.download("densenet121").read_bytes() == b"right"


def test_damaged_copy_in_the_cache_is_fetched_again(server, cache, monkeypatch):
    file = publish(monkeypatch, "densenet121", md5=md5(b"right"))
    server.content[file] = b"right"
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / file).write_bytes(b"damaged")
    assert backbones.download("densenet121").read_bytes() == b"right"


@pytest.mark.parametrize("size", [5, 900])
def test_wrong_size(server, cache, monkeypatch, size):
    file = publish(monkeypatch, "mobilenet_v2", size=700)
    server.content[file] = bytes(size)
    message = refusal(backbones.download, "mobilenet_v2")
    assert message.startswith(f"{server.url}/{file} has {size} bytes instead of 700")
    assert f"weights=.../{file}" in message
    assert stored(cache) == []


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121"])
def test_connection_lost_half_way(server, cache, monkeypatch, name):
    file = publish(monkeypatch, name)
    server.content[file] = bytes(5000) + b"<lost>"
    message = refusal(backbones.download, name)
    assert message.startswith(f"{server.url}/{file} ")
    assert f"weights=.../{file}" in message
    assert stored(cache) == []


def test_file_is_not_on_the_server(server, cache, monkeypatch):
    file = publish(monkeypatch, "mobilenet_v2")
    message = refusal(backbones.download, "mobilenet_v2")
    assert message.startswith(f"{server.url}/{file} cannot be downloaded (404")
    assert message.endswith(f"download it by hand and give its path: weights=.../{file}")
    assert stored(cache) == []


def test_no_connection(server, cache, monkeypatch):
    monkeypatch.setenv(backbones.MIRROR, "http://127.0.0.1:9/files")  # nobody listens there
    file = publish(monkeypatch, "densenet121")
    message = refusal(backbones.download, "densenet121")
    assert message.startswith(f"http://127.0.0.1:9/files/{file} cannot be downloaded (")
    assert "refused" in message
    assert message.endswith(f"download it by hand and give its path: weights=.../{file}")
    assert stored(cache) == []


def test_squeezenet_has_nothing_to_download():
    message = refusal(backbones.build, "squeezenet", "imagenet", SIDE)
    assert "SqueezeNet 1.1 has no published Keras weights" in message
    assert "weights=random" in message


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
    maps = backbones.build(name, str(REAL / file), 96)(pictures, training=False).numpy()
    assert np.isfinite(maps).all()
    features = maps.mean(axis=(1, 2))
    assert features.std(axis=1).min() > 0
    assert (features.std(axis=0) > 0.01 * features.std()).sum() >= 100

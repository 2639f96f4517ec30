"""The published files of weights: what the registry says of them, and their download."""

import hashlib
import inspect
import io
import re
import zipfile
from pathlib import Path

import h5py
import keras
import pytest

from dslite.models import backbones, classifier, guard, weights
from dslite.settings import BACKBONE_NAMES
from tests.refusals import refusal

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(692)
NAME = "network.h5"


def zipped(name: str) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr(name, "")
    return buffer.getvalue()


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_registry_entry_can_be_checked_and_is_that_of_keras(name):
    file = weights.REGISTRY[name]
    assert re.fullmatch(r"https://.*/[^/]*no[-_]?top[^/]*\.h5", file["url"])
    assert file["licence"] in {"MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0"}
    if file["checksum"]:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file["checksum"])
    else:
        assert name in ("mobilenet", "mobilenet_v2")
    if name == "squeezenet":
        return
    # The installed Keras names the same file and the same checksum for this network.
    title = backbones.BACKBONES[name].title
    source = Path(inspect.getfile(inspect.unwrap(getattr(keras.applications, title))))
    text = re.sub(r'"\s*f?"', "", source.read_text("utf-8"))  # strings over several lines
    assert file["url"].rpartition("/")[0] in text
    if file["checksum"]:
        checksum = file["checksum"].removeprefix("md5:")
        before = text[: text.index(checksum)]
        kind = re.sub("[^a-z0-9]", "", name)
        near = {"efficientnetv2b0": "b0", "mobilenetv3small": "small22410float"}.get(kind, kind)
        assert near in re.sub("[^a-z0-9]", "", before[-500:].lower())
    else:
        assert "file_hash" not in text


@pytest.fixture
def server(file_server, cache):
    return file_server(NAME)


def checksum(content: bytes, kind: str = "md5") -> str:
    return f"{kind}:{hashlib.new(kind, content, usedforsecurity=False).hexdigest()}"


FACTS = {"md5": {"checksum": checksum(HDF5)}, "sha256": {"checksum": checksum(HDF5, "sha256")}}
FACTS |= {"nothing": {}}


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
@pytest.mark.parametrize("damaged", [False, True])
def test_a_download_happens_once_and_mends_a_damaged_copy(server, cache, facts, damaged):
    server.answers, path = [(HDF5, len(HDF5))], cache / "weights" / NAME
    if damaged:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
    for _ in range(2):
        assert weights.fetch(server.url, **facts) == path
        assert path.read_bytes() == HDF5
    assert server.asked == 1
    assert [each for each in (cache / "weights").rglob("*") if each.is_file()] == [path]


PAGE = b"<html>Please log in</html>".ljust(700)  # what a hotel's network answers to everything


@pytest.mark.parametrize(
    ("content", "facts", "reason"),
    [
        (PAGE, {}, " is not an HDF5 file; "),
        (PAGE, {"checksum": checksum(HDF5)}, ": not downloaded (its checksum is not "),
    ],
)
def test_a_download_that_fails(server, cache, content, facts, reason):
    server.answers = [(content, len(content))]
    message = refusal(weights.fetch, server.url, **facts)
    assert message.startswith(f"{server.url}{reason}")
    remedy = f"give its path (weights=.../{NAME}), or do without it (weights=random)"
    assert message.endswith(f"; get the file in another way and {remedy}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n<!DOCTYPE html>", "a web page, as of a download that failed; download it again"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"\x80\x02\x8a\nl\xfc", "a Python pickle, as older .pth files of PyTorch"),
        (zipped("archive/data.pkl"), "a model of PyTorch"),
        (zipped("readme.txt"), "a ZIP archive"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b'\x20\0\0\0\0\0\0\0{"a":', "safetensors"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (b"these are no weights", "of an unknown format; only weights of Keras"),
        (b"", "it is empty"),
        (HDF5, "not readable"),
        (None, "not readable"),
    ],
)
def test_a_file_that_holds_no_weights_is_called_what_it_is(tmp_path, content, reason):
    path = tmp_path / "network.weights.h5"
    if content is not None:
        path.write_bytes(content)
    message = refusal(weights.suffix, path)
    assert re.match(rf"weights {path}(: | are none of Keras: ){reason}", message)
    assert "\n" not in message


@pytest.mark.parametrize("form", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("link", "it takes arrays from other files"),
        ("array", "it takes arrays from other files"),
        ("loop", "it takes too long to read"),
    ],
)
def test_hdf5_that_leads_elsewhere_or_never_ends(tmp_path, monkeypatch, form, hostile, reason):
    monkeypatch.setattr(guard, "CPU_S", 1)
    path = tmp_path / f"a{form}"
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        if hostile == "link":
            file["group/x"] = h5py.ExternalLink("/etc/passwd", "/")
        elif hostile == "array":
            file.create_dataset("group/x", (9,), "u1", external=[("/etc/passwd", 0, 9)])
        file.attrs["layer_names"] = "text, which lies in a heap"
    content = buffer.getvalue()
    if hostile == "loop":  # an object of the heap that is empty: HDF5 looks for the next one there
        place = content.index(b"GCOL") + 16
        content = content[:place] + bytes(16) + content[place + 16 :]
    if form == ".h5":
        path.write_bytes(content)
        message = refusal(weights.suffix, path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", content)
        message = refusal(classifier.load_classifier, path)
    assert message.startswith(f"weights {path}: not readable ({reason})")

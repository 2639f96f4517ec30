"""The published files of weights: what the registry says of them, and their download."""

import hashlib
import inspect
import re
from pathlib import Path

import keras
import pytest

from dslite.models import backbones, weights
from dslite.settings import BACKBONE_NAMES
from tests.refusals import refusal

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(692)
NAME = "network.h5"


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
    assert [each for each in cache.rglob("*") if each.is_file()] == [path]


PAGE = b"<html>Please log in</html>".ljust(700)  # what a hotel's network answers to everything


@pytest.mark.parametrize(
    ("content", "facts", "reason"),
    [
        (PAGE, {}, " is not an HDF5 file; "),
        (PAGE, {"checksum": checksum(HDF5)}, ": not downloaded (its checksum is not "),
        (HDF5[:350], {}, ": not downloaded ("),  # the connection, half way
        (None, {}, ": not downloaded (404"),
    ],
)
def test_a_download_that_fails(server, cache, content, facts, reason):
    server.answers = [(content, 700 if content == HDF5[:350] else len(content or ""))]
    message = refusal(weights.fetch, server.url, **facts)
    assert message.startswith(f"{server.url}{reason}")
    remedy = f"give its path (weights=.../{NAME}), or do without it (weights=random)"
    assert message.endswith(f"; get the file in another way and {remedy}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_mirror_stands_in_for_every_host(server, monkeypatch):
    server.answers = [(HDF5, len(HDF5))]
    monkeypatch.setenv("DSLITE_MIRROR", server.url.removesuffix(NAME))
    assert weights.fetch(f"https://nobody.invalid/folder/{NAME}").read_bytes() == HDF5
    monkeypatch.setenv("DSLITE_MIRROR", "http://127.0.0.1:9/files")  # nobody listens there
    message = refusal(weights.fetch, "https://nobody.invalid/other.h5")
    assert message.startswith("http://127.0.0.1:9/files/other.h5: ")
    assert "refused" in message

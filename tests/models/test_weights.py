"""The published files of weights: what the registry says of them, and their download."""

import hashlib
import inspect
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import pytest

from dslite.errors import InputError
from dslite.models import backbones, weights
from dslite.settings import BACKBONE_NAMES

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(692)
NAME = "network.h5"


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_registry_entry_can_be_checked(name):
    file = weights.IMAGENET[name]
    assert re.fullmatch(r"https://.*/[^/]*no[-_]?top[^/]*\.h5", file.url)
    assert file.licence in {"MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0"}
    if file.checksum:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)
    else:
        # HDF5 adds a little to the numbers; MobileNet's file has the size of the one with top.
        numbers = {"mobilenet": 4_253_864, "mobilenet_v2": 2_257_984}[name]
        assert 1 < file.size / (4 * numbers) < 1.05


@pytest.mark.parametrize("name", [n for n in BACKBONE_NAMES if n != "squeezenet"])
def test_files_and_checksums_are_those_of_keras(name):
    """The installed Keras names the same file and the same checksum for this network."""
    file, title = weights.IMAGENET[name], backbones.BACKBONES[name].title
    source = Path(inspect.getfile(inspect.unwrap(getattr(keras.applications, title))))
    text = re.sub(r'"\s*f?"', "", source.read_text("utf-8"))  # strings over several lines
    assert file.url.removesuffix(file.name) in text
    if file.checksum:
        checksum = file.checksum.removeprefix("md5:")
        before = text[: text.index(checksum)]
        kind = re.sub("[^a-z0-9]", "", name)
        near = {"efficientnetv2b0": "b0", "mobilenetv3small": "small22410float"}.get(kind, kind)
        assert near in re.sub("[^a-z0-9]", "", before[-500:].lower())
    else:
        assert "file_hash" not in text


class Host(ThreadingHTTPServer):
    """A host of files: what it holds and what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.requests = {}, Counter()
        self.url = f"http://127.0.0.1:{self.server_port}/files"

    def file(self, content=None, checksum=None, size=None):
        """Publish a file; its entry in a registry."""
        if content is not None:
            self.content[NAME] = content
        return weights.WeightsFile(f"{self.url}/{NAME}", "MIT", checksum, size)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/files/")
        self.server.requests[name] += 1
        body = self.server.content.get(name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.removesuffix(b"<lost>"))

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def server(cache, monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", weights.MIRROR):
        monkeypatch.delenv(variable, raising=False)
    with Host() as host:
        threading.Thread(target=host.serve_forever, args=(0.02,), daemon=True).start()
        yield host
        host.shutdown()


def checksum(content: bytes, kind: str = "md5") -> str:
    return f"{kind}:{hashlib.new(kind, content, usedforsecurity=False).hexdigest()}"


KNOWN = {
    **{"md5": {"checksum": checksum(HDF5)}, "sha256": {"checksum": checksum(HDF5, "sha256")}},
    **{"size": {"size": 700}, "nothing": {}},
}


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
@pytest.mark.parametrize("damaged", [False, True])
def test_a_download_happens_once_and_mends_a_damaged_copy(server, cache, known, damaged):
    file, path = server.file(HDF5, **known), cache / "weights" / NAME
    if damaged:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
    for _ in range(2):
        assert weights.fetch(file) == path
        assert path.read_bytes() == HDF5
    assert server.requests == {NAME: 1}
    assert [each for each in cache.rglob("*") if each.is_file()] == [path]


PAGE = b"<html>Please log in</html>".ljust(700)  # what a hotel's network answers to everything


@pytest.mark.parametrize(
    ("content", "known", "reason"),
    [
        (PAGE, {"size": 700}, "is not an HDF5 file; "),
        (PAGE, {}, "is not an HDF5 file; "),
        (PAGE, {"checksum": checksum(HDF5)}, "is not the published file ("),
        (bytes(5), {"size": 700}, "has 5 bytes instead of 700; "),
        (bytes(900), {"size": 700}, "has 900 bytes instead of 700; "),
        (HDF5 + b"<lost>", {"size": 706}, "cannot be downloaded ("),  # the connection, half way
        (HDF5 + b"<lost>", {"checksum": checksum(HDF5)}, "cannot be downloaded ("),
        (None, {}, "cannot be downloaded (404"),
    ],
)
def test_a_download_that_fails(server, cache, content, known, reason):
    file = server.file(content, **known)
    with pytest.raises(InputError) as error:
        weights.fetch(file)
    (message,) = str(error.value).splitlines()
    assert message.startswith(f"{file.url} {reason}")
    remedy = f"give its path (weights=.../{NAME}), or do without it (weights=random)"
    assert message.endswith(f"; get the file in another way and {remedy}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_mirror_stands_in_for_every_host(server, cache, monkeypatch):
    server.content[NAME] = HDF5
    monkeypatch.setenv(weights.MIRROR, f"{server.url}/")
    file = weights.WeightsFile(f"https://nobody.invalid/folder/{NAME}", "MIT")
    assert weights.fetch(file).read_bytes() == HDF5
    assert server.requests == {NAME: 1}
    monkeypatch.setenv(weights.MIRROR, "http://127.0.0.1:9/files")  # nobody listens there
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:9/files/other\.h5 .*refused"):
        weights.fetch(weights.WeightsFile("https://nobody.invalid/other.h5", "MIT"))

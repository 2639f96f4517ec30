"""Downloads, against a server of this test's own: nothing here leaves the machine."""

import hashlib
import http.server
import io
import stat
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from dslite import paths
from dslite.datasets import download
from dslite.errors import InputError

NAME = "Audio_Song_Actors_01-24.zip"


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).integers(-9, 9, 20_000, np.int16)
    soundfile.write(buffer, samples, 48000, format="WAV")
    return buffer.getvalue()


def bundle(*extra: tuple[str, int], around: str = "") -> bytes:
    """A zip file with two sung files, hidden litter, and what ``extra`` adds as (name, mode)."""
    members = [
        (f"{around}Actor_01/03-02-01-01-01-01-01.wav", 0, wav(1)),
        (f"{around}Actor_02/03-02-01-01-01-01-02.wav", 0, wav(2)),
        (f"{around}Actor_02/.DS_Store", 0, b"litter"),
        ("__MACOSX/Actor_02/._03-02-01-01-01-01-02.wav", 0, b"litter"),
        *((name, mode, b"/etc") for name, mode in extra),
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)  # dated 1980: the same bytes in every call
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return buffer.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        answers = self.server.answers
        content, promised = answers[min(self.server.asked, len(answers)) - 1]
        if self.path != f"/files/{NAME}" or content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server whose list ``answers`` holds (content, announced length), the last one repeated."""
    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = 0
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # pooch's pause before it tries again


@pytest.fixture
def target(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    return paths.raw("ravdess")


def serve(server, content, *before) -> download.Archive:
    """Let the server answer with ``before`` and then ``content``; what should be downloaded."""
    server.answers = [*before, (content, len(content))]
    return download.Archive(
        url=f"http://127.0.0.1:{server.server_port}/files/{NAME}",
        md5=hashlib.md5(content).hexdigest(),
        size=len(content),
        licence="Licence: to be kept with the audio\n",
        files=2,
    )


def everything_below(folder) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def refusal(archive, target) -> str:
    with pytest.raises(InputError) as error:
        download.fetch_archive(archive, target)
    assert not target.exists() or not any(target.iterdir())
    assert not list(target.parent.glob(".*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_downloads_and_unpacks(server, target, cache):
    archive = serve(server, bundle())
    assert download.fetch_archive(archive, target) == target
    assert everything_below(target) == [
        "Actor_01/03-02-01-01-01-01-01.wav",
        "Actor_02/03-02-01-01-01-01-02.wav",
        "LICENSE.txt",
    ]
    assert (target / "Actor_01" / "03-02-01-01-01-01-01.wav").read_bytes() == wav(1)
    assert "to be kept" in (target / "LICENSE.txt").read_text()
    assert everything_below(cache) == [f"downloads/{NAME}"]
    assert not list(target.parent.glob(".*"))


def test_finished_folder_is_left_alone(server, target):
    archive = serve(server, bundle())
    download.fetch_archive(archive, target)
    (target / "Actor_01" / "03-02-01-01-01-01-01.wav").write_bytes(b"the user's own")
    download.fetch_archive(archive, target)
    assert (target / "Actor_01" / "03-02-01-01-01-01-01.wav").read_bytes() == b"the user's own"
    assert server.asked == 1


def test_unfinished_folder_is_not_touched(server, target):
    archive = serve(server, bundle())
    (target / "Actor_01").mkdir(parents=True)
    (target / "Actor_01" / "x.wav").write_bytes(b"")
    with pytest.raises(InputError, match="holds 1 of 2 audio files; move that folder away"):
        download.fetch_archive(archive, target)
    assert everything_below(target) == ["Actor_01/x.wav"]
    assert server.asked == 0


def test_empty_folder_is_filled(server, target):
    target.mkdir(parents=True)
    download.fetch_archive(serve(server, bundle()), target)
    assert len(everything_below(target)) == 3


def test_takes_a_leading_folder_off(server, target):
    download.fetch_archive(serve(server, bundle(around="Audio_Song/")), target)
    assert (target / "Actor_02" / "03-02-01-01-01-01-02.wav").is_file()


def test_archive_placed_by_hand_needs_no_network(server, target, cache):
    archive = serve(server, bundle())
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / NAME).write_bytes(bundle())
    download.fetch_archive(archive, target)
    assert server.asked == 0
    assert len(everything_below(target)) == 3


def test_partial_archive_in_the_cache_is_downloaded_again(server, target, cache):
    archive = serve(server, bundle())
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / NAME).write_bytes(bundle()[:1000])
    download.fetch_archive(archive, target)
    assert server.asked == 1
    assert len(everything_below(target)) == 3


@pytest.mark.parametrize("fault", ["corrupted", "truncated", "announced shorter"])
def test_broken_download_is_redone_once(server, target, cache, fault):
    content = bundle()
    half = content[: len(content) // 2]
    broken = {
        "corrupted": (content[:-500] + bytes(500), len(content)),
        "truncated": (half, len(content)),
        "announced shorter": (half, len(half)),
    }[fault]
    download.fetch_archive(serve(server, content, broken), target)
    assert server.asked == 2
    assert len(everything_below(target)) == 3


def test_twice_corrupted(server, target, cache):
    content = bundle()
    archive = serve(server, content)
    server.answers = [(content[:-500] + bytes(500), len(content))]
    said = refusal(archive, target)
    assert f"twice the download did not have the MD5 checksum {archive.md5}" in said
    assert server.asked == 2
    assert everything_below(cache) == []


def test_twice_truncated(server, target, cache):
    content = bundle()
    archive = serve(server, content)
    server.answers = [(content[: len(content) // 2], len(content))]
    said = refusal(archive, target)
    assert "no connection, or it broke off" in said
    assert everything_below(cache) == []


def test_not_found(server, target, cache):
    archive = serve(server, bundle())
    server.answers = [(None, 0)]
    said = refusal(archive, target)
    assert said.startswith(archive.url)
    assert "the server answered 404 Not Found" in said
    assert f"put it at {cache / 'downloads' / NAME}" in said


def test_no_connection(server, target, cache):
    archive = serve(server, bundle())
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    said = refusal(replace(archive, url=f"http://127.0.0.1:{port}/files/{NAME}"), target)
    assert "no connection" in said
    assert f"({archive.size:,} bytes)" in said
    assert everything_below(cache) == []


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../Actor_01/03-02-01-01-01-02-01.wav", 0),
        ("Actor_01/../../03-02-01-01-01-02-01.wav", 0),
        ("Actor_01/..\\..\\x.wav", 0),
        ("/Actor_01/03-02-01-01-01-02-01.wav", 0),
        ("C:/Actor_01/03-02-01-01-01-02-01.wav", 0),
        ("Actor_03", stat.S_IFLNK | 0o777),
    ],
)
def test_unsafe_names(server, target, name, mode):
    said = refusal(serve(server, bundle((name, mode))), target)
    assert f"holds '{name}', which could write outside" in said
    assert everything_below(target.parent.parent) == [f"cache/downloads/{NAME}"]


def test_not_a_zip_file(server, target):
    assert "not a sound zip file" in refusal(serve(server, b"<html>Sorry</html>"), target)


def test_zip_with_a_damaged_member(server, target):
    content = bytearray(bundle())
    content[5000] ^= 255
    assert "not a sound zip file" in refusal(serve(server, bytes(content)), target)


def test_wrong_number_of_files(server, target):
    archive = replace(serve(server, bundle()), files=44)
    assert "holds 2 of the 44 expected audio files" in refusal(archive, target)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_unpacking_leaves_nothing(server, target, monkeypatch, stop):
    archive = serve(server, bundle())
    copy, copied = download.shutil.copyfileobj, []

    def stopping(*arguments):
        if copied:
            raise stop
        copied.append(1)
        copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "copyfileobj", stopping)
        with pytest.raises((KeyboardInterrupt, InputError)) as error:
            download.fetch_archive(archive, target)
    if stop is not KeyboardInterrupt:
        assert "cannot be written (No space left on device)" in str(error.value)
    assert copied
    assert not target.exists()
    assert not list(target.parent.iterdir())
    download.fetch_archive(archive, target)
    assert server.asked == 1
    assert len(everything_below(target)) == 3


def test_interrupted_download_leaves_nothing(server, target, cache, monkeypatch):
    import pooch

    def interrupted(self, url, output_file, pooch, check_only=False):
        with open(output_file, "wb") as file:  # noqa: PTH123
            file.write(bundle()[:100])
        raise KeyboardInterrupt

    archive = serve(server, bundle())
    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download.fetch_archive(archive, target)
    assert everything_below(cache) == []
    download.fetch_archive(archive, target)
    assert len(everything_below(target)) == 3


@pytest.mark.parametrize("way", ["parameter", "environment"])
def test_fetch_from_a_mirror(server, target, monkeypatch, way):
    archive = serve(server, bundle())
    published = download.ARCHIVES["ravdess"]
    known = replace(published, md5=archive.md5, size=archive.size, files=2)
    monkeypatch.setitem(download.ARCHIVES, "ravdess", known)
    base = f"http://127.0.0.1:{server.server_port}/files/"
    if way == "environment":
        monkeypatch.setenv("DSLITE_MIRROR", base)
        assert download.fetch("ravdess") == target
    else:
        assert download.fetch("ravdess", base) == target
    licence = (target / "LICENSE.txt").read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in licence
    assert "10.1371/journal.pone.0196391" in licence


def test_registry_is_the_published_one():
    archive = download.ARCHIVES["ravdess"]
    assert archive.url == f"https://zenodo.org/records/1188976/files/{NAME}"
    assert (archive.name, archive.size, archive.files) == (NAME, 225_505_317, 1012)
    assert archive.md5 == "5411230427d67a21e18aa4d466e6d1b9"


def test_nothing_to_download(target):
    with pytest.raises(InputError, match=r"no download for demo\. Generated on first use"):
        download.fetch("demo")
    with pytest.raises(InputError, match="did you mean 'ravdess'"):
        download.fetch("ravdes")


def test_file_in_the_way(server, target):
    archive = serve(server, bundle())
    target.parent.mkdir()
    target.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="Not a directory"):
        download.fetch_archive(archive, target)


def test_unwritable_cache(server, target, tmp_path, monkeypatch):
    archive = serve(server, bundle())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be written"):
        download.fetch_archive(archive, target)

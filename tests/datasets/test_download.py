"""Downloads, against a server of this test's own: nothing here leaves the machine."""

import hashlib
import http.server
import io
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from dslite import cards, paths
from dslite.datasets import download, listing
from dslite.errors import InputError

NAME = "Audio_Song_Actors_01-24.zip"
FILES = ["Actor_01/03-02-01-01-01-01-01.wav", "Actor_02/03-02-01-01-01-01-02.wav", "LICENSE.txt"]
sleep = time.sleep  # before a fixture replaces it


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
        if promised is not None:
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        try:
            for part in [content] if isinstance(content, bytes) else content:
                self.wfile.write(part)
                self.server.sent += len(part)
        except OSError:  # the other side has heard enough
            self.server.hung_up = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server whose list ``answers`` holds (content, announced length), the last one repeated.

    A content is bytes, or parts that are sent one after the other.
    """
    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.sent, running.hung_up = 0, 0, False
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
        unpacked=len(wav(1)) + len(wav(2)),
        licence="Licence: to be kept with the audio\n",
        files=2,
    )


def everything_below(folder) -> list[str]:
    """Files without the locks, which stay."""
    files = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return sorted(f for f in files if not f.endswith(".lock"))


def drafts(folder) -> list[str]:
    return [f.name for f in folder.glob(".*") if f.suffix != ".lock"]


def refusal(archive, target) -> str:
    with pytest.raises(InputError) as error:
        download.fetch_archive(archive, target)
    assert not target.exists() or not any(target.iterdir())
    assert not drafts(target.parent)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_downloads_and_unpacks(server, target, cache):
    archive = serve(server, bundle())
    assert download.fetch_archive(archive, target) == target
    assert everything_below(target) == FILES
    assert (target / "Actor_01" / "03-02-01-01-01-01-01.wav").read_bytes() == wav(1)
    assert "to be kept" in (target / "LICENSE.txt").read_text()
    assert everything_below(cache) == [f"downloads/{NAME}"]
    assert not drafts(target.parent)


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
    copy, copied = download._copy, []

    def stopping(*arguments):
        if copied:
            raise stop
        copied.append(1)
        copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(download, "_copy", stopping)
        with pytest.raises((KeyboardInterrupt, InputError)) as error:
            download.fetch_archive(archive, target)
    if stop is not KeyboardInterrupt:
        assert "cannot be written (No space left on device)" in str(error.value)
    assert copied
    assert not target.exists()
    assert everything_below(target.parent) == drafts(target.parent) == []
    download.fetch_archive(archive, target)
    assert server.asked == 1
    assert everything_below(target) == FILES


def test_interrupted_download_leaves_nothing(server, target, cache, monkeypatch):
    archive = serve(server, bundle())

    def downloader(size):
        def interrupted(url, output_file, pooch):
            with open(output_file, "wb") as file:  # noqa: PTH123
                file.write(bundle()[:100])
            raise KeyboardInterrupt

        return interrupted

    with monkeypatch.context() as patch:
        patch.setattr(download, "_downloader", downloader)
        with pytest.raises(KeyboardInterrupt):
            download.fetch_archive(archive, target)
    assert everything_below(cache) == []
    download.fetch_archive(archive, target)
    assert everything_below(target) == FILES


@pytest.mark.parametrize("way", ["parameter", "environment"])
def test_fetch_from_a_mirror(server, target, monkeypatch, way):
    archive = serve(server, bundle())
    published = download.ARCHIVES["ravdess"]
    known = replace(
        published, md5=archive.md5, size=archive.size, unpacked=archive.unpacked, files=2
    )
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
    assert archive.unpacked == 491_763_598
    assert archive.md5 == "5411230427d67a21e18aa4d466e6d1b9"


def test_nothing_to_download(target):
    with pytest.raises(InputError, match=r"no download for demo\. Generated on first use") as error:
        download.fetch("demo")
    assert "Expected in" not in str(error.value)
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


def test_how_to_obtain_what_is_not_downloaded(command, target, tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("path,label\na.wav,x\n")
    status, out, err = command("fetch", table)
    assert (status, out) == (2, "")
    assert "Its card does not say where it comes from." in err
    card = "obtain: >-\n  Ask the\n  authors.\n"
    table.with_suffix(".yaml").write_text(card)
    status, _, err = command("fetch", table)
    assert status == 2
    assert "Ask the authors. Expected in: " in err
    assert err.strip().endswith(paths.shown(listing.home(cards.load(str(table)))))


# Servers that send too much, disks that are too small


def parts_without_end():
    while True:
        yield bytes(1 << 16)


@pytest.mark.parametrize("announced", [None, 1 << 50])
def test_a_server_that_never_stops_fills_no_disk(server, target, cache, announced):
    archive = serve(server, bundle())
    server.answers = [(parts_without_end(), announced)]
    said = refusal(archive, target)
    sent = "more" if announced is None else f"{1 << 50:,}"
    assert f"the server sends {sent} bytes instead of {archive.size:,}" in said
    assert everything_below(cache) == []
    for _ in range(200):
        if server.hung_up:
            break
        sleep(0.02)
    assert server.hung_up
    assert server.sent < 100e6  # the buffers between the two sides, not the stream


def test_a_long_answer_is_not_written(server, target, cache, monkeypatch):
    """Not even for a moment: what arrives beyond the size is never written."""
    archive = serve(server, bundle())
    server.answers = [(bundle() + bytes(5 << 20), None)]
    largest = []
    partial = download._downloader

    def watched(size):
        inner = partial(size)

        def run(url, output_file, pooch):
            try:
                inner(url, output_file, pooch)
            finally:
                largest.append(os.path.getsize(output_file))  # noqa: PTH202

        return run

    monkeypatch.setattr(download, "_downloader", watched)
    refusal(archive, target)
    assert len(largest) == 2
    assert max(largest) <= archive.size


Usage = namedtuple("Usage", "total used free")


def free(monkeypatch, n_bytes):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, n_bytes))


def test_a_full_disk_is_told_before_the_download(server, target, cache, monkeypatch):
    archive = replace(serve(server, bundle()), size=200_000_000, unpacked=300_000_000)
    free(monkeypatch, 499_999_999)
    said = refusal(archive, target)
    assert "500.0 MB are needed and 500.0 MB are free" in said
    assert "DSLITE_CACHE or DSLITE_DATA" in said
    assert str(cache) in said
    assert server.asked == 0
    free(monkeypatch, 500_000_000)
    assert "the server sends" in refusal(archive, target)  # it was asked this time


def test_two_disks_are_looked_at_one_by_one(server, target, cache, monkeypatch):
    archive = serve(server, bundle())
    cache.mkdir()
    real = download.Path.stat

    def stat_of(path, **how):
        found = list(real(path, **how))
        found[2] = 1 if str(path).startswith(str(cache)) else 2  # st_dev
        return os.stat_result(found)

    monkeypatch.setattr(
        shutil, "disk_usage", lambda p: Usage(0, 0, 1 << (20 if str(cache) in str(p) else 28))
    )
    with monkeypatch.context() as patch:
        patch.setattr(download.Path, "stat", stat_of)
        with pytest.raises(InputError, match=r"300\.0 MB are needed and 268\.4 MB") as error:
            download._require_space(
                (cache, archive.size, "DSLITE_CACHE"), (target.parent, 300_000_000, "DSLITE_DATA")
            )
    assert "with DSLITE_DATA" in str(error.value)
    assert "DSLITE_CACHE" not in str(error.value)


def test_a_full_disk_is_told_before_the_unpacking(server, target, cache, monkeypatch):
    archive = serve(server, bundle())
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / NAME).write_bytes(bundle())
    free(monkeypatch, archive.unpacked - 1)
    said = refusal(archive, target)
    assert "with DSLITE_DATA" in said
    assert everything_below(target.parent) == []
    free(monkeypatch, archive.unpacked)
    assert download.fetch_archive(archive, target) == target


# Archives that are not what they say


def rebuilt(change) -> bytes:
    """The zip file with a change made to every one of its wanted central directory entries."""
    content = bytearray(bundle())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        name = content[at + 46 : at + 46 + struct.unpack_from("<H", content, at + 28)[0]]
        if name.endswith(b".wav") and b"._" not in name:
            change(content, at)
        at = content.find(b"PK\x01\x02", at + 4)
    return bytes(content)


def test_a_bomb_is_refused_before_anything_is_unpacked(server, target, monkeypatch):
    archive = serve(server, bundle())
    monkeypatch.setattr(download, "_copy", None)
    said = refusal(replace(archive, unpacked=archive.unpacked - 1), target)
    assert f"would unpack to {archive.unpacked:,} bytes instead of {archive.unpacked - 1:,}" in said


@pytest.mark.parametrize("times", [0.5, 2])
def test_a_member_that_declares_another_size(server, target, times):
    def lie(content, at):
        size = struct.unpack_from("<I", content, at + 24)[0]
        struct.pack_into("<I", content, at + 24, int(times * size))

    archive = serve(server, rebuilt(lie))
    said = refusal(replace(archive, unpacked=10 * archive.unpacked), target)
    assert "not a sound zip file" in said


@pytest.mark.parametrize(("held", "declared"), [(10, 9), (9, 10), (3 << 20, 1 << 20)])
def test_a_copy_writes_no_more_than_is_declared(held, declared):
    copy = io.BytesIO()
    with pytest.raises(zipfile.BadZipFile, match="not of the size"):
        download._copy(io.BytesIO(bytes(held)), copy, declared)
    assert len(copy.getvalue()) <= declared


def test_a_copy_is_whole():
    copy = io.BytesIO()
    download._copy(io.BytesIO(b"x" * (3 << 20)), copy, 3 << 20)
    assert copy.getvalue() == b"x" * (3 << 20)


def test_an_encrypted_member(server, target):
    def encrypt(content, at):
        content[at + 8] |= 1

    assert "which is encrypted; nothing was unpacked" in refusal(
        serve(server, rebuilt(encrypt)), target
    )


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_special_files(server, target, kind):
    said = refusal(serve(server, bundle(("Actor_03/x.wav", kind | 0o666))), target)
    assert "holds 'Actor_03/x.wav', which is neither a file nor a folder" in said


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Actor_01/03-02-01-01-01-01-01.wav", "Actor_01/03-02-01-01-01-01-01.wav"),
        ("actor_01/03-02-01-01-01-01-01.WAV", "Actor_01/03-02-01-01-01-01-01.wav"),
        ("Actor_02/.ds_store", "Actor_02/.DS_Store"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice(server, target, name, other):
    said = refusal(serve(server, bundle((name, 0))), target)
    assert f"holds '{name}', the same name as '{other}'" in said


def test_two_members_for_one_place(server, target):
    extra = ("Song/Actor_01/03-02-01-01-01-01-01.wav", 0)
    archive = replace(serve(server, bundle(extra)), files=2)
    assert "holds 3 of the 2 expected" in refusal(archive, target)


# Killed


def fetching(archive, prelude="") -> subprocess.Popen:
    """Another process that fetches."""
    script = (
        "import time\nfrom pathlib import Path\n"
        "from dslite import paths\nfrom dslite.datasets import download\n"
        f"{prelude}\n"
        f"download.fetch_archive(download.{archive!r}, paths.raw('ravdess'))"
    )
    return subprocess.Popen([sys.executable, "-c", script])


def until(process, when) -> None:
    """Wait for something that a process does."""
    for _ in range(3000):
        if when():
            return
        assert process.poll() is None, "it ended before"
        sleep(0.01)
    pytest.fail("it did not happen within 30 s")


def killed(process, when) -> None:
    """Wait until something holds, then SIGKILL."""
    try:
        until(process, when)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_while_downloading(server, target, cache):
    content = bundle()
    go_on = threading.Event()

    def slowly():
        yield content[:2000]
        go_on.wait(30)
        yield content[2000:]

    archive = serve(server, content, (slowly(), len(content)))
    downloads = cache / "downloads"
    try:
        killed(fetching(archive), lambda: server.asked and list(downloads.glob("tmp*")))
    finally:
        go_on.set()
    assert not target.exists()
    assert not (downloads / NAME).exists()
    assert list(downloads.glob("tmp*"))
    (downloads / "tmp.txt").write_text("somebody's own")
    download.fetch_archive(archive, target)
    assert everything_below(target) == FILES
    assert everything_below(downloads) == [NAME, "tmp.txt"]


def test_killed_while_unpacking(server, target, cache):
    archive = serve(server, bundle())
    slow = (
        "copy = archives._copy\n"
        "def slow(*a):\n    copy(*a)\n    time.sleep(60)\n"
        "archives._copy = slow"
    )
    killed(fetching(archive, slow), lambda: list(target.parent.rglob("*.wav")))
    assert not target.exists()
    assert drafts(target.parent)
    download.fetch_archive(archive, target)
    assert everything_below(target) == FILES
    assert drafts(target.parent) == []
    assert server.asked == 1


def test_two_at_once_download_once(server, target, cache, tmp_path):
    content, go_on = bundle(), threading.Event()

    def slowly():
        yield content[:2000]
        go_on.wait(30)
        yield content[2000:]

    archive = serve(server, content, (slowly(), len(content)))
    first = fetching(archive)
    until(first, lambda: server.asked)
    second = fetching(archive, f"Path({str(tmp_path / 'started')!r}).touch()")
    until(second, (tmp_path / "started").exists)
    sleep(0.5)  # time to ask the server, if it did
    go_on.set()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert everything_below(target) == FILES
    assert server.asked == 1

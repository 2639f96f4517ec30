"""Downloads, against a server of this test's own: nothing here leaves the machine."""

import hashlib
import http.server
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
import soundfile

from dslite import cards, paths
from dslite.datasets import download, listing
from dslite.errors import InputError

NAME = "Audio_Song_Actors_01-24.zip"
FILES = ["Actor_01/03-02-01-01-01-01-01.wav", "Actor_02/03-02-01-01-01-01-02.wav", "LICENSE.txt"]


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).integers(-9, 9, 20_000, np.int16)
    soundfile.write(buffer, samples, 48000, format="WAV")
    return buffer.getvalue()


def bundle(around: str = "") -> bytes:
    """A zip file with two sung files, hidden litter, and what would lie outside."""
    members = [
        (f"{around}Actor_01/03-02-01-01-01-01-01.wav", wav(1)),
        (f"{around}Actor_02/03-02-01-01-01-01-02.wav", wav(2)),
        (f"{around}Actor_02/.DS_Store", b"litter"),
        ("__MACOSX/Actor_02/._03-02-01-01-01-01-02.wav", b"litter"),
        ("Actor_01/../../03-02-01-01-01-02-01.wav", b"outside"),
        ("Actor_01/..\\..\\03-02-01-01-01-02-01.wav", b"outside"),
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980: always the same bytes
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
        for part in [content] if isinstance(content, bytes) else content:
            self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """Its ``answers`` are (bytes or parts to send, announced length), the last one repeated."""
    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = 0
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


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


@pytest.fixture
def archive(server):
    return serve(server, bundle())


def everything_below(folder) -> list[str]:
    """Files without the locks, which stay."""
    files = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return sorted(f for f in files if not f.endswith(".lock"))


def until(when, process=None) -> None:
    """Wait for something, which a process may do."""
    for _ in range(6000):
        if when():
            return
        assert process is None or process.poll() is None, "it ended before"
        time.sleep(0.01)
    pytest.fail("it did not happen within 60 s")


def refusal(archive, target) -> str:
    with pytest.raises(InputError) as error:
        download.fetch_archive(archive, target)
    assert everything_below(target.parent) == []
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("around", ["", "Audio_Song_Actors_01-24/"])
def test_downloads_and_unpacks(server, target, cache, around):
    target.mkdir(parents=True)  # an empty folder is filled
    assert download.fetch_archive(serve(server, bundle(around)), target) == target
    placed = [f"{around}{name}" for name in FILES[:2]]
    assert everything_below(target.parent) == [f"ravdess/{n}" for n in sorted([*placed, FILES[2]])]
    assert (target / placed[0]).read_bytes() == wav(1)
    assert "to be kept" in (target / "LICENSE.txt").read_text()
    assert everything_below(cache) == [f"downloads/{NAME}"]


def test_a_folder_is_left_alone(server, archive, target):
    (target / "Actor_01").mkdir(parents=True)
    (target / FILES[0]).write_bytes(b"the user's own")
    with pytest.raises(InputError, match="holds 1 of 2 audio files; move that folder away"):
        download.fetch_archive(archive, target)
    (target / FILES[0]).with_name("x.wav").write_bytes(b"")
    download.fetch_archive(archive, target)  # it is complete
    assert (target / FILES[0]).read_bytes() == b"the user's own"
    assert server.asked == 0


@pytest.mark.parametrize("size", [None, 1000])
def test_an_archive_placed_by_hand(server, archive, target, cache, size):
    """It needs no network, unless it is not the whole one."""
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / NAME).write_bytes(bundle()[:size])
    download.fetch_archive(archive, target)
    assert server.asked == (size is not None)
    assert everything_below(target) == FILES


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((bundle()[:-500] + bytes(500), len(bundle())), "its checksum is not the published one"),
        ((bundle()[:1000], len(bundle())), "IncompleteRead"),
        ((bundle()[:-1], None), "its checksum is not the published one"),
        ((None, 0), "404 Client Error: Not Found"),
        ("closed", "Connection refused"),
    ],
    ids=["corrupted", "broken off", "shorter", "not found", "closed"],
)
def test_a_download_that_fails(server, archive, target, cache, answer, words):
    if answer == "closed":
        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
            url = f"http://127.0.0.1:{closed.server_port}/files/{NAME}"
        archive = replace(archive, url=url)
    else:
        server.answers = [answer]
    message = refusal(archive, target)
    assert message.startswith(f"{archive.url}: not downloaded (")
    assert words in message
    assert f"put it at {cache / 'downloads' / NAME}" in message
    assert everything_below(cache) == []


def test_archives_that_are_not_what_they_should_be(server, target):
    message = refusal(replace(serve(server, bundle()), files=44), target)
    assert "holds 2 of the 44 expected audio files" in message
    (paths.cache() / "downloads" / NAME).unlink()
    message = refusal(serve(server, b"<html>Sorry</html>"), target)
    assert "not a sound zip file" in message


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("stage", ["downloading", "unpacking"])
def test_an_interruption_leaves_nothing(server, archive, target, cache, monkeypatch, stage, stop):
    def interrupted(*_, **__):
        raise stop

    with monkeypatch.context() as patch:
        if stage == "unpacking":
            patch.setattr(zipfile.ZipFile, "extract", interrupted)
        else:
            patch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
        with pytest.raises((KeyboardInterrupt, InputError)) as error:
            download.fetch_archive(archive, target)
    if stop is not KeyboardInterrupt:
        assert "No space left on device" in str(error.value)
    assert everything_below(target.parent) == []
    assert everything_below(cache) == [f"downloads/{NAME}"] * (stage == "unpacking")
    download.fetch_archive(archive, target)
    assert everything_below(target) == FILES


def test_fetch_from_a_mirror(server, archive, target, monkeypatch):
    registered = download.ARCHIVES["ravdess"]
    assert registered.url == f"https://zenodo.org/records/1188976/files/{NAME}"
    assert (registered.name, registered.size, registered.files) == (NAME, 225_505_317, 1012)
    assert registered.md5 == "5411230427d67a21e18aa4d466e6d1b9"
    small = replace(registered, md5=archive.md5, size=archive.size, unpacked=99, files=2)
    monkeypatch.setitem(download.ARCHIVES, "ravdess", small)
    monkeypatch.setenv("DSLITE_MIRROR", archive.url.removesuffix(NAME))
    assert download.fetch("ravdess") == target
    licence = (target / "LICENSE.txt").read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in licence
    assert "10.1371/journal.pone.0196391" in licence


def test_how_to_obtain_what_is_not_downloaded(command, target, tmp_path):
    status, out, err = command("fetch", "demo")
    assert (status, out) == (2, "")
    assert "no download for demo. Generated on first use" in err
    assert "Expected in" not in err
    assert "did you mean 'ravdess'" in command("fetch", "ravdes")[2]
    table = tmp_path / "own.csv"
    table.write_text("path,label\na.wav,x\n")
    assert "Its card does not say where it comes from." in command("fetch", table)[2]
    table.with_suffix(".yaml").write_text("obtain: >-\n  Ask the\n  authors.\n")
    err = command("fetch", table)[2]
    assert "Ask the authors. Expected in: " in err
    assert err.strip().endswith(paths.shown(listing.home(cards.load(str(table)))))


@pytest.mark.parametrize("way", ["target", "cache"])
def test_a_file_in_the_way(archive, target, cache, way):
    place = target if way == "target" else cache
    place.parent.mkdir(exist_ok=True)
    place.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"move that folder away|cannot be written"):
        download.fetch_archive(archive, target)


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_seen_before_anything_is_written(server, archive, target, monkeypatch):
    free = 499_999_999
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    large = replace(archive, size=200_000_000, unpacked=300_000_000)
    message = refusal(large, target)
    assert "500 MB are needed and 500 MB are free" in message
    assert "with DSLITE_DATA (corpora) or DSLITE_CACHE" in message
    assert server.asked == 0
    free = archive.size + archive.unpacked
    assert download.fetch_archive(archive, target) == target
    shutil.rmtree(target)
    free = archive.unpacked - 1  # the archive is there
    assert "are needed" in refusal(archive, target)
    free = archive.unpacked
    assert download.fetch_archive(archive, target) == target


def test_two_disks_are_looked_at_one_by_one(archive, target, cache, monkeypatch):
    real = Path.stat

    def stat_of(path, **how):
        values = list(real(path, **how))
        values[2] = 1 if str(path).startswith(str(cache)) else 2  # st_dev
        return os.stat_result(values)

    def usage(path):
        return Usage(0, 0, 1 << (20 if str(cache) in str(path) else 28))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(Path, "stat", stat_of)
    message = refusal(replace(archive, unpacked=300_000_000), target)
    assert message.startswith(f"{target.parent}: 300 MB are needed and 268 MB")


# Killed, or two at once


def fetching(archive, prelude="") -> subprocess.Popen:
    """Another process that fetches."""
    script = (
        "import shutil, time\nfrom pathlib import Path\n"
        f"from dslite import paths\nfrom dslite.datasets import download\n{prelude}\n"
        f"download.fetch_archive(download.{archive!r}, paths.raw('ravdess'))"
    )
    return subprocess.Popen([sys.executable, "-c", script])


def killed(process, when) -> None:
    try:
        until(when, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def slow(server):
    """An archive whose first download waits in its middle, and the event on which it goes on."""
    go_on = threading.Event()

    def parts():
        yield bundle()[:1000]
        go_on.wait(60)
        yield bundle()[1000:]

    yield serve(server, bundle(), (parts(), len(bundle()))), go_on
    go_on.set()


def test_killed_while_downloading(server, slow, target, cache):
    archive, go_on = slow
    downloads = cache / "downloads"
    killed(fetching(archive), lambda: server.asked and list(downloads.glob("tmp*")))
    go_on.set()
    assert not target.exists()
    assert not (downloads / NAME).exists()
    (downloads / "tmp.txt").write_text("somebody's own")
    download.fetch_archive(archive, target)
    assert everything_below(target) == FILES
    assert everything_below(downloads) == [NAME, "tmp.txt"]


def test_killed_while_unpacking(server, archive, target):
    wait = (
        "import zipfile; copy = zipfile.ZipFile.extract\n"
        "zipfile.ZipFile.extract = lambda *a: (copy(*a), time.sleep(60))"
    )
    killed(fetching(archive, wait), lambda: list(target.parent.rglob("*.wav")))
    assert not target.exists()
    download.fetch_archive(archive, target)
    assert everything_below(target.parent) == [f"ravdess/{name}" for name in FILES]
    assert server.asked == 1


def test_two_at_once_download_once(server, slow, target, tmp_path):
    archive, go_on = slow
    first = fetching(archive)
    until(lambda: server.asked, first)
    second = fetching(archive, f"Path({str(tmp_path / 'started')!r}).touch()")
    until((tmp_path / "started").exists, second)
    time.sleep(0.5)  # time to ask the server, if it did
    go_on.set()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert everything_below(target) == FILES
    assert server.asked == 1

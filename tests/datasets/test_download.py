"""Downloads, against a server of this test's own: nothing here leaves the machine."""

import hashlib
import io
import shutil
import zipfile
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pooch
import pytest
import soundfile

from dslite import cards, paths
from dslite.datasets import download, listing
from dslite.errors import InputError
from tests.refusals import refusal

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


@pytest.fixture
def server(file_server):
    return file_server(NAME)


@pytest.fixture
def target(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    return paths.raw("ravdess")


def serve(server, content, *before) -> download.Archive:
    """Let the server answer with ``before`` and then ``content``; what should be downloaded."""
    server.answers = [*before, (content, len(content))]
    return download.Archive(
        url=server.url,
        md5=hashlib.md5(content).hexdigest(),
        size=len(content),
        unpacked=len(wav(1)) + len(wav(2)),
        files=2,
    )


@pytest.fixture
def archive(server):
    return serve(server, bundle())


def everything_below(folder) -> list[str]:
    """Files without the locks, which stay."""
    files = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return sorted(f for f in files if not f.endswith(".lock"))


def fetch(archive, target):
    return download.fetch_archive(archive, target, "Licence: to be kept with the audio\n")


def refusal_of(archive, target) -> str:
    message = refusal(fetch, archive, target)
    assert everything_below(target.parent) == []
    return message


@pytest.mark.parametrize("around", ["", "Audio_Song_Actors_01-24/"])
def test_downloads_and_unpacks(server, target, cache, around):
    target.mkdir(parents=True)  # an empty folder is filled
    assert fetch(serve(server, bundle(around)), target) == target
    placed = [f"{around}{name}" for name in FILES[:2]]
    assert everything_below(target.parent) == [f"ravdess/{n}" for n in sorted([*placed, FILES[2]])]
    assert (target / placed[0]).read_bytes() == wav(1)
    assert "to be kept" in (target / "LICENSE.txt").read_text()
    assert everything_below(cache) == [f"downloads/{NAME}"]


def test_a_folder_is_left_alone(server, archive, target):
    (target / "Actor_01").mkdir(parents=True)
    (target / FILES[0]).write_bytes(b"the user's own")
    with pytest.raises(InputError, match="holds 1 of 2 audio files; move that folder away"):
        fetch(archive, target)
    (target / FILES[0]).with_name("x.wav").write_bytes(b"")
    fetch(archive, target)  # it is complete
    assert (target / FILES[0]).read_bytes() == b"the user's own"
    assert server.asked == 0


@pytest.mark.parametrize("size", [None, 1000])
def test_an_archive_placed_by_hand(server, archive, target, cache, size):
    """It needs no network, unless it is not the whole one; what a killed download left goes."""
    downloads = cache / "downloads"
    downloads.mkdir(parents=True)
    for name in (NAME, "tmpq1w2e3r4", "tmp.txt"):  # the second one is pooch's
        (downloads / name).write_bytes(bundle()[:size])
    fetch(archive, target)
    assert server.asked == (size is not None)
    assert everything_below(target) == FILES
    assert everything_below(downloads) == [NAME, "tmp.txt"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((bundle()[:-500] + bytes(500), len(bundle())), "its checksum is not the published one"),
        ((bundle()[:1000], len(bundle())), "IncompleteRead"),
        ((bundle()[:-1], None), "its checksum is not the published one"),
        ((None, 0), "404 Client Error: Not Found"),
        ("closed", "Connection refused"),
    ],
)
def test_a_download_that_fails(server, archive, target, cache, answer, words):
    if answer == "closed":
        archive = replace(archive, url=f"http://127.0.0.1:9/files/{NAME}")  # nobody listens there
    else:
        server.answers = [answer]
    message = refusal_of(archive, target)
    assert message.startswith(f"{archive.url}: not downloaded (")
    assert words in message
    assert f"put it at {cache / 'downloads' / NAME}" in message
    assert everything_below(cache) == []


def test_archives_that_are_not_what_they_should_be(server, target):
    message = refusal_of(replace(serve(server, bundle()), files=44), target)
    assert "holds 2 of the 44 expected audio files" in message
    (paths.cache() / "downloads" / NAME).unlink()
    message = refusal_of(serve(server, b"<html>Sorry</html>"), target)
    assert "not a sound zip file" in message


@pytest.mark.parametrize(
    ("owner", "method"), [(pooch.HTTPDownloader, "__call__"), (zipfile.ZipFile, "extract")]
)
def test_a_disk_that_fills_up_leaves_nothing(archive, target, cache, monkeypatch, owner, method):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, full)
        assert "No space left on device" in refusal_of(archive, target)
    assert everything_below(cache) == [f"downloads/{NAME}"] * (owner is zipfile.ZipFile)
    fetch(archive, target)
    assert everything_below(target) == FILES


def test_fetch_from_a_mirror(server, archive, target, monkeypatch):
    published = download.ARCHIVES["ravdess"]
    assert published.url.endswith(f"/{NAME}")
    small = replace(
        published, md5=archive.md5, size=archive.size, unpacked=archive.unpacked, files=2
    )
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


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_seen_before_anything_is_written(server, archive, target, monkeypatch):
    free = 499_999_999
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    large = replace(archive, size=200_000_000, unpacked=300_000_000)
    message = refusal_of(large, target)
    assert "500 MB are needed and 500 MB are free" in message
    assert "with DSLITE_DATA (corpora) or DSLITE_CACHE" in message
    assert server.asked == 0
    free = archive.size + archive.unpacked - 1
    assert "are needed" in refusal_of(archive, target)
    free += 1
    assert fetch(archive, target) == target
    shutil.rmtree(target)
    free = archive.unpacked  # the archive is there
    assert fetch(archive, target) == target

"""Corpora that may be downloaded: fetched, verified and unpacked."""

import errno
import os
import re
import shutil
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from dslite import cards, paths
from dslite.datasets import listing
from dslite.errors import InputError
from dslite.provenance import size_in_words

# What of an archive is unpacked: nothing hidden, and nothing that would leave the folder
MEMBER = re.compile(r"(?:Audio_Song_Actors_01-24/)?Actor_\d\d/[^/\\.][^/\\]*\.wav")
# What `zipfile` raises of a broken archive
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Archive:
    """A published zip file of a corpus."""

    url: str
    md5: str  # hexadecimal, as published; what has another one is never unpacked
    size: int  # bytes
    unpacked: int  # bytes of the files to unpack
    files: int = 1012  # that match `MEMBER`


ARCHIVES = {
    "ravdess": Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
        md5="5411230427d67a21e18aa4d466e6d1b9",
        size=225_505_317,
        unpacked=491_763_598,
    )
}


def retrieve(url: str, checksum: str | None, file: Path, remedy: str) -> Path:
    """Download a file behind its checksum (``md5:...``, or None), unless it is there; return it.

    ``DSLITE_MIRROR`` may name another address at which the publishers' files lie. No connection,
    another file than the published one or no place to write it is an InputError with the remedy.
    """
    import pooch  # here, since only a download needs it

    if mirror := os.environ.get("DSLITE_MIRROR"):
        url = f"{mirror.rstrip('/')}/{file.name}"
    try:
        pooch.retrieve(url, checksum, file.name, file.parent, progressbar=sys.stderr.isatty())
    except ValueError:
        reason = f"its checksum is not the published one, {checksum}"
    except OSError as error:
        # A lost connection is urllib3's cause, inside an exception of requests'.
        cause = getattr(error.args[0], "reason", error) if error.args else error
        reason = error.strerror or str(cause).splitlines()[0][:120]
    else:
        return file
    raise InputError(f"{url}: not downloaded ({reason}); {remedy}")


def fetch(dataset: str) -> Path:
    """Download and unpack a corpus, unless it is there; return its folder.

    InputError where the corpus cannot be downloaded by a program, or the download failed.
    """
    card = cards.load(dataset)
    if dataset not in ARCHIVES:
        advice = [card.obtain or "Its card does not say where it comes from.", card.place]
        if card.layout != "demo":
            advice.append(f"Expected in: {paths.shown(listing.home(card))}")
        words = " ".join(" ".join(advice).split())
        raise InputError(f"`dslite fetch` has no download for {dataset}. {words}")
    licence = f"{card.title}\n\nLicence: {card.licence}\n\nTo be cited as: {card.citation}\n"
    return fetch_archive(ARCHIVES[dataset], paths.raw(dataset), licence)


def fetch_archive(archive: Archive, target: Path, licence: str) -> Path:
    """Download an archive to the cache and unpack it as ``target``, with its licence as a file.

    A folder ``target`` with all files is left alone, and so is a verified archive in the cache (it
    may have been put there by hand). Two commands that fetch the same wait for each other.
    InputError as from `retrieve`, for a full disk, and for an unfinished folder in the way.
    """
    if _count_audio(target) >= archive.files:
        return target
    downloads = paths.cache() / "downloads"
    file = downloads / archive.url.rpartition("/")[2]
    with paths.alone(file), paths.alone(target):
        present = _count_audio(target)
        if present >= archive.files:
            return target  # by the process that this one waited for
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise InputError(
                f"{target}: holds {present} of {archive.files} audio files; move that folder away "
                "and fetch again"
            )
        paths.clear_drafts(target)
        for killed in downloads.glob("tmp????????"):  # pooch's downloads
            killed.unlink()
        downloaded = file.is_file() and file.stat().st_size == archive.size
        _require_space(archive.unpacked + archive.size * (not downloaded), downloads, target.parent)
        remedy = (
            f"try again later, or get the file ({size_in_words(archive.size)}) in another way, "
            f"put it at {file} and give the same command again"
        )
        retrieve(archive.url, f"md5:{archive.md5}", file, remedy)
        _unpack(file, archive, target, licence)
    return target


def _require_space(size: int, *folders: Path) -> None:
    """Raise where one of the disks does not have so many bytes: the two may be one."""
    for folder in folders:
        free = shutil.disk_usage(folder).free
        if size > free:
            raise InputError(
                f"{folder}: {size_in_words(size)} are needed and {size_in_words(free)} are free on "
                "that disk; make room, or name a folder on another disk with DSLITE_DATA (corpora) "
                "or DSLITE_CACHE (downloads)"
            )


def _count_audio(folder: Path) -> int:
    return sum(listing.is_audio(f) for depth in ("*/*", "*/*/*") for f in folder.glob(depth))


def _unpack(file: Path, archive: Archive, target: Path, licence: str) -> None:
    """Unpack under a temporary name, which becomes ``target`` when everything is there."""
    try:
        with zipfile.ZipFile(file) as bundle, paths.replacing(target) as draft:
            members = [name for name in bundle.namelist() if MEMBER.fullmatch(name)]
            if len(members) != archive.files:
                raise InputError(
                    f"{file}: holds {len(members)} of the {archive.files} expected audio files; "
                    "nothing was unpacked, delete that archive and fetch again"
                )
            unpacked = sum(bundle.getinfo(name).file_size for name in members)
            if unpacked > archive.unpacked:
                raise InputError(
                    f"{file}: would unpack to {size_in_words(unpacked)} instead of "
                    f"{size_in_words(archive.unpacked)}; delete that archive and fetch again"
                )
            for name in members:
                bundle.extract(name, draft)
            (draft / "LICENSE.txt").write_text(licence, encoding="utf-8")
    except InputError:
        raise
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file
            raise
        raise InputError(f"{file}: not a sound zip file ({error}); delete it") from None

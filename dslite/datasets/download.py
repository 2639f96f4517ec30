"""Corpora that may be downloaded: fetch and verify; `archives` unpacks."""

import os
import re
import shutil
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from filelock import FileLock

from dslite import cards, paths
from dslite.datasets import listing
from dslite.errors import InputError

UNPACK_BLOCK = 1 << 20  # bytes copied at a time


@dataclass(frozen=True)
class Archive:
    """A published zip file of a corpus.

    Attributes
    ----------
    url : str
    md5 : str
        Hexadecimal, as published.
    size : int
        Bytes.
    unpacked : int
        Bytes of the files to unpack; an archive that declares more is refused.
    licence : str
        Put beside the audio as ``LICENSE.txt``.
    members : str
        Regular expression of the names to unpack; its group is the place in the corpus's folder.
        All others stay in the archive.
    files : int
        How many names that are.
    """

    url: str
    md5: str
    size: int
    unpacked: int
    licence: str
    members: str = r"(?:[^/]+/)?(Actor_\d\d/[^/.][^/]*\.wav)"
    files: int = 1012

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.url.rsplit("/", 1)[-1]


def _fault(info: zipfile.ZipInfo) -> str:
    """Why a member is not to be unpacked; empty if it may be."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    kind = stat.S_IFMT(info.external_attr >> 16)
    outside = name.is_absolute() or ".." in name.parts or ":" in info.filename
    if outside or kind == stat.S_IFLNK:
        return "which could write outside the corpus's folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is neither a file nor a folder"
    return "which is encrypted" if info.flag_bits & 1 else ""


def _sound(bundle: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """All members; raises if any of them, wanted or not, is not what an honest archive holds."""
    first: dict[str, str] = {}
    for info in bundle.infolist():
        fault = _fault(info)
        # One name on disks that tell neither case nor the ways to write an accent apart.
        plain = unicodedata.normalize("NFC", info.filename).casefold().rstrip("/")
        other = first.setdefault(plain, info.filename)
        if not fault and other is not info.filename:
            fault = f"the same name as '{other}'"
        if fault:
            raise InputError(
                f"{file}: holds '{info.filename}', {fault}; nothing was unpacked, delete that "
                "archive"
            )
    return bundle.infolist()


def _wanted(bundle: zipfile.ZipFile, archive: Archive, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Place -> member to unpack."""
    matches = [(re.fullmatch(archive.members, i.filename), i) for i in _sound(bundle, file)]
    found = [(match[1], info) for match, info in matches if match]
    wanted = dict(found)
    if not len({place.casefold() for place in wanted}) == len(found) == archive.files:
        raise InputError(
            f"{file}: holds {len(found)} of the {archive.files} expected audio files; nothing was "
            "unpacked, delete that archive and fetch again"
        )
    declared = sum(info.file_size for info in wanted.values())
    if declared > archive.unpacked:
        raise InputError(
            f"{file}: would unpack to {declared:,} bytes instead of {archive.unpacked:,}; nothing "
            "was unpacked, delete that archive"
        )
    return wanted


def _copy(source: BinaryIO, copy: BinaryIO, size: int) -> None:
    """Copy a member that declares so many bytes, and not one more."""
    while block := source.read(UNPACK_BLOCK):
        size -= len(block)
        if size < 0:
            break
        copy.write(block)
    if size:
        raise zipfile.BadZipFile("a file in it is not of the size it declares")


def unpack(file: Path, archive: Archive, target: Path) -> None:
    """Unpack under a temporary name, which becomes ``target`` when everything is there."""
    try:
        with zipfile.ZipFile(file) as bundle, paths.replacing(target) as draft:
            for name, info in _wanted(bundle, archive, file).items():
                place = draft / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(info) as source, place.open("wb") as copy:
                    _copy(source, copy, info.file_size)
            (draft / "LICENSE.txt").write_text(archive.licence, encoding="utf-8")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{file}: not a sound zip file ({error}); delete it") from None


AUDIO = {".wav", ".flac"}
BLOCK = 1 << 20  # bytes read at a time
PARTIAL = re.compile(r"tmp[a-z0-9_]{8}")  # what pooch calls a download under way


ARCHIVES = {
    "ravdess": Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
        md5="5411230427d67a21e18aa4d466e6d1b9",
        size=225_505_317,
        unpacked=491_763_598,
        licence=(
            "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), song,\n"
            "audio only, version 1.0.0, https://doi.org/10.5281/zenodo.1188976\n\n"
            "Licence: Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International\n"
            "(CC BY-NC-SA 4.0), https://creativecommons.org/licenses/by-nc-sa/4.0/\n\n"
            "To be cited as: Livingstone, S. R. and Russo, F. A. (2018). The Ryerson Audio-Visual\n"
            "Database of Emotional Speech and Song (RAVDESS): a dynamic, multimodal set of facial\n"
            "and vocal expressions in North American English. PLoS ONE 13(5): e0196391.\n"
            "https://doi.org/10.1371/journal.pone.0196391\n"
        ),
    )
}


def fetch(dataset: str, base_url: str | None = None) -> Path:
    """Download and unpack a corpus, unless it is there.

    Parameters
    ----------
    dataset : str
    base_url : str, optional
        Where the archive lies instead of its publisher's site; else ``DSLITE_MIRROR``, if set.

    Returns
    -------
    Path
        Folder of the corpus.

    Raises
    ------
    InputError
        The corpus cannot be downloaded by a program, or the download failed.
    """
    if dataset not in ARCHIVES:
        card = cards.load(dataset)
        said = [card.obtain or "Its card does not say where it comes from.", card.place]
        if card.layout != "demo":
            said.append(f"Expected in: {paths.shown(listing.home(card))}")
        words = " ".join(" ".join(said).split())
        raise InputError(f"`dslite fetch` has no download for {dataset}. {words}")
    archive = ARCHIVES[dataset]
    base_url = base_url or os.environ.get("DSLITE_MIRROR")
    if base_url:
        archive = replace(archive, url=f"{base_url.rstrip('/')}/{archive.name}")
    return fetch_archive(archive, paths.raw(dataset))


def fetch_archive(archive: Archive, target: Path) -> Path:
    """Download one archive to the cache and unpack it as ``target``; both are all or nothing.

    A folder ``target`` with all files is left alone, and so is a verified archive in the cache
    (it may have been put there by hand). A download that breaks off, or does not have the published
    size and checksum, is tried once more. Two commands that fetch the same wait for each other.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    InputError
        No network, a failing server, a wrong size or checksum, an archive that is not what it
        should be, a full disk (found before anything is written), or an unfinished folder in the
        way.
    """
    if _count_audio(target) >= archive.files:
        return target
    downloads = paths.cache() / "downloads"
    try:
        for folder in (downloads, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(downloads / ".lock"), FileLock(target.parent / f".{target.name}.lock"):
            _fetch_alone(archive, downloads, target)
    except OSError as error:
        place = error.filename or target
        raise InputError(f"{place}: cannot be written ({error.strerror or error})") from None
    return target


def _fetch_alone(archive: Archive, downloads: Path, target: Path) -> None:
    """`fetch_archive` for one process at a time, so that a draft on disk is a killed one's."""
    present = _count_audio(target)
    if present >= archive.files:
        return  # by the process that this one waited for
    if target.exists() and any(target.iterdir()):
        raise InputError(
            f"{target}: holds {present} of {archive.files} audio files; move that folder away "
            "and fetch again"
        )
    paths.clear_drafts(target)
    for left in downloads.iterdir():
        if PARTIAL.fullmatch(left.name) and left.is_file():
            left.unlink()
    file = downloads / archive.name
    unpacking = (target.parent, archive.unpacked, "DSLITE_DATA")
    if not file.is_file() or file.stat().st_size != archive.size:
        _require_space((downloads, archive.size, "DSLITE_CACHE"), unpacking)
    file = _download(archive, downloads)
    _require_space(unpacking)
    unpack(file, archive, target)


def _require_space(*needs: tuple[Path, int, str]) -> None:
    """Raise where files would not fit: folder, bytes, and the variable that moves the folder."""
    disks: dict[int, list[tuple[Path, int, str]]] = {}
    free: dict[int, int] = {}
    for folder, size, variable in needs:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        disks.setdefault(there.stat().st_dev, []).append((folder, size, variable))
        free[there.stat().st_dev] = shutil.disk_usage(there).free
    for disk, parts in disks.items():
        needed = sum(size for _, size, _ in parts)
        if needed > free[disk]:
            places = " and ".join(str(folder) for folder, _, _ in parts)
            variables = " or ".join(variable for _, _, variable in parts)
            raise InputError(
                f"{places}: {needed / 1e6:,.1f} MB are needed and {free[disk] / 1e6:,.1f} MB are "
                f"free on that disk; make room, or name a folder on another disk with {variables}"
            )


def _count_audio(folder: Path) -> int:
    found = (f for depth in ("*/*", "*/*/*") for f in folder.glob(depth))
    return sum(f.suffix.lower() in AUDIO and not f.name.startswith(".") for f in found)


class _WrongSizeError(ValueError):
    """A server sends another number of bytes; pooch tries again after a ValueError."""


def _downloader(size: int) -> Callable:
    """A download for pooch that ends as soon as it cannot be the file of that size.

    So what fills no disk is a server that announces more, and one that never stops.
    """

    def wrong(sent: str) -> _WrongSizeError:
        return _WrongSizeError(f"the server sends {sent} bytes instead of {size:,}")

    def download(url: str, output_file: str, pooch) -> None:
        import requests
        from tqdm import tqdm

        plain = {"Accept-Encoding": "identity"}  # else the announced length may not be the file's
        with requests.get(url, stream=True, timeout=30, headers=plain) as response:
            response.raise_for_status()
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) != size:
                raise wrong(f"{int(announced):,}")
            arrived = 0
            shown = tqdm(total=size, unit="B", unit_scale=True, disable=not sys.stderr.isatty())
            with shown, Path(output_file).open("wb") as file:
                for block in response.iter_content(BLOCK):
                    arrived += len(block)
                    if arrived > size:
                        raise wrong("more")
                    file.write(block)
                    shown.update(len(block))
        if arrived != size:
            raise wrong(f"{arrived:,}")

    return download


def _download(archive: Archive, folder: Path) -> Path:
    """The verified archive; pooch writes under a temporary name until the checksum is right."""
    import pooch  # here, since only a download needs it
    import requests

    box = pooch.create(
        path=folder,
        base_url="",
        registry={archive.name: f"md5:{archive.md5}"},
        urls={archive.name: archive.url},
        retry_if_failed=1,
    )
    try:
        return Path(box.fetch(archive.name, downloader=_downloader(archive.size)))
    except requests.HTTPError as error:
        reason = f"the server answered {error.response.status_code} {error.response.reason}"
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ):
        reason = "no connection, or it broke off"
    except requests.RequestException as error:
        reason = str(error)
    except _WrongSizeError as error:
        reason = str(error)
    except ValueError:  # pooch's checksum error
        reason = f"twice the download did not have the MD5 checksum {archive.md5}"
    raise InputError(
        f"{archive.url}: not downloaded ({reason}); try again later, or get the file "
        f"({archive.size:,} bytes) in another way, put it at {folder / archive.name} and give the "
        "same command again"
    )

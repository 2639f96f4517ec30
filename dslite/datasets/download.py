"""Corpora that may be downloaded: fetched, verified and unpacked."""

import os
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from dslite import cards, paths
from dslite.datasets import listing
from dslite.errors import InputError

BLOCK = 1 << 20  # bytes read at a time
PARTIAL = re.compile(r"tmp[a-z0-9_]{8}")  # what pooch calls a download under way


@dataclass(frozen=True)
class Archive:
    """A published zip file of a corpus."""

    url: str
    md5: str  # hexadecimal, as published; what has another one is never unpacked
    size: int  # bytes
    unpacked: int  # bytes of the files to unpack
    licence: str  # put beside the audio as LICENSE.txt
    # Names to unpack; the group is the place in the corpus's folder. All others are left.
    members: str = r"(?:[^/]+/)?(Actor_\d\d/[^/\\.][^/\\]*\.wav)"
    files: int = 1012  # names that match

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.url.rsplit("/", 1)[-1]


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


def fetch(dataset: str) -> Path:
    """Download and unpack a corpus, unless it is there; return its folder.

    ``DSLITE_MIRROR`` may name the address at which the archive lies instead of its publisher's.

    Raises
    ------
    InputError
        The corpus cannot be downloaded by a program, or the download failed.
    """
    if dataset not in ARCHIVES:
        card = cards.load(dataset)
        advice = [card.obtain or "Its card does not say where it comes from.", card.place]
        if card.layout != "demo":
            advice.append(f"Expected in: {paths.shown(listing.home(card))}")
        words = " ".join(" ".join(advice).split())
        raise InputError(f"`dslite fetch` has no download for {dataset}. {words}")
    archive = ARCHIVES[dataset]
    mirror = os.environ.get("DSLITE_MIRROR")
    if mirror:
        archive = replace(archive, url=f"{mirror.rstrip('/')}/{archive.name}")
    return fetch_archive(archive, paths.raw(dataset))


def fetch_archive(archive: Archive, target: Path) -> Path:
    """Download an archive to the cache and unpack it as ``target``, which is returned.

    Both are all or nothing.

    A folder ``target`` with all files is left alone, and so is a verified archive in the cache
    (it may have been put there by hand). A download that breaks off, or does not have the published
    size and checksum, is tried once more. Two commands that fetch the same wait for each other.

    Raises
    ------
    InputError
        No network, a failing server, a wrong size or checksum, a full disk (seen before anything
        is written), or an unfinished folder in the way.
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
    _unpack(file, archive, target)


def _require_space(*needs: tuple[Path, int, str]) -> None:
    """Raise where files would not fit: folder, bytes, and the variable that moves the folder."""
    disks: dict[int, list[tuple[Path, int, str]]] = {}
    free: dict[int, int] = {}
    for folder, size, variable in needs:
        parent = next(place for place in (folder, *folder.parents) if place.exists())
        disks.setdefault(parent.stat().st_dev, []).append((folder, size, variable))
        free[parent.stat().st_dev] = shutil.disk_usage(parent).free
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
    files = (f for depth in ("*/*", "*/*/*") for f in folder.glob(depth))
    return sum(f.suffix.lower() in listing.AUDIO and not f.name.startswith(".") for f in files)


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
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
        reason = "no connection, or it broke off"
    except (requests.RequestException, _WrongSizeError) as error:
        reason = str(error)
    except ValueError:  # pooch's checksum error
        reason = f"twice the download did not have the MD5 checksum {archive.md5}"
    raise InputError(
        f"{archive.url}: not downloaded ({reason}); try again later, or get the file "
        f"({archive.size:,} bytes) in another way, put it at {folder / archive.name} and give the "
        "same command again"
    )


def _unpack(file: Path, archive: Archive, target: Path) -> None:
    """Unpack under a temporary name, which becomes ``target`` when everything is there."""
    try:
        with zipfile.ZipFile(file) as bundle, paths.replacing(target) as draft:
            matches = [re.fullmatch(archive.members, name) for name in bundle.namelist()]
            members = {match[1]: match[0] for match in matches if match}
            if len(members) != archive.files:
                raise InputError(
                    f"{file}: holds {len(members)} of the {archive.files} expected audio files; "
                    "nothing was unpacked, delete that archive and fetch again"
                )
            for name, member in members.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(member) as source, (draft / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, BLOCK)
            (draft / "LICENSE.txt").write_text(archive.licence, encoding="utf-8")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{file}: not a sound zip file ({error}); delete it") from None

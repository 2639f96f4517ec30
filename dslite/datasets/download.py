"""Corpora that may be downloaded: fetch, verify, unpack."""

import os
import re
import shutil
import stat
import sys
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dslite import cards, paths
from dslite.errors import InputError

AUDIO = {".wav", ".flac"}


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
    licence: str
    members: str = r"(?:[^/]+/)?(Actor_\d\d/[^/.][^/]*\.wav)"
    files: int = 1012

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.url.rsplit("/", 1)[-1]


ARCHIVES = {
    "ravdess": Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
        md5="5411230427d67a21e18aa4d466e6d1b9",
        size=225_505_317,
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
        raise InputError(
            f"`dslite fetch` has no download for {dataset}. "
            f"{card.obtain or 'Its card does not say where the audio comes from.'}"
        )
    archive = ARCHIVES[dataset]
    base_url = base_url or os.environ.get("DSLITE_MIRROR")
    if base_url:
        archive = replace(archive, url=f"{base_url.rstrip('/')}/{archive.name}")
    return fetch_archive(archive, paths.raw(dataset))


def fetch_archive(archive: Archive, target: Path) -> Path:
    """Download one archive to the cache and unpack it as ``target``; both are all or nothing.

    A folder ``target`` with all files is left alone, and so is a verified archive in the cache
    (it may have been put there by hand). A download that breaks off or does not have the
    published checksum is tried once more.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    InputError
        No network, a failing server, a wrong checksum, an archive that is not what it should be,
        a full disk, or an unfinished folder in the way.
    """
    present = _count_audio(target)
    if present >= archive.files:
        return target
    try:
        if target.exists() and any(target.iterdir()):
            raise InputError(
                f"{target}: holds {present} of {archive.files} audio files; move that folder away "
                "and fetch again"
            )
        file = _download(archive, paths.cache() / "downloads")
        _unpack(file, archive, target)
    except OSError as error:
        place = error.filename or target
        raise InputError(f"{place}: cannot be written ({error.strerror or error})") from None
    return target


def _count_audio(folder: Path) -> int:
    found = (f for depth in ("*/*", "*/*/*") for f in folder.glob(depth))
    return sum(f.suffix.lower() in AUDIO and not f.name.startswith(".") for f in found)


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
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20)
    try:
        return Path(box.fetch(archive.name, downloader=downloader))
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
    except ValueError:  # pooch's checksum error
        reason = f"twice the download did not have the MD5 checksum {archive.md5}"
    raise InputError(
        f"{archive.url}: not downloaded ({reason}); try again later, or get the file "
        f"({archive.size:,} bytes) in another way, put it at {folder / archive.name} and give the "
        "same command again"
    )


def _wanted(bundle: zipfile.ZipFile, archive: Archive, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Place -> member to unpack; raises if any member, wanted or not, would leave the folder."""
    for info in bundle.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        link = stat.S_ISLNK(info.external_attr >> 16)
        if name.is_absolute() or ".." in name.parts or ":" in info.filename or link:
            raise InputError(
                f"{file}: holds '{info.filename}', which could write outside the corpus's folder; "
                "nothing was unpacked, delete that archive"
            )
    matches = ((re.fullmatch(archive.members, i.filename), i) for i in bundle.infolist())
    wanted = {match[1]: info for match, info in matches if match}
    if len(wanted) != archive.files:
        raise InputError(
            f"{file}: holds {len(wanted)} of the {archive.files} expected audio files; nothing was "
            "unpacked, delete that archive and fetch again"
        )
    return wanted


def _unpack(file: Path, archive: Archive, target: Path) -> None:
    """Unpack under a temporary name, which becomes ``target`` when everything is there."""
    try:
        with zipfile.ZipFile(file) as bundle, paths.replacing(target) as draft:
            for name, info in _wanted(bundle, archive, file).items():
                place = draft / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(info) as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
            (draft / "LICENSE.txt").write_text(archive.licence, encoding="utf-8")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{file}: not a sound zip file ({error}); delete it") from None

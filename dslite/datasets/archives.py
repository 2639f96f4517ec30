"""Published archives, which are never trusted: checked as a whole before a file is unpacked."""

import re
import stat
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dslite import paths
from dslite.errors import InputError

BLOCK = 1 << 20  # bytes copied at a time


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
    while block := source.read(BLOCK):
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

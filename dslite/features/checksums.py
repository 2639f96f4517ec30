"""Whether what lies in the cache still is what was written there."""

import functools
import json
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dslite import paths

INDEX = "index.json"  # of a folder: what its files hold, and their checksums
SUMS = "crc32"  # key of the checksums in it
BLOCK = 1 << 22  # bytes read at once


class Summed:
    """A file under way that sums up what is written into it.

    CRC-32 finds every torn end, and every flipped bit but one in 4e9, at 2 GB/s a core, twice the
    speed of BLAKE2 or SHA-256: the network that reads the store afterwards is far slower. It guards
    against disks, not against people.

    Parameters
    ----------
    file : binary file, open for writing
    """

    def __init__(self, file: BinaryIO):
        self._file, self.crc32 = file, 0

    def write(self, content: bytes | np.ndarray) -> None:
        """Append bytes, or an array in C order."""
        self._file.write(content)
        self.crc32 = zlib.crc32(content, self.crc32)


def write_index(folder: Path, content: dict[str, Any], sums: dict[str, int]) -> None:
    """Write a folder's index, which makes it a whole one.

    Parameters
    ----------
    folder : Path
    content : dict
        What JSON can hold.
    sums : dict of str to int
        Name of a file -> CRC-32 of its bytes.
    """
    stored = content | {SUMS: sums | {INDEX: _of_json(content)}}
    (folder / INDEX).write_text(json.dumps(stored), encoding="utf-8")


def read_index(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Read a folder's index and hold its files to it.

    Returns
    -------
    content : dict or None
        None: there is nothing that could be used.
    damage : str
        Why, with the file's name; empty where nothing was stored yet.
    """
    if not folder.is_dir():
        return None, ""
    file = folder / INDEX
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        sums = content.pop(SUMS)
        damaged = sums.pop(INDEX) != _of_json(content)
        for name, expected in sums.items():
            if not damaged:
                file = folder / name
                damaged = of_file(file) != expected
    except FileNotFoundError:
        return None, f"{paths.shown(file)} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        damaged = True
    return (None, f"{paths.shown(file)} is damaged (wrong checksum)") if damaged else (content, "")


def of_file(file: Path) -> int:
    """CRC-32 of a file's bytes; read once a process, as long as the file does not change."""
    state = file.stat()
    return _of_state(file.absolute(), state.st_ino, state.st_size, state.st_mtime_ns)


@functools.cache
def _of_state(file: Path, *_state: int) -> int:
    found, block = 0, bytearray(BLOCK)
    with file.open("rb", buffering=0) as opened:
        while length := opened.readinto(block):
            found = zlib.crc32(memoryview(block)[:length], found)
    return found


def _of_json(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())

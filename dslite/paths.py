"""Folders of the project, and files that are written whole or not at all.

Three folders can be moved by an environment variable: ``DSLITE_DATA`` (the corpora),
``DSLITE_CACHE`` (what can be computed again), ``DSLITE_RESULTS`` (the results of runs).
"""

import errno
import glob
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dslite.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 150  # bytes of a name, to which a draft or a run adds its own
# In the hidden folder of a draft: the writer's lock, the draft, and what it replaces.
LOCK, NEW, OLD = "lock", "new", "old"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR)
# For want of space, and otherwise
ROOM = "there is no space for it, make room"
RIGHT = "make the folder writable, or choose another one (DSLITE_RESULTS, DSLITE_CACHE)"


def find(path: str | os.PathLike) -> Path:
    """Return the absolute form of a path that a user typed.

    A relative path is looked up from the working folder and, since a notebook's kernel starts in
    ``notebooks/``, from the top of the project next; else it is taken from the working folder.
    """
    typed = Path(path).expanduser()
    if typed.is_absolute() or typed.exists() or not (ROOT / typed).exists():
        return typed.absolute()
    return ROOT / typed


def _folder(variable: str, default: Path) -> Path:
    """Return the folder that an environment variable names, or the default."""
    value = os.environ.get(variable)
    return find(value) if value else default


def plain_name(name: str) -> str:
    """Return a name that may become a folder or a file; InputError for a path and what is like one.

    Examples
    --------
    >>> plain_name("my corpus")
    'my corpus'
    """
    unlike = name.startswith(".") or any(unicodedata.category(of) in ("Cc", "Cs") for of in name)
    if not name or unlike or {"/", "\\"} & set(name) or len(os.fsencode(name)) > LONGEST:
        raise InputError(
            f"{name!r} cannot be a folder's name: no slashes, no dot at its beginning, nothing "
            f"unprintable, at most {LONGEST} bytes"
        )
    return name


def raw(dataset: str) -> Path:
    """Return the folder of a corpus as its authors publish it."""
    return _folder("DSLITE_DATA", ROOT / "data" / "raw") / dataset


def cache() -> Path:
    """Return the folder of everything that can be computed again."""
    return _folder("DSLITE_CACHE", ROOT / "data" / "cache")


def data(name: str) -> Path:
    """Return a folder of committed data: cards, studies, partitions or paper."""
    return ROOT / "data" / name


def results(dataset: str = "") -> Path:
    """Return the folder of a corpus's results, or of all of them."""
    return _folder("DSLITE_RESULTS", ROOT / "results") / dataset


def records() -> Path:
    """Return the folder of the committed records: small files of finished runs, as in `results`."""
    return results("records")


def shown(path: str | os.PathLike) -> str:
    """Return a path for messages: relative to the working folder or the project where possible."""
    for base in (Path.cwd(), ROOT):
        if Path(path).is_relative_to(base):
            return str(Path(path).relative_to(base))
    return str(path)


@contextmanager
def replacing(target: str | os.PathLike) -> Iterator[Path]:
    """Write a file or a folder under a temporary name and rename it when all went well.

    Yields the temporary name, which has the target's suffix and does not exist yet; InputError
    where the disk is full or must not be written to. After an exception the older target is as it
    was, so an interrupted stage is never taken for a finished one. A killed process leaves its
    draft in a hidden folder, which whoever replaces the same target next removes.
    """
    target = Path(target)
    with _explained(target, NO_SPACE + NO_RIGHT):
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_drafts(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
    lock = _lock(folder / LOCK)
    try:
        with _explained(target, (*NO_SPACE, errno.EROFS)):
            with suppress(NotImplementedError):  # a file system without locks
                lock.acquire(timeout=0)
            (folder / NEW).mkdir()
            draft = folder / NEW / target.name
            yield draft
            if draft.is_dir() and target.is_dir():
                target.rename(folder / OLD)
            try:
                draft.replace(target)
            except BaseException:
                if (folder / OLD).exists():
                    (folder / OLD).rename(target)
                raise
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def write(target: str | os.PathLike, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def clear_drafts(target: str | os.PathLike) -> None:
    """Remove the drafts of a target that killed processes left; those of living ones are locked.

    A process between two renames had moved the older target away: that one is put back.
    """
    target = Path(target)
    for folder in target.parent.glob(f".{glob.escape(target.stem)}-????????"):
        with suppress(OSError, NotImplementedError):
            # Made once the lock is held: without it a process may be about to take the lock.
            if folder.is_symlink() or not (folder / NEW).is_dir():
                continue
            with _lock(folder / LOCK).acquire(timeout=0):
                if (folder / OLD).exists() and not target.exists():
                    (folder / OLD).rename(target)
                shutil.rmtree(folder, ignore_errors=True)


def require_writable(folder: str | os.PathLike) -> None:
    """Raise InputError where nothing can be written: before hours of work, not after them."""
    with _explained(Path(folder), NO_SPACE + NO_RIGHT):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def alone(target: str | os.PathLike) -> Iterator[None]:
    """Wait until no other process holds the same target, and hold it, by ``<target>.lock``."""
    lock = _lock(Path(target).with_suffix(".lock"))
    with _explained(Path(target), NO_SPACE + NO_RIGHT):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire()
    with held:
        yield


def _lock(file: Path):
    """Return the lock of a file; its library takes a tenth of the time of `dslite --help`."""
    from filelock import FileLock

    return FileLock(file)


@contextmanager
def _explained(target: Path, codes: tuple[int, ...]) -> Iterator[None]:
    """Turn an error of the disk into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # HDF5 and TensorFlow raise errors of their own, with the system's words in the text.
        quoted = {code for code in NO_SPACE if os.strerror(code) in str(error)}
        code = next((c for c in codes if c == getattr(error, "errno", None) or c in quoted), None)
        if code is None:
            raise
        # Of a draft in a draft the name that it would have got.
        name = re.sub(rf"(^|/)\.[^/]+-[a-z0-9_]{{8}}/{NEW}(?=/)", "", shown(target))
        remedy = ROOM if code in NO_SPACE else RIGHT
        raise InputError(
            f"{name}: cannot be written ({os.strerror(code)}): {remedy} "
            "and give the same command again; what was finished before is as it was"
        ) from error

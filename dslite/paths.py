"""Folders of the project, and files that are written whole or not at all.

Three folders can be moved by an environment variable: ``DSLITE_DATA`` (the corpora),
``DSLITE_CACHE`` (what can be computed again), ``DSLITE_RESULTS`` (the results of runs).
"""

import ctypes
import errno
import glob
import os
import re
import shutil
import socket
import tempfile
import time
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
NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)
# What another process that replaces the same target leaves for a moment
RACES = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
EXCHANGE, AT_FDCWD = 2, -100  # of Linux's renameat2: RENAME_EXCHANGE, paths from the working folder
ATTEMPTS = 100
ABANDONED = 60  # s after which a draft without a lock is nobody's
# For want of space, of a name that the system takes, and of the right to write
ROOM = "there is no space for it, make room"
NAME = "choose another name"
RIGHT = "make the folder writable, or choose another one (DSLITE_RESULTS, DSLITE_CACHE)"


def find(path: str | os.PathLike) -> Path:
    """Return the absolute form of a path that a user typed.

    A relative path is looked up from the working folder and, since a notebook's kernel starts in
    ``notebooks/``, from the top of the project next; else it is taken from the working folder.
    """
    with suppress(RuntimeError):  # ~name, of nobody
        path = Path(path).expanduser()
    typed = Path(path)
    with reading(path):
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
    draft in a hidden folder, which whoever replaces the same target next removes. What is not in
    the cache, and every single file, is on the disk before it has its name. On Linux there is no
    moment without the target; of several writers at once the last to finish wins.
    """
    target = Path(target)
    with _explained(target, NO_SPACE + NO_RIGHT + NO_NAME):
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
            _flush(draft, target)
            _put(draft, target, folder / OLD)
    finally:
        # Under the lock: the next writer of this target would put the older folder back.
        for part in (NEW, OLD):
            shutil.rmtree(folder / part, ignore_errors=True)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _put(draft: Path, target: Path, old: Path) -> None:
    """Rename a draft to its target; where that cannot be one step, the older folder is ``old``."""
    for attempt in range(ATTEMPTS):
        try:
            if draft.is_dir() and target.is_dir():
                if _exchange(draft, target):
                    return
                target.rename(old)
            draft.replace(target)
        except BaseException as error:
            if old.exists() and not target.exists():
                with suppress(OSError):  # another writer's is there by now
                    old.rename(target)
            race = isinstance(error, OSError) and error.errno in RACES and draft.exists()
            if attempt == ATTEMPTS - 1 or not race:
                raise
        else:
            return
        shutil.rmtree(old, ignore_errors=True)  # another writer's is there already


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = [os.fsencode(path.absolute()) for path in (one, other)]
    return call is not None and not call(AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE)


def _flush(draft: Path, target: Path) -> None:
    """Let a draft reach the disk: after a power failure a name without content would look whole."""
    if draft.is_dir():
        computable = target.absolute().is_relative_to(cache().absolute())
        files = [] if computable else [file for file in draft.rglob("*") if file.is_file()]
    else:
        files = [draft] if draft.is_file() else []
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


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
            if folder.is_symlink() or not folder.is_dir():
                continue
            # Made once the lock is held: without it a process may be about to take the lock.
            recent = time.time() - folder.stat().st_mtime < ABANDONED
            if recent and not (folder / NEW).is_dir():
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


@contextmanager
def claimed(target: str | os.PathLike, doing: str) -> Iterator[None]:
    """Hold a target, by a hidden file beside it; InputError where another process does.

    ``doing`` is what the message says of that process: ``trains this run``. The lock of a process
    that has died is free.
    """
    from filelock import Timeout

    target = Path(target)
    file = target.with_name(f".{target.name}.{LOCK}")
    lock = _lock(file)
    with _explained(target, NO_SPACE + NO_RIGHT):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with suppress(NotImplementedError):  # a file system without locks
                lock.acquire(timeout=0)
        except Timeout:
            holder = file.read_text("utf-8", "replace")[:100] if file.is_file() else ""
            raise InputError(
                f"{shown(target)}: another process {doing}{f' ({holder})' if holder else ''}; "
                "wait until it has ended, or end it, and give the same command again"
            ) from None
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: who opened it meanwhile looks again
        lock.release()


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a temporary folder and remove it; a full or absent TMPDIR is an InputError."""
    try:
        place = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # it tries to write there
        raise InputError(f"no temporary folder can be written to: {ROOM}, or set TMPDIR") from error
    with (
        _explained(place, NO_SPACE, f"{ROOM}, or set TMPDIR to another folder,"),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        yield Path(folder)


@contextmanager
def reading(place: str | os.PathLike = "") -> Iterator[None]:
    """Turn an error of the system, of what cannot be read, into an InputError that names it."""
    try:
        yield
    except OSError as error:
        name = shown(error.filename if isinstance(error.filename, str) else place)
        remedy = "make it readable" if error.errno in NO_RIGHT else "look whether it is in order"
        raise InputError(f"{name}: cannot be read ({error.strerror or error}); {remedy}") from error


def _lock(file: Path):
    """Return the lock of a file; its library takes a tenth of the time of `dslite --help`."""
    from filelock import FileLock

    return FileLock(file)


def remedy_of(code: int, right: str) -> str:
    """Return what is to be done about an error of the system; ``right`` for want of rights."""
    return ROOM if code in NO_SPACE else NAME if code in NO_NAME else right


@contextmanager
def _explained(target: Path, codes: tuple[int, ...], remedy: str = "") -> Iterator[None]:
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
        remedy = remedy or remedy_of(code, RIGHT)
        raise InputError(
            f"{name}: cannot be written ({os.strerror(code)}): {remedy} "
            "and give the same command again; what was finished before is as it was"
        ) from error

"""Where things lie: the only module that knows a folder's name.

Every folder can be moved by an environment variable: ``DSLITE_DATA`` (the corpora),
``DSLITE_CACHE`` (what can be computed again), ``DSLITE_RESULTS`` (what a run leaves).
"""

import errno
import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dslite.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
LOCK, REPLACED = "lock", "replaced"  # beside a draft
SETTLED = 2  # seconds after which a lock that can be taken is a dead process's
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
REMEDIES = {  # is it for want of space?
    True: "there is no space for it, make room",
    False: "make the folder writable, or choose another one (DSLITE_RESULTS, DSLITE_CACHE)",
}


def find(path: str | os.PathLike) -> Path:
    """Absolute form of a path that a user typed.

    A relative path is looked up from the working folder and, since a notebook's kernel starts in
    ``notebooks/``, from the top of the project next. One that exists in neither place is taken
    from the working folder.
    """
    typed = Path(path).expanduser()
    if typed.is_absolute() or typed.exists() or not (ROOT / typed).exists():
        return typed.absolute()
    return ROOT / typed


def _folder(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return find(value) if value else default


def raw(dataset: str) -> Path:
    """Folder of a corpus as it was handed out."""
    return _folder("DSLITE_DATA", ROOT / "data" / "raw") / dataset


def cache() -> Path:
    """Folder of everything that can be computed again."""
    return _folder("DSLITE_CACHE", ROOT / "data" / "cache")


def cards() -> Path:
    """Folder of the corpus cards."""
    return ROOT / "data" / "cards"


def studies() -> Path:
    """Folder of the studies."""
    return ROOT / "data" / "studies"


def partitions() -> Path:
    """Folder of the published partitions."""
    return ROOT / "data" / "partitions"


def published() -> Path:
    """Folder of the paper's transcribed tables."""
    return ROOT / "data" / "paper"


def notebooks() -> Path:
    """Folder of the committed notebooks."""
    return ROOT / "notebooks"


def results(dataset: str = "") -> Path:
    """Folder of a corpus's results, or of all of them."""
    return _folder("DSLITE_RESULTS", ROOT / "results") / dataset


def records() -> Path:
    """Folder of the committed records: small files of finished runs, laid out as `results` is."""
    return results("records")


def shown(path: str | os.PathLike) -> str:
    """A path as a reader wants it: relative to the working folder or the project where possible."""
    for base in (Path.cwd(), ROOT):
        if Path(path).is_relative_to(base):
            return str(Path(path).relative_to(base))
    return str(path)


@contextmanager
def replacing(target: str | os.PathLike) -> Iterator[Path]:
    """Write a file or a folder under a temporary name and rename it when all went well.

    Yields
    ------
    Path
        A name that does not exist yet, in the target's own folder (so that the rename stays on
        one file system) and with the target's suffix. Make a file or a folder of that name.

    Raises
    ------
    InputError
        The disk is full or must not be written to.

    Notes
    -----
    After an exception the temporary name is removed and an older target is left as it was, so an
    interrupted stage is never taken for a finished one. A killed process leaves the temporary name,
    which nobody reads; whoever replaces the same target next removes it. One of a process that is
    alive is locked, and stays.
    """
    target = Path(target)
    with _explained(target, NO_SPACE + NO_RIGHT):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(target)
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
    lock = _lock(workshop / LOCK)
    try:
        with _explained(target, (*NO_SPACE, errno.EROFS)):
            with suppress(NotImplementedError):  # a file system without locks
                lock.acquire(timeout=0)
            draft = workshop / target.name
            yield draft
            _swap(draft, target, workshop / REPLACED)
    finally:
        lock.release()
        shutil.rmtree(workshop, ignore_errors=True)


def require_writable(folder: str | os.PathLike) -> None:
    """InputError where nothing can be written: before hours of work whose results lie there."""
    with _explained(Path(folder), NO_SPACE + NO_RIGHT):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _swap(draft: Path, target: Path, old: Path) -> None:
    """Put a draft in its target's place; a folder's name must be free for that."""
    if draft.is_dir() and target.is_dir():
        target.rename(old)
    try:
        draft.replace(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise


@contextmanager
def alone(target: str | os.PathLike) -> Iterator[None]:
    """Wait until no other process is in here with the same target.

    Raises
    ------
    InputError
        The lock, ``<target>.lock``, cannot be written.
    """
    lock = _lock(Path(target).with_suffix(".lock"))
    with _explained(Path(target), NO_SPACE + NO_RIGHT):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(file: Path):
    from filelock import FileLock  # a tenth of what `dslite --help` takes

    return FileLock(file)


@contextmanager
def _explained(target: Path, codes: tuple[int, ...]) -> Iterator[None]:
    """Make a message of an error that the disk is to blame for.

    HDF5 and TensorFlow raise errors of their own, with the system's words in the text.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = {code for code in NO_SPACE if os.strerror(code) in str(error)}
        code = next((c for c in codes if c == getattr(error, "errno", None) or c in said), None)
        if code is None:
            raise
        # Of a draft in a draft the name that it would have got.
        name = re.sub(r"(^|/)\.[^/]+-[a-z0-9_]{8}(?=/)", "", shown(target))
        raise InputError(
            f"{name}: cannot be written ({os.strerror(code)}): {REMEDIES[code in NO_SPACE]} "
            "and give the same command again; what was finished before is as it was"
        ) from error


def _drafts(target: Path) -> list[Path]:
    """What `replacing` has under way, or was killed over."""
    found = target.parent.glob(f".{glob.escape(target.stem)}-????????")
    return [left for left in found if left.is_dir() and not left.is_symlink()]


def _clear_abandoned(target: Path) -> None:
    """Remove what killed processes left, and nothing of those that are alive.

    Their locks went with them. A lock is taken an instant after its file appears, so a new one says
    nothing yet.
    """
    for left in _drafts(target):
        with suppress(OSError, NotImplementedError):
            if time.time() - (left / LOCK).stat().st_mtime < SETTLED:
                continue
            with _lock(left / LOCK).acquire(timeout=0):
                # Killed between two renames: the old target had gone, the new one had not come.
                if (left / REPLACED).exists() and not target.exists():
                    (left / REPLACED).rename(target)
                shutil.rmtree(left, ignore_errors=True)


def clear_drafts(target: str | os.PathLike) -> None:
    """Remove all that `replacing` one target has left, also what an older version did.

    A process that is just beginning looks the same: whoever calls this holds a lock that the
    others would have to hold.
    """
    for left in _drafts(Path(target)):
        shutil.rmtree(left, ignore_errors=True)

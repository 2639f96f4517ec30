"""Where things lie: the only module that knows a folder's name.

Every folder can be moved by an environment variable: ``DSLITE_DATA`` (the corpora),
``DSLITE_CACHE`` (what can be computed again), ``DSLITE_RESULTS`` (what a run leaves).
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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

    Notes
    -----
    After an exception the temporary name is removed and an older target is left as it was, so an
    interrupted stage is never taken for a finished one. A killed process leaves the temporary name,
    which nobody reads; `clear_drafts` removes it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
    draft = workshop / target.name
    try:
        yield draft
        old = workshop / "replaced"
        if draft.is_dir() and target.is_dir():
            target.rename(old)
        try:
            draft.replace(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def clear_drafts(target: str | os.PathLike) -> None:
    """Remove what killed processes left of `replacing` one target.

    A process that is still at it looks the same: whoever calls this holds a lock that the others
    would have to hold.
    """
    target = Path(target)
    for left in target.parent.glob(f".{glob.escape(target.stem)}-????????"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)

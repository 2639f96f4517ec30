"""What a frozen trunk makes of every picture of a corpus, computed once and kept on disk."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from dslite import paths

VERSION = 1  # part of the key: raise it when a stored value would change
# float16 would halve the size; measured with MobileNetV2 it moves losses by 1e-3, more than the
# 1e-4 to which a training with and without the store has to agree.
DTYPE = np.float32
SPARE = 1 << 30  # bytes that a store leaves free on the disk


def gib(n_bytes: float) -> str:
    """A size for a log line."""
    return f"{n_bytes / 2**30:.2f} GiB"


def refusal(folder: Path, needed: int, limit_gib: float) -> str:
    """Why a store of so many bytes is not written; empty if it is."""
    if needed > limit_gib * 2**30:
        return f"takes {gib(needed)}, more than trunk_cache_gib = {limit_gib:g}"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free - SPARE:
        return f"takes {gib(needed)} and {gib(free)} are free on the disk of {paths.shown(folder)}"
    return ""


def load(
    folder: Path,
    shape: tuple[int, int],
    compute: Callable[[slice], np.ndarray],
    batch: int,
    limit_gib: float,
    log: Callable[[str], None] = print,
) -> np.ndarray | None:
    """Stored activations of a corpus, computed and written where they are not there yet.

    Parameters
    ----------
    folder : Path
        Its name is a hash of all that the activations depend on: audio, settings, backbone,
        weights, cut.
    shape : (chunks, numbers a chunk)
    compute : callable
        Slice of chunks -> float32 [chunks, numbers]. Called only if something is to be computed.
    batch : int
        Chunks a call.
    limit_gib : float
        A larger store is not written.
    log : callable
        Is told the size before anything is written, and why where nothing is.

    Returns
    -------
    memmap of float32, shape [chunks, numbers], or None
        None: the trunk has to run at every step.
    """
    needed = shape[0] * shape[1] * np.dtype(DTYPE).itemsize
    if not _is_complete(folder, shape, needed):
        try:
            why = refusal(folder.parent, needed, limit_gib)
            if why:
                log(f"trunk cache {why}: the frozen layers run at every step")
                return None
            # Two trainings of one corpus often start side by side: the second one waits for the
            # first one's store instead of computing the same again.
            with FileLock(folder.with_suffix(".lock")):
                if not _is_complete(folder, shape, needed):
                    count = f"{shape[0]} x {shape[1]} activations"
                    log(f"trunk cache: {count}, {gib(needed)}, are stored once")
                    begin = time.perf_counter()
                    with paths.replacing(folder) as draft:
                        _write(draft, shape, compute, batch)
                    seconds = time.perf_counter() - begin
                    log(f"trunk cache: {shape[0] / seconds:.0f} pictures/s, {seconds:.0f} s")
        except OSError as error:
            log(f"trunk cache cannot be written ({error}): the frozen layers run at every step")
            return None
    return np.memmap(folder / "activations.bin", DTYPE, "r", shape=shape)


def _is_complete(folder: Path, shape: tuple[int, int], needed: int) -> bool:
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return (
            tuple(index["shape"]) == shape and (folder / "activations.bin").stat().st_size == needed
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(
    folder: Path, shape: tuple[int, int], compute: Callable[[slice], np.ndarray], batch: int
) -> None:
    """Compute in batches; the index is written last."""
    folder.mkdir()
    with (folder / "activations.bin").open("wb") as file:
        for begin in range(0, shape[0], batch):
            part = compute(slice(begin, min(begin + batch, shape[0])))
            file.write(np.ascontiguousarray(part, DTYPE))
    (folder / "index.json").write_text(json.dumps({"shape": shape}), encoding="utf-8")

"""What a frozen trunk makes of every picture of a corpus, computed once and kept on disk."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dslite import paths
from dslite.errors import InputError
from dslite.features import checksums

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
        Is told the size before anything is written, why where nothing is, and which file of an
        older store was damaged.

    Returns
    -------
    memmap of float32, shape [chunks, numbers], or None
        None: the trunk has to run at every step.
    """
    needed = shape[0] * shape[1] * np.dtype(DTYPE).itemsize
    if not _is_complete(folder, shape)[0]:
        try:
            why = refusal(folder.parent, needed, limit_gib)
            if why:
                log(f"trunk cache {why}: the frozen layers run at every step")
                return None
            # Two trainings of one corpus often start side by side: the second one waits for the
            # first one's store instead of computing the same again.
            with paths.alone(folder):
                complete, damage = _is_complete(folder, shape)
                if not complete:
                    if damage:
                        log(f"trunk cache: {damage}, the store is computed again")
                    count = f"{shape[0]} x {shape[1]} activations"
                    log(f"trunk cache: {count}, {gib(needed)}, are stored once")
                    begin = time.perf_counter()
                    with paths.replacing(folder) as draft:
                        _write(draft, shape, compute, batch)
                    seconds = time.perf_counter() - begin
                    log(f"trunk cache: {shape[0] / seconds:.0f} pictures/s, {seconds:.0f} s")
        except (OSError, InputError) as error:
            log(f"trunk cache cannot be written ({error}): the frozen layers run at every step")
            return None
    return np.memmap(folder / "activations.bin", DTYPE, "r", shape=shape)


def _is_complete(folder: Path, shape: tuple[int, int]) -> tuple[bool, str]:
    """Whether the store is there, whole and of that shape; if it is damaged, where."""
    index, damage = checksums.read_index(folder)
    return bool(index) and tuple(index["shape"]) == shape, damage


def _write(
    folder: Path, shape: tuple[int, int], compute: Callable[[slice], np.ndarray], batch: int
) -> None:
    """Compute in batches; the index is written last."""
    folder.mkdir()
    with (folder / "activations.bin").open("wb") as file:
        stored = checksums.Summed(file)
        for begin in range(0, shape[0], batch):
            part = compute(slice(begin, min(begin + batch, shape[0])))
            stored.write(np.ascontiguousarray(part, DTYPE))
    checksums.write_index(folder, {"shape": shape}, {"activations.bin": stored.crc32})

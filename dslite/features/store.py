"""Manifest -> chunks -> stored Mel spectrograms -> batches."""

import functools
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dslite import audio, paths, provenance
from dslite.datasets import scan
from dslite.datasets.manifest import Manifest, digest
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.settings import Settings

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


BATCH = 64  # chunks a call of the spectrogram function
KEY = (  # the settings that a stored spectrogram depends on
    *("sample_rate", "chunk_length_s", "chunk_hop_s", "tail", "trim"),
    *("window_ms", "hop_ms", "mel_bands", "mel_min_hz", "mel_max_hz", "top_db"),
)


@dataclass(frozen=True)
class Store:
    """Stored Mel spectrograms of a corpus.

    Attributes
    ----------
    mel : memmap of uint8, shape [chunks, mel_bands, frames]
    file : ndarray of int64, shape [chunks]
        Row of ``files`` that a chunk was cut from.
    start_s : ndarray of float64, shape [chunks]
        Where in the file it starts, in seconds (of the trimmed file where ``trim`` is on).
    files : DataFrame
        The manifest's table.
    folder : Path
        What the table's paths are relative to.
    dropped : tuple of str
        Files without any chunk (``tail: drop`` and shorter than a chunk).
    key : str
        Hash of the audio's content and the settings, see `store_key`.
    """

    mel: np.ndarray
    file: np.ndarray
    start_s: np.ndarray
    files: pd.DataFrame
    folder: Path
    dropped: tuple[str, ...]
    key: str

    def chunks(self, *partitions: str) -> np.ndarray:
        """Indices of the chunks of one or more partitions, int64, ascending."""
        rows = np.flatnonzero(self.files["partition"].isin(partitions))
        return np.flatnonzero(np.isin(self.file, rows))


def store_key(manifest: Manifest, settings: Settings) -> str:
    """Hash of the audio's content and of all that its spectrograms depend on."""
    content = manifest.table["audio_hash"].tolist()
    used = {key: getattr(settings, key) for key in KEY}
    return provenance.digest([spectrogram.VERSION, used, content])


def load_spectrograms(manifest: Manifest, settings: Settings) -> Store:
    """Spectrograms of a corpus: computed once for each setting, then memory-mapped.

    A store that is not what was written (cut off, a flipped bit) is told and computed again.

    Raises
    ------
    InputError
        A file cannot be read or changed meanwhile, the corpus is not the one whose division lies
        in its results, or ``tail: drop`` leaves a partition without any chunk.
    """
    _require_as_divided(manifest)
    key = store_key(manifest, settings)
    folder = paths.cache() / "spectrograms" / manifest.card.dataset / key[:16]
    index = _stored(manifest, settings, folder)
    store = Store(
        np.memmap(folder / "mel.u8", np.uint8, "r", shape=tuple(index["shape"])),
        np.array(index["file"], dtype=np.int64),
        np.array(index["start_s"], dtype=np.float64),
        manifest.table,
        manifest.folder,
        tuple(index["dropped"]),
        key,
    )
    if store.dropped:
        print(
            f"{len(store.dropped)} of {len(store.files)} files are shorter than a chunk of "
            f"{settings.chunk_length_s} s and dropped (tail: drop)",
            flush=True,
        )
    _require_chunks(store, manifest, settings)
    return store


def _stored(manifest: Manifest, settings: Settings, folder: Path) -> dict[str, Any]:
    """Index of a store, which is computed where there is none that is whole."""
    index, _ = read_index(folder)
    if index is None:
        with paths.alone(folder):  # who comes second finds the first one's store
            index, damage = read_index(folder)
            if index is None:
                if damage:
                    print(f"{damage}: the spectrograms are computed again", flush=True)
                with paths.replacing(folder) as draft:
                    _compute(manifest, settings, draft)
                index, damage = read_index(folder)
    if index is None:
        raise InputError(f"{damage}, just after it was written: is the disk in order?")
    return index


def _require_as_divided(manifest: Manifest) -> None:
    """What stands in the results under one name must come from one state of the corpus."""
    name, results = manifest.card.dataset, paths.results(manifest.card.dataset)
    try:
        divided = json.loads((results / "partition.json").read_text(encoding="utf-8"))
        known = pd.read_csv(results / "manifest.csv", dtype=str, keep_default_na=False)
    except (OSError, ValueError):  # nothing was divided yet
        return
    # A fold is another division of the same files, and is recorded as such.
    if manifest.fold or divided.get("manifest") == digest(manifest):
        return
    columns = ["path", "label", "speaker", "partition", "audio_hash"]
    both = known.reindex(columns=columns).merge(
        manifest.table[columns].astype(str), how="outer", indicator=True
    )
    named = manifest.card.table or name
    files = both.loc[both["_merge"] != "both", "path"].unique()
    which = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    raise InputError(
        f"{name}: the corpus is not the one of {paths.shown(results / 'manifest.csv')} "
        f"({which or 'another order of files'}), and what is computed from the two is not to be "
        f"mixed; if the change is meant, divide it again: dslite partition {named}, "
        "or --forcerun partition in the workflow"
    )


def _require_unchanged(manifest: Manifest, files: list[Path]) -> None:
    """A file that was written to after the manifest was made has an unknown hash."""
    now = scan.gather(files, manifest.card.dataset)["audio_hash"]  # decodes only what changed
    changed = manifest.table["path"][now.to_numpy() != manifest.table["audio_hash"].to_numpy()]
    if len(changed):
        raise InputError(
            f"{manifest.card.dataset}: {len(changed)} files changed while they were read, the "
            f"first one {changed.iloc[0]}; nothing was stored, give the same command again"
        )


def _require_chunks(store: Store, manifest: Manifest, settings: Settings) -> None:
    """Dropping short files must not empty a partition; say so where it takes a class out of one."""
    name, files = manifest.card.dataset, store.files
    kept = files[np.isin(np.arange(len(files)), store.file)]
    for partition in files["partition"].unique():
        before, left = (t["label"][t["partition"] == partition] for t in (files, kept))
        if left.empty:
            raise InputError(
                f"{name}: no file of partition {partition} is as long as a chunk "
                f"({settings.chunk_length_s} s): use tail=keep or a shorter chunk_length_s"
            )
        lost = sorted(set(before) - set(left)) if manifest.card.task == "classification" else []
        if lost:
            print(f"warning: partition {partition} has lost class {', '.join(lost)}", flush=True)


def _compute(manifest: Manifest, settings: Settings, folder: Path) -> None:
    """Cut every file and store its spectrograms; the index is written last."""
    folder.mkdir()
    begin = time.perf_counter()
    files = [manifest.folder / path for path in manifest.table["path"]]
    compute = spectrogram.compiled_mel_image(settings)
    owner, start_s, dropped = [], [], []
    waiting: list[np.ndarray] = []

    # Decoding and resampling release the interpreter lock, so they run beside TensorFlow.
    with ThreadPoolExecutor(2) as pool, (folder / "mel.u8").open("wb") as mel:
        stored = Summed(mel)
        cut = audio.read_ahead(pool, lambda path: audio.chunks_of(path, settings), files)
        for row, (chunks, starts) in enumerate(cut):
            owner.extend([row] * len(starts))
            start_s.extend(starts.tolist())
            waiting.append(chunks)
            if not len(starts):
                dropped.append(str(manifest.table["path"].iloc[row]))
            if sum(map(len, waiting)) >= BATCH or row == len(files) - 1:
                stored.write(compute(np.concatenate(waiting)).numpy().tobytes())
                waiting.clear()
    if not owner:
        raise InputError(
            f"{manifest.card.dataset}: no file is as long as a chunk ({settings.chunk_length_s} s):"
            " use tail=keep or a shorter chunk_length_s"
        )
    _require_unchanged(manifest, files)
    shape = (len(owner), settings.mel_bands, spectrogram.frames(settings))
    index = {"shape": shape, "file": owner, "start_s": start_s, "dropped": dropped}
    write_index(folder, index, {"mel.u8": stored.crc32})
    print(
        f"spectrograms: {len(files)} files -> {len(owner)} chunks of {settings.chunk_length_s} s, "
        f"{np.prod(shape) / 2**20:.0f} MB, {time.perf_counter() - begin:.1f} s",
        flush=True,
    )


def targets(files: pd.DataFrame, classes: tuple[str, ...], task: str) -> np.ndarray:
    """What the model is to learn for each file.

    Returns
    -------
    ndarray of float32, shape [files, classes] or [files, 1]
        One-hot classes, or the value of a regression; zeros where a label is unknown.
    """
    if task == "regression":
        return pd.to_numeric(files["label"]).fillna(0).to_numpy(np.float32)[:, None]
    position = {name: i for i, name in enumerate(classes)}
    known = files["label"].map(position)
    hot = np.zeros((len(files), len(classes)), np.float32)
    rows = np.flatnonzero(known.notna())
    hot[rows, known.iloc[rows].astype(int)] = 1.0
    return hot


def batches(
    sources: Sequence[np.ndarray], chunks: np.ndarray, size: int, *arrays: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of what is stored of each chunk, with the rows of ``arrays`` that belong to them.

    The last batch holds what is left. Reading runs one batch ahead of the consumer.

    Parameters
    ----------
    sources : sequence of ndarray, shape [all chunks, ...]
        Read by chunk: spectrograms, activations.
    chunks : ndarray of int64, shape [n]
    size : int
    *arrays : ndarray, shape [n, ...]
        In the order of ``chunks`` already.
    """

    def read(begin: int) -> tuple[np.ndarray, ...]:
        part = slice(begin, begin + size)
        rows = chunks[part]
        return *(source[rows] for source in sources), *(array[part] for array in arrays)

    with ThreadPoolExecutor(1) as pool:
        yield from audio.read_ahead(pool, read, list(range(0, len(chunks), size)), most=3)


def predict(predictor, source: np.ndarray, chunks: np.ndarray, size: int = BATCH) -> np.ndarray:
    """Outputs of a compiled predictor for what is stored of some chunks.

    Parameters
    ----------
    predictor : callable
        `dslite.models.classifier.predictor` for spectrograms, `dslite.training.steps.predictor` for activations.
    source : ndarray, shape [all chunks, ...]
    chunks : ndarray of int64

    Returns
    -------
    ndarray of float32, shape [chunks, outputs]
    """
    parts = [predictor(part).numpy() for (part,) in batches([source], chunks, size)]
    return np.concatenate(parts)


def waveforms(store: Store, chunks: np.ndarray, settings: Settings) -> Iterator[np.ndarray]:
    """The audio of some chunks (in the order of their files), float32 [samples] each."""
    for row in np.unique(store.file[chunks]):
        cut, _ = audio.chunks_of(store.folder / store.files["path"].iloc[row], settings)
        own = np.flatnonzero(store.file == row)
        yield from cut[np.isin(own, chunks)]


def first_chunks(store: Store, classes: tuple[str, ...]) -> dict[str, int]:
    """A chunk to show of each class: the first one of its first training file.

    Of a regression (no classes) the lowest, the middle and the highest label.
    """
    train = store.files[store.files["partition"] == "train"]
    if classes:
        rows = {name: train.index[train["label"] == name][0] for name in classes}
    else:
        ranked = pd.to_numeric(train["label"]).sort_values(kind="stable").index
        rows = {store.files["label"][row]: row for row in ranked[[0, len(ranked) // 2, -1]]}
    present = {name: np.flatnonzero(store.file == row) for name, row in rows.items()}
    return {name: int(chunks[0]) for name, chunks in present.items() if len(chunks)}


ACTIVATIONS_VERSION = 1  # part of the key: raise it when a stored value would change
# float16 would halve the size; measured with MobileNetV2 it moves losses by 1e-3, more than the
# 1e-4 to which a training with and without the store has to agree.
ACTIVATIONS_DTYPE = np.float32
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


def load_activations(
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
    needed = shape[0] * shape[1] * np.dtype(ACTIVATIONS_DTYPE).itemsize
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
    return np.memmap(folder / "activations.bin", ACTIVATIONS_DTYPE, "r", shape=shape)


def _is_complete(folder: Path, shape: tuple[int, int]) -> tuple[bool, str]:
    """Whether the store is there, whole and of that shape; if it is damaged, where."""
    index, damage = read_index(folder)
    return bool(index) and tuple(index["shape"]) == shape, damage


def _write(
    folder: Path, shape: tuple[int, int], compute: Callable[[slice], np.ndarray], batch: int
) -> None:
    """Compute in batches; the index is written last."""
    folder.mkdir()
    with (folder / "activations.bin").open("wb") as file:
        stored = Summed(file)
        for begin in range(0, shape[0], batch):
            part = compute(slice(begin, min(begin + batch, shape[0])))
            stored.write(np.ascontiguousarray(part, ACTIVATIONS_DTYPE))
    write_index(folder, {"shape": shape}, {"activations.bin": stored.crc32})

"""Stored arrays of a corpus with their checksums: Mel spectrograms, activations of a frozen part.

An array is computed once, written beside an index that holds its shape and checksums, and
memory-mapped from then on. One that is not what was written is computed again.
"""

import functools
import itertools
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import audio, paths, provenance
from dslite.datasets import scan
from dslite.datasets.manifest import Manifest, require_own_results
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.settings import Settings

INDEX = "index.json"  # of a folder: what its array holds, and the checksums
SUMS = "crc32"  # key of the checksums in it
BATCH = 64  # chunks a call of the spectrogram function, or of a predictor
KEY = (  # the settings that a stored spectrogram depends on
    *("sample_rate", "chunk_length_s", "chunk_hop_s", "tail", "trim"),
    *("window_ms", "hop_ms", "mel_bands", "mel_min_hz", "mel_max_hz", "top_db"),
    *("trim_db", "picture", "columns", "level_window_ms", "level_max_hz", "level_range_db"),
    *("mel_scale", "mel_norm", "normalise", "power_floor"),
)
COPIES_VERSION = 1  # the same for spectrograms of augmented copies, `dslite.audio.augmented_copy`
ACTIVATIONS_VERSION = 3  # part of the key: raise it when a stored value would change
# float16 would move losses by 1e-3 (MobileNetV2), more than the 1e-4 to which a training with and
# without the store has to agree.
ACTIVATIONS_DTYPE = np.float32
FEATURES_DTYPE = np.float16  # of pooled features that a head is solved from: 11 bits are enough
TOO_SHORT = "as long as a chunk ({} s): use tail=keep or a shorter chunk_length_s"
HIGHEST_HZ = 8000.0  # where a picture ends whose edge is left to the corpus
SPARE = 1 << 30  # bytes that activations leave free on the disk


@dataclass(frozen=True)
class Store:
    """Stored Mel spectrograms of a corpus."""

    mel: np.ndarray  # memmap of uint8, shape [chunks, rows, columns]
    file: np.ndarray  # int64 [chunks]: row of ``files`` that a chunk was cut from
    # float64 [chunks]: where in the file it starts, seconds (of the trimmed one if ``trim`` is on)
    start_s: np.ndarray
    files: pd.DataFrame  # the manifest's table
    folder: Path  # that the table's paths are relative to
    dropped: tuple[str, ...]  # files without any chunk (``tail: drop`` and shorter than a chunk)
    key: str  # see `store_key`
    # float64 [chunks, 2]: where in a chunk its picture begins and ends, s; None: at its own ends
    sound_s: np.ndarray | None = None
    originals: int | None = None  # first chunks that are no augmented copy's; None: all

    def chunks(self, *partitions: str) -> np.ndarray:
        """Indices of the chunks of one or more partitions, int64, ascending."""
        rows = np.flatnonzero(self.files["partition"].isin(partitions))
        return np.flatnonzero(np.isin(self.file[: self.originals], rows))

    def copies(self, chunks: np.ndarray) -> np.ndarray:
        """Indices of the chunks of the augmented copies of some chunks' files, int64, ascending."""
        first = len(self.file) if self.originals is None else self.originals
        return first + np.flatnonzero(np.isin(self.file[first:], self.file[chunks]))


def of_corpus(settings: Settings, manifest: Manifest) -> Settings:
    """Return settings with what they leave to the corpus: the upper edge of the Mel bands."""
    if settings.mel_max_hz != "corpus":
        return settings
    highest = min(HIGHEST_HZ, manifest.table["sample_rate"].median() / 2, settings.sample_rate / 2)
    return settings.model_copy(update={"mel_max_hz": float(highest)})


def store_key(manifest: Manifest, settings: Settings, seed: int | None = None) -> str:
    """Hash the audio's content and all that its spectrograms depend on."""
    content = manifest.table["audio_hash"].tolist()
    used = {key: getattr(settings, key) for key in KEY}
    drawn = [] if seed is None else [COPIES_VERSION, settings.copies, seed]
    return provenance.digest([spectrogram.VERSION, used, content, *drawn])


def load_spectrograms(manifest: Manifest, settings: Settings, seed: int | None = None) -> Store:
    """Load the spectrograms of a corpus; compute and store them where they are not stored yet.

    With a seed, those of the settings' augmented copies follow, in any partition.
    A file that cannot be read or changed meanwhile, a corpus that is not the one whose division
    lies in its results, or a partition without any chunk (``tail: drop``) is an InputError.
    """
    require_own_results(manifest)
    settings = of_corpus(settings, manifest)
    seed = seed if settings.copies else None
    key = store_key(manifest, settings, seed)
    folder = paths.cache() / "spectrograms" / manifest.card.dataset / key[:16]
    compute = functools.partial(_compute_spectrograms, manifest, settings, seed)
    mel, index = _load(folder, "mel.u8", np.uint8, compute)
    file, start_s = np.array(index["file"], np.int64), np.array(index["start_s"], np.float64)
    sound_s = np.array(index["sound_s"], np.float64).reshape(-1, 2)
    dropped = tuple(index["dropped"])
    of_files = (manifest.table, manifest.folder, dropped, key)
    store = Store(mel, file, start_s, *of_files, sound_s, index.get("originals"))
    _require_chunks(store, manifest, settings)
    return store


def _require_chunks(store: Store, manifest: Manifest, settings: Settings) -> None:
    """Refuse a partition that lost all its files to ``tail: drop``; print what else was lost."""
    name, files, length = manifest.card.dataset, store.files, settings.chunk_length_s
    if store.dropped:
        count = f"{len(store.dropped)} of {len(files)} files are shorter than a chunk"
        print(f"{count} of {length} s and dropped (tail: drop)", flush=True)
    long_enough = files[np.isin(np.arange(len(files)), store.file)]
    for partition in files["partition"].unique():
        before, left = (t["label"][t["partition"] == partition] for t in (files, long_enough))
        if left.empty:
            short = TOO_SHORT.format(length)
            raise InputError(f"{name}: no file of partition {partition} is {short}")
        lost = sorted(set(before) - set(left)) if manifest.card.task == "classification" else []
        if lost:
            print(f"warning: partition {partition} has lost class {', '.join(lost)}", flush=True)


def _compute_spectrograms(
    manifest: Manifest, settings: Settings, seed: int | None, index: dict[str, Any], damage: str
) -> Iterator[np.ndarray]:
    """Cut every audio file, then its copies; yield spectrograms, uint8, and fill their index."""
    if damage:
        print(f"{damage}: the spectrograms are computed again", flush=True)
    begin = time.perf_counter()
    audio_files = [manifest.folder / path for path in manifest.table["path"]]
    compute = spectrogram.compiled_mel_image(settings)
    owner, start_s, sound_s, dropped, waiting = [], [], [], [], []
    copies = 0 if seed is None else settings.copies
    sources = list(itertools.product(range(copies + 1), range(len(audio_files))))

    def read(source: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        copy, row = source
        rng = np.random.default_rng([seed, row, copy]) if copy else None
        return audio.chunks_of(audio_files[row], settings, rng)

    # Decoding and resampling release the interpreter lock, so they run beside TensorFlow.
    with ThreadPoolExecutor(2) as pool:
        cut = audio.read_ahead(pool, read, sources)
        for (copy, row), (chunks, starts) in zip(sources, cut, strict=True):
            owner.extend([row] * len(starts))
            start_s.extend(starts.tolist())
            sound_s.extend(sounding_s(chunks, settings))
            waiting.append(chunks)
            if not copy and not len(starts):
                dropped.append(str(manifest.table["path"].iloc[row]))
            if sum(map(len, waiting)) >= BATCH or row == len(audio_files) - 1:
                yield compute(np.concatenate(waiting)).numpy()
                waiting.clear()
            if not copy:
                index["originals"] = len(owner)
    name, table = manifest.card.dataset, manifest.table
    if not owner:
        raise InputError(f"{name}: no file is {TOO_SHORT.format(settings.chunk_length_s)}")
    now = scan.gather(audio_files, name)["audio_hash"]  # decodes only what changed
    changed = table["path"][now.to_numpy() != table["audio_hash"].to_numpy()]
    if len(changed):
        raise InputError(
            f"{name}: {len(changed)} files changed while they were read, the first one "
            f"{changed.iloc[0]}; nothing was stored, give the same command again"
        )
    shape = (len(owner), *spectrogram.shape(settings))
    size = provenance.size_in_words(float(np.prod(shape)))
    counts = f"{len(audio_files)} files" + f", {copies} copies of each" * bool(copies)
    counts += f" -> {len(owner)} chunks of {settings.chunk_length_s} s"
    print(f"spectrograms: {counts}, {size}, {time.perf_counter() - begin:.1f} s", flush=True)
    index |= {"shape": shape, "file": owner, "start_s": start_s, "dropped": dropped}
    index |= {"sound_s": sound_s}


def sounding_s(chunks: np.ndarray, settings: Settings) -> list[tuple[float, float]]:
    """Return where the picture of each chunk, float32 [chunks, samples], begins and ends, in s."""
    if settings.picture == "chunk":
        return [(0.0, settings.chunk_length_s)] * len(chunks)
    rate = settings.sample_rate
    ends = (audio.sounding(chunk, rate, settings.trim_db) for chunk in chunks)
    return [(begin / rate, end / rate) for begin, end in ends]


def load_activations(
    folder: Path,
    shape: tuple[int, int],
    compute: Callable[[slice], np.ndarray],
    batch: int,
    limit_gib: float,
    log: Callable[[str], None],
    dtype: type = ACTIVATIONS_DTYPE,
) -> np.ndarray | None:
    """Load stored activations, a memmap; where there are none, compute and store them.

    ``folder`` is named by a hash of all that they depend on; ``compute`` takes a slice of ``batch``
    chunks. None, and the reason is logged, where there is no room for them.
    """
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    takes = f"{size / 2**30:.2f} GiB"

    def parts(index: dict[str, Any], damage: str) -> Iterator[np.ndarray]:
        if size > limit_gib * 2**30:
            raise InputError(f"it takes {takes}, more than trunk_cache_gib = {limit_gib:g}")
        free, disk = shutil.disk_usage(folder.parent).free, paths.shown(folder.parent)
        if size > free - SPARE:
            left = f"{free / 2**30:.2f} GiB are free on the disk of {disk}"
            raise InputError(f"it takes {takes}, {left}")
        if damage:
            log(f"trunk cache: {damage}, the store is computed again")
        log(f"trunk cache: {shape[0]} x {shape[1]} activations, {takes}, are stored once")
        begin = time.perf_counter()
        for first in range(0, shape[0], batch):
            yield compute(slice(first, min(first + batch, shape[0])))
        seconds = time.perf_counter() - begin
        log(f"trunk cache: {shape[0] / seconds:.0f} pictures/s, {seconds:.0f} s")
        index["shape"] = shape

    try:
        return _load(folder, "activations.bin", dtype, parts)[0]
    except (OSError, InputError) as error:
        log(f"trunk cache is not written ({error}): the frozen layers run at every step")
    return None


def _load(
    folder: Path,
    name: str,
    dtype: type,
    parts: Callable[[dict[str, Any], str], Iterator[np.ndarray]],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Memory-map a folder's array and read its index; compute both where they are not whole.

    ``parts`` yields the array piece by piece and fills the index, with the array's ``shape``; its
    second argument is what is damaged, if something was stored. CRC-32 finds every torn end, and
    every flipped bit but one in 4e9, at 2 GB/s a core: it guards against disks, not people.
    """
    index, damage = _read_index(folder, name)
    if index is None:
        with paths.alone(folder):  # of two trainings side by side, the second one waits
            index, damage = _read_index(folder, name)
            if index is None:
                with paths.replacing(folder) as draft:
                    draft.mkdir()
                    index, crc32 = {}, 0
                    with (draft / name).open("wb") as file:
                        for part in parts(index, damage):
                            content = np.asarray(part, dtype).tobytes()
                            file.write(content)
                            crc32 = zlib.crc32(content, crc32)
                    index |= {SUMS: {name: crc32, INDEX: _json_crc32(index)}}
                    (draft / INDEX).write_text(json.dumps(index), encoding="utf-8")
                index, damage = _read_index(folder, name)
    if index is None:
        raise InputError(f"{damage}, just after it was written: is the disk in order?")
    return np.memmap(folder / name, dtype, "r", shape=tuple(index["shape"])), index


def _read_index(folder: Path, name: str) -> tuple[dict[str, Any] | None, str]:
    """Read a folder's index and hold its array to it: the index or None, and what is damaged."""
    if not folder.is_dir():
        return None, ""
    file = folder / INDEX
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        sums = index.pop(SUMS)
        if sums[INDEX] == _json_crc32(index):
            file = folder / name
            if sums[name] == _file_crc32(file):
                return index, ""
    except FileNotFoundError:
        return None, f"{paths.shown(file)} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # damaged
    return None, f"{paths.shown(file)} is damaged (wrong checksum)"


def _file_crc32(file: Path) -> int:
    """Sum up a file's bytes, once a process as long as the file does not change."""
    state = file.stat()
    return _state_crc32(file.absolute(), state.st_ino, state.st_size, state.st_mtime_ns)


@functools.cache
def _state_crc32(file: Path, *_state: int) -> int:
    crc32 = 0
    with file.open("rb") as opened:
        while block := opened.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return crc32


def _json_crc32(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def targets(files: pd.DataFrame, classes: tuple[str, ...], task: str) -> np.ndarray:
    """Return files' one-hot classes or numbers, float32 [files, outputs]; 0 of no label."""
    if task == "regression":
        return pd.to_numeric(files["label"]).fillna(0).to_numpy(np.float32)[:, None]
    labels = files["label"].to_numpy(object)[:, None]
    return (labels == np.array(classes, object)).astype(np.float32)


def batches(
    sources: Sequence[np.ndarray], chunks: np.ndarray, size: int, *arrays: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield batches of what is stored of chunks, and the rows of ``arrays`` that belong to them.

    Reading runs ahead. ``sources``, [all chunks, ...] each, are read by chunk; ``arrays`` are in
    the order of ``chunks``, int64 [n], already.
    """

    def read(begin: int) -> tuple[np.ndarray, ...]:
        part = slice(begin, begin + size)
        rows = chunks[part]
        return *(source[rows] for source in sources), *(array[part] for array in arrays)

    with ThreadPoolExecutor(1) as pool:
        yield from audio.read_ahead(pool, read, list(range(0, len(chunks), size)), most=3)


def predict(predictor: Callable, source: np.ndarray, chunks: np.ndarray) -> np.ndarray:
    """Return a predictor's outputs, float32 [chunks, outputs], for some chunks of an array."""
    parts = [predictor(part).numpy() for (part,) in batches([source], chunks, BATCH)]
    return np.concatenate(parts)


def waveforms(store: Store, chunks: np.ndarray, settings: Settings) -> Iterator[np.ndarray]:
    """Yield the audio of some chunks, float32 [samples] each, in the order of their files."""
    for row in np.unique(store.file[chunks]):
        cut, _ = audio.chunks_of(store.folder / store.files["path"].iloc[row], settings)
        of_file = np.flatnonzero(store.file == row)
        yield from cut[np.isin(of_file, chunks)]


def first_chunks(store: Store, classes: tuple[str, ...]) -> dict[str, int]:
    """Return a chunk to show of each class: the first one of its first training file.

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

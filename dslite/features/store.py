"""Manifest -> chunks -> stored Mel spectrograms -> batches."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import paths, provenance
from dslite.datasets import scan
from dslite.datasets.manifest import Manifest, digest
from dslite.errors import InputError
from dslite.features import checksums, clips, spectrogram
from dslite.settings import Settings

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


def spectrogram_function(settings: Settings):
    """A compiled `dslite.features.spectrogram.mel_image` for chunks of one length."""
    samples = settings.chunk_samples

    @tf.function(input_signature=[tf.TensorSpec([None, samples], tf.float32)], autograph=False)
    def compute(waveforms):
        return spectrogram.mel_image(waveforms, settings)

    return compute


def store_key(manifest: Manifest, settings: Settings) -> str:
    """Hash of the audio's content and of all that its spectrograms depend on."""
    content = manifest.table["audio_hash"].tolist()
    used = {key: getattr(settings, key) for key in KEY}
    return provenance.digest([spectrogram.VERSION, used, content])


def load(manifest: Manifest, settings: Settings) -> Store:
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
    index, _ = checksums.read_index(folder)
    if index is None:
        with paths.alone(folder):  # who comes second finds the first one's store
            index, damage = checksums.read_index(folder)
            if index is None:
                if damage:
                    print(f"{damage}: the spectrograms are computed again", flush=True)
                with paths.replacing(folder) as draft:
                    _compute(manifest, settings, draft)
                index, damage = checksums.read_index(folder)
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
    compute = spectrogram_function(settings)
    owner, start_s, dropped = [], [], []
    waiting: list[np.ndarray] = []

    # Decoding and resampling release the interpreter lock, so they run beside TensorFlow.
    with ThreadPoolExecutor(2) as pool, (folder / "mel.u8").open("wb") as mel:
        stored = checksums.Summed(mel)
        cut = clips.ahead(pool, lambda path: clips.chunks_of(path, settings), files)
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
    checksums.write_index(folder, index, {"mel.u8": stored.crc32})
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
        yield from clips.ahead(pool, read, list(range(0, len(chunks), size)), most=3)


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
        cut, _ = clips.chunks_of(store.folder / store.files["path"].iloc[row], settings)
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

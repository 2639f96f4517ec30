"""What a corpus's files are, decoded once and stored in the cache."""

import hashlib
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from dslite import paths, provenance
from dslite.audio import Balance, blocks, cancelling, opened, require_finite, source
from dslite.datasets import fingerprint
from dslite.errors import InputError

COLUMNS = {
    **{"duration_s": "float64", "sample_rate": "int64", "channels": "int64", "peak": "float64"},
    **{"clipped": "int64", "truncated": "int64", "audio_hash": "str"},
    "remarks": "str",
    "fingerprint": "str",
}

State = tuple[str, int, int]  # a file is decoded again when any of these changed:
STATE = {"path": "str", "size": "int64", "mtime_ns": "int64"}

FULL_SCALE = 0.999  # of 1: converters and encoders clip a little below the largest number
LARGE = 1000  # files from which processes, which share no lock of Python's, are worth their start
MOST_PROCESSES = 8  # of 150 MB each

CLIPPED_RUN = 3  # so many samples at full scale in a row are a cut-off peak, fewer may be a peak


@dataclass(frozen=True)
class Facts:
    """What a stored file is, before any resampling."""

    duration_s: float  # frames over rate
    sample_rate: int  # Hz
    channels: int
    peak: float  # largest magnitude of a sample; full scale is 1
    clipped: int  # samples in runs of at least `CLIPPED_RUN` at full scale, over all channels
    truncated: int  # 1 where the file ends before its header says, as a broken-off copy does
    audio_hash: str  # SHA-256 of rate, channels and samples, hexadecimal: see `of_file`
    remarks: str = ""  # what is not heard as it is stored, sentences with ; between them
    fingerprint: str = ""  # by which other copies are recognised: see `dslite.datasets.fingerprint`


def _clipped(magnitude: np.ndarray) -> int:
    """Samples in runs at full scale of a block [frames, channels]; a run ends with its block."""
    full = magnitude >= FULL_SCALE
    if not full.any() or len(full) < CLIPPED_RUN:
        return 0
    runs = np.lib.stride_tricks.sliding_window_view(full, CLIPPED_RUN, axis=0).all(axis=-1)
    inside = np.zeros_like(full)
    for offset in range(CLIPPED_RUN):
        inside[offset : offset + len(runs)] |= runs
    return int(inside.sum())


def of_file(path: str | PathLike) -> Facts:
    """Decode a stored file block by block and say what it is; refuses what `audio.read` refuses.

    The hash runs over float64 samples, which hold every integer format up to 32 bits and every
    float format exactly: 16-bit audio has one hash as WAV, as FLAC and even widened. Lossy formats
    decode to slightly different samples in different versions of libsndfile and FFmpeg.
    """
    digest = hashlib.sha256()
    frames, clipped, peak, balance = 0, 0, 0.0, Balance()
    with opened(path) as file:
        digest.update(f"{file.rate} Hz, {file.channels} channels\n".encode())
        spectrogram = fingerprint.Spectrogram(file.rate, file.channels)
        for block in blocks(file, path, "float64"):
            require_finite(block, path)
            balance.add(block)
            spectrogram.add(block)
            # Adding zero turns the float formats' -0.0 into the integer formats' 0.0.
            digest.update((block + 0.0).astype("<f8", copy=False).tobytes())
            magnitude = np.abs(block, out=block)
            peak = max(peak, float(magnitude.max()))
            clipped += _clipped(magnitude)
            frames += len(block)
        if not frames:
            raise InputError(f"{path}: the file holds no audio; replace or remove it")
        clipped = 0 if peak > 1 else clipped  # of floats that exceed full scale nothing is cut off
        stored = (frames / file.rate, file.rate, file.channels, peak, clipped)
        louder, remarks = balance.louder_channel(), file.remarks
        remarks = [*remarks, *([cancelling(louder)] if louder is not None else [])]
        facts = (*stored, int(file.broken_off), digest.hexdigest(), "; ".join(remarks))
        return Facts(*facts, fingerprint.of_levels(spectrogram.levels()))


def _state(file: Path | None) -> State | None:
    """What a file's facts are stored under; None for a missing file."""
    try:
        status = file and source(file).stat()
    except OSError:
        return None
    return status and (str(file.absolute()), status.st_size, status.st_mtime_ns)


def _load(store: Path) -> dict[State, Facts]:
    rows = _stored(store)
    if rows is None:
        text = f"{paths.shown(store)} is damaged (wrong checksum): the audio is decoded again"
        print(text, file=sys.stderr, flush=True)
    if not rows:
        return {}
    # As strings first: read_csv's own floats may differ from the written ones in the last bit.
    table = pd.read_csv(io.StringIO(rows), dtype="str", keep_default_na=False)
    if list(table.columns) != [*STATE, *COLUMNS]:  # of another version
        return {}
    rows = table.astype(STATE | COLUMNS).itertuples(index=False, name=None)
    return {row[:3]: Facts(*row[3:]) for row in rows}


def _stored(store: Path) -> str | None:
    """Text of a store; empty where there is none yet, None where it is damaged."""
    try:
        head, _, text = store.read_text(encoding="utf-8").partition("\n")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return None
    return text if head == _checksum(text) else None


def _store(store: Path, text: str) -> None:
    """Write a store: a checksum, and below it the text."""
    paths.write(store, f"{_checksum(text)}\n{text}")


def _checksum(text: str) -> str:
    """First line of a store."""
    return f"# crc32 {zlib.crc32(text.encode()):08x}"


def _facts_or_none(file: Path) -> Facts | None:
    try:
        return of_file(file)
    except InputError:
        return None


def _decoded(files: Sequence[Path]) -> Iterator[Facts | None]:
    """Facts of files in their order, decoded in threads, of many files in processes."""
    many = len(files) >= LARGE
    workers = min(MOST_PROCESSES, joblib.cpu_count()) if many else 2
    how = {"prefer": "processes" if many else "threads", "batch_size": 32 if many else 1}
    parallel = joblib.Parallel(workers, return_as="generator", **how)
    return parallel(joblib.delayed(_facts_or_none)(file) for file in files)


def gather(files: Sequence[Path | None], dataset: str) -> pd.DataFrame:
    """Gather the `Facts` of files [files, COLUMNS], from the cache where they did not change.

    None among the files is not opened. A missing or undecodable file has NaN, 0 and an empty hash.
    """
    store = paths.cache() / "audio" / f"{dataset}.csv"
    cached = _load(store)
    states = [_state(file) for file in files]
    todo = {s: file for s, file in zip(states, files, strict=True) if s and s not in cached}
    bar = {"desc": f"decoding {dataset}", "unit": "file", "leave": False, "disable": None}
    facts = tqdm(_decoded(list(todo.values())), total=len(todo), **bar)
    decoded = {state: of for state, of in zip(todo, facts, strict=True) if of}
    cached |= decoded
    if decoded:
        rows = [(*s, *vars(cached[s]).values()) for s in dict.fromkeys(states) if s in cached]
        table = pd.DataFrame(rows, columns=[*STATE, *COLUMNS])
        _store(store, table.to_csv(index=False, lineterminator="\n"))
    unknown = Facts(float("nan"), 0, 0, float("nan"), 0, 0, "")
    rows = [vars(cached.get(state, unknown)) for state in states]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def near_duplicates(
    fingerprints: Sequence[str], dataset: str
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return what `fingerprint.near_duplicates` does, from the cache where it is known."""
    store = paths.cache() / "audio" / f"{dataset}-pairs.json"
    key = provenance.digest(list(fingerprints))
    text = _stored(store)
    content = json.loads(text) if text else {}
    if content.get("fingerprints") != key or "crowded" not in content:
        pairs, crowded = fingerprint.near_duplicates(fingerprints)
        content = {"fingerprints": key, "pairs": pairs, "crowded": crowded}
        _store(store, json.dumps(content))
    return [(one, other) for one, other in content["pairs"]], content["crowded"]

"""What a corpus's files are (`dslite.audio.Facts`), decoded once and stored in the cache."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from dslite import paths
from dslite.audio import Facts, facts
from dslite.errors import InputError

COLUMNS = {
    **{"duration_s": "float64", "sample_rate": "int64", "channels": "int64", "peak": "float64"},
    **{"clipped": "int64", "truncated": "int64", "audio_hash": "str"},
}
QUIET = 200  # files decoded without a progress bar

State = tuple[str, int, int]  # a file is decoded again when any of these changed:
STATE = {"path": "str", "size": "int64", "mtime_ns": "int64"}


def _state(file: Path | None) -> State | None:
    """What a file's facts are stored under; None for a missing file."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file.absolute()), found.st_size, found.st_mtime_ns


def _load(store: Path) -> dict[State, Facts]:
    try:
        # As strings first: read_csv's own floats may differ from the written ones in the last bit.
        table = pd.read_csv(store, dtype="str", keep_default_na=False)[[*STATE, *COLUMNS]]
        rows = table.astype(STATE | COLUMNS).itertuples(index=False, name=None)
        return {row[:3]: Facts(*row[3:]) for row in rows}
    except (OSError, ValueError, KeyError):  # none yet, or damaged: everything is decoded again
        return {}


def _save(store: Path, known: dict[State, Facts]) -> None:
    rows = [(*state, *vars(found).values()) for state, found in known.items()]
    with paths.replacing(store) as draft:
        pd.DataFrame(rows, columns=[*STATE, *COLUMNS]).to_csv(draft, index=False)


def _facts_or_none(file: Path) -> Facts | None:
    try:
        return facts(file)
    except InputError:
        return None


def gather(files: Sequence[Path | None], dataset: str) -> pd.DataFrame:
    """Facts of files, from ``cache/audio/<dataset>.csv`` where they did not change.

    Parameters
    ----------
    files : sequence of Path or None
        None: not to be opened.
    dataset : str

    Returns
    -------
    DataFrame [files, COLUMNS]
        See `dslite.audio.Facts`. A missing or undecodable file has NaN, 0 and an empty hash.
    """
    store = paths.cache() / "audio" / f"{dataset}.csv"
    known = _load(store)
    states = [_state(file) for file in files]
    todo = {s: file for s, file in zip(states, files, strict=True) if s and s not in known}
    decoded = {}
    if len(todo) > QUIET and not sys.stderr.isatty():
        print(f"decoding {dataset}: {len(todo)} files ...", file=sys.stderr, flush=True)
    with (
        ThreadPoolExecutor() as pool,  # decoding and hashing release Python's lock
        tqdm(
            total=len(todo),
            desc=f"decoding {dataset}",
            unit="file",
            file=sys.stderr,
            leave=False,
            disable=True if len(todo) <= QUIET else None,  # None: only where somebody watches
        ) as bar,
    ):
        for state, found in zip(todo, pool.map(_facts_or_none, todo.values()), strict=True):
            if found:
                decoded[state] = found
            bar.update()
    known |= decoded
    if decoded:
        _save(store, {state: known[state] for state in states if state in known})
    unknown = Facts(float("nan"), 0, 0, float("nan"), 0, 0, "")
    rows = [vars(known.get(state, unknown)) for state in states]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)

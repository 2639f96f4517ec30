"""Published partitions, ``data/partitions/<dataset>.csv``: did two people run the same split?

A file is the same audio if its hash is the published one. A copy at another rate, in another
encoding or mixed down has another hash, so each row also has the recording's levels, which hardly
depend on these: the RMS in dB of full scale of 16 parts of equal length, mono, at 8 kHz.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dslite import audio, paths
from dslite.datasets import cells
from dslite.datasets.listing import Manifest
from dslite.errors import InputError

COLUMNS = ("path", "label", "speaker", "partition", "duration_s", "sample_rate", "audio_hash")
LEVELS = "levels_db"
PARTS = 16
RATE = 8000  # Hz: what a corpus at 16 kHz and its original at 48 kHz have in common
FLOOR = -60.0  # dB of full scale: below it, dither and encoders decide
TOLERANCE = 1.0  # dB, of each part
LASTING = 0.02  # s by which the durations of two copies may differ

SAME = "same"
OTHER = "other encoding"
DIFFERENT = "different audio"


def levels(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """RMS of 16 parts of a waveform in dB of full scale, at least `FLOOR`; float64 [16]."""
    edges = np.linspace(0, len(waveform), PARTS + 1).round().astype(int)
    parts = [waveform[a:b].astype(np.float64) for a, b in pairwise(edges)]
    power = np.array([np.mean(part**2) if part.size else 0.0 for part in parts])
    return np.maximum(FLOOR, 10 * np.log10(np.maximum(power, 1e-12)))


def file(dataset: str) -> Path:
    """Where a corpus's published partition lies."""
    return paths.partitions() / f"{dataset}.csv"


def publish(built: Manifest) -> Path:
    """Write a corpus's partition for others to compare with.

    Raises
    ------
    InputError
        The card does not say that file names may be published.
    """
    card = built.card
    if not card.publish:
        raise InputError(
            f"{card.dataset}: its card does not allow publishing file names (licence: "
            f"{card.licence or 'unknown'}); write `publish: true` into it only if the licence does"
        )
    rows = built.table[list(COLUMNS)].copy()
    rows[LEVELS] = [" ".join(f"{x:.1f}" for x in found) for found in _levels(built, rows["path"])]
    with paths.replacing(file(card.dataset)) as draft:
        rows.to_csv(draft, index=False)
    return file(card.dataset)


def _levels(built: Manifest, names: pd.Series) -> list[NDArray[np.float64]]:
    with ThreadPoolExecutor() as pool:  # decoding and resampling release Python's lock
        return list(pool.map(lambda n: levels(audio.read(built.folder / n, RATE)), names))


def _key(path: str) -> str:
    """What the rows of two copies are matched by: the path without its suffix."""
    return str(PurePosixPath(path).with_suffix(""))


def _read(dataset: str) -> pd.DataFrame:
    """The published partition, indexed by `_key`; all columns are strings."""
    place = file(dataset)
    if not place.is_file():
        there = ", ".join(sorted(p.stem for p in paths.partitions().glob("*.csv"))) or "none"
        raise InputError(
            f"{dataset}: no partition is published in {paths.shown(place.parent)}; there is: "
            f"{there}. Compare the hash of partition.json that `dslite partition {dataset}` writes"
        )
    header, *rows = cells.read(place, ",")
    lacking = [name for name in (*COLUMNS, LEVELS) if name not in header]
    if lacking or any(len(row) != len(header) for row in rows):
        raise InputError(f"{place}: not a published partition ({', '.join(lacking) or 'rows'})")
    table = pd.DataFrame(rows, columns=header)
    return table.set_index(table["path"].map(_key))


def verify(built: Manifest) -> dict[str, list[str]]:
    """Compare a corpus with its published partition.

    Returns
    -------
    dict
        Paths by what was found. Differences: ``missing`` here, ``not published``, other
        ``partition``, ``label`` or ``speaker`` (with both values), `DIFFERENT`. Agreement: `SAME`
        (the audio's hash), `OTHER` (levels and duration). Only what occurs is there.

    Raises
    ------
    InputError
        No partition of the corpus is published.
    """
    theirs = _read(built.card.dataset)
    ours = built.table.set_index(built.table["path"].map(_key))
    both = ours.index.intersection(theirs.index)
    found = {
        "missing": theirs.index.difference(ours.index).tolist(),
        "not published": ours.index.difference(theirs.index).tolist(),
    }
    for column in ("partition", "label", "speaker"):
        mine, published = ours.loc[both, column], theirs.loc[both, column]
        found[column] = [
            f"{name}: '{mine[name]}', published '{published[name]}'"
            for name in both[mine != published]
        ]
    found |= _audio(built, ours.loc[both], theirs.loc[both])
    return {kind: names for kind, names in found.items() if names}


def _audio(built: Manifest, ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, list[str]]:
    """The names of both tables by how their audio compares."""
    same = ours["audio_hash"] == theirs["audio_hash"]
    rest = ours.index[~same]
    lasting = (ours["duration_s"] - theirs["duration_s"].astype(float)).abs() < LASTING
    kept = [
        bool(lasting[name]) and np.abs(mine - _parsed(theirs[LEVELS][name])).max() < TOLERANCE
        for name, mine in zip(rest, _levels(built, ours.loc[rest, "path"]), strict=True)
    ]
    return {
        SAME: ours.index[same].tolist(),
        OTHER: [name for name, alike in zip(rest, kept, strict=True) if alike],
        DIFFERENT: [name for name, alike in zip(rest, kept, strict=True) if not alike],
    }


def _parsed(written: str) -> NDArray[np.float64]:
    return np.array(written.split(), dtype=np.float64)


def agrees(found: Mapping[str, list[str]]) -> bool:
    """Whether `verify` found the same split of the same recordings."""
    return set(found) <= {SAME, OTHER}

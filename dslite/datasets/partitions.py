"""Dividing a corpus for a cross-validation: by speakers, every file tested once."""

import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from dslite import audio, paths
from dslite.cards import Card
from dslite.datasets import listing
from dslite.datasets.listing import CARD_LISTS, Manifest
from dslite.datasets.manifest import digest
from dslite.errors import InputError
from dslite.settings import PARTITIONS, nearest

FILE = "partition.csv"
SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("devel", "dev", "development", "val", "valid", "validation"), "devel"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def place(
    card: Card,
    folders: Iterable[Path],
    speakers: Mapping[str, str],
    left_out: Iterable[str] = (),
) -> tuple[dict[str, str], str, list[str]]:
    """Partition of each file.

    Parameters
    ----------
    card : Card
        Its ``partition`` lists speakers; it counts where there is no file list.
    folders : iterable of Path
        Of the corpus: what the user named and, where archives put folders around the audio, the
        one that holds it. A table ``partition.csv`` in the first that has one, with columns
        ``path`` and ``partition`` (others are ignored, so a published manifest will do), goes
        first. Its paths may be given without folders and with another suffix.
    speakers : mapping
        Path of a file -> speaker.
    left_out : iterable of str
        Paths of files that are not used, and that a list of the whole corpus may hold.

    Returns
    -------
    partitions : dict
        Path -> train, devel or test; without the files that have none.
    source : str
        Where they come from, in words.
    problems : list of str
        Files or speakers in no partition, and listed files that are not there.
    """
    listed = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if listed:
        found, problems = _by_list(listed, speakers, left_out)
        return found, f"the file list {FILE}", problems
    found, problems = _by_speaker(card, speakers)
    return found, CARD_LISTS, problems


def _by_list(
    file: Path, speakers: Mapping[str, str], left_out: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    known = _read_lists(file)
    found = {path: known[_speaker_key(path)] for path in speakers if _speaker_key(path) in known}
    problems = [
        f"{path}: not in {paths.shown(file)}; add it there, or move the file away"
        for path in speakers
        if path not in found
    ]
    missing = known.keys() - {_speaker_key(path) for path in (*speakers, *left_out)}
    return found, problems + [
        f"{FILE}: '{name}' is listed and not there" for name in sorted(missing)
    ]


def _by_speaker(card: Card, speakers: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    partitions = {name: part for part, names in card.partition.items() for name in names}
    unplaced = {}
    for path, speaker in speakers.items():
        if speaker not in partitions:
            unplaced.setdefault(speaker, path)
    problems = [
        f"{path}: speaker {speaker} is in no partition; add the speaker to `partition` in the card"
        for speaker, path in unplaced.items()
    ]
    return {path: partitions[s] for path, s in speakers.items() if s in partitions}, problems


def _speaker_key(path: str) -> str:
    """What a file is looked up by: its name without folders and suffix."""
    return PurePosixPath(path.replace("\\", "/")).stem


def _read_lists(file: Path) -> dict[str, str]:
    """Key of each listed file -> its partition."""
    header, *rows = listing.read_rows(file)
    names = [name.lower() for name in header]
    for name in ("path", "partition"):
        if name not in names:
            raise InputError(f"{file}: no column '{name}' in its first row{nearest(name, header)}")
    path, partition = names.index("path"), names.index("partition")
    found = {}
    for number, row in enumerate(rows, start=2):
        if len(row) <= max(path, partition):
            raise InputError(f"{file}, row {number}: too few cells")
        part = SPELLINGS.get(row[partition].lower())
        if not part:
            raise InputError(
                f"{file}, row {number}: partition '{row[partition]}' is not known"
                f"{nearest(row[partition], PARTITIONS)}"
            )
        if found.setdefault(_speaker_key(row[path]), part) != part:
            raise InputError(f"{file}, row {number}: '{row[path]}' is in two partitions")
    return found


SEED = 0  # of the division: not the run's, so that all seeds and models have the same folds
FEWEST = 3  # one part each for train, devel and test
BINS = 5  # quantile bins at most of a regression's labels, so that each part has their whole range


def _where(card: Card, k: int) -> str:
    return f"{card.table or card.dataset}, {k} folds"


def _groups(card: Card, speakers: pd.Series, where: str) -> pd.Series:
    """What a fold keeps together: speakers, or the part of their names that the card says."""
    nobody = (speakers == "").sum()
    if nobody:
        missing = "" if nobody == len(speakers) else f" in {nobody} of {len(speakers)} files"
        raise InputError(
            f"{where}: the corpus does not say who speaks{missing}, so folds would not be "
            "speaker-independent; give every file a speaker, or leave out --folds"
        )
    if not card.fold_group:
        return speakers
    try:
        matches = [re.search(card.fold_group, name) for name in speakers]
        found = pd.Series([match and match[1] for match in matches], dtype=object)
    except (re.error, IndexError) as error:
        raise InputError(
            f"{where}: the card's fold_group '{card.fold_group}' is no regular expression with a "
            f"group: {error}"
        ) from None
    if found.isna().any():
        raise InputError(
            f"{where}: the card's fold_group '{card.fold_group}' is not in the name of speaker "
            f"'{speakers[found.isna()].iloc[0]}'; correct the expression"
        )
    return found


def _strata(card: Card, labels: pd.Series, k: int) -> pd.Series:
    """What every part should have alike: classes, or quantile bins of a regression's labels."""
    if card.task == "classification":
        return labels
    # Each bin must have a file for each part.
    bins = max(1, min(BINS, len(labels) // k))
    found = pd.qcut(pd.to_numeric(labels), bins, labels=False, duplicates="drop")
    return found.fillna(0)  # one value for all has no bins


def _require_enough(card: Card, groups: pd.Series, labels: pd.Series, k: int) -> None:
    """Refuse what cannot be divided, whatever the division."""
    where, unit = _where(card, k), "groups of speakers" if card.fold_group else "speakers"
    known = groups.nunique()
    if known < FEWEST:
        raise InputError(f"{where}: there are {known} {unit} with labels, and a fold needs 3")
    if not FEWEST <= k <= known:
        raise InputError(
            f"{where}: a fold needs train, devel and test, and there are {known} {unit}; "
            f"take {FEWEST} to {known} folds"
        )
    if card.task == "regression":
        return
    for name in card.classes:
        speaking = groups[labels == name].nunique()
        if speaking < k:
            remedy = f"at most {speaking} folds" if speaking >= FEWEST else "no cross-validation"
            raise InputError(
                f"{where}: class '{name}' has files of {speaking} {unit} only, too few for every "
                f"fold to test it; take {remedy}"
            )


def _parts(groups: pd.Series, strata: pd.Series, k: int) -> np.ndarray:
    """The part of every file, 0 to k - 1: int64 [files], -1 nowhere."""
    folder = StratifiedGroupKFold(k, shuffle=True, random_state=SEED)
    part = np.full(len(groups), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few files of a class: `_require_classes`
        for i, (_, held_out) in enumerate(folder.split(groups, strata, groups)):
            part[held_out] = i
    return part


def _require_classes(fold: Manifest, where: str) -> None:
    """Refuse a fold in which a partition lacks a class, or has no file at all."""
    wanted = fold.card.classes if fold.card.task == "classification" else ()
    for partition in PARTITIONS:
        labels = fold.table["label"][fold.table["partition"] == partition]
        missing = [f"file of class '{name}'" for name in wanted if name not in set(labels)]
        if missing or labels.empty:
            raise InputError(
                f"{where}: {Path(fold.fold).name} has no {[*missing, 'file'][0]} in {partition}; "
                "take fewer folds"
            )


def _require_no_shared_audio(table: pd.DataFrame, part: np.ndarray, where: str) -> None:
    """Refuse the same audio under two speakers: what one fold tests, it would have learnt."""
    decoded = table.assign(part=part)[table["audio_hash"] != ""]
    for _, same in decoded.groupby("audio_hash"):
        if same["part"].nunique() > 1:
            one, other = same.drop_duplicates("part")["path"].iloc[:2]
            raise InputError(
                f"{where}: {one} and {other} are the same audio under two speakers, and one would "
                "be tested by what learnt the other; remove one"
            )


def divide(manifest: Manifest, k: int) -> list[Manifest]:
    """The manifests of k folds: the same rows in the same order, other partitions.

    The speakers are divided into k parts, stratified by label. In fold i part i is test, the next
    one (after the last the first) devel, the rest train: each file is tested once.

    Parameters
    ----------
    manifest : Manifest
        Its own partitions do not matter. Files whose label is unknown are left out.
    k : int
        Number of folds, 3 or more.

    Returns
    -------
    list of Manifest
        The same k folds for the same files, whatever a run's seed.

    Raises
    ------
    InputError
        A speaker is unknown, k is below 3 or above the number of speakers, a fold would lack a
        class in a partition, or the same audio is in two parts.
    """
    card, where = manifest.card, _where(manifest.card, k)
    table = manifest.table[manifest.table["label"] != ""].reset_index(drop=True)
    groups = _groups(card, table["speaker"], where)
    _require_enough(card, groups, table["label"], k)
    part = _parts(groups, _strata(card, table["label"], k), k)
    _require_no_shared_audio(table, part, where)
    unit = f"speakers' {card.fold_group}" if card.fold_group else "speaker"
    drawn = f"drawn here: stratified, by {unit} (StratifiedGroupKFold), seed {SEED}"
    folds = []
    for i in range(k):
        partition = np.select([part == i, part == (i + 1) % k], ["test", "devel"], "train")
        fold = replace(
            manifest,
            table=table.assign(partition=pd.Series(partition, dtype="str")),
            partition_source=f"fold {i + 1} of {k}, {drawn}",
            fold=f"{k}folds/fold{i + 1}",
        )
        _require_classes(fold, where)
        folds.append(fold)
    return folds


def of_run(manifest: Manifest, record: dict[str, Any]) -> Manifest:
    """The manifest that a run was made with: the corpus's own, or that of its fold.

    Parameters
    ----------
    manifest : Manifest
        Of the corpus as it is now.
    record : dict
        Content of the run's ``run.json``.

    Raises
    ------
    InputError
        The corpus has changed since.
    """
    found = manifest
    if record.get("fold"):
        k, number = map(int, re.findall(r"[0-9]+", record["fold"]))
        found = divide(manifest, k)[number - 1]
    if digest(found) != record["manifest"]:
        raise InputError(
            f"{manifest.card.dataset}: the corpus is not the one of this run (other files, labels "
            "or partitions); train again, or name the run's table"
        )
    return found


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


def loudness_levels(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """RMS of 16 parts of a waveform in dB of full scale, at least `FLOOR`; float64 [16]."""
    edges = np.linspace(0, len(waveform), PARTS + 1).round().astype(int)
    parts = [waveform[a:b].astype(np.float64) for a, b in pairwise(edges)]
    power = np.array([np.mean(part**2) if part.size else 0.0 for part in parts])
    return np.maximum(FLOOR, 10 * np.log10(np.maximum(power, 1e-12)))


def published_file(dataset: str) -> Path:
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
    with paths.replacing(published_file(card.dataset)) as draft:
        rows.to_csv(draft, index=False)
    return published_file(card.dataset)


def _levels(built: Manifest, names: pd.Series) -> list[NDArray[np.float64]]:
    with ThreadPoolExecutor() as pool:  # decoding and resampling release Python's lock
        return list(pool.map(lambda n: loudness_levels(audio.read(built.folder / n, RATE)), names))


def _audio_key(path: str) -> str:
    """What the rows of two copies are matched by: the path without its suffix."""
    return str(PurePosixPath(path).with_suffix(""))


def _read_published(dataset: str) -> pd.DataFrame:
    """The published partition, indexed by `_key`; all columns are strings."""
    place = published_file(dataset)
    if not place.is_file():
        there = ", ".join(sorted(p.stem for p in paths.partitions().glob("*.csv"))) or "none"
        raise InputError(
            f"{dataset}: no partition is published in {paths.shown(place.parent)}; there is: "
            f"{there}. Compare the hash of partition.json that `dslite partition {dataset}` writes"
        )
    header, *rows = listing.read_rows(place, ",")
    lacking = [name for name in (*COLUMNS, LEVELS) if name not in header]
    if lacking or any(len(row) != len(header) for row in rows):
        raise InputError(f"{place}: not a published partition ({', '.join(lacking) or 'rows'})")
    table = pd.DataFrame(rows, columns=header)
    return table.set_index(table["path"].map(_audio_key))


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
    theirs = _read_published(built.card.dataset)
    ours = built.table.set_index(built.table["path"].map(_audio_key))
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

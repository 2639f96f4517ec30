"""Train, devel and test: from file lists, cards and folds, and compared with the published ones."""

import itertools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from dslite import audio, paths
from dslite.cards import Card
from dslite.datasets import fingerprint, listing
from dslite.datasets.listing import CARD_LISTS, Listing, table_of
from dslite.datasets.manifest import Manifest, digest
from dslite.errors import InputError
from dslite.settings import PARTITIONS, nearest

FILE = "partition.csv"  # a file list in a corpus's folder
SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("devel", "dev", "development", "val", "valid", "validation"), "devel"),
    **dict.fromkeys(("test", "testing"), "test"),
}

EVALUATION = ("eval", "evaluation")  # test where there is a devel, as in many challenges

SEED = 0  # of every division: not the run's, so that all seeds and models have the same one
TRIED = 60_000  # divisions at most that are all tried
TRIED_GROUPS, STARTS = 50, 10  # of more: groups that are moved or exchanged, and beginnings
ORDERS = 5000  # of a cross-validation's parts that are tried: all of 6
FEWEST = 3  # folds: one part each for train, devel and test
BINS = 5  # quantile bins at most of a regression's labels, so that each part has their whole range

# Columns of a published partition; the loudness levels identify a recording at any rate.
COLUMNS = ("path", "label", "speaker", "partition", "duration_s", "sample_rate", "audio_hash")
LEVELS = "levels_db"
TOLERANCE = 1.0  # dB by which each level of two copies may differ
LASTING = 0.02  # s by which the durations of two copies may differ
# What comparing the audio of two copies yields
SAME = "same"
OTHER = "other encoding"
DIFFERENT = "different audio"


def place(
    card: Card,
    folders: Sequence[Path],
    files: Mapping[str, tuple[str, str]],
    left_out: Iterable[str] = (),
    problems: Iterable[str] = (),
    **facts: Any,
) -> Listing:
    """List the files of a corpus that comes without partitions, each with its partition.

    ``folders`` are what the user named and, last, what holds the audio; ``files``: path -> speaker
    and label as the corpus writes it; ``left_out``: files that a list of the whole corpus may hold;
    the rest is of the `Listing`, whose problems also name what is in no partition or not there. A
    table ``partition.csv`` (columns ``path`` and ``partition``; a published manifest will do) in
    one of the folders goes before the card's speakers. Its paths need neither folders nor suffix.
    """
    listed = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if listed:
        placed, unplaced = _by_list(listed, files, left_out)
    else:
        parts_of = card.part_of_speaker
        placed = {path: parts_of[s] for path, (s, _) in files.items() if s in parts_of}
        first = {}  # unplaced speaker -> first file
        for path, (speaker, _) in files.items():
            if speaker not in parts_of:
                first.setdefault(speaker, path)
        unplaced = [
            f"{path}: speaker {speaker} is in no partition; add the speaker to `partition` in the "
            "card"
            for speaker, path in first.items()
        ]
    rows = [
        (path, card.labels.get(label, label), speaker, placed[path], label)
        for path, (speaker, label) in files.items()
        if path in placed
    ]
    source = f"the file list {FILE}" if listed else CARD_LISTS
    return Listing(folders[-1], table_of(rows), source, (*problems, *unplaced), **facts)


def _by_list(
    file: Path, files: Iterable[str], left_out: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    listed = {}  # key of a file -> its partition
    columns = listing.read_table(file, ("path", "partition"))
    spelled_as = meanings(columns["partition"])
    for number, path, spelled in columns.itertuples():
        at, part = f"{file}, row {number + 2}", spelled_as[spelled]
        if part not in PARTITIONS:
            raise InputError(f"{at}: {part}")
        if listed.setdefault(_file_key(path), part) != part:
            raise InputError(f"{at}: '{path}' is in two partitions")
    keys = {path: _file_key(path) for path in (*files, *left_out)}
    placed = {path: listed[keys[path]] for path in files if keys[path] in listed}
    problems = [
        f"{path}: not in {paths.shown(file)}; add it there, or move the file away"
        for path in files
        if path not in placed
    ]
    missing = sorted(listed.keys() - set(keys.values()))
    return placed, problems + [f"{FILE}: '{name}' is listed and not there" for name in missing]


def _file_key(path: str) -> str:
    """What a file is looked up by: its name without folders and suffix."""
    return PurePosixPath(path.replace("\\", "/")).stem


# Folds of a cross-validation


def meanings(spelled: Iterable[str]) -> dict[str, str]:
    """Return what each word for a partition means, or a sentence of what is wrong with it.

    Examples
    --------
    >>> meanings(["Train", "dev", "eval"])
    {'Train': 'train', 'dev': 'devel', 'eval': 'test'}
    """
    words = dict.fromkeys(spelled)
    clear = {SPELLINGS.get(word.lower()) for word in words}
    meant = {}
    for word in words:
        if word.lower() in EVALUATION and "test" not in clear and "devel" in clear:
            meant[word] = "test"
        elif word.lower() in EVALUATION:
            meant[word] = f"partition '{word}' may be test or devel; write which it is"
        else:
            unclear = f"partition '{word}' is not known{nearest(word.lower(), PARTITIONS)}"
            meant[word] = SPELLINGS.get(word.lower(), unclear)
    return meant


def parts(groups: pd.Series, strata: pd.Series, k: int) -> np.ndarray:
    """Divide files into k parts of whole groups, alike in their strata.

    Returns the part of each file, 0 to k - 1, int64 [files]: always the same for the same rows.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # here, since it takes half a second

    folder = StratifiedGroupKFold(k, shuffle=True, random_state=SEED)
    part = np.full(len(groups), -1)
    with warnings.catch_warnings():
        # A class that a partition lacks is reported in the user's terms.
        warnings.simplefilter("ignore", UserWarning)
        for i, (_, held_out) in enumerate(folder.split(groups, strata, groups)):
            part[held_out] = i
    return part


def completed(
    groups: pd.Series, strata: pd.Series, part: np.ndarray, shares: Sequence[float]
) -> np.ndarray:
    """Move groups so that every part has files of every stratum, where that can be.

    Takes the part of each file, int [files], and the share of the files that each part should have.
    A division that is complete stays as it is. Of few groups all divisions are tried; of more, the
    best move or exchange of groups is made as long as there is one.
    """
    table = pd.crosstab(groups, strata)
    counts, k, weights = table.to_numpy(), len(shares), np.array(shares)
    first = pd.Series(part, groups.index).groupby(groups).first()
    place = first.loc[table.index].to_numpy()
    # What is missing in a large part counts most, and in train more than in devel or test
    missed = weights + 1e-6 * np.arange(k, 0, -1)

    def cost(places: np.ndarray) -> np.ndarray:
        """Cost of each of some divisions, int [divisions, groups]."""
        files = np.stack([(places == i).astype(float) @ counts for i in range(k)], axis=1)
        uneven = np.square(files / counts.sum(axis=0) - weights[:, None]).sum(axis=(1, 2))
        return 1e4 * (files == 0).sum(axis=2) @ missed + uneven

    if _complete(counts, place, k):
        return part
    if k ** len(counts) <= TRIED:
        digits = np.arange(k ** len(counts))[:, None] // k ** np.arange(len(counts))
        place = (digits % k)[cost(digits % k).argmin()]
    else:
        rng = np.random.default_rng(SEED)
        starts = [place, *(rng.permutation(place) for _ in range(STARTS))]
        ends = []
        for start in starts:
            ends.append(_descended(counts, start, k, cost))
            if _complete(counts, ends[-1], k):
                break
        place = min(ends, key=lambda end: cost(end[None])[0])
    return pd.Series(place, table.index).loc[groups].to_numpy()


def _complete(counts: np.ndarray, place: np.ndarray, k: int) -> bool:
    return all((counts[place == i].sum(axis=0) > 0).all() for i in range(k))


def _descended(counts: np.ndarray, place: np.ndarray, k: int, cost: Any) -> np.ndarray:
    """Move or exchange groups that bring a part what it lacks, until no change is better."""
    while True:
        options = []
        for i in range(k):
            inside = np.flatnonzero(place == i)
            lacking = counts[inside].sum(axis=0) == 0
            for group in np.flatnonzero((counts[:, lacking] > 0).any(axis=1))[:TRIED_GROUPS]:
                for other in (group, *inside[:TRIED_GROUPS]):
                    option = place.copy()
                    option[[group, other]] = i, place[group]
                    option[group] = i
                    options.append(option)
        if not options:
            return place
        options = np.array(options)
        costs = cost(options)
        if costs.min() >= cost(place[None])[0]:
            return place
        place = options[costs.argmin()]


def bins(labels: pd.Series, count: int = BINS) -> pd.Series:
    """Return each regression label's quantile bin; -1 of no number, which is for the check."""
    values = pd.to_numeric(labels, errors="coerce").where(np.isfinite)
    edges = np.unique(values.quantile(np.arange(1, count) / count).dropna())
    return pd.Series(np.where(values.isna(), -1, np.searchsorted(edges, values)), labels.index)


def divide(manifest: Manifest, k: int) -> list[Manifest]:
    """Divide a corpus for a cross-validation by speakers: every file is tested once.

    The speakers are divided into k parts (3 or more), stratified by label; files without a label
    are left out. In fold i part i is test, the next one (after the last the first) devel, the rest
    train. Returns a manifest a fold: the same rows in the same order, other partitions, whatever a
    run's seed. A class of fewer than k speakers is tested, as each file is, but not in each fold.
    InputError where a speaker is unknown, k is below 3 or above the number of speakers, a fold
    would not learn a class, or the same audio is in two parts.

    Examples
    --------
    >>> rows = [(f"{s}{c}.wav", c, s, f"{s}{c}") for s in "abc" for c in ("calm", "sad")]
    >>> table = pd.DataFrame(rows, columns=["path", "label", "speaker", "audio_hash"])
    >>> table = table.assign(partition="")
    >>> card = Card(dataset="few", layout="table", title="", classes=("calm", "sad"))
    >>> first, *_ = divide(Manifest(Path(), table, card=card), 3)
    >>> list(first.table["partition"]), first.fold
    (['train', 'train', 'devel', 'devel', 'test', 'test'], '3folds/fold1')
    """
    card = manifest.card
    where = f"{card.table or card.dataset}, {k} folds"
    table = manifest.table[manifest.table["label"] != ""].reset_index(drop=True)
    groups = _groups(card, table["speaker"], where)
    _require_enough(card, groups, table["label"], k, where)
    strata = table["label"]
    if card.task == "regression":  # each bin must have a file for each part
        strata = bins(strata, max(1, min(BINS, len(table) // k)))
    part = completed(groups, strata, parts(groups, strata, k), [1 / k] * k)
    if card.task == "classification":
        part = _learnt(part, table["label"], k)
    for i, j in listing.in_two_partitions(table.assign(partition=part), "audio_hash"):
        raise InputError(
            f"{where}: {table['path'][i]} and {table['path'][j]} are the same audio under two "
            "speakers, and one would be tested by what learnt the other; remove one"
        )
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
            divided=digest(manifest),
        )
        for name in PARTITIONS:
            if name not in partition:
                raise InputError(f"{where}: fold{i + 1} has no file in {name}; take fewer folds")
        learnt = set(table["label"][partition == "train"])
        for name in card.classes if card.task == "classification" else ():
            if name not in learnt:
                raise InputError(
                    f"{where}: fold{i + 1} has no file of class '{name}' in train; take more folds"
                )
        folds.append(fold)
    return folds


def _learnt(part: np.ndarray, labels: pd.Series, k: int) -> np.ndarray:
    """Number the parts so that every fold's train has every class, if it can be."""
    has = (pd.crosstab(part, labels) > 0).reindex(range(k), fill_value=False).to_numpy()

    def learns_all(order: Sequence[int]) -> bool:
        held_out = zip(order, (*order[1:], order[0]), strict=True)
        return all(np.delete(has, pair, axis=0).any(axis=0).all() for pair in held_out)

    orders = itertools.islice(itertools.permutations(range(k)), ORDERS)
    return np.argsort(next(filter(learns_all, orders), range(k)))[part]


def folds_that_test_all(manifest: Manifest) -> int | None:
    """Return how many folds test every class of a corpus, 5 if they do; None: no such number."""
    for k in (5, 4, 3):
        try:
            divide(manifest, k)
        except InputError:
            continue
        return k
    return None


def of_run(manifest: Manifest, record: dict[str, Any]) -> Manifest:
    """Return the manifest of a run by its record: the corpus's own, or that of its fold.

    InputError where the corpus is another one by now.
    """
    used = manifest
    if record.get("fold"):
        k, number = map(int, re.findall(r"[0-9]+", record["fold"]))
        used = divide(manifest, k)[number - 1]
    if digest(used) != record["manifest"]:
        raise InputError(
            f"{manifest.card.dataset}: the corpus is not the one of this run (other files, labels "
            "or partitions); train again, or name the run's table"
        )
    return used


def _groups(card: Card, speakers: pd.Series, where: str) -> pd.Series:
    """What a fold keeps together: speakers, or the part of their names that the card names."""
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
        groups = speakers.str.extract(card.fold_group).iloc[:, 0]
    except (re.error, ValueError) as error:
        raise InputError(
            f"{where}: the card's fold_group '{card.fold_group}' is no regular expression with a "
            f"group: {error}"
        ) from None
    if groups.isna().any():
        raise InputError(
            f"{where}: the card's fold_group '{card.fold_group}' is not in the name of speaker "
            f"'{speakers[groups.isna()].iloc[0]}'; correct the expression"
        )
    return groups


def _require_enough(card: Card, groups: pd.Series, labels: pd.Series, k: int, where: str) -> None:
    """Refuse what cannot be divided, whatever the division."""
    unit, n_groups = "groups of speakers" if card.fold_group else "speakers", groups.nunique()
    if n_groups < FEWEST:
        raise InputError(f"{where}: there are {n_groups} {unit} with labels, and a fold needs 3")
    if not FEWEST <= k <= n_groups:
        raise InputError(
            f"{where}: a fold needs train, devel and test, and there are {n_groups} {unit}; "
            f"take {FEWEST} to {n_groups} folds"
        )
    if card.task == "regression":
        return
    for name in card.classes:
        speaking = groups[labels == name].nunique()
        if speaking < 2:
            raise InputError(
                f"{where}: class '{name}' has files of {speaking} {unit} only, and whoever is "
                "tested is not learnt from; add speakers, leave the class out, or take no folds"
            )


# Published partitions


def published_file(dataset: str) -> Path:
    """Return where a corpus's published partition lies."""
    return paths.data("partitions") / f"{dataset}.csv"


def publish(manifest: Manifest) -> Path:
    """Write a corpus's partition for others to compare with, if its card allows it."""
    card = manifest.card
    if not card.publish:
        raise InputError(
            f"{card.dataset}: its card does not allow publishing file names (licence: "
            f"{card.licence or 'unknown'}); write `publish: true` into it only if the licence does"
        )
    rows = manifest.table[list(COLUMNS)].copy()
    rows[LEVELS] = [" ".join(f"{x:.1f}" for x in row) for row in _levels(manifest, rows["path"])]
    paths.write(published_file(card.dataset), rows.to_csv(index=False))
    return published_file(card.dataset)


def verify(manifest: Manifest) -> dict[str, list[str]]:
    """Compare a corpus with its published partition: paths by how they compare.

    Differences: ``missing`` here, ``not published``, other ``partition``, ``label`` or ``speaker``
    (with both values), `DIFFERENT`. Agreement: `SAME` (the audio's hash), `OTHER` (levels and
    duration). Only what occurs is there.
    """
    file = published_file(manifest.card.dataset)
    if not file.is_file():
        names = ", ".join(sorted(p.stem for p in paths.data("partitions").glob("*.csv"))) or "none"
        raise InputError(
            f"{manifest.card.dataset}: no partition is published in {paths.shown(file.parent)}; "
            f"there is: {names}. Compare the hash of partition.json that `dslite partition` writes"
        )
    theirs = listing.read_table(file, (*COLUMNS, LEVELS))
    ours, theirs = _matched(manifest.table, theirs)
    both = ours.index.intersection(theirs.index)
    comparison = {
        "missing": theirs.index.difference(ours.index).tolist(),
        "not published": ours.index.difference(theirs.index).tolist(),
    }
    for column in ("partition", "label", "speaker"):
        mine, published = ours.loc[both, column], theirs.loc[both, column]
        comparison[column] = [
            f"{name}: '{mine[name]}', published '{published[name]}'"
            for name in both[mine != published]
        ]
    ours, theirs = ours.loc[both], theirs.loc[both]
    same = ours["audio_hash"] == theirs["audio_hash"]
    lasting = (ours["duration_s"] - theirs["duration_s"].astype(float)).abs() < LASTING
    comparison |= {SAME: both[same].tolist(), OTHER: [], DIFFERENT: []}
    for name, levels in zip(both[~same], _levels(manifest, ours.loc[~same, "path"]), strict=True):
        published = np.array(theirs[LEVELS][name].split(), dtype=np.float64)
        alike = lasting[name] and np.abs(levels - published).max() < TOLERANCE
        comparison[OTHER if alike else DIFFERENT].append(name)
    return {kind: names for kind, names in comparison.items() if names}


def agrees(comparison: Mapping[str, list[str]]) -> bool:
    """Return whether `verify` saw the same split of the same recordings."""
    return set(comparison) <= {SAME, OTHER}


def _levels(manifest: Manifest, names: pd.Series) -> list[np.ndarray]:
    """Loudness levels of some files."""

    def of_file(name: str) -> np.ndarray:
        waveform = audio.read(manifest.folder / name, fingerprint.LEVELS_RATE)
        return fingerprint.loudness_levels(waveform)

    with ThreadPoolExecutor() as pool:  # decoding and resampling release Python's lock
        return list(pool.map(of_file, names))


def _matched(*copies: pd.DataFrame) -> list[pd.DataFrame]:
    """Tables of two copies by what their rows are matched by: names in any case, without suffixes.

    Folders tell files apart only where names do not.
    """
    names = [table["path"].map(_file_key).str.casefold() for table in copies]
    if not all(of.is_unique for of in names):
        names = [
            table["path"].map(lambda path: str(PurePosixPath(path).with_suffix(""))).str.casefold()
            for table in copies
        ]
    return [table.set_index(of) for table, of in zip(copies, names, strict=True)]

"""Dividing a corpus for a cross-validation: by speakers, every file tested once."""

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from dslite.cards import Card
from dslite.datasets.manifest import Manifest, digest
from dslite.errors import InputError
from dslite.settings import PARTITIONS

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

"""The manifest: one row per file of a corpus, checked before anything is computed from it."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dslite import audio, paths, provenance
from dslite.cards import Card
from dslite.datasets import CARD_LISTS, facts, read_table, require_none
from dslite.errors import InputError
from dslite.settings import PARTITIONS

RESERVED = frozenset({"file", "speaker", "partition", "label", "prediction"})  # columns
COLUMNS = ("path", "label", "speaker", "partition", *facts.COLUMNS)


@dataclass(frozen=True)
class Manifest:
    """A corpus, resolved.

    Attributes
    ----------
    card : Card
        Its ``classes`` are never empty in a classification.
    folder : Path
        What the paths are relative to.
    table : DataFrame [files, COLUMNS]
        ``path`` (with ``/``), ``label`` (empty: unknown), ``speaker`` (empty: unknown),
        ``partition`` and ``audio_hash`` (empty: not decodable) are strings, ``duration_s`` float64
        (seconds), ``sample_rate`` int64 (Hz). The index counts from 0, so that row i stands in row
        i + 2 of a CSV file with a header.
    partition_source : str
        Where the partition comes from, in words, with the seed where it was drawn.
    fold : str
        ``5folds/fold2`` in a cross-validation (`dslite.folds`): where below a run's usual place
        its results lie. Empty otherwise.
    """

    card: Card
    folder: Path
    table: pd.DataFrame
    partition_source: str = CARD_LISTS
    fold: str = ""


def build(card: Card) -> Manifest:
    """Manifest of a corpus; decodes what was not decoded before, see `audio.facts`.

    Missing and broken files do not stop it: `check` names them all.

    Raises
    ------
    InputError
        The corpus is not there or not in its layout.
    """
    folder, table = read_table(card)
    card = card.model_copy(update={"classes": _resolved_classes(card, table["label"])})
    source = table.attrs.get("partition_source", CARD_LISTS)
    found = facts.gather([folder / path for path in table["path"]], card.dataset)
    table = pd.concat([table.reset_index(drop=True), found], axis=1)
    return Manifest(card, folder, table[list(COLUMNS)], source)


def classes(manifest: Manifest) -> tuple[str, ...]:
    """Classes in the order of the network's outputs; none in a regression."""
    return manifest.card.classes


def _resolved_classes(card: Card, labels: pd.Series) -> tuple[str, ...]:
    if card.task == "regression":
        return card.classes
    found = card.classes or tuple(sorted(set(labels) - {""}))
    taken = sorted(RESERVED.intersection(found))
    if taken:
        raise InputError(
            f"{card.table or card.dataset}: a class is called '{taken[0]}', as is a column of "
            "predictions.csv; give it another name"
        )
    return found


# Checks: each takes a manifest and returns its problems, one sentence each


def _at(manifest: Manifest, i: int) -> str:
    return f"row {i + 2}, {manifest.table['path'][i]}"


def _audio_problems(manifest: Manifest) -> list[str]:
    found = []
    for i in np.flatnonzero(manifest.table["audio_hash"] == ""):
        file = manifest.folder / manifest.table["path"][i]
        if not file.is_file():
            reason = f"there is no such file in {manifest.folder}"
        else:
            try:
                audio.facts(file)
                reason = "the file has changed; build the manifest again"
            except InputError as error:
                reason = str(error).removeprefix(f"{file}: ")
        found.append(f"{_at(manifest, i)}: {reason}")
    return found


def _label_problems(manifest: Manifest) -> list[str]:
    labels, partitions = manifest.table["label"], manifest.table["partition"]
    missing = (labels == "") & (partitions != "test")
    found = [
        f"{_at(manifest, i)}: no label, and only test files may do without; add it"
        for i in np.flatnonzero(missing)
    ]
    if manifest.card.task == "regression":
        values = pd.to_numeric(labels, errors="coerce")
        wrong, remedy = ~np.isfinite(values), "is not a finite number, as a regression needs"
    else:
        wrong = ~labels.isin(list(classes(manifest)))
        remedy = f"is not a class of the card ({', '.join(classes(manifest))})"
    wrong &= labels != ""
    return found + [
        f"{_at(manifest, i)}: label '{labels[i]}' {remedy}; correct the label or the card"
        for i in np.flatnonzero(wrong)
    ]


def _partition_problems(manifest: Manifest) -> list[str]:
    table = manifest.table
    found = [
        f"{_at(manifest, i)}: partition '{table['partition'][i]}' is none of {PARTITIONS}"
        for i in np.flatnonzero(~table["partition"].isin(PARTITIONS))
    ]
    if manifest.card.task == "classification" and len(classes(manifest)) < 2:
        found.append(f"all labels are '{''.join(classes(manifest))}'; two classes are needed")
    for partition in PARTITIONS:
        labels = table["label"][table["partition"] == partition]
        if labels.empty:
            found.append(f"partition {partition} is empty; it needs files of every class")
        elif manifest.card.task == "classification" and (labels != "").all():
            found += [
                f"class '{name}' has no file in {partition}, so its recall is not defined there; "
                "add files, or divide the corpus otherwise"
                for name in classes(manifest)
                if name not in set(labels)
            ]
    return found


def _shared(manifest: Manifest, column: str) -> list[tuple[str, int, int]]:
    """Non-empty values of a column that are in two partitions: (value, row here, row there)."""
    table = manifest.table
    first = {}
    found = {}
    for i, (value, partition) in enumerate(zip(table[column], table["partition"], strict=True)):
        j = first.setdefault(value, i)
        if value and table["partition"][j] != partition:
            found.setdefault((value, partition), (value, j, i))
    return list(found.values())


def _leaks(manifest: Manifest) -> list[str]:
    partition = manifest.table["partition"]
    speakers = [
        f"speaker '{speaker}' is in {partition[i]} ({_at(manifest, i)}) and in {partition[j]} "
        f"({_at(manifest, j)}); a speaker belongs into one partition"
        for speaker, i, j in _shared(manifest, "speaker")
    ]
    return speakers + [
        f"{_at(manifest, j)}: the same audio is in {partition[i]} ({_at(manifest, i)}) and in "
        f"{partition[j]}; remove one"
        for _, i, j in _shared(manifest, "audio_hash")
        if manifest.table["path"][i] != manifest.table["path"][j]
    ]


def _repeated_paths(manifest: Manifest) -> list[str]:
    first = {}
    found = []
    for i, path in enumerate(manifest.table["path"]):
        j = first.setdefault(os.path.normpath(manifest.folder / path), i)
        if j != i:
            found.append(f"{_at(manifest, i)}: this file is in row {j + 2} already; remove one")
    return found


def check(manifest: Manifest) -> None:
    """Hold a manifest to what training and evaluation rely on.

    Raises
    ------
    InputError
        Lists all problems (20 in full): missing or undecodable files, labels that are no class or
        no number, a speaker or the same audio in two partitions, a file listed twice, an empty
        partition, a class absent from a partition. A blinded test partition is none.
    """
    problems = [
        *_repeated_paths(manifest),
        *_audio_problems(manifest),
        *_label_problems(manifest),
        *_partition_problems(manifest),
        *_leaks(manifest),
    ]
    require_none(problems, f"manifest of {manifest.card.table or manifest.card.dataset}")


def warnings(manifest: Manifest) -> list[str]:
    """What a reader should know and may leave: the same audio twice within a partition."""
    table = manifest.table[manifest.table["audio_hash"] != ""]
    first = {}
    found = []
    for i, partition, audio_hash in table[["partition", "audio_hash"]].itertuples():
        j = first.setdefault((partition, audio_hash), i)
        if j != i:
            found.append(f"{_at(manifest, i)}: the same audio as {_at(manifest, j)} ({partition})")
    return found


# What is made of a manifest


def table1_row(manifest: Manifest) -> dict[str, float]:
    """The corpus's row of the paper's Table 1, unrounded.

    Returns
    -------
    dict
        ``files``, ``classes`` (0 in a regression), ``speakers`` (0: unknown), ``minutes``
        in all, ``mean_s`` and ``std_s`` of a file's seconds. The standard deviation is the
        population's (ddof 0), which is what the paper prints for RAVDESS.
    """
    seconds = manifest.table["duration_s"]
    speakers = set(manifest.table["speaker"]) - {""}
    return {
        "files": len(seconds),
        "classes": len(classes(manifest)),
        "speakers": len(speakers),
        "minutes": float(seconds.sum() / 60),
        "mean_s": float(seconds.mean()),
        "std_s": float(seconds.std(ddof=0)),
    }


def digest(manifest: Manifest) -> str:
    """SHA-256 of what a result depends on: path, label, speaker, partition and audio, row by row.

    The order of rows counts, since a seed draws by it; durations follow from the audio.
    """
    columns = ["path", "label", "speaker", "partition", "audio_hash"]
    rows = manifest.table[columns].to_numpy(dtype=object).tolist()
    return provenance.digest(rows)


def write(manifest: Manifest, path: str | os.PathLike) -> None:
    """Store a manifest's table as CSV (UTF-8, header), all or nothing."""
    with paths.replacing(path) as draft:
        manifest.table.to_csv(draft, index=False)


def load(card: Card) -> Manifest:
    """Build a corpus's manifest and hold it to `check`."""
    built = build(card)
    check(built)
    return built


def counts(manifest: Manifest, column: str) -> pd.DataFrame:
    """Files per partition of every value of ``label`` or ``speaker``: int64, index the values.

    Labels stand in the order of the classes; the values of a regression in ten steps.
    """
    values = manifest.table[column].replace("", "unknown")
    if column == "label" and manifest.card.task == "regression":
        values = pd.cut(pd.to_numeric(manifest.table["label"]), 10).astype(str)
    crossed = pd.crosstab(values, manifest.table["partition"])
    order = [name for name in classes(manifest) if name in crossed.index]
    order += [name for name in crossed.index if name not in order]
    known = [partition for partition in PARTITIONS if partition in crossed.columns]
    return crossed.loc[order, known].rename_axis(index=column, columns=None)


def durations(manifest: Manifest) -> dict[str, np.ndarray]:
    """Durations of each partition's files in seconds, float64."""
    table = manifest.table
    return {
        partition: table.loc[table["partition"] == partition, "duration_s"].to_numpy()
        for partition in PARTITIONS
    }


def write_partition(manifest: Manifest) -> dict[str, float]:
    """Write a corpus's division into its results; return its row of Table 1.

    Writes ``manifest.csv``, ``table1.csv`` and ``partition.json`` (where the partition comes
    from, files in each, and the manifest's hash).
    """
    folder = paths.results(manifest.card.dataset)
    row = {"dataset": manifest.card.dataset} | table1_row(manifest)
    write(manifest, folder / "manifest.csv")
    with paths.replacing(folder / "table1.csv") as draft:
        pd.DataFrame([row]).to_csv(draft, index=False)
    origin = {
        "source": manifest.partition_source,
        "files": {name: len(seconds) for name, seconds in durations(manifest).items()},
        "manifest": digest(manifest),
    }
    provenance.write_json(folder / "partition.json", origin)
    return row

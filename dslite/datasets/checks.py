"""What is wrong with a manifest, and what its reader should know, in sentences."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dslite.datasets import scan
from dslite.datasets.listing import Manifest, home, leads_out
from dslite.errors import InputError
from dslite.settings import PARTITIONS

SILENT = 1e-4  # peak, -80 dB of full scale: below the last bits of 16


def _at(manifest: Manifest, i: int) -> str:
    return f"row {i + 2}, {manifest.table['path'][i]}"


def _audio_problems(manifest: Manifest) -> list[str]:
    found = []
    for i in np.flatnonzero(manifest.table["audio_hash"] == ""):
        file = manifest.folder / manifest.table["path"][i]
        if leads_out(home(manifest.card), file):
            reason = (
                f"leads out of the corpus's folder {home(manifest.card)}, by its path or a link; "
                "put the audio inside, or name the folder that holds all of it (--data, or "
                "`folder` in the card)"
            )
        elif not file.is_file():
            reason = f"there is no such file in {manifest.folder}"
        else:
            try:
                scan.of_file(file)
                reason = "the file has changed; build the manifest again"
            except InputError as error:
                reason = str(error).removeprefix(f"{file}: ")
        found.append(f"{_at(manifest, i)}: {reason}")
    return found + [
        f"{_at(manifest, i)}: the audio ends before its header says, after "
        f"{manifest.table['duration_s'][i]:.2f} s; copy the file again"
        for i in np.flatnonzero(manifest.table["truncated"])
    ]


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
        wrong = ~labels.isin(list(manifest.classes))
        remedy = f"is not a class of the card ({', '.join(manifest.classes)})"
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
    if manifest.card.task == "classification" and len(manifest.classes) < 2:
        found.append(f"all labels are '{''.join(manifest.classes)}'; two classes are needed")
    for partition in PARTITIONS:
        labels = table["label"][table["partition"] == partition]
        if labels.empty:
            found.append(f"partition {partition} is empty; it needs files of every class")
        elif manifest.card.task == "classification" and (labels != "").all():
            found += [
                f"class '{name}' has no file in {partition}, so its recall is not defined there; "
                "add files, or divide the corpus otherwise"
                for name in manifest.classes
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


def _speaker_leaks(manifest: Manifest) -> list[str]:
    partition = manifest.table["partition"]
    return [
        f"speaker '{speaker}' is in {partition[i]} ({_at(manifest, i)}) and in {partition[j]} "
        f"({_at(manifest, j)}); a speaker belongs into one partition"
        for speaker, i, j in _shared(manifest, "speaker")
    ]


def _audio_leaks(manifest: Manifest) -> list[str]:
    partition = manifest.table["partition"]
    remedy = "as its organisers divided it" if manifest.card.package else "remove one"
    return [
        f"{_at(manifest, j)}: the same audio is in {partition[i]} ({_at(manifest, i)}) and in "
        f"{partition[j]}; {remedy}"
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


def problems(manifest: Manifest) -> dict[str, list[str]]:
    """What must be mended before anything is computed: kind of problem -> a sentence each.

    A blinded test partition is no problem, and of an official partition (layout compare) the audio
    is taken as its organisers divided it.
    """
    found = {
        "layout": list(manifest.problems),
        "listed twice": _repeated_paths(manifest),
        "audio": _audio_problems(manifest),
        "labels": _label_problems(manifest),
        "partitions": _partition_problems(manifest),
        "speakers in two partitions": _speaker_leaks(manifest),
        "audio in two partitions": [] if manifest.card.package else _audio_leaks(manifest),
    }
    return {kind: said for kind, said in found.items() if said}


def warnings(manifest: Manifest) -> dict[str, list[str]]:
    """What a reader should know and may leave: kind of warning -> a sentence each."""
    table = manifest.table
    found = {
        "audio in two partitions": _audio_leaks(manifest) if manifest.card.package else [],
        "the same audio twice": _twins(manifest),
        "silent": [
            f"{_at(manifest, i)}: silent (peak {table['peak'][i]:.1g} of full scale)"
            for i in np.flatnonzero(table["peak"] < SILENT)
        ],
        "clipped": [
            f"{_at(manifest, i)}: {table['clipped'][i]} samples in runs at full scale"
            for i in np.flatnonzero(table["clipped"])
        ],
        "without a label": [
            f"{path}: no label mentions this audio; it is not used" for path in manifest.surplus
        ],
    }
    return {kind: said for kind, said in found.items() if said}


def in_short(found: Mapping[str, Sequence[str]]) -> list[str]:
    """One line a kind: its only sentence, or how many there are and the first of them."""
    return [
        f"{kind}: {said[0]}" + (f" (and {len(said) - 1} more)" if len(said) > 1 else "")
        for kind, said in found.items()
    ]


def _twins(manifest: Manifest) -> list[str]:
    """Files that hold the same audio as an earlier one of their partition."""
    table = manifest.table[manifest.table["audio_hash"] != ""]
    first = {}
    found = []
    for i, partition, audio_hash in table[["partition", "audio_hash"]].itertuples():
        j = first.setdefault((partition, audio_hash), i)
        if j != i:
            found.append(f"{_at(manifest, i)}: the same audio as {_at(manifest, j)} ({partition})")
    return found

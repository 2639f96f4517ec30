"""Corpora whose files say by their names, or by their folders, what they hold.

A card's ``pattern`` is a regular expression with a group ``label`` and perhaps ``speaker``,
``partition`` and ``excluded``. Without one, a corpus is a folder for each class, which may lie in
folders of partitions and hold folders of speakers.
"""

import filecmp
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dslite.cards import TABLES, Card, card_file
from dslite.datasets import partitions, scan, table
from dslite.datasets.listing import COLUMNS, Listing, audio_files, table_of
from dslite.errors import InputError

DEEP = 6  # folders between the corpus's folder and its audio
WORDS = (*partitions.SPELLINGS, *partitions.EVALUATION)  # names of folders of partitions
CLASSES = re.compile(
    rf"(?:(?P<partition>(?i:{'|'.join(WORDS)}))/)?(?P<label>[^/]+)/(?:(?P<speaker>[^/]+)/)?.+"
)


class Named(NamedTuple):
    """A file that the pattern matches."""

    path: Path  # relative to the corpus's folder
    name: str  # what the pattern matched, without suffix and the folders around the corpus
    groups: dict[str, str]  # those that matched


def is_present(card: Card, folder: Path) -> bool:
    """Return whether there is any audio that the pattern matches and does not leave out."""
    return any(_exclusion(card, file) is None for file in _match(card, folder)[0])


def read(card: Card, folder: Path) -> Listing:
    """List the audio that the pattern matches, wherever in the folder it lies.

    Files of one name and the same audio, as of an archive unpacked twice, are one. The corpus's own
    ``partition.csv`` divides it, or the card's lists of speakers, or the pattern's group; else the
    partitions are drawn, as those of a table are.
    """
    named, others = _match(card, folder)
    left_out = [file for file in named if _exclusion(card, file) is not None]
    files, problems, notes = _once(card, folder, [f for f in named if _exclusion(card, f) is None])
    if not files:
        raise InputError(_nothing(card, folder, others))
    columns, cautions = _columns(card, folder, files)
    home = _home(folder, files) if card.pattern else folder
    columns["path"] = [(folder / file.path).relative_to(home).as_posix() for file in files]
    if not card.pattern and "speaker" in columns:
        names = columns["speaker"].unique()
        shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
        notes.append(f"the folders below those of the classes are taken as speakers ({shown})")
    source_label = columns["label"]
    columns["label"], merged = table.one_spelling(card, source_label)
    facts = {
        "surplus": tuple(os.path.relpath(folder / path, home) for path in others),
        "excluded": dict(Counter(_exclusion(card, file) for file in left_out)),
        "notes": tuple(notes),
        "cautions": (*cautions, *merged),
    }
    listed = any((place / partitions.FILE).is_file() for place in (folder, home))
    if listed or (card.partition and "speaker" in columns and "partition" not in columns):
        meant = dict(zip(source_label, columns["label"], strict=True))
        speakers = columns.reindex(columns=["speaker"], fill_value="")["speaker"]
        facts_of = zip(speakers, source_label, strict=True)
        return partitions.place(
            card.model_copy(update={"labels": meant}),
            (folder, home),
            dict(zip(columns["path"], facts_of, strict=True)),
            [file.path.name for file in left_out],
            problems,
            **facts,
        )
    partition, source = table.partition(
        card, columns, Path(card.table or card.dataset), "the folders or names"
    )
    columns = columns.assign(partition=partition, source_label=source_label)
    rows = columns.reindex(columns=list(COLUMNS), fill_value="").to_numpy().tolist()
    return Listing(home, table_of(rows), source, tuple(problems), **facts)


def unlabelled(card: Card, folder: Path, always: bool = False) -> Listing | None:
    """List the audio of a folder without labels; None of a folder that has some by names."""
    named, others = _match(card, folder)
    labels = {file.groups["label"] for file in named}
    files = sorted([*(file.path for file in named), *others])
    if not files or (not always and (card.pattern or len(labels) > 1)):
        return None
    rows = [(path.as_posix(), "", "", "", "") for path in files]
    return Listing(folder, table_of(rows), "none")


def _match(card: Card, folder: Path) -> tuple[list[Named], list[Path]]:
    """The audio that the pattern matches, and the paths of the other."""
    pattern = re.compile(card.pattern) if card.pattern else CLASSES
    named, others = [], []
    for file in audio_files(folder, DEEP):
        path = file.relative_to(folder)
        parts = unicodedata.normalize("NFC", path.with_suffix("").as_posix()).split("/")
        names = ("/".join(parts[i:]) for i in range(len(parts)))  # with all folders first
        match = next(filter(None, map(pattern.fullmatch, names)), None)
        groups = {k: v for k, v in match.groupdict().items() if v} if match else {}
        if "label" in groups:
            named.append(Named(path, match[0], groups))
        else:
            others.append(path)
    return named, others


def _exclusion(card: Card, file: Named) -> str | None:
    """Why a file is left out, or None."""
    code = file.groups.get("excluded", file.groups["label"])
    return card.excluded.get(code, code if "excluded" in file.groups else None)


def _once(
    card: Card, folder: Path, files: Sequence[Named]
) -> tuple[list[Named], list[str], list[str]]:
    """The first file of each name, the least deep one; problems and notes of the others."""
    first: dict[str, Named] = {}
    again = []
    for file in sorted(files, key=lambda file: (len(file.path.parts), file.path)):
        if first.setdefault(file.name, file) is not file:
            again.append((first[file.name].path, file.path))
    other = [
        pair for pair in again if not filecmp.cmp(folder / pair[0], folder / pair[1], shallow=False)
    ]
    both = [folder / path for pair in other for path in pair]
    hashes = scan.gather(both, f"{card.dataset}-copies")["audio_hash"].tolist() if both else []
    clash = {pair for pair, a, b in zip(other, hashes[::2], hashes[1::2], strict=True) if a != b}
    problems = [
        f"{path}: another recording is called the same, {one}; rename or remove one of the two"
        for one, path in sorted(clash)
    ]
    copies = [pair for pair in again if pair not in clash]
    notes = [
        f"{len(copies)} files are not used, since others have the same names and audio: "
        f"{path} is a copy of {one}" + ", ..." * (len(copies) > 1)
        for one, path in copies[:1]
    ]
    return list(first.values()), problems, notes


def _home(folder: Path, files: Sequence[Named]) -> Path:
    """The folder that holds the folders of audio, whatever archives put around it."""
    parents = {file.path.parent for file in files}
    home = Path(os.path.commonpath(parents))
    return folder / (home.parent if parents == {home} else home)


def _columns(card: Card, folder: Path, files: Sequence[Named]) -> tuple[pd.DataFrame, list[str]]:
    """What the names say of the files, and what of it cannot be used."""
    columns = pd.DataFrame(
        [file.groups for file in files], columns=["label", "speaker", "partition"], dtype="str"
    ).dropna(axis="columns", how="all")
    lacks, cautions = columns.isna(), []
    wrong = lacks.get("partition", pd.Series(False, columns.index))
    if not card.pattern:
        words = columns.drop(columns="partition", errors="ignore")
        wrong |= words.apply(lambda column: column.str.lower().isin(WORDS)).any(axis=1)
    if wrong.any():
        raise InputError(
            f"{folder}: {files[wrong.idxmax()].path}: where there are partitions, all audio lies "
            "in folders of classes in theirs (train/happy/a.wav); if it is otherwise, say by "
            f"`pattern` in {card_file(card.table or folder).name} what the folders are"
        )
    if not card.pattern and columns["label"].nunique() == 1:
        top = files[0].path.parts[0]
        raise InputError(
            f"{folder}: all audio lies in its folder {top}, and two classes are needed; if the "
            f"folders in {top} are the classes, give the path {folder / top}"
        )
    if "speaker" in columns and lacks["speaker"].any():
        cautions.append(
            f"speakers are known of {(~lacks['speaker']).sum()} files and not of "
            f"{lacks['speaker'].sum()}, the first one {files[lacks['speaker'].idxmax()].path}; so "
            "none are used"
        )
        columns = columns.drop(columns="speaker")
    return columns, cautions


def _nothing(card: Card, folder: Path, others: Sequence[Path]) -> str:
    """What to say of a folder without audio that the pattern matches."""
    text = f"{folder}: no audio of {card.dataset} there"
    if others:
        text = f"{text}: {len(others)} files, the first one {others[0]}, are not called as its are"
    if not card.table:
        return (
            f"{text}; run `dslite fetch {card.dataset}`, or let DSLITE_DATA name the folder that "
            f"holds {card.dataset}/"
        )
    if card.pattern:
        return f"{text} (pattern {card.pattern})"
    tables = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in TABLES)
    hint = f"; {tables[0]} there is a table: give its path" if tables else ""
    return (
        f"{text}; expected is a folder for each class (happy/a.wav), or a `pattern` in "
        f"{card_file(card.table).name} beside it, or a table{hint}"
    )

"""Partitions of a corpus that comes with none: a file list beside it, or the card's speakers."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from dslite import paths
from dslite.cards import Card
from dslite.datasets import cells
from dslite.datasets.listing import CARD_LISTS
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
    known = _read(file)
    found = {path: known[_key(path)] for path in speakers if _key(path) in known}
    problems = [
        f"{path}: not in {paths.shown(file)}; add it there, or move the file away"
        for path in speakers
        if path not in found
    ]
    missing = known.keys() - {_key(path) for path in (*speakers, *left_out)}
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


def _key(path: str) -> str:
    """What a file is looked up by: its name without folders and suffix."""
    return PurePosixPath(path.replace("\\", "/")).stem


def _read(file: Path) -> dict[str, str]:
    """Key of each listed file -> its partition."""
    header, *rows = cells.read(file)
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
        if found.setdefault(_key(row[path]), part) != part:
            raise InputError(f"{file}, row {number}: '{row[path]}' is in two partitions")
    return found

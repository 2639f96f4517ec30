"""What a corpus's own files say of it: one schema, read by one module for each layout."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from dslite import paths
from dslite.cards import Card
from dslite.errors import InputError

CARD_LISTS = "the card's lists of speakers"  # where a partition comes from, in words
COLUMNS = ("path", "label", "speaker", "partition", "source_label")  # of a listing
UNKNOWN = "?"  # label of a file whose label is not given out, as in the ComParE challenges
AUDIO = {".wav", ".flac"}  # suffixes of a corpus's audio
OTHER_AUDIO = {".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}
SHOWN = 20  # problems listed in one message


@dataclass(frozen=True)
class Listing:
    """What a corpus's own label files or file names say of it.

    Attributes
    ----------
    folder : Path
        What the paths are relative to.
    table : DataFrame [files, COLUMNS]
        Strings: ``path`` (with ``/``), ``label`` (a class or a number; empty: unknown), ``speaker``
        (empty: unknown), ``partition`` (train, devel or test) and ``source_label`` (as the corpus
        itself writes it: ``exc``, ``7``, ``?``).
    partition_source : str
        Where the partition comes from, in words, with the seed where it was drawn.
    problems : tuple of str
        What has to be mended, one sentence each.
    surplus : tuple of str
        Audio on disk that no label mentions, as ``path`` is written.
    excluded : mapping of str to int
        Why files were left out on purpose -> how many.
    notes : tuple of str
        What else a reader should know, one sentence each.
    """

    folder: Path
    table: pd.DataFrame
    partition_source: str = CARD_LISTS
    problems: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _layout(card: Card) -> ModuleType:
    """Module of a card's layout; by name, since most commands need one of them or none."""
    return import_module(f"dslite.datasets.{card.layout}")


def home(card: Card) -> Path:
    """Return the folder in which a corpus lies or should lie."""
    if card.layout == "demo":
        return paths.cache() / "demo"
    return paths.raw(card.folder or card.dataset)


def read(card: Card) -> Listing:
    """List a corpus's files, their labels, speakers and partitions, from its own layout.

    The module of a layout, ``dslite.datasets.<card.layout>``, has ``read(card, folder)`` and
    ``is_present(card, folder)``; the card says how the corpus's labels become classes, what is left
    out and which speakers are in which partition. The demo corpus is generated on its first use.

    Raises
    ------
    InputError
        The corpus is not there or not in its layout.
    """
    return _layout(card).read(card, home(card))


def is_present(card: Card) -> bool:
    """Return whether `read` has something to read without a download; touches nothing."""
    return _layout(card).is_present(card, home(card))


# What the modules of the layouts share


def table_of(rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return a listing's table from rows in the order of `COLUMNS`, sorted by path."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS), dtype="str")
    return table.sort_values("path", ignore_index=True)


def audio_files(folder: Path, deep: int = 3) -> list[Path]:
    """List audio in ``folder`` and up to ``deep`` folders below, sorted, without what is hidden."""
    files = []
    # Not rglob, which does not enter a folder that is a link.
    for file in (f for depth in range(deep + 1) for f in folder.glob("*/" * depth + "*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in AUDIO | OTHER_AUDIO and not hidden and file.is_file():
            files.append(file)
    return sorted(files)


def leads_out(folder: Path, path: str | Path) -> bool:
    """Return whether a path, its links followed, leads out of a corpus's folder (`home`).

    That may be more than a listing's folder, where archives put folders around the audio: what a
    user links to lies in the folder that the user named.
    """
    return not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder))


def require_none(problems: Sequence[str], heading: str) -> None:
    """Raise one InputError that lists all problems, or the first 20 of very many."""
    if not problems:
        return
    lines = [f"{heading}: {len(problems)} problem{'s' * (len(problems) > 1)} to mend"]
    lines += [f"  - {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    raise InputError("\n".join(lines))


def read_rows(file: Path, delimiters: str = ",;\t") -> list[list[str]]:
    """Read the rows of a table, header first, as they stand; the last one is not blank.

    Parameters
    ----------
    file : Path
        UTF-8, with or without a byte order mark.
    delimiters : str
        Of these, the one that the header holds most often separates the cells.

    Returns
    -------
    list of list of str
        Without white space around the cells; rows may differ in length.

    Raises
    ------
    InputError
        The file is not readable, not UTF-8, or has no row below its header.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            header = source.readline()
            source.seek(0)
            delimiter = max(delimiters, key=header.count)
            rows = [[c.strip() for c in row] for row in csv.reader(source, delimiter=delimiter)]
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8; save the table as 'CSV UTF-8'") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{file}: not readable as a table: {error}") from None
    while rows and not any(rows[-1]):
        rows.pop()
    if len(rows) < 2:
        raise InputError(f"{file}: no rows below the header")
    return rows

"""Corpora on disk: one module for each layout, one schema for all (`manifest`)."""

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass(frozen=True)
class Manifest:
    """A corpus, resolved.

    Attributes
    ----------
    card : Card
        Its ``classes`` are never empty in a classification.
    folder : Path
        What the paths are relative to.
    table : DataFrame [files, manifest.COLUMNS]
        ``path`` (with ``/``), ``label`` (empty: unknown), ``speaker`` (empty: unknown),
        ``partition``, ``source_label`` (as the corpus writes it) and ``audio_hash`` (empty: not
        decodable) are strings, ``duration_s`` (seconds) and ``peak`` float64, ``sample_rate``
        (Hz), ``channels``, ``clipped`` and ``truncated`` int64, see `facts.Facts`. The index counts
        from 0, so that row i stands in row i + 2 of a CSV file with a header.
    partition_source : str
        Where the partition comes from, in words, with the seed where it was drawn.
    fold : str
        ``5folds/fold2`` in a cross-validation (`dslite.training.cross_validation`): where below a run's usual place
        its results lie. Empty otherwise.
    problems, surplus, excluded, notes
        What reading the corpus's own files has shown, see `dslite.datasets.listing.Listing`.
    """

    card: Card
    folder: Path
    table: pd.DataFrame
    partition_source: str = CARD_LISTS
    fold: str = ""
    problems: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the network's outputs; none in a regression."""
        return self.card.classes


def table_of(rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A listing's table from rows in the order of `COLUMNS`, sorted by path."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS), dtype="str")
    return table.sort_values("path", ignore_index=True)


def home(card: Card) -> Path:
    """Folder in which a corpus lies or should lie."""
    if card.layout == "demo":
        return paths.cache() / "demo"
    return paths.raw(card.folder or card.dataset)


def _layout(card: Card):
    """The module of a card's layout; imported here, since listing datasets needs none of them."""
    from importlib import import_module

    return import_module(f"dslite.datasets.{card.layout}")


def read(card: Card) -> Listing:
    """Files of a corpus, their labels, speakers and partitions, from the corpus's own layout.

    Raises
    ------
    InputError
        The corpus is not there or not in its layout.

    Notes
    -----
    The demo corpus is generated on its first use.
    """
    folder = home(card)
    if card.layout == "demo":
        _generate_demo(folder)
    return _layout(card).read(card, folder)


def _generate_demo(folder: Path) -> None:
    from tqdm import tqdm

    from dslite.datasets import demo

    if demo.is_complete(folder):
        return
    print("making the demo corpus ...", file=sys.stderr, flush=True)
    with tqdm(desc="voices", unit="clip", leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        demo.generate(folder, progress=show)


def is_present(card: Card) -> bool:
    """Whether `read` has something to read without a download; touches nothing."""
    if card.layout == "demo":
        return True  # made on the spot
    return _layout(card).is_present(card, home(card))


def audio_files(folder: Path, deep: int = 3) -> list[Path]:
    """Audio in ``folder`` and up to ``deep`` folders below, sorted, without what is hidden."""
    found = []
    # Not rglob, which does not enter a folder that is a link.
    for file in (f for depth in range(deep + 1) for f in folder.glob("*/" * depth + "*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in AUDIO | OTHER_AUDIO and not hidden and file.is_file():
            found.append(file)
    return sorted(found)


def leads_out(folder: Path, path: str | Path) -> bool:
    """Whether a path, its links followed, leads out of a corpus's folder (`home`).

    That may be more than a listing's folder, where archives put folders around the audio: what a
    user links to lies in the folder that the user named.
    """
    return not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder))


def require_none(problems: Sequence[str], heading: str) -> None:
    """Raise one InputError that lists all problems found, or the first 20 of very many."""
    if not problems:
        return
    lines = [f"{heading}: {len(problems)} problem{'s' * (len(problems) > 1)} to mend"]
    lines += [f"  - {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    raise InputError("\n".join(lines))


def read_rows(file: Path, delimiters: str = ",;\t") -> list[list[str]]:
    """Rows of a table, header first, as they stand; the last one is not blank.

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

"""What a corpus's own files say of it: one schema, read by one module for each layout."""

import csv
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pandas as pd

from dslite import paths
from dslite.cards import Card
from dslite.decoding import SUFFIXES
from dslite.errors import InputError
from dslite.settings import nearest

CARD_LISTS = "the card's lists of speakers"  # where a partition comes from, in words
COLUMNS = ("path", "label", "speaker", "partition", "source_label")  # of a listing
UNKNOWN = "?"  # label of a file whose label is not given out, as in the ComParE challenges
SEPARATOR = re.compile(r"sep=(.)")
# Name and kind of an attribute of a Weka file
ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)\s+(.+)", re.IGNORECASE)
NUMBERS = ("numeric", "real", "integer")
SHOWN = 20  # problems listed in one message


@dataclass(frozen=True)
class Listing:
    """What a corpus's own label files or file names say of it.

    ``table`` [files, `COLUMNS`] holds strings; an unknown label or speaker is empty, paths have
    ``/``, and ``source_label`` is as the corpus itself writes it: ``exc``, ``7``, ``?``.
    """

    folder: Path  # what the paths are relative to
    table: pd.DataFrame
    partition_source: str = CARD_LISTS  # in words, with the seed where it was drawn
    problems: tuple[str, ...] = ()  # what has to be mended, one sentence each
    surplus: tuple[str, ...] = ()  # paths of audio on disk that no label mentions
    excluded: Mapping[str, int] = field(default_factory=dict)  # why left out -> how many files
    notes: tuple[str, ...] = ()  # what else a reader should know
    cautions: tuple[str, ...] = ()  # what was read otherwise than it is written, perhaps wrongly


def home(card: Card) -> Path:
    """Return the folder in which a corpus lies or should lie."""
    if card.layout == "demo":
        return paths.cache() / "demo"
    return paths.raw(card.folder or card.dataset)


def read(card: Card) -> Listing:
    """List a corpus's files, their labels, speakers and partitions, from its own layout.

    The module of a layout, ``dslite.datasets.<card.layout>``, has ``read(card, folder)`` and
    ``is_present(card, folder)``. InputError where the corpus is not there or not in its layout; the
    demo corpus is generated on its first use.
    """
    with paths.reading(home(card)):
        return import_module(f"dslite.datasets.{card.layout}").read(card, home(card))


def unlabelled(card: Card, always: bool = False) -> Listing | None:
    """List the audio of a user's table or folder that has no labels; None where there are some.

    With ``always`` labels are passed over. Labels, speakers and partitions are empty.
    """
    if card.layout not in ("table", "pattern"):
        return None
    layout = import_module(f"dslite.datasets.{card.layout}")
    with paths.reading(home(card)):
        return layout.unlabelled(card, home(card), always)


def is_present(card: Card) -> bool:
    """Return whether `read` has something to read without a download; touches nothing."""
    return import_module(f"dslite.datasets.{card.layout}").is_present(card, home(card))


# What the modules of the layouts share


def is_audio_name(name: str) -> bool:
    """Return whether a name ends as those of audio do."""
    return Path(name).suffix.lower() in SUFFIXES


def is_audio(file: Path) -> bool:
    """Return whether a file is audio by its name, and not hidden."""
    return is_audio_name(file.name) and not file.name.startswith(".")


def file_problem(place: Path, twin: Path) -> str:
    """Say what is wrong with a corpus's audio by its name, or nothing.

    ``twin`` is the file that was listed first for the same recording: ``place`` itself, or another.
    """
    return "" if twin == place else f"{place}: the same recording is there as {twin}; keep one"


def table_of(rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return a listing's table from rows in the order of `COLUMNS`, sorted by path."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS), dtype="str")
    return table.sort_values("path", ignore_index=True)


def audio_files(folder: Path, deep: int = 3) -> list[Path]:
    """List audio in ``folder`` and up to ``deep`` folders below, sorted, without what is hidden."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    files = []
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [n for n in folders if not n.startswith(".")] if depth < deep else []
        files += [Path(place, name) for name in names if is_audio(Path(name))]
    return sorted(file for file in files if file.is_file())


def leads_out(folder: Path, path: str | Path) -> bool:
    """Return whether a path, its links followed, leads out of a corpus's folder (`home`).

    That may be more than a listing's folder, where archives put folders around the audio: what a
    user links to lies in the folder that the user named.
    """
    return not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder))


def require_none(problems: Sequence[str], heading: str) -> None:
    """Raise one InputError that lists all problems."""
    if problems:
        heading += f": {len(problems)} problem{'s' * (len(problems) > 1)} to mend"
        raise InputError(list_text(heading, problems))


def list_text(heading: str, sentences: Sequence[str]) -> str:
    """Lay out sentences under a heading, the first 20 of very many."""
    lines = [heading, *(f"  - {sentence}" for sentence in sentences[:SHOWN])]
    if len(sentences) > SHOWN:
        lines.append(f"  ... and {len(sentences) - SHOWN} more")
    return "\n".join(lines)


def repeats(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[int, int]]:
    """List the rows whose columns an earlier row has, too: pairs of the first row and this one."""
    first = table.reset_index().groupby(list(columns))["index"].transform("min")
    pairs = zip(first.tolist(), table.index.tolist(), strict=True)
    return [(one, other) for one, other in pairs if one != other]


def in_two_partitions(table: pd.DataFrame, column: str) -> list[tuple[int, int]]:
    """List pairs of rows that share a speaker or audio and are in two partitions, one of each."""
    rows = table[table[column] != ""].drop_duplicates([column, "partition"])
    return repeats(rows, [column])


def read_table(file: Path, required: Sequence[str]) -> pd.DataFrame:
    """Read columns of a CSV or TSV file as strings; row i stands in row i + 2 of the file.

    Their names may be written in any case and order; other columns are left out. InputError where a
    column is missing or there twice, a row is blank or has too few or too many cells.
    """
    header, *rows = read_rows(file)
    names = [name.lower() for name in header]
    for name in required:
        if name not in names:
            raise InputError(
                f"{file}: no column '{name}' in its first row{nearest(name, header)}"
                f" (needed are {' and '.join(required)})"
            )
        if names.count(name) > 1:
            raise InputError(f"{file}: there are two columns '{name}'; keep one")
    return cells(file, len(names), rows, {name: names.index(name) for name in required})


def cells(
    file: Path, width: int, rows: Sequence[Sequence[str]], places: Mapping[str, int]
) -> pd.DataFrame:
    """Return some columns of a table's rows as strings; InputError for rows of other length."""
    problems = [
        f"row {number} has {len(row)} cells where the header has {width}"
        if any(row)
        else f"row {number} is blank; delete it"
        for number, row in enumerate(rows, start=2)
        if not any(row) or len(row) < width or any(row[width:])
    ]
    require_none(problems, str(file))
    listed = [[row[place] for place in places.values()] for row in rows]
    return pd.DataFrame(listed, columns=list(places), dtype="str")


def read_rows(file: Path) -> list[list[str]]:
    """Read the rows of a UTF-8 table, header first, without white space around the cells.

    Tabs divide the cells of a .tsv, elsewhere the one of comma, semicolon and tab that the header
    holds most often; rows may differ in length, and the last one is not blank. Of a Weka file
    (.arff) see `_arff_rows`. InputError where the file cannot be read so, or has no row below its
    header.
    """
    # A .tsv of the challenges of 2017 has commas in the header of its second column.
    delimiters = "\t" if file.suffix.lower() == ".tsv" else ",;\t"
    try:
        if file.suffix.lower() == ".arff":
            return _without_nul(file, _arff_rows(file))
        with file.open(encoding="utf-8-sig", newline="") as source:
            header, begin = source.readline(), 0
            if separator := SEPARATOR.fullmatch(header.strip()):  # Excel's, which it does not show
                delimiters, begin = separator[1], source.tell()
                header = source.readline()
            source.seek(begin)
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
    return _without_nul(file, rows)


def _without_nul(file: Path, rows: list[list[str]]) -> list[list[str]]:
    """Refuse a character that no text and no path holds."""
    if any("\0" in cell for row in rows for cell in row):
        raise InputError(f"{file}: holds NUL characters, as no table does; save it as 'CSV UTF-8'")
    return rows


def _arff_rows(file: Path) -> list[list[str]]:
    """Rows of a Weka file below its attributes' names: of those that are no numbers, and the last.

    The only string is the ``path``, as openSMILE writes it; the last attribute, if it names classes
    or none does, the ``label``, as in Weka. (scipy.io.arff reads no strings.)
    """
    names, kinds = [], []
    with file.open(encoding="utf-8-sig") as source:
        for line in map(str.strip, source):
            if match := ATTRIBUTE.fullmatch(line):
                names.append(match[1].strip("'\""))
                kinds.append(match[2].lower())
            elif line.lower() == "@data":
                break
        lines = (line.strip() for line in source if line.strip() and line[0] != "%")
        first, last = next(lines, ""), len(names) - 1
        if not names or not first or first.startswith("{"):
            raise InputError(f"{file}: no rows of a Weka file below its @attribute lines and @data")
        text = [i for i, kind in enumerate(kinds) if kind == "string"]
        nominal = [i for i, kind in enumerate(kinds) if kind.startswith("{")]
        if len(text) == 1 and "path" not in names:
            names[text[0]] = "path"
        if (last in nominal or not nominal) and last not in text and "label" not in names:
            names[last] = "label"
        places = [i for i, kind in enumerate(kinds) if kind not in NUMBERS or i == last]
        quotes = {"quotechar": '"' if first[0] == '"' else "'", "escapechar": "\\"}
        rows = csv.reader(itertools.chain([first], lines), skipinitialspace=True, **quotes)
        # A row of another length is kept as it is, for whoever counts its cells.
        full = len(names)
        cells = [[row[i].strip() for i in places] if len(row) == full else row for row in rows]
    return [[names[i] for i in places], *cells]

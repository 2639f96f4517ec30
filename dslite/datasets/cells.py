"""Cells of a CSV or TSV file, all of them strings."""

import csv
from pathlib import Path

from dslite.errors import InputError


def read(file: Path, delimiters: str = ",;\t") -> list[list[str]]:
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

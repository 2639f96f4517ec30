"""A user's corpus: a CSV/TSV table with ``path, label[, speaker][, partition]`` and its audio."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from dslite.cards import Card
from dslite.datasets import listing, partitions
from dslite.datasets.listing import CARD_LISTS, UNKNOWN, Listing, audio_files, require_none
from dslite.datasets.partitions import SPELLINGS
from dslite.errors import InputError
from dslite.settings import PARTITIONS, nearest

FOLDS = 5  # of which one becomes test and one devel: about 60 / 20 / 20
REGRESSION_BINS = 5  # quantile bins of a regression label, so that partitions have its whole range
MANY_CLASSES = 50  # more labels than this look like the values of a regression
REQUIRED = ("path", "label")
OPTIONAL = ("speaker", "partition")
REMEDIES = {  # for an empty cell of a column
    "label": f"; where a test file's label is unknown write {UNKNOWN}",
    "speaker": "; give every file a speaker, or leave the whole column out",
    "partition": "; give every file a partition, or leave the whole column out",
}


def _columns(table: Path) -> pd.DataFrame:
    """The columns this project knows, each a column of strings; problems name the file's rows."""
    header, *rows = listing.read_rows(table, "\t" if table.suffix.lower() == ".tsv" else ",;\t")
    names = [name.lower() for name in header]
    for name in REQUIRED:
        if name not in names:
            raise InputError(
                f"{table}: no column '{name}' in its first row{nearest(name, header)}"
                f" (needed are path and label; speaker and partition may be there)"
            )
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise InputError(f"{table}: there are two columns '{twice[0]}'; keep one")
    problems, cells = [], []
    for number, row in enumerate(rows, start=2):
        if not any(row):
            problems.append(f"row {number} is blank; delete it")
        elif len(row) < len(names) or any(row[len(names) :]):
            problems.append(f"row {number} has {len(row)} cells where the header has {len(names)}")
        else:
            cells.append([row[names.index(name)] for name in columns])
            problems += [
                f"row {number}, {cells[-1][0] or 'no path'}: {name} is empty"
                + REMEDIES.get(name, "")
                for name, cell in zip(columns, cells[-1], strict=True)
                if not cell
            ]
    require_none(problems, str(table))
    return pd.DataFrame(cells, columns=columns, dtype="str")


def _row(columns: pd.DataFrame, i: int) -> str:
    return f"row {i + 2}, {columns['path'][i]}"


def _require_task(card: Card, labels: pd.Series) -> None:
    """Refuse what looks like a regression and does not say so."""
    n_labels = labels[labels != UNKNOWN].nunique()
    if n_labels > MANY_CLASSES and "task" not in card.model_fields_set:
        raise InputError(
            f"{card.table}: {n_labels} different labels; if they are values, write "
            f"'task: regression' into {Path(card.table).with_suffix('.yaml')}, if they are "
            "classes, 'task: classification'"
        )


def _from_column(columns: pd.DataFrame, table: Path) -> pd.Series:
    """Partition as the user wrote it, under this project's names."""
    spelled = columns["partition"].str.lower()
    require_none(
        [
            f"{_row(columns, i)}: partition '{columns['partition'][i]}' is not known"
            f"{nearest(spelled[i], PARTITIONS)}"
            for i in np.flatnonzero(~spelled.isin(list(SPELLINGS)))
        ],
        str(table),
    )
    return spelled.map(SPELLINGS)


def _from_card(card: Card, columns: pd.DataFrame, table: Path) -> pd.Series:
    """Partition from the card's lists of speakers."""
    if "speaker" not in columns:
        raise InputError(
            f"{table}: the card lists speakers of each partition, so the table needs a column "
            "'speaker'"
        )
    speakers = {speaker: key for key, listed in card.partition.items() for speaker in listed}
    placed = columns["speaker"].map(speakers)
    missing = columns["speaker"][placed.isna()].drop_duplicates()
    require_none(
        [
            f"{_row(columns, i)}: speaker '{speaker}' is in no partition of the card; add the "
            "speaker there"
            for i, speaker in missing.items()
        ],
        str(table),
    )
    return placed


def _bins(labels: pd.Series) -> pd.Series:
    """Quantile bin of each regression label; -1 for what is no number, which is for the check."""
    values = pd.to_numeric(labels, errors="coerce").where(np.isfinite)
    edges = np.unique(values.quantile(np.arange(1, REGRESSION_BINS) / REGRESSION_BINS).dropna())
    bins = np.searchsorted(edges, values)
    return pd.Series(np.where(values.isna(), -1, bins), index=labels.index)


def _drawn(card: Card, columns: pd.DataFrame, table: Path) -> pd.Series:
    """Speaker-independent, stratified partitions of about 60 / 20 / 20 % of the files."""
    unknown = np.flatnonzero(columns["label"] == UNKNOWN)
    if unknown.size:
        raise InputError(
            f"{table}: {_row(columns, unknown[0])}: a label is unknown "
            f"({UNKNOWN}), so the table needs a column 'partition' that puts such files into test"
        )
    labels = _bins(columns["label"]) if card.task == "regression" else columns["label"]
    # Files of one path stay together, so that a file listed twice is one problem, not two.
    groups = columns["speaker"] if "speaker" in columns else columns["path"]
    folds = min(FOLDS, groups.nunique(), labels.value_counts().max())
    if folds < len(PARTITIONS):
        raise InputError(
            f"{table}: {groups.nunique()} speakers (files, where no speakers are given) and at "
            f"most {labels.value_counts().max()} files of one label; 3 of each are needed to make "
            "train, devel and test. Add files, give a column 'partition' or, where labels are "
            "values, write 'task: regression' into the card"
        )
    part = partitions.parts(groups, labels, folds)
    return pd.Series(np.select([part == 0, part == 1], ["test", "devel"], "train"))


def is_present(card: Card, folder: Path) -> bool:
    """Return whether the table is there."""
    return Path(card.table).is_file()


def read(card: Card, folder: Path) -> Listing:
    """List a user's table, in its order: row i stands in row i + 2 of the file.

    Commas, semicolons (CSV) or tabs (TSV), UTF-8, a header in any case and order; further columns
    are ignored. Every cell is a string, so labels such as ``0`` or ``007`` stay what they are.
    Partitions come from ``partition`` in the card (lists of speakers) or from the column
    ``partition``, and where there is neither they are drawn, with `partitions.SEED`.

    Raises
    ------
    InputError
        The table is not readable, lacks a column or a cell, has an unknown partition, an unknown
        label outside test or over 50 labels and no task in its card, or cannot be split.
    """
    table = Path(card.table)
    columns = _columns(table)
    _require_task(card, columns["label"])
    partition, source = _partition(card, columns, table)
    unknown = columns["label"] == UNKNOWN
    require_none(
        [
            f"{_row(columns, i)}: the label is unknown ({UNKNOWN}) in {partition[i]}; only test "
            "files may do without"
            for i in np.flatnonzero(unknown & (partition != "test"))
        ],
        str(table),
    )
    rows = pd.DataFrame(
        {
            "path": columns["path"],
            "label": columns["label"].mask(unknown, ""),
            "speaker": columns.get("speaker", ""),
            "partition": partition,
            "source_label": columns["label"],
        }
    )
    return Listing(folder, rows.astype("str"), source, surplus=_surplus(folder, rows["path"]))


def _partition(card: Card, columns: pd.DataFrame, table: Path) -> tuple[pd.Series, str]:
    """Each file's partition, and in words where it comes from."""
    if card.partition and "partition" in columns:
        raise InputError(
            f"{table}: both the table (a column 'partition') and the card (speakers of each "
            "partition) divide the corpus; keep one of the two"
        )
    if card.partition:
        return _from_card(card, columns, table), CARD_LISTS
    if "partition" in columns:
        return _from_column(columns, table), "the table's column 'partition'"
    by = "speaker" if "speaker" in columns else "file"
    source = f"drawn here: stratified, by {by} (StratifiedGroupKFold), seed {partitions.SEED}"
    return _drawn(card, columns, table), source


def _surplus(folder: Path, listed: pd.Series) -> tuple[str, ...]:
    """Audio beside the listed files, in the same folders, that the table does not list."""
    folder = Path(os.path.normpath(folder))  # the card's may hold ".."
    named = {os.path.normpath(folder / path) for path in listed}
    files = []
    for place in sorted({str(Path(path).parent) for path in named}):
        if Path(place).is_relative_to(folder):
            files += [file for file in audio_files(Path(place), deep=0) if str(file) not in named]
    return tuple(file.relative_to(folder).as_posix() for file in files)

"""A user's corpus: a CSV/TSV table with ``path, label[, speaker][, partition]`` and its audio."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from dslite.cards import Card
from dslite.datasets import listing, partitions
from dslite.datasets.listing import CARD_LISTS, UNKNOWN, Listing, audio_files
from dslite.datasets.partitions import SPELLINGS
from dslite.errors import InputError
from dslite.settings import PARTITIONS, nearest

FOLDS = 5  # of which one becomes test and one devel: about 60 / 20 / 20
MANY_CLASSES = 50  # more labels than this look like the values of a regression
REQUIRED = ("path", "label")
OPTIONAL = ("speaker", "partition")
REMEDIES = {  # for an empty cell of a column
    "label": f"; where a test file's label is unknown write {UNKNOWN}",
    "speaker": "; give every file a speaker, or leave the whole column out",
    "partition": "; give every file a partition, or leave the whole column out",
}


def _require_none(columns: pd.DataFrame, wrong: Iterable[tuple[int, str]], table: Path) -> None:
    """Refuse a table with problems: rows, and what is wrong there."""
    places = {i: f"row {i + 2}, {path or 'no path'}" for i, path in columns["path"].items()}
    listing.require_none([f"{places[i]}: {text}" for i, text in wrong], str(table))


def is_present(card: Card, folder: Path) -> bool:
    """Return whether the table is there."""
    return Path(card.table).is_file()


def read(card: Card, folder: Path) -> Listing:
    """List a user's table, in its order: row i stands in row i + 2 of the file.

    Every cell is a string, so labels such as ``0`` or ``007`` stay what they are. Partitions come
    from ``partition`` in the card (lists of speakers) or from the column ``partition``, and where
    there is neither they are drawn, with `partitions.SEED`.
    """
    table = Path(card.table)
    columns = listing.read_table(table, REQUIRED, OPTIONAL)
    cells = columns.stack().items()
    empty = [(i, f"{name} is empty{REMEDIES.get(name, '')}") for (i, name), c in cells if not c]
    _require_none(columns, empty, table)
    unknown = columns["label"] == UNKNOWN
    n_labels = columns["label"][~unknown].nunique()
    if n_labels > MANY_CLASSES and "task" not in card.model_fields_set:
        raise InputError(
            f"{table}: {n_labels} different labels; if they are values, write "
            f"'task: regression' into {table.with_suffix('.yaml')}, if they are "
            "classes, 'task: classification'"
        )
    partition, source = _partition(card, columns, table)
    text = f"the label is unknown ({UNKNOWN}) in {{}}; only test files may do without"
    wrong = np.flatnonzero(unknown & (partition != "test"))
    _require_none(columns, [(i, text.format(partition[i])) for i in wrong], table)
    rows = columns.reindex(columns=list(listing.COLUMNS), fill_value="").assign(
        label=columns["label"].mask(unknown, ""), partition=partition, source_label=columns["label"]
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
        if "speaker" not in columns:
            raise InputError(
                f"{table}: the card lists speakers of each partition, so the table needs a column "
                "'speaker'"
            )
        placed = columns["speaker"].map(card.part_of_speaker)
        text = "speaker '{}' is in no partition of the card; add the speaker there"
        missing = columns["speaker"][placed.isna()].drop_duplicates()
        _require_none(columns, [(i, text.format(name)) for i, name in missing.items()], table)
        return placed, CARD_LISTS
    if "partition" in columns:
        placed = columns["partition"].str.lower().map(SPELLINGS)
        missing = columns["partition"][placed.isna()]
        text = "partition '{}' is not known{}"
        hints = {i: nearest(name.lower(), PARTITIONS) for i, name in missing.items()}
        _require_none(columns, [(i, text.format(missing[i], hints[i])) for i in hints], table)
        return placed, "the table's column 'partition'"
    by = "speaker" if "speaker" in columns else "file"
    source = f"drawn here: stratified, by {by} (StratifiedGroupKFold), seed {partitions.SEED}"
    return _drawn(card, columns, table), source


def _drawn(card: Card, columns: pd.DataFrame, table: Path) -> pd.Series:
    """Speaker-independent, stratified partitions of about 60 / 20 / 20 % of the files."""
    unknown = np.flatnonzero(columns["label"] == UNKNOWN)
    text = f"a label is unknown ({UNKNOWN}), so the table needs a column 'partition' that puts such"
    _require_none(columns, [(i, f"{text} files into test") for i in unknown], table)
    labels = partitions.bins(columns["label"]) if card.task == "regression" else columns["label"]
    # Files of one path stay together, so that a file listed twice is one problem, not two.
    groups = columns["speaker"] if "speaker" in columns else columns["path"]
    most = labels.value_counts().max()
    folds = min(FOLDS, groups.nunique(), most)
    if folds < len(PARTITIONS):
        raise InputError(
            f"{table}: {groups.nunique()} speakers (files, where no speakers are given) and at "
            f"most {most} files of one label; 3 of each are needed to make train, devel and test. "
            "Add files, give a column 'partition' or, where labels are values, write "
            "'task: regression' into the card"
        )
    part = partitions.parts(groups, labels, folds)
    return pd.Series(np.select([part == 0, part == 1], ["test", "devel"], "train"))


def _surplus(folder: Path, listed: pd.Series) -> tuple[str, ...]:
    """Audio beside the listed files, in the same folders, that the table does not list."""
    folder = Path(os.path.normpath(folder))  # the card's may hold ".."
    named = {os.path.normpath(folder / path) for path in listed}
    places = {Path(path).parent for path in named}
    places = sorted(str(place) for place in places if place.is_relative_to(folder))
    files = [file for place in places for file in audio_files(Path(place), deep=0)]
    return tuple(f.relative_to(folder).as_posix() for f in files if str(f) not in named)

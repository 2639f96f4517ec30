"""A user's corpus: a CSV/TSV table of paths and labels, and its audio."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dslite import audio
from dslite.cards import Card
from dslite.datasets import columns as table_columns
from dslite.datasets import listing, partitions
from dslite.datasets.listing import CARD_LISTS, UNKNOWN, Listing, audio_files
from dslite.errors import InputError
from dslite.settings import PARTITIONS

FOLDS = 5  # of which one becomes test and one devel: about 60 / 20 / 20
MANY_CLASSES = 50  # more labels than this look like the values of a regression
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

    Every cell is a string, so labels such as ``0`` or ``007`` stay what they are. Which column is
    which, see `dslite.datasets.columns`; rows with a start and an end are segments of a file, whose
    paths end as media fragments do, ``a.wav#t=1.5,2``. Partitions come from ``partition`` in the
    card (lists of speakers) or from a column, and where there is neither they are drawn, with
    `partitions.SEED`.
    """
    table = Path(card.table)
    columns, resolved = _columns(card, table)
    cells = columns.stack().items()
    empty = [
        (i, f"{name} is empty{REMEDIES.get(name, '')}")
        for (i, name), cell in cells
        if not cell and name not in ("end", "duration")  # to the end of the file, as in audformat
    ]
    _require_none(columns, empty, table)
    source_label = columns["label"]
    columns["path"], respelled = _on_disk(folder, columns["path"])
    columns["label"], merged = one_spelling(card, source_label)
    segments = _segments(columns, table, resolved.milliseconds)
    unknown = columns["label"] == UNKNOWN
    n_labels = columns["label"][~unknown].nunique()
    if n_labels > MANY_CLASSES and "task" not in card.model_fields_set:
        raise InputError(
            f"{table}: {n_labels} different labels; if they are values, write "
            f"'task: regression' into {table.with_suffix('.yaml')}, if they are "
            "classes, 'task: classification'"
        )
    where = "the table's column 'partition'"
    divided, source = partition(card, columns, table, where)
    text = f"the label is unknown ({UNKNOWN}) in {{}}; only test files may do without"
    wrong = np.flatnonzero(unknown & (divided != "test"))
    _require_none(columns, [(i, text.format(divided[i])) for i in wrong], table)
    surplus = _surplus(folder, columns["path"])
    rows = columns.reindex(columns=list(listing.COLUMNS), fill_value="").assign(
        **{"path": segments, "label": columns["label"].mask(unknown, "")},
        **{"partition": divided, "source_label": source_label},
    )
    return Listing(
        *(folder, rows.astype("str"), source),
        surplus=surplus,
        notes=(*resolved.notes, *respelled),
        cautions=(*resolved.cautions, *merged),
    )


def unlabelled(card: Card, folder: Path, always: bool = False) -> Listing | None:
    """List the audio of a table without labels; None of a table that has some."""
    columns, resolved = _columns(card, Path(card.table), ["path"])
    if "label" in columns and not always:
        return None
    columns["path"], respelled = _on_disk(folder, columns["path"])
    rows = pd.DataFrame({"path": _segments(columns, Path(card.table), resolved.milliseconds)})
    rows = rows.reindex(columns=list(listing.COLUMNS), fill_value="").astype("str")
    return Listing(folder, rows, "none", notes=(*resolved.notes, *respelled))


def _columns(
    card: Card, table: Path, required: Sequence[str] = table_columns.REQUIRED
) -> tuple[pd.DataFrame, table_columns.Columns]:
    """The cells of the columns that are used, under our names."""
    header, *rows = listing.read_rows(table)
    resolved = table_columns.resolve(table, header, rows, card.columns, required)
    return listing.cells(table, len(header), rows, resolved.places), resolved


def _on_disk(folder: Path, listed: pd.Series) -> tuple[pd.Series, list[str]]:
    """Paths as the disk spells them: with /, of the same letters, case and suffix of the file."""
    entries: dict[Path, dict[str, list[str]]] = {}  # folder -> a name without its spelling -> names

    def spelled(name: str) -> str:
        stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
        return f"{stem}{dot}{suffix.lower()}" if dot else suffix

    def look_up(path: str) -> str:
        if (folder / path).exists():
            return path
        place = path.replace("\\", "/")
        for form in ("NFC", "NFD"):
            if (folder / unicodedata.normalize(form, place)).exists():
                return unicodedata.normalize(form, place)
        parent = Path(place).parent
        if parent not in entries:
            entries[parent] = {}
            for file in (folder / parent).glob("*"):
                for key in {spelled(file.name), spelled(file.stem)}:  # some tables have no suffixes
                    entries[parent].setdefault(key, []).append(file.name)
        same = entries[parent].get(spelled(Path(place).name), [])
        return (parent / same[0]).as_posix() if len(same) == 1 else place

    paths = listed.map({path: look_up(path) for path in listed.unique()})
    changed = listed[paths != listed]
    note = f"{len(changed)} paths are spelled otherwise on disk, the first one {{}} as {{}}"
    return paths, [note.format(changed.iloc[0], paths[changed.index[0]])] if len(changed) else []


def one_spelling(card: Card, labels: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return labels as the card's ``labels`` say, and what is to be said of others that became one.

    What differs by case, blanks or composed letters alone is one class, of the card's spelling or
    the commonest one.
    """
    if card.task == "regression":
        return labels, []
    free = labels[~labels.isin([*card.labels, *card.classes])]
    forms: dict[str, Counter] = {}  # what several spellings have in common -> files of each
    for label, n in Counter(free).items():
        key = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        forms.setdefault(key, Counter())[label] = n
    meant, sentences = {label: card.labels.get(label, label) for label in labels}, []
    classes = {" ".join(name.casefold().split()): name for name in card.classes}
    for key, counted in forms.items():
        name = classes.get(key, counted.most_common(1)[0][0])
        others = [f"'{label}' ({n} files)" for label, n in counted.items() if label != name]
        meant |= dict.fromkeys(counted, name)
        if others:
            sentences.append(
                f"label {', '.join(others)} is taken as '{name}' ({counted[name]} files), from "
                "which case, blanks or composed letters alone tell it; where it is another class, "
                f"write both into `labels` of the card"
            )
    return labels.map(meant), sentences


def _segments(columns: pd.DataFrame, table: Path, milliseconds: Sequence[str]) -> pd.Series:
    """Paths with the segment of each row behind them, where a column says when it starts."""
    if "start" not in columns:
        return columns["path"]
    times = columns.reindex(columns=list(table_columns.TIMES), fill_value="")
    seconds = times.apply(table_columns.seconds)
    seconds[list(milliseconds)] /= 1000
    end = seconds["end"].fillna(seconds["start"] + seconds["duration"])
    ends = ~times[["end", "duration"]].isin(table_columns.OPEN).all(axis=1)
    wrong = ~seconds["start"].between(0, audio.LATEST, inclusive="left")
    wrong |= ends & ~((end > seconds["start"]) & (end < audio.LATEST))
    text = "start {}, end {}: expected seconds, the end after the start"
    cells = times.to_numpy()
    problems = [(i, text.format(cells[i][0], cells[i][1] or end[i])) for i in np.flatnonzero(wrong)]
    _require_none(columns, problems, table)
    pairs = zip(columns["path"], seconds["start"], end, strict=True)
    return pd.Series([audio.fragment(*each) for each in pairs], columns.index)


def partition(card: Card, columns: pd.DataFrame, table: Path, where: str) -> tuple[pd.Series, str]:
    """Return each file's partition, and in words where it comes from.

    ``where`` says from where a column ``partition`` is. InputError where a word or a speaker is not
    known, or both the card and the column divide the corpus.
    """
    if card.partition and "partition" in columns:
        raise InputError(
            f"{table}: both {where} and the card (speakers of each partition) divide the corpus; "
            "keep one of the two"
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
        placed = columns["partition"].map(meanings := partitions.meanings(columns["partition"]))
        missing = columns["partition"][~placed.isin(PARTITIONS)]
        _require_none(columns, [(i, meanings[word]) for i, word in missing.items()], table)
        return placed, where
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
    part = np.minimum(partitions.parts(groups, labels, folds), 2)  # test, devel and the rest
    shares = (1 / folds, 1 / folds, 1 - 2 / folds)
    return pd.Series(
        np.array(["test", "devel", "train"])[partitions.completed(groups, labels, part, shares)]
    )


def _surplus(folder: Path, listed: pd.Series) -> tuple[str, ...]:
    """Audio beside the listed files, in the same folders, that the table does not list."""
    folder = Path(os.path.normpath(folder))  # the card's may hold ".."
    named = {os.path.normpath(folder / path) for path in listed}
    places = {Path(path).parent for path in named}
    places = sorted(str(place) for place in places if place.is_relative_to(folder))
    files = [file for place in places for file in audio_files(Path(place), deep=0)]
    return tuple(f.relative_to(folder).as_posix() for f in files if str(f) not in named)

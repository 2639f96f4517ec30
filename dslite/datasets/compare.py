"""ComParE challenge packages: ``wav/train_001.wav`` and so on, their labels in ``lab/``.

The packages of 2017, 2019 and 2021 differ in the names and columns of their label files, which
stand in the card. They name no speakers, and the test labels are not in all of them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dslite.cards import Card
from dslite.datasets import listing
from dslite.datasets.listing import UNKNOWN, Listing, audio_files, is_audio, table_of
from dslite.errors import InputError
from dslite.settings import PARTITIONS

SOURCE = "the organisers' partition"
FILE_COLUMNS = ("filename", "file_name", "path")  # the last one of ARFF
LOW_RATE_COLUMNS = ("filename_x", *FILE_COLUMNS)
SCORES = (0, 10)  # what a score that a threshold divides may be: the Karolinska scale and 0

# The number of digits differs from package to package and is not known of all.
NAME = re.compile(r"(train|devel|test)_[0-9]+(?:\.wav)?", re.IGNORECASE | re.ASCII)


class Entry(NamedTuple):
    """What the label files say of one audio file."""

    name: str  # as the file that mentioned it first writes it
    label: str  # as the corpus writes it; `UNKNOWN` where it is not given out
    file: str  # name of the label file it is from


def _find(card: Card, folder: Path) -> Path | None:
    """The folder that holds ``wav``, and ``lab`` unless a later release's table replaces it."""
    # It is `folder`, its `dist`, or one of the two in a folder of the package's name, which a later
    # release may in turn have put into one of its own.
    names = (card.package.name, *card.package.also)
    tops = [folder, *(folder / name for name in names)]
    if folder.is_dir():
        inside = [top for top in sorted(folder.iterdir()) if not top.name.startswith(".")]
        tops += [top / name for top in inside for name in names]
    for home in (place for top in tops for place in (top, top / "dist")):
        if (home / "wav").is_dir() and (
            (home / "lab").is_dir()
            or _arff_files(home)
            or _later_file(card.package.metadata, card, folder, home)
        ):
            return home
    return None


def _later_file(name: str, card: Card, folder: Path, home: Path) -> Path | None:
    """A file of a later release: in ``folder``, in the package or beside its outer folder."""
    outer = home.parent if home.name == "dist" else home
    places = [folder, home, outer] + [outer.parent] * (outer.name == card.package.name)
    return next((place / name for place in places if name and (place / name).is_file()), None)


def _arff_files(home: Path) -> list[Path]:
    """Files of features, which hold the labels, too: the first of each partition, by its name."""
    files = sorted([*(home / "lab").glob("[!.]*.arff"), *(home / "arff").glob("[!.]*.arff")])
    of_parts = [[file for file in files if part in file.name.lower()][:1] for part in PARTITIONS]
    return [file for first in of_parts for file in first] or files


def is_present(card: Card, folder: Path) -> bool:
    """Return whether there is a package with any audio."""
    home = _find(card, folder)
    return home is not None and any(map(is_audio, (home / "wav").iterdir()))


def key(name: str) -> str:
    """Return what a name is looked up by: without suffix, in lower case."""
    return Path(name).stem.lower()


def _columns(file: Path, header: list[str]) -> tuple[int, int]:
    """Places of the file's name and of its label in a row."""
    lower = [cell.lower() for cell in header]
    names = [i for i, cell in enumerate(lower) if cell in FILE_COLUMNS]
    labels = [i for i, cell in enumerate(lower) if cell == "label"]
    if not labels and names == [0] and len(header) == 2 and file.suffix.lower() == ".tsv":
        labels = [1]  # what the table of 2017 calls it is written down nowhere
    if len(names) == len(labels) == 1:
        return names[0], labels[0]
    data = any(NAME.fullmatch(cell) or cell.endswith(".wav") for cell in lower)
    raise InputError(
        f"{file}: wrong header: found '{', '.join(header)}'"
        f"{', which is a row of data' * data}; expected are the columns filename (or file_name) "
        "and label, named in the first row. Take the file from the package again"
    )


def _rows(file: Path, problems: list[str]) -> Iterator[tuple[int, str, str]]:
    """Row number, name and label of every row of a label file; of bad ones a problem."""
    header, *rows = listing.read_rows(file)
    name, label = _columns(file, header)
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        if len(row) < len(header) or any(row[len(header) :]):
            problems.append(
                f"{file.name}, row {number}: {len(row)} cells where the header has {len(header)}"
            )
        elif not NAME.fullmatch(row[name]):
            problems.append(
                f"{file.name}, row {number}: '{row[name]}' is not a name like train_001.wav"
            )
        else:
            yield number, row[name], row[label] or UNKNOWN


def _partition(name: str) -> str:
    return NAME.fullmatch(name)[1].lower()


def _gather(files: list[Path]) -> tuple[dict[str, Entry], list[str]]:
    """What label files say of each audio file, by `key`; a label replaces an unknown one."""
    entries, problems = {}, []
    for file in files:
        first = {}
        for number, name, label in _rows(file, problems):
            at = f"{file.name}, row {number}"
            if file.stem in PARTITIONS and file.stem != _partition(name):
                problems.append(f"{at}: {name} is not of {file.stem}; move it to its own file")
            if first.setdefault(key(name), number) != number:
                problems.append(f"{at}: {name} is in row {first[key(name)]} already; remove one")
                continue
            entry = entries.setdefault(key(name), Entry(name, label, file.name))
            if entry.label == UNKNOWN:
                entries[key(name)] = Entry(entry.name, label, file.name)
            elif label not in (UNKNOWN, entry.label):
                problems.append(
                    f"{at}: {name} has the label '{label}', and '{entry.label}' in {entry.file}; "
                    "correct one of the two"
                )
    return entries, problems


def _class(card: Card, label: str) -> tuple[str, str]:
    """A label as a class or a number, and what is wrong with it; both may be empty."""
    if label == UNKNOWN:
        return "", ""
    if card.threshold is None:
        return card.labels.get(label, label), ""
    try:
        score = float(label)
    except ValueError:
        score = float("nan")
    if not SCORES[0] <= score <= SCORES[1]:
        return label, f"'{label}' is not a score from {SCORES[0]} to {SCORES[1]}"
    return card.classes[score > card.threshold], ""


def _notes(card: Card, folder: Path, home: Path, entries: Mapping[str, Entry]) -> Iterator[str]:
    test = [entry for entry in entries.values() if _partition(entry.name) == "test"]
    blinded = sum(entry.label == UNKNOWN for entry in test)
    if blinded:
        yield f"{blinded} of {len(test)} test files have no label: this package keeps them back"
    revealed = Counter(entry.file for entry in test if entry.label != UNKNOWN)
    for name in (*card.package.revealing, card.package.metadata):
        if revealed[name]:
            yield f"the labels of {revealed[name]} test files are from {name}"
    file = _later_file(card.package.low_rate, card, folder, home)
    if not file:
        return
    try:
        header, *rows = listing.read_rows(file)
        column = next(i for name in LOW_RATE_COLUMNS for i, c in enumerate(header) if c == name)
    except InputError as error:
        yield f"which files were up-sampled is not known: {error}"
    except StopIteration:
        yield f"which files were up-sampled is not known: {file} has no column filename_x"
    else:
        listed = {key(row[column]) for row in rows if len(row) > column} & entries.keys()
        counts = Counter(_partition(entries[name].name) for name in listed)
        each = ", ".join(f"{partition} {counts[partition]}" for partition in PARTITIONS)
        yield (
            "files that were up-sampled from a lower rate, which goes with the label, are kept: "
            f"{each} ({file.name})"
        )


def read(card: Card, folder: Path) -> Listing:
    """List a challenge package, which lies in ``folder`` or in one of the folders around it.

    A row for every row of the label files, whether its audio is there or not, and where these have
    no test row at all, for every ``test_`` file.
    """
    home = _find(card, folder)
    if home is None:
        name = card.package.name
        raise InputError(
            f"{folder}: no package {name} there; expected are its folders wav and lab, in this "
            f"folder or in dist, {name} or {name}/dist. `dslite fetch {card.dataset}` says how to "
            "get it"
        )
    package, missing, features = card.package, [], []
    files = [home / "lab" / name for name in (*package.labels, *package.revealing)]
    files = [file for file in files if file.is_file()]
    if later := _later_file(package.metadata, card, folder, home):
        files.append(later)
    elif not files and (features := _arff_files(home)):
        files = features
    elif not files:
        raise InputError(
            f"{home / 'lab'}: none of the label files {', '.join(package.labels)} is there; "
            "take them from the package again"
        )
    else:  # those that every package should have
        missing = [name for name in package.labels if home / "lab" / name not in files]
    entries, problems = _gather(files)
    audio, surplus, doubled = {}, [], []
    for file in audio_files(home / "wav", deep=0):
        path = f"wav/{file.name}"
        if audio.setdefault(key(file.name), path) != path:
            doubled.append(f"{path}: there is {audio[key(file.name)]} as well; keep one")
    if not any(_partition(entry.name) == "test" for entry in entries.values()):
        # The label files leave the test partition out altogether.
        test = [k for k in audio if NAME.fullmatch(k) and _partition(k) == "test"]
        entries |= {k: Entry(Path(audio[k]).stem, UNKNOWN, "") for k in test}
    nameless = [path for k, path in audio.items() if k not in entries]
    if nameless:
        problems += [
            f"lab/{name}: there is no such file, and {len(nameless)} audio files have no label; "
            "take it from the package again"
            for name in missing
        ]
    rows = []
    for k, entry in entries.items():
        label, problem = _class(card, entry.label)
        problems += [f"{entry.file}, {entry.name}: label {problem}"] if problem else []
        path = audio.get(k, f"wav/{Path(entry.name).stem}.wav")
        rows.append((path, label, "", _partition(entry.name), entry.label))
    return Listing(
        home,
        table_of(rows),
        SOURCE,
        problems=(*problems, *doubled),
        surplus=tuple(sorted(surplus + nameless)),
        notes=(
            *_notes(card, folder, home, entries),
            *(f"the labels are from {file.name}" for file in features),
        ),
    )

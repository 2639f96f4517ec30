"""IEMOCAP as published: labels in ``Session1/dialog/EmoEvaluation``, audio in ``sentences/wav``."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.listing import Listing, audio_files, file_problem
from dslite.errors import InputError

OUTER = "IEMOCAP_full_release"  # unpacked with its name
SESSIONS = tuple(f"Session{number}" for number in range(1, 6))

# Session and wearer of the markers - scenario - who speaks, and the how-manieth turn. A part of a
# scenario may have a letter: script01_1b, impro05a.
NAME = re.compile(
    r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_(?:impro[0-9]{2}|script[0-9]{2}_[0-9])[a-z]?)"
    r"_(?P<gender>[FM])[0-9]{3}"
)
# [start - end], utterance, label, [valence, activation, dominance]; one tab between them
LINE = re.compile(r"\[[0-9.]+ - [0-9.]+\]\t(?P<name>[^\t]+)\t(?P<label>[^\t]+)\t\[[^\t\[\]]*\]\s*")


def _home(folder: Path) -> Path | None:
    """The folder that holds ``Session1`` and so on; None where there is not one of them."""
    homes = [h for h in (folder, folder / OUTER) if any((h / s).is_dir() for s in SESSIONS)]
    return homes[0] if homes else None


def _evaluations(home: Path, session: str) -> list[Path]:
    """Label files of a session; those in sub-folders are single annotators'."""
    files = (home / session / "dialog" / "EmoEvaluation").glob("*.txt")
    return sorted(file for file in files if not file.name.startswith("."))


def is_present(card: Card, folder: Path) -> bool:
    """Return whether there are labels of any session."""
    home = _home(folder)
    return home is not None and any(_evaluations(home, session) for session in SESSIONS)


def speaker(match: re.Match) -> str:
    """Return who speaks in an utterance, as ``1F``: session and gender, not the markers' wearer."""
    return match["session"] + match["gender"]


def _lines(file: Path, problems: list[str]) -> Iterator[tuple[int, re.Match, str]]:
    """Line number, name and label of a label file's utterances; of bad lines a problem."""
    # Annotators' comments may hold anything; a label line is ASCII.
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.startswith("["):
            continue
        fields = LINE.fullmatch(line)
        name = NAME.fullmatch(fields["name"]) if fields else None
        if name:
            yield number, name, fields["label"]
        else:
            problems.append(
                f"{file.name}, line {number}: neither time, utterance, label and dimensions "
                f"between tabs, nor a comment: '{line.strip()[:60]}'"
            )


def _labels(card: Card, home: Path) -> tuple[dict[str, tuple[re.Match, str]], list[str]]:
    """Name and label of each utterance, by its name, and problems."""
    labels, places, problems = {}, {}, []
    files = [(session, file) for session in SESSIONS for file in _evaluations(home, session)]
    for session, file in files:
        for number, name, label in _lines(file, problems):
            at = f"{session}, {file.name}, line {number}"
            if name["session"] != session[-1]:
                problems.append(f"{at}: {name[0]} is of Session{name['session']}; move the file")
            elif label not in card.labels and label not in card.excluded:
                problems.append(
                    f"{at}: label '{label}' of {name[0]} is not known; add it to `labels` or "
                    "`excluded` in the card"
                )
            elif labels.setdefault(name[0], (name, label))[1] != label:
                problems.append(
                    f"{at}: {name[0]} is '{label}', and '{labels[name[0]][1]}' in "
                    f"{places[name[0]]}; correct one of the two"
                )
            places.setdefault(name[0], at)
    return labels, problems


def _key(path: str | Path) -> str:
    return Path(path).with_suffix("").as_posix().lower()


def read(card: Card, folder: Path) -> Listing:
    """List the utterances of the card's classes, whether their audio is there or not."""
    home = _home(folder)
    if home is None:
        raise InputError(
            f"{folder}: no IEMOCAP there; expected are the folders Session1 ... Session5, in this "
            f"folder or in {OUTER}. `dslite fetch {card.dataset}` says how to get it"
        )
    labels, problems = _labels(card, home)
    audio = {}  # key -> path
    for file in (f for s in SESSIONS for f in audio_files(home / s / "sentences" / "wav", deep=1)):
        path = file.relative_to(home)
        twin = audio.setdefault(_key(path), path.as_posix())
        if Path(twin) != path:
            problems.append(file_problem(path, Path(twin)))
    files, listed = {}, set()
    for name, (match, label) in labels.items():
        session = f"Session{match['session']}"
        path = f"{session}/sentences/wav/{match['dialog']}/{name}.wav"  # whether there or not
        path = audio.get(_key(path), path)
        listed.add(_key(path))
        if label in card.labels:
            files[path] = (speaker(match), label)
    unused = [name for name, (_, label) in labels.items() if label in card.excluded]
    absent = [session for session in SESSIONS if not _evaluations(home, session)]
    note = f"no labels of {', '.join(absent)}: the counts differ from the whole corpus's"
    facts = {
        "surplus": tuple(sorted(path for key, path in audio.items() if key not in listed)),
        "excluded": dict(Counter(card.excluded[labels[name][1]] for name in unused)),
        "notes": (note,) if absent else (),
    }
    return partitions.place(card, (folder, home), files, unused, problems, **facts)

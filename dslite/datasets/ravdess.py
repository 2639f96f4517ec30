"""RAVDESS song as published: ``Actor_AA/03-02-EE-II-SS-RR-AA.wav`` (Zenodo record 1188976)."""

import re
from pathlib import Path

import pandas as pd

from dslite.cards import Card
from dslite.datasets import require_none
from dslite.errors import InputError

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
}
NESTED = ("Audio_Song_Actors_01-24", "archive")  # unpacked with its name; as mirrors nest it
AUDIO = {".wav", ".flac"}
OTHER_AUDIO = {".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}

# modality - channel - emotion - intensity - statement - repetition - actor
NAME = re.compile(r"(0[123])-(0[12])-(\d\d)-(0[12])-(0[12])-(0[12])-(\d\d)")
ACTOR_FOLDER = re.compile(r"Actor_(\d\d)")


def top(folder: Path) -> Path:
    """The folder that holds ``Actor_01`` and so on: ``folder`` or one that archives put around."""
    for candidate in (folder, *(folder / name for name in NESTED)):
        if any(candidate.glob("Actor_[0-9][0-9]")):
            return candidate
    return folder


def _audio_files(folder: Path) -> list[Path]:
    """Audio in ``folder`` and down to two folders below, sorted, without what is hidden."""
    found = []
    # Not rglob, which does not enter an actor's folder that is a link.
    for file in (f for depth in ("*", "*/*", "*/*/*") for f in folder.glob(depth)):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in AUDIO | OTHER_AUDIO and not hidden and file.is_file():
            found.append(file)
    return sorted(found)


def is_present(folder: Path) -> bool:
    """Whether there is any audio of an actor."""
    files = top(folder).glob("Actor_[0-9][0-9]/*")
    return any(f.suffix.lower() in AUDIO and not f.name.startswith(".") for f in files)


def _problem(file: Path, place: Path) -> str:
    """What is wrong with the name or place of an audio-only song file; empty if nothing is."""
    if file.suffix.lower() not in AUDIO:
        return f"{place}: neither WAV nor FLAC; remove it or convert it"
    match = NAME.fullmatch(file.stem)
    if not match:
        return f"{place}: the name is not of the form 03-02-EE-II-SS-RR-AA; move the file away"
    emotion, actor = match[3], match[7]
    if emotion not in EMOTIONS:
        return f"{place}: emotion {emotion} does not occur in song (01 to 06); move the file away"
    folder = ACTOR_FOLDER.fullmatch(file.parent.name)
    if len(place.parts) != 2 or not folder or folder[1] != actor:
        return f"{place}: of actor {actor}, so it belongs into the folder Actor_{actor}"
    return ""


def _is_other_half(file: Path) -> bool:
    """Whether it is speech, or sound of a video: mirrors store these among the songs."""
    match = NAME.fullmatch(file.stem)
    return bool(match) and (match[1], match[2]) != ("03", "02")


def read(card: Card, folder: Path) -> pd.DataFrame:
    """Manifest rows of the sung files.

    Parameters
    ----------
    card : Card
        Its ``partition`` says which actors ("01" ...) are in which partition.
    folder : Path
        Holds the actors' folders, or one of the folders that archives put around them.

    Returns
    -------
    DataFrame
        Columns of strings ``path`` (relative to ``top(folder)``), ``label``, ``speaker`` and
        ``partition``, sorted by ``path``.

    Raises
    ------
    InputError
        There is no audio, or some has a wrong name or place, occurs as WAV and as FLAC, or is of
        an actor in no partition. All such files are named at once.
    """
    home = top(folder)
    files = [file for file in _audio_files(home) if not _is_other_half(file)]
    if not files:
        raise InputError(
            f"{folder}: no RAVDESS song there; run `dslite fetch {card.dataset}`, or let "
            f"DSLITE_DATA name the folder that holds {card.dataset}/Actor_01, Actor_02, ..."
        )
    partitions = {actor: key for key, actors in card.partition.items() for actor in actors}
    problems, rows, stems, unplaced = [], [], {}, {}
    for file in files:
        place = file.relative_to(home)
        if problem := _problem(file, place):
            problems.append(problem)
            continue
        emotion, actor = NAME.fullmatch(file.stem).group(3, 7)
        twin = stems.setdefault(place.with_suffix(""), place)
        if twin != place:
            problems.append(f"{place}: the same recording is there as {twin.name}; keep one")
        if actor not in partitions:
            unplaced.setdefault(actor, place)
        else:
            rows.append((place.as_posix(), EMOTIONS[emotion], actor, partitions[actor]))
    problems += [
        f"{place}: actor {actor} is in no partition; add it to `partition` in the card"
        for actor, place in unplaced.items()
    ]
    require_none(problems, str(home))
    table = pd.DataFrame(rows, columns=["path", "label", "speaker", "partition"], dtype="str")
    return table.sort_values("path", ignore_index=True)

"""RAVDESS song as published: ``Actor_AA/03-02-EE-II-SS-RR-AA.wav`` (Zenodo record 1188976)."""

import re
from pathlib import Path

from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.listing import Listing, audio_files, file_problem, is_audio
from dslite.errors import InputError

NESTED = ("Audio_Song_Actors_01-24", "archive")  # unpacked with its name; as mirrors nest it

# modality - channel - emotion - intensity - statement - repetition - actor
NAME = re.compile(r"(0[123])-(0[12])-([0-9]{2})-(0[12])-(0[12])-(0[12])-([0-9]{2})")


def _home(folder: Path) -> Path:
    """The folder that holds ``Actor_01`` and so on: ``folder`` or one that archives put around."""
    homes = (folder, *(folder / name for name in NESTED))
    return next((home for home in homes if any(home.glob("Actor_[0-9][0-9]"))), folder)


def is_present(card: Card, folder: Path) -> bool:
    """Return whether there is any audio of an actor."""
    return any(map(is_audio, _home(folder).glob("Actor_[0-9][0-9]/*")))


def read(card: Card, folder: Path) -> Listing:
    """List the sung files.

    Speech, and the sound of videos, which mirrors store among the songs, are left out.
    """
    home = _home(folder)
    problems, surplus, left_out, stems, files = [], [], [], {}, {}
    for file in audio_files(home, deep=2):
        place = file.relative_to(home)
        match = NAME.fullmatch(file.stem)
        if not match:
            surplus.append(place.as_posix())
        elif (match[1], match[2]) != ("03", "02"):
            left_out.append(place.as_posix())
        elif match[3] not in card.labels:
            problems.append(
                f"{place}: emotion {match[3]} does not occur in song (01 to 06); move the file away"
            )
        elif place.parts[:-1] != (f"Actor_{match[7]}",):
            problems.append(
                f"{place}: of actor {match[7]}, so it belongs into the folder Actor_{match[7]}"
            )
        else:
            if problem := file_problem(place, stems.setdefault(file.stem, place)):
                problems.append(problem)
            files[place.as_posix()] = (match[7], match[3])
    if not (files or problems):
        raise InputError(
            f"{folder}: no RAVDESS song there; run `dslite fetch {card.dataset}`, or let "
            f"DSLITE_DATA name the folder that holds {card.dataset}/Actor_01, Actor_02, ..."
        )
    excluded = {"speech, or sound of a video": len(left_out)} if left_out else {}
    facts = {"surplus": tuple(surplus), "excluded": excluded}
    return partitions.place(card, (folder, home), files, left_out, problems, **facts)

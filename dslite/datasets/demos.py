"""DEMoS as published: ``DEMOS/PR_m_23_tri00a.wav``, ``NEU/m_68_neu05b.wav`` (Zenodo 2544829)."""

import os
import re
from collections import Counter
from pathlib import Path

from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.listing import Listing, audio_files, file_problem
from dslite.errors import InputError

DEEP = 3  # folders between the corpus's folder and its audio

# prototypical or not (but for neutral names) - gender - speaker - emotion, sample and letter
NAME = re.compile(
    r"(?:(?P<kind>PR|NP)_)?[mf]_(?P<speaker>[0-9]{2})_"
    r"(?P<emotion>(?(kind)(?!neu)[a-z]{3}|neu))[0-9]{2}[abc]"
)


def is_present(card: Card, folder: Path) -> bool:
    """Return whether there is any audio of the corpus."""
    return any(NAME.fullmatch(file.stem) for file in audio_files(folder, DEEP))


def read(card: Card, folder: Path) -> Listing:
    """List the emotional files; who speaks and how stands in their names."""
    audio = audio_files(folder, DEEP)
    named = [file for file in audio if NAME.fullmatch(file.stem)]
    if not named:
        raise InputError(
            f"{folder}: no DEMoS audio there; expected are folders DEMOS and NEU with files like "
            f"PR_m_23_tri00a.wav, at most {DEEP} folders deep. `dslite fetch {card.dataset}` says "
            "how to get it"
        )
    # The folder that holds DEMOS and NEU, whatever lies around it
    home = Path(os.path.commonpath([file.parent for file in named]))
    home = home.parent if home.name in {"DEMOS", "NEU"} and home != folder else home
    files, left_out, excluded, problems, first = {}, [], Counter(), [], {}
    for file in named:
        place, match = file.relative_to(folder), NAME.fullmatch(file.stem)
        emotion = match["emotion"]
        if problem := file_problem(place, first.setdefault(file.stem, place)):
            problems.append(problem)
        elif emotion in card.excluded:
            left_out.append(file.name)
            excluded[card.excluded[emotion]] += 1
        elif emotion in card.labels:
            files[file.relative_to(home).as_posix()] = (match["speaker"], emotion)
        else:
            problems.append(
                f"{place}: emotion '{emotion}' is not known; add it to `labels` or `excluded` in "
                "the card, or move the file away"
            )
    other = [Path(os.path.relpath(f, home)).as_posix() for f in sorted({*audio} - {*named})]
    facts = {"surplus": tuple(other), "excluded": dict(excluded)}
    return partitions.place(card, (folder, home), files, left_out, problems, **facts)

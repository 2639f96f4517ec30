"""DEMoS as published: ``DEMOS/PR_m_23_tri00a.wav``, ``NEU/m_68_neu05b.wav`` (Zenodo 2544829)."""

import os
import re
from collections import Counter
from pathlib import Path

from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.listing import AUDIO, Listing, audio_files, table_of
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


def _home(folder: Path, files: list[Path]) -> Path:
    """The folder that holds the folders ``DEMOS`` and ``NEU``, whatever lies around it."""
    common = Path(os.path.commonpath([file.parent for file in files]))
    return common.parent if common.name in {"DEMOS", "NEU"} and common != folder else common


def _select(
    card: Card, files: list[Path], folder: Path
) -> tuple[dict[Path, re.Match], list[Path], Counter, list[str]]:
    """Files of the card's classes, those left out, how many for which reason, and problems."""
    used, left_out, excluded, problems, first = {}, [], Counter(), [], {}
    for file in files:
        place = file.relative_to(folder)
        match = NAME.fullmatch(file.stem)
        emotion = match["emotion"]
        twin = first.setdefault(file.stem, place)
        if twin != place:
            problems.append(f"{place}: the same recording is there as {twin}; keep one")
        elif file.suffix.lower() not in AUDIO:
            problems.append(f"{place}: neither WAV nor FLAC; remove it or convert it")
        elif emotion in card.excluded:
            left_out.append(file)
            excluded[card.excluded[emotion]] += 1
        elif emotion in card.labels:
            used[file] = match
        else:
            problems.append(
                f"{place}: emotion '{emotion}' is not known; add it to `labels` or `excluded` in "
                "the card, or move the file away"
            )
    return used, left_out, excluded, problems


def read(card: Card, folder: Path) -> Listing:
    """List the emotional files; who speaks and how stands in their names.

    Problems are an unknown emotion, a recording that is there twice or is neither WAV nor FLAC, and
    a file in no partition.
    """
    audio = audio_files(folder, DEEP)
    named = [file for file in audio if NAME.fullmatch(file.stem)]
    if not named:
        raise InputError(
            f"{folder}: no DEMoS audio there; expected are folders DEMOS and NEU with files like "
            f"PR_m_23_tri00a.wav, at most {DEEP} folders deep. `dslite fetch {card.dataset}` says "
            "how to get it"
        )
    home = _home(folder, named)
    used, left_out, excluded, problems = _select(card, named, folder)
    matches = {file.relative_to(home).as_posix(): match for file, match in used.items()}
    speakers = {path: match["speaker"] for path, match in matches.items()}
    unused = [file.name for file in left_out]
    placed, source, unplaced = partitions.place(card, (folder, home), speakers, unused)
    codes = {path: matches[path]["emotion"] for path in placed}
    rows = [(p, card.labels[codes[p]], speakers[p], part, codes[p]) for p, part in placed.items()]
    other = [os.path.relpath(file, home) for file in audio if not NAME.fullmatch(file.stem)]
    return Listing(
        home,
        table_of(rows),
        source,
        problems=(*problems, *unplaced),
        surplus=tuple(Path(path).as_posix() for path in other),
        excluded=dict(excluded),
    )

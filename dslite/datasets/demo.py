"""The demo corpus: synthesised voices in four affects, made on the spot from a seed.

It exists to show the chain working; nothing follows from its results for human voices.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from dslite import paths
from dslite.cards import Card
from dslite.datasets import partitions as dataset_partitions
from dslite.datasets.demo_voices import AFFECTS, Speaker, draw_expression, draw_speaker, synthesise
from dslite.datasets.listing import Listing, table_of
from dslite.errors import InputError

CLASSES = AFFECTS
SEED = 20210423
SPEAKERS = 12
TAKES = 10  # clips of each speaker and class
SAMPLE_RATE = 16000  # Hz
DURATION_S = (1.5, 2.5)
VERSION = 1  # to be raised whenever a change of the synthesis changes a clip
MARKER = "corpus.json"


def speaker(number: int) -> Speaker:
    """Voice of speaker ``number`` (1 to 12), from the lowest register to the highest."""
    # A stream of its own: the clips' have class numbers from 1, so a 0 there is never a clip.
    rng = np.random.default_rng([SEED, number, 0, 0])
    return draw_speaker(rng, register=(number - 0.5) / SPEAKERS)


def clip(number: int, affect: str, take: int) -> np.ndarray:
    """One clip, determined by its arguments alone.

    Parameters
    ----------
    number : int
        Speaker, from 1.
    affect : str
        One of `CLASSES`.
    take : int
        From 1.

    Returns
    -------
    ndarray of float32 [samples]
        1.5 to 2.5 s at 16 kHz, within [-1, 1].
    """
    rng = np.random.default_rng([SEED, number, CLASSES.index(affect) + 1, take])
    duration_s = rng.uniform(*DURATION_S)
    return synthesise(speaker(number), draw_expression(affect, rng), duration_s, rng, SAMPLE_RATE)


def _marker(takes: int) -> dict[str, int]:
    files = SPEAKERS * len(CLASSES) * takes
    return {"version": VERSION, "seed": SEED, "takes": takes, "files": files}


def is_complete(folder: Path, takes: int = TAKES) -> bool:
    """Whether ``folder`` holds the whole corpus as this version of the generator makes it."""
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found == _marker(takes) and len(list(folder.glob("*/*.wav"))) == found["files"]


def generate(
    folder: Path, takes: int = TAKES, progress: Callable[[int, int], object] | None = None
) -> None:
    """Make the corpus, unless it is there already.

    Parameters
    ----------
    folder : Path
        Becomes ``spk01/spk01_calm_01.wav`` and so on (16 kHz, mono, 16 bits) and a marker. What
        an interrupted run, another version or another number of takes left there is replaced.
    takes : int
        Clips of each speaker and class; fewer give the first clips of the whole corpus.
    progress : callable, optional
        Told the number of clips made so far and of all clips, after each clip.
    """
    if is_complete(folder, takes):
        return
    todo = [
        (number, affect, take)
        for number in range(1, SPEAKERS + 1)
        for affect in CLASSES
        for take in range(1, takes + 1)
    ]
    with paths.replacing(folder) as draft:
        for done, (number, affect, take) in enumerate(todo, start=1):
            file = draft / f"spk{number:02d}" / f"spk{number:02d}_{affect}_{take:02d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, clip(number, affect, take), SAMPLE_RATE, subtype="PCM_16")
            if progress:
                progress(done, len(todo))
        (draft / MARKER).write_text(json.dumps(_marker(takes)) + "\n", encoding="utf-8")


def read(card: Card, folder: Path) -> Listing:
    """A generated corpus.

    Parameters
    ----------
    card : Card
        Its ``partition`` says which speakers are in which partition.
    folder : Path
        Made by `generate`.

    Raises
    ------
    InputError
        There is no finished corpus.
    """
    if not (folder / MARKER).is_file():
        raise InputError(f"{folder}: no finished demo corpus there; it has to be generated first")
    files = [file.relative_to(folder) for file in sorted(folder.glob("*/*.wav"))]
    named = {file.as_posix(): file.stem.split("_")[:2] for file in files}
    speakers = {path: speaker for path, (speaker, _) in named.items()}
    partitions, source, problems = dataset_partitions.place(card, (folder,), speakers)
    rows = [(path, label, s, partitions.get(path, ""), label) for path, (s, label) in named.items()]
    return Listing(folder, table_of(rows), source, problems=tuple(problems))

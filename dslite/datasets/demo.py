"""The demo corpus: synthesised voices in four affects, made on the spot from a seed.

It exists to show the chain working; nothing follows from its results for human voices.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from dslite import paths, provenance
from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.demo_voices import (
    AFFECTS,
    SAMPLE_RATE,
    Speaker,
    draw_expression,
    draw_speaker,
    synthesise,
)
from dslite.datasets.listing import Listing
from dslite.errors import InputError

CLASSES = AFFECTS
SEED = 20210423
SPEAKERS = 12
TAKES = 10  # clips of each speaker and class
DURATION_S = (1.5, 2.5)
VERSION = 1  # to be raised whenever a change of the synthesis changes a clip
MARKER = "corpus.json"


def speaker(number: int) -> Speaker:
    """Draw the voice of speaker ``number`` (1 to 12), from the lowest register to the highest."""
    # A stream of its own: the clips' have class numbers from 1, so a 0 there is never a clip.
    rng = np.random.default_rng([SEED, number, 0, 0])
    return draw_speaker(rng, register=(number - 0.5) / SPEAKERS)


def clip(number: int, affect: str, take: int) -> np.ndarray:
    """Synthesise a speaker's clip of an affect, 1.5 to 2.5 s at 16 kHz: float32 [samples].

    The arguments alone determine it; numbers begin with 1.
    """
    rng = np.random.default_rng([SEED, number, CLASSES.index(affect) + 1, take])
    duration_s = rng.uniform(*DURATION_S)
    return synthesise(speaker(number), draw_expression(affect, rng), duration_s, rng)


def _marker(takes: int) -> dict[str, int]:
    files = SPEAKERS * len(CLASSES) * takes
    return {"version": VERSION, "seed": SEED, "takes": takes, "files": files}


def finished_takes(folder: Path) -> int:
    """Return how many takes the corpus in ``folder`` has; 0: it is not finished, or another's."""
    try:
        marker = provenance.read_json(folder / MARKER)
        takes = marker["takes"]
    except (InputError, TypeError, KeyError):
        return 0
    whole = marker == _marker(takes) and len(list(folder.glob("*/*.wav"))) == marker["files"]
    return takes if whole else 0


def generate(folder: Path, takes: int = TAKES) -> None:
    """Make the corpus, unless it is there already.

    ``folder`` becomes ``spk01/spk01_calm_01.wav`` and so on (16 kHz, mono, 16 bits) and a marker;
    what an interrupted run, another version or another number of takes left there is replaced.
    Fewer ``takes``, clips of each speaker and class, give the first ones of the whole corpus.
    """
    if finished_takes(folder) == takes:
        return
    todo = list(itertools.product(range(1, SPEAKERS + 1), CLASSES, range(1, takes + 1)))
    with paths.replacing(folder) as draft:
        for number, affect, take in tqdm(todo, "voices", leave=False, disable=None):
            file = draft / f"spk{number:02d}" / f"spk{number:02d}_{affect}_{take:02d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, clip(number, affect, take), SAMPLE_RATE, subtype="PCM_16")
        provenance.write_json(draft / MARKER, _marker(takes))


def is_present(card: Card, folder: Path) -> bool:
    """Return True: the corpus is made on the spot."""
    return True


def read(card: Card, folder: Path) -> Listing:
    """List the corpus; make it if it is not there."""
    if not finished_takes(folder):
        print("making the demo corpus ...", file=sys.stderr, flush=True)
        generate(folder)
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.glob("*/*.wav"))]
    files = {name: tuple(Path(name).stem.split("_")[:2]) for name in names}
    return partitions.place(card, (folder,), files)

"""Fixtures of the corpora's tests."""

import numpy as np
import pytest
import soundfile

from dslite import cards
from dslite.datasets import manifest

RATE = 16000


@pytest.fixture
def card(tmp_path, cache, rng):
    """Four speakers (two in train) x two classes of a user's corpus, 0.1 to 0.4 s of noise each."""
    rows = ["path,label,speaker,partition"]
    for speaker, partition in enumerate(("train", "train", "devel", "test")):
        for label in ("no", "yes"):
            name = f"s{speaker}_{label}.wav"
            noise = rng.uniform(-0.1, 0.1, round(0.1 * (1 + speaker) * RATE))
            soundfile.write(tmp_path / name, noise, RATE)
            rows.append(f"{name},{label},s{speaker},{partition}")
    table = tmp_path / "own.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return cards.load(str(table))


@pytest.fixture
def corpus(card):
    """The manifest of `card`."""
    return manifest.build(card)


@pytest.fixture
def loud():
    """A second of silence with a cut-off peak of four samples and a single one at full scale."""
    wave = np.zeros(RATE, np.int16)
    wave[100:104], wave[200] = 32767, 32767
    return wave

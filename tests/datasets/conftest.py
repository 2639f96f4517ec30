"""Fixtures of the corpora's tests."""

import pytest

from dslite import cards
from dslite.datasets import manifest
from tests.datasets import trees

RATE = 16000


@pytest.fixture(autouse=True)
def _results(tmp_path, monkeypatch):
    """No test of a corpus leaves its division in the project's results."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))


@pytest.fixture
def card(tmp_path, cache, rng):
    """Four speakers (two in train) x two classes of a user's corpus, 0.1 to 0.4 s of noise each."""
    speakers = {"s0": "train", "s1": "train", "s2": "devel", "s3": "test"}
    lasting = {speaker: round(0.1 * (1 + i) * RATE) for i, speaker in enumerate(speakers)}
    table = trees.table(tmp_path, speakers, lambda s, j: rng.uniform(-0.1, 0.1, lasting[s]))
    return cards.load(str(table))


@pytest.fixture
def corpus(card):
    return manifest.build(card)

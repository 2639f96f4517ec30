"""DEMoS: the exact listing, and what is read without its neutral files."""

import shutil

import pytest

from dslite.datasets import listing
from tests.datasets import trees
from tests.datasets.trees import listed, refusal

pytestmark = pytest.mark.usefixtures("cache")


def test_listing(tmp_path):
    corpus = listed(trees.good("demos", tmp_path))
    classes = {"rab": "anger", "gio": "happiness", "dis": "disgust", "sor": "surprise"}
    others = {"tri": "sadness", "pau": "fear", "col": "guilt"}
    partitions = {"01": "train", "02": "train", "34": "devel", "58": "test"}
    expected = [
        (f"DEMOS/{kind}_{trees.DEMOS_SPEAKERS[speaker]}_{speaker}_{code}01"
         f"{'b' if code == 'col' else 'a'}.wav", name, speaker, part, code)
        for speaker, part in partitions.items()
        for kind, names in (("NP", classes), ("PR", others))
        for code, name in names.items()
    ]  # fmt: skip
    assert [tuple(row) for row in corpus.table.to_numpy()] == sorted(expected)
    assert corpus.excluded == {"neutral, left out as in the paper": 4}
    assert corpus.partition_source == listing.CARD_LISTS
    assert (corpus.problems, corpus.surplus, corpus.notes) == ((), (), ())
    assert corpus.folder == tmp_path / "DEMoS"


def test_without_neutral_files_and_at_most_three_folders_deep(tmp_path):
    card = trees.good("demos", tmp_path)
    expected = listed(card)
    shutil.rmtree(tmp_path / "DEMoS" / "NEU")
    corpus = listed(card)
    assert (corpus.excluded, corpus.folder) == ({}, expected.folder)
    assert corpus.table.equals(expected.table)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "DEMoS").rename(tmp_path / "a" / "b" / "DEMoS")
    assert not listing.is_present(card)
    assert "folders DEMOS and NEU with files like PR_m_23_tri00a.wav, at most 3" in refusal(card)

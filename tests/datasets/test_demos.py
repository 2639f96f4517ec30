"""DEMoS: the exact listing, and what is read without its neutral files."""

import shutil

import pytest

from dslite.datasets import listing
from tests.datasets import trees
from tests.datasets.trees import listed
from tests.refusals import refusal

pytestmark = pytest.mark.usefixtures("cache")


def test_listing(tmp_path):
    corpus = listed(trees.good("demos", tmp_path))
    classes = {"rab": "anger", "gio": "happiness", "dis": "disgust", "sor": "surprise"}
    others = {"tri": "sadness", "pau": "fear", "col": "guilt"}
    speakers = {"f_01": "train", "m_02": "train", "m_34": "devel", "m_58": "test"}
    expected = [
        [
            f"DEMOS/{kind}_{who}_{code}01{'b' if code == 'col' else 'a'}.wav",
            name,
            who[2:],
            part,
            code,
        ]
        for who, part in speakers.items()
        for kind, names in (("NP", classes), ("PR", others))
        for code, name in names.items()
    ]
    assert corpus.table.to_numpy().tolist() == sorted(expected)
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
    message = refusal(listing.read, card)
    assert "folders DEMOS and NEU with files like PR_m_23_tri00a.wav, at most 3" in message

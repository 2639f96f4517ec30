"""RAVDESS song: the published tree, what mirrors make of it, and what may be wrong in it."""

import pytest

from dslite import cards
from dslite.datasets import checks, manifest
from tests.datasets import trees
from tests.datasets.trees import listed, verdict

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def card(tmp_path):
    """A corpus of four actors; one file is stereo."""
    return trees.good("ravdess", tmp_path)


def test_reads_the_published_tree(card, tmp_path):
    trees.text(tmp_path / "README.md", "not audio")
    corpus = listed(card)
    assert corpus.folder == tmp_path
    assert (corpus.problems, corpus.surplus, corpus.excluded, corpus.notes) == ((), (), {}, ())
    parts = {"01": "train", "02": "train", "16": "devel", "24": "test"}
    classes = ["neutral", "calm", "happy", "sad", "angry", "fearful"]
    expected = [
        (f"Actor_{actor}/03-02-0{n}-01-01-01-{actor}.wav", label, actor, part, f"0{n}")
        for actor, part in parts.items()
        for n, label in enumerate(classes, start=1)
    ]
    assert [tuple(row) for row in corpus.table.to_numpy()] == expected
    built = manifest.build(card)
    stereo = built.table[built.table["channels"] == 2]["path"].tolist()
    assert stereo == ["Actor_24/03-02-01-01-01-01-24.wav"]
    assert set(built.table["sample_rate"]) == {48000}
    assert set(built.table["duration_s"]) == {1 / 20}


def test_leaves_speech_videos_and_hidden_files(card, tmp_path):
    expected = listed(card)
    trees.sound(tmp_path / "Actor_01" / "03-01-08-01-01-01-01.wav")
    trees.sound(tmp_path / "audio_speech_actors_01-24" / "Actor_01" / "03-01-08-01-01-01-01.wav")
    trees.sound(tmp_path / "Actor_01" / "01-02-03-01-01-01-01.wav")
    (tmp_path / "Actor_01" / "._03-02-01-01-01-01-01.wav").write_bytes(trees.APPLE_DOUBLE)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._x.wav").write_bytes(trees.APPLE_DOUBLE)
    trees.partition_list("ravdess", tmp_path)  # which may hold what is left out
    with (tmp_path / "partition.csv").open("a") as file:
        file.write("03-01-08-01-01-01-01.wav,train\n")
    corpus = listed(card)
    assert corpus.table.equals(expected.table)
    assert corpus.excluded == {"speech, or sound of a video": 3}
    assert (corpus.problems, corpus.surplus) == ((), ())


def test_audio_with_another_name_is_surplus(card, tmp_path):
    expected = listed(card)
    names = [f"Actor_01/{name}" for name in ("03-02-02-01-01-01-01 (copy).wav",
             "03-02-02-01-01-03-01.wav", "notes.flac")] + ["take.mp3"]  # fmt: skip
    for name in names:
        trees.sound_or_nothing(tmp_path / name)
    corpus = listed(card)
    assert (list(corpus.surplus), corpus.problems) == (names, ())
    assert corpus.table.equals(expected.table)


@pytest.mark.real
def test_real_corpus_reproduces_table_1(command, real_ravdess):
    card = cards.load("ravdess", real_ravdess)
    built = checks.load_manifest(card)
    assert verdict(card) == ({}, {})
    row = manifest.table1_row(built)
    assert (row["files"], row["classes"], row["speakers"]) == (1012, 6, 23)
    assert round(row["minutes"], 1) == 78.4
    assert round(row["mean_s"], 2) == 4.65
    assert round(row["std_s"], 4) == 0.4213
    sizes = built.table["partition"].value_counts().to_dict()
    assert sizes == {"train": 660, "devel": 176, "test": 176}
    status, out, _ = command("check", "ravdess", "--data", str(real_ravdess), "--strict")
    assert status == 0
    for words in ("speakers            23      23", "minutes in all    78.4    78.4"):
        assert words in out
    assert (out.count("184 ="), out.count("92 =")) == (5, 1)
    assert "verdict: clean" in out

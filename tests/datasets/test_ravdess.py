"""RAVDESS song: the published tree, what mirrors make of it, and what may be wrong in it."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from dslite import audio
from dslite.datasets import fingerprint, partitions
from tests.datasets import trees
from tests.datasets.trees import listed

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


@pytest.mark.real
def test_the_real_corpus_is_the_published_split_and_reproduces_table_1(
    command, real_ravdess, tmp_path
):
    status, out, _ = command("check", "ravdess", "--data", real_ravdess, "--strict")
    assert status == 0
    rows = [line.split() for line in out[out.index("Table 1") :].splitlines()]
    for row in (
        "files 1,012 1,012",
        "speakers 23 23",
        "minutes in all 78.4 78.4",
        "mean s 4.65 4.65",
        "deviation s 0.4213 0.4213",
    ):
        assert row.split() in rows
    assert (out.count("184 ="), out.count("92 =")) == (5, 1)
    assert "verdict: clean" in out
    status, out, _ = command("partition", "ravdess", "--data", real_ravdess, "--verify")
    assert status == 0
    assert "1,012 files: the same samples" in out
    # As downloaded, the corpus is at 48 kHz: the recordings are recognised by their levels.
    file = next((real_ravdess / "Actor_21").glob("*"))
    waveform, rate = soundfile.read(file, dtype="float32")
    soundfile.write(tmp_path / "x.wav", soxr.resample(waveform, rate, 48000), 48000)
    levels = fingerprint.loudness_levels(audio.read(tmp_path / "x.wav", fingerprint.LEVELS_RATE))
    published = pd.read_csv(partitions.published_file("ravdess"), index_col="path")
    theirs = published[partitions.LEVELS][f"Actor_21/{file.stem}.flac"].split()
    assert np.abs(levels - np.array(theirs, float)).max() < partitions.TOLERANCE / 4

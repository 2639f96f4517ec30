"""Published partitions: which differences are seen, and which copies are the same recordings."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from dslite import audio, cards, paths
from dslite.datasets import manifest, partitions, scan

RATE = 16000
PARTS = {"train": ("a", "b"), "devel": ("c",), "test": ("d",)}


def voice(seed: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """Tones under a slow random envelope: recordings that differ in their levels."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    loud = np.interp(time, np.linspace(0, seconds, 9), rng.uniform(0.02, 0.6, 9))
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(150, 2500, 3))
    return (loud * tones / 3).astype(np.float32)


@pytest.fixture
def table(tmp_path, cache, monkeypatch):
    """A corpus of eight files whose card allows publishing; partitions are published elsewhere."""
    monkeypatch.setattr(paths, "partitions", lambda: tmp_path / "partitions")
    rows = ["path,label,speaker,partition"]
    for part, speakers in PARTS.items():
        for speaker in speakers:
            for j, label in enumerate(("no", "yes")):
                name = f"{speaker}{j}.wav"
                soundfile.write(tmp_path / name, voice(ord(speaker) + 50 * j), RATE)
                rows.append(f"{name},{label},{speaker},{part}")
    file = tmp_path / "own.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    file.with_suffix(".yaml").write_text("publish: true\n", encoding="utf-8")
    return file


def build(table):
    return manifest.build(cards.load(str(table)))


def test_the_same_corpus_agrees(table, command):
    place = partitions.publish(build(table))
    assert place == table.parent / "partitions" / "own.csv"
    written = pd.read_csv(place, dtype=str)
    assert written.columns.tolist() == [*partitions.COLUMNS, partitions.LEVELS]
    assert written["audio_hash"].tolist() == build(table).table["audio_hash"].tolist()
    found = partitions.verify(build(table))
    assert list(found) == [partitions.SAME]
    assert len(found[partitions.SAME]) == 8
    assert partitions.agrees(found)
    status, out, _ = command("partition", str(table), "--verify")
    assert status == 0
    assert "own: the same split as the published one" in out
    assert "8 files: the same samples" in out


@pytest.mark.parametrize("copy", ["flac", "48 kHz stereo", "mp3"])
def test_another_copy_of_the_same_recordings_agrees(table, copy):
    partitions.publish(build(table))
    for file in sorted(table.parent.glob("*.wav")):
        waveform, _ = soundfile.read(file, dtype="float32")
        if copy == "48 kHz stereo":
            higher = soxr.resample(waveform, RATE, 48000)
            soundfile.write(file, np.stack([higher, higher], 1), 48000)
        else:
            soundfile.write(file.with_suffix(f".{copy}"), waveform, RATE)
            file.unlink()
    if copy != "48 kHz stereo":
        table.write_text(table.read_text("utf-8").replace(".wav", f".{copy}"), encoding="utf-8")
    found = partitions.verify(build(table))
    assert list(found) == [partitions.SAME if copy == "flac" else partitions.OTHER]
    assert partitions.agrees(found)


def changed(table, old, new):
    table.write_text(table.read_text("utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (("b1.wav,yes,b,train", "b1.wav,yes,e,devel"), "partition", "b1: 'devel', published"),
        (("b1.wav,yes", "b1.wav,no"), "label", "b1: 'no', published 'yes'"),
        (("d1.wav,yes,d", "d1.wav,yes,e"), "speaker", "d1: 'e', published 'd'"),
        (("b1.wav,yes,b,train\n", ""), "missing", "b1"),
        (("c0.wav,no,c,devel\n", "c0.wav,no,c,devel\nc2.wav,no,c,devel\n"), "not published", "c2"),
    ],
)
def test_another_split_is_seen(table, command, change, kind, said):
    soundfile.write(table.parent / "c2.wav", voice(3), RATE)
    partitions.publish(build(table))
    changed(table, *change)
    found = partitions.verify(build(table))
    assert any(said in name for name in found[kind])
    assert not partitions.agrees(found)
    status, out, err = command("partition", str(table), "--verify")
    assert status == 1
    assert "NOT the same split" in out
    assert said in err


@pytest.mark.parametrize(
    "other",
    [voice(1), voice(ord("a"), 0.97), 0.8 * voice(ord("a")), np.roll(voice(ord("a")), 4000)],
    ids=["another voice", "shorter", "quieter", "shifted"],
)
def test_other_audio_under_the_same_name_is_seen(table, other):
    partitions.publish(build(table))
    soundfile.write(table.parent / "a0.wav", other, RATE)
    found = partitions.verify(build(table))
    assert found[partitions.DIFFERENT] == ["a0"]
    assert not partitions.agrees(found)


def test_a_published_table_can_be_used_as_the_file_list(tmp_path):
    from dslite.datasets import partitions

    (tmp_path / "partition.csv").write_bytes(
        (paths.ROOT / "data" / "partitions" / "ravdess.csv").read_bytes()
    )
    names = pd.read_csv(tmp_path / "partition.csv", dtype=str)
    wav = {path.replace(".flac", ".wav"): "x" for path in names["path"]}
    found, source, problems = partitions.place(cards.load("ravdess"), [tmp_path], wav)
    assert problems == []
    assert source == "the file list partition.csv"
    assert list(found.values()) == names["partition"].tolist()


def test_publishing_needs_the_cards_word(table, command):
    table.with_suffix(".yaml").write_text("licence: secret\n", encoding="utf-8")
    status, _, err = command("partition", str(table), "--publish")
    assert status == 2
    assert "does not allow publishing" in err
    assert not (table.parent / "partitions").exists()


def test_nothing_published_is_said(table, command):
    status, _, err = command("partition", str(table), "--verify")
    assert status == 2
    assert "no partition is published" in err


@pytest.mark.parametrize(
    "content",
    ["path,label\na,b\n", "", "\n".join([",".join(partitions.COLUMNS) + ",levels_db", "a,b"])],
)
def test_a_damaged_table_is_named(table, content):
    from dslite.errors import InputError

    (table.parent / "partitions").mkdir()
    (table.parent / "partitions" / "own.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.csv"):
        partitions.verify(build(table))


def test_levels():
    rng = np.random.default_rng(0)
    wave = np.repeat(10 ** (-np.arange(16) * 3 / 20), 100) * rng.choice([-1, 1], 1600)
    np.testing.assert_allclose(scan.loudness_levels(wave), -3.0 * np.arange(16), atol=1e-9)
    assert (scan.loudness_levels(np.zeros(1600, np.float32)) == scan.LEVELS_FLOOR).all()
    assert np.isfinite(scan.loudness_levels(np.zeros(3, np.float32))).all()


def test_only_corpora_whose_licence_allows_it_are_published():
    there = {file.stem for file in (paths.ROOT / "data" / "partitions").glob("*.csv")}
    assert there == {name for name in cards.names() if cards.load(name).publish} == {"ravdess"}


def test_the_published_partition_is_the_cards():
    card = cards.load("ravdess")
    written = pd.read_csv(paths.ROOT / "data" / "partitions" / "ravdess.csv", dtype=str)
    assert len(written) == 1012
    assert written["audio_hash"].is_unique
    for part, speakers in card.partition.items():
        assert set(written["speaker"][written["partition"] == part]) == set(speakers)
    assert written["label"].value_counts().to_dict() == card.expected[0].counts


@pytest.mark.real
def test_the_real_corpus_is_the_published_split(command, cache, tmp_path, real_ravdess):
    status, out, _ = command("partition", "ravdess", "--data", str(real_ravdess), "--verify")
    assert status == 0
    assert "1,012 files: the same samples" in out
    # As downloaded, the corpus is at 48 kHz: the recordings are known by their levels.
    file = next((real_ravdess / "Actor_21").glob("*"))
    waveform, rate = soundfile.read(file, dtype="float32")
    soundfile.write(tmp_path / "x.wav", soxr.resample(waveform, rate, 48000), 48000)
    published_row = partitions._read_published("ravdess").loc[f"Actor_21/{file.stem}"]
    mine = scan.loudness_levels(audio.read(tmp_path / "x.wav", scan.LEVELS_RATE))
    theirs = np.array(published_row[partitions.LEVELS].split(), float)
    assert np.abs(mine - theirs).max() < partitions.TOLERANCE / 4

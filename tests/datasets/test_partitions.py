"""Partitions: from a file list or the card's speakers, and compared with the published ones."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from dslite import audio, cards, paths
from dslite.datasets import manifest, partitions, scan
from dslite.datasets.listing import CARD_LISTS
from dslite.errors import InputError
from tests.datasets.trees import replace_text

RATE = 16000
SPEAKERS = {"x/a.wav": "s1", "x/b.wav": "s1", "y/c.flac": "s2", "d.wav": "s3"}
LIST = "path,partition\nx/a.wav,train\nx/b.wav,train\ny/c.flac,devel\nd.wav,test\n"
PLACED = {"x/a.wav": "train", "x/b.wav": "train", "y/c.flac": "devel", "d.wav": "test"}


# Placed by a file list or the card


@pytest.fixture
def place(tmp_path):
    """Places four files by the card's lists of speakers, or by a file list of some content."""
    lists = {"train": ("s1",), "devel": ("s2",), "test": ("s3",)}

    def run(text=None, lists=lists, **how):
        card = cards.Card(dataset="my", layout="demos", title="My", partition=lists)
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / partitions.FILE).write_bytes(content)
        return partitions.place(card, (tmp_path, tmp_path / "inside"), SPEAKERS, **how)

    return run


def test_by_the_cards_speakers(place):
    assert place() == (PLACED, CARD_LISTS, [])
    placed, _, problems = place(lists={"train": ("s3",)})
    assert placed == {"d.wav": "train"}
    assert problems == [
        "x/a.wav: speaker s1 is in no partition; add the speaker to `partition` in the card",
        "y/c.flac: speaker s2 is in no partition; add the speaker to `partition` in the card",
    ]


@pytest.mark.parametrize(
    "text",
    [
        LIST.replace(",", ";"),
        LIST.replace(",", "\t"),
        LIST.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + LIST.encode(),
        LIST.replace("path,partition", "Path,PARTITION"),
        LIST.replace("devel", "Dev").replace("test", "Testing").replace("train", "training"),
        LIST.replace("devel", "validation"),
        LIST.replace("x/", "").replace("y/", ""),
        LIST.replace("/", "\\"),
        LIST.replace("x/a.wav", "/data/corpora/my/x/a.wav"),
        LIST.replace(".wav", ".flac").replace("c.flac", "c"),
        LIST + "x/a.wav,train\n",
        "".join(f"1,{line},x\n" for line in LIST.split()).replace("1,path", "n,path"),
    ],
    ids=["semicolons", "tabs", "windows", "bom", "header case", "partition names", "validation",
         "no folders", "backslashes", "absolute", "suffixes", "repeated", "more columns"],
)  # fmt: skip
def test_spellings_of_a_file_list(place, text):
    other = {"train": ("s3",), "devel": ("s2",), "test": ("s1",)}
    assert place(text, other) == (PLACED, "the file list partition.csv", [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIST.replace("path", "file"), "no column 'path' in its first row"),
        (LIST.replace("partition", "split"), "no column 'partition' in its first row"),
        ("path,partition\n", "no rows below the header"),
        (LIST.replace("devel", "eval"), "row 4: partition 'eval' is not known"),
        (LIST.replace("devel", ""), "row 4: partition '' is not known"),
        (LIST.replace("y/c.flac,devel", "y/c.flac"), "row 4: too few cells"),
        (LIST + "z/a.wav,test\n", "row 6: 'z/a.wav' is in two partitions"),
        (LIST.encode("utf-16"), "not UTF-8"),
    ],
)
def test_refused_file_lists(place, tmp_path, text, words):
    with pytest.raises(InputError) as error:
        place(text)
    assert str(error.value).startswith(str(tmp_path / partitions.FILE))
    assert words in str(error.value)


def test_what_the_list_and_the_folder_do_not_share(place):
    text = LIST.replace("x/b.wav", "x/e.wav") + "out.wav,train\n"
    placed, _, problems = place(text, left_out=["z/out.wav"])
    assert placed == {path: part for path, part in PLACED.items() if path != "x/b.wav"}
    assert len(problems) == 2
    assert problems[0].startswith("x/b.wav: not in ")
    assert problems[0].endswith("partition.csv; add it there, or move the file away")
    assert problems[1] == "partition.csv: 'e' is listed and not there"


def test_the_list_in_the_named_folder_goes_before_one_inside(place, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / partitions.FILE).write_text(LIST.replace("test", "train"))
    assert place()[0]["d.wav"] == "train"
    assert place(LIST)[0] == PLACED


# Published partitions


def voice(seed: int, seconds: float = 1.0) -> np.ndarray:
    """Tones under a slow random envelope: recordings that differ in their levels."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    loud = np.interp(time, np.linspace(0, seconds, 9), rng.uniform(0.02, 0.6, 9))
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(150, 2500, 3))
    return (loud * tones / 3).astype(np.float32)


@pytest.fixture
def table(tmp_path, cache, monkeypatch):
    """A published corpus of eight files; partitions are published elsewhere."""
    monkeypatch.setattr(paths, "partitions", lambda: tmp_path / "partitions")
    rows = ["path,label,speaker,partition"]
    for speaker, part in {"a": "train", "b": "train", "c": "devel", "d": "test"}.items():
        for j, label in enumerate(("no", "yes")):
            soundfile.write(tmp_path / f"{speaker}{j}.wav", voice(ord(speaker) + 50 * j), RATE)
            rows.append(f"{speaker}{j}.wav,{label},{speaker},{part}")
    file = tmp_path / "own.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    file.with_suffix(".yaml").write_text("publish: true\n", encoding="utf-8")
    partitions.publish(build(file))
    return file


def build(table):
    return manifest.build(cards.load(str(table)))


def test_the_same_corpus_agrees(table, command):
    written = pd.read_csv(partitions.published_file("own"), dtype=str)
    assert written.columns.tolist() == [*partitions.COLUMNS, partitions.LEVELS]
    assert written["audio_hash"].tolist() == build(table).table["audio_hash"].tolist()
    comparison = partitions.verify(build(table))
    assert list(comparison) == [partitions.SAME]
    assert len(comparison[partitions.SAME]) == 8
    assert partitions.agrees(comparison)
    status, out, _ = command("partition", str(table), "--verify")
    assert status == 0
    assert "own: the same split as the published one\n8 files: the same samples" in out


@pytest.mark.parametrize("copy", ["flac", "48 kHz stereo", "mp3"])
def test_another_copy_of_the_same_recordings_agrees(table, copy):
    for file in sorted(table.parent.glob("*.wav")):
        waveform, _ = soundfile.read(file, dtype="float32")
        if copy == "48 kHz stereo":
            higher = soxr.resample(waveform, RATE, 48000)
            soundfile.write(file, np.stack([higher, higher], 1), 48000)
        else:
            soundfile.write(file.with_suffix(f".{copy}"), waveform, RATE)
            file.unlink()
    if copy != "48 kHz stereo":
        replace_text(table, ".wav", f".{copy}")
    comparison = partitions.verify(build(table))
    assert list(comparison) == [partitions.SAME if copy == "flac" else partitions.OTHER]
    assert partitions.agrees(comparison)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (("b1.wav,yes,b,train", "b1.wav,yes,e,devel"), "partition", "b1: 'devel', published"),
        (("b1.wav,yes", "b1.wav,no"), "label", "b1: 'no', published 'yes'"),
        (("d1.wav,yes,d", "d1.wav,yes,e"), "speaker", "d1: 'e', published 'd'"),
        (("b1.wav,yes,b,train\n", ""), "missing", "b1"),
        (("c0.wav,no,c,devel\n", "c0.wav,no,c,devel\nc2.wav,no,c,devel\n"), "not published", "c2"),
    ],
)
def test_another_split_is_seen(table, command, change, kind, words):
    soundfile.write(table.parent / "c2.wav", voice(3), RATE)
    replace_text(table, *change)
    comparison = partitions.verify(build(table))
    assert any(words in name for name in comparison[kind])
    assert not partitions.agrees(comparison)
    status, out, err = command("partition", str(table), "--verify")
    assert status == 1
    assert "NOT the same split" in out
    assert words in err


@pytest.mark.parametrize(
    "other",
    [voice(1), voice(ord("a"), 0.97), 0.8 * voice(ord("a")), np.roll(voice(ord("a")), 4000)],
    ids=["another voice", "shorter", "quieter", "shifted"],
)
def test_other_audio_under_the_same_name_is_seen(table, other):
    soundfile.write(table.parent / "a0.wav", other, RATE)
    comparison = partitions.verify(build(table))
    assert comparison[partitions.DIFFERENT] == ["a0"]
    assert not partitions.agrees(comparison)


def test_the_cards_word_and_what_is_published(table, command):
    status, out, _ = command("partition", str(table), "--publish")
    assert status == 0
    assert f"published: {paths.shown(partitions.published_file('own'))}" in out
    partitions.published_file("own").unlink()
    table.with_suffix(".yaml").write_text("licence: secret\n", encoding="utf-8")
    status, _, err = command("partition", str(table), "--publish")
    assert status == 2
    assert "does not allow publishing" in err
    status, _, err = command("partition", str(table), "--verify")
    assert status == 2
    assert "no partition is published" in err


@pytest.mark.parametrize(
    "content",
    ["path,label\na,b\n", "", "\n".join([",".join(partitions.COLUMNS) + ",levels_db", "a,b"])],
)
def test_a_damaged_table_is_named(table, content):
    partitions.published_file("own").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.csv"):
        partitions.verify(build(table))


def test_the_published_partition_is_the_cards_and_a_file_list(tmp_path):
    """Only corpora whose licence allows it are published."""
    files = {file.stem for file in paths.partitions().glob("*.csv")}
    assert files == {name for name in cards.names() if cards.load(name).publish} == {"ravdess"}
    card = cards.load("ravdess")
    content = partitions.published_file("ravdess").read_bytes()
    (tmp_path / partitions.FILE).write_bytes(content)
    rows = pd.read_csv(tmp_path / partitions.FILE, dtype=str)
    assert len(rows) == 1012
    assert rows["audio_hash"].is_unique
    for part, speakers in card.partition.items():
        assert set(rows["speaker"][rows["partition"] == part]) == set(speakers)
    assert rows["label"].value_counts().to_dict() == card.expected[0].counts
    wav = {path.replace(".flac", ".wav"): "x" for path in rows["path"]}
    placed, source, problems = partitions.place(card, [tmp_path], wav)
    assert (source, problems) == ("the file list partition.csv", [])
    assert list(placed.values()) == rows["partition"].tolist()


@pytest.mark.real
def test_the_real_corpus_is_the_published_split(command, cache, tmp_path, real_ravdess):
    status, out, _ = command("partition", "ravdess", "--data", str(real_ravdess), "--verify")
    assert status == 0
    assert "1,012 files: the same samples" in out
    # As downloaded, the corpus is at 48 kHz: the recordings are recognised by their levels.
    file = next((real_ravdess / "Actor_21").glob("*"))
    waveform, rate = soundfile.read(file, dtype="float32")
    soundfile.write(tmp_path / "x.wav", soxr.resample(waveform, rate, 48000), 48000)
    levels = scan.loudness_levels(audio.read(tmp_path / "x.wav", scan.LEVELS_RATE))
    published = pd.read_csv(partitions.published_file("ravdess"), index_col="path")
    theirs = published[partitions.LEVELS][f"Actor_21/{file.stem}.flac"].split()
    assert np.abs(levels - np.array(theirs, float)).max() < partitions.TOLERANCE / 4

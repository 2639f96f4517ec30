"""RAVDESS song: the published tree, what mirrors make of it, and what may be wrong in it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dslite import cards, settings
from dslite.datasets import checks, listing, manifest, ravdess
from dslite.errors import InputError

ACTORS = [f"{n:02d}" for n in range(1, 25) if n != 18]


def sound(file: Path, channels: int = 1) -> Path:
    """A few samples that no other file has, at 48 kHz, in 16 bits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = list(str(file).encode())
    samples = np.random.default_rng(seed).integers(-999, 999, (480, channels), np.int16)
    soundfile.write(file, samples, 48000, format=file.suffix[1:].upper())
    return file


@pytest.fixture
def card():
    return cards.load("ravdess")


@pytest.fixture
def folder(tmp_path, monkeypatch, cache):
    """All 23 actors with one file per emotion; one is stereo, two are FLAC, one ends in .WAV."""
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    top = tmp_path / "raw" / "ravdess"
    for actor in ACTORS:
        for emotion in ravdess.EMOTIONS:
            sound(top / f"Actor_{actor}" / f"03-02-{emotion}-01-01-01-{actor}.wav")
    (top / "Actor_24" / "03-02-01-01-01-01-24.wav").unlink()
    sound(top / "Actor_24" / "03-02-01-01-01-01-24.wav", channels=2)
    sound(top / "Actor_23" / "03-02-01-01-02-01-23.flac")
    sound(top / "Actor_23" / "03-02-01-01-02-02-23.flac")
    sound(top / "Actor_22" / "03-02-01-01-02-01-22.WAV")
    (top / "README.md").write_text("not audio")
    return top


def test_reads_the_published_tree(card, folder):
    found = listing.read(card)
    table = found.table
    assert found.folder == folder
    assert (found.problems, found.surplus, found.excluded, found.notes) == ((), (), {}, ())
    assert list(table.columns) == list(listing.COLUMNS)
    assert len(table) == 23 * 6 + 3
    assert table["path"].is_monotonic_increasing
    row = table.set_index("path").loc["Actor_16/03-02-05-01-01-01-16.wav"]
    assert row.to_list() == ["angry", "16", "devel", "05"]
    assert table.groupby("partition")["speaker"].nunique().to_dict() == {
        "train": 15,
        "devel": 4,
        "test": 4,
    }
    assert set(table["label"]) == set(card.classes)


def test_manifest_passes_its_check(card, folder):
    built = manifest.build(card)
    checks.require_sound(built)
    assert checks.warnings(built) == {}
    assert manifest.table1_row(built)["speakers"] == 23


@pytest.mark.parametrize("nest", ["archive", "Audio_Song_Actors_01-24"])
def test_takes_what_archives_put_around(card, folder, nest):
    plain = listing.read(card).table
    folder.rename(folder.parent / "aside")
    folder.mkdir()
    (folder.parent / "aside").rename(folder / nest)
    found = listing.read(card)
    assert found.folder == folder / nest
    assert listing.is_present(card)
    assert found.table.equals(plain)


def test_leaves_speech_videos_and_hidden_files(card, folder):
    expected = ravdess.read(card, folder)
    sound(folder / "Actor_01" / "03-01-08-01-01-01-01.wav")
    sound(folder / "audio_speech_actors_01-24" / "Actor_01" / "03-01-08-01-01-01-01.wav")
    sound(folder / "Actor_01" / "01-02-03-01-01-01-01.wav")
    (folder / "Actor_01" / "._03-02-01-01-01-01-01.wav").write_bytes(b"resource fork")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._x.wav").write_bytes(b"resource fork")
    found = ravdess.read(card, folder)
    assert found.table.equals(expected.table)
    assert found.excluded == {"speech, or sound of a video": 3}
    assert (found.problems, found.surplus) == ((), ())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Actor_02/03-02-02-01-02-01-01.wav", "of actor 01, so it belongs into the folder Actor_0"),
        ("03-02-02-01-02-01-01.wav", "of actor 01, so it belongs into the folder Actor_01"),
        ("Actor_01/03-02-07-01-01-01-01.wav", "emotion 07 does not occur in song"),
        ("Actor_01/03-02-02-01-01-02-01.mp3", "neither WAV nor FLAC"),
        ("Actor_01/03-02-01-01-01-01-01.flac", "the same recording is there as"),
        ("Actor_18/03-02-01-01-01-01-18.wav", "speaker 18 is in no partition; add the speaker"),
    ],
)
def test_misplaced_audio_is_a_problem(card, folder, name, said):
    (folder / name).parent.mkdir(exist_ok=True)
    if name.endswith("mp3"):
        (folder / name).write_bytes(b"")
    else:
        sound(folder / name)
    found = ravdess.read(card, folder)
    assert len(found.problems) == 1
    assert said in found.problems[0]
    assert Path(name).stem in found.problems[0]
    assert found.surplus == ()


@pytest.mark.parametrize(
    "name",
    [
        "Actor_01/03-02-02-01-01-03-01.wav",
        "Actor_01/notes.flac",
        "Actor_01/03-02-02-01-01-01-01 (copy).wav",
        "take.mp3",
    ],
)
def test_audio_with_another_name_is_surplus(card, folder, name):
    expected = ravdess.read(card, folder)
    if name.endswith("mp3"):
        (folder / name).write_bytes(b"")
    else:
        sound(folder / name)
    found = ravdess.read(card, folder)
    assert found.surplus == (name,)
    assert found.problems == ()
    assert found.table.equals(expected.table)


def test_all_problems_at_once(card, folder):
    for n in range(25):
        sound(folder / f"03-02-02-01-02-01-{n:02d}.wav")
    with pytest.raises(InputError) as error:
        checks.load_manifest(card)
    lines = str(error.value).splitlines()
    assert "25 problems" in lines[0]
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def test_a_published_division_goes_before_the_card(card, folder):
    """A file list, here of files as WAV without their folders, that puts two actors elsewhere."""
    table = listing.read(card).table
    swapped = {"01": "test", "24": "train"}
    moved = table["speaker"].map(swapped).fillna(table["partition"])
    names = [f"{Path(path).stem}.wav" for path in table["path"]]
    table.assign(path=names, partition=moved).to_csv(folder / "partition.csv", index=False)
    (folder / "Actor_01" / "03-01-08-01-01-01-01.wav").write_bytes(b"speech")
    with (folder / "partition.csv").open("a") as file:
        file.write("03-01-08-01-01-01-01.wav,,01,train,08\n")
    found = listing.read(card)
    assert found.partition_source == "the file list partition.csv"
    assert found.problems == ()
    assert found.table["partition"].tolist() == moved.tolist()


def test_missing_corpus_says_what_to_do(card, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    assert not listing.is_present(card)
    with pytest.raises(InputError, match=r"dslite fetch ravdess.*DSLITE_DATA") as error:
        listing.read(card)
    assert str(tmp_path / "raw" / "ravdess") in str(error.value)
    assert not (tmp_path / "raw").exists()


def test_card_is_the_papers(card):
    literal = cards.settings_of(card, "paper")
    assert (literal.units, literal.dropout, literal.learning_rate) == (128, 0.5, 0.001)
    assert (literal.epochs_phase1, literal.epochs_phase2) == (40, 80)
    assert int(427 * literal.trained_share) == 42
    assert literal.chunk_length_s == 4.0
    # Not the default: AdaDelta hardly moves the head at the printed rate.
    assert literal.optimizer == "adadelta"
    assert cards.settings_of(card).optimizer == "adam"
    assert [len(card.partition[p]) for p in settings.PARTITIONS] == [15, 4, 4]


@pytest.mark.real
def test_real_corpus_reproduces_table_1(cache, real_ravdess):
    card = cards.load("ravdess", real_ravdess)
    built = manifest.build(card)
    checks.require_sound(built)
    row = manifest.table1_row(built)
    assert (row["files"], row["classes"], row["speakers"]) == (1012, 6, 23)
    assert round(row["minutes"], 1) == 78.4
    assert round(row["mean_s"], 2) == 4.65
    assert round(row["std_s"], 4) == 0.4213
    sizes = built.table["partition"].value_counts().to_dict()
    assert sizes == {"train": 660, "devel": 176, "test": 176}

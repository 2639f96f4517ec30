"""Every corpus in its own layout: the exact listing, and the verdict on what may be wrong."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dslite import cards
from dslite.datasets import checks, manifest
from dslite.datasets import listing as dataset_listing
from tests.datasets import trees
from tests.datasets.check_verdicts import BLINDED, layout_problems, listing, refusal, verdict

pytestmark = pytest.mark.usefixtures("cache")


# Every corpus x every tree


@pytest.mark.parametrize("name", trees.NAMES)
def test_a_good_tree_is_good(tmp_path, name):
    assert verdict(trees.good(name, tmp_path)) == ({}, {})


# Tree -> kind of problem or warning, and what its only sentence says. Where a list of labels or of
# files is the only witness of a file, its absence is a matter of the layout.
WRONG = {
    "missing": ("audio", "there is no such file"),
    "broken_off": ("audio", "the audio ends before its header says"),
    "no_audio": ("audio", "not readable as audio ("),
    "surplus": ("without a label", "Neue Aufnahme.wav: no label mentions this audio"),
    "twin": ("audio in two partitions", ": the same audio is in "),
    "leak": ("speakers in two partitions", "a speaker belongs into one partition"),
}


NO_SPEAKERS = {(name, "leak") for name in trees.COMPARE}
PAIRS = sorted({(name, tree) for name in trees.NAMES for tree in WRONG} - NO_SPEAKERS)


@pytest.mark.parametrize(("name", "tree"), PAIRS)
def test_what_is_wrong_is_named_and_nothing_else(tmp_path, name, tree):
    card = trees.good(name, tmp_path)
    manifest.build(card)  # what a cache remembers must not hide anything
    getattr(trees, tree)(name, tmp_path)
    problems, warnings = verdict(card)
    kind, said = WRONG[tree]
    if tree == "missing" and name in ("demos", "ravdess"):
        kind, said = "layout", "is listed and not there"
    organised = tree == "twin" and name in trees.COMPARE
    found, empty = (warnings, problems) if tree == "surplus" or organised else (problems, warnings)
    assert empty == {}
    assert list(found) == [kind]
    assert len(found[kind]) == 1
    assert said in found[kind][0]
    if tree in ("missing", "broken_off", "no_audio"):
        assert Path(trees.FIRST[name]).stem in found[kind][0]
    if tree == "twin":
        assert ("as its organisers divided it" in found[kind][0]) == (name in trees.COMPARE)


@pytest.mark.parametrize("name", [*trees.COMPARE, "demos", "iemocap", "ravdess"])
def test_nothing_there(tmp_path, name):
    card = trees.card(name, tmp_path)
    assert not dataset_listing.is_present(card)
    said = refusal(card)
    assert said.startswith(f"{tmp_path}: no ")
    assert f"`dslite fetch {name}`" in said


@pytest.mark.parametrize("name", trees.NAMES)
def test_a_second_reading_gives_the_same(tmp_path, name):
    card = trees.good(name, tmp_path)
    assert manifest.digest(manifest.build(card)) == manifest.digest(manifest.build(card))


@pytest.mark.parametrize("name", [*trees.COMPARE, "demos", "iemocap", "ravdess"])
def test_lossless_compression_changes_no_verdict(tmp_path, name):
    """FLAC is taken in WAV's place, whatever the label files call it, and capitals as well."""
    card = trees.good(name, tmp_path)
    before = manifest.build(card)
    first, other = (tmp_path / place[name] for place in (trees.FIRST, trees.OTHER))
    wave, rate = soundfile.read(first, dtype="int16")
    soundfile.write(first.with_suffix(".flac"), wave, rate)
    first.unlink()
    other.rename(other.with_suffix(".WAV"))
    after = manifest.build(card)
    assert (checks.problems(after), checks.warnings(after)) == ({}, {})
    assert sorted(after.table["audio_hash"]) == sorted(before.table["audio_hash"])
    assert {Path(p).suffix for p in after.table["path"]} == {".wav", ".flac", ".WAV"}


# Exact listings


def test_listing_of_a_2021_package(tmp_path):
    found = listing(trees.good("ess", tmp_path))
    classes = ["low", "medium", "high"] * 2
    expected = [
        (f"wav/{part}_{n:03d}.wav", "" if part == "test" else name, "", part, source)
        for part in ("devel", "test", "train")
        for n, name, digit in zip(range(1, 7), classes, "012012", strict=True)
        for source in ["?" if part == "test" else digit]
    ]
    assert list(found.table.columns) == list(dataset_listing.COLUMNS)
    assert [tuple(row) for row in found.table.to_numpy()] == expected
    assert found.folder == tmp_path / "dist"
    assert found.partition_source == "the organisers' partition"
    assert found.notes == (BLINDED.format(6),)
    assert (found.problems, found.surplus, found.excluded) == ((), (), {})


@pytest.mark.parametrize("name", ["ccs", "css"])
def test_listing_of_covid_packages(tmp_path, name):
    found = listing(trees.good(name, tmp_path))
    known = found.table[found.table["partition"] != "test"]
    assert known["label"].tolist() == ["negative", "positive"] * 4
    assert (found.table["speaker"] == "").all()
    assert found.notes == (BLINDED.format(4),)


def test_listing_of_sleepiness(tmp_path):
    binary = listing(trees.good("sleep", tmp_path)).table
    scores = listing(trees.card("sleep-regression", tmp_path)).table
    train = binary["partition"] == "train"
    assert binary[train]["label"].tolist() == [*["not sleepy"] * 2, *["sleepy"] * 2] * 2
    assert binary[train]["source_label"].tolist() == ["1", "7", "8", "9"] * 2
    assert scores[train]["label"].tolist() == ["1", "7", "8", "9"] * 2
    test = binary["partition"] == "test"
    assert set(binary[test]["label"]) == set(scores[test]["label"]) == {""}
    assert set(binary[test]["source_label"]) == {"?"}


def test_listing_of_snores(tmp_path):
    """The table has no test rows; the test audio is there all the same."""
    found = listing(trees.good("mpssc", tmp_path))
    assert found.table["path"].tolist() == sorted(f"wav/{f}" for f, _ in trees.entries("mpssc"))
    known = found.table["partition"] != "test"
    assert found.table[known]["label"].tolist() == ["V", "O", "T", "E"] * 4
    assert set(found.table[~known]["label"]) == {""}
    assert set(found.table[~known]["source_label"]) == {"?"}
    assert found.notes == (BLINDED.format(8),)
    assert found.surplus == ()


def test_listing_of_demos(tmp_path):
    found = listing(trees.good("demos", tmp_path))
    classes = {"rab": "anger", "tri": "sadness", "gio": "happiness", "pau": "fear"}
    classes |= {"dis": "disgust", "col": "guilt", "sor": "surprise"}
    expected = []
    partitions = {"01": "train", "02": "train", "34": "devel", "58": "test"}
    for speaker, part in partitions.items():
        gender = trees.DEMOS_SPEAKERS[speaker]
        for kind, codes in {
            "NP": ("rab", "gio", "dis", "sor"),
            "PR": ("tri", "pau", "col"),
        }.items():
            expected += [
                (f"DEMOS/{kind}_{gender}_{speaker}_{code}01{letter}.wav", classes[code], speaker,
                 part, code)
                for code in codes
                for letter in ["b" if code == "col" else "a"]
            ]  # fmt: skip
    assert [tuple(row) for row in found.table.to_numpy()] == sorted(expected)
    assert found.excluded == {"neutral, left out as in the paper": 4}
    assert found.partition_source == dataset_listing.CARD_LISTS
    assert (found.problems, found.surplus, found.notes) == ((), (), ())
    assert found.folder == tmp_path / "DEMoS"


def test_listing_of_iemocap(tmp_path):
    found = listing(trees.good("iemocap", tmp_path))
    partitions = dict(zip("12345", ["train"] * 3 + ["devel", "test"], strict=True))
    turns = [
        ("F_impro01", "F000", "neutral", "neu"),
        ("F_impro01", "F001", "happiness", "hap"),
        ("F_impro01", "M000", "anger", "ang"),
        ("M_script01_1b", "F000", "happiness", "exc"),
        ("M_script01_1b", "M000", "sadness", "sad"),
    ]
    expected = [
        (
            f"Session{s}/sentences/wav/Ses0{s}{rest}/Ses0{s}{rest}_{turn}.wav",
            *(label, s + turn[0], partitions[s], source),
        )
        for s in "12345"
        for rest, turn, label, source in turns
    ]
    assert [tuple(row) for row in found.table.to_numpy()] == expected
    assert found.excluded == {"frustration": 5, "no agreement of the annotators": 5}
    assert found.partition_source == dataset_listing.CARD_LISTS
    assert (found.problems, found.surplus, found.notes) == ((), (), ())


def test_stereo_and_rates_are_seen(tmp_path):
    built = manifest.build(trees.good("ravdess", tmp_path))
    stereo = built.table[built.table["channels"] == 2]["path"].tolist()
    assert stereo == ["Actor_24/03-02-01-01-01-01-24.wav"]
    assert set(built.table["sample_rate"]) == {48000}
    np.testing.assert_allclose(built.table["duration_s"], 1 / 3)


# DEMoS


@pytest.mark.parametrize("place", ["", "DEMoS", "a/DEMoS"])
def test_demos_lies_at_most_three_folders_deep(tmp_path, place):
    trees.good("demos", tmp_path / "made")
    expected = listing(trees.card("demos", tmp_path / "made")).table
    home = tmp_path / "put" / place
    home.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "made" / "DEMoS").rename(home)
    found = listing(trees.card("demos", tmp_path / "put"))
    assert found.folder == home
    assert found.table.equals(expected)


def test_demos_deeper_is_not_looked_for(tmp_path):
    trees.good("demos", tmp_path / "a" / "b" / "c")
    card = trees.card("demos", tmp_path)
    assert not dataset_listing.is_present(card)
    assert "folders DEMOS and NEU with files like PR_m_23_tri00a.wav, at most 3" in refusal(card)


def test_demos_without_neutral_files(tmp_path):
    card = trees.good("demos", tmp_path)
    expected = listing(card)
    shutil.rmtree(tmp_path / "DEMoS" / "NEU")
    found = listing(card)
    assert found.excluded == {}
    assert found.folder == expected.folder
    assert found.table.equals(expected.table)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("DEMOS/PR_m_34_xyz00a.wav", "emotion 'xyz' is not known; add it to `labels` or"),
        ("NEU/PR_f_01_col01b.wav", "the same recording is there as DEMoS/DEMOS/PR_f_01_col01b.wav"),
        ("DEMOS/PR_f_01_col01b.flac", "the same recording is there as"),
        ("DEMOS/PR_m_34_col09b.mp3", "neither WAV nor FLAC"),
        ("DEMOS/PR_m_35_col01b.wav", "speaker 35 is in no partition; add the speaker to"),
    ],
)
def test_demos_problems(tmp_path, file, said):
    card = trees.good("demos", tmp_path)
    if file.endswith("mp3"):
        (tmp_path / "DEMoS" / file).write_bytes(b"")
    else:
        trees.sound(tmp_path / "DEMoS" / file)
    problems = layout_problems(card)
    assert len(problems) == 1
    assert said in problems[0]
    assert Path(file).stem in problems[0]


# IEMOCAP


def test_iemocap_without_its_outer_folder(tmp_path):
    expected = listing(trees.good("iemocap", tmp_path / "a"))
    found = listing(trees.card("iemocap", tmp_path / "a" / "IEMOCAP_full_release"))
    assert found.folder == expected.folder
    assert found.table.equals(expected.table)


def test_iemocap_with_missing_sessions(tmp_path):
    card = trees.good("iemocap", tmp_path)
    for session in ("Session2", "Session3"):
        shutil.rmtree(tmp_path / "IEMOCAP_full_release" / session)
    found = listing(card)
    assert set(found.table["speaker"]) == {"1F", "1M", "4F", "4M", "5F", "5M"}
    assert found.notes == (
        "no labels of Session2, Session3: the counts differ from the whole corpus's",
    )


@pytest.fixture
def evaluation(tmp_path):
    """IEMOCAP's card, and one of its label files."""
    card = trees.good("iemocap", tmp_path)
    place = "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    return card, tmp_path / place


GOOD_LINE = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (GOOD_LINE.replace("\t", " "), "Ses01F_impro01.txt, line 24: neither time"),
        (GOOD_LINE.replace("\tneu", ""), "neither time, utterance, label and dimensions"),
        (GOOD_LINE[:50], "neither time"),
        ("[", "neither time"),
        (GOOD_LINE.replace("_F000", "_X000"), "neither time"),
        (GOOD_LINE.replace("neu", "bored"), "label 'bored' of Ses01F_impro01_F000 is not known"),
        (GOOD_LINE.replace("neu", "NEU"), "label 'NEU'"),
        (GOOD_LINE.replace("neu", "ang"), "Ses01F_impro01_F000 is 'ang', and 'neu' in Session1"),
        (GOOD_LINE.replace("Ses01", "Ses02"), "Ses02F_impro01_F000 is of Session2; move the file"),
    ],
)  # fmt: skip
def test_bad_lines_of_an_evaluation(evaluation, line, said):
    card, file = evaluation
    trees.text(file, file.read_text() + "\n" + line + "\n")
    problems = layout_problems(card)
    assert len(problems) == 1
    assert "Ses01F_impro01.txt, line 24" in problems[0]
    assert said in problems[0]


def test_what_an_evaluation_may_hold(evaluation):
    """The same line again, Windows line ends, comments in any encoding."""
    card, file = evaluation
    expected = listing(card)
    content = file.read_bytes() + GOOD_LINE.encode() + b"\nC-E1:\tvoil\xe0 \xc2\x85[;\t()\n"
    file.write_bytes(content.replace(b"\n", b"\r\n"))
    found = listing(card)
    assert found.table.equals(expected.table)
    assert (found.problems, found.excluded) == ((), expected.excluded)


def test_audio_of_labels_that_are_left_out_is_not_needed(evaluation):
    card, file = evaluation
    wav = file.parents[2] / "sentences" / "wav" / "Ses01F_impro01"
    (wav / "Ses01F_impro01_M001.wav").unlink()  # fru
    assert verdict(card) == ({}, {})


def test_audio_without_a_line_is_surplus(evaluation):
    card, file = evaluation
    wav = file.parents[2] / "sentences" / "wav"
    trees.sound(wav / "Ses01F_impro01" / "Ses01F_impro01_F009.wav")
    trees.sound(wav / "Ses01F_impro02" / "Ses01F_impro01_F000.wav")
    assert listing(card).surplus == (
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F009.wav",
        "Session1/sentences/wav/Ses01F_impro02/Ses01F_impro01_F000.wav",
    )
    trees.sound(wav / "Ses01F_impro01" / "Ses01F_impro01_F000.flac")
    assert "the same recording is there as" in listing(card).problems[0]


@pytest.mark.parametrize("name", ["demos", "iemocap", "ravdess"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_file_list_divides_the_corpus(tmp_path, name, inside):
    """It may lie beside the audio or in the folder that the user named; it goes before the card."""
    card = trees.good(name, tmp_path)
    table = listing(card).table
    turned = table["partition"].map({"train": "test", "devel": "dev", "test": "train"})
    home = listing(card).folder if inside else tmp_path
    table.assign(partition=turned)[["path", "partition"]].to_csv(
        home / "partition.csv", index=False
    )
    found = listing(card)
    assert found.partition_source == "the file list partition.csv"
    assert found.table["partition"].tolist() == turned.replace("dev", "devel").tolist()
    assert verdict(card) == ({}, {})


@pytest.mark.parametrize(("name", "unused"), [("demos", "f_01_neu05b.wav"),
                                              ("iemocap", "Ses01F_impro01_M001")])  # fmt: skip
def test_a_file_list_may_hold_what_is_left_out(tmp_path, name, unused):
    card = trees.good(name, tmp_path)
    list_ = trees.partition_list(name, tmp_path)
    trees.text(list_, list_.read_text() + f"{unused},train\n")
    assert verdict(card) == ({}, {})


# Size


@pytest.mark.parametrize("name", ["sleep", "demos"])
def test_a_large_corpus_is_listed_in_seconds(tmp_path, name):
    """16,500 empty files: what grows with the square of the files would take minutes."""
    import time

    if name == "sleep":
        files = [(f"{p}_{n:05d}.wav", "5") for p in ("train", "devel", "test") for n in range(5500)]
        home = tmp_path / "wav"
        trees.label_file(tmp_path / "lab" / "labels.csv", "file_name,label", files)
    else:
        home = tmp_path / "DEMOS"
        takes = [f"{number:02d}{letter}" for number in range(35) for letter in "abc"]
        speakers = range(1, 24)
        emotions = cards.load("demos").labels
        files = [
            (f"NP_m_{s:02d}_{e}{t}.wav", "") for s in speakers for e in emotions for t in takes
        ]
    home.mkdir()
    for file, _ in files:
        os.close(os.open(home / file, os.O_CREAT))
    card = trees.card(name, tmp_path)
    begun = time.process_time()
    found = dataset_listing.read(card)
    assert len(found.table) == len(files) > 16000
    assert time.process_time() - begun < 10

"""Corpora whose names say what they hold: RAVDESS, DEMoS, free ones, a folder for each class."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from dslite import audio, cards, paths
from dslite.datasets import checks, fingerprint, listing, manifest, partitions
from tests.datasets import trees
from tests.datasets.trees import listed
from tests.refusals import refusal

pytestmark = pytest.mark.usefixtures("cache")

SPLIT = {"train": "123", "devel": "4", "test": "5"}


def tree(folder, names: str) -> None:
    for name in names.split():
        trees.sound(folder / name)


def shipped(name: str, folder):
    return listed(cards.load(name, folder))


def of_user(folder, card: str = ""):
    if card:
        folder.with_name(f"{folder.name}.yaml").write_text(card)
    return listing.read(cards.load(f"{folder}/"))


def columns(corpus: listing.Listing, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in corpus.table[list(names)].to_numpy()]


# RAVDESS and DEMoS


def test_ravdess_as_published(tmp_path):
    card = trees.good("ravdess", tmp_path)
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


def test_ravdess_leaves_speech_videos_and_hidden_files(tmp_path):
    card = trees.good("ravdess", tmp_path)
    expected = listed(card)
    tree(tmp_path, "Actor_01/03-01-08-01-01-01-01.wav Actor_01/01-02-03-01-01-01-01.wav")
    tree(tmp_path, "audio_speech_actors_01-24/Actor_01/03-01-08-01-01-01-01.wav")
    (tmp_path / "Actor_01" / "._03-02-01-01-01-01-01.wav").write_bytes(trees.APPLE_DOUBLE)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._03-02-01-01-01-01-01.wav").write_bytes(trees.APPLE_DOUBLE)
    trees.partition_list("ravdess", tmp_path)  # which may hold what is left out
    with (tmp_path / "partition.csv").open("a") as file:
        file.write("03-01-08-01-01-01-01.wav,train\n")
    corpus = listed(card)
    assert corpus.table.equals(expected.table)
    assert corpus.excluded == {"speech": 2, "sound of a video of song": 1}
    assert (corpus.problems, corpus.surplus) == ((), ())


def test_an_archive_unpacked_twice_is_used_once(tmp_path):
    card = trees.good("ravdess", tmp_path)
    expected = listed(card)
    shutil.copytree(tmp_path, tmp_path / "a" / "songs", ignore=shutil.ignore_patterns("a"))
    for actor in (tmp_path / "a" / "songs").iterdir():
        actor.rename(actor.with_name(actor.name.lower()))
    wave, rate = soundfile.read(tmp_path / trees.FIRST["ravdess"], dtype="int16")
    soundfile.write(tmp_path / "a" / "03-02-02-01-01-01-01.flac", wave, rate)  # the same samples
    corpus = listed(card)
    assert corpus.table.equals(expected.table)
    assert corpus.folder == tmp_path
    assert corpus.problems == ()
    (note,) = corpus.notes
    assert note.startswith("25 files are not used, since others have the same names and audio: a/")
    shutil.rmtree(tmp_path / "Actor_24")  # then what is elsewhere is used
    assert len(listed(card).table) == 24


@pytest.mark.real
def test_the_real_corpus_is_the_published_split_and_reproduces_table_1(command, tmp_path):
    sibling = paths.ROOT.parent / "shared" / "corpora"
    real_ravdess = Path(os.environ.get("DSLITE_REAL_DATA", sibling)) / "ravdess"
    if not real_ravdess.is_dir():
        pytest.skip(f"no RAVDESS song: {real_ravdess}")
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


def test_demos(tmp_path):
    card = trees.good("demos", tmp_path)
    corpus = listed(card)
    classes = {"rab": "anger", "gio": "happiness", "dis": "disgust", "sor": "surprise"}
    others = {"tri": "sadness", "pau": "fear", "col": "guilt"}
    speakers = {"f_01": "train", "m_02": "train", "m_34": "devel", "m_58": "test"}
    expected = [
        [f"DEMOS/{kind}_{who}_{c}01{'b' if c == 'col' else 'a'}.wav", name, who[2:], part, c]
        for who, part in speakers.items()
        for kind, names in (("NP", classes), ("PR", others))
        for c, name in names.items()
    ]
    assert corpus.table.to_numpy().tolist() == sorted(expected)
    assert corpus.excluded == {"neutral, left out as in the paper": 4}
    assert corpus.partition_source == listing.CARD_LISTS
    assert (corpus.problems, corpus.surplus, corpus.notes) == ((), (), ())
    assert corpus.folder == tmp_path / "DEMoS"
    shutil.rmtree(tmp_path / "DEMoS" / "NEU")
    again = listed(card)
    assert (again.excluded, again.folder) == ({}, corpus.folder)
    assert again.table.equals(corpus.table)


# The free ones


@pytest.mark.parametrize(
    ("name", "files", "expected", "n_others"),
    [
        (
            "emodb",
            "wav/03a01Fa.wav wav/12b10Wb.wav wav/16a05Lc.wav x/notes.wav",
            [("happiness", "03", "train"), ("anger", "12", "devel"), ("boredom", "16", "test")],
            1,
        ),
        (
            "crema-d",
            "AudioWAV/1001_DFA_ANG_XX.wav AudioWAV/1049_IEO_NEU_HI.wav AudioWAV/1091_ITH_SAD_X.wav",
            [("anger", "1001", "train"), ("neutral", "1049", "devel"), ("sadness", "1091", "test")],
            0,
        ),
        (
            "savee",
            "AudioData/DC/sa01.wav AudioData/JK/a15.wav AudioData/KL/n30.wav AudioData/KL/x1.wav",
            [("sadness", "DC", "train"), ("anger", "JK", "devel"), ("neutral", "KL", "test")],
            1,
        ),
        (
            "savee",
            "ALL/DC_su01.wav ALL/JK_d15.wav ALL/KL_h02.wav",
            [("surprise", "DC", "train"), ("disgust", "JK", "devel"), ("happiness", "KL", "test")],
            0,
        ),
        (
            "fsdd",
            "recordings/0_jackson_0.wav recordings/7_theo_32.wav recordings/9_yweweler_49.wav",
            [("0", "jackson", "train"), ("7", "theo", "devel"), ("9", "yweweler", "test")],
            0,
        ),
    ],
)
def test_the_free_corpora(tmp_path, name, files, expected, n_others):
    tree(tmp_path / "outer", files)
    corpus = shipped(name, tmp_path)
    assert columns(corpus, "label", "speaker", "partition") == expected
    assert (len(corpus.surplus), corpus.problems) == (n_others, ())
    assert (corpus.folder / corpus.table["path"][0]).is_file()


def test_tess_is_divided_by_files_and_says_so(tmp_path):
    words = ["back", "bite", "dog"]
    for actress in ("OAF", "YAF"):
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
            folder = tmp_path / "TESS" / f"{actress}_{emotion.title()}"
            tree(folder, " ".join(f"{actress}_{word}_{emotion}.wav" for word in words))
    oaf = tmp_path / "TESS" / "OAF_Neutral"
    (oaf / "OAF_bite_neutral.wav").rename(oaf / "OA_bite_neutral.wav")  # as it is handed out
    card = cards.load("tess", tmp_path)
    corpus = manifest.build(card)
    assert corpus.table["label"].value_counts().to_dict() == dict.fromkeys(card.classes, 6)
    assert "by file" in corpus.partition_source
    assert checks.problems(corpus) == {}
    assert "speakers" in checks.warnings(corpus)


# A user's own pattern


def test_a_pattern_needs_six_lines(tmp_path):
    names = [f"{s}-{code}-{t}.wav" for s in "12345" for code in "hs" for t in "ab"]
    tree(tmp_path / "my" / "deep", " ".join([*names, "x.wav", "1-n-a.wav"]))
    card = (
        "pattern: '(?P<speaker>[1-5])-(?P<label>[hsn])-(?P<take>.)'\n"
        "labels: {h: happy, s: sad}\nexcluded: {n: neutral}\n"
        "partition: {train: ['1', '2', '3'], devel: ['4'], test: ['5']}\n"
    )
    corpus = of_user(tmp_path / "my", card)
    assert set(columns(corpus, "label", "source_label")) == {("happy", "h"), ("sad", "s")}
    for part, speakers in SPLIT.items():
        assert set(corpus.table["speaker"][corpus.table["partition"] == part]) == set(speakers)
    assert (corpus.excluded, corpus.surplus) == ({"neutral": 1}, ("deep/x.wav",))
    by_card = cards.load(str(tmp_path / "my.yaml"))
    assert by_card.dataset == "my"
    assert listed(by_card).table.equals(corpus.table)
    # Elsewhere, as `folder` says; the card's own folder, where none is called like it
    (tmp_path / "my").rename(tmp_path / "there")
    assert len(listed(by_card.model_copy(update={"folder": str(tmp_path)})).table) == 20
    (tmp_path / "my.yaml").write_text(f"{card}folder: there\n")
    assert listed(cards.load(str(tmp_path / "my.yaml"))).table.equals(corpus.table)


def test_without_lists_of_speakers_a_pattern_divides_as_a_table_does(tmp_path):
    tree(tmp_path / "my", " ".join(f"{s}_{c}.wav" for s in "abcdef" for c in "xy"))
    corpus = of_user(tmp_path / "my", "pattern: (?P<speaker>.)_(?P<label>.)")
    assert corpus.partition_source.startswith("drawn here: stratified, by speaker")
    assert (corpus.table.groupby("speaker")["partition"].nunique() == 1).all()
    tree(tmp_path / "of", "train_x1.wav dev_x2.wav eval_X3.wav")
    corpus = of_user(tmp_path / "of", "pattern: (?P<partition>[a-z]+)_(?P<label>[xX])\\d")
    rows = [("x", "devel"), ("x", "test"), ("x", "train")]  # of one spelling
    assert sorted(columns(corpus, "label", "partition")) == rows
    assert corpus.partition_source == "the folders or names"
    assert len(corpus.cautions) == 1


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("pattern: '('", "pattern is no regular expression"),
        ("pattern: (?P<lable>.)", "a pattern needs a group (?P<label>...)"),
        ("pattern: (?P<label>.)\nlayout: table", "belongs to a corpus without a table"),
        ("pattern: (?P<label>.)\ncolumns: {label: x}", "columns are a table's"),
        ("pattern: (?P<label>.)-", "2 files, the first one a/x.wav, are not called as its are"),
        ("name: ravdess", "'ravdess' is the name of a corpus of this project"),
        ("partition: {train: [a], devel: [b], test: [c]}", "the card lists speakers of each"),
    ],
)
def test_refusals(tmp_path, card, words):
    tree(tmp_path / "my", "a/x.wav b/y.wav")
    assert words in refusal(of_user, tmp_path / "my", card)


# A folder for each class


def test_a_folder_for_each_class(tmp_path):
    names = " ".join(f"{label}/{n}.wav" for label in ("no", "yes") for n in range(8))
    tree(tmp_path / "my", f"{names} stray.wav")
    corpus = of_user(tmp_path / "my")
    assert cards.load(f"{tmp_path}/my").dataset == "my"
    assert columns(corpus, "path", "label")[:1] == [("no/0.wav", "no")]
    assert set(corpus.table["speaker"]) == {""}
    assert set(corpus.table["partition"]) == {"train", "devel", "test"}
    assert corpus.surplus == ("stray.wav",)
    assert manifest.build(cards.load(f"{tmp_path}/my/")).classes == ("no", "yes")


def test_folders_of_speakers_and_partitions(tmp_path):
    for part, speakers in {"Train": "123", "val": "4", "test": "5"}.items():
        for speaker in speakers:
            tree(tmp_path / "my", f"{part}/no/{speaker}/a.wav {part}/yes/{speaker}/x/b.wav")
    corpus = of_user(tmp_path / "my")
    for part, speakers in SPLIT.items():
        assert set(corpus.table["speaker"][corpus.table["partition"] == part]) == set(speakers)
    (note,) = corpus.notes
    assert "the folders below those of the classes are taken as speakers (" in note
    assert corpus.cautions == ()
    tree(tmp_path / "my", "test/yes/c.wav")
    corpus = of_user(tmp_path / "my")
    assert set(corpus.table["speaker"]) == {""}
    assert corpus.cautions == (
        "speakers are known of 10 files and not of 1, the first one test/yes/c.wav; so none are "
        "used",
    )


@pytest.mark.parametrize(
    "files",
    [
        "train/a.wav test/b.wav",
        "train/no/a.wav car/b.wav",
        "train/no/a.wav test/b.wav",
        "no/train/a.wav yes/test/b.wav",
    ],
)
def test_folders_of_partitions_that_may_be_classes(tmp_path, files):
    tree(tmp_path / "my", files)
    message = refusal(of_user, tmp_path / "my")
    assert "say by `pattern` in my.yaml what the folders are" in message


def test_a_folder_without_classes(tmp_path):
    tree(tmp_path / "outer", "my/no/a.wav my/yes/b.wav")
    assert refusal(of_user, tmp_path / "outer").endswith(
        f"give the path {tmp_path / 'outer' / 'my'}"
    )
    tree(tmp_path / "my", "a.wav b.wav")
    (tmp_path / "my" / "list.csv").write_text("path,label\n")
    message = refusal(of_user, tmp_path / "my")
    assert "expected is a folder for each class" in message
    assert message.endswith("list.csv there is a table: give its path")

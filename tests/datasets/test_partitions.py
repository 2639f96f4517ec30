"""Partitions: of file lists, cards and folds, and compared with the published ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite import cards, paths
from dslite.datasets import manifest, partitions
from dslite.datasets.listing import CARD_LISTS
from dslite.datasets.manifest import Manifest
from dslite.errors import InputError
from tests.datasets.trees import replace_text, with_cells
from tests.datasets.trees import table as table_of
from tests.refusals import assert_refused, refusal

RATE = 16000
CLASSES = ("calm", "happy", "sad", "angry")
SPEAKERS = {"x/a.wav": "s1", "x/b.wav": "s1", "y/c.flac": "s2", "d.wav": "s3"}
LIST = "path,partition\nx/a.wav,train\nx/b.wav,train\ny/c.flac,devel\nd.wav,test\n"
PLACED = {"x/a.wav": "train", "x/b.wav": "train", "y/c.flac": "devel", "d.wav": "test"}


# Placed by a file list or the card


@pytest.fixture
def place(tmp_path):
    """Places four files by the card or a file list: partition of each, its source, problems."""
    lists = {"train": ("s1",), "devel": ("s2",), "test": ("s3",)}

    def run(text=None, lists=lists, **how):
        card = cards.Card(dataset="my", layout="pattern", title="My", partition=lists)
        if text is not None:
            (tmp_path / partitions.FILE).write_text(text)
        files = {path: (speaker, "x") for path, speaker in SPEAKERS.items()}
        listed = partitions.place(card, (tmp_path, tmp_path / "inside"), files, **how)
        placed = listed.table.set_index("path")["partition"].to_dict()
        return placed, listed.partition_source, list(listed.problems)

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
        LIST.replace("devel", "Dev").replace("test", "Testing").replace("train", "training"),
        LIST.replace("devel", "validation"),
        LIST.replace("x/", "").replace("y/", ""),
        LIST.replace("/", "\\"),
        LIST.replace("x/a.wav", "/data/corpora/my/x/a.wav"),
        LIST.replace(".wav", ".flac").replace("c.flac", "c"),
        LIST + "x/a.wav,train\n",
    ],
)
def test_spellings_of_a_file_list(place, text):
    """Of its own; those of every table are in `test_table`."""
    other = {"train": ("s3",), "devel": ("s2",), "test": ("s1",)}
    assert place(text, other) == (PLACED, "the file list partition.csv", [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIST.replace("partition", "split"), "no column 'partition' in its first row"),
        (LIST.replace("devel", "eval"), "row 4: partition 'eval' may be test or devel"),
        (LIST.replace("devel", ""), "row 4: partition '' is not known"),
        (LIST + "z/a.wav,test\n", "row 6: 'z/a.wav' is in two partitions"),
    ],
)
def test_refused_file_lists(place, tmp_path, text, words):
    message = refusal(place, text)
    assert message.startswith(str(tmp_path / partitions.FILE))
    assert words in message


def test_what_the_list_and_the_folder_do_not_share(place, tmp_path):
    text = LIST.replace("x/b.wav", "x/e.wav") + "out.wav,train\n"
    placed, _, (unlisted, missing) = place(text, left_out=["z/out.wav"])
    assert placed == {path: part for path, part in PLACED.items() if path != "x/b.wav"}
    assert unlisted.startswith("x/b.wav: not in ")
    assert unlisted.endswith("partition.csv; add it there, or move the file away")
    assert missing == "partition.csv: 'e' is listed and not there"
    (tmp_path / "inside").mkdir()  # a list in the named folder goes before one inside
    (tmp_path / partitions.FILE).unlink()
    (tmp_path / "inside" / partitions.FILE).write_text(LIST.replace("test", "train"))
    assert place()[0]["d.wav"] == "train"
    assert place(LIST)[0] == PLACED


# Folds of a cross-validation


def division(files, **of_card):
    """Manifest of files that are not there, from pairs (speaker, label)."""
    table = pd.DataFrame(files, columns=["speaker", "label"], dtype="str")
    table["path"] = [f"{i}.wav" for i in range(len(table))]
    table["audio_hash"] = [f"{i:064x}" for i in range(len(table))]
    table["partition"] = pd.Series("train", table.index, dtype="str")
    names = {"dataset": "drawn", "layout": "table", "title": "", "classes": CLASSES}
    return Manifest(paths.ROOT, table, card=cards.Card(**names | of_card))


def balanced(speakers=6, takes=2, **of_card):
    files = [(f"s{s}", c) for s in range(speakers) for c in CLASSES for _ in range(takes)]
    return division(files, **of_card)


def parts(folds, partition="test"):
    """Paths of a partition in each fold."""
    return [set(f.table["path"][f.table["partition"] == partition]) for f in folds]


@pytest.mark.parametrize("speakers", [6, 14, 40])
def test_every_part_has_every_class_where_that_can_be(speakers):
    files = [(f"s{s}", "ab"[s % 2]) for s in range(speakers) for _ in range(4)]
    files += [(f"s{s}", "c") for s in (0, 2, 5)]
    table = pd.DataFrame(files, columns=["speaker", "label"])
    wrong = np.where(table["speaker"] == "s0", 0, np.where(table["label"] == "b", 1, 2))
    shares = (0.2, 0.2, 0.6)
    part = partitions.completed(table["speaker"], table["label"], wrong, shares)
    assert (pd.crosstab(part, table["label"]) > 0).all(axis=None)
    assert (table.assign(part=part).groupby("speaker")["part"].nunique() == 1).all()
    same = partitions.completed(table["speaker"], table["label"], part, shares)
    np.testing.assert_array_equal(same, part)
    # Of a class of two speakers, train and test have one each.
    two = table[(table["label"] != "c") | (table["speaker"] != "s5")]
    part = partitions.completed(two["speaker"], two["label"], wrong[two.index], shares)
    counts = pd.crosstab(part, two["label"]) > 0
    assert counts.to_numpy().sum() == 8
    assert not counts.loc[1, "c"]


FILES = st.tuples(st.sampled_from("stuvwxyz"), st.sampled_from("ab"))  # speaker and class


@settings(max_examples=15, deadline=None)
@given(files=st.lists(FILES, min_size=12, max_size=40), k=st.integers(3, 6))
def test_each_file_is_tested_once_and_no_speaker_is_in_two_partitions(files, k):
    corpus = division(files, classes=("a", "b"))
    try:
        folds = partitions.divide(corpus, k)
    except InputError:  # `test_what_cannot_be_divided`
        return
    assert len(folds) == k
    for partition in ("test", "devel"):
        chosen = parts(folds, partition)
        assert sum(map(len, chosen)) == len(corpus.table)
        assert set.union(*chosen) == set(corpus.table["path"])
    assert parts(folds, "devel") == [*parts(folds)[1:], parts(folds)[0]]
    same = [column for column in corpus.table if column != "partition"]
    for fold in folds:
        pd.testing.assert_frame_equal(fold.table[same], corpus.table[same])
        assert fold.table["partition"].dtype == corpus.table["partition"].dtype
        assert fold.table.groupby("speaker")["partition"].nunique().eq(1).all()
        assert pd.crosstab(fold.table["partition"], fold.table["label"]).loc["train"].all()


def test_what_a_division_follows_from(rng):
    """The files alone: neither their partitions nor their order, nor a run's seed."""
    corpus = balanced(9)
    folds = partitions.divide(corpus, 5)
    assert [fold.fold for fold in folds] == [f"5folds/fold{i}" for i in range(1, 6)]
    mixed = corpus.table.assign(partition=list(rng.permutation(["train", "devel", "test"] * 24)))
    shuffled = replace(corpus, table=mixed.sample(frac=1, random_state=1).reset_index(drop=True))
    assert parts(folds) == parts(partitions.divide(shuffled, 5))
    digests = [manifest.digest(fold) for fold in folds]
    assert len(set(digests)) == 5
    assert digests == [manifest.digest(fold) for fold in partitions.divide(corpus, 5)]
    assert folds[1].partition_source == (
        "fold 2 of 5, drawn here: stratified, by speaker (StratifiedGroupKFold), seed 0"
    )


def test_what_the_card_keeps_together_stays_together():
    files = [(f"Ses0{s}{sex}", c) for s in range(1, 6) for sex in "FM" for c in CLASSES]
    folds = partitions.divide(division(files, fold_group=r"(\d)[FM]"), 5)
    for fold in folds:
        tested = fold.table["speaker"][fold.table["partition"] == "test"]
        assert sorted(name[-1] for name in set(tested)) == ["F", "M"]
        assert len({name[:-1] for name in tested}) == 1
    assert r"speakers' (\d)[FM]" in folds[0].partition_source


def test_files_without_a_label_are_left_out():
    corpus = with_cells(balanced(), label=([0, 5, 9], ""))
    for fold in partitions.divide(corpus, 3):
        assert fold.table["path"].tolist() == corpus.table.drop([0, 5, 9])["path"].tolist()
        assert fold.table.index.tolist() == list(range(45))


@pytest.mark.parametrize("values", ["spread", "few", "one"])
def test_a_regression_is_stratified_by_quantiles(rng, values):
    n = 120
    numbers = {"spread": rng.exponential(size=n), "few": rng.integers(0, 3, n), "one": np.ones(n)}
    # Speakers of one number each: without strata, some fold would get the large ones.
    numbers = np.sort(numbers[values])
    files = [(f"s{i // 4}", str(number)) for i, number in enumerate(numbers)]
    folds = partitions.divide(division(files, task="regression", classes=()), 5)
    tested = [numbers[fold.table["partition"] == "test"] for fold in folds]
    assert {len(part) for part in tested} <= set(range(16, 33))
    few = division(files[::18], task="regression", classes=())  # as many files as folds
    assert [len(part) for part in parts(partitions.divide(few, 7))] == [1] * 7
    if values == "spread":
        medians = [np.median(part) for part in tested]
        assert max(medians) < np.quantile(numbers, 0.75)
        assert min(medians) > np.quantile(numbers, 0.25)


def some_sad(speakers, sad):
    return division(
        [(f"s{s}", c) for s in range(speakers) for c in CLASSES if c != "sad" or s in sad]
    )


DOUBLED = with_cells(balanced(), audio_hash=([0, 40], "same"))
TWO_UNKNOWN = with_cells(balanced(), speaker=([3, 4], ""))
UNKNOWN = with_cells(balanced(), speaker=(range(48), ""))


@pytest.mark.parametrize(
    ("corpus", "k", "words"),
    [
        *(
            (balanced(6), k, [f"drawn, {k} folds", "6 speakers", "take 3 to 6 folds"])
            for k in (-1, 0, 1, 2, 7)
        ),
        (balanced(2), 3, ["there are 2 speakers", "a fold needs 3"]),
        (some_sad(8, (1,)), 5, ["'sad'", "1 speakers only", "add speakers"]),
        (some_sad(8, (0, 1)), 3, ["fold", "no file of class 'sad' in train; take more folds"]),
        (DOUBLED, 6, ["0.wav and 40.wav", "same audio"]),
        (TWO_UNKNOWN, 3, ["in 2 of 48 files", "give every file a speaker"]),
        (UNKNOWN, 3, ["drawn, 3 folds", "does not say who speaks, so folds"]),
        *(
            (balanced(fold_group=pattern), 3, [words, f"fold_group '{pattern}'"])
            for pattern, words in (
                (r"(\d\d)", "not in the name of speaker 's0'"),
                ("s", "no regular"),
                ("(s", "no regular"),
            )
        ),
    ],
)
def test_what_cannot_be_divided(corpus, k, words):
    message = refusal(partitions.divide, corpus, k)
    assert [text for text in words if text not in message] == []


def test_what_looks_like_it_can():
    """Who takes no part need not be known, and audio may be there twice, or not be decoded."""
    unlabelled = with_cells(balanced(), speaker=([3, 4], ""), label=([3, 4], ""))
    copied = with_cells(balanced(), audio_hash=([0, 1], "same"))  # of one speaker
    undecoded = with_cells(balanced(), audio_hash=(range(48), ""))
    for corpus in (unlabelled, copied, undecoded, some_sad(8, (1, 2, 5))):
        assert len(partitions.divide(corpus, 3)) == 3


def test_folds_are_completed(monkeypatch):
    corpus = some_sad(9, (0, 1, 2))
    in_order = corpus.table["speaker"].str[1:].astype(int).to_numpy() // 3
    monkeypatch.setattr(partitions, "parts", lambda groups, strata, k: in_order)
    folds = partitions.divide(corpus, 3)
    assert all((manifest.counts(fold, "label") > 0).all(axis=None) for fold in folds)


def test_folds_test_a_class_that_no_partition_of_three_could():
    """Of two speakers: each is tested once, by what learnt the other one."""
    corpus = some_sad(8, (0, 1))
    assert partitions.folds_that_test_all(corpus) == 5
    folds = partitions.divide(corpus, 5)
    tested = set.union(*parts(folds))
    assert tested == set(corpus.table["path"])
    assert all((manifest.counts(fold, "label")["train"] > 0).all() for fold in folds)
    assert partitions.folds_that_test_all(some_sad(8, (1,))) is None


@pytest.mark.parametrize("fold", ["", "3folds/fold2"])
def test_the_manifest_of_a_run(fold):
    corpus = balanced()
    used = partitions.divide(corpus, 3)[1] if fold else corpus
    record = {"fold": fold, "manifest": manifest.digest(used)}
    pd.testing.assert_frame_equal(partitions.of_run(corpus, record).table, used.table)
    with pytest.raises(InputError, match="the corpus is not the one of this run"):
        partitions.of_run(with_cells(corpus, label=(0, "sad")), record)


# Published partitions


def voice(seed: int, seconds: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    loud = np.interp(time, np.linspace(0, seconds, 9), rng.uniform(0.02, 0.6, 9))
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(150, 2500, 3))
    return (loud * tones / 3).astype(np.float32)


@pytest.fixture
def table(tmp_path, cache, monkeypatch, command):
    """A published corpus of eight files; partitions are published elsewhere."""
    data = paths.data
    elsewhere = {"partitions": tmp_path / "partitions"}
    monkeypatch.setattr(paths, "data", lambda name: elsewhere.get(name, data(name)))
    speakers = {"a": "train", "b": "train", "c": "devel", "d": "test"}
    file = table_of(tmp_path, speakers, lambda speaker, j: voice(ord(speaker) + 50 * j))
    file.with_suffix(".yaml").write_text("publish: true\n", encoding="utf-8")
    status, out, err = command("partition", file, "--publish")
    assert (status, err) == (0, "")
    assert f"published: {paths.shown(partitions.published_file('own'))}" in out
    assert "partition: the table's column 'partition'" in out
    assert f"written: {paths.shown(paths.results('own') / 'table1.csv')}" in out
    return file


def compared(table):
    return partitions.verify(manifest.build(cards.load(str(table))))


def test_the_same_corpus_agrees(table, command):
    written = pd.read_csv(partitions.published_file("own"), dtype=str)
    assert written.columns.tolist() == [*partitions.COLUMNS, partitions.LEVELS]
    comparison = compared(table)
    assert list(comparison) == [partitions.SAME]
    assert len(comparison[partitions.SAME]) == 8
    assert partitions.agrees(comparison)
    status, out, _ = command("partition", str(table), "--verify")
    assert status == 0
    assert "own: the same split as the published one\n8 files: the same samples" in out


def test_folders_and_case_of_a_copy_may_be_others(table):
    inner = table.parent / "Deep"
    inner.mkdir()
    for file in sorted(table.parent.glob("*.wav")):
        file.rename(inner / file.name.upper())
        replace_text(table, file.name, f"Deep/{file.name.upper()}")
    assert list(compared(table)) == [partitions.SAME]


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
    comparison = compared(table)
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
    assert any(words in name for name in compared(table)[kind])
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
    comparison = compared(table)
    assert comparison[partitions.DIFFERENT] == ["a0"]
    assert not partitions.agrees(comparison)


def test_what_is_not_published(table, command):
    partitions.published_file("own").unlink()
    table.with_suffix(".yaml").write_text("licence: secret\n", encoding="utf-8")
    reasons = {"--publish": "does not allow publishing", "--verify": "no partition is published"}
    for option, reason in reasons.items():
        assert_refused(command("partition", table, option), reason)


def test_the_published_partition_is_the_cards_and_a_file_list(tmp_path):
    """Only corpora whose licence allows it are published."""
    files = {file.stem for file in paths.data("partitions").glob("*.csv")}
    assert files == {"ravdess"} <= {name for name in cards.names() if cards.load(name).publish}
    card = cards.load("ravdess")
    content = partitions.published_file("ravdess").read_bytes()
    (tmp_path / partitions.FILE).write_bytes(content)
    rows = pd.read_csv(tmp_path / partitions.FILE, dtype=str)
    assert len(rows) == 1012
    assert rows["audio_hash"].is_unique
    for part, speakers in card.partition.items():
        assert set(rows["speaker"][rows["partition"] == part]) == set(speakers)
    assert rows["label"].value_counts().to_dict() == card.expected[0].counts
    wav = {path.replace(".flac", ".wav"): ("x", "angry") for path in rows["path"]}
    listed = partitions.place(card, [tmp_path], wav)
    assert (listed.partition_source, listed.problems) == ("the file list partition.csv", ())
    assert listed.table["partition"].tolist() == rows["partition"].tolist()

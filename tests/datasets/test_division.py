"""Folds: who is tested where, and which corpora have no cross-validation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite import cards, paths
from dslite.datasets import manifest, partitions
from dslite.errors import InputError

CLASSES = ("calm", "happy", "sad", "angry")


def corpus(files, **of_card):
    """Manifest of files that are not there, from pairs (speaker, label)."""
    table = pd.DataFrame(files, columns=["speaker", "label"], dtype="str")
    table["path"] = [f"{i}.wav" for i in range(len(table))]
    table["audio_hash"] = [f"{i:064x}" for i in range(len(table))]
    table["partition"] = pd.Series("train", table.index, dtype="str")
    card = cards.Card(
        **{"dataset": "made", "layout": "table", "title": "", "classes": CLASSES} | of_card
    )
    return manifest.Manifest(card, paths.ROOT, table)


def balanced(speakers=6, takes=2, **of_card):
    """Each speaker says each class."""
    files = [(f"s{s}", c) for s in range(speakers) for c in CLASSES for _ in range(takes)]
    return corpus(files, **of_card)


def parts(divided, partition="test"):
    """Paths of a partition in each fold."""
    return [set(f.table["path"][f.table["partition"] == partition]) for f in divided]


# Dividing


@st.composite
def corpora(draw):
    """A corpus of some speakers with some files of some classes each, and a number of folds."""
    speakers = draw(st.integers(3, 12))
    counts = st.lists(st.integers(0, 3), min_size=2, max_size=2)
    files = [
        (f"s{s}", name)
        for s in range(speakers)
        for name, n in zip(CLASSES[:2], draw(counts), strict=True)
        for _ in range(n)
    ]
    return corpus(draw(st.permutations(files)), classes=CLASSES[:2]), draw(st.integers(3, 6))


@settings(max_examples=150, deadline=None)
@given(corpora())
def test_each_file_is_tested_once_and_no_speaker_is_in_two_partitions(given):
    built, k = given
    try:
        divided = partitions.divide(built, k)
    except InputError:  # `test_what_is_possible_is_not_refused`
        return
    assert len(divided) == k
    for partition in ("test", "devel"):
        chosen = parts(divided, partition)
        assert sum(map(len, chosen)) == len(built.table)
        assert set.union(*chosen) == set(built.table["path"])
    assert parts(divided, "devel") == [*parts(divided)[1:], parts(divided)[0]]
    same = [column for column in built.table if column != "partition"]
    for fold in divided:
        pd.testing.assert_frame_equal(fold.table[same], built.table[same])
        assert fold.table["partition"].dtype == built.table["partition"].dtype
        assert fold.table.groupby("speaker")["partition"].nunique().eq(1).all()
        assert pd.crosstab(fold.table["partition"], fold.table["label"]).to_numpy().all()


def test_what_is_possible_is_not_refused():
    """The property above would hold of a function that refuses everything."""
    for k in (3, 4, 6):
        divided = partitions.divide(balanced(), k)
        assert [fold.fold for fold in divided] == [f"{k}folds/fold{i + 1}" for i in range(k)]


def test_the_folds_are_alike():
    divided = partitions.divide(balanced(12), 4)
    assert [len(part) for part in parts(divided)] == [24] * 4
    for fold in divided:
        tested = fold.table[fold.table["partition"] == "test"]
        assert tested["label"].value_counts().eq(6).all()
        assert tested["speaker"].nunique() == 3


def test_the_division_hangs_on_the_files_alone(rng):
    built = balanced(9)
    first = partitions.divide(built, 5)
    assert parts(first) == parts(partitions.divide(built, 5))
    mixed = built.table.assign(partition=list(rng.permutation(["train", "devel", "test"] * 24)))
    shuffled = replace(built, table=mixed.sample(frac=1, random_state=1).reset_index(drop=True))
    assert parts(first) == parts(partitions.divide(shuffled, 5))
    digests = [manifest.digest(fold) for fold in first]
    assert len(set(digests)) == 5
    assert digests == [manifest.digest(fold) for fold in partitions.divide(built, 5)]


def test_another_seed_would_divide_otherwise_and_the_source_names_it(monkeypatch):
    first = partitions.divide(balanced(9), 3)
    assert first[1].partition_source == (
        "fold 2 of 3, drawn here: stratified, by speaker (StratifiedGroupKFold), seed 0"
    )
    monkeypatch.setattr(partitions, "SEED", 1)
    other = partitions.divide(balanced(9), 3)
    assert parts(first) != parts(other)
    assert other[0].partition_source.endswith("seed 1")


def test_what_the_card_keeps_together_stays_together():
    built = corpus(
        [(f"Ses0{s}{sex}", c) for s in range(1, 6) for sex in "FM" for c in CLASSES],
        fold_group=r"(\d)[FM]",
    )
    divided = partitions.divide(built, 5)
    for fold in divided:
        tested = fold.table["speaker"][fold.table["partition"] == "test"]
        assert sorted(name[-1] for name in set(tested)) == ["F", "M"]
        assert len({name[:-1] for name in tested}) == 1
    assert r"speakers' (\d)[FM]" in divided[0].partition_source


def test_files_without_a_label_are_left_out():
    built = balanced()
    table = built.table.copy()
    table.loc[[0, 5, 9], "label"] = ""
    divided = partitions.divide(replace(built, table=table), 3)
    for fold in divided:
        assert fold.table["path"].tolist() == table.drop([0, 5, 9])["path"].tolist()
        assert fold.table.index.tolist() == list(range(45))


@pytest.mark.parametrize("values", ["spread", "few", "one"])
def test_a_regression_is_stratified_by_quantiles(rng, values):
    n = 120
    numbers = {"spread": rng.exponential(size=n), "few": rng.integers(0, 3, n), "one": np.ones(n)}
    # Speakers of one number each: without strata, some fold would get the large ones.
    numbers = np.sort(numbers[values])
    built = corpus(
        [(f"s{i // 4}", str(number)) for i, number in enumerate(numbers)],
        task="regression",
        classes=(),
    )
    divided = partitions.divide(built, 5)
    tested = [numbers[fold.table["partition"] == "test"] for fold in divided]
    assert sum(map(len, tested)) == n
    assert {len(part) for part in tested} <= set(range(16, 33))
    if values == "spread":
        medians = [np.median(part) for part in tested]
        assert max(medians) < np.quantile(numbers, 0.75)
        assert min(medians) > np.quantile(numbers, 0.25)


def test_a_regression_of_as_many_files_as_folds():
    built = corpus([(f"s{i}", str(i)) for i in range(7)], task="regression", classes=())
    assert [len(part) for part in parts(partitions.divide(built, 7))] == [1] * 7


# What is refused


def refused(built, k, *told):
    with pytest.raises(InputError) as found:
        partitions.divide(built, k)
    for text in told:
        assert text in str(found.value)


def test_without_speakers_there_is_no_cross_validation():
    built = balanced()
    table = built.table.assign(speaker="")
    refused(replace(built, table=table), 3, "made, 3 folds", "does not say who speaks, so folds")
    table = built.table.copy()
    table.loc[[3, 4], "speaker"] = ""
    refused(replace(built, table=table), 3, "in 2 of 48 files", "give every file a speaker")
    table.loc[[3, 4], "label"] = ""  # who takes no part need not be known
    assert len(partitions.divide(replace(built, table=table), 3)) == 3


@pytest.mark.parametrize("k", [-1, 0, 1, 2, 7])
def test_too_few_and_too_many_folds(k):
    refused(balanced(6), k, f"made, {k} folds", "6 speakers", "take 3 to 6 folds")


def test_two_speakers_are_too_few():
    refused(balanced(2), 3, "there are 2 speakers", "a fold needs 3")


def test_a_class_of_too_few_speakers():
    files = [(f"s{s}", c) for s in range(8) for c in CLASSES if c != "sad" or s in (1, 2, 5)]
    refused(corpus(files), 5, "'sad'", "3 speakers only", "take at most 3 folds")
    assert len(partitions.divide(corpus(files), 3)) == 3
    files = [(f"s{s}", c) for s in range(8) for c in CLASSES if c != "sad" or s < 2]
    refused(corpus(files), 3, "'sad'", "2 speakers only", "no cross-validation")


def test_a_division_that_leaves_a_partition_without_a_class(monkeypatch):
    """Nothing guarantees that the parts have every class; here they have not."""
    files = [(f"s{s}", c) for s in range(9) for c in CLASSES if c != "sad" or s < 3]
    built = corpus(files)
    in_order = built.table["speaker"].str[1:].astype(int).to_numpy() // 3
    monkeypatch.setattr(partitions, "_parts", lambda groups, strata, k: in_order)
    refused(built, 3, "made, 3 folds", "fold1 has no file of class 'sad' in", "take fewer folds")


def test_the_same_audio_under_two_speakers():
    built = balanced()
    for i, j in ((0, 1), (0, 40)):  # of one speaker, of two
        table = built.table.copy()
        table.loc[[i, j], "audio_hash"] = "same"
        copied = replace(built, table=table)
        if j == 1:
            partitions.divide(copied, 6)
        else:
            refused(copied, 6, "0.wav and 40.wav", "same audio")
    partitions.divide(replace(built, table=built.table.assign(audio_hash="")), 6)  # not decoded


@pytest.mark.parametrize(
    ("pattern", "told"),
    [(r"(\d\d)", "not in the name of speaker 's0'"), ("s", "no regular"), ("(s", "no regular")],
)
def test_a_fold_group_that_fits_nothing(pattern, told):
    refused(balanced(fold_group=pattern), 3, told, f"fold_group '{pattern}'")

"""Which files are explained: by their confidence and their name, whatever their order."""

import numpy as np
import pandas as pd
import pytest

from dslite.explanation import files
from tests.explanation.explained import a_run, predictions

CLASSES = ("calm", "happy", "sad")


def chosen(folder, rows, classes=CLASSES, partition="test"):
    """`by_rule` of a run, whose files stand in a wrong order."""
    table = predictions(rows, classes).iloc[::-1]
    return files.by_rule(a_run(folder, table, classes), partition)


def told(found):
    return list(zip(found["file"], found["rule"], strict=True))


def test_every_class_shows_its_surest_its_median_and_its_worst(tmp_path):
    rows = [
        ("devel.wav", "devel", "calm", 0.99, 0.01, 0.0),  # the wrong partition
        ("a.wav", "test", "calm", 0.6, 0.3, 0.1),
        ("b.wav", "test", "calm", 0.8, 0.1, 0.1),
        ("c.wav", "test", "calm", 0.5, 0.3, 0.2),
        ("d.wav", "test", "calm", 0.0, 0.9, 0.1),
        ("e.wav", "test", "calm", 0.04, 0.01, 0.95),
        ("f.wav", "test", "happy", 0.9, 0.1, 0.0),  # none is right
        ("g.wav", "test", "sad", 0.1, 0.2, 0.7),  # none is wrong, and one file has no median
    ]
    found = chosen(tmp_path, rows)
    assert list(found) == list(files.COLUMNS)
    assert told(found) == [
        ("b.wav", files.CONFIDENT),
        ("a.wav", files.MEDIAN),
        ("e.wav", files.WRONG),
        ("f.wav", files.WRONG),
        ("g.wav", files.CONFIDENT),
    ]
    assert found["true"].tolist() == ["calm", "calm", "calm", "happy", "sad"]
    assert found["predicted"].tolist() == ["calm", "calm", "sad", "calm", "sad"]
    np.testing.assert_allclose(found["probability"], [0.8, 0.6, 0.95, 0.9, 0.7])
    assert chosen(tmp_path, rows, partition="devel")["file"].tolist() == ["devel.wav"]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_of_an_even_number_the_median_is_the_surer_of_the_two(tmp_path, n):
    rows = [(f"{i}.wav", "test", "calm", 0.9 - i / 20, 0.0, 0.0) for i in range(n)]
    found = chosen(tmp_path, rows).set_index("rule")["file"]
    assert found[files.CONFIDENT] == "0.wav"
    if n == 2:
        assert files.MEDIAN not in found  # it would be the same file
    else:
        assert found[files.MEDIAN] == f"{(n - 1) // 2}.wav"


def test_of_equally_sure_ones_the_first_name_counts(tmp_path):
    rows = [
        (f"{name}.wav", "test", label, 0.5, 0.3, 0.2)
        for label in ("calm", "sad")
        for name in (f"{label}-c", f"{label}-a", f"{label}-b")
    ]
    assert told(chosen(tmp_path, rows)) == [
        ("calm-a.wav", files.CONFIDENT),
        ("calm-b.wav", files.MEDIAN),
        ("sad-a.wav", files.WRONG),
    ]


def test_classes_come_in_the_card_s_order(tmp_path):
    rows = [(f"{i}.wav", "test", CLASSES[i], *np.eye(3)[i]) for i in (2, 0, 1)]
    found = chosen(tmp_path, rows)
    assert found["true"].tolist() == list(CLASSES)
    other = chosen(tmp_path, [row[:3] + row[:2:-1] for row in rows], CLASSES[::-1])
    assert other["true"].tolist() == list(CLASSES[::-1])


def test_where_labels_are_blinded_nothing_is_right_or_wrong(tmp_path):
    rows = [
        ("a.wav", "test", "", 0.7, 0.2, 0.1),
        ("b.wav", "test", "", 0.9, 0.1, 0.0),
        ("c.wav", "test", "", 0.8, 0.1, 0.1),
        ("d.wav", "test", "", 0.1, 0.1, 0.8),
    ]
    found = chosen(tmp_path, rows)
    surest, median = files.UNKNOWN
    assert told(found) == [("b.wav", surest), ("c.wav", median), ("d.wav", surest)]
    assert found["true"].tolist() == [""] * 3
    assert found["predicted"].tolist() == ["calm", "calm", "sad"]


def test_of_a_regression_the_highest_the_median_and_the_largest_error(tmp_path):
    rows = [
        ("a.wav", "test", "9", 9.5),  # as text, it would be the highest
        ("b.wav", "test", "10", 10.5),
        ("c.wav", "test", "30", 8.0),
        ("d.wav", "test", "7", 7.0),
        ("e.wav", "devel", "0", 99.0),
    ]
    found = chosen(tmp_path, rows, ())
    highest, median, error = files.VALUES
    assert told(found) == [("b.wav", highest), ("a.wav", median), ("c.wav", error)]
    np.testing.assert_allclose(found["probability"], [10.5, 9.5, 8.0])
    blinded = [(file, partition, "", score) for file, partition, _, score in rows]
    assert told(chosen(tmp_path, blinded, ())) == [("b.wav", highest), ("a.wav", median)]


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_a_partition_without_files_has_no_samples(tmp_path, classes):
    scores = (0.5, 0.3, 0.2) if classes else (1.0,)
    found = chosen(tmp_path, [("a.wav", "devel", "calm" if classes else "1", *scores)], classes)
    assert found.empty
    assert list(found) == list(files.COLUMNS)


# Drawn


def test_of_each_label_the_same_number_is_drawn_as_far_as_they_last(rng):
    labels = np.array(["a"] * 50 + ["b"] * 2 + ["c"] * 20)
    for count, expected in ((3, (1, 1, 1)), (6, (2, 2, 2)), (12, (5, 2, 5)), (40, (19, 2, 19))):
        found = files.drawn_files(labels, count, rng)
        assert found.dtype == np.int64
        assert len(found) == count
        assert (np.diff(found) > 0).all()
        drawn = pd.Series(labels[found]).value_counts()
        assert tuple(drawn[name] for name in "abc") == expected
    assert sorted(drawn) == [2, 19, 19]
    uneven = [
        pd.Series(labels[files.drawn_files(labels, 7, rng)]).value_counts() for _ in range(20)
    ]
    assert {tuple(of[name] for name in "abc") for of in uneven} == {(3, 2, 2), (2, 2, 3)}


def test_fewer_than_asked_are_all(rng):
    np.testing.assert_array_equal(files.drawn_files(["a", "b", "a"], 9, rng), [0, 1, 2])
    assert files.drawn_files([], 3, rng).tolist() == []
    assert files.drawn_files(["a"], 0, rng).tolist() == []


def test_a_draw_is_its_seed_s_and_reaches_everything():
    labels = np.repeat(["a", "b"], 10)
    draws = [files.drawn_files(labels, 4, np.random.default_rng(seed)) for seed in range(40)]
    np.testing.assert_array_equal(draws[7], files.drawn_files(labels, 4, np.random.default_rng(7)))
    assert set(np.concatenate(draws)) == set(range(20))
    plain = [files.drawn_files(np.zeros(20), 4, np.random.default_rng(seed)) for seed in range(40)]
    assert set(np.concatenate(plain)) == set(range(20))
    assert any((of < 10).sum() != 2 for of in plain)

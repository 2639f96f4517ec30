"""Whole files: which are chosen, their chunks joined, both classes of a wrong one, their sounds."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite.errors import InputError
from dslite.explanation import attributions, files, methods
from dslite.models import classifier
from tests.explanation.explained import (
    CLASSES,
    PANELS,
    SIDE,
    SMALL,
    a_run,
    a_store,
    network,
    predictions,
    silent,
    waveform,
)

ROWS = [
    ("a/long.wav", "test", "calm", 2.1),  # chunks at 0, 0.75 and 1.1 s
    ("a/short.wav", "test", "happy", 0.6),
    ("one.wav", "train", "sad", 1.0),
]


def chosen(folder, rows, classes=CLASSES):
    """`choose_by_rule` of a run, whose files stand in a wrong order; files and rules."""
    table = files.choose_by_rule(a_run(folder, predictions(rows, classes).iloc[::-1], classes))
    assert list(table) == files.COLUMNS
    return table, list(zip(table["file"], table["rule"], strict=True))


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
    table, rules = chosen(tmp_path, rows)
    assert [file[0] for file, _ in rules] == list("baefg")
    wrong = [files.CONFIDENT, files.MEDIAN, files.WRONG, files.WRONG, files.CONFIDENT]
    assert [rule for _, rule in rules] == wrong
    assert table["true"].tolist() == ["calm", "calm", "calm", "happy", "sad"]
    assert table["predicted"].tolist() == ["calm", "calm", "sad", "calm", "sad"]
    np.testing.assert_allclose(table["probability"], [0.8, 0.6, 0.95, 0.9, 0.7])


def test_the_surer_median_equally_sure_ones_by_name_and_classes_in_the_card_s_order(tmp_path):
    for n in (2, 3, 4):
        rows = [(f"{i}.wav", "test", "calm", 0.9 - i / 20, 0.0, 0.0) for i in range(n)]
        expected = [("0.wav", files.CONFIDENT), ("1.wav", files.MEDIAN)]
        assert chosen(tmp_path, rows)[1] == expected[: 1 if n == 2 else 2]  # not the same twice
    names = [f"{label}-{of}" for label in ("sad", "calm") for of in "cab"]
    rows = [(name, "test", name[:-2], 0.3, 0.2, 0.5) for name in names]
    expected = ("calm-a", files.WRONG), ("sad-a", files.CONFIDENT), ("sad-b", files.MEDIAN)
    assert chosen(tmp_path, rows)[1] == list(expected)


def test_where_labels_are_blinded_nothing_is_right_or_wrong(tmp_path):
    scores = {"a": (0.7, 0.2, 0.1), "b": (0.9, 0.1, 0), "c": (0.8, 0.1, 0.1), "d": (0.1, 0.1, 0.8)}
    table, rules = chosen(tmp_path, [(name, "test", "", *of) for name, of in scores.items()])
    surest, median = files.BLINDED
    assert rules == [("b", surest), ("c", median), ("d", surest)]
    assert table["true"].tolist() == [""] * 3
    assert table["predicted"].tolist() == ["calm", "calm", "sad"]


def test_of_a_regression_the_highest_the_median_and_the_largest_error(tmp_path):
    rows = [
        ("a", "test", "9", 9.5),  # as text, it would be the highest
        ("b", "test", "10", 10.5),
        ("c", "test", "30", 8.0),
        ("d", "test", "7", 7.0),
        ("e", "devel", "0", 99.0),
    ]
    table, rules = chosen(tmp_path, rows, ())
    assert rules == list(zip("bac", files.REGRESSION, strict=True))
    np.testing.assert_allclose(table["probability"], [10.5, 9.5, 8.0])
    blinded = [(file, partition, "", score) for file, partition, _, score in rows]
    assert chosen(tmp_path, blinded, ())[1] == rules[:2]
    for row, classes in ((rows[-1], ()), (("a", "devel", "calm", 1.0, 0.0, 0.0), CLASSES)):
        assert chosen(tmp_path, [row], classes)[1] == []


def test_of_each_label_the_same_number_is_drawn_as_far_as_they_last(rng):
    labels = np.array(["a"] * 50 + ["b"] * 2 + ["c"] * 20)
    for count, expected in ((3, (1, 1, 1)), (12, (5, 2, 5)), (40, (19, 2, 19)), (99, (50, 2, 20))):
        drawn = files.draw_balanced(labels, count, rng)
        assert drawn.dtype == np.int64
        assert (np.diff(drawn) > 0).all()
        counts = pd.Series(labels[drawn]).value_counts()
        assert tuple(counts[name] for name in "abc") == expected
    assert files.draw_balanced(np.array([]), 3, rng).tolist() == []
    for labels in (np.repeat(["a", "b"], 10), np.zeros(20)):
        draws = [files.draw_balanced(labels, 4, np.random.default_rng(seed)) for seed in range(40)]
        again = files.draw_balanced(labels, 4, np.random.default_rng(7))
        np.testing.assert_array_equal(draws[7], again)
        assert set(np.concatenate(draws)) == set(range(20))
        assert all((of < 10).sum() == 2 for of in draws) == (labels.dtype != float)


def test_the_model_of_a_run_and_its_background_of_training_pictures(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BACKGROUND", 5)
    rows = [(f"{i}.wav", "train" if i else "test", CLASSES[i % 3], 1.0) for i in range(13)]
    store, whole = a_store(tmp_path, rows), network()
    run = a_run(tmp_path / "run", predictions([]), network=whole)
    model, other = (files.load_model(run, store, "blur", seed=seed) for seed in (2, 3))
    assert model.masker == "blur"
    pictures = model.pictures(store.mel)
    same = (pictures[None] == model.background[:, None]).all(axis=(2, 3, 4))
    assert same.sum(axis=1).tolist() == [1] * 5
    drawn = store.files.iloc[store.file[same.argmax(axis=1)]]
    assert set(drawn["partition"]) == {"train"}
    assert np.ptp(drawn["label"].value_counts()) <= 1
    assert not np.array_equal(model.background, other.background)
    expected = whole(classifier.inputs(store.mel, SMALL), training=False)
    np.testing.assert_allclose(model.outputs(pictures), expected, atol=1e-5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("corpus"), ROWS)


def test_a_file_of_the_corpus_is_known_and_another_is_not(store, tmp_path):
    elsewhere = tmp_path / "x.wav"
    elsewhere.touch()
    table = files.choose_by_name(store, ["one.wav", str(elsewhere), "a/long.wav"])
    assert table["file"].tolist() == ["one.wav", str(elsewhere), "a/long.wav"]
    assert table["true"].tolist() == ["sad", "", "calm"]
    assert table["rule"].tolist() == [""] * 3
    for wrong, text in (
        ("a/lon.wav", r"^a/lon\.wav: neither .* 'a/long\.wav'$"),  # the nearest
        ("?", r"^\?: neither [^']*'a/long\.wav'$"),  # and not all
        (str(store.folder / "a"), "neither"),  # a folder
    ):
        with pytest.raises(InputError, match=text):
            files.choose_by_name(store, ["one.wav", wrong])


@pytest.fixture
def explain(tiny, store, tmp_path):
    whole = network()
    table = predictions([("one.wav", "test", "sad", 0.2, 0.2, 0.6)])
    run = a_run(tmp_path / "run", table, network=whole)
    model = files.load_model(run, store)

    def call(*names, labels=None, tail="keep", **options):
        table = files.choose_by_name(store, [str(name) for name in names])
        table["true"] = labels or table["true"]
        object.__setattr__(run, "settings", SMALL.model_copy(update={"tail": tail}))
        options = {"evaluations": 20, "log": silent} | options
        return files.explain_files(run, store, model, table, **options)

    call.model, call.network = model, whole
    return call


def outputs(whole, store, row):
    chunks = np.flatnonzero(store.file == row)
    return whole(classifier.inputs(store.mel[chunks], SMALL), training=False).numpy()


@pytest.mark.parametrize("method", ["partition", "occlusion"])
def test_the_chunks_of_a_long_file_are_joined(explain, store, method):
    lines = []
    (file,) = explain("a/long.wav", method=method, log=lines.append)
    assert lines == ["explaining a/long.wav: 3 chunks"]
    mean = outputs(explain.network, store, 0).mean(axis=0)
    assert file.predicted == CLASSES[mean.argmax()]
    assert file.probability == pytest.approx(mean.max(), abs=1e-5)
    width = round(1.1 * SIDE) + SIDE
    assert file.span_s == pytest.approx((0, 2.1))
    pictures = explain.model.pictures(store.mel[:3])
    joined = attributions.stitch_pictures(pictures, [(0, 1), (0.75, 1.75), (1.1, 2.1)])
    np.testing.assert_allclose(file.picture, joined, atol=1e-3)
    explained = [CLASSES.index(name) for name in file.explanations]
    expected = np.zeros((SIDE, width))
    for picture, first in zip(pictures, (0, 24, 35), strict=True):
        part = methods.explain(method, explain.model, picture, explained, 20)[0]
        expected[:, first : first + SIDE] += part.values / 3
    np.testing.assert_allclose(file.explanations[file.predicted].values, expected, atol=1e-6)
    assert len(file.waveform) == round(2.1 * SMALL.sample_rate)


def test_a_wrong_file_is_explained_for_both_classes_and_a_right_one_for_its_own(explain, store):
    means = [outputs(explain.network, store, i).mean(axis=0) for i in range(3)]
    right = [CLASSES[mean.argmax()] for mean in means]
    wrong = next(name for name in CLASSES if name != right[0])
    explained = explain(*(row[0] for row in ROWS), labels=[wrong, *right[1:]])
    assert (explained[0].true, explained[0].predicted) == (wrong, right[0])
    classes = [list(file.explanations) for file in explained]
    assert classes == [[right[0], wrong], [right[1]], [right[2]]]  # the predicted one first
    for file, mean in zip(explained, means, strict=True):
        for name, part in file.explanations.items():
            assert part.output == pytest.approx(mean[CLASSES.index(name)], abs=1e-5)
            assert part.base + part.values.sum() == pytest.approx(part.output, abs=1e-3)
            assert abs(part.base - part.output) > 1e-4


def test_a_file_shorter_than_a_chunk_and_one_from_elsewhere(explain, store, tmp_path):
    elsewhere = tmp_path / "elsewhere.flac"
    soundfile.write(elsewhere, waveform(0.6, 290, 8000), 8000)  # at another rate
    # A run that drops short files explains one that is asked for all the same.
    short, other = explain("a/short.wav", elsewhere, tail="drop")
    for file in (short, other):
        assert (file.picture.shape, file.span_s) == ((SIDE, SIDE, 3), (0, 1))
        assert len(file.waveform) == round(0.6 * SMALL.sample_rate)
    assert (other.name, other.true, other.rule) == (str(elsewhere), "", "")
    assert list(other.explanations) == [other.predicted]
    expected, _ = soundfile.read(store.folder / "a/short.wav")
    np.testing.assert_allclose(short.waveform, expected, atol=1e-3)


def test_a_number_is_explained_as_the_prediction(tiny, store, tmp_path):
    whole = network(outputs=1, scale=(40.0, 12.0))
    run = a_run(tmp_path, predictions([("one.wav", "test", "2", 3.0)], ()), (), network=whole)
    named = files.choose_by_name(store, ["a/long.wav"])
    arguments, mean = (
        (run, store, files.load_model(run, store), named),
        outputs(whole, store, 0).mean(),
    )
    for method in methods.METHODS:
        (file,) = files.explain_files(*arguments, method=method, evaluations=10, log=silent)
        assert file.probability == pytest.approx(mean, rel=1e-4)
        assert float(file.predicted) == pytest.approx(mean, rel=1e-3)
        assert list(file.explanations) == ["prediction"]
        part = file.explanations["prediction"]
        assert part.values.shape == file.picture.shape[:2]
        assert np.abs(part.values).sum() > 0.01
        if method in ("partition", "gradient"):  # in the label's unit
            limit = 0.25 * np.abs(part.values).sum() if method == "gradient" else 1e-3
            assert part.additivity_error < limit
    assert file.title == f"calm, predicted {file.predicted}\na/long.wav"


def test_a_clip_s_picture_stands_where_it_sounds(tiny_depths, tmp_path):
    rate, quiet = PANELS.sample_rate, np.zeros(int(0.3 * PANELS.sample_rate), np.float32)
    store = a_store(tmp_path, [("a.wav", "train", "calm", 0.5)], PANELS)
    sound = np.concatenate([quiet, waveform(0.5), quiet])
    soundfile.write(tmp_path / "b.wav", sound, rate)  # 1.1 s: a chunk of 1 s and one of its end
    run = a_run(tmp_path / "run", predictions([]), settings=PANELS, network=network(PANELS))
    model = files.load_model(run, store)
    chosen = files.choose_by_name(store, [str(tmp_path / "b.wav")])
    (file,) = files.explain_files(run, store, model, chosen, evaluations=20, log=silent)
    assert file.span_s == pytest.approx((0.3, 0.8), abs=0.1)
    assert file.picture.shape[0] == PANELS.picture_shape[0]
    (part, *_) = file.explanations.values()
    assert part.values.shape == file.picture.shape[:2]
    assert part.additivity_error < 1e-4
    retained, removed = files.split_sound(file, PANELS)
    np.testing.assert_allclose(retained + removed, file.waveform, atol=1e-6)
    assert np.square(retained[: int(0.15 * rate)]).sum() < 1e-9

"""Whole files: which are chosen, their chunks joined, both classes of a wrong one, their sounds."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite.errors import InputError
from dslite.explanation import attributions, files, methods
from dslite.explanation.files import ExplainedFile
from dslite.explanation.methods import Explanation
from dslite.features import spectrogram
from dslite.models import classifier
from tests.explanation.explained import (
    CLASSES,
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


# By rule


def chosen(folder, rows, classes=CLASSES):
    """`choose_by_rule` of a run, whose files stand in a wrong order."""
    table = predictions(rows, classes).iloc[::-1]
    return files.choose_by_rule(a_run(folder, table, classes))


def pairs(table):
    return list(zip(table["file"], table["rule"], strict=True))


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
    table = chosen(tmp_path, rows)
    assert list(table) == files.COLUMNS
    assert pairs(table) == [
        ("b.wav", files.CONFIDENT),
        ("a.wav", files.MEDIAN),
        ("e.wav", files.WRONG),
        ("f.wav", files.WRONG),
        ("g.wav", files.CONFIDENT),
    ]
    assert table["true"].tolist() == ["calm", "calm", "calm", "happy", "sad"]
    assert table["predicted"].tolist() == ["calm", "calm", "sad", "calm", "sad"]
    np.testing.assert_allclose(table["probability"], [0.8, 0.6, 0.95, 0.9, 0.7])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_of_an_even_number_the_median_is_the_surer_of_the_two(tmp_path, n):
    rows = [(f"{i}.wav", "test", "calm", 0.9 - i / 20, 0.0, 0.0) for i in range(n)]
    expected = [("0.wav", files.CONFIDENT), ("1.wav", files.MEDIAN)]
    assert pairs(chosen(tmp_path, rows)) == expected[: 1 if n == 2 else 2]  # not the same twice


def test_equally_sure_ones_by_name_and_classes_in_the_card_s_order(tmp_path):
    rows = [
        (f"{name}.wav", "test", label, 0.3, 0.2, 0.5)
        for label in ("sad", "calm")
        for name in (f"{label}-c", f"{label}-a", f"{label}-b")
    ]
    assert pairs(chosen(tmp_path, rows)) == [
        ("calm-a.wav", files.WRONG),
        ("sad-a.wav", files.CONFIDENT),
        ("sad-b.wav", files.MEDIAN),
    ]


def test_where_labels_are_blinded_nothing_is_right_or_wrong(tmp_path):
    scores = {"a": (0.7, 0.2, 0.1), "b": (0.9, 0.1, 0), "c": (0.8, 0.1, 0.1), "d": (0.1, 0.1, 0.8)}
    table = chosen(tmp_path, [(f"{name}.wav", "test", "", *of) for name, of in scores.items()])
    surest, median = files.BLINDED
    assert pairs(table) == [("b.wav", surest), ("c.wav", median), ("d.wav", surest)]
    assert table["true"].tolist() == [""] * 3
    assert table["predicted"].tolist() == ["calm", "calm", "sad"]


def test_of_a_regression_the_highest_the_median_and_the_largest_error(tmp_path):
    rows = [
        ("a.wav", "test", "9", 9.5),  # as text, it would be the highest
        ("b.wav", "test", "10", 10.5),
        ("c.wav", "test", "30", 8.0),
        ("d.wav", "test", "7", 7.0),
        ("e.wav", "devel", "0", 99.0),
    ]
    table = chosen(tmp_path, rows, ())
    assert pairs(table) == list(zip(("b.wav", "a.wav", "c.wav"), files.REGRESSION, strict=True))
    np.testing.assert_allclose(table["probability"], [10.5, 9.5, 8.0])
    blinded = [(file, partition, "", score) for file, partition, _, score in rows]
    assert pairs(chosen(tmp_path, blinded, ())) == pairs(table)[:2]


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_a_partition_without_files_has_no_samples(tmp_path, classes):
    scores = (0.5, 0.3, 0.2) if classes else (1.0,)
    table = chosen(tmp_path, [("a.wav", "devel", "calm" if classes else "1", *scores)], classes)
    assert table.empty
    assert list(table) == files.COLUMNS


# Drawn


def test_of_each_label_the_same_number_is_drawn_as_far_as_they_last(rng):
    labels = np.array(["a"] * 50 + ["b"] * 2 + ["c"] * 20)
    for count, expected in ((3, (1, 1, 1)), (12, (5, 2, 5)), (40, (19, 2, 19)), (99, (50, 2, 20))):
        drawn = files.draw_balanced(labels, count, rng)
        assert drawn.dtype == np.int64
        assert (np.diff(drawn) > 0).all()
        counts = pd.Series(labels[drawn]).value_counts()
        assert tuple(counts[name] for name in "abc") == expected
    assert files.draw_balanced([], 3, rng).tolist() == []


def test_a_draw_is_its_seed_s_and_reaches_everything():
    for labels in (np.repeat(["a", "b"], 10), np.zeros(20)):
        draws = [files.draw_balanced(labels, 4, np.random.default_rng(seed)) for seed in range(40)]
        again = files.draw_balanced(labels, 4, np.random.default_rng(7))
        np.testing.assert_array_equal(draws[7], again)
        assert set(np.concatenate(draws)) == set(range(20))
        assert all((of < 10).sum() == 2 for of in draws) == (labels.dtype != float)


def test_the_model_of_a_run_and_its_background_of_training_pictures(small_run, small_store):
    model = files.load_model(small_run, small_store, "blur", seed=2)
    assert model.masker == "blur"
    assert len(model.background) == files.BACKGROUND
    chunks = small_store.chunks("train")
    train = model.pictures(small_store.mel[chunks])
    same = (train[None] == model.background[:, None]).all(axis=(2, 3, 4))
    assert same.any(axis=1).all()
    rows = small_store.file[chunks][same.argmax(axis=1)]
    counts = small_store.files["label"].iloc[rows].value_counts()
    assert counts.max() - counts.min() <= 1
    other = files.load_model(small_run, small_store, seed=3)
    assert not np.array_equal(model.background, other.background)
    network = classifier.load_classifier(files.model_file(small_run))
    inputs = classifier.inputs(small_store.mel[chunks[:3]], small_run.settings)
    np.testing.assert_allclose(model.outputs(train[:3]), network(inputs), atol=1e-5)


# By name


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("corpus"), ROWS)


def test_a_file_of_the_corpus_is_known_and_another_is_not(store, tmp_path):
    elsewhere = tmp_path / "x.wav"
    elsewhere.touch()
    table = files.choose_by_name(store, ["one.wav", str(elsewhere), "a/long.wav"])
    assert list(table) == files.COLUMNS
    assert table["file"].tolist() == ["one.wav", str(elsewhere), "a/long.wav"]
    assert table["true"].tolist() == ["sad", "", "calm"]
    assert table["rule"].tolist() == [""] * 3


def test_a_wrong_name_is_told_the_nearest_and_not_all(store):
    with pytest.raises(InputError, match=r"^a/lon\.wav: neither .* 'a/long\.wav'$"):
        files.choose_by_name(store, ["a/lon.wav"])
    with pytest.raises(InputError, match=r"^\?: neither [^']*'a/long\.wav'$"):
        files.choose_by_name(store, ["one.wav", "?"])
    with pytest.raises(InputError, match="neither"):
        files.choose_by_name(store, [str(store.folder / "a")])  # a folder


# Whole files


@pytest.fixture
def explain(tiny, store, tmp_path):
    """Explain files of a corpus of three, named as in the corpus or elsewhere."""
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
    """Keras' outputs for a file's chunks, from the store."""
    chunks = np.flatnonzero(store.file == row)
    return whole(classifier.inputs(store.mel[chunks], SMALL), training=False).numpy()


@pytest.mark.parametrize("method", ["partition", "occlusion"])
def test_the_chunks_of_a_long_file_are_joined(explain, store, method):
    lines = []
    (file,) = explain("a/long.wav", method=method, log=lines.append)
    assert lines == ["explaining a/long.wav: 3 chunks"]
    scores = outputs(explain.network, store, 0)
    mean = scores.mean(axis=0)
    best = int(mean.argmax())
    assert len(scores) == 3
    assert file.predicted == CLASSES[best]
    assert file.probability == pytest.approx(mean[best], abs=1e-5)
    width = round(1.1 * SIDE) + SIDE
    assert file.picture.shape == (SIDE, width, 3)
    assert file.seconds == pytest.approx(width / SIDE)
    pictures = explain.model.pictures(store.mel[:3])
    np.testing.assert_allclose(file.picture[:, :24], pictures[0, :, :24], atol=1e-3)
    np.testing.assert_allclose(file.picture[:, -8:], pictures[2, :, -8:], atol=1e-3)
    both = (pictures[0, :, 24:32] + pictures[1, :, :8]) / 2
    np.testing.assert_allclose(file.picture[:, 24:32], both, atol=1e-3)
    explained = [CLASSES.index(name) for name in file.explanations]
    assert explained[0] == best
    expected = np.zeros((SIDE, width))
    for picture, first in zip(pictures, (0, 24, 35), strict=True):
        part = methods.explain(method, explain.model, picture, explained, 20)[0]
        expected[:, first : first + SIDE] += part.values / 3
    np.testing.assert_allclose(file.explanations[file.predicted].values, expected, atol=1e-6)
    assert len(file.waveform) == round(2.1 * SMALL.sample_rate)


def test_a_file_s_values_lead_from_its_base_to_its_score(explain, store):
    for row, file in enumerate(explain(*(row[0] for row in ROWS))):
        mean = outputs(explain.network, store, row).mean(axis=0)
        for name, part in file.explanations.items():
            assert part.output == pytest.approx(mean[CLASSES.index(name)], abs=1e-5)
            assert part.base + part.values.sum() == pytest.approx(part.output, abs=1e-3)
            assert abs(part.base - part.output) > 1e-4


def test_a_wrong_file_is_explained_for_both_classes_and_a_right_one_for_its_own(explain, store):
    right = [CLASSES[outputs(explain.network, store, i).mean(0).argmax()] for i in (0, 1)]
    wrong = next(name for name in CLASSES if name != right[0])
    long, short = explain("a/long.wav", "a/short.wav", labels=[wrong, right[1]])
    assert (long.true, long.predicted) == (wrong, right[0])
    assert list(long.explanations) == [right[0], wrong]  # the predicted one first
    assert list(short.explanations) == [right[1]]
    best, other = (part.output for part in long.explanations.values())
    assert best > other


def test_a_file_shorter_than_a_chunk_and_one_from_elsewhere(explain, store, tmp_path):
    elsewhere = tmp_path / "elsewhere.flac"
    soundfile.write(elsewhere, waveform(0.6, 290, 8000), 8000)  # at another rate
    # A run that drops short files explains one that is asked for all the same.
    short, other = explain("a/short.wav", elsewhere, tail="drop")
    for file in (short, other):
        assert file.picture.shape == (SIDE, SIDE, 3)
        assert file.seconds == 1
        assert len(file.waveform) == round(0.6 * SMALL.sample_rate)
        assert file.sample_rate == SMALL.sample_rate
    assert (other.name, other.true, other.rule) == (str(elsewhere), "", "")
    assert list(other.explanations) == [other.predicted]
    expected, _ = soundfile.read(store.folder / "a/short.wav")
    (clip,) = files.clips(store, ["a/short.wav"], SMALL)
    for sound in (short.waveform, clip):
        np.testing.assert_allclose(sound, expected, atol=1e-3)


def test_a_file_that_is_no_audio_and_a_run_without_a_network_are_refused(explain, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"text\.wav"):
        explain(tmp_path / "text.wav")
    run = a_run(tmp_path, predictions([("one.wav", "test", "sad", 0, 0, 1)]))
    with pytest.raises(InputError, match=r"no model\.keras \(a baseline keeps none\)"):
        files.load_model(run, None)


def test_a_number_is_explained_as_the_prediction(tiny, store, tmp_path):
    whole = network(outputs=1, scale=(40.0, 12.0))
    table = predictions([("one.wav", "test", "2", 3.0)], ())
    run = a_run(tmp_path / "run", table, (), network=whole)
    model = files.load_model(run, store)
    named = files.choose_by_name(store, ["a/long.wav"])
    for method in methods.METHODS:
        options = {"method": method, "evaluations": 10, "log": silent}
        (file,) = files.explain_files(run, store, model, named, **options)
        mean = outputs(whole, store, 0).mean()
        assert file.probability == pytest.approx(mean, rel=1e-4)
        assert float(file.predicted) == pytest.approx(mean, rel=1e-3)
        assert list(file.explanations) == ["prediction"]
        assert file.explanations["prediction"].values.shape == file.picture.shape[:2]
    assert file.title == f"calm, predicted {file.predicted}\na/long.wav"


# Their sounds


def explained(values, seconds=1.25, **changed):
    fields = {"name": "a/b.wav", "rule": "", "true": "calm", "predicted": "sad"}
    fields |= {"probability": 0.876, "waveform": waveform(seconds), "seconds": 1.25}
    fields |= {"sample_rate": SMALL.sample_rate, "picture": np.zeros((SIDE, 40, 3), np.float32)}
    explanations = {"sad": Explanation(values, 0.25, 0.9), "calm": Explanation(-values, 0.0, 0.1)}
    return ExplainedFile(**fields | {"explanations": explanations} | changed)


def test_titles():
    file = explained(np.ones((SIDE, 40)))
    assert file.title == "calm, predicted sad (0.88)\na/b.wav"
    assert explained(np.ones((SIDE, 40)), true="").title == "predicted sad (0.88)\na/b.wav"


@pytest.mark.parametrize("seconds", [1.25, 0.6])
def test_both_sounds_sum_to_the_clip(rng, seconds):
    file = explained(rng.normal(size=(SIDE, 40)), seconds)
    kept, removed = files.split_sound(file, SMALL)
    assert kept.shape == removed.shape == file.waveform.shape
    np.testing.assert_allclose(kept + removed, file.waveform, atol=1e-6)


def test_what_speaks_for_the_predicted_class_is_kept():
    edges = attributions.band_edges(spectrogram.mel_frequencies(SMALL), SIDE)
    row = SIDE - int(np.searchsorted(edges, 440.0))  # of the picture, whose top is high
    values = np.zeros((SIDE, 40))
    values[max(0, row - 3) : row + 3] = 1.0  # 6 of 32 rows: less than the 20 % that are kept
    tone = np.sin(2 * np.pi * 440 * np.arange(5000) / 4000) / 4
    kept, removed = files.split_sound(explained(values, waveform=tone), SMALL)
    assert np.square(kept).sum() > 20 * np.square(removed).sum()
    kept, removed = files.split_sound(explained(-values, waveform=tone), SMALL)
    assert np.square(kept).sum() < 1e-6

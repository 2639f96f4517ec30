"""Whole files: their chunks joined, both classes of a wrong one, and what is heard of it."""

import numpy as np
import pytest
import soundfile

from dslite.errors import InputError
from dslite.explanation import attributions, methods
from dslite.explanation import files as explanation_files
from dslite.explanation.files import Heard
from dslite.explanation.methods import Explanation, Subject
from dslite.features import spectrogram
from dslite.models import classifier
from tests.explanation.explained import SIDE, SMALL, a_run, a_store, network, predictions, waveform

CLASSES = ("calm", "happy", "sad")
ROWS = [
    ("a/long.wav", "test", "calm", 2.1),  # chunks at 0, 0.75 and 1.1 s
    ("a/short.wav", "test", "happy", 0.6),
    ("one.wav", "train", "sad", 1.0),
]


@pytest.fixture
def heard_of(tiny, tmp_path):
    """Explain files of a corpus of three, named as in the corpus or elsewhere."""
    store = a_store(tmp_path / "corpus", ROWS)
    whole = network()
    table = predictions([("one.wav", "test", "sad", 0.2, 0.2, 0.6)], CLASSES)
    run = a_run(tmp_path / "run", table, CLASSES, network=whole)
    subject = explanation_files.subject(run, store)

    def hear(*files, **how):
        chosen = explanation_files.named(store, [str(file) for file in files])
        given = {"evaluations": 20, "log": how.pop("log", lambda line: None)} | how
        return explanation_files.hear(run, store, subject, chosen, **given)

    hear.store, hear.subject, hear.run, hear.network = store, subject, run, whole
    return hear


def outputs(whole, store, row):
    """What Keras says of a file's chunks, from the store."""
    chunks = np.flatnonzero(store.file == row)
    return whole(classifier.inputs(store.mel[chunks], SMALL), training=False).numpy()


# Which files


def test_a_file_of_the_corpus_is_known_and_another_is_not(tmp_path):
    store = a_store(tmp_path / "corpus", ROWS)
    elsewhere = tmp_path / "x.wav"
    soundfile.write(elsewhere, waveform(1.0), SMALL.sample_rate)
    found = explanation_files.named(store, ["one.wav", str(elsewhere), "a/long.wav"])
    assert list(found) == list(explanation_files.COLUMNS)
    assert found["file"].tolist() == ["one.wav", str(elsewhere), "a/long.wav"]
    assert found["true"].tolist() == ["sad", "", "calm"]
    assert found["rule"].tolist() == [""] * 3


def test_a_wrong_name_is_told_the_nearest_and_not_all(tmp_path):
    store = a_store(tmp_path, ROWS)
    with pytest.raises(InputError, match=r"^a/lon\.wav: neither .* 'a/long\.wav'$"):
        explanation_files.named(store, ["a/lon.wav"])
    with pytest.raises(InputError) as told:
        explanation_files.named(store, ["one.wav", "?"])
    assert "?: neither" in str(told.value)
    assert "a/short.wav" not in str(told.value)  # a corpus of thousands would fill the screen
    with pytest.raises(InputError, match="neither"):
        explanation_files.named(store, [str(tmp_path / "a")])  # a folder


def test_a_file_that_is_no_audio_is_refused(heard_of, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"text\.wav"):
        heard_of(tmp_path / "text.wav")


def test_a_run_without_a_network_cannot_be_explained(tmp_path):
    run = a_run(tmp_path, predictions([("one.wav", "test", "sad", 0, 0, 1)], CLASSES), CLASSES)
    with pytest.raises(InputError, match=r"no model\.keras \(a baseline keeps none\)"):
        explanation_files.subject(run, None)


# Whole files


@pytest.mark.parametrize("method", ["partition", "occlusion"])
def test_the_chunks_of_a_long_file_are_joined(heard_of, method):
    said = []
    (found,) = heard_of("a/long.wav", method=method, log=said.append)
    assert said == ["explaining a/long.wav: 3 chunks"]
    store, subject = heard_of.store, heard_of.subject
    scores = outputs(heard_of.network, store, 0)
    mean = scores.mean(axis=0)
    best = int(mean.argmax())
    assert len(scores) == 3
    assert found.predicted == CLASSES[best]
    assert found.probability == pytest.approx(mean[best], abs=1e-5)
    width = round(1.1 * SIDE) + SIDE
    assert found.picture.shape == (SIDE, width, 3)
    assert found.seconds == pytest.approx(width / SIDE)
    assert abs(found.seconds - 2.1) < 1 / SIDE
    pictures = subject.pictures(store.mel[:3])
    np.testing.assert_allclose(found.picture[:, :24], pictures[0, :, :24], atol=1e-3)
    np.testing.assert_allclose(found.picture[:, -8:], pictures[2, :, -8:], atol=1e-3)
    both = (pictures[0, :, 24:32] + pictures[1, :, :8]) / 2
    np.testing.assert_allclose(found.picture[:, 24:32], both, atol=1e-3)
    part = found.explained[found.predicted]
    explained = [CLASSES.index(name) for name in found.explained]
    assert explained[0] == best
    each = [methods.explain(method, subject, of, explained, 20)[0].values for of in pictures]
    expected = np.zeros((SIDE, width))
    for values, first in zip(each, (0, 24, 35), strict=True):
        expected[:, first : first + SIDE] += values / 3
    np.testing.assert_allclose(part.values, expected, atol=1e-6)
    assert part.output == pytest.approx(mean[best], abs=1e-5)
    assert len(found.waveform) == round(2.1 * SMALL.sample_rate)


def test_a_file_s_values_lead_from_its_base_to_its_score(heard_of):
    for row, found in enumerate(heard_of(*(row[0] for row in ROWS))):
        mean = outputs(heard_of.network, heard_of.store, row).mean(axis=0)
        for name, part in found.explained.items():
            assert part.output == pytest.approx(mean[CLASSES.index(name)], abs=1e-5)
            assert part.base + part.values.sum() == pytest.approx(part.output, abs=1e-3)
            assert abs(part.base - part.output) > 1e-4


def test_a_wrong_file_is_explained_for_both_classes_and_a_right_one_for_its_own(heard_of):
    said = [CLASSES[outputs(heard_of.network, heard_of.store, i).mean(0).argmax()] for i in (0, 1)]
    wrong = next(name for name in CLASSES if name != said[0])
    heard_of.store.files.loc[0, "label"] = wrong
    heard_of.store.files.loc[1, "label"] = said[1]
    long, short = heard_of("a/long.wav", "a/short.wav")
    assert (long.true, long.predicted) == (wrong, said[0])
    assert list(long.explained) == [said[0], wrong]  # the predicted one first
    assert list(short.explained) == [said[1]]
    outputs_of = [part.output for part in long.explained.values()]
    assert outputs_of[0] > outputs_of[1]


def test_a_file_shorter_than_a_chunk_and_one_from_elsewhere(heard_of, tmp_path):
    elsewhere = tmp_path / "elsewhere.flac"
    soundfile.write(elsewhere, waveform(0.6, 290, 8000), 8000)  # at another rate
    # A run that drops short files explains one that is asked for all the same.
    settings = SMALL.model_copy(update={"tail": "drop"})
    object.__setattr__(heard_of.run, "settings", settings)
    short, other = heard_of("a/short.wav", elsewhere)
    for found in (short, other):
        assert found.picture.shape == (SIDE, SIDE, 3)
        assert found.seconds == 1
        assert len(found.waveform) == round(0.6 * SMALL.sample_rate)
        assert found.sample_rate == SMALL.sample_rate
    assert (other.name, other.true, other.rule) == (str(elsewhere), "", "")
    assert list(other.explained) == [other.predicted]
    with soundfile.SoundFile(heard_of.store.folder / "a/short.wav") as file:
        np.testing.assert_allclose(short.waveform, file.read(dtype="float32"), atol=1e-3)


def test_a_number_is_explained_as_the_prediction(tiny, tmp_path):
    store = a_store(tmp_path / "corpus", [(*row[:2], str(i), row[3]) for i, row in enumerate(ROWS)])
    whole = network(outputs=1, scale=(40.0, 12.0))
    run = a_run(tmp_path / "run", predictions([("one.wav", "test", "2", 3.0)], ()), network=whole)
    subject = explanation_files.subject(run, store)
    chosen = explanation_files.named(store, ["a/long.wav"])
    for method in methods.METHODS:
        how = {"method": method, "evaluations": 10, "log": lambda line: None}
        (found,) = explanation_files.hear(run, store, subject, chosen, **how)
        mean = outputs(whole, store, 0).mean()
        assert found.probability == pytest.approx(mean, rel=1e-4)
        assert float(found.predicted) == pytest.approx(mean, rel=1e-3)
        assert list(found.explained) == ["prediction"]
        assert found.explained["prediction"].values.shape == found.picture.shape[:2]
    assert explanation_files.title(found) == f"0, predicted {found.predicted}\na/long.wav"


# What is said and heard of them


def made(values, seconds=1.0, **changed):
    given = {
        "name": "a/b.wav",
        "rule": explanation_files.WRONG,
        "true": "calm",
        "predicted": "sad",
        "probability": 0.876,
        "waveform": waveform(seconds),
        "sample_rate": SMALL.sample_rate,
        "picture": np.full((*values.shape, 3), 255, np.float32),
        "seconds": values.shape[1] / SIDE,
        "explained": {
            "sad": Explanation(values, 0.25, 0.876),
            "calm": Explanation(-values, float("nan"), 0.1),
        },
    }
    return Heard(**given | changed)


def test_rows_and_titles_of_a_picture():
    values = np.ones((SIDE, 40))
    (row,) = explanation_files.rows([made(values)])
    assert row["title"] == "calm, predicted sad (0.88)\na/b.wav"
    assert row["seconds"] == 1.25
    assert row["image"].max() == 1
    (first, one), (second, other) = row["panels"]
    assert first == "for sad\nexpected 0.25, output 0.88"
    assert second == "for calm\noutput 0.10"  # of a method whose values sum to nothing
    np.testing.assert_array_equal(one, values)
    np.testing.assert_array_equal(other, -values)
    assert explanation_files.title(made(values, true="")) == "predicted sad (0.88)\na/b.wav"


@pytest.mark.parametrize("seconds", [1.25, 0.6])
def test_what_is_heard_sums_to_the_clip(rng, seconds):
    values = rng.normal(size=(SIDE, 40))
    heard = made(values, seconds)
    kept, removed = explanation_files.split(heard, SMALL)
    assert kept.shape == removed.shape == heard.waveform.shape
    np.testing.assert_allclose(kept + removed, heard.waveform, atol=1e-6)


def test_what_speaks_for_the_predicted_class_is_kept():
    hz = spectrogram.mel_frequencies(SMALL)
    edges = attributions.band_edges(hz, SIDE)
    row = SIDE - int(np.searchsorted(edges, 440.0))  # of the picture, whose top is high
    values = np.zeros((SIDE, 40))
    values[max(0, row - 3) : row + 3] = 1.0  # 6 of 32 rows: less than the 20 % that are kept
    heard = made(values, 1.25, waveform=np.sin(2 * np.pi * 440 * np.arange(5000) / 4000) / 4)
    kept, removed = explanation_files.split(heard, SMALL)
    assert np.square(kept).sum() > 20 * np.square(removed).sum()
    against = made(-values, 1.25, waveform=heard.waveform)
    kept, removed = explanation_files.split(against, SMALL)
    assert np.square(kept).sum() < 1e-6
    part = {name: Explanation(-of.values, 0.0, 1.0) for name, of in heard.explained.items()}
    reversed_order = dict(reversed(part.items()))  # calm first
    kept, _ = explanation_files.split(made(values, 1.25, explained=reversed_order), SMALL)
    assert np.square(kept).sum() > 1e-3


def test_the_subject_is_the_run_s_own_network(heard_of):
    pictures = heard_of.subject.pictures(heard_of.store.mel[:3])
    expected = outputs(heard_of.network, heard_of.store, 0)
    np.testing.assert_allclose(heard_of.subject.outputs(pictures), expected, atol=1e-5)
    assert isinstance(heard_of.subject, Subject)
    assert len(heard_of.subject.background) == 1  # its only training chunk

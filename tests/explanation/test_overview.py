"""Summaries over a partition, counted by hand, and a scrutiny of drawn chunks."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite.explanation import attributions, faithfulness, methods, report
from dslite.explanation.methods import Explanation
from dslite.features import spectrogram
from tests.explanation.explained import SIDE, SMALL, a_run, a_store, predictions

CLASSES = ("calm", "happy", "sad")
ROWS = [
    ("long.wav", "test", "calm", 1.5),  # chunks at 0 and 0.5 s
    ("short.wav", "test", "happy", 0.5),  # half a chunk
    ("other.wav", "test", "calm", 1.0),
    ("train.wav", "train", "sad", 1.0),
]
SETTINGS = SMALL.model_copy(update={"chunk_hop_s": 0.5})
SAID = [
    ("long.wav", "test", "calm", 0.6, 0.3, 0.1),
    ("short.wav", "test", "happy", 0.7, 0.2, 0.1),
    ("other.wav", "test", "calm", 0.1, 0.1, 0.8),
    ("train.wav", "devel", "sad", 0.0, 0.0, 1.0),
]


class Pictured:
    """In a subject's place: pictures that say which spectrogram they are."""

    def pictures(self, mel):
        return mel.astype(float).sum(axis=(1, 2))


@pytest.fixture
def summarised(tmp_path, monkeypatch):
    """`summarise` of a run with values that are known for each chunk and output."""
    store = a_store(tmp_path / "corpus", ROWS, SETTINGS)
    sums = store.mel.astype(float).sum(axis=(1, 2)).tolist()
    assert len(set(sums)) == 5
    asked = []

    def partition(subject, picture, outputs, *, evaluations, seed):
        chunk = sums.index(picture)
        asked.append((chunk, outputs, evaluations, seed))
        values = np.zeros((SIDE, SIDE))
        values[:4] = 1 + chunk  # the highest of 8 bands
        values[-4:, :8] = -8.0  # the lowest one, in the first quarter
        return [Explanation(values, 0.0, values.sum() + 0.001 * chunk)]

    monkeypatch.setattr(methods, "partition", partition)

    def run(said=SAID, classes=CLASSES, **how):
        made = a_run(tmp_path / "run", predictions(said, classes), classes, SETTINGS)
        log = how.pop("log", lambda line: None)
        return report.summarise(made, store, Pictured(), log=log, **how)

    run.asked, run.folder = asked, tmp_path
    return run


def of_class(table, name):
    return table[table["class"] == name]["mean_abs"].to_numpy()


def test_a_summary_by_hand(summarised):
    found = summarised(evaluations=7, seed=5)
    # Each chunk for its file's true class; two chunks of the long file.
    assert summarised.asked == [(0, [0], 7, 5), (1, [0], 7, 5), (2, [1], 7, 5), (3, [0], 7, 5)]
    frequencies, times = found.frequencies, found.times
    assert frequencies["class"].unique().tolist() == ["calm", "happy"]
    assert frequencies.groupby("class")["files"].first().to_dict() == {"calm": 2, "happy": 1}
    # long: of 48 columns, the mean of two chunks: 16 of 0.5, 16 of 1.5, 16 of 1; below, 4 at the
    # start of each.
    long = [8 * 4 * 2 / 48, 0, 0, 0, 0, 0, 0, (0.5 + 1.5 + 1.0) / 3]
    happy = [8 * 8 / 32, 0, 0, 0, 0, 0, 0, 3.0]
    other = [8 * 8 / 32, 0, 0, 0, 0, 0, 0, 4.0]
    np.testing.assert_allclose(of_class(frequencies, "happy"), happy, atol=1e-12)
    np.testing.assert_allclose(
        of_class(frequencies, "calm"), np.mean([long, other], axis=0), atol=1e-12
    )
    edges = attributions.band_edges(spectrogram.mel_frequencies(SETTINGS), report.BANDS)
    np.testing.assert_allclose(frequencies["low_hz"][:8], edges[:-1])
    np.testing.assert_allclose(frequencies["high_hz"][:8], edges[1:])
    # short: its half chunk in ten bins of 1.6 columns, 8 columns with the low band too.
    share = 4 / SIDE
    happy = np.where(np.arange(10) < 5, (3 + 8) * share, 3 * share)
    np.testing.assert_allclose(of_class(times, "happy"), happy)
    assert len(of_class(times, "calm")) == report.TIME_BINS
    assert found.additivity_error == pytest.approx(0.003)  # of chunk 3


def test_blinded_files_are_explained_for_what_they_were_taken_for(summarised):
    said = [(file, partition, "", *scores) for file, partition, _, *scores in SAID]
    found = summarised(said)
    assert [outputs for _, outputs, _, _ in summarised.asked] == [[0], [0], [0], [2]]
    assert found.times["class"].unique().tolist() == ["calm", "sad"]


def test_a_regression_has_one_output(summarised):
    said = [(file, partition, "1.5", 2.0) for file, partition, *_ in SAID]
    found = summarised(said, ())
    assert {tuple(outputs) for _, outputs, _, _ in summarised.asked} == {(0,)}
    assert found.frequencies["class"].unique().tolist() == ["prediction"]
    assert found.frequencies["files"].unique().tolist() == [3]


def test_so_many_files_are_drawn_of_each_class_the_same_number(summarised):
    drawn = set()
    for seed in range(6):
        found = summarised(files=2, seed=seed)
        assert found.times.groupby("class")["files"].first().to_dict() == {"calm": 1, "happy": 1}
        drawn.add(tuple(chunk for chunk, *_ in summarised.asked))
        summarised.asked.clear()
    assert drawn == {(0, 1, 2), (2, 3)}
    summarised(files=99)
    assert len(summarised.asked) == 4


def test_another_partition_can_be_asked_for(summarised):
    found = summarised(partition="devel")
    assert [chunk for chunk, *_ in summarised.asked] == [4]
    assert found.times["class"].unique().tolist() == ["sad"]


def test_of_many_files_it_tells_how_far_it_is(summarised, monkeypatch):
    told = []
    summarised(SAID[:1] * 101, log=told.append)
    assert told == ["summary: 50 of 101 files", "summary: 100 of 101 files"]


def test_trimmed_files_end_where_their_sound_does(tmp_path):
    store = a_store(tmp_path, [("a.wav", "test", "calm", 0.5)])
    settings = SMALL.model_copy(update={"trim": "on"})
    found = report._duration_s(store, 0, np.array([0]), settings)
    assert 0 < found <= 0.5
    sound, rate = soundfile.read(tmp_path / "a.wav")
    silent = np.zeros(2000)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silent, sound, silent]), rate)  # 1.5 s
    longer = report._duration_s(store, 0, np.array([0]), settings)
    assert found <= longer < 0.75  # some silence stays at the ends
    assert report._duration_s(store, 0, np.array([0]), SMALL) == 0.5  # of the manifest


# A real run


def test_a_real_run_is_summarised_and_scrutinised(small_run, workplace, small_corpus):
    from dslite import cards
    from dslite.datasets import load_manifest
    from dslite.explanation import files
    from dslite.features import store as feature_store

    store = feature_store.load_spectrograms(
        load_manifest(cards.load(str(small_corpus))), small_run.settings
    )
    subject = files.subject(small_run, store)
    given = {"evaluations": 12, "log": lambda line: None}
    found = report.summarise(small_run, store, subject, files=4, **given)
    assert found.additivity_error < 1e-3
    for table, bins in ((found.frequencies, report.BANDS), (found.times, report.TIME_BINS)):
        assert table["class"].tolist() == list(np.repeat(small_run.classes, bins))
        assert (table["files"] == 1).all()
        assert (table["mean_abs"] >= 0).all()
        assert table["mean_abs"].sum() > 0
    assert found.frequencies["high_hz"].max() < small_run.settings.sample_rate / 2
    scrutiny = report.scrutinise(small_run, store, subject, pictures=2, **given)
    assert {len(of) for of in scrutiny.deletion.values()} == {2}
    table = faithfulness.table(scrutiny)
    assert table.index.tolist() == [*methods.TITLES.values(), "Random order"]
    assert table["additivity_error"].iloc[0] < faithfulness.ADDITIVITY
    assert pd.Series(table["beats_random"][:4]).isin(["both", "deletion", "insertion", "NO"]).all()


def test_scrutinised_are_drawn_chunks_of_each_class_for_what_they_are_taken_for(
    tmp_path, monkeypatch
):
    store = a_store(tmp_path / "corpus", ROWS, SETTINGS)
    run = a_run(tmp_path / "run", predictions(SAID, CLASSES), CLASSES, SETTINGS)
    taken = {}

    class Subject(Pictured):
        def outputs(self, pictures):
            return np.eye(3)[np.arange(len(pictures)) % 3]

    def assess(subject, shown, outputs, **how):
        taken.update(how, shown=shown, outputs=outputs)

    monkeypatch.setattr(faithfulness, "assess", assess)
    report.scrutinise(run, store, Subject(), pictures=2, evaluations=9, seed=1)
    sums = store.mel.astype(float).sum(axis=(1, 2))
    chunks = [int(np.flatnonzero(sums == shown)[0]) for shown in taken["shown"]]
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    assert sorted(labels) == ["calm", "happy"]
    assert taken["outputs"] == [0, 1]
    assert (taken["evaluations"], taken["seed"]) == (9, 1)

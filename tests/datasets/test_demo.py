"""The demo corpus: what it consists of, that it can be repeated, and how hard it is."""

import json
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from dslite import audio, cards, paths
from dslite.datasets import demo, listing, manifest
from dslite.features import functionals

RATE = demo.SAMPLE_RATE


@pytest.fixture(scope="module")
def card():
    return cards.load("demo")


@pytest.fixture
def one_take(monkeypatch):
    monkeypatch.setattr(demo, "TAKES", 1)


@pytest.fixture
def folder(one_take, once):
    """One take of the corpus. Tests only read it."""
    return once("one_take", lambda place: demo.generate(place / "demo")) / "demo"


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_clip_is_sound_and_follows_from_its_name(folder, card):
    table = demo.read(card, folder).table
    assert len(table) == 48
    for path in table.path:
        assert soundfile.info(folder / path).subtype == "PCM_16", path
        wave, rate = soundfile.read(folder / path, dtype="float32")
        assert (wave.ndim, rate) == (1, RATE), path
        assert 1.5 <= len(wave) / RATE <= 2.5, path
        assert np.isfinite(wave).all(), path
        assert 0.09 < np.abs(wave).max() < 0.95, path
    np.testing.assert_allclose(
        audio.read(folder / "spk05/spk05_sad_01.wav", RATE), demo.clip(5, "sad", 1), atol=2**-15
    )


def test_the_listing_is_balanced_and_speaker_independent(folder, card):
    table = demo.read(card, folder).table
    assert table.columns.tolist() == list(listing.COLUMNS)
    assert table.source_label.equals(table.label)
    assert table.path.tolist() == sorted(set(table.path))
    assert set(table.label) == set(card.classes) == set(demo.AFFECTS)
    counts = table.groupby(["partition", "label"]).size().unstack()
    assert counts.loc["test"].tolist() == [6] * 4
    assert counts.loc["train"].tolist() == counts.loc["devel"].tolist() == [3] * 4
    assert (table.groupby("speaker").partition.nunique() == 1).all()
    fewer = card.model_copy(update={"partition": {"train": ("spk01",)}})
    problems = demo.read(fewer, folder).problems
    assert len(problems) == 11
    assert "spk02_angry_01.wav: speaker spk02 is in no partition" in problems[0]


@pytest.fixture
def quick(one_take, monkeypatch):
    """A clip is made in no time, and of no voice; gives the clips that were made."""
    clips = []

    def clip(*which):
        clips.append(which)
        return np.full(9, len(clips) / 1000)

    monkeypatch.setattr(demo, "clip", clip)
    return clips


@pytest.mark.parametrize("damage", ["none", "marker", "version", "file", "no numbers"])
def test_a_corpus_that_is_not_the_whole_one_is_made_anew(tmp_path, card, quick, damage):
    folder = tmp_path / "demo"
    demo.read(card, folder)
    before = contents(folder)
    marker = folder / demo.MARKER
    if damage == "marker":
        marker.unlink()
    elif damage == "version":
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": -1}))
    elif damage == "file":
        (folder / "spk01" / "spk01_calm_01.wav").unlink()
    elif damage == "no numbers":
        marker.write_text("[]")
    quick.clear()
    demo.read(card, folder)
    assert len(quick) == (0 if damage == "none" else 48)
    assert contents(folder) == before


@pytest.mark.slow
def test_clip_statistics_learn_the_sessions_and_not_the_affects(cache, card):
    corpus = manifest.build(card)
    table, features = corpus.table, functionals.acoustic_features(corpus, RATE)
    assert table.groupby(["partition", "label"]).size().unique().tolist() == [30, 60]
    train = (table.partition == "train").to_numpy()
    late = table.path.str.contains("_(?:09|10).wav").to_numpy()

    def uar(learnt, tested):
        fitted = make_pipeline(StandardScaler(), LinearSVC(C=0.01))
        fitted.fit(features[learnt], table.label[learnt])
        predicted = fitted.predict(features[tested])
        return recall_score(table.label[tested], predicted, average="macro")

    # Chance is 0.25; in the first division both parts hold the same sessions.
    assert uar(train & ~late, train & late) > 0.8
    assert uar(train, ~train) < 0.5


def test_the_pretraining_set_is_repeatable_and_not_the_demo():
    script = paths.ROOT / "data" / "weights" / "pretrain_demo.py"
    pretrain = SimpleNamespace(**runpy.run_path(str(script)))
    waves, targets = pretrain.pretraining_set(12, seed=demo.SEED)
    again, _ = pretrain.pretraining_set(6, seed=demo.SEED)
    other, _ = pretrain.pretraining_set(6, seed=1)
    assert (waves.shape, waves.dtype) == ((12, 32000), np.float32)
    np.testing.assert_array_equal(waves[:6], again)
    assert not np.array_equal(other, again)
    assert targets.shape == (12, len(pretrain.HEADS))
    assert set(np.unique(targets)) == {0, 1, 2}
    clips = [demo.clip(number, "calm", take)[:16000] for number in (1, 7, 12) for take in (1, 2)]
    similar = [np.abs(np.corrcoef(a[:16000], b)[0, 1]) for a in waves for b in clips]
    assert max(similar) < 0.5

"""The demo corpus: what it consists of, that it can be repeated, and how hard it is."""

import json

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from dslite import audio, cards
from dslite.datasets import demo, listing

RATE = demo.SAMPLE_RATE


@pytest.fixture(scope="module")
def card():
    return cards.load("demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One take of the corpus. Tests only read it."""
    folder = tmp_path_factory.mktemp("corpus") / "demo"
    demo.generate(folder, takes=1)
    return folder


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
    assert set(table.label) == set(card.classes) == set(demo.CLASSES)
    counts = table.groupby(["partition", "label"]).size().unstack()
    assert counts.loc["train"].tolist() == [6] * 4
    assert counts.loc["devel"].tolist() == counts.loc["test"].tolist() == [3] * 4
    assert (table.groupby("speaker").partition.nunique() == 1).all()
    fewer = card.model_copy(update={"partition": {"train": ("spk01",)}})
    problems = demo.read(fewer, folder).problems
    assert len(problems) == 11
    assert "spk02_angry_01.wav: speaker spk02 is in no partition" in problems[0]


@pytest.fixture
def quick(monkeypatch):
    """A clip is made in no time, and of no voice; gives the clips that were made."""
    clips = []

    def clip(*which):
        clips.append(which)
        return np.full(9, len(clips) / 1000)

    monkeypatch.setattr(demo, "clip", clip)
    return clips


@pytest.mark.parametrize("damage", ["none", "marker", "version", "file", "takes", "no numbers"])
def test_a_corpus_that_is_not_the_whole_one_is_made_anew(tmp_path, quick, damage):
    folder = tmp_path / "demo"
    demo.generate(folder, takes=1)
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
    elif damage == "takes":
        demo.generate(folder, takes=2)
        assert len(contents(folder)) == 97
    quick.clear()
    demo.generate(folder, takes=1)
    assert len(quick) == (0 if damage == "none" else 48)
    assert contents(folder) == before


def test_an_interrupted_generation_leaves_nothing_that_looks_finished(tmp_path, card, quick):
    def interrupted(*_):
        raise KeyboardInterrupt

    folder = tmp_path / "demo"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo, "clip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo.generate(folder)
    assert list(tmp_path.iterdir()) == []
    assert len(demo.read(card, folder).table) == len(quick) == 480


# How hard the corpus is. Two opponents that know nothing of each other: one that sees only the
# mean spectrum must fail, one that sees changes over time must do well.


def mel_of(wave):
    """dB below the clip's maximum, [bands, frames]."""
    mel = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=512, hop_length=256, n_mels=40)
    return librosa.power_to_db(mel, ref=np.max)


def pitch_features(wave):
    """Slope, spread and steps of the pitch in semitones, at 100 Hz."""
    f0 = librosa.yin(wave, fmin=90, fmax=450, sr=RATE, frame_length=1024, hop_length=160)
    pitch = 12 * np.log2(f0)
    steps = pitch[4:] - pitch[:-4]
    steps = steps[np.abs(steps) < 3]
    slope = np.polyfit(np.arange(len(pitch)), pitch, 1)[0]
    spread = np.percentile(steps, [10, 25, 75, 90])
    return [slope, pitch.std(), steps.mean(), steps.std(), *spread]


@pytest.mark.slow
def test_the_corpus_is_neither_trivial_nor_impossible(tmp_path, card):
    demo.generate(tmp_path / "demo")
    table = demo.read(card, tmp_path / "demo").table
    assert table.groupby(["partition", "label"]).size().unique().tolist() == [30, 60]
    waves = [audio.read(tmp_path / "demo" / path, RATE) for path in table.path]
    mels = [mel_of(wave) for wave in waves]
    mean = np.array([mel.mean(axis=1) for mel in mels])
    moving = np.array([np.r_[mel.std(axis=1), np.diff(mel).std(axis=1)] for mel in mels])
    rich = np.hstack([mean, moving, [pitch_features(wave) for wave in waves]])
    train = (table.partition == "train").to_numpy()

    def uar(classifier, features):
        fitted = make_pipeline(StandardScaler(), classifier)
        fitted.fit(features[train], table.label[train])
        predicted = fitted.predict(features[~train])
        return recall_score(table.label[~train], predicted, average="macro")

    # Chance is 0.25; "not train" are the six speakers of devel and test.
    assert uar(KNeighborsClassifier(1), mean) < 0.5
    assert uar(LinearSVC(C=0.01), rich) > 0.6

"""The demo corpus: what it consists of, that it can be repeated, and how hard it is."""

import itertools
import json

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
    assert table.path.is_monotonic_increasing
    assert table.path.is_unique
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


def _power(wave, window, hop, size):
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
    return np.abs(np.fft.rfft(frames * np.hanning(window), size)) ** 2


def _log_mel(wave, filters):
    """dB below the clip's maximum, [frames, bands]."""
    decibels = 10 * np.log10(_power(wave, 512, 256, 512) @ filters.T + 1e-12)
    return np.maximum(decibels - decibels.max(), -80)


def _band_means(track):
    """Mean magnitude of a 100-Hz track in seven bands of modulation from 1 to 12 Hz."""
    frequencies = np.fft.rfftfreq(512, 0.01)
    magnitude = np.abs(np.fft.rfft(track - track.mean(), 512)) / np.sqrt(len(track))
    bands = itertools.pairwise([1, 2, 3, 4, 5, 6, 8, 12])
    return [magnitude[(frequencies >= a) & (frequencies < b)].mean() for a, b in bands]


def _pitch_features(wave):
    """Statistics of the pitch contour and of the loudness, each at 100 Hz."""
    # The autocorrelation of a compressed spectrum is robust against formants.
    power = _power(wave, 1024, 160, 2048)
    correlation = np.fft.irfft(power**0.35)
    lags = correlation[:, 36:170] / correlation[:, :1]
    semitones = 12 * np.log2(RATE / (lags.argmax(axis=1) + 36) / 100)
    energy = np.log(power.sum(axis=1) + 1e-9)
    periodic = lags.max(axis=1)
    voiced = (periodic > np.median(periodic)) & (energy > energy.max() - 5)
    voiced &= np.abs(semitones - np.median(semitones[voiced])) < 9
    times = np.arange(len(semitones)) / 100
    line = np.polyfit(times[voiced], semitones[voiced], 1)
    steps = (semitones[4:] - semitones[:-4])[voiced[4:] & voiced[:-4]]
    steps = steps[np.abs(steps) < 3]
    detrended = np.where(voiced, semitones - np.polyval(line, times), 0)
    return [
        line[0],
        semitones[voiced].std(),
        steps.mean(),
        steps.std(),
        *np.percentile(steps, [10, 25, 75, 90]),
        voiced.mean(),
        *_band_means(detrended),
        *np.log(_band_means(energy)),
    ]


@pytest.mark.slow
def test_the_corpus_is_neither_trivial_nor_impossible(tmp_path, card):
    import librosa

    demo.generate(tmp_path / "demo")
    table = demo.read(card, tmp_path / "demo").table
    assert table.groupby(["partition", "label"]).size().unique().tolist() == [30, 60]
    waves = [audio.read(tmp_path / "demo" / path, RATE) for path in table.path]
    filters = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40)
    mels = [_log_mel(wave, filters) for wave in waves]
    mean = np.array([mel.mean(axis=0) for mel in mels])
    moving = np.array([np.r_[mel.std(axis=0), np.diff(mel, axis=0).std(axis=0)] for mel in mels])
    rich = np.hstack([mean, moving, [_pitch_features(wave) for wave in waves]])
    train = (table.partition == "train").to_numpy()

    def uar(classifier, features):
        fitted = make_pipeline(StandardScaler(), classifier)
        fitted.fit(features[train], table.label[train])
        predicted = fitted.predict(features[~train])
        return recall_score(table.label[~train], predicted, average="macro")

    # Chance is 0.25; "not train" are the six speakers of devel and test.
    assert uar(KNeighborsClassifier(1), mean) < 0.5
    assert uar(LinearSVC(C=0.01), rich) > 0.6

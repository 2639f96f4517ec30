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

from dslite import cards
from dslite.datasets import demo, demo_voices, listing
from dslite.errors import InputError

RATE = demo.SAMPLE_RATE


@pytest.fixture(scope="module")
def card():
    return cards.load("demo")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, card):
    """The whole corpus: manifest and waveforms (float32, samples vary)."""
    folder = tmp_path_factory.mktemp("corpus") / "demo"
    demo.generate(folder)
    manifest = demo.read(card, folder).table
    assert all(soundfile.info(folder / path).subtype == "PCM_16" for path in manifest.path)
    read = [soundfile.read(folder / path, dtype="float32") for path in manifest.path]
    assert {rate for _, rate in read} == {RATE}
    return manifest, [wave for wave, _ in read]


def _contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_two_generations_are_identical_and_a_finished_one_is_left_alone(tmp_path):
    told = []
    demo.generate(tmp_path / "a", takes=1, progress=lambda done, total: told.append((done, total)))
    demo.generate(tmp_path / "b", takes=1)
    assert told[-1] == (48, 48)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")
    demo.generate(tmp_path / "a", takes=1, progress=lambda *_: pytest.fail("made anew"))


def test_a_reduced_corpus_is_the_beginning_of_the_whole_one(tmp_path, corpus):
    manifest, waves = corpus
    demo.generate(tmp_path / "few", takes=1)
    name = "spk05/spk05_sad_01.wav"
    reduced, _ = soundfile.read(tmp_path / "few" / name, dtype="float32")
    np.testing.assert_array_equal(reduced, waves[manifest.path.tolist().index(name)])


@pytest.mark.parametrize("damage", ["marker", "version", "file", "takes"])
def test_an_incomplete_or_other_corpus_is_made_anew(tmp_path, damage):
    folder = tmp_path / "demo"
    demo.generate(folder, takes=1)
    before = _contents(folder)
    marker = folder / demo.MARKER
    if damage == "marker":
        marker.unlink()
    elif damage == "version":
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": -1}))
    elif damage == "file":
        (folder / "spk01" / "spk01_calm_01.wav").unlink()
    else:
        demo.generate(folder, takes=2)
        assert len(_contents(folder)) == 97
    demo.generate(folder, takes=1)
    assert _contents(folder) == before


def test_an_interrupted_generation_leaves_nothing_that_looks_finished(tmp_path, card):
    def interrupt(done, total):
        if done == 20:
            raise KeyboardInterrupt

    folder = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt):
        demo.generate(folder, takes=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert not demo.is_complete(folder, takes=1)
    with pytest.raises(InputError, match="no finished demo corpus"):
        demo.read(card, folder)


def test_a_speaker_that_the_card_leaves_out_is_named(tmp_path, card):
    demo.generate(tmp_path / "demo", takes=1)
    fewer = card.model_copy(update={"partition": {"train": ("spk01",)}})
    found = demo.read(fewer, tmp_path / "demo")
    assert len(found.problems) == 11
    assert "spk02_angry_01.wav: speaker spk02 is in no partition" in found.problems[0]


def test_every_clip_is_sound(corpus):
    manifest, waves = corpus
    assert len(waves) == 480
    for path, wave in zip(manifest.path, waves, strict=True):
        assert wave.ndim == 1, path
        assert 1.5 <= len(wave) / RATE <= 2.5, path
        assert np.isfinite(wave).all(), path
        assert 0.09 < np.abs(wave).max() < 0.95, path


def test_the_manifest_is_balanced_and_speaker_independent(corpus, card):
    manifest, _ = corpus
    assert manifest.columns.tolist() == list(listing.COLUMNS)
    assert manifest.source_label.equals(manifest.label)
    assert manifest.path.is_monotonic_increasing
    assert manifest.path.is_unique
    assert set(manifest.label) == set(card.classes) == set(demo.CLASSES)
    counts = manifest.groupby(["partition", "label"]).size().unstack()
    assert counts.loc["train"].tolist() == [60] * 4
    assert counts.loc["devel"].tolist() == counts.loc["test"].tolist() == [30] * 4
    assert (manifest.groupby("speaker").partition.nunique() == 1).all()


@pytest.mark.parametrize(("duration_s", "rate"), [(0.3, 16000), (1.0, 22050)])
def test_synthesise_takes_other_durations_and_sample_rates(rng, duration_s, rate):
    speaker, expression = demo_voices.draw_speaker(rng), demo_voices.draw_free_expression(rng)
    wave = demo_voices.synthesise(speaker, expression, duration_s, rng, sample_rate=rate)
    assert wave.shape == (round(duration_s * rate),)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()


def test_every_drawn_cue_lies_in_its_range(rng):
    drawn = [demo_voices.draw_expression(affect, rng) for affect in demo.CLASSES for _ in range(50)]
    drawn += [demo_voices.draw_free_expression(rng) for _ in range(50)]
    for cue, (low, high) in demo_voices.CUES.items():
        assert all(low <= getattr(expression, cue) <= high for expression in drawn), cue


def test_the_pretraining_set_is_repeatable_balanced_and_not_the_demo(corpus):
    waves, targets = demo_voices.pretraining_set(12, seed=demo.SEED)
    again, _ = demo_voices.pretraining_set(6, seed=demo.SEED)
    other, _ = demo_voices.pretraining_set(6, seed=1)
    assert waves.shape == (12, 32000)
    assert waves.dtype == np.float32
    np.testing.assert_array_equal(waves[:6], again)
    assert not np.array_equal(other, again)
    assert targets.shape == (12, len(demo_voices.HEADS))
    assert set(np.unique(targets)) == {0, 1, 2}
    similar = [
        np.abs(np.corrcoef(a[:16000], b[:16000])[0, 1])
        for a, b in itertools.product(waves, corpus[1][::40])
    ]
    assert max(similar) < 0.5


def test_the_pretraining_classes_are_balanced(rng):
    heard = [
        demo_voices.audible_cues(
            demo_voices.draw_speaker(rng), demo_voices.draw_free_expression(rng)
        )
        for _ in range(2000)
    ]
    for head, edges in demo_voices.HEADS.items():
        shares = np.bincount(np.digitize([clip[head] for clip in heard], edges), minlength=3) / 2000
        assert shares.min() > 0.25, head


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


def test_the_corpus_is_neither_trivial_nor_impossible(corpus):
    import librosa

    manifest, waves = corpus
    filters = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40)
    mels = [_log_mel(wave, filters) for wave in waves]
    mean = np.array([mel.mean(axis=0) for mel in mels])
    moving = np.array([np.r_[mel.std(axis=0), np.diff(mel, axis=0).std(axis=0)] for mel in mels])
    rich = np.hstack([mean, moving, [_pitch_features(wave) for wave in waves]])
    train = (manifest.partition == "train").to_numpy()

    def uar(classifier, features):
        fitted = make_pipeline(StandardScaler(), classifier)
        fitted.fit(features[train], manifest.label[train])
        predicted = fitted.predict(features[~train])
        return recall_score(manifest.label[~train], predicted, average="macro")

    # Chance is 0.25; "not train" are the six speakers of devel and test.
    assert uar(KNeighborsClassifier(1), mean) < 0.5
    assert uar(LinearSVC(C=0.01), rich) > 0.6

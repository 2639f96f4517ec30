"""Acoustic features of known signals, of hardly any signal, and what the cache keeps."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import cards
from dslite.datasets import scan
from dslite.datasets.manifest import Manifest
from dslite.features import functionals

RATE = 16000
CHROMA = slice(120, 132)


def tone(hz, seconds=1.0, rate=RATE):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def noise(rng):
    return (0.05 * rng.standard_normal(RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "octaves"), [(1000, 2), (8000, 5), (12800, 5), (16000, 6), (48000, 6)]
)
def test_frames_are_16_ms_apart_and_octaves_fit_at_every_rate(rate, octaves):
    # Octaves of the contrast begin at 200 Hz, below half the rate.
    rows = functionals.descriptors(tone(440, 2.0, rate), rate)
    assert len(rows) == 132 + octaves + 1
    assert rows.shape[1] == pytest.approx(2 / 0.016, abs=1)
    assert rows.dtype == np.float32


def test_functionals_are_mean_and_deviation_over_time(rng):
    rows = functionals.descriptors(noise(rng), RATE)
    values = functionals.summarise(noise(np.random.default_rng(0)), RATE)
    expected = np.concatenate([rows.mean(axis=1), rows.std(axis=1)])
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_silence_at_the_ends_does_not_count(rng):
    waveform, hop = noise(rng), 512  # trimming works in steps of 32 ms
    short, long = (functionals.summarise(np.pad(waveform, n * hop), RATE) for n in (10, 40))
    np.testing.assert_allclose(short, long, rtol=1e-4, atol=1e-4)
    whole = functionals.descriptors(np.pad(waveform, 40 * hop), RATE).mean(axis=1)
    assert abs(whole[0] - long[0]) > 100


HARDLY = {
    "silence": np.zeros(RATE, np.float32),
    "20 ms": tone(440, 0.02),
    "one sample": np.ones(1, np.float32),
    "constant": np.full(RATE, 0.5, np.float32),
    "click": np.eye(1, RATE, 8000, dtype=np.float32)[0],
    "nearly nothing": np.full(RATE, 1e-30, np.float32),
}


@pytest.mark.parametrize("waveform", HARDLY.values(), ids=HARDLY)
def test_hardly_any_signal_gives_finite_numbers_and_no_warning(waveform):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = {rate: functionals.summarise(waveform, rate) for rate in (1000, 11025, 16000)}
    assert values[16000].shape == (278,)
    assert all(np.isfinite(each).all() for each in values.values())


@pytest.fixture
def built(tmp_path, cache):
    rows = []
    for name, waveform in (("a", tone(440)), ("c", tone(523.25)), ("short", tone(300, 0.02))):
        soundfile.write(tmp_path / f"{name}.wav", waveform, RATE)
        rows.append((f"{name}.wav", scan.of_file(tmp_path / f"{name}.wav").audio_hash))
    table = pd.DataFrame(rows, columns=["path", "audio_hash"])
    return Manifest(tmp_path, table, card=cards.load("demo"))


def test_features_are_computed_once_for_a_content_a_rate_and_a_version(
    built, cache, capsys, monkeypatch
):
    calls, summarise = [], functionals.summarise

    def features(rate=RATE, **columns):
        table = built.table.assign(**columns)
        return functionals.acoustic_features(replace(built, table=table), rate)

    monkeypatch.setattr(functionals, "summarise", lambda *of: calls.append(0) or summarise(*of))
    first = features()
    assert "3 files" in capsys.readouterr().out
    assert first.dtype == np.float32
    assert first[:2, CHROMA].argmax(axis=1).tolist() == [9, 0]  # in the order of the files
    np.testing.assert_array_equal(features(label=["1", "2", "3"]), first)
    assert (capsys.readouterr().out, len(calls)) == ("", 3)
    features(8000)
    features(audio_hash=built.table["audio_hash"].tolist()[::-1])
    monkeypatch.setattr(functionals, "VERSION", 0)
    features()
    stored = [path for path in cache.rglob("*") if path.is_file()]
    assert (len(stored), len(calls)) == (4, 4 * 3)
    assert all(path.match("cache/acoustics/demo/*.npy") for path in stored)

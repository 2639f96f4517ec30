"""Waveform -> Mel spectrogram -> picture, against plain numpy with librosa's filters."""

import functools

import librosa
import matplotlib
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from dslite.cards import READINGS
from dslite.datasets import demo
from dslite.features import spectrogram
from dslite.settings import Settings

RATE = 16000
ONE_S = Settings(chunk_length_s=1.0)


SIGNALS = {
    "noise": np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32),
    "sine": 0.2 * np.sin(2 * np.pi * 1234.5 * np.arange(RATE) / RATE).astype(np.float32),
    "chirp": scipy.signal.chirp(np.arange(RATE) / RATE, 50, 1, 7900).astype(np.float32) * 0.3,
    "voice": demo.clip(1, "calm", 1)[:RATE],
}


def reference_filters(settings: Settings, size: int) -> np.ndarray:
    """Mel filters [mel_bands, bins]: librosa's, on the HTK scale TensorFlow's."""
    rate, bands = settings.sample_rate, settings.mel_bands
    whole = settings.mel_norm == "slaney"
    if settings.mel_scale == "slaney":
        how = {"dtype": np.float64, "norm": "slaney" if whole else None}
        return librosa.filters.mel(sr=rate, n_fft=size, n_mels=bands, **how)
    mel = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, mel, bands + 2) / 2595) - 1)
    linear = (bands, size // 2 + 1, rate, 0.0, rate / 2, tf.float64)
    filters = tf.signal.linear_to_mel_weight_matrix(*linear).numpy().T
    return filters * (2 / (edges[2:] - edges[:-2]))[:, None] if whole else filters


def reference_power(waveform: np.ndarray, settings: Settings) -> np.ndarray:
    """Loop over frames in float64, [mel_bands, frames]."""
    rate = settings.sample_rate
    window, hop = (round(ms * rate / 1000) for ms in (settings.window_ms, settings.hop_ms))
    size = 2 ** int(np.ceil(np.log2(window)))
    taper = scipy.signal.get_window("hann", window)  # periodic
    filters = reference_filters(settings, size)
    starts = range(0, len(waveform) - window + 1, hop)
    spectra = [np.fft.rfft(taper * waveform[start : start + window], size) for start in starts]
    return filters @ np.abs(np.transpose(spectra)) ** 2


def reference_image(waveform: np.ndarray, settings: Settings) -> np.ndarray:
    """Grey levels before rounding, float64 [mel_bands, frames]."""
    waveform = np.float64(waveform)
    peak = np.abs(waveform).max()
    if peak > 0 and settings.normalise == "on":
        waveform = waveform / peak * 10 ** (-3 / 20)
    power = reference_power(waveform, settings)
    level = 10 * np.log10(np.maximum(power, settings.power_floor))
    if settings.top_db:
        level = np.maximum(level, level.max() - settings.top_db)
    span = level.max() - level.min()
    return 255 * (level - level.min()) / span if span else np.zeros_like(level)


def image(waveform: np.ndarray, settings: Settings) -> np.ndarray:
    """The project's image of one waveform, as int64 so that differences do not wrap."""
    return spectrogram.mel_image(np.float32(waveform)[None], settings).numpy()[0].astype(int)


@pytest.mark.parametrize(
    ("bands", "top", "bins"), [(40, 8e3, 257), (64, 8e3, 257), (128, 8e3, 257), (128, 1e3, 1025)]
)
def test_no_filter_is_empty(bands, top, bins):
    filters = spectrogram.bands(Settings(mel_bands=bands, mel_max_hz=top)).filters
    assert filters.shape == (bins, bands)
    assert (filters.max(axis=0) > 0).all()
    assert (filters >= 0).all()
    # All that can be heard is in some band: no bin between two filters falls out.
    assert (filters[1 : int((bins - 1) * top / 8e3)].sum(axis=1) > 0).all()


@pytest.mark.parametrize(("bands", "lowest"), [(64, 0), (128, 42)])  # wider than an FFT bin
def test_a_sine_lands_in_the_band_whose_centre_it_has(bands, lowest):
    used, centres = Settings(chunk_length_s=0.25, mel_bands=bands), librosa.mel_frequencies
    hz = spectrogram.mel_frequencies(used)
    np.testing.assert_allclose(hz, centres(n_mels=bands + 2, fmax=RATE / 2)[1:-1], rtol=1e-9)
    sines = np.sin(2 * np.pi * hz[lowest:, None] * np.arange(RATE // 4) / RATE).astype(np.float32)
    power = spectrogram.mel_power(sines, used).numpy()
    assert (power.argmax(axis=2) == np.arange(lowest, bands)[:, None]).all()


SIZES = [
    *(Settings(chunk_length_s=1.0, top_db=top_db) for top_db in (None, 80.0, 40.0)),
    Settings(chunk_length_s=0.5, window_ms=25, hop_ms=10, mel_bands=40),  # 400 of 512 samples
    Settings(chunk_length_s=0.3, window_ms=20, hop_ms=5, mel_bands=32, top_db=60),
    Settings(chunk_length_s=1.0, sample_rate=8000, mel_bands=32),
    Settings(chunk_length_s=0.5, sample_rate=22050, window_ms=46.44, hop_ms=11.61),
    Settings(chunk_length_s=0.1, window_ms=100, hop_ms=50),  # a single frame
]


@pytest.mark.parametrize(
    ("used", "name"), [(s, n) for s in SIZES for n in SIGNALS if n == "voice" or s in SIZES[:3]]
)
def test_image_is_the_references(name, used):
    waveform = SIGNALS[name][: used.chunk_samples]
    power = spectrogram.mel_power(waveform[None], used).numpy()[0]
    assert power.dtype == np.float32
    # float32 rounds away what lies 100 dB below the loudest band.
    expected = reference_power(waveform, used).T
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-10 * expected.max())
    mel = spectrogram.mel_image(waveform[None], used).numpy()[0]
    expected = reference_image(waveform, used)
    assert mel.dtype == np.uint8
    assert mel.shape == (used.mel_bands, spectrogram.frames(used)) == expected.shape
    assert (mel.min(), mel.max()) == (0, 255)
    difference = np.abs(mel - np.round(expected))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01  # where the reference lies between two grey levels


CODE = {key: READINGS["authors"][key] for key in ("mel_scale", "mel_norm")}
LEVELS = {key: READINGS["authors"][key] for key in ("normalise", "power_floor")}


ALL = CODE | LEVELS


@pytest.mark.parametrize("read", [*({key: value} for key, value in ALL.items()), ALL])
def test_each_reading_of_the_public_code_shows(read):
    """A noise at -66 dB of full scale and silence behind it, of which each setting moves values."""
    used = Settings(chunk_length_s=1.0, **read)
    waveform = np.where(np.arange(RATE) < RATE // 2, 1e-3, 0) * SIGNALS["noise"]
    difference = np.abs(image(waveform, used) - np.round(reference_image(waveform, used)))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05  # TensorFlow's triangles are straight in Mel, not in Hz
    other = image(waveform, ONE_S)
    assert np.abs(image(waveform, used) - other).mean() > 1


def test_filters_of_the_public_code_are_tensorflow_s():
    used = Settings(**CODE)
    filters, expected = spectrogram.bands(used).filters, reference_filters(used, 512).T
    assert filters.shape == expected.shape == (257, 128)
    np.testing.assert_allclose(filters, expected, atol=0.003)  # of at most 1
    assert filters.max() > 0.98
    assert (filters.any(axis=0) == expected.any(axis=0)).all()
    assert (~filters.any(axis=0)).sum() == 1  # a band between two bins
    centres = 700 * (10 ** (np.arange(1, 129) * 2840.0230467 / 129 / 2595) - 1)
    np.testing.assert_allclose(spectrogram.mel_frequencies(used), centres, rtol=1e-6)


@pytest.mark.parametrize("top_db", [None, 80.0])
def test_a_batch_is_its_samples_and_silence_is_zero(top_db):
    used = Settings(chunk_length_s=1.0, top_db=top_db)
    batch = np.stack([np.zeros(RATE, np.float32), *SIGNALS.values()])
    together = spectrogram.mel_image(batch, used).numpy().astype(int)
    assert not together[0].any()
    for mel, waveform in zip(together, batch, strict=True):
        assert np.abs(mel - image(waveform, used)).max() <= 1


@pytest.mark.parametrize("value", [1e-6, 1e-42])
def test_next_to_nothing_is_no_nan(value):
    """What resampling or a fade-out leaves: one sample, down to denormal numbers."""
    mel = image(value * np.eye(1, RATE, 5000)[0], ONE_S)
    assert mel.min() == 0
    # Two frames hold the click; nothing else may show.
    assert set(np.flatnonzero(mel.any(axis=0))) <= {18, 19}


def test_loudness_does_not_show():
    loud = image(SIGNALS["voice"], ONE_S)
    np.testing.assert_array_equal(image(-SIGNALS["voice"] / 128, ONE_S), loud)
    assert np.abs(image(0.01 * SIGNALS["voice"], ONE_S) - loud).max() <= 1  # 0.01 is rounded


def bilinear(drawn: np.ndarray, size: int) -> np.ndarray:
    """Resize [height, width, 3]: pixel centres lie at halves, the border is repeated."""
    for axis in (0, 1):
        of = np.arange(drawn.shape[axis])
        at = (np.arange(size) + 0.5) * len(of) / size - 0.5
        line = functools.partial(np.interp, at, of)
        drawn = np.apply_along_axis(line, axis, drawn)
    return drawn


@pytest.mark.parametrize(("bands", "frames", "size"), [(128, 249, 224), (16, 9, 48)])
def test_picture_is_drawn_and_resized(rng, bands, frames, size):
    """Low frequencies are at the bottom, time runs to the right."""
    mel = rng.integers(0, 256, (2, bands, frames), dtype=np.uint8)
    table = np.round(255 * np.array(matplotlib.colormaps["viridis"].colors))
    expected = [bilinear(table[values[::-1]], size) for values in mel]
    pictures = spectrogram.picture(mel, Settings(image_size=size, mel_bands=bands)).numpy()
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(pictures, expected, atol=1e-2)

"""Waveform -> Mel spectrogram -> picture: one set of TensorFlow functions for training, prediction
and TensorFlow Lite alike (paper 2.1).

TensorFlow is imported by the functions that compute with it: sizes, axes and colours do without.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import librosa
import numpy as np

from dslite.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 1  # part of the key of stored spectrograms: raise it when a stored value would change
PEAK = 10 ** (-3 / 20)  # -3 dBFS
POWER_FLOOR = 1e-10  # -100 dB: keeps the logarithm of digital silence finite


@cache
def fft_length(settings: Settings) -> int:
    """Return the FFT's length: the least power of two that holds a window and leaves no band empty.

    The device's FFT needs a power of two. Zero padding interpolates the spectrum where many Mel
    bands lie closer together than the window's own frequency bins.
    """
    length = 1 << (settings.window_samples - 1).bit_length()
    while length < 1 << 16 and not _filters(settings, length).any(axis=1).all():
        length *= 2
    return length


def _filters(settings: Settings, length: int) -> np.ndarray:
    """Return librosa's Mel filters for an FFT of some length: float32 [mel_bands, bins]."""
    with warnings.catch_warnings():  # librosa warns of empty filters, which `fft_length` avoids
        warnings.simplefilter("ignore", UserWarning)
        edges = {"fmin": settings.mel_min_hz, "fmax": settings.mel_max_hz}
        bands, rate = settings.mel_bands, settings.sample_rate
        return librosa.filters.mel(sr=rate, n_fft=length, n_mels=bands, **edges)


def frames(settings: Settings) -> int:
    """Count the STFT frames in a chunk; only windows wholly inside count (no padding)."""
    return 1 + (settings.chunk_samples - settings.window_samples) // settings.hop_samples


@cache
def mel_filters(settings: Settings) -> np.ndarray:
    """Return triangular Mel filters (Slaney's scale, area 1), float32 [bins, mel_bands].

    On the HTK scale some of 128 filters fall between two bins of a 512-point FFT: their empty bands
    sit at the floor, and min-max scaling squeezes all that is audible.
    """
    filters = _filters(settings, fft_length(settings))
    return np.ascontiguousarray(filters.T, dtype=np.float32)


def mel_frequencies(settings: Settings) -> np.ndarray:
    """Return the centre of each Mel band in Hz, float64 [mel_bands].

    Examples
    --------
    >>> mel_frequencies(Settings(mel_bands=8)).round()
    array([ 335.,  670., 1006., 1421., 2008., 2836., 4008., 5662.])
    """
    highest = settings.mel_max_hz or settings.sample_rate / 2
    edges = librosa.mel_frequencies(settings.mel_bands + 2, fmin=settings.mel_min_hz, fmax=highest)
    return edges[1:-1]


def mel_axis(mel_frequencies_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a Mel spectrogram's frequency axis, from its bands' ascending centres in Hz.

    Positions in bands, int64, -1 to mel_bands, and their Hz, float64, each [mel_bands + 2]: lower
    end, centres, upper end. Mel scales are linear at the bottom and logarithmic at the top.
    """
    centres = np.asarray(mel_frequencies_hz, dtype=float)
    low, high = 2 * centres[0] - centres[1], centres[-1] ** 2 / centres[-2]
    return np.arange(-1, len(centres) + 1), np.array([low, *centres, high])


def mel_power(waveforms: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Compute Mel power: periodic Hann window, STFT (not centred), squared magnitude, Mel filters.

    From float32 [batch, samples] to float32 [batch, frames, mel_bands].
    """
    import tensorflow as tf

    spectrum = tf.signal.stft(
        waveforms,
        frame_length=settings.window_samples,
        frame_step=settings.hop_samples,
        fft_length=fft_length(settings),
        window_fn=tf.signal.hann_window,
    )
    # Not tf.abs()**2: the square root in between costs time and precision.
    power = tf.math.square(tf.math.real(spectrum)) + tf.math.square(tf.math.imag(spectrum))
    return tf.matmul(power, tf.constant(mel_filters(settings)))


def mel_image(waveforms: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Compute the Mel spectrogram of each chunk in dB, scaled to its own range (paper 2.1).

    From float32 [batch, samples] to uint8 [batch, mel_bands, frames]: 0 (the chunk's minimum) to
    255 (its maximum), lowest frequency first. Silence is 0 everywhere.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(64000) / 16000).astype(np.float32)
    >>> mel = mel_image(tone[None], Settings()).numpy()
    >>> mel.shape
    (1, 128, 249)
    >>> round(mel_frequencies(Settings())[mel[0, :, 100].argmax()])  # the brightest band, Hz
    1006
    """
    import tensorflow as tf

    peak = tf.reduce_max(tf.abs(waveforms), axis=-1, keepdims=True)
    waveforms = waveforms * tf.math.divide_no_nan(PEAK, peak)
    power = tf.transpose(mel_power(waveforms, settings), [0, 2, 1])
    level = tf.math.log(tf.maximum(power, POWER_FLOOR)) * (10.0 / np.log(10.0))
    highest = tf.reduce_max(level, axis=[1, 2], keepdims=True)
    if settings.top_db is not None:
        level = tf.maximum(level, highest - settings.top_db)
    lowest = tf.reduce_min(level, axis=[1, 2], keepdims=True)
    scaled = tf.math.divide_no_nan(255.0 * (level - lowest), highest - lowest)
    return tf.cast(tf.round(scaled), tf.uint8)


def compiled_mel_image(settings: Settings) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """Compile `mel_image` for batches of chunks of the settings' length."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, settings.chunk_samples], tf.float32)]
    return tf.function(
        lambda waveforms: mel_image(waveforms, settings), input_signature=signature, autograph=False
    )


@cache
def colours() -> np.ndarray:
    """Return matplotlib's viridis as float32 RGB from 0 to 255 in whole steps, shape [256, 3]."""
    import matplotlib

    table = matplotlib.colormaps["viridis"](np.arange(256))[:, :3]
    return np.round(255 * table).astype(np.float32)


def picture(mel: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Draw Mel spectrograms in viridis and resize them with bilinear interpolation (paper 2.1).

    From uint8 [batch, mel_bands, frames], as `mel_image` makes it, to float32 [batch, image_size,
    image_size, 3]: RGB from 0 to 255, low frequencies at the bottom, time from left to right.
    """
    import tensorflow as tf

    drawn = tf.gather(tf.constant(colours()), tf.cast(tf.reverse(mel, axis=[1]), tf.int32))
    return tf.image.resize(drawn, [settings.image_size, settings.image_size], method="bilinear")

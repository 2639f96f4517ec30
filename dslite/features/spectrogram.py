"""Waveform -> Mel spectrogram image: one set of TensorFlow functions for training, prediction and
TensorFlow Lite alike (paper 2.1).
"""

import warnings
from functools import cache

import librosa
import matplotlib
import numpy as np
import tensorflow as tf

from dslite.settings import Settings

VERSION = 1  # part of the key of stored spectrograms: raise it when a stored value would change
PEAK = 10 ** (-3 / 20)  # -3 dBFS
POWER_FLOOR = 1e-10  # -100 dB: keeps the logarithm of digital silence finite


@cache
def fft_length(settings: Settings) -> int:
    """Length of the FFT: the smallest power of two that holds a window and leaves no band empty.

    The device's FFT needs a power of two. Where the Mel bands lie closer together than the
    window's own frequency bins (many bands below a low ``mel_max_hz``), zero padding interpolates
    the spectrum, so that every filter covers at least one bin.
    """
    length = 1 << (settings.window_samples - 1).bit_length()
    while length < 1 << 16 and not _filters(settings, length).any(axis=1).all():
        length *= 2
    return length


def _filters(settings: Settings, length: int) -> np.ndarray:
    """Librosa's Mel filters for an FFT of some length: float32 [mel_bands, bins]."""
    with warnings.catch_warnings():  # librosa warns of empty filters, which `fft_length` avoids
        warnings.simplefilter("ignore", UserWarning)
        return librosa.filters.mel(
            sr=settings.sample_rate,
            n_fft=length,
            n_mels=settings.mel_bands,
            fmin=settings.mel_min_hz,
            fmax=settings.mel_max_hz,
        )


def frames(settings: Settings) -> int:
    """STFT frames in a chunk; only windows that lie wholly inside count (no padding)."""
    return 1 + (settings.chunk_samples - settings.window_samples) // settings.hop_samples


@cache
def mel_filters(settings: Settings) -> np.ndarray:
    """Triangular Mel filters between the settings' edges, librosa's (Slaney's scale, area 1).

    On this scale no filter of 128 falls between two bins of a 512-point FFT. On the HTK scale
    some do, their empty bands sit at the floor, and min-max scaling squeezes all that is audible.

    Returns
    -------
    ndarray of float32, shape [bins, mel_bands]
    """
    filters = _filters(settings, fft_length(settings))
    return np.ascontiguousarray(filters.T, dtype=np.float32)


def mel_frequencies(settings: Settings) -> np.ndarray:
    """Centre of each Mel band in Hz, float64, shape [mel_bands]."""
    highest = settings.mel_max_hz or settings.sample_rate / 2
    edges = librosa.mel_frequencies(settings.mel_bands + 2, fmin=settings.mel_min_hz, fmax=highest)
    return edges[1:-1]


def mel_power(waveforms: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Mel power spectrogram: periodic Hann window, STFT, squared magnitude, Mel filters.

    Parameters
    ----------
    waveforms : Tensor of float32, shape [batch, samples]
    settings : Settings

    Returns
    -------
    Tensor of float32, shape [batch, frames, mel_bands]
        Frames are not centred: the first one starts at sample 0.
    """
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


def mel_image(waveforms: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Mel spectrogram of each chunk in dB, scaled to its own minimum and maximum (paper 2.1).

    Parameters
    ----------
    waveforms : Tensor of float32, shape [batch, samples]
    settings : Settings

    Returns
    -------
    Tensor of uint8, shape [batch, mel_bands, frames]
        0 to 255, lowest frequency first. Silence (maximum = minimum) is 0 everywhere.
    """
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


@cache
def colours(name: str = "viridis") -> np.ndarray:
    """A matplotlib colour map as float32 RGB from 0 to 255 in whole steps, shape [256, 3]."""
    table = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.round(255 * table).astype(np.float32)


def picture(mel: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Mel spectrograms drawn in viridis and resized with bilinear interpolation (paper 2.1).

    Parameters
    ----------
    mel : Tensor of uint8, shape [batch, mel_bands, frames]
        As `mel_image` makes it.
    settings : Settings

    Returns
    -------
    Tensor of float32, shape [batch, image_size, image_size, 3]
        RGB from 0 to 255, low frequencies at the bottom, time from left to right.
    """
    drawn = tf.gather(tf.constant(colours()), tf.cast(tf.reverse(mel, axis=[1]), tf.int32))
    return tf.image.resize(drawn, [settings.image_size, settings.image_size], method="bilinear")

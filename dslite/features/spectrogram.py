"""Waveform -> Mel spectrogram -> picture: one set of TensorFlow functions for training, prediction
and TensorFlow Lite alike (paper 2.1).

TensorFlow is imported by the functions that compute with it: sizes, axes and colours do without.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import librosa
import numpy as np

from dslite import audio
from dslite.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 3  # part of the key of stored spectrograms: raise it when a stored value would change
PEAK = 10 ** (-3 / 20)  # -3 dBFS
FILTERS = "mel_filters"  # name of the operation that applies a panel's


class Bands(NamedTuple):
    """What a panel of a picture is computed with."""

    window: int  # samples
    # Samples, a power of two (the device's FFT needs one) that holds a window and leaves no band of
    # Slaney's empty: zero padding interpolates where they lie closer than the window's own bins
    fft: int
    filters: np.ndarray  # float32 [bins, mel_bands]: triangles


@cache
def bands(settings: Settings, panel: int = 0) -> Bands:
    """Return window, FFT and filters of a panel: 0 the relative one, 1 that of absolute level.

    On the HTK scale some of 128 filters fall between two bins of a 512-point FFT: their empty bands
    sit at the floor, and min-max scaling squeezes all that is audible. Of a clip's panels each band
    has two bins at least, and the bins above the highest band are left out.
    """
    if panel:
        window = round(settings.level_window_ms / 1000 * settings.sample_rate)
        highest = min(settings.level_max_hz, settings.highest_hz)
    else:
        window, highest = settings.window_samples, settings.highest_hz
    length = 1 << (window - 1).bit_length()
    least = 2  # bins in a band
    if settings.picture == "chunk":
        least = 1 if settings.mel_scale == "slaney" else 0
    while length < 1 << 16:
        if ((_filters(settings, length, highest) > 0).sum(axis=1) >= least).all():
            break
        length *= 2
    filters = np.ascontiguousarray(_filters(settings, length, highest).T, dtype=np.float32)
    if settings.picture != "chunk":
        filters = filters[: int(np.flatnonzero(filters.any(axis=1))[-1]) + 1]
    return Bands(window, length, filters)


def _filters(settings: Settings, length: int, highest_hz: float) -> np.ndarray:
    """Return librosa's Mel filters for an FFT of some length: float32 [mel_bands, bins]."""
    with warnings.catch_warnings():  # librosa warns of empty filters, which `bands` avoids
        warnings.simplefilter("ignore", UserWarning)
        return librosa.filters.mel(
            **{"sr": settings.sample_rate, "n_fft": length, "n_mels": settings.mel_bands},
            **{"fmin": settings.mel_min_hz, "fmax": highest_hz, "htk": settings.mel_scale == "htk"},
            norm=None if settings.mel_norm == "none" else settings.mel_norm,
        )


def frames(settings: Settings) -> int:
    """Count a picture's columns before it is resized: STFT windows in a chunk, or `columns`."""
    if settings.picture != "chunk":
        return settings.columns
    return 1 + (settings.chunk_samples - settings.window_samples) // settings.hop_samples


def shape(settings: Settings) -> tuple[int, int]:
    """Return rows and columns of a stored spectrogram; of two panels the relative one is first."""
    return settings.panels * settings.mel_bands, frames(settings)


def mel_frequencies(settings: Settings, panel: int = 0) -> np.ndarray:
    """Return the centre of each Mel band of a panel in Hz, float64 [mel_bands].

    Examples
    --------
    >>> mel_frequencies(Settings(mel_bands=8)).round()
    array([ 335.,  670., 1006., 1421., 2008., 2836., 4008., 5662.])
    """
    highest = settings.highest_hz
    if panel:
        highest = min(highest, settings.level_max_hz)
    ends = {"fmin": settings.mel_min_hz, "fmax": highest, "htk": settings.mel_scale == "htk"}
    return librosa.mel_frequencies(settings.mel_bands + 2, **ends)[1:-1]


def panel_frequencies(settings: Settings) -> np.ndarray:
    """Return the `mel_frequencies` of all panels, the relative one first: [panels, mel_bands]."""
    return np.stack([mel_frequencies(settings, panel) for panel in range(settings.panels)])


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
        fft_length=bands(settings).fft,
        window_fn=tf.signal.hann_window,
    )
    # Not tf.abs()**2: the square root in between costs time and precision.
    power = tf.math.square(tf.math.real(spectrum)) + tf.math.square(tf.math.imag(spectrum))
    return tf.matmul(power, bands(settings).filters)


def levels(waveforms: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Compute the mean square of `dslite.audio.level_frames`: float32 [batch, hops]."""
    import tensorflow as tf

    frame, hop = audio.level_frames(settings.sample_rate)
    hops, samples = frame // hop + waveforms.shape[1] // hop, waveforms.shape[1]
    padded = tf.pad(waveforms, [[0, 0], [frame // 2, hops * hop - samples - frame // 2]])
    means = tf.reduce_mean(tf.reshape(tf.square(padded), [-1, hops, hop]), axis=2)
    return tf.nn.avg_pool1d(means[..., None], frame // hop, 1, "VALID")[..., 0]


def sounding(
    power: "tf.Tensor", samples: int, settings: Settings
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Find by `levels` where each chunk's sound begins and ends, in samples: float32 [batch] each.

    The same as `dslite.audio.sounding`.
    """
    import tensorflow as tf

    hop = audio.level_frames(settings.sample_rate)[1]
    power = tf.maximum(power, audio.POWER_FLOOR)
    loudest = tf.reduce_max(power, axis=1, keepdims=True)
    loud = tf.cast(power > loudest * 10 ** (-settings.trim_db / 10), tf.float32)
    hops = tf.range(1, power.shape[1] + 1, dtype=tf.float32)
    last = tf.reduce_max(loud * hops, axis=1)
    first = tf.reduce_max(loud * (power.shape[1] + 1 - hops), axis=1)
    begin, end = (power.shape[1] - first) * hop, tf.minimum(last * hop, float(samples))
    whole = end <= begin  # only the frame at the very end sounds
    return tf.where(whole, 0.0, begin), tf.where(whole, float(samples), end)


# The device's own FFT takes twice as long. Windows are therefore transformed by matrices, in two
# steps (Cooley and Tukey 1965, doi:10.1090/S0025-5718-1965-0178586-1).

STRIDE = 32  # samples; windows begin at multiples of it, so that they are gathered in rows of it


class _Transform(NamedTuple):
    """From windows [rows, STRIDE] to Mel power."""

    hann: np.ndarray  # [rows, STRIDE]
    first: np.ndarray  # [2 * f, rows]: cosines above sines times -1
    turn: tuple[np.ndarray, np.ndarray]  # [f, STRIDE] each: cosines, sines
    last: np.ndarray  # [2 * STRIDE, 2 * h]: real and imaginary parts from both
    filters: np.ndarray  # [f * h, mel_bands]


@cache
def _transform(settings: Settings, panel: int) -> _Transform:
    """Compute the matrices of a panel, all float32."""
    window, fft, filters = bands(settings, panel)
    rows, p = -(-window // STRIDE), fft // STRIDE
    hann = np.zeros(STRIDE * rows)
    period = window - window % 2  # as TensorFlow's
    hann[:window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / period)
    fast, phase, slow = np.arange(p // 2 + 1), np.arange(STRIDE), np.arange(STRIDE)
    first = 2 * np.pi * np.outer(fast, np.arange(rows)) / p
    turn = 2 * np.pi * np.outer(fast, phase) / fft
    half = -(-len(filters) // p)  # bin = fast + p * slow, the upper half of which is mirrored
    slow = slow if 2 * half >= STRIDE else np.r_[slow[:half], slow[-half:]]
    last = 2 * np.pi * np.outer(phase, slow) / STRIDE
    last = np.block([[np.cos(last), -np.sin(last)], [np.sin(last), np.cos(last)]])
    bins = (fast[:, None] + p * slow).ravel()
    bins, places = np.unique(np.minimum(bins, fft - bins), return_index=True)  # each counts once
    spread = np.zeros((len(fast) * len(slow), filters.shape[1]), np.float32)
    spread[places[: len(filters)]] = filters[bins[: len(filters)]]
    matrices = hann.reshape(rows, STRIDE), np.vstack([np.cos(first), -np.sin(first)])
    hann, first, cosines, sines, last = (
        np.float32(each) for each in (*matrices, np.cos(turn), np.sin(turn), last)
    )
    return _Transform(hann, first, (cosines, sines), last, spread)


def _stretched_power(
    waveforms: "tf.Tensor", gain: "tf.Tensor", settings: Settings
) -> list["tf.Tensor"]:
    """Compute Mel power of windows that are spread evenly over what sounds in each chunk.

    From float32 [batch, samples], of which ``gain`` [batch, 1] is applied for the first panel, to
    float32 [batch, columns, mel_bands] of each panel.
    """
    import tensorflow as tf

    of_hops = levels(waveforms, settings)
    half = max(bands(settings, panel).window for panel in range(settings.panels)) // 2
    padded = tf.pad(waveforms, [[0, 0], [half, half + (-waveforms.shape[1] - 2 * half) % STRIDE]])
    source = tf.reshape(padded, [-1, padded.shape[1] // STRIDE, STRIDE])
    panels = []
    for panel, square in zip(
        range(settings.panels), (tf.square(gain), tf.ones_like(gain)), strict=False
    ):
        begin, end = sounding(of_hops * square, waveforms.shape[1], settings)
        places = tf.constant(np.linspace(0, 1, settings.columns, dtype=np.float32))
        centres = begin[:, None] + (end - begin - 1)[:, None] * places
        first = centres + float(half - bands(settings, panel).window // 2)
        rows = tf.cast(tf.round(first / STRIDE), tf.int32)
        transform = _transform(settings, panel)
        power = tf.matmul(_power(source, rows, transform), transform.filters, name=FILTERS)
        panels.append(power * square[..., None])
    return panels


def _power(source: "tf.Tensor", first: "tf.Tensor", transform: _Transform) -> "tf.Tensor":
    """Compute the squared magnitude of windows: float32 [batch, n, f * h].

    ``source`` [batch, rows, STRIDE] are samples, ``first`` int32 [batch, n] the windows' rows.
    """
    import tensorflow as tf

    rows, f = len(transform.hann), len(transform.turn[0])
    windows = tf.gather(source, first[..., None] + tf.range(rows), batch_dims=1)
    x = tf.matmul(transform.first, windows * transform.hann)
    (real, imaginary), (cosines, sines) = (x[..., :f, :], x[..., f:, :]), transform.turn
    turned = [real * cosines + imaginary * sines, imaginary * cosines - real * sines]
    x = tf.square(tf.matmul(tf.concat(turned, axis=-1), transform.last))
    middle = x.shape[-1] // 2
    return tf.reshape(x[..., :middle] + x[..., middle:], [-1, first.shape[1], f * middle])


def _decibels(power: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """From power [batch, frames, bands] to dB [batch, bands, frames]."""
    import tensorflow as tf

    power = tf.transpose(power, [0, 2, 1])
    return tf.math.log(tf.maximum(power, settings.power_floor)) * (10.0 / np.log(10.0))


def mel_image(waveforms: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Compute the Mel spectrogram of each chunk in dB, scaled to its own range (paper 2.1).

    From float32 [batch, samples] to uint8 [batch, rows, columns] (see `shape`): 0 (the chunk's
    minimum) to 255 (its maximum), lowest frequency first. Silence is 0 everywhere. A second panel
    has an absolute scale instead: 255 is the level of a sine of full scale in the lowest band.

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
    gain = tf.math.divide_no_nan(PEAK, peak) if settings.normalise == "on" else tf.ones_like(peak)
    if settings.picture == "chunk":
        panels = [mel_power(waveforms * gain, settings)]
    else:
        panels = _stretched_power(waveforms, gain, settings)
    level = _decibels(panels[0], settings)
    highest = tf.reduce_max(level, axis=[1, 2], keepdims=True)
    if settings.top_db is not None:
        level = tf.maximum(level, highest - settings.top_db)
    lowest = tf.reduce_min(level, axis=[1, 2], keepdims=True)
    scaled = tf.math.divide_no_nan(255.0 * (level - lowest), highest - lowest)
    if settings.panels > 1:
        level = _decibels(panels[1], settings)
        share = 1.0 + (level - full_scale_db(settings)) / settings.level_range_db
        scaled = tf.concat([scaled, 255.0 * tf.clip_by_value(share, 0.0, 1.0)], axis=1)
    return tf.cast(tf.round(scaled), tf.uint8)


def full_scale_db(settings: Settings) -> float:
    """Return the level of a sine of full scale in the lowest bands of the second panel, dB."""
    used = bands(settings, 1)
    # The Hann window's mean is 1/2, and half of a sine's amplitude lies at its frequency.
    return float(10 * np.log10((used.window / 4) ** 2 * used.filters.max()))


def compiled_mel_image(settings: Settings) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """Compile `mel_image` for batches of chunks of the settings' length."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, settings.chunk_samples], tf.float32)]
    return tf.function(
        lambda waveforms: mel_image(waveforms, settings), input_signature=signature, autograph=False
    )


@cache
def colours(panel: int = 0) -> np.ndarray:
    """Return a panel's colours as float32 RGB from 0 to 255 in whole steps, shape [256, 3].

    Those of the first panel are matplotlib's viridis, those of a second one gray.
    """
    if panel:
        return np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, axis=1)
    import matplotlib

    table = matplotlib.colormaps["viridis"](np.arange(256))[:, :3]
    return np.round(255 * table).astype(np.float32)


def picture(mel: "tf.Tensor", settings: Settings) -> "tf.Tensor":
    """Draw Mel spectrograms in viridis and resize them with bilinear interpolation (paper 2.1).

    From uint8 [batch, rows, columns], as `mel_image` makes it, to float32 [batch, height, width,
    3]: RGB from 0 to 255, low frequencies at the bottom, time from left to right. A clip's picture
    is not resized; its second panel, below, is gray.
    """
    import tensorflow as tf

    # Rows and shades of all panels at once: the device is slow at parts, turns and repetitions.
    panels, height = settings.panels, settings.mel_bands
    rows = np.arange(panels * height).reshape(panels, height)[:, ::-1].ravel()
    shades = tf.cast(tf.gather(mel, rows, axis=1), tf.int32)
    if panels > 1:
        shades += np.repeat(256 * np.arange(panels, dtype=np.int32), height)[:, None]
    drawn = tf.gather(np.concatenate([colours(panel) for panel in range(panels)]), shades)
    if settings.picture == "chunk":
        return tf.image.resize(drawn, settings.picture_shape, method="bilinear")
    return tf.ensure_shape(drawn, [None, *settings.picture_shape, 3])

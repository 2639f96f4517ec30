"""Fingerprints: what a recording is recognised by at another rate, loudness, encoding or cut.

A fingerprint holds the syllables of a recording, the peaks of its loudness: when each one is, and
the shape of the spectrogram around it. Two files are of one recording where most of their syllables
are alike and equally far apart.
"""

import base64
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import fft

LEVELS_RATE = 8000  # Hz: what a corpus at 16 kHz and its original at 48 kHz have in common
LEVELS_PARTS = 16
LEVELS_FLOOR = -60.0  # dB of full scale: below it, dither and encoders decide

WINDOW, HOP = 0.048, 0.016  # s
BANDS = 20
LOWEST_HZ, HIGHEST_HZ = 150, 3400  # telephone speech still has them
SILENCE = 1e-7  # power of a frame
RANGE = 30.0  # dB below the loudest: what is fainter, noise and encoders decide
SMOOTHING = 5  # hops over which a syllable's loudness is taken
APART = 12  # hops between two syllables at least
MOST = 8  # syllables: the loudest
HALF = 16  # hops of a syllable's surroundings, to each side
SHAPE = (10, 8)  # coefficients that are stored: over time, over frequency
STEADY = 1.0  # dB: a sound that varies less (a tone, a hum) has no shape
SYLLABLE = np.dtype([("at", "<u4"), ("shape", "i1", SHAPE[0] * SHAPE[1])])

ALIKE = 0.9  # cosine of the shapes of two syllables that may be the same one
JITTER = 20  # ms by which a syllable may move
SINGLE, SEVERAL = 0.99, 0.965  # mean cosine that recognises a file by one syllable, by three
ROWS = 2048  # syllables that are compared with all later ones at a time


def loudness_levels(waveform: np.ndarray) -> np.ndarray:
    """Compute the levels by which a recording is recognised at another rate or encoding.

    Takes float32 [samples] at `LEVELS_RATE`; returns the RMS of equal parts in dB of full scale, at
    least `LEVELS_FLOOR`, float64 [`LEVELS_PARTS`].

    Examples
    --------
    >>> loudness_levels(np.repeat([1.0, 0.1], 8000))[[0, -1]].round(1)
    array([  0., -20.])
    """
    edges = np.linspace(0, len(waveform), LEVELS_PARTS + 1).round().astype(int)
    parts = [waveform[a:b].astype(np.float64) for a, b in pairwise(edges)]
    power = np.array([np.mean(part**2) if part.size else 0.0 for part in parts])
    return np.maximum(LEVELS_FLOOR, 10 * np.log10(np.maximum(power, 1e-12)))


class Spectrogram:
    """Gather the power in `BANDS` of an audio file at any rate, block by block."""

    def __init__(self, sample_rate: int, channels: int):
        self._hop = HOP * sample_rate
        length = round(WINDOW * sample_rate)
        self._window = np.hanning(length + 1)[:-1].astype(np.float32)
        mels = np.linspace(*(np.log1p(hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ)), BANDS + 1)
        bins = fft.rfftfreq(length, 1 / sample_rate)
        band = np.searchsorted(700 * np.expm1(mels), bins, side="right") - 1
        self._bins = np.flatnonzero((band >= 0) & (band < BANDS))
        self._bands = (band[self._bins, None] == np.arange(BANDS)).astype(np.float32)
        self._rest = np.zeros((length, channels), np.float32)  # so that the first sound fades in
        self._first, self._frames, self._power = 0, 0, []  # sample of the rest, frames so far

    def add(self, block: np.ndarray) -> None:
        """Take the next samples: float [frames, channels]."""
        samples = np.concatenate([self._rest, block.astype(np.float32)])
        length = len(self._window)
        last = int((self._first + len(samples) - length) / self._hop)
        starts = np.arange(self._frames, last + 1) * self._hop
        starts = np.round(starts).astype(int) - self._first
        starts = starts[starts <= len(samples) - length]
        if not len(starts):
            self._rest = samples
            return
        power = np.zeros((len(starts), BANDS), np.float32)
        for channel in samples.T:  # summed, so that channels that cancel are heard, too
            frames = np.lib.stride_tricks.sliding_window_view(channel, length)[starts]
            bins = fft.rfft(frames * self._window)[:, self._bins]
            power += (np.square(bins.real) + np.square(bins.imag)) @ self._bands
        self._power.append(power)
        self._frames += len(starts)
        done = max(0, round(self._frames * self._hop) - self._first)
        self._rest, self._first = samples[done:], self._first + done

    def levels(self) -> np.ndarray:
        """Return the levels in dB to the end of the audio: float32 [frames, BANDS]."""
        self.add(np.zeros((len(self._window), self._rest.shape[1])))
        power = np.concatenate([*self._power, np.zeros((0, BANDS), np.float32)])
        return 10 * np.log10(np.maximum(power, 1e-9))


def of_levels(levels: np.ndarray) -> str:
    """Make the fingerprint of a recording from its `Spectrogram.levels`: `SYLLABLE`s in Base64.

    It is empty where nothing sounds, or nothing changes.
    """
    power = 10 ** (levels / 10)
    kernel = np.hanning(SMOOTHING + 2)[1:-1]
    loudness = np.log(np.convolve(power.sum(axis=1), kernel / kernel.sum(), "same") + 1e-9)
    around = np.pad(loudness, APART, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(around, 2 * APART + 1).max(axis=1)
    lowest = max(loudness.max() - 2 / 3 * RANGE * np.log(10) / 10, np.log(SILENCE))
    peaks = np.flatnonzero((loudness == highest) & (loudness > lowest))
    peaks = np.sort(peaks[np.argsort(-loudness[peaks], kind="stable")[:MOST]])
    before, top, after = (np.pad(loudness, 1, mode="edge")[peaks + i] for i in range(3))
    curve = before - 2 * top + after
    # Between the frames: a parabola's peak, so that a copy may begin anywhere.
    shift = np.divide(before - after, 2 * curve, out=np.zeros_like(top), where=curve < -1e-6)
    at = peaks + np.clip(shift, -0.5, 0.5)
    shapes, varied = _shapes(levels, at)
    syllables = np.zeros(varied.sum(), SYLLABLE)
    syllables["at"], syllables["shape"] = np.round(1000 * HOP * at[varied]), shapes[varied]
    return base64.b64encode(syllables.tobytes()).decode()


def _shapes(levels: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shapes of a spectrogram around frames, int8 [frames, coefficients], and which are any."""
    place = at[:, None] + np.arange(-HALF, HALF + 1)
    before = np.floor(place).astype(int)
    share = (place - before)[..., None]
    padded = np.pad(levels, ((HALF + 1, HALF + 2), (0, 0)), constant_values=levels.min() - RANGE)
    first, second = padded[before + HALF + 1], padded[before + HALF + 2]
    floor = first.max(axis=(1, 2), keepdims=True) - RANGE
    level = (1 - share) * np.maximum(first, floor) + share * np.maximum(second, floor)
    # What is silent, or beyond the file's ends, counts for nothing.
    inside = ((before >= 0) & (before + 1 < len(levels)))[..., None]
    loud = inside * (level.max(axis=2, keepdims=True) - floor)
    weight = np.hanning(2 * HALF + 3)[1:-1, None] * np.maximum(loud, 1e-6)
    weight = weight / weight.sum(axis=1, keepdims=True)
    level = (level - (weight * level).sum(axis=1, keepdims=True)) * np.sqrt(weight)
    varied = np.sqrt(np.square(level).sum(axis=(1, 2)) / BANDS) >= STEADY
    shapes = fft.dctn(level, axes=(1, 2), norm="ortho")[:, : SHAPE[0], : SHAPE[1]]
    shapes = shapes.reshape(len(at), SHAPE[0] * SHAPE[1])
    size = np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-9)
    return np.clip(np.round(254 * shapes / size), -127, 127).astype(np.int8), varied


def near_duplicates(fingerprints: Sequence[str]) -> list[tuple[int, int]]:
    """List pairs of files that are one recording, by place: (earlier, later), sorted."""
    each = [np.frombuffer(base64.b64decode(text), SYLLABLE) for text in fingerprints]
    counts = np.array([len(one) for one in each], int)
    if counts.sum() < 2:
        return []
    every, file = np.concatenate(each), np.repeat(np.arange(len(each)), counts)
    at, shapes = every["at"].astype(int), every["shape"].astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    parts = []
    for first in range(0, len(shapes), ROWS):
        cosine = shapes[first : first + ROWS] @ shapes[first:].T
        one, other = np.nonzero(cosine > ALIKE)
        value, one, other = cosine[one, other], one + first, other + first
        later = file[one] < file[other]
        columns = (file[one], file[other], one, other, value)
        parts.append(pd.DataFrame({i: column[later] for i, column in enumerate(columns)}))
    pairs = pd.concat(parts, ignore_index=True)
    pairs.columns = ["one", "other", "syllable", "as", "cosine"]
    pairs["moved"] = at[pairs["as"]] - at[pairs["syllable"]]
    both = ["one", "other"]
    # The shift of the most alike syllables is that of the files.
    best = pairs.loc[pairs.groupby(both)["cosine"].idxmax(), [*both, "moved"]]
    pairs = pairs.merge(best, on=both, suffixes=("", "_best"))
    pairs = pairs[(pairs["moved"] - pairs["moved_best"]).abs() <= JITTER]
    alike = pairs.groupby(both)["cosine"].agg(["size", "mean"]).reset_index()
    fewer = np.minimum(counts[alike["one"]], counts[alike["other"]])
    step = (SINGLE - SEVERAL) / 2
    needed = np.maximum(SEVERAL, SINGLE - step * (alike["size"] - 1))
    alike = alike[(2 * alike["size"] > fewer) & (alike["mean"] >= needed)]
    return sorted(zip(alike["one"].tolist(), alike["other"].tolist(), strict=True))

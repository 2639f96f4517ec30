"""Fingerprints: what a recording is recognised by at another rate, loudness, encoding or cut.

A fingerprint holds the syllables of a recording, the peaks of its loudness: when each one is, and
the shape of the spectrogram around it. Two files are of one recording where most of their syllables
are alike and equally far apart.
"""

import base64
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from scipy import fft
from threadpoolctl import threadpool_limits

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
FRAMES = 64  # transformed at a time: they stay in the cache, and BLAS starts no threads
STEADY = 1.0  # dB: a sound that varies less (a tone, a hum) has no shape
SYLLABLE = np.dtype([("at", "<u4"), ("shape", "i1", SHAPE[0] * SHAPE[1])])
KERNEL = np.hanning(SMOOTHING + 2)[1:-1]
KERNEL = KERNEL / KERNEL.sum()
TAPER = np.hanning(2 * HALF + 3)[1:-1, None]
# Discrete cosine transforms, of which only so many coefficients are needed
OVER_TIME = fft.dct(np.eye(2 * HALF + 1), norm="ortho", axis=0)[: SHAPE[0]]
OVER_BANDS = fft.dct(np.eye(BANDS), norm="ortho", axis=0)[: SHAPE[1]].T

ALIKE = 0.9  # cosine of the shapes of two syllables that may be the same one
JITTER = 20  # ms by which a syllable may move
SINGLE, SEVERAL = 0.99, 0.965  # mean cosine that recognises a file by one syllable, by three
COARSE = 16  # principal components of the shapes in which neighbours are searched
ROWS = 256  # syllables that are compared with as many others at a time
MOST_NEIGHBOURS = 16  # earlier ones of a syllable: of a beep in every file, only the first


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


@functools.cache
def _bands(sample_rate: int) -> tuple[np.ndarray, slice, np.ndarray]:
    """Window [samples], the bins that are heard, and which band has which, [bins, BANDS]."""
    length = round(WINDOW * sample_rate)
    mels = np.linspace(*(np.log1p(hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ)), BANDS + 1)
    band = np.searchsorted(
        700 * np.expm1(mels), fft.rfftfreq(length, 1 / sample_rate), side="right"
    )
    bins = slice(*np.searchsorted(band, [1, BANDS + 1]))
    bands = (band[bins, None] == np.arange(1, BANDS + 1)).astype(np.float32)
    return np.hanning(length + 1)[:-1].astype(np.float32), bins, bands


class Spectrogram:
    """Gather the power in `BANDS` of an audio file at any rate, block by block."""

    def __init__(self, sample_rate: int, channels: int):
        self._hop = HOP * sample_rate
        self._window, self._bins, self._bands = _bands(sample_rate)
        # So that the first sound fades in
        self._rest = np.zeros((len(self._window), channels), np.float32)
        self._first, self._frames, self._power = 0, 0, []  # sample of the rest, frames so far

    def add(self, block: np.ndarray) -> None:
        """Take the next samples: float [frames, channels]."""
        self._transform()  # those before it: a file of one block is transformed once
        self._rest = np.concatenate([self._rest, block], dtype=np.float32)

    def _transform(self) -> None:
        """Turn the samples that are there into powers, but for those of the next frame."""
        samples, length = self._rest, len(self._window)
        last = int((self._first + len(samples) - length) / self._hop)
        starts = np.arange(self._frames, last + 1) * self._hop
        starts = np.round(starts).astype(int) - self._first
        starts = starts[starts <= len(samples) - length]
        for part in (starts[i : i + FRAMES] for i in range(0, len(starts), FRAMES)):
            power = np.zeros((len(part), BANDS), np.float32)
            for channel in samples.T:  # summed, so that channels that cancel are heard, too
                frames = np.lib.stride_tricks.sliding_window_view(channel, length)[part]
                bins = fft.rfft(frames * self._window)[:, self._bins]
                power += (np.square(bins.real) + np.square(bins.imag)) @ self._bands
            self._power.append(power)
        self._frames += len(starts)
        done = max(0, round(self._frames * self._hop) - self._first)
        self._rest, self._first = samples[done:], self._first + done

    def levels(self) -> np.ndarray:
        """Return the levels in dB to the end of the audio: float32 [frames, BANDS]."""
        end = np.zeros((len(self._window), self._rest.shape[1]), np.float32)
        self._rest = np.concatenate([self._rest, end])
        self._transform()
        power = np.concatenate([*self._power, np.zeros((0, BANDS), np.float32)])
        return 10 * np.log10(np.maximum(power, 1e-9))


def of_levels(levels: np.ndarray) -> str:
    """Make the fingerprint of a recording from its `Spectrogram.levels`: `SYLLABLE`s in Base64.

    It is empty where nothing sounds, or nothing changes.
    """
    power = 10 ** (levels / 10)
    loudness = np.log(np.convolve(power.sum(axis=1), KERNEL, "same") + 1e-9)
    around = np.full(len(loudness) + 2 * APART, -np.inf)
    around[APART:-APART] = loudness
    highest = np.lib.stride_tricks.sliding_window_view(around, 2 * APART + 1).max(axis=1)
    lowest = max(loudness.max() - 2 / 3 * RANGE * np.log(10) / 10, np.log(SILENCE))
    peaks = np.flatnonzero((loudness == highest) & (loudness > lowest))
    if not peaks.size:
        return ""
    peaks = np.sort(peaks[np.argsort(-loudness[peaks], kind="stable")[:MOST]])
    before, after = np.maximum(peaks - 1, 0), np.minimum(peaks + 1, len(loudness) - 1)
    before, top, after = loudness[before], loudness[peaks], loudness[after]
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
    padded = np.full((len(levels) + 2 * HALF + 3, BANDS), levels.min() - RANGE, levels.dtype)
    padded[HALF + 1 : HALF + 1 + len(levels)] = levels
    first, second = padded[before + HALF + 1], padded[before + HALF + 2]
    floor = first.max(axis=(1, 2), keepdims=True) - RANGE
    level = (1 - share) * np.maximum(first, floor) + share * np.maximum(second, floor)
    # What is silent, or beyond the file's ends, counts for nothing.
    inside = ((before >= 0) & (before + 1 < len(levels)))[..., None]
    loud = inside * (level.max(axis=2, keepdims=True) - floor)
    weight = TAPER * np.maximum(loud, 1e-6)
    weight = weight / weight.sum(axis=1, keepdims=True)
    level = (level - (weight * level).sum(axis=1, keepdims=True)) * np.sqrt(weight)
    varied = np.sqrt(np.square(level).sum(axis=(1, 2)) / BANDS) >= STEADY
    shapes = (OVER_TIME @ level @ OVER_BANDS).reshape(len(at), -1)
    size = np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-9)
    return np.clip(np.round(254 * shapes / size), -127, 127).astype(np.int8), varied


def near_duplicates(fingerprints: Sequence[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """List pairs of files that are one recording, by place: (earlier, later), sorted.

    A second list names the files with a syllable that `MOST_NEIGHBOURS` files before it have, too,
    as a beep in every file is one: it is not compared with more of them.
    """
    each = [np.frombuffer(base64.b64decode(text), SYLLABLE) for text in fingerprints]
    counts = np.array([len(one) for one in each], int)
    if counts.sum() < 2:
        return [], []
    every, ends = np.concatenate(each), np.cumsum(counts)
    at, shapes = every["at"].astype(int), every["shape"].astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    of_file = [slice(*ends) for ends in zip(ends - counts, ends, strict=True)]
    neighbours, crowded = _neighbours(shapes, np.repeat(np.arange(len(each)), counts))
    pairs = [
        (one, other)
        for one, other in neighbours
        if _one_recording(
            shapes[of_file[one]] @ shapes[of_file[other]].T, at[of_file[one]], at[of_file[other]]
        )
    ]
    return pairs, crowded


def _neighbours(shapes: np.ndarray, file: np.ndarray) -> tuple[list[tuple[int, int]], list[int]]:
    """Pairs of files of which two syllables are so alike as the best ones of a recording are.

    The second list holds the files of syllables that have `MOST_NEIGHBOURS` earlier neighbours.
    """
    cosine = SEVERAL - 1e-4
    # No distance grows by a projection, so that none of them is overlooked.
    coarse = shapes @ np.linalg.eigh(shapes.T @ shapes).eigenvectors[:, -COARSE:]
    half, ones = np.square(coarse).sum(axis=1) / 2, np.ones(len(coarse), np.float32)
    # The product of two rows is the cosine where what lies outside the projection is alike.
    left = np.column_stack([coarse, ones, -half])
    right = np.column_stack([coarse, -half, ones])

    def search(first: int) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours before some syllables, and which of these have as many as are taken."""
        later = np.arange(first, min(first + ROWS, len(shapes)))
        room, pairs = np.full(len(later), MOST_NEIGHBOURS), [np.zeros((0, 2), int)]
        for start in range(0, first + 1, ROWS):
            near = left[start : start + ROWS] @ right[later[room > 0]].T >= cosine - 1
            if not near.any():
                continue
            rows = start + np.flatnonzero(near.any(axis=1))
            columns = np.flatnonzero(room > 0)[near.any(axis=0)]
            alike = shapes[rows] @ shapes[later[columns]].T > cosine
            alike &= file[rows, None] < file[later[columns]]
            alike &= np.cumsum(alike, axis=0, dtype=np.int32) <= room[columns]
            room[columns] -= alike.sum(axis=0)
            one, other = np.nonzero(alike)
            pairs.append(np.column_stack([file[rows[one]], file[later[columns[other]]]]))
            if not room.any():
                break
        return np.concatenate(pairs), later[room == 0]

    with threadpool_limits(1, "blas"), ThreadPoolExecutor() as pool:
        pairs, crowded = zip(*pool.map(search, range(0, len(shapes), ROWS)), strict=True)
    pairs = np.unique(np.concatenate(pairs), axis=0)
    crowded = np.unique(file[np.concatenate(crowded)])
    return [(one, other) for one, other in pairs.tolist()], crowded.tolist()


def _one_recording(cosine: np.ndarray, at: np.ndarray, at_other: np.ndarray) -> bool:
    """Whether two files are one, by how alike their syllables are [of one, of the other]."""
    moved = at_other - at[:, None]
    # The shift of the most alike syllables is that of the files.
    together = np.abs(moved - moved.flat[cosine.argmax()]) <= JITTER
    alike = cosine[(cosine > ALIKE) & together]
    needed = max(SEVERAL, SINGLE - (SINGLE - SEVERAL) / 2 * (alike.size - 1))
    return 2 * alike.size > min(cosine.shape) and alike.mean() >= needed

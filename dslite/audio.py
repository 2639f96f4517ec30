"""Decode, mix down, resample, trim, vary and cut audio."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from dslite import decoding
from dslite.decoding import AudioFile
from dslite.errors import InputError
from dslite.settings import Settings

# A file's path and, in seconds, the begin and the end of a segment of it
SECONDS = r"\d{1,9}(\.\d{1,6})?"
SEGMENT = re.compile(rf"(?P<file>.+)#t=(?P<start>{SECONDS})(,(?P<end>{SECONDS}))?", re.DOTALL)
LATEST = 1e8  # s, of a segment's ends
OVERHANG = 0.05  # s that a segment may end after its file, for rounding
BROKEN_OFF = "the audio ends before its header says, after {:.2f} s; copy the file again"
CANCELLED = 0.25  # of the power: two channels x and -0.42 x, or a correlation of -0.75
SILENT_POWER = 1e-8  # of full scale, -80 dB: below the last bits of 16
POWER_FLOOR = 1e-10  # librosa's: what is fainter is taken to be so loud
FRAMES = 4096  # levels computed at a time, of two minutes
MARGIN = 2  # hops of the level's frames that are kept beside what sounds
# How far an augmented copy may be from its file
CUT = 0.1  # of the sound, at each end
TILT = 3.0  # dB per octave
WARP = 0.1  # of the tempo
SCALE = 0.1  # of every frequency
LOWEST_HZ = 62.5  # below it a tilted spectrum stays flat: four octaves under 1 kHz
WARP_WINDOW = 0.032  # s


def fragment(path: str, start_s: float, end_s: float = math.nan) -> str:
    """Return the path of a segment of a file, as in W3C's media fragments.

    Examples
    --------
    >>> fragment("a.wav", 0.5, 2.0), fragment("a.wav", 0.25)
    ('a.wav#t=0.5,2', 'a.wav#t=0.25')
    """
    seconds = [f"{each:.6f}".rstrip("0").rstrip(".") for each in (start_s, end_s)]
    return f"{path}#t={','.join(seconds if math.isfinite(end_s) else seconds[:1])}"


def source(path: str | PathLike) -> Path:
    """Return the file that a path or a segment's path names."""
    match = SEGMENT.fullmatch(os.fspath(path))
    with suppress(OSError):  # too long a name for a file, as of absurd times
        if not match or Path(path).exists():
            return Path(path)
    return Path(match["file"])


def opened(path: str | PathLike) -> AbstractContextManager[AudioFile]:
    """Open an audio file of any kind; whatever its reader refuses becomes an InputError."""
    return decoding.opened(source(path), path)


def blocks(file: AudioFile, path: str | PathLike, dtype: str) -> Iterator[np.ndarray]:
    """Read what a path names of an open file, its segment or all of it: [frames, channels].

    InputError where a segment does not lie in the file.
    """
    match = SEGMENT.fullmatch(os.fspath(path))
    if match is None or source(path) == Path(path):
        yield from file.blocks(dtype)
        return
    begin = round(float(match["start"]) * file.rate)
    end = round(float(match["end"]) * file.rate) if match["end"] else math.inf
    place = begin if begin < file.frames else 0
    for block in file.blocks(dtype, place):
        first, last = max(0, begin - place), min(len(block), end - place)
        place += len(block)
        if first < last:
            yield block[first:last]
        if place >= end:
            return
    if begin >= place or place + OVERHANG * file.rate < end < math.inf:
        seconds = place / file.rate
        raise InputError(f"{path}: the file ends after {seconds:.2f} s, before the segment does")


def require_finite(samples: np.ndarray, path: str | PathLike) -> None:
    """Raise an InputError that names the file if a sample is NaN or infinite."""
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: the audio holds NaN or infinite samples; replace or remove it")


class Balance:
    """Tell from the blocks of a file whether its channels cancel each other when they are mixed."""

    def __init__(self):
        self._frames, self._sums, self._products = 0, 0.0, 0.0

    def add(self, block: np.ndarray) -> None:
        """Add a block of finite samples, [frames, channels]."""
        if block.shape[1] > 1:
            self._frames += len(block)
            # Products of matrices: five times as fast as sums over the frames
            self._sums = self._sums + (np.ones(len(block), block.dtype) @ block).astype(np.float64)
            self._products = self._products + (block.T @ block).astype(np.float64)

    def louder_channel(self) -> int | None:
        """Return the loudest channel where the mean is not to be heard, else None.

        That is where the mean has less than `CANCELLED` of the power that the mean of unrelated
        channels has, as of a wire that was connected the wrong way round.
        """
        if not self._frames:
            return None
        mean = self._sums / self._frames
        covariance = self._products / self._frames - np.outer(mean, mean)
        power = np.diag(covariance)
        cancelled = power.mean() > SILENT_POWER and covariance.sum() < CANCELLED * power.sum()
        return int(power.argmax()) if cancelled else None


class Mixer:
    """Mix blocks of audio down as they come and resample them, to the same numbers as in one piece.

    From ``stored_rate`` to ``sample_rate``, Hz, by soxr at "very high quality" where they differ;
    ``name`` is the audio's, for an error; ``channel`` is taken instead of the channels' mean.
    """

    def __init__(
        self,
        stored_rate: int,
        sample_rate: int,
        name: str | PathLike,
        channel: int | None = None,
    ):
        self._name, self._channel, self._resampler = name, channel, None
        if stored_rate != sample_rate:
            self._resampler = soxr.ResampleStream(
                stored_rate, sample_rate, 1, "float32", quality="VHQ"
            )

    def add(self, block: np.ndarray) -> np.ndarray:
        """Mix a block, float32 [frames, channels], down; return what it adds: float32 [samples]."""
        with np.errstate(over="ignore", invalid="ignore"):  # reported in the next line
            if self._channel is not None or block.shape[1] == 1:
                mono = block[:, self._channel or 0].copy()
            elif block.shape[1] == 2:  # the same numbers, faster
                mono = (block[:, 0] + block[:, 1]) * block.dtype.type(0.5)
            else:
                mono = block.mean(axis=1)
        require_finite(mono, self._name)
        return mono if self._resampler is None else self._resampler.resample_chunk(mono)

    def rest(self) -> np.ndarray:
        """Return what the resampler has held back, at the end: float32 [samples]."""
        none = np.zeros(0, np.float32)
        return none if self._resampler is None else self._resampler.resample_chunk(none, last=True)


@dataclass(frozen=True)
class Decoded:
    """A decoded file or segment."""

    waveform: np.ndarray  # float32 [samples]; full scale is 1, which resampling may overshoot
    duration_s: float  # as it is stored
    broken_off: bool = False  # whether the file ends before its header says
    remarks: tuple[str, ...] = ()  # what is not heard as it is stored


def decode(path: str | PathLike, sample_rate: int, channel: int | None = None) -> Decoded:
    """Decode a file: the mean of its channels at the wanted rate in Hz.

    Where the channels cancel each other, the loudest is taken, as where ``channel`` names one. Read
    block by block, since an hour of studio stereo takes 1.3 GB as it is stored, 0.2 GB as a
    waveform. InputError where the file is missing, not decodable, without audio, or holds NaN or
    infinite samples.
    """
    parts, frames, balance = [], 0, Balance()
    with opened(path) as file:
        mixer = Mixer(file.rate, sample_rate, path, channel)
        for block in blocks(file, path, "float32"):
            frames += len(block)
            parts.append(mixer.add(block))
            if channel is None:
                balance.add(block)
    if (louder := balance.louder_channel()) is not None:
        return decode(path, sample_rate, louder)
    waveform = np.concatenate([*parts, mixer.rest()])
    if not waveform.size:
        raise InputError(f"{path}: too short to hold a sample at {sample_rate} Hz; remove it")
    remarks = file.remarks + ([cancelling(channel)] if channel is not None else [])
    return Decoded(waveform, frames / file.rate, file.broken_off, tuple(remarks))


def cancelling(channel: int) -> str:
    """Say that a file's channels cancel each other, and which one is taken."""
    return f"channels that cancel each other: number {channel + 1}, the loudest, is taken alone"


def louder_channel(path: str | PathLike) -> int | None:
    """Return the loudest channel of a file whose channels cancel each other, else None."""
    balance = Balance()
    with opened(path) as file:
        for block in blocks(file, path, "float32") if file.channels > 1 else ():
            require_finite(block, path)
            balance.add(block)
    return balance.louder_channel()


def read(path: str | PathLike, sample_rate: int) -> np.ndarray:
    """Decode the waveform of a file, float32 [samples], see `decode`."""
    return decode(path, sample_rate).waveform


def level_frames(sample_rate: int) -> tuple[int, int]:
    """Return length and hop of the frames whose level is taken, in samples: librosa's at 16 kHz."""
    hop = max(1, round(0.032 * sample_rate))
    return 4 * hop, hop


def sounding(waveform: np.ndarray, sample_rate: int, top_db: float) -> tuple[int, int]:
    """Find where the sound begins and ends: a slice without the silence at its ends, never empty.

    Takes float32 [samples]; of the levels over `level_frames`, what lies more than ``top_db`` below
    the loudest counts as silence. A waveform that is silent throughout is kept whole. The same as
    `librosa.effects.trim` by its numbers; importing that takes longer than a prediction.
    """
    frame, hop = level_frames(sample_rate)
    padded = np.pad(waveform, frame // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    # Squares of all frames are four times the waveform: an hour is looked at in pieces.
    pieces = (frames[first : first + FRAMES] for first in range(0, len(frames), FRAMES))
    power = np.concatenate([np.mean(np.square(piece), axis=-1) for piece in pieces])
    level = 10 * np.log10(np.maximum(power, POWER_FLOOR))
    loud = np.flatnonzero(level - level.max() > -top_db)
    if not loud.size:
        return 0, len(waveform)
    begin, end = int(loud[0]) * hop, min(len(waveform), (int(loud[-1]) + 1) * hop)
    return (begin, end) if end > begin else (0, len(waveform))


def chunk_starts(
    n_samples: int, chunk: int, hop: int, tail: Literal["keep", "drop"] = "keep"
) -> np.ndarray:
    """Compute the first samples of a file's chunks: strictly increasing int64 [chunks].

    All lengths are in samples. ``tail="drop"`` is the published procedure read literally: full
    chunks at multiples of ``hop``, so that a file shorter than a chunk has none. "keep" adds a
    chunk that ends with the file if the regular ones do not, and a short file has one chunk (`cut`
    pads it).

    Examples
    --------
    >>> chunk_starts(n_samples=9, chunk=4, hop=2)
    array([0, 2, 4, 5])
    >>> chunk_starts(n_samples=9, chunk=4, hop=2, tail="drop")
    array([0, 2, 4])
    """
    starts = np.arange(0, n_samples - chunk + 1, hop, dtype=np.int64)
    if tail == "drop":
        return starts
    if not starts.size:
        return np.zeros(1, np.int64)
    last = n_samples - chunk
    return starts if starts[-1] == last else np.append(starts, last)


def cut(waveform: np.ndarray, starts: np.ndarray, chunk: int) -> np.ndarray:
    """Cut chunks of so many samples out of a waveform: float32 [chunks, chunk], a copy.

    Zeros stand in for what lies past the waveform's end; ``starts`` are those of `chunk_starts`.

    Examples
    --------
    >>> cut(np.arange(3), [0, 2], chunk=2)
    array([[0., 1.],
           [2., 0.]], dtype=float32)
    """
    starts = np.asarray(starts, np.int64)
    missing = max(0, starts.max(initial=0) + chunk - len(waveform))
    padded = np.asarray(waveform, np.float32)
    if missing:  # else an hour's waveform would be copied for every few chunks of it
        padded = np.pad(padded, (0, missing))
    return padded[starts[:, None] + np.arange(chunk)]


@dataclass(frozen=True)
class Clip:
    """A decoded file and where its chunks begin."""

    waveform: np.ndarray  # float32 [samples], without the silence at its ends where ``trim`` is on
    starts: np.ndarray  # int64 [chunks], their first samples in the waveform
    offset: int  # samples that trimming took off the file's beginning
    duration_s: float  # of the whole file
    broken_off: bool = False  # see `Decoded`
    remarks: tuple[str, ...] = ()


def clip(path: Path, settings: Settings, rng: np.random.Generator | None = None) -> Clip:
    """Read an audio file and find its chunks; with ``rng``, those of an augmented copy of it."""
    decoded = decode(path, settings.sample_rate)
    waveform = decoded.waveform
    begin, end = 0, len(waveform)
    if settings.trim == "on":
        begin, end = sounding(waveform, settings.sample_rate, settings.trim_db)
        # A clip's first and last columns are centred on the ends, and a copy is cut inside of them.
        if settings.picture != "chunk" and rng is None:
            margin = MARGIN * level_frames(settings.sample_rate)[1]
            begin, end = max(0, begin - margin), min(len(waveform), end + margin)
    waveform = waveform[begin:end]
    if rng is not None:
        waveform = augmented_copy(waveform, settings.sample_rate, rng)
    chunk, hop = settings.chunk_samples, settings.chunk_hop_samples
    starts = chunk_starts(len(waveform), chunk, hop, settings.tail)
    rest = (decoded.duration_s, decoded.broken_off, decoded.remarks)
    return Clip(waveform, starts, begin, *rest)


def augmented_copy(waveform: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a copy of a sound: its ends cut, tilted, warped in tempo and scaled in frequency."""
    shares = rng.uniform(0, CUT, 2)
    slope, factor = rng.uniform(-TILT, TILT), rng.uniform(1 - SCALE, 1 + SCALE)
    waves = rng.uniform(-WARP / 2, WARP / 2, 2)
    first, last = (int(share * len(waveform)) for share in shares)
    copy = tilt(waveform[first : len(waveform) - last], sample_rate, slope)
    return scale_frequency(warp(copy, sample_rate, waves), sample_rate, factor)


def tilt(waveform: np.ndarray, sample_rate: int, slope: float) -> np.ndarray:
    """Tilt the spectrum of float32 [samples] by ``slope``, dB per octave; 1 kHz stays."""
    from scipy import fft

    length = fft.next_fast_len(len(waveform), real=True)
    octaves = np.log2(np.maximum(fft.rfftfreq(length, 1 / sample_rate), LOWEST_HZ) / 1000)
    gain = (10 ** (slope * octaves / 20)).astype(np.float32)
    return fft.irfft(fft.rfft(waveform, length) * gain, length)[: len(waveform)]


def warp(waveform: np.ndarray, sample_rate: int, waves: Sequence[float]) -> np.ndarray:
    """Warp the tempo of float32 [samples] locally; length and pitch stay (a phase vocoder).

    Over the sound, x from 0 to 1, the tempo is ``1 + waves[0] cos(pi x) + waves[1] cos(2 pi x)``.
    What is shorter than a window stays as it is.
    """
    import librosa

    window = 4 * round(WARP_WINDOW * sample_rate / 4)
    if len(waveform) < window:
        return waveform
    spectra = librosa.stft(waveform, n_fft=window)
    last = spectra.shape[1] - 1
    x = np.linspace(0, 1, last + 1)
    shift = sum(wave * np.sin(np.pi * i * x) / (np.pi * i) for i, wave in enumerate(waves, start=1))
    places = np.clip((x + shift) * last, 0, last)
    before = np.minimum(places.astype(int), last - 1)
    share = (places - before).astype(np.float32)
    size = np.abs(spectra)
    size = (1 - share) * size[:, before] + share * size[:, before + 1]
    # From frame to frame each phase advances as it does at that place of the sound.
    advance = np.angle(spectra[:, before[:-1] + 1] * spectra[:, before[:-1]].conj())
    phase = np.cumsum(np.column_stack([np.angle(spectra[:, 0]), advance]), axis=1)
    return librosa.istft(size * np.exp(1j * phase), n_fft=window, length=len(waveform))


def scale_frequency(waveform: np.ndarray, sample_rate: int, factor: float) -> np.ndarray:
    """Multiply every frequency in float32 [samples] by a factor, which shortens it as much."""
    return soxr.resample(waveform, factor * sample_rate, sample_rate)


def chunks_of(
    path: Path, settings: Settings, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a file's chunks, float32 [chunks, samples], and their starts in the `clip` in s."""
    of = clip(path, settings, rng)
    chunks = cut(of.waveform, of.starts, settings.chunk_samples)
    return chunks, of.starts / settings.sample_rate


def read_ahead(pool: ThreadPoolExecutor, function, items: Iterable, most: int = 16) -> Iterator:
    """Map in a pool, with at most ``most`` results waiting, so that memory stays small."""
    futures = []
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) >= most:
            yield futures.pop(0).result()
    while futures:
        yield futures.pop(0).result()

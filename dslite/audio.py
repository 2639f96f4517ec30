"""Decode, mix down, resample, trim, vary and cut audio."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from dslite.errors import InputError
from dslite.settings import Settings

# A file's path and, in seconds, the begin and the end of a segment of it
SEGMENT = re.compile(r"(?P<file>.+)#t=(?P<start>[\d.]+)(,(?P<end>[\d.]+))?", re.DOTALL)
OVERHANG = 0.05  # s that a segment may end after its file, for rounding
BLOCK = 1 << 18  # frames decoded at a time: 2 MiB per channel
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
    return Path(match["file"] if match and not Path(path).exists() else path)


def blocks(file: soundfile.SoundFile, path: str | PathLike, dtype: str) -> Iterator[np.ndarray]:
    """Read what a path names of an open file, its segment or all of it: [frames, channels].

    InputError where a segment does not lie in the file.
    """
    begin, left = 0, file.frames
    if (match := SEGMENT.fullmatch(os.fspath(path))) and source(path) != Path(path):
        begin, end = round(float(match["start"]) * file.samplerate), file.frames
        end = round(float(match["end"]) * file.samplerate) if match["end"] else end
        if begin >= file.frames or end > file.frames + OVERHANG * file.samplerate:
            seconds = file.frames / file.samplerate
            raise InputError(
                f"{path}: the file ends after {seconds:.2f} s, before the segment does"
            )
        left = min(end, file.frames) - begin
        file.seek(begin)
    whole = not begin and left == file.frames  # also frames that no header counts
    while len(block := file.read(BLOCK if whole else min(BLOCK, left), dtype, always_2d=True)):
        yield block
        left -= len(block)


@contextmanager
def opened(path: str | PathLike) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; whatever libsndfile says while it is in use becomes an InputError."""
    stored = source(path)
    if not stored.is_file():
        raise InputError(f"{path}: there is no such audio file")
    # soundfile encodes a name itself, but refuses one that is not UTF-8, as of an old archive.
    name = os.fspath(stored) if os.name == "nt" else os.fsencode(stored)
    try:
        file = soundfile.SoundFile(name)
    except TypeError:  # what soundfile raises for the headerless '.raw'
        text = f"{path}: headerless audio tells no sample rate; store it as WAV or FLAC"
        raise InputError(text) from None
    except soundfile.SoundFileError as error:
        raise _unreadable(path, error) from None
    with file:
        if not file.frames:
            raise InputError(f"{path}: the file holds no audio; replace or remove it")
        try:
            yield file
        except soundfile.SoundFileError as error:
            raise _unreadable(path, error) from None


def _unreadable(path: str | PathLike, error: Exception) -> InputError:
    why = str(getattr(error, "error_string", error)).removeprefix("Error : ").strip(" .")
    return InputError(f"{path}: not readable as audio ({why}); replace it or store it as WAV/FLAC")


def require_finite(samples: np.ndarray, path: str | PathLike) -> None:
    """Raise an InputError that names the file if a sample is NaN or infinite."""
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: the audio holds NaN or infinite samples; replace or remove it")


class Mixer:
    """Mix blocks of audio down as they come and resample them, to the same numbers as in one piece.

    From ``stored_rate`` to ``sample_rate``, Hz, by soxr at "very high quality" where they differ;
    ``name`` is the audio's, for an error.
    """

    def __init__(self, stored_rate: int, sample_rate: int, name: str | PathLike):
        self._name = name
        self._resampler = None
        if stored_rate != sample_rate:
            self._resampler = soxr.ResampleStream(
                stored_rate, sample_rate, 1, "float32", quality="VHQ"
            )

    def add(self, block: np.ndarray) -> np.ndarray:
        """Mix a block, float32 [frames, channels], down; return what it adds: float32 [samples]."""
        with np.errstate(over="ignore", invalid="ignore"):  # reported in the next line
            mono = block.mean(axis=1)
        require_finite(mono, self._name)
        return mono if self._resampler is None else self._resampler.resample_chunk(mono)

    def rest(self) -> np.ndarray:
        """Return what the resampler has held back, at the end: float32 [samples]."""
        none = np.zeros(0, np.float32)
        return none if self._resampler is None else self._resampler.resample_chunk(none, last=True)


def decode(path: str | PathLike, sample_rate: int) -> tuple[np.ndarray, float]:
    """Decode a file: the mean of its channels at the wanted rate in Hz, and its length in s.

    The waveform is float32 [samples]; full scale is 1, which resampling may overshoot a little.
    Read block by block, since an hour of studio stereo takes 1.3 GB as it is stored, 0.2 GB as a
    waveform. InputError where the file is missing, not decodable, without audio, or holds NaN or
    infinite samples.
    """
    parts, frames = [], 0
    with opened(path) as file:
        mixer = Mixer(file.samplerate, sample_rate, path)
        for block in blocks(file, path, "float32"):
            frames += len(block)
            parts.append(mixer.add(block))
    waveform = np.concatenate([*parts, mixer.rest()])
    if not waveform.size:
        raise InputError(f"{path}: too short to hold a sample at {sample_rate} Hz; remove it")
    return waveform, frames / file.samplerate


def read(path: str | PathLike, sample_rate: int) -> np.ndarray:
    """Decode the waveform of a file, float32 [samples]: the first value of `decode`."""
    return decode(path, sample_rate)[0]


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


def clip(path: Path, settings: Settings, rng: np.random.Generator | None = None) -> Clip:
    """Read an audio file and find its chunks; with ``rng``, those of an augmented copy of it."""
    waveform, duration_s = decode(path, settings.sample_rate)
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
    return Clip(waveform, starts, begin, duration_s)


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

"""An audio file or a stream -> its chunks; without TensorFlow."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dslite import audio
from dslite.settings import Settings


@dataclass(frozen=True)
class Clip:
    """A decoded file and where its chunks begin.

    Attributes
    ----------
    waveform : ndarray of float32, shape [samples]
        Without the silence at its ends where ``trim`` is on.
    starts : ndarray of int64, shape [chunks]
        First samples of the chunks in the waveform.
    offset : int
        Samples that trimming took off the file's beginning.
    duration_s : float
        Of the whole file, seconds.
    """

    waveform: np.ndarray
    starts: np.ndarray
    offset: int
    duration_s: float


def clip(path: Path, settings: Settings) -> Clip:
    """Read an audio file and find its chunks."""
    waveform, duration_s = audio.decode(path, settings.sample_rate)
    begin, end = 0, len(waveform)
    if settings.trim == "on":
        begin, end = audio.sounding(waveform, settings.sample_rate)
    starts = audio.chunk_starts(
        end - begin, settings.chunk_samples, settings.chunk_hop_samples, settings.tail
    )
    return Clip(waveform[begin:end], starts, begin, duration_s)


def chunks_of(path: Path, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Read an audio file and cut it.

    Returns
    -------
    chunks : ndarray of float32, shape [chunks, samples]
    start_s : ndarray of float64, shape [chunks]
        In the file without the silence at its ends, where ``trim`` is on.
    """
    found = clip(path, settings)
    chunks = audio.cut(found.waveform, found.starts, settings.chunk_samples)
    return chunks, found.starts / settings.sample_rate


class Ring:
    """The last samples of a waveform, and the chunks that become full.

    The chunks are those of `audio.chunk_starts` under "keep": the first one as soon as it is full,
    one every ``hop``, and at the end of the input one that ends with it.

    Parameters
    ----------
    chunk, hop : int
        Samples.
    """

    def __init__(self, chunk: int, hop: int):
        self._held = np.zeros(chunk, np.float32)
        self._hop = hop
        self._heard = 0
        self._due = chunk

    def add(self, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take float32 [samples]; yields where a chunk ends and the chunk, float32 [chunk]."""
        while len(samples):
            wanted = self._due - self._heard
            now, samples = samples[:wanted], samples[wanted:]
            self._write(now)
            if self._heard == self._due:
                self._due += self._hop
                yield self._heard, self._last()

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        """At the end of the input: the chunk that ends with it, if samples are left for one.

        Zeros stand behind an input that is shorter than a chunk.
        """
        chunk = len(self._held)
        if 0 < self._heard < chunk:
            yield self._heard, self._held.copy()
        elif self._heard > max(chunk, self._due - self._hop):
            yield self._heard, self._last()

    def _write(self, samples: np.ndarray) -> None:
        chunk = len(self._held)
        self._heard += len(samples)
        samples = samples[-chunk:]
        begin = (self._heard - len(samples)) % chunk
        head, tail = samples[: chunk - begin], samples[chunk - begin :]
        self._held[begin : begin + len(head)] = head
        self._held[: len(tail)] = tail

    def _last(self) -> np.ndarray:
        return np.roll(self._held, -(self._heard % len(self._held)))


def ahead(pool: ThreadPoolExecutor, function, items: Iterable, most: int = 16) -> Iterator:
    """``map`` that keeps at most ``most`` results waiting, so that memory stays small."""
    futures = []
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) >= most:
            yield futures.pop(0).result()
    while futures:
        yield futures.pop(0).result()

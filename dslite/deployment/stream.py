"""Analyse audio as it comes: one smoothed decision per hop, and how fast it was made.

Memory does not grow: it holds one chunk, the last few outputs and the audio that waits.
"""

import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dslite import audio
from dslite.deployment import predict, runtime
from dslite.deployment.predict import Predictor
from dslite.errors import InputError

BLOCK_S = 0.1
WAITING_BLOCKS = 100  # of a microphone that may wait
SILENT_S = 5.0  # after which a microphone that sends nothing counts as broken
REPORT_EVERY_S = 10.0  # at most so often that the analysis is behind
MICROPHONE = "microphone"
STANDARD_INPUT = "standard input"
CONTAINERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")

Log = Callable[[str], None]


# Sources


@dataclass(frozen=True)
class Block:
    """Audio that arrived at once."""

    samples: np.ndarray  # float32 [frames, channels]
    lost: int = 0  # frames that were lost just before
    overflow: bool = False  # the device has lost some just before, and does not report how many


class Line:
    """Blocks between the thread that records and the one that analyses, in their order."""

    def __init__(self):
        self._blocks: queue.SimpleQueue[Block | None] = queue.SimpleQueue()
        self._overflow = False
        self.lost = 0  # frames behind the last block

    def offer(self, samples: np.ndarray, overflow: bool) -> None:
        """Append a block, or count its frames as lost where the line is full. Never waits.

        A line that was full takes blocks again when half empty: a gap in every chunk is useless.
        """
        self._overflow |= overflow
        if self._blocks.qsize() >= (WAITING_BLOCKS // 2 if self.lost else WAITING_BLOCKS):
            self.lost += len(samples)
            return
        self._blocks.put(Block(samples, self.lost, self._overflow))
        self.lost, self._overflow = 0, False

    def end(self) -> None:
        """Let no more blocks come."""
        self._blocks.put(None)

    def __iter__(self) -> Iterator[Block]:
        while True:
            try:
                block = self._blocks.get(timeout=SILENT_S)
            except queue.Empty:
                silent = f"{MICROPHONE}: the device has sent nothing for {SILENT_S:g} s"
                raise InputError(silent) from None
            if block is None:
                raise InputError(f"{MICROPHONE}: the device has ended the recording")
            yield block


@dataclass(frozen=True)
class Source:
    """Where audio comes from."""

    name: str  # for messages
    rate: int  # Hz
    blocks: Iterable[Block]  # to be taken once
    live: bool = True  # comes by itself, perhaps in real time; else a file


def open_source(
    name: str | None, rate: int | None, channels: int | None, model_rate: int, log: Log
) -> AbstractContextManager[Source]:
    """Open what a user names: a file, ``-`` for standard input, or nothing for the microphone."""
    if name is None:
        return microphone(rate, channels or 1)
    if name != "-":
        if rate or channels:
            raise InputError("--rate and --channels are for raw samples; a file has its own")
        return audio_file(name, log)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: pipe raw 16-bit samples into it, or name a file")
    rate = rate or model_rate
    blocks = raw_blocks(sys.stdin.buffer, rate, channels or 1, log)
    return nullcontext(Source(STANDARD_INPUT, rate, blocks))


@contextmanager
def audio_file(path: str | PathLike, log: Log = print) -> Iterator[Source]:
    """Open an audio file, decoded as it is taken; errors as of `dslite.audio.opened`.

    Where its channels cancel each other, the loudest is taken, as by `dslite.audio.decode`; what is
    not heard as it is stored is logged at its end.
    """
    channel = audio.louder_channel(path)
    with audio.opened(path) as opened:
        frames = _block_frames(opened.rate)

        def blocks() -> Iterator[Block]:
            length = 0
            for samples in audio.blocks(opened, path, "float32"):
                length += len(samples)
                samples = samples if channel is None else samples[:, [channel]]
                yield from (Block(samples[i : i + frames]) for i in range(0, len(samples), frames))
            cancelling = [] if channel is None else [audio.cancelling(channel)]
            for remark in opened.remarks + cancelling:
                log(f"note: {path}: {remark}")
            if opened.broken_off:
                log(f"warning: {path}: {audio.BROKEN_OFF.format(length / opened.rate)}")

        yield Source(str(path), opened.rate, blocks(), live=False)


def raw_blocks(raw: BinaryIO, rate: int, channels: int, log: Log) -> Iterator[Block]:
    """Read raw 16-bit little-endian samples, channels interleaved; a full pipe holds its writer."""
    size, position = 2 * channels * _block_frames(rate), 0
    try:
        while content := raw.read(size):
            if not position and content.startswith(CONTAINERS):
                raise InputError(
                    f"{STANDARD_INPUT}: this is an audio file, not raw 16-bit samples; "
                    "give its name instead of -, or pipe `ffmpeg -i FILE -f s16le -`"
                )
            position += len(content)
            if over := len(content) % (2 * channels):
                within = "note: the input ends within a frame of 16-bit samples"
                log(f"{within}; what there is of it was left out (bytes: {over})")
            if whole := content[: len(content) - over]:
                samples = np.frombuffer(whole, "<i2").reshape(-1, channels)
                yield Block(samples.astype(np.float32) / 32768)
    except OSError as error:
        raise InputError(f"{STANDARD_INPUT}: cannot be read ({error.strerror})") from None


@contextmanager
def microphone(rate: int | None, channels: int) -> Iterator[Source]:
    """Open the system's default input device, at its own rate if none is given (Hz)."""
    try:
        import sounddevice as device
    except (ImportError, OSError) as error:
        raise InputError(
            f"{MICROPHONE}: needs the package sounddevice (in the project's folder: pip install "
            f"-e '.[stream]') and its library PortAudio (on Debian and Ubuntu: apt-get install "
            f"libportaudio2): {error}; or name a file, or - for raw samples"
        ) from None
    line = Line()

    def receive(samples, frames, when, status) -> None:
        line.offer(samples.copy(), bool(status.input_overflow))  # the device uses its array again

    try:
        rate = rate or round(device.query_devices(kind="input")["default_samplerate"])
        stream = device.InputStream(
            samplerate=rate,
            blocksize=_block_frames(rate),
            channels=channels,
            dtype="float32",
            callback=receive,
            finished_callback=line.end,
        )
        stream.start()
    except (device.PortAudioError, ValueError) as error:
        raise InputError(f"{MICROPHONE}: cannot be opened ({error})") from None
    try:
        yield Source(MICROPHONE, rate, line)
    finally:
        stream.close()


def _block_frames(rate: int) -> int:
    """Return the frames of a block at a rate."""
    return max(1, round(rate * BLOCK_S))


# Decisions


class Ring:
    """Hold a waveform's last samples; yield its `audio.chunk_starts` chunks as they become full."""

    def __init__(self, chunk: int, hop: int):
        self._chunk, self._hop = chunk, hop
        self._last, self._count = np.zeros(0, np.float32), 0  # the last samples; how many came
        self._end = 0  # of the last chunk

    def add(self, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take float32 [samples]; yield where a chunk ends and the chunk, float32 [chunk]."""
        samples = np.concatenate([self._last, samples])
        begin = self._count - len(self._last)
        self._count, self._last = begin + len(samples), samples[-self._chunk :]
        while (end := self._end + self._hop if self._end else self._chunk) <= self._count:
            self._end = end
            yield end, samples[end - self._chunk - begin : end - begin]

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the chunk that ends with the input, a short one as it is, if samples are left."""
        if self._count > self._end:
            yield self._count, self._last


class Stream:
    """Decisions on the blocks of a source, and their statistics.

    They are ``hop_s`` seconds apart (None: that of `runtime.stream_window`), each the mean of the
    outputs of the last ``smooth`` chunks. Zeros fill what a chunk is shorter than the model's.
    """

    def __init__(
        self, predictor: Predictor, source: Source, hop_s: float | None, smooth: int, log: Log
    ):
        self._predictor, self._source, self._log = predictor, source, log
        self._rate = predictor.settings.sample_rate
        self._window, hop = runtime.stream_window(predictor.settings, predictor.typical_s)
        self._hop = max(1, round(hop_s * self._rate)) if hop_s else hop
        self._outputs: deque[np.ndarray] = deque(maxlen=smooth)
        self._frames = self._lost = self._gaps = self._decisions = 0  # frames with those lost
        self._began = time.monotonic()
        self._input_began = self._arrived = self._due = self._began
        self._waited_s = self._largest_s = 0.0
        self._reported = -np.inf  # when the last message on being behind was
        self._failure: Exception | None = None  # of the source
        self._restart()

    def _restart(self) -> None:
        """Begin anew, at the beginning and behind a gap: no chunk lies across one."""
        self._offset_s = self._frames / self._source.rate
        self._ring = Ring(self._window, self._hop)
        self._mixer = audio.Mixer(self._source.rate, self._rate, self._source.name)
        self._outputs.clear()

    def decide(self) -> Iterator[dict[str, Any]]:
        """Yield decisions as soon as they can be made.

        ``end_s`` is where a chunk ends in the input, ``latency_ms`` from its last sample's arrival
        to the decision, ``behind_s`` audio that waits.
        """
        for block in self._blocks():
            if block.lost or block.overflow:
                yield from self._gap(block)
            self._frames += len(block.samples)
            yield from self._decisions_on(self._ring.add(self._mixer.add(block.samples)))
        if self._frames:
            yield from self._rest()
        if self._failure:
            raise self._failure
        if not self._decisions:
            raise InputError(f"{self._source.name}: no audio came")

    def _blocks(self) -> Iterator[Block]:
        """Yield the source's blocks; notes when they came, and what ended them."""
        blocks = iter(self._source.blocks)
        while True:
            begin = time.monotonic()
            try:
                block = next(blocks, None)
            except Exception as error:  # raised when the blocks before it are decided on
                self._failure = error
                return
            if block is None:
                return
            self._arrived = time.monotonic()
            waited_s = (self._arrived - begin) * self._source.live
            self._waited_s += waited_s
            length_s = (self._frames + block.lost + len(block.samples)) / self._source.rate
            # Where it was waited for, nothing else waits: it has just come, as all of a file.
            if waited_s > BLOCK_S / 2 or not self._frames or not self._source.live:
                self._input_began = self._arrived - length_s
            self._due = self._input_began + length_s  # if it comes in real time
            yield block

    def _rest(self) -> Iterator[dict[str, Any]]:
        """Yield the decisions on what is left at the end of the input or before a gap."""
        yield from self._decisions_on(self._ring.add(self._mixer.rest()))
        yield from self._decisions_on(self._ring.rest())

    def _gap(self, block: Block) -> Iterator[dict[str, Any]]:
        """Report what was lost before a block, and begin anew behind it."""
        yield from self._rest()
        rate = self._source.rate
        lost = f"{block.lost / rate:.2f} s ({block.lost} samples)" if block.lost else ""
        if block.overflow:
            lost += " and " * bool(lost) + "an unknown number of samples (the device's overflow)"
        at_s = self._frames / rate
        self._log(f"lost: {lost} at {at_s:.2f} s of the input; the next chunk begins behind")
        self._frames += block.lost
        self._lost += block.lost
        self._gaps += 1
        self._restart()

    def _decisions_on(self, chunks: Iterable[tuple[int, np.ndarray]]) -> Iterator[dict[str, Any]]:
        """Predict chunks and smooth."""
        classes, length = self._predictor.classes, self._predictor.settings.chunk_samples
        for end, chunk in chunks:
            filled = np.pad(chunk, (0, length - len(chunk)))
            outputs = np.asarray(self._predictor.outputs(filled[None])[0], np.float64)
            end_s = self._offset_s + end / self._rate
            if not np.isfinite(outputs).all():
                raise InputError(f"the model yields NaN for the chunk that ends at {end_s:.2f} s")
            self._outputs.append(outputs)
            now = time.monotonic()
            latency_s = now - min(self._arrived, self._due)
            behind_s = max(0.0, now - self._due) if self._source.live else 0.0
            self._decisions += 1
            self._largest_s = max(self._largest_s, latency_s)
            self._report_behind(end_s, behind_s, now)
            smooth = np.mean(self._outputs, axis=0)
            row = {"end_s": end_s, "prediction": smooth[0]}
            if classes:
                best = int(smooth.argmax())
                row |= {"prediction": classes[best], "probability": smooth[best]}
            row |= {"latency_ms": 1000 * latency_s, "behind_s": behind_s}
            if classes:
                row["probabilities"] = dict(zip(classes, smooth.tolist(), strict=True))
            yield row

    def _report_behind(self, end_s: float, behind_s: float, now: float) -> None:
        """Log now and then that the analysis is behind, and when it has caught up."""
        if behind_s > max(self._hop / self._rate, 2 * BLOCK_S):
            if now - self._reported >= REPORT_EVERY_S:
                self._log(f"behind: by {behind_s:.1f} s at {end_s:.1f} s of the input")
                self._reported = now
        elif self._reported > -np.inf and behind_s < BLOCK_S:
            self._log(f"caught up at {end_s:.1f} s of the input")
            self._reported = -np.inf

    def summary(self) -> str:
        """Return decisions, audio, real-time factor and largest delay; empty without audio."""
        rate, source = self._source.rate, self._source.blocks
        audio_s = (self._frames - self._lost) / rate
        if not audio_s:
            return ""
        factor = (time.monotonic() - self._began - self._waited_s) / audio_s
        speed = f"{1 / factor:.1f} times faster" if factor < 1 else f"{factor:.1f} times slower"
        at_the_end = source.lost if isinstance(source, Line) else 0
        missing = "; nothing lost" if self._source.live else ""  # a file waits
        if gaps := self._gaps + bool(at_the_end):
            missing = f"; lost: {(self._lost + at_the_end) / rate:.2f} s in {gaps} gaps"
        return (
            f"summary: {self._decisions} decisions on {audio_s:.1f} s of audio; real-time factor "
            f"{factor:.3g}, {speed} than real time; largest delay {self._largest_s:.3f} s{missing}"
        )


def run(
    predictor: Predictor,
    source: AbstractContextManager[Source],
    hop_s: float | None,
    smooth: int,
    form: str,
    write: Callable[[str], None],
    log: Log,
) -> None:
    """Analyse a source to its end, or until interrupted, and log a summary in either case.

    ``write`` is called with each decision as csv or jsonl (with all probabilities, not rounded).
    """
    settings = predictor.settings
    digits = {"latency_ms": ".1f", "behind_s": ".2f"}
    digits |= {} if predictor.classes else predict.NUMBER
    # The first time takes longer; nothing is to wait for it.
    predictor.outputs(np.zeros((1, settings.chunk_samples), np.float32))
    with source as opened:
        if settings.trim == "on" and settings.picture == "chunk":
            log("note: the model knows files without the silence at their ends; a stream keeps it")
        lengths = runtime.stream_window(settings, predictor.typical_s)
        chunk_s, used_s = (count / settings.sample_rate for count in lengths)
        used_s = hop_s or used_s
        if used_s > chunk_s:
            log(f"note: of every {used_s:g} s, {used_s - chunk_s:g} s are in no chunk")
        stream = Stream(predictor, opened, hop_s, smooth, log)
        try:
            for number, row in enumerate(stream.decide()):
                table = pd.DataFrame([row])
                if form == "csv":
                    table = table.drop(columns="probabilities", errors="ignore")
                write(predict.as_text(table, form, not number, digits))
        finally:
            reader_left = isinstance(sys.exception(), BrokenPipeError)  # and wants no summary
            if not reader_left and (summary := stream.summary()):
                log(summary)

"""Analyse audio as it comes: one smoothed decision per hop, and how fast it was made.

Memory does not grow: it holds one chunk, the last few outputs and the audio that waits.
"""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dslite import audio
from dslite.deployment import predict, runtime
from dslite.deployment.predict import Predictor
from dslite.errors import InputError

BLOCK_S = 0.1
WAITING_S = 10.0  # audio that may wait in a line
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
    arrived: float  # when the last of them was there; seconds of time.monotonic
    lost: int = 0  # frames that were lost just before
    broken: bool = False  # the device has lost some just before, and does not report how many


class Line:
    """Blocks between the thread that records and the one that analyses, in their order.

    It has broken where nothing has come for ``patience_s`` seconds.
    """

    def __init__(self, patience_s: float = np.inf):
        self._blocks: queue.Queue[Block | None] = queue.Queue(round(WAITING_S / BLOCK_S))
        self._ended = False
        self._error: InputError | None = None
        self._patience_s = patience_s
        self._broken = False
        self.lost = 0  # frames behind the last block
        self.held = False  # whether the writer had to wait since the line was empty last

    def put(self, samples: np.ndarray) -> None:
        """Append a block; waits while the line is full."""
        block = Block(samples, time.monotonic())
        self.held |= self._blocks.full()
        self._blocks.put(block)

    def offer(self, samples: np.ndarray, broken: bool) -> None:
        """Append a block, or count its frames as lost where the line is full. Never waits.

        A line that was full takes blocks again when half empty: a gap in every chunk is useless.
        """
        self._broken |= broken
        most = self._blocks.maxsize // 2 if self.lost else self._blocks.maxsize
        if self._blocks.qsize() >= most:
            self.lost += len(samples)
            return
        self._blocks.put(Block(samples, time.monotonic(), self.lost, self._broken))
        self.lost, self._broken = 0, False

    def end(self, error: InputError | None = None) -> None:
        """Let no more blocks come; an error is raised behind the last one."""
        self._error, self._ended = error, True
        with suppress(queue.Full):  # else nobody waits who must be woken up
            self._blocks.put_nowait(None)

    def waiting_s(self) -> float:
        """Return how much audio is in the line, seconds."""
        return self._blocks.qsize() * BLOCK_S

    def __iter__(self) -> Iterator[Block]:
        begin = time.monotonic()
        while True:
            self.held &= not self._blocks.empty()
            try:
                # With a timeout: on Windows, Ctrl-C does not end a wait.
                block = self._blocks.get(timeout=0.5)
            except queue.Empty:
                if self._ended and self._blocks.empty():
                    break
                if time.monotonic() - begin > self._patience_s:
                    silent = f"{MICROPHONE}: the device has sent nothing for {self._patience_s:g} s"
                    raise InputError(silent) from None
                continue
            if block is None:
                break
            yield block
            begin = time.monotonic()
        if self._error:
            raise self._error


@dataclass(frozen=True)
class Source:
    """Where audio comes from."""

    name: str  # for messages
    rate: int  # Hz
    blocks: Iterable[Block]  # to be taken once
    line: Line | None = None  # in which they wait; none: a file, which waits itself


def open_source(
    name: str | None, rate: int | None, channels: int | None, model_rate: int, log: Log
) -> AbstractContextManager[Source]:
    """Open what a user names: a file, ``-`` for standard input, or nothing for the microphone.

    Raw samples and the microphone have ``rate`` (Hz; raw: else the model's) and ``channels``.
    """
    if name is None:
        return microphone(rate, channels or 1)
    if name != "-":
        if rate or channels:
            raise InputError("--rate and --channels are for raw samples; a file has its own")
        return audio_file(name)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: pipe raw 16-bit samples into it, or name a file")
    raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    return pcm(raw, rate or model_rate, channels or 1, log)


@contextmanager
def audio_file(path: str | PathLike) -> Iterator[Source]:
    """Open an audio file, decoded as it is taken; errors as of `dslite.audio.opened`."""
    with audio.opened(path) as opened:
        frames = _block_frames(opened.samplerate)

        def blocks() -> Iterator[Block]:
            while len(samples := opened.read(frames, dtype="float32", always_2d=True)):
                yield Block(samples, time.monotonic())

        yield Source(str(path), opened.samplerate, blocks())


@contextmanager
def pcm(raw: BinaryIO, rate: int, channels: int, log: Log) -> Iterator[Source]:
    """Read raw 16-bit little-endian samples, channels interleaved, in a thread.

    ``raw`` is without a buffer, whose lock would be held when the program ends. What cannot be
    read, or is the beginning of an audio file, is an InputError behind the last block.
    """
    line = Line()
    fill = partial(_fill, line, raw, rate, channels, log)
    threading.Thread(target=lambda: line.end(fill()), name="reading", daemon=True).start()
    yield Source(STANDARD_INPUT, rate, line, line)


def _fill(line: Line, raw: BinaryIO, rate: int, channels: int, log: Log) -> InputError | None:
    """Put raw samples into a line, a block at a time, up to their end or an error."""
    size, content, error, first = 2 * channels * _block_frames(rate), b"", None, True
    while True:
        try:
            more = raw.read(size - len(content))
        except OSError as failure:  # reported behind what could be read
            more = b""
            error = InputError(f"{STANDARD_INPUT}: cannot be read ({failure.strerror})")
        if more is None:  # a descriptor that does not wait has nothing yet
            time.sleep(0.01)
            continue
        content += more
        if more and len(content) < size:
            continue
        if first and content.startswith(CONTAINERS):
            return InputError(
                f"{STANDARD_INPUT}: this is an audio file, not raw 16-bit samples; "
                "give its name instead of -, or pipe `ffmpeg -i FILE -f s16le -`"
            )
        if over := len(content) % (2 * channels):
            within = "note: the input ends within a frame of 16-bit samples"
            log(f"{within}; what there is of it was left out (bytes: {over})")
        if whole := content[: len(content) - over]:
            samples = np.frombuffer(whole, "<i2").reshape(-1, channels)
            line.put(samples.astype(np.float32) / 32768)
        if not more:
            return error
        content, first = b"", False


@contextmanager
def microphone(rate: int | None, channels: int) -> Iterator[Source]:
    """Open the system's default input device, at its own rate if none is given (Hz).

    Where sounddevice, PortAudio or a device that does this is missing, it is an InputError.
    """
    try:
        import sounddevice as device
    except ImportError:
        raise InputError(
            f"{MICROPHONE}: needs the package sounddevice; in the project's folder: pip install "
            "-e '.[stream]' (or name a file, or - for raw samples)"
        ) from None
    except OSError as error:
        raise InputError(
            f"{MICROPHONE}: needs the library PortAudio ({error}); on Debian and Ubuntu "
            "apt-get install libportaudio2, elsewhere pip install --force-reinstall sounddevice"
        ) from None
    line = Line(patience_s=5.0)
    unplugged = InputError(f"{MICROPHONE}: the device has ended the recording")

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
            finished_callback=lambda: line.end(unplugged),
        )
        stream.start()
    except (device.PortAudioError, ValueError) as error:
        raise InputError(f"{MICROPHONE}: cannot be opened ({error})") from None
    try:
        yield Source(MICROPHONE, rate, line, line)
    finally:
        stream.close()


def _block_frames(rate: int) -> int:
    """Return the frames of a block at a rate."""
    return max(1, round(rate * BLOCK_S))


# Decisions


class Ring:
    """Hold the last samples of a waveform, and yield the chunks that become full.

    They are those of `audio.chunk_starts` under "keep", the last one ends with the input.
    """

    def __init__(self, chunk: int, hop: int):
        self._chunk, self._hop = chunk, hop
        self._last, self._count = np.zeros(0, np.float32), 0  # the last samples; how many came
        self._due = chunk  # where the next chunk ends

    def add(self, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take float32 [samples]; yield where a chunk ends and the chunk, float32 [chunk]."""
        samples = np.concatenate([self._last, samples])
        begin = self._count - len(self._last)
        self._count, self._last = begin + len(samples), samples[-self._chunk :]
        while self._due <= self._count:
            end = self._due
            self._due += self._hop
            yield end, samples[end - self._chunk - begin : end - begin]

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the chunk that ends with the input, if samples are left; zeros fill a short one."""
        missing = self._chunk - self._count
        if 0 < missing < self._chunk:
            yield self._count, np.pad(self._last, (0, missing))
        elif self._count > max(self._chunk, self._due - self._hop):
            yield self._count, self._last


class Stream:
    """Decisions on the blocks of a source, and their statistics.

    They are ``hop_s`` seconds apart (None: that of `runtime.stream_window`), each the mean of the
    outputs of the last ``smooth`` chunks; ``log`` is called with messages on gaps and on being
    behind. Zeros fill what a chunk is shorter than the model's.
    """

    def __init__(
        self, predictor: Predictor, source: Source, hop_s: float | None, smooth: int, log: Log
    ):
        self._predictor, self._source, self._log = predictor, source, log
        settings, self._rate = predictor.settings, predictor.settings.sample_rate
        self._window, hop = runtime.stream_window(settings, predictor.typical_s)
        self._hop = max(1, round(hop_s * self._rate)) if hop_s else hop
        self._outputs: deque[np.ndarray] = deque(maxlen=smooth)
        self._frames = self._lost = self._gaps = 0  # frames: of the source, with those lost
        self._input_began = 0.0  # of time.monotonic
        self._began = time.monotonic()
        self._waited_s = 0.0
        self._reported = -np.inf  # when the last message on being behind was
        self._behind = False
        self._decisions, self._largest_s = 0, 0.0
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
        to the decision, ``behind_s`` audio that waits. No audio, NaN or what cannot be read is an
        InputError.
        """
        block = None
        for block in self._blocks():
            if not self._frames:
                self._input_began = block.arrived - len(block.samples) / self._source.rate
            if block.lost or block.broken:
                yield from self._gap(block)
            self._frames += len(block.samples)
            for end, chunk in self._ring.add(self._mixer.add(block.samples)):
                yield self._decision(end, chunk, block.arrived)
        if block is not None:
            yield from self._rest(block.arrived)
        if self._failure:
            raise self._failure
        if not self._decisions:
            raise InputError(f"{self._source.name}: no audio came")

    def _blocks(self) -> Iterator[Block]:
        """Yield the source's blocks; notes how long they were waited for, and what ended them."""
        blocks = iter(self._source.blocks)
        while True:
            begin = time.monotonic()
            try:
                block = next(blocks, None)
            except Exception as error:  # raised when the blocks before it are decided on
                self._failure = error
                return
            finally:
                if self._source.line:
                    self._waited_s += time.monotonic() - begin
            if block is None:
                return
            yield block

    def _rest(self, arrived: float) -> Iterator[dict[str, Any]]:
        """Yield the decisions on what is left at the end of the input or before a gap."""
        for chunks in (self._ring.add(self._mixer.rest()), self._ring.rest()):
            for end, chunk in chunks:
                yield self._decision(end, chunk, arrived)

    def _gap(self, block: Block) -> Iterator[dict[str, Any]]:
        """Report what was lost before a block, and begin anew behind it."""
        yield from self._rest(block.arrived)
        rate = self._source.rate
        lost = f"{block.lost / rate:.2f} s ({block.lost} samples)" if block.lost else ""
        if block.broken:
            lost += " and " * bool(lost) + "an unknown number of samples (the device's overflow)"
        at_s = self._frames / rate
        self._log(f"lost: {lost} at {at_s:.2f} s of the input; the next chunk begins behind")
        self._frames += block.lost
        self._lost += block.lost
        self._gaps += 1
        self._restart()

    def _decision(self, end: int, chunk: np.ndarray, arrived: float) -> dict[str, Any]:
        """Predict a chunk and smooth."""
        filled = np.pad(chunk, (0, self._predictor.settings.chunk_samples - len(chunk)))
        outputs = np.asarray(self._predictor.outputs(filled[None])[0], np.float64)
        end_s = self._offset_s + end / self._rate
        if not np.isfinite(outputs).all():
            raise InputError(f"the model yields NaN for the chunk that ends at {end_s:.2f} s")
        self._outputs.append(outputs)
        latency_s, behind_s = time.monotonic() - arrived, self._behind_s(end_s)
        self._decisions += 1
        self._largest_s = max(self._largest_s, latency_s)
        self._report_behind(end_s, behind_s)
        smooth, classes = np.mean(self._outputs, axis=0).tolist(), self._predictor.classes
        late = {"latency_ms": 1000 * latency_s, "behind_s": behind_s}
        if not classes:
            return {"end_s": end_s, "prediction": smooth[0]} | late
        probabilities = dict(zip(classes, smooth, strict=True))
        best = max(probabilities, key=probabilities.get)
        row = {"end_s": end_s, "prediction": best, "probability": probabilities[best]}
        return row | late | {"probabilities": probabilities}

    def _behind_s(self, end_s: float) -> float:
        """Return how far the analysis is behind an input that comes in real time, seconds."""
        # No more than waits in the line, unless that is full and the writer holds more: so it is 0
        # for an input that comes faster than real time and only then has to wait.
        line = self._source.line
        if line is None:
            return 0.0
        late_s = time.monotonic() - self._input_began - end_s
        return max(0.0, late_s if line.held else min(late_s, line.waiting_s()))

    def _report_behind(self, end_s: float, behind_s: float) -> None:
        """Log now and then that the analysis is behind, and when it has caught up."""
        now = time.monotonic()
        if behind_s > max(self._hop / self._rate, 2 * BLOCK_S):
            if now - self._reported < REPORT_EVERY_S:
                return
            held = "; the writer is held back, nothing is lost" if self._source.line.held else ""
            self._log(f"behind: by {behind_s:.1f} s at {end_s:.1f} s of the input{held}")
            self._reported, self._behind = now, True
        elif self._behind and behind_s < BLOCK_S:
            self._log(f"caught up at {end_s:.1f} s of the input")
            self._reported, self._behind = -np.inf, False

    def summary(self) -> str:
        """Return decisions, audio, real-time factor and largest delay; empty without audio."""
        rate, line = self._source.rate, self._source.line
        at_the_end, waiting_s = (line.lost, line.waiting_s()) if line else (0, 0)
        lost = self._lost + at_the_end
        audio_s = (self._frames - self._lost) / rate
        if not audio_s:
            return ""
        factor = (time.monotonic() - self._began - self._waited_s) / audio_s
        speed = f"{1 / factor:.1f} times faster" if factor < 1 else f"{factor:.1f} times slower"
        gaps = self._gaps + bool(at_the_end)
        missing = "; nothing lost" if line else ""  # a file waits
        if gaps:
            missing = f"; lost: {lost / rate:.2f} s in {gaps} gaps"
        if waiting_s:  # interrupted
            missing += f"; {waiting_s:.1f} s came and were not analysed"
        return (
            f"summary: {self._decisions} decisions on {audio_s:.1f} s of audio; real-time factor "
            f"{factor:.3g}, {speed} than real time; largest delay {self._largest_s:.3f} s{missing}"
        )

    def lines(self, form: str) -> Iterator[str]:
        """Yield decisions as text, a line each; a header of CSV comes with the first decision.

        ``form`` is csv (4 decimals) or jsonl (with all probabilities, not rounded).
        """
        digits = {"latency_ms": ".1f", "behind_s": ".2f"}
        digits |= {} if self._predictor.classes else predict.NUMBER
        for number, row in enumerate(self.decide()):
            table = pd.DataFrame([row])
            if form == "csv":
                table = table.drop(columns="probabilities", errors="ignore")
            yield predict.as_text(table, form, not number, digits)


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

    ``source`` is one of `open_source`; ``write`` is called with each of `Stream.lines`.
    """
    settings = predictor.settings
    # The first time takes longer; nothing is to wait for it.
    predictor.outputs(np.zeros((1, settings.chunk_samples), np.float32))
    with source as opened:
        if settings.trim == "on" and settings.picture == "chunk":
            log("note: the model knows files without the silence at their ends; a stream keeps it")
        window, hop = runtime.stream_window(settings, predictor.typical_s)
        chunk_s, used_s = (count / settings.sample_rate for count in (window, hop))
        used_s = hop_s or used_s
        if used_s > chunk_s:
            log(f"note: of every {used_s:g} s, {used_s - chunk_s:g} s are in no chunk")
        stream, reader_left = Stream(predictor, opened, hop_s, smooth, log), False
        try:
            for line in stream.lines(form):
                write(line)
        except BrokenPipeError:
            reader_left = True  # and wants no summary
            raise
        finally:
            if not reader_left and (summary := stream.summary()):
                log(summary)

"""Continuous analysis: audio as it comes -> one smoothed decision per hop, and how fast.

Memory does not grow: what is held is one chunk, the last few outputs and the audio that waits.
"""

import csv
import io
import json
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

import numpy as np

from dslite import audio
from dslite.deployment.predict import Predictor
from dslite.errors import InputError
from dslite.settings import Settings

BLOCK_S = 0.1
WAITING_S = 10.0  # audio that may wait in a line
MICROPHONE = "microphone"
STANDARD_INPUT = "standard input"
CONTAINERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Block:
    """Audio that was heard at once.

    Attributes
    ----------
    samples : ndarray of float32 [frames, channels]
    arrived : float
        When the last of them was there; seconds of `time.monotonic`.
    lost : int
        Frames that were lost just before.
    broken : bool
        The device has lost frames just before, and does not say how many.
    """

    samples: np.ndarray
    arrived: float
    lost: int = 0
    broken: bool = False


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


class Line:
    """Blocks between the thread that hears and the one that analyses, in their order.

    Parameters
    ----------
    patience_s : float, optional
        A line on which nothing comes for so long has broken.

    Attributes
    ----------
    held_s : float
        For how long the writer was held back since the line was empty last, seconds.
    """

    def __init__(self, patience_s: float = np.inf):
        self._blocks: queue.Queue[Block | None] = queue.Queue(round(WAITING_S / BLOCK_S))
        self._ended = threading.Event()
        self._error: InputError | None = None
        self._patience_s = patience_s
        self._lost, self._broken = 0, False
        self.held_s = 0.0

    def put(self, samples: np.ndarray) -> None:
        """Append a block; waits while the line is full."""
        begin = time.monotonic()
        self._blocks.put(Block(samples, begin))
        self.held_s += time.monotonic() - begin

    def offer(self, samples: np.ndarray, broken: bool) -> None:
        """Append a block, or count its frames as lost where the line is full. Never waits.

        A line that was full takes blocks again when it is half empty: one long gap and a long
        stretch behind it can be analysed, a gap in every chunk cannot.
        """
        self._broken |= broken
        most = self._blocks.maxsize // 2 if self._lost else self._blocks.maxsize
        if self._blocks.qsize() >= most:
            self._lost += len(samples)
            return
        self._blocks.put(Block(samples, time.monotonic(), self._lost, self._broken))
        self._lost, self._broken = 0, False

    def end(self, error: InputError | None = None) -> None:
        """No more blocks will come; an error is raised behind the last one."""
        self._error = error
        self._ended.set()
        with suppress(queue.Full):  # else nobody waits who must be woken up
            self._blocks.put_nowait(None)

    def waiting_s(self) -> float:
        """Audio in the line, seconds."""
        return self._blocks.qsize() * BLOCK_S

    def __iter__(self) -> Iterator[Block]:
        begin = time.monotonic()
        while True:
            if self._blocks.empty():
                self.held_s = 0.0
            try:
                # Not for ever: on Windows, Ctrl-C does not end a wait.
                block = self._blocks.get(timeout=0.5)
            except queue.Empty:
                if self._ended.is_set():
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

    def lost_at_the_end(self) -> int:
        """Frames lost behind the last block."""
        return self._lost


@dataclass(frozen=True)
class Source:
    """Where audio comes from.

    Attributes
    ----------
    name : str
        As a message calls it.
    rate : int
        Hz.
    blocks : iterable of Block
        To be taken once.
    line : Line, optional
        In which they wait; none: a file, which waits itself.
    """

    name: str
    rate: int
    blocks: Iterable[Block]
    line: Line | None = None


@contextmanager
def audio_file(path: str | PathLike) -> Iterator[Source]:
    """An audio file, decoded as it is taken.

    Raises
    ------
    InputError
        As for `audio.decode`.
    """
    with audio.opened(path) as opened:
        frames = _frames(opened.samplerate)

        def blocks() -> Iterator[Block]:
            while len(samples := opened.read(frames, dtype="float32", always_2d=True)):
                yield Block(samples, time.monotonic())

        yield Source(str(path), opened.samplerate, blocks())


@contextmanager
def pcm(raw: BinaryIO, rate: int, channels: int, tell: Tell) -> Iterator[Source]:
    """Raw 16-bit little-endian samples, channels interleaved.

    Parameters
    ----------
    raw : binary file
        Without a buffer: its lock would be held when the program ends.
    rate : int
        Hz.
    channels : int
    tell : callable
        Is told of a part of a sample at the end.

    Raises
    ------
    InputError
        What comes is the beginning of an audio file, or it cannot be read.
    """
    line = Line()

    def hear() -> None:
        try:
            for content in _pieces(raw, rate, channels):
                if over := len(content) % (2 * channels):
                    tell(
                        "note: the input ends within a frame of 16-bit samples; what there is of "
                        f"it was left out (bytes: {over})"
                    )
                samples = np.frombuffer(content[: len(content) - over], "<i2")
                if samples.size:
                    line.put(samples.reshape(-1, channels).astype(np.float32) / 32768)
            line.end()
        except OSError as error:
            line.end(InputError(f"{STANDARD_INPUT}: cannot be read ({error.strerror})"))
        except InputError as error:
            line.end(error)

    threading.Thread(target=hear, name="listening", daemon=True).start()
    yield Source(STANDARD_INPUT, rate, line, line)


def _pieces(raw: BinaryIO, rate: int, channels: int) -> Iterator[bytes]:
    """What can be read, a block at a time; the last piece may be shorter."""
    size, first, failed = 2 * channels * _frames(rate), True, None
    while True:
        content = b""
        while len(content) < size:
            try:
                more = raw.read(size - len(content))
            except OSError as error:  # raised behind what could be read
                more, failed = b"", error
            if more is None:  # a descriptor that does not wait has nothing yet
                time.sleep(0.01)
            elif not more:
                break
            else:
                content += more
        if first and content.startswith(CONTAINERS):
            raise InputError(
                f"{STANDARD_INPUT}: this is an audio file, not raw 16-bit samples; "
                "give its name instead of -, or pipe `ffmpeg -i FILE -f s16le -`"
            )
        if content:
            yield content
        if failed:
            raise failed
        if len(content) < size:
            return
        first = False


@contextmanager
def microphone(rate: int | None, channels: int) -> Iterator[Source]:
    """The system's default input device.

    Parameters
    ----------
    rate : int, optional
        Hz; the device's own if not given.
    channels : int

    Raises
    ------
    InputError
        sounddevice or PortAudio is missing, or there is no device that does this.
    """
    device = _sounddevice()
    line = Line(patience_s=5.0)
    unplugged = InputError(f"{MICROPHONE}: the device has ended the recording")

    def hear(samples, frames, when, status) -> None:
        line.offer(samples.copy(), bool(status.input_overflow))  # the device uses its array again

    try:
        rate = rate or round(device.query_devices(kind="input")["default_samplerate"])
        stream = device.InputStream(
            samplerate=rate,
            blocksize=_frames(rate),
            channels=channels,
            dtype="float32",
            callback=hear,
            finished_callback=lambda: line.end(unplugged),
        )
        stream.start()
    except (device.PortAudioError, ValueError) as error:
        raise InputError(f"{MICROPHONE}: cannot be opened ({error})") from None
    try:
        yield Source(MICROPHONE, rate, line, line)
    finally:
        stream.close()


def _sounddevice():
    try:
        import sounddevice
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
    return sounddevice


def _frames(rate: int) -> int:
    return max(1, round(rate * BLOCK_S))


TELL_EVERY_S = 10.0  # at most so often that the analysis is behind


@dataclass(frozen=True)
class Decision:
    """What is said of one chunk and those before it.

    Attributes
    ----------
    end_s : float
        Where the chunk ends in the input, seconds.
    outputs : ndarray of float64 [outputs]
        Probabilities or the predicted number, smoothed.
    latency_s : float
        From the arrival of the chunk's last sample to here, seconds.
    behind_s : float
        Audio that has come and is not analysed, see `Stream.behind_s`, seconds.
    """

    end_s: float
    outputs: np.ndarray
    latency_s: float
    behind_s: float


class Stream:
    """Decisions on what a source yields, and the account of them.

    Parameters
    ----------
    predictor : Predictor
    source : Source
    hop_s : float, optional
        From one decision to the next, seconds; the model's own hop if not given.
    smooth : int
        A decision is the mean of so many chunks' outputs: its own and those before; 1 is off.
    tell : callable
        Is told of gaps and of how far the analysis is behind.

    Attributes
    ----------
    decisions : int
    largest_s : float
        The largest delay from a sample's arrival to the decision, seconds.
    """

    def __init__(
        self, predictor: Predictor, source: Source, hop_s: float | None, smooth: int, tell: Tell
    ):
        settings = predictor.settings
        self.predictor, self.source, self.tell = predictor, source, tell
        self._rate, self._chunk = settings.sample_rate, settings.chunk_samples
        self._hop = max(1, round(hop_s * self._rate)) if hop_s else settings.chunk_hop_samples
        self._outputs: deque[np.ndarray] = deque(maxlen=smooth)
        self._frames = self._lost = self._gaps = 0  # frames: of the source, with those lost
        self._zero = 0.0  # when the input began, of time.monotonic
        self._began = time.monotonic()
        self._waited_s = 0.0
        self._told = -np.inf  # when it was last told that the analysis is behind
        self._behind = False
        self.decisions, self.largest_s = 0, 0.0
        self._failure: Exception | None = None  # of the source
        self._start()

    def _start(self) -> None:
        """Begin anew, at the beginning and behind a gap: no chunk is heard across one."""
        self._offset_s = self._frames / self.source.rate
        self._ring = Ring(self._chunk, self._hop)
        self._mixer = audio.Mixer(self.source.rate, self._rate, self.source.name)
        self._outputs.clear()

    def decide(self) -> Iterator[Decision]:
        """Decisions as soon as they can be made.

        Raises
        ------
        InputError
            There is no audio, it holds NaN, it cannot be read, or the model yields NaN.
        """
        block = None
        for block in self._heard():
            if not self._frames:
                self._zero = block.arrived - len(block.samples) / self.source.rate
            if block.lost or block.broken:
                yield from self._gap(block)
            self._frames += len(block.samples)
            for end, chunk in self._ring.add(self._mixer.add(block.samples)):
                yield self._decision(end, chunk, block.arrived)
        if block is not None:
            yield from self._rest(block.arrived)
        if self._failure:
            raise self._failure
        if not self.decisions:
            raise InputError(f"{self.source.name}: no audio came")

    def _heard(self) -> Iterator[Block]:
        """The source's blocks; notes how long they were waited for, and what ended them."""
        blocks = iter(self.source.blocks)
        while True:
            begin = time.monotonic()
            try:
                block = next(blocks, None)
            except Exception as error:  # raised when what was heard is decided on
                self._failure = error
                return
            finally:
                if self.source.line:
                    self._waited_s += time.monotonic() - begin
            if block is None:
                return
            yield block

    def _rest(self, arrived: float) -> Iterator[Decision]:
        for chunks in (self._ring.add(self._mixer.rest()), self._ring.rest()):
            for end, chunk in chunks:
                yield self._decision(end, chunk, arrived)

    def _gap(self, block: Block) -> Iterator[Decision]:
        yield from self._rest(block.arrived)
        at_s = self._frames / self.source.rate
        lost = f"{block.lost / self.source.rate:.2f} s ({block.lost} samples)" if block.lost else ""
        if block.broken:
            lost += " and " * bool(lost) + "an unknown number of samples (the device's overflow)"
        self.tell(f"lost: {lost} at {at_s:.2f} s of the input; the next chunk begins behind")
        self._frames += block.lost
        self._lost += block.lost
        self._gaps += 1
        self._start()

    def _decision(self, end: int, chunk: np.ndarray, arrived: float) -> Decision:
        outputs = np.asarray(self.predictor.outputs(chunk[None])[0], np.float64)
        end_s = self._offset_s + end / self._rate
        if not np.isfinite(outputs).all():
            raise InputError(f"the model yields NaN for the chunk that ends at {end_s:.2f} s")
        self._outputs.append(outputs)
        latency_s = time.monotonic() - arrived
        behind_s = self.behind_s(end_s)
        self.decisions += 1
        self.largest_s = max(self.largest_s, latency_s)
        self._tell_behind(end_s, behind_s)
        return Decision(end_s, np.mean(self._outputs, axis=0), latency_s, behind_s)

    def behind_s(self, end_s: float) -> float:
        """How far the analysis is behind an input that comes in real time, seconds.

        What waits in the line and, where the line is full, what the writer could not hand over
        meanwhile; but no more than the time since the input began less what is analysed of it.
        So it is 0 for an input that comes faster than real time and only then has to wait.
        """
        line = self.source.line
        if line is None:
            return 0.0
        late_s = time.monotonic() - self._zero - end_s
        return max(0.0, min(late_s, line.waiting_s() + line.held_s))

    def _tell_behind(self, end_s: float, behind_s: float) -> None:
        now = time.monotonic()
        if behind_s > max(self._hop / self._rate, 2 * BLOCK_S):
            if now - self._told < TELL_EVERY_S:
                return
            full = self.source.line.held_s > 0
            held = "; the writer is held back, nothing is lost" if full else ""
            self.tell(f"behind: by {behind_s:.1f} s at {end_s:.1f} s of the input{held}")
            self._told, self._behind = now, True
        elif self._behind and behind_s < BLOCK_S:
            self.tell(f"caught up at {end_s:.1f} s of the input")
            self._told, self._behind = -np.inf, False

    def summary(self) -> str:
        """Decisions, seconds of audio, real-time factor and largest delay; empty without audio."""
        rate = self.source.rate
        line = self.source.line
        at_the_end, waiting_s = (line.lost_at_the_end(), line.waiting_s()) if line else (0, 0)
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
            f"summary: {self.decisions} decisions on {audio_s:.1f} s of audio; real-time factor "
            f"{factor:.3g}, {speed} than real time; largest delay {self.largest_s:.3f} s{missing}"
        )

    def lines(self, form: str) -> Iterator[str]:
        """Decisions as text, one line each; a header of CSV comes with the first decision.

        Parameters
        ----------
        form : {"csv", "jsonl"}
            Seconds and the probability to 4 decimals; or one JSON object a line, with all
            probabilities and not rounded.
        """
        classes = self.predictor.classes
        for decision in self.decide():
            if form == "jsonl":
                yield json.dumps(_facts(decision, classes)) + "\n"
                continue
            if self.decisions == 1:
                yield _csv(columns(classes))
            yield _csv(_cells(decision, classes))


def columns(classes: tuple[str, ...]) -> list[str]:
    """Names of the columns of CSV; a regression has no probability."""
    return ["end_s", "prediction", *["probability"] * bool(classes), "latency_ms", "behind_s"]


def _facts(decision: Decision, classes: tuple[str, ...]) -> dict:
    outputs, probabilities = decision.outputs, {}
    said = {"prediction": float(outputs[0])}
    if classes:
        best = int(outputs.argmax())
        said = {"prediction": classes[best], "probability": float(outputs[best])}
        probabilities = {
            "probabilities": dict(zip(classes, map(float, outputs), strict=True)),
        }
    times = {"latency_ms": 1000 * decision.latency_s, "behind_s": decision.behind_s}
    return {"end_s": decision.end_s, **said, **times, **probabilities}


def _cells(decision: Decision, classes: tuple[str, ...]) -> list[str]:
    facts = _facts(decision, classes)
    forms = {"probability": ".4f", "latency_ms": ".1f", "behind_s": ".2f", "end_s": ".4f"}
    forms["prediction"] = "" if classes else ".6g"  # its size is not known: digits, not decimals
    return [format(facts[name], forms[name]) for name in columns(classes)]


def _csv(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def source(
    given: str | None, rate: int | None, channels: int | None, model_rate: int, tell: Tell
) -> AbstractContextManager[Source]:
    """What a user names: a file, ``-`` for standard input, or nothing for the microphone.

    Parameters
    ----------
    given : str, optional
    rate, channels : int, optional
        Of raw samples or the microphone; a file says its own.
    model_rate : int
        Of raw samples of which no rate is given, Hz.
    tell : callable
    """
    if given is None:
        return microphone(rate, channels or 1)
    if given != "-":
        if rate or channels:
            raise InputError("--rate and --channels are for raw samples; a file says its own")
        return audio_file(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: pipe raw 16-bit samples into it, or name a file")
    raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    return pcm(raw, rate or model_rate, channels or 1, tell)


def run(
    predictor: Predictor,
    given: AbstractContextManager[Source],
    hop_s: float | None,
    smooth: int,
    form: str,
    write: Callable[[str], None],
    tell: Tell,
) -> None:
    """Analyse a source to its end, or until interrupted; a summary is told in either case.

    Parameters
    ----------
    predictor, hop_s, smooth, tell
        As for `Stream`.
    given : context manager
        See `source`.
    form : {"csv", "jsonl"}
    write : callable
        Is given the lines, see `Stream.lines`.
    """
    settings = predictor.settings
    # The first time takes longer; nothing is to wait for it.
    predictor.outputs(np.zeros((1, settings.chunk_samples), np.float32))
    with given as opened:
        for note in _notes(settings, hop_s):
            tell(note)
        stream, read = Stream(predictor, opened, hop_s, smooth, tell), True
        try:
            for line in stream.lines(form):
                write(line)
        except BrokenPipeError:  # who reads no more wants no summary
            read = False
            raise
        finally:
            if read and (summary := stream.summary()):
                tell(summary)


def _notes(settings: Settings, hop_s: float | None) -> Iterator[str]:
    """What a user should know of a model beforehand."""
    if settings.trim == "on":
        yield "note: the model knows files without the silence at their ends; a stream keeps it"
    chunk_s, used_s = settings.chunk_length_s, hop_s or settings.chunk_hop_s or 0
    if used_s > chunk_s:
        yield f"note: of every {used_s:g} s, {used_s - chunk_s:g} s are in no chunk"

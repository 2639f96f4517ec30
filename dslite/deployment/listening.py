"""Audio as it comes: a file, raw samples from a pipe or a microphone -> blocks of 0.1 s.

A file waits until it is read. What comes by itself is heard by a thread of its own and waits in a
`Line` of bounded length: a pipe's writer is then held back, and what a microphone can no longer
hand over is counted.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

import numpy as np

from dslite import audio
from dslite.errors import InputError

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
def file(path: str | PathLike) -> Iterator[Source]:
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

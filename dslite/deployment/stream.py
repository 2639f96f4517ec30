"""Continuous analysis: audio as it comes -> one smoothed decision per hop, and how fast.

Memory does not grow: what is held is one chunk, the last few outputs and the audio that waits.
"""

import csv
import io
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from dslite import audio
from dslite.deployment import listening
from dslite.deployment.listening import Block, Source, Tell
from dslite.deployment.predict import Predictor
from dslite.errors import InputError
from dslite.features.clips import Ring
from dslite.settings import Settings

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
        if behind_s > max(self._hop / self._rate, 2 * listening.BLOCK_S):
            if now - self._told < TELL_EVERY_S:
                return
            full = self.source.line.held_s > 0
            held = "; the writer is held back, nothing is lost" if full else ""
            self.tell(f"behind: by {behind_s:.1f} s at {end_s:.1f} s of the input{held}")
            self._told, self._behind = now, True
        elif self._behind and behind_s < listening.BLOCK_S:
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
        return listening.microphone(rate, channels or 1)
    if given != "-":
        if rate or channels:
            raise InputError("--rate and --channels are for raw samples; a file says its own")
        return listening.file(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: pipe raw 16-bit samples into it, or name a file")
    raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    return listening.pcm(raw, rate or model_rate, channels or 1, tell)


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

"""Streaming: the chunks of a file's prediction from any blocks, real time, and nothing lost."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite import audio
from dslite.deployment import predict
from dslite.deployment import stream as deployment_stream
from dslite.deployment.stream import Block, Source
from dslite.errors import InputError
from dslite.settings import Settings

RATE = 16000
USED = Settings(sample_rate=RATE, chunk_length_s=1.0, chunk_hop_s=0.4, backbone="squeezenet")
BLOCK = RATE // 10


def loudness(waveforms):
    """Stands in for a network: a chunk's loudness, and the rest to 1."""
    loud = np.sqrt(np.mean(waveforms.astype(np.float64) ** 2, axis=1))
    return np.stack([loud, 1 - loud], axis=1).astype(np.float32)


def predictor(outputs=loudness, classes=("loud", "quiet"), **changed):
    return predict.Predictor(USED.model_copy(update=changed), classes, outputs)


@contextmanager
def opened(source):
    yield source


def streamed(source, of=None, hop=None, smooth=1, form="csv"):
    """Table of what was written, and what was told."""
    written, told = [], []
    context = source if hasattr(source, "__enter__") else opened(source)
    deployment_stream.run(
        of or predictor(), context, hop, smooth, form, written.append, told.append
    )
    return pd.read_csv(io.StringIO("".join(written))), told


def noise(path, seconds, rate=RATE, channels=1):
    rng = np.random.default_rng(round(100 * seconds))
    envelope = np.linspace(0.05, 0.9, round(seconds * rate))[:, None]
    soundfile.write(path, envelope * rng.uniform(-1, 1, (len(envelope), channels)), rate)
    return path


def raw_pcm(samples):
    return (np.asarray(samples) * 32767).round().astype("<i2").tobytes()


# The ring


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 120),
    chunk=st.integers(1, 30),
    hop=st.integers(1, 40),
    sizes=st.lists(st.integers(0, 50), max_size=8),
)
def test_any_blocks_give_the_chunks_of_a_file(n, chunk, hop, sizes):
    waveform = np.arange(1, n + 1, dtype=np.float32)
    ring, found = deployment_stream.Ring(chunk, hop), []
    for block in np.split(waveform, np.minimum(np.cumsum(sizes), n)):
        found += ring.add(block)
    found += ring.rest()
    if not n:
        assert found == []
        return
    starts = audio.chunk_starts(n, chunk, hop)
    assert [end for end, _ in found] == np.minimum(starts + chunk, n).tolist()
    np.testing.assert_array_equal([c for _, c in found], audio.cut(waveform, starts, chunk))


def test_a_chunk_is_the_callers_own():
    ring = deployment_stream.Ring(4, 4)
    (_, first), (_, second) = ring.add(np.arange(8, dtype=np.float32))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2, 3], [4, 5, 6, 7])


# Files


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"),
    [(5.03, RATE, 1), (5.0, 44100, 2), (3.37, 8000, 1), (0.3, RATE, 1), (0.3, 48000, 2)],
)
def test_a_files_decisions_are_those_of_predict(tmp_path, seconds, rate, channels):
    file = noise(tmp_path / "a.wav", seconds, rate, channels)
    expected = pd.concat(predict.tables(predictor(), [file], "chunk", pytest.fail))
    found, told = streamed(deployment_stream.audio_file(file))
    np.testing.assert_allclose(found["end_s"], expected["end_s"], atol=1.2e-4)
    assert found["prediction"].tolist() == expected["prediction"].tolist()
    best = expected[["loud", "quiet"]].max(axis=1)
    np.testing.assert_allclose(found["probability"], best, atol=6e-5)
    assert found["behind_s"].eq(0).all()
    (summary,) = told
    assert summary.startswith(f"summary: {len(found)} decisions on {seconds:.1f} s of audio; ")
    assert " times faster than real time; " in summary


def test_a_hop_of_ones_own(tmp_path):
    found, told = streamed(deployment_stream.audio_file(noise(tmp_path / "a.wav", 2.05)), hop=0.5)
    assert found["end_s"].tolist() == [1, 1.5, 2, 2.05]
    _, told = streamed(deployment_stream.audio_file(tmp_path / "a.wav"), hop=1.5)
    assert told[0] == "note: of every 1.5 s, 0.5 s are in no chunk"


def test_a_trained_run(command, small_run, small_corpus, tmp_path):
    parts = [audio.read(path, RATE) for path in sorted(small_corpus.parent.glob("spk03/*.wav"))[:4]]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), RATE)
    words = [small_run.folder, tmp_path / "long.wav"]
    _, expected, _ = command("predict", *words, "--level", "chunk", "--format", "jsonl")
    status, out, err = command("stream", *words, "--smooth", 1, "--format", "jsonl")
    assert (status, err.count("\n")) == (0, 1)
    expected = [json.loads(line) for line in expected.splitlines()]
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == len(expected) > 3
    for one, other in zip(found, expected, strict=True):
        assert one["end_s"] == pytest.approx(other["end_s"], abs=1e-4)
        for name, probability in one["probabilities"].items():
            assert probability == pytest.approx(other[name], abs=1e-5)
        assert one["probability"] == max(one["probabilities"].values())


def test_a_trimmed_model_is_told_of(tmp_path):
    _, told = streamed(
        deployment_stream.audio_file(noise(tmp_path / "a.wav", 2)), predictor(trim="on")
    )
    assert len(told) == 2
    assert "a stream keeps it" in told[0]


# Smoothing and text


def test_smoothing_is_the_mean_of_the_last_ones(tmp_path):
    file = noise(tmp_path / "a.wav", 4)
    rough = streamed(deployment_stream.audio_file(file), predictor(classes=("a", "b")))[0][
        "probability"
    ]
    written = []
    given = (
        deployment_stream.audio_file(file),
        None,
        3,
        "jsonl",
        written.append,
        lambda line: None,
    )
    deployment_stream.run(predictor(), *given)
    loud = [1 - p if p > 0.5 else p for p in rough]  # a noise's loudness is below a half ...
    expected = [np.mean(loud[max(0, i - 2) : i + 1]) for i in range(len(loud))]
    found = [json.loads(line)["probabilities"]["loud"] for line in written]
    assert max(found) < 0.5  # ... throughout
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_regression_is_a_number_smoothed(tmp_path):
    numbers = iter([0, 1e-5, 2e-5, 6e-5, 7e-5, 8e-5, 9e-5])  # the first is for the warming up
    of = predictor(lambda waveforms: np.array([[next(numbers)]]), classes=())
    found, _ = streamed(deployment_stream.audio_file(noise(tmp_path / "a.wav", 2)), of, smooth=2)
    assert found.columns.tolist() == ["end_s", "prediction", "latency_ms", "behind_s"]
    np.testing.assert_allclose(found["prediction"], [1e-5, 1.5e-5, 4e-5, 6.5e-5])


def test_a_class_may_have_any_name(tmp_path):
    found, _ = streamed(
        deployment_stream.audio_file(noise(tmp_path / "a.wav", 1)),
        predictor(classes=("x", 'q", r')),
    )
    assert found["prediction"].tolist() == ['q", r']


# Raw samples


class Raw:
    """A pipe that gives what it has in odd pieces; sometimes nothing yet."""

    def __init__(self, content):
        self._file, self._calls = io.BytesIO(content), 0

    def read(self, size):
        self._calls += 1
        return None if self._calls % 50 == 0 else self._file.read(min(size, 777))


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (44100, 2)])
def test_raw_samples_are_the_file(tmp_path, rate, channels):
    file = noise(tmp_path / "a.wav", 3.21, rate, channels)
    samples, _ = soundfile.read(file, dtype="int16", always_2d=True)
    raw = Raw(samples.astype("<i2").tobytes())
    found, told = streamed(deployment_stream.pcm(raw, rate, channels, pytest.fail))
    expected, _ = streamed(deployment_stream.audio_file(file))
    pd.testing.assert_frame_equal(found.iloc[:, :3], expected.iloc[:, :3])
    assert told[-1].endswith("nothing lost")


@pytest.mark.parametrize(("channels", "over"), [(1, 1), (2, 3)])
def test_a_part_of_a_sample_is_told(channels, over):
    told = []
    content = raw_pcm(np.zeros(RATE * channels)) + b"x" * over
    streamed(deployment_stream.pcm(io.BytesIO(content), RATE, channels, told.append))
    (note,) = told
    assert note.startswith("note: the input ends within a frame")
    assert note.endswith(f"(bytes: {over})")


@pytest.mark.parametrize("content", [b"", b"x"], ids=["empty", "half-a-sample"])
def test_no_audio(content):
    with pytest.raises(InputError, match="standard input: no audio came"):
        streamed(deployment_stream.pcm(io.BytesIO(content), RATE, 1, lambda line: None))


def test_an_audio_file_is_no_raw_samples(tmp_path):
    content = noise(tmp_path / "a.wav", 1).read_bytes()
    with pytest.raises(InputError, match="this is an audio file"):
        streamed(deployment_stream.pcm(io.BytesIO(content), RATE, 1, pytest.fail))


def test_a_pipe_that_fails_says_so_behind_its_last_decision():
    class Fails(Raw):
        def read(self, size):
            if self._calls >= 60:
                raise OSError(5, "Input/output error")
            return super().read(size)

    written = []
    source = deployment_stream.pcm(Fails(raw_pcm(np.zeros(3 * RATE))), RATE, 1, pytest.fail)
    with pytest.raises(InputError, match="standard input: cannot be read"):
        deployment_stream.run(
            predictor(), source, None, 1, "csv", written.append, lambda line: None
        )
    assert [line.split(",")[0] for line in written] == ["end_s", "1.0000", "1.1971"]


# Keeping up


@pytest.fixture
def fast_clock(monkeypatch):
    """A clock that runs 20 times as fast, so that a minute of audio takes 3 s."""
    clock = SimpleNamespace(
        monotonic=lambda: 20 * time.monotonic(), sleep=lambda seconds: time.sleep(seconds / 20)
    )
    monkeypatch.setattr(deployment_stream, "time", clock)
    monkeypatch.setattr(deployment_stream, "time", clock)
    return clock


class Live:
    """A pipe into which silence comes in real time."""

    def __init__(self, clock, seconds):
        self._clock, self._left = clock, round(seconds * RATE)
        self._begin, self._given = clock.monotonic(), 0

    def read(self, size):
        size = min(size, 2 * self._left)
        self._given += size // 2
        self._left -= size // 2
        due = self._begin + self._given / RATE
        self._clock.sleep(max(0, due - self._clock.monotonic()))
        return b"\0" * size


def slow(clock, seconds):
    def outputs(waveforms):
        clock.sleep(seconds)
        return loudness(waveforms)

    return predictor(outputs)


def test_what_keeps_up_is_not_behind():
    source = deployment_stream.pcm(Live(time, 2.5), RATE, 1, pytest.fail)
    found, told = streamed(source, slow(time, 0.1))  # a quarter of the hop
    np.testing.assert_allclose(found["end_s"], [1, 1.4, 1.8, 2.2, 2.5])
    factor = float(told[-1].split("real-time factor ")[1].split(",")[0])
    assert 0.2 <= factor < 0.6
    assert found["behind_s"].median() <= 0.2
    assert found["latency_ms"].min() >= 100


def test_what_is_slower_says_by_how_much_and_loses_nothing(fast_clock):
    source = deployment_stream.pcm(Live(fast_clock, 30), RATE, 1, pytest.fail)
    found, told = streamed(source, slow(fast_clock, 0.8))  # twice the hop, 0.4 s
    np.testing.assert_allclose(found["end_s"], [*np.arange(1, 29.9, 0.4), 30])
    *behind, summary = told
    said = [float(line.split("by ")[1].split(" s")[0]) for line in behind]
    assert all(line.startswith("behind: by ") for line in behind)
    assert said[0] < 5
    assert 3 <= len(said) <= 20  # of 75 decisions: at most one every 10 s
    assert (
        max(said) > deployment_stream.WAITING_S + 5
    )  # also what the writer could not hand over yet
    assert behind[-1].endswith("; the writer is held back, nothing is lost")
    assert "times slower than real time" in summary
    assert summary.endswith("nothing lost")
    assert found["latency_ms"].max() > 5000


def test_what_catches_up_says_so(fast_clock):
    left = [1.0] * 6

    def outputs(waveforms):
        fast_clock.sleep(left.pop() if left else 0)
        return loudness(waveforms)

    source = deployment_stream.pcm(Live(fast_clock, 15), RATE, 1, pytest.fail)
    _, told = streamed(source, predictor(outputs))
    assert [line.split()[0] for line in told] == ["behind:", "caught", "summary:"]


def test_a_fast_writer_is_held_back_and_nobody_is_behind():
    source = deployment_stream.pcm(io.BytesIO(bytes(2 * 60 * RATE)), RATE, 1, pytest.fail)
    found, told = streamed(source, slow(time, 0.002))
    assert (len(found), len(told)) == (149, 1)
    assert found["behind_s"].max() == 0


# Memory


def test_memory_does_not_grow_with_the_input(monkeypatch):
    monkeypatch.setattr(deployment_stream, "BLOCK_S", 0.5)  # fewer calls, for the test's sake

    def peak(minutes):
        class Zeros:
            left = 2 * 60 * minutes * RATE

            def read(self, size):
                size = min(size, self.left)
                self.left -= size
                return bytes(size)

        instant = predictor(lambda waveforms: np.ones((1, 2)) / 2, chunk_hop_s=1.0)
        given = deployment_stream.pcm(Zeros(), RATE, 1, pytest.fail)
        count = []
        tracemalloc.start()
        try:
            deployment_stream.run(instant, given, None, 3, "csv", lambda line: count.append(1), len)
            return tracemalloc.get_traced_memory()[1], sum(count)
        finally:
            tracemalloc.stop()

    peak(1)  # what is made once
    (short, few), (long, many) = peak(10), peak(60)
    assert (few, many) == (601, 3601)
    assert short < 4e6
    assert long < short + 2e5


# The microphone


class Device:
    """Stands in for sounddevice: calls back in a thread of its own."""

    class PortAudioError(Exception):
        pass

    def __init__(self, play, error=None):
        self.play, self.error, self.closed = play, error, False

    def query_devices(self, kind):
        return {"default_samplerate": 48000.0}

    def InputStream(self, **given):
        if self.error:
            raise self.PortAudioError(self.error)
        self.given = given
        return self

    def heard(self, count, overflowed=False, level=0.5):
        samples = np.full((self.given["blocksize"], self.given["channels"]), level, np.float32)
        for _ in range(count):
            status = SimpleNamespace(input_overflow=overflowed)
            self.given["callback"](samples, len(samples), None, status)
        samples[:] = np.nan  # PortAudio uses its memory again

    def start(self):
        threading.Thread(target=self.play, args=(self,), daemon=True).start()

    def close(self):
        self.closed = True


def microphone(monkeypatch, play, of=None, rate=None, channels=1, **how):
    """What is written and told of a microphone that ends by itself, as when it is unplugged."""
    device = Device(play)
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    written, told = [], []
    source = deployment_stream.microphone(rate, channels)
    with pytest.raises(InputError, match="the device has ended the recording"):
        deployment_stream.run(
            of or predictor(), source, None, 1, "csv", written.append, told.append
        )
    assert device.closed
    return pd.read_csv(io.StringIO("".join(written))), told, device


def test_a_microphone_at_its_own_rate(monkeypatch):
    def play(device):
        device.heard(30)
        device.given["finished_callback"]()

    found, told, device = microphone(monkeypatch, play, channels=2)
    assert (device.given["samplerate"], device.given["blocksize"]) == (48000, 4800)
    np.testing.assert_allclose(found["end_s"], [1, 1.4, 1.8, 2.2, 2.6, 3])
    np.testing.assert_allclose(found["probability"], 0.5, atol=0.01)
    assert told[-1].endswith("nothing lost")


def test_what_a_microphone_loses_is_counted_with_its_time(monkeypatch):
    begun, emptied, calls = threading.Event(), threading.Event(), []

    def outputs(waveforms):
        calls.append(1)
        if len(calls) == 2:  # the first chunk of the input; one call was to warm up
            begun.wait(5)
        if len(calls) > 25:
            emptied.set()
        return loudness(waveforms)

    def play(device):
        device.heard(10)
        while len(calls) < 2:
            time.sleep(0.001)
        device.heard(150)  # while a chunk is analysed: 100 find a place
        begun.set()
        emptied.wait(5)
        device.heard(10, level=0.2)
        device.heard(1, overflowed=True, level=0.2)
        device.heard(9, level=0.2)
        device.given["finished_callback"]()

    found, told, _ = microphone(monkeypatch, play, predictor(outputs), rate=RATE)
    lost = [line for line in told if line.startswith("lost:")]
    assert lost[0] == (
        "lost: 5.00 s (80000 samples) at 11.00 s of the input; the next chunk begins behind"
    )
    assert lost[1].startswith("lost: an unknown number of samples (the device's overflow) at 17.00")
    assert len(lost) == 2
    before, after = found[found["end_s"] < 11.01], found[found["end_s"] > 11.01]
    assert before["end_s"].iloc[-1] == pytest.approx(11)
    assert after["end_s"].tolist() == [17, 18]
    # No chunk holds both what was before and behind the gap.
    np.testing.assert_allclose(before["probability"], 0.5, atol=1e-3)
    np.testing.assert_allclose(after["probability"], 0.8, atol=1e-3)
    assert "13.0 s of audio" in told[-1]
    assert told[-1].endswith("lost: 5.00 s in 2 gaps")


def test_a_full_line_takes_no_more_until_it_is_half_empty():
    line, block = deployment_stream.Line(), np.zeros((BLOCK, 1), np.float32)
    for _ in range(105):
        line.offer(block, False)
    blocks, lost = iter(line), []
    for _ in range(150):  # half as fast as it comes
        lost.append(next(blocks).lost // BLOCK)
        line.offer(block, False)
        line.offer(block, False)
    assert lost[0] == 0
    # 5 and, until half is taken, 2 more with each block.
    assert np.flatnonzero(lost).tolist() == [100]
    assert max(lost) == 5 + 2 * 50
    assert line.lost > 0


def test_a_silent_microphone_has_broken():
    line = deployment_stream.Line(patience_s=0.1)
    line.offer(np.zeros((BLOCK, 1), np.float32), False)
    blocks = iter(line)
    assert isinstance(next(blocks), Block)
    with pytest.raises(InputError, match=r"microphone: the device has sent nothing for 0\.1 s"):
        next(blocks)


def test_without_sounddevice(command, monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "load_model", lambda place: predictor())
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    status, out, err = command("stream", tmp_path)
    assert (status, out) == (2, "")
    assert "pip install -e '.[stream]'" in err
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    status, out, err = command("stream", tmp_path)
    assert (status, out) == (2, "")
    assert "needs the library PortAudio (PortAudio library not found)" in err


def test_without_a_device(command, monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "load_model", lambda place: predictor())
    monkeypatch.setitem(sys.modules, "sounddevice", Device(None, error="Invalid sample rate"))
    status, out, err = command("stream", tmp_path, "--rate", 12345)
    assert (status, out) == (2, "")
    assert err == "error: microphone: cannot be opened (Invalid sample rate)\n"


# What is refused


def test_nan_is_refused_and_what_was_before_is_told(tmp_path):
    samples = np.zeros(3 * RATE)
    samples[2 * RATE :] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    written, told = [], []
    with pytest.raises(InputError, match="holds NaN"):
        deployment_stream.run(
            predictor(),
            deployment_stream.audio_file(tmp_path / "a.wav"),
            *(None, 1, "csv", written.append, told.append),
        )
    assert len(written) == 4
    assert told[0].startswith("summary: 3 decisions on ")


def test_a_model_that_yields_nan(tmp_path):
    of = predictor(lambda waveforms: np.full((1, 2), np.nan))
    with pytest.raises(InputError, match=r"yields NaN for the chunk that ends at 1\.00 s"):
        streamed(deployment_stream.audio_file(noise(tmp_path / "a.wav", 2)), of)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.wav"], "there is no such audio file"),
        (["no.wav"], "not readable as audio"),
        (["no.wav", "--rate", "8000"], "--rate and --channels are for raw samples"),
        (["no.wav", "--hop", "0.01"], "--hop"),
        (["no.wav", "--smooth", "0"], "--smooth"),
    ],
)
def test_refused(command, monkeypatch, tmp_path, words, message):
    monkeypatch.setattr(predict, "load_model", lambda place: predictor())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.wav").write_bytes(b"no audio at all" * 99)
    status, out, err = command("stream", "model.tflite", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_bad_model(command, tmp_path):
    status, out, err = command("stream", tmp_path / "gone.tflite", "-")
    assert (status, out) == (2, "")
    assert "there is no such file" in err


# The command as a process of its own


def started(*words):
    """With a model that is there at once; its output buffered whatever this machine is set to."""
    script = (
        "import numpy as np\n"
        "from dslite import cli\nfrom dslite.deployment import predict\n"
        "from dslite.settings import Settings\n"
        "used = Settings(chunk_length_s=1.0, chunk_hop_s=0.4, backbone='squeezenet')\n"
        "def outputs(w): loud = np.abs(w).mean(axis=1); return np.stack([loud, 1 - loud], axis=1)\n"
        "predict.load_model = lambda place: predict.Predictor(used, ('loud', 'quiet'), outputs)\n"
        "cli.run()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, "stream", "model", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )


def test_standard_input(tmp_path):
    content = raw_pcm(np.repeat([0.9, 0.1], 4 * 8000))
    out, err = started("-", "--rate", 8000, "--smooth", 1).communicate(content + b"x", timeout=60)
    table = pd.read_csv(io.BytesIO(out))
    np.testing.assert_allclose(table["end_s"], [*np.arange(1, 8, 0.4), 8])
    assert table["prediction"].tolist() == ["loud"] * 9 + ["quiet"] * 10
    note, summary = err.decode().splitlines()
    assert note.startswith("note: the input ends within a frame")
    assert summary.startswith("summary: 19 decisions on 8.0 s of audio")


def test_a_decision_does_not_wait_and_an_interruption_leaves_a_summary():
    process = started("-")
    process.stdin.write(raw_pcm(np.zeros(RATE)))
    process.stdin.flush()
    assert select.select([process.stdout], [], [], 30)[0]
    header, row = (process.stdout.readline() for _ in range(2))
    assert header == b"end_s,prediction,probability,latency_ms,behind_s\n"
    assert row.startswith(b"1.0000,quiet,1.0000,")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130  # while the writer still holds the pipe
    err = process.stderr.read()
    assert err.startswith(b"summary: 1 decisions on 1.0 s of audio")
    assert b"Traceback" not in err
    assert b"Fatal" not in err
    process.communicate()


def test_an_interruption_tells_what_was_not_analysed(fast_clock):
    line = deployment_stream.Line()
    line.put(np.zeros((BLOCK, 1), np.float32))
    stream = deployment_stream.Stream(
        predictor(), Source("pipe", RATE, line, line), None, 1, pytest.fail
    )
    assert stream.summary() == ""
    next(iter(stream._blocks()))
    stream._frames = BLOCK
    line.put(np.zeros((BLOCK, 1), np.float32))
    assert stream.summary().endswith("nothing lost; 0.1 s came and were not analysed")


def test_a_closed_pipe_is_no_error_to_tell(tmp_path):
    process = started(noise(tmp_path / "a.wav", 400))
    assert process.stdout.readline().startswith(b"end_s,")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 1
    process.stdin.close()


def test_a_source_of_ones_own():
    """What yields blocks is a source: here one whose rate is not the model's."""
    blocks = [Block(np.full((800, 1), 0.5, np.float32), time.monotonic()) for _ in range(20)]
    found, _ = streamed(Source("drum", 8000, blocks))
    np.testing.assert_allclose(found["end_s"], [1, 1.4, 1.8, 2])

"""Streaming: the chunks of a file's prediction from any blocks, real time, and nothing lost."""

import io
import json
import select
import signal
import sys
import threading
from contextlib import nullcontext
from itertools import repeat
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
from dslite.deployment.stream import Block, Line, Source, audio_file, raw_blocks
from dslite.errors import InputError
from tests.deployment.stand_in import RATE, loudness, noise, peak_memory, predictor, started

BLOCK = RATE // 10


def streamed(source, of=None, hop=None, smooth=1):
    written, messages = [], []
    arguments = (hop, smooth, "csv", written.append, messages.append)
    deployment_stream.run(of or predictor(), source, *arguments)
    return pd.read_csv(io.StringIO("".join(written))), messages


def failed(source, message, of=None):
    """Lines and messages of a stream that an error ends."""
    lines, messages = [], []
    arguments = (None, 1, "csv", lines.append, messages.append)
    with pytest.raises(InputError, match=message):
        deployment_stream.run(of or predictor(), source, *arguments)
    return "".join(lines).splitlines(), messages


def raw_pcm(samples):
    return (np.asarray(samples) * 32767).round().astype("<i2").tobytes()


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 120),
    chunk=st.integers(1, 30),
    hop=st.integers(1, 40),
    sizes=st.lists(st.integers(0, 50), max_size=8),
)
def test_any_blocks_give_the_chunks_of_a_file(n, chunk, hop, sizes):
    waveform = np.arange(1, n + 1, dtype=np.float32)
    ring, chunks = deployment_stream.Ring(chunk, hop), []
    for block in np.split(waveform, np.minimum(np.cumsum(sizes), n)):
        chunks += ring.add(block)
    chunks += ring.rest()
    if not n:
        assert chunks == []
        return
    starts = audio.chunk_starts(n, chunk, hop)
    assert [end for end, _ in chunks] == np.minimum(starts + chunk, n).tolist()
    chunks = [np.pad(of, (0, chunk - len(of))) for _, of in chunks]
    np.testing.assert_array_equal(chunks, audio.cut(waveform, starts, chunk))


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"),
    [(5.03, RATE, 1), (3.37, 44100, 2), (0.3, 8000, 1)],
)
def test_a_files_decisions_are_those_of_predict(tmp_path, seconds, rate, channels):
    file = noise(tmp_path / "a.wav", seconds, rate, channels)
    expected = pd.concat(predict.tables(predictor(), [file], "chunk", pytest.fail))
    table, (summary,) = streamed(audio_file(file))
    np.testing.assert_allclose(table["end_s"], expected["end_s"], atol=1.2e-4)
    assert table["prediction"].tolist() == expected["prediction"].tolist()
    best = expected[["loud", "quiet"]].max(axis=1)
    np.testing.assert_allclose(table["probability"], best, atol=6e-5)
    assert table["behind_s"].eq(0).all()
    assert summary.startswith(f"summary: {len(table)} decisions on {seconds:.1f} s of audio; ")


def test_a_hop_and_what_a_user_should_know_beforehand(tmp_path):
    file = noise(tmp_path / "a.wav", 2.05)
    table, _ = streamed(audio_file(file), hop=0.5)
    assert table["end_s"].tolist() == [1, 1.5, 2, 2.05]
    _, messages = streamed(audio_file(file), predictor(trim="on"), hop=1.5)
    assert "a stream keeps it" in messages[0]
    assert messages[1] == "note: of every 1.5 s, 0.5 s are in no chunk"


def test_smoothing_is_the_mean_of_the_last_ones(tmp_path):
    file, lines = noise(tmp_path / "a.wav", 4), []
    rough = streamed(audio_file(file))[0]["probability"]
    source = audio_file(file)
    deployment_stream.run(predictor(), source, None, 3, "jsonl", lines.append, len)
    expected = [np.mean(rough[max(0, i - 2) : i + 1]) for i in range(len(rough))]
    smooth = [json.loads(line)["probabilities"]["quiet"] for line in lines]
    np.testing.assert_allclose(smooth, expected, atol=1e-4)


def test_a_regression_is_a_number_smoothed(tmp_path):
    numbers = iter([0, 1e-5, 2e-5, 6e-5, 7e-5, 8e-5, 9e-5])  # the first is for the warming up
    of = predictor(lambda waveforms: np.array([[next(numbers)]]), classes=())
    table, _ = streamed(audio_file(noise(tmp_path / "a.wav", 2)), of, smooth=2)
    assert table.columns.tolist() == ["end_s", "prediction", "latency_ms", "behind_s"]
    np.testing.assert_allclose(table["prediction"], [1e-5, 1.5e-5, 4e-5, 6.5e-5])


def pcm(content, rate=RATE, channels=1, log=pytest.fail):
    """Raw samples of a pipe: its bytes, or what stands in for it."""
    raw = io.BytesIO(content) if isinstance(content, bytes) else content
    return nullcontext(Source("pipe", rate, raw_blocks(raw, rate, channels, log)))


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (44100, 2)])
def test_raw_samples_are_the_file(tmp_path, rate, channels):
    file = noise(tmp_path / "a.wav", 3.21, rate, channels)
    samples, _ = soundfile.read(file, dtype="int16", always_2d=True)
    table, messages = streamed(pcm(samples.astype("<i2").tobytes(), rate, channels))
    expected, _ = streamed(audio_file(file))
    pd.testing.assert_frame_equal(table.iloc[:, :3], expected.iloc[:, :3])
    assert messages[-1].endswith("nothing lost")
    failed(pcm(file.read_bytes()), "this is an audio file")


def test_a_part_of_a_sample_is_reported():
    notes = []
    streamed(pcm(raw_pcm(np.zeros(RATE * 2)) + b"xxx", RATE, 2, notes.append))
    assert notes == [
        "note: the input ends within a frame of 16-bit samples; what there is of it was left out "
        "(bytes: 3)"
    ]


def test_no_audio_and_a_pipe_that_fails_behind_its_last_decision():
    for content in (b"", b"x"):
        failed(pcm(content, log=len), "pipe: no audio came")
    pieces = iter([raw_pcm(np.zeros(RATE)), raw_pcm(np.zeros(3154))])

    def read(size):
        for piece in pieces:
            return piece
        raise OSError(5, "Input/output error")

    lines, _ = failed(pcm(SimpleNamespace(read=read)), "standard input: cannot be read")
    assert [line.split(",")[0] for line in lines] == ["end_s", "1.0000", "1.1971"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when somebody waits, and not by itself."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(deployment_stream, "time", clock)
    return clock


def live(clock, seconds):
    def blocks():
        begin = clock.now
        for number in range(1, round(10 * seconds) + 1):
            clock.now = max(clock.now, begin + number / 10)
            yield Block(np.zeros((BLOCK, 1), np.float32))

    return nullcontext(Source("pipe", RATE, blocks()))


def slow(clock, seconds):
    def outputs(waveforms):
        clock.sleep(next(seconds, 0))
        return loudness(waveforms)

    return predictor(outputs)


def test_what_keeps_up_is_not_behind(clock):
    table, (summary,) = streamed(live(clock, 2.5), slow(clock, repeat(0.1)))  # a quarter of the hop
    np.testing.assert_allclose(table["end_s"], [1, 1.4, 1.8, 2.2, 2.5])
    assert "real-time factor 0.2, 5.0 times faster than real time" in summary
    assert summary.endswith("largest delay 0.100 s; nothing lost")
    np.testing.assert_allclose(table["latency_ms"], 100)
    assert table["behind_s"].max() <= 0.1


def test_what_is_slower_says_by_how_much_and_loses_nothing(clock):
    table, messages = streamed(live(clock, 30), slow(clock, repeat(0.8)))  # twice the hop, 0.4 s
    np.testing.assert_allclose(table["end_s"], [*np.arange(1, 29.9, 0.4), 30])
    *behind, summary = messages
    assert all(line.startswith("behind: by ") for line in behind)
    behind_s = [float(line.split("by ")[1].split(" s")[0]) for line in behind]
    assert behind_s[0] < 5
    assert 3 <= len(behind_s) <= 8  # of 75 decisions: at most one every 10 s
    assert max(behind_s) > 15  # also what the writer could not hand over yet
    assert "times slower than real time" in summary
    assert summary.endswith("nothing lost")
    assert table["latency_ms"].max() > 5000
    _, messages = streamed(live(clock, 15), slow(clock, repeat(1.0, 6)))  # it catches up
    assert [line.split()[0] for line in messages] == ["behind:", "caught", "summary:"]


def test_memory_does_not_grow_with_the_input(monkeypatch):
    monkeypatch.setattr(deployment_stream, "BLOCK_S", 0.5)  # fewer calls, for the test's sake
    instant = predictor(lambda waveforms: np.ones((1, 2)) / 2, chunk_hop_s=1.0)

    def run(minutes):
        half_seconds, count = repeat(bytes(RATE), 120 * minutes), []
        raw = SimpleNamespace(read=lambda size: next(half_seconds, b""))
        source = pcm(raw)
        deployment_stream.run(instant, source, None, 3, "csv", lambda _: count.append(1), len)
        return sum(count)

    run(1)  # what is made once
    (few, short), (many, long) = (peak_memory(lambda n=n: run(n)) for n in (1, 3))
    assert (few, many) == (60, 180)
    assert short < 4e6
    assert long < short + 2e5


class Device:
    """Stands in for sounddevice: calls back in a thread of its own."""

    class PortAudioError(Exception):
        pass

    def __init__(self, play, error=None):
        self.play, self.error, self.closed = play, error, False

    def query_devices(self, kind):
        return {"default_samplerate": 48000.0}

    def InputStream(self, **options):
        if self.error:
            raise self.PortAudioError(self.error)
        self.options = options
        return self

    def send(self, count, overflowed=False, level=0.5):
        shape = (self.options["blocksize"], self.options["channels"])
        samples = np.full(shape, level, np.float32)
        for _ in range(count):
            status = SimpleNamespace(input_overflow=overflowed)
            self.options["callback"](samples, len(samples), None, status)
        samples[:] = np.nan  # PortAudio uses its memory again

    def start(self):
        def thread():
            self.play(self)
            self.options["finished_callback"]()

        threading.Thread(target=thread, daemon=True).start()

    def close(self):
        self.closed = True


def microphone(monkeypatch, play, of=None, rate=None, channels=1):
    """What is written and logged of a microphone that ends by itself, as when it is unplugged."""
    device = Device(play)
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    source = deployment_stream.microphone(rate, channels)
    lines, messages = failed(source, "the device has ended the recording", of)
    assert device.closed
    return pd.read_csv(io.StringIO("\n".join(lines))), messages, device


def test_a_microphone_at_its_own_rate(monkeypatch):
    table, messages, device = microphone(monkeypatch, lambda device: device.send(30), channels=2)
    assert (device.options["samplerate"], device.options["blocksize"]) == (48000, 4800)
    np.testing.assert_allclose(table["end_s"], [1, 1.4, 1.8, 2.2, 2.6, 3])
    np.testing.assert_allclose(table["probability"], 0.5, atol=0.01)
    assert messages[-1].endswith("nothing lost")


def test_what_a_microphone_loses_is_counted_with_its_time(monkeypatch):
    waiting, sent, emptied = threading.Event(), threading.Event(), threading.Event()
    calls = []

    def outputs(waveforms):
        calls.append(1)
        if len(calls) == 2:  # the first chunk of the input; one call was to warm up
            waiting.set()
            sent.wait(60)
        if len(calls) > 25:
            emptied.set()
        return loudness(waveforms)

    def play(device):
        device.send(10)
        waiting.wait(60)
        device.send(150)  # while a chunk is analysed: 100 find a place
        sent.set()
        emptied.wait(60)
        device.send(10, level=0.2)
        device.send(1, overflowed=True, level=0.2)
        device.send(9, level=0.2)

    table, messages, _ = microphone(monkeypatch, play, predictor(outputs), rate=RATE)
    first, second = (line for line in messages if line.startswith("lost:"))
    assert first.startswith("lost: 5.00 s (80000 samples) at 11.00 s of the input; the next chunk ")
    assert second.startswith("lost: an unknown number of samples (the device's overflow) at 17.00")
    before, after = table[table["end_s"] < 11.01], table[table["end_s"] > 11.01]
    assert before["end_s"].iloc[-1] == pytest.approx(11)
    assert after["end_s"].tolist() == [17, 18]
    # No chunk holds both what was before and behind the gap.
    np.testing.assert_allclose(before["probability"], 0.5, atol=1e-3)
    np.testing.assert_allclose(after["probability"], 0.8, atol=1e-3)
    assert "13.0 s of audio" in messages[-1]
    assert messages[-1].endswith("lost: 5.00 s in 2 gaps")


def test_a_device_that_sends_nothing_is_named(monkeypatch):
    monkeypatch.setattr(deployment_stream, "SILENT_S", 0.1)
    with pytest.raises(InputError, match=r"microphone: the device has sent nothing for 0\.1 s"):
        next(iter(Line()))


def test_without_sounddevice_portaudio_or_a_device(refused, quick, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install -e '.[stream]'" in refused("stream", tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    error = refused("stream", tmp_path)
    assert "apt-get install libportaudio2): PortAudio library not found" in error
    monkeypatch.setitem(sys.modules, "sounddevice", Device(None, error="Invalid sample rate"))
    message = "error: microphone: cannot be opened (Invalid sample rate)"
    assert refused("stream", tmp_path, "--rate", 12345) == message


def test_nan_is_refused_and_what_was_before_is_decided(tmp_path):
    samples = np.zeros(3 * RATE)
    samples[2 * RATE :] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    lines, messages = failed(audio_file(tmp_path / "a.wav"), "holds NaN")
    assert len(lines) == 4
    assert messages[0].startswith("summary: 3 decisions on ")
    of = predictor(lambda waveforms: np.full((1, 2), np.nan))
    message = r"yields NaN for the chunk that ends at 1\.00 s"
    failed(audio_file(noise(tmp_path / "b.wav", 2)), message, of)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.wav"], "there is no such audio file"),
        (["no.wav"], "not readable as audio"),
        (["no.wav", "--rate", "8000"], "--rate and --channels are for raw samples"),
    ],
)
def test_what_is_refused(refused, quick, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.wav").write_bytes(b"no audio at all" * 99)
    assert message in refused("stream", "model.tflite", *words)


def test_a_decision_does_not_wait_and_an_interruption_leaves_a_summary():
    process = started("stream", "model", "-", "--rate", RATE, "--smooth", 1)
    process.stdin.write(raw_pcm(np.zeros(RATE)))
    process.stdin.flush()
    assert select.select([process.stdout], [], [], 120)[0]
    header, row = (process.stdout.readline() for _ in range(2))
    assert header == b"end_s,prediction,probability,latency_ms,behind_s\n"
    assert row.startswith(b"1.0000,quiet,1.0000,")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130  # while the writer still holds the pipe
    err = process.stderr.read()
    assert err.startswith(b"summary: 1 decisions on 1.0 s of audio")
    assert b"Traceback" not in err
    assert b"Fatal" not in err
    process.communicate()


def test_a_closed_pipe_is_no_error(tmp_path):
    process = started("stream", "model", noise(tmp_path / "a.wav", 400))
    assert b"prediction," in process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 1
    process.stdin.close()

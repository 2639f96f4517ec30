"""Audio: decoding, trimming, chunks, identity."""

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import example, given
from hypothesis import strategies as st

from dslite import audio
from dslite.datasets import scan
from dslite.errors import InputError

RATE = 16000


def tone(hz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def test_read_is_the_mean_of_the_channels(tmp_path):
    left, right = tone(200, 0.5), tone(900, 0.5)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    waveform = audio.read(tmp_path / "a.wav", RATE)
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("stored_rate", [8000, 11025, 44100, 48000])
def test_read_resamples(tmp_path, stored_rate):
    soundfile.write(tmp_path / "a.flac", tone(440, 1, stored_rate), stored_rate)
    waveform = audio.read(tmp_path / "a.flac", RATE)
    assert waveform.dtype == np.float32
    assert len(waveform) == RATE
    inner = slice(1000, -1000)  # away from the resampler's edges
    np.testing.assert_allclose(waveform[inner], tone(440, 1)[inner], atol=2e-4)


def test_read_removes_what_the_lower_rate_cannot_hold(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(10_000, 1, 48000), 48000)
    assert np.abs(audio.read(tmp_path / "a.wav", RATE)[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff", "mp3"])
def test_read_takes_containers(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone(440, 1), RATE)
    assert audio.read(tmp_path / f"a.{suffix}", RATE).std() == pytest.approx(0.353, abs=0.02)


def _bad_files(folder):
    (folder / "text.wav").write_text("not audio")
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "headerless.raw").write_bytes(bytes(100))
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan]), RATE, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.array([0.1, np.inf]), RATE, subtype="FLOAT")
    noise = np.random.default_rng(0).uniform(-1, 1, 4 * RATE)
    soundfile.write(folder / "whole.flac", noise, RATE)
    content = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.wav", "there is no such audio file"),
        ("text.wav", "not readable as audio (Format not recognised); replace it"),
        ("nothing.wav", "not readable as audio"),
        ("headerless.raw", "no sample rate; store it as WAV or FLAC"),
        ("empty.wav", "holds no audio"),
        ("nan.wav", "NaN or infinite"),
        ("inf.wav", "NaN or infinite"),
        ("cut.flac", "not readable as audio (flac decoder lost sync)"),
    ],
)
@pytest.mark.parametrize("function", [lambda p: audio.read(p, RATE), scan.of_file])
def test_bad_audio_names_the_file(tmp_path, name, said, function):
    _bad_files(tmp_path)
    with pytest.raises(InputError) as error:
        function(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert said in str(error.value)


def test_too_short_for_the_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(1), 48000)
    with pytest.raises(InputError, match="too short"):
        audio.read(tmp_path / "a.wav", RATE)


def test_facts_of_a_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((12000, 2)), 48000)
    found = scan.of_file(tmp_path / "a.wav")
    assert (found.duration_s, found.sample_rate) == (0.25, 48000)
    assert len(found.audio_hash) == 64


@pytest.fixture
def samples(rng):
    """Three blocks and a bit of 16-bit stereo, with the extreme values."""
    values = rng.integers(-(2**15), 2**15, (3 * audio.BLOCK + 7, 2), dtype=np.int16)
    values[:3] = [[-(2**15), 2**15 - 1], [0, -1], [1, 0]]
    return values


def test_hash_depends_on_the_audio_not_on_the_container(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    soundfile.write(tmp_path / "a.flac", samples, RATE)
    soundfile.write(tmp_path / "24.wav", samples.astype(np.int32) << 16, RATE, subtype="PCM_24")
    soundfile.write(tmp_path / "float.wav", samples / 2**15, RATE, subtype="FLOAT")
    hashes = {scan.of_file(file).audio_hash for file in tmp_path.iterdir()}
    assert len(hashes) == 1


def test_hash_tells_audio_apart(tmp_path, samples):
    changed = samples.copy()
    changed[-1, -1] ^= 1
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    soundfile.write(tmp_path / "rate.wav", samples, 2 * RATE)
    soundfile.write(tmp_path / "bit.wav", changed, RATE)
    soundfile.write(tmp_path / "channels.wav", samples.reshape(-1), RATE)
    hashes = {scan.of_file(file).audio_hash for file in tmp_path.iterdir()}
    assert len(hashes) == 4


def test_negative_zero_is_zero(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 0.5]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.array([-0.0, 0.5]), RATE, subtype="FLOAT")
    assert scan.of_file(tmp_path / "a.wav") == scan.of_file(tmp_path / "b.wav")


def test_trim_takes_the_ends_only():
    silence = np.zeros(RATE, np.float32)
    voice = tone(440, 0.5).astype(np.float32)
    waveform = np.concatenate([silence, voice, silence, voice, silence])
    trimmed = audio.trim_silence(waveform, RATE)
    assert len(trimmed) == pytest.approx(2 * RATE, abs=0.26 * RATE)
    assert trimmed.dtype == np.float32


@pytest.mark.parametrize("n_samples", [1, 100, RATE])
def test_trim_never_returns_nothing(n_samples):
    assert len(audio.trim_silence(np.zeros(n_samples, np.float32), RATE)) == n_samples


def test_trim_scales_with_the_rate():
    def kept_s(rate):
        silence = np.zeros(rate, np.float32)
        waveform = np.concatenate([silence, tone(440, 1, rate).astype(np.float32), silence])
        return len(audio.trim_silence(waveform, rate)) / rate

    assert kept_s(8000) == pytest.approx(kept_s(48000), abs=0.01)


@pytest.mark.parametrize(
    ("n_samples", "keep", "drop"),
    [
        (3, [0], []),
        (4, [0], [0]),
        (5, [0, 1], [0]),
        (6, [0, 2], [0, 2]),
        (9, [0, 2, 4, 5], [0, 2, 4]),
    ],
)
def test_chunk_starts(n_samples, keep, drop):
    assert audio.chunk_starts(n_samples, 4, 2, "keep").tolist() == keep
    assert audio.chunk_starts(n_samples, 4, 2, "drop").tolist() == drop


lengths = st.integers(1, 500)


@given(n_samples=lengths, chunk=lengths, hop=lengths)
@example(n_samples=10, chunk=10, hop=1)
def test_kept_chunks_reach_the_end_and_lose_nothing(n_samples, chunk, hop):
    starts = audio.chunk_starts(n_samples, chunk, hop, "keep")
    assert starts.dtype == np.int64
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert starts[-1] == max(0, n_samples - chunk)
    assert len(starts) == 1 + max(0, -(-(n_samples - chunk) // hop))
    if hop <= chunk:
        covered = np.zeros(n_samples, bool)
        for start in starts:
            covered[start : start + chunk] = True
        assert covered.all()


@given(n_samples=lengths, chunk=lengths, hop=lengths)
def test_dropped_tail_leaves_the_full_regular_chunks(n_samples, chunk, hop):
    starts = audio.chunk_starts(n_samples, chunk, hop, "drop")
    assert starts.tolist() == [s for s in range(0, n_samples, hop) if s + chunk <= n_samples]


@given(n_samples=lengths, chunk=lengths, hop=lengths, tail=st.sampled_from(["keep", "drop"]))
def test_cut_copies_and_pads(n_samples, chunk, hop, tail):
    waveform = np.arange(1, n_samples + 1, dtype=np.float32)
    starts = audio.chunk_starts(n_samples, chunk, hop, tail)
    chunks = audio.cut(waveform, starts, chunk)
    assert chunks.shape == (len(starts), chunk)
    assert chunks.dtype == np.float32
    for start, row in zip(starts, chunks, strict=True):
        part = waveform[start : start + chunk]
        np.testing.assert_array_equal(row[: len(part)], part)
        assert not row[len(part) :].any()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_block_by_block_is_the_same_as_in_one_piece(tmp_path, monkeypatch, rng, rate):
    """Of 2.1 blocks; the reference is soxr on the whole of what soundfile reads."""
    monkeypatch.setattr(audio, "BLOCK", 10_000)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (21_000, 2)), rate, subtype="FLOAT")
    stored, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    whole = soxr.resample(stored.mean(axis=1), rate, RATE, quality="VHQ")
    found, duration_s = audio.decode(tmp_path / "a.wav", RATE)
    np.testing.assert_array_equal(found, whole)
    assert duration_s == 21_000 / rate


@pytest.mark.parametrize("pieces", [1, 7, 4096])
@pytest.mark.parametrize("top_db", [30, 60])
def test_sounding_is_librosas_trim(monkeypatch, rng, pieces, top_db):
    monkeypatch.setattr(audio, "FRAMES", pieces)
    fade = np.exp(-(np.linspace(-6, 5, 3 * RATE) ** 2))
    waveform = (fade * rng.standard_normal(3 * RATE)).astype(np.float32)
    _, expected = librosa.effects.trim(waveform, top_db=top_db)
    assert audio.sounding(waveform, RATE, top_db) == tuple(expected)
    assert 0 < expected[0] < expected[1] < len(waveform)


def test_cutting_copies_no_long_waveform(monkeypatch):
    monkeypatch.setattr(np, "pad", None)
    waveform = np.arange(100, dtype=np.float32)
    assert audio.cut(waveform, np.array([90]), 10).tolist() == [list(range(90, 100))]

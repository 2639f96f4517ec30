"""Audio: decoding, trimming, chunks."""

from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dslite import audio, decoding
from dslite.datasets import scan
from dslite.settings import Settings
from tests.refusals import refusal

RATE = 16000


@pytest.fixture
def bad_files(tmp_path, rng):
    waves = {"empty": [], "nan": [0.1, np.nan], "inf": [0.1, np.inf], "short": [1.0]}
    for name, wave in waves.items():
        rate = 48000 if name == "short" else RATE
        soundfile.write(tmp_path / f"{name}.wav", np.array(wave, float), rate, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.flac", rng.uniform(-1, 1, 4 * RATE), RATE)
    half = (tmp_path / "cut.flac").read_bytes()[: 4 * RATE]
    contents = {"text.wav": b"not audio", "nothing.wav": b"", "headerless.raw": bytes(100)}
    for name, content in (contents | {"cut.flac": half}).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.wav", "there is no such audio file"),
        ("text.wav", "not readable as audio (Format not recognised); replace it"),
        ("nothing.wav", "not readable as audio"),
        ("headerless.raw", "no sample rate; store it as WAV or FLAC"),
        ("empty.wav", "holds no audio"),
        ("nan.wav", "NaN or infinite"),
        ("inf.wav", "NaN or infinite"),
        ("cut.flac", "not readable as audio (flac decoder lost sync)"),
        ("short.wav", "too short to hold a sample at 16000 Hz"),
    ],
)
def test_bad_audio_names_the_file(bad_files, name, words):
    for function, *rate in ((audio.read, RATE), (scan.of_file,)):
        if rate or name != "short.wav":  # a scan decodes it at its own rate
            message = refusal(function, bad_files / name, *rate)
            assert str(bad_files / name) in message
            assert words in message


@pytest.mark.parametrize("rate", [8000, 11025, RATE, 44100, 48000])
def test_read_is_the_mean_of_the_channels_resampled(tmp_path, monkeypatch, rng, rate):
    """Block by block, of 2.1; the reference is soxr on the whole of what soundfile reads."""
    monkeypatch.setattr(decoding, "BLOCK", 10_000)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (21_000, 2)), rate, subtype="FLOAT")
    stored, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    whole = soxr.resample(stored.mean(axis=1), rate, RATE, quality="VHQ")
    decoded = audio.decode(tmp_path / "a.wav", RATE)
    assert (decoded.waveform.dtype, decoded.duration_s) == (np.float32, 21_000 / rate)
    np.testing.assert_array_equal(decoded.waveform, whole)
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav", RATE), whole)


@pytest.mark.parametrize(
    ("second", "taken"),
    [(-1.0, 0), (-0.6, 0), (-1.5, 1), (0.4, None), (0.0, None), (-0.3, None), (None, None)],
)
def test_channels_that_cancel_are_not_mixed(tmp_path, rng, second, taken):
    """The louder one is heard, and named; other stereo is mixed, also of unrelated channels."""
    first = rng.uniform(-0.5, 0.5, 2 * RATE)
    other = rng.uniform(-0.5, 0.5, 2 * RATE) if second is None else second * first
    stereo = np.stack([first, other], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    decoded = audio.decode(tmp_path / "a.wav", RATE)
    expected = stereo.mean(axis=1) if taken is None else stereo[:, taken]
    np.testing.assert_allclose(decoded.waveform, expected, atol=1e-6)
    assert decoded.remarks == (() if taken is None else (audio.cancelling(taken),))
    assert scan.of_file(tmp_path / "a.wav").remarks == "; ".join(decoded.remarks)
    assert audio.louder_channel(tmp_path / "a.wav") == taken


@pytest.mark.parametrize("pieces", [1, 7, 4096])
@pytest.mark.parametrize("top_db", [30, 60])
def test_sounding_is_librosas_trim(monkeypatch, rng, pieces, top_db):
    monkeypatch.setattr(audio, "FRAMES", pieces)
    fade = np.exp(-(np.linspace(-6, 5, 3 * RATE) ** 2))
    waveform = (fade * rng.standard_normal(3 * RATE)).astype(np.float32)
    _, expected = librosa.effects.trim(waveform, top_db=top_db)
    assert audio.sounding(waveform, RATE, top_db) == tuple(expected)
    assert 0 < expected[0] < expected[1] < len(waveform)
    for n_samples in (1, 100, RATE):  # never nothing
        assert audio.sounding(np.zeros(n_samples, np.float32), RATE, top_db) == (0, n_samples)


@settings(deadline=None, max_examples=50)
@given(*[st.integers(1, 500)] * 3)
@example(10, 10, 1)
def test_chunks(n_samples, chunk, hop):
    waveform = np.arange(1, n_samples + 1, dtype=np.float32)
    starts = audio.chunk_starts(n_samples, chunk, hop, "keep")
    assert (starts.dtype, starts[0], starts[-1]) == (np.int64, 0, max(0, n_samples - chunk))
    assert (np.diff(starts) > 0).all()
    assert len(starts) == 1 + max(0, -(-(n_samples - chunk) // hop))
    if hop <= chunk:
        assert set(range(n_samples)) <= {i for s in starts for i in range(s, s + chunk)}
    full = audio.chunk_starts(n_samples, chunk, hop, "drop")
    assert full.tolist() == [s for s in range(0, n_samples, hop) if s + chunk <= n_samples]
    for begin in (starts, full):
        chunks = audio.cut(waveform, begin, chunk)
        assert (chunks.shape, chunks.dtype) == ((len(begin), chunk), np.float32)
        for start, row in zip(begin, chunks, strict=True):
            part = waveform[start : start + chunk]
            np.testing.assert_array_equal(row, np.pad(part, (0, chunk - len(part))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(np, "pad", None)  # which would copy an hour's waveform for a few chunks
        audio.cut(waveform, starts[:1] * 0, min(chunk, n_samples))


@pytest.mark.parametrize("trim", ["on", "off"])
def test_a_clip_and_its_chunks(tmp_path, rng, trim):
    whole = np.pad(rng.uniform(-0.5, 0.5, RATE).astype(np.float32), RATE)
    soundfile.write(tmp_path / "a.wav", whole, RATE, subtype="FLOAT")
    chosen = Settings(trim=trim, chunk_length_s=0.5, chunk_hop_s=0.5)
    clip = audio.clip(tmp_path / "a.wav", chosen)
    assert clip.duration_s == 3
    assert (clip.offset > 0) == (trim == "on")
    np.testing.assert_array_equal(clip.waveform, whole[clip.offset :][: len(clip.waveform)])
    chunks, start_s = audio.chunks_of(tmp_path / "a.wav", chosen)
    np.testing.assert_array_equal(start_s, clip.starts / RATE)
    np.testing.assert_array_equal(chunks, audio.cut(clip.waveform, clip.starts, RATE // 2))


# Augmented copies


def loudest_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.fft.rfftfreq(len(waveform), 1 / RATE)[spectrum.argmax()]


TONE = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)


@pytest.mark.parametrize("slope", [-3.0, 0.0, 1.5])
def test_a_tilt_is_so_many_decibels_an_octave(rng, slope):
    noise = rng.standard_normal(4 * RATE + 1).astype(np.float32)
    tilted = audio.tilt(noise, RATE, slope)
    assert (tilted.dtype, len(tilted)) == (np.float32, len(noise))
    before, after = (np.abs(np.fft.rfft(x)) ** 2 for x in (noise, tilted))
    frequencies = np.fft.rfftfreq(len(noise), 1 / RATE)
    for octaves in (-4, -5, -3, -1, 0, 1, 2):  # flat at the bottom
        band = np.abs(frequencies / (1000 * 2.0**octaves) - 1) < 0.05
        gain = 10 * np.log10(after[band].sum() / before[band].sum())
        assert gain == pytest.approx(slope * max(octaves, -4), abs=0.2)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_scaling_multiplies_frequencies(factor):
    scaled = audio.scale_frequency(TONE, RATE, factor)
    assert scaled.dtype == np.float32
    assert len(scaled) == pytest.approx(RATE / factor, abs=1)
    assert loudest_hz(scaled) == pytest.approx(440 * factor, abs=1)


@pytest.mark.parametrize("waves", [(0.0, 0.0), (0.05, 0.05), (-0.05, 0.05)])
def test_a_warp_moves_what_is_inside_and_keeps_ends_and_pitch(waves):
    warped = audio.warp(TONE, RATE, waves)
    assert (warped.dtype, len(warped)) == (np.float32, RATE)
    assert loudest_hz(warped) == pytest.approx(440, abs=1)
    assert np.abs(warped[1000:-1000]).max() == pytest.approx(1, abs=0.15)
    clicks = np.zeros(4 * RATE, np.float32)
    clicks[RATE // 2 :: RATE // 2] = 1
    warped = audio.warp(clicks, RATE, waves)
    for i in range(1, 8):  # where the map of the time axis takes it from
        at = (i - 0.5) * RATE / 2
        place = (int(at) + np.abs(warped[int(at) :][: RATE // 2]).argmax()) / len(clicks)
        x = place + waves[0] * np.sin(np.pi * place) / np.pi
        x += waves[1] * np.sin(2 * np.pi * place) / (2 * np.pi)
        assert x == pytest.approx(i / 8, abs=0.005)
    assert audio.warp(TONE[:300], RATE, waves) is not None  # shorter than a window


def test_a_copy_is_the_seeds(tmp_path, rng):
    """Between the bounds, never empty, the same from the same seed; without one nothing changes."""
    noise = np.pad(rng.uniform(-0.5, 0.5, RATE).astype(np.float32), RATE)
    soundfile.write(tmp_path / "a.wav", noise, RATE, subtype="FLOAT")
    chosen = Settings(trim="on", picture="clip")
    plain = audio.clip(tmp_path / "a.wav", chosen)
    begin, end = audio.sounding(noise, RATE, chosen.trim_db)

    def copy(seed):
        return audio.clip(tmp_path / "a.wav", chosen, np.random.default_rng(seed)).waveform

    np.testing.assert_array_equal(copy([0, 1, 1]), copy([0, 1, 1]))
    lengths = {len(copy([seed, row, 1])) for seed in (0, 1) for row in range(5)}
    assert len(lengths) == 10
    assert 0.8 * (end - begin) / 1.1 - 2 <= min(lengths) < max(lengths) <= (end - begin) / 0.9 + 2
    np.testing.assert_array_equal(plain.waveform, audio.clip(tmp_path / "a.wav", chosen).waveform)
    for n_samples in (1, 2, 100, 511, 512):
        short = audio.augmented_copy(noise[RATE:][:n_samples], RATE, np.random.default_rng(0))
        assert len(short)
        assert np.isfinite(short).all()


def test_reading_ahead_keeps_the_order_and_few_results():
    begun, results = [], []
    with ThreadPoolExecutor(1) as pool:
        for item in audio.read_ahead(pool, lambda i: begun.append(i) or i, range(50), most=3):
            results.append(item)
            assert len(begun) <= item + 3
    assert results == begun == list(range(50))

"""What a stored file is: its audio's hash, channels, peak, clipping, and whether it is whole."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import decoding
from dslite.datasets import fingerprint, scan

RATE = 16000


@pytest.fixture
def noise(rng):
    return rng.uniform(-0.5, 0.5, 2 * RATE)


def stored(file, wave, **how):
    soundfile.write(file, wave, RATE, **how)
    return scan.of_file(file)


def test_channels_and_peak(tmp_path, noise):
    stereo = np.stack([noise, -noise], axis=1)
    stereo[100, 1] = -0.75
    facts = stored(tmp_path / "a.wav", stereo, subtype="FLOAT")
    assert (facts.channels, facts.sample_rate, facts.duration_s) == (2, RATE, 2.0)
    assert (facts.peak, facts.clipped, facts.truncated) == (0.75, 0, 0)
    assert stored(tmp_path / "b.wav", np.zeros(100)).peak == 0
    noise[7] = 1.5  # floats may exceed full scale
    facts = stored(tmp_path / "c.wav", noise, subtype="FLOAT")
    assert (facts.peak, facts.clipped) == (1.5, 0)


def test_hash_depends_on_the_audio_not_on_the_container(tmp_path, rng):
    # A block and a bit of 16-bit stereo, with the extreme values
    samples = rng.integers(-(2**15), 2**15, (decoding.BLOCK + 7, 2), dtype=np.int16)
    samples[:3] = [[-(2**15), 2**15 - 1], [0, -1], [1, 0]]
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    soundfile.write(tmp_path / "a.flac", samples, RATE)
    soundfile.write(tmp_path / "24.wav", samples.astype(np.int32) << 16, RATE, subtype="PCM_24")
    soundfile.write(tmp_path / "float.wav", samples / 2**15, RATE, subtype="FLOAT")
    (audio_hash,) = {scan.of_file(file).audio_hash for file in tmp_path.iterdir()}
    assert len(audio_hash) == 64
    soundfile.write(tmp_path / "rate.wav", samples, 2 * RATE)
    soundfile.write(tmp_path / "channels.wav", samples.reshape(-1), RATE)
    samples[-1, -1] ^= 1
    soundfile.write(tmp_path / "bit.wav", samples, RATE)
    assert len({scan.of_file(file).audio_hash for file in tmp_path.iterdir()}) == 4
    zero = [stored(tmp_path / "0.wav", np.array([x, 0.5]), subtype="FLOAT") for x in (0.0, -0.0)]
    assert zero[0] == zero[1]


def test_loudness_levels(rng):
    wave = np.repeat(10 ** (-np.arange(16) * 3 / 20), 100) * rng.choice([-1, 1], 1600)
    levels = fingerprint.loudness_levels
    np.testing.assert_allclose(levels(wave), -3.0 * np.arange(16), atol=1e-9)
    assert (levels(np.zeros(1600, np.float32)) == fingerprint.LEVELS_FLOOR).all()
    assert np.isfinite(levels(np.zeros(3, np.float32))).all()


@pytest.mark.parametrize("full", [32767, -32768, 32760])
@pytest.mark.parametrize(
    ("places", "clipped"),
    [
        ([], 0),
        ([50], 0),
        ([0, 1], 0),
        ([50, 52, 54, 56], 0),
        ([0, 1, 2], 3),
        ([97, 98, 99], 3),
        ([10, 11, 12, 13, 14, 30, 31, 40, 60, 61, 62], 8),
        (list(range(100)), 100),
    ],
)
def test_runs_at_full_scale_are_clipped_and_single_peaks_are_not(tmp_path, full, places, clipped):
    wave = np.zeros(100, np.int16)
    wave[places] = full
    assert stored(tmp_path / "a.wav", wave).clipped == clipped


def test_what_a_run_is(tmp_path):
    """It changes its sign, belongs to one channel, has three samples and is at full scale."""
    wave = np.zeros((100, 2), np.int16)
    wave[10:13, 0] = 32767, -32768, 32767
    wave[20:22, 0] = 32767
    wave[22:24, 1] = 32767
    assert stored(tmp_path / "a.wav", wave).clipped == 3
    assert stored(tmp_path / "b.wav", np.full(100, 32700, np.int16)).clipped == 0
    assert stored(tmp_path / "c.wav", np.full(2, 32767, np.int16)).clipped == 0


def test_facts_depend_neither_on_the_blocks_nor_on_what_follows(tmp_path, noise, monkeypatch):
    noise[5000:5003] = 1
    expected = stored(tmp_path / "a.wav", noise)
    monkeypatch.setattr(decoding, "BLOCK", 3000)
    assert scan.of_file(tmp_path / "a.wav") == expected
    assert expected.clipped == 3
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST\x04\0\0\0INFO")  # behind what the header says
    assert scan.of_file(tmp_path / "a.wav") == expected


def test_many_files_are_decoded_in_processes_with_the_same_facts(tmp_path, rng, monkeypatch):
    files = [tmp_path / f"{name}.wav" for name in "abc"]
    for file in files[:2]:
        soundfile.write(file, rng.uniform(-0.5, 0.5, RATE), RATE)
    files[2].write_bytes(b"no audio")
    facts = []
    for least in (scan.LARGE, 1):
        monkeypatch.setattr(scan, "LARGE", least)
        monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / f"cache{least}"))
        facts.append(scan.gather([*files, None, tmp_path / "missing.wav"], "my"))
    pd.testing.assert_frame_equal(*facts)
    assert (facts[0]["audio_hash"] != "").tolist() == [True, True, False, False, False]

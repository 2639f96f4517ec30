"""What a stored file is: channels, peak, clipping, and whether it is whole."""

import struct

import numpy as np
import pytest
import soundfile

from dslite import audio
from dslite.datasets import scan
from dslite.errors import InputError

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
    found = stored(tmp_path / "a.wav", stereo, subtype="FLOAT")
    assert (found.channels, found.sample_rate, found.duration_s) == (2, RATE, 2.0)
    assert found.peak == 0.75
    assert (found.clipped, found.truncated) == (0, 0)
    assert stored(tmp_path / "b.wav", np.zeros(100)).peak == 0


def test_floats_may_exceed_full_scale(tmp_path, noise):
    noise[7] = 1.5
    found = stored(tmp_path / "a.wav", noise, subtype="FLOAT")
    assert (found.peak, found.clipped) == (1.5, 0)


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


def test_a_run_changes_its_sign_and_belongs_to_one_channel(tmp_path):
    wave = np.zeros((100, 2), np.int16)
    wave[10:13, 0] = 32767, -32768, 32767
    wave[20:22, 0] = 32767
    wave[22:24, 1] = 32767
    assert stored(tmp_path / "a.wav", wave).clipped == 3


def test_almost_full_scale_is_not_clipped(tmp_path):
    assert stored(tmp_path / "a.wav", np.full(100, 32700, np.int16)).clipped == 0


def test_fewer_samples_than_a_run(tmp_path):
    assert stored(tmp_path / "a.wav", np.full(2, 32767, np.int16)).clipped == 0


CONTAINERS = [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("aiff", "PCM_16"),
              ("ogg", "VORBIS"), ("mp3", None), ("flac", None)]  # fmt: skip


@pytest.mark.parametrize(("suffix", "subtype"), CONTAINERS)
def test_whole_files_are_whole(tmp_path, noise, suffix, subtype):
    assert stored(tmp_path / f"a.{suffix}", noise, subtype=subtype).truncated == 0


@pytest.mark.parametrize("kept", [0.5, 0.8])
@pytest.mark.parametrize(("suffix", "subtype"), CONTAINERS[:-1])
def test_broken_off_files_are_told(tmp_path, noise, suffix, subtype, kept):
    file = tmp_path / f"a.{suffix}"
    stored(file, np.tile(noise, 5), subtype=subtype)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    found = scan.of_file(file)
    assert found.truncated == 1
    assert 0 < found.duration_s < 10 * kept + 0.2


def test_broken_off_flac_is_not_readable(tmp_path, noise):
    stored(tmp_path / "a.flac", noise)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not readable as audio"):
        scan.of_file(tmp_path / "a.flac")


@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_a_single_missing_sample_is_told(tmp_path, noise, cut):
    stored(tmp_path / "a.wav", noise)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-cut])
    assert scan.of_file(tmp_path / "a.wav").truncated == 1


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_a_streams_length_is_no_promise(tmp_path, noise, size):
    """What ffmpeg, arecord and SoX write where they cannot go back to the header."""
    expected = stored(tmp_path / "a.wav", noise)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", size)
    content[4:8] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(content)
    assert scan.of_file(tmp_path / "a.wav") == expected


def test_more_than_the_header_says_is_not_truncated(tmp_path, noise):
    expected = stored(tmp_path / "a.wav", noise)
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST\x04\0\0\0INFO")
    assert scan.of_file(tmp_path / "a.wav") == expected


def test_facts_do_not_depend_on_the_blocks(tmp_path, noise, monkeypatch):
    noise[5000:5003] = 1
    expected = stored(tmp_path / "a.wav", noise)
    monkeypatch.setattr(audio, "BLOCK", 3000)
    assert scan.of_file(tmp_path / "a.wav") == expected
    assert expected.clipped == 3

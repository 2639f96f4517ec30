"""What is kept and what is removed: the original together, the right part each."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dslite.explanation import listen

RATE = 16000
WINDOW = 0.064


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


# Masks


def test_the_share_counts_all_pixels_and_takes_the_highest(monkeypatch):
    values = np.array([[5.0, -9, 1, 2, 3], [3, 4, 0.5, 0, 0]])
    np.testing.assert_array_equal(listen.top_regions(values), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    monkeypatch.setattr(listen, "SHARE", 1)
    np.testing.assert_array_equal(listen.top_regions(values), values > 0)


def test_of_equal_values_the_first_come_first_and_none_that_is_not_positive():
    ties = np.ones((2, 5))
    np.testing.assert_array_equal(listen.top_regions(ties).ravel(), [1] * 2 + [0] * 8)
    assert not listen.top_regions(np.zeros((4, 4))).any()
    assert not listen.top_regions(-ties).any()


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-1, 1)
    )
)
def test_what_is_left_out_is_never_higher(values):
    kept = listen.top_regions(values)
    assert kept.sum() <= 0.2 * values.size + 0.5
    if kept.any():
        assert values[kept].min() >= values[~kept].max(initial=-np.inf)


def test_every_bin_takes_the_row_of_the_nearest_band():
    mask = np.array([[0.1], [0.2], [0.3], [0.4]])  # rows of 400, 300, 200 and 100 Hz
    gains = listen._stft_mask(mask, [100, 200, 300, 400], 1600, 32, [0.5])
    # Bins every 50 Hz; the filters reach from 0 to 400 * 400 / 300 = 533 Hz
    hz = [0, 100, 200, 300, 400, 500, 550, 600, 800]
    by_hz = dict(zip(range(0, 801, 50), gains[:, 0], strict=True))
    assert [by_hz[f] for f in hz] == [0.4, 0.4, 0.3, 0.2, 0.1, 0.1, 0, 0, 0]
    low = listen._stft_mask(np.ones((4, 1)), [400, 500, 600, 700], 1600, 32, [0.5])
    np.testing.assert_array_equal(low[:, 0], np.arange(17) >= 6)  # from 300 Hz on


def test_every_frame_takes_the_column_of_its_time():
    mask = np.array([[0.1, 0.2, 0.3, 0.4]] * 2)
    times = [-0.13, -0.12, 0, 0.24, 0.26, 0.99, 1, 1.12, 1.13]
    gains = listen._stft_mask(mask, [100, 200], 1000, 10, times)
    np.testing.assert_array_equal(gains[1], [0, 0.1, 0.1, 0.1, 0.2, 0.4, 0.4, 0.4, 0])


# Sound


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 5000), st.integers(0, 2**32 - 1), st.sampled_from([8000, 16000, 22050]))
def test_kept_and_removed_are_the_original(n, seed, rate):
    rng = np.random.default_rng(seed)
    waveform = rng.uniform(-1, 1, n).astype(np.float32)
    mask = rng.random((14, 9)) < 0.3
    kept, removed = listen.split(waveform, mask, np.linspace(100, 3900, 20), rate, WINDOW, 0.25)
    assert kept.shape == removed.shape == (n,)
    assert kept.dtype == removed.dtype == np.float32
    np.testing.assert_allclose(kept + removed, waveform, atol=1e-5)


@pytest.mark.parametrize("n", [1, 1023, 1024, 16000, 16001])
def test_all_is_kept_or_removed(rng, hz, n):
    """The inverse STFT gives back what it was made from, also below a window's length.

    One sample more than the picture lasts is a matter of rounding.
    """
    waveform = rng.uniform(-1, 1, n).astype(np.float32)
    for every in (True, False):
        mask = np.full((20, 300), every)
        parts = listen.split(waveform, mask, hz, RATE, WINDOW, 1.0)
        whole, nothing = parts if every else parts[::-1]
        np.testing.assert_allclose(whole, waveform, atol=1e-5)
        np.testing.assert_allclose(nothing, 0, atol=1e-5)


@pytest.mark.parametrize("high_is_kept", [True, False])
def test_one_of_two_sines(hz, high_is_kept):
    t = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 3000 * t)
    mask = np.zeros((128, 50))
    mask[:64] = high_is_kept  # about 1770 Hz and more
    mask[64:] = not high_is_kept
    kept, removed = listen.split((low + high) / 2, mask, hz, RATE, WINDOW, 1.0)
    wanted, other = (high, low) if high_is_kept else (low, high)
    assert correlation(kept, wanted) > 0.99
    assert correlation(removed, other) > 0.99
    assert abs(correlation(kept, other)) < 0.05


def test_one_of_two_clicks(hz):
    waveform = np.zeros(RATE, np.float32)
    waveform[[4000, 12000]] = 1, -1
    mask = np.zeros((32, 40))
    mask[:, :20] = 1  # the first half
    kept, removed = listen.split(waveform, mask, hz, RATE, WINDOW, 1.0)
    first, second = np.where(np.arange(RATE) < 8000, waveform, 0), waveform.clip(max=0)
    assert correlation(kept, first) > 0.99
    assert correlation(removed, second) > 0.99


def test_after_the_picture_all_is_removed(rng, hz):
    waveform = rng.uniform(-1, 1, RATE).astype(np.float32)
    kept, removed = listen.split(waveform, np.ones((8, 8)), hz, RATE, WINDOW, 0.5)
    np.testing.assert_allclose(kept[:7400], waveform[:7400], atol=1e-5)
    np.testing.assert_allclose(removed[9200:], waveform[9200:], atol=1e-5)


# Files


@pytest.mark.parametrize("peak", [0.5, 2.0])
def test_files_hold_what_they_are_called_and_too_loud_a_part_lowers_both(tmp_path, rng, peak):
    parts = rng.uniform(-0.5, 0.5, (2, 800))
    parts[1, 7] = -peak
    targets = listen.write(tmp_path, "a.b", *parts, RATE)
    assert [path.name for path in targets] == ["a.b-kept.wav", "a.b-removed.wav"]
    assert sorted(tmp_path.iterdir()) == sorted(targets)
    for path, part in zip(targets, parts, strict=True):
        sound, rate = soundfile.read(path)
        assert rate == RATE
        assert soundfile.info(path).subtype == "PCM_16"
        np.testing.assert_allclose(sound, part / max(1, peak), atol=2 / 2**15)


def test_nothing_is_written_as_nothing(tmp_path):
    nothing = np.zeros(0, np.float32)
    for path in listen.write(tmp_path, "empty", nothing, nothing, RATE):
        assert soundfile.info(path).frames == 0

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


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


# Masks


def test_the_share_counts_all_pixels_and_takes_the_highest():
    values = np.array([[5.0, -9, 1], [3, 4, 0.5]])
    np.testing.assert_array_equal(listen.top_regions(values, 1 / 3), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(listen.top_regions(values, 1.0), values > 0)
    assert not listen.top_regions(values, 0.0).any()


def test_of_equal_values_the_first_come_first_and_none_that_is_not_positive():
    ties = np.ones((2, 5))
    np.testing.assert_array_equal(listen.top_regions(ties, 0.3).ravel(), [1] * 3 + [0] * 7)
    assert not listen.top_regions(np.zeros((4, 4))).any()
    assert not listen.top_regions(-ties).any()
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="share"):
            listen.top_regions(ties, share)


@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-1, 1)
    ),
    st.floats(0, 1),
)
def test_what_is_left_out_is_never_higher(values, share):
    kept = listen.top_regions(values, share)
    assert kept.sum() <= share * values.size + 0.5
    if kept.any():
        assert values[kept].min() >= values[~kept].max(initial=-np.inf)


def test_every_bin_takes_the_row_of_the_nearest_band():
    mask = np.array([[0.1], [0.2], [0.3], [0.4]])  # rows of 400, 300, 200 and 100 Hz
    made = listen.stft_mask(mask, [100, 200, 300, 400], 1600, 32, [0.5])
    # Bins every 50 Hz; the filters reach from 0 to 400 * 400 / 300 = 533 Hz
    hz = np.arange(0, 801, 50)
    assert made.shape == (17, 1)
    found = dict(zip(hz, made[:, 0], strict=True))
    assert (found[0], found[100], found[200], found[300]) == (0.4, 0.4, 0.3, 0.2)
    assert (found[400], found[500]) == (0.1, 0.1)
    assert [found[f] for f in (550, 600, 800)] == [0, 0, 0]


def test_below_the_lowest_filter_nothing_is_kept():
    made = listen.stft_mask(np.ones((4, 1)), [400, 500, 600, 700], 1600, 32, [0.5])
    np.testing.assert_array_equal(made[:, 0], np.arange(17) >= 6)  # from 300 Hz on


@pytest.mark.parametrize("height", [3, 6, 12])
def test_a_picture_has_more_or_fewer_rows_than_bands(height):
    """The middle third of the bands lies in the middle third of the rows, whatever its height."""
    mask = np.zeros((height, 1))
    mask[height // 3 : 2 * height // 3] = 1
    centres = np.arange(100.0, 700.0, 100.0)
    made = listen.stft_mask(mask, centres, 1600, 16, [0.5])[1:7, 0]  # bins at the centres
    np.testing.assert_array_equal(made, [0, 0, 1, 1, 0, 0])


def test_every_frame_takes_the_column_of_its_time():
    mask = np.array([[0.1, 0.2, 0.3, 0.4]] * 2)
    times = [-0.13, -0.12, 0, 0.24, 0.26, 0.99, 1, 1.12, 1.13]
    made = listen.stft_mask(mask, [100, 200], 1000, 10, times)
    np.testing.assert_array_equal(made[1], [0, 0.1, 0.1, 0.1, 0.2, 0.4, 0.4, 0.4, 0])


# Sound


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5000), st.integers(0, 2**32 - 1), st.sampled_from([8000, 16000, 22050]))
def test_kept_and_removed_are_the_original(n, seed, rate):
    drawn = np.random.default_rng(seed)
    waveform = drawn.uniform(-1, 1, n).astype(np.float32)
    mask = drawn.random((14, 9)) < 0.3
    kept, removed = listen.split(waveform, mask, np.linspace(100, 3900, 20), rate, WINDOW, 0.25)
    assert kept.shape == removed.shape == (n,)
    assert kept.dtype == removed.dtype == np.float32
    np.testing.assert_allclose(kept + removed, waveform, atol=1e-5)


@pytest.mark.parametrize("n", [1, 100, 1023, 1024, 5001, 15872, 16000, 16001])
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


def test_silence_stays_silence(hz):
    for part in listen.split(np.zeros(3000), np.ones((8, 8)), hz, RATE, WINDOW, 1.0):
        np.testing.assert_array_equal(part, 0)


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


def test_files_hold_what_they_are_called(tmp_path, rng):
    kept, removed = rng.uniform(-0.5, 0.5, (2, 800))
    paths = listen.write(tmp_path / "new", "a.b", kept, removed, RATE)
    assert [path.name for path in paths] == ["a.b-kept.wav", "a.b-removed.wav"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        path.name for path in paths
    ]
    for path, part in zip(paths, (kept, removed), strict=True):
        read, rate = soundfile.read(path)
        assert rate == RATE
        assert soundfile.info(path).subtype == "PCM_16"
        np.testing.assert_allclose(read, part, atol=2 / 2**15)


@pytest.mark.parametrize("louder", [0, 1])
def test_too_loud_a_part_lowers_both_alike(tmp_path, louder):
    parts = [np.array([0.5, -0.25]), np.array([0.5, -0.25])]
    parts[louder] = np.array([-2.0, 1.0])
    paths = listen.write(tmp_path, "loud", *parts, RATE)
    for path, part in zip(paths, parts, strict=True):
        np.testing.assert_allclose(soundfile.read(path)[0], part / 2, atol=2 / 2**15)


def test_nothing_is_written_as_nothing(tmp_path):
    nothing = np.zeros(0, np.float32)
    for path in listen.write(tmp_path, "empty", nothing, nothing, RATE):
        assert soundfile.info(path).frames == 0

"""What is kept and what is removed: the original together, the right part each."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite.explanation import attributions, files
from dslite.explanation.methods import Explanation
from dslite.features import spectrogram
from tests.explanation.explained import SIDE, SMALL, explained_file

RATE = 16000
WINDOW = 0.064


def split(waveform, mask, hz, seconds, rate=RATE):
    """What a mask over a picture of one panel, of so many seconds, keeps and removes."""
    return files._split(waveform, [mask], [hz], rate, WINDOW, (0.0, seconds))


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


def test_the_share_counts_all_pixels_and_takes_the_first_of_the_highest(monkeypatch):
    values = np.array([[5.0, -9, 1, 2, 3], [3, 4, 0.5, 0, 0]])
    np.testing.assert_array_equal(files.top_regions(values), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    ties = np.ones((2, 5))
    np.testing.assert_array_equal(files.top_regions(ties).ravel(), [1] * 2 + [0] * 8)
    assert not files.top_regions(0 * ties).any()
    monkeypatch.setattr(files, "SHARE", 1)
    np.testing.assert_array_equal(files.top_regions(values), values > 0)


def test_every_bin_takes_the_nearest_band_s_row_and_every_frame_its_time_s_column():
    mask = np.array([[0.1], [0.2], [0.3], [0.4]])  # rows of 400, 300, 200 and 100 Hz
    middle, bins = np.array([0.5]), np.arange(17) * 50.0  # Hz
    gains = files._stft_mask(mask, [100, 200, 300, 400], bins, middle)[:, 0]
    # The filters reach from 0 to 400 * 400 / 300 = 533 Hz
    expected = [0.4, 0.4, 0.3, 0.2, 0.1, 0.1, 0, 0, 0]
    np.testing.assert_array_equal(gains[[0, 2, 4, 6, 8, 10, 11, 12, 16]], expected)
    low = files._stft_mask(np.ones((4, 1)), [400, 500, 600, 700], bins, middle)
    np.testing.assert_array_equal(low[:, 0], np.arange(17) >= 6)  # from 300 Hz on
    times = np.array([-0.13, -0.12, 0, 0.24, 0.26, 0.99, 1, 1.12, 1.13])
    gains = files._stft_mask(np.stack([mask.ravel()] * 2), [100, 200], np.arange(6) * 100.0, times)
    np.testing.assert_array_equal(gains[1], [0, 0.1, 0.1, 0.1, 0.2, 0.4, 0.4, 0.4, 0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 5000), st.integers(0, 2**32 - 1), st.sampled_from([8000, 16000, 22050]))
def test_kept_and_removed_are_the_original(n, seed, rate):
    rng = np.random.default_rng(seed)
    waveform = rng.uniform(-1, 1, n).astype(np.float32)
    mask = rng.random((14, 9)) < 0.3
    retained, removed = split(waveform, mask, np.linspace(100, 3900, 20), 0.25, rate)
    assert retained.shape == removed.shape == (n,)
    assert retained.dtype == removed.dtype == np.float32
    np.testing.assert_allclose(retained + removed, waveform, atol=1e-5)


def test_after_the_picture_all_is_removed(rng, hz):
    waveform = rng.uniform(-1, 1, RATE).astype(np.float32)
    retained, removed = split(waveform, np.ones((8, 8)), hz, 0.5)
    np.testing.assert_allclose(retained[:7400], waveform[:7400], atol=1e-5)
    np.testing.assert_allclose(removed[9200:], waveform[9200:], atol=1e-5)


def test_what_either_panel_marks_is_kept_from_where_the_picture_begins(hz):
    t = np.arange(RATE) / RATE
    tones = [np.sin(2 * np.pi * of * t) / 2 for of in (440, 3000)]
    low, high = np.zeros((2, 128, 50), bool)
    low[64:], high[:64] = True, True
    panels = [low, high & False], [high & False, low]
    for masks in panels:
        retained, _ = files._split(sum(tones), masks, [hz, hz], RATE, WINDOW, (0.0, 1.0))
        assert correlation(retained, tones[0]) > 0.99
    whole = [low, high]
    retained, removed = files._split(sum(tones), whole, [hz, hz], RATE, WINDOW, (0.5, 1.0))
    np.testing.assert_allclose(retained[9200:], sum(tones)[9200:], atol=1e-5)
    np.testing.assert_allclose(removed[:7400], sum(tones)[:7400], atol=1e-5)


def test_one_of_two_sines_and_one_of_two_clicks(hz):
    t = np.arange(RATE) / RATE
    sines = [np.sin(2 * np.pi * of * t) / 2 for of in (440, 3000)]
    clicks = np.zeros((2, RATE))
    clicks[0, 4000], clicks[1, 12000] = 1, -1
    low, first = np.zeros((2, 128, 50), bool)
    low[64:], first[:, :25] = True, True  # below about 1770 Hz, and in the first half
    for (one, other), mask in ((sines, low), (sines[::-1], ~low), (clicks, first)):
        retained, removed = split(one + other, mask, hz, 1.0)
        assert correlation(retained, one) > 0.99
        assert correlation(removed, other) > 0.99
        assert abs(correlation(retained, other)) < 0.05


def explained(values, **changed):
    parts = {"sad": Explanation(values, 0.25, 0.9), "calm": Explanation(-values, 0.0, 0.1)}
    return explained_file("a/b.wav", parts, span_s=(0.0, 1.25), **changed)


def test_what_speaks_for_the_predicted_class_is_kept():
    edges = attributions.band_edges(spectrogram.mel_frequencies(SMALL), SIDE)
    row = SIDE - int(np.searchsorted(edges, 440.0))  # of the picture, whose top is high
    values = np.zeros((SIDE, 40))
    values[max(0, row - 3) : row + 3] = 1.0  # 6 of 32 rows: less than the 20 % that are kept
    tone = np.sin(2 * np.pi * 440 * np.arange(5000) / 4000) / 4
    file = explained(values, waveform=tone)
    titles = [of.title for of in (file, replace(file, true=""))]
    assert titles == ["calm, predicted sad (0.70)\na/b.wav", "predicted sad (0.70)\na/b.wav"]
    retained, removed = files.split_sound(file, SMALL)
    assert np.square(retained).sum() > 20 * np.square(removed).sum()
    retained, removed = files.split_sound(explained(-values, waveform=tone), SMALL)
    assert np.square(retained).sum() < 1e-6

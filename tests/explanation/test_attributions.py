"""Attributions in numbers: what is added up stays the same sum, and lies where it should."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from librosa import mel_frequencies  # loaded here, lest the first example be late

from dslite.evaluation import metrics
from dslite.explanation import attributions
from dslite.features import plots

FINITE = st.floats(-10, 10, width=32)


@pytest.fixture
def hz():
    """Centres of 8 bands of a filter bank of 0 to 900 Hz."""
    return np.arange(100.0, 900.0, 100.0)


# Joined in time


def test_two_chunks_that_overlap_by_half():
    parts = np.array([[[1.0, 2, 3, 4]], [[10, 20, 30, 40]]])
    joined = attributions.stitch_values(parts, [0, 1], 2.0)
    np.testing.assert_allclose(joined, [[0.5, 1, 6.5, 12, 15, 20]])
    seen = attributions.stitch_pictures(np.repeat(parts[..., None], 3, axis=-1), [0, 1], 2.0)
    assert seen.shape == (1, 6, 3)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[0, :, 1], [1, 2, 6.5, 12, 30, 40])


def test_between_chunks_that_leave_a_gap_there_is_no_picture():
    joined = attributions.stitch_values(np.ones((2, 1, 2)), [0.0, 3.1], 2.0)
    np.testing.assert_array_equal(joined, [[0.5, 0.5, 0, 0.5, 0.5]])  # from 3.1 s: column 3
    seen = attributions.stitch_pictures(np.ones((2, 1, 2, 3)), [0.0, 3.1], 2.0)
    np.testing.assert_array_equal(
        np.isnan(seen[0]).all(axis=-1), [False, False, True, False, False]
    )


@given(st.data())
def test_the_file_s_values_lead_from_the_mean_base_to_the_mean_output(data):
    n, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    parts = data.draw(arrays.arrays(np.float64, (n, height, width), elements=FINITE))
    bases = data.draw(arrays.arrays(np.float64, n, elements=FINITE))
    starts = data.draw(arrays.arrays(np.float64, n, elements=st.floats(0, 9)))
    chunk_s = data.draw(st.floats(0.5, 4))
    outputs = bases + parts.sum(axis=(1, 2))
    joined = attributions.stitch_values(parts, starts, chunk_s)
    assert joined.sum() + bases.mean() == pytest.approx(outputs.mean(), abs=1e-9)
    assert joined.shape == (height, round(starts.max() * width / chunk_s) + width)


@given(arrays.arrays(np.float64, (3, 2, 4), elements=FINITE), st.floats(0, 1))
def test_a_picture_stays_between_those_of_its_chunks(parts, hop_s):
    pictured = np.repeat(parts[..., None], 3, axis=-1)
    seen = attributions.stitch_pictures(pictured, hop_s * np.arange(3), 1.0)
    assert np.isfinite(seen).all()
    assert parts.min() - 1e-5 <= seen.min() <= seen.max() <= parts.max() + 1e-5


@pytest.mark.parametrize("starts", [[], [-0.1, 0], [0]])
def test_chunks_without_a_place_are_refused(starts):
    with pytest.raises(ValueError, match=r"chunks|start"):
        attributions.stitch_values(np.ones((2, 1, 2)), starts, 1.0)


# By frequency and time


def test_the_top_row_is_the_highest_band(hz):
    values = np.zeros((8, 3))
    values[0] = -3.0
    edges, mean = attributions.by_frequency(values, hz, bands=4)
    np.testing.assert_allclose(mean, [0, 0, 0, 1.5])
    # Half a band beyond the outermost centres; above, a band is as wide as 800 / 700 tells.
    np.testing.assert_allclose(edges, [50, 250, 450, 650, 800 + (800**2 / 700 - 800) / 2])


def test_rows_that_lie_in_two_bands_count_in_both(hz):
    values = np.array([[6.0], [0.0], [0.0]])
    np.testing.assert_allclose(attributions.by_frequency(values, hz, 2)[1], [0, 4])
    np.testing.assert_allclose(attributions.by_frequency(values, hz, 6)[1], [0, 0, 0, 0, 6, 6])


@given(st.integers(8, 128), st.integers(1, 30), st.floats(0, 3000), st.floats(4000, 48000))
def test_band_edges_ascend_and_lie_where_the_axis_has_them(n, bands, low, high):
    # Of a filter bank as `dslite.features.spectrogram` makes them: one that ends at 0 Hz or above.
    centres = mel_frequencies(n_mels=n + 2, fmin=low, fmax=high)[1:-1]
    edges = attributions.band_edges(centres, bands)
    assert (np.diff(edges) > 0).all()
    assert edges[0] >= 0
    positions, texts = plots.hz_ticks(centres)
    ticks = [1000 * float(text[:-1]) if text.endswith("k") else float(text) for text in texts]
    places = np.linspace(-0.5, n - 0.5, bands + 1)
    for place, tick in zip(positions, ticks, strict=True):
        if -0.5 < place < n - 0.5:  # the same band, or the one beside it for a tick on an edge
            expected = np.searchsorted(places, [place - 1e-6, place + 1e-6])
            assert np.searchsorted(edges, tick) in expected


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 30)), elements=FINITE),
    st.integers(1, 40),
)
def test_bins_keep_the_integral(values, bins):
    mean = np.abs(values).mean()
    for made in (
        attributions.by_time(values, bins=bins),
        attributions.by_frequency(values, np.arange(1.0, 9.0), bins)[1],
    ):
        assert made.shape == (bins,)
        assert made.mean() == pytest.approx(mean, abs=1e-9)
        assert made.min() >= -1e-9


def test_time_ends_with_the_clip():
    values = np.array([[1.0, -2, 3, 100, 100]])
    np.testing.assert_allclose(attributions.by_time(values, 0.6, 3), [1, 2, 3])
    np.testing.assert_allclose(attributions.by_time(values, 0.5, 2), [1.2, 2.4])
    np.testing.assert_allclose(attributions.by_time(values, 0.2, 4), [1, 1, 1, 1])
    for valid in (0, 1.01):
        with pytest.raises(ValueError, match="share"):
            attributions.by_time(values, valid)


# Regions


def test_cells_of_sides_that_do_not_divide():
    np.testing.assert_array_equal(
        attributions.cells(5, 3, 2),
        [[0, 0, 1], [0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3]],
    )
    values = np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(attributions.regions(values, 2), [[21, 15], [44, 25]])


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=FINITE),
    st.integers(1, 14),
)
def test_regions_begin_where_their_cells_do_and_keep_the_sum(values, grid):
    height, width = values.shape
    sums = attributions.regions(values, grid)
    # Pixel p lies in cell i if i <= p * grid / n < i + 1: from ceil(i * n / grid) on.
    rows = [-(-i * height // grid) for i in range(grid + 1)]
    columns = [-(-i * width // grid) for i in range(grid + 1)]
    expected = [
        [values[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].sum() for j in range(grid)]
        for i in range(grid)
    ]
    np.testing.assert_allclose(sums, expected, atol=1e-9)
    assert sums.sum() == pytest.approx(values.sum(), abs=1e-9)


def test_rank_correlation_of_pictures(rng):
    one = rng.normal(size=(6, 7))
    assert attributions.rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert attributions.rank_correlation(one, -one) == pytest.approx(-1)
    other = rng.normal(size=(6, 7))
    expected = metrics.rho(one.ravel(), other.ravel())
    assert attributions.rank_correlation(one, other) == expected
    assert np.isnan(attributions.rank_correlation(one, np.zeros((6, 7))))
    with pytest.raises(ValueError, match="differ"):
        attributions.rank_correlation(one, one.T)


# Tables


def test_tables_hold_a_class_s_mean_and_standard_error_over_its_files():
    values = np.array([[1.0, 2], [3, 6], [5, 5]])
    labels = ["b", "b", "a"]
    table = attributions.frequency_table(values, labels, ["a", "absent", "b"], [0, 100, 300])
    expected = pd.DataFrame(
        {
            "class": ["a", "a", "b", "b"],
            "low_hz": [0, 100, 0, 100],
            "high_hz": [100, 300, 100, 300],
            "mean_abs": [5.0, 5, 2, 4],
            "standard_error": [np.nan, np.nan, 1, 2],  # sqrt(2) / sqrt(2), sqrt(8) / sqrt(2)
            "files": [1, 1, 2, 2],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    table = attributions.time_table(values, labels, ["a", "b"])
    assert list(table["from_share"]) == [0, 0.5, 0, 0.5]
    assert list(table["to_share"]) == [0.5, 1, 0.5, 1]
    np.testing.assert_array_equal(table["mean_abs"], expected["mean_abs"])


def test_tables_refuse_labels_and_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="none of the classes"):
        attributions.time_table(np.ones((1, 2)), ["c"], ["a", "b"])
    with pytest.raises(ValueError, match="labels"):
        attributions.time_table(np.ones((2, 2)), ["a"], ["a"])
    with pytest.raises(ValueError, match="edges"):
        attributions.frequency_table(np.ones((1, 2)), ["a"], ["a"], [0, 1])


def test_no_files_make_an_empty_table():
    table = attributions.time_table(np.ones((0, 2)), [], ["a"])
    assert list(table.columns[:3]) == ["class", "from_share", "to_share"]
    assert table.empty

"""Attributions in numbers: what is added up stays the same sum, and lies where it should."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from librosa import mel_frequencies  # loaded here, lest the first example be late

from dslite.evaluation import metrics
from dslite.explanation import attributions
from dslite.features import plots

FINITE = st.floats(-10, 10, width=32)


# Joined in time


def test_two_chunks_that_overlap_by_half():
    parts = np.array([[[1.0, 2, 3, 4]], [[10, 20, 30, 40]]])
    values = attributions.stitch_values(parts, [0, 1], 2.0)
    np.testing.assert_allclose(values, [[0.5, 1, 6.5, 12, 15, 20]])
    picture = attributions.stitch_pictures(np.repeat(parts[..., None], 3, axis=-1), [0, 1], 2.0)
    assert picture.shape == (1, 6, 3)
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture[0, :, 1], [1, 2, 6.5, 12, 30, 40])


def test_between_chunks_that_leave_a_gap_there_is_no_picture():
    values = attributions.stitch_values(np.ones((2, 1, 2)), [0.0, 3.1], 2.0)
    np.testing.assert_array_equal(values, [[0.5, 0.5, 0, 0.5, 0.5]])  # from 3.1 s: column 3
    picture = attributions.stitch_pictures(np.ones((2, 1, 2, 3)), [0.0, 3.1], 2.0)
    np.testing.assert_array_equal(picture[0, :, 0], [1, 1, np.nan, 1, 1])


@settings(deadline=None)
@given(st.data())
def test_the_file_s_values_lead_from_the_mean_base_to_the_mean_output(data):
    n, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    parts = data.draw(arrays.arrays(np.float64, (n, height, width), elements=FINITE))
    bases = data.draw(arrays.arrays(np.float64, n, elements=FINITE))
    starts = data.draw(arrays.arrays(np.float64, n, elements=st.floats(0, 9)))
    chunk_s = data.draw(st.floats(0.5, 4))
    outputs = bases + parts.sum(axis=(1, 2))
    values = attributions.stitch_values(parts, starts, chunk_s)
    assert values.sum() + bases.mean() == pytest.approx(outputs.mean(), abs=1e-9)
    assert values.shape == (height, round(starts.max() * width / chunk_s) + width)


@pytest.mark.parametrize("starts", [[], [-0.1, 0], [0]])
def test_chunks_without_a_place_are_refused(starts):
    with pytest.raises(ValueError, match=r"chunks|start"):
        attributions.stitch_values(np.ones((2, 1, 2)), starts, 1.0)


# By frequency and time


def test_the_top_row_is_the_highest_band():
    values = np.zeros((8, 3))
    values[0] = -3.0
    np.testing.assert_allclose(attributions.by_frequency(values, 4), [0, 0, 0, 1.5])
    # Half a band beyond the outermost centres; above, a band is as wide as 800 / 700 tells.
    edges = attributions.band_edges(np.arange(100.0, 900.0, 100.0), 4)
    np.testing.assert_allclose(edges, [50, 250, 450, 650, 800 + (800**2 / 700 - 800) / 2])


def test_rows_that_lie_in_two_bands_count_in_both():
    values = np.array([[6.0], [0.0], [0.0]])
    np.testing.assert_allclose(attributions.by_frequency(values, 2), [0, 4])
    np.testing.assert_allclose(attributions.by_frequency(values, 6), [0, 0, 0, 0, 6, 6])


@settings(deadline=None)
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
        if -0.5 < place < n - 0.5:  # the same band, or the next to it for a tick on an edge
            expected = np.searchsorted(places, [place - 1e-6, place + 1e-6])
            assert np.searchsorted(edges, tick) in expected


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 30)), elements=FINITE),
    st.integers(1, 40),
)
def test_bins_keep_the_integral(values, bins):
    for binned in (attributions.by_time(values, bins), attributions.by_frequency(values, bins)):
        assert binned.shape == (bins,)
        assert binned.mean() == pytest.approx(np.abs(values).mean(), abs=1e-9)
        assert binned.min() >= -1e-9


def test_time_ends_with_the_clip():
    values = np.array([[1.0, -2, 3, 100, 100]])
    np.testing.assert_allclose(attributions.by_time(values, 3, 0.6), [1, 2, 3])
    np.testing.assert_allclose(attributions.by_time(values, 2, 0.5), [1.2, 2.4])
    np.testing.assert_allclose(attributions.by_time(values, 4, 0.2), [1, 1, 1, 1])
    for valid in (0, 1.01):
        with pytest.raises(ValueError, match="share"):
            attributions.by_time(values, 20, valid)


# Regions


def test_cells_of_sides_that_do_not_divide():
    cells = attributions.cells(5, 3, 2)
    np.testing.assert_array_equal(cells, [[0, 0, 1]] * 3 + [[2, 2, 3]] * 2)
    values = np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(attributions.regions(values, 2), [[21, 15], [44, 25]])


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=FINITE),
    st.integers(1, 14),
)
def test_regions_begin_where_their_cells_do(values, grid):
    height, width = values.shape
    # Pixel p lies in cell i if i <= p * grid / n < i + 1: from ceil(i * n / grid) on.
    rows = [-(-i * height // grid) for i in range(grid + 1)]
    columns = [-(-i * width // grid) for i in range(grid + 1)]
    expected = [
        [values[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].sum() for j in range(grid)]
        for i in range(grid)
    ]
    np.testing.assert_allclose(attributions.regions(values, grid), expected, atol=1e-9)


def test_rank_correlation_of_pictures(rng):
    one, other = rng.normal(size=(2, 6, 7))
    expected = metrics.rho(one.ravel(), other.ravel())
    assert attributions.rank_correlation(one, other) == expected
    assert np.isnan(attributions.rank_correlation(one, np.zeros((6, 7))))
    with pytest.raises(ValueError, match="differ"):
        attributions.rank_correlation(one, one.T)


# Tables


def test_tables_hold_a_class_s_mean_and_standard_error_over_its_files():
    values, labels = np.array([[1.0, 2], [3, 6], [5, 5]]), ["b", "b", "a"]
    table = attributions.class_table(
        values, labels, ["a", "absent", "b"], attributions.FREQUENCY, [0, 100, 300]
    )
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
    table = attributions.class_table(np.ones((0, 2)), [], ["a"], attributions.TIME, [0, 0.5, 1])
    assert list(table.columns[:3]) == ["class", "from_share", "to_share"]
    assert table.empty


@pytest.mark.parametrize(
    ("values", "labels", "edges", "text"),
    [
        (np.ones((1, 2)), ["c"], [0, 1, 2], "none of the classes"),
        (np.ones((2, 2)), ["a"], [0, 1, 2], "labels"),
        (np.ones((1, 2)), ["a"], [0, 1], "edges"),
    ],
)
def test_tables_refuse_labels_and_shapes_that_do_not_fit(values, labels, edges, text):
    with pytest.raises(ValueError, match=text):
        attributions.class_table(values, labels, ["a"], attributions.TIME, edges)

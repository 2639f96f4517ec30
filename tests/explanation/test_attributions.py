"""Attributions in numbers: what is added up stays the same sum, and lies where it should."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from librosa import mel_frequencies  # loaded here, lest the first example be late

from dslite.explanation import attributions

FINITE = st.floats(-10, 10, width=32)


def test_chunks_that_overlap_by_half_or_leave_a_gap():
    parts = np.array([[[1.0, 2, 3, 4]], [[10, 20, 30, 40]]])
    pictures = np.repeat(parts[..., None], 3, axis=-1)
    values = attributions.stitch_values(parts, [(0, 2), (1, 3)])
    np.testing.assert_allclose(values, [[0.5, 1, 6.5, 12, 15, 20]])
    picture = attributions.stitch_pictures(pictures, [(0, 2), (1, 3)])
    assert (picture.shape, picture.dtype) == ((1, 6, 3), np.float32)
    np.testing.assert_allclose(picture[0, :, 1], [1, 2, 6.5, 12, 30, 40])
    values = attributions.stitch_values(parts, [(0, 2), (2.6, 4.6)])  # from 2.6 s: column 5
    np.testing.assert_array_equal(values, [[0.5, 1, 1.5, 2, 0, 5, 10, 15, 20]])
    picture = attributions.stitch_pictures(pictures, [(0, 2), (2.6, 4.6)])
    np.testing.assert_array_equal(picture[0, :, 0], [1, 2, 3, 4, np.nan, 10, 20, 30, 40])


def test_a_short_chunk_s_columns_are_those_of_its_time():
    # Two of 2 s, of four columns each, and one of 1 s, which is stretched in its own picture.
    parts = np.array([[[1.0, 2, 3, 4]]] * 2 + [[[10, 20, 30, 50]]])
    spans = [(0.5, 2.5), (2.5, 4.5), (4, 5)]
    pictures = attributions.stitch_pictures(np.repeat(parts[..., None], 3, axis=-1), spans)
    np.testing.assert_allclose(pictures[0, :, 2], [1, 2, 3, 4, 1, 2, 3, (4 + 15) / 2, 40])
    values = attributions.stitch_values(parts, spans)
    np.testing.assert_allclose(3 * values, [[1, 2, 3, 4, 1, 2, 3, 4 + 30, 80]])


@settings(deadline=None)
@given(st.data())
def test_the_file_s_values_lead_from_the_mean_base_to_the_mean_output(data):
    n, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    parts = data.draw(arrays.arrays(np.float64, (n, height, width), elements=FINITE))
    bases = data.draw(arrays.arrays(np.float64, n, elements=FINITE))
    starts = data.draw(arrays.arrays(np.float64, n, elements=st.floats(0, 9)))
    lengths = data.draw(arrays.arrays(np.float64, n, elements=st.floats(0.5, 4)))
    outputs = bases + parts.sum(axis=(1, 2))
    values = attributions.stitch_values(parts, np.stack([starts, starts + lengths], axis=1))
    assert values.sum() + bases.mean() == pytest.approx(outputs.mean(), abs=1e-9)
    columns = np.ptp([starts, starts + lengths]) * width / np.median(lengths)
    assert values.shape == (height, pytest.approx(columns, abs=1.001))


def test_the_top_row_is_the_highest_band():
    values = np.zeros((8, 3))
    values[0] = -3.0
    np.testing.assert_allclose(attributions.by_frequency(values, 4), [0, 0, 0, 1.5])
    # A row that lies in two bands counts in both.
    for bands, expected in ((2, [0, 4]), (6, [0, 0, 0, 0, 6, 6])):
        values = np.array([[6.0], [0.0], [0.0]])
        np.testing.assert_allclose(attributions.by_frequency(values, bands), expected)
    # Half a band beyond the outermost centres; above, a band is as wide as 800 / 700 tells.
    edges = attributions.band_edges(np.arange(100.0, 900.0, 100.0), 4)
    np.testing.assert_allclose(edges, [50, 250, 450, 650, 800 + (800**2 / 700 - 800) / 2])


@settings(deadline=None)
@given(st.integers(8, 128), st.integers(1, 30), st.floats(0, 3000), st.floats(4000, 48000))
def test_band_edges_ascend_from_no_less_than_0(n, bands, low, high):
    # Of a filter bank as `dslite.features.spectrogram` makes them: one that ends at 0 Hz or above.
    centres = mel_frequencies(n_mels=n + 2, fmin=low, fmax=high)[1:-1]
    edges = attributions.band_edges(centres, bands)
    assert (np.diff(edges, prepend=-1e-9) > 0).all()


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
    for valid, expected in ((0.6, [1, 2, 3]), (0.5, [1.2, 2.4]), (0.2, [1, 1, 1, 1])):
        binned = attributions.by_time(values, len(expected), valid)
        np.testing.assert_allclose(binned, expected)


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=FINITE),
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
)
def test_regions_begin_where_their_cells_do(values, grid):
    # Pixel p lies in cell i if i <= p * grid / n < i + 1: from ceil(i * n / grid) on.
    rows, columns = (
        [-(-i * n // count) for i in range(count + 1)]
        for n, count in zip(values.shape, grid, strict=True)
    )
    strips = [values[slice(*ends)] for ends in pairwise(rows)]
    expected = [[of[:, slice(*ends)].sum() for ends in pairwise(columns)] for of in strips]
    np.testing.assert_allclose(attributions.regions(values, grid), expected, atol=1e-9)


def test_the_share_of_the_lower_panel():
    values = np.array([[1.0, -2], [0, 0], [-3, 3], [0, 3]])
    assert attributions.level_share(values) == pytest.approx(9 / 12)
    assert attributions.level_share(0 * values) == 0


def test_tables_hold_a_class_s_mean_and_standard_error_over_its_files():
    values, labels = np.array([[1.0, 2], [3, 6], [5, 5]]), ["b", "b", "a"]
    table = attributions.class_table(
        values, labels, ["a", "absent", "b"], attributions.FREQUENCY, [0, 100, 300]
    )
    rows = [
        ("a", 0, 100, 5.0, np.nan, 1),
        ("a", 100, 300, 5.0, np.nan, 1),
        ("b", 0, 100, 2.0, 1.0, 2),  # sqrt(2) / sqrt(2)
        ("b", 100, 300, 4.0, 2.0, 2),
    ]
    columns = ["class", "low_hz", "high_hz", "mean_abs", "standard_error", "files"]
    expected = pd.DataFrame(rows, columns=columns)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    table = attributions.class_table(np.ones((0, 2)), [], ["a"], attributions.TIME, [0, 0.5, 1])
    assert (list(table)[:3], len(table)) == (["class", "from_share", "to_share"], 0)

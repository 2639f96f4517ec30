"""Attributions over spectrogram pictures in numbers: joined in time, by frequency, by time.

An attribution is float [H, W] over a picture whose row 0 is the highest frequency, summed over the
colour channels; positive values raise the explained output. Of a picture of two panels, that of
absolute level is the lower half.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.interpolate import interp1d

from dslite.features.spectrogram import mel_axis

FREQUENCY, TIME = ("low_hz", "high_hz"), ("from_share", "to_share")  # edges in `class_table`


def _resampled(part: np.ndarray, count: int, end: float | None = None) -> np.ndarray:
    """Means of [H, W, ...] over equal parts of its columns, or of 0 to ``end``: [H, count, ...]."""
    # A column in two parts counts in both by its shares: the mean of the parts is that of all.
    width = part.shape[1]
    end = width if end is None else end
    if count == width == end:
        return part
    integral = np.insert(part.cumsum(axis=1), 0, 0, axis=1)
    ends = interp1d(np.arange(width + 1), integral, axis=1)(np.linspace(0, end, count + 1))
    return np.diff(ends, axis=1) * count / end


def _stitched(
    parts: np.ndarray, spans_s: np.ndarray, keep_sums: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of chunks [chunks, H, W, ...] where they lie, and how many cover each column."""
    # The rate is that of the median chunk: a short one, stretched in its own picture, shrinks.
    parts, spans = np.asarray(parts, np.float64), np.asarray(spans_s, float)
    lengths, width = spans[:, 1] - spans[:, 0], parts.shape[2]
    rate = width / np.median(lengths)
    counts = np.maximum(1, np.round(lengths * rate)).astype(np.int64)
    first = np.round((spans[:, 0] - spans[:, 0].min()) * rate).astype(np.int64)  # the nearest
    covering = np.zeros((first + counts).max())
    total = np.zeros((parts.shape[1], len(covering), *parts.shape[3:]))
    for part, at, count in zip(parts, first, counts, strict=True):
        scale = width / count if keep_sums else 1
        total[:, at : at + count] += _resampled(part, count) * scale
        covering[at : at + count] += 1
    return total, covering


def stitch_values(parts: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Join the attributions of a file's chunks to that of the file's score.

    From float [chunks, H, W], which last from and to so many seconds, [chunks, 2], to float64 [H,
    columns], from the first begin to the last end, 0 where no chunk lies. The score is the mean of
    n chunks' scores, so every chunk's values count one n-th wherever they lie.
    """
    return _stitched(parts, spans_s, keep_sums=True)[0] / len(parts)


def mean_values(parts: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Join as `stitch_values`, but take the mean of the chunks that cover a moment.

    What two chunks show counts once, not twice, so that times can be compared.
    """
    total, covering = _stitched(parts, spans_s, keep_sums=True)
    return total / np.maximum(covering, 1)


def stitch_pictures(pictures: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Join the pictures of a file's chunks: the mean of the chunks that cover a column.

    From float [chunks, H, W, 3] to float32 [H, columns, 3], NaN where no chunk lies.
    """
    total, covering = _stitched(pictures, spans_s, keep_sums=False)
    with np.errstate(invalid="ignore"):  # 0 / 0, where no chunk lies
        return (total / covering[:, None]).astype(np.float32)


def band_edges(mel_frequencies_hz: np.ndarray, bands: int) -> np.ndarray:
    """Return the edges in Hz, float64 [bands + 1], of equal parts of a picture's height."""
    positions, axis_hz = mel_axis(mel_frequencies_hz)
    hz = np.interp(np.linspace(-0.5, positions[-1] - 0.5, bands + 1), positions, axis_hz)
    return np.maximum(hz, 0)


def by_frequency(values: np.ndarray, bands: int) -> np.ndarray:
    """Compute mean absolute attributions of bands of equal height, low to high: float64 [bands]."""
    rows = np.abs(values).mean(axis=1)[::-1]  # row 0 is the highest frequency
    return _resampled(rows[None], bands)[0]


def by_time(values: np.ndarray, bins: int, valid: float = 1.0) -> np.ndarray:
    """Compute mean absolute attributions over a clip's relative time, 0 to 1: float64 [bins].

    ``valid`` is the share of the width that the clip takes, the rest is padding.
    """
    columns = np.abs(values).mean(axis=0, keepdims=True)
    return _resampled(columns, bins, valid * columns.size)[0]


def level_share(values: np.ndarray) -> float:
    """Compute which share of the absolute attribution lies in the lower of two panels."""
    size = np.abs(values)
    return float(size[len(size) // 2 :].sum() / (size.sum() or 1.0))


def cells(height: int, width: int, grid: tuple[int, int]) -> np.ndarray:
    """Return the cell of every pixel, int64 [height, width], line by line of a grid from 0 on."""
    sides = zip((height, width), grid, strict=True)
    row, column = (np.arange(side) * count // side for side, count in sides)
    return row[:, None] * grid[1] + column


def regions(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Sum float [H, W] over the `cells` of a grid, rows and columns: float64 [rows, columns]."""
    cell = cells(*np.shape(values), grid).ravel()
    return np.bincount(cell, np.ravel(values), minlength=np.prod(grid)).reshape(grid)


def class_table(
    mean_abs: np.ndarray,
    labels: Sequence[str],
    classes: Sequence[str],
    ends: tuple[str, str],
    edges: np.ndarray,
) -> pd.DataFrame:
    """Tabulate the mean absolute attribution of every class and bin over its files.

    Takes `by_frequency` or `by_time` of every file, float [files, bins], and the bins' edges,
    float [bins + 1], whose columns are ``ends`` (`FREQUENCY` or `TIME`). The standard error is over
    the files; a class without files has no rows.
    """
    edges = np.asarray(edges, np.float64)
    files = pd.DataFrame(np.asarray(mean_abs, np.float64)).assign(
        **{"class": pd.Categorical(labels, classes)}
    )
    groups = files.melt("class", var_name="bin").groupby(["class", "bin"], observed=True)["value"]
    table = groups.agg(mean_abs="mean", standard_error="sem", files="size").reset_index()
    bins = table.pop("bin").to_numpy(int)
    table.insert(1, ends[0], edges[bins])
    table.insert(2, ends[1], edges[bins + 1])
    return table.astype({"class": str})

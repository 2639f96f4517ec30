"""Attributions over spectrogram pictures in numbers: joined in time, by frequency, by time.

An attribution is float [H, W] over a picture whose row 0 is the highest frequency, summed over the
colour channels; positive values raise the explained output.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dslite.features.spectrogram import mel_axis

FREQUENCY, TIME = ("low_hz", "high_hz"), ("from_share", "to_share")  # edges in `class_table`


def _added(
    parts: np.ndarray, starts_s: np.ndarray, chunk_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Chunks [chunks, H, W, ...] summed on the file's time axis, and how many cover a column."""
    parts, starts = np.asarray(parts, np.float64), np.asarray(starts_s, float)
    if starts.size == 0 or starts.min() < 0 or len(parts) != len(starts):
        raise ValueError(f"expected {len(parts)} chunks' starts, 0 s or later, found {starts!r}")
    width = parts.shape[2]
    first = np.round(starts * width / chunk_s).astype(np.int64)  # the nearest column
    columns = first[:, None] + np.arange(width)
    total = np.zeros((parts.shape[1], columns.max() + 1, *parts.shape[3:]))
    for part, at in zip(parts, columns, strict=True):
        total[:, at] += part
    return total, np.bincount(columns.ravel())


def stitch_values(parts: np.ndarray, starts_s: np.ndarray, chunk_s: float) -> np.ndarray:
    """Join the attributions of a file's chunks to that of the file's score.

    From float [chunks, H, W] to float64 [H, columns], 0 where no chunk lies. The score is the mean
    of n chunks' scores, so every chunk's values count one n-th wherever they lie. ValueError
    without a chunk, for a start below 0 and for another number of starts.
    """
    return _added(parts, starts_s, chunk_s)[0] / len(parts)


def stitch_pictures(pictures: np.ndarray, starts_s: np.ndarray, chunk_s: float) -> np.ndarray:
    """Join the pictures of a file's chunks: the mean of the chunks that cover a column.

    From float [chunks, H, W, 3] to float32 [H, columns, 3], NaN where no chunk lies.
    """
    total, covering = _added(pictures, starts_s, chunk_s)
    with np.errstate(invalid="ignore"):  # 0 / 0, where no chunk lies
        return (total / covering[:, None]).astype(np.float32)


def _binned(line: np.ndarray, bins: int, end: float) -> np.ndarray:
    """Means of float [n], constant over each step, in equal bins of 0 to ``end`` steps."""
    # A step in two bins counts in both by its shares: the mean of the bins is that of the line,
    # and a line of fewer steps than bins has a value in each.
    integral = np.concatenate([[0.0], np.cumsum(line)])
    edges = np.linspace(0, end, bins + 1)
    return np.diff(np.interp(edges, np.arange(len(line) + 1), integral)) * bins / end


def band_edges(mel_frequencies_hz: np.ndarray, bands: int) -> np.ndarray:
    """Return the edges in Hz, float64 [bands + 1], of equal parts of a picture's height.

    The picture ends half a band beyond the ascending centres of its Mel bands.
    """
    positions, axis_hz = mel_axis(mel_frequencies_hz)
    hz = np.interp(np.linspace(-0.5, positions[-1] - 0.5, bands + 1), positions, axis_hz)
    return np.maximum(hz, 0)


def by_frequency(values: np.ndarray, bands: int) -> np.ndarray:
    """Compute mean absolute attributions of bands of equal height, low to high: float64 [bands]."""
    rows = np.abs(values).mean(axis=1)[::-1]  # row 0 is the highest frequency
    return _binned(rows, bands, len(rows))


def by_time(values: np.ndarray, bins: int, valid: float = 1.0) -> np.ndarray:
    """Compute mean absolute attributions over a clip's relative time, 0 to 1: float64 [bins].

    ``valid`` is the share of the width that the clip takes, the rest is padding; ValueError for one
    outside of 0 (excluded) to 1.
    """
    if not 0 < valid <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, found {valid}")
    columns = np.abs(values).mean(axis=0)
    return _binned(columns, bins, valid * len(columns))


def cells(height: int, width: int, grid: int) -> np.ndarray:
    """Return the cell of every pixel, int64 [height, width], line by line from 0 to grid ** 2 - 1.

    Pixel p of a side of n lies in cell floor(p * grid / n); with fewer pixels than cells, some are
    empty. `dslite.explanation.methods.hide` divides a picture in the same way.
    """
    row, column = (np.arange(side) * grid // side for side in (height, width))
    return row[:, None] * grid + column


def regions(values: np.ndarray, grid: int) -> np.ndarray:
    """Sum float [H, W] over the `cells` of a grid: float64 [grid, grid]."""
    cell = cells(*np.shape(values), grid).ravel()
    return np.bincount(cell, np.ravel(values), minlength=grid**2).reshape(grid, grid)


def class_table(
    mean_abs: np.ndarray,
    labels: Sequence[str],
    classes: Sequence[str],
    ends: tuple[str, str],
    edges: np.ndarray,
) -> pd.DataFrame:
    """Tabulate the mean absolute attribution of every class and bin over its files.

    Takes `by_frequency` or `by_time` of every file, float [files, bins], the classes in the order
    of the table (one without files has no rows), the columns of the bins' ends (`FREQUENCY` or
    `TIME`) and their edges, float [bins + 1]. Gives ``class``, ``ends``, ``mean_abs``,
    ``standard_error`` (over the files; NaN with one file) and ``files``. ValueError for a label
    that is no class and lengths that differ.
    """
    mean_abs, edges = np.asarray(mean_abs, np.float64), np.asarray(edges, np.float64)
    if mean_abs.shape != (len(labels), len(edges) - 1):
        raise ValueError(f"{mean_abs.shape} values, {len(labels)} labels, {len(edges)} edges")
    if unknown := sorted(set(labels) - set(classes)):
        raise ValueError(f"labels {unknown} are none of the classes {list(classes)}")
    files = pd.DataFrame(mean_abs).assign(**{"class": pd.Categorical(labels, classes)})
    groups = files.melt("class", var_name="bin").groupby(["class", "bin"], observed=True)["value"]
    table = groups.agg(mean_abs="mean", standard_error="sem", files="size").reset_index()
    bins = table.pop("bin").to_numpy(int)
    table.insert(1, ends[0], edges[bins])
    table.insert(2, ends[1], edges[bins + 1])
    return table.astype({"class": str})

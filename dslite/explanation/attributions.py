"""Attributions over spectrogram pictures in numbers: joined in time, by frequency, by time.

An attribution is float [H, W] over a picture whose row 0 is the highest frequency, summed over the
colour channels; positive values raise the explained output.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dslite.evaluation import metrics
from dslite.features.spectrogram import mel_axis

FREQUENCY, TIME = ("low_hz", "high_hz"), ("from_share", "to_share")  # edges in `class_table`


def _columns(starts_s: np.ndarray, chunk_s: float, width: int) -> np.ndarray:
    """The column of every chunk's columns on the file's time axis: int [chunks, width]."""
    starts = np.asarray(starts_s, dtype=float)
    if starts.size == 0 or starts.min() < 0:
        raise ValueError(f"expected chunks that start at 0 s or later, found {starts!r}")
    first = np.round(starts * width / chunk_s).astype(np.int64)  # the nearest column
    return first[:, None] + np.arange(width)


def _summed(parts: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Chunks float [chunks, H, W, ...] added up on one time axis: float64 [H, total, ...]."""
    if len(parts) != len(columns):
        raise ValueError(f"{len(parts)} chunks, {len(columns)} starts")
    total = np.zeros((parts.shape[1], columns.max() + 1, *parts.shape[3:]))
    for part, at in zip(parts, columns, strict=True):
        total[:, at] += part
    return total


def stitch_values(parts: np.ndarray, starts_s: np.ndarray, chunk_s: float) -> np.ndarray:
    """Join the attributions of a file's chunks to that of the file's score.

    Parameters
    ----------
    parts : float [chunks, H, W]
    starts_s : float [chunks]
        Where each chunk starts in the file, seconds.
    chunk_s : float
        Duration of a chunk, seconds.

    Returns
    -------
    float64 [H, columns]
        A column lasts ``chunk_s / W``; 0 where no chunk lies.

    Raises
    ------
    ValueError
        No chunk, a start below 0, or as many starts as chunks are not there.

    Notes
    -----
    The file's score is the mean of its n chunks' scores, so every chunk's values count one n-th
    wherever they lie. Their sum with the mean of the chunks' bases is the file's score, overlap or
    not. (Where chunks overlap in part, a time that more of them cover weighs more in the score
    too.)
    """
    parts = np.asarray(parts, dtype=np.float64)
    return _summed(parts, _columns(starts_s, chunk_s, parts.shape[2])) / len(parts)


def stitch_pictures(pictures: np.ndarray, starts_s: np.ndarray, chunk_s: float) -> np.ndarray:
    """Join the pictures of a file's chunks: the mean of the chunks that cover a column.

    Takes float [chunks, H, W, 3] and what `stitch_values` takes, and gives float32 [H, columns, 3]
    in the same units, NaN where no chunk lies.
    """
    pictures = np.asarray(pictures, dtype=np.float64)
    columns = _columns(starts_s, chunk_s, pictures.shape[2])
    covering = np.bincount(columns.ravel())[:, None]
    total = _summed(pictures, columns)
    mean = np.divide(total, covering, out=np.full_like(total, np.nan), where=covering > 0)
    return mean.astype(np.float32)


def _binned(line: np.ndarray, bins: int, end: float) -> np.ndarray:
    """Means of float [n], constant over each step, in equal bins of 0 to ``end`` steps."""
    # A step that lies in two bins counts in both by its shares, so that the mean of the bins is the
    # mean of the line, and that a line of fewer steps than bins has a value in each.
    integral = np.concatenate([[0.0], np.cumsum(line)])
    edges = np.linspace(0, end, bins + 1)
    return np.diff(np.interp(edges, np.arange(len(line) + 1), integral)) * bins / end


def band_edges(mel_frequencies_hz: np.ndarray, bands: int) -> np.ndarray:
    """Return the edges in Hz, float64 [bands + 1], of equal parts of a picture's height.

    Low to high. Takes the ascending centres, float [mel] in Hz, of the picture's Mel bands. On
    `dslite.features.spectrogram.mel_axis` the picture ends half a band beyond them.
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

    ``valid`` is the share of the width of ``values``, float [H, W], that the clip takes; what lies
    to its right is padding and left out. ValueError for a share outside of 0 (excluded) to 1.
    """
    if not 0 < valid <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, found {valid}")
    columns = np.abs(values).mean(axis=0)
    return _binned(columns, bins, valid * len(columns))


def cells(height: int, width: int, grid: int) -> np.ndarray:
    """Return the cell of every pixel, int64 [height, width], line by line from 0 to grid ** 2 - 1.

    Pixel p of a side of n lies in cell floor(p * grid / n); with fewer pixels than cells, some are
    empty. `dslite.explanation.masking.hide` divides a picture in the same way.
    """
    row, column = (np.arange(side) * grid // side for side in (height, width))
    return row[:, None] * grid + column


def regions(values: np.ndarray, grid: int) -> np.ndarray:
    """Sum float [H, W] over the `cells` of a grid: float64 [grid, grid]."""
    cell = cells(*np.shape(values), grid).ravel()
    return np.bincount(cell, np.ravel(values), minlength=grid**2).reshape(grid, grid)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Compute Spearman's correlation of two attributions, float [H, W]; NaN if one is constant."""
    if np.shape(one) != np.shape(other):
        raise ValueError(f"shapes {np.shape(one)} and {np.shape(other)} differ")
    return metrics.rho(np.ravel(one), np.ravel(other))


def class_table(
    mean_abs: np.ndarray,
    labels: Sequence[str],
    classes: Sequence[str],
    ends: tuple[str, str],
    edges: np.ndarray,
) -> pd.DataFrame:
    """Tabulate the mean absolute attribution of every class and bin over its files.

    Parameters
    ----------
    mean_abs : float [files, bins]
        `by_frequency` or `by_time` of every file.
    labels : str [files]
        Class of every file.
    classes : list of str
        In the order of the table; one without files has no rows.
    ends : `FREQUENCY` or `TIME`
        Columns of the lower and the upper edge of each bin.
    edges : float [bins + 1]
        In Hz, or shares of the clip's duration.

    Returns
    -------
    DataFrame
        Columns ``class``, ``ends``, ``mean_abs``, ``standard_error`` (of the mean over the files;
        NaN with one file), ``files``.

    Raises
    ------
    ValueError
        A label that is no class, or lengths that differ.
    """
    mean_abs, labels = np.asarray(mean_abs, dtype=np.float64), np.asarray(labels)
    if mean_abs.shape != (len(labels), len(edges) - 1):
        raise ValueError(f"{mean_abs.shape} values, {len(labels)} labels, {len(edges)} edges")
    if unknown := sorted(set(labels) - set(classes)):
        raise ValueError(f"labels {unknown} are none of the classes {list(classes)}")
    tables = []
    for name in classes:
        files = mean_abs[labels == name]
        if not len(files):
            continue
        spread = files.std(axis=0, ddof=1) if len(files) > 1 else np.full(files.shape[1], np.nan)
        columns = {"class": name, ends[0]: edges[:-1], ends[1]: edges[1:]}
        columns |= {"mean_abs": files.mean(axis=0), "standard_error": spread / np.sqrt(len(files))}
        tables.append(pd.DataFrame(columns | {"files": len(files)}))
    columns = ["class", *ends, "mean_abs", "standard_error", "files"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)

"""Pictures of sound: one function per kind, in the style of `dslite.plots`.

Mel arrays have the lowest band first; RGB images and SHAP values have row 0 at the top. Low
frequencies are drawn at the bottom.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dslite.plots import panels, styled

COLOUR_MAPS = ("viridis", "magma", "plasma", "inferno", "cividis")
# Blue to red, see-through at 0, where the spectrogram underneath shows
_ENDS = [(0, "#2166acff"), (0.5, "#2166ac00"), (0.5, "#b2182b00"), (1, "#b2182bff")]
RAISES_LOWERS = LinearSegmentedColormap.from_list("raises_lowers", _ENDS)


def hz_ticks(mel_frequencies_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Positions, float [ticks] in bands, and texts of round frequencies on an axis of Mel bands.

    Takes the bands' ascending centres, float [mel] in Hz; the axis ends half a band beyond them.
    """
    centres = np.asarray(mel_frequencies_hz, dtype=float)
    # A filter bank's ends lie one band outside of its outermost centres; Mel scales are linear at
    # the bottom and logarithmic at the top.
    low, high = 2 * centres[0] - centres[1], centres[-1] ** 2 / centres[-2]
    hz = [f for f in (0, 250, 500, 1000, 2000, 4000, 8000, 16000) if low - 1 <= f <= 1.001 * high]
    positions = np.interp(hz, [low, *centres, high], np.arange(-1, len(centres) + 1))
    texts = [f"{f // 1000}k" if f >= 1000 else f"{f}" for f in hz]
    return np.clip(positions, -0.5, len(centres) - 0.5), texts


def _mel(axes: Axes, image: np.ndarray, start_s: float, end_s: float, hz: np.ndarray, **how: Any):
    """Draw bands [mel, frames] with origin="lower", or an image [H, W(, 3)], between two times."""
    drawn = axes.imshow(image, extent=(start_s, end_s, -0.5, len(hz) - 0.5), aspect="auto", **how)
    axes.set_yticks(*hz_ticks(hz))
    axes.set(xlabel="Time (s)", ylabel="Frequency (Hz)")
    return drawn


@styled
def waveform_and_mel(
    waveform: np.ndarray,
    sample_rate: int,
    mel: np.ndarray,
    mel_frequencies_hz: np.ndarray,
    hop_s: float,
    title: str = "",
) -> Figure:
    """Waveform float [n] in full scale, above its Mel spectrogram uint8 [mel, frames]."""
    figure, (above, below) = panels(4.2, 2, sharex=True, height_ratios=(1, 2))
    end = len(waveform) / sample_rate
    above.plot(np.arange(len(waveform)) / sample_rate, waveform, lw=0.5, rasterized=True)
    above.set(ylabel="Amplitude", title=title)
    # Whether or not the signal was padded, its frames lie symmetrically in it.
    margin = (end - mel.shape[1] * hop_s) / 2
    how = {"origin": "lower", "vmin": 0, "vmax": 255}
    _mel(below, mel, margin, end - margin, mel_frequencies_hz, **how)
    below.set_xlim(0, end)
    return figure


@styled
def colour_maps(
    mel: np.ndarray, mel_frequencies_hz: np.ndarray, hop_s: float, names: Sequence = COLOUR_MAPS
) -> Figure:
    """Mel spectrogram uint8 [mel, frames] under several colour maps, each even to the eye."""
    figure, row = panels(2.2, 1, len(names), squeeze=False)
    for axes, name in zip(row[0], names, strict=True):
        how = {"origin": "lower", "vmin": 0, "vmax": 255, "cmap": name}
        _mel(axes, mel, 0, mel.shape[1] * hop_s, mel_frequencies_hz, **how)
        axes.set_title(name)
        axes.label_outer()
    return figure


@styled
def images_row(images: Sequence[np.ndarray], titles: Sequence[str], most: int = 5) -> Figure:
    """Images float [H, W, 3] of 0 to 1, row 0 at the top, up to `most` to a line."""
    lines = -(-len(images) // most)
    columns = -(-len(images) // lines)
    width = min(7, 1.8 * columns)
    figure, grid = panels((width / columns + 0.2) * lines, lines, columns, width, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(np.clip(image, 0, 1))
        axes.set_title(title, fontsize=7)
    return figure


@styled
def shap_figure(
    rows: Sequence[Mapping[str, Any]], seconds: float, mel_frequencies_hz: np.ndarray
) -> Figure:
    """Spectrograms beside their SHAP values, a line and a colour scale each (paper, Figure 2).

    Parameters
    ----------
    rows : list of dict
        ``image``, uint8 or float of 0 to 1 [H, W, 3], row 0 (highest frequency) at the top;
        ``values``, float [H, W], summed over the colour channels; ``title``; ``base``, the model's
        expected output for the explained class, and ``output``, to which the values lead from it;
        optionally ``limit``, the end of the scale (else the largest absolute value).
    seconds, mel_frequencies_hz : float, float [mel]
        Duration of an image, and centres of the bands that it was made from.
    """
    widths = (1, 1, 0.04)
    figure, grid = panels(2.5 * len(rows), len(rows), 3, squeeze=False, width_ratios=widths)
    for (left, right, scale), row in zip(grid, rows, strict=True):
        image, span = np.asarray(row["image"]), (0, seconds, mel_frequencies_hz)
        image = image / 255 if image.dtype == np.uint8 else np.clip(image, 0, 1)
        limit = row.get("limit") or np.abs(row["values"]).max() or 1.0  # nothing to tell: any scale
        _mel(left, image, *span)
        grey = image @ (0.299, 0.587, 0.114)  # luma, ITU-R BT.601
        _mel(right, grey, *span, cmap="gray", vmin=-1, vmax=1)
        how = {"cmap": RAISES_LOWERS, "vmin": -limit, "vmax": limit}
        values = _mel(right, row["values"], *span, **how)
        left.set_title(row["title"])
        right.set_title(f"SHAP values: expected {row['base']:.2f}, output {row['output']:.2f}")
        left.label_outer()
        right.label_outer()
        bar = figure.colorbar(values, cax=scale, label="red raises, blue lowers")
        bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2g}", "0", f"{limit:.2g}"])
    return figure

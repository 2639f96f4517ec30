"""Pictures of sound: one function per kind, in the style of `dslite.plots`.

Mel arrays have the lowest band first; RGB images have row 0 at the top. Low frequencies are
drawn at the bottom.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dslite.features.spectrogram import mel_axis
from dslite.plots import panels, styled

COLOUR_MAPS = ("viridis", "magma", "plasma", "inferno", "cividis")
COLUMNS = 4  # images in a line


def hz_ticks(mel_frequencies_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return positions, float [ticks] in bands, and texts of round frequencies on a Mel axis.

    Takes the bands' ascending centres, float [mel] in Hz; the axis ends half a band beyond them.
    """
    positions, axis_hz = mel_axis(mel_frequencies_hz)
    low, high = axis_hz[0] - 1, 1.001 * axis_hz[-1]
    hz = [f for f in (0, 250, 500, 1000, 2000, 4000, 8000, 16000) if low <= f <= high]
    texts = [f"{f // 1000}k" if f >= 1000 else f"{f}" for f in hz]
    return np.clip(np.interp(hz, axis_hz, positions), -0.5, positions[-1] - 0.5), texts


def draw_mel(
    axes: Axes, image: np.ndarray, start_s: float, end_s: float, hz: np.ndarray, **how: Any
) -> AxesImage:
    """Draw bands [mel, frames] with origin="lower", or an image [H, W(, 3)], between two times.

    The axes are in s and, of the bands' centres ``hz``, float [mel], in bands with ticks in Hz.
    """
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
    """Draw a waveform float [n] in full scale, above its Mel spectrogram uint8 [mel, frames]."""
    figure, (above, below) = panels(4.2, 2, sharex=True, height_ratios=(1, 2))
    end = len(waveform) / sample_rate
    above.plot(np.arange(len(waveform)) / sample_rate, waveform, lw=0.5, rasterized=True)
    above.set(ylabel="Amplitude", title=title)
    # Whether or not the signal was padded, its frames lie symmetrically in it.
    margin = (end - mel.shape[1] * hop_s) / 2
    how = {"origin": "lower", "vmin": 0, "vmax": 255}
    draw_mel(below, mel, margin, end - margin, mel_frequencies_hz, **how)
    below.set_xlim(0, end)
    return figure


@styled
def colour_maps(mel: np.ndarray, mel_frequencies_hz: np.ndarray, hop_s: float) -> Figure:
    """Draw a Mel spectrogram uint8 [mel, frames] in `COLOUR_MAPS`, each even to the eye."""
    figure, row = panels(2.2, 1, len(COLOUR_MAPS))
    for axes, name in zip(row, COLOUR_MAPS, strict=True):
        how = {"origin": "lower", "vmin": 0, "vmax": 255, "cmap": name}
        draw_mel(axes, mel, 0, mel.shape[1] * hop_s, mel_frequencies_hz, **how)
        axes.set_title(name)
        axes.label_outer()
    return figure


@styled
def images_row(images: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Draw images float [H, W, 3] of 0 to 1, row 0 at the top, up to `COLUMNS` to a line."""
    lines = -(-len(images) // COLUMNS)
    columns = -(-len(images) // lines)
    width = min(7, 1.8 * columns)
    figure, grid = panels((width / columns + 0.2) * lines, lines, columns, width, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(np.clip(image, 0, 1))
        axes.set_title(title, fontsize=7)
    return figure

"""Draw spectrograms: low frequencies at the bottom, on a Mel axis in Hz.

Mel arrays have the lowest band first; RGB images have row 0 at the top.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from dslite.features.spectrogram import mel_axis


def hz_ticks(mel_frequencies_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return positions, in bands, and texts of round frequencies and the top of `mel_axis`."""
    positions, axis_hz = mel_axis(mel_frequencies_hz)
    low, high = axis_hz[0] - 1, 1.001 * axis_hz[-1]
    hz = [f for f in (0, 250, 500, 1000, 2000, 4000, 8000, 16000) if low <= f <= high]
    highest = float(f"{axis_hz[-1]:.2g}")
    if highest > 1.15 * max(hz, default=0):  # the top of the axis, where no round one is near it
        hz.append(highest)
    texts = [f"{f / 1000:g}k" if f >= 1000 else f"{f}" for f in hz]
    return np.clip(np.interp(hz, axis_hz, positions), -0.5, positions[-1] - 0.5), texts


def readable(ticks: Iterable[tuple[float, str]], gap: float) -> tuple[list[float], list[str]]:
    """Return places and texts of ticks, from the highest on, without those nearer than ``gap``."""
    shown = []
    for place, text in sorted(ticks, reverse=True):
        if not shown or shown[-1][0] - place > gap:
            shown.append((place, text))
    return [place for place, _ in shown], [text for _, text in shown]


def _panel_ticks(panels_hz: np.ndarray) -> tuple[list[float], list[str]]:
    """`hz_ticks` of panels [panels, mel], the first on top; of several as many as are readable."""
    if len(panels_hz) == 1:
        return hz_ticks(panels_hz[0])
    bands = panels_hz.shape[1]
    # Where two panels meet, the upper end of the lower one is what is worth to know.
    ticks = [
        (bottom * bands + place, text)
        for bottom, hz in enumerate(panels_hz[::-1])
        for place, text in zip(*hz_ticks(hz), strict=True)
        if bottom == 0 or place > 0.08 * bands
    ]
    return readable(ticks, 0.12 * bands)


def draw_mel(
    axes: Axes, image: np.ndarray, start_s: float, end_s: float, hz: np.ndarray, **how: Any
) -> AxesImage:
    """Draw bands [mel, frames] with origin="lower", or an image [H, W(, 3)], between two times.

    The axes are in s and, of the bands' centres ``hz``, float [mel] or [panels, mel], in bands with
    ticks in Hz. The first of two panels is the upper half of an image.
    """
    hz = np.atleast_2d(hz)
    extent = (start_s, end_s, -0.5, hz.size - 0.5)
    drawn = axes.imshow(image, extent=extent, aspect="auto", **how)
    axes.set_yticks(*_panel_ticks(hz))
    label = "Frequency (Hz, Mel scale)" if len(hz) == 1 else "Level (Hz)  |  Relative (Hz), Mel"
    axes.set(xlabel="Time (s)", ylabel=label)
    if len(hz) > 1:
        axes.axhline(hz.shape[1] - 0.5, color="white", lw=1.5)
    return drawn

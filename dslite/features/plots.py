"""Pictures of sound: one function per kind, in the style of `dslite.plots`.

Mel arrays have the lowest band first; RGB images have row 0 at the top. Low frequencies are
drawn at the bottom.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dslite.features.spectrogram import mel_axis
from dslite.plots import panels, styled

# Of a picture of two panels: colour map and what it shows
PANELS = (("viridis", "relative to the clip's own range"), ("gray", "absolute level"))


def hz_ticks(mel_frequencies_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return positions, float [ticks] in bands, and texts of round frequencies on a Mel axis.

    Takes the bands' ascending centres, float [mel] in Hz; the axis ends half a band beyond them.
    """
    positions, axis_hz = mel_axis(mel_frequencies_hz)
    low, high = axis_hz[0] - 1, 1.001 * axis_hz[-1]
    hz = [f for f in (0, 250, 500, 1000, 2000, 4000, 8000, 16000) if low <= f <= high]
    texts = [f"{f // 1000}k" if f >= 1000 else f"{f}" for f in hz]
    return np.clip(np.interp(hz, axis_hz, positions), -0.5, positions[-1] - 0.5), texts


def _panel_ticks(panels_hz: np.ndarray) -> tuple[list[float], list[str]]:
    """`hz_ticks` of panels [panels, mel], the first on top; of several as many as are readable."""
    if len(panels_hz) == 1:
        return hz_ticks(panels_hz[0])
    bands, shown = panels_hz.shape[1], []
    for panel, hz in enumerate(panels_hz):
        bottom = (len(panels_hz) - 1 - panel) * bands
        for place, text in reversed(list(zip(*hz_ticks(hz), strict=True))):
            # Where two panels meet, the upper end of the lower one is what is worth to know.
            above_next = bottom == 0 or place > 0.08 * bands
            if above_next and (not shown or shown[-1][0] - bottom - place > 0.12 * bands):
                shown.append((bottom + place, text))
    places, texts = zip(*shown, strict=True)
    return list(places), list(texts)


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
    label = "Frequency (Hz)" if len(hz) == 1 else "Level (Hz)  |  Relative (Hz)"
    axes.set(xlabel="Time (s)", ylabel=label)
    if len(hz) > 1:
        axes.axhline(hz.shape[1] - 0.5, color="white", lw=1.5)
    return drawn


@styled
def waveform_and_mel(
    waveform: np.ndarray,
    sample_rate: int,
    mel: np.ndarray,
    mel_frequencies_hz: np.ndarray,
    span_s: tuple[float, float],
    title: str = "",
) -> Figure:
    """Draw a waveform float [n] in full scale, above its Mel spectrogram uint8 [rows, frames].

    Each panel of a clip's picture, whose bands' centres are float [panels, mel], has axes of its
    own. ``span_s``: where in the waveform the spectrogram begins and ends.
    """
    hz = np.atleast_2d(mel_frequencies_hz)
    heights = (1, *(2,) * len(hz))
    figure, (above, *below) = panels(
        2.4 + 1.8 * len(hz), 1 + len(hz), sharex=True, height_ratios=heights
    )
    above.plot(np.arange(len(waveform)) / sample_rate, waveform, lw=0.5, rasterized=True)
    above.set(ylabel="Amplitude", title=title)
    drawn = zip(below, np.split(mel, len(hz)), hz, PANELS, strict=False)
    for axes, bands, centres, (colours, shows) in drawn:
        how = {"origin": "lower", "vmin": 0, "vmax": 255, "cmap": colours}
        draw_mel(axes, bands, *span_s, centres, **how)
        if len(hz) > 1:
            axes.set_title(shows)
        axes.label_outer()
    below[-1].set_xlim(0, len(waveform) / sample_rate)
    return figure

"""Where frequencies lie in a drawn spectrogram."""

import numpy as np

from dslite.features import plots
from dslite.plots import panels

BANDS = 64


def test_hz_ticks_lie_where_interpolation_puts_them(hz):
    positions, texts = plots.hz_ticks(hz)
    assert texts == ["0", "250", "500", "1k", "2k", "4k", "8k"]
    inner = np.interp([250, 500, 1000, 2000, 4000], hz, np.arange(BANDS))
    np.testing.assert_allclose(positions[1:-1], inner)
    assert (positions[0], positions[-1]) == (-0.5, BANDS - 0.5)
    # They keep to the filter bank, and name its top where no round one is near.
    assert plots.hz_ticks(hz[20:40])[1] == ["1k", "2k", "2.7k"]
    assert plots.hz_ticks(np.linspace(0, 22050, 128))[1][-2:] == ["16k", "22k"]


def test_low_frequencies_lie_at_the_bottom(hz):
    figure, axes = panels(3)
    image = plots.draw_mel(axes, np.eye(BANDS, 40), 0.25, 0.75, hz, origin="lower")
    figure.draw_without_rendering()
    assert image.get_extent() == [0.25, 0.75, -0.5, BANDS - 0.5]
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    np.testing.assert_allclose(axes.get_yticks(), plots.hz_ticks(hz)[0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Time (s)", "Frequency (Hz, Mel scale)")

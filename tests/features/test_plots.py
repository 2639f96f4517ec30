"""What the figures of waveforms and spectrograms show: frequencies, times, colours, titles."""

import numpy as np
import pytest

from dslite.features import plots

BANDS = 64


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), BANDS + 2)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


def axes_of(figure):
    """The axes of a figure that was drawn, so that every tick and text exists."""
    figure.draw_without_rendering()
    assert figure.get_figwidth() <= 7
    return figure.axes


def test_hz_ticks_lie_where_interpolation_puts_them(hz):
    positions, texts = plots.hz_ticks(hz)
    assert texts == ["0", "250", "500", "1k", "2k", "4k", "8k"]
    inner = np.interp([250, 500, 1000, 2000, 4000], hz, np.arange(BANDS))
    np.testing.assert_allclose(positions[1:-1], inner)
    assert (positions[0], positions[-1]) == (-0.5, BANDS - 0.5)
    # They keep to the filter bank.
    assert plots.hz_ticks(hz[20:40])[1] == ["1k", "2k"]  # bands of about 1 to 3 kHz
    assert plots.hz_ticks(np.linspace(0, 22050, 128))[1][-1] == "16k"


def test_low_frequencies_lie_at_the_bottom_in_step_with_the_waveform(hz):
    mel = np.zeros((BANDS, 40), np.uint8)
    mel[0] = 255  # the lowest band
    figure = plots.waveform_and_mel(np.zeros(16000), 16000, mel, hz, (0, 1), "a title")
    above, below = axes_of(figure)
    image = below.get_images()[0]
    assert image.origin == "lower"
    assert image.get_array()[0].min() == 255
    assert image.get_clim() == (0, 255)
    assert image.get_cmap().name == "viridis"
    assert below.get_ylim()[0] < below.get_ylim()[1]
    np.testing.assert_allclose(below.get_yticks(), plots.hz_ticks(hz)[0])
    assert (below.get_xlabel(), below.get_ylabel()) == ("Time (s)", "Frequency (Hz)")
    assert above.get_xlim() == below.get_xlim() == (0, 1)
    assert above.get_title(loc="left") == "a title"


def test_two_panels_stand_below_the_waveform_where_it_sounds(rng, hz):
    mel = rng.integers(0, 256, (2 * BANDS, 40), dtype=np.uint8)
    both = np.stack([hz, hz / 2])
    figure = plots.waveform_and_mel(np.zeros(16000), 16000, mel, both, (0.25, 0.75))
    _, relative, level = axes_of(figure)
    for axes, colours, bands in ((relative, "viridis", mel[:BANDS]), (level, "gray", mel[BANDS:])):
        (image,) = axes.get_images()
        assert image.get_cmap().name == colours
        assert image.get_extent()[:2] == [0.25, 0.75]
        np.testing.assert_array_equal(image.get_array(), bands)
        assert axes.get_xlim() == (0, 1)
    assert level.get_title(loc="left") == "absolute level"
    assert [text.get_text() for text in level.get_yticklabels()][-1] == "4k"
    np.testing.assert_allclose(level.get_yticks(), plots.hz_ticks(hz / 2)[0])


def test_pictures_beside_each_other_have_their_own_axes(rng, hz):
    images = [rng.uniform(0, 255, shape) for shape in ((32, 32, 3), (128, 64, 3))]
    both = np.stack([hz, hz / 2])
    one, two = axes_of(plots.pictures(images, [(0, 4), (0.1, 2)], [hz, both], ["a", "b"]))
    assert (one.get_ylabel(), two.get_ylabel()) == (
        "Frequency (Hz)",
        "Level (Hz)  |  Relative (Hz)",
    )
    assert one.get_images()[0].get_extent() == [0, 4, -0.5, BANDS - 0.5]
    assert two.get_images()[0].get_extent() == [0.1, 2, -0.5, 2 * BANDS - 0.5]
    assert axes_of(plots.pictures(images[:1], [(0, 4)], [hz], ["a"]))

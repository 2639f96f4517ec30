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
    figure = plots.waveform_and_mel(np.zeros(16000), 16000, mel, hz, 0.025, "a title")
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


@pytest.mark.parametrize(("frames", "start"), [(41, -0.0125), (39, 0.0125)])
def test_frames_of_padded_and_unpadded_signals_lie_symmetrically(hz, frames, start):
    mel = np.zeros((BANDS, frames), np.uint8)
    _, below = axes_of(plots.waveform_and_mel(np.zeros(16000), 16000, mel, hz, 0.025))
    assert below.get_images()[0].get_extent()[:2] == pytest.approx([start, 1 - start])


def test_five_colour_maps_of_the_same_image(rng, hz):
    mel = rng.integers(0, 256, (BANDS, 40), dtype=np.uint8)
    axes = axes_of(plots.colour_maps(mel, hz, 0.016))
    assert [of.get_images()[0].get_cmap().name for of in axes] == list(plots.COLOUR_MAPS)
    assert all(of.get_images()[0].origin == "lower" for of in axes)
    assert axes[0].get_ylabel() == "Frequency (Hz)"
    assert axes[1].get_ylabel() == ""


@pytest.mark.parametrize("n", [1, 4, 5, 8])
def test_images_with_their_titles(rng, n):
    images, titles = rng.random((n, 8, 8, 3)) * 1.2, [f"image {i}" for i in range(n)]
    drawn = [of for of in axes_of(plots.images_row(images, titles)) if of.get_images()]
    assert [of.get_title(loc="left") for of in drawn] == titles
    # Augmentation may leave the range a little.
    assert max(of.get_images()[0].get_array().max() for of in drawn) <= 1

"""What the pictures say (labels, positions, shares, scales) and that they can be saved."""

import io
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dslite import plots as dslite_plots
from dslite.features import plots as feature_plots

BANDS = 64


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), BANDS + 2)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


@pytest.fixture
def mel(rng):
    return rng.integers(0, 256, (BANDS, 40), dtype=np.uint8)


def drawn(figure):
    """The axes of a figure that was drawn and saved, so that every tick and text exists."""
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert figure.get_figwidth() <= 7
    return figure.axes


def legend(axes_or_figure):
    return [text.get_text() for text in axes_or_figure.get_legend().get_texts()]


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


# Frequencies


def test_hz_ticks_lie_where_interpolation_puts_them(hz):
    positions, texts = feature_plots.hz_ticks(hz)
    assert texts == ["0", "250", "500", "1k", "2k", "4k", "8k"]
    inner = np.interp([250, 500, 1000, 2000, 4000], hz, np.arange(BANDS))
    np.testing.assert_allclose(positions[1:-1], inner)
    assert (positions[0], positions[-1]) == (-0.5, BANDS - 0.5)


def test_hz_ticks_keep_to_the_filter_bank(hz):
    _, texts = feature_plots.hz_ticks(hz[20:40])  # about 1 to 3 kHz
    assert texts == ["1k", "2k"]
    assert feature_plots.hz_ticks(np.linspace(0, 22050, 128))[1][-1] == "16k"


def test_low_frequencies_lie_at_the_bottom_in_step_with_the_waveform(hz):
    mel = np.zeros((BANDS, 40), np.uint8)
    mel[0] = 255  # the lowest band
    figure = feature_plots.waveform_and_mel(np.zeros(16000), 16000, mel, hz, 0.025, "a title")
    above, below = drawn(figure)
    image = below.get_images()[0]
    assert image.origin == "lower"
    assert image.get_array()[0].min() == 255
    assert image.get_clim() == (0, 255)
    assert image.get_cmap().name == "viridis"
    bottom, top = below.get_ylim()
    assert bottom < top
    np.testing.assert_allclose(below.get_yticks(), feature_plots.hz_ticks(hz)[0])
    assert (below.get_xlabel(), below.get_ylabel()) == ("Time (s)", "Frequency (Hz)")
    assert above.get_xlim() == below.get_xlim() == (0, 1)
    assert above.get_title(loc="left") == "a title"


@pytest.mark.parametrize(("frames", "start"), [(41, -0.0125), (39, 0.0125)])
def test_frames_of_padded_and_unpadded_signals_lie_symmetrically(hz, frames, start):
    mel = np.zeros((BANDS, frames), np.uint8)
    _, below = drawn(feature_plots.waveform_and_mel(np.zeros(16000), 16000, mel, hz, 0.025))
    assert below.get_images()[0].get_extent()[:2] == pytest.approx([start, 1 - start])


def test_five_colour_maps_of_the_same_image(mel, hz):
    axes = drawn(feature_plots.colour_maps(mel, hz, 0.016))
    assert [of.get_images()[0].get_cmap().name for of in axes] == list(feature_plots.COLOUR_MAPS)
    assert all(of.get_images()[0].origin == "lower" for of in axes)
    assert axes[0].get_ylabel() == "Frequency (Hz)"
    assert axes[1].get_ylabel() == ""
    assert len(drawn(feature_plots.colour_maps(mel, hz, 0.016, ["gray"]))) == 1


@pytest.mark.parametrize("n", [1, 4, 5, 8])
def test_images_with_their_titles(rng, n):
    images = rng.random((n, 8, 8, 3)) * 1.2  # augmentation may leave the range a little
    axes = drawn(feature_plots.images_row(images, [f"image {i}" for i in range(n)]))
    assert [of.get_title(loc="left") for of in axes if of.get_images()] == [
        f"image {i}" for i in range(n)
    ]
    assert max(of.get_images()[0].get_array().max() for of in axes if of.get_images()) <= 1


# Corpora


def test_durations_and_the_length_of_a_chunk():
    of = {"train": np.array([1.0, 2.0, 2.5]), "devel": np.array([3.0]), "test": np.array([4.0])}
    figure = dslite_plots.durations(of, 3.5)
    (axes,) = drawn(figure)
    assert axes.get_xlabel() == "Duration of a file (s)"
    assert axes.get_lines()[0].get_xdata()[0] == 3.5
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "train (3 files)" in texts
    assert "chunk (3.5 s)" in texts
    assert max(bar.get_y() + bar.get_height() for bar in axes.patches) == 1


def test_durations_that_are_all_the_same():
    drawn(dslite_plots.durations({"train": np.full(5, 2.0)}, 2.0))


def test_counts_are_stacked_and_told():
    table = pd.DataFrame({"train": [3, 4], "devel": [1, 0], "test": [2, np.nan]}, index=["a", "b"])
    figure = dslite_plots.counts(table)
    (axes,) = drawn(figure)
    assert tick_texts(axes.xaxis) == ["a", "b"]
    assert axes.get_ylabel() == "Files"
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == [3, 4, 4, 4, 6, 4]
    assert axes.get_ylim()[1] > 6
    assert [text.get_text() for text in axes.texts] == ["3", "4", "1", "", "2", ""]


def test_counts_of_many_speakers_stay_apart():
    names = [f"speaker{i:03d}" for i in range(68)]
    figure = dslite_plots.counts(pd.DataFrame({"train": 5, "test": 2}, index=names))
    (axes,) = drawn(figure)
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert boxes[0].y0 >= 0


# Results


def test_ablation_points_intervals_and_chance():
    table = pd.DataFrame(
        [
            ("none", "devel", 0.4, None, None),
            ("none", "test", 0.5, 0.45, 0.56),
            ("cutmix", "devel", 0.6, 0.5, 0.7),
            ("cutmix", "test", 0.55, 0.5, 0.6),
        ],
        columns=["configuration", "partition", "score", "low", "high"],
    )
    figure = dslite_plots.ablation(table, 1 / 6)
    (axes,) = drawn(figure)
    assert axes.get_xlabel() == "UAR (%)"
    chance, devel, test = axes.get_lines()
    assert chance.get_xdata()[0] == pytest.approx(100 / 6)
    np.testing.assert_allclose(devel.get_xdata(), [40, 60])
    np.testing.assert_allclose(test.get_xdata(), [50, 55])
    assert devel.get_marker() != test.get_marker()
    segments = axes.collections[1].get_segments()
    np.testing.assert_allclose([s[:, 0] for s in segments], [[45, 56], [50, 60]])
    assert tick_texts(axes.yaxis) == ["none", "cutmix"]
    assert axes.yaxis_inverted()
    assert devel.get_ydata()[0] < test.get_ydata()[0] < devel.get_ydata()[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "chance",
        "devel",
        "test",
    ]
    assert [text.get_text() for text in axes.texts] == ["40.0", "60.0", "50.0", "55.0"]


def test_ablation_of_a_correlation():
    columns = ["configuration", "partition", "score", "low", "high"]
    table = pd.DataFrame([("none", "test", 0.3, 0.1, 0.4)], columns=columns)
    (axes,) = drawn(dslite_plots.ablation(table, 0.0, "spearman"))
    assert axes.get_xlabel() == "Spearman's ρ"
    np.testing.assert_allclose(axes.get_lines()[1].get_xdata(), [0.3])


# The style


def test_a_picture_leaves_no_trace(mel, hz):
    import matplotlib.pyplot as plt

    before = mpl.rcParams.copy()
    drawn(feature_plots.colour_maps(mel, hz, 0.016))
    drawn(dslite_plots.durations({"train": np.arange(3.0)}, 2.0))
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file(tmp_path, suffix):
    for name in ("first", "again"):
        figure = dslite_plots.durations({"train": np.arange(3.0)}, 2.0)
        dslite_plots.save(figure, tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"first.{suffix}").read_bytes()
    assert content == (tmp_path / f"again.{suffix}").read_bytes()
    if suffix == "pdf":
        assert b"/FontFile2" in content  # a TrueType font is embedded


def test_resolution_of_a_saved_picture(tmp_path):
    from PIL import Image

    for dpi in ({}, {"dpi": 50}):
        dslite_plots.save(
            dslite_plots.durations({"train": np.arange(3.0)}, 2.0),
            tmp_path / "a.png",
            **dpi,
        )
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.info["dpi"] == pytest.approx((dpi.get("dpi", 200),) * 2, abs=0.1)

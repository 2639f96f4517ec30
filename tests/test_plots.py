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


@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_confusion_shows_counts_and_shares_of_the_row(rng, n):
    matrix = rng.integers(0, 50, (n, n)) + np.eye(n, dtype=int)
    figure = dslite_plots.confusion_matrix(matrix, [f"class {i}" for i in range(n)], "Test")
    axes, bar = drawn(figure)
    cells = np.array([text.get_text().split("\n") for text in axes.texts]).reshape(n, n, 2)
    np.testing.assert_array_equal(cells[..., 0].astype(int), matrix)
    shares = np.char.replace(cells[..., 1], " %", "").astype(float)
    np.testing.assert_allclose(shares.sum(axis=1), 100, atol=0.05 * n)
    np.testing.assert_allclose(shares, 100 * matrix / matrix.sum(axis=1, keepdims=True), atol=0.051)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert axes.yaxis_inverted()  # the first class at the top
    assert tick_texts(axes.yaxis)[0] == "class 0"
    assert bar.get_ylabel() == "Share of the true class (%)"
    cell = axes.get_window_extent().width / n
    assert max(text.get_window_extent().width for text in axes.texts) < cell
    labels = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(labels))


def test_confusion_is_darker_where_higher_and_readable_there():
    axes, _ = drawn(dslite_plots.confusion_matrix([[99, 1], [40, 60]], ["no", "yes"]))
    colours = axes.collections[0].get_facecolors()[:, :3].sum(axis=1)
    assert list(np.argsort(colours)) == [0, 3, 2, 1]
    texts = [mpl.colors.to_rgb(text.get_color()) for text in axes.texts]
    assert min(texts[0]) > 0.9
    assert max(texts[1]) < 0.3


def test_confusion_of_a_class_without_files():
    axes, _ = drawn(dslite_plots.confusion_matrix([[0, 0], [1, 3]], ["no", "yes"]))
    assert [text.get_text() for text in axes.texts] == ["0\n–", "0\n–", "1\n25.0 %", "3\n75.0 %"]


@pytest.mark.parametrize("n", [2, 6, 9])
def test_confusion_of_long_names_and_many_files_stays_apart(n):
    names = [f"low-quality excitement {i}" for i in range(n)]
    figure = dslite_plots.confusion_matrix(
        12345 * np.eye(n, dtype=int), names, "devel, 123456 chunks: UAR 100.0 %"
    )
    axes, bar = drawn(figure)
    cell = axes.get_window_extent().width / n
    assert max(text.get_window_extent().width for text in axes.texts) < cell
    assert max(text.get_window_extent().height for text in axes.texts) < cell
    labels = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(labels))
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes._left_title]
    boxes = [text.get_window_extent() for text in [*texts, axes.xaxis.label, bar.yaxis.label]]
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert max(box.y1 for box in boxes) <= figure.bbox.height


def test_confusion_text_differs_from_every_shade():
    """WCAG 2.2, 1.4.3: contrast of relative luminances, 3 for the least of large print."""

    def luminance(colour):
        rgb = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    of_true = np.array([[share, 100 - share] for share in range(0, 101, 3)])
    matrix = np.zeros((len(of_true), len(of_true)), int)
    matrix[:, :2] = of_true
    axes, _ = drawn(dslite_plots.confusion_matrix(matrix, [f"{i}" for i in range(len(matrix))]))
    shades = axes.collections[0].get_facecolors()
    for text, shade in zip(axes.texts, shades, strict=True):
        dark, light = sorted([luminance(text.get_color()), luminance(shade[:3])])
        assert (light + 0.05) / (dark + 0.05) > 3


def recalls_table(n=3):
    """Recalls 0.5, 0.6, … of n classes with n = 10, 11, … files."""
    recall = 0.5 + np.arange(n) / 10
    return pd.DataFrame({"class": [f"class {i}" for i in range(n)], "n": np.arange(n) + 10}).assign(
        recall=recall,
        low=recall - 0.1,
        high=recall + 0.1,
        low_speakers=recall - 0.2,
        high_speakers=recall + 0.15,
    )


def said(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_recalls_with_both_intervals_and_the_uar():
    figure = dslite_plots.recalls(recalls_table())
    (axes,) = drawn(figure)
    assert axes.get_xlabel() == "Recall (%)"
    texts = ["class 0 (n = 10)", "class 1 (n = 11)", "class 2 (n = 12)"]
    assert tick_texts(axes.yaxis) == texts
    assert axes.yaxis_inverted()
    marks, uar = axes.get_lines()[:2]
    np.testing.assert_allclose(marks.get_xdata(), [50, 60, 70])
    np.testing.assert_allclose(marks.get_ydata(), [0, 1, 2])
    assert uar.get_xdata() == pytest.approx([60, 60])
    assert uar.get_linestyle() == "--"
    files, speakers = axes.collections
    ends = [segment[:, 0] for segment in files.get_segments()]
    np.testing.assert_allclose(ends, [[40, 60], [50, 70], [60, 80]])
    ends = [segment[:, 0] for segment in speakers.get_segments()]
    np.testing.assert_allclose(ends, [[30, 65], [40, 75], [50, 85]])
    assert speakers.get_linewidth() < files.get_linewidth()
    assert said(figure) == ["recall", "UAR 60.0 %", "95 % over files", "95 % over speakers"]
    assert [text.get_text() for text in axes.texts] == ["50.0", "60.0", "70.0"]


def test_recalls_of_two_partitions():
    test = recalls_table().assign(n=[5, 0, 7], recall=[0.2, np.nan, 0.4], partition="test")
    figure = dslite_plots.recalls(pd.concat([recalls_table().assign(partition="devel"), test]))
    (axes,) = drawn(figure)
    assert tick_texts(axes.yaxis)[:2] == [
        "class 0\nn = 10 devel, 5 test",
        "class 1\nn = 11 devel, 0 test",
    ]
    devel, uar_devel, test, uar_test = axes.get_lines()[:4]
    assert devel.get_marker() != test.get_marker()
    assert devel.get_color() == uar_devel.get_color() != test.get_color() == uar_test.get_color()
    assert devel.get_ydata()[0] < test.get_ydata()[0] < devel.get_ydata()[1]
    assert uar_test.get_xdata()[0] == pytest.approx(30)  # the mean of the classes that occur
    assert said(figure)[:4] == ["devel", "UAR 60.0 %", "test", "UAR 30.0 %"]
    assert [text.get_text() for text in axes.texts] == ["50.0", "60.0", "70.0", "20.0", "40.0"]


def test_recalls_of_one_named_partition():
    figure = dslite_plots.recalls(recalls_table().assign(partition="devel"))
    (axes,) = drawn(figure)
    assert tick_texts(axes.yaxis)[0] == "class 0 (n = 10)"
    assert said(figure)[:2] == ["devel", "UAR 60.0 %"]


def test_recalls_without_speakers_do_not_speak_of_them():
    table = recalls_table().assign(low_speakers=np.nan, high_speakers=np.nan)
    figure = dslite_plots.recalls(table)
    drawn(figure)
    assert said(figure) == ["recall", "UAR 60.0 %", "95 % over files"]


@pytest.mark.parametrize("n", [2, 6, 9])
def test_recalls_of_long_names_stay_apart(n):
    table = recalls_table(n).assign(recall=0.6, n=9999)
    table["class"] = [f"low-quality excitement {i}" for i in range(n)]
    both = pd.concat([table.assign(partition=name) for name in ("devel", "test")])
    for of in (table, both):
        figure = dslite_plots.recalls(of)
        (axes,) = drawn(figure)
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
        assert min(box.x0 for box in boxes) >= 0
        assert axes.get_window_extent().width > figure.bbox.width / 2
        legend = figure.legends[0].get_window_extent()
        assert legend.x0 >= 0
        assert not legend.overlaps(axes.get_window_extent())
        values = [text.get_window_extent() for text in axes.texts]
        ordered = sorted(values, key=lambda box: box.y0)
        assert not any(a.overlaps(b) for a, b in pairwise(ordered))


def test_predicted_against_true(rng):
    true = rng.normal(size=20)
    (axes,) = drawn(dslite_plots.predicted_against_true(true, true + 1, "Test"))
    np.testing.assert_allclose(axes.collections[0].get_offsets(), np.stack([true, true + 1], 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("True label", "Predicted label")
    assert axes.get_aspect() == 1
    assert axes.get_lines()[0].get_slope() == 1


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
    drawn(dslite_plots.confusion_matrix([[1, 2], [3, 4]], ["a", "b"]))
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file(tmp_path, suffix):
    for name in ("first", "again"):
        figure = dslite_plots.confusion_matrix([[1, 2], [3, 4]], ["a", "b"])
        dslite_plots.save(figure, tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"first.{suffix}").read_bytes()
    assert content == (tmp_path / f"again.{suffix}").read_bytes()
    if suffix == "pdf":
        assert b"/FontFile2" in content  # a TrueType font is embedded


def test_resolution_of_a_saved_picture(tmp_path):
    from PIL import Image

    for dpi in ({}, {"dpi": 50}):
        dslite_plots.save(
            dslite_plots.confusion_matrix([[1, 2], [3, 4]], ["a", "b"]),
            tmp_path / "a.png",
            **dpi,
        )
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.info["dpi"] == pytest.approx((dpi.get("dpi", 200),) * 2, abs=0.1)

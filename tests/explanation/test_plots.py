"""What pictures of explanations say: scales, places, captions, and colours that stay apart."""

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from dslite import plots as dslite_plots
from dslite.explanation import attributions
from dslite.explanation import plots as explanation_plots
from dslite.features import plots as feature_plots

BANDS, SIDE = 64, 32


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), BANDS + 2)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


def row(rng, panels=1, **changed):
    """A row of `overlays.figure` with so many panels, each stronger than the last, or these."""
    if isinstance(panels, int):
        scales = range(1, panels + 1)
        panels = [(f"panel {i}", i * rng.normal(size=(SIDE, SIDE))) for i in scales]
    made = {"image": rng.random((SIDE, SIDE, 3)), "seconds": 4.0, "title": "negative"}
    return made | {"panels": panels} | changed


def drawn(figure):
    """The axes of a figure that was drawn and saved, so that every tick and text exists."""
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert figure.get_figwidth() <= 7
    return figure.axes


def grid(figure, columns):
    return np.reshape(np.array(drawn(figure), dtype=object), (-1, columns))


def title(axes):
    return axes.get_title(loc="left")


def texts_inside(figure):
    """All texts lie on the page, and titles of neighbours do not meet."""
    drawn(figure)
    page = figure.bbox
    titles = [axes._left_title.get_window_extent() for axes in figure.axes if title(axes)]
    for box in titles:
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
    return not any(a.overlaps(b) for a, b in combinations(titles, 2))


# Overlays


def test_a_row_s_panels_share_a_scale_that_is_symmetric_about_zero(rng, hz):
    rows = [row(rng, 2), row(rng, 2, title="positive")]
    for line, of in zip(grid(explanation_plots.figure(rows, hz), 4), rows, strict=True):
        largest = max(np.abs(values).max() for _, values in of["panels"])
        left, *right, bar = line
        for axes, (caption, values) in zip(right, of["panels"], strict=True):
            grey, overlay = axes.get_images()
            assert overlay.get_clim() == pytest.approx((-largest, largest))
            np.testing.assert_array_equal(overlay.get_array(), values)
            assert title(axes) == caption
            assert overlay.get_extent() == [0, 4, -0.5, BANDS - 0.5]
            assert overlay.origin == grey.origin == "upper"  # row 0 is the highest frequency
            assert axes.get_ylim()[0] < axes.get_ylim()[1]
        np.testing.assert_allclose(bar.get_yticks(), [-largest, 0, largest])
        texts = [text.get_text() for text in bar.get_yticklabels()]
        assert texts == [f"−{largest:.2g}", "0", f"{largest:.2g}"]
        assert bar.get_ylabel() == "red raises, blue lowers"
        assert title(left) == of["title"]
        assert left.get_ylabel() == "Frequency (Hz)"
        np.testing.assert_allclose(left.get_yticks(), feature_plots.hz_ticks(hz)[0])


def test_time_stands_below_the_last_row_or_below_each_where_they_differ(rng, hz):
    def counted(rows):
        lines = grid(explanation_plots.figure(rows, hz), 3)
        labels = [line[0].get_xlabel() for line in lines]
        return labels, [
            bool(any(t.get_text() for t in line[0].get_xticklabels())) for line in lines
        ]

    assert counted([row(rng), row(rng)]) == (["", "Time (s)"], [False, True])
    assert counted([row(rng), row(rng, seconds=9.0)]) == (["", "Time (s)"], [True, True])


def test_a_row_with_fewer_panels_leaves_axes_empty(rng, hz):
    lines = grid(explanation_plots.figure([row(rng, 2), row(rng, 1), row(rng, 0)], hz), 4)
    shown = [[axes.axison for axes in line] for line in lines]
    assert shown == [[True] * 4, [True, True, False, True], [True, False, False, False]]


def test_bytes_a_limit_and_no_effect_at_all(rng, hz):
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    rows = [row(rng, image=image, limit=0.5), row(rng, panels=[("none", np.zeros((SIDE, SIDE)))])]
    for colours in explanation_plots.COLOURS:
        (left, right, _), (_, nothing, _) = grid(explanation_plots.figure(rows, hz, colours), 3)
        np.testing.assert_allclose(left.get_images()[0].get_array(), image / 255)
        assert right.get_images()[1].get_clim() == (-0.5, 0.5)
        assert nothing.get_images()[1].get_clim() == (-1, 1)


def test_a_stitched_picture_is_white_where_there_is_none(rng, hz):
    image = rng.random((2, SIDE, SIDE, 3))
    joined = attributions.stitch_pictures(image, [0, 8], 4.0)
    values = attributions.stitch_values(image[..., 0], [0, 8], 4.0)
    line = row(rng, image=joined, seconds=12.0, panels=[("file", values)])
    ((left, right, _),) = grid(explanation_plots.figure([line], hz), 3)
    assert (left.get_images()[0].get_array()[:, SIDE:-SIDE] == 1).all()
    np.testing.assert_allclose(right.get_images()[0].get_array()[:, SIDE:-SIDE], 1)
    assert left.get_images()[0].get_extent()[1] == 12


@pytest.mark.parametrize("panels", [1, 2])
def test_six_classes_with_long_names_fit_on_a_page(rng, hz, panels):
    name = (
        "a class of a long name, predicted another (0.98)\nrecordings of 2019/session-01/"
        + 12 * "very_long_name_"
        + r"_$\no$.wav"
    )
    caption = "SHAP values towards a class: output 0.98, expected 0.17"
    rows = [
        row(rng, title=name, panels=[(caption, np.ones((SIDE, SIDE)))] * panels) for _ in range(6)
    ]
    figure = explanation_plots.figure(rows, hz)
    assert figure.get_figheight() <= 11
    assert texts_inside(figure)
    *first, second = title(figure.axes[0]).split("\n")
    assert " ".join(first) == "a class of a long name, predicted another (0.98)"
    assert second.startswith("recordings")
    assert second.endswith(r"$\no$.wav")  # which is no formula
    assert "…" in second
    assert " ".join(title(figure.axes[1]).split("\n")) == caption


def test_the_tail_of_the_only_word_is_kept(rng, hz):
    ((left, *_),) = grid(explanation_plots.figure([row(rng, title=200 * "a" + "z")], hz), 3)
    assert title(left).startswith("aaa")
    assert title(left).endswith("az")


# Colours


def lab(rgb):
    """CIELAB (D65) of linear RGB, float [3]."""
    matrix = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    xyz = matrix @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes 2009 (10.1109/TVCG.2009.113), severity 1
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def apart(one, other, sight):
    seen = [lab(np.array(SIGHT[sight]) @ linear(rgb)) for rgb in (one, other)]
    return np.linalg.norm(seen[0] - seen[1])


def test_red_and_green_are_not_apart_for_all():
    """The yardstick itself: the classical pair that the colour-blind confuse."""
    red, green = mpl.colors.to_rgb("#b2502b"), mpl.colors.to_rgb("#6a7a1a")
    assert apart(red, green, "normal") > 2 * apart(red, green, "deuteranopia")
    assert apart(red, green, "deuteranopia") < 25


@pytest.mark.parametrize("sight", SIGHT)
def test_the_safe_ends_stay_apart_for_every_sight(sight):
    low, high = explanation_plots.COLOURS["orange-purple"].colour_map([0.0, 1.0])
    assert apart(low[:3], high[:3], sight) > 40
    # Half as strong, over the greys of a spectrogram as they are drawn
    for level in (0.5, 0.75, 1.0):
        half = [0.5 * end[:3] + 0.5 * level for end in (low, high)]
        assert apart(*half, sight) > 20


def test_the_safe_ends_differ_in_grey():
    low, high = explanation_plots.COLOURS["orange-purple"].colour_map([0.0, 1.0])
    assert lab(linear(high[:3]))[0] - lab(linear(low[:3]))[0] > 15


@pytest.mark.parametrize("colours", explanation_plots.COLOURS)
def test_what_has_no_effect_is_see_through(colours):
    low, middle, high = explanation_plots.COLOURS[colours].colour_map([0.0, 0.5, 1.0])
    assert low[3] == high[3] == 1
    assert middle[3] < 0.01
    assert low[2] > low[0]  # blue or purple
    assert high[0] > high[2]  # red or orange


def test_safe_contours_are_solid_where_values_raise_and_dashed_where_they_lower(rng, hz):
    values = np.zeros((56, 56))
    values[4:20, 4:20] = 1.0  # high and early
    values[36:52, 36:52] = -0.9  # low and late
    values[4:20, 36:52] = 0.3  # too weak
    image = rng.random((56, 56, 3))
    line = row(rng, image=image, panels=[("values", values)])
    ((_, right, bar),) = grid(explanation_plots.figure([line], hz, "orange-purple"), 3)
    raises, lowers = right.collections
    solid, dashed = (of.get_linestyle()[0][1] for of in (raises, lowers))
    assert solid is None
    assert len(dashed) >= 2
    (high,), (low,) = (of.get_paths() for of in (raises, lowers))
    (x0, y0), (x1, y1) = high.vertices.min(axis=0), high.vertices.max(axis=0)
    step_s, step = 4 / 56, BANDS / 56  # of a pixel
    np.testing.assert_allclose([x0, x1], [4 * step_s, 20 * step_s], atol=step_s)
    np.testing.assert_allclose([y1, y0], BANDS - 0.5 - step * np.array([4, 20]), atol=step)
    assert low.vertices[:, 0].min() > x1
    assert low.vertices[:, 1].max() < y0
    assert "orange" in bar.get_ylabel()
    ((_, right, _),) = grid(explanation_plots.figure([line], hz), 3)
    assert len(right.collections) == 0


# Methods


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("colours", explanation_plots.COLOURS)
def test_every_method_has_its_own_scale_and_says_so(rng, hz, n, colours):
    values = {f"method {i}": 10.0**-i * rng.normal(size=(SIDE, SIDE)) for i in range(n)}
    image = rng.random((SIDE, SIDE, 3))
    figure = explanation_plots.methods(image, 4.0, values, hz, "happy\na/b.wav", colours)
    axes = drawn(figure)
    assert title(axes[0]) == "happy\na/b.wav"
    for of, (name, own) in zip(axes[1:], values.items(), strict=False):
        largest = np.abs(own).max()
        assert title(of) == f"{name}\nlargest |value|: {largest:.2g}"
        assert of.get_images()[1].get_clim() == pytest.approx((-largest, largest))
    bar = axes[-1]
    texts = [text.get_text() for text in bar.get_yticklabels()]
    assert texts == ["−largest", "0", "largest"]
    shown = [of for of in axes[:-1] if of.axison]
    assert len(shown) == n + 1
    assert texts_inside(figure)
    assert {of.get_xlabel() for of in shown[-2:]} == {"Time (s)"}


# The style


def test_pictures_of_explanations_leave_no_trace(rng, hz):
    import matplotlib.pyplot as plt

    before = mpl.rcParams.copy()
    drawn(explanation_plots.figure([row(rng)], hz))
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


def test_an_svg_embeds_pictures_as_rasters(tmp_path, rng, hz):
    made = explanation_plots.figure([row(rng, 2) for _ in range(3)], hz, "orange-purple")
    dslite_plots.save(made, tmp_path / "a.svg", dpi=100)
    content = (tmp_path / "a.svg").read_text()
    assert content.count("<image") == 3 * (3 + 1)  # the colour scales too
    assert len(content) < 1_000_000
    dslite_plots.save(made, tmp_path / "b.svg", dpi=100)
    assert content == (tmp_path / "b.svg").read_text()

"""What figures of explanations say: scales, places, captions, classes, and colours that differ."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from dslite.explanation import attributions, plots
from dslite.explanation.methods import Explanation
from dslite.features import plots as feature_plots
from tests.explanation.explained import explained_file

BANDS, SIDE = 64, 32


def file(rng, panels=1, name="a/b.wav", **changed):
    """A file with so many explanations, each stronger than the last, or of these values."""
    if isinstance(panels, int):
        panels = [i * rng.normal(size=(SIDE, SIDE)) for i in range(1, panels + 1)]
    parts = {f"class {i}": Explanation(of, 0.25, 0.7) for i, of in enumerate(panels)}
    picture = rng.uniform(0, 255, (*panels[0].shape, 3)).astype(np.float32)
    return explained_file(name, parts, **{"picture": picture, "span_s": (0.0, 4.0)} | changed)


@pytest.fixture(autouse=True)
def no_trace():
    """No figure stays open, and the style of others is as it was."""
    before = mpl.rcParams.copy()
    yield
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


def drawn(figure):
    """The axes of a figure that was laid out, so that every tick and text exists."""
    figure.draw_without_rendering()
    assert figure.get_figwidth() <= 7
    return figure.axes


def title(axes):
    return axes.get_title(loc="left")


def words(texts):
    return [text.get_text() for text in texts]


def tick_texts(axis):
    return words(axis.get_ticklabels())


def legend(figure):
    return words(figure.legends[0].get_texts())


def test_all_panels_share_a_scale_of_shares_and_say_what_they_sum_to(rng, hz):
    several = [file(rng, 2), file(rng, 2, true="", seams_s=(1.0, 2.5))]
    parts = several[1].explanations
    parts["class 1"] = Explanation(np.ones((SIDE, SIDE)), np.nan, 0.5)
    parts["class 0"] = Explanation(parts["class 0"].values, 0.51, 0.55)
    *axes, bar = drawn(plots.overlays(several, hz))
    lines = np.reshape(axes, (2, 3))
    limits = set()
    for line, of in zip(lines, several, strict=True):
        left, *right = line
        for axes, part in zip(right, of.explanations.values(), strict=True):
            if part.output == 0.55:
                continue
            grey, overlay = axes.get_images()
            limits.add(overlay.get_clim())
            # 0.7 - 0.25, or the sum of all sizes: per 1 of the picture's 1024 pixels
            total = SIDE**2 if np.isnan(part.base) else 0.45
            np.testing.assert_allclose(overlay.get_array(), part.values * SIDE**2 / total)
            assert overlay.get_extent() == [0, 4, -0.5, BANDS - 0.5]
            assert overlay.origin == grey.origin == "upper"  # row 0 is the highest frequency
            assert axes.get_ylim()[0] < axes.get_ylim()[1]
        assert "".join(title(left).split()) == "".join(of.title.split())
    ((low, high),) = limits
    assert low == -high < 0
    assert "% of (output − expected) per % of the picture" in bar.get_ylabel()
    assert "orange (—) raises, purple (- -) lowers" in bar.get_ylabel()
    assert title(lines[0, 1]) == "what speaks for class 0:\n0.25 → 0.70"
    assert lines[0, 0].get_ylabel() == "Frequency (Hz, Mel scale)"
    np.testing.assert_allclose(lines[0, 0].get_yticks(), feature_plots.hz_ticks(hz)[0])
    # Nothing to be explained: no colours. What sums to nothing; where chunks meet.
    hatched, other = lines[1, 1:]
    assert (len(hatched.get_images()), hatched.patches[0].get_hatch()) == (1, "///")
    assert title(hatched) == "what speaks for class 0:\n0.51 → 0.55: too little"
    assert title(other) == "for class 1: output 0.50"
    assert [line.get_xdata()[0] for line in other.get_lines()] == [1.0, 2.5]


def test_two_panels_stand_on_one_time_axis_each_with_its_frequencies(rng, hz):
    values = np.zeros((2 * SIDE, SIDE))
    values[40:56, 4:20] = 1.0  # low in the panel of level
    of = file(rng, [values], span_s=(0.5, 2.5))
    both = np.stack([hz, hz / 2])
    for titles in (None, {"class 0": "a method"}):
        figure = plots.overlays([of], both, titles)
        left, right, *_ = drawn(figure)
        assert left.get_images()[0].get_extent() == [0.5, 2.5, -0.5, 2 * BANDS - 0.5]
        assert left.get_ylabel() == "Level (Hz)  |  Relative (Hz), Mel"
        ticks = dict(zip(left.get_yticks(), tick_texts(left.yaxis), strict=True))
        below = [text for at, text in ticks.items() if at < BANDS]
        above = [text for at, text in ticks.items() if at >= BANDS]
        assert {"0", "1k", "2k", "4k"} <= set(below)
        assert {"1k", "2k", "4k", "8k"} <= set(above)
        (contour,) = right.collections
        (x0, y0), (x1, y1) = contour.get_paths()[0].get_extents().get_points()
        np.testing.assert_allclose([x0, x1], [0.5 + 2 * 4 / 32, 0.5 + 2 * 20 / 32], atol=0.1)
        np.testing.assert_allclose([y0, y1], [2 * (64 - 56) - 0.5, 2 * (64 - 40) - 0.5], atol=2)


def test_no_effect_at_all_is_see_through(rng, hz):
    of = file(rng, [np.zeros((SIDE, SIDE))])
    left, right, _ = drawn(plots.overlays([of], hz))
    np.testing.assert_allclose(left.get_images()[0].get_array(), of.picture / 255)
    assert right.get_images()[1].get_clim() == (-1, 1)
    low, middle, high = plots.COLOUR_MAP([0.0, 0.5, 1.0])
    assert middle[3] < 0.01 < low[3] == high[3] == 1
    # ColorBrewer's PuOr, which stays apart for every sight and in grey (Harrower and Brewer 2003)
    assert [to_hex(end) for end in (low, high)] == ["#5e3c99", "#e66101"]


def test_six_classes_with_long_names_fit_on_a_page(rng, hz):
    name = f"recordings of 2019/session-01/{12 * 'very_long_name_'}_$\\no$.wav"
    long = {"true": "a class of a long name", "predicted": "another"}
    several = [file(rng, 2, name, **long) for _ in range(5)]
    several.append(file(rng, 2, predicted=200 * "a" + "z"))
    figure = plots.overlays(several, hz)
    assert figure.get_figheight() <= 11
    drawn(figure)
    *lines, last = title(figure.axes[0]).split("\n")
    assert " ".join(lines) == "a class of a long name, predicted another"
    assert re.fullmatch(r"recordings.*….*\$\\no\$\.wav", last)  # which is no formula
    assert re.search("a…a*z", title(figure.axes[5 * 3]))


def test_contours_are_solid_where_values_raise_and_dashed_where_they_lower(rng, hz):
    values = np.zeros((56, 56))
    values[4:20, 4:20] = 1.0  # high and early
    values[36:52, 36:52] = -0.9  # low and late
    values[4:20, 36:52] = 0.3  # too weak
    _, right, _ = drawn(plots.overlays([file(rng, [values])], hz))
    raises, lowers = right.collections
    solid, dashed = (of.get_linestyle()[0][1] for of in (raises, lowers))
    assert solid is None
    assert len(dashed) >= 2
    (high,), (low,) = (of.get_paths() for of in (raises, lowers))
    step_s, step = 4 / 56, BANDS / 56  # of a pixel
    for path, first, last in ((high, 4, 20), (low, 36, 52)):
        (x0, y0), (x1, y1) = path.vertices.min(axis=0), path.vertices.max(axis=0)
        np.testing.assert_allclose([x0, x1], [first * step_s, last * step_s], atol=step_s)
        expected = BANDS - 0.5 - step * np.array([first, last])
        np.testing.assert_allclose([y1, y0], expected, atol=step)


@pytest.fixture
def profiles(rng, hz):
    """Tables of 5 classes with 3 files each, small values."""
    grouping = np.repeat(list("abcde"), 3), list("abcde")
    bands, of = attributions.band_edges(hz, 16), attributions.class_table
    return (
        of(1e-6 * rng.random((15, 16)), *grouping, attributions.FREQUENCY, bands),
        of(rng.random((15, 20)), *grouping, attributions.TIME, np.linspace(0, 1, 21)),
    )


def test_profiles_show_each_class_s_shares_their_error_and_the_mean_of_all(profiles):
    figures = plots.frequencies(profiles[0]), plots.times(profiles[1])
    for table, figure in zip(profiles, figures, strict=True):
        shown = [axes for axes in drawn(figure) if axes.axison]
        assert [title(axes) for axes in shown] == [f"{name} (3 files)" for name in "abcde"]
        sums = table["mean_abs"].to_numpy().reshape(5, -1).sum(axis=1)
        shares = 100 * table["mean_abs"].to_numpy().reshape(5, -1) / sums[:, None]
        for axes, (_, rows), share, total in zip(
            shown, table.groupby("class"), shares, sums, strict=True
        ):
            steps = {step.get_label(): step.get_data() for step in axes.patches}
            np.testing.assert_allclose(steps["class"].values, share)
            np.testing.assert_allclose(steps["mean of the classes"].values, shares.mean(axis=0))
            band = steps["± standard error"]
            width = 200 * rows["standard_error"] / total
            np.testing.assert_allclose(band.values - band.baseline, width)
            assert axes.get_lines()[0].get_ydata()[0] == pytest.approx(100 / len(rows))
            assert axes.get_ylim()[0] == 0
        assert [any(tick_texts(axes.xaxis)) for axes in shown] == [False] * 2 + [True] * 3
        assert set(legend(figure)) == {"± standard error", "class", "mean of the classes", "even"}
        assert figure._supylabel.get_text() == "Share of total |SHAP| (%)"

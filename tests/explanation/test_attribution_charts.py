"""What charts of explanations say: every class and its error, and each method's curves."""

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dslite.explanation import attributions, plots

BANDS = 64


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), BANDS + 2)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


def drawn(figure):
    """The axes of a figure that was drawn and saved, so that every tick and text exists."""
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert figure.get_figwidth() <= 7
    return figure.axes


def title(axes):
    return axes.get_title(loc="left")


# Profiles


@pytest.fixture
def profiles(rng, hz):
    """Tables of 5 classes with 3 files each, small values."""
    labels, classes = np.repeat(list("abcde"), 3), list("abcde")
    edges = attributions.band_edges(hz, 16)
    bands = attributions.frequency_table(1e-6 * rng.random((15, 16)), labels, classes, edges)
    return bands, attributions.time_table(rng.random((15, 20)), labels, classes)


def stairs(axes):
    return {step.get_label(): step.get_data() for step in axes.patches}


def test_profiles_show_each_class_its_error_and_the_mean_of_all(profiles):
    bands, bins = profiles
    for made, table, factor in (
        (plots.frequencies(bands), bands, 1e7),
        (plots.times(bins), bins, 1),
    ):
        axes = [of for of in drawn(made) if of.axison]
        assert [title(of) for of in axes] == [f"{name} (3 files)" for name in "abcde"]
        everyone = table["mean_abs"].to_numpy().reshape(5, -1).mean(axis=0)
        for of, (_, own) in zip(axes, table.groupby("class"), strict=True):
            shown = stairs(of)
            np.testing.assert_allclose(shown["class"].values, factor * own["mean_abs"])
            np.testing.assert_allclose(shown["mean of the classes"].values, factor * everyone)
            band = shown["± standard error"]
            np.testing.assert_allclose(
                band.values - band.baseline, 2 * factor * own["standard_error"]
            )
            assert of.get_ylim()[0] == 0
        assert [bool(any(t.get_text() for t in of.get_xticklabels())) for of in axes] == [
            *(False, False),
            *(True, True, True),
        ]
        legend = [text.get_text() for text in made.legends[0].get_texts()]
        assert legend == ["± standard error", "class", "mean of the classes"]


def test_frequencies_stand_on_the_mel_axis_in_hz(profiles):
    made = plots.frequencies(profiles[0])
    axes = drawn(made)[2]
    edges = np.append(0.0, profiles[0]["high_hz"][:16])
    texts = [text.get_text() for text in axes.get_xticklabels()]
    ticks = dict(zip(texts, axes.get_xticks(), strict=True))
    assert set(ticks) >= {"500", "1k", "2k", "4k", "8k"}
    for text, at in ticks.items():
        tick = 1000 * float(text[:-1]) if text.endswith("k") else float(text)
        assert at == pytest.approx(np.interp(tick, edges, np.arange(17)), abs=0.3)
    boxes = [text.get_window_extent() for text in made.axes[4].get_xticklabels()]
    labels = sorted(boxes, key=lambda box: box.x0)
    assert not any(a.overlaps(b) for a, b in pairwise(labels))
    assert "10^{-7}" in made._supylabel.get_text()


def test_one_class_with_one_file_has_neither_an_error_nor_others(hz):
    table = attributions.time_table(np.array([[1.0, 2.0]]), ["a"], ["a"])
    (axes,) = drawn(plots.times(table))
    assert title(axes) == "a (1 file)"
    assert set(stairs(axes)) == {"class"}
    np.testing.assert_allclose(stairs(axes)["class"].edges, [0, 0.5, 1])
    drawn(plots.times(table.assign(mean_abs=0.0)))


def test_curves_of_deletion_and_insertion():
    share = np.array([0.5, 0, 1])  # in no order
    rows = [
        pd.DataFrame({"method": name, "curve": curve, "share": share, "score": score})
        for name in ("random", "SHAP", "Grad-CAM")
        for curve, score in (("deletion", 1 - share), ("insertion", share))
    ]
    made = plots.curves(pd.concat(rows, ignore_index=True))
    deletion, insertion = drawn(made)
    assert (title(deletion), title(insertion)) == ("Deletion", "Insertion")
    assert deletion.get_xlabel() == "Share of the picture removed"
    assert insertion.get_xlabel() == "Share of the picture shown"
    for axes, score in ((deletion, [1, 0.5, 0]), (insertion, [0, 0.5, 1])):
        lines = axes.get_lines()
        assert [line.get_label() for line in lines] == ["SHAP", "Grad-CAM", "random"]
        for line in lines:
            np.testing.assert_array_equal(line.get_xdata(), [0, 0.5, 1])
            np.testing.assert_array_equal(line.get_ydata(), score)
        assert (lines[-1].get_color(), lines[-1].get_linestyle()) == ("grey", "--")
        assert len({line.get_marker() for line in lines}) == 3
        assert len({line.get_color() for line in lines}) == 3
    legend = [text.get_text() for text in made.legends[0].get_texts()]
    assert legend == ["SHAP", "Grad-CAM", "random"]


# The style


def test_charts_of_explanations_leave_no_trace(profiles):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = mpl.rcParams.copy()
    drawn(plots.times(profiles[1]))
    drawn(plots.frequencies(profiles[0]))
    assert plt.get_fignums() == []
    assert mpl.rcParams == before

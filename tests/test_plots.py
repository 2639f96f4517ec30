"""What the figures show (labels, positions, shares, scales) and that they can be saved."""

import io
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dslite import plots


def drawn(figure):
    """The axes of a figure that was drawn and saved, so that every tick and text exists."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")
    assert figure.get_figwidth() <= 7
    return figure.axes


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_durations_and_the_length_of_a_chunk():
    durations = {"train": np.array([1.0, 2.0, 2.5]), "devel": np.array([3.0])}
    figure = plots.durations(durations | {"test": np.array([4.0])}, 3.5)
    (axes,) = drawn(figure)
    assert axes.get_xlabel() == "Duration of a file (s)"
    assert axes.get_lines()[0].get_xdata()[0] == 3.5
    assert {"train (3 files)", "chunk (3.5 s)"} <= set(legend(figure))
    assert max(bar.get_y() + bar.get_height() for bar in axes.patches) == 1
    drawn(plots.durations({"train": np.full(5, 2.0)}, 2.0))  # all the same


def test_counts_are_stacked_and_written():
    table = pd.DataFrame({"train": [3, 4], "devel": [1, 0], "test": [2, np.nan]}, index=["a", "b"])
    (axes,) = drawn(plots.counts(table))
    assert tick_texts(axes.xaxis) == ["a", "b"]
    assert axes.get_ylabel() == "Files"
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == [3, 4, 4, 4, 6, 4]
    assert axes.get_ylim()[1] > 6
    assert [text.get_text() for text in axes.texts] == ["3", "4", "1", "", "2", ""]


def test_counts_of_many_speakers_stay_apart():
    names = [f"speaker{i:03d}" for i in range(68)]
    (axes,) = drawn(plots.counts(pd.DataFrame({"train": 5, "test": 2}, index=names)))
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert boxes[0].y0 >= 0


def scores(*rows):
    columns = ["configuration", "partition", "score", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def test_ablation_points_intervals_and_chance():
    none = ("none", "devel", 0.4, None, None), ("none", "test", 0.5, 0.45, 0.56)
    cutmix = ("cutmix", "devel", 0.6, 0.5, 0.7), ("cutmix", "test", 0.55, 0.5, 0.6)
    figure = plots.ablation(scores(*none, *cutmix), 1 / 6)
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
    assert legend(figure) == ["chance", "devel", "test"]
    assert [text.get_text() for text in axes.texts] == ["40.0", "60.0", "50.0", "55.0"]
    # A correlation is no share.
    (axes,) = drawn(plots.ablation(scores(("none", "test", 0.3, 0.1, 0.4)), 0.0, "spearman"))
    assert axes.get_xlabel() == "Spearman's ρ"
    np.testing.assert_allclose(axes.get_lines()[1].get_xdata(), [0.3])


def test_a_picture_leaves_no_trace():
    import matplotlib.pyplot as plt

    before = mpl.rcParams.copy()
    drawn(plots.durations({"train": np.arange(3.0)}, 2.0))
    assert plt.get_fignums() == []
    assert mpl.rcParams == before


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file(tmp_path, suffix):
    for name in ("first", "again"):
        figure = plots.durations({"train": np.arange(3.0)}, 2.0)
        plots.save(figure, tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"first.{suffix}").read_bytes()
    assert content == (tmp_path / f"again.{suffix}").read_bytes()
    if suffix == "pdf":
        assert b"/FontFile2" in content  # a TrueType font is embedded


def test_resolution_of_a_saved_picture(tmp_path):
    from PIL import Image

    for dpi in ({}, {"dpi": 50}):
        plots.save(plots.durations({"train": np.arange(3.0)}, 2.0), tmp_path / "a.png", **dpi)
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.info["dpi"] == pytest.approx((dpi.get("dpi", 200),) * 2, abs=0.1)

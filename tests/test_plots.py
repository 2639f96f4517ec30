"""What the figures show (labels, positions, shares, scales) and that they can be saved."""

import io
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from dslite import plots


def drawn(figure):
    """The axes of a figure that was drawn and saved, so that every tick and text exists."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")
    assert figure.get_figwidth() <= 7
    return figure.axes


def words(texts):
    return [text.get_text() for text in texts]


def test_counts_are_stacked_and_written():
    table = pd.DataFrame({"train": [3, 4], "devel": [1, 0], "test": [2, np.nan]}, index=["a", "b"])
    (axes,) = drawn(plots.counts(table))
    assert (words(axes.get_xticklabels()), axes.get_ylabel()) == (["a", "b"], "Files")
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == [3, 4, 4, 4, 6, 4]
    assert axes.get_ylim()[1] > 6
    assert words(axes.texts) == ["3", "4", "1", "", "2", ""]
    # Many speakers stay apart.
    names = [f"speaker{i:03d}" for i in range(68)]
    (axes,) = drawn(plots.counts(pd.DataFrame({"train": 5, "test": 2}, index=names)))
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert boxes[0].y0 >= 0


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file_and_leaves_no_trace(tmp_path, suffix):
    before, contents = mpl.rcParams.copy(), set()
    for _ in range(2):
        figure = plots.counts(pd.DataFrame({"train": [3, 4]}))
        plots.save(figure, tmp_path / f"a.{suffix}")
        contents.add((tmp_path / f"a.{suffix}").read_bytes())
    (content,) = contents
    assert b"/FontFile2" in content or suffix != "pdf"  # a TrueType font is embedded
    assert pyplot.get_fignums() == []
    assert mpl.rcParams == before
    if suffix == "png":
        assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((200, 200), abs=0.1)
        plots.save(figure, tmp_path / "a.png", dpi=50)
        assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((50, 50), abs=0.1)

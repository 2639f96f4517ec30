"""Figures are saved as they are, and leave no trace."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot
from PIL import Image

from dslite import plots


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file_and_leaves_no_trace(tmp_path, suffix):
    before, contents = mpl.rcParams.copy(), set()
    for _ in range(2):
        figure, axes = plots.panels(2)
        axes.plot([3, 4])
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

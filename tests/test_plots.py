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


# A training


@pytest.fixture
def history():
    """Five epochs, two of them in phase 1; the fourth is the best."""
    losses = {"train_loss": [2.0, 1.5, 1.2, 1.0, 0.9], "devel_loss": [2.1, 1.8, 1.6, 1.5, 1.6]}
    epochs = {"epoch": [1, 2, 3, 4, 5], "phase": [1, 1, 2, 2, 2]}
    best = {"devel_score": [0.2, 0.3, 0.35, 0.5, 0.45], "best": [False, False, False, True, False]}
    return pd.DataFrame(epochs | losses | best)


def legend(axes):
    return words(axes.get_legend().get_texts())


def test_learning_curves_mark_the_second_phase_and_the_best_epoch(history):
    loss, score = plots.learning_curves(history).axes
    assert legend(loss) == ["train", "devel", "phase 2 begins"]
    assert loss.get_lines()[2].get_xdata()[0] == 2.5
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("Epoch", "Loss")
    assert score.get_ylabel() == "Devel UAR (%)"
    np.testing.assert_allclose(score.get_lines()[0].get_ydata(), [20, 30, 35, 50, 45])
    star = score.get_lines()[1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (4, 50)
    assert "best: 50.0 in epoch 4" in legend(score)
    _, score = plots.learning_curves(history, "spearman").axes
    assert score.get_ylabel() == "Devel Spearman's ρ"
    assert "best: 0.50 in epoch 4" in legend(score)


def test_phase_2_starts_from_the_solved_head_and_has_to_rise_above_its_noise(history):
    solved = {"phase": [1, 2, 2, 2, 2], "learning_rate": [0.0, 1e-4, 1e-4, 1e-4, 1e-4]}
    solved |= {"noise": [np.nan, 0.2, 0.2, 0.3, 0.3], "best": [True, *[False] * 4]}
    loss, score = plots.learning_curves(history.assign(**solved)).axes
    assert legend(loss) == ["train", "devel", "phase 1, solved"]
    assert loss.get_lines()[2].get_xydata().tolist() == [[1, 2.0], [1, 2.1]]
    assert legend(score) == ["kept: 20.0 in epoch 1", "phase 1 + noise"]
    np.testing.assert_allclose(score.get_lines()[2].get_ydata()[1:], [40, 40, 50, 50])


def test_learning_curves_without_devel_or_second_phase(history):
    final = history.assign(devel_loss=np.nan, devel_score=np.nan)
    (loss,) = plots.learning_curves(final).axes
    assert legend(loss) == ["train", "phase 2 begins"]
    loss, _ = plots.learning_curves(history[:2].assign(best=[False, True])).axes
    assert legend(loss) == ["train", "devel"]

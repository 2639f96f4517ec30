"""What the pictures of cost show."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dslite.deployment import plots
from dslite.plots import COLOURS


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png")
    assert figure.get_figwidth() <= 7
    return figure.axes


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def measured():
    rows = [
        *(("model", "float32", 1, 9.9, 12), ("model", "float32", 2, 6, 7)),
        *(("model", "int8", 1, 4.5, 5), ("model", "int8", 2, 2.7, 3)),
        *(("cnn", "float32", 1, 9, 10), ("cnn", "Keras", 2, 36, 44)),
        ("spectrogram", "drawn", 1, 60, 61),
    ]
    return pd.DataFrame(rows, columns=["part", "variant", "threads", "ms_median", "ms_p95"])


@pytest.fixture
def models():
    """Four backbones in four variants; the second is slower, larger and worse than the first."""
    backbones = [("densenet121", 60, 0.8, 30), ("vgg16", 300, 0.79, 60)]
    backbones += [("mobilenet_v2", 9, 0.757, 9.6), ("squeezenet", 12, 0.7, 4.9)]
    variants = [("float32", 1, 0, 1), ("float16", 1.02, 0.001, 0.5)]
    variants += [("dynamic", 0.8, 0.004, 0.26), ("int8", 0.45, 0.02, 0.27)]
    rows = [
        (backbone, variant, ms * faster, size * smaller, score - lost)
        for backbone, ms, score, size in backbones
        for variant, faster, lost, smaller in variants
    ]
    return pd.DataFrame(rows, columns=["backbone", "variant", "ms_median", "MB", "devel"])


def test_bars_of_time(measured):
    figure = plots.times(measured)
    whole, network, _ = drawn(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(plots.PARTS.values())
    assert [bar.get_width() for bar in whole.patches] == [9.9, 6, 4.5, 2.7]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in whole.patches]
    assert colours == [*COLOURS[:2]] * 2
    labels = [[text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes]
    assert labels == [["float32", "int8"], ["float32", "Keras"], ["drawn"]]
    assert to_hex(network.patches[1].get_facecolor()).upper() == COLOURS[1]  # two threads
    assert [text.get_text() for text in whole.texts] == ["9.9", "6", "4.5", "2.7"]
    lines = [line[:, 0].tolist() for line in whole.collections[0].get_segments()]
    assert lines == [[9.9, 12], [6, 7], [4.5, 5], [2.7, 3]]
    assert whole.yaxis_inverted()
    assert whole.get_xlim()[0] == 0
    assert legend(figure) == ["1 thread", "2 threads"]
    # Of one file
    figure = plots.times(measured.head(1).assign(part="mine"))
    (axes,) = drawn(figure)
    assert axes.get_title(loc="left") == "mine"
    assert legend(figure) == ["1 thread"]


def test_front_by_hand():
    ms, score = np.array([1, 2, 2, 3, 4.0]), np.array([5, 6, 5, 9, 9.0])
    assert np.flatnonzero(plots.front(ms, score)).tolist() == [0, 1, 3]
    size = np.array([9, 9, 9, 9, 1.0])
    assert np.flatnonzero(plots.front(ms, score, size)).tolist() == [0, 1, 3, 4]
    assert plots.front(np.ones(2), np.ones(2)).all()  # equals beat nobody


def test_marks_of_the_pareto_plot(models):
    (axes,) = drawn(figure := plots.pareto(models))
    marks = {}
    for of in axes.collections:
        ((x, y),) = of.get_offsets()
        marks[round(float(x), 6), round(float(y), 6)] = of
    assert len(marks) == len(models)
    unbeaten = plots.front(models["ms_median"], models["devel"], models["MB"])
    for row, best in zip(models.itertuples(), unbeaten, strict=True):
        mark = marks[round(row.ms_median, 6), round(100 * row.devel, 6)]
        assert mark.get_sizes()[0] == pytest.approx(plots.LARGEST * row.MB / 60)
        place = ["densenet121", "vgg16", "mobilenet_v2", "squeezenet"].index(row.backbone)
        assert to_hex(mark.get_facecolor()[0]).upper() == COLOURS[place]
        assert (len(mark.get_edgecolor()) > 0) == best
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Median time of a run (ms)", "Devel UAR (%)")
    joined = axes.get_lines()[0]
    assert joined.get_xdata().tolist() == sorted(joined.get_xdata())
    assert (np.diff(joined.get_ydata()) > 0).all()
    assert legend(figure)[:8] == [
        *("densenet121", "vgg16", "mobilenet_v2", "squeezenet"),
        *("float32", "float16", "dynamic", "int8"),
    ]
    assert "60 MB" in legend(figure)


def test_a_single_model_a_correlation_and_more_backbones_than_colours(models):
    (axes,) = drawn(plots.pareto(models.head(1), "spearman"))
    assert axes.get_ylabel() == "Devel Spearman's ρ"
    drawn(plots.pareto(pd.concat(models.assign(backbone=f"backbone{i}") for i in range(11))))

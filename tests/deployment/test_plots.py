"""What the pictures of cost show."""

import io

import numpy as np
import pandas as pd
import pytest

from dslite.deployment import plots
from dslite.plots import COLOURS


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png")
    assert figure.get_figwidth() <= 7
    return figure.axes


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
    table = pd.DataFrame(rows, columns=["backbone", "variant", "ms_median", "MB", "test"])
    return table.assign(test_low=table["test"] - 0.1, test_high=table["test"] + 0.05)


def test_front_by_hand():
    ms, score = np.array([1, 2, 2, 3, 4.0]), np.array([5, 6, 5, 9, 9.0])
    assert np.flatnonzero(plots.front(ms, score)).tolist() == [0, 1, 3]
    size = np.array([9, 9, 9, 9, 1.0])
    assert np.flatnonzero(plots.front(ms, score, size)).tolist() == [0, 1, 3, 4]
    assert plots.front(np.ones(2), np.ones(2)).all()  # equals beat nobody


def test_marks_of_the_pareto_plot(models):
    (axes,) = drawn(plots.pareto(models))
    joined, *marks = axes.get_lines()
    models = models.sort_values("ms_median")
    unbeaten = plots.front(models["ms_median"], models["test"], models["MB"])
    names = ["densenet121", "vgg16", "mobilenet_v2", "squeezenet"]
    intervals = [line.get_segments()[0] for line in axes.collections]
    for row, best, mark, ends, text in zip(
        models.itertuples(), unbeaten, marks, intervals, axes.texts, strict=True
    ):
        assert (*mark.get_xdata(), *mark.get_ydata()) == pytest.approx(
            (row.ms_median, 100 * row.test)
        )
        assert mark.get_color() == COLOURS[names.index(row.backbone)]
        assert (mark.get_markerfacecolor() != "white") == best
        np.testing.assert_allclose(ends[:, 1], [100 * row.test_low, 100 * row.test_high])
        assert text.get_text() == f"{row.backbone}, {row.variant}, {row.MB:.3g} MB"
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "Test UAR (%)"
    assert joined.get_xdata().tolist() == sorted(joined.get_xdata())
    assert (np.diff(joined.get_ydata()) > 0).all()


def test_a_single_model_a_correlation_and_more_backbones_than_colours(models):
    without = models.drop(columns=["test_low", "test_high"])  # an older profile
    (axes,) = drawn(plots.pareto(without.head(1), "spearman"))
    assert axes.get_ylabel() == "Test Spearman's ρ"
    assert axes.texts[0].get_text() == "float32, 30 MB"
    drawn(plots.pareto(pd.concat(models.assign(backbone=f"backbone{i}") for i in range(11))))

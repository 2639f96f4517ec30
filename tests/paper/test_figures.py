"""What the figures say, that they can be read in grey, and which there are."""

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from dslite.paper import comparisons, figures, published
from dslite.paper.tables import environment

OURS = ["MobileNetV2, tuned", "SqueezeNet, tuned", "MobileNetV2, paper preset", "SqueezeNet, x"]
METHODS = ["no augmentation", "CutMix", "SpecAugment", "CutMix+SpecAugment"]
PAPER = "paper: DenseNet121"


@pytest.fixture
def scores():
    """Two corpora, of one of which we have runs too; the last source is listed first."""
    rows = [("RAVDESS", METHODS[0], OURS[0], 82.6, 77.5, 87.0, 3)]
    for i, method in enumerate(METHODS):
        rows.append(("MPSSC", method, PAPER, 39.4 + 5 * i, 33.4 + 5 * i, 45.7 + 5 * i, 0))
        rows.append(("RAVDESS", method, PAPER, 76.6 + i, 72.7 + i, 84.5 + i, 0))
        for j, source in enumerate(OURS if i else []):
            score = 80 - 15 * j + i
            rows.append(("RAVDESS", method, source, score, score - 5, score + 4, 3))
    rows[-1] = (*rows[-1][:-3], np.nan, np.nan, 2)
    names = ["dataset", "configuration", "source", "score", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def forest(scores):
    return figures.plot_forest(scores, {"MPSSC": 25.0, "RAVDESS": 20.0})


@pytest.fixture
def gained():
    published_gains = {"CCS": 0.3, "MPSSC": 10.6, "RAVDESS": -1.6}
    rows = [(name, PAPER, gain, np.nan, np.nan) for name, gain in published_gains.items()]
    rows.append(("RAVDESS", OURS[0], 1.2, -3.1, 4.4))
    table = pd.DataFrame(rows, columns=["dataset", "source", "gain", "low", "high"])
    return table.merge(pd.Series(METHODS[1:], name="method"), how="cross")


@pytest.fixture
def history(rng):
    """Two sources in four configurations, two seeds; the second seed stops two epochs earlier."""
    runs = []
    for source in OURS[:2]:
        for i, name in enumerate(METHODS):
            for seed, epochs in ((0, 12), (1, 10)):
                at = np.arange(1, epochs + 1)
                runs.append(pd.DataFrame({
                    "source": source, "configuration": name, "seed": seed, "epoch": at,
                    "phase": np.where(at <= 8, 1, 2), "train_loss": 20 / at + rng.random(epochs),
                    "devel_loss": 8 / at + 1, "devel_score": 0.2 + 0.05 * at + 0.01 * i,
                }))  # fmt: skip
    return pd.concat(runs, ignore_index=True)


@pytest.fixture
def summary():
    """All but one verdict on a large and on a small table."""
    counts = {3: [1, 3, 12, 7, 180, 8, 9, 0], 5: [2, 1, 1, 0, 1, 1, 9, 1]}
    return pd.DataFrame(counts, index=pd.Index(published.ORDER[:8], name="verdict"))


def beyond(axes):
    """Labels of ticks beyond the ends of an axis, which are not drawn."""
    for i, axis in enumerate((axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for label in (*axis.get_majorticklabels(), *axis.get_minorticklabels()):
            if not low <= label.get_position()[i] <= high:
                yield label


def check_texts(figure):
    """No text lies on another one or leaves the figure or its axes; gives them all."""
    figure.draw_without_rendering()
    absent = {label for axes in figure.axes for label in beyond(axes)}
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [(text, text.get_window_extent()) for text in texts if text not in absent]
    for (a, first), (b, second) in combinations(boxes, 2):
        assert not first.overlaps(second), (a.get_text(), b.get_text())
    bounds = [(figure.bbox, *pair) for pair in boxes]
    bounds += [(axes.get_window_extent(), text, text.get_window_extent())
               for axes in figure.axes for text in axes.texts]  # fmt: skip
    for inside, text, box in bounds:
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, text.get_text()
    assert figure.get_figwidth() == 7
    return [text.get_text() for text, _ in boxes]


def least_difference(figure, handles) -> float:
    """Of the marks of any two series in the legend, in grey, 0 to 255 a pixel."""
    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[..., :3] @ [0.2126, 0.7152, 0.0722]
    crops = []
    for handle in handles:
        box = handle.get_window_extent()
        x, y = round((box.x0 + box.x1) / 2), round(grey.shape[0] - (box.y0 + box.y1) / 2)
        crops.append(grey[y - 8 : y + 8, x - 20 : x + 20])
    return min(np.abs(a - b).mean() for a, b in combinations(crops, 2))


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(axes, marker=None):
    """Horizontal places of the single marks in an axes."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None, "")]
    return [line for line in lines if marker in (None, line.get_marker())]


def intervals(axes):
    """The two ends of every horizontal line that is drawn in the data's own coordinates."""
    drawn = [of for of in axes.collections if of.get_transform().contains_branch(axes.transData)]
    ends = [part[:, 0] for of in drawn for part in of.get_segments() if len(part)]
    return sorted(tuple(map(float, pair)) for pair in ends if np.isfinite(pair).all())


# UAR of every configuration


def test_forest_has_every_score_with_its_interval(scores, forest):
    ours, theirs = forest.axes
    assert ours.get_title(loc="left") == "RAVDESS (chance: 20.0 %)"
    for axes, name in ((ours, "RAVDESS"), (theirs, "MPSSC")):
        rows = scores[scores["dataset"] == name]
        assert sorted(float(mark.get_xdata()[0]) for mark in marks(axes)) == sorted(rows["score"])
        bounds = rows[["low", "high"]].dropna()
        assert intervals(axes) == sorted(bounds.itertuples(index=False, name=None))
        assert {t.get_text() for t in axes.get_yticklabels()} == set(METHODS)
    dashed = [line for axes in forest.axes for line in axes.get_lines()
              if line.get_linestyle() == "--"]  # fmt: skip
    assert [line.get_xdata()[0] for line in dashed] == [20, 25]


def test_forest_puts_the_paper_first_in_black_open_diamonds(scores, forest):
    assert legend(forest)[:2] == [PAPER, f"{OURS[0]} (3 seeds)"]
    ours = forest.axes[0]
    printed = scores[(scores["dataset"] == "RAVDESS") & (scores["source"] == PAPER)]
    diamonds = marks(ours, "D")
    assert [mark.get_xdata()[0] for mark in diamonds] == printed["score"].tolist()
    colours = {(to_hex(mark.get_color()), to_hex(mark.get_mfc())) for mark in diamonds}
    assert colours == {("#000000", "#ffffff")}
    assert ours.yaxis_inverted()
    by_place = sorted(marks(ours), key=lambda mark: mark.get_ydata()[0])
    assert [mark.get_marker() for mark in by_place[:2]] == ["D", "o"]


def test_forest_writes_scores_and_missing_seeds_beside_the_marks(scores, forest):
    texts = check_texts(forest)
    assert {f"{score:.1f}" for score in scores["score"][:-1]} <= set(texts)
    assert f"{scores['score'].iloc[-1]:.1f} (2 seeds)" in texts
    assert sum("seed" in text for text in texts) == 1 + len(OURS)  # and in the legend
    fewer = scores.assign(seeds=scores["seeds"].clip(upper=2))
    texts = check_texts(figures.plot_forest(fewer, {"MPSSC": 25.0, "RAVDESS": 20.0}))
    assert sum("seed" in text for text in texts) == len(OURS)


# Gains


def test_gains_lie_beside_zero_with_the_intervals_of_ours_only(gained):
    figure = figures.plot_gains(gained)
    assert [axes.get_title(loc="left") for axes in figure.axes] == METHODS[1:]
    for axes in figure.axes:
        assert [m.get_xdata()[0] for m in marks(axes, "D")] == [0.3, 10.6, -1.6]
        assert [m.get_xdata()[0] for m in marks(axes, "o")] == [1.2]
        assert intervals(axes) == [(-3.1, 4.4)]
        assert 0 in [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 2]
    texts = check_texts(figure)
    assert texts.count("+10.6") == texts.count("−1.6") == texts.count("+1.2") == 3
    assert legend(figure) == [PAPER, OURS[0]]


# Learning


def test_curves_are_the_mean_over_the_seeds_as_long_as_all_learn(history):
    figure = figures.plot_curves(history, 0.2)
    assert len(figure.axes) == 6
    for axes, column, factor in zip(
        figure.axes[3:], ("train_loss", "devel_loss", "devel_score"), (1, 1, 100), strict=True
    ):
        for name, thick in zip(METHODS, marks(axes), strict=True):
            own = history[(history["source"] == OURS[1]) & (history["configuration"] == name)]
            expected = factor * own[own["epoch"] <= 10].groupby("epoch")[column].mean()
            np.testing.assert_allclose(thick.get_xdata(), expected.index)
            np.testing.assert_allclose(thick.get_ydata(), expected)
        thin = [line for line in axes.get_lines() if line.get_linewidth() == 0.5]
        epochs = sorted(np.isfinite(line.get_ydata()).sum() for line in thin)
        assert epochs == [10] * 4 + [12] * 4
    assert [axes.get_title(loc="left") for axes in figure.axes[::3]] == OURS[:2]
    check_texts(figure)


def test_curves_mark_the_second_phase_and_chance_on_shared_axes(history):
    final = history[history["seed"] == 0].assign(devel_loss=np.nan, devel_score=np.nan)
    axes = figures.plot_curves(pd.concat([history, final]), 0.2).axes
    grey = [[line for line in one.get_lines() if to_hex(line.get_color()) == to_hex("grey")]
            for one in axes]  # fmt: skip
    for lines in grey:
        assert [of.get_xdata()[0] for of in lines if of.get_linestyle() == ":"] == [8.5]
    assert [of.get_ydata()[0] for of in grey[2] if of.get_linestyle() == "--"] == [20]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[2].get_ylim() == axes[5].get_ylim()
    assert axes[0].get_yscale() == "log"
    # The last training, on train and devel, is left out.
    assert max(len(line.get_xdata()) for one in axes for line in one.get_lines()) == 12


# Verdicts


def test_verdict_bars_write_every_count_and_draw_its_share(summary):
    figure = figures.plot_verdicts(summary)
    (axes,) = figure.axes
    written = [text.get_text() for text in axes.texts if text.get_text()]
    assert sorted(written) == sorted(str(n) for n in summary.to_numpy().ravel() if n)
    for i, table in enumerate(summary):
        bars = [container[i] for container in axes.containers]
        widths = [bar.get_width() for bar in bars]
        np.testing.assert_allclose(widths, 100 * summary[table] / summary[table].sum())
        np.testing.assert_allclose([bar.get_x() for bar in bars], np.cumsum([0, *widths[:-1]]))
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["Table 3 (n = 220)", "Table 5 (n = 16)"]
    assert axes.yaxis_inverted()
    assert legend(figure) == list(summary.index)
    assert min(len(figures.FILLS), len(figures.HATCHES)) >= len(published.ORDER)
    assert len({handle.get_hatch() for handle in figure.legends[0].legend_handles}) == 8


def test_sources_configurations_and_verdicts_differ_in_grey(forest, history, summary):
    others = (figures.plot_curves(history, 0.2), 4), (figures.plot_verdicts(summary), 8)
    for figure, series in ((forest, 6), *others):
        handles = figure.legends[0].legend_handles[:series]
        assert len(handles) == series
        assert least_difference(figure, handles) > 10


# Figure 1

FACTS = {
    "name": "ravdess/a & b",
    "backbone": "MobileNetV2",
    "pooling": "mean over time",
    "ms": {"spectrogram": 2.26, "cnn": 6.78, "model": 1234.0},
    "sizes": {"float32": "4.70 MB", "int8": "1.57 MB", "Keras": "4.36 MB"},
    "peak_mb": 105.7,
    "settings": {"sample_rate": 16000, "chunk_length_s": 4.0, "window_ms": 64.0, "hop_ms": 16.0,
                 "feature_layer": "stride4", "units": 128},
    "classes": ["angry", "calm", "sad"],
    "threads": 1,
    "shapes": {"samples": [64000], "mel": [224, 247], "picture": [224, 224, 3],
               "features": [56, 56, 144], "pooled": [8064]},
    "layers": {"backbone": 30, "trained": 0, "backbone_parameters": 21040,
               "head_parameters": 1033096},
    "hardware": "two cores",
}  # fmt: skip


def texts(**changes):
    """Every text of Figure 1."""
    svg = environment().get_template("figure1.svg.j2").render(FACTS | changes)
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(element.itertext()).split()) for element in elements]


def test_figure_1_says_what_was_measured():
    said = texts()
    for text in (
        *("ravdess/a & b", "16 kHz, mono", "64,000 samples, float32", "224 bands × 247 frames"),
        *("224 × 224 × 3", "56 × 56 × 144", "8,064 numbers", "128 units", "3 numbers, float32"),
        *("21,040 parameters", "1,033,096 parameters", "2.26 ms", "4.70 MB", "1 of 3 classes"),
        *("Where the measured time goes (9.04 ms in all)", "Mel spectrogram: 2.26 ms, 25 %"),
    ):
        assert text in said
    whole = " ".join(said)
    assert "MobileNetV2, up to stride4, frozen: no layer trained" in whole
    assert "int8 1.57 MB, Keras 4.36 MB; 1,234 ms from audio to probabilities, 1 thread" in whole
    assert "peak memory 106 MB" in whole
    layers = FACTS["layers"] | {"trained": 9}
    assert "frozen but for the last 9 of 30 layers" in " ".join(texts(layers=layers))


def test_what_was_not_measured_stays_empty():
    said = " ".join(texts(ms={}, peak_mb=None, sizes={}))
    assert "measured time" not in said
    assert " ms" not in said.replace("64 ms windows every 16 ms", "")
    assert "memory" not in said
    assert "None" not in said


# Which figures there are


@pytest.fixture(scope="module")
def drawn(material, elsewhere):
    tables = (material.runs, material.numbers, material.substitutes, material.answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLITE_RESULTS", str(elsewhere / "results"))
        return figures.figures(*tables)


def test_every_figure_of_a_corpus_that_was_run(drawn):
    stems = [figure.stem for figure in drawn]
    assert stems == [
        *("figure2-ravdess", "figure3-ravdess", "curves-ravdess"),
        *("forest", "published", "gains", "verdicts"),
    ]
    assert all(figure.alt and figure.caption for figure in drawn)
    assert "red raises" in drawn[0].figure  # Figure 2 as it was kept with the run


def test_the_best_on_devel_is_drawn_and_not_the_best_on_test(material):
    networks = material.runs[material.runs["configuration"] != "svm"]
    assert figures.best(material.runs)["devel"] == networks["devel"].max()
    assert figures.best(material.runs.iloc[:0]) is None


def test_published_gains_and_scores_are_drawn_of_the_published_table(drawn):
    ours, theirs, gains = (figure.figure for figure in drawn[3:6])
    assert legend(ours)[0] == legend(theirs)[0] == comparisons.PRINTED
    assert "MobileNetV2, tuned" in legend(ours)[1]
    assert legend(theirs)[1:] == ["chance"]
    assert (len(ours.axes), len(theirs.axes)) == (1, len(published.NAMES))
    table = published.table(4).set_index(["dataset", "configuration"])["test"]
    gain = table["mpssc", "cutmix+specaugment"] - table["mpssc", "none"]
    assert f"+{gain:.1f}" in {text.get_text() for axes in gains.axes for text in axes.texts}

"""Recalls, sensitivity and confusions counted by hand, and their figures."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from seaborn.utils import relative_luminance

from dslite.evaluation import confusion, metrics

CLASSES = ("calm", "happy", "sad")
INTERVALS = ["low", "high", "low_speakers", "high_speakers"]


def predictions(rows, classes=CLASSES):
    """Content of ``predictions.csv`` from (file, speaker, true, predicted, its probability)."""
    table = pd.DataFrame(rows, columns=["file", "speaker", "label", "prediction", "sure"])
    for name in classes:
        rest = (1 - table["sure"]) / (len(classes) - 1)
        table[name] = table["sure"].where(table["prediction"] == name, rest)
    return table.drop(columns="sure")


TEST = predictions(
    [
        ("a1", "s1", "calm", "calm", 0.9),
        ("a2", "s1", "calm", "happy", 0.6),
        ("a3", "s2", "calm", "happy", 0.8),
        ("a4", "s2", "calm", "sad", 0.5),
        ("b1", "s1", "happy", "calm", 0.7),
        ("b2", "s2", "happy", "happy", 0.9),
        ("b3", "s3", "happy", "happy", 0.9),
        ("c1", "s1", "sad", "calm", 0.5),
        ("c2", "s1", "sad", "calm", 0.55),
    ]
)


def test_recalls_and_their_intervals_in_the_card_s_order(monkeypatch):
    monkeypatch.setattr(metrics, "FEWEST", 2)
    table = confusion.recall_table(TEST, CLASSES, 30, 3)
    assert list(table) == confusion.RECALLS
    rows = [["calm", 4, 1, 1 / 4], ["happy", 3, 2, 2 / 3], ["sad", 2, 0, 0]]
    assert table[["class", "n", "recognised", "recall"]].values.tolist() == rows
    true, predicted = [0] * 4 + [1] * 3 + [2] * 2, [0, 1, 1, 2, 0, 1, 1, 0, 0]
    by_files, by_speakers = (
        metrics.bootstrap_recalls(true, predicted, 3, groups, draws=30, seed=3)
        for groups in (None, TEST["speaker"])
    )
    np.testing.assert_array_equal(table[["low", "high"]], by_files)
    assert by_speakers[2] is None  # of one speaker
    expected = [*by_speakers[:2], (np.nan, np.nan)]
    np.testing.assert_array_equal(table[["low_speakers", "high_speakers"]], expected)


def test_recalls_and_intervals_that_are_not_defined():
    for speakers in ("", ["s1"] * 8 + [""], "one"):  # unknown, or one
        table = confusion.recall_table(TEST.assign(speaker=speakers), CLASSES)
        assert table[["low_speakers", "high_speakers"]].isna().all(axis=None)
        assert table[["low", "high"]].notna().all(axis=None)
        assert table.dtypes[["recall", *INTERVALS]].eq(float).all()
    # Of a class without files, and of one always right
    rows = predictions([(f"{i}", f"s{i}", "happy", "happy", 0.9) for i in range(5)])
    table = confusion.recall_table(rows, CLASSES).set_index("class")
    assert table["n"].tolist() == [0, 5, 0]
    assert table.loc["happy", ["recall", *INTERVALS]].tolist() == [1.0] * 5
    assert table.loc[["calm", "sad"], ["recall", *INTERVALS]].isna().all(axis=None)


@pytest.mark.parametrize("classes", [("bad", "positive"), ("positive", "bad"), ("well", "ill")])
def test_sensitivity_is_the_recall_of_the_positive_class(classes):
    positive = "positive" if "positive" in classes else classes[1]  # the second, where none is so
    (negative,) = set(classes) - {positive}
    rows = [(f"p{i}", "", positive, negative if i == 0 else positive, 0.9) for i in range(4)]
    rows += [(f"n{i}", "", negative, (negative, positive)[i], 0.9) for i in range(2)]
    table = confusion.recall_table(predictions(rows, classes), classes)
    low, high = 100 * table.set_index("class").loc[positive, ["low", "high"]]
    lines = confusion.detection_lines(table, "test")
    text = f"test: sensitivity 75.0 % ({low:.1f}-{high:.1f}), the recall of {positive}"
    assert lines[0] == text
    assert lines[1].startswith("test: specificity 50.0 % (")
    table = confusion.recall_table(predictions(rows[-1:] * 3, classes), classes)
    assert confusion.detection_lines(table, "devel") == [
        f"devel: sensitivity undefined, the recall of {positive}",
        f"devel: specificity 0.0 % (0.0-0.0), the recall of {negative}",
    ]
    assert confusion.detection_lines(confusion.recall_table(TEST, CLASSES), "test") == []


def test_confusions_and_their_examples():
    rows = [
        # Both two files; of two sad ones these are more than of four calm ones.
        ("sad", "calm", 2, 1.0, "c2", 0.55, "c2; c1"),
        ("calm", "happy", 2, 0.5, "a3", 0.8, "a3; a2"),
        ("happy", "calm", 1, 1 / 3, "b1", 0.7, "b1"),
        ("calm", "sad", 1, 0.25, "a4", 0.5, "a4"),
    ]
    expected = pd.DataFrame(rows, columns=confusion.CONFUSIONS)
    pd.testing.assert_frame_equal(confusion.confusion_table(TEST, CLASSES), expected)


def test_equal_confusions_are_in_the_cards_order_and_equal_examples_by_name(monkeypatch):
    classes = ("zeal", "mirth", "awe")  # not the alphabet's order
    pairs = [(true, other) for true in classes for other in classes if true != other]
    rows = [(f"{i}", "", *pair, 0.5) for pair in reversed(pairs) for i in (4, 2, 3, 1)]
    table = confusion.confusion_table(predictions(rows, classes), classes)
    assert list(zip(table["true"], table["predicted"], strict=True)) == pairs
    assert set(table["examples"]) == {"1; 2; 3"}
    monkeypatch.setattr(confusion, "MOST", 2)
    assert len(confusion.confusion_table(predictions(rows, classes), classes)) == 2


@pytest.mark.parametrize("case", ["right", "blinded", "regression", "no files"])
def test_where_there_is_nothing_to_confuse(case):
    label = {"right": TEST["prediction"], "blinded": "", "regression": "1.5"}
    table = TEST.assign(label=label.get(case, ""))[: 0 if case == "no files" else None]
    classes = () if case == "regression" else CLASSES
    confusions = confusion.confusion_table(table, classes)
    assert (len(confusions), list(confusions)) == (0, confusion.CONFUSIONS)
    recalls = confusion.recall_table(table, classes)
    assert (len(recalls), list(recalls)) == (3 if case == "right" else 0, confusion.RECALLS)


def apart(texts):
    boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: (box.x0, box.y0))
    return not any(one.overlaps(other) for one, other in pairwise(boxes))


def words(texts):
    return [text.get_text() for text in texts]


def test_figures_of_a_run():
    rows = pd.concat([TEST.assign(partition=part) for part in ("devel", "test")])
    true, predicted = (TEST[name].map(CLASSES.index).to_numpy() for name in ("label", "prediction"))
    owner = np.repeat(np.arange(len(TEST)), 2)  # file of each chunk
    outputs = np.eye(3)[predicted[owner]]
    record = metrics.evaluate(true[owner], outputs, owner, None, CLASSES, draws=10)
    recalls = confusion.recall_table(TEST, CLASSES).set_index("class")["recall"]
    assert recalls.to_dict() == record["file"]["recall"]
    scores = {"devel": record, "test": record}
    figures = confusion.figures(scores, rows, CLASSES)
    parts = [(p, level) for p in ("devel", "test") for level in ("file", "chunk")]
    names = [f"confusion_{p}{'_chunks' if level == 'chunk' else ''}" for p, level in parts]
    assert list(figures) == names
    for name, (partition, level) in zip(names, parts, strict=True):
        part, axes = scores[partition][level], figures[name].axes[0]
        text = f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
        assert axes.get_title(loc="left") == text
        cells = [int(cell.get_text().split("\n")[0]) for cell in axes.texts]
        assert cells == np.ravel(part["confusion"]).tolist()
        assert words(axes.yaxis.get_ticklabels()) == list(CLASSES)
    assert list(confusion.figures(scores | {"test": None}, rows, CLASSES)) == names[:2]


@pytest.mark.parametrize(("score", "text"), [(0.5, "rho 0.500"), (None, "rho undefined")])
def test_predicted_over_true_of_a_regression(score, text):
    table = pd.DataFrame({"partition": ["devel", "test", "test"], "label": ["1", "2", "3"]})
    scores = {p: {"file": {"n": n, "score": score}} for p, n in (("devel", 1), ("test", 2))}
    figures = confusion.figures(scores, table.assign(prediction=[4.0, 5.0, 6.0]), ())
    assert list(figures) == ["predicted_devel", "predicted_test"]
    (axes,) = figures["predicted_test"].axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[2, 5], [3, 6]])
    assert axes.get_title(loc="left") == f"test, 2 files: {text}"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("True label", "Predicted label")
    assert axes.get_aspect() == 1
    assert axes.get_lines()[0].get_slope() == 1


@pytest.mark.parametrize("n", [2, 7, 10])
def test_a_matrix_shows_counts_and_shares_of_the_row_apart_and_on_the_page(rng, n):
    matrix = rng.integers(0, 50, (n, n))
    matrix[0, 0] += 12345
    names = [f"low-quality excitement {i}" for i in range(n)]
    title = "devel, 123456 chunks: UAR 100.0 %"
    figure = confusion.plot_confusion_matrix(matrix, names, title)
    figure.draw_without_rendering()
    axes, bar = figure.axes
    cells = np.array([text.split("\n") for text in words(axes.texts)]).reshape(n, n, 2)
    np.testing.assert_array_equal(cells[..., 0].astype(int), matrix)
    shares = np.char.replace(cells[..., 1], " %", "").astype(float)
    np.testing.assert_allclose(shares, 100 * matrix / matrix.sum(axis=1, keepdims=True), atol=0.051)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert axes.yaxis_inverted()  # the first class at the top
    assert words(axes.yaxis.get_ticklabels()) == names
    assert bar.get_ylabel() == "Share of the true class (%)"
    cell = axes.get_window_extent().width / n
    for text, shade in zip(axes.texts, axes.collections[0].get_facecolors(), strict=True):
        assert max(text.get_window_extent().width, text.get_window_extent().height) < cell
        # WCAG 2.2, 1.4.3: contrast of relative luminances, 3 for the least of large print
        dark, light = sorted(map(relative_luminance, (text.get_color(), shade)))
        assert (light + 0.05) / (dark + 0.05) > 3
    assert apart(axes.get_xticklabels())
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes._left_title]
    boxes = [text.get_window_extent() for text in [*texts, axes.xaxis.label, bar.yaxis.label]]
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width <= 7 * figure.dpi
    assert max(box.y1 for box in boxes) <= figure.bbox.height


def test_a_class_without_files_has_no_share():
    axes, _ = confusion.plot_confusion_matrix([[3, 1], [0, 0]], ["a", "b"]).axes
    assert words(axes.texts) == ["3\n75.0 %", "1\n25.0 %", "0\n–", "0\n–"]


def recalls_table(n=3, partition="devel"):
    """Recalls 0.5, 0.6, … of n classes with n = 10, 11, … files."""
    recall = 0.5 + np.arange(n) / 10
    ends = {"low": recall - 0.1, "high": recall + 0.1}
    ends |= {"low_speakers": recall - 0.2, "high_speakers": recall + 0.15}
    table = {"class": [f"class {i}" for i in range(n)], "n": np.arange(n) + 10, "recall": recall}
    return pd.DataFrame(table | ends).assign(partition=partition)


def legend(figure):
    return words(figure.legends[0].get_texts())


def test_recalls_with_both_intervals_and_the_uar():
    figure = confusion.plot_recalls(recalls_table())
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Recall (%)"
    names = [f"class {i} (n = {10 + i})" for i in range(3)]
    assert words(axes.yaxis.get_ticklabels()) == ["devel", *names]
    assert axes.yaxis_inverted()
    marks, uar = axes.get_lines()[:2]
    np.testing.assert_allclose(marks.get_xdata(), [50, 60, 70])
    assert uar.get_xdata() == pytest.approx([60, 60])
    files, speakers = axes.collections
    for lines, first in ((files, [40, 60]), (speakers, [30, 65])):
        ends = [segment[:, 0] for segment in lines.get_segments()]
        np.testing.assert_allclose(ends, np.add.outer([0, 10, 20], first))
    assert speakers.get_linewidth() < files.get_linewidth()
    assert legend(figure) == ["devel", "UAR 60.0 %", "95 % over files", "95 % over speakers"]
    assert words(axes.texts) == ["50.0", "60.0", "70.0"]
    unknown = recalls_table().assign(low_speakers=np.nan, high_speakers=np.nan)
    assert legend(confusion.plot_recalls(unknown)) == ["devel", "UAR 60.0 %", "95 % over files"]
    # Of two partitions, with a class that one of them has no files of
    test = recalls_table(partition="test").assign(n=[5, 0, 7], recall=[0.2, np.nan, 0.4])
    figure = confusion.plot_recalls(pd.concat([recalls_table(), test]))
    (axes,) = figure.axes
    devel, test, uar_devel, uar_test = axes.get_lines()[:4]
    assert devel.get_marker() != test.get_marker()
    assert devel.get_color() == uar_devel.get_color() != test.get_color() == uar_test.get_color()
    assert words(axes.yaxis.get_ticklabels())[4:7] == ["test", "class 0 (n = 5)", "class 1 (n = 0)"]
    assert legend(figure)[:4] == ["devel", "test", "UAR 60.0 %", "UAR 30.0 %"]  # of those there are
    assert words(axes.texts) == ["50.0", "60.0", "70.0", "20.0", "40.0"]


@pytest.mark.parametrize("n", [2, 9])
def test_recalls_of_long_names_stay_apart(n):
    table = recalls_table(n).assign(recall=0.6, n=9999)
    table["class"] = [f"low-quality excitement {i}" for i in range(n)]
    figure = confusion.plot_recalls(pd.concat([table, table.assign(partition="test")]))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert apart(axes.get_yticklabels())
    assert min(text.get_window_extent().x0 for text in axes.get_yticklabels()) >= 0
    assert axes.get_window_extent().width > figure.bbox.width / 2
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert not box.overlaps(axes.get_window_extent())
    assert apart(axes.texts)

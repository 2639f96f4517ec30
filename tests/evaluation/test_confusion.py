"""Recalls, sensitivity and confusions counted by hand, and their figures."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

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


def test_recalls_and_their_intervals_in_the_card_s_order():
    table = confusion.recall_table(TEST, CLASSES)
    assert list(table) == confusion.RECALLS
    rows = [["calm", 4, 1, 1 / 4], ["happy", 3, 2, 2 / 3], ["sad", 2, 0, 0]]
    assert table[["class", "n", "recognised", "recall"]].values.tolist() == rows
    true, predicted = [0] * 4 + [1] * 3 + [2] * 2, [0, 1, 1, 2, 0, 1, 1, 0, 0]
    # Clopper and Pearson's, by hand from the beta distribution, and none of three speakers
    expected = [beta.ppf(0.025, [1, 2], [4, 2]), beta.ppf(0.975, [2, 3], [3, 1])]
    np.testing.assert_allclose(table.loc[:1, ["low", "high"]].to_numpy().T, expected)
    assert table.loc[2, "low"] == 0
    assert table[["low_speakers", "high_speakers"]].isna().all(axis=None)
    many = pd.concat([TEST.assign(speaker=f"s{i}") for i in range(5)], ignore_index=True)
    true, predicted = (many[name].map(CLASSES.index) for name in ("label", "prediction"))
    expected = metrics.speaker_recalls(true, predicted, 3, many["speaker"])
    table = confusion.recall_table(many, CLASSES)
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
    expected = [1.0, 0.025 ** (1 / 5), 1.0, 1.0, 1.0]  # of 5 of 5; of 5 speakers none fails
    assert table.loc["happy", ["recall", *INTERVALS]].tolist() == pytest.approx(expected)
    assert table.loc[["calm", "sad"], ["recall", *INTERVALS]].isna().all(axis=None)


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
    figures = confusion.figures(scores, rows, CLASSES, "demo/squeezenet-none-s0")
    parts = [(p, level) for p in ("devel", "test") for level in ("file", "chunk")]
    names = [f"confusion_{p}{'_chunks' if level == 'chunk' else ''}" for p, level in parts]
    assert list(figures) == names
    for name, (partition, level) in zip(names, parts, strict=True):
        part, axes = scores[partition][level], figures[name].axes[0]
        text = f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
        assert axes.get_title(loc="left") == f"demo/squeezenet-none-s0\n{text}"
        cells = [int(cell.get_text().split("\n")[0]) for cell in axes.texts]
        assert cells == [count for count in np.ravel(part["confusion"]) if count]
        ((right,),) = [axes.child_axes]
        recalls = [text.split("\n") for text in words(right.yaxis.get_ticklabels())]
        assert [float(of[0]) for of in recalls] == pytest.approx([25, 66.7, 0])
        assert recalls[0][1:] == (["1–81"] if level == "file" else [])
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
    figure = confusion.plot_confusion_matrix(matrix, names)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (recalls,) = axes.child_axes
    cells = {}
    for text in axes.texts:
        column, row = map(round, text.get_position())
        cells[row, column] = text.get_text().split("\n")
    shares = 100 * matrix / matrix.sum(axis=1, keepdims=True)
    for place, count in np.ndenumerate(matrix):
        assert (place in cells) == (count > 0)  # none is blank
        if count:
            assert cells[place] == [str(count), f"{shares[place]:.1f} %"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert axes.yaxis_inverted()  # the first class at the top
    assert words(axes.yaxis.get_ticklabels()) == names
    assert recalls.get_ylabel() == "Recall (%), 95 % over files"
    cell = axes.get_window_extent().width / n
    assert all(text.get_window_extent().width < cell for text in axes.texts)
    assert figure.get_figwidth() <= 7


def test_a_class_without_files_has_neither_shares_nor_a_recall():
    (axes,) = confusion.plot_confusion_matrix([[3, 1], [0, 0]], ["a", "b"]).axes
    assert words(axes.texts) == ["3\n75.0 %", "1\n25.0 %"]
    assert words(axes.child_axes[0].yaxis.get_ticklabels()) == ["75.0\n19–99", "–"]

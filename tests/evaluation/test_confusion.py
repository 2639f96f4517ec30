"""Recalls, sensitivity and confusions of small runs counted by hand, and of a real one."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dslite.evaluation import confusion
from dslite.evaluation import metrics as evaluation_metrics
from dslite.settings import Settings
from dslite.training import runs

CLASSES = ("calm", "happy", "sad")
MEASURED = ["recall", "low", "high", "low_speakers", "high_speakers"]


def predictions(rows, classes=CLASSES):
    """Content of ``predictions.csv`` from (file, speaker, true, predicted, its probability)."""
    table = pd.DataFrame(rows, columns=["file", "speaker", "label", "prediction", "sure"])
    table.insert(2, "partition", "test")
    for name in classes:
        rest = (1 - table["sure"]) / (len(classes) - 1)
        table[name] = table["sure"].where(table["prediction"] == name, rest)
    return table.drop(columns="sure")


def a_run(folder, table, classes=CLASSES, task="classification", metrics=None, seed=3):
    """A finished run with given predictions; both partitions are labelled unless told."""
    record = {
        "classes": list(classes),
        "task": task,
        "seed": seed,
        "settings": Settings(bootstrap_draws=30).model_dump(),
    }
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    (folder / "metrics.json").write_text(
        json.dumps({"devel": {}, "test": {}} | (metrics or {})), "utf-8"
    )
    table.to_csv(folder / "predictions.csv", index=False)
    return runs.load(folder)


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


@pytest.fixture
def run(tmp_path):
    return a_run(tmp_path, TEST)


# Recalls


def test_recalls_are_in_the_cards_order(run):
    found = confusion.recalls(run, "test")
    assert list(found) == confusion.RECALLS
    assert found["class"].tolist() == list(CLASSES)
    assert found["n"].tolist() == [4, 3, 2]
    assert found["recognised"].tolist() == [1, 2, 0]
    np.testing.assert_allclose(found["recall"], [1 / 4, 2 / 3, 0])


def test_intervals_of_recalls_are_drawn_as_the_runs_own(run):
    found = confusion.recalls(run, "test")
    true, said = [0] * 4 + [1] * 3 + [2] * 2, [0, 1, 1, 2, 0, 1, 1, 0, 0]
    how = {"draws": 30, "seed": 3}
    by_files = evaluation_metrics.bootstrap_recalls(np.array(true), np.array(said), 3, **how)
    np.testing.assert_array_equal(found[["low", "high"]], by_files)
    by_speakers = evaluation_metrics.bootstrap_recalls(
        np.array(true), np.array(said), 3, TEST["speaker"], **how
    )
    assert by_speakers[2] is None  # of one speaker
    np.testing.assert_array_equal(found[["low_speakers", "high_speakers"]][:2], by_speakers[:2])
    assert found[["low_speakers", "high_speakers"]].iloc[2].isna().all()
    assert (found["low"][:2] < found["recall"][:2]).all()
    assert (found["high"][:2] > found["recall"][:2]).all()


@pytest.mark.parametrize("speakers", ["", ["s1"] * 8 + [""], "one"])
def test_no_interval_over_speakers_that_are_unknown_or_one(tmp_path, speakers):
    found = confusion.recalls(a_run(tmp_path, TEST.assign(speaker=speakers)), "test")
    assert found[["low_speakers", "high_speakers"]].isna().all(axis=None)
    assert found[["low", "high"]].notna().all(axis=None)
    assert found.dtypes[MEASURED].eq(float).all()


def test_recalls_of_a_class_without_files_and_of_one_always_right(tmp_path):
    table = predictions([(f"{i}", f"s{i}", "happy", "happy", 0.9) for i in range(5)])
    found = confusion.recalls(a_run(tmp_path, table), "test").set_index("class")
    assert found["n"].tolist() == [0, 5, 0]
    assert found.loc["happy", MEASURED].tolist() == [1.0] * 5
    assert found.loc[["calm", "sad"], MEASURED].isna().all(axis=None)


def test_recalls_of_a_real_run(small_run):
    for partition in ("devel", "test"):
        file = small_run.metrics[partition]["file"]
        found = confusion.recalls(small_run, partition)
        assert dict(zip(found["class"], found["recall"], strict=True)) == file["recall"]
        assert found["recall"].mean() == pytest.approx(file["score"])
        assert found["n"].tolist() == np.sum(file["confusion"], axis=1).tolist()
        assert found["low_speakers"].notna().all()


# Two classes


def detecting(tmp_path, classes):
    """A run in which 3 of 4 files of "positive" (or "ill") and 1 of 2 others are recognised."""
    ill, well = sorted(classes, key=lambda name: name not in ("positive", "ill"))
    rows = [(f"p{i}", f"s{i}", ill, well if i == 0 else ill, 0.9) for i in range(4)]
    rows += [(f"n{i}", f"s{i}", well, (well, ill)[i], 0.9) for i in range(2)]
    return a_run(tmp_path, predictions(rows, classes), classes)


@pytest.mark.parametrize(
    "classes", [("negative", "positive"), ("positive", "negative"), ("well", "ill")]
)
def test_sensitivity_is_the_recall_of_the_positive_class(tmp_path, classes):
    run = detecting(tmp_path, classes)
    found = confusion.detection(run, "test")
    assert (found["positive"], found["negative"]) in {("positive", "negative"), ("ill", "well")}
    assert (found["sensitivity"], found["specificity"]) == (0.75, 0.5)
    table = confusion.recalls(run, "test").set_index("class")
    positive, negative = (table.loc[found[name]].to_dict() for name in ("positive", "negative"))
    assert found["sensitivity_files"] == (positive["low"], positive["high"])
    assert found["specificity_files"] == (negative["low"], negative["high"])
    assert found["sensitivity_speakers"] == (positive["low_speakers"], positive["high_speakers"])
    assert found["specificity_speakers"] == (negative["low_speakers"], negative["high_speakers"])
    assert json.loads(json.dumps(found, allow_nan=False)).keys() == found.keys()


def test_the_second_class_is_positive_unless_another_is_called_so(tmp_path):
    assert confusion.detection(detecting(tmp_path, ("ill", "well")), "test")["positive"] == "well"


def test_detection_without_positive_files(tmp_path):
    classes = ("negative", "positive")
    table = predictions([("a", "s", "negative", "positive", 0.6)] * 3, classes)
    found = confusion.detection(a_run(tmp_path, table, classes), "test")
    assert found["specificity"] == 0
    assert found["sensitivity"] is found["sensitivity_files"] is None
    assert found["specificity_speakers"] is None


def test_no_detection_among_three_or_four_classes(run, small_run):
    assert confusion.detection(run, "test") is None
    assert confusion.detection(small_run, "test") is None


# Confusions


def test_confusions_and_their_examples(run):
    found = confusion.confusions(run, "test")
    assert list(found) == confusion.CONFUSIONS
    assert found.to_dict("records") == [
        # Both two files; of two sad ones these are more than of four calm ones.
        {
            **{"true": "sad", "predicted": "calm", "files": 2, "share": 1.0},
            **{"file": "c2", "probability": 0.55, "examples": "c2; c1"},
        },
        {
            **{"true": "calm", "predicted": "happy", "files": 2, "share": 0.5},
            **{"file": "a3", "probability": 0.8, "examples": "a3; a2"},
        },
        {
            **{"true": "happy", "predicted": "calm", "files": 1, "share": 1 / 3},
            **{"file": "b1", "probability": 0.7, "examples": "b1"},
        },
        {
            **{"true": "calm", "predicted": "sad", "files": 1, "share": 0.25},
            **{"file": "a4", "probability": 0.5, "examples": "a4"},
        },
    ]
    pd.testing.assert_frame_equal(confusion.confusions(run, "test", most=2), found[:2])


def test_equal_confusions_are_in_the_cards_order_and_equal_examples_by_name(tmp_path):
    classes = ("zeal", "mirth", "awe")  # not the alphabet's order
    pairs = [(true, said) for true in classes for said in classes if true != said]
    rows = [(f"{i}", "", *pair, 0.5) for pair in reversed(pairs) for i in (4, 2, 3, 1)]
    found = confusion.confusions(a_run(tmp_path, predictions(rows, classes), classes), "test")
    assert list(zip(found["true"], found["predicted"], strict=True)) == pairs
    assert set(found["examples"]) == {"1; 2; 3"}
    assert set(found["files"]) == {4}


def test_only_the_asked_partition_counts(tmp_path):
    other = TEST.assign(partition="devel", prediction="sad", sad=0.99)
    run = a_run(tmp_path, pd.concat([TEST, other]))
    assert set(confusion.confusions(run, "devel")["predicted"]) == {"sad"}
    assert confusion.confusions(run, "test")["predicted"].tolist() == [
        "calm",
        "happy",
        "calm",
        "sad",
    ]
    assert confusion.recalls(run, "devel")["recognised"].tolist() == [0, 0, 2]


@given(st.lists(st.tuples(*[st.sampled_from(CLASSES)] * 2, st.integers(34, 99)), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_confusions_are_the_cells_beside_the_diagonal(tmp_path, files):
    rows = [(f"f{i:03d}", "", true, said, p / 100) for i, (true, said, p) in enumerate(files)]
    run = a_run(tmp_path, predictions(rows))
    found = confusion.confusions(run, "test")
    table = run.predictions.set_index("file")
    counts = pd.crosstab(table["label"], table["prediction"])
    wrong = table[table["label"] != table["prediction"]]
    assert found["files"].sum() == len(wrong)
    assert found["files"].is_monotonic_decreasing
    for row in found.itertuples():
        assert row.true != row.predicted
        assert row.files == counts.loc[row.true, row.predicted]
        assert row.share == pytest.approx(row.files / counts.loc[row.true].sum())
        of = wrong[(wrong["label"] == row.true) & (wrong["prediction"] == row.predicted)]
        assert row.probability == of[row.predicted].max() == table.loc[row.file, row.predicted]
        examples = row.examples.split("; ")
        assert examples[0] == row.file
        assert len(set(examples)) == min(3, row.files)
        assert of.loc[examples, row.predicted].is_monotonic_decreasing
        assert of.drop(examples)[row.predicted].max() <= of.loc[examples[-1], row.predicted] or (
            row.files <= 3
        )


def test_confusions_of_a_real_run(small_run):
    for partition in ("devel", "test"):
        matrix = np.array(small_run.metrics[partition]["file"]["confusion"])
        found = confusion.confusions(small_run, partition, most=100)
        assert found["files"].sum() == matrix.sum() - np.trace(matrix) > 0
        place = small_run.classes.index
        for row in found.itertuples():
            assert row.files == matrix[place(row.true), place(row.predicted)]
            assert f"_{row.true}_" in row.file


# Where there is nothing to tell


def test_nothing_confused(tmp_path):
    right = TEST.assign(prediction=TEST["label"])
    found = confusion.confusions(a_run(tmp_path, right), "test")
    assert (len(found), list(found)) == (0, confusion.CONFUSIONS)


@pytest.mark.parametrize("why", ["blinded", "regression"])
def test_blinded_labels_and_numbers_have_no_recalls(tmp_path, why):
    table = TEST.assign(label="" if why == "blinded" else "1.5")
    told = {"metrics": {"test": None}} if why == "blinded" else {"task": "regression"}
    run = a_run(tmp_path, table, **told)
    for found, columns in (
        (confusion.recalls(run, "test"), confusion.RECALLS),
        (confusion.confusions(run, "test"), confusion.CONFUSIONS),
    ):
        assert (len(found), list(found)) == (0, columns)
    assert confusion.detection(run, "test") is None


# Figures


def title(figure):
    return figure.axes[0].get_title(loc="left")


def numbers(figure):
    """Counts in the cells of a confusion matrix, row by row."""
    return [int(text.get_text().split("\n")[0]) for text in figure.axes[0].texts]


def test_figures_of_a_real_run(small_run):
    figures = confusion.figures(small_run)
    parts = [(p, level) for p in ("devel", "test") for level in ("file", "chunk")]
    names = [f"confusion_{p}{'_chunks' if level == 'chunk' else ''}" for p, level in parts]
    assert list(figures) == names
    for name, (partition, level) in zip(names, parts, strict=True):
        part = small_run.metrics[partition][level]
        said = f"{partition}, {part['n']} {level}s: UAR {100 * part['score']:.1f} %"
        assert title(figures[name]) == said
        assert numbers(figures[name]) == np.ravel(part["confusion"]).tolist()
        ticks = [text.get_text() for text in figures[name].axes[0].get_yticklabels()]
        assert ticks == list(small_run.classes)


def test_a_blinded_partition_has_no_figure(tmp_path):
    matrix = [[3, 1, 0], [0, 4, 0], [2, 0, 2]]
    chunks = {"n": 24, "score": 0.75, "confusion": (2 * np.array(matrix)).tolist()}
    part = {"file": {"n": 12, "score": 0.75, "confusion": matrix}, "chunk": chunks}
    figures = confusion.figures(a_run(tmp_path, TEST, metrics={"devel": part, "test": None}))
    assert list(figures) == ["confusion_devel", "confusion_devel_chunks"]
    assert title(figures["confusion_devel"]) == "devel, 12 files: UAR 75.0 %"
    assert title(figures["confusion_devel_chunks"]) == "devel, 24 chunks: UAR 75.0 %"
    assert sum(numbers(figures["confusion_devel"])) == 12
    assert sum(numbers(figures["confusion_devel_chunks"])) == 24


@pytest.mark.parametrize(("score", "said"), [(0.5, "rho 0.500"), (None, "rho undefined")])
def test_predicted_over_true_of_a_regression(tmp_path, score, said):
    table = pd.DataFrame(
        {"file": list("abc"), "speaker": "", "partition": ["devel", "test", "test"]}
    ).assign(label=["1", "2", "3"], prediction=[4.0, 5.0, 6.0])
    metrics = {p: {"file": {"n": n, "score": score}} for p, n in (("devel", 1), ("test", 2))}
    run = a_run(tmp_path, table, (), "regression", metrics)
    figures = confusion.figures(run)
    assert list(figures) == ["predicted_devel", "predicted_test"]
    (axes,) = figures["predicted_test"].axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[2, 5], [3, 6]])
    assert title(figures["predicted_test"]) == f"test, 2 files: {said}"


def test_links_lead_to_what_is_to_be_heard():
    row = {"true": "a<b", "predicted": "sad", "files": 3, "share": 0.25, "file": "x&y.wav"}
    table = pd.DataFrame([row | {"probability": 0.9, "examples": "x&y.wav"}])
    page, target = confusion.with_links(table), confusion.link_target(1, table.iloc[0])
    assert 'href="#confusion-1"' in page
    assert 'id="confusion-1"' in target
    for text in (page, target):
        assert "a&lt;b" in text
        assert "x&amp;y.wav" in text
    assert "25.0 %" in page
    assert "Nothing" in confusion.with_links(table[:0])


def test_sensitivity_in_words(small_run, tmp_path):
    assert confusion.detection_lines(small_run, "test") == []  # four classes
    sensitivity, specificity = confusion.detection_lines(
        detecting(tmp_path, ("negative", "positive")), "test"
    )
    assert sensitivity.startswith("test: sensitivity 75.0 % (")
    assert sensitivity.endswith("recall of positive")
    assert specificity.startswith("test: specificity 50.0 % (")

"""Figures, tables and sounds under their names, and files that hold what they should."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

from dslite.explanation import attributions, faithfulness, methods, report
from dslite.explanation import files as explanation_files
from dslite.explanation.faithfulness import Scrutiny
from dslite.explanation.files import Heard
from dslite.explanation.methods import Explanation
from dslite.explanation.report import Exhibits, Summary
from tests.explanation.explained import SIDE, SMALL, a_run, predictions, waveform

CLASSES = ("calm", "happy")


def heard(rng, name, rule="", explained=("calm",), base=0.25):
    """A file that was taken for the first of the explained classes."""
    values = {of: rng.normal(0, 1e-4, (SIDE, SIDE)) for of in explained}
    return Heard(
        name=name,
        rule=rule,
        true=explained[-1],
        predicted=explained[0],
        probability=0.7,
        waveform=waveform(1.0),
        sample_rate=SMALL.sample_rate,
        picture=rng.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32),
        seconds=1.0,
        explained={of: Explanation(found, base, 0.7) for of, found in values.items()},
    )


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def plain(text):
    """Without the thin spaces and line breaks of a title that was made to fit."""
    return "".join(text.split())


# Of files


@pytest.mark.parametrize(("n", "pages"), [(1, 1), (6, 1), (7, 2), (13, 3)])
def test_six_files_fill_a_page(rng, n, pages):
    found = report.of_files(
        [heard(rng, f"file-{i}.wav", explanation_files.CONFIDENT) for i in range(n)], SMALL
    )
    names = ["shap_confident", *(f"shap_confident_{page}" for page in range(2, pages + 1))]
    assert list(found.figures) == [each for name in names for each in (name, f"{name}_safe")]
    shown = []
    for name in names:
        own, twin = (titles(found.figures[of]) for of in (name, f"{name}_safe"))
        assert own == twin
        shown += [title for title in own if "file-" in plain(title)]
    assert len(shown) == n
    for i, title in enumerate(shown):
        assert f"file-{i}.wav" in plain(title)


def test_a_safe_twin_has_its_own_colours_and_lines(rng):
    found = report.of_files([heard(rng, "a.wav")], SMALL).figures
    assert list(found) == ["shap_files", "shap_files_safe"]
    maps = [found[name].axes[1].get_images()[1].get_cmap() for name in found]
    assert maps[0] != maps[1]
    assert [len(found[name].axes[1].collections) > 0 for name in found] == [False, True]


def test_every_rule_has_a_figure_of_its_own(rng):
    rules = [
        explanation_files.WRONG,
        explanation_files.CONFIDENT,
        explanation_files.MEDIAN,
        *explanation_files.VALUES,
        *explanation_files.UNKNOWN,
    ]
    for rule in rules:
        assert report.NAMES[rule].isidentifier()
    for together in (
        (explanation_files.CONFIDENT, explanation_files.MEDIAN, explanation_files.WRONG),
        explanation_files.VALUES,
    ):
        files = [heard(rng, f"{i}.wav", together[i % 3]) for i in (0, 1, 2, 0)]
        found = report.of_files(files, SMALL)
        names = [report.NAMES[rule] for rule in together]
        assert len(set(names)) == 3
        expected = [f"shap_{name}{safe}" for name in names for safe in ("", "_safe")]
        assert list(found.figures) == expected
        rows = [title for title in titles(found.figures[expected[0]]) if ".wav" in title]
        assert len(rows) == 2


def test_a_row_of_the_table_for_each_class_of_a_file(rng):
    files = [
        heard(rng, "a/x.wav", explanation_files.WRONG, ("calm", "happy")),
        heard(rng, "b/x.wav", base=float("nan")),
    ]
    found = report.of_files(files, SMALL).tables["samples"]
    assert found["file"].tolist() == ["a/x.wav", "a/x.wav", "b/x.wav"]
    assert found["rule"].tolist() == [explanation_files.WRONG] * 2 + [""]
    assert found["true"].tolist() == ["happy", "happy", "calm"]
    assert found["predicted"].tolist() == ["calm"] * 3
    assert found["explained"].tolist() == ["calm", "happy", "calm"]
    assert found["kept"].tolist() == ["01-x-kept.wav", "", "02-x-kept.wav"]
    assert found["removed"].tolist() == ["01-x-removed.wav", "", "02-x-removed.wav"]
    parts = [part for one in files for part in one.explained.values()]
    np.testing.assert_allclose(found["output"], 0.7)
    np.testing.assert_allclose(found["expected"], [0.25, 0.25, np.nan])
    errors = [part.additivity_error for part in parts]
    np.testing.assert_allclose(found["additivity_error"], errors)
    assert np.isnan(errors[2])


# Of methods, a partition, tests and a run


@pytest.mark.parametrize("number", [False, True])
def test_methods_stand_beside_each_other(rng, number):
    each = {name: heard(rng, "a.wav", explained=("calm", "happy")) for name in methods.METHODS}
    if number:  # of a regression, what is predicted is no name
        each = {
            name: Heard(**one.__dict__ | {"predicted": "3.5", "true": ""})
            for name, one in each.items()
        }
    found = report.of_methods(each, SMALL)
    assert list(found.figures) == ["methods", "methods_safe"]
    assert found.tables == {}
    axes = found.figures["methods"].axes
    for name, one, of in zip(each, each.values(), axes[1:], strict=False):
        assert plain(of.get_title(loc="left")).startswith(plain(methods.TITLES[name]))
        np.testing.assert_array_equal(of.get_images()[1].get_array(), one.explained["calm"].values)
    assert "a.wav" in plain(axes[0].get_title(loc="left"))


def summary():
    edges = np.array([0.0, 100, 400])
    values, labels = np.array([[1e-6, 2e-6], [3.45678e-6, 5e-6]]), ["calm", "happy"]
    return Summary(
        attributions.frequency_table(values, labels, CLASSES, edges),
        attributions.time_table(values, labels, CLASSES),
        1e-5,
    )


def scrutiny():
    curve = {name: np.tile(np.linspace(1, 0, 5), (2, 1)) for name in ("occlusion", "random")}
    one = {"occlusion": np.array([0.25, 0.5])}
    return Scrutiny(curve, curve, {}, one, one, {})


def test_a_summary_and_a_scrutiny_under_their_names():
    found = report.of_summary(summary())
    assert list(found.figures) == list(found.tables) == ["frequencies", "times"]
    pd.testing.assert_frame_equal(found.tables["frequencies"], summary().frequencies)
    found = report.of_scrutiny(scrutiny())
    assert list(found.figures) == ["curves"]
    assert list(found.tables) == ["scrutiny", "curves"]
    judged = found.tables["scrutiny"]
    assert judged["method"].tolist() == ["Occlusion", "Random order"]
    assert judged["beats_random"].tolist()[0] == "NO"
    pd.testing.assert_frame_equal(found.tables["curves"], faithfulness.curve_table(scrutiny()))


def measured(table, partition):
    own = table[table["partition"] == partition]
    place = CLASSES.index
    matrix = np.zeros((2, 2), int)
    for row in own.itertuples():
        matrix[place(row.label), place(row.prediction)] += 1
    part = {"n": len(own), "score": 0.5, "confusion": matrix.tolist()}
    return {"metric": "uar", "file": part, "chunk": part}


def test_outcomes_of_a_run_where_its_labels_are_known(tmp_path):
    rows = [
        (f"{partition}{i}.wav", partition, label, score, 1 - score)
        for partition in ("devel", "test")
        for i, (label, score) in enumerate([("calm", 0.9), ("happy", 0.8), ("happy", 0.1)])
    ]
    table = predictions(rows, CLASSES)
    known = {part: measured(table, part) for part in ("devel", "test")}
    found = report.of_confusions(a_run(tmp_path / "both", table, CLASSES, metrics=known))
    parts = ("devel", "test")
    confusion = [f"confusion_{part}{of}" for part in parts for of in ("", "_chunks")]
    assert sorted(found.figures) == sorted([*confusion, "recalls"])
    assert sorted(found.tables) == ["confusions_devel", "confusions_test", "recalls"]
    recalls = found.tables["recalls"]
    assert recalls["partition"].tolist() == ["devel", "devel", "test", "test"]
    np.testing.assert_allclose(recalls["recall"], [1, 0.5, 1, 0.5])
    blinded = a_run(tmp_path / "one", table, CLASSES, metrics=known | {"test": None})
    found = report.of_confusions(blinded)
    assert sorted(found.figures) == ["confusion_devel", "confusion_devel_chunks", "recalls"]
    assert sorted(found.tables) == ["confusions_devel", "recalls"]
    found = report.of_confusions(a_run(tmp_path / "none", table, CLASSES))
    assert (found.figures, found.tables) == ({}, {})


def test_what_is_put_together_keeps_its_names():
    figures = [Figure(), Figure()]
    tables = [pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})]
    one = Exhibits({"a": figures[0]}, {"s": tables[0]})
    found = report.together(one, Exhibits({"b": figures[1]}, {"t": tables[1]}), Exhibits({}, {}))
    assert list(found.figures.items()) == list(zip("ab", figures, strict=True))
    assert [id(of) for of in found.tables.values()] == [id(of) for of in tables]


def test_what_a_command_says(rng):
    one = heard(rng, "a.wav")
    files = report.of_files([one, heard(rng, "b.wav", base=float("nan"))], SMALL)
    error = one.explained["calm"].additivity_error
    said = report.told(report.together(files, report.of_scrutiny(scrutiny())))
    assert said[0] == f"largest additivity error of the explained files: {error:.1e}"
    assert "beats_random" in said[1]
    assert said[2].split()[0] == "Occlusion"
    assert "NO" in said[2]
    assert "nan" not in "".join(said).lower()
    nothing = report.of_files([heard(rng, "b.wav", base=float("nan"))], SMALL)
    assert report.told(nothing) == []


# On disk


def test_every_figure_and_table_is_written(rng, tmp_path):
    made = report.together(
        report.of_files([heard(rng, "a.wav", explanation_files.WRONG, ("calm", "happy"))], SMALL),
        report.of_summary(summary()),
    )
    report.save(made, tmp_path)
    figures = ["shap_wrong", "shap_wrong_safe", "frequencies", "times"]
    tables = ["samples", "frequencies", "times"]
    expected = [f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")]
    expected += [f"{name}.csv" for name in tables]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(expected)
    for name in figures:
        with Image.open(tmp_path / f"{name}.png") as picture:
            picture.load()
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert picture.width == round(300 * made.figures[name].get_figwidth())
        assert "<svg" in (tmp_path / f"{name}.svg").read_text("utf-8")[:1000]


def test_a_table_keeps_the_digits_of_small_values(tmp_path):
    report.save(report.of_summary(summary()), tmp_path)
    for name in ("frequencies", "times"):
        written = pd.read_csv(tmp_path / f"{name}.csv")
        made = getattr(summary(), name)
        assert list(written) == list(made)
        np.testing.assert_allclose(written["mean_abs"], made["mean_abs"], rtol=1e-5)
        assert written["mean_abs"].max() < 1e-5


def test_both_sounds_of_every_file_sum_to_its_clip(rng, tmp_path):
    files = [heard(rng, "a/x.wav", explained=("calm", "happy")), heard(rng, "b/x.flac")]
    report.save_sounds(files, SMALL, tmp_path / "sounds")
    table = report.table(files)
    named = sorted(name for name in [*table["kept"], *table["removed"]] if name)
    assert sorted(file.name for file in (tmp_path / "sounds").iterdir()) == named
    assert len(named) == 4
    for one, row in zip(files, table[table["kept"] != ""].itertuples(), strict=True):
        parts = [soundfile.read(tmp_path / "sounds" / name) for name in (row.kept, row.removed)]
        assert {rate for _, rate in parts} == {SMALL.sample_rate}
        assert all(np.abs(sound).max() > 0.01 for sound, _ in parts)
        np.testing.assert_allclose(parts[0][0] + parts[1][0], one.waveform, atol=2 / 32768)

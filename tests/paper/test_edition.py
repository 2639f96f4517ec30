"""The whole of results/paper: from nothing, from made-up runs, and as it is committed."""

import json
import re
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from dslite import paths
from dslite.paper import comparisons, figures, published, report, verdicts
from tests.finished_runs import write_run

RECORDS = paths.ROOT / "results" / "records"
COMMITTED = paths.ROOT / "results" / "paper"
AUGMENTATIONS = ("none", "cutmix", "specaugment", "cutmix+specaugment")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Results and corpora that hold nothing, until a test puts something there."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("edition")
        patch.setenv("DSLITE_RESULTS", str(folder / "results"))
        patch.setenv("DSLITE_DATA", str(folder / "raw"))
        yield folder / "results"


@pytest.fixture(scope="module")
def nothing(elsewhere):
    return report.gather()


@pytest.fixture(scope="module")
def material(nothing, elsewhere):
    """MobileNetV2 with all augmentations, two seeds of one of them, and its baseline."""
    where = {"backbone": "mobilenet_v2", "preset": "tuned", "weights": "imagenet"}
    for i, augmentation in enumerate(AUGMENTATIONS):
        write_run(elsewhere, configuration=augmentation, test=0.7 + 0.05 * i, **where)
    write_run(elsewhere, configuration="none", test=0.72, seed=1, **where)
    write_run(elsewhere, configuration="svm", test=0.4, **where)
    for place in (elsewhere / "ravdess").glob("*none-s0-*"):
        table = {"epoch": [1, 2], "phase": [1, 2], "train_loss": [2.0, 1.0]}
        table |= {"devel_loss": [2.1, 1.4], "devel_score": [0.3, 0.8]}
        pd.DataFrame(table).to_csv(place / "history.csv", index=False)
        (place / "explanation").mkdir()
        drawn = '<svg xmlns="http://www.w3.org/2000/svg"><text>red raises</text></svg>'
        (place / "explanation" / "shap_confident.svg").write_text(drawn, encoding="utf-8")
    return report.gather()


def test_without_any_run_every_number_still_has_a_verdict(nothing):
    assert set(nothing.numbers["key"]) == set(published.numbers()["key"])
    assert nothing.numbers["verdict"].isin(verdicts.ORDER).all()
    unrun = nothing.numbers.query("table == 4 and dataset == 'ravdess' and column == 'test'")
    # RAVDESS can be had by everybody: nothing but nobody's running it stands in the way.
    assert set(unrun["verdict"]) <= {verdicts.NOT_RUN, verdicts.ITSELF}
    assert report.facts_of(nothing.runs) == {"Runs": "none"}
    stems = {one.stem for one in _drawn(nothing)}
    assert {"published", "gains", "verdicts"} <= stems
    assert not any("ravdess" in stem for stem in stems)


def test_with_runs_of_another_network_no_number_is_reproduced_by_them(material):
    scores = material.numbers.query("table == 4 and dataset == 'ravdess'")
    scores = scores[scores["column"].isin(["devel", "test"])]
    assert set(scores["verdict"]) == {verdicts.WEIGHTS, verdicts.ITSELF}
    assert set(material.substitutes["label"]) == {"MobileNetV2, tuned"}
    assert not set(material.substitutes["agreement"]) & set(verdicts.ORDER) - {verdicts.OVERLAPPING}


def test_the_headlines_say_what_the_tables_say(material):
    said = report.headlines(material)
    judged = material.numbers[material.numbers["table"].isin([3, 4, 5])]
    assert said[0].startswith(f"Of the {len(judged)} numbers in Tables 3 to 5: ")
    counts = [
        int(number)
        for number in re.findall(r"(\d+) [a-z]", said[0].partition(": ")[2].partition(". ")[0])
    ]
    assert sum(counts) == len(judged)
    assert "MobileNetV2, tuned learns: test UAR 71.2 to 85.0 % (chance 16.7 %)." in said
    failed = (~material.findings["holds"].astype(bool)).sum()
    assert any(f"contradicts itself in {failed} places" in line for line in said)


def test_everything_is_written_and_the_page_last(material, tmp_path):
    page = report.write_results(material, tmp_path / "paper")
    made = {file.relative_to(tmp_path / "paper").as_posix() for file in page.parent.rglob("*.*")}
    for n in range(1, 6):
        assert {f"table{n}.csv", f"table{n}.md", f"table{n}.tex"} <= made
    drawn = [one for one in _drawn(material) if not isinstance(one.figure, str)]
    assert len(drawn) >= 6
    for one in drawn:
        assert {f"figures/{one.stem}.{kind}" for kind in ("svg", "png", "pdf")} <= made
    newest = max(page.parent.rglob("*.*"), key=lambda file: file.stat().st_mtime_ns)
    assert newest == page
    text = page.read_text("utf-8")
    assert "red raises" in text  # Figure 2 as it was kept
    assert str(paths.results()) not in text
    found = pd.read_csv(page.with_name("numbers.csv"), keep_default_na=False)
    assert len(found) == len(material.numbers)
    assert str(paths.results()) not in page.with_name("numbers.csv").read_text("utf-8")


def test_a_file_in_the_place_of_the_folder_is_refused(elsewhere, command, tmp_path):
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    status, _, err = command("paper", tmp_path / "taken")
    assert status == 2
    assert "taken: cannot be written to" in err
    assert "Traceback" not in err
    assert (tmp_path / "taken").read_text("utf-8") == "mine"


def test_the_same_runs_give_the_same_files(material, tmp_path):
    first, second = (report.write_results(material, tmp_path / name) for name in ("a", "b"))
    for file in sorted(first.parent.rglob("*.*")):
        again = second.parent / file.relative_to(first.parent)
        assert file.read_bytes() == again.read_bytes(), file.name


def test_the_best_on_devel_is_drawn_and_not_the_best_on_test(material):
    chosen = figures.best(material.runs, "ravdess")
    own = material.runs[~material.runs["configuration"].isin(["svm"])]
    assert chosen["devel"] == own["devel"].max()
    assert figures.best(material.runs, "ccs") is None


def test_what_was_profiled_of_other_corpora_stays_out(material, elsewhere):
    rows = [
        {"part": part, "variant": "float32", "threads": 1, "ms": 1.0, "ms_median": 1.0}
        | {"ms_p95": 1.0, "ms_std": 0.0, "runs": 3, "size_bytes": 1000, "growth_mb": 1.0}
        for part in ("model", "cnn", "spectrogram")
    ]
    known = {"backbone": "squeezenet", "threads": [1], "random_weights": False, "rows": rows}
    known |= {"hardware": "P", "devel": {"float32": 0.5}, "metric": "uar", "parameters": 1000}
    before = report.tables(material)[5]
    for dataset in ("demo", "ravdess"):
        place = elsewhere / dataset / "squeezenet-none-s9"
        place.mkdir(parents=True)
        profile = known | {"dataset": dataset, "run": place.name, "multiply_adds": 1000}
        (place / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
        after = report.tables(material)[5]
        assert (after == before) == (dataset == "demo")
    assert figures.pareto("ravdess") is not None
    assert figures.pareto("ccs") is None


def test_published_gains_are_differences_of_the_published_table(material):
    figure = figures.gains(material.numbers, material.answers)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    table = published.table(4).set_index(["dataset", "configuration"])["test"]
    gain = table["mpssc", "cutmix+specaugment"] - table["mpssc", "none"]
    assert f"+{gain:.1f}" in texts


def _drawn(material):
    return figures.figures(material.runs, material.numbers, material.substitutes, material.answers)


# As it is committed


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """What `make paper` makes of the committed records, its tables only."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("records")
        (folder / "records").symlink_to(RECORDS)
        patch.setenv("DSLITE_RESULTS", str(folder))
        patch.setenv("DSLITE_DATA", str(folder / "raw"))
        yield report.gather()


@pytest.mark.parametrize("name", report.READMES)
def test_the_readmes_say_what_the_records_say(rebuilt, name):
    text = (paths.ROOT / name).read_text("utf-8")
    made = report.readme_section(rebuilt, name)
    assert comparisons.inserted(text, made) == text, "run make paper"


@pytest.mark.parametrize("name", ["numbers", "substitutes", "answers", "means", "findings"])
def test_the_committed_tables_are_those_of_the_records(rebuilt, name):
    how = {"keep_default_na": False, "na_values": [""]}
    committed = pd.read_csv(COMMITTED / f"{name}.csv", **how)
    made = pd.read_csv(StringIO(getattr(rebuilt, name).to_csv(index=False)), **how)
    pd.testing.assert_frame_equal(committed, made, rtol=1e-9)  # if not: run make paper


def test_the_records_name_no_folder_of_a_machine_and_hold_no_audio():
    found = [file for file in [*RECORDS.rglob("*"), *COMMITTED.rglob("*")] if file.is_file()]
    assert len(found) > 100
    assert {file.suffix for file in found} <= {
        *(".csv", ".json", ".md", ".svg", ".png", ".pdf", ".tex", ".html", ".ipynb"),
    }
    for file in found:
        if file.suffix in {".csv", ".json", ".md", ".html", ".ipynb", ".tex"}:
            text = file.read_text("utf-8")
            assert not re.search(r"/(home|work|tmp|root|Users)/\w", text), Path(file).name
            assert "shared/" not in text, file.name  # a folder beside the project
            assert "data:audio" not in text
            assert "<audio" not in text

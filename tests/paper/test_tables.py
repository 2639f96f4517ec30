"""The five tables: every published number, its verdict, ours where it belongs; in every format."""

import re
import shutil
import subprocess
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dslite.paper import comparisons, published, reproduction, tables
from dslite.paper.tables import MARKS, RAISED, Sheet

RESTRICTED, WEIGHTS = published.RESTRICTED, published.WEIGHTS
COSTS = pd.DataFrame(columns=["label", "quantity", "column", "reproduced", "hardware"])
RUN = {
    **{"dataset": "ravdess", "metric": "uar", "overrides": "", "random_weights": False},
    **{"backbone": "mobilenet_v2", "preset": "tuned", "configuration": "none", "seed": 0},
    **{"run": "a", "devel": 88.0, "test": 70.0, "low": 60.0, "high": 80.0},
    **{"low_speakers": 50.0, "high_speakers": 90.0},
}


@pytest.fixture
def numbers():
    """Every published number, nothing of ours: one verdict a corpus, as at the very beginning."""
    frame = published.numbers()
    frame["verdict"] = frame["dataset"].map({"ravdess": WEIGHTS}).fillna(RESTRICTED)
    frame.loc[frame["table"] == 2, "verdict"] = published.SETTING
    empty = dict.fromkeys(["reproduced", "reproduced_ci_low", "reproduced_ci_high"], np.nan)
    return frame.assign(remark="", runs="", hardware="", **empty)


def predictions(rng, run="a", seed=0, protocol=tables.PARTITION, right=0.7, **more):
    """Predictions of a run on 60 files of three speakers and two classes."""
    labels = np.arange(60) % 2
    guessed = np.where(rng.random(60) < right, labels, 1 - labels)
    shared = {key: RUN[key] for key in ("dataset", "backbone", "preset", "configuration")} | more
    return pd.DataFrame(
        shared
        | {"protocol": protocol, "seed": seed, "run": run, "file": [f"f{i}" for i in range(60)]}
        | {"speaker": [f"s{i % 3}" for i in range(60)]}
        | {"label": np.array(["a", "b"])[labels], "prediction": np.array(["a", "b"])[guessed]}
    )


@pytest.fixture
def scored(rng):
    """Three seeds, a baseline, a run of few epochs, and five folds."""
    tested = [predictions(rng, run, seed) for seed, run in enumerate("abc")]
    runs = [RUN | {"run": run, "seed": i, "test": 70.0 + i} for i, run in enumerate("abc")]
    runs.append(RUN | {"run": "d", "overrides": "fewer epochs (override x)"})
    runs.append(RUN | {"run": "e", "configuration": "librosa", "test": 60.0, "devel": np.nan})
    tested.append(predictions(rng, "k", protocol="5 folds", configuration="cutmix"))
    return tables.scores(pd.DataFrame(runs), pd.concat(tested, ignore_index=True))


def changed(numbers, key, **values):
    numbers = numbers.copy()
    numbers.loc[numbers["key"] == key, list(values)] = list(values.values())
    return numbers


def all_tables(numbers, scores=None, costs=COSTS):
    scores = pd.DataFrame(columns=["dataset"]) if scores is None else scores
    return tables.all_tables(numbers, scores, costs)


def plain(text):
    return "".join(c for c in text if c not in RAISED.values()).replace("**", "")


def published_cells(sheet):
    """Published cells as (row, *column) -> text, letters and stars taken off."""
    frame = sheet.frame.loc[tables.AS_PUBLISHED] if sheet.frame.index.nlevels > 1 else sheet.frame
    return {
        (plain(row), *map(plain, np.atleast_1d(column))): plain(frame.loc[row, column]).rstrip("*")
        for row in frame.index
        for column in frame.columns
    }


def test_every_number_of_tables_3_and_4_stands_where_the_paper_has_it(numbers):
    for n in (3, 4):
        cells = published_cells(all_tables(numbers)[str(n)])
        for row in published.table(n).itertuples():
            name, corpus = tables.PAPER_ROWS[row.configuration], published.NAMES[row.dataset]
            assert cells[name, corpus, "Dev"] == f"{row.devel:.1f}"
            assert cells[name, corpus, "Test"] == f"{row.test:.1f}"
            assert cells[name, corpus, "CI on test"] == f"{row.ci_low:.1f}–{row.ci_high:.1f}"
        assert len(cells) == 3 * len(published.table(n))


def test_every_number_of_tables_1_2_and_5_stands_where_the_paper_has_it(numbers):
    sheets = all_tables(numbers)
    cells, columns = published_cells(sheets["1"]), tables.words("tables")["1"]["columns"]
    for row in published.table(1).to_dict("records"):
        name = f"{published.NAMES[row['dataset']]}: {row['name']}"
        for column, title in columns.items():
            text = cells[name, title]
            decimals = reproduction.COUNT_DECIMALS[column]
            assert text == (f"{row[column]:.{decimals}f}" if decimals else f"{row[column]:,.0f}")
    cells = published_cells(sheets["2"])
    printed, rows = published.table(2).dropna(subset="value"), tables.words("tables")["2"]["rows"]
    for row in printed.itertuples():
        text = cells[rows[row.hyperparameter], published.NAMES[row.dataset]]
        assert float(text) == row.value
    cells, rows = published_cells(sheets["5"]), tables.words("tables")["5"]["rows"]
    for row in published.table(5).to_dict("records"):
        for stage, title in tables.STAGES.items():
            text = cells[(rows[row["quantity"]], *title)]
            assert text == "" if pd.isna(row[stage]) else float(text) == row[stage]


def test_the_best_published_test_result_of_each_corpus_is_bold(numbers):
    for n in (3, 4):
        frame = all_tables(numbers)[str(n)].frame
        best = published.table(n).groupby("dataset")["test"].max()
        cells = [(plain(name[0]), text) for name in frame for text in frame[name]]
        bold = {(name, plain(text)) for name, text in cells if "**" in text}
        assert bold == {(published.NAMES[d], f"{value:.1f}") for d, value in best.items()}
        assert sum("**" in text for text in frame.to_numpy().ravel()) == len(best)


def test_a_verdict_that_a_corpus_shares_stands_at_its_name_and_others_at_their_number(numbers):
    numbers = changed(numbers, "4/ravdess/none/ci_low", verdict=published.ITSELF)
    numbers = changed(numbers, "4/demos/none/test", verdict=published.COMPATIBLE)
    sheet = all_tables(numbers)["4"]
    assert {name for name, _ in sheet.frame} == {"MPSSCᵈ", "SLEEPᵈ", "RAVDESSʷ", "DEMoSᵈ"}
    marked = {text for text in sheet.frame.to_numpy().ravel() if text[-1] in RAISED.values()}
    assert marked == {"72.7–84.5ⁱ", "58.5ᶜ"}
    legend = next(note for note in sheet.notes if note.startswith("Verdicts"))
    assert f"ᶜ compatible; ⁱ {published.ITSELF}; ʷ {WEIGHTS}; ᵈ {RESTRICTED}." in legend
    assert sheet.notes[-1] == tables.words("tables")["4"]["rule"]
    letters = [mark for mark in MARKS.values() if mark]
    assert len(set(letters)) == len(letters)


def test_chance_is_noted_with_ours_where_it_differs(numbers):
    key = "4/ravdess/chance"
    numbers = changed(numbers, key, verdict=published.ITSELF, reproduced=100 / 6)
    numbers = changed(numbers, "4/sleep/chance", reproduced=50.0)
    (note,) = (n for n in all_tables(numbers)["4"].notes if n.startswith("Chance"))
    ours = "RAVDESS 20.0ⁱ (16.7 by the classes of Table 1)"
    assert f"MPSSC 25.0, SLEEP 50.0, {ours}, DEMoS 14.3." in note


def test_scores_are_means_over_seeds_with_intervals_over_files_and_speakers(scored):
    scored = scored.set_index(["protocol", "network", "configuration"])
    assert len(scored) == 3  # the run with fewer epochs is none of them
    seeds = scored.loc[tables.PARTITION, "MobileNetV2, tuned", "none"]
    assert seeds[["seeds", "files", "speakers", "devel", "test", "deviation"]].tolist() == [
        *(3, 60, 3, 88.0, 71.0, 1.0)
    ]
    assert seeds["of_seeds"] == [70.0, 71.0, 72.0]
    assert np.isnan(seeds["low_speakers"])  # of three
    assert (len(seeds["of_speakers"]), 60 < np.mean(seeds["of_speakers"]) < 80) == (3, True)
    assert seeds["low"] < seeds["high"] < 80.0
    private = scored.loc[tables.PARTITION, "", "librosa"]  # no predictions: as the run says
    assert private[["low", "high", "high_speakers", "files"]].tolist() == [60.0, 80.0, 90.0, 0]
    assert 50 < scored.loc["5 folds", "MobileNetV2, tuned", "cutmix"]["test"] < 100


def test_the_short_table_of_scores_has_a_column_a_network_and_the_papers(scored):
    svm = scored[scored["configuration"] == "none"].assign(configuration="svm", deviation=np.nan)
    acoustic = {"configuration": "librosa", "backbone": "", "preset": "", "test": 83.2}
    folds = scored[scored["protocol"] == "5 folds"].assign(**acoustic)
    means = pd.concat([scored, svm, folds])
    printed = published.table(4).query("dataset == 'ravdess'")
    table = tables.scores_table(means, printed).set_index("test UAR in %")
    network, folds = "MobileNetV2, tuned", "MobileNetV2, tuned, 5 folds"
    assert list(table) == [tables.PRINTED, network, folds]
    assert table[network].tolist()[:3] == ["71.0", "60.0", "71.0 ± 1.0"]
    assert table.loc["librosa statistics + RBF-SVM", folds] == "83.2"
    assert table[tables.PRINTED].tolist() == ["–", "–", "76.6", "78.6", "81.3", "75.0"]


def test_runs_of_the_same_name_are_scored_on_the_files_of_their_corpus(rng):
    runs, tested = [], []
    for dataset, right in (("demos", 1), ("ravdess", 0)):
        tested.append(predictions(rng, right=right, dataset=dataset))
        tested.append(predictions(rng, "k", 0, "5 folds", right, dataset=dataset))
        runs.append(RUN | {"dataset": dataset, "test": 100 * right})
    # All of one class wrong, of the other none: half, however many files
    half = predictions(rng, "half", 1, "5 folds", right=1, dataset="demos")
    tested = pd.concat([*tested, half.assign(prediction="a")], ignore_index=True)
    tested = tested[(tested["label"] == "a") | (tested["file"].str.len() < 3)]
    scored = tables.scores(pd.DataFrame(runs), tested)
    of = scored.set_index(["dataset", "protocol"])
    assert of.loc["demos", tables.PARTITION][["low", "test", "high"]].tolist() == [100] * 3
    assert of.loc["ravdess", tables.PARTITION][["low", "test", "high"]].tolist() == [0] * 3
    assert of.loc["demos", "5 folds"]["of_seeds"] == [100, 50]
    assert of.loc["ravdess", "5 folds"]["test"] == 0


def test_blinded_and_private_runs_have_the_scores_that_are_known(numbers):
    blinded = RUN | dict.fromkeys(["test", *tables.BOUNDS], np.nan)
    nothing = pd.DataFrame(columns=comparisons.COLUMNS)
    scored = tables.scores(pd.DataFrame([blinded, RUN | {"configuration": "cutmix"}]), nothing)
    sheet = all_tables(numbers, scored)["4b"]
    assert sheet.frame.to_numpy().tolist() == [
        ["88.0", "–", "–", "–"],
        ["88.0", "**70.0**", "60.0–80.0", "50.0–90.0"],
    ]
    assert not any("files of" in note for note in sheet.notes)


def test_what_was_run_here_is_a_table_of_its_own(numbers, scored):
    sheets = all_tables(numbers, scored)
    assert list(sheets) == ["1", "2", "3", "4", "4b", "5"]
    sheet = sheets["4b"]
    assert sheet.title == "What was run here on RAVDESS"
    groups = [group for group, _ in sheet.frame.index]
    network = "test partition: MobileNetV2"
    assert groups == [network, "test partition: no network", "5 folds: MobileNetV2"]
    assert sheet.frame.loc[network].iloc[0, :2].tolist() == ["88.0 ± 0.0", "**71.0 ± 1.0**"]
    assert sheet.frame["tuned", "Dev"].tolist()[1:] == ["–", "–"]
    notes = " ".join(sheet.notes)
    assert "60 files of 3 speakers: no interval over so few" in notes
    assert "A score with ± is the mean of 3 seeds" in notes
    assert list(sheet.frame["tuned"]) == ["Dev", "Test", "CI over files", "CI over speakers"]
    # Recipes stand side by side, the paper's first; what has none stands in every column.
    same = scored[scored["preset"] == "tuned"]
    others = [same.assign(preset=p, network=f"MobileNetV2, {p}") for p in ("repaired", "paper")]
    frame = all_tables(numbers, pd.concat([scored, *others]))["4b"].frame
    assert list(dict.fromkeys(recipe for recipe, _ in frame)) == ["paper", "repaired", "tuned"]
    acoustic = frame.loc["test partition: no network"].iloc[0]
    assert [acoustic[recipe, "CI over files"] for recipe in ("paper", "tuned")] == ["60.0–80.0"] * 2
    assert "–" not in set(frame["repaired", "Test"].dropna())
    assert list(all_tables(numbers)) == ["1", "2", "3", "4", "5"]


def test_table1_shows_what_was_counted_below_what_is_published(numbers):
    assert set(tables.table1(numbers).frame.index.get_level_values(0)) == {"as published"}
    for column, ours in {"files": 1012, "minutes": 78.44}.items():
        key = f"1/ravdess/{column}"
        numbers = changed(numbers, key, reproduced=ours, verdict=published.EQUAL)
    frame = tables.table1(numbers).frame
    assert frame.loc["counted here"].loc["RAVDESS"].tolist() == ["1,012", *"––", "78.4", *"––"]
    assert frame.loc["as published", "RAVDESSʷ: Emotional song"].iloc[0] == "1,012ᵉ"


def test_what_is_assumed_is_marked(numbers):
    frame = tables.table2(numbers).frame
    transcribed = published.table(2)
    starred = {(r, c) for r in frame.index for c in frame if frame.loc[r, c].endswith("*")}
    assumed = transcribed[transcribed["status"] == "assumed"]
    names = assumed["dataset"].map(published.NAMES)
    labels = assumed["hyperparameter"].map(tables.words("tables")["2"]["rows"])
    assert starred == set(zip(labels, names, strict=True))
    assert (frame == "–*").sum().sum() == assumed["value"].isna().sum()
    texts = tables.table5(numbers, COSTS).frame.to_numpy().ravel()
    assert sum("*" in text for text in texts) == len(published.READ_INTO)


def test_table5_has_a_group_for_each_measured_network(numbers):
    place = "a processor, 2 threads"
    numbers = changed(numbers, "5/mean_time/tf_model", reproduced=312.44, hardware=place)
    numbers["remark"] = np.where(numbers["table"] == 5, "random weights", "")
    rows = [("mean_time", "tflite_cpu", 21.25), ("model_size", "preprocessing", 0.0421)]
    costs = pd.DataFrame(rows, columns=["quantity", "column", "reproduced"])
    sheet = tables.table5(numbers, costs.assign(label="MobileNetV2", hardware=place))
    ours = sheet.frame.drop("as published")
    assert ours.reset_index().to_numpy().tolist() == [
        ["ours: DenseNet121, random weights", "Mean time [ms]", "", "312.4", "", ""],
        ["ours: MobileNetV2", "Mean time [ms]", "", "", "21.2", ""],
        ["ours: MobileNetV2", "Model size [MB]", "0.042", "", "", ""],
    ]
    assert f"Ours: {place} (DenseNet121, random weights; MobileNetV2)." in sheet.notes


# Formats

TEXT = r"""50 % & #1_a ~^\ {b} $2 <c> |d| [e]"""
SHEET = Sheet(
    name="7",
    title="Of seven & more",
    caption="Values in %.",
    frame=pd.DataFrame(
        [["1.0", "2.0ʳ", "3"], ["1.1", "**2.1**", ""], ["4.0 ± 1", "–", "5"]],
        index=pd.MultiIndex.from_tuples(
            [("published", "*first"), ("published", "[2]"), ("a_b", TEXT)]
        ),
        columns=pd.MultiIndex.from_tuples(
            [("CCS", "Dev"), ("CCS", "Test"), ("#", "n")], names=["", "[UAR %]"]
        ),
    ),
    notes=("ʳ reproduced", "A second | note."),
)


def test_markdown():
    lines = tables.to_markdown(SHEET).splitlines()
    assert lines[0] == r"**Table 7. Of seven \& more.** Values in %."
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:7]]
    assert cells[0] == ["group", "[UAR %]", "CCS Dev", "CCS Test", r"\# n"]
    assert cells[2:] == [
        ["published", r"\*first", "1.0", "2.0ʳ", "3"],
        ["", "[2]", "1.1", "**2.1**", ""],
        [r"a\_b", r"50 % \& \#1\_a \~^\\ {b} \$2 \<c\> \|d\| [e]", "4.0 ± 1", "–", "5"],
    ]
    assert lines[8:] == ["- ʳ reproduced", r"- A second \| note."]


def test_latex():
    text = tables.to_latex(SHEET)
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    assert [line.strip() for line in body.splitlines()][1:] == [
        r"&  & \multicolumn{2}{c}{CCS} & \# \\",
        r"& {[}UAR \%{]} & Dev & Test & n \\",
        r"\midrule",
        r"published & {*}first & 1.0 & 2.0\textsuperscript{r} & 3 \\",
        r"& {[}2{]} & 1.1 & \textbf{2.1} &  \\",
        r"\midrule",
        r"a\_b & 50 \% \& \#1\_a \textasciitilde{}\textasciicircum{}\textbackslash{} \{b\} \$2 "
        r"\textless{}c\textgreater{} \textbar{}d\textbar{} {[}e{]} & 4.0 $\pm$ 1 & -- & 5 \\",
    ]
    assert r"\label{tab:dslite-7}" in text
    assert r"\textsuperscript{r} reproduced\par" in text
    assert text.count("{") == text.count("}")


def test_latex_of_the_tables_knows_every_character(numbers, scored):
    for text in map(tables.to_latex, all_tables(numbers, scored).values()):
        assert text.replace("β", "").isascii()
        assert text.count("{") == text.count("}")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX on this machine")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_every_table_fits_its_page(numbers, scored, tmp_path, columns):
    sheets = [*all_tables(numbers, scored).values(), SHEET]
    for i, text in enumerate(map(tables.to_latex, sheets)):
        head = rf"\documentclass[{columns}]{{article}}\usepackage[T1]{{fontenc}}"
        head += r"\usepackage{booktabs,graphicx}"
        (tmp_path / f"{i}.tex").write_text(
            rf"{head}\begin{{document}}{text}\end{{document}}", "utf-8"
        )
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", f"{i}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        assert not re.search("Overfull|too large", done.stdout), done.stdout[-2000:]


def test_html_is_escaped_and_has_its_texts_outside_of_what_scrolls():
    text = tables.to_html(SHEET)
    table = re.search("<table.*?</table>", text, re.DOTALL)[0].replace("&nbsp;", "")
    table = ElementTree.fromstring(table)
    assert len(list(table.iter("tr"))) == 2 + 3
    spans = {"".join(c.itertext()): (c.get("colspan"), c.get("rowspan")) for c in table.iter("th")}
    assert spans["CCS"] == ("2", None)
    assert spans["published"] == (None, "2")
    assert TEXT in spans
    assert "<strong>2.1</strong>" in text
    assert "<li>A second | note.</li>" in text.partition("</table>")[2]
    assert "Values in %." in text.partition("<table")[0]
    assert 'aria-label="Table 7"' in text


def test_csv_has_no_column_of_groups_where_there_are_none(numbers):
    frame = pd.read_csv(StringIO(tables.to_csv(SHEET)), keep_default_na=False)
    assert frame["group"].tolist() == ["published"] * 2 + ["a_b"]
    assert frame["[UAR %]"].tolist() == ["*first", "[2]", TEXT]
    assert frame["CCS Test"].tolist() == ["2.0ʳ", "2.1", "–"]
    assert tables.to_csv(tables.table2(numbers)).startswith("Hyperparameter,CCS,")

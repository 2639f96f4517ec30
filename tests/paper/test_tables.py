"""The five tables: every published number, its verdict, ours where it belongs; in every format."""

import re
import shutil
import subprocess
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dslite import cards
from dslite.paper import published, reproduction, tables
from dslite.paper.tables import LOWERED, RAISED, Sheet
from dslite.training.runs import LABELS

RESTRICTED, WEIGHTS = published.RESTRICTED, published.WEIGHTS


@pytest.fixture
def numbers():
    """Every published number, nothing of ours: one verdict a corpus, as at the very beginning."""
    frame = published.numbers()
    frame["verdict"] = frame["dataset"].map({"ravdess": WEIGHTS}).fillna(RESTRICTED)
    frame.loc[frame["table"] == 2, "verdict"] = published.SETTING
    empty = dict.fromkeys(["remark", "runs", "hardware"], "")
    return frame.assign(
        reproduced=np.nan, reproduced_ci_low=np.nan, reproduced_ci_high=np.nan, **empty
    )


NOTHING = pd.DataFrame(
    columns=[
        *("key", "dataset", "configuration", "column", "backbone", "preset", "overrides", "label"),
        *("seeds", "reproduced", "deviation", "reproduced_ci_low", "reproduced_ci_high"),
    ]
)


def substitutes(label, configurations, **changes):
    """Made-up runs on RAVDESS in the columns that a sheet needs."""
    row = {"dataset": "ravdess", "backbone": "mobilenet_v2", "preset": "tuned", "overrides": ""}
    row |= {"label": label, "seeds": 3, "deviation": 1.26}
    row |= {"reproduced_ci_low": 35.04, "reproduced_ci_high": 47.55}
    return pd.DataFrame(
        row
        | {"key": f"4/ravdess/{configuration}/{column}", "configuration": configuration}
        | {"column": column, "reproduced": 41.06 + i}
        | changes
        for i, configuration in enumerate(configurations)
        for column in ("devel", "test")
    )


def changed(numbers, key, **values):
    numbers = numbers.copy()
    numbers.loc[numbers["key"] == key, list(values)] = list(values.values())
    return numbers


def plain(text):
    return "".join(c for c in text if c not in LOWERED)


def letters(text):
    return "".join(LOWERED.get(c, "") for c in text)


def printed(row):
    """A published number as the paper prints it, by the decimals of its table."""
    n, value, column = row["table"], row["value"], row["column"]
    if n == 1:
        decimals = reproduction.COUNT_DECIMALS[column]
        return f"{value:.{decimals}f}" if decimals else f"{value:,.0f}"
    if n == 2:
        return f"{value:.1f}" if column == "chunk_length_s" else f"{value:g}"
    return "0.15" if row["key"] == "5/model_size/preprocessing" else f"{value:.1f}"


def all_tables(numbers, substitutes=NOTHING, costs=NOTHING):
    return tables.all_tables(numbers, substitutes, costs)


def headings(sheet):
    return [heading for heading, _ in sheet.blocks]


def published_rows(sheet):
    return sheet.blocks[0][1]


def cells_of(sheet):
    """Key of a published number -> text of its cell, read off the sheet as a reader would."""
    n, found = sheet.number, {}
    names = {cards.load(d).paper_column: d for d in published.table(1)["dataset"]}
    rows = published_rows(sheet)
    if n == 1:
        for title, *texts in rows:
            dataset = names[plain(title.partition(":")[0])]
            found |= {f"1/{dataset}/{c}": t for c, t in zip(tables.STATISTICS, texts, strict=True)}
    elif n == 2:
        hyperparameters = {label: key for key, label in tables.HYPERPARAMETERS.items()}
        for label, *texts in rows:
            for name, text in zip(sheet.columns[1:], texts, strict=True):
                found[f"2/{names[plain(name)]}/{hyperparameters[label]}"] = text
    elif n == 5:
        quantities = {label: key for key, label in tables.QUANTITIES.items()}
        for label, *texts in rows:
            keys = [f"5/{quantities[label]}/{column}" for column in tables.STAGES]
            found |= {key: text for key, text in zip(keys, texts, strict=True) if text}
    else:
        configurations = {label: key for key, label in LABELS.items()}
        for label, *texts in rows:
            for column, text in zip(sheet.columns[1:], texts, strict=True):
                name, score = plain(column).split(" ", 1)
                start = f"{n}/{names[name]}/{configurations[label]}"
                if score == "CI on test":
                    low, high = plain(text).split("–")
                    found |= {f"{start}/ci_low": low, f"{start}/ci_high": high}
                else:
                    found[f"{start}/{ {'Dev': 'devel', 'Test': 'test'}[score] }"] = text
    return found


@pytest.mark.parametrize("n", [3, 4])
def test_bold_is_the_best_published_test_result_of_each_corpus(numbers, n):
    ours = substitutes("MobileNetV2, tuned", ["none"], reproduced=99.9)
    sheet = all_tables(numbers, ours)[n]
    best = published.table(n).groupby("dataset", sort=False)["test"].max()
    rows = published_rows(sheet)
    bold = {(sheet.columns[column], rows[row][column]) for row, column in sheet.bold}
    assert {(plain(name), text) for name, text in bold} == {
        (f"{cards.load(dataset).paper_column} Test", f"{value:.1f}")
        for dataset, value in best.items()
    }
    assert len(sheet.bold) == len(best)


# Verdicts


def test_every_verdict_has_a_letter_of_its_own_that_can_be_raised():
    used = [letter for letter in tables.LETTERS.values() if letter]
    assert len(set(used)) == len(used)
    assert set(used) <= set(RAISED)


def test_a_verdict_that_a_corpus_shares_stands_at_its_name(numbers):
    sheet = all_tables(numbers)[4]
    heads = {plain(text): letters(text) for text, _ in sheet.levels[0] if text}
    assert heads == {"MPSSC": "d", "SLEEP": "d", "RAVDESS": "w", "DEMoS": "d"}
    assert not any(letters(text) for row in published_rows(sheet) for text in row)
    legend = next(note for note in sheet.notes if note.startswith("Verdicts"))
    assert f"ʷ {WEIGHTS}; ᵈ {RESTRICTED}." in legend
    assert published.REPRODUCED not in legend
    assert tables.INTERVALS not in sheet.notes
    compared = changed(numbers, "4/ravdess/none/test", verdict=published.OVERLAPPING)
    assert tables.INTERVALS in all_tables(compared)[4].notes
    # Of equally frequent ones the first in order.
    frame = pd.DataFrame({"dataset": "css", "verdict": [published.NOT_RUN, published.ITSELF]})
    assert tables.common_verdicts(frame) == {"css": published.ITSELF}


def test_every_number_stands_in_its_cell_with_its_verdict(numbers, rng):
    """Whatever the verdicts are: a cell's letter, or else its corpus's, is the number's."""
    spoken = [verdict for verdict in published.ORDER if tables.LETTERS[verdict]]
    numbers = numbers.assign(verdict=rng.choice(spoken, len(numbers)))
    for n, sheet in all_tables(numbers).items():
        by_key = numbers[numbers["table"] == n].set_index("key")["verdict"]
        shared = {} if n in (2, 5) else tables.common_verdicts(numbers[numbers["table"] == n])
        cells = cells_of(sheet)
        rows = numbers[(numbers["table"] == n) & (numbers["column"] != "chance")]
        texts = {key: plain(text).rstrip("*") for key, text in cells.items() if text != "–*"}
        assert texts == {row["key"]: printed(row) for row in rows.to_dict("records")}
        for key, text in cells.items():
            if key in by_key and "/ci_" not in key:  # an interval's cell is of two numbers
                said = letters(text) or tables.LETTERS[shared[key.split("/")[1]]]
                assert said == tables.LETTERS[by_key[key]], key


def test_chance_is_noted_with_ours_where_it_differs(numbers):
    key = "4/ravdess/chance"
    numbers = changed(numbers, key, verdict=published.ITSELF, reproduced=100 / 6)
    numbers = changed(numbers, "4/sleep/chance", reproduced=50.0)
    (note,) = (n for n in all_tables(numbers)[4].notes if n.startswith("Chance"))
    ours = "RAVDESS 20.0ⁱ (16.7 by the classes of Table 1)"
    assert f"MPSSC 25.0, SLEEP 50.0, {ours}, DEMoS 14.3." in note


# Ours


def test_without_a_run_the_table_says_so_and_holds_the_published_rows_alone(numbers):
    for n in (3, 4):
        sheet = all_tables(numbers)[n]
        assert headings(sheet) == ["as published"]
        assert tables.NO_REPRODUCTION in sheet.notes
        assert tables.SUBSTITUTES not in sheet.notes
        assert not any("one of our own" in note for note in sheet.notes)


def test_a_substitute_is_a_block_of_its_own_and_no_reproduction(numbers):
    first = substitutes("MobileNetV2, tuned", ["none", "cutmix"])
    second = substitutes("MobileNetV2, paper", ["none"], preset="paper", seeds=1, deviation=np.nan)
    sheet = all_tables(numbers, pd.concat([first, second]))[4]
    assert headings(sheet) == [
        "as published",
        "ours: MobileNetV2, tuned, 3 seeds (other backbone and preset: no reproduction)",
        "ours: MobileNetV2, paper, 1 seed (other backbone: no reproduction)",
    ]
    frame = pd.read_csv(StringIO(tables.to_csv(sheet)), dtype=str)
    assert frame["group"].unique().tolist() == headings(sheet)
    frame = frame.iloc[4:].set_index("[UAR %]").drop(columns="group")
    own = frame[[column for column in frame if column.startswith("RAVDESS")]]
    assert own.reset_index().to_numpy().tolist() == [
        ["no augmentation", "41.1 ± 1.3", "41.1 ± 1.3", "35.0–47.5"],
        ["CutMix", "42.1 ± 1.3", "42.1 ± 1.3", "35.0–47.5"],
        ["no augmentation", "41.1", "41.1", "35.0–47.5"],
    ]
    elsewhere = frame.drop(columns=own.columns)
    assert elsewhere.shape == (3, 9)
    assert (elsewhere == "–").all(axis=None)
    assert tables.SUBSTITUTES in sheet.notes
    # The partition is noted where it was run only.
    assert [n.partition(":")[0] for n in sheet.notes if "one of our own" in n] == ["RAVDESS"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"backbone": "densenet121"}, "other preset"),
        ({"backbone": "densenet121", "preset": "paper", "overrides": "x"}, "other settings"),
        ({"backbone": "densenet121", "preset": "paper"}, "other weights"),
    ],
)
def test_a_heading_says_why_it_is_no_reproduction(numbers, kind, reason):
    rows = substitutes("a run", ["none", "cutmix"], **kind)
    rows.loc[rows["configuration"] == "cutmix", "seeds"] = 1
    sheet = all_tables(numbers, rows)[4]
    assert headings(sheet)[1] == f"ours: a run, 1 to 3 seeds ({reason}: no reproduction)"


def test_the_papers_own_backbone_and_preset_is_headed_as_reproduction(numbers):
    ours = {"reproduced_ci_low": 68.0, "reproduced_ci_high": 82.0, "runs": "ravdess/a;ravdess/b"}
    for column, score in {"devel": 80.04, "test": 75.06}.items():
        numbers = changed(numbers, f"4/ravdess/specaugment/{column}", reproduced=score, **ours)
    sheet = all_tables(numbers)[4]
    assert headings(sheet) == ["as published", f"{tables.REPRODUCTION}, 2 seeds"]
    row = [text for text in sheet.blocks[1][1][0] if text != "–"]
    assert row == ["SpecAugment", "80.0", "75.1", "68.0–82.0"]
    assert tables.NO_REPRODUCTION not in sheet.notes


def test_table1_shows_what_was_counted_below_what_is_published(numbers):
    assert headings(tables.table1(numbers)) == ["as published"]
    for column, ours in {"files": 1012, "minutes": 78.44}.items():
        key = f"1/ravdess/{column}"
        numbers = changed(numbers, key, reproduced=ours, verdict=published.REPRODUCED)
    sheet = tables.table1(numbers)
    assert headings(sheet) == ["as published", "counted here"]
    assert sheet.blocks[1][1] == [["RAVDESS", "1,012", "–", "–", "78.4", "–", "–"]]
    assert published_rows(sheet)[6][:2] == ["RAVDESSʷ: Emotional song", "1,012ʳ"]


def test_table2_marks_what_is_assumed(numbers):
    sheet = tables.table2(numbers)
    starred = {key for key, text in cells_of(sheet).items() if text.endswith("*")}
    transcribed = published.table(2)
    assumed = transcribed[transcribed["status"] == "assumed"]
    keys = "2/" + assumed["dataset"] + "/" + assumed["hyperparameter"]
    assert starred == set(keys)
    empty = keys[assumed["value"].isna()]
    assert {key for key, text in cells_of(sheet).items() if text == "–*"} == set(empty)
    assert not any(note.startswith("Verdicts") for note in sheet.notes)


def test_table5_has_a_block_for_each_measured_run(numbers):
    place = "a processor, 2 thread(s)"
    numbers = changed(numbers, "5/mean_time/tf_model", reproduced=312.44, hardware=place)
    rows = [("mean_time", "tflite_cpu", 21.25), ("model_size", "preprocessing", 0.0421)]
    rows.append(("mean_memory", "tflite_cpu", np.nan))
    costs = pd.DataFrame(rows, columns=["quantity", "column", "reproduced"])
    sheet = tables.table5(numbers, costs.assign(label="MobileNetV2", hardware=place))
    assumed = numbers[(numbers["table"] == 5) & (numbers["status"] == "assumed")]
    assert {key for key, text in cells_of(sheet).items() if "*" in text} == set(assumed["key"])
    assert headings(sheet) == ["as published", "ours: DenseNet121", "ours: MobileNetV2"]
    assert [rows for _, rows in sheet.blocks[1:]] == [
        [["Mean time [ms]", "–", "312.4", "–", "–"]],
        [["Mean time [ms]", "–", "–", "21.2", "–"], ["Model size [MB]", "0.042", "–", "–", "–"]],
    ]
    names = ("DenseNet121", "MobileNetV2")
    assert [note for note in sheet.notes if place in note] == [
        f"Ours, {n}: {place}." for n in names
    ]


# Formats

TEXT = r"""50 % & #1_a ~^\ {b} $2 <c> |d| [e]"""
SHEET = Sheet(
    number=7,
    title="Of seven & more",
    caption="Values in %.",
    head=(("", "[UAR %]"), ("CCS", "Dev"), ("CCS", "Test"), ("#", "n")),
    blocks=(
        ("as published", [["*first", "1.0", "2.0ʳ", "3"], ["[second]", "1.1", "2.1", ""]]),
        ("ours: a_b", [[TEXT, "4.0 ± 1", "–", "5"]]),
    ),
    bold=frozenset({(1, 2)}),
    notes=("ʳ reproduced", "A second | note."),
)


def test_markdown():
    expected = r"""**Table 7. Of seven \& more.** Values in %.

| [UAR %] | CCS Dev | CCS Test | \# n |
| :--- | ---: | ---: | ---: |
| *as published* |  |  |  |
| \*first | 1.0 | 2.0ʳ | 3 |
| [second] | 1.1 | **2.1** |  |
| *ours: a\_b* |  |  |  |
| 50 % \& \#1\_a \~^\\ {b} \$2 \<c\> \|d\| [e] | 4.0 ± 1 | – | 5 |

- ʳ reproduced
- A second \| note.
"""
    assert tables.to_markdown(SHEET) == expected


def test_latex():
    lines = tables.to_latex(SHEET).splitlines()
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule")]
    assert body == [
        r"\toprule",
        r" & \multicolumn{2}{c}{CCS} & \# \\",
        r"\cmidrule(lr){2-3}",
        r"{[}UAR \%{]} & Dev & Test & n \\",
        r"\midrule",
        r"\multicolumn{4}{@{}l@{}}{\emph{as published}} \\",
        r"{*}first & 1.0 & 2.0\textsuperscript{r} & 3 \\",
        r"{[}second{]} & 1.1 & \textbf{2.1} &  \\",
        r"\midrule",
        r"\multicolumn{4}{@{}l@{}}{\emph{ours: a\_b}} \\",
        r"50 \% \& \#1\_a \textasciitilde{}\textasciicircum{}\textbackslash{} \{b\} \$2 "
        r"\textless{}c\textgreater{} \textbar{}d\textbar{} {[}e{]} & 4.0 $\pm$ 1 & -- & 5 \\",
    ]
    assert r"\label{tab:dslite-7}" in lines
    assert r"\textsuperscript{r} reproduced\par" in lines


@pytest.mark.parametrize(
    ("width", "kind", "size"),
    [(5, "{table}", r"\small"), (6, "{table*}", r"\small"), (10, "{table*}", r"\footnotesize")],
)
def test_latex_makes_room_for_a_wide_table(width, kind, size):
    head = tuple((f"c{i}",) for i in range(width))
    text = tables.to_latex(Sheet(1, "T", "C.", head, (("", [["1"] * width]),)))
    assert all(part in text for part in (rf"\begin{kind}", rf"\end{kind}", size))


def test_latex_of_the_tables_knows_every_character(numbers):
    ours = substitutes("MobileNetV2, override units 128 -> 64", ["none"])
    for text in map(tables.to_latex, all_tables(numbers, ours).values()):
        assert text.replace("β", "").isascii()
        assert text.count("{") == text.count("}")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX on this machine")
def test_latex_can_be_compiled(numbers, tmp_path):
    ours = substitutes("MobileNetV2, tuned", ["none", "cutmix"])
    body = "".join(map(tables.to_latex, [*all_tables(numbers, ours).values(), SHEET]))
    head = r"\documentclass[twocolumn]{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
    (tmp_path / "a.tex").write_text(rf"{head}\begin{{document}}{body}\end{{document}}", "utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_html_has_a_header_for_every_cell_and_is_escaped():
    text = tables.to_html(SHEET)
    table = ElementTree.fromstring(re.search("<table.*?</table>", text, re.DOTALL)[0])
    assert len(list(table.iter("tr"))) == 2 + 2 + 3
    heads = list(table.iter("th"))
    assert all("scope" in cell.attrib for cell in heads)
    spans = {"".join(cell.itertext()).strip(): cell.get("colspan") for cell in heads}
    wide = {name: span for name, span in spans.items() if span}
    assert wide == {"CCS": "2", "as published": "4", "ours: a_b": "4"}
    assert TEXT in spans
    assert '<td class="number">2.0<sup>r</sup></td>' in text
    assert text.count("<strong>2.1</strong>") == 1
    assert "<li>A second | note.</li>" in text
    assert 'aria-label="Table 7"' in text


def test_csv_has_no_column_of_groups_where_there_are_none(numbers):
    frame = pd.read_csv(StringIO(tables.to_csv(SHEET)), keep_default_na=False)
    assert frame["group"].tolist() == ["as published"] * 2 + ["ours: a_b"]
    assert frame["[UAR %]"].tolist() == ["*first", "[second]", TEXT]
    assert tables.to_csv(tables.table2(numbers)).startswith("Hyperparameter,CCS,")

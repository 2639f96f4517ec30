"""Sentences and tables on what came out, from made-up tables."""

import numpy as np
import pandas as pd
import pytest

from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.paper import comparisons, published, verdicts

TITLES = {"mobilenet_v2": "MobileNetV2"}


def mean(configuration, test, backbone="mobilenet_v2", preset="tuned", **other):
    row = {"dataset": "ravdess", "protocol": comparisons.PARTITION, "backbone": backbone}
    row |= {"preset": preset, "configuration": configuration, "seeds": 3, "files": 176}
    return row | {"speakers": 4, "test": test, "deviation": 1.26} | other


def answer(**changed):
    row = {"question": comparisons.AUGMENTATION, "protocol": "5 folds", "backbone": "mobilenet_v2"}
    row |= {"preset": "tuned", "configuration": "", "this": "cutmix", "baseline": "none"}
    row |= {"difference": 2.14, "low": 0.2, "high": 4.1, "low_speakers": -1.0}
    row |= {"high_speakers": 5.0, "units": 23, "seeds": 3, "p_holm": 0.0381}
    row |= {"p_mcnemar_holm": 0.0004}
    return row | {"verdict": significance.UNDECIDED} | changed


def test_every_number_of_the_results_tables_is_counted_once():
    numbers = pd.DataFrame(
        {
            "table": [1, 3, 3, 4, 5],
            "verdict": [verdicts.REPRODUCED] * 2 + [verdicts.RESTRICTED] * 2 + [verdicts.HARDWARE],
            "column": ["files", "test", "test", "devel", "tf_model"],
        }
    )
    said = comparisons.counted(numbers)
    assert said == (
        "Of the 4 numbers in Tables 3 to 5: 1 reproduced, 1 not testable on other hardware, "
        "2 not run for want of the corpus."
    )
    guessed = numbers.assign(column="chance")
    assert "Of the reproduced ones 1 are chance levels" in comparisons.counted(guessed)


@pytest.mark.parametrize(
    ("points", "text"), [(1.24, "+1.2"), (-0.36, "−0.4"), (-0.04, "0.0"), (0.0, "0.0")]
)
def test_signs(points, text):
    assert comparisons.signed(points) == text


def test_an_answer_names_both_sides_the_interval_and_the_verdict():
    preset = answer(
        question=comparisons.PRESETS,
        preset="",
        configuration="none",
        this="tuned",
        baseline="paper",
    )
    alone = answer(low_speakers=np.nan, high_speakers=np.nan, seeds=1, baseline="svm")
    rows = comparisons.answered(pd.DataFrame([answer(), alone, preset]), TITLES)
    assert rows.iloc[0].tolist() == [
        *("MobileNetV2, tuned", "5 folds, 3 seeds", "CutMix against none", "+2.1"),
        *("−1.0 to +5.0", "0.038", "0.0004", "not told apart"),
    ]
    assert rows["95 %"][1] == "+0.2 to +4.1"  # over files
    assert rows["on"][1] == "5 folds"
    assert rows["compared"][1] == "CutMix against Deep Spectrum + linear SVM"
    assert rows["network"][2] == "MobileNetV2"
    assert rows["compared"][2] == "no augmentation: tuned against paper"


def test_a_question_is_summed_up_by_its_verdicts():
    rows = [answer(verdict=side) for side in (significance.BETTER, significance.UNDECIDED)]
    said = comparisons.verdict_of(comparisons.AUGMENTATION, pd.DataFrame(rows))
    assert said == "Of 2 tested comparisons 1 better, 1 not told apart."


def test_too_few_speakers_are_said():
    few = answer(units=4, p_holm=0.25)
    told = comparisons.answered(pd.DataFrame([few]), TITLES)["verdict"][0]
    assert told == "not told apart (no p below 0.125 on 4 speakers)"
    said = comparisons.verdict_of(comparisons.AUGMENTATION, pd.DataFrame([few, answer()]))
    assert said == (
        "Of 2 tested comparisons 2 not told apart (1 of them on too few speakers to decide)."
    )
    assert comparisons.decidable(answer(units=4, verdict=significance.BETTER))


def test_the_test_on_most_speakers_decides():
    rows = pd.DataFrame([answer(units=4), answer(), answer(question=comparisons.PRESETS, units=4)])
    assert comparisons.deciding(rows.assign(dataset="ravdess")).index.tolist() == [1, 2]


def test_who_learns():
    rows = [mean("none", 82.0), mean("cutmix", 80.0), mean("none", 21.0, preset="paper")]
    rows += [mean("svm", 75.0), mean("none", 60.0, protocol="5 folds")]
    assert comparisons.learnt(pd.DataFrame(rows), 16.67, TITLES) == [
        "MobileNetV2, tuned learns: test UAR 80.0 to 82.0 % (chance 16.7 %).",
        "MobileNetV2, paper learns next to nothing: test UAR 21.0 % (chance 16.7 %).",
    ]


def test_scores_have_a_column_a_network_and_the_papers():
    rows = [mean("none", 82.6), mean("svm", 75.5, deviation=np.nan, seeds=1)]
    rows += [mean("librosa", 88.5, "", "", deviation=np.nan)]
    rows += [mean("none", 78.6, protocol="5 folds"), mean("librosa", 83.2, "", "")]
    rows[-1] |= {"protocol": "5 folds"}
    own = published.table(4).query("dataset == 'ravdess'")
    table = comparisons.scores(pd.DataFrame(rows), own, TITLES).set_index("test UAR in %")
    assert list(table) == [
        comparisons.PRINTED,
        "MobileNetV2, tuned",
        "MobileNetV2, tuned, 5 folds",
    ]
    assert table["MobileNetV2, tuned"].tolist()[:3] == ["75.5", "88.5", "82.6 ± 1.3"]
    assert table.loc["librosa statistics + RBF-SVM", "MobileNetV2, tuned, 5 folds"] == "83.2 ± 1.3"
    assert table[comparisons.PRINTED].tolist() == ["–", "–", "76.6", "78.6", "81.3", "75.0"]


def test_a_section_goes_between_its_markers_and_nowhere_else():
    made = comparisons.section(
        ["Lead."], {"Scores": pd.DataFrame({"a": [1]}), "Answers": pd.DataFrame({"b": ["two"]})}
    )
    text = f"# Title\n\n{comparisons.BEGIN}\nold\n{comparisons.END}\n\nbelow\n"
    new = comparisons.inserted(text, made)
    assert new.startswith("# Title\n\n<!-- results: begin")
    assert new.endswith(f"| two |\n{comparisons.END}\n\nbelow\n")
    assert "old" not in new
    assert comparisons.inserted(new, made) == new
    for broken in ("# Title", text + comparisons.BEGIN, f"{comparisons.END}{comparisons.BEGIN}"):
        with pytest.raises(InputError, match="expected once"):
            comparisons.inserted(broken, made)


@pytest.mark.parametrize(("seconds", "said"), [(90.0, "1.5 minutes"), (7200.0, "2.0 hours")])
def test_what_it_took(seconds, said):
    found = pd.DataFrame({"seconds": [seconds], "hardware": ["P, 2 cores"]})
    assert comparisons.cost(found) == f"1 runs took {said}, added up, on P, 2 cores."

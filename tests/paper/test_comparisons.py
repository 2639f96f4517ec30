"""Which configuration beats which: questions asked of made-up predictions."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.paper import comparisons, published, verdicts

FILES, SPEAKERS = 120, 12
CLASSES = np.array(["angry", "calm", "sad"])


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))


def predicted(right, seed=0, **where):
    """Predictions of one run of which every file is right with that probability."""
    rng = np.random.default_rng(10_000 * seed + round(100 * right))
    labels = np.arange(FILES) % len(CLASSES)
    wrong = (labels + rng.integers(1, len(CLASSES), FILES)) % len(CLASSES)
    said = np.where(rng.random(FILES) < right, labels, wrong)
    table = pd.DataFrame(
        {
            "file": [f"{i}.wav" for i in range(FILES)],
            "speaker": [f"{i % SPEAKERS:02d}" for i in range(FILES)],
            "label": CLASSES[labels],
            "prediction": CLASSES[said],
        }
    )
    known = {"dataset": "birds", "protocol": comparisons.PARTITION, "backbone": "squeezenet"}
    known |= {"preset": "tuned", "configuration": "none"}
    return table.assign(seed=seed, run=f"run-{right}-{seed}", **known | where)


def write_run(root, name, right, seed=0, augmentation="none", kind="deepspectrumlite", **record):
    folder = root / "birds" / name
    folder.mkdir(parents=True)
    table = predicted(right, seed).assign(partition="test")
    table[["file", "speaker", "partition", "label", "prediction"]].to_csv(
        folder / "predictions.csv", index=False
    )
    part = {"metric": "uar", "chance": 1 / 3, "file": {"score": right, "interval_files": [0, 1]}}
    run = {"dataset": "birds", "kind": kind, "seed": seed, "preset": "tuned", "overrides": {}}
    run |= {"settings": {"backbone": "squeezenet", "augmentation": augmentation}}
    run |= {"weights": {"name": "imagenet", "sha256": None, "random": False}}
    run |= {"date": "2026-01-01T10:00:00Z", "commit": "abc", "seconds": 3.0}
    run |= {"hardware": {"processor": "cpu", "cores": 2}} | record
    known = {"kind": kind, "augmentation": augmentation, "backbone": "squeezenet"}
    known |= {key: run[key] for key in ("dataset", "seed", "preset", "overrides")}
    known |= {"random_weights": run["weights"]["random"], "devel": part, "test": part}
    (folder / "metrics.json").write_text(json.dumps(known), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def one(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_a_network_that_is_far_better_than_its_frozen_features_is_told_so():
    parts = [predicted(0.9, seed) for seed in (0, 1, 2)]
    parts += [predicted(0.5, configuration="svm")]
    table = comparisons.answers(pd.concat(parts, ignore_index=True))
    row = one(table, question=comparisons.FINE_TUNING)
    assert (row["this"], row["baseline"], row["seeds"]) == ("none", "svm", 3)
    assert row["verdict"] == significance.BETTER
    assert row["low"] < row["difference"] < row["high"]
    assert row["units"] == SPEAKERS


def test_equals_are_not_told_apart_and_the_worse_is_worse():
    parts = [predicted(0.8, seed, configuration=c) for seed in (0, 1) for c in ("none", "cutmix")]
    parts += [predicted(0.3, seed, configuration="specaugment") for seed in (0, 1)]
    table = comparisons.answers(pd.concat(parts, ignore_index=True))
    assert set(table["question"]) == {comparisons.AUGMENTATION}
    # The same chances give the same draws here: not a difference that could be told.
    assert one(table, this="cutmix")["verdict"] == significance.UNDECIDED
    assert one(table, this="specaugment")["verdict"] == significance.WORSE
    assert (table["comparisons"] == 2).all()


def test_presets_are_compared_within_a_configuration():
    parts = [predicted(0.3, preset="paper"), predicted(0.8)]
    parts += [predicted(0.8, configuration="cutmix")]  # without a partner
    table = comparisons.answers(pd.concat(parts, ignore_index=True))
    row = one(table, question=comparisons.PRESETS)
    assert (row["this"], row["baseline"]) == ("tuned", "paper")
    assert (row["backbone"], row["configuration"]) == ("squeezenet", "none")
    assert row["verdict"] == significance.BETTER


def test_acoustic_statistics_are_everybodys_baseline():
    parts = [predicted(0.5), predicted(0.5, backbone="mobilenet_v2")]
    parts += [predicted(0.9, configuration="librosa", backbone="", preset="")]
    table = comparisons.answers(pd.concat(parts, ignore_index=True))
    assert set(table["question"]) == {comparisons.ACOUSTICS}
    assert sorted(table["backbone"]) == ["mobilenet_v2", "squeezenet"]
    assert (table["verdict"] == significance.WORSE).all()


def test_protocols_are_not_mixed():
    parts = [predicted(0.9), predicted(0.4, configuration="svm", protocol="5 folds")]
    assert comparisons.answers(pd.concat(parts, ignore_index=True)).empty


def test_nothing_gives_no_answer():
    assert comparisons.answers(comparisons.predictions("birds")).empty
    assert comparisons.means(comparisons.predictions("birds")).empty


def test_means_are_over_seeds_and_recalls():
    table = predicted(1.0)
    # All of one class wrong, of the others none: a UAR of two thirds however many files.
    wrong = table.assign(prediction=table["prediction"].replace("sad", "calm"), seed=1)
    few = wrong[(wrong["label"] != "calm") | (wrong["file"].str.len() < 6)]
    row = comparisons.means(pd.concat([table, few])).iloc[0]
    assert row["seeds"] == 2
    assert row["test"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert row["deviation"] == pytest.approx(100 / 3 / np.sqrt(2))
    assert row["speakers"] == SPEAKERS


def test_runs_are_read_from_results_and_records():
    write_run(paths.records(), "squeezenet-none-s0", 0.9)
    write_run(paths.records(), "squeezenet-cutmix-s0", 0.8, augmentation="cutmix")
    write_run(paths.results(), "squeezenet-cutmix-s0", 0.2, augmentation="cutmix")
    weights = {"name": "random", "sha256": None, "random": True}
    write_run(paths.results(), "random", 0.2, weights=weights)
    changed = {"units": [128, 8]}
    write_run(paths.results(), "altered", 0.2, overrides=changed)
    found = comparisons.means(comparisons.predictions("birds")).set_index("configuration")
    assert sorted(found.index) == ["cutmix", "none"]
    assert found.loc["cutmix", "test"] < 40 < 80 < found.loc["none", "test"]


def test_cross_validations_are_a_protocol_of_their_own():
    folder = write_run(paths.records(), "squeezenet-svm-s0-5folds", 0.7)
    (folder / "metrics.json").unlink()
    (folder / "fold1").mkdir()
    (folder / "run.json").rename(folder / "fold1" / "run.json")
    gathered = {"dataset": "birds", "kind": "svm", "preset": "tuned", "seed": 0, "k": 5}
    (folder / "folds.json").write_text(json.dumps(gathered), encoding="utf-8")
    row = comparisons.means(comparisons.predictions("birds")).iloc[0]
    assert (row["protocol"], row["configuration"], row["files"]) == ("5 folds", "svm", FILES)


# Sentences and tables on what came out


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
    said = comparisons.count_verdicts(numbers)
    assert said == (
        "Of the 4 numbers in Tables 3 to 5: 1 reproduced, 1 not testable on other hardware, "
        "2 not run for want of the corpus."
    )
    guessed = numbers.assign(column="chance")
    assert "Of the reproduced ones 1 are chance levels" in comparisons.count_verdicts(guessed)


def test_an_answer_names_both_sides_the_interval_and_the_verdict():
    preset = answer(
        question=comparisons.PRESETS,
        preset="",
        configuration="none",
        this="tuned",
        baseline="paper",
    )
    alone = answer(low_speakers=np.nan, high_speakers=np.nan, seeds=1, baseline="svm")
    rows = comparisons.answers_table(pd.DataFrame([answer(), alone, preset]))
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
    said = comparisons.summarise(comparisons.AUGMENTATION, pd.DataFrame(rows))
    assert said == "Of 2 tested comparisons 1 better, 1 not told apart."


def test_too_few_speakers_are_said():
    few = answer(units=4, p_holm=0.25)
    told = comparisons.answers_table(pd.DataFrame([few]))["verdict"][0]
    assert told == "not told apart (no p below 0.125 on 4 speakers)"
    said = comparisons.summarise(comparisons.AUGMENTATION, pd.DataFrame([few, answer()]))
    assert said == (
        "Of 2 tested comparisons 2 not told apart (1 of them on too few speakers to decide)."
    )
    assert comparisons._decidable(answer(units=4, verdict=significance.BETTER))


def test_the_test_on_most_speakers_decides():
    rows = pd.DataFrame([answer(units=4), answer(), answer(question=comparisons.PRESETS, units=4)])
    assert comparisons.deciding(rows.assign(dataset="ravdess")).index.tolist() == [1, 2]


def test_who_learns():
    rows = [mean("none", 82.0), mean("cutmix", 80.0), mean("none", 21.0, preset="paper")]
    rows += [mean("svm", 75.0), mean("none", 60.0, protocol="5 folds")]
    assert comparisons.learning(pd.DataFrame(rows), 16.67) == [
        "MobileNetV2, tuned learns: test UAR 80.0 to 82.0 % (chance 16.7 %).",
        "MobileNetV2, paper learns next to nothing: test UAR 21.0 % (chance 16.7 %).",
    ]


def test_scores_have_a_column_a_network_and_the_papers():
    rows = [mean("none", 82.6), mean("svm", 75.5, deviation=np.nan, seeds=1)]
    rows += [mean("librosa", 88.5, "", "", deviation=np.nan)]
    rows += [mean("none", 78.6, protocol="5 folds"), mean("librosa", 83.2, "", "")]
    rows[-1] |= {"protocol": "5 folds"}
    own = published.table(4).query("dataset == 'ravdess'")
    table = comparisons.scores_table(pd.DataFrame(rows), own).set_index("test UAR in %")
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

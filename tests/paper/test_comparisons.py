"""Which configuration beats which: questions asked of made-up predictions."""

import numpy as np
import pandas as pd
import pytest

from dslite import cards, paths
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.paper import comparisons
from tests import finished_runs
from tests.finished_runs import into_record, write_run

FILES, SPEAKERS = 120, 12
CLASSES = np.array(["angry", "calm", "sad"])


@pytest.fixture(autouse=True)
def _no_runs(results):
    """No test reads the runs of this machine."""


def predicted(right, seed=0, **where):
    """Predictions of one run of which every file is right with that probability."""
    rng = np.random.default_rng(10_000 * seed + round(100 * right))
    labels = np.arange(FILES) % len(CLASSES)
    wrong = (labels + rng.integers(1, len(CLASSES), FILES)) % len(CLASSES)
    chosen = np.where(rng.random(FILES) < right, labels, wrong)
    columns = {"dataset": "birds", "protocol": comparisons.PARTITION, "backbone": "squeezenet"}
    columns |= {"preset": "tuned", "configuration": "none", "seed": seed}
    columns |= {"file": [f"{i}.wav" for i in range(FILES)], "run": f"run-{right}-{seed}"}
    columns |= {"speaker": [f"{i % SPEAKERS:02d}" for i in range(FILES)]}
    return pd.DataFrame(columns | {"label": CLASSES[labels], "prediction": CLASSES[chosen]} | where)


def answers(*parts):
    return comparisons.answers(pd.concat(parts, ignore_index=True))


def test_every_question_has_its_baseline():
    parts = [predicted(0.9, seed) for seed in (0, 1, 2)]
    (row,) = answers(*parts, predicted(0.5, configuration="svm")).to_dict("records")
    assert row["question"] == comparisons.FINE_TUNING
    assert (row["this"], row["baseline"], row["seeds"]) == ("none", "svm", 3)
    assert row["verdict"] == significance.BETTER
    assert row["low"] < row["difference"] < row["high"]
    assert row["speakers"] == SPEAKERS
    # Presets within a configuration; CutMix has no partner.
    parts = [predicted(0.3, preset="paper"), predicted(0.8), predicted(0.8, configuration="cutmix")]
    table = answers(*parts)
    (row,) = table[table["question"] == comparisons.PRESETS].to_dict("records")
    names = ["this", "baseline", "backbone", "configuration", "verdict"]
    assert [row[name] for name in names] == ["tuned", "paper", "squeezenet", "none", "better"]
    # Pairs of presets are questions of their own.
    parts += [predicted(0.5, preset=of) for of in ("repaired", "authors")]
    table = answers(*parts).query("question in @comparisons.BETWEEN").set_index("question")
    assert table.index.tolist() == list(comparisons.BETWEEN)
    assert list(zip(table["this"], table["baseline"], strict=True)) == list(
        comparisons.BETWEEN.values()
    )
    # Acoustic statistics for every backbone
    acoustic = predicted(0.9, configuration="librosa", backbone="", preset="")
    table = answers(predicted(0.5), predicted(0.5, backbone="mobilenet_v2"), acoustic)
    assert set(table["question"]) == {comparisons.ACOUSTICS}
    assert sorted(table["backbone"]) == ["mobilenet_v2", "squeezenet"]
    assert (table["verdict"] == significance.WORSE).all()


def test_nothing_and_different_protocols_give_no_answer():
    assert answers(predicted(0.9), predicted(0.4, configuration="svm", protocol="5 folds")).empty
    assert comparisons.answers(comparisons.predictions("birds")).empty


def test_equals_recognise_the_same_files_and_the_worse_is_worse():
    shares = {"none": 0.8, "cutmix": 0.8, "specaugment": 0.3}
    table = answers(*(predicted(shares[c], s, configuration=c) for s in (0, 1) for c in shares))
    assert set(table["question"]) == {comparisons.AUGMENTATION}
    # The same chances give the same draws here.
    verdicts_of = table.set_index("this")["verdict"].to_dict()
    assert verdicts_of == {"cutmix": significance.EQUAL, "specaugment": significance.WORSE}
    sentence = comparisons.summarise(comparisons.AUGMENTATION, table)
    assert sentence.startswith(
        "On birds, of 2 comparisons on these files 1 the same files, 1 worse ("
    )
    assert (table["comparisons"] == 1).all()  # what cannot differ is not tested


@pytest.mark.parametrize(("speakers", "better"), [(4, 4), (4, 3), (5, 0), (6, 6)])
def test_few_speakers_are_counted_and_their_files_tested(speakers, better):
    baseline = predicted(0.6).assign(speaker=[f"{i % speakers}" for i in range(FILES)])
    # Of the first speakers everything is right, of the others nothing.
    wins = baseline["speaker"].astype(int) < better
    wrong = baseline["label"].map(dict(zip(CLASSES, np.roll(CLASSES, 1), strict=True)))
    this = baseline.assign(prediction=baseline["label"].where(wins, wrong), configuration="cutmix")
    row = answers(baseline, this.assign(run="this")).iloc[0]
    assert (row["speakers_better"], row["speakers_worse"]) == (better, speakers - better)
    sided = {0: significance.WORSE, speakers: significance.BETTER}
    if better in sided:
        assert row["verdict"] == sided[better]
    if speakers < 6:
        assert row["verdict_speakers"] == significance.TOO_FEW
        assert row[["p_speakers", "p_holm_speakers"]].isna().all()
        assert row["comparisons_speakers"] == 0
    else:
        assert row["verdict_speakers"] == significance.BETTER
    # Each network is a family, and what cannot be tested does not count in it.
    names = {"specaugment": 0.9, "cutmix+specaugment": 0.85}
    parts = [predicted(right, configuration=of) for of, right in names.items()]
    parts += [part.assign(backbone="mobilenet_v2") for part in (baseline, parts[0])]
    rows = answers(baseline, this, *(part.assign(speaker=baseline["speaker"]) for part in parts))
    expected = {"mobilenet_v2": 1, "squeezenet": 3}
    assert rows.groupby("backbone")["comparisons"].max().to_dict() == expected
    alone = rows[rows["backbone"] == "mobilenet_v2"]["comparisons_speakers"].item()
    assert alone == (speakers >= 6)


def test_runs_are_read_from_results_and_records():
    recorded = [write_run(paths.results(), test=0.9)]
    recorded.append(write_run(paths.results(), configuration="cutmix", test=0.8))
    into_record(*recorded)
    write_run(paths.results(), configuration="cutmix", test=0.2)
    write_run(paths.results(), configuration="cutmix", test=0.9, seed=1, weights="random")
    write_run(paths.results(), configuration="specaugment", test=0.2, units=64)
    table = comparisons.predictions("ravdess")
    shares = (table["label"] == table["prediction"]).groupby(table["configuration"]).mean()
    assert shares.to_dict() == pytest.approx({"cutmix": 0.2, "none": 0.9}, abs=0.01)


def test_cross_validations_are_a_protocol_of_their_own():
    for i in (1, 2):
        folder = write_run(paths.results(), configuration="svm")
        fold = folder.with_name(f"{folder.name}-2folds") / f"fold{i}"
        fold.parent.mkdir(exist_ok=True)
        folder.rename(fold)
    assert comparisons.predictions("ravdess").empty  # its folds are not all finished
    (fold.parent / "folds.json").write_text("{}", encoding="utf-8")
    for _ in ("the user's", "of a record"):
        table = comparisons.predictions("ravdess")
        assert (set(table["protocol"]), set(table["configuration"])) == ({"2 folds"}, {"svm"})
        assert table["file"].nunique() == finished_runs.FILES
        if fold.is_dir():
            into_record(fold.with_name("fold1"), fold)


def test_speakers_on_whom_no_preset_was_chosen_are_a_protocol_of_their_own(monkeypatch):
    chosen = cards.load("ravdess").model_copy(update={"chosen_on": {"tuned": ("train", "devel")}})
    folder = write_run(paths.results())
    fold = folder.with_name(f"{folder.name}-2folds") / "fold1"
    fold.parent.mkdir()
    folder.rename(fold)
    (fold.parent / "folds.json").write_text("{}", encoding="utf-8")
    file = fold / "predictions.csv"
    speakers = np.resize(["07", "19", "21", "24"], len(table := pd.read_csv(file)))
    table.assign(speaker=speakers).to_csv(file, index=False)
    with monkeypatch.context() as patched:
        patched.setattr(comparisons.cards, "load", lambda name: chosen)
        files = comparisons.predictions("ravdess").groupby("protocol")["speaker"].unique()
    files = files.map(sorted)
    assert files["1 folds"] == ["07", "19", "21", "24"]
    assert files[f"1 folds, {comparisons.CLEAN}"] == ["21", "24"]
    # Nobody is left on whom `tuned` was not chosen.
    assert set(comparisons.predictions("ravdess")["protocol"]) == {"1 folds"}


# Sentences and tables on what came out


def answer(**changed):
    row = {"question": comparisons.AUGMENTATION, "protocol": "5 folds", "backbone": "mobilenet_v2"}
    row |= {"preset": "tuned", "configuration": "", "this": "cutmix", "baseline": "none"}
    row |= {"dataset": "ravdess", "seeds": 3, "by_speaker": "4.0;-1.5", "verdict": "better"}
    row |= {"verdict_speakers": significance.UNDECIDED, "speakers": 23, "speakers_better": 15}
    for end, low, p in (("", 0.2, 0.0381), ("_speakers", -1.0, 0.2)):
        numbers = {"difference": 2.14, "low": low, "high": 4.1, "p_holm": p}
        row |= {f"{name}{end}": value for name, value in numbers.items()}
    return row | {"files": 176, "files_better": 9, "files_worse": 4, "speakers_worse": 8} | changed


FEW = dict.fromkeys(["low_speakers", "high_speakers", "p_holm_speakers"], np.nan)
FEW |= {"verdict_speakers": significance.TOO_FEW, "speakers": 4, "by_speaker": "2.0;1.0;0.5;-1.0"}


def test_an_answer_names_both_sides_the_intervals_and_the_verdicts():
    preset = answer(question=comparisons.PRESETS, preset="", configuration="none")
    preset |= {"this": "tuned", "baseline": "paper"}
    few = answer(**FEW, speakers_better=3, speakers_worse=1, seeds=1, baseline="svm")
    unknown = answer(**FEW | {"speakers": 0, "by_speaker": "", "verdict_speakers": "unknown"})
    alike = answer(**FEW, speakers_better=1, speakers_worse=0)
    rows = comparisons.answers_table(pd.DataFrame([answer(), few, preset, unknown, alike]))
    assert rows.iloc[0].to_dict() == {
        **{"network": "MobileNetV2, tuned", "on": "5 folds, 3 seeds", "points": "+2.1"},
        **{"configuration": "CutMix", "95 % (files)": "+0.2 to +4.1"},
        **{"p (files)": "0.038", "on these files": "better", "95 % (speakers)": "−1.0 to +4.1"},
        **{"p (speakers)": "0.2", "for new speakers": "not told apart"},
        "speakers that gain": "15 of 23",
    }
    of_speakers = ["95 % (speakers)", "p (speakers)", "for new speakers", "speakers that gain"]
    expected = ["+2.0 / +1.0 / +0.5 / −1.0", "–", "too few (4)", "3 of 4"]
    assert rows.loc[1, of_speakers].tolist() == expected
    assert rows.loc[3, of_speakers].tolist() == ["–", "–", "unknown", "–"]
    assert rows.loc[4, "for new speakers"] == "too few (1 of 4 differ)"
    assert rows.loc[1, ["on", "configuration"]].tolist() == ["5 folds", "CutMix"]
    assert rows.loc[2, ["network", "configuration"]].tolist() == ["MobileNetV2", "no augmentation"]


def test_a_question_is_summed_up_by_its_verdicts_for_each_corpus():
    sided = [
        answer(**FEW, speakers_better=n, speakers_worse=4 - n, difference=d)
        for n, d in ((4, 2.0), (4, 43.2), (3, 5.0))
    ]
    sided.append(answer(**FEW, verdict="worse", difference=-3, speakers_better=0, speakers_worse=4))
    table = pd.DataFrame([*sided, answer(verdict_speakers="better"), answer(dataset="birds")])
    assert comparisons.summarise(comparisons.AUGMENTATION, table) == (
        "On RAVDESS, of 5 comparisons on these files 4 better (+2.0 to +43.2 points), 1 worse "
        "(−3.0 points); for new speakers 1 better (+2.1 points), 4 too few for a test (4 "
        "speakers; all gain in 2, all lose in 1). On birds, of 1 comparison on these files 1 "
        "better (+2.1 points); for new speakers 1 not told apart."
    )


def test_a_section_goes_between_its_markers_and_nowhere_else():
    section = f"{comparisons.BEGIN}\nLead.\n{comparisons.END}"
    text = f"# Title\n\n{comparisons.BEGIN}\nold\n{comparisons.END}\n\nbelow\n"
    new = comparisons.inserted(text, section)
    assert new == text.replace("old", "Lead.")
    assert comparisons.inserted(new, section) == new
    for broken in ("# Title", text + comparisons.BEGIN, f"{comparisons.END}{comparisons.BEGIN}"):
        with pytest.raises(InputError, match="expected once"):
            comparisons.inserted(broken, section)

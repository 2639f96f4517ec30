"""What finished runs of either head say of their phases, augmentation, baselines and level."""

import json
import math

import pandas as pd
import pytest

from dslite.training import answers, runs
from tests.finished_runs import write_run

HEADS = [
    {"head": "relative", "strength": 1.0, "loss": 0.64, "score": 0.77, "chosen": False},
    {"head": "level", "strength": 0.3162, "loss": 0.48, "score": 0.83, "chosen": True},
]
KEPT = {"phase": 1, "gain": 0.005, "noise": 0.0104}


@pytest.fixture
def finished_run(results):
    """Write a run and load it; ``history``: phase of each epoch, and whether it was best."""

    def make(record=(), history=((1, True),), **named):
        named = {"backbone": "mobilenet_v2", "preset": "tuned"} | named
        folder = write_run(results, **named)
        file = folder / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | dict(record)))
        rows = [{"epoch": i, "phase": p, "best": b} for i, (p, b) in enumerate(history, start=1)]
        rows.append({"epoch": 1, "phase": 1, "best": math.nan, "training": "train+devel"})
        table = pd.DataFrame(rows)
        table["training"] = table["training"].fillna("train")
        table.to_csv(folder / "history.csv", index=False)
        return runs.load(folder)

    return make


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (
            {"record": {"kept": KEPT}},
            "Phase 1 is kept: phase 2 gained at best +0.5 points on devel, within its noise "
            "(1.0 points).",
        ),
        (
            {"record": {"kept": KEPT | {"phase": 2, "gain": 0.02}}},
            "Phase 2 is kept: +2.0 points on devel, more than its noise (1.0 points).",
        ),
        ({}, "Phase 1 is kept: there was no phase 2."),
        (
            {"preset": "paper", "history": ((1, False), (2, True), (2, False))},
            "Both phases are trained: epoch 2 of 3 (phase 2) was best on devel and is kept.",
        ),
    ],
    ids=["first", "second", "only", "trained"],
)
def test_which_phase_was_kept_and_why(finished_run, named, sentence):
    assert answers.phase_kept(finished_run(**named)) == sentence


@pytest.mark.parametrize("preset", ["tuned", "paper"])
def test_a_baseline_that_wins_comes_first_and_augmentation_is_judged_by_paired_files(
    finished_run, preset
):
    solved = {"kept": KEPT, "heads": HEADS} if preset == "tuned" else {}
    of = {"preset": preset, "record": solved}
    finished = [
        finished_run(configuration="svm", devel=0.9, preset=preset),
        finished_run(configuration="none", devel=0.5, **of),
        finished_run(configuration="cutmix", devel=0.5, **of),
        finished_run(configuration="specaugment", devel=0.7, **of),
    ]
    lines = answers.ablation_answers(finished)
    assert lines[0] == (
        "**A baseline wins on devel:** Deep Spectrum + linear SVM 90.0 %, the best network "
        "(SpecAugment) 70.0 %."
    )
    assert lines[1].startswith("Augmentation helps here: on devel, against none, SpecAugment +20.0")
    assert "CutMix" not in lines[1]
    table = answers.ablation_gains(finished)
    assert table.loc["CutMix", "against no augmentation"] == "+0.0 points (noise 0.0 points)"
    assert table.loc["SpecAugment", "devel"] == "70.0 %"
    if preset == "paper":
        assert len(lines) == 2
        return
    expected = ["1", "+0.5 points (noise 1.0 points)"]
    assert table.loc["CutMix", ["phase kept", "gain of phase 2"]].tolist() == expected
    assert lines[2] == "Phase 2 gained more than its noise in no configuration: phase 1 is kept."
    assert lines[3].startswith("Absolute level alone reaches 83.0 % on held-out training speakers")
    assert "may carry how a class was recorded" in lines[3]
    lines = answers.ablation_answers(finished[1:3])
    assert lines[0].startswith("Augmentation changes nothing here: all configurations recognise")
    worse = finished_run(configuration="cutmix+specaugment", devel=0.4, **of)
    lines = answers.ablation_answers([finished[1], worse])
    assert lines[0].startswith(
        "Augmentation does not help here, beyond noise: on devel, against none, CutMix+SpecAugment "
        "-10.0 points (noise "
    )


def test_the_network_wins_where_no_baseline_is_better(finished_run):
    finished = [
        finished_run(configuration="svm", devel=0.4),
        finished_run(configuration="none", devel=0.5),
    ]
    assert answers.ablation_answers(finished)[0] == (
        "No baseline is better on devel: the best network (no augmentation) 50.0 %, Deep Spectrum "
        "+ linear SVM 40.0 %."
    )


def test_level_is_named_only_where_it_is_better_by_far(finished_run):
    close = [HEADS[0] | {"score": 0.80}, HEADS[1]]
    assert answers.level_line(finished_run({"heads": close})) == ""
    assert (
        answers.level_line(finished_run({"heads": HEADS[1:]}, seed=1)) == ""
    )  # nothing to compare
    assert answers.level_line(finished_run(preset="paper")) == ""


def test_a_baseline_of_the_same_partitions_that_is_better_on_devel_is_named(finished_run):
    network = finished_run(devel=0.5)
    assert answers.better_baselines(network) == []
    finished_run(configuration="svm", devel=0.4)
    assert answers.better_baselines(network) == []
    finished_run({"manifest": "other partitions"}, configuration="svm", devel=0.9, seed=1)
    assert answers.better_baselines(network) == []
    finished_run(configuration="svm", devel=0.6, seed=2)
    assert answers.better_baselines(network) == [
        "Deep Spectrum + linear SVM is better on devel: 60.0 %, this network 50.0 %"
    ]

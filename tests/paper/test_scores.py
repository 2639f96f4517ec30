"""What `dslite.paper.reproduction` lays beside the published tables."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.paper import published
from dslite.paper import reproduction as paper_reproduction
from dslite.training import runs as training_runs


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder, and no corpus at hand."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    return tmp_path / "results"


def evaluation(score, metric="uar", chance=1 / 6, speakers=(0.5, 0.9)):
    level = {
        **{"n": 176, "score": score, "interval_files": [score - 0.05, score + 0.05]},
        **{"interval_speakers": speakers and list(speakers), "recall": {}, "confusion": []},
    }
    return {"metric": metric, "chance": chance, "file": level, "chunk": level}


def write_run(results, dataset="ravdess", configuration="none", seed=0, **changes):
    """One finished run; `changes` replaces entries of its metrics."""
    baseline, acoustic = configuration in training_runs.BASELINES, configuration == "librosa"
    content = {
        **{"dataset": dataset, "kind": configuration if baseline else "deepspectrumlite"},
        **{"backbone": "" if acoustic else "densenet121", "preset": "paper", "seed": seed},
        **{"random_weights": False, "weights": "" if acoustic else "imagenet"},
        **{"augmentation": "none" if baseline else configuration},
        **{"overrides": {}, "task": "classification", "classes": ["calm", "sad"]},
        **{"devel": evaluation(0.7), "test": evaluation(0.766)},
    } | changes
    folder = results / dataset / f"{content['backbone'] or 'acoustic'}-{configuration}-s{seed}"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def cell(frame, dataset, configuration="none"):
    """The one row of a corpus and configuration."""
    rows = frame[(frame["dataset"] == dataset) & (frame["configuration"] == configuration)]
    assert len(rows) == 1
    return rows.iloc[0]


# Our runs


def test_no_results_at_all(results):
    found = training_runs.all_runs()
    assert found.empty
    assert list(found.columns) == list(training_runs.RUN_COLUMNS)
    assert paper_reproduction.beside(3)["ours_run"].eq("").all()
    assert (paper_reproduction.ablation_block("ravdess", found) == "–").all(axis=None)


def test_a_recorded_row_of_table_1_counts(results):
    folder = paths.records() / "ravdess"
    folder.mkdir(parents=True)
    row = (
        "dataset,files,classes,speakers,minutes,mean_s,std_s\nravdess,1012,6,23,78.4,4.65,0.4213\n"
    )
    (folder / "table1.csv").write_text(row)
    beside = paper_reproduction.beside_table1().set_index("dataset")
    assert beside.loc["ravdess", "remark"] == "equal as published (rounded)"


# Beside the published results


def test_beside_says_why_a_cell_is_empty(results, tmp_path):
    three, four = paper_reproduction.beside(3), paper_reproduction.beside(4)
    assert len(three) == 20
    assert len(four) == 16
    pd.testing.assert_frame_equal(three[published.table(3).columns], published.table(3))
    assert cell(three, "ccs")["remark"].startswith("corpus not at hand: ")
    assert "\n" not in cell(three, "ccs")["remark"]
    assert "dslite fetch ravdess" in cell(four, "ravdess")["remark"]
    (tmp_path / "raw" / "ccs").mkdir(parents=True)
    assert cell(paper_reproduction.beside(3), "ccs")["remark"] == "not run"
    assert not three["remark"].eq("").any()


def test_beside_the_papers_settings(results):
    half = {"chance": 0.5}
    write_run(results, "ccs", devel=evaluation(0.7, **half), test=evaluation(0.711, **half))
    row = cell(paper_reproduction.beside(3), "ccs")
    assert row["remark"] == "the paper's settings"
    ours = row[["ours_devel", "ours_test", "ours_low", "ours_high"]].tolist()
    assert ours == [70.0, 71.1, 66.1, 76.1]
    assert row["ours_run"] == "densenet121-none-s0"
    assert cell(paper_reproduction.beside(3), "ccs", "cutmix")["ours_run"] == ""


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        (
            {"backbone": "mobilenet_v2", "preset": "tuned"},
            "other backbone (mobilenet_v2), preset tuned",
        ),
        (
            {"overrides": {"epochs_phase1": [40, 2]}},
            "fewer epochs (override epochs_phase1 40 -> 2)",
        ),
        ({"random_weights": True}, "random weights"),
        ({"test": None}, "no test score (labels blinded)"),
        ({"devel": evaluation(0.7)}, "chance 16.7 instead of 50.0"),
    ],
)
def test_beside_says_what_differs(results, changes, remark):
    write_run(results, "sleep", **{"devel": evaluation(0.7, chance=0.5)} | changes)
    assert cell(paper_reproduction.beside(4), "sleep")["remark"] == remark


def test_beside_admits_a_partition_of_our_own(results):
    write_run(results)
    assert cell(paper_reproduction.beside(4), "ravdess")["remark"] == (
        "chance 16.7 instead of 20.0, partition of our own (none is published)"
    )


def test_beside_prefers_the_papers_run_never_the_best(results):
    best = evaluation(0.99)
    write_run(results, seed=9, test=best, backbone="mobilenet_v2", preset="tuned")
    assert cell(paper_reproduction.beside(4), "ravdess")["ours_run"] == "mobilenet_v2-none-s9"
    write_run(results, seed=3, test=best, overrides={"units": [128, 64]})
    assert cell(paper_reproduction.beside(4), "ravdess")["ours_run"] == "densenet121-none-s3"
    write_run(results, seed=2, test=best)
    write_run(results, seed=1)
    write_run(results, seed=0, test=best, random_weights=True)
    assert cell(paper_reproduction.beside(4), "ravdess")["ours_run"] == "densenet121-none-s1"


def test_beside_leaves_regression_out(results):
    write_run(results, "sleep", task="regression", test=evaluation(0.3, "spearman", 0.0),
              devel=evaluation(0.4, "spearman", 0.0))  # fmt: skip
    row = cell(paper_reproduction.beside(4), "sleep")
    assert row["remark"] == "only a regression run, which has no UAR"
    assert np.isnan(row["ours_test"])


def test_beside_knows_two_tables(results):
    with pytest.raises(InputError, match="Tables 3 and 4"):
        paper_reproduction.beside(5)


# Table 1


def test_beside_table1(results, tmp_path):
    counts = "dataset,files,classes,speakers,minutes,mean_s,std_s\n"
    for dataset, row in {
        "ravdess": "1012,6,23,78.4012,4.6483,0.42131",
        "ess": "914,3,0,58.7,3.86,1.7",
    }.items():
        (results / dataset).mkdir(parents=True)
        (results / dataset / "table1.csv").write_text(f"{counts}{dataset},{row}\n")
    (tmp_path / "raw" / "demos").mkdir(parents=True)
    beside = paper_reproduction.beside_table1().set_index("dataset")
    assert beside.loc["ravdess", "remark"] == "equal as published (rounded)"
    assert beside.loc["ravdess", "ours_files"] == 1012
    assert beside.loc["ess", "remark"] == (
        "differs: speakers unknown, std_s 1.7000 instead of 1.6418"
    )
    assert beside.loc["ccs", "remark"] == "corpus not present"
    assert beside.loc["demos", "remark"] == "partition not run"
    assert pd.isna(beside.loc["ccs", "ours_files"])


# One corpus's block


def test_ablation_block(results):
    for configuration in ("svm", "none", "cutmix"):
        write_run(results, configuration=configuration)
    write_run(results, configuration="specaugment", test=None)
    write_run(results, "demo", configuration="cutmix+specaugment")
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert list(block.index) == list(training_runs.LABELS.values())
    assert block.loc["CutMix"].tolist() == ["70.0", "76.6", "71.6–81.6", "50.0–90.0"]
    assert block.loc["SpecAugment"].tolist() == ["70.0", "–", "–", "–"]
    assert block.loc["CutMix+SpecAugment"].tolist() == ["–"] * 4
    assert block.attrs["caption"] == "ravdess: densenet121, preset paper, seed 0"


def test_ablation_block_mixes_no_settings(results):
    write_run(results, configuration="none")
    other = {"backbone": "mobilenet_v2", "preset": "tuned", "test": evaluation(0.5)}
    for configuration in ("svm", "none", "cutmix"):
        write_run(results, configuration=configuration, **other)
    write_run(results, configuration="specaugment", **other, overrides={"units": [128, 64]})
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert block.attrs["caption"] == "ravdess: mobilenet_v2, preset tuned, seed 0"
    assert block["Test"].tolist() == ["50.0", "–", "50.0", "50.0", "–", "–"]


def test_ablation_block_takes_the_svm_of_another_seed(results):
    write_run(results, configuration="svm", test=evaluation(0.4))
    write_run(results, configuration="none", seed=2)
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert block["Test"].tolist()[:3] == ["40.0", "–", "76.6"]


def test_ablation_block_of_a_baseline_alone(results):
    write_run(results, configuration="svm")
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert block["Test"].tolist() == ["76.6", "–", "–", "–", "–", "–"]
    assert block.attrs["caption"] == "ravdess: densenet121, preset paper, seed 0"


def test_the_acoustic_baseline_stands_below_the_svm_whatever_the_backbone(results):
    other = {"backbone": "mobilenet_v2"}
    write_run(results, configuration="svm", **other)
    write_run(results, configuration="librosa", test=evaluation(0.9))
    alone = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert alone.attrs["caption"] == "ravdess: mobilenet_v2, preset paper, seed 0"
    write_run(results, configuration="none", seed=2, overrides={"units": [128, 64]}, **other)
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert list(block.index[:3]) == [
        "Deep Spectrum + linear SVM",
        "librosa statistics + RBF-SVM",
        "no augmentation",
    ]
    assert block["Test"].tolist()[:4] == ["76.6", "90.0", "76.6", "–"]


def test_the_acoustic_baseline_of_another_preset_is_not_shown(results):
    write_run(results, configuration="none")
    write_run(results, configuration="librosa", preset="tuned")
    assert paper_reproduction.ablation_block("ravdess", training_runs.all_runs())["Test"].tolist()[
        :3
    ] == [
        "–",
        "–",
        "76.6",
    ]


def test_ablation_block_of_the_acoustic_baseline_alone(results):
    write_run(results, configuration="librosa")
    block = paper_reproduction.ablation_block("ravdess", training_runs.all_runs())
    assert block["Test"].tolist() == ["–", "76.6", "–", "–", "–", "–"]
    assert block.attrs["caption"] == "ravdess: preset paper, seed 0"


def test_the_published_tables_know_nothing_of_the_acoustic_baseline(results):
    before = [paper_reproduction.beside(n) for n in (3, 4)]
    write_run(results, configuration="librosa")
    write_run(results, "iemocap", configuration="librosa")
    for n, frame in zip((3, 4), before, strict=True):
        pd.testing.assert_frame_equal(paper_reproduction.beside(n), frame)
    assert training_runs.all_runs()["configuration"].tolist() == ["librosa", "librosa"]
    assert training_runs.all_runs()["backbone"].tolist() == ["", ""]


def test_ablation_block_of_a_regression_shows_rho(results):
    scores = evaluation(0.31, "spearman", 0.0, speakers=None)
    write_run(results, "mine", devel=scores, test=scores)
    block = paper_reproduction.ablation_block("mine", training_runs.all_runs())
    assert block.loc["no augmentation"].tolist() == ["0.31", "0.31", "0.26–0.36", "–"]

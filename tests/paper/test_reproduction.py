"""Every published number beside made-up runs: each verdict, and what a substitute may be called."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.paper import consistency, published, reproduction, verdicts
from dslite.training import runs
from dslite.training.runs import BASELINES, LABELS, all_runs
from tests.finished_runs import write_run

NO_FINDINGS = pd.DataFrame(columns=["id", "holds", "explanation", "keys"])


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder, and no corpus at hand."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    return tmp_path / "results"


def judged(findings=NO_FINDINGS):
    """Every published number with its verdict, by its key."""
    runs = all_runs()
    numbers = reproduction.numbers(runs, findings, reproduction.substitutes(runs))
    return numbers.set_index("key")


# Tables 3 and 4


def test_the_papers_own_runs_are_judged(results):
    for seed in (1, 0):
        write_run(results, seed=seed)
    found = judged()
    row = found.loc["4/ravdess/none/test"]
    assert row["verdict"] == verdicts.REPRODUCED
    assert row["reproduced"] == pytest.approx(76.6, abs=1)
    assert row["reproduced_ci_low"] < row["reproduced"] < row["reproduced_ci_high"]
    assert row["runs"] == "ravdess/densenet121-none-s0-paper;ravdess/densenet121-none-s1-paper"
    assert row["seconds"] == 21
    assert row["date"] == "2026-01-02"
    assert row["commit"] == "abc"
    assert row["hardware"] == "P, 2 cores"
    assert row["command"] == (
        "for seed in 0 1; do dslite train ravdess --preset paper --backbone densenet121 "
        "--augmentation none --seed $seed; done"
    )
    assert "chance 16.7 instead of 20.0" in row["remark"]
    assert found.loc["4/ravdess/none/devel", "verdict"] == verdicts.REPRODUCED
    bounds = found.loc[["4/ravdess/none/ci_low", "4/ravdess/none/ci_high"]]
    assert bounds["reproduced"].tolist() == [row["reproduced_ci_low"], row["reproduced_ci_high"]]
    assert bounds["verdict"].tolist() == [row["verdict"]] * 2
    assert bounds["reproduced_ci_low"].isna().all()


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.70, verdicts.OVERLAPPING), (0.40, verdicts.CONTRADICTED)]
)
def test_a_run_that_reproduces_nothing(results, share, verdict):
    write_run(results, test=share, devel=share)
    found = judged()["verdict"]
    assert found["4/ravdess/none/test"] == found["4/ravdess/none/ci_low"] == verdict
    assert found["4/ravdess/none/devel"] == verdicts.CONTRADICTED


def test_the_svm_of_table_3(results):
    write_run(results, "ess", "svm", devel=0.642, test=0.564)
    row = judged().loc["3/ess/svm/test"]
    assert row["verdict"] == verdicts.REPRODUCED
    assert row["command"].startswith("dslite baseline ess --preset paper --backbone densenet121")
    assert "--augmentation" not in row["command"]


def test_blinded_test_labels_leave_devel(results):
    write_run(results, test=None)
    found = judged()
    assert found.loc["4/ravdess/none/devel", "verdict"] == verdicts.REPRODUCED
    assert found.loc["4/ravdess/none/test", "verdict"] == verdicts.NOT_RUN
    assert "blinded" in found.loc["4/ravdess/none/ci_low", "remark"]


def test_where_nothing_was_run(results, tmp_path):
    found = judged()
    assert found.loc["3/ccs/none/test", "verdict"] == verdicts.RESTRICTED
    assert found.loc["3/ccs/none/test", "remark"].startswith("corpus not at hand: ")
    assert found.loc["4/ravdess/none/test", "verdict"] == verdicts.NOT_RUN
    assert "dslite fetch ravdess" in found.loc["4/ravdess/none/test", "remark"]
    (tmp_path / "raw" / "ccs").mkdir(parents=True)
    assert judged().loc["3/ccs/none/test", "verdict"] == verdicts.NOT_RUN
    for key in ("3/ccs/none/test", "4/ravdess/none/test"):
        assert found.loc[key, "command"].startswith(f"dslite train {key.split('/')[1]} ")


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"backbone": "mobilenet_v2", "preset": "tuned"}, "MobileNetV2, tuned"),
        ({"weights": "random"}, "DenseNet121, paper, random weights"),
    ],
)
def test_a_substitute_is_never_called_a_reproduction(results, settings, label):
    write_run(results, **settings)
    found = judged()
    for column in ("devel", "test", "ci_low"):
        row = found.loc[f"4/ravdess/none/{column}"]
        assert row["verdict"] == verdicts.WEIGHTS
        assert np.isnan(row["reproduced"])
        assert f"{label}: " in row["remark"]
    assert found.loc["4/ravdess/cutmix/test", "verdict"] == verdicts.WEIGHTS
    assert label not in found.loc["4/ravdess/cutmix/test", "remark"]
    scores = found.index.str.startswith(("3/", "4/")) & (found["column"] != "chance")
    assert not found.loc[scores, "verdict"].isin(verdicts.ORDER[:3]).any()
    row = reproduction.substitutes(all_runs()).set_index("key").loc["4/ravdess/none/test"]
    assert row["agreement"] == verdicts.INSIDE_BOTH
    assert row["label"] == label


def test_another_preset_or_setting_is_a_substitute_too(results):
    write_run(results, preset="tuned")
    write_run(results, configuration="cutmix", units=64)
    found = judged()
    assert found.loc["4/ravdess/none/test", "verdict"] == verdicts.NOT_RUN
    assert "DenseNet121, tuned: " in found.loc["4/ravdess/none/test", "remark"]
    labels = set(reproduction.substitutes(all_runs())["label"])
    assert labels == {"DenseNet121, tuned", "DenseNet121, paper, override units 128 -> 64"}


def test_weights_from_a_file_are_the_papers(results, tmp_path):
    file = tmp_path / "densenet121.h5"
    file.write_bytes(b"")
    write_run(results, weights=str(file))
    row = judged().loc["4/ravdess/none/test"]
    assert row["verdict"] == verdicts.REPRODUCED
    assert "weights of the file densenet121.h5" in row["remark"]
    assert str(tmp_path) not in row["remark"] + row["command"]
    assert reproduction.substitutes(all_runs()).empty


def test_chance_is_that_of_table_1(results):
    found = judged()
    assert found.loc["3/ess/chance", "verdict"] == verdicts.REPRODUCED
    assert found.loc["4/demos/chance", "reproduced"] == pytest.approx(100 / 7)
    assert found.loc["4/ravdess/chance", "verdict"] == verdicts.CONTRADICTED


# Substitutes


def test_substitutes_of_several_seeds(results):
    other = {"backbone": "mobilenet_v2", "preset": "tuned"}
    for seed, share in enumerate((0.70, 0.75, 0.80)):
        write_run(results, seed=seed, test=share, devel=0.5, **other)
    write_run(results, backbone="squeezenet")
    write_run(results, configuration="svm", **other)  # Table 4 has no such row
    found = reproduction.substitutes(all_runs())
    assert found["key"].tolist() == ["4/ravdess/none/devel"] * 2 + ["4/ravdess/none/test"] * 2
    assert found.columns.tolist() == list(reproduction.SUBSTITUTES)
    tuned = found[found["label"] == "MobileNetV2, tuned"].set_index("column")
    assert tuned["seeds"].tolist() == [3, 3]
    assert tuned.loc["test", "reproduced"] == pytest.approx(75, abs=0.5)
    assert tuned.loc["test", "deviation"] == pytest.approx(5, abs=0.5)
    assert tuned.loc["devel", "agreement"] == verdicts.APART
    assert np.isnan(tuned.loc["devel", "published_low"])
    assert tuned.loc["test", ["published", "published_low"]].tolist() == [76.6, 72.7]
    assert tuned.loc["test", "seconds"] == 31.5
    assert "other backbone (mobilenet_v2), preset tuned" in tuned.loc["test", "remark"]


def test_a_command_repeats_what_was_overridden(results):
    folder = write_run(results, backbone="squeezenet", weights="random", units=64, trim="on")
    record = runs.load(folder).record
    assert reproduction.options(record) == " --weights random --set trim=on --set units=64"
    line = reproduction.substitutes(all_runs())["command"].iloc[0]
    assert line.endswith("--backbone squeezenet --augmentation none --seed 0"
                         " --weights random --set trim=on --set units=64")  # fmt: skip


# Over seeds


def test_the_interval_of_one_seed_is_that_of_the_run(results):
    run = runs.load(write_run(results, seed=3))
    found = reproduction.mean_score([run], "test")
    told = run.metrics["test"]["file"]
    assert [found["reproduced_ci_low"], found["reproduced_ci_high"]] == pytest.approx(
        [100 * bound for bound in told["interval_files"]]
    )
    assert found["reproduced"] == pytest.approx(100 * told["score"])
    assert np.isnan(found["deviation"])


def test_seeds_that_agree_have_the_interval_of_one_and_others_a_narrower_one(rng):
    labels = rng.integers(3, size=300)
    said = np.where(rng.random((4, 300)) < 0.7, labels, (labels + 1) % 3)
    one = reproduction.mean_uar_interval(labels, said[:1], 3)
    same = reproduction.mean_uar_interval(labels, said[[0, 0, 0]], 3)
    assert same == pytest.approx(one)
    low, high = reproduction.mean_uar_interval(labels, said, 3)
    mean = np.mean([metrics.uar(labels, own, 3) for own in said])
    assert low < mean < high
    assert high - low < one[1] - one[0]
    assert reproduction.mean_uar_interval(labels[:1], said[:, :1], 3) is None


def test_records_without_predictions_keep_the_bounds_of_their_seeds(results):
    folders = [write_run(results, seed=seed, predictions=False) for seed in (0, 1)]
    row = judged().loc["4/ravdess/none/test"]
    own = [runs.load(folder).metrics["test"]["file"]["interval_files"] for folder in folders]
    assert [row["reproduced_ci_low"], row["reproduced_ci_high"]] == pytest.approx(
        100 * np.mean(own, axis=0)
    )
    assert reproduction.NO_FILES in row["remark"]


def test_seeds_of_other_files_are_refused(results):
    write_run(results)
    changed = write_run(results, seed=1) / "predictions.csv"
    changed.write_text(changed.read_text().replace("test7,", "test7b,"))
    with pytest.raises(InputError, match="densenet121-none-s1-paper: scored on other files"):
        judged()


# The other tables


def test_table_1_is_counted(results):
    counts = "dataset,files,classes,speakers,minutes,mean_s,std_s\n"
    for home, row in ((results, "ravdess,1012,6,23,78.4012,4.66,0.42131"),
                      (paths.records(), "ess,914,3,0,58.7,3.86,1.6418")):  # fmt: skip
        folder = home / row.split(",")[0]
        folder.mkdir(parents=True)
        (folder / "table1.csv").write_text(f"{counts}{row}\n")
    found = judged()
    assert found.loc["1/ravdess/minutes", ["reproduced", "verdict"]].tolist() == (
        [78.4012, verdicts.REPRODUCED]
    )
    assert found.loc["1/ravdess/mean_s", "verdict"] == verdicts.CONTRADICTED
    assert found.loc["1/ess/files", "verdict"] == verdicts.REPRODUCED
    assert found.loc["1/ess/speakers", "verdict"] == verdicts.NOT_RUN
    assert "unknown" in found.loc["1/ess/speakers", "remark"]
    assert found.loc["1/ccs/files", "verdict"] == verdicts.RESTRICTED
    assert found.loc["1/ccs/files", "command"] == "dslite partition ccs"


def test_table_2_is_settings_beside_our_preset(results):
    found = judged()
    rows = found[found["table"] == 2]
    assert rows["verdict"].eq(verdicts.SETTING).all()
    np.testing.assert_array_equal(
        rows["reproduced"], rows["value"]
    )  # preset `paper` is to the letter
    assert "assumed" in found.loc["2/ravdess/chunk_length_s", "remark"]


# All of them


def test_a_number_that_the_paper_contradicts_keeps_ours(results):
    write_run(results)
    findings = pd.DataFrame(
        [
            {"holds": False, "explanation": "One.", "keys": "4/ravdess/none/test;1/ccs/files"},
            {"holds": False, "explanation": "Two.", "keys": "4/ravdess/none/test"},
            {"holds": True, "explanation": "Three.", "keys": ""},
        ]
    )
    found = judged(findings)
    row = found.loc["4/ravdess/none/test"]
    assert row["verdict"] == verdicts.ITSELF
    assert row["remark"] == "One. Two."
    assert row["reproduced"] == pytest.approx(76.6, abs=1)
    assert found.loc["1/ccs/files", "verdict"] == verdicts.ITSELF
    assert found.loc["4/ravdess/none/devel", "verdict"] == verdicts.REPRODUCED


def test_every_number_has_a_verdict_a_command_and_its_own_row(results):
    write_run(results)
    found = judged(consistency.findings()).reset_index()
    pd.testing.assert_frame_equal(found[published.numbers().columns], published.numbers())
    assert set(found["verdict"]) <= set(verdicts.ORDER)
    assert found["command"].str.startswith(("dslite ", "for seed in ")).all()
    assert found["verdict"].eq(verdicts.ITSELF).any()  # by `dslite.paper.consistency`


def test_summary_counts_every_number_once(results):
    found = judged().reset_index()
    table = reproduction.summary(found)
    assert table.to_numpy().sum() == len(found)
    assert table.loc[verdicts.SETTING, 2] == (found["table"] == 2).sum()
    assert list(table.index) == [name for name in verdicts.ORDER if name in set(found["verdict"])]


def test_a_shortened_run_is_no_substitute(results):
    write_run(results, backbone="squeezenet", epochs_phase1=1, weights="random")
    assert reproduction.substitutes(all_runs()).empty
    write_run(results, backbone="squeezenet", seed=1)
    assert set(reproduction.substitutes(all_runs())["seeds"]) == {1}


# One corpus's block


def block_of(dataset):
    return reproduction.ablation_block(dataset, all_runs())


def evaluation(score, metric="uar", chance=1 / 6, speakers=(0.5, 0.9)):
    level = {
        **{"n": 176, "score": score, "interval_files": [score - 0.05, score + 0.05]},
        **{"interval_speakers": speakers and list(speakers), "recall": {}, "confusion": []},
    }
    return {"metric": metric, "chance": chance, "file": level, "chunk": level}


def write_metrics(results, dataset="ravdess", configuration="none", seed=0, **changes):
    """One finished run; `changes` replaces entries of its metrics."""
    baseline, acoustic = configuration in BASELINES, configuration == "librosa"
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


def test_ablation_block(results):
    for configuration in ("svm", "none", "cutmix"):
        write_metrics(results, configuration=configuration)
    write_metrics(results, configuration="specaugment", test=None)
    write_metrics(results, "demo", configuration="cutmix+specaugment")
    block = block_of("ravdess")
    assert list(block.index) == list(LABELS.values())
    assert block.loc["CutMix"].tolist() == ["70.0", "76.6", "71.6–81.6", "50.0–90.0"]
    assert block.loc["SpecAugment"].tolist() == ["70.0", "–", "–", "–"]
    assert block.loc["CutMix+SpecAugment"].tolist() == ["–"] * 4
    assert block.attrs["caption"] == "ravdess: densenet121, preset paper, seed 0"


def test_ablation_block_mixes_no_settings(results):
    write_metrics(results, configuration="none")
    other = {"backbone": "mobilenet_v2", "preset": "tuned", "test": evaluation(0.5)}
    for configuration in ("svm", "none", "cutmix"):
        write_metrics(results, configuration=configuration, **other)
    write_metrics(results, configuration="specaugment", **other, overrides={"units": [128, 64]})
    block = block_of("ravdess")
    assert block.attrs["caption"] == "ravdess: mobilenet_v2, preset tuned, seed 0"
    assert block["Test"].tolist() == ["50.0", "–", "50.0", "50.0", "–", "–"]


def test_ablation_block_takes_the_svm_of_another_seed(results):
    write_metrics(results, configuration="svm", test=evaluation(0.4))
    write_metrics(results, configuration="none", seed=2)
    block = block_of("ravdess")
    assert block["Test"].tolist()[:3] == ["40.0", "–", "76.6"]


def test_ablation_block_of_a_baseline_alone(results):
    write_metrics(results, configuration="svm")
    block = block_of("ravdess")
    assert block["Test"].tolist() == ["76.6", "–", "–", "–", "–", "–"]
    assert block.attrs["caption"] == "ravdess: densenet121, preset paper, seed 0"


def test_the_acoustic_baseline_stands_below_the_svm_whatever_the_backbone(results):
    other = {"backbone": "mobilenet_v2"}
    write_metrics(results, configuration="svm", **other)
    write_metrics(results, configuration="librosa", test=evaluation(0.9))
    alone = block_of("ravdess")
    assert alone.attrs["caption"] == "ravdess: mobilenet_v2, preset paper, seed 0"
    write_metrics(results, configuration="none", seed=2, overrides={"units": [128, 64]}, **other)
    block = block_of("ravdess")
    assert list(block.index[:3]) == [
        "Deep Spectrum + linear SVM",
        "librosa statistics + RBF-SVM",
        "no augmentation",
    ]
    assert block["Test"].tolist()[:4] == ["76.6", "90.0", "76.6", "–"]


def test_ablation_block_of_a_regression_shows_rho(results):
    scores = evaluation(0.31, "spearman", 0.0, speakers=None)
    write_metrics(results, "mine", devel=scores, test=scores)
    block = block_of("mine")
    assert block.loc["no augmentation"].tolist() == ["0.31", "0.31", "0.26–0.36", "–"]

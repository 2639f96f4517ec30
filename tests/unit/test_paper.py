"""The published tables as transcribed, and what `dslite.paper` lays beside them."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite import cards, costing, paper, runs, settings, tables
from dslite.errors import InputError
from dslite.evaluation import evaluate

DATASETS = ["ccs", "css", "demos", "ess", "iemocap", "mpssc", "ravdess", "sleep"]


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
    baseline, acoustic = configuration in paper.BASELINES, configuration == "librosa"
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


# The transcription


def test_table1_has_the_eight_corpora():
    table = paper.table(1).set_index("dataset")
    assert list(table.index) == DATASETS
    assert table["files"].sum() == 725 + 893 + 9365 + 914 + 5531 + 828 + 1012 + 16462
    assert table.loc["ravdess"].tolist() == ["Emotional song", 1012, 6, 23, 78.4, 4.65, 0.4213]
    assert table["files"].dtype.kind == "i"
    # Minutes are files times the mean length, but for the two rows that the README names.
    minutes = table["files"] * table["mean_s"] / 60
    off = (minutes / table["minutes"] - 1).abs() > 0.01
    assert list(table.index[off]) == ["ccs", "iemocap"]


def test_table2_is_complete_and_marks_what_is_assumed():
    table = paper.table(2)
    assert len(table) == 7 * 8
    wide = table.pivot(index="hyperparameter", columns="dataset", values="value")
    assert list(wide.columns) == DATASETS
    assert wide.loc["units"].tolist() == [512, 700, 512, 512, 512, 512, 128, 512]
    assert wide.loc["dropout", ["css", "ravdess"]].tolist() == [0.4, 0.5]
    assert wide.isna().sum().sum() == 1
    assert np.isnan(wide.loc["epochs_phase2", "css"])
    assumed = table.loc[table["status"] == "assumed", "hyperparameter"]
    assert assumed.value_counts().to_dict() == {"epochs_phase2": 8, "chunk_length_s": 8}
    # The printed seven values, in the printed order.
    assert wide.loc["epochs_phase2"].dropna().tolist() == [200, 120, 200, 200, 120, 80, 80]


def test_table2_counts_of_fine_tuned_layers_are_shares_of_densenet121():
    table = paper.table(2).query("hyperparameter == 'fine_tuned_layers'")
    counts = table.set_index("dataset")["value"].astype(int)
    shares = {"ccs": 0.7, "css": 0, "demos": 0.3, "ess": 0.7, "iemocap": 0.3, "mpssc": 0.2}
    shares |= {"ravdess": 0.1, "sleep": 0.3}
    assert counts.to_dict() == {dataset: int(427 * share) for dataset, share in shares.items()}


@pytest.mark.parametrize(("n", "configurations"), [(3, 5), (4, 4)])
def test_results_tables_are_complete_and_inside_their_intervals(n, configurations):
    table = paper.table(n)
    assert table.groupby("dataset").size().tolist() == [configurations] * 4
    assert set(table["configuration"]) <= set(paper.LABELS)
    assert ((table["ci_low"] < table["test"]) & (table["test"] < table["ci_high"])).all()
    assert table.drop(columns=["dataset", "configuration"]).dtypes.eq(float).all()
    assert table.notna().all(axis=None)
    classes = paper.table(1).set_index("dataset")["classes"]
    wrong = {d for d, c in zip(table["dataset"], table["chance"], strict=True)
             if abs(c - 100 / classes[d]) > 0.1}  # fmt: skip
    assert wrong == ({"ravdess"} if n == 4 else set())  # a known mistake: 6 classes, chance of 5


def test_results_tables_hold_all_eight_corpora():
    both = pd.concat([paper.table(3), paper.table(4)])
    assert sorted(both["dataset"].unique()) == DATASETS
    assert cell(both, "css", "cutmix+specaugment")["ci_low"] == 55.1
    assert cell(both, "demos", "cutmix+specaugment")[["devel", "test"]].tolist() == [73.8, 72.5]


@pytest.mark.parametrize(
    ("n", "dataset", "base", "gain"),
    [
        (3, "ccs", "svm", 16.1),
        (3, "css", "svm", 5.8),
        (3, "ess", "svm", 9.4),
        (3, "iemocap", "svm", 6.0),
        (4, "mpssc", "none", 37.6),
    ],
)
def test_published_relative_improvements_follow_from_the_tables(n, dataset, base, gain):
    table = paper.table(n)
    best = table.loc[table["dataset"] == dataset, "test"].max()
    assert round(100 * (best / cell(table, dataset, base)["test"] - 1), 1) == gain


def test_table5_values():
    table = paper.table(5).set_index("quantity")
    assert table.loc["mean_time"].tolist() == ["ms", 7.1, 240.0, 89.7, 242.0]
    assert table.loc["mean_time", "tf_model"] - table.loc["mean_time", "tflite_cpu"] == (
        pytest.approx(150.3)
    )
    sizes = table.loc["model_size"]
    assert sizes["tf_model"] / sizes["tflite_cpu"] == pytest.approx(2.7, abs=0.05)


# Our runs


def test_no_results_at_all(results):
    found = paper.runs()
    assert found.empty
    assert list(found.columns) == list(paper.RUN_COLUMNS)
    assert paper.beside(3)["ours_run"].eq("").all()
    assert paper.beside_table5()["remark"].eq("not run").all()
    assert (paper.ablation_block("ravdess", found) == "–").all(axis=None)


def test_runs_reads_finished_runs_only(results):
    write_run(results)
    write_run(results, configuration="svm", devel=evaluation(0.6, speakers=None), test=None)
    (results / "ravdess" / "densenet121-cutmix-s0").mkdir()  # begun, not finished
    draft = results / "ravdess" / ".metrics-abc" / "draft"
    draft.mkdir(parents=True)
    (draft / "metrics.json").write_text("{")
    found = paper.runs().set_index("configuration")
    assert sorted(found.index) == ["none", "svm"]
    none, svm = found.loc["none"], found.loc["svm"]
    assert none["run"] == "densenet121-none-s0"
    assert none[["devel", "test", "low", "high"]].astype(float).round(1).tolist() == (
        [70.0, 76.6, 71.6, 81.6]
    )
    assert none[["low_speakers", "high_speakers"]].tolist() == [50, 90]
    assert svm["devel"] == 60
    assert np.isnan(svm["test"])
    assert np.isnan(svm["low"])
    assert not found["overridden"].any()
    pd.testing.assert_frame_equal(paper.runs(results), paper.runs())


def test_runs_reads_what_a_run_writes(results):
    """The other side of the schema: `dslite.runs.write`, `dslite.evaluation.evaluate`."""
    card = cards.load("ravdess")
    chosen = cards.settings_of(card, "paper", augmentation="cutmix", units=64)
    described = runs.describe(card, chosen, 5, "paper", "", "deepspectrumlite")
    labels = np.arange(6).repeat(4)
    scores = np.eye(6)[np.where(np.arange(24) % 4, labels, 0)]
    found = evaluate(labels, scores, np.arange(24), list("ab" * 12), list(card.classes), draws=20)
    folder = runs.folder(card, chosen, 5, preset="paper")
    folder.mkdir(parents=True)
    cost = costing.Meter().read()
    runs.write(folder, described, {"devel": found, "test": None}, pd.DataFrame(), cost)
    run = paper.runs().iloc[0]
    assert run[["dataset", "run", "configuration"]].tolist() == (["ravdess", folder.name, "cutmix"])
    assert run["devel"] == pytest.approx(100 * (1 + 5 * 0.75) / 6)
    assert run["changed"] == "override units 128 -> 64"
    assert np.isnan(run["test"])


def test_a_damaged_run_is_named(results):
    (write_run(results) / "metrics.json").write_text('{"dataset": ')
    with pytest.raises(InputError, match=r"densenet121-none-s0/metrics\.json"):
        paper.runs()


def test_the_augmentation_and_the_backbone_are_no_overrides(results):
    given = {"augmentation": ["none", "cutmix"], "backbone": ["densenet121", "mobilenet_v2"]}
    write_run(results, configuration="cutmix", backbone="mobilenet_v2", overrides=given)
    weights = given | {"weights": ["imagenet", "random"]}
    write_run(results, seed=1, overrides=weights, random_weights=True, weights="random")
    assert not paper.runs()["overridden"].any()


def test_overrides_in_words(results):
    changes = {"epochs_phase1": [40, 2], "epochs_phase2": [80, 1], "units": [128, 64]}
    write_run(results, overrides=changes | {"weights": ["imagenet", "/home/me/own.weights.h5"]})
    run = paper.runs().iloc[0]
    assert run["overridden"]
    assert run["overrides"] == 4
    assert run["changed"] == (
        "fewer epochs (override epochs_phase1 40 -> 2; epochs_phase2 80 -> 1), "
        "override units 128 -> 64; weights imagenet -> own.weights.h5"
    )


# Beside the published results


def test_beside_says_why_a_cell_is_empty(results, tmp_path):
    three, four = paper.beside(3), paper.beside(4)
    assert len(three) == 20
    assert len(four) == 16
    pd.testing.assert_frame_equal(three[paper.table(3).columns], paper.table(3))
    assert cell(three, "ccs")["remark"].startswith("corpus not at hand: ")
    assert "\n" not in cell(three, "ccs")["remark"]
    assert "dslite fetch ravdess" in cell(four, "ravdess")["remark"]
    (tmp_path / "raw" / "ccs").mkdir(parents=True)
    assert cell(paper.beside(3), "ccs")["remark"] == "not run"
    assert not three["remark"].eq("").any()


def test_beside_the_papers_settings(results):
    half = {"chance": 0.5}
    write_run(results, "ccs", devel=evaluation(0.7, **half), test=evaluation(0.711, **half))
    row = cell(paper.beside(3), "ccs")
    assert row["remark"] == "the paper's settings"
    ours = row[["ours_devel", "ours_test", "ours_low", "ours_high"]].tolist()
    assert ours == [70.0, 71.1, 66.1, 76.1]
    assert row["ours_run"] == "densenet121-none-s0"
    assert cell(paper.beside(3), "ccs", "cutmix")["ours_run"] == ""


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
    assert cell(paper.beside(4), "sleep")["remark"] == remark


def test_beside_admits_a_partition_of_our_own(results):
    write_run(results)
    assert cell(paper.beside(4), "ravdess")["remark"] == (
        "chance 16.7 instead of 20.0, partition of our own (none is published)"
    )


def test_beside_prefers_the_papers_run_never_the_best(results):
    best = evaluation(0.99)
    write_run(results, seed=9, test=best, backbone="mobilenet_v2", preset="tuned")
    assert cell(paper.beside(4), "ravdess")["ours_run"] == "mobilenet_v2-none-s9"
    write_run(results, seed=3, test=best, overrides={"units": [128, 64]})
    assert cell(paper.beside(4), "ravdess")["ours_run"] == "densenet121-none-s3"
    write_run(results, seed=2, test=best)
    write_run(results, seed=1)
    write_run(results, seed=0, test=best, random_weights=True)
    assert cell(paper.beside(4), "ravdess")["ours_run"] == "densenet121-none-s1"


def test_beside_leaves_regression_out(results):
    write_run(results, "sleep", task="regression", test=evaluation(0.3, "spearman", 0.0),
              devel=evaluation(0.4, "spearman", 0.0))  # fmt: skip
    row = cell(paper.beside(4), "sleep")
    assert row["remark"] == "only a regression run, which has no UAR"
    assert np.isnan(row["ours_test"])


def test_beside_knows_two_tables(results):
    with pytest.raises(InputError, match="Tables 3 and 4"):
        paper.beside(5)


# Table 1 and Table 5


def test_beside_table1(results, tmp_path):
    counts = "dataset,files,classes,speakers,minutes,mean_s,std_s\n"
    for dataset, row in {
        "ravdess": "1012,6,23,78.4012,4.6483,0.42131",
        "ess": "914,3,0,58.7,3.86,1.7",
    }.items():
        (results / dataset).mkdir(parents=True)
        (results / dataset / "table1.csv").write_text(f"{counts}{dataset},{row}\n")
    (tmp_path / "raw" / "demos").mkdir(parents=True)
    beside = paper.beside_table1().set_index("dataset")
    assert beside.loc["ravdess", "remark"] == "equal as published (rounded)"
    assert beside.loc["ravdess", "ours_files"] == 1012
    assert beside.loc["ess", "remark"] == (
        "differs: speakers unknown, std_s 1.7000 instead of 1.6418"
    )
    assert beside.loc["ccs", "remark"] == "corpus not present"
    assert beside.loc["demos", "remark"] == "partition not run"
    assert pd.isna(beside.loc["ccs", "ours_files"])


def profile(folder, memory=True, **changes):
    """A profile as `dslite.profiling.measure` leaves it, of two numbers of threads."""
    sizes = {"spectrogram": 120_000, "cnn": 29e6}
    rows = [
        {"part": part, "variant": "float32", "threads": n, "ms": ms / n, "size_bytes": sizes[part]}
        for part, ms in (("spectrogram", 11.0), ("cnn", 120.0))
        for n in (1, 2)
    ]
    rows.append({"part": "cnn", "variant": "Keras, compiled", "threads": 8, "ms": 90.0,
                 "size_bytes": 30e6})  # fmt: skip
    for row, grown in zip(rows, (4, 4, 60, 60, 117), strict=True):
        row |= {"growth_mb": grown} if memory else {}
    content = {
        **{"backbone": "densenet121", "random_weights": False, "hardware": "two cores"},
        **{"threads": [2, 1], "parameters": 7_100_000, "multiply_adds": 2_870_000_000},
        "rows": rows,
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(content))


def test_beside_table5(results):
    other = {"backbone": "mobilenet_v2", "random_weights": True}
    profile(results / "demo" / "mobilenet_v2-none-s0", memory=False, **other)
    profile(results / "ravdess" / "densenet121-none-s0")
    beside = paper.beside_table5()
    assert list(beside["ours_run"]) == (
        ["ravdess/densenet121-none-s0"] * 5 + ["demo/mobilenet_v2-none-s0"] * 5
    )
    first, second = (part.set_index("quantity") for part in (beside.head(5), beside.tail(5)))
    ours = ["ours_preprocessing", "ours_tf_model", "ours_tflite_cpu"]
    assert first.loc["mean_time", ours].tolist() == [5.5, 90, 60]
    assert first.loc["flops", "ours_tf_model"] == 2.87
    assert first.loc["parameters", "ours_tf_model"] == 7.1
    assert first.loc["model_size", ours].tolist() == [0.12, 30, 29]
    assert first.loc["mean_memory", ours].tolist() == [4, 117, 60]
    assert first.loc["mean_memory", "remark"] == (
        "peak of a fresh process over the loaded runtime; phone not available"
    )
    assert second.loc["mean_memory", ours].isna().all()
    assert second.loc["mean_memory", "remark"].endswith("memory not measured; phone not available")
    assert first["hardware"].eq("two cores, 2 thread(s)").all()
    assert beside["ours_tflite_phone"].isna().all()
    assert beside.loc[5, "remark"].startswith("other backbone (mobilenet_v2); random weights")
    assert beside["tf_model"].head(5).equals(paper.table(5)["tf_model"])


def test_beside_table5_has_folds_and_lacks_what_was_not_converted(results):
    profile(results / "ravdess" / "densenet121-none-s0-5folds" / "fold2", rows=[])
    beside = paper.beside_table5().set_index("quantity")
    assert set(beside["ours_run"]) == {"ravdess/densenet121-none-s0-5folds/fold2"}
    assert np.isnan(beside.loc["mean_time", "ours_tflite_cpu"])
    assert beside.loc["parameters", "ours_tf_model"] == 7.1


def test_a_phone_fills_its_column(results):
    folder = results / "ravdess" / "densenet121-none-s0"
    profile(folder)
    phone = {"name": "Pixel 8", "ms": 242.0, "growth_mb": 77.1, "size_bytes": 28_950_800}
    phone |= {"file": "cnn.tflite", "threads": 4}
    (folder / "device.json").write_text(json.dumps(phone))
    beside = paper.beside_table5().set_index("quantity")
    found = beside["ours_tflite_phone"]
    assert found["mean_time"] == 242
    assert found["mean_memory"] == 77.1
    assert found["model_size"] == pytest.approx(28.9508)
    assert np.isnan(found["flops"])
    assert beside.loc["mean_time", "remark"] == "phone: Pixel 8 (cnn.tflite, 4 thread(s))"
    (folder / "device.json").write_text('{"name": "Pixel 8", "ms": 242.0}')
    assert paper.beside_table5()["remark"][0] == "phone: Pixel 8"


# One corpus's block


def test_ablation_block(results):
    for configuration in ("svm", "none", "cutmix"):
        write_run(results, configuration=configuration)
    write_run(results, configuration="specaugment", test=None)
    write_run(results, "demo", configuration="cutmix+specaugment")
    block = paper.ablation_block("ravdess", paper.runs())
    assert list(block.index) == list(paper.LABELS.values())
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
    block = paper.ablation_block("ravdess", paper.runs())
    assert block.attrs["caption"] == "ravdess: mobilenet_v2, preset tuned, seed 0"
    assert block["Test"].tolist() == ["50.0", "–", "50.0", "50.0", "–", "–"]


def test_ablation_block_takes_the_svm_of_another_seed(results):
    write_run(results, configuration="svm", test=evaluation(0.4))
    write_run(results, configuration="none", seed=2)
    block = paper.ablation_block("ravdess", paper.runs())
    assert block["Test"].tolist()[:3] == ["40.0", "–", "76.6"]


def test_ablation_block_of_a_baseline_alone(results):
    write_run(results, configuration="svm")
    block = paper.ablation_block("ravdess", paper.runs())
    assert block["Test"].tolist() == ["76.6", "–", "–", "–", "–", "–"]
    assert block.attrs["caption"] == "ravdess: densenet121, preset paper, seed 0"


def test_the_acoustic_baseline_stands_below_the_svm_whatever_the_backbone(results):
    other = {"backbone": "mobilenet_v2"}
    write_run(results, configuration="svm", **other)
    write_run(results, configuration="librosa", test=evaluation(0.9))
    alone = paper.ablation_block("ravdess", paper.runs())
    assert alone.attrs["caption"] == "ravdess: mobilenet_v2, preset paper, seed 0"
    write_run(results, configuration="none", seed=2, overrides={"units": [128, 64]}, **other)
    block = paper.ablation_block("ravdess", paper.runs())
    assert list(block.index[:3]) == [
        "Deep Spectrum + linear SVM",
        "librosa statistics + RBF-SVM",
        "no augmentation",
    ]
    assert block["Test"].tolist()[:4] == ["76.6", "90.0", "76.6", "–"]


def test_the_acoustic_baseline_of_another_preset_is_not_shown(results):
    write_run(results, configuration="none")
    write_run(results, configuration="librosa", preset="tuned")
    assert paper.ablation_block("ravdess", paper.runs())["Test"].tolist()[:3] == ["–", "–", "76.6"]


def test_ablation_block_of_the_acoustic_baseline_alone(results):
    write_run(results, configuration="librosa")
    block = paper.ablation_block("ravdess", paper.runs())
    assert block["Test"].tolist() == ["–", "76.6", "–", "–", "–", "–"]
    assert block.attrs["caption"] == "ravdess: preset paper, seed 0"


def test_the_published_tables_know_nothing_of_the_acoustic_baseline(results):
    before = [paper.beside(n) for n in (3, 4)]
    write_run(results, configuration="librosa")
    write_run(results, "iemocap", configuration="librosa")
    for n, frame in zip((3, 4), before, strict=True):
        pd.testing.assert_frame_equal(paper.beside(n), frame)
    assert paper.runs()["configuration"].tolist() == ["librosa", "librosa"]
    assert paper.runs()["backbone"].tolist() == ["", ""]


def test_the_figure_has_the_baselines_first(results):
    for configuration in ("none", "librosa", "svm"):
        write_run(results, configuration=configuration)
    drawn = tables.forest(paper.runs())["configuration"].unique().tolist()
    assert drawn == list(paper.LABELS.values())[:3]


def test_the_baselines_are_kinds_of_runs():
    assert tuple(runs.FEATURES.values()) == paper.BASELINES
    assert set(paper.LABELS) == {*paper.BASELINES, *settings.AUGMENTATIONS}


def test_ablation_block_of_a_regression_shows_rho(results):
    scores = evaluation(0.31, "spearman", 0.0, speakers=None)
    write_run(results, "mine", devel=scores, test=scores)
    block = paper.ablation_block("mine", paper.runs())
    assert block.loc["no augmentation"].tolist() == ["0.31", "0.31", "0.26–0.36", "–"]


def test_to_markdown():
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": ["x|y", "z"]})
    assert tables.to_markdown(frame) == "| a | b |\n| ---: | :--- |\n| 1.5 | x\\|y |\n|  | z |"


def test_readable_puts_ours_below_the_published_row():
    frame = pd.DataFrame(
        {
            "dataset": ["ccs", "ravdess", "sleep"],
            "devel": [56.5, 84.7, 66.0],
            "ci_low": [62.2, 72.7, 62.9],
            "chance": [50.0, 20.0, 50.0],
            "ours_devel": [np.nan, 45.8333, np.nan],
            "ours_low": [np.nan, 30.04, np.nan],
            "ours_run": ["", "mobilenet_v2-none-s0", ""],
            "remark": ["restricted", "other backbone", "restricted"],
        }
    )
    table = tables.readable(frame)
    assert table["source"].tolist() == ["published", "published", "ours", "published"]
    assert table["devel"].tolist() == ["56.5", "84.7", "45.8", "66.0"]
    assert table["ci_low"].tolist() == ["62.2", "72.7", "30.0", "62.9"]
    said = ["restricted", "", "mobilenet_v2-none-s0; other backbone", "restricted"]
    assert table["remark"].tolist() == said
    assert "chance" not in table
    same = tables.readable(frame.iloc[[0, 2]])
    assert same["remark"].tolist() == ["restricted", "″"]


def test_table_2_as_printed_marks_what_is_assumed():
    table = tables.hyperparameters(paper.table(2)).set_index("hyperparameter")
    assert table.loc["fine_tuned_layers", "ravdess"] == "42"
    assert table.loc["dropout", "css"] == "0.4"
    assert table.loc["chunk_length_s", "ravdess"] == "4*"

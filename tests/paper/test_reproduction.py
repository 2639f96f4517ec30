"""Every published number beside made-up runs: each verdict, and what a substitute may be called."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.paper import published, reproduction
from dslite.training import runs
from dslite.training.runs import LABELS, all_runs
from tests.finished_runs import evaluation, into_record, write_metrics, write_run

NO_FINDINGS = pd.DataFrame(columns=["id", "holds", "explanation", "keys"])


def judged(findings=NO_FINDINGS):
    """Every published number with its verdict, by its key."""
    return reproduction.numbers(all_runs(), findings).set_index("key")


# Tables 3 and 4


def test_the_papers_own_runs_are_judged(results):
    for seed in (1, 0):
        write_run(results, seed=seed)
    numbers = judged()
    row = numbers.loc["4/ravdess/none/test"]
    expected = {
        "verdict": published.COMPATIBLE,
        "half_widths": "± 6 / ± 5",
        "runs": "ravdess/densenet121-none-s0-paper;ravdess/densenet121-none-s1-paper",
        **{"seconds": 21, "date": "2026-01-02", "commit": "abc", "hardware": "P, 2 cores"},
        "command": "for seed in 0 1; do dslite train ravdess --preset paper --backbone densenet121 "
        "--augmentation none --seed $seed; done",
    }
    assert row[list(expected)].to_dict() == expected
    assert row["reproduced"] == pytest.approx(76.6, abs=1)
    assert row["reproduced_ci_low"] < row["reproduced"] < row["reproduced_ci_high"]
    assert "chance 16.7 instead of 20.0" in row["remark"]
    devel = ["verdict", "half_widths"]
    expected = [published.COMPATIBLE, "none printed / ± 4"]
    assert numbers.loc["4/ravdess/none/devel", devel].tolist() == expected
    bounds = numbers.loc[["4/ravdess/none/ci_low", "4/ravdess/none/ci_high"]]
    assert bounds["reproduced"].tolist() == [row["reproduced_ci_low"], row["reproduced_ci_high"]]
    assert bounds["verdict"].tolist() == [row["verdict"]] * 2
    assert bounds["reproduced_ci_low"].isna().all()
    assert bounds["half_widths"].eq("").all()


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.70, published.OVERLAPPING), (0.40, published.CONTRADICTED), (None, published.NOT_RUN)],
)
def test_a_run_that_reproduces_nothing(results, share, verdict):
    write_run(results, test=share, devel=share or 0.847)
    write_run(results, "ess", "svm", devel=0.642, test=0.564)
    numbers = judged()
    rows = numbers.loc[[f"4/ravdess/none/{column}" for column in ("test", "ci_low", "devel")]]
    devel = published.CONTRADICTED if share else published.COMPATIBLE
    assert rows["verdict"].tolist() == [verdict, verdict, devel]
    assert ("blinded" in rows["remark"].iloc[1]) == (share is None)
    svm = numbers.loc["3/ess/svm/test"]
    assert svm["verdict"] == published.COMPATIBLE
    assert svm["command"].startswith("dslite baseline ess --preset paper --backbone densenet121")
    assert "--augmentation" not in svm["command"]


def test_where_nothing_was_run(results, tmp_path):
    numbers = judged()
    ccs, ravdess = (numbers.loc[f"{key}/none/test"] for key in ("3/ccs", "4/ravdess"))
    assert (ccs["verdict"], ravdess["verdict"]) == (published.RESTRICTED, published.NOT_RUN)
    assert ccs["remark"].startswith("corpus not at hand: ")
    assert ccs["command"].startswith("dslite train ccs ")
    assert "dslite fetch ravdess" in ravdess["remark"]
    # The chance is that of Table 1, and Table 2 stands beside our preset, which is to the letter.
    assert numbers.loc["3/ess/chance", "verdict"] == published.COMPUTED
    assert numbers.loc["4/demos/chance", "reproduced"] == pytest.approx(100 / 7)
    assert numbers.loc["4/ravdess/chance", "verdict"] == published.CONTRADICTED
    rows = numbers[numbers["table"] == 2]
    assert rows["verdict"].eq(published.SETTING).all()
    np.testing.assert_array_equal(rows["reproduced"], rows["value"])
    assert "assumed" in numbers.loc["2/ravdess/chunk_length_s", "remark"]
    table = reproduction.summary(numbers.reset_index())
    assert table.to_numpy().sum() == len(numbers)
    assert table.loc[published.SETTING, 2] == len(rows)
    assert list(table.index) == [one for one in published.ORDER if one in set(numbers["verdict"])]
    (tmp_path / "raw" / "ccs").mkdir(parents=True)
    assert judged().loc["3/ccs/none/test", "verdict"] == published.NOT_RUN


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"backbone": "mobilenet_v2", "preset": "tuned"}, "MobileNetV2, tuned"),
        ({"weights": "random"}, "DenseNet121, paper, random weights"),
    ],
)
def test_a_substitute_is_never_called_a_reproduction(results, settings, label):
    write_run(results, **settings)
    numbers = judged()
    for column in ("devel", "test", "ci_low"):
        row = numbers.loc[f"4/ravdess/none/{column}"]
        assert row["verdict"] == published.WEIGHTS
        assert np.isnan(row["reproduced"])
        assert label not in row["remark"]
    assert numbers.loc["4/ravdess/cutmix/test", "verdict"] == published.WEIGHTS
    scores = numbers.index.str.startswith(("3/", "4/")) & (numbers["column"] != "chance")
    assert not numbers.loc[scores, "verdict"].isin(published.TESTED).any()
    row = reproduction.substitutes(all_runs()).set_index("key").loc["4/ravdess/none/test"]
    assert row["agreement"] == published.INSIDE_BOTH
    assert row["label"] == label


def test_another_preset_or_setting_is_a_substitute_too(results):
    write_run(results, preset="tuned")
    overridden = {"weights": "random", "units": 64, "trim": "on"}
    write_run(results, configuration="cutmix", **overridden)
    row = judged().loc["4/ravdess/none/test"]
    assert row["verdict"] == published.NOT_RUN
    table = reproduction.substitutes(all_runs()).set_index("label")
    (other,) = set(table.index) - {"DenseNet121, tuned"}
    assert other.startswith("DenseNet121, paper, override ")
    assert "units 128 -> 64" in other
    assert (
        table.loc[other, "command"]
        .str.endswith(
            "--augmentation cutmix --seed 0 --weights random --set trim=on --set units=64"
        )
        .all()
    )


def test_weights_from_a_file_are_the_papers(results, tmp_path):
    file = tmp_path / "densenet121.h5"
    file.write_bytes(b"")
    write_run(results, weights=str(file))
    row = judged().loc["4/ravdess/none/test"]
    assert row["verdict"] == published.COMPATIBLE
    assert "weights of the file densenet121.h5" in row["remark"]
    assert str(tmp_path) not in row["remark"] + row["command"]
    assert reproduction.substitutes(all_runs()).empty


# Substitutes


def test_substitutes_of_several_seeds(results):
    other = {"backbone": "mobilenet_v2", "preset": "tuned"}
    for seed, share in enumerate((0.70, 0.75, 0.80)):
        write_run(results, seed=seed, test=share, devel=0.5, **other)
    write_run(results, backbone="squeezenet")
    write_run(results, backbone="squeezenet", seed=1, epochs_phase1=1)  # shortened: does not count
    write_run(results, configuration="svm", **other)  # Table 4 has no such row
    table = reproduction.substitutes(all_runs())
    assert table["key"].tolist() == ["4/ravdess/none/devel"] * 2 + ["4/ravdess/none/test"] * 2
    assert table.columns.tolist() == list(reproduction.SUBSTITUTES)
    tuned = table["label"] == "MobileNetV2, tuned"
    assert set(table.loc[~tuned, "seeds"]) == {1}
    assert table.loc[~tuned, "deviation"].isna().all()
    tuned = table[tuned].set_index("column")
    assert tuned["seeds"].tolist() == [3, 3]
    scores = tuned.loc["test", ["reproduced", "deviation"]].tolist()
    assert scores == pytest.approx([75, 5], abs=0.5)
    assert tuned.loc["devel", "agreement"] == published.APART
    assert np.isnan(tuned.loc["devel", "published_low"])
    printed = tuned.loc["test", ["published", "published_low", "seconds"]]
    assert printed.tolist() == [76.6, 72.7, 31.5]
    assert "other backbone (mobilenet_v2), preset tuned" in tuned.loc["test", "remark"]


# Over seeds


@pytest.mark.parametrize("seeds", [1, 2])
def test_records_without_predictions_keep_the_bounds_of_their_seeds(results, seeds):
    folders = [write_run(results, seed=seed, predictions=seeds == 1) for seed in range(seeds)]
    row = judged().loc["4/ravdess/none/test"]
    per_seed = [runs.load(folder).metrics["test"]["file"] for folder in folders]
    bounds = 100 * np.mean([one["interval_files"] for one in per_seed], axis=0)
    assert row[["reproduced_ci_low", "reproduced_ci_high"]].tolist() == pytest.approx(list(bounds))
    assert row["reproduced"] == pytest.approx(100 * np.mean([one["score"] for one in per_seed]))
    assert (reproduction.NO_FILES in row["remark"]) == (seeds == 2)


def test_seeds_of_other_files_are_refused(results):
    write_run(results)
    changed = write_run(results, seed=1) / "predictions.csv"
    changed.write_text(changed.read_text().replace("test7,", "test7b,"))
    with pytest.raises(InputError, match=r"densenet121-none-s1-paper: .*other files"):
        judged()


def test_table_1_is_counted(results):
    counts = "dataset,files,classes,speakers,minutes,mean_s,std_s\n"
    counted, record = results / "ravdess" / "table1.csv", paths.records() / "study" / "table1.csv"
    recorded = ("ravdess,1,6,1,1,1,1", "ess,914,3,0,58.7,3.86,1.6418")
    for file, rows in ((counted, ("ravdess,1012,6,23,78.4012,4.66,0.42131",)), (record, recorded)):
        file.parent.mkdir(parents=True)
        file.write_text(counts + "\n".join(rows))
    numbers = judged()
    expected = {
        "1/ravdess/minutes": published.EQUAL,
        "1/ravdess/mean_s": published.CONTRADICTED,
        "1/ess/files": published.EQUAL,
        "1/ess/speakers": published.NOT_RUN,
        "1/ccs/files": published.RESTRICTED,
    }
    assert numbers.loc[list(expected), "verdict"].to_dict() == expected
    assert numbers.loc["1/ravdess/minutes", "reproduced"] == 78.4012
    assert "unknown" in numbers.loc["1/ess/speakers", "remark"]
    assert numbers.loc["1/ccs/files", "command"] == "dslite partition ccs"


# All of them


def test_a_number_that_the_paper_contradicts_keeps_ours(results):
    write_run(results)
    rows = [
        (False, "One.", "4/ravdess/none/test;1/ccs/files"),
        (False, "Two.", "4/ravdess/none/test"),
        (True, "Three.", ""),
    ]
    numbers = judged(pd.DataFrame(rows, columns=["holds", "explanation", "keys"]))
    row = numbers.loc["4/ravdess/none/test"]
    assert (row["verdict"], row["remark"]) == (published.ITSELF, "One. Two.")
    assert row["reproduced"] == pytest.approx(76.6, abs=1)
    assert numbers.loc["1/ccs/files", "verdict"] == published.ITSELF
    assert numbers.loc["4/ravdess/none/devel", "verdict"] == published.COMPATIBLE


# Table 5


def profile(folder, memory=True, **changes):
    """A profile as `dslite.deployment.profile_run` leaves it, of two numbers of threads."""
    columns = ["part", "variant", "threads", "ms", "size_bytes", "growth_mb"][: 6 if memory else 5]
    cells = [("cnn", "Keras, compiled", 8, 90.0, 30e6, 117)]
    for part, ms, size, grown in (("spectrogram", 11.0, 120_000, 4), ("cnn", 120.0, 29e6, 60)):
        cells += [(part, "float32", n, ms / n, size, grown) for n in (1, 2)]
    rows = [dict(zip(columns, row, strict=False)) for row in cells]
    content = {
        **{"backbone": "densenet121", "random_weights": False, "hardware": "two cores"},
        **{"threads": [2, 1], "parameters": 7_100_000, "multiply_adds": 2_870_000_000},
        **{"rows": rows, "date": "2026-02-02"},
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(content))
    summary = {"kind": "deepspectrumlite", "augmentation": "none", "preset": "paper", "seed": 0}
    summary |= {key: content[key] for key in ("backbone", "random_weights")}
    (folder / "metrics.json").write_text(json.dumps(summary))
    (folder / "run.json").write_text('{"settings": {}}')
    return folder


COLUMNS = [*reproduction.STAGES, "tflite_phone"]


def table(name):
    """What was measured of a run, laid out like Table 5."""
    return reproduction.measured(*reproduction.profiles()[name])


RUN = "ravdess/densenet121-none-s0"


def test_a_profile_is_laid_out_like_table_5(results):
    profile(results / RUN)
    measured = table(RUN)
    assert measured.index.tolist() == published.table(5)["quantity"].tolist()
    cells = measured.loc[["mean_time", "model_size", "mean_memory"], COLUMNS]
    assert cells[["preprocessing", "tf_model", "tflite_cpu"]].to_numpy().tolist() == [
        *([5.5, 90, 60], [0.12, 30, 29], [4, 117, 60])
    ]
    assert measured.loc[["flops", "parameters"], "tf_model"].tolist() == [2.87, 7.1]
    assert measured.loc["mean_memory", "remark"] == f"{reproduction.MEMORY}; phone not available"
    assert measured["hardware"].eq("two cores, 2 threads").all()
    assert measured["tflite_phone"].isna().all()
    # What was not measured:
    profile(results / RUN, memory=False, backbone="mobilenet_v2", random_weights=True)
    row = table(RUN).loc["mean_memory"]
    assert row[COLUMNS].isna().all()
    assert row["remark"] == (
        "other backbone (mobilenet_v2); random weights; memory not measured; phone not available"
    )


def test_measurements_are_of_pretrained_networks_of_these_corpora(results):
    profile(results / "ravdess" / "mobilenet_v2-none-s0", backbone="mobilenet_v2")
    other = {"part": "model", "variant": "float32", "threads": 1, "ms": 1.0, "size_bytes": 1}
    profile(results / RUN, rows=[other])
    profile(results / "ravdess" / "random", random_weights=True)
    profile(results / "demo" / "densenet121-none-s0")
    names = [name for name in reproduction.profiles() if name.startswith("ravdess/")]
    long = reproduction.measurements([name for name in names if not name.endswith("random")])
    assert long["label"].unique().tolist() == [RUN, "ravdess/mobilenet_v2-none-s0"]
    first = long[long["label"] == RUN].set_index(["quantity", "column"])["reproduced"]
    assert first.to_dict() == {("flops", "tf_model"): 2.87, ("parameters", "tf_model"): 7.1}
    assert reproduction.measurements([]).empty


def test_a_phone_fills_its_column(results):
    profile(results / RUN)
    phone = {"name": "Pixel 8", "ms": 242.0, "growth_mb": 77.1, "size_bytes": 28_950_800}
    phone |= {"file": "cnn.tflite", "threads": 4}
    (results / RUN / "device.json").write_text(json.dumps(phone))
    column = table(RUN)["tflite_phone"]
    quantities = ["mean_time", "mean_memory", "model_size", "flops"]
    expected = [242, 77.1, 28.9508, np.nan]
    assert column[quantities].tolist() == pytest.approx(expected, nan_ok=True)
    assert table(RUN).loc["mean_time", "remark"] == "phone: Pixel 8 (cnn.tflite, 4 threads)"
    (results / RUN / "device.json").write_text('{"name": "Pixel 8", "ms": 242.0}')
    assert table(RUN)["remark"].iloc[0] == "phone: Pixel 8"


def test_a_recorded_profile_counts_unless_the_user_has_measured_again(results):
    fold = profile(results / f"{RUN}-5folds" / "fold1")
    into_record(profile(results / RUN, multiply_adds=10**9), fold)
    assert table(RUN).loc["flops", "tf_model"] == 1
    profile(results / RUN)
    assert table(RUN).loc["flops", "tf_model"] == 2.87
    assert set(reproduction.profiles()) == {RUN, f"{RUN}-5folds/fold1"}


# Verdicts


def judged_costs():
    numbers = judged()
    return numbers[numbers["table"] == 5]


def papers(folder, units=512, parameters=7_600_000, program=0.15e6, keras=31.5e6, **settings):
    """A profile of the paper's network, and the head of its run's record."""
    stages = [("spectrogram", "float32", program), ("cnn", "float32", 30.01e6)]
    stages.append(("cnn", "Keras, compiled", keras))
    shared = {"threads": 1, "ms": 9.0} | ({"growth_mb": 4.0} if units == 512 else {})
    rows = [dict(zip(("part", "variant", "size_bytes"), s, strict=True)) | shared for s in stages]
    profile(folder, rows=rows, threads=[1], parameters=parameters, random_weights=True)
    chosen = {"units": units, "feature_layer": "", "pooling": "global", "image_size": 224}
    record = {"settings": chosen | settings, "weights": {"random": True}, "seed": 0}
    record |= {"overrides": {"units": [128, units]}, "preset": "paper", "commit": "abc"}
    (folder / "run.json").write_text(json.dumps(record))


def test_counts_are_compared_and_times_are_not(results):
    rows = judged_costs()
    assert rows["verdict"].eq(published.NOT_RUN).all()
    assert rows["command"].str.contains("&& dslite convert .*densenet121-none-s0-paper").all()
    papers(results / "ravdess" / "densenet121-none-s0-x")
    rows = judged_costs()
    expected = {
        published.HARDWARE: ["mean_time/tflite_cpu", "mean_memory/preprocessing"],
        published.ANOTHER: ["flops/tf_model", "model_size/tf_model"],
        published.EQUAL: ["parameters/tf_model", "model_size/preprocessing"],
        published.NOT_RUN: ["parameters/tflite_cpu"],  # counted in the TF model only
    }
    expected[published.HARDWARE].append("mean_time/tflite_phone")
    expected[published.EQUAL] += ["model_size/tflite_cpu", "model_size/tflite_phone"]
    for verdict, keys in expected.items():
        assert rows.loc[[f"5/{key}" for key in keys], "verdict"].eq(verdict).all(), verdict
    row = rows.loc["5/flops/tf_model"]
    origin = ["reproduced", "date", "commit", "hardware"]
    assert row[origin].tolist() == [2.87, "2026-02-02", "abc", "two cores, 1 thread"]
    assert "random weights" in row["remark"]
    assert "the FLOPs, 2 x 2.87 = 5.74 G" in row["remark"]
    size = rows.loc["5/model_size/tf_model", "remark"]
    # 5,755,840 in the last 298 layers, and the head
    assert "31.5 MB + 2 x 4 bytes x 6.32 M = 82.0 MB" in size
    assert "instead of 512" not in row["remark"]
    assert row["command"].startswith(
        "dslite train ravdess --preset paper --backbone densenet121 --augmentation none --seed 0"
        " --weights random --set units=512 && dslite convert "
    )
    assert rows.loc["5/mean_time/tflite_cpu", "reproduced"] == 9
    assert np.isnan(rows.loc["5/mean_time/tflite_phone", "reproduced"])


def test_a_difference_that_the_arithmetic_does_not_explain_stays_one(results):
    papers(results / "ravdess" / "a", program=0.1438e6, keras=25e6)
    rows = judged_costs()
    assert rows.loc["5/model_size/tf_model", "verdict"] == published.CONTRADICTED
    row = rows.loc["5/model_size/preprocessing"]
    assert row["verdict"] == published.ANOTHER
    assert "128 x 257 x 4 bytes = 0.132 MB" in row["remark"]
    papers(results / "ravdess" / "a", program=0.12e6)  # without room for the filters
    row = judged_costs().loc["5/model_size/preprocessing"]
    assert row["verdict"] == published.CONTRADICTED


def test_best_on_devel_is_the_mean_over_seeds_and_of_it_the_first(results):
    other = {"backbone": "mobilenet_v2", "preset": "tuned"}
    for seed, devel in enumerate((0.7, 0.9)):  # the lucky run is its second
        write_run(results, configuration="cutmix", seed=seed, devel=devel, **other)
    for seed in (2, 1):
        write_run(results, seed=seed, devel=0.85, **other)
    write_run(results, configuration="specaugment", devel=0.85, **other)
    write_run(results, devel=0.99, weights="random", **other)
    best = reproduction.best_on_devel(all_runs())
    order = [f"mobilenet_v2-{of}-tuned" for of in ("none-s1", "specaugment-s0", "cutmix-s0")]
    assert best["run"].tolist() == order
    names = [f"ravdess/mobilenet_v2-{of}-tuned" for of in ("cutmix-s1", "specaugment-s0")]
    row = {"part": "cnn", "variant": "float32", "threads": 1, "ms": 1.0}
    measured = {"backbone": "mobilenet_v2", "rows": [row]}
    for name in names:
        (results / name / "profile.json").write_text(json.dumps(measured))
    assert reproduction.best_measured(all_runs()) == names[1:]  # none of another seed


def test_the_published_head_is_preferred_and_no_cut_network(results):
    home = results / "ravdess"
    papers(home / "a", 128)
    papers(home / "b", parameters=1, feature_layer="stride4")
    rows = judged_costs()
    assert set(rows["runs"]) == {"ravdess/a"}
    assert "head of 128 units instead of 512" in rows.loc["5/parameters/tf_model", "remark"]
    assert rows.loc["5/mean_memory/tf_model", "verdict"] == published.NOT_RUN
    papers(home / "c")
    assert reproduction.of_papers_network()[0] == "ravdess/c"


# The finished runs of one corpus


def test_finished_runs_are_laid_out_like_a_block_of_table_4(results):
    write_metrics(results, "specaugment", test=None)
    write_metrics(results, "none", seed=2, overrides={"units": [128, 64]})
    for configuration in ("cutmix", "librosa", "none"):
        write_metrics(results, configuration)
    scores = evaluation(0.31, "spearman", 0.0, speakers=None)
    write_metrics(results, dataset="mine", devel=scores, test=scores, random_weights=True)
    block = reproduction.ablation_block(all_runs(dataset="ravdess"))
    names = [LABELS[name] for name in ("librosa", "none", "none", "cutmix", "specaugment")]
    assert list(block.index) == names
    assert block.iloc[0, -1] == "paper, seed 0"
    runs = ["densenet121, paper, seed 0", "densenet121, paper, seed 2, override units 128 -> 64"]
    assert block.loc["no augmentation", "Run"].tolist() == runs
    assert block.loc["CutMix"].tolist()[:4] == ["70.0", "76.6", "71.6–81.6", "50.0–90.0"]
    assert block.loc["SpecAugment"].tolist()[:4] == ["70.0", "–", "–", "–"]
    (row,) = reproduction.ablation_block(all_runs(dataset="mine")).to_numpy().tolist()
    run = "densenet121, paper, seed 0, random weights"
    assert row == ["0.31", "0.31", "0.26–0.36", "–", run]

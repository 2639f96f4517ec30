"""Table 5: what was measured here, and the verdicts on the published numbers."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite.paper import published, reproduction
from dslite.training.runs import all_runs
from tests.finished_runs import into_record


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


def table(name):
    """What was measured of a run, laid out like Table 5."""
    return reproduction.measured(*reproduction.profiles()[name])


RUN = "ravdess/densenet121-none-s0"


def test_a_profile_is_laid_out_like_table_5(results):
    profile(results / RUN)
    measured = table(RUN)
    assert measured.index.tolist() == published.table(5)["quantity"].tolist()
    cells = measured.loc[["mean_time", "model_size", "mean_memory"], list(reproduction.COLUMNS)]
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
    assert row[list(reproduction.COLUMNS)].isna().all()
    assert row["remark"] == (
        "other backbone (mobilenet_v2); random weights; memory not measured; phone not available"
    )


def test_measurements_are_of_pretrained_networks_of_these_corpora(results):
    profile(results / "ravdess" / "mobilenet_v2-none-s0", backbone="mobilenet_v2")
    profile(results / RUN, rows=[])
    profile(results / "ravdess" / "random", random_weights=True)
    profile(results / "demo" / "densenet121-none-s0")
    long = reproduction.measurements({"ravdess"})
    assert long["label"].unique().tolist() == [RUN, "ravdess/mobilenet_v2-none-s0"]
    first = long[long["label"] == RUN].set_index(["quantity", "column"])["reproduced"]
    assert first.to_dict() == {("flops", "tf_model"): 2.87, ("parameters", "tf_model"): 7.1}
    assert reproduction.measurements({"ccs"}).empty


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


def judged():
    empty = pd.DataFrame(columns=["holds", "explanation", "keys"])
    runs = all_runs()
    numbers = reproduction.numbers(runs, empty, reproduction.substitutes(runs))
    return numbers[numbers["table"] == 5].set_index("key")


def papers(folder, units=512, parameters=7_600_000, **settings):
    """A profile of the paper's network, and the head of its run's record."""
    stages = [("spectrogram", "float32", 0.15e6), ("cnn", "float32", 30.01e6)]
    stages.append(("cnn", "Keras, compiled", 31e6))
    shared = {"threads": 1, "ms": 9.0} | ({"growth_mb": 4.0} if units == 512 else {})
    rows = [dict(zip(("part", "variant", "size_bytes"), s, strict=True)) | shared for s in stages]
    profile(folder, rows=rows, threads=[1], parameters=parameters, random_weights=True)
    chosen = {"units": units, "feature_layer": "", "pooling": "global", "image_size": 224}
    record = {"settings": chosen | settings, "weights": {"random": True}, "seed": 0}
    record |= {"overrides": {"units": [128, units]}, "preset": "paper", "commit": "abc"}
    (folder / "run.json").write_text(json.dumps(record))


def test_counts_are_compared_and_times_are_not(results):
    rows = judged()
    assert rows["verdict"].eq(published.NOT_RUN).all()
    assert rows["command"].str.contains("&& dslite convert .*densenet121-none-s0-paper").all()
    papers(results / "ravdess" / "densenet121-none-s0-x")
    rows = judged()
    expected = {
        published.HARDWARE: ["mean_time/tflite_cpu", "mean_memory/preprocessing"],
        published.CONTRADICTED: ["flops/tf_model", "model_size/tf_model"],
        published.REPRODUCED: ["parameters/tf_model", "model_size/preprocessing"],
        published.NOT_RUN: ["parameters/tflite_cpu"],  # counted in the TF model only
    }
    expected[published.HARDWARE].append("mean_time/tflite_phone")
    expected[published.REPRODUCED] += ["model_size/tflite_cpu", "model_size/tflite_phone"]
    for verdict, keys in expected.items():
        assert rows.loc[[f"5/{key}" for key in keys], "verdict"].eq(verdict).all(), verdict
    row = rows.loc["5/flops/tf_model"]
    origin = ["reproduced", "date", "commit", "hardware"]
    assert row[origin].tolist() == [2.87, "2026-02-02", "abc", "two cores, 1 thread"]
    assert "random weights" in row["remark"]
    assert "instead of 512" not in row["remark"]
    assert row["command"].startswith(
        "dslite train ravdess --preset paper --backbone densenet121 --augmentation none --seed 0"
        " --weights random --set units=512 && dslite convert "
    )
    assert rows.loc["5/mean_time/tflite_cpu", "reproduced"] == 9
    assert np.isnan(rows.loc["5/mean_time/tflite_phone", "reproduced"])


def test_the_published_head_is_preferred_and_no_cut_network(results):
    home = results / "ravdess"
    papers(home / "a", 128)
    papers(home / "b", parameters=1, feature_layer="stride4")
    rows = judged()
    assert set(rows["runs"]) == {"ravdess/a"}
    assert "head of 128 units instead of 512" in rows.loc["5/parameters/tf_model", "remark"]
    assert rows.loc["5/mean_memory/tf_model", "verdict"] == published.NOT_RUN
    papers(home / "c")
    assert reproduction.of_papers_network()[0] == "ravdess/c"

"""Table 5: what was measured here, and the verdicts on the published numbers."""

import json

import numpy as np
import pandas as pd
import pytest

from dslite.paper import costs, published, reproduction
from dslite.training.runs import all_runs
from tests.finished_runs import into_record


def profile(folder, memory=True, **changes):
    """A profile as `dslite.deployment.profile_run` leaves it, of two numbers of threads."""
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
    return costs.measured(*costs.profiles()[name])


RUN = "ravdess/densenet121-none-s0"


def test_a_profile_is_laid_out_like_table_5(results):
    profile(results / RUN)
    measured = table(RUN)
    assert measured.index.tolist() == published.table(5)["quantity"].tolist()
    cells = measured.loc[["mean_time", "model_size", "mean_memory"], list(costs.COLUMNS)]
    assert cells[["preprocessing", "tf_model", "tflite_cpu"]].to_numpy().tolist() == [
        *([5.5, 90, 60], [0.12, 30, 29], [4, 117, 60])
    ]
    assert measured.loc[["flops", "parameters"], "tf_model"].tolist() == [2.87, 7.1]
    assert measured.loc["mean_memory", "remark"] == f"{costs.MEMORY}; phone not available"
    assert measured["hardware"].eq("two cores, 2 thread(s)").all()
    assert measured["tflite_phone"].isna().all()


def test_measurements_are_of_pretrained_networks_of_these_corpora(results):
    profile(results / "ravdess" / "mobilenet_v2-none-s0", backbone="mobilenet_v2")
    profile(results / RUN, rows=[])
    profile(results / "ravdess" / "random", random_weights=True)
    profile(results / "demo" / "densenet121-none-s0")
    long = costs.measurements({"ravdess"})
    assert long["label"].unique().tolist() == [RUN, "ravdess/mobilenet_v2-none-s0"]
    first = long[long["label"] == RUN].set_index(["quantity", "column"])["reproduced"]
    assert first.to_dict() == {("flops", "tf_model"): 2.87, ("parameters", "tf_model"): 7.1}
    assert costs.measurements({"ccs"}).empty


def test_what_was_not_measured_is_said(results):
    profile(results / RUN, memory=False, backbone="mobilenet_v2", random_weights=True)
    measured = table(RUN)
    assert measured.loc["mean_memory", list(costs.COLUMNS)].isna().all()
    assert measured.loc["mean_memory", "remark"] == (
        "other backbone (mobilenet_v2); random weights; memory not measured; phone not available"
    )


def test_a_phone_fills_its_column(results):
    profile(results / RUN)
    phone = {"name": "Pixel 8", "ms": 242.0, "growth_mb": 77.1, "size_bytes": 28_950_800}
    phone |= {"file": "cnn.tflite", "threads": 4}
    (results / RUN / "device.json").write_text(json.dumps(phone))
    column = table(RUN)["tflite_phone"]
    quantities = ["mean_time", "mean_memory", "model_size", "flops"]
    expected = [242, 77.1, 28.9508, np.nan]
    assert column[quantities].tolist() == pytest.approx(expected, nan_ok=True)
    assert table(RUN).loc["mean_time", "remark"] == "phone: Pixel 8 (cnn.tflite, 4 thread(s))"
    (results / RUN / "device.json").write_text('{"name": "Pixel 8", "ms": 242.0}')
    assert table(RUN)["remark"].iloc[0] == "phone: Pixel 8"


def test_a_recorded_profile_counts_unless_the_user_has_measured_again(results):
    fold = profile(results / f"{RUN}-5folds" / "fold1")
    into_record(profile(results / RUN, multiply_adds=10**9), fold)
    assert table(RUN).loc["flops", "tf_model"] == 1
    profile(results / RUN)
    assert table(RUN).loc["flops", "tf_model"] == 2.87
    assert set(costs.profiles()) == {RUN, f"{RUN}-5folds/fold1"}


# Verdicts


def judged():
    empty = pd.DataFrame(columns=["holds", "explanation", "keys"])
    runs = all_runs()
    numbers = reproduction.numbers(runs, empty, reproduction.substitutes(runs))
    return numbers[numbers["table"] == 5].set_index("key")


def papers(folder, units=512, parameters=7_600_000, **settings):
    """A profile of the paper's network, and the head of its run's record."""
    stages = (("spectrogram", "float32", 0.15), ("cnn", "float32", 30.01),
              ("cnn", "Keras, compiled", 31.0))  # fmt: skip
    rows = [
        {"part": part, "variant": variant, "threads": 1, "ms": 9.0, "size_bytes": 1e6 * size}
        for part, variant, size in stages
    ]
    if units == 512:
        rows = [row | {"growth_mb": 4.0} for row in rows]
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
        "5/mean_time/tflite_cpu": published.HARDWARE,
        "5/mean_memory/preprocessing": published.HARDWARE,
        "5/mean_time/tflite_phone": published.HARDWARE,
        "5/flops/tf_model": published.CONTRADICTED,
        "5/parameters/tf_model": published.REPRODUCED,
        "5/parameters/tflite_cpu": published.NOT_RUN,  # counted in the TF model only
        "5/model_size/preprocessing": published.REPRODUCED,
        "5/model_size/tflite_cpu": published.REPRODUCED,
        "5/model_size/tflite_phone": published.REPRODUCED,
        "5/model_size/tf_model": published.CONTRADICTED,
    }
    assert rows.loc[list(expected), "verdict"].to_dict() == expected
    row = rows.loc["5/flops/tf_model"]
    told = ["reproduced", "date", "commit", "hardware"]
    assert row[told].tolist() == [2.87, "2026-02-02", "abc", "two cores, 1 thread(s)"]
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
    assert costs.of_papers_network()[0] == "ravdess/c"

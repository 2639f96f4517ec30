"""What `dslite.paper.costs` lays beside the published Table 5."""

import json

import numpy as np
import pytest

from dslite import paths
from dslite.paper import costs, published


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_nothing_was_measured(results):
    beside = costs.beside_table5()
    assert beside["remark"].eq("not run").all()
    assert beside["ours_tf_model"].isna().all()


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
        "rows": rows,
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(content))


def test_beside_table5(results):
    other = {"backbone": "mobilenet_v2", "random_weights": True}
    profile(results / "demo" / "mobilenet_v2-none-s0", memory=False, **other)
    profile(results / "ravdess" / "densenet121-none-s0")
    beside = costs.beside_table5()
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
    assert beside["tf_model"].head(5).equals(published.table(5)["tf_model"])


def test_beside_table5_has_folds_and_lacks_what_was_not_converted(results):
    profile(results / "ravdess" / "densenet121-none-s0-5folds" / "fold2", rows=[])
    beside = costs.beside_table5().set_index("quantity")
    assert set(beside["ours_run"]) == {"ravdess/densenet121-none-s0-5folds/fold2"}
    assert np.isnan(beside.loc["mean_time", "ours_tflite_cpu"])
    assert beside.loc["parameters", "ours_tf_model"] == 7.1


def test_a_phone_fills_its_column(results):
    folder = results / "ravdess" / "densenet121-none-s0"
    profile(folder)
    phone = {"name": "Pixel 8", "ms": 242.0, "growth_mb": 77.1, "size_bytes": 28_950_800}
    phone |= {"file": "cnn.tflite", "threads": 4}
    (folder / "device.json").write_text(json.dumps(phone))
    beside = costs.beside_table5().set_index("quantity")
    found = beside["ours_tflite_phone"]
    assert found["mean_time"] == 242
    assert found["mean_memory"] == 77.1
    assert found["model_size"] == pytest.approx(28.9508)
    assert np.isnan(found["flops"])
    assert beside.loc["mean_time", "remark"] == "phone: Pixel 8 (cnn.tflite, 4 thread(s))"
    (folder / "device.json").write_text('{"name": "Pixel 8", "ms": 242.0}')
    assert costs.beside_table5()["remark"][0] == "phone: Pixel 8"


def test_a_recorded_profile_counts_unless_the_user_has_measured_again(results):
    profile(paths.records() / "ravdess" / "densenet121-none-s0", multiply_adds=10**9)
    beside = costs.beside_table5().set_index("quantity")
    assert set(beside["ours_run"]) == {"ravdess/densenet121-none-s0"}
    assert beside.loc["flops", "ours_tf_model"] == 1
    profile(results / "ravdess" / "densenet121-none-s0")
    beside = costs.beside_table5().set_index("quantity")
    assert beside["ours_run"].tolist() == ["ravdess/densenet121-none-s0"] * 5
    assert beside.loc["flops", "ours_tf_model"] == 2.87
    # Beside it a fold of records, four folders deep below the results.
    profile(paths.records() / "ravdess" / "densenet121-none-s0-5folds" / "fold1")
    assert set(costs.profiles()) == {
        "ravdess/densenet121-none-s0",
        "ravdess/densenet121-none-s0-5folds/fold1",
    }

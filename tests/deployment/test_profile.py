"""What a run costs: times in turn, memory of a fresh process; and what is written."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dslite.deployment import profile
from dslite.deployment.runtime import VARIANTS
from dslite.features import spectrogram
from tests.deployment.stand_in import without_metadata


def test_several_calls_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = profile.time_in_turn(calls, 7)
    # Warm-up, then in each of 5 rounds one call that does not count before 1 or 2 that do
    assert "".join(order) == "aaaaabbbbb" + 2 * "aaabbb" + 3 * "aabb"
    assert [of["runs"] for of in times.values()] == [7, 7]
    times = profile.time_in_turn({"a": int}, 2)["a"]  # fewer than rounds
    assert times["runs"] == 2
    assert 0 <= times["ms_median"] <= times["ms_p95"]


def test_what_is_measured(profiled, converted_run):
    measurements = [(row["part"], row["variant"], row["threads"]) for row in profiled["rows"]]
    assert len(set(measurements)) == len(measurements)
    threads = profile.running_threads()
    assert set(measurements) == {
        *((part, of, n) for part in ("model", "cnn") for of in ("float32", "int8") for n in (1, 2)),
        *(("spectrogram", "float32", n) for n in (1, 2)),
        ("cnn", "Keras, compiled", threads),
        ("spectrogram", "TensorFlow", threads),
    }
    for row in profiled["rows"]:
        assert row["runs"] == 3
        assert 0 < row["ms_median"] <= row["ms_p95"]
    # 722,496 of SqueezeNet, 512 x 8 + 8, 2 of AReLU, 8 x 4 + 4
    assert profiled["parameters"] == 722_496 + 4104 + 2 + 36
    assert profiled["flops"] == 2 * profiled["multiply_adds"] > 1e6
    assert (profiled["backbone"], profiled["random_weights"]) == ("squeezenet", False)
    settings, counts = converted_run.settings, profiled["layers"]
    assert counts["head_parameters"] + counts["backbone_parameters"] == profiled["parameters"]
    assert counts["trained"] == int(counts["backbone"] * settings.trained_share)
    shapes = profiled["shapes"]
    assert shapes["samples"] == [settings.chunk_samples]
    assert shapes["mel"] == [settings.mel_bands, spectrogram.frames(settings)]
    assert shapes["picture"] == [settings.image_size] * 2 + [3]
    assert shapes["features"][-1] == shapes["pooled"][-1] == 512  # global pooling: one a map
    assert (shapes["hidden"], shapes["output"]) == ([8], [4])
    assert profiled["threads"] == [2, 1]


def test_memory_size_and_scores_of_each_file(profiled, converted_run):
    table = profile.profile_table(profiled)
    lite = table[table["variant"].isin(VARIANTS)]
    assert (lite["growth_mb"] > 0).all()
    assert (lite["peak_mb"] > lite["growth_mb"]).all()
    assert set(table["metric"]) == {"uar"}
    first = table.groupby(["part", "variant"]).first()
    peak = first.loc[("cnn", profile.KERAS), "peak_mb"]
    assert peak > 2 * lite["peak_mb"].max()  # TensorFlow itself
    size = (converted_run.folder / "model-int8.tflite").stat().st_size
    assert first.loc[("model", "int8"), "MB"] == size / 1e6
    # Only what was measured: by Keras, and by the file itself, with its interval.
    metrics = converted_run.metrics
    for partition in ("devel", "test"):
        score = first.loc[("cnn", profile.KERAS), partition]
        assert score == metrics[partition]["file"]["score"]
    columns = ["devel", "test", "test_low", "test_high"]
    np.testing.assert_array_equal(first.loc[("model", "int8"), columns], [np.nan, 0.75, 0.5, 0.875])
    assert (
        first.loc[[("model", "float32"), ("spectrogram", "float32")], columns].isna().all(axis=None)
    )


def test_what_is_written(profiled, converted_copy, monkeypatch):
    monkeypatch.setattr(profile, "DPI", 40)
    home = converted_copy.folder.parent
    files = profile.write(profiled, converted_copy.folder)
    assert files == [
        *(converted_copy.folder / f"profile.{suffix}" for suffix in ("json", "csv", "png")),
        *(home / "profile.csv", home / "pareto.png"),
    ]
    assert all(file.is_file() for file in files)
    assert json.loads(files[0].read_text()) == profiled
    table, whole = pd.read_csv(files[1]), pd.read_csv(files[3])
    assert list(table.columns) == list(profile.COLUMNS)
    pd.testing.assert_frame_equal(table, whole)
    assert set(whole["run"]) == {converted_copy.folder.name}


def test_all_runs_of_a_corpus_folds_too(profiled, workplace):
    assert profile.all_profiles("mine").empty
    assert profile.pareto_figure(profile.all_profiles("mine")) is None
    expected = {"a-s0": "densenet121", "b-s0-5folds/fold2": "squeezenet"}
    for name, backbone in expected.items():
        place = workplace / "mine" / name
        place.mkdir(parents=True)
        changed = profiled | {"dataset": "mine", "backbone": backbone}
        (place / profile.FILE).write_text(json.dumps(changed))
    table = profile.all_profiles("mine")
    assert table.groupby("run")["backbone"].first().to_dict() == expected
    assert profile.pareto_figure(table.assign(test=np.nan)) is None  # no scores


def test_the_command_of_a_run(command, converted_copy, profiled, monkeypatch):
    monkeypatch.setattr(profile, "DPI", 40)
    monkeypatch.setattr(profile, "profile_run", lambda run, threads, repeats: profiled)
    status, out, _ = command("profile", converted_copy.folder, "--threads", "2,1,2")
    first, *_, last = out.splitlines()
    assert (status, first.split()[:4]) == (0, ["part", "computed", "by", "threads"])
    assert "0.73 M parameters" in out
    assert last == f"written: {converted_copy.folder.parent / 'pareto.png'}"


def test_one_file_needs_no_tensorflow(converted_run, tmp_path):
    script = "import sys; from dslite import cli; sys.argv[0] = 'dslite'\n"
    script += "try: cli.run()\nexcept SystemExit as left: assert not left.code\n"
    script += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    file = tmp_path / "other name.tflite"
    shutil.copy(converted_run.folder / "cnn-int8.tflite", file)
    words = [sys.executable, "-c", script, "profile", str(file), "--runs", "2", "--threads", "1"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    table = pd.read_csv(tmp_path / "other name.profile.csv")
    measurements = table[["part", "variant", "threads", "runs"]].to_numpy().tolist()
    assert measurements == [["cnn", "int8", 1, 2]]
    assert json.loads((tmp_path / "other name.profile.json").read_text())["dataset"] == "small"


def test_a_file_of_other_origin(converted_run, tmp_path):
    content = without_metadata(converted_run.folder / "cnn.tflite")
    (tmp_path / "mine.tflite").write_bytes(content)
    measured = profile.profile_file(tmp_path / "mine.tflite", (1,), 2)
    assert [(row["part"], row["variant"]) for row in measured["rows"]] == [("mine", "")]
    text = profile.operations_text(profile.profile_table(measured))
    assert text.startswith("parameters and multiply-adds: counted in the trained")


@pytest.mark.parametrize(
    ("name", "threads", "message"),
    [
        *((".", threads, "wants whole numbers") for threads in ("", "0", "1,x", "1,-2", "1.5")),
        ("gone.tflite", "1", "there is no such file"),
        ("bad.tflite", "1", "not a TensorFlow Lite model"),
        ("run", "1", "no finished run here"),
        ("unconverted", "1", "convert the run first"),
        ("broken", "1", "a conversion broke off here"),
    ],
)
def test_what_cannot_be_profiled(refused, small_run, tmp_path, name, threads, message):
    (tmp_path / "bad.tflite").write_bytes(b"nothing of the kind")
    (tmp_path / "run").mkdir()
    for folder in ("unconverted", "broken"):
        (tmp_path / folder).mkdir()
        shutil.copy(small_run.folder / "run.json", tmp_path / folder)
    (tmp_path / "broken" / "model.tflite").write_bytes(b"")
    assert message in refused("profile", tmp_path / name, "--threads", threads)

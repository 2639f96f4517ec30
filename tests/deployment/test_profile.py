"""What a run costs: times in turn, memory of a fresh process, operations; and what is written."""

import json
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from dslite.deployment import convert, profile, runtime
from dslite.deployment import profile as deployment_profile
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models import backbones
from dslite.paper import costs as paper_costs
from dslite.settings import Settings
from dslite.training import runs

layers = keras.layers


# Operations


def test_separable_convolution_by_hand():
    image = keras.Input((10, 12, 3))
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2)(image)
    # 5 x 6 places: 3 x 3 x 3 x 2 depthwise numbers, then 6 x 5
    assert profile.multiply_adds(keras.Model(image, x)) == 5 * 6 * (3 * 3 * 3 * 2 + 6 * 5)


def test_dense_layer_at_every_frame():
    frames = keras.Input((20, 7))
    assert profile.multiply_adds(keras.Model(frames, layers.Dense(5)(frames))) == 20 * 7 * 5


def test_layers_shared_with_a_model_of_another_size():
    convolution = layers.Conv2D(4, 3)
    large, small = keras.Input((32, 32, 3)), keras.Input((10, 10, 3))
    first = keras.Model(large, convolution(large))
    second = keras.Model(small, convolution(small))
    outer = keras.Model(small, layers.Flatten()(second(small)))
    once = 4 * 3 * 3 * 3
    assert profile.multiply_adds(first) == 30 * 30 * once
    assert profile.multiply_adds(second) == profile.multiply_adds(outer) == 8 * 8 * once


def test_a_layer_that_is_used_twice_counts_twice():
    image = keras.Input((10, 10, 3))
    convolution = layers.Conv2D(3, 3)
    x = convolution(convolution(image))
    assert profile.multiply_adds(keras.Model(image, x)) == (8 * 8 + 6 * 6) * 3 * 3 * 3 * 3


@pytest.mark.parametrize(
    ("name", "size", "giga", "top"),
    [
        # With the dense layers of the published figure, which a backbone is without
        ("mobilenet", 224, 0.569, 1024 * 1000),  # Howard et al. 2017, Table 4
        ("mobilenet_v2", 224, 0.300, 1280 * 1000),  # Sandler et al. 2018, Table 4
        # Simonyan and Zisserman's 16 layers: 15.5 G with top in the usual tables
        ("vgg16", 224, 15.5, 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000),
        ("xception", 299, 8.4, 2048 * 1000),  # the usual tables (Bianco et al. 2018)
        ("nasnet_mobile", 224, 0.564, 1056 * 1000),  # Zoph et al. 2018, Table 2
    ],
)
def test_published_figures(name, size, giga, top):
    network = backbones.build_backbone(name, "random", size)
    found = profile.multiply_adds(network) + top
    assert found / 1e9 == pytest.approx(giga, rel=0.006)


def test_multiply_adds_of_small_layers_by_hand():
    image = keras.Input((10, 10, 3))
    x = keras.layers.Conv2D(4, 3, padding="valid")(image)  # 8 x 8 x 4 outputs of 27 each
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(x)  # 4 x 4 x 4 of 9
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))  # 64 x 5
    inner = keras.Model(image, x)
    outer = keras.Model(image, keras.layers.Dense(2)(inner(image)))  # 5 x 2
    expected = 8 * 8 * 4 * 27 + 4 * 4 * 4 * 9 + 64 * 5 + 5 * 2
    assert profile.multiply_adds(outer) == expected


@pytest.mark.parametrize(
    ("name", "giga", "parameters"),
    [
        # Published: 2.87 G (DenseNet121), 0.30 G (MobileNetV2) with top; Keras' counts without top
        ("densenet121", (2.83, 2.90), 7_037_504),
        ("mobilenet_v2", (0.295, 0.305), 2_257_984),
        ("squeezenet", (0.2, 0.4), 722_496),
    ],
)
def test_published_costs_of_the_backbones(name, giga, parameters):
    network = backbones.build_backbone(name, "random", 224)
    assert network.count_params() == parameters
    assert giga[0] <= profile.multiply_adds(network) / 1e9 <= giga[1]


# Time


def test_latency_counts_calls():
    made = []
    found = profile.latency(lambda: made.append(1), runs=7, warm_up=2)
    assert len(made) == 9
    assert found["runs"] == 7
    assert set(found) == {"ms", "ms_std", "ms_median", "ms_p95", "runs"}


def test_several_calls_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    found = profile.interleaved(calls, runs=5, warm_up=2, rounds=2)
    # Warm-up, then in each of the two rounds one call that does not count before 3 and 2 that do
    assert "".join(order) == "aabb" + "aaaabbbb" + "aaabbb"
    assert [of["runs"] for of in found.values()] == [5, 5]


def test_fewer_runs_than_rounds():
    assert profile.interleaved({"a": int}, runs=2, rounds=5)["a"]["runs"] == 2


def test_times_in_numbers(monkeypatch):
    taken = np.arange(1, 101)  # seconds
    clock = iter(np.repeat(np.cumsum(taken), 2)[:-1].tolist())
    ticks = iter([0, *clock])
    monkeypatch.setattr(profile.time, "perf_counter", lambda: next(ticks))
    found = profile.latency(lambda: None, runs=100, warm_up=0)
    assert found["ms"] == pytest.approx(50_500)
    assert found["ms_median"] == pytest.approx(50_500)
    assert found["ms_p95"] == pytest.approx(95_050)
    assert found["ms_std"] == pytest.approx(1000 * taken.std())


# A run


@pytest.fixture(scope="module")
def converted(small_run, tmp_path_factory):
    """A copy of the small run in a results folder of its own, converted in two variants."""
    place = tmp_path_factory.mktemp("results") / "small" / small_run.folder.name
    place.mkdir(parents=True)
    for file in small_run.folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    run = runs.load(place)
    network = keras.models.load_model(place / "model.keras", compile=False)
    for part, function in convert.functions(network, run.settings).items():
        content = convert.convert(function, network)
        told = convert.told(run, part, "float32")
        (place / f"{part}.tflite").write_bytes(runtime.attach(content, told))
        if part != "spectrogram":
            told = convert.told(run, part, "int8")
            (place / f"{part}-int8.tflite").write_bytes(runtime.attach(content, told))
    compared = {"uar": 0.9, "uar_difference": -0.125, "test": {"uar_difference": 0.25}}
    (place / "faithfulness.json").write_text(json.dumps({"int8": compared}))
    return run


@pytest.fixture(scope="module")
def measured(converted):
    return profile.measure(converted, (2, 1), repeats=3)


def test_what_is_measured(measured, converted):
    json.dumps(measured, allow_nan=False)  # it is written as JSON
    ways = [(row["part"], row["variant"], row["threads"]) for row in measured["rows"]]
    assert len(set(ways)) == len(ways)
    own = profile.tensorflow_threads()
    assert set(ways) == {
        *((part, of, n) for part in ("model", "cnn") for of in ("float32", "int8") for n in (1, 2)),
        *(("spectrogram", "float32", n) for n in (1, 2)),
        *(("cnn", of, own) for of in ("Keras, compiled", "Keras, call", "Keras, predict")),
        *(("spectrogram", of, own) for of in ("TensorFlow", "TensorFlow, picture")),
        ("spectrogram", "librosa + matplotlib, picture", 1),
    }
    for row in measured["rows"]:
        assert row["runs"] == 3
        assert 0 < row["ms_median"] <= row["ms_p95"]
    # 722,496 of SqueezeNet, 512 x 8 + 8, 2 of AReLU, 8 x 4 + 4
    assert measured["parameters"] == 722_496 + 4104 + 2 + 36
    assert measured["flops"] == 2 * measured["multiply_adds"] > 1e6
    assert (measured["backbone"], measured["random_weights"]) == ("squeezenet", False)
    head = measured["layers"]["head_parameters"]
    assert head + measured["layers"]["backbone_parameters"] == measured["parameters"]
    used, counts = converted.settings, measured["layers"]
    share = int(counts["backbone"] * used.trained_share) if used.epochs_phase2 else 0
    assert counts["trained"] == share
    shapes = measured["shapes"]
    assert shapes["samples"] == [converted.settings.chunk_samples]
    assert shapes["mel"] == [converted.settings.mel_bands, spectrogram.frames(converted.settings)]
    assert shapes["picture"] == [converted.settings.image_size] * 2 + [3]
    assert shapes["features"][-1] == shapes["pooled"][-1] == 512  # global pooling: one a map
    assert (shapes["hidden"], shapes["output"]) == ([8], [4])
    assert measured["threads"] == [2, 1]


def test_memory_and_size_of_each_file(measured, converted):
    table = deployment_profile.frame(measured)
    lite = table[~table["variant"].isin(deployment_profile.OTHERS)]
    assert (lite["growth_mb"] > 0).all()
    assert (lite["peak_mb"] > lite["growth_mb"]).all()
    compiled = table[table["variant"] == deployment_profile.KERAS].iloc[0]
    assert compiled["peak_mb"] > 2 * lite["peak_mb"].max()  # TensorFlow itself
    size = (converted.folder / "model-int8.tflite").stat().st_size
    whole = table[(table["part"] == "model") & (table["variant"] == "int8")]
    assert whole["MB"].tolist() == [size / 1e6] * 2


def test_scores_are_the_models_and_what_a_file_lost(measured, converted):
    table = deployment_profile.frame(measured).set_index(["part", "variant"])
    for partition, change in (("devel", -0.125), ("test", 0.25)):
        trained = converted.metrics[partition]["file"]["score"]
        of = table[partition].groupby(level=[0, 1]).first()
        assert of["model", "float32"] == of["cnn", deployment_profile.KERAS_PREDICT] == trained
        assert of["model", "int8"] == trained + change
        assert np.isnan(of["spectrogram", "float32"])
    assert set(table["metric"]) == {"uar"}


def test_what_is_written(measured, converted, monkeypatch):
    home = converted.folder.parent
    monkeypatch.setenv("DSLITE_RESULTS", str(home.parent))
    files = deployment_profile.publish(measured, converted.folder)
    assert files == [
        *(converted.folder / f"profile.{suffix}" for suffix in ("csv", "png", "json")),
        *(home / "profile.csv", home / "pareto.png"),
    ]
    assert all(file.is_file() for file in files)
    assert json.loads(files[2].read_text()) == measured
    table, whole = pd.read_csv(files[0]), pd.read_csv(files[3])
    assert list(table.columns) == list(deployment_profile.COLUMNS)
    pd.testing.assert_frame_equal(table, whole)
    assert set(whole["run"]) == {converted.folder.name}


def test_a_failed_writing_leaves_nothing(measured, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError("no space left")

    monkeypatch.setattr(deployment_profile.provenance, "write_json", full)
    with pytest.raises(OSError, match="no space"):
        deployment_profile.write(measured, tmp_path / "profile")
    assert list(tmp_path.iterdir()) == []


def test_all_runs_of_a_corpus_folds_too(measured, workplace):
    for name, backbone in (("a-s0", "densenet121"), ("b-s0-5folds/fold2", "squeezenet")):
        place = workplace / "mine" / name
        place.mkdir(parents=True)
        changed = measured | {"dataset": "mine", "backbone": backbone}
        (place / deployment_profile.FILE).write_text(json.dumps(changed))
    table = deployment_profile.gather("mine")
    assert table.groupby("run")["backbone"].first().to_dict() == {
        "a-s0": "densenet121",
        "b-s0-5folds/fold2": "squeezenet",
    }
    (workplace / "mine" / "a-s0" / deployment_profile.FILE).write_text("{")
    with pytest.raises(InputError, match=r"a-s0/profile\.json: not readable"):
        deployment_profile.gather("mine")


def test_a_corpus_without_profiles_or_scores(workplace, measured):
    assert deployment_profile.gather("mine").empty
    assert deployment_profile.pareto(deployment_profile.gather("mine")) is None
    assert deployment_profile.pareto(deployment_profile.frame(measured | {"devel": {}})) is None


def test_a_run_that_was_not_converted(tmp_path):
    with pytest.raises(InputError, match="convert the run first"):
        deployment_profile.files(tmp_path)


def test_table_5_takes_what_is_measured(measured):
    for part, variant in paper_costs.STAGES.values():
        assert paper_costs.stage(measured, part, variant)["ms"] > 0
    assert paper_costs.stage(measured, "cnn", "float32")["threads"] == 2


# One file


def test_profile_of_one_file(command, converted, tmp_path):
    file = tmp_path / "other name.tflite"
    file.write_bytes((converted.folder / "cnn-int8.tflite").read_bytes())
    status, out, _ = command("profile", file, "--runs", 2, "--threads", "1")
    assert status == 0
    assert "int8" in out
    table = pd.read_csv(tmp_path / "other name.profile.csv")
    assert table[["part", "variant", "threads", "runs"]].to_numpy().tolist() == [
        ["cnn", "int8", 1, 2]
    ]
    assert json.loads((tmp_path / "other name.profile.json").read_text())["dataset"] == "small"


def test_profile_of_a_file_of_other_origin(converted, tmp_path):
    network = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    network.export(tmp_path / "saved", verbose=False)
    content = convert.tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    (tmp_path / "mine.tflite").write_bytes(content)
    found = deployment_profile.profile_file(tmp_path / "mine.tflite", (1,), 2)
    assert [(row["part"], row["variant"]) for row in found["rows"]] == [("mine", "")]
    assert deployment_profile.told(found)[1].startswith(
        "parameters and multiply-adds: counted in the trained"
    )


def test_a_file_needs_no_tensorflow(converted):
    script = "import sys; from dslite import cli; sys.argv[0] = 'dslite'\n"
    script += "try: cli.run()\nexcept SystemExit as left: assert not left.code\n"
    script += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    file = converted.folder / "spectrogram.tflite"
    words = ["profile", str(file), "--runs", "1"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    for left in converted.folder.glob("spectrogram.profile.*"):
        left.unlink()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("threads", ["", "0", "1,x", "1,-2", "1.5"])
def test_threads_that_are_none(command, tmp_path, threads):
    status, _, err = command("profile", tmp_path / "no.tflite", "--threads", threads)
    assert status == 2
    assert f"--threads {threads}: wants whole numbers from 1 with commas" in err


@pytest.mark.parametrize(
    ("name", "told"),
    [("no.tflite", "there is no such file"), ("bad.tflite", "not a TensorFlow Lite model")],
)
def test_a_file_that_is_none(command, tmp_path, name, told):
    (tmp_path / "bad.tflite").write_bytes(b"nothing of the kind")
    status, _, err = command("profile", tmp_path / name)
    assert status == 2
    assert told in err
    assert [file.name for file in tmp_path.iterdir()] == ["bad.tflite"]


def test_an_example_has_the_shape_and_type_of_the_input(converted):
    mel = runtime.example(converted.folder / "cnn.tflite")
    assert (mel.dtype, mel.shape) == (np.uint8, (1, 32, 124))
    assert mel.max() > 250
    wave = runtime.example(converted.folder / "model.tflite")
    assert (wave.dtype, wave.shape) == (np.float32, (1, 32000))


# The spectrogram as a plot


def test_the_drawn_picture_is_ours_but_for_the_drawing(rng):
    """The same numbers, the same colours, the same way up; another rasteriser."""
    used = Settings(weights="random")
    time = np.arange(used.chunk_samples) / used.sample_rate
    sound = np.sin(2 * np.pi * (300 + 400 * time) * time) + rng.normal(0, 0.01, len(time))
    sound = sound.astype(np.float32)
    found = profile.draw(sound, used)
    assert (found.dtype, found.shape) == (np.uint8, (used.image_size, used.image_size, 3))
    ours = spectrogram.picture(spectrogram.compiled_mel_image(used)(sound[None]), used).numpy()[0]
    difference = np.abs(found - ours)
    assert np.median(difference) < 8
    assert difference.mean() < 0.5 * np.abs(found[::-1] - ours).mean()

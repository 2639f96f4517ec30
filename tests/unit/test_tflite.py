"""The files for the device: what they hold, whether they agree with Keras, what they cost."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from dslite import (
    backbones,
    cards,
    clips,
    litert,
    loader,
    model,
    profiling,
    runs,
    spectrogram,
    tflite,
)
from dslite.datasets import manifest
from dslite.settings import Settings


@pytest.fixture(scope="module")
def converted(small_run, tmp_path_factory):
    """A copy of the small run with its converted files."""
    folder = tmp_path_factory.mktemp("converted") / small_run.folder.name
    folder.mkdir()
    for file in small_run.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    run = runs.load(folder)
    tflite.convert_run(run)
    return run


@pytest.fixture(scope="module")
def network(converted):
    return keras.models.load_model(converted.folder / "model.keras", compile=False)


@pytest.fixture
def store(workplace, small_corpus, converted):
    built = manifest.load(cards.load(str(small_corpus)))
    return loader.load(built, converted.settings)


def interpreter(run, part):
    made = Interpreter(model_path=str(run.folder / f"{part}.tflite"))
    made.allocate_tensors()
    return made


def sounds(run, rng):
    """Chunks [6, samples]: a tone, noises loud and faint, a click, speech-like, silence."""
    samples = run.settings.chunk_samples
    time = np.arange(samples) / run.settings.sample_rate
    found = np.zeros((6, samples), np.float32)
    found[0] = 0.5 * np.sin(2 * np.pi * 440 * time)
    found[1] = rng.normal(0, 0.3, samples)
    found[2] = rng.normal(0, 1e-4, samples)
    found[3, samples // 2] = 1
    found[4] = np.sin(2 * np.pi * (200 + 50 * np.sin(4 * time)) * time) * rng.random(samples)
    return found


# Conversion


def test_the_whole_is_one_file_from_waveform_to_probabilities(converted, network):
    made = interpreter(converted, "model")
    (given,), (result,) = made.get_input_details(), made.get_output_details()
    assert given["shape"].tolist() == [1, 32000]
    assert given["dtype"] is np.float32
    assert result["shape"].tolist() == [1, 4]
    assert result["dtype"] is np.float32
    weights = 4 * network.count_params()
    size = {p: (converted.folder / f"{p}.tflite").stat().st_size for p in ("model", "cnn")}
    # float32 weights, the Mel filters (257 x 32) and the graph, and no second copy of anything
    assert weights < size["cnn"] < size["model"] < 1.1 * weights + 4 * 257 * 32
    assert (converted.folder / "spectrogram.tflite").stat().st_size < 100_000


@pytest.mark.parametrize("part", ["model", "cnn", "spectrogram"])
def test_only_builtin_operators(converted, part):
    names = {op["op_name"] for op in interpreter(converted, part)._get_ops_details()}
    assert names
    assert not [name for name in names if name.startswith("Flex") or "CUSTOM" in name.upper()]
    assert not {"READ_VARIABLE", "VAR_HANDLE", "CALL_ONCE"} & names, "weights outside the file"


def test_every_weight_is_in_the_file(converted, network):
    """float32: the kernels are found in it byte by byte (in TensorFlow Lite's own order)."""
    content = (converted.folder / "model.tflite").read_bytes()
    kernel = network.get_layer("hidden").kernel.numpy()
    assert np.ascontiguousarray(kernel.T).tobytes() in content
    filters = model.backbone_of(network).get_layer("fire9_expand3x3").kernel.numpy()
    assert np.ascontiguousarray(filters.transpose(3, 0, 1, 2)).tobytes() in content


def test_it_agrees_with_keras(converted, network, rng):
    call = litert.runner(converted.folder / "model.tflite")
    keras_outputs = []
    for sound in sounds(converted, rng):
        mel = spectrogram.mel_image(sound[None], converted.settings)
        expected = network(model.inputs(mel, converted.settings), training=False).numpy()
        found = call(sound[None])
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(found - expected).max() < 1e-3
        keras_outputs.append(expected)
    assert np.std(np.concatenate(keras_outputs), axis=0).max() > 0.01, "a constant would agree too"


def test_its_spectrogram_is_within_one_grey_level(converted, rng):
    call = litert.runner(converted.folder / "spectrogram.tflite")
    for sound in sounds(converted, rng):
        expected = spectrogram.mel_image(sound[None], converted.settings).numpy()
        found = call(sound[None])
        assert found.dtype == np.uint8
        assert found.shape == expected.shape == (1, 32, 124)
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert not found.any()  # silence: all zero, no NaN


def test_the_halves_make_the_whole(converted, rng):
    whole, mel, cnn = (
        litert.runner(converted.folder / f"{part}.tflite")
        for part in ("model", "spectrogram", "cnn")
    )
    for sound in sounds(converted, rng):
        np.testing.assert_allclose(cnn(mel(sound[None])), whole(sound[None]), atol=1e-3)


def test_the_converted_model_of_a_phone_is_the_saved_one(converted, store, small_corpus):
    """Through the file alone: the test predictions of the run, from audio."""
    call = litert.runner(converted.folder / "model.tflite")
    table = converted.predictions.query("partition == 'test'").head(6)
    for row in table.to_dict("records"):
        chunks, _ = clips.chunks_of(small_corpus.parent / row["file"], converted.settings)
        fused = np.mean([call(chunk[None])[0] for chunk in chunks], axis=0)
        np.testing.assert_allclose(fused, [row[name] for name in converted.classes], atol=2e-3)


def test_weights_left_outside_are_an_error(converted, network, monkeypatch):
    class Hollow:
        def __init__(self):
            self.target_spec = tf.lite.TargetSpec()

        def convert(self):
            return b"x" * 100_000

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", lambda folder: Hollow())
    function = tflite.functions(network, converted.settings)["model"]
    with pytest.raises(RuntimeError, match="cannot hold"):
        tflite.convert(function, network)


def test_a_failed_conversion_leaves_the_older_file(converted, monkeypatch):
    before = (converted.folder / "model.tflite").read_bytes()

    def fails(function, network):
        raise RuntimeError("no")

    monkeypatch.setattr(tflite, "convert", fails)
    with pytest.raises(RuntimeError):
        tflite.convert_run(converted)
    assert (converted.folder / "model.tflite").read_bytes() == before


# Agreement


def test_agreement_in_numbers():
    expected = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    found = np.array([[0.8, 0.2], [0.6, 0.4]], np.float32)
    result = tflite.agreement(expected, found, "classification")
    assert result["chunks"] == 2
    assert result["largest_difference"] == pytest.approx(0.2, abs=1e-6)
    assert result["mean_difference"] == pytest.approx(0.15, abs=1e-6)
    assert result["same_decision"] == 0.5
    assert "same_decision" not in tflite.agreement(expected[:, :1], found[:, :1], "regression")


def test_faithfulness_compares_audio_with_stored_spectrograms(converted, store):
    result = profiling.faithfulness(converted, store)
    assert result["chunks"] == len(store.chunks("devel")) > 30
    assert result["largest_difference"] < 1e-3
    assert result["same_decision"] == 1
    assert profiling.faithfulness(converted, store, most=5)["chunks"] == 5


def test_faithfulness_sees_another_models_file(converted, store, tmp_path):
    """The same files, but a head that was exchanged after the conversion."""
    for file in converted.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    network = keras.models.load_model(tmp_path / "model.keras", compile=False)
    bias = network.get_layer("output").bias
    bias.assign(bias + np.array([3, 0, 0, 0], np.float32))
    network.save(tmp_path / "model.keras")
    result = profiling.faithfulness(runs.load(tmp_path), store, most=8)
    assert result["largest_difference"] > 0.1


# Cost


def test_what_is_measured(converted, store):
    found = profiling.measure(converted, store.mel[:1])
    json.dumps(found)  # it is written as JSON
    for part in ("model", "cnn", "spectrogram", "tf_model", "tflite"):
        assert found[part]["ms"] > 0
        assert found[part]["runs"] == 50
        assert found[part]["size_bytes"] > 0
    assert found["tflite"] == found["cnn"]
    assert found["threads"] == 1
    assert found["backbone"] == "squeezenet"
    assert found["random_weights"] is False
    # 722,496 of SqueezeNet, 512 x 8 + 8, 2 of AReLU, 8 x 4 + 4
    assert found["tf_model"]["parameters"] == 722_496 + 4104 + 2 + 36
    table = profiling.cost_table(found)
    assert len(table) == 4
    assert table.loc["TensorFlow CNN", "parameters (M)"] == pytest.approx(0.726638)
    sizes = table["MB"] * 1e6
    assert sizes["TFLite end to end"] == (converted.folder / "model.tflite").stat().st_size


def test_latency_counts_calls():
    calls = []
    found = profiling.latency(lambda: calls.append(1), runs=7, warm_up=2)
    assert len(calls) == 9
    assert found["runs"] == 7
    assert found["ms"] >= 0


def test_multiply_adds_of_small_layers_by_hand():
    image = keras.Input((10, 10, 3))
    x = keras.layers.Conv2D(4, 3, padding="valid")(image)  # 8 x 8 x 4 outputs of 27 each
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(x)  # 4 x 4 x 4 of 9
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))  # 64 x 5
    inner = keras.Model(image, x)
    outer = keras.Model(image, keras.layers.Dense(2)(inner(image)))  # 5 x 2
    expected = 8 * 8 * 4 * 27 + 4 * 4 * 4 * 9 + 64 * 5 + 5 * 2
    assert profiling.multiply_adds(outer) == expected


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
    network = backbones.build(name, "random", 224)
    assert network.count_params() == parameters
    assert giga[0] <= profiling.multiply_adds(network) / 1e9 <= giga[1]


def test_a_mobile_networks_graph_converts(rng):
    """Batch normalisation and depthwise convolutions, at the smallest size."""
    used = Settings(backbone="mobilenet_v2", weights="random", image_size=32, units=4)
    used = used.model_copy(update={"mel_bands": 16, "chunk_length_s": 0.5})
    keras.utils.set_random_seed(1)
    network = model.build(used, 2)
    content = tflite.convert(tflite.functions(network, used)["model"], network)
    made = Interpreter(model_content=content)
    made.allocate_tensors()
    sound = rng.normal(0, 0.1, (1, 8000)).astype(np.float32)
    made.set_tensor(made.get_input_details()[0]["index"], sound)
    made.invoke()
    mel = spectrogram.mel_image(sound, used)
    expected = network(model.inputs(mel, used), training=False).numpy()
    found = made.get_tensor(made.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, expected, atol=1e-3)

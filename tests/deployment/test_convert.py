"""The files for the device: what they hold, and whether they agree with Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from dslite import audio, cards
from dslite.datasets import load_manifest
from dslite.deployment import convert as deployment_convert
from dslite.deployment import runtime
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs


@pytest.fixture(scope="module")
def converted(small_run, tmp_path_factory):
    """A copy of the small run with its converted files."""
    folder = tmp_path_factory.mktemp("converted") / small_run.folder.name
    folder.mkdir()
    for file in small_run.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    run = runs.load(folder)
    deployment_convert.convert_run(run)
    return run


@pytest.fixture(scope="module")
def network(converted):
    return keras.models.load_model(converted.folder / "model.keras", compile=False)


@pytest.fixture
def store(workplace, small_corpus, converted):
    built = load_manifest(cards.load(str(small_corpus)))
    return feature_store.load_spectrograms(built, converted.settings)


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
    filters = classifier.backbone_of(network).get_layer("fire9_expand3x3").kernel.numpy()
    assert np.ascontiguousarray(filters.transpose(3, 0, 1, 2)).tobytes() in content


def test_it_agrees_with_keras(converted, network, rng):
    call = runtime.runner(converted.folder / "model.tflite")
    keras_outputs = []
    for sound in sounds(converted, rng):
        mel = spectrogram.mel_image(sound[None], converted.settings)
        expected = network(classifier.inputs(mel, converted.settings), training=False).numpy()
        found = call(sound[None])
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(found - expected).max() < 1e-3
        keras_outputs.append(expected)
    assert np.std(np.concatenate(keras_outputs), axis=0).max() > 0.01, "a constant would agree too"


def test_its_spectrogram_is_within_one_grey_level(converted, rng):
    call = runtime.runner(converted.folder / "spectrogram.tflite")
    for sound in sounds(converted, rng):
        expected = spectrogram.mel_image(sound[None], converted.settings).numpy()
        found = call(sound[None])
        assert found.dtype == np.uint8
        assert found.shape == expected.shape == (1, 32, 124)
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert not found.any()  # silence: all zero, no NaN


def test_the_halves_make_the_whole(converted, rng):
    whole, mel, cnn = (
        runtime.runner(converted.folder / f"{part}.tflite")
        for part in ("model", "spectrogram", "cnn")
    )
    for sound in sounds(converted, rng):
        np.testing.assert_allclose(cnn(mel(sound[None])), whole(sound[None]), atol=1e-3)


def test_the_converted_model_of_a_phone_is_the_saved_one(converted, store, small_corpus):
    """Through the file alone: the test predictions of the run, from audio."""
    call = runtime.runner(converted.folder / "model.tflite")
    table = converted.predictions.query("partition == 'test'").head(6)
    for row in table.to_dict("records"):
        chunks, _ = audio.chunks_of(small_corpus.parent / row["file"], converted.settings)
        fused = np.mean([call(chunk[None])[0] for chunk in chunks], axis=0)
        np.testing.assert_allclose(fused, [row[name] for name in converted.classes], atol=2e-3)


def test_weights_left_outside_are_an_error(converted, network, monkeypatch):
    class Hollow:
        def __init__(self):
            self.target_spec = tf.lite.TargetSpec()

        def convert(self):
            return b"x" * 100_000

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", lambda folder: Hollow())
    function = deployment_convert.functions(network, converted.settings)["model"]
    with pytest.raises(RuntimeError, match="cannot hold"):
        deployment_convert.convert(function, network)


def test_a_failed_conversion_leaves_the_older_file(converted, monkeypatch):
    before = (converted.folder / "model.tflite").read_bytes()

    def fails(function, network):
        raise RuntimeError("no")

    monkeypatch.setattr(deployment_convert, "convert", fails)
    with pytest.raises(RuntimeError):
        deployment_convert.convert_run(converted)
    assert (converted.folder / "model.tflite").read_bytes() == before


# Agreement


def test_agreement_in_numbers():
    expected = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    found = np.array([[0.8, 0.2], [0.6, 0.4]], np.float32)
    result = deployment_convert.agreement(expected, found, "classification")
    assert result["chunks"] == 2
    assert result["largest_difference"] == pytest.approx(0.2, abs=1e-6)
    assert result["mean_difference"] == pytest.approx(0.15, abs=1e-6)
    assert result["same_decision"] == 0.5
    assert "same_decision" not in deployment_convert.agreement(
        expected[:, :1], found[:, :1], "regression"
    )


def test_a_mobile_networks_graph_converts(rng):
    """Batch normalisation and depthwise convolutions, at the smallest size."""
    used = Settings(backbone="mobilenet_v2", weights="random", image_size=32, units=4)
    used = used.model_copy(update={"mel_bands": 16, "chunk_length_s": 0.5})
    keras.utils.set_random_seed(1)
    network = classifier.build_classifier(used, 2)
    content = deployment_convert.convert(
        deployment_convert.functions(network, used)["model"], network
    )
    made = Interpreter(model_content=content)
    made.allocate_tensors()
    sound = rng.normal(0, 0.1, (1, 8000)).astype(np.float32)
    made.set_tensor(made.get_input_details()[0]["index"], sound)
    made.invoke()
    mel = spectrogram.mel_image(sound, used)
    expected = network(classifier.inputs(mel, used), training=False).numpy()
    found = made.get_tensor(made.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, expected, atol=1e-3)

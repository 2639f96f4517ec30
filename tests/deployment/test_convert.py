"""Conversion: one file from waveform to probabilities, small where it should be, as Keras."""

import json
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType

from dslite.deployment import runtime
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS, file_name
from dslite.features import spectrogram
from dslite.models import classifier

PARTS = ("model", "spectrogram", "cnn")


@pytest.fixture(scope="module")
def network(converted_run):
    return classifier.load_classifier(converted_run.folder / "model.keras")


def interpreter(run, file):
    """A file as it was written, without what the runtime makes of it."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return runtime.interpreter(run.folder / file, experimental_op_resolver_type=plain)


def operations(run, variant):
    """Name, dtypes of the inputs and dtype of the output of every operator, in order."""
    loaded = interpreter(run, file_name("model", variant))
    types = {t["index"]: np.dtype(t["dtype"]).name for t in loaded.get_tensor_details()}
    return [
        (op["op_name"], [types[i] for i in op["inputs"] if i in types], types[op["outputs"][0]])
        for op in loaded._get_ops_details()
    ]


def sounds(settings, rng):
    """Chunks [5, samples]: a tone, noises loud and faint, a click, silence."""
    time = np.arange(settings.chunk_samples) / settings.sample_rate
    chunks = np.zeros((5, settings.chunk_samples), np.float32)
    chunks[0] = np.sin(2 * np.pi * (200 + 50 * np.sin(4 * time)) * time) * rng.random(len(time))
    chunks[1] = rng.normal(0, 0.3, len(time))
    chunks[2] = rng.normal(0, 1e-4, len(time))
    chunks[3, len(time) // 2] = 1
    return chunks


def test_the_whole_is_one_file_from_waveform_to_probabilities(converted_run, network):
    loaded = interpreter(converted_run, "model.tflite")
    (source,), (result,) = loaded.get_input_details(), loaded.get_output_details()
    assert (source["shape"].tolist(), result["shape"].tolist()) == ([1, 32000], [1, 4])
    size = {p: (converted_run.folder / f"{p}.tflite").stat().st_size for p in PARTS}
    weights = 4 * network.count_params()
    # float32 weights, the Mel filters (257 x 32) and the graph, and no second copy of anything
    assert weights < size["cnn"] < size["model"] < 1.1 * weights + 4 * 257 * 32
    assert size["spectrogram"] < 100_000
    # The kernels are in it byte by byte (in TensorFlow Lite's own order).
    content = (converted_run.folder / "model.tflite").read_bytes()
    hidden = network.get_layer("hidden").kernel.numpy().T
    filters = classifier.backbone_of(network).get_layer("fire9_expand3x3").kernel.numpy()
    for kernel in (hidden, filters.transpose(3, 0, 1, 2)):
        assert np.ascontiguousarray(kernel).tobytes() in content


FILES = [("spectrogram", "float32"), *((p, v) for p in ("model", "cnn") for v in VARIANTS)]


@pytest.mark.parametrize(("part", "variant"), FILES)
def test_only_builtin_operators_and_float_at_both_ends(converted_run, part, variant):
    file = file_name(part, variant)
    loaded = interpreter(converted_run, file)
    names = {op["op_name"] for op in loaded._get_ops_details()}
    assert not [name for name in names if name.startswith("Flex") or "CUSTOM" in name.upper()]
    assert not {"READ_VARIABLE", "VAR_HANDLE", "CALL_ONCE"} & names, "weights outside the file"
    assert ("RFFT2D" in names) == (part != "cnn")
    (source,), (result,) = loaded.get_input_details(), loaded.get_output_details()
    assert source["dtype"] is (np.uint8 if part == "cnn" else np.float32)
    assert result["dtype"] is (np.uint8 if part == "spectrogram" else np.float32)


def test_the_whole_and_its_halves_agree_with_keras(converted_run, network, rng):
    settings = converted_run.settings
    whole, mel, cnn = (
        runtime.runner(converted_run.folder / f"{part}.tflite") for part in ("model", *PARTS[1:])
    )
    keras_outputs = []
    for sound in sounds(settings, rng):
        image = spectrogram.mel_image(sound[None], settings).numpy()
        on_device = mel(sound[None])
        assert on_device.dtype == np.uint8
        assert on_device.shape == image.shape == (1, 32, 124)
        assert np.abs(on_device.astype(int) - image).max() <= 1  # grey levels
        expected = network(classifier.inputs(image, settings), training=False).numpy()
        keras_outputs.append(expected)
        np.testing.assert_allclose(whole(sound[None]), expected, atol=1e-3)
        np.testing.assert_allclose(cnn(on_device), whole(sound[None]), atol=1e-3)
        assert whole(sound[None]).sum() == pytest.approx(1, abs=1e-5)
    assert not on_device.any()  # silence: all zero, no NaN
    assert np.std(np.concatenate(keras_outputs), axis=0).max() > 0.01, "a constant would agree too"


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_that_are_no_numbers_give_none(converted_run, variant):
    call = runtime.runner(converted_run.folder / file_name("model", variant))
    wave = np.sin(0.05 * np.arange(converted_run.settings.chunk_samples, dtype=np.float32))[None]
    before = call(wave)
    for value in (np.nan, np.inf, -np.inf):
        for part in (slice(99, 100), slice(5, None, 2), slice(None)):
            broken = wave.copy()
            broken[:, part] = value
            assert np.isnan(call(broken)).all()
    np.testing.assert_array_equal(call(wave), before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_spectrogram_stays_in_float32(converted_run, variant):
    before = []
    for name, reads, writes in operations(converted_run, variant):
        if name == "CONV_2D":
            break
        if name == "DEQUANTIZE":  # of the network's weights, wherever the runtime puts it
            continue
        before.append(name)
        assert writes not in ("int8", "float16") or name == "QUANTIZE", name
        assert not {"float16", "int8"} & set(reads), name
    assert {"RFFT2D", "LOG", "RESIZE_BILINEAR"} <= set(before)


def test_the_network_is_smaller(converted_run, network):
    for variant, dtype in {FLOAT32: "float32", DYNAMIC: "int8", INT8: "int8"}.items():
        reads = [r for name, r, _ in operations(converted_run, variant) if name == "CONV_2D"]
        assert len(reads) > 20
        assert all(dtype in read for read in reads), variant
    size = {v: (converted_run.folder / file_name("model", v)).stat().st_size for v in VARIANTS}
    weights = 4 * network.count_params()
    # What is saved is saved of the weights: half by float16, three quarters by int8.
    for variant, share in {FLOAT16: 1 / 2, DYNAMIC: 3 / 4, INT8: 3 / 4}.items():
        assert size[FLOAT32] - size[variant] == pytest.approx(weights * share, rel=0.1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_metadata(converted_run, variant):
    file = converted_run.folder / file_name("model", variant)
    facts = runtime.read_metadata(file).facts
    assert (facts["part"], facts["variant"]) == ("model", variant)
    assert (facts["dataset"], facts["run"]) == ("small", converted_run.folder.name)
    assert facts["identity"] == converted_run.record["identity"]
    assert tuple(facts["classes"]) == converted_run.classes
    assert facts.get("typical_s") == converted_run.record.get("typical_s")
    assert "small.weights.h5" in facts["weights"]["licence"]
    assert str(converted_run.settings.chunk_samples) in facts["input"]
    settings = runtime.read_metadata(file).settings.model_dump(exclude={"weights"})
    assert settings == converted_run.settings.model_dump(exclude={"weights"})
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [runtime.MEMBER]
    assert str(converted_run.folder.parent) not in json.dumps(facts)

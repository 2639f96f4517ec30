"""A network of a clip's picture, its statistics and its solved head, on the device."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType

from dslite.cards import READINGS
from dslite.deployment import convert, predict, profile, runtime, stream, web
from dslite.deployment.runtime import FLOAT16, FLOAT32, INT8, VARIANTS
from dslite.features import spectrogram
from dslite.models import backbones, classifier
from dslite.settings import Settings
from tests.deployment.stand_in import loudness
from tests.deployment.test_convert import sounds
from tests.training import inverted_residuals

SETTINGS = Settings(
    **{"backbone": "mobilenet_v2", "weights": "random", "chunk_length_s": 0.6, "trim": "on"},
    **{"picture": "clip+level", "mel_bands": 32, "columns": 32, "trim_db": 30, "top_db": 80},
    **{"pooling": "segments", "head": "ridge", "products": "on"},
)
CLASSES = 3
PLAIN = {"mel_scale": "slaney", "mel_norm": "slaney", "normalise": "on", "power_floor": 1e-10}


@pytest.fixture(scope="module", autouse=True)
def short_mobilenet():
    """Two blocks in the place of MobileNetV2's 17, whose conversions take a minute."""
    short = replace(backbones.BACKBONES["mobilenet_v2"], build=inverted_residuals.build)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(backbones.BACKBONES, "mobilenet_v2", short)
        yield


@pytest.fixture(scope="module")
def network():
    """An untrained backbone whose head weighs the picture's rows a hundred times as much."""
    keras.utils.set_random_seed(0)
    network = classifier.build_classifier(SETTINGS, CLASSES)
    dense, rng = network.get_layer("output"), np.random.default_rng(0)
    parts = []
    for layer in convert.pooling.statistics(network):
        scale = 1 if layer.source == convert.pooling.ROWS else 0.01
        parts.append(scale * rng.normal(0, 0.3, (layer.output.shape[1], CLASSES)))
    products = convert.pooling.products(network)
    parts.append(1e-3 * rng.normal(0, 0.3, (products.mean.shape[0], CLASSES)))
    dense.set_weights([np.concatenate(parts), np.array([0.1, 0.0, -0.1])])
    return network


@pytest.fixture(scope="module")
def quantisers(network):
    rng = np.random.default_rng(1)
    waveforms = [*sounds(SETTINGS, rng)[:3], *rng.normal(0, 0.1, (4, SETTINGS.chunk_samples))]
    waveforms = np.array(waveforms, np.float32)
    mels = spectrogram.mel_image(waveforms, SETTINGS).numpy()
    run = SimpleNamespace(settings=SETTINGS)
    return convert.convert_parts(run, network, list(zip(waveforms, mels, strict=True)))


def outputs_of(network, waveforms):
    pictures = classifier.inputs(spectrogram.mel_image(waveforms, SETTINGS), SETTINGS)
    return network(pictures, training=False).numpy()


@pytest.mark.parametrize("scale", [None, (5.0, 2.0)], ids=["classes", "number"])
def test_a_head_in_parts_is_the_same_head(rng, scale):
    network = classifier.build_classifier(SETTINGS, 1 if scale else CLASSES, scale)
    for variable in network.layers[-2 if scale else -1].variables:
        variable.assign(rng.normal(0, 0.01, variable.shape))
    pictures = rng.uniform(-1, 1, (2, *network.input_shape[1:])).astype(np.float32)
    divided = convert.divide_head(network)
    assert divided.name == network.name
    np.testing.assert_allclose(divided(pictures), network(pictures), rtol=1e-4, atol=1e-5)


def test_what_the_head_does_not_use_is_left_out(network, rng):
    dense = network.get_layer("output")
    before = kernel, bias = dense.get_weights()
    blocks = {layer.name: layer for layer in convert.pooling.statistics(network)}
    used = list(blocks).index("level_rows")
    first = sum(layer.output.shape[1] for layer in list(blocks.values())[:used])
    kernel = np.zeros_like(kernel)
    kernel[first : first + blocks["level_rows"].output.shape[1]] = 0.1
    pictures = rng.uniform(-1, 1, (2, *network.input_shape[1:])).astype(np.float32)
    try:
        dense.set_weights([kernel, bias])
        divided = convert.divide_head(network)
        np.testing.assert_allclose(divided(pictures), network(pictures), rtol=1e-4, atol=1e-5)
    finally:
        dense.set_weights(before)
    assert not [layer for layer in divided.layers if isinstance(layer, keras.Model)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_agrees_with_keras(network, quantisers, rng, variant):
    content = quantisers["model"].make(variant)
    waveforms = sounds(SETTINGS, rng)
    call = runtime.runner(content)
    actual = np.concatenate([call(waveform[None]) for waveform in waveforms])
    expected = outputs_of(network, waveforms)
    difference = np.abs(actual - expected).mean()
    assert difference < (1e-3 if variant == FLOAT32 else 0.03)
    assert np.std(expected, axis=0).max() > 0.01, "a constant would agree too"
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    loaded = runtime.interpreter(content, experimental_op_resolver_type=plain)
    tensors = {of["index"]: of for of in loaded.get_tensor_details()}
    results = [(of["op_name"], tensors[of["outputs"][0]]) for of in loaded._get_ops_details()]
    operations = [(name, np.dtype(of["dtype"]).name, of["name"]) for name, of in results]
    assert not [name for name, *_ in operations if name.startswith("Flex") or "CUSTOM" in name]
    for name, dtype, _ in operations:  # statistics, spectrogram, head: whatever is no convolution
        if name in ("MEAN", "SQRT", "LOG", "FULLY_CONNECTED", "SOFTMAX"):
            assert dtype == "float32", name
    exact = quantisers["model"].exact(variant)  # of the features that are multiplied
    assert bool(exact) == (variant == INT8)
    convolutions = [of for of in operations if "CONV_2D" in of[0]]
    floats = [layer for _, dtype, layer in convolutions if dtype == "float32"]
    assert floats == (exact if variant == INT8 else [layer for *_, layer in convolutions])
    assert len(floats) < len(convolutions) or variant != INT8
    whole = len(quantisers["model"].make(FLOAT32))
    assert len(content) <= whole
    if variant == INT8:
        kernel = 4 * network.get_layer("output").kernel.shape[0] * CLASSES
        assert whole - len(content) > kernel / 2


def test_the_halves_of_the_model_have_the_shape_of_its_pictures(network, quantisers):
    shape, backbone = [1, *spectrogram.shape(SETTINGS)], classifier.backbone_of(network)
    wave = sounds(SETTINGS, np.random.default_rng(0))[:1]
    mel = runtime.runner(quantisers["spectrogram"].make(FLOAT32))(wave)
    assert list(mel.shape) == shape == [1, 64, 32]
    assert np.abs(mel.astype(int) - spectrogram.mel_image(wave, SETTINGS).numpy()).max() <= 1
    result = runtime.runner(quantisers["cnn"].make(FLOAT32))(mel)
    np.testing.assert_allclose(result, outputs_of(network, wave), atol=1e-3)
    for phase, trained in ((1, 0), (2, classifier.trained_layers(SETTINGS, len(backbone.layers)))):
        run = SimpleNamespace(settings=SETTINGS, record={"kept": {"phase": phase}})
        assert profile._architecture(network, mel, run)["layers"]["trained"] == trained
    shapes = profile._architecture(network, mel, run)["shapes"]
    assert shapes["picture"] == [64, 32, 3]
    assert shapes["pooled"] == [network.get_layer("output").kernel.shape[0]]
    assert "hidden" not in shapes


def test_the_device_reads_the_paper_as_the_settings_do(tiny, rng):
    """The public code's filters, floor and level, in the file as in Keras."""
    read = {"mel_bands": 32, "image_size": 32, "chunk_length_s": 0.6} | READINGS["authors"]
    used = Settings(backbone="squeezenet", weights=str(tiny), units=8, **read)
    keras.utils.set_random_seed(0)
    network, waves = classifier.build_classifier(used, CLASSES), sounds(used, rng)
    mels = spectrogram.mel_image(waves, used).numpy()
    parts = convert.convert_parts(
        SimpleNamespace(settings=used), network, list(zip(waves, mels, strict=True))
    )
    expected = network(classifier.inputs(mels, used), training=False).numpy()
    for variant in (FLOAT32, FLOAT16):  # whose least number is 6e-8
        mel, whole = (runtime.runner(parts[of].make(variant)) for of in ("spectrogram", "model"))
        for wave, image, outputs in zip(waves, mels, expected, strict=True):
            assert np.abs(mel(wave[None])[0].astype(int) - image).max() <= 1
            np.testing.assert_allclose(whole(wave[None])[0], outputs, atol=5e-3)
    assert np.std(expected, axis=0).max() > 0.01
    plain = spectrogram.mel_image(waves, Settings(**read | PLAIN)).numpy().astype(int)
    assert np.abs(plain - mels).mean() > 5, "no setting shows"


def test_a_typical_clip_is_the_window_of_a_stream():
    assert runtime.stream_window(SETTINGS, 0.25) == (4000, 2000)
    assert runtime.stream_window(SETTINGS, 9.0) == (9600, 4800)
    for settings, typical_s in ((SETTINGS, None), (Settings(), 0.25)):
        expected = settings.chunk_samples, settings.chunk_hop_samples
        assert runtime.stream_window(settings, typical_s) == expected


def test_a_stream_fills_its_windows_with_zeros():
    seen, rows, messages = [], [], []

    def outputs(waveforms):
        seen.append(waveforms[0])
        return loudness(waveforms)

    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 9000).astype(np.float32)
    blocks = [stream.Block(part[:, None], 0.0) for part in np.split(waveform, 9)]
    predictor = predict.Predictor(SETTINGS, ("loud", "quiet"), outputs, typical_s=0.25)
    stream_of = stream.Stream(
        predictor, stream.Source("blocks", 16000, blocks), None, 1, messages.append
    )
    rows = list(stream_of.decide())
    assert [row["end_s"] for row in rows] == [0.25, 0.375, 0.5, 0.5625]
    for row, chunk in zip(rows, seen, strict=True):
        end = round(16000 * row["end_s"])
        assert len(chunk) == SETTINGS.chunk_samples
        np.testing.assert_array_equal(chunk[:4000], waveform[end - 4000 : end])
        assert not chunk[4000:].any()


def test_what_a_page_knows_of_it():
    facts = {"dataset": "d", "run": "r", "weights": {"licence": "none"}, "typical_s": 0.25}
    text = web.description(runtime.Metadata(SETTINGS, ("a", "b"), facts))
    assert (text["chunk"], text["hop"]) == (9600, 4800)
    assert (text["window"], text["window_hop"]) == (4000, 2000)
    assert text["trim"] == {"frame": 2048, "hop": 512, "db": 30, "margin": 1024}
    assert text["sound"] == {"frame": 2048, "hop": 512, "db": 30}
    relative, level = text["panels"]
    assert relative["mel_hz"][-1] > 4000 > level["mel_hz"][-1]
    assert level["colours"][7] == [7, 7, 7]
    older = web.description(runtime.Metadata(Settings(), ("a",), facts))
    assert (older["window"], older["sound"], len(older["panels"])) == (older["chunk"], None, 1)

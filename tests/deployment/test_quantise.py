"""Variants of a float32 file: which layers are quantised, over which ranges, and odd networks."""

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from litert_quantizer.utils import tfl_flatbuffer_utils

from dslite.deployment import convert, quantise, runtime
from dslite.deployment.runtime import DYNAMIC, INT8, VARIANTS
from dslite.features import store as feature_store


def test_layers_to_keep_stay_in_float32(converted_run, small_store):
    content = (converted_run.folder / "model.tflite").read_bytes()
    chunks = small_store.chunks("train")[:2]
    waves = feature_store.waveforms(small_store, chunks, converted_run.settings)
    quantiser = quantise.Quantiser(content, [wave[None] for wave in waves])
    layers = quantiser.layers()
    assert len(layers) > 20
    for variant in (DYNAMIC, INT8):
        plain, partly = (quantiser.make(variant, keep) for keep in ([], layers[3:5]))
        assert len(partly) > len(plain)
        # Made again it is the same file: nothing of a recipe stays behind.
        assert quantiser.make(variant) == plain
        assert quantiser.make(variant, layers[3:5]) == partly


@pytest.fixture(scope="module")
def odd():
    """A network with two layers of equal weights and a silent one: the network, a quantiser."""
    keras.utils.set_random_seed(0)
    layers, rng = keras.layers, np.random.default_rng(0)
    image = keras.Input((16, 16, 3))
    first, second = (layers.Conv2D(4, 3, name=name) for name in ("first", "second"))
    silent = layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(-1e3))
    both = [first(image), layers.Activation("tanh")(second(layers.Rescaling(3.0)(image)))]
    second.set_weights(first.get_weights())
    both.append(layers.ReLU()(silent(both[0])))
    x = layers.ReLU()(layers.Conv2D(4, 3)(layers.Concatenate()(both)))
    x = layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, x, name="dslite_odd")
    spec = [tf.TensorSpec([1, 16, 16, 3], tf.float32, name="waveform")]
    call = tf.function(lambda waveform: {"output": network(waveform)}, input_signature=spec)
    samples = rng.normal(size=(8, 1, 16, 16, 3)).astype(np.float32)
    return network, quantise.Quantiser(_shared(convert.convert(call, network)), samples), samples


def _shared(content):
    """Let the layers of equal weights read one constant, as the converter sometimes makes it."""
    model = tfl_flatbuffer_utils.read_model(bytearray(content))
    graph, builder = model.subgraphs[0], flatbuffers.Builder()
    convolutions = {
        name: operator
        for operator in graph.operators
        for name in ("first", "second")
        if f"/{name}_" in graph.tensors[operator.outputs[0]].name.decode()
        and len(operator.inputs) == 3
    }
    convolutions["second"].inputs[1] = convolutions["first"].inputs[1]
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_weights_and_a_silent_layer_are_no_obstacle(odd, variant):
    network, quantiser, samples = odd
    for keep in ([], *([name] for name in quantiser.layers()[:2])):
        content = quantiser.make(variant, keep)
        assert runtime.unusable({variant: content}) == {}
        actual = convert.outputs(content, samples[:, 0])
        np.testing.assert_allclose(actual, network(samples[:, 0]), atol=0.05)


def test_ranges_that_are_next_to_nothing_are_widened():
    pairs = {"a": (0.0, 8.0), "b": (-2.0, 2.0), "c": (0.0, 0.0), "d": (-1e-9, 0.0), "e": (1, 4.0)}
    ranges = {
        name: {"min": np.array([lo]), "max": np.array([hi])} for name, (lo, hi) in pairs.items()
    }
    widened = quantise.with_floor(ranges | {"nothing": {}})
    for name in ("a", "b", "e", "nothing"):
        assert widened[name] == ranges.get(name, {})
    for name in ("c", "d"):
        width = widened[name]["max"] - widened[name]["min"]
        assert width == pytest.approx(quantise.SMALLEST_RANGE * 4.0, rel=1e-5)

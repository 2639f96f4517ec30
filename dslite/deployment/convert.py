"""Convert a trained network to TensorFlow Lite, quantised or not (paper 2.2 and 3.4).

The spectrogram is computed in float32: quantised, its logarithm and its minimum and maximum are
lost. So are statistics over the time: of small deviations the squares would be 0.
"""

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import dslite
from dslite import paths, tensorflow_logging
from dslite.deployment import runtime
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, file_name
from dslite.features import spectrogram
from dslite.models import classifier, pooling
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.training.runs import Run

# `dslite.models.classifier` names its network so, and thereby the tensors in it.
SCOPE = r".*dslite_.*"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
STATISTICS = rf"{SCOPE}/({'|'.join(pooling.NAMES)})_.*"  # layers that compute them
HEAD = rf"{SCOPE}/output_({'|'.join(pooling.NAMES)}|sum)_.*"  # see `divide_head`
FILTERS = rf".*{spectrogram.FILTERS}.*"  # of a clip's panels


def functions(network: keras.Model, settings: Settings) -> dict[str, Callable]:
    """Return what goes on the device, as TensorFlow functions of one chunk.

    ``model``: waveform float32 [1, samples] -> probabilities [1, outputs]; its two halves for Table
    5: ``spectrogram``: waveform -> Mel image uint8 [1, rows, columns], and ``cnn``: Mel image
    -> probabilities.
    """
    wave = tf.TensorSpec([1, settings.chunk_samples], tf.float32, name="waveform")
    shape = [1, *spectrogram.shape(settings)]
    image = tf.TensorSpec(shape, tf.uint8, name="mel")

    @tf.function(input_signature=[wave], autograph=False)
    def mel(waveform):
        return {"mel": spectrogram.mel_image(waveform, settings)}

    @tf.function(input_signature=[image], autograph=False)
    def cnn(mel):
        return {"output": network(classifier.inputs(mel, settings), training=False)}

    @tf.function(input_signature=[wave], autograph=False)
    def whole(waveform):
        pictures = classifier.inputs(spectrogram.mel_image(waveform, settings), settings)
        return {"output": network(pictures, training=False)}

    return {"model": whole, "cnn": cnn, "spectrogram": mel}


def divide_head(network: keras.Model) -> keras.Model:
    """Return a network that applies its head to each block of features on its own, and adds up.

    Weights of blocks differ in size by a hundred: with one scale of 8 bits for all, most were 0.
    Blocks that the head does not use are left out, and what of the backbone only they need. A
    network without blocks is returned as it is.
    """
    blocks = list(pooling.statistics(network))
    if not blocks:
        return network
    place = 1 + [layer.name for layer in network.layers].index("pooling")
    dense, *behind = network.layers[place:]
    kernel, bias = dense.get_weights()
    ends = np.cumsum([block.output.shape[1] for block in blocks])[:-1]
    pairs = list(zip(blocks, np.split(kernel, ends), strict=True))
    parts = []
    for block, weights in [pair for pair in pairs if pair[1].any()] or pairs[:1]:
        part = keras.layers.Dense(len(bias), use_bias=not parts, name=f"output_{block.name}")
        parts.append(part(block.output))
        part.set_weights([weights, bias] if part.use_bias else [weights])
    x = keras.layers.Add(name="output_sum")(parts) if len(parts) > 1 else parts[0]
    x = keras.layers.Activation(dense.activation)(x)
    for layer in behind:
        x = layer(x)
    return keras.Model(network.input, x, name=network.name)


def convert(function: Callable, network: keras.Model) -> bytes:
    """Convert one of `functions` to a float32 TensorFlow Lite file of built-in operators only.

    It goes through a SavedModel that tracks the variables: converted directly, or exported with the
    model itself, Keras 3 leaves its weights outside. A file too small for them is a RuntimeError.
    """
    holder = tf.Module()
    holder.weights = [variable.value for variable in network.variables]
    holder.function = function
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(holder, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    captured = {id(v): v for v in function.get_concrete_function().variables}
    weights = 4 * sum(int(np.prod(v.shape)) for v in captured.values())
    # Folding batch normalisation into convolutions saves a few per cent, never a tenth.
    if len(content) < 0.9 * weights:
        raise RuntimeError(f"{len(content)} bytes cannot hold {weights} bytes of weights")
    return content


def convert_parts(
    run: Run, network: keras.Model, calibration: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, "Quantiser"]:
    """Convert each part, see `functions`.

    ``calibration`` are training chunks: waveforms float32 [samples], Mel spectrograms uint8
    [rows, columns].
    """
    network = divide_head(network)
    waveforms, mels = ([sample[None] for sample in of] for of in zip(*calibration, strict=True))
    inputs = {"model": waveforms, "cnn": mels, "spectrogram": waveforms}
    return {
        part: Quantiser(
            convert(function, network), inputs[part], "mel" if part == "cnn" else "waveform"
        )
        for part, function in functions(network, run.settings).items()
    }


def write(
    run: Run, parts: Mapping[str, "Quantiser"], keep: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], Path]:
    """Write a run's files beside its ``model.keras``, with metadata: (part, variant) -> path.

    ``parts`` are those of `convert_parts`, ``keep`` the variants to make -> layers that stay in
    float32 (the spectrogram is written in float32 only).
    """
    files = {}
    for part, quantiser in parts.items():
        for variant in keep if part != "spectrogram" else (FLOAT32,):
            converted = quantiser.make(variant, keep[variant])
            path = files[part, variant] = run.folder / file_name(part, variant)
            with paths.replacing(path) as draft:
                draft.write_bytes(runtime.attach(converted, _metadata(run, part, variant)))
    return files


def _metadata(run: Run, part: str, variant: str) -> dict[str, Any]:
    """Return the facts of `dslite.deployment.runtime.Metadata`."""
    record, settings = run.record, run.settings
    waveform = f"waveform, float32 [1, {settings.chunk_samples}]"
    rows, columns = spectrogram.shape(settings)
    mel = f"Mel spectrogram, uint8 [1, {rows}, {columns}]"
    inputs = {"model": f"{waveform}, {settings.sample_rate} Hz", "cnn": mel}
    licence = f"that of {Path(settings.weights).name}, not known here"
    if settings.random_weights:
        licence = "none: trained from random weights"
    elif settings.weights == "imagenet":
        licence = IMAGENET[settings.backbone].licence
    typical = {"typical_s": record["typical_s"]} if "typical_s" in record else {}
    return {
        **{"dataset": record["dataset"], "run": run.folder.name, "identity": record["identity"]},
        **{"part": part, "variant": variant, "task": run.task, "classes": list(run.classes)},
        "settings": settings.model_dump() | {"weights": Path(settings.weights).name},
        "weights": record["weights"] | {"licence": licence},
        "input": inputs.get(part, waveform),
        "version": dslite.__version__,
        **typical,
    }


class Quantiser:
    """A float32 file, from which smaller ones are made; calibrated once.

    For `INT8` the range of every tensor is taken over ``samples``, inputs of the file of the name
    ``input_name``: training data, never the test partition's.
    """

    def __init__(self, content: bytes, samples: Iterable[np.ndarray], input_name: str = "waveform"):
        self._content = content
        self._samples = [{input_name: sample} for sample in samples]
        self._ranges = None

    def layers(self) -> list[str]:
        """Return the names of the layers with weights, in the order in which they run."""
        from ai_edge_litert.interpreter import OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = runtime.interpreter(self._content, experimental_op_resolver_type=plain)
        names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        weighted = (of for of in interpreter._get_ops_details() if of["op_name"] in WEIGHTED)
        outputs = (names[operator["outputs"][0]] for operator in weighted)
        return [name for name in outputs if re.match(SCOPE, name)]

    def make(self, variant: str, keep: Sequence[str] = ()) -> bytes:
        """Return the file in one of `VARIANTS`, the layers to ``keep`` (see `layers`) in float32.

        `FLOAT16`: weights of 16 bits, computed in float32. `DYNAMIC`: weights of 8 bits but for
        depthwise layers, activations quantised as they come. `INT8`: both, by the ranges seen in
        calibration. Input and output stay float32.
        """
        if variant == FLOAT32:
            return self._content
        with (  # progress bars, summaries and warnings of the library
            tensorflow_logging.silent_stderr(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            quantizer = self._with_recipe(variant, keep)
            if variant == INT8 and self._ranges is None:
                data = {"serving_default": self._samples}
                self._ranges = quantizer.calibrate(data, num_threads=2)
            result = quantizer.quantize(self._ranges if variant == INT8 else None)
        return bytes(result.quantized_model)

    def _with_recipe(self, variant: str, keep: Sequence[str]):
        """Return the library's quantizer with the rules of a variant."""
        from litert_quantizer import qtyping, quantizer
        from litert_quantizer.algorithm_manager import AlgorithmName

        recipe, kind = quantizer.Quantizer(bytearray(self._content)), qtyping.TFLOperationName
        update = recipe.update_quantization_recipe
        if variant == FLOAT16:
            halves = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=halves,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            for name in WEIGHTED:
                update(SCOPE, kind(name), config, AlgorithmName.FLOAT_CASTING)
            update(FILTERS, kind.FULLY_CONNECTED, config, AlgorithmName.FLOAT_CASTING)
        elif variant == DYNAMIC:
            # Not the depthwise ones: they have few weights, and the runtime is slower with 8 bits.
            for name in ("CONV_2D", "FULLY_CONNECTED"):
                recipe.add_dynamic_config(SCOPE, kind(name), num_bits=8)
        else:
            recipe.add_static_config(
                SCOPE, kind.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
            )
            # 256 steps are too few for probabilities near 0 and 1.
            update(SCOPE, kind.SOFTMAX, algorithm_key=AlgorithmName.NO_QUANTIZE)
            update(STATISTICS, kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
        if variant != FLOAT16:  # features of many scales: only the weights are of 8 bits
            update(HEAD, kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
            for scope in (HEAD, FILTERS):
                recipe.add_weight_only_config(scope, kind.FULLY_CONNECTED, num_bits=8)
        for name in keep:
            update(re.escape(name), kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
        return recipe

"""Convert a run to TensorFlow Lite, quantised or not, and hold it to Keras (paper 2.2 and 3.4).

The spectrogram is computed in float32: quantised, its logarithm and its minimum and maximum are
lost. So are statistics over the time: of small deviations the squares would be 0.

Variants are judged on devel; test is only reported. The final model has learnt from devel, so what
a file loses there is the least that it loses.
"""

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import dslite
from dslite import paths, provenance, tensorflow_logging
from dslite.deployment import runtime
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS, file_name
from dslite.errors import ConversionError
from dslite.evaluation import metrics, significance
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.features.store import Store
from dslite.models import classifier, pooling
from dslite.models.weights import REGISTRY
from dslite.settings import Settings
from dslite.training.runs import Run

# `dslite.models.classifier` names its network so, and thereby the tensors in it.
SCOPE = r".*dslite_.*"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
STATISTICS = rf"{SCOPE}/({'|'.join(pooling.NAMES)})_.*"  # layers that compute them
HEAD = rf"{SCOPE}/output_({'|'.join(pooling.NAMES)}|sum)_.*"  # see `divide_head`
FILTERS = rf".*{spectrogram.FILTERS}.*"  # of a clip's panels

FILE = "agreement.json"
PARTITIONS = ("devel", "test")
LOST = 0.005  # of UAR: what loses more has layers put back into float32
MOST_RESTORED = 16  # layers
SENSITIVITY_CHUNKS = 24
CALIBRATION_CHUNKS = 64  # of train
THREADS = 2
# Largest mean difference of a probability (of a regression: in standard deviations of its
# predictions). float32 differs by the rounding of the spectrogram's 256 steps, the others by their
# own. Not the share of equal decisions: where two classes tie, any rounding decides.
TOLERANCE = {FLOAT32: 1e-3, FLOAT16: 1e-2, DYNAMIC: 5e-2, INT8: 5e-2}


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide progress bars, summaries and warnings of converters; errors still raise."""
    with (
        tensorflow_logging.silent_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def functions(network: keras.Model, settings: Settings) -> dict[str, Callable]:
    """Return what goes on the device, as TensorFlow functions of one chunk.

    ``model``: waveform float32 [1, samples] -> probabilities [1, outputs]; its halves for Table 5:
    ``spectrogram``: waveform -> Mel image uint8 [1, rows, columns], ``cnn``: from there.
    """
    wave = tf.TensorSpec([1, settings.chunk_samples], tf.float32, name="waveform")
    image = tf.TensorSpec([1, *spectrogram.shape(settings)], tf.uint8, name="mel")

    def mel(waveform):
        return {"mel": spectrogram.mel_image(waveform, settings)}

    def cnn(mel):
        return {"output": network(classifier.inputs(mel, settings), training=False)}

    def whole(waveform):
        return cnn(**mel(waveform))

    signatures = {"model": (whole, wave), "cnn": (cnn, image), "spectrogram": (mel, wave)}
    return {
        part: tf.function(function, input_signature=[spec], autograph=False)
        for part, (function, spec) in signatures.items()
    }


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
    """Convert one of `functions` to a float32 file of built-in operators only."""
    # Through a SavedModel that tracks the variables: converted directly, or exported with the model
    # itself, Keras 3 leaves its weights outside.
    holder = tf.Module()
    holder.weights = [variable.value for variable in network.variables]
    holder.function = function
    with tempfile.TemporaryDirectory() as folder, silent():
        tf.saved_model.save(holder, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def convert_parts(
    run: Run, network: keras.Model, calibration: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, "Quantiser"]:
    """Convert `functions`; calibrate on waveforms float32 [samples] with their Mel images uint8."""
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
    """Write a run's files, the layers in ``keep`` in float32: (part, variant) -> path."""
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
    wave = f"waveform, float32 [1, {settings.chunk_samples}], {settings.sample_rate} Hz"
    rows, columns = spectrogram.shape(settings)
    licence = f"that of {Path(settings.weights).name}, not known here"
    if settings.random_weights:
        licence = "none: trained from random weights"
    elif settings.weights == "imagenet":
        licence = REGISTRY[settings.backbone]["licence"]
    return {
        **{"dataset": record["dataset"], "run": run.folder.name, "identity": record["identity"]},
        **{"part": part, "variant": variant, "task": run.task, "classes": list(run.classes)},
        "settings": settings.model_dump() | {"weights": Path(settings.weights).name},
        "weights": record["weights"] | {"licence": licence},
        "input": f"Mel spectrogram, uint8 [1, {rows}, {columns}]" if part == "cnn" else wave,
        "version": dslite.__version__,
        **{key: record[key] for key in ("typical_s",) if key in record},
    }


class Quantiser:
    """A float32 file, from which smaller ones are made; calibrated once, on training data."""

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
        """Return the file in a variant, the layers to ``keep`` (see `layers`) in float32.

        `FLOAT16`: weights of 16 bits, computed in float32. `DYNAMIC`: weights of 8 bits but for
        depthwise layers, activations quantised as they come. `INT8`: both, by the ranges seen in
        calibration. Input and output stay float32.
        """
        if variant == FLOAT32:
            return self._content
        with silent():
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


# Agreement with Keras


def convert_run(
    run: Run,
    store: Store,
    log: Callable[[str], None] = print,
    variants: Sequence[str] = VARIANTS,
) -> dict[str, Any]:
    """Convert a run in its variants, compare them with Keras, restore layers, write the files.

    A variant that loses more than `LOST` of UAR on devel gets its most sensitive layers (on
    training chunks) back in float32, twice as many each time, until it loses less or
    `MOST_RESTORED` are reached. float32 is always among the ``variants``.

    Gives the content of `FILE`: variant -> `compare` on devel, with ``layers`` (how many have
    weights), ``float32_layers`` (names of those restored), ``size_bytes`` and ``test`` (`compare`
    on test, which nothing was chosen on). A file that differs from Keras by more than its
    `TOLERANCE` is a ConversionError.
    """
    network = classifier.load_classifier(run.model_file())
    predictor = classifier.predictor(network, run.settings)
    expected = {
        partition: feature_store.predict(predictor, store.mel, store.chunks(partition))
        for partition in PARTITIONS
    }
    train = store.chunks("train")
    spread = np.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CHUNKS))
    chosen = train[spread.astype(int)]
    waveforms = list(feature_store.waveforms(store, chosen, run.settings))
    parts = convert_parts(run, network, list(zip(waveforms, store.mel[chosen], strict=True)))

    def compared(content: bytes, partition: str) -> dict[str, Any]:
        chunks = store.chunks(partition)
        # Decoded again for each file: of a large corpus the waveforms would fill the memory.
        actual = outputs(content, feature_store.waveforms(store, chunks, run.settings))
        return compare(run, store, chunks, expected[partition], actual)

    unit = 1.0 if run.task == "classification" else float(expected["devel"].std()) or 1.0
    results, keep = {}, {}
    for variant in [of for of in VARIANTS if of in (FLOAT32, *variants)]:
        keep[variant], result = _restored(parts["model"], variant, waveforms, compared, log)
        difference = result["mean_difference"] / unit
        if not difference <= TOLERANCE[variant]:
            raise ConversionError(
                f"{run.folder.name}, {variant}: differs from Keras by {difference:.2g} on average "
                f"(devel), more than the {TOLERANCE[variant]:g} allowed for {variant}"
            )
        results[variant] = result | {
            "layers": len(parts["model"].layers()),
            "float32_layers": keep[variant],
            "test": compared(parts["model"].make(variant, keep[variant]), "test"),
        }
    files = write(run, parts, keep)
    for variant, result in results.items():
        result["size_bytes"] = files["model", variant].stat().st_size
    provenance.write_json(run.folder / FILE, results)
    return results


def outputs(content: bytes, waveforms: Iterable[np.ndarray]) -> np.ndarray:
    """Run a file on chunks: float32 [chunks, outputs]."""
    call = runtime.runner(content, THREADS)
    return np.concatenate([call(waveform[None]) for waveform in waveforms])


def compare(
    run: Run, store: Store, chunks: np.ndarray, expected: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    """Compare a file's outputs, float32 [chunks, outputs], with Keras's, by chunk and audio file.

    UARs are of files, fractions; ``uar_difference`` is the file's less Keras's, ``interval`` its
    95 % interval (`dslite.evaluation.significance.uar_difference`; None for a single file),
    ``uar_interval`` that of the file's own UAR.
    """
    difference = np.abs(expected - actual)
    result = {
        "chunks": len(expected),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }
    if run.task == "classification":
        result["same_decision"] = float(np.mean(expected.argmax(1) == actual.argmax(1)))
    rows, file = np.unique(store.file[chunks], return_inverse=True)
    labels = store.files["label"].iloc[rows]
    if run.task == "regression" or (labels == "").any():
        return result
    truth = labels.map({name: i for i, name in enumerate(run.classes)}).to_numpy(int)
    n, fusion = len(run.classes), run.settings.fusion
    decisions = [metrics.fuse(of, file, fusion).argmax(axis=1) for of in (expected, actual)]
    keras_uar, uar = (metrics.uar(truth, decision, n) for decision in decisions)
    paired = significance.uar_difference(truth, *decisions, n)
    interval = [paired["low"], paired["high"]]
    how = {"draws": run.settings.bootstrap_draws, "seed": run.record["seed"]}
    return result | {
        **{"uar": float(uar), "keras_uar": float(keras_uar)},
        "uar_interval": metrics.bootstrap_interval(truth, decisions[1], n, **how),
        "uar_difference": float(uar - keras_uar),
        "interval": None if None in interval else interval,  # one file
    }


def agreement_table(results: dict[str, Any]) -> pd.DataFrame:
    """Return one row a variant of `convert_run`'s results: MB, shares and UAR in percent."""
    rows = {}
    for variant, result in results.items():
        interval = 100 * np.array(result.get("interval") or [])
        rows[variant] = {
            "MB": result["size_bytes"] / 1e6,
            "same decision %": 100 * result.get("same_decision", np.nan),
            "mean difference": result["mean_difference"],
            "largest": result["largest_difference"],
            "devel UAR %": 100 * result.get("uar", np.nan),
            "less than Keras": 100 * (0 - result.get("uar_difference", np.nan)),
            "95 %": "{:+.1f} to {:+.1f}".format(*interval) if interval.size else "",
            "test UAR %": 100 * result["test"].get("uar", np.nan),
            "layers in float32": f"{len(result['float32_layers'])} of {result['layers']}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _restored(
    quantiser: Quantiser,
    variant: str,
    waveforms: list[np.ndarray],
    compared: Callable[[bytes, str], dict[str, Any]],
    log: Callable[[str], None],
) -> tuple[list[str], dict[str, Any]]:
    """Return a variant's layers that stay in float32, and how its file then compares on devel."""
    result = compared(quantiser.make(variant), "devel")
    lost, keep, count = -result.get("uar_difference", 0.0), [], 1
    if variant == FLOAT32 or lost <= LOST:
        return keep, result
    some = waveforms[:: max(1, len(waveforms) // SENSITIVITY_CHUNKS)]
    exact = outputs(quantiser.make(FLOAT32), some)

    def difference(layer: str) -> float:
        return np.abs(outputs(quantiser.make(variant, [layer]), some) - exact).mean()

    ranked = sorted(quantiser.layers(), key=difference)  # the most sensitive ones first
    while lost > LOST and count <= min(MOST_RESTORED, len(ranked)):
        keep, count = ranked[:count], 2 * count
        result = compared(quantiser.make(variant, keep), "devel")
        log(
            f"{variant} lost {100 * lost:.2f} points of UAR on devel; with the {len(keep)} most "
            f"sensitive of {len(ranked)} layers in float32 {-100 * result['uar_difference']:.2f}"
        )
        lost = -result["uar_difference"]
    return keep, result

"""Convert a run to TensorFlow Lite, quantised or not, and hold it to Keras (paper 2.2 and 3.4).

The spectrogram is computed in float32: quantised, its logarithm and its minimum and maximum are
lost. So are statistics over the time: of small deviations the squares would be 0.

Variants are judged on devel; test is only reported. The final model has learnt from devel, so what
a file loses there is the least that it loses.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import dslite
from dslite import paths, provenance
from dslite.deployment import runtime
from dslite.deployment.quantise import THREADS, TONES_HZ, Quantiser, silent, synthetic_sounds
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS, file_name
from dslite.errors import ConversionError, InputError
from dslite.evaluation import metrics, significance
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.features.store import Store
from dslite.models import classifier, pooling
from dslite.models.weights import REGISTRY
from dslite.settings import Settings
from dslite.training.runs import Run

FILE = runtime.AGREEMENT
PARTITIONS = ("devel", "test")
LOST = 0.005  # of UAR: what loses more has layers put back into float32
# Neighbours are restored together: a layer between quantised ones still gets their rounding.
GROUPS = 16  # or a few more, of layers
MOST_RESTORED = 8  # groups
SENSITIVITY_CHUNKS = 24
CALIBRATION_CHUNKS = 64  # of train
LARGEST_SUM = 1e30  # of a chunk's samples; more is no audio
# Largest mean difference of a probability (of a regression: in standard deviations of its
# predictions). float32 differs by the rounding of the spectrogram's 256 steps, the others by their
# own. Not the share of equal decisions: where two classes tie, any rounding decides.
TOLERANCE = {FLOAT32: 1e-3, FLOAT16: 1e-2, DYNAMIC: 5e-2, INT8: 5e-2}


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
        # Of samples that are no numbers there is no probability. The sum times 0 would be enough,
        # but the converter takes it for 0.
        total = tf.reduce_sum(waveform, axis=1, keepdims=True)
        output = cnn(**mel(waveform))["output"]
        return {"output": tf.where(tf.abs(total) < LARGEST_SUM, output, np.nan)}

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
    behind = network.layers[place:]
    products = pooling.products(network)
    dense, *behind = behind[1:] if products else behind
    kernel, bias = dense.get_weights()
    features = {block.name: block.output for block in blocks}
    if products:
        options = products.get_config() | {"begin": 0, "joined": False}
        alone = pooling.Products.from_config(options)
        features[products.name] = alone(features[pooling.PAIRED.name])
        alone.set_weights(products.get_weights())
    ends = np.cumsum([of.shape[1] for of in features.values()])[:-1]
    pairs = list(zip(features, np.split(kernel, ends), strict=True))
    parts = []
    for name, weights in [pair for pair in pairs if pair[1].any()] or pairs[:1]:
        part = keras.layers.Dense(len(bias), use_bias=not parts, name=f"output_{name}")
        parts.append(part(features[name]))
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
    with paths.scratch() as folder, silent():
        tf.saved_model.save(holder, str(folder), signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def convert_parts(
    run: Run, network: keras.Model, calibration: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Quantiser]:
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


# Agreement with Keras


def convert_run(
    run: Run,
    store: Store,
    log: Callable[[str], None] = print,
    variants: Sequence[str] = VARIANTS,
) -> dict[str, Any]:
    """Convert a run in its variants, compare them with Keras, restore layers, write the files.

    A variant that loses more than `LOST` of UAR on devel, or differs by more than its `TOLERANCE`,
    gets its most sensitive groups of layers (on training chunks) back in float32, twice as many
    each time, until it does not or `MOST_RESTORED` are reached. float32 is always a variant.

    Gives the content of `FILE`: variant -> `compare` on devel, with ``layers`` (how many have
    weights), ``float32_layers`` (names of those restored or never quantised), ``size_bytes``,
    ``test`` (`compare` on test, which nothing was chosen on) and ``synthetic`` (differences on
    sounds that are no recordings). One that cannot be made or opened, or still differs too much,
    has ``failed``, the reason, and no file; a ConversionError where that is so of all.
    """
    network = classifier.load_classifier(run.model_file())
    predictor = classifier.predictor(network, run.settings)
    expected = {
        partition: feature_store.predict(predictor, store.mel, store.chunks(partition))
        for partition in PARTITIONS
    }
    sounds = {purpose: synthetic_sounds(run.settings, purpose) for purpose in TONES_HZ}
    mels = {of: spectrogram.mel_image(some, run.settings).numpy() for of, some in sounds.items()}
    of_sounds = predictor(mels["comparison"]).numpy()
    train = store.chunks("train")
    spread = np.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CHUNKS))
    chosen = train[spread.astype(int)]
    waveforms = list(feature_store.waveforms(store, chosen, run.settings))
    calibration = [*zip(waveforms, store.mel[chosen], strict=True)]
    calibration += zip(sounds["calibration"], mels["calibration"], strict=True)
    parts = convert_parts(run, network, calibration)
    quantiser = parts["model"]

    def compared(content: bytes, partition: str) -> dict[str, Any]:
        chunks = store.chunks(partition)
        # Decoded again for each file: of a large corpus the waveforms would fill the memory.
        actual = outputs(content, feature_store.waveforms(store, chunks, run.settings))
        return compare(run, store, chunks, expected[partition], actual)

    unit = 1.0 if run.task == "classification" else float(expected["devel"].std()) or 1.0

    def assess(variant: str, content: bytes, result: dict[str, Any]) -> bytes:
        """Restore layers where that is needed and fill in the result; return the file."""
        allowed = unit * TOLERANCE[variant]
        args = (quantiser, variant, content, waveforms, compared, log, allowed)
        keep[variant], content, devel = _restored(*args)
        exact = list(dict.fromkeys([*quantiser.exact(variant), *keep[variant]]))
        layers = {"layers": len(quantiser.layers()), "float32_layers": exact}
        result |= devel | layers | {"size_bytes": len(content), "test": compared(content, "test")}
        result["synthetic"] = differences(of_sounds, outputs(content, sounds["comparison"]), run)
        if not result["mean_difference"] <= allowed:
            raise ConversionError(
                f"differs from Keras by {result['mean_difference'] / unit:.2g} on average (devel), "
                f"more than the {TOLERANCE[variant]:g} allowed"
            )
        return content

    variants = [of for of in VARIANTS if of in (FLOAT32, *variants)]
    results: dict[str, Any] = {variant: {"test": {}} for variant in variants}
    keep, files = {variant: [] for variant in variants}, {}
    for variant in variants:
        with _alone(results[variant]):
            files["model", variant] = quantiser.make(variant)
    _drop_unusable(files, results)
    for variant in variants:
        if "failed" not in results[variant]:
            with _alone(results[variant]):
                files["model", variant] = assess(variant, files["model", variant], results[variant])
        log(_line(variant, results[variant]))
    halves = {("spectrogram", FLOAT32): parts["spectrogram"].make(FLOAT32)}
    for variant in [of for of in variants if "failed" not in results[of]]:
        with _alone(results[variant]):
            halves["cnn", variant] = parts["cnn"].make(variant, keep[variant])
    _drop_unusable(halves, results)
    spectrogram_file = {of: file for of, file in halves.items() if of[0] == "spectrogram"}
    agreeing = {of: file for of, file in (files | halves).items() if "failed" not in results[of[1]]}
    (run.folder / FILE).unlink(missing_ok=True)  # until all files are those that it is of
    for (part, variant), file in write(run, spectrogram_file | agreeing).items():
        if part == "model":
            results[variant]["size_bytes"] = file.stat().st_size  # with its metadata
    for part, variant in itertools.product(("model", "cnn"), VARIANTS):
        if (part, variant) not in agreeing:  # an older file, of which `FILE` would say nothing
            (run.folder / file_name(part, variant)).unlink(missing_ok=True)
    provenance.write_json(run.folder / FILE, results)
    if all("failed" in result for result in results.values()):
        raise ConversionError(f"{run.folder.name}: {failures(results)}")
    return results


def failures(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the variants of `convert_run` that were not kept, and why; empty: none."""
    failed = {name: result["failed"] for name, result in results.items() if "failed" in result}
    return "; ".join(f"{name} is not kept: {reason}" for name, reason in failed.items())


@contextlib.contextmanager
def _alone(result: dict[str, Any]) -> Iterator[None]:
    """Let a variant's error be its result, whatever the quantiser or the runtime raises."""
    try:
        yield
    except (InputError, OSError):  # of the user's audio or disk
        raise
    except ConversionError as error:
        result["failed"] = str(error)
    except Exception as error:
        result["failed"] = " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _drop_unusable(files: dict[tuple[str, str], bytes], results: dict[str, Any]) -> None:
    """Take out the files that cannot be opened; that is their variant's result."""
    for (part, variant), reason in runtime.unusable(files).items():
        results[variant].setdefault("failed", f"{file_name(part, variant)} cannot be run: {reason}")
        del files[part, variant]


def write(run: Run, files: Mapping[tuple[str, str], bytes]) -> dict[tuple[str, str], Path]:
    """Write a run's files, (part, variant) -> content, with their metadata; return where."""
    written = {(part, variant): run.folder / file_name(part, variant) for part, variant in files}
    for (part, variant), file in written.items():
        with paths.replacing(file) as draft:
            content = files[part, variant]
            draft.write_bytes(runtime.attach(content, _metadata(run, part, variant)))
    return written


def _line(variant: str, result: Mapping[str, Any]) -> str:
    """Say in one line how a variant has turned out."""
    if "failed" in result:
        return f"{variant}: not kept, {result['failed']}"
    restored = f"{len(result['float32_layers'])} of {result['layers']} layers in float32"
    megabytes, difference = result["size_bytes"] / 1e6, result["mean_difference"]
    return f"{variant}: {megabytes:.2f} MB, {difference:.2g} off Keras on average, {restored}"


def outputs(content: bytes, waveforms: Iterable[np.ndarray]) -> np.ndarray:
    """Run a file on chunks: float32 [chunks, outputs]."""
    call = runtime.runner(content, THREADS)
    return np.concatenate([call(waveform[None]) for waveform in waveforms])


def differences(expected: np.ndarray, actual: np.ndarray, run: Run) -> dict[str, Any]:
    """Compare two outputs, float32 [chunks, outputs], chunk by chunk."""
    difference = np.abs(expected - actual)
    if not np.isfinite(difference).all():
        raise ConversionError("its outputs are no numbers")
    result = {
        "chunks": len(expected),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }
    if run.task == "classification":
        result["same_decision"] = float(np.mean(expected.argmax(1) == actual.argmax(1)))
    return result


def compare(
    run: Run, store: Store, chunks: np.ndarray, expected: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    """Compare a file's outputs, float32 [chunks, outputs], with Keras's, by chunk and audio file.

    UARs are of files, fractions; ``uar_difference`` is the file's less Keras's, ``interval`` its
    95 % interval (`dslite.evaluation.significance.uar_difference`; None for a single file),
    ``uar_interval`` that of the file's own UAR.
    """
    result = differences(expected, actual, run)
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
    """Return one row a variant of `convert_run`'s results: MB, shares and UAR in percent.

    The differences are those of devel's audio; "mean, synthetic" is the mean one of silence,
    clicks, noise and tones.
    """
    rows = {}
    for variant, result in results.items():
        interval = 100 * np.array(result.get("interval") or [])
        rows[variant] = {
            "MB": result.get("size_bytes", np.nan) / 1e6,
            "same decision %": 100 * result.get("same_decision", np.nan),
            "mean difference": result.get("mean_difference", np.nan),
            "largest": result.get("largest_difference", np.nan),
            "devel UAR %": 100 * result.get("uar", np.nan),
            "less than Keras": 100 * (0 - result.get("uar_difference", np.nan)),
            "95 %": "{:+.1f} to {:+.1f}".format(*interval) if interval.size else "",
            "test UAR %": 100 * result["test"].get("uar", np.nan),
            "mean, synthetic": result.get("synthetic", {}).get("mean_difference", np.nan),
            "layers in float32": "{} of {}".format(
                len(result.get("float32_layers", [])), result.get("layers", "?")
            ),
            "result": result.get("failed", "kept"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _restored(
    quantiser: Quantiser,
    variant: str,
    content: bytes,
    waveforms: list[np.ndarray],
    compared: Callable[[bytes, str], dict[str, Any]],
    log: Callable[[str], None],
    allowed: float,
) -> tuple[list[str], bytes, dict[str, Any]]:
    """Return a variant's layers that stay in float32, its file and how that compares on devel."""

    def is_off(result: dict[str, Any]) -> bool:
        return -result.get("uar_difference", 0.0) > LOST or result["mean_difference"] > allowed

    def in_words(result: dict[str, Any]) -> str:
        lost = -100 * result.get("uar_difference", 0.0)
        return f"{lost:.2f} points of UAR lost and {result['mean_difference']:.2g} off Keras"

    result, keep, count = compared(content, "devel"), [], 1
    if variant == FLOAT32 or not is_off(result):
        return keep, content, result
    some = waveforms[:: max(1, len(waveforms) // SENSITIVITY_CHUNKS)]
    exact = outputs(quantiser.make(FLOAT32), some)

    def difference(group: list[str]) -> float:
        return np.abs(outputs(quantiser.make(variant, group), some) - exact).mean()

    layers = quantiser.layers()
    size = max(1, len(layers) // GROUPS)
    groups = [layers[i : i + size] for i in range(0, len(layers), size)]
    ranked = sorted(groups, key=difference)  # the most sensitive ones first
    while is_off(result) and count <= min(MOST_RESTORED, len(groups)):
        keep, before = [layer for group in ranked[:count] for layer in group], in_words(result)
        count *= 2
        content = quantiser.make(variant, keep)
        for reason in runtime.unusable({variant: content}).values():
            raise ConversionError(f"with {len(keep)} layers in float32 it cannot be run: {reason}")
        result = compared(content, "devel")
        log(
            f"{variant}: {before} (devel); with the {len(keep)} most sensitive of {len(layers)} "
            f"layers in float32 {in_words(result)}"
        )
    return keep, content, result

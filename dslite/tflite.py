"""Conversion to TensorFlow Lite and running a ``.tflite`` (paper 2.2 and 3.4)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import dslite
from dslite import litert, model, paths, runs, spectrogram
from dslite.settings import Settings
from dslite.weights_files import IMAGENET


def functions(network: keras.Model, settings: Settings) -> dict[str, Callable]:
    """What goes on the device, as TensorFlow functions of one chunk.

    Returns
    -------
    dict
        ``model``: waveform float32 [1, samples] -> probabilities [1, outputs]; its two halves
        for Table 5: ``spectrogram``: waveform -> Mel image uint8 [1, mel_bands, frames], and
        ``cnn``: Mel image -> probabilities.
    """
    wave = tf.TensorSpec([1, settings.chunk_samples], tf.float32, name="waveform")
    shape = [1, settings.mel_bands, spectrogram.frames(settings)]
    image = tf.TensorSpec(shape, tf.uint8, name="mel")

    @tf.function(input_signature=[wave], autograph=False)
    def mel(waveform):
        return {"mel": spectrogram.mel_image(waveform, settings)}

    @tf.function(input_signature=[image], autograph=False)
    def cnn(mel):
        return {"output": network(model.inputs(mel, settings), training=False)}

    @tf.function(input_signature=[wave], autograph=False)
    def whole(waveform):
        pictures = model.inputs(spectrogram.mel_image(waveform, settings), settings)
        return {"output": network(pictures, training=False)}

    return {"model": whole, "cnn": cnn, "spectrogram": mel}


def convert(function: Callable, network: keras.Model) -> bytes:
    """A float32 TensorFlow Lite file of built-in operators only.

    The function goes through an exported SavedModel that tracks the variables: converted directly,
    or exported with the model instead of its variables, Keras 3 leaves its weights outside.

    Raises
    ------
    RuntimeError
        The file is too small to hold the weights that the function uses.
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


def _licence(settings: Settings) -> str:
    """Of the weights that the training started from."""
    if settings.random_weights:
        return "none: trained from random weights"
    if settings.weights == "imagenet":
        return IMAGENET[settings.backbone].licence
    return f"that of {Path(settings.weights).name}, not known here"


def told(run: runs.Run, part: str, variant: str) -> dict[str, Any]:
    """What a file says of itself, see `dslite.litert.Metadata`."""
    record, settings = run.record, run.settings
    bands, frames = settings.mel_bands, spectrogram.frames(settings)
    return {
        "dataset": record["dataset"],
        "run": run.folder.name,
        "identity": record["identity"],
        "part": part,
        "variant": variant,
        "task": run.task,
        "classes": list(run.classes),
        "settings": settings.model_dump() | {"weights": Path(settings.weights).name},
        "weights": record["weights"] | {"licence": _licence(settings)},
        "input": {
            "model": f"waveform, float32 [1, {settings.chunk_samples}], {settings.sample_rate} Hz",
            "spectrogram": f"waveform, float32 [1, {settings.chunk_samples}]",
            "cnn": f"Mel spectrogram, uint8 [1, {bands}, {frames}]",
        }[part],
        "version": dslite.__version__,
    }


def convert_run(run: runs.Run) -> dict[str, Path]:
    """Convert a finished run; the files lie beside its ``model.keras``.

    Returns
    -------
    dict
        Part -> path, see `functions`.
    """
    network = model.load(run.folder / "model.keras")
    files = {}
    for part, function in functions(network, run.settings).items():
        files[part] = run.folder / f"{part}.tflite"
        with paths.replacing(files[part]) as draft:
            content = convert(function, network)
            draft.write_bytes(litert.attach(content, told(run, part, "float32")))
    return files


def agreement(expected: np.ndarray, found: np.ndarray, task: str) -> dict[str, float]:
    """How far two implementations of one model differ.

    Parameters
    ----------
    expected, found : ndarray of float32, shape [chunks, outputs]
    task : {"classification", "regression"}

    Returns
    -------
    dict
        ``chunks``, ``mean_difference``, ``largest_difference`` and, for classes,
        ``same_decision`` (a share).
    """
    difference = np.abs(expected - found)
    result = {
        "chunks": len(expected),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }
    if task == "classification":
        result["same_decision"] = float(np.mean(expected.argmax(1) == found.argmax(1)))
    return result

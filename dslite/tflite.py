"""Conversion to TensorFlow Lite and running a ``.tflite`` (paper 2.2 and 3.4)."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from dslite import model, paths, quiet, runs, spectrogram
from dslite.settings import Settings


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
            draft.write_bytes(convert(function, network))
    return files


def runner(path: str | os.PathLike, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs a ``.tflite`` on one input at a time."""
    with quiet.silent_stderr():  # it announces its delegate
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(value: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, value)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


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

"""Convert a trained network to TensorFlow Lite (paper 2.2 and 3.4)."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import dslite
from dslite import paths
from dslite.deployment import quantise, runtime
from dslite.deployment.quantise import FLOAT32, file_name
from dslite.features import spectrogram
from dslite.models import classifier
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.training.runs import Run


def functions(network: keras.Model, settings: Settings) -> dict[str, Callable]:
    """Return what goes on the device, as TensorFlow functions of one chunk.

    ``model``: waveform float32 [1, samples] -> probabilities [1, outputs]; its two halves for Table
    5: ``spectrogram``: waveform -> Mel image uint8 [1, mel_bands, frames], and ``cnn``: Mel image
    -> probabilities.
    """
    wave = tf.TensorSpec([1, settings.chunk_samples], tf.float32, name="waveform")
    shape = [1, settings.mel_bands, spectrogram.frames(settings)]
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


def convert(function: Callable, network: keras.Model) -> bytes:
    """Convert one of `functions` to a float32 TensorFlow Lite file of built-in operators only.

    The function goes through an exported SavedModel that tracks the variables: converted directly,
    or exported with the model instead of its variables, Keras 3 leaves its weights outside. A file
    too small to hold them is a RuntimeError.
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


def convert_parts(run: Run, network: keras.Model) -> dict[str, bytes]:
    """Return the float32 file of each part, see `functions`."""
    parts = functions(network, run.settings)
    return {part: convert(function, network) for part, function in parts.items()}


def write(
    run: Run,
    contents: Mapping[str, bytes],
    calibration: Sequence[tuple[np.ndarray, np.ndarray]],
    keep: Mapping[str, Sequence[str]],
) -> dict[tuple[str, str], Path]:
    """Write a run's files beside its ``model.keras``, with metadata: (part, variant) -> path.

    ``contents`` are those of `convert_parts`, ``keep`` the variants to make -> layers that stay in
    float32 (the spectrogram is written in float32 only). ``calibration`` are training chunks:
    waveforms float32 [samples], Mel spectrograms uint8 [mel_bands, frames].
    """
    files = {}
    for part, content in contents.items():
        samples = [pair[part == "cnn"][None] for pair in calibration]
        quantiser = quantise.Quantiser(content, samples, "mel" if part == "cnn" else "waveform")
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
    mel = f"Mel spectrogram, uint8 [1, {settings.mel_bands}, {spectrogram.frames(settings)}]"
    inputs = {"model": f"{waveform}, {settings.sample_rate} Hz", "cnn": mel}
    licence = f"that of {Path(settings.weights).name}, not known here"
    if settings.random_weights:
        licence = "none: trained from random weights"
    elif settings.weights == "imagenet":
        licence = IMAGENET[settings.backbone].licence
    return {
        **{"dataset": record["dataset"], "run": run.folder.name, "identity": record["identity"]},
        **{"part": part, "variant": variant, "task": run.task, "classes": list(run.classes)},
        "settings": settings.model_dump() | {"weights": Path(settings.weights).name},
        "weights": record["weights"] | {"licence": licence},
        "input": inputs.get(part, waveform),
        "version": dslite.__version__,
    }

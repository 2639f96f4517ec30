"""What a model costs: time, memory, size, parameters, multiply-adds (paper 3.4, Table 5)."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dslite import footprint, provenance
from dslite.deployment import costs, timing
from dslite.deployment.costs import (
    DRAWN,
    KERAS,
    KERAS_CALL,
    KERAS_PREDICT,
    PICTURE,
    TENSORFLOW,
    Way,
)
from dslite.features import spectrogram
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs


def multiply_adds(network: keras.Model) -> int:
    """Multiply-adds of one sample's forward pass: convolutions and dense layers.

    The paper's Table 5 calls this number FLOPs; counted as operations it is twice as large.

    They are counted in TensorFlow's graph of the pass, where a separable convolution is the two
    that it consists of, and a layer that is used twice (or in another model, too) counts as often
    as this network uses it. Grouped convolutions, which Keras compiles apart, are not counted; no
    backbone has one.
    """
    picture = tf.TensorSpec((1, *network.input_shape[1:]), network.input.dtype)
    traced = tf.function(lambda x: network(x, training=False)).get_concrete_function(picture)
    total = 0
    for operation in traced.graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
            kernel = operation.inputs[1].shape
            places = operation.outputs[0].shape[:-1]  # every kernel number is used once at each
            total += int(np.prod(places)) * int(np.prod(kernel))
    return total


def shapes(network: keras.Model, settings: Settings) -> dict[str, list[int]]:
    """What a chunk turns into on its way, without the batch: from the objects, not from a table."""
    mel = spectrogram.mel_image(noise(settings), settings)
    found = {"samples": [settings.chunk_samples], "mel": mel.shape[1:]}
    found["picture"] = classifier.inputs(mel, settings).shape[1:]
    found["features"] = classifier.backbone_of(network).output.shape[1:]
    found["pooled"] = network.get_layer("hidden").input.shape[1:]
    found["hidden"] = network.get_layer("hidden").output.shape[1:]
    found["output"] = network.output.shape[1:]
    return {name: [int(length) for length in shape] for name, shape in found.items()}


def layers(network: keras.Model, settings: Settings) -> dict[str, int]:
    """Layers of the backbone, how many of them phase 2 trains, parameters of it and of the head."""
    backbone = classifier.backbone_of(network)
    count = len(backbone.layers)
    return {
        "backbone": count,
        "trained": classifier.trained_layers(settings, count) if settings.epochs_phase2 else 0,
        "backbone_parameters": backbone.count_params(),
        "head_parameters": network.count_params() - backbone.count_params(),
    }


def noise(settings: Settings) -> np.ndarray:
    """A chunk to measure with: float32 [1, samples]; what is heard makes no difference to time."""
    drawn = np.random.default_rng(0).standard_normal((1, settings.chunk_samples))
    return (drawn / 10).astype(np.float32)


def draw(waveform: np.ndarray, settings: Settings) -> np.ndarray:
    """A spectrogram picture in the way of the older Deep Spectrum: a plot, drawn into pixels.

    librosa's Mel spectrogram in dB, shown by ``librosa.display.specshow`` on a matplotlib figure of
    the picture's size, which Agg then draws.

    Parameters
    ----------
    waveform : ndarray of float32, shape [samples]
    settings : Settings

    Returns
    -------
    ndarray of uint8, shape [image_size, image_size, 3]
        Low frequencies at the bottom.
    """
    import librosa.display

    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=settings.sample_rate,
        n_fft=spectrogram.fft_length(settings),
        win_length=settings.window_samples,
        hop_length=settings.hop_samples,
        n_mels=settings.mel_bands,
        fmin=settings.mel_min_hz,
        fmax=settings.mel_max_hz,
        center=False,
    )
    level = librosa.power_to_db(mel, ref=np.max, top_db=settings.top_db)
    with matplotlib.rc_context({"figure.autolayout": False}):
        figure = Figure(figsize=(settings.image_size / 100,) * 2, dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        librosa.display.specshow(level, ax=axes, cmap="viridis", y_axis=None, x_axis=None)
        axes.set_axis_off()
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def tensorflow_threads() -> int:
    """Threads that one operation of TensorFlow may use in this process."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def keras_calls(
    network: keras.Model, settings: Settings, mel: np.ndarray
) -> dict[Way, Callable[[], object]]:
    """The network in Keras, from the same Mel spectrogram as ``cnn.tflite``.

    Compiled as one TensorFlow function, as this project predicts; called as it is, operation by
    operation; and through Keras's ``predict``, which is made for many samples.
    """
    compiled = classifier.predictor(network, settings)

    def called() -> np.ndarray:
        return network(classifier.inputs(mel, settings), training=False).numpy()

    def predicted() -> np.ndarray:
        return network.predict(classifier.inputs(mel, settings), verbose=0)

    ways = {KERAS: lambda: compiled(mel).numpy(), KERAS_CALL: called, KERAS_PREDICT: predicted}
    return {Way("cnn", name, tensorflow_threads()): call for name, call in ways.items()}


def spectrogram_calls(wave: np.ndarray, settings: Settings) -> dict[Way, Callable[[], object]]:
    """The spectrogram outside of TensorFlow Lite.

    In TensorFlow up to the Mel spectrogram, where ``spectrogram.tflite`` ends, and up to the
    picture, where `draw` ends.
    """
    given = [tf.TensorSpec([1, settings.chunk_samples], tf.float32)]

    @tf.function(input_signature=given, autograph=False)
    def mel(waveform):
        return spectrogram.mel_image(waveform, settings)

    @tf.function(input_signature=given, autograph=False)
    def picture(waveform):
        return spectrogram.picture(spectrogram.mel_image(waveform, settings), settings)

    threads = tensorflow_threads()
    return {
        Way("spectrogram", TENSORFLOW, threads): lambda: mel(wave).numpy(),
        Way("spectrogram", PICTURE, threads): lambda: picture(wave).numpy(),
        Way("spectrogram", DRAWN, 1): lambda: draw(wave[0], settings),
    }


def keras_memory(run: runs.Run) -> dict[str, float]:
    """Memory of a fresh process that runs the compiled Keras model."""
    return footprint.peak(
        "import numpy\nfrom dslite import model, runs, spectrogram",
        "run = runs.load(sys.argv[1])\n"
        "call = model.predictor(model.load(run.folder / 'model.keras'), run.settings)\n"
        "shape = (1, run.settings.mel_bands, spectrogram.frames(run.settings))\n"
        "mel = numpy.zeros(shape, numpy.uint8)",
        "call(mel).numpy()",
        str(run.folder),
    )


def measure(
    run: runs.Run, threads: Sequence[int] = costs.THREADS, repeats: int = 50
) -> dict[str, Any]:
    """Table 5's quantities for a run that was converted, in every variant there is.

    All of it is timed in this process, in turn, on one chunk of noise: files of TensorFlow Lite on
    every number of threads, Keras in three ways, the spectrogram in three more. Memory is that of
    a fresh process for each file, and for Keras.

    Parameters
    ----------
    run : Run
    threads : sequence of int
        Of the TensorFlow Lite runtime; the first stands in Table 5.
    repeats : int
        Runs that each mean is over.

    Returns
    -------
    dict
        ``rows`` (see `dslite.deployment.costs.rows`), ``parameters``, ``multiply_adds``, ``flops``,
        ``layers``, ``shapes``, ``devel`` (score by variant) and what it was measured on.
    """
    found, saved = costs.files(run.folder), run.folder / "model.keras"
    network = classifier.load(saved)
    wave = noise(run.settings)
    mel = spectrogram.mel_image(wave, run.settings).numpy()
    inputs = {"model": wave, "spectrogram": wave, "cnn": mel}
    calls = costs.calls(found, inputs, threads)
    calls |= keras_calls(network, run.settings, mel) | spectrogram_calls(wave, run.settings)
    times = timing.interleaved(calls, repeats)
    keras_ways = [("cnn", name) for name in costs.KERAS_WAYS]
    sizes = {key: file.stat().st_size for key, file in found.items()}
    sizes |= dict.fromkeys(keras_ways, saved.stat().st_size)
    asked = {key: partial(costs.file_memory, file) for key, file in found.items()}
    asked["cnn", KERAS] = partial(keras_memory, run)
    memory = dict(zip(asked, costs.both(list(asked.values())), strict=True))
    adds = multiply_adds(network)
    return {
        **{"dataset": run.record["dataset"], "run": run.folder.name},
        **{"backbone": run.settings.backbone, "threads": list(threads)},
        "random_weights": bool(run.record["weights"]["random"]),
        **{"hardware": costs.hardware(), "date": provenance.now()},
        **{"parameters": network.count_params(), "multiply_adds": adds, "flops": 2 * adds},
        **{"layers": layers(network, run.settings), "shapes": shapes(network, run.settings)},
        **costs.scores(run.folder),
        "rows": costs.rows(times, sizes, memory),
    }

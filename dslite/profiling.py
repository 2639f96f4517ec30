"""What a model costs: time, size, parameters, multiply-adds (paper 3.4, Table 5)."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import litert, loader, model, provenance, runs, tflite


def latency(call: Callable[[], object], runs: int = 50, warm_up: int = 5) -> dict[str, float]:
    """Time of a call: mean and standard deviation of ``runs`` runs, in milliseconds.

    The first ``warm_up`` calls are not counted: they trace, allocate and fill caches.
    """
    for _ in range(warm_up):
        call()
    times = np.empty(runs)
    for i in range(runs):
        begin = time.perf_counter()
        call()
        times[i] = time.perf_counter() - begin
    return {
        "ms": float(1000 * times.mean()),
        "ms_std": float(1000 * times.std()),
        "ms_median": float(1000 * np.median(times)),
        "runs": runs,
    }


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


def measure(run: runs.Run, mel: np.ndarray, threads: int = 1) -> dict[str, Any]:
    """Table 5's quantities for a run that `dslite.tflite.convert_run` converted.

    Parameters
    ----------
    run : Run
    mel : ndarray of uint8, shape [1, mel_bands, frames]
        A stored spectrogram to feed the network with.
    threads : int
        Of the TensorFlow Lite runtime.

    Returns
    -------
    dict
        ``spectrogram``, ``cnn``, ``model`` (end to end) and ``tf_model`` (a compiled Keras call on
        the same picture as ``cnn``), each with ``ms``, ``ms_std``, ``ms_median``, ``runs`` and
        ``size_bytes``; ``tf_model`` also has ``parameters`` and ``multiply_adds``. ``tflite`` is
        the paper's column: the network without the spectrogram.
    """
    noise = np.random.default_rng(0).standard_normal((1, run.settings.chunk_samples))
    wave = noise.astype(np.float32) / 10
    given = {"model": wave, "cnn": mel, "spectrogram": wave}
    found: dict[str, Any] = {}
    for part, value in given.items():
        file = run.folder / f"{part}.tflite"
        call = litert.runner(file, threads)
        found[part] = latency(lambda call=call, value=value: call(value))
        found[part]["size_bytes"] = file.stat().st_size
    saved = run.folder / "model.keras"
    network = model.load(saved)
    compiled = model.predictor(network, run.settings)
    found["tf_model"] = latency(lambda: compiled(mel).numpy()) | {
        "size_bytes": saved.stat().st_size,
        "parameters": network.count_params(),
        "multiply_adds": multiply_adds(network),
    }
    hardware = provenance.hardware()
    return found | {
        "tflite": found["cnn"],
        "hardware": f"{hardware['processor']}, {hardware['cores']} cores",
        "backbone": run.settings.backbone,
        "threads": threads,
        "random_weights": bool(run.record["weights"]["random"]),
    }


def faithfulness(run: runs.Run, store: loader.Store, most: int | None = None) -> dict[str, Any]:
    """Agreement of the end-to-end ``model.tflite`` with Keras on the devel partition.

    The TensorFlow Lite file is fed the audio itself, Keras the stored spectrograms.

    Parameters
    ----------
    run : Run
    store : Store
    most : int, optional
        Use only so many chunks, evenly spread.
    """
    chunks = store.chunks("devel")
    if most is not None and len(chunks) > most:
        chunks = chunks[np.linspace(0, len(chunks) - 1, most).astype(int)]
    network = model.load(run.folder / "model.keras")
    expected = loader.predict(model.predictor(network, run.settings), store.mel, chunks)
    call = litert.runner(run.folder / "model.tflite")
    found = [call(wave[None]) for wave in loader.waveforms(store, chunks, run.settings)]
    return tflite.agreement(expected, np.concatenate(found), run.task)


def cost_table(measured: dict[str, Any]) -> pd.DataFrame:
    """What `measure` found, one row a part: time in ms, size in MB, parameters, multiply-adds."""
    names = {
        "spectrogram": "TFLite spectrogram",
        "cnn": "TFLite CNN",
        "model": "TFLite end to end",
        "tf_model": "TensorFlow CNN",
    }
    rows = {}
    for part, name in names.items():
        found = measured[part]
        rows[name] = {
            "ms": found["ms"],
            "ms_std": found["ms_std"],
            "MB": found["size_bytes"] / 1e6,
            "parameters (M)": found.get("parameters", np.nan) / 1e6,
            "multiply-adds (G)": found.get("multiply_adds", np.nan) / 1e9,
        }
    return pd.DataFrame.from_dict(rows, orient="index")

"""What files for the device cost, and the table of all runs of a corpus; without TensorFlow."""

import json
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import keras
import matplotlib
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dslite import paths, provenance
from dslite import plots as dslite_plots
from dslite.deployment import plots as deployment_plots
from dslite.deployment import runtime
from dslite.deployment.quantise import FLOAT32, VARIANTS, stem
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs

Key = TypeVar("Key", bound=Hashable)
ROUNDS = 5


def latency(call: Callable[[], object], runs: int = 50, warm_up: int = 5) -> dict[str, float]:
    """Time of a call, see `interleaved`."""
    return interleaved({"": call}, runs, warm_up, rounds=1)[""]


def interleaved(
    calls: Mapping[Key, Callable[[], object]],
    runs: int = 50,
    warm_up: int = 5,
    rounds: int = ROUNDS,
) -> dict[Key, dict[str, float]]:
    """Times of several calls, taken in turn, so that a noisy minute of the machine hits all alike.

    Parameters
    ----------
    calls : mapping
    runs : int
        Of each call that count, shared out over ``rounds`` turns.
    warm_up : int
        Calls before the first round, which trace, allocate and fill caches. One more goes before
        each turn, since the other calls have emptied the caches. None of them count.

    Returns
    -------
    dict
        Per call ``ms`` (mean), ``ms_std``, ``ms_median``, ``ms_p95`` (milliseconds) and ``runs``.
    """
    times: dict[Key, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(warm_up):
            call()
    for turn in np.array_split(np.arange(runs), min(rounds, runs)):
        for name, call in calls.items():
            if len(calls) > 1:
                call()
            for _ in turn:
                begin = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - begin)
    return {name: _summary(1000 * np.array(taken)) for name, taken in times.items()}


def _summary(ms: np.ndarray) -> dict[str, float]:
    return {
        "ms": float(ms.mean()),
        "ms_std": float(ms.std()),
        "ms_median": float(np.median(ms)),
        "ms_p95": float(np.percentile(ms, 95)),
        "runs": len(ms),
    }


FILE = "profile.json"
DPI = 300  # of the pictures
THREADS = (1, 2, 4)
PARTS = ("model", "cnn", "spectrogram")
# Ways to compute without TensorFlow Lite, as they stand in the column `variant`
KERAS, KERAS_CALL, KERAS_PREDICT = "Keras, compiled", "Keras, call", "Keras, predict"
KERAS_WAYS = (KERAS, KERAS_CALL, KERAS_PREDICT)
TENSORFLOW, PICTURE = "TensorFlow", "TensorFlow, picture"
DRAWN = "librosa + matplotlib, picture"
OTHERS = (*KERAS_WAYS, TENSORFLOW, PICTURE, DRAWN)
PARTITIONS = ("devel", "test")
COLUMNS = (
    *("dataset", "run", "backbone", "random_weights", "part", "variant", "threads"),
    *("ms", "ms_median", "ms_p95", "ms_std", "runs", "MB", "peak_mb", "growth_mb"),
    *("parameters", "multiply_adds", "flops", "devel", "test", "metric", "hardware"),
)


class Way(NamedTuple):
    """One thing that is measured: which part, how it is computed, and on how many threads."""

    part: str
    variant: str
    threads: int


def files(folder: Path) -> dict[tuple[str, str], Path]:
    """Converted files of a run that are there: (part, variant) -> path.

    Raises
    ------
    InputError
        There is none.
    """
    found = {}
    for part in PARTS:
        for variant in VARIANTS:
            path = folder / f"{stem(part, variant)}.tflite"
            if path.is_file():
                found[part, variant] = path
    if not found:
        raise InputError(f"{folder}: no .tflite here; convert the run first (`dslite convert`)")
    return found


def timed_calls(
    found: Mapping[tuple[str, str], Path],
    inputs: Mapping[str, np.ndarray],
    threads: Sequence[int] = THREADS,
) -> dict[Way, Callable[[], object]]:
    """A call of every file on every number of threads.

    Parameters
    ----------
    found : mapping
        See `files`.
    inputs : mapping
        Part -> its input.
    """
    made: dict[Way, Callable[[], object]] = {}
    for (part, variant), file in found.items():
        for count in threads:
            run = runtime.runner(file, count)
            made[Way(part, variant, count)] = lambda run=run, value=inputs[part]: run(value)
    return made


def file_memory(file: Path) -> dict[str, float]:
    """Memory of a fresh process that runs a file on one thread, see `dslite.provenance.memory_of_fresh_process`."""
    return provenance.memory_of_fresh_process(
        "import ai_edge_litert.interpreter\nfrom dslite import litert",
        "call = litert.runner(sys.argv[1])\nvalue = litert.example(sys.argv[1])",
        "call(value)",
        str(file),
    )


def both(measurements: Sequence[Callable[[], dict[str, float]]]) -> list[dict[str, float]]:
    """Measurements of memory, two at a time: each is a process of its own, and none is timed."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda measure: measure(), measurements))


def rows(
    times: Mapping[Way, Mapping[str, float]],
    sizes: Mapping[tuple[str, str], int],
    memory: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[dict[str, Any]]:
    """One row a way: its times, and its file's size and memory where there are such."""
    made = []
    for way, taken in times.items():
        key = (way.part, way.variant)
        size = {"size_bytes": sizes[key]} if key in sizes else {}
        made.append(way._asdict() | taken | size | memory.get(key, {}))
    return made


def hardware() -> str:
    """Processor and cores, for a remark."""
    found = provenance.hardware()
    return f"{found['processor']}, {found['cores']} cores"


def profile_file(file: Path, threads: Sequence[int] = THREADS, runs: int = 50) -> dict[str, Any]:
    """Cost of one ``.tflite`` of whatever origin; its parameters are not known from the file."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    value = runtime.example(file)
    try:
        told = runtime.metadata(file).told
    except InputError:
        told = {}
    key = (told.get("part", file.stem), told.get("variant", ""))
    times = interleaved(timed_calls({key: file}, {key[0]: value}, threads), runs)
    return {
        **{"dataset": told.get("dataset", ""), "run": told.get("run", ""), "backbone": ""},
        **{"hardware": hardware(), "date": provenance.now(), "threads": list(threads)},
        "rows": rows(times, {key: file.stat().st_size}, {key: file_memory(file)}),
    }


def frame(profile: Mapping[str, Any]) -> pd.DataFrame:
    """A profile as a table of `COLUMNS`: sizes and memory in 1e6 bytes, scores as fractions."""
    table = pd.DataFrame(profile["rows"])
    table["MB"] = table.pop("size_bytes") / 1e6 if "size_bytes" in table else np.nan
    for partition in PARTITIONS:
        known = profile.get(partition, {})
        heard = table["variant"].where(table["part"] != "spectrogram")
        table[partition] = heard.map(known).astype(float)
    for column in set(COLUMNS) - set(table.columns):
        table[column] = profile.get(column, np.nan)
    return table[list(COLUMNS)]


def scores(folder: Path) -> dict[str, Any]:
    """Scores of a run at file level by variant, fractions: ``devel``, ``test``; their ``metric``.

    The trained model's come from ``metrics.json``. A file has the same and what it gained or lost
    against the model in ``faithfulness.json``. Its own score on devel would say little: the final
    model has learnt from devel. Without that file, float32 stands for the model.
    """
    metrics, measured = _read(folder / "metrics.json"), _read(folder / "faithfulness.json")
    found: dict[str, Any] = {}
    for partition in PARTITIONS:
        of = metrics.get(partition) or {}
        found.setdefault("metric", of.get("metric", ""))
        trained = of.get("file", {}).get("score")
        known = {} if trained is None else dict.fromkeys((*KERAS_WAYS, FLOAT32), trained)
        for variant in VARIANTS:
            compared = measured.get(variant, {})
            compared = compared if partition == "devel" else compared.get(partition, {})
            if known and "uar_difference" in compared:
                known[variant] = trained + compared["uar_difference"]
        found[partition] = known
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{paths.shown(file)}: not readable ({error}); measure it again") from None


def gather(dataset: str) -> pd.DataFrame:
    """Every profiled run of a corpus, folds too: `frame` of each, one below the other."""
    folder = paths.results(dataset)
    found = sorted([*folder.glob(f"*/{FILE}"), *folder.glob(f"*/*/{FILE}")])
    tables = []
    for file in found:
        named = str(file.parent.relative_to(folder).as_posix())  # a fold's own name says little
        tables.append(frame(_read(file)).assign(run=named))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """What differs from row to row, in the units of a reader; empty where there is nothing."""
    names = {
        **{"part": "part", "variant": "computed by", "threads": "threads", "ms": "ms"},
        **{"ms_median": "median", "ms_p95": "p95", "MB": "file MB"},
        **{"growth_mb": "memory MB", "peak_mb": "process MB"},
    }
    shown = table[list(names)].rename(columns=names)
    digits = {"ms": 2, "median": 2, "p95": 2, "file MB": 2, "memory MB": 1, "process MB": 1}
    shown = shown.astype(dict.fromkeys(digits, float)).round(digits)
    for partition in PARTITIONS:
        shown[f"{partition} %"] = (100 * table[partition].astype(float)).round(1)
    return shown.astype(object).where(shown.notna(), "")


def told(profile: Mapping[str, Any]) -> list[str]:
    """A profile in lines for a terminal."""
    table = frame(profile)
    shown = readable(table).dropna(axis=1, how="all")
    return [shown.to_string(index=False), counted(table), f"on {profile['hardware']}"]


def counts(threads: str) -> list[int]:
    """Numbers of threads of a list like ``1,2,4``, in its order, each once."""
    try:
        found = list(dict.fromkeys(int(word) for word in threads.split(",")))
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"--threads {threads}: wants whole numbers from 1 with commas: 1,2,4")
    return found


def counted(table: pd.DataFrame) -> str:
    """Parameters, multiply-adds and FLOPs of a profile, in words."""
    parameters, adds = (table[key].iloc[0] for key in ("parameters", "multiply_adds"))
    if pd.isna(parameters):
        return "parameters and multiply-adds: counted in the trained model only, not in a file"
    return (
        f"{parameters / 1e6:.2f} M parameters, {adds / 1e9:.3f} G multiply-adds "
        f"({2 * adds / 1e9:.3f} GFLOPs)"
    )


def write(profile: Mapping[str, Any], place: Path) -> list[Path]:
    """``<place>.json``, ``.csv`` and ``.png`` (bars of the times); after an error none of them.

    Returns
    -------
    list of path
    """
    table = frame(profile)
    figure = deployment_plots.times(table, OTHERS)
    made = [place.with_name(f"{place.name}.{suffix}") for suffix in ("csv", "png", "json")]
    with paths.replacing(made[0]) as listed, paths.replacing(made[1]) as drawn:
        table.to_csv(listed, index=False)
        dslite_plots.save(figure, drawn, DPI)
        provenance.write_json(made[2], profile)  # the last that can fail before the renaming
    return made


def write_all(dataset: str) -> list[Path]:
    """A corpus's ``profile.csv`` and, where there are scores, ``pareto.png``."""
    table, folder = gather(dataset), paths.results(dataset)
    figure = pareto(table)
    made = [folder / "profile.csv", *([folder / "pareto.png"] if figure else [])]
    with paths.replacing(made[0]) as listed:
        table.to_csv(listed, index=False)
        if figure:
            with paths.replacing(made[1]) as drawn:
                dslite_plots.save(figure, drawn, DPI)
    return made


def publish(profile: Mapping[str, Any], target: Path) -> list[Path]:
    """Write a profile of a run's folder or of a file, and its corpus's table anew.

    Returns
    -------
    list of path
        What was written: see `write` and `write_all`.
    """
    made = write(profile, place_of(target))
    home = paths.results(profile["dataset"]) if profile["dataset"] else None
    if home and target.is_dir() and target.resolve().is_relative_to(home.resolve()):
        made += write_all(profile["dataset"])
    return made


def pareto(table: pd.DataFrame) -> Figure | None:
    """Score against time against size of every end-to-end file, on the fewest threads measured.

    None where no run has a score on devel.
    """
    whole = table[(table["part"] == "model") & table["devel"].notna()]
    if whole.empty:
        return None
    metric = whole["metric"].iloc[0]
    return deployment_plots.pareto(whole[whole["threads"] == whole["threads"].min()], metric)


def place_of(target: str | os.PathLike) -> Path:
    """Where a profile goes, without its suffix: into the run's folder, or beside the file."""
    found = Path(target)
    return found / "profile" if found.is_dir() else found.with_name(f"{found.stem}.profile")


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
    return provenance.memory_of_fresh_process(
        "import numpy\nfrom dslite import model, runs, spectrogram",
        "run = runs.load(sys.argv[1])\n"
        "call = model.predictor(model.load(run.folder / 'model.keras'), run.settings)\n"
        "shape = (1, run.settings.mel_bands, spectrogram.frames(run.settings))\n"
        "mel = numpy.zeros(shape, numpy.uint8)",
        "call(mel).numpy()",
        str(run.folder),
    )


def measure(run: runs.Run, threads: Sequence[int] = THREADS, repeats: int = 50) -> dict[str, Any]:
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
        ``rows`` (see `dslite.deployment.profile.rows`), ``parameters``, ``multiply_adds``, ``flops``,
        ``layers``, ``shapes``, ``devel`` (score by variant) and what it was measured on.
    """
    found, saved = files(run.folder), run.folder / "model.keras"
    network = classifier.load_classifier(saved)
    wave = noise(run.settings)
    mel = spectrogram.mel_image(wave, run.settings).numpy()
    inputs = {"model": wave, "spectrogram": wave, "cnn": mel}
    calls = timed_calls(found, inputs, threads)
    calls |= keras_calls(network, run.settings, mel) | spectrogram_calls(wave, run.settings)
    times = interleaved(calls, repeats)
    keras_ways = [("cnn", name) for name in KERAS_WAYS]
    sizes = {key: file.stat().st_size for key, file in found.items()}
    sizes |= dict.fromkeys(keras_ways, saved.stat().st_size)
    asked = {key: partial(file_memory, file) for key, file in found.items()}
    asked["cnn", KERAS] = partial(keras_memory, run)
    memory = dict(zip(asked, both(list(asked.values())), strict=True))
    adds = multiply_adds(network)
    return {
        **{"dataset": run.record["dataset"], "run": run.folder.name},
        **{"backbone": run.settings.backbone, "threads": list(threads)},
        "random_weights": bool(run.record["weights"]["random"]),
        **{"hardware": hardware(), "date": provenance.now()},
        **{"parameters": network.count_params(), "multiply_adds": adds, "flops": 2 * adds},
        **{"layers": layers(network, run.settings), "shapes": shapes(network, run.settings)},
        **scores(run.folder),
        "rows": rows(times, sizes, memory),
    }

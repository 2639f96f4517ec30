"""Measure what a run's files for the device cost: time, memory, size and operations (Table 5).

Keras and TensorFlow are imported where a trained model is measured: tables, plots and the profile
of a single ``.tflite`` do without.
"""

import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import paths, provenance
from dslite import plots as dslite_plots
from dslite.deployment import plots, runtime
from dslite.deployment.runtime import VARIANTS, file_name
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models.tensorflow_logging import running_threads
from dslite.training import contents
from dslite.training.runs import Run

if TYPE_CHECKING:
    import keras

FILE, PHONE = "profile.json", "device.json"
DPI = 300  # of the pictures
THREADS = (1, 2, 4)
WARM_UP = 5  # calls that trace, allocate and fill caches
ROUNDS = 5
PARTITIONS = ("devel", "test")
# Values of the column `variant` that are not computed by TensorFlow Lite
KERAS, TENSORFLOW = "Keras, compiled", "TensorFlow"
COLUMNS = (
    *("dataset", "run", "backbone", "random_weights", "part", "variant", "threads"),
    *("ms", "ms_median", "ms_p95", "ms_std", "runs", "MB", "peak_mb", "growth_mb"),
    *("parameters", "multiply_adds", "flops", "devel", "test", "test_low", "test_high", "metric"),
    "hardware",
)
# Of them those that all rows of a profile have in common
FACTS = ("dataset", "run", "backbone", "random_weights", "parameters", "multiply_adds", "flops")
FACTS += ("metric", "hardware")


class Measurement(NamedTuple):
    """What a time belongs to: a part, how it is computed (`COLUMNS`' variant), threads."""

    part: str
    variant: str
    threads: int


Calls = dict[Measurement, Callable[[], object]]


# Measuring


def profile_run(run: Run, threads: Sequence[int] = THREADS, repeats: int = 50) -> dict[str, Any]:
    """Measure Table 5's quantities for a run that was converted, in every variant there is.

    All is timed in this process, in turn, on one chunk of noise: files on every number of threads
    (the first stands in Table 5), the network in Keras, the spectrogram in TensorFlow. Each mean is
    over ``repeats`` runs. Memory is that of a fresh process each. Gives ``rows`` (one a
    `Measurement`: times in ms, ``size_bytes``, memory in MB) and facts of the run. One that was not
    converted is an InputError.
    """
    from dslite.models import classifier, split

    files, saved = converted_files(run.folder), run.model_file()
    network = classifier.load_classifier(saved)
    predict = classifier.predictor(network, run.settings)  # as this project predicts
    mel_image = spectrogram.compiled_mel_image(run.settings)
    # What a chunk sounds like makes no difference to the time.
    noise = np.random.default_rng(0).standard_normal((1, run.settings.chunk_samples))
    wave = (noise / 10).astype(np.float32)
    mel = mel_image(wave).numpy()
    calls = _lite_calls(files, {"model": wave, "spectrogram": wave, "cnn": mel}, threads)
    most = running_threads()
    calls[Measurement("cnn", KERAS, most)] = lambda: predict(mel).numpy()
    calls[Measurement("spectrogram", TENSORFLOW, most)] = lambda: mel_image(wave).numpy()
    times = time_in_turn(calls, repeats)
    with ThreadPoolExecutor(2) as pool:  # each a process of its own, and none is timed
        costs = dict(zip(files, pool.map(_file_costs, files.values()), strict=True))
    costs["cnn", KERAS] = {"size_bytes": saved.stat().st_size} | _keras_memory(run.folder)
    operations = split.multiply_adds(network)
    return {
        **{"dataset": run.record["dataset"], "run": run.folder.name},
        "backbone": run.settings.backbone,
        "random_weights": bool(run.record["weights"]["random"]),
        **{"parameters": network.count_params(), "multiply_adds": operations},
        **{"flops": 2 * operations, **_architecture(network, mel, run)},
        **_scores(run),
        **_profile(times, threads, costs),
    }


def profile_file(file: Path, threads: Sequence[int] = THREADS, repeats: int = 50) -> dict[str, Any]:
    """Measure one ``.tflite`` of whatever origin, without TensorFlow, as `profile_run` does."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    runtime.require_usable(file)
    value = runtime.example_input(file)
    try:
        facts = runtime.read_metadata(file).facts
    except InputError:
        facts = {}
    key = (facts.get("part", file.stem), facts.get("variant", ""))
    times = time_in_turn(_lite_calls({key: file}, {key[0]: value}, threads), repeats)
    return {
        **{"dataset": facts.get("dataset", ""), "run": facts.get("run", ""), "backbone": ""},
        **_profile(times, threads, {key: _file_costs(file)}),
    }


def time_in_turn(calls: Calls, repeats: int) -> dict[Measurement, dict[str, float]]:
    """Time several calls in turn, so that a noisy minute of the machine disturbs all alike.

    Of each call ``repeats`` count, over `ROUNDS` turns; `WARM_UP` more go before the first turn,
    and one before each, since the other calls have emptied the caches. Gives milliseconds.
    """
    times = {key: [] for key in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    for turn in np.array_split(np.arange(repeats), min(ROUNDS, repeats)):
        for key, call in calls.items():
            if len(calls) > 1:
                call()
            for _ in turn:
                begin = time.perf_counter()
                call()
                times[key].append(1000 * (time.perf_counter() - begin))
    return {
        key: {
            **{"ms": float(np.mean(ms)), "ms_std": float(np.std(ms)), "runs": len(ms)},
            **{"ms_median": float(np.median(ms)), "ms_p95": float(np.percentile(ms, 95))},
        }
        for key, ms in times.items()
    }


def converted_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return a run's converted files, (part, variant) -> path; an InputError if there is none."""
    files = {(p, v): folder / file_name(p, v) for p in plots.PARTS for v in VARIANTS}
    files = {key: path for key, path in files.items() if path.is_file()}
    if not files:
        raise InputError(f"{folder}: no .tflite here; convert the run first (`dslite convert`)")
    runtime.require_whole(folder)
    return files


def _lite_calls(
    files: Mapping[tuple[str, str], Path], inputs: Mapping[str, np.ndarray], threads: Sequence[int]
) -> Calls:
    """Return a call of every file on every number of threads; ``inputs`` are by part."""
    return {
        Measurement(part, variant, count): partial(runtime.runner(file, count), inputs[part])
        for (part, variant), file in files.items()
        for count in threads
    }


def _file_costs(file: Path) -> dict[str, float]:
    """Measure a file's size and the memory of a fresh process that runs it on one thread."""
    return {"size_bytes": file.stat().st_size} | provenance.memory_of_fresh_process(
        "import ai_edge_litert.interpreter\nfrom dslite.deployment import runtime",
        "call = runtime.runner(sys.argv[1])\nvalue = runtime.example_input(sys.argv[1])",
        "call(value)",
        str(file),
    )


def _keras_memory(folder: Path) -> dict[str, float]:
    """Measure the memory of a fresh process that runs the network of a run in Keras."""
    return provenance.memory_of_fresh_process(
        "import numpy\nfrom dslite.features import spectrogram\n"
        "from dslite.models import classifier\nfrom dslite.training import runs",
        "run = runs.load(sys.argv[1])\n"
        "network = classifier.load_classifier(run.model_file())\n"
        "call = classifier.predictor(network, run.settings)\n"
        "mel = numpy.zeros((1, *spectrogram.shape(run.settings)), numpy.uint8)",
        "call(mel).numpy()",
        str(folder),
    )


def _architecture(network: "keras.Model", mel: np.ndarray, run: Run) -> dict[str, dict[str, Any]]:
    """Return numbers of ``layers`` and parameters, and the ``shapes`` of a chunk on its way."""
    import keras

    from dslite.models import classifier

    settings, backbone = run.settings, classifier.backbone_of(network)
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    count = len(backbone.layers)
    frozen = not settings.epochs_phase2 or run.record.get("kept", {}).get("phase") == 1
    layers = {
        "backbone": count,
        "trained": 0 if frozen else classifier.trained_layers(settings, count),
        "backbone_parameters": backbone.count_params(),
        "head_parameters": network.count_params() - backbone.count_params(),
    }
    # Of several depths the last one's maps; without a hidden layer, the pooling is followed by the
    # output.
    maps = keras.tree.flatten(backbone.output)[-1]
    steps = {"mel": mel, "picture": classifier.inputs(mel, settings), "features": maps}
    steps |= {"pooled": dense[0].input} | ({"hidden": dense[0].output} if len(dense) > 1 else {})
    steps |= {"output": network.output}
    shapes = {name: [int(length) for length in step.shape[1:]] for name, step in steps.items()}
    return {"layers": layers, "shapes": {"samples": [settings.chunk_samples], **shapes}}


def _scores(run: Run) -> dict[str, Any]:
    """Return file-level scores by variant, fractions, each one measured; their ``metric``.

    ``devel`` is the first training's, by Keras. The final model has learnt from devel: its files'
    scores are those on ``test``, with their 95 % intervals over files.
    """
    metrics, results = run.metrics, run.content("agreement") or {}
    scores: dict[str, Any] = {"metric": (metrics.get("devel") or {}).get("metric", "")}
    for partition in PARTITIONS:
        level = (metrics.get(partition) or {}).get("file")
        scores[partition] = {KERAS: level["score"]} if level else {}
        if partition == "test":
            scores["test_interval"] = {KERAS: level.get("interval")} if level else {}
    for variant, result in results.items():
        if "uar" in result["test"] and "failed" not in result:
            scores["test"][variant] = result["test"]["uar"]
            scores["test_interval"][variant] = result["test"].get("uar_interval")
    return scores


def _profile(
    times: Mapping[Measurement, Mapping[str, float]],
    threads: Sequence[int],
    costs: Mapping[tuple[str, str], Mapping[str, float]],
) -> dict[str, Any]:
    """Return one row a measurement: its times, its file's size and memory; and where and when."""
    rows = [of._asdict() | numbers | costs.get(of[:2], {}) for of, numbers in times.items()]
    hardware = "{processor}, {cores} cores".format(**provenance.hardware())
    date = provenance.now()
    return {"hardware": hardware, "date": date, "threads": list(threads), "rows": rows}


# Tables and pictures


def profile_table(profile: Mapping[str, Any]) -> pd.DataFrame:
    """Return a profile as a table of `COLUMNS`: sizes and memory in 1e6 bytes, scores fractions."""
    table = pd.DataFrame(profile["rows"])
    scored = table["variant"].where(table["part"] != "spectrogram")
    scores = {of: scored.map(dict(profile.get(of, {}))).astype(float) for of in PARTITIONS}
    intervals = profile.get("test_interval", {})
    for i, end in enumerate(("test_low", "test_high")):
        ends = {variant: interval[i] for variant, interval in intervals.items() if interval}
        scores[end] = scored.map(ends).astype(float)
    table = table.assign(**scores, MB=table.get("size_bytes", np.nan) / 1e6)
    facts = {name: np.nan for name in COLUMNS if name not in table}
    facts |= {name: profile[name] for name in FACTS if name in profile}
    return table.assign(**facts)[list(COLUMNS)]


def all_profiles(dataset: str) -> pd.DataFrame:
    """Return the `profile_table` of every profiled run of a corpus, folds too, in one."""
    folder, tables = paths.results(dataset), [pd.DataFrame(columns=list(COLUMNS))]
    for file in sorted([*folder.glob(f"*/{FILE}"), *folder.glob(f"*/*/{FILE}")]):
        table = profile_table(contents.read(file, "measure it again"))
        # A fold's own name says little.
        tables.append(table.assign(run=file.parent.relative_to(folder).as_posix()))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def display_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what differs from row to row, rounded, in a reader's units; empty where unknown."""
    digits = {"ms": 2, "ms_median": 2, "ms_p95": 2, "MB": 2, "growth_mb": 1, "peak_mb": 1}
    names = {"variant": "computed by", "ms_median": "median", "ms_p95": "p95"}
    names |= {"MB": "file MB", "growth_mb": "memory MB", "peak_mb": "process MB"}
    shown = table[["part", "variant", "threads", *digits]]
    shown = shown.astype(dict.fromkeys(digits, float)).round(digits).rename(columns=names)
    shown["test %"] = (100 * table["test"].astype(float)).round(1)
    return shown.astype(object).where(shown.notna(), "")


def operations_text(table: pd.DataFrame) -> str:
    """Return a profile's parameters, multiply-adds and FLOPs in words."""
    parameters, operations = (table[key].iloc[0] for key in ("parameters", "multiply_adds"))
    if pd.isna(parameters):
        return "parameters and multiply-adds: counted in the trained model only, not in a file"
    return (
        f"{parameters / 1e6:.2f} M parameters, {operations / 1e9:.3f} G multiply-adds "
        f"({2 * operations / 1e9:.3f} GFLOPs)"
    )


def pareto_figure(table: pd.DataFrame) -> Figure | None:
    """Draw test score against time and size of every end-to-end file, on the fewest threads.

    None where no file was scored: labels of test are blinded, or numbers.
    """
    whole = table[(table["part"] == "model") & table["test"].notna()]
    if whole.empty:
        return None
    return plots.pareto(whole[whole["threads"] == whole["threads"].min()], whole["metric"].iloc[0])


def write(profile: Mapping[str, Any], target: Path) -> list[Path]:
    """Write a profile to its run's folder or beside its file, JSON, CSV and PNG; return the files.

    For a run in the results' folder also the corpus's ``profile.csv`` and ``pareto.png``.
    """
    stem = target / "profile" if target.is_dir() else target.with_name(f"{target.stem}.profile")
    content, csv, picture = (stem.with_name(f"{stem.name}.{of}") for of in ("json", "csv", "png"))
    table, dataset = profile_table(profile), profile["dataset"]
    provenance.write_json(content, profile)
    files = [content, *_save(table, csv, plots.times(table), picture)]
    home = paths.results(dataset) if dataset else None
    if home and target.is_dir() and target.resolve().is_relative_to(home.resolve()):
        whole = all_profiles(dataset)
        files += _save(whole, home / "profile.csv", pareto_figure(whole), home / "pareto.png")
    return files


def _save(table: pd.DataFrame, csv: Path, figure: Figure | None, picture: Path) -> list[Path]:
    """Write a table and, if there is one, a figure; return the files."""
    paths.write(csv, table.to_csv(index=False))
    if figure:
        with paths.replacing(picture) as draft:
            dslite_plots.save(figure, draft, DPI)
    return [csv, picture] if figure else [csv]


# On a phone: what TensorFlow Lite's ``benchmark_model`` prints

EXPECTED = "expected is what benchmark_model prints, with the line 'Inference timings in us: ...'"
_NUMBER = r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w.])"
_TIMES = re.compile(rf"Inference timings in us: .*Inference \(avg\): {_NUMBER}")
_FACTS = {  # printed by some versions and options only; a factor makes MiB 1e6 bytes, MB bytes
    "growth_mb": (rf"[Mm]emory footprint.* \(MB\): init=.* overall={_NUMBER}", 1024**2 / 1e6),
    "size_bytes": (rf"The input model file size \(MB\): {_NUMBER}", 1e6),
    "threads": (r"Num threads: \[(\d+)\]", 1),
}


def parse_phone(text: str) -> dict[str, Any]:
    """Parse one measurement of a file as ``benchmark_model`` prints it, also in ``adb logcat``."""
    times = _TIMES.findall(text)
    if not times:
        raise InputError(f"no measurement of a .tflite in it; {EXPECTED}")
    if len(times) > 1:
        raise InputError("more than one measurement: paste the output of one benchmark_model run")
    result: dict[str, Any] = {"ms": float(times[0]) / 1000}
    if not 0 < result["ms"] < math.inf:
        raise InputError(f"no time that could be one ({result['ms']:g} ms); {EXPECTED}")
    for key, (pattern, factor) in _FACTS.items():
        if match := re.search(pattern, text):
            value = float(match[1]) * factor
            if not math.isfinite(value):
                raise InputError(f"'{match[1]}' is no {key}; {EXPECTED}")
            result[key] = value if key.endswith("_mb") else round(value)
    if graph := re.search(r"Graph: \[(?:.*/)?(.+?)\]", text):
        result["file"] = graph[1]
    return result


def store_phone(folder: Path, source: str, name: str) -> dict[str, Any]:
    """Store a measurement, of a file or stdin (``-``), for the phone's column of Table 5."""
    place = "standard input" if source == "-" else source
    with paths.reading(place):
        piped = source == "-"
        text = sys.stdin.read() if piped else paths.find(source).read_text("utf-8", "replace")
    try:
        measurement = {"name": name, "date": provenance.now(), **parse_phone(text)}
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    provenance.write_json(folder / PHONE, measurement)
    return measurement

"""Figures that were taken on a phone, as TensorFlow Lite's ``benchmark_model`` tells them."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dslite import paths, provenance
from dslite.errors import InputError

FILE = "device.json"
WANTED = (
    "expected is what benchmark_model prints (with the line 'Inference timings in us: ...'), the "
    "JSON of litert-benchmark --result_json, or a BenchmarkResult as JSON"
)
_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
_TIMES = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
# The last such line is that of the runs that count, the ones before it of the warm-up.
_RUNS = re.compile(r"\bcount=(\d+) (.*\bavg=.*)")
_GROWTH = re.compile(
    rf"[Mm]emory footprint(?: delta from the start of the tool)? \(MB\): "
    rf"init={_NUMBER} overall={_NUMBER}"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_SIZE = re.compile(rf"The input model file size \(MB\): {_NUMBER}")
_THREADS = re.compile(r"Num threads: \[(\d+)\]")
_GRAPH = re.compile(r"Graph: \[(.+?)\]")
# A BenchmarkResult's messages -> our keys and their units
_RESULT = {
    "latency_metrics": {
        **{"avg_ms": ("ms", 1), "stddev_ms": ("ms_std", 1), "median_ms": ("ms_median", 1)},
        **{"p95_ms": ("ms_p95", 1), "init_ms": ("init_ms", 1)},
    },
    "memory_metrics": {
        "overall_footprint_kb": ("growth_mb", 1024 / 1e6),
        "peak_mem_mb": ("peak_mb", 1024**2 / 1e6),
    },
    "misc_metrics": {"model_size_mb": ("size_bytes", 1e6), "num_runs": ("runs", 1)},
}
_LITERT = {
    **{"avg_ms": "ms", "std_ms": "ms_std", "median_ms": "ms_median", "p95_ms": "ms_p95"},
    **{"init_ms": "init_ms", "num_runs": "runs"},
}


def parse(text: str) -> dict[str, Any]:
    """One measurement of a file on a device.

    Parameters
    ----------
    text : str
        What ``benchmark_model`` printed (also through ``adb logcat``); the JSON of
        ``litert-benchmark --result_json``; or its ``BenchmarkResult`` message as JSON.

    Returns
    -------
    dict
        ``source`` and ``ms``; where they are told also ``ms_std, ms_median, ms_p95, runs,
        init_ms``; ``growth_mb`` (memory over the tool's own) and ``peak_mb`` in 1e6 bytes;
        ``size_bytes, threads`` and the ``file``'s name.

    Raises
    ------
    InputError
        It is none of these, or more than one measurement.
    """
    found = _from_json(text) if text.lstrip().startswith("{") else _from_text(text)
    numbers = [value for value in found.values() if isinstance(value, float)]
    if not found["ms"] > 0 or not np.isfinite(numbers).all():
        raise InputError(f"no time that could be one ({found['ms']:g} ms); {WANTED}")
    return found


def _from_text(text: str) -> dict[str, Any]:
    if len(_TIMES.findall(text)) > 1:
        raise InputError("more than one measurement: paste the output of one benchmark_model run")
    times = _TIMES.search(text)
    if times is None:
        raise InputError(f"no measurement of a .tflite in it; {WANTED}")
    init, _, _, mean = (float(number) / 1000 for number in times.groups())
    found: dict[str, Any] = {"source": "benchmark_model", "ms": mean, "init_ms": init}
    if counted := _RUNS.findall(text[: times.start()]):
        runs, told = counted[-1]
        named = dict(re.findall(rf"(\w+)={_NUMBER}", told))
        keys = {"std": "ms_std", "median": "ms_median", "p95": "ms_p95"}
        found["runs"] = int(runs)
        found |= {key: float(named[name]) / 1000 for name, key in keys.items() if name in named}
    mebi = 1024**2 / 1e6
    if growth := _GROWTH.search(text):
        found["growth_mb"] = float(growth[2]) * mebi
    if peak := _PEAK.search(text):
        found["peak_mb"] = float(peak[1]) * mebi
    if size := _SIZE.search(text):
        found["size_bytes"] = round(float(size[1]) * 1e6)
    if threads := _THREADS.search(text):
        found["threads"] = int(threads[1])
    if graph := _GRAPH.search(text):
        found["file"] = PurePosixPath(graph[1]).name
    return found


def _from_json(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
        if isinstance(given.get("latency"), Mapping):
            return _litert(given)
        result = {_snake(key): value for key, value in given.items()}
        if isinstance(result.get("latency_metrics"), Mapping):
            return _result(result)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"damaged JSON ({error}); {WANTED}") from None
    raise InputError(f"JSON of something else; {WANTED}")


def _snake(name: str) -> str:
    """Protocol buffers are written as JSON with either kind of name."""
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _result(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"source": "benchmark_model"}
    for message, keys in _RESULT.items():
        told = {_snake(key): value for key, value in given.get(message, {}).items()}
        for key, (name, unit) in keys.items():
            if key in told:
                found[name] = float(told[key]) * unit
    for whole in {"runs", "size_bytes"} & found.keys():
        found[whole] = round(found[whole])
    found["ms"]
    return found


def _litert(given: Mapping[str, Any]) -> dict[str, Any]:
    latency = given["latency"]
    times = {name: float(latency[key]) for key, name in _LITERT.items() if key in latency}
    size = (
        {"size_bytes": round(given["model_size_mb"] * 1024**2)} if "model_size_mb" in given else {}
    )
    threads = {"threads": int(given["num_threads"])} if "num_threads" in given else {}
    found = {"source": "litert-benchmark", **times, **size, **threads}
    if given.get("model"):
        found["file"] = PurePosixPath(given["model"]).name
    return found | {"ms": float(latency["avg_ms"]), "runs": int(latency["num_runs"])}


def store(folder: Path, source: str, name: str) -> dict[str, Any]:
    """Read a measurement from a file, or ``-``: standard input, and keep it in a run's folder.

    There it fills the device's column of Table 5 (`dslite.paper.costs.beside_table5`).
    """
    try:
        text = sys.stdin.read() if source == "-" else paths.find(source).read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(
            f"{source}: not text (what benchmark_model's --result_file_path writes is binary); "
            f"{WANTED}"
        ) from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
    try:
        found = {"name": name, "date": provenance.now(), **parse(text)}
    except InputError as error:
        raise InputError(f"{'standard input' if source == '-' else source}: {error}") from None
    provenance.write_json(folder / FILE, found)
    return found

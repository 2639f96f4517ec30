"""Read the figures that TensorFlow Lite's ``benchmark_model`` prints on a phone."""

import re
import sys
from pathlib import Path
from typing import Any

from dslite import paths, provenance
from dslite.errors import InputError

FILE = "device.json"
EXPECTED = "expected is what benchmark_model prints, with the line 'Inference timings in us: ...'"
_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
_TIMES = re.compile(rf"Inference timings in us: Init: {_NUMBER}.*Inference \(avg\): {_NUMBER}")
# The last such line is that of the runs that count, the ones before it of the warm-up.
_RUNS = re.compile(r"\bcount=(\d+) (.*\bavg=.*)")
_FACTS = {  # printed by some versions and options only; a factor makes MiB 1e6 bytes, MB bytes
    "growth_mb": (rf"[Mm]emory footprint.* \(MB\): init=.* overall={_NUMBER}", 1024**2 / 1e6),
    "peak_mb": (rf"Overall peak memory footprint \(MB\) .*: {_NUMBER}", 1024**2 / 1e6),
    "size_bytes": (rf"The input model file size \(MB\): {_NUMBER}", 1e6),
    "threads": (r"Num threads: \[(\d+)\]", 1),
}


def parse(text: str) -> dict[str, Any]:
    """Parse one measurement of a file as ``benchmark_model`` prints it, also in ``adb logcat``.

    Gives ``source`` and ``ms``; where they are printed also ``ms_std, ms_median, ms_p95, runs,
    init_ms``; ``growth_mb`` (memory over the tool's own) and ``peak_mb`` in 1e6 bytes;
    ``size_bytes, threads`` and the ``file``'s name. No measurement, more than one, or a time of 0
    is an InputError.
    """
    if len(_TIMES.findall(text)) > 1:
        raise InputError("more than one measurement: paste the output of one benchmark_model run")
    times = _TIMES.search(text)
    if times is None:
        raise InputError(f"no measurement of a .tflite in it; {EXPECTED}")
    init, mean = (float(number) / 1000 for number in times.groups())
    if not mean > 0:
        raise InputError(f"no time that could be one ({mean:g} ms); {EXPECTED}")
    result: dict[str, Any] = {"source": "benchmark_model", "ms": mean, "init_ms": init}
    if lines := _RUNS.findall(text[: times.start()]):
        runs, statistics = lines[-1]
        values = dict(re.findall(rf"(\w+)={_NUMBER}", statistics))
        keys = {"std": "ms_std", "median": "ms_median", "p95": "ms_p95"}
        result["runs"] = int(runs)
        result |= {key: float(values[name]) / 1000 for name, key in keys.items() if name in values}
    for key, (pattern, factor) in _FACTS.items():
        if match := re.search(pattern, text):
            value = float(match[1]) * factor
            result[key] = value if key.endswith("_mb") else round(value)
    if graph := re.search(r"Graph: \[(?:.*/)?(.+?)\]", text):
        result["file"] = graph[1]
    return result


def store(folder: Path, source: str, name: str) -> dict[str, Any]:
    """Parse a measurement from a file, or from standard input (``-``), and store it with a run.

    There it fills the phone's column of Table 5 (`dslite.paper.costs`).
    """
    try:
        text = sys.stdin.read() if source == "-" else paths.find(source).read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(
            f"{source}: not text (what benchmark_model's --result_file_path writes is binary); "
            f"{EXPECTED}"
        ) from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
    try:
        measurement = {"name": name, "date": provenance.now(), **parse(text)}
    except InputError as error:
        raise InputError(f"{'standard input' if source == '-' else source}: {error}") from None
    provenance.write_json(folder / FILE, measurement)
    return measurement

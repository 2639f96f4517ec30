"""What files for the device cost, and the table of all runs of a corpus; without TensorFlow."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import footprint, paths, provenance
from dslite import plots as dslite_plots
from dslite.deployment import plots as deployment_plots
from dslite.deployment import runtime, timing
from dslite.deployment.quantise import FLOAT32, VARIANTS, stem
from dslite.errors import InputError

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


def calls(
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
    """Memory of a fresh process that runs a file on one thread, see `dslite.footprint.peak`."""
    return footprint.peak(
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
    times = timing.interleaved(calls({key: file}, {key[0]: value}, threads), runs)
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

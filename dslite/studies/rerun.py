"""Repeating a finished run from its record alone, and comparing what came of it, to the bit."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from dslite import cards, paths, provenance
from dslite.datasets import partitions
from dslite.datasets.manifest import Manifest
from dslite.errors import InputError
from dslite.models.weights import REGISTRY, cached
from dslite.settings import Settings
from dslite.training import records, runs

TIMES = ["seconds", "images_per_s"]  # of a history: no two runs have the same
# Parts of a record that may explain a difference
SURROUNDINGS = ("versions", "hardware", "commit", "acoustics")
LISTED = 5  # differences of the metrics


def load(folder: str | os.PathLike) -> runs.Run:
    """Read a finished run; InputError if there is nothing to compare a repetition with."""
    run = runs.load(folder)
    parts = {"metrics": run.metrics, "predictions": run.predictions, "history": run.history}
    for name, content in parts.items():
        if content is None or not len(content):
            raise InputError(f"{run.folder}: there are no {name}, so nothing can be compared")
    return run


def plan(original: runs.Run, manifest: Manifest, weights: str = "") -> tuple[Manifest, Settings]:
    """Return of what and with which settings a run of `load` was made.

    ``weights`` are a file, or the folder that holds it under the name in the record; without, they
    are looked for where the corpus's card has them, and among the downloads.
    """
    record, card = original.record, manifest.card
    if [record["task"], record["classes"]] != [card.task, list(card.classes)]:
        raise InputError(
            f"{card.dataset}: the card says other classes, or another task, than this run's record"
        )
    same = partitions.of_run(manifest, record)
    if record["kind"] != runs.LIBROSA:
        located = _weights(card, original, weights)
        return same, original.settings.model_copy(update={"weights": located})
    if weights:
        raise InputError("this run has no network: leave out --weights")
    return same, original.settings


def _weights(card: cards.Card, original: runs.Run, typed: str) -> str:
    """``imagenet``, ``random``, or the path of a file of the recorded content."""
    name, digest = (original.record["weights"][key] for key in ("name", "sha256"))
    if digest is None:
        if typed:
            raise InputError(f"this run's weights are '{name}', no file: leave out --weights")
        return name
    path = paths.find(typed)
    places = [path / name if path.is_dir() else path]
    if not typed:
        usual = cards.settings_of(card, original.record["preset"]).weights
        download = cached(REGISTRY[original.settings.backbone]["url"])
        places = [paths.find(usual), download]
    files = [file for file in places if file.is_file()]
    if not files:
        raise InputError(f"{name}, this run's weights, is not found; say where with --weights")
    for file in files:
        if provenance.file_digest(file) == digest:
            return str(file)
    raise InputError(
        f"{files[0]}: other content than this run's weights {name} (SHA-256 {digest[:12]}…); "
        "say with --weights where those are"
    )


@contextmanager
def workshop(keep: bool = False) -> Iterator[Path]:
    """Let results and cache lie in a temporary folder, with the published weights of the cache."""
    cache = paths.cache()
    for name in ("repetitions", "weights"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache / "repetitions"))
    moved = {"DSLITE_CACHE": str(folder / "cache"), "DSLITE_RESULTS": str(folder / "results")}
    try:
        (folder / "cache").mkdir()
        (folder / "cache" / "weights").symlink_to((cache / "weights").absolute())
        with mock.patch.dict(os.environ, moved):
            yield folder
    finally:
        shutil.rmtree(folder / "cache" if keep else folder, ignore_errors=True)


def repeat(
    original: runs.Run, manifest: Manifest, settings: Settings, log: Callable[[str], None] = print
) -> runs.Run:
    """Do again what a run did, wherever results and cache now lie (see `workshop`)."""
    from dslite.training import baselines, experiment

    record = original.record
    made_of = (manifest, settings, record["seed"], record["preset"])
    if record["kind"] != runs.NETWORK:
        return baselines.train_baseline(*made_of, log=log, kind=record["kind"])
    return experiment.train(*made_of, log=log, candidate=record.get("candidate", False))


def compare(original: runs.Run, again: runs.Run) -> tuple[list[str], list[str]]:
    """Name what differs in predictions, metrics, history and weights, and what may explain it."""
    both = (original, again)
    tables = {"predictions.csv": [run.predictions for run in both]}
    tables["history.csv"] = [run.history.drop(columns=TIMES, errors="ignore") for run in both]
    texts = {name: table_difference(*pair) for name, pair in tables.items()}
    differences = [f"{name}: {text}" for name, text in texts.items() if text]
    scores = [{part: run.metrics[part] for part in ("devel", "test")} for run in both]
    lines = value_differences(*scores)
    differences += [f"metrics.json: {line}" for line in lines[:LISTED]]
    differences += [f"metrics.json: and {len(lines) - LISTED} more"] * (len(lines) > LISTED)
    weights = {run.record.get("final_weights_sha256") for run in both} - {None}
    differences += ["run.json: other final weights"] * (len(weights) > 1)
    surroundings = [{key: run.record.get(key) for key in SURROUNDINGS} for run in both]
    return differences, value_differences(*surroundings)


def table_difference(then: pd.DataFrame, now: pd.DataFrame) -> str:
    """Return the largest difference of two tables in words; empty: none. NaN equals NaN."""
    if list(then.columns) != list(now.columns):
        return f"other columns ({', '.join(now.columns)} instead of {', '.join(then.columns)})"
    if len(then) != len(now):
        return f"{len(now)} rows instead of {len(then)}"
    unequal = then.compare(now)
    if unequal.empty:
        return ""
    columns = list(unequal.columns.get_level_values(0).unique())
    text = f"{len(unequal)} of {len(then)} rows differ ({', '.join(columns)})"
    numbers = [table[columns].select_dtypes("number") for table in (then, now)]
    largest = (numbers[0] - numbers[1]).abs().max().max()
    return text if pd.isna(largest) else f"{text}; largest difference {largest:.3g}"


def value_differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the differing values of two nested records by their dotted names."""
    old, new = (records.cells(content) for content in (then, now))
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return [
        f"{name}: {old.get(name, 'nothing')} then, {new.get(name, 'nothing')} now" for name in names
    ]


def verdict(differences: list[str], surroundings: list[str]) -> list[str]:
    """Return the two lists of `compare` for a reader."""
    lines = ["equal: predictions, metrics and history are the same to the last digit"]
    if differences:
        lines = ["DIFFERENT", *(f"  {line}" for line in differences)]
    if surroundings:
        return [*lines, "since then has changed:", *(f"  {line}" for line in surroundings)]
    return [*lines, "versions, hardware and commit are the same"] if differences else lines

"""Repeating a finished run from its record alone, and comparing what came of it, to the bit."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dslite import cards, paths, provenance
from dslite.datasets import partitions
from dslite.datasets.manifest import Manifest
from dslite.errors import InputError
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.training import runs

NEEDED = ("dataset", "kind", "preset", "seed", "weights", "classes", "task", "manifest")
TIMES = ["seconds", "images_per_s"]  # of a history: no two runs have the same
# Parts of a record that may explain a difference
SURROUNDINGS = ("versions", "hardware", "commit", "acoustics")
LISTED = 5  # differences of the metrics, the largest first


@dataclass(frozen=True)
class Verdict:
    """What differs between a run and its repetition, line by line."""

    differences: list[str]  # in the numbers
    surroundings: list[str]  # in what may explain them: versions, hardware, commit

    @property
    def equal(self) -> bool:
        """Whether every number is the same."""
        return not self.differences

    def lines(self) -> list[str]:
        """Return the verdict in words."""
        lines = ["equal: predictions, metrics and history are the same to the last digit"]
        if not self.equal:
            lines = ["DIFFERENT", *(f"  {line}" for line in self.differences)]
        if self.surroundings:
            return [*lines, "since then has changed:", *(f"  {line}" for line in self.surroundings)]
        return lines if self.equal else [*lines, "versions, hardware and commit are the same"]


def load(folder: str | os.PathLike) -> runs.Run:
    """Read a finished run whose record suffices to repeat it.

    Raises
    ------
    InputError
        No finished run, a damaged record, or a file without which nothing can be compared.
    """
    run = runs.load(folder)
    where = run.folder / runs.LAST
    lacking = [key for key in NEEDED if key not in run.record]
    if lacking:
        raise InputError(f"{where}: the record lacks '{lacking[0]}', so nothing can be repeated")
    if run.record["kind"] not in (runs.NETWORK, runs.SVM, runs.LIBROSA):
        raise InputError(f"{where}: unknown kind of run '{run.record['kind']}'")
    try:
        _ = run.metrics["devel"], run.metrics["test"], run.predictions, run.history
    except (OSError, ValueError, LookupError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{run.folder}: metrics, predictions or history cannot be read, so nothing can be "
            f"compared ({reason})"
        ) from None
    return run


def dataset_of(run: runs.Run, table: str = "") -> str:
    """Return the name of a run's corpus; of a user's own the path of its table, to be given.

    Raises
    ------
    InputError
        It is a user's own, and the table is not given: its path is not written down.
    """
    name = run.record["dataset"]
    if not table and name not in cards.names():
        raise InputError(f"{name} is no corpus of this project: name the run's table with --table")
    return table or name


def plan(original: runs.Run, manifest: Manifest, weights: str = "") -> tuple[Manifest, Settings]:
    """Return of what and with which settings a run of `load` was made.

    Without ``weights`` (a file, or the folder that holds it under the name in the record) they are
    looked for where the corpus's card has them, and among the downloads.

    Raises
    ------
    InputError
        The corpus or its card has changed, or the weights are not found or have other content.
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
        download = paths.cache() / "weights" / IMAGENET[original.settings.backbone].name
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
    """Let results and cache lie in a temporary folder below the cache, removed at the end.

    Nothing that the original left is taken up: no checkpoint, no spectrogram, nothing of frozen
    layers. Published weights, which have a checksum, are those that are there. With ``keep`` the
    results stay; the cache never does.
    """
    cache = paths.cache()
    for name in ("repetitions", "weights"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache / "repetitions"))
    moved = {"DSLITE_CACHE": str(folder / "cache"), "DSLITE_RESULTS": str(folder / "results")}
    before = dict(os.environ)
    try:
        (folder / "cache").mkdir()
        (folder / "cache" / "weights").symlink_to((cache / "weights").absolute())
        os.environ.update(moved)
        yield folder
    finally:
        for variable in moved:
            os.environ.pop(variable, None)
        os.environ.update({name: before[name] for name in moved if name in before})
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
    work = experiment.candidate if record.get("candidate") else experiment.train
    return work(*made_of, log=log)


def compare(original: runs.Run, again: runs.Run) -> Verdict:
    """Compare a repetition's files with the original's, and name what may explain a difference.

    Predictions are compared byte by byte, metrics and history (without its times) number by number.
    """
    differences = []
    if len({(run.folder / "predictions.csv").read_bytes() for run in (original, again)}) > 1:
        text = table_difference(original.predictions, again.predictions)
        differences.append(f"predictions.csv: {text or 'other bytes, the same numbers'}")
    histories = (run.history.drop(columns=TIMES, errors="ignore") for run in (original, again))
    if text := table_difference(*histories):
        differences.append(f"history.csv: {text}")
    scores = [{part: run.metrics[part] for part in ("devel", "test")} for run in (original, again)]
    lines = value_differences(*scores)
    differences += [f"metrics.json: {line}" for line in lines[:LISTED]]
    differences += [f"metrics.json: and {len(lines) - LISTED} more"] * (len(lines) > LISTED)
    records = [{key: run.record.get(key) for key in SURROUNDINGS} for run in (original, again)]
    return Verdict(differences, sorted(value_differences(*records)))


def table_difference(then: pd.DataFrame, now: pd.DataFrame) -> str:
    """Return the largest difference of two tables in words; empty: none. NaN equals NaN."""
    if list(then.columns) != list(now.columns):
        return f"other columns ({', '.join(now.columns)} instead of {', '.join(then.columns)})"
    if len(then) != len(now):
        return f"{len(now)} rows instead of {len(then)}"
    unequal = then.compare(now)
    if unequal.empty:
        return ""
    text = f"{len(unequal)} of {len(then)} rows differ"
    columns = list(dict.fromkeys(unequal.columns.get_level_values(0)))
    tables = (then[columns], now[columns])
    numeric = set.intersection(*(set(table.select_dtypes("number")) for table in tables))
    if words := [name for name in columns if name not in numeric]:
        text += f", also in {', '.join(words)}"
    if numbers := [name for name in columns if name in numeric]:
        largest = (then[numbers] - now[numbers]).abs().max().sort_values(ascending=False)
        text += f"; largest difference {largest.iloc[0]:.3g} ({largest.index[0]})"
    return text


def value_differences(then: Any, now: Any) -> list[str]:
    """Return the differing values of two nested records, the largest differences first."""
    old, new = (dict(_leaves(content)) for content in (then, now))
    lines = []
    for key in sorted(old.keys() | new.keys()):
        was, is_ = old.get(key), new.get(key)
        if was != is_:
            numbers = all(isinstance(value, int | float) for value in (was, is_))
            distance = abs(was - is_) if numbers else math.inf
            lines.append((distance, f"{key}: {_shown(was)} then, {_shown(is_)} now"))
    return [line for _, line in sorted(lines, key=lambda pair: -pair[0])]


def _leaves(content: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """``("devel.file.score", 0.5)`` for every value of nested mappings and lists."""
    if isinstance(content, dict | list) and content:
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in pairs:
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, content


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value) if value == "" else str(value)

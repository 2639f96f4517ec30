"""Repeating a finished run from its record alone, and comparing what came of it, to the bit."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dslite import cards, paths, provenance
from dslite.datasets import partitions
from dslite.datasets.manifest import Manifest
from dslite.errors import InputError
from dslite.models import weights as model_weights
from dslite.settings import Settings
from dslite.training import runs

NEEDED = ("dataset", "kind", "preset", "seed", "weights", "classes", "task", "manifest")
TIMES = ["seconds", "images_per_s"]  # of a history: no two runs have the same
# Parts of a record that may explain a difference
SURROUNDINGS = ("versions", "hardware", "commit", "acoustics")
LISTED = 5  # differences of the metrics, the largest first


@dataclass(frozen=True)
class Plan:
    """A run that can be repeated: nothing of it is missing, and its corpus is the same.

    Attributes
    ----------
    original : Run
    manifest : Manifest
        That of its fold, where it is one.
    settings : Settings
        With weights that are found on this machine.
    """

    original: runs.Run
    manifest: Manifest
    settings: Settings


@dataclass(frozen=True)
class Verdict:
    """What a repetition has shown.

    Attributes
    ----------
    differences : list of str
        One line a file that differs and one a metric; empty: equal.
    surroundings : list of str
        What else differs between the records: versions, hardware, commit.
    """

    differences: list[str] = field(default_factory=list)
    surroundings: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every number is the same."""
        return not self.differences


# What is repeated


def load(folder: str | os.PathLike) -> runs.Run:
    """A finished run whose record suffices to repeat it.

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
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{run.folder}: metrics, predictions or history cannot be read, so nothing can be "
            f"compared ({said})"
        ) from None
    return run


def dataset_of(run: runs.Run, table: str = "") -> str:
    """What a user would call the run's corpus: its name, or the path of its table.

    Raises
    ------
    InputError
        It is a user's own, and the table is not given: its path is not written down.
    """
    name = run.record["dataset"]
    if not table and name not in cards.names():
        raise InputError(f"{name} is no corpus of this project: name the run's table with --table")
    return table or name


def plan(original: runs.Run, manifest: Manifest, weights: str = "") -> Plan:
    """Find all that a run was made of.

    Parameters
    ----------
    original : Run
        See `load`.
    manifest : Manifest
        Of the corpus as it is now.
    weights : str
        Path of the weights file, or of a folder that holds it under the name in the record; if
        not given it is looked for where the corpus's card has it, and among the downloads.

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
    built = partitions.of_run(manifest, record)
    if record["kind"] == runs.LIBROSA:
        if weights:
            raise InputError("this run has no network: leave out --weights")
        return Plan(original, built, original.settings)
    found = _weights(card, original, weights)
    return Plan(original, built, original.settings.model_copy(update={"weights": found}))


def _weights(card: cards.Card, original: runs.Run, given: str) -> str:
    """``imagenet``, ``random``, or the path of a file of the recorded content."""
    name, digest = (original.record["weights"][key] for key in ("name", "sha256"))
    if digest is None:
        if given:
            raise InputError(f"this run's weights are '{name}', no file: leave out --weights")
        return name
    if given:
        named = paths.find(given)
        places = [named / name if named.is_dir() else named]
    else:
        usual = cards.settings_of(card, original.record["preset"]).weights
        published = model_weights.IMAGENET[original.settings.backbone].name
        places = [paths.find(usual), paths.cache() / "weights" / published]
    there = [file for file in places if file.is_file()]
    if not there:
        raise InputError(f"{name}, this run's weights, is not found; say where with --weights")
    for file in there:
        if provenance.file_digest(file) == digest:
            return str(file)
    raise InputError(
        f"{there[0]}: other content than this run's weights {name} (SHA-256 {digest[:12]}…); "
        "say with --weights where those are"
    )


# Repeating


@contextmanager
def workshop(keep: bool = False) -> Iterator[Path]:
    """A temporary folder for results and for a cache of its own, below the cache.

    Nothing that the original left is taken up: no checkpoint, no spectrogram, nothing of frozen
    layers. Published weights, which have a checksum, are those that are there.

    Parameters
    ----------
    keep : bool
        Whether the results stay; the cache never does.
    """
    cache = paths.cache()
    (cache / "repetitions").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache / "repetitions"))
    own = {"DSLITE_CACHE": folder / "cache", "DSLITE_RESULTS": folder / "results"}
    before = {variable: os.environ.get(variable) for variable in own}
    try:
        own["DSLITE_CACHE"].mkdir()
        (cache / "weights").mkdir(exist_ok=True)
        (own["DSLITE_CACHE"] / "weights").symlink_to((cache / "weights").absolute())
        os.environ.update({variable: str(place) for variable, place in own.items()})
        yield folder
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None)
            os.environ.update({variable: value} if value is not None else {})
        shutil.rmtree(own["DSLITE_CACHE"] if keep else folder, ignore_errors=True)


def repeat(planned: Plan, log: Callable[[str], None] = print) -> runs.Run:
    """Do again what a run did, wherever results and cache now lie (see `workshop`)."""
    from dslite.training import baselines, experiment

    record = planned.original.record
    given = (planned.manifest, planned.settings, record["seed"], record["preset"])
    if record["kind"] != runs.NETWORK:
        return baselines.train_baseline(*given, log=log, kind=record["kind"])
    work = experiment.candidate if record.get("candidate") else experiment.train
    return work(*given, log=log)


# Comparing


def compare(original: runs.Run, again: runs.Run) -> Verdict:
    """Hold a repetition's files to the original's, and name what may explain a difference.

    Predictions are compared byte by byte, metrics and history (without its times) number by number.
    """
    differences = []
    if len({(run.folder / "predictions.csv").read_bytes() for run in (original, again)}) > 1:
        found = table_difference(original.predictions, again.predictions)
        differences.append(f"predictions.csv: {found or 'other bytes, the same numbers'}")
    histories = (run.history.drop(columns=TIMES, errors="ignore") for run in (original, again))
    if found := table_difference(*histories):
        differences.append(f"history.csv: {found}")
    scores = [{part: run.metrics[part] for part in ("devel", "test")} for run in (original, again)]
    differences += [f"metrics.json: {line}" for line in value_differences(*scores)]
    return Verdict(differences, surroundings(original.record, again.record))


def table_difference(then: pd.DataFrame, now: pd.DataFrame) -> str:
    """The largest difference of two tables in words; empty: none. NaN equals NaN."""
    if list(then.columns) != list(now.columns):
        return f"other columns ({', '.join(now.columns)} instead of {', '.join(then.columns)})"
    if len(then) != len(now):
        return f"{len(now)} rows instead of {len(then)}"
    unequal = [name for name in then if not _same(then[name], now[name]).all()]
    if not unequal:
        return ""
    same = pd.concat([_same(then[name], now[name]) for name in unequal], axis=1).all(axis=1)
    said = f"{(~same).sum()} of {len(then)} rows differ"
    numbers = {
        name: float((then[name] - now[name]).abs().max())
        for name in unequal
        if all(pd.api.types.is_numeric_dtype(table[name]) for table in (then, now))
    }
    words = [name for name in unequal if name not in numbers]
    if words:
        said += f", also in {', '.join(words)}"
    if numbers:
        most = max(numbers, key=lambda name: -1 if math.isnan(numbers[name]) else numbers[name])
        said += f"; largest difference {numbers[most]:.3g} ({most})"
    return said


def _same(then: pd.Series, now: pd.Series) -> pd.Series:
    return (then == now) | (then.isna() & now.isna())


def value_differences(then: Any, now: Any) -> list[str]:
    """Differing values of two nested records, the largest differences first, `LISTED` at most."""
    old, new = (dict(_leaves(content)) for content in (then, now))
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, is_ = old.get(key), new.get(key)
        if was != is_:
            numbers = all(isinstance(value, int | float) for value in (was, is_))
            distance = abs(was - is_) if numbers else math.inf
            found.append((distance, f"{key} {_told(was)} then, {_told(is_)} now"))
    found.sort(key=lambda pair: -pair[0])
    more = len(found) - LISTED
    lines = [line for _, line in found[:LISTED]]
    return [*lines, f"and {more} more"] if more > 0 else lines


def _leaves(content: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """``("devel.file.score", 0.5)`` for every value of nested mappings and lists."""
    if isinstance(content, dict | list) and content:
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in pairs:
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, content


def _told(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value) if value == "" else str(value)


def told(verdict: Verdict) -> list[str]:
    """A verdict in words, line by line."""
    if verdict.equal:
        lines = ["equal: predictions, metrics and history are the same to the last digit"]
    else:
        lines = ["DIFFERENT", *(f"  {line}" for line in verdict.differences)]
    if verdict.surroundings:
        lines += ["since then has changed:", *(f"  {line}" for line in verdict.surroundings)]
    elif not verdict.equal:
        lines += ["versions, hardware and commit are the same"]
    return lines


def surroundings(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Versions, hardware and commit that differ between two records."""
    parts = ({key: record.get(key) for key in SURROUNDINGS} for record in (then, now))
    old, new = (dict(_leaves(part)) for part in parts)
    return [
        f"{key}: {_told(old.get(key))} then, {_told(new.get(key))} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]

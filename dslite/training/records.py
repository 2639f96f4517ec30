"""Records: the small files of many runs as three tables, which are committed or archived.

``runs.csv`` has a row a run and a column a value of its JSON files (``metrics.test.file.score``),
``predictions.csv.gz`` and ``history.csv.gz`` the rows of all runs, to the last digit.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from dslite import paths, provenance
from dslite.errors import InputError

RUNS = "runs.csv"
# Files of a run, or of a cross-validation (folds): ``<name>.json``, ``<name>.csv``
VALUES = ("run", "metrics", "profile", "agreement", "device", "folds")
TABLES = ("predictions", "history")
KEYS = ["dataset", "run", "fold"]  # fold 0: an ordinary run, or a whole cross-validation
TEXTS = {"dtype": str, "keep_default_na": False}  # every cell as it was written


def contents(folder: Path) -> dict[str, Any]:
    """Read what a record holds of a folder: `VALUES` as they are, `TABLES` as frames of texts."""
    values = {name: folder / f"{name}.json" for name in VALUES}
    tables = {name: folder / f"{name}.csv" for name in TABLES}
    return {
        name: provenance.read_json(file, "run it again")
        for name, file in values.items()
        if file.is_file()
    } | {name: _frame(file) for name, file in tables.items() if file.is_file()}


def write(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `contents` by names (``<dataset>/<run>``, ``…/fold<i>``); the same give equal bytes."""
    rows, tables = [], {name: [] for name in TABLES}
    for name, content in runs.items():
        dataset, _, run = name.partition("/")
        run, _, fold = run.partition("/fold")
        keys = dict(zip(KEYS, (dataset, run, fold or "0"), strict=True))
        values = dict(content)
        for part in set(TABLES) & set(content):
            columns = list(content[part].columns)
            tables[part].append(content[part].assign(**keys)[[*KEYS, *columns]])
            values[part] = {"columns": columns}
        rows.append(keys | cells(values))
    paths.write(folder / RUNS, provenance.quoted(pd.DataFrame(rows)).to_csv(index=False))
    for name, parts in tables.items():
        if parts:
            with paths.replacing(folder / f"{name}.csv.gz") as draft:
                zipped = {"method": "gzip", "mtime": 0}
                content = provenance.quoted(pd.concat(parts))
                content.to_csv(draft, index=False, compression=zipped)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the values of all runs of a record: name -> part of `VALUES` -> its content."""
    return _read(folder / RUNS, (folder / RUNS).stat().st_mtime_ns)


def committed() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield of every run in the project's records: the record's folder, the name, the values."""
    for file in sorted(paths.records().glob(f"*/{RUNS}")):
        for name, values in read(file.parent).items():
            yield file.parent, name, values


def table(folder: Path, name: str, part: str) -> pd.DataFrame | None:
    """Return one of `TABLES` of a run of a record, all texts; None where it has none."""
    value, file = read(folder)[name].get(part), folder / f"{part}.csv.gz"
    if value is None:
        return None
    empty = pd.DataFrame(columns=value["columns"], dtype=str)
    return _tables(file, file.stat().st_mtime_ns).get(name, empty)[value["columns"]]


def of_run(folder: Path, name: str) -> dict[str, Any]:
    """Return what a record holds of a run, as `contents` does of its folder."""
    values = read(folder)[name]
    return values | {part: table(folder, name, part) for part in TABLES if part in values}


@lru_cache
def _read(file: Path, _changed: int) -> dict[str, dict[str, Any]]:
    frame = _frame(file)
    try:
        values = [_nested(row) for row in frame.drop(columns=KEYS).to_dict("records")]
    except (TypeError, AttributeError) as error:  # a.b beside a value of a
        raise InputError(f"{paths.shown(file)}: not readable ({error}); record it again") from None
    return dict(zip(_names(frame), values, strict=True))


@lru_cache
def _tables(file: Path, _changed: int) -> dict[str, pd.DataFrame]:
    frame = _frame(file)
    return dict(list(frame.groupby(_names(frame), sort=False)))


def _frame(file: Path) -> pd.DataFrame:
    frame = provenance.read_csv(file, "record it again", **TEXTS)
    if file.parent.parent == paths.records() and not set(KEYS) <= set(frame):
        raise InputError(f"{paths.shown(file)}: needs columns {', '.join(KEYS)}; record it again")
    return frame


def _names(frame: pd.DataFrame) -> pd.Series:
    """``<dataset>/<run>``, with ``/fold<i>`` of a fold: the folder in results/ of each row."""
    folds = ("/fold" + frame["fold"]).where(frame["fold"] != "0", "")
    return frame["dataset"] + "/" + frame["run"] + folds


def cells(content: Any, name: str = "") -> dict[str, str]:
    """Write nested mappings as cells by dotted names; one with dots in a key stays whole."""
    if isinstance(content, dict) and content and not any("." in key for key in content):
        start = f"{name}." if name else ""
        parts = [cells(value, f"{start}{key}") for key, value in content.items()]
        return {key: cell for part in parts for key, cell in part.items()}
    # A text that cannot be taken for another value, or for nothing, needs no quotes.
    plain = isinstance(content, str) and content and _value(content) is content
    return {name: content if plain else json.dumps(content)}


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _nested(cells: Mapping[str, str]) -> dict[str, Any]:
    """The mapping that `cells` took apart."""
    content: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell:
            inner, (*outer, last) = content, name.split(".")
            for key in outer:
                inner = inner.setdefault(key, {})
            inner[last] = _value(cell)
    return content

"""Runs of one configuration with several seeds, taken together: score, origin, repetition."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.evaluation.metrics import Interval
from dslite.training import runs
from dslite.training.runs import Run

SCORED = ("ours", "deviation", "ours_low", "ours_high")  # of `score`, percent
NOTHING = dict.fromkeys(SCORED, np.nan) | {"seeds": 0, "note": ""}
SEVERAL = "several"  # commits or computers
NO_FILES = "no predictions of files are kept: bounds are means of the seeds' own"


def score(found: Sequence[Run], partition: str) -> dict[str, Any]:
    """Mean over the seeds of the UAR at file level, with its interval over files.

    Parameters
    ----------
    found : sequence of Run
        One a seed, alike in all else; classifications.
    partition : {"devel", "test"}

    Returns
    -------
    dict
        Percent: ``ours`` (mean over seeds), ``deviation`` (ddof 1; NaN for one seed), ``ours_low``
        and ``ours_high`` (95 %, see `mean_uar_interval`; draws and seed are those of the first
        run). Then the number of ``seeds``, and a ``note`` on the interval, mostly empty. All NaN
        where the partition's labels are blinded.

    Raises
    ------
    InputError
        The seeds were scored on other files or labels.

    Notes
    -----
    Of a corpus whose file names are private the committed records hold no predictions. What the
    runs say of their own intervals then stands for the interval of the mean, which would be
    narrower.
    """
    parts = [run.metrics[partition] for run in found]
    if not all(parts):
        return NOTHING
    shares = np.array([part["file"]["score"] for part in parts])
    deviation = shares.std(ddof=1) if len(found) > 1 else np.nan
    note = ""
    if all((run.folder / "predictions.csv").is_file() for run in found):
        labels, predictions = _arrays(found, partition)
        draws, seed = found[0].settings.bootstrap_draws, found[0].record["seed"]
        interval = mean_uar_interval(labels, predictions, len(found[0].classes), draws, seed)
    else:
        known = [part["file"]["interval_files"] or (np.nan, np.nan) for part in parts]
        interval = tuple(np.mean(known, axis=0))
        note = NO_FILES if len(found) > 1 else ""
    low, high = interval or (np.nan, np.nan)
    percent = 100 * np.array([shares.mean(), deviation, low, high])
    return dict(zip(SCORED, percent.tolist(), strict=True)) | {"seeds": len(found), "note": note}


def _arrays(found: Sequence[Run], partition: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels int [files] and predictions int [seeds, files], files in the first run's order."""
    whole = [run.predictions for run in found]
    tables = [all_[(all_["partition"] == partition) & (all_["label"] != "")] for all_ in whole]
    wanted = tables[0].set_index("file")["label"]
    codes, classes = [], pd.Index(found[0].classes)
    for run, table in zip(found, tables, strict=True):
        own = table.set_index("file").reindex(wanted.index)
        if len(table) != len(wanted) or not own["label"].equals(wanted):
            raise InputError(
                f"{run.record['dataset']}/{run.folder.name}: scored on other files or labels than "
                f"{found[0].folder.name}; repeat the runs that were made before the corpus changed"
            )
        codes.append(classes.get_indexer(own["prediction"]))
    return classes.get_indexer(wanted), np.stack(codes)


def mean_uar_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    n_classes: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Percentile bootstrap interval, over files, of the mean over seeds of the UAR (paper 3.3).

    Parameters
    ----------
    labels : int [files]
    predictions : int [seeds, files]
    level : float
        Share of the draws inside the interval.

    Returns
    -------
    (low, high) or None
        Fractions; None with fewer than two files. A class absent from a draw is left out of that
        draw's mean.

    Notes
    -----
    A draw takes the same files for all seeds. A recall is linear in each file's share of seeds that
    recognise it, so the mean of the UARs is the UAR of these shares, and files with the same label
    and predictions are drawn together. For one seed it is
    `dslite.evaluation.metrics.bootstrap_interval`.
    """
    if len(labels) < 2:
        return None
    columns = np.column_stack([labels, *predictions])
    cells, equal = np.unique(columns, axis=0, return_counts=True)
    of_class = np.eye(n_classes)[cells[:, 0]]
    right = (cells[:, 1:] == cells[:, :1]).mean(axis=1)
    drawn = np.random.default_rng(seed).multinomial(len(labels), equal / len(labels), size=draws)
    files, hits = drawn @ of_class, drawn @ (of_class * right[:, None])
    recalls = np.divide(hits, files, out=np.full(files.shape, np.nan), where=files > 0)
    low, high = np.quantile(np.nanmean(recalls, axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def scored(rows: pd.DataFrame) -> dict[str, Any]:
    """Scores, origin and command of runs that differ in nothing but the seed.

    Parameters
    ----------
    rows : DataFrame
        Of `dslite.paper.scores.runs`.

    Returns
    -------
    dict
        ``devel`` and ``test`` (see `score`) and ``origin``: `together` and the ``command``.
    """
    rows = rows.sort_values("seed")
    loaded = [runs.load(place) for place in rows["place"]]
    known = rows.iloc[0][["dataset", "configuration", "preset", "backbone"]]
    line = command(*known, rows["seed"].tolist(), options_of(loaded[0].record))
    return {
        **{part: score(loaded, part) for part in ("devel", "test")},
        "origin": together(rows) | {"command": line},
    }


def together(rows: pd.DataFrame) -> dict[str, Any]:
    """Where numbers over several runs come from.

    Parameters
    ----------
    rows : DataFrame
        Of `dslite.paper.scores.runs`.

    Returns
    -------
    dict
        ``runs`` (``dataset/run``, joined by ``;``), the latest ``date``, ``commit`` and
        ``hardware`` (`SEVERAL` where they differ), the sum of ``seconds`` (NaN if one is unknown).
    """
    named = rows["dataset"] + "/" + rows["run"]

    def shared(column: str) -> str:
        found = rows[column].unique()
        return found[0] if len(found) == 1 else SEVERAL

    return {
        "runs": ";".join(named),
        "date": rows["date"].max(),
        **{column: shared(column) for column in ("commit", "hardware")},
        "seconds": float(rows["seconds"].sum(skipna=False)),
    }


def command(
    dataset: str,
    configuration: str,
    preset: str,
    backbone: str,
    seeds: Sequence[int] = (0,),
    options: str = "",
) -> str:
    """One shell line that makes a configuration's runs; ``options`` as `options_of` gives them."""
    seed = seeds[0] if len(seeds) == 1 else "$seed"
    known = {"preset": preset, "backbone": backbone}
    if configuration == runs.SVM:
        line = f"dslite baseline {dataset}"
    else:
        line = f"dslite train {dataset}"
        known |= {"augmentation": configuration}
    line += "".join(f" --{key} {value}" for key, value in known.items() if value)
    line += f" --seed {seed}{options}"
    if len(seeds) == 1:
        return line
    return f"for seed in {' '.join(map(str, seeds))}; do {line}; done"


def options_of(record: Mapping[str, Any]) -> str:
    """What has to be added to `command` for a run's overrides; empty, or with a blank in front.

    A weights file is not named: where it lay is not recorded, and it stands for ``imagenet``.
    """
    words = ["--weights random"] if record["weights"]["random"] else []
    for key, (_, value) in sorted(record["overrides"].items()):
        if key not in ("backbone", "augmentation", "weights"):
            words.append(f"--set {key}={'null' if value is None else value}")
    return "".join(f" {word}" for word in words)

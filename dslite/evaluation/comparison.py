"""A study's tables of statements: means over seeds, and every configuration against a named one.

The tests are those of `dslite.evaluation.significance`; the verdicts of one table are corrected for their
number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.evaluation.significance import DRAWS, holm, mcnemar, over_seeds, uar_difference

ALPHA = 0.05  # of a verdict, after the correction
DRAWS_PER_COMPARISON = 200  # keeps the smallest p that the correction can give at 0.01
BETTER, WORSE, UNDECIDED, UNKNOWN = "better", "worse", "not told apart", "unknown"
COLUMNS = {  # of `compared`, behind those that say what is compared
    **{"files": int, "seeds": int},
    **dict.fromkeys(["difference", "low", "high", "low_speakers", "high_speakers"], float),
    **{"unit": str, "units": int, "p": float, "p_holm": float},
    **{"only_baseline": int, "only_this": int, "p_mcnemar": float, "p_mcnemar_holm": float},
    **{"comparisons": int, "verdict": str},
}


def repeated(scores: pd.DataFrame, by: Sequence[str], score: str) -> pd.DataFrame:
    """`over_seeds` of a table with one row a run: the columns ``by``, then those of the dict."""
    rows = [
        dict(zip(by, key, strict=True)) | over_seeds(same[score].to_numpy(float))
        for key, same in scores.groupby(list(by), sort=False, dropna=False)
    ]
    numbers = dict.fromkeys(["mean", "deviation", "low", "high"], float)
    return pd.DataFrame(rows, columns=[*by, *numbers, "n"]).astype(numbers)


def compared(
    predictions: pd.DataFrame,
    varied: str,
    baseline: str,
    by: Sequence[str] = ("dataset",),
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Every configuration against a named one, wherever all else is equal.

    Parameters
    ----------
    predictions : DataFrame
        One row a file, seed and configuration: the columns ``by``, ``varied``, ``seed``, ``file``,
        ``speaker`` (empty: unknown), ``label`` (empty: blinded, passed over) and ``prediction``;
        of one partition, or all test files of a cross-validation. Classification only.
    varied : str
        The column that tells the configurations apart: ``augmentation``, ``backbone``, ...
    baseline : str
        Its value that all others are compared with: ``none``.
    by : sequence of str
        What two compared configurations share: ``("dataset", "backbone", "preset")``.
    draws, seed : int
        Of the bootstrap; more draws are taken where very many comparisons need them.

    Returns
    -------
    DataFrame
        One row a comparison, in the order of the table: ``by``, ``varied``, ``baseline``,
        ``files``, ``seeds`` (those that both have), ``difference`` (points of UAR), the 95 %
        intervals ``low, high`` over files and ``low_speakers, high_speakers`` over speakers; the
        ``unit`` (speaker where all are known, else file) and the number of ``units`` of ``p``;
        ``p_holm``; McNemar's ``only_baseline, only_this`` (files), ``p_mcnemar,
        p_mcnemar_holm``; the number of ``comparisons`` that were corrected for, and the
        ``verdict``: `BETTER` or `WORSE` if ``p_holm`` is below `ALPHA`, else `UNDECIDED`, or
        `UNKNOWN` where there is nothing to compare (no label, no seed in common).

    Raises
    ------
    InputError
        The baseline is missing from a group, or two configurations predict other files or labels.
    """
    keys = list(by)
    known = predictions.drop_duplicates([*keys, varied])
    wanted = int((known[varied] != baseline).sum())
    draws = max(draws, DRAWS_PER_COMPARISON * wanted)
    rows = []
    for key, group in predictions.groupby(keys, sort=False, dropna=False):
        where = dict(zip(keys, key, strict=True))
        parts = dict(list(group.groupby(varied, sort=False)))
        if baseline not in parts:
            shared = ", ".join(map(str, where.values()))
            raise InputError(f"{shared}: no predictions of {varied} {baseline} to compare with")
        for name in parts:
            if name != baseline:
                found = _pair(parts[baseline], parts[name], where | {varied: name}, draws, seed)
                rows.append(where | {varied: name, "baseline": baseline} | found)
    table = pd.DataFrame(rows, columns=[*keys, varied, "baseline", *COLUMNS])
    table = table.astype({name: float for name, kind in COLUMNS.items() if kind is float})
    table["p_holm"], table["p_mcnemar_holm"] = holm(table["p"]), holm(table["p_mcnemar"])
    table["comparisons"] = int(table["p"].notna().sum())
    side = np.where(table["difference"] > 0, BETTER, WORSE)
    table["verdict"] = np.where(table["p_holm"] < ALPHA, side, UNDECIDED)
    table.loc[table["p_holm"].isna(), "verdict"] = UNKNOWN
    return table


def _pair(
    first: pd.DataFrame, second: pd.DataFrame, where: Mapping[str, Any], draws: int, seed: int
) -> dict[str, Any]:
    """One row of `compared`, less what depends on the other rows."""
    seeds = sorted(set(first["seed"]) & set(second["seed"]))
    files, labels, pair = _arrays(first, second, seeds, ", ".join(map(str, where.values())))
    row = {"files": len(files), "seeds": len(seeds), "unit": "", "units": 0}
    if files.empty:
        return row | {"only_baseline": 0, "only_this": 0}
    n_classes, speakers = labels.max() + 1, files["speaker"].fillna("").to_numpy(str)
    found = {"file": uar_difference(labels, *pair, n_classes, None, draws, seed)}
    if (speakers != "").all():
        found["speaker"] = uar_difference(labels, *pair, n_classes, speakers, draws, seed)
    unit, tested = list(found.items())[-1]
    told = mcnemar(labels, *pair)
    row |= {"difference": 100 * tested["difference"], "unit": unit, "units": tested["units"]}
    for key in ("low", "high"):
        row |= {key: _points(found["file"][key])}
        row |= {f"{key}_speakers": _points(found.get("speaker", {}).get(key))}
    return row | {
        "p": tested["p"],
        **{"only_baseline": told["only_first"], "only_this": told["only_second"]},
        "p_mcnemar": told["p"],
    }


def _arrays(
    first: pd.DataFrame, second: pd.DataFrame, seeds: list[Any], where: str
) -> tuple[pd.DataFrame, np.ndarray, list[np.ndarray]]:
    """The labelled files (their rows), labels int [files], twice predictions int [seeds, files]."""
    tables, rows = [], []
    for part in (first, second):
        chosen = part[part["seed"].isin(seeds) & (part["label"].astype(str) != "")]
        if chosen.duplicated(["seed", "file"]).any():
            raise InputError(
                f"{where}: one seed predicts a file twice; name in `by` what tells the runs apart"
            )
        tables.append(chosen.pivot(index="file", columns="seed", values="prediction"))
        rows.append(chosen.drop_duplicates("file").set_index("file").loc[tables[-1].index])
    same = rows[0][["label"]].equals(rows[1][["label"]])
    if not same or any(table.isna().any(axis=None) for table in tables):
        raise InputError(
            f"{where}: tested on other files or labels than what it is compared with; repeat the "
            "runs that were made before the corpus changed"
        )
    texts = [part.to_numpy(str) for part in (rows[0]["label"], *tables)]
    # Labels first, so that what is predicted and never right is no class of the UAR.
    classes = list(dict.fromkeys(name for text in texts for name in text.ravel()))
    codes = dict(zip(classes, range(len(classes)), strict=True))
    labels, *pair = (np.vectorize(codes.get, otypes=[int])(text) for text in texts)
    return rows[0], labels, [said.T for said in pair]


def _points(share: float | None) -> float:
    return np.nan if share is None else 100 * share

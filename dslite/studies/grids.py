"""Choosing from a grid: devel scores of its points in, the best one and a table of all out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.studies.study import Point, words

# What the points of a grid share: of each such group one is chosen
GROUP = ("dataset", "preset", "backbone", "augmentation", "seed", "folds")


def candidates(points: Sequence[Point], devel: Sequence[float]) -> pd.DataFrame:
    """Points of a grid and their devel scores as `choose` takes them.

    Returns
    -------
    DataFrame
        One row a point: the columns `GROUP`, ``weights``, ``overrides`` (`words`, joined),
        ``point`` (its place in ``points``) and ``devel``. Of a file, the name without its folders.
    """
    rows = [
        asdict(point)
        | {"dataset": Path(point.dataset).stem, "weights": Path(point.weights).name}
        | {"overrides": " ".join(words(point)), "point": i, "devel": float(score)}
        for i, (point, score) in enumerate(zip(points, devel, strict=True))
    ]
    return pd.DataFrame(rows, columns=[*GROUP, "weights", "overrides", "point", "devel"])


def choose(candidates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The best point of each grid, by rule: the highest devel score, of equals the first one.

    Nothing of the test partition is asked for.

    Parameters
    ----------
    candidates : DataFrame
        Columns `GROUP` and ``devel`` (UAR or rho; NaN: undefined, never chosen), in the order of
        the grid; further columns are kept.

    Returns
    -------
    chosen : DataFrame
        One row a group, in the order of the table.
    table : DataFrame
        All candidates, with ``chosen`` (bool) and the ``rank`` within their group (from 1).

    Raises
    ------
    InputError
        A group in which no candidate has a score.
    """
    table = candidates.reset_index(drop=True)
    groups = table.groupby(list(GROUP), sort=False, dropna=False)["devel"]
    ranks = groups.rank(method="first", ascending=False, na_option="bottom").astype(int)
    best = ranks == 1
    lost = table[best & table["devel"].isna()]
    if len(lost):
        first = lost.iloc[0]
        raise InputError(
            f"{', '.join(str(first[key]) for key in GROUP[:5])}: no point of the grid has a devel "
            "score (training diverged, or one prediction for all); change the grid"
        )
    table = table.assign(chosen=np.asarray(best), rank=ranks)
    return table[best].drop(columns=["chosen", "rank"]).reset_index(drop=True), table

"""Which files are explained: chosen by rule, never by hand or by their place in a folder."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dslite.training import runs

CONFIDENT, MEDIAN, WRONG = "most confident correct", "median correct", "most confident wrong"
UNKNOWN = ("most confident", "median")  # labels are blinded: nothing is right or wrong
VALUES = ("highest prediction", "median prediction", "largest error")  # of a regression
COLUMNS = ("file", "rule", "true", "predicted", "probability")


def by_rule(run: runs.Run, partition: str = "test") -> pd.DataFrame:
    """Per class the most confident correct file, the median correct one, the most confident wrong.

    Confidence is the file's probability of the class that was predicted for it, as it stands in
    ``predictions.csv``; of equal ones the first name counts. The median of an even number is the
    more confident of the two in the middle.

    Parameters
    ----------
    run : Run
    partition : str

    Returns
    -------
    DataFrame
        Columns file, rule, true, predicted and probability, class by class in the card's order; a
        rule that no file fits, or only one that another rule has shown already, has no row.
        Where labels are blinded, true is empty and the rules are "most confident" and "median" of
        the files that were taken for the class. Of a regression: the highest and the median
        prediction, and the largest error, the prediction in place of the probability.
    """
    table = run.predictions
    table = table[table["partition"] == partition].sort_values("file", kind="stable")
    rows = []
    if run.task == "regression":
        rows = _of_values(table)
    for name in run.classes:
        rows += _of_class(table, name, list(run.classes))
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.drop_duplicates("file").reset_index(drop=True)


def _of_class(table: pd.DataFrame, name: str, classes: list[str]) -> list[tuple]:
    scores = table[classes].astype(float).to_numpy()
    confident = table.assign(probability=scores.max(axis=1))
    confident = confident.sort_values("probability", ascending=False, kind="stable")
    taken, own = confident["prediction"] == name, confident["label"] == name
    rules = (CONFIDENT, MEDIAN)
    if (table["label"] == "").all():
        own, rules = taken, UNKNOWN
    right, wrong = confident[own & taken], confident[own & ~taken]
    rows = []
    if len(right):
        middle = right.iloc[(len(right) - 1) // 2]
        rows += [_row(right.iloc[0], rules[0]), _row(middle, rules[1])]
    if len(wrong):
        rows.append(_row(wrong.iloc[0], WRONG))
    return rows


def _row(found: pd.Series, rule: str) -> tuple:
    return (found["file"], rule, found["label"], found["prediction"], float(found["probability"]))


def _of_values(table: pd.DataFrame) -> list[tuple]:
    if table.empty:
        return []
    predicted = table["prediction"].astype(float)
    table = table.assign(probability=predicted)
    ranked = table.sort_values("probability", ascending=False, kind="stable")
    chosen = [ranked.iloc[0], ranked.iloc[(len(ranked) - 1) // 2]]
    error = (predicted - pd.to_numeric(table["label"], errors="coerce")).abs()
    if error.notna().any():
        chosen.append(table.loc[error.idxmax()])
    return [_row(row, rule) for row, rule in zip(chosen, VALUES, strict=False)]


def drawn(labels: Sequence[str] | np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of up to ``count`` items, the same number of each label as far as they last.

    int64, ascending. Without labels (all the same) it is a plain draw.
    """
    labels = np.asarray(labels)
    turn = np.empty(len(labels), np.int64)  # an item's place among those of its own label
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own] = rng.permutation(len(own))
    return np.sort(np.lexsort((rng.permutation(len(labels)), turn))[:count])

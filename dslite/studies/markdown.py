"""Tables as a reader wants them: published and ours one above the other, remarks in full."""

import re
from typing import Any

import numpy as np
import pandas as pd

from dslite.training.runs import LABELS

# Column of a published table -> ours, where that is not simply ``ours_<column>``
OURS = {"ci_low": "ours_low", "ci_high": "ours_high"}


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of `dslite.paper.reproduction.beside` and its like, narrow enough for a page.

    Parameters
    ----------
    frame : DataFrame
        Published columns, ``ours_<column>`` beside them, ``ours_run`` (optional) and ``remark``.

    Returns
    -------
    DataFrame
        Every published row once, below it our own where there is one. Column ``source`` says
        which is which; ``remark`` why there is none, or how far ours is comparable. A remark that
        says the same as the line above is a ditto mark.
    """
    ours = {column: OURS.get(column, f"ours_{column}") for column in frame.columns}
    ours = {column: own for column, own in ours.items() if own in frame.columns}
    left_out = {"remark", "hardware", "name", "chance", *ours}
    names = [c for c in frame.columns if not c.startswith("ours_") and c not in left_out]
    digits = {column: _decimals(frame[column]) for column in ours}
    rows, seen = [], set()
    for row in frame.to_dict("records"):
        key = {name: row[name] for name in names}
        known = any(pd.notna(row[own]) for own in ours.values())
        if tuple(key.values()) not in seen:
            values = {c: _number(row[c], digits[c]) for c in ours}
            rows.append(key | {"source": "published", **values, "remark": row["remark"]})
            rows[-1]["remark"] *= not known
        seen.add(tuple(key.values()))
        if known:
            values = {c: _number(row[own], digits[c]) for c, own in ours.items()}
            said = [row.get("ours_run", ""), row["remark"], row.get("hardware", "")]
            rows.append(key | {"source": "ours", **values, "remark": "; ".join(filter(None, said))})
    table = pd.DataFrame(rows)
    ditto = (table["remark"] == table["remark"].shift()) & (table["remark"] != "")
    return table.assign(remark=table["remark"].mask(ditto, "″"))


def to_markdown(frame: pd.DataFrame) -> str:
    """A frame, without its index, as a Markdown table; a missing value is an empty cell.

    Columns of numbers (also as texts, with a mark like ``*``) are aligned to the right.
    """

    def shown(value: Any) -> str:
        if pd.isna(value):
            return ""
        return str(round(value, 4) if isinstance(value, float) else value).replace("|", r"\|")

    cells = [[shown(value) for value in row] for row in frame.itertuples(index=False)]
    columns = zip(*cells, strict=True) if cells else [()] * len(frame.columns)
    number = re.compile(r"[-–]?[\d.]*\*?")
    align = ["---:" if all(number.fullmatch(c) for c in column) else ":---" for column in columns]
    rows = [[shown(name) for name in frame.columns], align, *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _decimals(values: pd.Series) -> int:
    """Decimals that a published column is printed with."""
    texts = [f"{value:g}" for value in values.dropna()]
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def _number(value: float, decimals: int) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:.{decimals}f}"
    return text if float(text) or not value else f"{value:.2g}"  # 0.04 is not 0.0


def hyperparameters(published: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as printed: rows hyperparameters, columns corpora; ``*`` marks what is assumed."""
    mark = np.where(published["status"] == "assumed", "*", "")
    values = published["value"].map(lambda v: "–" if pd.isna(v) else f"{float(v):g}") + mark
    wide = published.assign(value=values).pivot(
        index="hyperparameter", columns="dataset", values="value"
    )
    return wide.reset_index().rename_axis(columns=None)


def forest(runs: pd.DataFrame) -> pd.DataFrame:
    """Our runs in the shape that `dslite.plots.ablation` draws: fractions, test with intervals."""
    ordered = runs.assign(place=runs["configuration"].map(list(LABELS).index)).sort_values("place")
    rows = []
    for run in ordered.itertuples():
        for partition, low, high in (("devel", np.nan, np.nan), ("test", run.low, run.high)):
            score = getattr(run, partition)
            rows.append((LABELS[run.configuration], partition, score, low, high))
    table = pd.DataFrame(rows, columns=["configuration", "partition", "score", "low", "high"])
    numbers = ["score", "low", "high"]
    return table.assign(**(table[numbers] / 100))


def shown(frame: pd.DataFrame):
    """A table for a notebook: Markdown, so that every cell's remark is seen whole."""
    from IPython.display import Markdown

    return Markdown(to_markdown(frame))

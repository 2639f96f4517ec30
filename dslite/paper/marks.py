"""Verdicts as raised letters beside published numbers, and the legend that explains them.

A corpus whose numbers mostly share one verdict has its letter at its name, and only the numbers of
another verdict have one of their own.
"""

from collections.abc import Iterable

import pandas as pd

from dslite.paper import verdicts
from dslite.paper.escapes import RAISED

# Verdict -> its letter; that something is a setting needs none
LETTERS = {
    verdicts.REPRODUCED: "r",
    verdicts.OVERLAPPING: "o",
    verdicts.CONTRADICTED: "c",
    verdicts.ITSELF: "i",
    verdicts.HARDWARE: "h",
    verdicts.WEIGHTS: "w",
    verdicts.RESTRICTED: "d",  # of data
    verdicts.NOT_RUN: "n",
    verdicts.SETTING: "",
}
COMPARED = {verdicts.REPRODUCED, verdicts.OVERLAPPING, verdicts.CONTRADICTED}


def common(numbers: pd.DataFrame) -> dict[str, str]:
    """Dataset -> the most frequent verdict on its numbers; of equals the first in their order."""
    groups = numbers.groupby("dataset")["verdict"]
    return {dataset: max(verdicts.ORDER, key=list(of).count) for dataset, of in groups}


def raised(found: Iterable[str], shared: str = "") -> str:
    """Letters of a cell's verdicts in their order; none where all of them are the shared one."""
    said = set(found)
    shown = [LETTERS[v] for v in verdicts.ORDER if v in said] if said != {shared} else []
    return "".join(RAISED[letter] for letter in shown if letter)


def legend(numbers: pd.DataFrame, shared: bool = True) -> tuple[str, ...]:
    """What the letters of the ``numbers``' verdicts mean, as a note; none where there are none.

    ``shared`` says that a letter may stand at a corpus's name.
    """
    used = [v for v in verdicts.ORDER if LETTERS[v] and v in set(numbers["verdict"])]
    said = "; ".join(f"{RAISED[LETTERS[verdict]]} {verdict}" for verdict in used)
    whose = " A letter at a corpus's name holds for each of its published numbers that has none."
    return (f"Verdicts on the published numbers: {said}.{whose * shared}",) if used else ()


def meant(numbers: pd.DataFrame, rule: str) -> tuple[str, ...]:
    """The note on how published and ours are compared, where any of the ``numbers`` was."""
    return (rule,) if COMPARED & set(numbers["verdict"]) else ()

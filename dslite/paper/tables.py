"""The paper's five tables as sheets to be set: as published, with verdicts, and ours below."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dslite.paper import corpora, marks
from dslite.paper.published import HYPERPARAMETERS
from dslite.paper.score_sheets import AS_PUBLISHED, NONE, described, of_table, table3, table4
from dslite.paper.typesetting import Sheet, stacked

STATISTICS = {
    **{"files": "#", "classes": "C.", "speakers": "Sp.", "minutes": "Dur. [min.]"},
    **{"mean_s": "Mean dur. [s]", "std_s": "Std dur. [s]"},
}
QUANTITIES = {
    **{"mean_time": "Mean time [ms]", "flops": "FLOPs [G]", "parameters": "Parameters [M]"},
    **{"mean_memory": "Mean memory [MB]", "model_size": "Model size [MB]"},
}
STAGES = ("preprocessing", "tf_model", "tflite_cpu", "tflite_phone")

ROUNDED = "Reproduced: equal after rounding to the printed decimals; contradicted: not equal."


def of_paper(
    numbers: pd.DataFrame, substitutes: pd.DataFrame, costs: pd.DataFrame | None = None
) -> dict[int, Sheet]:
    """All five tables by their numbers; for the parameters see `table3` and `table5`."""
    return {
        1: table1(numbers),
        2: table2(numbers),
        3: table3(numbers, substitutes),
        4: table4(numbers, substitutes),
        5: table5(numbers, costs),
    }


def table1(numbers: pd.DataFrame) -> Sheet:
    """The corpora: published statistics, below them those that were counted here.

    Parameters
    ----------
    numbers : DataFrame
        Of `dslite.paper.reproduction.numbers`; of its columns ``key, table, dataset, value, ours,
        verdict`` are needed.
    """
    own, cells, names = of_table(numbers, 1)
    common = marks.common(own)
    printed, counted = [], []
    for dataset, name in names.items():
        of = {column: cells[f"1/{dataset}/{column}"] for column in STATISTICS}
        letters = [marks.raised([cell["verdict"]], common[dataset]) for cell in of.values()]
        texts = [_statistic(column, cell["value"]) for column, cell in of.items()]
        title = f"{name}{marks.raised([common[dataset]])}: {described()[dataset]}"
        printed.append([title, *map(str.__add__, texts, letters)])
        if any(pd.notna(cell["ours"]) for cell in of.values()):
            counted.append([name, *(_statistic(c, cell["ours"]) for c, cell in of.items())])
    return Sheet(
        number=1,
        title="The eight corpora",
        caption="Number of files (#), classes (C.) and speakers (Sp.), total duration (Dur.) in "
        "minutes, mean and standard deviation of a file's duration in seconds.",
        head=((("Name", 1), *((title, 1) for title in STATISTICS.values())),),
        align="l" + "r" * len(STATISTICS),
        **stacked([(AS_PUBLISHED, printed), ("counted here", counted)]),
        notes=(*marks.legend(own), *marks.meant(own, ROUNDED)),
    )


def table2(numbers: pd.DataFrame) -> Sheet:
    """Hyperparameters as printed, ``*`` where a cell is assumed; ``numbers`` as for `table1`.

    The column ``status`` is needed too.
    """
    own, cells, names = of_table(numbers, 2)
    rows = []
    for hyperparameter, label in HYPERPARAMETERS.items():
        row = [label]
        for dataset in names:
            cell = cells.get(f"2/{dataset}/{hyperparameter}")
            assumed = cell is None or cell["status"] == "assumed"
            row.append(_hyperparameter(hyperparameter, cell) + "*" * assumed)
            row[-1] += marks.raised([cell["verdict"]]) if cell else ""
        rows.append(tuple(row))
    return Sheet(
        number=2,
        title="Hyperparameters",
        caption="Configuration of the training for each corpus.",
        head=((("Hyperparameter", 1), *((name, 1) for name in names.values())),),
        rows=tuple(rows),
        align="l" + "r" * len(names),
        notes=(
            "* assumed: the row is printed with seven values for eight columns, so that which "
            "value is whose, and which cell is empty (–), is our reading.",
            "A setting is taken over; there is nothing to be reproduced, so it has no verdict.",
            *marks.legend(own, shared=False),
        ),
    )


def table5(numbers: pd.DataFrame, costs: pd.DataFrame | None = None) -> Sheet:
    """Time, operations, parameters, memory and size; below the published ones those measured here.

    Parameters
    ----------
    numbers : DataFrame
        As for `table1`, and ``configuration`` (the quantity), ``column, status`` and ``hardware``.
        What is ours in it is of DenseNet121.
    costs : DataFrame, optional
        Of other runs: ``label`` (heading of a block of rows), ``quantity`` and ``column`` as in
        ``data/paper/table5.csv``, ``ours`` in its units, ``hardware``.
    """
    own = numbers[numbers["table"] == 5]
    star = own["status"].map({"assumed": "*"}).fillna("")
    texts = own["value"].map(_cost) + star + own["verdict"].map(lambda v: marks.raised([v]))
    printed = dict(zip(zip(own["configuration"], own["column"], strict=True), texts, strict=True))
    ours = own.assign(label="DenseNet121", quantity=own["configuration"])
    measured = ours if costs is None else pd.concat([ours, costs])
    measured = measured[measured["ours"].notna()]
    blocks: list[tuple[str, list[list[str]]]] = [(AS_PUBLISHED, _cost_rows(printed, ""))]
    for label, group in measured.groupby("label", sort=False):
        keys = zip(group["quantity"], group["column"], strict=True)
        found = dict(zip(keys, group["ours"].map(_cost), strict=True))
        blocks.append((f"ours: {label}", _cost_rows(found, NONE)))
    known = measured[measured["hardware"].notna() & (measured["hardware"] != "")]
    places = known.groupby("label", sort=False)["hardware"].unique()
    hardware = [f"Ours, {label}: {'; '.join(where)}." for label, where in places.items()]
    return Sheet(
        number=5,
        title="Computational performance",
        caption="Mean execution time of 50 runs, operations, parameters, mean requested memory and "
        "size of the preprocessing (Prepr.), the TensorFlow (TF) and the TF Lite model.",
        head=(
            (("", 1), ("", 1), ("", 1), ("TF Lite model", 2)),
            (("Quantity", 1), ("Prepr.", 1), ("TF model", 1), ("CPU", 1), ("phone", 1)),
        ),
        align="lrrrr",
        **stacked(blocks),
        notes=(
            "Published: CPU, a 2.3 GHz quad-core Intel Core i5 with 4 threads; phone, a Motorola "
            "moto e7 plus. The preprocessing's size is printed as 150.0 kb.",
            "* assumed: printed once, and for which column is our reading.",
            "FLOPs are counted here as multiply-adds, which the printed figure must be too.",
            *hardware,
            *marks.legend(own, shared=False),
            *marks.meant(own, ROUNDED),
        ),
    )


def _cost_rows(texts: Mapping[tuple[str, str], str], empty: str) -> list[list[str]]:
    """Rows of Table 5 in its order; of ours only those that hold anything."""
    rows = [
        [label, *(texts.get((quantity, column), empty) for column in STAGES)]
        for quantity, label in QUANTITIES.items()
    ]
    return [row for row in rows if set(row[1:]) != {empty}]


def _statistic(column: str, value: float) -> str:
    if pd.isna(value):
        return NONE
    decimals = corpora.DECIMALS[column]
    return f"{value:.{decimals}f}" if decimals else f"{value:,.0f}"


def _hyperparameter(name: str, cell: Mapping[str, Any] | None) -> str:
    if cell is None or pd.isna(cell["value"]):
        return NONE
    return f"{cell['value']:.1f}" if name == "chunk_length_s" else f"{cell['value']:g}"


def _cost(value: float) -> str:
    """One decimal, as printed; what that would round away, two digits."""
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"

"""Tables 3 and 4 of the paper as sheets: scores as published, with verdicts, and ours below."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dslite import cards
from dslite.paper import published, reproduction, verdicts
from dslite.paper import reproduction as paper_reproduction
from dslite.paper.published import HYPERPARAMETERS
from dslite.paper.typesetting import RAISED, Sheet, stacked
from dslite.training import runs as training_runs

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


def common_mark(numbers: pd.DataFrame) -> dict[str, str]:
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


REPRODUCTION = f"reproduction: DenseNet121, preset {verdicts.PRESET}"
AS_PUBLISHED, NONE = "as published", "–"
SCORES = {"devel": "Dev", "test": "Test", "interval": "CI on test"}
INTERVALS = (
    "Reproduced: each test result lies inside the other's interval; overlapping: only the "
    "intervals share values; contradicted: they share none. A Dev result is printed without an "
    "interval; it is reproduced if it lies inside ours, else contradicted."
)
LAID_OUT = (
    "Unweighted average recall (UAR) in percent on development (Dev) and test partition, with the "
    "95 % confidence interval (CI) on test. The best published test result of each corpus is bold."
)
BOOTSTRAP = (
    "A published CI spans the middle 95 % of 1,000 bootstrap draws of the test files with "
    "replacement; ours is drawn in the same way."
)
SUBSTITUTES = (
    "Rows headed “ours” are of another backbone, preset or setting than the paper's. They are "
    "shown for comparison, reproduce no published number and give none a verdict. Values are "
    "means over the seeds ± their standard deviation, the CI is that of the mean over the seeds."
)
NO_REPRODUCTION = (
    "There is no run of the paper's own backbone and preset, so no row is headed “reproduction”."
)


def table3(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Sheet:
    """Results on CCS, CSS, ESS and IEMOCAP in the paper's layout, ours below.

    Parameters
    ----------
    numbers : DataFrame
        Of `dslite.paper.reproduction.numbers`. What is ours in it, and nothing else, is headed as
        reproduction.
    substitutes : DataFrame
        Of `dslite.paper.reproduction.substitutes`; a block of rows for each group of runs.
    """
    return _results(3, "Results on the ComParE 2021 corpora and IEMOCAP", numbers, substitutes)


def table4(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Sheet:
    """Results on MPSSC, SLEEP, RAVDESS and DEMoS; parameters as of `table3`."""
    return _results(4, "Results on MPSSC, SLEEP, RAVDESS and DEMoS", numbers, substitutes)


def _results(n: int, title: str, numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Sheet:
    own, cells, names = of_table(numbers, n)
    common = common_mark(own)
    configurations = [c for c in own["configuration"].unique() if c]
    ours = own[own["reproduced"].notna() & own["column"].isin(["devel", "test"])]
    others = substitutes[substitutes["key"].isin(own["key"])]
    printed = _printed(n, cells, names, configurations, common)
    repeated = _measured(ours.assign(deviation=float("nan")), names)
    kinds = others.groupby(["label", "backbone", "preset", "overrides"], sort=False, dropna=False)
    heading = f"{REPRODUCTION}, {_seeds(ours['runs'].str.count(';') + 1)}"
    blocks = [(AS_PUBLISHED, printed), (heading, repeated)]
    blocks += [(_substitute(group), _measured(group, names)) for _, group in kinds]
    corpora = [(f"{name}{raised([common[d]])}", len(SCORES)) for d, name in names.items()]
    scores = [(score, 1) for _ in names for score in SCORES.values()]
    return Sheet(
        number=n,
        title=title,
        caption=LAID_OUT,
        head=((("", 1), *corpora), (("[UAR %]", 1), *scores)),
        align="l" + "r" * len(scores),
        bold=_best(n, cells, names, configurations),
        **stacked(blocks),
        notes=(
            "; ".join(f"{name}: {described()[dataset]}" for dataset, name in names.items()) + ".",
            _chance(n, cells, names, common),
            BOOTSTRAP,
            *_partition(names, [*ours["dataset"], *others["dataset"]]),
            *[NO_REPRODUCTION] * (not len(ours)),
            *[SUBSTITUTES] * bool(len(others)),
            *legend(own),
            *meant(own[own["configuration"] != ""], INTERVALS),
        ),
    )


def _printed(
    n: int,
    cells: Mapping[str, Any],
    names: Iterable[str],
    configurations: Iterable[str],
    common: Mapping[str, str],
) -> list[list[str]]:
    """The published rows of Table 3 or 4, each number with the letter of its own verdict."""
    rows = []
    for configuration in configurations:
        row = [training_runs.LABELS[configuration]]
        for dataset in names:
            key = f"{n}/{dataset}/{configuration}"
            for columns in (["devel"], ["test"], ["ci_low", "ci_high"]):
                of = [cells[f"{key}/{column}"] for column in columns]
                text = "–".join(f"{cell['value']:.1f}" for cell in of)
                row.append(text + raised([cell["verdict"] for cell in of], common[dataset]))
        rows.append(row)
    return rows


def _best(
    n: int, cells: Mapping[str, Any], names: Iterable[str], configurations: Sequence[str]
) -> frozenset[tuple[int, int]]:
    """Cells of the best published test result of each corpus; the published rows are first."""
    bold = set()
    for i, dataset in enumerate(names):
        tests = [cells[f"{n}/{dataset}/{c}/test"]["value"] for c in configurations]
        column = 1 + len(SCORES) * i + list(SCORES).index("test")
        bold |= {(row, column) for row, value in enumerate(tests) if value == max(tests)}
    return frozenset(bold)


def _measured(group: pd.DataFrame, names: Iterable[str]) -> list[list[str]]:
    """Rows of our runs, one a configuration that was run on any of the corpora."""
    found = {(r.dataset, r.configuration, r.column): r for r in group.itertuples()}
    rows = []
    for configuration in filter(set(group["configuration"]).__contains__, training_runs.LABELS):
        row = [training_runs.LABELS[configuration]]
        for dataset in names:
            devel, test = (found.get((dataset, configuration, c)) for c in ("devel", "test"))
            known = test is not None and pd.notna(test.reproduced_ci_low)
            interval = (
                f"{test.reproduced_ci_low:.1f}–{test.reproduced_ci_high:.1f}" if known else NONE
            )
            row += [_mean(devel), _mean(test), interval]
        rows.append(row)
    return rows


def _mean(score: Any) -> str:
    if score is None or pd.isna(score.reproduced):
        return NONE
    deviation = "" if pd.isna(score.deviation) else f" ± {score.deviation:.1f}"
    return f"{score.reproduced:.1f}{deviation}"


def _substitute(group: pd.DataFrame) -> str:
    """Heading of a substitute's rows: what it is, how many seeds, why it is no reproduction."""
    first = group.iloc[0]
    other = ["backbone"] * (first["backbone"] != verdicts.BACKBONE)
    other += ["preset"] * (first["preset"] != verdicts.PRESET)
    other += ["settings"] * bool(first["overrides"])
    reason = f"other {' and '.join(other)}" if other else "other weights"
    return f"ours: {first['label']}, {_seeds(group['seeds'])} ({reason}: no reproduction)"


def _seeds(counts: pd.Series) -> str:
    """How many seeds the rows of a block are means of."""
    fewest, most = counts.min(), counts.max()
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{number} seed{'s' if most > 1 else ''}"


def _partition(names: Mapping[str, str], measured: Iterable[str]) -> list[str]:
    """Notes on corpora whose partition the paper does not tell, where there are runs of them."""
    own = [names[d] for d in names if d in set(measured) & set(paper_reproduction.OWN_PARTITION)]
    text = "the published partition of its speakers is not known; our runs use one of our own."
    return [f"{name}: {text}" for name in own]


def _chance(
    n: int, cells: Mapping[str, Any], names: Mapping[str, str], common: Mapping[str, str]
) -> str:
    said = []
    for dataset, name in names.items():
        cell = cells[f"{n}/{dataset}/chance"]
        text = f"{name} {cell['value']:.1f}" + raised([cell["verdict"]], common[dataset])
        ours = f"{cell['reproduced']:.1f}"
        differs = pd.notna(cell["reproduced"]) and ours != f"{cell['value']:.1f}"
        said.append(text + (f" ({ours} by the classes of Table 1)" if differs else ""))
    return f"Chance level in UAR, as published, in percent: {', '.join(said)}."


def of_table(numbers: pd.DataFrame, n: int) -> tuple[pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Numbers of a table, the same by key, and its corpora's names in the printed order."""
    own = numbers[numbers["table"] == n]
    names = {dataset: cards.load(dataset).paper_column for dataset in own["dataset"].unique()}
    return own, own.set_index("key").to_dict("index"), names


def described() -> dict[str, str]:
    """What each corpus is, as Table 1 says."""
    return published.table(1).set_index("dataset")["name"].to_dict()


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
    common = common_mark(own)
    printed, counted = [], []
    for dataset, name in names.items():
        of = {column: cells[f"1/{dataset}/{column}"] for column in STATISTICS}
        letters = [raised([cell["verdict"]], common[dataset]) for cell in of.values()]
        texts = [_statistic(column, cell["value"]) for column, cell in of.items()]
        title = f"{name}{raised([common[dataset]])}: {described()[dataset]}"
        printed.append([title, *map(str.__add__, texts, letters)])
        if any(pd.notna(cell["reproduced"]) for cell in of.values()):
            counted.append([name, *(_statistic(c, cell["reproduced"]) for c, cell in of.items())])
    return Sheet(
        number=1,
        title="The eight corpora",
        caption="Number of files (#), classes (C.) and speakers (Sp.), total duration (Dur.) in "
        "minutes, mean and standard deviation of a file's duration in seconds.",
        head=((("Name", 1), *((title, 1) for title in STATISTICS.values())),),
        align="l" + "r" * len(STATISTICS),
        **stacked([(AS_PUBLISHED, printed), ("counted here", counted)]),
        notes=(*legend(own), *meant(own, ROUNDED)),
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
            row[-1] += raised([cell["verdict"]]) if cell else ""
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
            *legend(own, shared=False),
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
        ``data/paper/table5.csv``, ``reproduced`` in its units, ``hardware``.
    """
    own = numbers[numbers["table"] == 5]
    star = own["status"].map({"assumed": "*"}).fillna("")
    texts = own["value"].map(_cost) + star + own["verdict"].map(lambda v: raised([v]))
    printed = dict(zip(zip(own["configuration"], own["column"], strict=True), texts, strict=True))
    ours = own.assign(label="DenseNet121", quantity=own["configuration"])
    measured = ours if costs is None else pd.concat([ours, costs])
    measured = measured[measured["reproduced"].notna()]
    blocks: list[tuple[str, list[list[str]]]] = [(AS_PUBLISHED, _cost_rows(printed, ""))]
    for label, group in measured.groupby("label", sort=False):
        keys = zip(group["quantity"], group["column"], strict=True)
        found = dict(zip(keys, group["reproduced"].map(_cost), strict=True))
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
            *legend(own, shared=False),
            *meant(own, ROUNDED),
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
    decimals = reproduction.DECIMALS[column]
    return f"{value:.{decimals}f}" if decimals else f"{value:,.0f}"


def _hyperparameter(name: str, cell: Mapping[str, Any] | None) -> str:
    if cell is None or pd.isna(cell["value"]):
        return NONE
    return f"{cell['value']:.1f}" if name == "chunk_length_s" else f"{cell['value']:g}"


def _cost(value: float) -> str:
    """One decimal, as printed; what that would round away, two digits."""
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"

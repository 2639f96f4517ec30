"""Tables 3 and 4 of the paper as sheets: scores as published, with verdicts, and ours below."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dslite import cards
from dslite.paper import marks, published, verdicts
from dslite.paper import scores as paper_scores
from dslite.paper.typesetting import Sheet, stacked

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
    common = marks.common(own)
    configurations = [c for c in own["configuration"].unique() if c]
    ours = own[own["ours"].notna() & own["column"].isin(["devel", "test"])]
    others = substitutes[substitutes["key"].isin(own["key"])]
    printed = _printed(n, cells, names, configurations, common)
    repeated = _measured(ours.assign(deviation=float("nan")), names)
    kinds = others.groupby(["label", "backbone", "preset", "changed"], sort=False, dropna=False)
    heading = f"{REPRODUCTION}, {_seeds(ours['runs'].str.count(';') + 1)}"
    blocks = [(AS_PUBLISHED, printed), (heading, repeated)]
    blocks += [(_substitute(group), _measured(group, names)) for _, group in kinds]
    corpora = [(f"{name}{marks.raised([common[d]])}", len(SCORES)) for d, name in names.items()]
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
            *marks.legend(own),
            *marks.meant(own[own["configuration"] != ""], INTERVALS),
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
        row = [paper_scores.LABELS[configuration]]
        for dataset in names:
            key = f"{n}/{dataset}/{configuration}"
            for columns in (["devel"], ["test"], ["ci_low", "ci_high"]):
                of = [cells[f"{key}/{column}"] for column in columns]
                text = "–".join(f"{cell['value']:.1f}" for cell in of)
                row.append(text + marks.raised([cell["verdict"] for cell in of], common[dataset]))
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
    for configuration in filter(set(group["configuration"]).__contains__, paper_scores.LABELS):
        row = [paper_scores.LABELS[configuration]]
        for dataset in names:
            devel, test = (found.get((dataset, configuration, c)) for c in ("devel", "test"))
            known = test is not None and pd.notna(test.ours_low)
            interval = f"{test.ours_low:.1f}–{test.ours_high:.1f}" if known else NONE
            row += [_mean(devel), _mean(test), interval]
        rows.append(row)
    return rows


def _mean(score: Any) -> str:
    if score is None or pd.isna(score.ours):
        return NONE
    deviation = "" if pd.isna(score.deviation) else f" ± {score.deviation:.1f}"
    return f"{score.ours:.1f}{deviation}"


def _substitute(group: pd.DataFrame) -> str:
    """Heading of a substitute's rows: what it is, how many seeds, why it is no reproduction."""
    first = group.iloc[0]
    other = ["backbone"] * (first["backbone"] != verdicts.BACKBONE)
    other += ["preset"] * (first["preset"] != verdicts.PRESET)
    other += ["settings"] * bool(first["changed"])
    reason = f"other {' and '.join(other)}" if other else "other weights"
    return f"ours: {first['label']}, {_seeds(group['seeds'])} ({reason}: no reproduction)"


def _seeds(counts: pd.Series) -> str:
    """How many seeds the rows of a block are means of."""
    fewest, most = counts.min(), counts.max()
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{number} seed{'s' if most > 1 else ''}"


def _partition(names: Mapping[str, str], measured: Iterable[str]) -> list[str]:
    """Notes on corpora whose partition the paper does not tell, where there are runs of them."""
    own = [names[d] for d in names if d in set(measured) & set(paper_scores.OWN_PARTITION)]
    text = "the published partition of its speakers is not known; our runs use one of our own."
    return [f"{name}: {text}" for name in own]


def _chance(
    n: int, cells: Mapping[str, Any], names: Mapping[str, str], common: Mapping[str, str]
) -> str:
    said = []
    for dataset, name in names.items():
        cell = cells[f"{n}/{dataset}/chance"]
        text = f"{name} {cell['value']:.1f}" + marks.raised([cell["verdict"]], common[dataset])
        ours = f"{cell['ours']:.1f}"
        differs = pd.notna(cell["ours"]) and ours != f"{cell['value']:.1f}"
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

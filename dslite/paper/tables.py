"""Tables 1 to 5 of the paper: as published, with verdicts, and below them what was run here.

A `Sheet` is a table of texts; it is set in Markdown, LaTeX, HTML and CSV.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from dslite import cards
from dslite.paper import published
from dslite.paper.published import HYPERPARAMETERS
from dslite.paper.reproduction import COUNT_DECIMALS, OWN_PARTITION
from dslite.training.runs import LABELS

# Letters raised beside a number, as Unicode has them: a text of plain characters is readable in
# every format, and those that can set a real superscript do.
RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
LOWERED = {sign: letter for letter, sign in RAISED.items()}
SUPERSCRIPT = re.compile(f"[{''.join(LOWERED)}]+")
LETTERS = published.words("letter")
COMPARED = {published.REPRODUCED, published.OVERLAPPING, published.CONTRADICTED}
AS_PUBLISHED, NONE = "as published", "–"
REPRODUCTION = f"reproduction: DenseNet121, preset {published.PRESET}"
SCORES = {"devel": "Dev", "test": "Test", "interval": "CI on test"}
STATISTICS = {
    **{"files": "#", "classes": "C.", "speakers": "Sp.", "minutes": "Dur. [min.]"},
    **{"mean_s": "Mean dur. [s]", "std_s": "Std dur. [s]"},
}
QUANTITIES = {
    **{"mean_time": "Mean time [ms]", "flops": "FLOPs [G]", "parameters": "Parameters [M]"},
    **{"mean_memory": "Mean memory [MB]", "model_size": "Model size [MB]"},
}
STAGES = ("preprocessing", "tf_model", "tflite_cpu", "tflite_phone")
INTERVALS = (
    "Reproduced: each test result lies inside the other's interval; overlapping: only the "
    "intervals share values; contradicted: they share none. A Dev result is printed without an "
    "interval; it is reproduced if it lies inside ours, else contradicted."
)
RESULTS = (
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
ROUNDED = "Reproduced: equal after rounding to the printed decimals; contradicted: not equal."


@dataclass(frozen=True)
class Sheet:
    """A table of texts.

    Attributes
    ----------
    number : int
    title, caption : str
        What it is in a phrase without a full stop, and in sentences what a reader needs.
    head : tuple of tuple of str
        Of each column its texts in the rows of the header.
    blocks : tuple of (str, list of list of str)
        Parts of the table, one below the other: a heading (or none) and rows. A cell may hold
        letters of `RAISED`.
    notes : tuple of str
        Sentences below the table.
    bold : frozenset of (int, int)
        Row and column of cells in the first block.
    """

    number: int
    title: str
    caption: str
    head: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[str, list[list[str]]], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()

    @property
    def columns(self) -> list[str]:
        """Name of each column: what stands over it in all rows of the header."""
        return [" ".join(filter(None, texts)) for texts in self.head]

    @property
    def levels(self) -> list[list[tuple[str, int]]]:
        """Rows of the header: texts with the number of columns that they span."""
        rows = []
        for level in zip(*self.head, strict=True):
            spans = [(text, len(list(same))) for text, same in groupby(level)]
            rows.append(
                [part for text, n in spans for part in ([(text, n)] if text else [("", 1)] * n)]
            )
        return rows


# A sheet in every format


@cache
def environment() -> jinja2.Environment:
    """Return the templates of this package; what is filled into one is escaped."""
    loader = jinja2.PackageLoader("dslite.paper", "")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    templates.filters["raised"] = _superscripts
    return templates


def _superscripts(text: str) -> Markup:
    """Escape a text for HTML, its raised letters as ``<sup>``."""

    def lowered(match: re.Match) -> str:
        return f"<sup>{''.join(map(LOWERED.get, match[0]))}</sup>"

    return Markup(SUPERSCRIPT.sub(lowered, str(escape(text))))


def to_html(sheet: Sheet) -> str:
    """Set a table in HTML: a header for every cell, notes below, no styles."""
    return environment().get_template("table.html.j2").render(sheet=sheet)


def to_csv(sheet: Sheet) -> str:
    """Write the cells as CSV, with a first column ``group`` where the rows have headings."""
    frame = pd.DataFrame([row for _, rows in sheet.blocks for row in rows], columns=sheet.columns)
    groups = [heading for heading, rows in sheet.blocks for _ in rows]
    if any(groups):
        frame.insert(0, "group", groups)
    return frame.to_csv(index=False)


def to_markdown(sheet: Sheet) -> str:
    """Set a table in Markdown (GitHub's dialect), its caption above and its notes below."""
    width = len(sheet.columns)
    lines = [[_markdown(name) for name in sheet.columns], [":---", *["---:"] * (width - 1)]]
    for heading, rows in _marked(sheet, _markdown, "**{}**"):
        lines += [[f"*{heading}*", *[""] * (width - 1)]] if heading else []
        lines += rows
    parts = [f"**{_markdown(f'Table {sheet.number}. {sheet.title}.')}** {_markdown(sheet.caption)}"]
    parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    parts += ["\n".join(f"- {_markdown(note)}" for note in sheet.notes)] if sheet.notes else []
    return "\n\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    escaped = re.sub(r"([\\`*_|<>~$&#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("](", r"]\(")  # brackets alone are no link


def _marked(sheet: Sheet, escaped, strong: str) -> list[tuple[str, list[list[str]]]]:
    """Escape the blocks of a sheet; bold cells stand in ``strong``, a format."""
    blocks = []
    for heading, rows in sheet.blocks:
        bold = set() if blocks else sheet.bold
        cells = [
            [strong.format(escaped(t)) if (i, j) in bold else escaped(t) for j, t in enumerate(row)]
            for i, row in enumerate(rows)
        ]
        blocks.append((escaped(heading), cells))
    return blocks


LATEX = str.maketrans(
    {sign: rf"\textsuperscript{{{letter}}}" for sign, letter in LOWERED.items()}
    | {sign: rf"\{sign}" for sign in "{}$&%#_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
    | {"“": "``", "”": "''", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$"}
    # braces: after \\ or a rule, a bracket or an asterisk would be taken for an argument
    | {"[": "{[}", "]": "{]}", "*": "{*}"}
)
WIDE, CROWDED = 5, 9  # columns that still fit in one of a page's two, and on a page in \small


def to_latex(sheet: Sheet) -> str:
    r"""Set a table with ``booktabs``, as a float that other text can ``\input`` and ``\ref``.

    Its label is ``tab:dslite-<number>``. One of more than `WIDE` columns spans both columns of a
    page (``table*``), in a smaller type if it is broader still.
    """

    def tex(text: str) -> str:
        return text.translate(LATEX)

    width = len(sheet.columns)
    kind = "table*" if width > WIDE else "table"
    size = r"\footnotesize\setlength{\tabcolsep}{3pt}" if width > CROWDED else r"\small"
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; the file is UTF-8",
        *(rf"\begin{{{kind}}}", r"\centering"),
        rf"\caption[{tex(sheet.title)}]{{{tex(f'{sheet.title}. {sheet.caption}')}}}",
        *(rf"\label{{tab:dslite-{sheet.number}}}", size),
        *(rf"\begin{{tabular}}{{@{{}}l{'r' * (width - 1)}@{{}}}}", r"\toprule"),
    ]
    for level in sheet.levels:
        spanning = r"\multicolumn{{{}}}{{c}}{{{}}}"
        cells = [spanning.format(n, tex(text)) if n > 1 else tex(text) for text, n in level]
        lines.append(rf"{' & '.join(cells)} \\")
        ends = pd.Series([n for _, n in level]).cumsum()
        rules = [
            rf"\cmidrule(lr){{{e - n + 1}-{e}}}"
            for e, (_, n) in zip(ends, level, strict=True)
            if n > 1
        ]
        lines += [" ".join(rules)] if rules else []
    for heading, rows in _marked(sheet, tex, r"\textbf{{{}}}"):
        lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\emph{{{heading}}}}} \\")
        lines += [rf"{' & '.join(cells)} \\" for cells in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        notes = [rf"{tex(note)}\par" for note in sheet.notes]
        lines += ["", r"\smallskip", r"\parbox{\linewidth}{\raggedright", *notes, "}"]
    return "\n".join([*lines, rf"\end{{{kind}}}", ""])


# Verdicts as letters


def common_verdicts(numbers: pd.DataFrame) -> dict[str, str]:
    """Return each dataset's most frequent verdict; of equals the first in their order."""
    groups = numbers.groupby("dataset")["verdict"]
    return {dataset: max(published.ORDER, key=list(of).count) for dataset, of in groups}


def _letters(cell_verdicts: Iterable[str], shared: str = "") -> str:
    """Letters of a cell's verdicts in their order; none where all of them are the shared one."""
    unique = set(cell_verdicts)
    shown = [LETTERS[v] for v in published.ORDER if v in unique] if unique != {shared} else []
    return "".join(RAISED[letter] for letter in shown if letter)


def _legend(numbers: pd.DataFrame, shared: bool = True) -> list[str]:
    """Say what the letters mean; ``shared``: one may stand at a corpus's name."""
    used = [v for v in published.ORDER if LETTERS[v] and v in set(numbers["verdict"])]
    meanings = "; ".join(f"{RAISED[LETTERS[verdict]]} {verdict}" for verdict in used)
    whose = " A letter at a corpus's name holds for each of its published numbers that has none."
    return [f"Verdicts on the published numbers: {meanings}.{whose * shared}"] if used else []


def _rule(numbers: pd.DataFrame, rule: str) -> list[str]:
    """Say how published and ours are compared, where any of the numbers was."""
    return [rule] if COMPARED & set(numbers["verdict"]) else []


def _of_table(numbers: pd.DataFrame, n: int) -> tuple[pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Numbers of a table, the same by key, and its corpora's names in the printed order."""
    rows = numbers[numbers["table"] == n]
    names = {d: cards.load(d).paper_column for d in rows["dataset"].unique() if d}
    return rows, rows.set_index("key").to_dict("index"), names


def _titles() -> dict[str, str]:
    """What each corpus is, as Table 1 says."""
    return published.table(1).set_index("dataset")["name"].to_dict()


# The five tables


def all_tables(
    numbers: pd.DataFrame, substitutes: pd.DataFrame, costs: pd.DataFrame
) -> dict[int, Sheet]:
    """Return the five tables by their numbers.

    Parameters
    ----------
    numbers, substitutes : DataFrame
        Of `dslite.paper.reproduction`. What is reproduced in ``numbers``, and nothing else, is
        headed as reproduction; of ``substitutes`` there is a block of rows a group of runs.
    costs : DataFrame
        Measured of networks that are not the paper's, see `dslite.paper.costs.measurements`.
    """
    return {
        1: table1(numbers),
        2: table2(numbers),
        3: _results(3, "Results on the ComParE 2021 corpora and IEMOCAP", numbers, substitutes),
        4: _results(4, "Results on MPSSC, SLEEP, RAVDESS and DEMoS", numbers, substitutes),
        5: table5(numbers, costs),
    }


def table1(numbers: pd.DataFrame) -> Sheet:
    """Return the corpora: published statistics, below them those that were counted here."""
    rows, cells, names = _of_table(numbers, 1)
    common = common_verdicts(rows)
    printed, counted = [], []
    for dataset, name in names.items():
        of = {column: cells[f"1/{dataset}/{column}"] for column in STATISTICS}
        letters = [_letters([cell["verdict"]], common[dataset]) for cell in of.values()]
        texts = [_statistic(column, cell["value"]) for column, cell in of.items()]
        title = f"{name}{_letters([common[dataset]])}: {_titles()[dataset]}"
        printed.append([title, *map(str.__add__, texts, letters)])
        if any(pd.notna(cell["reproduced"]) for cell in of.values()):
            counted.append([name, *(_statistic(c, cell["reproduced"]) for c, cell in of.items())])
    return Sheet(
        number=1,
        title="The eight corpora",
        caption="Number of files (#), classes (C.) and speakers (Sp.), total duration (Dur.) in "
        "minutes, mean and standard deviation of a file's duration in seconds.",
        head=(("Name",), *((title,) for title in STATISTICS.values())),
        blocks=_blocks((AS_PUBLISHED, printed), ("counted here", counted)),
        notes=(*_legend(rows), *_rule(rows, ROUNDED)),
    )


def _blocks(*blocks: tuple[str, list[list[str]]]) -> tuple[tuple[str, list[list[str]]], ...]:
    """The blocks that have rows."""
    return tuple((heading, rows) for heading, rows in blocks if rows)


def _statistic(column: str, value: float) -> str:
    if pd.isna(value):
        return NONE
    decimals = COUNT_DECIMALS[column]
    return f"{value:.{decimals}f}" if decimals else f"{value:,.0f}"


def table2(numbers: pd.DataFrame) -> Sheet:
    """Return the hyperparameters as printed, ``*`` where a cell is assumed."""
    of_table, cells, names = _of_table(numbers, 2)
    rows = []
    for hyperparameter, label in HYPERPARAMETERS.items():
        row = [label]
        for dataset in names:
            cell = cells.get(f"2/{dataset}/{hyperparameter}")
            assumed = cell is None or cell["status"] == "assumed"
            row.append(_hyperparameter(hyperparameter, cell) + "*" * assumed)
            row[-1] += _letters([cell["verdict"]]) if cell else ""
        rows.append(row)
    return Sheet(
        number=2,
        title="Hyperparameters",
        caption="Configuration of the training for each corpus.",
        head=(("Hyperparameter",), *((name,) for name in names.values())),
        blocks=(("", rows),),
        notes=(
            "* assumed: the row is printed with seven values for eight columns, so that which "
            "value is whose, and which cell is empty (–), is our reading.",
            "A setting is taken over; there is nothing to be reproduced, so it has no verdict.",
            *_legend(of_table, shared=False),
        ),
    )


def _hyperparameter(name: str, cell: Mapping[str, Any] | None) -> str:
    if cell is None or pd.isna(cell["value"]):
        return NONE
    return f"{cell['value']:.1f}" if name == "chunk_length_s" else f"{cell['value']:g}"


def _results(n: int, title: str, numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Sheet:
    """Table 3 or 4 in the paper's layout, with verdicts; below, what was run here."""
    rows, cells, names = _of_table(numbers, n)
    common = common_verdicts(rows)
    configurations = [c for c in rows["configuration"].unique() if c]
    reproduced = rows[rows["reproduced"].notna() & rows["column"].isin(["devel", "test"])]
    others = substitutes[substitutes["key"].isin(rows["key"])]
    groups = others.groupby(["label", "backbone", "preset", "overrides"], sort=False, dropna=False)
    heading = f"{REPRODUCTION}, {_seeds(reproduced['runs'].str.count(';') + 1)}"
    corpora = [f"{name}{_letters([common[dataset]])}" for dataset, name in names.items()]
    tests = {d: [cells[f"{n}/{d}/{c}/test"]["value"] for c in configurations] for d in names}
    return Sheet(
        number=n,
        title=title,
        caption=RESULTS,
        head=(("", "[UAR %]"), *((c, score) for c in corpora for score in SCORES.values())),
        blocks=_blocks(
            (AS_PUBLISHED, _published_rows(n, cells, names, configurations, common)),
            (heading, _score_rows(reproduced.assign(deviation=float("nan")), names)),
            *((_substitute(group), _score_rows(group, names)) for _, group in groups),
        ),
        bold=frozenset(
            (row, 2 + len(SCORES) * i)
            for i, values in enumerate(tests.values())
            for row, value in enumerate(values)
            if value == max(values)
        ),
        notes=(
            "; ".join(f"{name}: {_titles()[dataset]}" for dataset, name in names.items()) + ".",
            _chance(n, cells, names, common),
            BOOTSTRAP,
            *_partitions(names, {*reproduced["dataset"], *others["dataset"]}),
            *[NO_REPRODUCTION] * (not len(reproduced)),
            *[SUBSTITUTES] * bool(len(others)),
            *_legend(rows),
            *_rule(rows[rows["configuration"] != ""], INTERVALS),
        ),
    )


def _published_rows(
    n: int,
    cells: Mapping[str, Any],
    names: Iterable[str],
    configurations: Sequence[str],
    common: Mapping[str, str],
) -> list[list[str]]:
    """The published rows of Table 3 or 4, each number with the letter of its own verdict."""
    rows = []
    for configuration in configurations:
        row = [LABELS[configuration]]
        for dataset in names:
            key = f"{n}/{dataset}/{configuration}"
            for columns in (["devel"], ["test"], ["ci_low", "ci_high"]):
                of = [cells[f"{key}/{column}"] for column in columns]
                text = "–".join(f"{cell['value']:.1f}" for cell in of)
                row.append(text + _letters([cell["verdict"] for cell in of], common[dataset]))
        rows.append(row)
    return rows


def _score_rows(group: pd.DataFrame, names: Iterable[str]) -> list[list[str]]:
    """Rows of our runs, one a configuration that was run on any of the corpora."""
    scores = {(r.dataset, r.configuration, r.column): r for r in group.itertuples()}
    rows = []
    for configuration in filter(set(group["configuration"]).__contains__, LABELS):
        row = [LABELS[configuration]]
        for dataset in names:
            devel, test = (scores.get((dataset, configuration, c)) for c in ("devel", "test"))
            interval = NONE
            if test is not None and pd.notna(test.reproduced_ci_low):
                interval = f"{test.reproduced_ci_low:.1f}–{test.reproduced_ci_high:.1f}"
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
    other = ["backbone"] * (first["backbone"] != published.BACKBONE)
    other += ["preset"] * (first["preset"] != published.PRESET)
    other += ["settings"] * bool(first["overrides"])
    reason = f"other {' and '.join(other)}" if other else "other weights"
    return f"ours: {first['label']}, {_seeds(group['seeds'])} ({reason}: no reproduction)"


def _seeds(counts: pd.Series) -> str:
    """How many seeds the rows of a block are means of."""
    fewest, most = counts.min(), counts.max()
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{number} seed{'s' if most > 1 else ''}"


def _partitions(names: Mapping[str, str], measured: set[str]) -> list[str]:
    """Notes on corpora whose partition the paper does not tell, where there are runs of them."""
    text = "the published partition of its speakers is not known; our runs use one of our own."
    return [f"{names[d]}: {text}" for d in names if d in measured & set(OWN_PARTITION)]


def _chance(
    n: int, cells: Mapping[str, Any], names: Mapping[str, str], common: Mapping[str, str]
) -> str:
    texts = []
    for dataset, name in names.items():
        cell = cells[f"{n}/{dataset}/chance"]
        text = f"{name} {cell['value']:.1f}" + _letters([cell["verdict"]], common[dataset])
        computed = f"{cell['reproduced']:.1f}"
        differs = pd.notna(cell["reproduced"]) and computed != f"{cell['value']:.1f}"
        texts.append(text + (f" ({computed} by the classes of Table 1)" if differs else ""))
    return f"Chance level in UAR, as published, in percent: {', '.join(texts)}."


def table5(numbers: pd.DataFrame, costs: pd.DataFrame) -> Sheet:
    """Return time, operations, parameters, memory and size: published, then measured here."""
    rows = _of_table(numbers, 5)[0]
    star = rows["status"].map({"assumed": "*"}).fillna("")
    texts = rows["value"].map(_cost) + star + rows["verdict"].map(lambda v: _letters([v]))
    printed = dict(zip(zip(rows["configuration"], rows["column"], strict=True), texts, strict=True))
    papers = rows.assign(label="DenseNet121", quantity=rows["configuration"])
    measured = pd.concat([papers, costs]) if len(costs) else papers
    measured = measured[measured["reproduced"].notna()]
    blocks = [(AS_PUBLISHED, _cost_rows(printed, ""))]
    for label, group in measured.groupby("label", sort=False):
        keys = zip(group["quantity"], group["column"], strict=True)
        values = dict(zip(keys, group["reproduced"].map(_cost), strict=True))
        blocks.append((f"ours: {label}", _cost_rows(values, NONE)))
    places = measured[measured["hardware"].fillna("") != ""]
    places = places.groupby("label", sort=False)["hardware"].unique()
    hardware = [f"Ours, {label}: {'; '.join(where)}." for label, where in places.items()]
    return Sheet(
        number=5,
        title="Computational performance",
        caption="Mean execution time of 50 runs, operations, parameters, mean requested memory and "
        "size of the preprocessing (Prepr.), the TensorFlow (TF) and the TF Lite model.",
        head=(
            *(("", "Quantity"), ("", "Prepr."), ("", "TF model")),
            *(("TF Lite model", "CPU"), ("TF Lite model", "phone")),
        ),
        blocks=_blocks(*blocks),
        notes=(
            "Published: CPU, a 2.3 GHz quad-core Intel Core i5 with 4 threads; phone, a Motorola "
            "moto e7 plus. The preprocessing's size is printed as 150.0 kb.",
            "* assumed: printed once, and for which column is our reading.",
            "FLOPs are counted here as multiply-adds, which the printed figure must be too.",
            *hardware,
            *_legend(rows, shared=False),
            *_rule(rows, ROUNDED),
        ),
    )


def _cost_rows(texts: Mapping[tuple[str, str], str], empty: str) -> list[list[str]]:
    """Rows of Table 5 in its order; of ours only those that hold anything."""
    rows = [
        [label, *(texts.get((quantity, column), empty) for column in STAGES)]
        for quantity, label in QUANTITIES.items()
    ]
    return [row for row in rows if set(row[1:]) != {empty}]


def _cost(value: float) -> str:
    """One decimal, as printed; what that would round away, two digits."""
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"

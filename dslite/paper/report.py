"""The report on the paper: every table, figure and page in ``results/paper``.

The page, ``report.html``, needs no other file and no network: styles, script and pictures stand in
it, and its Content-Security-Policy forbids everything else. Without the script nothing is missing.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from dslite import cards, paths, plots
from dslite.paper import (
    comparisons,
    consistency,
    costs,
    figures,
    published,
    reproduction,
    tables,
)
from dslite.paper.figures import PaperFigure
from dslite.paper.published import NAMES
from dslite.paper.tables import Sheet
from dslite.training.runs import LABELS, all_runs

FORMATS, DPI = (".svg", ".png", ".pdf"), 300  # of charts
README = "README.md"
READMES = (README, "results/ravdess/README.md")  # texts with a place for results
CSV = ("numbers", "substitutes", "findings", "claims", "means", "answers")


@dataclass(frozen=True)
class Material:
    """All tables that the report is made of, from the modules of this package."""

    runs: pd.DataFrame
    numbers: pd.DataFrame
    substitutes: pd.DataFrame
    findings: pd.DataFrame
    claims: pd.DataFrame
    means: pd.DataFrame
    answers: pd.DataFrame


def gather() -> Material:
    """Read the published tables and every finished run, and compare them."""
    runs, findings = all_runs(), consistency.findings()
    others = reproduction.substitutes(runs)
    corpora = figures.datasets(runs)
    predictions = [comparisons.predictions(name) for name in corpora]
    predictions = pd.concat([pd.DataFrame(columns=comparisons.COLUMNS), *predictions])
    predictions = predictions.reset_index(drop=True)
    return Material(
        runs=runs[runs["dataset"].isin(corpora)],
        numbers=reproduction.numbers(runs, findings, others),
        substitutes=others,
        findings=findings,
        claims=consistency.claims_checked(findings),
        means=comparisons.means(predictions),
        answers=comparisons.answers(predictions),
    )


def sheets(material: Material) -> dict[int, Sheet]:
    """Return Tables 1 to 5, published and ours."""
    measured = costs.measurements(set(material.runs["dataset"]))
    return tables.all_tables(material.numbers, material.substitutes, measured)


def headlines(material: Material) -> list[str]:
    """Say what came out, most important first."""
    sentences = [comparisons.count_verdicts(material.numbers)]
    for dataset, means in material.means.groupby("dataset", sort=False):
        sentences += comparisons.learning(means, 100 / len(cards.load(dataset).classes))
    for question in comparisons.QUESTIONS:
        if (material.answers["question"] == question).any():
            summary = comparisons.summarise(question, material.answers)
            sentences.append(f"{question} {summary}")
    sentences.append(consistency.counted(material.findings))
    return sentences + ([comparisons.cost(material.runs)] if len(material.runs) else [])


def facts(runs: pd.DataFrame) -> dict[str, str]:
    """Return what the runs were made with, for the end of the page."""
    if runs.empty:
        return {"Runs": "none"}
    dates = sorted(filter(None, runs["date"]))
    return {
        "Runs": f"{len(runs)}, {dates[0][:10]} to {dates[-1][:10]}" if dates else str(len(runs)),
        "Time": comparisons.cost(runs),
        "Commits": ", ".join(sorted({commit[:12] for commit in runs["commit"] if commit})),
        "Hardware": "; ".join(sorted(set(filter(None, runs["hardware"])))),
        "Made by": "make paper, from results/records and results/",
    }


def results(material: Material, everything: bool = True) -> dict[str, pd.DataFrame]:
    """Return scores of each corpus that we have runs of, and tested comparisons, as texts.

    If not ``everything``, then of each question only the comparisons on the most speakers.
    """
    parts: dict[str, pd.DataFrame] = {}
    printed = published.scores()
    for dataset, means in material.means.groupby("dataset", sort=False):
        of_corpus = printed[printed["dataset"] == dataset]
        title = f"{NAMES[dataset]}: mean ± deviation over seeds"
        parts[title] = comparisons.scores_table(means, of_corpus)
    answers = material.answers if everything else comparisons.deciding(material.answers)
    for question in comparisons.QUESTIONS:
        rows = answers[answers["question"] == question]
        if len(rows):
            parts[question] = comparisons.answers_table(rows)
    return parts


# Files


def write_results(material: Material, folder: Path | None = None) -> Path:
    """Write everything, into ``results/paper`` if no other folder is named.

    Returns
    -------
    Path
        Of ``report.html``, which is written last.
    """
    folder = folder or paths.results("paper")
    set_tables = sheets(material)
    for n, sheet in set_tables.items():
        _write(folder / f"table{n}.md", tables.to_markdown(sheet))
        _write(folder / f"table{n}.tex", tables.to_latex(sheet))
        _write(folder / f"table{n}.csv", tables.to_csv(sheet))
    for name in CSV:
        _write(folder / f"{name}.csv", getattr(material, name).to_csv(index=False))
    drawn = figures.figures(material.runs, material.numbers, material.substitutes, material.answers)
    pictures = [_saved(figure, folder / "figures") for figure in drawn]
    _write(folder / "report.html", html(material, set_tables, pictures))
    return folder / "report.html"


def _saved(figure: PaperFigure, folder: Path) -> PaperFigure:
    """Write a figure as SVG, PDF and PNG (a text as SVG alone); gives it with its SVG's text."""
    file = folder / f"{figure.stem}.svg"
    if isinstance(figure.figure, str):
        _write(file, figure.figure)
        return figure
    for suffix in FORMATS:
        with paths.replacing(file.with_suffix(suffix)) as draft:
            plots.save(figure.figure, draft, DPI)
    return replace(figure, figure=file.read_text(encoding="utf-8"))


def _write(file: Path, text: str) -> None:
    with paths.replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")


def readme_section(material: Material, name: str = README) -> str:
    """Write the results as one of `READMES` has them: of the project's, only what decides."""
    lines = headlines(material)
    lead = [lines[0], "", lines[-1]]
    return comparisons.section(lead, results(material, everything=name != README))


def update_readmes(material: Material) -> list[Path]:
    """Put the results into the project's texts that have a place for them."""
    files = [paths.ROOT / name for name in READMES]
    for name, file in zip(READMES, files, strict=True):
        section = readme_section(material, name)
        _write(file, comparisons.inserted(file.read_text(encoding="utf-8"), section, name))
    return files


# The page

TITLE = "DeepSpectrumLite: every published number beside its reproduction"
OUTCOMES = {  # of a claim or finding: symbol and kind of colour
    consistency.HOLDS: ("✓", "good"),
    consistency.FAILS: ("✗", "bad"),
    consistency.SETTING: ("·", "none"),
}
TABLES = {  # results before circumstances
    3: "UAR on CCS, CSS, ESS and IEMOCAP",
    4: "UAR on MPSSC, SLEEP, RAVDESS and DEMoS",
    5: "Cost on the device",
    1: "Corpora",
    2: "Hyperparameters",
}
WORDS = {  # of a configuration or quantity, and of a column
    **{"devel": "devel", "test": "test", "chance": "chance level"},
    **{"ci_low": "lower bound (test)", "ci_high": "upper bound (test)"},
    **{"minutes": "total minutes", "mean_s": "mean length", "std_s": "deviation of the length"},
    **{"tf_model": "TensorFlow", "tflite_cpu": "TFLite, CPU", "tflite_phone": "TFLite, phone"},
    **{"mean_time": "Mean time", "flops": "FLOPs", "parameters": "Parameters"},
    **{"mean_memory": "Mean memory", "model_size": "Model size", **LABELS},
}
SHARED = 3  # numbers of a corpus with the same remark


def html(material: Material, sheets: Mapping[int, Sheet], pictures: Sequence[PaperFigure]) -> str:
    """Write the page; the figures of ``pictures`` are texts of SVG files."""
    numbers = material.numbers
    lines, tables_of_texts, made_with = headlines(material), results(material), facts(material.runs)
    shown = {
        n: f"Table {n}: {title}" for n, title in TABLES.items() if (numbers["table"] == n).any()
    }
    parts = {
        "headlines": ("Findings", lines, {}),
        "verdicts": ("Verdicts", True, {}),
        "results": ("Scores and tested differences", tables_of_texts, {}),
        "numbers": ("Number by number", True, {f"numbers-{n}": f"Table {n}" for n in shown}),
        "contradictions": ("The paper against itself", len(material.findings), {}),
        "claims": ("Claims of the text", len(material.claims), {}),
        "tables": ("Tables 1 to 5", sheets, {f"table-{n}": f"Table {n}" for n in sheets}),
        "figures": ("Figures", pictures, {f"figure-{slug(p.stem)}": p.title for p in pictures}),
        "facts": ("How this was made", made_with, {}),
    }
    symbols, kinds = published.words("symbol"), published.words("kind")
    symbols = {v: (symbols[v], kinds[v]) for v in published.ORDER} | OUTCOMES
    style, script = (
        resources.files("dslite.paper").joinpath(f"report.{kind}").read_text("utf-8")
        for kind in ("css", "js")
    )
    templates = tables.environment()
    templates.filters |= {"slug": slug, "target": target, "corpus": corpus, "duration": duration}
    templates.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return templates.get_template("report.html.j2").render(
        title=TITLE,
        contents={anchor: (title, below) for anchor, (title, any_, below) in parts.items() if any_},
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **{"style": Markup(style), "script": Markup(script), "symbols": symbols},
        **{"headlines": lines, "results": tables_of_texts, "facts": made_with},
        **{"summary": reproduction.summary(numbers), "meanings": published.words("meaning")},
        filters=_filters(numbers),
        numbers=[_table(n, title, numbers, material.substitutes) for n, title in shown.items()],
        findings=_findings(material.findings, set(numbers["key"])),
        claims=material.claims.to_dict("records"),
        sheets={n: tables.to_html(sheet) for n, sheet in sheets.items()},
        pictures=pictures,
    )


def slug(value: object) -> str:
    """Return a text as the value of an ``id``: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")


def target(key: str) -> str:
    """Return the ``id`` of a published number's row."""
    return f"n-{slug(key)}"


def corpus(dataset: str) -> str:
    """Return a corpus's name as the paper writes it."""
    return NAMES.get(dataset, dataset.upper())


def duration(seconds: float) -> str:
    """Return seconds as a reader says them: ``2 h 13 min``, ``4 min 5 s``, ``12 s``."""
    whole = round(float(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def plain(value: float, unit: str = "", like: float | None = None) -> str:
    """Return a number for a table: per cent with one decimal, else as short as it is exact.

    A measured value (``like`` is the published one) has four significant digits unless it is whole.
    """
    if pd.isna(value):
        return ""
    if unit == "%":
        return f"{value:.1f}"
    if like is None or float(value).is_integer():
        return np.format_float_positional(float(value), trim="-")
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def _filters(numbers: pd.DataFrame) -> dict[str, tuple[str, dict[str, str]]]:
    """For each filter its label and what can be chosen: value of the attribute -> words."""
    judged, datasets = set(numbers["verdict"]), sorted(set(numbers["dataset"]) - {""})
    return {
        "verdict": ("Verdict", {slug(v): v for v in published.ORDER if v in judged}),
        "table": ("Table", {str(n): f"Table {n}" for n in sorted(set(numbers["table"]))}),
        "corpus": ("Corpus", {slug(name): corpus(name) for name in datasets}),
    }


def _table(n: int, title: str, numbers: pd.DataFrame, substitutes: pd.DataFrame) -> dict[str, Any]:
    """One of the paper's tables, number by number."""
    rows = numbers[numbers["table"] == n]
    others = dict(list(substitutes.groupby("key")))
    # In their order, but all numbers of one row of the paper's table together.
    ordered = rows.sort_values("configuration", key=lambda c: pd.factorize(c)[0], kind="stable")
    bodies = []
    for dataset, group in ordered.groupby("dataset", sort=False):
        verdict, remark = _common(group) if dataset else ("", "")
        cells = [_number(row, others.get(row["key"]), remark) for row in group.to_dict("records")]
        bodies.append({"dataset": dataset, "verdict": verdict, "remark": remark, "rows": cells})
    return {"n": n, "title": title, "size": len(rows), "open": n in (3, 4, 5), "bodies": bodies}


def _common(numbers: pd.DataFrame) -> tuple[str, str]:
    """Verdict and remark that so many of a corpus's numbers share that they are said once."""
    counts = numbers.loc[numbers["remark"] != "", ["verdict", "remark"]].value_counts()
    return counts.index[0] if len(counts) and counts.iloc[0] >= SHARED else ("", "")


def _number(number: dict[str, Any], others: pd.DataFrame | None, common: str) -> dict[str, Any]:
    """One number with the texts of its cells; its remark is empty where it is the common one."""
    unit = "" if number["unit"] == number["column"] else number["unit"]  # 725 files of files
    value, ours = number["value"], number["reproduced"]
    words = [number["configuration"], number["column"]]
    quantity = ", ".join(WORDS.get(word, word.replace("_", " ")) for word in words if word)
    # Of two decimal fractions; what their binary forms differ by is not to be read.
    difference = "" if pd.isna(ours) else plain(round(abs(ours - value), 10), number["unit"], value)
    if difference:
        sign = "+" if ours > value else "−"
        difference = sign + difference if float(difference) else "0"
    substitutes, span = [], ""
    if others is not None:
        substitutes = [_substitute(one) for one in others.to_dict("records")]
        low, high = (plain(bound, "%") for bound in others["reproduced"].agg(["min", "max"]))
        span = (low if low == high else f"{low} to {high}") if pd.isna(ours) else ""
    bounds = number["reproduced_ci_low"], number["reproduced_ci_high"]
    return {
        "number": number,
        "quantity": quantity[:1].upper() + quantity[1:],
        "published": f"{plain(value, unit)} {unit}".strip(),
        "published_interval": _interval(number["low"], number["high"], unit),
        "reproduced": "–" if pd.isna(ours) else f"{plain(ours, unit, value)} {unit}".strip(),
        "reproduced_interval": _interval(*bounds, unit, value),
        "difference": difference,
        "span": span,
        "remark": "" if number["remark"] == common else number["remark"],
        "others": substitutes,
    }


def _interval(low: float, high: float, unit: str, like: float | None = None) -> str:
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"{plain(low, unit, like)} to {plain(high, unit, like)}"


def _substitute(one: dict[str, Any]) -> dict[str, Any]:
    """One substitute with its score as a text, and what else is said of it."""
    interval = _interval(one["reproduced_ci_low"], one["reproduced_ci_high"], "%")
    score = f"{plain(one['reproduced'], '%')} %" + (f" ({interval})" if interval else "")
    details = [f"{one['seeds']} seed{'s' if one['seeds'] != 1 else ''}"]
    if one["seeds"] > 1 and not pd.isna(one["deviation"]):
        details.append(f"deviation {one['deviation']:.1f}")
    details += [one[name] for name in ("agreement", "overrides", "remark")]
    return one | {"score": score, "details": details}


def _findings(findings: pd.DataFrame, keys: set[str]) -> list[dict[str, Any]]:
    """Findings with links to the numbers that they concern: key -> words."""
    rows = findings.to_dict("records")
    for row in rows:
        concerned = [key for key in row["keys"].split(";") if key in keys]
        row["links"] = {key: _in_words(key) for key in concerned}
    return rows


def _in_words(key: str) -> str:
    """A number's key as a reader says it: ``Table 3, CCS, none, test``."""
    table, first, *rest = key.split("/")
    return ", ".join([f"Table {table}", first if table == "5" else corpus(first), *rest])

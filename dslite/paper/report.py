"""The report on the paper: every table, figure and page in ``results/paper``.

The page, ``report.html``, needs no other file and no network, and its Content-Security-Policy
forbids everything else.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup

from dslite import cards, paths, plots
from dslite.paper import comparisons, figures, published, reproduction, sentences, tables
from dslite.paper.comparisons import WHERE, network
from dslite.paper.figures import PaperFigure
from dslite.paper.published import NAMES
from dslite.paper.reproduction import COUNT_DECIMALS
from dslite.paper.tables import Sheet
from dslite.provenance import duration_in_words
from dslite.studies import to_markdown
from dslite.training.runs import LABELS, all_runs

README = "README.md"
IN_README = 6  # headlines
READMES = (README, "results/ravdess/README.md")  # texts with a place for results
TABLES = (3, 4, 5, 1, 2)  # results before circumstances
CSV = ("numbers", "substitutes", "findings", "claims", "means", "answers")
MEANS = [*WHERE, "configuration", "seeds", "files", "speakers", "test", "deviation"]
# Letters stay letters, in a font that every system has or measures alike
RECIPES = "paper: the paper's method, repaired: at a rate that learns, tuned: ours"  # in titles
SVG = {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans", "Verdana"]}
UNRUN = {published.RESTRICTED, published.WEIGHTS, published.NOT_RUN}


@dataclass(frozen=True)
class Material:
    """All tables that the report is made of, from the modules of this package."""

    runs: pd.DataFrame
    numbers: pd.DataFrame
    substitutes: pd.DataFrame
    findings: pd.DataFrame
    claims: pd.DataFrame
    answers: pd.DataFrame
    scores: pd.DataFrame

    @property
    def means(self) -> pd.DataFrame:
        """``scores`` of those whose files are known, in the order of the runs."""
        return self.scores.loc[self.scores["files"] > 0, MEANS].sort_index()


def gather() -> Material:
    """Read the published tables and every finished run, and compare them."""
    runs, findings = all_runs(), published.findings()
    others, corpora = reproduction.substitutes(runs), figures.datasets(runs)
    predictions = [comparisons.predictions(name) for name in corpora]
    nothing = pd.DataFrame(columns=comparisons.COLUMNS)
    predictions = pd.concat(predictions or [nothing], ignore_index=True)
    papers = runs[runs["dataset"].isin(corpora)]
    return Material(
        runs=papers,
        numbers=reproduction.numbers(runs, findings),
        substitutes=others,
        findings=findings,
        claims=published.claims_checked(findings),
        answers=comparisons.answers(predictions),
        scores=tables.scores(papers, predictions),
    )


def sheets(material: Material) -> dict[str, Sheet]:
    """Return Tables 1 to 5, published and ours, by their names."""
    runs = material.runs
    measured = reproduction.measurements(reproduction.best_measured(runs))
    titles = [f"{network(r)}, {LABELS[r['configuration']]}" for r in runs.to_dict("records")]
    names = dict(zip(runs["dataset"] + "/" + runs["run"], titles, strict=True))
    measured["label"] = measured["label"].replace(names)
    return tables.all_tables(material.numbers, material.scores, measured)


def headlines(material: Material) -> list[str]:
    """Say in a few paragraphs what came out, for everybody first; `dslite.paper.sentences`."""
    numbers, scores, answers = material.numbers, material.scores, material.answers
    questions = (*comparisons.BETWEEN, comparisons.AUGMENTATION)
    return [
        *(sentences.in_short(numbers, scores), sentences.verdicts(numbers)),
        *sentences.choice(scores),
        *(
            f"{question} {comparisons.summarise(question, answers)}"
            for question in questions
            if question in set(answers["question"])
        ),
        *sentences.training(material.runs),
        published.counted(material.findings),
    ]


def recipes(material: Material) -> dict[str, pd.DataFrame]:
    """Lay the settings that differ between a corpus's presets beside each other, as texts."""
    parts = {}
    for dataset in figures.datasets(material.runs):
        card = cards.load(dataset)
        presets = {name: cards.settings_of(card, name).model_dump() for name in card.presets}
        table = pd.DataFrame(presets).map(lambda value: "none" if value is None else str(value))
        order = sorted(card.presets, key=tables.recipe_order)
        table = table[table.nunique(axis=1) > 1][order]
        parts[NAMES[dataset]] = table.rename_axis("setting").reset_index()
    return parts


def scores(material: Material) -> dict[str, pd.DataFrame]:
    """Return the scores of each corpus that we have runs of, as texts."""
    printed = published.scores().groupby("dataset")
    means = material.means.groupby("dataset", sort=False)
    title = f"{{}}: mean ± deviation over seeds; {RECIPES}".format
    return {title(NAMES[d]): tables.scores_table(of, printed.get_group(d)) for d, of in means}


def results(material: Material) -> dict[str, pd.DataFrame]:
    """Return the scores and the tested comparisons of each question, as texts."""
    shown, answers = scores(material), material.answers
    for question in comparisons.QUESTIONS:
        rows, title = answers[answers["question"] == question], question
        if rows.empty:
            continue
        if question in (comparisons.FINE_TUNING, comparisons.ACOUSTICS):  # else five alike each
            rows = rows[rows["this"] == comparisons.NONE]
            title += " Without augmentation"
        shown |= {title: comparisons.answers_table(rows)} if len(rows) else {}
    return shown


# Files


def write_results(material: Material, folder: Path | None = None) -> Path:
    """Write everything into ``results/paper``, the page last; gives the path of the page."""
    folder, set_tables = folder or paths.results("paper"), sheets(material)
    for name, sheet in set_tables.items():
        paths.write(folder / f"table{name}.md", tables.to_markdown(sheet))
        paths.write(folder / f"table{name}.tex", tables.to_latex(sheet))
        paths.write(folder / f"table{name}.csv", tables.to_csv(sheet))
    for name in CSV:
        paths.write(folder / f"{name}.csv", getattr(material, name).to_csv(index=False))
    of = material.runs, material.numbers, material.scores, material.answers
    pictures = [_saved(figure, folder / "figures") for figure in figures.figures(*of)]
    paths.write(folder / "report.html", html(material, set_tables, pictures))
    return folder / "report.html"


def _saved(figure: PaperFigure, folder: Path) -> PaperFigure:
    """Write a figure as SVG or PNG; gives it with its file's content."""
    drawn = figure.figure
    file = folder / f"{figure.stem}.{'png' if isinstance(drawn, bytes) else 'svg'}"
    with paths.replacing(file) as draft, mpl.rc_context(SVG):
        if isinstance(drawn, str | bytes):
            draft.write_bytes(drawn.encode() if isinstance(drawn, str) else drawn)
        else:
            plots.save(drawn, draft)
    return replace(figure, figure=file.read_bytes())


def readme_section(material: Material, name: str = README) -> str:
    """Write the results as one of `READMES` has them: of the project's, the most important."""
    first, *texts = [*headlines(material), sentences.cost(material.runs)]
    lead = [f"- {line}" for line in texts[: IN_README - 1 if name == README else None]]
    lead += [f"- {comparisons.READING}"] * (name != README)
    parts = (scores if name == README else results)(material)
    shown = [f"\n**{title}**\n\n{to_markdown(table)}" for title, table in parts.items()]
    return "\n".join([comparisons.BEGIN, f"{first}\n", *lead, *shown, comparisons.END])


def update_readmes(material: Material) -> list[Path]:
    """Put the results into the project's texts that have a place for them."""
    for name in READMES:
        text = (paths.ROOT / name).read_text(encoding="utf-8")
        section = readme_section(material, name)
        paths.write(paths.ROOT / name, comparisons.inserted(text, section, name))
    return [paths.ROOT / name for name in READMES]


# The page


def html(material: Material, sheets: Mapping[str, Sheet], pictures: Sequence[PaperFigure]) -> str:
    """Write the page; the figures of ``pictures`` are contents of SVG and PNG files."""
    numbers = material.numbers
    symbols, kinds = published.words("symbol"), published.words("kind")
    style, script = (
        resources.files("dslite.paper").joinpath(f"report.{kind}").read_text("utf-8")
        for kind in ("css", "js")
    )
    filters = {
        "verdict": {slug(v): v for v in published.ORDER if v in set(numbers["verdict"])},
        "table": {str(n): f"Table {n}" for n in sorted(set(numbers["table"]))},
        "corpus": {name: NAMES[name] for name in sorted(set(numbers["dataset"]) - {""})},
    }
    templates = tables.environment()
    templates.filters |= {"slug": slug, "target": target, "words": _in_words}
    templates.filters |= {"data": _data, "duration": duration_in_words}
    return templates.get_template("report.html.j2").render(
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **{"style": Markup(style), "script": Markup(script), "names": NAMES, "filters": filters},
        **{"headlines": headlines(material), "results": results(material)},
        reading=comparisons.READING,
        **{"recipes": recipes(material), "titles": tables.words("report")["titles"]},
        **{"summary": reproduction.summary(numbers), "meanings": published.words("meaning")},
        **{"pictures": pictures, "runs": material.runs, "keys": set(numbers["key"])},
        symbols={v: (symbols[v], kinds[v]) for v in published.ORDER},
        numbers={n: _corpora(numbers[numbers["table"] == n], material.substitutes) for n in TABLES},
        findings=material.findings.to_dict("records"),
        claims=material.claims.to_dict("records"),
        sheets={name: tables.to_html(sheet) for name, sheet in sheets.items()},
        cost=sentences.cost(material.runs) if len(material.runs) else "no runs",
    )


def slug(value: object) -> str:
    """Return a text as the value of an ``id``: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")


def target(key: str) -> str:
    """Return the ``id`` of a published number's row."""
    return f"n-{slug(key)}"


def _data(content: bytes) -> str:
    """A picture as an address of its own."""
    kind = "png" if content.startswith(b"\x89PNG") else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _in_words(key: str) -> str:
    """A number's key as a reader says it: ``Table 3, CCS, none, test``."""
    table, first, *rest = key.split("/")
    return ", ".join([f"Table {table}", NAMES.get(first, first), *rest])


def _corpora(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The numbers of one of the paper's tables by corpus, with those that stand in for them.

    A corpus of which nothing was run has a ``reason``: most of its numbers' verdict and remark.
    """
    others = {key: of.to_dict("records") for key, of in substitutes.groupby("key")}
    # In their order, but all numbers of one row of the paper's table together.
    numbers = numbers.sort_values("configuration", key=lambda c: pd.factorize(c)[0], kind="stable")
    corpora = {}
    for dataset, group in numbers.groupby("dataset", sort=False):
        rows = [_number(row, others.get(row["key"], [])) for row in group.to_dict("records")]
        unrun = group["verdict"].isin(UNRUN)
        most = group.loc[unrun, ["verdict", "remark"]].value_counts()
        ran = not dataset or group["key"].isin(others).any() or unrun.mean() < 0.5
        corpora[dataset] = {"rows": rows, "reason": () if ran else most.index[0]}
    return corpora


def _number(number: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """A number with its texts, to as many decimals as are printed."""
    decimals = COUNT_DECIMALS.get(number["column"], 1)
    decimals = 4 if number["key"] == "5/model_size/preprocessing" else decimals
    digits = "g" if number["table"] == 2 else f",.{decimals}f"
    unit = "" if number["unit"] == number["column"] else number["unit"]  # 725 files of files

    def shown(*values: float) -> str:
        return "" if pd.isna(values[0]) else " to ".join(f"{value:{digits}}" for value in values)

    value, ours = number["value"], number["reproduced"]
    difference = shown(ours - value) if number["table"] != 2 else ""
    difference = "0" if difference and not float(difference.replace(",", "")) else difference
    words = tables.words("report")["words"] | LABELS
    parts = filter(None, [number["configuration"], number["column"]])
    quantity = ", ".join(words.get(part, part.replace("_", " ")) for part in parts)
    reason = "printed once for two columns" if number["table"] == 5 else "see Table 2"
    return number | {
        "quantity": quantity[:1].upper() + quantity[1:],
        "printed": f"{shown(value)} {unit}".strip(),
        "printed_span": shown(number["low"], number["high"]),
        "ours": f"{shown(ours)} {unit}".strip() if shown(ours) else "–",
        "ours_span": shown(number["reproduced_ci_low"], number["reproduced_ci_high"]),
        "difference": difference.replace("-", "−") if difference[:1] in "-0" else f"+{difference}",
        "assumed": f"assumed: {reason}" if number["status"] == published.ASSUMED else "",
        "varies": f"({number['half_widths']})" if number["half_widths"] else "",
        "others": others,
    }

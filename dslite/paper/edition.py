"""The paper beside its reproduction: everything in ``results/paper``, made from finished runs.

Only tables are read (scores, predictions, histories, profiles), the user's own and those of
``results/records``, so it takes no corpus, no model and no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dslite import cards, paths, plots
from dslite.paper import (
    comparisons,
    conclusions,
    consistency,
    costs,
    figures,
    gallery,
    published,
    report,
    reproduction,
    scores,
    typesetting,
)
from dslite.paper import tables as paper_tables
from dslite.paper.gallery import Drawn
from dslite.paper.page_pictures import Picture
from dslite.paper.typesetting import Sheet

DPI = 300
FOLDER, RUN = "paper", "ours_run"
README = "README.md"
READMES = (README, "results/ravdess/README.md")  # texts with a place for results


@dataclass(frozen=True)
class Material:
    """All tables that the report is made of."""

    runs: pd.DataFrame
    numbers: pd.DataFrame
    substitutes: pd.DataFrame
    findings: pd.DataFrame
    claims: pd.DataFrame
    means: pd.DataFrame
    answers: pd.DataFrame


def gather() -> Material:
    """Read the published tables and every finished run, and ask what there is to be asked."""
    found, findings = scores.runs(), consistency.findings()
    beside = reproduction.substitutes(found=found)
    known = figures.datasets(found)
    tested = [comparisons.predictions(name) for name in known]
    predicted = pd.concat([pd.DataFrame(columns=comparisons.COLUMNS), *tested], ignore_index=True)
    return Material(
        runs=found[found["dataset"].isin(known)],
        numbers=reproduction.numbers(findings, beside),
        substitutes=beside,
        findings=findings,
        claims=consistency.claims_checked(),
        means=comparisons.means(predicted),
        answers=comparisons.answers(predicted),
    )


def tables(material: Material) -> dict[int, Sheet]:
    """The five tables, published and ours."""
    known = material.runs["dataset"].unique()
    return paper_tables.of_paper(material.numbers, material.substitutes, _costs(known))


def _costs(datasets: Sequence[str]) -> pd.DataFrame | None:
    """Table 5's quantities of these corpora's networks that are not the paper's, a row each."""
    beside = costs.beside_table5()
    beside = beside[beside[RUN].str.partition("/")[0].isin(datasets)]
    own = [column for column in beside.columns if column.startswith("ours_") and column != RUN]
    if beside[own].isna().all(axis=None):
        return None
    beside = beside[~beside["remark"].str.contains("random weights")]
    shown = ["quantity", RUN, "hardware"]
    long = beside.melt(shown, own, var_name="column", value_name="ours").dropna(subset=["ours"])
    long = long.assign(column=long["column"].str.removeprefix("ours_"))
    return long.rename(columns={RUN: "label"})


def headlines(material: Material) -> list[str]:
    """The findings in sentences, most important first."""
    said = [conclusions.counted(material.numbers)]
    for dataset in material.means["dataset"].unique():
        own = material.means[material.means["dataset"] == dataset]
        chance = 100 / len(cards.load(dataset).classes)
        said += conclusions.learnt(own, chance, reproduction.TITLES)
    for question in comparisons.QUESTIONS:
        if len(material.answers) and (material.answers["question"] == question).any():
            said.append(f"{question} {conclusions.verdict_of(question, material.answers)}")
    failed = material.findings[~material.findings["holds"].astype(bool)]
    said.append(f"The paper contradicts itself in {len(failed)} places; they are listed below.")
    if len(material.runs):
        said.append(conclusions.cost(material.runs))
    return said


def facts_of(found: pd.DataFrame) -> dict[str, str]:
    """What the runs were made with, for the end of the page."""
    if found.empty:
        return {"Runs": "none"}
    dates = sorted(filter(None, found["date"]))
    return {
        "Runs": f"{len(found)}, {dates[0][:10]} to {dates[-1][:10]}" if dates else str(len(found)),
        "Time": conclusions.cost(found),
        "Commits": ", ".join(sorted({commit[:12] for commit in found["commit"] if commit})),
        "Hardware": "; ".join(sorted(set(filter(None, found["hardware"])))),
        "Made by": "make paper, from results/records and results/",
    }


def results_of(material: Material, everything: bool = True) -> dict[str, pd.DataFrame]:
    """Scores of each corpus that we have runs of, and the tested comparisons, as tables of texts.

    If not ``everything``, then of each question only the comparisons on the most speakers.
    """
    parts: dict[str, pd.DataFrame] = {}
    for dataset in material.means["dataset"].unique():
        own = material.means[material.means["dataset"] == dataset]
        printed = published.scores()
        printed = printed[printed["dataset"] == dataset]
        title = f"{published.NAMES[dataset]}: mean ± deviation over seeds"
        parts[title] = conclusions.scores(own, printed, reproduction.TITLES)
    asked = material.answers
    if not everything and len(asked):
        asked = conclusions.deciding(asked)
    for question in comparisons.QUESTIONS:
        rows = asked[asked["question"] == question] if len(asked) else asked
        if len(rows):
            parts[question] = conclusions.answered(rows, reproduction.TITLES)
    return parts


def readme_section(material: Material, name: str = README) -> str:
    """The results as `READMES` have them: of the project's, only what decides."""
    said = headlines(material)
    lead = [said[0], "", said[-1]]
    return conclusions.section(lead, results_of(material, everything=name != README))


def write(material: Material, place: Path | None = None) -> Path:
    """Make everything anew, in ``results/paper`` if no other place is named.

    Returns
    -------
    Path
        Of ``report.html``, which is written last.
    """
    place = place or paths.results(FOLDER)
    made = tables(material)
    for n, sheet in made.items():
        texts = {"md": typesetting.to_markdown(sheet), "tex": typesetting.to_latex(sheet)}
        texts["csv"] = typesetting.to_csv_frame(sheet).to_csv(index=False)
        for suffix, text in texts.items():
            _write(place / f"table{n}.{suffix}", text)
    for name in ("numbers", "substitutes", "findings", "claims", "means", "answers"):
        _write(place / f"{name}.csv", getattr(material, name).to_csv(index=False))
    drawn = gallery.figures(material.runs, material.numbers, material.substitutes, material.answers)
    pictures = [_picture(one, place / "figures") for one in drawn]
    summary = reproduction.summary(material.numbers)
    edition = report.Edition(
        material.numbers,
        material.substitutes,
        material.findings,
        material.claims,
        summary.T,
        {n: typesetting.to_html(sheet) for n, sheet in made.items()},
        results_of(material),
        pictures,
        headlines(material),
        facts_of(material.runs),
    )
    return report.write(edition, place / "report.html")


def _picture(drawn: Drawn, folder: Path) -> Picture:
    """A figure as SVG, PDF and PNG in the folder, and as a part of the page."""
    file = folder / f"{drawn.stem}.svg"
    if isinstance(drawn.figure, str):
        _write(file, drawn.figure)
    else:
        for suffix in (".svg", ".png", ".pdf"):
            with paths.replacing(file.with_suffix(suffix)) as draft:
                plots.save(drawn.figure, draft, DPI)
    svg = file.read_text(encoding="utf-8")
    return Picture(drawn.stem, drawn.title, drawn.caption, drawn.alt, svg)


def _write(file: Path, text: str) -> None:
    with paths.replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")


def update_readmes(material: Material) -> list[Path]:
    """Put the results into the project's texts that have a place for them."""
    files = [paths.ROOT / name for name in READMES]
    for name, file in zip(READMES, files, strict=True):
        made = readme_section(material, name)
        _write(file, conclusions.inserted(file.read_text(encoding="utf-8"), made, name))
    return files

"""The paper beside its reproduction as one HTML file: verdicts first, and where they come from.

The file needs no other one and no network: styles, script and pictures stand in it, and its
Content-Security-Policy forbids everything else. Without the script nothing is missing.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd

from dslite import cards, paths, plots
from dslite.paper import (
    comparisons,
    consistency,
    costs,
    figures,
    published,
    reproduction,
    typesetting,
)
from dslite.paper import page as paper_page
from dslite.paper import tables as paper_tables
from dslite.paper.figures import Drawn
from dslite.paper.page import (
    MEANINGS,
    Picture,
    badge,
    corpus,
    pairs,
    region,
    row,
    section,
    slug,
    target,
    words,
)
from dslite.paper.typesetting import Sheet
from dslite.training import runs as training_runs

TITLE = "DeepSpectrumLite: every published number beside its reproduction"
PAPER = (  # as text: the page refers to nothing outside of it
    "S. Amiriparian, T. Hübner, V. Karas, M. Gerczuk, S. Ottl, B. W. Schuller: DeepSpectrumLite: "
    "A Power-Efficient Transfer Learning Framework for Embedded Speech and Audio Processing From "
    "Decentralized Data. Frontiers in Artificial Intelligence 5:856232 (2022), "
    "DOI 10.3389/frai.2022.856232, CC BY 4.0."
)
CONTENTS = {
    "headlines": "Findings",
    "verdicts": "Verdicts",
    "results": "Scores and tested differences",
    "numbers": "Number by number",
    "contradictions": "The paper against itself",
    "claims": "Claims of the text",
    "tables": "Tables 1 to 5",
    "figures": "Figures",
    "facts": "How this was made",
}


@dataclass(frozen=True)
class Edition:
    """All that the page says.

    Attributes
    ----------
    numbers, substitutes : DataFrame
        As `dslite.paper.reproduction` gives them.
    findings, claims : DataFrame
        As `dslite.paper.consistency` gives them, the claims with their outcome.
    summary : DataFrame
        Counts of the numbers: a row for each table (the index is its number), a column for each
        verdict in their order.
    sheets : mapping of int to str
        HTML of each table, trusted; no ``id`` in it but ``sheet-<number>``.
    results : mapping of str to DataFrame
        Caption -> a table of texts: scores, tested comparisons.
    pictures : sequence of Picture
    findings_text : sequence of str
        The headlines, plain sentences.
    facts : mapping of str to str
        When and with what it was made.
    """

    numbers: pd.DataFrame
    substitutes: pd.DataFrame
    findings: pd.DataFrame
    claims: pd.DataFrame
    summary: pd.DataFrame
    sheets: Mapping[int, str]
    results: Mapping[str, pd.DataFrame]
    pictures: Sequence[Picture]
    findings_text: Sequence[str]
    facts: Mapping[str, str]


def html(edition: Edition) -> str:
    """The whole page.

    Raises
    ------
    InputError
        A picture is damaged or needs another file.
    """
    sections = _sections(edition)
    script = _file("report.js")
    index = _index(edition, sections)
    return f"""<!doctype html>
<html lang="en">
{_head(edition, script)}
<body>
<a class="skip" href="#main">Skip to the findings</a>
<div class="paper">
<nav class="side" aria-label="Contents"><p class="unlisted">Contents</p>{index}</nav>
<header class="masthead">
<h1>{words(TITLE)}</h1>
<p class="byline">{words(PAPER)}</p>
</header>
<nav class="top" aria-label="Contents"><details><summary>Contents</summary>{index}</details></nav>
<main id="main" tabindex="-1">
{"".join(section(anchor, CONTENTS[anchor], *parts) for anchor, parts in sections.items())}
</main>
<footer><p class="byline">Published values are quoted from the paper named above; everything else
was measured or derived by this project.</p></footer>
</div>
<script>
{script}</script>
</body>
</html>
"""


def _file(name: str) -> str:
    """A file of this package's own."""
    return resources.files("dslite.paper").joinpath(name).read_text("utf-8")


def _head(edition: Edition, script: str) -> str:
    digest = hashlib.sha256(f"\n{script}".encode()).digest()
    digest = base64.b64encode(digest).decode("ascii")
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{words(TITLE)}</title>
<link rel="icon" href="data:,">
<style>
{_file("report.css")}{paper_page.filter_style(edition.numbers)}
</style>
</head>"""


def write_page(edition: Edition, output: str | Path) -> Path:
    """Write the page, all of it or nothing; gives its path.

    Raises
    ------
    InputError
        As of `html`, or the disk cannot be written to.
    """
    page = html(edition)
    with paths.replacing(output) as draft:
        draft.write_text(page, encoding="utf-8")
    return Path(output)


def _sections(edition: Edition) -> dict[str, list[str]]:
    """HTML of each part of `CONTENTS` that has anything to say."""
    numbers, substitutes = edition.numbers, edition.substitutes
    held = {
        "headlines": [_listed(edition.findings_text)],
        "verdicts": [counts(edition.summary), _meanings(edition.summary)],
        "results": [_texts(caption, table) for caption, table in edition.results.items()],
        "numbers": [
            paper_page.filters(numbers),
            *paper_page.tables(numbers, substitutes),
        ],
        "contradictions": [_findings(edition)],
        "claims": [_claims(edition.claims)],
        "tables": [f'<div id="table-{n}">{sheet}</div>' for n, sheet in edition.sheets.items()],
        "figures": [_figure(picture) for picture in edition.pictures],
        "facts": [pairs({k: words(v) for k, v in edition.facts.items()}, "facts")],
    }
    return {anchor: parts for anchor, parts in held.items() if any(parts)}


def _index(edition: Edition, sections: Mapping[str, list[str]]) -> str:
    shown = [n for n in paper_page.SHOWN if (edition.numbers["table"] == n).any()]
    below = {
        "numbers": {f"numbers-{n}": f"Table {n}" for n in shown},
        "tables": {f"table-{n}": f"Table {n}" for n in edition.sheets},
        "figures": {f"figure-{slug(p.stem)}": p.title for p in edition.pictures},
    }
    return _links({anchor: (CONTENTS[anchor], below.get(anchor, {})) for anchor in sections})


def _links(entries: Mapping[str, tuple[str, Mapping[str, str]]]) -> str:
    items = []
    for anchor, (said, below) in entries.items():
        inner = _links({a: (s, {}) for a, s in below.items()}) if below else ""
        items.append(f'<li><a href="#{anchor}">{words(said)}</a>{inner}</li>')
    return f"<ol>{''.join(items)}</ol>"


def _listed(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f'<ol class="headlines">{"".join(f"<li>{words(s)}</li>" for s in sentences)}</ol>'


def counts(summary: pd.DataFrame) -> str:
    """How many numbers of each table got which verdict, as a table with sums."""
    names = [
        f'<a href="#numbers-{n}"><span class="unseen">Table </span>{n}</a>' for n in summary.index
    ]
    lines = [row([badge(v), *_summed(found)]) for v, found in summary.items()]
    head, total = (
        row(["Verdict", *names, "All"], head=True),
        row(["All", *_summed(summary.sum(axis=1))]),
    )
    caption = "<caption>Numbers that the paper prints, by its tables and by verdict.</caption>"
    return region(
        "Verdicts, counted",
        f'<table class="counts">{caption}<thead>{head}</thead><tbody>{"".join(lines)}</tbody>'
        f"<tfoot>{total}</tfoot></table>",
    )


def _summed(found: pd.Series) -> list[str]:
    return [str(int(count)) for count in (*found, found.sum())]


def _meanings(summary: pd.DataFrame) -> str:
    said = [(badge(v), MEANINGS[v]) for v in summary.columns if v in MEANINGS]
    listed = "".join(f"<dt>{name}</dt><dd>{words(text)}</dd>" for name, text in said)
    return f'<h3>What a verdict means</h3><dl class="meanings">{listed}</dl>'


def _findings(edition: Edition) -> str:
    """What does not hold; folded behind it what does."""
    findings, known = edition.findings, set(edition.numbers["key"])
    if findings.empty:
        return ""
    holds = findings["holds"].astype(bool)
    wrong = "".join(_finding(found, known) for _, found in findings[~holds].iterrows())
    right = "".join(_finding(found, known) for _, found in findings[holds].iterrows())
    text = (
        "<p>Derived from the published tables and sentences alone, without any run: of "
        f"{len(holds)} checks {int((~holds).sum())} fail.</p>"
    )
    folded = (
        f'<details class="fold"><summary>{int(holds.sum())} checks that hold</summary>'
        f'<ul class="findings">{right}</ul></details>'
    )
    return f'{text}<ul class="findings">{wrong}</ul>{folded if holds.any() else ""}'


def _finding(found: pd.Series, known: set[str]) -> str:
    keys = [key.strip() for key in str(found["keys"]).split(";") if key.strip() in known]
    told = {"Printed": words(found["printed"]), "Derived": words(found["derived"])}
    told["Concerns"] = ", ".join(f'<a href="#{target(key)}">{_named(key)}</a>' for key in keys)
    symbol = badge("holds" if found["holds"] else "does not hold")
    return (
        f'<li class="finding{"" if found["holds"] else " wrong"}" id="finding-{slug(found["id"])}">'
        f"<h3>{words(found['place'])} {symbol}</h3>{pairs(told)}"
        f"<p>{words(found['explanation'])}</p></li>"
    )


def _named(key: str) -> str:
    """A number's key as a reader says it: ``Table 3, CCS, none, test``."""
    table, first, *rest = key.split("/")
    return words(", ".join([f"Table {table}", first if table == "5" else corpus(first), *rest]))


def _claims(claims: pd.DataFrame) -> str:
    """What does not hold; folded behind it all others."""
    if claims.empty:
        return ""
    wrong = claims["outcome"] == "does not hold"
    text = (
        "<p>Every figure in the sentences of the paper, beside what its own tables, or ours, give: "
        f"of {len(claims)} claims {int(wrong.sum())} do not hold.</p>"
    )
    shown = _claimed("Claims that do not hold", claims[wrong]) if wrong.any() else ""
    others = _claimed("All other claims", claims[~wrong])
    folded = (
        f'<details class="fold"><summary>{int((~wrong).sum())} other claims: those that hold, that '
        f"are settings or that cannot be tested here</summary>{others}</details>"
    )
    return f"{text}{shown}{'' if wrong.all() else folded}"


def _claimed(title: str, claims: pd.DataFrame) -> str:
    head = row(["Statement", "Section", "Printed", "Derived", "Outcome"], head=True)
    lines = []
    for _, claim in claims.iterrows():
        outcome, _, why = str(claim["outcome"]).partition(": ")
        check = "" if claim["check"] == claim["outcome"] else words(claim["check"])
        statement = words(claim["statement"]) + (f"<small>{check}</small>" if check else "")
        said = badge(outcome) + (f"<small>{words(why)}</small>" if why else "")
        printed = f"{words(claim['value'])} {words(claim['unit'])}".strip()
        lines.append(
            row([statement, words(claim["section"]), printed, words(claim["derived"]), said])
        )
    held = f"<thead>{head}</thead><tbody>{''.join(lines)}</tbody>"
    caption = f"<caption>{words(title)}; small: how each was checked.</caption>"
    return region(title, f'<table class="claims">{caption}{held}</table>')


def _texts(caption: str, table: pd.DataFrame) -> str:
    """A table of texts under its caption."""
    lines = [row(map(words, cells)) for cells in table.itertuples(index=False)]
    held = f"<thead>{row(map(words, table), head=True)}</thead><tbody>{''.join(lines)}</tbody>"
    return region(
        caption, f'<table class="texts"><caption>{words(caption)}</caption>{held}</table>'
    )


def _figure(picture: Picture) -> str:
    drawn = region(picture.title, paper_page.markup(picture))
    caption = f"<figcaption><b>{words(picture.title)}.</b> {words(picture.caption)}</figcaption>"
    return f'<figure id="figure-{slug(picture.stem)}">{drawn}{caption}</figure>'


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
    found, findings = training_runs.all_runs(), consistency.findings()
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
    long = beside.melt(shown, own, var_name="column", value_name="reproduced").dropna(
        subset=["reproduced"]
    )
    long = long.assign(column=long["column"].str.removeprefix("ours_"))
    return long.rename(columns={RUN: "label"})


def headlines(material: Material) -> list[str]:
    """The findings in sentences, most important first."""
    said = [comparisons.counted(material.numbers)]
    for dataset in material.means["dataset"].unique():
        own = material.means[material.means["dataset"] == dataset]
        chance = 100 / len(cards.load(dataset).classes)
        said += comparisons.learnt(own, chance, reproduction.TITLES)
    for question in comparisons.QUESTIONS:
        if len(material.answers) and (material.answers["question"] == question).any():
            said.append(f"{question} {comparisons.verdict_of(question, material.answers)}")
    failed = material.findings[~material.findings["holds"].astype(bool)]
    said.append(f"The paper contradicts itself in {len(failed)} places; they are listed below.")
    if len(material.runs):
        said.append(comparisons.cost(material.runs))
    return said


def facts_of(found: pd.DataFrame) -> dict[str, str]:
    """What the runs were made with, for the end of the page."""
    if found.empty:
        return {"Runs": "none"}
    dates = sorted(filter(None, found["date"]))
    return {
        "Runs": f"{len(found)}, {dates[0][:10]} to {dates[-1][:10]}" if dates else str(len(found)),
        "Time": comparisons.cost(found),
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
        parts[title] = comparisons.scores(own, printed, reproduction.TITLES)
    asked = material.answers
    if not everything and len(asked):
        asked = comparisons.deciding(asked)
    for question in comparisons.QUESTIONS:
        rows = asked[asked["question"] == question] if len(asked) else asked
        if len(rows):
            parts[question] = comparisons.answered(rows, reproduction.TITLES)
    return parts


def readme_section(material: Material, name: str = README) -> str:
    """The results as `READMES` have them: of the project's, only what decides."""
    said = headlines(material)
    lead = [said[0], "", said[-1]]
    return comparisons.section(lead, results_of(material, everything=name != README))


def write_results(material: Material, place: Path | None = None) -> Path:
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
    drawn = figures.figures(material.runs, material.numbers, material.substitutes, material.answers)
    pictures = [_picture(one, place / "figures") for one in drawn]
    summary = reproduction.summary(material.numbers)
    edition = Edition(
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
    return write_page(edition, place / "report.html")


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
        _write(file, comparisons.inserted(file.read_text(encoding="utf-8"), made, name))
    return files

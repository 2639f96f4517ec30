"""Tables 1 to 5 of the paper: as published, with verdicts, and what was run here.

A cell is a text. ``**bold**`` and the raised letters of `RAISED` are set as each format has them.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup, escape
from pandas.io.formats.style import Styler

from dslite import cards
from dslite.evaluation import metrics
from dslite.paper import published, sentences
from dslite.paper.comparisons import PARTITION, WHERE, network
from dslite.paper.published import NAMES, ORDER, PRESET
from dslite.paper.reproduction import COUNT_DECIMALS, OWN_PARTITION, TITLES
from dslite.training.runs import LABELS, LIBROSA, SHORTENED, SVM

# Letters raised beside a number, as Unicode has them: readable in every format
RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
MARKS = {verdict: RAISED.get(of, "") for verdict, of in published.words("letter").items()}
WITH_COMMON = (1, 3, 4)  # tables that show a corpus's most frequent verdict at its name
COMPARED = {published.EQUAL, *published.TESTED}
AS_PUBLISHED, NONE = "as published", "–"
PAPER_ROWS = {c: f"DS Lite ({label})" for c, label in LABELS.items()}  # as the paper calls them
PAPER_ROWS[SVM] = "Deep Spectrum + SVM (Schuller et al., 2021)"
SCORES = ("Dev", "Test", "CI on test")
STAGES = {
    **{"preprocessing": ("", "Prepr."), "tf_model": ("", "TF model")},
    **{"tflite_cpu": ("TF Lite model", "CPU"), "tflite_phone": ("TF Lite model", "phone")},
}
KEY = ["dataset", "protocol", "network", "configuration"]
PRINTED, MEAN = "paper: DenseNet121", "{:.1f} ± {:.1f}"
BOUNDS = ["low", "high", "low_speakers", "high_speakers"]
RECIPES = (PRESET, "repaired", "tuned")  # in the order of columns
WIDE = 5  # columns that still fit in one of a page's two
LATEX = str.maketrans(
    {sign: rf"\textsuperscript{{{letter}}}" for letter, sign in RAISED.items()}
    | {sign: rf"\{sign}" for sign in "{}$&%#_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
    | {"“": "``", "”": "''", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$"}
    # braces: after \\ or a rule, a bracket or an asterisk would be taken for an argument
    | {"[": "{[}", "]": "{]}", "*": "{*}"}
)


@dataclass(frozen=True)
class Sheet:
    """A table of texts, ``"3"`` or (what was run here) ``"3b"``; rows may be in groups."""

    name: str
    frame: pd.DataFrame
    title: str
    caption: str
    notes: tuple[str, ...]

    @property
    def flat(self) -> pd.DataFrame:
        """The frame with one row of headers and its index as columns."""
        frame = self.frame.copy()
        frame.index.names = ["group", self.frame.columns.names[-1]][-frame.index.nlevels :]
        frame.columns = [" ".join(filter(None, np.atleast_1d(name))) for name in frame.columns]
        return frame.reset_index()


@cache
def words(kind: str) -> dict[str, Any]:
    """Read the texts of the ``tables``, the ``figures`` or the ``report``."""
    text = resources.files("dslite.paper").joinpath("texts.yaml").read_text("utf-8")
    return yaml.safe_load(text)[kind]


def _sheet(name: str, frame: pd.DataFrame, corner: str, notes: list[str], **filled: str) -> Sheet:
    """A table with its texts; ``corner`` stands above the rows' names."""
    frame.columns.names = [""] * (frame.columns.nlevels - 1) + [corner]
    of = words("tables")[name]
    title, every = of["title"].format(**filled), (*of.get("notes", ()), *notes)
    return Sheet(name, frame, title, of["caption"], tuple(every))


# A sheet in every format


@cache
def environment() -> jinja2.Environment:
    """Return the templates of this package; what is filled into one is escaped."""
    loader = jinja2.PackageLoader("dslite.paper", "")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def _writer(escaped: Callable[[str], str], start: str, end: str) -> Callable[[str], str]:
    """Return what escapes a text and sets what is ``**bold**`` in it between start and end."""

    def write(text: str) -> str:
        parts = [escaped(part) for part in re.split(r"\*\*(.+?)\*\*", text)]
        parts[1::2] = [f"{start}{part}{end}" for part in parts[1::2]]
        return "".join(parts)

    return write


def _styled(frame: pd.DataFrame, write: Callable[[str], str]) -> Styler:
    """Return the frame with every text, name and header as ``write`` gives it."""
    named = frame.rename_axis(columns=[write(name) for name in frame.columns.names])
    return named.style.format(write).format_index(write, axis=0).format_index(write, axis=1)


def to_html(sheet: Sheet) -> str:
    """Set a table in HTML, without styles, its caption above and its notes below."""
    write = _writer(lambda text: str(escape(text)), "<strong>", "</strong>")
    table = Markup(_styled(sheet.frame, write).to_html(exclude_styles=True))
    return environment().get_template("table.html.j2").render(sheet=sheet, table=table)


def to_csv(sheet: Sheet) -> str:
    """Write the cells as CSV, with a first column ``group`` where the rows are in groups."""
    return sheet.flat.replace(r"\*\*", "", regex=True).to_csv(index=False)


def to_markdown(sheet: Sheet) -> str:
    """Set a table in Markdown (GitHub's dialect), its caption above and its notes below."""
    write = _writer(lambda text: re.sub(r"([\\`*_|<>~$&#])", r"\\\1", text), "**", "**")
    frame = sheet.flat.rename(columns=write).map(write)
    if "group" in frame:
        frame["group"] = frame["group"].mask(frame["group"].duplicated(), "")
    align = ["left"] * sheet.frame.index.nlevels + ["right"] * sheet.frame.shape[1]
    table = frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align)
    caption = f"**Table {sheet.name}. {write(sheet.title)}.** {write(sheet.caption)}"
    notes = "\n".join(f"- {write(note)}" for note in sheet.notes)
    return "\n\n".join(filter(None, [caption, table, notes])) + "\n"


def to_latex(sheet: Sheet) -> str:
    """Set a table with ``booktabs`` and ``graphicx``, as a float ``tab:dslite-<name>``."""
    write = _writer(lambda text: text.translate(LATEX), r"\textbf{", "}")
    levels, columns = sheet.frame.index.nlevels, sheet.frame.shape[1]
    tabular = _styled(sheet.frame, write).to_latex(
        hrules=True,
        column_format=f"@{{}}{'l' * levels}{'r' * columns}@{{}}",
        multicol_align="c",
        multirow_align="naive",
        clines="skip-last;data" if levels > 1 else None,
    )
    # Between groups alone, and as the other rules are
    tabular = re.sub(r"\\cline{.*}\n(?=\\bottomrule)", "", tabular)
    tabular = re.sub(r"\\cline{.*}", r"\\midrule", tabular)
    signs = {"variable_start_string": "<<", "variable_end_string": ">>", "autoescape": False}
    return (
        environment()
        .overlay(**signs)
        .get_template("table.tex.j2")
        .render(
            kind="table*" if levels + columns > WIDE else "table",
            **{key: write(getattr(sheet, key)) for key in ("name", "title", "caption")},
            tabular=tabular.strip(),
            notes="\n".join(rf"{write(note)}\par" for note in sheet.notes),
        )
        + "\n"
    )


# Numbers as texts


def _marked(numbers: pd.DataFrame, n: int) -> pd.DataFrame:
    """Numbers of a table with the ``text`` of their cell and, of ours, ``ours``.

    A verdict that most of a corpus's numbers share stands as a letter at its ``name`` alone.
    """
    rows = numbers[numbers["table"] == n]
    most = rows.groupby("dataset")["verdict"].transform(lambda of: max(ORDER, key=list(of).count))
    common = most.map(lambda of: of if n in WITH_COMMON else "")
    letter = rows["verdict"].map(MARKS).where(rows["verdict"] != common, "")
    star = rows["status"].eq("assumed").map({True: "*", False: ""})
    names = {d: cards.load(d).paper_column for d in rows["dataset"].unique() if d}
    texts = [
        [_shown(row, row[of]) for row in rows.to_dict("records")] for of in ("value", "reproduced")
    ]
    return rows.assign(
        text=pd.Series(texts[0], rows.index) + star + letter,
        ours=texts[1],
        name=rows["dataset"].map(names) + common.map(MARKS).fillna(""),
    )


def _shown(number: Mapping[str, Any], value: float) -> str:
    """Write a value as the paper prints the number; what that would round away, two digits."""
    if pd.isna(value):
        return NONE
    if number["table"] == 2:
        return f"{value:.1f}" if number["column"] == "chunk_length_s" else f"{value:g}"
    decimals = COUNT_DECIMALS.get(number["column"], 1)
    if not decimals:
        return f"{value:,.0f}"
    return f"{value:.2g}" if number["table"] == 5 and abs(value) < 1 else f"{value:.{decimals}f}"


def _legend(numbers: pd.DataFrame, n: int) -> list[str]:
    """Say what the letters of a table mean, and by which rule."""
    judged = set(numbers["verdict"])
    meanings = "; ".join(f"{MARKS[v]} {v}" for v in published.ORDER if MARKS[v] and v in judged)
    whose = " A letter at a corpus's name holds for each of its published numbers that has none."
    whose *= n in WITH_COMMON
    notes = [f"Verdicts on the published numbers: {meanings}.{whose}"] if meanings else []
    return notes + [words("tables")[str(n)]["rule"]] * bool(COMPARED & judged)


# The tables


def all_tables(
    numbers: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame
) -> dict[str, Sheet]:
    """Return Tables 1 to 5 by their names, and 3b and 4b where there are runs."""
    sheets = [table1(numbers), table2(numbers)]
    for n in (3, 4):
        ours = scores[scores["dataset"].isin(published.table(n)["dataset"])]
        sheets += [_published(n, numbers), *([_ours(f"{n}b", ours)] if len(ours) else [])]
    return {sheet.name: sheet for sheet in [*sheets, table5(numbers, costs)]}


def table1(numbers: pd.DataFrame) -> Sheet:
    """Return the corpora: published statistics, below them those that were counted here."""
    rows, columns = _marked(numbers, 1), words("tables")["1"]["columns"]
    titles = published.table(1).set_index("dataset")["name"]
    theirs = rows.assign(name=rows["name"] + ": " + rows["dataset"].map(titles))
    counted = rows[rows.groupby("dataset")["reproduced"].transform("count") > 0]
    counted = counted.assign(text=counted["ours"], name=counted["dataset"].map(NAMES))
    both = pd.concat({AS_PUBLISHED: theirs, "counted here": counted}, names=["group"])
    wide = both.set_index(["name", "column"], append=True)["text"].droplevel(1)
    wide = wide.unstack(sort=False)[list(columns)].rename(columns=columns)
    return _sheet("1", wide.rename_axis([None, None]), "Name", _legend(rows, 1))


def table2(numbers: pd.DataFrame) -> Sheet:
    """Return the hyperparameters as printed, ``*`` where a cell is assumed."""
    rows, titles = _marked(numbers, 2), words("tables")["2"]["rows"]
    wide = rows.set_index(["column", "name"])["text"].unstack(sort=False).fillna(f"{NONE}*")
    wide = wide.reindex(titles).rename(index=titles).rename_axis(None)
    return _sheet("2", wide, "Hyperparameter", _legend(rows, 2))


def _published(n: int, numbers: pd.DataFrame) -> Sheet:
    """Table 3 or 4 in the paper's layout, each number with the letter of its verdict."""
    rows = _marked(numbers, n)
    scores, chances = rows[rows["column"] != "chance"], rows[rows["column"] == "chance"]
    best = scores.groupby(["dataset", "column"])["value"].transform("max") == scores["value"]
    bold = best & (scores["column"] == "test")
    strong = scores["text"].str.replace(r"([\d.]+)", r"**\1**", regex=True)
    scores = scores.assign(text=scores["text"].mask(bold, strong))
    wide = scores.set_index(["configuration", "name", "column"])["text"]
    wide = wide.unstack(["name", "column"], sort=False)
    columns = {}
    for name in scores["name"].unique():
        of = wide[name]
        low, mark = (of["ci_low"].str.extract(r"([\d.]+)(.*)")[part] for part in (0, 1))
        mark = mark.where(~of["ci_high"].str.endswith(tuple(RAISED.values())), "")
        cells = of["devel"], of["test"], low + "–" + of["ci_high"] + mark
        columns |= {(name, score): cell for score, cell in zip(SCORES, cells, strict=True)}
    titles = published.table(1).set_index("dataset")["name"]
    corpora = [f"{NAMES[dataset]}: {titles[dataset]}" for dataset in chances["dataset"]]
    levels = []
    for row in chances.to_dict("records"):
        differs = row["ours"] not in (NONE, _shown(row, row["value"]))
        computed = f" ({row['ours']} by the classes of Table 1)" if differs else ""
        levels.append(f"{NAMES[row['dataset']]} {row['text']}{computed}")
    chance = f"Chance level in UAR, as published, in percent: {', '.join(levels)}."
    frame = pd.DataFrame(columns).rename(index=PAPER_ROWS).rename_axis(None)
    return _sheet(str(n), frame, "[UAR %]", ["; ".join(corpora) + ".", chance, *_legend(rows, n)])


def scores(runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Score everything that was run here: mean and deviation over the seeds, both intervals.

    Takes `dslite.training.runs.all_runs`, of which those with fewer epochs than their preset are
    left out, and `dslite.paper.comparisons.predictions`. Where these are private (``files`` is 0),
    means of the seeds' own bounds stand for those of their mean. Scores are in percent. Rows are in
    the order of Table 4b; by their index, in that of the runs' names.
    """
    folds, by = predictions[predictions["protocol"] != PARTITION], ["dataset", "protocol", "run"]
    right = folds.assign(test=folds["label"] == folds["prediction"])
    # The files of all folds of a cross-validation are one test.
    pooled = 100 * right.groupby([*by, "label"])["test"].mean().groupby(by).mean()
    folds = folds.drop_duplicates(by).merge(pooled.reset_index(), on=by)
    runs = runs[(runs["metric"] == "uar") & ~runs["overrides"].str.contains(SHORTENED)]
    folds = folds.assign(overrides="", random_weights=False)
    runs = pd.concat([runs.assign(protocol=PARTITION), *([folds] if len(folds) else [])])
    runs.loc[runs["configuration"] == LIBROSA, ["backbone", "preset", "overrides"]] = ""
    parts = [
        (network(run), run["overrides"], "random weights" * run["random_weights"])
        for run in runs.to_dict("records")
    ]
    runs["network"] = [", ".join(filter(None, of)) for of in parts]
    table = (
        runs.drop_duplicates([*KEY, "seed"])
        .groupby(KEY, sort=False)
        .agg(
            **{"seeds": ("seed", "size"), "devel": ("devel", "mean"), "of_seeds": ("test", list)},
            **{"devel_deviation": ("devel", "std"), "test": ("test", "mean")},
            **{"deviation": ("test", lambda of: of.std()), "of": ("run", list)},
            **{key: (key, "first") for key in WHERE[2:]},
            **{bound: (bound, "mean") for bound in BOUNDS},
        )
    )
    drawn = [
        _intervals(
            predictions[
                (predictions[KEY[:2]] == list(key[:2])).all(axis=1) & predictions["run"].isin(names)
            ]
        )
        for key, names in table.pop("of").items()
    ]
    drawn = pd.DataFrame(drawn, table.index, ["files", "speakers", *BOUNDS, "of_speakers"])
    drawn[["files", "speakers"]] = drawn[["files", "speakers"]].fillna(0).astype(int)
    private = drawn["files"] == 0
    drawn.loc[private, BOUNDS] = table.loc[private, BOUNDS]
    table = table.drop(columns=BOUNDS).join(drawn).reset_index()
    order = dict(zip(LABELS, range(len(LABELS)), strict=True)) | {PARTITION: -1, "": "~"}
    by = table[KEY[1:]].map(lambda name: str(order.get(name, name)))  # no network comes last
    return table.loc[by.sort_values(KEY[1:]).index]


def _intervals(predictions: pd.DataFrame) -> dict[str, Any]:
    """Both intervals of the mean over the seeds, each speaker's UAR, and how many there are."""
    if predictions.empty:
        return {}
    classes, runs = sorted(predictions["label"].unique()), ", ".join(predictions["run"].unique())
    files, labels, predicted = metrics.by_seed(predictions, classes, runs)
    speakers = files["speaker"].replace("", np.nan)
    over, each = [metrics.bootstrap_interval(labels, predicted, len(classes))], pd.Series()
    if speakers.notna().all():
        over.append(metrics.speaker_interval(labels, predicted, speakers))
        each = metrics.uar_by_group(labels, predicted, speakers)
    bounds = 100 * np.ravel([pair or (np.nan, np.nan) for pair in over])
    row = {"files": len(labels), "speakers": speakers.nunique()}
    row |= dict(zip(BOUNDS, bounds, strict=False))
    return row | {"of_speakers": sorted(100 * each)}


def _ours(name: str, scores: pd.DataFrame) -> Sheet:
    """What was run here on the corpora of Table 3 or 4."""
    of, notes = words("tables")[name], []
    names, titles = scores["dataset"].map(NAMES), scores["backbone"].map(lambda b: TITLES.get(b, b))
    corpus = names + ", " if names.nunique() > 1 else ""
    best = scores.groupby(["dataset", "protocol"])["test"].transform("max") == scores["test"]
    tests = pd.Series(_texts(scores, MEAN, "test", "deviation"), scores.index)
    pairs = zip(scores["network"], titles, strict=True)
    recipe = pd.Series([of.removeprefix(title).removeprefix(", ") for of, title in pairs])
    recipe.index, of_protocol = scores.index, [scores["dataset"], scores["protocol"]]
    every = recipe.groupby(of_protocol).transform(lambda some: ";".join(set(some) - {""}) or NONE)
    cells = pd.DataFrame(
        {
            "group": corpus + scores["protocol"] + ": " + titles.replace("", "no network"),
            "row": scores["configuration"],
            "recipe": recipe.where(recipe != "", every).str.split(";"),
            "Dev": _texts(scores, MEAN, "devel", "devel_deviation"),
            "Test": tests.where(~best, "**" + tests + "**"),
            "CI over files": _texts(scores, "{:.1f}–{:.1f}", *BOUNDS[:2]),
            "CI over speakers": _texts(scores, "{:.1f}–{:.1f}", *BOUNDS[2:]),
        }
    ).explode("recipe")
    lines = itertools.product(cells["group"].unique(), LABELS)
    recipes = sorted(cells["recipe"].unique(), key=recipe_order)
    wide = cells.set_index(["group", "row", "recipe"]).unstack(fill_value=NONE).swaplevel(axis=1)
    wide = wide[list(itertools.product(recipes, cells.columns[3:]))]
    wide = wide.loc[[line for line in lines if line in wide.index], (wide != NONE).any()]
    wide = wide.rename(index=LABELS, level=1).rename_axis([None, None])
    for (dataset, protocol), same in scores.groupby(["dataset", "protocol"], sort=False):
        facts = {"corpus": NAMES[dataset], "protocol": protocol}
        facts |= same[["files", "speakers"]].max().astype(int).to_dict()
        if facts["files"]:  # else they are private
            too_few = facts["speakers"] < metrics.FEWEST
            notes.append(of["few" if too_few else "size"].format(**facts))
        notes += [of["own"].format(**facts)] * (dataset in OWN_PARTITION and protocol == PARTITION)
    several = sorted(set(scores.loc[scores["seeds"] > 1, "seeds"].astype(str)))
    notes += [of["seeds"].format(n=" or ".join(several))] * bool(several)
    notes += sentences.choice(scores)
    return _sheet(name, wide, "[UAR %]", notes, corpora=" and ".join(names.unique()))


def recipe_order(recipe: str) -> tuple[int, str]:
    """Sort recipes: the paper's, what repairs it, ours; then by the alphabet."""
    return next((i for i, of in enumerate(RECIPES) if recipe == of), len(RECIPES)), recipe


def _texts(scores: pd.DataFrame, form: str, first: str, second: str) -> list[str]:
    """Two columns as texts, the second left out where it is missing."""
    pairs = zip(scores[first], scores[second], strict=True)
    return [NONE if pd.isna(a) else form.format(a, b).removesuffix(" ± nan") for a, b in pairs]


def scores_table(means: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Lay out one corpus's test UAR: configurations as rows; the paper and networks as columns."""
    columns = {PRINTED: printed.set_index("configuration")["test"].map("{:.1f}".format)}
    acoustic, by = means["backbone"] == "", ["protocol", "backbone", "preset"]
    groups = list(means[~acoustic].groupby(by))
    groups.sort(key=lambda of: (of[0][0] != PARTITION, *of[0][:2], recipe_order(of[0][2])))
    for (protocol, *of), rows in groups:
        rows = pd.concat([rows, means[acoustic & (means["protocol"] == protocol)]])
        title = network(dict(zip(by[1:], of, strict=True)))
        title += "" if protocol == PARTITION else f", {protocol}"
        texts = _texts(rows, MEAN, "test", "deviation")
        columns[title] = pd.Series(texts, rows["configuration"].tolist())
    table = pd.DataFrame(columns, index=list(LABELS)).fillna(NONE).reset_index(drop=True)
    table.insert(0, "test UAR in %", list(LABELS.values()))
    return table


def table5(numbers: pd.DataFrame, costs: pd.DataFrame) -> Sheet:
    """Return time, operations, parameters, memory and size: published, then measured here."""
    rows = _marked(numbers, 5).rename(columns={"configuration": "quantity"})
    random = ", random weights" if rows["remark"].str.contains("random weights").any() else ""
    costs = costs.assign(table=5, column=costs["column"])
    costs["ours"] = [_shown(row, row["reproduced"]) for row in costs.to_dict("records")]
    measured = pd.concat([rows.assign(label=f"DenseNet121{random}"), costs])
    measured = measured[measured["reproduced"].notna()]
    ours = measured.assign(group="ours: " + measured["label"], text=measured["ours"])
    cells = pd.concat([rows.assign(group=AS_PUBLISHED), ours])
    quantities, order = words("tables")["5"]["rows"], dict.fromkeys(cells["group"])
    wide = cells.set_index(["group", "quantity", "column"])["text"].unstack().fillna("")
    wide = wide.reindex(columns=list(STAGES), fill_value="")
    lines = [line for line in itertools.product(order, quantities) if line in wide.index]
    wide = wide.loc[lines].rename(index=quantities, level=1).rename_axis([None, None])
    wide.columns = pd.MultiIndex.from_tuples(STAGES.values())
    places = measured[measured["hardware"].fillna("") != ""].groupby("hardware", sort=False)
    hardware = [f"Ours: {place} ({'; '.join(of.unique())})." for place, of in places["label"]]
    return _sheet("5", wide, "Quantity", [*hardware, *_legend(rows, 5)])

"""The figures of the report, from finished runs alone; scores and gains are in per cent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import cards, plots
from dslite.deployment import profile
from dslite.evaluation import confusion as evaluation_confusion
from dslite.paper import comparisons, published, reproduction
from dslite.paper.comparisons import network
from dslite.paper.published import NAMES
from dslite.paper.reproduction import TITLES
from dslite.paper.tables import environment, words
from dslite.provenance import size_in_words
from dslite.training import runs as training_runs
from dslite.training.runs import LABELS

EXPLAINED = ("explanation/shap_confident.png", "explanation/shap_confident.svg")  # Figure 2
POOLINGS = {"global": "mean over the picture", "time": "mean over time"}
POOLINGS["segments"] = "means of parts of the time and deviation, of the picture and three depths"
GAINS = ("cutmix", "specaugment", "cutmix+specaugment")
SPEAKERS = ["low_speakers", "high_speakers"]
Drawing = Figure | str | bytes
RULED = "Thick lines: 95 % over files, thin: over speakers; strokes: speakers, fewer than 5"


@dataclass(frozen=True)
class PaperFigure:
    """A figure (a string: the text of an SVG, bytes: a PNG); ``stem`` names its file."""

    stem: str
    title: str
    caption: str
    alt: str
    figure: Drawing


def datasets(runs: pd.DataFrame) -> Sequence[str]:
    """Return the paper's corpora that there are runs of, in the order of its tables."""
    order = dict.fromkeys(published.scores()["dataset"])
    return [name for name in order if name in set(runs["dataset"])]


def figures(
    runs: pd.DataFrame, numbers: pd.DataFrame, scores: pd.DataFrame, answers: pd.DataFrame
) -> list[PaperFigure]:
    """Draw every figure that the results at hand allow, the paper's first."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    drawn = (of for name in datasets(runs) for of in _of_corpus(runs, printed, scores, name))
    return [*drawn, _figure("gains", plot_gains(printed, answers))]


def _figure(stem: str, figure: Drawing, dataset: str = "", **facts: Any) -> PaperFigure:
    """A figure with its texts, the facts filled in."""
    facts |= {"corpus": NAMES.get(dataset)}
    texts = {key: value.format(**facts) for key, value in words("figures")[stem].items()}
    return PaperFigure(f"{stem}-{dataset}" if dataset else stem, figure=figure, **texts)


def _of_corpus(
    runs: pd.DataFrame, printed: pd.DataFrame, scores: pd.DataFrame, dataset: str
) -> Iterator[PaperFigure]:
    """Figures 1 to 3 of one corpus, its scores and trade-offs."""
    runs, printed, scores = (of[of["dataset"] == dataset] for of in (runs, printed, scores))
    chance = 100 / len(cards.load(dataset).classes)
    measured, profiles = reproduction.profiles(), {}
    for name in reproduction.best_measured(runs):
        run, content = measured[name]
        profiles[name] = content | {"record": run.record, "tested": run.metrics["test"]["file"]}
    if pipeline := pipeline_facts(profiles):
        svg = environment().get_template("figure1.svg.j2").render(pipeline)
        yield _figure("figure1", svg, dataset, **pipeline)
    best = reproduction.best_on_devel(runs)
    for run in best.to_dict("records"):
        files = [file for name in EXPLAINED if (file := Path(run["folder"], name)).is_file()]
        if files:
            is_text = files[0].suffix == ".svg"
            drawn = files[0].read_text("utf-8") if is_text else plots.reduced(files[0])
            yield _figure("figure2", drawn, dataset, run=run["name"])
            break
    tested = best[best["test"].notna() & best["devel"].notna()]
    if len(tested):
        run = training_runs.load(tested["folder"].iloc[0])
        measured = {"test": run.metrics["test"]}
        inputs = (measured, run.predictions, run.classes, run.name)
        drawn = evaluation_confusion.figures(*inputs)
        if "confusion_test" in drawn:
            yield _figure("figure3", drawn["confusion_test"], dataset, run=run.name)
    if len(scores):
        yield _figure("forest", plot_forest(printed, scores, chance), dataset)
    measured = [_profiled(content) for content in profiles.values()]
    if measured and (pareto := profile.pareto_figure(pd.concat(measured, ignore_index=True))):
        yield _figure("pareto", pareto, dataset)


def _profiled(content: Mapping[str, Any]) -> pd.DataFrame:
    """A profile's table, with the backbone's title and float32's interval, which is the run's."""
    table = profile.profile_table(content)
    low, high = content["tested"]["interval_files"] or (np.nan, np.nan)
    of_run = table["variant"] == "float32"
    ends = {"test_low": np.where(of_run, low, np.nan), "test_high": np.where(of_run, high, np.nan)}
    return table.assign(**ends, backbone=table["backbone"].map(lambda of: TITLES.get(of, of)))


def pipeline_facts(profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Read what ``figure1.svg.j2`` fills in, of the first profile that has the shapes."""
    content = next((content for content in profiles.values() if "shapes" in content), None)
    if not content:
        return None
    record, threads = content["record"], content["threads"][0]
    rows = [row for row in content["rows"] if row["threads"] == threads]
    lite = {row["part"]: row for row in rows if row["variant"] == "float32"}
    sizes = {row["variant"]: row.get("size_bytes") for row in rows if row["part"] == "model"}
    return {
        "name": f"{content['dataset']}/{content['run']}",
        "backbone": TITLES.get(content["backbone"], content["backbone"]),
        "pooling": POOLINGS[record["settings"]["pooling"]],
        "ms": {part: row["ms_median"] for part, row in lite.items()},
        "sizes": {name: size_in_words(count) for name, count in sizes.items() if count},
        "peak_mb": lite.get("model", {}).get("peak_mb"),
        **{"settings": record["settings"], "classes": record["classes"], "threads": threads},
        **{key: content[key] for key in ("shapes", "layers", "hardware")},
    }


# Drawing


def _printed(rows: pd.DataFrame) -> pd.DataFrame:
    """Published test scores as rows of `dslite.plots.forest`."""
    rows = rows.assign(label=rows["configuration"].map(LABELS), group="")
    return rows[["dataset", "group", "label", "value", "low", "high"]]


@plots.styled
def plot_forest(printed: pd.DataFrame, scores: pd.DataFrame, chance: float) -> Figure:
    """Draw one corpus's published test UAR and, below it, everything that was run here."""
    seeds = scores["seeds"].map(lambda n: f" ({n} seeds)" if n > 1 else "")
    ours = scores.rename(columns={"test": "value"}).assign(
        group=scores["network"].replace("", "acoustic statistics") + ", " + scores["protocol"],
        label=scores["configuration"].map(LABELS) + seeds,
        dots=scores["of_seeds"].where(scores["seeds"] > 1),
        of_speakers=scores["of_speakers"].where(scores["low_speakers"].isna()),
    )
    theirs = _printed(printed).assign(group="paper: DenseNet121, as published")
    rows = pd.concat([theirs, ours])
    figure, axes = plots.panels(0.6 + 0.235 * (len(rows) + rows["group"].nunique()))
    plots.forest(axes, rows)
    axes.axvline(chance, color="grey", ls="--", lw=1)
    sizes = scores[scores["files"] > 0].groupby("protocol", sort=False)[["files", "speakers"]]
    n = ["{}: {} files, {} speakers".format(*row) for row in sizes.max().astype(int).itertuples()]
    text = f"Test UAR (%). {RULED}; dots: seeds; dashed: chance\n{'; '.join(n)}"
    figure.supxlabel(text, fontsize=8)
    return figure


@plots.styled
def plot_gains(printed: pd.DataFrame, answers: pd.DataFrame) -> Figure:
    """Draw what each augmentation adds to the test UAR: published, and ours with intervals."""
    bare = printed[printed["configuration"] == "none"].set_index("dataset")["value"]
    theirs = printed.rename(columns={"configuration": "this"}).assign(
        value=printed["value"] - printed["dataset"].map(bare),
        **{"label": printed["dataset"].map(NAMES), "group": "paper"},
        **dict.fromkeys(["low", "high"], np.nan),
    )
    ours = answers[answers["question"] == comparisons.AUGMENTATION]
    columns = ["difference", "low", "high", *SPEAKERS, "by_speaker", "files"]  # none without a run
    ours = ours.reindex(columns=ours.columns.union(columns, sort=False))
    each = ours["by_speaker"].astype("str").fillna("").str.split(";")
    few = ours["low_speakers"].isna()
    ours = ours.rename(columns={"difference": "value"}).assign(
        of_speakers=each.map(lambda points: [float(of or "nan") for of in points]).where(few),
        label=[network(row) for row in ours.to_dict("records")],
        group=ours["dataset"].map(NAMES) + ", " + ours["protocol"],
    )
    gains = pd.concat([theirs, ours]).set_index(["group", "label", "this"])
    columns = ["value", "low", "high", *SPEAKERS, "of_speakers"]
    gains = gains.reindex(columns=columns).unstack(sort=False)
    lines = len(gains) + gains.index.get_level_values("group").nunique()
    figure, row = plots.panels(0.8 + 0.24 * lines, 1, len(GAINS), width=8, sharex=True, sharey=True)
    for axes, method in zip(row, GAINS, strict=True):
        axes.axvline(0, color="black", lw=0.8, zorder=1)
        plots.forest(axes, gains.xs(method, axis=1, level="this").reset_index(), "+.1f")
        axes.set_title(LABELS[method])
    counted = ours.drop_duplicates("group")
    n = [f"{group}: {n} files" for group, n in counted[["group", "files"]].itertuples(index=False)]
    text = "\n".join(["Gain in test UAR over no augmentation (percentage points)", RULED, *n])
    figure.supxlabel(text, fontsize=9)
    return figure

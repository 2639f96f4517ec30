"""The figures of the report, from finished runs alone: no model, no audio, no training."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from dslite import cards, provenance
from dslite.deployment import profile
from dslite.evaluation import confusion as evaluation_confusion
from dslite.paper import charts, comparisons, costs, published, reproduction, verdicts
from dslite.paper.comparisons import PRINTED, network
from dslite.paper.published import NAMES
from dslite.paper.reproduction import TITLES
from dslite.paper.tables import environment
from dslite.training import runs as training_runs
from dslite.training.runs import BASELINES, LABELS

LEGEND = 45  # letters of a line
EXPLAINED = Path("explanation", "shap_confident.svg")  # Figure 2 of an explained run
POOLINGS = {"global": "mean over the picture", "time": "mean over time"}


@dataclass(frozen=True)
class PaperFigure:
    """A figure with its texts.

    Attributes
    ----------
    stem : str
        Name of its files without the suffix, unique on a page.
    title, caption : str
    alt : str
        What it shows, for a reader who does not see it.
    figure : Figure or str
        A string is the text of an SVG.
    """

    stem: str
    title: str
    caption: str
    alt: str
    figure: Figure | str


def datasets(runs: pd.DataFrame) -> Sequence[str]:
    """Return the paper's corpora that there are runs of, in the order of its tables."""
    order = dict.fromkeys(published.scores()["dataset"])
    return [name for name in order if name in set(runs["dataset"])]


def figures(
    runs: pd.DataFrame, numbers: pd.DataFrame, substitutes: pd.DataFrame, answers: pd.DataFrame
) -> list[PaperFigure]:
    """Draw every figure that the results at hand allow, the paper's first.

    Parameters
    ----------
    runs : DataFrame
        Of `dslite.training.runs.all_runs`.
    numbers, substitutes : DataFrame
        Of `dslite.paper.reproduction`.
    answers : DataFrame
        Of `dslite.paper.comparisons.answers`.
    """
    drawn = [figure for dataset in datasets(runs) for figure in _of_corpus(runs, dataset)]
    results = numbers[numbers["verdict"] != verdicts.SETTING]
    unrun = numbers.assign(reproduced=np.nan)
    return [
        *drawn,
        _figure("forest", forest(numbers, substitutes)),
        _figure("published", forest(unrun, substitutes.iloc[:0])),
        _figure("gains", gains(numbers, answers)),
        _figure("verdicts", charts.verdict_bars(reproduction.summary(results))),
    ]


def _figure(stem: str, figure: Figure | str, dataset: str = "", **facts: Any) -> PaperFigure:
    """A figure with its texts of ``figures.yaml``, the facts filled in."""
    text = resources.files("dslite.paper").joinpath("figures.yaml").read_text("utf-8")
    facts |= {"corpus": NAMES.get(dataset)}
    texts = {key: value.format(**facts) for key, value in yaml.safe_load(text)[stem].items()}
    return PaperFigure(f"{stem}-{dataset}" if dataset else stem, figure=figure, **texts)


def _of_corpus(runs: pd.DataFrame, dataset: str) -> Iterator[PaperFigure]:
    """Figures 1 to 3, the learning curves and the trade-offs of one corpus."""
    if pipeline := pipeline_facts(dataset):
        svg = environment().get_template("figure1.svg.j2").render(pipeline)
        yield _figure("figure1", svg, dataset, **pipeline)
    runs = runs[runs["dataset"] == dataset]
    for run in runs.sort_values("devel", ascending=False).to_dict("records"):
        file = Path(run["folder"]) / EXPLAINED
        if file.is_file():
            svg = file.read_text(encoding="utf-8")
            yield _figure("figure2", svg, dataset, run=f"{dataset}/{run['run']}")
            break
    run = best(runs)
    if run and (confusion := _confusion(run)):
        yield _figure("figure3", confusion, dataset, run=f"{dataset}/{run['run']}")
    history = histories(runs[runs["metric"] == "uar"])
    if len(history) and history["devel_score"].notna().any():
        chance = 1 / len(cards.load(dataset).classes)
        yield _figure("curves", charts.curves(history, chance), dataset)
    if pareto := _pareto(dataset):
        yield _figure("pareto", pareto, dataset)


def forest(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Figure:
    """Draw test UAR with intervals: corpora that we have runs of, or all published ones."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    others = substitutes[substitutes["column"] == "test"]
    tested = set(others["dataset"]) | set(printed.loc[printed["reproduced"].notna(), "dataset"])
    if tested:
        printed = printed[printed["dataset"].isin(tested)]
    rows = []
    bounds = ("reproduced", "reproduced_ci_low", "reproduced_ci_high")
    columns = ["source", "seeds", "score", "low", "high"]
    for row in printed.to_dict("records"):
        scores = [(PRINTED, 0, row["value"], row["low"], row["high"])]
        scores.append(("ours: DenseNet121", 1, *(row[key] for key in bounds)))
        for one in others[others["key"] == row["key"]].to_dict("records"):
            source = textwrap.fill(one["label"], LEGEND)  # settings of one's own make it long
            scores.append((source, one["seeds"], *(one[key] for key in bounds)))
        shared = {"dataset": NAMES[row["dataset"]], "configuration": LABELS[row["configuration"]]}
        rows += [shared | dict(zip(columns, score, strict=True)) for score in scores]
    classes = {name: len(cards.load(name).classes) for name in printed["dataset"].unique()}
    return charts.forest(pd.DataFrame(rows), {NAMES[name]: 100 / n for name, n in classes.items()})


def gains(numbers: pd.DataFrame, answers: pd.DataFrame) -> Figure:
    """Draw what each augmentation adds: the published differences, ours with their intervals."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    wide = printed.pivot(index="dataset", columns="configuration", values="value")
    rows = []
    for dataset in printed["dataset"].unique():
        for method in ("cutmix", "specaugment", "cutmix+specaugment"):
            shared = {"dataset": NAMES[dataset], "method": LABELS[method]}
            gain = wide.loc[dataset, method] - wide.loc[dataset, "none"]
            rows.append(shared | {"source": PRINTED, "gain": gain, "low": np.nan, "high": np.nan})
    for row in answers[answers["question"] == comparisons.AUGMENTATION].to_dict("records"):
        shared = {"dataset": NAMES[row["dataset"]], "method": LABELS[row["this"]]}
        protocol = "" if row["protocol"] == comparisons.PARTITION else f", {row['protocol']}"
        values = {"gain": row["difference"], "low": row["low"], "high": row["high"]}
        rows.append(shared | {"source": network(row) + protocol} | values)
    return charts.gains(pd.DataFrame(rows))


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Read the histories of networks, as `dslite.paper.charts.curves` draws them.

    Those that start from random weights, or with settings of their own, are left out.
    """
    networks = runs[~runs["configuration"].isin(BASELINES) & ~runs["overridden"]]
    networks = networks[~networks["random_weights"]]
    order = networks["configuration"].map(list(LABELS).index)
    parts = []
    for run in networks.loc[order.sort_values(kind="stable").index].to_dict("records"):
        file = Path(run["folder"]) / "history.csv"
        if file.is_file():
            shared = {"source": network(run), "seed": run["seed"]}
            shared["configuration"] = LABELS[run["configuration"]]
            parts.append(pd.read_csv(file).assign(**shared))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def best(runs: pd.DataFrame) -> dict[str, Any] | None:
    """Choose the pre-trained network that is best on devel; of equals the first."""
    networks = runs[~runs["random_weights"] & ~runs["configuration"].isin(BASELINES)]
    networks = networks[networks["test"].notna()]
    if networks["devel"].isna().all():
        return None
    chosen = training_runs.best_on_devel([training_runs.load(f) for f in networks["folder"]])
    return networks[networks["folder"] == str(chosen.folder)].iloc[0].to_dict()


def _confusion(row: Mapping[str, Any]) -> Figure | None:
    """Figure 3 of one run, its test files; None where the test labels are blinded."""
    run = training_runs.load(row["folder"])
    scores = {"test": run.metrics["test"]}
    drawn = evaluation_confusion.figures(scores, run.predictions, run.classes)
    return drawn.get("confusion_test")


def _profiles(dataset: str) -> dict[str, dict[str, Any]]:
    """Profiles of a corpus's networks with pre-trained weights: folder -> content."""
    return {
        str(path.parent): content
        for path, content in costs.profiles().values()
        if content["dataset"] == dataset and not content["random_weights"]
    }


def _pareto(dataset: str) -> Figure | None:
    """Score against time against size of a corpus's profiled runs."""
    tables = [profile.profile_table(content) for content in _profiles(dataset).values()]
    return profile.pareto_figure(pd.concat(tables, ignore_index=True)) if tables else None


def pipeline_facts(dataset: str) -> dict[str, Any] | None:
    """Read what Figure 1 shows, of a corpus's profiled network that is best on devel.

    Returns
    -------
    dict or None
        What ``figure1.svg.j2`` fills in; None where no profile of a pre-trained network says its
        shapes.
    """
    profiles = [(c.get("devel", {}).get("float32") or 0, folder, c)
                for folder, c in _profiles(dataset).items() if "shapes" in c]  # fmt: skip
    if not profiles:
        return None
    _, folder, content = max(profiles, key=lambda one: one[:2])
    record = provenance.read_json(Path(folder) / training_runs.LAST, "run it again")
    threads = content["threads"][0]
    rows = [row for row in content["rows"] if row["threads"] == threads]
    lite = {row["part"]: row for row in rows if row["variant"] == "float32"}
    sizes = {row["variant"]: row.get("size_bytes") for row in rows if row["part"] == "model"}
    for row in content["rows"]:
        if (row["part"], row["variant"]) == costs.STAGES["tf_model"]:
            sizes.setdefault("Keras", row.get("size_bytes"))
    return {
        "name": f"{dataset}/{content['run']}",
        "backbone": TITLES.get(content["backbone"], content["backbone"]),
        "pooling": POOLINGS[record["settings"]["pooling"]],
        "ms": {part: row["ms_median"] for part, row in lite.items()},
        "sizes": {name: _size(count) for name, count in sizes.items() if count is not None},
        "peak_mb": lite.get("model", {}).get("peak_mb"),
        **{"settings": record["settings"], "classes": record["classes"], "threads": threads},
        **{key: content[key] for key in ("shapes", "layers", "hardware")},
    }


def _size(count: float) -> str:
    """Bytes as a text, in powers of 1000."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"

"""The figures of the report, from finished runs alone: no model, no audio, no training."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    of_corpora = [figure for dataset in datasets(runs) for figure in _of_corpus(runs, dataset)]
    return [
        *of_corpora,
        PaperFigure(
            "forest",
            "Test UAR per configuration",
            "Points with 95 % intervals; the paper's is black and open. Another backbone or preset "
            "is no reproduction of DenseNet121's number.",
            "Forest plot of test UAR with intervals, published and ours, by configuration.",
            forest(numbers, substitutes),
        ),
        PaperFigure(
            "published",
            "Test UAR as published, all corpora",
            "Tables 3 and 4 as printed; the dashed line is chance, 100 over the number of classes.",
            "Forest plot of the published test UAR of eight corpora with their intervals.",
            forest(numbers.assign(reproduced=np.nan), substitutes.iloc[:0]),
        ),
        PaperFigure(
            "gains",
            "What augmentation adds",
            "Points of test UAR above the same network without augmentation. Ours with the 95 % "
            "interval of the difference over files; the paper prints none.",
            "Gain in test UAR of three augmentations on eight corpora, published and ours.",
            gains(numbers, answers),
        ),
        PaperFigure(
            "verdicts",
            "Verdicts per table",
            "Shares of the numbers of each table, with counts.",
            "Stacked bars of verdicts for the paper's tables.",
            charts.verdict_bars(
                reproduction.summary(numbers[numbers["verdict"] != verdicts.SETTING])
            ),
        ),
    ]


def _of_corpus(runs: pd.DataFrame, dataset: str) -> list[PaperFigure]:
    """Figures 1 to 3, the learning curves and the trade-offs of one corpus."""
    drawn, name = [], NAMES[dataset]
    if pipeline := pipeline_facts(dataset):
        svg = environment().get_template("figure1.svg.j2").render(pipeline)
        drawn.append(
            PaperFigure(
                f"figure1-{dataset}",
                f"Figure 1 on {name}: the pipeline as it was run",
                f"Shapes, sizes and times of {pipeline['name']} ({pipeline['hardware']}, "
                f"{pipeline['threads']} thread), read from the objects themselves.",
                "Boxes from audio over Mel spectrogram, picture, backbone and head to a decision.",
                svg,
            )
        )
    of_corpus = runs[runs["dataset"] == dataset]
    for run in of_corpus.sort_values("devel", ascending=False).to_dict("records"):
        file = Path(run["folder"]) / EXPLAINED
        if file.is_file():
            drawn.append(
                PaperFigure(
                    f"figure2-{dataset}",
                    f"Figure 2 on {name}: what raised and what lowered each class",
                    f"SHAP values of {dataset}/{run['run']}: of each class the test file that was "
                    "recognised with the highest probability. Red raises, blue lowers.",
                    "Mel spectrograms of one file a class beside their SHAP values.",
                    file.read_text(encoding="utf-8"),
                )
            )
            break
    run = best(of_corpus)
    confusion = _confusion(run) if run else None
    if confusion is not None:
        drawn.append(
            PaperFigure(
                f"figure3-{dataset}",
                f"Figure 3 on {name}: confusion on test",
                f"Files of {dataset}/{run['run']}, the network that is best on devel, evaluated "
                "once on test. The darker a cell, the higher its share of the true class.",
                "Confusion matrix of the test files, counts and shares of the true class.",
                confusion,
            )
        )
    history = histories(of_corpus[of_corpus["metric"] == "uar"])
    if len(history) and history["devel_score"].notna().any():
        drawn.append(
            PaperFigure(
                f"curves-{dataset}",
                f"Learning curves on {name}",
                "The training on train, scored on devel; thin lines are seeds, thick ones their "
                "mean.",
                "Losses and devel UAR over the epochs, by network, preset and augmentation.",
                charts.curves(history, 1 / len(cards.load(dataset).classes)),
            )
        )
    pareto = _pareto(dataset)
    if pareto is not None:
        drawn.append(
            PaperFigure(
                f"pareto-{dataset}",
                f"Score against time against size on {name}",
                "Every file for the device that was profiled: devel UAR over the median time from "
                "audio to probabilities; the area is the file's size.",
                "Scatter plot of devel UAR over time of a run, mark area by size of the file.",
                pareto,
            )
        )
    return drawn


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

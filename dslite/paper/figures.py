"""The figures of the report, from committed tables alone: no model, no audio, no training."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import cards
from dslite.deployment import profile as deployment_profile
from dslite.evaluation import confusion as evaluation_confusion
from dslite.paper import charts, comparisons, pipeline, published, verdicts
from dslite.paper import costs as paper_costs
from dslite.paper.comparisons import PRINTED, network
from dslite.paper.published import NAMES
from dslite.paper.reproduction import TITLES
from dslite.training import runs
from dslite.training import runs as training_runs
from dslite.training.runs import LABELS

LEGEND = 45  # letters of a line


def forest(numbers: pd.DataFrame, substitutes: pd.DataFrame, ours: bool = True) -> Figure:
    """Test UAR with intervals: corpora that we have runs of, or all published ones."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    beside = substitutes[substitutes["column"] == "test"]
    tested = set(beside["dataset"]) | set(printed.loc[printed["reproduced"].notna(), "dataset"])
    if ours and tested:
        printed = printed[printed["dataset"].isin(tested)]
    rows = []
    for row in printed.to_dict("records"):
        shared = {"dataset": NAMES[row["dataset"]], "configuration": LABELS[row["configuration"]]}
        values = {"score": row["value"], "low": row["low"], "high": row["high"], "seeds": 0}
        rows.append(shared | {"source": PRINTED} | values)
        if ours and not np.isnan(row["reproduced"]):
            values = {
                "score": row["reproduced"],
                "low": row["reproduced_ci_low"],
                "high": row["reproduced_ci_high"],
            }
            rows.append(shared | {"source": "ours: DenseNet121"} | values | {"seeds": 1})
        for one in beside[beside["key"] == row["key"]].to_dict("records") if ours else []:
            values = {
                "score": one["reproduced"],
                "low": one["reproduced_ci_low"],
                "high": one["reproduced_ci_high"],
            }
            source = textwrap.fill(one["label"], LEGEND)  # settings of one's own make it long
            rows.append(shared | {"source": source} | values | {"seeds": one["seeds"]})
    table = pd.DataFrame(rows)
    classes = {name: len(cards.load(name).classes) for name in printed["dataset"].unique()}
    return charts.forest(table, {NAMES[name]: 100 / n for name, n in classes.items()})


def gains(numbers: pd.DataFrame, answers: pd.DataFrame) -> Figure:
    """What each augmentation adds: the published differences, and ours with their intervals."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    wide = printed.pivot(index="dataset", columns="configuration", values="value")
    rows = []
    for dataset in printed["dataset"].unique():
        for method in ("cutmix", "specaugment", "cutmix+specaugment"):
            shared = {"dataset": NAMES[dataset], "method": LABELS[method]}
            gain = wide.loc[dataset, method] - wide.loc[dataset, "none"]
            rows.append(shared | {"source": PRINTED, "gain": gain, "low": np.nan, "high": np.nan})
    asked = answers[answers["question"] == comparisons.AUGMENTATION] if len(answers) else answers
    for row in asked.to_dict("records"):
        shared = {"dataset": NAMES[row["dataset"]], "method": LABELS[row["this"]]}
        protocol = "" if row["protocol"] == comparisons.PARTITION else f", {row['protocol']}"
        values = {"gain": row["difference"], "low": row["low"], "high": row["high"]}
        rows.append(shared | {"source": network(row, TITLES) + protocol} | values)
    return charts.gains(pd.DataFrame(rows))


def histories(found: pd.DataFrame) -> pd.DataFrame:
    """Histories of the networks among `dslite.training.runs.all_runs`, as `dslite.paper.charts.curves` has it.

    Those that start from random weights, or with settings of their own, are left out.
    """
    networks = found[~found["configuration"].isin(training_runs.BASELINES) & ~found["overridden"]]
    networks = networks[~networks["random_weights"]]
    order = networks["configuration"].map(list(LABELS).index)
    parts = []
    for run in networks.loc[order.sort_values(kind="stable").index].to_dict("records"):
        file = Path(run["folder"]) / "history.csv"
        if file.is_file():
            shared = {"source": network(run, TITLES), "seed": run["seed"]}
            shared["configuration"] = LABELS[run["configuration"]]
            parts.append(pd.read_csv(file).assign(**shared))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def curves(found: pd.DataFrame, dataset: str) -> Figure | None:
    """Learning curves of all of a corpus's networks; None where there are none."""
    history = histories(found[(found["dataset"] == dataset) & (found["metric"] == "uar")])
    if history.empty or history["devel_score"].isna().all():
        return None
    return charts.curves(history, 1 / len(cards.load(dataset).classes))


def agreement(numbers: pd.DataFrame) -> Figure:
    """Verdicts per table; settings are no results and stay out."""
    judged = numbers[numbers["verdict"] != verdicts.SETTING]
    counts = judged.groupby(["table", "verdict"]).size().rename("count").reset_index()
    order = [verdict for verdict in verdicts.ORDER if verdict in set(counts["verdict"])]
    counts["verdict"] = pd.Categorical(counts["verdict"], order)
    return charts.verdict_bars(counts)


def pareto(dataset: str) -> Figure | None:
    """Score against time against size of a corpus's profiled runs with pre-trained weights."""
    profiles = [content for _, content in paper_costs.profiles().values()]
    own = [c for c in profiles if c["dataset"] == dataset and not c["random_weights"]]
    return (
        deployment_profile.pareto_figure(
            pd.concat(map(deployment_profile.profile_table, own), ignore_index=True)
        )
        if own
        else None
    )


def best(found: pd.DataFrame, dataset: str) -> dict[str, Any] | None:
    """Of a corpus's pre-trained networks the one that devel chose; of equals the first."""
    own = found[(found["dataset"] == dataset) & ~found["random_weights"]]
    own = own[~own["configuration"].isin(training_runs.BASELINES) & own["test"].notna()]
    if own.empty or own["devel"].isna().all():
        return None
    chosen = runs.best_on_devel([runs.load(folder) for folder in own["folder"]])
    return own[own["folder"] == str(chosen.folder)].iloc[0].to_dict()


def confusion(run: dict[str, Any]) -> Figure | None:
    """Figure 3 of one run, its test files; None where the test labels are blinded."""
    loaded = runs.load(run["folder"])
    scores = {"test": loaded.metrics["test"]}
    figures = evaluation_confusion.figures(scores, loaded.predictions, loaded.classes)
    return figures.get("confusion_test")


def corpus_facts(dataset: str) -> dict[str, Any] | None:
    """What `dslite.paper.pipeline.stages` draws, of the profiled network that is best on devel.

    None where no profile of a pre-trained network says its shapes.
    """
    known = []
    for place, content in paper_costs.profiles().values():
        own = content["dataset"] == dataset and not content["random_weights"]
        if own and "shapes" in content:
            known.append((content.get("devel", {}).get("float32") or 0, str(place), content))
    if not known:
        return None
    _, place, content = max(known, key=lambda one: one[:2])
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    record = json.loads((folder / runs.LAST).read_text(encoding="utf-8"))
    used, shapes, layers = record["settings"], content["shapes"], content["layers"]
    rate = used["sample_rate"]
    first = content["threads"][0]
    rows = [row for row in content["rows"] if row["threads"] == first]
    lite = {row["part"]: row for row in rows if row["variant"] == "float32"}
    sizes = {row["variant"]: row.get("size_bytes") for row in rows if row["part"] == "model"}
    keras = [row for row in content["rows"] if row["variant"] == deployment_profile.KERAS]
    return {
        **{"sample_rate": rate, "chunk_length_s": used["chunk_length_s"]},
        **{"samples": shapes["samples"][0], "mel_shape": shapes["mel"]},
        **{key: used[key] for key in ("window_ms", "hop_ms", "feature_layer", "pooling", "units")},
        **{"image_shape": shapes["picture"], "feature_shape": shapes["features"]},
        **{"pooled": shapes["pooled"][0], "classes": record["classes"]},
        "backbone": TITLES.get(content["backbone"], content["backbone"]),
        "parameters": {part: layers[f"{part}_parameters"] for part in ("backbone", "head")},
        "ms": {part: lite[part]["ms_median"] for part in deployment_profile.PARTS if part in lite},
        "bytes": sizes | ({"keras": keras[0].get("size_bytes")} if keras else {}),
        **{"threads": first, "hardware": content["hardware"]},
        "peak_mb": lite.get("model", {}).get("peak_mb"),
        **{"layers": layers["backbone"], "trained_layers": layers["trained"]},
        "name": f"{dataset}/{content['run']}",
    }


def overlays(found: pd.DataFrame, dataset: str) -> tuple[str, str] | None:
    """Figure 2 as it was kept with an explained run: its SVG and the run's name."""
    for run in (
        found[found["dataset"] == dataset].sort_values("devel", ascending=False).itertuples()
    ):
        file = Path(run.folder) / "explanation" / "shap_confident.svg"
        if file.is_file():
            return file.read_text(encoding="utf-8"), f"{dataset}/{run.run}"
    return None


def datasets(found: pd.DataFrame) -> Sequence[str]:
    """The paper's corpora that there are runs of, in the order of its tables."""
    order = [name for n in (3, 4) for name in dict.fromkeys(published.table(n)["dataset"])]
    return [name for name in order if name in set(found["dataset"])]


@dataclass(frozen=True)
class Drawn:
    """A figure with what is said of it."""

    stem: str
    title: str
    caption: str
    alt: str
    figure: Figure | str  # or an SVG's text, of a figure that was kept


def figures(
    runs: pd.DataFrame, numbers: pd.DataFrame, substitutes: pd.DataFrame, answers: pd.DataFrame
) -> list[Drawn]:
    """Every figure that the results at hand allow, the paper's first."""
    drawn: list[Drawn] = []
    for dataset in datasets(runs):
        drawn += _of_corpus(runs, dataset)
    shown = numbers, substitutes
    drawn.append(
        Drawn(
            "forest",
            "Test UAR per configuration",
            "Points with 95 % intervals; the paper's is black and open. Another backbone or preset "
            "is no reproduction of DenseNet121's number.",
            "Forest plot of test UAR with intervals, published and ours, by configuration.",
            forest(*shown),
        )
    )
    drawn.append(
        Drawn(
            "published",
            "Test UAR as published, all corpora",
            "Tables 3 and 4 as printed; the dashed line is chance, 100 over the number of classes.",
            "Forest plot of the published test UAR of eight corpora with their intervals.",
            forest(*shown, ours=False),
        )
    )
    drawn.append(
        Drawn(
            "gains",
            "What augmentation adds",
            "Points of test UAR above the same network without augmentation. Ours with the 95 % "
            "interval of the difference over files; the paper prints none.",
            "Gain in test UAR of three augmentations on eight corpora, published and ours.",
            gains(numbers, answers),
        )
    )
    drawn.append(
        Drawn(
            "verdicts",
            "Verdicts per table",
            "Shares of the numbers of each table, with counts.",
            "Stacked bars of verdicts for the paper's tables.",
            agreement(numbers),
        )
    )
    return drawn


def _of_corpus(runs: pd.DataFrame, dataset: str) -> list[Drawn]:
    """Figures 1 to 3 and the learning curves of one corpus."""
    drawn, name = [], NAMES[dataset]
    facts = corpus_facts(dataset)
    if facts:
        drawn.append(
            Drawn(
                f"figure1-{dataset}",
                f"Figure 1 on {name}: the pipeline as it was run",
                f"Shapes, sizes and times of {facts['name']} ({facts['hardware']}, "
                f"{facts['threads']} thread), read from the objects themselves.",
                "Boxes from audio over Mel spectrogram, picture, backbone and head to a decision.",
                pipeline.figure(pipeline.stages(facts), facts["name"]),
            )
        )
    kept = overlays(runs, dataset)
    if kept:
        svg, run = kept
        drawn.append(
            Drawn(
                f"figure2-{dataset}",
                f"Figure 2 on {name}: what raised and what lowered each class",
                f"SHAP values of {run}: of each class the test file that was recognised with the "
                "highest probability. Red raises, blue lowers.",
                "Mel spectrograms of one file a class beside their SHAP values.",
                svg,
            )
        )
    chosen = best(runs, dataset)
    confused = confusion(chosen) if chosen else None
    if confused is not None:
        drawn.append(
            Drawn(
                f"figure3-{dataset}",
                f"Figure 3 on {name}: confusion on test",
                f"Files of {dataset}/{chosen['run']}, the network that is best on devel, evaluated "
                "once on test. The darker a cell, the higher its share of the true class.",
                "Confusion matrix of the test files, counts and shares of the true class.",
                confused,
            )
        )
    learning = curves(runs, dataset)
    if learning is not None:
        drawn.append(
            Drawn(
                f"curves-{dataset}",
                f"Learning curves on {name}",
                "The training on train, scored on devel; thin lines are seeds, thick ones their "
                "mean.",
                "Losses and devel UAR over the epochs, by network, preset and augmentation.",
                learning,
            )
        )
    traded = pareto(dataset)
    if traded is not None:
        drawn.append(
            Drawn(
                f"pareto-{dataset}",
                f"Score against time against size on {name}",
                "Every file for the device that was profiled: devel UAR over the median time from "
                "audio to probabilities; the area is the file's size.",
                "Scatter plot of devel UAR over time of a run, mark area by size of the file.",
                traded,
            )
        )
    return drawn

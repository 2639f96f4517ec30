"""The report's figures, each with its title, its caption and what it shows in words."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from dslite.paper import figures as paper_figures
from dslite.paper import pipeline, pipeline_stages
from dslite.paper.published import NAMES


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
    for dataset in paper_figures.datasets(runs):
        drawn += _of_corpus(runs, dataset)
    shown = numbers, substitutes
    drawn.append(
        Drawn(
            "forest",
            "Test UAR per configuration",
            "Points with 95 % intervals; the paper's is black and open. Another backbone or preset "
            "is no reproduction of DenseNet121's number.",
            "Forest plot of test UAR with intervals, published and ours, by configuration.",
            paper_figures.forest(*shown),
        )
    )
    drawn.append(
        Drawn(
            "published",
            "Test UAR as published, all corpora",
            "Tables 3 and 4 as printed; the dashed line is chance, 100 over the number of classes.",
            "Forest plot of the published test UAR of eight corpora with their intervals.",
            paper_figures.forest(*shown, ours=False),
        )
    )
    drawn.append(
        Drawn(
            "gains",
            "What augmentation adds",
            "Points of test UAR above the same network without augmentation. Ours with the 95 % "
            "interval of the difference over files; the paper prints none.",
            "Gain in test UAR of three augmentations on eight corpora, published and ours.",
            paper_figures.gains(numbers, answers),
        )
    )
    drawn.append(
        Drawn(
            "verdicts",
            "Verdicts per table",
            "Shares of the numbers of each table, with counts.",
            "Stacked bars of verdicts for the paper's tables.",
            paper_figures.agreement(numbers),
        )
    )
    return drawn


def _of_corpus(runs: pd.DataFrame, dataset: str) -> list[Drawn]:
    """Figures 1 to 3 and the learning curves of one corpus."""
    drawn, name = [], NAMES[dataset]
    facts = paper_figures.facts(dataset)
    if facts:
        drawn.append(
            Drawn(
                f"figure1-{dataset}",
                f"Figure 1 on {name}: the pipeline as it was run",
                f"Shapes, sizes and times of {facts['name']} ({facts['hardware']}, "
                f"{facts['threads']} thread), read from the objects themselves.",
                "Boxes from audio over Mel spectrogram, picture, backbone and head to a decision.",
                pipeline.figure(pipeline_stages.stages(facts), facts["name"]),
            )
        )
    kept = paper_figures.overlays(runs, dataset)
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
    chosen = paper_figures.best(runs, dataset)
    confused = paper_figures.confusion(chosen) if chosen else None
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
    learning = paper_figures.curves(runs, dataset)
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
    traded = paper_figures.pareto(dataset)
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

"""The commands that train: a network, or one of the baselines."""

from pathlib import Path
from typing import Annotated

import typer

from dslite import tensorflow_logging
from dslite.datasets import commands
from dslite.datasets.commands import Columns, Dataset, Name, Overrides
from dslite.errors import InputError
from dslite.settings import MOST_SEED

# Modules that take long to import are imported inside the commands: the help must not wait.
Backbone = Annotated[str, typer.Option(help="densenet121, mobilenet_v2, …")]
Weights = Annotated[str, typer.Option(help="imagenet, random or a file")]
Preset = Annotated[str, typer.Option(help="paper or tuned")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED)]
Folds = Annotated[
    int | None,
    typer.Option(help="cross-validation: so many speaker-independent folds, each file tested once"),
]
Force = Annotated[bool, typer.Option(help="do again what is finished")]


def train(
    dataset: Dataset,
    augmentation: Annotated[
        str, typer.Option(help="none, cutmix, specaugment or both with +")
    ] = "",
    backbone: Backbone = "",
    weights: Weights = "",
    preset: Preset = "",
    seed: Seed = 0,
    overrides: Overrides = None,
    folds: Folds = None,
    name: Name = "",
    columns: Columns = "",
    devel_only: Annotated[
        bool, typer.Option("--devel-only", help="a point of a grid: the first training, no test")
    ] = False,
    force: Force = False,
) -> None:
    """Train one configuration: chosen on devel, evaluated once on test.

    An interrupted training goes on from its last finished epoch.
    """
    from dslite import cards

    named = {"augmentation": augmentation, "backbone": backbone, "weights": weights}
    card = commands.load_card(dataset, name=name, columns=columns)
    chosen = cards.settings_of(card, preset, overrides or "", **named)
    built = commands.checked(card)
    tensorflow_logging.import_tensorflow()
    from dslite.datasets.partitions import divide
    from dslite.training import experiment

    options = (chosen, seed, preset, force, typer.echo)
    if devel_only:  # also in every fold, each with a choice of its own: nothing to be averaged
        for part in [built] if folds is None else divide(built, folds):
            _print_run(experiment.train(part, *options, candidate=True))
    else:
        _run(built, folds, lambda part: experiment.train(part, *options))


def baseline(
    dataset: Dataset,
    features: Annotated[
        str, typer.Option(help="network: Deep Spectrum, linear SVM; librosa: statistics, RBF-SVM")
    ] = "network",
    backbone: Backbone = "",
    weights: Weights = "",
    preset: Preset = "",
    seed: Seed = 0,
    overrides: Overrides = None,
    folds: Folds = None,
    name: Name = "",
    columns: Columns = "",
    force: Force = False,
) -> None:
    """Features and a support vector machine: chosen on devel, evaluated once on test."""
    from dslite import cards, settings
    from dslite.training import runs

    if features not in runs.FEATURES:
        raise InputError(f"--features {features}{settings.nearest(features, runs.FEATURES)}")
    kind = runs.FEATURES[features]
    if kind == runs.LIBROSA and (backbone or weights):
        raise InputError("--features librosa has no backbone: leave out --backbone and --weights")
    named = {"backbone": backbone, "weights": weights}
    card = commands.load_card(dataset, name=name, columns=columns)
    chosen = cards.settings_of(card, preset, overrides or "", **named)
    built = commands.checked(card)
    tensorflow_logging.import_tensorflow()
    from dslite.training import baselines

    options = (chosen, seed, preset, force, typer.echo, kind)
    _run(built, folds, lambda part: baselines.train_baseline(part, *options))


def with_corpus(run: Path, table: str):
    """Return a finished run and the checked manifest that it was trained with."""
    from dslite import cards, paths
    from dslite.datasets import partitions
    from dslite.training import runs

    finished = runs.load(run)
    record = finished.record
    recorded = record.get("table", {"path": "", "columns": {}})  # of a corpus of one's own
    path = table or recorded["path"] or record["dataset"]
    if recorded["path"] and not paths.find(path).is_file():
        raise InputError(f"{run}: its table {path} is not there; say where it is with --table")
    own = {"name": record["dataset"], "columns": recorded["columns"]} if recorded["path"] else {}
    corpus = commands.checked(cards.load(path, **own))
    return finished, partitions.of_run(corpus, finished.record)


def _print_run(finished) -> None:
    """Print the scores of a finished run and its folder."""
    from dslite import paths
    from dslite.training import runs

    if finished.record["kind"] == runs.NETWORK and finished.metrics["devel"]:
        for line in runs.better_baselines(finished):
            typer.echo(line)
    for part in ("devel",) if finished.record.get("candidate") else ("devel", "test"):
        typer.echo(f"{part}: {runs.headline(finished.metrics[part])}")
    typer.echo(f"results: {paths.shown(finished.folder)}")


def _run(built, k: int | None, run_one) -> None:
    """Run the corpus as it is divided, or once in each of k folds, and print the scores."""
    if k is None:
        _print_run(run_one(built))
        return
    from dslite import paths
    from dslite.training import cross_validation, runs

    summary = cross_validation.cross_validate(built, k, run_one, log=typer.echo)
    typer.echo(summary.table.round(3).to_string(index=False))
    for line in cross_validation.headline(summary):
        typer.echo(line)
    if summary.record["kind"] not in runs.BASELINES:
        for line in cross_validation.against_baselines(summary):
            typer.echo(line)
    typer.echo(f"results: {paths.shown(summary.folder)}")

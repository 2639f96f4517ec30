"""The commands that train: a network, or one of the baselines."""

from pathlib import Path
from typing import Annotated

import typer

from dslite.datasets import commands
from dslite.datasets.commands import Columns, Dataset, Name, Overrides, SkipBad
from dslite.errors import InputError
from dslite.models import tensorflow_logging
from dslite.settings import MOST_SEED

# Modules that take long to import are imported inside the commands: the help must not wait.
Backbone = Annotated[str, typer.Option(help="densenet121, mobilenet_v2, …")]
Weights = Annotated[str, typer.Option(help="imagenet, random or a file")]
Preset = Annotated[str, typer.Option(help="tuned, repaired, paper or authors")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED)]
Folds = Annotated[
    int | None,
    typer.Option(help="cross-validation: so many speaker-independent folds, each file tested once"),
]
Features = Annotated[
    str, typer.Option(help="network: Deep Spectrum, linear SVM; librosa: statistics, RBF-SVM")
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
    skip_bad: SkipBad = None,
    force: Force = False,
) -> None:
    """Train one configuration: chosen on devel, evaluated once on test.

    An interrupted training goes on from its last finished epoch.
    """
    from dslite import cards, settings

    named = {"augmentation": augmentation, "backbone": backbone, "weights": weights}
    card = commands.load_card(dataset, name=name, columns=columns, skip_bad=skip_bad)
    chosen = cards.settings_of(card, preset, overrides or "", **named)
    named = [key for key, value in named.items() if value]
    if idle := settings.without_effect(
        chosen, [*named, *settings.parse_overrides(overrides or "")]
    ):
        typer.echo(f"warning: {idle}", err=True)
    built = commands.checked(card)
    tensorflow_logging.import_tensorflow(chosen.threads)
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
    features: Features = "network",
    backbone: Backbone = "",
    weights: Weights = "",
    preset: Preset = "",
    seed: Seed = 0,
    overrides: Overrides = None,
    folds: Folds = None,
    name: Name = "",
    columns: Columns = "",
    skip_bad: SkipBad = None,
    force: Force = False,
) -> None:
    """Features and a support vector machine: chosen on devel, evaluated once on test."""
    card = commands.load_card(dataset, name=name, columns=columns, skip_bad=skip_bad)
    kind, chosen = _of_baseline(card, features, backbone, weights, preset, overrides)
    built = commands.checked(card)
    tensorflow_logging.import_tensorflow(chosen.threads)
    from dslite.training import baselines

    options = (chosen, seed, preset, force, typer.echo, kind)
    _run(built, folds, lambda part: baselines.train_baseline(part, *options))


def features(
    dataset: Dataset,
    output: Annotated[Path, typer.Option("--output", "-o", help="a .csv, .npz or .arff")],
    kind: Annotated[str, typer.Option("--features", help="network or librosa")] = "network",
    backbone: Backbone = "",
    weights: Weights = "",
    preset: Preset = "",
    overrides: Overrides = None,
    name: Name = "",
    columns: Columns = "",
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="take all audio, and no labels or partitions")
    ] = False,
    skip_bad: SkipBad = None,
) -> None:
    """Write the features that a baseline learns from, one row a file: name, label, partition.

    A table without labels or a folder of recordings will do: label and partition are empty then.
    """
    from dslite import paths
    from dslite.datasets import listing
    from dslite.features import export, functionals

    output = output.expanduser().absolute()
    export.suffix(output)
    card = commands.load_card(dataset, name=name, columns=columns, skip_bad=skip_bad)
    kind, chosen = _of_baseline(card, kind, backbone, weights, preset, overrides)
    listed = listing.unlabelled(card, unlabelled)
    built = commands.checked(card, listed)
    tensorflow_logging.import_tensorflow(chosen.threads)
    import numpy as np

    from dslite.training import baselines, runs

    values = baselines.file_features(built, chosen, kind, preset)
    present = ~np.isnan(values).all(axis=1)
    if not present.all():
        missing = built.table["path"][~present].tolist()
        typer.echo(f"left out: {len(missing)} files without a chunk, first {missing[0]}", err=True)
    names = functionals.names(values.shape[1]) if kind == runs.LIBROSA else None
    names = names or [f"neuron_{i}" for i in range(values.shape[1])]
    export.write(output, built.table[present], values[present], names, built.classes)
    count, width = values[present].shape
    without = ", without labels" if listed else ""
    typer.echo(f"{count} files, {width} features each{without}: {paths.shown(output)}")


def _of_baseline(card, features: str, backbone: str, weights: str, preset: str, overrides):
    """Return a baseline's kind and its settings."""
    from dslite import cards, settings
    from dslite.training import runs

    if features not in runs.FEATURES:
        raise InputError(f"--features {features}{settings.nearest(features, runs.FEATURES)}")
    kind = runs.FEATURES[features]
    if kind == runs.LIBROSA and (backbone or weights):
        raise InputError("--features librosa has no backbone: leave out --backbone and --weights")
    named = {"backbone": backbone, "weights": weights}
    return kind, cards.settings_of(card, preset, overrides or "", **named)


def with_corpus(run: Path, table: str):
    """Return a finished run and the checked manifest that it was trained with."""
    from dslite.datasets import partitions
    from dslite.training import runs

    finished = runs.load(run)
    return finished, partitions.of_run(corpus_of(finished, table), finished.record)


def corpus_of(run, table: str):
    """Return the checked manifest of a run's corpus; of a table where it was or where it now is."""
    from dslite import cards, paths

    name, recorded = run.record["dataset"], run.record.get("table")
    if not table and name in cards.names():
        return commands.checked(_skipping(cards.load(name), run))
    place = paths.find(table or (recorded or {"path": f"{name}.csv"})["path"])
    if not table and not place.exists():
        raise InputError(
            f"{run.folder}: the table of this run, {place}, is not there; say where it is with "
            "--table"
        )
    columns = (recorded or {}).get("columns", {})
    return commands.checked(_skipping(cards.load(str(place), name=name, columns=columns), run))


def _skipping(card, run):
    """A card that passes over as many bad files as when the run was made."""
    most = max(card.skip_bad, len(run.record.get("skipped", ())))
    return card.model_copy(update={"skip_bad": most})


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

"""The ``dslite`` command: a few lines over the functions that the notebooks call."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

import dslite
from dslite import notebooks, tensorflow_logging
from dslite.datasets import commands as dataset_commands
from dslite.datasets.commands import Dataset, Overrides
from dslite.deployment import commands as deployment_commands
from dslite.errors import ConversionError, InputError, NotebookError
from dslite.explanation import commands as explanation_commands
from dslite.paper import commands as paper_commands
from dslite.studies import commands as study_commands
from dslite.training import runs as training_runs

# Rooms are imported inside the commands: the help must not wait for TensorFlow.
app = typer.Typer(
    help="Transfer learning from Mel spectrogram images: corpora, training, prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Folds = Annotated[
    int | None,
    typer.Option(help="cross-validation: so many speaker-independent folds, each file tested once"),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dslite {dslite.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """See the module."""


for command in (
    dataset_commands.datasets,
    dataset_commands.check,
    dataset_commands.partition,
    dataset_commands.fetch,
):
    app.command()(command)


def _tell(finished) -> None:
    """What a finished run has reached, and where it lies."""
    from dslite import paths
    from dslite.training import runs

    for part in ("devel",) if finished.record.get("candidate") else ("devel", "test"):
        typer.echo(f"{part}: {runs.headline(finished.metrics[part])}")
    typer.echo(f"results: {paths.shown(finished.folder)}")


def _run(built, k: int | None, run_one) -> None:
    """A run of the corpus as it is divided, or one in each of k folds, and what came of it."""
    if k is None:
        _tell(run_one(built))
        return
    from dslite import paths
    from dslite.training import cross_validation

    found = cross_validation.run(built, k, run_one, log=typer.echo)
    typer.echo(found.table.round(3).to_string(index=False))
    for line in cross_validation.headline(found):
        typer.echo(line)
    typer.echo(f"results: {paths.shown(found.folder)}")


@app.command()
def train(
    dataset: Dataset,
    augmentation: Annotated[
        str, typer.Option(help="none, cutmix, specaugment or both with +")
    ] = "",
    backbone: Annotated[str, typer.Option(help="densenet121, mobilenet_v2, …")] = "",
    weights: Annotated[str, typer.Option(help="imagenet, random or a file")] = "",
    preset: Annotated[str, typer.Option(help="paper or tuned")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    overrides: Overrides = None,
    folds: Folds = None,
    devel_only: Annotated[
        bool,
        typer.Option(
            "--devel-only", help="a point of a grid: the first training alone, without test"
        ),
    ] = False,
    force: Annotated[bool, typer.Option(help="train again what is finished")] = False,
) -> None:
    """Train one configuration: chosen on devel, evaluated once on test.

    An interrupted training goes on from its last finished epoch.
    """
    from dslite import cards

    chosen = cards.settings_of(
        cards.load(dataset),
        preset,
        overrides or "",
        augmentation=augmentation,
        backbone=backbone,
        weights=weights,
    )
    built = dataset_commands.checked(dataset)
    tensorflow_logging.import_tensorflow()
    from dslite.datasets.partitions import divide
    from dslite.training import experiment

    given = (chosen, seed, preset, force)
    if devel_only:  # also in every fold, each with a choice of its own: nothing to be averaged
        for part in [built] if folds is None else divide(built, folds):
            _tell(experiment.candidate(part, *given, log=typer.echo))
        return
    _run(built, folds, lambda part: experiment.run(part, *given, log=typer.echo))


@app.command()
def baseline(
    dataset: Dataset,
    features: Annotated[
        str, typer.Option(help="network: Deep Spectrum, linear SVM; librosa: statistics, RBF-SVM")
    ] = "network",
    backbone: Annotated[str, typer.Option(help="of the features network")] = "",
    weights: Annotated[str, typer.Option(help="imagenet, random or a file")] = "",
    preset: Annotated[str, typer.Option(help="paper or tuned")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    overrides: Overrides = None,
    folds: Folds = None,
    force: Annotated[bool, typer.Option(help="compute again what is finished")] = False,
) -> None:
    """Features and a support vector machine: chosen on devel, evaluated once on test."""
    from dslite import cards, settings
    from dslite.training import runs

    if features not in runs.FEATURES:
        raise InputError(f"--features {features}{settings.nearest(features, runs.FEATURES)}")
    kind = runs.FEATURES[features]
    if kind == runs.LIBROSA and (backbone or weights):
        raise InputError("--features librosa has no backbone: leave out --backbone and --weights")
    chosen = cards.settings_of(
        cards.load(dataset), preset, overrides or "", backbone=backbone, weights=weights
    )
    built = dataset_commands.checked(dataset)
    tensorflow_logging.import_tensorflow()
    from dslite.training import baselines as training_baselines

    given = (chosen, seed, preset, force)
    _run(
        built,
        folds,
        lambda part: training_baselines.run(part, *given, log=typer.echo, kind=kind),
    )


@app.command()
def rerun(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    table: Annotated[str, typer.Option(help="the run's table, of an own corpus")] = "",
    weights: Annotated[
        str, typer.Option(help="where the run's weights file is, if not where the card says")
    ] = "",
    keep: Annotated[bool, typer.Option("--keep", help="keep what the repetition leaves")] = False,
) -> None:
    """Repeat a finished run from its record: status 0 if every number is equal, 1 if not.

    Everything is computed anew in a temporary folder; the run itself is not touched.
    """
    from dslite import paths
    from dslite.studies import rerun as study_rerun

    original = study_rerun.load(run)
    built = dataset_commands.checked(study_rerun.dataset_of(original, table))
    planned = study_rerun.plan(original, built, weights)
    tensorflow_logging.import_tensorflow()
    with study_rerun.workshop(keep):
        again = study_rerun.repeat(planned, typer.echo)
        verdict = study_rerun.compare(original, again)
    for line in study_rerun.told(verdict):
        typer.echo(line)
    if keep:
        typer.echo(f"kept: {paths.shown(again.folder)}")
    if not verdict.equal:
        raise typer.Exit(1)


for command in (
    *(
        explanation_commands.explain,
        deployment_commands.convert,
        deployment_commands.profile,
        deployment_commands.device,
    ),
    *(
        deployment_commands.predict,
        deployment_commands.stream,
        deployment_commands.web,
    ),
    *(study_commands.study, study_commands.record, study_commands.archive),
    paper_commands.paper,
):
    app.command()(command)


@app.command()
def results(dataset: Dataset) -> None:
    """Print a corpus's ablation table, its cross-validations, and where its report lies."""
    from dslite import cards, paths
    from dslite.paper import reproduction
    from dslite.training import cross_validation

    name = cards.load(dataset).dataset
    block = reproduction.ablation_block(name, training_runs.all_runs())
    typer.echo(f"{block.attrs['caption']}\n{block.to_string()}")
    for summary in cross_validation.summaries(name):
        typer.echo(f"{summary.folder.name}: " + "; ".join(cross_validation.headline(summary)))
    report_file = paths.results(name) / "report.html"
    if report_file.is_file():
        typer.echo(f"report: {paths.shown(report_file)}")


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="3_training, or a path")],
    output: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="name=value (repeatable)")
    ] = None,
) -> None:
    """Run a notebook with papermill; a failed one is kept as NAME.failed.ipynb."""
    from dslite import notebooks

    notebooks.execute(name, output, notebooks.parse_parameters(parameter or []))


@app.command()
def report(
    title: Annotated[str, typer.Argument()],
    output: Annotated[Path, typer.Argument(help="the HTML page")],
    executed: Annotated[list[Path], typer.Argument(help="executed notebooks, in order")],
) -> None:
    """Gather executed notebooks into one self-contained HTML page."""
    from dslite import notebooks as dslite_notebooks
    from dslite import paths

    typer.echo(f"report: {paths.shown(dslite_notebooks.build(title, executed, output))}")


def run() -> None:
    """Entry point: a message instead of a traceback where the user can mend it, status 2."""
    # A scheduler ends a job with SIGTERM: leave through the same door, so that drafts are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    notebooks.end_with_workflow()  # a job of a workflow that was killed writes no further
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (NotebookError, ConversionError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

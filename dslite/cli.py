"""The ``dslite`` command: a few lines over the functions that the notebooks call."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import dslite
from dslite import quiet
from dslite.errors import InputError, NotebookError

# Rooms are imported inside the commands: the help must not wait for TensorFlow.
app = typer.Typer(
    help="Transfer learning from Mel spectrogram images: corpora, training, prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[str, typer.Argument(help="name of a corpus, or path of a CSV/TSV table")]
Data = Annotated[
    Path | None, typer.Option("--data", help="folder of the corpus, if not where DSLITE_DATA says")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key=value (repeatable)")
]
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


def _card(dataset: str):
    from dslite import cards

    return cards.load(dataset)


def _manifest(dataset: str, data: Path | None = None):
    """A corpus's checked manifest; warnings go to the user."""
    from dslite import cards
    from dslite.datasets import checks, manifest

    built = manifest.load(cards.load(dataset, data or ""))
    for warning in checks.in_short(checks.warnings(built)):
        typer.echo(f"warning: {warning}", err=True)
    return built


def _tell(finished) -> None:
    """What a finished run has reached, and where it lies."""
    from dslite import paths, runs

    for part in ("devel", "test"):
        typer.echo(f"{part}: {runs.headline(finished.metrics[part])}")
    typer.echo(f"results: {paths.shown(finished.folder)}")


def _run(built, k: int | None, run_one) -> None:
    """A run of the corpus as it is divided, or one in each of k folds, and what came of it."""
    if k is None:
        _tell(run_one(built))
        return
    from dslite import folds, paths

    found = folds.run(built, k, run_one, log=typer.echo)
    typer.echo(found.table.round(3).to_string(index=False))
    for line in folds.headline(found):
        typer.echo(line)
    typer.echo(f"results: {paths.shown(found.folder)}")


@app.command()
def datasets() -> None:
    """List the corpora: task, classes, licence, and whether each is here."""
    from dslite import cards
    from dslite import datasets as layouts

    for name in cards.names():
        card = cards.load(name)
        here = "present" if layouts.is_present(card) else "not here"
        count = f"{len(card.classes)} classes: " if card.classes else ""
        typer.echo(f"{name}  ({here})  {card.title}")
        typer.echo(f"    {card.task}, {count}{', '.join(card.classes)}")
        typer.echo(f"    licence: {card.licence or 'unknown'}")
        if here != "present":
            typer.echo(f"    how to get it: {' '.join(f'{card.obtain} {card.place}'.split())}")


@app.command()
def check(
    dataset: Dataset,
    data: Data = None,
    preset: Annotated[str, typer.Option(help="whose chunks are counted: paper or tuned")] = "",
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option(help="exit 1 when there are warnings")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
) -> None:
    """Report on a corpus: counts, durations, audio, chunks; exit 2 when something is wrong."""
    import json

    from dslite import cards
    from dslite.datasets import audit, manifest

    try:
        card = cards.load(dataset, data or "")
        settings = cards.settings_of(card, preset, overrides or "")
        found = audit.findings(manifest.build(card), settings)
    except InputError as error:
        if not as_json:
            raise
        found = {"dataset": dataset, "verdict": "errors", "errors": {"layout": [str(error)]}}
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(audit.text(found))
        typer.echo(f"\nverdict: {found['verdict']}")
        if found["errors"]:
            typer.echo(audit.sentences("error", found["errors"]), err=True)
    if found["errors"]:
        raise typer.Exit(2)
    if strict and found["warnings"]:
        raise typer.Exit(1)


@app.command()
def partition(
    dataset: Dataset,
    data: Data = None,
    verify: Annotated[bool, typer.Option(help="compare with the published partition")] = False,
    publish: Annotated[bool, typer.Option(help="write it for others to compare with")] = False,
) -> None:
    """Print and write a corpus's row of Table 1 and its manifest; or compare its partition."""
    import pandas as pd

    from dslite import paths
    from dslite.datasets import manifest, published

    built = _manifest(dataset, data)
    if verify:
        _compare(built.card.dataset, published.verify(built))
        return
    if publish:
        typer.echo(f"published: {paths.shown(published.publish(built))}")
    row = manifest.write_partition(built)
    typer.echo(pd.DataFrame([row]).to_string(index=False))
    typer.echo(f"partition: {built.partition_source}")
    typer.echo(f"written: {paths.shown(paths.results(built.card.dataset) / 'table1.csv')}")


def _compare(dataset: str, found: dict[str, list[str]]) -> None:
    """Tell what a comparison with the published partition has found; exit 1 if they differ."""
    from dslite.datasets import audit, published

    same = published.agrees(found)
    typer.echo(f"{dataset}: {'the same' if same else 'NOT the same'} split as the published one")
    for kind, meaning in (
        (published.SAME, "the same samples"),
        (published.OTHER, "the same recording at another rate or in another encoding"),
    ):
        if kind in found:
            typer.echo(f"{len(found[kind]):,} files: {meaning}")
    if not same:
        different = {k: v for k, v in found.items() if k not in (published.SAME, published.OTHER)}
        typer.echo(audit.sentences("different", different), err=True)
        raise typer.Exit(1)


@app.command()
def fetch(dataset: Dataset) -> None:
    """Download a corpus that may be downloaded, check it and unpack it."""
    from dslite import paths
    from dslite.datasets import download

    typer.echo(f"{dataset}: {paths.shown(download.fetch(dataset))}")


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
    force: Annotated[bool, typer.Option(help="train again what is finished")] = False,
) -> None:
    """Train one configuration: chosen on devel, evaluated once on test.

    An interrupted training goes on from its last finished epoch.
    """
    from dslite import cards

    chosen = cards.settings_of(
        _card(dataset),
        preset,
        overrides or "",
        augmentation=augmentation,
        backbone=backbone,
        weights=weights,
    )
    built = _manifest(dataset)
    quiet.import_tensorflow()
    from dslite import experiment

    given = (chosen, seed, preset, force)
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
    from dslite import cards, runs, settings

    if features not in runs.FEATURES:
        raise InputError(f"--features {features}{settings.nearest(features, runs.FEATURES)}")
    kind = runs.FEATURES[features]
    if kind == runs.LIBROSA and (backbone or weights):
        raise InputError("--features librosa has no backbone: leave out --backbone and --weights")
    chosen = cards.settings_of(
        _card(dataset), preset, overrides or "", backbone=backbone, weights=weights
    )
    built = _manifest(dataset)
    quiet.import_tensorflow()
    from dslite import baseline as machines

    given = (chosen, seed, preset, force)
    _run(built, folds, lambda part: machines.run(part, *given, log=typer.echo, kind=kind))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="model.keras of a run, or the run's folder")],
    audio: Annotated[list[str], typer.Argument(help="audio files, folders, quoted patterns")],
    level: Annotated[Literal["file", "chunk"], typer.Option(help="one row a file or chunk")] = (
        "file"
    ),
    form: Annotated[
        Literal["csv", "jsonl"], typer.Option("--format", help="a table or JSON lines")
    ] = "csv",
) -> None:
    """Predict audio with a trained model: rows on stdout, as soon as they are known.

    What cannot be read is named on stderr, the rest is predicted, and the status is 1.
    """
    quiet.import_tensorflow()
    from dslite import prediction

    failed: list[InputError] = []

    def report(error: InputError) -> None:
        failed.append(error)
        typer.echo("error: " + str(error).replace("\n", " "), err=True)

    predictor = prediction.load(model)
    sys.stdout.reconfigure(errors="surrogateescape")  # a name that is not UTF-8 leaves as it came
    for rows in prediction.lines(predictor, audio, level, form, report):
        sys.stdout.write(rows)
        sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


@app.command()
def results(dataset: Dataset) -> None:
    """Print a corpus's ablation table and where its report lies."""
    from dslite import paper, paths

    name = _card(dataset).dataset
    block = paper.ablation_block(name, paper.runs())
    typer.echo(f"{block.attrs['caption']}\n{block.to_string()}")
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
    from dslite import paths
    from dslite import report as page

    typer.echo(f"report: {paths.shown(page.build(title, executed, output))}")


def run() -> None:
    """Entry point: a message instead of a traceback where the user can mend it, status 2."""
    # A scheduler ends a job with SIGTERM: leave through the same door, so that drafts are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except NotebookError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

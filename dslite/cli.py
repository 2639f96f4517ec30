"""The ``dslite`` command: a few lines over the functions that the notebooks call."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import dslite
from dslite import corpora, quiet
from dslite.corpora import Dataset, Overrides
from dslite.errors import ConversionError, InputError, NotebookError

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


for command in (corpora.datasets, corpora.check, corpora.partition, corpora.fetch):
    app.command()(command)


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
        cards.load(dataset),
        preset,
        overrides or "",
        augmentation=augmentation,
        backbone=backbone,
        weights=weights,
    )
    built = corpora.checked(dataset)
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
        cards.load(dataset), preset, overrides or "", backbone=backbone, weights=weights
    )
    built = corpora.checked(dataset)
    quiet.import_tensorflow()
    from dslite import baseline as machines

    given = (chosen, seed, preset, force)
    _run(built, folds, lambda part: machines.run(part, *given, log=typer.echo, kind=kind))


@app.command()
def convert(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    table: Annotated[str, typer.Option(help="the run's table, of an own corpus")] = "",
) -> None:
    """Convert a run for the device: float32, float16, dynamic and int8, each held to Keras."""
    from dslite import runs
    from dslite.datasets import division

    finished = runs.load(run)
    built = division.of_run(corpora.checked(table or finished.record["dataset"]), finished.record)
    quiet.import_tensorflow()
    from dslite import faithfulness, loader, paths

    found = faithfulness.assess(finished, loader.load(built, finished.settings), log=typer.echo)
    typer.echo(faithfulness.table(found).round(4).to_string())
    typer.echo(f"files: {paths.shown(finished.folder)}/model*.tflite")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a run's folder, its model.keras, or a .tflite")],
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
def stream(
    model: Annotated[Path, typer.Argument(help="a run's folder, its model.keras, or a .tflite")],
    audio: Annotated[
        str | None,
        typer.Argument(help="a file, or - for raw 16-bit samples; not given: the microphone"),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(min=0.1, help="seconds between decisions; else the model's")
    ] = None,
    smooth: Annotated[int, typer.Option(min=1, help="mean of the last so many chunks")] = 3,
    rate: Annotated[
        int | None, typer.Option(min=1000, help="Hz of - (else the model's) or the microphone")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="of - or the microphone; else 1")
    ] = None,
    form: Annotated[
        Literal["csv", "jsonl"], typer.Option("--format", help="a table or JSON lines")
    ] = "csv",
) -> None:
    """Analyse audio as it comes: one decision per hop on stdout, how fast on stderr.

    Nothing is dropped silently: what waits, is lost or left out is named on stderr.
    """
    from dslite import prediction, streaming

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    predictor = prediction.load(model)
    given = streaming.source(audio, rate, channels, predictor.settings.sample_rate, tell)
    streaming.run(predictor, given, hop, smooth, form, write, tell)


@app.command()
def web(
    model: Annotated[Path, typer.Argument(help="a converted run's folder, or a .tflite")],
    output: Annotated[Path | None, typer.Argument(help="folder of the page (web beside it)")] = (
        None
    ),
) -> None:
    """Write a static page that runs a model in the browser, on a file or the microphone.

    It sends nothing anywhere: audio stays in the page.
    """
    from dslite import paths
    from dslite import web as page

    file = page.find_model(model)
    folder = page.write(file, paths.find(output) if output else file.parent / "web")
    shown = paths.shown(folder)
    typer.echo(f"page: {shown}")
    serve = f"python -m http.server 8000 --bind 127.0.0.1 -d {shlex.quote(shown)}"
    typer.echo(f"to look at it: {serve}\n          then: http://127.0.0.1:8000")


@app.command()
def profile(
    target: Annotated[Path, typer.Argument(help="a converted run's folder, or one .tflite")],
    repeats: Annotated[int, typer.Option("--runs", min=1, help="that each mean is over")] = 50,
    threads: Annotated[str, typer.Option(help="of TensorFlow Lite; the first is Table 5's")] = (
        "1,2,4"
    ),
) -> None:
    """Measure time, memory and size of a run in every variant, Keras beside it; or of one file."""
    from dslite import costs, paths

    counts, found = costs.counts(threads), paths.find(target)
    if found.suffix.lower() == ".tflite":
        measured = costs.profile_file(found, counts, repeats)
    else:
        from dslite import runs

        run = runs.load(found)
        costs.files(run.folder)  # before TensorFlow is waited for
        quiet.import_tensorflow()
        from dslite import profiling

        found, measured = run.folder, profiling.measure(run, counts, repeats)
    for line in costs.told(measured):
        typer.echo(line)
    for file in costs.publish(measured, found):
        typer.echo(f"written: {paths.shown(file)}")


@app.command()
def device(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="the run's folder")],
    measurement: Annotated[str, typer.Argument(metavar="FILE", help="its output; - is stdin")],
    name: Annotated[str, typer.Option(help="of the phone, as Table 5 shall call it")] = "phone",
) -> None:
    """Keep what benchmark_model measured on a phone: Table 5's last column."""
    from dslite import devices, paths, runs

    place = runs.load(folder).folder
    found = devices.store(place, measurement, name)
    typer.echo(f"{name}: {found['ms']:.2f} ms; written: {paths.shown(place / devices.FILE)}")


@app.command()
def results(dataset: Dataset) -> None:
    """Print a corpus's ablation table, its cross-validations, and where its report lies."""
    from dslite import cards, folds, paper, paths

    name = cards.load(dataset).dataset
    block = paper.ablation_block(name, paper.runs())
    typer.echo(f"{block.attrs['caption']}\n{block.to_string()}")
    for summary in folds.summaries(name):
        typer.echo(f"{summary.folder.name}: " + "; ".join(folds.headline(summary)))
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
    except (NotebookError, ConversionError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

"""The commands about models for the device: convert, measure, predict, stream, show."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from dslite.errors import InputError
from dslite.models import tensorflow_logging
from dslite.training import commands

# As in cli, rooms are imported inside the commands.

Model = Annotated[Path, typer.Argument(help="a run's folder, its model.keras, or a .tflite")]
Threads = Annotated[str, typer.Option(help="of TensorFlow Lite; the first is Table 5's")]
Level = Literal["file", "chunk"]
Form = Annotated[Literal["csv", "jsonl"], typer.Option("--format", help="a table or JSON lines")]
log = partial(typer.echo, err=True)  # stdout holds nothing but rows


def _write(text: str) -> None:
    """Write to stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def convert(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    table: Annotated[str, typer.Option(help="the run's table, of an own corpus")] = "",
    variants: Annotated[
        str, typer.Option(help="float32,int8: only these; else those of the corpus's card")
    ] = "",
) -> None:
    """Convert a run for the device: float32, float16, dynamic and int8, each held to Keras.

    A variant that cannot be made or differs too much is named, the others are kept, and the status
    is 1.
    """
    from dslite import paths
    from dslite.deployment import runtime

    chosen = runtime.parse_variants(variants)
    finished, built = commands.with_corpus(run, table)
    tensorflow_logging.import_tensorflow()
    from dslite.deployment import convert as deployment_convert
    from dslite.features import store as feature_store

    store = feature_store.load_spectrograms(built, finished.settings)
    chosen = chosen or built.card.variants
    results = deployment_convert.convert_run(finished, store, typer.echo, chosen)
    typer.echo(deployment_convert.agreement_table(results).round(4).to_string())
    typer.echo(f"files: {paths.shown(finished.folder)}/model*.tflite")
    if failures := deployment_convert.failures(results):
        log(f"error: {failures}")
        raise typer.Exit(1)


def profile(
    target: Annotated[Path, typer.Argument(help="a converted run's folder, or one .tflite")],
    repeats: Annotated[int, typer.Option("--runs", min=1, help="that each mean is over")] = 50,
    threads: Threads = "1,2,4",
) -> None:
    """Measure time, memory and size of a run in every variant, Keras beside it; or of one file."""
    from dslite import paths
    from dslite.deployment import profile as deployment_profile

    counts, path = _thread_counts(threads), paths.find(target)
    if path.suffix.lower() == ".tflite":
        measured = deployment_profile.profile_file(path, counts, repeats)
    else:
        from dslite.training import runs

        run = runs.load(path)
        deployment_profile.converted_files(run.folder)  # before TensorFlow is waited for
        tensorflow_logging.import_tensorflow()
        path, measured = run.folder, deployment_profile.profile_run(run, counts, repeats)
    table = deployment_profile.profile_table(measured)
    typer.echo(deployment_profile.display_table(table).to_string(index=False))
    typer.echo(deployment_profile.operations_text(table))
    typer.echo(f"on {measured['hardware']}")
    for file in deployment_profile.write(measured, path):
        typer.echo(f"written: {paths.shown(file)}")


def _thread_counts(text: str) -> list[int]:
    """Parse numbers of threads like ``1,2,4``: in their order, each once."""
    try:
        counts = list(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise InputError(f"--threads {text}: wants whole numbers from 1 with commas: 1,2,4")
    return counts


def device(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="the run's folder")],
    measurement: Annotated[str, typer.Argument(metavar="FILE", help="its output; - is stdin")],
    name: Annotated[str, typer.Option(help="of the phone, as Table 5 shall call it")] = "phone",
) -> None:
    """Store what benchmark_model printed on a phone: Table 5's last column."""
    from dslite import paths
    from dslite.deployment import profile
    from dslite.training import runs

    place = runs.load(folder).folder
    figures = profile.store_phone(place, measurement, name)
    typer.echo(f"{name}: {figures['ms']:.2f} ms; written: {paths.shown(place / profile.PHONE)}")


def predict(
    model: Model,
    audio: Annotated[list[str], typer.Argument(help="audio files, folders, quoted patterns")],
    level: Annotated[Level, typer.Option(help="one row a file or chunk")] = "file",
    form: Form = "csv",
) -> None:
    """Predict audio with a trained model: rows on stdout, as soon as they are predicted.

    What cannot be read is named on stderr, the rest is predicted, and the status is 1.
    """
    from dslite.deployment import predict as deployment_predict

    failed: list[InputError] = []

    def report(error: InputError) -> None:
        failed.append(error)
        log("error: " + str(error).replace("\n", " "))

    predictor = deployment_predict.load_model(model)
    sys.stdout.reconfigure(errors="surrogateescape")  # a name that is not UTF-8 leaves as it came
    for rows in deployment_predict.lines(predictor, audio, level, form, report):
        _write(rows)
    if failed:
        raise typer.Exit(1)


def stream(
    model: Model,
    audio: Annotated[
        str | None,
        typer.Argument(help="a file, or - for raw 16-bit samples; not given: the microphone"),
    ] = None,
    hop: Annotated[float | None, typer.Option(min=0.1, help="seconds between decisions")] = None,
    smooth: Annotated[int, typer.Option(min=1, help="mean of the last so many chunks")] = 3,
    rate: Annotated[
        int | None, typer.Option(min=1000, help="Hz of - (else the model's) or the microphone")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="of - or the microphone; else 1")
    ] = None,
    form: Form = "csv",
) -> None:
    """Analyse audio as it comes: one decision per hop on stdout, how fast on stderr.

    Nothing is dropped silently: what waits, is lost or left out is named on stderr.
    """
    from dslite.deployment import predict as deployment_predict
    from dslite.deployment import stream as deployment_stream

    predictor = deployment_predict.load_model(model)
    rate_of_model = predictor.settings.sample_rate
    source = deployment_stream.open_source(audio, rate, channels, rate_of_model, log)
    deployment_stream.run(predictor, source, hop, smooth, form, _write, log)


def web(
    model: Annotated[Path, typer.Argument(help="a converted run's folder, or a .tflite")],
    output: Annotated[Path | None, typer.Argument(help="the page's folder (web beside it)")] = None,
) -> None:
    """Write a static page that runs a model in the browser, on a file or the microphone.

    It sends nothing anywhere: audio stays in the page.
    """
    from dslite import paths
    from dslite.deployment import web as deployment_web

    file = deployment_web.find_model(model)
    folder = deployment_web.write_page(file, paths.find(output) if output else file.parent / "web")
    shown = paths.shown(folder)
    typer.echo(f"page: {shown}")
    serve = f"python -m http.server 8000 --bind 127.0.0.1 -d {shlex.quote(shown)}"
    typer.echo(f"to look at it: {serve}\n          then: http://127.0.0.1:8000")

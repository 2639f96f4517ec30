"""The command ``explain``: what a finished run listens to."""

from pathlib import Path
from typing import Annotated

import typer

from dslite.models import tensorflow_logging
from dslite.training import commands


def explain(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    file: Annotated[
        list[str] | None, typer.Option(help="explain this file instead (repeatable)")
    ] = None,
    method: Annotated[str, typer.Option(help="partition, gradient, grad-cam or occlusion")] = (
        "partition"
    ),
    masker: Annotated[str, typer.Option(help="hides a region: mean (colour) or blur")] = "mean",
    evaluations: Annotated[int, typer.Option(min=3, help="masked pictures a chunk")] = 500,
    pictures: Annotated[int, typer.Option(min=0, help="to test all methods on; 0: no tests")] = 12,
    table: Annotated[str, typer.Option(help="the run's table, of an own corpus")] = "",
) -> None:
    """Explain what a run listens to, in figures and sounds, and test how true that is.

    Figures, tables and sounds go to the run's folder: explanation/, or explanation_files/.
    """
    from dslite import paths

    finished, built = commands.with_corpus(run, table)
    tensorflow_logging.import_tensorflow()
    from dslite.explanation import files, methods, report
    from dslite.features import store as feature_store

    # Before the whole corpus is decoded
    methods.require(method, masker)
    finished.model_file()
    store = feature_store.load_spectrograms(built, finished.settings)
    chosen = files.choose_by_name(store, file) if file else files.choose_by_rule(finished)
    inputs = (finished, store, files.load_model(finished, store, masker))
    options = {"evaluations": evaluations, "log": typer.echo}
    explained = files.explain_files(*inputs, chosen, method=method, **options)
    parts = [report.of_files(explained, finished.settings)]
    if not file:
        gains = None
        if pictures:
            parts.append(report.of_faithfulness(*inputs, pictures=pictures, **options))
            gains = parts[-1].tables["scrutiny"]
        parts += [
            report.of_methods(*inputs, explained[0], method, gains, **options),
            report.of_partition(*inputs, log=typer.echo),
            report.of_confusions(finished),
        ]
    reported = report.merge(*parts)
    folder = finished.folder / ("explanation_files" if file else "explanation")
    report.write(reported, explained, finished.settings, folder)
    for line in report.summary_lines(reported):
        typer.echo(line)
    typer.echo(f"written: {paths.shown(folder)}")

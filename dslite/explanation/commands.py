"""The command ``explain``: what a finished run listens to."""

from pathlib import Path
from typing import Annotated

import typer

from dslite import tensorflow_logging
from dslite.datasets import commands

# As in cli, rooms are imported inside the command.


def explain(
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    file: Annotated[
        list[str] | None, typer.Option(help="explain this file instead (repeatable)")
    ] = None,
    method: Annotated[str, typer.Option(help="partition, gradient, grad-cam or occlusion")] = (
        "partition"
    ),
    masker: Annotated[
        str, typer.Option(help="what hides a region: mean (colour), blur or inpaint")
    ] = "mean",
    evaluations: Annotated[int, typer.Option(min=3, help="masked pictures a chunk")] = 500,
    pictures: Annotated[int, typer.Option(min=0, help="to test all methods on; 0: no tests")] = 12,
    table: Annotated[str, typer.Option(help="the run's table, of an own corpus")] = "",
) -> None:
    """Show and let hear what a run listens to, and how far the explanations can be trusted.

    Figures, tables and sounds go to the run's folder: explanation/, or explanation_files/.
    """
    from dslite import paths
    from dslite.datasets import partitions
    from dslite.training import runs

    finished = runs.load(run)
    built = partitions.of_run(
        commands.checked(table or finished.record["dataset"]), finished.record
    )
    tensorflow_logging.import_tensorflow()
    from dslite.explanation import files, masking, methods
    from dslite.explanation import report as explanation_report
    from dslite.features import store as feature_store

    # Before the whole corpus is decoded
    methods.require(method)
    masking.require(masker)
    files.model_file(finished)
    store = feature_store.load_spectrograms(built, finished.settings)
    chosen = files.named(store, file) if file else None
    subject = files.subject(finished, store, masker)
    given = {"method": method, "evaluations": evaluations, "log": typer.echo}
    if file:
        heard = files.hear(finished, store, subject, chosen, **given)
        shown = explanation_report.of_files(heard, finished.settings)
    else:
        shown, heard = explanation_report.of_run(
            finished, store, subject, pictures=pictures, **given
        )
    folder = finished.folder / ("explanation_files" if file else "explanation")
    with paths.replacing(folder) as draft:
        draft.mkdir()
        explanation_report.save(shown, draft)
        explanation_report.save_sounds(heard, finished.settings, draft / "sounds")
    for line in explanation_report.told(shown):
        typer.echo(line)
    typer.echo(f"written: {paths.shown(folder)}")

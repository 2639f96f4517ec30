"""The command ``dslite``: every command of the package, and errors as messages."""

import errno
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import dslite
from dslite import notebooks
from dslite.datasets import commands as dataset_commands
from dslite.datasets.commands import Dataset, Name
from dslite.deployment import commands as deployment_commands
from dslite.errors import ConversionError, InputError, NotebookError
from dslite.explanation import commands as explanation_commands
from dslite.paper import commands as paper_commands
from dslite.studies import commands as study_commands
from dslite.training import commands as training_commands

WORKFLOW = "snakemake"
POLL_S = 0.5

# The commands import what takes long inside themselves: the help must not wait for TensorFlow.
app = typer.Typer(
    help="Transfer learning from Mel spectrogram images: corpora, training, prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
    *(dataset_commands.datasets, dataset_commands.check, dataset_commands.partition),
    *(dataset_commands.fetch, training_commands.train, training_commands.baseline),
    training_commands.features,
    *(study_commands.rerun, explanation_commands.explain, deployment_commands.convert),
    *(deployment_commands.profile, deployment_commands.device, deployment_commands.predict),
    *(deployment_commands.stream, deployment_commands.web, study_commands.study),
    *(study_commands.record, study_commands.archive, paper_commands.paper),
):
    app.command()(command)


@app.command()
def results(dataset: Dataset, name: Name = "") -> None:
    """Print a corpus's finished runs, its cross-validations, and where its report lies."""
    from dslite import cards, paths
    from dslite.paper import reproduction
    from dslite.training import cross_validation, runs

    name = cards.load(dataset, name=name).dataset
    table = runs.all_runs(dataset=name)
    block = reproduction.ablation_block(table)
    typer.echo(block.to_string() if len(block) else f"{name}: not run")
    for folder in table["folder"]:
        run = runs.load(folder)
        for text in runs.cautions(run.metrics.get("test") or run.metrics.get("devel")):
            typer.echo(f"{run.name}: {text}")
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
    notebooks.execute(name, output, notebooks.parse_parameters(parameter or []))


@app.command()
def report(
    title: Annotated[str, typer.Argument()],
    output: Annotated[Path, typer.Argument(help="the HTML page")],
    executed: Annotated[list[Path], typer.Argument(help="executed notebooks, in order")],
) -> None:
    """Gather executed notebooks into one self-contained HTML page."""
    from dslite import paths

    typer.echo(f"report: {paths.shown(notebooks.write_page(title, executed, output))}")


def run() -> None:
    """Run the command: an error that the user can mend is a message and status 2, no traceback."""
    # A scheduler ends a job with SIGTERM: raise, so that drafts are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _end_with_workflow()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, since at the interpreter's end it would be no message
    except (InputError, NotebookError, ConversionError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except OSError as error:
        message = _of_the_system(error)
        if not message:
            raise
        print(f"error: {message}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what stdout still holds goes nowhere
        sys.exit(2)


def _of_the_system(error: OSError) -> str:
    """Say what is to be done about a full disk, also behind stdout, a denied file or a name that is
    too long; empty: of any other error.
    """
    from dslite import paths

    denied = (errno.EACCES, errno.EPERM, errno.EROFS)
    if error.errno not in (*paths.NO_SPACE, *paths.NO_NAME, *denied):
        return ""
    place = paths.shown(error.filename) if isinstance(error.filename, str) else "standard output"
    remedy = paths.remedy_of(error.errno, "look who may read and write it")
    return f"{place}: {error.strerror}: {remedy} and give the same command again"


def _end_with_workflow() -> None:
    """End with SIGTERM when the Snakemake whose job this is dies by SIGKILL and leaves its jobs."""
    import psutil

    def watch(workflow: psutil.Process) -> None:
        with suppress(psutil.Error):
            while workflow.is_running() and workflow.status() != psutil.STATUS_ZOMBIE:
                time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    for parent in psutil.Process().parents():
        with suppress(psutil.Error):  # not ours to look at, or just ended
            if WORKFLOW in (Path(word).name for word in parent.cmdline()):
                threading.Thread(target=watch, args=(parent,), daemon=True).start()
                return


if __name__ == "__main__":  # as `python -m dslite`
    run()

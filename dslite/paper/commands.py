"""The command that writes the paper's report and tables."""

from pathlib import Path
from typing import Annotated

import typer

# As in cli, modules are imported inside the command.


def paper(
    output: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="results/paper if unset")
    ] = None,
    readme: Annotated[
        bool, typer.Option("--readme", help="put the results into the project's texts, too")
    ] = False,
) -> None:
    """Lay what was run beside every published number: results/paper, from finished runs alone.

    The user's own runs and the committed records are read; nothing is trained.
    """
    from dslite import paths
    from dslite.paper import report

    material = report.gather()
    page = report.write_results(material, output.expanduser().absolute() if output else None)
    for line in report.headlines(material):
        typer.echo(line)
    if readme:
        for file in report.update_readmes(material):
            typer.echo(f"written: {paths.shown(file)}")
    typer.echo(f"report: {paths.shown(page)}")

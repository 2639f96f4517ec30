"""The commands about corpora: list, check, divide, fetch."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dslite.errors import InputError

# As in cli, rooms are imported inside the commands.
Dataset = Annotated[str, typer.Argument(help="name of a corpus, or path of a CSV/TSV table")]
Data = Annotated[
    Path | None, typer.Option("--data", help="folder of the corpus, if not where DSLITE_DATA says")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key=value (repeatable)")
]


def checked(dataset: str, data: Path | None = None):
    """A corpus's checked manifest; warnings go to the user."""
    from dslite import cards
    from dslite.datasets import checks, manifest

    built = manifest.load(cards.load(dataset, data or ""))
    for warning in checks.in_short(checks.warnings(built)):
        typer.echo(f"warning: {warning}", err=True)
    return built


def datasets() -> None:
    """List the corpora: task, classes, licence, and whether each is here."""
    from dslite import cards
    from dslite.datasets import listing as dataset_listing

    for name in cards.names():
        card = cards.load(name)
        here = "present" if dataset_listing.is_present(card) else "not here"
        count = f"{len(card.classes)} classes: " if card.classes else ""
        typer.echo(f"{name}  ({here})  {card.title}")
        typer.echo(f"    {card.task}, {count}{', '.join(card.classes)}")
        typer.echo(f"    licence: {card.licence or 'unknown'}")
        if here != "present":
            typer.echo(f"    how to get it: {card.obtain.strip()}")


def check(
    dataset: Dataset,
    data: Data = None,
    preset: Annotated[str, typer.Option(help="whose chunks are counted: paper or tuned")] = "",
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option(help="exit 1 when there are warnings")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
) -> None:
    """Report on a corpus: counts, durations, audio, chunks; exit 2 when something is wrong."""
    from dslite import cards
    from dslite.datasets import manifest, report

    try:
        card = cards.load(dataset, data or "")
        settings = cards.settings_of(card, preset, overrides or "")
        found = report.findings(manifest.build(card), settings)
    except InputError as error:
        if not as_json:
            raise
        found = {"dataset": dataset, "verdict": "errors", "errors": {"layout": [str(error)]}}
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(report.text(found))
        typer.echo(f"\nverdict: {found['verdict']}")
        if found["errors"]:
            typer.echo(report.sentences("error", found["errors"]), err=True)
    if found["errors"]:
        raise typer.Exit(2)
    if strict and found["warnings"]:
        raise typer.Exit(1)


def partition(
    dataset: Dataset,
    data: Data = None,
    verify: Annotated[bool, typer.Option(help="compare with the published partition")] = False,
    publish: Annotated[bool, typer.Option(help="write it for others to compare with")] = False,
) -> None:
    """Print and write a corpus's row of Table 1 and its manifest; or compare its partition."""
    import pandas as pd

    from dslite import paths
    from dslite.datasets import manifest, partitions

    built = checked(dataset, data)
    if verify:
        _compare(built.card.dataset, partitions.verify(built))
        return
    if publish:
        typer.echo(f"published: {paths.shown(partitions.publish(built))}")
    row = manifest.write_partition(built)
    typer.echo(pd.DataFrame([row]).to_string(index=False))
    typer.echo(f"partition: {built.partition_source}")
    typer.echo(f"written: {paths.shown(paths.results(built.card.dataset) / 'table1.csv')}")


def _compare(dataset: str, found: dict[str, list[str]]) -> None:
    """Tell what a comparison with the published partition has found; exit 1 if they differ."""
    from dslite.datasets import partitions, report

    same = partitions.agrees(found)
    typer.echo(f"{dataset}: {'the same' if same else 'NOT the same'} split as the published one")
    for kind, meaning in (
        (partitions.SAME, "the same samples"),
        (partitions.OTHER, "the same recording at another rate or in another encoding"),
    ):
        if kind in found:
            typer.echo(f"{len(found[kind]):,} files: {meaning}")
    if not same:
        different = {k: v for k, v in found.items() if k not in (partitions.SAME, partitions.OTHER)}
        typer.echo(report.sentences("different", different), err=True)
        raise typer.Exit(1)


def fetch(dataset: Dataset) -> None:
    """Download a corpus that may be downloaded, check it and unpack it."""
    from dslite import paths
    from dslite.datasets import download

    typer.echo(f"{dataset}: {paths.shown(download.fetch(dataset))}")

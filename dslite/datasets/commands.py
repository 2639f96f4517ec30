"""The commands about corpora: list, check, divide, fetch."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dslite.errors import InputError

# As in cli, rooms are imported inside the commands.
Dataset = Annotated[
    str, typer.Argument(help="name of a corpus, or path of a table, folder or card")
]
Data = Annotated[
    Path | None, typer.Option("--data", help="folder of the corpus, if not where DSLITE_DATA says")
]
Columns = Annotated[
    str, typer.Option(help="of a table, which is what: label=emotion,speaker=spk,end=")
]
Name = Annotated[str, typer.Option(help="of your corpus's results, if not its own")]
SkipBad = Annotated[
    int | None,
    typer.Option(
        "--skip-bad", min=0, help="pass so many unreadable or broken files over, and name each"
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key=value (repeatable)")
]


def load_card(
    dataset: str,
    data: Path | None = None,
    name: str = "",
    columns: str = "",
    skip_bad: int | None = None,
):
    """Return the card of a corpus or a table, as the options say."""
    from dslite import cards
    from dslite.datasets.columns import parse

    card = cards.load(dataset, data or "", name, parse(columns))
    return card if skip_bad is None else card.model_copy(update={"skip_bad": skip_bad})


def checked(card, listed=None):
    """Return a corpus's checked manifest, or that of listed audio; warnings go to the user."""
    from dataclasses import replace

    from dslite.datasets import checks

    corpus = checks.load_audio(card, listed) if listed else checks.load_manifest(card)
    for note in corpus.notes if not card.package else ():
        typer.echo(f"note: {note}", err=True)
    for sentence in corpus.skipped:
        typer.echo(f"passed over: {sentence}", err=True)
    warnings = {} if listed else checks.warnings(replace(corpus, skipped=()))
    for warning in checks.in_short(warnings):
        typer.echo(f"warning: {warning}", err=True)
    return corpus


def datasets() -> None:
    """List the corpora: task, classes, licence, and whether each is here."""
    from dslite import cards
    from dslite.datasets import listing

    for name in cards.names():
        card = cards.load(name)
        presence = "present" if listing.is_present(card) else "not here"
        count = f"{len(card.classes)} classes: " if card.classes else ""
        typer.echo(f"{name}  ({presence})  {card.title}")
        typer.echo(f"    {card.task}, {count}{', '.join(card.classes)}")
        typer.echo(f"    licence: {card.licence or 'unknown'}")
        if presence != "present":
            typer.echo(f"    how to get it: {card.obtain.strip()}")


def check(
    dataset: Dataset,
    data: Data = None,
    columns: Columns = "",
    preset: Annotated[str, typer.Option(help="whose chunks are counted")] = "",
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option(help="exit 1 when there are warnings")] = False,
    skip_bad: SkipBad = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
) -> None:
    """Report on a corpus: counts, durations, audio, chunks; exit 2 when something is wrong."""
    from dslite import cards
    from dslite.datasets import checks

    try:
        card = load_card(dataset, data, columns=columns, skip_bad=skip_bad)
        settings = cards.settings_of(card, preset, overrides or "")
        findings = checks.findings(checks.build(card), settings)
    except InputError as error:
        if not as_json:
            raise
        findings = {"dataset": dataset, "verdict": "errors", "errors": {"layout": [str(error)]}}
    if as_json:
        typer.echo(json.dumps(findings, indent=2, ensure_ascii=False))
    else:
        typer.echo(checks.report(findings))
        typer.echo(f"\nverdict: {findings['verdict']}")
        if findings["errors"]:
            typer.echo(checks.sentences_text("error", findings["errors"]), err=True)
    if findings["errors"]:
        raise typer.Exit(2)
    if strict and findings["warnings"]:
        raise typer.Exit(1)


def partition(
    dataset: Dataset,
    data: Data = None,
    name: Name = "",
    columns: Columns = "",
    verify: Annotated[bool, typer.Option(help="compare with the published partition")] = False,
    publish: Annotated[bool, typer.Option(help="write it for others to compare with")] = False,
) -> None:
    """Print and write a corpus's row of Table 1 and its manifest; or compare its partition."""
    import pandas as pd

    from dslite import paths
    from dslite.datasets import checks, manifest, partitions

    corpus = checked(load_card(dataset, data, name, columns))
    if verify:
        comparison = partitions.verify(corpus)
        same = partitions.agrees(comparison)
        verdict = "the same" if same else "NOT the same"
        typer.echo(f"{corpus.card.dataset}: {verdict} split as the published one")
        for kind, meaning in (
            (partitions.SAME, "the same samples"),
            (partitions.OTHER, "the same recording at another rate or in another encoding"),
        ):
            if kind in comparison:
                typer.echo(f"{len(comparison.pop(kind)):,} files: {meaning}")
        if not same:
            typer.echo(checks.sentences_text("different", comparison), err=True)
        raise typer.Exit(int(not same))
    if publish:
        typer.echo(f"published: {paths.shown(partitions.publish(corpus))}")
    row = manifest.write_partition(corpus)
    typer.echo(pd.DataFrame([row]).to_string(index=False))
    typer.echo(f"partition: {corpus.partition_source}")
    typer.echo(f"written: {paths.shown(paths.results(corpus.card.dataset) / 'table1.csv')}")


def fetch(dataset: Dataset) -> None:
    """Download a corpus that may be downloaded, check it and unpack it."""
    from dslite import paths
    from dslite.datasets import download

    typer.echo(f"{dataset}: {paths.shown(download.fetch(dataset))}")

"""The commands around a study: its tables, its records, its archive."""

from pathlib import Path
from typing import Annotated

import typer

from dslite import tensorflow_logging
from dslite.datasets import commands
from dslite.errors import InputError

# As in cli, rooms are imported inside the commands.


def record(
    study: Annotated[str, typer.Argument(help="of data/studies/, or path of a study's YAML file")],
    with_notebooks: Annotated[
        bool, typer.Option("--notebooks", help="the executed chain of its corpora, too")
    ] = False,
) -> None:
    """Keep the small files of a study's runs in results/records, to be committed.

    No audio, no models; of a corpus whose licence keeps file names private none of them.
    """
    from dslite import paths
    from dslite.studies import archive as study_archive
    from dslite.studies import study as study_study

    made = [study_archive.keep(study)]
    if with_notebooks:
        made += [study_archive.keep_notebooks(name) for name in study_study.load(study).corpora]
    for kept in made:
        for line in kept.left_out:
            typer.echo(f"left out: {line}")
        told = f"{len(kept.written)} files, {kept.size_mb:.1f} MB"
        typer.echo(f"{told} in {paths.shown(paths.records())}")


def archive(
    study: Annotated[str, typer.Argument(help="of data/studies/, or path of a study's YAML file")],
    output: Annotated[
        Path | None, typer.Argument(metavar="[OUTPUT.zip]", help="in results/studies/ if unset")
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="the models, too")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="status 0 although runs are missing")
    ] = False,
) -> None:
    """Pack a study's results into one archive, as Zenodo takes it (RO-Crate 1.1).

    There is no audio in it, and of a corpus whose licence keeps file names private none of them.
    """
    from dslite import paths
    from dslite.studies import archive as study_archive

    contents = study_archive.collect(study, models)
    place = study_archive.write(contents, output)
    for line in contents.mixed:
        typer.echo(f"warning: {line}; repeat the older ones before you compare them", err=True)
    for line in contents.left_out:
        typer.echo(f"left out: {line}")
    for line in contents.missing:
        typer.echo(f"missing: {line}")
    done = len(contents.places) - len(contents.missing)
    typer.echo(f"archive: {paths.shown(place)}, {done} of {len(contents.places)} runs")
    if contents.missing and not partial:
        raise typer.Exit(1)


def study(
    name: Annotated[str, typer.Argument(help="of data/studies/, or path of a study's YAML file")],
    choose: Annotated[str, typer.Option(help="this grid's best point on devel: train it")] = "",
    device: Annotated[str, typer.Option(help="this network's best run on devel: convert it")] = "",
) -> None:
    """Write a study's tables: runs, seeds, tested comparisons, cost.

    The runs themselves are the workflow's: snakemake --cores 2 --config study=NAME
    """
    from dslite import paths
    from dslite.studies import jobs as study_jobs
    from dslite.studies import study as study_study
    from dslite.studies import tables

    found = study_study.load(name)
    jobs = study_jobs.jobs(found)
    if choose:
        _choose(found, jobs, choose)
    elif device:
        _device(found, jobs, device)
    else:
        for absent in study_jobs.absent(found):
            typer.echo(f"warning: {absent}", err=True)
        place = tables.write(found)
        typer.echo((place / "README.md").read_text(encoding="utf-8"))
        typer.echo(f"tables: {paths.shown(place)}")


def _choose(found, jobs, group: str) -> None:
    """Train the best point of a grid as any run, then write down what it was chosen from."""
    from dslite import paths
    from dslite.studies import runs, tables

    places = runs.of_study(found)
    table = tables.chosen_of(places, jobs, group)
    place = tables.group_of(places, jobs, group)[int(table["point"][table["chosen"]].item())]
    point = place.point
    _, settings = runs.settings_of(point)
    built = commands.checked(point.dataset)
    tensorflow_logging.import_tensorflow()
    from dslite.training import experiment

    run = experiment.train(built, settings, point.seed, point.preset, log=typer.echo)
    with paths.replacing(tables.folder(found) / f"choice-{group}.csv") as draft:
        table.to_csv(draft, index=False)
    typer.echo(f"chosen: {paths.shown(run.folder)}")


def _device(found, jobs, name: str) -> None:
    """Convert the run of a network that is best on devel, and measure its files."""
    from dslite import paths
    from dslite.studies import jobs as study_jobs
    from dslite.studies import tables

    devices = study_jobs.devices(found, jobs)
    if name not in devices:
        raise InputError(f"study {found.name} has no '{name}' to convert; there is {list(devices)}")
    run = tables.best(devices[name])
    built = commands.checked(devices[name][0].point.dataset)
    tensorflow_logging.import_tensorflow()
    from dslite.deployment import agreement
    from dslite.features import store as feature_store

    store = feature_store.load_spectrograms(built, run.settings)
    assessed = agreement.assess(run, store, log=typer.echo, variants=found.variants)
    table = agreement.table(assessed).rename_axis("file").reset_index()
    with paths.replacing(tables.folder(found) / f"device-{name}.csv") as draft:
        table.assign(run=paths.shown(run.folder)).to_csv(draft, index=False)
    typer.echo(f"converted: {paths.shown(run.folder)}")


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
    built = commands.checked(study_rerun.dataset_of(original, table))
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

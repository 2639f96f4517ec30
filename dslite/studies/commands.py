"""The commands around a study: its tables, its records, its archive."""

from pathlib import Path
from typing import Annotated

import typer

from dslite.datasets import commands
from dslite.errors import InputError
from dslite.models import tensorflow_logging
from dslite.training import commands as training_commands

# As in cli, rooms are imported inside the commands.
Name = Annotated[str, typer.Argument(help="of data/studies/, or path of a study's YAML file")]


def record(study: Name) -> None:
    """Keep a study's runs in results/records, to be committed: settings, scores, predictions.

    No audio, no models; of a corpus whose licence keeps file names private none of them.
    """
    from dslite import paths, provenance
    from dslite.studies import archive as study_archive

    contents = study_archive.collect(study)
    place = study_archive.write_record(contents)
    for line in contents.left_out:
        typer.echo(f"left out: {line}")
    files = [file for file in place.rglob("*") if file.is_file()]
    size = provenance.size_in_words(sum(file.stat().st_size for file in files))
    typer.echo(f"record: {len(files)} files, {size} in {paths.shown(place)}")


def archive(
    study: Name,
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
    place = study_archive.write_archive(contents, output)
    for line in contents.mixed:
        typer.echo(f"warning: {line}; repeat the older ones before you compare them", err=True)
    for kind, lines in (("left out", contents.left_out), ("missing", contents.missing)):
        for line in lines:
            typer.echo(f"{kind}: {line}")
    finished = len(contents.runs) - len(contents.missing)
    typer.echo(f"archive: {paths.shown(place)}, {finished} of {len(contents.runs)} runs")
    if contents.missing and not partial:
        raise typer.Exit(1)


def study(
    name: Name,
    choose: Annotated[str, typer.Option(help="this grid's best point on devel: train it")] = "",
    device: Annotated[str, typer.Option(help="this network's best run on devel: convert it")] = "",
) -> None:
    """Write a study's tables: runs, seeds, tested comparisons, cost.

    The runs themselves are the workflow's: snakemake --cores 2 --config study=NAME
    """
    from dslite import paths
    from dslite.studies import jobs, tables
    from dslite.studies.study import load_study

    loaded = load_study(name)
    if choose:
        _choose(loaded, choose)
    elif device:
        _device(loaded, jobs.devices(loaded, jobs.study_jobs(loaded)), device)
    else:
        for line in jobs.absent(loaded).values():
            typer.echo(f"warning: {line}", err=True)
        place = tables.write_tables(loaded)
        typer.echo((place / "README.md").read_text(encoding="utf-8"))
        typer.echo(f"tables: {paths.shown(place)}")


def _choose(study, group: str) -> None:
    """Train the best point of a grid as any run, then write down what it was chosen from."""
    from dslite import paths
    from dslite.studies import jobs, tables

    candidates = jobs.candidates(jobs.study_runs(study), group)
    ranked, best = jobs.rank(candidates), jobs.best(candidates)
    corpus = commands.checked(commands.load_card(best.config.dataset))
    of = (corpus, best.settings, best.config.seed)
    tensorflow_logging.import_tensorflow(best.settings.threads)
    from dslite.training import experiment

    run = experiment.train(*of, best.config.preset, log=typer.echo)
    paths.write(tables.folder(study) / f"choice-{group}.csv", ranked.to_csv(index=False))
    typer.echo(f"chosen: {paths.shown(run.folder)}")


def _device(study, devices, name: str) -> None:
    """Convert the run of a network that is best on devel, and measure its files."""
    from dslite import paths
    from dslite.studies import tables
    from dslite.training import runs

    if name not in devices:
        raise InputError(f"study {study.name} has no '{name}' to convert; there is {list(devices)}")
    run = runs.best_on_devel([runs.load(job.folder) for job in devices[name]])
    manifest = commands.checked(commands.load_card(devices[name][0].config.dataset))
    tensorflow_logging.import_tensorflow()
    from dslite.deployment import convert
    from dslite.features import store as feature_store

    store = feature_store.load_spectrograms(manifest, run.settings)
    assessed = convert.convert_run(run, store, log=typer.echo, variants=study.variants)
    table = convert.agreement_table(assessed).rename_axis("file").reset_index()
    table = table.assign(run=paths.shown(run.folder))
    paths.write(tables.folder(study) / f"device-{name}.csv", table.to_csv(index=False))
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
    manifest = training_commands.corpus_of(original, table)
    same, settings = study_rerun.plan(original, manifest, weights)
    tensorflow_logging.import_tensorflow(settings.threads)
    with study_rerun.workshop(keep):
        again = study_rerun.repeat(original, same, settings, typer.echo)
        differences, surroundings = study_rerun.compare(original, again)
    for line in study_rerun.verdict(differences, surroundings):
        typer.echo(line)
    if keep:
        typer.echo(f"kept: {paths.shown(again.folder)}")
    if differences:
        raise typer.Exit(1)

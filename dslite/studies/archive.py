"""What is published of a study: a record to be committed, or the same as an archive.

Both are an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), in which a run is a ``CreateAction``.
"""

import mimetypes
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from dslite import cards, paths, plots, provenance
from dslite.cards import Card
from dslite.errors import InputError
from dslite.models.weights import REGISTRY
from dslite.settings import Settings
from dslite.studies.jobs import MISSING, Job, study_runs
from dslite.studies.study import Study, load_study, source
from dslite.studies.tables import folder as tables_folder
from dslite.training import cross_validation, records

# Of a run's folder, beside what is in the tables
EXPLANATION = ("explanation/*.csv", "explanation/shap_confident.png")
MODELS = ("model.keras", "*.tflite")
NOT_OPEN = "predictions, explanations and models: the card of the corpus does not say "
NOT_OPEN += "`publish: true`"
TABLES = {".csv", ".json", ".md"}
ENVIRONMENT = "requirements.lock"

METADATA, VERSION = "ro-crate-metadata.json", "1.1"
WRITTEN = (METADATA, records.RUNS, *(f"{table}.csv.gz" for table in records.TABLES))
FORMATS = {".gz": "application/gzip", ".yaml": "application/yaml", ".keras": "application/zip"}
FORMATS |= {".tflite": "application/octet-stream"}
CODE_LICENCE = "https://spdx.org/licenses/MIT"  # that of LICENSE
STATUS = "http://schema.org/{}ActionStatus"


@dataclass
class Contents:
    """What is published of a study, and what is not."""

    study: Study
    runs: list[Job]  # all of the study's, finished or not
    values: dict[str, dict[str, Any]]  # `records.contents` of each run, fold, cross-validation
    files: dict[str, Path] = field(default_factory=dict)  # others, by their names in the crate
    left_out: list[str] = field(default_factory=list)  # on purpose, and why

    @property
    def missing(self) -> list[str]:
        """What is not finished: ``run``, or ``run (why)``."""
        unfinished = {run.name: run.state for run in self.runs if not run.finished}
        texts = [f"{run} ({state.removeprefix(MISSING)})" for run, state in unfinished.items()]
        return [text.removesuffix(" ()").replace(" (: ", " (", 1) for text in texts]

    @property
    def mixed(self) -> list[str]:
        """Corpora that changed between their runs, in words: those are not to be compared."""
        records = [one["run"] for one in self.values.values() if "run" in one]
        # A fold has a manifest of its own, and is compared with the same fold.
        pairs = [(f"{r['dataset']} {r.get('fold', '')}".strip(), r["manifest"]) for r in records]
        counts = pd.DataFrame(pairs, columns=["corpus", "manifest"]).groupby("corpus").nunique()
        several = counts["manifest"][counts["manifest"] > 1]
        return [f"{corpus}: runs of {n} different manifests" for corpus, n in several.items()]


def collect(study: str | Path, models: bool = False) -> Contents:
    """Gather what is published of a study, by name or path, as far as it is finished."""
    loaded = load_study(study)
    contents = Contents(loaded, study_runs(loaded), {})
    if not any(run.finished for run in contents.runs):
        raise InputError(
            f"study {loaded.name}: none of its {len(contents.runs)} runs is finished; "
            f"`snakemake --cores 2 --config study={study}` makes them"
        )
    patterns = EXPLANATION + (MODELS if models else ())
    for run in [run for run in contents.runs if run.finished]:
        for one in run.runs:
            values = (
                records.of_run(one.home, one.name) if one.home else records.contents(one.folder)
            )
            contents.values[one.name] = values
            if recorded := values["run"].get("table"):
                recorded["path"] = Path(recorded["path"]).name  # a folder of the user's machine
            if not _is_open(run.card):
                values.pop("predictions", None)
                continue
            for file in [file for pattern in patterns for file in one.folder.glob(pattern)]:
                contents.files[f"{one.name}/{file.relative_to(one.folder)}"] = file
        if run.config.folds:
            contents.values[run.name] = cross_validation.contents(run.runs[0].folder.parent)
    private = sorted({run.dataset for run in contents.runs if not _is_open(run.card)})
    contents.left_out = [f"{dataset}: {NOT_OPEN}" for dataset in private]
    if models and (number := sum(run.recorded for run in contents.runs)):
        contents.left_out.append(f"models of runs that are here as records only: {number}")
    contents.files |= {source(study).name: source(study)} | {
        f"tables/{file.name}": file
        for file in sorted(tables_folder(loaded).glob("*"))
        if file.suffix.lower() in TABLES and not file.name.startswith(".")
    }
    return contents


def _is_open(card: Card) -> bool:
    """Whether a corpus's licence lets its files be named; the demo corpus is our own."""
    return card.publish or card.layout == "demo"


def write_record(contents: Contents) -> Path:
    """Write ``results/records/<study>``; what was recorded before and is not here now stays."""
    place = paths.records() / contents.study.name
    if (place / records.RUNS).is_file():
        earlier = {name: records.of_run(place, name) for name in records.read(place)}
        contents.values = earlier | contents.values
        names = [file.relative_to(place).as_posix() for file in place.rglob("*")]
        others = [name for name in names if not name.startswith(WRITTEN)]
        contents.files = {name: place / name for name in others} | contents.files
    with paths.replacing(place) as draft:
        _lay_out(contents, draft).metadata.write(draft)
    return place


def write_archive(contents: Contents, output: str | Path | None = None) -> Path:
    """Write a record, the cards, the licence and the environment as one ZIP."""
    place = paths.results("studies") / f"{contents.study.name}.zip"
    place = Path(output).expanduser().absolute() if output else place
    contents.files |= {name: paths.ROOT / name for name in ("LICENSE", ENVIRONMENT)}
    for dataset, card in {run.dataset: run.card for run in contents.runs}.items():
        file = cards.card_file(card.table or paths.data("cards") / dataset)
        contents.files[f"cards/{dataset}.yaml"] = file
    if place.suffix.lower() != ".zip" or place.is_dir():
        raise InputError(f"{place}: an archive's name ends in .zip; choose another")
    with paths.scratch() as folder, paths.replacing(place) as draft:
        _lay_out(contents, folder).write_zip(draft)
    return place


def _lay_out(contents: Contents, folder: Path) -> ROCrate:
    """Write everything into a folder, and describe it."""
    folder.mkdir(exist_ok=True)
    records.write(folder, dict(sorted(contents.values.items())))
    for name, file in contents.files.items():
        if file.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".png":
                (folder / name).write_bytes(plots.reduced(file))
            else:
                shutil.copyfile(file, folder / name)
    counted = [paths.results(name) / "table1.csv" for name in {r.dataset for r in contents.runs}]
    if tables := [pd.read_csv(file, **records.TEXTS) for file in sorted(counted) if file.is_file()]:
        pd.concat(tables).to_csv(folder / "table1.csv", index=False)
    return _describe(contents, folder)


def _describe(contents: Contents, folder: Path) -> ROCrate:
    """Describe what lies in a folder; its date is that of the latest run."""
    crate, study = ROCrate(version=VERSION), contents.study
    runs: dict[str, list[dict[str, Any]]] = {}  # a cross-validation is one
    for name, content in contents.values.items():
        if "run" in content:
            runs.setdefault(name.partition("/fold")[0], []).append(content["run"])
    lines = [
        f"Results of {len(runs)} runs of the study {study.name}, made with dslite: for each its "
        "settings, scores, history and, where the corpus's licence allows it, predictions. "
        "No audio."
    ]
    missing = [text for text in contents.missing if text.partition(" ")[0] not in runs]
    parts = {"Missing": missing, "Mixed": contents.mixed, "Left out": contents.left_out}
    lines += [f"{title}: {'; '.join(listed)}." for title, listed in parts.items() if listed]
    crate.name, crate.description = f"{study.title} (study {study.name})", " ".join(lines)
    crate.datePublished = max(record["date"] for of_run in runs.values() for record in of_run)
    text = "Of the code, and of the results as far as they are the project's to license: each "
    text += "corpus that they come from has a licence of its own, named with it."
    crate.license = _entity(crate, CODE_LICENCE, "CreativeWork", "MIT License", description=text)
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        media_type = FORMATS.get(file.suffix) or mimetypes.guess_type(name)[0] or "text/plain"
        described = {"name": name, "encodingFormat": media_type}
        described |= {"contentSize": str(file.stat().st_size)}
        crate.add_file(file, name, properties=described | {"sha256": provenance.file_digest(file)})
    corpora = {run.dataset: run.card for run in contents.runs}
    for name, of_run in sorted(runs.items()):
        if card := corpora.get(name.partition("/")[0]):
            crate.root_dataset.append_to("mentions", _action(crate, name, card, of_run))
    for run in contents.runs:
        if run.name not in runs:
            status = {"actionStatus": {"@id": STATUS.format("Potential")}, "description": run.state}
            action = _entity(crate, f"#run-{run.name}", "CreateAction", run.name, **status)
            crate.root_dataset.append_to("mentions", action)
    return crate


def _entity(crate: ROCrate, at: str, kind: str, name: str, **properties: Any) -> ContextEntity:
    """Add a contextual entity, or the same one again."""
    return crate.add(ContextEntity(crate, at, {"@type": kind, "name": name} | properties))


def _action(crate: ROCrate, name: str, card: Card, runs: list[dict[str, Any]]) -> ContextEntity:
    """Describe a run or a cross-validation: with what, of what, and what came of it."""
    where = (f"{name}/", *WRITTEN)
    results = [one for one in crate.data_entities if one["name"].startswith(where)]
    for file in results:
        if Path(file["name"]).suffix in (".keras", ".tflite"):
            file["license"] = _weights_licence(crate, Settings(**runs[0]["settings"]))
    software = {one.id: one for one in (_software(crate, record) for record in runs)}
    corpora = {one.id: one for one in (_corpus(crate, card, record) for record in runs)}
    return crate.add_action(
        list(software.values()),
        f"#run-{name}",
        object=list(corpora.values()),
        result=results,
        properties={
            "name": name,
            "identifier": [record["identity"] for record in runs],
            "actionStatus": {"@id": STATUS.format("Completed")},
            "endTime": max(record["date"] for record in runs),
        },
    )


def _software(crate: ROCrate, record: dict[str, Any]) -> ContextEntity:
    """Describe the version of this package that a run was made with."""
    version, commit = record["versions"]["dslite"], record["commit"]
    origin = f"git commit {commit}" if commit else "outside a git clone"
    origin = origin.replace("+changes", ", with changes that were not committed")
    environment = crate.get(ENVIRONMENT)
    return _entity(
        crate,
        f"#dslite-{version}-{commit or 'unknown'}",
        "SoftwareApplication",
        "dslite",
        version=version,
        description=f"{origin}; the versions of what it used are in {records.RUNS}",
        license={"@id": CODE_LICENCE},
        **({"softwareRequirements": environment} if environment else {}),
    )


def _corpus(crate: ROCrate, card: Card, record: dict[str, Any]) -> ContextEntity:
    """Describe a corpus as a run saw it: by its manifest, in a cross-validation the fold's."""
    manifest, fold = record["manifest"], record.get("fold", "")
    obtain = " ".join(card.obtain.split()) or "Its card does not say how to get it."
    licence = (crate, f"#licence-{card.dataset}", "CreativeWork", card.licence or "unknown")
    return _entity(
        crate,
        f"#corpus-{card.dataset}-{manifest[:12]}",
        "Dataset",
        card.title + (f", {fold}" if fold else ""),
        description=f"Not in this archive. {obtain}",
        identifier=f"sha256 of the manifest (files, labels, partitions): {manifest}",
        license=_entity(*licence, description=f"Licence of the corpus {card.title}"),
        **({"citation": " ".join(card.citation.split())} if card.citation else {}),
    )


def _weights_licence(crate: ROCrate, settings: Settings) -> ContextEntity:
    """Describe the licence of a model: that of the weights that its training started from."""
    file = Path(settings.weights).name
    start, name = file, f"That of {file}, not known here"
    if settings.random_weights:
        start, name = "random weights", "None: trained from random weights"
    elif settings.weights == "imagenet":
        start = f"{settings.backbone}'s ImageNet weights"
        name = REGISTRY[settings.backbone]["licence"]
    about = f"The model was trained from {start}; the licence of the corpus that it has learnt "
    about += "from applies as well."
    at = f"#licence-weights-{settings.backbone}-{file}"
    return _entity(crate, at, "CreativeWork", name, description=about)

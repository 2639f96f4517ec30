"""A study as one archive, with what it says of itself: RO-Crate 1.1 (https://w3id.org/ro/crate/1.1).

Each run is a ``CreateAction``: made with a version of the software, of a corpus, with a result. It
names no agent: who ran a study is for its publisher to add.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from dslite import paths, provenance
from dslite.cards import Card
from dslite.errors import InputError
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.studies.crate_contents import ENVIRONMENT, Contents
from dslite.studies.runs import Place
from dslite.training.runs import Run

FILE, VERSION = "ro-crate-metadata.json", "1.1"
CODE_LICENCE = "https://spdx.org/licenses/MIT"  # that of LICENSE
CREATED = (1980, 1, 1, 0, 0, 0)  # of each file in the ZIP: its bytes are the contents' only
BLOCK = 1 << 20
SCHEMA = "http://schema.org"
FORMATS = {
    ".csv": "text/csv",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".keras": "application/zip",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".tflite": "application/octet-stream",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


class _Crate(ROCrate):
    """A crate to which the same entity can be told twice."""

    def tell(self, at: str, kind: str, /, **properties: Any) -> ContextEntity:
        """The contextual entity of that identifier, made where it is new."""
        known = self.dereference(at)
        if known is not None:
            return known
        return self.add(ContextEntity(self, at, {"@type": kind} | properties))


def write(contents: Contents, output: str | Path | None = None) -> Path:
    """Write the archive; the same contents give the same bytes.

    Parameters
    ----------
    contents : Contents
    output : path, optional
        ``results/studies/<study>.zip`` if unset.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        The output is no ``.zip`` or cannot be written.
    """
    place = paths.results("studies") / f"{contents.study.name}.zip"
    if output is not None:
        place = Path(output).expanduser().absolute()
    if place.suffix.lower() != ".zip" or place.is_dir():
        raise InputError(f"{place}: an archive's name ends in .zip; choose another")
    described = json.dumps(describe(contents), indent=2, ensure_ascii=False)
    members = {FILE: (described + "\n").encode()}
    members |= dict(sorted(contents.members.items()))
    try:
        with paths.replacing(place) as draft, zipfile.ZipFile(draft, "w") as archive:
            for name, content in members.items():
                _pack(archive, name, content)
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror}); name another") from None
    return place


def _pack(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    """One member, without a time, an owner or a system of its own."""
    info = zipfile.ZipInfo(name, CREATED)
    info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3  # Unix
    info.external_attr = 0o644 << 16
    info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with archive.open(info, "w") as target:
        if isinstance(content, bytes):
            target.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, target, BLOCK)


def describe(contents: Contents) -> dict[str, Any]:
    """The JSON-LD document of an archive, the same for the same contents.

    Returns
    -------
    dict
        ``@context`` and ``@graph``. The date is that of the latest run: that of the archiving
        would make two archives of the same results differ.
    """
    crate, study = _Crate(version=VERSION), contents.study
    licence = crate.tell(
        CODE_LICENCE,
        "CreativeWork",
        name="MIT License",
        description="Of the code, and of the results as far as they are the project's to license: "
        "each corpus that they come from has a licence of its own, named with it.",
    )
    finished = [run for place in contents.places for run in place.runs if place.finished]
    crate.name, crate.description = f"{study.title} (study {study.name})", _told(contents)
    crate.license = licence
    crate.datePublished = max(run.record["date"] for run in finished)
    files = {}
    for name, content in sorted(contents.members.items()):
        files[name] = crate.add_file(Path(name), name, properties=_properties(name, content))
    if "LICENSE" in files:
        files["LICENSE"]["about"] = licence
    for place in contents.places:
        crate.root_dataset.append_to("mentions", _action(crate, contents, place, files))
    return crate.metadata.generate()


def _told(contents: Contents) -> str:
    """The description of the whole, with what is missing and what was left out."""
    done = len(contents.places) - len(contents.missing)
    lines = [
        f"Results of {done} of the {len(contents.places)} runs of the study "
        f"{contents.study.name}, made with dslite: for each its settings, scores, history and, "
        "where the corpus's licence allows it, predictions. No audio."
    ]
    parts = {"Missing": contents.missing, "Mixed": contents.mixed, "Left out": contents.left_out}
    lines += [f"{said}: {'; '.join(listed)}." for said, listed in parts.items() if listed]
    return " ".join(lines)


def _properties(name: str, content: Path | bytes) -> dict[str, Any]:
    """Of a file: name, format, size in bytes and SHA-256."""
    if isinstance(content, bytes):
        size, digest = len(content), hashlib.sha256(content).hexdigest()
    else:
        size, digest = content.stat().st_size, provenance.file_digest(content)
    kind = FORMATS.get(Path(name).suffix.lower(), "text/plain")
    return {"name": name, "encodingFormat": kind, "contentSize": str(size), "sha256": digest}


def _action(
    crate: _Crate, contents: Contents, place: Place, files: dict[str, Any]
) -> ContextEntity:
    """A run or a cross-validation: with what, of what, and what came of it."""
    named = {"name": f"{place.role}: {place.name}"}
    identifier = f"#run-{place.name}"
    if not place.finished:
        status = {"actionStatus": {"@id": f"{SCHEMA}/PotentialActionStatus"}}
        return crate.tell(identifier, "CreateAction", **named, **status, description=place.state)
    records = [run.record for run in place.runs]
    action = crate.tell(
        identifier,
        "CreateAction",
        **named,
        identifier=[record["identity"] for record in records],
        actionStatus={"@id": f"{SCHEMA}/CompletedActionStatus"},
        endTime=max(record["date"] for record in records),
    )
    action["instrument"] = _distinct(_software(crate, run, files) for run in place.runs)
    action["object"] = _distinct(_corpus(crate, place.card, run) for run in place.runs)
    made = contents.of_place[place.name]
    action["result"] = [files[name] for name in made]
    for name in made:
        if Path(name).suffix in (".keras", ".tflite"):
            files[name]["license"] = _weights_licence(crate, place.runs[0].settings)
    return action


def _distinct(entities: Any) -> list[ContextEntity]:
    """Each entity once, in order."""
    return list({entity.id: entity for entity in entities}.values())


def _software(crate: _Crate, run: Run, files: dict[str, Any]) -> ContextEntity:
    """The version of this package that a run was made with."""
    version, commit = run.record["versions"]["dslite"], run.record["commit"]
    said = f"git commit {commit}" if commit else "outside a git clone"
    said = said.replace("+changes", ", with changes that were not committed")
    return crate.tell(
        f"#dslite-{version}-{commit or 'unknown'}",
        "SoftwareApplication",
        name="dslite",
        version=version,
        description=f"{said}; the versions of what it used are in each run's run.json",
        license={"@id": CODE_LICENCE},
        **({"softwareRequirements": files[ENVIRONMENT]} if ENVIRONMENT in files else {}),
    )


def _corpus(crate: _Crate, card: Card, run: Run) -> ContextEntity:
    """A corpus as a run saw it: by its manifest, which in a cross-validation is the fold's."""
    manifest, fold = run.record["manifest"], run.record.get("fold", "")
    licence = crate.tell(
        f"#licence-{card.dataset}",
        "CreativeWork",
        name=card.licence or "unknown",
        description=f"Licence of the corpus {card.title}",
    )
    obtain = " ".join(card.obtain.split()) or "Its card does not say how to get it."
    return crate.tell(
        f"#corpus-{card.dataset}-{manifest[:12]}",
        "Dataset",
        name=card.title + (f", {fold}" if fold else ""),
        description=f"Not in this archive. {obtain}",
        identifier=f"sha256 of the manifest (files, labels, partitions): {manifest}",
        license=licence,
        **({"citation": " ".join(card.citation.split())} if card.citation else {}),
    )


def _weights_licence(crate: _Crate, settings: Settings) -> ContextEntity:
    """Licence of a model: that of the weights that its training started from."""
    if settings.random_weights:
        start, name = "random weights", "None: trained from random weights"
    elif settings.weights == "imagenet":
        start = f"{settings.backbone}'s weights of ImageNet"
        name = IMAGENET[settings.backbone].licence
    else:
        start = Path(settings.weights).name
        name = f"That of {start}, not known here"
    return crate.tell(
        f"#weights-licence-{settings.backbone}-{Path(settings.weights).name}",
        "CreativeWork",
        name=name,
        description=f"The model was trained from {start}; the licence of the corpus that it has "
        "learnt from applies as well.",
    )

"""A study as one archive, with what it says of itself: RO-Crate 1.1 (https://w3id.org/ro/crate/1.1).

Each run is a ``CreateAction``: made with a version of the software, of a corpus, with a result. It
names no agent: who ran a study is for its publisher to add.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from dslite import cards, notebooks, paths, provenance
from dslite.cards import Card
from dslite.errors import InputError
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.studies import runs as study_runs
from dslite.studies import study as study_study
from dslite.studies.runs import Place
from dslite.studies.study import Study
from dslite.training import runs as training_runs
from dslite.training.runs import Run

RUN_FILES = (
    *(training_runs.LAST, "metrics.json", "predictions.csv", "history.csv"),
    *("faithfulness.json", "profile.csv", "profile.json", "device.json"),
)
FOLDS_FILES = (study_runs.GATHERED, "folds.csv", "predictions.csv")
NAMING = frozenset({"predictions.csv"})  # one row a file of the corpus
MODELS = ("model.keras", "*.tflite")
CORPUS_TABLES = {".csv", ".json", ".md"}
ENVIRONMENT = "requirements.lock"
SOUND = ("<audio", '"audio/', "data:audio")  # signs of it in a notebook's output
PRIVATE = "the card of the corpus does not say `publish: true`"


@dataclass
class Contents:
    """What goes into an archive.

    Attributes
    ----------
    study : Study
    places : list of Place
        All of the study's, finished or not.
    members : dict of str to Path or bytes
        Name in the archive -> a file, or its content.
    of_place : dict of str to list of str
        Name of a place -> the members that are its result.
    left_out : list of str
        What was left out on purpose, and why.
    """

    study: Study
    places: list[Place]
    members: dict[str, Path | bytes] = field(default_factory=dict)
    of_place: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """What is not finished: ``place``, or ``place (why)``."""
        found = []
        for place in self.places:
            why = place.state.removeprefix(study_runs.MISSING).removeprefix(": ")
            if not place.finished:
                found.append(f"{place.name} ({why})" if why else place.name)
        return found

    @property
    def mixed(self) -> list[str]:
        """Corpora that changed between their runs, in words: those are not to be compared."""
        seen: dict[str, set[str]] = {}
        for place in self.places:
            for run in place.runs if place.finished else ():
                # A fold has a manifest of its own, and is compared with the same fold.
                key = " ".join([place.card.dataset, run.record.get("fold", "")]).strip()
                seen.setdefault(key, set()).add(run.record["manifest"])
        return [
            f"{key}: runs of {len(m)} different manifests" for key, m in seen.items() if len(m) > 1
        ]

    def add(self, name: str, content: Path | bytes) -> None:
        """One file, if it is there."""
        if isinstance(content, bytes) or content.is_file():
            self.members[name] = content


def is_open(card: Card) -> bool:
    """Whether a corpus's licence lets its files be named; the demo corpus is the project's own."""
    return card.publish or card.layout == "demo"


def collect(study: str | Path, models: bool = False, executed: bool = True) -> Contents:
    """Everything of a study that is published.

    Parameters
    ----------
    study : str or path
        As `dslite.studies.study.load` takes it.
    models : bool
        Include the trained models, whose weights have licences of their own.
    executed : bool
        Include the notebooks of the runs, where they can be published.

    Raises
    ------
    InputError
        An unknown study, or one of which no run is finished.
    """
    loaded = study_study.load(study)
    contents = Contents(loaded, study_runs.of_study(loaded))
    if not any(place.finished for place in contents.places):
        raise InputError(
            f"study {loaded.name}: none of its {len(contents.places)} runs is finished; "
            f"`snakemake --cores 2 --config study={study}` makes them"
        )
    beside = Path(study).suffix.lower() in study_study.SUFFIXES
    source = paths.find(study) if beside else paths.studies() / f"{study}.yaml"
    contents.add(f"study/{source.name}", source)
    for name in ("LICENSE", ENVIRONMENT):
        contents.add(name, paths.ROOT / name)
    for card in {place.card.dataset: place.card for place in contents.places}.values():
        named = paths.cards() / f"{card.dataset}.yaml"
        contents.add(
            f"cards/{card.dataset}.yaml",
            Path(card.table).with_suffix(".yaml") if card.table else named,
        )
    for place in contents.places:
        if place.finished:
            _add_place(contents, place, models)
            if executed and place.role != study_runs.CANDIDATE:
                _add_notebook(contents, place)
    tables = paths.results("studies") / loaded.name
    for file in sorted(tables.glob("*")):
        if file.suffix.lower() in CORPUS_TABLES and not file.name.startswith("."):
            contents.add(f"tables/{file.name}", file)
    return contents


def _add_place(contents: Contents, place: Place, models: bool) -> None:
    """The files of one finished run or cross-validation."""
    before, allowed = set(contents.members), is_open(place.card)
    folders = {place.folder: FOLDS_FILES if place.point.folds else RUN_FILES}
    folders |= {run.folder: RUN_FILES for run in place.runs}
    for folder, names in folders.items():
        where = folder.relative_to(paths.results()).as_posix()
        for name in names:
            if allowed or name not in NAMING:
                contents.add(f"runs/{where}/{name}", folder / name)
            elif (folder / name).is_file():
                contents.left_out.append(f"{where}/{name}: {PRIVATE}")
        found = [file for pattern in MODELS for file in sorted(folder.glob(pattern))]
        for file in found if models and allowed else []:
            contents.add(f"runs/{where}/{file.name}", file)
        if models and found and not allowed:
            contents.left_out.append(f"{where}, models: {PRIVATE}")
    # In the order in which they were added: a point's files in that of the tables.
    contents.of_place[place.name] = [name for name in contents.members if name not in before]


def _add_notebook(contents: Contents, place: Place) -> None:
    """The executed notebook of a finished run, or why it is left out."""
    file = paths.results(place.card.dataset) / "notebooks" / "runs" / f"{place.folder.name}.ipynb"
    if not file.is_file():
        return
    private = PRIVATE if not is_open(place.card) else ""
    name = f"{place.card.dataset}/{file.name}"
    content, fault = (b"", private) if private else _notebook(file)
    if fault:
        contents.left_out.append(f"notebook {name}: {fault}")
    else:
        contents.add(f"notebooks/{name}", content)
        contents.of_place[place.name].append(f"notebooks/{name}")


def _notebook(file: Path) -> tuple[bytes, str]:
    """An executed notebook as it can be published, or why it cannot."""
    try:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        outputs = json.dumps([cell.get("outputs", []) for cell in notebook["cells"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return b"", "not readable as a notebook"
    if any(sign in outputs for sign in SOUND):
        return b"", "it has audio players"
    # Where it was run is nobody's business.
    for key in ("input_path", "output_path"):
        notebook.get("metadata", {}).get("papermill", {}).pop(key, None)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    if any(str(place) in text for place in (paths.ROOT, Path.home())):
        return b"", "it names folders of this machine"
    return (text + "\n").encode(), ""


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


RUNS, TABLES = "runs/", "tables/"  # first parts of an archive's names
EXPLANATION = ("*.csv", "shap_confident.svg", "shap_wrong.svg", "methods.svg")
AUDIO = re.compile(r"<audio\b.*?</audio>", re.DOTALL | re.IGNORECASE)
# Of a weights file only the name, as in a run's record: where it lies is nobody's business.
WEIGHTS = re.compile(r'(\bweights = \\")[^"\\]*/')
LEFT_OUT = "<em>(player left out: the recording is the corpus's)</em>"


@dataclass
class Kept:
    """What was written, and what was left out on purpose."""

    written: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def size_mb(self) -> float:
        """All that was written, in 1e6 bytes."""
        return sum(file.stat().st_size for file in self.written) / 1e6


def keep(study: str | Path) -> Kept:
    """Copy the small files of a study's finished runs, and its tables, to ``results/records``.

    Scores, predictions of file level, histories and costs of every run; of one that was explained
    the tables and two pages of overlays; the row of Table 1 of each corpus. Of a corpus whose
    licence keeps file names private there are no predictions and no explanations.

    Parameters
    ----------
    study : str or path
        As `dslite.studies.study.load` takes it.

    Raises
    ------
    InputError
        An unknown study, or one of which no run is finished.
    """
    contents = collect(study, executed=False)
    kept = Kept(left_out=list(contents.left_out))
    for name, content in contents.members.items():
        if name.startswith(RUNS):
            _write(kept, paths.records() / name.removeprefix(RUNS), _content(content))
        elif name.startswith(TABLES):
            place = paths.records() / "studies" / contents.study.name
            _write(kept, place / name.removeprefix(TABLES), _content(content))
    for place in contents.places:
        if place.finished and is_open(place.card):
            folder = place.folder / "explanation"
            for file in sorted({f for pattern in EXPLANATION for f in folder.glob(pattern)}):
                _write(kept, paths.records() / place.name / folder.name / file.name, _content(file))
    for dataset in dict.fromkeys(place.card.dataset for place in contents.places):
        counted = paths.results(dataset) / "table1.csv"
        if counted.is_file():
            _write(kept, paths.records() / dataset / counted.name, _content(counted))
    return kept


def keep_notebooks(dataset: str) -> Kept:
    """Copy a corpus's executed chain of notebooks to ``results/records``, without its players.

    Raises
    ------
    InputError
        None has been run, the corpus's licence keeps file names private, or one is not readable.
    """
    card = cards.load(dataset)
    if not is_open(card):
        raise InputError(
            f"{card.dataset}: its notebooks name files, and the card does not say `publish: true`"
        )
    folder = paths.results(card.dataset) / "notebooks"
    chain = [file for name in notebooks.ORDER for file in sorted(folder.glob(f"{name}*.ipynb"))]
    chain = [file for file in chain if not file.stem.endswith(".failed")]
    if not chain:
        raise InputError(f"{paths.shown(folder)}: no executed notebooks here; run the chain first")
    kept = Kept()
    for file in chain:
        target = paths.records() / card.dataset / "notebooks" / file.name
        _write(kept, target, without_audio(file).encode())
    return kept


def without_audio(file: Path) -> str:
    """An executed notebook as it can be published: no recordings, no folders of this machine.

    Raises
    ------
    InputError
        Not readable as a notebook, or sound in it in a form that is not known here.
    """
    try:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        cells = list(notebook["cells"])
        for cell in cells:
            cell["outputs"] = [_silent(output) for output in cell.get("outputs", [])]
            cell.get("metadata", {}).pop("papermill", None)
            if cell["cell_type"] != "code":
                del cell["outputs"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{paths.shown(file)}: not readable as a notebook ({error})") from None
    notebook.get("metadata", {}).pop("papermill", None)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for folder in _folders():
        text = text.replace(json.dumps(f"{folder}{os.sep}")[1:-1], "")
    text = WEIGHTS.sub(r"\1", text)
    if any(sign in text for sign in SOUND):
        raise InputError(f"{paths.shown(file)}: holds sound that cannot be taken out; leave it")
    return text


def _silent(output: dict[str, Any]) -> dict[str, Any]:
    """An output whose players are replaced by a remark."""
    data = output.get("data", {})
    for kind in [kind for kind in data if kind.startswith("audio/")]:
        del data[kind]
    if "text/html" in data:
        text = data["text/html"]
        data["text/html"] = AUDIO.sub(LEFT_OUT, text if isinstance(text, str) else "".join(text))
    return output


def _folders() -> Iterable[Path]:
    """Folders of this machine that a notebook may name, the deepest first."""
    given = [os.environ.get(f"DSLITE_{name}") for name in ("DATA", "CACHE", "RESULTS")]
    # As they are named, and where their links lead.
    found = {form for f in given if f for form in (Path(f).absolute(), Path(f).resolve())}
    found |= {paths.ROOT, paths.ROOT.parent, Path.home(), Path.cwd()} - {Path("/")}
    return sorted(found, key=lambda folder: -len(folder.parts))


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _write(kept: Kept, target: Path, content: bytes) -> None:
    with paths.replacing(target) as draft:
        draft.write_bytes(content)
    kept.written.append(target)

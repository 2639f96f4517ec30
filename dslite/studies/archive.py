"""What is published of a study: as one archive, or as records to be committed.

An archive is an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) in a ZIP. In it each run is a
``CreateAction``: made with a version of the software, of a corpus, with a result. It names no
agent: who ran a study is for its publisher to add. The records are its runs and tables without
the ZIP.
"""

import hashlib
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from dslite import cards, notebooks, paths
from dslite.cards import Card
from dslite.errors import InputError
from dslite.models.weights import IMAGENET
from dslite.settings import Settings
from dslite.studies.jobs import CANDIDATE
from dslite.studies.runs import GATHERED, MISSING, StudyRun, study_runs
from dslite.studies.study import Study, load_study, source
from dslite.studies.tables import folder as tables_folder
from dslite.training.runs import LAST

# Of a run's folder
FILES = (LAST, "metrics.json", "predictions.csv", "history.csv", "agreement.json")
FILES += ("profile.csv", "profile.json", "device.json", "explanation/*.csv")
FILES += ("explanation/shap_confident.svg", "explanation/shap_wrong.svg", "explanation/methods.svg")
FOLDS_FILES = (GATHERED, "folds.csv", "predictions.csv")
MODELS = ("model.keras", "*.tflite")
# What names the corpus's files, or has learnt from them
PRIVATE = ("predictions.csv", "explanation/", "model", "cnn", "spectrogram")
NOT_OPEN = "the card of the corpus does not say `publish: true`"
TABLES = {".csv", ".json", ".md"}
ENVIRONMENT = "requirements.lock"

METADATA, VERSION = "ro-crate-metadata.json", "1.1"
CODE_LICENCE = "https://spdx.org/licenses/MIT"  # that of LICENSE
CREATED = (1980, 1, 1, 0, 0, 0)  # of each file in the ZIP: its bytes are the contents' only
STATUS = "http://schema.org/{}ActionStatus"
FORMATS = {
    ".csv": "text/csv",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".keras": "application/zip",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}

SOUND = ("<audio", '"audio/', "data:audio")  # signs of it in a notebook's output
PLAYER = re.compile(r"<audio\b.*?</audio>", re.DOTALL | re.IGNORECASE)
LEFT_OUT = "<em>(player left out: the recording is the corpus's)</em>"
# Of a weights file only the name, as in a run's record: where it lies is nobody's business.
WEIGHTS = re.compile(r'(\bweights = \\")[^"\\]*/')


@dataclass
class Contents:
    """What is published of a study, and what is not."""

    study: Study
    runs: list[StudyRun]  # all of the study's, finished or not
    members: dict[str, Path | bytes] = field(default_factory=dict)  # name -> a file or its content
    of_run: dict[str, list[str]] = field(default_factory=dict)  # a run's name -> its members
    left_out: list[str] = field(default_factory=list)  # on purpose, and why

    @property
    def missing(self) -> list[str]:
        """What is not finished: ``run``, or ``run (why)``."""
        unfinished = [run for run in self.runs if not run.finished]
        reasons = [run.state.removeprefix(MISSING).removeprefix(": ") for run in unfinished]
        pairs = zip(unfinished, reasons, strict=True)
        return [f"{run.name} ({why})" if why else run.name for run, why in pairs]

    @property
    def mixed(self) -> list[str]:
        """Corpora that changed between their runs, in words: those are not to be compared."""
        manifests: dict[str, set[str]] = {}
        for one in self.runs:
            for run in one.runs if one.finished else ():
                # A fold has a manifest of its own, and is compared with the same fold.
                key = f"{one.dataset} {run.record.get('fold', '')}".strip()
                manifests.setdefault(key, set()).add(run.record["manifest"])
        counts = {key: len(different) for key, different in manifests.items()}
        return [f"{key}: runs of {n} different manifests" for key, n in counts.items() if n > 1]

    def add(self, name: str, content: Path | bytes) -> None:
        """Add one file, if it is there."""
        if isinstance(content, bytes) or content.is_file():
            self.members[name] = content


def collect(study: str | Path, models: bool = False, executed: bool = True) -> Contents:
    """Gather everything of a study, by name or path, that is published.

    With ``models``, whose weights have licences of their own, and with the ``executed`` notebooks.

    Raises
    ------
    InputError
        An unknown study, or one of which no run is finished.
    """
    loaded = load_study(study)
    contents = Contents(loaded, study_runs(loaded))
    if not any(run.finished for run in contents.runs):
        raise InputError(
            f"study {loaded.name}: none of its {len(contents.runs)} runs is finished; "
            f"`snakemake --cores 2 --config study={study}` makes them"
        )
    contents.add(f"study/{source(study).name}", source(study))
    for name in ("LICENSE", ENVIRONMENT):
        contents.add(name, paths.ROOT / name)
    for dataset, card in {run.dataset: run.card for run in contents.runs}.items():
        named = Path(card.table).with_suffix("") if card.table else paths.data("cards") / dataset
        contents.add(f"cards/{dataset}.yaml", named.with_name(f"{named.name}.yaml"))
        contents.add(f"runs/{dataset}/table1.csv", paths.results(dataset) / "table1.csv")
    for run in contents.runs:
        if run.finished:
            _add_run(contents, run, models)
            if executed and run.role != CANDIDATE:
                _add_notebook(contents, run)
    for file in sorted(tables_folder(loaded).glob("*")):
        if file.suffix.lower() in TABLES and not file.name.startswith("."):
            contents.add(f"tables/{file.name}", file)
    return contents


def is_open(card: Card) -> bool:
    """Return whether a corpus's licence lets its files be named; the demo corpus is our own."""
    return card.publish or card.layout == "demo"


def _add_run(contents: Contents, run: StudyRun, models: bool) -> None:
    """Add the files of one finished run or cross-validation."""
    folders = {run.folder: FOLDS_FILES} if run.config.folds else {}
    folders |= {one.folder: FILES + (MODELS if models else ()) for one in run.runs}
    members = contents.of_run.setdefault(run.name, [])
    for folder, patterns in folders.items():
        for file in (file for pattern in patterns for file in sorted(folder.glob(pattern))):
            if is_open(run.card) or not file.relative_to(folder).as_posix().startswith(PRIVATE):
                contents.add(f"runs/{_name(file)}", file)
                members.append(f"runs/{_name(file)}")
            else:
                contents.left_out.append(f"{_name(file)}: {NOT_OPEN}")


def _add_notebook(contents: Contents, run: StudyRun) -> None:
    """Add the executed notebook of a finished run, or say why it is left out."""
    file = paths.results(run.dataset) / "notebooks" / "runs" / f"{run.folder.name}.ipynb"
    if file.is_file():
        name = f"notebooks/{run.dataset}/{file.name}"
        try:
            contents.add(name, without_audio(file, run.card).encode())
            contents.of_run[run.name].append(name)
        except InputError as error:
            contents.left_out.append(str(error))


def _name(file: Path) -> str:
    """Name a file of the results without its folders on this machine."""
    return file.relative_to(paths.results()).as_posix()


def write_archive(contents: Contents, output: str | Path | None = None) -> Path:
    """Write the archive; the same contents give the same bytes.

    Without an output it is ``results/studies/<study>.zip``.

    Raises
    ------
    InputError
        The output is no ``.zip`` or cannot be written.
    """
    usual = paths.results("studies") / f"{contents.study.name}.zip"
    place = Path(output).expanduser().absolute() if output else usual
    if place.suffix.lower() != ".zip" or place.is_dir():
        raise InputError(f"{place}: an archive's name ends in .zip; choose another")
    description = json.dumps(describe(contents), indent=2, ensure_ascii=False) + "\n"
    members = {METADATA: description.encode()} | dict(sorted(contents.members.items()))
    try:
        with paths.replacing(place) as draft, zipfile.ZipFile(draft, "w") as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name, CREATED)
                info.create_system, info.external_attr = 3, 0o644 << 16  # Unix, whoever writes it
                archive.writestr(info, _bytes(content), zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror}); name another") from None
    return place


def _bytes(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def describe(contents: Contents) -> dict[str, Any]:
    """Return the JSON-LD document of an archive, the same for the same contents.

    Its date is that of the latest run: that of the archiving would make two archives differ.
    """
    crate, study = ROCrate(version=VERSION), contents.study
    crate.name, crate.description = f"{study.title} (study {study.name})", _summary(contents)
    crate.datePublished = max(
        run.record["date"] for one in contents.runs if one.finished for run in one.runs
    )
    crate.license = _entity(
        crate,
        CODE_LICENCE,
        "CreativeWork",
        name="MIT License",
        description="Of the code, and of the results as far as they are the project's to license: "
        "each corpus that they come from has a licence of its own, named with it.",
    )
    files = {}
    for name, content in sorted(contents.members.items()):
        data = _bytes(content)
        properties = {"name": name, "contentSize": str(len(data))}
        properties["encodingFormat"] = FORMATS.get(Path(name).suffix.lower(), "text/plain")
        properties["sha256"] = hashlib.sha256(data).hexdigest()
        files[name] = crate.add_file(Path(name), name, properties=properties)
    files["LICENSE"]["about"] = crate.license
    for run in contents.runs:
        results = [files[name] for name in contents.of_run.get(run.name, ())]
        action = _action(crate, run, results, files[ENVIRONMENT])
        crate.root_dataset.append_to("mentions", action)
    return crate.metadata.generate()


def _entity(crate: ROCrate, at: str, kind: str, **properties: Any) -> ContextEntity:
    """Add a contextual entity, or the same one again."""
    return crate.add(ContextEntity(crate, at, {"@type": kind} | properties))


def _summary(contents: Contents) -> str:
    """Describe the whole, with what is missing and what was left out."""
    finished = len(contents.runs) - len(contents.missing)
    lines = [
        f"Results of {finished} of the {len(contents.runs)} runs of the study "
        f"{contents.study.name}, made with dslite: for each its settings, scores, history and, "
        "where the corpus's licence allows it, predictions. No audio."
    ]
    parts = {"Missing": contents.missing, "Mixed": contents.mixed, "Left out": contents.left_out}
    lines += [f"{title}: {'; '.join(listed)}." for title, listed in parts.items() if listed]
    return " ".join(lines)


def _action(crate: ROCrate, run: StudyRun, results: list[Any], environment: Any) -> ContextEntity:
    """Describe a run or a cross-validation: with what, of what, and what came of it."""
    at, name = f"#run-{run.name}", f"{run.role}: {run.name}"
    if not run.finished:
        status = {"@id": STATUS.format("Potential")}
        return _entity(
            crate, at, "CreateAction", name=name, actionStatus=status, description=run.state
        )
    for file in results:
        if Path(file.id).suffix in (".keras", ".tflite"):
            file["license"] = _weights_licence(crate, run.settings)
    software = [_software(crate, one.record, environment) for one in run.runs]
    corpora = [_corpus(crate, run.card, one.record) for one in run.runs]
    return crate.add_action(
        list({entity.id: entity for entity in software}.values()),
        at,
        object=list({entity.id: entity for entity in corpora}.values()),
        result=results,
        properties={
            "name": name,
            "identifier": [one.record["identity"] for one in run.runs],
            "actionStatus": {"@id": STATUS.format("Completed")},
            "endTime": max(one.record["date"] for one in run.runs),
        },
    )


def _software(crate: ROCrate, record: dict[str, Any], environment: Any) -> ContextEntity:
    """Describe the version of this package that a run was made with."""
    version, commit = record["versions"]["dslite"], record["commit"]
    origin = f"git commit {commit}" if commit else "outside a git clone"
    origin = origin.replace("+changes", ", with changes that were not committed")
    return _entity(
        crate,
        f"#dslite-{version}-{commit or 'unknown'}",
        "SoftwareApplication",
        name="dslite",
        version=version,
        description=f"{origin}; the versions of what it used are in each run's run.json",
        license={"@id": CODE_LICENCE},
        softwareRequirements=environment,
    )


def _corpus(crate: ROCrate, card: Card, record: dict[str, Any]) -> ContextEntity:
    """Describe a corpus as a run saw it: by its manifest, in a cross-validation the fold's."""
    manifest, fold = record["manifest"], record.get("fold", "")
    licence = _licence(
        crate, card.dataset, card.licence or "unknown", f"Licence of the corpus {card.title}"
    )
    obtain = " ".join(card.obtain.split()) or "Its card does not say how to get it."
    return _entity(
        crate,
        f"#corpus-{card.dataset}-{manifest[:12]}",
        "Dataset",
        name=card.title + (f", {fold}" if fold else ""),
        description=f"Not in this archive. {obtain}",
        identifier=f"sha256 of the manifest (files, labels, partitions): {manifest}",
        license=licence,
        **({"citation": " ".join(card.citation.split())} if card.citation else {}),
    )


def _weights_licence(crate: ROCrate, settings: Settings) -> ContextEntity:
    """Describe the licence of a model: that of the weights that its training started from."""
    start = Path(settings.weights).name
    name = f"That of {start}, not known here"
    if settings.random_weights:
        start, name = "random weights", "None: trained from random weights"
    elif settings.weights == "imagenet":
        start, name = f"{settings.backbone}'s ImageNet weights", IMAGENET[settings.backbone].licence
    description = f"The model was trained from {start}; the licence of the corpus that it has "
    description += "learnt from applies as well."
    at = f"weights-{settings.backbone}-{Path(settings.weights).name}"
    return _licence(crate, at, name, description)


def _licence(crate: ROCrate, at: str, name: str, description: str) -> ContextEntity:
    at = f"#licence-{at}"
    return _entity(crate, at, "CreativeWork", name=name, description=description)


def record_runs(study: str | Path) -> tuple[list[Path], list[str]]:
    """Copy the runs and tables of a study's archive, without notebooks, to ``results/records``.

    Gives the files that were written, and what was left out on purpose. Errors as in `collect`.
    """
    contents = collect(study, executed=False)
    places = {
        "runs/": paths.records(),
        "tables/": paths.records() / "studies" / contents.study.name,
    }
    written = [
        _write(place / name.removeprefix(part), _bytes(content))
        for name, content in contents.members.items()
        for part, place in places.items()
        if name.startswith(part)
    ]
    return written, contents.left_out


def record_notebooks(dataset: str) -> list[Path]:
    """Copy a corpus's executed chain of notebooks to ``results/records``, without its players.

    Raises
    ------
    InputError
        None has been run, the corpus's licence keeps file names private, or one is not readable.
    """
    card = cards.load(dataset)
    folder = paths.results(card.dataset) / "notebooks"
    chain = [file for name in notebooks.ORDER for file in sorted(folder.glob(f"{name}*.ipynb"))]
    chain = [file for file in chain if not file.stem.endswith(".failed")]
    if not chain:
        raise InputError(f"{paths.shown(folder)}: no executed notebooks here; run the chain first")
    target = paths.records() / card.dataset / "notebooks"
    return [_write(target / file.name, without_audio(file, card).encode()) for file in chain]


def _write(target: Path, content: bytes) -> Path:
    with paths.replacing(target) as draft:
        draft.write_bytes(content)
    return target


def without_audio(file: Path, card: Card) -> str:
    """Return an executed notebook without recordings and folders of this machine.

    Raises
    ------
    InputError
        Not readable as a notebook, sound in it in a form that is not known here, or the corpus's
        licence keeps file names private.
    """
    if not is_open(card):
        raise InputError(f"{_name(file)}: {NOT_OPEN}")
    try:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell.get("metadata", {}).pop("papermill", None)
            for output in cell.get("outputs", []):
                _remove_players(output.get("data", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{_name(file)}: not readable as a notebook ({error})") from None
    notebook.get("metadata", {}).pop("papermill", None)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for folder in _folders():
        text = text.replace(json.dumps(f"{folder}{os.sep}")[1:-1], "")
    text = WEIGHTS.sub(r"\1", text)
    if any(sign in text for sign in SOUND):
        raise InputError(f"{_name(file)}: holds sound that cannot be taken out; leave it")
    return text


def _remove_players(data: dict[str, Any]) -> None:
    """Replace the players in an output's data by a remark."""
    for kind in [kind for kind in data if kind.startswith("audio/")]:
        del data[kind]
    if "text/html" in data:
        text = data["text/html"]
        data["text/html"] = PLAYER.sub(LEFT_OUT, text if isinstance(text, str) else "".join(text))


def _folders() -> list[Path]:
    """Folders of this machine that a notebook may name, the deepest first."""
    named = [os.environ.get(f"DSLITE_{name}") for name in ("DATA", "CACHE", "RESULTS")]
    # As they are named, and where their links lead.
    folders = {form for f in named if f for form in (Path(f).absolute(), Path(f).resolve())}
    folders |= {paths.ROOT, paths.ROOT.parent, Path.home(), Path.cwd()} - {Path("/")}
    return sorted(folders, key=lambda folder: -len(folder.parts))

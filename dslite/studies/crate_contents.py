"""What of a study can be published: its files, and what was left out.

What may not be given away is never in it: no audio, and of a corpus whose card does not say
``publish`` nothing that names its files, shows them or has learnt from them.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from dslite import paths
from dslite.cards import Card
from dslite.errors import InputError
from dslite.studies import runs as study_runs
from dslite.studies import study as study_study
from dslite.studies.runs import Place
from dslite.studies.study import Study
from dslite.training import runs as training_runs

RUN_FILES = (
    *(training_runs.LAST, "metrics.json", "predictions.csv", "history.csv"),
    *("faithfulness.json", "profile.csv", "profile.json", "device.json"),
)
FOLDS_FILES = (study_runs.GATHERED, "folds.csv", "predictions.csv")
NAMING = frozenset({"predictions.csv"})  # one row a file of the corpus
MODELS = ("model.keras", "*.tflite")
TABLES = {".csv", ".json", ".md"}
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
        if file.suffix.lower() in TABLES and not file.name.startswith("."):
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

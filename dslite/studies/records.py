"""Records: of finished runs the small files, laid out as results are, to be committed.

From them the paper's tables are made again where nobody has the corpus or the time to train. What
may be in them is what may be in an archive, see `dslite.studies.crate_contents`: no audio, no models.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dslite import cards, notebooks, paths
from dslite.errors import InputError
from dslite.studies import crate_contents

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
    contents = crate_contents.collect(study, executed=False)
    kept = Kept(left_out=list(contents.left_out))
    for name, content in contents.members.items():
        if name.startswith(RUNS):
            _write(kept, paths.records() / name.removeprefix(RUNS), _content(content))
        elif name.startswith(TABLES):
            place = paths.records() / "studies" / contents.study.name
            _write(kept, place / name.removeprefix(TABLES), _content(content))
    for place in contents.places:
        if place.finished and crate_contents.is_open(place.card):
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
    if not crate_contents.is_open(card):
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
    if any(sign in text for sign in crate_contents.SOUND):
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

"""A configuration of the public DeepSpectrumLite tool as a card, a study and a table.

Its formats, as its manual describes them: ``hp_config.json`` maps each key to a list, and the lists
span a grid; ``class_config.json`` maps labels to the names of classes; the label table has the
columns filename, label and duration_frames, and a file's name begins with its partition.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import yaml

from dslite import cards, paths
from dslite.datasets import listing
from dslite.datasets.listing import UNKNOWN, require_none
from dslite.errors import InputError
from dslite.settings import PARTITIONS, Settings, checked, nearest
from dslite.studies import counterparts
from dslite.studies import study as study_study

MANUAL, CODE = "manual", "code"  # presets: as the tool's manual says, and as its code does
# Where its code differs from its manual, or decides what the manual leaves open
READINGS = {
    "probability_reading": "code",
    "cutmix_reading": "code",
    "mask_reading": "code",
    "fine_tune_reading": "code",
    "tail": "drop",
    "fusion": "vote",
}


@dataclass(frozen=True)
class Imported:
    """A converted configuration.

    Attributes
    ----------
    name : str
        Of the table, and so of the corpus.
    card, study : dict
        Contents of the YAML files; the card without its ``folder``, which depends on where it is
        written.
    table : DataFrame
        Columns ``path, label, partition``, all strings.
    audio : Path
        What the paths are relative to.
    unmatched : list of str
        ``key: why`` of everything that has no counterpart here.
    """

    name: str
    card: dict[str, Any]
    study: dict[str, Any]
    table: pd.DataFrame
    audio: Path
    unmatched: list[str]


def convert(
    hp_config: str | Path,
    class_config: str | Path,
    labels: str | Path,
    audio: str | Path = "",
    name: str = "imported",
) -> Imported:
    """Read a configuration of the tool.

    Parameters
    ----------
    hp_config, class_config, labels : path
    audio : path
        Folder that the table's file names are relative to; the table's own if empty.
    name : str
        What the corpus is to be called.

    Raises
    ------
    InputError
        A file that is missing or not in its format, a name without a partition, a label that is
        no class, or values that contradict each other.

    Notes
    -----
    Of a grid, the card's ``settings`` hold the first values, so that ``dslite train`` trains its
    first point, and ``grid`` all of them. Networks and augmentations are the study's. The preset
    `MANUAL` reads the numbers as the tool's manual explains them, `CODE` as its code uses them.
    """
    hp_config, class_config, labels = map(paths.find, (hp_config, class_config, labels))
    folder = paths.find(audio) if audio else labels.parent
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; name the one that holds the audio")
    if name in cards.names() or not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"name '{name}': it is taken or no name of a file; choose another")
    config = _config(hp_config)
    task = counterparts.task(config, hp_config)
    values, unmatched = counterparts.settings(config, task)
    for point in study_study.grid_points(values):
        checked(Settings, point, str(hp_config))
    networks = {
        "backbones": counterparts.backbones(config, hp_config, unmatched),
        "augmentations": counterparts.augmentations(config, hp_config),
    }
    names = _classes(class_config, task)
    table, ignored = _table(labels, names, task)
    card, study = _contents(name, task, names, values, networks)
    return Imported(name, card, study, table, folder, unmatched + ignored)


def _contents(
    name: str,
    task: str,
    names: Mapping[str, str],
    values: Mapping[str, list[Any]],
    networks: Mapping[str, list[str]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The card and the study."""
    title = f"{name}, imported from DeepSpectrumLite"
    grid = {setting: tried for setting, tried in values.items() if len(tried) > 1}
    first = {axis.removesuffix("s"): listed[0] for axis, listed in networks.items()}
    first |= {setting: tried[0] for setting, tried in values.items()}
    card = {"title": title, "task": task}
    card |= {"classes": list(names.values())} if task == "classification" else {}
    card |= {"settings": first, "default_preset": MANUAL}
    card |= {"presets": {MANUAL: {}, CODE: dict(READINGS)}}
    card |= {"grid": grid} if grid else {}
    study = {"title": title, "corpora": [f"{name}.csv"], "presets": [MANUAL], **networks}
    study |= {"seeds": [0]} | ({"grid": True} if grid else {})
    return card, study


def write(imported: Imported, folder: str | Path, force: bool = False) -> list[Path]:
    """Write ``<name>.csv``, its card ``<name>.yaml`` and the study ``<name>-study.yaml``.

    Returns
    -------
    list of Path
        In this order.

    Raises
    ------
    InputError
        One of them is there already and ``force`` is not set: none is written.
    """
    folder = Path(folder).expanduser().absolute()
    files = [folder / f"{imported.name}{end}" for end in (".csv", ".yaml", "-study.yaml")]
    there = [file for file in files if file.exists()]
    if there and not force:
        raise InputError(f"{there[0]}: exists already; choose another name or folder, or --force")
    # Relative, so that table and audio can be moved together.
    placed = imported.card | {"folder": Path(os.path.relpath(imported.audio, folder)).as_posix()}
    heading = ["Made by `dslite import`. Without a counterpart here:", *imported.unmatched]
    texts = [
        imported.table.to_csv(index=False),
        "".join(f"# {line}\n" for line in heading) + _yaml(placed),
        _yaml(imported.study),
    ]
    for file, text in zip(files, texts, strict=True):
        with paths.replacing(file) as draft:
            draft.write_text(text, encoding="utf-8")
    return files


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); correct it there") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected an object of keys and values, {{...}}")
    return content


def _config(path: Path) -> dict[str, list[Any]]:
    """Keys and their values, each once."""
    config = _json(path)
    for key, values in config.items():
        if not isinstance(values, list) or not values:
            raise InputError(
                f"{path}: {key} = {json.dumps(values)}: expected a list of values, for instance "
                f"{json.dumps([values] if values != [] else [0])}"
            )
        if not all(isinstance(value, str | int | float) for value in values):
            raise InputError(
                f"{path}: {key} = {json.dumps(values)}: its values must be texts, numbers, true or "
                "false"
            )
    return {key: list(dict.fromkeys(values)) for key, values in config.items()}


def _classes(path: Path, task: str) -> dict[str, str]:
    """Label of the table -> name of the class, in the file's order."""
    found = _json(path)
    wrong = [key for key, value in found.items() if not isinstance(value, str) or not value.strip()]
    if wrong:
        raise InputError(f'{path}: {wrong[0]}: expected the name of a class, "{wrong[0]}": "Name"')
    names = [name.strip() for name in found.values()]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: two labels are called '{twice[0]}'; give each its own name")
    if task == "regression" and len(names) > 1:
        raise InputError(f"{path}: a regression predicts one number, here are {', '.join(names)}")
    return dict(zip(found, names, strict=True))


def _table(path: Path, names: Mapping[str, str], task: str) -> tuple[pd.DataFrame, list[str]]:
    """The table of an own corpus, and what of the label table is not in it."""
    header, *rows = listing.read_rows(path)
    columns = [name.lower() for name in header]
    for name in ("filename", "label"):
        if name not in columns:
            raise InputError(f"{path}: no column '{name}' in its first row{nearest(name, header)}")
    problems, found = [], []
    file_at, label_at = columns.index("filename"), columns.index("label")
    for number, row in enumerate(rows, start=2):
        if len(row) <= max(file_at, label_at):
            problems.append(f"row {number} has {len(row)} cells where the header has {len(header)}")
            continue
        file, label = row[file_at].replace("\\", "/"), row[label_at]
        said = [file.lower(), PurePosixPath(file).name.lower()]
        partition = next((p for p in PARTITIONS if any(s.startswith(p) for s in said)), "")
        if not partition:
            problems.append(
                f"row {number}, '{file}': the name must begin with train, devel or test"
            )
        known = _label(label, names, task, partition)
        if known is None:
            wanted = nearest(label, names) if task == "classification" else "; write a number"
            problems.append(f"row {number}, '{file}': label '{label}' is not known{wanted}")
        found.append((file, known, partition))
    require_none(problems, str(path))
    unused = [name for name in header if name.lower() not in ("filename", "label")]
    ignored = [f"{path.name}, {name}: not needed; durations are measured" for name in unused]
    ignored.append(
        f"{path.name}: it names no speakers, so intervals over speakers and --folds need a column "
        "'speaker' of your own in the written table"
    )
    return pd.DataFrame(found, columns=["path", "label", "partition"], dtype="str"), ignored


def _label(label: str, names: Mapping[str, str], task: str, partition: str) -> str | None:
    """The written table's label; None if it is not known."""
    if label == UNKNOWN and partition == "test":
        return label
    if task == "classification":
        return names.get(label)
    try:
        return label if math.isfinite(float(label)) else None
    except ValueError:
        return None

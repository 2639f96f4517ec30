"""Tables of features for other tools: CSV, NumPy's NPZ and WEKA's ARFF, one row a file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dslite import paths
from dslite.errors import InputError

FORMATS = (".csv", ".npz", ".arff")
TEXTS = {"name": "path", "label": "label", "partition": "partition"}  # -> the manifest's column


def suffix(path: str | Path) -> str:
    """Return the format that a path names; InputError where it names none of `FORMATS`."""
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise InputError(f"{path}: expected a name that ends in .csv, .npz or .arff")
    return ending


def write(
    path: str | Path, files: pd.DataFrame, values: np.ndarray, names: Sequence[str], classes=()
) -> None:
    """Write features of files, in the format of the path's suffix.

    Every row has the file's name, the features, label and partition. CSV and ARFF hold the digits
    that make the same float32. An NPZ has ``features`` float32 [files, features],
    ``feature_names`` and, as texts [files], ``name``, ``label`` and ``partition``. In an ARFF all
    three are nominal, since many readers take no strings (SciPy's for one, and of nominal values
    only ASCII), the label's values in the order of the classes, and an unknown label is ``?``.

    Parameters
    ----------
    files
        Rows of a manifest, columns ``path``, ``label`` (empty: unknown) and ``partition``.
    values
        Float32 [files, features].
    names
        Of the features: words.
    classes
        Of a classification; none: labels are numbers.
    """
    texts = {name: files[column].to_numpy(str) for name, column in TEXTS.items()}
    ending = suffix(path)
    with paths.replacing(path) as draft:
        if ending == ".npz":
            np.savez_compressed(draft, features=values, feature_names=np.array(names), **texts)
        elif ending == ".csv":
            table = pd.DataFrame(values, columns=list(names))
            table.insert(0, "name", texts["name"])
            table.assign(label=texts["label"], partition=texts["partition"]).to_csv(
                draft, index=False, lineterminator="\n"
            )
        else:
            with draft.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in _arff(texts, values, names, classes))


def _arff(texts, values: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> Iterable[str]:
    """The lines of an ARFF."""
    yield "@relation features"
    yield f"@attribute name {_nominal(texts['name'])}"
    yield from (f"@attribute {name} numeric" for name in names)
    yield f"@attribute label {_nominal(classes) if len(classes) else 'numeric'}"
    yield f"@attribute partition {_nominal(texts['partition'])}"
    yield "@data"
    for row, name, label, partition in zip(values, *texts.values(), strict=True):
        cell = _quoted(label) if label and len(classes) else label or "?"
        yield ",".join([_quoted(name), *map(str, row), cell, _quoted(partition)])


def _nominal(texts: Iterable[str]) -> str:
    """The values of an attribute, each once."""
    return "{" + ",".join(_quoted(text) for text in dict.fromkeys(texts)) + "}"


def _quoted(text: str) -> str:
    """A text as ARFF takes it, whatever its characters."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

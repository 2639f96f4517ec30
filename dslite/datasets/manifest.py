"""The manifest: one row per file of a corpus, checked before anything is computed from it."""

import os

import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.cards import Card
from dslite.datasets import checks, scan
from dslite.datasets import listing as dataset_listing
from dslite.datasets.listing import Manifest, leads_out, require_none
from dslite.errors import InputError
from dslite.settings import PARTITIONS

COLUMNS = (*dataset_listing.COLUMNS, *scan.COLUMNS)
RESERVED = frozenset(  # columns of tables of predictions
    {
        *("file", "speaker", "partition", "label", "prediction", "fold"),
        *("duration_s", "start_s", "end_s"),
    }
)


def build(card: Card) -> Manifest:
    """Manifest of a corpus; decodes what was not decoded before, see `facts.of_file`.

    Missing and broken files do not stop it: `check` names them all.

    Raises
    ------
    InputError
        The corpus is not there or not in its layout.
    """
    listing = dataset_listing.read(card)
    folder, table = listing.folder, listing.table.reset_index(drop=True)
    card = card.model_copy(update={"classes": _resolved_classes(card, table["label"])})
    # What leads out of the corpus's folder is not even opened.
    files = [folder / path for path in table["path"]]
    files = [None if leads_out(dataset_listing.home(card), file) else file for file in files]
    found = scan.gather(files, card.dataset)
    return Manifest(
        card,
        folder,
        table.join(found)[list(COLUMNS)],
        listing.partition_source,
        **{name: getattr(listing, name) for name in ("problems", "surplus", "excluded", "notes")},
    )


def _resolved_classes(card: Card, labels: pd.Series) -> tuple[str, ...]:
    if card.task == "regression":
        return card.classes
    found = card.classes or tuple(sorted(set(labels) - {""}))
    taken = sorted(RESERVED.intersection(found))
    if taken:
        raise InputError(
            f"{card.table or card.dataset}: a class is called '{taken[0]}', as is a column of "
            "predictions.csv; give it another name"
        )
    return found


def check(manifest: Manifest) -> None:
    """Hold a manifest to what training and evaluation rely on.

    Raises
    ------
    InputError
        Lists the problems, 20 in full; see `checks.problems`.
    """
    name = manifest.card.table or manifest.card.dataset
    found = [said for kind in checks.problems(manifest).values() for said in kind]
    require_none(found, f"manifest of {name}")


# What is made of a manifest


def table1_row(manifest: Manifest) -> dict[str, float]:
    """The corpus's row of the paper's Table 1, unrounded.

    Returns
    -------
    dict
        ``files``, ``classes`` (0 in a regression), ``speakers`` (0: unknown), ``minutes``
        in all, ``mean_s`` and ``std_s`` of a file's seconds. The standard deviation is the
        population's (ddof 0), which is what the paper prints for RAVDESS.
    """
    seconds = manifest.table["duration_s"]
    speakers = set(manifest.table["speaker"]) - {""}
    return {
        "files": len(seconds),
        "classes": len(manifest.classes),
        "speakers": len(speakers),
        "minutes": float(seconds.sum() / 60),
        "mean_s": float(seconds.mean()),
        "std_s": float(seconds.std(ddof=0)),
    }


def digest(manifest: Manifest) -> str:
    """SHA-256 of what a result depends on: path, label, speaker, partition and audio, row by row.

    The order of rows counts, since a seed draws by it; durations follow from the audio.
    """
    columns = ["path", "label", "speaker", "partition", "audio_hash"]
    rows = manifest.table[columns].to_numpy(dtype=object).tolist()
    return provenance.digest(rows)


def write(manifest: Manifest, path: str | os.PathLike) -> None:
    """Store a manifest's table as CSV (UTF-8, header), all or nothing."""
    with paths.replacing(path) as draft:
        manifest.table.to_csv(draft, index=False)


def load(card: Card) -> Manifest:
    """Build a corpus's manifest and hold it to `check`."""
    built = build(card)
    check(built)
    return built


def counts(manifest: Manifest, column: str) -> pd.DataFrame:
    """Files per partition of every value of ``label`` or ``speaker``: int64, index the values.

    Labels stand in the order of the classes; the values of a regression in ten steps.
    """
    values = manifest.table[column].replace("", "unknown")
    if column == "label" and manifest.card.task == "regression":
        numbers = pd.to_numeric(manifest.table["label"], errors="coerce")
        steps = pd.cut(numbers, 10).astype(str)
        values = steps.where(numbers.notna(), values)
    crossed = pd.crosstab(values, manifest.table["partition"])
    order = [name for name in manifest.classes if name in crossed.index]
    order += [name for name in crossed.index if name not in order]
    known = [partition for partition in PARTITIONS if partition in crossed.columns]
    return crossed.loc[order, known].rename_axis(index=column, columns=None)


def durations(manifest: Manifest) -> dict[str, np.ndarray]:
    """Durations of each partition's files in seconds, float64."""
    table = manifest.table
    return {
        partition: table.loc[table["partition"] == partition, "duration_s"].to_numpy()
        for partition in PARTITIONS
    }


def write_partition(manifest: Manifest) -> dict[str, float]:
    """Write a corpus's division into its results; return its row of Table 1.

    Writes ``manifest.csv``, ``table1.csv`` and ``partition.json`` (where the partition comes
    from, files in each, and the manifest's hash).
    """
    folder = paths.results(manifest.card.dataset)
    row = {"dataset": manifest.card.dataset} | table1_row(manifest)
    write(manifest, folder / "manifest.csv")
    with paths.replacing(folder / "table1.csv") as draft:
        pd.DataFrame([row]).to_csv(draft, index=False)
    origin = {
        "source": manifest.partition_source,
        "files": {name: len(seconds) for name, seconds in durations(manifest).items()},
        "manifest": digest(manifest),
    }
    provenance.write_json(folder / "partition.json", origin)
    return row

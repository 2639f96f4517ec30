"""The manifest: one row for each file of a corpus, before anything is computed from it."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dslite import paths, provenance
from dslite.cards import Card, card_file
from dslite.datasets import listing, scan
from dslite.errors import InputError
from dslite.settings import PARTITIONS

COLUMNS = (*listing.COLUMNS, *scan.COLUMNS)
DIGESTED = ["path", "label", "speaker", "partition", "audio_hash"]
ORIGIN = "partition.json"  # beside a corpus's results: which corpus they are of
# Columns of tables of predictions
RESERVED = {"file", "speaker", "partition", "label", "prediction", "fold"}
RESERVED |= {"duration_s", "start_s", "end_s"}


@dataclass(frozen=True)
class Manifest(listing.Listing):
    """A corpus: its files, what is in them, and how they are divided.

    ``table`` [files, `COLUMNS`] holds the columns of a `Listing` and of `scan.Facts`; its index
    counts from 0, so that row i stands in row i + 2 of a CSV file with a header.
    """

    card: Card = field(kw_only=True)  # its classes are never empty in a classification
    skipped: tuple[str, ...] = ()  # bad files that are passed over, a sentence each
    rows: tuple[int, ...] = ()  # where files are passed over: the place of each other one before
    fold: str = ""  # ``5folds/fold2``: where below a run's usual place its results lie
    divided: str = ""  # digest of the corpus that a fold divides otherwise

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the network's outputs; none in a regression."""
        return self.card.classes


def build(card: Card, listed: listing.Listing | None = None) -> Manifest:
    """Build the manifest of a corpus, or of a listing; decode what was not decoded before.

    Missing and broken files do not stop it (`checks.problems` names them all); InputError where the
    corpus is not there or not in its layout.
    """
    listed = listed or listing.read(card)
    table = listed.table.reset_index(drop=True)
    if card.task == "classification":
        classes = card.classes or tuple(sorted(set(table["label"]) - {""}))
        taken = sorted(RESERVED.intersection(classes))
        if taken:
            raise InputError(
                f"{card.table or card.dataset}: a class is called '{taken[0]}', as is a column of "
                "predictions.csv; give it another name"
            )
        card = card.model_copy(update={"classes": classes})
    # What leads out of the corpus's folder is not even opened.
    files = [listed.folder / path for path in table["path"]]
    files = [None if listing.leads_out(listing.home(card), file) else file for file in files]
    facts = scan.gather(files, card.dataset)
    return Manifest(**vars(listed) | {"table": table.join(facts)[list(COLUMNS)]}, card=card)


def digest(manifest: Manifest) -> str:
    """Return the SHA-256 of what a result depends on, and of its order, by which a seed draws."""
    return provenance.digest(manifest.table[DIGESTED].to_numpy(dtype=object).tolist())


def table1_row(manifest: Manifest) -> dict[str, float]:
    """Compute the corpus's row of the paper's Table 1, unrounded.

    Of a regression ``classes`` are 0, unknown ``speakers`` too; ``minutes`` are those of all files,
    ``std_s`` is of the population (ddof 0) as in the paper.

    Examples
    --------
    >>> from dslite import cards
    >>> table = pd.DataFrame({"speaker": ["a", "b"], "duration_s": [1.0, 2.0]})
    >>> row = table1_row(Manifest(paths.ROOT, table, card=cards.load("demo")))
    >>> {key: round(value, 3) for key, value in row.items()}
    {'files': 2, 'classes': 4, 'speakers': 2, 'minutes': 0.05, 'mean_s': 1.5, 'std_s': 0.5}
    """
    seconds, speakers = manifest.table["duration_s"], set(manifest.table["speaker"]) - {""}
    row = {"files": len(seconds), "classes": len(manifest.classes), "speakers": len(speakers)}
    row |= {"minutes": float(seconds.sum() / 60), "mean_s": float(seconds.mean())}
    return row | {"std_s": float(seconds.std(ddof=0))}


def counts(manifest: Manifest, column: str) -> pd.DataFrame:
    """Count each partition's files of every ``label`` or ``speaker``: int64 [values, partitions].

    Labels stand in the order of the classes; the values of a regression in ten steps.

    Examples
    --------
    >>> from dslite import cards
    >>> rows = [("calm", "train"), ("sad", "train"), ("calm", "test")]
    >>> table = pd.DataFrame(rows, columns=["label", "partition"])
    >>> counts(Manifest(paths.ROOT, table, card=cards.load("demo")), "label").to_dict()
    {'train': {'calm': 1, 'sad': 1}, 'test': {'calm': 1, 'sad': 0}}
    """
    values = manifest.table[column].replace("", "unknown")
    if column == "label" and manifest.card.task == "regression":
        numbers = pd.to_numeric(manifest.table["label"], errors="coerce")
        steps = pd.cut(numbers, 10).astype(str)
        values = steps.where(numbers.notna(), values)
    crossed = pd.crosstab(values, manifest.table["partition"])
    order = [name for name in manifest.classes if name in crossed.index]
    order += crossed.index.difference(order, sort=False).tolist()
    partitions = [partition for partition in PARTITIONS if partition in crossed.columns]
    return crossed.loc[order, partitions].rename_axis(index=column, columns=None)


def write_partition(manifest: Manifest) -> dict[str, float]:
    """Write ``manifest.csv``, ``table1.csv`` and ``partition.json``; return the row of Table 1.

    InputError where the name's results are of another table, or of this one before it was changed.
    """
    require_own_results(manifest, again=True)
    folder = paths.results(manifest.card.dataset)
    row = {"dataset": manifest.card.dataset} | table1_row(manifest)
    files_table = manifest.table.drop(columns="fingerprint")
    for name, table in (("manifest", files_table), ("table1", pd.DataFrame([row]))):
        paths.write(folder / f"{name}.csv", provenance.quoted(table).to_csv(index=False))
    files = counts(manifest, "label").sum().to_dict()
    origin = {"source": manifest.partition_source, "files": files, "manifest": digest(manifest)}
    origin |= {"table": manifest.card.table} if manifest.card.table else {}
    provenance.write_json(folder / ORIGIN, origin)
    return row


def claim_results(manifest: Manifest) -> None:
    """Write down which table the results of its name are of; InputError where they are another's.

    Of a corpus of this project nothing is written: its name is its own.
    """
    card = manifest.card
    if card.table and not manifest.fold and _recorded(card).get("manifest") != digest(manifest):
        write_partition(manifest)
    else:
        require_own_results(manifest, again=True)


def require_own_results(manifest: Manifest, again: bool = False) -> None:
    """Refuse a corpus that is not the one whose results have its name.

    With ``again``, what is about to be divided may be in another state than at the last time, a
    table only while no run of that is finished.
    """
    card, recorded = manifest.card, _recorded(manifest.card)
    if not recorded or recorded.get("manifest") == (manifest.divided or digest(manifest)):
        return
    folder, other = paths.results(card.dataset), recorded.get("table", card.table)
    runs = card.table and any(folder.rglob("run.json"))
    if again and other == card.table and not runs:
        return
    before = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    before = provenance.unquoted(before)
    both = before.reindex(columns=DIGESTED).merge(
        manifest.table[DIGESTED].astype(str), how="outer", indicator=True
    )
    files = both.loc[both["_merge"] != "both", "path"].unique()
    which = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    remedy = f"divide it again: dslite partition {card.table or card.dataset}, or --forcerun "
    remedy = f"if the change is meant, {remedy}partition in the workflow"
    if runs or other != card.table:
        yaml = card_file(card.table).name
        remedy = f"give the results of {card.table} a name of their own (--name, or `name` in "
        remedy += f"{yaml}), or move {paths.shown(folder)}, the results of {other}, elsewhere"
    raise InputError(
        f"{card.dataset}: the corpus is not the one of {paths.shown(folder / 'manifest.csv')} "
        f"({which or 'another order of files'}), and what is computed from the two is not to be "
        f"mixed; {remedy}"
    )


def _recorded(card: Card) -> dict[str, Any]:
    """What is written beside the results of a corpus's name; empty: nothing yet."""
    folder = paths.results(card.dataset)
    if not all((folder / name).is_file() for name in (ORIGIN, "manifest.csv")):
        return {}
    return provenance.read_json(folder / ORIGIN, "divide the corpus again")

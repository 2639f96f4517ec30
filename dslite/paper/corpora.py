"""The paper's Tables 1 and 2, its corpora and settings, and what is known here of each corpus."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dslite import cards, paths
from dslite.paper import verdicts
from dslite.settings import Settings

DECIMALS = {"files": 0, "classes": 0, "speakers": 0, "minutes": 1, "mean_s": 2, "std_s": 4}
LAYERS = 427  # of DenseNet121 in Keras: Table 2 counts shares of them


class Corpus(NamedTuple):
    """What is known of a published corpus, whatever the number.

    ``counts`` is our row of Table 1 (empty if there is none), ``preset`` the settings of the preset
    `dslite.paper.verdicts.PRESET`; ``restricted``: neither at hand nor to be had by everybody; ``absent``
    says why there is no run.
    """

    counts: Mapping[str, Any]
    preset: Settings
    restricted: bool
    absent: str


def known(dataset: str) -> Corpus:
    """What is known of one of the published corpora."""
    from dslite.datasets import download

    preset = cards.settings_of(cards.load(dataset), verdicts.PRESET)
    restricted = dataset not in download.ARCHIVES and not paths.raw(dataset).is_dir()
    return Corpus(counts_of(dataset), preset, restricted, absent(dataset))


def absent(dataset: str) -> str:
    """Why there is no run: the corpus is not at hand, or nobody has run it."""
    if paths.raw(dataset).is_dir():
        return "not run"
    # Without the scheme a report shows it as text: its page holds no address but its own.
    obtain = cards.load(dataset).obtain.strip().replace("https://", "")
    return f"corpus not at hand: {obtain}"


def counts_of(dataset: str) -> dict[str, Any]:
    """Our row of Table 1 of a corpus, the user's own or a committed one; empty where none is."""
    for home in (paths.results(), paths.records()):
        path = home / dataset / "table1.csv"
        if path.is_file():
            return pd.read_csv(path).iloc[0].to_dict()
    return {}


def judged(
    rows: Iterable[Mapping[str, Any]], corpora: Mapping[str, Corpus]
) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Tables 1 and 2, by its key.

    Parameters
    ----------
    rows : iterable of mapping
        Those of `dslite.paper.published.numbers`.
    corpora : mapping
        Dataset -> see `known`.

    Returns
    -------
    dict
        Key -> ``ours`` (NaN where there is none), ``verdict``, ``remark``. A count is equal as
        printed or not; a setting has our preset's value beside it.
    """
    judge = {1: _count, 2: _setting}
    return {row["key"]: judge[row["table"]](row, corpora[row["dataset"]]) for row in rows}


def _count(row: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    ours = corpus.counts.get(row["column"])
    if ours is None:
        verdict = verdicts.RESTRICTED if corpus.restricted else verdicts.NOT_RUN
        return {"ours": np.nan, "verdict": verdict, "remark": corpus.absent}
    if pd.isna(ours) or ours == 0:
        remark = f"{row['column']} unknown: the corpus does not say"
        return {"ours": np.nan, "verdict": verdicts.NOT_RUN, "remark": remark}
    verdict = verdicts.rule(row["value"], None, ours, None, DECIMALS[row["column"]])
    return {"ours": float(ours), "verdict": verdict, "remark": "counted in the corpus"}


def _setting(row: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    layers = {"fine_tuned_layers": int(LAYERS * corpus.preset.trained_share)}
    ours = float((corpus.preset.model_dump() | layers)[row["column"]])
    said = ["which cell of the printed row it is, is assumed"] if row["status"] == "assumed" else []
    said += [f"our preset has {ours:g}"] if ours != row["value"] else ["as in our preset"]
    return {"ours": ours, "verdict": verdicts.SETTING, "remark": ", ".join(said)}

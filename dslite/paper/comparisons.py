"""Tested answers from a corpus's finished runs: what beats what, on the same test files.

The paper compares scores by eye. Here each question is asked of the predictions, with the tests of
`dslite.evaluation.comparison`: a mean over the seeds, intervals over files and over speakers, and a p that is
corrected for the number of comparisons of its question.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation import comparison
from dslite.paper import scores as paper_scores
from dslite.studies.runs import GATHERED

NONE, SVM, LIBROSA = "none", "svm", "librosa"
PARTITION = "test partition"  # the protocol of a run; that of a cross-validation: "5 folds"
FINE_TUNING = "Does the network beat a support vector machine on its frozen features?"
ACOUSTICS = "Does the network beat a support vector machine on acoustic statistics?"
AUGMENTATION = "Does augmentation help?"
PRESETS = "Do the tuned settings beat the printed ones?"
QUESTIONS = (FINE_TUNING, AUGMENTATION, PRESETS, ACOUSTICS)
WHERE = ["dataset", "protocol", "backbone", "preset"]
COLUMNS = [*WHERE, "configuration", "seed", "run", "file", "speaker", "label", "prediction"]


def predictions(dataset: str) -> pd.DataFrame:
    """Test predictions of every finished run and cross-validation of a corpus.

    Runs that start from random weights, or with settings of their own beside backbone and weights,
    answer other questions and are left out.

    Returns
    -------
    DataFrame
        Strings but for ``seed``: ``dataset, protocol, backbone, preset, configuration`` (a key of
        `dslite.paper.scores.LABELS`), ``seed, run, file, speaker, label, prediction``; one row a file of
        a run. ``backbone`` and ``preset`` of acoustic statistics are empty: they have none.
    """
    found = paper_scores.runs()
    found = found[(found["dataset"] == dataset) & (found["metric"] == "uar")]
    found = found[~found["random_weights"] & (found["altered"] == "")]
    # Statistics of the audio have no preset: those that were run under several are the same.
    acoustic = found["configuration"] == LIBROSA
    found = found[~(acoustic & found.duplicated(["configuration", "seed"]))]
    parts = [
        _table(Path(run.place) / "predictions.csv", run._asdict(), PARTITION)
        for run in found.itertuples()
    ]
    parts += [_folds(place) for place in _cross_validations(dataset)]
    parts = [part for part in parts if part is not None and len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _table(file: Path, run: dict[str, Any], protocol: str) -> pd.DataFrame | None:
    """The labelled test files of one run; None where its corpus keeps them private."""
    if not file.is_file():
        return None
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table = table[(table["partition"] == "test") & (table["label"] != "")]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{paths.shown(file)}: not readable ({error}); run it again") from None
    shared = {key: run[key] for key in ("dataset", "backbone", "preset", "configuration")}
    if shared["configuration"] == LIBROSA:
        shared |= {"backbone": "", "preset": ""}
    table = table[["file", "speaker", "label", "prediction"]]
    return table.assign(**shared, protocol=protocol, seed=int(run["seed"]), run=run["run"])


def _cross_validations(dataset: str) -> Iterable[Path]:
    """Folders of finished cross-validations, the user's own instead of the record of the same."""
    found = {}
    for root in (paths.records(), paths.results()):
        found |= {file.parent.name: file.parent for file in root.glob(f"{dataset}/*/{GATHERED}")}
    return [found[name] for name in sorted(found)]


def _folds(place: Path) -> pd.DataFrame | None:
    gathered = json.loads((place / GATHERED).read_text(encoding="utf-8"))
    record = json.loads((place / "fold1" / "run.json").read_text(encoding="utf-8"))
    kind = gathered["kind"]
    shared = {key: gathered[key] for key in ("dataset", "preset", "seed")}
    shared |= {"backbone": record["settings"].get("backbone", ""), "run": place.name}
    network = kind not in paper_scores.BASELINES
    shared["configuration"] = record["settings"]["augmentation"] if network else kind
    return _table(place / "predictions.csv", shared, f"{gathered['k']} folds")


def answers(found: pd.DataFrame, draws: int = 0, seed: int = 0) -> pd.DataFrame:
    """Every question of `QUESTIONS` that these predictions can answer.

    Parameters
    ----------
    found : DataFrame
        Of `predictions`.
    draws, seed : int
        Of the bootstrap, see `dslite.evaluation.comparison.compared`; 0 draws: as many as it takes itself.

    Returns
    -------
    DataFrame
        ``question, protocol, dataset, backbone, preset, this, baseline`` (configurations, or
        presets), then the columns of `dslite.evaluation.comparison.compared` from ``files`` on. A question
        that nothing answers has no row.
    """
    given = {"seed": seed} | ({"draws": draws} if draws else {})
    parts = []
    for protocol, same in found.groupby("protocol", sort=False):
        networks = same[~same["configuration"].isin(paper_scores.BASELINES)]
        asked = [
            (FINE_TUNING, _against(networks, same[same["configuration"] == SVM]), SVM),
            (AUGMENTATION, networks, NONE),
            (ACOUSTICS, _against(networks, same[same["configuration"] == LIBROSA]), LIBROSA),
        ]
        for question, rows, baseline in asked:
            parts.append(_asked(question, protocol, rows, "configuration", baseline, WHERE, given))
        by = [*WHERE[:3], "configuration"]
        parts.append(_asked(PRESETS, protocol, networks, "preset", "paper", by, given))
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=["question", "protocol"])
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(
        "question", key=lambda column: column.map(QUESTIONS.index), kind="stable", ignore_index=True
    )


def _against(networks: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Networks and, in each of their groups, the baseline, as often as there are seeds.

    A support vector machine on fixed features gives the same with every seed: compared with a
    network of three seeds, its one result counts three times.
    """
    parts = [networks]
    for key, group in networks.groupby(WHERE, sort=False):
        same = baselines
        for column, value in zip(WHERE, key, strict=True):
            same = same[same[column].isin([value, ""])]
        same = same[same["seed"] == same["seed"].min()].assign(**dict(zip(WHERE, key, strict=True)))
        parts += [same.assign(seed=seed) for seed in sorted(group["seed"].unique())]
    return pd.concat(parts, ignore_index=True)


def _asked(
    question: str,
    protocol: str,
    rows: pd.DataFrame,
    varied: str,
    baseline: str,
    by: list[str],
    given: dict[str, int],
) -> pd.DataFrame:
    """One question's rows, of the groups that have the baseline and something beside it."""
    kept = rows.groupby(by, sort=False).filter(
        lambda group: (group[varied] == baseline).any() and group[varied].nunique() > 1
    )
    if kept.empty:
        return pd.DataFrame()
    table = comparison.compared(kept, varied, baseline, by=by, **given)
    if varied == "preset":
        table = table.rename(columns={"preset": "this", "configuration": "preset_of"})
        table = table.assign(configuration=table.pop("preset_of"), preset="")
    else:
        table = table.rename(columns={varied: "this"}).assign(configuration="")
    first = ["question", "protocol", "dataset", "backbone", "preset", "configuration", "this"]
    table = table.drop(columns="protocol").assign(question=question, protocol=protocol)
    return table[[*first, *(c for c in table.columns if c not in first)]]


def means(found: pd.DataFrame) -> pd.DataFrame:
    """UAR in percent of every configuration: mean and deviation over its seeds.

    Parameters
    ----------
    found : DataFrame
        Of `predictions`.

    Returns
    -------
    DataFrame
        `WHERE`, ``configuration, seeds, files, speakers, test, deviation`` (NaN of one seed).
    """
    rows = []
    for key, group in found.groupby([*WHERE, "configuration"], sort=False):
        right = group.assign(right=group["label"] == group["prediction"])
        recalls = right.groupby(["seed", "label"])["right"].mean()
        scores = 100 * recalls.groupby("seed").mean()
        rows.append(
            dict(zip([*WHERE, "configuration"], key, strict=True))
            | {"seeds": len(scores), "files": group["file"].nunique()}
            | {"speakers": group["speaker"].replace("", np.nan).nunique()}
            | {"test": scores.mean(), "deviation": scores.std(ddof=1) if len(scores) > 1 else None}
        )
    columns = [*WHERE, "configuration", "seeds", "files", "speakers", "test", "deviation"]
    return pd.DataFrame(rows, columns=columns).astype({"test": float, "deviation": float})

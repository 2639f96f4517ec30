"""A study's tables: its runs, what their seeds say together, tested differences, and the cost."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.settings import nearest
from dslite.studies import jobs as study_jobs
from dslite.studies import runs as study_runs
from dslite.studies import study as study_study
from dslite.studies.jobs import Job
from dslite.studies.runs import Place
from dslite.studies.study import Baseline, Study
from dslite.training import runs as training_runs

BASELINE = "none"  # the augmentation that all others are compared with
KEYS = ("dataset", "preset", "backbone")
# Of a comparison, what the page leaves to comparisons.csv
DETAILS = ["baseline", "low_speakers", "high_speakers", "p", "only_baseline", "only_this"]
DETAILS += ["p_mcnemar", "comparisons"]
COST = ("wall_s", "cpu_s", "peak_mib", "energy_j")


def folder(study: Study) -> Path:
    """Where a study's tables lie."""
    return paths.results("studies") / study.name


def runs_table(places: Sequence[Place]) -> pd.DataFrame:
    """One row a configuration, baseline, cross-validation or candidate of a grid.

    Parameters
    ----------
    places : sequence of Place
        Of `dslite.studies.runs.of_study`.

    Returns
    -------
    DataFrame
        ``role``, ``dataset``, ``preset``, ``backbone``, ``weights`` (name), ``augmentation`` (of
        a baseline ``svm`` or ``librosa``), ``seed``, ``overrides``, ``folds``; ``metric``;
        ``devel``, ``test`` and the 95 % interval of test over files, ``low`` to ``high``
        (fractions, or rho; of a cross-validation, ``test`` is that of all files together);
        ``run``, its folder in results/; ``identity``; ``status``, see `dslite.studies.runs`;
        `COST`. Empty where something is unknown.
    """
    rows = []
    for place in places:
        point = place.point
        row = {key: getattr(point, key) for key in ("preset", "backbone", "seed", "folds")}
        row |= {"role": place.role, "dataset": place.card.dataset}
        row |= {
            "overrides": " ".join(study_study.words(point)),
            "weights": Path(point.weights).name,
        }
        row["augmentation"] = point.kind if isinstance(point, Baseline) else point.augmentation
        row |= {"run": place.name, "status": place.state}
        rows.append(row | (_scores(place) if place.finished else {}))
    columns = ["role", *KEYS, "weights", "augmentation", "seed", "overrides", "folds", "metric"]
    columns += ["devel", "test", "low", "high", "run", "identity", "status", *COST]
    return pd.DataFrame(rows, columns=columns)


def _scores(place: Place) -> dict[str, Any]:
    """Scores and cost of what is finished."""
    found = {key: _sum(key, [_own(run.record, key) for run in place.runs]) for key in COST}
    if place.point.folds:
        record = json.loads((place.folder / study_runs.GATHERED).read_text(encoding="utf-8"))
        low, high = record["pooled"]["interval_files"] or (None, None)
        found |= {"metric": record["metric"], "test": record["pooled"]["score"]}
        found |= {"low": low, "high": high}
        return found | {"identity": provenance.digest(record["identities"])}
    metrics = place.run.metrics
    found["identity"] = place.run.record["identity"]
    for part in ("devel", "test"):
        if metrics.get(part):
            found |= {part: metrics[part]["file"]["score"], "metric": metrics[part]["metric"]}
    if metrics.get("test"):
        interval = metrics["test"]["file"]["interval_files"] or (None, None)
        found |= dict(zip(("low", "high"), interval, strict=True))
    return found


def _own(record: Mapping[str, Any], key: str) -> float | None:
    """What a run cost, without the candidate that it went on from, which has a row of its own."""
    whole = (record.get("cost") or {}).get(key)
    before = (record.get("candidate_cost") or {}).get(key)
    return whole if None in (whole, before) or key == "peak_mib" else whole - before


def _sum(key: str, values: Sequence[float | None]) -> float | None:
    """Cost of several runs together; unknown where one of them is. Of memory, the most."""
    if not values or None in values:
        return None
    return max(values) if key == "peak_mib" else sum(values)


def seeds_table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean, deviation and interval over the seeds of each configuration, on devel and on test."""
    by = [*KEYS, "augmentation", "overrides", "folds"]
    finished = found[found["status"] == study_runs.FINISHED]
    parts = [
        significance.repeated(finished[finished[part].notna()], by, part).assign(partition=part)
        for part in ("devel", "test")
    ]
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    # Student's t knows no bounds: with two seeds its interval may leave what a score can be.
    table[["low", "high"]] = table[["low", "high"]].clip(-1, 1)
    return table[["partition", *table.columns.drop("partition")]]


def comparisons_table(found: pd.DataFrame) -> pd.DataFrame:
    """Compare every augmentation with none on the same test files, see `significance.compared`.

    A group whose baseline has not been run is left out, and so is a regression.
    """
    # A candidate of a grid is finished and has never seen test; blinded labels have no score.
    chosen = found[found["test"].notna() & (found["metric"] == "uar")]
    chosen = chosen[~chosen["augmentation"].isin(study_study.BASELINES)]
    keys = [*KEYS, "overrides", "folds"]
    chosen = chosen.assign(folds=chosen["folds"].fillna(0).astype(int))
    predictions = []
    for row in chosen.groupby(keys).filter(_with_baseline).itertuples():
        table = _predictions(row.run)
        shared = {key: getattr(row, key) for key in (*keys, "augmentation", "seed")}
        predictions.append(table.assign(**shared))
    if not predictions:
        return pd.DataFrame(columns=[*keys, "augmentation", "verdict"])
    every = pd.concat(predictions, ignore_index=True)
    return significance.compared(every, "augmentation", BASELINE, by=keys)


def _with_baseline(group: pd.DataFrame) -> bool:
    return bool((group["augmentation"] == BASELINE).any())


def _predictions(run: str) -> pd.DataFrame:
    """Test predictions of a run, or all those of a cross-validation."""
    file = paths.results() / run / "predictions.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = table[table["partition"] == "test"]
    return table[["file", "speaker", "label", "prediction"]]


def cost_table(found: pd.DataFrame) -> pd.DataFrame:
    """Time, memory and energy of each finished run that has a record of them."""
    known = found[found["wall_s"].notna()]
    return known[["dataset", "run", *COST]].reset_index(drop=True)


def chosen_of(places: Sequence[Place], jobs: Mapping[str, Job], group: str) -> pd.DataFrame:
    """The candidates of a grid, ranked by devel, see `dslite.studies.study.choose`.

    ``point`` counts them as `group_of` does; ``run`` is the folder of each in results/.

    Raises
    ------
    InputError
        No such grid, or a candidate that is not finished.
    """
    candidates = group_of(places, jobs, group)
    missing = [place.name for place in candidates if not place.finished]
    if missing:
        raise InputError(f"{missing[0]}: this point of the grid is not finished")
    scores = [place.run.metrics["devel"]["file"]["score"] for place in candidates]
    scores = [np.nan if score is None else score for score in scores]
    table = study_study.candidates([place.point for place in candidates], scores)
    return study_study.choose(table.assign(run=[place.name for place in candidates]))[1]


def group_of(places: Sequence[Place], jobs: Mapping[str, Job], group: str) -> list[Place]:
    """The candidates of one of `dslite.studies.jobs.groups`, in the order of the grid."""
    names = {
        f"{job.dataset}/{job.folder.as_posix()}" for job in jobs.values() if job.group == group
    }
    found = [place for place in places if place.name in names] if group else []
    if not found:
        raise InputError(f"no grid '{group}'{nearest(group, study_jobs.groups(jobs))}")
    return found


def best(jobs: Sequence[Job]) -> training_runs.Run:
    """Of finished trainings the one with the highest devel score, of equals the first.

    Raises
    ------
    InputError
        One that is not finished.
    """
    return training_runs.best_on_devel(
        [training_runs.load(paths.results(job.dataset) / job.folder) for job in jobs]
    )


def write(study: Study) -> Path:
    """All tables as CSV and, together, as ``README.md``; ``runs.csv`` last.

    Raises
    ------
    InputError
        Nothing of the study is finished.
    """
    found = runs_table(study_runs.of_study(study))
    if not (found["status"] == study_runs.FINISHED).any():
        raise InputError(f"study {study.name}: none of its {len(found)} runs is finished")
    made = {
        "seeds": seeds_table(found),
        "comparisons": comparisons_table(found),
        "cost": cost_table(found),
        "runs": found.drop(columns=list(COST)),
    }
    place = folder(study)
    with paths.replacing(place / "README.md") as draft:
        draft.write_text(page(study, made), encoding="utf-8")
    for name, table in made.items():
        with paths.replacing(place / f"{name}.csv") as draft:
            table.to_csv(draft, index=False)
    return place


def page(study: Study, made: Mapping[str, pd.DataFrame]) -> str:
    """A study's tables as Markdown; every row of the first says which run it comes from."""
    found = made["runs"]
    missing = int((found["status"] != study_runs.FINISHED).sum())
    count = f"{len(found)} runs" + f", {missing} missing" * bool(missing)
    lines = [f"# {study.title}", "", f"Study `{study.name}`: {count}"]
    lines += [f"- {text}" for text in study_jobs.absent(study)]
    shown = dict(made) | {"comparisons": made["comparisons"].drop(columns=DETAILS, errors="ignore")}
    titles = {
        "runs": "Runs, with the folder in results/ that each row comes from",
        "seeds": "Over seeds: mean, deviation, 95 % interval of the mean",
        "comparisons": f"Against augmentation {BASELINE}, on the same test files (points of UAR; "
        "p is corrected for the number of comparisons by Holm's method)",
        "cost": "Cost; energy is empty where this machine does not tell",
    }
    for name, title in titles.items():
        table = (
            shown[name]
            .dropna(axis="columns", how="all")
            .drop(columns=["identity"], errors="ignore")
        )
        if len(table):
            lines += ["", f"## {title}", "", to_markdown(table)]
    return "\n".join(lines) + "\n"


def to_markdown(frame: pd.DataFrame) -> str:
    r"""Write a frame, without its index, as a Markdown table; a missing value is an empty cell.

    Columns of numbers (also as texts, with a mark like ``*``) are aligned to the right.

    Examples
    --------
    >>> print(to_markdown(pd.DataFrame({"score": [0.5, None], "remark": ["a|b", "c"]})))
    | score | remark |
    | ---: | :--- |
    | 0.5 | a\|b |
    |  | c |
    """
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    columns = zip(*cells, strict=True) if cells else [()] * len(frame.columns)
    number = re.compile(r"[-–]?[\d.]*\*?")
    align = ["---:" if all(number.fullmatch(c) for c in column) else ":---" for column in columns]
    rows = [[_cell(name) for name in frame.columns], align, *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    return str(round(value, 4) if isinstance(value, float) else value).replace("|", r"\|")

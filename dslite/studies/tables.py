"""A study's tables: its runs, what their seeds say together, tested differences, and the cost."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dslite import paths, provenance
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.studies.jobs import FINISHED, Job, absent, study_runs
from dslite.studies.study import Study
from dslite.training import cross_validation
from dslite.training.runs import BASELINES

BASELINE = "none"  # the augmentation that all others are compared with
KEYS = ("dataset", "preset", "backbone")
# Of a comparison, what the page leaves to comparisons.csv
DETAILS = ["baseline", "by_speaker", "p", "p_speakers", "difference_speakers", "files_better"]
DETAILS += ["files_worse", "speakers_worse", "comparisons", "comparisons_speakers"]
COST = ("wall_s", "cpu_s", "peak_mib")
TITLES = {
    "runs": "Runs, with the folder in results/ that each row comes from",
    "seeds": "Over seeds: mean, deviation, 95 % interval of the mean",
    "comparisons": f"Against augmentation {BASELINE}: on these test files and, where the columns "
    "say so, for new speakers (points of UAR; p is corrected for the comparisons of one network by "
    "Holm's method)",
    "cost": "Cost",
}


def folder(study: Study) -> Path:
    """Return the folder of a study's tables."""
    return paths.results("studies") / study.name


def write_tables(study: Study) -> Path:
    """Write all tables as CSV and, together, as ``README.md`` into the folder that is returned."""
    jobs = study_runs(study)
    runs = _runs_table(jobs)
    if not (runs["status"] == FINISHED).any():
        raise InputError(f"study {study.name}: none of its {len(runs)} runs is finished")
    tables = {
        "seeds": seeds_table(runs),
        "comparisons": comparisons_table(runs, {one.name: one for one in jobs}),
        "cost": runs.loc[runs["wall_s"].notna(), ["dataset", "run", *COST]],
        "runs": runs.drop(columns=list(COST)),
    }
    lines = [f"# {study.title}", "", f"Study `{study.name}`: {len(runs)} runs"]
    missing = int((runs["status"] != FINISHED).sum())
    lines[-1] += f", {missing} missing" * bool(missing)
    lines += [f"- {text}" for text in absent(study).values()]
    for name, title in TITLES.items():
        hidden = ["identity", *(DETAILS if name == "comparisons" else [])]
        shown = tables[name].drop(columns=hidden, errors="ignore").dropna(axis="columns", how="all")
        lines += ["", f"## {title}", "", to_markdown(shown)] if len(shown) else []
    paths.write(folder(study) / "README.md", "\n".join(lines) + "\n")
    for name, table in tables.items():
        paths.write(folder(study) / f"{name}.csv", provenance.quoted(table).to_csv(index=False))
    return folder(study)


def _runs_table(runs: Sequence[Job]) -> pd.DataFrame:
    """One row a job, with its scores (fractions, or rho) and cost; empty where it is unknown."""
    rows = [one.row() | (_scores(one) | _cost(one) if one.finished else {}) for one in runs]
    columns = ["role", *KEYS, "weights", "augmentation", "seed", "overrides", "folds", "metric"]
    columns += ["devel", "test", "low", "high", "run", "identity", "status", *COST]
    return pd.DataFrame(rows, columns=columns)


def _scores(finished: Job) -> dict[str, Any]:
    """Scores of a finished run, or those of a cross-validation over all its files."""
    if finished.config.folds:
        record = cross_validation.load(finished.runs[0].folder.parent).record
        metrics = {"test": {"metric": record["metric"], "file": record["pooled"]}}
        scores = {"identity": provenance.digest(record["identities"])}
    else:
        (run,) = finished.runs
        metrics, scores = run.metrics, {"identity": run.record["identity"]}
    for part in ("devel", "test"):
        if metrics.get(part):
            scores |= {part: metrics[part]["file"]["score"], "metric": metrics[part]["metric"]}
    if metrics.get("test"):
        low, high = metrics["test"]["file"]["interval_files"] or (None, None)
        scores |= {"low": low, "high": high}
    return scores


def _cost(finished: Job) -> dict[str, float]:
    """Cost of a run or all its folds, less that of its candidate, which has a row of its own."""
    records = [run.record for run in finished.runs]
    spent, before = (
        pd.DataFrame([record.get(part) or {} for record in records], columns=COST, dtype=float)
        for part in ("cost", "candidate_cost")
    )
    alone = spent - before.assign(peak_mib=0).fillna(0)
    return alone.sum(skipna=False).to_dict() | {"peak_mib": alone["peak_mib"].max(skipna=False)}


def seeds_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean, deviation and interval over the seeds of each configuration, by partition."""
    by = [*KEYS, "augmentation", "overrides", "folds"]
    finished = runs[runs["status"] == FINISHED].melt(
        by, ["devel", "test"], var_name="partition", value_name="score"
    )
    table = significance.repeated(finished.dropna(subset="score"), ["partition", *by], "score")
    # Student's t knows no bounds: with two seeds its interval may leave what a score can be.
    return table.assign(low=table["low"].clip(-1, 1), high=table["high"].clip(-1, 1))


def comparisons_table(runs: pd.DataFrame, jobs: Mapping[str, Job]) -> pd.DataFrame:
    """Compare every augmentation with none on the same test files; a regression is left out.

    So are runs whose record keeps the predictions private.
    """
    # A candidate of a grid is finished and has never seen test; blinded labels have no score.
    tested = runs[runs["test"].notna() & (runs["metric"] == "uar")]
    tested = tested[~tested["augmentation"].isin(BASELINES)]
    predictions = {name: jobs[name].predictions for name in tested["run"]}
    tested = tested.loc[[predictions[name] is not None for name in tested["run"]]]
    keys = [*KEYS, "overrides", "folds"]
    tested = tested.assign(folds=tested["folds"].fillna(0).astype(int))
    tested = tested.groupby(keys).filter(lambda group: (group["augmentation"] == BASELINE).any())
    if tested.empty:
        return pd.DataFrame(columns=[*keys, "augmentation", "verdict"])
    parts = []
    for row in tested[[*keys, "augmentation", "seed", "run"]].to_dict("records"):
        table = predictions[row.pop("run")]
        parts.append(table[["file", "speaker", "label", "prediction"]].assign(**row))
    every = pd.concat(parts, ignore_index=True)
    return significance.compared(every, "augmentation", BASELINE, by=keys)


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

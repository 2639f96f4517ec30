"""Which runs of a study are finished, and which point of a grid is the best.

A folder's name says most of a run's recipe, its record all of it: what lies in a folder counts only
if the record is that of the job. With which versions and manifest it was made does not matter
here, so that results stay readable after an upgrade, or where the corpus is not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite.datasets import listing
from dslite.errors import InputError
from dslite.settings import nearest
from dslite.studies.jobs import CANDIDATE, CHOSEN, Job, all_jobs, groups, job
from dslite.studies.study import Study
from dslite.training import runs as training_runs
from dslite.training.runs import Run

FINISHED, MISSING, ABSENT = "finished", "missing", "absent: corpus not here"
GATHERED = "folds.json"  # last file of a cross-validation, see `dslite.training.cross_validation`
SAME = ("dataset", "kind", "seed", "task", "settings", "weights")  # of a record and its job
NAMED = 3  # differing settings that a message names
# What the candidates of a grid share
GROUP = ("dataset", "preset", "backbone", "augmentation", "seed", "folds")


@dataclass(frozen=True)
class StudyRun(Job):
    """A job and what it has left.

    Attributes
    ----------
    state : str
        `FINISHED`, `ABSENT`, or `MISSING`, behind which may stand what there is instead.
    runs : tuple of Run
        That of the folder; of a cross-validation, those of its finished folds.
    """

    state: str = MISSING
    runs: tuple[Run, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return self.state == FINISHED

    @property
    def run(self) -> Run | None:
        """The finished run; None if it is missing, or a cross-validation, which has several."""
        return self.runs[0] if self.finished and not self.config.folds else None


def study_runs(study: Study) -> list[StudyRun]:
    """Look up every run of a study: the trainings in its order, the baselines, the grids' choices.

    Of a choice that cannot be made yet, the configuration is the grid's first one.

    Raises
    ------
    InputError
        See `dslite.studies.study.expand`.
    """
    looked_up = [look_up(one) for one in all_jobs(study)]
    trainings = [one for one in looked_up if one.config.kind == training_runs.NETWORK]
    grids = {group: _of_group(trainings, group) for group in groups(trainings)}
    choices = [_chosen(candidates) for candidates in grids.values()]
    return [*trainings, *choices, *looked_up[len(trainings) :]]


def look_up(planned: Job) -> StudyRun:
    """Look up what a job has left, and whether that is all of it."""
    config, folder = planned.config, planned.folder
    folders = [folder]
    if config.folds:
        folders = [folder / f"fold{i}" for i in range(1, config.folds + 1)]
    present = [each for each in folders if (each / training_runs.LAST).is_file()]
    if not present:
        return _study_run(planned, MISSING if listing.is_present(planned.card) else ABSENT)
    try:
        runs = tuple(training_runs.load(each) for each in present)
    except InputError:
        return _study_run(planned, f"{MISSING}: {training_runs.LAST} there cannot be read")
    described = training_runs.describe(
        planned.card, planned.settings, config.seed, config.preset, "", config.kind
    )
    differing = [text for run in runs if (text := _differing(run.record, described))]
    if differing:
        return _study_run(planned, f"{MISSING}: what lies there has other {differing[0]}")
    state = FINISHED
    if len(runs) < len(folders):
        state = f"{MISSING}: {len(runs)} of {len(folders)} folds are finished"
    elif config.folds and planned.role != CANDIDATE and not _gathered(folder, runs):
        state = f"{MISSING}: the folds are not gathered"
    return _study_run(planned, state, runs)


def _study_run(planned: Job, state: str, runs: tuple[Run, ...] = ()) -> StudyRun:
    return StudyRun(**vars(planned), state=state, runs=runs)


def _differing(record: dict[str, Any], described: dict[str, Any]) -> str:
    """Name what a run's record and a job's description disagree on; empty: nothing."""
    expected = json.loads(json.dumps({key: described[key] for key in SAME}))
    for key in SAME:
        ours, theirs = expected[key], record.get(key)
        if ours != theirs and isinstance(ours, dict) and isinstance(theirs, dict):
            names = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            return f"{key}: {', '.join(names[:NAMED])}{more}"
        if ours != theirs:
            return key
    return ""


def _gathered(folder: Path, runs: Sequence[Run]) -> bool:
    """Whether a cross-validation's summary is that of these folds."""
    try:
        identities = json.loads((folder / GATHERED).read_text(encoding="utf-8"))["identities"]
    except (OSError, ValueError, KeyError):
        return False
    return identities == [run.record["identity"] for run in runs]


def _chosen(candidates: Sequence[StudyRun]) -> StudyRun:
    """Look up the training that a grid's candidates lead to."""
    first, unfinished = candidates[0], sum(not one.finished for one in candidates)
    state = f"{MISSING}: {unfinished} of {len(candidates)} candidates are to be tried first"
    if first.state == ABSENT:
        state = ABSENT
    elif not unfinished:
        try:
            return look_up(job(best(candidates).config, CHOSEN))
        except InputError as error:
            state = f"{MISSING}: {error}"
    return _study_run(job(first.config, CHOSEN), state)


def _of_group(runs: Sequence[StudyRun], group: str) -> list[StudyRun]:
    return [one for one in runs if one.group == group]


def candidates(runs: Sequence[StudyRun], group: str) -> list[StudyRun]:
    """Return the candidates of one of `dslite.studies.jobs.groups`, in the order of the grid.

    Raises
    ------
    InputError
        No such grid.
    """
    if group not in groups(runs):
        raise InputError(f"no grid '{group}'{nearest(group, groups(runs))}")
    return _of_group(runs, group)


def rank(candidates: Sequence[StudyRun]) -> pd.DataFrame:
    """Rank the candidates of one grid by their devel score, of equals the first one first.

    Nothing of the test partition is asked for.

    Returns
    -------
    DataFrame
        One row a candidate: the columns `GROUP`, ``weights`` (the name), ``overrides``, ``point``
        (its place in the grid), ``devel`` (UAR or rho; NaN: undefined), ``run`` (its folder in
        results/), ``chosen`` (bool) and ``rank`` (from 1).

    Raises
    ------
    InputError
        A candidate that is not finished, or none that has a score.
    """
    rows = []
    for point, one in enumerate(candidates):
        if not one.finished:
            raise InputError(f"{one.name}: this point of the grid is not finished")
        config, score = one.config, one.run.metrics["devel"]["file"]["score"]
        row = {key: getattr(config, key) for key in GROUP} | {"dataset": one.dataset}
        row |= {
            "weights": Path(config.weights).name,
            "overrides": " ".join(config.override_words()),
        }
        row |= {"point": point, "devel": np.nan if score is None else float(score)}
        rows.append(row | {"run": one.name})
    table = pd.DataFrame(rows)
    if table["devel"].isna().all():
        shared = ", ".join(str(table[key][0]) for key in GROUP[:5])
        raise InputError(
            f"{shared}: no point of the grid has a devel score (training diverged, or one "
            "prediction for all); change the grid"
        )
    ranks = table["devel"].rank(method="first", ascending=False, na_option="bottom").astype(int)
    return table.assign(chosen=ranks == 1, rank=ranks)


def best(candidates: Sequence[StudyRun]) -> StudyRun:
    """Return the candidate that `rank` has first."""
    return candidates[int(rank(candidates)["rank"].argmin())]

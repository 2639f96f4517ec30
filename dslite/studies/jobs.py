"""A study as jobs: what the workflow runs, in which words, what each has left, what is chosen.

What lies in a folder or a committed record counts only if it is that of the job, of whatever
versions.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from dslite import cards, paths
from dslite.cards import Card
from dslite.datasets import listing
from dslite.errors import InputError
from dslite.settings import Settings, nearest
from dslite.studies.study import AXES, Config, Study, baselines, expand
from dslite.training import cross_validation, records, runs
from dslite.training.runs import Run

TRAINING, CANDIDATE, CHOSEN, BASELINE = "training", "candidate", "chosen", "baseline"  # roles
FEATURES = {kind: features for features, kind in runs.FEATURES.items()}
FINISHED, MISSING, ABSENT = "finished", "missing", "absent: corpus not here"
SAME = ("dataset", "kind", "seed", "task", "settings", "weights")  # of a record and its job
NAMED = 3  # differing settings that a message names
# What the candidates of a grid share
GROUP = ("dataset", "preset", "backbone", "augmentation", "seed", "folds")


@dataclass(frozen=True)
class Job:
    """One training, baseline, cross-validation or candidate of a grid."""

    role: str  # CHOSEN: the point of a grid that is best on devel, trained as any other
    config: Config
    card: Card
    settings: Settings  # with which its runs are made
    folder: Path  # of the run, or of the cross-validation, below which the folds' folders lie
    state: str = MISSING  # once looked up; behind MISSING may stand what there is instead
    runs: tuple[Run, ...] = ()  # what it has left; of a cross-validation, its finished folds

    @property
    def dataset(self) -> str:
        """The corpus's name in results/."""
        return self.card.dataset

    @property
    def name(self) -> str:
        """The folder below results/, unique in a study."""
        return self.folder.relative_to(paths.results()).as_posix()

    @property
    def key(self) -> str:
        """The name with one slash, as the workflow needs it."""
        return f"{self.dataset}/{'candidate-' * (self.role == CANDIDATE)}{self.folder.name}"

    @property
    def by_notebook(self) -> bool:
        """Whether notebook 3 runs it; if not, a command does."""
        return self.role == TRAINING and not self.config.folds

    @property
    def output(self) -> str:
        """File that is there when the job has finished, under the folder of the workflow."""
        dataset, name = self.key.split("/")
        return f"results/{dataset}/notebooks/runs/{name}.{'ipynb' if self.by_notebook else 'log'}"

    @property
    def group(self) -> str:
        """The grid that a candidate belongs to; empty for the others."""
        of = self.config
        parts = (self.dataset, of.preset, of.backbone, of.augmentation, f"s{of.seed}")
        return "-".join(parts) if self.role == CANDIDATE else ""

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return self.state == FINISHED

    @property
    def recorded(self) -> bool:
        """Whether it is there as a record only."""
        return self.finished and self.runs[0].home is not None

    @property
    def predictions(self) -> pd.DataFrame | None:
        """Those of test, of a cross-validation of all its files; None of a private record's."""
        tables = [run.predictions for run in self.runs]
        if any(table is None for table in tables):
            if self.recorded:
                return None
            raise InputError(f"{self.name}: has no predictions.csv; run it again")
        return pd.concat(tables).query("partition == 'test'")

    def row(self) -> dict[str, Any]:
        """Return what tells the job apart in a table."""
        config = self.config
        row = {key: getattr(config, key) for key in ("preset", "backbone", "seed", "folds")}
        row |= {"role": self.role, "dataset": self.dataset}
        row |= {"augmentation": config.kind if self.role == BASELINE else config.augmentation}
        row |= {"overrides": " ".join(config.override_words()), "run": self.name}
        return row | {"weights": Path(config.weights).name, "status": self.state}

    def words(self) -> list[str]:
        """Return the parameters of notebook 3, ``name=value``, or what follows ``dslite``."""
        config = self.config
        usual = cards.settings_of(self.card, config.preset, backbone=config.backbone).weights
        # The usual weights may lie elsewhere on the machine where the job runs.
        weights = "" if config.weights == usual else config.weights
        named = {"preset": config.preset, "backbone": config.backbone, "weights": weights}
        named = {name: value for name, value in named.items() if value} | {"seed": config.seed}
        overrides = config.override_words()
        if self.role == BASELINE:
            command = ["baseline", config.dataset, "--features", FEATURES[config.kind]]
        else:
            command = ["train", config.dataset]
            named["augmentation"] = config.augmentation
        if self.by_notebook:
            pairs = {"dataset": config.dataset} | named
            pairs |= {"overrides": " ".join(overrides)} if overrides else {}
            return [f"{name}={value}" for name, value in pairs.items()]
        command += [f"--{name}={value}" for name, value in named.items()]
        command += [f"--set={word}" for word in overrides]
        command += ["--devel-only"] if self.role == CANDIDATE else []
        return command + ([f"--folds={config.folds}"] if config.folds else [])


def job(config: Config, role: str = TRAINING, card: Card | None = None) -> Job:
    """Return the job of a configuration: with which settings it runs, and where its files lie."""
    card = card or cards.load(config.dataset)
    named = {key: getattr(config, key) for key in AXES}
    settings = cards.settings_of(card, config.preset, config.override_words(), **named)
    fold = f"{config.folds}folds" if config.folds else ""
    where = (config.seed, config.kind, config.preset, fold, role == CANDIDATE)
    folder = runs.folder(card, settings, *where)
    return Job(role, config, card, settings, folder)


def _all_jobs(study: Study) -> list[Job]:
    """Return every job of a study in its order, the baselines last; no grid's choice."""
    loaded = {name: cards.load(name) for name in study.corpora}
    role = CANDIDATE if study.grid else TRAINING
    jobs = [job(config, role, loaded[config.dataset]) for config in expand(study)]
    return jobs + [job(of, BASELINE, loaded[of.dataset]) for of in baselines(study)]


def study_jobs(study: Study) -> dict[str, Job]:
    """Return every job of the corpora that are on this machine, by its key, in the study's order.

    Raises an InputError if none of them is.
    """
    missing = absent(study)
    if len(missing) == len(study.corpora):
        raise InputError(f"study {study.name}: {'; '.join(missing.values())}")
    return {one.key: one for one in _all_jobs(study) if one.config.dataset not in missing}


def absent(study: Study) -> dict[str, str]:
    """Return a sentence for each corpus whose audio is not on this machine; a path's always is."""
    return {
        name: f"{name} is not here (dslite fetch {name} says how to get it)"
        for name in study.corpora
        if not cards.is_own(name) and not listing.is_present(cards.load(name))
    }


def groups(jobs: Iterable[Job]) -> list[str]:
    """Return the grids from which a point is chosen."""
    return list(dict.fromkeys(one.group for one in jobs if one.group))


def devices(study: Study, jobs: Mapping[str, Job]) -> dict[str, list[Job]]:
    """Return the trainings of each network, of which `best_on_devel` is converted: all seeds."""
    by_network: dict[str, list[Job]] = {}
    for one in jobs.values():
        if one.by_notebook and study.variants:
            name = f"{one.dataset}-{one.config.preset}-{one.config.backbone}"
            by_network.setdefault(name, []).append(one)
    return by_network


def study_runs(study: Study) -> list[Job]:
    """Look up every run of a study: trainings in its order, the grids' choices, baselines.

    What is not in results/ is looked for in the committed records.
    """
    recorded = {name: home / name for home, name, _ in records.committed()}
    every = [look_up(one, recorded) for one in _all_jobs(study)]
    choices = [_chosen(candidates(every, group), recorded) for group in groups(every)]
    return sorted([*every, *choices], key=lambda one: one.role == BASELINE)


def look_up(planned: Job, recorded: Mapping[str, Path] = MappingProxyType({})) -> Job:
    """Look up what a job has left, and whether that is all of it; ``recorded``: name -> place."""
    config, folders = planned.config, [planned.folder]
    if config.folds:
        folders = [planned.folder / f"fold{i}" for i in range(1, config.folds + 1)]
    present = [folder for folder in folders if (folder / runs.LAST).is_file()]
    if not present and recorded:
        names = [folder.relative_to(paths.results()).as_posix() for folder in folders]
        present = [recorded[name] for name in names if name in recorded]
    if not present:
        available = listing.is_present(planned.card)
        return replace(planned, state=MISSING if available else ABSENT)
    try:
        loaded = tuple(map(runs.load, present))
    except InputError:
        return replace(planned, state=f"{MISSING}: {runs.LAST} there cannot be read")
    described = runs.describe(
        planned.card, planned.settings, config.seed, config.preset, "", config.kind
    )
    differing = [text for run in loaded if (text := _differing(run.record, described))]
    if differing:
        what = "what is recorded" if loaded[0].home else "what lies there"
        return replace(planned, state=f"{MISSING}: {what} has other {differing[0]}")
    state, identities = FINISHED, [run.record["identity"] for run in loaded]
    if len(loaded) < len(folders):
        state = f"{MISSING}: {len(loaded)} of {len(folders)} folds are finished"
    elif config.folds and identities != cross_validation.identities(present[0].parent):
        state = f"{MISSING}: the folds are not gathered"
    return replace(planned, state=state, runs=loaded)


def _differing(record: dict[str, Any], described: dict[str, Any]) -> str:
    """Name what a run's record and a job's description disagree on; empty: nothing."""
    for key, ours in json.loads(json.dumps({key: described[key] for key in SAME})).items():
        theirs = record.get(key)
        if key == "settings" and ours.get("mel_max_hz") == "corpus":  # is a number once it was run
            ours["mel_max_hz"] = (theirs or {}).get("mel_max_hz")
        if ours != theirs and isinstance(ours, dict) and isinstance(theirs, dict):
            names = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            return f"{key}: {', '.join(names[:NAMED])}{more}"
        if ours != theirs:
            return key
    return ""


def _chosen(candidates: Sequence[Job], recorded: Mapping[str, Path]) -> Job:
    """Look up the training that a grid's candidates lead to."""
    first, unfinished = candidates[0], sum(not one.finished for one in candidates)
    state = f"{MISSING}: {unfinished} of {len(candidates)} candidates are to be tried first"
    if first.state == ABSENT:
        state = ABSENT
    elif not unfinished:
        try:
            return look_up(job(best(candidates).config, CHOSEN), recorded)
        except InputError as error:
            state = f"{MISSING}: {error}"
    return replace(job(first.config, CHOSEN), state=state)


def candidates(jobs: Sequence[Job], group: str) -> list[Job]:
    """Return the candidates of one of `groups`, in the order of the grid; InputError of another."""
    if group not in groups(jobs):
        raise InputError(f"no grid '{group}'{nearest(group, groups(jobs))}")
    return [one for one in jobs if one.group == group]


def rank(candidates: Sequence[Job]) -> pd.DataFrame:
    """Rank the candidates of one grid by their devel score, of equals the first one first.

    Raises an InputError if a candidate is not finished, or none has a score.
    """
    for one in candidates:
        if not one.finished:
            raise InputError(f"{one.name}: this point of the grid is not finished")
    table = pd.DataFrame([one.row() for one in candidates])
    table = table.assign(point=table.index, devel=[one.runs[0].devel for one in candidates])
    table = table[[*GROUP, "weights", "overrides", "point", "devel", "run"]]
    if table["devel"].isna().all():
        shared = ", ".join(str(table[key][0]) for key in GROUP[:5])
        raise InputError(
            f"{shared}: no point of the grid has a devel score (training diverged, or one "
            "prediction for all); change the grid"
        )
    ranks = table["devel"].rank(method="first", ascending=False, na_option="bottom").astype(int)
    return table.assign(chosen=ranks == 1, rank=ranks)


def best(candidates: Sequence[Job]) -> Job:
    """Return the candidate that `rank` has first."""
    return candidates[int(rank(candidates)["rank"].argmin())]

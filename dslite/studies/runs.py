"""Where a study's runs lie, and which of them are finished.

A folder's name says most of a run's recipe, its record all of it: what lies in a folder counts only
if the record is that of the point. With which versions and manifest it was made does not matter
here, so that results stay readable after an upgrade, or where the corpus is not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dslite import cards, paths
from dslite.cards import Card
from dslite.datasets import listing
from dslite.errors import InputError
from dslite.settings import Settings
from dslite.studies import study as study_study
from dslite.studies.study import GROUP, Baseline, Point, Study
from dslite.training import runs as training_runs
from dslite.training.runs import Run

FINISHED, MISSING, ABSENT = "finished", "missing", "absent: corpus not here"
TRAINING, CANDIDATE, CHOSEN, BASELINE = "training", "candidate", "chosen", "baseline"  # roles
GATHERED = "folds.json"  # last file of a cross-validation, see `dslite.training.cross_validation`
SAME = ("dataset", "kind", "seed", "task", "settings", "weights")  # of a record and its point
NAMED = 3  # differing settings that a message names


@dataclass(frozen=True)
class Place:
    """One training, candidate of a grid, baseline or cross-validation of a study.

    Attributes
    ----------
    role : str
        `TRAINING`, `CANDIDATE`, `CHOSEN` (the point of a grid that is best on devel, trained and
        tested as any other) or `BASELINE`.
    point : Point or Baseline
        Of a choice that cannot be made yet, the grid's first one.
    card : Card
    folder : Path
        Of the run, or of the cross-validation, below which the folds' folders lie.
    state : str
        `FINISHED`, `ABSENT`, or `MISSING`, behind which may stand what there is instead.
    runs : tuple of Run
        That of the folder; of a cross-validation, those of its finished folds.
    """

    role: str
    point: Point | Baseline
    card: Card
    folder: Path
    state: str
    runs: tuple[Run, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return self.state == FINISHED

    @property
    def run(self) -> Run | None:
        """The finished run; None if it is missing, or a cross-validation, which has several."""
        return self.runs[0] if self.finished and not self.point.folds else None

    @property
    def name(self) -> str:
        """``<dataset>/<folder>``, unique in a study."""
        return self.folder.relative_to(paths.results()).as_posix()


def settings_of(point: Point | Baseline) -> tuple[Card, Settings]:
    """Card and settings with which a point's run is made."""
    card = cards.load(point.dataset)
    named = {"backbone": point.backbone, "weights": point.weights}
    # A baseline sees no augmented picture, and acoustic statistics none at all.
    named["augmentation"] = point.augmentation if isinstance(point, Point) else "none"
    settings = cards.settings_of(card, point.preset, study_study.words(point), **named)
    if kind_of(point) == training_runs.LIBROSA:
        settings = Settings(**{key: getattr(settings, key) for key in training_runs.ACOUSTIC})
    return card, settings


def kind_of(point: Point | Baseline) -> str:
    """A point's kind of run: `runs.NETWORK`, `runs.SVM` or `runs.LIBROSA`."""
    return point.kind if isinstance(point, Baseline) else training_runs.NETWORK


def folder_of(
    point: Point | Baseline, card: Card, settings: Settings, candidate: bool = False
) -> Path:
    """Folder of a point's run, or of its cross-validation."""
    kind = point.kind if isinstance(point, Baseline) else ""
    fold = f"{point.folds}folds" if point.folds else ""
    return training_runs.folder(card, settings, point.seed, kind, point.preset, fold, candidate)


def of_study(study: Study) -> list[Place]:
    """Every place of a study: the points in its order, the grids' choices, the baselines.

    Raises
    ------
    InputError
        See `dslite.studies.study.expand`.
    """
    role = CANDIDATE if study.grid else TRAINING
    points = [place_of(point, role) for point in study_study.expand(study)]
    grids: dict[tuple[Any, ...], list[Place]] = {}
    for place in points if study.grid else []:
        grids.setdefault(tuple(getattr(place.point, key) for key in GROUP), []).append(place)
    chosen = [_chosen(candidates) for candidates in grids.values()]
    return [
        *points,
        *chosen,
        *(place_of(one, BASELINE) for one in study_study.baselines(study)),
    ]


def place_of(point: Point | Baseline, role: str = TRAINING) -> Place:
    """Where a point's files lie, and whether they are all there."""
    card, settings = settings_of(point)
    folder = folder_of(point, card, settings, role == CANDIDATE)
    folders = [folder]
    if point.folds:
        folders = [folder / f"fold{i}" for i in range(1, point.folds + 1)]
    there = [each for each in folders if (each / training_runs.LAST).is_file()]
    if not there:
        state = MISSING if listing.is_present(card) else ABSENT
        return Place(role, point, card, folder, state)
    try:
        found = tuple(training_runs.load(each) for each in there)
    except InputError:
        return Place(
            role,
            point,
            card,
            folder,
            f"{MISSING}: {training_runs.LAST} there cannot be read",
        )
    described = training_runs.describe(card, settings, point.seed, point.preset, "", kind_of(point))
    other = [said for run in found if (said := _differing(run.record, described))]
    if other:
        return Place(role, point, card, folder, f"{MISSING}: what lies there has other {other[0]}")
    state = FINISHED
    if len(found) < len(folders):
        state = f"{MISSING}: {len(found)} of {len(folders)} folds are finished"
    elif point.folds and role != CANDIDATE and not _gathered(folder, found):
        state = f"{MISSING}: the folds are not gathered"
    return Place(role, point, card, folder, state, found)


def _differing(record: dict[str, Any], described: dict[str, Any]) -> str:
    """What a run's record and a point's description disagree on, in words; empty: nothing."""
    wanted = json.loads(json.dumps({key: described[key] for key in SAME}))
    for key in SAME:
        mine, theirs = wanted[key], record.get(key)
        if mine != theirs and isinstance(mine, dict) and isinstance(theirs, dict):
            names = sorted(n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n))
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            return f"{key}: {', '.join(names[:NAMED])}{more}"
        if mine != theirs:
            return key
    return ""


def _gathered(folder: Path, found: Sequence[Run]) -> bool:
    """Whether a cross-validation's summary is that of these folds."""
    try:
        known = json.loads((folder / GATHERED).read_text(encoding="utf-8"))["identities"]
    except (OSError, ValueError, KeyError):
        return False
    return known == [run.record["identity"] for run in found]


def _devel(place: Place) -> float:
    """Devel score, of a cross-validation the mean over its folds; NaN: undefined."""
    scores = [run.metrics["devel"]["file"]["score"] for run in place.runs]
    return float(np.mean([np.nan if score is None else score for score in scores]))


def _chosen(candidates: Sequence[Place]) -> Place:
    """The training that a grid's candidates lead to."""
    first, open_ = candidates[0], sum(not place.finished for place in candidates)
    state = f"{MISSING}: {open_} of {len(candidates)} candidates are to be tried first"
    if first.state == ABSENT:
        state = ABSENT
    elif not open_:
        points = [place.point for place in candidates]
        try:
            best, _ = study_study.choose(
                study_study.candidates(points, list(map(_devel, candidates)))
            )
            return place_of(points[int(best["point"].iloc[0])], CHOSEN)
        except InputError as error:
            state = f"{MISSING}: {error}"
    card, settings = settings_of(first.point)
    return Place(CHOSEN, first.point, card, folder_of(first.point, card, settings), state)

"""A study as jobs: what the workflow runs, in which words, and what each leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dslite import cards
from dslite.datasets import listing
from dslite.errors import InputError
from dslite.studies import runs
from dslite.studies import study as study_study
from dslite.studies.study import Baseline, Point, Study

TRAINING, COMMAND, CANDIDATE = "training", "command", "candidate"


@dataclass(frozen=True)
class Job:
    """One configuration, baseline, cross-validation or candidate of a grid.

    Attributes
    ----------
    kind : str
        `TRAINING` (by notebook 3), `CANDIDATE` (of a grid) or `COMMAND`.
    dataset : str
        As in results/.
    run : str
        Name of the folder in ``results/<dataset>/``; of a candidate, in its ``candidates/``.
    point : Point or Baseline
    """

    kind: str
    dataset: str
    run: str
    point: Point | Baseline

    @property
    def key(self) -> str:
        """Dataset and name, unique in a study."""
        return f"{self.dataset}/{'candidate-' * (self.kind == CANDIDATE)}{self.run}"

    @property
    def output(self) -> str:
        """File that is there when the job has finished, under the folder of the workflow."""
        dataset, name = self.key.split("/")
        suffix = "ipynb" if self.kind == TRAINING else "log"
        return f"results/{dataset}/notebooks/runs/{name}.{suffix}"

    @property
    def folder(self) -> Path:
        """Where its results lie, under ``results/<dataset>/``."""
        return Path("candidates", self.run) if self.kind == CANDIDATE else Path(self.run)

    @property
    def group(self) -> str:
        """Which grid a candidate belongs to; empty for the others."""
        point = self.point
        if self.kind != CANDIDATE:
            return ""
        parts = (self.dataset, point.preset, point.backbone, point.augmentation)
        return "-".join([*parts, f"s{point.seed}"])

    def words(self) -> list[str]:
        """Parameters of notebook 3, ``name=value``; or what follows ``dslite`` in a shell."""
        point, given = self.point, study_study.words(self.point)
        named = {name: getattr(point, name) for name in ("preset", "backbone", "weights")}
        if named["weights"] == _usual_weights(point):  # a path of this machine, as it may be
            named["weights"] = ""
        named = {name: value for name, value in named.items() if value} | {"seed": point.seed}
        if isinstance(point, Point):
            named["augmentation"] = point.augmentation
        if self.kind == TRAINING:
            overrides = {"overrides": " ".join(given)} if given else {}
            pairs = {"dataset": point.dataset} | named | overrides
            return [f"{name}={value}" for name, value in pairs.items()]
        command = ["train" if isinstance(point, Point) else "baseline", point.dataset]
        if isinstance(point, Baseline):
            command += ["--features", "librosa" if point.kind == "librosa" else "network"]
            named.pop("augmentation", None)
        command += [f"--{name}={value}" for name, value in named.items()]
        command += [f"--set={word}" for word in given]
        command += ["--devel-only"] if self.kind == CANDIDATE else []
        return command + ([f"--folds={point.folds}"] if point.folds else [])


def _usual_weights(point: Point | Baseline) -> str:
    """Weights of a point that names none."""
    card = cards.load(point.dataset)
    return cards.settings_of(card, point.preset, backbone=point.backbone).weights


def is_here(dataset: str) -> bool:
    """Whether the audio of a corpus or of a table is on this machine."""
    return cards.is_table(dataset) or listing.is_present(cards.load(dataset))


def absent(study: Study) -> list[str]:
    """What to say of the study's corpora that are not here."""
    return [
        f"{name} is not here (dslite fetch {name} says how to get it)"
        for name in study.corpora
        if not is_here(name)
    ]


def jobs(study: Study) -> dict[str, Job]:
    """Every job of the corpora that are here, by its key, in the study's order.

    Raises
    ------
    InputError
        No corpus of the study is here.
    """
    found = []
    here = {name: is_here(name) for name in study.corpora}
    if not any(here.values()):
        raise InputError(f"study {study.name}: {'; '.join(absent(study))}")
    for point in study_study.expand(study):
        kind = CANDIDATE if study.grid else COMMAND if point.folds else TRAINING
        found.append((kind, point))
    found += [(COMMAND, baseline) for baseline in study_study.baselines(study)]
    made = []
    for kind, point in found:
        if here[point.dataset]:
            folder = runs.folder_of(point, *runs.settings_of(point))
            made.append(Job(kind, folder.parent.name, folder.name, point))
    return {job.key: job for job in made}


def groups(jobs: Mapping[str, Job]) -> list[str]:
    """The grids from which a point is chosen."""
    return list(dict.fromkeys(job.group for job in jobs.values() if job.group))


def devices(study: Study, jobs: Mapping[str, Job]) -> dict[str, list[Job]]:
    """Trainings of one network, of which the best on devel is made ready for the device.

    Those with the study's first seed: a file is made of one training. None of a cross-validation,
    which has no final model, and none of a grid, whose point is chosen first.
    """
    found: dict[str, list[Job]] = {}
    for job in jobs.values():
        if job.kind == TRAINING and job.point.seed == study.seeds[0] and study.variants:
            point = job.point
            name = f"{job.dataset}-{point.preset}-{point.backbone}"
            found.setdefault(name, []).append(job)
    return found

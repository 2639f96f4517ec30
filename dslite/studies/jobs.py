"""A study as jobs: what the workflow runs, in which words, and what each leaves behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dslite import cards, paths
from dslite.cards import Card
from dslite.datasets import listing
from dslite.errors import InputError
from dslite.settings import Settings
from dslite.studies.study import BaselineConfig, Study, TrainingConfig, baselines, expand
from dslite.training import runs

TRAINING, CANDIDATE, CHOSEN, BASELINE = "training", "candidate", "chosen", "baseline"  # roles
FEATURES = {kind: features for features, kind in runs.FEATURES.items()}


@dataclass(frozen=True)
class Job:
    """One training, baseline, cross-validation or candidate of a grid.

    Attributes
    ----------
    role : str
        `TRAINING`, `CANDIDATE`, `CHOSEN` (the point of a grid that is best on devel, trained and
        tested as any other) or `BASELINE`.
    config : TrainingConfig or BaselineConfig
    card : Card
    settings : Settings
        With which its runs are made.
    folder : Path
        Of the run, or of the cross-validation, below which the folds' folders lie.
    """

    role: str
    config: TrainingConfig | BaselineConfig
    card: Card
    settings: Settings
    folder: Path

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
        if self.role != CANDIDATE:
            return ""
        config = self.config
        parts = (self.dataset, config.preset, config.backbone, config.augmentation)
        return "-".join([*parts, f"s{config.seed}"])

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


def job(
    config: TrainingConfig | BaselineConfig, role: str = TRAINING, card: Card | None = None
) -> Job:
    """Return the job of a configuration: with which settings it runs, and where its files lie."""
    card = card or cards.load(config.dataset)
    named = {key: getattr(config, key) for key in ("backbone", "weights", "augmentation")}
    settings = cards.settings_of(card, config.preset, config.override_words(), **named)
    if config.kind == runs.LIBROSA:
        settings = Settings(**{key: getattr(settings, key) for key in runs.ACOUSTIC})
    kind = config.kind if role == BASELINE else ""
    fold = f"{config.folds}folds" if config.folds else ""
    folder = runs.folder(card, settings, config.seed, kind, config.preset, fold, role == CANDIDATE)
    return Job(role, config, card, settings, folder)


def all_jobs(study: Study) -> list[Job]:
    """Return every job of a study in its order, the baselines last; no grid's choice.

    Raises
    ------
    InputError
        See `dslite.studies.study.expand`.
    """
    loaded = {name: cards.load(name) for name in study.corpora}
    configs = [(config, CANDIDATE if study.grid else TRAINING) for config in expand(study)]
    configs += [(config, BASELINE) for config in baselines(study)]
    return [job(config, role, loaded[config.dataset]) for config, role in configs]


def study_jobs(study: Study) -> dict[str, Job]:
    """Return every job of the corpora that are on this machine, by its key, in the study's order.

    Raises
    ------
    InputError
        No corpus of the study is here.

    Examples
    --------
    >>> from dslite.studies.study import load_study
    >>> len(study_jobs(load_study("demo")))
    10
    """
    present = {name for name in study.corpora if _is_present(name)}
    if not present:
        raise InputError(f"study {study.name}: {'; '.join(absent(study))}")
    return {one.key: one for one in all_jobs(study) if one.config.dataset in present}


def absent(study: Study) -> list[str]:
    """Return a sentence for each of the study's corpora that is not on this machine."""
    return [
        f"{name} is not here (dslite fetch {name} says how to get it)"
        for name in study.corpora
        if not _is_present(name)
    ]


def _is_present(dataset: str) -> bool:
    """Whether the audio of a corpus or of a table is on this machine."""
    return cards.is_table(dataset) or listing.is_present(cards.load(dataset))


def groups(jobs: Iterable[Job]) -> list[str]:
    """Return the grids from which a point is chosen."""
    return list(dict.fromkeys(one.group for one in jobs if one.group))


def devices(study: Study, jobs: Mapping[str, Job]) -> dict[str, list[Job]]:
    """Return the trainings of each network, of which the best on devel is converted.

    Those with the study's first seed: a file is made of one training. None of a cross-validation,
    which has no final model, and none of a grid, whose point is chosen first.
    """
    by_network: dict[str, list[Job]] = {}
    for one in jobs.values():
        if one.by_notebook and one.config.seed == study.seeds[0] and study.variants:
            name = f"{one.dataset}-{one.config.preset}-{one.config.backbone}"
            by_network.setdefault(name, []).append(one)
    return by_network

"""Studies: which configurations of which corpora belong together, read from ``data/studies/``."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from dslite import cards, paths
from dslite import settings as dslite_settings
from dslite.deployment.runtime import VARIANTS
from dslite.errors import InputError
from dslite.settings import AUGMENTATIONS, BACKBONE_NAMES, MOST_SEED, Strict, checked, nearest
from dslite.training.runs import ACOUSTIC, BASELINES, LIBROSA, NETWORK

SUFFIXES = {".yaml", ".yml"}
# Lists of a study -> what may stand in them
ALLOWED = {
    "backbones": BACKBONE_NAMES,
    "augmentations": AUGMENTATIONS,
    "variants": VARIANTS,
    "baselines": BASELINES,
}
AXES = {"backbone": "backbones", "augmentation": "augmentations", "weights": "weights"}
Recipe = tuple[cards.Card, str, str, str]  # card, dataset, preset, backbone ("": of the preset)
Seed = Annotated[int, Field(ge=0, le=MOST_SEED, strict=True)]


class Study(Strict):
    """What is to be trained, and what is to be made of it."""

    name: cards.Name = Field(description="that of its file")
    title: str
    corpora: tuple[str, ...] = Field(
        min_length=1, description="names of cards, or tables (their paths may start at the study)"
    )
    presets: tuple[str, ...] = Field((), description="of every card; its default one if unset")
    backbones: tuple[str, ...] = Field((), description="the one of the preset if unset")
    weights: str | dict[str, str] = Field(
        "", description="of all backbones, or backbone -> weights; those of the preset if unset"
    )
    augmentations: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    folds: Annotated[int, Field(ge=3, strict=True)] | None = Field(
        None, description="of a cross-validation (train, devel and test: 3 at least); none: off"
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="setting -> value")
    grid: bool = Field(False, description="try every point of each card's grid, choose on devel")
    baselines: tuple[str, ...] = ()
    variants: tuple[str, ...] = Field(VARIANTS, description="files made for the device")

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        for name in ("corpora", "presets", "seeds", *ALLOWED):
            listed = getattr(self, name)
            twice = [value for value in listed if listed.count(value) > 1]
            if twice:
                raise ValueError(f"{name}: {twice[0]} is listed twice")
            unknown = [v for v in listed if v not in ALLOWED.get(name, listed)]
            if unknown:
                raise ValueError(
                    f"{name}: unknown '{unknown[0]}'{nearest(unknown[0], ALLOWED[name])}"
                )
        if isinstance(self.weights, dict) and set(self.weights) != set(self.backbones):
            odd = sorted(set(self.weights) ^ set(self.backbones))
            raise ValueError(f"weights: name those of each of the backbones; see '{odd[0]}'")
        if self.grid and self.folds:
            raise ValueError("grid: choose first, then cross-validate what was chosen (folds)")
        for key, axis in AXES.items():
            if key in self.overrides:
                raise ValueError(f"overrides: {key} is no override; name it in {axis}")
        return self


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that `dslite train` or `dslite baseline` has to be told, nothing left open.

    Acoustic statistics have no backbone and no weights, baselines no augmentation.
    """

    dataset: str  # name of a card, or absolute path of a table
    preset: str
    backbone: str = ""
    weights: str = ""  # of a file its absolute path
    augmentation: str = "none"
    kind: str = NETWORK  # or a baseline, see `dslite.training.runs`
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()  # by name, only what differs from the preset
    folds: int | None = None  # of a cross-validation, which trains once a fold

    def override_words(self) -> list[str]:
        """Return the overrides as ``key=value``, see `dslite.settings.parse_overrides`."""
        return [f"{key}={_word(value)}" for key, value in self.overrides]


def names() -> list[str]:
    """Return the names of the studies that come with the project."""
    return sorted(path.stem for path in paths.data("studies").glob("*.yaml"))


def source(name: str | Path) -> Path:
    """Return the file of a study by name, or of a user's own by its path; InputError if unknown."""
    if Path(name).suffix.lower() in SUFFIXES:
        path = paths.find(name)
        if not path.is_file():
            raise InputError(f"{path}: there is no such study")
        return path
    if str(name) not in names():
        raise InputError(f"unknown study '{name}'{nearest(str(name), names())}")
    return paths.data("studies") / f"{name}.yaml"


def load_study(name: str | Path) -> Study:
    """Read a study by name, or a user's own by the path of its YAML file.

    Raises an InputError of whatever it or a corpus's card does not allow: everything is tried.
    """
    with paths.reading(name):
        path = source(name)
    values = dslite_settings.read_yaml(path)
    if "name" in values:
        raise InputError(f"{path}: a study is called as its file; leave out the key 'name'")
    study = checked(Study, values | {"name": path.stem}, str(path))

    def located(corpus: str) -> str:
        # Next to the study first, then as for any path.
        neighbour = path.parent / Path(corpus).expanduser()
        return str(neighbour if neighbour.exists() else paths.find(corpus))

    corpora = [located(name) if cards.is_own(name) else name for name in study.corpora]
    study = study.model_copy(update={"corpora": tuple(corpora)})
    try:
        tables: dict[str, str] = {}  # name of the results -> corpus
        for corpus in corpora:
            name = cards.load(corpus).dataset
            if (other := tables.setdefault(name, corpus)) != corpus:
                raise InputError(
                    f"corpora: the results of {other} and of {corpus} would both be called "
                    f"'{name}'; write another `name` into the card of one of them"
                )
        if study.grid and not any(cards.load(dataset).grid for dataset in study.corpora):
            raise InputError("grid: no corpus's card has one; write one there, or leave this out")
        expand(study)
        baselines(study)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study


def expand(study: Study) -> list[Config]:
    """Return the study's trainings: by corpus, preset, backbone, augmentation, seed, grid.

    Raises an InputError of what is not known, see `dslite.cards.settings_of`.

    Examples
    --------
    >>> [(config.augmentation, config.seed) for config in expand(load_study("demo"))][:3]
    [('none', 0), ('none', 1), ('cutmix', 0)]
    """
    configs = []
    for recipe in _recipes(study):
        # An override is the user's decision, so it is not tried what else there is.
        axes = {key: values for key, values in recipe[0].grid.items() if key not in study.overrides}
        values = itertools.product(*axes.values()) if study.grid else []
        points = [dict(zip(axes, point, strict=True)) for point in values] or [{}]
        for named in itertools.product(study.augmentations, study.seeds, points):
            configs.append(_config(study, recipe, *named))
    return list(dict.fromkeys(configs))  # once each, in this order


def baselines(study: Study) -> list[Config]:
    """Return the study's baselines, once each with its first seed, on which they hardly depend."""
    configs = []
    for recipe in _recipes(study):
        of = _config(study, recipe, "none", study.seeds[0], {})
        counted = tuple(pair for pair in of.overrides if pair[0] in ACOUSTIC)
        acoustic = {"backbone": "", "weights": "", "overrides": counted}
        configs += [
            replace(of, kind=kind, **(acoustic if kind == LIBROSA else {}))
            for kind in study.baselines
        ]
    return list(dict.fromkeys(configs))


def _recipes(study: Study) -> list[Recipe]:
    """Everything that is to be trained in each augmentation, in the study's order."""
    return [
        (card, dataset, preset, backbone)
        for dataset in study.corpora
        for card in [cards.load(dataset)]
        for preset in study.presets or (card.default_preset,)
        for backbone in study.backbones or ("",)
    ]


def _config(
    study: Study, recipe: Recipe, augmentation: str, seed: int, tried: Mapping[str, Any]
) -> Config:
    """Bring a configuration into the form in which equal ones are equal, of whatever study."""
    card, dataset, preset, backbone = recipe
    weights = study.weights if isinstance(study.weights, str) else study.weights[backbone]
    named = {"weights": weights, "augmentation": augmentation, "backbone": backbone}
    base = cards.settings_of(card, preset, **named)
    settings = cards.settings_of(card, preset, study.overrides | dict(tried), **named)
    changed = {
        key: value
        for key, value in settings.model_dump().items()
        if key not in AXES and value != getattr(base, key)
    }
    return Config(
        dataset=dataset,
        preset=preset,
        **{key: getattr(settings, key) for key in AXES},
        seed=seed,
        overrides=tuple(sorted(changed.items())),
        folds=study.folds,
    )


def _word(value: Any) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")

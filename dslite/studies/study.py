"""Studies: which configurations of which corpora belong together, read from ``data/studies/``.

A study is expanded into points, one training each. What is equal in two studies is an equal point,
however it was written down, so that they can share its files.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator

from dslite import cards, paths
from dslite import settings as dslite_settings
from dslite.deployment.quantise import VARIANTS
from dslite.errors import InputError
from dslite.settings import AUGMENTATIONS, BACKBONE_NAMES, Strict, checked, nearest

BASELINES = ("svm", "librosa")  # kinds of run without a training, see `dslite.training.baselines`
ACOUSTIC = ("sample_rate", "bootstrap_draws")  # all that statistics of the audio depend on
SUFFIXES = {".yaml", ".yml"}
# Lists of a study -> what may stand in them
KNOWN = {
    "backbones": BACKBONE_NAMES,
    "augmentations": AUGMENTATIONS,
    "variants": VARIANTS,
    "baselines": BASELINES,
}
AXES = {"backbone": "backbones", "augmentation": "augmentations", "weights": "weights"}
Seed = Annotated[int, Field(ge=0, strict=True)]


class Study(Strict):
    """What is to be trained, and what is to be made of it."""

    name: str = Field(description="that of its file")
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
        for name in ("corpora", "presets", "seeds", *KNOWN):
            listed = getattr(self, name)
            twice = [value for value in listed if listed.count(value) > 1]
            if twice:
                raise ValueError(f"{name}: {twice[0]} is listed twice")
            unknown = [v for v in listed if v not in KNOWN.get(name, listed)]
            if unknown:
                raise ValueError(
                    f"{name}: unknown '{unknown[0]}'{nearest(unknown[0], KNOWN[name])}"
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


@dataclass(frozen=True)
class Point:
    """One training (with ``folds`` one a fold): all that `dslite train` has to be told.

    Attributes
    ----------
    dataset : str
        Name of a card, or absolute path of a table.
    preset, backbone, weights, augmentation : str
        Resolved: none is empty, and a weights file's path is absolute.
    seed : int
    overrides : tuple of (str, value)
        Sorted by name; only what differs from the preset.
    folds : int or None
    """

    dataset: str
    preset: str
    backbone: str
    weights: str
    augmentation: str
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()
    folds: int | None = None


@dataclass(frozen=True)
class Baseline:
    """One baseline: all that `dslite baseline` has to be told. Attributes are those of `Point`.

    ``kind`` is one of `BASELINES`; acoustic statistics have no ``backbone`` and no ``weights``.
    """

    dataset: str
    preset: str
    kind: str
    seed: int
    backbone: str = ""
    weights: str = ""
    overrides: tuple[tuple[str, Any], ...] = ()
    folds: int | None = None


def names() -> list[str]:
    """Names of the studies that come with the project."""
    return sorted(path.stem for path in paths.studies().glob("*.yaml"))


def load(name: str | Path) -> Study:
    """A study by name, or a user's own by the path of its YAML file.

    Raises
    ------
    InputError
        Unknown name, missing file, a key or value that is not known, or a point of the study that
        a corpus's card does not allow: every point is tried.
    """
    if Path(name).suffix.lower() in SUFFIXES:
        path = paths.find(name)
        if not path.is_file():
            raise InputError(f"{path}: there is no such study")
    elif str(name) in names():
        path = paths.studies() / f"{name}.yaml"
    else:
        raise InputError(f"unknown study '{name}'{nearest(str(name), names())}")
    values = dslite_settings.read_yaml(path)
    if "name" in values:
        raise InputError(f"{path}: a study is called as its file; leave out the key 'name'")
    study = checked(Study, values | {"name": path.stem}, str(path))
    study = study.model_copy(update={"corpora": _found(study.corpora, path)})
    try:
        if study.grid and not any(cards.load(dataset).grid for dataset in study.corpora):
            raise InputError("grid: no corpus's card has one; write one there, or leave this out")
        expand(study)
        baselines(study)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study


def _found(corpora: Sequence[str], study: Path) -> tuple[str, ...]:
    """Corpora whose tables are absolute paths: beside the study first, then as `paths.find`."""
    result = []
    for corpus in corpora:
        if cards.is_table(corpus):
            beside = study.parent / Path(corpus).expanduser()
            corpus = str(beside if beside.is_file() else paths.find(corpus))
        result.append(corpus)
    return tuple(result)


def grid_points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid's values, the last setting varying fastest.

    A grid without settings has one point, which overrides nothing.
    """
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def expand(study: Study) -> list[Point]:
    """The study's trainings: by corpus, preset, backbone, augmentation, seed and point of the grid.

    Raises
    ------
    InputError
        A corpus, preset, setting or value that is not known, see `dslite.cards.settings_of`.
    """
    found = []
    for card, place, preset, backbone in _recipes(study):
        # An override is the user's decision, so it is not tried what else there is.
        open_ = {key: tried for key, tried in card.grid.items() if key not in study.overrides}
        tried = grid_points(open_ if study.grid else {})
        for augmentation, seed, values in itertools.product(
            study.augmentations, study.seeds, tried
        ):
            named = {"augmentation": augmentation, "backbone": backbone}
            found.append(_point(card, place, preset, study, named, values, seed))
    return list(dict.fromkeys(found))  # once each, in this order


def baselines(study: Study) -> list[Baseline]:
    """The study's baselines, once each with its first seed, on which they hardly depend."""
    found = []
    for card, place, preset, backbone in _recipes(study):
        of = _point(card, place, preset, study, {"backbone": backbone}, {}, study.seeds[0])
        shared = {key: getattr(of, key) for key in ("dataset", "preset", "seed", "folds")}
        network = {"backbone": of.backbone, "weights": of.weights, "overrides": of.overrides}
        acoustic = tuple(pair for pair in of.overrides if pair[0] in ACOUSTIC)
        for kind in study.baselines:
            own = {"overrides": acoustic} if kind == "librosa" else network
            found.append(Baseline(**shared, kind=kind, **own))
    return list(dict.fromkeys(found))


def _recipes(study: Study) -> list[tuple[cards.Card, str, str, str]]:
    """Card, dataset, preset and backbone (empty: that of the preset) in the study's order."""
    result = []
    for dataset in study.corpora:
        card = cards.load(dataset)
        for preset in study.presets or (card.default_preset,):
            result += [(card, dataset, preset, name) for name in study.backbones or ("",)]
    return result


def _point(
    card: cards.Card,
    dataset: str,
    preset: str,
    study: Study,
    named: Mapping[str, str],
    values: Mapping[str, Any],
    seed: int,
) -> Point:
    """A point, brought into the form in which equal ones are equal."""
    weights = study.weights
    if isinstance(weights, dict):
        weights = weights[named["backbone"]]
    given = dict(study.overrides) | dict(values)
    tried = {"weights": weights} | named
    base = cards.settings_of(card, preset, **tried)
    settings = cards.settings_of(card, preset, given, **tried)
    changed = {
        key: value
        for key, value in settings.model_dump().items()
        if key not in AXES and value != getattr(base, key)
    }
    return Point(
        dataset=dataset,
        preset=preset,
        **{key: getattr(settings, key) for key in AXES},
        seed=seed,
        overrides=tuple(sorted(changed.items())),
        folds=study.folds,
    )


def words(point: Point | Baseline) -> list[str]:
    """A point's overrides as ``key=value``, as `dslite.settings.parse_overrides` reads them."""
    return [f"{key}={_word(value)}" for key, value in point.overrides]


def _word(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


# What the points of a grid share: of each such group one is chosen
GROUP = ("dataset", "preset", "backbone", "augmentation", "seed", "folds")


def candidates(points: Sequence[Point], devel: Sequence[float]) -> pd.DataFrame:
    """Points of a grid and their devel scores as `choose` takes them.

    Returns
    -------
    DataFrame
        One row a point: the columns `GROUP`, ``weights``, ``overrides`` (`words`, joined),
        ``point`` (its place in ``points``) and ``devel``. Of a file, the name without its folders.
    """
    rows = [
        asdict(point)
        | {"dataset": Path(point.dataset).stem, "weights": Path(point.weights).name}
        | {"overrides": " ".join(words(point)), "point": i, "devel": float(score)}
        for i, (point, score) in enumerate(zip(points, devel, strict=True))
    ]
    return pd.DataFrame(rows, columns=[*GROUP, "weights", "overrides", "point", "devel"])


def choose(candidates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The best point of each grid, by rule: the highest devel score, of equals the first one.

    Nothing of the test partition is asked for.

    Parameters
    ----------
    candidates : DataFrame
        Columns `GROUP` and ``devel`` (UAR or rho; NaN: undefined, never chosen), in the order of
        the grid; further columns are kept.

    Returns
    -------
    chosen : DataFrame
        One row a group, in the order of the table.
    table : DataFrame
        All candidates, with ``chosen`` (bool) and the ``rank`` within their group (from 1).

    Raises
    ------
    InputError
        A group in which no candidate has a score.
    """
    table = candidates.reset_index(drop=True)
    groups = table.groupby(list(GROUP), sort=False, dropna=False)["devel"]
    ranks = groups.rank(method="first", ascending=False, na_option="bottom").astype(int)
    best = ranks == 1
    lost = table[best & table["devel"].isna()]
    if len(lost):
        first = lost.iloc[0]
        raise InputError(
            f"{', '.join(str(first[key]) for key in GROUP[:5])}: no point of the grid has a devel "
            "score (training diverged, or one prediction for all); change the grid"
        )
    table = table.assign(chosen=np.asarray(best), rank=ranks)
    return table[best].drop(columns=["chosen", "rank"]).reset_index(drop=True), table

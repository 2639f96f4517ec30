"""Corpus cards: what the project knows of each corpus, read from ``data/cards/*.yaml``.

A run's settings are, from weakest to strongest: the defaults of `Settings`, the card's ``settings``
(what holds for the corpus whatever the recipe), one of its ``presets`` and the user's overrides.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from dslite import paths, yaml_files
from dslite.errors import InputError
from dslite.settings import Settings, Strict, checked, nearest, parse_overrides


class Card(Strict):
    """What the project knows of one corpus."""

    dataset: str
    layout: Literal["demo", "ravdess", "table"]
    title: str
    citation: str = ""
    licence: str = ""
    obtain: str = ""
    task: Literal["classification", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    paper_column: str = Field("", description="the corpus's name in the paper's tables")
    partition: dict[Literal["train", "devel", "test"], tuple[str, ...]] = Field(
        default_factory=dict, description="speakers of each partition"
    )
    fold_group: str = Field(
        "",
        description="regular expression; its group is the part of a speaker's name that a fold "
        "of a cross-validation keeps together (IEMOCAP: the session of a dialogue's two speakers)",
    )
    default_preset: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    table: str = Field("", description="path of the user's table (layout: table)")

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if self.default_preset and self.default_preset not in self.presets:
            raise ValueError(f"default_preset {self.default_preset!r} is not among the presets")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is listed twice")
        speakers = [s for listed in self.partition.values() for s in listed]
        twice = sorted({s for s in speakers if speakers.count(s) > 1})
        if twice:
            raise ValueError(f"speakers listed twice in partition: {', '.join(twice)}")
        return self


def names() -> list[str]:
    """Names of the corpora that have a card."""
    return sorted(path.stem for path in paths.cards().glob("*.yaml"))


def is_table(dataset: str) -> bool:
    """Whether a user's DATASET is the path of a table rather than the name of a card."""
    return Path(dataset).suffix.lower() in {".csv", ".tsv"}


def load(dataset: str) -> Card:
    """Card of a corpus by name, or of a user's table by path.

    Parameters
    ----------
    dataset : str
        A name (``demo``, ``ravdess``) or the path of a CSV/TSV table; a card ``my.yaml`` beside
        ``my.csv`` is read where there is one.

    Raises
    ------
    InputError
        Unknown name, missing table, or a card that does not validate.
    """
    if is_table(dataset):
        table = paths.find(dataset)
        if not table.is_file():
            raise InputError(f"{table}: there is no such table; DATASET is a name or a CSV/TSV")
        if table.stem in names():
            raise InputError(
                f"{table}: '{table.stem}' is the name of a corpus of this project and its results "
                f"would be mixed with yours; rename the table"
            )
        values = {"dataset": table.stem, "layout": "table", "title": f"Own corpus {table.name}"}
        beside = table.with_suffix(".yaml")
        if beside.is_file():
            values |= yaml_files.read(beside)
        card = _checked_card(values | {"table": str(table)}, beside)
        if card.layout != "table" or card.dataset in names():
            raise InputError(
                f"{beside}: it is the card of {card.dataset} (layout: {card.layout}), not of "
                f"{table.name}; leave out its keys 'dataset' and 'layout'"
            )
        presets = {name: _beside(table, keys) for name, keys in card.presets.items()}
        return card.model_copy(
            update={"settings": _beside(table, card.settings), "presets": presets}
        )
    path = paths.cards() / f"{dataset}.yaml"
    if dataset not in names():
        raise InputError(f"unknown dataset '{dataset}'{nearest(dataset, names())}")
    return _checked_card(yaml_files.read(path), path)


def _beside(table: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a card in which a weights file that lies beside the table is found."""
    file = table.parent / str(values.get("weights", ""))
    return values | ({"weights": str(file)} if file.is_file() else {})


def _checked_card(values: dict[str, Any], path: Path) -> Card:
    card = checked(Card, values, str(path))
    for preset, keys in {"settings": card.settings, **card.presets}.items():
        checked(Settings, keys, f"{path}, {preset}")
    return card


def settings_of(
    card: Card,
    preset: str = "",
    overrides: str | Iterable[str] | Mapping[str, Any] = "",
    **named: Any,
) -> Settings:
    """Settings of a run.

    Parameters
    ----------
    card : Card
    preset : str
        Name of one of the card's presets; empty for the card's default one.
    overrides : str, list of str or mapping
        See `parse_overrides`.
    **named
        Settings given by name (``augmentation="cutmix"``); empty ones (``""`` or ``None``) are
        passed over, so that a notebook's parameters can be handed on as they are.

    Raises
    ------
    InputError
        Unknown preset or key, or a value out of its range.
    """
    preset = preset or card.default_preset
    if preset and preset not in card.presets:
        raise InputError(f"{card.dataset} has no preset '{preset}'{nearest(preset, card.presets)}")
    values = dict(card.settings)
    values |= card.presets.get(preset, {})
    values |= {key: value for key, value in named.items() if value not in ("", None)}
    values |= parse_overrides(overrides)
    settings = checked(Settings, values, f"settings of {card.dataset}")
    if settings.weights not in ("imagenet", "random"):
        found = paths.find(settings.weights)
        if not found.is_file():
            raise InputError(
                f"weights {settings.weights}: no such file; give 'imagenet', 'random' or the path "
                "of a weights file"
            )
        settings = settings.model_copy(update={"weights": str(found)})
    return settings


def overridden(card: Card, settings: Settings, preset: str = "") -> dict[str, tuple[Any, Any]]:
    """What a user changed: setting -> (value of the preset, value of this run)."""
    base = settings_of(card, preset)
    return {
        key: (getattr(base, key), value)
        for key, value in settings.model_dump().items()
        if getattr(base, key) != value
    }

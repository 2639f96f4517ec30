"""Corpus cards: what the project knows of each corpus, read from ``data/cards/*.yaml``.

A run's settings are, from weakest to strongest: the defaults of `Settings`, the card's ``settings``
(what holds for the corpus whatever the recipe), one of its ``presets`` and the user's overrides.
Every corpus has the presets ``paper``, ``authors``, ``repaired`` and ``tuned``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dslite import paths
from dslite import settings as dslite_settings
from dslite.errors import InputError
from dslite.settings import VARIANTS, Settings, Strict, checked, nearest, parse_overrides

# Ours, for every corpus and table: chosen on RAVDESS song and FSDD (results/benchmarks/recipe.md).
# What differs from the paper: the sound of a clip fills two small pictures, rows and three depths
# of the network are kept, phase 1 is solved, and phase 2 has to prove its gain on devel.
TUNED = {
    **{"picture": "clip+level", "chunk_length_s": 6.0, "trim": "on", "trim_db": 30, "top_db": 80},
    **{"window_ms": 64, "mel_bands": 96, "columns": 64, "mel_max_hz": "corpus"},
    **{"level_max_hz": 3000, "pooling": "segments", "head": "ridge", "balance": "weights"},
    **{"optimizer": "adam", "learning_rate_phase2": 1e-4, "epochs_phase2": 6},
    **{"patience": 3, "trained_share": 0.5, "epoch_choice": "best", "products": "on"},
}
# Those of a card that names none: `paper` is the defaults then, the paper's method.
PRESETS = {"paper": {}, "tuned": TUNED}
# What two more change of a card's `paper`: as the authors' public code reads the paper, and with
# the one change that lets it learn, AdaDelta's rate as its author has it (arXiv:1212.5701)
READINGS = {
    "authors": {
        **{"power_floor": 1e-16, "mel_scale": "htk", "mel_norm": "none", "normalise": "off"},
        **{"top_db": None, "tail": "drop", "fusion": "vote", "fine_tune_reading": "code"},
        **{"probability_reading": "code", "cutmix_reading": "code", "mask_reading": "code"},
    },
    "repaired": {"learning_rate": 1.0},
}
Name = Annotated[str, AfterValidator(paths.plain_name)]  # of a folder
RESERVED = ("records", "studies", "paper", "benchmarks", "gallery")  # in results/, no corpora
TABLES = (".csv", ".tsv", ".arff")  # suffixes of a user's table
CARDS = (".yaml", ".yml")
GROUPS = ("label", "speaker", "partition", "excluded")  # of a pattern, that mean something


class Package(Strict):
    """Names inside a ComParE challenge package (layout: compare)."""

    name: str  # of the package's folder, which holds wav/ and lab/
    also: tuple[str, ...] = ()  # other names under which it was handed out
    labels: tuple[str, ...]  # label files in lab/ that every package has
    # Label files in lab/ that some packages have, with the test labels
    revealing: tuple[str, ...] = ()
    metadata: str = ""  # table beside the packages of a later release
    low_rate: str = ""  # list beside it of files that were up-sampled


class Expectation(Strict):
    """How many files a partition should have, and who says so."""

    partition: Literal["all", "train", "devel", "test"] = "all"
    files: int | None = None
    counts: dict[str, int] = Field(default_factory=dict)  # files of each class
    source: str


class Table1(Strict):
    """The corpus's row of the paper's Table 1."""

    files: int
    classes: int | None = None
    speakers: int
    minutes: float
    mean_s: float
    std_s: float


class Card(Strict):
    """What the project knows of one corpus."""

    dataset: Name
    layout: Literal["compare", "demo", "iemocap", "pattern", "table"]
    title: str
    citation: str = ""
    licence: str = ""
    obtain: str = ""  # how to get it
    place: str = ""  # where to put it, and what may lie around it
    publish: bool = False  # whether the licence lets file names be published
    folder: str = ""  # the corpus's folder; relative: below DSLITE_DATA, or beside the card
    table: str = ""  # of a user's corpus the path that was typed: a table, a folder or a card
    # Regular expression of the audio's paths without their suffixes, from a folder's name on, with
    # the groups of `GROUPS` and others as one likes (layout: pattern); empty: a folder a class
    pattern: str = ""
    # path, label, speaker, partition, start, end, duration -> the table's column; empty: none
    columns: dict[str, str] = Field(default_factory=dict)
    skip_bad: int = Field(0, ge=0)  # so many unreadable or broken files are passed over and named
    package: Package | None = None  # names on disk (layout: compare)

    task: Literal["classification", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)  # label in the corpus's own files -> class
    # Labels, or what a pattern's group `excluded` matched, whose files are left out -> why
    excluded: dict[str, str] = Field(default_factory=dict)
    # Scores above it are of the second class, the others of the first
    threshold: float | None = None
    # Speakers of each partition
    partition: dict[Literal["train", "devel", "test"], tuple[str, ...]] = Field(
        default_factory=dict
    )
    # Regular expression; its group is the part of a speaker's name that a fold of a cross-
    # validation keeps together (IEMOCAP: the session of a dialogue's two speakers)
    fold_group: str = ""
    paper_column: str = ""  # the corpus's name in the paper's tables
    table1: Table1 | None = None
    expected: tuple[Expectation, ...] = ()

    # Preset -> partitions whose speakers it was chosen on: its scores on them are optimistic
    chosen_on: dict[Name, tuple[Literal["train", "devel", "test"], ...]] = Field(
        default_factory=dict
    )
    default_preset: str = "tuned"
    settings: dict[str, Any] = Field(default_factory=dict)
    presets: dict[Name, dict[str, Any]] = Field(default_factory=lambda: dict(PRESETS))
    variants: tuple[Literal[VARIANTS], ...] = VARIANTS  # files for the device
    # Settings -> values to be tried, the best of which is chosen on devel
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if self.dataset in RESERVED:
            raise ValueError(f"dataset {self.dataset!r} is the name of a folder of results/ itself")
        if self.default_preset and self.default_preset not in self.presets:
            raise ValueError(f"default_preset {self.default_preset!r} is not among the presets")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is listed twice")
        speakers = [s for listed in self.partition.values() for s in listed]
        twice = sorted({s for s in speakers if speakers.count(s) > 1})
        if twice:
            raise ValueError(f"speakers listed twice in partition: {', '.join(twice)}")
        if (self.layout == "compare") != bool(self.package):
            raise ValueError("package belongs to the layout compare, and to no other")
        if self.pattern:
            self._check_pattern()
        if self.threshold is not None and len(self.classes) != 2:
            raise ValueError("a threshold makes two classes; name them in classes")
        named = {*self.labels.values(), *(c for e in self.expected for c in e.counts)}
        unknown = sorted(named - set(self.classes))
        if unknown and self.classes:
            raise ValueError(f"labels or expected name {unknown[0]!r}, which is not in classes")
        return self

    def _check_pattern(self) -> None:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern is no regular expression ({error})") from None
        if self.layout != "pattern" or "label" not in groups:
            raise ValueError(
                "a pattern needs a group (?P<label>...), and belongs to a corpus without a table; "
                f"of its groups these are used: {', '.join(GROUPS)}"
            )

    @property
    def part_of_speaker(self) -> dict[str, str]:
        """Partition of each speaker that the card lists."""
        return {name: part for part, names in self.partition.items() for name in names}

    def speakers_of_choice(self, preset: str) -> list[str]:
        """Return the speakers on whom a preset was chosen, none if it was on other corpora."""
        chosen_on = self.chosen_on.get(preset, ())
        return sorted(name for name, part in self.part_of_speaker.items() if part in chosen_on)


def names() -> list[str]:
    """List the names of the corpora that have a card."""
    return sorted(path.stem for path in paths.data("cards").glob("*.yaml"))


def is_own(dataset: str) -> bool:
    """Return whether DATASET is the path of a user's table, folder or card, and no card's name."""
    if not dataset or dataset in names():
        return False
    own_suffix = Path(dataset).suffix.lower() in TABLES + CARDS
    return own_suffix or "/" in dataset or os.sep in dataset or paths.find(dataset).is_dir()


def card_file(corpus: str | os.PathLike) -> Path:
    """Return where the card of a user's table or folder lies: beside it, under its name."""
    place = Path(corpus)
    if place.suffix.lower() in CARDS:
        return place
    name = place.stem if place.suffix.lower() in TABLES and not place.is_dir() else place.name
    return place.with_name(f"{name}{CARDS[0]}")


def load(
    dataset: str,
    folder: str | Path = "",
    name: str = "",
    columns: Mapping[str, str] | None = None,
) -> Card:
    """Load the card of a corpus by name, or of a user's table or folder by path.

    A card ``my.yaml`` beside the table ``my.csv`` or the folder ``my`` is read where there is one,
    and stands for them; ``folder`` says where the corpus lies, if not where the card says; of a
    user's corpus ``name`` is how its results are called and ``columns`` which of a table's columns
    is what. InputError for an unknown name, what is not there, or a card that does not validate.

    Examples
    --------
    >>> load("ravdess").classes
    ('angry', 'calm', 'fearful', 'happy', 'neutral', 'sad')
    """
    with paths.reading(dataset):
        if is_own(dataset):
            card = _own_card(paths.find(dataset), name, columns or {})
        elif name or columns:
            raise InputError(f"{dataset}: --name and --columns are for a corpus of yours")
        else:
            path = paths.data("cards") / f"{dataset}.yaml"
            if dataset not in names():
                raise InputError(f"unknown dataset '{dataset}'{nearest(dataset, names())}")
            card = _checked_card(dslite_settings.read_yaml(path), path)
    if not folder:
        return card
    place = paths.find(folder)
    if not place.is_dir():
        raise InputError(f"{place}: there is no such folder")
    return card.model_copy(update={"folder": str(place)})


def _own_card(typed: Path, name: str, columns: Mapping[str, str]) -> Card:
    """Card of a user's table, or folder with or without a pattern; its ``folder`` is absolute."""
    typed = Path(os.path.normpath(typed))
    if not typed.exists():
        raise InputError(
            f"{typed}: there is no such table or folder; DATASET is a name, a table (CSV, TSV, "
            "ARFF), a folder with one for each class, or a card (.yaml)"
        )
    file, place = card_file(typed), typed
    values = dslite_settings.read_yaml(file) if file.is_file() else {}
    if typed == file:  # stands for the table or the folder beside it, if there is one
        suffixes = () if "pattern" in values else TABLES
        places = [file.with_suffix(suffix) for suffix in (*suffixes, "")]
        place = next((place for place in places if place.exists()), typed)
    layout = "table" if place.suffix.lower() in TABLES and place.is_file() else "pattern"
    values = {"name": file.stem, "layout": layout, "title": f"Own corpus {place.name}"} | values
    values |= {"name": name} if name else {}
    if "dataset" in values:
        raise InputError(f"{file}: dataset = {values['dataset']!r}: here the key is 'name'")
    values["dataset"] = values.pop("name")
    if values["dataset"] in names():
        raise InputError(
            f"{typed}: '{values['dataset']}' is the name of a corpus of this project and its "
            f"results would be mixed with yours; give it another (--name, or `name` in {file.name})"
            f", or, if it is that corpus: {values['dataset']} --data FOLDER"
        )
    if columns:
        values["columns"] = {**(values.get("columns") or {}), **columns}
    if layout == "pattern" and values.get("columns"):
        raise InputError(f"{typed}: columns are a table's, and there is none")
    card = _checked_card(values | {"table": str(place)}, file if file.is_file() else place)
    if card.layout != layout:
        raise InputError(
            f"{file}: it is a card of the layout {card.layout}, not of {place.name}; leave out its "
            "key 'layout'"
        )
    folder = file.parent / Path(card.folder).expanduser()
    if place.is_dir() and not card.folder:
        folder = place
    if not folder.is_dir():
        raise InputError(f"{file}: folder {card.folder}: there is no such folder")
    for keys in (card.settings, *card.presets.values()):
        # A weights file that lies beside the card gets its whole path.
        weights = file.parent / str(keys.get("weights", ""))
        if weights.is_file():
            keys["weights"] = str(weights)
    return card.model_copy(update={"folder": str(folder)})


def _checked_card(values: dict[str, Any], path: Path) -> Card:
    """A card whose presets are settings; a grid's values are checked where they are combined."""
    presets = values.get("presets") or {}
    if isinstance(presets, dict):
        presets = PRESETS | presets
        if isinstance(presets["paper"], dict):
            read = {name: presets["paper"] | changes for name, changes in READINGS.items()}
            presets = {"paper": presets["paper"]} | read | presets
        values = values | {"presets": presets}
    card, where = checked(Card, values, str(path)), f"{path}, grid"
    for preset, keys in {"settings": card.settings, **card.presets}.items():
        checked(Settings, keys, f"{path}, {preset}")
    for key, tried in card.grid.items():
        if key not in Settings.model_fields:
            raise InputError(f"{where}: unknown key '{key}'{nearest(key, Settings.model_fields)}")
        if key in ("backbone", "augmentation"):
            raise InputError(f"{where}: {key} is not chosen here; name it in {key}s of a study")
        if not tried:
            raise InputError(f"{where}: {key} has no value to try; list some or leave it out")
    return card


def settings_of(
    card: Card,
    preset: str = "",
    overrides: str | Iterable[str] | Mapping[str, Any] = "",
    **named: Any,
) -> Settings:
    """Resolve the settings of a run: of a preset (the card's default one, if empty), and overrides.

    See `parse_overrides`. Settings given by name (``augmentation="cutmix"``) that are empty (``""``
    or ``None``) are passed over, so that a notebook's parameters can be handed on as they are.
    InputError for an unknown preset or key, or a value out of its range.

    Examples
    --------
    >>> settings = settings_of(load("ravdess"), "paper", "units=64", augmentation="cutmix")
    >>> settings.units, settings.augmentation, settings.epochs_phase2
    (64, 'cutmix', 80)
    """
    preset = preset or card.default_preset
    if preset and preset not in card.presets:
        raise InputError(f"{card.dataset} has no preset '{preset}'{nearest(preset, card.presets)}")
    chosen = {key: value for key, value in named.items() if value not in ("", None)}
    values = card.settings | card.presets.get(preset, {}) | chosen | parse_overrides(overrides)
    settings = checked(Settings, values, f"settings of {card.dataset}")
    if settings.weights not in ("imagenet", "random"):
        file = paths.find(settings.weights)
        if not file.is_file():
            raise InputError(
                f"weights {settings.weights}: no such file; give 'imagenet', 'random' or the path "
                "of a weights file"
            )
        settings = settings.model_copy(update={"weights": str(file)})
    return settings


def overridden(card: Card, settings: Settings, preset: str = "") -> dict[str, tuple[Any, Any]]:
    """Compare a run's settings with its preset's: setting -> (the preset's value, the run's).

    Examples
    --------
    >>> card = load("ravdess")
    >>> overridden(card, settings_of(card, overrides="units=64"))
    {'units': (512, 64)}
    """
    base, used = settings_of(card, preset).model_dump(), settings.model_dump()
    return {key: (base[key], value) for key, value in used.items() if base[key] != value}

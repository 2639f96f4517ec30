"""What the JSON files of a run hold: the types of what is read of them, checked at the door.

No key is demanded here: a missing one is an `InputError` where it is asked for, see
`dslite.provenance.read_json`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from dslite import provenance
from dslite.settings import MOST_SEED

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
# Of a setting: the preset's value, the run's
Change = Annotated[list[Any], Field(min_length=2, max_length=2)]
Task = Literal["classification", "regression"]


class Level(TypedDict, total=False):
    """Scores of files, or of chunks."""

    score: Number | None
    n: Count
    speakers: Count | None
    interval_files: Pair | None
    interval_speakers: Pair | None
    mae: Number | None
    rmse: Number | None
    pearson: Number | None
    ccc: Number | None


class Scores(TypedDict, total=False):
    """One partition's scores."""

    metric: str
    chance: Number | None
    file: Level
    chunk: Level
    absent: list[str]
    speakers_unknown: bool


class Shared(TypedDict, total=False):
    """What `run.json` and its summaries have in common."""

    dataset: str
    kind: str
    preset: str
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)]
    task: Task
    classes: list[str]
    overrides: dict[str, Change]


class Metrics(Shared, total=False):
    """Content of ``metrics.json``."""

    backbone: str
    augmentation: str
    random_weights: bool
    weights: str
    devel: Scores | None
    test: Scores | None


class Weights(TypedDict, total=False):
    """Which weights a run started from."""

    name: str
    sha256: str | None
    random: bool


class Hardware(TypedDict, total=False):
    """The machine of a run."""

    processor: str
    cores: Count | None


class PhaseChoice(TypedDict, total=False):
    """Which phase a run ends with, and why."""

    phase: Literal[1, 2]
    gain: Number
    noise: Number


WithPhase = TypedDict("WithPhase", {"kept": PhaseChoice}, total=False)  # noqa: UP013, no name for code


class Table(TypedDict, total=False):
    """Where a user's table was, and how it was read."""

    path: str
    columns: dict[str, str]


class Record(Shared, WithPhase, total=False):
    """Content of ``run.json``."""

    settings: dict[str, Any]
    weights: Weights
    manifest: str
    identity: str
    versions: dict[str, str]
    hardware: Hardware
    date: str
    commit: str
    seconds: Number
    table: Table
    skipped: list[str]
    fold: str
    candidate: bool
    typical_s: Annotated[float, Field(gt=0, le=3600)] | None
    epochs: Count


class Folds(Shared, total=False):
    """Content of ``folds.json``."""

    k: Annotated[int, Field(ge=2, le=1000)]
    metric: str
    chance: Number | None
    mean: Number | None
    deviation: Number | None
    pooled: Level
    absent: list[str]
    identities: list[str]
    table: dict[str, list[Any]]  # in a record


class Row(TypedDict, total=False):
    """One measurement of a profile."""

    part: Required[str]
    variant: Required[str]
    threads: Required[Count]
    ms: Required[Number]
    ms_median: Number
    ms_p95: Number
    ms_std: Number
    runs: Count
    size_bytes: Number
    peak_mb: Number
    growth_mb: Number


class Profile(TypedDict, total=False):
    """Content of ``profile.json``."""

    dataset: str
    run: str
    backbone: str
    random_weights: bool
    hardware: str
    metric: str
    parameters: Count
    multiply_adds: Number
    flops: Number
    rows: Annotated[list[Row], Field(min_length=1)]
    devel: dict[str, Number | None]
    test: dict[str, Number | None]
    test_interval: dict[str, Pair | None]


class Variant(TypedDict, total=False):
    """How a variant of ``agreement.json`` has turned out."""

    failed: str
    size_bytes: Number
    uar: Number
    uar_difference: Number
    same_decision: Number
    mean_difference: Number
    largest_difference: Number
    interval: Pair | None
    uar_interval: Pair | None
    test: dict[str, Any]
    synthetic: dict[str, Number]
    layers: Count
    float32_layers: list[str]


class Device(TypedDict, total=False):
    """Content of ``device.json``."""

    name: str
    ms: Number
    growth_mb: Number
    size_bytes: Number
    threads: Count


SCHEMAS = {"metrics": Metrics, "run": Record, "folds": Folds, "profile": Profile}
SCHEMAS |= {"agreement": dict[str, Variant], "device": Device}


def read(file: Path, remedy: str = "run it again") -> dict[str, Any]:
    """Read one of a run's JSON files by its name; InputError where it does not hold such values."""
    content = provenance.read_json(file, remedy)
    return provenance.checked(content, SCHEMAS[file.stem], file, remedy)


def check(content: Any, file: Path, remedy: str = "run it again") -> dict[str, Any]:
    """Return the content of such a file if its values are of the types that are read of it."""
    content = provenance.placed(content, file, remedy)
    return provenance.checked(content, SCHEMAS[file.stem], file, remedy)

"""Typed settings: everything that can change a run's numbers, with defaults and ranges."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dslite.errors import HALVES, InputError

AUGMENTATIONS = ("none", "cutmix", "specaugment", "cutmix+specaugment")
PARTITIONS = ("train", "devel", "test")
VARIANTS = ("float32", "float16", "dynamic", "int8")  # of a file for the device
OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamw", "nadam", "rmsprop", "sgd")
# The public implementation's list, and two newer ones
BACKBONE_NAMES = (
    *("vgg16", "vgg19", "resnet50", "xception", "inception_v3", "densenet121", "densenet169"),
    *("densenet201", "mobilenet", "mobilenet_v2", "nasnet_large", "nasnet_mobile"),
    *("inception_resnet_v2", "squeezenet", "efficientnet_v2_b0", "mobilenet_v3_small"),
)
MOST_SEED = 2**32 - 1  # which NumPy takes
SIDE = 224  # pixels: Table 2's layer counts and the paper's patch and mask sizes refer to it


class _Yaml(yaml.SafeLoader):
    """See `parse_yaml`."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):  # ten lines of them stand for a billion values
            raise yaml.YAMLError("a reference (*name) is not read; write the value out")
        return super().compose_node(parent, index)

    def construct_scalar(self, node):
        text = super().construct_scalar(node)
        if HALVES.search(text):
            raise yaml.YAMLError(f"{text!r} is no text")
        return text


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in pairs if first in "tTfF" or not tag.endswith("bool")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """Parse YAML in which ``on``, ``off``, ``yes`` and ``no`` are words, as in YAML 1.2.

    Examples
    --------
    >>> parse_yaml("1e-3"), parse_yaml("null"), parse_yaml("on"), parse_yaml("[1, b]")
    ('1e-3', None, 'on', [1, 'b'])
    """
    try:
        return yaml.load(text, Loader=_Yaml)  # noqa: S506, it is a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError, TypeError, AttributeError, LookupError) as error:
        raise yaml.YAMLError(str(error)) from None  # of numbers, dates and tags that are none


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of ``key: value`` lines as a mapping; InputError where it is none."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as YAML: {reason}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found {type(content).__name__}")
    return content


class Strict(BaseModel):
    """A mistyped key is an error, a value is checked, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Settings(Strict):
    """Everything that can change a run's numbers, except the corpus and the seed."""

    # Chunks (paper 2.1; Table 2 for the length)
    sample_rate: int = Field(16000, ge=1000, le=1_000_000)  # Hz; audio is resampled to it
    chunk_length_s: float = Field(4.0, gt=0.05, le=3600)  # seconds of audio per image
    chunk_hop_s: float | None = Field(None, gt=0)  # seconds; half a chunk if unset
    tail: Literal["keep", "drop"] = "keep"
    trim: Literal["off", "on"] = "off"
    trim_db: float = Field(60.0, gt=0)  # dB below the loudest 128 ms: silence at a file's ends

    # Spectrogram (paper 2.1). chunk: a chunk fills the picture with its silence, and the picture is
    # resized to image_size. clip: what sounds in a chunk fills it, mel_bands rows and columns as
    # they are; clip+level: a second one below it, of absolute level
    picture: Literal["chunk", "clip", "clip+level"] = "chunk"
    columns: int = Field(128, ge=32, le=1024)  # of a clip's picture
    level_window_ms: float = Field(128.0, gt=1)  # of the picture of absolute level
    level_max_hz: float = Field(4000.0, gt=0)  # its upper edge
    level_range_db: float = Field(90.0, gt=0)  # its range below a sine of full scale
    window_ms: float = Field(32.0, gt=1)
    hop_ms: float = Field(16.0, gt=0.5)
    mel_bands: int = Field(128, ge=8, le=512)
    mel_min_hz: float = Field(0.0, ge=0)  # lower edge of the lowest Mel band
    # Upper edge; none: half the rate; corpus: half the rate of most of its files, 8 kHz at most
    mel_max_hz: float | Literal["corpus"] | None = None
    # htk: as in the public code, where some bands of a chunk's picture lie between two bins, empty
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"  # of a band's filter: area 1, or height 1
    normalise: Literal["on", "off"] = "on"  # a chunk's peak to -3 dBFS
    power_floor: float = Field(1e-10, ge=1e-30, le=1)  # what is fainter counts as much
    top_db: float | None = Field(None, gt=0)  # dB below the chunk's maximum; none: off
    image_size: int = Field(SIDE, ge=32, le=1024)  # pixels, both sides

    # Model (paper 2.1; Table 2)
    backbone: Literal[BACKBONE_NAMES] = "densenet121"
    weights: str = "imagenet"  # imagenet, random, or the path of a weights file
    feature_layer: str = ""  # a layer's name, or stride4, stride8, stride16; the last one if unset
    # time: average over time only, frequency is kept; segments: averages of parts of the time and
    # the deviation over all of it, of the picture's rows and of several depths
    pooling: Literal["global", "time", "segments"] = "global"
    segments: int = Field(4, ge=1, le=16)
    # on: features of the absolute level's earliest depth are also multiplied in pairs, head ridge
    products: Literal["off", "on"] = "off"
    # arelu: a hidden layer, trained in phase 1; ridge: one layer, solved in closed form
    head: Literal["arelu", "ridge"] = "arelu"
    units: int = Field(512, ge=1)
    dropout: float = Field(0.25, ge=0, lt=1)

    # Training (paper 3.2; Table 2)
    optimizer: Literal[OPTIMIZERS] = "adadelta"
    learning_rate: float = Field(0.001, gt=0)  # of phase 1
    learning_rate_phase2: float | None = Field(None, gt=0)  # none: a tenth of phase 1's
    schedule: Literal["constant", "cosine"] = "constant"  # within each phase
    warmup_epochs: int = Field(0, ge=0)  # of each phase, the rate rising linearly
    weight_decay: float = Field(0.0, ge=0)  # decoupled from the gradient; 0: none
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    # Epochs of a phase without a better devel score before it ends
    patience: int | None = Field(None, ge=1)
    # Whose weights are tested: the last one's, or those of the epoch that is best on devel, after
    # which the final training ends, too
    epoch_choice: Literal["last", "best"] = "last"
    batch_size: int = Field(32, ge=2)
    epochs_phase1: int = Field(40, ge=0)
    epochs_phase2: int = Field(80, ge=0)
    trained_share: float = Field(0.1, ge=0, le=1)  # of the backbone's layers, phase 2
    fine_tune_reading: Literal["paper", "code"] = "paper"
    balance: Literal["upsample", "weights", "none"] = "upsample"
    # Of one operation of TensorFlow, however many cores there are: a sum's last bits depend on them
    threads: int = Field(2, ge=1, le=512)
    # Store the frozen layers' output of every un-augmented picture
    trunk_cache: Literal["on", "off"] = "on"
    trunk_cache_gib: float = Field(20.0, ge=0)  # largest size of one such store

    # Augmented copies of each training file, beside it where the head ``ridge`` is solved
    copies: int = Field(0, ge=0, le=20)

    # Augmentation (paper 2.1 and 3.2)
    augmentation: Literal[AUGMENTATIONS] = "none"
    sap_a: float = Field(0.5, gt=0, lt=1)
    sap_s: float = Field(10.0, gt=0)
    probability_min: float = Field(0.10, ge=0, le=1)
    probability_max: float = Field(0.25, ge=0, le=1)
    cutmix_px: float = Field(56, ge=0)  # largest side of a patch on a 224-pixel image
    mask_px: float = Field(67, ge=0)  # largest width of a mask on a 224-pixel image
    probability_reading: Literal["paper", "code"] = "paper"  # code: minimum + maximum * lambda
    # Code: labels weighted by side^2, also where the patch was clipped
    cutmix_reading: Literal["paper", "code"] = "paper"
    # Code: masks of ImageNet's mean colour on pictures already normalised
    mask_reading: Literal["paper", "code"] = "paper"

    # Evaluation (paper 3.3)
    fusion: Literal["mean", "vote"] = "mean"
    bootstrap_draws: int = Field(1000, ge=10)

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.hop_ms > self.window_ms:
            raise ValueError(f"hop_ms {self.hop_ms} is longer than window_ms {self.window_ms}")
        if self.window_ms > 1000 * self.chunk_length_s:
            raise ValueError(f"window_ms {self.window_ms} does not fit into a chunk")
        highest = self.highest_hz
        if not self.mel_min_hz < highest <= self.sample_rate / 2:
            raise ValueError(
                f"mel_min_hz {self.mel_min_hz} to mel_max_hz {highest} does not lie within 0 to "
                f"half the sample rate, {self.sample_rate / 2}"
            )
        if self.probability_min > self.probability_max:
            raise ValueError("probability_min is larger than probability_max")
        if self.pooling == "segments":
            self._require_segments()
        fine_tuned = self.trained_whole or self.trained_share > 0
        learns = self.epochs_phase1 or (self.epochs_phase2 and fine_tuned)
        if self.head == "arelu" and not learns:
            raise ValueError("no epoch to train: raise epochs_phase1 or epochs_phase2")
        if self.copies and self.head != "ridge":
            raise ValueError(f"copies {self.copies} belong to head ridge, not to {self.head}")
        paired = self.pooling == "segments" and self.panels == 2 and self.head == "ridge"
        if self.products == "on" and not paired:
            raise ValueError(
                "products belong to picture clip+level, pooling segments and head ridge: "
                "set products=off, too"
            )
        return self

    def _require_segments(self) -> None:
        if self.feature_layer:
            raise ValueError("feature_layer belongs to pooling global or time, not to segments")
        if self.picture == "chunk":
            raise ValueError("pooling segments needs picture clip or clip+level")
        if self.columns % (8 * self.segments) or self.mel_bands % 16:
            raise ValueError(
                f"columns {self.columns} must be a multiple of 8 x segments ({self.segments}), and "
                f"mel_bands {self.mel_bands} one of 16"
            )

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest Mel band in Hz; half the rate while the corpus is unknown."""
        limit = self.mel_max_hz
        return limit if isinstance(limit, float) else self.sample_rate / 2

    @property
    def panels(self) -> int:
        """Spectrograms in a picture, one above the other."""
        return 2 if self.picture == "clip+level" else 1

    @property
    def picture_shape(self) -> tuple[int, int]:
        """Height and width of a picture in pixels."""
        if self.picture == "chunk":
            return self.image_size, self.image_size
        return self.panels * self.mel_bands, self.columns

    @property
    def chunk_samples(self) -> int:
        """Number of samples in a chunk."""
        return round(self.chunk_length_s * self.sample_rate)

    @property
    def chunk_hop_samples(self) -> int:
        """Samples from one chunk's start to the next one's."""
        return max(1, round((self.chunk_hop_s or self.chunk_length_s / 2) * self.sample_rate))

    @property
    def window_samples(self) -> int:
        """Samples in an STFT window (512 for 32 ms at 16 kHz)."""
        return round(self.window_ms / 1000 * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one STFT window to the next."""
        return round(self.hop_ms / 1000 * self.sample_rate)

    @property
    def image_scale(self) -> float:
        """Factor from the paper's pixels (224 a side) to this picture's, by its shorter side."""
        return min(self.picture_shape) / SIDE

    @property
    def random_weights(self) -> bool:
        """Whether nothing is pre-trained."""
        return self.weights == "random"

    @property
    def trained_whole(self) -> bool:
        """Whether nothing is frozen: random weights, unless a head is solved on top of them."""
        return self.random_weights and self.head == "arelu"


def _fine_tunes(settings: Settings) -> bool:
    return bool(settings.epochs_phase2 and settings.trained_share and not settings.trained_whole)


def _trains(settings: Settings) -> bool:
    """Whether epochs are trained, of a head or of fine-tuned layers."""
    return settings.head == "arelu" or _fine_tunes(settings)


# When settings act that do not always: in words, and as a condition
ACTING: tuple[tuple[str, str, Callable[[Settings], bool]], ...] = (
    ("columns", "picture clip or clip+level", lambda s: s.picture != "chunk"),
    ("image_size", "picture chunk", lambda s: s.picture == "chunk"),
    ("level_window_ms level_max_hz level_range_db", "picture clip+level", lambda s: s.panels == 2),
    ("trim_db", "trim on or picture clip", lambda s: s.trim == "on" or s.picture != "chunk"),
    ("segments", "pooling segments", lambda s: s.pooling == "segments"),
    ("units dropout epochs_phase1", "head arelu", lambda s: s.head == "arelu"),
    (
        "optimizer schedule warmup_epochs weight_decay label_smoothing patience epoch_choice",
        "head arelu or fine-tuning",
        _trains,
    ),
    ("augmentation", "head arelu or fine-tuning", lambda s: _trains(s) or s.augmentation == "none"),
    (
        "learning_rate",
        "head arelu or fine-tuning without a learning_rate_phase2",
        lambda s: s.head == "arelu" or (_fine_tunes(s) and not s.learning_rate_phase2),
    ),
    (
        "learning_rate_phase2 fine_tune_reading",
        "fine-tuning (epochs_phase2, trained_share)",
        _fine_tunes,
    ),
    (
        "trained_share",
        "epochs_phase2 and pre-trained weights or head ridge",
        lambda s: bool(s.epochs_phase2) and not s.trained_whole,
    ),
    ("epochs_phase2", "trained_share above 0", lambda s: s.trained_whole or s.trained_share > 0),
    ("trunk_cache_gib", "trunk_cache on", lambda s: s.trunk_cache == "on"),
    (
        "sap_a sap_s probability_min probability_max probability_reading",
        "an augmentation, and head arelu or fine-tuning",
        lambda s: s.augmentation != "none" and _trains(s),
    ),
    ("cutmix_px cutmix_reading", "augmentation cutmix", lambda s: "cutmix" in s.augmentation),
    ("mask_px mask_reading", "augmentation specaugment", lambda s: "spec" in s.augmentation),
)


def without_effect(settings: Settings, keys: Iterable[str]) -> str:
    """Say which of some settings do nothing under the others, and when they would, in one line.

    Empty where all act.

    Examples
    --------
    >>> without_effect(Settings(head="ridge"), ["units", "segments", "top_db"])
    'without effect: units (acts with head arelu), segments (acts with pooling segments)'
    """
    idle = ((names.split(), text) for names, text, acts in ACTING if not acts(settings))
    reasons = {key: text for names, text in idle for key in names}
    idle = [f"{key} (acts with {reasons[key]})" for key in dict.fromkeys(keys) if key in reasons]
    return f"without effect: {', '.join(idle)}" if idle else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Name the valid name that is most like a mistyped one, or list all.

    Examples
    --------
    >>> nearest("unit", ["units", "dropout"])
    "; did you mean 'units'?"
    """
    valid = [str(v) for v in valid]
    like = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f"; did you mean '{like[0]}'?" if like else f"; there is: {', '.join(valid)}"


def checked(model: type[Strict], values: Mapping[str, Any], where: str) -> Any:
    """Validate ``values``; an `InputError` names ``where`` and every problem in one line."""
    for key in values:
        if key not in model.model_fields:
            raise InputError(f"{where}: unknown key '{key}'{nearest(str(key), model.model_fields)}")
    try:
        return model(**values)
    except ValidationError as error:
        keys = (".".join(map(str, item["loc"])) for item in error.errors())
        problems = [
            f"{key} = {item['input']!r}: " * bool(key) + item["msg"].removeprefix("Value error, ")
            for key, item in zip(keys, error.errors(), strict=True)
        ]
        raise InputError(f"{where}: {'; '.join(problems)}") from None


def parse_overrides(overrides: str | Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Parse overrides: words ``key=value``, in one text or a list, or a mapping.

    Values are read as YAML, so that ``none``-like values are written ``null``.

    Examples
    --------
    >>> parse_overrides("units=64 top_db=null")
    {'units': 64, 'top_db': None}
    """
    if isinstance(overrides, Mapping):
        return dict(overrides)
    parsed = {}
    for item in overrides.split() if isinstance(overrides, str) else overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InputError(f"override '{item}': expected key=value, for instance units=64")
        try:
            parsed[key] = parse_yaml(value)
        except yaml.YAMLError:
            raise InputError(f"override '{item}': the value cannot be read") from None
    return parsed

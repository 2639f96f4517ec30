"""The stages from audio to a decision, with what is known of each in a run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

POOLINGS = {"global": "mean over the picture", "time": "mean over time"}  # of `settings`


@dataclass(frozen=True)
class Stage:
    """A step on the way from audio to a decision.

    Attributes
    ----------
    name : str
    shape : str
        What comes out of it: ``64,000 samples, float32``.
    detail : str
        How: ``16 kHz, mono``.
    ms : float or None
        Median time in ms; None: not measured by itself.
    timed : str
        What the time is of, where it is not of this stage alone.
    size_bytes, parameters : int or None
    picture : ndarray or None
        uint8 RGB [h, w, 3], row 0 at the top, or a waveform, float [n].
    on_device : bool
        Whether it is part of the file that runs on the device.
    """

    name: str
    shape: str = ""
    detail: str = ""
    ms: float | None = None
    timed: str = ""
    size_bytes: int | None = None
    parameters: int | None = None
    picture: np.ndarray | None = None
    on_device: bool = False


def kept(text: str) -> str:
    """The text on one line: a number stays with its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def ms_text(value: float) -> str:
    """Milliseconds as a text: ``2.23 ms``."""
    return kept(f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms")


def size_text(count: float) -> str:
    """Bytes as a text, in powers of 1000: ``4.23 MB``, ``263 kB``."""
    return kept(f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB")


def _times(*numbers: int) -> str:
    return " × ".join(f"{n:,}" for n in numbers)


def _filled(template: str, *values: Any) -> str:
    """The template with its values, `~` being a space in it; nothing where a value is missing."""
    if any(value is None for value in values):
        return ""
    return template.replace("~", kept(" ")).format(*values)


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _sound(facts: Mapping[str, Any]) -> list[Stage]:
    """Audio, chunk, spectrogram and picture."""
    said = facts.get
    rate, ms = said("sample_rate"), said("ms") or {}
    rows, frames = said("mel_shape") or (None, None)
    windows = _filled("{:g}~ms windows every {:g}~ms", said("window_ms"), said("hop_ms"))
    rate_text = _filled("{:g}~kHz, mono", None if rate is None else rate / 1000)
    chunk = _filled("{:,}~samples, float32", said("samples"))
    mel = _filled("{:,}~bands × {:,}~frames, uint8", rows, frames)
    return [
        Stage("Audio", detail=rate_text, picture=said("waveform")),
        Stage("Chunk", chunk, _filled("{:g}~s", said("chunk_length_s"))),
        Stage("Mel spectrogram", mel, windows, ms.get("spectrogram"), on_device=True),
        Stage("Viridis picture", _times(*(said("image_shape") or ())),
              picture=said("picture"), on_device=True),
    ]  # fmt: skip


def _network(facts: Mapping[str, Any]) -> list[Stage]:
    """Trunk, tail, pooling, head and probabilities."""
    said = facts.get
    count, ms, classes = said("parameters") or {}, said("ms") or {}, said("classes") or ()
    layers = _filled("the last {} of {} layers", said("trained_layers"), said("layers"))
    both = _filled("{:,} parameters with the tail", count.get("backbone"))
    up_to = _filled("up to {}", said("feature_layer"))
    tail = Stage("Trained tail", _times(*(said("feature_shape") or ())), _joined(layers, up_to))
    trunk = Stage("Frozen trunk", "", _joined(said("backbone") or "", both))
    parts = [trunk, tail]
    if said("trained_layers") == 0:
        own = _joined(said("backbone") or "", up_to, "no layer trained")
        parts = [Stage("Frozen trunk", tail.shape, own, parameters=count.get("backbone"))]
    parts += [
        Stage("Pooling", _filled("{:,} numbers", said("pooled")),
              POOLINGS.get(said("pooling"), "")),
        Stage("Head", _filled("{:,} units", said("units")), parameters=count.get("head")),
        Stage("Probabilities", f"{len(classes)} numbers, float32" if classes else "",
              ", ".join(classes), ms.get("cnn"), "network, from the spectrogram on"),
    ]  # fmt: skip
    return [replace(stage, on_device=True) for stage in parts]


def stages(facts: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a run, from audio to a decision.

    Parameters
    ----------
    facts : mapping
        ``sample_rate`` (Hz), ``chunk_length_s``, ``samples`` (of a chunk), ``mel_shape`` [rows,
        frames], ``window_ms``, ``hop_ms``, ``image_shape`` and ``feature_shape`` [h, w, channels],
        ``backbone``, ``feature_layer``, ``pooling``, ``pooled`` (numbers), ``units``, ``classes``,
        ``parameters`` (``backbone``, ``head``), ``ms`` (``spectrogram``, ``cnn``, ``model``: from
        audio to probabilities), ``bytes`` (``keras`` and the variants, ``float32`` first),
        ``threads``, ``hardware``, ``peak_mb``, ``picture`` (uint8 RGB), ``waveform`` (float [n]),
        ``trained_layers`` of the backbone's ``layers`` (0: there is no tail). All may be missing
        or None: their places stay empty.
    """
    said = facts.get
    sizes, ms, classes = dict(said("bytes") or {}), said("ms") or {}, said("classes") or ()
    whole = sizes.pop("float32", None)
    others = [
        kept(f"{'Keras' if name == 'keras' else name} {size_text(count)}")
        for name, count in sizes.items()
        if count is not None
    ]
    threads, total = said("threads"), ms.get("model")
    total = None if total is None else ms_text(total)
    run = _joined(
        _filled(
            "{} from audio to probabilities",
            None if ms.get("model") is None else ms_text(ms["model"]),
        ),
        _filled("{}~thread{}", threads, "" if threads == 1 else "s"),
        said("hardware") or "",
        _filled("peak memory {:.0f}~MB", said("peak_mb")),
    )
    file = Stage(
        "TensorFlow Lite file",
        "" if whole is None else "weights in float32",
        "; ".join(text for text in (_joined(*others), run) if text),
        size_bytes=whole,
        on_device=True,
    )
    choice = "the largest probability" if classes else ""
    decision = Stage("Decision", f"1 of {len(classes)} classes" if classes else "", choice)
    return (*_sound(facts), *_network(facts), file, decision)

"""From audio to a decision (paper, Figure 1), drawn from what a run measured.

`stages` turns a run's facts into stages, `figure` lays stages out. What is not known stays empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from matplotlib.textpath import text_to_path

from dslite.plots import COLOURS, styled

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


# Inches; the figure is drawn in them, downwards from its upper left corner.
WIDTH, ACROSS, EDGE, GAP = 7.0, 4, 0.26, 0.28
BOX = (WIDTH - 2 * EDGE - (ACROSS - 1) * GAP) / ACROSS
PAD, PICTURE, LEADING = 0.07, 0.8, 1.32
ABOVE, BELOW = 0.3, 0.2  # between a row's boxes and what lies above and below them
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "oooo")
FILLS = (COLOURS[4], COLOURS[1], "white", COLOURS[2], "#DDDDDD", COLOURS[3], COLOURS[5])
NAME, SAID = {"size": 8, "weight": "bold"}, {"size": 7}
TOLD, MEASURED = {"size": 6.5, "color": "#444444"}, {"size": 6.5, "style": "italic"}

Line = tuple[str, dict[str, Any]]  # a text and its font


def _wrapped(text: str, width: float, font: Mapping[str, Any]) -> list[str]:
    """Lines of a text no wider than ``width`` inches; broken at spaces, a wider word anywhere."""
    known = {key: value for key, value in font.items() if key != "color"}
    letters = FontProperties(**known)

    def fits(line: str) -> bool:
        return text_to_path.get_text_width_height_descent(line, letters, False)[0] / 72 <= width

    lines = [""]
    for word in filter(str.strip, text.split(" ")):
        longer = f"{lines[-1]} {word}".strip(" ")
        if fits(longer):
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if not fits(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _height(lines: Sequence[Line]) -> float:
    return sum(LEADING * font["size"] / 72 for _, font in lines)


def _lines(width: float, *texts: Line) -> list[Line]:
    return [(line, font) for text, font in texts for line in _wrapped(text, width, font)]


def _inside(stage: Stage) -> tuple[list[Line], list[Line]]:
    """Lines above and below the picture in a stage's box."""
    width = BOX - 2 * PAD
    said = _lines(width, (stage.shape, SAID), (stage.detail, TOLD))
    return _lines(width, (stage.name, NAME)), said


def _beneath(stage: Stage) -> list[Line]:
    """What was measured of a stage, below its box."""
    texts = []
    if stage.ms is not None:
        texts.append(f"{ms_text(stage.ms)}{f' ({stage.timed})' if stage.timed else ''}")
    if stage.size_bytes is not None:
        texts.append(size_text(stage.size_bytes))
    if stage.parameters is not None:
        texts.append(f"{stage.parameters:,} parameters")
    return _lines(BOX, *((text, MEASURED) for text in texts))


def _write(axes: Axes, lines: Sequence[Line], x: float, top: float, **how: Any) -> None:
    for text, font in lines:
        middle = top + LEADING * font["size"] / 144
        axes.text(x, middle, text, va="center_baseline", **{"ha": "center"} | how | font)
        top += LEADING * font["size"] / 72


def _box_height(stage: Stage) -> float:
    above, below = _inside(stage)
    picture = 0 if stage.picture is None else PICTURE + PAD
    return _height(above) + picture + _height(below) + 2 * PAD


def _draw_picture(axes: Axes, picture: np.ndarray, middle: float, top: float) -> None:
    """A thumbnail of an image, or the envelope of a waveform."""
    if picture.ndim == 1:
        half = (BOX - 2 * PAD) / 2
        parts = np.array_split(picture, min(300, len(picture)))
        scale = PICTURE / 2 / max(1e-9, float(np.abs(picture).max()))
        x = np.linspace(middle - half, middle + half, len(parts))
        ends = np.array([(part.min(), part.max()) for part in parts]) * scale
        above, below = (top + PICTURE / 2 - ends).T
        axes.fill_between(x, above, below, color=COLOURS[0], lw=0.4, zorder=3)
        return
    height, width = picture.shape[:2]
    scale = min(PICTURE / height, (BOX - 2 * PAD) / width)
    half, bottom = width * scale / 2, top + (PICTURE + height * scale) / 2
    extent = (middle - half, middle + half, bottom, bottom - height * scale)
    axes.imshow(picture, extent=extent, aspect="auto", zorder=3)


def _draw_stage(axes: Axes, stage: Stage, left: float, top: float, height: float) -> None:
    face = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.9}
    shape = "round,pad=0,rounding_size=0.05"
    axes.add_patch(FancyBboxPatch((left, top), BOX, height, boxstyle=shape, zorder=2, **face))
    above, below = _inside(stage)
    middle, at = left + BOX / 2, top + PAD
    _write(axes, above, middle, at, zorder=4)
    at += _height(above)
    if stage.picture is not None:
        _draw_picture(axes, np.asarray(stage.picture), middle, at + PAD / 2)
        at += PICTURE + PAD
    _write(axes, below, middle, at, zorder=4)
    _write(axes, _beneath(stage), middle, top + height + 0.04, zorder=4)


@dataclass(frozen=True)
class _Row:
    """Where a row of stages lies: its boxes, what is written beneath them, and its end."""

    stages: Sequence[Stage]
    start: float
    box: float
    beneath: float

    @property
    def top(self) -> float:
        return self.start + ABOVE

    @property
    def end(self) -> float:
        return self.top + self.box + self.beneath + BELOW


def _rows(stages: Sequence[Stage], start: float) -> list[_Row]:
    rows = []
    for first in range(0, len(stages), ACROSS):
        of = stages[first : first + ACROSS]
        box = max(map(_box_height, of))
        rows.append(_Row(of, start, box, max(_height(_beneath(stage)) for stage in of)))
        start = rows[-1].end
    return rows


def _left(column: int) -> float:
    return EDGE + column * (BOX + GAP)


def _draw_arrows(axes: Axes, rows: Sequence[_Row]) -> None:
    """From every box to the next, between two rows through the space between them."""
    head = {"arrowstyle": "-|>", "lw": 1, "shrinkA": 0, "shrinkB": 0, "color": "black"}
    for i, row in enumerate(rows):
        level = row.top + row.box / 2
        for column in range(1, len(row.stages)):
            start = (_left(column) - GAP, level)
            axes.annotate("", (_left(column), level), start, arrowprops=head, zorder=4)
        if i + 1 == len(rows):
            continue
        right, left = WIDTH - EDGE / 2, EDGE / 2
        below, between = rows[i + 1], row.end - 0.06
        target = below.top + below.box / 2
        across = [WIDTH - EDGE, right, right, left, left]
        axes.plot(across, [level, level, between, between, target], color="black", lw=1, zorder=4)
        axes.annotate("", (_left(0), target), (left, target), arrowprops=head, zorder=4)


def _outline(rows: Sequence[_Row], first: int, last: int) -> list[tuple[float, float]]:
    """Corners around the stages first to last and the arrows between them."""
    (start, begin), (stop, end) = divmod(first, ACROSS), divmod(last, ACROSS)
    left = 0.04 if begin == 0 else _left(begin) - GAP / 2
    right = WIDTH - 0.04 if end == ACROSS - 1 else _left(end) + BOX + GAP / 2
    top, bottom = rows[start].start + 0.02, rows[stop].end - 0.12
    if start == stop:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    # The arrow from one row to the next lies between these two.
    step, turn = rows[start].end - 0.12, rows[stop - 1].end
    upper = [(left, top), (WIDTH - 0.04, top), (WIDTH - 0.04, turn), (right, turn)]
    return [*upper, (right, bottom), (0.04, bottom), (0.04, step), (left, step)]


def _draw_device(axes: Axes, rows: Sequence[_Row], on_device: Sequence[bool], text: str) -> None:
    """A dashed outline around every run of stages that are on the device."""
    for on, run in groupby(range(len(on_device)), key=on_device.__getitem__):
        indices = list(run)
        if on:
            corners = _outline(rows, indices[0], indices[-1])
            how = {"facecolor": "#F0F0F0", "edgecolor": "black", "linestyle": "--"}
            axes.add_patch(Polygon(corners, closed=True, linewidth=0.9, zorder=1, **how))
            x, y = corners[0]
            _write(axes, [(text, TOLD)], x + 0.08, y + 0.04, ha="left", zorder=4)


def _entries(timed: Sequence[Stage]) -> list[list[Line]]:
    """What the time bar's parts are: the lines of each."""
    total, made = sum(stage.ms for stage in timed), []
    for stage in timed:
        named = stage.timed[:1].upper() + stage.timed[1:] or stage.name
        share = kept(f"{100 * stage.ms / total:.0f} %")
        made.append(
            _lines(WIDTH / 2 - EDGE - 0.3, (f"{named}: {ms_text(stage.ms)}, {share}", SAID))
        )
    return made


def _entry_rows(entries: Sequence[list[Line]]) -> list[float]:
    """Heights of the rows of entries, two to a row."""
    pairs = [entries[i : i + 2] for i in range(0, len(entries), 2)]
    return [max(map(_height, pair)) + 0.05 for pair in pairs]


def _draw_bar(axes: Axes, timed: Sequence[Stage], top: float) -> None:
    """Shares of the measured time, and what each is."""
    total = sum(stage.ms for stage in timed)
    heading = f"Where the measured time goes ({ms_text(total)} in all)"
    _write(axes, [(heading, NAME)], EDGE, top, ha="left")
    at, left = top + 0.2, EDGE
    entries = _entries(timed)
    places = at + 0.3 + np.cumsum([0, *_entry_rows(entries)])
    for i, (stage, entry) in enumerate(zip(timed, entries, strict=True)):
        how = {"facecolor": FILLS[i % len(FILLS)], "hatch": HATCHES[i % len(HATCHES)]}
        how |= {"edgecolor": "black", "linewidth": 0.6}
        width = (WIDTH - 2 * EDGE) * stage.ms / total
        axes.add_patch(Rectangle((left, at), width, 0.2, **how))
        left += width
        x, y = EDGE + (i % 2) * (WIDTH / 2 - EDGE / 2), places[i // 2]
        axes.add_patch(Rectangle((x, y + 0.01), 0.22, 0.11, **how))
        _write(axes, entry, x + 0.28, y, ha="left")


@styled
def figure(
    stages: Sequence[Stage], title: str, device: str = "on the device, in one .tflite file"
) -> Figure:
    """Boxes with arrows, four to a row; what was measured beneath them, and a bar of the times.

    ``device`` is written at the dashed outline around the stages that are ``on_device``.
    """
    heading = _lines(WIDTH - 2 * EDGE, (title, {"size": 9}))
    rows = _rows(stages, 0.1 + _height(heading))
    timed = [stage for stage in stages if stage.ms]
    bar = 0.62 + sum(_entry_rows(_entries(timed))) if timed else 0.05
    height = rows[-1].end + bar
    made = Figure(figsize=(WIDTH, height))
    axes = made.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _write(axes, heading, EDGE, 0.06, ha="left")
    _draw_device(axes, rows, [stage.on_device for stage in stages], device)
    for row in rows:
        for column, stage in enumerate(row.stages):
            _draw_stage(axes, stage, _left(column), row.top, row.box)
    _draw_arrows(axes, rows)
    if timed:
        _draw_bar(axes, timed, rows[-1].end + 0.05)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return made

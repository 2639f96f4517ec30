"""Figures of explanations: attributions over spectrograms, by frequency, by time; tests' curves.

Images and attributions have row 0, the highest frequency, at the top; positive attributions raise
the explained output.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path

from dslite import plots
from dslite.explanation.attributions import FREQUENCY, TIME
from dslite.features.plots import draw_mel, hz_ticks
from dslite.plots import panels, styled


class ColourScheme(NamedTuple):
    """Colours of what lowers and raises an output, see-through at 0, and their names."""

    colour_map: LinearSegmentedColormap
    words: str
    contours: bool  # around strong regions: solid where they raise, dashed where they lower


def _scheme(lowers: str, raises: str, words: str, contours: bool) -> ColourScheme:
    """From two colours ``#rrggbb``; where nothing has an effect, the spectrogram shows."""
    ends = [(0, f"{lowers}ff"), (0.5, f"{lowers}00"), (0.5, f"{raises}00"), (1, f"{raises}ff")]
    return ColourScheme(LinearSegmentedColormap.from_list(words, ends), words, contours)


# The second pair, the ends of ColorBrewer's PuOr, is told apart by the colour-blind and, by its
# lightness and the contours, in grey (colorbrewer2.org).
SCHEMES = {
    "red-blue": _scheme("#2166ac", "#b2182b", "red raises, blue lowers", False),
    "orange-purple": _scheme("#5e3c99", "#e66101", "orange (—) raises,\npurple (- -) lowers", True),
}
TEXT = 8  # points: titles
TICKS = 7
ROW = 1.75  # inches: six rows and their margins fit on an A4 page
SIDES = 1.65  # inches that the axis on the left and the scale on the right take
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))  # of methods' curves
MARKERS = "os^Dv*"


def _fitted(text: str, width: float) -> str:
    """A text of one or two lines, so that none is wider than ``width`` inches."""
    # The first is broken at the space that leaves the shortest lines. What is still too long, as a
    # file's name in the second, loses its middle.

    def wide(line: str) -> float:
        size = FontProperties(size=TEXT)
        return text_to_path.get_text_width_height_descent(line, size, False)[0] / 72

    def shortened(line: str) -> str:
        letters, short = len(line), line
        while letters > 1 and wide(short) > width:
            letters -= 1
            short = f"{line[: -(-letters // 2)]}…{line[len(line) - letters // 2 :]}"
        return short

    first, *rest = (" ".join(line.split()) for line in text.split("\n", 1))
    words, lines = first.split(), [first]
    if wide(first) > width and len(words) > 1:
        breaks = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
        lines = min(breaks, key=lambda pair: max(map(wide, pair)))
    return "\n".join(map(shortened, (*lines, *rest)))


def _entitle(axes: Axes, text: str, width: float) -> None:
    """Title axes of some width in inches, in lines that fit."""
    # A file's name is no formula, whatever dollar signs it holds.
    axes.set_title(_fitted(text, width), fontsize=TEXT, parse_math=False)


def _unit(image: np.ndarray) -> np.ndarray:
    """An image as float of 0 to 1; white where a stitched picture has none."""
    image = np.asarray(image)
    image = image / 255 if image.dtype == np.uint8 else np.clip(image, 0, 1)
    return np.where(np.isnan(image), 1.0, image)


def _largest(values: Sequence[np.ndarray]) -> float:
    """The end of a scale: the largest absolute value, or 1 where all are 0."""
    return max((float(np.abs(panel).max()) for panel in values), default=0.0) or 1.0


def _smooth(values: np.ndarray) -> np.ndarray:
    """Means over squares of a 28th of the height, so that a contour encloses no single pixels."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(np.asarray(values, dtype=float), max(1, len(values) // 28))


def _contours(axes: Axes, values: np.ndarray, level: float, seconds: float, bands: int) -> None:
    """Lines around what lies above ``level`` (solid) and below ``-level`` (dashed)."""
    height, width = values.shape
    times = (np.arange(width) + 0.5) * seconds / width
    places = bands - 0.5 - (np.arange(height) + 0.5) * bands / height
    for sign, dash in ((1, "solid"), (-1, "dashed")):
        if (sign * values).max() > level > (sign * values).min():
            style = {"colors": "black", "linestyles": dash, "linewidths": 0.6}
            axes.contour(times, places, sign * values, [level], **style)


def _overlay(
    axes: Axes,
    row: Mapping[str, Any],
    values: np.ndarray,
    limit: float,
    hz: np.ndarray,
    scheme: ColourScheme,
    level: float,
) -> AxesImage:
    """Attributions in colour over the grey spectrogram; contours at ``level``, where wanted."""
    span = (0, row["seconds"], hz)
    grey = _unit(row["image"]) @ (0.299, 0.587, 0.114)  # luma, ITU-R BT.601
    draw_mel(axes, grey, *span, cmap="gray", vmin=-1, vmax=1)
    image = draw_mel(axes, values, *span, cmap=scheme.colour_map, vmin=-limit, vmax=limit)
    if scheme.contours:
        _contours(axes, _smooth(values), level, row["seconds"], len(hz))
    return image


def _scale(figure: Figure, image: AxesImage, words: str, ends: Sequence[str], **where: Any) -> None:
    """Colour bar of −limit, 0 and limit, written as ``ends`` says."""
    low, high = image.get_clim()
    bar = figure.colorbar(image, **where)
    bar.set_label(words, size=TICKS)
    bar.set_ticks([low, 0, high], labels=ends, fontsize=TICKS)


@styled
def overlays(
    rows: Sequence[Mapping[str, Any]],
    mel_frequencies_hz: np.ndarray,
    colours: str = "red-blue",
) -> Figure:
    """Draw spectrograms and attributions over them, a line and a colour scale each (Figure 2).

    Parameters
    ----------
    rows : list of dict
        ``image``, uint8 or float of 0 to 1 [H, W, 3] (NaN is white); ``seconds``, its duration;
        ``title``, up to two lines; ``panels``, list of (caption, float [H, W]), in one scale that
        is symmetric about 0 and ends at the largest absolute value of the row's panels.
    mel_frequencies_hz : float [mel]
        Centres of the bands that the images were made from, ascending, Hz.
    colours : {"red-blue", "orange-purple"}
        "orange-purple" draws lines around what exceeds half of the row's largest (smoothed) value
        as well.
    """
    hz, scheme = np.asarray(mel_frequencies_hz, dtype=float), SCHEMES[colours]
    most = max(len(row["panels"]) for row in rows)
    ratios = {"squeeze": False, "width_ratios": (*(1,) * (1 + most), 0.04)}
    figure, grid = panels(0.3 + ROW * len(rows), len(rows), 2 + most, **ratios)
    same = len({row["seconds"] for row in rows}) == 1
    for i, (line, row) in enumerate(zip(grid, rows, strict=True)):
        _row(figure, line, row, hz, scheme)
        last = i == len(rows) - 1
        for axes in line[:-1]:
            _edge(axes, axes is line[0], last, last or not same)
    return figure


def _edge(axes: Axes, left: bool, bottom: bool, times: bool) -> None:
    """Name and count the axes only at the edge of a grid; times also where they differ."""
    axes.tick_params(labelsize=TICKS)
    axes.tick_params(axis="y", labelleft=left)
    axes.tick_params(axis="x", labelbottom=times)
    axes.set_xlabel("Time (s)" if bottom else "", fontsize=TEXT)
    axes.set_ylabel("Frequency (Hz)" if left else "", fontsize=TEXT)


def _row(
    figure: Figure, line: np.ndarray, row: Mapping[str, Any], hz: np.ndarray, scheme: ColourScheme
) -> None:
    """One line of `overlays`: spectrogram, panels, empty axes, colour scale."""
    left, *right, scale = line
    width = (7 - SIDES) / (len(line) - 1) - 0.1
    draw_mel(left, _unit(row["image"]), 0, row["seconds"], hz)
    _entitle(left, row["title"], width)
    values = [np.asarray(panel, dtype=float) for _, panel in row["panels"]]
    limit = _largest(values)
    level = _largest([_smooth(panel) for panel in values]) / 2 if scheme.contours else 0.0
    for axes in (*right[len(values) :], scale):
        axes.set_axis_off()
    for axes, (caption, _), panel in zip(right, row["panels"], values, strict=False):
        image = _overlay(axes, row, panel, limit, hz, scheme, level)
        _entitle(axes, caption, width)
    if values:
        scale.set_axis_on()
        _scale(figure, image, scheme.words, [f"−{limit:.2g}", "0", f"{limit:.2g}"], cax=scale)


@styled
def method_overlays(
    image: np.ndarray,
    seconds: float,
    values: Mapping[str, np.ndarray],
    mel_frequencies_hz: np.ndarray,
    title: str,
    colours: str = "red-blue",
) -> Figure:
    """Draw one sample's spectrogram and what up to five methods attribute to it.

    Parameters
    ----------
    image : uint8 or float of 0 to 1 [H, W, 3]
    seconds : float
        Its duration.
    values : dict
        Name of a method -> float [H, W], each in a scale of its own, whose end its caption tells:
        the methods' units differ.
    mel_frequencies_hz, colours
        As in `overlays`.
    title : str
        Of the spectrogram, up to two lines.
    """
    hz, scheme = np.asarray(mel_frequencies_hz, dtype=float), SCHEMES[colours]
    n = 1 + len(values)
    columns = n if n < 4 else -(-n // 2)
    lines = -(-n // columns)
    figure, grid = panels(0.5 + 2 * lines, lines, columns, squeeze=False)
    row, width = {"image": image, "seconds": seconds}, (7 - SIDES) / columns - 0.1
    draw_mel(grid[0, 0], _unit(image), 0, seconds, hz)
    _entitle(grid[0, 0], title, width)
    for axes, (name, panel) in zip(grid.flat[1:], values.items(), strict=False):
        limit = _largest([panel])
        level = _largest([_smooth(panel)]) / 2 if scheme.contours else 0.0
        drawn = _overlay(axes, row, np.asarray(panel, dtype=float), limit, hz, scheme, level)
        _entitle(axes, f"{name}\nlargest |value|: {np.abs(panel).max():.2g}", width)
    for i, axes in enumerate(grid.flat):
        if i >= n:
            axes.set_axis_off()
        _edge(axes, i % columns == 0, i + columns >= n, i + columns >= n)
    where = {"ax": list(grid.flat), "fraction": 0.02, "aspect": 40}
    _scale(figure, drawn, scheme.words, ["−largest", "0", "largest"], **where)
    return figure


def _small_multiples(
    table: pd.DataFrame, ends: tuple[str, str], positions: np.ndarray | None = None
) -> tuple[Figure, np.ndarray, int]:
    """Steps of every class, with its standard error, over the mean of all classes.

    Gives the figure, its axes (one a class) and the number of columns; the steps' edges are the
    table's, or drawn at ``positions``.
    """
    names = list(table["class"].unique())
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    shared = {"sharex": True, "sharey": True, "squeeze": False}
    figure, grid = panels(0.9 + 1.45 * lines, lines, columns, **shared)
    power = int(np.floor(np.log10(table["mean_abs"].max() or 1.0)))
    power = 0 if -2 < power < 3 else power
    unit = f" ($10^{{{power}}}$)" if power else ""
    everyone = table.groupby(ends[0])["mean_abs"].mean().to_numpy() / 10.0**power
    for axes, name in zip(grid.flat, names, strict=False):
        rows = table[table["class"] == name]
        edges = positions if positions is not None else [0.0, *rows[ends[1]]]
        mean, error = rows[["mean_abs", "standard_error"]].to_numpy(dtype=float).T / 10.0**power
        if np.isfinite(error).all():
            band = {"fill": True, "color": plots.COLOURS[4], "alpha": 0.5}
            band |= {"baseline": mean - error, "label": "± standard error"}
            axes.stairs(mean + error, edges, **band)
        axes.stairs(mean, edges, color=plots.COLOURS[0], lw=1.5, baseline=None, label="class")
        if len(names) > 1:
            other = {"color": "black", "ls": "--", "lw": 0.8, "baseline": None}
            axes.stairs(everyone, edges, label="mean of the classes", **other)
        n = int(rows["files"].iloc[0])
        _entitle(axes, f"{name} ({n} file{'s' if n > 1 else ''})", (7 - 0.6) / columns - 0.1)
    for i, axes in enumerate(grid.flat):
        axes.tick_params(labelsize=TICKS, labelbottom=i + columns >= len(names))
        if i >= len(names):
            axes.set_axis_off()
    grid[0, 0].set_ylim(bottom=0)
    figure.supylabel(f"Mean |SHAP value|{unit}", fontsize=TEXT)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure, grid.ravel()[: len(names)], columns


@styled
def frequencies(table: pd.DataFrame) -> Figure:
    """Draw mean absolute SHAP values of every class by frequency, on the Mel axis.

    Takes `dslite.explanation.attributions.class_table` of bands.
    """
    first = table[table["class"] == table["class"].iloc[0]]
    edges = np.array([first["low_hz"].iloc[0], *first["high_hz"]], dtype=float)
    last = len(edges) - 1
    figure, grid, columns = _small_multiples(table, FREQUENCY, np.arange(last + 1))
    # The filter bank's ends, which are the round ones, lie a little outside of the picture. Where
    # the axis is short, texts at its linear end would overlap.
    gap, shown = 0.12 * last * (columns > 1), []
    for place, text in reversed(list(zip(*hz_ticks(edges), strict=True))):
        if -0.3 < place < last + 0.3 and (not shown or shown[-1][0] - place > gap):
            shown.append((place, text))
    places, texts = zip(*shown, strict=True)
    grid[0].set_xticks(np.clip(places, 0, last), texts)
    grid[0].set_xlim(0, last)
    figure.supxlabel("Frequency (Hz)", fontsize=TEXT)
    return figure


@styled
def times(table: pd.DataFrame) -> Figure:
    """Draw mean absolute SHAP values of every class over a clip's relative time.

    Takes `dslite.explanation.attributions.class_table` of times.
    """
    figure, grid, _ = _small_multiples(table, TIME)
    grid[0].set_xlim(0, 1)
    grid[0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    figure.supxlabel("Relative time in the clip (0: its start, 1: its end)", fontsize=TEXT)
    return figure


@styled
def curves(table: pd.DataFrame) -> Figure:
    """Draw the score over the share of the picture that is removed, or shown, method by method.

    Columns: ``method`` ("random" is the yardstick, in grey), ``curve`` ("deletion", where a
    faithful method falls early, or "insertion", where it rises early), ``share`` (0 to 1), and
    ``score`` (mean probability).
    """
    verbs = {"deletion": "removed", "insertion": "shown"}
    figure, row = panels(2.9, 1, 2, sharey=True)
    names = [name for name in table["method"].unique() if name != "random"]
    for axes, (curve, verb) in zip(row, verbs.items(), strict=True):
        for name in [*names, "random"]:
            line = table[(table["method"] == name) & (table["curve"] == curve)]
            line = line.sort_values("share")
            style = {"color": "grey", "ls": "--", "lw": 1.2}
            if name != "random":
                i = names.index(name)
                marks = {"marker": MARKERS[i % 6], "ms": 3.5, "markevery": (i, len(names) + 1)}
                style = {"color": plots.COLOURS[i % 6], "ls": LINES[i % 6], **marks}
            axes.plot(line["share"], line["score"], label=name, **style)
        axes.set(xlabel=f"Share of the picture {verb}", xlim=(0, 1), title=curve.capitalize())
        axes.grid(alpha=0.3)
    row[0].set(ylabel="Mean probability of the class", ylim=(0, None))
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure

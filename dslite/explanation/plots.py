"""Figures of explanations: attributions over spectrograms, by frequency, by time; tests' curves.

Images and attributions have row 0, the highest frequency, at the top; positive attributions raise
the explained output.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from dslite import plots
from dslite.explanation.attributions import FREQUENCY, TIME
from dslite.features.plots import draw_mel, hz_ticks, readable
from dslite.plots import panels, styled

if TYPE_CHECKING:  # it imports TensorFlow
    from dslite.explanation.files import ExplainedFile
    from dslite.explanation.methods import Explanation

# The ends of ColorBrewer's PuOr, told apart by the colour-blind and, by their lightness and the
# contours, in grey (colorbrewer2.org). See-through at 0: where nothing has an effect, the
# spectrogram shows.
LOWERS, RAISES = "#5e3c99", "#e66101"
COLOUR_MAP = LinearSegmentedColormap.from_list(
    "effect",
    [(0, f"{LOWERS}ff"), (0.5, f"{LOWERS}00"), (0.5, f"{RAISES}00"), (1, f"{RAISES}ff")],
)
WORDS = "orange (—) raises, purple (- -) lowers"
LEAST = 0.1  # of probability: what explains less is hatched, not coloured
TEXT = 8  # points: titles
TICKS = 7
ROW = 1.75  # inches: six rows and their margins fit on an A4 page
SIDES = 1.5  # inches that the axis on the left and the scale on the right take
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))  # of methods' curves
MARKERS = "os^Dv*"


def _fitted(text: str, width: float) -> str:
    """Break a text's first line, and shorten what is wider than ``width`` inches even then."""
    letters = int(72 * width / (0.57 * TEXT))  # of the font's mean width

    def shortened(line: str) -> str:  # a file's name loses its middle
        half = (letters - 1) // 2
        return line if len(line) <= letters else f"{line[:half]}…{line[-half:]}"

    first, *rest = (" ".join(line.split()) for line in text.split("\n"))
    lines = textwrap.wrap(first, letters, break_long_words=False)
    return "\n".join(map(shortened, (*lines, *rest)))


def _entitle(axes: Axes, text: str, columns: int, sides: float = SIDES) -> None:
    """Title one of so many axes in a row, in lines that fit."""
    # A file's name is no formula, whatever dollar signs it holds.
    text = _fitted(text, (7 - sides) / columns - 0.1)
    axes.set_title(text, fontsize=TEXT, parse_math=False)


def _unit(picture: np.ndarray) -> np.ndarray:
    """A picture of 0 to 255 as one of 0 to 1; white where a stitched one has none."""
    return np.nan_to_num(np.clip(picture / 255, 0, 1), nan=1.0)


def density(part: "Explanation") -> np.ndarray:
    """Compute attributions as % of what they sum to, for each % of the picture: 1 where even.

    The sum is the output less the expected one; of a method without one that of all sizes.
    """
    total = abs(part.output - part.base)
    total = np.abs(part.values).sum() if np.isnan(total) else total
    return part.values * part.values.size / (total or 1.0)


def _limit(panels: Sequence[np.ndarray]) -> float:
    """The end of a scale: the median panel's 99th percentile, or 1 where all are 0."""
    ends = [np.quantile(np.abs(values), 0.99) for values in panels]
    return float(np.median(ends) if ends else 0) or 1.0


def _smooth(values: np.ndarray, panels: int) -> np.ndarray:
    """Means over squares of a 28th of a panel, so that a contour encloses no single pixels."""
    parts = np.split(np.asarray(values, dtype=float), panels)
    return np.concatenate([uniform_filter(part, max(1, len(part) // 28)) for part in parts])


def draw_overlay(
    axes: Axes, file: "ExplainedFile", values: np.ndarray, limit: float, hz: np.ndarray
) -> AxesImage:
    """Attributions in colour over the grey spectrogram, contours, and where chunks begin or end."""
    hz = np.atleast_2d(hz)
    _grey(axes, file, hz)
    scale = {"cmap": COLOUR_MAP, "vmin": -limit, "vmax": limit}
    image = draw_mel(axes, values, *file.span_s, hz, **scale)
    # Around what exceeds half of the largest smoothed value: solid where it raises.
    height, width = values.shape
    (begin, end), bands = file.span_s, hz.size
    times = begin + (np.arange(width) + 0.5) * (end - begin) / width
    places = bands - 0.5 - (np.arange(height) + 0.5) * bands / height
    level = np.abs(_smooth(values, len(hz))).max() / 2
    for sign, dash in ((1, "solid"), (-1, "dashed")):
        smooth = sign * _smooth(values, len(hz))
        if smooth.max() > level > smooth.min():
            style = {"colors": "black", "linestyles": dash, "linewidths": 0.6}
            axes.contour(times, places, smooth, [level], **style)
    return image


def _grey(axes: Axes, file: "ExplainedFile", hz: np.ndarray) -> None:
    """Draw the spectrogram in grey, thin lines where chunks begin or end."""
    grey = _unit(file.picture) @ (0.299, 0.587, 0.114)  # luma, ITU-R BT.601
    draw_mel(axes, grey, *file.span_s, hz, cmap="gray", vmin=-1, vmax=1)
    for seam in file.seams_s:
        axes.axvline(seam, color="black", lw=0.5, ls=":")


def _scale(figure: Figure, image: AxesImage, of: str, axes: np.ndarray) -> None:
    """Colour bar at the right, in % of what the values sum to for each % of the picture."""
    bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.02, aspect=40, extend="both")
    bar.set_label(f"% of {of} per % of the picture\n{WORDS}", size=TICKS)
    bar.ax.tick_params(labelsize=TICKS)


def _edge(axes: Axes, left: bool, bottom: bool, times: bool) -> None:
    """Name and count the axes only at the edge of a grid; times also where they differ."""
    axes.tick_params(labelsize=TICKS)
    axes.tick_params(axis="y", labelleft=left)
    axes.tick_params(axis="x", labelbottom=times)
    axes.set_xlabel("Time (s)" if bottom else "", fontsize=TEXT)
    axes.set_ylabel(axes.get_ylabel() if left else "", fontsize=TEXT)


@styled
def overlays(
    files: Sequence["ExplainedFile"],
    mel_frequencies_hz: np.ndarray,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw spectrograms and attributions over them, a line a file, all in one scale (Figure 2).

    A class whose output is within `LEAST` of the expected one has nothing to be explained: its
    panel is hatched. Takes the bands' centres, float [mel] or, of two panels, [2, mel], and other
    ``titles`` by the explanations' names.
    """
    most = max(len(file.explanations) for file in files)
    height = ROW * (1.5 if len(np.atleast_2d(mel_frequencies_hz)) > 1 else 1)
    figure, grid = panels(0.3 + height * len(files), len(files), 1 + most, squeeze=False)
    same = len({file.span_s for file in files}) == 1
    parts = [(file, part) for file in files for part in file.explanations.values()]
    limit = _limit([density(part) for file, part in parts if _explains(file, part)])
    image, sums = None, "all |values|"
    for line, file in zip(grid, files, strict=True):
        left, *right = line
        draw_mel(left, _unit(file.picture), *file.span_s, mel_frequencies_hz)
        _entitle(left, file.title, 1 + most)
        for axes in right[len(file.explanations) :]:
            axes.set_axis_off()
        for axes, (name, part) in zip(right, file.explanations.items(), strict=False):
            title = f"for {name}: output {part.output:.2f}"
            if not np.isnan(part.base):
                sums = "(output − expected)"
                title = f"what speaks for {name}:\n{part.base:.2f} → {part.output:.2f}"
            if _explains(file, part):
                image = draw_overlay(axes, file, density(part), limit, mel_frequencies_hz)
            else:
                title += ": too little"
                _grey(axes, file, np.atleast_2d(mel_frequencies_hz))
                hatch = {"fill": False, "hatch": "///", "ec": "0.5", "lw": 0}
                axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, **hatch))
            _entitle(axes, (titles or {}).get(name, title), 1 + most)
        last = file is files[-1]
        for axes in line:
            _edge(axes, axes is left, last, last or not same)
    if image:
        _scale(figure, image, sums, grid)
    return figure


def _explains(file: "ExplainedFile", part: "Explanation") -> bool:
    """Whether the output is far enough from the expected one, or is no probability."""
    return file.predicted not in file.explanations or not abs(part.output - part.base) < LEAST


def _small_multiples(
    table: pd.DataFrame, ends: tuple[str, str], positions: np.ndarray | None = None
) -> tuple[Figure, np.ndarray]:
    """Steps of every class and the mean of all: the figure and its axes, one a class."""
    # The steps' edges are the table's, or drawn at ``positions``.
    names = list(table["class"].unique())
    columns = 2 if len(names) in (2, 4) else min(3, len(names))
    lines = -(-len(names) // columns)
    shared = {"sharex": True, "sharey": True, "squeeze": False}
    figure, grid = panels(0.9 + 1.45 * lines, lines, columns, **shared)
    total = table.groupby("class")["mean_abs"].transform("sum").replace(0, 1) / 100
    table = table.assign(share=table["mean_abs"] / total, error=table["standard_error"] / total)
    everyone = table.groupby(ends[0])["share"].mean().to_numpy()
    for axes, name in zip(grid.flat, names, strict=False):
        rows = table[table["class"] == name]
        edges = positions if positions is not None else [0.0, *rows[ends[1]]]
        mean, error = rows[["share", "error"]].to_numpy(dtype=float).T
        if np.isfinite(error).all():
            band = {"fill": True, "color": plots.COLOURS[4], "alpha": 0.5}
            band |= {"baseline": mean - error, "label": "± standard error"}
            axes.stairs(mean + error, edges, **band)
        axes.stairs(mean, edges, color=plots.COLOURS[0], lw=1.5, baseline=None, label="class")
        if len(names) > 1:
            other = {"color": "black", "ls": "--", "lw": 0.8, "baseline": None}
            axes.stairs(everyone, edges, label="mean of the classes", **other)
        axes.axhline(100 / len(rows), color="grey", lw=0.8, ls=":", label="even")
        n = int(rows["files"].iloc[0])
        _entitle(axes, f"{name} ({n} file{'s' if n > 1 else ''})", columns, 0.6)
    for i, axes in enumerate(grid.flat):
        axes.tick_params(labelsize=TICKS, labelbottom=i + columns >= len(names))
        if i >= len(names):
            axes.set_axis_off()
    grid[0, 0].set_ylim(bottom=0)
    figure.supylabel("Share of total |SHAP| (%)", fontsize=TEXT)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    where = {"loc": "outside upper right", "ncols": 4, "fontsize": TICKS}
    figure.legend(handles[::-1], labels[::-1], **where)
    return figure, grid.ravel()[: len(names)]


@styled
def frequencies(table: pd.DataFrame, panel: str = "") -> Figure:
    """Draw a `class_table` of bands: shares of the absolute SHAP values, on the Mel axis.

    ``panel`` names the one that it is of.
    """
    first = table[table["class"] == table["class"].iloc[0]]
    edges = np.array([first["low_hz"].iloc[0], *first["high_hz"]], dtype=float)
    last = len(edges) - 1
    figure, grid = _small_multiples(table, FREQUENCY, np.arange(last + 1))
    # The filter bank's ends, which are the round ones, lie a little outside of the picture. Where
    # the axis is short, texts at its linear end would overlap.
    ticks = [tick for tick in zip(*hz_ticks(edges), strict=True) if -0.3 < tick[0] < last + 0.3]
    places, texts = readable(ticks, 0.12 * last * (len(grid) > 1))
    grid[0].set_xticks(np.clip(places, 0, last), texts)
    grid[0].set_xlim(0, last)
    figure.supxlabel(f"Frequency (Hz, Mel scale){panel and f', {panel}'}", fontsize=TEXT)
    return figure


@styled
def times(table: pd.DataFrame) -> Figure:
    """Draw a `class_table` of times: shares of the absolute SHAP values over a clip."""
    figure, grid = _small_multiples(table, TIME)
    grid[0].set_xlim(0, 1)
    grid[0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    figure.supxlabel("Relative time in the clip (0: its start, 1: its end)", fontsize=TEXT)
    return figure


@styled
def curves(table: pd.DataFrame) -> Figure:
    """Draw a `curve_table`: the score over the share of the picture that is removed, or shown.

    A faithful method's deletion falls early, its insertion rises early; random orders are grey.
    Bands are 95 % over the pictures.
    """
    figure, row = panels(2.9, 1, 2, sharey=True)
    names = [name for name in table["method"].unique() if name != "random"]
    n = int(table["pictures"].iloc[0])
    for axes, (curve, verb) in zip(
        row, (("deletion", "removed"), ("insertion", "shown")), strict=True
    ):
        lines = table[table["curve"] == curve].sort_values("share").groupby("method")
        for i, name in enumerate([*names, "random"]):
            style = {"color": "grey", "ls": "--", "lw": 1.2}
            if name != "random":
                style = {"color": plots.COLOURS[i % 6], "ls": LINES[i % 6], "ms": 3.5}
                style |= {"marker": MARKERS[i % 6], "markevery": (i, len(names) + 1)}
            line = lines.get_group(name)
            axes.plot(line["share"], line["score"], label=name, **style)
            band = {"color": style["color"], "alpha": 0.1, "lw": 0}
            axes.fill_between(line["share"], line["low"], line["high"], **band)
        title = f"{curve.capitalize()}, {n} chunk{'s' if n > 1 else ''}"
        axes.set(xlabel=f"Share of the picture {verb}", xlim=(0, 1), title=title)
        axes.grid(alpha=0.3)
    row[0].set(ylabel="Mean output for the class")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure

"""The figures of the report, from finished runs alone: no model, no audio, no training.

A series is told by its mark, dash or hatch and not by its colour alone, so that every figure can be
read in grey. Scores and gains come in per cent, as the paper prints them; only the devel scores of
`plot_curves` are fractions, as a run's history holds them.
"""

import base64
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dslite import cards
from dslite.deployment import profile
from dslite.evaluation import confusion as evaluation_confusion
from dslite.paper import comparisons, costs, published, reproduction
from dslite.paper.comparisons import PRINTED, network
from dslite.paper.published import NAMES
from dslite.paper.reproduction import TITLES
from dslite.paper.tables import environment
from dslite.plots import COLOURS, METRICS, panels, styled, whole_ticks
from dslite.training import runs as training_runs
from dslite.training.runs import BASELINES, LABELS

LEGEND = 45  # letters of a line
EXPLAINED = ("explanation/shap_confident.svg", "explanation/shap_confident.png")  # Figure 2
POOLINGS = {"global": "mean over the picture", "time": "mean over time"}
PAPER = "paper"  # what the name of a published source begins with
MARKERS = "os^vPX"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
HATCHES = (
    "",
    "////",
    "xxxx",
    "....",
    "\\\\\\\\",
    "----",
    "++++",
    "oooo",
    "**",
)  # of a verdict each
FILLS = (COLOURS[2], COLOURS[4], COLOURS[5], "#EEEEEE", "#CCCCCC", COLOURS[1], COLOURS[3])
FILLS += ("white", "#F0E442")
LINE_IN, APART = 0.155, 0.5  # height of a mark's line; what lies between two groups, in lines
VALUE_POINTS = 7
WHITE_EDGE = [withStroke(linewidth=2, foreground="white")]  # lines pass behind a text


@dataclass(frozen=True)
class PaperFigure:
    """A figure (a string: the text of an SVG) and its texts; ``stem`` names its files."""

    stem: str
    title: str
    caption: str
    alt: str
    figure: Figure | str


def datasets(runs: pd.DataFrame) -> Sequence[str]:
    """Return the paper's corpora that there are runs of, in the order of its tables."""
    order = dict.fromkeys(published.scores()["dataset"])
    return [name for name in order if name in set(runs["dataset"])]


def figures(
    runs: pd.DataFrame, numbers: pd.DataFrame, substitutes: pd.DataFrame, answers: pd.DataFrame
) -> list[PaperFigure]:
    """Draw every figure that the results at hand allow, the paper's first.

    Parameters
    ----------
    runs : DataFrame
        Of `dslite.training.runs.all_runs`.
    numbers, substitutes : DataFrame
        Of `dslite.paper.reproduction`.
    answers : DataFrame
        Of `dslite.paper.comparisons.answers`.
    """
    drawn = [figure for dataset in datasets(runs) for figure in _of_corpus(runs, dataset)]
    results = numbers[numbers["verdict"] != published.SETTING]
    unrun = numbers.assign(reproduced=np.nan)
    return [
        *drawn,
        _figure("forest", forest(numbers, substitutes)),
        _figure("published", forest(unrun, substitutes.iloc[:0])),
        _figure("gains", gains(numbers, answers)),
        _figure("verdicts", plot_verdicts(reproduction.summary(results))),
    ]


def _figure(stem: str, figure: Figure | str, dataset: str = "", **facts: Any) -> PaperFigure:
    """A figure with its texts of ``figures.yaml``, the facts filled in."""
    text = resources.files("dslite.paper").joinpath("figures.yaml").read_text("utf-8")
    facts |= {"corpus": NAMES.get(dataset)}
    texts = {key: value.format(**facts) for key, value in yaml.safe_load(text)[stem].items()}
    return PaperFigure(f"{stem}-{dataset}" if dataset else stem, figure=figure, **texts)


def _of_corpus(runs: pd.DataFrame, dataset: str) -> Iterator[PaperFigure]:
    """Figures 1 to 3, the learning curves and the trade-offs of one corpus."""
    if pipeline := pipeline_facts(dataset):
        svg = environment().get_template("figure1.svg.j2").render(pipeline)
        yield _figure("figure1", svg, dataset, **pipeline)
    runs = runs[runs["dataset"] == dataset]
    for run in runs.sort_values("devel", ascending=False).to_dict("records"):
        files = [Path(run["folder"]) / name for name in EXPLAINED]
        if file := next((file for file in files if file.is_file()), None):
            svg = file.read_text(encoding="utf-8") if file.suffix == ".svg" else _framed(file)
            yield _figure("figure2", svg, dataset, run=f"{dataset}/{run['run']}")
            break
    run = best(runs)
    if run and (confusion := _confusion(run)):
        yield _figure("figure3", confusion, dataset, run=f"{dataset}/{run['run']}")
    history = histories(runs[runs["metric"] == "uar"])
    if len(history) and history["devel_score"].notna().any():
        chance = 1 / len(cards.load(dataset).classes)
        yield _figure("curves", plot_curves(history, chance), dataset)
    if pareto := _pareto(dataset):
        yield _figure("pareto", pareto, dataset)


def forest(numbers: pd.DataFrame, substitutes: pd.DataFrame) -> Figure:
    """Draw test UAR with intervals: corpora that we have runs of, or all published ones."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    others = substitutes[substitutes["column"] == "test"]
    tested = set(others["dataset"]) | set(printed.loc[printed["reproduced"].notna(), "dataset"])
    if tested:
        printed = printed[printed["dataset"].isin(tested)]
    rows = []
    bounds = ("reproduced", "reproduced_ci_low", "reproduced_ci_high")
    columns = ["source", "seeds", "score", "low", "high"]
    for row in printed.to_dict("records"):
        scores = [(PRINTED, 0, row["value"], row["low"], row["high"])]
        scores.append(("ours: DenseNet121", 1, *(row[key] for key in bounds)))
        for one in others[others["key"] == row["key"]].to_dict("records"):
            source = textwrap.fill(one["label"], LEGEND)  # settings of one's own make it long
            scores.append((source, one["seeds"], *(one[key] for key in bounds)))
        shared = {"dataset": NAMES[row["dataset"]], "configuration": LABELS[row["configuration"]]}
        rows += [shared | dict(zip(columns, score, strict=True)) for score in scores]
    classes = {name: len(cards.load(name).classes) for name in printed["dataset"].unique()}
    return plot_forest(pd.DataFrame(rows), {NAMES[name]: 100 / n for name, n in classes.items()})


def gains(numbers: pd.DataFrame, answers: pd.DataFrame) -> Figure:
    """Draw what each augmentation adds: the published differences, ours with their intervals."""
    printed = numbers[(numbers["column"] == "test") & numbers["table"].isin((3, 4))]
    wide = printed.pivot(index="dataset", columns="configuration", values="value")
    rows = []
    for dataset in printed["dataset"].unique():
        for method in ("cutmix", "specaugment", "cutmix+specaugment"):
            shared = {"dataset": NAMES[dataset], "method": LABELS[method]}
            gain = wide.loc[dataset, method] - wide.loc[dataset, "none"]
            rows.append(shared | {"source": PRINTED, "gain": gain, "low": np.nan, "high": np.nan})
    for row in answers[answers["question"] == comparisons.AUGMENTATION].to_dict("records"):
        shared = {"dataset": NAMES[row["dataset"]], "method": LABELS[row["this"]]}
        protocol = "" if row["protocol"] == comparisons.PARTITION else f", {row['protocol']}"
        values = {"gain": row["difference"], "low": row["low"], "high": row["high"]}
        rows.append(shared | {"source": network(row) + protocol} | values)
    return plot_gains(pd.DataFrame(rows))


def _framed(file: Path) -> str:
    """A picture of a record, in an SVG."""
    height, width, *_ = image.imread(file).shape
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    )


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Read the histories of networks, as `plot_curves` draws them.

    Those that start from random weights, or with settings of their own, are left out.
    """
    networks = runs[~runs["configuration"].isin(BASELINES) & ~runs["overridden"]]
    networks = networks[~networks["random_weights"]]
    order = networks["configuration"].map(list(LABELS).index)
    parts = []
    for run in networks.loc[order.sort_values(kind="stable").index].to_dict("records"):
        history = training_runs.load(run["folder"]).history
        if history is not None:
            shared = {"source": network(run), "seed": run["seed"]}
            shared["configuration"] = LABELS[run["configuration"]]
            parts.append(history.assign(**shared))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def best(runs: pd.DataFrame) -> dict[str, Any] | None:
    """Choose the pre-trained network that is best on devel; of equals the first."""
    networks = runs[~runs["random_weights"] & ~runs["configuration"].isin(BASELINES)]
    networks = networks[networks["test"].notna()]
    if networks["devel"].isna().all():
        return None
    chosen = training_runs.best_on_devel([training_runs.load(f) for f in networks["folder"]])
    return networks[networks["folder"] == str(chosen.folder)].iloc[0].to_dict()


def _confusion(row: Mapping[str, Any]) -> Figure | None:
    """Figure 3 of one run, its test files; None where the test labels are blinded."""
    run = training_runs.load(row["folder"])
    scores = {"test": run.metrics["test"]}
    drawn = evaluation_confusion.figures(scores, run.predictions, run.classes)
    return drawn.get("confusion_test")


def _profiles(dataset: str) -> dict[str, dict[str, Any]]:
    """Profiles of a corpus's networks with pre-trained weights: name -> content and record."""
    return {
        name: content | {"record": run.record}
        for name, (run, content) in costs.profiles().items()
        if content["dataset"] == dataset and not content["random_weights"]
    }


def _pareto(dataset: str) -> Figure | None:
    """Score against time against size of a corpus's profiled runs."""
    tables = [profile.profile_table(content) for content in _profiles(dataset).values()]
    return profile.pareto_figure(pd.concat(tables, ignore_index=True)) if tables else None


def pipeline_facts(dataset: str) -> dict[str, Any] | None:
    """Read what Figure 1 shows, of a corpus's profiled network that is best on devel.

    Returns
    -------
    dict or None
        What ``figure1.svg.j2`` fills in; None where no profile of a pre-trained network says its
        shapes.
    """
    profiles = [(c.get("devel", {}).get("float32") or 0, name, c)
                for name, c in _profiles(dataset).items() if "shapes" in c]  # fmt: skip
    if not profiles:
        return None
    *_, content = max(profiles, key=lambda one: one[:2])
    record = content["record"]
    threads = content["threads"][0]
    rows = [row for row in content["rows"] if row["threads"] == threads]
    lite = {row["part"]: row for row in rows if row["variant"] == "float32"}
    sizes = {row["variant"]: row.get("size_bytes") for row in rows if row["part"] == "model"}
    for row in content["rows"]:
        if (row["part"], row["variant"]) == costs.STAGES["tf_model"]:
            sizes.setdefault("Keras", row.get("size_bytes"))
    return {
        "name": f"{dataset}/{content['run']}",
        "backbone": TITLES.get(content["backbone"], content["backbone"]),
        "pooling": POOLINGS[record["settings"]["pooling"]],
        "ms": {part: row["ms_median"] for part, row in lite.items()},
        "sizes": {name: _size(count) for name, count in sizes.items() if count is not None},
        "peak_mb": lite.get("model", {}).get("peak_mb"),
        **{"settings": record["settings"], "classes": record["classes"], "threads": threads},
        **{key: content[key] for key in ("shapes", "layers", "hardware")},
    }


def _size(count: float) -> str:
    """Bytes as a text, in powers of 1000."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"


# Drawing


def _paper_first(sources: Sequence[str]) -> list[str]:
    """Every source once, the published ones first, else in their order."""
    return sorted(dict.fromkeys(sources), key=lambda name: not name.startswith(PAPER))


def _marks(sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each source is drawn: the paper black and open, everybody else filled and coloured."""
    names = _paper_first(sources)
    others = [name for name in names if not name.startswith(PAPER)]
    paper = {"marker": "D", "color": "black", "mfc": "white", "ms": 5}
    marks = dict.fromkeys(names, paper)
    for i, name in enumerate(others):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        marks[name] = {"marker": marker, "color": colour, "ms": 5.5}
    return marks


def _slots(pairs: pd.DataFrame) -> tuple[dict, dict[str, float], float]:
    """Give every pair of group and source a line, the lines of a group next to each other.

    Returns the places of the pairs, of the groups' middles, and where the last line ends.
    """
    places, middles, place = {}, {}, 0.0
    group, source = pairs.columns
    for name, of in pairs.groupby(group, sort=False):
        lines = _paper_first(of[source])
        middles[name] = place + (len(lines) - 1) / 2
        places |= {(name, line): place + i for i, line in enumerate(lines)}
        place += len(lines) + APART
    return places, middles, place - APART


def _draw_lines(axes: Axes, rows: pd.DataFrame, group: str, slots: tuple, styles: Mapping) -> None:
    """Draw marks at ``value`` with their intervals, and their ``text`` at the right of each."""
    places, middles, end = slots
    for row in rows.to_dict("records"):
        place, style, value = places[row[group], row["source"]], styles[row["source"]], row["value"]
        axes.hlines(place, row["low"], row["high"], color=style["color"], lw=1.4)
        axes.plot(value, place, ls="", mew=1.1, zorder=3, **style)
        right = np.nanmax([value, row["high"]])
        text = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        text |= {"fontsize": VALUE_POINTS, "path_effects": WHITE_EDGE}
        axes.annotate(row["text"], (right, place), **text)
    axes.set_yticks(list(middles.values()), list(middles))
    axes.tick_params(axis="y", length=0)
    tops = sorted(min(p for (name, _), p in places.items() if name == each) for each in middles)
    axes.hlines(np.array(tops[1:]) - (1 + APART) / 2, 0, 1, color="#DDDDDD", lw=0.6,
                transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_ylim(end - 0.4, -0.7)
    axes.grid(axis="x", alpha=0.3)


def _text_inches(text: str, points: float) -> float:
    """Width of a text."""
    width, *_ = text_to_path.get_text_width_height_descent(text, FontProperties(size=points), False)
    return width / 72


def _widen(axes: Axes, rows: pd.DataFrame, others: Sequence[float], width_in: float) -> None:
    """Set horizontal limits within which every mark, interval and text lies.

    ``rows`` have value, low, high and text; ``width_in`` is the axes' least width in inches.
    """
    ends = np.append(rows[["value", "low", "high"]].to_numpy(dtype=float), others)
    low, high = np.nanmin(ends), np.nanmax(ends)
    low -= 0.04 * max(high - low, 1)
    high += 0.02 * max(high - low, 1)
    for right, text in zip(rows[["value", "high"]].max(axis=1), rows["text"], strict=True):
        share = min(0.7, (_text_inches(text, VALUE_POINTS) + 0.12) / width_in)
        high = max(high, low + (right - low) / (1 - share))
    axes.set_xlim(low, high)


def _legend(figure: Figure, handles: list, labels: list[str], where: str = "right") -> None:
    """Draw a legend above the axes in as many columns as the figure is wide enough for."""
    widest = max(_text_inches(label, 8) for label in labels)
    columns = int((figure.get_figwidth() - 0.2) // (widest + 0.7))
    figure.legend(handles, labels, loc=f"outside upper {where}", fontsize=8, handlelength=3.4,
                  ncols=min(max(1, columns), len(handles)))  # fmt: skip


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


@styled
def plot_forest(table: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """Draw the UAR of every configuration with its interval, ours below the published one.

    Parameters
    ----------
    table : DataFrame
        ``dataset`` (a panel each), ``configuration`` (a group of lines), ``source`` (a mark; a
        published one begins with "paper" and is a black, open diamond), ``score``, ``low``,
        ``high`` (per cent; an interval may be NaN, a row without a score is left out) and
        ``seeds`` (int; 0: published). A row with fewer seeds than its source has elsewhere says so.
    chance : mapping of dataset -> float
        Score of guessing in per cent.
    """
    table = table[table["score"].notna()]
    most, styles = table.groupby("source")["seeds"].max(), _marks(table["source"])
    texts = [
        f"{row.score:.1f}" + (f" ({_seeds(row.seeds)})" if row.seeds < most[row.source] else "")
        for row in table.itertuples()
    ]
    table = table.assign(value=table["score"], text=texts)
    blocks = [(name, of, _slots(of[["configuration", "source"]])) for name, of in
              table.groupby("dataset", sort=False)]  # fmt: skip
    lines = [end + 0.3 for _, _, (_, _, end) in blocks]
    height = 0.75 + LINE_IN * sum(lines) + 0.3 * len(blocks) + 0.06 * len(styles)
    figure, column = panels(height, len(blocks), squeeze=False, sharex=True, height_ratios=lines)
    for axes, (name, rows, slots) in zip(column[:, 0], blocks, strict=True):
        guessing = axes.axvline(chance[name], color="grey", ls="--", lw=1)
        _draw_lines(axes, rows, "configuration", slots, styles)
        axes.set_title(f"{name} (chance: {chance[name]:.1f} %)")
    _widen(column[0, 0], table, [chance[name] for name, *_ in blocks], 5.2)
    column[-1, 0].set_xlabel("Test UAR (%); line: 95 % interval")
    labels = [f"{of} ({_seeds(most[of])})" if most[of] else of for of in styles]
    handles = [Line2D([], [], ls="", mew=1.1, **style) for style in styles.values()]
    _legend(figure, [*handles, guessing], [*labels, "chance"])
    return figure


@styled
def plot_gains(table: pd.DataFrame) -> Figure:
    """Draw what each augmentation adds to the test UAR of "no augmentation", a group per corpus.

    Parameters
    ----------
    table : DataFrame
        ``dataset`` (its title), ``method`` (a panel each), ``source`` (a mark, see `plot_forest`),
        ``gain``, ``low``, ``high``: percentage points above the same source without augmentation;
        the interval is NaN for published gains, of which the paper prints none.
    """
    table = table[table["gain"].notna()]
    texts = [f"{gain:+.1f}".replace("-", "−") for gain in table["gain"]]
    table, styles = table.assign(value=table["gain"], text=texts), _marks(table["source"])
    slots = _slots(table[["dataset", "source"]].drop_duplicates())
    methods = list(table["method"].unique())
    height = 1.0 + LINE_IN * slots[2] + 0.06 * len(styles)
    figure, row = panels(height, 1, len(methods), sharex=True, sharey=True, squeeze=False)
    for axes, method in zip(row[0], methods, strict=True):
        axes.axvline(0, color="black", lw=0.8)
        _draw_lines(axes, table[table["method"] == method], "dataset", slots, styles)
        axes.set_title(method)
    _widen(row[0, 0], table, [0], 5.6 / len(methods))
    figure.supxlabel("Gain in test UAR (percentage points); line: 95 % interval", fontsize=9)
    handles = [Line2D([], [], ls="", mew=1.1, **style) for style in styles.values()]
    _legend(figure, handles, list(styles))
    return figure


@styled
def plot_curves(history: pd.DataFrame, chance: float) -> Figure:
    """Draw learning curves of several runs: thin lines the seeds, thick lines their mean.

    Parameters
    ----------
    history : DataFrame
        ``source`` (a row of panels each), ``configuration`` (dash, marks and colour),
        ``seed``, ``epoch`` (counted through), ``phase`` (1, 2), ``train_loss``, ``devel_loss``,
        ``devel_score`` (UAR, a fraction). Epochs that were not scored on devel, those of the last
        training on train and devel together, are left out.
    chance : float
        UAR of guessing, a fraction.

    Returns
    -------
    Figure
        Both losses at the left, on one logarithmic axis a row (a new head's first loss is a hundred
        times its last one), and the devel UAR at the right, on the same axis in all rows.
    """
    label, factor, _ = METRICS["uar"]
    history = history[history["devel_score"].notna()]
    history = history.assign(devel_score=factor * history["devel_score"])
    sources, names = (list(history[of].unique()) for of in ("source", "configuration"))
    figure, grid = panels(0.7 + 1.55 * len(sources), len(sources), 3, squeeze=False)
    handles: dict[str, Line2D] = {}
    titles = {
        "train_loss": "Train loss",
        "devel_loss": "Devel loss",
        "devel_score": f"Devel {label}",
    }
    for row, source in zip(grid, sources, strict=True):
        runs = history[history["source"] == source]
        for axes, (column, title) in zip(row, titles.items(), strict=True):
            handles |= _draw_curves(axes, runs, column, names)
            axes.set_ylabel(title)
            axes.xaxis.set_major_locator(whole_ticks())
        _logarithmic(row[:2])
        handles["chance"] = row[2].axhline(factor * chance, color="grey", ls="--", lw=1)
        row[0].set_title(source)
        row[2].sharey(grid[0, 2])
    for axes in grid[-1]:
        axes.set_xlabel("Epoch")
    order = [*names, "one seed", "phase 2 begins", "chance"]
    order = [name for name in order if name in handles]
    _legend(figure, [handles[name] for name in order], order)
    return figure


def _draw_curves(
    axes: Axes, runs: pd.DataFrame, column: str, names: list[str]
) -> dict[str, Line2D]:
    """Draw one column of every configuration's history; gives lines by their labels."""
    handles = {}
    for name, of in runs[runs[column].notna()].groupby("configuration", sort=False):
        i = names.index(name)
        look = {"color": COLOURS[i % len(COLOURS)], "ls": LINES[i % len(LINES)]}
        seeds = of.pivot(index="epoch", columns="seed", values=column)
        if seeds.shape[1] > 1:
            thin = axes.plot(seeds, color=look["color"], lw=0.5, alpha=0.6)
            handles["one seed"] = Line2D([], [], color="grey", lw=thin[0].get_linewidth())
        # The mean at the epochs that all seeds have: beyond, it would jump where one ends.
        mean = seeds.dropna().mean(axis=1)
        # Each line's marks lie at epochs of their own, lest lines on each other hide them.
        step = max(1, len(mean) // 3)
        marks = {"marker": MARKERS[i % len(MARKERS)], "ms": 4.5}
        marks["markevery"] = (i * step // len(names), step)
        handles[name] = axes.plot(mean, lw=1.5, **look, **marks)[0]
    # Of runs that stopped at different epochs, each begins its second phase at its own.
    second = runs[runs["phase"] == 2].groupby(["configuration", "seed"])["epoch"].min()
    for epoch in second.unique():
        handles["phase 2 begins"] = axes.axvline(epoch - 0.5, color="grey", lw=1, ls=":")
    return handles


def _logarithmic(pair: Sequence[Axes]) -> None:
    """Give two axes one logarithmic scale, with plain numbers."""
    ends = [end for axes in pair for end in axes.dataLim.intervaly if np.isfinite(end)]
    decades = np.log10(max(ends) / min(ends))
    for axes in pair:
        axes.set(yscale="log", ylim=(min(ends) / 1.15, 1.15 * max(ends)))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


@styled
def plot_verdicts(summary: pd.DataFrame) -> Figure:
    """Draw the verdicts on the numbers of every table: a bar each, its counts written in.

    Parameters
    ----------
    summary : DataFrame
        Counts: rows verdicts, columns numbers of tables. Bars show shares, since tables are of very
        different sizes.
    """
    counts = summary.T
    shares = 100 * counts.div(counts.sum(axis=1), axis=0)
    shares.index = [f"Table {n} (n = {total})" for n, total in counts.sum(axis=1).items()]
    figure, axes = panels(0.9 + 0.2 * -(-counts.shape[1] // 3) + 0.42 * len(counts))
    style = {"color": FILLS, "edgecolor": "black", "linewidth": 0.5}
    shares.plot.barh(stacked=True, ax=axes, legend=False, **style)
    for bars, hatch, (_, column) in zip(axes.containers, HATCHES, counts.items(), strict=False):
        for bar in bars:
            bar.set_hatch(hatch)
        texts = [str(count) if count else "" for count in column]
        ground = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.1"}
        for text in axes.bar_label(bars, texts, label_type="center", fontsize=8):
            text.set_bbox(ground if text.get_text() else None)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="Share of a table's numbers (%)", xlim=(0, 100))
    _legend(figure, axes.containers, list(counts), "left")
    return figure

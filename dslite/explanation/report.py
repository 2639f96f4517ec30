"""Figures, tables and sounds that explain a run, under fixed names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from matplotlib.figure import Figure

from dslite import audio, paths, provenance
from dslite import plots as dslite_plots
from dslite.evaluation import confusion
from dslite.explanation import attributions, faithfulness, files, methods, plots
from dslite.explanation.files import ExplainedFile
from dslite.explanation.methods import ExplainedModel
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.settings import Settings
from dslite.training import runs

PARTITION = "test"  # that is explained
TIME_BINS, BANDS = 10, 8  # of a summary: what the regions of so many evaluations tell apart
SUMMARY_EVALUATIONS = 100
ROWS = 6  # of a figure: as many as an A4 page holds; of pictures of two panels 4
# What lies in the panel of absolute level, from where on the report says what that may mean
LEVEL_SHARE = 0.6
LEVEL_WARNING = (
    "how loud a class was recorded (distance, gain, room) may be part of what is recognised; test "
    "it on recordings made otherwise"
)
DPI = 300
SVG_DPI = 110  # of the pictures in it, near their own resolution
# Rule of `dslite.explanation.files` -> part of a figure's name; a file that a user names has none.
NAMES = {files.CONFIDENT: "confident", files.MEDIAN: "median", files.WRONG: "wrong", "": "files"}
NAMES |= zip(files.BLINDED, ("confident", "median"), strict=True)
NAMES |= zip(files.REGRESSION, ("highest", "middle", "error"), strict=True)


@dataclass(frozen=True)
class Report:
    """Figures and tables by file name, without suffix."""

    figures: dict[str, Figure]
    tables: dict[str, pd.DataFrame]


def of_files(explained: Sequence[ExplainedFile], settings: Settings) -> Report:
    """Report explained files: overlays of each rule, up to six in a figure, and a table.

    It has a row for each explained class, with the sounds that `save_sounds` writes of the first.
    """
    figures, hz = {}, spectrogram.panel_frequencies(settings)
    page = ROWS if settings.panels == 1 else max(1, ROWS * 2 // 3)
    for rule in dict.fromkeys(file.rule for file in explained):
        same = [file for file in explained if file.rule == rule]
        for start in range(0, len(same), page):
            name = f"shap_{NAMES[rule]}" + (f"_{start // page + 1}" if start else "")
            figures[name] = plots.overlays(same[start : start + page], hz)
    rows = []
    for number, file in enumerate(explained, 1):
        for i, (name, part) in enumerate(file.explanations.items()):
            row = {"file": file.name, "rule": file.rule, "true": file.true}
            row |= {"predicted": file.predicted, "explained": name, "expected": part.base}
            row |= {"output": part.output, "additivity_error": part.additivity_error}
            if settings.panels > 1:
                row["level_share"] = attributions.level_share(part.values)
            for sound in ("kept", "removed"):
                row[sound] = "" if i else f"{_stem(number, file)}-{sound}.wav"
            rows.append(row)
    return Report(figures, {"samples": pd.DataFrame(rows)})


def _stem(number: int, file: ExplainedFile) -> str:
    """Of the names of a file's sounds; files of the same name in two folders differ by number."""
    return f"{number:02d}-{Path(file.name).stem}"


def of_methods(
    run: runs.Run,
    store: Store,
    model: ExplainedModel,
    file: ExplainedFile,
    method: str = "partition",
    gains: pd.DataFrame | None = None,
    **options: Any,
) -> Report:
    """Report one file under every method; ``method``, with these options, has explained it.

    ``gains``: the table "scrutiny" of `of_faithfulness`, whose gains stand in the titles.
    """
    chosen, parts = pd.DataFrame([{"file": file.name, "rule": file.rule, "true": file.true}]), {}
    for name, title in methods.TITLES.items():
        of = file
        if name != method:
            of, *_ = files.explain_files(run, store, model, chosen, method=name, **options)
        # Of the predicted class; without a base, all are drawn in shares of their sizes' sum.
        parts[title] = replace(next(iter(of.explanations.values())), base=np.nan)
    titles = dict(zip(parts, parts, strict=True))
    for row in () if gains is None else gains.itertuples():
        text = f"deletion {row.deletion_gain:+.2f}\ninsertion {row.insertion_gain:+.2f}"
        titles[row.method] = f"{row.method}\n" + text.replace("-", "−")
    hz = spectrogram.panel_frequencies(run.settings)
    figure = plots.overlays([replace(file, explanations=parts)], hz, titles)
    return Report({"methods": figure}, {})


def of_partition(
    run: runs.Run,
    store: Store,
    model: ExplainedModel,
    *,
    count: int = 0,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Report:
    """Report the mean |SHAP| of the test files by frequency and by relative time, per class.

    Each file is explained for its true class (for the predicted one where labels are blinded) by
    SHAP's Partition explainer, without what is padded behind a short file. ``count`` files are
    drawn with ``seed``, of each class the same number; 0: all. Of pictures of two panels also which
    share of it lies in that of absolute level, and the heads that training chose from.
    """
    settings = run.settings
    table = run.predictions.query("partition == @PARTITION")
    # Of blinded labels the prediction takes the place.
    labels = table["label"].where(table["label"] != "", table["prediction"]).to_numpy()
    labels = labels if run.classes else np.full(len(table), "prediction")
    names = table["file"].to_numpy()
    if count:
        drawn = files.draw_balanced(labels, count, np.random.default_rng(seed))
        names, labels = names[drawn], labels[drawn]
    classes, rows = run.classes or ("prediction",), store.files["path"].tolist()
    by_frequency, by_time, shares = [], [], []
    evaluations = SUMMARY_EVALUATIONS * settings.panels
    for number, (name, label) in enumerate(zip(names, labels, strict=True), 1):
        chunks = np.flatnonzero(store.file == rows.index(name))
        how = ([classes.index(label)], evaluations, seed)
        pictures = model.pictures(store.mel[chunks])
        parts = [methods.explain("partition", model, each, *how)[0] for each in pictures]
        spans_s = store.start_s[chunks][:, None] + store.sound_s[chunks]
        values, valid = files.join(parts, spans_s).values, 1.0
        once = attributions.mean_values(np.stack([part.values for part in parts]), spans_s)
        if settings.picture == "chunk":  # what is padded counts for nothing
            clip = audio.clip(store.folder / name, settings)
            valid = min(1.0, len(clip.waveform) / settings.sample_rate / spans_s.max())
        panels = np.split(values, settings.panels)
        by_frequency.append([attributions.by_frequency(panel, BANDS) for panel in panels])
        by_time.append(attributions.by_time(once, TIME_BINS, valid))
        shares.append(attributions.level_share(values))
        if number % 50 == 0:
            log(f"summary: {number} of {len(labels)} files")
    of, report, hz = (labels, classes), Report({}, {}), spectrogram.panel_frequencies(settings)
    for panel, name in enumerate(("frequencies", "frequencies_level")[: settings.panels]):
        bands = [of_panels[panel] for of_panels in by_frequency]
        edges_hz = attributions.band_edges(hz[panel], BANDS)
        table = attributions.class_table(bands, *of, attributions.FREQUENCY, edges_hz)
        title = f"{('relative', 'level')[panel]} panel" if settings.panels > 1 else ""
        report.tables[name], report.figures[name] = table, plots.frequencies(table, title)
    edges = np.linspace(0, 1, TIME_BINS + 1)
    times = attributions.class_table(by_time, *of, attributions.TIME, edges)
    report.tables["times"], report.figures["times"] = times, plots.times(times)
    if settings.panels > 1:
        table = attributions.class_table(np.c_[shares], *of, attributions.TIME, [0, 1])
        table = table.drop(columns=[*attributions.TIME])
        report.tables["panels"] = table.rename(columns={"mean_abs": "level_share"})
        if heads := run.record.get("heads"):
            report.tables["heads"] = pd.DataFrame(heads)
    return report


def of_faithfulness(
    run: runs.Run,
    store: Store,
    model: ExplainedModel,
    *,
    pictures: int = 12,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Report how far each method can be trusted: `dslite.explanation.faithfulness` and its curves.

    ``pictures`` test chunks are drawn with ``seed``, of each class the same number, and explained
    for the class that the network takes them for. ``options``: ``evaluations``, ``log``.
    """
    chosen = files.draw_chunks(run, store, PARTITION, pictures, seed)
    shown = model.pictures(store.mel[chosen])
    outputs = model.outputs(shown).argmax(axis=1).tolist()
    results = faithfulness.assess(model, shown, outputs, seed=seed, **options)
    curves = faithfulness.curve_table(results)
    table = faithfulness.table(results).rename_axis("method").reset_index()
    return Report({"curves": plots.curves(curves)}, {"scrutiny": table, "curves": curves})


def of_confusions(run: runs.Run) -> Report:
    """Report Figure 3, recalls, and the most frequent confusions."""
    predictions = run.predictions
    scores = {part: run.metrics[part] for part in ("devel", "test")}
    figures, tables, recalls = (
        confusion.figures(scores, predictions, run.classes, "/".join(run.folder.parts[-2:])),
        {},
        [],
    )
    for part in scores:
        rows = predictions[predictions["partition"] == part]
        recall = confusion.recall_table(rows, run.classes)
        recalls += [recall.assign(partition=part)] if len(recall) else []
        tables[f"confusions_{part}"] = confusion.confusion_table(rows, run.classes)
    if recalls:
        tables["recalls"] = pd.concat(recalls, ignore_index=True)
    return Report(figures, {name: table for name, table in tables.items() if len(table)})


def merge(*reports: Report) -> Report:
    """Merge several reports into one."""
    merged = Report({}, {})
    for report in reports:
        merged.figures.update(report.figures)
        merged.tables.update(report.tables)
    return merged


def level_lines(report: Report) -> list[str]:
    """Describe which share lies in the panel of absolute level, and what that may mean."""
    if "panels" not in report.tables:
        return []
    panels, heads = report.tables["panels"], report.tables.get("heads")
    share = np.average(panels["level_share"], weights=panels["files"])
    lines = [f"level share: {share:.0%} of the absolute attribution is in the panel of level"]
    chosen = [] if heads is None else heads.loc[heads["chosen"], "head"].tolist()
    if chosen:
        lines[0] += f" (heads: {', '.join(chosen)})"
    if share > LEVEL_SHARE or "level" in chosen:
        lines.append(f"note: {LEVEL_WARNING}")
    return lines


def summary_lines(report: Report) -> list[str]:
    """Describe a report: its largest additivity error, `level_lines`, how faithful methods are."""
    lines = []
    if "samples" in report.tables:
        errors = report.tables["samples"]["additivity_error"]
        if errors.notna().any():
            lines.append(f"largest additivity error of the explained files: {errors.max():.1e}")
    lines += level_lines(report)
    if "scrutiny" in report.tables:
        lines += report.tables["scrutiny"].round(3).to_string(index=False, na_rep="").split("\n")
    return lines


def write(report: Report, explained: Sequence[ExplainedFile], used: Settings, folder: Path) -> None:
    """Write a report and the sounds of its files in the place of an earlier one."""
    with paths.replacing(folder) as draft:
        draft.mkdir()
        save(report, draft)
        save_sounds(explained, used, draft / "sounds")


def save(report: Report, folder: Path) -> None:
    """Write every figure as PNG (300 dpi) and SVG, every table as CSV, into an existing folder."""
    for name, figure in report.figures.items():
        dslite_plots.save(figure, folder / f"{name}.png", DPI)
        dslite_plots.save(figure, folder / f"{name}.svg", SVG_DPI)
    for name, table in report.tables.items():
        # Digits, not decimals: a mean |SHAP| of a pixel is near 1e-6.
        table = provenance.quoted(table)
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def save_sounds(explained: Sequence[ExplainedFile], settings: Settings, folder: Path) -> None:
    """Write as WAV what speaks for the predicted class of each file, and the file without it.

    A peak beyond full scale lowers both alike: their loudness can be compared.
    """
    folder.mkdir(exist_ok=True)
    for number, file in enumerate(explained, 1):
        sounds = files.split_sound(file, settings)
        peak = max(1.0, *(float(np.abs(sound).max(initial=0)) for sound in sounds))
        for name, sound in zip(("kept", "removed"), sounds, strict=True):
            target = folder / f"{_stem(number, file)}-{name}.wav"
            soundfile.write(target, sound / peak, settings.sample_rate, subtype="PCM_16")

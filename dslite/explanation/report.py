"""Everything that explains a run, as figures, tables and sounds under fixed names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dslite import audio
from dslite import plots as dslite_plots
from dslite.evaluation import confusion
from dslite.explanation import attributions, faithfulness, files, listen, methods, plots
from dslite.explanation import files as explanation_files
from dslite.explanation import plots as explanation_plots
from dslite.explanation.faithfulness import Scrutiny
from dslite.explanation.files import Heard
from dslite.explanation.methods import Subject
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.settings import Settings
from dslite.training import runs

TIME_BINS, BANDS = 10, 8  # what the regions of 100 evaluations tell apart


@dataclass(frozen=True)
class Summary:
    """Where the network listens, over a whole partition.

    Attributes
    ----------
    frequencies, times : DataFrame
        See `dslite.explanation.attributions.frequency_table` and `time_table`.
    additivity_error : float
        The largest of all chunks.
    """

    frequencies: pd.DataFrame
    times: pd.DataFrame
    additivity_error: float


def summarise(
    run: runs.Run,
    store: Store,
    subject: Subject,
    *,
    partition: str = "test",
    evaluations: int = 100,
    files: int = 0,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Summary:
    """Mean |SHAP| of a partition's files by frequency and by relative time, per class.

    Each file is explained for its true class (for the predicted one where labels are blinded) by
    SHAP's Partition explainer, its chunks joined on one time axis; what is padded behind a short
    file is left out of its time.

    Parameters
    ----------
    run, store, subject
        Of the same run.
    partition : str
    evaluations : int
        A chunk; the regions of a summary may be larger than those of a picture.
    files : int
        At most so many, drawn with ``seed``, of each class the same number; 0: all.
    log : callable
        Is told every 50 files.
    """
    settings = run.settings
    files_of, labels = _listed(run, partition, files, seed)
    position = dict(zip(store.files["path"], range(len(store.files)), strict=True))
    hz = spectrogram.mel_frequencies(settings)
    names = run.classes or ("prediction",)
    by_frequency, by_time, errors = [], [], []
    for number, (file, label) in enumerate(zip(files_of, labels, strict=True)):
        row = position[file]
        chunks = np.flatnonzero(store.file == row)
        parts = [
            methods.partition(
                subject, picture, [names.index(label)], evaluations=evaluations, seed=seed
            )[0]
            for picture in subject.pictures(store.mel[chunks])
        ]
        errors += [part.additivity_error for part in parts]
        whole = explanation_files.joined(parts, store.start_s[chunks], settings)
        lasts = whole.values.shape[1] * settings.chunk_length_s / settings.image_size
        valid = min(1.0, _duration_s(store, row, chunks, settings) / lasts)
        by_frequency.append(attributions.by_frequency(whole.values, hz, BANDS)[1])
        by_time.append(attributions.by_time(whole.values, valid, TIME_BINS))
        if (number + 1) % 50 == 0:
            log(f"summary: {number + 1} of {len(labels)} files")
    edges = attributions.band_edges(hz, BANDS)
    return Summary(
        attributions.frequency_table(np.array(by_frequency), labels, names, edges),
        attributions.time_table(np.array(by_time), labels, names),
        max(errors),
    )


def _listed(run: runs.Run, partition: str, most: int, seed: int) -> tuple[list[str], list[str]]:
    """Files of a partition and the class that each is explained for."""
    table = run.predictions
    table = table[table["partition"] == partition]
    # Of blinded labels the prediction takes the place.
    labels = table["label"].where(table["label"] != "", table["prediction"]).to_numpy()
    labels = labels if run.classes else np.full(len(table), "prediction")
    files = table["file"].to_numpy()
    if most:
        kept = explanation_files.drawn_files(labels, most, np.random.default_rng(seed))
        files, labels = files[kept], labels[kept]
    return files.tolist(), labels.tolist()


def _duration_s(store: Store, row: int, chunks: np.ndarray, settings: Settings) -> float:
    """How much of a file there is to hear, seconds; without its silent ends where trimmed."""
    if len(chunks) > 1:
        return float(store.start_s[chunks[-1]]) + settings.chunk_length_s
    if settings.trim == "off":
        return float(store.files["duration_s"].iloc[row])
    clip = audio.clip(store.folder / store.files["path"].iloc[row], settings)
    return len(clip.waveform) / settings.sample_rate


def scrutinise(
    run: runs.Run,
    store: Store,
    subject: Subject,
    *,
    pictures: int = 12,
    partition: str = "test",
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Scrutiny:
    """All methods under all tests of `dslite.explanation.faithfulness`, on chunks of a partition.

    The chunks are drawn with ``seed``, of each class the same number; explained is the class that
    the network takes each of them for.
    """
    chunks = store.chunks(partition)
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    labels = labels if run.classes else np.zeros(len(chunks))
    chosen = chunks[explanation_files.drawn_files(labels, pictures, np.random.default_rng(seed))]
    shown = subject.pictures(store.mel[chosen])
    outputs = subject.outputs(shown).argmax(axis=1).tolist()
    return faithfulness.assess(subject, shown, outputs, evaluations=evaluations, seed=seed, log=log)


ROWS = 6  # of a figure: as many as an A4 page holds
DPI = 300
SVG_DPI = 110  # of the pictures in it, near their own resolution
# Rule of `dslite.explanation.files` -> part of a file's name; a file that the user has named has no rule.
NAMES = {
    files.CONFIDENT: "confident",
    files.MEDIAN: "median",
    files.WRONG: "wrong",
    **dict(zip(files.UNKNOWN, ("confident", "median"), strict=True)),
    **dict(zip(files.VALUES, ("highest", "middle", "error"), strict=True)),
    "": "files",
}


@dataclass(frozen=True)
class Exhibits:
    """Figures and tables by file name, without suffix."""

    figures: Mapping[str, Figure]
    tables: Mapping[str, pd.DataFrame]


def of_files(heard: Sequence[Heard], settings: Settings) -> Exhibits:
    """Overlays of explained files, up to six in a figure, and what was explained as a table.

    A rule's files are one figure, ``shap_confident`` and the like; ``…_safe`` is the same in
    colours that the colour-blind tell apart.
    """
    hz = spectrogram.mel_frequencies(settings)
    figures = {}
    for rule in dict.fromkeys(one.rule for one in heard):
        own = [one for one in heard if one.rule == rule]
        for page in range(0, len(own), ROWS):
            rows = files.rows(own[page : page + ROWS])
            name = f"shap_{NAMES[rule]}" + (f"_{page // ROWS + 1}" if page else "")
            figures[name] = explanation_plots.figure(rows, hz)
            figures[f"{name}_safe"] = explanation_plots.figure(rows, hz, "orange-purple")
    return Exhibits(figures, {"samples": table(heard)})


def table(heard: Sequence[Heard]) -> pd.DataFrame:
    """One row an explained class of a file, with the names of its sounds."""
    rows = []
    for number, one in enumerate(heard, 1):
        facts = {"file": one.name, "rule": one.rule, "true": one.true, "predicted": one.predicted}
        for place, (name, part) in enumerate(one.explained.items()):
            kept, removed = (f"{stem(number, one)}-{what}.wav" for what in ("kept", "removed"))
            rows.append(
                facts
                | {"explained": name, "expected": part.base, "output": part.output}
                | {"additivity_error": part.additivity_error}
                # What is heard is what speaks for the predicted class.
                | {"kept": "" if place else kept, "removed": "" if place else removed}
            )
    return pd.DataFrame(rows)


def stem(number: int, heard: Heard) -> str:
    """Of the names of a file's sounds; files of the same name in two folders differ by number."""
    return f"{number:02d}-{Path(heard.name).stem}"


def of_methods(heard: Mapping[str, Heard], settings: Settings) -> Exhibits:
    """One file under several methods: name of the method -> the file explained by it."""
    first = next(iter(heard.values()))
    values = {
        methods.TITLES[method]: one.explained[one.predicted].values
        if one.predicted in one.explained
        else next(iter(one.explained.values())).values
        for method, one in heard.items()
    }
    hz = spectrogram.mel_frequencies(settings)
    given = (first.picture / 255, first.seconds, values, hz, files.title(first))
    figures = {"methods": explanation_plots.methods(*given)}
    figures["methods_safe"] = explanation_plots.methods(*given, "orange-purple")
    return Exhibits(figures, {})


def of_summary(summary: Summary) -> Exhibits:
    """Where a network listens over a partition, by frequency and by time."""
    return Exhibits(
        {
            "frequencies": plots.frequencies(summary.frequencies),
            "times": plots.times(summary.times),
        },
        {"frequencies": summary.frequencies, "times": summary.times},
    )


def of_scrutiny(scrutiny: Scrutiny) -> Exhibits:
    """How far each method can be trusted: the table, and its curves."""
    curves = faithfulness.curve_table(scrutiny)
    judged = faithfulness.table(scrutiny).rename_axis("method").reset_index()
    return Exhibits(
        {"curves": plots.curves(curves)},
        {"scrutiny": judged, "curves": curves},
    )


def of_confusions(run: runs.Run) -> Exhibits:
    """Figure 3, recalls with their intervals, and the most frequent confusions."""
    parts = ("devel", "test")
    scores, predictions = run.metrics, run.predictions
    figures = confusion.figures({part: scores[part] for part in parts}, predictions, run.classes)
    draws, seed = run.settings.bootstrap_draws, run.record["seed"]
    recalls, tables = [], {}
    for part in parts:
        rows = predictions[predictions["partition"] == part]
        recall = confusion.recall_table(rows, run.classes, draws, seed)
        recalls += [recall.assign(partition=part)] if len(recall) else []
        tables[f"confusions_{part}"] = confusion.confusion_table(rows, run.classes)
    if recalls:
        tables["recalls"] = pd.concat(recalls, ignore_index=True)
        figures["recalls"] = confusion.plot_recalls(tables["recalls"])
    return Exhibits(figures, {name: table for name, table in tables.items() if len(table)})


def of_run(
    run: runs.Run,
    store: Store,
    subject: Subject,
    *,
    method: str = "partition",
    evaluations: int = 500,
    pictures: int = 12,
    log: Callable[[str], None] = print,
) -> tuple[Exhibits, list[Heard]]:
    """All of the above: files by rule, all methods on the first, the whole test partition.

    ``pictures`` is how many of it are scrutinised under every method; none for 0. The second value
    are the files, for `save_sounds`.
    """
    given = {"evaluations": evaluations, "log": log}
    chosen = files.by_rule(run)
    heard = files.hear(run, store, subject, chosen, method=method, **given)
    each = {
        name: files.hear(run, store, subject, chosen[:1], method=name, **given)[0]
        for name in methods.METHODS
        if name != method
    }
    each = {name: each.get(name, heard[0]) for name in methods.METHODS}
    parts = [
        of_files(heard, run.settings),
        of_methods(each, run.settings),
        of_summary(summarise(run, store, subject, log=log)),
        of_confusions(run),
    ]
    if pictures:
        scrutiny = scrutinise(run, store, subject, pictures=pictures, **given)
        parts.append(of_scrutiny(scrutiny))
    return together(*parts), heard


def together(*parts: Exhibits) -> Exhibits:
    """Several as one."""
    return Exhibits(
        {name: made for part in parts for name, made in part.figures.items()},
        {name: made for part in parts for name, made in part.tables.items()},
    )


def told(exhibits: Exhibits) -> list[str]:
    """What a command says of them: the largest additivity error, and each method's worth."""
    lines = []
    if "samples" in exhibits.tables:
        errors = exhibits.tables["samples"]["additivity_error"]
        if errors.notna().any():
            lines.append(f"largest additivity error of the explained files: {errors.max():.1e}")
    if "scrutiny" in exhibits.tables:
        lines += exhibits.tables["scrutiny"].round(3).to_string(index=False, na_rep="").split("\n")
    return lines


def save(exhibits: Exhibits, folder: Path) -> None:
    """Every figure as PNG (300 dpi) and SVG, every table as CSV, into an existing folder."""
    for name, figure in exhibits.figures.items():
        dslite_plots.save(figure, folder / f"{name}.png", DPI)
        dslite_plots.save(figure, folder / f"{name}.svg", SVG_DPI)
    for name, found in exhibits.tables.items():
        # Digits, not decimals: a mean |SHAP| of a pixel is near 1e-6.
        found.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def save_sounds(heard: Sequence[Heard], settings: Settings, folder: Path) -> None:
    """What speaks for the predicted class of each file, and the file without it, as WAV."""
    folder.mkdir(exist_ok=True)
    for number, one in enumerate(heard, 1):
        kept, removed = files.split(one, settings)
        listen.write(folder, stem(number, one), kept, removed, settings.sample_rate)

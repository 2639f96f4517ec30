"""Runs: their names and folders, what they hold and cost, and all of them in one table."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.cards import Card, overridden, settings_of
from dslite.datasets.manifest import Manifest, claim_results, digest
from dslite.errors import InputError
from dslite.features import functionals
from dslite.features import store as feature_store
from dslite.settings import Settings
from dslite.training import contents, records

# Of a run, below results/ as in a record
NAME = re.compile(r"(?P<dataset>[^/]+)/(?P<run>[^/]+)(/fold(?P<fold>\d{1,4}))?")
TEXTS = ("file", "speaker", "partition", "label", "prediction")  # of predictions
CANDIDATES = "candidates"  # the folder of those of a corpus
LAST = "run.json"  # written last: a folder without it is not a finished run
NETWORK, SVM, LIBROSA = "deepspectrumlite", "svm", "librosa"  # kinds of run
EARLIER = {"epoch_choice": "best"}  # of a record from before there was the setting
BASELINES = (SVM, LIBROSA)  # kinds without a training
FEATURES = {"network": SVM, "librosa": LIBROSA}  # of a baseline -> its kind
LABELS = {  # configurations: a baseline's kind, a network's augmentation
    SVM: "Deep Spectrum + linear SVM",
    LIBROSA: "librosa statistics + RBF-SVM",  # no published table has it
    "none": "no augmentation",
    "cutmix": "CutMix",
    "specaugment": "SpecAugment",
    "cutmix+specaugment": "CutMix+SpecAugment",
}
# What a run without a backbone depends on; every other kind depends on all settings.
ACOUSTIC = ("sample_rate", "bootstrap_draws")
ACOUSTIC_PACKAGES = ("python", "dslite", "librosa", "numpy", "scikit-learn", "soxr")

# What was spent over all sessions of a run: seconds of time and of processors (of the process and
# of its children that have ended), most memory that a process has held, number of processes
COST = ("wall_s", "cpu_s", "peak_mib", "sessions")
SHORTENED = "fewer epochs"  # stands in ``overrides`` of a run with fewer than its preset
UNKNOWN_SPEAKERS = "speakers unknown: the score may be of voices heard in training"
PERCENT = ["devel", "test", "low", "high", "low_speakers", "high_speakers", "chance"]
RUN_COLUMNS = {
    **{"dataset": str, "run": str, "fold": int, "configuration": str, "backbone": str},
    **{"preset": str, "seed": int, "random_weights": bool, "overridden": bool},
    **dict.fromkeys(PERCENT, float),
    **{"metric": str, "speakers": int, "overrides": str, "weights": str, "folder": str},
    **{"date": str, "commit": str, "hardware": str, "seconds": float},
}


@dataclass(frozen=True)
class Run:
    """A finished run: a folder, or a row of a committed record (`dslite.training.records`)."""

    folder: Path  # of one in a record, where it would lie: ``<record>/<dataset>/<run>``
    record: dict[str, Any]  # content of ``run.json``
    settings: Settings
    home: Path | None = None  # the record's folder

    @property
    def name(self) -> str:
        """``<dataset>/<run>``, and ``/fold<i>`` of a fold: its folder below ``results/``."""
        return self.folder.relative_to(self.home or paths.results()).as_posix()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs; a regression has none."""
        return () if self.task == "regression" else tuple(self.record["classes"])

    @property
    def task(self) -> str:
        """``classification`` or ``regression``."""
        return self.record["task"]

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``."""
        return self.content("metrics") or {}

    @property
    def devel(self) -> float:
        """Score of the devel partition's files; NaN where it is undefined or blinded."""
        score = (self.metrics.get("devel") or {"file": {"score": None}})["file"]["score"]
        return np.nan if score is None else score

    @property
    def predictions(self) -> pd.DataFrame | None:
        """Content of ``predictions.csv``; None in a record whose corpus keeps files private."""
        return self._table("predictions", dtype=dict.fromkeys(TEXTS, str), keep_default_na=False)

    @property
    def history(self) -> pd.DataFrame | None:
        """Content of ``history.csv``: one row an epoch."""
        return self._table("history")

    def content(self, name: str) -> dict[str, Any] | None:
        """Read ``<name>.json``: metrics, profile, agreement or device; None if it has none."""
        file = self.folder / f"{name}.json"
        if self.home:
            values = records.read(self.home)[self.name].get(name)
            return values and contents.check(values, file, "record it again")
        return contents.read(file) if file.is_file() else None

    def model_file(self) -> Path:
        """Return the file of the final model; an InputError for a run that keeps none."""
        file = self.folder / "model.keras"
        if not file.is_file():
            raise InputError(f"{self.folder}: this run has no model.keras (a baseline has none)")
        return file

    def _table(self, name: str, **how: Any) -> pd.DataFrame | None:
        file = self.folder / f"{name}.csv"
        if self.home:
            texts = records.table(self.home, self.name, name)
            csv = StringIO("" if texts is None else texts.to_csv(index=False))
            return None if texts is None else pd.read_csv(csv, **how)
        return provenance.read_csv(file, **how) if file.is_file() else None


def load(path: str | Path) -> Run:
    """Read a finished run; InputError if there is none, or if its record cannot be read.

    The path is its folder, a model file inside it, or ``results/records/<study>/<dataset>/<run>``.
    """
    with paths.reading(path):
        place, home = _find(Path(path).expanduser())
    try:
        record = Run(place, {}, Settings(), home).content("run")
        for key in {"dataset", "seed"} & record.keys():  # of folders
            paths.plain_name(str(record[key]))
        return Run(place, record, Settings(**(EARLIER | record["settings"])), home)
    except (ValueError, KeyError, TypeError) as error:
        if str(error).startswith(paths.shown(place / LAST)):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{place / LAST}: not the record of a run of this version ({reason})"
        ) from None


def _find(path: Path) -> tuple[Path, Path | None]:
    """The folder of a finished run and, of one in a record, the record."""
    place = paths.find(path)
    place = place.parent if place.is_file() else place
    if (place / LAST).is_file():
        return place, None
    for above in path.parents:
        home, name = paths.find(above), path.relative_to(above).as_posix()
        if (home / records.RUNS).is_file() and name in records.read(home):
            return home / name, home
    raise InputError(
        f"{place}: no finished run here ({LAST} is missing); "
        "a model is read together with the run.json beside it"
    )


def look_up(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str,
    kind: str,
    candidate: bool = False,
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> tuple[dict[str, Any], Path, Run | None]:
    """Return what a run would be, where it would lie, and the run, or None if it is to be made."""
    card, fold = manifest.card, manifest.fold
    highest = feature_store.of_corpus(settings, manifest).mel_max_hz
    described = describe(card, settings, seed, preset, digest(manifest), kind, highest)
    # No part of the identity: the partitions that make the fold are in the manifest's digest, and a
    # candidate is the first half of the run, which goes on with it.
    described |= {"skipped": list(manifest.skipped)} if manifest.skipped else {}
    described |= ({"fold": fold} if fold else {}) | ({"candidate": True} if candidate else {})
    place = folder(card, settings, seed, kind, preset, fold, candidate)
    try:
        identity = provenance.read_json(place / LAST)["identity"]
    except InputError:
        identity = ""  # none is finished
    claim_results(manifest)
    if force or identity != described["identity"]:
        return described, place, None
    if log:
        log(f"{paths.shown(place)}: finished before with the same settings, not repeated")
    return described, place, load(place)


def look_up_or_make(make: Callable[[dict[str, Any], Path], Run], *asked: Any) -> Run:
    """Return the run that `look_up` finds, else what ``make`` makes while no other process does.

    ``make`` takes what the run would be and where it would lie.
    """
    described, place, finished = look_up(*asked)
    if finished:
        return finished
    with claimed(place):  # perhaps another process has trained it since
        return look_up(*asked)[2] or make(described, place)


def claimed(place: Path) -> AbstractContextManager[None]:
    """Hold a run while it is trained; InputError where another process trains it.

    A run and its candidate share their checkpoints, and so the lock, which lies beside the runs.
    """
    dataset, *names = place.relative_to(paths.results()).parts
    name = "-".join(name for name in names if name != CANDIDATES)
    return paths.claimed(paths.results(dataset) / name, "trains this run")


def describe(
    card: Card,
    settings: Settings,
    seed: int,
    preset: str,
    manifest_digest: str,
    kind: str,
    highest_hz: float | None = None,
) -> dict[str, Any]:
    """Return everything that can change a run's numbers, and its hash as ``identity``.

    Of the settings of a `LIBROSA` run only `ACOUSTIC` count, an `SVM` has those of `of_baseline`.
    ``highest_hz``: the edge that settings leave to the corpus.
    """
    acoustic, changed = kind == LIBROSA, overridden(card, settings, preset)
    if kind == SVM:
        settings = of_baseline(card, settings, preset)
    if settings.mel_max_hz == "corpus" and highest_hz:
        settings = settings.model_copy(update={"mel_max_hz": highest_hz})
    none = {"name": "", "sha256": None, "random": False}
    weights = none if acoustic else weights_record(settings)
    used = settings.model_dump() | {"weights": weights["name"]}
    versions = provenance.versions()
    if acoustic:
        used = {key: used[key] for key in ACOUSTIC}
        versions = {key: versions[key] for key in ACOUSTIC_PACKAGES if key in versions}
    described = {
        "dataset": card.dataset,
        "kind": kind,
        "seed": seed,
        "settings": used,
        "weights": weights,
        "classes": list(card.classes),
        "task": card.task,
        "manifest": manifest_digest,
        "versions": versions,
        **({"acoustics": functionals.VERSION} if acoustic else {}),
    }
    overrides = {
        key: [Path(weights).name for weights in pair] if key == "weights" else list(pair)
        for key, pair in changed.items()
        if key in used and key != "augmentation"
    }
    named = {"preset": preset or card.default_preset, "overrides": overrides}
    if card.table:  # where it was, and how it was read
        named["table"] = {"path": card.table, "columns": card.columns}
    return described | {"identity": provenance.digest(described)} | named


def of_baseline(card: Card, settings: Settings, preset: str = "") -> Settings:
    """Return the settings of Deep Spectrum features for an SVM: the paper's picture and pooling.

    A preset that has them stays as it is; of another only what was changed of it, the backbone and
    its weights are taken, and ``paper`` for the rest.
    """
    if settings.picture == "chunk":
        return settings
    changed = {key: new for key, (_, new) in overridden(card, settings, preset).items()}
    changed.pop("copies", None)  # which only a network learns from
    network = {"backbone": settings.backbone, "weights": settings.weights}
    return settings_of(card, "paper", changed | network)


def weights_record(settings: Settings) -> dict[str, Any]:
    """Return which weights a run starts from; a file by its content, not by where it lies."""
    file = None if settings.weights in ("imagenet", "random") else settings.weights
    return {
        "name": Path(settings.weights).name,
        "sha256": file and provenance.file_digest(file),
        "random": settings.random_weights,
    }


def folder(
    card: Card,
    settings: Settings,
    seed: int,
    kind: str = NETWORK,
    preset: str = "",
    fold: str = "",
    candidate: bool = False,
) -> Path:
    """Return where a run's files lie: ``<name>``, at its end what was changed of the preset.

    One deeper lie a fold (``<name>-5folds/fold2``) and a candidate (``candidates/<name>``).
    """
    run_name = name(settings, seed, kind, _recipe(card, settings, kind, preset))
    place = paths.results(card.dataset) / (CANDIDATES if candidate else "")
    return place / (f"{run_name}-{fold}" if fold else run_name)


def name(settings: Settings, seed: int, kind: str = NETWORK, variant: str = "") -> str:
    """Return ``<backbone>-<augmentation or svm>-s<seed>``, or ``librosa-svm-s<seed>``."""
    method = settings.augmentation if kind == NETWORK else kind
    configuration = "librosa-svm" if kind == LIBROSA else f"{settings.backbone}-{method}"
    return "-".join(filter(None, (configuration, f"s{seed}", variant)))


def _recipe(card: Card, settings: Settings, kind: str, preset: str) -> str:
    """The preset, if not the default one, and a digest of what was changed: ``[-]x<6 digits>``."""
    # Two runs that differ in anything that was chosen lie apart, and two studies that share a run
    # share its folder. Of the weights it counts whether they are random: a file in the place of
    # ``imagenet`` is how they are had offline.
    changed = overridden(card, settings, preset)
    if kind == LIBROSA:
        changed = {key: pair for key, pair in changed.items() if key in ACOUSTIC}
    was, now = (value == "random" for value in changed.pop("weights", ("", "")))
    # 1 and 1.0 are one setting, whether or not it came by way of a check that makes it a float.
    used = {
        key: value + 0.0 if isinstance(value, int | float) else value
        for key, (_, value) in changed.items()
        if key not in ("backbone", "augmentation")
    } | ({"weights": "random" if now else "pre-trained"} if was != now else {})
    digits = f"x{provenance.digest(used)[:6]}" if used else ""
    return "-".join(filter(None, ("" if preset == card.default_preset else preset, digits)))


class Meter:
    """Count what this process spends from here on; `COST` of ``earlier`` sessions is part of it."""

    def __init__(self, earlier: Mapping[str, float] | None = None):
        self.earlier = earlier or dict.fromkeys(COST, 0)
        self._start = time.perf_counter(), sum(os.times()[:4])

    def read(self) -> dict[str, float]:
        """Return what was spent until now, sessions before included."""
        wall, cpu = time.perf_counter() - self._start[0], sum(os.times()[:4]) - self._start[1]
        peak = max(self.earlier["peak_mib"], provenance.peak_mb() * 1e6 / 2**20)
        spent = {"wall_s": self.earlier["wall_s"] + wall, "cpu_s": self.earlier["cpu_s"] + cpu}
        return spent | {"peak_mib": peak, "sessions": self.earlier["sessions"] + 1}


def load_cost(path: Path) -> dict[str, float] | None:
    """Read what a run has spent; None where there is no such file or it cannot be read."""
    try:
        stored = provenance.read_json(path)
        return {key: stored[key] for key in COST}
    except InputError:
        return None


def write(
    draft: Path,
    described: dict[str, Any],
    metrics: dict[str, dict[str, Any] | None],
    predictions: pd.DataFrame,
    cost: Mapping[str, float],
) -> None:
    """Write what every kind of run leaves into its (temporary) folder, ``run.json`` last."""
    shared = ("dataset", "kind", "preset", "seed", "overrides", "task", "classes")
    summary = {key: described[key] for key in shared} | {
        # Empty, and no augmentation, for a run without a backbone.
        "backbone": described["settings"].get("backbone", ""),
        "augmentation": described["settings"].get("augmentation", "none"),
        "random_weights": described["weights"]["random"],
        "weights": described["weights"]["name"],
    }
    provenance.write_json(draft / "metrics.json", summary | metrics)
    provenance.quoted(predictions).to_csv(draft / "predictions.csv", index=False)
    spent = {"seconds": round(cost["wall_s"], 1), "cost": cost}
    provenance.write_json(draft / LAST, described | provenance.record() | spent)


def best_on_devel(runs: Sequence[Run]) -> Run:
    """Return the first run of the augmentation that is best on devel, in the mean over the seeds.

    Of equals the first; never the run of a lucky seed.
    """
    scores: dict[str, list[float]] = {}
    for run in runs:
        devel = np.nan_to_num(run.devel, nan=-np.inf)
        scores.setdefault(run.settings.augmentation, []).append(devel)
    best = max(scores, key=lambda name: round(float(np.mean(scores[name])), 9))
    return next(run for run in runs if run.settings.augmentation == best)


def cautions(metrics: Mapping[str, Any] | None) -> list[str]:
    """Say what one partition's score leaves open: absent classes, unknown speakers."""
    metrics = metrics or {}
    absent = metrics.get("absent", [])
    texts = [f"no file of class {', '.join(absent)}: score and chance are of the others"]
    texts = texts if absent else []
    return texts + [UNKNOWN_SPEAKERS] * bool(metrics.get("speakers_unknown"))


def headline(metrics: dict[str, Any] | None) -> str:
    """Return one partition's score in words, with its `cautions`.

    A regression's errors are in the label's unit.
    """
    if metrics is None:
        return "labels blinded, predicted only"
    return "; ".join([_score_text(metrics), *cautions(metrics)])


def _score_text(metrics: Mapping[str, Any]) -> str:
    """One partition's score and interval."""
    file = metrics["file"]
    low, high = file["interval_files"] or (np.nan, np.nan)
    if metrics["metric"] == "uar":
        pair = (file["score"], metrics["chance"])
        score, chance = (np.nan if value is None else value for value in pair)
        return (
            f"UAR {100 * score:.1f} % [{100 * low:.1f}, {100 * high:.1f}] "
            f"of {file['n']} files, chance {100 * chance:.1f} %"
        )
    errors = f"MAE {file['mae']:.3g}, RMSE {file['rmse']:.3g}"
    if file["score"] is None:
        return f"rho undefined of {file['n']} files: one number predicted for all; {errors}"
    titles = {"pearson": "Pearson", "ccc": "CCC"}
    present = [key for key in titles if file.get(key) is not None]
    linear = "".join(f"{titles[key]} {file[key]:.3f}, " for key in present)
    return f"rho {file['score']:.3f} [{low:.3f}, {high:.3f}] of {file['n']} files; {linear}{errors}"


def better_baselines(run: Run) -> list[str]:
    """Say which finished baselines of the same partitions are better on devel."""
    table = all_runs(dataset=run.record["dataset"])
    table = table[table["configuration"].isin(BASELINES) & (table["devel"] > 100 * run.devel)]
    others, manifest = map(load, table["folder"]), run.record["manifest"]
    form = "{:.3f}" if run.task == "regression" else "{:.1%}"
    lines = [
        f"{LABELS[other.record['kind']]} is better on devel: {form.format(other.devel)}, "
        f"this network {form.format(run.devel)}".replace("%", " %")
        for other in others
        if other.record["manifest"] == manifest
    ]
    return list(dict.fromkeys(lines))


def all_runs(folds: bool = False, **chosen: Any) -> pd.DataFrame:
    """Read every finished run in ``results/`` and its committed records into a table, one a row.

    Of a run that is in both, the user's own counts. With ``folds``, those of finished
    cross-validations are listed, too. ``chosen``: values of columns that a run must have,
    ``dataset="ravdess", overridden=False``.

    Returns
    -------
    DataFrame
        ``dataset``, ``run`` (its folder's name; of a fold, its cross-validation's), ``fold`` (from
        1; 0: an ordinary run), ``folder`` (for `load`), ``configuration`` (a key of `LABELS`).
        ``backbone``, ``preset``, ``seed``, ``random_weights``, ``weights``: empty if it has none.
        ``devel``, ``test``: score at file level in percent (100 rho for a regression) or NaN;
        ``low``, ``high``, ``low_speakers``, ``high_speakers``: 95 % intervals of the test score
        over files and over speakers, of whom there are ``speakers`` (0: not recorded, and no
        interval); ``metric``, ``chance``: what it is, the score of guessing.
        ``overridden``, ``overrides``: whether settings of the preset were changed, and which, in
        words, but for backbone, augmentation and weights, which have columns of their own.
        ``date``, ``commit``, ``hardware``, ``seconds``: of its ``run.json``; empty without one.

    Raises an InputError if a file of a run cannot be read.
    """
    corpus = f"{chosen['dataset']}/" if "dataset" in chosen else ""
    runs = {name: at for name, at in _finished(folds).items() if name.startswith(corpus)}
    rows = [_table_row(name, *where) for name, where in runs.items()]
    table = pd.DataFrame(rows, columns=list(RUN_COLUMNS)).astype(RUN_COLUMNS)
    table = table.sort_values(["dataset", "run", "fold"], ignore_index=True)
    for column, value in chosen.items():
        table = table[table[column] == value]
    return table


def _finished(folds: bool) -> dict[str, tuple[Path, Path | None]]:
    """Folder and record (None: the user's own) of every finished run, by its `NAME`."""
    finished, results = {}, paths.results()
    for home, name, values in records.committed():
        if "metrics" in values:
            finished[name] = home / name, home
    files = [*results.glob("*/*/metrics.json")]
    for gathered in results.glob("*/*/folds.json"):
        files += gathered.parent.glob("fold*/metrics.json")
    folders = [file.parent for file in files]
    finished |= {folder.relative_to(results).as_posix(): (folder, None) for folder in folders}
    names = {name: NAME.fullmatch(name) for name in finished}
    return {name: finished[name] for name, at in names.items() if at and (folds or not at["fold"])}


def _table_row(name: str, folder: Path, home: Path | None) -> dict[str, Any]:
    """One row of `all_runs`."""
    finished = Run(folder, {}, Settings(), home)
    run, record = (finished.content(part) or {} for part in ("metrics", "run"))
    devel, test = (run.get(part) or {} for part in ("devel", "test"))
    files, either = test.get("file", {}), devel or test
    overrides = dict(run.get("overrides") or {})
    for column in ("augmentation", "backbone", "weights"):
        overrides.pop(column, None)
    pair = [np.nan, np.nan]
    shares = [
        *(devel.get("file", {}).get("score"), files.get("score")),
        *(files.get("interval_files") or pair),
        *((files.get("speakers") and files["interval_speakers"]) or pair),
        either.get("chance"),
    ]
    machine, at = record.get("hardware"), NAME.fullmatch(name)
    return dict(zip(PERCENT, 100 * np.array(shares, float), strict=True)) | {
        **{key: run[key] for key in ("backbone", "preset", "seed", "random_weights")},
        **{"dataset": at["dataset"], "run": at["run"], "fold": int(at["fold"] or 0)},
        "configuration": run["kind"] if run["kind"] in BASELINES else run["augmentation"],
        **{"metric": either.get("metric", ""), "speakers": files.get("speakers") or 0},
        **{"overridden": bool(overrides), "overrides": _in_words(overrides)},
        **{"weights": run.get("weights", ""), "folder": str(folder)},
        **{key: record.get(key) or "" for key in ("date", "commit")},
        "hardware": f"{machine['processor']}, {machine['cores']} cores" if machine else "",
        "seconds": record.get("seconds", np.nan),
    }


def _in_words(overrides: Mapping[str, Any]) -> str:
    """Overrides as one phrase, fewer epochs first."""
    epochs, others = [], []
    for key, (old, new) in sorted(overrides.items()):
        numbers = all(isinstance(value, int | float) for value in (old, new))
        fewer = key.startswith("epochs_") and numbers and new < old
        (epochs if fewer else others).append(f"{key} {old} -> {new}")
    phrases = [f"{SHORTENED} (override {'; '.join(epochs)})"] if epochs else []
    return ", ".join(phrases + ([f"override {'; '.join(others)}"] if others else []))

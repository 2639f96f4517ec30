"""Baselines: features of whole files and a support vector machine.

Deep Spectrum features + linear SVM are the first row of the paper's Table 3. Acoustic statistics
(`dslite.features.functionals`) + an SVM with radial basis functions need no network.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from dslite.datasets.manifest import Manifest
from dslite.evaluation import metrics
from dslite.features import functionals
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.models.tensorflow_logging import pin_threads
from dslite.settings import PARTITIONS, Settings
from dslite.training import experiment, runs

COMPLEXITIES = {runs.SVM: (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), runs.LIBROSA: (0.1, 1.0, 10.0)}


def deep_spectrum_features(store: feature_store.Store, settings: Settings) -> np.ndarray:
    """Average the backbone's pooled activations over chunks: float32 [files, features], or NaN."""
    predictor = classifier.predictor(classifier.feature_extractor(settings), settings)
    activations = feature_store.predict(predictor, store.mel, np.arange(len(store.mel)))
    table = pd.DataFrame(activations).groupby(store.file).mean()
    return table.reindex(range(len(store.files))).to_numpy(np.float32)


def file_features(
    manifest: Manifest, settings: Settings, kind: str = runs.SVM, preset: str = ""
) -> np.ndarray:
    """Compute what a baseline learns from: float32 [files, features], NaN of a file without chunks.

    The files are the manifest's rows. Of an ``"svm"`` the backbone's pooled activations under the
    settings of `runs.of_baseline`; of ``"librosa"`` see `dslite.features.functionals`.
    """
    if kind == runs.LIBROSA:
        return functionals.acoustic_features(manifest, settings.sample_rate)
    settings = runs.of_baseline(manifest.card, settings, preset)
    pin_threads(settings.threads)
    store = feature_store.load_spectrograms(manifest, settings)
    return deep_spectrum_features(store, settings)


def support_vector_machine(complexity: float, regression: bool, seed: int, kind: str = runs.SVM):
    """Make a pipeline of standardisation, also of a number, and an SVM, radial for `LIBROSA`."""
    if regression:
        limits = {"max_iter": 20_000, "random_state": seed}
        svm = SVR(C=complexity) if kind == runs.LIBROSA else LinearSVR(C=complexity, **limits)
        svm = TransformedTargetRegressor(svm, transformer=StandardScaler())
    else:
        shared = {"C": complexity, "class_weight": "balanced"}
        limits = {"max_iter": 5_000, "random_state": seed}
        svm = SVC(**shared) if kind == runs.LIBROSA else LinearSVC(**shared, **limits)
    return make_pipeline(StandardScaler(), svm)


def _scores(fitted, values: np.ndarray, classes: int) -> np.ndarray:
    """Decision values, one column a class, or predictions of a regression [n, 1]."""
    if not classes:
        return fitted.predict(values)[:, None]
    decision = fitted.decision_function(values)
    return np.stack([-decision, decision], 1) if decision.ndim == 1 else decision


def devel_scores(
    train: tuple[np.ndarray, np.ndarray],
    devel: tuple[np.ndarray, np.ndarray],
    classes: int,
    seed: int,
    kind: str = runs.SVM,
) -> pd.DataFrame:
    """Tabulate every complexity's score on devel, from features and labels of both partitions."""
    rows = []
    for complexity in COMPLEXITIES[kind]:
        with warnings.catch_warnings():  # large complexities may stop early; devel decides
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = support_vector_machine(complexity, not classes, seed, kind).fit(*train)
        scores = _scores(fitted, devel[0], classes)
        if classes:
            score = metrics.uar(devel[1], scores.argmax(1), classes)
        else:
            score = metrics.rho(devel[1], scores[:, 0])
        rows.append({"complexity": complexity, "devel_score": float(score)})
    return pd.DataFrame(rows)


def train_baseline(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Callable[[str], None] = print,
    kind: str = runs.SVM,
) -> runs.Run:
    """Choose the complexity on devel, train again on train + devel, evaluate once on test.

    As `dslite.training.experiment.train`, but with decision values instead of probabilities. The
    kind is ``"svm"`` (Deep Spectrum features, linear) or ``"librosa"`` (acoustic statistics, radial
    basis functions), which uses no settings but `runs.ACOUSTIC`.
    """
    if kind == runs.LIBROSA:
        settings = Settings(**{key: getattr(settings, key) for key in runs.ACOUSTIC})
    else:
        settings = settings.model_copy(update={"augmentation": "none"})
    make = partial(_trained, manifest, settings, seed, preset, log, kind)
    return runs.look_up_or_make(make, manifest, settings, seed, preset, kind, False, force, log)


def _trained(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str,
    log: Callable[[str], None],
    kind: str,
    described: dict[str, Any],
    place: Path,
) -> runs.Run:
    """Train and evaluate what was looked up and is not finished."""
    acoustic, meter = kind == runs.LIBROSA, runs.Meter()
    card, files = manifest.card, manifest.table
    values = file_features(manifest, settings, kind, preset)
    present = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not acoustic:
        settings = runs.of_baseline(card, settings, preset)
    targets = feature_store.targets(files, card.classes, card.task)
    classes = len(card.classes) if card.task == "classification" else 0
    labels = targets.argmax(1) if classes else targets[:, 0]
    rows = {p: present[files["partition"].iloc[present] == p] for p in PARTITIONS}

    def part(*partitions: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.concatenate([rows[p] for p in partitions])
        return values[chosen], labels[chosen]

    history = devel_scores(part("train"), part("devel"), classes, seed, kind)
    best = history["devel_score"].fillna(-np.inf).idxmax()
    complexity = float(history.loc[best, "complexity"])
    log(f"{runs.LABELS[kind]}: complexity {complexity:g} chosen on devel")
    scores = {}
    for partition, learnt in (("devel", ("train",)), ("test", ("train", "devel"))):
        fitted = support_vector_machine(complexity, not classes, seed, kind).fit(*part(*learnt))
        outputs = _scores(fitted, values[rows[partition]], classes)
        scores[partition] = metrics.score(files, card, settings, rows[partition], outputs, seed)
    experiment.write(place, described | {"complexity": complexity}, scores, history, meter.read())
    return runs.load(place)

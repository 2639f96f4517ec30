"""Deep Spectrum features + linear SVM: the first row of the paper's Table 3."""

import time
import warnings
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from dslite import backbones, evaluation, loader, model, paths, runs
from dslite.datasets.manifest import Manifest, digest
from dslite.settings import Settings

COMPLEXITIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def features(store: loader.Store, settings: Settings) -> np.ndarray:
    """Deep Spectrum features: a file's pooled backbone activations, averaged over its chunks.

    Returns
    -------
    ndarray of float32, shape [files, maps]
        NaN for a file without chunks.
    """
    backbone = backbones.build(settings.backbone, settings.weights, settings.image_size)
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
    predictor = model.predictor(keras.Model(backbone.input, pooled), settings)
    activations = loader.predict(predictor, store, np.arange(len(store.mel)))
    table = pd.DataFrame(activations).groupby(store.file).mean()
    return table.reindex(range(len(store.files))).to_numpy(np.float32)


def machine(complexity: float, regression: bool, seed: int):
    """Standardisation and a linear support vector machine, balanced between classes."""
    if regression:
        svm = LinearSVR(C=complexity, max_iter=20_000, random_state=seed)
    else:
        svm = LinearSVC(C=complexity, class_weight="balanced", max_iter=5_000, random_state=seed)
    return make_pipeline(StandardScaler(), svm)


def _scores(fitted, values: np.ndarray, classes: int) -> np.ndarray:
    """Decision values, one column a class, or predictions of a regression [n, 1]."""
    if not classes:
        return fitted.predict(values)[:, None]
    decision = fitted.decision_function(values)
    return np.stack([-decision, decision], 1) if decision.ndim == 1 else decision


def choose(
    train: tuple[np.ndarray, np.ndarray],
    devel: tuple[np.ndarray, np.ndarray],
    classes: int,
    seed: int,
) -> pd.DataFrame:
    """Devel score of every complexity.

    Parameters
    ----------
    train, devel : tuple of ndarray
        Features [files, maps] and labels [files].
    classes : int
        Number of classes, 0 for a regression.
    seed : int
        Of the solver.

    Returns
    -------
    DataFrame
        Columns complexity, devel_score.
    """
    rows = []
    for complexity in COMPLEXITIES:
        with warnings.catch_warnings():  # large complexities may stop early; devel decides
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = machine(complexity, not classes, seed).fit(*train)
        scores = _scores(fitted, devel[0], classes)
        if classes:
            score = evaluation.uar(devel[1], scores.argmax(1), classes)
        else:
            score = evaluation.rho(devel[1], scores[:, 0])
        rows.append({"complexity": complexity, "devel_score": float(score)})
    return pd.DataFrame(rows)


def run(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Callable[[str], None] = print,
) -> runs.Run:
    """The baseline of a corpus: complexity chosen on devel, retrained on train + devel.

    Parameters and files are those of `dslite.training.run`; ``predictions.csv`` holds decision
    values instead of probabilities, ``history.csv`` the devel score of every complexity.
    """
    card = manifest.card
    settings = settings.model_copy(update={"augmentation": "none"})
    described, place, finished = runs.look_up(
        card, settings, seed, preset, digest(manifest), runs.SVM
    )
    if finished and not force:
        log(runs.not_repeated(finished))
        return finished
    begin = time.perf_counter()
    store = loader.load(manifest, settings)
    values = features(store, settings)
    classes = len(card.classes) if card.task == "classification" else 0
    targets = loader.targets(store.files, card.classes, card.task)
    labels = targets.argmax(1) if classes else targets[:, 0]
    rows = {p: np.unique(store.file[store.chunks(p)]) for p in ("train", "devel", "test")}

    def part(*partitions: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.concatenate([rows[p] for p in partitions])
        return values[chosen], labels[chosen]

    tried = choose(part("train"), part("devel"), classes, seed)
    complexity = float(tried.loc[tried["devel_score"].idxmax(), "complexity"])
    log(f"Deep Spectrum + linear SVM: complexity {complexity:g} chosen on devel")
    metrics, tables = {}, []
    for partition, learnt in (("devel", ("train",)), ("test", ("train", "devel"))):
        fitted = machine(complexity, not classes, seed).fit(*part(*learnt))
        scores = _scores(fitted, values[rows[partition]], classes)
        metrics[partition], table = runs.score(
            store.files, card, settings, rows[partition], scores, seed
        )
        tables.append(table)
    with paths.replacing(place) as draft:
        draft.mkdir()
        tried.to_csv(draft / "history.csv", index=False)
        runs.write(
            draft,
            described | {"complexity": complexity},
            metrics,
            pd.concat(tables, ignore_index=True),
            time.perf_counter() - begin,
        )
    return runs.load(place)

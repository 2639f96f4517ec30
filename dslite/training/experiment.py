"""One configuration from settings to results: chosen on devel, tested once (paper 3.3)."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import paths, provenance
from dslite.datasets.manifest import Manifest
from dslite.evaluation import metrics
from dslite.features import store as feature_store
from dslite.models import classifier, weights
from dslite.models.tensorflow_logging import pin_threads
from dslite.settings import AUGMENTATIONS, PARTITIONS, Settings
from dslite.training import loop, runs, steps

COST, CANDIDATE = "cost.json", "candidate.json"  # lie with the checkpoints
Scores = tuple[dict[str, Any] | None, pd.DataFrame]  # metrics and predictions of a partition


class _Work:
    """What the trainings of a run share, and what earlier sessions have left of them."""

    def __init__(
        self,
        manifest: Manifest,
        settings: Settings,
        seed: int,
        described: dict[str, Any],
        force: bool,
        log: Callable[[str], None],
        hidden: str = "",
    ):
        """Load what is learnt from, less the labels of the partition ``hidden``."""
        card, self.identity = manifest.card, described["identity"]
        self.seed, self.log = seed, log
        self.checkpoints = paths.cache() / "checkpoints" / card.dataset / self.identity[:16]
        settings = feature_store.of_corpus(settings, manifest)
        if force:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        paths.require_writable(paths.results(card.dataset))
        self.meter = runs.Meter(runs.load_cost(self.checkpoints / COST))
        pin_threads(settings.threads)
        tf.config.experimental.enable_op_determinism()
        if settings.trained_whole:
            log("random weights: nothing is pre-trained, the whole network is trained")
        store = feature_store.load_spectrograms(manifest, settings, seed)
        labels = store.files["label"].mask(store.files["partition"] == hidden, "")
        store = replace(store, files=store.files.assign(label=labels))
        self.task = steps.task_of(card, settings, store)
        train, devel, test = (len(store.chunks(partition)) for partition in PARTITIONS)
        log(f"training on train: {train} chunks; devel {devel}, test {test}")
        self.trunks = steps.Trunks(self.task, log)

    def train(
        self, name: str, chunks: np.ndarray, **options: Any
    ) -> tuple[keras.Model, pd.DataFrame]:
        """A network and its history, from the start or from the last finished epoch."""

        def after_epoch(row: loop.Row) -> None:
            # With the checkpoint, so that a kill loses no more of the cost than of the training.
            provenance.write_json(self.checkpoints / COST, self.meter.read())

        network = loop.build_model(self.task, chunks, self.seed)
        options |= {"trunks": self.trunks, "after_epoch": after_epoch, "log": self.log}
        options |= {"checkpoint": (self.checkpoints / f"{name}.npz", self.identity)}
        history = loop.fit(network, self.task, chunks, self.seed, **options)
        return network, history.assign(training=name)

    def score(self, network: keras.Model, chunks: np.ndarray, epochs: dict[int, int]) -> Scores:
        """Metrics and predictions of some chunks' files after so many epochs of each phase."""
        task = self.task
        if task.settings.head == "ridge" and 2 not in epochs:  # features as they were stored
            outputs = steps.predictor(network, self.trunks.stage(network, 0), task)(chunks)
        else:
            predictor = classifier.predictor(network, task.settings)
            outputs = feature_store.predict(predictor, task.store.mel, chunks)
        files, owner = task.store.files, task.store.file[chunks]
        return metrics.score(files, task.card, task.settings, owner, outputs, self.seed)

    def choose(self) -> tuple[pd.DataFrame, Scores]:
        """History of the first training, on train, and the scores of its chosen epoch on devel."""
        train, devel = (self.task.store.chunks(part) for part in ("train", "devel"))
        network, history = self.train("train", train, devel=devel)
        return history, self.score(network, devel, loop.epochs_to_chosen(history))


def train(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Callable[[str], None] = print,
    candidate: bool = False,
) -> runs.Run:
    """Choose on devel, train the final model, evaluate it once on test (paper 3.3).

    The first training (train partition) gives the devel scores and the number of epochs; the
    second one (train + devel, as many epochs) the model and the test scores. Unless ``force``, a
    finished run of the same identity is not repeated, and an interrupted one or a finished
    candidate is gone on with. A ``candidate`` is a point of a grid, compared on devel: the first
    training alone, without test or its labels. The preset is only written down.
    """

    def make(described: dict[str, Any], place: Path) -> runs.Run:
        hidden = "test" if candidate else ""
        work = _Work(manifest, settings, seed, described, force, log, hidden)
        return _trained(work, described, place, candidate)

    asked = (manifest, settings, seed, preset, runs.NETWORK, candidate, force, log)
    return runs.look_up_or_make(make, *asked)


def _trained(work: _Work, described: dict[str, Any], place: Path, candidate: bool) -> runs.Run:
    """Train and evaluate what was looked up and is not finished."""
    first, devel = work.choose()
    epochs = loop.epochs_to_chosen(first)
    total = sum(epochs.values())
    described |= {"epochs": total}
    if candidate:
        cost = work.meter.read()
        write(place, described, {"devel": devel}, first, cost)
        for name in (COST, CANDIDATE):
            provenance.write_json(work.checkpoints / name, cost)
        return runs.load(place)
    until = {"best": " that were best on devel", "last": ", all of them"}[
        work.task.settings.epoch_choice
    ]
    work.log(f"training on train + devel for the {total} epochs{until}")
    train_chunks, devel_chunks, test_chunks = map(work.task.store.chunks, PARTITIONS)
    both = np.concatenate([train_chunks, devel_chunks])
    described |= _of_training(work.task, first, both, work.log)
    network, final = work.train("train+devel", both, epochs=epochs)
    scores = {"devel": devel, "test": work.score(network, test_chunks, epochs)}
    # Part of this cost, and written down with the candidate already.
    before = runs.load_cost(work.checkpoints / CANDIDATE)
    described |= {"candidate_cost": before}
    described |= {"heads": final.attrs["heads"]} if final.attrs.get("heads") else {}
    described |= {"final_weights_sha256": steps.weights_digest(network)}
    history = pd.concat([first, final])
    write(place, described, scores, history, work.meter.read(), network)
    shutil.rmtree(work.checkpoints, ignore_errors=True)
    return runs.load(place)


def _of_training(
    task: steps.Task, history: pd.DataFrame, chunks: np.ndarray, log: Callable[[str], None]
) -> dict[str, Any]:
    """What a run writes down beside its scores: how long its clips are, which phase was kept."""
    facts = {}
    if task.settings.picture != "chunk" and task.store.sound_s is not None:
        lengths = np.diff(task.store.sound_s[chunks], axis=1)
        facts["typical_s"] = round(float(np.median(lengths)), 3)
    if "gain" in history and history["gain"].notna().any():
        chosen = history["chosen"]
        phase = int(history.loc[chosen, "phase"].iloc[0])
        best = history.loc[chosen.idxmax() if phase == 2 else history["gain"].idxmax()]
        facts["kept"] = {"phase": phase, "gain": float(best["gain"]), "noise": float(best["noise"])}
        log(gain_of_phase_2(facts["kept"], task.card.task))
    return facts


def gain_of_phase_2(phase: Mapping[str, Any], task: str) -> str:
    """Say of ``phase``, ``gain`` and ``noise`` of a run's record which phase is kept, and why."""
    unit = "{:{}.3g}" if task == "regression" else "{:{}.1f} points"
    factor = 1 if task == "regression" else 100
    gain, noise = unit.format(factor * phase["gain"], "+"), unit.format(factor * phase["noise"], "")
    if phase["phase"] == 2 and phase["gain"] > phase["noise"]:
        return f"Phase 2 is kept: {gain} on devel, more than its noise ({noise})."
    if phase["phase"] == 2:
        return f"Phase 2 is kept as epoch_choice is last: {gain} on devel, noise {noise}."
    return f"Phase 1 is kept: phase 2 gained at best {gain} on devel, within its noise ({noise})."


def write(
    place: Path,
    described: dict[str, Any],
    scores: dict[str, Scores],
    history: pd.DataFrame,
    cost: Mapping[str, float],
    network: keras.Model | None = None,
) -> None:
    """Write a run's folder, all or nothing; a partition that is not scored has no metrics."""
    measured = {"devel": None, "test": None} | {part: pair[0] for part, pair in scores.items()}
    predictions = pd.concat([pair[1] for pair in scores.values()], ignore_index=True)
    with paths.replacing(place) as draft:
        draft.mkdir()
        if network is not None:
            network.save(draft / "model.keras")
            weights.trust(draft / "model.keras")
        history.to_csv(draft / "history.csv", index=False)
        runs.write(draft, described, measured, predictions, cost)


def best_run(manifest: Manifest, settings: Settings, seed: int, preset: str = "") -> runs.Run:
    """Return the best on devel of the finished runs of the four augmentations.

    Where none is finished, the configuration of ``settings`` is trained.
    """
    each = (settings.model_copy(update={"augmentation": name}) for name in AUGMENTATIONS)
    results = (runs.look_up(manifest, one, seed, preset, runs.NETWORK)[2] for one in each)
    finished = [run for run in results if run]
    return runs.best_on_devel(finished) if finished else train(manifest, settings, seed, preset)

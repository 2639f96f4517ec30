"""One configuration from settings to results: chosen on devel, tested once (paper 3.3)."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import paths
from dslite.datasets.manifest import Manifest
from dslite.evaluation import metrics as evaluation_metrics
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.settings import AUGMENTATIONS, PARTITIONS, Settings
from dslite.training import loop, runs, steps

COST, CANDIDATE = "cost.json", "candidate.json"  # beside the checkpoints
Log = Callable[[str], None]
Scored = tuple[dict[str, Any] | None, pd.DataFrame]


@dataclass(frozen=True)
class _Work:
    """What the trainings of a run share."""

    task: steps.Task
    seed: int
    identity: str
    trunks: steps.Trunks
    interrupted: Path
    boards: Path
    meter: runs.Meter
    log: Log

    def train(
        self, name: str, chunks: np.ndarray, **given: Any
    ) -> tuple[keras.Model, pd.DataFrame]:
        """A training from the start or from its last finished epoch: the network, its history."""
        board = loop.tensorboard(self.boards / name)

        def after_epoch(row: loop.Row) -> None:
            # Beside the checkpoint, so that a kill loses no more of the cost than of the training.
            runs.save_cost(self.interrupted / COST, self.meter.read())
            board(row)

        network = loop.build_model(self.task, chunks, self.seed)
        history = loop.fit(
            network,
            self.task,
            chunks,
            self.seed,
            trunks=self.trunks,
            checkpoint=(self.interrupted / f"{name}.npz", self.identity),
            board=after_epoch,
            log=self.log,
            **given,
        )
        return network, history.assign(training=name)

    def score(self, network: keras.Model, chunks: np.ndarray) -> Scored:
        """Metrics and predictions of some chunks' files."""
        task = self.task
        whole = classifier.predictor(network, task.settings)
        outputs = feature_store.predict(whole, task.store.mel, chunks)
        files, owner = task.store.files, task.store.file[chunks]
        return evaluation_metrics.score(files, task.card, task.settings, owner, outputs, self.seed)

    def choose(self) -> tuple[pd.DataFrame, Scored]:
        """The first training, on train: its history, and what its best epoch says of devel."""
        train, devel = (self.task.store.chunks(part) for part in ("train", "devel"))
        network, history = self.train("train", train, devel=devel)
        return history, self.score(network, devel)


@contextmanager
def _working(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    described: dict[str, Any],
    force: bool,
    log: Log,
    hidden: str = "",
) -> Iterator[_Work]:
    """Load what is learnt from; go on with the checkpoints, and the cost, of sessions before.

    The labels of the partition ``hidden`` are taken out before anything is done with the corpus.
    """
    card, identity = manifest.card, described["identity"]
    interrupted = paths.cache() / "checkpoints" / card.dataset / identity[:16]
    # A candidate's are those of the run that goes on with it.
    place = runs.folder(card, settings, seed, "", described["preset"], manifest.fold)
    boards = paths.cache() / "tensorboard" / place.relative_to(paths.results())
    if force:
        shutil.rmtree(interrupted, ignore_errors=True)
    if not interrupted.exists():
        shutil.rmtree(boards, ignore_errors=True)
    paths.require_writable(place.parent)
    with runs.Meter(runs.load_cost(interrupted / COST)) as meter:
        tf.config.experimental.enable_op_determinism()
        if settings.random_weights:
            log("random weights: nothing is pre-trained, the whole network is trained")
        store = feature_store.load_spectrograms(manifest, settings)
        known = store.files["label"].mask(store.files["partition"] == hidden, "")
        task = steps.task_of(card, settings, replace(store, files=store.files.assign(label=known)))
        train, devel, test = (len(task.store.chunks(p)) for p in ("train", "devel", "test"))
        log(f"training on train: {train} chunks; devel {devel}, test {test}")
        trunks = steps.Trunks(task, log)
        yield _Work(task, seed, identity, trunks, interrupted, boards, meter, log)


def run(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Log = print,
) -> runs.Run:
    """One configuration: choose on devel, train the final model, evaluate it once on test.

    The first training (train partition) gives the devel column and the number of epochs; the
    second one (train + devel, as many epochs) gives the model that is kept and the test column
    (paper 3.3). A finished run of the same identity is not repeated, an interrupted one goes on
    from its last finished epoch, and so does one whose `candidate` is finished.

    Parameters
    ----------
    manifest : Manifest
    settings : Settings
    seed : int
    preset : str
        Only written down.
    force : bool
        Train from the start even if the run is finished or was interrupted.
    log : callable
        Is given the lines of the log.
    """
    described, place, finished = runs.look_up(manifest, settings, seed, preset, runs.NETWORK)
    if finished and not force:
        log(runs.not_repeated(finished))
        return finished
    with _working(manifest, settings, seed, described, force, log) as work:
        first, devel = work.choose()
        epochs = loop.epochs_to_best(first)
        total = sum(epochs.values())
        log(f"training on train + devel for the {total} epochs that were best on devel")
        train, devel_chunks, test_chunks = map(work.task.store.chunks, PARTITIONS)
        both = np.concatenate([train, devel_chunks])
        network, final = work.train("train+devel", both, epochs=epochs)
        scored = {"devel": devel, "test": work.score(network, test_chunks)}
        # Part of this cost, and written down with the candidate already.
        before = runs.load_cost(work.interrupted / CANDIDATE)
        facts = {"epochs": total, "candidate_cost": before and asdict(before)}
        history = pd.concat([first, final])
        _write(place, described | facts, scored, history, work.meter.read(), network)
    shutil.rmtree(work.interrupted, ignore_errors=True)
    return runs.load(place)


def candidate(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Log = print,
) -> runs.Run:
    """The first training alone: a point of a grid, to be compared with others on devel.

    Test labels are taken out, and nothing is predicted of the test partition. Parameters are
    those of `run`, which goes on from what this leaves in the cache. The files are in
    ``candidates/`` and as a run's, but without the test partition and without a model.
    """
    described, place, finished = runs.look_up(
        manifest, settings, seed, preset, runs.NETWORK, candidate=True
    )
    if finished and not force:
        log(runs.not_repeated(finished))
        return finished
    with _working(manifest, settings, seed, described, force, log, hidden="test") as work:
        history, devel = work.choose()
        spent = work.meter.read()
        epochs = sum(loop.epochs_to_best(history).values())
        _write(place, described | {"epochs": epochs}, {"devel": devel}, history, spent)
        runs.save_cost(work.interrupted / COST, spent)
        runs.save_cost(work.interrupted / CANDIDATE, spent)
    return runs.load(place)


def _write(
    place: Path,
    described: dict[str, Any],
    scored: dict[str, Scored],
    history: pd.DataFrame,
    cost: runs.Cost,
    network: keras.Model | None = None,
) -> None:
    """A run's folder, all or nothing; a partition that is not scored has no metrics."""
    metrics = {"devel": None, "test": None} | {part: found[0] for part, found in scored.items()}
    predictions = pd.concat([found[1] for found in scored.values()], ignore_index=True)
    with paths.replacing(place) as draft:
        draft.mkdir()
        if network is not None:
            network.save(draft / "model.keras")
        history.to_csv(draft / "history.csv", index=False)
        runs.write(draft, described, metrics, predictions, cost)


def best_of(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    log: Log = print,
) -> runs.Run:
    """Of the finished runs of the four augmentations, the one that is best on devel.

    Where none is finished, the configuration of ``settings`` is trained.
    """
    each = [settings.model_copy(update={"augmentation": name}) for name in AUGMENTATIONS]
    found = [runs.look_up(manifest, s, seed, preset, runs.NETWORK)[2] for s in each]
    finished = [done for done in found if done]
    if not finished:
        return run(manifest, settings, seed, preset, log=log)
    return runs.best_on_devel(finished)

"""Fine-tuning in two phases, choosing on devel, going on after an interruption (paper 2.1, 3.2)."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite.evaluation import metrics
from dslite.features import store
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import checkpoints, steps
from dslite.training.steps import Task

Row = dict[str, Any]  # of the history that `fit` returns


@dataclass(frozen=True)
class Phase:
    """A phase of the schedule: ``trained`` is the number of the backbone's trained layers."""

    number: int
    epochs: int
    rate: float
    trained: int


def schedule(settings: Settings, layers: int) -> list[Phase]:
    """Return the phases of a training of a backbone with so many layers.

    Phase 2 has a tenth of the learning rate, unless it has one of its own. With random weights
    there is nothing to keep frozen: one phase trains the whole network. Without fine-tuned layers
    there is no phase 2.

    Examples
    --------
    >>> [(phase.epochs, phase.trained) for phase in schedule(Settings(), layers=427)]
    [(40, 0), (80, 42)]
    """
    rate = settings.learning_rate
    if settings.random_weights:
        return [Phase(1, settings.epochs_phase1 + settings.epochs_phase2, rate, layers)]
    last = classifier.trained_layers(settings, layers)
    phases = [Phase(1, settings.epochs_phase1, rate, 0)]
    if last:
        rate = settings.learning_rate_phase2 or rate / 10
        phases.append(Phase(2, settings.epochs_phase2, rate, last))
    return [phase for phase in phases if phase.epochs]


def build_model(task: Task, train: np.ndarray, seed: int) -> keras.Model:
    """Build a model with freshly drawn head weights; the same seed draws the same ones."""
    keras.utils.set_random_seed(seed)
    scale = None
    if task.regression:
        values = task.targets[train]
        scale = (float(values.mean()), float(values.std()) or 1.0)
    return classifier.build_classifier(task.settings, task.targets.shape[1], scale)


def fit(
    network: keras.Model,
    task: Task,
    train: np.ndarray,
    seed: int,
    devel: np.ndarray | None = None,
    epochs: dict[int, int] | None = None,
    trunks: steps.Trunks | None = None,
    checkpoint: tuple[Path, str] | None = None,
    after_epoch: Callable[[Row], None] = lambda row: None,
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train in phases; with a devel partition, end with the weights of its best epoch.

    Parameters
    ----------
    network : keras.Model
        Of `build_model`; changed in place.
    task : Task
    train, devel : ndarray of int64
        Chunks. Without ``devel`` nothing is chosen and the last epoch's weights remain.
    seed : int
        Of the order of samples, of augmentation and dropout.
    epochs : dict, optional
        Phase -> number of its epochs, instead of the settings' (see `epochs_to_best`).
    trunks : Trunks, optional
        Shared by trainings from the same weights.
    checkpoint : (path, identity), optional
        File that holds the state after every epoch. Where it is one of the same identity, the
        training goes on from there and ends with the numbers of an unbroken one.
    after_epoch : callable
        Takes every row of the history.
    log : callable
        Takes one line an epoch.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, phase, learning_rate, train_loss, devel_loss, devel_score,
        images_per_s (of the training alone), seconds, best (whether its weights were the best on
        devel by score, then by loss).
    """
    settings = task.settings
    phases = schedule(settings, len(classifier.backbone_of(network).layers))
    lengths = {phase.number: phase.epochs for phase in phases}
    if epochs is not None:
        lengths = {number: epochs.get(number, 0) for number in lengths}
    training = _Training(
        network,
        task,
        train,
        devel,
        trunks or steps.Trunks(task, log),
        _learnt(network, phases, settings),
        np.random.default_rng(seed),
        checkpoints.State({"best": []}, {"history": []}),
        checkpoint,
        after_epoch,
        log,
    )
    training.resume()
    for place, phase in enumerate(phases):
        later = sum(lengths[other.number] for other in phases[place + 1 :])
        training.run(phase, lengths[phase.number], later)
    history = pd.DataFrame(training.history)
    if devel is not None and len(history):
        _assign(training.variables, training.state.arrays["best"])
        ranks = [_rank(row) for row in training.history]
        history["best"] = history.index == ranks.index(max(ranks))
    return history


def epochs_to_best(history: pd.DataFrame) -> dict[int, int]:
    """Return the epochs of each phase up to the best one on devel: what the final model takes.

    Examples
    --------
    >>> epochs_to_best(pd.DataFrame({"phase": [1, 1, 2, 2], "best": [False, False, True, False]}))
    {1: 2, 2: 1}
    """
    if not len(history):
        return {}
    taken = history.iloc[: int(np.flatnonzero(history["best"])[0]) + 1]
    return {int(phase): len(rows) for phase, rows in taken.groupby("phase")}


def epoch_losses(
    step: Callable,
    stage: steps.Stage,
    task: Task,
    train: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Take one epoch of steps; yield the losses of each batch as learnt from, float32 [batch]."""
    settings = task.settings
    classes = task.classes[train]
    order = steps.epoch_order(classes, settings.balance, rng)
    weights = steps.class_weights(classes, settings.balance)[order]
    chunks = train[order]
    read = steps.sources(stage, task)
    for batch in store.batches(read, chunks, settings.batch_size, task.targets[chunks], weights):
        seed = rng.integers(2**31, size=2, dtype=np.int32)
        yield step(*batch, seed).numpy()


@dataclass
class _Training:
    """A training under way: what does not change from epoch to epoch, and its state."""

    network: keras.Model
    task: Task
    train: np.ndarray
    devel: np.ndarray | None
    trunks: steps.Trunks
    variables: list[keras.Variable]
    rng: np.random.Generator
    state: checkpoints.State
    checkpoint: tuple[Path, str] | None
    after_epoch: Callable[[Row], None]
    log: Callable[[str], None]

    @property
    def history(self) -> list[Row]:
        return self.state.facts["history"]

    def done(self, phase: Phase) -> list[Row]:
        return [row for row in self.history if row["phase"] == phase.number]

    def out_of_patience(self, phase: Phase) -> bool:
        """Whether the last ``patience`` epochs of a phase all were no better than one before."""
        patience, rows = self.task.settings.patience, self.done(phase)
        if self.devel is None or patience is None or len(rows) <= patience:
            return False
        ranks = [_rank(row) for row in rows]
        return max(ranks[-patience:]) <= max(ranks[:-patience])

    def resume(self) -> None:
        """Take up the state of an interrupted training."""
        stored = checkpoints.load(*self.checkpoint) if self.checkpoint else None
        if stored:
            self.state = stored
            _assign(self.variables, stored.arrays["variables"])
            self.rng.bit_generator.state = stored.facts["order"]
            self.log(f"going on after epoch {len(self.history)}, where it was interrupted")

    def run(self, phase: Phase, epochs: int, later: int) -> None:
        """Train what is left of a phase of so many epochs; ``later`` are those of later phases."""
        done = self.done(phase)
        begun = any(row["phase"] > phase.number for row in self.history)
        if begun or len(done) >= epochs or self.out_of_patience(phase):
            return
        classifier.set_trained(self.network, phase.trained)
        stage = self.trunks.stage(self.network, phase.trained)
        optimiser = steps.optimizer(
            self.task.settings, phase.rate, self.network.trainable_variables
        )
        if done:
            _assign(optimiser.variables, self.state.arrays["optimizer"])
        step = steps.train_step(self.network, stage, self.task, optimiser)
        predict = steps.predictor(self.network, stage, self.task)
        for epoch in range(len(done), epochs):
            row = self.epoch(phase, epoch, optimiser, step, stage, predict)
            self.save(optimiser)
            self.after_epoch(row)
            last = row["epoch"] + epochs - epoch - 1 + later
            self.log(line(row, last, self.task.regression))
            if self.out_of_patience(phase):
                self.log(f"phase {phase.number} ends early: devel does not get better")
                break

    def epoch(
        self,
        phase: Phase,
        epoch: int,
        optimiser: keras.optimizers.Optimizer,
        step: Callable,
        stage: steps.Stage,
        predict: Callable,
    ) -> Row:
        """Learn from every training chunk, then look at devel; the history's new row."""
        begin = time.perf_counter()
        rate = steps.rate_at(self.task.settings, phase.rate, epoch, phase.epochs)
        optimiser.learning_rate = rate
        batches = epoch_losses(step, stage, self.task, self.train, self.rng)
        losses = np.concatenate(list(batches))
        row = {
            "epoch": len(self.history) + 1,
            "phase": phase.number,
            "learning_rate": rate,
            "train_loss": float(losses.mean(dtype=np.float64)),
            "images_per_s": len(losses) / (time.perf_counter() - begin),
        }
        if self.devel is not None:
            loss, score = _devel_score(self.task, self.network, self.devel, predict)
            row |= {"devel_loss": loss, "devel_score": score}
            if not self.history or _rank(row) > max(map(_rank, self.history)):
                self.state.arrays["best"] = _values(self.variables)
        row["seconds"] = time.perf_counter() - begin
        self.history.append(row)
        return row

    def save(self, optimiser: keras.optimizers.Optimizer) -> None:
        """Write the state after an epoch."""
        if self.checkpoint:
            self.state.arrays["variables"] = _values(self.variables)
            self.state.arrays["optimizer"] = _values(optimiser.variables)
            self.state.facts["order"] = self.rng.bit_generator.state
            checkpoints.save(*self.checkpoint, self.state)


def _learnt(network: keras.Model, phases: list[Phase], settings: Settings) -> list[keras.Variable]:
    """Every variable that a training changes, in any phase; the dropout's random state too."""
    if settings.random_weights:
        return network.variables
    classifier.set_trained(network, max(phase.trained for phase in phases))
    weights = {id(variable) for variable in network.weights}
    random_states = [v for v in network.variables if id(v) not in weights]
    return [*network.trainable_variables, *random_states]


def _devel_score(
    task: Task, network: keras.Model, chunks: np.ndarray, predict: Callable
) -> tuple[float, float]:
    """Loss and file-level score of the devel partition."""
    outputs = predict(chunks)
    loss = steps.loss_function(task, network)(task.targets[chunks], outputs)
    _, file = np.unique(task.store.file[chunks], return_inverse=True)
    fused = metrics.fuse(outputs, file, task.settings.fusion)
    first = np.unique(file, return_index=True)[1]
    if task.regression:
        score = metrics.rho(task.targets[chunks][first, 0], fused[:, 0])
    else:
        labels = task.classes[chunks][first]
        score = metrics.uar(labels, fused.argmax(1), len(task.card.classes))
    return float(np.mean(loss)), float(score)


def _rank(row: Row) -> tuple[float, float]:
    """How good an epoch is on devel: by score, then by loss; NaN is worse than any number."""
    score, loss = row["devel_score"], row["devel_loss"]
    return (-math.inf if math.isnan(score) else score, -math.inf if math.isnan(loss) else -loss)


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def line(row: Row, last: int, regression: bool) -> str:
    """Return one epoch in words; the time left is that of as many epochs like it as ``last`` says.

    Examples
    --------
    >>> row = {"phase": 1, "epoch": 3, "train_loss": 1.25, "images_per_s": 210.0, "seconds": 30.0}
    >>> line(row, last=5, regression=False)
    'phase 1 epoch   3/5  train loss 1.250  210 images/s  30.0 s  60 s left'
    """
    text = (
        f"phase {row['phase']} epoch {row['epoch']:3d}/{last}  train loss {row['train_loss']:.3f}"
    )
    if "devel_score" in row:
        score = row["devel_score"]
        metric = f"rho {score:.3f}" if regression else f"UAR {100 * score:.1f} %"
        text += f"  devel loss {row['devel_loss']:.3f}  devel {metric}"
    text += f"  {row['images_per_s']:.0f} images/s  {row['seconds']:.1f} s"
    left = (last - row["epoch"]) * row["seconds"]
    return f"{text}  {_duration(left)} left" if left else text


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def tensorboard(folder: Path) -> Callable[[Row], None]:
    """Return a function that writes every number of a history's row for TensorBoard.

    It does nothing where the package is not installed (``pip install dslite[tensorboard]``).
    """
    if util.find_spec("tensorboard") is None:
        return lambda row: None
    writer = tf.summary.create_file_writer(str(folder))

    def write(row: Row) -> None:
        with writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, float(value))
        writer.flush()

    return write

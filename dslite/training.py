"""Fine-tuning in two phases, choosing on devel, and the one evaluation on test (paper 2.1, 3.2)."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import augmentation, evaluation, loader, model
from dslite.loader import Store
from dslite.settings import Card, Settings


@dataclass(frozen=True)
class Task:
    """The corpus as the training sees it, chunk by chunk.

    Attributes
    ----------
    store : Store
    targets : ndarray of float32, shape [chunks, outputs]
    classes : ndarray of int64, shape [chunks]
        Position of the class; 0 everywhere for a regression.
    card : Card
    settings : Settings
    """

    store: Store
    targets: np.ndarray
    classes: np.ndarray
    card: Card
    settings: Settings

    @property
    def regression(self) -> bool:
        """Whether the target is a number."""
        return self.card.task == "regression"


def task_of(card: Card, settings: Settings, store: Store) -> Task:
    """Bring a store's labels to its chunks."""
    targets = loader.targets(store.files, card.classes, card.task)[store.file]
    classes = np.zeros(len(targets), np.int64) if card.task == "regression" else targets.argmax(1)
    return Task(store, targets, classes, card, settings)


def schedule(settings: Settings, layers: int) -> list[tuple[int, int, float, int]]:
    """The phases: (number, epochs, learning rate, trained layers of the backbone).

    Phase 2 has a tenth of the learning rate. With random weights there is nothing to keep
    frozen: one phase trains the whole network. Without fine-tuned layers there is no phase 2.
    """
    rate = settings.learning_rate
    if settings.random_weights:
        return [(1, settings.epochs_phase1 + settings.epochs_phase2, rate, layers)]
    last = model.trained_layers(settings, layers)
    phases = [(1, settings.epochs_phase1, rate, 0)]
    if last:
        phases.append((2, settings.epochs_phase2, rate / 10, last))
    return [phase for phase in phases if phase[1]]


def build_model(task: Task, train: np.ndarray, seed: int) -> keras.Model:
    """A model with freshly drawn head weights; the same seed draws the same ones."""
    keras.utils.set_random_seed(seed)
    scale = None
    if task.regression:
        values = task.targets[train]
        scale = (float(values.mean()), float(values.std()) or 1.0)
    return model.build(task.settings, task.targets.shape[1], scale)


def loss_function(task: Task, network: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Loss of each sample, [batch, outputs] twice -> [batch].

    Cross-entropy (paper 3.2), or the squared error of the standardised target.
    """
    if task.regression:
        deviation = network.get_layer("output").scale
        return lambda labels, outputs: tf.reduce_mean(((labels - outputs) / deviation) ** 2, -1)
    return keras.losses.CategoricalCrossentropy(reduction="none")


def train_step(network: keras.Model, rate: float, task: Task):
    """A compiled step: rank, augment, learn.

    Returns
    -------
    function
        (mel uint8 [batch, mel, frames], targets [batch, outputs], weights [batch], seed int32 [2])
        -> summed loss of the batch as learnt from, augmented.
    """
    settings = task.settings
    optimizer = keras.optimizers.Adadelta(rate)
    variables = network.trainable_variables
    optimizer.build(variables)
    loss_of = loss_function(task, network)

    @tf.function(
        autograph=False,  # nothing here needs it, and tracing is faster without
        input_signature=[
            tf.TensorSpec([None, None, None], tf.uint8),
            tf.TensorSpec([None, task.targets.shape[1]], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ],
    )
    def step(mel, labels, weights, seed):
        pictures = model.inputs(mel, settings)
        if settings.augmentation != "none":
            # SapAugment ranks by the loss of the un-augmented picture, dropout off.
            losses = loss_of(labels, network(pictures, training=False))
            pictures, labels, _ = augmentation.augment(pictures, labels, losses, seed, settings)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            losses = weights * loss_of(labels, model.learning(network, pictures, settings))
            mean = tf.reduce_mean(losses)
        gradients = tape.gradient(mean, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return tf.reduce_sum(losses)

    return step


def _devel_score(task: Task, network: keras.Model, chunks: np.ndarray, predictor):
    """Loss and file-level score of the devel partition: (float, float)."""
    outputs = loader.predict(predictor, task.store, chunks)
    loss = loss_function(task, network)(task.targets[chunks], outputs)
    _, file = np.unique(task.store.file[chunks], return_inverse=True)
    fused = evaluation.fuse(outputs, file, task.settings.fusion)
    first = np.unique(file, return_index=True)[1]
    if task.regression:
        score = evaluation.rho(task.targets[chunks][first, 0], fused[:, 0])
    else:
        labels = task.classes[chunks][first]
        score = evaluation.uar(labels, fused.argmax(1), len(task.card.classes))
    return float(np.mean(loss)), float(score)


def _learn(step, task: Task, train: np.ndarray, rng: np.random.Generator) -> float:
    """One epoch of steps; the mean loss of a chunk as it was shown."""
    settings = task.settings
    classes = task.classes[train]
    order = loader.epoch_order(classes, settings.balance, rng)
    weights = loader.class_weights(classes, settings.balance)[order]
    chunks = train[order]
    total = 0.0
    for mel, targets, weight in loader.batches(
        task.store, chunks, settings.batch_size, task.targets[chunks], weights
    ):
        seed = rng.integers(2**31, size=2, dtype=np.int32)
        total += float(step(mel, targets, weight, seed))
    return total / len(chunks)


def fit(
    network: keras.Model,
    task: Task,
    train: np.ndarray,
    seed: int,
    devel: np.ndarray | None = None,
    epochs: int | None = None,
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
    epochs : int, optional
        Stop after so many epochs in all, wherever in the schedule that is.
    log : callable
        Is given one line an epoch.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, phase, learning_rate, train_loss, devel_loss, devel_score,
        seconds, best (whether its weights were the best on devel by score, then by loss).
    """
    settings = task.settings
    rng = np.random.default_rng(seed)
    phases = schedule(settings, len(model.backbone_of(network).layers))
    planned = sum(phase[1] for phase in phases)
    last = planned if epochs is None else min(epochs, planned)
    predictor = model.predictor(network, settings) if devel is not None else None
    history, best, kept = [], (-np.inf, -np.inf), None
    for number, length, rate, layers in phases:
        if len(history) >= last:
            break
        model.set_trained(network, layers)
        step = train_step(network, rate, task)
        for _ in range(min(length, last - len(history))):
            begin = time.perf_counter()
            row = {
                "epoch": len(history) + 1,
                "phase": number,
                "learning_rate": rate,
                "train_loss": _learn(step, task, train, rng),
            }
            if devel is not None:
                loss, score = _devel_score(task, network, devel, predictor)
                row |= {"devel_loss": loss, "devel_score": score}
                # A correlation with a constant is no number: worse than any score.
                rank = (-np.inf if np.isnan(score) else score, -loss)
                if kept is None or rank > best:
                    best, kept = rank, network.get_weights()
            row["seconds"] = time.perf_counter() - begin
            history.append(row)
            log(_line(row, last, task.regression))
    table = pd.DataFrame(history)
    if devel is not None and kept is not None:
        network.set_weights(kept)
        table["best"] = table.index == _best(table)
    return table


def _best(history: pd.DataFrame) -> int:
    """Row of the best epoch on devel: highest score, then lowest loss, then first."""
    ranked = history.sort_values(
        ["devel_score", "devel_loss"], ascending=[False, True], kind="stable"
    )
    return int(ranked.index[0])


def _line(row: dict, last: int, regression: bool) -> str:
    text = (
        f"phase {row['phase']} epoch {row['epoch']:3d}/{last}  train loss {row['train_loss']:.3f}"
    )
    if "devel_score" in row:
        score = row["devel_score"]
        named = f"rho {score:.3f}" if regression else f"UAR {100 * score:.1f} %"
        text += f"  devel loss {row['devel_loss']:.3f}  devel {named}"
    return f"{text}  {row['seconds']:.1f} s"

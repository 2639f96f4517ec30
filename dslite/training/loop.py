"""Fine-tuning in two phases, choosing on devel, going on after an interruption (paper 2.1, 3.2)."""

import json
import math
import operator
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd

from dslite import paths, provenance
from dslite.evaluation import metrics, significance
from dslite.features import store
from dslite.models import classifier, pooling
from dslite.settings import Settings
from dslite.training import ridge, steps
from dslite.training.steps import Task

Row = dict[str, Any]  # of the history that `fit` returns
# Of a state: what training may change, the optimiser of the phase under way, the best devel epoch
Arrays = dict[str, list[np.ndarray]]


class Phase(NamedTuple):
    """A phase of the schedule: ``trained`` is the number of the backbone's trained layers."""

    number: int
    epochs: int
    rate: float
    trained: int


def schedule(settings: Settings, layers: int) -> list[Phase]:
    """Return the phases of a training of a backbone with so many layers.

    Phase 2 has a tenth of the learning rate, unless it has one of its own; without fine-tuned
    layers there is none. With random weights one phase trains the whole network. Phase 1 of the
    head ``ridge`` is one step, its solution.
    """
    rate, last = settings.learning_rate, classifier.trained_layers(settings, layers)
    first, second = settings.epochs_phase1, settings.epochs_phase2
    if settings.trained_whole:
        return [Phase(1, first + second, rate, layers)]
    phases = [
        Phase(1, 1, 0.0, 0) if settings.head == "ridge" else Phase(1, first, rate, 0),
        Phase(2, second if last else 0, settings.learning_rate_phase2 or rate / 10, last),
    ]
    return [phase for phase in phases if phase.epochs]


def build_model(task: Task, train: np.ndarray, seed: int) -> keras.Model:
    """Build a model with freshly drawn head weights; the same seed draws the same ones."""
    keras.utils.set_random_seed(seed)
    values = task.targets[train]
    scale = (float(values.mean()), float(values.std()) or 1.0) if task.regression else None
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
    """Train in phases; with a devel partition, end with the weights of the epoch chosen on it.

    Parameters
    ----------
    network : keras.Model
        Of `build_model`; changed in place.
    train, devel : ndarray of int64
        Chunks. Without ``devel`` nothing is chosen and the last epoch's weights remain.
    epochs : dict, optional
        Phase -> number of its epochs, instead of the settings' (see `epochs_to_chosen`).
    checkpoint : (path, identity), optional
        File of the state after every epoch, from which one of the same identity goes on.

    Returns
    -------
    DataFrame
        One row an epoch, as ``after_epoch`` takes them; images_per_s are those of the training
        alone, ``chosen`` is the epoch whose weights remain: the last one or, by the settings, the
        best one on devel by score, then by loss.
    """
    settings, trunks = task.settings, trunks or steps.Trunks(task, log)
    phases = schedule(settings, len(classifier.backbone_of(network).layers))
    lengths = [phase.epochs if epochs is None else epochs.get(phase.number, 0) for phase in phases]
    variables = _learnt(network, phases, settings)
    rng = np.random.default_rng(seed)
    stored = load_state(*checkpoint) if checkpoint else None
    if stored:
        shapes = [array.shape for array in stored[0].get("variables", ())]
        stored = stored if shapes == [tuple(v.shape) for v in variables] else None
    arrays, facts = stored or ({"chosen": []}, {"history": []})
    history: list[Row] = facts["history"]
    merit = _rank if settings.epoch_choice == "best" else operator.itemgetter("epoch")
    if stored:
        _assign(variables, arrays["variables"])
        rng.bit_generator.state = facts["order"]
        log(f"going on after epoch {len(history)}, where it was interrupted")

    def out_of_patience(phase: Phase) -> bool:
        """Whether the last ``patience`` epochs of a phase all were no better than one before."""
        if devel is None or settings.patience is None:
            return False
        ranks = [_rank(row) for row in history if row["phase"] == phase.number]
        before, last = ranks[: -settings.patience], ranks[-settings.patience :]
        return bool(before) and max(last) <= max(before)

    for place, (phase, length) in enumerate(zip(phases, lengths, strict=True)):
        done = sum(row["phase"] == phase.number for row in history)
        begun = any(row["phase"] > phase.number for row in history)  # a later one
        if begun or done >= length or out_of_patience(phase):
            continue
        classifier.set_trained(network, phase.trained)
        stage = trunks.stage(network, phase.trained)
        predict = steps.predictor(network, stage, task)
        solved = settings.head == "ridge" and phase.number == 1
        if not solved:
            optimiser = steps.optimizer(settings, phase.rate, network.trainable_variables)
            if done:
                _assign(optimiser.variables, arrays["optimizer"])
            step = steps.train_step(network, stage, task, optimiser)
        for epoch in range(done, length):
            begin = time.perf_counter()
            rate = steps.rate_at(settings, phase.rate, epoch, phase.epochs)
            row = {"epoch": len(history) + 1, "phase": phase.number, "learning_rate": rate}
            if solved:
                facts["heads"] = _solve(network, task, trunks, train, log)
                losses = _losses(task, network, train, predict(train))
                row["train_loss"] = float(losses.mean())
            else:
                optimiser.learning_rate = rate
                losses = np.concatenate(list(epoch_losses(step, stage, task, train, rng)))
                row["train_loss"] = float(losses.mean(dtype=np.float64))
                arrays["optimizer"] = _values(optimiser.variables)
            row["images_per_s"] = len(losses) / (time.perf_counter() - begin)
            if devel is not None:
                score, shares = _devel_score(task, network, devel, predict)
                row |= score
                if solved:
                    facts["solved"] = shares
                elif settings.head == "ridge":  # paired with the solved head, file by file
                    difference = np.subtract(shares, facts["solved"])
                    row["gain"], row["noise"] = significance.paired_gain(difference)
                if not history or merit(row) > max(map(merit, history)):
                    arrays["chosen"] = _values(variables)
            last = len(history) + length - epoch + sum(lengths[place + 1 :])
            row["seconds"] = time.perf_counter() - begin
            history.append(row)
            if checkpoint:
                arrays["variables"] = _values(variables)
                facts["order"] = rng.bit_generator.state
                save_state(*checkpoint, arrays, facts)
            after_epoch(row)
            log(line(row, last, task.regression))
            if out_of_patience(phase):
                log(f"phase {phase.number} ends early: devel does not get better")
                break
    table = pd.DataFrame(history)
    table.attrs["heads"] = facts.get("heads", [])
    if devel is not None and history:
        _assign(variables, arrays["chosen"])
        merits = [merit(row) for row in history]
        table["chosen"] = table.index == merits.index(max(merits))
    return table


def epochs_to_chosen(history: pd.DataFrame) -> dict[int, int]:
    """Return the epochs of each phase up to the chosen one: what the final model takes."""
    if not len(history):
        return {}
    taken = history.iloc[: int(np.flatnonzero(history["chosen"])[0]) + 1]
    return {int(phase): len(rows) for phase, rows in taken.groupby("phase")}


def epoch_losses(
    step: Callable,
    stage: steps.Stage,
    task: Task,
    train: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Take one epoch of steps; yield the losses of each batch before weighting, float32 [batch]."""
    settings = task.settings
    classes = task.classes[train]
    order = steps.epoch_order(classes, settings.balance, rng)
    weights = steps.class_weights(classes, settings.balance)[order]
    chunks = train[order]
    read = steps.sources(stage, task)
    for batch in store.batches(read, chunks, settings.batch_size, task.targets[chunks], weights):
        seed = rng.integers(2**31, size=2, dtype=np.int32)
        yield step(*batch, seed).numpy() / batch[-1]


def _learnt(network: keras.Model, phases: list[Phase], settings: Settings) -> list[keras.Variable]:
    """Every variable that a training changes, in any phase; the dropout's random state too."""
    if settings.trained_whole:
        return network.variables
    classifier.set_trained(network, max(phase.trained for phase in phases))
    solved = [] if settings.head == "arelu" else _head_layer(network).weights
    products = pooling.products(network)
    solved = [*solved, *(products.weights if products else [])]
    weights = set(map(id, network.weights))
    random_states = [v for v in network.variables if id(v) not in weights]
    return [*network.trainable_variables, *solved, *random_states]


def _losses(
    task: Task, network: keras.Model, chunks: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    return steps.loss_function(task, network)(task.targets[chunks], outputs).numpy()


def _devel_score(
    task: Task, network: keras.Model, chunks: np.ndarray, predict: Callable
) -> tuple[Row, list[float]]:
    """Loss and file-level score of the devel partition; what each file adds to the score."""
    outputs = predict(chunks)
    loss = float(_losses(task, network, chunks, outputs).mean())
    _, file = np.unique(task.store.file[chunks], return_inverse=True)
    fused = metrics.fuse(outputs, file, task.settings.fusion)
    first = np.unique(file, return_index=True)[1]
    if task.regression:
        labels = task.targets[chunks][first, 0]
        score, shares = metrics.rho(labels, fused[:, 0]), -((labels - fused[:, 0]) ** 2)
    else:
        labels, predictions = task.classes[chunks][first], fused.argmax(1)
        score = metrics.uar(labels, predictions, len(task.card.classes))
        shares = significance.recall_shares(labels, predictions)
    return {"devel_loss": loss, "devel_score": float(score)}, shares.tolist()


def _head_layer(network: keras.Model) -> keras.layers.Dense:
    """The last layer with weights, which the head ``ridge`` consists of."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)][-1]


def _solve(
    network: keras.Model,
    task: Task,
    trunks: steps.Trunks,
    train: np.ndarray,
    log: Callable[[str], None],
) -> list[Row]:
    """Solve the head on training chunks and copies, write it into the network; how heads fared."""
    columns, begin = {}, 0
    for layer in pooling.statistics(network):
        columns[layer.name] = slice(begin, begin + layer.output.shape[-1])
        begin = columns[layer.name].stop
    rows = np.concatenate([train, task.store.copies(train)])
    features, targets = trunks.features(network), task.targets[rows]
    dense, products = _head_layer(network), pooling.products(network)
    paired = (pooling.PAIRED.name, products.used["shape"]) if products else None
    if task.regression:
        undone = network.get_layer("output")
        targets = (targets - undone.offset) / undone.scale
    # Where nobody is named, or all is one speaker's, a file is a group of its own.
    files = task.store.files.iloc[task.store.file[rows]]
    groups = files["speaker"].where(files["speaker"] != "", files["path"])
    groups = (groups if groups.nunique() > 1 else files["path"]).to_numpy()
    solution = ridge.solve(
        *(features, rows, targets, groups),
        columns or {"all": slice(0, features.shape[1])},
        not task.regression,
        task.settings.balance != "none",
        log,
        len(train),
        paired,
    )
    if products:
        _assign(products.weights, solution.paired)
    dense.kernel.assign(solution.kernel)
    dense.bias.assign(solution.bias)
    return solution.heads


def _rank(row: Row) -> tuple[float, float]:
    """How good an epoch is on devel: by score, then by loss; NaN is worse than any number."""
    score, loss = row["devel_score"], row["devel_loss"]
    if not row.get("gain", np.inf) > row.get("noise", 0.0):  # phase 2 of a solved head: no gain
        return (-math.inf, -math.inf)
    return (-math.inf if math.isnan(score) else score, -math.inf if math.isnan(loss) else -loss)


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def line(row: Row, last: int, regression: bool) -> str:
    """Return one epoch in words, and how long as many like it take as are left until ``last``."""
    text = f"phase {row['phase']} epoch {row['epoch']:3d}/{last}"
    text += f"  train loss {row['train_loss']:.3f}"
    if "devel_score" in row:
        score = row["devel_score"]
        metric = f"rho {score:.3f}" if regression else f"UAR {100 * score:.1f} %"
        text += f"  devel loss {row['devel_loss']:.3f}  devel {metric}"
    text += f"  {row['images_per_s']:.0f} images/s  {row['seconds']:.1f} s"
    left = (last - row["epoch"]) * row["seconds"]
    return f"{text}  {provenance.duration_in_words(left)} left" if left else text


def save_state(path: Path, identity: str, arrays: Arrays, facts: Row) -> None:
    """Write a state under a temporary name and rename it: there is always one whole file."""
    named = {f"{group}.{i}": array for group in arrays for i, array in enumerate(arrays[group])}
    lengths = {group: len(of) for group, of in arrays.items()}
    content = json.dumps({"identity": identity, "lengths": lengths, "facts": facts})
    with paths.replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, json=np.frombuffer(content.encode(), np.uint8), **named)


def load_state(path: Path, identity: str) -> tuple[Arrays, Row] | None:
    """Read a state; None where there is none, it is another training's or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if stored.zip.testzip():  # numpy does not read, nor check, what a header leaves out
                return None
            content = json.loads(stored["json"].tobytes())
            if content["identity"] != identity:
                return None
            arrays = {
                group: [stored[f"{group}.{number}"] for number in range(length)]
                for group, length in content["lengths"].items()
            }
            facts = content["facts"]
            whole = all(isinstance(array, np.ndarray) for of in arrays.values() for array in of)
            np.random.default_rng().bit_generator.state = facts["order"]  # raises if it is none
            if not whole or not isinstance(facts["history"], list):
                return None
    except Exception:  # not there, or damaged in whatever way
        return None
    return arrays, facts

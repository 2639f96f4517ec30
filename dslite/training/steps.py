"""One training step: rank, augment, learn; the frozen layers are computed once (paper 2.1)."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_sample_weight

from dslite import paths, provenance
from dslite.cards import Card
from dslite.features import store as feature_store
from dslite.features.store import Store
from dslite.models import classifier, split
from dslite.settings import Settings
from dslite.training import augmentation


def optimizer(settings: Settings, rate: float, variables: list) -> keras.optimizers.Optimizer:
    """Make the settings' optimiser, ready for some variables; ``sgd`` has momentum 0.9."""
    options = {"momentum": 0.9, "nesterov": True} if settings.optimizer == "sgd" else {}
    if settings.weight_decay or settings.optimizer == "adamw":
        options["weight_decay"] = settings.weight_decay  # AdamW's default is not 0
    config = {"learning_rate": rate, **options}
    optimiser = keras.optimizers.get({"class_name": settings.optimizer, "config": config})
    optimiser.build(variables)
    return optimiser


def rate_at(settings: Settings, rate: float, epoch: int, epochs: int) -> float:
    """Compute the learning rate of an epoch (0 is the first one) of a phase of ``epochs``.

    Over ``warmup_epochs`` it rises linearly to ``rate``; then it stays, or falls along half a
    cosine towards 0 (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    warm = settings.warmup_epochs
    if epoch < warm:
        return rate * (epoch + 1) / (warm + 1)
    if settings.schedule == "constant":
        return rate
    return rate * 0.5 * (1 + float(np.cos(np.pi * (epoch - warm) / max(1, epochs - warm))))


def epoch_order(classes: np.ndarray, balance: str, rng: np.random.Generator) -> np.ndarray:
    """Draw the order in which an epoch shows the chunks: positions in ``classes``, int64.

    ``upsample`` shows chunks of the smaller classes again, drawn without replacement as far as they
    last, until all classes are as large as the largest.
    """
    if balance != "upsample":
        return rng.permutation(len(classes))
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    largest = max(len(member) for member in members)
    drawn = []
    for member in members:
        rounds = -(-largest // len(member))
        again = np.concatenate([member, *(rng.permutation(member) for _ in range(rounds - 1))])
        drawn.append(again[:largest])
    return rng.permutation(np.concatenate(drawn))


def class_weights(classes: np.ndarray, balance: str) -> np.ndarray:
    """Return the weight of each chunk's loss, float32; with ``weights`` all classes count alike."""
    if balance != "weights":
        return np.ones(len(classes), np.float32)
    return compute_sample_weight("balanced", classes).astype(np.float32)


class Task(NamedTuple):
    """A corpus as the training sees it, chunk by chunk."""

    store: Store
    targets: np.ndarray  # float32 [chunks, outputs]
    classes: np.ndarray  # int64 [chunks], position of the class; 0 everywhere for a regression
    card: Card
    settings: Settings

    @property
    def regression(self) -> bool:
        """Whether the target is a number."""
        return self.card.task == "regression"


def task_of(card: Card, settings: Settings, store: Store) -> Task:
    """Bring a store's labels to its chunks."""
    targets = feature_store.targets(store.files, card.classes, card.task)[store.file]
    classes = np.zeros(len(targets), np.int64) if card.task == "regression" else targets.argmax(1)
    return Task(store, targets, classes, card, settings)


class Stage(NamedTuple):
    """A network cut for one phase."""

    trunk: Callable[[tf.Tensor], tf.Tensor]  # scaled pictures -> what crosses, float32 [n, size]
    tail: Callable[[tf.Tensor, bool], tf.Tensor]  # what crosses, batch norm learns -> pooled
    size: int
    stored: np.ndarray | None  # float32 [chunks, size] of un-augmented pictures; None: at each step


class Trunks:
    """The frozen layers of trainings from the same weights, compiled and computed once."""

    def __init__(self, task: Task, log: Callable[[str], None] = print):
        self.task, self.log = task, log
        self._functions: dict[int, Callable] = {}
        self._stored: dict[int, np.ndarray | None] = {}

    def stage(self, network: keras.Model, last: int) -> Stage:
        """Cut a network so that the last ``last`` layers of its backbone can be trained.

        Without any (phase 1) the pooled features cross the cut, and only the head is left.
        """
        backbone = classifier.backbone_of(network)
        pooled = classifier.pooled_backbone(network)
        if last:
            parts = split.cut(pooled, backbone.layers[-last:])
            size, frozen, place = parts.size, parts.first, parts.position
            function, tail = parts.trunk, parts.tail
            if parts.is_whole:  # nothing is frozen: the pictures themselves cross
                return Stage(function, tail, size, None)
        else:
            size, frozen, place = int(pooled.output.shape[-1]), backbone, "pooled"

            def function(pictures: tf.Tensor) -> tf.Tensor:
                return pooled(pictures, training=False)

            def tail(crossing: tf.Tensor, training: bool) -> tf.Tensor:
                return crossing

        def trunk(pictures: tf.Tensor) -> tf.Tensor:
            if last not in self._functions:  # compiled when it is first called
                with tf.init_scope():
                    self._functions[last] = split.frozen(function, *backbone.input_shape[1:])
            return self._functions[last](pictures)

        if last not in self._stored:
            stored = self.task.settings.trunk_cache != "off"
            self._stored[last] = self._store(size, frozen, place, trunk) if stored else None
        return Stage(trunk, tail, size, self._stored[last])

    def features(self, network: keras.Model) -> np.ndarray:
        """Compute or load the pooled features of all chunks, float16 [chunks, features]."""
        stage = self.stage(network, 0)
        if stage.stored is not None:
            return stage.stored
        mel, dtype = self.task.store.mel, feature_store.FEATURES_DTYPE
        compute = self._computing(stage.trunk, dtype)
        parts = feature_store.batches([mel], np.arange(len(mel)), self.task.settings.batch_size)
        return np.concatenate([compute(part).numpy().astype(dtype) for (part,) in parts])

    def _computing(self, trunk: Callable, dtype: type) -> Callable:
        """Compile a trunk for stored spectrograms; its output stays within the range of a type."""
        # Compiled, drawing included, and in batches of the training's size: as a step without
        # the store would compute it, to the last bit. A difference in the last bit is enough
        # for two trainings at a high rate to part after some steps.
        settings, largest = self.task.settings, float(np.finfo(dtype).max)

        @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.uint8)], autograph=False)
        def compute(mel):
            return tf.clip_by_value(trunk(classifier.inputs(mel, settings)), -largest, largest)

        return compute

    def _store(
        self, size: int, frozen: keras.Model, place: int | str, trunk: Callable
    ) -> np.ndarray | None:
        """The trunk's output for every picture, on disk; None where there is no room."""
        settings, mel = self.task.settings, self.task.store.mel
        if place != "pooled":  # a head is solved from the copies, nothing else sees them
            mel = mel[: self.task.store.originals]
        used = ("backbone", "feature_layer", "pooling", "segments", "image_size", "threads")
        described = {name: getattr(settings, name) for name in used}
        described |= {"place": place, "weights": weights_digest(frozen)}
        described |= {"spectrograms": self.task.store.key, "versions": provenance.versions()}
        solved = place == "pooled" and settings.head == "ridge"
        dtype = feature_store.FEATURES_DTYPE if solved else feature_store.ACTIVATIONS_DTYPE
        described |= {"batch": settings.batch_size, "dtype": np.dtype(dtype).name}
        key = provenance.digest([feature_store.ACTIVATIONS_VERSION, described])[:16]

        compute = self._computing(trunk, dtype)
        return feature_store.load_activations(
            paths.cache() / "activations" / self.task.card.dataset / key,
            (len(mel), size),
            lambda part: compute(mel[part]).numpy(),
            settings.batch_size,
            settings.trunk_cache_gib,
            self.log,
            dtype,
        )


def weights_digest(network: keras.Model) -> str:
    """SHA-256 of a network's weights."""
    content = hashlib.sha256()
    for variable in network.weights:
        content.update(np.ascontiguousarray(variable.numpy()))
    return content.hexdigest()


def loss_function(
    task: Task, network: keras.Model, label_smoothing: float = 0.0
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a function of each sample's loss, [batch, outputs] twice -> [batch] (paper 3.2)."""
    if task.regression:
        deviation = network.get_layer("output").scale
        return lambda labels, outputs: tf.reduce_mean(((labels - outputs) / deviation) ** 2, -1)
    smooth = {"label_smoothing": label_smoothing}  # Szegedy et al. 2016
    return keras.losses.CategoricalCrossentropy(reduction="none", **smooth)


def train_step(
    network: keras.Model, stage: Stage, task: Task, optimiser: keras.optimizers.Optimizer
):
    """Compile a step: rank, augment, learn; it gives each sample's loss, augmented and weighted.

    Un-augmented pictures are ranked and learnt from as they were stored. Only those that the
    augmentation really alters are drawn and go through the trunk, gathered across the batch.
    """
    settings = task.settings
    variables = network.trainable_variables
    loss_of = loss_function(task, network)
    loss_learnt = loss_function(task, network, settings.label_smoothing)
    batch_norm = settings.trained_whole  # learns, see `classifier.build_classifier`

    def augmented(mel, labels, pooled, seed) -> tuple[tf.Tensor, ...]:
        """What is planned, the rows that are altered, and what the trunk makes of them."""
        # SapAugment ranks by the loss of the un-augmented picture, dropout off.
        losses = loss_of(labels, classifier.head(network, pooled, False))
        lam = augmentation.strength(losses, settings.sap_a, settings.sap_s)
        plan = augmentation.plan(lam, seed, settings)
        # Convolutions of an empty batch fail: where nothing is altered, the first picture goes
        # through the trunk once more as it is.
        rows = tf.cond(
            tf.reduce_any(plan.changed),
            lambda: tf.where(plan.changed)[:, 0],
            lambda: tf.zeros([1], tf.int64),
        )
        some = plan.rows(rows)
        pictures = classifier.inputs(tf.gather(mel, rows), settings)
        if "cutmix" in settings.augmentation:
            partners = classifier.inputs(tf.gather(mel, some.partner), settings)
            pictures = augmentation.paste(pictures, partners, some)
        if "specaugment" in settings.augmentation:
            pictures = augmentation.mask(pictures, some, settings)
        return plan, rows[:, None], stage.trunk(pictures)

    def learnt_from(crossing, mel, labels, seed, tape) -> tuple[tf.Tensor, tf.Tensor]:
        """Pooled features and labels, augmented."""
        if settings.augmentation == "none":
            return stage.tail(crossing, batch_norm), labels
        if batch_norm:  # its statistics are those of the augmented batch as a whole
            with tape.stop_recording():
                plan, rows, altered = augmented(mel, labels, stage.tail(crossing, False), seed)
                crossing = tf.tensor_scatter_nd_update(crossing, rows, altered)
            return stage.tail(crossing, True), augmentation.mix_labels(labels, plan)
        # One pass through the tail both ranks and is learnt from; the altered ones follow.
        pooled = stage.tail(crossing, False)
        with tape.stop_recording():
            plan, rows, altered = augmented(mel, labels, pooled, seed)
        pooled = tf.tensor_scatter_nd_update(pooled, rows, stage.tail(altered, False))
        return pooled, augmentation.mix_labels(labels, plan)

    @tf.function(
        autograph=False,  # nothing here needs it, and tracing is faster without
        input_signature=[
            tf.TensorSpec([None, None, None], tf.uint8),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, task.targets.shape[1]], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ],
    )
    def step(mel, stored, labels, weights, seed):
        if stage.stored is None:
            crossing = stage.trunk(classifier.inputs(mel, settings))
        else:
            crossing = tf.ensure_shape(stored, [None, stage.size])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            pooled, labels = learnt_from(crossing, mel, labels, seed, tape)
            losses = weights * loss_learnt(labels, classifier.head(network, pooled, True))
            mean = tf.reduce_mean(losses)
        gradients = tape.gradient(mean, [variable.value for variable in variables])
        optimiser.apply(gradients, variables)
        return losses

    return step


def sources(stage: Stage, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return spectrogram and stored activation of each chunk; what a step needs not is empty."""
    mel, stored = task.store.mel, stage.stored
    if stored is None:
        stored = np.zeros((len(mel), 0), np.float32)
    elif task.settings.augmentation == "none":
        mel = np.zeros((len(mel), 0, 0), np.uint8)
    return mel, stored


def predictor(network: keras.Model, stage: Stage, task: Task):
    """Compile a function from chunks (int64) to the network's output, dropout off."""
    if stage.stored is None:
        whole = classifier.predictor(network, task.settings)
        return lambda chunks: feature_store.predict(whole, task.store.mel, chunks)

    spec = tf.TensorSpec([None, stage.size], stage.stored.dtype)

    @tf.function(input_signature=[spec], autograph=False)
    def predict(stored):
        return classifier.head(network, stage.tail(tf.cast(stored, tf.float32), False), False)

    return lambda chunks: feature_store.predict(predict, stage.stored, chunks)

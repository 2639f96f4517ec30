"""A step: what it learns from, and that stored activations change nothing in it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras.src.applications import densenet

from dslite.features import store as feature_store
from dslite.models import backbones, classifier
from dslite.settings import OPTIMIZERS, Settings
from dslite.training import augmentation, loop, steps
from tests.random_networks import alive
from tests.training.toy import outputs_of, quiet, toy

BATCH, CHUNKS = 8, 25
SIDE = {"densenet121": 32, "mobilenet_v2": 64, "squeezenet": 64}
# What the two ways may differ by: relative, and what is left of a loss near zero by rounding.
AGREEMENT = {"rtol": 1e-4, "atol": 1e-6}
AUGMENTED = {"augmentation": "cutmix+specaugment", "probability_min": 0.2, "dropout": 0.25}
AUGMENTED |= {"probability_max": 0.8}


@pytest.fixture
def take(monkeypatch):
    """Takes steps of a task with the last layers of the backbone trained, as `loop.fit` does."""
    chunks, plans = [], []
    batches, plan = feature_store.batches, augmentation.plan

    def spied_batches(sources, of, size, *arrays):
        chunks.extend(of[begin : begin + size] for begin in range(0, len(of), size))
        return batches(sources, of, size, *arrays)

    def spied_plan(lam, seed, settings):
        planned = plan(lam, seed, settings)
        tf.py_function(lambda *parts: plans.append([p.numpy() for p in parts]), planned, [])
        return planned

    monkeypatch.setattr(feature_store, "batches", spied_batches)
    monkeypatch.setattr(augmentation, "plan", spied_plan)

    def take(settings, last=0, count=8, seed=5):
        chunks.clear()
        plans.clear()
        task = toy(settings, (10, 8, 7), chunks_each=1, devel=False)
        train = np.arange(CHUNKS)
        network = loop.build_model(task, train, seed)
        classifier.set_trained(network, last)
        stage = steps.Trunks(task, quiet).stage(network, last)
        rate = settings.learning_rate * (0.1 if last else 1)
        optimiser = steps.optimizer(settings, rate, network.trainable_variables)
        step = steps.train_step(network, stage, task, optimiser)
        inputs, losses, rng = [], [], np.random.default_rng(seed)

        def spied_step(mel, stored, *rest):
            inputs.append(rest)
            return step(mel, stored, *rest)

        while len(losses) < count:
            losses += list(loop.epoch_losses(spied_step, stage, task, train, rng))
        spied = {"chunks": list(chunks), "inputs": inputs, "plans": list(plans)}
        taken = {"network": network, "stage": stage, "step": step, "task": task, "losses": losses}
        return SimpleNamespace(**taken, **spied)

    return take


# Stored activations


def assert_stored_activations_change_nothing(take, settings, last, count):
    """The same batches, plans, losses of every sample and weights at the end."""
    switched = [settings.model_copy(update={"trunk_cache": word}) for word in ("on", "off")]
    one, other = (take(each, last, count) for each in switched)
    assert (one.stage.stored is None, other.stage.stored is None) == (False, True)
    for kind in ("chunks", "inputs", "plans"):  # inputs: labels, weights, seed
        for mine, others in zip(getattr(one, kind), getattr(other, kind), strict=True):
            for a, b in zip(mine, others, strict=True):
                np.testing.assert_array_equal(a, b)
    for mine, others in zip(one.losses, other.losses, strict=True):
        np.testing.assert_allclose(mine, others, **AGREEMENT)
    trained = (run.network.trainable_variables for run in (one, other))
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)
    assert np.ptp([losses.mean() for losses in other.losses]) > 0.01  # something was learnt
    assert {len(chunks) for chunks in one.chunks} == {8, 6}  # an incomplete last batch
    assert one.step.experimental_get_tracing_count() == 1
    assert bool(one.plans) == (settings.augmentation != "none")
    if one.plans:
        altered = [(p[1].any(1) | p[3].any(1)).mean() for p in one.plans]
        assert 0.1 < np.mean(altered) < 0.9  # stored and drawn pictures in one batch
    # The predictor from stored activations is the whole network's.
    chunks = np.arange(CHUNKS)[::-1]
    outputs, without = (
        steps.predictor(run.network, run.stage, run.task)(chunks) for run in (one, other)
    )
    whole = classifier.predictor(one.network, settings)(one.task.store.mel[chunks])
    np.testing.assert_allclose(outputs, whole, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(outputs, without, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("last", "differs"),
    [(0, {"augmentation": "none"}), (0, {}), (4, {"pooling": "time", "dropout": 0.5})],
)
def test_steps_are_the_same_with_and_without_stored_activations(take, chosen, last, differs):
    settings = chosen(**AUGMENTED | differs)
    assert_stored_activations_change_nothing(take, settings, last, 16)


@pytest.fixture
def short_densenet(monkeypatch):
    """A DenseNet of 8 dense layers in the place of that with 58, which takes a minute to trace."""

    def build(height, width):
        options = {"include_top": False, "weights": None, "input_shape": (height, width, 3)}
        return densenet.DenseNet([2, 2, 2, 2], **options)

    short = replace(backbones.BACKBONES["densenet121"], build=build)
    monkeypatch.setitem(backbones.BACKBONES, "densenet121", short)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "share", "count"),
    [("densenet121", 0.2, 12), ("mobilenet_v2", 0.2, 50), ("squeezenet", 0.7, 12)],
)
def test_steps_of_real_backbones_are_the_same(
    take, cache, tmp_path, short_densenet, backbone, share, count
):
    """Training enlarges rounding errors: what is stored has to be exact to the last bit.

    At this rate, a MobileNetV2 whose input was changed by a ten millionth is another network
    after 50 steps.
    """
    file, side = tmp_path / f"{backbone}.weights.h5", SIDE[backbone]
    network = alive(backbones.build_backbone(backbone, "random", side), first=1 / 60)
    network.save_weights(file)
    used = {"units": 8, "batch_size": BATCH, "learning_rate": 1.0, "mel_bands": 16}
    used |= {"backbone": backbone, "image_size": side, "weights": str(file)}
    last = int(len(network.layers) * share)
    settings = Settings(**used | AUGMENTED)
    assert_stored_activations_change_nothing(take, settings, last, count)


@pytest.fixture
def computed(monkeypatch):
    """Folders of activations that would be computed; zeros in their place."""
    folders = []

    def load(folder, shape, *rest):
        folders.append(folder.name)
        return np.zeros(shape, np.float32)

    monkeypatch.setattr(feature_store, "load_activations", load)
    return folders


def test_what_changes_an_activation_changes_its_key(chosen, computed, tmp_path):
    def key(last=0, spectrograms="toy", **differs):
        task = toy(chosen(**differs), (2, 1, 1), key=spectrograms)
        network = loop.build_model(task, np.arange(4), 0)
        classifier.set_trained(network, last)
        steps.Trunks(task, quiet).stage(network, last)
        return computed[-1]

    others = tmp_path / "others.weights.h5"
    alive(backbones.build_backbone("squeezenet", "random", 32), seed=9).save_weights(others)
    plain = key()
    assert key(units=4, learning_rate=0.3, augmentation="cutmix") == key() == plain
    changes = (
        *({"weights": str(others)}, {"pooling": "time"}, {"image_size": 48}, {"last": 4}),
        *({"feature_layer": "relu2"}, {"spectrograms": "others"}, {"last": 2}, {"head": "ridge"}),
    )
    assert len({key(**differs) for differs in changes} - {plain}) == len(changes)


@pytest.mark.parametrize(
    ("trunk_cache", "augmentation", "mel_read", "stored"),
    [("on", "none", 0, 16), ("on", "cutmix", 16, 16), ("off", "none", 16, 0)],
)
def test_sources_hold_what_a_step_reads(
    chosen, computed, trunk_cache, augmentation, mel_read, stored
):
    task = toy(chosen(augmentation=augmentation, trunk_cache=trunk_cache), (3, 3, 3))
    network = loop.build_model(task, np.arange(18), 0)
    classifier.set_trained(network, 0)
    read = steps.sources(steps.Trunks(task, quiet).stage(network, 0), task)
    assert [part.shape for part in read] == [(18, mel_read, mel_read), (18, stored)]


# Losses and augmentation


def step_of(task, network, chunks):
    """A step of phase 1 on some chunks; takes their weights and a seed."""
    classifier.set_trained(network, 0)
    stage = steps.Trunks(task, quiet).stage(network, 0)
    optimiser = steps.optimizer(task.settings, 1.0, network.trainable_variables)
    step = steps.train_step(network, stage, task, optimiser)
    read = [tf.constant(source[chunks]) for source in steps.sources(stage, task)]
    targets = tf.constant(task.targets[chunks])
    return lambda weights, seed: step(*read, targets, tf.constant(weights), tf.constant(seed))


@pytest.mark.parametrize("trunk_cache", ["on", "off"])
def test_samples_are_ranked_by_their_unaugmented_loss(chosen, monkeypatch, trunk_cache):
    ranked, strength = [], augmentation.strength

    def spy(losses, a, s):
        ranked.append(losses)
        return strength(losses, a, s)

    monkeypatch.setattr(augmentation, "strength", spy)
    task = toy(chosen(augmentation="specaugment", dropout=0.5, trunk_cache=trunk_cache))
    network = loop.build_model(task, task.store.chunks("train"), 0)
    chunks = task.store.chunks("train")[:8]
    outputs = outputs_of(network, task, chunks)
    expected = -np.log(outputs[np.arange(8), task.classes[chunks]])
    step = step_of(task, network, chunks)
    tf.config.run_functions_eagerly(True)
    try:
        step(np.ones(8, np.float32), np.array([1, 2], np.int32))
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(ranked[-1], expected, rtol=1e-4)


def test_class_weights_pull_towards_the_rare_class(chosen):
    """One step on a batch: the head's gradient is that of the weighted mean loss."""
    balanced = steps.class_weights(np.array([0, 0, 0, 1]), "weights")
    np.testing.assert_allclose(balanced, np.array([2 / 3] * 3 + [2]), rtol=1e-6)
    assert balanced.dtype == np.float32
    task = toy(chosen(balance="weights"), (8, 6, 3))
    network = loop.build_model(task, task.store.chunks("train"), 0)
    bias = network.get_layer("output").bias
    chunks = task.store.chunks("train")[:8]
    weights = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    outputs = outputs_of(network, task, chunks)
    gradient = (weights[:, None] * (outputs - task.targets[chunks])).mean(0)
    before = bias.numpy()
    step_of(task, network, chunks)(weights, np.zeros(2, np.int32))
    # AdaDelta's first step (Zeiler 2012): -sqrt(eps) / sqrt(0.05 g^2 + eps) * g
    expected = -np.sqrt(1e-7) / np.sqrt(0.05 * gradient**2 + 1e-7) * gradient
    np.testing.assert_allclose(bias.numpy() - before, expected, rtol=1e-2)


def test_label_smoothing(chosen):
    task, chunks = toy(chosen(label_smoothing=0.3), (3, 3, 3)), np.arange(8)
    network = loop.build_model(task, chunks, 5)
    labels = 0.7 * task.targets[chunks] + 0.1
    expected = -(labels * np.log(outputs_of(network, task, chunks))).sum(1)
    losses = step_of(task, network, chunks)(np.ones(8, np.float32), np.zeros(2, np.int32))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_the_regression_loss_is_the_squared_error_of_the_standardised_target(chosen):
    task = toy(chosen(), task="regression")
    network = loop.build_model(task, task.store.chunks("train"), 0)
    labels, outputs = tf.constant([[2.0], [5.0]]), tf.constant([[2.5], [1.0]])
    spread = np.std(task.targets[task.store.chunks("train")])
    loss = steps.loss_function(task, network)(labels, outputs)
    np.testing.assert_allclose(loss, np.array([0.25, 16.0]) / spread**2, rtol=1e-5)


# Optimisers and rates


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimisers_by_name(name, decay):
    optimiser = steps.optimizer(Settings(optimizer=name, weight_decay=decay), 0.25, [])
    assert type(optimiser).__name__.lower() == name
    assert float(optimiser.learning_rate.numpy()) == 0.25
    assert (optimiser.weight_decay or 0) == decay
    if name == "sgd":
        assert (optimiser.momentum, optimiser.nesterov) == (0.9, True)


# Order and weights of an epoch


@pytest.mark.parametrize("sizes", [(50, 20, 3), (7, 7), (1, 40), (5,)])
def test_upsampling_shows_all_and_every_class_equally(sizes):
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = steps.epoch_order(classes, "upsample", np.random.default_rng(2))
    assert set(order) == set(range(len(classes)))
    assert np.bincount(classes[order]).tolist() == [max(sizes)] * len(sizes)
    # Without replacement as far as they last: no chunk is ahead of another by more than one.
    shown = np.bincount(order, minlength=len(classes))
    assert all(np.ptp(shown[classes == c]) <= 1 for c in range(len(sizes)))


def test_every_chunk_of_a_small_class_is_drawn_again_equally_often():
    """Also the last one, which the public implementation never draws."""
    classes, extra = np.array([0] * 10 + [1] * 4), np.zeros(4, int)
    rng = np.random.default_rng(0)
    for _ in range(300):
        order = steps.epoch_order(classes, "upsample", rng)
        extra += np.bincount(order, minlength=14)[10:] - 2  # 10 = 2 x 4 + 2 drawn
    low, high = scipy.stats.binom.interval(1 - 1e-6, 300, 0.5)
    assert ((extra >= low) & (extra <= high)).all()

"""A step: what it learns from, and that stored activations change nothing in it."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from dslite.features import store as feature_store
from dslite.models import backbones, classifier
from dslite.settings import OPTIMIZERS, Settings
from dslite.training import augmentation, loop, steps
from tests.random_networks import alive
from tests.training.toy import quiet, toy

BATCH, CHUNKS = 8, 25
SIDE = {"densenet121": 32, "mobilenet_v2": 64, "squeezenet": 64}
# What the two ways may differ by: relative, and what is left of a loss near zero by rounding.
AGREEMENT = {"rtol": 1e-4, "atol": 1e-6}
AUGMENTED = {"augmentation": "cutmix+specaugment", "probability_min": 0.2, "dropout": 0.25}
AUGMENTED |= {"probability_max": 0.8}


@pytest.fixture(autouse=True, scope="module")
def deterministic():
    tf.config.experimental.enable_op_determinism()


@dataclasses.dataclass
class Taken:
    """Steps that were taken, and what each of them learnt from."""

    network: keras.Model
    stage: steps.Stage
    step: object
    task: steps.Task
    chunks: list
    inputs: list
    plans: list
    losses: list


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

    def take(settings, last=0, count=8, spoil=None, seed=5):
        chunks.clear()
        plans.clear()
        task = toy(settings, (10, 8, 7), chunks_each=1, devel=False)
        train = np.arange(CHUNKS)
        network = loop.build_model(task, train, seed)
        classifier.set_trained(network, last)
        stage = steps.Trunks(task, quiet).stage(network, last)
        if spoil:
            stage = dataclasses.replace(stage, stored=spoil(stage.stored))
        rate = settings.learning_rate * (0.1 if last else 1)
        optimiser = steps.optimizer(settings, rate, network.trainable_variables)
        step = steps.train_step(network, stage, task, optimiser)
        inputs, losses, rng = [], [], np.random.default_rng(seed)

        def spied_step(mel, stored, *rest):
            inputs.append(rest)
            return step(mel, stored, *rest)

        while len(losses) < count:
            losses += list(loop.epoch_losses(spied_step, stage, task, train, rng))
        return Taken(network, stage, step, task, list(chunks), inputs, list(plans), losses)

    return take


# Stored activations


def assert_stored_activations_change_nothing(take, settings, last, count):
    """The same batches, plans, losses of every sample and weights at the end."""
    switched = [settings.model_copy(update={"trunk_cache": word}) for word in ("on", "off")]
    one, other = (take(each, last, count) for each in switched)
    assert one.stage.stored is not None
    assert other.stage.stored is None
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
    outputs = steps.predictor(one.network, one.stage, one.task)(chunks)
    whole = classifier.predictor(one.network, settings)(one.task.store.mel[chunks])
    np.testing.assert_allclose(outputs, whole, rtol=1e-4, atol=1e-6)
    without = steps.predictor(other.network, other.stage, other.task)(chunks)
    np.testing.assert_allclose(outputs, without, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("last", "differs"),
    [(0, {"augmentation": "none"}), (4, {"pooling": "time", "dropout": 0.5})],
)
def test_steps_are_the_same_with_and_without_stored_activations(take, chosen, last, differs):
    settings = chosen(**AUGMENTED | differs)
    assert_stored_activations_change_nothing(take, settings, last, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "share", "differs"),
    [
        ("densenet121", 0.1, {}),  # Table 2: 42 layers
        ("mobilenet_v2", 0.0, {}),
        ("mobilenet_v2", 0.2, {}),
        ("squeezenet", 0.0, {"augmentation": "none"}),
        ("squeezenet", 0.7, {}),
        ("squeezenet", 0.2, {"pooling": "time", "dropout": 0.5}),
    ],
)
def test_50_steps_of_real_backbones_are_the_same(take, cache, tmp_path, backbone, share, differs):
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
    settings = Settings(**used | AUGMENTED | differs)
    assert_stored_activations_change_nothing(take, settings, last, 50)


def test_it_would_show_if_the_stored_activations_were_others(take, chosen):
    settings = chosen(**AUGMENTED)
    one = take(settings)
    noise = np.random.default_rng(0).normal(1, 1e-2, one.stage.stored.shape).astype(np.float32)
    for spoil in (lambda stored: stored * noise, lambda stored: np.float16(stored).astype("f")):
        worse = np.concatenate(take(settings, spoil=spoil).losses)
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(worse, np.concatenate(one.losses), **AGREEMENT)


def test_what_changes_an_activation_changes_its_key(chosen, cache, tmp_path):
    def stored():
        return {path.parent.name for path in cache.glob("activations/toy/*/activations.bin")}

    def keys(last=0, key="toy", **differs):
        before = stored()
        task = toy(chosen(**differs), (2, 1, 1), key=key)
        network = loop.build_model(task, np.arange(4), 0)
        classifier.set_trained(network, last)
        steps.Trunks(task, quiet).stage(network, last)
        return stored() - before

    others = tmp_path / "others.weights.h5"
    alive(backbones.build_backbone("squeezenet", "random", 32), seed=9).save_weights(others)
    assert len(keys()) == 1
    assert keys() == set()  # it is there
    assert keys(units=4, learning_rate=0.3, augmentation="cutmix") == set()
    for differs in (
        *({"weights": str(others)}, {"pooling": "time"}, {"image_size": 48}, {"last": 4}),
        *({"feature_layer": "relu2"}, {"key": "other spectrograms"}, {"last": 2}),
    ):
        assert len(keys(**differs)) == 1, differs
    assert keys(last=4) == set()


@pytest.mark.parametrize("augmentation", ["none", "cutmix"])
@pytest.mark.parametrize("trunk_cache", ["on", "off"])
def test_sources_hold_what_a_step_reads(chosen, augmentation, trunk_cache):
    task = toy(chosen(augmentation=augmentation, trunk_cache=trunk_cache), (3, 3, 3))
    network = loop.build_model(task, np.arange(18), 0)
    classifier.set_trained(network, 0)
    mel, stored = steps.sources(steps.Trunks(task, quiet).stage(network, 0), task)
    assert stored.shape == (18, 16 if trunk_cache == "on" else 0)
    unread = (augmentation, trunk_cache) == ("none", "on")
    assert mel.shape == ((18, 0, 0) if unread else (18, 16, 16))


# Losses and augmentation


def reference_losses(task, network, chunks):
    """Cross-entropy of each chunk, dropout off, by numpy."""
    pictures = classifier.inputs(task.store.mel[chunks], task.settings)
    outputs = network(pictures, training=False).numpy()
    return -np.log(outputs[np.arange(len(chunks)), task.classes[chunks]])


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
    expected = reference_losses(task, network, chunks)
    step = step_of(task, network, chunks)
    tf.config.run_functions_eagerly(True)
    try:
        step(np.ones(8, np.float32), np.array([1, 2], np.int32))
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(ranked[-1], expected, rtol=1e-4)


def test_an_unaltered_batch_under_augmentation(take, chosen):
    """Nothing is drawn: the same as without augmentation."""
    never = {"probability_min": 0.0, "probability_max": 0.0}
    one = take(chosen(**AUGMENTED | never), last=4, count=4)
    other = take(chosen(**AUGMENTED | {"augmentation": "none"}), last=4, count=4)
    assert not any(part[1].any() or part[3].any() for part in one.plans)
    for mine, others in zip(one.losses, other.losses, strict=True):
        np.testing.assert_allclose(mine, others, **AGREEMENT)


def test_class_weights_pull_towards_the_rare_class(chosen):
    """One step on a batch: the head's gradient is that of the weighted mean loss."""
    task = toy(chosen(balance="weights"), (8, 6, 3))
    network = loop.build_model(task, task.store.chunks("train"), 0)
    bias = network.get_layer("output").bias
    chunks = task.store.chunks("train")[:8]
    weights = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    pictures = classifier.inputs(task.store.mel[chunks], task.settings)
    outputs = network(pictures, training=False).numpy()
    gradient = (weights[:, None] * (outputs - task.targets[chunks])).mean(0)
    before = bias.numpy()
    step_of(task, network, chunks)(weights, np.zeros(2, np.int32))
    # AdaDelta's first step (Zeiler 2012): -sqrt(eps) / sqrt(0.05 g^2 + eps) * g
    expected = -np.sqrt(1e-7) / np.sqrt(0.05 * gradient**2 + 1e-7) * gradient
    np.testing.assert_allclose(bias.numpy() - before, expected, rtol=1e-2)


def test_label_smoothing(take, chosen):
    hot = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(steps.smooth_labels(hot, 0.3), 0.7 * hot + 0.1, rtol=1e-6)
    # In a step: the first losses are those of the smoothed labels.
    taken = take(chosen(label_smoothing=0.3), count=1)
    fresh = loop.build_model(taken.task, np.arange(CHUNKS), 5)
    chunks = taken.chunks[0]
    pictures = classifier.inputs(taken.task.store.mel[chunks], taken.task.settings)
    labels = 0.7 * taken.task.targets[chunks] + 0.1
    expected = -(labels * np.log(fresh(pictures, training=False).numpy())).sum(1)
    np.testing.assert_allclose(taken.losses[0], expected, rtol=1e-4)


def test_the_regression_loss_is_the_squared_error_of_the_standardised_target(chosen):
    task = toy(chosen(), task="regression")
    network = loop.build_model(task, task.store.chunks("train"), 0)
    labels, outputs = tf.constant([[2.0], [5.0]]), tf.constant([[2.5], [1.0]])
    spread = np.std(task.targets[task.store.chunks("train")])
    loss = steps.loss_function(task, network)(labels, outputs)
    np.testing.assert_allclose(loss, np.array([0.25, 16.0]) / spread**2, rtol=1e-5)


# Optimisers and rates


@pytest.mark.parametrize("name", ["adadelta", "adamw", "sgd"])
def test_an_optimiser_learns(take, chosen, name):
    rate = 1.0 if name == "adadelta" else 0.005
    losses = take(chosen(optimizer=name, learning_rate=rate), count=48).losses
    assert np.concatenate(losses[-4:]).mean() < 0.8 * np.concatenate(losses[:4]).mean()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimisers_by_name(name, decay):
    optimiser = steps.optimizer(Settings(optimizer=name, weight_decay=decay), 0.25, [])
    assert type(optimiser).__name__.lower() == name
    assert float(optimiser.learning_rate.numpy()) == 0.25
    assert (optimiser.weight_decay or 0) == decay
    if name == "sgd":
        assert (optimiser.momentum, optimiser.nesterov) == (0.9, True)


@pytest.mark.parametrize(
    ("differs", "rates"),
    [
        ({}, [0.8] * 4),
        ({"warmup_epochs": 3}, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]),
        ({"schedule": "cosine"}, 0.4 * (1 + np.cos(np.pi * np.arange(12) / 12))),
        (
            {"schedule": "cosine", "warmup_epochs": 2},
            [0.8 / 3, 1.6 / 3, *0.4 * (1 + np.cos(np.pi * np.arange(10) / 10))],
        ),
        ({"schedule": "cosine", "warmup_epochs": 9}, [0.08, 0.16, 0.24, 0.32]),
    ],
)
def test_rates(differs, rates):
    used, epochs = Settings(**differs), len(rates)
    found = [steps.rate_at(used, 0.8, epoch, epochs) for epoch in range(epochs)]
    np.testing.assert_allclose(found, rates)
    assert min(found) > 0


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


def test_an_epoch_is_shuffled():
    classes = np.repeat([0, 1], [500, 250])
    order = steps.epoch_order(classes, "upsample", np.random.default_rng(0))
    assert 0.4 < classes[order[:500]].mean() < 0.6
    # The first show of a chunk is not before all second ones.
    places = [np.flatnonzero(order == chunk) for chunk in range(500, 750)]
    assert 0.3 < np.mean([place[0] < 500 for place in places]) < 0.95


@pytest.mark.parametrize("balance", ["upsample", "weights", "none"])
def test_the_generator_decides_the_order(balance):
    classes = np.repeat([0, 1], [30, 12])
    one, same, other = (
        steps.epoch_order(classes, balance, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    if balance != "upsample":
        assert sorted(one) == list(range(42))


def test_class_weights():
    classes = np.array([2, 0, 0, 2, 2, 2, 0, 5])
    weights = steps.class_weights(classes, "weights")
    assert weights.dtype == np.float32
    by_class = compute_class_weight("balanced", classes=np.unique(classes), y=classes)
    np.testing.assert_allclose(weights, by_class[np.searchsorted([0, 2, 5], classes)], rtol=1e-6)
    for balance in ("upsample", "none"):
        np.testing.assert_array_equal(steps.class_weights(classes, balance), np.ones(8))

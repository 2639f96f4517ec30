"""Stored activations change nothing: step by step as if the whole network had been computed."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf

from dslite.cards import Card
from dslite.features import store as feature_store
from dslite.models import backbones, classifier
from dslite.settings import OPTIMIZERS, Settings
from dslite.training import augmentation, loop, steps
from tests.random_networks import alive

CLASSES = ("low", "middle", "high")
BATCH = 8
STEPS = 50
SIDE = {"densenet121": 32, "mobilenet_v2": 64, "squeezenet": 64}
# What the two ways may differ by: relative, and what is left of a loss near zero by rounding.
AGREEMENT = {"rtol": 1e-4, "atol": 1e-6}
# Training itself enlarges rounding errors: at this rate, a MobileNetV2 whose input was changed by
# a ten millionth is another network after 50 steps. What is stored has to be exact to the last bit.
RATE = 1.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Path of a backbone's random weights, which count as pre-trained ones."""
    folder = tmp_path_factory.mktemp("weights")

    def path(name):
        file = folder / f"{name}.weights.h5"
        if not file.exists():
            alive(backbones.build_backbone(name, "random", SIDE[name]), first=1 / 60).save_weights(
                file
            )
        return str(file)

    return path


def toy(settings, per_class=(10, 8, 7), key="toy"):
    """Chunks of noise whose level is the class; all of them train."""
    rng = np.random.default_rng(1)
    classes = np.repeat(np.arange(3), per_class)
    levels = 40 + 80 * classes + rng.integers(-35, 36, len(classes))
    mel = levels[:, None, None] + rng.integers(-35, 36, (len(classes), 16, 20))
    files = pd.DataFrame({"label": [CLASSES[c] for c in classes], "partition": "train"})
    owner = np.arange(len(classes))
    start_s = np.zeros(len(classes))
    mel = mel.clip(0, 255).astype(np.uint8)
    store = feature_store.Store(mel, owner, start_s, files, None, (), key)
    card = Card(dataset="toy", layout="table", title="toy", classes=CLASSES)
    return steps.task_of(card, settings, store)


def quiet(line):
    """A log that nobody reads."""


@dataclasses.dataclass
class Run:
    """What a number of steps did."""

    network: keras.Model
    stage: steps.Stage
    step: object
    task: steps.Task
    chunks: list
    given: list
    plans: list
    losses: list

    @property
    def trained(self):
        return [v.numpy() for v in self.network.trainable_variables]


@pytest.fixture
def watched(monkeypatch):
    """Lists that fill with the chunks and the augmentation plans of each step taken."""
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
    return chunks, plans


def run(task, last, watched, spoil=None, count=STEPS, seed=5) -> Run:
    """Take steps with the last layers of the backbone trained, as `training.fit` does."""
    for told in watched:
        told.clear()
    train = np.arange(len(task.store.mel))
    network = loop.build_model(task, train, seed)
    classifier.set_trained(network, last)
    stage = steps.Trunks(task, quiet).stage(network, last)
    if spoil:
        stage = dataclasses.replace(stage, stored=spoil(stage.stored))
    rate = task.settings.learning_rate * (0.1 if last else 1)
    optimiser = steps.optimizer(task.settings, rate, network.trainable_variables)
    step = steps.train_step(network, stage, task, optimiser)
    given, losses, rng = [], [], np.random.default_rng(seed)

    def kept(mel, stored, *rest):
        given.append(rest)
        return step(mel, stored, *rest)

    while len(losses) < count:
        losses += list(loop.epoch_losses(kept, stage, task, train, rng))
    return Run(network, stage, step, task, *map(list, (watched[0], given, watched[1], losses)))


@pytest.fixture
def chosen(weights, cache):
    """Settings of an augmented training from a file of weights; takes what differs."""

    def make(backbone="squeezenet", **differs):
        given = {"augmentation": "cutmix+specaugment", "probability_min": 0.2}
        given |= {"probability_max": 0.8, "units": 8, "dropout": 0.25, "batch_size": BATCH}
        given |= {"learning_rate": RATE, "mel_bands": 16}
        given |= {"backbone": backbone, "image_size": SIDE[backbone]}
        return Settings(**(given | {"weights": weights(backbone)} | differs))

    return make


def both(settings, share, watched, **differs):
    """The same training with and without stored activations."""
    layers = len(classifier.backbone_of(classifier.build_classifier(settings, 3)).layers)
    last = int(layers * share)
    switched = [settings.model_copy(update={"trunk_cache": s}) for s in ("on", "off")]
    return [run(toy(each), last, watched, **differs) for each in switched]


# Exactness


def assert_same(one, other):
    """The same steps: batches, plans, losses of every sample and weights at the end."""
    assert one.stage.stored is not None
    assert other.stage.stored is None
    assert len(one.losses) == len(other.losses) >= STEPS
    for kind in ("chunks", "plans"):
        assert len(getattr(one, kind)) == len(getattr(other, kind))
    for mine, others in zip(one.chunks, other.chunks, strict=True):
        np.testing.assert_array_equal(mine, others)
    for mine, others in zip(one.given, other.given, strict=True):
        for a, b in zip(mine, others, strict=True):  # labels, weights, seed
            np.testing.assert_array_equal(a, b)
    for mine, others in zip(one.plans, other.plans, strict=True):
        for a, b in zip(mine, others, strict=True):
            np.testing.assert_array_equal(a, b)
    for mine, others in zip(one.losses, other.losses, strict=True):
        np.testing.assert_allclose(mine, others, **AGREEMENT)
    for mine, others in zip(one.trained, other.trained, strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-3, atol=1e-4)
    assert np.ptp([losses.mean() for losses in other.losses]) > 0.01  # something was learnt


@pytest.mark.parametrize(
    ("backbone", "share", "differs"),
    [
        ("densenet121", 0.1, {}),  # Table 2: 42 layers
        ("mobilenet_v2", 0.0, {}),
        ("mobilenet_v2", 0.2, {}),
        ("squeezenet", 0.0, {}),
        ("squeezenet", 0.3, {"augmentation": "none"}),
        ("squeezenet", 0.7, {}),
        ("squeezenet", 0.2, {"pooling": "time", "dropout": 0.5}),
        ("squeezenet", 0.0, {"augmentation": "none"}),
    ],
)
def test_50_steps_are_the_same_with_and_without_stored_activations(
    chosen, watched, backbone, share, differs
):
    one, other = both(chosen(backbone, **differs), share, watched)
    assert_same(one, other)
    if "augmentation" in differs:
        assert not one.plans
    else:
        altered = [(p[1].any(1) | p[3].any(1)).mean() for p in one.plans]
        assert 0.1 < np.mean(altered) < 0.9  # stored and drawn pictures beside one another
    assert {len(chunks) for chunks in one.chunks} == {8, 6}  # an incomplete last batch
    assert one.step.experimental_get_tracing_count() == 1
    # The predictor from stored activations is the whole network's.
    whole = classifier.predictor(one.network, one.task.settings)
    predict = steps.predictor(one.network, one.stage, one.task)
    chunks = np.arange(len(one.task.store.mel))[::-1]
    found = predict(chunks)
    np.testing.assert_allclose(found, whole(one.task.store.mel[chunks]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found, steps.predictor(other.network, other.stage, other.task)(chunks), rtol=1e-3, atol=1e-5
    )


def test_it_would_show_if_the_stored_activations_were_others(chosen, watched):
    settings = chosen()
    one = run(toy(settings), 0, watched, count=10)
    noise = np.random.default_rng(0).normal(1, 1e-2, one.stage.stored.shape).astype(np.float32)
    spoilt = run(toy(settings), 0, watched, spoil=lambda stored: stored * noise, count=10)
    rounded = run(
        toy(settings), 0, watched, spoil=lambda stored: np.float16(stored).astype("f"), count=10
    )
    for worse in (spoilt, rounded):
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(
                np.concatenate(worse.losses), np.concatenate(one.losses), **AGREEMENT
            )


# What is trained


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_only_what_is_meant_to_changes(chosen, watched, share):
    settings = chosen("mobilenet_v2", learning_rate=1.0)
    before = loop.build_model(toy(settings), np.arange(25), 5)
    last = int(154 * share)
    found = run(toy(settings), last, watched, count=4)
    meant = {v.path for v in found.network.trainable_variables}
    pairs = zip(before.weights, found.network.weights, strict=True)
    changed = {b.path for a, b in pairs if (a.numpy() != b.numpy()).any()}
    assert changed <= meant
    assert len(changed) > 0.9 * len(meant)
    assert not [path for path in changed if "moving" in path]
    assert bool([path for path in changed if "bn" in path.lower()]) == bool(last)


def test_random_weights_are_trained_whole_and_nothing_is_stored(chosen, watched, cache):
    settings = chosen("mobilenet_v2", weights="random")
    before = loop.build_model(toy(settings), np.arange(25), 5)
    found = run(toy(settings), 154, watched, count=4)
    assert found.stage.stored is None
    assert not (cache / "activations").exists()
    for a, b in zip(before.weights, found.network.weights, strict=True):
        if a.path.endswith(("moving_mean", "moving_variance", "kernel")):
            assert (a.numpy() != b.numpy()).any(), a.path


@pytest.mark.parametrize("last", [0, 4])
def test_an_unaltered_batch_under_augmentation(chosen, watched, last):
    """Nothing is drawn: the same as without augmentation."""
    never = {"probability_min": 0.0, "probability_max": 0.0}
    one = run(toy(chosen(**never)), last, watched, count=4)
    other = run(toy(chosen(augmentation="none")), last, watched, count=4)
    assert not any(part[1].any() or part[3].any() for part in one.plans)
    for mine, others in zip(one.losses, other.losses, strict=True):
        np.testing.assert_allclose(mine, others, **AGREEMENT)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_learns(chosen, watched, name):
    rate = {"adadelta": 1.0, "adagrad": 0.05, "sgd": 0.005}.get(name, 0.005)
    differs = {"optimizer": name, "learning_rate": rate, "augmentation": "none", "dropout": 0.0}
    losses = run(toy(chosen(**differs)), 0, watched, count=48).losses
    assert np.concatenate(losses[-4:]).mean() < 0.8 * np.concatenate(losses[:4]).mean()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimisers_by_name(name, decay):
    made = steps.optimizer(Settings(optimizer=name, weight_decay=decay), 0.25, [])
    assert type(made).__name__.lower() == name
    assert float(made.learning_rate.numpy()) == 0.25
    assert (made.weight_decay or 0) == decay
    if name == "sgd":
        assert (made.momentum, made.nesterov) == (0.9, True)


# Rates and labels


def test_a_constant_rate_stays():
    assert [steps.rate_at(Settings(), 0.5, epoch, 4) for epoch in range(4)] == [0.5] * 4


def test_warm_up_rises_linearly():
    used = Settings(warmup_epochs=3)
    rates = [steps.rate_at(used, 0.8, epoch, 6) for epoch in range(6)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


@pytest.mark.parametrize("warm", [0, 2])
def test_cosine_falls_from_the_rate_towards_zero(warm):
    used = Settings(schedule="cosine", warmup_epochs=warm)
    rates = np.array([steps.rate_at(used, 0.8, epoch, 12) for epoch in range(12)])
    after = rates[warm:]
    np.testing.assert_allclose(
        after, 0.4 * (1 + np.cos(np.pi * np.arange(12 - warm) / (12 - warm)))
    )
    assert after[0] == pytest.approx(0.8)
    assert (np.diff(after) < 0).all()
    assert after[-1] > 0
    assert (np.diff(rates[: warm + 1]) > 0).all()


def test_warm_up_longer_than_a_phase():
    used = Settings(schedule="cosine", warmup_epochs=9)
    rates = [steps.rate_at(used, 1.0, epoch, 4) for epoch in range(4)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4])


def test_label_smoothing(chosen, watched):
    hot = np.eye(3, dtype=np.float32)
    found = steps.smooth_labels(tf.constant(hot), 0.3).numpy()
    np.testing.assert_allclose(found, 0.7 * hot + 0.1, rtol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    # In a step: the first losses are those of the smoothed labels.
    differs = {"augmentation": "none", "dropout": 0.0, "label_smoothing": 0.3}
    settings = chosen(**differs)
    task = toy(settings)
    taken = run(task, 0, watched, count=1)
    fresh = loop.build_model(task, np.arange(25), 5)
    chunks = taken.chunks[0]
    outputs = fresh(classifier.inputs(task.store.mel[chunks], settings), training=False).numpy()
    labels = 0.7 * task.targets[chunks] + 0.1
    expected = -(labels * np.log(outputs)).sum(1)
    np.testing.assert_allclose(taken.losses[0], expected, rtol=1e-4)


# The store of a stage


def stored_keys(cache):
    folder = cache / "activations" / "toy"
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_what_changes_an_activation_changes_its_key(chosen, cache, tmp_path):
    def key(last=0, store="toy", **differs):
        before = stored_keys(cache) if (cache / "activations").exists() else set()
        task = toy(chosen(**differs), (2, 1, 1), store)
        network = loop.build_model(task, np.arange(4), 0)
        classifier.set_trained(network, last)
        steps.Trunks(task, quiet).stage(network, last)
        return stored_keys(cache) - before

    others = tmp_path / "others.weights.h5"
    alive(backbones.build_backbone("squeezenet", "random", 64), seed=9, first=1 / 60).save_weights(
        others
    )
    assert len(key()) == 1
    assert key() == set()  # found again
    for irrelevant in ({"units": 4}, {"learning_rate": 0.3}, {"augmentation": "cutmix"}):
        assert key(**irrelevant) == set()
    assert len(key(weights=str(others))) == 1
    assert len(key(pooling="time")) == 1
    assert len(key(image_size=48)) == 1
    assert len(key(feature_layer="fire8_concat")) == 1
    assert len(key(store="other spectrograms")) == 1
    assert len(key(last=4)) == 1
    assert len(key(last=20)) == 1
    assert key(last=4) == set()


def test_without_room_the_trunk_runs_at_every_step(chosen, watched):
    lines = []
    task = toy(chosen(trunk_cache_gib=0.0))
    network = loop.build_model(task, np.arange(25), 0)
    classifier.set_trained(network, 0)
    trunks = steps.Trunks(task, lines.append)
    assert trunks.stage(network, 0).stored is None
    assert len(lines) == 1
    assert trunks.used == []


def test_sources_hold_what_a_step_reads(chosen):
    for augmented, cached in [("none", "on"), ("cutmix", "on"), ("none", "off"), ("cutmix", "off")]:
        task = toy(chosen(augmentation=augmented, trunk_cache=cached))
        network = loop.build_model(task, np.arange(25), 0)
        classifier.set_trained(network, 0)
        stage = steps.Trunks(task, quiet).stage(network, 0)
        mel, stored = steps.sources(stage, task)
        assert stored.shape == (25, 512 if cached == "on" else 0)
        assert mel.shape == (25, 0, 0) if (augmented, cached) == ("none", "on") else (25, 16, 20)


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
    classes, rng, extra = np.array([0] * 10 + [1] * 4), np.random.default_rng(0), np.zeros(4, int)
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
    assert balance == "upsample" or sorted(one) == list(range(42))  # every chunk once


def test_class_weights():
    classes = np.array([2, 0, 0, 2, 2, 2, 0, 5])
    weights = steps.class_weights(classes, "weights")
    assert weights.dtype == np.float32
    expected = {0: 8 / 9, 2: 8 / 12, 5: 8 / 3}  # 8 chunks, 3 classes: 8 / (3 * count)
    np.testing.assert_allclose(weights, [expected[c] for c in classes], rtol=1e-6)
    for balance in ("upsample", "none"):
        np.testing.assert_array_equal(steps.class_weights(classes, balance), np.ones(8))

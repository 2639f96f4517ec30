"""Two phases, choosing on devel, what is learnt from: on a toy corpus and a CNN of 8 layers."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.stats import spearmanr
from sklearn.utils.class_weight import compute_class_weight

from dslite.cards import Card
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.settings import AUGMENTATIONS, Settings
from dslite.training import checkpoints, loop, steps
from dslite.training.loop import Phase

CLASSES = ("low", "middle", "high")
LAYERS = 8  # of the fixture `tiny`


@pytest.fixture(autouse=True, scope="module")
def deterministic():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture
def chosen(tiny, cache):
    """Settings of a training on 32 pixels with pre-trained weights; takes what differs."""

    def make(**differs):
        given = {
            "epochs_phase1": 2,
            "epochs_phase2": 0,
            "trained_share": 0.0,
            "dropout": 0.0,
            "units": 8,
        }
        given |= {"batch_size": 8, "learning_rate": 1.0, "image_size": 32, "mel_bands": 16}
        return Settings(**(given | {"backbone": "squeezenet", "weights": str(tiny)} | differs))

    return make


def toy(settings, per_class=(8, 8, 8), task="classification", chunks_each=2):
    """Noise whose level is the class; every second file is devel, the others train.

    Not a band whose height is the class: pooling forgets where something is.
    """
    rng = np.random.default_rng(1)
    mel, labels = [], []
    for label, files in enumerate(per_class):
        for _ in range(files):
            level = 40 + 80 * label + rng.integers(-15, 16)
            mel.append(level + rng.integers(-25, 26, (chunks_each, 16, 16)))
            labels.append(str(level / 10) if task == "regression" else CLASSES[label])
    count = len(labels)
    files = pd.DataFrame(
        {
            "path": [f"{i}.wav" for i in range(count)],
            "label": labels,
            "speaker": "",
            "partition": np.where(np.arange(count) % 2, "devel", "train"),
        }
    )
    owner = np.repeat(np.arange(count), chunks_each)
    start_s = np.zeros(len(owner))
    mel = np.concatenate(mel).astype(np.uint8)
    key = hashlib.sha256(mel).hexdigest()
    store = feature_store.Store(mel, owner, start_s, files, None, (), key)
    classes = () if task == "regression" else CLASSES
    card = Card(dataset="toy", layout="table", title="toy", task=task, classes=classes)
    return steps.task_of(card, settings, store)


def quiet(line):
    """A log that nobody reads."""


def trained(task, seed=0, devel=True, epochs=None, log=quiet, **given):
    """A network after `fit`, and its history."""
    train = task.store.chunks("train")
    network = loop.build_model(task, train, seed)
    parts = task.store.chunks("devel") if devel else None
    return network, loop.fit(network, task, train, seed, parts, epochs, log=log, **given)


def fresh(task, seed=0):
    return loop.build_model(task, task.store.chunks("train"), seed)


def changed_layers(before, after):
    """Names of the backbone's layers any of whose weights differ."""
    pairs = zip(
        classifier.backbone_of(before).layers, classifier.backbone_of(after).layers, strict=True
    )
    return {
        old.name
        for old, new in pairs
        for a, b in zip(old.get_weights(), new.get_weights(), strict=True)
        if not np.array_equal(a, b)
    }


def reference_losses(task, network, chunks):
    """Cross-entropy of each chunk, dropout off, by numpy."""
    outputs = network(
        classifier.inputs(task.store.mel[chunks], task.settings), training=False
    ).numpy()
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


# The schedule


def test_two_phases_with_a_tenth_of_the_rate():
    settings = Settings(learning_rate=0.5, epochs_phase1=3, epochs_phase2=4, trained_share=0.3)
    assert loop.schedule(settings, 427) == [
        Phase(1, 3, 0.5, 0),
        Phase(2, 4, 0.05, 128),
    ]


def test_phase_2_may_have_a_rate_of_its_own():
    settings = Settings(learning_rate=0.5, learning_rate_phase2=0.2)
    assert [phase.rate for phase in loop.schedule(settings, 427)] == [0.5, 0.2]
    whole = Settings(weights="random", learning_rate=0.5, learning_rate_phase2=0.2)
    assert [phase.rate for phase in loop.schedule(whole, 427)] == [0.5]


@pytest.mark.parametrize(("share", "layers"), [(0.7, 298), (0.3, 128), (0.2, 85), (0.1, 42)])
def test_phase_2_trains_the_published_number_of_layers(share, layers):
    assert loop.schedule(Settings(trained_share=share), 427)[1].trained == layers
    read_as_code = Settings(trained_share=share, fine_tune_reading="code")
    assert loop.schedule(read_as_code, 427)[1].trained == 427 - layers


@pytest.mark.parametrize("reading", ["paper", "code"])
def test_without_trained_layers_there_is_one_phase(reading):
    settings = Settings(trained_share=0, epochs_phase1=3, fine_tune_reading=reading)
    assert loop.schedule(settings, 427) == [Phase(1, 3, 0.001, 0)]


def test_random_weights_are_trained_whole_in_one_phase():
    settings = Settings(weights="random", epochs_phase1=3, epochs_phase2=4, trained_share=0)
    assert loop.schedule(settings, 50) == [Phase(1, 7, 0.001, 50)]


def test_a_phase_without_epochs_is_left_out():
    assert [p.number for p in loop.schedule(Settings(epochs_phase1=0), 427)] == [2]
    assert [p.number for p in loop.schedule(Settings(epochs_phase2=0), 427)] == [1]


# Learning


def test_a_separable_corpus_is_learnt(chosen):
    task = toy(chosen(epochs_phase1=25, epochs_phase2=2, trained_share=0.5, units=16))
    network, history = trained(task)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert history["devel_score"].max() >= 0.9
    # And the network that is handed back is the good one, by numpy.
    devel = task.store.chunks("devel")
    outputs = network(
        classifier.inputs(task.store.mel[devel], task.settings), training=False
    ).numpy()
    assert np.mean(outputs.argmax(1) == task.classes[devel]) >= 0.8


def test_a_regression_is_learnt_in_the_labels_unit(chosen):
    task = toy(chosen(epochs_phase1=25, units=16), task="regression")
    network, history = trained(task)
    devel = task.store.chunks("devel")
    outputs = network(
        classifier.inputs(task.store.mel[devel], task.settings), training=False
    ).numpy()
    true = pd.to_numeric(task.store.files["label"]).to_numpy()[task.store.file[devel]]
    assert spearmanr(true, outputs[:, 0])[0] > 0.8
    assert np.sqrt(np.mean((outputs[:, 0] - true) ** 2)) < np.std(true)
    best = history[history["best"]].iloc[0]
    files = pd.DataFrame({"true": true, "found": outputs[:, 0], "file": task.store.file[devel]})
    files = files.groupby("file").mean()
    assert best["devel_score"] == pytest.approx(spearmanr(files["true"], files["found"])[0])


def test_the_regression_loss_is_the_squared_error_of_the_standardised_target(chosen):
    task = toy(chosen(), task="regression")
    network = fresh(task)
    loss = steps.loss_function(task, network)(
        tf.constant([[2.0], [5.0]]), tf.constant([[2.5], [1.0]])
    )
    spread = np.std(task.targets[task.store.chunks("train")])
    np.testing.assert_allclose(loss, np.array([0.25, 16.0]) / spread**2, rtol=1e-5)


# What is frozen


def test_phase_1_leaves_the_backbone_alone(chosen):
    task = toy(chosen())
    before, (after, _) = fresh(task), trained(task)
    assert changed_layers(before, after) == set()
    head = before.get_layer("hidden").get_weights(), after.get_layer("hidden").get_weights()
    assert not np.array_equal(head[0][0], head[1][0])
    for name in ("alpha", "beta"):  # of AReLU: learnt, unlike in the public implementation
        values = [float(getattr(n.get_layer("arelu"), name)) for n in (before, after)]
        assert values[0] != values[1]


@pytest.mark.parametrize(
    ("share", "reading", "names"),
    [
        (0.2, "paper", {"conv3"}),
        (0.5, "paper", {"conv2", "bn2", "conv3"}),
        (0.5, "code", {"conv2", "bn2", "conv3"}),
        (0.4, "code", {"conv2", "bn2", "conv3"}),  # int(3.2) = 3 layers are frozen: 5 of 8 trained
        (1.0, "paper", {"conv1", "bn1", "conv2", "bn2", "conv3"}),
    ],
)
def test_phase_2_changes_exactly_the_last_layers(chosen, share, reading, names):
    differs = {
        "epochs_phase1": 0,
        "epochs_phase2": 1,
        "trained_share": share,
        "learning_rate": 10.0,
    }
    task = toy(chosen(fine_tune_reading=reading, **differs))
    before = fresh(task)
    assert len(classifier.backbone_of(before).layers) == LAYERS
    after, _ = trained(task, devel=False)
    assert changed_layers(before, after) == names


def test_phase_2_frees_layers_that_phase_1_froze(chosen):
    task = toy(chosen(epochs_phase1=1, epochs_phase2=1, trained_share=0.2, learning_rate=10.0))
    before, (after, _) = fresh(task), trained(task, devel=False)
    assert changed_layers(before, after) == {"conv3"}


def batch_norm_statistics(network):
    layer = classifier.backbone_of(network).get_layer("bn2")
    return np.concatenate([layer.moving_mean.numpy(), layer.moving_variance.numpy()])


def test_batch_normalisation_of_a_pretrained_backbone_never_updates(chosen):
    task = toy(chosen(epochs_phase1=1, epochs_phase2=1, trained_share=1.0))
    before, (after, _) = fresh(task), trained(task, devel=False)
    np.testing.assert_array_equal(batch_norm_statistics(before), batch_norm_statistics(after))


def test_a_random_backbone_is_trained_whole_with_its_batch_normalisation(chosen):
    task = toy(chosen(weights="random", epochs_phase1=1))
    before, (after, history) = fresh(task), trained(task, devel=False)
    assert changed_layers(before, after) == {"conv1", "bn1", "conv2", "bn2", "conv3"}
    assert not np.allclose(batch_norm_statistics(before), batch_norm_statistics(after))
    assert set(history["phase"]) == {1}


# Choosing


@pytest.mark.parametrize(
    ("told", "best"),
    [
        ([(1.0, 0.3), (1.0, 0.8), (1.0, 0.5), (1.0, 0.2)], 2),
        ([(0.9, 0.5), (0.7, 0.5), (0.8, 0.5), (0.9, 0.1)], 2),  # equal scores: the lower loss
        ([(0.9, 0.5), (0.9, 0.5), (0.9, 0.5), (0.9, 0.5)], 1),  # all equal: the first
        ([(0.1, 0.2), (0.2, 0.2), (0.3, 0.2), (5.0, 0.3)], 4),  # the score goes before the loss
        ([(0.9, np.nan), (0.7, -0.1), (0.8, np.nan), (0.9, np.nan)], 2),  # no correlation at all
        ([(0.9, np.nan), (0.7, np.nan), (0.8, np.nan), (0.9, np.nan)], 2),
    ],
)
def test_the_best_devel_epochs_weights_are_kept(chosen, monkeypatch, told, best):
    seen, script = [], iter(told)

    def scripted(task, network, chunks, predictor):
        seen.append(network.get_weights())
        return next(script)

    monkeypatch.setattr(loop, "_devel_score", scripted)
    task = toy(chosen(epochs_phase1=2, epochs_phase2=2, trained_share=0.5))
    network, history = trained(task)
    assert len(seen) == 4
    assert history["best"].tolist() == [epoch == best for epoch in (1, 2, 3, 4)]
    same = [all(map(np.array_equal, weights, network.get_weights())) for weights in seen]
    assert same.index(True) == best - 1
    assert same.count(True) == 1


def test_without_devel_the_last_epochs_weights_remain(chosen):
    task = toy(chosen(epochs_phase1=3))
    network, history = trained(task, devel=False)
    assert not {"devel_loss", "devel_score", "best"} & set(history.columns)
    again, _ = trained(toy(chosen(epochs_phase1=3)), devel=False)
    shorter, _ = trained(task, devel=False, epochs={1: 2})
    assert all(map(np.array_equal, network.get_weights(), again.get_weights()))
    assert not all(map(np.array_equal, network.get_weights(), shorter.get_weights()))


@pytest.mark.parametrize(
    ("epochs", "phases"),
    [
        ({}, []),
        ({1: 0, 2: 0}, []),
        ({1: 1}, [1]),
        ({1: 2}, [1, 1]),
        ({1: 2, 2: 1}, [1, 1, 2]),
        ({1: 1, 2: 2}, [1, 2, 2]),
        ({2: 1}, [2]),
        (None, [1, 1, 2, 2]),
    ],
)
@pytest.mark.parametrize("devel", [False, True])
def test_each_phase_has_the_epochs_asked_for(chosen, epochs, phases, devel):
    task = toy(chosen(epochs_phase1=2, epochs_phase2=2, trained_share=0.5), (2, 2, 2))
    _, history = trained(task, devel=devel, epochs=epochs)
    assert len(history) == len(phases)
    if phases:
        assert history["phase"].tolist() == phases
        assert history["epoch"].tolist() == list(range(1, len(phases) + 1))
        assert history["learning_rate"].tolist() == [{1: 1.0, 2: 0.1}[p] for p in phases]


def test_nothing_is_learnt_in_no_epoch(chosen):
    task = toy(chosen(), (2, 2, 2))
    network, history = trained(task, epochs={})
    assert loop.epochs_to_best(history) == {}
    assert all(map(np.array_equal, network.get_weights(), fresh(task).get_weights()))


COLUMNS = ["epoch", "phase", "learning_rate", "train_loss", "images_per_s"]


def test_columns_of_the_history(chosen):
    task = toy(chosen(epochs_phase1=1), (2, 2, 2))
    seen = []
    _, history = trained(task, board=seen.append)
    assert history.columns.tolist() == [*COLUMNS, "devel_loss", "devel_score", "seconds", "best"]
    assert history["best"].dtype == bool
    assert (history["seconds"] > 0).all()
    # Of the training alone: at least as many a second as over the whole epoch.
    assert (history["images_per_s"] * history["seconds"] >= len(task.store.chunks("train"))).all()
    assert pd.DataFrame(seen).equals(history.drop(columns="best"))
    _, history = trained(task, devel=False)
    assert history.columns.tolist() == [*COLUMNS, "seconds"]


@pytest.mark.parametrize(
    ("phases", "best", "taken"),
    [
        ([1, 1, 1, 2, 2], 1, {1: 1}),
        ([1, 1, 1, 2, 2], 3, {1: 3}),
        ([1, 1, 1, 2, 2], 5, {1: 3, 2: 2}),
        ([1, 1, 2, 2, 2], 4, {1: 2, 2: 2}),  # phase 1 ended early: the final one's does too
        ([2, 2], 1, {2: 1}),
    ],
)
def test_epochs_to_the_best(phases, best, taken):
    number = np.arange(1, len(phases) + 1)
    history = pd.DataFrame({"epoch": number, "phase": phases, "best": number == best})
    assert loop.epochs_to_best(history) == taken


# The rate


def test_the_rate_warms_up_and_falls_in_each_phase(chosen, monkeypatch):
    used = []

    def recorder(network, stage, task, optimiser):
        def step(mel, stored, targets, weights, seed):
            used.append(float(optimiser.learning_rate))
            return tf.zeros(len(targets))

        return step

    monkeypatch.setattr(steps, "train_step", recorder)
    differs = {"epochs_phase1": 3, "epochs_phase2": 3, "trained_share": 0.5, "batch_size": 100}
    task = toy(chosen(schedule="cosine", warmup_epochs=1, **differs), (2, 2, 2))
    _, history = trained(task)
    expected = [0.5, 1.0, 0.5, 0.05, 0.1, 0.05]
    np.testing.assert_allclose(history["learning_rate"], expected)
    np.testing.assert_allclose(used, expected, rtol=1e-6)


def test_a_shortened_phase_falls_as_the_whole_one_does(chosen):
    """The final training's epochs are those of the first one, up to the best."""
    task = toy(chosen(epochs_phase1=4, schedule="cosine"), (2, 2, 2))
    whole, short = (trained(task, epochs=epochs)[1] for epochs in (None, {1: 2}))
    assert short["learning_rate"].tolist() == whole["learning_rate"].tolist()[:2]
    assert len(set(whole["learning_rate"])) == 4


# Patience


@pytest.mark.parametrize(
    ("scores", "patience", "end"),
    [
        ([0.5, 0.4, 0.3, 0.2], None, None),
        ([0.5, 0.4, 0.3, 0.2], 1, 2),
        ([0.5, 0.4, 0.3, 0.2], 2, 3),
        ([0.5, 0.4, 0.6, 0.5], 2, None),
        ([0.5, 0.4, 0.6, 0.5], 1, 2),
        ([0.1, 0.2, 0.3, 0.4], 1, None),
        ([0.5, 0.5, 0.5, 0.5], 2, 3),  # equal is not better
        ([np.nan, 0.1, np.nan, np.nan], 2, 4),  # a number is better than none
        ([np.nan, np.nan, np.nan, 0.1], 2, 3),
    ],
)
def test_when_patience_ends(scores, patience, end):
    rows = [{"devel_score": score, "devel_loss": 1.0} for score in scores]
    ends = [n for n in range(1, 5) if loop.out_of_patience(rows[:n], patience)]
    assert (ends[0] if ends else None) == end


def test_of_equal_scores_the_lower_loss_is_better():
    def row(score, loss):
        return {"devel_score": score, "devel_loss": loss}

    rows = [row(0.2, 0.1), row(0.2, 0.3), row(0.2, np.nan), row(np.nan, 0.1), row(np.nan, np.nan)]
    ranks = [loop.rank(r) for r in rows]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == 5
    assert loop.out_of_patience([row(0.2, 0.2), row(0.2, 0.3)], 1)
    assert not loop.out_of_patience([row(0.2, 0.3), row(0.2, 0.2)], 1)


@pytest.mark.parametrize(
    ("phase2", "best", "taken"),
    [([0.7, 0.75, 0.7, 0.7], 2, {1: 2}), ([0.7, 0.9, 0.7, 0.6], 6, {1: 4, 2: 2})],
)
def test_out_of_patience_a_phase_ends_and_the_best_weights_are_kept(
    chosen, monkeypatch, phase2, best, taken
):
    seen, script = [], iter([0.3, 0.8, 0.5, 0.6, *phase2])

    def scripted(task, network, chunks, predictor):
        seen.append(network.get_weights())
        return 1.0, next(script)

    monkeypatch.setattr(loop, "_devel_score", scripted)
    lines = []
    differs = {"epochs_phase1": 6, "epochs_phase2": 6, "trained_share": 0.5, "patience": 2}
    task = toy(chosen(**differs), (4, 4, 4))
    network, history = trained(task, log=lines.append)
    assert history["phase"].tolist() == [1] * 4 + [2] * 4
    assert history["epoch"].tolist() == list(range(1, 9))
    assert history.index[history["best"]].tolist() == [best - 1]
    same = [all(map(np.array_equal, weights, network.get_weights())) for weights in seen]
    assert [place for place, equal in enumerate(same) if equal] == [best - 1]
    said = [line for line in lines if "ends early" in line]
    assert said == [f"phase {n} ends early: devel does not get better" for n in (1, 2)]
    assert loop.epochs_to_best(history) == taken
    # Without devel there is nothing to lose patience over.
    _, final = trained(task, devel=False, epochs={1: 5, 2: 1})
    assert final["phase"].tolist() == [1] * 5 + [2]


# Interruptions (see test_resume.py for real ones)


@pytest.mark.parametrize("devel", [True, False])
@pytest.mark.parametrize("after", [3, 5])
def test_an_interrupted_training_goes_on(chosen, tmp_path, devel, after):
    differs = {"epochs_phase1": 4, "epochs_phase2": 3, "trained_share": 0.5, "dropout": 0.5}
    task = toy(chosen(optimizer="adam", learning_rate=0.01, patience=1, **differs), (4, 4, 4))
    whole, expected = trained(task, 1, devel)
    after = min(after, len(expected) - 1)  # patience ends phases on devel
    file = tmp_path / "state.npz"
    lines = []

    def interrupted(line):
        lines.append(line)
        if f"epoch {after:3d}/" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(task, 1, devel, log=interrupted, checkpoint=(file, "one"))
    lines.clear()
    network, history = trained(task, 1, devel, log=lines.append, checkpoint=(file, "one"))
    assert lines[0] == f"going on after epoch {after}, where it was interrupted"
    assert len([line for line in lines if "train loss" in line]) == len(expected) - after
    timed = ["seconds", "images_per_s"]
    pd.testing.assert_frame_equal(
        history.drop(columns=timed), expected.drop(columns=timed), check_exact=True
    )
    assert all(map(np.array_equal, network.get_weights(), whole.get_weights()))
    # Finished, it learns nothing more.
    again, same = trained(task, 1, devel, checkpoint=(file, "one"))
    assert same.equals(history)
    assert all(map(np.array_equal, again.get_weights(), whole.get_weights()))


def test_another_trainings_state_is_not_taken_up(chosen, tmp_path):
    task, lines = toy(chosen(epochs_phase1=2), (2, 2, 2)), []
    file = tmp_path / "state.npz"
    trained(task, checkpoint=(file, "one"))
    assert checkpoints.load(file, "one") is not None
    _, history = trained(task, log=lines.append, checkpoint=(file, "other"))
    assert len(history) == 2
    assert not any("going on" in line for line in lines)
    assert checkpoints.load(file, "one") is None
    assert len(checkpoints.load(file, "other").facts["history"]) == 2


# Stored activations


BOTH = {"epochs_phase1": 2, "epochs_phase2": 2, "trained_share": 0.5, "dropout": 0.25}


@pytest.mark.parametrize("augmentation", ["none", "cutmix+specaugment"])
def test_stored_activations_change_no_number(chosen, augmentation):
    found = {}
    for name in ("on", "off"):
        task = toy(chosen(trunk_cache=name, augmentation=augmentation, **BOTH), (6, 6, 6))
        trunks = steps.Trunks(task, quiet)
        _, found[name] = trained(task, trunks=trunks)
        assert trunks.used == ([0, 4] if name == "on" else [])
    assert found["on"]["best"].tolist() == found["off"]["best"].tolist()
    for name in ("train_loss", "devel_loss", "devel_score"):
        np.testing.assert_allclose(found["on"][name], found["off"][name], rtol=1e-4)


def test_two_trainings_share_one_trunk(chosen, monkeypatch):
    calls = {"frozen": 0, "pictures": 0, "load": 0}
    frozen, load = steps.trunk.frozen, feature_store.load_activations

    def counted_frozen(*given):
        calls["frozen"] += 1
        return frozen(*given)

    def counted_load(folder, shape, compute, *more):
        calls["load"] += 1

        def counted(part):
            calls["pictures"] += len(range(*part.indices(shape[0])))
            return compute(part)

        return load(folder, shape, counted, *more)

    monkeypatch.setattr(steps.trunk, "frozen", counted_frozen)
    monkeypatch.setattr(feature_store, "load", counted_load)
    task = toy(chosen(augmentation="specaugment", **BOTH), (6, 6, 6))
    trunks = steps.Trunks(task, quiet)
    first = trained(task, trunks=trunks)
    assert calls == {"frozen": 2, "pictures": 2 * len(task.store.mel), "load": 2}
    second = trained(task, trunks=trunks)  # once for each phase, in both trainings together
    assert calls == {"frozen": 2, "pictures": 2 * len(task.store.mel), "load": 2}
    alone = trained(task)  # the store is on the disk by now
    assert calls == {"frozen": 4, "pictures": 2 * len(task.store.mel), "load": 4}
    for network, history in (second, alone):
        assert history["train_loss"].tolist() == first[1]["train_loss"].tolist()
        assert all(map(np.array_equal, network.get_weights(), first[0].get_weights()))


def test_a_store_over_the_limit_is_not_written(chosen, cache):
    found, told = {}, {}
    for limit in (0.0, 20.0):  # in this order: one that lies there is read whatever its size
        lines = []
        task = toy(chosen(trunk_cache_gib=limit, **BOTH | {"epochs_phase2": 0}), (6, 6, 6))
        _, found[limit] = trained(task, log=lines.append)
        told[limit] = [line for line in lines if line.startswith("trunk cache")]
        assert len(list(cache.rglob("activations.bin"))) == bool(limit)
    (line,) = told[0.0]
    assert "more than trunk_cache_gib = 0: the frozen layers run at every step" in line
    assert "stored once" in told[20.0][0]
    for name in ("train_loss", "devel_loss", "devel_score"):
        np.testing.assert_allclose(found[0.0][name], found[20.0][name], rtol=1e-4)


# Seeds


@pytest.mark.parametrize("augmentation", ["none", "cutmix+specaugment"])
def test_the_same_seed_gives_the_same_bits(chosen, augmentation):
    differs = {"epochs_phase1": 1, "epochs_phase2": 1, "trained_share": 0.5, "dropout": 0.25}
    task = toy(chosen(augmentation=augmentation, **differs))
    results = [trained(task, seed) for seed in (3, 3, 4)]
    weights = [np.concatenate([w.ravel() for w in n.get_weights()]) for n, _ in results]
    histories = [h.drop(columns=["seconds", "images_per_s"]) for _, h in results]
    np.testing.assert_array_equal(weights[0], weights[1])
    pd.testing.assert_frame_equal(histories[0], histories[1], check_exact=True)
    assert not np.array_equal(weights[0], weights[2])
    assert histories[0]["train_loss"].tolist() != histories[2]["train_loss"].tolist()


# What an epoch learns from


@pytest.mark.parametrize(("balance", "per_class"), [("none", (7, 7, 3)), ("upsample", (7, 7, 3))])
def test_every_chunk_is_learnt_from_in_every_epoch(chosen, monkeypatch, balance, per_class):
    """9 files of one chunk in batches of 8: the incomplete batch counts too."""
    given = []

    def recorder(network, stage, task, optimiser):
        def step(mel, stored, targets, weights, seed):
            given.append((np.asarray(mel), np.asarray(targets)))
            return tf.zeros(len(targets))

        return step

    monkeypatch.setattr(steps, "train_step", recorder)
    task = toy(
        chosen(epochs_phase1=2, balance=balance, trunk_cache="off"), per_class, chunks_each=1
    )
    trained(task, devel=False)
    train = task.store.chunks("train")
    sizes = [len(mel) for mel, _ in given]
    epoch = {"none": 9, "upsample": 12}[balance]  # upsampled: three classes of four
    assert sizes == [8, epoch - 8] * 2
    for half in (given[:2], given[2:]):
        mel = np.concatenate([m for m, _ in half])
        targets = np.concatenate([t for _, t in half])
        found = [int(np.flatnonzero((task.store.mel == m).all(axis=(1, 2)))[0]) for m in mel]
        assert set(found) == set(train)  # all of them, and nothing of devel
        np.testing.assert_array_equal(targets.argmax(1), task.classes[found])
        counts = np.bincount(task.classes[found])
        assert counts.tolist() == ([4, 4, 4] if balance == "upsample" else [4, 3, 2])
    assert not np.array_equal(given[0][0], given[2][0])  # another order in the next epoch


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_the_train_loss_is_the_mean_over_all_chunks(chosen, balance):
    """With next to no learning rate it is the untrained network's, by numpy and scikit-learn."""
    task = toy(chosen(epochs_phase1=1, learning_rate=1e-12, balance=balance), (8, 6, 3))
    train = task.store.chunks("train")
    assert len(train) % task.settings.batch_size
    losses = reference_losses(task, fresh(task), train)
    if balance == "weights":
        classes = task.classes[train]
        weights = compute_class_weight("balanced", classes=np.arange(3), y=classes)
        assert len(set(weights.round(6))) == 3
        losses = losses * weights[classes]
    _, history = trained(task, devel=False)
    assert history["train_loss"].iloc[0] == pytest.approx(losses.mean(), rel=1e-4)


def test_class_weights_pull_towards_the_rare_class(chosen):
    """One step on a batch: the head's gradient is that of the weighted mean loss."""
    task = toy(chosen(balance="weights"), (8, 6, 3))
    network = fresh(task)
    bias = network.get_layer("output").bias
    chunks = task.store.chunks("train")[:8]
    weights = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    outputs = network(
        classifier.inputs(task.store.mel[chunks], task.settings), training=False
    ).numpy()
    gradient = (weights[:, None] * (outputs - task.targets[chunks])).mean(0)
    before = bias.numpy()
    step_of(task, network, chunks)(weights, np.zeros(2, np.int32))
    # AdaDelta's first step (Zeiler 2012): -sqrt(eps) / sqrt(0.05 g^2 + eps) * g
    expected = -np.sqrt(1e-7) / np.sqrt(0.05 * gradient**2 + 1e-7) * gradient
    np.testing.assert_allclose(bias.numpy() - before, expected, rtol=1e-2)


# Augmentation


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_configuration_is_traced_once_a_phase(chosen, monkeypatch, augmentation):
    made, make = [], steps.train_step

    def kept(*given):
        made.append(make(*given))
        return made[-1]

    monkeypatch.setattr(steps, "train_step", kept)
    differs = {"epochs_phase1": 2, "epochs_phase2": 1, "trained_share": 0.5}
    task = toy(chosen(augmentation=augmentation, **differs), (9, 9, 9), chunks_each=1)
    assert len(task.store.chunks("train")) % 8  # so that the last batch has another size
    network, history = trained(task)
    assert [step.experimental_get_tracing_count() for step in made] == [1, 1]
    assert np.isfinite(history["train_loss"]).all()
    assert all(np.isfinite(w).all() for w in network.get_weights())


def test_augmentation_changes_what_is_learnt(chosen):
    certain = {"probability_min": 1.0, "probability_max": 1.0, "epochs_phase1": 1}
    losses = {}
    for name in AUGMENTATIONS:
        _, history = trained(toy(chosen(augmentation=name, **certain)), devel=False)
        losses[name] = history["train_loss"].iloc[0]
    assert len(set(losses.values())) == 4


@pytest.mark.parametrize("trunk_cache", ["on", "off"])
def test_samples_are_ranked_by_their_unaugmented_loss(chosen, monkeypatch, trunk_cache):
    given, strength = [], steps.augmentation.strength

    def spy(losses, a, s):
        given.append(losses)
        return strength(losses, a, s)

    monkeypatch.setattr(steps.augmentation, "strength", spy)
    task = toy(chosen(augmentation="specaugment", dropout=0.5, trunk_cache=trunk_cache))
    network = fresh(task)
    chunks = task.store.chunks("train")[:8]
    expected = reference_losses(task, network, chunks)
    given_to_step = step_of(task, network, chunks)
    tf.config.run_functions_eagerly(True)
    try:
        given_to_step(np.ones(8, np.float32), np.array([1, 2], np.int32))
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(given[-1], expected, rtol=1e-4)


def test_a_last_batch_of_one_is_learnt_from_under_cutmix(chosen):
    differs = {"augmentation": "cutmix", "probability_min": 1.0, "probability_max": 1.0}
    task = toy(chosen(balance="none", epochs_phase1=1, **differs), (6, 6, 6), chunks_each=1)
    assert len(task.store.chunks("train")) == 9
    _, history = trained(task)
    assert np.isfinite(history["train_loss"]).all()

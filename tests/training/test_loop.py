"""Two phases, choosing on devel, what is learnt from: on a toy corpus and a CNN of 8 layers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.stats import spearmanr
from sklearn.metrics import recall_score

from dslite.features import store as feature_store
from dslite.models import classifier, pooling
from dslite.settings import AUGMENTATIONS, Settings
from dslite.training import experiment, loop, ridge, steps
from dslite.training.loop import Phase
from tests.training.toy import outputs_of, quiet, toy

BOTH = {"epochs_phase1": 2, "epochs_phase2": 2, "trained_share": 0.5, "dropout": 0.25}
EVERY_LAYER = {"conv1", "bn1", "conv2", "bn2", "conv3"}


def trained(task, seed=0, devel=True, epochs=None, log=quiet, **options):
    """A network after `fit`, and its history."""
    train = task.store.chunks("train")
    network = loop.build_model(task, train, seed)
    parts = task.store.chunks("devel") if devel else None
    return network, loop.fit(network, task, train, seed, parts, epochs, log=log, **options)


def fresh(task):
    return loop.build_model(task, task.store.chunks("train"), 0)


def equal(one, other):
    """Whether two networks have the same weights."""
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


def batch_norm_statistics(network):
    layer = classifier.backbone_of(network).get_layer("bn2")
    return np.concatenate([layer.moving_mean.numpy(), layer.moving_variance.numpy()])


def changed_layers(before, after):
    """Names of the backbone's layers any of whose weights differ."""
    pairs = zip(*(classifier.backbone_of(n).layers for n in (before, after)), strict=True)
    return {old.name for old, new in pairs if not equal(old, new)}


def without_times(history):
    return history.drop(columns=["seconds", "images_per_s"])


@pytest.fixture
def replaced_step(monkeypatch):
    """Puts a step that learns nothing in place; it calls back with the batch and the optimiser."""

    def replace(callback):
        def train_step(network, stage, task, optimiser):
            def step(mel, stored, targets, weights, seed):
                callback(mel, targets, optimiser)
                return tf.zeros(len(targets))

            return step

        monkeypatch.setattr(steps, "train_step", train_step)

    return replace


# The schedule


@pytest.mark.parametrize(
    ("differs", "layers", "phases"),
    [
        ({"trained_share": 0.3}, 427, [Phase(1, 3, 0.5, 0), Phase(2, 4, 0.05, 128)]),
        ({"learning_rate_phase2": 0.2}, 427, [Phase(1, 3, 0.5, 0), Phase(2, 4, 0.2, 42)]),
        ({"weights": "random", "trained_share": 0}, 50, [Phase(1, 7, 0.5, 50)]),
        ({"trained_share": 0.7}, 427, [Phase(1, 3, 0.5, 0), Phase(2, 4, 0.05, 298)]),
        ({"trained_share": 0.2}, 427, [Phase(1, 3, 0.5, 0), Phase(2, 4, 0.05, 85)]),
        ({"fine_tune_reading": "code"}, 427, [Phase(1, 3, 0.5, 0), Phase(2, 4, 0.05, 385)]),
        ({"trained_share": 0, "fine_tune_reading": "code"}, 427, [Phase(1, 3, 0.5, 0)]),
        ({"epochs_phase1": 0}, 427, [Phase(2, 4, 0.05, 42)]),
        ({"epochs_phase2": 0}, 427, [Phase(1, 3, 0.5, 0)]),
    ],
)
def test_the_schedule_trains_the_published_number_of_layers(differs, layers, phases):
    used = {"learning_rate": 0.5, "epochs_phase1": 3, "epochs_phase2": 4}
    assert loop.schedule(Settings(**used | differs), layers) == phases


# Learning


def test_a_separable_corpus_is_learnt(chosen):
    task = toy(chosen(epochs_phase1=18, epochs_phase2=2, trained_share=0.5, units=16))
    network, history = trained(task)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert history["devel_score"].max() >= 0.9
    # And the network that is handed back is the good one, by numpy.
    devel = task.store.chunks("devel")
    assert np.mean(outputs_of(network, task, devel).argmax(1) == task.classes[devel]) >= 0.8


def test_a_regression_is_learnt_in_the_labels_unit(chosen):
    task = toy(chosen(epochs_phase1=18, units=16), task="regression")
    network, history = trained(task)
    devel = task.store.chunks("devel")
    outputs = outputs_of(network, task, devel)[:, 0]
    true = pd.to_numeric(task.store.files["label"]).to_numpy()[task.store.file[devel]]
    assert np.sqrt(np.mean((outputs - true) ** 2)) < np.std(true)
    chunks = pd.DataFrame({"true": true, "output": outputs})
    rho = spearmanr(chunks.groupby(task.store.file[devel]).mean())[0]
    assert history["devel_score"][history["chosen"]].item() == pytest.approx(rho)
    assert rho > 0.8


# What is frozen


@pytest.mark.parametrize(
    ("differs", "layers"),
    [
        ({}, set()),
        ({"trained_share": 0.2}, {"conv3"}),
        ({"trained_share": 0.5}, {"conv2", "bn2", "conv3"}),
        # int(3.2) = 3 layers are frozen: 5 of 8 trained
        ({"trained_share": 0.4, "fine_tune_reading": "code"}, {"conv2", "bn2", "conv3"}),
        ({"trained_share": 1.0}, EVERY_LAYER),
        ({"weights": "random"}, EVERY_LAYER),
    ],
)
def test_the_head_is_learnt_and_exactly_the_last_layers(chosen, cache, differs, layers):
    used = chosen(epochs_phase1=1, epochs_phase2=1, learning_rate=10.0, **differs)
    task, whole = toy(used, (4, 4, 4)), used.weights == "random"
    before, (after, history) = fresh(task), trained(task, devel=False)
    assert changed_layers(before, after) == layers
    # Only a random backbone is trained in one phase, with its batch normalisation.
    assert np.array_equal(*map(batch_norm_statistics, (before, after))) != whole
    assert (cache / "activations").exists() != whole
    assert (history["phase"].max() == 1) == (used.trained_share == 0)
    assert not equal(*(network.get_layer("hidden") for network in (before, after)))
    for name in ("alpha", "beta"):  # of AReLU: learnt, unlike in the public implementation
        assert len({float(getattr(n.get_layer("arelu"), name)) for n in (before, after)}) == 2


# Choosing


def epochs_with_weights_of(network, weights):
    """Numbers of the epochs after which these were the network's weights."""
    now = network.get_weights()
    return [i for i, one in enumerate(weights, start=1) if all(map(np.array_equal, one, now))]


@pytest.mark.parametrize(
    ("rows", "choice", "best", "epochs"),
    [
        # Of equal scores the lower loss, of equal epochs the first
        ([(0.9, 0.5), (0.7, 0.5), (0.7, 0.5), (np.nan, 0.5)], "best", 2, {1: 2}),
        # The score goes before the loss
        ([(0.1, 0.2), (0.2, 0.2), (0.3, 0.2), (5.0, 0.3)], "best", 4, {1: 2, 2: 2}),
        # No correlation at all
        ([(0.9, np.nan), (0.7, -0.1), (0.8, np.nan), (0.9, np.nan)], "best", 2, {1: 2}),
        # Whatever devel says
        ([(0.9, 0.5), (0.7, 0.9), (0.7, 0.5), (np.nan, 0.1)], "last", 4, {1: 2, 2: 2}),
    ],
)
def test_the_weights_of_the_chosen_epoch_remain(chosen, scripted, rows, choice, best, epochs):
    weights = scripted(rows)
    network, history = trained(toy(chosen(epoch_choice=choice, **BOTH), (2, 2, 2)))
    assert history["chosen"].tolist() == [epoch == best for epoch in (1, 2, 3, 4)]
    assert epochs_with_weights_of(network, weights) == [best]
    assert loop.epochs_to_chosen(history) == epochs


@pytest.mark.parametrize(
    ("epochs", "phases", "devel"),
    [({1: 2, 2: 1}, [1, 1, 2], False), ({2: 1}, [2], True), ({1: 0}, [], True)],
)
def test_each_phase_has_the_epochs_asked_for(chosen, epochs, phases, devel):
    task = toy(chosen(**BOTH), (2, 2, 2))
    network, history = trained(task, devel=devel, epochs=epochs)
    assert equal(network, fresh(task)) == (phases == [])
    if phases:
        assert history["phase"].tolist() == phases
        assert history["epoch"].tolist() == list(range(1, len(phases) + 1))
        assert history["learning_rate"].tolist() == [{1: 1.0, 2: 0.1}[p] for p in phases]
    else:
        assert loop.epochs_to_chosen(history) == {}


def test_columns_of_the_history(chosen):
    task, rows = toy(chosen(epochs_phase1=1), (2, 2, 2)), []
    columns = ["epoch", "phase", "learning_rate", "train_loss", "images_per_s"]
    _, history = trained(task, after_epoch=rows.append)
    assert history.columns.tolist() == [*columns, "devel_loss", "devel_score", "seconds", "chosen"]
    # Images a second of the training alone: at least as many as over the whole epoch.
    assert (history["images_per_s"] * history["seconds"] >= len(task.store.chunks("train"))).all()
    assert pd.DataFrame(rows).equals(history.drop(columns="chosen"))
    assert trained(task, devel=False)[1].columns.tolist() == [*columns, "seconds"]


# The rate


def test_the_rate_warms_up_and_falls_in_each_phase(chosen, replaced_step):
    rates = []
    replaced_step(lambda mel, targets, optimiser: rates.append(float(optimiser.learning_rate)))
    differs = {"epochs_phase1": 3, "epochs_phase2": 3, "trained_share": 0.5, "batch_size": 100}
    task = toy(chosen(schedule="cosine", warmup_epochs=1, **differs), (2, 2, 2))
    _, history = trained(task)
    expected = [0.5, 1.0, 0.5, 0.05, 0.1, 0.05]
    np.testing.assert_allclose(history["learning_rate"], expected)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    # The final training's epochs are those of the first one, up to the best.
    _, shorter = trained(task, epochs={1: 3, 2: 2})
    np.testing.assert_allclose(shorter["learning_rate"], expected[:5])


# Patience


@pytest.mark.parametrize(
    ("scores", "patience", "end"),
    [
        ([0.5, 0.4, 0.3, 0.2], 1, 2),
        ([0.5, 0.5, 0.5, 0.5], 2, 3),  # equal is not better
        ([np.nan, 0.1, np.nan, 0.2], 2, 4),  # a number is better than none
        ([np.nan, np.nan, np.nan, 0.1], 2, 3),
    ],
)
def test_when_patience_ends(chosen, scripted, scores, patience, end):
    scripted([(1.0, score) for score in scores])
    _, history = trained(toy(chosen(epochs_phase1=4, patience=patience), (2, 2, 2)))
    assert len(history) == end


def test_out_of_patience_a_phase_ends_and_the_best_weights_remain(chosen, scripted):
    scores = [0.3, 0.8, 0.5, 0.6, 0.7, 0.9, 0.7, 0.6]
    weights, lines = scripted([(1.0, score) for score in scores]), []
    differs = {"epochs_phase1": 6, "epochs_phase2": 6, "trained_share": 0.5, "patience": 2}
    task = toy(chosen(**differs), (2, 2, 2))
    network, history = trained(task, log=lines.append)
    assert history["phase"].tolist() == [1] * 4 + [2] * 4
    assert history.index[history["chosen"]].tolist() == [5]
    assert epochs_with_weights_of(network, weights) == [6]
    for number in (1, 2):
        assert f"phase {number} ends early: devel does not get better" in lines
    assert loop.epochs_to_chosen(history) == {1: 4, 2: 2}
    # Without devel there is nothing to lose patience over.
    _, final = trained(task, devel=False, epochs={1: 5})
    assert len(final) == 5


# Stored activations


@pytest.mark.slow
def test_two_trainings_share_one_trunk(chosen, monkeypatch):
    calls = {"frozen": 0, "pictures": 0}
    frozen, load = steps.split.frozen, feature_store.load_activations

    def counted_frozen(*arguments):
        calls["frozen"] += 1
        return frozen(*arguments)

    def counted_load(folder, shape, compute, *more):
        def counted(part):
            calls["pictures"] += len(range(*part.indices(shape[0])))
            return compute(part)

        return load(folder, shape, counted, *more)

    monkeypatch.setattr(steps.split, "frozen", counted_frozen)
    monkeypatch.setattr(feature_store, "load_activations", counted_load)
    both = {"epochs_phase1": 1, "epochs_phase2": 1, "trained_share": 0.5}
    task = toy(chosen(augmentation="specaugment", **both), (6, 6, 6))
    trunks = steps.Trunks(task, quiet)
    first = trained(task, trunks=trunks)
    second = trained(task, trunks=trunks)  # once for each phase, in both trainings together
    assert calls == {"frozen": 2, "pictures": 2 * len(task.store.mel)}
    alone = trained(task)  # the store is on the disk by now
    assert calls == {"frozen": 4, "pictures": 2 * len(task.store.mel)}
    for network, history in (second, alone):
        assert history["train_loss"].tolist() == first[1]["train_loss"].tolist()
        assert equal(network, first[0])


# What an epoch learns from


def test_the_same_seed_gives_the_same_bits(chosen):
    task = toy(chosen(augmentation="cutmix+specaugment", epochs_phase1=2, dropout=0.25), (4, 4, 4))
    (one, first), (same, again), (other, third) = (trained(task, seed) for seed in (3, 3, 4))
    assert equal(one, same)
    assert not equal(one, other)
    pd.testing.assert_frame_equal(without_times(first), without_times(again), check_exact=True)
    assert first["train_loss"].tolist() != third["train_loss"].tolist()


@pytest.mark.parametrize("balance", ["none", "upsample"])
def test_every_chunk_is_learnt_from_in_every_epoch(chosen, replaced_step, balance):
    """9 files of one chunk in batches of 8: the incomplete batch counts too."""
    batches = []
    replaced_step(
        lambda mel, targets, optimiser: batches.append((np.asarray(mel), np.asarray(targets)))
    )
    task = toy(chosen(balance=balance, trunk_cache="off"), (7, 7, 3), chunks_each=1)
    trained(task, devel=False)
    epoch = {"none": 9, "upsample": 12}[balance]  # upsampled: three classes of four
    assert [len(mel) for mel, _ in batches] == [8, epoch - 8] * 2
    for half in (batches[:2], batches[2:]):
        mel, targets = map(np.concatenate, zip(*half, strict=True))
        chunks = [int(np.flatnonzero((task.store.mel == m).all(axis=(1, 2)))[0]) for m in mel]
        assert set(chunks) == set(task.store.chunks("train"))  # all of them, and nothing of devel
        np.testing.assert_array_equal(targets.argmax(1), task.classes[chunks])
        counts = np.bincount(task.classes[chunks])
        assert counts.tolist() == ([4, 4, 4] if balance == "upsample" else [4, 3, 2])
    assert not np.array_equal(batches[0][0], batches[2][0])  # another order in the next epoch


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_the_train_loss_is_the_mean_over_all_chunks(chosen, balance):
    """With next to no learning rate it is the untrained network's, as devel's: without weights."""
    task = toy(chosen(epochs_phase1=1, learning_rate=1e-12, balance=balance), (8, 6, 3))
    train = task.store.chunks("train")
    assert len(train) % task.settings.batch_size
    classes = task.classes[train]
    losses = -np.log(outputs_of(fresh(task), task, train)[np.arange(len(train)), classes])
    _, history = trained(task, devel=False)
    assert history["train_loss"].iloc[0] == pytest.approx(losses.mean(), rel=1e-4)


def test_each_augmentation_learns_something_else_and_is_traced_once(chosen, monkeypatch):
    traced, losses, train_step = [], set(), steps.train_step

    def remembered(*arguments):
        traced.append(train_step(*arguments))
        return traced[-1]

    monkeypatch.setattr(steps, "train_step", remembered)
    certain = {"probability_min": 1.0, "probability_max": 1.0, "balance": "none"}
    for name in AUGMENTATIONS:
        task = toy(chosen(augmentation=name, **certain), (6, 6, 6), chunks_each=1)
        assert len(task.store.chunks("train")) == 9  # the last batch is of one, without a partner
        network, history = trained(task, devel=False)
        assert np.isfinite(history["train_loss"]).all()
        assert all(np.isfinite(w).all() for w in network.get_weights())
        losses.add(history["train_loss"].iloc[0])
    assert len(losses) == 4
    assert [step.experimental_get_tracing_count() for step in traced] == [1] * 4


# A head in closed form as phase 1, and phase 2 that has to prove its gain

SOLVED = {"head": "ridge", "balance": "weights", "optimizer": "adam", "learning_rate_phase2": 1e-3}
SOLVED_BOTH = SOLVED | {"epochs_phase2": 3, "trained_share": 0.5}
SEGMENTS = {"picture": "clip+level", "mel_bands": 32, "columns": 32, "pooling": "segments"}


def hard(settings, per_class=(8, 8, 8)):
    """Make a toy task in which every fifth file has the label of another."""
    task = toy(settings, per_class)
    labels = task.store.files["label"].to_numpy(object)
    labels = np.where(np.arange(len(labels)) % 5, labels, np.roll(labels, 8))
    files = task.store.files.assign(label=labels)
    return steps.task_of(task.card, settings, replace(task.store, files=files))


def test_phase_1_is_one_solved_row(chosen):
    task, lines = hard(chosen(**SOLVED)), []
    network, history = trained(task, log=lines.append)
    (row,) = history.to_dict("records")
    assert (row["epoch"], row["phase"], row["learning_rate"], row["chosen"]) == (1, 1, 0.0, True)
    devel = task.store.chunks("devel")
    outputs, classes = outputs_of(network, task, devel), task.classes[devel]
    assert row["devel_loss"] == pytest.approx(-np.log(outputs[np.arange(24), classes]).mean(), 1e-2)
    fused = outputs.reshape(-1, 2, 3).mean(axis=1).argmax(axis=1)
    uar = recall_score(classes[::2], fused, average="macro")
    assert row["devel_score"] == pytest.approx(uar)
    assert 0.5 < uar < 1
    assert row["train_loss"] < row["devel_loss"] + 0.3
    assert any(line.startswith("head all: strength ") for line in lines)
    (head,) = history.attrs["heads"]
    assert head["chosen"]
    assert loop.epochs_to_chosen(history) == {1: 1}
    # The whole training does not depend on the seed, which draws nothing.
    assert equal(network, trained(task, seed=5)[0])


def test_the_losses_are_one_function_of_the_logits(chosen):
    """Train and devel loss of the same chunks are equal in phase 1, and hardly differ after it."""
    differs = {"learning_rate_phase2": 1e-12, "dropout": 0.5, "epochs_phase2": 1}
    task = hard(chosen(**SOLVED_BOTH | differs), (8, 6, 3))
    train = task.store.chunks("train")
    network = loop.build_model(task, train, 0)
    history = loop.fit(network, task, train, 0, devel=train, log=quiet)
    np.testing.assert_allclose(history["train_loss"], history["devel_loss"], rtol=1e-3)
    assert history["phase"].tolist() == [1, 2]


HALF = [1.0, 0.0] * 6


@pytest.mark.parametrize(
    ("rows", "best", "gains"),
    [
        # The same gain for every file: no noise
        ([HALF, [1.2, 0.2] * 6, [1.1, 0.1] * 6, HALF], 2, [0.2, 0.1, 0.0]),
        # As many files lost as won, and one more: less than its noise
        ([HALF, [0.0, 1.0] * 5 + [1.0, 1.0], HALF, HALF], 1, [1 / 12, 0.0, 0.0]),
        # Worse, and a late gain
        ([HALF, [0.0] * 12, [0.0] * 12, [1.0] * 12], 4, [-0.5, -0.5, 0.5]),
        ([HALF, [0.0] * 12, HALF, [np.nan] * 12], 1, [-0.5, 0.0, np.nan]),
    ],
)
def test_phase_2_counts_where_its_gain_is_more_than_noise(chosen, scripted, rows, best, gains):
    weights = scripted([(1.0, np.mean(shares), *shares) for shares in rows])
    network, history = trained(toy(chosen(**SOLVED_BOTH), (4, 4, 4)))
    np.testing.assert_allclose(history["gain"][1:], gains, atol=1e-9)
    for noise, right in zip(history["noise"][1:], rows[1:], strict=True):
        assert noise == pytest.approx(2 * np.std(np.subtract(right, HALF)) / 12**0.5, nan_ok=True)
    assert history["chosen"].tolist() == [epoch == best for epoch in (1, 2, 3, 4)]
    for mine, other in zip(network.get_weights(), weights[best - 1], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert loop.epochs_to_chosen(history) == ({1: 1, 2: best - 1} if best > 1 else {1: 1})
    facts = experiment._of_training(toy(chosen(**SOLVED_BOTH)), history, np.arange(3), quiet)
    assert facts["kept"]["phase"] == (2 if best > 1 else 1)
    expected = gains[best - 2] if best > 1 else np.nanmax(gains)
    assert facts["kept"]["gain"] == pytest.approx(expected)
    json.dumps(facts, allow_nan=False)


def test_only_the_last_layers_learn_after_the_head(chosen):
    task = toy(chosen(**SOLVED_BOTH, batch_size=4), (6, 6, 6))
    solved, _ = trained(task, devel=False, epochs={1: 1})
    tuned, history = trained(task, devel=False, epochs={1: 1, 2: 2})
    assert history["phase"].tolist() == [1, 2, 2]
    assert equal(solved.get_layer("output"), tuned.get_layer("output"))
    pairs = zip(*(classifier.backbone_of(n).layers for n in (solved, tuned)), strict=True)
    assert {a.name for a, b in pairs if not equal(a, b)} == {"conv2", "bn2", "conv3"}
    assert history["train_loss"].iloc[2] < history["train_loss"].iloc[0] + 0.1


def test_killed_after_every_epoch_it_ends_with_the_same_numbers(chosen, tmp_path):
    task = toy(chosen(augmentation="specaugment", **SOLVED_BOTH), (6, 6, 6))
    network, history = trained(task)
    checkpoint, lines = (tmp_path / "state.npz", "identity"), []

    def killed(row):
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            trained(task, checkpoint=checkpoint, after_epoch=killed, log=lines.append)
    again, resumed = trained(task, checkpoint=checkpoint, log=lines.append)
    for epoch in (1, 2, 3):
        assert f"going on after epoch {epoch}, where it was interrupted" in lines
    assert sum(line.startswith("head ") for line in lines) == 1  # is not solved again
    pd.testing.assert_frame_equal(without_times(history), without_times(resumed))
    assert history.attrs["heads"] == resumed.attrs["heads"]
    assert equal(network, again)


def test_a_regression_is_solved_in_the_labels_unit(chosen):
    task = toy(chosen(**SOLVED_BOTH), task="regression")
    network, history = trained(task)
    devel = task.store.chunks("devel")
    outputs, true = outputs_of(network, task, devel)[:, 0], task.targets[devel][:, 0]
    assert np.sqrt(np.mean((outputs - true) ** 2)) < 0.5 * np.std(true)
    assert history["devel_score"][history["chosen"]].item() > 0.8
    assert np.isfinite(history[["gain", "noise"]].iloc[1:]).all(axis=None)


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        (["", ""], ["0.wav", "2.wav"]),  # nobody is named
        (["ann", "ann"], ["0.wav", "2.wav"]),  # one for all
        (["ann", "bob"], ["ann", "bob"]),
        (["", "bob"], ["0.wav", "bob"]),
    ],
)
def test_who_is_kept_together(chosen, monkeypatch, speakers, expected):
    """Chunks of one file always, and those of one speaker where there are several."""
    groups, solve = [], ridge.solve

    def spy(*arguments):
        groups.append(arguments[3])
        return solve(*arguments)

    monkeypatch.setattr(ridge, "solve", spy)
    task = toy(chosen(**SOLVED), (4, 4, 4))
    names = np.where(np.arange(12) % 4 < 2, *speakers)
    files = task.store.files.assign(speaker=names)
    task = task._replace(store=replace(task.store, files=files))
    trained(task, devel=False)
    assert len(groups[0]) == 12
    assert (groups[0][:4] == np.repeat(expected, 2)).all()


@pytest.mark.parametrize("weights", ["random", "tiny"])
def test_nothing_is_trained_whole_below_a_solved_head(chosen, tiny, weights):
    used = chosen(**SOLVED, weights="random" if weights == "random" else str(tiny))
    task = toy(used, (6, 6, 6))
    before, (after, history) = loop.build_model(task, np.arange(9), 0), trained(task)
    assert history["phase"].tolist() == [1]
    assert equal(*(classifier.backbone_of(network) for network in (before, after)))
    assert not equal(before.get_layer("output"), after.get_layer("output"))


def test_of_several_depths_every_head_is_solved(cache, tiny_depths):
    """Two panels: features on disk in half precision, the same without a store."""
    used = {"backbone": "squeezenet", "weights": str(tiny_depths), "batch_size": 8, "head": "ridge"}
    used |= {"epochs_phase2": 0, "products": "on"}
    histories = []
    for word in ("on", "off"):
        task = toy(Settings(**used | SEGMENTS, trunk_cache=word), (5, 5, 5))
        network, history = trained(task)
        histories.append(history)
        assert [head["head"] for head in history.attrs["heads"]] == list(ridge.HEADS)
        assert sum(head["chosen"] for head in history.attrs["heads"]) == 2
        devel = task.store.chunks("devel")
        right = outputs_of(network, task, devel).argmax(1) == task.classes[devel]
        assert right.mean() > 0.6
    np.testing.assert_allclose(*(h["devel_loss"].iloc[0] for h in histories), rtol=0.02)
    features = sum(layer.output.shape[-1] for layer in pooling.statistics(network))
    assert 2 * features * 30 in {file.stat().st_size for file in cache.rglob("activations.bin")}


# What a training says

ROW = {
    **{"epoch": 7, "phase": 1, "learning_rate": 0.001, "train_loss": 0.98765},
    **{"images_per_s": 123.4, "devel_loss": 1.2345, "devel_score": 0.4567, "seconds": 30.04},
}


def test_a_line_an_epoch():
    assert loop.line(ROW, 120, False) == (
        "phase 1 epoch   7/120  train loss 0.988  devel loss 1.234  devel UAR 45.7 %"
        "  123 images/s  30.0 s  56.6 minutes left"
    )
    for score, words in ((0.4567, "0.457"), (float("nan"), "nan")):
        assert f"  devel rho {words}  " in loop.line(ROW | {"devel_score": score}, 120, True)
    assert loop.line(ROW, 7, False).endswith("123 images/s  30.0 s")

"""A head in closed form as phase 1, and phase 2 that has to prove its gain on devel."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score

from dslite.models import classifier, pooling
from dslite.settings import Settings
from dslite.training import experiment, loop, ridge, steps
from tests.training.test_loop import equal, trained, without_times
from tests.training.toy import outputs_of, quiet, toy

SOLVED = {"head": "ridge", "balance": "weights", "optimizer": "adam", "learning_rate_phase2": 1e-3}
BOTH = SOLVED | {"epochs_phase2": 3, "trained_share": 0.5}
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
    assert (row["epoch"], row["phase"], row["learning_rate"], row["best"]) == (1, 1, 0.0, True)
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
    assert loop.epochs_to_best(history) == {1: 1}
    # The whole training does not depend on the seed, which draws nothing.
    assert equal(network, trained(task, seed=5)[0])


def test_the_losses_are_one_function_of_the_logits(chosen):
    """Train and devel loss of the same chunks are equal in phase 1, and hardly differ after it."""
    differs = {"learning_rate_phase2": 1e-12, "dropout": 0.5, "epochs_phase2": 1}
    task = hard(chosen(**BOTH | differs), (8, 6, 3))
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
    network, history = trained(toy(chosen(**BOTH), (4, 4, 4)))
    np.testing.assert_allclose(history["gain"][1:], gains, atol=1e-9)
    for noise, right in zip(history["noise"][1:], rows[1:], strict=True):
        assert noise == pytest.approx(2 * np.std(np.subtract(right, HALF)) / 12**0.5, nan_ok=True)
    assert history["best"].tolist() == [epoch == best for epoch in (1, 2, 3, 4)]
    for mine, other in zip(network.get_weights(), weights[best - 1], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert loop.epochs_to_best(history) == ({1: 1, 2: best - 1} if best > 1 else {1: 1})
    facts = experiment._of_training(toy(chosen(**BOTH)), history, np.arange(3), quiet)
    assert facts["kept"]["phase"] == (2 if best > 1 else 1)
    expected = gains[best - 2] if best > 1 else np.nanmax(gains)
    assert facts["kept"]["gain"] == pytest.approx(expected)
    json.dumps(facts, allow_nan=False)


def test_only_the_last_layers_learn_after_the_head(chosen):
    task = toy(chosen(**BOTH, batch_size=4), (6, 6, 6))
    solved, _ = trained(task, devel=False, epochs={1: 1})
    tuned, history = trained(task, devel=False, epochs={1: 1, 2: 2})
    assert history["phase"].tolist() == [1, 2, 2]
    assert equal(solved.get_layer("output"), tuned.get_layer("output"))
    pairs = zip(*(classifier.backbone_of(n).layers for n in (solved, tuned)), strict=True)
    assert {a.name for a, b in pairs if not equal(a, b)} == {"conv2", "bn2", "conv3"}
    assert history["train_loss"].iloc[2] < history["train_loss"].iloc[0] + 0.1


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_killed_after_any_epoch_it_ends_with_the_same_numbers(chosen, tmp_path, epoch):
    task = toy(chosen(augmentation="specaugment", **BOTH), (6, 6, 6))
    network, history = trained(task)
    checkpoint = (tmp_path / "state.npz", "identity")

    def killed(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(task, checkpoint=checkpoint, after_epoch=killed)
    lines = []
    again, resumed = trained(task, checkpoint=checkpoint, log=lines.append)
    assert f"going on after epoch {epoch}, where it was interrupted" in lines
    assert not any(line.startswith("head ") for line in lines)  # is not solved again
    pd.testing.assert_frame_equal(without_times(history), without_times(resumed))
    assert history.attrs["heads"] == resumed.attrs["heads"]
    assert equal(network, again)


def test_a_regression_is_solved_in_the_labels_unit(chosen):
    task = toy(chosen(**BOTH), task="regression")
    network, history = trained(task)
    devel = task.store.chunks("devel")
    outputs, true = outputs_of(network, task, devel)[:, 0], task.targets[devel][:, 0]
    assert np.sqrt(np.mean((outputs - true) ** 2)) < 0.5 * np.std(true)
    assert history["devel_score"][history["best"]].item() > 0.8
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


def test_of_several_depths_every_head_is_solved(cache):
    """SqueezeNet, two panels: features on disk in half precision, the same without a store."""
    used = {"backbone": "squeezenet", "weights": "random", "batch_size": 8, "head": "ridge"}
    used |= {"epochs_phase2": 1, "trained_share": 0.3, "optimizer": "adam"}
    histories = []
    for word in ("on", "off"):
        task = toy(Settings(**used | SEGMENTS, trunk_cache=word), (5, 5, 5))
        network, history = trained(task)
        histories.append(history)
        assert [head["head"] for head in history.attrs["heads"]] == list(ridge.HEADS)
        assert sum(head["chosen"] for head in history.attrs["heads"]) == 2
        assert history["phase"].tolist() == [1, 2]
        devel = task.store.chunks("devel")
        right = outputs_of(network, task, devel).argmax(1) == task.classes[devel]
        assert right.mean() > 0.6
    np.testing.assert_allclose(*(h["devel_loss"].iloc[0] for h in histories), rtol=0.02)
    features = sum(layer.output.shape[-1] for layer in pooling.statistics(network))
    assert 2 * features * 30 in {file.stat().st_size for file in cache.rglob("activations.bin")}


def test_what_names_stored_activations(monkeypatch):
    """Segments and the kind of number; the picture's settings are in the spectrograms' key."""
    keys = []

    def load(folder, shape, *rest):
        keys.append(folder.name)
        return np.zeros(shape, np.float32)

    monkeypatch.setattr(steps.feature_store, "load_activations", load)
    used = {"backbone": "squeezenet", "weights": "random", "head": "ridge"}
    for differs, key in (({}, "a"), ({"segments": 2}, "a"), ({"head": "arelu"}, "a"), ({}, "b")):
        task = toy(Settings(**used | SEGMENTS | differs), (1, 1, 1), key=key)
        network = loop.build_model(task, np.arange(3), 0)
        classifier.set_trained(network, 0)
        steps.Trunks(task, quiet).stage(network, 0)
    assert len(set(keys)) == 4

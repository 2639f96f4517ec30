"""Killed for real (SIGKILL) anywhere, and started again: the numbers of an unbroken run."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from dslite import cards
from dslite.datasets import load_manifest
from dslite.training import checkpoints as training_checkpoints
from dslite.training import experiment, loop, runs

# Everything that has a state: the optimiser, the rate, the dropout, the augmentation.
USED = {
    **{"augmentation": "cutmix+specaugment", "dropout": 0.4, "optimizer": "adam", "units": 8},
    **{"learning_rate": 0.003, "schedule": "cosine", "warmup_epochs": 1, "batch_size": 16},
    **{"epochs_phase1": 2, "epochs_phase2": 3, "trained_share": 0.3, "balance": "none"},
}
SEED = 5
PHASE1, EPOCHS = 2, 5
TIMED = ["seconds", "images_per_s"]

# One run in a process of its own that kills itself. The words are the table's path, the settings,
# the seed, the kind of place and how many times it is passed.
CHILD = """
import io, json, os, signal, sys
import numpy as np
from dslite import cards, checkpoints, experiment, runs, steps
from dslite.datasets import load_manifest

table, used, seed, place, count = sys.argv[1:]
left = int(count)

def passing(here):
    global left
    left -= here == place
    if left == 0:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

def log(line):
    print(line, flush=True)
    if "train loss" in line:
        passing("epoch")

train_step, savez, write = steps.train_step, np.savez, runs.write

def counted_step(*given):
    step = train_step(*given)
    def taken(*batch):
        passing("step")
        return step(*batch)
    return taken

def half_a_checkpoint(file, **arrays):
    content = io.BytesIO()
    savez(content, **arrays)
    content = content.getvalue()
    file.write(content[: len(content) // 2])
    file.flush()
    os.fsync(file.fileno())
    passing("half")
    file.write(content[len(content) // 2 :])

def written(draft, *given):
    write(draft, *given)
    passing("results")

steps.train_step, checkpoints.np.savez, runs.write = counted_step, half_a_checkpoint, written
card = cards.load(table)
experiment.train(
    load_manifest(card), cards.settings_of(card, "", json.loads(used)), int(seed), log=log
)
print("not killed")
"""


class Place:
    """A results folder and a cache of its own."""

    def __init__(self, folder: Path, table: Path, patched):
        self.folder, self.table, self.patched = folder, table, patched
        self.cache, self.results = folder / "cache", folder / "results"

    def enter(self):
        self.patched.setenv("DSLITE_CACHE", str(self.cache))
        self.patched.setenv("DSLITE_RESULTS", str(self.results))

    def run(self, seed=SEED, force=False, log=None, **differs):
        """In this process; gives the run and its log."""
        self.enter()
        card, lines = cards.load(str(self.table)), []
        chosen = cards.settings_of(card, "", USED | differs)
        run = experiment.train(
            load_manifest(card), chosen, seed, force=force, log=log or lines.append
        )
        return run, lines

    def killed(self, place, count):
        """In a process that dies the count-th time it comes by; gives its log."""
        self.enter()
        words = [str(self.table), json.dumps(USED), str(SEED), place, str(count)]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *words],
            capture_output=True,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            timeout=300,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert "not killed" not in done.stdout
        assert not list(self.results.glob("*/*/run.json"))
        assert self.checkpoints
        return done.stdout.splitlines()

    @property
    def checkpoints(self):
        return sorted((self.cache / "checkpoints").rglob("*.npz"))


@pytest.fixture(scope="module")
def stored(small_corpus, small_cache, tmp_path_factory):
    """A cache with the spectrograms and nothing else."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DSLITE_CACHE", str(small_cache))
        card = cards.load(str(small_corpus))
        loop.loader.load(load_manifest(card), cards.settings_of(card))
    folder = tmp_path_factory.mktemp("stored") / "cache"
    shutil.copytree(small_cache / "spectrograms", folder / "spectrograms")
    return folder


@pytest.fixture(scope="module")
def unbroken(small_corpus, stored, tmp_path_factory):
    """A run that nothing came in the way of."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("unbroken")
        shutil.copytree(stored, folder / "cache")
        place = Place(folder, small_corpus, patched)
        run, lines = place.run()
        assert not any("going on" in line for line in lines)
        assert place.checkpoints == []
    # What the places below rely on.
    first, final = (run.history.query("training == @name") for name in ("train", "train+devel"))
    assert first["phase"].tolist() == [1] * PHASE1 + [2] * (EPOCHS - PHASE1)
    assert len(final) >= PHASE1 + 1, "choose settings in which phase 2 is better on devel"
    assert first["learning_rate"].nunique() == EPOCHS - 1  # warm-up 1/2, cosine 1 and 1/2
    assert any(line.startswith("training on train: 70 chunks; ") for line in lines)
    return run


@pytest.fixture
def place(tmp_path, stored, small_corpus, monkeypatch):
    shutil.copytree(stored, tmp_path / "cache")
    return Place(tmp_path, small_corpus, monkeypatch)


def weights(run):
    """Every array of a saved model by its name."""
    found = {}
    with (
        zipfile.ZipFile(run.folder / "model.keras") as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as stored,
    ):
        stored.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def assert_same(run, unbroken):
    """All that a run leaves but its times."""
    pd.testing.assert_frame_equal(
        run.history.drop(columns=TIMED), unbroken.history.drop(columns=TIMED), check_exact=True
    )
    for name in ("metrics.json", "predictions.csv"):
        assert (run.folder / name).read_bytes() == (unbroken.folder / name).read_bytes(), name
    found, expected = weights(run), weights(unbroken)
    assert found.keys() == expected.keys()
    assert len(found) > 50
    assert [name for name in expected if found[name].tobytes() != expected[name].tobytes()] == []
    assert run.record["identity"] == unbroken.record["identity"]
    assert run.record["epochs"] == unbroken.record["epochs"]


def went_on(lines):
    """After which epochs a log says that its trainings went on."""
    said = [line for line in lines if line.startswith("going on after epoch ")]
    return [int(line.split()[4].strip(",")) for line in said]


STEPS = 5  # of an epoch of the first training: 70 chunks, 16 a step


def learnt(lines):
    """The epochs of a log."""
    return [line for line in lines if "train loss" in line]


def finishes(place, unbroken, gone_on):
    """Run to the end; the log says what was gone on from, and nothing is left over."""
    run, lines = place.run()
    assert went_on(lines) == gone_on
    assert len(learnt(lines)) == EPOCHS + unbroken.record["epochs"] - sum(gone_on)
    assert_same(run, unbroken)
    assert not list((place.cache / "checkpoints" / "small").iterdir())
    _, lines = place.run()
    assert "not repeated" in lines[0]


def test_killed_again_and_again(place, unbroken):
    assert len(learnt(place.killed("epoch", 1))) == 1
    lines = place.killed("step", 2)  # within epoch 2, in phase 1
    assert (went_on(lines), len(learnt(lines))) == ([1], 0)
    lines = place.killed("step", 2 * STEPS + 2)  # within epoch 4, the second one of phase 2
    assert (went_on(lines), len(learnt(lines))) == ([1], 2)
    lines = place.killed("epoch", 2 + PHASE1 + 1)  # in phase 2 of the second training
    assert (went_on(lines), len(learnt(lines))) == ([3], 2 + PHASE1 + 1)
    finishes(place, unbroken, [EPOCHS, PHASE1 + 1])


def test_killed_while_writing(place, unbroken):
    assert len(learnt(place.killed("half", 4))) == 3
    # What was half written lies about, under another name.
    hidden = [path.parent.name.startswith(".") for path in place.checkpoints]
    assert sorted(hidden) == [False, True]
    lines = place.killed("results", 1)
    final = unbroken.record["epochs"]
    assert (went_on(lines), len(learnt(lines))) == ([3], 2 + final)
    finishes(place, unbroken, [EPOCHS, final])


def test_the_cost_is_that_of_all_sessions(place):
    place.killed("epoch", 2)
    (file,) = (place.cache / "checkpoints" / "small").glob("*/cost.json")
    assert runs.load_cost(file).sessions == 1
    # More than anybody has spent: it must come back, with what the next session adds.
    stored = runs.Cost(5000.0, 7000.0, 9e6, 1.0, "made up")
    runs.save_cost(file, stored)
    later = []

    def log(line):
        if "train loss" in line:
            later.append(runs.load_cost(file))

    run, _ = place.run(log=log)
    cost = runs.Cost(**run.record["cost"])
    assert len(later) == EPOCHS - 2 + run.record["epochs"]
    assert {spent.sessions for spent in (*later, cost)} == {2}
    for before, after in itertools.pairwise([stored, *later, cost]):
        assert after.wall_s > before.wall_s
        assert after.cpu_s > before.cpu_s
    assert cost.peak_mib == 9e6
    assert run.record["seconds"] == round(cost.wall_s, 1)
    assert not file.exists()


# Whose checkpoint


@pytest.fixture(scope="module")
def stopped(small_corpus, stored, tmp_path_factory):
    """Cache of a run that was interrupted after its third epoch."""

    def log(line):
        if "train loss" in line and "epoch   3" in line:
            raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("stopped")
    shutil.copytree(stored, folder / "cache")
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        Place(folder, small_corpus, patched).run(log=log)
    return folder / "cache"


@pytest.fixture
def interrupted(tmp_path, stopped, small_corpus, monkeypatch):
    shutil.copytree(stopped, tmp_path / "cache")
    place = Place(tmp_path, small_corpus, monkeypatch)
    assert [file.name for file in place.checkpoints] == ["train.npz"]
    return place


SHORT = {"epochs_phase1": 1, "epochs_phase2": 0}


def test_a_checkpoint_of_other_settings_or_seed_is_left_alone(interrupted):
    (file,) = interrupted.checkpoints
    before = file.read_bytes()
    for seed, differs in ((SEED + 1, {}), (SEED, SHORT)):
        _, lines = interrupted.run(seed, **differs)
        assert went_on(lines) == []
        assert interrupted.checkpoints == [file]
        assert file.read_bytes() == before


def test_a_checkpoint_in_the_wrong_place_is_not_taken_up(interrupted):
    (file,) = interrupted.checkpoints
    card = cards.load(str(interrupted.table))
    chosen = cards.settings_of(card, "", USED | SHORT)
    described, _, _ = runs.look_up(load_manifest(card), chosen, SEED, "", runs.NETWORK)
    there = file.parent.parent / described["identity"][:16]
    there.mkdir()
    shutil.copy(file, there / "train.npz")
    run, lines = interrupted.run(**SHORT)
    assert went_on(lines) == []
    assert len(run.history.query("training == 'train'")) == 1


def test_a_broken_checkpoint_is_as_good_as_none(interrupted, unbroken):
    (file,) = interrupted.checkpoints
    file.write_bytes(file.read_bytes()[:-100])
    run, lines = interrupted.run()
    assert went_on(lines) == []
    assert_same(run, unbroken)


def test_force_begins_anew(interrupted, unbroken):
    (file,) = interrupted.checkpoints
    # Taken up, this one could not give the same numbers.
    identity = json.loads(np.load(file)["json"].tobytes())["identity"]
    state = training_checkpoints.load(file, identity)
    state.arrays["variables"] = [np.zeros_like(a) for a in state.arrays["variables"]]
    training_checkpoints.save(file, identity, state)
    run, lines = interrupted.run(force=True)
    assert went_on(lines) == []
    assert_same(run, unbroken)
    assert interrupted.checkpoints == []

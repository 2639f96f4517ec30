"""The state of a training on disk: whole or not there; and runs that go on from it."""

import io
import itertools
import json
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

from dslite import cards, paths
from dslite.datasets import load_manifest
from dslite.models import backbones
from dslite.training import experiment, runs
from dslite.training.loop import load_state, save_state
from tests.random_networks import alive
from tests.training import inverted_residuals


@pytest.fixture
def state(rng):
    """A state with everything that a training keeps."""
    generator = np.random.default_rng(3)
    generator.normal(size=5)
    dropout, empty = np.array([7, 4_000_000_000], np.uint32), np.zeros((0, 4), np.float32)
    variables = [rng.normal(size=(5000, 3)).astype(np.float32), np.float32(0.9).reshape(())]
    optimizer = [np.array(12, np.int64), rng.normal(size=(2, 3, 4)), np.array([True])]
    history = [
        {"epoch": 1, "devel_score": float("nan"), "devel_loss": float("inf")},
        {"epoch": 2, "devel_score": 0.1 + 0.2, "devel_loss": 1 / 3},
    ]
    arrays = {"variables": [*variables, dropout, empty], "optimizer": optimizer, "chosen": []}
    return arrays, {"history": history, "order": generator.bit_generator.state}


@pytest.fixture
def file(tmp_path, state):
    """A stored state of the identity ``mine``."""
    save_state(tmp_path / "deep" / "state.npz", "mine", *state)
    return tmp_path / "deep" / "state.npz"


def same(stored, expected):
    """Whether two states are equal to the last bit."""

    def bits(arrays):
        return {name: [(a.dtype, a.shape, a.tobytes()) for a in of] for name, of in arrays.items()}

    same_facts = json.dumps(stored[1]) == json.dumps(expected[1])  # NaN is NaN
    return same_facts and bits(stored[0]) == bits(expected[0])


def test_round_trip(file, state):
    stored = load_state(file, "mine")
    assert same(stored, state)
    assert [path.name for path in file.parent.iterdir()] == ["state.npz"]
    one, other = np.random.default_rng(3), np.random.default_rng(0)
    one.normal(size=5)
    other.bit_generator.state = stored[1]["order"]
    np.testing.assert_array_equal(one.permutation(50), other.permutation(50))
    save_state(file, "mine", {}, state[1])
    assert same(load_state(file, "mine"), ({}, state[1]))
    for lacking in state[1]:
        some = {name: value for name, value in state[1].items() if name != lacking}
        save_state(file, "mine", {}, some)
        assert load_state(file, "mine") is None


def test_nothing_of_this_identity(file, tmp_path):
    for identity in ("other", "", "mine ", "MINE"):
        assert load_state(file, identity) is None
    assert load_state(tmp_path / "state.npz", "mine") is None
    assert load_state(tmp_path / "none" / "state.npz", "mine") is None
    assert load_state(tmp_path, "mine") is None  # a folder


def test_a_pickle_is_no_state(tmp_path):
    np.savez(tmp_path / "state.npz", json=np.array([{"identity": "mine", "lengths": {}}]))
    assert load_state(tmp_path / "state.npz", "mine") is None


def test_a_truncated_file_and_a_flipped_bit(file, state, rng):
    """A bit that means nothing (a date) may be flipped; nothing else is taken up."""
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert load_state(file, "mine") is None
    some = rng.integers(0, len(content), 10)
    for place in (*range(0, 400, 20), *some, *range(len(content) - 900, len(content), 45)):
        broken = bytearray(content)
        broken[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        stored = load_state(file, "mine")
        assert stored is None or same(stored, state), f"byte {place}"


def test_a_flipped_bit_of_a_shape(file, state):
    """5000 rows become 1000: less is read than was written, and no sum is ever compared."""
    content = bytearray(file.read_bytes())
    place = content.index(b"(5000, 3)") + 1
    content[place] ^= 4
    assert content[place : place + 4] == b"1000"
    file.write_bytes(content)
    assert load_state(file, "mine") is None


# Runs that are interrupted

# Everything that has a state: the optimiser, the rate, the dropout, the augmentation.
USED = {
    **{"augmentation": "cutmix+specaugment", "dropout": 0.4, "optimizer": "adam", "units": 8},
    **{"learning_rate": 0.003, "schedule": "cosine", "warmup_epochs": 1, "batch_size": 16},
    **{"epochs_phase1": 2, "epochs_phase2": 3, "trained_share": 0.3, "balance": "none"},
}
SEED = 9  # phase 2 is better on devel
PHASE1, EPOCHS = 2, 5
STEPS = 5  # of an epoch of the first training: 70 chunks, 16 a step
TIMED = ["seconds", "images_per_s"]


class Place:
    """A results folder and a cache of its own."""

    def __init__(self, folder: Path, table: Path, patched, **settings):
        self.folder, self.table, self.patched = folder, table, patched
        self.cache, self.results = folder / "cache", folder / "results"
        self.settings = USED | settings

    def enter(self):
        self.patched.setenv("DSLITE_CACHE", str(self.cache))
        self.patched.setenv("DSLITE_RESULTS", str(self.results))

    def run(self, force=False, log=None):
        """In this process; gives the run and its log."""
        self.enter()
        card, lines = cards.load(str(self.table)), []
        used = cards.settings_of(card, "", self.settings)
        log = log or lines.append
        return experiment.train(load_manifest(card), used, SEED, force=force, log=log), lines

    def interrupted(self, epoch):
        """In this process, after an epoch of the first training."""

        def log(line):
            if "train loss" in line and f"epoch {epoch:3d}" in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.run(log=log)

    def killed(self, place, count):
        """In a process that dies the count-th time it comes by; gives its log."""
        self.enter()
        words = [str(self.table), json.dumps(self.settings), str(SEED), place, str(count)]
        words = [sys.executable, "-c", CHILD, *words]
        options = {"capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(words, cwd=paths.ROOT, **options)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert "not killed" not in done.stdout
        assert not list(self.results.glob("*/*/run.json"))
        assert self.checkpoints
        return done.stdout.splitlines()

    @property
    def checkpoints(self):
        return sorted((self.cache / "checkpoints").rglob("*.npz"))


def weights(run):
    """The bytes of every array of a saved model by its name."""
    arrays = {}

    def read(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    with zipfile.ZipFile(run.folder / "model.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as stored:
        stored.visititems(read)
    return arrays


def assert_same(run, unbroken):
    """All that a run leaves but its times."""
    pd.testing.assert_frame_equal(
        run.history.drop(columns=TIMED), unbroken.history.drop(columns=TIMED), check_exact=True
    )
    for name in ("metrics.json", "predictions.csv"):
        assert (run.folder / name).read_bytes() == (unbroken.folder / name).read_bytes(), name
    arrays, expected = weights(run), weights(unbroken)
    assert arrays == expected
    assert len(arrays) > 10
    for key in ("identity", "epochs"):
        assert run.record[key] == unbroken.record[key]


def went_on(lines):
    """After which epochs a log says that its trainings went on."""
    return [int(x.split()[4].strip(",")) for x in lines if x.startswith("going on after epoch ")]


def learnt(lines):
    """The epochs of a log."""
    return [line for line in lines if "train loss" in line]


@pytest.fixture
def place(tmp_path, small_corpus, tiny, monkeypatch):
    """A place for runs of the CNN of 8 layers."""
    return Place(tmp_path, small_corpus, monkeypatch, weights=str(tiny))


def test_an_interrupted_run_has_the_cost_of_all_sessions(place):
    place.settings |= {"epochs_phase1": 2, "epochs_phase2": 0, "augmentation": "none"}
    place.interrupted(1)
    (file,) = (place.cache / "checkpoints" / "small").glob("*/cost.json")
    assert runs.load_cost(file)["sessions"] == 1
    # More than anybody has spent: it must come back, with what the next session adds.
    stored, later, lines = {"wall_s": 5e3, "cpu_s": 7e3, "peak_mib": 9e6, "sessions": 1}, [], []
    file.write_text(json.dumps(stored))

    def log(line):
        lines.append(line)
        if "train loss" in line:
            later.append(runs.load_cost(file))

    run, _ = place.run(log=log)
    assert went_on(lines) == [1]
    cost = run.record["cost"]
    assert len(later) == 1 + run.record["epochs"]
    assert {spent["sessions"] for spent in (*later, cost)} == {2}
    for before, after in itertools.pairwise([stored, *later, cost]):
        assert after["wall_s"] > before["wall_s"]
        assert after["cpu_s"] >= before["cpu_s"]
    assert cost["peak_mib"] == 9e6
    assert run.record["seconds"] == round(cost["wall_s"], 1)
    assert not list((place.cache / "checkpoints" / "small").iterdir())


def test_a_broken_checkpoint_is_not_taken_up_and_a_forced_run_begins_anew(place):
    place.settings |= {"epochs_phase2": 0, "augmentation": "none"}
    place.interrupted(1)
    (file,) = place.checkpoints
    content = file.read_bytes()
    identity = json.loads(np.load(file)["json"].tobytes())["identity"]
    # A broken one is as good as none.
    file.write_bytes(content[:-100])
    run, lines = place.run()
    assert went_on(lines) == []
    again = runs.load(shutil.copytree(run.folder, place.folder / "again"))
    file.parent.mkdir()
    file.write_bytes(content)
    arrays, facts = load_state(file, identity)
    arrays["variables"] = [np.zeros_like(a) for a in arrays["variables"]]
    save_state(file, identity, arrays, facts)
    forced, lines = place.run(force=True)
    assert went_on(lines) == []
    assert_same(forced, again)
    assert place.checkpoints == []


# Killed (SIGKILL) anywhere, and started again

# One run in a process of its own that kills itself. The words are the table's path, the settings,
# the seed, the kind of place and how many times it is passed.
CHILD = """
import io, json, os, signal, sys
import numpy as np
from dslite import cards
from dslite.datasets import load_manifest
from dslite.models import backbones
from dslite.training import experiment, loop, runs, steps
from tests.training import inverted_residuals

backbones.BACKBONES["squeezenet"] = inverted_residuals.backbone()
table, used, seed, place, count = sys.argv[1:]
left = int(count)

def passing(event):
    global left
    left -= event == place
    if left == 0:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

def log(line):
    print(line, flush=True)
    if "train loss" in line:
        passing("epoch")

train_step, savez, write = steps.train_step, np.savez, runs.write

def counted_step(*arguments):
    step = train_step(*arguments)
    return lambda *batch: (passing("step"), step(*batch))[1]

def half_a_checkpoint(file, **arrays):
    content = io.BytesIO()
    savez(content, **arrays)
    content = content.getvalue()
    file.write(content[: len(content) // 2])
    file.flush()
    os.fsync(file.fileno())
    passing("half")
    file.write(content[len(content) // 2 :])

def written(draft, *arguments):
    write(draft, *arguments)
    passing("results")

steps.train_step, loop.np.savez, runs.write = counted_step, half_a_checkpoint, written
card = cards.load(table)
experiment.train(
    load_manifest(card), cards.settings_of(card, "", json.loads(used)), int(seed), log=log
)
print("not killed")
"""


@pytest.mark.slow
def test_killed_again_and_again(small_corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(backbones.BACKBONES, "squeezenet", inverted_residuals.backbone())
    path = tmp_path / "small.weights.h5"
    alive(inverted_residuals.build(32, 32)).save_weights(path)
    whole, place = (
        Place(tmp_path / name, small_corpus, monkeypatch, weights=str(path))
        for name in ("whole", "killed")
    )
    unbroken, lines = whole.run()
    # What the kills rely on.
    first, second = (
        unbroken.history.query("training == @name") for name in ("train", "train+devel")
    )
    assert first["phase"].tolist() == [1] * PHASE1 + [2] * (EPOCHS - PHASE1)
    assert len(second) > PHASE1, "choose settings in which phase 2 is better on devel"
    assert any(line.startswith("training on train: 70 chunks; ") for line in lines)
    final = unbroken.record["epochs"]
    for at, count, after, epochs in (
        ("half", 2, [], 1),  # while the checkpoint of epoch 2 is written
        ("step", 2 * STEPS + 2, [1], 2),  # within epoch 4, the second one of phase 2
        ("epoch", 2 + PHASE1 + 1, [3], 2 + PHASE1 + 1),  # in phase 2 of the second training
        ("results", 1, [EPOCHS, PHASE1 + 1], final - PHASE1 - 1),
    ):
        lines = place.killed(at, count)
        assert (went_on(lines), len(learnt(lines))) == (after, epochs)
        if at == "half":  # what was half written lies about, under another name
            hidden = [path.parts[-3].startswith(".") for path in place.checkpoints]
            assert sorted(hidden) == [False, True]
    run, lines = place.run()
    assert (went_on(lines), learnt(lines)) == ([EPOCHS, final], [])
    assert_same(run, unbroken)
    assert not list((place.cache / "checkpoints" / "small").iterdir())

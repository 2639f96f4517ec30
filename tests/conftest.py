"""Fixtures shared by all tests."""

import os
import shutil
import sys
import threading

import filelock
import hypothesis
import numpy as np
import pytest

from dslite import cards, cli
from dslite.datasets import demo, load_manifest
from dslite.training import runs
from tests.file_server import FileServer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TF_NUM_INTRAOP_THREADS"] = "2"  # of `Settings.threads`, whichever test starts it
# The same examples in every run: no test passes or fails by chance.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left alone with one at the end."""
    longest = ("test_chain.py", "test_loop_checkpoints.py", "test_steps.py", "test_fuzz.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded generator: the same draws in every run of a test."""
    return np.random.default_rng(0)


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of this test's own."""
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder, and no corpus at hand."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "raw"))
    return tmp_path / "results"


@pytest.fixture
def file_server(monkeypatch):
    """A running `FileServer` for a name: ``file_server("network.h5")``; no proxy, no mirror."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("DSLITE_MIRROR", raising=False)
    servers = []

    def start(name):
        servers.append(FileServer(name))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command as a shell would: gives status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["dslite", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.run()
        return left.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def user_card(tmp_path):
    """Make a user's table with its card and load it: ``user_card(text of my.yaml)``."""

    def load(text=None, name="my"):
        (tmp_path / f"{name}.csv").write_text("path,label\n")
        if text is not None:
            (tmp_path / f"{name}.yaml").write_text(text)
        return cards.load(str(tmp_path / f"{name}.csv"))

    return load


SMALL_CARD = """\
title: A part of the demo corpus as somebody's own table
licence: CC0-1.0
classes: [calm, happy, sad, angry]
settings:
  chunk_length_s: 2.0
  image_size: 32
  mel_bands: 32
  backbone: squeezenet
  weights: {weights}
  top_db: 80
  batch_size: 16
  bootstrap_draws: 50
default_preset: tuned
presets:
  tuned:
    units: 8
    learning_rate: 1.0
    epochs_phase1: 2
    epochs_phase2: 1
    trained_share: 0.3
    epoch_choice: best
  untrained: {{units: 8, weights: random, learning_rate: 1.0, epochs_phase1: 1, epochs_phase2: 1}}
"""


def _save_filters_that_pass_a_signal(network, path):
    """Random filters scaled as by He et al. 2015; Keras' own let a picture fade to nothing."""
    drawn = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if len(variable.shape) == 4:
            first = 1 / 60 if variable.path.startswith("conv1") else 1  # sees values to about 130
            size = np.sqrt(2 / np.prod(variable.shape[:-1])) * first
            variable.assign(drawn.normal(0, size, variable.shape))
    network.save_weights(path)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Fill a folder once for all test processes: ``once(name, make)`` calls ``make(folder)``."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name, make):
        folder, finished = base / f"once-{name}", base / f"once-{name}.finished"
        with filelock.FileLock(base / f"once-{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a killed process has left
                folder.mkdir()
                make(folder)
                finished.touch()
        return folder

    return folder_of


SMALL_TEST = ("spk03", "spk06", "spk11")  # speakers


@pytest.fixture(scope="session")
def small_corpus(once):
    """Path of ``small.csv``: 96 clips of the demo corpus as a user's own table with its card."""
    from dslite.models import backbones

    def make(place):
        folder = place / "small"
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(demo, "TAKES", 2)
            demo.generate(folder)
            table = demo.read(cards.load("demo"), folder).table
        # Divided as suits the tests, whatever the demo shows: half of the voices are learnt from.
        part_of = {f"spk{n:02}": "devel" for n in (2, 7, 10)} | dict.fromkeys(SMALL_TEST, "test")
        table["partition"] = table["speaker"].map(part_of).fillna("train")
        table.drop(columns="source_label").to_csv(folder / "small.csv", index=False)
        weights = folder / "small.weights.h5"  # "pre-trained", so that both phases are run
        network = backbones.build_backbone("squeezenet", "random", 32)
        _save_filters_that_pass_a_signal(network, weights)
        (folder / "small.yaml").write_text(SMALL_CARD.format(weights=weights), encoding="utf-8")

    return once("small", make) / "small" / "small.csv"


@pytest.fixture(scope="session")
def small_cache(once):
    """Cache folder in which the small corpus's spectrograms are computed once."""
    return once("small_cache", lambda folder: None)


@pytest.fixture
def workplace(small_cache, tmp_path, monkeypatch):
    """An empty results folder of this test's own; spectrograms of the small corpus are shared."""
    monkeypatch.setenv("DSLITE_CACHE", str(small_cache))
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture(scope="session")
def small_run(small_corpus, small_cache, once):
    """A finished run of the small corpus with its preset. Tests only read it."""
    from dslite.training import experiment

    def make(folder):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("DSLITE_CACHE", str(small_cache))
            patched.setenv("DSLITE_RESULTS", str(folder))
            card = cards.load(str(small_corpus))
            settings = cards.settings_of(card)
            experiment.train(load_manifest(card), settings, seed=0, log=lambda line: None)

    (record,) = once("small_run", make).glob("*/*/run.json")
    return runs.load(record.parent)


@pytest.fixture
def instead_of_squeezenet(monkeypatch, tmp_path):
    """Put another network in SqueezeNet's place; gives the path of weights for it."""
    from dslite.models import backbones

    def put(build):
        small = backbones.Backbone("Tiny", build, backbones.BACKBONES["squeezenet"].scale)
        monkeypatch.setitem(backbones.BACKBONES, "squeezenet", small)
        path = tmp_path / "tiny.weights.h5"
        _save_filters_that_pass_a_signal(build(32, 32), path)
        return path

    return put


@pytest.fixture
def tiny(instead_of_squeezenet):
    """A CNN of 8 layers in SqueezeNet's place; gives the path of weights for it."""
    from keras import Input, Model, layers

    def build(height, width):
        x = image = Input((height, width, 3), name="image")
        for i in (1, 2):
            x = layers.Conv2D(8, 3, strides=2, name=f"conv{i}")(x)
            x = layers.ReLU(name=f"relu{i}")(layers.BatchNormalization(name=f"bn{i}")(x))
        return Model(image, layers.Conv2D(16, 3, name="conv3")(x), name="tiny")

    return instead_of_squeezenet(build)


@pytest.fixture
def tiny_depths(instead_of_squeezenet):
    """A CNN with maps of a half, a 4th and an 8th of the picture, as `tiny`."""
    from keras import Input, Model, layers

    def build(height, width):
        x = image = Input((height, width, 3), name="image")
        for i in (1, 2, 3):
            x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{i}")(x)
            x = layers.ReLU(name=f"relu{i}")(x)
        return Model(image, x, name="depths")

    return instead_of_squeezenet(build)

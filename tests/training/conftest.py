"""Fixtures of the tests of training."""

import pandas as pd
import pytest
import tensorflow as tf

from dslite import cards
from dslite.datasets import load_manifest
from dslite.settings import Settings
from dslite.training import loop

SHORT = {"epochs_phase1": 1, "epochs_phase2": 1, "trained_share": 0.5, "units": 4}


@pytest.fixture(autouse=True, scope="session")
def deterministic():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture
def chosen(tiny, cache):
    """Settings of a training of the CNN of 8 layers on 32 pixels; takes what differs."""

    def make(**differs):
        used = {"epochs_phase1": 2, "epochs_phase2": 0, "trained_share": 0.0, "dropout": 0.0}
        used |= {"batch_size": 8, "learning_rate": 1.0, "image_size": 32, "mel_bands": 16}
        used |= {"epoch_choice": "best"}
        used |= {"units": 8, "backbone": "squeezenet", "weights": str(tiny)}
        return Settings(**(used | differs))

    return make


@pytest.fixture
def short(tiny, workplace):
    """Settings of a training that takes a second; takes a manifest and what differs."""

    def make(built, **differs):
        return cards.settings_of(built.card, "", SHORT | {"weights": str(tiny)} | differs)

    return make


@pytest.fixture
def scripted(monkeypatch):
    """Makes up loss, score and shares of the files on devel; gives the weights after each epoch."""

    def script(rows):
        weights, rows = [], iter(rows)

        def devel_score(task, network, chunks, predict):
            weights.append(network.get_weights())
            loss, score, *shares = next(rows)
            return {"devel_loss": loss, "devel_score": score}, shares

        monkeypatch.setattr(loop, "_devel_score", devel_score)
        return weights

    return script


@pytest.fixture
def corpus(small_corpus, workplace, tmp_path):
    """Manifest of the small corpus; takes a change of its table, and keys of another card."""

    def make(change=lambda table: table, **card):
        # Under the same name as before, which users are not allowed.
        (workplace / "small" / "partition.json").unlink(missing_ok=True)
        table, folder = pd.read_csv(small_corpus, dtype=str), tmp_path / "changed"
        folder.mkdir(exist_ok=True)
        change(table).to_csv(folder / "small.csv", index=False)
        content = small_corpus.with_suffix(".yaml").read_text("utf-8")
        for key, line in card.items():
            content = "\n".join(x for x in content.splitlines() if not x.startswith(f"{key}:"))
            content += f"\n{key}: {line}\n" if line else "\n"
        text = f"folder: {small_corpus.parent}\n{content}"
        (folder / "small.yaml").write_text(text, encoding="utf-8")
        return load_manifest(cards.load(str(folder / "small.csv")))

    return make


@pytest.fixture
def ages(corpus):
    """Manifest of the small corpus with numbers that the audio has something to do with."""

    def as_ages(table):
        place = table["label"].map({"calm": 0, "happy": 1, "sad": 2, "angry": 3})
        return table.assign(label=[str(20 + 10 * p + i % 7) for i, p in enumerate(place)])

    return corpus(as_ages, classes="", task="regression")

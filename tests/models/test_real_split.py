"""Real audio through real ImageNet weights: with stored activations the same losses as without."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dslite import audio, paths
from dslite.cards import Card
from dslite.settings import Settings
from dslite.training import steps

SHARED = paths.ROOT.parent / "shared"
CORPORA = Path(os.environ.get("DSLITE_REAL_DATA", SHARED / "corpora"))
WEIGHTS = Path(os.environ.get("DSLITE_REAL_WEIGHTS", SHARED / "weights"))
MOBILENET = WEIGHTS / "mobilenet_v2.weights.h5"
EMOTIONS = ("01", "03", "05")  # third field of a file's name: neutral, happy, angry
STEPS = 50


def task_of_real_files(settings: Settings):
    """The first chunk of 15 songs, whose class is the emotion."""
    from dslite.features import spectrogram
    from dslite.features import store as feature_store

    found = sorted((CORPORA / "ravdess").rglob("03-02-*.*"))
    files = [
        file
        for emotion in EMOTIONS
        for file in [f for f in found if f.name.split("-")[2] == emotion][::3][:5]
    ]
    first = np.concatenate([audio.chunks_of(file, settings)[0][:1] for file in files])
    mel = spectrogram.compiled_mel_image(settings)(first).numpy()
    labels = [file.name.split("-")[2] for file in files]
    table = pd.DataFrame({"label": labels, "partition": "train"})
    rows = np.arange(len(files))
    store = feature_store.Store(mel, rows, np.zeros(len(rows)), table, None, (), "real")
    card = Card(dataset="real", layout="table", title="real", classes=EMOTIONS)
    return steps.task_of(card, settings, store)


def losses(task, share, spoil=None):
    """Losses of the samples of 50 steps, float32 [steps, batch]."""
    from dslite.models import classifier
    from dslite.training import loop

    train = np.arange(len(task.store.mel))
    network = loop.build_model(task, train, 0)
    last = int(len(classifier.backbone_of(network).layers) * share)
    classifier.set_trained(network, last)
    stage = steps.Trunks(task, lambda line: None).stage(network, last)
    assert (stage.stored is not None) == (task.settings.trunk_cache == "on")
    if spoil:
        stage = dataclasses.replace(stage, stored=spoil(stage.stored))
    rate = task.settings.learning_rate * (0.1 if last else 1)
    optimiser = steps.optimizer(task.settings, rate, network.trainable_variables)
    step = steps.train_step(network, stage, task, optimiser)
    rng, found = np.random.default_rng(0), []
    while len(found) < STEPS:
        found += list(loop.epoch_losses(step, stage, task, train, rng))
    return np.array(found[:STEPS])


@pytest.mark.real
@pytest.mark.skipif(
    not (CORPORA / "ravdess").is_dir() or not MOBILENET.is_file(),
    reason="the real corpus or the real weights are not on this machine",
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_50_steps_are_the_same_with_and_without_stored_activations(cache, share):
    settings = Settings(
        chunk_length_s=3.0,
        backbone="mobilenet_v2",
        weights=str(MOBILENET),
        units=32,
        learning_rate=1.0,
        batch_size=5,
        augmentation="cutmix+specaugment",
    )
    task = task_of_real_files(settings)
    off = dataclasses.replace(task, settings=settings.model_copy(update={"trunk_cache": "off"}))
    found, expected = losses(task, share), losses(off, share)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

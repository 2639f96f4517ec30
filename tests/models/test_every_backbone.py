"""Every network of the registry: built, cut, trained one step, converted and reloaded."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from dslite import cards, settings
from dslite.deployment import convert, runtime
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.models import backbones, classifier
from dslite.training import loop, steps

pytestmark = pytest.mark.slow

CLASSES = ("low", "high")
CHUNKS = 4


def a_task(used: settings.Settings) -> steps.Task:
    shape = (CHUNKS, used.mel_bands, spectrogram.frames(used))
    mel = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    files = pd.DataFrame({"path": [f"{i}.wav" for i in range(CHUNKS)]})
    start_s = np.zeros(CHUNKS)
    store = Store(mel, np.arange(CHUNKS), start_s, files, Path(), (), used.backbone)
    card = cards.Card(dataset="noise", layout="table", title="Noise", classes=CLASSES)
    classes = np.arange(CHUNKS) % 2
    return steps.Task(store, np.eye(2, dtype=np.float32)[classes], classes, card, used)


@pytest.mark.parametrize("name", settings.BACKBONE_NAMES)
def test_from_the_registry_to_the_device(name, cache, tmp_path):
    # A process of its own: TensorFlow keeps the graphs of all networks, many GiB for sixteen.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(whole_life, name, tmp_path).result()


def whole_life(name: str, folder: Path) -> None:
    size = max(64, backbones.BACKBONES[name].smallest)
    weights = folder / "random.weights.h5"
    backbones.build_backbone(name, "random", size).save_weights(weights)
    used = settings.Settings(
        backbone=name,
        weights=str(weights),  # a file: as if pre-trained, so that there is something to cut
        image_size=size,
        mel_bands=32,
        chunk_length_s=1.0,
        units=8,
        augmentation="cutmix+specaugment",
        optimizer="adam",
        batch_size=2,
    )
    task = a_task(used)
    chunks = np.arange(CHUNKS)
    network = loop.build_model(task, chunks, seed=0)
    frozen = {v.path: v.numpy() for v in classifier.backbone_of(network).non_trainable_variables}
    trunks = steps.Trunks(task, log=lambda line: None)
    count = classifier.trained_layers(used, len(classifier.backbone_of(network).layers))
    assert count > 0
    for last in (0, count):
        classifier.set_trained(network, last)
        stage = trunks.stage(network, last)
        # What is stored and the tail are together the whole network.
        expected = classifier.predictor(network, used)(task.store.mel).numpy()
        found = steps.predictor(network, stage, task)(chunks)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        before = [v.numpy() for v in network.trainable_variables]
        optimiser = steps.optimizer(used, 1e-3, network.trainable_variables)
        step = steps.train_step(network, stage, task, optimiser)
        losses = list(loop.epoch_losses(step, stage, task, chunks, np.random.default_rng(0)))
        assert np.isfinite(losses).all()
        after = [v.numpy() for v in network.trainable_variables]
        changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert any(changed)
    assert trunks.used == [0, count]
    for variable in classifier.backbone_of(network).non_trainable_variables:
        if variable.path in frozen:
            np.testing.assert_array_equal(variable.numpy(), frozen[variable.path])

    network.save(folder / "model.keras")
    reloaded = keras.models.load_model(folder / "model.keras", compile=False)
    expected = classifier.predictor(network, used)(task.store.mel).numpy()
    again = classifier.predictor(reloaded, used)(task.store.mel).numpy()
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)

    device = folder / "cnn.tflite"
    device.write_bytes(convert.convert(convert.functions(reloaded, used)["cnn"], reloaded))
    run = runtime.runner(device)
    on_device = np.concatenate([run(task.store.mel[i : i + 1]) for i in range(CHUNKS)])
    np.testing.assert_allclose(on_device, expected, rtol=1e-2, atol=2e-3)

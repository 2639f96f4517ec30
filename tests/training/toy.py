"""A toy corpus: noise whose level is the class, learnt in a second."""

import hashlib

import numpy as np
import pandas as pd

from dslite.cards import Card
from dslite.features.store import Store
from dslite.models import classifier
from dslite.training import steps

CLASSES = ("low", "middle", "high")


def quiet(line):
    """A log that nobody reads."""


def toy(settings, per_class=(8, 8, 8), task="classification", chunks_each=2, devel=True, key=None):
    """Task of so many files a class; every second file is devel, the others train.

    Not a band whose height is the class: pooling forgets where something is.
    """
    rng = np.random.default_rng(1)
    shape = (16, 16) if settings.picture == "chunk" else settings.picture_shape
    mel, labels = [], []
    for label, files in enumerate(per_class):
        for _ in range(files):
            level = 40 + 80 * label + rng.integers(-15, 16)
            mel.append(level + rng.integers(-25, 26, (chunks_each, *shape)))
            labels.append(str(level / 10) if task == "regression" else CLASSES[label])
    count = len(labels)
    partition = np.where(np.arange(count) % 2, "devel", "train") if devel else "train"
    files = pd.DataFrame({"label": labels, "speaker": "", "partition": partition})
    files.insert(0, "path", [f"{i}.wav" for i in range(count)])
    owner = np.repeat(np.arange(count), chunks_each)
    mel = np.concatenate(mel).clip(0, 255).astype(np.uint8)
    key = key or hashlib.sha256(mel).hexdigest()
    store = Store(mel, owner, np.zeros(len(owner)), files, None, (), key)
    classes = () if task == "regression" else CLASSES
    card = Card(dataset="toy", layout="table", title="toy", task=task, classes=classes)
    return steps.task_of(card, settings, store)


def outputs_of(network, task, chunks):
    """What a network says of chunks, dropout off."""
    pictures = classifier.inputs(task.store.mel[chunks], task.settings)
    return network(pictures, training=False).numpy()

"""A training of a network of MobileNetV2's kinds of layers on so many cores, in its own process.

``python -m tests.training.inverted_residuals CORES TABLE WEIGHTS SET``
"""

import os
import sys

import keras
import pytest

from dslite import cards
from dslite.datasets import load_manifest
from dslite.models import backbones

SIDE = 64  # pixels: of smaller pictures threads change nothing


def build(height, width):
    """Two blocks that expand, filter each channel and project."""
    layers = keras.layers
    x = image = keras.Input((height, width, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="conv1")(x)
    for i, width in enumerate((64, 96)):
        x = layers.Conv2D(width, 1, use_bias=False, name=f"expand{i}")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.DepthwiseConv2D(3, strides=2, padding="same", name=f"depthwise{i}")(x)
        x = layers.Conv2D(width // 4, 1, name=f"project{i}")(layers.ReLU(6.0)(x))
    return keras.Model(image, x, name="inverted_residuals")


def backbone():
    """What stands in SqueezeNet's place."""
    return backbones.Backbone("Small", build, backbones.BACKBONES["squeezenet"].scale)


def main(cores, table, weights, overrides):
    """Train with the table's preset, its output on stdout."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    from dslite.training import experiment

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(backbones.BACKBONES, "squeezenet", backbone())
        card = cards.load(table)
        settings = cards.settings_of(card, "", overrides, weights=weights)
        experiment.train(load_manifest(card), settings, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

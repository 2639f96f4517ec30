"""Fixtures of the tests of explanations."""

import keras
import numba
import numpy as np
import pytest

from dslite.models import backbones

# Compiling shap's loops takes a process longer than all of these tests run them.
numba.config.DISABLE_JIT = True
import shap  # noqa: E402, F401

numba.config.DISABLE_JIT = False


@pytest.fixture(autouse=True)
def plain_lists(monkeypatch):
    """What is not compiled has lists of Python's own."""
    monkeypatch.setattr("numba.typed.List", list)


@pytest.fixture
def hz():
    """Centres of 64 bands, evenly spaced on the HTK Mel scale, of a filter bank of 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    return 700 * (10 ** (mels / 2595) - 1)


@pytest.fixture
def tiny_depths(monkeypatch):
    """A CNN with maps of a half, a 4th and an 8th of the picture in SqueezeNet's place."""

    def build(height, width):
        x = image = keras.Input((height, width, 3), name="image")
        for i in (1, 2, 3):
            x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{i}")(x)
            x = keras.layers.ReLU(name=f"relu{i}")(x)
        return keras.Model(image, x, name="depths")

    small = backbones.Backbone("Depths", build, backbones.BACKBONES["squeezenet"].scale)
    monkeypatch.setitem(backbones.BACKBONES, "squeezenet", small)

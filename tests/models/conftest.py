"""Two small networks and files of their weights."""

import keras
import pytest

from dslite.models import backbones

SIDE = 32


@pytest.fixture(scope="session")
def networks():
    """A network with layers of one kind and one of many kinds, with random weights."""
    keras.utils.set_random_seed(0)
    return {
        name: backbones.build_backbone(name, "random", SIDE)
        for name in ("squeezenet", "mobilenet_v2")
    }


@pytest.fixture(scope="session")
def files(networks, tmp_path_factory):
    """Weights of these networks in Keras' own format, which stand for pre-trained ones."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in networks.items():
        network.save_weights(folder / f"{name}.weights.h5")
    return {name: folder / f"{name}.weights.h5" for name in networks}

"""Two small networks and files of their weights."""

import h5py
import keras
import pytest
from keras.src.legacy.saving import legacy_h5_format

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
    """Weights of these networks, which stand for pre-trained ones: path by name.

    In Keras' own format, and "mobilenet_v2 legacy" in that of the published files.
    """
    folder = tmp_path_factory.mktemp("weights")
    for name, network in networks.items():
        network.save_weights(folder / f"{name}.weights.h5")
    with h5py.File(folder / "legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, networks["mobilenet_v2"])
    paths = {name: folder / f"{name}.weights.h5" for name in networks}
    return paths | {"mobilenet_v2 legacy": folder / "legacy.h5"}

"""The published files of ImageNet weights without top."""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dslite import paths
from dslite.datasets.download import retrieve
from dslite.errors import InputError


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights."""

    url: str
    licence: str
    checksum: str | None = None  # md5:... or sha256:..., where one is published

    @property
    def name(self) -> str:
        """The file's name, at its publisher's as in the cache."""
        return self.url.rpartition("/")[2]


# Names and checksums: keras/src/applications of Keras 3.15, which has none for the two MobileNets.
# Of SqueezeNet a commit, since a branch may change. Licences: keras.io/api/applications (up to
# Keras 2.3), for later networks those of the repositories they were published in.
with (resources.files("dslite.models") / "backbones.csv").open(encoding="utf-8") as _table:
    REGISTRY = {row["name"]: row for row in csv.DictReader(_table)}

IMAGENET = {
    name: WeightsFile(row["url"], row["licence"], row["checksum"] or None)
    for name, row in REGISTRY.items()
}


def fetch(source: WeightsFile) -> Path:
    """Download weights once, into the cache; an InputError of `retrieve` where that fails."""
    import h5py  # here, since only a download needs it

    file = paths.cache() / "weights" / source.name
    remedy = (
        f"get the file in another way and give its path (weights=.../{source.name}), "
        "or do without it (weights=random)"
    )
    if not h5py.is_hdf5(file):  # pooch compares a checksum, where there is one
        file.unlink(missing_ok=True)
    retrieve(source.url, source.checksum, file, remedy)
    if not h5py.is_hdf5(file):
        file.unlink()
        raise InputError(f"{source.url} is not an HDF5 file; {remedy}")
    return file

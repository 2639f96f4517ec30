"""The published files of ImageNet weights without top."""

import csv
from importlib import resources
from pathlib import Path

from dslite import paths
from dslite.datasets.download import retrieve
from dslite.errors import InputError

# Names and checksums: keras/src/applications of Keras 3.15, which has none for the two MobileNets.
# Of SqueezeNet a commit, since a branch may change. Licences: keras.io/api/applications (up to
# Keras 2.3), for later networks those of the repositories they were published in.
with (resources.files("dslite.models") / "backbones.csv").open(encoding="utf-8") as _table:
    REGISTRY = {row["name"]: row for row in csv.DictReader(_table)}


def cached(url: str) -> Path:
    """Return where published weights lie once they are downloaded."""
    return paths.cache() / "weights" / Path(url).name


def fetch(url: str, checksum: str | None = None) -> Path:
    """Download weights once, into the cache; an InputError of `retrieve` where that fails."""
    import h5py  # here, since only a download needs it

    file = cached(url)
    remedy = (
        f"get the file in another way and give its path (weights=.../{file.name}), "
        "or do without it (weights=random)"
    )
    if not h5py.is_hdf5(file):  # pooch compares a checksum, where there is one
        file.unlink(missing_ok=True)
    retrieve(url, checksum, file, remedy)
    if not h5py.is_hdf5(file):
        file.unlink()
        raise InputError(f"{url} is not an HDF5 file; {remedy}")
    return file

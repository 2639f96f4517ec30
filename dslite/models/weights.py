"""The published files of ImageNet weights without top."""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dslite import paths
from dslite.datasets.download import retrieve
from dslite.errors import InputError

_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first eight bytes (HDF5 file format specification, II.A)


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights; without a ``checksum`` its ``size`` in bytes is compared."""

    url: str
    licence: str
    checksum: str | None = None  # md5:... or sha256:...
    size: int = 0

    @property
    def name(self) -> str:
        """The file's name, at its publisher's as in the cache."""
        return self.url.rpartition("/")[2]


# Names and checksums: keras/src/applications of Keras 3.15, which has none for the two MobileNets;
# their sizes are what Keras shows while it downloads them. Of SqueezeNet a commit, since a branch
# may change. Licences: keras.io/api/applications (up to Keras 2.3), for later networks those of the
# repositories they were published in.
with (resources.files("dslite.models") / "backbones.csv").open(encoding="utf-8") as _table:
    REGISTRY = {row["name"]: row for row in csv.DictReader(_table)}

IMAGENET = {
    name: WeightsFile(row["url"], row["licence"], row["checksum"] or None, int(row["size"] or 0))
    for name, row in REGISTRY.items()
}


def fetch(source: WeightsFile) -> Path:
    """Download weights once, into the cache; an InputError of `retrieve` where that fails."""
    file = paths.cache() / "weights" / source.name
    remedy = (
        f"get the file in another way and give its path (weights=.../{source.name}), "
        "or do without it (weights=random)"
    )
    if file.is_file() and _fault(file, source):
        file.unlink()
    retrieve(source.url, source.checksum, file, remedy)
    if fault := _fault(file, source):
        file.unlink()
        raise InputError(f"{source.url} {fault}; {remedy}")
    return file


def _fault(file: Path, source: WeightsFile) -> str:
    """Return what is wrong with a file that has no checksum; empty if nothing is."""
    if source.checksum:
        return ""  # pooch compares it
    size = file.stat().st_size
    if source.size and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    with file.open("rb") as content:
        return "" if content.read(len(_HDF5)) == _HDF5 else "is not an HDF5 file"

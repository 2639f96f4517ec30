"""The published files of ImageNet weights without top, and their download."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pooch

from dslite import paths
from dslite.errors import InputError

MIRROR = "DSLITE_MIRROR"  # environment variable: another host with the same files

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_SQUEEZENET = (  # a commit, since a branch may change
    "https://raw.githubusercontent.com/DeepCognition/keras-squeezenet/"
    "a73d4339aa4d37c51a0b3ba044bed55477abec73"
)
_NO_TOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_MIT, _APACHE, _BSD, _CC = "MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0"
_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first eight bytes (HDF5 file format specification, II.A)


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights.

    ``checksum`` is ``md5:...`` or ``sha256:...``. Where a publisher names none, ``size`` in bytes
    is compared.
    """

    url: str
    licence: str
    checksum: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name, at its publisher's as in the cache."""
        return self.url.rpartition("/")[2]


def _keras(path: str, licence: str, md5: str | None = None, size: int | None = None) -> WeightsFile:
    """Describe one of Keras' files, whose name mostly ends alike."""
    path = path if path.endswith(".h5") else f"{path}_{_NO_TOP}"
    return WeightsFile(f"{_KERAS}/{path}", licence, md5 and f"md5:{md5}", size)


# Names and checksums: keras/src/applications of Keras 3.15, which has none for the two MobileNets;
# their sizes are what Keras shows while it downloads them. Licences: keras.io/api/applications (up
# to Keras 2.3), for later networks those of the repositories they were published in.
IMAGENET: dict[str, WeightsFile] = {
    "vgg16": _keras("vgg16/vgg16", _CC, "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": _keras("vgg19/vgg19", _CC, "253f8cb515780f3b799900260a226db6"),
    "resnet50": _keras("resnet/resnet50", _MIT, "4d473c1dd8becc155b73f8504c6f6626"),
    "xception": _keras("xception/xception", _MIT, "b0042744bf5b25fce3cb969f33bebb97"),
    "inception_v3": _keras(
        "inception_v3/inception_v3", _APACHE, "bcbd6486424b2319ff4ef7d526e38f63"
    ),
    "densenet121": _keras("densenet/densenet121", _BSD, "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": _keras("densenet/densenet169", _BSD, "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": _keras("densenet/densenet201", _BSD, "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "mobilenet": _keras("mobilenet/mobilenet_1_0_224_tf_no_top.h5", _APACHE, size=17_225_924),
    "mobilenet_v2": _keras(
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        _APACHE,
        size=9_406_464,
    ),
    "nasnet_large": _keras(
        "nasnet/NASNet-large-no-top.h5", _APACHE, "d81d89dc07e6e56530c4e77faddd61b5"
    ),
    "nasnet_mobile": _keras(
        "nasnet/NASNet-mobile-no-top.h5", _APACHE, "1ed92395b5b598bdda52abe5c0dbfd63"
    ),
    "inception_resnet_v2": _keras(
        "inception_resnet_v2/inception_resnet_v2", _APACHE, "d19885ff4a710c122648d3b5c3b684e4"
    ),
    "squeezenet": WeightsFile(
        f"{_SQUEEZENET}/squeezenet_{_NO_TOP}",
        _MIT,
        "sha256:17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da",
    ),
    "efficientnet_v2_b0": _keras(
        "efficientnet_v2/efficientnetv2-b0_notop.h5", _APACHE, "893217f2bb855e2983157299931e43ff"
    ),
    "mobilenet_v3_small": _keras(
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        _APACHE,
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
}


def fetch(source: WeightsFile) -> Path:
    """Download a file once, into the cache.

    Raises
    ------
    InputError
        No connection, or a file that is not the published one.
    """
    folder, url = paths.cache() / "weights", source.url
    if os.environ.get(MIRROR):
        url = f"{os.environ[MIRROR].rstrip('/')}/{source.name}"
    remedy = (
        f"get the file in another way and give its path (weights=.../{source.name}), "
        "or do without it (weights=random)"
    )
    file = folder / source.name
    if file.is_file() and _fault(file, source):
        file.unlink()
    try:
        show = sys.stderr.isatty()
        pooch.retrieve(url, source.checksum, source.name, folder, progressbar=show)
    except ValueError as error:
        raise InputError(f"{url} is not the published file ({error}); {remedy}") from None
    except OSError as error:
        # A lost connection is urllib3's cause, inside an exception of requests'.
        cause = getattr(error.args[0], "reason", error) if error.args else error
        reason = str(cause).splitlines()[0][:120]
        raise InputError(f"{url} cannot be downloaded ({reason}); {remedy}") from None
    fault = _fault(file, source)
    if fault:
        file.unlink()
        raise InputError(f"{url} {fault}; {remedy}")
    return file


def _fault(file: Path, source: WeightsFile) -> str:
    """Say what is wrong with a file that has no checksum; empty if nothing is."""
    if source.checksum:
        return ""  # pooch compares it
    size = file.stat().st_size
    if source.size and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    with file.open("rb") as content:
        return "" if content.read(len(_HDF5)) == _HDF5 else "is not an HDF5 file"

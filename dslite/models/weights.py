"""Files of weights: the published ones of ImageNet without top, and what a file is."""

import csv
import io
import json
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from dslite import paths
from dslite.datasets.download import retrieve
from dslite.errors import InputError
from dslite.models import guard

if TYPE_CHECKING:
    import h5py

# Names and checksums: keras/src/applications of Keras 3.15, which has none for the two MobileNets.
# Of SqueezeNet a commit, since a branch may change. Licences: keras.io/api/applications (up to
# Keras 2.3), for later networks those of the repositories they were published in.
with (resources.files("dslite.models") / "backbones.csv").open(encoding="utf-8") as _table:
    REGISTRY = {row["name"]: row for row in csv.DictReader(_table)}

MOST_COMPRESSED = 20  # times that weights become smaller
NUMBERS = ("seed", "shared_object_id")  # of a layer, that size nothing
WIDEST = 4096  # units or pixels that a layer may have whatever its weights
OTHERS = "only weights of Keras will do"
# Reads all that HDF5 would be asked for; what only raises an error is the reader's to explain.
_READ = f"""
import io
import zipfile
import h5py

OTHER_FILES = "it takes arrays from other files"

def read(item, most, visited):
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        sys.exit(OTHER_FILES)
    with suppress(Exception):
        dict(item.attrs)
    with suppress(Exception):
        if isinstance(item, h5py.Dataset) and item.size * item.dtype.itemsize <= most:
            item[()]
    place = h5py.h5o.get_info(item.id).addr
    if isinstance(item, h5py.Group) and place not in visited:
        visited.add(place)
        for name in list(item):
            with suppress(Exception):
                link = item.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    sys.exit(OTHER_FILES)
                if isinstance(link, h5py.HardLink):
                    read(item[name], most, visited)

for file in sys.argv[1:]:
    most = {MOST_COMPRESSED} * os.path.getsize(file)
    with suppress(Exception), h5py.File(file) as content:
        read(content, most, set())
    with suppress(Exception), zipfile.ZipFile(file) as archive:
        member = archive.getinfo("model.weights.h5")
        if member.file_size <= most:
            with h5py.File(io.BytesIO(archive.read(member))) as content:
                read(content, most, set())
"""
# What a file that is not of Keras has at some place -> what it is
SIGNATURES = {
    (0, b"version https://git-lfs"): "a pointer of Git LFS to the file; get it with `git lfs pull`",
    (0, b"<"): "a web page, as of a download that failed; download it again",
    (0, b"\x1f\x8b"): "compressed (gzip); unpack it first",
    (0, b"\x80"): f"a Python pickle, as older .pth files of PyTorch are; {OTHERS}",
    (0, b"\x08"): f"an ONNX model or another protocol buffer; {OTHERS}",
    (4, b"TFL3"): f"a TensorFlow Lite model; {OTHERS}",
    (8, b'{"'): f"safetensors, as of PyTorch; {OTHERS}",
}


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
    if checksum:
        trust(file)
    return file


def suffix(path: Path) -> str:
    """Return the suffix by which Keras knows a weights file's format, from its content.

    ``.weights.h5``, ``.keras`` (a whole model) or ``.h5``, the format of Keras 1 and 2. InputError
    that says what the file is, where it is none of them.
    """
    import h5py

    try:
        with path.open("rb") as file:
            begin = file.read(64)
        hdf5, archive = h5py.is_hdf5(path), zipfile.is_zipfile(path)
        if hdf5 or archive:
            require_readable(path)
        if hdf5:
            with h5py.File(path) as content:
                require_stored(content, path)
                legacy = "layer_names" in content.attrs or "model_weights" in content
                return ".h5" if legacy else ".weights.h5"
        names = zipfile.ZipFile(path).namelist() if archive else []
    except InputError:
        raise
    except Exception as error:  # of h5py and zipfile: whatever a broken file provokes
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"weights {path}: not readable ({reason})") from None
    if "model.weights.h5" in names:
        return ".keras"
    meaning = f"of an unknown format; {OTHERS}" if begin else "it is empty"
    for (place, signature), text in SIGNATURES.items():
        if begin[place:].lstrip().startswith(signature):
            meaning = text
    if names:
        torch = any(name.endswith("data.pkl") for name in names)
        meaning = f"{'a model of PyTorch' if torch else 'a ZIP archive'}; {OTHERS}"
    raise InputError(f"weights {path} are none of Keras: {meaning}")


def require_readable(path: Path) -> None:
    """Refuse a file with HDF5 that ends, or stops, the process that reads it; tried once."""
    if reason := guard.failure_once(_READ, path):
        raise InputError(f"weights {path}: not readable ({reason}): it is damaged, get it again")


def trust(path: Path) -> None:
    """Let a model or weights that this process has written not be tried."""
    guard.trust(_READ, path)


def require_plausible(path: Path) -> None:
    """Refuse a ``.keras`` that claims layers, or members, that its weights cannot fill.

    Whatever else is wrong with the file, Keras says when it loads it.
    """
    import h5py

    require_readable(path)
    if not zipfile.is_zipfile(path):
        return

    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MOST_COMPRESSED * path.stat().st_size:
            raise InputError(f"{path}: would unpack to {size} bytes: it is damaged, train it again")
        config = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as content:
            most = max(WIDEST, require_stored(content, path))
    waiting = [config]
    while waiting:
        place = waiting.pop()
        if isinstance(place, dict):
            waiting += [value for key, value in place.items() if key not in NUMBERS]
        elif isinstance(place, list):
            waiting += place
        elif isinstance(place, int) and place > most:
            raise InputError(f"{path}: a layer of {place} does not fit its weights; train it again")


def require_stored(content: "h5py.File", path: Path) -> int:
    """Refuse HDF5 whose arrays claim more bytes than compression could have saved; count values."""
    import h5py

    def size(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            claimed.append(item.size * item.dtype.itemsize)
            values.append(item.size)

    claimed: list[int] = []
    values: list[int] = []
    content.visititems(size)
    stored = path.stat().st_size
    if sum(claimed) > MOST_COMPRESSED * stored:
        raise InputError(
            f"weights {path}: its arrays claim {sum(claimed)} bytes in a file of {stored}: "
            "it is damaged, get it again"
        )
    return sum(values)

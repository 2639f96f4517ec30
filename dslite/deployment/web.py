"""Write a static page that runs a ``.tflite`` in the browser with LiteRT.js; without TensorFlow.

The page holds everything it needs, so that any server of static files will do, and its
Content-Security-Policy forbids every request to another host.
"""

import json
import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pooch

from dslite import audio, paths
from dslite.deployment import runtime
from dslite.deployment.runtime import Metadata
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models.weights import MIRROR

VERSION = "2.5.3"  # of LiteRT.js
SOURCES = ("index.html", "style.css", "page.js", "sound.js", "picture.js", "microphone.js")
BARE, RELATIVE = '"@litertjs/wasm-utils"', '"./wasm-utils.js"'
MAP = "//# sourceMappingURL="
NOTICE = f"""\
LiteRT.js {VERSION}, Copyright Google LLC, https://github.com/google-ai-edge/LiteRT
(npm packages @litertjs/core and @litertjs/wasm-utils), Apache License 2.0: see LICENSE.txt.

dslite changed two files: index.js imports wasm-utils.js by its address instead of its name, and
neither names its source map, which is not here. The files in wasm/ are as published.
"""


@dataclass(frozen=True)
class Package:
    """A package of npm's registry, and which of its files a page needs."""

    name: str
    sha512: str  # the registry's ``dist.integrity`` in hexadecimal
    # Path in the archive -> (path in the page's ``litert/``, size in bytes)
    members: dict[str, tuple[str, int]]

    @property
    def file(self) -> str:
        """Name of the archive, at the registry as in the cache."""
        return f"{self.name}-{VERSION}.tgz"

    @property
    def url(self) -> str:
        """Address of the archive; ``DSLITE_MIRROR`` names another host."""
        if mirror := os.environ.get(MIRROR):
            return f"{mirror.rstrip('/')}/{self.file}"
        return f"https://registry.npmjs.org/@litertjs/{self.name}/-/{self.file}"


# The build for a browser with relaxed SIMD and that for one without. Neither uses threads, which
# need a server that sends headers for cross-origin isolation.
_WASM = {"litert_wasm_internal": (273_035, 9_367_934)}
_WASM["litert_wasm_compat_internal"] = (273_246, 9_334_181)
PACKAGES = (
    Package(
        "core",
        "3e51a66cc3aaf568ad5fb14ed2385b749c3d1ad85ab6ccae0905e34edff0259a"
        "3414b6b0e3cab8b73f08c2a82a08892f8981abf4e1432f59029cde27cd6a3225",
        {"package/dist/index.js": ("index.js", 53_482)}
        | {
            f"package/wasm/{name}{suffix}": (f"wasm/{name}{suffix}", size)
            for name, sizes in _WASM.items()
            for suffix, size in zip((".js", ".wasm"), sizes, strict=True)
        },
    ),
    Package(
        "wasm-utils",
        "e1f262c3ab4142722cfb48c7fce435ea760e89297cffecd99e7e61dae97c6932"
        "878b4e6c56a656e7cd139a4efca42da44f7f40f4e60155d15ac2d799fec23591",
        {"package/dist/index.js": ("wasm-utils.js", 1_494)},
    ),
)


def find_model(place: str | os.PathLike) -> Path:
    """Find the ``.tflite`` that a user means: a file, or the whole model in a run's folder."""
    path = paths.find(place)
    if path.suffix.lower() == ".tflite":
        return path
    if not path.is_dir():
        raise InputError(f"{place}: neither a run's folder nor a .tflite file")
    if not (path / "model.tflite").is_file():
        raise InputError(
            f"{place}: holds no model.tflite; convert the run first (`dslite convert {place}`)"
        )
    return path / "model.tflite"


def write_page(file: Path, folder: Path) -> Path:
    """Write the page of a model, all of it or nothing, and return its folder.

    Parameters
    ----------
    file : Path
        A whole model, from waveform to output, with its ``spectrogram.tflite`` in the same folder.
    folder : Path
        An older page in it is replaced; a folder with anything else is refused.

    Raises
    ------
    InputError
        No such model, no spectrogram of the same run, no connection for LiteRT.js, or other files
        in the folder.
    """
    metadata = runtime.read_metadata(file)
    if (part := metadata.facts.get("part")) != "model":
        raise InputError(f"{file}: is a part of a model ({part}); give model.tflite")
    half = _spectrogram_of(file, metadata)
    _require_page_only(folder)
    archives = [fetch(package) for package in PACKAGES]
    try:
        with paths.replacing(folder) as draft:
            draft.mkdir()
            sources = resources.files("dslite.deployment") / "page"
            for name in SOURCES:
                (draft / name).write_bytes((sources / name).read_bytes())
            shutil.copyfile(file, draft / "model.tflite")
            shutil.copyfile(half, draft / "spectrogram.tflite")
            text = json.dumps(description(metadata), ensure_ascii=False)
            (draft / "model.json").write_text(text + "\n", encoding="utf-8")
            for package, archive in zip(PACKAGES, archives, strict=True):
                unpack(archive, package, draft / "litert")
            licence = (sources / "Apache-2.0.txt").read_bytes()
            (draft / "litert" / "LICENSE.txt").write_bytes(licence)
            (draft / "litert" / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return folder


def _spectrogram_of(file: Path, metadata: Metadata) -> Path:
    """Return the spectrogram half of the same run."""
    half = file.parent / "spectrogram.tflite"
    if not half.is_file():
        raise InputError(
            f"{half}: is missing, and the page draws with it; put it there, or convert the run "
            "again with `dslite convert`"
        )
    if runtime.read_metadata(half).facts.get("identity") != metadata.facts.get("identity"):
        raise InputError(f"{half}: belongs to another run than {file.name}")
    return half


def _require_page_only(folder: Path) -> None:
    """Raise where writing a page would remove anything but an older page."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the page")
    names = {*SOURCES, "model.tflite", "spectrogram.tflite", "model.json", "litert"}
    strange = sorted({entry.name for entry in folder.iterdir()} - names) if folder.is_dir() else []
    if strange:
        raise InputError(
            f"{folder}: holds what is not of a page ({strange[0]}); name another folder, or move "
            "that away"
        )


def description(metadata: Metadata) -> dict[str, Any]:
    """Return what the page needs to know of a model, as JSON holds it.

    All lengths are in samples, so that the page rounds nothing; ``mel_hz`` are the centres of the
    bands and ``colours`` viridis, 256 times red, green, blue from 0 to 255.
    """
    facts, settings = metadata.facts, metadata.settings
    frame, hop = audio.level_frames(settings.sample_rate)
    return {
        **{"dataset": facts["dataset"], "run": facts["run"]},
        **{"variant": facts.get("variant", ""), "version": facts.get("version", "")},
        "licence": facts["weights"]["licence"],
        "classes": list(metadata.classes),
        "fusion": settings.fusion,
        "rate": settings.sample_rate,
        "chunk": settings.chunk_samples,
        "hop": settings.chunk_hop_samples,
        "trim": {"frame": frame, "hop": hop, "db": audio.SILENCE_DB}
        if settings.trim == "on"
        else None,
        "mel_hz": [round(float(hz), 2) for hz in spectrogram.mel_frequencies(settings)],
        "colours": spectrogram.colours().astype(int).tolist(),
    }


def fetch(package: Package) -> Path:
    """Download a package's archive once, into the cache; its checksum is compared every time.

    Raises
    ------
    InputError
        No connection, or another file than the published one.
    """
    folder = paths.cache() / "litertjs" / VERSION
    remedy = f"get it in another way and put it at {folder / package.file}"
    checksum, show = f"sha512:{package.sha512}", sys.stderr.isatty()
    try:
        path = pooch.retrieve(package.url, checksum, package.file, folder, progressbar=show)
    except ValueError:
        raise InputError(
            f"{package.url} is not the published file (its SHA-512 differs); {remedy}"
        ) from None
    except OSError as error:
        # The reason of a lost connection is urllib3's cause, inside an exception of requests'.
        cause = getattr(error.args[0], "reason", error) if error.args else error
        reason = str(cause).splitlines()[0][:120]
        raise InputError(f"{package.url} cannot be downloaded ({reason}); {remedy}") from None
    return Path(path)


def unpack(archive: Path, package: Package, folder: Path) -> None:
    """Copy the files a page needs out of an archive; nothing in it chooses where a file goes.

    Raises
    ------
    InputError
        A file is missing, is a link or anything else but a file, or has another size.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name, (target, size) in package.members.items():
                member = tar.getmember(name)
                content = tar.extractfile(member).read(size + 1) if member.isreg() else b""
                if not member.isreg() or not len(content) == member.size == size:
                    raise InputError(f"{archive}: its {name} is not a file of {size:,} bytes")
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                (folder / target).write_bytes(_adapted(target, content))
    except KeyError as error:
        raise InputError(f"{archive}: {error.args[0]}") from None
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: not a sound archive ({error})") from None


def _adapted(target: str, content: bytes) -> bytes:
    """Let a module import its neighbour by address: a browser knows no packages."""
    if target not in ("index.js", "wasm-utils.js"):
        return content
    lines = content.decode("utf-8").replace(BARE, RELATIVE).splitlines()
    text = "\n".join(line for line in lines if not line.startswith(MAP))
    return f"// Changed by dslite, see NOTICE.txt\n{text}\n".encode()

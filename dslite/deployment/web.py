"""Write a static page that runs a ``.tflite`` in the browser with LiteRT.js; without TensorFlow.

The page holds everything it needs, so that any server of static files will do, and its
Content-Security-Policy forbids every request to another host.
"""

import json
import os
import tarfile
from importlib import resources
from pathlib import Path
from typing import Any

from dslite import audio, paths
from dslite.datasets.download import retrieve
from dslite.decoding import SUFFIXES
from dslite.deployment import runtime
from dslite.deployment.runtime import Metadata
from dslite.errors import InputError
from dslite.features import spectrogram

VERSION = "2.5.3"  # of LiteRT.js
SOURCES = ("index.html", "style.css", "page.js", "files.js", "sound.js", "picture.js")
SOURCES += ("microphone.js",)
REGISTRY = "https://registry.npmjs.org/@litertjs/{0}/-/{0}-{1}.tgz"
# The build for a browser with relaxed SIMD and that for one without; neither uses threads, which
# need a server that sends headers for cross-origin isolation.
BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal")
WASM = [f"wasm/{build}.{suffix}" for build in BUILDS for suffix in ("js", "wasm")]
# Package -> its archive's SHA-512 (the registry's ``dist.integrity`` in hexadecimal), and which of
# its files a page needs: path in the archive -> path in the page's ``litert/``
PACKAGES = {
    "core": (
        "3e51a66cc3aaf568ad5fb14ed2385b749c3d1ad85ab6ccae0905e34edff0259a"
        "3414b6b0e3cab8b73f08c2a82a08892f8981abf4e1432f59029cde27cd6a3225",
        {"package/dist/index.js": "index.js"} | {f"package/{file}": file for file in WASM},
    ),
    "wasm-utils": (
        "e1f262c3ab4142722cfb48c7fce435ea760e89297cffecd99e7e61dae97c6932"
        "878b4e6c56a656e7cd139a4efca42da44f7f40f4e60155d15ac2d799fec23591",
        {"package/dist/index.js": "wasm-utils.js"},
    ),
}
MARKS = {"dataset", "run", "classes", "rate", "chunk"}  # keys of a page's model.json
NOTICE = f"""\
LiteRT.js {VERSION}, Copyright Google LLC, https://github.com/google-ai-edge/LiteRT
(npm packages @litertjs/core and @litertjs/wasm-utils), Apache License 2.0: see LICENSE.txt.

dslite changed two files: index.js imports wasm-utils.js by its address instead of its name, and
neither names its source map, which is not here. The files in wasm/ are as published.
"""


def find_model(place: str | os.PathLike) -> Path:
    """Find the ``.tflite`` that a user means: a file, or the whole model in a run's folder."""
    path = paths.find(place)
    file = path / "model.tflite" if path.is_dir() else path
    if file.suffix.lower() != ".tflite":
        raise InputError(f"{place}: neither a run's folder nor a .tflite file")
    if path.is_dir():
        runtime.require_whole(path)
    if path.is_dir() and not file.is_file():
        raise InputError(
            f"{place}: holds no model.tflite; convert the run (`dslite convert {place}`)"
        )
    return file


def write_page(file: Path, folder: Path) -> Path:
    """Write the page of a model, all of it or nothing, and return its folder.

    ``file`` is a whole model with its ``spectrogram.tflite`` in the same folder. An older page in
    ``folder``, and nothing else, is replaced. No such model, no spectrogram of the same run, no
    connection for LiteRT.js, or other files in the folder is an InputError.
    """
    metadata = runtime.read_metadata(file)
    if (part := metadata.facts.get("part")) != "model":
        raise InputError(f"{file}: is a part of a model ({part}); give model.tflite")
    half = file.with_name("spectrogram.tflite")
    if not half.is_file():
        raise InputError(
            f"{half}: is missing, and the page draws with it; put it there, or convert the run "
            "again with `dslite convert`"
        )
    if runtime.read_metadata(half).facts.get("identity") != metadata.facts.get("identity"):
        raise InputError(f"{half}: belongs to another run than {file.name}")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the page")
    _require_page(folder)
    archives = {name: fetch(name) for name in PACKAGES}
    sources = resources.files("dslite.deployment") / "page"
    contents = {name: (sources / name).read_bytes() for name in SOURCES}
    contents |= {"model.tflite": file.read_bytes(), "spectrogram.tflite": half.read_bytes()}
    contents["model.json"] = json.dumps(description(metadata), ensure_ascii=False).encode()
    contents["litert/LICENSE.txt"] = (sources / "Apache-2.0.txt").read_bytes()
    contents["litert/NOTICE.txt"] = NOTICE.encode()
    for name, archive in archives.items():
        contents |= unpacked(archive, PACKAGES[name][1])
    with paths.replacing(folder) as draft:
        for name, content in contents.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
    return folder


def _require_page(folder: Path) -> None:
    """Refuse to replace what is not, with all that lies in it, a page of this module."""
    content = {file.relative_to(folder).as_posix() for file in folder.rglob("*")}
    written = {*SOURCES, "model.tflite", "spectrogram.tflite", "model.json", "litert"}
    runtime_files = [name for _, members in PACKAGES.values() for name in members.values()]
    runtime_files += ["LICENSE.txt", "NOTICE.txt", "wasm"]
    strange = sorted(content - written - {f"litert/{name}" for name in runtime_files})
    try:
        described = json.loads((folder / "model.json").read_text("utf-8"))
        strange += ["model.json"] * (
            not isinstance(described, dict) or not described.keys() >= MARKS
        )
    except (OSError, ValueError):
        strange += ["its model.json is not one's"]
    if content and strange:
        raise InputError(
            f"{folder}: holds what is not of a page of dslite ({strange[0]}) and would be "
            "replaced; name another folder, or move that away"
        )


def description(metadata: Metadata) -> dict[str, Any]:
    """Return what the page needs to know of a model; lengths in samples, so that it rounds nothing.

    ``sound``: how the picture's ends are found where what sounds fills it. Of a panel, ``mel_hz``
    are the centres of the bands, ``colours`` those of 0 to 255: red, green, blue.
    """
    facts, settings = metadata.facts, metadata.settings
    frame, hop = audio.level_frames(settings.sample_rate)
    of_clip = settings.picture != "chunk"
    sound = {"frame": frame, "hop": hop, "db": settings.trim_db}
    trim = sound | {"margin": audio.MARGIN * hop * of_clip}
    window, window_hop = runtime.stream_window(settings, facts.get("typical_s"))
    panels = [
        {"mel_hz": hz.round(2).tolist(), "colours": spectrogram.colours(i).astype(int).tolist()}
        for i, hz in enumerate(spectrogram.panel_frequencies(settings))
    ]
    return {
        **{"dataset": facts["dataset"], "run": facts["run"]},
        **{"variant": facts.get("variant", ""), "version": facts.get("version", "")},
        "licence": facts["weights"]["licence"],
        "classes": list(metadata.classes),
        "fusion": settings.fusion,
        "rate": settings.sample_rate,
        "chunk": settings.chunk_samples,
        "hop": settings.chunk_hop_samples,
        **{"window": window, "window_hop": window_hop},
        "trim": trim if settings.trim == "on" else None,
        "sound": sound if of_clip else None,
        "suffixes": sorted(SUFFIXES),
        "panels": panels,
    }


def fetch(name: str) -> Path:
    """Download a package's archive once, into the cache; its checksum is compared every time."""
    url = REGISTRY.format(name, VERSION)
    file = paths.cache() / "litertjs" / VERSION / url.rpartition("/")[2]
    remedy = f"get it in another way and put it at {file}"
    return retrieve(url, f"sha512:{PACKAGES[name][0]}", file, remedy)


def unpacked(archive: Path, members: dict[str, str]) -> dict[str, bytes]:
    """Read the files a page needs out of a published archive, see `PACKAGES`."""
    contents = {}
    with tarfile.open(archive, "r:gz") as tar:
        for name, target in members.items():
            content = tar.extractfile(name).read()
            if target in ("index.js", "wasm-utils.js"):
                # A module imports its neighbour by address: a browser knows no packages.
                code = content.decode().replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"')
                lines = [x for x in code.splitlines() if not x.startswith("//# sourceMappingURL=")]
                content = "\n".join(["// Changed by dslite, see NOTICE.txt", *lines, ""]).encode()
            contents[f"litert/{target}"] = content
    return contents

"""Run a ``.tflite`` file and read its metadata, without TensorFlow.

The metadata is a small ZIP archive behind the model, as in TensorFlow Lite's own: every runtime
passes over it, and ``unzip model.tflite`` shows it.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from dslite import paths, provenance
from dslite.errors import InputError
from dslite.models import guard, tensorflow_logging
from dslite.settings import VARIANTS, Settings, checked, nearest

MEMBER = "dslite.json"
AGREEMENT = "agreement.json"  # of a run: written last by a conversion
FORMAT = 1  # of the metadata; a reader refuses what is newer than itself
FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS
LARGEST = 1 << 24  # bytes of the metadata
_RUN = """
import sys
import numpy
from ai_edge_litert.interpreter import Interpreter
for file in sys.argv[1:]:
    model = Interpreter(file, num_threads=1)
    model.allocate_tensors()
    for source in model.get_input_details():
        model.set_tensor(source["index"], numpy.zeros(source["shape"], source["dtype"]))
    model.invoke()
"""


def file_name(part: str, variant: str) -> str:
    """Return the name of a part's file in a variant: ``model.tflite``, ``cnn-int8.tflite``."""
    return f"{part}.tflite" if variant == FLOAT32 else f"{part}-{variant}.tflite"


def require_whole(folder: Path) -> None:
    """Refuse a run's files of a conversion that broke off, some of which may be older ones."""
    broken_off = (folder / "run.json").is_file() and not (folder / AGREEMENT).is_file()
    if broken_off and any(folder.glob("*.tflite")):
        raise InputError(
            f"{folder}: a conversion broke off here ({AGREEMENT}, which is written last, is "
            f"missing); convert the run again (`dslite convert {folder}`)"
        )


def parse_variants(text: str) -> tuple[str, ...]:
    """Parse names of variants like ``float32,int8``; empty: none."""
    names = tuple(text.replace(",", " ").split())
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"variants {text}: unknown '{name}'{nearest(name, VARIANTS)}")
    return names


class Facts(TypedDict, total=False):
    """The types of what is read of a file's metadata."""

    format: int
    settings: dict[str, Any]
    task: Literal["classification", "regression"]
    classes: list[str]
    typical_s: Annotated[float, Field(gt=0, le=3600)] | None
    part: str
    variant: str
    dataset: str
    run: str


@dataclass(frozen=True)
class Metadata:
    """What a file holds beside the model."""

    settings: Settings  # all of the run's; its rate and chunk length are those of the input
    classes: tuple[str, ...]  # in the order of the outputs; empty: a regression
    # The whole: also dataset, run, variant, part, weights with their licence, input and version
    facts: dict[str, Any]


def stream_window(settings: Settings, typical_s: float | None) -> tuple[int, int]:
    """Return length and hop of what a stream is decided on, in samples: the model's chunks.

    Where what sounds fills the picture, a window as long as the sound of a typical clip in training
    (``typical_s``), since a longer one holds more than one, and half of it.
    """
    if settings.picture == "chunk" or not typical_s:
        return settings.chunk_samples, settings.chunk_hop_samples
    window = min(settings.chunk_samples, max(1, round(typical_s * settings.sample_rate)))
    return window, max(1, window // 2)


def attach(content: bytes, facts: dict[str, Any]) -> bytes:
    """Append metadata, at least ``settings, classes, task``: the same bytes for the same facts."""
    buffer = io.BytesIO(content)
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        text = json.dumps({"format": FORMAT, **facts}, indent=2, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo(MEMBER), text)  # with a fixed time
    return buffer.getvalue()


def read_metadata(file: str | os.PathLike) -> Metadata:
    """Read the metadata of a ``.tflite`` that ``dslite convert`` wrote."""
    if not Path(file).is_file():
        raise InputError(f"{file}: there is no such file")
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(MEMBER).file_size > LARGEST:
                raise ValueError("it is too large")
            facts = json.loads(archive.read(MEMBER))
    except Exception:  # of zipfile, zlib, json: whatever a broken file provokes
        raise InputError(
            f"{file}: holds no metadata (no {MEMBER} in it), so its input and classes are unknown; "
            "convert the run with `dslite convert`"
        ) from None
    remedy = f"its {MEMBER} is damaged, convert the run again"
    facts = provenance.checked(provenance.placed(facts, file, remedy), Facts, file, remedy)
    if facts.get("format", 0) > FORMAT:
        raise InputError(f"{file}: was written by a newer dslite ({facts.get('version')})")
    settings = checked(Settings, facts["settings"], f"{file}: {remedy}")
    classes = () if facts["task"] == "regression" else tuple(facts["classes"])
    return Metadata(settings, classes, facts)


def interpreter(model: str | os.PathLike | bytes, **options: Any):
    """Load a ``.tflite``, or the content of one, for running; an InputError if it is none."""
    from ai_edge_litert.interpreter import Interpreter

    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    try:
        with tensorflow_logging.silent_stderr():  # it announces its delegate
            loaded = Interpreter(**source, **options)
            loaded.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        name = "" if isinstance(model, bytes) else f"{model}: "
        raise InputError(f"{name}not a TensorFlow Lite model ({error})") from None
    return loaded


def runner(
    model: str | os.PathLike | bytes, threads: int = 1
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a ``.tflite``, or the content of one, on one input at a time."""
    return _call(interpreter(model, num_threads=threads))


def _call(loaded) -> Callable[[np.ndarray], np.ndarray]:
    """Return a loaded model as a function."""
    source = loaded.get_input_details()[0]["index"]
    result = loaded.get_output_details()[0]["index"]

    def run(value: np.ndarray) -> np.ndarray:
        loaded.set_tensor(source, value)
        loaded.invoke()
        return loaded.get_tensor(result)

    return run


def load(file: Path) -> tuple[Metadata, Callable[[np.ndarray], np.ndarray]]:
    """Load a whole model of whatever origin to predict with: what it says of itself, and
    what `runner` returns.

    A file may end the process that runs it, so each content is tried once in another process,
    unless the cache says that it was. InputError where that fails, or where the model has another
    input or output than its metadata says.
    """
    metadata = read_metadata(file)
    require_usable(file)
    loaded = interpreter(file, num_threads=1)
    shapes = (loaded.get_input_details()[0]["shape"], loaded.get_output_details()[0]["shape"])
    expected = ([1, metadata.settings.chunk_samples], [1, len(metadata.classes) or 1])
    if [shape.tolist() for shape in shapes] != list(expected):
        raise InputError(
            f"{file}: takes {shapes[0].tolist()} and gives {shapes[1].tolist()}, and its {MEMBER} "
            f"says {expected[0]} and {expected[1]}; convert the run again"
        )
    return metadata, _call(loaded)


def require_usable(file: Path) -> None:
    """Refuse a ``.tflite`` with which another process fails or ends, unless it was tried before."""
    if reason := guard.failure_once(_RUN, file):
        raise InputError(f"{file}: not a TensorFlow Lite model ({reason})")


def unusable(contents: Mapping[Any, bytes]) -> dict[Any, str]:
    """Run the contents of ``.tflite`` files on zeros and return, of those that fail, why.

    In a process of its own, since a file may end the one that loads it: one for all, and only if
    that fails one for each.
    """
    with paths.scratch() as folder:
        files = {key: folder / f"{i}.tflite" for i, key in enumerate(contents)}
        for key, file in files.items():
            file.write_bytes(contents[key])
        if not files or not guard.failure(_RUN, files.values()):
            return {}
        reasons = {key: guard.failure(_RUN, [file]) for key, file in files.items()}
    return {key: reason for key, reason in reasons.items() if reason}


def example_input(path: str | os.PathLike) -> np.ndarray:
    """Return noise in shape and dtype of a file's input; integers over their dtype's range."""
    details = interpreter(path).get_input_details()[0]
    shape, dtype = details["shape"], np.dtype(details["dtype"])
    rng = np.random.default_rng(0)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return (rng.standard_normal(shape) / 10).astype(dtype)

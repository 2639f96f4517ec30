"""Running a ``.tflite`` file and reading what it says of itself; without TensorFlow.

What a file says of itself is a small ZIP archive behind the model, as in TensorFlow Lite's own
metadata: every runtime passes over it, and ``unzip model.tflite`` shows it.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from dslite import tensorflow_logging
from dslite.errors import InputError
from dslite.settings import Settings

MEMBER = "dslite.json"
FORMAT = 1  # of the metadata; a reader refuses what is newer than itself


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself.

    Attributes
    ----------
    settings : Settings
        All of the run's; its rate and chunk length are those of the input.
    classes : tuple of str
        In the order of the outputs; empty: a regression.
    told : dict
        The whole: also ``dataset``, ``run``, ``variant``, ``part``, ``weights`` with their licence,
        ``input``, ``output`` and ``version``.
    """

    settings: Settings
    classes: tuple[str, ...]
    told: dict[str, Any]


def attach(content: bytes, told: dict[str, Any]) -> bytes:
    """A model with its metadata behind it.

    Parameters
    ----------
    content : bytes
        A TensorFlow Lite file.
    told : dict
        At least ``settings``, ``classes`` and ``task``; what JSON holds.
    """
    held = io.BytesIO(content)
    held.seek(0, os.SEEK_END)
    with zipfile.ZipFile(held, "a") as archive:
        text = json.dumps({"format": FORMAT, **told}, indent=2, ensure_ascii=False)
        # A fixed time: the same model is the same file, to the byte.
        archive.writestr(zipfile.ZipInfo(MEMBER), text)
    return held.getvalue()


def metadata(file: str | os.PathLike) -> Metadata:
    """What a file says of itself.

    Raises
    ------
    InputError
        There is no such file, it holds no metadata of this project, or damaged ones.
    """
    if not Path(file).is_file():
        raise InputError(f"{file}: there is no such file")
    try:
        with zipfile.ZipFile(file) as archive:
            told = json.loads(archive.read(MEMBER))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        raise InputError(
            f"{file}: says nothing of itself (no {MEMBER} in it), so what it wants is not known; "
            "convert the run with `dslite convert`"
        ) from None
    if told.get("format", 0) > FORMAT:
        raise InputError(f"{file}: was written by a newer dslite ({told.get('version')})")
    try:
        settings = Settings(**told["settings"])
        classes = () if told["task"] == "regression" else tuple(told["classes"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{file}: its {MEMBER} is damaged ({error})") from None
    return Metadata(settings, classes, told)


def runner(
    model: str | os.PathLike | bytes, threads: int = 1
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs a ``.tflite``, or the content of one, on one input at a time.

    Raises
    ------
    InputError
        The file is not a TensorFlow Lite model.
    """
    from ai_edge_litert.interpreter import Interpreter

    given = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    try:
        with tensorflow_logging.silent_stderr():  # it announces its delegate
            interpreter = Interpreter(**given, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        name = "" if isinstance(model, bytes) else f"{model}: "
        raise InputError(f"{name}not a TensorFlow Lite model ({error})") from None
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(value: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, value)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def example(path: str | os.PathLike) -> np.ndarray:
    """Noise in the shape and type of a file's input; whole numbers over their type's range."""
    from ai_edge_litert.interpreter import Interpreter

    runner(path)  # says clearly what is no model
    details = Interpreter(model_path=str(path)).get_input_details()[0]
    shape, kind = details["shape"], np.dtype(details["dtype"])
    rng = np.random.default_rng(0)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return (rng.standard_normal(shape) / 10).astype(kind)


def operators(path: str | os.PathLike) -> list[str]:
    """Names of the operators of a file, sorted, each once; without the runtime's own delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with tensorflow_logging.silent_stderr():
        interpreter = Interpreter(
            model_path=str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    return sorted({operator["op_name"] for operator in interpreter._get_ops_details()})

"""What ran, with what, on what: the record beside every run, and how it is written and read."""

import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from pydantic import TypeAdapter, ValidationError

import dslite
from dslite import paths
from dslite.errors import HALVES, InputError

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("tensorflow", "keras", "librosa", "numpy", "scikit-learn", "shap", "soxr")
UNITS = {1e9: "GB", 1e6: "MB", 1e3: "kB"}
CALLS = 10  # of what a fresh process measures
_SCRIPT = """
import json, sys
import psutil
from dslite import provenance
{imports}
before = psutil.Process().memory_info().rss / 1e6
{load}
for _ in range({calls}):
    {call}
print(json.dumps([before, provenance.peak_mb()]))
"""


def digest(content: object) -> str:
    """Return the SHA-256 of anything JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str:
    """Return the project's Git commit, ``+changes`` if the work tree differs, empty if none."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(paths.ROOT), *words]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what its numbers depend on."""
    versions = {"python": platform.python_version(), "dslite": dslite.__version__}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):  # tensorflow-cpu is tensorflow
            try:
                versions[package] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def hardware() -> dict[str, object]:
    """Return processor, cores, memory in GiB and system."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def now() -> str:
    """Return date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record() -> dict[str, object]:
    """Return what every run writes down about where it came from."""
    return {"date": now(), "commit": commit(), "versions": versions(), "hardware": hardware()}


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write JSON under a temporary name and rename it."""
    paths.write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike, remedy: str = "delete it and repeat what wrote it") -> Any:
    """Read a JSON file; where it cannot be read, an InputError says so, and the ``remedy``.

    It holds a mapping; a key that is asked for and missing is an InputError, too.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{paths.shown(path)}: not readable ({reason}); {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"{paths.shown(path)}: not readable (it holds no mapping); {remedy}")
    return placed(content, path, remedy)


class _Mapping(dict):
    """A mapping of a file, which says where a key is missing."""

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.place}: '{key}' is missing; {self.remedy}")


def placed(content: Any, path: str | os.PathLike, remedy: str) -> Any:
    """Return content of a file whose mappings name it where a key is missing (InputError)."""
    if isinstance(content, str) and HALVES.search(content):
        raise InputError(f"{paths.shown(path)}: {content!r} is no text; {remedy}")
    if isinstance(content, list):
        return [placed(value, path, remedy) for value in content]
    if isinstance(content, dict):
        content = _Mapping(
            (placed(k, path, remedy), placed(content[k], path, remedy)) for k in content
        )
        content.place, content.remedy = paths.shown(path), remedy
    return content


def checked(content: Any, schema: Any, path: str | os.PathLike, remedy: str) -> Any:
    """Return what was read of a file if it is as a pydantic schema says, else an InputError."""
    try:
        _adapter(schema).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise InputError(
            f"{paths.shown(path)}: {place} = {str(first['input'])[:80]!r}: {first['msg']}; {remedy}"
        ) from None
    return content


@cache
def _adapter(schema: Any) -> TypeAdapter:
    """What validates by a schema, made once, since that takes longer than to use it."""
    return TypeAdapter(schema)


def quoted(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame for a CSV file in which a spreadsheet computes nothing: texts like formulas.

    A text that begins with ``= + - @`` and is no number gets an apostrophe in front, which
    `unquoted` takes away.

    Examples
    --------
    >>> import pandas as pd
    >>> quoted(pd.DataFrame({"file": ["=1+1", "-0.5", "a=b"]}))["file"].tolist()
    ["'=1+1", '-0.5', 'a=b']
    """
    frame = frame.rename(columns=lambda name: f"'{name}" if _is_formula(name) else name)
    return frame.apply(
        lambda column: (
            column.map(lambda cell: f"'{cell}" if _is_formula(cell) else cell)
            if _holds_texts(column)
            else column
        )
    )


def unquoted(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return what `quoted` was given."""

    def plain(cell: Any) -> Any:
        is_quoted = isinstance(cell, str) and cell[:1] == "'" and _is_formula(cell[1:])
        return cell[1:] if is_quoted else cell

    frame = frame.rename(columns=plain)
    return frame.apply(lambda column: column.map(plain) if _holds_texts(column) else column)


def read_csv(path: str | os.PathLike, remedy: str = "run it again", **how: Any) -> "pd.DataFrame":
    """Read a CSV file of a `quoted` frame; InputError with the ``remedy`` where that fails."""
    import pandas as pd

    try:
        return unquoted(pd.read_csv(path, **how))
    except (OSError, ValueError) as error:
        raise InputError(f"{paths.shown(path)}: not readable ({error}); {remedy}") from None


def _holds_texts(column: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)


def _is_formula(cell: object) -> bool:
    """Whether a spreadsheet takes a cell, apart from apostrophes in front, for a formula."""
    text = cell.lstrip("'") if isinstance(cell, str) else ""
    if len(text) < 2 or text[0] not in "=+-@\t\r":
        return False
    try:
        float(text)
    except ValueError:
        return True
    return text[0].isspace()  # which float passes over


def size_in_words(size: float) -> str:
    """Return bytes for a reader, in powers of 1000.

    Examples
    --------
    >>> [size_in_words(size) for size in (82_100, 4_700_000, 225_505_317)]
    ['82.1 kB', '4.70 MB', '226 MB']
    """
    number, unit = next((size / n, unit) for n, unit in UNITS.items() if size >= n or unit == "kB")
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def duration_in_words(seconds: float) -> str:
    """Return a duration for a reader.

    Examples
    --------
    >>> [duration_in_words(seconds) for seconds in (45, 90, 720, 16_200)]
    ['45 s', '1.5 minutes', '12 minutes', '4.5 hours']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    number, unit = (seconds / 60, "minutes") if seconds < 5400 else (seconds / 3600, "hours")
    return f"{number:.1f}".removesuffix(".0") + f" {unit}"


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB (1e6 bytes).

    Linux hands ``ru_maxrss`` on through fork and exec: started by a process of 2 GB, a tiny one
    would report 2 GB. What the kernel counts of the address space (``VmHWM``) begins afresh.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (peak := re.search(r"VmHWM:\s*(\d+)", status.read_text())):
        return int(peak[1]) * 1024 / 1e6
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 1e6
    import resource  # not at the top: Windows has none

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def memory_of_fresh_process(
    imports: str, load: str, call: str, *arguments: str
) -> dict[str, float]:
    """Run a few lines of Python in a fresh process and measure the memory that they need.

    ``imports`` load the runtime, after which the baseline is taken; ``load`` loads the model, and
    ``call`` is called `CALLS` times; the arguments are the process's ``sys.argv[1:]``. Returns
    ``peak_mb``, ``baseline_mb`` and ``growth_mb``, the difference: the model, and what a run of it
    needs. RuntimeError with the process's last line where it fails.
    """
    script = _SCRIPT.format(imports=imports, load=load, call=call, calls=CALLS)
    words, quiet = [sys.executable, "-c", script, *arguments], {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | quiet)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise RuntimeError(f"measuring the memory of {' '.join(arguments)} failed: {reason}")
    baseline, peak = json.loads(done.stdout.strip().splitlines()[-1])
    return {"peak_mb": peak, "baseline_mb": baseline, "growth_mb": peak - baseline}

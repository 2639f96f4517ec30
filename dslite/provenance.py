"""What ran, with what, on what: the record beside every run."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import dslite
from dslite import paths

CALLS = 10
SCRIPT = """
import json, sys
from dslite import footprint
{imports}
before = footprint.resident()
{load}
for _ in range({calls}):
    {call}
print(json.dumps([before, footprint.highest()]))
"""


def _status(key: str) -> float | None:
    """A line of Linux's own account of this process, in MB; None elsewhere."""
    file = Path("/proc/self/status")
    if not file.is_file():
        return None
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _highest_of_all() -> float:
    """The most that this process has held, in MB, as every Unix counts it."""
    import resource  # here: Windows has none, and all else goes without it

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def resident() -> float:
    """Memory that this process holds now, in MB (1e6 bytes)."""
    found = _status("VmRSS")
    return _highest_of_all() if found is None else found


def highest() -> float:
    """The most memory that this process has held, in MB (1e6 bytes).

    Linux hands ``ru_maxrss`` on through fork and exec: started by a process of 2 GB, a tiny one
    would report 2 GB. What the kernel says of the address space (``VmHWM``) begins afresh.
    """
    found = _status("VmHWM")
    return _highest_of_all() if found is None else found


def peak(imports: str, load: str, call: str, *arguments: str) -> dict[str, float]:
    """Run a few lines of Python in a fresh process and see what memory they need.

    Parameters
    ----------
    imports : str
        Lines that load the runtime; what it holds after them counts as the baseline.
    load, call : str
        Lines that load the model, and the one that is called `CALLS` times.
    *arguments : str
        Found as ``sys.argv[1:]``.

    Returns
    -------
    dict
        ``peak_mb``, the highest of the whole process; ``baseline_mb``, with the runtime loaded;
        ``growth_mb``, the difference: the model, and what a run of it needs.

    Raises
    ------
    RuntimeError
        The process failed; with its last line.
    """
    script = SCRIPT.format(imports=imports, load=load, call=call, calls=CALLS)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise RuntimeError(f"measuring the memory of {' '.join(arguments)} failed: {said}")
    before, most = json.loads(done.stdout.strip().splitlines()[-1])
    return {"peak_mb": most, "baseline_mb": before, "growth_mb": most - before}


PACKAGES = ("tensorflow", "keras", "librosa", "numpy", "scikit-learn", "shap", "soxr")


def digest(content: object) -> str:
    """SHA-256 of anything JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str:
    """Git commit of the project, ``+changes`` if the work tree differs; empty outside a clone."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(paths.ROOT), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of what its numbers depend on."""
    found = {"python": platform.python_version(), "dslite": dslite.__version__}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):  # tensorflow-cpu is tensorflow
            try:
                found[package] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def hardware() -> dict[str, object]:
    """Processor, cores, memory in GiB and system."""
    processor = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        "processor": processor or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.machine()}",
    }


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record() -> dict[str, object]:
    """What every run writes down about where it came from."""
    return {
        "date": now(),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write JSON under a temporary name and rename it."""
    with paths.replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

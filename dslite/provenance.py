"""What ran, with what, on what: the record beside every run."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import dslite
from dslite import paths

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

"""Try files of unknown origin in another process first, since reading one may end the process."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dslite import paths, provenance
from dslite.errors import InputError

LIMIT_S = 60  # in which the files have to be read
CPU_S = 4  # of processor time, and one more for each megabyte
SPARE = 1 << 33  # bytes of address space, beside twenty times the size of the files
_LIMIT = """
import os
import sys
from contextlib import suppress
size = sum(map(os.path.getsize, sys.argv[1:]))
with suppress(ImportError):  # Windows
    import resource
    for name, most in ("CPU", SECONDS + size // 10**6), ("AS", SPARE + 20 * size), ("CORE", 0):
        limit = getattr(resource, "RLIMIT_" + name)
        limits = [value for value in resource.getrlimit(limit) if value != resource.RLIM_INFINITY]
        with suppress(ValueError, OSError):  # macOS has no such limit of memory
            resource.setrlimit(limit, (min([most, *limits]), resource.getrlimit(limit)[1]))
"""


def failure(script: str, files: Iterable[Path]) -> str:
    """Run a script on files, its ``sys.argv[1:]``; return why that failed, empty if it did not."""
    limited = f"SECONDS, SPARE = {CPU_S}, {SPARE}{_LIMIT}{script}"
    words = [sys.executable, "-P", "-c", limited, *map(str, files)]
    try:
        how = {"capture_output": True, "text": True, "errors": "replace", "timeout": LIMIT_S}
        done = subprocess.run(words, **how)
    except subprocess.TimeoutExpired:
        return f"it is not read within {LIMIT_S} s"
    if not done.returncode:
        return ""
    last = (done.stderr.strip().splitlines() or ["without a word"])[-1][:200]
    if done.returncode > 0:
        return last
    name = signal.Signals(-done.returncode).name
    return "it takes too long to read" if name == "SIGXCPU" else f"{name}, {last}"


def failure_once(script: str, file: Path) -> str:
    """Return the `failure` with a file; a content that went well, or is trusted, is not tried."""
    tried = _marker(script, file)
    if tried.is_file():
        return ""
    reason = failure(script, [file])
    if not reason:
        _mark(tried)
    return reason


def trust(script: str, file: Path) -> None:
    """Let a file, whose content is of this process or behind its checksum, not be tried."""
    _mark(_marker(script, file))


def _marker(script: str, file: Path) -> Path:
    """Return the empty file in the cache that says that a content may be read."""
    names = script + provenance.file_digest(file)
    return paths.cache() / "tried" / hashlib.sha256(names.encode()).hexdigest()


def _mark(file: Path) -> None:
    with suppress(InputError):  # no cache: it is tried again
        paths.write(file, "")

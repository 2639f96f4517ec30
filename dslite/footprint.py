"""Peak memory of a fresh process: what a model and its runtime need where nothing else runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

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

"""Ending with whoever started us, however that one ended, so that nobody writes beside the next.

Linux only: elsewhere what a killed workflow had started runs to its end.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

WORKFLOW = "snakemake"
EVERY_S = 0.5  # looked after


def end_with_workflow(number: int = signal.SIGTERM) -> None:
    """Get a signal soon after the Snakemake that this command is a job of has ended.

    Its own clean-up runs in no case but SIGKILL's. Between the two there may be a shell, which goes
    on by itself and which only its parent's number tells about. Nothing happens in a process that
    is no job of a workflow.
    """
    between = _up_to_workflow()
    if between:
        threading.Thread(target=_watch, args=(between, number), daemon=True).start()


def die_with_parent() -> None:
    """Be killed as soon as the process that started this one has ended."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL))
    if os.getppid() != parent:  # it ended meanwhile
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(between: dict[int, int], number: int) -> None:
    while all(_parent(process) == parent for process, parent in between.items()):
        time.sleep(EVERY_S)
    os.kill(os.getpid(), number)


def _up_to_workflow() -> dict[int, int]:
    """Process -> its parent, from this one up to the nearest Snakemake; empty if there is none."""
    found, process = {}, os.getpid()
    while parent := _parent(process):
        found[process] = parent
        if WORKFLOW in _words(parent):
            return found
        process = parent
    return {}


def _parent(process: int) -> int:
    """Number of a process's parent; 0 for none, and where it cannot be known."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])  # a name in brackets may hold anything


def _words(process: int) -> list[str]:
    """Words of a process's command line, of paths only the names."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [Path(os.fsdecode(word)).name for word in words]

"""What a run costs: wall and CPU time, peak memory and, where the platform tells, energy."""

import json
import math
import os
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dslite import footprint, paths

POWERCAP = Path("/sys/class/powercap")  # Linux: energy counters of the processor (RAPL)
# Nobody counts a process's own share, nor these counters what a graphics card takes.
MEASURED = "processor packages of the whole machine (RAPL), whatever else ran on it; no GPU"
UNKNOWN = "unknown: no readable energy counter"
# A counter of 2^32 steps of 61 microjoules is full after 262 kJ, at 300 W within 15 minutes.
LOOK_EVERY_S = 60.0


@dataclass(frozen=True)
class Cost:
    """What was spent, over all sessions of a run that was interrupted.

    Attributes
    ----------
    wall_s, cpu_s : float
        Seconds on the clock; of processor time, of the process and of its children that have ended.
    peak_mib : float or None
        Most memory (resident, MiB of 2^20 bytes) that a process of it has held since its start;
        None: the platform does not tell.
    energy_j : float or None
        Joules; None: unknown, at least for a part.
    energy_note : str
        What was measured, or why it is unknown.
    sessions : int
        Processes that it took.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float | None
    energy_j: float | None
    energy_note: str
    sessions: int = 1


def together(earlier: Cost | None, later: Cost) -> Cost:
    """The cost of one session after another: sums, and the higher one of the peaks."""
    if earlier is None:
        return later
    peaks = [one.peak_mib for one in (earlier, later) if one.peak_mib is not None]
    unknown = [one for one in (earlier, later) if one.energy_j is None]
    return Cost(
        wall_s=earlier.wall_s + later.wall_s,
        cpu_s=earlier.cpu_s + later.cpu_s,
        peak_mib=max(peaks, default=None),
        energy_j=None if unknown else earlier.energy_j + later.energy_j,
        energy_note=(unknown or [later])[0].energy_note,
        sessions=earlier.sessions + later.sessions,
    )


def save(path: Path, cost: Cost) -> None:
    """Keep what was spent so far."""
    with paths.replacing(path) as draft:
        draft.write_text(json.dumps(asdict(cost)), encoding="utf-8")


def load(path: Path) -> Cost | None:
    """Read what was spent; None where there is no such file or it cannot be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Cost(**{field.name: stored[field.name] for field in fields(Cost)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def counters(powercap: Path = POWERCAP) -> list[Path]:
    """The energy counters of the processor's packages, not of the parts that they contain.

    ``intel-rapl:0`` is a package (or ``psys``, which contains the packages), ``intel-rapl:0:1`` a
    part of it; ``intel-rapl-mmio:0`` counts the same package a second time.
    """
    found = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if name.startswith("package") and folder.name.count(":") == 1:
            found.append(folder)
    return found


def _microjoules(folder: Path, name: str) -> int | None:
    """One of a counter's numbers; None where it may not be read (often root's alone)."""
    try:
        return int((folder / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _peak_mib() -> float | None:
    try:
        return footprint.highest() * 1e6 / 2**20
    except ImportError:  # Windows
        return None


class Meter:
    """Counts what this process spends from here on; can be read at any time.

    Parameters
    ----------
    earlier : Cost, optional
        Of the sessions before, which every reading includes.
    powercap : path
        Where the energy counters are.

    Notes
    -----
    Used in a ``with`` statement it looks after the energy counters in the background, so that none
    runs over twice between two readings.
    """

    def __init__(self, earlier: Cost | None = None, powercap: Path = POWERCAP):
        self.earlier = earlier
        self._wall, self._cpu = time.perf_counter(), _cpu_s()
        self._domains = counters(powercap)
        self._last = [_microjoules(folder, "energy_uj") for folder in self._domains]
        self._used = 0.0 if self._domains else math.nan  # microjoules; NaN: unknown from then on
        self._lock, self._left = threading.Lock(), threading.Event()

    def __enter__(self) -> "Meter":
        if self._domains:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()

    def _watch(self) -> None:
        while not self._left.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> float:
        """Microjoules so far."""
        with self._lock:
            now = [_microjoules(folder, "energy_uj") for folder in self._domains]
            for folder, before, after in zip(self._domains, self._last, now, strict=True):
                self._used += _spent(folder, before, after)
            self._last = now
            return self._used

    def read(self) -> Cost:
        """What was spent until now, sessions before included."""
        used = self._look()
        known = not math.isnan(used)
        own = Cost(
            wall_s=time.perf_counter() - self._wall,
            cpu_s=_cpu_s() - self._cpu,
            peak_mib=_peak_mib(),
            energy_j=used / 1e6 if known else None,
            energy_note=MEASURED if known else UNKNOWN,
        )
        return together(self.earlier, own)


def _cpu_s() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _spent(folder: Path, before: int | None, after: int | None) -> float:
    """Microjoules between two readings of a counter that begins anew when it is full."""
    if before is None or after is None:
        return math.nan
    if after >= before:
        return after - before
    full = _microjoules(folder, "max_energy_range_uj")
    return math.nan if full is None else after - before + full

"""How long calls take, several side by side."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)
ROUNDS = 5


def latency(call: Callable[[], object], runs: int = 50, warm_up: int = 5) -> dict[str, float]:
    """Time of a call, see `interleaved`."""
    return interleaved({"": call}, runs, warm_up, rounds=1)[""]


def interleaved(
    calls: Mapping[Key, Callable[[], object]],
    runs: int = 50,
    warm_up: int = 5,
    rounds: int = ROUNDS,
) -> dict[Key, dict[str, float]]:
    """Times of several calls, taken in turn, so that a noisy minute of the machine hits all alike.

    Parameters
    ----------
    calls : mapping
    runs : int
        Of each call that count, shared out over ``rounds`` turns.
    warm_up : int
        Calls before the first round, which trace, allocate and fill caches. One more goes before
        each turn, since the other calls have emptied the caches. None of them count.

    Returns
    -------
    dict
        Per call ``ms`` (mean), ``ms_std``, ``ms_median``, ``ms_p95`` (milliseconds) and ``runs``.
    """
    times: dict[Key, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(warm_up):
            call()
    for turn in np.array_split(np.arange(runs), min(rounds, runs)):
        for name, call in calls.items():
            if len(calls) > 1:
                call()
            for _ in turn:
                begin = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - begin)
    return {name: _summary(1000 * np.array(taken)) for name, taken in times.items()}


def _summary(ms: np.ndarray) -> dict[str, float]:
    return {
        "ms": float(ms.mean()),
        "ms_std": float(ms.std()),
        "ms_median": float(np.median(ms)),
        "ms_p95": float(np.percentile(ms, 95)),
        "runs": len(ms),
    }

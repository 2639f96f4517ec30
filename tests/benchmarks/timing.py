"""Times of calls in one process, and where a benchmark's figures are written."""

import time

from dslite import paths

FOLDER = paths.ROOT / "results" / "benchmarks"


def seconds(call, *arguments) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begin


def in_turn(calls: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, round after round, so that a noisy minute hits all alike."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def write(name: str, lines: list[str]) -> None:
    """Write lines as a file of the folder of figures."""
    with paths.replacing(FOLDER / name) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")

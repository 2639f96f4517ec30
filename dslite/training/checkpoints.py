"""The state of a training in one file, replaced as a whole after every epoch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dslite import paths


@dataclass
class State:
    """Where a training stands.

    Attributes
    ----------
    arrays : dict of str to list of ndarray
        ``variables`` (all that training may change, the dropout's random state among them),
        ``optimizer`` (of the phase under way) and ``best`` (weights of the best devel epoch).
    facts : dict
        What JSON can hold: history, phase, random state of the order of samples, ….
    """

    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def save(path: Path, identity: str, state: State) -> None:
    """Write a state under a temporary name and rename it: there is always one whole file."""
    named = {
        f"{group}.{number}": array
        for group, arrays in state.arrays.items()
        for number, array in enumerate(arrays)
    }
    lengths = {group: len(arrays) for group, arrays in state.arrays.items()}
    facts = json.dumps({"identity": identity, "lengths": lengths, "facts": state.facts})
    with paths.replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, json=np.frombuffer(facts.encode(), np.uint8), **named)


def load(path: Path, identity: str) -> State | None:
    """Read a state; None where there is none, it is another training's or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if stored.zip.testzip():  # numpy does not read, nor check, what a header leaves out
                return None
            content = json.loads(stored["json"].tobytes())
            if content["identity"] != identity:
                return None
            arrays = {
                group: [stored[f"{group}.{number}"] for number in range(length)]
                for group, length in content["lengths"].items()
            }
    except Exception:  # not there, or damaged in whatever way
        return None
    return State(arrays, content["facts"])

"""In which order an epoch shows the chunks, and what each one counts."""

import numpy as np


def epoch_order(classes: np.ndarray, balance: str, rng: np.random.Generator) -> np.ndarray:
    """Order in which an epoch shows the chunks.

    Parameters
    ----------
    classes : ndarray of int64, shape [chunks]
        Class of each chunk (all 0 for a regression).
    balance : {"upsample", "weights", "none"}
        ``upsample`` shows every chunk, and chunks of the smaller classes again, drawn without
        replacement as far as they last, until all classes are as large as the largest.
    rng : Generator

    Returns
    -------
    ndarray of int64
        Positions in ``classes``, shuffled.
    """
    if balance != "upsample":
        return rng.permutation(len(classes))
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    largest = max(len(member) for member in members)
    drawn = []
    for member in members:
        rounds = -(-largest // len(member))
        again = np.concatenate([member, *(rng.permutation(member) for _ in range(rounds - 1))])
        drawn.append(again[:largest])
    return rng.permutation(np.concatenate(drawn))


def class_weights(classes: np.ndarray, balance: str) -> np.ndarray:
    """Weight of each chunk's loss, float32; with ``weights`` every class counts the same."""
    if balance != "weights":
        return np.ones(len(classes), np.float32)
    _, inverse, count = np.unique(classes, return_inverse=True, return_counts=True)
    return (len(classes) / (len(count) * count[inverse])).astype(np.float32)

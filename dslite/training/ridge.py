"""A head in closed form: class-balanced ridge regression over standardised features.

Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634. Up to `HEADS` of blocks of features are
solved, each at the strength that predicts held-out speakers of the training data best; the scores
of the best two are averaged, which is one linear layer again, and brought to probabilities by one
temperature (Guo et al. 2017, arXiv:1706.04599), fitted on the same held-out predictions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from dslite.datasets import partitions
from dslite.evaluation import metrics

STRENGTHS = 10.0 ** np.arange(-3, 1.01, 0.5)  # times the mean squared norm of a sample
INNER = 5  # divisions of the training speakers
LANDMARKS = 3072  # samples that span the solution: all of them, up to so many (exact)
DRAWN = 2048  # of more; what they do not span is left out (Nystroem's subset of regressors)
LEAST = 0.1  # of a block's deviation: that of a feature counts as no smaller, it may be silent
JITTER = 1e-5  # of a sample's mean squared norm
BLOCK = 512  # samples in memory at a time
AVERAGED = 2  # heads
# Which blocks a head sees, by panel and source; a head whose blocks are not there is left out.
HEADS = {
    "deep": ("relative_stride8",),
    "relative": ("relative_rows", "relative_stride4", "relative_stride8"),
    "level": ("level_rows", "level_stride2", "level_stride4"),
}
HEADS["both"] = (*HEADS["relative"], *HEADS["level"])


@dataclass(frozen=True)
class Solution:
    """A solved head: ``features @ kernel + bias`` are the logits, or the standardised target."""

    kernel: np.ndarray  # float32 [features, outputs]
    bias: np.ndarray  # float32 [outputs]
    # A row a head: its name, strength, loss and score on held-out training speakers, and whether
    # it was chosen
    heads: list[dict[str, Any]]


def heads(blocks: Mapping[str, slice]) -> dict[str, tuple[str, ...]]:
    """Return the heads that a network's blocks allow; one of everything if it has others."""
    present = {name: parts for name, parts in HEADS.items() if set(parts) <= set(blocks)}
    return present or {"all": tuple(blocks)}


def solve(
    features: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    blocks: Mapping[str, slice],
    classification: bool = True,
    balance: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Solution:
    """Solve a head.

    Parameters
    ----------
    features : ndarray, shape [samples, features]
        Of any float type; may be memory-mapped.
    rows : ndarray of int64, shape [n]
        Samples to learn from.
    targets : ndarray of float32, shape [n, outputs]
        One-hot classes, or a regression's standardised target.
    groups : ndarray, shape [n]
        Speakers: no two parts of an inner division share one.
    blocks : mapping
        Name -> columns of the features.
    classification : bool
        Whether the targets are classes, and a temperature is fitted.
    balance : bool
        Whether all classes count alike.
    """
    weights = _weights(targets, classification and balance)
    part = _divide(groups, targets, classification)
    scaling = _scaling(features, rows, blocks)
    landmarks = _landmarks(len(rows), targets)
    with threadpool_limits(limits=None):
        grams = _grams(features, rows, landmarks, blocks, scaling)
    solved = []
    for name, parts in heads(blocks).items():
        gram = sum(grams[block] for block in parts)
        head = _Head(name, parts, gram, landmarks, targets, weights, part, classification)
        solved.append(head)
        log(f"head {name}: strength {head.strength:g}, {head.summary}")
    ranked = sorted(solved, key=lambda head: head.loss)
    chosen = ranked[:AVERAGED]
    for head in chosen:
        head.chosen = True
    # Each head's scores in units of their own deviation on held-out speakers, so that both count.
    factors = [1 / (len(chosen) * max(head.held_out.std(), 1e-12)) for head in chosen]
    if not classification:
        factors = [1 / len(chosen)] * len(chosen)
    mixed = sum(f * head.held_out for f, head in zip(factors, chosen, strict=True))
    temperature = _temperature(mixed, targets, weights) if classification else 1.0
    kernel = np.zeros((features.shape[1], targets.shape[1]))
    bias = np.zeros(targets.shape[1])
    for factor, head in zip(factors, chosen, strict=True):
        dual, offset = head.final()
        bias += temperature * factor * offset
        for block in head.parts:
            columns = blocks[block]
            mean, scale = scaling[block]
            spanning = (features[rows[landmarks], columns].astype(np.float32) - mean) * scale
            part_kernel = (spanning.T @ dual) * scale[:, None]
            kernel[columns] += temperature * factor * part_kernel
            bias -= temperature * factor * (mean @ part_kernel)
    return Solution(
        kernel.astype(np.float32), bias.astype(np.float32), [head.record() for head in solved]
    )


class _Head:
    """One head: its strength by the inner division, and its solution."""

    def __init__(
        self,
        name: str,
        parts: Sequence[str],
        gram: np.ndarray,
        landmarks: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        part: np.ndarray,
        classification: bool,
    ):
        self.name, self.parts, self.chosen = name, parts, False
        inner = gram[landmarks].astype(np.float64)
        inner = (inner + inner.T) / 2  # equal but for the rounding of float32, which `JITTER` tops
        jitter = JITTER * np.trace(inner) / len(inner)
        self._factor = np.linalg.cholesky(inner + jitter * np.eye(len(inner)))
        # Coordinates of every sample in the space that the landmarks span; a 1 for the offset.
        spanned = solve_triangular(self._factor, gram.T.astype(np.float64), lower=True).T
        self._x = np.column_stack([spanned, np.ones(len(gram))])
        self._y, self._w = targets.astype(np.float64), weights
        self._normal = self._products(slice(None))
        self.held_out = np.zeros(targets.shape)
        losses, scores = [], []
        excluded = [self._products(part == i) for i in range(part.max() + 1)]
        for strength in STRENGTHS:
            predicted = np.zeros(targets.shape)
            for i, (a, b) in enumerate(excluded):
                rest = (self._normal[0] - a, self._normal[1] - b)
                predicted[part == i] = self._x[part == i] @ self._solution(*rest, strength)
            loss, score = _criteria(predicted, targets, weights, classification)
            if not losses or loss < min(losses):
                self.held_out = predicted
            losses.append(loss)
            scores.append(score)
        best = int(np.argmin(losses))
        self.strength, self.loss, self.score = float(STRENGTHS[best]), losses[best], scores[best]
        unit = f"UAR {100 * self.score:.1f} %" if classification else f"rho {self.score:.3f}"
        self.summary = f"{unit} on held-out training speakers"

    def _products(self, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        x = self._x[rows]
        weighted = x * self._w[rows][:, None]
        return weighted.T @ x, weighted.T @ self._y[rows]

    def _solution(self, a: np.ndarray, b: np.ndarray, strength: float) -> np.ndarray:
        """Coefficients of the coordinates and the offset, which is not held back."""
        penalty = np.full(len(a), strength * self._unit)
        penalty[-1] = 1e-9
        return cho_solve(cho_factor(a + np.diag(penalty), lower=True), b)

    @property
    def _unit(self) -> float:
        """Mean squared norm of a weighted sample."""
        return float(np.trace(self._normal[0][:-1, :-1])) / len(self._x)

    def final(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the landmarks [landmarks, outputs], and the offset [outputs]."""
        solution = self._solution(*self._normal, self.strength)
        return solve_triangular(self._factor, solution[:-1], lower=True, trans="T"), solution[-1]

    def record(self) -> dict[str, Any]:
        """What is written down of it."""
        facts = {"head": self.name, "strength": self.strength, "loss": float(self.loss)}
        return facts | {"score": float(self.score), "chosen": self.chosen}


def _weights(targets: np.ndarray, balance: bool) -> np.ndarray:
    """Weight of each sample, 1 on average."""
    if not balance:
        return np.ones(len(targets))
    counts = np.maximum(targets.sum(axis=0), 1)
    weights = (1 / counts)[targets.argmax(axis=1)]
    return weights / weights.mean()


def _divide(groups: np.ndarray, targets: np.ndarray, classification: bool) -> np.ndarray:
    """The part of each sample in the inner division, int64 [n]; by speaker where that can be."""
    import pandas as pd

    groups = pd.Series(groups).reset_index(drop=True)
    if groups.nunique() < 2:
        groups = pd.Series(np.arange(len(groups)))
    strata = pd.Series(targets.argmax(axis=1) if classification else np.zeros(len(targets), int))
    part = partitions.parts(groups, strata, min(INNER, groups.nunique()))
    return np.unique(part, return_inverse=True)[1]


def _scaling(
    features: np.ndarray, rows: np.ndarray, blocks: Mapping[str, slice]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and factor of each feature, by block: unit deviation, every block of the same weight."""
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for first in range(0, len(rows), BLOCK):
        part = features[rows[first : first + BLOCK]].astype(np.float32)
        total += part.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ij,ij->j", part, part)
    mean = total / len(rows)
    variance = np.maximum(squares / len(rows) - mean**2, 0)
    scaling = {}
    for name, columns in blocks.items():
        least = LEAST * np.sqrt(variance[columns].mean())
        deviation = np.maximum(np.sqrt(variance[columns]), max(least, 1e-12))
        factor = 1 / (deviation * np.sqrt(len(deviation)))
        scaling[name] = mean[columns].astype(np.float32), factor.astype(np.float32)
    return scaling


def _landmarks(n: int, targets: np.ndarray) -> np.ndarray:
    """The samples that span a solution: all, or evenly drawn from the samples sorted by target."""
    if n <= LANDMARKS:
        return np.arange(n)
    order = np.lexsort(targets.T)
    return np.sort(order[np.linspace(0, n - 1, DRAWN).round().astype(int)])


def _grams(
    features: np.ndarray,
    rows: np.ndarray,
    landmarks: np.ndarray,
    blocks: Mapping[str, slice],
    scaling: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Products of all samples with the landmarks, float32 [n, landmarks], of each block."""
    grams = {}
    for name, columns in blocks.items():
        mean, factor = scaling[name]

        def scaled(chosen: np.ndarray, columns=columns, mean=mean, factor=factor) -> np.ndarray:
            return (features[chosen, columns].astype(np.float32) - mean) * factor

        spanning = np.concatenate(
            [scaled(rows[landmarks[i : i + BLOCK]]) for i in range(0, len(landmarks), BLOCK)]
        )
        parts = [scaled(rows[i : i + BLOCK]) @ spanning.T for i in range(0, len(rows), BLOCK)]
        grams[name] = np.concatenate(parts)
    return grams


def _criteria(
    predicted: np.ndarray, targets: np.ndarray, weights: np.ndarray, classification: bool
) -> tuple[float, float]:
    """Loss by which strengths and heads are chosen, and the score that is shown."""
    if not classification:
        loss = float((weights[:, None] * (predicted - targets) ** 2).mean())
        return loss, float(metrics.rho(targets[:, 0], predicted[:, 0]))
    temperature = _temperature(predicted, targets, weights)
    loss = _cross_entropy(temperature * predicted, targets, weights)
    score = metrics.uar(targets.argmax(1), predicted.argmax(1), targets.shape[1])
    return loss, float(score)


def _cross_entropy(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    return float(-(weights[:, None] * targets * log_softmax(logits, axis=1)).sum(1).mean())


def _temperature(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """The factor that makes scores the best logits: cross-entropy is convex in it."""
    deviation = max(float(scores.std()), 1e-12)

    def loss(log_factor: float) -> float:
        return _cross_entropy(np.exp(log_factor) / deviation * scores, targets, weights)

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x) / deviation)

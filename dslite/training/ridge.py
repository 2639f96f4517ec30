"""A head in closed form: class-balanced ridge regression over standardised features.

Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634. Up to `HEADS` of blocks of features are
solved, each at the strength that predicts held-out speakers of the training data best; the scores
of the best two are averaged, which is one linear layer again, and brought to probabilities by one
temperature (Guo et al. 2017, arXiv:1706.04599), fitted on the same held-out predictions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.linalg import solve as solve_linear
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from dslite.datasets import partitions
from dslite.evaluation import metrics

STRENGTHS = 10.0 ** np.arange(-3, 1.01, 0.5)  # times the mean squared norm of a sample
START = 5  # the place of the strength that is tried first
INNER = 5  # divisions of the training speakers
LANDMARKS = 3072  # samples that span the solution: all of them, up to so many (exact)
DRAWN = 2048  # of more; what they do not span is left out (Nystroem's subset of regressors)
LEAST = 0.1  # of a block's deviation: that of a feature counts as no smaller, it may be silent
JITTER = 1e-5  # of a sample's mean squared norm
TINY = 1e-12  # in place of 0 where no feature varies
PRODUCTS_WEIGHT = 3  # of the products of features, in blocks
BLOCK = 256  # samples in memory at a time
THREADS = 2  # each of which holds what a head takes
AVERAGED = 2  # heads
# Which blocks a head sees, by panel and source; a head whose blocks are not there is left out.
HEADS = {
    "deep": ("relative_stride8",),
    "relative": ("relative_rows", "relative_stride4", "relative_stride8"),
    "level": ("level_rows", "level_stride2", "level_stride4", "products"),
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
    paired: tuple[np.ndarray, ...] = ()  # float32: mean and factor of the features multiplied


class _WithProducts:
    """Features, and products of some of them in pairs behind, computed when they are read.

    See `dslite.models.pooling.Products`; an array as far as `solve` needs one.
    """

    def __init__(self, features: np.ndarray, paired: slice, shape: Sequence[int], scaling: tuple):
        mean, factor = scaling
        self._features, self._paired, self._axes = features, paired, shape
        self.scaling = mean, factor * np.float32(np.sqrt(len(mean)))  # of unit deviation
        self.columns = slice(features.shape[1], features.shape[1] + len(mean))
        self.shape = len(features), self.columns.stop

    def __getitem__(self, place: tuple[np.ndarray, slice]) -> np.ndarray:
        rows, columns = place
        if columns != self.columns:
            return self._features[rows, columns]
        x = _scaled(self._features, rows, self._paired, self.scaling)
        return x * x.reshape(-1, *self._axes).transpose(0, 3, 2, 1).reshape(x.shape)


def heads(blocks: Mapping[str, slice]) -> dict[str, tuple[str, ...]]:
    """Return the heads that a network's blocks allow; one of everything if it has others."""
    usable = {*blocks, "products"}  # which a head does without
    present = {name: parts for name, parts in HEADS.items() if set(parts) <= usable}
    present = {name: tuple(p for p in parts if p in blocks) for name, parts in present.items()}
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
    originals: int | None = None,
    paired: tuple[str, Sequence[int]] | None = None,
) -> Solution:
    """Solve a head on some ``rows``, int64 [n], of features [samples, features], maybe on disk.

    ``targets``, float32 [n, outputs], are one-hot classes or a regression's standardised target,
    ``blocks`` columns by name. No two parts of an inner division share one of the ``groups``,
    speakers [n]. Rows behind the first ``originals`` are copies, which are never scored. ``paired``
    names a block, and the shape of it, whose features are also multiplied in pairs.
    """
    weights = _weights(targets, classification and balance)
    part = _divide(groups, targets, classification)
    scaling = _scaling(features, rows, blocks)
    if paired:
        name, shape = paired
        features = _WithProducts(features, blocks[name], shape, scaling[name])
        blocks = {**blocks, "products": features.columns}
        scaling["products"] = _scaling_of_products(features, rows)
    landmarks = _landmarks(len(rows), targets)
    grams = _grams(features, rows, landmarks, blocks, scaling)
    learnt = (targets.astype(np.float64), weights, part)
    truth = (targets[:originals], weights[:originals])

    def solve_head(name: str, parts: Sequence[str]) -> _Head:
        gram = sum(grams[block] for block in parts)
        exact = len(landmarks) == len(gram)
        system = _Exact(gram, *learnt) if exact else _Spanned(gram, landmarks, *learnt)
        return _head(name, parts, system, *truth, classification)

    solved = _in_threads(solve_head, heads(blocks).items())
    for head in solved:
        unit = f"UAR {100 * head.score:.1f} %" if classification else f"rho {head.score:.3f}"
        log(f"head {head.name}: strength {head.strength:.3g}, {unit} on held-out training speakers")
    chosen = sorted(solved, key=lambda head: head.loss)[:AVERAGED]
    # Each head's scores in units of their own deviation on held-out speakers, so that both count.
    deviations = [max(float(h.held_out.std()), TINY) if classification else 1.0 for h in chosen]
    factors = [1 / (len(chosen) * deviation) for deviation in deviations]
    mixed = sum(f * head.held_out for f, head in zip(factors, chosen, strict=True))
    temperature = _temperature(mixed, *truth) if classification else 1.0
    weighted = [(temperature * f, head) for f, head in zip(factors, chosen, strict=True)]
    kernel = np.zeros((features.shape[1], targets.shape[1]))
    bias = sum(f * head.offset for f, head in weighted)
    for block, columns in blocks.items():
        duals = [f * head.dual for f, head in weighted if block in head.parts]
        if not duals:
            continue
        mean, scale = scaling[block]
        dual = sum(duals).astype(np.float32)
        for i in range(0, len(landmarks), BLOCK):
            spanning = _scaled(features, rows[landmarks[i : i + BLOCK]], columns, scaling[block])
            kernel[columns] += spanning.T @ dual[i : i + BLOCK]
        kernel[columns] *= scale[:, None]
        bias = bias - mean @ kernel[columns]
    records = [head.record(head in chosen) for head in solved]
    standardised = features.scaling if paired else ()
    return Solution(kernel.astype(np.float32), bias.astype(np.float32), records, standardised)


@dataclass(frozen=True, eq=False)
class _Head:
    """One head, solved at the strength that predicts held-out samples best."""

    name: str
    parts: Sequence[str]  # blocks
    strength: float
    loss: float
    score: float
    held_out: np.ndarray  # float64 [scored, outputs]: what is predicted of held-out samples
    dual: np.ndarray  # float64 [landmarks, outputs]: their coefficients
    offset: np.ndarray  # float64 [outputs]

    def record(self, chosen: bool) -> dict[str, Any]:
        """What is written down of it."""
        facts = {"head": self.name, "strength": self.strength, "loss": self.loss}
        score = 0.0 if np.isnan(self.score) else self.score  # no rho: one number for all
        return facts | {"score": score, "chosen": chosen}


def _head(
    name: str,
    parts: Sequence[str],
    system: "_Exact | _Spanned",
    targets: np.ndarray,
    weights: np.ndarray,
    classification: bool,
) -> _Head:
    """Solve a head at one strength after another, as long as the loss falls."""
    tried = {}  # place of a strength -> loss, score, what is predicted

    def attempt(i: int) -> None:
        predicted = system.held_out(STRENGTHS[i])[: len(targets)]
        tried[i] = (*_criteria(predicted, targets, weights, classification), predicted)

    def lowest() -> int:
        return min(tried, key=lambda i: tried[i][0])

    attempt(START)
    place = None
    while place != (place := lowest()):
        for i in {place - 1, place + 1} & set(range(len(STRENGTHS))) - set(tried):
            attempt(i)
    strength = float(STRENGTHS[place])
    return _Head(name, parts, strength, *tried[place], *system.final(strength))


class _Exact:
    """Ridge regression in the dual, all samples spanning the solution.

    Held-out samples need no solution of their own: with M, the inverse of the whole system, they
    are missed by the inverse of M's block of them, times their dual coefficients.
    """

    def __init__(self, gram: np.ndarray, y: np.ndarray, weights: np.ndarray, part: np.ndarray):
        self._gram = np.asfortranarray(gram, np.float64)  # only what is below the diagonal counts
        self._y, self._part = y, part
        unit = max(float(np.mean(weights * gram.diagonal())), TINY)
        self._penalty = unit / weights  # at strength 1

    def _factor(self, strength: float) -> np.ndarray:
        system = self._gram.copy(order="F")
        system[np.diag_indices(len(system))] += (strength + JITTER) * self._penalty
        return cholesky(system, lower=True, overwrite_a=True, check_finite=False)

    def held_out(self, strength: float) -> np.ndarray:
        """What is predicted of each part of the inner division by the others."""
        inverse = np.tril(dpotri(self._factor(strength), lower=1, overwrite_c=1)[0])
        inverse += np.tril(inverse, -1).T
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums, sums / sums.sum())  # the offset is not held back
        dual, predicted = inverse @ self._y, self._y.copy()
        for i in range(self._part.max() + 1):
            rows = np.flatnonzero(self._part == i)
            of_part = inverse[np.ix_(rows, rows)]
            predicted[rows] -= solve_linear(of_part, dual[rows], assume_a="pos")
        return predicted

    def final(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Dual coefficients [n, outputs] and the offset [outputs]."""
        padded = np.column_stack([self._y, np.ones(len(self._y))])
        solved = cho_solve((self._factor(strength), True), padded)
        sums = solved[:, -1]
        offset = sums @ self._y / sums.sum()
        return solved[:, :-1] - np.outer(sums, offset), offset


class _Spanned:
    """Ridge regression in the coordinates of the space that some of the samples span."""

    def __init__(
        self,
        gram: np.ndarray,
        landmarks: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
        part: np.ndarray,
    ):
        inner = gram[landmarks].astype(np.float64)
        inner = (inner + inner.T) / 2  # equal but for the rounding of float32, which `JITTER` tops
        inner[np.diag_indices(len(inner))] += JITTER * max(np.trace(inner) / len(inner), TINY)
        self._root = cholesky(inner, lower=True, overwrite_a=True)
        self._x = np.ones((len(gram), len(landmarks) + 1), np.float32)  # the last is the offset's
        self._y, self._part, self._products = y, part, []
        for i in range(part.max() + 1):
            rows = np.flatnonzero(part == i)
            spanned = solve_triangular(self._root, gram[rows].T.astype(np.float64), lower=True)
            self._x[rows, :-1] = spanned.T
            w = np.sqrt(weights[rows])[:, None]
            x = w * np.column_stack([spanned.T, np.ones(len(rows))])
            self._products.append((x.T @ x, x.T @ (w * y[rows])))
        self._whole = [sum(each) for each in zip(*self._products, strict=True)]
        self._unit = max(float(np.trace(self._whole[0][:-1, :-1])) / len(gram), TINY)

    def _solution(self, a: np.ndarray, b: np.ndarray, strength: float) -> np.ndarray:
        """Coefficients of the coordinates and the offset, which is not held back."""
        penalty = np.full(len(a), strength * self._unit)
        penalty[-1] = 1e-9
        return cho_solve(cho_factor(a + np.diag(penalty), lower=True, overwrite_a=True), b)

    def held_out(self, strength: float) -> np.ndarray:
        """What is predicted of each part of the inner division by the others."""
        predicted = np.empty(self._y.shape)
        for i, (a, b) in enumerate(self._products):
            rest = (self._whole[0] - a, self._whole[1] - b)
            predicted[self._part == i] = self._x[self._part == i] @ self._solution(*rest, strength)
        return predicted

    def final(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the landmarks [landmarks, outputs], and the offset [outputs]."""
        solution = self._solution(*self._whole, strength)
        return solve_triangular(self._root, solution[:-1], lower=True, trans="T"), solution[-1]


def _in_threads(function: Callable, arguments: Iterable[tuple]) -> list:
    """Call a function with several arguments; linear algebra within a call has one thread.

    Threads of one product wait for each other in a loop, which takes ten times as long where
    others use the processor too; and the result would depend on their number.
    """
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda each: function(*each), arguments))


def _weights(targets: np.ndarray, balance: bool) -> np.ndarray:
    """Weight of each sample, 1 on average."""
    classes = targets.argmax(axis=1)
    return compute_sample_weight("balanced", classes) if balance else np.ones(len(targets))


def _divide(groups: np.ndarray, targets: np.ndarray, classification: bool) -> np.ndarray:
    """The part of each sample in the inner division, int64 [n]; by speaker where that can be."""
    import pandas as pd

    groups = pd.Series(groups).reset_index(drop=True)
    if groups.nunique() < 2:
        groups = pd.Series(np.arange(len(groups)))
    strata = pd.Series(targets.argmax(axis=1) if classification else np.zeros(len(targets), int))
    largest = strata.value_counts().iloc[0]  # no class can be in more parts than it has samples
    if largest < 2:
        strata, largest = strata * 0, len(strata)
    part = partitions.parts(groups, strata, min(INNER, groups.nunique(), largest))
    return np.unique(part, return_inverse=True)[1]


def _scaling(
    features: np.ndarray, rows: np.ndarray, blocks: Mapping[str, slice]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and factor of each feature, by block: unit deviation, every block of the same weight."""
    mean, variance = _moments(features, rows, slice(0, features.shape[1]))
    scaling = {}
    for name, columns in blocks.items():
        least = LEAST * np.sqrt(variance[columns].mean())
        deviation = np.maximum(np.sqrt(variance[columns]), max(least, TINY))
        factor = 1 / (deviation * np.sqrt(len(deviation)))
        scaling[name] = mean[columns].astype(np.float32), factor.astype(np.float32)
    return scaling


def _scaling_of_products(
    features: "_WithProducts", rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each product, and one factor for all: those that vary most say most."""
    mean, variance = _moments(features, rows, features.columns)
    factor = np.sqrt(PRODUCTS_WEIGHT / max(float(variance.sum()), TINY))
    return mean.astype(np.float32), np.full(len(mean), factor, np.float32)


def _moments(
    features: "np.ndarray | _WithProducts", rows: np.ndarray, columns: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of some columns, float64."""

    def sums(i: int) -> np.ndarray:
        part = features[rows[i : i + BLOCK], columns].astype(np.float32)
        return np.stack([part.sum(axis=0), np.einsum("ij,ij->j", part, part)]).astype(np.float64)

    total, squares = sum(_in_threads(sums, zip(range(0, len(rows), BLOCK))))
    mean = total / len(rows)
    return mean, np.maximum(squares / len(rows) - mean**2, 0)


def _landmarks(n: int, targets: np.ndarray) -> np.ndarray:
    """The samples that span a solution: all, or evenly drawn from the samples sorted by target."""
    if n <= LANDMARKS:
        return np.arange(n)
    order = np.lexsort(targets.T)
    return np.sort(order[np.linspace(0, n - 1, DRAWN).round().astype(int)])


def _scaled(
    features: np.ndarray,
    rows: np.ndarray,
    columns: slice,
    scaling: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """A block's standardised features of some samples, float32."""
    mean, factor = scaling
    part = features[rows, columns].astype(np.float32)
    part -= mean
    part *= factor
    return part


def _grams(
    features: np.ndarray,
    rows: np.ndarray,
    landmarks: np.ndarray,
    blocks: Mapping[str, slice],
    scaling: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Products of all samples with the landmarks, float32 [n, landmarks], of each block.

    Where all samples are landmarks, what lies right of the diagonal may be 0.
    """
    n, m, grams = len(rows), len(landmarks), {}
    for name, columns in blocks.items():
        spanning = np.empty((m, columns.stop - columns.start), np.float32)
        gram = grams[name] = np.zeros((n, m), np.float32)

        def span(i, columns=columns, scaling=scaling[name], spanning=spanning) -> None:
            chosen = rows[landmarks[i : i + BLOCK]]
            spanning[i : i + BLOCK] = _scaled(features, chosen, columns, scaling)

        def multiply(i, columns=columns, scaling=scaling[name], spanning=spanning, gram=gram):
            part, last = spanning[i : i + BLOCK], i + BLOCK
            if n > m:
                part, last = _scaled(features, rows[i : i + BLOCK], columns, scaling), m
            gram[i : i + BLOCK, :last] = part @ spanning[:last].T

        _in_threads(span, zip(range(0, m, BLOCK)))
        _in_threads(multiply, zip(range(0, n, BLOCK)))
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
    deviation = max(float(scores.std()), TINY)

    def loss(log_factor: float) -> float:
        return _cross_entropy(np.exp(log_factor) / deviation * scores, targets, weights)

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x) / deviation)

"""Tests of configurations: how sure a mean over seeds is, and whether one beats another.

Two configurations are compared on the same files, which answers two questions. *These files*: is
it more than chance which files each of them recognises, of these speakers and by these trainings?
Files are the units. *New speakers*: would it hold for others? Speakers are the units, and few of
them can answer little. A configuration trained with several seeds is judged by their mean.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.evaluation.metrics import LEVEL, by_seed, known_speakers, over_speakers, share_right

DRAWS = 20_000  # of the bootstrap and of signs: no p is below 1 / (draws + 1)
BLOCK = 1000  # draws that are in memory at once
MOST = 2**18  # sums of signed differences that are listed, for an exact p
SEED = 0  # of all draws
TINY = 1e-8  # less than any difference there can be, more than rounding
ALPHA = 0.05  # of a verdict, after the correction
BETTER, WORSE, UNDECIDED, UNKNOWN = "better", "worse", "not told apart", "unknown"
TOO_FEW = "too few for a test"
EQUAL = "the same files"  # are recognised: two configurations kept the same network
UNITS = {"": "files", "_speakers": "speakers"}  # of the two questions, by their columns' ending
COLUMNS = {"files": int, "speakers": int, "seeds": int, "by_speaker": str}  # see `compared`
for _end, _unit in UNITS.items():
    COLUMNS |= {f"{name}{_end}": float for name in ("difference", "low", "high", "p", "p_holm")}
    COLUMNS |= {f"{_unit}_better": int, f"{_unit}_worse": int}
    COLUMNS |= {f"comparisons{_end}": int, f"verdict{_end}": str}


def recall_shares(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Compute what each file [n] adds to the UAR of the classes that occur, which is their mean."""
    _, of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return share_right(labels, predictions) / counts[of] * (len(labels) / len(counts))


def paired_gain(difference: np.ndarray) -> tuple[float, float]:
    """Compute the mean difference of paired files, float [files], and twice its standard error."""
    difference = np.asarray(difference, dtype=float)
    return float(difference.mean()), 2 * float(difference.std()) / math.sqrt(len(difference))


def uar_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, n_classes: int
) -> dict[str, Any]:
    """Compute by a paired bootstrap of the files how much better the second one's UAR is.

    Takes arrays as `dslite.evaluation.metrics.bootstrap_interval`; the seeds need not be equally
    many. Returns the ``difference`` (second less first, a fraction) and its 95 % interval ``low``
    and ``high``; None of a single file, where nothing varies.

    Notes
    -----
    A draw takes the same files, with replacement, for both configurations and all their seeds.
    A class's recall is linear in each file's share of seeds that recognise it, so the difference
    of the mean UARs needs no more than the differences of these shares. Draws of few files spread
    too little: what the normal distribution says of them, Student's t says with their number
    (expanded percentiles: Hesterberg 2015, 10.1080/00031305.2015.1089789, 5.3).
    """
    from scipy.stats import norm, t  # here: half a second that a prediction should not wait for

    labels, n = np.asarray(labels), len(labels)
    difference = (share_right(labels, second) - share_right(labels, first)).round(12)
    counts = np.eye(n_classes)[labels]
    # Files of the same label and difference are drawn together.
    both = np.hstack([difference[:, None] * counts, counts]) + 0.0
    cells, equal = np.unique(both, axis=0, return_counts=True)
    result = {"difference": float(_mean_recall(equal @ cells)), "low": None, "high": None}
    if n < 2:
        return result
    rng, drawn = np.random.default_rng(SEED), []
    for _ in range(0, DRAWS, BLOCK):
        drawn.append(_mean_recall(rng.multinomial(n, equal / n, size=BLOCK) @ cells))
    tail = norm.cdf(t.ppf((1 - LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1)))
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return result | {"low": float(low), "high": float(high)}


def _mean_recall(sums: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur [...] of their gains' and files' sums [..., 2 classes]."""
    gains, counts = np.split(sums, 2, axis=-1)
    recalls = np.divide(gains, counts, out=np.zeros(gains.shape), where=counts > 0)
    return recalls.sum(axis=-1) / (counts > 0).sum(axis=-1)


def sign_flip(differences: np.ndarray) -> float:
    """Test whether paired differences, float [units], are as likely of the other sign: p.

    Two-sided: the share of all 2^n choices of signs whose sum is as far from 0 as theirs (Fisher
    1935). Exact as long as the sums can be listed (`MOST`), else of `DRAWS` drawn choices, with
    theirs added. Differences of what files add to the UAR (`recall_shares`) test the UAR.

    Examples
    --------
    >>> sign_flip(np.array([0.1, 0.2, 0.1, 0.4, 0.1]))  # all of 5 on one side: 2 / 2^5
    0.0625
    """
    from scipy.stats import binom

    sizes, times = np.unique(np.abs(differences).round(12), return_counts=True)
    groups = [pair for pair in zip(sizes, times, strict=True) if pair[0] > TINY]
    extreme = abs(np.sum(differences)) - TINY
    sums, shares = np.zeros(1), np.ones(1)
    for size, n in groups:  # so many of one size: the number of plus signs is binomial
        if len(sums) * (n + 1) > MOST:
            break
        sums = np.add.outer(sums, size * np.arange(-n, n + 1, 2)).round(10)
        shares = np.outer(shares, binom.pmf(np.arange(n + 1), n, 0.5))
        sums, place = np.unique(sums, return_inverse=True)
        shares = np.bincount(place.ravel(), shares.ravel())
    else:
        return min(1.0, float(shares[np.abs(sums) >= extreme].sum()))
    rng = np.random.default_rng(SEED)
    drawn = sum(size * (2 * rng.binomial(n, 0.5, DRAWS) - n) for size, n in groups)
    return float((1 + (np.abs(drawn) >= extreme).sum()) / (DRAWS + 1))


def testable(differing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Say which comparisons of a family a test can decide, bool [comparisons] (Tarone 1990).

    Of each, ``differing`` is the number of units that differ (NaN: unknown): no `sign_flip` of n
    has a p below 2 / 2^n. Those that could not reach `ALPHA`, divided by the number of those that
    can, tell nothing and would only make the others' correction larger (10.2307/2531456).

    Examples
    --------
    >>> testable([5]), testable([6]), testable([6, 6]), testable([6, 7])
    (array([False]), array([ True]), array([False, False]), array([False,  True]))
    """
    least = 2.0 ** (1 - np.asarray(differing, float))
    for family in range(1, len(least) + 1):
        if (least <= ALPHA / family).sum() <= family:
            break
    return least <= ALPHA / family if len(least) else least > 0


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p-values for their number, step-down (Holm 1979, jstor.org/stable/4615733).

    float [comparisons]; NaN, a comparison that could not be made, stays and does not count.
    """
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN is sorted to the end
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


def repeated(scores: pd.DataFrame, by: Sequence[str], score: str) -> pd.DataFrame:
    """Compute what several trainings of each configuration say together, from one row a run.

    ``low`` to ``high`` is the 95 % interval of the mean by Student's t: where the mean of many more
    seeds would lie, on these same files. NaN for what one seed cannot tell.
    """
    from scipy.stats import t

    seeds = scores.groupby(list(by), sort=False, dropna=False)[score]
    table = seeds.agg(mean="mean", deviation="std", low="mean", high="mean", n="size").reset_index()
    half = t.ppf((1 + LEVEL) / 2, table["n"] - 1) * table["deviation"] / np.sqrt(table["n"])
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def compared(
    predictions: pd.DataFrame,
    varied: str,
    baseline: str,
    by: Sequence[str] = ("dataset",),
    family: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare every configuration with a named one, wherever all else (``by``) is equal.

    Takes one row a file, seed and configuration: the columns ``by``, ``varied`` (the configuration,
    one of which is the ``baseline``), ``seed``, ``file``, ``speaker`` (empty: unknown), ``label``
    (empty: blinded, passed over) and ``prediction``.

    Returns
    -------
    DataFrame
        One row a comparison: ``by``, ``varied``, ``baseline``, the ``files``, ``speakers`` (0:
        unknown) and ``seeds`` that both have, and the points of each speaker's own UAR
        (``by_speaker``, joined by ";"). These files: the ``difference`` (points of UAR), its 95 %
        interval ``low, high`` (`uar_difference`), ``p`` (`sign_flip`), ``p_holm``, corrected for
        the number of ``comparisons`` in its ``family`` (columns; default: ``by``) that are
        `testable` (those of the same predictions are one), ``files_better, files_worse`` and the
        ``verdict``: `BETTER` or `WORSE` if ``p_holm`` is below `ALPHA`, else `UNDECIDED`; `EQUAL`
        where both recognise the same files, `TOO_FEW` where no outcome could be significant,
        `UNKNOWN` without labels or seeds in both.
        New speakers: the same, with the ending ``_speakers``, of the speakers' own UARs
        (`speaker_gains`), whose interval is that of `dslite.evaluation.metrics.over_speakers`.

    Raises an InputError where the baseline is missing or two predict other files or labels.
    """
    keys, rows = list(by), []
    for key, group in predictions.groupby(keys, sort=False, dropna=False):
        where = dict(zip(keys, key, strict=True))
        parts = dict(list(group.groupby(varied, sort=False)))
        if baseline not in parts:
            shared = ", ".join(map(str, where.values()))
            raise InputError(f"{shared}: no predictions of {varied} {baseline} to compare with")
        for name in parts:
            if name != baseline:
                pair = _pair(parts[baseline], parts[name], where | {varied: name})
                rows.append(where | {varied: name, "baseline": baseline} | pair)
    table = pd.DataFrame(rows, columns=[*keys, varied, "baseline", *COLUMNS, "predicted"])
    table = table.astype({name: float for name, kind in COLUMNS.items() if kind is float})
    families = table.groupby(list(keys if family is None else family), dropna=False).indices
    equal = table["difference"].notna() & table["files_better"].add(table["files_worse"]).eq(0)
    predicted = table.pop("predicted")
    for end, unit in UNITS.items():
        p, tested = table[f"p{end}"], np.zeros(len(table), bool)
        differing = table[f"{unit}_better"].add(table[f"{unit}_worse"]).where(p.notna())
        for places in families.values():
            _, members, of = np.unique(
                predicted.iloc[places], return_index=True, return_inverse=True
            )
            members = places[members]
            tested[members] = testable(differing.iloc[members])
            table.loc[places, f"comparisons{end}"] = tested[members].sum()
            table.loc[places, f"p_holm{end}"] = holm(p.where(tested).iloc[members])[of]
            tested[places] = tested[members][of]
        side = np.where(table[f"difference{end}"] > 0, BETTER, WORSE)
        verdict = np.where(table[f"p_holm{end}"] < ALPHA, side, UNDECIDED)
        other = {UNKNOWN: p.isna(), EQUAL: equal, TOO_FEW: ~tested}
        table[f"verdict{end}"] = np.select(list(other.values()), list(other), verdict)
        table[f"p{end}"] = p.where(tested)
        table = table.astype({f"comparisons{end}": int})
    return table


def _pair(first: pd.DataFrame, second: pd.DataFrame, where: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `compared`, less what depends on the other rows."""
    seeds = set(first["seed"]) & set(second["seed"])
    both = pd.concat([first.assign(second=0), second.assign(second=1)])
    both = both[both["seed"].isin(seeds)].sort_values("file")
    classes = both.loc[both["label"].astype(str) != "", "label"].unique()
    name = ", ".join(map(str, where.values()))
    files, labels, predicted = by_seed(both, classes, name, ("second", "seed"))
    pair, speakers = np.split(predicted, 2), known_speakers(files["speaker"].fillna(""))
    row = {"files": len(files), "speakers": 0, "seeds": len(seeds), "by_speaker": ""}
    row |= {"predicted": predicted.tobytes()}  # by both, of these files
    row |= {f"{unit}_{side}": 0 for unit in UNITS.values() for side in ("better", "worse")}
    if files.empty:
        return row
    row |= uar_difference(labels, *pair, len(classes))
    shares = recall_shares(labels, pair[1]) - recall_shares(labels, pair[0])
    gains = pd.Series(dtype=float)
    if speakers is not None:
        gains = speaker_gains(labels, *pair, speakers)
        ends = over_speakers(lambda of: gains[of].mean(), gains.index) or (None, None)
        row |= {"speakers": len(gains), "by_speaker": ";".join((100 * gains).map("{:.1f}".format))}
        row |= {"difference_speakers": gains.mean(), "p_speakers": sign_flip(gains)}
        row |= dict(zip(("low_speakers", "high_speakers"), ends, strict=True))
    for unit, values in (("files", shares), ("speakers", gains)):
        row |= {f"{unit}_better": int((values > TINY).sum())}
        row |= {f"{unit}_worse": int((values < -TINY).sum())}
    for end in UNITS:
        points = (f"{name}{end}" for name in ("difference", "low", "high"))
        row |= {name: 100 * row[name] for name in points if row.get(name) is not None}
    return row | {"p": sign_flip(shares)}


def speaker_gains(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, speakers: np.ndarray
) -> pd.Series:
    """Compute by how much each speaker's own UAR is better with the second: fractions by speaker.

    >>> speakers = np.array(["a", "a", "b"])
    >>> speaker_gains(np.array([0, 1, 0]), [0, 0, 1], [0, 1, 1], speakers).to_dict()
    {'a': 0.5, 'b': 0.0}
    """
    gains = pd.Series(share_right(labels, second) - share_right(labels, first))
    return gains.groupby([speakers, labels]).mean().groupby(level=0).mean().round(9)

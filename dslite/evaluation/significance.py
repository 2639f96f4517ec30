"""Tests of configurations: how sure a mean over seeds is, and whether one beats another.

Two configurations are compared on the same files. A configuration trained with several seeds is
judged by the mean over them, never by its best one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.evaluation.metrics import FEWEST, LEVEL, by_seed, share_right

DRAWS = 20_000  # no p is below 2 / (draws + 1): 1,000 would not do for 25 comparisons
DRAWS_PER_COMPARISON = 200  # keeps the smallest p that the correction can give at 0.01
BLOCK = 1000  # draws that are in memory at once
SEED = 0  # of the bootstrap
TINY = 1e-9  # less than any difference there can be, more than rounding
ALPHA = 0.05  # of a verdict, after the correction
# On fewer speakers no test can tell anything: not even if all are on one side, 2 / 2^5 > 0.05.
ENOUGH = 6
BETTER, WORSE, UNDECIDED, UNKNOWN = "better", "worse", "not told apart", "unknown"
AGREE, MIXED = "all speakers agree", "mixed"  # verdicts where nothing is tested
EQUAL = "the same files"  # are recognised: two configurations kept the same network
COLUMNS = {  # of `compared`, behind those that say what is compared
    **{"files": int, "seeds": int},
    **dict.fromkeys(["difference", "low", "high", "low_speakers", "high_speakers"], float),
    **{"unit": str, "units": int, "p": float, "p_holm": float},
    **{"only_baseline": int, "only_this": int, "p_mcnemar": float, "p_mcnemar_holm": float},
    **{"comparisons": int, "verdict": str, "speakers_better": int, "speakers_worse": int},
    "by_speaker": str,
}


def recall_shares(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Compute what each file [n] adds to the UAR of the classes that occur, which is their mean."""
    _, of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (labels == predictions) / counts[of] * (len(labels) / len(counts))


def paired_gain(difference: np.ndarray) -> tuple[float, float]:
    """Compute the mean difference of paired files, float [files], and twice its standard error."""
    difference = np.asarray(difference, dtype=float)
    return float(difference.mean()), 2 * float(difference.std()) / math.sqrt(len(difference))


def uar_difference(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    n_classes: int,
    groups: Sequence[str] | np.ndarray | None = None,
    draws: int | None = None,
) -> dict[str, Any]:
    """Test by a paired bootstrap how much better the second configuration's UAR is.

    Takes arrays as `dslite.evaluation.metrics.bootstrap_interval`; the seeds need not be equally
    many. Returns the ``difference`` (second less first, a fraction), its expanded 95 % percentile
    interval ``low`` and ``high``, a two-sided ``p`` (None with fewer than two units, where nothing
    varies), and the number of files or speakers drawn from, ``units``.

    Notes
    -----
    A draw takes the same files, with replacement, for both configurations and all their seeds.
    A class's recall is linear in each file's share of seeds that recognise it, so the difference
    of the mean UARs needs no more than the differences of these shares.

    ``p`` comes of twice the share of the draws on the other side of 0 or on it, with one more such
    draw added (Davison and Hinkley 1997, 10.1017/CBO9780511802843, 4.2). Draws of few units spread
    too little: what the normal distribution says of them, Student's t says with their number
    (Hesterberg 2015, 10.1080/00031305.2015.1089789, 5.3), for the interval and for p. No exact test
    on the signs of u units that tell the two apart has a p below 2 / 2^u, so this one has none.
    """
    from scipy.stats import norm, t  # here: half a second that a prediction should not wait for

    labels, draws = np.asarray(labels), draws or DRAWS
    difference = share_right(labels, second) - share_right(labels, first)
    every = np.arange(len(labels))
    names, unit = np.unique(every if groups is None else groups, return_inverse=True)
    units = len(names)
    gains, counts = np.zeros((2, units, n_classes))
    np.add.at(gains, (unit, labels), difference.round(12))
    np.add.at(counts, (unit, labels), 1)
    # A sum over seeds may miss 0 by 1e-17, which would make a sign.
    differing = int((np.abs(gains) > TINY).any(axis=1).sum())
    result = {"difference": _mean_recall(gains.sum(axis=0), counts.sum(axis=0))}
    if units < 2:
        return result | {"low": None, "high": None, "p": None, "units": units}
    # Units of the same sums are drawn together.
    cells, equal = np.unique(np.hstack([gains, counts]), axis=0, return_counts=True)
    rng, drawn = np.random.default_rng(SEED), []
    for start in range(0, draws, BLOCK):
        times = rng.multinomial(units, equal / units, size=min(BLOCK, draws - start))
        sums = times @ cells
        drawn.append(_mean_recall(sums[:, :n_classes], sums[:, n_classes:]))
    drawn = np.concatenate(drawn)
    tail = norm.cdf(t.ppf((1 - LEVEL) / 2, units - 1) * np.sqrt(units / (units - 1)))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    beyond = min((drawn <= TINY).sum(), (drawn >= -TINY).sum())
    tail = min(0.5, (beyond + 1) / (draws + 1))
    share = t.cdf(norm.ppf(tail) * np.sqrt((units - 1) / units), units - 1)
    p = min(1, max(2 * share, 2.0 ** (1 - differing)))
    ends = {"low": float(low), "high": float(high)}
    if groups is not None and units < FEWEST:
        ends = {"low": None, "high": None}
    return result | ends | {"p": float(p), "units": units}


def _mean_recall(gains: np.ndarray, counts: np.ndarray) -> Any:
    """Mean over the classes that occur [...] from sums over their files [..., classes]."""
    recalls = np.divide(gains, counts, out=np.zeros(np.shape(gains)), where=counts > 0)
    mean = recalls.sum(axis=-1) / (counts > 0).sum(axis=-1)
    return float(mean) if mean.ndim == 0 else mean


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Test by McNemar (1947, 10.1007/BF02295996) the files that only one of two recognises.

    With several seeds a file counts once, for the configuration that recognises it in the larger
    share of its seeds, and for none where the shares are equal: the sign test. Files of one speaker
    are taken as independent, so p is too small where speakers differ.
    """
    from scipy.stats import binomtest

    labels = np.asarray(labels)
    difference = (share_right(labels, second) - share_right(labels, first)).round(12)
    only_first, only_second = int((difference < 0).sum()), int((difference > 0).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": p}


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
    predictions: pd.DataFrame, varied: str, baseline: str, by: Sequence[str] = ("dataset",)
) -> pd.DataFrame:
    """Compare every configuration with a named one, wherever all else (``by``) is equal.

    Takes one row a file, seed and configuration: the columns ``by``, ``varied`` (the configuration,
    one of which is the ``baseline``), ``seed``, ``file``, ``speaker`` (empty: unknown), ``label``
    (empty: blinded, passed over) and ``prediction``.

    Returns
    -------
    DataFrame
        One row a comparison: ``by``, ``varied``, ``baseline``, the number of ``files`` and of
        ``seeds`` that both have, ``difference`` (points of UAR), 95 % intervals ``low, high`` over
        files and ``low_speakers, high_speakers``; the ``unit`` (speaker where all are known, else
        file) and the ``units`` of ``p``; McNemar's ``only_baseline, only_this`` (files) and
        ``p_mcnemar``; both p as corrected (``_holm``) for the number of ``comparisons``; the
        ``verdict``: `BETTER` or `WORSE` if ``p_holm`` is below `ALPHA`, else `UNDECIDED`, or
        `UNKNOWN` without a label or a seed in common; ``speakers_better, speakers_worse``, whose
        own UAR is, and each one's points (``by_speaker``, joined by ";"). On fewer than `ENOUGH`
        speakers nothing is tested, and the verdict is `AGREE` or `MIXED`; `EQUAL` where both
        recognise the same files.

    Raises an InputError where the baseline is missing or two predict other files or labels.
    """
    keys = list(by)
    configurations = predictions.drop_duplicates([*keys, varied])
    comparisons = int((configurations[varied] != baseline).sum())
    draws = max(DRAWS, DRAWS_PER_COMPARISON * comparisons)
    rows = []
    for key, group in predictions.groupby(keys, sort=False, dropna=False):
        where = dict(zip(keys, key, strict=True))
        parts = dict(list(group.groupby(varied, sort=False)))
        if baseline not in parts:
            shared = ", ".join(map(str, where.values()))
            raise InputError(f"{shared}: no predictions of {varied} {baseline} to compare with")
        for name in parts:
            if name != baseline:
                pair = _pair(parts[baseline], parts[name], where | {varied: name}, draws)
                rows.append(where | {varied: name, "baseline": baseline} | pair)
    table = pd.DataFrame(rows, columns=[*keys, varied, "baseline", *COLUMNS])
    table = table.astype({name: float for name, kind in COLUMNS.items() if kind is float})
    few = (table["unit"] == "speaker") & (table["units"] < ENOUGH)
    for p in ("p", "p_mcnemar"):
        table[p] = table[p].mask(few)
        table[f"{p}_holm"] = holm(table[p])
    table["comparisons"] = int(table["p"].notna().sum())
    side = np.where(table["difference"] > 0, BETTER, WORSE)
    tested = np.where(table["p_holm"] < ALPHA, side, UNDECIDED)
    agree = table[["speakers_better", "speakers_worse"]].max(axis=1) == table["units"]
    equal = table["difference"].notna() & table["only_baseline"].add(table["only_this"]).eq(0)
    verdicts = {EQUAL: equal, AGREE: few & agree, MIXED: few, UNKNOWN: table["p"].isna()}
    return table.assign(verdict=np.select(list(verdicts.values()), list(verdicts), tested))


def _pair(
    first: pd.DataFrame, second: pd.DataFrame, where: Mapping[str, Any], draws: int
) -> dict[str, Any]:
    """One row of `compared`, less what depends on the other rows."""
    seeds = set(first["seed"]) & set(second["seed"])
    both = pd.concat([first.assign(second=0), second.assign(second=1)])
    both = both[both["seed"].isin(seeds)].sort_values("file")
    classes = both.loc[both["label"].astype(str) != "", "label"].unique()
    name = ", ".join(map(str, where.values()))
    files, labels, predicted = by_seed(both, classes, name, ("second", "seed"))
    pair = np.split(predicted, 2)
    row = {"files": len(files), "seeds": len(seeds), "unit": "", "units": 0}
    if files.empty:
        counts = ("only_baseline", "only_this", "speakers_better", "speakers_worse")
        return row | dict.fromkeys(counts, 0) | {"by_speaker": ""}
    n_classes, speakers = len(classes), files["speaker"].fillna("").to_numpy(str)
    tests = {"file": uar_difference(labels, *pair, n_classes, None, draws)}
    if (speakers != "").all():
        tests["speaker"] = uar_difference(labels, *pair, n_classes, speakers, draws)
    unit, test = list(tests.items())[-1]
    row |= {"difference": 100 * test["difference"], "unit": unit, "units": test["units"]}
    for key in ("low", "high"):
        ends = np.array([of.get(key) for of in (tests["file"], tests.get("speaker", {}))], float)
        row |= dict(zip((key, f"{key}_speakers"), 100 * ends, strict=True))
    gains = speaker_gains(labels, *pair, speakers).drop("", errors="ignore")
    row |= {"speakers_better": int((gains > 0).sum()), "speakers_worse": int((gains < 0).sum())}
    row["by_speaker"] = ";".join((100 * gains).map("{:.1f}".format))
    signs = mcnemar(labels, *pair)
    counts = {"only_baseline": signs["only_first"], "only_this": signs["only_second"]}
    return row | {"p": test["p"], **counts, "p_mcnemar": signs["p"]}


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

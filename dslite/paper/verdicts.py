"""The verdict on a published number beside a reproduced one: one rule, and its words."""

import math
from functools import cache
from importlib import resources

import yaml

from dslite.evaluation.metrics import Interval

REPRODUCED, OVERLAPPING, CONTRADICTED = "reproduced", "overlapping", "contradicted"
RESTRICTED = "not run: corpus restricted"
WEIGHTS = "not run: weights unavailable"
ITSELF = "paper contradicts itself"
HARDWARE = "not testable: other hardware"
NOT_RUN = "not run"
SETTING = "a setting"  # chosen by the paper's authors and taken over: nothing to be reproduced
ORDER = (
    *(REPRODUCED, OVERLAPPING, CONTRADICTED, ITSELF),
    *(HARDWARE, WEIGHTS, RESTRICTED, NOT_RUN, SETTING),
)
# Of a run that is not the paper's: the same rule in other words, as it can reproduce nothing
INSIDE_BOTH, INSIDE_OURS, APART = "inside both intervals", "inside our interval", "apart"

BACKBONE, PRESET = "densenet121", "paper"  # of the runs that count as the paper's


@cache
def words(kind: str) -> dict[str, str]:
    """Read the ``letter``, ``symbol``, ``kind``, ``meaning`` or ``sentence`` of every verdict."""
    text = resources.files("dslite.paper").joinpath("verdicts.yaml").read_text("utf-8")
    return {verdict: of.get(kind, verdict) for verdict, of in yaml.safe_load(text).items()}


def rule(
    published: float,
    published_interval: Interval | None,
    ours: float,
    ours_interval: Interval | None,
    decimals: int,
) -> str:
    """Judge a published number by ours, both with or without a 95 % interval.

    Parameters
    ----------
    published, ours : float
        In the published unit.
    published_interval, ours_interval : (low, high) or None
        None for ours where it cannot vary (a count, a size): a span without width.
    decimals : int
        As many as are printed; everything is compared after rounding to them, since what is printed
        is known no better.

    Returns
    -------
    str
        `REPRODUCED` if each number lies in the other's interval (bounds included),
        `OVERLAPPING` if only the intervals have something in common, else `CONTRADICTED`. Where no
        interval is published: `REPRODUCED` if the number lies in ours, else `CONTRADICTED`.

    Raises
    ------
    ValueError
        A number that is not finite, or an interval that ends before it begins.
    """
    printed, reproduced = _rounded((published, ours), decimals)
    low, high = _span(ours_interval or (ours, ours), decimals)
    inside_ours = low <= printed <= high
    if published_interval is None:
        return REPRODUCED if inside_ours else CONTRADICTED
    bottom, top = _span(published_interval, decimals)
    if max(low, bottom) > min(high, top):
        return CONTRADICTED
    return REPRODUCED if inside_ours and bottom <= reproduced <= top else OVERLAPPING


def agreement(
    published: float,
    published_interval: Interval | None,
    ours: float,
    ours_interval: Interval | None,
    decimals: int,
) -> str:
    """Compare by `rule` a run with another backbone or preset, which can reproduce nothing.

    Returns
    -------
    str
        `INSIDE_BOTH`, `OVERLAPPING` or `APART`; where no interval is published `INSIDE_OURS` or
        `APART`.
    """
    words = {
        REPRODUCED: INSIDE_OURS if published_interval is None else INSIDE_BOTH,
        CONTRADICTED: APART,
    }
    verdict = rule(published, published_interval, ours, ours_interval, decimals)
    return words.get(verdict, verdict)


def differences(backbone: str, preset: str, overrides: str, random_weights: bool) -> list[str]:
    """Say what of a run is not as in the paper; ``overrides``: what was changed, in words."""
    words = [f"other backbone ({backbone})"] if backbone != BACKBONE else []
    words += [f"preset {preset or 'none'}"] if preset != PRESET else []
    words += [overrides] if overrides else []
    return words + (["random weights"] if random_weights else [])


def _rounded(values: tuple[float, ...], decimals: int) -> tuple[float, ...]:
    if not all(map(math.isfinite, values)):
        raise ValueError(f"expected finite numbers, found {values}")
    return tuple(round(float(value), decimals) for value in values)


def _span(interval: Interval, decimals: int) -> tuple[float, ...]:
    low, high = interval
    if low > high:
        raise ValueError(f"the interval {low} to {high} ends before it begins")
    return _rounded((low, high), decimals)

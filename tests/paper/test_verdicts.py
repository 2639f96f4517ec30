"""The rule that gives every published number its verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite.paper import verdicts

numbers = st.floats(0, 100)
spans = st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))


THEIRS = (76.6, (72.7, 84.5))


@pytest.mark.parametrize(
    ("published", "ours", "decimals", "verdict"),
    [
        (THEIRS, (75.0, (70.0, 80.0)), 1, verdicts.REPRODUCED),
        (THEIRS, (72.7, (68.0, 76.6)), 1, verdicts.REPRODUCED),  # bounds belong to the intervals
        (THEIRS, (72.66, (68.0, 76.56)), 1, verdicts.REPRODUCED),  # as far as is printed
        (THEIRS, (70.0, (66.0, 78.0)), 1, verdicts.OVERLAPPING),  # ours is outside theirs
        (THEIRS, (74.0, (73.0, 75.0)), 1, verdicts.OVERLAPPING),  # theirs is outside ours
        (THEIRS, (60.0, (55.0, 72.6)), 1, verdicts.CONTRADICTED),
        (THEIRS, (60.0, (55.0, 72.7)), 1, verdicts.OVERLAPPING),
        (THEIRS, (90.0, (85.0, 95.0)), 1, verdicts.CONTRADICTED),
        (THEIRS, (76.6, None), 1, verdicts.REPRODUCED),
        (THEIRS, (76.0, None), 1, verdicts.OVERLAPPING),
        (THEIRS, (90.0, None), 1, verdicts.CONTRADICTED),
        ((84.7, None), (82.0, (80.0, 84.7)), 1, verdicts.REPRODUCED),
        ((84.7, None), (82.0, (70.0, 84.6)), 1, verdicts.CONTRADICTED),
        # No interval at all: equality as printed.
        ((1012, None), (1012, None), 0, verdicts.REPRODUCED),
        ((78.4, None), (78.4167, None), 1, verdicts.REPRODUCED),
        ((4.65, None), (4.644, None), 2, verdicts.CONTRADICTED),
        ((3.1, None), (2.87, None), 1, verdicts.CONTRADICTED),
    ],
)
def test_the_rule(published, ours, decimals, verdict):
    assert verdicts.rule(*published, *ours, decimals) == verdict


@given(numbers, spans, numbers, spans, st.integers(0, 4))
def test_the_rule_knows_no_sides_and_a_wider_interval_makes_no_contradiction(
    published, theirs, ours, own, decimals
):
    verdict = verdicts.rule(published, theirs, ours, own, decimals)
    assert verdict == verdicts.rule(ours, own, published, theirs, decimals)
    wider = verdicts.rule(published, theirs, ours, (own[0] - 5, own[1] + 5), decimals)
    assert verdicts.ORDER.index(wider) <= verdicts.ORDER.index(verdict) < 3


@given(numbers, st.none() | spans, numbers, st.none() | spans)
def test_agreement_is_the_rule_in_other_words(published, theirs, ours, own):
    given_ = (published, theirs, ours, own, 1)
    verdict, said = verdicts.rule(*given_), verdicts.agreement(*given_)
    inside = verdicts.INSIDE_OURS if theirs is None else verdicts.INSIDE_BOTH
    assert (verdict == verdicts.REPRODUCED) == (said == inside)
    assert (verdict == verdicts.CONTRADICTED) == (said == verdicts.APART)
    assert said not in (verdicts.REPRODUCED, verdicts.CONTRADICTED)


@pytest.mark.parametrize(
    "given_",
    [
        (math.nan, None, 1.0, None),
        (1.0, None, math.inf, None),
        (1.0, (0.0, math.nan), 1.0, (0.0, 2.0)),
        (1.0, (0.0, 2.0), 1.0, (2.0, 0.0)),
    ],
)
def test_what_cannot_be_compared_is_refused(given_):
    with pytest.raises(ValueError, match=r"finite|ends before"):
        verdicts.rule(*given_, 1)


def test_differences_are_those_from_the_papers_run():
    assert verdicts.differences(verdicts.BACKBONE, verdicts.PRESET, "", False) == []
    assert verdicts.differences("mobilenet_v2", "", "override units 1 -> 2", True) == [
        "other backbone (mobilenet_v2)",
        "preset none",
        "override units 1 -> 2",
        "random weights",
    ]


def test_every_verdict_has_words_and_a_symbol_of_its_own():
    for kind in ("letter", "symbol", "kind", "meaning", "sentence"):
        assert tuple(verdicts.words(kind)) == verdicts.ORDER
    assert len(set(verdicts.words("symbol").values())) == len(verdicts.ORDER)

"""The rule that gives every published number its verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite.paper import verdicts

numbers = st.floats(0, 100)
spans = st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))


@pytest.mark.parametrize(
    ("ours", "interval", "verdict"),
    [
        (75.0, (70.0, 80.0), verdicts.REPRODUCED),
        (72.7, (68.0, 76.6), verdicts.REPRODUCED),  # the bounds belong to the intervals
        (72.66, (68.0, 76.56), verdicts.REPRODUCED),  # as far as is printed
        (70.0, (66.0, 78.0), verdicts.OVERLAPPING),  # ours is outside theirs
        (74.0, (73.0, 75.0), verdicts.OVERLAPPING),  # theirs is outside ours
        (60.0, (55.0, 72.6), verdicts.CONTRADICTED),
        (60.0, (55.0, 72.7), verdicts.OVERLAPPING),
        (90.0, (85.0, 95.0), verdicts.CONTRADICTED),
        (76.6, None, verdicts.REPRODUCED),
        (76.0, None, verdicts.OVERLAPPING),
        (90.0, None, verdicts.CONTRADICTED),
    ],
)
def test_two_intervals(ours, interval, verdict):
    assert verdicts.rule(76.6, (72.7, 84.5), ours, interval, 1) == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((80.0, 84.7), verdicts.REPRODUCED), ((70.0, 84.6), verdicts.CONTRADICTED)],
)
def test_no_interval_is_published(interval, verdict):
    assert verdicts.rule(84.7, None, 82.0, interval, 1) == verdict


@pytest.mark.parametrize(
    ("published", "ours", "decimals", "verdict"),
    [
        (1012, 1012, 0, verdicts.REPRODUCED),
        (78.4, 78.4167, 1, verdicts.REPRODUCED),
        (4.65, 4.644, 2, verdicts.CONTRADICTED),
        (3.1, 2.87, 1, verdicts.CONTRADICTED),
    ],
)
def test_no_interval_at_all_is_equality_as_printed(published, ours, decimals, verdict):
    assert verdicts.rule(published, None, ours, None, decimals) == verdict


@given(numbers, spans, numbers, spans, st.integers(0, 4))
def test_the_rule_knows_no_sides(published, theirs, ours, own, decimals):
    verdict = verdicts.rule(published, theirs, ours, own, decimals)
    assert verdict == verdicts.rule(ours, own, published, theirs, decimals)


@given(numbers, spans, numbers, spans)
def test_a_wider_interval_of_ours_never_makes_a_contradiction(published, theirs, ours, own):
    ranks = {name: rank for rank, name in enumerate(verdicts.ORDER[:3])}
    wide = (own[0] - 5, own[1] + 5)
    before, after = (verdicts.rule(published, theirs, ours, span, 1) for span in (own, wide))
    assert ranks[after] <= ranks[before]


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

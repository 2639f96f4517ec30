"""The published tables as transcribed, every number with its key, and the rule of its verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite.paper import published

DATASETS = ["ccs", "css", "demos", "ess", "iemocap", "mpssc", "ravdess", "sleep"]


@pytest.fixture(scope="module")
def numbers():
    return published.numbers()


# The transcription


def test_tables_1_and_2_are_complete_and_mark_what_is_assumed():
    one, two = published.table(1).set_index("dataset"), published.table(2)
    assert list(one.index) == DATASETS == list(published.NAMES)
    assert one["files"].tolist() == [725, 893, 9365, 914, 5531, 828, 1012, 16462]
    assert one.loc["ravdess"].tolist() == ["Emotional song", 1012, 6, 23, 78.4, 4.65, 0.4213]
    wide = two.pivot(index="hyperparameter", columns="dataset", values="value")
    assert list(wide.columns) == DATASETS
    assert wide.loc["units"].tolist() == [512, 700, 512, 512, 512, 512, 128, 512]
    assert wide.loc["dropout", ["css", "ravdess"]].tolist() == [0.4, 0.5]
    assert wide.isna().sum().sum() == np.isnan(wide.loc["epochs_phase2", "css"]) == 1
    assumed = two.loc[two["status"] == "assumed", "hyperparameter"]
    assert assumed.value_counts().to_dict() == {"epochs_phase2": 8, "chunk_length_s": 8}


# Every number


def test_every_filled_cell_is_one_number(numbers):
    one, two, five = (published.table(n) for n in (1, 2, 5))
    scores = published.scores()
    expected = {1: one.drop(columns=["dataset", "name"]).size, 2: two["value"].notna().sum()}
    for n in (3, 4):  # four numbers a row, and a corpus's chance level once
        rows = scores[scores["table"] == n]
        expected[n] = 4 * len(rows) + rows["dataset"].nunique()
    expected[5] = five.drop(columns=["quantity", "unit"]).notna().sum().sum()
    assert numbers["table"].value_counts().to_dict() == expected
    assert numbers["key"].is_unique
    assert numbers["value"].notna().all()


def test_keys_say_where_a_number_stands(numbers):
    for row in numbers.itertuples():
        parts = [str(row.table), row.dataset, row.configuration, row.column]
        assert row.key == "/".join(filter(None, parts))
    values = numbers.set_index("key")["value"]
    expected = {"1/sleep/files": 16462, "2/css/units": 700, "4/ravdess/chance": 20}
    expected |= {"3/css/cutmix+specaugment/ci_low": 55.1, "5/mean_time/tflite_phone": 242}
    assert values[list(expected)].to_dict() == expected
    assert not {"2/css/epochs_phase2", "5/flops/preprocessing"} & set(values.index)


def test_intervals_units_and_status_of_numbers(numbers):
    tests = numbers["column"] == "test"
    assert numbers.loc[tests, ["low", "high"]].notna().all(axis=None)
    assert numbers.loc[~tests, ["low", "high"]].isna().all(axis=None)
    by_key = numbers.set_index("key")
    assert by_key.loc["3/ccs/svm/test", ["value", "low", "high"]].tolist() == [64.1, 55.7, 72.8]
    assert by_key.loc["4/mpssc/none/devel", "unit"] == "%"
    assert by_key.loc["5/mean_time/tf_model", "unit"] == "ms"
    assert by_key.loc["2/ccs/chunk_length_s", ["unit", "status"]].tolist() == ["s", "assumed"]
    assert numbers["unit"].notna().all()
    assert set(numbers["status"]) == {"published", "assumed"}
    assumed = numbers[numbers["status"] == "assumed"]
    assert set(assumed.loc[assumed["table"] == 5, "key"]) == published.READ_INTO
    five = published.table(5).set_index("quantity")  # printed once for both devices
    assert five.loc["model_size", "tflite_phone"] == five.loc["model_size", "tflite_cpu"]


# The claims


def test_claims_are_complete_and_about_numbers_that_exist(numbers):
    claims = published.texts("claims")
    expected = ["id", "section", "statement", "value", "unit", "check", "key", "derived"]
    assert list(claims) == expected
    assert claims["id"].is_unique
    assert all(isinstance(value, str) for value in claims.to_numpy().ravel())
    assert not claims[["id", "section", "statement", "check"]].eq("").any(axis=None)
    assert set(claims["key"]) - {""} <= set(numbers["key"])


# The rule that gives a number its verdict

values = st.floats(0, 100)
spans = st.tuples(values, values).map(lambda pair: tuple(sorted(pair)))
THEIRS = (76.6, (72.7, 84.5))


@pytest.mark.parametrize(
    ("printed", "ours", "decimals", "verdict"),
    [
        (THEIRS, (75.0, (70.0, 80.0)), 1, published.REPRODUCED),
        (THEIRS, (72.66, (68.0, 76.56)), 1, published.REPRODUCED),  # bounds belong to it, rounded
        (THEIRS, (70.0, (66.0, 78.0)), 1, published.OVERLAPPING),  # ours is outside theirs
        (THEIRS, (74.0, (73.0, 75.0)), 1, published.OVERLAPPING),  # theirs is outside ours
        (THEIRS, (60.0, (55.0, 72.6)), 1, published.CONTRADICTED),
        (THEIRS, (60.0, (55.0, 72.7)), 1, published.OVERLAPPING),
        (THEIRS, (76.6, None), 1, published.REPRODUCED),
        (THEIRS, (76.0, None), 1, published.OVERLAPPING),
        (THEIRS, (90.0, None), 1, published.CONTRADICTED),
        ((84.7, None), (82.0, (80.0, 84.7)), 1, published.REPRODUCED),
        ((84.7, None), (82.0, (70.0, 84.6)), 1, published.CONTRADICTED),
        # No interval at all: equality as printed.
        ((1012, None), (1012, None), 0, published.REPRODUCED),
        ((78.4, None), (78.4167, None), 1, published.REPRODUCED),
        ((4.65, None), (4.644, None), 2, published.CONTRADICTED),
        ((3.1, None), (2.87, None), 1, published.CONTRADICTED),
    ],
)
def test_the_rule(printed, ours, decimals, verdict):
    assert published.rule(*printed, *ours, decimals) == verdict


@given(values, spans, values, spans, st.integers(0, 4))
def test_the_rule_has_no_sides_and_a_wider_interval_makes_no_contradiction(
    printed, theirs, score, ours, decimals
):
    verdict = published.rule(printed, theirs, score, ours, decimals)
    assert verdict == published.rule(score, ours, printed, theirs, decimals)
    wider = published.rule(printed, theirs, score, (ours[0] - 5, ours[1] + 5), decimals)
    assert published.ORDER.index(wider) <= published.ORDER.index(verdict) < 3


@given(values, st.none() | spans, values, st.none() | spans)
def test_agreement_is_the_rule_in_other_words(printed, theirs, score, ours):
    arguments = (printed, theirs, score, ours, 1)
    verdict, words = published.rule(*arguments), published.agreement(*arguments)
    inside = published.INSIDE_OURS if theirs is None else published.INSIDE_BOTH
    assert (verdict == published.REPRODUCED) == (words == inside)
    assert (verdict == published.CONTRADICTED) == (words == published.APART)
    assert words not in (published.REPRODUCED, published.CONTRADICTED)


def test_differences_are_those_from_the_papers_run():
    assert published.differences(published.BACKBONE, published.PRESET, "", False) == []
    assert published.differences("mobilenet_v2", "", "override units 1 -> 2", True) == [
        "other backbone (mobilenet_v2)",
        "preset none",
        "override units 1 -> 2",
        "random weights",
    ]


def test_every_verdict_has_words_and_a_symbol_of_its_own():
    for kind in ("letter", "symbol", "kind", "meaning", "sentence"):
        assert tuple(published.words(kind)) == published.ORDER
    assert len(set(published.words("symbol").values())) == len(published.ORDER)

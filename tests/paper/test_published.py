"""The published tables as transcribed, every number with its key, and the rule of its verdict."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite import paths
from dslite.errors import InputError
from dslite.paper import published
from dslite.paper.published import NAMES

README = paths.data("paper") / "README.md"
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
        (THEIRS, (75.0, (70.0, 80.0)), 1, published.COMPATIBLE),
        (THEIRS, (72.66, (68.0, 76.56)), 1, published.COMPATIBLE),  # bounds belong to it, rounded
        (THEIRS, (70.0, (66.0, 78.0)), 1, published.OVERLAPPING),  # ours is outside theirs
        (THEIRS, (74.0, (73.0, 75.0)), 1, published.OVERLAPPING),  # theirs is outside ours
        (THEIRS, (60.0, (55.0, 72.6)), 1, published.CONTRADICTED),
        (THEIRS, (60.0, (55.0, 72.7)), 1, published.OVERLAPPING),
        (THEIRS, (76.6, None), 1, published.COMPATIBLE),
        (THEIRS, (76.0, None), 1, published.OVERLAPPING),
        (THEIRS, (90.0, None), 1, published.CONTRADICTED),
        ((84.7, None), (82.0, (80.0, 84.7)), 1, published.COMPATIBLE),
        ((84.7, None), (82.0, (70.0, 84.6)), 1, published.CONTRADICTED),
        # No interval at all: equality as printed.
        ((1012, None), (1012, None), 0, published.EQUAL),
        ((78.4, None), (78.4167, None), 1, published.EQUAL),
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
    assert published.ORDER.index(wider) <= published.ORDER.index(verdict) < 4


@given(values, st.none() | spans, values, st.none() | spans)
def test_agreement_is_the_rule_in_other_words(printed, theirs, score, ours):
    arguments = (printed, theirs, score, ours, 1)
    verdict, words = published.rule(*arguments), published.agreement(*arguments)
    inside = published.INSIDE_OURS if theirs is None else published.INSIDE_BOTH
    assert (verdict in (published.COMPATIBLE, published.EQUAL)) == (words == inside)
    assert (verdict == published.CONTRADICTED) == (words == published.APART)
    assert words not in (published.COMPATIBLE, published.CONTRADICTED)


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


# What it says against itself


@pytest.fixture(scope="module")
def findings():
    return published.findings()


@pytest.fixture
def invented(monkeypatch):
    """Make up scores and claims of a paper; gives its findings by id."""

    def findings_of(scores=(), claims=()):
        columns = ["configuration", "devel", "test", "ci_low", "ci_high"]
        table = pd.DataFrame(scores, columns=columns).assign(dataset="ccs", table=3, chance=50.0)
        texts = pd.DataFrame(claims, columns=["id", "value", "unit", "check", "key"])
        texts = texts.assign(section="3", statement="so it is", derived="")
        nothing = published.texts("contradictions").iloc[:0]
        monkeypatch.setattr(published, "scores", lambda: table)
        tables = {"claims": texts, "contradictions": nothing}
        monkeypatch.setattr(published, "texts", tables.get)
        return published.findings().set_index("id")

    return findings_of


def test_findings_are_of_every_row_and_have_unique_ids_and_existing_keys(findings):
    assert findings["id"].is_unique
    assert list(findings.columns) == published.FINDING
    assert findings["holds"].dtype == bool
    keys = {key for joined in findings["keys"] for key in joined.split(";")} - {""}
    assert keys < set(published.numbers()["key"])
    assert findings.loc[findings["holds"], ["keys", "grade"]].eq("").all(axis=None)
    assert findings.loc[~findings["holds"], "grade"].isin(published.GRADES).all()
    assert not findings[["place", "printed", "derived", "explanation"]].eq("").any(axis=None)
    kinds = findings["id"].str.split("-").str[0].value_counts()
    assert kinds["centre"] == len(published.scores())
    assert set(kinds[["duration", "chance"]]) == {len(NAMES)}


def test_contradictions_are_counted_as_facts_and_graded(findings):
    wrong = findings[~findings["holds"]].set_index("id")
    expected = {
        # the score is borne out by 3.5
        "centre-3-css-cutmix+specaugment": "3/css/cutmix+specaugment/ci_low;"
        "3/css/cutmix+specaugment/ci_high",
        "chance-ravdess": "4/ravdess/chance",  # the six classes were counted
        "ravdess-classes": "",
        "demos-speakers": "1/demos/speakers",
        "duration-ccs": "1/ccs/minutes;1/ccs/mean_s",
        "chosen-on-devel": "",
    }
    assert wrong.loc[list(expected), "keys"].to_dict() == expected
    off = ("3-css-cutmix+specaugment", "3-iemocap-none", "4-ravdess-none")
    assert {name for name in wrong.index if name.startswith("centre-")} == {
        f"centre-{row}" for row in off
    }
    copy = wrong.loc["centre-3-css-cutmix+specaugment", "explanation"]
    assert copy.endswith("It is a copy of no augmentation's (61.2 %).")
    choice = wrong.loc["chosen-on-devel", "explanation"]
    assert "RAVDESS (no augmentation: 76.6 % instead of 81.3)" in choice
    assumed = wrong.index[wrong["grade"] == published.READING]
    assert {"abstract-latency", "figure2-frequency"} <= set(assumed)
    assert published.counted(findings) == (
        "The paper contradicts itself in 19 places: 9 by arithmetic, 6 by wording, "
        "4 by our reading."
    )


def test_the_readme_names_the_place_of_every_failing_finding(findings):
    mistakes = README.read_text("utf-8").partition("## Known mistakes")[2]
    for row in findings[~findings["holds"]].itertuples():
        head, *rest = row.place.split(", ")
        corpora = [name for name in NAMES.values() if name in rest]
        assert all(part in mistakes for part in [head.split(" and ")[0], *corpora]), row.place


# The claims


def test_every_claim_has_an_outcome(findings):
    checked = published.claims_checked(findings).set_index("id")
    plain = {published.HOLDS, published.FAILS, published.NO_RESULT}
    other = checked.loc[~checked["outcome"].isin(plain), "outcome"]
    assert other.str.match(r"not testable here: \w+").all()
    decided = checked["outcome"].isin([published.HOLDS, published.FAILS])
    assert checked.loc[decided, "derived"].ne("").all()
    assert checked.loc[~decided, "derived"].eq("").all()
    counts = checked["outcome"].value_counts()
    assert counts[[published.HOLDS, published.FAILS, published.NO_RESULT]].tolist() == [
        *(58, 13, 26)
    ]

    wrong = "augmentation-every small-corpora snore-year-caption figure2-time figure2-frequency "
    wrong += "ravdess-classes demos-speakers chance-ravdess row-chunk_length_s row-epochs_phase2 "
    wrong += "abstract-latency chosen-on-devel flops"
    assert set(checked.index[checked["outcome"] == published.FAILS]) == set(wrong.split())


def test_a_claim_that_nothing_decides_is_an_error(invented):
    with pytest.raises(InputError, match=r"claims\.csv: nothing decides claim 'moon'"):
        invented(claims=[("moon", "1", "", "computed: somehow", "")])


# The rules on made-up tables


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        (("725", "files", "compared with Table 1", "1/ccs/files"), True),
        (("726", "files", "compared with Table 1", "1/ccs/files"), False),
        (("150.0", "kB", "compared with Table 5", "5/model_size/preprocessing"), True),
        (("150.0", "MB", "compared with Table 5", "5/model_size/preprocessing"), False),
        (("2.3", "s", "compared with Table 1", "1/ccs/std_s"), True),  # printed as 2.2679
        (("2.2", "s", "compared with Table 1", "1/ccs/std_s"), False),
    ],
)
def test_what_the_text_repeats(invented, claim, holds):
    row = invented(claims=[("one", *claim)]).loc["one"]
    assert row["holds"] == holds
    assert row["keys"] == ("" if holds else claim[-1])


def test_a_percentile_bootstrap_is_centred_on_its_score_and_a_copy_is_not(invented, rng):
    """Also of few files: the smallest class has 16, and one in ten of them is recognised."""
    files, recall = np.array([16, 27, 60, 160]), np.array([0.1, 0.4, 0.5, 0.7])
    right = np.round(files * recall) / files
    draws = rng.binomial(files, right, size=(1000, 4)) / files
    low, high = 100 * np.percentile(draws.mean(axis=1), [2.5, 97.5])
    score = 100 * right.mean()
    rows = invented([("none", 50, score, low, high), ("cutmix", 50, score + 5, low, high)])
    assert rows.loc["centre-3-ccs-none", "holds"]
    copy = rows.loc["centre-3-ccs-cutmix"]
    assert not copy["holds"]
    assert "a copy of no augmentation's" in copy["explanation"]
    # Two scores that hardly differ may have one interval when rounded.
    rows = invented([("none", 50, score, low, high), ("cutmix", 50, score + 0.1, low, high)])
    assert rows.loc[rows.index.str.startswith("centre-"), "holds"].all()

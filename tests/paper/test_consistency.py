"""What the published tables and claims say of each other, and the same rules on made-up ones."""

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.paper import consistency, published
from dslite.paper.published import NAMES

README = paths.data("paper") / "README.md"
METHODS = ["cutmix", "specaugment", "cutmix+specaugment"]


@pytest.fixture(scope="module")
def findings():
    return consistency.findings()


@pytest.fixture(scope="module")
def checked(findings):
    return consistency.claims_checked(findings).set_index("id")


@pytest.fixture
def printed(monkeypatch):
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
        return consistency.findings().set_index("id")

    return findings_of


# All findings


def test_findings_are_of_every_row_and_have_unique_ids_and_existing_keys(findings):
    assert findings["id"].is_unique
    assert list(findings.columns) == consistency.COLUMNS
    assert findings["holds"].dtype == bool
    keys = {key for joined in findings["keys"] for key in joined.split(";")} - {""}
    assert keys < set(published.numbers()["key"])
    assert findings.loc[findings["holds"], ["keys", "grade"]].eq("").all(axis=None)
    assert findings.loc[~findings["holds"], "grade"].isin(consistency.GRADES).all()
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
    assumed = wrong.index[wrong["grade"] == consistency.READING]
    assert {"abstract-latency", "figure2-frequency"} <= set(assumed)
    assert consistency.counted(findings) == (
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


def test_every_claim_has_an_outcome(checked):
    plain = {consistency.HOLDS, consistency.FAILS, consistency.SETTING}
    other = checked.loc[~checked["outcome"].isin(plain), "outcome"]
    assert other.str.match(r"not testable here: \w+").all()
    decided = checked["outcome"].isin([consistency.HOLDS, consistency.FAILS])
    assert checked.loc[decided, "derived"].ne("").all()
    assert checked.loc[~decided, "derived"].eq("").all()
    counts = checked["outcome"].value_counts()
    assert counts[[consistency.HOLDS, consistency.FAILS, consistency.SETTING]].tolist() == [
        *(58, 13, 26)
    ]

    wrong = "augmentation-every small-corpora snore-year-caption figure2-time figure2-frequency "
    wrong += "ravdess-classes demos-speakers chance-ravdess row-chunk_length_s row-epochs_phase2 "
    wrong += "abstract-latency chosen-on-devel flops"
    assert set(checked.index[checked["outcome"] == consistency.FAILS]) == set(wrong.split())


def test_a_claim_that_nothing_decides_is_an_error(printed):
    with pytest.raises(InputError, match=r"claims\.csv: nothing decides claim 'moon'"):
        printed(claims=[("moon", "1", "", "computed: somehow", "")])


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
def test_what_the_text_repeats(printed, claim, holds):
    row = printed(claims=[("one", *claim)]).loc["one"]
    assert row["holds"] == holds
    assert row["keys"] == ("" if holds else claim[-1])


def test_a_percentile_bootstrap_is_centred_on_its_score_and_a_copy_is_not(printed, rng):
    """Also of few files: the smallest class has 16, and one in ten of them is recognised."""
    files, recall = np.array([16, 27, 60, 160]), np.array([0.1, 0.4, 0.5, 0.7])
    right = np.round(files * recall) / files
    draws = rng.binomial(files, right, size=(1000, 4)) / files
    low, high = 100 * np.percentile(draws.mean(axis=1), [2.5, 97.5])
    score = 100 * right.mean()
    rows = printed([("none", 50, score, low, high), ("cutmix", 50, score + 5, low, high)])
    assert rows.loc["centre-3-ccs-none", "holds"]
    copy = rows.loc["centre-3-ccs-cutmix"]
    assert not copy["holds"]
    assert "a copy of no augmentation's" in copy["explanation"]
    # Two scores that hardly differ may have one interval when rounded.
    rows = printed([("none", 50, score, low, high), ("cutmix", 50, score + 0.1, low, high)])
    assert rows.loc[rows.index.str.startswith("centre-"), "holds"].all()

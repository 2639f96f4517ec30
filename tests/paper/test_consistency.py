"""What the published tables and claims say of each other, and the same rules on made-up ones."""

import re

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
    """Scores and claims of a made-up paper; gives what is found in them by id."""

    def found_in(scores=(), claims=()):
        columns = ["configuration", "devel", "test", "ci_low", "ci_high"]
        table = pd.DataFrame(scores, columns=columns).assign(dataset="ccs", table=3, chance=50.0)
        texts = pd.DataFrame(claims, columns=["id", "value", "unit", "check", "key"])
        texts = texts.assign(section="3", statement="so it is", derived="")
        nothing = published.texts("contradictions").iloc[:0]
        monkeypatch.setattr(published, "scores", lambda: table)
        tables = {"claims": texts, "contradictions": nothing}
        monkeypatch.setattr(published, "texts", tables.get)
        return consistency.findings().set_index("id")

    return found_in


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
        "The paper contradicts itself in 19 places, listed below: 9 by arithmetic, 6 by wording, "
        "4 by our reading."
    )


def test_the_readme_names_the_place_of_every_failing_finding(findings):
    mistakes = README.read_text("utf-8").partition("## Known mistakes")[2]
    for row in findings[~findings["holds"]].itertuples():
        head, *rest = row.place.split(", ")
        corpora = [name for name in NAMES.values() if name in rest]
        assert all(part in mistakes for part in [head.split(" and ")[0], *corpora]), row.place


# What is derived in claims.csv and contradictions.csv, once more from the tables


def derived_numbers():
    """Numbers by the id of what they were derived for, from Tables 1 to 5 and printed values."""
    test = published.scores().pivot(index="dataset", columns="configuration", values="test")
    best, none = test.drop(columns="svm").max(axis=1), test["none"]
    files = published.table(1).set_index("dataset")["files"]
    time, _, _, memory, size = published.table(5).drop(columns=["quantity", "unit"]).to_numpy()
    claims = published.texts("claims").set_index("id")["value"]
    gain = 100 * (test[METHODS].max(axis=1) / none - 1)
    small = claims["small-corpora"].split()
    rest = gain.index.difference(small)
    sensitivity, specificity = float(claims["css-sensitivity"]), float(claims["css-specificity"])
    both = test["cutmix+specaugment"] > test[["cutmix", "specaugment"]].max(axis=1)
    scores = published.scores()
    outside = (scores["devel"] < scores["ci_low"]) | (scores["devel"] > scores["ci_high"])
    lag = [time[0], time[3], time[0] + time[3]]
    rivals = test["svm"].dropna()
    beaten = test.loc[rivals.index].drop(columns="svm").min(axis=1) > rivals
    numbers = {
        f"improvement-{name}": [best[name], base, 100 * (best[name] / base - 1)]
        for name, base in [*rivals.items(), ("mpssc", none["mpssc"])]
    }
    assert gain.idxmax() == claims["largest-gain"] == "mpssc"
    assert round(gain.rank().corr(files.rank()), 2) == 0.19
    return numbers | {
        "corpora": [len(files)],
        "configurations": [test.drop(columns="svm").shape[1]],
        "outperforms": [beaten.sum(), len(rivals)],
        "augmentation-best": [(gain > 0).sum(), len(gain)],
        "augmentation-every": [(test[METHODS].min(axis=1) > none).sum(), len(gain)],
        "largest-gain": [gain.max()],
        "small-corpora": [gain[small].median(), gain[rest].median()],
        "fusion-superior": [both.sum(), len(both)],
        "size-factor": [size[1], size[2], size[1] / size[2]],
        "more-memory": [memory[2], memory[1]],
        "time-difference": [time[1], time[2], time[1] - time[2]],
        "css-specificity": [specificity, sensitivity, specificity - sensitivity],
        "css-sensitivity": [sensitivity, specificity, 2, (sensitivity + specificity) / 2],
        "ccs-confusion": [100 - best["ccs"], 100 - best["css"]],
        "devel-test-gap": [outside.sum(), len(scores)],
        **dict.fromkeys(["quarter-second", "real-time", "abstract-latency"], lag),
        **{f"{name}-sexes": [*map(int, claims[f"{name}-sexes"].split("+")),
                             int(claims[f"{name}-speakers"])] for name in ("demos", "sleep")},
        "figure2-time": [max(map(float, claims["row-chunk_length_s"].split())), 2],
        "figure2-frequency": [0, 1000 * float(claims["sample-rate"]) / 2],
        "snore-year-caption": [int(claims["snore-year-text"]), 3.1],
        **{f"row-{name}": [len(files)] for name in ("epochs_phase2", "chunk_length_s")},
    }  # fmt: skip


def test_what_is_derived_in_the_files_follows_from_the_tables(findings):
    numbers = derived_numbers()
    claims, wrong = (published.texts(name) for name in ("claims", "contradictions"))
    texts = pd.concat([claims[claims["derived"] != ""], wrong]).set_index("id")["derived"]
    # Sizes of the network: data/paper/README.md
    sizes = {"parameters", "flops", "tf-size", "tflite-size"}
    assert set(texts.index) == set(numbers) | sizes
    for name, expected in numbers.items():
        words = re.findall(r"(?<![\d.])[-+]?\d+(?:\.\d+)?", texts[name].replace("3.1.5", "3.1"))
        decimals = [len(word.partition(".")[2]) for word in words]
        rounded = [round(float(x), n) for x, n in zip(expected, decimals, strict=True)]
        assert [float(word) for word in words] == pytest.approx(rounded), name
    # What holds for each printed value within the rounding of both scores
    for name in [name for name in numbers if name.startswith("improvement-")]:
        best, base, _ = numbers[name]
        low, high = (100 * ((best + s * 0.05) / (base - s * 0.05) - 1) for s in (-1, 1))
        assert low - 0.05 <= float(claims.set_index("id").loc[name, "value"]) <= high + 0.05
    assert not set(wrong["id"]) & set(findings.loc[findings["holds"], "id"])


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


def test_no_verdict_depends_on_the_very_bound_of_the_centre():
    scores = published.scores()
    off = (scores["ci_low"] + scores["ci_high"] - 2 * scores["test"]).abs()
    off /= scores["ci_high"] - scores["ci_low"]
    assert not off.between(0.5 * consistency.CENTRED, 1.3 * consistency.CENTRED).any()

"""What the published tables and claims say of each other, and the same checks on made-up ones."""

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.paper import consistency, published

README = paths.published() / "README.md"
BARE = (0, 0, 0)  # a layer without numbers


@pytest.fixture(scope="module")
def found():
    return consistency.findings()


@pytest.fixture(scope="module")
def checked(found):
    return consistency.claims_checked(found).set_index("id")


def scores(*rows, dataset="ccs"):
    """Rows of (configuration, devel, test, ci_low, ci_high), chance 50."""
    columns = ["configuration", "devel", "test", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns).assign(dataset=dataset, table=3, chance=50.0)


def claims(*rows):
    """Rows of (id, value, unit, check, key)."""
    frame = pd.DataFrame(rows, columns=["id", "value", "unit", "check", "key"])
    return frame.assign(section="3", statement="said")


def held(rows):
    return {row["id"]: row["holds"] for row in rows}


# All findings


def test_findings_are_of_every_row_and_have_unique_ids_and_existing_keys(found):
    assert found["id"].is_unique
    assert list(found.columns) == consistency.COLUMNS
    assert found["holds"].dtype == bool
    keys = {key for joined in found["keys"] for key in joined.split(";")} - {""}
    assert keys < set(published.numbers()["key"])
    assert found.loc[found["holds"], "keys"].eq("").all()
    assert not found[["place", "printed", "derived", "explanation"]].eq("").any(axis=None)
    kinds = found["id"].str.split("-").str[0].value_counts()
    assert kinds["inside"] == kinds["centre"] == len(published.scores())
    assert set(kinds[["duration", "chance", "layers", "selection"]]) == {len(published.NAMES)}
    assert kinds["row"] == published.table(2)["hyperparameter"].nunique()


def test_known_contradictions_are_found(found):
    wrong = found[~found["holds"]].set_index("id")["keys"]
    copied = "3/css/cutmix+specaugment/ci_low;3/css/cutmix+specaugment/ci_high"
    expected = {
        "repeats-3-css-none-cutmix+specaugment": copied,
        "centre-3-css-cutmix+specaugment": copied,  # the score is borne out by 3.5
        "chance-ravdess": "4/ravdess/chance",  # the six classes were counted
        "ravdess-classes": "",
        "demos-speakers": "1/demos/speakers",
        "duration-ccs": "1/ccs/minutes;1/ccs/mean_s",
    }
    assert wrong[list(expected)].to_dict() == expected
    off = ("3-css-cutmix+specaugment", "3-iemocap-none", "4-ravdess-none")
    assert {name for name in wrong.index if name.startswith("centre-")} == {
        f"centre-{row}" for row in off
    }


def test_no_verdict_depends_on_the_very_bound_of_the_centre():
    off = published.scores().apply(consistency._off_centre, axis=1).abs()
    assert not off.between(0.5 * consistency.CENTRED, 1.3 * consistency.CENTRED).any()


def test_a_percentile_bootstrap_is_centred_on_its_score(rng):
    """Also of few files: the smallest class has 16, and one in ten of them is recognised."""
    files, recall = np.array([16, 27, 60, 160]), np.array([0.1, 0.4, 0.5, 0.7])
    right = np.round(files * recall) / files
    draws = rng.binomial(files, right, size=(1000, 4)) / files
    low, high = 100 * np.percentile(draws.mean(axis=1), [2.5, 97.5])
    (row,) = consistency.centres(scores(("none", 50.0, 100 * right.mean(), low, high)))
    assert row["holds"]


def test_the_readme_names_the_place_of_every_failing_finding(found):
    known = README.read_text("utf-8").partition("## Known mistakes")[2]
    for row in found[~found["holds"]].itertuples():
        head, *rest = row.place.split(", ")
        corpora = [name for name in published.NAMES.values() if name in rest]
        assert all(part in known for part in [head.split(" and ")[0], *corpora]), row.place


# The claims


def test_every_claim_has_an_outcome(checked):
    plain = {consistency.HOLDS, consistency.FAILS, consistency.SETTING}
    other = checked.loc[~checked["outcome"].isin(plain), "outcome"]
    assert other.str.match(r"not testable here: \w+").all()
    assert set(checked["outcome"]) >= plain
    decided = checked["outcome"].isin([consistency.HOLDS, consistency.FAILS])
    assert checked.loc[decided, "derived"].ne("").all()
    assert checked.loc[~decided, "derived"].eq("").all()


CLAIMS = {
    consistency.HOLDS: (
        "improvement-ccs improvement-css improvement-ess improvement-iemocap improvement-mpssc "
        "fusion-superior augmentation-best css-sensitivity time-difference size-factor "
        "more-memory quarter-second"
    ),
    consistency.FAILS: (
        "augmentation-every small-corpora snore-year-caption figure2-time figure2-frequency "
        "ravdess-classes row-chunk_length_s abstract-latency flops"
    ),
}


@pytest.mark.parametrize("outcome", CLAIMS)
def test_claims_that_hold_and_others(checked, outcome):
    outcomes = checked.loc[CLAIMS[outcome].split(), "outcome"]
    assert outcomes[outcomes != outcome].empty


def test_a_claim_that_nothing_decides_is_an_error(monkeypatch):
    more = pd.concat(
        [published.texts("claims"), claims(("moon", "1", "", "computed: somehow", ""))]
    )
    monkeypatch.setattr(published, "texts", lambda name: more)
    with pytest.raises(InputError, match=r"claims\.csv: no finding decides claim 'moon'"):
        consistency.claims_checked(consistency.findings())


# Every kind of check on made-up tables


@pytest.mark.parametrize(
    ("text", "low", "high", "expected"),
    [
        *[("16.1", 16.14, 16.14, True), ("16.1", 16.2, 16.3, False), ("2.7", 2.76, 2.8, False)],
        *[("2.7", 2.74, 2.8, True), ("7", 7.4, 7.4, True), ("7", 7.6, 9, False), ("5", 4, 6, True)],
    ],
)
def test_meets_is_rounding(text, low, high, expected):
    assert consistency.meets(text, low, high) is expected


def test_repeats():
    own = [("none", 60.0, 60.0, 55.0, 65.0), ("cutmix", 60.0, 64.0, 59.0, 69.0)]
    (copied,) = consistency.repeats(scores(*own, ("specaugment", 60.0, 68.5, 59.0, 69.0)))
    assert copied["keys"] == "3/ccs/specaugment/ci_low;3/ccs/specaugment/ci_high"
    assert not copied["holds"]
    (alike,) = consistency.repeats(scores(*own, ("specaugment", 60.0, 64.1, 59.0, 69.0)))
    assert alike["holds"]
    # Two corpora may have one interval: they share no test file.
    both = consistency.repeats(pd.concat([scores(*own), scores(*own, dataset="css")]))
    assert [row["holds"] for row in both] == [True, True]


def test_compared():
    said = claims(
        ("same", "725", "files", "compared with Table 1", "1/ccs/files"),
        ("other", "726", "files", "compared with Table 1", "1/ccs/files"),
        ("unit", "150.0", "kB", "compared with Table 5", "5/model_size/preprocessing"),
        ("wrong unit", "150.0", "MB", "compared with Table 5", "5/model_size/preprocessing"),
        ("not compared", "1", "files", "a setting: no", ""),
    )
    rows = consistency.compared(said, published.numbers())
    assert held(rows) == {"same": True, "other": False, "unit": True, "wrong unit": False}
    assert rows[1]["keys"] == "1/ccs/files"


@pytest.mark.parametrize(
    ("cell", "value", "name", "holds"),
    [
        ("parameters tf_model", 9.9, "parameters", False),
        ("flops tf_model", 5.7, "flops", True),
        ("model_size tf_model", 30.3, "tf-size", False),
        ("model_size tflite_cpu", 7.6, "tflite-size", False),
    ],
)
def test_network_sizes(cell, value, name, holds):
    one, two, five = (published.table(n) for n in (1, 2, 5))
    changed = five.set_index("quantity")
    changed.loc[tuple(cell.split())] = value
    before, after = (
        held(consistency.network_sizes(one, two, t))[name] for t in (five, changed.reset_index())
    )
    assert (before, after) == (not holds, holds)


# What is known of DenseNet121


def densenet121():
    """Layers in Keras' order: trained numbers, other numbers, multiply-adds.

    From Table 1 of Huang et al. 2017; a normalised channel has four numbers, two of them trained.
    """

    def norm(channels):
        return [(2 * channels, 2 * channels, 0), BARE]  # and its ReLU

    def conv(size, inputs, outputs, side):
        numbers = size**2 * inputs * outputs
        return [(numbers, 0, side**2 * numbers)]

    channels, side = 64, 56
    layers = [BARE] * 2 + conv(7, 3, channels, 112) + norm(channels) + [BARE] * 2
    for n in (6, 12, 24, 16):
        for _ in range(n):
            layers += norm(channels) + conv(1, channels, 128, side)
            layers += [*norm(128), *conv(3, 128, 32, side), BARE]
            channels += 32
        layers += norm(channels)  # the last one is the network's own
        if side > 7:
            layers += [*conv(1, channels, channels // 2, side), BARE]
            channels, side = channels // 2, side // 2
    return np.array(layers)


def test_counts_of_densenet121():
    trained, other, adds = densenet121().T
    assert len(trained) == consistency.LAYERS
    assert trained.sum() + other.sum() == consistency.BACKBONE
    assert other.sum() // 2 == consistency.NORMALISED
    assert adds.sum() == consistency.MULTIPLY_ADDS
    counts = published.table(2).query("hyperparameter == 'fine_tuned_layers'")["value"].astype(int)
    last = {n: trained[len(trained) - n :].sum() for n in counts}
    assert (last, {n: trained[n:].sum() for n in counts}) == (consistency.LAST, consistency.REST)

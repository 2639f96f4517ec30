"""What the published tables and claims say of each other, and the same checks on made-up ones."""

import numpy as np
import pandas as pd
import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.paper import consistency, published

README = paths.published() / "README.md"


@pytest.fixture(scope="module")
def found():
    return consistency.findings()


@pytest.fixture(scope="module")
def checked(found):
    return consistency.claims_checked(found).set_index("id")


def scores(*rows, dataset="ccs", table=3):
    """Rows of (configuration, devel, test, ci_low, ci_high), chance 50."""
    columns = ["configuration", "devel", "test", "ci_low", "ci_high"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(dataset=dataset, table=table, chance=50.0)


def block(dataset, svm=np.nan, none=60.0, cutmix=61.0, specaugment=62.0, both=63.0):
    """The test scores of one corpus, each 5 off the ends of its interval; devel is the same."""
    kinds = zip(published.CONFIGURATIONS, (svm, none, cutmix, specaugment, both), strict=True)
    rows = [(kind, test, test, test - 5, test + 5) for kind, test in kinds if not np.isnan(test)]
    return scores(*rows, dataset=dataset)


def claims(*rows):
    """Rows of (id, value) or (id, value, unit, check, key)."""
    columns = ["id", "value", "unit", "check", "key"]
    frame = pd.DataFrame([[*row, *[""] * (5 - len(row))] for row in rows], columns=columns)
    return frame.assign(section="3", statement="said")


def held(rows):
    return {row["id"]: row["holds"] for row in rows}


# All findings


def test_findings_have_unique_ids_and_existing_keys(found):
    assert found["id"].is_unique
    assert list(found.columns) == consistency.COLUMNS
    assert found["holds"].dtype == bool
    keys = {key for joined in found["keys"] for key in joined.split(";")} - {""}
    assert keys <= set(published.numbers()["key"])
    assert keys
    assert found.loc[found["holds"], "keys"].eq("").all()
    assert not found[["place", "printed", "derived", "explanation"]].eq("").any(axis=None)


def test_every_row_of_the_tables_is_looked_at(found):
    kinds = found["id"].str.split("-").str[0].value_counts()
    rows = len(published.scores())
    assert kinds["inside"] == kinds["centre"] == rows
    assert kinds["duration"] == kinds["chance"] == len(published.NAMES)
    assert kinds["layers"] == len(published.NAMES)
    assert kinds["selection"] == len(published.NAMES)
    assert kinds["row"] == published.table(2)["hyperparameter"].nunique()


def test_known_contradictions_are_found(found):
    wrong = found[~found["holds"]].set_index("id")["keys"]
    copied = "3/css/cutmix+specaugment/ci_low;3/css/cutmix+specaugment/ci_high"
    assert wrong["repeats-3-css-none-cutmix+specaugment"] == copied
    assert wrong["centre-3-css-cutmix+specaugment"] == copied  # the score is borne out by 3.5
    assert wrong["chance-ravdess"] == "4/ravdess/chance"  # the six classes were counted
    assert wrong["ravdess-classes"] == ""
    assert wrong["demos-speakers"] == "1/demos/speakers"
    assert wrong["duration-ccs"] == "1/ccs/minutes;1/ccs/mean_s"
    centres = {name for name in wrong.index if name.startswith("centre-")}
    off = ("3-css-cutmix+specaugment", "3-iemocap-none", "4-ravdess-none")
    assert centres == {f"centre-{row}" for row in off}


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


@pytest.mark.parametrize(
    "name",
    [
        *(f"improvement-{dataset}" for dataset in ("ccs", "css", "ess", "iemocap", "mpssc")),
        *("fusion-superior", "augmentation-best", "css-sensitivity"),
        *("time-difference", "size-factor", "more-memory", "quarter-second"),
    ],
)
def test_claims_that_hold(checked, name):
    assert checked.loc[name, "outcome"] == consistency.HOLDS


@pytest.mark.parametrize(
    "name",
    [
        *("augmentation-every", "small-corpora", "snore-year-caption", "figure2-time"),
        *("figure2-frequency", "ravdess-classes", "row-chunk_length_s"),
        *("abstract-latency", "flops"),
    ],
)
def test_claims_that_do_not_hold(checked, name):
    assert checked.loc[name, "outcome"] == consistency.FAILS


def test_a_claim_that_nothing_decides_is_an_error(monkeypatch):
    more = pd.concat([published.claims(), claims(("moon", "1", "", "computed: somehow"))])
    monkeypatch.setattr(published, "claims", lambda: more)
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
    (none,) = consistency.repeats(scores(*own))
    assert none["holds"]
    copied = consistency.repeats(scores(*own, ("specaugment", 60.0, 68.5, 59.0, 69.0)))
    assert [(row["holds"], row["keys"]) for row in copied] == [
        (False, "3/ccs/specaugment/ci_low;3/ccs/specaugment/ci_high")
    ]
    (alike,) = consistency.repeats(scores(*own, ("specaugment", 60.0, 64.1, 59.0, 69.0)))
    assert alike["holds"]
    # Two corpora may have one interval: they share no test file.
    assert all(held(consistency.repeats(pd.concat([block("ccs"), block("css")]))).values())


def test_compared():
    numbers = pd.DataFrame(
        [
            {"key": "1/ccs/files", "table": 1, "dataset": "ccs", "value": 725.0},
            {"key": "5/model_size/preprocessing", "table": 5, "dataset": "", "value": 0.15},
        ]
    )
    said = claims(
        ("same", "725", "files", "compared with Table 1", "1/ccs/files"),
        ("other", "726", "files", "compared with Table 1", "1/ccs/files"),
        ("unit", "150.0", "kB", "compared with Table 5", "5/model_size/preprocessing"),
        ("wrong unit", "150.0", "MB", "compared with Table 5", "5/model_size/preprocessing"),
        ("not compared", "1", "files", "a setting: no", ""),
    )
    rows = consistency.compared(said, numbers)
    assert held(rows) == {"same": True, "other": False, "unit": True, "wrong unit": False}
    assert rows[1]["keys"] == "1/ccs/files"


def device(**changes):
    """The published Table 5 with other values, ``quantity__column=value``."""
    table = published.table(5).set_index("quantity")
    for name, value in changes.items():
        table.loc[tuple(name.split("__"))] = value
    return table.reset_index()


@pytest.mark.parametrize(
    ("change", "name", "holds"),
    [
        ({"parameters__tf_model": 9.9}, "parameters", False),
        ({"flops__tf_model": 5.7}, "flops", True),
        ({"model_size__tf_model": 30.3}, "tf-size", False),
        ({"model_size__tflite_cpu": 7.6}, "tflite-size", False),
    ],
)
def test_network_sizes(change, name, holds):
    one, two = published.table(1), published.table(2)
    before, after = (
        held(consistency.network_sizes(one, two, t)) for t in (device(), device(**change))
    )
    assert after[name] == holds
    assert before[name] != holds


# What is known of DenseNet121


def densenet121():
    """Layers in Keras' order: name, shapes of arrays by name, side of the output in pixels.

    From Table 1 of Huang et al. 2017; a normalised channel has four numbers, two of them trained.
    """

    def norm(name, channels):
        arrays = ("gamma", "beta", "moving_mean", "moving_variance")
        return [(name, dict.fromkeys(arrays, (channels,)), 0)]

    def conv(name, *shape, side):
        return [(name, {"kernel": shape}, side)]

    def bare(*names):
        return [(name, {}, 0) for name in names]

    layers = bare("input", "pad1") + conv("conv1", 7, 7, 3, 64, side=112) + norm("bn1", 64)
    layers += bare("relu1", "pad2", "pool1")
    channels, side = 64, 56
    for block, n in enumerate((6, 12, 24, 16), start=2):
        for i in range(n):
            name = f"conv{block}_block{i}"
            layers += norm(f"{name}_bn0", channels) + bare(f"{name}_relu0")
            layers += conv(f"{name}_1", 1, 1, channels, 128, side=side) + norm(f"{name}_bn1", 128)
            layers += bare(f"{name}_relu1") + conv(f"{name}_2", 3, 3, 128, 32, side=side)
            layers += bare(f"{name}_concat")
            channels += 32
        if block < 5:
            layers += norm(f"pool{block}_bn", channels) + bare(f"pool{block}_relu")
            layers += conv(f"pool{block}_conv", 1, 1, channels, channels // 2, side=side)
            layers += bare(f"pool{block}")
            channels, side = channels // 2, side // 2
    return layers + norm("bn", channels) + bare("relu")


def trained(arrays):
    return {name: shape for name, shape in arrays.items() if not name.startswith("moving")}


def numbers_in(layers, of=dict):
    return sum(int(np.prod(shape)) for _, arrays, _ in layers for shape in of(arrays).values())


def test_counts_of_densenet121():
    layers = densenet121()
    assert len(layers) == consistency.LAYERS
    assert numbers_in(layers) == consistency.BACKBONE
    assert (numbers_in(layers) - numbers_in(layers, trained)) // 2 == consistency.NORMALISED
    for n in consistency.LAST:
        kept = layers[len(layers) - n :]
        assert numbers_in(kept, trained) == consistency.LAST[n]
        assert numbers_in(layers[n:], trained) == consistency.REST[n]
    published_counts = published.table(2).query("hyperparameter == 'fine_tuned_layers'")["value"]
    assert set(published_counts) == set(consistency.LAST) == set(consistency.REST)
    adds = sum(side**2 * int(np.prod(a.get("kernel", 0))) for _, a, side in layers)
    assert adds == consistency.MULTIPLY_ADDS

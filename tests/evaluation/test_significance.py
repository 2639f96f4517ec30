"""Tests of configurations: against numbers by hand, exact tests and simulations."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from dslite.errors import InputError
from dslite.evaluation import metrics, significance


def test_a_table_of_repeated_runs():
    keys = ["dataset", "backbone"]
    runs = pd.DataFrame({"dataset": list("bbbaa"), "backbone": list("xxxxy")})
    table = significance.repeated(runs.assign(test=[0.60, 0.64, 0.68, 0.7, np.nan]), keys, "test")
    assert table[[*keys, "n"]].values.tolist() == [["b", "x", 3], ["a", "x", 1], ["a", "y", 1]]
    np.testing.assert_allclose(table["mean"], [0.64, 0.7, np.nan])
    # t of 2 degrees of freedom has a closed form: t = (2p - 1) sqrt(2 / (4p (1 - p)))
    half = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)) * 0.04 / math.sqrt(3)
    expected = {"deviation": 0.04, "low": 0.64 - half, "high": 0.64 + half}
    for name, value in expected.items():
        np.testing.assert_allclose(table[name], [value, np.nan, np.nan])


def signed_sums(values):
    return [np.dot(signs, values) for signs in itertools.product((-1, 1), repeat=len(values))]


@pytest.mark.parametrize("n", [1, 5, 12])
def test_sign_flips_are_those_of_every_choice_of_signs(rng, monkeypatch, n):
    for values in (rng.normal(0.4, 1, n), rng.integers(-2, 3, n) / 3, np.zeros(n)):
        sums = np.abs(signed_sums(values))
        expected = np.mean(sums >= abs(values.sum()) - 1e-9)
        assert significance.sign_flip(values) == pytest.approx(expected)
        with monkeypatch.context() as few:
            few.setattr(significance, "MOST", 0)
            assert significance.sign_flip(values) == pytest.approx(expected, abs=0.02)
    # Of equal sizes it is the binomial sum, McNemar's exact test, however many there are.
    values = np.repeat([1, -1, 0], [40 * n, 30 * n, 5]) / 7
    tail = math.fsum(math.comb(70 * n, k) / 2 ** (70 * n) for k in range(30 * n + 1))
    assert significance.sign_flip(values) == pytest.approx(min(1, 2 * tail))


def test_what_no_outcome_can_decide_leaves_the_family():
    """Against the definition: the smallest number that no more comparisons can pass."""
    assert significance.testable([]).tolist() == []
    assert significance.testable([np.nan, 6, 4, 5]).tolist() == [False, True, False, False]
    for differing in itertools.product((5, 6, 7, 8, 30), repeat=4):
        least = 2 / 2.0 ** np.array(differing)
        k = next(k for k in (1, 2, 3, 4) if (least <= 0.05 / k).sum() <= k)
        assert significance.testable(differing).tolist() == (least <= 0.05 / k).tolist()


def test_holm_of_r_s_manual_and_what_is_missing():
    """R's ``p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")``."""
    p = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert significance.holm(p) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    adjusted = significance.holm([np.nan, 0.01, 0.5, np.nan])
    np.testing.assert_allclose(adjusted, [np.nan, 0.02, 0.5, np.nan])
    assert significance.holm([]).size == 0
    assert significance.holm([0.9, 0.8]).max() == 1


def voices(rng, right, n_classes=3):
    """Labels and predictions that are right with a probability, [files] or [seeds, files]."""
    labels = np.arange(np.shape(right)[-1]) % n_classes
    wrong = (labels + rng.integers(1, n_classes, size=np.shape(right))) % n_classes
    return labels, np.where(rng.random(np.shape(right)) < right, labels, wrong)


def test_the_draws_are_those_of_the_definition(rng):
    """Against drawing files one by one and scoring each draw anew."""
    labels, first = voices(rng, np.full((2, 60), 0.5))
    _, second = voices(rng, np.full((3, 60), 0.65))
    result = significance.uar_difference(labels, first, second, 3)
    assert significance.uar_difference(labels, first, second, 3) == result
    means = [np.mean([metrics.uar(labels, s, 3) for s in seeds]) for seeds in (first, second)]
    assert result["difference"] == pytest.approx(means[1] - means[0])
    assert result["low"] <= result["difference"] <= result["high"]
    gain, drawn = (second == labels).mean(axis=0) - (first == labels).mean(axis=0), []
    for _ in range(1000):
        i = rng.integers(60, size=60)
        drawn.append(np.mean([gain[i][labels[i] == c].mean() for c in range(3)]))
    # So many of normal draws as Student's t with 59 degrees of freedom has beyond its 2.5 %,
    # times the root of 60 / 59
    low, high = np.quantile(drawn, [0.0218, 1 - 0.0218])
    assert (result["low"], result["high"]) == pytest.approx((low, high), abs=0.02)
    one = significance.uar_difference(labels[:1], first[:, :1], second[:, :1], 3)
    assert (one["low"], one["high"]) == (None, None)


def test_equal_ones_differ_by_nothing(rng):
    labels, seeds = voices(rng, np.full((2, 80), 0.5))
    result = significance.uar_difference(labels, seeds, seeds[::-1], 3)
    assert list(result.values()) == [0, 0, 0]


def predictions(rng, rights, dataset="d", seeds=(0, 1), speakers=10, n=120, **columns):
    """Rows as `compared` takes them; ``rights``: augmentation -> share recognised."""
    parts, names = [], np.array(list("xyz"))
    speaker = [f"s{i % speakers}" if speakers else "" for i in range(n)]
    for (augmentation, right), seed in itertools.product(rights.items(), seeds):
        labels, predicted = (names[of] for of in voices(rng, np.full(n, right)))
        part = {"label": labels, "prediction": predicted, "speaker": speaker}
        part |= {"file": [f"{i}.wav" for i in range(n)], "augmentation": augmentation}
        parts.append(pd.DataFrame(part | {"seed": seed, "dataset": dataset} | columns))
    return pd.concat(parts, ignore_index=True)


def test_a_study_of_several_corpora(rng):
    one = predictions(rng, {"cutmix": 0.8, "none": 0.5, "specaugment": 0.5})
    other = predictions(rng, {"none": 0.8, "cutmix": 0.4}, dataset="e", seeds=(0,), speakers=0)
    table = significance.compared(pd.concat([one, other]), "augmentation", "none")
    columns = ["dataset", "augmentation", "baseline", "seeds", "speakers"]
    columns += ["verdict", "verdict_speakers", "comparisons", "comparisons_speakers"]
    assert table[columns].values.tolist() == [
        ["d", "cutmix", "none", 2, 10, "better", "better", 2, 1],
        ["d", "specaugment", "none", 2, 10, "not told apart", "too few for a test", 2, 1],
        ["e", "cutmix", "none", 1, 0, "worse", "unknown", 1, 0],
    ]
    assert table["speakers_better"].add(table["speakers_worse"]).tolist() == [10, 6, 0]
    together = significance.compared(
        pd.concat([one, other]), "augmentation", "none", family=["baseline"]
    )
    assert (together["comparisons"] == 3).all()
    assert table["low_speakers"].isna().tolist() == [False, False, True]
    assert (table["low"] <= table["difference"]).all()
    assert table["files_better"][0] > table["files_worse"][0]
    assert 20 < table["difference"][0] < 40  # points, not fractions


def test_comparisons_of_the_same_predictions_are_one_of_a_family(rng):
    """As augmentations are where phase 2 was not kept."""
    rows = predictions(rng, {"none": 0.5, "cutmix": 0.7, "specaugment": 0.6})
    names = {"cutmix": "both", "specaugment": "mixup"}
    copies = [rows[rows["augmentation"] == of].assign(augmentation=to) for of, to in names.items()]
    one = significance.compared(rows, "augmentation", "none").set_index("augmentation")
    many = significance.compared(pd.concat([rows, *copies]), "augmentation", "none")
    many = many.set_index("augmentation")
    assert many["comparisons"].tolist() == [2] * 4
    for twin, of in (names | {"both": "cutmix", "mixup": "specaugment"}).items():
        assert many.loc[twin].equals(many.loc[of])
        if of in one.index:
            assert many.loc[twin].equals(one.loc[of])
    # Of another baseline, or in a family of its own, it is another comparison.
    others = rows.assign(backbone="x"), rows.assign(backbone="y")
    table = significance.compared(pd.concat(others), "augmentation", "none", by=["backbone"])
    assert table["comparisons"].tolist() == [2] * 4
    together = pd.concat(
        [others[0], predictions(rng, {"none": 0.4}, backbone="y"), copies[0].assign(backbone="y")]
    )
    table = significance.compared(together, "augmentation", "none", ["backbone"], ["baseline"])
    assert table["comparisons"].tolist() == [3] * 3


def test_p_values_are_those_of_a_plain_script(rng):
    """P and Holm's correction once more, from the predictions alone, with numpy and scipy."""
    rights = {"none": 0.5, "cutmix": 0.62, "specaugment": 0.66, "both": 0.55}
    rows = predictions(rng, rights, speakers=8, n=48)
    table = significance.compared(rows, "augmentation", "none").set_index("augmentation")

    def p_of(units):  # all choices of signs, or 20,000 of them; whole numbers tie exactly
        how = {"permutation_type": "samples", "n_resamples": 20_000, "rng": 0}
        return scipy.stats.permutation_test((np.rint(96 * units),), np.sum, **how).pvalue

    right = rows.assign(right=(rows["label"] == rows["prediction"]).astype(float))
    by = ["augmentation", "file", "label", "speaker"]
    gains = right.groupby(by)["right"].mean().unstack("augmentation")
    files, speakers = {}, {}
    for name in ("cutmix", "specaugment", "both"):
        gain = gains[name] - gains["none"]
        files[name] = p_of((gain / gain.groupby("label").transform("size")).to_numpy())
        recalls = gain.groupby(["speaker", "label"]).mean()
        mean = recalls.groupby("speaker").mean().to_numpy()
        speakers[name] = p_of(mean)
        ends = scipy.stats.t.interval(0.95, 7, mean.mean(), scipy.stats.sem(mean))
        row = table.loc[name]
        assert row[["low_speakers", "high_speakers"]].tolist() == pytest.approx(
            100 * np.array(ends)
        )
    for end, p in (("", files), ("_speakers", speakers)):
        order, adjusted = sorted(p, key=p.get), {}
        for i, name in enumerate(order):
            before = adjusted[order[i - 1]] if i else 0
            adjusted[name] = min(1, max(before, (len(order) - i) * p[name]))
        expected = table[[f"p{end}", f"p_holm{end}"]].to_numpy().T
        script = [[each[name] for name in table.index] for each in (p, adjusted)]
        np.testing.assert_allclose(script, expected, atol=0.02)


def test_few_unanimous_speakers_are_neither_tested_nor_called_equal(rng):
    rows = predictions(rng, {"none": 0.9, "cutmix": 0.2}, seeds=(0,), speakers=6)
    (row,) = significance.compared(rows, "augmentation", "none").to_dict("records")
    assert (row["speakers_worse"], row["p_speakers"]) == (6, 2 / 2**6)
    assert (row["verdict"], row["verdict_speakers"]) == ("worse", "worse")
    # Of two such comparisons, neither could be significant after the correction.
    both = predictions(rng, {"both": 0.2}, seeds=(0,), speakers=6)
    table = significance.compared(pd.concat([rows, both]), "augmentation", "none")
    assert table["verdict"].tolist() == ["worse", "worse"]
    assert table["verdict_speakers"].tolist() == [significance.TOO_FEW] * 2
    assert table[["p_speakers", "p_holm_speakers"]].isna().all(axis=None)
    assert (table["high_speakers"] < 0).all()


def test_only_seeds_and_labels_that_both_have_are_compared(rng):
    rows = predictions(rng, {"none": 0.5, "cutmix": 0.8})
    short = rows[(rows["augmentation"] == "none") | (rows["seed"] == 1)]
    table = significance.compared(short, "augmentation", "none")
    expected = significance.compared(rows[rows["seed"] == 1], "augmentation", "none")
    pd.testing.assert_frame_equal(table, expected)
    assert table["seeds"].tolist() == [1]
    mixed = [significance.compared(of, "augmentation", "none") for of in (rows, rows[::-1])]
    pd.testing.assert_frame_equal(*mixed)  # in whatever order the files and seeds come
    blinded = rows.assign(label="", dataset="b")
    apart = rows[(rows["augmentation"] == "none") == (rows["seed"] == 0)].assign(dataset="a")
    table = significance.compared(pd.concat([blinded, apart, rows]), "augmentation", "none")
    assert table["verdict"].tolist() == ["unknown", "unknown", "better"]
    assert table["files"].tolist() == [0, 0, 120]
    assert table["p"].isna().tolist() == [True, True, False]
    assert table["comparisons"].tolist() == [0, 0, 1]
    together = significance.compared(
        pd.concat([blinded, rows]), "augmentation", "none", family=["baseline"]
    )
    assert (together["comparisons"] == 1).all()  # what cannot be compared does not count
    assert together["p_holm"][1] == together["p"][1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows[:-1], "d, cutmix: .*other files or labels"),
        (lambda rows: rows.assign(file=rows["augmentation"] + rows["file"]), "other files"),
        (lambda rows: rows.assign(label=rows["augmentation"] + rows["file"]), "other .*labels"),
        (lambda rows: rows[rows["augmentation"] != "none"], "d: no .* of augmentation none"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(rng, change, text):
    rows = change(predictions(rng, {"none": 0.5, "cutmix": 0.6}))
    with pytest.raises(InputError, match=text):
        significance.compared(rows, "augmentation", "none")

"""Tests of explanations: numbers that say whether they are true, each of them against chance.

- Deletion and insertion (Petsiuk, Das and Saenko 2018, arXiv:1806.07421): regions are hidden, or
  shown, in the order that a method gives them; a true order changes the output faster than a random
  one.
- Additivity: SHAP values sum to the output less the base.
- Randomised head (after Adebayo et al. 2018, arXiv:1810.03292): the explanation of a network whose
  head has drawn new weights must be another one.
- Stability: the same explanation whatever the seed of the method's own draws.

All of it on a grid of regions, 14 to a side, the same for every method. What is hidden is hidden by
the model's masker; a method that asks with the same masker has that much of an advantage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from dslite.explanation import attributions
from dslite.explanation.methods import (
    ADDITIVE,
    GRID,
    METHODS,
    SEEDED,
    TITLES,
    ExplainedModel,
    Explanation,
    explain,
)

STEPS = 28  # of a curve: of 14 x 14 regions, 7 each
RANDOM_ORDERS = 10  # a picture, whose mean a method is compared with
SEEDS = 3
DRAWS = 1000  # of the bootstrap over pictures


def _order(values: np.ndarray) -> np.ndarray:
    """Regions of an attribution float [side, side], the most raising one first: int64 [regions]."""
    regions = attributions.regions(values, min(len(values), GRID))
    return np.argsort(-regions.ravel(), kind="stable")


def _curves(
    outputs_of: Callable[[np.ndarray], np.ndarray], orders: np.ndarray, output: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion curves [n, steps + 1] of a masked picture by orders [n, regions]."""
    # The output when 0, 1/steps, ..., all of the regions are hidden, or shown.
    regions = orders.shape[1]
    side, steps = int(np.sqrt(regions)), min(STEPS, regions)
    counts = np.arange(steps + 1) * regions // steps
    rank = np.argsort(orders, axis=1)  # of every region in the order
    first = (rank[:, None, :] < counts[:, None]).reshape(-1, side, side)
    shape = (len(orders), steps + 1)
    deletion, insertion = (outputs_of(of)[:, output].reshape(shape) for of in (~first, first))
    return deletion, insertion


def _area(curve: np.ndarray) -> np.ndarray:
    """Area under curves float [..., steps + 1] over 0 to 1, by the trapezoidal rule."""
    return (curve[..., 1:] + curve[..., :-1]).mean(axis=-1) / 2


def _with_random_head(network: keras.Model, seed: int) -> keras.Model:
    """A copy whose head's dense layers are drawn anew; the attention ReLU between them stays."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    first = copy.layers.index(copy.get_layer("hidden"))
    dense = [layer for layer in copy.layers[first:] if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        initializer = keras.initializers.GlorotUniform(seed=seed + number)
        layer.kernel.assign(initializer(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    return copy


@dataclass(frozen=True)
class FaithfulnessTest:
    """Results of every method in every test.

    Attributes
    ----------
    deletion, insertion : dict of ndarray, float64 [pictures, steps + 1]
        Curves of every method, and the mean one of ``random``.
    additivity : dict of ndarray, float64 [pictures]
        Errors, of the methods in `dslite.explanation.methods.ADDITIVE`.
    randomised, randomised_abs : dict of ndarray, float64 [pictures]
        Rank correlation over regions with the explanation of the network with a random head, of
        the values and of their absolute values.
    stability : dict of ndarray, float64 [pictures]
        Mean rank correlation between three seeds, of the methods that draw.
    """

    deletion: Mapping[str, np.ndarray]
    insertion: Mapping[str, np.ndarray]
    additivity: Mapping[str, np.ndarray]
    randomised: Mapping[str, np.ndarray]
    randomised_abs: Mapping[str, np.ndarray]
    stability: Mapping[str, np.ndarray]


def assess(
    model: ExplainedModel,
    pictures: np.ndarray,
    outputs: Sequence[int],
    *,
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> FaithfulnessTest:
    """Put every method to every test.

    Parameters
    ----------
    model : ExplainedModel
        With a background.
    pictures : ndarray of float32, shape [n, image_size, image_size, 3]
    outputs : sequence of int, length n
        Which output of each picture is explained.
    evaluations : int
        Of ``partition``.
    seed : int
        Of the methods, the random orders and the random head.
    log : callable
        Is given a line for each picture.
    """
    head = _with_random_head(model.network, seed)
    random = ExplainedModel(head, model.settings, model.masker, model.background)
    rng = np.random.default_rng(seed)
    rows = []
    for number, (picture, output) in enumerate(zip(pictures, outputs, strict=True)):
        rows.append(_assess_one(model, random, picture, output, evaluations, seed, rng))
        log(f"testing the methods: picture {number + 1} of {len(pictures)}")
    results = {
        test: {name: np.array([row[test][name] for row in rows]) for name in rows[0][test]}
        for test in rows[0]
    }
    return FaithfulnessTest(**results)


def _assess_one(model, random, picture, output, evaluations, seed, rng) -> dict[str, dict]:
    """All tests of one picture: name of the test -> method -> result."""
    methods = list(METHODS)

    def explained(method: str, of: ExplainedModel, seed: int = seed) -> Explanation:
        return explain(method, of, picture, [output], evaluations, seed)[0]

    true = {method: explained(method, model) for method in methods}
    side = min(len(picture), GRID)
    chance = np.array([rng.permutation(side**2) for _ in range(RANDOM_ORDERS)])
    orders = np.concatenate([np.array([_order(true[m].values) for m in methods]), chance])
    results = {}
    for name, curve in zip(
        ("deletion", "insertion"), _curves(model.masked(picture), orders, output), strict=True
    ):
        results[name] = dict(zip(methods, curve, strict=False))
        results[name]["random"] = curve[len(methods) :].mean(axis=0)
    results["additivity"] = {m: true[m].additivity_error for m in methods if m in ADDITIVE}
    results["randomised"], results["randomised_abs"] = {}, {}
    for method in methods:
        pair = [
            attributions.regions(of.values, side)
            for of in (true[method], explained(method, random))
        ]
        results["randomised"][method] = attributions.rank_correlation(*pair)
        results["randomised_abs"][method] = attributions.rank_correlation(*map(np.abs, pair))
    results["stability"] = {
        method: _agreement(
            [true[method], *(explained(method, model, seed + k) for k in range(1, SEEDS))], side
        )
        for method in methods
        if method in SEEDED
    }
    return results


def _agreement(same: Sequence[Explanation], side: int) -> float:
    """Mean rank correlation over all pairs of explanations of the same."""
    regions = [attributions.regions(one.values, side) for one in same]
    pairs = [(a, b) for i, a in enumerate(regions) for b in regions[i + 1 :]]
    return float(np.mean([attributions.rank_correlation(*pair) for pair in pairs]))


def table(test: FaithfulnessTest) -> pd.DataFrame:
    """Tabulate results, one row a method and one for random orders.

    Returns
    -------
    DataFrame
        Index: the methods' names. ``deletion`` and ``insertion``: mean area under the curve;
        ``deletion_gain``, ``insertion_gain``: by how much it is better than the same picture's
        random orders (below them for deletion, above for insertion), with a 95 % bootstrap
        interval over pictures (``…_low``, ``…_high``); ``beats_random``: whether these intervals
        lie above 0, ``both``, the name of the one that does, or ``NO``. ``additivity_error``: the
        largest. ``random_head``, ``random_head_abs``: mean rank correlation, near 0 if the
        explanation depends on what the head has learnt. ``stability``: mean rank correlation
        between seeds. Empty where a test does not apply.
    """
    count = len(test.deletion["random"])
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    signs = {"deletion": -1, "insertion": 1}  # of what is better
    rows = {}
    for method in test.deletion:
        row = {}
        for name, sign in signs.items():
            curve = getattr(test, name)
            row[name] = _area(curve[method]).mean()
            if method != "random":
                gain = sign * (_area(curve[method]) - _area(curve["random"]))
                row[f"{name}_gain"] = gain.mean()
                low, high = np.quantile(gain[drawn].mean(axis=1), [0.025, 0.975])
                row |= {f"{name}_low": low, f"{name}_high": high}
        if method != "random":
            better = [name for name in signs if row[f"{name}_low"] > 0]
            row["beats_random"] = "both" if len(better) == 2 else (better or ["NO"])[0]
            row["random_head"] = np.nanmean(test.randomised[method])
            row["random_head_abs"] = np.nanmean(test.randomised_abs[method])
        if method in test.additivity:
            row["additivity_error"] = test.additivity[method].max()
        if method in test.stability:
            row["stability"] = np.nanmean(test.stability[method])
        rows[TITLES.get(method, "Random order")] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def curve_table(test: FaithfulnessTest) -> pd.DataFrame:
    """Tabulate mean curves as `dslite.explanation.plots.curves` draws them.

    Columns: method, curve, share, score.
    """
    tables = []
    for name in ("deletion", "insertion"):
        for method, curve in getattr(test, name).items():
            share, title = np.linspace(0, 1, curve.shape[1]), TITLES.get(method, method)
            columns = {"method": title, "curve": name, "share": share, "score": curve.mean(axis=0)}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)

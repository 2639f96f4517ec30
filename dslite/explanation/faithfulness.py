"""Tests of explanations: numbers that say whether they are true, each of them against chance.

- Deletion and insertion (Petsiuk, Das and Saenko 2018, arXiv:1806.07421): regions are hidden, or
  shown, in the order that a method gives them; a true order changes the output faster than a random
  one.
- Additivity: SHAP values sum to the output less the base.
- Randomised head (after Adebayo et al. 2018, arXiv:1810.03292): the explanation of a network whose
  head has drawn new weights must be another one.
- Stability: the same explanation whatever the seed of the method's own draws.

All of it on a grid of regions, 14 to a panel's side, the same for every method. What is hidden is
hidden by the model's masker; a method that asks with the same masker has that much of an advantage.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import keras
import numpy as np
import pandas as pd

from dslite.evaluation.metrics import rho
from dslite.explanation import attributions, methods
from dslite.explanation.methods import ExplainedModel, Explanation

CURVES = {"deletion": -1, "insertion": 1}  # name -> sign of what is better
STEPS = 28  # of a curve: of 14 x 14 regions, 7 each; of two panels 14
RANDOM_ORDERS = 10  # a picture, whose mean a method is compared with
SEEDS = 3
DRAWS = 1000  # of the bootstrap over pictures


def _curves(
    outputs_of: Callable[[np.ndarray], np.ndarray],
    orders: np.ndarray,
    output: int,
    grid: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion curves [n, steps + 1] of a masked picture by orders [n, regions]."""
    # The output when 0, 1/steps, ..., all of the regions are hidden, or shown.
    regions = orders.shape[1]
    steps = min(STEPS, regions)
    counts = np.arange(steps + 1) * regions // steps
    rank = np.argsort(orders, axis=1)  # of every region in the order
    first = (rank[:, None, :] < counts[:, None]).reshape(-1, *grid)
    shape = (len(orders), steps + 1)
    deletion, insertion = (outputs_of(of)[:, output].reshape(shape) for of in (~first, first))
    return deletion, insertion


def _with_random_head(network: keras.Model, seed: int) -> keras.Model:
    """A copy whose head's dense layers are drawn anew; the attention ReLU between them stays."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    dense = [layer for layer in copy.layers if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        initializer = keras.initializers.GlorotUniform(seed=seed + number)
        layer.kernel.assign(initializer(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    return copy


def assess(
    model: ExplainedModel,
    pictures: np.ndarray,
    outputs: Sequence[int],
    *,
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Put every method to every test, on pictures float32 [n, height, width, 3] and an output each.

    Gives a row for each picture and ``method``, ``random`` (the mean of random orders) last, NaN
    where a test does not apply: curves, float64 [steps + 1], rank correlations over regions with
    the explanation under a random head (``_abs``: of sizes) and between seeds (``stability``).
    """
    head = _with_random_head(model.network, seed)
    random = ExplainedModel(head, model.settings, model.masker, model.background)
    rng, rows = np.random.default_rng(seed), []
    for number, (picture, output) in enumerate(zip(pictures, outputs, strict=True), start=1):
        rows += _assess_one(model, random, picture, output, evaluations, seed, rng)
        log(f"testing the methods: picture {number} of {len(pictures)}")
    return pd.DataFrame(rows)


def _assess_one(model, random, picture, output, evaluations, seed, rng) -> list[dict[str, Any]]:
    """Rows of `assess` of one picture."""
    grid = methods.grid(model.settings, methods.GRID)

    def explained(method: str, of: ExplainedModel, seed: int) -> tuple[Explanation, np.ndarray]:
        explanation = methods.explain(method, of, picture, [output], evaluations, seed)[0]
        return explanation, attributions.regions(explanation.values, grid).ravel()

    true = {method: explained(method, model, seed) for method in methods.METHODS}
    orders = [np.argsort(-regions, kind="stable") for _, regions in true.values()]
    orders += [rng.permutation(np.prod(grid)) for _ in range(RANDOM_ORDERS)]
    curves = _curves(model.masked(picture), np.array(orders), output, grid)
    rows = []
    for method, deletion, insertion in zip(methods.METHODS, *curves, strict=False):
        explanation, regions = true[method]
        pair = regions, explained(method, random, seed)[1]
        row = {"method": method, "deletion": deletion, "insertion": insertion}
        row |= {"random_head": rho(*pair), "random_head_abs": rho(*map(np.abs, pair))}
        row |= {"additivity_error": explanation.additivity_error, "stability": np.nan}
        if method in methods.SEEDED:
            others = (explained(method, model, seed + k)[1] for k in range(1, SEEDS))
            row["stability"] = np.mean([rho(*two) for two in combinations([regions, *others], 2)])
        rows.append(row)
    chance = (curve[len(methods.METHODS) :].mean(axis=0) for curve in curves)
    return [*rows, {"method": "random", **dict(zip(CURVES, chance, strict=True))}]


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate results of `assess`, one row a method and one for random orders.

    ``deletion`` and ``insertion`` are the mean area under the curve; ``…_gain`` is by how much it
    is better than the same picture's random orders, with a 95 % bootstrap interval over pictures,
    ``…_low`` and ``…_high``; ``beats_random`` is whether these lie above 0: ``both``, the name of
    the one that does, or ``NO``. The additivity error is the largest, the others are means.
    """
    by_method = dict(list(results.groupby("method", sort=False)))
    count = len(by_method["random"])
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    rows = {}
    for method, tested in by_method.items():
        row, better = {}, []
        for name, sign in CURVES.items():
            curves = (np.stack(of[name]) for of in (tested, by_method["random"]))
            area, chance = (np.trapezoid(of, dx=1 / (of.shape[1] - 1)) for of in curves)
            row[name] = area.mean()
            if method == "random":
                continue
            gain = sign * (area - chance)
            low, high = np.quantile(gain[drawn].mean(axis=1), [0.025, 0.975])
            row |= {f"{name}_gain": gain.mean(), f"{name}_low": low, f"{name}_high": high}
            better += [name] if low > 0 else []
        if method != "random":
            row["beats_random"] = "both" if len(better) == 2 else (better or ["NO"])[0]
            means = tested[["random_head", "random_head_abs"]].mean()
            row |= {**means, "additivity_error": tested["additivity_error"].max()}
            row["stability"] = tested["stability"].mean()
        rows[methods.TITLES.get(method, "Random order")] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def curve_table(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate mean curves of `assess`, a row a method, curve and share of the regions.

    ``score`` is the mean over so many ``pictures``, ``low`` and ``high`` its 95 % bootstrap
    interval.
    """
    tables = []
    for name in CURVES:
        for method, curves in results.groupby("method", sort=False)[name]:
            scores = np.stack(curves)
            drawn = np.random.default_rng(0).integers(len(scores), size=(DRAWS, len(scores)))
            low, high = np.quantile(scores[drawn].mean(axis=1), [0.025, 0.975], axis=0)
            columns = {"method": methods.TITLES.get(method, method), "curve": name}
            columns |= {"share": np.linspace(0, 1, scores.shape[1]), "score": scores.mean(axis=0)}
            tables.append(pd.DataFrame(columns | {"low": low, "high": high}))
    return pd.concat(tables, ignore_index=True).assign(pictures=len(scores))

"""Are the explanations true? Numbers beside the pictures, each of them against chance.

- Deletion and insertion (Petsiuk, Das and Saenko 2018, arXiv:1806.07421): regions are hidden, or
  shown, in the order that a method gives them; a true order changes the output faster than a random
  one.
- Additivity: SHAP values sum to the output less the base.
- Randomised head (after Adebayo et al. 2018, arXiv:1810.03292): the explanation of a network whose
  head has drawn new weights must be another one.
- Stability: the same explanation whatever the seed of the method's own draws.

All of it on a grid of regions, 14 to a side, the same for every method. What is hidden is hidden by
the subject's masker; a method that asks with the same masker has that much of an advantage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from dslite.explanation import attributions
from dslite.explanation import methods as explanation_methods
from dslite.explanation.methods import ADDITIVE, GRID, METHODS, SEEDED, TITLES, Explanation, Subject

STEPS = 28  # of a curve: of 14 x 14 regions, 7 each
RANDOM_ORDERS = 10  # a picture, whose mean a method is compared with
SEEDS = 3
DRAWS = 1000  # of the bootstrap over pictures
ADDITIVITY = 1e-3  # largest error of a method whose values are exact


def order(values: np.ndarray) -> np.ndarray:
    """Regions of an attribution float [side, side], the one that raises the output most first.

    int64 [regions], counted line by line; equal ones by position.
    """
    regions = attributions.regions(values, min(len(values), GRID))
    return np.argsort(-regions.ravel(), kind="stable")


def curves(
    see: Callable[[np.ndarray], np.ndarray], orders: np.ndarray, output: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion curves of one picture.

    Parameters
    ----------
    see : callable
        `Subject.masked` of the picture.
    orders : ndarray of int64, shape [n, regions]
        Of a square grid.
    output : int

    Returns
    -------
    deletion, insertion : ndarray of float64, shape [n, steps + 1]
        The output when 0, 1/steps, ..., all of the regions are hidden, or shown.
    """
    regions = orders.shape[1]
    side, steps = int(np.sqrt(regions)), min(STEPS, regions)
    counts = np.arange(steps + 1) * regions // steps
    rank = np.argsort(orders, axis=1)  # of every region in the order
    gone = (rank[:, None, :] < counts[:, None]).reshape(-1, side, side)
    shape = (len(orders), steps + 1)
    deletion, insertion = (see(kept)[:, output].reshape(shape) for kept in (~gone, gone))
    return deletion, insertion


def area(curve: np.ndarray) -> np.ndarray:
    """Area under curves float [..., steps + 1] over the share 0 to 1, by the trapezoidal rule."""
    return (curve[..., 1:] + curve[..., :-1]).mean(axis=-1) / 2


def with_random_head(network: keras.Model, seed: int = 0) -> keras.Model:
    """A copy of a network of `dslite.models.classifier.build_classifier` whose head has drawn its weights anew.

    Those of its dense layers; the two scalars of the attention ReLU between them stay.
    """
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    first = copy.layers.index(copy.get_layer("hidden"))
    dense = [layer for layer in copy.layers[first:] if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        drawn = keras.initializers.GlorotUniform(seed=seed + number)
        layer.kernel.assign(drawn(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    return copy


@dataclass(frozen=True)
class Scrutiny:
    """What every method was found to be worth.

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
    subject: Subject,
    pictures: np.ndarray,
    outputs: Sequence[int],
    *,
    evaluations: int = 500,
    seed: int = 0,
    methods: Sequence[str] = tuple(METHODS),
    log: Callable[[str], None] = print,
) -> Scrutiny:
    """Put every method to every test.

    Parameters
    ----------
    subject : Subject
        With a background, if ``gradient`` is among the methods.
    pictures : ndarray of float32, shape [n, image_size, image_size, 3]
    outputs : sequence of int, length n
        Which output of each picture is explained.
    evaluations : int
        Of ``partition``.
    seed : int
        Of the methods, the random orders and the random head.
    methods : sequence of str
    log : callable
        Is told of each picture.
    """
    random = Subject(
        with_random_head(subject.network, seed),
        subject.settings,
        subject.masker,
        subject.background,
    )
    rng = np.random.default_rng(seed)
    rows = []
    for number, (picture, output) in enumerate(zip(pictures, outputs, strict=True)):
        rows.append(_one(subject, random, picture, output, evaluations, seed, methods, rng))
        log(f"scrutiny: picture {number + 1} of {len(pictures)}")
    tested = {key: _stacked([row[key] for row in rows]) for key in rows[0]}
    return Scrutiny(**tested)


def _stacked(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _one(subject, random, picture, output, evaluations, seed, methods, rng) -> dict[str, dict]:
    """All tests of one picture: name of the test -> method -> result."""

    def explained(method: str, of: Subject, seed: int = seed) -> Explanation:
        return explanation_methods.explain(method, of, picture, [output], evaluations, seed)[0]

    true = {method: explained(method, subject) for method in methods}
    side = min(len(picture), GRID)
    chance = np.array([rng.permutation(side**2) for _ in range(RANDOM_ORDERS)])
    orders = np.concatenate([np.array([order(true[m].values) for m in methods]), chance])
    found = {}
    for name, curve in zip(
        ("deletion", "insertion"), curves(subject.masked(picture), orders, output), strict=True
    ):
        found[name] = dict(zip(methods, curve, strict=False))
        found[name]["random"] = curve[len(methods) :].mean(axis=0)
    found["additivity"] = {m: true[m].additivity_error for m in methods if m in ADDITIVE}
    found["randomised"], found["randomised_abs"] = {}, {}
    for method in methods:
        pair = [
            attributions.regions(of.values, side)
            for of in (true[method], explained(method, random))
        ]
        found["randomised"][method] = attributions.rank_correlation(*pair)
        found["randomised_abs"][method] = attributions.rank_correlation(*map(np.abs, pair))
    found["stability"] = {
        method: _agreement(
            [true[method], *(explained(method, subject, seed + k) for k in range(1, SEEDS))], side
        )
        for method in methods
        if method in SEEDED
    }
    return found


def _agreement(same: Sequence[Explanation], side: int) -> float:
    """Mean rank correlation over all pairs of explanations of the same."""
    regions = [attributions.regions(one.values, side) for one in same]
    pairs = [(a, b) for i, a in enumerate(regions) for b in regions[i + 1 :]]
    return float(np.mean([attributions.rank_correlation(*pair) for pair in pairs]))


def table(found: Scrutiny, seed: int = 0) -> pd.DataFrame:
    """One row a method and one for random orders.

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
    rng = np.random.default_rng(seed)
    count = len(found.deletion["random"])
    drawn = rng.integers(count, size=(DRAWS, count))
    rows = {}
    for method in found.deletion:
        row = {}
        for name, curve, sign in (
            ("deletion", found.deletion, -1),
            ("insertion", found.insertion, 1),
        ):
            row[name] = area(curve[method]).mean()
            if method != "random":
                gain = sign * (area(curve[method]) - area(curve["random"]))
                row[f"{name}_gain"] = gain.mean()
                low, high = np.quantile(gain[drawn].mean(axis=1), [0.025, 0.975])
                row |= {f"{name}_low": low, f"{name}_high": high}
        if method != "random":
            won = [name for name in ("deletion", "insertion") if row[f"{name}_low"] > 0]
            row["beats_random"] = {0: "NO", 1: won[0] if won else "", 2: "both"}[len(won)]
            row["random_head"] = np.nanmean(found.randomised[method])
            row["random_head_abs"] = np.nanmean(found.randomised_abs[method])
        if method in found.additivity:
            row["additivity_error"] = found.additivity[method].max()
        if method in found.stability:
            row["stability"] = np.nanmean(found.stability[method])
        rows[TITLES.get(method, "Random order")] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def curve_table(found: Scrutiny) -> pd.DataFrame:
    """Mean curves as `dslite.explanation.plots.curves` draws them: method, curve, share, score."""
    tables = []
    for name, curves_of in (("deletion", found.deletion), ("insertion", found.insertion)):
        for method, curve in curves_of.items():
            share = np.linspace(0, 1, curve.shape[1])
            shown = TITLES.get(method, method)
            columns = {"method": shown, "curve": name, "share": share, "score": curve.mean(axis=0)}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)

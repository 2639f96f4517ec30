"""Methods that tell how much each part of a spectrogram raised or lowered a network's output.

Paper 3.5, Figure 2.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import shap
import tensorflow as tf

from dslite.errors import InputError
from dslite.explanation import attributions, masking
from dslite.features import spectrogram
from dslite.models import backbones, classifier, split
from dslite.settings import Settings, nearest

BATCH = 32  # masked pictures a call of the network
DRAWS = 200  # of `gradient`: backgrounds and places on the way from them
GRID = 14  # regions to a side that `occlusion` hides


@dataclass(frozen=True)
class Explanation:
    """Attributions of one chunk for one output.

    Attributes
    ----------
    values : ndarray of float64, shape [image_size, image_size]
        Summed over the colour channels; positive raises the output.
    base : float
        Output for what the values start from: the masked picture, or the background's mean. With
        values of ``partition`` (exactly) and ``gradient`` (nearly), base + sum of values = output.
        NaN for a method whose values do not sum to anything.
    output : float
        Of the whole picture.
    """

    values: np.ndarray
    base: float
    output: float

    @property
    def additivity_error(self) -> float:
        """By how much base and values miss the output."""
        return abs(self.base + float(self.values.sum()) - self.output)


class ExplainedModel:
    """A network under explanation: it sees whole pictures and pictures with hidden cells.

    Parameters
    ----------
    network : keras.Model
        Of `dslite.models.classifier.build_classifier`.
    settings : Settings
    masker : {"mean", "blur"}
        What stands in the place of hidden cells, see `dslite.explanation.masking`.
    background : ndarray of float32, shape [n, image_size, image_size, 3], optional
        Pictures of training chunks, RGB from 0 to 255; only ``gradient`` needs them.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        masker: str = "mean",
        background: np.ndarray | None = None,
    ):
        masking.require(masker)
        self.network, self.settings, self.masker = network, settings, masker
        self.background = background
        self.scale = backbones.BACKBONES[settings.backbone].scale
        side = settings.image_size
        picture = tf.TensorSpec([side, side, 3], tf.float32)
        visible = tf.TensorSpec([None, None, None], tf.bool)
        self._hide = tf.function(
            masking.hide, input_signature=[picture, picture, visible], autograph=False
        )
        self._network = split.frozen(
            lambda pictures: network(self.scale(pictures), training=False), side, side, 3
        )

    @cached_property
    def gradient_explainer(self) -> shap.GradientExplainer:
        """SHAP's explainer over the background; made once, since making it traces the network."""
        if self.background is None:
            raise InputError("SHAP's GradientExplainer needs a background of training pictures")
        listed = keras.Model([self.network.input], self.network.output)  # as shap calls it
        return shap.GradientExplainer(
            listed, np.asarray(self.scale(self.background)), batch_size=50
        )

    @cached_property
    def expected_outputs(self) -> np.ndarray:
        """Mean outputs over the background, float64 [outputs]."""
        return self.outputs(self.background).mean(axis=0)

    def outputs(self, pictures: np.ndarray) -> np.ndarray:
        """Compute outputs, float64 [n, outputs], of pictures [n, image_size, image_size, 3]."""
        whole = np.ones((1, 1, 1), bool)
        return np.concatenate([self.masked(picture)(whole) for picture in pictures])

    def pictures(self, mel: np.ndarray) -> np.ndarray:
        """Turn spectrograms uint8 [n, mel_bands, frames] into pictures float32."""
        return spectrogram.picture(tf.constant(mel), self.settings).numpy()

    def masked(self, picture: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from visible cells, bool [n, rows, columns], to outputs [n, outputs].

        The network runs once a masked picture, whatever number of its outputs is explained.
        """
        whole, filling = tf.constant(picture), tf.constant(masking.fill(picture, self.masker))

        def outputs(visible: np.ndarray) -> np.ndarray:
            parts = [visible[i : i + BATCH].astype(bool) for i in range(0, len(visible), BATCH)]
            pictures = (self._hide(whole, filling, tf.constant(part)) for part in parts)
            scores = [self._network(part).numpy() for part in pictures]
            return np.concatenate(scores).astype(np.float64)

        return outputs


def _partition(
    model: ExplainedModel,
    picture: np.ndarray,
    outputs: Sequence[int],
    evaluations: int = 500,
    seed: int = 0,
) -> list[Explanation]:
    """SHAP's Partition explainer with an image masker (the paper's; Lundberg and Lee 2017)."""
    # The picture is halved again and again, and where the outputs change most, most often. The
    # values are Owen values of this hierarchy, exact for its regions. It is the hierarchy of shap's
    # own image masker; since that splits colours apart only below single pixels, a region hides its
    # pixels in all colours, and the values are sums over them from the start.
    side = model.settings.image_size
    count = masking.cells(side)
    outputs_of = model.masked(picture)
    whole = np.ones((1, count, count, 1))
    # shap masks a picture of ones; the cells that stay 1 are shown of the real one
    masker = shap.maskers.Image(np.zeros(whole.shape[1:]), whole.shape[1:])
    explainer = shap.PartitionExplainer(lambda cells: outputs_of(cells[..., 0]), masker)
    with _numpy_seeded(seed):
        explained = explainer(
            whole,
            max_evals=max(3, evaluations),
            batch_size=BATCH,
            outputs=np.asarray(outputs),
            silent=True,
        )
    values = _pixel_values(explained.hierarchical_values[0], explained.clustering[0], side)
    bases = np.ravel(explained.base_values)
    full = outputs_of(whole[..., 0])[0]
    return [
        Explanation(values[..., i], float(bases[i]), float(full[output]))
        for i, output in enumerate(outputs)
    ]


def _pixel_values(nodes: np.ndarray, tree: np.ndarray, side: int) -> np.ndarray:
    """Values [side, side, outputs] of a hierarchy's regions, each evenly on its pixels.

    ``nodes`` [2 * cells - 1, outputs]: what each region (first the cells, the whole last) was given
    beyond its parts; ``tree`` [cells - 1, 4]: the two parts of each region, as scipy's linkage.
    """
    # shap itself spreads a region's value evenly on its cells. Where these are not of one size,
    # that draws lines through a region.
    leaves = len(tree) + 1
    cell = attributions.cells(side, side, round(leaves**0.5))
    area = np.zeros(len(nodes))
    area[:leaves] = np.bincount(cell.ravel(), minlength=leaves)
    parts = tree[:, :2].astype(int)
    for node, (left, right) in enumerate(parts, leaves):
        area[node] = area[left] + area[right]
    density = nodes / area[:, None]
    for node in range(len(nodes) - 1, leaves - 1, -1):
        density[parts[node - leaves]] += density[node]
    return density[cell]


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, from which shap draws, and put it back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _spread(values: np.ndarray, side: int) -> np.ndarray:
    """Values of cells [rows, columns] evenly on their pixels [side, side]; sums stay."""
    cell = attributions.cells(side, side, len(values))
    pixels = np.bincount(cell.ravel(), minlength=values.size)
    return (values.ravel() / pixels)[cell]


def _gradient(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], seed: int = 0
) -> list[Explanation]:
    """SHAP's GradientExplainer: expected gradients (Erion 2021, 10.1038/s42256-021-00343-w)."""
    # The mean, over training pictures and places on the straight way from each of them to this
    # picture, of gradient times difference. `DRAWS` of these are drawn, so the values sum to the
    # output less the background's mean output only nearly. They are summed over the cells that are
    # the smallest regions of `_partition` too: those of single pixels are mostly noise.
    explainer = model.gradient_explainer
    with _numpy_seeded(seed):
        explained, _ = explainer.shap_values(
            np.asarray(model.scale(picture[None])),
            nsamples=DRAWS,
            ranked_outputs=np.asarray(outputs)[None],
            output_rank_order="custom",
            rseed=seed,
        )
    values = np.asarray(explained)[0].sum(axis=2)  # over colours: [side, side, outputs]
    full, side = model.outputs(picture[None])[0], model.settings.image_size
    cells = [attributions.regions(of, masking.cells(side)) for of in np.moveaxis(values, -1, 0)]
    return [
        Explanation(_spread(of, side), float(model.expected_outputs[output]), float(full[output]))
        for of, output in zip(cells, outputs, strict=True)
    ]


def _grad_cam(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], seed: int = 0
) -> list[Explanation]:
    """Grad-CAM (Selvaraju et al. 2017, 10.1109/ICCV.2017.74) of the backbone's last maps."""
    # Without its final ReLU, so that what lowers the class shows too: gradient of the class's score
    # before the softmax times activation, summed over the maps and enlarged to the picture. Under
    # ``pooling: global`` the gradient is the same all over a map, as in Grad-CAM; under ``time`` it
    # is not, and the product is HiResCAM's (Draelos and Carin 2020, arXiv:2011.08891).
    scaled = model.scale(tf.constant(picture[None]))
    maps = classifier.backbone_of(model.network)(scaled, training=False)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        scores = _scores(model.network, classifier.pool(model.network, maps))
        chosen = [scores[0, output] for output in outputs]
    full = model.outputs(picture[None])[0]
    side = model.settings.image_size
    explanations = []
    for score, output in zip(chosen, outputs, strict=True):
        product = tf.reduce_sum(tape.gradient(score, maps) * maps, axis=-1, keepdims=True)
        enlarged = tf.image.resize(product, [side, side], method="bilinear")[0, ..., 0]
        values = enlarged.numpy().astype(np.float64)
        explanations.append(Explanation(values, float("nan"), float(full[output])))
    return explanations


def _scores(network: keras.Model, pooled: tf.Tensor) -> tf.Tensor:
    """The head's scores before its softmax, [batch, outputs]; a regression's value itself."""
    last = network.get_layer("output")
    if not isinstance(last, keras.layers.Dense):
        return classifier.head(network, pooled, training=False)
    first = network.layers.index(network.get_layer("hidden"))
    for layer in network.layers[first:-1]:
        pooled = layer(pooled, training=False)
    return tf.matmul(pooled, last.kernel) + last.bias


def _occlusion(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], seed: int = 0
) -> list[Explanation]:
    """Output less the output without one of 14 x 14 regions (Zeiler and Fergus 2014)."""
    side = model.settings.image_size
    count = min(side, GRID)
    all_but_one = ~np.eye(count**2, dtype=bool).reshape(-1, count, count)
    outputs_of = model.masked(picture)
    full, without = outputs_of(np.ones((1, count, count)))[0], outputs_of(all_but_one)
    return [
        Explanation(
            _spread((full[output] - without[:, output]).reshape(count, count), side),
            float("nan"),
            float(full[output]),
        )
        for output in outputs
    ]


METHODS = {
    "partition": _partition,
    "gradient": _gradient,
    "grad-cam": _grad_cam,
    "occlusion": _occlusion,
}
TITLES = {
    "partition": "SHAP, Partition",
    "gradient": "SHAP, expected gradients",
    "grad-cam": "Grad-CAM",
    "occlusion": "Occlusion",
}
ADDITIVE = ("partition", "gradient")  # their values sum to the output less the base
SEEDED = ("partition", "gradient")  # they draw something


def require(method: str) -> None:
    """Raise an InputError for a method that there is not."""
    if method not in METHODS:
        raise InputError(f"method '{method}'{nearest(method, METHODS)}")


def explain(
    method: str,
    model: ExplainedModel,
    picture: np.ndarray,
    outputs: Sequence[int],
    evaluations: int = 500,
    seed: int = 0,
) -> list[Explanation]:
    """Attribute outputs of a network to the parts of a picture.

    Parameters
    ----------
    method : {"partition", "gradient", "grad-cam", "occlusion"}
    model : ExplainedModel
    picture : ndarray of float32, shape [image_size, image_size, 3]
        RGB from 0 to 255, see `ExplainedModel.pictures`.
    outputs : sequence of int
        Classes, explained from the same masked pictures.
    evaluations : int
        Masked pictures of ``partition``; more make its regions smaller.
    seed : int
        Of what ``partition`` (the order of regions that changed the outputs equally) and
        ``gradient`` draw.

    Returns
    -------
    list of Explanation
        One an output.

    Raises
    ------
    InputError
        An unknown method, or ``gradient`` without a background.
    """
    require(method)
    options = {"evaluations": evaluations} if method == "partition" else {}
    return METHODS[method](model, picture, outputs, seed=seed, **options)

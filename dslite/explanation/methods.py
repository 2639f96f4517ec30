"""Methods that tell how much each part of a spectrogram raised or lowered a network's output.

Paper 3.5, Figure 2. Two of them hide parts of the picture: a mask is a coarse map of cells, True
where the picture stays.

A picture of two panels is masked as a whole, each cell in one panel: values tell what the network
takes from which of the two. What is hidden in one panel may still show in the other, so that they
are no values of the sound itself, and where both panels tell the same, they share it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import shap
import tensorflow as tf
from scipy.ndimage import uniform_filter

from dslite.errors import InputError
from dslite.explanation import attributions
from dslite.features import spectrogram
from dslite.models import backbones, classifier, pooling, split
from dslite.settings import Settings, nearest

MASKERS = ("mean", "blur")
CELLS = 56  # to a panel's side in a mask: 4 pixels of 224; a small picture's are its pixels
BATCH = 32  # masked pictures a call of the network
DRAWS = 200  # of `gradient`: backgrounds and places on the way from them
GRID = 14  # regions to a panel's side that `occlusion` hides


@dataclass(frozen=True)
class Explanation:
    """Attributions of one chunk for one output.

    With values of ``partition`` (exactly) and ``gradient`` (nearly), base + sum of values = output;
    the base is NaN for a method whose values do not sum to anything.
    """

    values: np.ndarray  # float64 [height, width], over colours; positive raises the output
    base: float  # output for what they start from: masked picture, or the background's mean
    output: float  # of the whole picture

    @property
    def additivity_error(self) -> float:
        """By how much base and values miss the output."""
        return abs(self.base + float(self.values.sum()) - self.output)


def grid(settings: Settings, count: int) -> tuple[int, int]:
    """Return a mask's rows and columns: ``count`` to a panel's shorter side, or its pixels."""
    height, width = settings.picture_shape
    height //= settings.panels
    rows, columns = (min(side, side * count // min(height, width)) for side in (height, width))
    return settings.panels * rows, columns


def filling(picture: np.ndarray, masker: str, panels: int = 1) -> np.ndarray:
    """Return what stands in the place of hidden cells, float32 [height, width, 3].

    The mean colour of each panel, or (blur) its moving average, a quarter of its height wide.
    """
    parts = np.split(picture, panels)
    if masker == "mean":
        filled = [np.broadcast_to(part.mean(axis=(0, 1)), part.shape) for part in parts]
    else:
        width = max(2, len(parts[0]) // 4)
        filled = [uniform_filter(part, (width, width, 0), mode="mirror") for part in parts]
    return np.concatenate(filled).astype(np.float32)


def hide(picture: np.ndarray, fill: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return pictures float32 [n, height, width, 3], filled but for bool [n, rows, columns]."""
    cell = attributions.cells(*picture.shape[:2], visible.shape[1:])
    pixels = visible.astype(bool).reshape(len(visible), -1)[:, cell]
    return np.where(pixels[..., None], picture, fill)


class ExplainedModel:
    """A network under explanation: it sees whole pictures and pictures with hidden cells.

    ``masker`` is what stands in their place (see `filling`), ``background`` pictures of training
    chunks, float32 [n, height, width, 3], RGB from 0 to 255, which ``gradient`` needs.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        masker: str = "mean",
        background: np.ndarray | None = None,
    ):
        require(masker=masker)
        self.network, self.settings, self.masker = network, settings, masker
        self.background = background
        self.scale = backbones.BACKBONES[settings.backbone].scale
        self._network = split.frozen(
            lambda pictures: network(self.scale(pictures), training=False),
            *settings.picture_shape,
            3,
        )

    @cached_property
    def gradient_explainer(self) -> shap.GradientExplainer:
        """SHAP's explainer over the background; made once, since making it traces the network."""
        listed = keras.Model([self.network.input], self.network.output)  # as shap calls it
        scaled = np.asarray(self.scale(self.background))
        return shap.GradientExplainer(listed, scaled, batch_size=50)

    @cached_property
    def expected_outputs(self) -> np.ndarray:
        """Mean outputs over the background, float64 [outputs]."""
        return self.outputs(self.background).mean(axis=0)

    def outputs(self, pictures: np.ndarray) -> np.ndarray:
        """Compute outputs, float64 [n, outputs], of pictures float32 [n, height, width, 3]."""
        whole = np.ones((1, 1, 1), bool)
        return np.concatenate([self.masked(picture)(whole) for picture in pictures])

    def pictures(self, mel: np.ndarray) -> np.ndarray:
        """Turn spectrograms uint8 [n, rows, columns] into pictures float32."""
        return spectrogram.picture(tf.constant(mel), self.settings).numpy()

    def masked(self, picture: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from visible cells, bool [n, rows, columns], to [n, outputs]."""
        fill = filling(picture, self.masker, self.settings.panels)

        def outputs(visible: np.ndarray) -> np.ndarray:
            parts = (visible[i : i + BATCH] for i in range(0, len(visible), BATCH))
            pictures = (tf.constant(hide(picture, fill, part)) for part in parts)
            scores = [self._network(batch).numpy() for batch in pictures]
            return np.concatenate(scores).astype(np.float64)

        return outputs


Attributed = tuple[Sequence[np.ndarray], Sequence[float]]  # values and base of each output


def _partition(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], evaluations: int, seed: int
) -> Attributed:
    """SHAP's Partition explainer with an image masker (the paper's; Lundberg and Lee 2017)."""
    # The picture is halved again and again, most often where the outputs change most. The values
    # are Owen values of this hierarchy, that of shap's own image masker, exact for its regions. As
    # that splits colours apart only below single pixels, a region hides its pixels in all colours.
    outputs_of, shape = model.masked(picture), grid(model.settings, CELLS)
    whole = np.ones((1, *shape, 1))
    # shap masks a picture of ones; the cells that stay 1 are shown of the real one
    masker = shap.maskers.Image(np.zeros(whole.shape[1:]), whole.shape[1:])
    explainer = shap.PartitionExplainer(lambda cells: outputs_of(cells[..., 0]), masker)
    options = {"max_evals": max(3, evaluations), "batch_size": BATCH, "silent": True}
    np.random.seed(seed)  # noqa: NPY002, shap draws from numpy's global generator
    explained = explainer(whole, outputs=np.asarray(outputs), **options)
    cell = attributions.cells(*picture.shape[:2], shape)
    values = _pixel_values(explained.hierarchical_values[0], explained.clustering[0], cell)
    return np.moveaxis(values, -1, 0), np.ravel(explained.base_values)


def _pixel_values(nodes: np.ndarray, tree: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Values [height, width, outputs] of a hierarchy's regions, each evenly on its pixels."""
    # ``nodes`` [2 * cells - 1, outputs]: what each region (first the cells, the whole last) has
    # beyond its parts; ``tree`` [cells - 1, 4]: the two parts of each region, as scipy's linkage.
    # shap itself spreads a region's value evenly on its cells. Where these are not of one size,
    # that draws lines through a region. ``cell``: of every pixel.
    leaves = len(tree) + 1
    area = np.zeros(len(nodes))
    area[:leaves] = np.bincount(cell.ravel(), minlength=leaves)
    parts = tree[:, :2].astype(int)
    for node, (left, right) in enumerate(parts, leaves):
        area[node] = area[left] + area[right]
    density = nodes / area[:, None]
    for node in range(len(nodes) - 1, leaves - 1, -1):
        density[parts[node - leaves]] += density[node]
    return density[cell]


def _spread(values: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Values of cells [rows, columns] evenly on their pixels [height, width]; sums stay."""
    cell = attributions.cells(*picture.shape[:2], values.shape)
    pixels = np.bincount(cell.ravel(), minlength=values.size)
    return (values.ravel() / pixels)[cell]


def _gradient(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], evaluations: int, seed: int
) -> Attributed:
    """SHAP's GradientExplainer: expected gradients (Erion 2021, 10.1038/s42256-021-00343-w)."""
    # The mean of gradient times difference over places on the straight way from training pictures
    # to this one. `DRAWS` are drawn, so the values sum to the output less the background's mean
    # only nearly. They are summed over cells: those of single pixels are mostly noise.
    explainer, shape = model.gradient_explainer, grid(model.settings, CELLS)
    scaled, ranked = np.asarray(model.scale(picture[None])), np.asarray(outputs)[None]
    options = {"ranked_outputs": ranked, "output_rank_order": "custom", "rseed": seed}
    explained, _ = explainer.shap_values(scaled, nsamples=DRAWS, **options)
    values = np.moveaxis(np.asarray(explained)[0].sum(axis=2), -1, 0)  # summed over colours
    cells = [attributions.regions(of, shape) for of in values]
    return [_spread(of, picture) for of in cells], model.expected_outputs[list(outputs)]


def _grad_cam(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], evaluations: int, seed: int
) -> Attributed:
    """Grad-CAM (Selvaraju et al. 2017, 10.1109/ICCV.2017.74) of all maps that are pooled."""
    # Without its final ReLU, so that what lowers the class shows too: gradient of the class's score
    # before the softmax times activation, summed over the maps and enlarged to the picture. Under
    # ``pooling: global`` the gradient is the same all over a map, as in Grad-CAM; else it is not,
    # and the product is HiResCAM's (Draelos and Carin 2020, arXiv:2011.08891). Of several depths,
    # and of the picture's own rows, each is taken along its direct way to the head, and a place's
    # product is shared by the pixels that it covers: so many of them weigh no more in a deep map.
    scaled = model.scale(tf.constant(picture[None]))
    maps = keras.tree.flatten(classifier.backbone_of(model.network)(scaled, training=False))
    sources = [scaled, *maps]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        scores = _scores(model.network, pooling.pool(model.network, scaled, maps))
        chosen = [scores[0, output] for output in outputs]
    unused = tf.UnconnectedGradients.ZERO  # the picture, unless its own rows are pooled
    shape, values = picture.shape[:2], []
    for score in chosen:
        total = np.zeros(shape)
        slopes = tape.gradient(score, sources, unconnected_gradients=unused)
        for source, slope in zip(sources, slopes, strict=True):
            product = tf.reduce_sum(slope * source, -1, keepdims=True)
            share = product.shape[1] * product.shape[2] / total.size
            total += share * tf.image.resize(product, shape)[0, ..., 0].numpy()  # bilinear
        values.append(total)
    return values, [np.nan] * len(values)


def _scores(network: keras.Model, pooled: tf.Tensor) -> tf.Tensor:
    """The head's scores before its softmax, [batch, outputs]; a regression's value itself."""
    last = network.get_layer("output")
    if not isinstance(last, keras.layers.Dense):
        return classifier.head(network, pooled, training=False)
    hidden = classifier.head(network, pooled, training=False, end=-1)
    return tf.matmul(hidden, last.kernel) + last.bias


def _occlusion(
    model: ExplainedModel, picture: np.ndarray, outputs: Sequence[int], evaluations: int, seed: int
) -> Attributed:
    """Output less the output without one of a grid's regions (Zeiler and Fergus 2014)."""
    shape = grid(model.settings, GRID)
    all_but_one = ~np.eye(np.prod(shape), dtype=bool).reshape(-1, *shape)
    drops = model.outputs(picture[None]) - model.masked(picture)(all_but_one)
    values = [_spread(drops[:, output].reshape(shape), picture) for output in outputs]
    return values, [np.nan] * len(values)


METHODS = {"partition": _partition, "gradient": _gradient}
METHODS |= {"grad-cam": _grad_cam, "occlusion": _occlusion}
TITLES = {"partition": "SHAP, Partition", "gradient": "SHAP, expected gradients"}
TITLES |= {"grad-cam": "Grad-CAM", "occlusion": "Occlusion"}
SEEDED = ("partition", "gradient")  # they draw something


def require(method: str | None = None, masker: str | None = None) -> None:
    """Raise an InputError for a method or a masker that there is not."""
    for kind, name, choices in (("method", method, METHODS), ("masker", masker, MASKERS)):
        if name is not None and name not in choices:
            raise InputError(f"{kind} '{name}'{nearest(name, choices)}")


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
        InputError for another one.
    picture : ndarray of float32, shape [height, width, 3]
        RGB from 0 to 255, see `ExplainedModel.pictures`.
    outputs : sequence of int
        Explained from the same masked pictures; each has an explanation in the result.
    evaluations : int
        Masked pictures of ``partition``; more make its regions smaller.
    seed : int
        Of what ``partition`` (ties between regions) and ``gradient`` draw.
    """
    require(method)
    full = model.outputs(picture[None])[0]
    values, bases = METHODS[method](model, picture, outputs, evaluations, seed)
    return [
        Explanation(of, float(base), float(full[output]))
        for of, base, output in zip(values, bases, outputs, strict=True)
    ]

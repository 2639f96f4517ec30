"""Hiding parts of a picture, so that a network does not see them: what stands in their place.

A mask is a coarse map of cells, True where the picture stays. The pictures are made inside the
graph that also runs the network, so that of a masked picture only its cells travel.
"""

import numpy as np
import tensorflow as tf

from dslite.errors import InputError
from dslite.settings import nearest

MASKERS = ("mean", "blur", "inpaint")
CELLS = 56  # to a side: 4 pixels of a picture of 224


def require(masker: str) -> None:
    """InputError for a masker that there is not."""
    if masker not in MASKERS:
        raise InputError(f"masker '{masker}'{nearest(masker, MASKERS)}")


def cells(side: int) -> int:
    """Cells to a side of a picture; a small picture has one for each pixel."""
    return min(side, CELLS)


def fill(picture: np.ndarray, masker: str) -> np.ndarray:
    """What is seen where everything is hidden, float32 [side, side, 3] like the picture.

    ``mean`` and ``inpaint``: the picture's mean colour; ``blur``: the picture under a moving
    average as wide as a quarter of it.
    """
    if masker != "blur":
        return np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape).astype(np.float32)
    from scipy.ndimage import uniform_filter

    width = max(2, len(picture) // 4)
    return uniform_filter(picture, (width, width, 0), mode="mirror").astype(np.float32)


def hide(picture: tf.Tensor, filling: tf.Tensor, kept: tf.Tensor, masker: str) -> tf.Tensor:
    """Pictures with their hidden cells filled.

    Parameters
    ----------
    picture, filling : Tensor of float32, shape [side, side, 3]
        The second of `fill`.
    kept : Tensor of bool, shape [n, cells, cells]
        Row 0 at the picture's top.
    masker : {"mean", "blur", "inpaint"}

    Returns
    -------
    Tensor of float32, shape [n, side, side, 3]
    """
    side = picture.shape[0]
    count = tf.shape(kept)[1]
    place = tf.range(side) * count // side
    kept = tf.gather(tf.gather(kept, place, axis=1), place, axis=2)[..., None]
    if masker == "inpaint":
        filling = _grown(tf.where(kept, picture, 0.0), tf.cast(kept, tf.float32), filling)
    return tf.where(kept, picture, filling)


def _grown(colour: tf.Tensor, weight: tf.Tensor, filling: tf.Tensor) -> tf.Tensor:
    """Hidden places in the colours around them, by pull and push (Gortler et al. 1996, 3.4).

    Pull: halve the picture, weighted by what is known of it, until all of it is known or one pixel
    is left. Push: go back, and take the coarser colour where the finer one is unknown. Unlike a
    diffusion it takes no iterations, and a batch is done at once.

    Parameters
    ----------
    colour : Tensor of float32, shape [n, height, width, 3]
        Times the weight.
    weight : Tensor of float32, shape [n, height, width, 1]
        0 (unknown) to 1.
    filling : Tensor of float32, shape [side, side, 3]
        Its first pixel is the colour of a picture that is wholly unknown.
    """
    known = tf.math.divide_no_nan(colour, weight)
    height, width = colour.shape[1], colour.shape[2]
    if max(height, width) == 1:
        return weight * known + (1 - weight) * filling[0, 0]

    def halved(x: tf.Tensor) -> tf.Tensor:
        # The average leaves out what lies outside of an odd picture.
        return tf.nn.avg_pool2d(x, 2, 2, "SAME")

    area = halved(weight)
    sure = tf.minimum(4 * area, 1.0)  # one known pixel of the four is enough
    coarse = _grown(tf.math.divide_no_nan(halved(colour), area) * sure, sure, filling)
    # Of an odd picture, the last coarse pixel reaches beyond it: enlarged by exactly 2, then cut.
    double = [2 * coarse.shape[1], 2 * coarse.shape[2]]
    coarse = tf.image.resize(coarse, double, method="bilinear")[:, :height, :width]
    return weight * known + (1 - weight) * coarse

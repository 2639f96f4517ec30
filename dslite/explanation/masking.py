"""Masks over a picture, so that a network does not see its hidden parts, and what stands there.

A mask is a coarse map of cells, True where the picture stays. Masked pictures are made inside the
graph that also runs the network, so that of each only its cells travel.
"""

import numpy as np
import tensorflow as tf

from dslite.errors import InputError
from dslite.settings import nearest

MASKERS = ("mean", "blur")
CELLS = 56  # to a side: 4 pixels of a picture of 224


def require(masker: str) -> None:
    """Raise an InputError for a masker that there is not."""
    if masker not in MASKERS:
        raise InputError(f"masker '{masker}'{nearest(masker, MASKERS)}")


def cells(side: int) -> int:
    """Return the number of cells to a side of a picture; a small one has one for each pixel."""
    return min(side, CELLS)


def fill(picture: np.ndarray, masker: str) -> np.ndarray:
    """Return what stands in the place of hidden cells, float32 [side, side, 3] like the picture.

    ``mean``: the picture's mean colour; ``blur``: the picture under a moving average as wide as a
    quarter of it.
    """
    if masker == "mean":
        return np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape).astype(np.float32)
    from scipy.ndimage import uniform_filter

    width = max(2, len(picture) // 4)
    return uniform_filter(picture, (width, width, 0), mode="mirror").astype(np.float32)


def hide(picture: tf.Tensor, filling: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
    """Return pictures with their hidden cells filled.

    Takes float32 [side, side, 3], its `fill`, and bool [n, cells, cells], row 0 at the picture's
    top; gives float32 [n, side, side, 3].
    """
    side = picture.shape[0]
    cell = tf.range(side) * tf.shape(visible)[1] // side
    visible = tf.gather(tf.gather(visible, cell, axis=1), cell, axis=2)[..., None]
    return tf.where(visible, picture, filling)

"""What stands in the place of hidden cells, and that nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf

from dslite.explanation import attributions, masking
from tests.explanation.explained import noise


def test_a_small_picture_has_a_cell_for_each_pixel():
    assert [masking.cells(side) for side in (32, 56, 57, 224)] == [32, 56, 56, 56]


@pytest.mark.parametrize("masker", masking.MASKERS)
@pytest.mark.parametrize(("side", "count"), [(32, 32), (33, 14), (227, 56), (32, 40), (32, 1)])
def test_what_is_visible_stays_to_the_bit(rng, masker, side, count):
    picture = rng.uniform(0, 255, (side, side, 3)).astype(np.float32)
    visible = rng.random((3, count, count)) < 0.6
    visible[0] = True
    filling = masking.fill(picture, masker)
    pictures = masking.hide(*map(tf.constant, (picture, filling, visible))).numpy()
    assert (pictures.shape, pictures.dtype) == ((3, side, side, 3), np.float32)
    pixels = visible.reshape(3, -1)[:, attributions.cells(side, side, count)]
    for masked, mask in zip(pictures, pixels, strict=True):
        np.testing.assert_array_equal(masked[mask], picture[mask])
        np.testing.assert_array_equal(masked[~mask], filling[~mask])
        if not mask.all():
            assert (np.abs(masked[~mask] - picture[~mask]) > 1e-3).mean() > 0.9


def test_the_mean_is_of_the_whole_picture_and_the_blur_of_a_quarter_of_the_side(rng):
    (picture,) = noise(rng)
    expected = np.broadcast_to(picture.reshape(-1, 3).mean(axis=0), picture.shape)
    np.testing.assert_allclose(masking.fill(picture, "mean"), expected, atol=1e-3)
    blurred = masking.fill(picture, "blur")
    padded = np.pad(picture, ((4, 3), (4, 3), (0, 0)), mode="reflect")  # 8 wide, about a pixel
    for row, column in ((0, 0), (5, 31), (16, 16), (31, 2)):
        expected = padded[row : row + 8, column : column + 8].mean(axis=(0, 1))
        np.testing.assert_allclose(blurred[row, column], expected, atol=1e-3)
    assert blurred.std() < picture.std() / 2

"""What stands in the place of hidden cells, and that nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf

from dslite.errors import InputError
from dslite.explanation import attributions, masking
from tests.explanation.explained import noise


def hidden(picture, kept, masker):
    filling = tf.constant(masking.fill(picture, masker))
    return masking.hide(tf.constant(picture), filling, tf.constant(kept), masker).numpy()


def pixels(kept, side):
    """Kept cells [n, count, count] as kept pixels [n, side, side]."""
    count = kept.shape[1]
    return kept.reshape(len(kept), -1)[:, attributions.cells(side, side, count)]


def test_an_unknown_masker_names_the_nearest():
    with pytest.raises(InputError, match=r"'blurr'; did you mean 'blur'\?"):
        masking.require("blurr")
    for masker in masking.MASKERS:
        masking.require(masker)


def test_a_small_picture_has_a_cell_for_each_pixel():
    assert [masking.cells(side) for side in (32, 56, 57, 224)] == [32, 56, 56, 56]


@pytest.mark.parametrize("masker", masking.MASKERS)
@pytest.mark.parametrize(("side", "count"), [(32, 32), (33, 14), (227, 56), (32, 40), (32, 1)])
def test_what_is_kept_stays_to_the_bit(rng, masker, side, count):
    picture = rng.uniform(0, 255, (side, side, 3)).astype(np.float32)
    kept = rng.random((3, count, count)) < 0.6
    kept[0] = True
    shown = hidden(picture, kept, masker)
    assert shown.shape == (3, side, side, 3)
    assert shown.dtype == np.float32
    assert np.isfinite(shown).all()
    seen = pixels(kept, side)
    for made, mask in zip(shown, seen, strict=True):
        np.testing.assert_array_equal(made[mask], picture[mask])
        if not mask.all():
            assert (np.abs(made[~mask] - picture[~mask]) > 1e-3).mean() > 0.9  # it is not shown
    assert shown.min() >= picture.min() - 1e-2
    assert shown.max() <= picture.max() + 1e-2


def test_the_mean_is_the_mean_colour_of_the_whole_picture(rng):
    picture = noise(rng)[0]
    kept = np.ones((1, 8, 8), bool)
    kept[0, 2, 5] = False
    changed = hidden(picture, kept, "mean")[0]
    block = changed[8:12, 20:24]
    colour = picture.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(block, np.broadcast_to(colour, block.shape), atol=1e-3)


def test_the_blur_is_a_moving_average_of_a_quarter_of_the_side(rng):
    picture = noise(rng)[0]
    made = hidden(picture, np.zeros((1, 1, 1), bool), "blur")[0]
    padded = np.pad(picture, ((4, 3), (4, 3), (0, 0)), mode="reflect")  # 8 wide, about a pixel
    for row, column in ((0, 0), (5, 31), (16, 16), (31, 2)):
        expected = padded[row : row + 8, column : column + 8].mean(axis=(0, 1))
        np.testing.assert_allclose(made[row, column], expected, atol=1e-3)
    assert made.std() < picture.std() / 2


@pytest.mark.parametrize("masker", ["mean", "inpaint"])
@pytest.mark.parametrize("side", [32, 33])
def test_a_picture_that_is_hidden_whole_is_its_mean_colour(rng, masker, side):
    picture = noise(rng, side=side)[0]
    made = hidden(picture, np.zeros((2, 14, 14), bool), masker)
    expected = np.broadcast_to(picture.mean(axis=(0, 1)), made.shape)
    np.testing.assert_allclose(made, expected, rtol=1e-4)


@pytest.mark.parametrize("masker", masking.MASKERS)
@pytest.mark.parametrize("side", [32, 33, 61])
def test_a_picture_of_one_colour_has_nothing_to_hide(rng, masker, side):
    picture = np.tile(np.float32([10, 200, 77]), (side, side, 1))
    made = hidden(picture, rng.random((4, 14, 14)) < 0.3, masker)
    np.testing.assert_allclose(made, np.broadcast_to(picture, made.shape), rtol=1e-4)


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("across", [False, True])
def test_a_hole_is_grown_over_from_its_edges(side, across):
    ramp = np.linspace(0, 248, side, dtype=np.float32)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(ramp, (side, side, 3)))
    picture = picture.swapaxes(0, 1).copy() if across else picture
    kept = np.ones((1, side, side), bool)
    hole = (slice(3, 6), slice(24, 27)) if across else (slice(24, 27), slice(3, 6))
    kept[(0, *hole)] = False
    found = {of: np.abs(hidden(picture, kept, of)[0] - picture)[hole] for of in masking.MASKERS}
    assert found["inpaint"].max() < 2 * 248 / side  # not two pixels of the ramp
    assert found["inpaint"].max() < found["mean"].min() / 4


@pytest.mark.parametrize("masker", masking.MASKERS)
def test_pictures_of_a_batch_do_not_see_each_other(rng, masker):
    picture = noise(rng, side=33)[0]
    kept = rng.random((5, 14, 14)) < 0.5
    together = hidden(picture, kept, masker)
    for made, mask in zip(together, kept, strict=True):
        np.testing.assert_allclose(made, hidden(picture, mask[None], masker)[0], atol=1e-3)

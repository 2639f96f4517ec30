"""SapAugment, CutMix and SpecAugment: what is planned, and that it is applied to the pixel."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite.settings import Settings
from dslite.training import augmentation


def key(*numbers: int) -> tf.Tensor:
    return tf.constant(numbers or (0, 0), tf.int32)


def numbered(batch: int, height: int, width: int) -> np.ndarray:
    """Images whose every pixel tells its sample, row and column; exact in float32, never 0."""
    sample, row, column = np.ogrid[1 : batch + 1, :height, :width]
    value = (10_000 * sample + 100 * row + column).astype(np.float32)
    return np.stack([value, value + 0.25, value + 0.5], axis=-1)


def within(count: int, draws: int, p: float) -> bool:
    """Whether a count is plausible: one in a million of correct ones is not."""
    low, high = scipy.stats.binom.interval(1 - 1e-6, draws, p)
    return low <= count <= high


# The policy


@settings(deadline=None, max_examples=40)
@given(
    losses=st.lists(st.integers(0, 10_000), min_size=1, max_size=32, unique=True),
    a=st.floats(0.1, 0.9),
    s=st.floats(1, 20),
)
def test_strength_is_the_incomplete_beta_function(losses, a, s):
    """A lower loss is never augmented less."""
    rank = scipy.stats.rankdata(losses)
    expected = 1 - scipy.special.betainc(s * (1 - a), s * a, rank / len(losses))
    strength = augmentation.strength(np.float32(losses) / 1000, a, s).numpy()
    np.testing.assert_allclose(strength, expected, atol=1e-4)
    assert (np.diff(strength[np.argsort(losses)]) <= 1e-6).all()
    assert 0 <= strength.min() <= strength.max() <= 1


@settings(deadline=None, max_examples=40)
@given(ranks=st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_losses_within_a_step_are_ranked_in_the_order_of_the_batch(ranks):
    """Whatever rounding does to a loss, as long as it stays on the same step."""
    rank = np.argsort(np.argsort(ranks, kind="stable"), kind="stable") + 1
    expected = 1 - scipy.special.betainc(5, 5, rank / len(ranks))
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(ranks))
    losses = ((np.array(ranks) + noise) * augmentation.LOSS_STEP).astype(np.float32)
    np.testing.assert_allclose(augmentation.strength(losses, 0.5, 10.0), expected, atol=1e-5)


@pytest.mark.parametrize(("reading", "slope"), [("paper", 0.15), ("code", 0.25)])
@pytest.mark.parametrize("name", ["cutmix", "specaugment"])
@pytest.mark.parametrize("lam", [0.2, 0.7, 1.0])
def test_each_method_is_applied_as_often_as_the_policy_says(name, reading, slope, lam):
    used = Settings(augmentation=name, image_size=64, probability_reading=reading)
    expected = 0.10 + slope * lam
    assert float(augmentation.probability(tf.constant(lam), used)) == pytest.approx(expected)
    plan = augmentation.plan(tf.fill([10_000], lam), key(8, 1), used)
    assert plan.changed.dtype == tf.bool
    assert within(int(plan.changed.numpy().sum()), 10_000, expected)


# Patches and masks

LENGTH, LARGEST = 48, 16


def plans(method, lam, largest=LARGEST, length=LENGTH, seed=7, **differs):
    """What a method that is always applied plans, as arrays; ``largest`` in the image's pixels."""
    used = {"cutmix_px": largest * 224 / length, "mask_px": largest * 224 / length}
    used |= {"probability_min": 1.0, "probability_max": 1.0, "image_size": length}
    planned = method(tf.constant(lam, tf.float32), key(7, seed), Settings(**used | differs))
    return [np.asarray(part) for part in (*planned, planned.changed)]


def sizes(corners):
    """Height and width of a patch, or what is masked of frequency and time."""
    return corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 2]


@pytest.mark.parametrize("batch", [2, 5, 2000])
def test_cutmix_pastes_a_square_of_another_sample(rng, batch):
    lam, pairs = rng.uniform(size=batch).astype(np.float32), np.zeros((5, 5), int)
    side = np.round(np.float32(LARGEST) * lam).astype(int)
    for seed in range({2: 10, 5: 80}.get(batch, 1)):
        partner, patch, weight, _, changed = plans(augmentation.plan_cutmix, lam, seed=seed)
        np.testing.assert_array_equal(changed, side > 0)
        np.testing.assert_array_equal(partner != np.arange(batch), side > 0)
        assert 0 <= patch.min() <= patch.max() <= LENGTH
        height, width = sizes(patch)
        for size, low, high in ((height, *patch.T[:2]), (width, *patch.T[2:])):
            clipped = (low == 0) | (high == LENGTH)
            assert ((size == side) | clipped)[changed].all()
            assert ((size >= side // 2) & (size <= side)).all()  # the centre lies inside
        np.testing.assert_allclose(weight, height * width / LENGTH**2)
        if batch == 5:
            pairs[np.arange(5), partner] += 1
    if batch == 5:  # everybody lends to everybody alike
        others = pairs[(side > 0)[:, None] & ~np.eye(5, dtype=bool)]
        assert all(within(count, 80, 1 / 4) for count in others)


def test_patch_centres_cover_the_image():
    """Every border clips some patch, and the centres are uniform along both axes."""
    count, side = 2000, 7  # an odd side has a middle pixel
    patch = plans(augmentation.plan_cutmix, np.ones(count), side)[1]
    for low, high in (patch.T[:2], patch.T[2:]):
        assert within((high <= LENGTH // 2).sum(), count, (LENGTH // 2 - 3) / LENGTH)
        assert within((low >= LENGTH // 2).sum(), count, (LENGTH // 2 - 3) / LENGTH)
        assert within(((low == 0) & (high < side)).sum(), count, 3 / LENGTH)
        assert within(((high == LENGTH) & (high - low < side)).sum(), count, 3 / LENGTH)


def test_the_public_code_weights_labels_by_the_whole_patch():
    lam = np.linspace(0.2, 1.0, 16)
    (_, paper, area, *_), (_, code, weight, *_) = (
        plans(augmentation.plan_cutmix, lam, 30, 64, cutmix_reading=reading)
        for reading in ("paper", "code")
    )
    np.testing.assert_array_equal(paper, code)
    np.testing.assert_allclose(weight, np.round(30 * lam) ** 2 / 64**2)
    assert (weight > area).any()  # where the patch was clipped


@pytest.mark.parametrize(("length", "largest"), [(100, 67), (64, 19), (32, 32)])
def test_specaugment_masks_a_stretch_of_frequency_and_one_of_time(rng, length, largest):
    lam = rng.uniform(size=1000).astype(np.float32)
    lam[0] = 1  # of 32 in 32: the whole image at most
    partner, _, weight, mask, changed = plans(augmentation.plan_specaugment, lam, largest, length)
    wide = np.round(np.float32(largest) * lam).astype(int)
    np.testing.assert_array_equal(partner, np.arange(1000))
    assert not weight.any()
    np.testing.assert_array_equal(changed, wide > 0)
    for size in sizes(mask):
        np.testing.assert_array_equal(size, wide)
    some = (wide > 0) & (wide < length)
    low, room = mask[some][:, ::2], (length - wide[some])[:, None]
    assert (low == 0).any(axis=0).all()
    assert (low == room).any(axis=0).all()
    np.testing.assert_allclose((low / room).mean(axis=0), 0.5, atol=0.05)
    assert abs(np.corrcoef((low / room).T)[0, 1]) < 0.15  # time and frequency are drawn apart


@pytest.mark.parametrize("size", [32, 112, 224, 448])
def test_image_scale_is_that_of_the_papers_pixels(size):
    often = {"probability_min": 1, "probability_max": 1}
    used = Settings(image_size=size, augmentation="cutmix+specaugment", **often)
    plan = augmentation.plan(tf.ones([64]), key(0, 5), used)
    assert sizes(plan.patch.numpy())[0].max() == round(56 * size / 224)
    assert set(sizes(plan.mask.numpy())[0]) == {round(67 * size / 224)}


# Applied, by configuration

SIZE = 64  # patches up to 56 * 64 / 224 = 16 pixels, masks up to 67 * 64 / 224 = 19.1


def planned(name: str, batch: int, p: float, seed: int = 4, **differs):
    """Settings, and a plan for a batch whose losses ascend: sample 0 is the easiest."""
    differs |= {"probability_min": p, "probability_max": p, "image_size": SIZE}
    used = Settings(augmentation=name, **differs)
    lam = augmentation.strength(tf.range(batch, dtype=tf.float32), used.sap_a, used.sap_s)
    return used, augmentation.plan(lam, key(11, seed), used)


def test_methods_are_drawn_independently():
    _, plan = planned("cutmix+specaugment", 4000, 0.5)
    # The easiest half: strong enough that both methods show.
    one, two = (corners.numpy().any(axis=1)[:2000] for corners in (plan.patch, plan.mask))
    assert within(one.sum(), 2000, 0.5)
    assert within(two.sum(), 2000, 0.5)
    assert within((one & two).sum(), 2000, 0.25)


@pytest.mark.parametrize("p", [0.5, 1.0])
@pytest.mark.parametrize("name", ["none", "cutmix", "specaugment", "cutmix+specaugment"])
@pytest.mark.parametrize("batch", [1, 2, 32])
@pytest.mark.parametrize(("reading", "fill"), [("paper", 0), ("code", [0.485, 0.456, 0.406])])
def test_what_is_planned_is_applied_and_nothing_else(name, batch, p, reading, fill):
    """Masks of the public code are of ImageNet's colour, on pictures whose mean is 0."""
    used, plan = planned(name, batch, p, mask_reading=reading)
    images = numbered(batch, SIZE, SIZE)
    augmented, labels = augmentation.apply(tf.constant(images), tf.eye(batch), plan, used)
    expected, mixed = images.copy(), np.eye(batch)
    partner, patch, weight, mask = (part.numpy() for part in plan)
    for i in range(batch):
        top, bottom, left, right = patch[i]
        expected[i, top:bottom, left:right] = images[partner[i], top:bottom, left:right]
        low, high, early, late = mask[i]
        expected[i, low:high] = fill
        expected[i, :, early:late] = fill
        mixed[i] = (1 - weight[i]) * np.eye(batch)[i] + weight[i] * np.eye(batch)[partner[i]]
    np.testing.assert_array_equal(augmented, expected)
    np.testing.assert_allclose(labels, mixed, atol=1e-6)
    np.testing.assert_array_equal(plan.changed, (expected != images).any(axis=(1, 2, 3)))
    if batch == 1:
        assert not patch.any()  # nobody to borrow from
    if batch == 32:
        assert patch.any() == ("cutmix" in name)
        assert mask.any() == ("specaugment" in name)
    if (batch, p) == (32, 1.0) and name != "none":
        # The hardest few are left as they are: their patch or mask rounds to no pixel.
        lam = 1 - scipy.special.betainc(5, 5, np.arange(1, 33) / 32)
        largest = 67 if "specaugment" in name else 56
        np.testing.assert_array_equal(plan.changed, np.round(largest * SIZE / 224 * lam) > 0)


def test_rows_of_a_plan_keep_their_partners():
    used, plan = planned("cutmix+specaugment", 32, 0.5)
    images = tf.constant(numbered(32, SIZE, SIZE))
    whole = augmentation.apply(images, tf.eye(32), plan, used)[0].numpy()
    rows = np.flatnonzero(plan.changed)
    assert 3 < len(rows) < 32
    some = plan.rows(tf.constant(rows))
    pasted = augmentation.paste(tf.gather(images, rows), tf.gather(images, some.partner), some)
    np.testing.assert_array_equal(augmentation.mask(pasted, some, used), whole[rows])
    assert some.changed.numpy().all()

"""Augmentation on the fly: SapAugment's policy over CutMix and SpecAugment (paper 2.1 and 3.2).

Every function works on a whole batch at once and is pure: the same seed gives the same result.
What is done to a batch is planned first, which needs no picture, and applied afterwards, so that a
training only has to draw the pictures that really change.
"""

from typing import NamedTuple

import tensorflow as tf

from dslite.settings import Settings

# Losses closer than this are equal to the ranking. It lies far above the rounding errors by which
# two copies of a sample differ, which would otherwise decide which of them is augmented more.
LOSS_STEP = 1e-4
# The public implementation's masks: ImageNet's mean colour, on pictures already normalised.
CODE_MASK = (0.485, 0.456, 0.406)


class Plan(NamedTuple):
    """Plan of what is done to each sample of a batch; where there is no patch or mask, zeros."""

    partner: tf.Tensor  # int32 [batch], row that CutMix's patch is cut from, or the sample's own
    patch: tf.Tensor  # int32 [batch, 4], its top, bottom, left, right in pixels, ends excluded
    weight: tf.Tensor  # float32 [batch], of the partner's label
    mask: tf.Tensor  # int32 [batch, 4], SpecAugment's rows and columns from, to; ends excluded

    @property
    def changed(self) -> tf.Tensor:
        """Whether each sample is altered: bool, shape [batch]."""
        return (self.patch[:, 1] > self.patch[:, 0]) | (self.mask[:, 1] > self.mask[:, 0])

    def rows(self, rows: tf.Tensor) -> "Plan":
        """Return the plan of some samples; their partners remain rows of the whole batch."""
        return Plan(*(tf.gather(part, rows) for part in self))


def strength(losses: tf.Tensor, a: float, s: float) -> tf.Tensor:
    """Compute SapAugment's lambda: the easier a sample, the stronger its augmentation.

    ``lambda = 1 - I(r / B; s (1 - a), s a)`` with I the regularised incomplete beta function and
    r = 1..B the rank of the un-augmented sample's loss, float32 [batch], ascending (Hu et al. 2021,
    doi: 10.1109/ICASSP39728.2021.9413928; paper: a = 0.5, s = 10). Losses that are equal (to
    `LOSS_STEP`) are ranked in the order of the batch.

    Examples
    --------
    >>> strength(tf.constant([0.9, 0.1, 0.4, 0.2]), a=0.5, s=10.0).numpy().round(2)
    array([0.  , 0.95, 0.05, 0.5 ], dtype=float32)
    """
    losses = tf.round(losses / LOSS_STEP)
    rank = tf.argsort(tf.argsort(losses, stable=True), stable=True) + 1
    share = tf.cast(rank, tf.float32) / tf.cast(tf.shape(losses)[0], tf.float32)
    return 1.0 - tf.math.betainc(s * (1.0 - a), s * a, share)


def probability(lam: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Compute the probability that a method is applied, by the settings' reading of the paper."""
    low, high = settings.probability_min, settings.probability_max
    return low + (high if settings.probability_reading == "code" else high - low) * lam


def plan(lam: tf.Tensor, seed: tf.Tensor, settings: Settings) -> Plan:
    """Plan by strengths, float32 [batch], and a seed, int32 [2], what is done to a batch."""
    seeds = tf.random.split(seed, 2)
    planned = _nothing(lam)
    if "cutmix" in settings.augmentation:
        planned = plan_cutmix(lam, seeds[0], settings)
    if "specaugment" in settings.augmentation:
        planned = planned._replace(mask=plan_specaugment(lam, seeds[1], settings).mask)
    return planned


def plan_cutmix(lam: tf.Tensor, seed: tf.Tensor, settings: Settings) -> Plan:
    """Plan where CutMix pastes what (Yun et al. 2019, arXiv:1905.04899).

    A square patch, side = round(cutmix_px * lambda), of another sample at the same place. Its
    centre is uniform over the image, so that it may be clipped at the border; the labels are
    mixed by the area really pasted (reading ``code``: by side^2 all the same).
    """
    batch, (height, width) = tf.shape(lam)[0], settings.picture_shape
    where, when = tf.unstack(tf.random.split(seed, 2))
    seeds = tf.random.split(where, 3)
    side = _size(lam, settings.cutmix_px, settings)
    top = _uniform_int(seeds[0], tf.fill([batch], height)) - side // 2
    left = _uniform_int(seeds[1], tf.fill([batch], width)) - side // 2
    corners = tf.stack([top, top + side, left, left + side], 1)
    corners = tf.clip_by_value(corners, 0, [height, height, width, width])
    # A shift of 1..B-1 never lands on the sample itself. A batch of one has nobody to borrow from.
    shift = 1 + _uniform_int(seeds[2], tf.fill([batch], tf.maximum(batch - 1, 1)))
    run = _drawn(lam, when, settings) & (side > 0) & (batch > 1)
    nothing = _nothing(lam)
    partner = tf.where(run, (nothing.partner + shift) % batch, nothing.partner)
    patch = tf.where(run[:, None], corners, nothing.patch)
    area = (patch[:, 1] - patch[:, 0]) * (patch[:, 3] - patch[:, 2])
    if settings.cutmix_reading == "code":
        area = tf.where(run, side**2, 0)
    return Plan(partner, patch, tf.cast(area, tf.float32) / (height * width), nothing.mask)


def plan_specaugment(lam: tf.Tensor, seed: tf.Tensor, settings: Settings) -> Plan:
    """Plan where SpecAugment masks: one stretch of time and one of frequency.

    Park et al. 2019, doi: 10.21437/Interspeech.2019-2680; widths and counts as in paper 3.2:
    either mask is round(mask_px * lambda) wide.
    """
    where, when = tf.unstack(tf.random.split(seed, 2))
    seeds = tf.random.split(where, 2)
    wide = _size(lam, settings.mask_px, settings)
    height, width = settings.picture_shape
    low = _uniform_int(seeds[0], height - wide + 1)
    early = _uniform_int(seeds[1], width - wide + 1)
    run = _drawn(lam, when, settings) & (wide > 0)
    mask = tf.stack([low, low + wide, early, early + wide], 1)
    nothing = _nothing(lam)
    return nothing._replace(mask=tf.where(run[:, None], mask, nothing.mask))


def paste(images: tf.Tensor, partners: tf.Tensor, planned: Plan) -> tf.Tensor:
    """Paste patches of ``partners`` on ``images``, float32 [batch, rows, cols, 3]: CutMix."""
    top, bottom, left, right = tf.unstack(planned.patch, axis=1)
    rows = _inside(top, bottom, images.shape[1])
    columns = _inside(left, right, images.shape[2])
    patch = rows[:, :, None] & columns[:, None, :]
    return tf.where(patch[..., None], partners, images)


def mask(images: tf.Tensor, planned: Plan, settings: Settings) -> tf.Tensor:
    """Mask scaled images, float32 [batch, rows, cols, 3], by their mean value, 0: SpecAugment."""
    low, high, early, late = tf.unstack(planned.mask, axis=1)
    frequency = _inside(low, high, images.shape[1])
    time = _inside(early, late, images.shape[2])
    masked = frequency[:, :, None] | time[:, None, :]
    fill = CODE_MASK if settings.mask_reading == "code" else (0.0, 0.0, 0.0)
    return tf.where(masked[..., None], tf.constant(fill), images)


def mix_labels(labels: tf.Tensor, planned: Plan) -> tf.Tensor:
    """Mix each label [batch, outputs] with its partner's by the area of CutMix's patch."""
    weight = planned.weight[:, None]
    return (1.0 - weight) * labels + weight * tf.gather(labels, planned.partner)


def apply(
    images: tf.Tensor, labels: tf.Tensor, planned: Plan, settings: Settings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Do to a whole batch, images as `mask` takes them and labels [batch, outputs], as planned."""
    pasted = paste(images, tf.gather(images, planned.partner), planned)
    return mask(pasted, planned, settings), mix_labels(labels, planned)


def _drawn(lam: tf.Tensor, seed: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Samples that a method is applied to: bool, shape [batch]."""
    return tf.random.stateless_uniform(tf.shape(lam), seed) < probability(lam, settings)


def _inside(start: tf.Tensor, stop: tf.Tensor, length: int) -> tf.Tensor:
    """Positions of [0, length) in [start, stop): bool, shape [batch, length]."""
    position = tf.range(length)[None, :]
    return (position >= start[:, None]) & (position < stop[:, None])


def _uniform_int(seed: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """Whole numbers in [0, below), int32, where ``below`` [batch] may differ between samples."""
    drawn = tf.random.stateless_uniform(tf.shape(below), seed)
    scaled = tf.cast(tf.floor(drawn * tf.cast(below, tf.float32)), tf.int32)
    return tf.minimum(scaled, below - 1)  # a float32 just below 1 can round up


def _size(lam: tf.Tensor, largest: float, settings: Settings) -> tf.Tensor:
    """round(largest * lambda) in this image's pixels, ``largest`` being the paper's: int32."""
    return tf.cast(tf.round(largest * settings.image_scale * lam), tf.int32)


def _nothing(lam: tf.Tensor) -> Plan:
    """A plan that leaves every sample as it is."""
    corners = tf.zeros([tf.shape(lam)[0], 4], tf.int32)
    return Plan(tf.range(tf.shape(lam)[0]), corners, tf.zeros_like(lam), corners)

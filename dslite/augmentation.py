"""Augmentation on the fly: SapAugment's policy over CutMix and SpecAugment (paper 2.1 and 3.2).

Every function works on a whole batch at once and is pure: the same seed gives the same result.
"""

import tensorflow as tf

from dslite.settings import Settings


def strength(losses: tf.Tensor, a: float, s: float) -> tf.Tensor:
    """SapAugment's lambda: the easier a sample of the batch, the stronger its augmentation.

    ``lambda = 1 - I(r / B; s (1 - a), s a)`` with I the regularised incomplete beta function and
    r = 1..B the rank of the sample's loss, ascending (Hu et al. 2021, doi:
    10.1109/ICASSP39728.2021.9413928).

    Parameters
    ----------
    losses : Tensor of float32, shape [batch]
        Loss of each un-augmented sample.
    a, s : float
        The policy's parameters (paper: 0.5 and 10).

    Returns
    -------
    Tensor of float32, shape [batch]
        0 to 1; equal losses are ranked in the order of the batch.
    """
    rank = tf.argsort(tf.argsort(losses, stable=True), stable=True) + 1
    share = tf.cast(rank, tf.float32) / tf.cast(tf.shape(losses)[0], tf.float32)
    return 1.0 - tf.math.betainc(s * (1.0 - a), s * a, share)


def executed(lam: tf.Tensor, seed: tf.Tensor, lowest: float, highest: float) -> tf.Tensor:
    """Draw which samples a method is applied to: p = lowest + (highest - lowest) * lambda.

    Returns
    -------
    Tensor of bool, shape [batch]
    """
    probability = lowest + (highest - lowest) * lam
    return tf.random.stateless_uniform(tf.shape(lam), seed) < probability


def _inside(start: tf.Tensor, stop: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Positions of [0, length) in [start, stop): bool, shape [batch, length]."""
    position = tf.range(length)[None, :]
    return (position >= start[:, None]) & (position < stop[:, None])


def _uniform_int(seed: tf.Tensor, size: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """Whole numbers in [0, below), where ``below`` may differ from sample to sample."""
    drawn = tf.random.stateless_uniform(size[None], seed)
    scaled = tf.cast(tf.floor(drawn * tf.cast(below, tf.float32)), tf.int32)
    return tf.minimum(scaled, below - 1)  # a float32 just below 1 can round up


def cutmix(
    images: tf.Tensor, labels: tf.Tensor, lam: tf.Tensor, seed: tf.Tensor, largest: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Paste a square patch of another sample at the same place; mix the labels by its area.

    The patch's centre is uniform over the image, so that a patch may be clipped at the border;
    the labels are mixed by the area really pasted (Yun et al. 2019, arXiv:1905.04899).

    Parameters
    ----------
    images : Tensor of float32, shape [batch, height, width, 3]
    labels : Tensor of float32, shape [batch, outputs]
    lam : Tensor of float32, shape [batch]
        Side = round(largest * lambda).
    seed : Tensor of int32, shape [2]
    largest : float
        Pixels.

    Returns
    -------
    images, labels : Tensor
        As given, mixed.
    changed : Tensor of bool, shape [batch]
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    seeds = tf.random.split(seed, 3)
    side = tf.cast(tf.round(largest * lam), tf.int32)
    top = _uniform_int(seeds[0], batch, tf.fill([batch], height)) - side // 2
    left = _uniform_int(seeds[1], batch, tf.fill([batch], width)) - side // 2
    rows = _inside(top, top + side, height)
    columns = _inside(left, left + side, width)
    patch = rows[:, :, None] & columns[:, None, :]
    # A shift of 1..B-1 never lands on the sample itself. A batch of one has nobody to borrow from.
    shift = 1 + _uniform_int(seeds[2], batch, tf.fill([batch], tf.maximum(batch - 1, 1)))
    partner = (tf.range(batch) + shift) % batch
    mixed = tf.where(patch[..., None], tf.gather(images, partner), images)
    area = tf.reduce_mean(tf.cast(patch, tf.float32), axis=[1, 2])
    weight = area[:, None]
    labels = (1.0 - weight) * labels + weight * tf.gather(labels, partner)
    return mixed, labels, (area > 0) & (partner != tf.range(batch))


def specaugment(
    images: tf.Tensor, lam: tf.Tensor, seed: tf.Tensor, largest: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mask one stretch of time and one of frequency with the mean value, 0 after scaling.

    Park et al. 2019, doi: 10.21437/Interspeech.2019-2680; widths and counts as in paper 3.2.

    Parameters
    ----------
    images : Tensor of float32, shape [batch, frequency, time, 3]
        Scaled for the backbone.
    lam : Tensor of float32, shape [batch]
        Width of either mask = round(largest * lambda).
    seed : Tensor of int32, shape [2]
    largest : float
        Pixels.

    Returns
    -------
    images : Tensor
        As given, masked.
    changed : Tensor of bool, shape [batch]
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    seeds = tf.random.split(seed, 2)
    wide = tf.cast(tf.round(largest * lam), tf.int32)
    low = _uniform_int(seeds[0], batch, height - wide + 1)
    early = _uniform_int(seeds[1], batch, width - wide + 1)
    frequency = _inside(low, low + wide, height)
    time = _inside(early, early + wide, width)
    masked = frequency[:, :, None] | time[:, None, :]
    return tf.where(masked[..., None], 0.0, images), wide > 0


def augment(
    images: tf.Tensor,
    labels: tf.Tensor,
    losses: tf.Tensor,
    seed: tf.Tensor,
    settings: Settings,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Apply the configuration of ``settings.augmentation`` to a batch.

    Parameters
    ----------
    images : Tensor of float32, shape [batch, height, width, 3]
        Scaled for the backbone.
    labels : Tensor of float32, shape [batch, outputs]
        One-hot classes, or [batch, 1] targets of a regression.
    losses : Tensor of float32, shape [batch]
        Current loss of each un-augmented sample.
    seed : Tensor of int32, shape [2]
    settings : Settings

    Returns
    -------
    images, labels : Tensor
        As given, augmented.
    changed : Tensor of bool, shape [batch]
        Which samples were altered.
    """
    lam = strength(losses, settings.sap_a, settings.sap_s)
    seeds = tf.random.split(seed, 4)
    low, high = settings.probability_min, settings.probability_max
    changed = tf.zeros_like(lam, dtype=tf.bool)
    if "cutmix" in settings.augmentation:
        largest = settings.cutmix_px * settings.image_scale
        new_images, new_labels, pasted = cutmix(images, labels, lam, seeds[0], largest)
        run = executed(lam, seeds[1], low, high) & pasted
        images = tf.where(run[:, None, None, None], new_images, images)
        labels = tf.where(run[:, None], new_labels, labels)
        changed |= run
    if "specaugment" in settings.augmentation:
        largest = settings.mask_px * settings.image_scale
        new_images, masked = specaugment(images, lam, seeds[2], largest)
        run = executed(lam, seeds[3], low, high) & masked
        images = tf.where(run[:, None, None, None], new_images, images)
        changed |= run
    return images, labels, changed

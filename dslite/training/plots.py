"""What augmentation does, for the eye: its policy in numbers and a sample under each method."""

import numpy as np
import pandas as pd
import tensorflow as tf

from dslite.features import spectrogram
from dslite.settings import AUGMENTATIONS, Settings
from dslite.training import augmentation

GREY = 127.5  # stands for 0 after input scaling, the value of masked areas
STRENGTHS = (0.25, 0.6, 1.0)


def policy(settings: Settings) -> pd.DataFrame:
    """SapAugment's policy over a batch (paper 3.2).

    Returns
    -------
    DataFrame
        One row a rank: ``rank`` (1: the lowest loss), ``strength`` (lambda, 0 to 1),
        ``probability`` of execution, ``patch_px`` and ``mask_px`` (sides in this image's pixels).
    """
    losses = tf.range(settings.batch_size, dtype=tf.float32)
    lam = augmentation.strength(losses, settings.sap_a, settings.sap_s)
    probability = augmentation.probability(lam, settings).numpy()
    return pd.DataFrame(
        {
            "rank": np.arange(1, settings.batch_size + 1),
            "strength": lam.numpy(),
            "probability": probability,
            "patch_px": np.round(settings.cutmix_px * settings.image_scale * lam.numpy()),
            "mask_px": np.round(settings.mask_px * settings.image_scale * lam.numpy()),
        }
    )


def examples(mel: np.ndarray, settings: Settings, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """The first of some samples under the four configurations at three strengths.

    Parameters
    ----------
    mel : ndarray of uint8, shape [n, mel_bands, frames]
        At least two samples: patches come from the others.
    settings : Settings
    seed : int

    Returns
    -------
    list of (title, picture)
        Pictures float32 [image_size, image_size, 3] from 0 to 1; for each strength the four
        configurations in the order of `dslite.settings.AUGMENTATIONS`.
    """
    pictures = spectrogram.picture(tf.constant(mel), settings) - GREY
    labels = tf.eye(len(mel))
    always = {"probability_min": 1.0, "probability_max": 1.0, "probability_reading": "paper"}
    settings = settings.model_copy(update=always)
    shown = []
    for strength in STRENGTHS:
        lam = tf.fill([len(mel)], strength)
        seeds = tf.random.split(tf.constant([seed, round(100 * strength)]), 2)
        pasted, mixed, _ = augmentation.cutmix(pictures, labels, lam, seeds[0], settings)
        masked, _, _ = augmentation.specaugment(pictures, labels, lam, seeds[1], settings)
        both, _, _ = augmentation.specaugment(pasted, labels, lam, seeds[1], settings)
        told = f"λ = {strength:g}"
        kept = f"{told}, label kept {100 * float(mixed[0, 0]):.0f} %"
        lines = (told, kept, told, kept)
        titles = [f"{name}\n{line}" for name, line in zip(AUGMENTATIONS, lines, strict=True)]
        shown += zip(titles, (pictures, pasted, masked, both), strict=True)
    return [(title, ((batch[0] + GREY) / 255).numpy()) for title, batch in shown]

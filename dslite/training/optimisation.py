"""Optimisers by name, the learning rate of an epoch, smoothed labels."""

import keras
import numpy as np
import tensorflow as tf

from dslite.settings import Settings


def optimizer(settings: Settings, rate: float, variables: list) -> keras.optimizers.Optimizer:
    """An optimiser of the settings' name, ready for some variables; ``sgd`` has momentum 0.9."""
    classes = {
        "adadelta": keras.optimizers.Adadelta,
        "adagrad": keras.optimizers.Adagrad,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "nadam": keras.optimizers.Nadam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    given = {"momentum": 0.9, "nesterov": True} if settings.optimizer == "sgd" else {}
    if settings.weight_decay or settings.optimizer == "adamw":
        given["weight_decay"] = settings.weight_decay  # AdamW's own default is not 0
    made = classes[settings.optimizer](rate, **given)
    made.build(variables)
    return made


def rate_at(settings: Settings, rate: float, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch (0 is the first one) of a phase of ``epochs``.

    Over ``warmup_epochs`` it rises linearly to ``rate``; then it stays, or falls along half a
    cosine towards 0 (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    warm = settings.warmup_epochs
    if epoch < warm:
        return rate * (epoch + 1) / (warm + 1)
    if settings.schedule == "constant":
        return rate
    return rate * 0.5 * (1 + float(np.cos(np.pi * (epoch - warm) / max(1, epochs - warm))))


def smoothed(labels: tf.Tensor, share: float) -> tf.Tensor:
    """One-hot labels of which a share lies evenly on all classes (Szegedy et al. 2016)."""
    return labels * (1.0 - share) + share / tf.cast(tf.shape(labels)[1], tf.float32)

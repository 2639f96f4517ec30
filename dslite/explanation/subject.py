"""A network under explanation, and what an explanation of it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import shap
import tensorflow as tf

from dslite.errors import InputError
from dslite.explanation import masking
from dslite.features import spectrogram
from dslite.models import backbones, split
from dslite.settings import Settings

BATCH = 32  # masked pictures a call of the network


@dataclass(frozen=True)
class Explanation:
    """Attributions of one chunk for one output.

    Attributes
    ----------
    values : ndarray of float64, shape [image_size, image_size]
        Summed over the colour channels; positive raises the output.
    base : float
        Output for what the values start from: the masked picture, or the background's mean. With
        values of `partition` (exactly) and `gradient` (nearly), base + sum of values = output. NaN
        for a method whose values do not sum to anything.
    output : float
        Of the whole picture.
    """

    values: np.ndarray
    base: float
    output: float

    @property
    def additivity_error(self) -> float:
        """By how much base and values miss the output."""
        return abs(self.base + float(self.values.sum()) - self.output)


class Subject:
    """A network under explanation: it sees whole pictures and pictures with hidden cells.

    Parameters
    ----------
    network : keras.Model
        Of `dslite.models.classifier.build`.
    settings : Settings
    masker : {"mean", "blur", "inpaint"}
        What stands in the place of hidden cells, see `dslite.explanation.masking`.
    background : ndarray of float32, shape [n, image_size, image_size, 3], optional
        Pictures of training chunks, RGB from 0 to 255; only `gradient` needs them.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        masker: str = "mean",
        background: np.ndarray | None = None,
    ):
        masking.require(masker)
        self.network, self.settings, self.masker = network, settings, masker
        self.background = background
        self.scale = backbones.BACKBONES[settings.backbone].scale
        side = settings.image_size
        picture = tf.TensorSpec([side, side, 3], tf.float32)
        kept = tf.TensorSpec([None, None, None], tf.bool)

        @tf.function(input_signature=[picture, picture, kept], autograph=False)
        def hidden(picture, filling, kept):
            return masking.hide(picture, filling, kept, masker)

        self._hidden = hidden
        self._network = split.frozen(
            lambda pictures: network(self.scale(pictures), training=False), side, side, 3
        )

    @cached_property
    def gradients(self) -> shap.GradientExplainer:
        """SHAP's explainer over the background; made once, since making it traces the network."""
        if self.background is None:
            raise InputError("SHAP's GradientExplainer needs a background of training pictures")
        listed = keras.Model([self.network.input], self.network.output)  # as shap calls it
        return shap.GradientExplainer(
            listed, np.asarray(self.scale(self.background)), batch_size=50
        )

    @cached_property
    def expected(self) -> np.ndarray:
        """Mean outputs over the background, float64 [outputs]."""
        return self.outputs(self.background).mean(axis=0)

    def outputs(self, pictures: np.ndarray) -> np.ndarray:
        """Outputs of whole pictures [n, image_size, image_size, 3], float64 [n, outputs]."""
        whole = np.ones((1, 1, 1), bool)
        return np.concatenate([self.masked(picture)(whole) for picture in pictures])

    def pictures(self, mel: np.ndarray) -> np.ndarray:
        """Spectrograms uint8 [n, mel_bands, frames] as float32 [n, image_size, image_size, 3]."""
        return spectrogram.picture(tf.constant(mel), self.settings).numpy()

    def masked(self, picture: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """From kept cells, bool [n, rows, columns], of one picture to outputs [n, outputs].

        The network runs once a masked picture, whatever number of its outputs is explained.
        """
        shown, filling = tf.constant(picture), tf.constant(masking.fill(picture, self.masker))

        def outputs(kept: np.ndarray) -> np.ndarray:
            parts = [kept[i : i + BATCH].astype(bool) for i in range(0, len(kept), BATCH)]
            hidden = (self._hidden(shown, filling, tf.constant(part)) for part in parts)
            found = [self._network(pictures).numpy() for pictures in hidden]
            return np.concatenate(found).astype(np.float64)

        return outputs

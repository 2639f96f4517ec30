"""Backbone + attention-ReLU head, and which of its layers are trained (paper 2.1)."""

import os
from pathlib import Path

import keras
import tensorflow as tf

from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.models import backbones, pooling
from dslite.models.weights import require_plausible
from dslite.settings import Settings


@keras.saving.register_keras_serializable("dslite")
class AReLU(keras.layers.Layer):
    """Attention-based rectified linear unit with two learnt scalars.

    ``f(x) = (1 + sigmoid(beta)) max(x, 0) + clip(alpha, 0.01, 0.99) min(x, 0)``
    (Chen, Li and Xu 2020, arXiv:2006.13858); initially alpha = 0.9, beta = 2.
    """

    def build(self, input_shape):
        """Create alpha and beta."""
        initial = keras.initializers.Constant
        self.alpha = self.add_weight(shape=(), initializer=initial(0.9), name="alpha")
        self.beta = self.add_weight(shape=(), initializer=initial(2.0), name="beta")

    def call(self, x):
        """Apply the unit, elementwise."""
        positive = (1.0 + keras.ops.sigmoid(self.beta)) * keras.ops.maximum(x, 0.0)
        return positive + keras.ops.clip(self.alpha, 0.01, 0.99) * keras.ops.minimum(x, 0.0)


def build_classifier(
    settings: Settings, outputs: int, scale: tuple[float, float] | None = None
) -> keras.Model:
    """Build a backbone with its pooling and the head.

    From images scaled for the backbone, float32 [batch, height, width, 3], to class probabilities
    [batch, outputs], or a regression's target [batch, 1]. A pre-trained backbone runs in inference
    mode throughout: its batch normalisation never updates, in neither phase. One with random
    weights is trained whole, batch normalisation too. The head ``ridge`` is a single layer, zero
    until `dslite.training.ridge` solves it.

    Parameters
    ----------
    scale : tuple of float, optional
        Mean and standard deviation of a regression's training targets; the network learns the
        standardised target and a last layer undoes that. None: a classification.

    Examples
    --------
    >>> small = Settings(backbone="squeezenet", weights="random", image_size=64)
    >>> build_classifier(small, outputs=4).output_shape
    (None, 4)
    """
    pooled = feature_extractor(settings)
    x, start = pooled.output, "glorot_uniform"
    if settings.head == "ridge":
        start = "zeros"
        if settings.products == "on":
            x = pooling.add_products(settings, pooled)
    else:
        x = keras.layers.Dense(settings.units, name="hidden")(x)
        x = AReLU(name="arelu")(x)
        x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    if scale is None:
        dense = keras.layers.Dense(outputs, "softmax", kernel_initializer=start, name="output")
        x = dense(x)
    else:
        x = keras.layers.Dense(outputs, kernel_initializer=start, name="standardised")(x)
        x = keras.layers.Rescaling(scale[1], offset=scale[0], name="output")(x)
    return keras.Model(pooled.input, x, name=f"dslite_{settings.backbone}")


def feature_extractor(settings: Settings) -> keras.Model:
    """Build a backbone with its pooling: Deep Spectrum features of a picture.

    From pictures scaled for the backbone to float32 [batch, maps]; under ``pooling: time``, an
    average over columns only that keeps the frequency axis, [batch, rows * maps]; under
    ``segments`` the blocks of `dslite.models.pooling`.
    """
    built = (settings.backbone, settings.weights, settings.picture_shape)
    backbone = backbones.build_backbone(*built, *pooling.depths(settings))
    image = keras.Input(backbone.input_shape[1:], name="picture")
    maps = backbone(image) if settings.trained_whole else backbone(image, training=False)
    scale = backbones.BACKBONES[settings.backbone].scale
    pooled = pooling.join(settings, scale, image, keras.tree.flatten(maps))
    return keras.Model(image, pooled, name="features")


def load_classifier(path: str | os.PathLike) -> keras.Model:
    """Load a saved model; nothing that its author put into the file is run.

    No such file, not a model, or one with a layer that carries code of its own is an InputError.
    """
    try:
        require_plausible(Path(path))
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # of zipfile, json, h5py, any layer: whatever a broken file provokes
        if "Lambda" in str(error) and "safe_mode" in str(error):
            reason = "a Lambda layer in it carries code, which is not run"
        else:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise InputError(f"{path}: not loaded as a model ({reason}); train it again") from None


def head(
    model: keras.Model, pooled: tf.Tensor, training: bool, end: int | None = None
) -> tf.Tensor:
    """Apply what follows the pooling, up to layer ``end``; ``training``: dropout on.

    Layer by layer: ``training=True`` given to a whole model overrides the ``training=False`` that
    `build_classifier` gave to the backbone, and its unfrozen batch normalisation would update.
    """
    names = [layer.name for layer in model.layers]
    first = 1 + max(names.index(name) for name in ("pooling", "flatten") if name in names)
    for layer in model.layers[first:end]:
        pooled = layer(pooled, training=training)
    return pooled


def backbone_of(model: keras.Model) -> keras.Model:
    """The backbone inside a model of `build_classifier`."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def trained_layers(settings: Settings, layers: int) -> int:
    """Count a backbone's last layers that are trained in phase 2.

    Table 2 counts DenseNet121's 427 layers: 298, 128, 85 and 42 are int(427 * 0.7, 0.3, 0.2, 0.1).
    The reading ``code`` is the public implementation's, which freezes that many first layers.
    """
    share = int(layers * settings.trained_share)
    if settings.fine_tune_reading == "code":
        return layers - share if share else 0
    return share


def pooled_backbone(model: keras.Model) -> keras.Model:
    """The backbone inside a model with its pooling, as one network of the same layers."""
    backbone = backbone_of(model)
    pooled = pooling.pool(model, backbone.input, backbone.outputs, copied=True)
    return keras.Model(backbone.input, pooled, name="pooled")


def set_trained(model: keras.Model, last: int) -> None:
    """Freeze the backbone but for its last layers; the head is trained, unless it is solved."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense) and layer.name in ("output", "standardised"):
            layer.trainable = any(each.name == "hidden" for each in model.layers)
    # Every layer is set: the whole made trainable does not free layers that were frozen before.
    backbone = backbone_of(model)
    backbone.trainable = True
    for position, layer in enumerate(reversed(backbone.layers)):
        layer.trainable = position < last


def inputs(mel: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Draw, resize and scale spectrograms, uint8 [batch, rows, columns]: the model's input."""
    return backbones.BACKBONES[settings.backbone].scale(spectrogram.picture(mel, settings))


def predictor(model: keras.Model, settings: Settings):
    """Compile a function from stored Mel spectrograms to the model's output, dropout off."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.uint8)], autograph=False)
    def predict(mel):
        return model(inputs(mel, settings), training=False)

    return predict

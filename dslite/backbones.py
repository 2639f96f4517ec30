"""The registry of image CNNs: how each is built, fed and given its weights."""

import os
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pooch
import tensorflow as tf

from dslite import paths
from dslite.errors import InputError

MIRROR = "DSLITE_MIRROR"  # environment variable: another host with the same files


@dataclass(frozen=True)
class WeightsFile:
    """A published file of ImageNet weights without top.

    ``md5`` is None where its publisher names no checksum; the size is compared all the same.
    """

    url: str
    size: int | None
    md5: str | None
    licence: str


@dataclass(frozen=True)
class Backbone:
    """An image CNN of the registry.

    ``build`` takes the image's side in pixels and returns the network without top and with random
    weights. ``scale`` maps RGB from 0 to 255 to what the network was pre-trained on, where the
    mean of ImageNet (or of the value range) is 0.
    """

    title: str
    build: Callable[[int], keras.Model]
    scale: Callable[[tf.Tensor], tf.Tensor]
    imagenet: WeightsFile | None


def _scale_densenet(rgb: tf.Tensor) -> tf.Tensor:
    return (rgb / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def _scale_mobilenet(rgb: tf.Tensor) -> tf.Tensor:
    return rgb / 127.5 - 1.0


def _scale_squeezenet(rgb: tf.Tensor) -> tf.Tensor:
    return tf.reverse(rgb, axis=[-1]) - [103.939, 116.779, 123.68]


def _fire(x: keras.KerasTensor, number: int, squeeze: int, expand: int) -> keras.KerasTensor:
    """Fire module: a 1x1 bottleneck, then 1x1 and 3x3 filters side by side."""
    conv = keras.layers.Conv2D
    name = f"fire{number}"
    x = conv(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    left = conv(expand, 1, activation="relu", name=f"{name}_expand1x1")(x)
    right = conv(expand, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return keras.layers.Concatenate(name=f"{name}_concat")([left, right])


def squeezenet(size: int) -> keras.Model:
    """SqueezeNet 1.1 up to fire9, without its 1000-class convolution (Iandola et al. 2016).

    Parameters
    ----------
    size : int
        Side of the image in pixels.

    Returns
    -------
    keras.Model
        [batch, size, size, 3] -> [batch, rows, columns, 512]; 722,496 parameters.
    """
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(image)
    number = 2
    for block in ([(16, 64)] * 2, [(32, 128)] * 2, [(48, 192)] * 2 + [(64, 256)] * 2):
        x = keras.layers.MaxPooling2D(3, strides=2, name=f"pool{number - 1}")(x)
        for squeeze, expand in block:
            x = _fire(x, number, squeeze, expand)
            number += 1
    return keras.Model(image, x, name="squeezenet")


def _keras_application(name: str) -> Callable[[int], keras.Model]:
    def build(size: int) -> keras.Model:
        application = getattr(keras.applications, name)
        return application(include_top=False, weights=None, input_shape=(size, size, 3))

    return build


_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"

BACKBONES: dict[str, Backbone] = {
    "densenet121": Backbone(
        "DenseNet121",
        _keras_application("DenseNet121"),
        _scale_densenet,
        WeightsFile(
            f"{_KERAS_FILES}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            None,
            "30ee3e1110167f948a6b9946edeeb738",
            "BSD-3-Clause",
        ),
    ),
    "mobilenet_v2": Backbone(
        "MobileNetV2",
        _keras_application("MobileNetV2"),
        _scale_mobilenet,
        WeightsFile(
            f"{_KERAS_FILES}/mobilenet_v2/"
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
            9_406_464,
            None,
            "Apache-2.0",
        ),
    ),
    "squeezenet": Backbone("SqueezeNet 1.1", squeezenet, _scale_squeezenet, None),
}


def download(name: str) -> Path:
    """Fetch a backbone's ImageNet weights once, into the cache.

    Raises
    ------
    InputError
        No published file, no connection, or a file that is not the published one.
    """
    source = BACKBONES[name].imagenet
    if source is None:
        raise InputError(
            f"{BACKBONES[name].title} has no published Keras weights: "
            "give the path of a weights file (weights=PATH) or weights=random"
        )
    folder, file = paths.cache() / "weights", Path(source.url).name
    url = source.url
    if os.environ.get(MIRROR):
        url = f"{os.environ[MIRROR].rstrip('/')}/{file}"
    by_hand = f"download it by hand and give its path: weights=.../{file}"
    try:
        known = f"md5:{source.md5}" if source.md5 else None
        fetched = Path(pooch.retrieve(url, known, file, folder, progressbar=sys.stderr.isatty()))
    except ValueError as error:
        raise InputError(f"{url} is not the published file ({error}); {by_hand}") from None
    except OSError as error:
        # A lost connection is told by urllib3's cause, inside an exception of requests'.
        cause = getattr(error.args[0], "reason", error) if error.args else error
        reason = str(cause).splitlines()[0][:120]
        raise InputError(f"{url} cannot be downloaded ({reason}); {by_hand}") from None
    if source.size and fetched.stat().st_size != source.size:
        found = fetched.stat().st_size
        fetched.unlink()
        raise InputError(f"{url} has {found} bytes instead of {source.size}; {by_hand}")
    return fetched


def build(name: str, weights: str, size: int) -> keras.Model:
    """A backbone without top.

    Parameters
    ----------
    name : str
        Key of `BACKBONES`.
    weights : str
        ``imagenet`` (downloaded once), ``random`` or the path of a Keras weights file.
    size : int
        Side of the image in pixels.

    Returns
    -------
    keras.Model
        [batch, size, size, 3], scaled by the backbone's ``scale`` -> [batch, rows, columns, maps].

    Raises
    ------
    InputError
        The weights cannot be had or belong to another network.
    """
    model = BACKBONES[name].build(size)
    if weights == "random":
        return model
    path = download(name) if weights == "imagenet" else Path(weights)
    # What a file leaves unset stays NaN, so that an incomplete or damaged one cannot go unnoticed.
    kernels = [variable for variable in model.weights if len(variable.shape) > 1]
    for kernel in kernels:
        kernel.assign(np.full(kernel.shape, np.nan))
    try:
        with warnings.catch_warnings():  # Keras warns once a layer of what is checked below
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0][:160]
        raise InputError(
            f"weights {path} do not fit {BACKBONES[name].title} without top: {reason}"
        ) from None
    unset = sum(np.isnan(kernel.numpy()).any() for kernel in kernels)
    if unset:
        raise InputError(
            f"weights {path} leave {unset} of {len(kernels)} kernels of "
            f"{BACKBONES[name].title} unset or NaN: they are damaged or belong to another network"
        )
    return model

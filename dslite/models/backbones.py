"""The registry of image CNNs: how each is built, fed and given its weights."""

import math
import re
import shutil
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dslite import paths
from dslite.errors import InputError
from dslite.models.weights import REGISTRY, fetch, suffix
from dslite.settings import nearest


@dataclass(frozen=True)
class Backbone:
    """An image CNN of the registry.

    ``build`` takes the image's height and width in pixels, ``smallest`` at the least, and returns
    the network without top and with random weights. ``scale`` maps RGB from 0 to 255 to what the
    network was pre-trained on, where the mean of ImageNet (or of the value range) is 0.
    """

    title: str
    build: Callable[..., keras.Model]
    scale: Callable[[tf.Tensor], tf.Tensor]
    smallest: int = 32


def _squeezenet(height: int, width: int) -> keras.Model:
    """Build SqueezeNet 1.1 (Iandola et al. 2016) up to fire9, without the classes' convolution."""
    conv, number = partial(keras.layers.Conv2D, activation="relu"), 2
    image = keras.Input((height, width, 3), name="image")
    x = conv(64, 3, strides=2, name="conv1")(image)
    for block in ([(16, 64)] * 2, [(32, 128)] * 2, [(48, 192)] * 2 + [(64, 256)] * 2):
        x = keras.layers.MaxPooling2D(3, strides=2, name=f"pool{number - 1}")(x)
        for squeeze, expand in block:  # a 1x1 bottleneck, then 1x1 and 3x3 filters side by side
            x = conv(squeeze, 1, name=f"fire{number}_squeeze1x1")(x)
            left = conv(expand, 1, name=f"fire{number}_expand1x1")(x)
            right = conv(expand, 3, padding="same", name=f"fire{number}_expand3x3")(x)
            x = keras.layers.Concatenate(name=f"fire{number}_concat")([left, right])
            number += 1
    return keras.Model(image, x, name="squeezenet")


def _build_application(title: str, height: int, width: int) -> keras.Model:
    """Build the network of this title in `keras.applications`."""
    # Scaling lies outside, as it does for every network.
    options = {"include_preprocessing": False} if title in SCALED_INSIDE else {}
    network = getattr(keras.applications, title)
    return network(include_top=False, weights=None, input_shape=(height, width, 3), **options)


SCALED_INSIDE = ("EfficientNetV2B0", "MobileNetV3Small")
SCALES = {
    # From Caffe: BGR less ImageNet's mean
    "bgr": lambda rgb: tf.reverse(rgb, axis=[-1]) - [103.939, 116.779, 123.68],
    # From TensorFlow, most of them: -1 to 1
    "range": lambda rgb: rgb / 127.5 - 1.0,
    # From Torch: ImageNet's mean 0 and standard deviation 1
    "normal": lambda rgb: (rgb / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
}
BACKBONES = {
    name: Backbone(
        row["title"],
        _squeezenet if name == "squeezenet" else partial(_build_application, row["title"]),
        SCALES[row["scale"]],
        int(row["smallest"]),
    )
    for name, row in REGISTRY.items()
}


def build_backbone(
    name: str, weights: str, size: int | tuple[int, int], *feature_layers: str
) -> keras.Model:
    """Build a backbone without top.

    From [batch, height, width, 3], scaled by the backbone's ``scale``, to [batch, rows, columns,
    maps], one of each feature layer. An image that is too small, no such layer, and weights that
    cannot be had or belong to another network are an InputError.

    Parameters
    ----------
    name : str
        Key of `BACKBONES`.
    weights : str
        ``imagenet`` (downloaded once), ``random`` or the path of a file of Keras weights, whatever
        its name.
    size : int or (int, int)
        Side of a square picture, or height and width.
    *feature_layers : str
        Layers whose outputs the network ends with; none, or empty: its last one; ``stride2`` (4, 8,
        16): the last one whose maps are half (a 4th, ...) of the picture's height, in any backbone.
    """
    entry, size = BACKBONES[name], (size, size) if isinstance(size, int) else size
    if min(size) < entry.smallest:
        least = f"{entry.title} (backbone={name}), which needs {entry.smallest} pixels at the least"
        raise InputError(f"image_size {min(size)} is too small for {least}")
    model = entry.build(*size)
    _renumber(model)
    named = [layer for layer in feature_layers if layer]
    maps = [_feature_maps(model, entry.title, layer) for layer in named]
    if weights != "random":
        published = REGISTRY[name]["url"], REGISTRY[name]["checksum"] or None
        path = fetch(*published) if weights == "imagenet" else Path(weights)
        _load_weights(model, entry.title, path)
    if not maps:
        return model
    return keras.Model(model.input, maps if len(maps) > 1 else maps[0], name=model.name)


def _renumber(model: keras.Model) -> None:
    """Give layers the names (``conv2d_93``) that they have in the first network of a process."""
    # Keras numbers layers without a name of their own over all networks of a process; one could
    # not be asked for by name, nor be recognised in a saved run.
    numbered: dict[str, list[tuple[int, keras.layers.Layer]]] = {}
    for layer in model.layers[1:]:
        words = r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])"
        kind = re.sub(words, "_", type(layer).__name__).lower()
        if name := re.fullmatch(rf"{kind}(?:_(\d+))?", layer.name):
            numbered.setdefault(kind, []).append((int(name[1] or 0), layer))
    for kind, layers in numbered.items():
        for i, (_, layer) in enumerate(sorted(layers, key=lambda pair: pair[0])):
            layer.name = f"{kind}_{i}" if i else kind


def _feature_maps(model: keras.Model, title: str, layer: str) -> keras.KerasTensor:
    """Return the output of a layer by name or stride; it must have the shape of feature maps."""
    inner = [each for each in model.layers if not isinstance(each, keras.layers.InputLayer)]
    outputs = {each.name: each.output for each in inner}
    # The last ones first: where nothing is alike, a list of hundreds of names is cut.
    valid = [each for each in reversed(outputs) if len(outputs[each].shape) == 4]
    if stride := re.fullmatch(r"stride(2|4|8|16)", layer):
        frames = keras.layers.ZeroPadding2D | keras.layers.Cropping2D
        padding = {each.name for each in inner if isinstance(each, frames)}
        # Strides are counted in octaves: without padding, maps lack a pixel or two.
        side, octave = model.input_shape[1], int(stride[1]).bit_length() - 1
        octaves = {each: round(math.log2(side / outputs[each].shape[1])) for each in valid}
        layer = next(each for each in valid if each not in padding and octaves[each] == octave)
    if layer not in valid:
        reason = "does not exist"
        if layer in outputs:
            reason = f"has an output of shape {outputs[layer].shape}"
        elif layer in {each.name for each in model.layers}:
            reason = "is the input"
        hint = textwrap.shorten(nearest(layer, valid), 200, placeholder=" ...")
        raise InputError(
            f"feature_layer {layer} of {title} {reason}; it takes a layer whose output is "
            f"[batch, rows, columns, maps]{hint}"
        )
    return outputs[layer]


def _load_weights(model: keras.Model, title: str, path: Path) -> None:
    """Read all weights of a model from a file, or raise an `InputError`."""
    # What a file leaves unset stays NaN, so that an incomplete or damaged one cannot go unnoticed.
    kernels = [variable for variable in model.weights if len(variable.shape) > 1]
    for kernel in kernels:
        kernel.assign(np.full(kernel.shape, np.nan))
    try:
        with _named(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one a layer of what is checked below
            _load(model, file)
    except InputError:
        raise
    except Exception as error:  # of h5py, zipfile, Keras: whatever a broken file provokes
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise InputError(f"weights {path} do not fit {title} without top: {reason}") from None
    if unset := sum(np.isnan(kernel.numpy()).any() for kernel in kernels):
        raise InputError(
            f"weights {path} leave {unset} of {len(kernels)} kernels of {title} unset or NaN: "
            "they are damaged or belong to another network"
        )


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    """A weights file under a name that ends as Keras demands of its format."""
    ending = suffix(path)
    if path.name.endswith(ending) and (ending != ".h5" or not path.name.endswith(".weights.h5")):
        yield path
        return
    with paths.scratch() as folder:
        yield Path(shutil.copy(path, folder / f"network{ending}"))


def _load(model: keras.Model, file: Path) -> None:
    """Read weights layer by layer; of a whole network in the older format by the layers' names."""
    try:
        model.load_weights(file)
    except ValueError:
        if file.name.endswith((".weights.h5", ".keras")):
            raise
        model.load_weights(file, by_name=True)

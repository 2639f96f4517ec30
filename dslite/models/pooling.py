"""From feature maps to features: averages over everything, over time, or over parts of the time."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dslite.features import spectrogram
from dslite.settings import Settings

ROWS = "rows"  # source of a block: the picture's own rows, without the network
VARIANCE = 1e-6  # added, since the root's slope at 0 is infinite, and silent maps are constant
# Panel -> source of a block, and how many of its rows are averaged. Chosen on RAVDESS song and
# FSDD: words are told apart by the depth with 16 rows, pitch and loudness by the early ones.
BLOCKS = (
    ((ROWS, 1), ("stride4", 2), ("stride8", 1)),
    ((ROWS, 1), ("stride2", 2), ("stride4", 2)),
)


class Block(NamedTuple):
    """A part of the features of ``pooling: segments``."""

    panel: int  # 0: the relative picture, 1: that of absolute level
    source: str  # `ROWS`, or how many pixels of the picture a row of the maps stands for
    rows: int  # that are averaged

    @property
    def name(self) -> str:
        """Name of the layer that computes it."""
        return f"{('relative', 'level')[self.panel]}_{self.source}"


PAIRED = Block(1, "stride2", 2)  # the block whose features are also multiplied in pairs
PRODUCTS = "products"
NAMES = (
    *("brightness", "pooling", PRODUCTS),
    *(Block(i, *of).name for i in range(2) for of in BLOCKS[i]),
)


def blocks(settings: Settings) -> list[Block]:
    """List the blocks of features in the order in which they are joined."""
    return [Block(i, *of) for i in range(settings.panels) for of in BLOCKS[i]]


def depths(settings: Settings) -> tuple[str, ...]:
    """List the feature layers, early ones first, that the pooling takes maps from."""
    if settings.pooling != "segments":
        return (settings.feature_layer,)
    return tuple(sorted({block.source for block in blocks(settings)} - {ROWS}))


@keras.saving.register_keras_serializable("dslite")
class Brightness(keras.layers.Layer):
    """The shade that a scaled pixel was drawn from, 0 to 1: [batch, h, w, 3] -> [batch, h, w, 1].

    ``weights_of`` holds three factors and an offset for each panel of the picture.
    """

    def __init__(self, weights_of: Sequence[Sequence[float]], **options):
        super().__init__(**options)
        self.weights_of = [list(map(float, of)) for of in weights_of]

    def call(self, x):
        """Apply each panel's factors to its rows."""
        height = x.shape[1] // len(self.weights_of)
        panels = [
            keras.ops.matmul(x[:, i * height : (i + 1) * height], np.float32(of[:3])[:, None])
            + of[3]
            for i, of in enumerate(self.weights_of)
        ]
        return panels[0] if len(panels) == 1 else keras.ops.concatenate(panels, axis=1)

    def get_config(self):
        """Return what the layer is built from."""
        return super().get_config() | {"weights_of": self.weights_of}


def brightness(settings: Settings, scale: Callable[[tf.Tensor], tf.Tensor]) -> Brightness:
    """Make the layer for a backbone's scaling: least squares over the shades of each colour map."""
    fitted = []
    for panel in range(settings.panels):
        scaled = np.asarray(scale(tf.constant(spectrogram.colours(panel)[None])))[0]
        padded = np.column_stack([scaled, np.ones(256)])
        fitted.append(np.linalg.lstsq(padded, np.arange(256) / 255, rcond=None)[0])
    return Brightness(fitted, name="brightness")


@keras.saving.register_keras_serializable("dslite")
class TimeStatistics(keras.layers.Layer):
    """Means of parts of the time and the standard deviation over all of it, rows kept.

    From maps [batch, rows, columns, maps] to [batch, features]. ``panel`` of ``panels`` says which
    part of the height is taken, ``rows`` how many rows are averaged; a block of `ROWS` also has the
    deviation of the differences between neighbouring columns.
    """

    def __init__(self, source: str, panel: int, panels: int, rows: int, segments: int, **options):
        super().__init__(**options)
        self.used = {"source": source, "panel": panel, "panels": panels}
        self.used |= {"rows": rows, "segments": segments}

    @property
    def source(self) -> str:
        """See `Block`."""
        return self.used["source"]

    def call(self, x):
        """Compute the statistics of the panel's rows."""
        ops, used = keras.ops, self.used
        height, width = x.shape[1] // used["panels"], x.shape[2]
        height -= height % used["rows"]
        first = used["panel"] * (x.shape[1] // used["panels"])
        x = x[:, first : first + height]
        if used["rows"] > 1:
            x = ops.average_pool(x, (used["rows"], 1), (used["rows"], 1))
        if used["source"] == ROWS:  # as maps: devices are slow at means over what lies side by side
            x = ops.transpose(x, (0, 3, 2, 1))
        edges = np.linspace(0, width, used["segments"] + 1).round().astype(int).tolist()
        spans = ((min(a, width - 1), b) for a, b in itertools.pairwise(edges))
        # Of fewer columns than segments some are taken twice: none is empty.
        parts = [ops.mean(x[:, :, a : max(b, a + 1)], 2) for a, b in spans]
        parts.append(_deviation(x))
        if used["source"] == ROWS:
            parts.append(_deviation(x[:, :, 1:] - x[:, :, :-1]))
        return ops.concatenate([ops.reshape(p, (-1, int(np.prod(p.shape[1:])))) for p in parts], 1)

    def get_config(self):
        """Return what the layer is built from."""
        return super().get_config() | self.used


def _deviation(x):
    """Standard deviation over the columns, [batch, rows, maps]."""
    centred = x - keras.ops.mean(x, 2, keepdims=True)
    return keras.ops.sqrt(keras.ops.mean(centred * centred, 2) + VARIANCE)


@keras.saving.register_keras_serializable("dslite")
class Products(keras.layers.Layer):
    """Products of a block's standardised features in pairs, behind all features.

    The block begins at ``begin``; its ``shape`` is [parts, rows, maps], and each feature is
    multiplied with the one at its place in [maps, rows, parts]: another part of the time, another
    row and another map, for nearly all of them. A linear head over many such products stands for a
    quadratic kernel. Not ``joined``, the block is all of the input and the products are all of the
    output. The weights, 0 and 1 at first, are learnt with a head in closed form.
    """

    def __init__(self, begin: int, shape: Sequence[int], joined: bool = True, **options):
        super().__init__(**options)
        self.used = {"begin": begin, "shape": list(map(int, shape)), "joined": joined}

    @property
    def columns(self) -> slice:
        """Place of the block among the features."""
        return slice(self.used["begin"], self.used["begin"] + int(np.prod(self.used["shape"])))

    def build(self, input_shape):
        """Create mean and factor of each of the block's features."""
        size = (int(np.prod(self.used["shape"])),)
        fixed = {"shape": size, "trainable": False}
        self.mean = self.add_weight(initializer="zeros", name="mean", **fixed)
        self.factor = self.add_weight(initializer="ones", name="factor", **fixed)

    def call(self, x):
        """Multiply in pairs."""
        ops = keras.ops
        standardised = (x[:, self.columns] - self.mean) * self.factor
        turned = ops.transpose(ops.reshape(standardised, (-1, *self.used["shape"])), (0, 3, 2, 1))
        products = standardised * ops.reshape(turned, (-1, self.mean.shape[0]))
        return ops.concatenate([x, products], 1) if self.used["joined"] else products

    def get_config(self):
        """Return what the layer is built from."""
        return super().get_config() | self.used


def products(network: keras.Model) -> Products | None:
    """Return a network's layer of products, if it has one."""
    return next((layer for layer in network.layers if isinstance(layer, Products)), None)


def add_products(settings: Settings, network: keras.Model) -> keras.KerasTensor:
    """Add products of the block `PAIRED` to a network's features."""
    layers = list(statistics(network))
    place = [layer.name for layer in layers].index(PAIRED.name)
    maps, parts = layers[place].input.shape[-1], settings.segments + 1
    shape = parts, layers[place].output.shape[-1] // (parts * maps), maps
    begin = sum(layer.output.shape[-1] for layer in layers[:place])
    return Products(begin, shape, name=PRODUCTS)(network.output)


def join(
    settings: Settings,
    scale: Callable[[tf.Tensor], tf.Tensor],
    picture: keras.KerasTensor,
    maps: Sequence[keras.KerasTensor],
) -> keras.KerasTensor:
    """Add the pooling to a network: features [batch, features] of the maps of `depths`."""
    if settings.pooling == "segments":
        layers = [
            TimeStatistics(
                *(block.source, block.panel, settings.panels, block.rows, settings.segments),
                name=block.name,
            )
            for block in blocks(settings)
        ]
        sources = {ROWS: brightness(settings, scale)(picture)}
        sources |= dict(zip(depths(settings), maps, strict=True))
        joined = [layer(sources[layer.source]) for layer in layers]
        return keras.layers.Concatenate(name="pooling")(joined)
    if settings.pooling == "global":
        return keras.layers.GlobalAveragePooling2D(name="pooling")(maps[0])
    columns = keras.layers.AveragePooling2D((1, maps[0].shape[2]), name="pooling")(maps[0])
    return keras.layers.Flatten(name="flatten")(columns)


def statistics(network: keras.Model) -> Iterator[TimeStatistics]:
    """Yield the layers of a network that compute blocks, in their order."""
    yield from (layer for layer in network.layers if isinstance(layer, TimeStatistics))


def pool(
    network: keras.Model, picture: tf.Tensor, maps: Sequence[tf.Tensor], copied: bool = False
) -> tf.Tensor:
    """Apply a network's own pooling: scaled pictures and their maps -> [batch, features].

    With ``copied``, through layers of its own: one that is called twice belongs to two graphs.
    """

    def layer_of(name: str) -> keras.layers.Layer:
        layer = network.get_layer(name)
        return type(layer).from_config(layer.get_config()) if copied else layer

    layers = list(statistics(network))
    if not layers:
        pooled = layer_of("pooling")(maps[0])
        flat = any(layer.name == "flatten" for layer in network.layers)
        return layer_of("flatten")(pooled) if flat else pooled
    names = sorted({layer.source for layer in layers} - {ROWS})
    sources = dict(zip(names, maps, strict=True))
    sources[ROWS] = layer_of("brightness")(picture)
    return layer_of("pooling")([layer_of(layer.name)(sources[layer.source]) for layer in layers])

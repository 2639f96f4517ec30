"""A backbone split into its frozen trunk and its trained tail.

The frozen layers' output for a picture never changes, so it need not be computed at every step:
the trunk maps a picture to the tensors that cross the cut, the tail maps these to feature maps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# Frozen layers may be computed again in the tail where that makes what is stored smaller, as long
# as they add at most this share to the multiply-adds of the trained layers.
RECOMPUTED = 0.1


@dataclass(frozen=True)
class Cut:
    """A backbone in two parts.

    Attributes
    ----------
    position : int
        Number of the backbone's operations that belong to the trunk.
    shapes : tuple of tuple of int
        Shapes of the tensors that cross the cut, without the batch.
    first : keras.Model
        Pictures -> these tensors.
    last : keras.Model
        These tensors -> the backbone's output.
    """

    position: int
    shapes: tuple[tuple[int, ...], ...]
    first: keras.Model
    last: keras.Model

    @property
    def is_whole(self) -> bool:
        """Whether nothing is frozen: the picture itself crosses."""
        return self.position <= 1

    @property
    def size(self) -> int:
        """Count of the numbers that cross the cut for one picture."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def trunk(self, pictures: tf.Tensor) -> tf.Tensor:
        """Compute what crosses, float32 [batch, size], from pictures scaled for the backbone."""
        return _joined(tf.nest.flatten(self.first(pictures, training=False)))

    def tail(self, crossing: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Compute the backbone's output [batch, rows, columns, maps] from what crosses.

        ``training`` is that of the batch normalisation: a pre-trained backbone's is never on.
        """
        return self.last(_separated(crossing, self.shapes), training=training)


def _joined(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Put a batch's tensors side by side: [batch, ...] each -> [batch, numbers]."""
    flat = [tf.reshape(t, [tf.shape(t)[0], int(np.prod(t.shape[1:]))]) for t in tensors]
    return flat[0] if len(flat) == 1 else tf.concat(flat, axis=1)


def _separated(flat: tf.Tensor, shapes: tuple[tuple[int, ...], ...]) -> list[tf.Tensor]:
    """Invert `_joined`."""
    parts = [flat]
    if len(shapes) > 1:
        parts = tf.split(flat, [int(np.prod(shape)) for shape in shapes], axis=1)
    return [tf.reshape(p, [-1, *shape]) for p, shape in zip(parts, shapes, strict=True)]


def cut(backbone: keras.Model, trained: int) -> Cut:
    """Cut a backbone so that its last ``trained`` layers lie in the tail.

    Among the places before the first trained layer, the one where the least has to be stored is
    taken, as long as the frozen layers between it and the first trained one are cheap
    (`RECOMPUTED`). A dense block, for instance, is cut where only its own concatenation crosses.

    Parameters
    ----------
    backbone : keras.Model
        Functional, as `dslite.models.backbones.build_backbone` gives it, and not cut before.
    trained : int
        At least 1. If that is every layer, the picture itself crosses.
    """
    operations = list(backbone.operations)
    if not 0 < trained <= len(backbone.layers):
        raise ValueError(f"{trained} of {len(backbone.layers)} layers cannot be trained")
    start = operations.index(backbone.layers[len(backbone.layers) - trained])
    crossing = _crossings(operations, backbone.outputs)
    costs = [_multiply_adds(operation) for operation in operations]
    allowed = RECOMPUTED * sum(costs[start:])
    # The operation at 0 is the input itself: nothing lies before it.
    places = [p for p in range(1, max(start, 1) + 1) if sum(costs[p:start]) <= allowed]

    def stored(place: int) -> int:
        return sum(int(np.prod(tensor.shape[1:])) for tensor in crossing[place])

    best = min(places, key=lambda place: (stored(place), -place))
    tensors = crossing[best]
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    # The order matters: the tail shares its layers under new inputs.
    first = keras.Model(backbone.input, tensors)
    return Cut(best, shapes, first, keras.Model(tensors, backbone.output))


def _crossings(operations: list, outputs: list) -> list[list]:
    """List the tensors that cross each place p, before operation p, in the order of operations."""
    births, ends = {}, {}
    for position, operation in enumerate(operations):
        for tensor in keras.tree.flatten(operation.output):
            births[id(tensor)] = (position, tensor)
        if position:
            for tensor in keras.tree.flatten(operation.input):
                ends[id(tensor)] = position
    for tensor in outputs:
        ends[id(tensor)] = len(operations)
    spans = [(born, ends[key], tensor) for key, (born, tensor) in births.items() if key in ends]
    return [
        [tensor for born, last, tensor in spans if born < place <= last]
        for place in range(len(operations) + 1)
    ]


def _multiply_adds(operation: keras.Operation) -> int:
    """Count one sample's multiply-adds through a layer: each kernel at each place of the output."""
    kernels = [w for w in getattr(operation, "weights", []) if len(w.shape) > 1]
    if not kernels:
        return 0
    shape = keras.tree.flatten(operation.output)[0].shape[1:-1]
    return sum(int(np.prod(shape)) * int(np.prod(kernel.shape)) for kernel in kernels)


def frozen(function: Callable[[tf.Tensor], tf.Tensor], *shape: int) -> Callable:
    """Compile a function of a batch, its variables turned into constants.

    With constants TensorFlow folds batch normalisation into the convolutions, which makes a
    DenseNet121 a tenth to a fifth faster. The batch goes through in two halves of one graph: while
    the threads of one half wait for each other at the end of an operation, those of the other
    go on (another tenth, on two cores). The result no longer depends on the model, so that two
    trainings from the same weights share it.

    Parameters
    ----------
    function : callable
        float32 [batch, *shape] -> float32 [batch, numbers].
    """

    def halves(batch: tf.Tensor) -> tf.Tensor:
        count = tf.shape(batch)[0]
        middle = count // 2
        # A convolution of an empty batch fails: of a single sample both halves are the sample.
        first, second = batch[: tf.maximum(middle, 1)], batch[tf.minimum(middle, count - 1) :]
        return tf.concat([function(first), function(second)], 0)[:count]

    spec = [tf.TensorSpec([None, *shape], tf.float32)]
    traced = tf.function(halves, input_signature=spec, autograph=False)
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    return lambda batch: constant(batch)[0]

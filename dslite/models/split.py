"""A backbone split into its frozen trunk and its trained tail.

The frozen layers' output for a picture never changes, so it need not be computed at every step:
the trunk maps a picture to the tensors that cross the cut, the tail maps these to feature maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dslite.models.pooling import Brightness, TimeStatistics

# Frozen layers may be computed again in the tail where that makes what is stored smaller, as long
# as they add at most this share to the multiply-adds of the trained layers.
RECOMPUTED = 0.1


@dataclass(frozen=True)
class Cut:
    """A backbone in two parts."""

    position: int  # number of the network's operations that belong to the trunk
    shapes: tuple[tuple[int, ...], ...]  # of the tensors that cross the cut, without the batch
    first: keras.Model  # pictures -> these tensors
    last: keras.Model  # these tensors -> the network's output

    @property
    def is_whole(self) -> bool:
        """Whether nothing is frozen: the picture itself crosses."""
        return self.position <= 1

    @property
    def sizes(self) -> list[int]:
        """Count of the numbers in each tensor that crosses the cut for one picture."""
        return [int(np.prod(shape)) for shape in self.shapes]

    @property
    def size(self) -> int:
        """Count of all numbers that cross."""
        return sum(self.sizes)

    def trunk(self, pictures: tf.Tensor) -> tf.Tensor:
        """Compute what crosses, float32 [batch, size], from pictures scaled for the backbone."""
        tensors = tf.nest.flatten(self.first(pictures, training=False))
        flat = [
            tf.reshape(t, [tf.shape(t)[0], size])
            for t, size in zip(tensors, self.sizes, strict=True)
        ]
        return flat[0] if len(flat) == 1 else tf.concat(flat, axis=1)

    def tail(self, crossing: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Compute the output from what crosses; ``training`` is the batch normalisation's."""
        parts = [crossing] if len(self.shapes) == 1 else tf.split(crossing, self.sizes, axis=1)
        tensors = [tf.reshape(p, [-1, *shape]) for p, shape in zip(parts, self.shapes, strict=True)]
        return self.last(tensors, training=training)


def cut(network: keras.Model, trained: Sequence[keras.layers.Layer]) -> Cut:
    """Cut a network, not cut before, so that some trained layers lie in the tail.

    Of the places before the first trained layer, that where the least has to be stored is taken, as
    long as the frozen layers behind it are cheap (`RECOMPUTED`): in a dense block, where only a
    concatenation crosses. Where every layer is trained, the picture itself crosses.
    """
    operations = _hoisted(list(network.operations))
    places = [operations.index(layer) for layer in trained]
    if not places:
        raise ValueError("no layer is trained")
    start = min(places)
    crossing = _crossings(operations, network.outputs)
    costs = [multiply_adds(operation) for operation in operations]
    allowed = RECOMPUTED * sum(costs[start:])
    # The operation at 0 is the input itself: nothing lies before it.
    places = [p for p in range(1, max(start, 1) + 1) if sum(costs[p:start]) <= allowed]

    def stored(place: int) -> int:
        return sum(int(np.prod(tensor.shape[1:])) for tensor in crossing[place])

    best = min(places, key=lambda place: (stored(place), -place))
    tensors = crossing[best]
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    # The order matters: the tail shares its layers under new inputs.
    first = keras.Model(network.input, tensors)
    return Cut(best, shapes, first, keras.Model(tensors, network.output))


def _hoisted(operations: list) -> list:
    """Put a pooling right behind what it pools: its means cross, not the maps or the picture."""
    pooled = [each for each in operations if isinstance(each, Brightness | TimeStatistics)]
    for layer in pooled:
        operations.remove(layer)
        source = layer.input
        behind = next(i for i, of in enumerate(operations) if of.output is source)
        operations.insert(behind + 1, layer)
    return operations


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


def multiply_adds(layer: keras.Operation) -> int:
    """Count one sample's multiply-adds through a network's convolutions and dense layers.

    Each number of a kernel is used once at each place of the output. The paper's Table 5 calls
    this FLOPs; counted as operations there are twice as many.
    """
    if isinstance(layer, keras.Model):
        return sum(map(multiply_adds, layer.operations))
    kernels = [w for w in getattr(layer, "weights", []) if len(w.shape) > 1]
    if not kernels:
        return 0
    shape = keras.tree.flatten(layer.output)[0].shape[1:-1]
    return sum(int(np.prod(shape)) * int(np.prod(kernel.shape)) for kernel in kernels)


def frozen(function: Callable[[tf.Tensor], tf.Tensor], *shape: int) -> Callable:
    """Compile a function float32 [batch, *shape] -> [batch, numbers], its variables constants.

    With constants TensorFlow folds batch normalisation into the convolutions: a DenseNet121 is a
    tenth to a fifth faster. The batch goes through in two halves of one graph: while the threads of
    one wait for each other, those of the other go on (another tenth, on two cores). The result no
    longer depends on the model, so that two trainings from the same weights share it.
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

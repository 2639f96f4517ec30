"""Quantise the network of a TensorFlow Lite file to float16 or int8.

The spectrogram stays in float32: quantised, its logarithm and its minimum and maximum are lost.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from dslite import tensorflow_logging
from dslite.deployment import runtime

FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS = ("float32", "float16", "dynamic", "int8")
# `dslite.models.classifier` names its network so, and thereby the tensors in it.
SCOPE = r".*dslite_.*"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def file_name(part: str, variant: str) -> str:
    """Return the name of a part's file in a variant: ``model.tflite``, ``cnn-int8.tflite``."""
    return f"{part}.tflite" if variant == FLOAT32 else f"{part}-{variant}.tflite"


class Quantiser:
    """A float32 file, from which smaller ones are made; calibrated once.

    ``samples`` are inputs of the file (of the name ``input_name``) to calibrate `INT8` with: the
    range of every tensor of the network is taken over them. Training data, never the test
    partition's.
    """

    def __init__(self, content: bytes, samples: Iterable[np.ndarray], input_name: str = "waveform"):
        self._content = content
        self._samples = [{input_name: sample} for sample in samples]
        self._ranges = None

    def layers(self) -> list[str]:
        """Return the names of the layers with weights, in the order in which they run."""
        from ai_edge_litert.interpreter import OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = runtime.interpreter(self._content, experimental_op_resolver_type=plain)
        names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        return [
            names[operator["outputs"][0]]
            for operator in interpreter._get_ops_details()
            if operator["op_name"] in WEIGHTED and re.match(SCOPE, names[operator["outputs"][0]])
        ]

    def make(self, variant: str, keep: Sequence[str] = ()) -> bytes:
        """Return the file in one of `VARIANTS`, the layers to ``keep`` (see `layers`) in float32.

        `FLOAT16`: weights of 16 bits, computed in float32. `DYNAMIC`: weights of 8 bits but for
        depthwise layers, activations quantised as they come. `INT8`: both, by the ranges seen in
        calibration. Input and output stay float32.
        """
        if variant == FLOAT32:
            return self._content
        with _quietly():
            quantizer = self._with_recipe(variant, keep)
            if variant == INT8 and self._ranges is None:
                data = {"serving_default": self._samples}
                self._ranges = quantizer.calibrate(data, num_threads=2)
            result = quantizer.quantize(self._ranges if variant == INT8 else None)
        return bytes(result.quantized_model)

    def _with_recipe(self, variant: str, keep: Sequence[str]):
        """Return the library's quantizer with the rules of a variant."""
        from litert_quantizer import qtyping, quantizer
        from litert_quantizer.algorithm_manager import AlgorithmName

        recipe, kind = quantizer.Quantizer(bytearray(self._content)), qtyping.TFLOperationName
        if variant == FLOAT16:
            halves = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=halves,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            for name in WEIGHTED:
                recipe.update_quantization_recipe(
                    SCOPE, kind(name), config, AlgorithmName.FLOAT_CASTING
                )
        elif variant == DYNAMIC:
            # Not the depthwise ones: they have few weights, and the runtime is slower with 8 bits.
            for name in ("CONV_2D", "FULLY_CONNECTED"):
                recipe.add_dynamic_config(SCOPE, kind(name), num_bits=8)
        else:
            recipe.add_static_config(
                SCOPE, kind.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
            )
            # 256 steps are too few for probabilities near 0 and 1.
            recipe.update_quantization_recipe(
                SCOPE, kind.SOFTMAX, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        for name in keep:
            recipe.update_quantization_recipe(
                re.escape(name), kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        return recipe


@contextlib.contextmanager
def _quietly():
    """Suppress the progress bars, summaries and warnings of the library."""
    with (
        tensorflow_logging.silent_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield

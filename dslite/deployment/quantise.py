"""Smaller numbers in a TensorFlow Lite file: float16 or int8, for the network and nothing else.

The spectrogram stays in float32: quantised, its logarithm and its minimum and maximum are lost.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from dslite import tensorflow_logging

FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS = ("float32", "float16", "dynamic", "int8")
SCOPE = (
    r".*dslite_.*"  # what `dslite.models.classifier` names its network, and so the tensors in it
)
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
INPUT = "waveform"


def stem(part: str, variant: str) -> str:
    """Name of a part's file without its suffix: ``model``, ``cnn-int8`` and so on."""
    return part if variant == FLOAT32 else f"{part}-{variant}"


class Quantiser:
    """One float32 file, from which smaller ones are made; calibrated once.

    Parameters
    ----------
    content : bytes
        A TensorFlow Lite file, float32 throughout.
    samples : iterable of ndarray
        Inputs of the file to calibrate `INT8` with: the range of every tensor of the network is
        taken over them. Training data, never the test partition's.
    name : str
        Of the input.
    """

    def __init__(self, content: bytes, samples: Iterable[np.ndarray], name: str = INPUT):
        self._content = content
        self._samples = [{name: sample} for sample in samples]
        self._ranges = None

    def layers(self) -> list[str]:
        """Names of the layers with weights, in the order in which they run."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with tensorflow_logging.silent_stderr():
            interpreter = Interpreter(
                model_content=self._content,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        return [
            names[operator["outputs"][0]]
            for operator in interpreter._get_ops_details()
            if operator["op_name"] in WEIGHTED and re.match(SCOPE, names[operator["outputs"][0]])
        ]

    def make(self, variant: str, keep: Sequence[str] = ()) -> bytes:
        """The file in a variant.

        Parameters
        ----------
        variant : str
            One of `VARIANTS`. `FLOAT16`: weights of 16 bits, computed in float32. `DYNAMIC`:
            weights of 8 bits but for depthwise layers, activations quantised as they come.
            `INT8`: both, by the ranges seen in calibration. Input and output stay float32.
        keep : sequence of str
            Layers (see `layers`) that stay as they are.
        """
        if variant == FLOAT32:
            return self._content
        with _quietly():
            quantiser = self._with_recipe(variant, keep)
            if variant == INT8 and self._ranges is None:
                data = {"serving_default": self._samples}
                self._ranges = quantiser.calibrate(data, num_threads=2)
            made = quantiser.quantize(self._ranges if variant == INT8 else None)
        return bytes(made.quantized_model)

    def _with_recipe(self, variant: str, keep: Sequence[str]):
        from litert_quantizer import quantizer
        from litert_quantizer.algorithm_manager import AlgorithmName
        from litert_quantizer.qtyping import (
            ComputePrecision,
            OpQuantizationConfig,
            TensorDataType,
            TensorQuantizationConfig,
            TFLOperationName,
        )

        made = quantizer.Quantizer(bytearray(self._content))
        every = TFLOperationName.ALL_SUPPORTED
        if variant == FLOAT16:
            halves = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
            config = OpQuantizationConfig(
                weight_tensor_config=halves,
                compute_precision=ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            for name in WEIGHTED:
                made.update_quantization_recipe(
                    SCOPE, TFLOperationName(name), config, AlgorithmName.FLOAT_CASTING
                )
        elif variant == DYNAMIC:
            # Not the depthwise ones: they have few weights, and the runtime is slower with 8 bits.
            for name in ("CONV_2D", "FULLY_CONNECTED"):
                made.add_dynamic_config(SCOPE, TFLOperationName(name), num_bits=8)
        else:
            made.add_static_config(SCOPE, every, activation_num_bits=8, weight_num_bits=8)
            # 256 steps are too few for probabilities near 0 and 1.
            made.update_quantization_recipe(
                SCOPE, TFLOperationName.SOFTMAX, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        for name in keep:
            made.update_quantization_recipe(
                re.escape(name), every, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        return made


@contextlib.contextmanager
def _quietly():
    """Without the progress bars, summaries and warnings of the library."""
    with (
        tensorflow_logging.silent_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield

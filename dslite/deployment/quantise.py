"""Smaller files from a float32 one: its variants, calibrated on audio."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from unittest import mock

import numpy as np

from dslite.deployment import runtime
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8
from dslite.features import spectrogram
from dslite.models import pooling, tensorflow_logging
from dslite.settings import Settings

# `dslite.models.classifier` names its network so, and thereby the tensors in it.
SCOPE = r".*dslite_.*"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
STATISTICS = rf"{SCOPE}/({'|'.join(pooling.NAMES)})_.*"  # layers that compute them
HEAD = rf"{SCOPE}/output_({'|'.join(pooling.NAMES)}|sum)_.*"  # see `convert.divide_head`
PRODUCTS = rf"{SCOPE}/output_{pooling.PRODUCTS}_.*"
FILTERS = rf".*{spectrogram.FILTERS}.*"  # of a clip's panels
THREADS = 2
SMALLEST_RANGE = 1e-3  # of the median one
TONES_HZ = {"calibration": (150, 700, 2600), "comparison": (220, 1000, 3300)}


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide progress bars, summaries and warnings of converters; errors still raise."""
    with (
        tensorflow_logging.silent_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _names_as_bytes() -> Iterator[None]:
    """Let litert-quantizer 0.11.0 name the copy of a shared constant in bytes, as all tensors.

    Layers of equal weights share one constant; to the text that names its copy the library adds
    bytes, a TypeError.
    """
    from litert_quantizer.transformations import duplicate_tensor

    copy = duplicate_tensor.duplicate_tensor

    def named(step):
        info = copy(step)
        tensor = step.subgraph.tensors[info.output_tensor_id]
        tensor.name = tensor.name.encode()
        return info

    with mock.patch.object(duplicate_tensor, "duplicate_tensor", named):
        yield


def synthetic_sounds(settings: Settings, purpose: str) -> np.ndarray:
    """Return what is no recording, one chunk each: silence, clicks, noise loud and faint, tones.

    float32 [chunks, samples]; ``purpose``, one of `TONES_HZ`, decides the tones and the noise.
    """
    samples, rng = settings.chunk_samples, np.random.default_rng(list(TONES_HZ).index(purpose))
    seconds = np.arange(samples) / settings.sample_rate
    clicks = np.zeros((2, samples))
    clicks[0, samples // 3], clicks[1, :: max(1, settings.sample_rate // 7)] = 1.0, 0.5
    noise = rng.standard_normal((2, samples)) * [[0.2], [1e-3]]
    hertz = [of for of in TONES_HZ[purpose] if of < settings.sample_rate / 2]
    tones = [0.5 * np.sin(2 * np.pi * of * seconds) for of in hertz]
    tones.append(rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * (100 + 300 * seconds) * seconds))
    return np.concatenate([np.zeros((1, samples)), clicks, noise, tones]).astype(np.float32)


def with_floor(ranges: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict]:
    """Widen the calibrated ranges, ``min`` and ``max`` of each tensor, that are next to nothing.

    The scale of a tensor that was always 0, as behind a silent layer, is out of all proportion to
    its neighbours', which the runtime does not survive.
    """
    widths = {
        name: max(np.max(of["max"]), 0.0) - min(np.min(of["min"]), 0.0)
        for name, of in ranges.items()
        if of
    }
    floor = SMALLEST_RANGE * float(np.median([width for width in widths.values() if width] or [1]))
    widened = {name: dict(of) for name, of in ranges.items()}
    for name in [name for name, width in widths.items() if width < floor]:
        low = np.minimum(ranges[name]["min"], 0.0)
        widened[name]["max"] = np.maximum(ranges[name]["max"], low + np.float32(floor))
    return widened


class Quantiser:
    """A float32 file, from which smaller ones are made; calibrated once, on training data."""

    def __init__(self, content: bytes, samples: Iterable[np.ndarray], input_name: str = "waveform"):
        self._content = content
        self._samples = [{input_name: sample} for sample in samples]
        self._ranges = None

    def layers(self) -> list[str]:
        """Return the names of the layers with weights, in the order in which they run."""
        weighted = (outputs[0] for name, _, outputs in self._operations if name in WEIGHTED)
        return [name for name in weighted if re.match(SCOPE, name)]

    def exact(self, variant: str) -> list[str]:
        """Return the layers that a variant never quantises: `INT8` those of multiplied features.

        A product of two features has the errors of both, many times what the sum over features
        averages out; up to them it is a handful of small layers.
        """
        needed = set()
        for _, inputs, outputs in reversed(self._operations if variant == INT8 else []):
            if needed.intersection(outputs) or re.match(PRODUCTS, outputs[0]):
                needed.update(inputs, outputs)
        other = f"{STATISTICS}|{HEAD}"
        return [of for of in self.layers() if of in needed and not re.match(other, of)]

    @cached_property
    def _operations(self) -> list[tuple[str, list[str], list[str]]]:
        """Operations as they run: kind, names of what each reads and of what it writes."""
        from ai_edge_litert.interpreter import OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = runtime.interpreter(self._content, experimental_op_resolver_type=plain)
        names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        return [
            (of["op_name"], *([names.get(i, "") for i in of[key]] for key in ("inputs", "outputs")))
            for of in interpreter._get_ops_details()
        ]

    def make(self, variant: str, keep: Sequence[str] = ()) -> bytes:
        """Return the file in a variant, the layers to ``keep`` (see `layers`) in float32.

        `FLOAT16`: weights of 16 bits, computed in float32. `DYNAMIC`: weights of 8 bits but for
        depthwise layers, activations quantised as they come. `INT8`: both, by the ranges seen in
        calibration. Input and output stay float32.
        """
        if variant == FLOAT32:
            return self._content
        with silent():
            quantizer = self._with_recipe(variant, keep)
            if variant == INT8 and self._ranges is None:
                data = {"serving_default": self._samples}
                self._ranges = with_floor(quantizer.calibrate(data, num_threads=THREADS))
            ranges = self._ranges if variant == INT8 else None
            with _names_as_bytes():
                result = quantizer.quantize(ranges, enable_progress_report=False)
        return bytes(result.quantized_model)

    def _with_recipe(self, variant: str, keep: Sequence[str]):
        """Return the library's quantizer with the rules of a variant."""
        from litert_quantizer import qtyping, quantizer
        from litert_quantizer.algorithm_manager import AlgorithmName

        recipe, kind = quantizer.Quantizer(bytearray(self._content)), qtyping.TFLOperationName
        update = recipe.update_quantization_recipe
        if variant == FLOAT16:
            halves = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=halves,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            for name in WEIGHTED:
                update(SCOPE, kind(name), config, AlgorithmName.FLOAT_CASTING)
            update(FILTERS, kind.FULLY_CONNECTED, config, AlgorithmName.FLOAT_CASTING)
        elif variant == DYNAMIC:
            # Not the depthwise ones: they have few weights, and the runtime is slower with 8 bits.
            for name in ("CONV_2D", "FULLY_CONNECTED"):
                recipe.add_dynamic_config(SCOPE, kind(name), num_bits=8)
        else:
            recipe.add_static_config(
                SCOPE, kind.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
            )
            # 256 steps are too few for probabilities near 0 and 1.
            update(SCOPE, kind.SOFTMAX, algorithm_key=AlgorithmName.NO_QUANTIZE)
            update(STATISTICS, kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
        if variant != FLOAT16:  # features of many scales: only the weights are of 8 bits
            update(HEAD, kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
            for scope in (HEAD, FILTERS):
                recipe.add_weight_only_config(scope, kind.FULLY_CONNECTED, num_bits=8)
        for name in [*self.exact(variant), *keep]:
            update(re.escape(name), kind.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
        return recipe

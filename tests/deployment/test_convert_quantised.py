"""Variants: small where they should be, float32 where they must be."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from dslite.deployment import convert
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS, file_name
from dslite.features import store as feature_store
from dslite.models import classifier


def operations(run, variant):
    """Name, dtypes of the inputs and dtype of the output of every operator, in order."""
    loaded = Interpreter(
        model_path=str(run.folder / file_name("model", variant)),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    types = {t["index"]: np.dtype(t["dtype"]).name for t in loaded.get_tensor_details()}
    return [
        (op["op_name"], [types[i] for i in op["inputs"] if i in types], types[op["outputs"][0]])
        for op in loaded._get_ops_details()
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_spectrogram_stays_in_float32(converted_run, variant):
    before = []
    for name, reads, writes in operations(converted_run, variant):
        if name == "CONV_2D":
            break
        if name == "DEQUANTIZE":  # of the network's weights, wherever the runtime puts it
            continue
        before.append(name)
        assert writes not in ("int8", "float16") or name == "QUANTIZE", name
        assert not {"float16", "int8"} & set(reads), name
    assert {"RFFT2D", "LOG", "RESIZE_BILINEAR"} <= set(before)


def test_the_network_is_smaller(converted_run):
    for variant, dtype in {FLOAT32: "float32", DYNAMIC: "int8", INT8: "int8"}.items():
        reads = [r for name, r, _ in operations(converted_run, variant) if name == "CONV_2D"]
        assert len(reads) > 20
        assert all(dtype in read for read in reads), variant
    size = {v: (converted_run.folder / file_name("model", v)).stat().st_size for v in VARIANTS}
    network = classifier.load_classifier(converted_run.folder / "model.keras")
    weights = 4 * network.count_params()
    # What is saved is saved of the weights: half by float16, three quarters by int8.
    for variant, share in {FLOAT16: 1 / 2, DYNAMIC: 3 / 4, INT8: 3 / 4}.items():
        assert size[FLOAT32] - size[variant] == pytest.approx(weights * share, rel=0.1)


def test_layers_to_keep_stay_in_float32(converted_run, small_store):
    content = (converted_run.folder / "model.tflite").read_bytes()
    chunks = small_store.chunks("train")[:2]
    waves = feature_store.waveforms(small_store, chunks, converted_run.settings)
    quantiser = convert.Quantiser(content, [wave[None] for wave in waves])
    layers = quantiser.layers()
    assert len(layers) > 20
    for variant in (DYNAMIC, INT8):
        plain, partly = (quantiser.make(variant, keep) for keep in ([], layers[3:5]))
        assert len(partly) > len(plain)
        # Made again it is the same file: nothing of a recipe stays behind.
        assert quantiser.make(variant) == plain
        assert quantiser.make(variant, layers[3:5]) == partly

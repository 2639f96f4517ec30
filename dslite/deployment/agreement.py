"""Does a converted file say what the trained model says? Measured, and mended where it does not.

The variant of a run's file is chosen and mended on devel; test is only reported. The final model
has learnt from devel, so what it loses there is the least that it loses.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite import provenance
from dslite.deployment import convert, quantise, runtime
from dslite.errors import ConversionError
from dslite.evaluation import metrics, significance
from dslite.features import store as feature_store
from dslite.features.store import Store
from dslite.models import classifier
from dslite.training import runs

FILE = "faithfulness.json"
PARTS = ("devel", "test")
LOST = 0.01  # of UAR: what loses more has layers put back into float32
MOST_KEPT = 16  # layers; what needs more is said to be lost
SENSITIVITY_CHUNKS = 24
CALIBRATION = 64  # training chunks
# Largest mean difference of a probability (of a regression: in standard deviations of its
# predictions). float32 differs by the rounding of the spectrogram's 256 steps, the others by their
# own. Not the share of equal decisions: where two classes tie, any rounding decides.
TOLERANCE = {
    quantise.FLOAT32: 1e-3,
    quantise.FLOAT16: 1e-2,
    quantise.DYNAMIC: 5e-2,
    quantise.INT8: 5e-2,
}


def outputs(content: bytes, waveforms: Iterable[np.ndarray], threads: int = 2) -> np.ndarray:
    """What a file says of chunks: float32 [chunks, outputs]."""
    call = runtime.runner(content, threads)
    return np.concatenate([call(waveform[None]) for waveform in waveforms])


def compare(
    run: runs.Run, store: Store, chunks: np.ndarray, expected: np.ndarray, found: np.ndarray
) -> dict[str, Any]:
    """How far a file's outputs are from Keras's, by chunk and by file.

    Returns
    -------
    dict
        As `tflite.agreement`, and for classes whose labels are known ``uar`` and ``keras_uar`` at
        file level (fractions), ``uar_difference`` (the file's less Keras's) and its 95 %
        ``interval`` over draws of the files with replacement, the same files for both
        (`dslite.evaluation.significance.uar_difference`; None for a single file).
    """
    result = convert.agreement(expected, found, run.task)
    rows, file = np.unique(store.file[chunks], return_inverse=True)
    labels = store.files["label"].iloc[rows]
    if run.task == "regression" or (labels == "").any():
        return result
    position = {name: i for i, name in enumerate(run.classes)}
    truth = labels.map(position).to_numpy(int)
    fused = [metrics.fuse(o, file, run.settings.fusion).argmax(axis=1) for o in (expected, found)]
    n = len(run.classes)
    keras_uar, uar = (metrics.uar(truth, said, n) for said in fused)
    paired = significance.uar_difference(truth, *fused, n)
    # Nothing varies where there is one file only.
    known = paired["low"] is not None
    return result | {
        "uar": float(uar),
        "keras_uar": float(keras_uar),
        "uar_difference": float(uar - keras_uar),
        "interval": [paired["low"], paired["high"]] if known else None,
    }


def _require_faithful(file: str, variant: str, found: dict[str, Any], spread: float) -> None:
    difference = found["mean_difference"] / spread
    if not difference <= TOLERANCE[variant]:
        raise ConversionError(
            f"{file}: differs from Keras by {difference:.2g} on average (devel), more than the "
            f"{TOLERANCE[variant]:g} allowed for {variant}"
        )


def sensitivity(
    quantiser: quantise.Quantiser,
    variant: str,
    waveforms: list[np.ndarray],
    expected: np.ndarray,
) -> dict[str, float]:
    """How much each layer's smaller numbers cost: name -> mean difference that goes without it.

    Each layer in turn is put back into float32 while all others stay as they are; what the mean
    difference of the outputs falls by is that layer's share. Largest first.
    """

    def difference(keep: list[str]) -> float:
        found = outputs(quantiser.make(variant, keep), waveforms)
        return float(np.abs(found - expected).mean())

    whole = difference([])
    shares = {name: whole - difference([name]) for name in quantiser.layers()}
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _spread_chunks(chunks: np.ndarray, most: int) -> np.ndarray:
    """So many of some chunks at most, evenly spread."""
    if len(chunks) <= most:
        return chunks
    return chunks[np.linspace(0, len(chunks) - 1, most).astype(int)]


def assess(
    run: runs.Run,
    store: Store,
    log: Callable[[str], None] = print,
    variants: Sequence[str] = quantise.VARIANTS,
) -> dict[str, Any]:
    """Convert a run in its variants, mend what loses too much, compare, write it down.

    On the whole devel partition each variant's file from waveform to outputs is compared with
    Keras. One that loses more than `LOST` of UAR gets its most sensitive layers back in float32,
    twice as many each time, until it loses less or `MOST_KEPT` are reached; training chunks say
    which they are. float32, which the others are made from, is always among the ``variants``.

    Returns
    -------
    dict
        Content of ``faithfulness.json``: variant -> what `compare` found on devel, with ``layers``
        (how many have weights), ``kept`` (those in float32), ``size_bytes`` and ``test`` (the same
        on the test partition, which nothing was chosen on).

    Raises
    ------
    ConversionError
        A file differs from Keras by more than its `TOLERANCE`.
    """
    network = classifier.load_classifier(run.folder / "model.keras")
    predictor = classifier.predictor(network, run.settings)
    expected = {
        part: feature_store.predict(predictor, store.mel, store.chunks(part)) for part in PARTS
    }
    chosen = _spread_chunks(store.chunks("train"), CALIBRATION)
    waveforms = list(feature_store.waveforms(store, chosen, run.settings))
    calibration = list(zip(waveforms, store.mel[chosen], strict=True))

    def compared(content: bytes, part: str) -> dict[str, Any]:
        chunks = store.chunks(part)
        # Decoded again for each file: of a large corpus the waveforms would fill the memory.
        found = outputs(content, feature_store.waveforms(store, chunks, run.settings))
        return compare(run, store, chunks, expected[part], found)

    contents = convert.convert_all(run, network)
    quantiser = quantise.Quantiser(contents["model"], [w[None] for w in waveforms])
    spread = 1.0 if run.task == "classification" else float(expected["devel"].std()) or 1.0
    result, kept = {}, {}
    wanted = [v for v in quantise.VARIANTS if v in (quantise.FLOAT32, *variants)]
    for variant in wanted:
        keep, found = _mended(quantiser, variant, waveforms, compared, log)
        content = quantiser.make(variant, keep)
        _require_faithful(f"{run.folder.name}, {variant}", variant, found, spread)
        kept[variant] = keep
        result[variant] = found | {
            "layers": len(quantiser.layers()),
            "kept": keep,
            "test": compared(content, "test"),
        }
    files = convert.write(run, contents, calibration, kept)
    for variant in wanted:
        result[variant]["size_bytes"] = files[convert.stem("model", variant)].stat().st_size
    provenance.write_json(run.folder / FILE, result)
    return result


def _mended(
    quantiser: quantise.Quantiser,
    variant: str,
    waveforms: list[np.ndarray],
    compared: Callable[[bytes, str], dict[str, Any]],
    log: Callable[[str], None],
) -> tuple[list[str], dict[str, Any]]:
    """Layers of a variant that stay in float32, and how far its file then is from Keras (devel)."""
    found = compared(quantiser.make(variant), "devel")
    if variant == quantise.FLOAT32 or -found.get("uar_difference", 0.0) <= LOST:
        return [], found
    some = waveforms[:: max(1, len(waveforms) // SENSITIVITY_CHUNKS)]
    exact = outputs(quantiser.make(quantise.FLOAT32), some)
    ranked = list(sensitivity(quantiser, variant, some, exact))
    lost, keep, count = -found["uar_difference"], [], 1
    while lost > LOST and count <= min(MOST_KEPT, len(ranked)):
        keep, count = ranked[:count], 2 * count
        found = compared(quantiser.make(variant, keep), "devel")
        log(
            f"{variant} lost {100 * lost:.2f} points of UAR on devel; with the {len(keep)} most "
            f"sensitive of {len(ranked)} layers in float32 {-100 * found['uar_difference']:.2f}"
        )
        lost = -found["uar_difference"]
    return keep, found


def table(found: dict[str, Any]) -> pd.DataFrame:
    """What `assess` found, one row a variant: decisions in percent, UAR in percent, size in MB."""
    rows = {}
    for variant, one in found.items():
        rows[variant] = {
            "MB": one["size_bytes"] / 1e6,
            "same decision %": 100 * one.get("same_decision", np.nan),
            "mean difference": one["mean_difference"],
            "largest": one["largest_difference"],
            "devel UAR %": 100 * one.get("uar", np.nan),
            "less than Keras": -100 * one.get("uar_difference", np.nan),
            "95 %": _interval(one),
            "test UAR %": 100 * one["test"].get("uar", np.nan),
            "layers in float32": f"{len(one['kept'])} of {one['layers']}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _interval(one: dict[str, Any]) -> str:
    if not one.get("interval"):
        return ""
    low, high = (100 * value for value in one["interval"])
    return f"{low:+.1f} to {high:+.1f}"

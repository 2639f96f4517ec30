"""Convert a run, compare its files with Keras, and restore layers where they differ too much.

Variants are judged on devel; test is only reported. The final model has learnt from devel, so what
a file loses there is the least that it loses.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite import provenance
from dslite.deployment import convert, runtime
from dslite.errors import ConversionError
from dslite.evaluation import metrics, significance
from dslite.features import store as feature_store
from dslite.features.store import Store
from dslite.models import classifier
from dslite.training.runs import Run

FILE = "agreement.json"
PARTITIONS = ("devel", "test")
LOST = 0.005  # of UAR: what loses more has layers put back into float32
MOST_RESTORED = 16  # layers
SENSITIVITY_CHUNKS = 24
CALIBRATION_CHUNKS = 64  # of train
THREADS = 2
# Largest mean difference of a probability (of a regression: in standard deviations of its
# predictions). float32 differs by the rounding of the spectrogram's 256 steps, the others by their
# own. Not the share of equal decisions: where two classes tie, any rounding decides.
TOLERANCE = {
    runtime.FLOAT32: 1e-3,
    runtime.FLOAT16: 1e-2,
    runtime.DYNAMIC: 5e-2,
    runtime.INT8: 5e-2,
}


def convert_run(
    run: Run,
    store: Store,
    log: Callable[[str], None] = print,
    variants: Sequence[str] = runtime.VARIANTS,
) -> dict[str, Any]:
    """Convert a run in its variants, compare them with Keras, restore layers, write the files.

    A variant that loses more than `LOST` of UAR on devel gets its most sensitive layers (on
    training chunks) back in float32, twice as many each time, until it loses less or
    `MOST_RESTORED` are reached. float32 is always among the ``variants``.

    Gives the content of `FILE`: variant -> `compare` on devel, with ``layers`` (how many have
    weights), ``float32_layers`` (names of those restored), ``size_bytes`` and ``test`` (`compare`
    on test, which nothing was chosen on). A file that differs from Keras by more than its
    `TOLERANCE` is a ConversionError.
    """
    network = classifier.load_classifier(run.folder / "model.keras")
    predictor = classifier.predictor(network, run.settings)
    expected = {
        partition: feature_store.predict(predictor, store.mel, store.chunks(partition))
        for partition in PARTITIONS
    }
    train = store.chunks("train")
    spread = np.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CHUNKS))
    chosen = train[spread.astype(int)]
    waveforms = list(feature_store.waveforms(store, chosen, run.settings))
    calibration = list(zip(waveforms, store.mel[chosen], strict=True))
    parts = convert.convert_parts(run, network, calibration)
    quantiser = parts["model"]

    def compared(content: bytes, partition: str) -> dict[str, Any]:
        chunks = store.chunks(partition)
        # Decoded again for each file: of a large corpus the waveforms would fill the memory.
        actual = outputs(content, feature_store.waveforms(store, chunks, run.settings))
        return compare(run, store, chunks, expected[partition], actual)

    unit = 1.0 if run.task == "classification" else float(expected["devel"].std()) or 1.0
    results, keep = {}, {}
    wanted = [v for v in runtime.VARIANTS if v in (runtime.FLOAT32, *variants)]
    for variant in wanted:
        keep[variant], comparison = _restored(quantiser, variant, waveforms, compared, log)
        content = quantiser.make(variant, keep[variant])
        difference = comparison["mean_difference"] / unit
        if not difference <= TOLERANCE[variant]:
            raise ConversionError(
                f"{run.folder.name}, {variant}: differs from Keras by {difference:.2g} on average "
                f"(devel), more than the {TOLERANCE[variant]:g} allowed for {variant}"
            )
        results[variant] = comparison | {
            "layers": len(quantiser.layers()),
            "float32_layers": keep[variant],
            "test": compared(content, "test"),
        }
    files = convert.write(run, parts, keep)
    for variant in wanted:
        results[variant]["size_bytes"] = files["model", variant].stat().st_size
    provenance.write_json(run.folder / FILE, results)
    return results


def outputs(content: bytes, waveforms: Iterable[np.ndarray]) -> np.ndarray:
    """Run a file on chunks: float32 [chunks, outputs]."""
    call = runtime.runner(content, THREADS)
    return np.concatenate([call(waveform[None]) for waveform in waveforms])


def compare(
    run: Run, store: Store, chunks: np.ndarray, expected: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    """Compare a file's outputs (``actual``) with Keras's, by chunk and by audio file.

    ``chunks`` are rows of the store, int [chunks]; both outputs are float32 [chunks, outputs].
    Gives ``chunks``, ``mean_difference``, ``largest_difference`` and, of a classification,
    ``same_decision`` (a fraction). Where the labels are known also ``uar`` and ``keras_uar`` of
    files (fractions), ``uar_difference`` (the file's less Keras's) and its 95 % ``interval``
    (`dslite.evaluation.significance.uar_difference`; None for a single file).
    """
    difference = np.abs(expected - actual)
    result = {
        "chunks": len(expected),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }
    if run.task == "classification":
        result["same_decision"] = float(np.mean(expected.argmax(1) == actual.argmax(1)))
    rows, file = np.unique(store.file[chunks], return_inverse=True)
    labels = store.files["label"].iloc[rows]
    if run.task == "regression" or (labels == "").any():
        return result
    truth = labels.map({name: i for i, name in enumerate(run.classes)}).to_numpy(int)
    n, fusion = len(run.classes), run.settings.fusion
    decisions = [metrics.fuse(of, file, fusion).argmax(axis=1) for of in (expected, actual)]
    keras_uar, uar = (metrics.uar(truth, decision, n) for decision in decisions)
    paired = significance.uar_difference(truth, *decisions, n)
    interval = [paired["low"], paired["high"]]
    return result | {
        **{"uar": float(uar), "keras_uar": float(keras_uar)},
        "uar_difference": float(uar - keras_uar),
        "interval": None if None in interval else interval,  # one file
    }


def agreement_table(results: dict[str, Any]) -> pd.DataFrame:
    """Return one row a variant of `convert_run`'s results: MB, shares and UAR in percent."""
    rows = {}
    for variant, result in results.items():
        interval = 100 * np.array(result.get("interval") or [])
        rows[variant] = {
            "MB": result["size_bytes"] / 1e6,
            "same decision %": 100 * result.get("same_decision", np.nan),
            "mean difference": result["mean_difference"],
            "largest": result["largest_difference"],
            "devel UAR %": 100 * result.get("uar", np.nan),
            "less than Keras": -100 * result.get("uar_difference", np.nan),
            "95 %": "{:+.1f} to {:+.1f}".format(*interval) if interval.size else "",
            "test UAR %": 100 * result["test"].get("uar", np.nan),
            "layers in float32": f"{len(result['float32_layers'])} of {result['layers']}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _restored(
    quantiser: convert.Quantiser,
    variant: str,
    waveforms: list[np.ndarray],
    compared: Callable[[bytes, str], dict[str, Any]],
    log: Callable[[str], None],
) -> tuple[list[str], dict[str, Any]]:
    """Return a variant's layers that stay in float32, and how its file then compares on devel."""
    result = compared(quantiser.make(variant), "devel")
    lost, keep, count = -result.get("uar_difference", 0.0), [], 1
    if variant == runtime.FLOAT32 or lost <= LOST:
        return keep, result
    some = waveforms[:: max(1, len(waveforms) // SENSITIVITY_CHUNKS)]
    exact = outputs(quantiser.make(runtime.FLOAT32), some)

    def difference(layer: str) -> float:
        return np.abs(outputs(quantiser.make(variant, [layer]), some) - exact).mean()

    ranked = sorted(quantiser.layers(), key=difference)  # the most sensitive ones first
    while lost > LOST and count <= min(MOST_RESTORED, len(ranked)):
        keep, count = ranked[:count], 2 * count
        result = compared(quantiser.make(variant, keep), "devel")
        log(
            f"{variant} lost {100 * lost:.2f} points of UAR on devel; with the {len(keep)} most "
            f"sensitive of {len(ranked)} layers in float32 {-100 * result['uar_difference']:.2f}"
        )
        lost = -result["uar_difference"]
    return keep, result

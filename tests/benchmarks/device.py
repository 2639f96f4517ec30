"""What the files for the device cost against float32 and against Keras, by backbone and variant.

    python tests/benchmarks/device.py [--runs 50] [--weights MOBILENET_V2.weights.h5]

DenseNet121 (random weights) and MobileNetV2 (from ``--weights``, else from
``$DSLITE_REAL_WEIGHTS/mobilenet_v2.weights.h5``, else random) with a head of 6 classes are
converted in every variant, calibrated on noise. Then `dslite.deployment.profile_run` times all of
it in one process, in turn: each file from audio and from the Mel spectrogram on 1 and 2 threads,
Keras compiled, called and through ``predict``, the spectrogram alone and plotted by librosa and
matplotlib. ``litert-benchmark``, which comes with the runtime, times one of the files in a process
of its own, as a check. Prints a table, writes ``results/benchmarks/device.json``; the last line is
its content as one JSON object.

Ratios are of medians: ``x float32`` says how many times as fast (or small) a file is as the float32
one of the same part on as many threads; ``keras / ...`` how many times as long Keras takes as the
float32 network. What the weights are makes no difference to the time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd

from dslite import paths, provenance, settings, tensorflow_logging
from dslite.deployment import convert, quantise
from dslite.deployment import profile as deployment_profile
from dslite.features import spectrogram
from dslite.models import classifier
from dslite.training import runs

CLASSES = ("angry", "calm", "fearful", "happy", "neutral", "sad")
BACKBONES = ("densenet121", "mobilenet_v2")
THREADS = (1, 2)
CALIBRATION = 8


def weights_of(backbone: str, path: str) -> str:
    """A weights file where there is one for the backbone, else random."""
    if backbone != "mobilenet_v2":
        return "random"
    sibling = paths.ROOT.parent / "shared" / "weights"
    folder = Path(os.environ.get("DSLITE_REAL_WEIGHTS", sibling))
    file = Path(path) if path else folder / "mobilenet_v2.weights.h5"
    return str(file) if path or file.is_file() else "random"


def a_run(folder: Path, backbone: str, weights: str) -> runs.Run:
    """An untrained network as a finished run, converted in every variant."""
    used = settings.Settings(backbone=backbone, weights=weights)
    keras.utils.set_random_seed(0)
    network = classifier.build_classifier(used, len(CLASSES))
    folder.mkdir()
    network.save(folder / "model.keras")
    described = {
        **{"dataset": "", "identity": "", "task": "classification", "classes": list(CLASSES)},
        **{"settings": used.model_dump(), "weights": runs.weights_record(used)},
    }
    provenance.write_json(folder / runs.LAST, described)
    run = runs.load(folder)
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((CALIBRATION, used.chunk_samples)).astype(np.float32) / 10
    mels = spectrogram.compiled_mel_image(used)(waves).numpy()
    parts, calibration = convert.convert_parts(run, network), list(zip(waves, mels, strict=True))
    convert.write(run, parts, calibration, dict.fromkeys(quantise.VARIANTS, ()))
    return run


def checked(file: Path, repeats: int) -> float | None:
    """Median time in ms by litert-benchmark on one thread; None where it is not installed."""
    tool = shutil.which("litert-benchmark", path=str(Path(sys.executable).parent))
    if tool is None:
        return None
    result = file.with_suffix(".json")
    words = [tool, f"--model={file}", f"--num_runs={repeats}", f"--result_json={result}"]
    done = subprocess.run(words, capture_output=True, text=True)
    return json.loads(result.read_text())["latency"]["median_ms"] if not done.returncode else None


def ratios(table: pd.DataFrame) -> dict[str, float]:
    """Ratios of medians, by name; see the module."""
    ms = table.set_index(["part", "variant", "threads"])["ms_median"]
    size = table.groupby(["part", "variant"])["MB"].first()
    one = quantise.FLOAT32
    quotients = {}
    for part in ("model", "cnn"):
        for variant in quantise.VARIANTS[1:]:
            for n in THREADS:
                faster = ms[part, one, n] / ms[part, variant, n]
                quotients[f"{part} {variant} x float32, {n} threads"] = faster
            quotients[f"{part} {variant} x float32, size"] = size[part, one] / size[part, variant]
    threads = deployment_profile.tensorflow_threads()
    for variant in deployment_profile.KERAS_VARIANTS:
        for n in THREADS:
            name = f"{variant} / TFLite network, {n} threads"
            quotients[name] = ms["cnn", variant, threads] / ms["cnn", one, n]
    mel = ms["spectrogram", one, 1]
    quotients["drawn / TFLite spectrogram"] = ms["spectrogram", deployment_profile.PLOTTED, 1] / mel
    picture = ms["spectrogram", deployment_profile.PICTURE, threads]
    quotients["drawn / TensorFlow picture"] = (
        ms["spectrogram", deployment_profile.PLOTTED, 1] / picture
    )
    quotients["TensorFlow / TFLite spectrogram"] = (
        ms["spectrogram", deployment_profile.TENSORFLOW, threads] / mel
    )
    return {name: round(float(value), 3) for name, value in quotients.items()}


def measured(folder: Path, backbone: str, weights: str, repeats: int) -> dict[str, Any]:
    """All figures of one backbone."""
    begin = time.perf_counter()
    run = a_run(folder / backbone, backbone, weights)
    converted = time.perf_counter()
    profile = deployment_profile.profile_run(run, THREADS, repeats)
    table = deployment_profile.profile_table(profile)
    print(
        f"\n{backbone}, weights {Path(weights).name}: {deployment_profile.operations_text(table)}"
    )
    print(
        deployment_profile.display_table(table)
        .drop(columns=["devel %", "test %"])
        .to_string(index=False)
    )
    result = {"weights": Path(weights).name, **ratios(table)}
    ours = table.query("part == 'cnn' and variant == 'float32' and threads == 1")["ms_median"]
    check = checked(run.folder / "cnn.tflite", repeats)
    result["litert-benchmark / ours"] = check and round(check / float(ours.iloc[0]), 3)
    columns = ["part", "variant", "threads", "ms", "ms_median", "ms_p95", "MB"]
    rows = table[[*columns, "growth_mb", "peak_mb"]].round(3).astype(object)
    return result | {
        **{key: profile[key] for key in ("parameters", "multiply_adds", "flops")},
        "seconds": {
            "converting": round(converted - begin, 1),
            "measuring": round(time.perf_counter() - converted, 1),
        },
        "rows": rows.where(rows.notna(), None).to_dict("records"),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="that each figure is over")
    parser.add_argument("--weights", default="", help="of MobileNetV2")
    options = parser.parse_args()
    tensorflow_logging.import_tensorflow()
    machine = "{processor}, {cores} cores".format(**provenance.hardware())
    results: dict[str, Any] = {"date": provenance.now(), "hardware": machine}
    with tempfile.TemporaryDirectory() as folder:
        for backbone in BACKBONES:
            weights = weights_of(backbone, options.weights)
            results[backbone] = measured(Path(folder), backbone, weights, options.runs)
    provenance.write_json(paths.ROOT / "results/benchmarks/device.json", results)
    print(f"\n{json.dumps(results)}")


if __name__ == "__main__":
    main()

"""What the files for the device cost against float32 and against Keras, by backbone and variant.

    python tests/benchmarks/device.py [--runs 50] [--weights MOBILENET_V2.weights.h5]

DenseNet121 (random weights) and MobileNetV2 with a head of 6 classes are converted in every
variant, calibrated on noise, and timed by `dslite.deployment.profile_run`; ``litert-benchmark``,
which comes with the runtime, times one of the files in a process of its own, as a check. Prints a
table, writes ``results/benchmarks/device.json``; the last line is its content.

Ratios are of medians: ``x float32`` says how many times as fast (or small) a file is as the float32
one of the same part on as many threads; ``keras / ...`` how many times as long Keras takes as the
float32 network. What the weights are makes no difference to the time.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
from timing import FOLDER, seconds

from dslite import paths, provenance, settings, tensorflow_logging
from dslite.deployment import convert, profile, runtime
from dslite.features import spectrogram
from dslite.models import classifier
from dslite.training import runs

CLASSES = ("angry", "calm", "fearful", "happy", "neutral", "sad")
THREADS = (1, 2)
CALIBRATION = 8


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
    parts = convert.convert_parts(run, network, list(zip(waves, mels, strict=True)))
    convert.write(run, parts, dict.fromkeys(runtime.VARIANTS, ()))
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
    one, threads = runtime.FLOAT32, profile.tensorflow_threads()
    values = {}
    for part, variant in itertools.product(("model", "cnn"), runtime.VARIANTS[1:]):
        name = f"{part} {variant} x float32"
        for n in THREADS:
            values[f"{name}, {n} threads"] = ms[part, one, n] / ms[part, variant, n]
        values[f"{name}, size"] = size[part, one] / size[part, variant]
    for variant, n in itertools.product(profile.KERAS_VARIANTS, THREADS):
        name = f"{variant} / TFLite network, {n} threads"
        values[name] = ms["cnn", variant, threads] / ms["cnn", one, n]
    mel, drawn = ms["spectrogram", one, 1], ms["spectrogram", profile.PLOTTED, 1]
    values["drawn / TFLite spectrogram"] = drawn / mel
    values["drawn / TensorFlow picture"] = drawn / ms["spectrogram", profile.PICTURE, threads]
    tensorflow = ms["spectrogram", profile.TENSORFLOW, threads]
    values["TensorFlow / TFLite spectrogram"] = tensorflow / mel
    return {name: round(float(value), 3) for name, value in values.items()}


def measured(folder: Path, backbone: str, weights: str, repeats: int) -> dict[str, Any]:
    """All figures of one backbone."""
    results: dict[str, Any] = {}

    def convert_it():
        results["run"] = a_run(folder / backbone, backbone, weights)

    def measure_it():
        results["profile"] = profile.profile_run(results["run"], THREADS, repeats)

    spent = {"converting": seconds(convert_it), "measuring": seconds(measure_it)}
    table = profile.profile_table(results["profile"])
    print(f"\n{backbone}, weights {Path(weights).name}: {profile.operations_text(table)}")
    shown = profile.display_table(table).drop(columns=["devel %", "test %"])
    print(shown.to_string(index=False))
    ours = table.query("part == 'cnn' and variant == 'float32' and threads == 1")["ms_median"]
    check = checked(results["run"].folder / "cnn.tflite", repeats)
    columns = ["part", "variant", "threads", "ms", "ms_median", "ms_p95"]
    rows = table[[*columns, "MB", "growth_mb", "peak_mb"]].round(3).astype(object)
    return {
        **{"weights": Path(weights).name, **ratios(table)},
        "litert-benchmark / ours": check and round(check / float(ours.iloc[0]), 3),
        **{key: results["profile"][key] for key in ("parameters", "multiply_adds", "flops")},
        "seconds": {name: round(value, 1) for name, value in spent.items()},
        "rows": rows.where(rows.notna(), None).to_dict("records"),
    }


def main() -> None:
    """Measure, print, write."""
    sibling = paths.ROOT.parent / "shared" / "weights"
    file = Path(os.environ.get("DSLITE_REAL_WEIGHTS", sibling)) / "mobilenet_v2.weights.h5"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="that each figure is over")
    default = str(file) if file.is_file() else "random"
    parser.add_argument("--weights", default=default, help="of MobileNetV2")
    options = parser.parse_args()
    tensorflow_logging.import_tensorflow()
    machine = "{processor}, {cores} cores".format(**provenance.hardware())
    figures: dict[str, Any] = {"date": provenance.now(), "hardware": machine}
    with tempfile.TemporaryDirectory() as folder:
        for backbone, weights in (("densenet121", "random"), ("mobilenet_v2", options.weights)):
            figures[backbone] = measured(Path(folder), backbone, weights, options.runs)
    provenance.write_json(FOLDER / "device.json", figures)
    print(f"\n{json.dumps(figures)}")


if __name__ == "__main__":
    main()

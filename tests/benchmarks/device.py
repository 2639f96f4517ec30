"""What the files for the device cost against float32 and against Keras, by backbone and variant.

    python tests/benchmarks/device.py [--runs 50] [--weights MOBILENET_V2.weights.h5] [--only tuned]

DenseNet121 (random weights) and MobileNetV2 with a head of 6 classes are converted in every
variant, calibrated on noise, and timed by `dslite.deployment.profile_run`; ``litert-benchmark``,
which comes with the runtime, times one of the files in a process of its own, as a check. Prints a
table, writes ``results/benchmarks/device.json``; the last line is its content.

Ratios are of medians: ``x float32`` says how many times as fast (or small) a file is as the float32
one of the same part on as many threads; ``Keras, compiled / ...`` how many times as long Keras
takes as the float32 network. What the weights are makes no difference to the time.

``tuned``: MobileNetV2's whole file of preset ``tuned``, clip to classes, against that of ``paper``
on one thread in turn: medians and sizes, and ratios of the time per second of audio. A file of
``paper`` takes 4 s of it; of ``tuned``, all that its buffer holds (6 s), or the sound of a typical
clip (2.7 s, RAVDESS's), with which it costs the same. With ``--only tuned`` the other figures stay.
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
from timing import FOLDER, in_turn, seconds

from dslite import cards, paths, provenance, settings
from dslite.deployment import convert, profile, runtime
from dslite.features import spectrogram
from dslite.models import classifier, tensorflow_logging
from dslite.training import runs

CLASSES = ("angry", "calm", "fearful", "happy", "neutral", "sad")
THREADS = (1, 2)
CALIBRATION = 8
TYPICAL_S = 2.7  # of sound in a clip: RAVDESS's median, as `dslite train` writes it down


def a_run(folder: Path, used: settings.Settings, variants=runtime.VARIANTS) -> runs.Run:
    """An untrained network as a finished run, converted."""
    keras.utils.set_random_seed(0)
    network = classifier.build_classifier(used, len(CLASSES))
    head = network.layers[-1].kernel  # a solved one is zero at first
    head.assign(keras.random.normal(head.shape, stddev=0.01))
    folder.mkdir()
    network.save(folder / "model.keras")
    described = {
        **{"dataset": "benchmark", "identity": "", "task": "classification"},
        "classes": list(CLASSES),
        **{"settings": used.model_dump(), "weights": runs.weights_record(used)},
    }
    provenance.write_json(folder / runs.LAST, described)
    run = runs.load(folder)
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((CALIBRATION, used.chunk_samples)).astype(np.float32) / 10
    mels = spectrogram.compiled_mel_image(used)(waves).numpy()
    parts = convert.convert_parts(run, network, list(zip(waves, mels, strict=True)))
    files = {("spectrogram", runtime.FLOAT32): parts["spectrogram"].make(runtime.FLOAT32)}
    for part in ("model", "cnn"):
        files |= {(part, variant): parts[part].make(variant) for variant in variants}
    convert.write(run, files)
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
    one, threads = runtime.FLOAT32, profile.running_threads()
    values = {}
    for part, variant in itertools.product(("model", "cnn"), runtime.VARIANTS[1:]):
        name = f"{part} {variant} x float32"
        for n in THREADS:
            values[f"{name}, {n} threads"] = ms[part, one, n] / ms[part, variant, n]
        values[f"{name}, size"] = size[part, one] / size[part, variant]
    for n in THREADS:
        name = f"{profile.KERAS} / TFLite network, {n} threads"
        values[name] = ms["cnn", profile.KERAS, threads] / ms["cnn", one, n]
    tensorflow = ms["spectrogram", profile.TENSORFLOW, threads]
    values["TensorFlow / TFLite spectrogram"] = tensorflow / ms["spectrogram", one, 1]
    return {name: round(float(value), 3) for name, value in values.items()}


def measured(folder: Path, backbone: str, weights: str, repeats: int) -> dict[str, Any]:
    """All figures of one backbone."""
    results: dict[str, Any] = {}

    def convert_it():
        used = settings.Settings(backbone=backbone, weights=weights)
        results["run"] = a_run(folder / backbone, used)

    def measure_it():
        results["profile"] = profile.profile_run(results["run"], THREADS, repeats)

    spent = {"converting": seconds(convert_it), "measuring": seconds(measure_it)}
    table = profile.profile_table(results["profile"])
    print(f"\n{backbone}, weights {Path(weights).name}: {profile.operations_text(table)}")
    shown = profile.display_table(table).drop(columns="test %")
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


def tuned(folder: Path, repeats: int) -> dict[str, Any]:
    """Figures of preset tuned against paper, see the module."""
    network, variants = {"backbone": "mobilenet_v2", "weights": "random"}, runtime.VARIANTS[::3]
    used = {
        "paper": settings.Settings(**network),
        "tuned": settings.Settings(**cards.TUNED | network),
    }
    converted = {preset: a_run(folder / preset, of, variants) for preset, of in used.items()}
    calls, figures = {}, {}
    for (preset, run), variant in itertools.product(converted.items(), variants):
        for part in ("model", "spectrogram") if variant == runtime.FLOAT32 else ("model",):
            file, name = run.folder / runtime.file_name(part, variant), f"{preset} {part} {variant}"
            value, call = runtime.example_input(file), runtime.runner(file, 1)
            calls[name] = lambda call=call, value=value: call(value)
            figures[f"{name}, MB"] = file.stat().st_size / 1e6
    in_turn(calls, 5)
    ms = {name: 1000 * float(np.median(of)) for name, of in in_turn(calls, 4 * repeats).items()}
    for variant in variants:
        paper, ours = (ms[f"{preset} model {variant}"] for preset in ("paper", "tuned"))
        per_s = paper / used["paper"].chunk_length_s
        for name, length_s in (("buffer", used["tuned"].chunk_length_s), ("clip", TYPICAL_S)):
            figures[f"tuned / paper, {variant}, per s of {name}"] = ours / length_s / per_s
    figures |= {f"{name}, ms": value for name, value in ms.items()}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Measure, print, write."""
    sibling = paths.ROOT.parent / "shared" / "weights"
    file = Path(os.environ.get("DSLITE_REAL_WEIGHTS", sibling)) / "mobilenet_v2.weights.h5"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="that each figure is over")
    default = str(file) if file.is_file() else "random"
    parser.add_argument("--weights", default=default, help="of MobileNetV2")
    parser.add_argument("--only", choices=["tuned"], help="measure no other")
    options = parser.parse_args()
    tensorflow_logging.import_tensorflow()
    machine = "{processor}, {cores} cores".format(**provenance.hardware())
    figures: dict[str, Any] = {"date": provenance.now(), "hardware": machine}
    if options.only:
        older = json.loads((FOLDER / "device.json").read_text("utf-8"))
        figures = older | {"tuned": figures}
    with tempfile.TemporaryDirectory() as folder:
        figures["tuned"] = figures.get("tuned", {}) | tuned(Path(folder), options.runs)
        others = (("densenet121", "random"), ("mobilenet_v2", options.weights))
        for backbone, weights in () if options.only else others:
            figures[backbone] = measured(Path(folder), backbone, weights, options.runs)
    provenance.write_json(FOLDER / "device.json", figures)
    print(f"\n{json.dumps(figures)}")


if __name__ == "__main__":
    main()

"""How many of 20 badly trained networks keep each variant, and how long a conversion takes.

    python tests/benchmarks/conversion.py [--models 20] [--epochs 1]

A SqueezeNet of small pictures (random weights) learns a few minutes' worth of noise and tones in
two classes, at rates of 0.01 to 1, so that some of its layers fall silent, and is converted with
`dslite.deployment.convert_run`, layers put back by UAR and by probabilities and, to compare, not at
all. Writes a table to ``results/benchmarks/convert.md``.
"""

import argparse
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd
import soundfile
from timing import write

from dslite import cards, paths, provenance
from dslite.datasets import load_manifest
from dslite.errors import ConversionError
from dslite.features import load_spectrograms
from dslite.models import tensorflow_logging
from dslite.settings import Settings

RATE = 16000
FILES = 48
SETTINGS = {
    **{"chunk_length_s": 1.0, "image_size": 64, "mel_bands": 32, "units": 8, "batch_size": 8},
    **{"backbone": "squeezenet", "weights": "random", "epochs_phase2": 0, "bootstrap_draws": 10},
}


def corpus(folder: Path) -> Path:
    """Write tones (low) and noise (high) of a few voices, and their table."""
    rng, rows = np.random.default_rng(0), ["path,label,speaker,partition"]
    seconds = np.arange(RATE) / RATE
    for i in range(FILES):
        label, part = ("low", "high")[i % 2], ("train", "train", "devel", "test")[i // 2 % 4]
        tone = np.sin(2 * np.pi * rng.uniform(100, 900) * seconds)
        sound = 0.3 * (tone if label == "low" else rng.standard_normal(RATE) / 3)
        soundfile.write(folder / f"{i}.wav", sound + 0.01 * rng.standard_normal(RATE), RATE)
        rows.append(f"{i}.wav,{label},{part}{i // 2 % 8},{part}")
    (folder / "sounds.csv").write_text("\n".join(rows) + "\n")
    return folder / "sounds.csv"


def main() -> None:
    """Train, convert and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    tensorflow_logging.import_tensorflow(Settings().threads)
    from dslite.deployment import convert
    from dslite.training import experiment

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folders = {"DSLITE_CACHE": f"{folder}/cache", "DSLITE_RESULTS": f"{folder}/results"}
        with mock.patch.dict(os.environ, folders):
            manifest = load_manifest(cards.load(str(corpus(Path(folder)))))
            for seed in range(asked.models):
                rate = float(np.geomspace(0.01, 1, asked.models)[seed])
                overrides = SETTINGS | {"learning_rate": rate, "epochs_phase1": asked.epochs}
                settings = cards.settings_of(manifest.card, "paper", overrides)
                run = experiment.train(manifest, settings, seed, "paper", log=lambda line: None)
                store = load_spectrograms(manifest, run.settings)
                as_they_are = True
                for most in (0, convert.MOST_RESTORED):
                    begin = time.perf_counter()
                    if most == 0 or not as_they_are:
                        limited = mock.patch.object(convert, "MOST_RESTORED", most)
                        with limited, suppress(ConversionError):  # where no variant is kept
                            convert.convert_run(run, store, log=lambda line: None)
                        results = provenance.read_json(run.folder / convert.FILE)
                        took = time.perf_counter() - begin
                    for variant, result in results.items():
                        lost = -result.get("uar_difference", 0.0)
                        as_they_are &= "failed" not in result and lost <= convert.LOST
                        restored = len(result.get("float32_layers", ()))
                        rows.append([most, variant, "failed" not in result, restored, took])
                        print(seed, f"{rate:.3g}", *rows[-1], result.get("failed", ""), flush=True)
    names = ["layers at most", "variant", "agreeing", "restored", "seconds"]
    table = pd.DataFrame(rows, columns=names).groupby(names[:2], sort=False)
    table = table.agg({"agreeing": "sum", "restored": "max", "seconds": "median"}).reset_index()
    text = f"`python tests/benchmarks/conversion.py --models {asked.models}`: how many of the "
    text += "models keep a variant, most layers put back, seconds for all four variants."
    lines = [
        "# Conversion of badly trained networks",
        "",
        " ".join(__doc__.split("\n\n")[2].split()),
    ]
    lines += ["", text]
    write("convert.md", [*lines, "", table.round(1).to_markdown(index=False)])
    print(f"written: {paths.shown(paths.ROOT / 'results' / 'benchmarks' / 'convert.md')}")


if __name__ == "__main__":
    main()

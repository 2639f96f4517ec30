"""How many variants of barely trained networks are kept, and how long their conversion takes.

    python tests/benchmarks/convert.py [--seeds 10] [--weights mobilenet_v2=FILE squeezenet=FILE]

Trains each backbone for one epoch a phase (preset ``paper``, the demo corpus) from each seed, and
converts it with ``dslite convert``: networks whose probabilities lie close together are those that
int8 disagrees with most. Writes ``results/benchmarks/convert.md``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from timing import write

from dslite import provenance
from dslite.deployment import runtime

SETTINGS = ("epochs_phase1=1", "epochs_phase2=1", "image_size=112")
BACKBONES = ("mobilenet_v2", "squeezenet")


def command(environment: dict, *words: str) -> tuple[int, str, float]:
    """Run ``dslite``; return its status, what it wrote and how many seconds it took."""
    begin = time.perf_counter()
    command_line = [sys.executable, "-m", "dslite", *words]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command_line, env=environment, text=True, **both)
    return done.returncode, done.stdout, time.perf_counter() - begin


def measured(environment: dict, backbone: str, weights: str, seed: int) -> list[dict]:
    """Train and convert one network; return a row a variant."""
    words = ["train", "demo", "--preset", "paper", "--backbone", backbone, "--weights", weights]
    for setting in SETTINGS:
        words += ["--set", setting]
    status, text, _ = command(environment, *words, "--seed", str(seed))
    if status:
        raise RuntimeError(text)
    (file,) = Path(environment["DSLITE_RESULTS"]).glob(f"demo/{backbone}-none-s{seed}*/run.json")
    status, text, seconds = command(environment, "convert", str(file.parent))
    print(f"{backbone}, seed {seed}: status {status}, {seconds:.0f} s\n{text}", flush=True)
    agreement = json.loads((file.parent / runtime.AGREEMENT).read_text("utf-8"))
    return [
        {
            **{"network": f"{backbone}, seed {seed}", "variant": variant, "seconds": seconds},
            "failed": result.get("failed", ""),
            "off": result.get("mean_difference"),
            "restored": len(result.get("float32_layers", [])),
        }
        for variant, result in agreement.items()
    ]


def lines(rows: list[dict], imagenet: bool) -> list[str]:
    """Write the table: a row a variant."""
    table = pd.DataFrame(rows)
    networks, seconds = table["network"].nunique(), table.groupby("network")["seconds"].first()
    text = [
        "# Conversion of barely trained networks",
        "",
        f"{networks} networks ({', '.join(BACKBONES)}), one epoch a phase on the demo corpus, "
        f"pictures of 112 x 112, preset paper, weights {'of ImageNet' if imagenet else 'random'}; "
        "{processor}, {cores} cores. ".format(**provenance.hardware())
        + f"`dslite convert` takes {seconds.median():.0f} s for all variants (median; most "
        f"{seconds.max():.0f} s), the start of TensorFlow included.",
        "",
        "| variant | kept | off Keras on average, largest | with layers in float32 | not kept |",
        "|:--|--:|--:|--:|:--|",
    ]
    for variant, of in table.groupby("variant", sort=False):
        failed = of[of["failed"] != ""]
        reasons = "; ".join(f"{row.network}: {row.off:.2g}" for row in failed.itertuples())
        text.append(
            f"| {variant} | {len(of) - len(failed)} of {len(of)} | {of['off'].max():.2g} "
            f"| {(of['restored'] > 0).sum()} | {reasons} |"
        )
    return text


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--weights", nargs="*", default=[], metavar="BACKBONE=FILE")
    options = parser.parse_args()
    weights = dict(words.split("=", 1) for words in options.weights)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        places = {"DSLITE_RESULTS": f"{folder}/results", "DSLITE_CACHE": f"{folder}/cache"}
        for backbone in BACKBONES:
            for seed in range(options.seeds):
                used = weights.get(backbone, "random")
                rows += measured(os.environ | places, backbone, used, seed)
    text = lines(rows, bool(weights))
    print("\n".join(text))
    write("convert.md", text)


if __name__ == "__main__":
    main()

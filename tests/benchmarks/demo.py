"""What transfer and augmentation do on the demo corpus, made anew from several seeds.

    python tests/benchmarks/demo.py --seeds 1 2 3 4 5

Each seed draws other speakers, sessions and clips, in a process of its own; the weights, and the
card's recipe, stay. Beside the score on test stands that on devel at phase 2's last epoch, which a
run only keeps where it gains beyond its noise. Writes ``results/benchmarks/demo.md``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from timing import write

from dslite import cards, provenance, settings
from dslite.datasets import demo, manifest
from dslite.training import runs

RANDOM = "random weights, head solved"
PLAIN = runs.LABELS["none"]
READING = """
Deep Spectrum + linear SVM sees the same pre-trained features as the network of phase 1, librosa's
statistics and random weights see the sessions. Phase 2 of a solved head is kept only where it gains
on devel beyond its noise; where it never is, the four configurations recognise the same files, and
what augmentation does shows at the end of phase 2 alone, on devel.

Augmentation was meant to matter too. These other shapes of the corpus were tried on one seed each,
with the augmentation of the preset; UAR on devel in %, no augmentation / with it (both methods, or
SpecAugment alone where it says so), at the end of phase 2:

| shape | random, phase 1 | phase 1 | end of phase 2 |
|:--|--:|--:|--:|
| sessions, an AReLU head and all layers trained, 40 epochs | | 59.2 / 60.8 | 46.7 / 48.3 |
| learnt in a studio, tested with lost packets and bands, interrupted | | 57.9 | 49 / 55 |
| the same with more packets lost, uninterrupted; SpecAugment | | 70.0 | 72 / 73 |
| no sessions, a recording of its own for each clip, six speakers | 48.0 | 72.0 | 74 / 73 |
| cues that the weights never saw (diphthongs that open or close, tremor) | 50.4 | 72.9 | 72 / 71 |

What pre-training on 12,000 voices left is better than what fine-tuning on 120 to 240 clips makes of
it, or as good within its noise, with augmentation and without.
"""


def measure(seed: int) -> None:
    """Make a corpus and train on it in this process; print a row of JSON a method."""
    from dslite.training import baselines, experiment

    demo.SEED = seed
    card = cards.load("demo")
    corpus = manifest.build(card)
    recipe = cards.settings_of(card)
    jobs = [(runs.LABELS[kind], recipe, kind) for kind in runs.BASELINES]
    for name in settings.AUGMENTATIONS:
        used = recipe.model_copy(update={"augmentation": name})
        jobs.append((runs.LABELS[name], used, runs.NETWORK))
    jobs.append((RANDOM, recipe.model_copy(update={"weights": "random"}), runs.NETWORK))
    for method, used, kind in jobs:
        if kind == runs.NETWORK:
            run = experiment.train(corpus, used, 0, card.default_preset, log=lambda line: None)
        else:
            run = baselines.train_baseline(corpus, used, 0, card.default_preset, kind=kind)
        row = {"seed": seed, "method": method, "test": run.metrics["test"]["file"]["score"]}
        row |= {"devel": run.devel, "cpu_s": run.record["cost"]["cpu_s"]}
        if run.history is not None and "phase" in run.history:
            history = run.history.query("training == 'train'")
            row |= {"phase 1": history["devel_score"].iloc[0]}
            row |= {"phase 2": history["devel_score"].iloc[-1]}
            row |= {"phase": run.record.get("kept", {}).get("phase", 1)}
        print(json.dumps(row), flush=True)


def measured(seed: int) -> list[dict]:
    """The rows of a seed, measured in a process and folders of its own."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"DSLITE_CACHE": f"{folder}/cache", "DSLITE_RESULTS": f"{folder}/results"}
        words = [sys.executable, __file__, "--measure", str(seed)]
        environment = os.environ | places
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    print(done.stdout, flush=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def table(rows: pd.DataFrame) -> list[str]:
    """UAR in % by method and seed, mean and deviation, and the difference to `PLAIN`."""
    test = 100 * rows.pivot(index="method", columns="seed", values="test")
    differences = test - test.loc[PLAIN]
    shown = test.map("{:.1f}".format).replace("nan", "")
    spread = pd.DataFrame({"mean": test.mean(axis=1), "sd": test.std(axis=1)})
    shown["mean ± sd"] = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in spread.to_numpy()]
    pairs = zip(differences.mean(axis=1), differences.std(axis=1), strict=True)
    shown["to no augmentation"] = [f"{mean:+.1f} ± {sd:.1f}" for mean, sd in pairs]
    ends = 100 * rows.pivot(index="method", columns="seed", values="phase 2")
    ends = (ends - ends.loc[PLAIN]).drop(RANDOM).reindex(ends.index)
    devel = 100 * rows.groupby("method")[["phase 1", "phase 2"]].mean()
    shown["devel: phase 1 -> end of phase 2"] = [
        "" if pair.isna().any() else f"{pair.iloc[0]:.1f} -> {pair.iloc[1]:.1f}"
        for _, pair in devel.loc[shown.index].iterrows()
    ]
    pairs = zip(ends.mean(axis=1), ends.std(axis=1), strict=True)
    shown["end of phase 2 to no augmentation"] = [
        "" if pd.isna(mean) else f"{mean:+.1f} ± {sd:.1f}" for mean, sd in pairs
    ]
    shown["phase 2 kept"] = (rows["phase"] == 2).groupby(rows["method"]).sum()
    order = rows["method"].drop_duplicates()
    return shown.loc[order].to_markdown(disable_numparse=True).splitlines()


def write_figures(rows: list[dict]) -> None:
    """Write the table of all rows, and what it says."""
    seeds = " ".join(dict.fromkeys(str(row["seed"]) for row in rows))
    machine = provenance.hardware()
    command = f"`python tests/benchmarks/demo.py --seeds {seeds}`"
    begun = f"{provenance.now()}, {machine['processor']}, {machine['cores']} cores: {command}"
    text = (
        "UAR on test in % (chance 25), 240 files of 6 speakers; the columns are corpora made from "
        "that seed, ± is the standard deviation over them, differences are paired."
    )
    lines = ["# The demo corpus from several seeds", "", begun, "", text, ""]
    write("demo.md", [*lines, *table(pd.DataFrame(rows)), *READING.rstrip().splitlines()])


def main() -> None:
    """Measure every seed and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure)
        return
    write_figures([row for seed in options.seeds for row in measured(seed)])


if __name__ == "__main__":
    main()

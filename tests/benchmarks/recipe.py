"""How good the preset `tuned` is beside the baselines, and what solving its head takes.

    python tests/benchmarks/recipe.py --corpus ravdess:5 --corpus fsdd:6
        --weights mobilenet_v2=FILE --weights squeezenet=FILE
    python tests/benchmarks/recipe.py --sizes 1000 4000 16000
    python tests/benchmarks/recipe.py --clips 1000 4000 --weights mobilenet_v2=FILE

The first form cross-validates over speaker-disjoint folds (corpus:folds) the product's own way: in
each fold strengths, heads and the SVM's complexity are chosen by training speakers and devel, and
every file is tested once. Phase 1 only (epochs_phase2=0), which draws nothing: one seed says it
all. What is finished in DSLITE_RESULTS is not repeated. The second form solves a head on so many
samples of drawn features, as many and as wide as MobileNetV2's, half precision on disk. The third
makes clips of 1 s (8 classes of tones in noise, 50 speakers) and takes the steps from the audio to
stored features. Every step has a process of its own. Each form replaces its section of
``results/benchmarks/recipe.md``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import soundfile
from timing import FOLDER, write

from dslite import cards, provenance
from dslite.datasets import manifest
from dslite.evaluation import metrics
from dslite.training import cross_validation, runs

BINS = 10  # of the calibration error
RATE, CLASSES, SPEAKERS = 16000, 8, 50  # of the clips made here
WIDTHS = {  # of MobileNetV2's blocks of features
    **{"relative_rows": 576, "relative_stride4": 8640, "relative_stride8": 11520},
    **{"level_rows": 576, "level_stride2": 11520, "level_stride4": 8640},
}
FEATURES = sum(WIDTHS.values())
TITLE = "# The recipe `tuned` on whole corpora"
OPTIMISTIC = (
    "The recipe was chosen on these two corpora (RAVDESS song and 900 files of FSDD), so their "
    "figures are optimistic; others will have to judge it."
)


def calibration_error(predictions: pd.DataFrame, classes: list[str]) -> float:
    """Expected calibration error of files' probabilities: mean of |accuracy - confidence|."""
    confidence = predictions[classes].max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = (predictions["label"] == predictions["prediction"]) - confidence
    return float(gaps.groupby(bins).sum().abs().sum() / len(gaps))


def of_speakers(predictions: pd.DataFrame, classes: list[str]) -> pd.Series:
    """UAR of each speaker, in per cent."""
    places = {name: i for i, name in enumerate(classes)}

    def uar(rows: pd.DataFrame) -> float:
        both = (rows[name].map(places).to_numpy() for name in ("label", "prediction"))
        return 100 * metrics.uar(*both, len(classes))

    return pd.Series({name: uar(rows) for name, rows in predictions.groupby("speaker")})


def evaluate(corpus: str, k: int, weights: dict[str, str], kinds: list[str]) -> list[dict]:
    """Cross-validate the baselines and the recipe; a row each."""
    from dslite.training import baselines, experiment

    card = cards.load(corpus)
    built = manifest.build(card)
    jobs = [(runs.LIBROSA, "", "")] if runs.LIBROSA in kinds else []
    for kind in (runs.SVM, runs.NETWORK):
        jobs += [(kind, *each) for each in weights.items() if kind in kinds]
    rows, reference = [], None
    for kind, backbone, file in jobs:
        changed = "epochs_phase2=0" if kind == runs.NETWORK else ""
        settings = cards.settings_of(card, "", changed, backbone=backbone, weights=file)

        def train(fold, kind=kind, settings=settings):
            if kind == runs.NETWORK:
                return experiment.train(fold, settings, 0)
            return baselines.train_baseline(fold, settings, 0, kind=kind)

        folder, _, record = cross_validation.cross_validate(built, k, train)
        predictions = pd.read_csv(folder / "predictions.csv", dtype={"label": str, "speaker": str})
        predictions["prediction"] = predictions["prediction"].astype(str)
        classes = record["classes"]
        speakers = of_speakers(predictions, classes)
        reference = speakers if kind == runs.LIBROSA else reference
        costs = [runs.load(path.parent).record["cost"] for path in folder.glob("fold*/run.json")]
        row = {
            "corpus": card.dataset,
            "files": len(built.table),
            "folds": k,
        }
        row |= {"method": f"{runs.LABELS.get(kind, kind)} {backbone}".strip()}
        row |= {"UAR": f"{100 * record['pooled']['score']:.1f}"}
        row |= {"folds' mean ± sd": f"{100 * record['mean']:.1f} ± {100 * record['deviation']:.1f}"}
        row |= {"speakers": f"{speakers.min():.0f} to {speakers.max():.0f}", "better / worse": ""}
        if reference is not None and kind != runs.LIBROSA:
            gains = speakers - reference
            row["better / worse"] = f"{(gains > 0).sum()} / {(gains < 0).sum()}"
        error = calibration_error(predictions, classes) if kind == runs.NETWORK else None
        row |= {"calibration error": "" if error is None else f"{error:.3f}"}
        row |= {"wall s": f"{sum(cost['wall_s'] for cost in costs):.0f}"}
        row |= {"CPU s": f"{sum(cost['cpu_s'] for cost in costs):.0f}"}
        print(row, flush=True)
        rows.append(row)
    return rows


def corpora_section(corpora: list[str], weights: dict[str, str], kinds: list[str]) -> list[str]:
    """The table of corpora."""
    rows = []
    for each in corpora:
        corpus, _, k = each.rpartition(":")
        rows += evaluate(corpus, int(k), weights, kinds)
    text = (
        "Speaker-disjoint folds; UAR of all files together, in %, each tested by the fold that "
        "did not see its speaker. Better / worse: speakers whose UAR is above / below that of the "
        "librosa statistics. Calibration error: expected, 10 bins, of files' probabilities. "
        "Phase 1 only, which draws nothing, so one seed says it all. Times are those of all folds, "
        "taken beside other work on two cores: processor time can be compared, wall time hardly. "
        "Features are computed once, in the first fold that needs them."
    )
    return [text, "", OPTIMISTIC, "", *_table(rows)]


def make_clips(folder: Path, count: int) -> Path:
    """Write clips of 1 s and their table: a class is a spectrum, a speaker shifts it."""
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True)
    seconds, rows = np.arange(RATE) / RATE, []
    shifts = rng.uniform(0.9, 1.1, SPEAKERS)
    for i in range(count):
        label, speaker = i % CLASSES, i // CLASSES % SPEAKERS
        pitch = 300 * 1.25**label * shifts[speaker] * rng.uniform(0.97, 1.03)
        sound = rng.normal(0, 0.2, RATE)
        tones = sum(np.sin(2 * np.pi * pitch * n * seconds) / n for n in (1, 2, 3))
        sound += 0.1 * tones * (seconds > rng.uniform(0, 0.5))
        soundfile.write(folder / "clips" / f"{i}.wav", 0.3 * sound, RATE)
        rows.append((f"clips/{i}.wav", f"class {label}", f"speaker {speaker}"))
    table = pd.DataFrame(rows, columns=["path", "label", "speaker"])
    table.to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"


@contextmanager
def measured():
    """Gather the seconds and the peaks of memory, MiB, of what is done within."""
    figures, ended = {"anonymous": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            status = Path("/proc/self/status").read_text("utf-8")
            now = int(re.search(r"RssAnon:\s*(\d+)", status)[1]) / 1024
            figures["anonymous"] = max(figures["anonymous"], now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, cpu = time.perf_counter(), time.process_time()
    try:
        yield figures
    finally:
        ended.set()
        watcher.join()
    figures |= {"wall": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    figures |= {"resident": provenance.peak_mb() * 1e6 / 2**20}


def step(name: str, table: str, backbone: str, weights: str) -> None:
    """Take one step in this process; print its seconds and peaks as JSON."""
    from dslite.features import store
    from dslite.training import loop, steps

    card = cards.load(table)
    built = manifest.build(card)
    named = {"backbone": backbone, "weights": weights}
    settings = cards.settings_of(built.card, "", "epochs_phase2=0", **named)
    settings = store.of_corpus(settings, built)
    with measured() as figures:
        task = steps.task_of(built.card, settings, store.load_spectrograms(built, settings))
        if name == "features":
            network = loop.build_model(task, np.arange(len(task.store.mel)), 0)
            steps.Trunks(task).features(network)
    print(json.dumps(figures))


def draw_features(file: Path, count: int) -> None:
    """Write features of so many samples, float16: of class, of speaker, and noise."""
    rng = np.random.default_rng(0)
    features = np.memmap(file, np.float16, "w+", shape=(count, FEATURES))
    of_class, of_speaker = (
        rng.normal(0, size, (number, FEATURES)).astype(np.float32)
        for number, size in ((CLASSES, 0.1), (SPEAKERS, 0.3))
    )
    noise = rng.normal(0, 1, (512, FEATURES)).astype(np.float32)
    for i in range(count):  # two rows of noise, so that few samples are alike
        one, other = rng.integers(512, size=2)
        sample = noise[one] + np.roll(noise[other], rng.integers(FEATURES))
        features[i] = sample + of_class[i % CLASSES] + of_speaker[i // CLASSES % SPEAKERS]
    features.flush()


def solve(file: str) -> None:
    """Solve a head on drawn features in this process; print its seconds and peaks as JSON."""
    from dslite.models import pooling
    from dslite.training import ridge

    features = np.memmap(file, np.float16, "r").reshape(-1, FEATURES)
    rows = np.arange(len(features))
    ends = np.cumsum(list(WIDTHS.values()))
    blocks = {n: slice(end - w, end) for (n, w), end in zip(WIDTHS.items(), ends, strict=True)}
    targets = np.eye(CLASSES, dtype=np.float32)[rows % CLASSES]
    speakers, paired = rows // CLASSES % SPEAKERS, (pooling.PAIRED.name, (5, 24, 96))
    with measured() as figures:
        ridge.solve(features, rows, targets, speakers, blocks, log=print, paired=paired)
    print(json.dumps(figures))


def solutions_section(sizes: list[int]) -> list[str]:
    """The table of solutions on so many samples."""
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "features"
            draw_features(file, count)
            words = [sys.executable, __file__, "--solve", str(file)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout, flush=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            row = {"samples": count, "on disk, MiB": f"{file.stat().st_size / 2**20:.0f}"}
            row |= {"CPU s": f"{figures['cpu']:.1f}", "wall s": f"{figures['wall']:.1f}"}
            row |= {"own memory, MiB": f"{figures['anonymous']:.0f}"}
            row |= {"with mapped pages, MiB": f"{figures['resident']:.0f}"}
            rows.append(row)
    text = (
        f"Four heads of {FEATURES} features in half precision and products of 11520 of them, "
        f"{CLASSES} classes and {SPEAKERS} speakers, drawn. Own memory is anonymous; the pages of "
        "the memory-mapped file lie in the page cache anyway, and the system takes them back when "
        "it needs them. Up to 3,072 samples are solved exactly, more are spanned by 2,048 of them."
    )
    return [text, "", *_table(rows)]


def clips_section(sizes: list[int], backbone: str, weights: str) -> list[str]:
    """The table of times and memory for so many clips."""
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            table = make_clips(Path(folder), count)
            places = {"DSLITE_CACHE": f"{folder}/cache", "DSLITE_RESULTS": f"{folder}/results"}
            row = {"clips": count}
            for name in ("pictures", "features"):
                words = [sys.executable, __file__, "--step", name, str(table)]
                words += ["--weights", f"{backbone}={weights}"]
                done = subprocess.run(
                    words, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | places
                )
                print(done.stdout, flush=True)
                figures = json.loads(done.stdout.splitlines()[-1])
                row[f"{name}, CPU s"] = f"{figures['cpu']:.0f}"
                row[f"{name}, wall s"] = f"{figures['wall']:.0f}"
                peaks = f"{figures['anonymous']:.0f} / {figures['resident']:.0f}"
                row[f"{name}, MiB"] = peaks
            rows.append(row)
    text = (
        f"Clips of 1 s of {CLASSES} classes and {SPEAKERS} speakers, {backbone}; each step in a "
        "process of its own, whose peak is stated twice: of its own memory (anonymous) / with the "
        "pages of memory-mapped files that lie in the page cache anyway (resident)."
    )
    return [text, "", *_table(rows)]


def _table(rows: list[dict]) -> list[str]:
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True).splitlines()


def main() -> None:
    """Measure what is asked for and replace its section of the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", action="append", default=[], help="DATASET:FOLDS")
    parser.add_argument("--weights", action="append", default=[], help="BACKBONE=FILE")
    parser.add_argument("--kinds", nargs="+", default=[runs.LIBROSA, runs.SVM, runs.NETWORK])
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="numbers of samples")
    parser.add_argument("--clips", nargs="+", type=int, default=[], help="numbers of clips")
    parser.add_argument("--solve", help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs=2, metavar=("NAME", "TABLE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    weights = dict(each.split("=", 1) for each in options.weights)
    if options.step:
        step(*options.step, *next(iter(weights.items())))
        return
    if options.solve:
        solve(options.solve)
        return
    machine, file = provenance.hardware(), FOLDER / "recipe.md"
    words = (re.sub("[^=]*/", "", word) for word in sys.argv[1:])  # files without their folders
    command = " ".join(["python tests/benchmarks/recipe.py", *words])
    begun = f"{provenance.now()}, {machine['processor']}, {machine['cores']} cores: `{command}`"
    sections = {}
    if file.is_file():
        for part in file.read_text("utf-8").split("\n## ")[1:]:
            sections[part.splitlines()[0]] = part.strip().splitlines()[1:]
    if options.corpus:
        lines = corpora_section(options.corpus, weights, options.kinds)
        sections["Corpora"] = ["", begun, "", *lines]
    if options.sizes:
        lines = solutions_section(options.sizes)
        sections["Solutions"] = ["", begun, "", *lines]
    if options.clips:
        lines = clips_section(options.clips, *next(iter(weights.items())))
        sections["Clips"] = ["", begun, "", *lines]
    lines = [TITLE]
    for name, content in sections.items():
        lines += ["", f"## {name}", *content]
    write("recipe.md", lines)


if __name__ == "__main__":
    main()

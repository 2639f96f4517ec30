"""Images a second of a training step: the plain way, and ours without and with the trunk cache.

    python tests/benchmarks/training.py [--only BACKBONE]

(a) plain: the scheme of the public implementation. Every step ranks the batch with a forward pass
    of the whole network (it does so even without augmentation), takes losses and augmentation
    sample by sample in unrolled loops, and runs forward and backward through the whole network.
    Pictures are drawn beforehand and kept in memory.
(b) ours, trunk_cache=off.
(c) ours, trunk_cache=on, the store being written already.

All three in one process, round after round, so that a noisy minute hits them alike; figures are
medians over the rounds. Prints a table, writes it to ``results/benchmarks/training.md``; the last
line is one JSON object with the ratios (c)/(a). Weights are random and kept frozen as if they were
pre-trained: that makes no difference to the time. ``--only`` measures one backbone, writes nothing.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import cards, paths, provenance, settings
from dslite.features.store import Store
from dslite.models import backbones, classifier
from dslite.training import augmentation, loop, steps

CHUNKS, BATCH, CLASSES = 192, 32, 6
ROUNDS = 3
LABELS = {"none": "none", "cutmix": "CutMix", "specaugment": "SpecAugment"}
COLUMNS = (
    *("backbone", "trained", "augmentation", "(a)", "(b)", "(c)", "floor"),
    *("images/s (c)", "(a)/(b)", "(a)/(c)"),
)
# Table 2's counts of DenseNet121's trained layers (0: phase 1) as shares of its 427 layers
CELLS = {
    "densenet121": {0: 0.1, 42: 0.1, 128: 0.3, 298: 0.7},
    "mobilenet_v2": {0: 0.1, 15: 0.1},
}


def a_task(used: settings.Settings) -> steps.Task:
    """A corpus of noise: what is on the pictures makes no difference to the time."""
    rng = np.random.default_rng(0)
    frames = 249  # of a 4 s chunk
    mel = rng.integers(0, 256, (CHUNKS, used.mel_bands, frames), dtype=np.uint8)
    classes = rng.integers(CLASSES, size=CHUNKS)
    files = pd.DataFrame({"path": [f"{i}.wav" for i in range(CHUNKS)]})
    store = Store(mel, np.arange(CHUNKS), np.zeros(CHUNKS), files, Path(), (), "noise")
    card = cards.Card(
        dataset="benchmark",
        layout="table",
        title="Noise",
        classes=tuple(f"class {i}" for i in range(CLASSES)),
    )
    return steps.Task(store, np.eye(CLASSES, dtype=np.float32)[classes], classes, card, used)


def plain_step(network: keras.Model, task: steps.Task):
    """(a): pictures, labels, seed -> losses."""
    used = task.settings
    variables = network.trainable_variables
    optimiser = steps.optimizer(used, used.learning_rate, variables)
    loss_of = steps.loss_function(task, network)
    plan_of = {
        "cutmix": augmentation.plan_cutmix,
        "specaugment": augmentation.plan_specaugment,
        "cutmix+specaugment": augmentation.plan,
    }.get(used.augmentation)

    def one(pictures, labels, planned, sample):
        """One sample: its picture and label; an empty patch or mask where nothing is to be done."""
        part = planned.rows([sample])
        picture = pictures[sample : sample + 1]
        if "cutmix" in used.augmentation:
            picture = augmentation.paste(picture, tf.gather(pictures, part.partner), part)
        if "specaugment" in used.augmentation:
            picture = augmentation.mask(picture, part, used)
        weight = part.weight[:, None]
        label = (1 - weight) * labels[sample : sample + 1]
        return picture, label + weight * tf.gather(labels, part.partner)

    @tf.function(autograph=False)
    def step(pictures, labels, seed):
        outputs = network(pictures, training=False)
        losses = tf.concat(
            [loss_of(labels[i : i + 1], outputs[i : i + 1]) for i in range(BATCH)], 0
        )
        if plan_of:
            lam = augmentation.strength(losses, used.sap_a, used.sap_s)
            planned = plan_of(lam, seed, used)
            examples = [one(pictures, labels, planned, i) for i in range(BATCH)]
            pictures = tf.concat([picture for picture, _ in examples], 0)
            labels = tf.concat([label for _, label in examples], 0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            maps = classifier.backbone_of(network)(pictures, training=False)
            learnt = loss_of(labels, classifier.head(network, classifier.pool(network, maps), True))
            mean = tf.reduce_mean(learnt)
        optimiser.apply(tape.gradient(mean, [v.value for v in variables]), variables)
        # The public implementation reports the ranking's losses too; TensorFlow would leave out
        # a pass whose result nobody sees.
        return learnt, losses

    pictures = classifier.inputs(tf.constant(task.store.mel), used)

    def run(count: int) -> float:
        begin = time.perf_counter()
        for number in range(count):
            first = BATCH * (number % (CHUNKS // BATCH))
            part = slice(first, first + BATCH)
            seed = np.array([number, 1], np.int32)
            step(pictures[part], tf.constant(task.targets[part]), seed)[0].numpy()
        return (time.perf_counter() - begin) / (count * BATCH)

    return run


def our_step(network: keras.Model, task: steps.Task, last: int):
    """(b) or (c), with all that an epoch costs besides: order, reading, seeds."""
    stage = steps.Trunks(task, log=lambda line: None).stage(network, last)
    optimiser = steps.optimizer(
        task.settings, task.settings.learning_rate, network.trainable_variables
    )
    step = steps.train_step(network, stage, task, optimiser)

    def run(count: int) -> float:
        chunks = np.arange(CHUNKS)[: count * BATCH]
        rng = np.random.default_rng(count)
        begin = time.perf_counter()
        for _ in loop.epoch_losses(step, stage, task, chunks, rng):
            pass
        return (time.perf_counter() - begin) / len(chunks)

    return run, stage


def trunk_time(stage: steps.Stage, task: steps.Task) -> float:
    """Seconds an image of the trunk alone, in batches as large as augmentation makes them."""
    pictures = classifier.inputs(tf.constant(task.store.mel[:10]), task.settings)
    call = tf.function(stage.trunk, autograph=False)
    call(pictures)
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call(pictures).numpy()
        times.append((time.perf_counter() - begin) / 10)
    return float(np.median(times))


def measure(backbone: str, weights: str, last: int, share: float, method: str) -> dict:
    """One cell of the table: milliseconds an image."""
    runs, stage = {}, None
    for name in ("a", "b", "c"):
        used = settings.Settings(
            backbone=backbone,
            weights=weights,
            augmentation=method,
            trained_share=share,
            balance="none",
            trunk_cache="on" if name == "c" else "off",
        )
        task = a_task(used)
        network = loop.build_model(task, np.arange(CHUNKS), 0)
        classifier.set_trained(network, last)
        if name == "a":
            runs[name] = plain_step(network, task)
        else:
            runs[name], stage = our_step(network, task, last)
    count = {"a": 2, "b": 3, "c": 6}
    times = {name: [] for name in runs}
    for name, run in runs.items():  # traces, fills caches
        run(count[name])
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(1000 * run(count[name]))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    medians["ratio"] = float(np.median(np.divide(times["a"], times["c"])))
    medians["ratio_b"] = float(np.median(np.divide(times["a"], times["b"])))
    if method == "cutmix+specaugment":
        medians["trunk"] = 1000 * trunk_time(stage, task)
    return medians


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(CELLS), help="one backbone, nothing is written")
    only = parser.parse_args().only
    machine = provenance.hardware()
    lines = [
        "# A training step: milliseconds an image",
        "",
        f"{provenance.now()}  {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, batch {BATCH}, 224 x 224, medians of {ROUNDS} rounds",
        "",
        "(a) plain scheme of the public implementation, (b) ours without, (c) with the trunk",
        "cache; trained: layers of the backbone, 0 is phase 1. (c) without augmentation is the",
        "floor: the tail alone. With both methods about 32 % of the images are altered; `floor`",
        "is then what their trunk pass and the tail alone cost together.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|:--|--:|:--|" + "--:|" * (len(COLUMNS) - 3),
    ]
    print("\n".join(lines), flush=True)
    ratios: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSLITE_CACHE"] = folder
        for backbone in [only] if only else list(CELLS):
            cells = CELLS[backbone]
            weights = f"{folder}/{backbone}.weights.h5"
            backbones.build_backbone(backbone, "random", 224).save_weights(weights)
            for last, share in cells.items():
                tail = 0.0
                for method in settings.AUGMENTATIONS:
                    keras.backend.clear_session()
                    gc.collect()
                    medians = measure(backbone, weights, last, share, method)
                    tail = medians["c"] if method == "none" else tail
                    floor = tail + 0.32 * medians["trunk"] if "trunk" in medians else None
                    line = (
                        f"| {backbone} | {last} | {LABELS.get(method, 'both')} "
                        f"| {medians['a']:.1f} | {medians['b']:.2f} | {medians['c']:.2f} "
                        f"| {f'{floor:.2f}' if floor else ''} | {1000 / medians['c']:.0f} "
                        f"| {medians['ratio_b']:.1f} | {medians['ratio']:.1f} |"
                    )
                    print(line, flush=True)
                    lines.append(line)
                    key = f"{backbone} {last}"
                    ratios.setdefault(key, {})[method] = round(medians["ratio"], 2)
    if not only:
        target = paths.ROOT / "results" / "benchmarks" / "training.md"
        lines += ["", f"`{json.dumps(ratios)}`"]
        with paths.replacing(target) as draft:
            draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()

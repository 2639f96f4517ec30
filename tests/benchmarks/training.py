"""Images a second of a training step: the plain way, and ours without and with the trunk cache.

    python tests/benchmarks/training.py [--only BACKBONE]

(a) plain: the scheme of the public implementation. Every step ranks the batch with a forward pass
    of the whole network, takes losses and augmentation sample by sample in unrolled loops, and
    runs forward and backward through the whole network. Pictures are drawn beforehand.
(b) ours, trunk_cache=off; (c) ours, trunk_cache=on, the store being written already.

All in one process, round after round; figures are milliseconds an image, medians over the rounds.
Trained: layers of the backbone, 0 is phase 1. (c) without augmentation is the tail alone. floor:
what augmentation must cost at least, the tail for all images and, for the share that is altered
(drawn here), the trunk in a batch of as many and the tail once more. Weights are random and frozen
as if they were pre-trained.
"""

import argparse
import gc
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from timing import in_turn, write

from dslite import cards, provenance, settings
from dslite.features.store import Store
from dslite.models import backbones, classifier, pooling
from dslite.training import augmentation, loop, steps

CHUNKS, BATCH, CLASSES = 192, 32, 6
ROUNDS = 3
STEPS = {"a": 2, "b": 3, "c": 6}  # a round
# Table 2's counts of DenseNet121's trained layers (0: phase 1) as shares of its 427 layers
CELLS = {"densenet121": {0: 0.1, 42: 0.1, 128: 0.3, 298: 0.7}, "mobilenet_v2": {0: 0.1, 15: 0.1}}


def a_task(used: settings.Settings) -> steps.Task:
    """A corpus of noise: what is on the pictures makes no difference to the time."""
    rng = np.random.default_rng(0)
    frames = 249  # of a 4 s chunk
    mel = rng.integers(0, 256, (CHUNKS, used.mel_bands, frames), dtype=np.uint8)
    classes = rng.integers(CLASSES, size=CHUNKS)
    files = pd.DataFrame({"path": [f"{i}.wav" for i in range(CHUNKS)]})
    store = Store(mel, np.arange(CHUNKS), np.zeros(CHUNKS), files, Path(), (), "noise")
    names = tuple(f"class {i}" for i in range(CLASSES))
    card = cards.Card(dataset="benchmark", layout="table", title="Noise", classes=names)
    return steps.Task(store, np.eye(CLASSES, dtype=np.float32)[classes], classes, card, used)


def plain_step(network: keras.Model, task: steps.Task):
    """(a): pictures, labels, seed -> losses."""
    used = task.settings
    variables = network.trainable_variables
    optimiser = steps.optimizer(used, used.learning_rate, variables)
    loss_of = steps.loss_function(task, network)

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
        if used.augmentation != "none":
            lam = augmentation.strength(losses, used.sap_a, used.sap_s)
            planned = augmentation.plan(lam, seed, used)
            samples = [one(pictures, labels, planned, i) for i in range(BATCH)]
            pictures, labels = (tf.concat(part, 0) for part in zip(*samples, strict=True))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            maps = classifier.backbone_of(network)(pictures, training=False)
            learnt = loss_of(
                labels, classifier.head(network, pooling.pool(network, None, [maps]), True)
            )
            mean = tf.reduce_mean(learnt)
        optimiser.apply(tape.gradient(mean, [v.value for v in variables]), variables)
        # The public implementation reports the ranking's losses too; TensorFlow would leave out
        # a pass whose result nobody sees.
        return learnt, losses

    pictures = classifier.inputs(tf.constant(task.store.mel), used)

    def run() -> None:
        for number in range(STEPS["a"]):
            part = slice(BATCH * number, BATCH * (number + 1))
            seed = np.array([number, 1], np.int32)
            step(pictures[part], tf.constant(task.targets[part]), seed)[0].numpy()

    return run


def our_step(network: keras.Model, task: steps.Task, last: int, count: int):
    """(b) or (c), with all that an epoch costs besides: order, reading, seeds."""
    stage = steps.Trunks(task, log=lambda line: None).stage(network, last)
    rate, variables = task.settings.learning_rate, network.trainable_variables
    optimiser = steps.optimizer(task.settings, rate, variables)
    step = steps.train_step(network, stage, task, optimiser)

    def run() -> None:
        rng = np.random.default_rng(count)
        for _ in loop.epoch_losses(step, stage, task, np.arange(count * BATCH), rng):
            pass

    return run, stage


def altered(used: settings.Settings, draws: int = 500) -> float:
    """Share of a batch's images that a plan alters."""
    lam = augmentation.strength(tf.range(BATCH, dtype=tf.float32), used.sap_a, used.sap_s)
    plan = tf.function(lambda seed: augmentation.plan(lam, seed, used).changed)
    seeds = np.stack([np.arange(draws), np.ones(draws)], 1).astype(np.int32)
    return float(np.mean([plan(tf.constant(seed)) for seed in seeds]))


def measure(backbone: str, weights: str, last: int, share: float, method: str) -> dict:
    """One cell of the table: milliseconds an image."""
    runs, stage = {}, None
    for name, count in STEPS.items():
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
            runs[name], stage = our_step(network, task, last, count)
    in_turn(runs, 1)  # traces, fills caches
    times = in_turn(runs, ROUNDS)
    times = {name: 1000 / BATCH / STEPS[name] * np.array(values) for name, values in times.items()}
    cell = {name: float(np.median(values)) for name, values in times.items()}
    cell |= {f"ratio_{name}": float(np.median(times["a"] / times[name])) for name in ("b", "c")}
    if method != "none":
        cell["altered"] = altered(task.settings)
        some = max(1, round(BATCH * cell["altered"]))
        pictures = classifier.inputs(tf.constant(task.store.mel[:some]), task.settings)
        call = tf.function(stage.trunk, autograph=False)
        trunk = {"trunk": lambda: call(pictures).numpy()}
        in_turn(trunk, 1)
        cell["trunk"] = 1000 / some * float(np.median(in_turn(trunk, 3 * ROUNDS)["trunk"]))
    return cell


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(CELLS), help="one backbone, nothing is written")
    parser.add_argument("--trained", type=int, nargs="+", help="numbers of layers, with --only")
    options = parser.parse_args()
    only = options.only
    machine = provenance.hardware()
    lines = [
        *("# A training step", "", *__doc__.splitlines()[4:], ""),
        f"{provenance.now()}  {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, batch {BATCH}, 224 x 224, {ROUNDS} rounds",
        "\n| backbone | trained | augmentation | (a) | (b) | (c) | altered | floor | images/s (c) "
        "| (a)/(b) | (a)/(c) |\n|:--|--:|:--|" + "--:|" * 8,
    ]
    print("\n".join(lines), flush=True)
    ratios: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSLITE_CACHE"] = folder
        for backbone in [only] if only else list(CELLS):
            weights = f"{folder}/{backbone}.weights.h5"
            backbones.build_backbone(backbone, "random", 224).save_weights(weights)
            for last, trained_share in CELLS[backbone].items():
                if options.trained and last not in options.trained:
                    continue
                tail = 0.0
                for method in settings.AUGMENTATIONS:
                    keras.backend.clear_session()
                    gc.collect()
                    cell = measure(backbone, weights, last, trained_share, method)
                    tail = cell["c"] if method == "none" else tail
                    share = cell.get("altered", 0.0)
                    floor = tail * (1 + share) + share * cell.get("trunk", 0.0)
                    lines.append(
                        f"| {backbone} | {last} | {method} | {cell['a']:.1f} | {cell['b']:.2f} "
                        f"| {cell['c']:.2f} | {100 * share:.0f} % | {floor:.2f} "
                        f"| {1000 / cell['c']:.0f} "
                        f"| {cell['ratio_b']:.1f} | {cell['ratio_c']:.1f} |"
                    )
                    print(lines[-1], flush=True)
                    ratios.setdefault(f"{backbone} {last}", {})[method] = round(cell["ratio_c"], 2)
    if not only:
        write("training.md", [*lines, "", f"`{json.dumps(ratios)}`"])
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()

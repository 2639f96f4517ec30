"""Does pruning gain anything over quantisation alone? (The paper names it as future work.)

    python tests/benchmarks/pruning.py RUN [--table TABLE] [--weights FILE] [--epochs 3]

RUN is a MobileNetV2 run that ends at stride 4 (RAVDESS's tuned preset). The network is trained
anew on train alone, so that devel is a judge. Then the channels are taken out that weigh least: of
blocks 1 and 2 in the projection, of the last layer in the head. The rest is fine-tuned for a few
epochs, as is the network without pruning, for comparison; each is converted to int8. Prints a
table and writes it to ``results/benchmarks/pruning.csv``, with a Pareto plot.
"""

import argparse

import keras
import numpy as np
import pandas as pd
from timing import FOLDER

from dslite import cards, paths
from dslite import plots as dslite_plots
from dslite.datasets import load_manifest, partitions
from dslite.deployment import convert, profile, runtime
from dslite.deployment import plots as deployment_plots
from dslite.evaluation import metrics
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.training import loop, runs, steps

SHARES = (0.0, 0.25, 0.5, 0.75)
RATE = 1e-4
BATCH = 32


def remaining_channels(network: keras.Model, share: float) -> dict[str, np.ndarray]:
    """Channels of each widened layer that stay, ascending: the heaviest ones."""
    backbone = classifier.backbone_of(network)
    rows, maps = backbone.output_shape[1], backbone.output_shape[3]
    head = np.abs(network.get_layer("hidden").get_weights()[0]).sum(axis=1).reshape(rows, maps)
    weights = {"block_3": head.sum(axis=0)}
    for block in ("block_1", "block_2"):  # magnitudes of what projects a channel
        kernel = np.abs(backbone.get_layer(f"{block}_project").get_weights()[0])
        weights[block] = kernel.sum(axis=(0, 1, 3))
    counts = {name: max(1, round(len(w) * (1 - share))) for name, w in weights.items()}
    return {name: np.sort(np.argsort(-w)[: counts[name]]) for name, w in weights.items()}


def _cut(layer: keras.Layer, block: str, keep: dict[str, np.ndarray]) -> list[np.ndarray]:
    """A backbone layer's weights without the channels that went."""
    weights, kind = layer.get_weights(), layer.name.partition(f"{block}_")[2]
    if block not in keep or kind == "project_BN":
        return weights
    axis = {"expand": 3, "depthwise": 2, "project": 2}.get(kind, 0)  # 0: batch normalisations
    return [np.take(values, keep[block], axis) for values in weights]


def prune(network: keras.Model, share: float) -> keras.Model:
    """A network without that share of its widened channels, with the weights that stay."""
    keep = remaining_channels(network, share)
    backbone = classifier.backbone_of(network)

    def narrower(layer):
        config = layer.get_config()
        block = layer.name.removesuffix("_expand")
        if layer.name.endswith("_expand") and block in keep:
            config["filters"] = len(keep[block])
        return layer.__class__.from_config(config)

    small = keras.models.clone_model(backbone, clone_function=narrower)
    for layer in backbone.layers[1:]:  # the first is the input
        block = "_".join(layer.name.split("_")[:2])
        small.get_layer(layer.name).set_weights(_cut(layer, block, keep))
    picture = keras.Input(backbone.input_shape[1:], name="picture")
    x = small(picture, training=False)
    after = network.layers[network.layers.index(backbone) + 1 :]
    fresh = [layer.__class__.from_config(layer.get_config()) for layer in after]
    for layer in fresh:
        x = layer(x)
    pruned = keras.Model(picture, x, name=network.name)
    maps = backbone.output_shape[3]
    rows = np.arange(backbone.output_shape[1])[:, None] * maps + keep["block_3"]
    for old, new in zip(after, fresh, strict=True):
        values = old.get_weights()
        new.set_weights([values[0][rows.ravel()], *values[1:]] if old.name == "hidden" else values)
    return pruned


def tune(network: keras.Model, task: steps.Task, train: np.ndarray, epochs: int) -> None:
    """Train all of a network for a few epochs; batch normalisation stays in inference."""
    network.trainable = True
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=task.settings.label_smoothing)
    network.compile(keras.optimizers.Adam(RATE), loss)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(train)
        for begin in range(0, len(order), BATCH):
            rows = np.sort(order[begin : begin + BATCH])
            pictures = classifier.inputs(task.store.mel[rows], task.settings)
            network.train_on_batch(pictures, task.targets[rows])


def measured(network: keras.Model, task: steps.Task) -> dict[str, float]:
    """Size, time and devel UAR of a network's int8 file, and the UAR of the network itself."""
    store, settings, devel = task.store, task.settings, task.store.chunks("devel")
    calibration = store.chunks("train")[:: max(1, len(store.chunks("train")) // 64)]
    waves = [w[None] for w in feature_store.waveforms(store, calibration, settings)]
    content = convert.convert(convert.functions(network, settings)["model"], network)
    small = convert.Quantiser(content, waves).make(runtime.INT8)
    call = runtime.runner(small)
    expected = feature_store.predict(classifier.predictor(network, settings), store.mel, devel)
    actual = convert.outputs(small, feature_store.waveforms(store, devel, settings))
    _, file = np.unique(store.file[devel], return_inverse=True)
    first = np.unique(file, return_index=True)[1]
    truth = task.classes[devel][first]
    both = [metrics.fuse(o, file).argmax(axis=1) for o in (expected, actual)]
    keras_uar, uar = (100 * metrics.uar(truth, guess, expected.shape[1]) for guess in both)
    return {
        "parameters": network.count_params(),
        "MB int8": len(small) / 1e6,
        "ms int8": profile.time_in_turn({"int8": lambda: call(waves[0])}, 50)["int8"]["ms_median"],
        "devel UAR Keras": keras_uar,
        "devel UAR int8": uar,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--table", default="")
    parser.add_argument("--weights", default="imagenet", help="imagenet or a file")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    run = runs.load(options.run)
    built = load_manifest(cards.load(options.table or run.record["dataset"]))
    built = partitions.of_run(built, run.record)
    settings = run.settings.model_copy(update={"weights": options.weights})
    task = steps.task_of(built.card, settings, feature_store.load_spectrograms(built, settings))
    train, devel = (task.store.chunks(part) for part in ("train", "devel"))
    if settings.feature_layer != "stride4":
        parser.error("RUN is to end at stride 4 (feature_layer=stride4)")
    network = loop.build_model(task, train, run.record["seed"])
    loop.fit(network, task, train, run.record["seed"], devel, log=lambda line: None)
    rows = {"as trained": measured(network, task)}
    for share in SHARES:
        small = prune(network, share)
        tune(small, task, train, options.epochs)
        rows[f"{100 * share:.0f} % pruned, fine-tuned"] = measured(small, task)
        print(pd.DataFrame(rows).T.round(2).to_string(), flush=True)
    table = pd.DataFrame(rows).T.round(3)
    with paths.replacing(FOLDER / "pruning.csv") as draft:
        table.to_csv(draft, index_label="network")
    # On the plot that `dslite profile` draws of a corpus
    points = table.rename(columns={"ms int8": "ms_median", "MB int8": "MB"})
    points = points.assign(devel=table["devel UAR int8"] / 100, variant="int8")
    figure = deployment_plots.pareto(points.assign(backbone=table.index))
    with paths.replacing(FOLDER / "pruning.png") as draft:
        dslite_plots.save(figure, draft)


if __name__ == "__main__":
    main()

"""Make ``demo_squeezenet.weights.h5``: SqueezeNet pre-trained for the demo corpus, offline.

    python data/weights/pretrain_demo.py

The network learns to tell cues of synthesised voices apart (pitch, vibrato, tempo, ...: three
classes a cue) from their spectrogram images. Voices, seed and task are other than the demo
corpus's, whose affects it never sees: what the demo does with these weights is transfer learning,
as with ImageNet weights. Takes some ten minutes on two cores. The weights are stored as float16
and are in the public domain (CC0-1.0).
"""

import argparse
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from dslite import cards, paths, settings
from dslite.datasets import demo_voices
from dslite.features import spectrogram
from dslite.models import backbones, classifier

SEED = 20220317
CLASSES = 3  # of each cue


def spectrograms(clips: int, seed: int, used: settings.Settings) -> tuple[np.ndarray, np.ndarray]:
    """Stored Mel spectrograms [clips, mel_bands, frames] of new voices, and their cues' classes."""
    compute = spectrogram.compiled_mel_image(used)
    waveforms, targets = demo_voices.pretraining_set(clips, seed)
    parts = [compute(waveforms[i : i + 64]).numpy() for i in range(0, clips, 64)]
    return np.concatenate(parts), targets


def build(used: settings.Settings, heads: int) -> keras.Model:
    """SqueezeNet with one softmax a cue: images -> [batch, heads, CLASSES]."""
    backbone = backbones.build_backbone("squeezenet", "random", used.image_size)
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(heads * CLASSES)(x)
    x = keras.layers.Softmax()(keras.layers.Reshape((heads, CLASSES))(x))
    network = keras.Model(backbone.input, x)
    for layer in network.layers:  # ReLU all the way: He's initial values let the signal through
        if isinstance(layer, keras.layers.Conv2D):
            values = keras.initializers.HeNormal()(layer.kernel.shape)
            # The input reaches +-128; the first layer brings it to order 1.
            layer.kernel.assign(values / 64 if layer.name == "conv1" else values)
    return network


def save_float16(network: keras.Model, target: Path) -> None:
    """The backbone's weights as Keras names them, half as large."""
    backbone = keras.Model(network.input, network.get_layer("fire9_concat").output)
    with paths.replacing(target) as draft:
        backbone.save_weights(draft)
        with h5py.File(draft, "r") as file:
            found = {}
            file.visititems(
                lambda name, item: (
                    found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
            groups = []
            file.visit(groups.append)
        with h5py.File(draft, "w") as file:
            for group in groups:
                if group not in found:
                    file.require_group(group)
            for name, value in found.items():
                file.create_dataset(name, data=value.astype(np.float16), compression="gzip")


def main() -> None:
    """Train and save; prints the accuracy on voices of yet another seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("demo_squeezenet.weights.h5")
    )
    asked = parser.parse_args()
    card = cards.load("demo")
    used = cards.settings_of(card, weights="random")
    keras.utils.set_random_seed(SEED)
    mel, targets = spectrograms(asked.clips, SEED, used)
    held_mel, held = spectrograms(500, SEED + 1, used)
    network = build(used, targets.shape[1])
    steps = asked.epochs * (len(mel) // 32)
    # Without batch normalisation the network dies at a higher rate or without the slow start.
    rate = keras.optimizers.schedules.CosineDecay(1e-6, steps, warmup_target=4e-4, warmup_steps=200)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step(mel, labels):
        pictures = classifier.inputs(mel, used)
        with tf.GradientTape() as tape:
            outputs = network(pictures, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, outputs))
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    predict = classifier.predictor(network, used)
    rng = np.random.default_rng(SEED)
    for epoch in range(asked.epochs):
        order = rng.permutation(len(mel))
        batches = [order[i : i + 32] for i in range(0, len(order) - 31, 32)]
        loss = np.mean([float(step(mel[rows], targets[rows])) for rows in batches])
        outputs = np.concatenate([predict(held_mel[i : i + 50]).numpy() for i in range(0, 500, 50)])
        right = (outputs.argmax(-1) == held).mean(0)
        heads = ", ".join(
            f"{head} {r:.2f}" for head, r in zip(demo_voices.HEADS, right, strict=True)
        )
        print(f"epoch {epoch + 1}/{asked.epochs} loss {loss:.3f} held out: {heads}", flush=True)
    save_float16(network, asked.output)
    print(f"{asked.output}: {asked.output.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    main()

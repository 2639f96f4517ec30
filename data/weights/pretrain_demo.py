"""Make ``demo_squeezenet.weights.h5``: SqueezeNet pre-trained for the demo corpus, offline.

    python data/weights/pretrain_demo.py

The network learns to tell cues of synthesised voices apart (pitch, vibrato, tempo, ...: three
classes a cue) from their spectrogram images. Voices, seed and task are other than the demo
corpus's, whose affects it never sees: what the demo does with these weights is transfer learning,
as with ImageNet weights. Takes some ten minutes on two cores. The weights are stored as float16
and are in the public domain (CC0-1.0).
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from dslite import cards, paths, provenance, settings
from dslite.datasets import demo
from dslite.features import spectrogram
from dslite.models import backbones, classifier

SEED = 20220317
STREAM = 7919  # first word of every seed: no other stream starts with it
CLASSES = 3  # of each cue
# Cue -> edges between its three classes, in the unit of `audible_cues`
HEADS: dict[str, tuple[float, float]] = {
    "pitch": (180.0, 230.0),
    "pitch_slope": (-2.0, 2.0),
    "pitch_glide": (-2.0, 2.0),
    "vibrato_depth": (0.6, 1.3),
    "tempo": (3.1, 4.3),
    "attack": (0.33, 0.67),
    "breath": (-28.7, -21.3),
}


def audible_cues(speaker: demo.Speaker, expression: demo.Expression) -> list[float]:
    """The cues as a listener who does not know the speaker hears them, in the order of `HEADS`."""
    cues = asdict(expression)
    cues["pitch"] = speaker.pitch_hz * 2 ** (expression.pitch_level / 12)
    cues["tempo"] *= speaker.tempo
    cues["breath"] += speaker.breath
    return [float(cues[head]) for head in HEADS]


def draw_voice(rng: np.random.Generator) -> tuple[demo.Speaker, demo.Expression]:
    """A speaker, and cues drawn from the whole of their ranges, whatever affect they would suit."""
    speaker = demo.draw_speaker(rng)
    return speaker, demo.expression_at(rng.uniform(size=len(demo.CUES)))


def pretraining_set(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Voices of 2 s, float32 [n, 32000], and each cue's class 0, 1 or 2, int64 [n, cues].

    Clip ``i`` depends on ``seed`` and ``i`` only: a longer set begins with a shorter. Nothing of
    the demo corpus is in them, whatever the seed.
    """
    waveforms = np.empty((n, 32000), dtype=np.float32)
    targets = np.empty((n, len(HEADS)), dtype=np.int64)
    for i in range(n):
        rng = np.random.default_rng([STREAM, seed, i])
        voice = draw_voice(rng)
        waveforms[i] = demo.synthesise(*voice, 2.0, rng)
        cues = zip(audible_cues(*voice), HEADS.values(), strict=True)
        targets[i] = [np.digitize(cue, edges) for cue, edges in cues]
    return waveforms, targets


def spectrograms(clips: int, seed: int, used: settings.Settings) -> tuple[np.ndarray, np.ndarray]:
    """Stored Mel spectrograms [clips, mel_bands, frames] of new voices, and their cues' classes."""
    compute = spectrogram.compiled_mel_image(used)
    waveforms, targets = pretraining_set(clips, seed)
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
            names = []
            file.visit(names.append)
            arrays = {
                name: file[name][()] for name in names if isinstance(file[name], h5py.Dataset)
            }
        with h5py.File(draft, "w") as file:
            for name in names:
                if name not in arrays:
                    file.require_group(name)
            for name, value in arrays.items():
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
    used = cards.settings_of(card, "paper", "top_db=80", weights="random")
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
        heads = ", ".join(f"{head} {r:.2f}" for head, r in zip(HEADS, right, strict=True))
        print(f"epoch {epoch + 1}/{asked.epochs} loss {loss:.3f} held out: {heads}", flush=True)
    save_float16(network, asked.output)
    print(f"{asked.output}: {provenance.size_in_words(asked.output.stat().st_size)}")


if __name__ == "__main__":
    main()

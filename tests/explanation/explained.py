"""Small networks, runs and stores to explain, each made of numbers that a test knows."""

import json

import keras
import numpy as np
import pandas as pd
import soundfile

from dslite import audio
from dslite.explanation.files import ExplainedFile
from dslite.features import spectrogram, store
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs
from tests.random_networks import alive

SIDE = 32
HALVES = (slice(0, SIDE // 2), slice(SIDE // 2, SIDE))
CLASSES = ("calm", "happy", "sad")
SMALL = Settings(
    sample_rate=4000,
    chunk_length_s=1.0,
    chunk_hop_s=0.75,
    mel_bands=16,
    image_size=SIDE,
    backbone="squeezenet",
    weights="random",
    units=6,
    bootstrap_draws=20,
)


# Two panels of 32 x 64 pixels, one above the other
PANELS = SMALL.model_copy(
    update={"picture": "clip+level", "mel_bands": 32, "columns": 64, "level_max_hz": 1000.0}
    | {"pooling": "segments", "head": "ridge", "trim_db": 30.0, "hop_ms": 16.0}
)


def silent(line):
    """In the place of ``log``."""


def network(settings=SMALL, outputs=3, seed=0, scale=None):
    """A classifier with random weights; with the fixture `tiny`, of its backbone."""
    whole = alive(classifier.build_classifier(settings, outputs, scale), seed, first=1 / 60)
    if settings.head == "ridge":  # of a thousand features, lest the softmax saturates
        kernel, bias = whole.get_layer("output").get_weights()
        whole.get_layer("output").set_weights([0.02 * kernel, bias])
    return whole


def noise(rng, count=1, side=SIDE, width=None):
    """Pictures of noise in blocks, float32 [count, side, width, 3], so that no mean hides them."""
    blocks = rng.uniform(0, 255, (count, 8, 8, 3))
    rows, columns = (np.arange(of) * 8 // of for of in (side, width or side))
    return blocks[:, rows][:, :, columns].astype(np.float32)


def looking_at(rows, columns, side=SIDE):
    """A network in the shape of a classifier that sees one part of the picture alone.

    The brighter this part's green, the larger output 0.
    """
    seen = np.zeros((1, side, side, 3), np.float32)
    seen[:, rows, columns, 1] = 1 / 100
    image = keras.Input((side, side, 3))
    maps = keras.layers.AveragePooling2D(4)(image * seen)
    backbone = keras.Model(image, maps, name="backbone")
    picture = keras.Input((side, side, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(backbone(picture))
    x = keras.layers.Dense(1, name="hidden")(x)
    x = keras.layers.Dense(2, activation="softmax", name="output")(x)
    whole = keras.Model(picture, x)
    whole.get_layer("hidden").set_weights([np.array([[0.0], [3.0], [0.0]]), np.zeros(1)])
    whole.get_layer("output").set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    return whole


def waveform(seconds, hz=440.0, rate=SMALL.sample_rate):
    time_s = np.arange(round(seconds * rate)) / rate
    return (0.25 * np.sin(2 * np.pi * hz * time_s * (1 + time_s / 4))).astype(np.float32)


def a_store(folder, rows, settings=SMALL):
    """A store of files (name, partition, label, seconds), whose tones differ."""
    owner, start_s, cut, sound_s = [], [], [], []
    for number, (name, _, _, seconds) in enumerate(rows):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, waveform(seconds, 200 + 90 * number), settings.sample_rate)
        chunks, starts = audio.chunks_of(file, settings)
        owner += [number] * len(starts)
        start_s += starts.tolist()
        cut.append(chunks)
        sound_s += store.sounding_s(chunks, settings)
    mel = spectrogram.compiled_mel_image(settings)(np.concatenate(cut)).numpy()
    files = pd.DataFrame(rows, columns=["path", "partition", "label", "duration_s"])
    places = np.array(owner), np.array(start_s)
    return store.Store(mel, *places, files, folder, (), "", np.array(sound_s))


def predictions(rows, classes=CLASSES):
    """Rows (file, partition, label, scores) as a run writes them; one score of a regression."""
    table = []
    for file, partition, label, *scores in rows:
        row = {"file": file, "speaker": "s", "partition": partition, "label": label}
        row["prediction"] = classes[int(np.argmax(scores))] if classes else scores[0]
        table.append(row | dict(zip(classes, scores, strict=False)))
    columns = ["file", "speaker", "partition", "label", "prediction", *classes]
    return pd.DataFrame(table, columns=columns)


def a_run(folder, table, classes=CLASSES, settings=SMALL, network=None, metrics=None):
    folder.mkdir(parents=True, exist_ok=True)
    task = "classification" if classes else "regression"
    record = {"classes": list(classes), "task": task, "seed": 0, "settings": settings.model_dump()}
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    metrics = json.dumps(metrics or {"devel": None, "test": None})
    (folder / "metrics.json").write_text(metrics, "utf-8")
    table.to_csv(folder / "predictions.csv", index=False)
    if network is not None:
        network.save(folder / "model.keras")
    return runs.load(folder)


def explained_file(name, explanations, **changed):
    """A file of a second that was taken for the first of the explained classes."""
    (first, part), last = next(iter(explanations.items())), list(explanations)[-1]
    shape = (*part.values.shape, 3)
    fields = {"name": name, "rule": "", "true": last, "predicted": first}
    fields |= {"probability": 0.7, "waveform": waveform(1.0)}
    fields |= {"picture": np.full(shape, 99, np.float32), "span_s": (0.0, 1.0)}
    return ExplainedFile(**fields | {"explanations": explanations} | changed)

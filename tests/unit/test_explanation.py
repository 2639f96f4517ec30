"""SHAP values that must sum up and point at what a model looks at; which samples are shown."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from dslite import cards, explanation, loader, model, runs
from dslite.settings import Settings

SIDE = 32
SETTINGS = Settings(backbone="squeezenet", weights="random", image_size=SIDE, mel_bands=16)


def looking_at(rows, columns):
    """A model whose two outputs depend on one part of the picture alone."""
    image = keras.Input((SIDE, SIDE, 3))
    part = image[:, rows, columns, 1] / 100
    level = keras.layers.Rescaling(4.0)(keras.ops.mean(part, axis=(1, 2))[:, None])
    high = keras.ops.sigmoid(level + 3 * keras.ops.mean(part**2, axis=(1, 2))[:, None])
    return keras.Model(image, keras.ops.concatenate([high, 1 - high], axis=-1))


@pytest.fixture
def mel(rng):
    """Spectrograms [2, 16, 16] of noise around different levels."""
    return np.stack([rng.integers(0, 256, (16, 16)), rng.integers(0, 120, (16, 16))]).astype("u1")


HALVES = (slice(0, SIDE // 2), slice(SIDE // 2, SIDE))


@pytest.mark.parametrize("rows", HALVES)
@pytest.mark.parametrize("columns", HALVES)
def test_the_values_lie_in_the_quadrant_that_the_model_looks_at(mel, rows, columns):
    network = looking_at(rows, columns)
    explained = explanation.partition_shap(network, SETTINGS, mel, [0, 1], evaluations=300)
    for found in explained:
        share = np.abs(found.values[rows, columns]).sum() / np.abs(found.values).sum()
        assert share > 0.99
        assert np.abs(found.values).sum() > 0.01


def test_values_sum_to_output_less_base(mel):
    network = looking_at(*HALVES)
    explained = explanation.partition_shap(network, SETTINGS, mel, [0, 1], evaluations=100)
    scale = explanation.backbones.BACKBONES["squeezenet"].scale
    for found, chunk, output in zip(explained, mel, [0, 1], strict=True):
        picture = explanation.spectrogram.picture(chunk[None], SETTINGS).numpy()
        np.testing.assert_array_equal(found.picture, picture[0])
        assert found.values.shape == (SIDE, SIDE)
        whole = network(scale(picture)).numpy()[0, output]
        masked = np.broadcast_to(picture.mean(axis=(1, 2), keepdims=True), picture.shape)
        base = network(scale(masked)).numpy()[0, output]
        assert found.output == pytest.approx(whole, abs=1e-5)
        assert found.base == pytest.approx(base, abs=1e-3)
        assert found.base + found.values.sum() == pytest.approx(whole, abs=1e-3)
        assert abs(whole - base) > 0.01
    assert explanation.additivity_error(explained) < 1e-3


def test_the_additivity_error_is_the_largest():
    values = np.full((2, 2), 0.1)
    explained = [
        explanation.Explanation(np.zeros((2, 2, 3)), values, 0.1, output) for output in (0.5, 0.2)
    ]
    assert explanation.additivity_error(explained) == pytest.approx(0.3)


def test_the_same_chunk_and_output_are_explained_with_opposite_signs(mel):
    """Two classes: what raises one lowers the other."""
    network = looking_at(*HALVES)
    chunks = np.stack([mel[0], mel[0]])
    one, other = explanation.partition_shap(network, SETTINGS, chunks, [0, 1], evaluations=60)
    np.testing.assert_allclose(one.values, -other.values, atol=1e-5)


def test_a_real_model_adds_up(small_run, rng):
    network = explanation.load_network(small_run)
    mel = rng.integers(0, 256, (1, 32, 124)).astype(np.uint8)
    found = explanation.partition_shap(network, small_run.settings, mel, [2], evaluations=40)
    assert explanation.additivity_error(found) < 1e-3
    expected = network(model.inputs(tf.constant(mel), small_run.settings), training=False)
    assert found[0].output == pytest.approx(float(expected[0, 2]), abs=1e-5)


def test_rows_for_the_figure():
    found = explanation.Explanation(np.full((2, 2, 3), 255.0), np.zeros((2, 2)), 0.25, 0.5)
    (row,) = explanation.rows([found], ["a title"])
    assert row["image"].max() == 1
    assert (row["title"], row["base"], row["output"]) == ("a title", 0.25, 0.5)


# Which samples


CLASSES = ("calm", "happy", "sad")


def a_run(folder, table, task="classification", metrics=None):
    """A finished run with given predictions."""
    record = {
        "classes": list(CLASSES) if task == "classification" else [],
        "task": task,
        "settings": SETTINGS.model_dump(),
    }
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics or {}), "utf-8")
    table.to_csv(folder / "predictions.csv", index=False)
    return runs.load(folder)


def chosen(tmp_path, monkeypatch, table, task="classification"):
    """`samples` of a run whose files have two chunks: the second one is the more decided."""
    names = table["file"].tolist()
    scores = table[list(CLASSES)] if task == "classification" else table[["prediction"]]
    scores = scores.to_numpy(float)
    spread = np.repeat(scores, 2, axis=0)
    spread[0::2] *= 0.5
    owner = np.repeat(np.arange(len(names)), 2)
    files = pd.DataFrame({"path": names})
    chunks = np.arange(len(owner), dtype=np.uint8)[:, None, None]
    store = loader.Store(
        chunks, owner, owner * 0.0 + np.tile([0, 1.5], len(names)), files, None, (), ""
    )
    monkeypatch.setattr(
        explanation.model,
        "predictor",
        lambda network, settings: lambda mel: tf.constant(spread[mel[:, 0, 0]]),
    )
    run = a_run(tmp_path, table, task)
    return explanation.samples(run, store, None)


def predictions(rows):
    """Rows (file, partition, label, probabilities) as a run writes them."""
    found = []
    for file, partition, label, *scores in rows:
        said = CLASSES[int(np.argmax(scores))]
        row = {"file": file, "speaker": "s", "partition": partition, "label": label}
        found.append(row | {"prediction": said} | dict(zip(CLASSES, scores, strict=True)))
    return pd.DataFrame(found)


def test_the_most_confident_correct_file_of_each_class(tmp_path, monkeypatch):
    table = predictions(
        [
            ("devel.wav", "devel", "calm", 0.99, 0.01, 0.0),  # the wrong partition
            ("a.wav", "test", "calm", 0.6, 0.3, 0.1),
            ("b.wav", "test", "calm", 0.8, 0.1, 0.1),  # calm
            ("c.wav", "test", "happy", 0.9, 0.1, 0.0),  # surer of calm, and wrong
            ("d.wav", "test", "happy", 0.1, 0.5, 0.4),  # happy
            ("e.wav", "test", "sad", 0.5, 0.1, 0.4),
            ("f.wav", "test", "sad", 0.2, 0.5, 0.3),
        ]
    )
    found = chosen(tmp_path, monkeypatch, table).set_index("output")
    assert found["file"].tolist() == [
        "b.wav",
        "d.wav",
        "e.wav",
    ]  # e: none is right, it came closest
    assert found["true"].tolist() == list(CLASSES)
    assert found["predicted"].tolist() == ["calm", "happy", "calm"]
    assert found.index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found["probability"], [0.8, 0.5, 0.4])
    assert found["chunk"].tolist() == [5, 9, 11]  # the second chunk of each
    assert found["start_s"].tolist() == [1.5] * 3


def test_a_correct_file_goes_before_a_wrong_one_with_a_higher_probability(tmp_path, monkeypatch):
    table = predictions(
        [
            ("a.wav", "test", "calm", 0.45, 0.55, 0.0),
            ("b.wav", "test", "calm", 0.36, 0.32, 0.32),
        ]
    )
    assert chosen(tmp_path, monkeypatch, table)["file"].iloc[0] == "b.wav"


def test_without_labels_what_was_predicted_is_shown(tmp_path, monkeypatch):
    table = predictions(
        [("a.wav", "test", "", 0.7, 0.2, 0.1), ("b.wav", "test", "", 0.9, 0.1, 0.0)]
    )
    found = chosen(tmp_path, monkeypatch, table)
    assert found["file"].tolist() == ["b.wav"]  # nothing was predicted happy or sad
    assert found["true"].tolist() == [""]


def test_of_a_regression_the_highest_prediction(tmp_path, monkeypatch):
    table = pd.DataFrame(
        {
            "file": ["a.wav", "b.wav", "c.wav"],
            "speaker": "s",
            "partition": ["test", "test", "devel"],
            "label": ["9", "10", "11"],
            "prediction": [9.5, 10.5, 99],  # as text, "9.5" would be higher
        }
    )
    found = chosen(tmp_path, monkeypatch, table, "regression")
    assert found["file"].tolist() == ["b.wav"]
    assert found["probability"].iloc[0] == pytest.approx(10.5)


def test_samples_of_the_small_run(workplace, small_run, small_corpus):
    from dslite.datasets import manifest

    built = manifest.load(cards.load(str(small_corpus)))
    store = loader.load(built, small_run.settings)
    found = explanation.samples(small_run, store, explanation.load_network(small_run))
    assert found["true"].tolist() == ["calm", "happy", "sad", "angry"]
    for row in found.itertuples():
        assert store.files["path"].iloc[store.file[row.chunk]] == row.file
        assert store.files["partition"].iloc[store.file[row.chunk]] == "test"


# Outcomes


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in [*axes.texts, axes._left_title]]


def test_confusion_matrices_of_the_labelled_partitions(tmp_path):
    matrix = [[3, 1, 0], [0, 4, 0], [2, 0, 2]]
    part = {"file": {"score": 0.75, "confusion": matrix}}
    table = predictions([("a.wav", "test", "calm", 0.7, 0.2, 0.1)])
    run = a_run(tmp_path, table, metrics={"devel": part, "test": None})
    figures = explanation.outcome_figures(run)
    assert list(figures) == ["confusion_devel"]
    said = " ".join(texts(figures["confusion_devel"]))
    assert "devel: UAR 75.0 %" in said
    assert "3\n75.0 %" in said
    run = a_run(tmp_path, table, metrics={"devel": part, "test": part})
    assert list(explanation.outcome_figures(run)) == ["confusion_devel", "confusion_test"]


@pytest.mark.parametrize(("score", "said"), [(0.5, "rho 0.500"), (None, "rho undefined")])
def test_predicted_over_true_of_a_regression(tmp_path, score, said):
    table = pd.DataFrame(
        {"file": list("abc"), "speaker": "", "partition": ["devel", "test", "test"]}
    ).assign(label=["1", "2", "3"], prediction=[4.0, 5.0, 6.0])
    part = {"file": {"score": score}}
    run = a_run(tmp_path, table, "regression", {"devel": part, "test": part})
    figures = explanation.outcome_figures(run)
    assert list(figures) == ["predicted_devel", "predicted_test"]
    (axes,) = figures["predicted_test"].axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[2, 5], [3, 6]])
    assert said in axes.get_title(loc="left")

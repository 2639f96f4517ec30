"""A converted run is compared with Keras, and restored where it differs."""

import io
import json
import re
import shutil
import types
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite import provenance
from dslite.deployment import convert, predict, quantise, runtime
from dslite.deployment.runtime import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS, file_name
from dslite.settings import Settings
from tests.deployment.stand_in import without_metadata


@pytest.fixture(scope="module")
def results(converted_run):
    return json.loads((converted_run.folder / convert.FILE).read_text())


def test_all_of_devel_and_test_is_compared(converted_run, small_store, results):
    assert list(results) == list(VARIANTS)
    for variant, result in results.items():
        for partition, of in (("devel", result), ("test", result["test"])):
            assert of["chunks"] == len(small_store.chunks(partition))
        assert result["mean_difference"] <= convert.TOLERANCE[variant]
        assert result["uar_difference"] == pytest.approx(result["uar"] - result["keras_uar"])
        low, high = result["interval"]
        assert low <= result["uar_difference"] <= high
        assert len(result["float32_layers"]) <= result["layers"]
        file = converted_run.folder / file_name("model", variant)
        assert result["size_bytes"] == file.stat().st_size
    assert results[FLOAT32]["float32_layers"] == []
    # Keras's decisions on test by another way: those of predictions.csv.
    score = converted_run.metrics["test"]["file"]["score"]
    assert results[FLOAT32]["test"]["keras_uar"] == pytest.approx(score)


def test_the_command_prints_the_table_and_writes_every_file(conversion, converted_run, results):
    table = convert.agreement_table(results)
    assert table.index.tolist() == list(VARIANTS)
    assert table["MB"].idxmax() == FLOAT32
    lines = (conversion / "out.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines[-5:-1]] == list(VARIANTS)
    files = {file_name(part, variant) for part in ("model", "cnn") for variant in VARIANTS}
    written = {file.name for file in converted_run.folder.glob("*.tflite")}
    assert written == files | {"spectrogram.tflite"}


def test_a_file_alone_predicts_as_keras(converted_run, small_corpus, tmp_path):
    files = sorted(small_corpus.parent.glob("spk0[36]/*.wav"))[:4]
    expected = predict.predict_files(converted_run.folder, files)
    classes = list(converted_run.classes)
    for variant in VARIANTS:
        lonely = tmp_path / "anything.tflite"
        shutil.copy(converted_run.folder / file_name("model", variant), lonely)
        actual = predict.predict_files(lonely, files)
        assert actual.columns.tolist() == expected.columns.tolist()
        difference = np.abs(actual[classes].to_numpy() - expected[classes].to_numpy()).mean()
        assert difference <= convert.TOLERANCE[variant]
        pd.testing.assert_series_equal(actual["duration_s"], expected["duration_s"])


def test_comparing_counts_files_not_chunks(converted_run, small_store, results):
    chunks = small_store.chunks("devel")
    labels = small_store.files["label"].iloc[small_store.file[chunks]]
    truth = np.eye(4, dtype=np.float32)[[converted_run.classes.index(name) for name in labels]]
    same = convert.compare(converted_run, small_store, chunks, truth, truth)
    assert (same["uar"], same["uar_difference"], same["interval"]) == (1.0, 0.0, [0.0, 0.0])
    assert (same["same_decision"], same["largest_difference"]) == (1.0, 0.0)
    # One file of devel is taken for another class.
    wrong = truth.copy()
    first = small_store.file[chunks] == small_store.file[chunks][0]
    wrong[first] = np.roll(truth[first], 1, axis=1)
    other = convert.compare(converted_run, small_store, chunks, truth, wrong)
    per_class = (small_store.files.query("partition == 'devel'")["label"] == labels.iloc[0]).sum()
    assert other["uar_difference"] == pytest.approx(-1 / 4 / per_class)
    assert other["interval"][0] < other["uar_difference"] <= other["interval"][1] <= 0
    assert other["same_decision"] == pytest.approx(1 - first.mean())
    assert other["mean_difference"] == pytest.approx(first.mean() / 2)
    # Of one file nothing varies.
    one = convert.compare(converted_run, small_store, chunks[first], truth[first], truth[first])
    assert (one["uar_difference"], one["interval"]) == (0.0, None)
    assert convert.agreement_table({INT8: results[INT8] | one}).loc[INT8, "95 %"] == ""


def test_a_regression_is_compared_by_its_numbers_alone(small_store):
    run = types.SimpleNamespace(task="regression")
    one, other = np.zeros((4, 1), np.float32), np.full((4, 1), 0.5, np.float32)
    result = convert.compare(run, small_store, np.arange(4), one, other)
    assert result == {"chunks": 4, "mean_difference": 0.5, "largest_difference": 0.5}


class FakeQuantiser:
    """Layers a to f, each of which costs its share; 'content' names the layers in float32."""

    shares = types.MappingProxyType({"a": 1.0, "b": 8.0, "c": 0.0, "d": 4.0, "e": 2.0, "f": 0.5})

    def layers(self):
        return list(self.shares)

    def make(self, variant, keep=()):
        return tuple(self.shares) if variant == FLOAT32 else tuple(keep)


def loss(content):
    return sum(share for name, share in FakeQuantiser.shares.items() if name not in content)


# The last is not enough, and twice as many are more than there are.
@pytest.mark.parametrize("measure", ["uar_difference", "mean_difference"])
@pytest.mark.parametrize(
    ("scale", "restored"),
    [(0.0003, ""), (0.0005, "b"), (0.001, "bd"), (0.005, "bdea"), (1.0, "bdea")],
)
def test_the_most_sensitive_layers_are_restored_until_little_is_lost(
    monkeypatch, measure, scale, restored
):
    lines, sign = [], -1 if measure == "uar_difference" else 1

    def compared(content, partition):
        assert partition == "devel"  # nothing is chosen on test
        return {
            "uar_difference": 0.0,
            "mean_difference": 0.0,
            measure: sign * scale * loss(content),
        }

    monkeypatch.setattr(convert, "outputs", lambda of, waves: np.full((len(waves), 1), loss(of)))
    monkeypatch.setattr(convert.runtime, "unusable", lambda contents: {})
    options = (FakeQuantiser(), INT8, (), [0, 0], compared, lines.append, convert.LOST)
    keep, content, result = convert._restored(*options)
    assert (keep, content) == (list(restored), tuple(restored))
    assert result[measure] == pytest.approx(sign * scale * loss(restored))
    assert bool(lines) == bool(restored)
    assert not restored or f"the {len(restored)} most sensitive of 6 layers" in lines[-1]


def test_each_variant_stands_alone(converted_copy, small_corpus, small_cache, command, monkeypatch):
    folder = converted_copy.folder
    monkeypatch.setenv("DSLITE_CACHE", str(small_cache))
    parts = {
        part: quantise.Quantiser(without_metadata(folder / f"{part}.tflite"), [])
        for part in ("model", "cnn", "spectrogram")
    }
    make = quantise.Quantiser.make

    def faulty(self, variant, keep=()):
        if variant == DYNAMIC:
            raise TypeError("no name")
        return b"no model" if variant == INT8 else make(self, variant, keep)

    monkeypatch.setattr(convert, "convert_parts", lambda *_: parts)
    monkeypatch.setattr(quantise.Quantiser, "make", faulty)
    monkeypatch.setitem(convert.TOLERANCE, FLOAT32, 1e-12)
    status, out, err = command("convert", folder, "--table", small_corpus)
    assert (status, err.startswith("error: float32 is not kept: differs from Keras by")) == (
        1,
        True,
    )
    assert "dynamic is not kept: TypeError: no name; int8 is not kept: model-int8" in err
    assert re.search(r"^float16: \d.*^float16 .*kept$", out, re.MULTILINE | re.DOTALL)
    names = {file.name for file in folder.glob("*.tflite")}
    assert names == {"model-float16.tflite", "cnn-float16.tflite", "spectrogram.tflite"}
    results = json.loads((folder / convert.FILE).read_text())
    assert ["failed" in results[of] for of in VARIANTS] == [True, False, True, True]
    assert results[FLOAT32]["mean_difference"] > 0  # its numbers are there
    monkeypatch.setitem(convert.TOLERANCE, FLOAT16, -1.0)
    monkeypatch.setattr(convert, "MOST_RESTORED", 0)
    monkeypatch.setattr(quantise.Quantiser, "layers", lambda self: [])
    words = ("convert", folder, "--table", small_corpus, "--variants", "float16")
    status, out, err = command(*words)
    assert (status, "float16 is not kept" in err, "dynamic" in out + err) == (1, True, False)
    assert not list(folder.glob("model*.tflite"))
    assert command("convert", folder, "--variants", "int8,int4")[0] == 2


CLASSES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def louder():
    """A file for each number of classes: the last one is the likelier, the louder a chunk is."""

    def converted(n):
        spec = [tf.TensorSpec([1, 800], tf.float32, name="waveform")]

        def call(waveform):
            loud = tf.reduce_mean(tf.abs(waveform), axis=1, keepdims=True)
            return {"output": tf.nn.softmax(loud * tf.range(n, dtype=tf.float32)[None])}

        return convert.convert(
            tf.function(call, input_signature=spec), SimpleNamespace(variables=[])
        )

    return {n: converted(n) for n in (2, 5)}


@settings(deadline=None, max_examples=10)
@given(classes=st.lists(CLASSES, min_size=5, max_size=5, unique=True), n=st.sampled_from([2, 5]))
def test_labels_of_any_script_come_back_from_the_file(louder, tmp_path_factory, classes, n):
    folder, classes = tmp_path_factory.mktemp("labels"), classes[:n]
    facts = {"classes": classes, "task": "classification", "weights": {"licence": "none"}}
    facts |= {"settings": Settings(chunk_length_s=0.1, sample_rate=8000).model_dump()}
    (folder / "m.tflite").write_bytes(runtime.attach(louder[n], facts))
    for name, samples in {"one.wav": 1, "short.wav": 90, "long.wav": 2900}.items():
        soundfile.write(folder / name, np.full(samples, 0.5), 8000)
    table = predict.predict_files(folder / "m.tflite", [folder])
    assert table.columns.tolist() == ["file", "duration_s", "prediction", *classes]
    assert table["prediction"].tolist() == [classes[-1]] * 3
    model = predict.load_model(folder / "m.tflite")
    for form in ("csv", "jsonl"):
        text = "".join(predict.lines(model, [folder], "chunk", form, print))
        shown = json.loads(text.split("\n")[0]) if form == "jsonl" else None
        if shown is None:
            cells = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False)
            shown = provenance.unquoted(cells).iloc[0]
        assert shown["prediction"] == classes[-1]

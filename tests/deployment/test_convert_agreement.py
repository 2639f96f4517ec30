"""A converted run is compared with Keras, and restored where it differs."""

import json
import shutil
import types

import numpy as np
import pandas as pd
import pytest

from dslite.deployment import convert, predict
from dslite.deployment.runtime import FLOAT32, INT8, VARIANTS, file_name


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
@pytest.mark.parametrize(
    ("scale", "restored"),
    [(0.0003, ""), (0.0005, "b"), (0.001, "bd"), (0.005, "bdea"), (1.0, "bdea")],
)
def test_the_most_sensitive_layers_are_restored_until_little_is_lost(monkeypatch, scale, restored):
    lines = []

    def compared(content, partition):
        assert partition == "devel"  # nothing is chosen on test
        return {"uar_difference": -scale * loss(content)}

    monkeypatch.setattr(convert, "outputs", lambda of, waves: np.full((len(waves), 1), loss(of)))
    keep, result = convert._restored(FakeQuantiser(), INT8, [0, 0], compared, lines.append)
    assert keep == list(restored)
    assert result["uar_difference"] == pytest.approx(-scale * loss(restored))
    assert bool(lines) == bool(restored)
    assert not restored or f"the {len(restored)} most sensitive of 6 layers" in lines[-1]


def test_a_file_that_differs_too_much_is_a_failure_and_older_files_stay(
    converted_copy, small_corpus, small_cache, command, monkeypatch
):
    folder = converted_copy.folder
    content = (folder / "model.tflite").read_bytes()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setenv("DSLITE_CACHE", str(small_cache))
    parts = {"model": convert.Quantiser(content, [])}
    monkeypatch.setattr(convert, "convert_parts", lambda *_: parts)
    monkeypatch.setitem(convert.TOLERANCE, FLOAT32, 1e-9)
    status, _, err = command("convert", folder, "--table", small_corpus)
    assert (status, err.startswith("error: ")) == (1, True)
    assert "float32: differs from Keras" in err
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before

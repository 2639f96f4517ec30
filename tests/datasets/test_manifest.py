"""The manifest: what it holds, what of it is decoded again, and the numbers made of it."""

import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import cards, paths
from dslite.datasets import checks, demo, manifest, scan
from dslite.errors import InputError
from tests.datasets import trees
from tests.refusals import refusal

RATE = 16000


def test_only_what_has_changed_is_decoded_again(card, corpus, monkeypatch):
    assert list(corpus.table.columns) == list(manifest.COLUMNS)
    assert corpus.table[["duration_s", "sample_rate"]].dtypes.tolist() == [np.float64, np.int64]
    resized, rewritten = (corpus.folder / corpus.table["path"][i] for i in (2, 5))
    time = rewritten.stat().st_mtime_ns
    soundfile.write(resized, np.zeros(RATE), RATE)
    frames = round(corpus.table["duration_s"][5] * RATE)
    soundfile.write(rewritten, np.full(frames, 0.25), RATE)  # of the same size
    os.utime(rewritten, ns=(time, time + 1))
    decoded, of_file = [], scan.of_file
    monkeypatch.setattr(scan, "of_file", lambda file: decoded.append(file) or of_file(file))
    again = manifest.build(card)
    assert sorted(decoded) == sorted([resized, rewritten])
    differs = (again.table != corpus.table).any(axis=1)
    assert differs.to_numpy().nonzero()[0].tolist() == [2, 5]
    assert manifest.digest(again) != manifest.digest(corpus)
    manifest.build(card)
    assert len(decoded) == 2


@pytest.mark.parametrize(
    "content", ["", "not,ours\n1,2\n", "path,size,mtime_ns\n", "\0\0\xff", "other types", "one bit"]
)
def test_damaged_store_is_made_again(card, corpus, capsys, content):
    store = paths.cache() / "audio" / "own.csv"
    whole = store.read_bytes()
    flipped = whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]
    changed = {"other types": whole.replace(b"16000", b"fast"), "one bit": flipped}
    store.write_bytes(changed.get(content, content.encode("latin-1")))
    capsys.readouterr()
    pd.testing.assert_frame_equal(manifest.build(card).table, corpus.table)
    assert store.read_bytes() == whole
    assert f"{paths.shown(store)} is damaged" in capsys.readouterr().err
    manifest.build(card)
    assert capsys.readouterr().err == ""


def test_a_class_named_like_a_column_of_the_predictions_is_refused(card):
    with pytest.raises(InputError, match="a class is called 'label'"):
        manifest.build(card.model_copy(update={"classes": ("no", "yes", "label")}))


def test_digest_follows_what_a_result_depends_on(corpus):
    for column in ("path", "label", "speaker", "partition", "audio_hash"):
        other = trees.with_cells(corpus, **{column: (0, "other")})
        assert manifest.digest(other) != manifest.digest(corpus)


def test_table_1_and_write_partition(corpus):
    row, seconds = manifest.write_partition(corpus), np.repeat([0.1, 0.2, 0.3, 0.4], 2)
    assert (row["files"], row["classes"], row["speakers"]) == (8, 2, 4)
    moments = [row["minutes"], row["mean_s"], row["std_s"]]
    assert moments == pytest.approx([seconds.sum() / 60, seconds.mean(), np.std(seconds)])
    folder = paths.results(corpus.card.dataset)
    table1 = pd.read_csv(folder / "table1.csv")
    assert table1.columns.tolist() == ["dataset", *manifest.table1_row(corpus)]
    assert table1.iloc[0].to_dict() == pytest.approx(row)
    stored = pd.read_csv(folder / "manifest.csv", dtype={"label": str, "speaker": str})
    stored["remarks"] = corpus.table["remarks"]  # empty cells
    table = corpus.table.drop(columns="fingerprint")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)
    origin = json.loads((folder / "partition.json").read_text("utf-8"))
    assert origin["source"] == corpus.partition_source
    assert origin["files"] == corpus.table["partition"].value_counts().to_dict()
    assert origin["manifest"] == manifest.digest(corpus)


def test_results_of_a_name_are_of_one_table(corpus, tmp_path):
    """Another table, or this one changed after a run, has to have another name."""
    folder = paths.results(corpus.card.dataset)
    manifest.claim_results(corpus)
    manifest.claim_results(corpus)
    changed = trees.with_cells(corpus, speaker=(0, "x"))
    manifest.claim_results(changed)  # there is no run yet
    fold = dataclasses.replace(corpus, fold="3folds/fold1", divided=manifest.digest(changed))
    manifest.claim_results(fold)
    (folder / "a-run").mkdir()
    (folder / "a-run" / "run.json").touch()
    card = corpus.card.model_copy(update={"table": str(tmp_path / "other.csv")})
    before = (folder / "manifest.csv").read_bytes()
    for wrong in (
        *(corpus, dataclasses.replace(fold, divided=manifest.digest(corpus))),
        dataclasses.replace(corpus, card=card),
    ):
        for refuse in (manifest.claim_results, manifest.write_partition):
            message = refusal(refuse, wrong)
            assert f"the results of {corpus.card.table}, elsewhere" in message
            assert f"give the results of {wrong.card.table} a name of their own" in message
            assert "\n" not in message
    assert (folder / "manifest.csv").read_bytes() == before
    named = corpus.card.model_copy(update={"dataset": "named"})
    manifest.claim_results(dataclasses.replace(corpus, card=named))


def test_counts(corpus):
    counts = manifest.counts(corpus, "label")
    assert counts.index.tolist() == list(corpus.classes)
    assert counts.columns.tolist() == ["train", "devel", "test"]
    assert counts.to_numpy().tolist() == [[2, 1, 1], [2, 1, 1]]
    # Of a blinded regression
    card = corpus.card.model_copy(update={"task": "regression", "classes": ()})
    table = corpus.table.assign(label=["1", "2", "3", "4", "5", "6", "", ""])
    counts = manifest.counts(dataclasses.replace(corpus, card=card, table=table), "label")
    assert counts.loc["unknown"].tolist() == [0, 0, 2]
    assert counts["test"].sum() == 2
    assert counts.to_numpy().sum() == 8


def test_demo_is_generated_on_first_use(cache, monkeypatch, capsys):
    monkeypatch.setattr(demo, "TAKES", 1)
    monkeypatch.setattr(demo, "clip", lambda *_: np.linspace(-0.1, 0.1, 99))
    corpus = manifest.build(cards.load("demo"))
    assert corpus.folder == cache / "demo"
    assert corpus.classes == demo.AFFECTS
    assert len(corpus.table) == 48
    assert capsys.readouterr().err == "making the demo corpus ...\n"
    manifest.build(cards.load("demo"))
    assert capsys.readouterr().err == ""
    assert list(checks.problems(corpus)) == ["audio in two partitions"]  # all clips are the same

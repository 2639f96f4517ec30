"""The manifest: audio facts and their store, every check, the numbers made of it."""

import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import cards, paths
from dslite.datasets import checks, manifest, scan
from dslite.errors import InputError

RATE = 16000
PLACES = ("train", "train", "devel", "test")


@pytest.fixture
def card(tmp_path, cache, rng):
    """Four speakers x two classes of an own corpus, in three partitions."""
    rows = ["path,label,speaker,partition"]
    for speaker, partition in enumerate(PLACES):
        for label in ("no", "yes"):
            name = f"s{speaker}_{label}.wav"
            seconds = 0.1 * (1 + speaker)
            noise = rng.uniform(-0.1, 0.1, round(seconds * RATE))
            soundfile.write(tmp_path / name, noise, RATE)
            rows.append(f"{name},{label},s{speaker},{partition}")
    table = tmp_path / "own.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return cards.load(str(table))


@pytest.fixture
def built(card):
    return manifest.build(card)


def with_cells(built, **cells):
    """The manifest with some cells changed: column=(row index, value)."""
    table = built.table.copy()
    for column, (i, value) in cells.items():
        table.loc[i, column] = value
    return dataclasses.replace(built, table=table)


def problems(built) -> list[str]:
    with pytest.raises(InputError) as error:
        checks.require_sound(built)
    return str(error.value).splitlines()[1:]


def test_columns_and_types(built, tmp_path):
    assert built.folder == tmp_path
    assert list(built.table.columns) == list(manifest.COLUMNS)
    assert built.table["duration_s"].dtype == np.float64
    assert built.table["sample_rate"].dtype == np.int64
    assert built.table["duration_s"].iloc[-1] == pytest.approx(0.4)
    assert built.classes == built.card.classes == ("no", "yes")
    checks.require_sound(built)


def test_second_build_decodes_nothing(card, built, monkeypatch):
    def forbidden(file):
        raise AssertionError(f"decoded {file} again")

    monkeypatch.setattr(scan, "of_file", forbidden)
    pd.testing.assert_frame_equal(manifest.build(card).table, built.table, check_exact=True)


def test_changed_file_is_decoded_again(card, built):
    changed = built.folder / built.table["path"][2]
    soundfile.write(changed, np.zeros(RATE), RATE)
    again = manifest.build(card)
    differs = (again.table != built.table).any(axis=1)
    assert differs.to_numpy().nonzero()[0].tolist() == [2]
    assert manifest.digest(again) != manifest.digest(built)


def test_same_size_other_time_is_decoded_again(card, built):
    file = built.folder / built.table["path"][2]
    seconds, time = built.table["duration_s"][2], file.stat().st_mtime_ns
    soundfile.write(file, np.full(round(seconds * RATE), 0.25), RATE)
    os.utime(file, ns=(time, time + 1))
    assert manifest.build(card).table["audio_hash"][2] != built.table["audio_hash"][2]


@pytest.mark.parametrize("content", ["", "not,ours\n1,2\n", "path,size,mtime_ns\n", "\0\0\xff"])
def test_damaged_store_is_made_again(card, built, content):
    store = paths.cache() / "audio" / "own.csv"
    whole = store.read_bytes()
    store.write_bytes(content.encode("latin-1"))
    pd.testing.assert_frame_equal(manifest.build(card).table, built.table)
    assert store.read_bytes() == whole


def test_store_with_other_types_is_made_again(card, built):
    store = paths.cache() / "audio" / "own.csv"
    store.write_text(store.read_text().replace("16000", "fast"))
    pd.testing.assert_frame_equal(manifest.build(card).table, built.table)


def test_progress_bar_for_much_work_only(card, capsys, monkeypatch):
    manifest.build(card)
    assert capsys.readouterr().err == ""
    (paths.cache() / "audio" / "own.csv").unlink()
    monkeypatch.setattr(scan, "QUIET", 2)
    manifest.build(card)
    captured = capsys.readouterr()
    assert "decoding own" in captured.err
    assert captured.out == ""


def test_missing_and_broken_files_are_all_named(card, built):
    names = built.table["path"].tolist()
    (built.folder / names[0]).unlink()
    (built.folder / names[5]).unlink()
    (built.folder / names[3]).write_text("not audio")
    again = manifest.build(card)
    assert again.table["audio_hash"].eq("").sum() == 3
    said = problems(again)
    assert len(said) == 3
    assert said[0].startswith(f"  - row 2, {names[0]}: there is no such file in ")
    assert said[1].startswith(f"  - row 5, {names[3]}: not readable as audio (Format not rec")
    assert said[2].startswith(f"  - row 7, {names[5]}: there is no such file")


def test_unknown_label(built):
    said = problems(with_cells(built, label=(4, "maybe")))
    assert "row 6, s2_no.wav: label 'maybe' is not a class of the card (no, yes)" in said[0]


def test_missing_label_outside_test(built):
    assert "row 3, s0_yes.wav: no label" in problems(with_cells(built, label=(1, "")))[0]


def test_blinded_test_partition_passes(built):
    checks.require_sound(with_cells(built, label=(slice(6, 7), "")))


def test_regression_needs_numbers(built):
    card = built.card.model_copy(update={"task": "regression", "classes": ()})
    table = built.table.assign(label=["1", "2.5", "-3", "1e2", "nan", "inf", "x", ""])
    said = problems(manifest.Manifest(card, built.folder, table))
    assert [line.split(" is ")[0] for line in said] == [
        "  - row 6, s2_no.wav: label 'nan'",
        "  - row 7, s2_yes.wav: label 'inf'",
        "  - row 8, s3_no.wav: label 'x'",
    ]
    checks.require_sound(manifest.Manifest(card, built.folder, built.table.assign(label="1")))


def test_speaker_in_two_partitions(built):
    said = problems(with_cells(built, speaker=(7, "s0")))
    assert said == [
        "  - speaker 's0' is in train (row 2, s0_no.wav) and in test (row 9, s3_yes.wav); "
        "a speaker belongs into one partition"
    ]


def test_unknown_speakers_are_no_leak(built):
    table = built.table.assign(speaker="")
    unknown = dataclasses.replace(built, table=table)
    checks.require_sound(unknown)
    assert manifest.table1_row(unknown)["speakers"] == 0


def test_same_audio_in_two_partitions(card, built):
    waveform, _ = soundfile.read(built.folder / "s0_no.wav", dtype="int16")
    (built.folder / "s3_no.wav").unlink()
    soundfile.write(built.folder / "s3_no.wav", waveform, RATE, format="FLAC")
    said = problems(manifest.build(card))
    assert said == [
        "  - row 8, s3_no.wav: the same audio is in train (row 2, s0_no.wav) and in test; "
        "remove one"
    ]


def test_same_audio_within_a_partition_is_a_warning(built):
    twice = with_cells(built, audio_hash=(2, built.table["audio_hash"][0]))
    checks.require_sound(twice)
    assert checks.warnings(built) == {}
    assert checks.warnings(twice) == {
        "the same audio twice": ["row 4, s1_no.wav: the same audio as row 2, s0_no.wav (train)"]
    }


def test_path_twice(built):
    said = problems(with_cells(built, path=(1, "./s0_no.wav")))
    assert said == ["  - row 3, ./s0_no.wav: this file is in row 2 already; remove one"]


def test_empty_partition_and_absent_class(built):
    table = built.table[built.table["partition"] != "devel"].reset_index(drop=True)
    said = problems(dataclasses.replace(built, table=table))
    assert said == ["  - partition devel is empty; it needs files of every class"]
    said = problems(with_cells(built, label=(4, "yes")))
    assert len(said) == 1
    assert "class 'no' has no file in devel" in said[0]


def test_unknown_partition_and_single_class(built):
    said = problems(with_cells(built, partition=(0, "dev")))
    assert "row 2, s0_no.wav: partition 'dev' is none of" in said[0]
    card = built.card.model_copy(update={"classes": ("no",)})
    said = problems(manifest.Manifest(card, built.folder, built.table.assign(label="no")))
    assert said == ["  - all labels are 'no'; two classes are needed"]


def test_long_lists_of_problems_are_cut(built):
    table = pd.concat([built.table] * 4, ignore_index=True)
    said = problems(dataclasses.replace(built, table=table))
    assert len(said) == 21
    assert said[-1] == "  ... and 4 more"


def test_table_1_row(built):
    row = manifest.table1_row(built)
    seconds = np.repeat([0.1, 0.2, 0.3, 0.4], 2)
    assert (row["files"], row["classes"], row["speakers"]) == (8, 2, 4)
    assert row["minutes"] == pytest.approx(seconds.sum() / 60)
    assert row["mean_s"] == pytest.approx(0.25)
    assert row["std_s"] == pytest.approx(np.std(seconds))


def test_digest_follows_content(card, built, tmp_path):
    assert manifest.digest(manifest.build(card)) == manifest.digest(built)
    for column, value in [
        ("path", "x.wav"),
        ("label", "yes"),
        ("speaker", "x"),
        ("partition", "devel"),
        ("audio_hash", "0"),
    ]:
        assert manifest.digest(with_cells(built, **{column: (0, value)})) != manifest.digest(built)


def test_file_that_became_readable_since_is_named(built):
    table = built.table.assign(audio_hash="")
    said = problems(dataclasses.replace(built, table=table))
    assert len(said) == 8
    assert "the file has changed; build the manifest again" in said[0]


def test_demo_is_generated_on_first_use(cache, monkeypatch):
    from dslite.datasets import demo

    generate = demo.generate
    calls = []

    def small(folder):
        calls.append(folder)
        generate(folder, takes=1)

    monkeypatch.setattr(demo, "generate", small)
    built = manifest.build(cards.load("demo"))
    assert calls == [cache / "demo"]
    assert built.classes == demo.CLASSES
    checks.require_sound(built)


def test_write_partition(built, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    row = manifest.write_partition(built)
    folder = paths.results(built.card.dataset)
    table1 = pd.read_csv(folder / "table1.csv")
    assert table1.columns.tolist() == ["dataset", *manifest.table1_row(built)]
    assert table1.iloc[0].to_dict() == pytest.approx(row)
    stored = pd.read_csv(folder / "manifest.csv", dtype={"label": str, "speaker": str})
    assert stored["path"].tolist() == built.table["path"].tolist()
    origin = json.loads((folder / "partition.json").read_text("utf-8"))
    assert origin["source"] == built.partition_source
    assert origin["files"] == built.table["partition"].value_counts().to_dict()
    assert origin["manifest"] == manifest.digest(built)


def test_counts_and_durations(built):
    counts = manifest.counts(built, "label")
    assert counts.index.tolist() == list(built.classes)
    assert counts.columns.tolist() == ["train", "devel", "test"]
    for (name, partition), files in built.table.groupby(["label", "partition"]):
        assert counts.loc[name, partition] == len(files)
    seconds = manifest.durations(built)
    assert sum(len(found) for found in seconds.values()) == len(built.table)
    assert sum(found.sum() for found in seconds.values()) == built.table["duration_s"].sum()


def test_a_class_named_like_a_column_of_the_predictions_is_refused(card, built):
    with pytest.raises(InputError, match="a class is called 'label'"):
        manifest.build(card.model_copy(update={"classes": (*built.classes, "label")}))


def test_a_broken_off_file_is_a_problem(card, built):
    file = built.folder / built.table["path"][2]
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    again = manifest.build(card)
    assert again.table["truncated"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert problems(again) == [
        "  - row 4, s1_no.wav: the audio ends before its header says, after 0.10 s; copy the file "
        "again"
    ]


def test_silent_and_clipped_files_are_warnings(card, built):
    soundfile.write(built.folder / "s0_no.wav", np.full(RATE, 2e-5), RATE, subtype="PCM_24")
    loud = np.zeros(RATE, np.int16)
    loud[100:104], loud[200] = 32767, 32767
    soundfile.write(built.folder / "s1_no.wav", loud, RATE)
    again = manifest.build(card)
    checks.require_sound(again)
    assert checks.warnings(again) == {
        "silent": ["row 2, s0_no.wav: silent (peak 2e-05 of full scale)"],
        "clipped": ["row 4, s1_no.wav: 4 samples in runs at full scale"],
    }


def test_surplus_audio_is_a_warning(card, built):
    soundfile.write(built.folder / "s9_no.wav", np.full(RATE, 0.1), RATE)
    again = manifest.build(card)
    checks.require_sound(again)
    assert checks.warnings(again) == {
        "without a label": ["s9_no.wav: no label mentions this audio; it is not used"]
    }
    assert manifest.digest(again) == manifest.digest(built)


def test_audio_in_two_partitions_of_an_official_division_is_a_warning(built):
    official = dataclasses.replace(
        with_cells(built, audio_hash=(7, built.table["audio_hash"][0])),
        card=built.card.model_copy(
            update={"package": cards.Package(name="P", labels=("train.csv",))}
        ),
    )
    checks.require_sound(official)
    assert checks.warnings(official) == {
        "audio in two partitions": [
            "row 9, s3_yes.wav: the same audio is in train (row 2, s0_no.wav) and in test; "
            "as its organisers divided it"
        ]
    }


def test_problems_and_warnings_in_short():
    found = {"audio": ["a", "b", "c"], "labels": ["x"]}
    assert checks.in_short(found) == ["audio: a (and 2 more)", "labels: x"]


def test_a_corpus_of_which_nothing_is_placed(tmp_path, cache):
    """Everything that is wrong is named, and nothing fails for want of rows."""
    from tests.datasets import trees

    trees.good("demos", tmp_path)
    unplaced = trees.card("demos", tmp_path).model_copy(update={"partition": {}})
    empty = manifest.build(unplaced)
    assert empty.table.empty
    found = checks.problems(empty)
    assert list(found) == ["layout", "partitions"]
    assert len(found["layout"]) == len(trees.DEMOS_SPEAKERS)
    assert checks.warnings(empty) == {}


def test_counts_of_a_blinded_regression(built):
    card = built.card.model_copy(update={"task": "regression", "classes": ()})
    table = built.table.assign(label=["1", "2", "3", "4", "5", "6", "", ""])
    blinded = dataclasses.replace(built, card=card, table=table)
    counts = manifest.counts(blinded, "label")
    assert counts.loc["unknown"].tolist() == [0, 0, 2]
    assert counts["test"].sum() == 2
    assert counts.to_numpy().sum() == 8

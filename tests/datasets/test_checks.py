"""The check of a corpus: every problem and warning, and the report of `dslite check`."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import cards
from dslite.datasets import checks, load_manifest, manifest
from dslite.errors import InputError
from tests.datasets import trees
from tests.datasets.trees import with_cells

RATE = 16000


def problems(corpus) -> list[str]:
    with pytest.raises(InputError) as error:
        checks.require_sound(corpus)
    return str(error.value).splitlines()[1:]


def test_a_sound_corpus_is_loaded(card, corpus):
    pd.testing.assert_frame_equal(load_manifest(card).table, corpus.table)
    checks.require_sound(with_cells(corpus, label=(slice(6, 7), "")))  # a blinded test partition
    unknown = replace(corpus, table=corpus.table.assign(speaker=""))
    checks.require_sound(unknown)  # no leak
    assert manifest.table1_row(unknown)["speakers"] == 0


def test_missing_broken_and_cut_off_files_are_all_named(card, corpus):
    first, second, cut, broken = (corpus.folder / corpus.table["path"][i] for i in (0, 5, 2, 3))
    first.unlink()
    second.unlink()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    broken.write_text("not audio")
    with pytest.raises(InputError) as error:
        load_manifest(card)
    lines = str(error.value).splitlines()
    expected = [
        f"manifest of {card.table}: 4 problems to mend",
        f"  - row 2, {first.name}: there is no such file in ",
        f"  - row 5, {broken.name}: not readable as audio (Format not rec",
        f"  - row 7, {second.name}: there is no such file",
        f"  - row 4, {cut.name}: the audio ends before its header says, after 0.10 s; copy the",
    ]
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("label", 0, "maybe", "row 2, s00.wav: label 'maybe' is not a class of the card (no, y"),
        ("label", 1, "", "row 3, s01.wav: no label"),
        ("partition", 0, "dev", "row 2, s00.wav: partition 'dev' is none of"),
        ("path", 1, "./s00.wav", "row 3, ./s00.wav: this file is in row 2 already; remove one"),
        ("audio_hash", 0, "", "row 2, s00.wav: the file has changed; build the manifest again"),
        ("speaker", 7, "s0", "speaker 's0' is in train (row 2, s00.wav) and in test (row 9, s31."),
    ],
)
def test_problems_of_a_row(corpus, column, row, value, words):
    (problem, *others) = problems(with_cells(corpus, **{column: (row, value)}))
    assert problem.startswith(f"  - {words}")
    assert len(others) == (column == "partition")  # its speaker is in two of them


def test_regression_needs_numbers(corpus):
    card = corpus.card.model_copy(update={"task": "regression", "classes": ()})
    table = corpus.table.assign(label=["1", "2.5", "-3", "1e2", "nan", "inf", "x", ""])
    assert [
        line.split(" is ")[0] for line in problems(replace(corpus, card=card, table=table))
    ] == [
        "  - row 6, s20.wav: label 'nan'",
        "  - row 7, s21.wav: label 'inf'",
        "  - row 8, s30.wav: label 'x'",
    ]
    checks.require_sound(replace(corpus, card=card, table=corpus.table.assign(label="1")))


def test_an_empty_partition_and_a_single_class(corpus):
    table = corpus.table[corpus.table["partition"] != "devel"].reset_index(drop=True)
    empty = replace(corpus, table=table)
    assert problems(empty) == ["  - partition devel is empty; it needs files of every class"]
    card = corpus.card.model_copy(update={"classes": ("no",)})
    single = replace(corpus, card=card, table=corpus.table.assign(label="no"))
    assert problems(single) == ["  - all labels are 'no'; two classes are needed"]


def test_warnings(card, corpus):
    loud = np.zeros(RATE, np.int16)
    loud[100:104], loud[200] = 32767, 32767  # a cut-off peak, and a single sample
    soundfile.write(corpus.folder / "s00.wav", np.full(RATE, 2e-5), RATE, subtype="PCM_24")
    soundfile.write(corpus.folder / "s10.wav", loud, RATE)
    soundfile.write(corpus.folder / "s90.wav", np.full(RATE, 0.1), RATE)
    again = load_manifest(card)
    twice = with_cells(again, audio_hash=(3, again.table["audio_hash"][1]))
    expected = {
        "the same audio twice": ["row 5, s11.wav: the same audio as row 3, s01.wav (train)"],
        "silent": ["row 2, s00.wav: silent (peak 2e-05 of full scale)"],
        "clipped": ["row 4, s10.wav: 4 samples in runs at full scale"],
        "without a label": ["s90.wav: no label mentions this audio; it is not used"],
    }
    assert checks.warnings(twice) == expected
    assert checks.warnings(corpus) == {}


def test_a_class_that_devel_lacks_is_said_and_one_that_train_lacks_is_refused(corpus):
    kind = "class absent from a partition"
    (sentence,) = checks.warnings(with_cells(corpus, label=(4, "yes")))[kind]
    assert sentence.startswith("class 'no' has no file in devel: the score there, and chance, are")
    drawn = replace(with_cells(corpus, label=(4, "yes")), partition_source="drawn here")
    (sentence,) = checks.warnings(drawn)[kind]
    assert sentence.endswith("puts it into train, devel and test: --folds 4 tests every class")
    train = corpus.table["label"].mask(corpus.table["partition"] == "train", "yes")
    lines = problems(replace(corpus, table=corpus.table.assign(label=train)))
    assert len(lines) == 1
    assert "class 'no' has no file in train, so it cannot be learnt" in lines[0]


def test_bad_files_are_passed_over_if_they_are_few(card, corpus, command):
    for i in (0, 3):
        (corpus.folder / corpus.table["path"][i]).write_text("not audio")
    few = card.model_copy(update={"skip_bad": 1})
    *_, last = problems(checks.build(few))
    assert last == "  - these are 2 bad files, and --skip-bad is 1"
    rest = load_manifest(card.model_copy(update={"skip_bad": 2}))
    assert rest.table["path"].tolist() == corpus.table["path"].drop([0, 3]).tolist()
    again = with_cells(rest, audio_hash=(1, rest.table["audio_hash"][0]))
    kinds = checks.warnings(again)
    assert [line[:14] for line in kinds["passed over"]] == ["row 2, s00.wav", "row 5, s11.wav"]
    # Rows are those of the table, not of what is left.
    assert kinds["the same audio twice"] == [
        "row 4, s10.wav: the same audio as row 3, s01.wav (train)"
    ]
    assert command("check", card.table)[0] == 2
    status, out, _ = command("check", card.table, "--skip-bad", "2", "--strict")
    assert (status, "row 5, s11.wav: not readable" in out) == (1, True)


# The report


@pytest.fixture
def table(tmp_path, cache, rng):
    """Sixteen files of four speakers and two classes, 1 s but for one of 0.5 s."""

    def wave(speaker, j):
        return rng.uniform(-0.3, 0.3, RATE // 2 if speaker + str(j) == "a0" else RATE)

    speakers = {"a": "train", "b": "train", "c": "devel", "d": "test"}
    return trees.table(tmp_path, speakers, wave, n=4)


def findings(table, card="", **overrides):
    if card:
        table.with_suffix(".yaml").write_text(card, encoding="utf-8")
    card = cards.load(str(table))
    return checks.findings(manifest.build(card), cards.settings_of(card, overrides=overrides))


def test_a_clean_corpus(table):
    figures = findings(table, chunk_length_s=1.0)
    assert figures["verdict"] == "clean"
    assert figures["errors"] == figures["warnings"] == {}
    assert figures["counts"]["train"] == {"no": 4, "yes": 4}
    assert figures["speakers"] == {"train": 2, "devel": 1, "test": 1}
    assert figures["table1"]["minutes"] == {"found": round(15.5 / 60, 1), "paper": None}
    stereo = np.random.default_rng(97).uniform(-0.3, 0.3, (44100, 2))
    soundfile.write(table.parent / "a1.wav", stereo, 44100)
    mixed = findings(table)
    assert mixed["sample_rates"] == {"16000": 15, "44100": 1}
    assert mixed["channels"] == {"1": 15, "2": 1}


def test_chunks_with_and_without_the_tail(table):
    how = {"chunk_length_s": 0.8, "chunk_hop_s": 0.8}
    whole = findings(table, **how)
    # 15 files of 1 s have a chunk and one that ends with the file, the short one is padded
    counted = {"chunks": 31, "shorter": 1, "dropped": [], "padded": ["a0.wav"], "unheard_s": 0}
    assert whole["chunks"].items() >= counted.items()
    assert "1 files are shorter than a chunk and one picture each" in checks.report(whole)
    cut = findings(table, **how, tail="drop", trim="on")
    chunks = cut["chunks"]
    assert (chunks["chunks"], chunks["padded"], chunks["dropped"]) == (15, [], ["a0.wav"])
    assert chunks["unheard_s"] == pytest.approx(15 * 0.2)
    report = checks.report(cut)
    assert "1 files are shorter than a chunk and DROPPED, and 3.0 s behind the last" in report
    assert "counted before trimming" in report


def test_expected_counts_are_marked(table):
    figures = findings(
        table,
        "classes: [no, yes]\n"
        "expected:\n"
        "  - {partition: train, files: 8, counts: {no: 4, yes: 5}, source: a list}\n"
        "  - {files: 16, source: another}\n"
        "table1: {files: 16, speakers: 5, minutes: 0.3, mean_s: 0.97, std_s: 0.5}\n",
    )
    assert figures["verdict"] == "warnings"
    sentence = "yes in train: 4 files, expected 5 (a list)"
    assert figures["warnings"] == {checks.UNEXPECTED: [sentence]}
    report = checks.report(figures)
    row = {line.split()[0]: line for line in report.splitlines() if line}
    assert row["yes"].split()[1:4] == ["4", "≠", "5"]
    assert row["no"].split()[1:3] == ["4", "="]
    assert "16 =" in report
    # What differs from Table 1 is marked and no warning: the printed table has mistakes of its own.
    speakers = [line for line in report.splitlines() if line.startswith("speakers")]
    assert speakers[1].split() == ["speakers", "4", "5", "≠"]
    assert figures["table1"]["files"] == {"found": 16, "paper": 16}


def test_blinded_labels_are_counted_and_their_classes_not_compared(table):
    trees.replace_text(table, "yes,d", "?,d")
    trees.replace_text(table, "no,d", "?,d")
    figures = findings(
        table,
        "classes: [no, yes]\n"
        "expected: [{partition: test, files: 4, counts: {no: 2, yes: 2}, source: a list}]\n",
    )
    assert (figures["blinded"], figures["verdict"]) == (4, "clean")
    assert [e["of"] for e in figures["expected"]] == ["files"]
    assert "4 labels are not given out" in checks.report(figures)


def test_a_regression_without_speakers(table):
    rows = [",".join(row.split(",")[i] for i in (0, 1, 3)) for row in table.read_text().split()]
    rows = [row.replace(",yes", f",{i}").replace(",no", f",{i}.5") for i, row in enumerate(rows)]
    table.write_text("\n".join(rows), encoding="utf-8")
    figures = findings(table, "task: regression\n")
    assert list(figures["warnings"]) == ["speakers"]  # unknown: no score is sure to be of new ones
    assert sum(sum(part.values()) for part in figures["counts"].values()) == 16
    lines = checks.report(figures).splitlines()
    (_, *cells), _ = [line.split() for line in lines if line.startswith("speakers")]
    assert cells == ["unknown"] * 4


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("demos", "left out on purpose: 4 neutral, left out as in the paper"),
        ("ccs", f"note: {trees.BLINDED.format(4)}"),
    ],
)
def test_what_is_left_out_and_noted_is_in_the_report(tmp_path, cache, name, line):
    card = trees.good(name, tmp_path)
    assert line in checks.report(checks.findings(manifest.build(card), cards.settings_of(card)))


def test_channels_that_cancel_and_floats_of_another_scale_are_warned_of(table, command):
    wave = np.random.default_rng(97).uniform(-0.3, 0.3, RATE)
    soundfile.write(table.parent / "a1.wav", np.stack([wave, -0.8 * wave], axis=1), RATE)
    soundfile.write(table.parent / "a2.wav", 9000 * wave, RATE, subtype="FLOAT")
    soundfile.write(table.parent / "a3.wav", np.clip(9 * wave, -1, 1), RATE)
    figures = findings(table)
    assert {kind: len(of) for kind, of in figures["warnings"].items()} == {
        **{"clipped": 1, "beyond full scale": 1, "audio heard otherwise than it is stored": 1},
        checks.NEAR_TWICE: 1,  # the same noise, louder
    }
    (sentence,) = figures["warnings"]["audio heard otherwise than it is stored"]
    assert sentence.startswith("row 3, a1.wav: channels that cancel each other: number 1")
    assert command("check", table, "--strict")[0] == 1


def test_strict_is_for_warnings(table, command):
    assert command("check", table, "--strict")[0] == 0
    soundfile.write(table.parent / "more.wav", np.full(RATE, 0.1), RATE)
    assert [command("check", table, *option)[0] for option in ([], ["--strict"])] == [0, 1]
    status, _, err = command("partition", table)  # the other commands print a line for each kind
    warning = "warning: without a label: more.wav: no label mentions this audio; it is not used\n"
    assert (status, err) == (0, warning)
    (table.parent / "a1.wav").unlink()
    status, out, err = command("check", table, "--strict")
    assert status == 2
    assert "warning, without a label: 1\n  - more.wav: no label mentions this audio" in out
    assert err.startswith("error, audio: 1\n  - row 3, a1.wav: there is no such file")


def test_json_is_all_of_it_and_says_errors_too(table, command):
    soundfile.write(table.parent / "a2.wav", np.zeros(RATE), RATE)
    status, out, _ = command("check", str(table), "--json", "--set", "chunk_length_s=1")
    assert status == 0
    assert json.loads(out) == findings(table, chunk_length_s=1)
    table.write_text("sound,klass\na0,yes\n", encoding="utf-8")
    status, out, err = command("check", str(table), "--json")
    assert (status, err) == (2, "")
    figures = json.loads(out)
    assert figures["verdict"] == "errors"
    assert "no column 'path'" in figures["errors"]["layout"][0]

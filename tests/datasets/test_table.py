"""A user's corpus: every spelling of a table that is accepted, and what each refusal says."""

import numpy as np
import pandas as pd
import pytest

from dslite import cards, settings
from dslite.datasets import listing, partitions
from dslite.errors import InputError

FULL = "path,label,speaker,partition\na.wav,no,s1,train\nb.wav,yes,s2,devel\nc.wav,no,s3,test\n"
DIVIDED = "partition: {train: [s0], devel: [s1], test: [s2]}\n"


def read(tmp_path, text, name="own.csv", card="") -> listing.Listing:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    if card:
        (tmp_path / "own.yaml").write_text(card)
    return listing.read(cards.load(str(tmp_path / name)))


def refusal(tmp_path, text, card="") -> str:
    with pytest.raises(InputError, match=r"own\.") as error:
        read(tmp_path, text, card=card)
    return str(error.value)


def speakers(n, files=6) -> str:
    rows = [f"s{s}/{f}.wav,{('no', 'yes')[f % 2]},s{s}" for s in range(n) for f in range(files)]
    return "path,label,speaker\n" + "\n".join(rows) + "\n"


def test_full_table(tmp_path):
    corpus = read(tmp_path, FULL)
    assert corpus.table.to_numpy().tolist() == [
        ["a.wav", "no", "s1", "train", "no"],
        ["b.wav", "yes", "s2", "devel", "yes"],
        ["c.wav", "no", "s3", "test", "no"],
    ]
    assert corpus.folder == tmp_path
    assert corpus.partition_source == "the table's column 'partition'"
    assert (corpus.problems, corpus.surplus, corpus.excluded, corpus.notes) == ((), (), {}, ())
    assert listing.is_present(cards.load(str(tmp_path / "own.csv")))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (FULL.replace(",", ";"), "own.csv"),
        (FULL.replace(",", "\t"), "own.csv"),
        (FULL.replace(",", "\t"), "own.tsv"),
        (FULL.replace("\n", "\r\n"), "own.csv"),
        (b"\xef\xbb\xbf" + FULL.encode(), "own.csv"),
        (FULL.replace(",", " , "), "own.csv"),
        (FULL + "\n,,,\n\n", "own.csv"),
        (FULL.replace("\n", ",\n"), "own.csv"),
        (FULL.replace("path,label", "Path,LABEL"), "own.csv"),
        (FULL.replace("a.wav", '"a.wav"'), "own.csv"),
        (FULL.replace("devel", "Validation").replace("test", "TEST"), "own.csv"),
        *((FULL.replace("devel", name), "own.csv") for name in ("dev", "val", "development")),
        (FULL.rstrip("\n"), "own.csv"),
        ("sep=;\n" + FULL.replace(",", ";"), "own.csv"),
        (FULL.replace("test", "eval"), "own.csv"),
        (
            FULL.replace("path,label,speaker,partition", "File Name,emotion,client_id,split"),
            "own.csv",
        ),
        (FULL.replace("path,label,speaker,partition", "x,y,Spk-ID,usage"), "own.csv"),  # by content
    ],
)
def test_spellings(tmp_path, text, name):
    expected = read(tmp_path, FULL).table
    pd.testing.assert_frame_equal(read(tmp_path, text, name).table, expected)


def test_cells_stay_strings_and_surplus_columns_go(tmp_path):
    rows = ["3,train,0,a.wav", ",dev,007,NA", "5,test,?,ä b.wav", "6,test,NaN,/d.wav"]
    table = read(tmp_path, "\n".join(["age,partition,label,path", *rows])).table
    assert list(table.columns) == list(listing.COLUMNS)
    assert table["label"].tolist() == ["0", "007", "", "NaN"]
    assert table["source_label"].tolist() == ["0", "007", "?", "NaN"]
    assert table["path"].tolist() == ["a.wav", "NA", "ä b.wav", "/d.wav"]
    assert table["speaker"].tolist() == [""] * 4


def test_a_column_that_is_taken_or_passed_over_is_named(tmp_path):
    text = FULL.replace("path,label,speaker,partition", "file,label,spk,partition")
    text = "class,fold," + text.replace("\n", "\nx,1,").removesuffix("x,1,")
    corpus = read(tmp_path, text)
    assert corpus.notes == (
        "column 'file' is taken as the path",
        "column 'class' is not used: 'label' is",
        "column 'spk' is taken as the speaker",
    )
    assert corpus.cautions == ()  # there is a partition, so `fold` is none
    corpus = read(tmp_path, speakers(5).replace("speaker", "fold"))
    assert "column 'fold' (s0, s1, s2, ...) is not used: none of it is train" in corpus.cautions[0]
    card = "columns: {label: class, speaker: ''}"
    table = read(tmp_path, text, card=card).table
    assert (set(table["label"]), set(table["speaker"])) == ({"x"}, {""})
    (tmp_path / "own.yaml").unlink()
    assert refusal(tmp_path, text, "columns: {labl: class}").endswith("did you mean 'label'?")


@pytest.mark.parametrize(
    ("header", "cells", "fragment"),
    [
        ("start,end", "0.5,1", "0.5,1"),
        ("offset,duration", "0.5,0.25", "0.5,0.75"),
        ("start", "0.5", "0.5"),
        ("start_ms,duration_ms", "500,250", "0.5,0.75"),
        ("onset,offset", '"0,5",00:00:01.25', "0.5,1.25"),
        ("start,end", "0 days 00:00:00.5,NaT", "0.5"),  # audformat's
        ("start,end", "0.5,", "0.5"),
    ],
)
def test_segments(tmp_path, header, cells, fragment):
    rows = FULL.replace("partition", f"partition,{header}").replace("train", f"train,{cells}")
    for partition in ("devel", "test"):
        rows = rows.replace(f",{partition}", f",{partition},{cells}")
    assert read(tmp_path, rows).table["path"][0] == f"a.wav#t={fragment}"


ARFF = """@RELATION own
% openSMILE's
@attribute name string
@attribute 'f 0' numeric
@attribute 'speaker' {s1,s2,s3}
@attribute partition {train,devel,test}
@ATTRIBUTE class {no,yes}

@DATA
'a.wav',0.1,s1,train,no
b.wav, 0.2, s2, devel, yes
'c.wav',?,s3,test,no
"""


def test_weka(tmp_path):
    expected = read(tmp_path, FULL).table
    pd.testing.assert_frame_equal(read(tmp_path, ARFF, "own.arff").table, expected)
    regression = ARFF.replace("{no,yes}", "numeric").replace(",no", ",1").replace(", yes", ", 2")
    regression = regression.replace("@attribute 'speaker' {s1,s2,s3}\n", "").replace(",s1", "")
    with pytest.raises(InputError, match="row 3 has 5 cells where the header has 3"):
        read(tmp_path, regression, "own.arff")
    for text in (
        ARFF[: ARFF.index("'a.wav'")],
        ARFF.replace("'a.wav'", "{0 a.wav"),
        "path,label\n",
    ):
        with pytest.raises(InputError, match="no rows of a Weka file"):
            read(tmp_path, text, "own.arff")


def test_a_length_alone_is_no_segment(tmp_path):
    rows = FULL.replace("partition", "partition,duration_s").replace("train\n", "train,1\n")
    rows = rows.replace("devel\n", "devel,1\n").replace("test\n", "test,2\n")
    assert read(tmp_path, rows).table["path"][0] == "a.wav"


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ("a\\b.wav", "a/b.wav"),
        ("a/b.wav", "a/b.WAV"),
        ("a/B.WAV", "a/B.wav"),
        ("a/b", "a/b.flac"),
        ("caf\u00e9.wav", "cafe\u0301.wav"),
        ("cafe\u0301.wav", "caf\u00e9.wav"),
    ],
)
def test_paths_as_the_disk_spells_them(tmp_path, listed, stored):
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    (tmp_path / stored).touch()
    corpus = read(tmp_path, FULL.replace("a.wav", listed))
    assert corpus.table["path"][0] == stored
    assert f"1 paths are spelled otherwise on disk, the first one {listed} as" in corpus.notes[-1]


def test_labels_that_differ_by_case_or_blanks_are_one_class_and_named(tmp_path):
    rows = [
        ("a", "Happy"),
        ("b", "happy"),
        ("c", "happy "),
        ("d", "caf\u00e9"),
        ("e", "cafe\u0301"),
    ]
    rows = [f"{name}.wav,{label},train" for name, label in rows] + ["f.wav,happy,train"]
    text = "\n".join(["path,label,partition", *rows]) + "\n"
    corpus = read(tmp_path, text)
    assert corpus.table["label"].tolist() == [*["happy"] * 3, *["caf\u00e9"] * 2, "happy"]
    assert "label 'Happy' (1 files) is taken as 'happy' (3 files)" in corpus.cautions[0]
    assert len(corpus.cautions) == 2
    both = "labels: {Happy: Happy, happy: happy}"
    assert set(read(tmp_path, text, card=both).table["label"]) == {"Happy", "happy", "caf\u00e9"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows below the header"),
        ("paths,label\na,no\n", "no column 'path' in its first row; did you mean 'paths'?"),
        ("path,klass\na.wav,no\n", "no column 'label' in its first row; there is: path, klass"),
        ("path,klass\na.wav,no\n", "--columns label=..., or in the card: columns"),
        ("a.wav,no\nb.wav,yes\n", "in its first row (which looks like a row of data); there is: a"),
        ("file,wav,label\na,a,no\n", "'file' and 'wav' may both be the path; name one: --columns"),
        ("path,emotion,Target\na.wav,no,no\n", "'emotion' and 'Target' may both be the label"),
        ("path,label,stop\na.wav,no,2\n", "a column 'stop', but none for the start of a segment"),
        ("path,label,start,end\na.wav,no,2,1\n", "row 2, a.wav: start 2, end 1: expected seconds"),
        ("path,label,start,end\na.wav,no,1,1e64\n", "start 1, end 1e64: expected seconds"),
        ("path,label,Label\na.wav,no,no\n", "two columns 'label'; keep one"),
        (FULL.replace("b.wav", ""), "row 3, no path: path is empty"),
        (FULL.replace("yes", ""), "row 3, b.wav: label is empty; where a test file's label is un"),
        (FULL.replace("s2", ""), "row 3, b.wav: speaker is empty; give every file a speaker"),
        (FULL.replace("devel", ""), "row 3, b.wav: partition is empty; give every file"),
        (FULL.replace("devel", "tets"), "row 3, b.wav: partition 'tets' is not known; did you mea"),
        (FULL.replace("devel", "eval"), "partition 'eval' may be test or devel; write which it is"),
        (FULL.replace("b.wav,", "\nb.wav,"), "row 3 is blank; delete it"),
        (FULL.replace("b.wav,", "b.wav;"), "row 3 has 3 cells where the header has 4"),
        (FULL.replace("yes", "?"), "row 3, b.wav: the label is unknown (?) in devel; only test"),
        (FULL.encode("utf-16"), "not UTF-8; save the table as 'CSV UTF-8'"),
        (speakers(2), "own.csv: 2 speakers (files"),
        ("path,label\na.wav,no\nb.wav,yes\n", "give a column 'partition'"),
        (speakers(6).replace("s1/0.wav,no", "s1/0.wav,?"), "row 8, s1/0.wav: a label is unknown"),
    ],
)
def test_refusals(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


def test_every_empty_cell_is_named(tmp_path):
    lines = refusal(tmp_path, FULL.replace("s1", "").replace("yes", "")).splitlines()
    assert "2 problems" in lines[0]
    assert lines[1].startswith("  - row 2, a.wav: speaker is empty")
    assert lines[2].startswith("  - row 3, b.wav: label is empty")


def test_card_divides_by_speakers(tmp_path):
    corpus = read(tmp_path, speakers(3), card=DIVIDED)
    parts = corpus.table.groupby("speaker")["partition"].unique().explode().to_dict()
    assert parts == {"s0": "train", "s1": "devel", "s2": "test"}
    assert corpus.partition_source == listing.CARD_LISTS
    for text, words in (
        (speakers(4), "row 20, s3/0.wav: speaker 's3' is in no partition of the card"),
        (FULL, "keep one of the two"),
        ("path,label\na.wav,no\n", "needs a column 'speaker'"),
    ):
        assert words in refusal(tmp_path, text, card=DIVIDED)


@pytest.mark.parametrize("n", [3, 4, 5, 23])
def test_split_is_by_speaker_and_about_60_20_20(tmp_path, n):
    corpus = read(tmp_path, speakers(n))
    assert corpus.partition_source == (
        f"drawn here: stratified, by speaker (StratifiedGroupKFold), seed {partitions.SEED}"
    )
    rows = corpus.table
    assert (rows.groupby("speaker")["partition"].nunique() == 1).all()
    assert set(rows["partition"]) == set(settings.PARTITIONS)
    if n >= 5:
        shares = rows["partition"].value_counts(normalize=True).to_dict()
        assert shares == pytest.approx({"train": 0.6, "devel": 0.2, "test": 0.2}, abs=0.05)
    assert (rows.groupby("partition")["label"].nunique() == 2).all()
    pd.testing.assert_frame_equal(read(tmp_path, speakers(n)).table, rows)
    # Of files without speakers
    rows = [f"{n}.wav,{'no' if n % 4 else 'yes'}" for n in range(100)]
    corpus = read(tmp_path, "path,label\n" + "\n".join(rows))
    counts = corpus.table.groupby(["partition", "label"]).size()
    assert counts["devel"].to_dict() == {"no": 15, "yes": 5}
    assert counts["train"].to_dict() == {"no": 45, "yes": 15}


def test_regression_is_split_over_the_labels_range(tmp_path, rng):
    values = rng.permutation(np.linspace(0, 1, 200) ** 3)
    rows = [f"{n}.wav,{value:.6f}" for n, value in enumerate(values)]
    corpus = read(tmp_path, "path,label\n" + "\n".join(rows), card="task: regression\n").table
    values = corpus["label"].astype(float).groupby(corpus["partition"])
    assert values.size().to_dict() == {"devel": 40, "test": 40, "train": 120}
    assert (values.median() - 0.125).abs().max() < 0.05
    assert values.max().min() > 0.5
    # Bad labels are left to the check.
    rows = [f"{n}.wav,{value}" for n, value in enumerate(["x", "inf", "nan", *"123456789"])]
    corpus = read(tmp_path, "path,label\n" + "\n".join(rows), card="task: regression\n").table
    assert set(corpus["partition"]) == set(settings.PARTITIONS)
    assert corpus["label"][0] == "x"


def test_many_labels_ask_for_the_task(tmp_path):
    text = "path,label\n" + "".join(f"{n}.wav,{n}\n" for n in range(60))
    message = refusal(tmp_path, text)
    assert "60 different labels" in message
    assert f"'task: regression' into {tmp_path / 'own.yaml'}" in message
    assert len(read(tmp_path, text, card="task: regression\n").table) == 60
    partitioned = text.replace("\n", ",train\n").replace("label,train", "label,partition")
    assert len(read(tmp_path, partitioned, card="task: classification\n").table) == 60


@pytest.mark.parametrize("card", ["", "folder: sub\n", "folder: ../{}/sub\n"])
def test_audio_that_the_table_does_not_list_is_surplus(tmp_path, card):
    """In the folders of listed files only: a table may lie in anybody's home folder."""
    home = tmp_path / "sub" if card else tmp_path
    files = "x/a.wav x/B.WAV x/new.flac x/.hidden.wav x/b.txt y/c.wav x/deep/d.wav e.wav"
    for name in files.split():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"")
    text = FULL.replace("a.wav", "x/a.wav").replace("b.wav", "./x/../x/B.WAV")
    text = text.replace("c.wav", "z/c.wav")
    corpus = read(tmp_path, text, card=card.format(tmp_path.name))
    assert corpus.surplus == ("x/new.flac",)


def test_where_the_audio_lies(tmp_path):
    """In the card's `folder`, or where the user says, which goes first."""
    for name in ("sub", "other"):
        (tmp_path / name).mkdir()
    assert read(tmp_path, FULL, card="folder: sub\n").folder == tmp_path / "sub"
    card = cards.load(str(tmp_path / "own.csv"), tmp_path / "other")
    assert listing.read(card).folder == tmp_path / "other"
    message = refusal(tmp_path, FULL, card="folder: none\n")
    assert "folder none: there is no such folder" in message

"""ComParE packages: blinded or not, wherever they lie, and every way to spell a label file."""

import shutil

import pytest

from dslite.datasets import listing as dataset_listing
from tests.datasets import trees
from tests.datasets.check_verdicts import BLINDED, layout_problems, listing, refusal, verdict

pytestmark = pytest.mark.usefixtures("cache")


# ComParE: blinded or not, and where the package lies


@pytest.mark.parametrize("test", ["?", "absent", "real"])
@pytest.mark.parametrize("name", trees.COMPARE)
def test_blinding_is_told_by_content(tmp_path, name, test):
    trees.package(name, tmp_path, test)
    card = trees.card(name, tmp_path)
    assert verdict(card) == ({}, {})
    found = listing(card)
    rows = found.table[found.table["partition"] == "test"]
    assert len(rows) == len(trees.entries(name)) / 3
    assert (rows["label"] == "").all() == (test != "real")
    assert (rows["label"] == "").any() == (test != "real")
    assert found.notes == (() if test == "real" else (BLINDED.format(len(rows)),))


def test_some_test_labels_may_be_unknown(tmp_path):
    trees.package("ccs", tmp_path, "real")
    file = tmp_path / "lab" / "test.csv"
    trees.text(file, file.read_text().replace("test_001.wav,negative", "test_001.wav,"))
    found = listing(trees.card("ccs", tmp_path))
    row = found.table.set_index("path").loc["wav/test_001.wav"]
    assert row.tolist() == ["", "", "test", "?"]
    assert found.notes == ("1 of 4 test files have no label: this package keeps them back",)


REVEALING = {"mpssc": "ComParE2017_Snore_test.tsv", "sleep": "labels_confidential.csv"}


@pytest.mark.parametrize("test", ["?", "absent"])
@pytest.mark.parametrize("name", REVEALING)
def test_a_revealing_file_replaces_unknown_labels(tmp_path, name, test):
    trees.package(name, tmp_path, test)
    rows = [row for row in trees.entries(name) if row[0].startswith("test")]
    header = trees.PACKAGES[name][3]
    trees.label_file(tmp_path / "lab" / REVEALING[name], header, rows)
    card = trees.card(name, tmp_path)
    assert verdict(card) == ({}, {})
    found = listing(card)
    told = found.table[found.table["partition"] == "test"]["source_label"]
    assert told.tolist() == [label for _, label in rows]
    assert found.notes == (f"the labels of 8 test files are from {REVEALING[name]}",)


def test_a_revealing_file_may_stand_for_all(tmp_path):
    trees.package("sleep", tmp_path)
    (tmp_path / "lab" / "labels.csv").unlink()
    file = tmp_path / "lab" / "labels_confidential.csv"
    trees.label_file(file, "file_name,label", trees.entries("sleep"))
    assert verdict(trees.card("sleep", tmp_path)) == ({}, {})
    trees.label_file(file, "file_name,label", trees.entries("sleep")[-8:])
    said = layout_problems(trees.card("sleep", tmp_path))
    assert len(said) == 1
    assert "lab/labels.csv: there is no such file, and 16 audio files have no label" in said[0]


def test_contradicting_label_files(tmp_path):
    trees.package("sleep", tmp_path)
    rows = [("train_0001.wav", "1"), ("train_0002.wav", "3"), ("train_0003.wav", "?")]
    trees.label_file(tmp_path / "lab" / "labels_confidential.csv", "file_name,label", rows)
    assert layout_problems(trees.card("sleep", tmp_path)) == [
        "labels_confidential.csv, row 3: train_0002.wav has the label '3', and '7' in labels.csv; "
        "correct one of the two"
    ]


PLACES = ["", "dist", "{name}", "{name}/dist", "Data/{name}/dist", "Data/{name}"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["css", "mpssc", "sleep"])
def test_outer_folders_change_nothing(tmp_path, name, place):
    trees.package(name, tmp_path / "plain")
    expected = listing(trees.card(name, tmp_path / "plain")).table
    home = tmp_path / "put" / place.format(name=trees.PACKAGES[name][0])
    trees.package(name, home)
    found = listing(trees.card(name, tmp_path / "put"))
    assert found.folder == home
    assert found.table.equals(expected)


def test_the_snores_under_their_other_name(tmp_path):
    trees.package("mpssc", tmp_path / "Snore_dist")
    card = trees.card("mpssc", tmp_path)
    assert verdict(card) == ({}, {})
    assert dataset_listing.is_present(card)


def test_the_neighbours_package_is_not_taken(tmp_path):
    trees.package("css", tmp_path / "ComParE2021_CSS" / "dist")
    card = trees.card("ccs", tmp_path)
    assert not dataset_listing.is_present(card)
    assert "expected are its folders wav and lab, in this folder or in dist" in refusal(card)


def test_a_package_without_audio_is_not_present(tmp_path):
    trees.package("ccs", tmp_path)
    shutil.rmtree(tmp_path / "wav")
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "._train_001.wav").write_bytes(trees.APPLE_DOUBLE)
    assert not dataset_listing.is_present(trees.card("ccs", tmp_path))


# The later release of CCS and CSS


@pytest.mark.parametrize("pointed", ["", "ComParE2021_{}", "ComParE2021_{}/dist", ".."])
@pytest.mark.parametrize("name", ["ccs", "css"])
def test_later_release(tmp_path, name, pointed):
    home = tmp_path / "corpora" / "ComParE2021-CCS-CSS-Data"
    trees.release(name, home)
    card = trees.card(name, (home / pointed.format(name.upper())).resolve())
    assert verdict(card) == ({}, {})
    found = listing(card)
    assert found.table["label"].tolist() == ["negative", "positive"] * 6
    assert found.table["source_label"].equals(found.table["label"])
    assert found.folder.name == "dist"
    assert found.notes == (
        f"the labels of 4 test files are from metaData_{name.upper()}.csv",
        "files that were up-sampled from a lower rate, which goes with the label, are kept: "
        f"train 2, devel 0, test 1 (lowSR_{name.upper()}.list)",
    )


def test_later_release_unblinds_the_label_files(tmp_path):
    trees.release("ccs", tmp_path)
    trees.labels("ccs", tmp_path / "ComParE2021_CCS" / "dist" / "lab")
    card = trees.card("ccs", tmp_path)
    assert verdict(card) == ({}, {})
    assert (listing(card).table["label"] != "").all()
    file = tmp_path / "metaData_CCS.csv"
    trees.text(file, file.read_text().replace("devel_001.wav,negative", "devel_001.wav,positive"))
    said = layout_problems(card)
    assert len(said) == 1
    assert "devel_001.wav has the label 'positive', and 'negative' in devel.csv" in said[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("filename_x\ntrain_001.wav\n", "train 1, devel 0, test 0"),
        ("index,other\n0,train_001.wav\n", "has no column filename_x"),
        ("", "no rows below the header"),
        ("filename_x\ntrain_999.wav\n", "train 0, devel 0, test 0"),
    ],
)
def test_lists_of_low_rates(tmp_path, content, said):
    trees.release("ccs", tmp_path)
    trees.text(tmp_path / "lowSR_CCS.list", content)
    card = trees.card("ccs", tmp_path)
    assert verdict(card) == ({}, {})
    assert said in listing(card).notes[-1]


# Headers and rows of label files

LABEL_FILE = {
    **dict.fromkeys(("ccs", "css", "ess"), "dist/lab/devel.csv"),
    "mpssc": "lab/ComParE2017_Snore.tsv",
    **dict.fromkeys(("sleep", "sleep-regression"), "lab/labels.csv"),
}


@pytest.mark.parametrize("header", ["filename,label", "file_name,label", '"File_Name","LABEL"',
                                    "\ufefffilename,label", "label,filename,age", "filename;label",
                                    " filename , label "])  # fmt: skip
def test_spellings_of_the_header(tmp_path, header):
    card = trees.good("ccs", tmp_path)
    expected = listing(card).table
    names = header.lower().replace(";", ",").split(",")
    rows = [row for row in trees.entries("ccs") if row[0].startswith("devel")]
    if "age" in names:
        rows = [(label, file, "40") for file, label in rows]
    separator = ";" if ";" in header else ","
    lines = "\r\n".join([header, *(separator.join(f'"{c}"' for c in row) for row in rows)])
    trees.text(tmp_path / LABEL_FILE["ccs"], lines)
    assert listing(card).table.equals(expected)


@pytest.mark.parametrize("header", ["file_name\tClass (V, O, T, or E)", "filename\tlabel",
                                    "File_name\t?"])  # fmt: skip
def test_the_second_column_of_2017_may_be_called_anything(tmp_path, header):
    card = trees.good("mpssc", tmp_path)
    expected = listing(card).table
    file = tmp_path / LABEL_FILE["mpssc"]
    trees.text(file, "\n".join([header, *file.read_text().splitlines()[1:]]))
    assert listing(card).table.equals(expected)


WRONG_HEADERS = [
    *("name{}label", "filename{}class{}label2", "filename{}file_name{}label", "filename"),
    *("label{}file", "filename{}label{}label"),
]


@pytest.mark.parametrize(
    ("name", "header"),
    [(name, header) for name in trees.COMPARE for header in WRONG_HEADERS]
    # The second column of 2017 may be called anything.
    + [(name, "filename{}lable") for name in trees.COMPARE if name != "mpssc"]
    + [("mpssc", "class{}file_name")],
)
def test_wrong_header(tmp_path, name, header):
    card = trees.good(name, tmp_path)
    file = tmp_path / LABEL_FILE[name]
    delimiter = "\t" if name == "mpssc" else ","
    header = header.replace("{}", delimiter)
    trees.text(file, "\n".join([header, *file.read_text().splitlines()[1:]]))
    said = refusal(card)
    assert said.startswith(f"{file}: wrong header: found '{header.replace(delimiter, ', ')}'; exp")
    assert "expected are the columns filename (or file_name) and label" in said


@pytest.mark.parametrize("name", trees.COMPARE)
def test_a_lost_header_is_called_so(tmp_path, name):
    card = trees.good(name, tmp_path)
    file = tmp_path / LABEL_FILE[name]
    trees.text(file, "\n".join(file.read_text().splitlines()[1:]))
    assert "', which is a row of data; expected" in refusal(card)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("devel_001.wav,negative", "devel.csv, row 6: devel_001.wav is in row 2 already; rem"),
        ("DEVEL_001.WAV,positive", "devel.csv, row 6: DEVEL_001.WAV is in row 2 already"),
        ("train_005.wav,negative", "devel.csv, row 6: train_005.wav is not of devel; move it"),
        ("valid_001.wav,negative", "devel.csv, row 6: 'valid_001.wav' is not a name like train_"),
        ("devel_001.mp3,negative", "'devel_001.mp3' is not a name like train_001.wav"),
        ("wav/devel_009.wav,negative", "'wav/devel_009.wav' is not a name"),
        ("devel_.wav,negative", "'devel_.wav' is not a name"),
        (",negative", "'' is not a name"),
        ("devel_005.wav", "devel.csv, row 6: 1 cells where the header has 2"),
        ("devel_005.wav,negative,x", "devel.csv, row 6: 3 cells where the header has 2"),
    ],
)
def test_bad_rows(tmp_path, row, said):
    card = trees.good("ccs", tmp_path)
    with (tmp_path / LABEL_FILE["ccs"]).open("a") as file:
        file.write("\n" + row + "\n\n")  # row 6 is blank
    file = tmp_path / LABEL_FILE["ccs"]
    trees.text(file, file.read_text().replace("\n\n", "\n"))
    for added in ("devel_005.wav", "train_005.wav"):
        if added in row and row.count(",") == 1:
            trees.sound(tmp_path / "dist" / "wav" / added)
    problems = layout_problems(card)
    assert len(problems) == 1
    assert said in problems[0]


def test_blank_rows_and_names_without_suffix(tmp_path):
    card = trees.good("ccs", tmp_path)
    expected = listing(card).table
    file = tmp_path / LABEL_FILE["ccs"]
    trees.text(file, file.read_text().replace(".wav", "").replace("\n", "\n\n"))
    assert listing(card).table.equals(expected)


@pytest.mark.parametrize("digits", [1, 2, 5])
def test_the_number_of_digits_is_free(tmp_path, digits, monkeypatch):
    name, labels, _, header = trees.PACKAGES["ess"]
    monkeypatch.setitem(trees.PACKAGES, "ess", (name, labels, digits, header))
    card = trees.good("ess", tmp_path)
    assert verdict(card) == ({}, {})
    assert f"wav/test_{6:0{digits}d}.wav" in set(listing(card).table["path"])


@pytest.mark.parametrize("cell", ["?", ""])
def test_an_unknown_label_outside_test(tmp_path, cell):
    card = trees.good("ccs", tmp_path)
    file = tmp_path / LABEL_FILE["ccs"]
    trees.text(file, file.read_text().replace("devel_001.wav,negative", f"devel_001.wav,{cell}"))
    problems, _ = verdict(card)
    assert list(problems) == ["labels"]
    assert (
        "wav/devel_001.wav: no label, and only test files may do without" in problems["labels"][0]
    )


@pytest.mark.parametrize("label", ["Negative", "0", "neg", "positive?"])
def test_an_unknown_class(tmp_path, label):
    card = trees.good("ccs", tmp_path)
    file = tmp_path / LABEL_FILE["ccs"]
    trees.text(file, file.read_text().replace("devel_001.wav,negative", f"devel_001.wav,{label}"))
    problems, _ = verdict(card)
    assert list(problems) == ["labels"]
    assert f"label '{label}' is not a class of the card" in problems["labels"][0]


@pytest.mark.parametrize("label", ["0.0", "3", "low ok"])
def test_escalation_labels_are_the_digits_themselves(tmp_path, label):
    card = trees.good("ess", tmp_path)
    file = tmp_path / LABEL_FILE["ess"]
    trees.text(file, file.read_text().replace("devel_001.wav,0", f"devel_001.wav,{label}"))
    assert list(verdict(card)[0]) == ["labels"]


@pytest.mark.parametrize(
    ("score", "expected"),
    [("0", "not sleepy"), ("7.5", "not sleepy"), ("7.51", "sleepy"), ("10", "sleepy"),
     ("7.0", "not sleepy"), ("08", "sleepy")],
)  # fmt: skip
def test_scores_are_divided_at_the_threshold(tmp_path, score, expected):
    card = trees.good("sleep", tmp_path)
    file = tmp_path / LABEL_FILE["sleep"]
    trees.text(file, file.read_text().replace("devel_0001.wav,1", f"devel_0001.wav,{score}"))
    row = listing(card).table.set_index("path").loc["wav/devel_0001.wav"]
    assert row.tolist() == [expected, "", "devel", score]
    assert verdict(card) == ({}, {})


@pytest.mark.parametrize("score", ["11", "-1", "nan", "inf", "8,", "sleepy", "x"])
def test_scores_outside_the_scale(tmp_path, score):
    card = trees.good("sleep", tmp_path)
    file = tmp_path / LABEL_FILE["sleep"]
    quoted = f'devel_0001.wav,"{score}"'
    trees.text(file, file.read_text().replace("devel_0001.wav,1", quoted))
    found = listing(card)
    assert found.problems == (
        f"labels.csv, devel_0001.wav: label '{score}' is not a score from 0 to 10",
    )


def test_a_missing_label_file(tmp_path):
    card = trees.good("ccs", tmp_path)
    (tmp_path / LABEL_FILE["ccs"]).unlink()
    found = listing(card)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("lab/devel.csv: there is no such file, and 4 audio files")
    assert found.surplus == tuple(f"wav/devel_00{n}.wav" for n in range(1, 5))
    for file in (tmp_path / "dist" / "lab").glob("*.csv"):
        file.unlink()
    assert "none of the label files train.csv, devel.csv, test.csv is there" in refusal(card)


def test_audio_beside_the_rows(tmp_path):
    card = trees.good("ccs", tmp_path)
    wav = tmp_path / "dist" / "wav"
    trees.sound(wav / "train_099.wav")
    trees.sound(wav / "test_099.wav")
    (wav / "train_001.mp3").write_bytes(b"")
    (wav / "below").mkdir()
    assert listing(card).surplus == ("wav/test_099.wav", "wav/train_001.mp3", "wav/train_099.wav")
    assert listing(card).problems == ()
    trees.sound(wav / "TRAIN_001.flac")
    said = listing(card).problems
    assert len(said) == 1
    assert "wav/TRAIN_001.flac" in said[0]
    assert "keep one" in said[0]

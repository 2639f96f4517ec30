"""ComParE packages: blinded or not, wherever they lie, and every way to spell a label file."""

import shutil

import pytest

from dslite.datasets import listing
from tests.datasets import trees
from tests.datasets.trees import BLINDED, layout_problem, listed, replace_text, verdict
from tests.refusals import refusal

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("test", ["?", "absent", "real"])
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("ccs", ["negative", "positive"]),
        ("css", ["negative", "positive"]),
        ("ess", ["low", "medium", "high"]),
        ("mpssc", ["V", "O", "T", "E"]),
        ("sleep", ["not sleepy"] * 2 + ["sleepy"] * 2),
        ("sleep-regression", ["1", "7", "8", "9"]),
    ],
)
def test_listing(tmp_path, name, classes, test):
    """Whether a package is blinded is seen in its content."""
    trees.package(name, tmp_path / "dist", test)
    card = trees.card(name, tmp_path)
    assert verdict(card) == ({}, {})
    corpus = listed(card)
    expected = []
    for (file, source), label in zip(trees.entries(name), classes * 6, strict=True):
        blinded = file.startswith("test") and test != "real"
        labels = ("", "?") if blinded else (label, source)
        expected.append((f"wav/{file}", labels[0], "", file.split("_")[0], labels[1]))
    assert list(corpus.table.columns) == list(listing.COLUMNS)
    assert [tuple(row) for row in corpus.table.to_numpy()] == sorted(expected)
    assert corpus.folder == tmp_path / "dist"
    assert corpus.partition_source == "the organisers' partition"
    assert corpus.notes == (() if test == "real" else (BLINDED.format(2 * len(classes)),))
    assert (corpus.problems, corpus.surplus, corpus.excluded) == ((), (), {})


REVEALING = {"mpssc": "ComParE2017_Snore_test.tsv", "sleep": "labels_confidential.csv"}


@pytest.mark.parametrize("test", ["?", "absent"])
@pytest.mark.parametrize("name", REVEALING)
def test_a_revealing_file_replaces_unknown_labels(tmp_path, name, test):
    trees.package(name, tmp_path, test)
    rows = [*trees.entries(name)[-8:-1], (trees.entries(name)[-1][0], "")]
    trees.label_file(tmp_path / "lab" / REVEALING[name], trees.PACKAGES[name][3], rows)
    card = trees.card(name, tmp_path)
    assert verdict(card) == ({}, {})
    corpus = listed(card)
    labels = corpus.table[corpus.table["partition"] == "test"]["source_label"]
    assert labels.tolist() == [label or "?" for _, label in rows]
    assert corpus.notes == (
        "1 of 8 test files have no label: this package keeps them back",
        f"the labels of 7 test files are from {REVEALING[name]}",
    )


def test_a_revealing_file_may_stand_for_all_or_contradict(tmp_path):
    trees.package("sleep", tmp_path)
    card, lab = trees.card("sleep", tmp_path), tmp_path / "lab"
    rows = [("train_0001.wav", "1"), ("train_0002.wav", "3"), ("train_0003.wav", "?")]
    trees.label_file(lab / REVEALING["sleep"], "file_name,label", rows)
    assert layout_problem(card) == (
        "labels_confidential.csv, row 3: train_0002.wav has the label '3', and '7' in labels.csv; "
        "correct one of the two"
    )
    (lab / "labels.csv").unlink()
    trees.label_file(lab / REVEALING["sleep"], "file_name,label", trees.entries("sleep"))
    assert verdict(card) == ({}, {})
    trees.label_file(lab / REVEALING["sleep"], "file_name,label", trees.entries("sleep")[-8:])
    words = "lab/labels.csv: there is no such file, and 16 audio files have no label"
    assert words in layout_problem(card)


def test_neither_the_neighbours_package_nor_one_without_audio(tmp_path):
    trees.package("css", tmp_path / "ComParE2021_CSS" / "dist")
    card = trees.card("ccs", tmp_path)
    assert not listing.is_present(card)
    message = refusal(listing.read, card)
    assert "expected are its folders wav and lab, in this folder or in dist" in message
    trees.package("ccs", tmp_path)
    for file in (tmp_path / "wav").glob("[!.]*.wav"):
        assert listing.is_present(card)
        file.unlink()
    assert not listing.is_present(card)


# The later release of CCS and CSS


@pytest.mark.parametrize("pointed", ["", "ComParE2021_{}", "ComParE2021_{}/dist", ".."])
@pytest.mark.parametrize("name", ["ccs", "css"])
def test_later_release(tmp_path, name, pointed):
    home = tmp_path / "corpora" / "ComParE2021-CCS-CSS-Data"
    trees.release(name, home)
    card = trees.card(name, (home / pointed.format(name.upper())).resolve())
    assert verdict(card) == ({}, {})
    corpus = listed(card)
    assert corpus.table["label"].tolist() == ["negative", "positive"] * 6
    assert corpus.table["source_label"].equals(corpus.table["label"])
    assert corpus.folder.name == "dist"
    assert corpus.notes == (
        f"the labels of 4 test files are from metaData_{name.upper()}.csv",
        "files that were up-sampled from a lower rate, which goes with the label, are kept: "
        f"train 2, devel 0, test 1 (lowSR_{name.upper()}.list)",
    )


@pytest.fixture
def released(tmp_path):
    trees.release("ccs", tmp_path)
    return trees.card("ccs", tmp_path)


def test_later_release_unblinds_the_label_files(tmp_path, released):
    card = released
    trees.labels("ccs", tmp_path / "ComParE2021_CCS" / "dist" / "lab")
    assert verdict(card) == ({}, {})
    assert (listed(card).table["label"] != "").all()
    replace_text(tmp_path / "metaData_CCS.csv", "devel_001.wav,negative", "devel_001.wav,positive")
    words = "devel_001.wav has the label 'positive', and 'negative' in devel.csv"
    assert words in layout_problem(card)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("filename_x\ntrain_001.wav\n", "train 1, devel 0, test 0"),
        ("index,other\n0,train_001.wav\n", "has no column filename_x"),
        ("", "no rows below the header"),
    ],
)
def test_lists_of_low_rates(tmp_path, released, content, words):
    trees.text(tmp_path / "lowSR_CCS.list", content)
    assert verdict(released) == ({}, {})
    assert words in listed(released).notes[-1]


# Headers and rows of label files

LABEL_FILE = {
    **dict.fromkeys(("ccs", "ess"), "dist/lab/devel.csv"),
    **{"mpssc": "lab/ComParE2017_Snore.tsv", "sleep": "lab/labels.csv"},
}


@pytest.fixture
def ccs(tmp_path):
    card = trees.good("ccs", tmp_path)
    return card, tmp_path / LABEL_FILE["ccs"], tmp_path / "dist" / "wav"


@pytest.mark.parametrize("header", ["file_name,label", '"File_Name","LABEL"', "label,filename,age"])
def test_spellings_of_the_header(ccs, header):
    """Of its own; those of every table are in `test_table`."""
    card, file, _ = ccs
    expected = listed(card).table
    rows = [row for row in trees.entries("ccs") if row[0].startswith("devel")]
    if "age" in header:
        rows = [(label, name, "40") for name, label in rows]
    lines = [header, *(",".join(row) for row in rows)]
    trees.text(file, "\n\n".join(lines).replace(".wav", ""))  # blank rows, names without suffix
    assert listed(card).table.equals(expected)


def test_the_second_column_of_2017_may_be_called_anything(tmp_path):
    card = trees.good("mpssc", tmp_path)
    expected, before = listed(card).table, trees.PACKAGES["mpssc"][3]
    for header in ("file_name\tClass (V, O, T, or E)", "filename\tlabel", "File_name\t?"):
        replace_text(tmp_path / LABEL_FILE["mpssc"], before, header)
        assert listed(card).table.equals(expected)
        before = header


@pytest.mark.parametrize(
    ("name", "header"),
    [
        *(("ccs", "name{}label"), ("ccs", "filename{}file_name{}label"), ("ccs", "filename")),
        *(("sleep", "filename{}lable"), ("mpssc", "class{}file_name")),
    ],
)
def test_wrong_header(tmp_path, name, header):
    card = trees.good(name, tmp_path)
    file = tmp_path / LABEL_FILE[name]
    delimiter = "\t" if name == "mpssc" else ","
    replace_text(file, trees.PACKAGES[name][3], header.replace("{}", delimiter))
    message, cells = refusal(listing.read, card), header.replace("{}", ", ")
    assert message.startswith(f"{file}: wrong header: found '{cells}'; expected are the columns")
    assert "filename (or file_name) and label" in message
    trees.text(file, "\n".join(file.read_text().splitlines()[1:]))
    assert "', which is a row of data; expected" in refusal(listing.read, card)


NO_NAMES = ("", "valid_001.wav", "wav/devel_009.wav", "devel_\u0663.wav", "devel_001.mp3")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("devel_001.wav,negative", "devel.csv, row 6: devel_001.wav is in row 2 already; rem"),
        ("DEVEL_001.WAV,positive", "devel.csv, row 6: DEVEL_001.WAV is in row 2 already"),
        ("train_005.wav,negative", "devel.csv, row 6: train_005.wav is not of devel; move it"),
        *(
            (f"{name},negative", f"devel.csv, row 6: '{name}' is not a name like train_001.wav")
            for name in NO_NAMES
        ),
        ("devel_005.wav,negative,x", "devel.csv, row 6: 3 cells where the header has 2"),
    ],
)
def test_bad_rows(ccs, row, words):
    card, file, wav = ccs
    with file.open("a") as table:
        table.write(row + "\n")
    if row.startswith("train_005.wav"):
        trees.sound(wav / "train_005.wav")
    assert words in layout_problem(card)


@pytest.mark.parametrize(
    ("name", "label"),
    [("ccs", "?"), ("ccs", ""), ("ccs", "Negative"), ("ess", "0.0")],
)
def test_labels_that_are_none(tmp_path, name, label):
    card = trees.good(name, tmp_path)
    first = trees.PACKAGES[name][1][0]
    replace_text(tmp_path / LABEL_FILE[name], f"devel_001.wav,{first}", f"devel_001.wav,{label}")
    problems, _ = verdict(card)
    assert list(problems) == ["labels"]
    words = f"label '{label}' is not a class of the card"
    if label in ("?", ""):
        words = "no label, and only test files may do without"
    assert f"wav/devel_001.wav: {words}" in problems["labels"][0]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("0", "not sleepy"),
        ("7.5", "not sleepy"),
        ("7.51", "sleepy"),
        ("10", "sleepy"),
        ("08", "sleepy"),
        *((score, "") for score in ("11", "-1", "nan", "inf", "8,", "x")),
    ],
)
def test_scores_are_divided_at_the_threshold(tmp_path, score, expected):
    card = trees.good("sleep", tmp_path)
    replace_text(tmp_path / LABEL_FILE["sleep"], "devel_0001.wav,1", f'devel_0001.wav,"{score}"')
    row = listed(card).table.set_index("path").loc["wav/devel_0001.wav"]
    assert row.tolist() == [expected or score, "", "devel", score]
    problem = f"labels.csv, devel_0001.wav: label '{score}' is not a score from 0 to 10"
    assert listed(card).problems == (() if expected else (problem,))


ARFF = """@relation snore

@attribute name string
@attribute pcm_zcr_sma numeric
@attribute 'class' {V,O,T,E}

@data
% openSMILE's
"""


@pytest.mark.parametrize("place", ["lab", "arff"])
def test_a_package_that_holds_its_labels_in_features_only(tmp_path, place):
    card = trees.good("mpssc", tmp_path)
    expected = listed(card)
    shutil.rmtree(tmp_path / "lab")
    rows = trees.entries("mpssc")
    for part in ("train", "devel", "test"):
        lines = [
            f"'{name}',0.25,{'?' if part == 'test' else c}" for name, c in rows if part in name
        ]
        file = tmp_path / place / f"ComParE2017_Snore.ComParE.{part}.arff"
        trees.text(file, ARFF + "\n".join(lines) + "\n")
        trees.text(file.with_name(f"z_BoAW.{part}.arff"), "@relation other\n")
    corpus = listed(card)
    assert corpus.problems == ()
    assert corpus.table.equals(expected.table)
    assert "the labels are from ComParE2017_Snore.ComParE.train.arff" in corpus.notes

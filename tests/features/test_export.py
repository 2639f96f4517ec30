"""Tables of features for other tools, read back by theirs."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import arff

from dslite.features import export
from tests.refusals import refusal

ODD = ["a b.wav", "c,d.wav", "d.wav", "u %{x}?.wav"]
CLASSES = ("no one", "calm,sad")


@pytest.fixture
def rows(rng):
    table = {"path": ODD, "label": [*CLASSES, CLASSES[0], ""]}
    table |= {"partition": ["train", "devel", "train", "test"]}
    values = rng.normal(size=(4, 3)).astype(np.float32) * np.float32([1e-7, 1, 1e7])
    return pd.DataFrame(table), values, ["neuron_0", "chroma_C#_mean", "x"]


@pytest.mark.parametrize("suffix", export.FORMATS)
@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_every_format_holds_the_same_numbers_and_texts(rows, tmp_path, suffix, classes):
    files, values, names = rows
    if not classes:
        files = files.assign(label=["1.5", "-2", "0", ""])
    path = tmp_path / f"x{suffix}"
    export.write(path, files, values, names, classes)
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as table:
            read = {name: table[name] for name in table}
        assert read.pop("feature_names").tolist() == names
        features = read.pop("features")
        read = {name: texts.tolist() for name, texts in read.items()}
    elif suffix == ".csv":
        table = pd.read_csv(path, dtype={"label": str}, keep_default_na=False)
        assert table.columns.tolist() == ["name", *names, "label", "partition"]
        features = table[names].to_numpy(np.float32)
        read = table.drop(columns=names).to_dict("list")
    else:
        table, meta = arff.loadarff(path)
        assert meta.names() == ["name", *names, "label", "partition"]
        features = np.array([[row[name] for name in names] for row in table], np.float32)
        read = {name: [row[name] for row in table] for name in ("name", "label", "partition")}
        if classes:
            assert meta["label"][1] == CLASSES
            read["label"] = [label.decode().replace("?", "") for label in read["label"]]
        else:
            assert np.isnan(read["label"][-1])
            read["label"] = [*(f"{label:g}" for label in read["label"][:-1]), ""]
        for name in ("name", "partition"):
            read[name] = [text.decode() for text in read[name]]
    np.testing.assert_array_equal(features, values)
    expected = files.rename(columns={"path": "name"}).to_dict("list")
    assert read == expected


def test_wekas_quotes(rows, tmp_path):
    """SciPy takes neither; WEKA does."""
    files, values, names = rows
    files["path"] = ["it's.wav", "a\\b.wav", "ü.wav", "d.wav"]
    export.write(tmp_path / "x.arff", files, values, names, CLASSES)
    line = (tmp_path / "x.arff").read_text("utf-8").splitlines()[1]
    assert line == r"@attribute name {'it\'s.wav','a\\b.wav','ü.wav','d.wav'}"


def test_another_format_is_refused():
    assert "x.xlsx: expected a name that ends in .csv" in refusal(export.suffix, "x.xlsx")

"""The record beside a run: JSON in and out, digests, versions, and memory."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite import provenance
from tests.refusals import refusal


def test_json_comes_back(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"ä": "ö"}}
    provenance.write_json(tmp_path / "a.json", content)
    assert provenance.read_json(tmp_path / "a.json", "run it again") == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / "bom.json").write_text('\ufeff{"a": 1}', encoding="utf-8")  # of Windows' editors
    assert provenance.read_json(tmp_path / "bom.json", "") == {"a": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):  # the old file stays
        provenance.write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text()) == content


@given(st.lists(st.text(st.sampled_from("'=+-@1.e ab\t"), max_size=5), min_size=1))
def test_a_spreadsheet_computes_nothing_and_every_text_comes_back(cells):
    table = pd.DataFrame({"label": cells, "=score": range(len(cells))})
    text = provenance.quoted(table).to_csv(index=False)
    back = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False)
    for cell in [*back.columns, *back["label"]]:
        number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", cell)
        assert len(cell) < 2 or cell[0] not in "=+-@\t\r" or number, cell
    unquoted = provenance.unquoted(back)
    assert (list(unquoted), unquoted["label"].tolist()) == (["label", "=score"], cells)


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"\xff\xfe", b"[1]", b"[" * 99999])
def test_json_that_cannot_be_read(tmp_path, content):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    message = refusal(provenance.read_json, file, "run it again")
    assert re.fullmatch(rf"{file}: not readable \((?!.*{file}).*\); run it again", message)


def test_digests_and_the_record(monkeypatch, tmp_path):
    assert provenance.digest({"a": 1, "b": 2}) == provenance.digest({"b": 2, "a": 1})
    assert provenance.digest([1, 2]) != provenance.digest([2, 1])
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.file_digest(tmp_path / "a").startswith("ba7816bf8f01cfea")  # FIPS 180-2
    record = provenance.record()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["date"])
    assert re.fullmatch(r"([0-9a-f]{40}(\+changes)?)?", record["commit"])
    assert {"python", "dslite", "tensorflow", "numpy"} <= set(record["versions"])
    assert record["hardware"]["memory_gib"] > 0.5
    assert all(record["hardware"].values())
    monkeypatch.setattr(provenance.paths, "ROOT", tmp_path)  # not a clone
    assert provenance.commit() == ""


def test_memory_of_a_fresh_process():
    """Not its parent's: the most that it has held comes with fork and exec in ``ru_maxrss``."""
    held = np.ones(50_000_000)
    steps = ("import numpy", "held = numpy.ones(25_000_000)", "held.sum()")
    memory = provenance.memory_of_fresh_process(*steps)
    assert memory["growth_mb"] == pytest.approx(200, rel=0.1)
    assert memory["peak_mb"] == pytest.approx(memory["baseline_mb"] + memory["growth_mb"])
    assert memory["peak_mb"] < held.nbytes / 1e6
    with pytest.raises(RuntimeError, match=r"of my\.tflite failed: ValueError: no model"):
        provenance.memory_of_fresh_process("", "raise ValueError('no model')", "pass", "my.tflite")


def test_peak_where_there_is_no_proc(monkeypatch):
    peak = provenance.peak_mb()
    monkeypatch.setattr(provenance, "Path", lambda path: type("Missing", (), {"is_file": bool})())
    assert provenance.peak_mb() >= 0.9 * peak > 1

"""Records: what is written of many runs is read back exactly, and a run of one is a run."""

import json
import shutil

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite.errors import InputError
from dslite.training import records, runs
from tests.finished_runs import into_record, write_run

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    LEAVES | st.sampled_from(["1", "null", "NaN", "", " x", '"', "a.b", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), min_size=1, max_size=3))
def test_values_are_read_back_exactly(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("record")
    written = {f"corpus/run{i}": {"metrics": content} for i, content in enumerate(contents)}
    records.write(folder, written)
    assert json.dumps(records.read(folder), sort_keys=True) == json.dumps(written, sort_keys=True)


def test_a_run_of_a_record_is_the_run_that_was_recorded(results, small_run, monkeypatch):
    folder = results / "small" / small_run.folder.name
    shutil.copytree(small_run.folder, folder)
    other = write_run(results)
    originals = [runs.load(folder), runs.load(other)]
    values = [(run.record, run.metrics, run.settings, run.classes, run.name) for run in originals]
    tables = [(run.predictions, run.history) for run in originals]
    recorded = into_record(folder, other)
    for place, expected, (predictions, history) in zip(recorded, values, tables, strict=True):
        run = runs.load(place)
        assert (run.record, run.metrics, run.settings, run.classes, run.name) == expected
        pd.testing.assert_frame_equal(run.predictions, predictions, check_exact=True)
        if history is None:
            assert run.history is None
        else:
            pd.testing.assert_frame_equal(run.history, history, check_exact=True)
    # From another folder, as it is typed
    monkeypatch.chdir(results)
    assert runs.load(recorded[0].relative_to(results)).record == values[0][0]
    with pytest.raises(InputError, match="no finished run here"):
        runs.load(recorded[0].with_name("other"))


def test_private_predictions_are_none(results):
    (place,) = into_record(write_run(results, predictions=False))
    assert runs.load(place).predictions is None

"""`dslite archive` as a user meets it."""

import zipfile

import pytest

from dslite import paths
from tests.studies.finished_study import finish, lay, places


@pytest.fixture
def study(tmp_path, rng, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    return lay(tmp_path / "birds", rng)


def test_archive_says_where_it_lies(command, study):
    for place in places(study):
        finish(place)
    status, told, err = command("archive", study)
    place = paths.results("studies") / "flock.zip"
    assert (status, err) == (0, "")
    assert told == f"archive: {place}, 6 of 6 runs\n"
    assert zipfile.is_zipfile(place)


def test_archive_without_some_runs_is_status_1_unless_partial(command, study, tmp_path):
    for place in places(study)[1:]:
        finish(place)
    out = tmp_path / "sub" / "mine.zip"
    status, told, _ = command("archive", study, out)
    assert status == 1
    assert "missing: birds/squeezenet-none-s0\n" in told
    assert f"archive: {out}, 5 of 6 runs\n" in told
    assert zipfile.is_zipfile(out)
    assert command("archive", study, out, "--partial")[0] == 0


def test_archive_says_that_a_corpus_has_changed_between_runs(command, study):
    for i, place in enumerate(places(study)):
        finish(place, manifest="ab"[i == 3] * 64)
    status, _, err = command("archive", study)
    assert status == 0
    assert err.startswith("warning: birds: runs of 2 different manifests")


def test_archive_with_models(command, study, tmp_path):
    for place in places(study):
        finish(place)
    assert command("archive", study, tmp_path / "a.zip", "--models")[0] == 0
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert "runs/birds/squeezenet-none-s0/model.keras" in names


def test_archive_refuses_in_one_line(command, study, tmp_path):
    for given in (("no-such-study",), (tmp_path / "gone.yaml",), (study,)):
        status, told, err = command("archive", *given)
        assert (status, told, len(err.splitlines())) == (2, "", 1), given
    finish(places(study)[0])
    for output in ("a.txt", study / "below.zip"):
        status, told, err = command("archive", study, output)
        assert (status, told, len(err.splitlines())) == (2, "", 1), output

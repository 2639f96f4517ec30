"""`dslite study`, `dslite archive` and `dslite record` as a user meets them."""

import re
import zipfile

import pytest

from dslite import paths
from tests.refusals import assert_refused
from tests.studies.finished_study import finish, runs_of


def refused(done, *words):
    assert_refused(done, *words)
    assert len(done[2].splitlines()) == 1


def test_archive_without_some_runs_is_status_1_unless_partial(lay_study, command, tmp_path):
    study = lay_study()
    for i, run in enumerate(runs_of(study)[1:]):
        finish(run, manifest="ab"[i == 3] * 64)
    archive = tmp_path / "sub" / "mine.zip"
    status, out, err = command("archive", study, archive)
    assert status == 1
    assert "missing: birds/squeezenet-none-s0\n" in out
    assert f"archive: {archive}, 5 of 6 runs\n" in out
    assert err.startswith("warning: birds: runs of 2 different manifests")
    assert command("archive", study, archive, "--partial", "--models")[0] == 0
    assert "birds/squeezenet-none-s1/model.keras" in zipfile.ZipFile(archive).namelist()
    finish(runs_of(study)[0], manifest="a" * 64)
    place = paths.results("studies") / "flock.zip"
    assert command("archive", study)[:2] == (0, f"archive: {place}, 6 of 6 runs\n")
    assert zipfile.is_zipfile(place)


def test_archive_refuses_in_one_line(lay_study, command, tmp_path):
    study = lay_study()
    for word in ("no-such-study", tmp_path / "gone.yaml", study):
        refused(command("archive", word))
    finish(runs_of(study)[0])
    (tmp_path / "folder.zip").mkdir()
    for output in ("a.txt", "a", tmp_path / "folder.zip"):
        refused(command("archive", study, output))
    refused(command("archive", study, study / "below.zip"), "cannot be written")
    refused(command("archive", study, tmp_path / f"{'x' * 300}.zip"), "File name too long")


def test_record_says_what_it_wrote_and_what_not(lay_finished, command):
    file = lay_finished()
    status, out, _ = command("record", file)
    assert status == 0
    assert re.fullmatch(r"record: \d+ files, [\d.]+ kB in \S+/records/flock\n", out)
    card = file.with_name("birds.yaml")
    card.write_text(card.read_text("utf-8").replace("publish: true", "publish: false"), "utf-8")
    private = "left out: birds: predictions, explanations and models: the card of the corpus does"
    assert private in command("record", file)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "none of its 6 runs is finished"),
        (("--choose", "birds"), "no grid 'birds'"),
        (("--device", "ducks"), "has no 'ducks' to convert; there is ['birds-quick-squeezenet']"),
        (("--device", "birds-quick-squeezenet"), "no finished run here"),
    ],
)
def test_what_a_study_cannot_do_yet_is_one_line(lay_study, command, words, message):
    refused(command("study", lay_study(), *words), message)

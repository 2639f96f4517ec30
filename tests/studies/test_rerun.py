"""Repeating a run from its record: every kind, what cannot be repeated, what differs."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from dslite import cards, paths, provenance
from dslite.datasets import load_manifest, partitions
from dslite.models.weights import REGISTRY, cached
from dslite.studies import rerun
from dslite.training import baselines, experiment, runs
from tests.finished_runs import into_record
from tests.refusals import assert_refused, refusal

SHORT = {"epochs_phase1": 1, "epochs_phase2": 0, "units": 4, "augmentation": "cutmix"}


@pytest.fixture
def small(small_corpus, workplace):
    return load_manifest(cards.load(str(small_corpus)))


@pytest.fixture
def copied(small_run, workplace):
    folder = workplace / "small" / small_run.folder.name
    shutil.copytree(small_run.folder, folder)
    return folder


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def edit(folder, name="run.json", **changes):
    content = json.loads((folder / name).read_text("utf-8"))
    (folder / name).write_text(json.dumps(content | changes), "utf-8")
    return content


@pytest.mark.parametrize(
    ("kind", "epochs"),
    [
        pytest.param("fold", 2, marks=pytest.mark.slow),
        pytest.param("svm", 0, marks=pytest.mark.slow),
        ("candidate", 1),
        ("librosa", 0),
    ],
)
def test_every_kind_of_run_is_repeated(small, tiny, command, small_corpus, workplace, kind, epochs):
    used = cards.settings_of(small.card, "", SHORT | {"weights": str(tiny)})
    if kind in ("svm", "librosa"):
        run = baselines.train_baseline(small, used, 1, log=str, kind=kind)
    elif kind == "candidate":
        run = experiment.train(small, used, 4, log=str, candidate=True)
    else:
        manifest = partitions.divide(small, 3)[1] if kind == "fold" else small
        run = experiment.train(manifest, used, 4, log=str)
    folder = into_record(run.folder)[0] if kind == "librosa" else run.folder
    # This run's alone: other test processes train with the same cache meanwhile.
    place = paths.cache() / "checkpoints" / "small" / run.record["identity"][:16]
    before, checkpoints = everything(workplace), everything(place)
    words = ["rerun", folder, "--table", small_corpus, "--weights", tiny.parent]
    if kind == "librosa":
        assert "leave out --weights" in command(*words)[2]
        del words[-2:]
    status, out, err = command(*words)
    assert (status, err) == (0, ""), out
    assert "equal: " in out
    assert not re.search("going on after|not repeated|changed", out)
    assert out.count("phase 1 epoch") == epochs
    assert everything(workplace) == before
    assert everything(place) == checkpoints
    # A candidate leaves one, which the repetition must not go on from.
    assert checkpoints or kind != "candidate"
    assert list((paths.cache() / "repetitions").iterdir()) == []


def test_what_differs_is_printed(copied, small_run, small_corpus, command, monkeypatch):
    def repeat(*_):
        copy = shutil.copytree(small_run.folder, paths.results("small") / copied.name)
        return runs.load(copy)

    monkeypatch.setattr(rerun, "repeat", repeat)  # its numbers are those above
    before = (copied / "predictions.csv").read_bytes()
    table = pd.read_csv(copied / "predictions.csv")
    table.loc[[0, 5], "calm"] += [0.25, 0.125]
    table.to_csv(copied / "predictions.csv", index=False)
    scores = edit(copied, "metrics.json")["test"]
    scores["file"]["score"] += 0.5
    edit(copied, "metrics.json", test=scores)
    versions = edit(copied, commit="abc")["versions"]
    edit(copied, versions=versions | {"keras": "2.0.0"}, final_weights_sha256="0" * 64)
    status, out, err = command("rerun", copied, "--table", small_corpus, "--keep")
    assert (status, err) == (1, "")
    for text in (
        f"predictions.csv: 2 of {len(table)} rows differ (calm); largest difference 0.25",
        f"versions.keras: 2.0.0 then, {versions['keras']} now",
        *("metrics.json: test.file.score", "commit: abc then", "run.json: other final weights"),
    ):
        assert text in out
    assert "history.csv" not in out
    (folder,) = (paths.cache() / "repetitions").iterdir()
    again = runs.load(folder / "results" / "small" / copied.name)
    assert (again.folder / "model.keras").is_file()
    assert (again.folder / "predictions.csv").read_bytes() == before
    assert paths.shown(again.folder) in out
    assert [path.name for path in folder.iterdir()] == ["results"]
    shutil.rmtree(folder)


def test_an_interruption_leaves_neither_folder_nor_variable(workplace, monkeypatch):
    monkeypatch.delenv("DSLITE_RESULTS")
    before = paths.cache(), paths.results()

    def interrupted():
        with rerun.workshop() as folder:
            assert (paths.cache(), paths.results()) == (folder / "cache", folder / "results")
            (paths.cache() / "weights" / "a").write_text("downloaded")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (paths.cache(), paths.results()) == before
    assert list((paths.cache() / "repetitions").iterdir()) == []
    (paths.cache() / "weights" / "a").unlink()  # through the link, to be there the next time


@pytest.fixture
def refused(command, monkeypatch):
    """Status 2 and one message, before anything is trained."""
    monkeypatch.setattr(rerun, "repeat", lambda *words: pytest.fail("repeated"))
    return lambda message, *words: assert_refused(command("rerun", *words), message)


def test_a_run_that_cannot_be_repeated(refused, tmp_path, copied, small_corpus):
    refused("no finished run here", tmp_path / "nothing")
    edit(copied, table={"path": str(tmp_path / "gone.csv"), "columns": {}})
    refused("gone.csv, is not there; say where it is with --table", copied)
    refused("no such table", copied, "--table", tmp_path / "none.csv")
    words = (copied, "--table", small_corpus)
    for name in ("metrics.json", "predictions.csv", "history.csv"):
        content = (copied / name).read_bytes()
        (copied / name).unlink()
        refused("nothing can be compared", *words)
        (copied / name).write_bytes(content)
    (copied / "run.json").write_text(json.dumps(edit(copied))[:200])
    refused("run.json: not", *words)


def test_a_changed_corpus_is_named(refused, copied, small_corpus, tmp_path):
    text = small_corpus.read_text("utf-8")
    (tmp_path / "small.csv").write_text(text.replace(",sad,", ",calm,", 1), "utf-8")
    card = f"folder: {small_corpus.parent}\n" + small_corpus.with_suffix(".yaml").read_text("utf-8")
    (tmp_path / "small.yaml").write_text(card)
    words = (copied, "--table", tmp_path / "small.csv")
    refused("small: the corpus is not the one of this run", *words)
    (tmp_path / "small.csv").write_bytes(small_corpus.read_bytes())
    (tmp_path / "small.yaml").write_text(card.replace("[calm, happy,", "[happy, calm,"))
    refused("says other classes", *words)


def test_weights_of_other_content(refused, copied, small, small_corpus, tmp_path):
    table, name = ("--table", small_corpus), edit(copied)["weights"]["name"]
    other = tmp_path / name
    other.write_bytes(b"other")
    for typed in (other, tmp_path):
        refused(f"{other}: other content than this run's", copied, *table, "--weights", typed)
    refused(f"{name}, this run's weights, is not found", copied, *table, "--weights", copied)
    # Under another name they are the same.
    renamed = tmp_path / "renamed.h5"
    shutil.copy(small_corpus.with_name(name), renamed)
    _, settings = rerun.plan(rerun.load(copied), small, str(renamed))
    assert settings.weights == str(renamed)
    # The card has other ones: those of the run may be among the downloads.
    edit(copied, weights={"name": "x.h5", "sha256": provenance.file_digest(other)})
    refused("other content than this run's weights x.h5", copied, *table)
    download = cached(REGISTRY["squeezenet"]["url"])
    download.parent.mkdir(exist_ok=True)
    download.write_bytes(b"other")
    assert rerun.plan(rerun.load(copied), small)[1].weights == str(download)
    download.unlink()
    for name in ("imagenet", "random"):  # no file
        edit(copied, weights={"name": name, "sha256": None})
        run = rerun.load(copied)
        assert rerun.plan(run, small)[1].weights == name
        assert "leave out --weights" in refusal(rerun.plan, run, small, str(tmp_path))


@pytest.mark.parametrize(
    ("now", "text"),
    [
        ({}, ""),
        ({"x": [1.0, 2.5, np.nan]}, "1 of 3 rows differ (x); largest difference 0.5"),
        ({"x": [1.0, 2.5, 0], "y": [2, 2, 0]}, "3 of 3 rows differ (x, y); largest difference 3"),
        ({"file": ["a", "b", "d"]}, "1 of 3 rows differ (file)"),
        ({"x": [1.0, 2.0, 0.0]}, "1 of 3 rows differ (x); largest difference 0"),
        ({"x": ["1", "2", "3"]}, "3 of 3 rows differ (x)"),
        ({"z": [0, 0, 0]}, "other columns (file, x, y, z instead of file, x, y)"),
    ],
)
def test_how_tables_differ(now, text):
    then = {"file": ["a", "b", "c"], "x": [1.0, 2.0, np.nan], "y": [1, 2, 3]}
    table = pd.DataFrame(then)
    assert rerun.table_difference(table, pd.DataFrame(then | now)) == text
    assert rerun.table_difference(table, table.head(2)) == "2 rows instead of 3"


def test_how_values_differ(copied, small_run):
    then = {"test": {"score": 0.5, "interval": [0.1, 0.9], "vote": None}, "n": 3, "devel": None}
    assert rerun.value_differences(then, json.loads(json.dumps(then))) == []
    now = {"test": {"score": 0.25, "interval": [0.1, 0.8], "vote": None}, "n": 3}
    assert rerun.value_differences(then, now) == [
        "devel: null then, nothing now",
        "test.interval: [0.1, 0.9] then, [0.1, 0.8] now",
        "test.score: 0.5 then, 0.25 now",
    ]
    # Times are no difference, and a digit is one.
    history = pd.read_csv(copied / "history.csv")
    history.assign(seconds=0.0, images_per_s=1.0).to_csv(copied / "history.csv", index=False)
    assert rerun.compare(small_run, runs.load(copied)) == ([], [])
    history["train_loss"] += 1e-9
    history.to_csv(copied / "history.csv", index=False)
    lines, _ = rerun.compare(small_run, runs.load(copied))
    (line,) = lines
    assert line.startswith(f"history.csv: {len(history)} of {len(history)} rows differ (train")
    assert rerun.verdict(lines, [])[-1] == "versions, hardware and commit are the same"
    edit(copied, "metrics.json", devel={str(i): i for i in range(10)})
    lines, _ = rerun.compare(small_run, runs.load(copied))
    assert len(lines) == 1 + rerun.LISTED + 1
    assert any(line.endswith(" more") for line in lines)

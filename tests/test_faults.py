"""A full disk, a folder that must not be written to, a corpus that changes: nothing is lost."""

import functools
import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import soundfile

from dslite import cards, cli, paths
from dslite.datasets import load_manifest, manifest
from dslite.training import runs
from tests.refusals import assert_refused

refused = functools.partial(assert_refused, worked=True)
FULL = os.strerror(28)
LARGE = "64m"


@pytest.fixture
def disk():
    """Puts a small file system at a folder: ``disk(folder, "64k")``; again, with another size."""
    mounted = []

    def mount(folder, size, mode="rw"):
        folder.mkdir(parents=True, exist_ok=True)
        options = f"{'remount,' if folder in mounted else ''}size={size},{mode}"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        mounted.extend([folder] if folder not in mounted else [])

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def table(tmp_path, monkeypatch, small_corpus):
    """Half of the small corpus, an empty cache and empty results: the table's path."""
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    rows = pd.read_csv(small_corpus, dtype=str).groupby(["speaker", "label"]).head(1)
    for name in (*rows["path"], "small.yaml"):
        (tmp_path / "small" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_corpus.parent / name, tmp_path / "small" / name)
    rows.to_csv(tmp_path / "small" / "small.csv", index=False)
    return tmp_path / "small" / "small.csv"


@pytest.fixture
def train(command, table, tiny):
    """Train a network that takes seconds: gives status, stdout and stderr."""
    words = [word for key in ("epochs_phase1=1", "epochs_phase2=0") for word in ("--set", key)]
    return lambda: command("train", table, "--weights", tiny, *words)


def tree(folder):
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_no_space_on_the_way_of_a_run_and_then_it_goes_on(disk, train):
    stores, checkpoints = paths.cache() / "spectrograms", paths.cache() / "checkpoints"
    disk(stores, "128k")
    disk(checkpoints, "8k")
    disk(paths.results(), "64k")
    paths.results("small").mkdir()
    (paths.results("small") / "earlier.json").write_text("{}")
    before = tree(paths.results())
    refused(train(), str(stores / "small"), FULL, "make room")
    assert tree(stores) == {}
    disk(stores, LARGE)
    refused(train(), "train.npz", FULL, "make room")
    assert tree(checkpoints) == {}
    assert len(list(stores.glob("small/*/mel.u8"))) == 1
    disk(checkpoints, LARGE)
    refused(train(), str(paths.results("small") / "squeezenet-"), FULL, "make room")
    names = {f"small/{name}" for name in ("manifest.csv", "table1.csv", "partition.json")}
    assert tree(paths.results()).keys() == {*before, *names}
    assert not list(paths.results("small").glob(".*"))
    disk(paths.results(), LARGE)
    status, out, _ = train()
    assert status == 0
    assert "phase 1 epoch" not in out  # nothing of the training was lost with the folder
    assert len(list(paths.results("small").glob("squeezenet-*/run.json"))) == 1
    assert before.items() <= tree(paths.results()).items()


def test_a_read_only_folder_is_refused_before_any_work(command, disk, table, train):
    results = paths.results()
    if os.geteuid():
        results.mkdir()
        results.chmod(0o500)
    else:  # root may write everywhere
        disk(results, LARGE, "ro")
    done = train()
    refused(done, str(results / "small"), "make the folder")
    assert "epoch" not in done[1]
    refused(command("partition", table), str(results / "small"), "make the folder")
    if os.geteuid():
        results.chmod(0o700)
    else:
        disk(results, LARGE, "rw")
    assert command("partition", table)[0] == 0


def test_a_file_that_vanishes_or_changes_is_named_and_nothing_is_mixed(command, table, train):
    assert (command("partition", table)[0], train()[0]) == (0, 0)
    (record,) = paths.results("small").glob("squeezenet-*/run.json")
    run, rows = record.parent, manifest.build(cards.load(str(table))).table
    before, stores = tree(run), sorted(paths.cache().rglob("mel.u8"))
    file = table.parent / rows.query("partition == 'devel'")["path"].iloc[0]
    audio, rate = soundfile.read(file)
    file.unlink()
    for done in (command("partition", table), train()):
        assert_refused(done, "there is no such file", file.name)
    soundfile.write(file, audio[::-1], rate)
    for done in (command("partition", table), train()):
        refused(done, file.name, "--name", str(table))
    assert tree(run) == before
    assert sorted(paths.cache().rglob("mel.u8")) == stores
    paths.results("small").rename(paths.results("before"))
    assert (command("partition", table)[0], train()[0]) == (0, 0)
    assert len(list(paths.cache().rglob("mel.u8"))) == 2
    rebuilt = load_manifest(cards.load(str(table)))
    assert runs.load(run).record["manifest"] == manifest.digest(rebuilt)
    assert (run / "predictions.csv").read_bytes() != before["predictions.csv"]


JOB = """
import pathlib, sys, time
from dslite import cli

def command():
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(300)

cli.app = command
cli.run()
"""
STARTS = "import subprocess, sys; subprocess.run(sys.argv[2:])"


@pytest.mark.parametrize(
    ("name", "shell", "ends"),
    [("snakemake", " && true", True), ("not-snakemake", "", False)],
)
def test_a_job_ends_with_the_workflow_that_started_it(tmp_path, name, shell, ends):
    """A command that lasts, below a process whose command line holds that name."""
    ready = tmp_path / "ready"
    words = [sys.executable, "-c", JOB, str(ready)]
    # A shell with more to do stays between the two.
    words = ["bash", "-c", f'"$@"{shell}', "bash", *words] if shell else words
    started = subprocess.Popen([sys.executable, "-c", STARTS, f"/bin/{name}", *words])
    while not ready.exists():
        assert started.poll() is None
        time.sleep(0.05)
    below = psutil.Process(started.pid).children(recursive=True)
    (job,) = (p for p in below if str(ready) in p.cmdline() and p.name() != "bash")
    started.kill()
    # Not waited for yet: a dead process that is still listed has ended all the same.
    psutil.wait_procs([job], timeout=60 if ends else 3 * cli.POLL_S)
    ended = not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    started.wait(60)
    if not ended:
        job.kill()
    assert ended == ends

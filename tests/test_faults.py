"""A full disk, a folder that must not be written to, a corpus that changes: told, nothing lost."""

import functools
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from dslite import cards, cli, paths
from dslite.datasets import load_manifest, manifest
from dslite.features import store
from dslite.training import experiment, runs
from tests.refusals import assert_refused

refused = functools.partial(assert_refused, worked=True)
FULL = os.strerror(28)
LARGE = "64m"
QUICK = ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0", "--set", "bootstrap_draws=10"]


@pytest.fixture
def disk():
    """Puts a small file system at a folder: ``disk(folder, "64k")``; again, with another size."""
    mounted = []

    def mount(folder: Path, size: str, mode: str = "rw"):
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
    """A copy of the small corpus, an empty cache and empty results: the table's path."""
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    shutil.copytree(small_corpus.parent, tmp_path / "small")
    return tmp_path / "small" / "small.csv"


@pytest.fixture
def train(command, table, tiny):
    """Train a network that takes seconds: gives status, stdout and stderr."""
    return lambda: command("train", table, "--weights", tiny, *QUICK)


def tree(folder):
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_no_space_on_the_way_of_a_run_and_then_it_goes_on(disk, train):
    stores, checkpoints = paths.cache() / "spectrograms", paths.cache() / "checkpoints"
    disk(stores, "128k")
    disk(checkpoints, "8k")
    disk(paths.results(), "64k")
    earlier = paths.results("small") / "earlier.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    before = tree(paths.results())
    refused(train(), str(stores / "small"), FULL, "make room")
    assert tree(stores) == {}
    disk(stores, LARGE)
    refused(train(), "train.npz", FULL, "make room")
    assert tree(checkpoints) == {}
    assert len(list(stores.glob("small/*/mel.u8"))) == 1
    disk(checkpoints, LARGE)
    refused(train(), str(paths.results("small") / "squeezenet-"), FULL, "make room")
    assert tree(paths.results()) == before
    assert not list(paths.results("small").glob(".*"))
    disk(paths.results(), LARGE)
    status, out, _ = train()
    assert status == 0
    assert "phase 1 epoch" not in out  # nothing of the training was lost with the folder
    assert len(list(paths.results("small").glob("squeezenet-*/run.json"))) == 1
    assert before.items() <= tree(paths.results()).items()


@pytest.mark.parametrize("spare", [1 << 30, -(1 << 40)])  # seen before, and while writing
def test_no_space_for_the_trunk_cache(disk, table, monkeypatch, spare):
    folder = paths.cache() / "activations"
    lines = []

    def load():
        values, place = np.ones((50, 1000), np.float32), folder / "small" / "key"
        options = (values.shape, lambda part: values[part], 10, 1.0, lines.append)
        return store.load_activations(place, *options)

    monkeypatch.setattr(store, "SPARE", spare)
    disk(folder, "64k")
    assert load() is None
    (message,) = [line for line in lines if "the frozen layers run at every step" in line]
    assert (FULL if spare < 0 else "are free on the disk") in message
    assert tree(folder) == {}
    monkeypatch.setattr(store, "SPARE", 0)
    disk(folder, LARGE)
    assert load() is not None


@pytest.mark.slow
def test_a_run_without_space_for_the_trunk_cache_has_the_same_numbers(table, monkeypatch, tiny):
    card = cards.load(str(table))
    overrides = {"weights": str(tiny), "epochs_phase1": 1, "epochs_phase2": 0}
    settings, results, lines = cards.settings_of(card, "", overrides), {}, []
    usage = namedtuple("usage", "total used free")
    for space in (1 << 40, 0):
        monkeypatch.setattr(store.shutil, "disk_usage", lambda _, n=space: usage(n, 0, n))
        run = experiment.train(load_manifest(card), settings, 0, force=True, log=lines.append)
        names = ("metrics.json", "predictions.csv")
        results[space] = [(run.folder / name).read_bytes() for name in names]
        shutil.rmtree(paths.cache() / "activations")
    assert sum("the frozen layers run at every step" in line for line in lines) == 1
    assert results[0] == results[1 << 40]


@pytest.mark.notebooks
def test_no_space_for_a_notebook(command, disk, table):
    folder = paths.results("small") / "notebooks"
    disk(folder, "12k")
    words = ("notebook", "1_partition", folder / "1_partition.ipynb", "-p", f"dataset={table}")
    refused(command(*words), str(folder / "1_partition.ipynb"), FULL, "make room")
    assert not (folder / "1_partition.ipynb").exists()
    assert not list(folder.glob(".*"))
    disk(folder, LARGE)
    assert command(*words)[0] == 0
    assert list(tree(folder)) == ["1_partition.ipynb"]


def test_a_limit_of_file_size_needs_no_rights(command, table):
    load_manifest(cards.load(str(table)))  # decoded; only the results are to be written
    older = paths.results("small") / "manifest.csv"
    older.parent.mkdir(parents=True)
    older.write_text("earlier")
    words = [sys.executable, "-m", "dslite", "partition", str(table)]
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    options = {"capture_output": True, "text": True, "cwd": paths.ROOT}
    limited = subprocess.run(words, preexec_fn=limit, **options)
    refused((limited.returncode, "", limited.stderr), str(older), "make room")
    assert tree(paths.results()) == {"small/manifest.csv": b"earlier"}
    assert command("partition", table)[0] == 0
    assert older.read_text().startswith("path,")


def test_a_read_only_folder_is_told_before_any_work(command, disk, table, train):
    results = paths.results()
    disk(results, LARGE)
    assert command("partition", table)[0] == 0
    before = tree(results)
    disk(results, LARGE, "ro")
    named = str(results / "small" / "manifest.csv")
    refused(command("partition", table), named, "make the folder")
    done = train()
    refused(done, str(results / "small"), "make the folder")
    assert "epoch" not in done[1]
    assert tree(results) == before
    disk(results, LARGE, "rw")
    assert command("partition", table)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(command, table):
    paths.results().mkdir()
    paths.results().chmod(0o500)
    refused(command("partition", table), "cannot be written", "make the folder writable")
    paths.results().chmod(0o700)
    assert command("partition", table)[0] == 0


def test_a_file_that_vanishes_or_changes_is_named_and_nothing_is_mixed(command, table, train):
    assert command("partition", table)[0] == 0
    assert train()[0] == 0
    (record,) = paths.results("small").glob("squeezenet-*/run.json")
    run, rows = record.parent, manifest.build(cards.load(str(table))).table
    before, stores = tree(run), sorted(paths.cache().rglob("mel.u8"))
    file = table.parent / rows.loc[rows["partition"] == "devel", "path"].iloc[0]
    audio, rate = soundfile.read(file)
    file.unlink()
    for done in (command("partition", table), train()):
        assert_refused(done, "there is no such file", file.name)
    soundfile.write(file, audio[::-1], rate)
    refused(train(), file.name, "dslite partition")
    assert tree(run) == before
    assert sorted(paths.cache().rglob("mel.u8")) == stores
    assert command("partition", table)[0] == 0
    assert train()[0] == 0
    assert len(list(paths.cache().rglob("mel.u8"))) == 2
    digest = manifest.digest(load_manifest(cards.load(str(table))))
    assert runs.load(run).record["manifest"] == digest
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


def job_below(name, shell, folder):
    """A command that lasts, below a process whose command line holds a name: both of them."""
    ready = folder / "ready"
    words = [sys.executable, "-c", JOB, str(ready)]
    # A shell with more to do stays between the two.
    words = ["bash", "-c", f'"$@"{shell}', "bash", *words] if shell else words
    started = subprocess.Popen([sys.executable, "-c", STARTS, name, *words])
    while not ready.exists():
        assert started.poll() is None
        time.sleep(0.05)
    below = psutil.Process(started.pid).children(recursive=True)
    (job,) = (p for p in below if str(ready) in p.cmdline() and p.name() != "bash")
    return started, job


@pytest.mark.parametrize("shell", ["", " && true"])
def test_a_job_ends_with_the_workflow_that_started_it(tmp_path, shell):
    started, job = job_below("/bin/snakemake", shell, tmp_path)
    started.kill()
    # Not waited for yet: a dead process that is still listed has ended all the same.
    psutil.wait_procs([job], timeout=60)
    assert not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    started.wait(60)


def test_a_command_that_is_no_job_outlives_its_shell(tmp_path):
    started, job = job_below("/bin/not-snakemake", "", tmp_path)
    started.kill()
    started.wait(60)
    time.sleep(3 * cli.POLL_S)
    assert job.is_running()
    job.kill()

"""A full disk, a folder that must not be written to, a corpus that changes: said, nothing lost."""

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
from dslite.settings import Settings
from dslite.training import experiment, runs

FULL = os.strerror(28)
LARGE = "64m"
# The new command of a run that takes seconds.
QUICK = ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0", "--set", "bootstrap_draws=10"]


@pytest.fixture
def disk():
    """Puts a small file system at a folder: ``disk(folder, "64k")``; again, with another size."""
    mounted = []

    def make(folder: Path, size: str, how: str = "rw"):
        folder.mkdir(parents=True, exist_ok=True)
        options = f"{'remount,' if folder in mounted else ''}size={size},{how}"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
        mounted.extend([folder] if folder not in mounted else [])

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def place(tmp_path, monkeypatch, small_corpus):
    """A copy of the small corpus, an empty cache and empty results: the table's path."""
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    shutil.copytree(small_corpus.parent, tmp_path / "small")
    return tmp_path / "small" / "small.csv"


def tree(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    }


def assert_told(done, *words):
    """One line on what the user can mend, status 2."""
    status, _, err = done
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2, err
    assert len(said) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in said[0]


def train(command, table, weights):
    return command("train", table, "--weights", weights, *QUICK)


# A full disk


def test_no_space_for_a_runs_folder(command, disk, place, tiny):
    disk(paths.results(), "64k")
    earlier = paths.results("small") / "other-none-s0"
    earlier.mkdir(parents=True)
    (earlier / "run.json").write_text("{}")
    before = tree(paths.results())
    named = str(paths.results("small") / "squeezenet-")
    assert_told(train(command, place, tiny), named, FULL, "make room")
    assert tree(paths.results()) == before
    assert not list(paths.results("small").glob(".*"))
    disk(paths.results(), LARGE)
    status, out, _ = train(command, place, tiny)
    assert status == 0
    # Nothing of the training was lost with the folder.
    assert "phase 1 epoch" not in out
    assert len(list(paths.results("small").glob("squeezenet-*/run.json"))) == 1
    assert before.items() <= tree(paths.results()).items()


def test_no_space_for_a_checkpoint(command, disk, place, tiny):
    folder = paths.cache() / "checkpoints"
    disk(folder, "8k")
    assert_told(train(command, place, tiny), "train.npz", FULL, "make room")
    assert tree(folder) == {}
    assert not list(paths.results().rglob("run.json"))
    disk(folder, LARGE)
    assert train(command, place, tiny)[0] == 0


def test_no_space_for_the_spectrograms(command, disk, place, tiny):
    folder = paths.cache() / "spectrograms"
    disk(folder, "128k")
    assert_told(train(command, place, tiny), str(folder / "small"), FULL, "make room")
    assert tree(folder) == {}
    disk(folder, LARGE)
    assert train(command, place, tiny)[0] == 0
    assert len(list(folder.glob("small/*/mel.u8"))) == 1


def stored(place, lines):
    return store.load_activations(
        paths.cache() / "activations" / "small" / "key",
        (50, 1000),
        lambda part: np.ones((50, 1000), np.float32)[part],
        10,
        1.0,
        lines.append,
    )


@pytest.mark.parametrize("spare", [1 << 30, -(1 << 40)])  # found before, and while writing
def test_no_space_for_the_trunk_cache(disk, place, monkeypatch, spare):
    monkeypatch.setattr(store, "SPARE", spare)
    folder = paths.cache() / "activations"
    disk(folder, "64k")
    lines = []
    assert stored(place, lines) is None
    said = [line for line in lines if "the frozen layers run at every step" in line]
    assert len(said) == 1
    assert (FULL if spare < 0 else "are free on the disk") in said[0]
    assert tree(folder) == {}
    monkeypatch.setattr(store, "SPARE", 0)
    disk(folder, LARGE)
    assert stored(place, lines) is not None


def test_a_run_without_space_for_the_trunk_cache_has_the_same_numbers(place, monkeypatch, tiny):
    """All that such a machine lacks is time."""
    card = cards.load(str(place))
    settings = {"weights": str(tiny), "epochs_phase1": 1, "epochs_phase2": 0}
    used, found, lines = cards.settings_of(card, "", settings), {}, []
    usage = namedtuple("usage", "total used free")
    for room in (1 << 40, 0):
        monkeypatch.setattr(store.shutil, "disk_usage", lambda _, r=room: usage(r, 0, r))
        run = experiment.train(load_manifest(card), used, 0, force=True, log=lines.append)
        found[room] = [(run.folder / n).read_bytes() for n in ("metrics.json", "predictions.csv")]
        shutil.rmtree(paths.cache() / "activations")
    assert sum("the frozen layers run at every step" in line for line in lines) == 1
    assert found[0] == found[1 << 40]


def test_no_space_for_a_notebook(command, disk, place):
    folder = paths.results("small") / "notebooks"
    disk(folder, "12k")
    words = ("notebook", "1_partition", folder / "1_partition.ipynb", "-p", f"dataset={place}")
    assert_told(command(*words), str(folder / "1_partition.ipynb"), FULL, "make room")
    assert not (folder / "1_partition.ipynb").exists()
    assert not list(folder.glob(".*"))
    disk(folder, LARGE)
    assert command(*words)[0] == 0
    assert list(tree(folder)) == ["1_partition.ipynb"]


def limited(*words, size=None):
    """The command in a process that can write no file larger than so many bytes."""
    limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))) if size else None
    done = subprocess.run(
        [sys.executable, "-c", "from dslite import cli; cli.run()", *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_limit_of_file_size_needs_no_rights(command, place):
    load_manifest(cards.load(str(place)))  # decoded; only the results are to be written
    older = paths.results("small") / "manifest.csv"
    older.parent.mkdir(parents=True)
    older.write_text("earlier")
    assert_told(limited("partition", place, size=4096), str(older), "make room")
    assert tree(paths.results()) == {"small/manifest.csv": b"earlier"}
    assert limited("partition", place)[0] == 0
    assert older.read_text().startswith("path,")


# A folder that must not be written to


def test_a_read_only_folder_is_told_before_the_training(command, disk, place, tiny):
    results = paths.results()
    disk(results, LARGE, "ro")
    done = train(command, place, tiny)
    assert_told(done, str(results / "small"), "make the folder")
    assert "epoch" not in done[1]
    disk(results, LARGE, "rw")
    assert train(command, place, tiny)[0] == 0


def test_a_read_only_file_system(command, disk, place):
    assert command("partition", place)[0] == 0
    results = paths.results()
    moved = results.with_name("moved")
    results.rename(moved)
    disk(results, LARGE)
    shutil.copytree(moved, results, dirs_exist_ok=True)
    disk(results, LARGE, "ro")
    before = tree(results)
    assert_told(
        command("partition", place), str(results / "small" / "manifest.csv"), "make the folder"
    )
    assert tree(results) == before
    disk(results, LARGE, "rw")
    assert command("partition", place)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(command, place):
    paths.results().mkdir()
    paths.results().chmod(0o500)
    assert_told(command("partition", place), "cannot be written", "make the folder writable")
    paths.results().chmod(0o700)
    assert command("partition", place)[0] == 0


# A corpus that changes between two stages


@pytest.fixture
def trained(command, place, tiny):
    """Divided, trained: the run's folder."""
    assert command("partition", place)[0] == 0
    assert train(command, place, tiny)[0] == 0
    (found,) = paths.results("small").glob("squeezenet-*/run.json")
    return found.parent


def first_file(place, partition):
    table = manifest.build(cards.load(str(place))).table
    return place.parent / table.loc[table["partition"] == partition, "path"].iloc[0]


def test_a_file_that_vanishes_is_named_and_nothing_is_mixed(command, place, tiny, trained):
    before, stores = tree(trained), sorted(paths.cache().rglob("mel.u8"))
    gone = first_file(place, "devel")
    gone.unlink()
    for words in (("partition",), ("train", "--weights", tiny, *QUICK)):
        status, _, err = command(words[0], place, *words[1:])
        assert status == 2
        assert "there is no such file" in err
        assert gone.name in err
    assert tree(trained) == before
    assert sorted(paths.cache().rglob("mel.u8")) == stores


def test_a_file_that_changes_is_named_and_nothing_is_mixed(command, place, tiny, trained):
    before, stores = tree(trained), sorted(paths.cache().rglob("mel.u8"))
    changed = first_file(place, "devel")
    audio, rate = soundfile.read(changed)
    soundfile.write(changed, audio[::-1], rate)
    assert_told(train(command, place, tiny), changed.name, "dslite partition")
    assert tree(trained) == before
    assert sorted(paths.cache().rglob("mel.u8")) == stores
    assert command("partition", place)[0] == 0
    assert train(command, place, tiny)[0] == 0
    assert len(list(paths.cache().rglob("mel.u8"))) == 2
    now = runs.load(trained).record
    assert now["manifest"] == manifest.digest(load_manifest(cards.load(str(place))))
    assert (trained / "predictions.csv").read_bytes() != before["predictions.csv"]


# What lies in the cache; the stores of spectrograms and activations: test_loader, test_activations


def test_damaged_facts_of_the_audio_are_told_and_made_again(place, capsys):
    card = cards.load(str(place))
    whole = manifest.build(card).table
    file = paths.cache() / "audio" / "small.csv"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1  # of a hash: it would be a hash still
    assert content.decode()
    file.write_bytes(content)
    capsys.readouterr()
    assert manifest.build(card).table.equals(whole)
    said = capsys.readouterr().err.splitlines()
    assert [str(file) in line for line in said if "damaged" in line] == [True]
    assert manifest.build(card).table.equals(whole)
    assert capsys.readouterr().err == ""


def test_a_store_of_an_unreadable_index_is_told(place, capsys):
    card, used = cards.load(str(place)), Settings(image_size=32, mel_bands=32, weights="random")
    built = load_manifest(card)
    store.load_spectrograms(built, used)
    (index,) = paths.cache().rglob(store.INDEX)
    index.write_bytes(b"\xff\xfe\0")
    capsys.readouterr()
    store.load_spectrograms(built, used)
    assert f"{index} is damaged" in capsys.readouterr().out


# What a killed workflow leaves running

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
    (job,) = (
        process
        for process in psutil.Process(started.pid).children(recursive=True)
        if str(ready) in process.cmdline() and process.name() != "bash"
    )
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
    """As with nohup."""
    started, job = job_below("/bin/not-snakemake", "", tmp_path)
    started.kill()
    started.wait(60)
    time.sleep(3 * cli.POLL_S)
    assert job.is_running()
    job.kill()

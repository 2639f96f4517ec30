"""A full disk, a folder that must not be written to, a corpus that changes: nothing is lost."""

import functools
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import soundfile

from dslite import cards, cli, paths
from dslite.datasets import load_manifest, manifest
from dslite.training import runs
from tests.refusals import assert_refused, refusal

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


@pytest.fixture
def nobody():
    """A folder in which the test, even of root, has no rights but those that files give it."""
    # Nobody may not read the environment, perhaps.
    for module in ("dslite.datasets.pattern", "dslite.datasets.table", "encodings.utf_8_sig"):
        importlib.import_module(module)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    if root := os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    for place, _, _ in os.walk(folder):
        Path(place).chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.name != "posix", reason="rights are others'")
@pytest.mark.parametrize("mode", [0o600, 0o300, 0])
def test_a_folder_that_may_not_be_entered_or_listed_is_one_line(nobody, monkeypatch, mode):
    monkeypatch.setenv("DSLITE_CACHE", str(nobody / "cache"))
    for label in ("happy", "sad"):
        (nobody / "my" / label).mkdir(parents=True)
        soundfile.write(nobody / "my" / label / "a.wav", [0.1] * 1600, 16000)
    (nobody / "my.csv").write_text("path,label\nmy/happy/a.wav,happy\nmy/sad/a.wav,sad\n")
    (nobody / "my" / "happy").chmod(mode)
    for corpus in (nobody / "my", nobody / "my.csv"):
        if corpus.suffix and mode == 0o300:  # by its path each file is read
            continue
        card = cards.load(str(corpus))
        message = refusal(manifest.build, card)
        assert str(nobody / "my" / "happy") in message
        assert "cannot be read (Permission denied)" in message
    (nobody / "my").chmod(0)
    assert "Permission denied" in refusal(cards.load, str(nobody / "my" / "my.csv"))
    assert "Permission denied" in refusal(runs.load, nobody / "my" / "run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["datasets"], ["--help"]])
def test_a_full_standard_output_is_one_line(words):
    with Path("/dev/full").open("w") as sink:
        words = [sys.executable, "-m", "dslite", *words]
        done = subprocess.run(words, stdout=sink, stderr=subprocess.PIPE, text=True)
    message = "error: standard output: No space left on device: there is no space for it, make room"
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("value", ['a=1"; touch x; `touch x`', "$(touch x) b/c'd", ""])
def test_what_make_is_given_is_never_a_command(tmp_path, value):
    """On the command line, where $ is make's own, and from the environment."""
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    script = "#!/bin/sh\n[ $(basename $0) = dslite ] || printf '%s\\n' \"$@\" > words\n"
    for name in ("snakemake", "dslite", "python"):
        (binaries / name).write_text(script)
        (binaries / name).chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, tmp_path)
    (binaries.parent / ".ready").touch()
    keys = ("OVERRIDES", "WEIGHTS", "PRESET", "BACKBONE", "SEED", "ONLY")
    words = ["make", "-s", "VENV=venv", "PYTHON=true"]
    asked = [f"{key.lower()}={value}" for key in keys[:-1] if value]
    escaped = [f"{key}={value.replace('$', '$$')}" for key in keys]
    for more, environment in (([], dict.fromkeys(keys, value)), (escaped, {})):
        for target, expected in (("demo", asked), ("test-all", ["-k", value] if value else [])):
            environment = os.environ | environment
            subprocess.run([*words, target, *more], cwd=tmp_path, env=environment, check=True)
            handed = (tmp_path / "words").read_text().splitlines()
            after = {"demo": "--config", "test-all": "--no-loadscope-reorder"}[target]
            assert sorted(handed[handed.index(after) + 1 :]) == sorted(expected)
    assert not (tmp_path / "x").exists()


def test_a_run_is_trained_by_one_process_at_a_time(command, table, monkeypatch):
    """And one that comes when the other has just finished takes that."""
    words = ("baseline", table, "--features", "librosa")
    claimed, claims, seconds = runs.claimed, [], []

    def nested(place):
        claims.append(place)
        if len(claims) == 1:
            with claimed(place):
                seconds.append(command(*words))
            seconds.append(command(*words))
        return claimed(place)

    monkeypatch.setattr(runs, "claimed", nested)
    status, out, _ = command(*words)
    refused(seconds[0], claims[0].name, "another process trains this run", str(os.getpid()))
    assert (seconds[1][0], status, len(set(claims))) == (0, 0, 1)
    assert "chosen on devel" in seconds[1][1]
    assert "not repeated" in out
    assert not list(paths.results("small").glob(".*"))

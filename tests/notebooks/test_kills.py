"""Killed (SIGKILL) at random moments, by part of the workflow, and completed by one more command.

``DSLITE_KILL_SEED`` draws other moments; the slow ones kill more often, over more notebooks.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest

from tests.notebooks.workflow import Workflow

pytestmark = [
    pytest.mark.notebooks,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans run to their end"),
]

CONFIG = ("overrides=epochs_phase1=1 bootstrap_draws=10",)
SHORT = tuple(f"results/small/notebooks/3_training-{name}.ipynb" for name in ("none", "cutmix"))
LONG = ("results/small/ablation.csv", "results/small/tflite.csv")
KINDS = ("kernel", "papermill", "snakemake", "group")
OPTIONS = ("--cores", "2", "--rerun-incomplete")
LOCKED = "Directory cannot be locked"
# Bytes of these have to be the same.
EXACT = ("manifest.csv", "table1.csv", "partition.json", "ablation.csv")
EXACT += ("metrics.json", "predictions.csv")
EXACT += ("runs.csv", "seeds.csv", "comparisons.csv")  # of a study
# These hold measured times and memory as well; everything but these columns has to be the same.
TIMED = {
    "history.csv": ["seconds", "images_per_s"],
    "tflite.csv": ["ms", "ms_median", "ms_p95", "ms_std", "runs", "peak_mb", "growth_mb"],
}


def words_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def family(process):
    """Everything that a process has started, and what that has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def of_kind(kind, process):
    """Processes of one kind below a Snakemake."""
    if kind in ("snakemake", "group"):
        return [process]
    word = {"kernel": "ipykernel_launcher", "papermill": "dslite notebook"}[kind]
    return [each for each in family(process) if word in words_of(each)]


def kill(workflow, kind, delay, rng):
    """Start the workflow and kill a part of it so many seconds later; False: too late."""
    process = workflow.start()
    time.sleep(delay)
    while not (victims := of_kind(kind, process)) and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is not None:
        assert process.returncode == 0, workflow.log.read_text()[-3000:]
        return False
    left = family(process)
    (os.killpg if kind == "group" else os.kill)(rng.choice(victims).pid, signal.SIGKILL)
    status = process.wait(600)
    # Nobody is left behind who could write beside the next one.
    _, alive = psutil.wait_procs(left, timeout=120)
    assert [words_of(each) for each in alive] == []
    if kind == "kernel" and status == 0:  # its last cell had run, and nobody missed it
        return False
    if kind in ("kernel", "papermill"):
        assert status == 1
        assert "Error in rule" in workflow.log.read_text()
    else:
        assert status == -signal.SIGKILL
    return True


def tables(results):
    """What must not depend on any kill: name -> content."""
    contents = {}
    for file in sorted(results.rglob("*")):
        name = str(file.relative_to(results))
        if file.name in EXACT:
            contents[name] = file.read_bytes()
        elif file.name in TIMED:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            contents[name] = table.drop(columns=TIMED[file.name], errors="ignore").to_csv()
    return contents


def assert_whole(results):
    """What bears a finished notebook's name is one."""
    for file in results.rglob("notebooks/[0-9]*.ipynb"):
        if not file.name.endswith(".failed.ipynb"):
            executed = nbformat.read(file, as_version=4).metadata.papermill
            assert executed.exception is None, file
            assert executed.end_time, file


def unlocked(workflow):
    """As the message of a killed Snakemake's successor says."""
    status, log = workflow.run()
    if status == 0:  # it was killed between its last job and its end, and had locked nothing more
        assert LOCKED not in log
        return
    assert LOCKED in log
    assert "--unlock" in log
    assert "Traceback" not in log
    assert workflow.run("--unlock")[0] == 0


def killed(workflow, count, longest, rng):
    """Kill the workflow so many times; it may be through before, and begins anew then."""
    kinds = rng.sample(KINDS * (-(-count // len(KINDS))), count)
    refused = False
    for kind in kinds:
        while not kill(workflow, kind, rng.uniform(0.5, longest), rng):
            shutil.rmtree(workflow.results)  # all of it once more, with the cache as it is
        assert_whole(workflow.results)
        if kind in ("snakemake", "group"):
            if not refused:
                unlocked(workflow)
                refused = True
            else:
                workflow.run("--unlock")


def undisturbed(folder, targets, config):
    """A workflow that went through; how long it took; what a second one beside it got to hear."""
    workflow = Workflow(folder, *targets, config=config, options=OPTIONS)
    begin = time.monotonic()
    process = workflow.start()
    while not of_kind("papermill", process):
        assert process.poll() is None, workflow.log.read_text()[-3000:]
        time.sleep(0.05)
    second = Workflow(folder, *targets, config=config, options=OPTIONS)
    second.log = folder / "second"
    refused = second.run()
    assert process.wait(900) == 0, workflow.log.read_text()[-3000:]
    return workflow, time.monotonic() - begin, refused


def config_of(table):
    return (f"dataset={table}", *CONFIG)


@pytest.fixture(scope="module")
def short(small_corpus, tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("kills") / "whole", SHORT, config_of(small_corpus))


def test_a_second_snakemake_on_the_same_results_is_refused(short):
    _, _, (status, log) = short
    assert status == 1
    assert LOCKED in log
    assert "Traceback" not in log


def compared(whole, seconds, folder, targets, config, count):
    workflow = Workflow(folder, *targets, config=config, options=OPTIONS)
    rng = random.Random(int(os.environ.get("DSLITE_KILL_SEED", "0")))
    killed(workflow, count, seconds / 4, rng)
    status, log = workflow.run()
    assert status == 0, log[-3000:]
    contents, expected = tables(workflow.results), tables(whole.results)
    assert contents.keys() == expected.keys()
    assert [name for name in expected if contents[name] != expected[name]] == []
    names = [
        {str(f.relative_to(w.results)) for f in w.results.rglob("*")} for w in (workflow, whole)
    ]
    assert names[0] == names[1]  # no draft, no failed notebook


def test_killed_at_random_and_completed_the_tables_are_the_same(short, small_corpus, tmp_path):
    whole, seconds, _ = short
    expected = tables(whole.results)
    assert sum(name.endswith("predictions.csv") for name in expected) == len(SHORT)
    compared(whole, seconds, tmp_path / "killed", SHORT, config_of(small_corpus), 4)


@pytest.mark.slow
def test_killed_ten_times(small_corpus, tmp_path):
    config = config_of(small_corpus)
    whole, seconds, _ = undisturbed(tmp_path / "whole", LONG, config)
    compared(whole, seconds, tmp_path / "killed", LONG, config, 10)


@pytest.mark.slow
def test_the_demo_study_killed(tmp_path):
    whole, seconds, _ = undisturbed(tmp_path / "whole", (), ("study=demo",))
    assert {"runs.csv", "comparisons.csv"} <= {Path(name).name for name in tables(whole.results)}
    compared(whole, seconds, tmp_path / "killed", (), ("study=demo",), 5)

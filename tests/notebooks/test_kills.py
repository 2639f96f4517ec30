"""Killed (SIGKILL) at random moments, by part of the workflow, and completed by one more command.

``DSLITE_KILL_SEED`` draws other moments.
"""

import os
import random
import shutil
import signal
import sys
import time

import nbformat
import pandas as pd
import psutil
import pytest

from tests.notebooks.workflow import Workflow

pytestmark = [
    pytest.mark.notebooks,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans run to their end"),
]

SHORT = "overrides=epochs_phase1=1 epochs_phase2=0 units=4 bootstrap_draws=10"
PICTURES = ("results/small/notebooks/2_spectrograms.ipynb",)
CHAIN = tuple(f"results/small/notebooks/3_training-{name}.ipynb" for name in ("none", "cutmix"))
STUDY = """\
title: A network and a baseline
corpora: [{table}]
augmentations: [none]
overrides: {{epochs_phase1: 1, epochs_phase2: 0, units: 4, bootstrap_draws: 10}}
baselines: [librosa]
variants: []
"""
# What is killed, by a word of its command line; "" is Snakemake, itself or with its whole group.
PARTS = {"kernel": "ipykernel_launcher", "papermill": "dslite notebook"}
PARTS |= {"snakemake": "", "group": ""}
LOCKED = "Directory cannot be locked"
# Times differ from run to run; all else of these has to be the same, byte for byte.
EXACT = ("manifest.csv", "table1.csv", "partition.json", "metrics.json", "predictions.csv")
EXACT += ("history.csv", "runs.csv", "seeds.csv", "comparisons.csv")
TIMED = ["seconds", "images_per_s"]


def processes(process, word=""):
    """What a process has started, directly or not, with that word in its command line."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    matching = []
    for each in below:
        try:
            matching += [each] if word in " ".join(each.cmdline()) else []
        except psutil.Error:  # it has just ended
            continue
    return matching


def kill(workflow, part, delay, rng):
    """Start the workflow and kill a part of it so many seconds later; False: it was through."""
    process = workflow.start()
    time.sleep(delay)
    word = PARTS[part]
    victims = []
    while not victims and process.poll() is None:
        time.sleep(0.05)
        victims = processes(process, word) if word else [process]
    if process.poll() is not None:
        assert process.returncode == 0, workflow.log.read_text()[-3000:]
        return False
    started = processes(process)
    (os.killpg if part == "group" else os.kill)(rng.choice(victims).pid, signal.SIGKILL)
    status = process.wait(600)
    # Nobody is left behind who could write beside the next one.
    assert psutil.wait_procs(started, timeout=120)[1] == []
    # A kernel whose last cell had run is missed by nobody.
    assert status in ({1, 0} if part == "kernel" else {1} if word else {-signal.SIGKILL})
    assert status != 1 or "Error in rule" in workflow.log.read_text()
    return True


def contents(results):
    """What must not depend on any kill: every file's name, and some files' content."""
    files = {str(f.relative_to(results)): f for f in results.rglob("*") if f.is_file()}
    values = dict.fromkeys(files)
    for name, file in files.items():
        if file.name == "history.csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            values[name] = table.drop(columns=TIMED, errors="ignore").to_csv()
        elif file.name in EXACT:
            values[name] = file.read_bytes()
    return values


@pytest.mark.parametrize(
    ("targets", "parts"),
    [
        (PICTURES, ("group",)),
        pytest.param(CHAIN, ("kernel", "papermill"), marks=pytest.mark.huge),
        pytest.param((), ("papermill", "snakemake"), marks=pytest.mark.huge),
    ],
    ids=["pictures", "chain", "study"],
)
def test_killed_and_completed_the_files_are_the_same(small_corpus, tmp_path, targets, parts):
    config = (f"dataset={small_corpus}", SHORT)
    if not targets:
        (tmp_path / "two.yaml").write_text(STUDY.format(table=small_corpus), "utf-8")
        config = (f"study={tmp_path}/two.yaml",)
    options = {"config": config, "options": ("--cores", "2", "--rerun-incomplete")}
    whole, begin = Workflow(tmp_path / "whole", *targets, **options), time.monotonic()
    process = whole.start()
    while not processes(process, PARTS["papermill"]):
        assert process.poll() is None, whole.log.read_text()[-3000:]
        time.sleep(0.05)
    second = Workflow(whole.folder, *targets, **options)  # beside it
    second.log = whole.folder / "second"
    status, log = second.run()
    assert (status, LOCKED in log, "Traceback" in log) == (1, True, False)
    assert process.wait(900) == 0, whole.log.read_text()[-3000:]
    seconds = time.monotonic() - begin
    workflow = Workflow(tmp_path / "killed", *targets, **options)
    rng = random.Random(int(os.environ.get("DSLITE_KILL_SEED", "0")))
    for part in rng.sample(parts, len(parts)):
        while not kill(workflow, part, rng.uniform(0.5, seconds / 4), rng):
            shutil.rmtree(workflow.results)  # all of it once more, with the cache as it is
        patterns = ("*/notebooks/*.ipynb", "*/notebooks/runs/*.ipynb")
        for file in [f for pattern in patterns for f in workflow.results.glob(pattern)]:
            if not file.name.endswith(".failed.ipynb"):  # what bears its name is finished
                executed = nbformat.read(file, as_version=4).metadata.papermill
                assert (executed.exception, bool(executed.end_time)) == (None, True), file
        if not PARTS[part]:  # as the message of its successor says
            status, log = workflow.run()
            assert status == 0 or (LOCKED in log and "--unlock" in log), log[-3000:]
            assert "Traceback" not in log
            assert workflow.run("--unlock")[0] == 0
    workflow.finish()
    after, expected = contents(workflow.results), contents(whole.results)
    assert after.keys() == expected.keys()  # no draft, no failed notebook
    assert [name for name in expected if after[name] != expected[name]] == []
    trained = 0 if targets == PICTURES else 2
    assert sum(name.endswith("predictions.csv") for name in expected) == trained

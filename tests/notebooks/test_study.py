"""Studies through the workflow: locally, with a grid, and on a real Slurm cluster of one node."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from dslite import paths
from tests.notebooks.workflow import Workflow

pytestmark = pytest.mark.notebooks

STUDY = """\
title: Two configurations
corpora: [{table}]
augmentations: [none, cutmix]
overrides: {{bootstrap_draws: 20, epochs_phase1: 1}}
baselines: [librosa]
variants: [float32]
"""
# What two runs of the same study must agree in, to the last byte; cost is times.
EQUAL = ("runs.csv", "seeds.csv", "comparisons.csv", "device-small-tuned-squeezenet.csv")
SLURM = ["--profile", str(paths.ROOT / "workflow/profiles/slurm"), "--slurm-no-account"]
SLURM += ["--slurm-status-command", "squeue", "--latency-wait", "5"]
SLURM += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
SLURM += ["--default-resources", "slurm_partition=main"]


def tables(workflow):
    """Folder of the tables of the study that a workflow runs."""
    study = Path(workflow.config[0].partition("=")[2])
    return workflow.results / "studies" / study.stem


@pytest.fixture(scope="module")
def study(small_corpus, tmp_path_factory):
    file = tmp_path_factory.mktemp("study") / "two.yaml"
    file.write_text(STUDY.format(table=small_corpus), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def local(study, tmp_path_factory):
    """The finished study."""
    return Workflow(tmp_path_factory.mktemp("local"), config=[f"study={study}"]).finish()


def test_a_study_leaves_its_tables(local):
    runs = pd.read_csv(tables(local) / "runs.csv")
    assert list(runs["augmentation"]) == ["none", "cutmix", "librosa"]
    assert set(runs["status"]) == {"finished"}
    assert runs[["devel", "test", "low", "high"]].notna().all(axis=None)
    for run in runs["run"]:
        assert (local.results / run / "run.json").is_file()
    compared = pd.read_csv(tables(local) / "comparisons.csv")
    assert list(compared["augmentation"]) == ["cutmix"]
    assert compared["comparisons"].tolist() == [1]
    device = pd.read_csv(tables(local) / "device-small-tuned-squeezenet.csv")
    assert device["file"].str.contains("float32").any()
    assert len(device) == 1
    cost = pd.read_csv(tables(local) / "cost.csv")
    assert (cost[["wall_s", "cpu_s", "peak_mib"]] > 0).all(axis=None)
    page = (tables(local) / "README.md").read_text("utf-8")
    assert all(run in page for run in runs["run"])


def test_a_finished_study_has_nothing_to_do_but_a_report(local):
    status, log = local.run()
    assert status == 0
    assert "Nothing to be done" in log
    local.finish("--report", "report.html")  # Snakemake's own
    assert "comparisons.csv" in (local.folder / "report.html").read_text("utf-8")


def test_a_study_that_shares_its_runs_shares_their_files(local, study):
    other = study.with_name("other.yaml")
    other.write_text(study.read_text("utf-8").replace("[none, cutmix]", "[none]"), "utf-8")
    shared = Workflow(local.folder, config=[f"study={other}"])
    status, log = shared.run("--dry-run")
    assert status == 0, log
    assert "study_tables" in log
    assert "study_training" not in log
    assert "study_command" not in log


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (["preset=paper"], "a study names its own"),
        (["gpu=1"], "did you mean 'gpus'"),
        (["study=demmo"], "did you mean 'demo'"),
    ],
)
def test_a_study_takes_no_other_options(local, config, message):
    status, log = local.run("--dry-run", config=config)
    assert status != 0
    assert message in log
    assert "Traceback" not in log


def test_a_grid_s_best_point_is_chosen_on_devel_and_tested_once(small_corpus, tmp_path):
    table = tmp_path / "own" / "small.csv"
    shutil.copytree(small_corpus.parent, table.parent)
    card = table.with_suffix(".yaml")
    text = card.read_text("utf-8").replace("bootstrap_draws: 50", "bootstrap_draws: 20")
    card.write_text(text + "grid: {learning_rate: [1.0, 0.00001]}\n", "utf-8")
    file = tmp_path / "grid.yaml"
    file.write_text(
        f"title: t\ncorpora: [{table}]\naugmentations: [none]\ngrid: true\n", encoding="utf-8"
    )
    workflow = Workflow(tmp_path, config=[f"study={file}"]).finish()
    choice = pd.read_csv(tables(workflow) / "choice-small-tuned-squeezenet-none-s0.csv")
    assert len(choice) == 2
    assert choice["chosen"].sum() == 1
    assert choice.loc[choice["chosen"], "devel"].item() == choice["devel"].max()
    runs = pd.read_csv(tables(workflow) / "runs.csv")
    candidates = runs[runs["run"].str.contains("/candidates/")]
    assert len(candidates) == 2
    assert candidates["test"].isna().all()
    (tested,) = runs[~runs["run"].str.contains("/candidates/")].to_dict("records")
    assert tested["test"] > 0
    assert tested["devel"] == pytest.approx(choice["devel"].max())
    assert (workflow.results / tested["run"] / "model.keras").is_file()


@pytest.fixture
def cluster():
    """A Slurm cluster with an idle node; one is started where the script for it is at hand."""
    if not shutil.which("sinfo") or not shutil.which("sbatch"):
        pytest.skip("no Slurm on this machine")
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="make slurm")

    def idle():
        done = subprocess.run(["sinfo", "-h", "-o", "%t %R"], capture_output=True, text=True)
        return done.returncode == 0 and "main" in done.stdout and "down" not in done.stdout

    script = paths.ROOT.parent / "shared" / "slurm" / "start-local-slurm"
    started = False
    if not idle():
        if os.geteuid() or not script.is_file():
            pytest.skip("no Slurm cluster runs here, and none can be started")
        started = True
        begun = subprocess.run([str(script)], capture_output=True, text=True, timeout=90)
        if begun.returncode:
            pytest.skip(f"the cluster did not start: {begun.stderr.strip()}")
    yield
    if started:
        subprocess.run([str(script), "stop"], capture_output=True, timeout=30)


@pytest.mark.slurm
def test_a_cluster_makes_the_same_tables(cluster, local, study, tmp_path):
    workflow = Workflow(tmp_path, config=[f"study={study}"], options=SLURM)
    status, log = workflow.run()
    assert status == 0, log[-5000:]
    assert "array job" in log  # of the trainings
    for name in EQUAL:
        assert (tables(workflow) / name).read_bytes() == (tables(local) / name).read_bytes(), name

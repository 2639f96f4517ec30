"""Studies through the workflow: locally, with a grid, and on a real Slurm cluster of one node."""

import os
import re
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


def table(workflow, name):
    study = Path(workflow.config[0].partition("=")[2])
    return workflow.results / "studies" / study.stem / name


@pytest.fixture(scope="module")
def study(small_corpus, tmp_path_factory):
    file = tmp_path_factory.mktemp("study") / "two.yaml"
    file.write_text(STUDY.format(table=small_corpus), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def local(study, tmp_path_factory):
    return Workflow(tmp_path_factory.mktemp("local"), config=[f"study={study}"]).finish()


def test_a_study_leaves_its_tables(local, study):
    runs = pd.read_csv(table(local, "runs.csv"))
    expected = [(name, "finished") for name in ("none", "cutmix", "librosa")]
    assert list(zip(runs["augmentation"], runs["status"], strict=True)) == expected
    assert runs[["devel", "test", "low", "high"]].notna().all(axis=None)
    for run in runs["run"]:
        assert (local.results / run / "run.json").is_file()
    compared = pd.read_csv(table(local, "comparisons.csv"))
    assert compared[["augmentation", "comparisons"]].to_numpy().tolist() == [["cutmix", 0]]
    (device,) = pd.read_csv(table(local, "device-small-tuned-squeezenet.csv"))["file"]
    assert "float32" in device
    cost = pd.read_csv(table(local, "cost.csv"))
    assert (cost[["wall_s", "cpu_s", "peak_mib"]] > 0).all(axis=None)
    page = table(local, "README.md").read_text("utf-8")
    assert all(run in page for run in runs["run"])
    # It has nothing more to do but a report.
    status, log = local.run()
    assert (status, "Nothing to be done" in log) == (0, True)
    local.finish("--report", "report.html")  # Snakemake's own
    assert "comparisons.csv" in (local.folder / "report.html").read_text("utf-8")
    # A study that shares its runs shares their files.
    other = study.with_name("other.yaml")
    other.write_text(study.read_text("utf-8").replace("[none, cutmix]", "[none]"), "utf-8")
    shared = Workflow(local.folder, config=[f"study={other}"])
    status, log = shared.run("--dry-run")
    assert status == 0, log
    assert "study_tables" in log
    assert not re.search("study_(training|command)", log)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (["preset=paper"], "a study names its own"),
        (["study=demmo"], "did you mean 'demo'"),
    ],
)
def test_a_study_takes_no_other_options(local, config, message):
    status, log = local.run("--dry-run", config=config)
    assert (status == 0, message in log, "Traceback" in log) == (False, True, False)


def test_a_grid_s_best_point_is_chosen_on_devel_and_tested_once(small_corpus, tmp_path):
    corpus = tmp_path / "corpus" / "small.csv"
    shutil.copytree(small_corpus.parent, corpus.parent)
    card = corpus.with_suffix(".yaml")
    text = card.read_text("utf-8").replace("bootstrap_draws: 50", "bootstrap_draws: 20")
    card.write_text(text + "grid: {learning_rate: [1.0, 0.00001]}\n", "utf-8")
    file = tmp_path / "grid.yaml"
    text = f"title: t\ncorpora: [{corpus}]\naugmentations: [none]\ngrid: true\n"
    text += "overrides: {epochs_phase1: 1, epochs_phase2: 0}\n"
    file.write_text(text, encoding="utf-8")
    workflow = Workflow(tmp_path, config=[f"study={file}"]).finish()
    choice = pd.read_csv(table(workflow, "choice-small-tuned-squeezenet-none-s0.csv"))
    assert len(choice) == 2
    assert choice.loc[choice["chosen"], "devel"].item() == choice["devel"].max()
    runs = pd.read_csv(table(workflow, "runs.csv"))
    is_candidate = runs["run"].str.contains("/candidates/")
    assert is_candidate.sum() == runs["test"].isna().sum() == 2
    (tested,) = runs[~is_candidate].to_dict("records")
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

    if idle():
        yield
        return
    script = paths.ROOT.parent / "shared" / "slurm" / "start-local-slurm"
    if os.geteuid() or not script.is_file():
        pytest.skip("no Slurm cluster runs here, and none can be started")
    if subprocess.run([str(script)], capture_output=True, timeout=90).returncode:
        pytest.skip("the cluster did not start")
    yield
    subprocess.run([str(script), "stop"], capture_output=True, timeout=30)


@pytest.mark.slurm
def test_a_cluster_makes_the_same_tables(cluster, local, study, tmp_path):
    workflow = Workflow(tmp_path, config=[f"study={study}"], options=SLURM)
    status, log = workflow.run()
    assert status == 0, log[-5000:]
    assert "array job" in log  # of the trainings
    for name in EQUAL:
        assert table(workflow, name).read_bytes() == table(local, name).read_bytes(), name

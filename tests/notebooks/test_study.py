"""Studies through the workflow: locally, with a grid, and on a real Slurm cluster of one node."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dslite import paths

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


class Workflow:
    """A folder in which Snakemake runs a study."""

    def __init__(self, folder: Path, study: Path):
        self.folder, self.study = folder, study
        own = {"DSLITE_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "2"}
        here = str(Path(sys.executable).parent)
        self.env = os.environ | own | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
        self.env.pop("DSLITE_RESULTS", None)

    @property
    def tables(self) -> Path:
        return self.folder / "results" / "studies" / self.study.stem

    def run(self, *words, config=()):
        command = ["snakemake", "-s", str(paths.ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), *words]
        command += ["--config", f"study={self.study}", *config]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=900
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def study(small_corpus, tmp_path_factory):
    file = tmp_path_factory.mktemp("study") / "two.yaml"
    file.write_text(STUDY.format(table=small_corpus), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def local(study, tmp_path_factory):
    """The finished study."""
    made = Workflow(tmp_path_factory.mktemp("local"), study)
    status, said = made.run("--cores", "2")
    assert status == 0, said[-5000:]
    return made


def test_a_study_leaves_its_tables(local):
    runs = pd.read_csv(local.tables / "runs.csv")
    assert list(runs["augmentation"]) == ["none", "cutmix", "librosa"]
    assert set(runs["status"]) == {"finished"}
    assert runs[["devel", "test", "low", "high"]].notna().all(axis=None)
    for run in runs["run"]:
        assert (local.folder / "results" / run / "run.json").is_file()
    compared = pd.read_csv(local.tables / "comparisons.csv")
    assert list(compared["augmentation"]) == ["cutmix"]
    assert compared["comparisons"].tolist() == [1]
    device = pd.read_csv(local.tables / "device-small-tuned-squeezenet.csv")
    assert device["file"].str.contains("float32").any()
    assert len(device) == 1
    cost = pd.read_csv(local.tables / "cost.csv")
    assert (cost[["wall_s", "cpu_s", "peak_mib"]] > 0).all(axis=None)
    page = (local.tables / "README.md").read_text("utf-8")
    assert all(run in page for run in runs["run"])


def test_a_finished_study_has_nothing_to_do(local):
    status, said = local.run("--cores", "1")
    assert status == 0
    assert "Nothing to be done" in said


def test_a_study_that_shares_its_runs_shares_their_files(local, study):
    other = study.with_name("other.yaml")
    other.write_text(study.read_text("utf-8").replace("[none, cutmix]", "[none]"), "utf-8")
    shared = Workflow(local.folder, other)
    status, said = shared.run("--cores", "1", "--dry-run")
    assert status == 0, said
    assert "study_tables" in said
    assert "study_training" not in said
    assert "study_command" not in said


def test_snakemake_s_own_report_holds_the_tables(local):
    status, said = local.run("--cores", "1", "--report", "report.html")
    assert status == 0, said
    assert "comparisons.csv" in (local.folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (["preset=paper"], "a study names its own"),
        (["gpu=1"], "did you mean 'gpus'"),
    ],
)
def test_a_study_takes_no_other_options(local, config, said):
    status, output = local.run("--cores", "1", "--dry-run", config=config)
    assert status != 0
    assert said in output
    assert "Traceback" not in output


def test_an_unknown_study_is_answered_with_those_there_are(local):
    made = Workflow(local.folder, Path("demmo"))
    status, output = made.run("--cores", "1", "--dry-run")
    assert status != 0
    assert "did you mean 'demo'" in output


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
    made = Workflow(tmp_path, file)
    status, said = made.run("--cores", "2")
    assert status == 0, said[-5000:]
    choice = pd.read_csv(made.tables / "choice-small-tuned-squeezenet-none-s0.csv")
    assert len(choice) == 2
    assert choice["chosen"].sum() == 1
    assert choice.loc[choice["chosen"], "devel"].item() == choice["devel"].max()
    runs = pd.read_csv(made.tables / "runs.csv")
    candidates = runs[runs["run"].str.contains("/candidates/")]
    assert len(candidates) == 2
    assert candidates["test"].isna().all()
    (tested,) = runs[~runs["run"].str.contains("/candidates/")].to_dict("records")
    assert tested["test"] > 0
    assert tested["devel"] == pytest.approx(choice["devel"].max())
    assert (tmp_path / "results" / tested["run"] / "model.keras").is_file()


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


def test_a_cluster_makes_the_same_tables(cluster, local, study, tmp_path):
    made = Workflow(tmp_path, study)
    status, said = made.run(*SLURM)
    assert status == 0, said[-5000:]
    assert "array job" in said  # of the trainings
    for name in EQUAL:
        assert (made.tables / name).read_bytes() == (local.tables / name).read_bytes(), name

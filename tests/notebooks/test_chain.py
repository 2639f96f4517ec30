"""All seven notebooks on the small corpus through the workflow, in a folder of its own."""

import json
import re
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest

from dslite import cards, paths
from dslite.paper import published
from dslite.settings import AUGMENTATIONS
from dslite.training import runs
from tests.notebooks.workflow import Workflow

pytestmark = pytest.mark.notebooks

TRAININGS = [f"3_training-{name}" for name in AUGMENTATIONS]
EXECUTED = ["1_partition", "2_spectrograms", *TRAININGS, "4_ablation", "5_tflite"]
EXECUTED += ["6_explainability", "7_paper"]
# Small in everything that takes time, and pre-trained, so that there are two phases.
QUICK = "bootstrap_draws=20"


@pytest.fixture(scope="session")
def chain(small_corpus, once):
    """The finished chain. Tests only read it."""
    config = (f"dataset={small_corpus}", f"overrides={QUICK}")
    target = "results/small/report.html"
    folder = once("chain", lambda folder: Workflow(folder, target, config=config).finish())
    return Workflow(folder, target, config=config)


@pytest.fixture
def named(small_corpus):
    """Name of a run's folder: a digest of what was overridden is part of it."""

    def name(augmentation="none", kind="", seed=0, overrides=QUICK):
        card = cards.load(str(small_corpus))
        settings = cards.settings_of(card, "", overrides, augmentation=augmentation)
        return runs.folder(card, settings, seed, kind).name

    return name


def book(chain, name):
    return nbformat.read(chain.results / "small" / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_file_is_there(chain, named):
    folder = chain.results / "small"
    wanted = ["manifest.csv", "table1.csv", "partition.json", "spectrogram.png", "ablation.csv"]
    wanted += ["ablation.png", "tflite.csv", "profile.csv", "pareto.png", "report.html"]
    wanted += [f"notebooks/{name}.ipynb" for name in EXECUTED]
    run_files = ["metrics.json", "predictions.csv", "history.csv", "run.json"]
    for kind in (runs.SVM, runs.LIBROSA):
        wanted += [f"{named(kind=kind)}/{file}" for file in run_files]
    for name in AUGMENTATIONS:
        wanted += [f"{named(name)}/{file}" for file in [*run_files, "model.keras"]]
    (measured,) = folder.glob("*/profile.json")
    converted = ["profile.json", "profile.csv", "profile.png", "agreement.json"]
    converted += ["model.tflite", "cnn.tflite", "spectrogram.tflite"]
    smaller = ("float16", "dynamic", "int8")
    converted += [f"{part}-{variant}.tflite" for part in ("model", "cnn") for variant in smaller]
    wanted += [f"{measured.parent.name}/{file}" for file in converted]
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    explained = {name for name in there if name.startswith("figures/")}
    assert there - explained == set(wanted)  # and no failed notebook, and nothing half written
    written = {path.name for path in (chain.results / "paper").iterdir()}
    tables = {f"table{n}.{kind}" for n in range(1, 6) for kind in ("csv", "md", "tex")}
    long = {f"{name}.csv" for name in ("numbers", "substitutes", "findings", "claims")}
    assert written == tables | long | {"means.csv", "answers.csv", "report.html", "figures"}


def test_overrides_reach_the_runs_and_are_told(chain, named):
    for name in AUGMENTATIONS:
        folder = chain.results / "small" / named(name)
        assert folder.name.startswith(f"squeezenet-{name}-s0-x")
        run = json.loads((folder / "run.json").read_text())
        assert run["settings"]["bootstrap_draws"] == 20
        assert run["settings"]["augmentation"] == name
        assert run["overrides"] == {"bootstrap_draws": [50, 20]}
        summary = str(book(chain, f"3_training-{name}").cells)
        assert "`bootstrap_draws` 50 → **20**" in summary


def test_the_ablation_table_holds_what_the_runs_hold(chain, named):
    table = pd.read_csv(chain.results / "small" / "ablation.csv", index_col=0)
    names = [named(kind=kind) for kind in (runs.SVM, runs.LIBROSA)]
    names += [named(name) for name in AUGMENTATIONS]
    assert len(table) == len(names)
    for name, row in zip(names, table.itertuples(), strict=True):
        metrics = json.loads((chain.results / f"small/{name}/metrics.json").read_text())
        for partition, shown in (("devel", row.Dev), ("test", row.Test)):
            score = metrics[partition]["file"]["score"]
            assert float(shown) == pytest.approx(100 * score, abs=0.0501)


def test_the_best_on_devel_was_converted_and_agrees(chain, named):
    (measured,) = (chain.results / "small").glob("*/profile.json")
    scores = {}
    for name in AUGMENTATIONS:
        path = chain.results / "small" / named(name) / "metrics.json"
        scores[path.parent.name] = json.loads(path.read_text())["devel"]["file"]["score"]
    assert scores[measured.parent.name] == max(scores.values())
    agreement = json.loads(measured.with_name("agreement.json").read_text())
    assert agreement["float32"]["largest_difference"] < 1e-3
    table = pd.read_csv(chain.results / "small" / "tflite.csv")
    assert set(table["run"]) == {measured.parent.name}
    assert (table["ms"] > 0).all()
    whole = pd.read_csv(chain.results / "small" / "profile.csv")
    assert set(whole["variant"]) == set(table["variant"]) > {"float32", "int8", "Keras, predict"}


def test_the_papers_tables_say_what_is_missing(chain):
    numbers = pd.read_csv(chain.results / "paper" / "numbers.csv", keep_default_na=False)
    assert numbers["verdict"].isin(published.ORDER).all()
    assert numbers["command"].ne("").all()
    # A corpus that the paper does not have has no verdict, but stands among all runs.
    assert "small" not in set(numbers["dataset"])
    assert "small" in str(book(chain, "7_paper").cells)


def test_the_report_holds_every_section_and_needs_nothing_else(chain):
    page = (chain.results / "small" / "report.html").read_text("utf-8")
    assert re.findall(r'<section id="([^"]+)"', page) == EXECUTED
    assert page.count("data:image/png;base64,") >= 16
    addresses = re.findall(r"""<[a-z][^<>]*?\s(?:src|href)\s*=\s*["']([^"']{0,80})""", page)
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []
    assert not re.search(r"<(script|link|iframe)\b", page)
    assert "@import" not in page


def test_a_second_call_has_nothing_to_do_and_a_mistyped_key_is_named(chain):
    before = chain.times()
    status, log = chain.run()
    assert status == 0
    assert "Nothing to be done" in log
    for config, message in (
        ("bakbone=squeezenet", "--config bakbone: unknown key; did you mean 'backbone'?"),
        ("sead=3", "--config sead: unknown key; did you mean 'seed'?"),
    ):
        status, log = chain.run(config=[config])
        assert status != 0
        assert message in log
        assert "Traceback" not in log
    assert chain.times() == before


def test_what_was_deleted_is_made_again_with_what_depends_on_it(chain, tmp_path):
    copied = chain.copy(tmp_path / "chain")
    before = copied.times()
    (copied.results / "small" / "notebooks" / "5_tflite.ipynb").unlink()
    # While the target is newer than all that is there, Snakemake does not miss an intermediate.
    (copied.results / "small" / "report.html").unlink()
    after = copied.finish().times()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    measured = ("/profile.", "/agreement.json", "/pareto.png", ".tflite")
    changed = {name for name in changed if not any(part in name for part in measured)}
    notebooks = {f"small/notebooks/{name}.ipynb" for name in ("5_tflite", "7_paper")}
    paper = {name for name in after if name.startswith("paper/")}
    assert changed == notebooks | paper | {"small/tflite.csv", "small/report.html"}


def test_one_notebook_with_plain_papermill(chain, named, small_corpus, tmp_path):
    """As documented for those who do not want Snakemake: its own results, another seed."""
    output = tmp_path / "executed.ipynb"
    words = ["papermill", str(paths.ROOT / "notebooks" / "3_training.ipynb"), str(output)]
    words += ["-p", "dataset", str(small_corpus), "-p", "augmentation", "specaugment"]
    short = "epochs_phase2=0 units=4"
    words += ["-p", "overrides", short, "-p", "seed", "5"]
    env = chain.env | {"DSLITE_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Unable to parse" not in done.stderr
    assert "unknown parameter" not in done.stderr.lower()
    folder = tmp_path / "results" / "small" / named("specaugment", seed=5, overrides=short)
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert (run["seed"], run["settings"]["units"]) == (5, 4)
    history = pd.read_csv(folder / "history.csv")
    assert set(history["phase"]) == {1}
    assert np.isfinite(history["train_loss"]).all()
    assert nbformat.read(output, as_version=4).metadata.papermill.exception is None

"""All seven notebooks on the small corpus through the workflow, in a folder of its own."""

import itertools
import json
import re
import subprocess
from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest

from dslite import cards, notebooks, paths
from dslite.deployment import runtime
from dslite.settings import AUGMENTATIONS
from dslite.training import runs
from tests.notebooks.workflow import Workflow

pytestmark = pytest.mark.notebooks

TRAININGS = [f"3_training-{name}" for name in AUGMENTATIONS]
EXECUTED = ["1_partition", "2_spectrograms", *TRAININGS, "4_ablation", "5_tflite"]
EXECUTED += ["6_explainability", "7_paper"]
# Small in everything that takes time, and pre-trained, so that there are two phases.
QUICK = "bootstrap_draws=20"
BASELINES = (runs.SVM, runs.LIBROSA)


@pytest.fixture(scope="session")
def chain(small_corpus, once):
    """The finished chain. Tests only read it."""
    config = (f"dataset={small_corpus}", f"overrides={QUICK}")
    # The paper's notebook is no part of the report: the paper does not have this corpus.
    targets = ("results/small/report.html", "results/small/notebooks/7_paper.ipynb")
    folder = once("chain", lambda folder: Workflow(folder, *targets, config=config).finish())
    return Workflow(folder, *targets, config=config)


@pytest.fixture
def named(small_corpus):
    """Name of a run's folder: a digest of what was overridden is part of it."""

    def name(augmentation="none", seed=0, overrides=QUICK):
        is_baseline = augmentation in BASELINES
        kind, method = (augmentation, "none") if is_baseline else (runs.NETWORK, augmentation)
        card = cards.load(str(small_corpus))
        settings = cards.settings_of(card, "", overrides, augmentation=method)
        return runs.folder(card, settings, seed, kind).name

    return name


def book(chain, name):
    return nbformat.read(chain.results / "small" / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_file_is_there_and_holds_every_section(chain, named):
    folder = chain.results / "small"
    wanted = ["manifest.csv", "table1.csv", "partition.json", "spectrogram.png", "ablation.csv"]
    wanted += ["ablation.png", "tflite.csv", "profile.csv", "pareto.png", "report.html"]
    wanted += [f"notebooks/{name}.ipynb" for name in EXECUTED]
    for name in (*BASELINES, *AUGMENTATIONS):
        files = ["metrics.json", "predictions.csv", "history.csv", "run.json"]
        files += [] if name in BASELINES else ["model.keras"]
        wanted += [f"{named(name)}/{file}" for file in files]
    (measured,) = folder.glob("*/profile.json")
    converted = ["profile.json", "profile.csv", "profile.png", "agreement.json"]
    converted += [runtime.file_name("spectrogram", runtime.FLOAT32)]
    pairs = itertools.product(("model", "cnn"), runtime.VARIANTS)
    converted += [runtime.file_name(*pair) for pair in pairs]
    wanted += [f"{measured.parent.name}/{file}" for file in converted]
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    explained = {name for name in present if name.startswith("figures/")}
    assert present - explained == set(wanted)  # and no failed notebook, and nothing half written
    written = {path.name for path in (chain.results / "paper").iterdir()}
    tables = {f"table{n}.{kind}" for n in range(1, 6) for kind in ("csv", "md", "tex")}
    long = {f"{name}.csv" for name in ("numbers", "substitutes", "findings", "claims")}
    assert written == tables | long | {"means.csv", "answers.csv", "report.html", "figures"}
    numbers = pd.read_csv(chain.results / "paper" / "numbers.csv", keep_default_na=False)
    assert "small" not in set(numbers["dataset"])  # one that the paper does not have
    assert "small" in str(book(chain, "7_paper").cells)
    page = (chain.results / "small" / "report.html").read_text("utf-8")
    assert re.findall(r'<section id="([^"]+)"', page) == ["abstract", *EXECUTED[:-1]]
    assert page.count("data:image/png;base64,") >= 16
    links = re.findall(r"""<[a-z][^<>]*?\s(?:src|href)\s*=\s*["'](?!data:|#)([^"']+)""", page)
    assert [link for link in links if not (folder / unquote(link)).exists()] == []
    assert not re.search(r"<(script|iframe)\b|@import", page)


def test_overrides_reach_the_runs_their_scores_the_table_and_the_best_the_device(chain, named):
    table = pd.read_csv(chain.results / "small" / "ablation.csv", index_col=0)
    scores = {}
    for name, row in zip((*BASELINES, *AUGMENTATIONS), table.itertuples(), strict=True):
        run = runs.load(chain.results / "small" / named(name))
        devel, test = (100 * run.metrics[part]["file"]["score"] for part in ("devel", "test"))
        assert (float(row.Dev), float(row.Test)) == pytest.approx((devel, test), abs=0.0501)
        if name in AUGMENTATIONS:
            scores[run.folder.name] = devel
            assert run.folder.name.startswith(f"squeezenet-{name}-s0-x")
            assert (run.settings.bootstrap_draws, run.settings.augmentation) == (20, name)
            assert run.record["overrides"] == {"bootstrap_draws": [50, 20]}
            summary = str(book(chain, f"3_training-{name}").cells)
            assert "`bootstrap_draws` 50 → **20**" in summary
    (measured,) = (chain.results / "small").glob("*/profile.json")
    assert scores[measured.parent.name] == max(scores.values())
    agreement = json.loads(measured.with_name("agreement.json").read_text())
    assert agreement["float32"]["largest_difference"] < 1e-3
    table = pd.read_csv(chain.results / "small" / "tflite.csv")
    assert set(table["run"]) == {measured.parent.name}
    assert (table["ms"] > 0).all()
    whole = pd.read_csv(chain.results / "small" / "profile.csv")
    assert set(whole["variant"]) == set(table["variant"]) > {"float32", "int8", "Keras, compiled"}


def test_a_second_call_has_nothing_to_do_and_a_mistyped_key_is_named(chain):
    before = chain.times()
    status, log = chain.run()
    assert (status, "Nothing to be done" in log) == (0, True)
    for config, message in (
        ("bakbone=squeezenet", "--config bakbone: unknown key; did you mean 'backbone'?"),
        ("sead=3", "--config sead: unknown key; did you mean 'seed'?"),
    ):
        status, log = chain.run(config=[config])
        assert (status == 0, message in log, "Traceback" in log) == (False, True, False)
    assert chain.times() == before


def test_what_was_deleted_is_made_again_with_what_depends_on_it(chain, tmp_path):
    """The jobs that Snakemake would run; what a notebook does in an older one's place is known."""
    copied = chain.copy(tmp_path / "chain")
    (copied.results / "small" / "notebooks" / "5_tflite.ipynb").unlink()
    # While the target is newer than all that is there, Snakemake does not miss an intermediate.
    (copied.results / "small" / "report.html").unlink()
    status, log = copied.run("--dry-run")
    assert status == 0, log
    counts = dict(re.findall(r"^(\w+) +(\d+)$", log, re.MULTILINE))
    assert counts == {"tflite": "1", "paper": "1", "report": "1", "total": "3"}, log


def test_one_notebook_with_plain_papermill(chain, named, small_corpus, tmp_path):
    """As documented for those who do not want Snakemake: its own results, another seed."""
    output = tmp_path / "executed.ipynb"
    words = ["papermill", str(paths.ROOT / "notebooks" / "3_training.ipynb"), str(output)]
    short = "epochs_phase2=0 units=4"
    parameters = {"dataset": str(small_corpus), "augmentation": "specaugment"}
    for pair in (parameters | {"overrides": short, "seed": "5"}).items():
        words += ["-p", *pair]
    env = chain.env | {"DSLITE_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not re.search("Unable to parse|unknown parameter", done.stderr, re.IGNORECASE)
    folder = tmp_path / "results" / "small" / named("specaugment", seed=5, overrides=short)
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert (run["seed"], run["settings"]["units"]) == (5, 4)
    history = pd.read_csv(folder / "history.csv")
    assert set(history["phase"]) == {1}
    assert np.isfinite(history["train_loss"]).all()
    assert nbformat.read(output, as_version=4).metadata.papermill.exception is None


def test_the_start_page_takes_a_sound_of_ones_own(small_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path))
    sound = next(small_corpus.parent.rglob("*.wav"))
    parameters = {"dataset": str(small_corpus), "sound": str(sound)}
    text = str(nbformat.read(notebooks.execute("0_start", tmp_path / "0.ipynb", parameters), 4))
    assert all(word in text for word in (sound.name, "The network says", "audio/wav"))
    assert {"start.png", "start-explained.png"} <= {file.name for file in tmp_path.rglob("*.png")}

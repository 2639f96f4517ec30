"""Whole runs of the recipe `tuned`, made small: what they leave, and how they go on."""

import numpy as np
import pandas as pd
import pytest

from dslite import cards, provenance
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.studies import jobs, study
from dslite.training import experiment, loop, ridge, runs
from tests.training.test_experiment import CLASSES, assert_same, contents
from tests.training.toy import quiet

SMALL = {"mel_bands": 32, "columns": 32, "chunk_length_s": 3.0, "epochs_phase2": 1}


@pytest.fixture
def recipe(workplace):
    """Settings of `tuned` with a small picture, of a manifest whose card has presets of its own."""

    def make(built, **differs):
        return cards.settings_of(built.card, "", cards.TUNED | SMALL | differs)

    return make


def test_run_json_says_how_the_head_was_solved(recipe, corpus):
    built, lines = corpus(), []
    used = recipe(built)
    assert (used.panels, used.picture_shape, used.label_smoothing) == (2, (64, 32), 0)
    run = experiment.train(built, used, 0, log=lines.append)
    record = run.record
    assert 1 < record["typical_s"] < 2
    assert record["kept"].keys() == {"phase", "gain", "noise"}
    assert [head["head"] for head in record["heads"]] == list(ridge.HEADS)
    assert record["settings"]["mel_max_hz"] == 8000  # what the corpus has
    assert any(line.startswith("phase 2 is ") for line in lines)
    history = run.history
    assert history["phase"].tolist()[:2] == [1, 2]
    assert len(history) == 2 + record["epochs"]
    # The saved model gives what is written down.
    network = classifier.load_classifier(run.folder / "model.keras")
    store = feature_store.load_spectrograms(built, used)
    chunks = store.chunks("test")
    outputs = network(classifier.inputs(store.mel[chunks], run.settings)).numpy()
    fused = pd.DataFrame(outputs).groupby(store.file[chunks]).mean().to_numpy()
    table = run.predictions.query("partition == 'test'")
    np.testing.assert_allclose(table[CLASSES], fused, atol=5e-3)  # of features in half precision
    # Asked for again, with the edge left to the corpus or named, it is not repeated.
    for again in (used, used.model_copy(update={"mel_max_hz": 8000.0})):
        described = runs.look_up(built, again, 0, "", runs.NETWORK)[0]
        assert described["identity"] == record["identity"]
    assert runs.look_up(built, used, 0, "", runs.NETWORK)[2].folder == run.folder


def test_a_study_knows_the_run_though_it_left_the_edge_to_the_corpus(recipe, corpus, monkeypatch):
    built = corpus()
    card = built.card.model_copy(update={"presets": {"tuned": cards.TUNED | SMALL}})
    config = study.Config(
        **{"dataset": card.table, "preset": "tuned", "backbone": "squeezenet", "seed": 0},
        weights=card.settings["weights"],
    )
    job = jobs.job(config, card=card)
    assert job.settings.mel_max_hz == "corpus"
    assert jobs.look_up(job).state == jobs.MISSING
    described = runs.describe(card, job.settings, 0, "tuned", "any", runs.NETWORK, 4000.0)
    assert described["settings"]["mel_max_hz"] == 4000
    job.folder.mkdir(parents=True)
    provenance.write_json(job.folder / "run.json", described)
    assert jobs.look_up(job).state == jobs.FINISHED
    described["settings"]["columns"] = 64
    provenance.write_json(job.folder / "run.json", described)
    assert "columns" in jobs.look_up(job).state


def test_a_candidate_is_gone_on_with(recipe, corpus, tmp_path, monkeypatch):
    """The head of train alone is not solved again, and the run is the same as in one go."""
    built = corpus()
    used, solved, solve = recipe(built), [], loop._solve

    def counted(network, task, trunks, train, log):
        solved.append(len(train))
        return solve(network, task, trunks, train, log)

    monkeypatch.setattr(loop, "_solve", counted)
    plain = experiment.train(built, used, 0, log=quiet)
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "other"))
    tried = experiment.candidate(built, used, 0, log=quiet)
    assert tried.metrics["devel"] == plain.metrics["devel"]
    assert "model.keras" not in contents(tried.folder)
    run = experiment.train(built, used, 0, log=quiet)
    assert_same(plain, run)
    assert run.metrics["test"] == plain.metrics["test"]
    assert solved == [48, 72, 48, 72]  # in each the first head and the final one
    assert run.record["heads"] == plain.record["heads"]


def test_a_regression_of_the_recipe(recipe, ages):
    run = experiment.train(ages, recipe(ages, epochs_phase2=0), 0, log=quiet)
    table = run.predictions.query("partition == 'test'")
    predicted = table["prediction"].astype(float)
    assert 20 < predicted.mean() < 60
    assert run.metrics["test"]["file"]["score"] > 0.2
    assert "kept" not in run.record
    assert run.record["epochs"] == 1

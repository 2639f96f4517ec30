"""A run's files, what is chosen on what, and that an interruption leaves nothing half done."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from dslite import cards, paths, provenance
from dslite.deployment import predict
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.settings import AUGMENTATIONS, Settings
from dslite.studies import jobs, study
from dslite.training import experiment, loop, ridge, runs, steps
from tests.changed_labels import blinded, shuffled_test_labels
from tests.random_networks import alive
from tests.refusals import refusal
from tests.training import inverted_residuals
from tests.training.toy import quiet

COLUMNS = ["file", "speaker", "partition", "label", "prediction"]
CLASSES = ["calm", "happy", "sad", "angry"]
FILES = ["history.csv", "metrics.json", "model.keras", "predictions.csv", "run.json"]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same(one, other, columns=None):
    """The same history but for its times, and predictions; of ``columns`` where some are given."""
    histories = [run.history.drop(columns=["seconds", "images_per_s"]) for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    predictions = [run.predictions[columns or run.predictions.columns] for run in (one, other)]
    pd.testing.assert_frame_equal(*predictions, check_exact=True)


# Files


def test_run_json_says_how_it_came_about(small_run):
    assert sorted(path.name for path in small_run.folder.iterdir()) == FILES
    assert small_run.folder.name == "squeezenet-none-s0"
    record = json.loads((small_run.folder / "run.json").read_text("utf-8"))
    assert record["settings"] | {"units": 8, "epochs_phase2": 1, "top_db": 80} == record["settings"]
    assert set(record["settings"]) == set(Settings.model_fields)
    assert len(record["commit"].removesuffix("+changes")) in (0, 40)
    assert {"python", "tensorflow", "keras", "numpy"} <= set(record["versions"])
    assert {"processor", "cores", "memory_gib"} <= set(record["hardware"])
    weights = record["weights"]
    assert len(record["manifest"]) == len(weights.pop("sha256")) == 64
    expected = {"seed": 0, "preset": "tuned", "overrides": {}, "classes": CLASSES}
    expected |= {"weights": {"name": "small.weights.h5", "random": False}}
    assert record | expected == record
    cost = record["cost"]
    assert (cost["sessions"], round(cost["wall_s"], 1)) == (1, record["seconds"])
    assert cost["cpu_s"] > 0
    assert cost["peak_mib"] > 50


def test_no_file_tells_where_this_machine_keeps_things(small_run, small_corpus):
    for name in set(FILES) - {"model.keras"}:
        text = (small_run.folder / name).read_text("utf-8")
        text = text.replace(small_run.record["table"]["path"], "")  # where the run's table is
        for folder in ("/tmp", "/home", "/root", str(small_corpus.parent)):
            assert folder not in text, f"{name} holds {folder}"


def test_predictions_hold_a_row_a_file_and_are_scored(small_run, small_corpus):
    table = small_run.predictions
    assert table.columns.tolist() == [*COLUMNS, *CLASSES]
    np.testing.assert_allclose(table[CLASSES].sum(axis=1), 1, atol=1e-5)
    chosen = np.array(CLASSES)[table[CLASSES].to_numpy().argmax(axis=1)]
    assert (table["prediction"] == chosen).all()
    expected = pd.read_csv(small_corpus, dtype=str).query("partition != 'train'")
    expected = expected.rename(columns={"path": "file"}).sort_values("file", ignore_index=True)
    in_order = table.sort_values("file", ignore_index=True)
    pd.testing.assert_frame_equal(in_order[expected.columns], expected, check_dtype=False)
    for partition in ("devel", "test"):
        part = table[table["partition"] == partition]
        file = small_run.metrics[partition]["file"]
        expected = balanced_accuracy_score(part["label"], part["prediction"])
        assert (file["score"], file["n"]) == (pytest.approx(expected), 24)
        assert file["interval_files"][0] <= file["score"] <= file["interval_files"][1]


def test_history_holds_both_trainings(small_run):
    history = small_run.history
    first, final = (history[history["training"] == name] for name in ("train", "train+devel"))
    assert first["phase"].tolist() == [1, 1, 2]
    (best,) = first["epoch"][first["chosen"] == True]  # noqa: E712  # of objects: NaN in final
    assert len(final) == best == small_run.record["epochs"]
    assert final["devel_score"].isna().all()
    assert first["devel_score"].iloc[best - 1] == first["devel_score"].max()
    devel = small_run.metrics["devel"]["file"]["score"]
    assert first["devel_score"].max() == pytest.approx(devel)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds to cores")
def test_the_number_of_cores_changes_no_byte(small_corpus, tmp_path):
    """Without a pinned number of threads both differ in the last digits."""
    weights, processes = tmp_path / "small.weights.h5", {}
    network = inverted_residuals.build(inverted_residuals.SIDE, inverted_residuals.SIDE)
    alive(network).save_weights(weights)
    overrides = f"image_size={inverted_residuals.SIDE} trained_share=1 epochs_phase1=0"
    for cores in ("1", "2"):
        places = {f"DSLITE_{of}": str(tmp_path / cores / of) for of in ("CACHE", "RESULTS")}
        environment = {key: of for key, of in os.environ.items() if not key.startswith("TF_NUM")}
        module = [sys.executable, "-m", "tests.training.inverted_residuals"]
        processes[cores] = subprocess.Popen(
            [*module, cores, str(small_corpus), str(weights), overrides],
            **{"env": environment | places, "cwd": paths.ROOT, "text": True},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
        )
    for process in processes.values():
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    one, two = (next(tmp_path.glob(f"{cores}/RESULTS/*/*/run.json")) for cores in processes)
    written = [(of.parent / "predictions.csv").read_bytes() for of in (one, two)]
    assert written[0] == written[1]
    one, two = (json.loads(of.read_text("utf-8")) for of in (one, two))
    assert one["final_weights_sha256"] == two["final_weights_sha256"]
    assert one["identity"] == two["identity"]
    assert one["settings"]["threads"] == 2
    assert len({*one["final_weights_sha256"]}) > 8


# Which model says what


def test_test_predictions_are_the_saved_models_and_devels_are_not(small_run, small_corpus):
    """From the audio files again, through the saved model, which learnt from devel."""
    for partition in ("devel", "test"):
        table = small_run.predictions.query("partition == @partition")
        audio = [small_corpus.parent / path for path in table["file"]]
        again = predict.predict_files(small_run.folder, audio)
        difference = np.abs(again[CLASSES].to_numpy() - table[CLASSES].to_numpy()).max()
        assert difference < 2e-6 if partition == "test" else difference > 1e-3
    assert again["prediction"].tolist() == table["prediction"].tolist()
    assert again[CLASSES].to_numpy().std(axis=0).max() > 1e-4, "a constant would agree as well"


def test_test_labels_decide_nothing(short, corpus):
    """A blinded test partition is predicted as if its labels were there, and not scored."""
    built = corpus()
    run = experiment.train(built, short(built, epochs_phase2=0), 0, log=quiet)
    # The next one takes its folder.
    plain, metrics = SimpleNamespace(history=run.history, predictions=run.predictions), run.metrics
    built = corpus(blinded)
    run = experiment.train(built, short(built, epochs_phase2=0), 0, log=quiet)
    assert_same(plain, run, CLASSES)
    assert run.metrics["devel"] == metrics["devel"]
    assert run.metrics["test"] is None
    assert set(run.predictions.query("partition == 'test'")["label"]) == {""}
    assert len(run.predictions) == 48
    assert "predicted only" in runs.headline(run.metrics["test"])


@pytest.mark.parametrize(
    ("phase", "gain", "task", "sentence"),
    [
        (
            1,
            0.005,
            "classification",
            "Phase 1 is kept: phase 2 gained at best +0.5 points on devel, "
            "within its noise (1.0 points).",
        ),
        (
            2,
            0.02,
            "classification",
            "Phase 2 is kept: +2.0 points on devel, more than its noise (1.0 points).",
        ),
        (2, 0.02, "regression", "Phase 2 is kept: +0.02 on devel, more than its noise (0.0104)."),
    ],
)
def test_which_phase_was_kept_and_why(phase, gain, task, sentence):
    kept_phase = {"phase": phase, "gain": gain, "noise": 0.0104}
    assert experiment.gain_of_phase_2(kept_phase, task) == sentence


# Repeating


def test_a_finished_run_is_not_repeated_unless_something_differs(short, corpus, monkeypatch):
    trainings, histories, fit = [], {}, loop.fit

    def counted(network, task, *args, devel=None, **options):
        """Each of the two trainings only once in earnest."""
        trainings.append(devel is None)
        if (devel is None) not in histories:
            histories[devel is None] = fit(network, task, *args, devel=devel, **options)
        return histories[devel is None]

    def train(built, seed=0, force=False, **differs):
        trainings.clear()
        used, lines = short(built, epochs_phase2=0, **differs), []
        run = experiment.train(built, used, seed, force=force, log=lines.append)
        return len(trainings), " ".join(lines), contents(run.folder)

    monkeypatch.setattr(loop, "fit", counted)
    built = corpus()
    count, _, files = train(built)
    assert count == 2
    count, words, same = train(built)
    assert (count, same) == (0, files)
    assert "not repeated" in words
    assert train(built, force=True)[0] == 2
    assert train(built, seed=1)[0] == 2
    assert train(built, dropout=0.5)[0] == 2
    other = corpus(shuffled_test_labels)
    assert train(other, dropout=0.5)[0] == 2
    # Runs of the other labels have the name by now.
    assert "a name of their own" in refusal(train, built, dropout=0.5)


# Candidates of a grid


def test_a_candidate_is_the_first_half_of_the_run_and_is_gone_on_with(
    short, corpus, tmp_path, monkeypatch
):
    built, learnt, fit = corpus(), [], loop.fit
    used = short(built, augmentation="cutmix", epochs_phase2=0)
    plain = experiment.train(built, used, 2, log=quiet)

    def watched(network, task, chunks, *args, after_epoch, **options):
        def count(row):
            learnt.append(len(chunks))
            after_epoch(row)

        return fit(network, task, chunks, *args, after_epoch=count, **options)

    monkeypatch.setattr(loop, "fit", watched)
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "other"))
    predict_chunks, task_of, looked = feature_store.predict, steps.task_of, []
    with monkeypatch.context() as watching:
        watching.setattr(
            feature_store, "predict", lambda *args: looked.append(args[2]) or predict_chunks(*args)
        )
        watching.setattr(steps, "task_of", lambda *args: looked.append(args[2]) or task_of(*args))
        tried = experiment.train(built, used, 2, log=quiet, candidate=True)
    # Nothing of test is looked at, neither labels nor pictures.
    store, *chunks = looked
    test = store.files["partition"] == "test"
    assert set(store.files["label"][test]) == {""}
    assert set(store.files["label"][~test]) == set(CLASSES)
    assert not np.isin(np.concatenate(chunks), store.chunks("test")).any()
    first = len(learnt)
    assert tried.folder == runs.folder(built.card, used, 2, candidate=True)
    assert contents(tried.folder).keys() == set(FILES) - {"model.keras"}
    assert tried.record["candidate"] is True
    assert tried.metrics["test"] is None
    assert tried.metrics["devel"] == plain.metrics["devel"]
    assert tried.record["epochs"] == plain.record["epochs"]
    devel = plain.predictions.query("partition == 'devel'")
    pd.testing.assert_frame_equal(tried.predictions, devel, check_exact=True)
    # A second time nothing is learnt, and the run learns only from train + devel.
    experiment.train(built, used, 2, log=quiet, candidate=True)
    assert len(learnt) == first == 1
    run = experiment.train(built, used, 2, log=quiet)
    assert len(learnt) == first + plain.record["epochs"]
    assert min(learnt[first:]) > max(learnt[:first])
    assert_same(run, plain)
    assert run.metrics == plain.metrics
    # Both are paid for once.
    assert run.record["candidate_cost"] == tried.record["cost"]
    assert plain.record["candidate_cost"] is None
    assert run.record["cost"]["sessions"] == 2
    assert run.record["cost"]["wall_s"] > tried.record["cost"]["wall_s"]
    assert not (paths.cache() / "checkpoints" / "small" / run.record["identity"][:16]).exists()


# Random weights, the best of four, regression


def test_random_weights_are_written_down(short, corpus):
    built, lines = corpus(), []
    run = experiment.train(built, short(built, weights="random"), 0, log=lines.append)
    assert any("random weights" in line for line in lines)
    assert run.record["weights"] == {"name": "random", "sha256": None, "random": True}
    assert run.metrics["random_weights"] is True
    assert set(run.history["phase"]) == {1}
    assert run.metrics["overrides"]["weights"] == ["small.weights.h5", "random"]


def test_the_best_is_chosen_on_devel_alone(short, corpus, monkeypatch):
    built, finished = corpus(), []
    used = short(built, epochs_phase2=0)
    finished.append(experiment.best_run(built, used, 0))  # none is finished: it is trained
    for name in AUGMENTATIONS[1:3]:  # not trained: what is chosen is the scores' matter
        described, place, _ = runs.look_up(
            built, used.model_copy(update={"augmentation": name}), 0, "", runs.NETWORK
        )
        shutil.copytree(finished[0].folder, place)
        record = finished[0].record | described
        (place / "run.json").write_text(json.dumps(record), "utf-8")
        finished.append(runs.load(place))
    monkeypatch.setattr(loop, "fit", None)  # nothing is trained from here on
    # None: no number, as a correlation with a constant
    for devel, test, best in (([1, 5, 3], [9, 0, 9], 1), ([8, 5, None], [0, 9, 9], 0)):
        for run, on_devel, on_test in zip(finished, devel, test, strict=True):
            metrics = run.metrics
            metrics["devel"]["file"]["score"] = on_devel and on_devel / 10
            metrics["test"]["file"]["score"] = on_test / 10
            (run.folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
        assert experiment.best_run(built, used, 0).folder == finished[best].folder


def test_a_regression_corpus(short, ages):
    run = experiment.train(ages, short(ages), 0, log=quiet)
    table = run.predictions
    assert table.columns.tolist() == COLUMNS
    test, metrics = table.query("partition == 'test'"), run.metrics["test"]
    true, predicted = test["label"].astype(float), test["prediction"].astype(float)
    assert metrics["file"]["score"] == pytest.approx(true.corr(predicted, "spearman"), abs=1e-3)
    assert 0 < predicted.mean() < 100
    assert runs.headline(metrics).startswith("rho")


# The recipe `tuned`, made small

SMALL = {"mel_bands": 32, "columns": 32, "chunk_length_s": 3.0, "epochs_phase2": 1}


@pytest.fixture
def recipe(workplace, tiny_depths):
    """Settings of `tuned` with a small picture, of a manifest whose card has presets of its own."""

    def make(built, **differs):
        used = cards.TUNED | SMALL | {"weights": str(tiny_depths)}
        return cards.settings_of(built.card, "", used | differs)

    return make


def test_run_json_says_how_the_head_was_solved(recipe, corpus):
    built, lines = corpus(), []
    used = recipe(built)
    assert (used.panels, used.picture_shape, used.label_smoothing) == (2, (64, 32), 0)
    run = experiment.train(built, used, 0, log=lines.append)
    record = run.record
    assert 1 < record["typical_s"] < 2.5
    assert record["kept"].keys() == {"phase", "gain", "noise"}
    assert [head["head"] for head in record["heads"]] == list(ridge.HEADS)
    assert record["settings"]["mel_max_hz"] == 8000  # what the corpus has
    assert any(line.startswith("Phase ") for line in lines)
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


def test_copies_are_learnt_from_by_the_solved_head_alone(recipe, corpus, cache, monkeypatch):
    """A point of a grid, then the run itself."""
    solved, fitted, solve, sources = [], [], ridge.solve, steps.sources

    def spy(features, rows, targets, groups, *rest):
        solved.append((rows, groups, rest[4]))  # which are no copies
        return solve(features, rows, targets, groups, *rest)

    def spy_sources(stage, task):
        fitted.append(len(stage.stored))
        return sources(stage, task)

    monkeypatch.setattr(ridge, "solve", spy)
    monkeypatch.setattr(steps, "sources", spy_sources)
    built = corpus()
    used = recipe(built, copies=1)
    tried = experiment.train(built, used, 0, log=quiet, candidate=True)
    assert tried.record["settings"]["copies"] == 1
    assert tried.record["overrides"]["copies"] == [0, 1]
    run = experiment.train(built, used, 0, log=quiet)
    assert run.settings == tried.settings
    count = built.table["partition"].value_counts()
    assert [n for *_, n in solved] == [count["train"], count["train"] + count["devel"]]
    speakers = built.table["speaker"].to_numpy()
    for rows, groups, n in solved:  # each file is as short as a chunk
        np.testing.assert_array_equal(np.sort(rows[n:]), len(speakers) + np.sort(rows[:n]))
        np.testing.assert_array_equal(groups, speakers[rows % len(speakers)])
    assert set(fitted) == {len(speakers)}  # phase 2
    assert len(run.predictions) == count["devel"] + count["test"]


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

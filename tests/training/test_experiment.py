"""A run's files, what is chosen on what, and that an interruption leaves nothing half done."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from dslite import cards, paths, settings
from dslite.datasets import load_manifest, manifest
from dslite.deployment import predict as deployment_predict
from dslite.features import store as feature_store
from dslite.settings import AUGMENTATIONS
from dslite.training import baselines, experiment, runs, steps
from dslite.training import loop as training_fit
from tests.changed_labels import blinded, shuffled_test_labels

CLASSES = ["calm", "happy", "sad", "angry"]
SHORT = {"epochs_phase1": 1, "epochs_phase2": 1, "trained_share": 0.5, "units": 4}
FILES = ["history.csv", "metrics.json", "model.keras", "predictions.csv", "run.json"]


def quiet(line):
    """A log that nobody reads."""


def corpus(small_corpus, change=None, card=""):
    """Manifest of the small corpus after a change of its table, beside the same audio."""
    table = pd.read_csv(small_corpus, dtype=str)
    if change is not None:
        # Under the same name as before: a corpus is known by it.
        folder = small_corpus.parent / "changed"
        folder.mkdir(exist_ok=True)
        change(table.copy()).to_csv(folder / "small.csv", index=False)
        content = card or small_corpus.with_suffix(".yaml").read_text("utf-8")
        (folder / "small.yaml").write_text(f"folder: ..\n{content}", encoding="utf-8")
        small_corpus = folder / "small.csv"
    return load_manifest(cards.load(str(small_corpus)))


@pytest.fixture
def short(tiny, workplace):
    """Settings of a training that takes a second; takes a manifest and what differs."""

    def make(built, **differs):
        return cards.settings_of(built.card, "", SHORT | {"weights": str(tiny)} | differs)

    return make


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Files


def test_a_run_leaves_every_file(small_run):
    assert sorted(path.name for path in small_run.folder.iterdir()) == FILES
    assert small_run.folder.name == "squeezenet-none-s0"
    assert [path.name for path in small_run.folder.parent.iterdir()] == [small_run.folder.name]


def test_run_json_says_how_it_came_about(small_run):
    record = json.loads((small_run.folder / "run.json").read_text("utf-8"))
    assert record["settings"] | {"units": 8, "epochs_phase2": 1, "top_db": 80} == record["settings"]
    assert set(record["settings"]) == set(settings.Settings.model_fields)
    assert record["seed"] == 0
    assert len(record["commit"].removesuffix("+changes")) in (0, 40)
    assert {"python", "tensorflow", "keras", "numpy"} <= set(record["versions"])
    assert {"processor", "cores", "memory_gib"} <= set(record["hardware"])
    assert len(record["manifest"]) == 64
    assert record["seconds"] > 0
    assert record["weights"]["random"] is False
    assert record["weights"]["name"] == "small.weights.h5"
    assert len(record["weights"]["sha256"]) == 64
    assert record["preset"] == "tuned"
    assert record["overrides"] == {}
    assert record["classes"] == CLASSES


def test_no_file_tells_where_this_machine_keeps_things(small_run, small_corpus, small_cache):
    for name in FILES:
        if name != "model.keras":
            text = (small_run.folder / name).read_text("utf-8")
            for folder in ("/tmp", "/home", "/root", "/work", str(small_corpus.parent)):
                assert folder not in text, f"{name} holds {folder}"


def test_predictions_hold_a_row_a_file_and_probabilities(small_run, small_corpus):
    table = pd.read_csv(small_run.folder / "predictions.csv", dtype={"label": str})
    columns = ["file", "speaker", "partition", "label", "prediction", *CLASSES]
    assert table.columns.tolist() == columns
    np.testing.assert_allclose(table[CLASSES].sum(axis=1), 1, atol=1e-5)
    chosen = np.array(CLASSES)[table[CLASSES].to_numpy().argmax(axis=1)]
    assert (table["prediction"] == chosen).mean() > 0.95  # rounding may tie
    given = pd.read_csv(small_corpus).query("partition != 'train'")
    given = given.rename(columns={"path": "file"}).sort_values("file", ignore_index=True)
    found = table.sort_values("file", ignore_index=True)[["file", "label", "speaker", "partition"]]
    pd.testing.assert_frame_equal(found, given)


@pytest.mark.parametrize("partition", ["devel", "test"])
def test_the_score_is_sklearns_of_the_predictions(small_run, partition):
    table = small_run.predictions.query("partition == @partition")
    metrics = json.loads((small_run.folder / "metrics.json").read_text("utf-8"))[partition]["file"]
    expected = balanced_accuracy_score(table["label"], table["prediction"])
    assert metrics["score"] == pytest.approx(expected)
    assert metrics["n"] == len(table) == 24
    assert metrics["interval_files"][0] <= metrics["score"] <= metrics["interval_files"][1]


def test_history_holds_both_trainings(small_run):
    with (small_run.folder / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if row["training"] == "train"]
    final = [row for row in rows if row["training"] == "train+devel"]
    assert [row["phase"] for row in first] == ["1", "1", "2"]
    best = [int(row["epoch"]) for row in first if row["best"] == "True"]
    assert len(best) == 1
    assert len(final) == best[0] == small_run.record["epochs"]
    assert all(row["devel_score"] == "" for row in final)
    scores = [float(row["devel_score"]) for row in first]
    assert scores[best[0] - 1] == max(scores)
    assert max(scores) == pytest.approx(small_run.metrics["devel"]["file"]["score"])


# Which model says what


def test_test_predictions_are_the_saved_models(small_run, small_corpus):
    """From the audio files again, through the saved model."""
    table = small_run.predictions.query("partition == 'test'")
    audio = [small_corpus.parent / path for path in table["file"]]
    found = deployment_predict.predict_files(small_run.folder, audio)
    np.testing.assert_allclose(found[CLASSES], table[CLASSES], atol=2e-6)
    assert found["prediction"].tolist() == table["prediction"].tolist()
    assert found[CLASSES].to_numpy().std(axis=0).max() > 1e-4, "a constant would agree as well"


def test_devel_predictions_are_not_the_final_models_which_learnt_from_devel(
    small_run, small_corpus
):
    table = small_run.predictions.query("partition == 'devel'")
    found = deployment_predict.predict_files(
        small_run.folder, [small_corpus.parent / p for p in table["file"]]
    )
    assert np.abs(found[CLASSES].to_numpy() - table[CLASSES].to_numpy()).max() > 1e-3


def test_devel_is_the_first_trainings_and_test_the_final_ones(short, small_corpus):
    """The final training begins anew, on train + devel, for as many epochs as were best."""
    built = corpus(small_corpus)
    used = short(built)
    run = experiment.train(built, used, 1, log=quiet)
    task = steps.task_of(built.card, used, feature_store.load_spectrograms(built, used))
    train, devel = task.store.chunks("train"), task.store.chunks("devel")
    both = np.concatenate([train, devel])
    expected, epochs = {}, None
    for partition, learnt, choice in (("devel", train, devel), ("test", both, None)):
        network = training_fit.build_model(task, learnt, 1)
        history = training_fit.fit(network, task, learnt, 1, choice, epochs, log=quiet)
        epochs = training_fit.epochs_to_best(history) if choice is not None else None
        chunks = task.store.chunks(partition)
        pictures = training_fit.model.inputs(task.store.mel[chunks], used)
        outputs = pd.DataFrame(network(pictures, training=False).numpy())
        expected[partition] = outputs.groupby(task.store.file[chunks]).mean().to_numpy()
    for partition, fused in expected.items():
        table = run.predictions
        table = table[table["partition"] == partition]
        np.testing.assert_allclose(table[CLASSES], fused, atol=2e-6)


@pytest.mark.parametrize("change", [shuffled_test_labels, blinded])
@pytest.mark.parametrize("kind", [experiment, baselines])
def test_test_labels_decide_nothing(short, small_corpus, kind, change):
    honest, other = corpus(small_corpus), corpus(small_corpus, change)
    assert (honest.table["label"] != other.table["label"]).sum() > 5
    found = []
    for built in (honest, other):
        run = kind.run(built, short(built), 0, log=quiet)
        history = run.history.drop(columns=["seconds", "images_per_s"], errors="ignore")
        outputs = run.predictions[CLASSES]
        found.append((history, outputs, run.metrics["devel"], run.metrics["test"]))
    pd.testing.assert_frame_equal(found[0][0], found[1][0], check_exact=True)
    pd.testing.assert_frame_equal(found[0][1], found[1][1], check_exact=True)
    assert found[0][2] == found[1][2]
    assert found[0][3] != found[1][3]


@pytest.mark.parametrize("kind", [experiment, baselines])
def test_a_blinded_test_partition_is_predicted_and_not_scored(short, small_corpus, kind):
    built = corpus(small_corpus, blinded)
    run = kind.run(built, short(built), 0, log=quiet)
    assert run.metrics["test"] is None
    assert run.metrics["devel"]["file"]["n"] == 24
    table = run.predictions.query("partition == 'test'")
    assert len(table) == 24
    assert set(table["label"]) == {""}
    assert set(table["prediction"]) <= set(CLASSES)
    assert "predicted only" in runs.headline(run.metrics["test"])
    assert runs.score_table(run)["partition"].unique().tolist() == ["devel"]


# Repeating


def test_a_finished_run_is_not_repeated_unless_something_differs(short, small_corpus, monkeypatch):
    trainings, fit = [], training_fit.fit
    monkeypatch.setattr(training_fit, "fit", lambda *a, **k: trainings.append(1) or fit(*a, **k))
    built = corpus(small_corpus)

    def train(built, seed=0, force=False, **differs):
        trainings.clear()
        lines = []
        run = experiment.train(built, short(built, **differs), seed, force=force, log=lines.append)
        return len(trainings), " ".join(lines), run

    count, _, first = train(built)
    assert count == 2
    before = contents(first.folder)
    count, said, again = train(built)
    assert count == 0
    assert "not repeated" in said
    assert contents(again.folder) == before
    assert train(built, force=True)[0] == 2
    assert train(built, seed=1)[0] == 2
    assert train(built, dropout=0.5)[0] == 2
    assert train(corpus(small_corpus, shuffled_test_labels), dropout=0.5)[0] == 2
    assert train(built, dropout=0.5)[0] == 2  # the folder holds the other labels' run by now


def test_the_weights_content_is_part_of_a_runs_identity(small_corpus, tmp_path):
    built = corpus(small_corpus)
    identities = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        file = tmp_path / folder / "my.weights.h5"
        file.parent.mkdir()
        file.write_bytes(content)
        used = cards.settings_of(built.card, weights=str(file))
        described = runs.describe(built.card, used, 0, "", manifest.digest(built), runs.NETWORK)
        identities.append(described["identity"])
    assert identities[0] == identities[1] != identities[2]


def test_an_interruption_leaves_no_finished_run_and_the_older_one(
    short, small_corpus, workplace, monkeypatch
):
    built, fit = corpus(small_corpus), training_fit.fit
    used = short(built)

    def interrupted(*given, devel=None, **more):
        if devel is None:  # the final training
            raise KeyboardInterrupt
        return fit(*given, devel=devel, **more)

    def half_written(draft, *given):
        assert (draft / "model.keras").is_file()
        raise OSError("no space left on device")

    place = runs.folder(built.card, used, 0)
    with monkeypatch.context() as broken:
        broken.setattr(training_fit, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiment.train(built, used, 0, log=quiet)
    assert not place.exists()
    experiment.train(built, used, 0, log=quiet)
    before = contents(place)
    for name, fails, error in (
        ("training.fit", interrupted, KeyboardInterrupt),
        ("runs.write", half_written, OSError),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(f"dslite.{name}", fails)
            with pytest.raises(error):
                experiment.train(built, used, 0, force=True, log=quiet)
        assert contents(place) == before
        assert [path.name for path in place.parent.iterdir()] == [place.name]


# Candidates of a grid


def scores_of(run):
    """What a run says, without its times."""
    history = run.history.drop(columns=["seconds", "images_per_s"])
    return history, run.predictions, run.metrics


def test_a_candidate_is_the_first_half_of_the_run_and_is_gone_on_with(
    short, small_corpus, tmp_path, monkeypatch
):
    built, learnt, fit = corpus(small_corpus), [], training_fit.fit
    used = short(built, augmentation="cutmix")
    plain = experiment.train(built, used, 2, log=quiet)

    def watched(network, task, chunks, *given, **more):
        epoch = more["board"]
        more["board"] = lambda row: learnt.append(len(chunks)) or epoch(row)
        return fit(network, task, chunks, *given, **more)

    monkeypatch.setattr(training_fit, "fit", watched)
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "other"))
    tried = experiment.candidate(built, used, 2, log=quiet)
    first = len(learnt)
    assert tried.folder == runs.folder(built.card, used, 2, candidate=True)
    assert contents(tried.folder).keys() == set(FILES) - {"model.keras"}
    assert tried.record["candidate"] is True
    assert tried.metrics["test"] is None
    assert tried.metrics["devel"] == plain.metrics["devel"]
    assert set(tried.predictions["partition"]) == {"devel"}
    pd.testing.assert_frame_equal(
        tried.predictions, plain.predictions.query("partition == 'devel'"), check_exact=True
    )
    assert tried.record["epochs"] == plain.record["epochs"]
    # A second time nothing is learnt, and the run learns only from train + devel.
    lines = []
    experiment.candidate(built, used, 2, log=lines.append)
    assert "not repeated" in lines[0]
    assert len(learnt) == first == 2
    run = experiment.train(built, used, 2, log=quiet)
    assert len(learnt) == first + plain.record["epochs"]
    assert min(learnt[first:]) > max(learnt[:first])
    for found, expected in zip(scores_of(run)[:2], scores_of(plain)[:2], strict=True):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert run.metrics == plain.metrics
    # Both are paid for once.
    assert run.record["candidate_cost"] == tried.record["cost"]
    assert plain.record["candidate_cost"] is None
    assert run.record["cost"]["sessions"] == 2
    assert run.record["cost"]["wall_s"] > tried.record["cost"]["wall_s"]
    assert not (paths.cache() / "checkpoints" / "small" / run.record["identity"][:16]).exists()


@pytest.mark.parametrize("change", [shuffled_test_labels, blinded])
def test_a_candidate_does_not_look_at_test(short, small_corpus, monkeypatch, change):
    honest, other = corpus(small_corpus), corpus(small_corpus, change)
    predict, task_of, looked = feature_store.predict, steps.task_of, []

    def watched(predictor, source, chunks, *given):
        looked.append(chunks)
        return predict(predictor, source, chunks, *given)

    def begun(card, used, store):
        looked.append(store)
        return task_of(card, used, store)

    monkeypatch.setattr(feature_store, "predict", watched)
    monkeypatch.setattr(steps, "task_of", begun)
    found = []
    for built in (honest, other):
        looked.clear()
        found.append(scores_of(experiment.candidate(built, short(built), 0, log=quiet)))
        store, *chunks = looked
        test = store.files["partition"] == "test"
        assert set(store.files["label"][test]) == {""}
        assert set(store.files["label"][~test]) == set(CLASSES)
        assert not np.isin(np.concatenate(chunks), store.chunks("test")).any()
        assert chunks
    pd.testing.assert_frame_equal(found[0][0], found[1][0], check_exact=True)
    pd.testing.assert_frame_equal(found[0][1], found[1][1], check_exact=True)
    assert found[0][2] == found[1][2]


# Cost


@pytest.mark.parametrize("kind", [experiment, baselines])
def test_the_cost_is_written_down(short, small_corpus, kind):
    built = corpus(small_corpus)
    record = kind.run(built, short(built, epochs_phase2=0), 6, log=quiet).record
    cost = record["cost"]
    assert set(cost) == {"wall_s", "cpu_s", "peak_mib", "energy_j", "energy_note", "sessions"}
    assert cost["wall_s"] > 0
    assert cost["cpu_s"] > 0
    assert cost["peak_mib"] > 50
    assert cost["sessions"] == 1
    assert record["seconds"] == round(cost["wall_s"], 1)
    assert (cost["energy_j"] is None) == cost["energy_note"].startswith("unknown")


# Random weights


def test_random_weights_are_said_and_recorded(short, small_corpus):
    built, lines = corpus(small_corpus), []
    run = experiment.train(built, short(built, weights="random"), 0, log=lines.append)
    assert any("random weights" in line for line in lines)
    expected = {"name": "random", "sha256": None, "random": True}
    assert run.record["weights"] == expected
    assert run.metrics["random_weights"] is True
    assert set(run.history["phase"]) == {1}
    assert run.metrics["overrides"]["weights"] == ["small.weights.h5", "random"]


# The best of four


def test_the_best_is_chosen_on_devel_alone(short, small_corpus, monkeypatch):
    built, kept = corpus(small_corpus), []
    used = short(built, epochs_phase2=0)
    for name in AUGMENTATIONS[:3]:
        of = used.model_copy(update={"augmentation": name})
        kept.append(experiment.train(built, of, 0, log=quiet))
    monkeypatch.setattr(training_fit, "fit", None)  # nothing is trained from here on
    for devel, test, best in (([1, 5, 3], [9, 0, 9], 1), ([8, 5, 3], [0, 9, 9], 0)):
        for run, on_devel, on_test in zip(kept, devel, test, strict=True):
            metrics = run.metrics
            metrics["devel"]["file"]["score"] = on_devel / 10
            metrics["test"]["file"]["score"] = on_test / 10
            (run.folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
        found = experiment.best_run(built, used, 0)
        assert found.folder == kept[best].folder
    metrics["devel"]["file"]["score"] = None  # no number, as a correlation with a constant
    (kept[2].folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    assert experiment.best_run(built, used, 0).folder == kept[0].folder


def test_without_any_finished_run_the_best_is_trained(short, small_corpus):
    built = corpus(small_corpus)
    used = short(built, augmentation="cutmix")
    run = experiment.best_run(built, used, 0)
    assert run.folder == runs.folder(built.card, used, 0)
    assert run.folder.name.startswith("squeezenet-cutmix-s0-x")


# Regression


def as_ages(table):
    """A number that the audio has something to do with."""
    place = table["label"].map({name: i for i, name in enumerate(CLASSES)})
    return table.assign(label=(20 + 10 * place + np.arange(len(table)) % 7).astype(str))


REGRESSION_CARD = """
task: regression
settings: {chunk_length_s: 2.0, image_size: 32, mel_bands: 32, backbone: squeezenet, top_db: 80,
  batch_size: 16, bootstrap_draws: 20}
"""


@pytest.mark.parametrize("kind", [experiment, baselines])
def test_a_regression_corpus(short, small_corpus, kind):
    built = corpus(small_corpus, as_ages, REGRESSION_CARD)
    run = kind.run(built, short(built), 0, log=quiet)
    table = run.predictions
    columns = ["file", "speaker", "partition", "label", "prediction"]
    assert table.columns.tolist() == columns
    test = table.query("partition == 'test'")
    metrics = run.metrics["test"]
    assert metrics["metric"] == "spearman"
    true, found = test["label"].astype(float), test["prediction"].astype(float)
    assert metrics["file"]["mae"] == pytest.approx(np.abs(true - found).mean(), rel=1e-4)
    assert metrics["file"]["score"] == pytest.approx(true.corr(found, "spearman"), abs=1e-3)
    assert 0 < found.mean() < 100
    assert runs.headline(metrics).startswith("rho")
    if kind is experiment:
        audio = [built.folder / path for path in test["file"]]
        np.testing.assert_allclose(
            deployment_predict.predict_files(run.folder, audio)["prediction"], found, 1e-4
        )


def test_a_regression_that_predicts_one_number_for_all_is_finished(
    short, small_corpus, monkeypatch
):
    built = corpus(small_corpus, as_ages, REGRESSION_CARD)

    def constant(predictor, source, chunks, size=64):
        return np.full((len(chunks), 1), 40, np.float32)

    monkeypatch.setattr(feature_store, "predict", constant)
    run = experiment.train(built, short(built), 0, log=quiet)
    assert run.metrics["devel"]["file"]["score"] is None
    assert "undefined" in runs.headline(run.metrics["devel"])
    assert experiment.best_run(built, short(built), 0).folder == run.folder


# The baseline


def test_the_baseline_leaves_its_files(short, small_corpus):
    built, lines = corpus(small_corpus), []
    run = baselines.train_baseline(built, short(built, augmentation="cutmix"), 3, log=lines.append)
    assert run.folder.name.startswith("squeezenet-svm-s3-x")
    assert sorted(path.name for path in run.folder.iterdir()) == [
        name for name in FILES if name != "model.keras"
    ]
    assert run.record["kind"] == "svm"
    assert run.settings.augmentation == "none"
    for partition in ("devel", "test"):
        table = run.predictions.query("partition == @partition")
        expected = balanced_accuracy_score(table["label"], table["prediction"])
        assert run.metrics[partition]["file"]["score"] == pytest.approx(expected)
    lines.clear()
    baselines.train_baseline(built, short(built), 3, log=lines.append)
    assert "not repeated" in lines[0]
    with pytest.raises(settings.InputError, match="baseline keeps none"):
        deployment_predict.predict_files(run.folder, [built.folder / built.table["path"][0]])


def test_the_baselines_complexity_is_the_best_on_devel(short, small_corpus):
    run = baselines.train_baseline(corpus(small_corpus), short(corpus(small_corpus)), 0, log=quiet)
    tried = run.history
    assert tried["complexity"].tolist() == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    best = tried[tried["devel_score"] == tried["devel_score"].max()].iloc[0]
    assert run.record["complexity"] == best["complexity"]
    assert run.metrics["devel"]["file"]["score"] == pytest.approx(best["devel_score"])


def test_a_useful_complexity_is_found(rng):
    labels = np.tile([0, 1, 2], 40)
    values = rng.normal(0, 1, (120, 20))
    values[np.arange(120), labels] += 4
    tried = baselines.devel_scores((values[:60], labels[:60]), (values[60:], labels[60:]), 3, 0)
    scores = tried.set_index("complexity")["devel_score"]
    assert scores[1e-2] > 0.85
    shuffled = rng.permutation(labels[:60])
    tried = baselines.devel_scores((values[:60], shuffled), (values[60:], labels[60:]), 3, 0)
    assert tried["devel_score"].max() < 0.7


def test_features_are_pooled_activations_averaged_over_a_files_chunks(short, small_corpus):
    built = corpus(small_corpus)
    used = short(built)
    store = feature_store.load_spectrograms(built, used)
    found = baselines.deep_spectrum_features(store, used)
    backbone = baselines.model.backbones.build_backbone("squeezenet", used.weights, 32)
    for row in (0, 50, 95):
        own = np.flatnonzero(store.file == row)
        maps = backbone(training_fit.model.inputs(store.mel[own], used), training=False).numpy()
        np.testing.assert_allclose(found[row], maps.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)


def test_two_classes(short, small_corpus):
    """A support vector machine of two classes has one decision value, not two."""

    def loud_or_not(table):
        loud = {"calm": "low", "sad": "low", "happy": "high", "angry": "high"}
        return table.assign(label=table["label"].map(loud))

    card = REGRESSION_CARD.replace("task: regression", "classes: [low, high]")
    built = corpus(small_corpus, loud_or_not, card)
    for kind in (baselines, experiment):
        run = kind.run(built, short(built), 0, log=quiet)
        table = run.predictions.query("partition == 'test'")
        assert set(table["prediction"]) <= {"low", "high"}
        expected = balanced_accuracy_score(table["label"], table["prediction"])
        assert run.metrics["test"]["file"]["score"] == pytest.approx(expected)
        assert run.metrics["test"]["chance"] == 0.5
    svm = runs.load(runs.folder(built.card, short(built), 0, runs.SVM)).predictions
    np.testing.assert_allclose(svm["low"], -svm["high"])
    assert (svm["prediction"] == np.where(svm["high"] > 0, "high", "low")).all()

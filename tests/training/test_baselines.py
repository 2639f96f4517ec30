"""The two baselines: their files, their identity, and what is chosen on what."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

from dslite import cards, settings
from dslite.deployment import predict
from dslite.features import functionals
from dslite.features import store as feature_store
from dslite.models import backbones, classifier
from dslite.studies import jobs, study
from dslite.training import baselines, runs
from tests.changed_labels import blinded, shuffled_test_labels
from tests.training.conftest import SHORT
from tests.training.toy import quiet

KINDS = [runs.SVM, runs.LIBROSA]
CLASSES = ["calm", "happy", "sad", "angry"]


@pytest.fixture
def compute(short):
    """A baseline of a manifest, of either kind."""

    def make(built, kind=runs.LIBROSA, seed=0, log=quiet, force=False, **differs):
        used = short(built, **differs)
        return baselines.train_baseline(built, used, seed, force=force, log=log, kind=kind)

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_leaves_its_files(corpus, compute, kind, monkeypatch):
    if kind == runs.LIBROSA:  # needs no network
        for module, name in (
            (feature_store, "load_spectrograms"),
            (classifier, "feature_extractor"),
        ):
            monkeypatch.setattr(module, name, None)
    built, lines = corpus(), []
    run = compute(built, kind, 3, lines.append, augmentation="cutmix")
    name = {"svm": "squeezenet-svm-s3-x", "librosa": "librosa-svm-s3"}[kind]
    assert run.folder.name.startswith(name)
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"history.csv", "metrics.json", "predictions.csv", "run.json"}
    assert lines[0].startswith(f"{runs.LABELS[kind]}: complexity ")
    assert run.record["kind"] == kind
    assert run.settings.augmentation == "none"
    for partition in ("devel", "test"):
        table = run.predictions.query("partition == @partition")
        expected = balanced_accuracy_score(table["label"], table["prediction"])
        assert run.metrics[partition]["file"]["score"] == pytest.approx(expected)
    assert expected > 0.3  # chance 0.25
    history = run.history
    grid = [0.1, 1, 10] if kind == runs.LIBROSA else [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert history["complexity"].tolist() == grid
    best = history[history["devel_score"] == history["devel_score"].max()].iloc[0]
    assert run.record["complexity"] == best["complexity"]
    assert run.metrics["devel"]["file"]["score"] == pytest.approx(best["devel_score"])
    if kind == runs.LIBROSA:
        assert set(run.record["settings"]) == {"sample_rate", "bootstrap_draws"}
        assert (run.metrics["backbone"], run.metrics["weights"]) == ("", "")
    else:
        with pytest.raises(settings.InputError, match="a baseline has none"):
            predict.predict_files(run.folder, [built.folder / built.table["path"][0]])


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_written_as_the_svm_sees_them(
    corpus, compute, command, tiny, tmp_path, monkeypatch, kind
):
    built, learnt, fit = corpus(), [], baselines.devel_scores
    monkeypatch.setattr(
        baselines, "devel_scores", lambda *parts: learnt.append(parts[:2]) or fit(*parts)
    )
    compute(built, kind)
    words = [f"--set={key}={value}" for key, value in SHORT.items()]
    words += {runs.LIBROSA: ["--features=librosa"], runs.SVM: ["--weights", tiny]}[kind]
    status, out, err = command("features", built.card.table, "-o", tmp_path / "x.npz", *words)
    assert (status, err) == (0, "")
    with np.load(tmp_path / "x.npz") as table:
        for partition, (values, labels) in zip(("train", "devel"), *learnt, strict=True):
            rows = table["partition"] == partition
            np.testing.assert_array_equal(table["features"][rows], values)
            assert table["label"][rows].tolist() == [built.classes[label] for label in labels]
        assert table["name"].tolist() == built.table["path"].tolist()
        count, width = table["features"].shape
        assert len(set(table["feature_names"])) == width
    assert f"{count} files, {width} features each" in out


def test_features_need_no_labels(command, tmp_path, rng):
    """Of a folder of recordings, of a table without labels, and where labels are passed over."""
    folder = tmp_path / "rec"
    for name in ("a.wav", "deep/b.flac", "deep/c.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, rng.uniform(-0.1, 0.1, 8000), 16000)
    (folder / "few.csv").write_text("file,age\na.wav,30\ndeep/c.wav,40\n", encoding="utf-8")
    (folder / "two.csv").write_text("file,label\na.wav,x\ndeep/c.wav,y\n", encoding="utf-8")
    two = ["a.wav", "deep/c.wav"]
    words = {folder: [], folder / "few.csv": [], folder / "two.csv": ["--unlabelled"]}
    for corpus, more in words.items():
        output = tmp_path / "x.csv"
        status, out, err = command("features", corpus, "--features=librosa", "-o", output, *more)
        assert (status, "without labels" in out) == (0, True), err
        table = pd.read_csv(output, keep_default_na=False)
        expected = two if corpus.suffix else [two[0], "deep/b.flac", two[1]]
        assert table["name"].tolist() == expected
        assert set(table["label"]) == set(table["partition"]) == {""}
    (folder / "a.wav").write_text("no audio")
    status, _, err = command("features", folder, "--features=librosa", "-o", tmp_path / "y.csv")
    assert status == 2
    assert "a.wav: not readable as audio" in err


def test_test_is_scored_once_by_a_machine_of_train_and_devel(corpus, compute, monkeypatch):
    learnt, fit, built = [], SVC.fit, corpus()
    monkeypatch.setattr(SVC, "fit", lambda self, x, *y: learnt.append(len(x)) or fit(self, x, *y))
    compute(built)
    sizes = built.table["partition"].value_counts()
    assert learnt == [sizes["train"]] * 4 + [sizes["train"] + sizes["devel"]]


@pytest.mark.parametrize("kind", KINDS)
def test_test_labels_decide_nothing(corpus, compute, kind):
    honest = compute(corpus(), kind)
    columns = ["file", "prediction", *CLASSES]
    predictions, history, measured = honest.predictions[columns], honest.history, honest.metrics
    for change in (shuffled_test_labels, blinded):
        other = compute(corpus(change), kind)
        pd.testing.assert_frame_equal(predictions, other.predictions[columns], check_exact=True)
        pd.testing.assert_frame_equal(history, other.history, check_exact=True)
        assert other.metrics["devel"] == measured["devel"]
        assert other.metrics["test"] != measured["test"]
    assert other.metrics["test"] is None


def test_deep_spectrum_features_are_pooled_activations_averaged_over_chunks(corpus, short):
    """Averaged over the rows that `pooling: time` leaves, they are those of `pooling: global`."""
    built, features = corpus(), {}
    for pooling in ("global", "time"):
        used = short(built, pooling=pooling)
        store = feature_store.load_spectrograms(built, used)
        features[pooling] = baselines.deep_spectrum_features(store, used)
    assert features["global"].shape == (96, 16)
    backbone = backbones.build_backbone("squeezenet", used.weights, 32)
    chunks = np.flatnonzero(store.file == 50)
    maps = backbone(classifier.inputs(store.mel[chunks], used), training=False).numpy()
    of_one = maps.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(features["global"][50], of_one, rtol=1e-3, atol=1e-5)
    rows = features["time"].reshape(96, -1, 16)
    assert rows.shape[1] > 1
    np.testing.assert_allclose(rows.mean(axis=1), features["global"], rtol=1e-3, atol=1e-5)


def test_of_two_classes_there_is_one_decision_value(corpus, compute):
    def loud_or_not(table):
        loud = {"calm": "low", "sad": "low", "happy": "high", "angry": "high"}
        return table.assign(label=table["label"].map(loud))

    run = compute(corpus(loud_or_not, classes="[low, high]"), runs.SVM)
    table = run.predictions
    np.testing.assert_allclose(table["low"], -table["high"])
    assert (table["prediction"] == np.where(table["high"] > 0, "high", "low")).all()
    assert run.metrics["test"]["chance"] == 0.5


# The recipe that is not the paper's

RECIPE = {"picture": "clip+level", "columns": 32, "pooling": "segments", "head": "ridge"}


def test_whatever_the_preset_the_features_are_the_papers(corpus, monkeypatch):
    """Its picture and its pooling, with the run's network; also of what the user changed."""
    built, shapes = corpus(), []
    presets = {"tuned": RECIPE, "paper": {"units": 16, "dropout": 0.5}}
    built = replace(built, card=built.card.model_copy(update={"presets": presets}))
    monkeypatch.setattr(baselines, "COMPLEXITIES", {runs.SVM: (1e-3, 1e-2)})
    monkeypatch.setattr(
        *(baselines, "devel_scores"),
        lambda train, *rest, of=baselines.devel_scores: (
            shapes.append(train[0].shape) or of(train, *rest)
        ),
    )
    used = cards.settings_of(built.card, "", "weights=random")
    assert (used.pooling, used.picture_shape) == ("segments", (64, 32))
    run = baselines.train_baseline(built, used, 0, log=quiet)
    assert shapes == [(48, 512)]  # of SqueezeNet's last layer
    assert run.folder == runs.folder(built.card, used, 0, runs.SVM)
    recorded = cards.settings_of(built.card, "paper", "weights=random")
    assert run.settings == recorded
    assert (recorded.picture, recorded.pooling, recorded.units) == ("chunk", "global", 16)
    assert run.record["preset"] == "tuned"
    assert set(run.record["overrides"]) == {"weights"}
    lines = []
    baselines.train_baseline(built, used, 0, log=lines.append)
    assert "not repeated" in lines[0]
    # What is recorded gives the same again, as `dslite rerun` asks for it.
    assert runs.of_baseline(built.card, run.settings, "tuned") == run.settings
    # A study knows it as the run of its configuration.
    job = jobs.job(
        study.Config(
            **{"dataset": built.card.table, "preset": "tuned", "backbone": "squeezenet"},
            **{"weights": "random", "kind": runs.SVM, "seed": 0},
        ),
        jobs.BASELINE,
        built.card,
    )
    assert job.folder == run.folder
    assert jobs.look_up(job).state == jobs.FINISHED


def test_what_is_changed_of_a_preset_holds_for_its_features():
    card = cards.load("ravdess")
    used = cards.settings_of(card, "", "chunk_length_s=3 trim_db=40 copies=2", backbone="vgg16")
    features = runs.of_baseline(card, used)
    assert (features.chunk_length_s, features.trim_db, features.trim) == (3.0, 40.0, "off")
    assert (features.backbone, features.picture, features.image_size) == ("vgg16", "chunk", 224)
    assert features.copies == 0  # only a network learns from them
    paper = cards.settings_of(card, "paper", "mel_bands=64")
    assert runs.of_baseline(card, paper, "paper") is paper


# Identity


def test_only_what_can_change_its_numbers_is_its_identity(corpus, compute, monkeypatch):
    lines, built = [], corpus()

    def repeated(**differs):
        lines.clear()
        compute(built, log=lines.append, **differs)
        return "not repeated" in " ".join(lines)

    assert not repeated()
    for same in (
        *({}, {"backbone": "densenet121"}, {"weights": "random"}, {"epochs_phase1": 3}),
        *({"augmentation": "cutmix"}, {"fusion": "vote"}, {"chunk_length_s": 1.5}),
    ):
        assert repeated(**same), same
    assert not repeated(bootstrap_draws=40)
    assert not repeated(bootstrap_draws=40, sample_rate=8000)
    assert repeated(bootstrap_draws=40, sample_rate=8000)
    assert not repeated(bootstrap_draws=40, sample_rate=8000, force=True)
    assert repeated()  # its folder is another one
    run = compute(built, bootstrap_draws=40, units=7)
    assert run.record["overrides"] == {"bootstrap_draws": [50, 40]}
    monkeypatch.setattr(functionals, "VERSION", functionals.VERSION + 1)
    assert not repeated()
    built = corpus(shuffled_test_labels)
    assert not repeated()


def test_the_networks_packages_are_not_its_packages(corpus, monkeypatch):
    built = corpus()

    def identity(kind, **versions):
        all_versions = {"python": "3", "tensorflow": "2", "librosa": "0.11"} | versions
        monkeypatch.setattr(runs.provenance, "versions", lambda: all_versions)
        return runs.describe(built.card, cards.settings_of(built.card), 0, "", "", kind)["identity"]

    assert identity(runs.LIBROSA, tensorflow="3") == identity(runs.LIBROSA)
    assert identity(runs.LIBROSA, librosa="0.12") != identity(runs.LIBROSA)
    assert identity(runs.SVM) != identity(runs.SVM, tensorflow="3")


# Regression


@pytest.mark.parametrize("kind", KINDS)
def test_a_regression_is_scored_by_its_correlations(ages, compute, kind):
    run = compute(ages, kind)
    table = run.predictions.query("partition == 'test'")
    true, predicted = table["label"].astype(float), table["prediction"].astype(float)
    measured = run.metrics["test"]["file"]
    assert measured["pearson"] == pytest.approx(true.corr(predicted), abs=1e-5)
    assert measured["score"] == pytest.approx(true.corr(predicted, "spearman"), abs=1e-3)
    assert measured["mae"] < true.std() + abs(true.mean() - predicted.mean()) < 2 * true.std()

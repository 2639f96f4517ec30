"""The acoustic baseline: its files, its identity, what is chosen on what, and its command."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

from dslite import cards
from dslite.datasets import load_manifest
from dslite.evaluation import metrics as evaluation_metrics
from dslite.features import functionals, store
from dslite.models import classifier
from dslite.training import baselines, runs
from tests.changed_labels import blinded, shuffled_test_labels

CARD = "classes: [calm, happy, sad, angry]\nsettings: {backbone: squeezenet, bootstrap_draws: 30}\n"
AGES = "task: regression\nsettings: {bootstrap_draws: 30}\n"


@pytest.fixture
def corpus(small_corpus, workplace, tmp_path):
    """Makes a table of the small corpus's audio; takes a change of it and a card."""

    def make(change=lambda table: table, card=CARD):
        table = pd.read_csv(small_corpus, dtype=str)
        change(table).to_csv(tmp_path / "mine.csv", index=False)
        content = f"folder: {small_corpus.parent}\n{card}"
        (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
        return load_manifest(cards.load(str(tmp_path / "mine.csv")))

    return make


def compute(built, seed=0, log=lambda line: None, force=False, **differs):
    used = cards.settings_of(built.card, "", differs)
    return baselines.train_baseline(built, used, seed, force=force, log=log, kind=runs.LIBROSA)


def as_ages(table):
    """A number that the audio has something to do with."""
    place = table["label"].map({"calm": 0, "happy": 1, "sad": 2, "angry": 3})
    return table.assign(label=(20 + 10 * place + np.arange(len(table)) % 7).astype(str))


# The run


def test_it_leaves_its_files_and_no_network(corpus, monkeypatch):
    for room, name in ((store, "load_spectrograms"), (classifier, "feature_extractor")):
        monkeypatch.setattr(room, name, lambda *given: pytest.fail("a network"))
    lines = []
    run = compute(corpus(), 3, lines.append)
    assert run.folder.name == "librosa-svm-s3"
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *("history.csv", "metrics.json", "predictions.csv", "run.json")
    ]
    assert "librosa statistics + RBF-SVM" in lines[0]
    assert run.record["kind"] == "librosa"
    assert set(run.record["settings"]) == {"sample_rate", "bootstrap_draws"}
    metrics = run.metrics
    assert (metrics["backbone"], metrics["weights"], metrics["random_weights"]) == ("", "", False)
    for partition in ("devel", "test"):
        table = run.predictions.query("partition == @partition")
        expected = balanced_accuracy_score(table["label"], table["prediction"])
        assert metrics[partition]["file"]["score"] == pytest.approx(expected)
        assert metrics[partition]["file"]["score"] == metrics[partition]["chunk"]["score"]
        assert expected > 0.3  # chance 0.25


def test_the_complexity_is_the_best_on_devel(corpus):
    run = compute(corpus())
    tried = run.history
    assert tried["complexity"].tolist() == [0.1, 1, 10]
    best = tried[tried["devel_score"] == tried["devel_score"].max()].iloc[0]
    assert run.record["complexity"] == best["complexity"]
    assert run.metrics["devel"]["file"]["score"] == pytest.approx(best["devel_score"])


def test_test_is_scored_once_by_a_machine_of_train_and_devel(corpus, monkeypatch):
    learnt, fit = [], SVC.fit
    monkeypatch.setattr(
        SVC, "fit", lambda self, x, *more: learnt.append(len(x)) or fit(self, x, *more)
    )
    built = corpus()
    sizes = built.table["partition"].value_counts()
    compute(built)
    assert learnt == [sizes["train"]] * 4 + [sizes["train"] + sizes["devel"]]


@pytest.mark.parametrize("change", [shuffled_test_labels, blinded])
def test_test_labels_decide_nothing(corpus, change):
    honest = compute(corpus())
    table, devel, test = honest.predictions, honest.metrics["devel"], honest.metrics["test"]
    other = compute(corpus(change))
    columns = ["file", "prediction", "calm", "happy", "sad", "angry"]
    pd.testing.assert_frame_equal(table[columns], other.predictions[columns], check_exact=True)
    assert other.metrics["devel"] == devel
    assert other.metrics["test"] != test
    assert (other.metrics["test"] is None) == (change is blinded)


def test_features_that_tell_classes_apart_are_learnt_whatever_their_shape(rng):
    """A ring around a disc: no line separates them, radial basis functions do."""
    angle, radius = rng.uniform(0, 2 * np.pi, 200), np.repeat([1.0, 4.0], 100)
    values = np.stack([1000 * radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    labels = np.repeat([0, 1], 100)
    order = rng.permutation(200)
    values, labels = values[order], labels[order]
    parts = (values[:100], labels[:100]), (values[100:], labels[100:])
    tried = baselines.devel_scores(*parts, 2, 0, runs.LIBROSA).set_index("complexity")[
        "devel_score"
    ]
    assert tried[1] > 0.95
    assert baselines.devel_scores(*parts, 2, 0)["devel_score"].max() < 0.8


def test_small_classes_count_as_much_as_large_ones(rng):
    labels = np.repeat([0, 1], [190, 10])
    values = rng.normal(size=(200, 2)) + labels[:, None]
    fitted = baselines.support_vector_machine(1, False, 0, runs.LIBROSA).fit(values, labels)
    assert evaluation_metrics.recalls(labels, fitted.predict(values), 2)[1] > 0.6


def test_a_regression_does_not_depend_on_the_unit(rng):
    values = rng.normal(size=(80, 5))
    labels = values[:, 0] + 0.1 * rng.normal(size=80)
    seconds, milliseconds = (
        baselines.support_vector_machine(1, True, 0, runs.LIBROSA)
        .fit(values, unit * labels)
        .predict(values)
        for unit in (1, 1000)
    )
    np.testing.assert_allclose(milliseconds, 1000 * seconds, rtol=1e-3, atol=1)
    assert evaluation_metrics.rho(labels, seconds) > 0.9


def test_deep_spectrum_features_follow_the_pooling(corpus, tiny):
    """Averaged over the rows that `pooling: time` keeps, they are those of `pooling: global`."""
    built, found = corpus(), {}
    for pooling in ("global", "time"):
        used = cards.settings_of(
            built.card, "", {"weights": str(tiny), "image_size": 32}, pooling=pooling
        )
        found[pooling] = baselines.deep_spectrum_features(
            store.load_spectrograms(built, used), used
        )
    assert found["global"].shape == (96, 16)
    rows = found["time"].reshape(96, -1, 16)
    assert rows.shape[1] > 1
    np.testing.assert_allclose(rows.mean(axis=1), found["global"], rtol=1e-3, atol=1e-5)


# Identity


def test_only_what_can_change_its_numbers_is_its_identity(corpus, monkeypatch):
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
    assert repeated()  # it lies beside the others
    monkeypatch.setattr(functionals, "VERSION", functionals.VERSION + 1)
    assert not repeated()
    built = corpus(shuffled_test_labels)
    assert not repeated()


def test_the_networks_packages_are_not_its_packages(corpus, monkeypatch):
    built = corpus()
    used = cards.settings_of(built.card)

    def identity(kind, **versions):
        known = {"python": "3", "tensorflow": "2", "librosa": "0.11"} | versions
        monkeypatch.setattr(runs.provenance, "versions", lambda: known)
        return runs.describe(built.card, used, 0, "", "", kind)["identity"]

    first = identity(runs.LIBROSA)
    assert identity(runs.LIBROSA, tensorflow="3") == first
    assert identity(runs.LIBROSA, librosa="0.12") != first
    assert identity(runs.SVM) != identity(runs.SVM, tensorflow="3")


def test_only_its_own_overrides_are_told(corpus):
    run = compute(corpus(), bootstrap_draws=40, units=7, weights="random")
    assert run.record["overrides"] == {"bootstrap_draws": [30, 40]}


def test_names():
    card = cards.load("ravdess")
    used = cards.settings_of(card, weights="random")
    assert runs.name(used, 3, runs.SVM) == "densenet121-svm-s3"
    assert runs.name(used, 3, runs.LIBROSA) == "librosa-svm-s3"
    assert runs.folder(card, used, 0, runs.LIBROSA, "tuned").name == "librosa-svm-s0"
    assert runs.folder(card, used, 0, runs.LIBROSA, "paper").name == "librosa-svm-s0-paper"


# Regression


def test_a_regression_reports_five_measures(corpus):
    run = compute(corpus(as_ages, AGES))
    table = run.predictions.query("partition == 'test'")
    true, found = table["label"].astype(float), table["prediction"].astype(float)
    for level in ("file", "chunk"):
        measured = run.metrics["test"][level]
        assert measured["pearson"] == pytest.approx(true.corr(found), abs=1e-5)
        assert measured["score"] == pytest.approx(true.corr(found, "spearman"), abs=1e-3)
        assert measured["mae"] == pytest.approx((true - found).abs().mean(), rel=1e-4)
        assert measured["rmse"] == pytest.approx(((true - found) ** 2).mean() ** 0.5, rel=1e-4)
        assert 0 < measured["ccc"] <= measured["pearson"]
    shown = runs.score_table(run)
    columns = ["spearman", "pearson", "ccc", "mae (label's unit)", "rmse (label's unit)"]
    row = shown.query("partition == 'test' and level == 'file'").iloc[0]
    file = run.metrics["test"]["file"]
    keys = ("score", "pearson", "ccc", "mae", "rmse")
    assert row[columns].tolist() == pytest.approx([file[key] for key in keys], rel=5e-3)
    said = runs.headline(run.metrics["test"])
    assert f"rho {file['score']:.3f}" in said
    assert f"Pearson {file['pearson']:.3f}, CCC {file['ccc']:.3f}" in said
    assert f"MAE {file['mae']:.3g}, RMSE {file['rmse']:.3g}" in said


def test_a_regression_of_an_older_version_is_still_shown(corpus):
    run = compute(corpus(as_ages, AGES))
    metrics = run.metrics
    for partition in ("devel", "test"):
        for level in ("file", "chunk"):
            del metrics[partition][level]["pearson"]
    (run.folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    assert runs.score_table(run)["pearson"].tolist() == [""] * 4
    assert "Pearson" not in runs.headline(run.metrics["test"])
    assert "CCC" in runs.headline(run.metrics["test"])


def test_a_regression_that_predicts_one_number_is_finished(corpus, monkeypatch):
    monkeypatch.setattr(
        baselines, "_scores", lambda fitted, values, classes: np.full((len(values), 1), 40.0)
    )
    run = compute(corpus(as_ages, AGES))
    assert run.metrics["devel"]["file"]["score"] is None
    assert "undefined" in runs.headline(run.metrics["devel"])
    assert "RMSE" in runs.headline(run.metrics["devel"])


def test_a_classification_has_no_column_of_a_regression(corpus):
    shown = runs.score_table(compute(corpus()))
    assert list(shown.columns) == [
        *("partition", "level", "n", "uar", "interval_files", "interval_speakers"),
        *("mean fusion", "vote"),
    ]


# The command


def test_the_command_prints_both_headlines(command, corpus):
    built = corpus()
    status, out, err = command("baseline", built.card.table, "--features", "librosa", "--seed", 2)
    assert status == 0, err
    run = runs.load(runs.folder(built.card, cards.settings_of(built.card), 2, runs.LIBROSA))
    for partition in ("devel", "test"):
        assert f"{partition}: {runs.headline(run.metrics[partition])}" in out
    assert "librosa-svm-s2" in out
    again = ("baseline", built.card.table, "--features=librosa", "--seed=2")
    assert "not repeated" in command(*again)[1]
    assert "not repeated" not in command(*again, "--force")[1]
    assert "not repeated" not in command(*again, "--set", "bootstrap_draws=50")[1]


def test_the_command_takes_the_networks_features_unless_told_otherwise(
    command, corpus, monkeypatch
):
    built = corpus()
    done, asked = compute(built), []

    def run(built, used, seed, preset, force, log, kind):
        asked.append((used.backbone, used.weights, kind))
        return done

    monkeypatch.setattr(baselines, "train_baseline", run)
    given = ("baseline", built.card.table, "--weights=random")
    assert command(*given, "--backbone=mobilenet_v2")[0] == 0
    assert command(*given, "--features=network")[0] == 0
    assert asked == [("mobilenet_v2", "random", "svm"), ("squeezenet", "random", "svm")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--features", "networks"], "did you mean 'network'"),
        (["--features", "mfcc"], "network, librosa"),
        (["--features", "librosa", "--backbone", "squeezenet"], "no backbone"),
        (["--features", "librosa", "--weights", "random"], "no backbone"),
        (["--features", "librosa", "--set", "sample_rates=1"], "sample_rate"),
        (["--preset", "nonsense"], "nonsense"),
    ],
)
def test_what_the_command_refuses(command, corpus, words, told):
    status, out, err = command("baseline", corpus().card.table, *words)
    assert status == 2
    assert out == ""
    assert told in err
    assert "Traceback" not in err

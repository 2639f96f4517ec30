"""Runs: what a user chose tells two of them apart, and all are read into one table."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dslite import cards
from dslite.datasets import load_manifest
from dslite.evaluation import metrics
from dslite.settings import Settings
from dslite.training import cross_validation, runs
from tests.finished_runs import evaluation, into_record, write_metrics, write_run
from tests.refusals import refusal


def name(preset="", kind=runs.NETWORK, card="ravdess", fold="", **overrides):
    """The name of a run of a card with some overrides."""
    card = cards.load(card)
    used = cards.settings_of(card, preset, overrides)
    place = runs.folder(card, used, 3, kind, preset or card.default_preset, fold)
    return str(place.relative_to(runs.paths.results(card.dataset)))


def test_the_name_of_a_run():
    assert name() == "densenet121-none-s3"
    assert name("paper") == "densenet121-none-s3-paper"
    assert name(backbone="mobilenet_v2", augmentation="cutmix") == "mobilenet_v2-cutmix-s3"
    # What equals the preset is no change of it.
    preset = cards.settings_of(cards.load("ravdess"))
    assert name(**{key: getattr(preset, key) for key in ("units", "dropout", "top_db")}) == name()
    # A change is six digits at the end.
    assert re.fullmatch(r"densenet121-none-s3-paper-x[0-9a-f]{6}", name("paper", units=64))
    assert re.fullmatch(r"densenet121-svm-s3-x[0-9a-f]{6}", name(kind=runs.SVM, units=64))


# Something else than the value of `paper`, for every setting that is neither text nor a file.
OTHER = {
    **{"sample_rate": 22050, "chunk_length_s": 3.0, "chunk_hop_s": 1.5, "tail": "drop"},
    **{"trim": "on", "window_ms": 40, "hop_ms": 10, "mel_bands": 64, "mel_min_hz": 50},
    **{"mel_max_hz": 7000, "top_db": 70, "image_size": 96, "feature_layer": "stride16"},
    **{"pooling": "time", "units": 33, "dropout": 0.35, "optimizer": "sgd"},
    **{"learning_rate": 0.02, "learning_rate_phase2": 0.01, "schedule": "cosine"},
    **{"warmup_epochs": 2, "weight_decay": 0.1, "label_smoothing": 0.2, "patience": 3},
    **{"batch_size": 8, "epochs_phase1": 3, "epochs_phase2": 4, "trained_share": 0.45},
    **{"fine_tune_reading": "code", "balance": "none", "trunk_cache": "off"},
    **{"trunk_cache_gib": 1.0, "sap_a": 0.4, "sap_s": 8.0, "probability_min": 0.05},
    **{"probability_max": 0.35, "cutmix_px": 40, "mask_px": 50, "probability_reading": "code"},
    **{"cutmix_reading": "code", "mask_reading": "code", "fusion": "vote"},
    **{"bootstrap_draws": 77, "weights": "random", "trim_db": 40, "picture": "clip"},
    **{"columns": 64, "level_window_ms": 64, "level_max_hz": 3000, "level_range_db": 80},
    **{"segments": 2, "head": "ridge", "copies": 2},
    **{"mel_scale": "htk", "mel_norm": "none", "normalise": "off", "power_floor": 1e-16},
    **{"epoch_choice": "best", "threads": 3, "products": "on"},
}


def test_every_setting_tells_two_runs_apart():
    assert set(OTHER) == set(Settings.model_fields) - {"backbone", "augmentation"}
    segments = {"picture": "clip+level", "pooling": "segments", "head": "ridge"}
    needed = {"copies": {"head": "ridge"}, "products": segments}
    names = {k: name("paper", **{k: value}, **needed.get(k, {})) for k, value in OTHER.items()}
    several = {"": {}, "two": {"units": 33, "dropout": 0.35}, "33": {"units": 34}}
    names |= {key: name("paper", **differs) for key, differs in several.items()}
    assert len(set(names.values())) == len(names)


def test_weights_count_by_their_content_and_keep_the_name(tmp_path):
    card, identities = cards.load("ravdess"), []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        file = tmp_path / folder / "my.weights.h5"
        file.parent.mkdir()
        file.write_bytes(content)
        used = cards.settings_of(card, weights=str(file))
        record = runs.describe(card, used, 0, "", "manifest", runs.NETWORK)
        identities.append(record["identity"])
    assert identities[0] == identities[1] != identities[2]
    assert name(weights=str(file)) == name() != name(weights="random")
    # From random to pre-trained is a change as well, whatever they are.
    card = card.model_copy(update={"settings": card.settings | {"weights": "random"}})
    used = [cards.settings_of(card, weights=w) for w in ("random", "imagenet", str(file))]
    plain, imagenet, by_path = (runs.folder(card, one, 3) for one in used)
    assert plain.name == "densenet121-none-s3"
    assert imagenet == by_path != plain


@pytest.mark.parametrize("key", ["cutmix_px", "top_db"])
def test_a_number_is_the_same_in_every_form(key):
    """Also where no check made it a float: `model_copy` has none."""
    card = cards.load("ravdess")
    forms = [cards.settings_of(card, "", {key: value}) for value in (57, 57.0)]
    forms += [forms[0].model_copy(update={key: value}) for value in (57, 57.0, np.float64(57))]
    assert len({runs.folder(card, used, 0) for used in forms}) == 1


def test_acoustic_statistics_have_no_network_in_their_name():
    card = cards.load("ravdess")
    plain = runs.folder(card, cards.settings_of(card, units=64, weights="random"), 0, runs.LIBROSA)
    assert plain.name == "librosa-svm-s0"
    other = cards.settings_of(card, bootstrap_draws=77)
    named = runs.folder(card, other, 0, runs.LIBROSA)
    assert named.name.startswith("librosa-svm-s0-x")
    # As `dslite.training.baselines` asks for it: with nothing else than these settings.
    alone = Settings(**{key: getattr(other, key) for key in runs.ACOUSTIC})
    assert runs.folder(card, alone, 0, runs.LIBROSA) == named


def test_folds_and_candidates_are_named_alike_and_are_no_runs(results):
    plain = write_metrics(results)
    card = cards.load("ravdess")
    used = cards.settings_of(card)
    assert runs.folder(card, used, 0) == plain
    fold = runs.folder(card, used, 0, fold="5folds/fold2")
    assert fold == plain.parent / f"{plain.name}-5folds" / "fold2"
    tried = runs.folder(card, used, 0, candidate=True)
    assert tried == plain.parent / "candidates" / plain.name
    for place in (fold, tried):
        shutil.copytree(plain, place)
    assert runs.all_runs()["run"].tolist() == [plain.name]
    assert cross_validation.summaries("ravdess") == []


def test_what_nobody_chose_replaces_what_was_there(small_corpus, workplace):
    built = load_manifest(cards.load(str(small_corpus)))
    used = cards.settings_of(built.card, units=64)
    shuffled = replace(built, table=built.table.iloc[::-1].reset_index(drop=True))
    (one, first, _), (other, second, _) = (
        runs.look_up(corpus, used, 0, "", runs.NETWORK) for corpus in (built, shuffled)
    )
    assert one["identity"] != other["identity"]
    assert first == second


# Cost


def test_a_reading_includes_ended_children_and_the_sessions_before():
    earlier = {"wall_s": 1000.0, "cpu_s": 2000.0, "peak_mib": 1e9, "sessions": 4}
    meter, together = runs.Meter(), runs.Meter(earlier)
    script = (
        "from dslite.training import runs\nmeter = runs.Meter()\n"
        "before = meter.read()['peak_mib']\nheld = b'x' * (300 * 2**20)\n"
        "print(meter.read()['peak_mib'] - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 290 < float(done.stdout) < 310  # mebibytes
    one, whole = meter.read(), together.read()
    assert one["cpu_s"] > 0.25  # far more than this process needs, and below the child's
    assert (one["sessions"], whole["sessions"], whole["peak_mib"]) == (1, 5, 1e9)
    assert whole["wall_s"] > 1000 > one["wall_s"]
    assert whole["cpu_s"] > 2000


def test_a_cost_is_read_again_and_what_is_damaged_is_none(tmp_path):
    file = tmp_path / "cost.json"
    assert runs.load_cost(file) is None
    cost = {"wall_s": 1.5, "cpu_s": 2.5, "peak_mib": 300.0, "sessions": 3}
    # As older versions wrote it: with an energy that no counter told.
    file.write_text(json.dumps(cost | {"energy_j": None, "energy_note": "unknown"}))
    assert runs.load_cost(file) == cost
    for damaged in ("{", "[]", "7", json.dumps({k: v for k, v in cost.items() if k != "cpu_s"})):
        file.write_text(damaged)
        assert runs.load_cost(file) is None


# What a run says


def test_scores_in_words(small_run):
    file, words = small_run.metrics["test"]["file"], runs.headline(small_run.metrics["test"])
    assert f"UAR {100 * file['score']:.1f} % [" in words
    assert f"of {file['n']} files, chance 25.0 %" in words


def test_a_regression_has_errors_in_the_labels_unit():
    level = {"n": 24, "score": 0.51234, "pearson": 0.6, "ccc": 0.55, "mae": 2.34567, "rmse": 3.0}
    level |= {"interval_files": [0.4, 0.6], "interval_speakers": None, "score_vote": None}
    metrics = {"metric": "spearman", "chance": 0.0, "file": level, "chunk": level}
    assert runs.headline(metrics) == (
        "rho 0.512 [0.400, 0.600] of 24 files; Pearson 0.600, CCC 0.550, MAE 2.35, RMSE 3"
    )
    # Of an older version, or without a score
    del level["pearson"]
    assert "Pearson" not in runs.headline(metrics)
    level |= {"score": None, "interval_files": None}
    assert runs.headline(metrics).startswith("rho undefined of 24 files: one number predicted")


def test_a_baseline_of_the_same_partitions_that_is_better_on_devel_is_named(results):
    network = runs.load(write_run(results, devel=0.5))
    assert runs.better_baselines(network) == []
    write_run(results, configuration="svm", devel=0.4)
    other = write_run(results, configuration="svm", devel=0.9, seed=1) / "run.json"
    record = json.loads(other.read_text()) | {"manifest": "other partitions"}
    other.write_text(json.dumps(record))
    assert runs.better_baselines(network) == []
    write_run(results, configuration="svm", devel=0.6, seed=2)
    assert runs.better_baselines(network) == [
        "Deep Spectrum + linear SVM is better on devel: 60.0 %, this network 50.0 %"
    ]


# All runs


def test_finished_runs_are_read_others_passed_over(results):
    write_metrics(results)
    write_metrics(results, "svm", devel=evaluation(0.6, speakers=None), test=None)
    (results / "ravdess" / "densenet121-cutmix-s0").mkdir()  # begun, not finished
    draft = results / "ravdess" / ".metrics-abc" / "draft"
    draft.mkdir(parents=True)
    (draft / "metrics.json").write_text("{")
    table = runs.all_runs().set_index("configuration")
    assert sorted(table.index) == ["none", "svm"]
    none, svm = table.loc["none"], table.loc["svm"]
    percent = none[["devel", "test", "low", "high", "low_speakers", "high_speakers"]]
    assert percent.astype(float).round(1).tolist() == [70.0, 76.6, 71.6, 81.6, 50.0, 90.0]
    assert svm["devel"] == 60
    assert svm[["test", "low", "low_speakers"]].isna().all()
    assert runs.all_runs(dataset="ravdess", configuration="svm")["run"].item() == svm["run"]
    assert runs.all_runs(dataset="demos").empty


SPEAKERS = {"file": {"score": 0.5, "speakers": 10**30, "interval_speakers": [0.4, 0.6]}}


@pytest.mark.parametrize("changes", [{"seed": 2**70}, {"seed": -1}, {"test": SPEAKERS}])
def test_a_number_that_no_run_has_is_refused(results, changes):
    file = write_metrics(results, **changes) / "metrics.json"
    assert str(file) in refusal(runs.all_runs)


def test_the_users_run_goes_before_the_committed_record(results):
    runs_of = [write_metrics(results, seed=seed, test=evaluation(0.5)) for seed in (0, 1)]
    first, _ = into_record(*runs_of)
    run = write_metrics(results, seed=1)
    table = runs.all_runs()
    assert table["run"].tolist() == ["densenet121-none-s0", "densenet121-none-s1"]
    assert table["test"].round(1).tolist() == [50.0, 76.6]
    assert table["folder"].tolist() == [str(first), str(run)]
    assert set(table["dataset"]) == {"ravdess"}


def test_folds_are_runs_when_they_are_asked_for(results):
    plain = write_metrics(results)
    folds = [plain.with_name(f"{plain.name}-12folds") / f"fold{i}" for i in range(1, 13)]
    for fold in folds:
        shutil.copytree(plain, fold)
    assert runs.all_runs(folds=True)["fold"].tolist() == [0]  # not gathered yet
    (folds[0].parent / "folds.json").write_text("{}")
    table = runs.all_runs(folds=True)
    assert table["fold"].tolist() == [*range(13)]
    assert table["run"].tolist() == [plain.name] + 12 * [folds[0].parent.name]
    recorded = into_record(plain, *folds)
    again = runs.all_runs(folds=True)
    assert again["folder"].tolist() == [*map(str, recorded)]
    pd.testing.assert_frame_equal(*(t.drop(columns="folder") for t in (table, again)))
    assert runs.all_runs()["fold"].tolist() == [0]


def test_where_and_when_a_run_was_made(results, small_run):
    write_metrics(results)
    shutil.copytree(small_run.folder, results / "small" / small_run.folder.name)
    older, run = runs.all_runs(dataset="ravdess"), runs.all_runs(dataset="small").iloc[0]
    assert older[["date", "commit", "hardware"]].iloc[0].tolist() == [""] * 3
    assert older["seconds"].isna().all()
    for key in ("date", "commit", "seconds"):
        assert run[key] == small_run.record[key]
    assert run["hardware"].endswith(f", {small_run.record['hardware']['cores']} cores")
    expected = {"dataset": "small", "run": small_run.folder.name, "configuration": "none"}
    assert run[list(expected)].to_dict() == expected
    assert run["test"] == pytest.approx(100 * small_run.metrics["test"]["file"]["score"])


def test_overrides_in_words(results):
    columns = {"augmentation": ["none", "cutmix"], "backbone": ["densenet121", "mobilenet_v2"]}
    write_metrics(results, "cutmix", backbone="mobilenet_v2", overrides=columns)
    columns |= {"weights": ["imagenet", "random"]}
    write_metrics(results, seed=1, overrides=columns, random_weights=True, weights="random")
    assert not runs.all_runs()["overridden"].any()
    changes = {"epochs_phase1": [40, 2], "epochs_phase2": [80, 1], "units": [128, 64]}
    changes |= {"weights": ["imagenet", "/home/me/own.weights.h5"]}
    write_metrics(results, seed=2, overrides=changes)
    run = runs.all_runs(seed=2).iloc[0]
    assert run["overridden"]
    assert run["overrides"] == (
        "fewer epochs (override epochs_phase1 40 -> 2; epochs_phase2 80 -> 1), "
        "override units 128 -> 64"
    )


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ({"dataset": "../victim"}, "cannot be a folder's name"),
        ({"dataset": ".."}, "cannot be a folder's name"),
        ({"seed": "0/../x"}, "should be a valid integer"),
    ],
)
def test_a_record_s_names_stay_in_their_folder(tmp_path, hostile, reason):
    content = {"settings": {}, "dataset": "birds", "seed": 0}
    (tmp_path / "run.json").write_text(json.dumps(content | hostile))
    assert reason in refusal(runs.load, tmp_path)


def test_a_headline_says_what_its_score_leaves_open():
    card = cards.Card(
        dataset="my", layout="table", title="", table="my.csv", classes=("a", "b", "c")
    )
    files = pd.DataFrame({"path": ["x", "y"], "label": ["a", "b"], "partition": "test"})
    scores, settings = np.eye(3)[[0, 0]], Settings(bootstrap_draws=10)
    evaluated, _ = metrics.score(files.assign(speaker=""), card, settings, [0, 1], scores, 0)
    assert (evaluated["chance"], evaluated["absent"]) == (0.5, ["c"])
    text = runs.headline(evaluated)
    assert "chance 50.0 %; no file of class c: score and chance are of the others; " in text
    assert text.endswith(runs.UNKNOWN_SPEAKERS)
    evaluated, _ = metrics.score(files.assign(speaker="p"), card, settings, [0, 1], scores, 0)
    assert runs.cautions(evaluated) == [runs.cautions(evaluated | {"speakers_unknown": True})[0]]

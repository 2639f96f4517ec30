"""Names of runs: what a user chose tells two runs apart, and nothing else does."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dslite import cards
from dslite.datasets import manifest
from dslite.settings import Settings
from dslite.training import cross_validation, runs
from dslite.training import runs as training_runs


def name(preset="", kind="", card="ravdess", fold="", **overrides):
    """The name of a run of a card with some overrides."""
    card = cards.load(card)
    used = cards.settings_of(card, preset, overrides)
    place = runs.folder(card, used, 3, kind, preset or card.default_preset, fold)
    return str(place.relative_to(runs.paths.results(card.dataset)))


def test_a_preset_as_it_is_has_a_plain_name():
    assert name() == "densenet121-none-s3"
    assert name("paper") == "densenet121-none-s3-paper"
    assert name(backbone="mobilenet_v2", augmentation="cutmix") == "mobilenet_v2-cutmix-s3"
    # What equals the preset is no change of it.
    card = cards.load("ravdess")
    same = {key: getattr(cards.settings_of(card), key) for key in ("units", "dropout", "top_db")}
    assert name(**same) == name()


def test_an_override_is_six_digits_at_the_end():
    assert re.fullmatch(r"densenet121-none-s3-x[0-9a-f]{6}", name(units=64))
    assert re.fullmatch(r"densenet121-none-s3-paper-x[0-9a-f]{6}", name("paper", units=64))
    assert re.fullmatch(r"densenet121-svm-s3-x[0-9a-f]{6}", name(kind=runs.SVM, units=64))


# Something else than the preset's value, for every setting that is neither text nor a weights file.
OTHER = {
    **{"sample_rate": 22050, "chunk_length_s": 3.0, "chunk_hop_s": 1.5, "tail": "drop"},
    **{"trim": "off", "window_ms": 40, "hop_ms": 10, "mel_bands": 64, "mel_min_hz": 50},
    **{"mel_max_hz": 7000, "top_db": 70, "image_size": 96, "feature_layer": "stride16"},
    **{"pooling": "global", "units": 33, "dropout": 0.35, "optimizer": "sgd"},
    **{"learning_rate": 0.02, "learning_rate_phase2": 0.01, "schedule": "constant"},
    **{"warmup_epochs": 2, "weight_decay": 0.1, "label_smoothing": 0.2, "patience": 3},
    **{"batch_size": 8, "epochs_phase1": 3, "epochs_phase2": 4, "trained_share": 0.45},
    **{"fine_tune_reading": "code", "balance": "none", "trunk_cache": "off"},
    **{"trunk_cache_gib": 1.0, "sap_a": 0.4, "sap_s": 8.0, "probability_min": 0.05},
    **{"probability_max": 0.35, "cutmix_px": 40, "mask_px": 50, "probability_reading": "code"},
    **{"cutmix_reading": "code", "mask_reading": "code", "fusion": "vote"},
    **{"bootstrap_draws": 77, "weights": "random"},
}


def test_every_setting_tells_two_runs_apart():
    assert set(OTHER) == set(Settings.model_fields) - {"backbone", "augmentation"}
    found = {key: name(**{key: value}) for key, value in OTHER.items()}
    found |= {"": name(), "two": name(units=33, dropout=0.35), "33": name(units=34)}
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("key", ["cutmix_px", "top_db"])
def test_a_number_is_the_same_in_every_form(key):
    """Also where no check made it a float: `model_copy` has none."""
    card = cards.load("ravdess")
    forms = [cards.settings_of(card, "", {key: value}) for value in (57, 57.0)]
    forms += [forms[0].model_copy(update={key: value}) for value in (57, 57.0, np.float64(57))]
    assert len({runs.folder(card, used, 0) for used in forms}) == 1


def test_a_weights_file_in_the_place_of_others_keeps_the_name(tmp_path):
    file = tmp_path / "w.weights.h5"
    file.write_bytes(b"")
    assert name(weights=str(file)) == name()
    assert name(weights="random") != name()
    # From random to pre-trained is a change as well, whatever they are.
    card = cards.load("ravdess")
    card = card.model_copy(update={"settings": card.settings | {"weights": "random"}})
    used = [cards.settings_of(card, weights=w) for w in ("random", "imagenet", str(file))]
    plain, imagenet, own = (runs.folder(card, one, 3) for one in used)
    assert plain.name == "densenet121-none-s3"
    assert imagenet == own != plain


def test_acoustic_statistics_have_no_network_in_their_name():
    card = cards.load("ravdess")
    plain = runs.folder(card, cards.settings_of(card, units=64, weights="random"), 0, runs.LIBROSA)
    assert plain.name == "librosa-svm-s0"
    other = cards.settings_of(card, bootstrap_draws=77)
    named = runs.folder(card, other, 0, runs.LIBROSA)
    assert re.fullmatch(r"librosa-svm-s0-x[0-9a-f]{6}", named.name)
    # As `dslite.training.baselines` asks for it: with nothing else than these settings.
    alone = Settings(**{key: getattr(other, key) for key in runs.ACOUSTIC})
    assert runs.folder(card, alone, 0, runs.LIBROSA) == named


def test_folds_and_candidates_are_named_alike_and_are_no_runs(small_corpus, workplace):
    card = cards.load(str(small_corpus))
    used = cards.settings_of(card, units=64)
    plain = runs.folder(card, used, 0)
    fold = runs.folder(card, used, 0, fold="5folds/fold2")
    assert fold == plain.parent / f"{plain.name}-5folds" / "fold2"
    tried = runs.folder(card, used, 0, candidate=True)
    assert tried == plain.parent / "candidates" / plain.name
    for place in (plain, fold, tried):
        place.mkdir(parents=True)
        (place / "metrics.json").write_text(
            '{"kind": "deepspectrumlite", "augmentation": "none", "backbone": "squeezenet", '
            '"preset": "tuned", "seed": 0, "random_weights": false, "devel": null, "test": null}'
        )
    assert training_runs.all_runs()["run"].tolist() == [plain.name]
    assert cross_validation.summaries("small") == []


def test_what_nobody_chose_replaces_what_was_there(small_corpus, workplace):
    built = manifest.load(cards.load(str(small_corpus)))
    used = cards.settings_of(built.card, units=64)
    shuffled = replace(built, table=built.table.iloc[::-1].reset_index(drop=True))
    (one, first, _), (other, second, _) = (
        runs.look_up(corpus, used, 0, "", runs.NETWORK) for corpus in (built, shuffled)
    )
    assert one["identity"] != other["identity"]
    assert first == second
    tried, place, _ = runs.look_up(built, used, 0, "", runs.NETWORK, candidate=True)
    assert (tried["identity"], tried["candidate"]) == (one["identity"], True)
    assert place == first.parent / "candidates" / first.name

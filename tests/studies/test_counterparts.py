"""Every key of the public tool is a setting here, or it is said why not."""

import json
from functools import partial

import pytest

from dslite import settings
from dslite.settings import Settings
from dslite.studies import counterparts
from tests.studies import public_tool
from tests.studies.public_tool import CONFIG, refusal, why


@pytest.fixture
def convert(tmp_path):
    return partial(public_tool.convert, tmp_path)


def test_every_value_becomes_a_setting(convert):
    found = convert()
    assert found.card["settings"] == {
        "backbone": "mobilenet_v2",
        "augmentation": "cutmix",
        "weights": "imagenet",
        "units": 48,
        "dropout": 0.4,
        "optimizer": "adam",
        "learning_rate": 0.002,
        "learning_rate_phase2": 0.0003,
        "trained_share": 0.2,
        "epochs_phase1": 7,
        "epochs_phase2": 9,
        "batch_size": 16,
        "sample_rate": 8000,
        "chunk_length_s": 1.5,
        "chunk_hop_s": 0.5,
        "window_ms": 64,
        "hop_ms": 32,
        "mel_min_hz": 50,
        "mel_max_hz": 3500,
        "mel_bands": 64,
        "image_size": 128,
        "sap_a": 0.4,
        "sap_s": 8,
        "probability_min": 0.2,
        "probability_max": 0.6,
        "cutmix_px": 112,  # half of 224
        "mask_px": 56,
    }
    assert "grid" not in found.card
    assert "grid" not in found.study


def test_the_papers_own_shares_are_the_papers_pixels(convert):
    found = convert({"cutmix_max": [0.25], "specaug_freq_max": [0.3], "specaug_time_max": [0.3]})
    assert found.card["settings"]["cutmix_px"] == Settings().cutmix_px
    assert int(found.card["settings"]["mask_px"]) == Settings().mask_px


def test_only_what_is_not_needed_here_is_unmatched(convert):
    keys = [line.split(":")[0] for line in convert().unmatched]
    needless = ["label_parser", "tb_experiment", "tb_run_id"]
    assert keys == [*needless, "label.csv, duration_frames", "label.csv"]


def test_every_key_is_known_once():
    assert len(set(counterparts.KEYS)) == len(counterparts.KEYS)
    assert set(CONFIG) | {"num_unit"} == set(counterparts.KEYS)
    assert set(counterparts.SETTINGS.values()) <= set(Settings.model_fields)


OTHER = {
    "model_name": ["PlainModel"],
    "activation": ["relu"],
    "output_activation": ["sigmoid"],
    "loss": ["mae"],
    "normalize_audio": [False],
    "mel_scale": [False],
    "num_mfccs": [40],
    "cep_lifter": [22],
    "db_scale": [False],
    "use_plot_images": [False],
    "color_map": ["magma"],
    "resize_method": ["nearest"],
    "anti_alias": [True],
    "cutmix_min": [0.075],
    "specaug_freq_min": [0.1],
    "specaug_time_min": [0.1],
    "specaug_freq_mask_num": [4],
    "specaug_time_mask_num": [4],
    "image_height": [256],
    "stft_fft_length": [0.128],
    "specaug_time_max": [0.4],
    "batch_size": [1],
    "optimizer": ["ftrl"],
    "fine_learning_rate": [0.0],
    "weights": ["their/own.h5"],
}


@pytest.mark.parametrize("key", OTHER)
def test_what_cannot_be_had_here_is_named_with_its_value(convert, key):
    found = convert({key: OTHER[key]})
    (said,) = why(found, key)
    assert json.dumps(OTHER[key][0]) in said
    assert len(found.unmatched) == len(convert().unmatched) + 1
    assert counterparts.SETTINGS.get(key) not in found.card["settings"]


def test_of_a_list_only_what_cannot_be_had_is_left_out(convert):
    found = convert(
        {
            "optimizer": ["sgd", "ftrl", "adam"],
            "color_map": ["viridis", "magma", "plasma"],
            "basemodel_name": ["vgg16", "alexnet"],
        }
    )
    assert found.card["grid"] == {"optimizer": ["sgd", "adam"]}
    assert '"ftrl"' in why(found, "optimizer")[0]
    assert '"magma", "plasma"' in why(found, "color_map")[0]
    assert found.study["backbones"] == ["vgg16"]
    assert "alexnet" in why(found, "basemodel_name")[0]


def test_keys_of_nobody_are_named_with_the_nearest(convert):
    found = convert({"learning_rat": [1], "moon_phase": ["full"]})
    assert "did you mean 'learning_rate'?" in why(found, "learning_rat")[0]
    assert why(found, "moon_phase") == ["moon_phase: no key of the tool's manual"]


def test_both_spellings_of_the_units(convert):
    assert convert({"num_units": None, "num_unit": [5]}).card["settings"]["units"] == 5
    both = convert({"num_unit": [5]})
    assert "given twice" in why(both, "num_unit")[0]
    assert both.card["settings"]["units"] == 48


def test_what_is_missing_is_left_to_the_defaults(convert):
    keys = ("prediction_type", "basemodel_name", "weights", "augment_cutmix", "augment_specaug")
    found = convert(dict.fromkeys([*keys, "dropout"]))
    assert found.card["task"] == "classification"
    assert found.study["backbones"] == ["densenet121"]
    assert found.study["augmentations"] == ["none"]
    assert "dropout" not in found.card["settings"]


def test_random_weights_and_the_tools_name_of_squeezenet(convert):
    found = convert({"weights": [""], "basemodel_name": ["squeezenet_v1"]})
    assert found.card["settings"]["weights"] == "random"
    assert found.study["backbones"] == ["squeezenet"]
    assert not why(found, "weights")


@pytest.mark.parametrize(
    ("cutmix", "specaugment", "expected"),
    [
        ([False], [False], ["none"]),
        ([False], [True], ["specaugment"]),
        ([True], [True], ["cutmix+specaugment"]),
        ([True, False], [False], ["none", "cutmix"]),
        ([True, False], [True, False], list(settings.AUGMENTATIONS)),
    ],
)
def test_augmentations_are_the_studys(convert, cutmix, specaugment, expected):
    found = convert({"augment_cutmix": cutmix, "augment_specaug": specaugment})
    assert found.study["augmentations"] == expected
    assert found.card["settings"]["augmentation"] == expected[0]
    assert "grid" not in found.card


def test_lists_are_a_grid(convert):
    found = convert(
        {
            "num_units": [64, 128],
            "stft_window_size": [0.032, 0.064],
            "stft_fft_length": [0.032, 0.064],
            "basemodel_name": ["vgg16", "densenet121"],
            "dropout": [0.1, 0.1],
        }
    )
    assert found.card["grid"] == {"units": [64, 128], "window_ms": [32, 64]}
    assert (found.card["settings"]["units"], found.card["settings"]["dropout"]) == (64, 0.1)
    assert found.study["grid"] is True
    assert found.study["backbones"] == ["vgg16", "densenet121"]
    assert found.card["settings"]["backbone"] == "vgg16"
    assert not why(found, "stft_fft_length")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dropout": 0.25}, "dropout = 0.25: expected a list of values, for instance [0.25]"),
        ({"dropout": []}, "dropout = []: expected a list of values"),
        ({"dropout": [[0.1]]}, "dropout = [[0.1]]: its values must be texts, numbers"),
        ({"dropout": {"a": 1}}, "dropout ="),
        ({"prediction_type": ["ordinal"]}, "expected one of categorical, regression"),
        ({"prediction_type": ["categorical", "regression"]}, "a card has one task"),
        ({"basemodel_name": ["mobilenet_v"]}, "did you mean 'mobilenet_v2'?"),
        ({"augment_cutmix": ["yes"]}, 'augment_cutmix = ["yes"]: expected true or false'),
        ({"stft_hop_size": [0.032, 0.1]}, "hop_ms 100.0 is longer than window_ms 64.0"),
        ({"upper_edge_hertz": [8000]}, "mel_max_hz 8000.0 does not lie within"),
    ],
)
def test_refused_configurations(convert, tmp_path, changes, said):
    message = refusal(convert, changes)
    assert message.startswith(str(tmp_path / "hp_config.json"))
    assert said in message

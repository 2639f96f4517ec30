"""A configuration of the public tool, as its manual describes the files, for several tests."""

import json

import pytest

from dslite.errors import InputError
from dslite.studies import imported

# All keys of the tool's manual; the values are this test's own.
CONFIG = {
    "label_parser": ["parsers/ComParEParser.py:ComParEParser"],
    "prediction_type": ["categorical"],
    "model_name": ["TransferBaseModel"],
    "basemodel_name": ["mobilenet_v2"],
    "weights": ["imagenet"],
    "tb_experiment": ["birds"],
    "tb_run_id": ["first"],
    "num_units": [48],
    "dropout": [0.4],
    "optimizer": ["adam"],
    "learning_rate": [0.002],
    "fine_learning_rate": [0.0003],
    "finetune_layer": [0.2],
    "loss": ["categorical_crossentropy"],
    "activation": ["arelu"],
    "output_activation": ["softmax"],
    "pre_epochs": [7],
    "epochs": [9],
    "batch_size": [16],
    "sample_rate": [8000],
    "normalize_audio": [True],
    "chunk_size": [1.5],
    "chunk_hop_size": [0.5],
    "stft_window_size": [0.064],
    "stft_hop_size": [0.032],
    "stft_fft_length": [0.064],
    "mel_scale": [True],
    "lower_edge_hertz": [50.0],
    "upper_edge_hertz": [3500.0],
    "num_mel_bins": [64],
    "num_mfccs": [0],
    "cep_lifter": [0],
    "db_scale": [True],
    "use_plot_images": [True],
    "color_map": ["viridis"],
    "image_width": [128],
    "image_height": [128],
    "resize_method": ["bilinear"],
    "anti_alias": [False],
    "sap_aug_a": [0.4],
    "sap_aug_s": [8],
    "augment_cutmix": [True],
    "augment_specaug": [False],
    "da_prob_min": [0.2],
    "da_prob_max": [0.6],
    "cutmix_min": [0],
    "cutmix_max": [0.5],
    "specaug_freq_min": [0],
    "specaug_freq_max": [0.25],
    "specaug_time_min": [0],
    "specaug_time_max": [0.25],
    "specaug_freq_mask_num": [1],
    "specaug_time_mask_num": [1],
}
CLASSES = {"rob": "Robin", "wren": "Wren"}
ROWS = [(f"{p}_{c}{i}.wav", c) for p in ("train", "devel", "test") for c in CLASSES for i in (1, 2)]
TABLE = "filename,label,duration_frames\n" + "".join(f"{f},{c},12000\n" for f, c in ROWS)


NAMES = ("hp_config.json", "class_config.json", "label.csv")


def write(folder, changes=(), classes=CLASSES, table=TABLE):
    """The tool's three files, changed as given; a value of None leaves the key out."""
    config = {key: v for key, v in (CONFIG | dict(changes)).items() if v is not None}
    contents = (json.dumps(config), json.dumps(classes), table)
    files = [folder / name for name in NAMES]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content, encoding="utf-8")
    return files


def convert(folder, changes=(), classes=CLASSES, table=TABLE, **named):
    """The files written into a folder, and converted."""
    return imported.convert(*write(folder, changes, classes, table), **{"name": "birds"} | named)


def refusal(call, *given, **named) -> str:
    with pytest.raises(InputError) as error:
        call(*given, **named)
    return str(error.value)


def why(found, key) -> list[str]:
    """What is said of a key that has no counterpart."""
    return [line for line in found.unmatched if line.startswith(f"{key}: ")]

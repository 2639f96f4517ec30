"""What the keys of a DeepSpectrumLite configuration are here: a setting, a rule, or nothing.

Keys and units as the tool's manual describes them. Every value that cannot be had here is named,
with why, so that no difference between the two goes unsaid.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from dslite.errors import InputError
from dslite.settings import BACKBONE_NAMES, SIDE, Settings, nearest

# Their key -> our setting
SETTINGS = {
    **{"weights": "weights", "num_units": "units", "num_unit": "units", "dropout": "dropout"},
    **{"optimizer": "optimizer", "batch_size": "batch_size", "learning_rate": "learning_rate"},
    **{"fine_learning_rate": "learning_rate_phase2", "finetune_layer": "trained_share"},
    **{"pre_epochs": "epochs_phase1", "epochs": "epochs_phase2", "sample_rate": "sample_rate"},
    **{"chunk_size": "chunk_length_s", "chunk_hop_size": "chunk_hop_s"},
    **{"stft_window_size": "window_ms", "stft_hop_size": "hop_ms", "num_mel_bins": "mel_bands"},
    **{"lower_edge_hertz": "mel_min_hz", "upper_edge_hertz": "mel_max_hz"},
    **{"image_width": "image_size", "sap_aug_a": "sap_a", "sap_aug_s": "sap_s"},
    **{"da_prob_min": "probability_min", "da_prob_max": "probability_max"},
    **{"cutmix_max": "cutmix_px", "specaug_freq_max": "mask_px"},
}
# From their unit to ours: seconds to ms, shares of the picture's side to pixels
FACTORS = {
    **{"stft_window_size": 1000, "stft_hop_size": 1000},
    **{"cutmix_max": SIDE, "specaug_freq_max": SIDE},
}
WEIGHTS = {"imagenet": "imagenet", "": "random"}
# Their key -> the value (or values) for what is always done here, and what that is
FIXED = {
    "model_name": ("TransferBaseModel", "the model is a pre-trained network with a head"),
    "activation": ("arelu", "the head's activation is AReLU"),
    "normalize_audio": (True, "every chunk is scaled to a peak of -3 dBFS"),
    "mel_scale": (True, "spectrograms are Mel spectrograms"),
    "num_mfccs": (0, "there are no cepstral coefficients"),
    "cep_lifter": (0, "there are no cepstral coefficients"),
    "db_scale": (True, "spectrograms are in dB"),
    "use_plot_images": (True, "the network sees coloured pictures"),
    "color_map": ("viridis", "pictures are drawn in viridis"),
    "resize_method": ("bilinear", "pictures are resized bilinearly"),
    "anti_alias": (False, "pictures are resized without anti-aliasing"),
    "cutmix_min": (0, "patches begin at 0 pixels"),
    "specaug_freq_min": (0, "masks begin at 0 pixels"),
    "specaug_time_min": (0, "masks begin at 0 pixels"),
    "specaug_freq_mask_num": (1, "there is one mask of frequency"),
    "specaug_time_mask_num": (1, "there is one mask of time"),
}
OF_TASK = {
    "classification": {
        "loss": ("categorical_crossentropy", "classes are learnt by cross-entropy"),
        "output_activation": ("softmax", "classes come from a softmax"),
    },
    "regression": {
        "loss": (("mse", "mean_squared_error"), "a regression is learnt by its squared error"),
        "output_activation": ("linear", "a regression's output is linear"),
    },
}
# Their key -> the key whose values it has to have here
TWINS = {
    "image_height": ("image_width", "pictures are square"),
    "stft_fft_length": ("stft_window_size", "the FFT is as long as the window, or the next 2^n"),
    "specaug_time_max": ("specaug_freq_max", "both masks have the same largest width"),
}
NEEDLESS = {
    "label_parser": "the label table is converted here, once",
    "tb_experiment": "TensorBoard's logs are in the cache, by the names of corpus and run",
    "tb_run_id": "a run is named by its backbone, augmentation and seed",
}
TASKS = {"categorical": "classification", "regression": "regression"}
AXES = ("prediction_type", "basemodel_name", "augment_cutmix", "augment_specaug")
KEYS = (*SETTINGS, *FIXED, *OF_TASK["regression"], *TWINS, *NEEDLESS, *AXES)


def task(config: Mapping[str, list[Any]], path: Path) -> str:
    """The task of a card; refuses what a card cannot be. ``path``: for messages, as below."""
    types = config.get("prediction_type", ["categorical"])
    if len(types) > 1 or types[0] not in TASKS:
        raise InputError(
            f"{path}: prediction_type = {json.dumps(types)}: expected one of "
            f"{', '.join(TASKS)}; a card has one task, so import the file once for each"
        )
    return TASKS[types[0]]


def settings(config: Mapping[str, list[Any]], task: str) -> tuple[dict[str, list[Any]], list[str]]:
    """Our setting -> its values, and what of the configuration has none, with why."""
    found, unmatched = {}, []
    fixed = FIXED | OF_TASK[task]
    for key, values in config.items():
        if key in SETTINGS:
            setting, refused = SETTINGS[key], []
            kept = [ours for value in values for ours in _ours(key, value, refused)]
            if setting in found:
                refused, kept = [f"{setting} is given twice; this one is passed over"], []
            unmatched += [f"{key}: {why}" for why in refused]
            found |= {setting: kept} if kept else {}
        elif key in fixed:
            same, always = fixed[key]
            equal = same if isinstance(same, tuple) else (same,)
            other = [json.dumps(value) for value in values if value not in equal]
            unmatched += [f"{key}: {', '.join(other)}: here {always}"] if other else []
        elif key in TWINS:
            twin, always = TWINS[key]
            if values != config.get(twin):
                said = ", ".join(map(json.dumps, values))
                unmatched.append(f"{key}: {said}: here {always}, and {twin} says it")
        elif key in NEEDLESS:
            unmatched.append(f"{key}: {NEEDLESS[key]}")
        elif key not in AXES:
            unmatched.append(f"{key}: no key of the tool's manual{_like(key)}")
    return found, unmatched


def _like(key: str) -> str:
    """``; did you mean 'x'?`` where a key is like one; the whole list is no help here."""
    said = nearest(key, KEYS)
    return said if "did you mean" in said else ""


def _ours(key: str, value: Any, refused: list[str]) -> list[Any]:
    """A value as our setting has it; none, and a reason more, where it cannot be that."""
    setting, said = SETTINGS[key], json.dumps(value)
    if setting == "weights" and value not in WEIGHTS:
        refused.append(f"{said}: give the file with --weights, or as weights of the study")
        return []
    field = Settings.model_fields[setting]
    if setting == "weights":
        value = WEIGHTS[value]
    elif key in FACTORS and not isinstance(value, str):
        value = round(value * FACTORS[key], 6)
    try:
        return [TypeAdapter(Annotated[field.annotation, field]).validate_python(value)]
    except ValidationError as error:
        refused.append(
            f"{said}: {setting}: {error.errors()[0]['msg']}; without another value it is "
            f"{json.dumps(field.default)}"
        )
        return []


def backbones(config: Mapping[str, list[Any]], path: Path, unmatched: list[str]) -> list[str]:
    """The networks that are here too; what is not is added to ``unmatched``."""
    asked = config.get("basemodel_name", [Settings.model_fields["backbone"].default])
    ours = {"squeezenet_v1": "squeezenet"} | {name: name for name in BACKBONE_NAMES}
    found = [ours[name] for name in asked if name in ours]
    other = [str(name) for name in asked if name not in ours]
    if not found:
        raise InputError(
            f"{path}: basemodel_name: '{other[0]}' is no backbone here{nearest(other[0], ours)}"
        )
    unmatched += [f"basemodel_name: {name}: no backbone here" for name in other]
    return list(dict.fromkeys(found))


def augmentations(config: Mapping[str, list[Any]], path: Path) -> list[str]:
    """The augmentations that two lists of true and false span, in the settings' order."""
    lists = []
    for key in AXES[2:]:
        lists.append(config.get(key, [False]))
        if not all(isinstance(value, bool) for value in lists[-1]):
            raise InputError(f"{path}: {key} = {json.dumps(lists[-1])}: expected true or false")
    spelled = {
        (False, False): "none",
        (True, False): "cutmix",
        (False, True): "specaugment",
        (True, True): "cutmix+specaugment",
    }
    asked = set(itertools.product(*lists))
    return [name for pair, name in spelled.items() if pair in asked]

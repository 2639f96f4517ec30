"""Settings: what is refused and in which words, and who overrules whom."""

import re

import pytest

from dslite import cards, notebooks, settings
from tests.refusals import refusal

CARD = """\
settings: {units: 1, dropout: 0.1, learning_rate: 0.1, batch_size: 3, top_db: 31}
default_preset: first
presets:
  first: {dropout: 0.2, learning_rate: 0.2, batch_size: 4}
  second: {units: 7}
"""


def test_defaults_are_the_paper():
    """Sections 2.1 and 3.2; what the paper has not is switched off."""
    default = settings.Settings()
    assert (default.window_samples, default.hop_samples) == (512, 256)
    assert (default.chunk_samples, default.chunk_hop_samples) == (64000, 32000)
    assert (default.mel_bands, default.image_size, default.image_scale) == (128, 224, 1)
    assert (default.batch_size, default.sap_a, default.sap_s) == (32, 0.5, 10)
    assert (default.probability_min, default.probability_max) == (0.10, 0.25)
    assert (default.cutmix_px, default.mask_px) == (56, 67)
    assert (default.backbone, default.random_weights) == ("densenet121", False)
    readings = [value for name, value in default if name.endswith("_reading")]
    assert readings == ["paper"] * 4
    assert (default.optimizer, default.schedule, default.patience) == ("adadelta", "constant", None)
    assert (default.weight_decay, default.label_smoothing, default.warmup_epochs) == (0, 0, 0)
    assert (default.mel_min_hz, default.mel_max_hz) == (0, None)
    assert (default.pooling, default.feature_layer) == ("global", "")
    assert (default.epoch_choice, default.normalise, default.power_floor) == ("last", "on", 1e-10)
    assert (default.mel_scale, default.mel_norm) == ("slaney", "slaney")


def test_derived_lengths():
    used = settings.Settings(sample_rate=8000, chunk_length_s=1.5, window_ms=25, hop_ms=10)
    assert (used.chunk_samples, used.chunk_hop_samples) == (12000, 6000)
    assert (used.window_samples, used.hop_samples) == (200, 80)
    for hop_s, samples in ((0.25, 4000), (1e-9, 1)):
        assert settings.Settings(chunk_hop_s=hop_s).chunk_hop_samples == samples
    used = settings.Settings(image_size=112, weights="random")
    assert (used.image_scale, used.random_weights, used.trained_whole) == (0.5, True, True)
    assert (used.panels, used.picture_shape) == (1, (112, 112))
    solved = settings.Settings(picture="clip+level", head="ridge", weights="random", columns=64)
    assert (solved.panels, solved.picture_shape) == (2, (256, 64))
    assert (solved.image_scale, solved.trained_whole) == (64 / 224, False)
    assert settings.Settings(mel_max_hz="corpus").highest_hz == 8000


REFUSED = """
units=0 units=1.5 units=many units=null learning_rate=-1 learning_rate=0 learning_rate=.inf
learning_rate=.nan chunk_length_s=.inf dropout=1 batch_size=1 trained_share=1.1 top_db=none top_db=0
chunk_hop_s=0 image_size=16 backbone=vgg61 augmentation=mixup weights=7 optimizer=Adam
learning_rate_phase2=0 warmup_epochs=-1 warmup_epochs=0.5 weight_decay=-0.1 label_smoothing=1
label_smoothing=-0.1 patience=0 trunk_cache=true trunk_cache_gib=-1 probability_reading=mine
cutmix_reading=mine mask_reading=mine mel_min_hz=-1
mel_scale=bark mel_norm=area normalise=maybe power_floor=0 power_floor=2
epoch_choice=first threads=0
"""


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        *((override, "") for override in REFUSED.split()),
        # Every wrong value is named.
        ("units=0 tail=maybe", "tail = 'maybe': Input should be 'keep' or 'drop'; units = 0: "),
        ("mel_max_hz=0", "mel_min_hz 0.0 to mel_max_hz 0.0 does not lie within 0 to half"),
        ("mel_max_hz=8000 sample_rate=8000", "half the sample rate, 4000.0"),
        ("hop_ms=80", "hop_ms 80.0 is longer than window_ms 64.0"),
        ("window_ms=500 chunk_length_s=0.4", "window_ms 500.0 does not fit into a chunk"),
        ("probability_min=0.5", "probability_min is larger than probability_max"),
        ("head=arelu epochs_phase1=0 epochs_phase2=0", "no epoch to train"),
        ("head=arelu epochs_phase1=0 trained_share=0", "no epoch to train"),
        ("feature_layer=conv1", "feature_layer belongs to pooling global or time, not to segments"),
        ("copies=2 head=arelu", "copies 2 belong to head ridge, not to arelu"),
        ("picture=clip", "products belong to picture clip+level, pooling segments and head ridge"),
        ("picture=chunk", "pooling segments needs picture clip or clip+level"),
        ("columns=40", "columns 40 must be a multiple of 8 x segments (4), and mel_bands 96"),
        ("mel_bands=40", "mel_bands 40 one of 16"),
    ],
)
def test_refused_values(user_card, overrides, reason):
    for key, value in settings.parse_overrides(overrides).items() if not reason else ():
        reason = re.escape(f"{key} = {value!r}: ")
    message = refusal(cards.settings_of, user_card(), overrides=overrides)
    assert re.match(rf"settings of my: .*{reason}", message) or reason in message


ACCEPTED = {
    **{"learning_rate=1e-3": 0.001},  # no float to YAML 1.1
    **{"trim=off": "off", "trunk_cache=on": "on", "trunk_cache=off": "off"},  # bools to YAML 1.1
    **{"balance=none": "none", "top_db=60": 60.0, "epochs_phase1=0": 0, "weights=random": "random"},
    **{"trunk_cache_gib=0": 0.0, "mel_max_hz=null": None, "mel_max_hz=8000": 8000.0},
    **{"patience=null": None, "patience=1": 1, "pooling=time": "time", "weight_decay=1e-4": 1e-4},
    **{"feature_layer=avg_pool": "avg_pool", "learning_rate_phase2=1e-2": 0.01},
    **{"optimizer=sgd": "sgd", "schedule=cosine": "cosine"},
    **{"augmentation=cutmix+specaugment": "cutmix+specaugment"},
}


@pytest.mark.parametrize(("override", "value"), ACCEPTED.items())
def test_accepted_values(user_card, override, value):
    accepted = getattr(cards.settings_of(user_card(), "paper", override), override.split("=")[0])
    assert accepted == value
    assert type(accepted) is type(value)


def test_weights_by_path_or_beside_the_table(user_card, tmp_path, monkeypatch):
    plain = user_card()
    (tmp_path / "w.h5").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cards.settings_of(plain, weights="w.h5").weights == str(tmp_path / "w.h5")
    message = refusal(cards.settings_of, plain, weights="v.h5")
    assert message.startswith("weights v.h5: no such file; give 'imagenet', 'random' or the path")
    monkeypatch.chdir("/")
    card = user_card("settings: {weights: w.h5}\n")
    assert cards.settings_of(card).weights == str(tmp_path / "w.h5")


def test_precedence_and_what_is_overridden(user_card):
    """Defaults, then the card's settings, the preset, what is named, the overrides."""
    card = user_card(CARD)
    used = cards.settings_of(card, overrides="batch_size=6", learning_rate=0.5, batch_size=5)
    assert used.epochs_phase1 == settings.Settings().epochs_phase1
    assert (used.units, used.top_db) == (1, 31)  # card
    assert used.dropout == 0.2  # preset over card
    assert used.learning_rate == 0.5  # named over preset
    assert used.batch_size == 6  # override over named
    other = cards.settings_of(card, "second")  # stands in for the default one
    assert (other.units, other.dropout, other.batch_size) == (7, 0.1, 3)
    # What is empty is passed over, and null unsets.
    assert cards.settings_of(card, augmentation="", units=None) == cards.settings_of(card)
    assert cards.settings_of(card, dropout=0).dropout == 0
    assert cards.settings_of(card, overrides={"top_db": None}).top_db is None
    assert cards.overridden(card, cards.settings_of(card)) == {}
    used = cards.settings_of(card, overrides="units=1 dropout=0.3 top_db=null")
    assert cards.overridden(card, used) == {"dropout": (0.2, 0.3), "top_db": (31.0, None)}
    # Against the preset it was made from, not the card's default one.
    used = cards.settings_of(card, "second", overrides="units=8")
    assert cards.overridden(card, used, "second") == {"units": (7, 8)}


@pytest.mark.parametrize(
    ("overrides", "parsed"),
    [
        ("", {}),
        ("  units=64\n tail=drop ", {"units": 64, "tail": "drop"}),
        (("units=1", "units=2"), {"units": 2}),
        ({"units": 64}, {"units": 64}),
        ("top_db=null a=true b=3", {"top_db": None, "a": True, "b": 3}),
        (["weights=my folder/a=b.h5"], {"weights": "my folder/a=b.h5"}),
    ],
)
def test_parse_overrides(overrides, parsed):
    assert settings.parse_overrides(overrides) == parsed


@pytest.mark.parametrize("item", ["units", "=64", "units:64", "units=[1"])
def test_overrides_that_are_none(item):
    reason = "the value cannot be read" if "[" in item else "expected key=value"
    assert refusal(settings.parse_overrides, [item]).startswith(f"override '{item}': {reason}")


RIDGE = "pooling=segments picture=clip+level head=ridge epochs_phase2=0"
IDLE = [
    ("units=8", RIDGE, "units (acts with head arelu)"),
    ("weight_decay=1e-3", RIDGE, "weight_decay (acts with head arelu or fine-tuning)"),
    ("augmentation=cutmix", RIDGE, "augmentation (acts with head arelu or fine-tuning)"),
    ("image_size=64", RIDGE, "image_size (acts with picture chunk)"),
    ("learning_rate=1", f"{RIDGE} epochs_phase2=2 learning_rate_phase2=1", "learning_rate (acts"),
    ("segments=2 columns=64", "", "segments (acts with pooling segments), columns (acts with"),
    ("mask_px=3", "augmentation=cutmix", "mask_px (acts with augmentation specaugment)"),
    ("trained_share=0.5", "weights=random", "trained_share (acts with epochs_phase2 and"),
    ("units=8 trim_db=50 level_max_hz=2000", "trim=on picture=clip+level", ""),
    ("learning_rate=1 augmentation=none segments=2", f"{RIDGE} epochs_phase2=2", ""),
    ("mask_px=3 sap_a=0.3", "augmentation=specaugment", ""),
]


@pytest.mark.parametrize(("overrides", "others", "text"), IDLE)
def test_settings_without_effect_are_named(overrides, others, text):
    used = settings.Settings(**settings.parse_overrides(f"{others} {overrides}"))
    message = settings.without_effect(used, settings.parse_overrides(overrides))
    assert message.startswith(f"without effect: {text}") if text else message == ""
    assert {name for names, *_ in settings.ACTING for name in names.split()} <= {*dict(used)}


def test_training_and_notebooks_name_them(user_card, command, capsys):
    card = user_card()
    warning = "warning: without effect: units (acts with head arelu)\n"
    status, _, err = command("train", card.table, "--set", "units=8")
    assert status == 2  # the audio is not there
    assert err.startswith(warning)
    assert warning not in command("train", card.table, "--preset", "paper", "--set", "units=8")[2]
    notebooks.begin("3_training", {"dataset": "demo", "overrides": "head=ridge units=8"})
    assert capsys.readouterr().err == warning

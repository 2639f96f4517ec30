"""Cards and settings: what is refused and in which words, and who overrules whom."""

import csv

import pytest
from pydantic import ValidationError

from dslite import cards, paths, settings
from dslite.errors import InputError
from dslite.models import backbones

CARD = """\
settings: {units: 1, dropout: 0.1, learning_rate: 0.1, batch_size: 3, top_db: 31}
default_preset: first
presets:
  first: {dropout: 0.2, learning_rate: 0.2, batch_size: 4}
  second: {units: 7}
"""


@pytest.fixture
def own(tmp_path):
    """Makes and loads an own table with its card: ``own(text of my.yaml)``."""

    def load(text=None, name="my"):
        (tmp_path / f"{name}.csv").write_text("path,label\n")
        if text is not None:
            (tmp_path / f"{name}.yaml").write_text(text)
        return cards.load(str(tmp_path / f"{name}.csv"))

    return load


@pytest.fixture
def plain(own):
    """A card without any settings."""
    return own()


def refusal(function, *arguments, **named) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments, **named)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Cards


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("clases: [a, b]", "", "unknown key 'clases'; did you mean 'classes'?"),
        ("preset: {}", "", "unknown key 'preset'; did you mean 'presets'?"),
        ("settings: {unit: 3}", ", settings", "unknown key 'unit'; did you mean 'units'?"),
        ("presets: {a: {drop_out: 0}}", ", a", "unknown key 'drop_out'; did you mean 'dropout'?"),
        ("zzz: 1", "", "unknown key 'zzz'; there is: dataset, layout, "),
        ("1: a", "", "unknown key '1'; there is: dataset, layout, "),
        ("settings: {2: a}", "", "settings.2"),
        ("settings: {units: 0}", ", settings", "units = 0: "),
        ("presets: {a: {tail: maybe}}", ", a", "tail = 'maybe': "),
        ("presets: {a: null}", "", "presets.a = None"),
        ("default_preset: tuned", "", "default_preset 'tuned' is not among the presets"),
        ("classes: [a, b, a]", "", "a class is listed twice"),
        ("classes: [1, 2]", "", "classes.0 = 1: "),
        ("partition: {train: [s1, s2], test: [s2]}", "", "speakers listed twice in partition: s2"),
        ("partition: {dev: [s1]}", "", "partition.dev"),
        ("partition: {train: [1]}", "", "partition.train.0 = 1: "),
        ("task: clasification", "", "task = 'clasification': "),
        ("- a", "", "expected 'key: value' lines, found list"),
        # A copied card of another corpus would read that corpus, or mix its results with these.
        ("layout: ravdess", "", "layout"),
        ("dataset: ravdess", "", "ravdess"),
    ],
)
def test_refused_cards(own, tmp_path, text, where, said):
    message = refusal(own, text)
    assert message.startswith(f"{tmp_path / 'my.yaml'}{where}: ")
    assert said in message


def test_broken_yaml_names_the_card(own, tmp_path):
    with pytest.raises(InputError, match="not readable as YAML") as error:
        own("classes: [a")
    assert str(tmp_path / "my.yaml") in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ravdes", "unknown dataset 'ravdes'; did you mean 'ravdess'?"),
        ("xyz", "unknown dataset 'xyz'; there is: ccs, css, demo, demos, "),
        ("", "unknown dataset ''; there is: ccs, css, demo, demos, "),
        ("../cards/demo", "unknown dataset '../cards/demo'"),
    ],
)
def test_unknown_dataset(name, said):
    assert said in refusal(cards.load, name)


def test_table_without_a_card(own, tmp_path):
    card = own()
    assert (card.dataset, card.layout, card.task) == ("my", "table", "classification")
    assert card.table == str(tmp_path / "my.csv")
    assert (card.classes, card.partition, card.settings) == ((), {}, {})
    # A recipe that learns, and the paper's beside it
    assert card.default_preset == "tuned"
    assert cards.settings_of(card).optimizer == "adam"
    assert cards.settings_of(card, "paper") == settings.Settings()


def test_table_with_a_card(own, tmp_path):
    card = own("task: regression\ntitle: Mine\nclasses: ['no', yes, off]\nsettings: {units: 3}")
    assert (card.dataset, card.layout, card.title) == ("my", "table", "Mine")
    assert card.task == "regression"
    assert card.table == str(tmp_path / "my.csv")
    assert card.classes == ("no", "yes", "off")
    assert cards.settings_of(card).units == 3


def test_table_of_a_relative_path(own, tmp_path, monkeypatch):
    own("title: Mine")
    monkeypatch.chdir(tmp_path)
    card = cards.load("my.csv")
    assert card.table == str(tmp_path / "my.csv")
    assert card.title == "Mine"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".CSV"])
def test_what_is_a_table(suffix):
    assert cards.is_table(f"a/b{suffix}")
    assert not cards.is_table("demo")


def test_missing_table(tmp_path):
    message = refusal(cards.load, str(tmp_path / "none.csv"))
    assert message.startswith(f"{tmp_path / 'none.csv'}: there is no such table")


@pytest.mark.parametrize("name", ["demo", "ravdess"])
def test_table_named_like_a_built_in_corpus(own, tmp_path, name):
    message = refusal(own, name=name)
    assert message.startswith(f"{tmp_path / name}.csv: '{name}' is the name of a corpus")
    assert "rename the table" in message


def test_a_card_does_not_change(plain):
    with pytest.raises(ValidationError):
        plain.title = "other"
    with pytest.raises(ValidationError):
        settings.Settings().units = 3


# The committed cards


def committed():
    names = sorted(path.stem for path in paths.cards().glob("*.yaml"))
    return [(name, preset) for name in names for preset in ["", *cards.load(name).presets]]


def test_datasets_are_the_cards():
    assert cards.names() == sorted({name for name, _ in committed()})
    assert {"demo", "ravdess"} <= set(cards.names())


@pytest.mark.parametrize(("name", "preset"), committed())
def test_every_preset_of_every_card_loads(name, preset):
    card = cards.load(name)
    assert card.dataset == name
    assert card.title
    assert card.licence
    # A challenge comes with its partition, and with no speakers.
    assert set(card.partition) == (set() if card.package else {"train", "devel", "test"})
    loaded = cards.settings_of(card, preset)
    stated = card.settings | card.presets.get(preset or card.default_preset, {})
    for key, value in stated.items():
        if key != "weights":  # a path is made absolute
            assert getattr(loaded, key) == value, key


def test_paper_presets_are_table_2():
    with (paths.published() / "table2.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    compared = 0
    for name in cards.names():
        card = cards.load(name)
        if "paper" not in card.presets or not card.paper_column:  # the demo corpus has none
            continue
        loaded = cards.settings_of(card, "paper")
        column = card.paper_column.lower()
        published = {r["hyperparameter"]: r["value"] for r in rows if r["dataset"] == column}
        assert published.pop("fine_tuned_layers") == str(int(427 * loaded.trained_share))
        for key, value in published.items():
            if value:  # two cells of the table are empty
                assert getattr(loaded, key) == float(value), key
                compared += 1
    assert compared >= 8 * 6 - 2


# Values


def test_defaults_are_the_paper():
    """Sections 2.1 and 3.2."""
    default = settings.Settings()
    assert (default.window_samples, default.hop_samples) == (512, 256)
    assert (default.chunk_samples, default.chunk_hop_samples) == (64000, 32000)
    assert (default.mel_bands, default.image_size, default.image_scale) == (128, 224, 1)
    assert (default.batch_size, default.sap_a, default.sap_s) == (32, 0.5, 10)
    assert (default.probability_min, default.probability_max) == (0.10, 0.25)
    assert (default.cutmix_px, default.mask_px) == (56, 67)
    assert default.backbone == "densenet121"
    assert not default.random_weights
    readings = [name for name in settings.Settings.model_fields if name.endswith("_reading")]
    assert sorted(readings) == [
        *("cutmix_reading", "fine_tune_reading", "mask_reading", "probability_reading")
    ]
    assert {getattr(default, name) for name in readings} == {"paper"}
    assert (default.optimizer, default.schedule, default.warmup_epochs) == (
        *("adadelta", "constant", 0),
    )
    assert (default.weight_decay, default.label_smoothing, default.patience) == (0, 0, None)
    assert (default.mel_min_hz, default.mel_max_hz) == (0, None)
    assert (default.pooling, default.feature_layer) == ("global", "")


def test_sixteen_backbones():
    """The public implementation's list, and two newer ones."""
    assert len(settings.BACKBONE_NAMES) == len(set(settings.BACKBONE_NAMES)) == 16
    assert set(backbones.BACKBONES) == set(settings.BACKBONE_NAMES)
    for name in settings.BACKBONE_NAMES:
        assert settings.Settings(backbone=name).backbone == name


def test_derived_lengths():
    used = settings.Settings(sample_rate=8000, chunk_length_s=1.5, window_ms=25, hop_ms=10)
    assert (used.chunk_samples, used.chunk_hop_samples) == (12000, 6000)
    assert (used.window_samples, used.hop_samples) == (200, 80)
    assert settings.Settings(chunk_hop_s=0.25).chunk_hop_samples == 4000
    assert settings.Settings(chunk_hop_s=1e-9).chunk_hop_samples == 1
    assert settings.Settings(image_size=112).image_scale == 0.5
    assert settings.Settings(weights="random").random_weights


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("units=0", "units = 0: "),
        ("units=1.5", "units = 1.5: "),
        ("units=many", "units = 'many': "),
        ("units=null", "units = None: "),
        ("tail=maybe", "tail = 'maybe': Input should be 'keep' or 'drop'"),
        ("learning_rate=-1", "learning_rate = -1: "),
        ("learning_rate=0", "learning_rate = 0: "),
        ("learning_rate=.inf", "learning_rate = inf: "),
        ("learning_rate=.nan", "learning_rate = nan: "),
        ("chunk_length_s=.inf", "chunk_length_s = inf: "),
        ("dropout=1", "dropout = 1: "),
        ("batch_size=1", "batch_size = 1: "),
        ("trained_share=1.1", "trained_share = 1.1: "),
        ("top_db=none", "top_db = 'none': "),
        ("top_db=0", "top_db = 0: "),
        ("chunk_hop_s=0", "chunk_hop_s = 0: "),
        ("image_size=16", "image_size = 16: "),
        ("backbone=vgg61", "backbone = 'vgg61': "),
        ("augmentation=mixup", "augmentation = 'mixup': "),
        ("weights=7", "weights = 7: "),
        ("optimizer=adamax", "optimizer = 'adamax': Input should be 'adadelta', "),
        ("optimizer=Adam", "optimizer = 'Adam': "),
        ("learning_rate_phase2=0", "learning_rate_phase2 = 0: "),
        ("schedule=linear", "schedule = 'linear': Input should be 'constant' or 'cosine'"),
        ("warmup_epochs=-1", "warmup_epochs = -1: "),
        ("warmup_epochs=0.5", "warmup_epochs = 0.5: "),
        ("weight_decay=-0.1", "weight_decay = -0.1: "),
        ("label_smoothing=1", "label_smoothing = 1: "),
        ("label_smoothing=-0.1", "label_smoothing = -0.1: "),
        ("patience=0", "patience = 0: "),
        ("pooling=max", "pooling = 'max': Input should be 'global' or 'time'"),
        ("trunk_cache=true", "trunk_cache = True: "),
        ("trunk_cache=yes", "trunk_cache = 'yes': Input should be 'on' or 'off'"),
        ("trunk_cache_gib=-1", "trunk_cache_gib = -1: "),
        ("probability_reading=mine", "probability_reading = 'mine': "),
        ("cutmix_reading=mine", "cutmix_reading = 'mine': "),
        ("mask_reading=mine", "mask_reading = 'mine': "),
        ("mel_min_hz=-1", "mel_min_hz = -1: "),
        ("mel_max_hz=0", "mel_max_hz = 0: "),
        ("mel_max_hz=9000", "mel_min_hz 0.0 to mel_max_hz 9000.0 does not lie within 0 to half"),
        ("mel_min_hz=8000", "mel_min_hz 8000.0 to mel_max_hz 8000.0 does not lie within"),
        ("mel_min_hz=500 mel_max_hz=500", "mel_min_hz 500.0 to mel_max_hz 500.0 does not"),
        ("mel_max_hz=8000 sample_rate=8000", "half the sample rate, 4000.0"),
        ("hop_ms=40", "hop_ms 40.0 is longer than window_ms 32.0"),
        ("window_ms=500 chunk_length_s=0.4", "window_ms 500.0 does not fit into a chunk"),
        ("probability_min=0.5", "probability_min is larger than probability_max"),
        ("epochs_phase1=0 epochs_phase2=0", "no epoch to train"),
        ("epochs_phase1=0 trained_share=0", "no epoch to train"),
    ],
)
def test_refused_values(plain, overrides, said):
    message = refusal(cards.settings_of, plain, overrides=overrides)
    assert message.startswith("settings of my: ")
    assert said in message


def test_every_wrong_value_is_named(plain):
    message = refusal(cards.settings_of, plain, overrides="units=0 tail=maybe")
    assert "units = 0: " in message
    assert "tail = 'maybe': " in message


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ("learning_rate=1e-3", "learning_rate", 0.001),  # no float to YAML 1.1
        ("trim=on", "trim", "on"),  # a bool to YAML 1.1
        ("balance=none", "balance", "none"),
        ("top_db=60", "top_db", 60.0),
        ("epochs_phase1=0", "epochs_phase1", 0),
        ("weights=random", "weights", "random"),
        ("trunk_cache=on", "trunk_cache", "on"),
        ("trunk_cache=off", "trunk_cache", "off"),
        ("trunk_cache_gib=0", "trunk_cache_gib", 0.0),
        ("mel_min_hz=20 mel_max_hz=8000", "mel_max_hz", 8000.0),
        ("mel_max_hz=null", "mel_max_hz", None),
        ("patience=null", "patience", None),
        ("patience=1", "patience", 1),
        ("pooling=time", "pooling", "time"),
        ("feature_layer=avg_pool", "feature_layer", "avg_pool"),
        ("learning_rate_phase2=1e-2", "learning_rate_phase2", 0.01),
        ("optimizer=sgd", "optimizer", "sgd"),
        ("schedule=cosine", "schedule", "cosine"),
        ("weight_decay=1e-4", "weight_decay", 1e-4),
        ("backbone=nasnet_large", "backbone", "nasnet_large"),
        ("augmentation=cutmix+specaugment", "augmentation", "cutmix+specaugment"),
    ],
)
def test_accepted_values(plain, overrides, key, value):
    found = getattr(cards.settings_of(plain, overrides=overrides), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"overrides": "learning_rat=1"}, "'learning_rat'; did you mean 'learning_rate'?"),
        ({"overrides": ["unit=1"]}, "unknown key 'unit'; did you mean 'units'?"),
        ({"overrides": {"zzz": 1}}, "unknown key 'zzz'; there is: sample_rate, "),
        ({"overrides": {3: 1}}, "unknown key '3'; there is: sample_rate, "),
        ({"augmentatoin": "none"}, "did you mean 'augmentation'?"),
        ({"preset": "frist"}, "my has no preset 'frist'; did you mean 'first'?"),
        ({"preset": "paper"}, "my has no preset 'paper'; there is: first, second"),
    ],
)
def test_unknown_keys(own, given, said):
    assert said in refusal(cards.settings_of, own(CARD), **given)


def test_weights_by_path(plain, tmp_path, monkeypatch):
    (tmp_path / "w.h5").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cards.settings_of(plain, weights="w.h5").weights == str(tmp_path / "w.h5")
    message = refusal(cards.settings_of, plain, weights="v.h5")
    assert message.startswith("weights v.h5: no such file; give 'imagenet', 'random' or the path")


# Who overrules whom


def test_precedence(own):
    """Defaults, then the card's settings, the preset, what is named, the overrides."""
    used = cards.settings_of(own(CARD), overrides="batch_size=6", learning_rate=0.5, batch_size=5)
    assert used.epochs_phase1 == settings.Settings().epochs_phase1
    assert used.units == 1  # card
    assert used.dropout == 0.2  # preset over card
    assert used.learning_rate == 0.5  # named over preset
    assert used.batch_size == 6  # override over named
    assert used.top_db == 31


def test_named_preset_stands_in_for_the_default_one(own):
    used = cards.settings_of(own(CARD), "second")
    assert (used.units, used.dropout, used.batch_size) == (7, 0.1, 3)


def test_empty_named_settings_are_passed_over(own):
    card = own(CARD)
    assert cards.settings_of(card, augmentation="", units=None) == cards.settings_of(card)
    assert cards.settings_of(card, dropout=0).dropout == 0


def test_null_unsets(own):
    card = own(CARD)
    assert cards.settings_of(card, overrides="top_db=null").top_db is None
    assert cards.settings_of(card, overrides={"top_db": None}).top_db is None


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("", {}),
        ([], {}),
        ("units=64 tail=drop", {"units": 64, "tail": "drop"}),
        ("  units=64\n tail=drop ", {"units": 64, "tail": "drop"}),
        (["units=64", "dropout=0.5"], {"units": 64, "dropout": 0.5}),
        (("units=1", "units=2"), {"units": 2}),
        ({"units": 64}, {"units": 64}),
        ("top_db=null", {"top_db": None}),
        ("weights=a=b.h5", {"weights": "a=b.h5"}),
        (["weights=my folder/w.h5"], {"weights": "my folder/w.h5"}),
    ],
)
def test_parse_overrides(given, parsed):
    assert settings.parse_overrides(given) == parsed


@pytest.mark.parametrize("item", ["units", "=64", "units:64"])
@pytest.mark.parametrize("form", [str, lambda item: [item]])
def test_override_without_a_value(item, form):
    message = refusal(settings.parse_overrides, form(item))
    assert message.startswith(f"override '{item}': expected key=value")


def test_unreadable_override():
    message = refusal(settings.parse_overrides, ["units=[1"])
    assert message == "override 'units=[1': the value cannot be read"


def test_overridden(own):
    card = own(CARD)
    assert cards.overridden(card, cards.settings_of(card)) == {}
    used = cards.settings_of(card, overrides="units=1 dropout=0.3 top_db=null")
    assert cards.overridden(card, used) == {"dropout": (0.2, 0.3), "top_db": (31.0, None)}
    # Against the preset it was made from, not the card's default one.
    used = cards.settings_of(card, "second", overrides="units=8")
    assert cards.overridden(card, used, "second") == {"units": (7, 8)}


def test_on_and_no_are_words(tmp_path):
    (tmp_path / "own.csv").write_text("path,label\na.wav,no\n")
    (tmp_path / "own.yaml").write_text(
        "classes: [no, yes]\nsettings: {trim: on, trunk_cache: off}\n"
    )
    card = cards.load(str(tmp_path / "own.csv"))
    assert card.classes == ("no", "yes")
    assert cards.settings_of(card).trim == "on"
    assert cards.settings_of(card).trunk_cache == "off"
    assert cards.settings_of(card, overrides="trim=off").trim == "off"
    assert cards.settings_of(card, overrides="trunk_cache=on").trunk_cache == "on"
    assert settings.parse_overrides("top_db=null a=true b=3") == {"top_db": None, "a": True, "b": 3}


def test_weights_beside_the_table_are_found(tmp_path, monkeypatch):
    (tmp_path / "own.csv").write_text("path,label\na.wav,no\n")
    (tmp_path / "w.weights.h5").write_text("")
    (tmp_path / "own.yaml").write_text("settings: {weights: w.weights.h5}\n")
    monkeypatch.chdir("/")
    card = cards.load(str(tmp_path / "own.csv"))
    assert cards.settings_of(card).weights == str(tmp_path / "w.weights.h5")


def test_runs_of_two_presets_lie_apart():
    from dslite import cards
    from dslite.training import runs

    card = cards.load("ravdess")
    presets = ("tuned", "paper")
    tuned, paper = (cards.settings_of(card, preset) for preset in presets)
    usual = runs.folder(card, tuned, 3)
    assert usual.name == "densenet121-none-s3"
    assert runs.folder(card, tuned, 3, preset="tuned") == usual
    assert runs.folder(card, paper, 3, preset="paper").name == "densenet121-none-s3-paper"
    assert runs.folder(card, paper, 3, runs.SVM, "paper").name == "densenet121-svm-s3-paper"

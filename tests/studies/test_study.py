"""Studies: what may stand in one, and how it is expanded."""

import itertools
import operator
import re

import pytest

from dslite import cards, paths, settings
from dslite.deployment.runtime import VARIANTS
from dslite.errors import InputError
from dslite.paper import published
from dslite.settings import AUGMENTATIONS
from dslite.studies import expand, load_study
from dslite.studies.jobs import job
from dslite.studies.study import baselines, names
from tests.refusals import refusal

SHORT = "title: T\ncorpora: [demo]\naugmentations: [none]\n"


@pytest.fixture
def load(tmp_path):
    def written(text):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load_study(tmp_path / "mine.yaml")

    return written


@pytest.fixture
def expanded(load):
    return lambda text: expand(load(text))


def test_the_committed_studies():
    assert names() == [
        "demo",
        "paper",
        "ravdess",
        "ravdess-authors",
        "ravdess-folds",
        "small",
        "table5",
    ]
    for name in names():
        study = load_study(name)
        assert study.name == name
        # All others are compared with "none".
        assert {"none"} <= set(study.augmentations) <= set(AUGMENTATIONS)
        assert set(study.corpora) <= set(cards.names())
    assert len(expand(load_study("small"))) == 8 * 3 * 4 * 3  # corpora, backbones, …, seeds
    demo = [job(config).settings for config in expand(load_study("demo"))]
    assert len(demo) == 4 * 2
    assert {used.backbone for used in demo} == {cards.settings_of(cards.load("demo")).backbone}
    assert {(used.head, used.epochs_phase2) for used in demo} == {("ridge", 2)}


def test_the_papers_study_has_the_rows_of_its_tables():
    study = load_study("paper")
    rows = [row for n in (3, 4) for row in published.table(n).itertuples()]
    printed = {(r.dataset, r.configuration) for r in rows if r.configuration in AUGMENTATIONS}
    configs = expand(study)
    assert len(configs) == len(printed)
    assert {(config.dataset, config.augmentation) for config in configs} == printed
    usual = published.BACKBONE, published.PRESET, ()
    assert {(config.backbone, config.preset, config.overrides) for config in configs} == {usual}
    svm = {row.dataset for row in published.table(3).itertuples() if row.configuration == "svm"}
    assert svm <= {config.dataset for config in baselines(study) if config.kind == "svm"}


def test_what_is_left_out(load, tmp_path, monkeypatch):
    load(SHORT)
    monkeypatch.chdir(tmp_path)
    study = load_study("mine.yaml")
    assert (study.name, study.seeds, study.folds, study.grid) == ("mine", (0,), None, False)
    assert (study.variants, study.baselines, study.presets) == (VARIANTS, (), ())
    assert baselines(study) == []
    (config,) = expand(study)
    assert (config.preset, config.backbone) == ("transfer", "squeezenet")
    assert config.weights == str(paths.ROOT / "data/weights/demo_squeezenet.weights.h5")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sedes: [1]", "unknown key 'sedes'; did you mean 'seeds'?"),
        ("name: mine", "leave out the key 'name'"),
        ("baselines: [svn]", "baselines: unknown 'svn'; did you mean 'svm'?"),
        ("overrides: {unit: 3}", "unknown key 'unit'; did you mean 'units'?"),
        ("overrides: {backbone: vgg16}", "name it in backbones"),
        ("weights: nowhere.h5", "weights nowhere.h5: no such file"),
        ("weights: {vgg16: random}", "weights: name those of each of the backbones"),
        ("seeds: [0, 1, 0]", "seeds: 0 is listed twice"),
        ("seeds: [-1]", "seeds.0 = -1"),
        ("folds: 2", "folds = 2"),
        ("grid: true", "grid: no corpus's card has one"),
        ("corpora: [demo, dem]", "unknown dataset 'dem'; did you mean 'demo'?"),
        ("- demo", "not readable as YAML"),
    ],
)
def test_refused_studies(load, tmp_path, more, message):
    key = more.partition(":")[0]
    lines = [line for line in SHORT.splitlines() if not line.startswith(f"{key}:")]
    with pytest.raises(InputError) as error:
        load("\n".join([*lines, more]) + "\n")
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))
    assert message in str(error.value)
    assert "unknown study 'smal'; did you mean 'small'" in refusal(load_study, "smal")
    assert "there is no such study" in refusal(load_study, tmp_path / "gone.yaml")


def test_the_order_of_the_configurations(expanded):
    configs = expanded(
        "title: T\ncorpora: [ravdess, demo]\npresets: [paper, tuned]\nbackbones: [vgg16, vgg19]\n"
        "weights: random\naugmentations: [cutmix, none]\nseeds: [3, 1]\n"
    )
    key = operator.attrgetter("dataset", "preset", "backbone", "augmentation", "seed")
    axes = ("ravdess", "demo"), ("paper", "tuned"), ("vgg16", "vgg19"), ("cutmix", "none"), (3, 1)
    assert list(map(key, configs)) == list(itertools.product(*axes))
    # One is the same however it is written: RAVDESS's default preset is `tuned`, whose units are
    # 512, and DenseNet121 its backbone.
    short = SHORT.replace("demo", "ravdess")
    (first,) = expanded(short + "overrides: {units: 512, dropout: 0.1}\n")
    second = expanded(
        "title: B\ncorpora: [ravdess, demo]\npresets: [tuned]\nbackbones: [densenet121]\n"
        "seeds: [1, 0]\nweights: imagenet\naugmentations: [cutmix, none]\n"
        "overrides: {dropout: 1.0e-1}\n"
    )
    assert first in second
    assert first.overrides == (("dropout", 0.1),)


def test_folds_weights_and_overrides_of_a_configuration(expanded, tmp_path):
    (tmp_path / "v.h5").touch()
    several = f"backbones: [vgg16, vgg19]\nweights: {{vgg16: {tmp_path}/v.h5, vgg19: random}}\n"
    texts = (SHORT + more for more in ("", "folds: 3\n", "weights: random\n", several))
    configs = list(itertools.chain.from_iterable(map(expanded, texts)))
    assert len(set(configs)) == 5
    assert [config.folds for config in configs] == [None, 3, None, None, None]
    weights = {config.backbone: config.weights for config in configs[3:]}
    assert weights == {"vgg16": str(tmp_path / "v.h5"), "vgg19": "random"}
    # The words of one give its settings again.
    (config,) = expanded(
        f"{SHORT}overrides: {{mel_max_hz: 4000, top_db: null, trim: on, feature_layer: stride4,\n"
        "  pooling: global, weight_decay: 1.0e-6, patience: 3}\n"
    )
    assert settings.parse_overrides(config.override_words()) == dict(config.overrides)
    used = job(config).settings
    assert (used.top_db, used.trim, used.weight_decay, used.patience) == (None, "on", 1e-6, 3)


def test_a_table_beside_the_study(load, user_card, monkeypatch):
    table = user_card("title: Own\n").table
    monkeypatch.chdir("/")
    for typed in ("my.csv", table):
        study = load(SHORT.replace("demo", typed))
        assert study.corpora == (expand(study)[0].dataset,) == (table,)


def test_two_tables_of_one_name_are_refused(load, user_card, tmp_path):
    user_card("name: other")
    (tmp_path / "other.csv").write_text("path,label\n")
    message = refusal(load, SHORT.replace("demo", "my.csv, other.csv"))
    assert "my.csv and of " in message
    assert "other.csv would both be called 'other'" in message


def test_baselines_once_each(load):
    text = (
        "title: T\ncorpora: [ravdess, demo]\nbackbones: [vgg16, vgg19]\nweights: random\n"
        "augmentations: [none, cutmix]\nseeds: [4, 5]\nbaselines: [svm, librosa]\n"
        "overrides: {units: 7, sample_rate: 8000, mel_max_hz: null}\n"
    )
    configs = baselines(load(text))
    key = operator.attrgetter("kind", "backbone", "weights")
    once = [("svm", "vgg16", "random"), ("librosa", "", ""), ("svm", "vgg19", "random")]
    assert list(map(key, configs)) == 2 * once
    assert [(c.dataset, c.seed) for c in configs] == 3 * [("ravdess", 4)] + 3 * [("demo", 4)]
    acoustic = [config.overrides for config in configs if config.kind == "librosa"]
    assert acoustic == [(("sample_rate", 8000),)] * 2


def test_a_grid_is_tried_where_the_study_says_so(expanded, user_card, tmp_path, monkeypatch):
    user_card("classes: [x, y]\ngrid: {units: [64, 512], dropout: [0.5, 0.25, 0.5]}\n")
    text = SHORT.replace("demo", "my.csv")
    assert len(expanded(text)) == 1
    configs = expanded(text + "grid: true\n")
    # `tuned` of a table has 512 units and a dropout of 0.25; 0.5 is there once.
    dropout, units = ("dropout", 0.5), ("units", 64)
    expected = [(dropout, units), (units,), (dropout,), ()]
    assert [config.overrides for config in configs] == expected
    configs = expanded(text + "grid: true\noverrides: {dropout: 0.1}\n")
    pair = (("dropout", 0.1), units)  # what is overridden is not tried
    assert [config.overrides for config in configs] == [pair, pair[:1]]
    user_card("grid: {units: [64, 0]}\n")
    with pytest.raises(InputError, match="units = 0"):
        expanded(text + "grid: true\n")
    user_card("grid: {copies: [0, 2]}\n")
    configs = expanded(text + "grid: true\n")
    assert [config.overrides for config in configs] == [(), (("copies", 2),)]
    with pytest.raises(InputError, match="copies 2 belong to head ridge, not to arelu"):
        expanded(text + "grid: true\npresets: [paper]\n")
    # It may hold weights.
    (tmp_path / "w.h5").touch()
    user_card("grid: {weights: [random, w.h5]}\n")
    monkeypatch.chdir(tmp_path)
    configs = expanded(f"{text}grid: true\nweights: {tmp_path}/w.h5\n")
    expected = [("random", ()), (str(tmp_path / "w.h5"), ())]
    assert [(config.weights, config.overrides) for config in configs] == expected


def test_the_page_for_users_of_the_public_tool(tmp_path):
    page = (paths.ROOT / "docs" / "coming-from-deepspectrumlite.md").read_text(encoding="utf-8")
    named = set()
    for title, column in (("Settings", 1), ("Where the tool's manual and its code differ", 0)):
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for row in re.findall(r"^\| `.*", section, re.MULTILINE):
            named.update(re.findall(r"`(\w+)`", row.split("|")[1:][column]))
    assert len(named) > 30
    assert named <= set(settings.Settings.model_fields)
    for folder in ("birds", "audio"):
        (tmp_path / folder).mkdir()
    blocks = re.findall(r"^```\w+\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for name, text in zip(("birds.csv", "birds.yaml", "birds-study.yaml"), blocks, strict=True):
        (tmp_path / "birds" / name).write_text(text, encoding="utf-8")
    configs = expand(load_study(tmp_path / "birds" / "birds-study.yaml"))
    expected = itertools.product(("none", "cutmix"), ({}, {"learning_rate": 0.02}))
    assert [(c.augmentation, dict(c.overrides)) for c in configs] == list(expected)

"""Studies: what may stand in one, and how it is expanded."""

import itertools
import operator
import re

import pytest

from dslite import cards, paths, settings
from dslite.deployment.quantise import VARIANTS
from dslite.errors import InputError
from dslite.paper import published
from dslite.settings import AUGMENTATIONS
from dslite.studies import expand, load_study
from dslite.studies.jobs import job
from dslite.studies.study import baselines, names
from tests.refusals import refusal

SHORT = "title: T\ncorpora: [demo]\naugmentations: [none]\n"


@pytest.fixture
def write(tmp_path):
    """Write a study of one's own and give its path."""

    def written(text, name="mine.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


@pytest.fixture
def expanded(write):
    """Configurations of a study of that text."""
    return lambda text: expand(load_study(write(text)))


@pytest.fixture
def own(write):
    """Write a table with a card beside it, and give the table's path."""

    def written(card):
        write(card, "own.yaml")
        return write("path,label\na.wav,x\n", "own.csv")

    return written


def test_the_committed_studies():
    assert names() == ["demo", "paper", "ravdess", "ravdess-folds", "small", "table5"]
    studies = {name: load_study(name) for name in names()}
    for name, study in studies.items():
        assert study.name == name
        # All others are compared with "none".
        assert {"none"} <= set(study.augmentations) <= set(AUGMENTATIONS)
        assert set(study.corpora) <= set(cards.names())
    assert len(expand(studies["small"])) == 8 * 3 * 4 * 3  # corpora, backbones, …, seeds
    demo = [job(config).settings for config in expand(studies["demo"])]
    assert len(demo) == 4 * 2
    usual = cards.settings_of(cards.load("demo")).backbone
    assert {each.backbone for each in demo} == {usual}
    assert all(each.epochs_phase1 + each.epochs_phase2 <= 4 for each in demo)


def test_the_papers_study_has_the_rows_of_its_tables():
    study = load_study("paper")
    rows = [row for n in (3, 4) for row in published.table(n).itertuples()]
    printed = {(r.dataset, r.configuration) for r in rows if r.configuration in AUGMENTATIONS}
    configs = expand(study)
    assert len(configs) == len(printed)
    assert {(config.dataset, config.augmentation) for config in configs} == printed
    assert {(config.backbone, config.preset, config.overrides) for config in configs} == {
        (published.BACKBONE, published.PRESET, ())
    }
    svm = {row.dataset for row in published.table(3).itertuples() if row.configuration == "svm"}
    assert svm <= {config.dataset for config in baselines(study) if config.kind == "svm"}


def test_what_is_left_out(write, tmp_path, monkeypatch):
    write(SHORT)
    monkeypatch.chdir(tmp_path)
    study = load_study("mine.yaml")
    assert (study.name, study.seeds, study.folds, study.grid) == ("mine", (0,), None, False)
    assert (study.variants, study.baselines, study.presets) == (VARIANTS, (), ())
    assert baselines(study) == []
    (config,) = expand(study)
    assert (config.preset, config.backbone) == ("tuned", "squeezenet")
    assert config.weights == str(paths.ROOT / "data/weights/demo_squeezenet.weights.h5")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sedes: [1]", "unknown key 'sedes'; did you mean 'seeds'?"),
        ("name: mine", "leave out the key 'name'"),
        ("backbones: [mobilnet_v2]", "unknown 'mobilnet_v2'; did you mean 'mobilenet_v2'"),
        ("baselines: [svn]", "baselines: unknown 'svn'; did you mean 'svm'?"),
        ("variants: [float23]", "variants: unknown 'float23'; did you mean 'float32'?"),
        ("presets: [tuend]", "demo has no preset 'tuend'; did you mean 'tuned'?"),
        ("overrides: {unit: 3}", "unknown key 'unit'; did you mean 'units'?"),
        ("overrides: {units: 0}", "units = 0"),
        ("overrides: {backbone: vgg16}", "name it in backbones"),
        ("overrides: {weights: random}", "name it in weights"),
        ("weights: nowhere.h5", "weights nowhere.h5: no such file"),
        ("weights: {vgg16: random}", "weights: name those of each of the backbones"),
        ("seeds: [0, 1, 0]", "seeds: 0 is listed twice"),
        ("seeds: [-1]", "seeds.0 = -1"),
        ("seeds: [one]", "seeds.0 = 'one'"),
        ("seeds: [true]", "seeds.0 = True"),
        ("seeds: []", "seeds"),
        ("folds: 2", "folds = 2"),
        ("grid: true", "grid: no corpus's card has one"),
        ("augmentations: [cutmx]", "unknown 'cutmx'; did you mean 'cutmix'?"),
        ("augmentations:", "augmentations"),
        ("corpora: [demo, dem]", "unknown dataset 'dem'; did you mean 'demo'?"),
        ("corpora: [gone.csv]", "there is no such table"),
        ("corpora: []", "corpora"),
        ("- demo", "not readable as YAML"),
    ],
)
def test_refused_studies(write, more, message):
    key = more.partition(":")[0]
    lines = [line for line in SHORT.splitlines() if not line.startswith(f"{key}:")]
    file = write("\n".join([*lines, more]) + "\n")
    with pytest.raises(InputError) as error:
        load_study(file)
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_a_study_that_is_not_there(tmp_path):
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


def test_studies_that_share_a_configuration_share_it_however_it_is_written(expanded):
    """RAVDESS's default preset is `tuned`, whose units are 128, and DenseNet121 its backbone."""
    short = SHORT.replace("demo", "ravdess")
    (first,) = expanded(short + "overrides: {units: 128, dropout: 0.1}\n")
    second = expanded(
        "title: B\ncorpora: [ravdess, demo]\npresets: [tuned]\nbackbones: [densenet121]\n"
        "seeds: [1, 0]\nweights: imagenet\naugmentations: [cutmix, none]\n"
        "overrides: {dropout: 1.0e-1}\n"
    )
    assert first in second
    assert first.overrides == (("dropout", 0.1),)


def test_folds_and_weights_tell_configurations_apart(expanded, tmp_path):
    (tmp_path / "v.h5").touch()
    several = f"backbones: [vgg16, vgg19]\nweights: {{vgg16: {tmp_path}/v.h5, vgg19: random}}\n"
    configs = [
        config
        for more in ("", "folds: 3\n", "weights: random\n", several)
        for config in expanded(SHORT + more)
    ]
    assert len(set(configs)) == 5
    assert [config.folds for config in configs] == [None, 3, None, None, None]
    weights = {config.backbone: config.weights for config in configs[3:]}
    assert weights == {"vgg16": str(tmp_path / "v.h5"), "vgg19": "random"}


def test_a_configurations_words_give_its_settings_again(expanded):
    (config,) = expanded(
        f"{SHORT}overrides: {{mel_max_hz: 4000, top_db: null, trim: on, feature_layer: stride4,\n"
        "  weight_decay: 1.0e-6, patience: 3}\n"
    )
    assert settings.parse_overrides(config.override_words()) == dict(config.overrides)
    used = job(config).settings
    assert (used.top_db, used.trim, used.weight_decay, used.patience) == (None, "on", 1e-6, 3)


def test_a_table_beside_the_study_is_found(write, own, monkeypatch):
    table = own("title: Own\n")
    monkeypatch.chdir("/")
    for typed in ("own.csv", str(table)):
        study = load_study(write(SHORT.replace("demo", typed)))
        assert study.corpora == (expand(study)[0].dataset,) == (str(table),)


def test_baselines_once_each(write):
    text = (
        "title: T\ncorpora: [ravdess, demo]\nbackbones: [vgg16, vgg19]\nweights: random\n"
        "augmentations: [none, cutmix]\nseeds: [4, 5]\nbaselines: [svm, librosa]\n"
        "overrides: {units: 7, sample_rate: 8000, mel_max_hz: null}\n"
    )
    configs = baselines(load_study(write(text)))
    key = operator.attrgetter("kind", "backbone", "weights")
    once = [("svm", "vgg16", "random"), ("librosa", "", ""), ("svm", "vgg19", "random")]
    assert list(map(key, configs)) == 2 * once
    assert [(c.dataset, c.seed) for c in configs] == 3 * [("ravdess", 4)] + 3 * [("demo", 4)]
    acoustic = [config.overrides for config in configs if config.kind == "librosa"]
    assert acoustic == [(("sample_rate", 8000),)] * 2


GRID = "title: Own\nclasses: [x, y]\ngrid: {units: [64, 512], dropout: [0.5, 0.25, 0.5]}\n"


def test_a_grid_is_tried_where_the_study_says_so(expanded, own):
    own(GRID)
    text = SHORT.replace("demo", "own.csv")
    assert len(expanded(text)) == 1
    configs = expanded(text + "grid: true\n")
    # `tuned` of a table has 512 units and a dropout of 0.25; 0.5 is there once.
    assert [config.overrides for config in configs] == [
        (("dropout", 0.5), ("units", 64)),
        (("units", 64),),
        (("dropout", 0.5),),
        (),
    ]
    configs = expanded(text + "grid: true\noverrides: {dropout: 0.1}\n")
    pair = (("dropout", 0.1), ("units", 64))  # what is overridden is not tried
    assert [config.overrides for config in configs] == [pair, pair[:1]]
    own("title: Own\ngrid: {units: [64, 0]}\n")
    with pytest.raises(InputError, match="units = 0"):
        expanded(text + "grid: true\n")


def test_a_grid_may_hold_weights(expanded, own, tmp_path, monkeypatch):
    (tmp_path / "w.h5").touch()
    own("title: Own\ngrid: {weights: [random, w.h5]}\n")
    text = SHORT.replace("demo", "own.csv") + f"grid: true\nweights: {tmp_path}/w.h5\n"
    monkeypatch.chdir(tmp_path)
    expected = [("random", ()), (str(tmp_path / "w.h5"), ())]
    assert [(config.weights, config.overrides) for config in expanded(text)] == expected


def test_the_page_for_users_of_the_public_tool(tmp_path):
    page = (paths.ROOT / "docs" / "coming-from-deepspectrumlite.md").read_text(encoding="utf-8")
    column = {"Settings": 1, "Where the tool's manual and its code differ": 0}
    named = set()
    for section in page.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        rows = [line.split("|")[1:-1] for line in lines if line.startswith("| `")]
        for row in rows if title in column else []:
            named.update(re.findall(r"`(\w+)`", row[column[title]]))
    assert len(named) > 30
    assert named <= set(settings.Settings.model_fields)
    for folder in ("birds", "audio"):
        (tmp_path / folder).mkdir()
    blocks = re.findall(r"^```\w+\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for name, text in zip(("birds.csv", "birds.yaml", "birds-study.yaml"), blocks, strict=True):
        (tmp_path / "birds" / name).write_text(text, encoding="utf-8")
    configs = expand(load_study(tmp_path / "birds" / "birds-study.yaml"))
    assert [(config.augmentation, dict(config.overrides)) for config in configs] == [
        (name, changed) for name in ("none", "cutmix") for changed in ({}, {"learning_rate": 0.02})
    ]

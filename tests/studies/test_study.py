"""Studies: what may stand in one, how it is expanded, and what is chosen of a grid."""

import re

import numpy as np
import pandas as pd
import pytest

from dslite import cards, paths, settings
from dslite.deployment.quantise import VARIANTS
from dslite.errors import InputError
from dslite.paper import published
from dslite.paper import reproduction as paper_reproduction
from dslite.settings import AUGMENTATIONS
from dslite.studies import study as study_study
from dslite.studies.study import Point
from dslite.training import runs
from dslite.training import runs as training_runs

SHORT = "title: T\ncorpora: [demo]\naugmentations: [none]\n"


@pytest.fixture
def write(tmp_path):
    """Write a study of one's own and give its path."""

    def written(text, name="mine.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


@pytest.fixture
def own(tmp_path):
    """Write a table with a card beside it, and give the table's path."""

    def written(card, name="own.csv"):
        table = tmp_path / name
        table.write_text("path,label\na.wav,x\n", encoding="utf-8")
        table.with_suffix(".yaml").write_text(card, encoding="utf-8")
        return table

    return written


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        study_study.load(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)


# The committed ones


def test_the_committed_studies():
    assert study_study.names() == [
        "demo",
        "paper",
        "ravdess",
        "ravdess-folds",
        "small",
        "table5",
    ]
    for name in study_study.names():
        study = study_study.load(name)
        assert study.name == name
        assert set(study.augmentations) <= set(AUGMENTATIONS)
        assert "none" in study.augmentations  # what all others are compared with
        assert set(study.corpora) <= set(cards.names())


def test_the_papers_study_has_the_rows_of_its_tables():
    study = study_study.load("paper")
    wanted = {
        (row.dataset, row.configuration)
        for n in (3, 4)
        for row in published.table(n).itertuples()
        if row.configuration in AUGMENTATIONS
    }
    points = study_study.expand(study)
    assert {(p.dataset, p.augmentation) for p in points} == wanted
    assert len(points) == len(wanted)
    assert {(p.backbone, p.preset, p.overrides) for p in points} == {
        (paper_reproduction.BACKBONE, paper_reproduction.PRESET, ())
    }
    svm = {row.dataset for row in published.table(3).itertuples() if row.configuration == "svm"}
    assert svm <= {b.dataset for b in study_study.baselines(study) if b.kind == "svm"}


def test_the_small_study_names_three_backbones_and_three_seeds():
    points = study_study.expand(study_study.load("small"))
    assert {p.backbone for p in points} == {"mobilenet_v2", "squeezenet", "efficientnet_v2_b0"}
    assert {p.seed for p in points} == {0, 1, 2}
    assert len(points) == 8 * 3 * 4 * 3


def test_the_demo_study_is_short():
    study = study_study.load("demo")
    points = study_study.expand(study)
    assert len(points) == 4 * 2
    for point in points:
        of = settings_of(point)
        assert of.backbone == cards.settings_of(cards.load("demo")).backbone
        assert of.epochs_phase1 + of.epochs_phase2 <= 4


# What may stand in a study


def test_what_is_left_out(write):
    study = study_study.load(write(SHORT))
    assert (study.name, study.seeds, study.folds, study.grid) == ("mine", (0,), None, False)
    assert (study.variants, study.baselines, study.presets) == (VARIANTS, (), ())
    assert study_study.baselines(study) == []
    point = study_study.expand(study)[0]
    assert (point.preset, point.backbone) == ("tuned", "squeezenet")
    assert point.weights == str(paths.ROOT / "data/weights/demo_squeezenet.weights.h5")


def test_a_study_is_found_from_any_folder(write, tmp_path, monkeypatch):
    write(SHORT)
    monkeypatch.chdir(tmp_path)
    assert study_study.load("mine.yaml").title == "T"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHORT + "backbone: [vgg16]\n", "unknown key 'backbone'; did you mean 'backbones'?"),
        (SHORT + "sedes: [1]\n", "unknown key 'sedes'; did you mean 'seeds'?"),
        (SHORT + "name: mine\n", "leave out the key 'name'"),
        (
            SHORT + "backbones: [mobilnet_v2]\n",
            "unknown 'mobilnet_v2'; did you mean 'mobilenet_v2'",
        ),
        (SHORT + "baselines: [svn]\n", "baselines: unknown 'svn'; did you mean 'svm'?"),
        (SHORT + "variants: [float23]\n", "variants: unknown 'float23'; did you mean 'float32'?"),
        (SHORT + "presets: [tuend]\n", "demo has no preset 'tuend'; did you mean 'tuned'?"),
        (SHORT + "overrides: {unit: 3}\n", "unknown key 'unit'; did you mean 'units'?"),
        (SHORT + "overrides: {units: 0}\n", "units = 0"),
        (SHORT + "overrides: {backbone: vgg16}\n", "name it in backbones"),
        (SHORT + "overrides: {weights: random}\n", "name it in weights"),
        (SHORT + "weights: nowhere.h5\n", "weights nowhere.h5: no such file"),
        (SHORT + "weights: {vgg16: random}\n", "weights: name those of each of the backbones"),
        (SHORT + "seeds: [0, 1, 0]\n", "seeds: 0 is listed twice"),
        (SHORT + "seeds: [-1]\n", "seeds.0 = -1"),
        (SHORT + "seeds: [one]\n", "seeds.0 = 'one'"),
        (SHORT + "seeds: [true]\n", "seeds.0 = True"),
        (SHORT + "seeds: []\n", "seeds"),
        (SHORT + "folds: 2\n", "folds = 2"),
        (SHORT + "grid: true\n", "grid: no corpus's card has one"),
        (SHORT.replace("none", "cutmx"), "unknown 'cutmx'; did you mean 'cutmix'?"),
        (SHORT.replace("demo", "demo, dem"), "unknown dataset 'dem'; did you mean 'demo'?"),
        (SHORT.replace("demo", "gone.csv"), "there is no such table"),
        (SHORT.replace("[demo]", "[]"), "corpora"),
        ("title: T\ncorpora: [demo]\n", "augmentations"),
        ("- demo\n", "expected 'key: value' lines"),
    ],
)
def test_refused_studies(write, text, said):
    assert said in refusal(write(text))


def test_a_study_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="unknown study 'smal'; did you mean 'small'"):
        study_study.load("smal")
    with pytest.raises(InputError, match="there is no such study"):
        study_study.load(tmp_path / "gone.yaml")


def test_names_of_baselines_are_those_of_runs():
    assert set(study_study.BASELINES) == set(training_runs.BASELINES) == set(runs.FEATURES.values())
    assert study_study.ACOUSTIC == runs.ACOUSTIC


# Expansion


def settings_of(point, card=None):
    return cards.settings_of(
        card or cards.load(point.dataset),
        point.preset,
        study_study.words(point),
        backbone=point.backbone,
        weights=point.weights,
        augmentation=point.augmentation,
    )


def test_the_order_of_the_points(write):
    text = (
        "title: T\ncorpora: [ravdess, demo]\npresets: [paper, tuned]\nbackbones: [vgg16, vgg19]\n"
        "weights: random\naugmentations: [cutmix, none]\nseeds: [3, 1]\n"
    )
    points = study_study.expand(study_study.load(write(text)))
    assert [tuple(getattr(p, key) for key in study_study.GROUP[:5]) for p in points] == [
        (dataset, preset, backbone, augmentation, seed)
        for dataset in ("ravdess", "demo")
        for preset in ("paper", "tuned")
        for backbone in ("vgg16", "vgg19")
        for augmentation in ("cutmix", "none")
        for seed in (3, 1)
    ]


def test_studies_that_share_a_point_share_it_however_it_is_written(write):
    """RAVDESS's default preset is `tuned`, whose units are 128, and DenseNet121 its backbone."""
    written = [
        "title: A\ncorpora: [ravdess]\naugmentations: [none]\n"
        "overrides: {units: 128, dropout: 0.1}\n",
        "title: B\ncorpora: [ravdess, demo]\npresets: [tuned]\nbackbones: [densenet121]\n"
        "seeds: [1, 0]\nweights: imagenet\naugmentations: [cutmix, none]\n"
        "overrides: {dropout: 1.0e-1}\n",
    ]
    first, second = (
        study_study.expand(study_study.load(write(text, f"{i}.yaml")))
        for i, text in enumerate(written)
    )
    assert len(first) == 1
    assert set(first) <= set(second)
    assert first[0].overrides == (("dropout", 0.1),)


def test_folds_and_weights_tell_points_apart(write):
    texts = [SHORT, SHORT + "folds: 3\n", SHORT + "weights: random\n"]
    points = [study_study.expand(study_study.load(write(text)))[0] for text in texts]
    assert len(set(points)) == 3
    assert [p.folds for p in points] == [None, 3, None]


def test_weights_of_each_backbone(write, tmp_path):
    (tmp_path / "v.h5").touch()
    text = (
        SHORT + f"backbones: [vgg16, vgg19]\nweights: {{vgg16: {tmp_path}/v.h5, vgg19: random}}\n"
    )
    points = study_study.expand(study_study.load(write(text)))
    assert [(p.backbone, p.weights) for p in points] == [
        ("vgg16", str(tmp_path / "v.h5")),
        ("vgg19", "random"),
    ]


def test_a_points_words_give_its_settings_again(write):
    text = SHORT + (
        "overrides: {mel_max_hz: 4000, top_db: null, trim: on, feature_layer: stride4,\n"
        "  weight_decay: 1.0e-6, patience: 3}\n"
    )
    point = study_study.expand(study_study.load(write(text)))[0]
    assert dict(settings.parse_overrides(study_study.words(point))) == dict(point.overrides)
    of = settings_of(point)
    assert (of.top_db, of.trim, of.weight_decay, of.patience) == (None, "on", 1e-6, 3)


def test_a_table_beside_the_study_is_found(write, own, tmp_path, monkeypatch):
    table = own("title: Own\n")
    monkeypatch.chdir("/")
    study = study_study.load(write(SHORT.replace("demo", "own.csv")))
    assert study.corpora == (str(table),)
    assert study_study.expand(study)[0].dataset == str(table)
    assert study_study.load(write(SHORT.replace("demo", str(table)))).corpora == study.corpora


def test_baselines_once_each(write):
    text = (
        "title: T\ncorpora: [ravdess, demo]\nbackbones: [vgg16, vgg19]\nweights: random\n"
        "augmentations: [none, cutmix]\nseeds: [4, 5]\nbaselines: [svm, librosa]\n"
        "overrides: {units: 7, sample_rate: 8000, mel_max_hz: null}\n"
    )
    found = study_study.baselines(study_study.load(write(text)))
    assert [(b.dataset, b.kind, b.backbone, b.weights) for b in found] == [
        (dataset, kind, backbone, weights)
        for dataset in ("ravdess", "demo")
        for kind, backbone, weights in (
            ("svm", "vgg16", "random"),
            ("librosa", "", ""),
            ("svm", "vgg19", "random"),
        )
    ]
    assert {b.seed for b in found} == {4}
    acoustic = [b.overrides for b in found if b.kind == "librosa"]
    assert acoustic == [(("sample_rate", 8000),)] * 2


# Grids

GRID = "title: Own\nclasses: [x, y]\ngrid: {units: [64, 512], dropout: [0.5, 0.25, 0.5]}\n"


def test_grid_points_are_a_product():
    assert study_study.grid_points({}) == [{}]
    assert study_study.grid_points({"units": [1, 2], "tail": ["keep", "drop"]}) == [
        {"units": 1, "tail": "keep"},
        {"units": 1, "tail": "drop"},
        {"units": 2, "tail": "keep"},
        {"units": 2, "tail": "drop"},
    ]


def test_a_grid_is_tried_where_the_study_says_so(write, own):
    table, text = own(GRID), SHORT.replace("demo", "own.csv")
    assert len(study_study.expand(study_study.load(write(text)))) == 1
    points = study_study.expand(study_study.load(write(text + "grid: true\n")))
    # `tuned` of a table has 512 units and a dropout of 0.25; 0.5 is there once.
    assert [p.overrides for p in points] == [
        (("dropout", 0.5), ("units", 64)),
        (("units", 64),),
        (("dropout", 0.5),),
        (),
    ]
    assert {p.dataset for p in points} == {str(table)}


def test_a_grid_may_hold_weights(write, own, tmp_path, monkeypatch):
    (tmp_path / "w.h5").touch()
    own("title: Own\ngrid: {weights: [random, w.h5]}\n")
    text = SHORT.replace("demo", "own.csv") + f"grid: true\nweights: {tmp_path}/w.h5\n"
    monkeypatch.chdir(tmp_path)
    points = study_study.expand(study_study.load(write(text)))
    assert [(p.weights, p.overrides) for p in points] == [
        ("random", ()),
        (str(tmp_path / "w.h5"), ()),
    ]


def test_what_is_overridden_is_not_tried(write, own):
    own(GRID)
    text = SHORT.replace("demo", "own.csv") + "grid: true\noverrides: {dropout: 0.1}\n"
    points = study_study.expand(study_study.load(write(text)))
    assert [p.overrides for p in points] == [
        (("dropout", 0.1), ("units", 64)),
        (("dropout", 0.1),),
    ]


def test_a_grid_of_values_that_cannot_be_is_refused(write, own):
    own("title: Own\ngrid: {units: [64, 0]}\n")
    text = SHORT.replace("demo", "own.csv") + "grid: true\n"
    assert "units = 0" in refusal(write(text))


def points(n=3, **named):
    """So many points of one grid."""
    shared = {"dataset": "d", "preset": "p", "backbone": "b", "weights": "imagenet", "seed": 0}
    shared |= {"augmentation": "none"} | named
    return [Point(**shared, overrides=(("units", i),)) for i in range(n)]


def test_the_best_on_devel_is_chosen_and_of_equals_the_first():
    table = study_study.candidates(points(5), [0.5, 0.7, np.nan, 0.7, 0.6])
    chosen, every = study_study.choose(table)
    assert chosen["overrides"].tolist() == ["units=1"]
    assert chosen["point"].tolist() == [1]
    assert every["chosen"].tolist() == [False, True, False, False, False]
    assert every["rank"].tolist() == [4, 1, 5, 2, 3]
    assert len(every) == 5


def test_the_choice_does_not_look_at_test():
    table = study_study.candidates(points(), [0.5, 0.6, 0.7])
    chosen = [
        study_study.choose(table.assign(test=scores))[0].drop(columns="test")
        for scores in ([0.9, 0.1, 0.2], [0.1, 0.2, 0.3])
    ]
    pd.testing.assert_frame_equal(*chosen)


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "e"},
        {"preset": "q"},
        {"backbone": "c"},
        {"augmentation": "cutmix"},
        {"seed": 1},
        {"folds": 5},
    ],
    ids=str,
)
def test_every_group_has_its_own_choice(other):
    table = study_study.candidates([*points(), *points(**other)], [0.1, 0.9, 0.2, 0.3, 0.2, 0.1])
    chosen, _ = study_study.choose(table)
    assert chosen["point"].tolist() == [1, 3]


def test_weights_are_chosen_like_any_setting():
    table = study_study.candidates([*points(1), *points(1, weights="/a/b.h5")], [0.1, 0.9])
    assert study_study.choose(table)[0]["weights"].tolist() == ["b.h5"]


def test_a_grid_without_any_score_is_refused():
    table = study_study.candidates([*points(2), *points(2, seed=1)], [0.5, 0.6, np.nan, np.nan])
    with pytest.raises(
        InputError, match="d, p, b, none, 1: no point of the grid has a devel score"
    ):
        study_study.choose(table)


# The page for those who come from the public tool


def test_the_page_for_users_of_the_public_tool(tmp_path):
    page = (paths.ROOT / "docs" / "coming-from-deepspectrumlite.md").read_text(encoding="utf-8")
    tables = {}
    for section in page.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        rows = [line.split("|")[1:-1] for line in lines if line.startswith("| `")]
        tables[title] = [re.findall(r"`(\w+)`", row[title == "Settings"]) for row in rows]
    named = {
        name
        for title in ("Settings", "Where the tool's manual and its code differ")
        for row in tables[title]
        for name in row
    }
    assert len(named) > 30
    assert named <= set(settings.Settings.model_fields)
    (tmp_path / "birds").mkdir()
    (tmp_path / "audio").mkdir()
    blocks = re.findall(r"^```\w+\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for name, text in zip(("birds.csv", "birds.yaml", "birds-study.yaml"), blocks, strict=True):
        (tmp_path / "birds" / name).write_text(text, encoding="utf-8")
    points = study_study.expand(study_study.load(tmp_path / "birds" / "birds-study.yaml"))
    assert [(point.augmentation, dict(point.overrides)) for point in points] == [
        (name, changed) for name in ("none", "cutmix") for changed in ({}, {"learning_rate": 0.02})
    ]

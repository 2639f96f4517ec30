"""A configuration of the public tool becomes a card, a study and a table that load."""

from functools import partial

import numpy as np
import pytest
import soundfile
import yaml

from dslite import cards, settings
from dslite.datasets import listing as dataset_listing
from dslite.datasets import manifest
from dslite.studies import imported
from dslite.studies import study as study_study
from tests.studies import public_tool
from tests.studies.public_tool import CLASSES, NAMES, ROWS, TABLE, refusal, why


@pytest.fixture
def convert(tmp_path):
    return partial(public_tool.convert, tmp_path)


# Refusals


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({}, "expected an object"),
        (["Robin"], "expected an object"),
        ({"rob": 1}, 'rob: expected the name of a class, "rob": "Name"'),
        ({"rob": " "}, "rob: expected the name of a class"),
        ({"rob": "Bird", "wren": "Bird "}, "two labels are called 'Bird'"),
    ],
)
def test_refused_classes(convert, tmp_path, classes, said):
    message = refusal(convert, classes=classes)
    assert message.startswith(str(tmp_path / "class_config.json"))
    assert said in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("filename", "file", "no column 'filename' in its first row; did you mean 'file'?"),
        ("label,", "lable,", "no column 'label' in its first row; did you mean 'lable'?"),
        ("devel_rob1", "rob1", "row 6, 'rob1.wav': the name must begin with train, devel or test"),
        ("devel_rob1.wav,rob", "devel_rob1.wav,robin", "label 'robin' is not known; did you mean"),
        ("devel_rob1.wav,rob", "devel_rob1.wav,?", "row 6, 'devel_rob1.wav': label '?' is not"),
        ("devel_rob1.wav,rob,12000", "devel_rob1.wav", "row 6 has 1 cells where the header has 3"),
    ],
)
def test_refused_tables(convert, tmp_path, old, new, said):
    message = refusal(convert, table=TABLE.replace(old, new))
    assert message.startswith(str(tmp_path / "label.csv"))
    assert said in message


def test_all_problems_of_a_table_at_once(convert):
    message = refusal(convert, table=TABLE.replace("devel_", "d_"))
    assert "4 problems" in message


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_broken_files(convert, tmp_path, name):
    convert()
    files = [tmp_path / each for each in NAMES]
    (tmp_path / name).write_bytes(b'{"a": [1,}\n' if name.endswith("json") else b"\xff\n1\n")
    assert refusal(imported.convert, *files).startswith(str(tmp_path / name))
    (tmp_path / name).unlink()
    assert refusal(imported.convert, *files).startswith(f"{tmp_path / name}: not readable")


def test_a_json_error_says_where(convert, tmp_path):
    convert()
    (tmp_path / "hp_config.json").write_text('{\n"dropout": [0.5,]\n}', encoding="utf-8")
    files = [tmp_path / each for each in NAMES]
    assert "line 2" in refusal(imported.convert, *files)


@pytest.mark.parametrize("name", ["ravdess", "", "a/b", "..", ".hidden"])
def test_refused_names(convert, name):
    assert f"name '{name}'" in refusal(convert, name=name)


def test_a_missing_audio_folder(convert, tmp_path):
    assert "gone: there is no such folder" in refusal(convert, audio=tmp_path / "gone")


# Tables


def test_labels_become_classes_and_prefixes_partitions(convert):
    found = convert(
        table=TABLE.replace("train_rob1", "sub/train_rob1").replace("wav,wren", "wav,rob")
    )
    assert list(found.table) == ["path", "label", "partition"]
    assert found.table.iloc[0].tolist() == ["sub/train_rob1.wav", "Robin", "train"]
    assert found.table["partition"].value_counts().to_dict() == dict.fromkeys(
        settings.PARTITIONS, 4
    )
    assert set(found.table["label"]) == {"Robin"}
    assert found.card["classes"] == ["Robin", "Wren"]


def test_numeric_labels_are_labels_and_folders_may_hold_the_partition(convert):
    table = "filename;label\ntrain\\a.wav;0\ndevel/a.wav;01\ntest/a.wav;?\n"
    found = convert(classes={"0": "no", "01": "yes"}, table=table)
    assert found.table.values.tolist() == [
        ["train/a.wav", "no", "train"],
        ["devel/a.wav", "yes", "devel"],
        ["test/a.wav", "?", "test"],
    ]


def test_a_regression(convert):
    changes = {"prediction_type": ["regression"], "loss": ["mae"], "output_activation": ["sigmoid"]}
    table = "filename,label\ntrain_a.wav,0.5\ndevel_a.wav,1e-1\ntest_a.wav,-2\n"
    found = convert(changes, classes={"a": "Arousal"}, table=table)
    assert (found.card["task"], "classes" in found.card) == ("regression", False)
    assert found.table["label"].tolist() == ["0.5", "1e-1", "-2"]
    assert '"mae"' in why(found, "loss")[0]
    assert '"sigmoid"' in why(found, "output_activation")[0]
    same = {"loss": ["mse", "mean_squared_error"], "output_activation": ["linear"]}
    assert not why(convert(changes | same, classes={"a": "A"}, table=table), "loss")
    bad = refusal(convert, changes, classes={"a": "A"}, table=table.replace("-2", "loud"))
    assert "label 'loud' is not known; write a number" in bad
    two = refusal(convert, changes, classes=CLASSES, table=table)
    assert "a regression predicts one number" in two


# Written files


@pytest.fixture
def recordings(tmp_path, rng):
    """The audio of `TABLE` in a folder of its own."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for name, _ in ROWS:
        soundfile.write(folder / name, rng.normal(0, 0.1, 12000).astype(np.float32), 8000)
    return folder


GRID = {"num_units": [8, 16], "dropout": [0.1, 0.2, 0.3], "augment_cutmix": [True, False]}


def test_round_trip(convert, recordings, tmp_path, cache):
    found = convert(GRID | {"color_map": ["magma"]}, audio=recordings)
    table, beside, study = imported.write(found, tmp_path / "out")
    assert [file.name for file in (table, beside, study)] == [
        "birds.csv",
        "birds.yaml",
        "birds-study.yaml",
    ]
    card = cards.load(str(table))
    assert card.classes == ("Robin", "Wren")
    assert {key: list(tried) for key, tried in card.grid.items()} == found.card["grid"]
    chosen = cards.settings_of(card)
    assert {k: getattr(chosen, k) for k in found.card["settings"]} == found.card["settings"]
    listing = dataset_listing.read(card)
    assert listing.table[["path", "label", "partition"]].values.tolist() == (
        found.table.values.tolist()
    )
    built = manifest.load(card)
    assert (built.table["duration_s"] == 1.5).all()
    assert "#" in beside.read_text(encoding="utf-8").splitlines()[0]
    for line in found.unmatched:
        assert f"# {line}\n" in beside.read_text(encoding="utf-8")


def test_the_written_study_has_the_grid_of_the_tool(convert, recordings, tmp_path):
    found = convert(GRID | {"basemodel_name": ["vgg16", "vgg19"]}, audio=recordings)
    table, _, file = imported.write(found, tmp_path / "out")
    points = study_study.expand(study_study.load(file))
    assert len(points) == 2 * 3 * 2 * 2
    assert {p.dataset for p in points} == {str(table)}
    tried = {(p.backbone, p.augmentation, *dict(p.overrides).items()) for p in points}
    assert len(tried) == len(points)


def test_the_preset_of_the_tools_code(convert, recordings, tmp_path):
    table, *_ = imported.write(convert(audio=recordings), tmp_path)
    card = cards.load(str(table))
    manual, code = (cards.settings_of(card, preset) for preset in (imported.MANUAL, imported.CODE))
    assert card.default_preset == imported.MANUAL
    differing = {k: v for k, v in code.model_dump().items() if v != getattr(manual, k)}
    assert differing == imported.READINGS


def test_words_that_yaml_takes_for_something_else(convert, recordings, tmp_path):
    found = convert(classes={"rob": "no", "wren": "1e3"}, audio=recordings)
    table, beside, _ = imported.write(found, tmp_path)
    assert cards.load(str(table)).classes == ("no", "1e3")
    assert yaml.safe_load(beside.read_text(encoding="utf-8"))["classes"] == ["no", "1e3"]


def test_nothing_is_overwritten_unless_told(convert, recordings, tmp_path):
    found, out = convert(audio=recordings), tmp_path / "out"
    out.mkdir()
    (out / "birds-study.yaml").write_text("mine", encoding="utf-8")
    assert "birds-study.yaml: exists already" in refusal(imported.write, found, out)
    assert [file.name for file in out.iterdir()] == ["birds-study.yaml"]
    imported.write(found, out, force=True)
    assert study_study.load(out / "birds-study.yaml").corpora == (str(out / "birds.csv"),)
    assert len(list(out.iterdir())) == 3


def test_table_and_audio_move_together(convert, recordings, tmp_path):
    imported.write(convert(audio=recordings), tmp_path / "out")
    (tmp_path / "moved").mkdir()
    for name in ("audio", "out"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    card = cards.load(str(tmp_path / "moved" / "out" / "birds.csv"))
    assert (dataset_listing.home(card) / ROWS[0][0]).is_file()

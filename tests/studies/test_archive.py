"""A study's archive: complete, described as RO-Crate 1.1 says, repeatable, and without audio."""

import hashlib
import json
import zipfile
from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

from dslite import paths
from dslite.datasets.listing import AUDIO, OTHER_AUDIO
from dslite.errors import InputError
from dslite.studies import archive as study_archive
from tests.studies.finished_study import finish, lay, notebook, places


@pytest.fixture
def study(tmp_path, rng, monkeypatch):
    """The study's path, all of its runs finished."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))

    def laid(card=(), **changed):
        file = lay(tmp_path / "birds", rng, card, changed)
        for place in places(file):
            finish(place)
        tables = paths.results("studies") / "flock"
        tables.mkdir(parents=True)
        for name in ("runs.csv", "README.md", "song.wav", ".draft.csv"):
            (tables / name).write_text(f"{name}\n", encoding="utf-8")
        return file

    return laid


def archived(study, models=False, to=None):
    """Name -> content of the archive's members, in its order."""
    with zipfile.ZipFile(study_archive.write(study_archive.collect(study, models), to)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def graph(members):
    """Identifier -> entity."""
    document = json.loads(members[study_archive.FILE])
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    found = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(found) == len(document["@graph"])
    return found


def references(value):
    """Every identifier that a value of an entity refers to."""
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else references(list(value.values()))
    return [i for each in value for i in references(each)] if isinstance(value, list) else []


def actions(found):
    return {key: one for key, one in found.items() if one["@type"] == "CreateAction"}


def test_what_is_in_it(study):
    members = archived(study())
    assert next(iter(members)) == study_archive.FILE
    assert list(members)[1:] == sorted(set(members) - {study_archive.FILE})
    runs = {name.split("/")[2] for name in members if name.startswith("runs/")}
    assert runs == {
        *("squeezenet-none-s0", "squeezenet-none-s1", "squeezenet-svm-s0", "librosa-svm-s0"),
        *(f"squeezenet-cutmix+specaugment-s{seed}" for seed in (0, 1)),
    }
    one = "runs/birds/squeezenet-none-s0"
    assert {name for name in members if name.startswith(f"{one}/")} == {
        f"{one}/{name}" for name in ("run.json", "metrics.json", "predictions.csv", "history.csv")
    }
    assert {name for name in members if not name.startswith("runs/")} == {
        *(
            study_archive.FILE,
            "LICENSE",
            "requirements.lock",
            "study/flock.yaml",
            "cards/birds.yaml",
        ),
        *("tables/runs.csv", "tables/README.md"),
    }
    folder = paths.results("birds") / "squeezenet-none-s0"
    assert members[f"{one}/run.json"] == (folder / "run.json").read_bytes()


def test_every_identifier_is_a_file_or_an_entity(study):
    members = archived(study(), models=True)
    found = graph(members)
    described = {unquote(key) for key, one in found.items() if one["@type"] == "File"}
    assert described == set(members) - {study_archive.FILE}
    parts = {unquote(part["@id"]) for part in found["./"]["hasPart"]}
    assert parts == described
    for entity in found.values():
        for key, value in entity.items():
            if key not in ("conformsTo", "actionStatus"):
                assert [i for i in references(value) if i not in found] == [], (entity["@id"], key)


def test_sizes_and_hashes_are_those_of_the_files(study):
    members = archived(study(), models=True)
    checked = 0
    for key, entity in graph(members).items():
        if entity["@type"] == "File":
            content = members[unquote(key)]
            assert entity["contentSize"] == str(len(content))
            assert entity["sha256"] == hashlib.sha256(content).hexdigest()
            checked += 1
    assert checked == len(members) - 1


def test_the_descriptor_and_the_root_are_those_of_the_specification(study):
    found = graph(archived(study()))
    descriptor, root = found[study_archive.FILE], found["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    assert root["@type"] == "Dataset"
    assert root["name"] == "Do birds like augmentation? (study flock)"
    assert root["datePublished"] == "2026-01-02T10:00:00Z"  # of the latest run
    assert found[root["license"]["@id"]]["name"] == "MIT License"
    assert "6 of the 6 runs" in root["description"]
    assert "Missing" not in root["description"]
    assert {each["@id"] for each in root["mentions"]} == set(actions(found))


def test_each_run_says_with_what_of_what_and_what_came_of_it(study):
    found = graph(archived(study()))
    action = found["#run-birds/squeezenet-none-s1"]
    assert action["@type"] == "CreateAction"
    assert action["endTime"] == "2026-01-02T10:00:00Z"
    assert "agent" not in json.dumps(list(found.values()))
    (software,) = (found[one["@id"]] for one in action["instrument"])
    assert software["version"] == "0.1.0"
    assert software["description"].startswith("git commit abc, with changes that were not")
    assert software["softwareRequirements"] == {"@id": "requirements.lock"}
    (corpus,) = (found[one["@id"]] for one in action["object"])
    assert corpus["name"] == "Two birds"
    assert corpus["description"] == "Not in this archive. Ask the wren."
    assert corpus["identifier"].endswith("0" * 64)
    assert found[corpus["license"]["@id"]]["name"] == "CC BY 4.0"
    made = {each["@id"] for each in action["result"]}
    assert all(name.startswith("runs/birds/squeezenet-none-s1/") for name in made)
    assert len(made) == 4


def test_another_reader_understands_it(study, tmp_path):
    place = study_archive.write(study_archive.collect(study()), tmp_path / "out" / "a.zip")
    read = ROCrate(place)
    assert read.name.startswith("Do birds")
    assert len(read.get_by_type("CreateAction")) == 6
    assert {unquote(each.id) for each in read.data_entities} == set(
        zipfile.ZipFile(place).namelist()
    ) - {study_archive.FILE}


def test_the_same_results_give_the_same_bytes(study, tmp_path):
    file = study()
    first = study_archive.write(study_archive.collect(file, models=True), tmp_path / "a.zip")
    for each in (tmp_path / "results").rglob("*"):
        each.touch()
    again = study_archive.write(study_archive.collect(file, models=True), tmp_path / "b.zip")
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert {info.date_time for info in archive.infolist()} == {study_archive.CREATED}
    metrics = paths.results("birds") / "squeezenet-none-s0" / "metrics.json"
    metrics.write_text(metrics.read_text(encoding="utf-8") + " ", encoding="utf-8")
    study_archive.write(study_archive.collect(file, models=True), again)
    assert first.read_bytes() != again.read_bytes()


def test_no_audio_and_no_models_unless_asked(study):
    file = study()
    for models in (False, True):
        suffixes = {PurePosixPath(name).suffix for name in archived(file, models)}
        assert not suffixes & (AUDIO | OTHER_AUDIO)
        assert ({".keras", ".tflite"} <= suffixes) == models


@pytest.mark.parametrize(
    ("weights", "licence"),
    [("random", "None: trained from random weights"), ("imagenet", "MIT")],  # of SqueezeNet's
)
def test_models_name_the_licence_of_their_weights(study, weights, licence):
    settings = {"backbone": "squeezenet", "weights": weights}
    found = graph(archived(study({"settings": settings}), models=True))
    for name in ("model.keras", "model.tflite"):
        model = found[f"runs/birds/squeezenet-none-s0/{name}"]
        named = found[model["license"]["@id"]]
        assert named["name"] == licence
        assert "licence of the corpus" in named["description"]


def test_of_a_private_corpus_nothing_names_its_files(study):
    file = study({"publish": False})
    notebook(places(file)[0])
    contents = study_archive.collect(file, models=True)
    members = archived(file, models=True)
    assert not [name for name in members if name.endswith((".keras", ".tflite", ".ipynb"))]
    assert "runs/birds/squeezenet-none-s0/metrics.json" in members
    told = members[study_archive.FILE].decode() + "".join(
        content.decode() for name, content in members.items() if name.startswith("runs/")
    )
    assert "test_0.wav" not in told
    said = "birds/squeezenet-none-s0/predictions.csv: the card of the corpus does not say"
    assert any(line.startswith(said) for line in contents.left_out)
    assert any(line.startswith("birds/squeezenet-none-s0, models:") for line in contents.left_out)
    assert any(line.startswith("notebook birds/squeezenet") for line in contents.left_out)
    assert said in graph(members)["./"]["description"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("<p>UAR</p>", ""),
        ('<audio controls src="x">', "it has audio players"),
        ("data:audio/wav;base64,UklGRg", "it has audio players"),
        (f"{paths.ROOT}/data", "it names folders of this machine"),
    ],
)
def test_notebooks_are_published_unless_they_play_audio(study, output, said):
    file = study()
    notebook(places(file)[0], output)
    contents = study_archive.collect(file)
    name = "birds/squeezenet-none-s0.ipynb"
    assert (f"notebooks/{name}" in contents.members) == (not said)
    assert contents.left_out == ([f"notebook {name}: {said}"] if said else [])
    if not said:
        published = json.loads(contents.members[f"notebooks/{name}"])
        assert published["metadata"] == {"papermill": {"version": "2.7"}}


def test_a_damaged_notebook_is_left_out(study):
    file = study()
    notebook(places(file)[0]).write_text("[]", encoding="utf-8")
    assert "not readable as a notebook" in study_archive.collect(file).left_out[0]


def test_missing_runs_are_named(study):
    file = study()
    (paths.results("birds") / "squeezenet-none-s0" / "run.json").unlink()
    contents = study_archive.collect(file)
    assert contents.missing == ["birds/squeezenet-none-s0"]
    members = archived(file)
    assert not [name for name in members if "squeezenet-none-s0" in name]
    found = graph(members)
    assert "Missing: birds/squeezenet-none-s0." in found["./"]["description"]
    status = {key: one["actionStatus"]["@id"] for key, one in actions(found).items()}
    planned = [key for key, each in status.items() if each.endswith("PotentialActionStatus")]
    assert planned == ["#run-birds/squeezenet-none-s0"]
    assert "result" not in found[planned[0]]


def test_runs_of_another_recipe_are_missing_with_the_reason(study):
    file = study()
    first = paths.results("birds") / "squeezenet-none-s0" / "run.json"
    record = json.loads(first.read_text(encoding="utf-8"))
    record["settings"] |= {"units": 9, "dropout": 0.9, "sap_a": 0.1, "sap_s": 3}
    first.write_text(json.dumps(record), encoding="utf-8")
    assert study_archive.collect(file).missing == [
        "birds/squeezenet-none-s0 (what lies there has other settings: dropout, sap_a, sap_s and "
        "1 more)"
    ]


def test_folds_differ_by_right_but_corpora_that_changed_are_said(study):
    file = study(folds=3, baselines=[])
    assert study_archive.collect(file).mixed == []
    record = places(file)[0].folder / "fold2" / "run.json"
    changed = json.loads(record.read_text(encoding="utf-8")) | {"manifest": "c" * 64}
    record.write_text(json.dumps(changed), encoding="utf-8")
    contents = study_archive.collect(file)
    assert contents.mixed == ["birds 3folds/fold2: runs of 2 different manifests"]
    assert (
        "Mixed: birds 3folds/fold2" in study_archive.describe(contents)["@graph"][0]["description"]
    )


def test_a_cross_validation_is_one_run_of_several_folds(study):
    found = graph(archived(study(folds=3, baselines=[])))
    action = found["#run-birds/squeezenet-none-s0-3folds"]
    assert len(action["object"]) == len(action["identifier"]) == 3
    assert len({found[one["@id"]]["name"] for one in action["object"]}) == 3
    made = {
        each["@id"].removeprefix("runs/birds/squeezenet-none-s0-3folds/")
        for each in action["result"]
    }
    assert {"folds.json", "folds.csv", "fold1/run.json", "fold3/predictions.csv"} <= made


@pytest.mark.parametrize("name", ["a.tar", "a", "folder.zip"])
def test_names_that_are_no_archive_are_refused(study, tmp_path, name):
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(InputError, match=r"ends in \.zip"):
        study_archive.write(study_archive.collect(study()), tmp_path / name)


def test_a_study_without_results_has_nothing_to_archive(study):
    file = study()
    for record in paths.results().rglob("run.json"):
        record.unlink()
    with pytest.raises(InputError, match="none of its 6 runs is finished"):
        study_archive.collect(file)

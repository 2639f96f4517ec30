"""What is published of a study: complete, described, repeatable, without audio or private names."""

import hashlib
import json
import re
import shutil
import zipfile
from urllib.parse import quote, unquote

import numpy as np
import pytest
from PIL import Image
from rocrate.rocrate import ROCrate

from dslite import paths, plots
from dslite.studies import archive
from dslite.training import records, runs
from tests.studies.finished_study import FILES, runs_of

FIRST = "birds/squeezenet-none-s0"
SHARED = {"runs.csv", "predictions.csv.gz", "history.csv.gz", "table1.csv", "flock.yaml"}
SHARED |= {"tables/runs.csv", "tables/README.md", archive.METADATA}


def archived(study, models=False):
    with zipfile.ZipFile(archive.write_archive(archive.collect(study, models))) as packed:
        assert packed.testzip() is None
        return {name: packed.read(name) for name in packed.namelist()}


def recorded(study):
    place = archive.write_record(archive.collect(study))
    files = [file for file in place.rglob("*") if file.is_file()]
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in files}


def graph(members):
    """Identifier -> entity."""
    document = json.loads(members[archive.METADATA])
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    return entities


def actions(entities):
    return {key: one for key, one in entities.items() if one["@type"] == "CreateAction"}


def change(file, **changes):
    record = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(record | changes), encoding="utf-8")
    return record


def test_what_is_in_it(lay_finished):
    file = lay_finished()
    folder = runs_of(file)[0].folder / "explanation"
    (folder / "sounds").mkdir(parents=True)
    for name in ("samples.csv", "shap_confident.svg", "shap_median.png", "sounds/loud.wav"):
        (folder / name).touch()
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "shap_confident.png")
    explained = {f"{FIRST}/explanation/{name}" for name in ("samples.csv", "shap_confident.png")}
    members = archived(file)
    around = {"LICENSE", "requirements.lock", "cards/birds.yaml"}
    assert set(members) == SHARED | around | explained
    assert len(members[f"{FIRST}/explanation/shap_confident.png"]) <= plots.PICTURE_BYTES
    more = {name.rpartition(".")[2] for name in set(archived(file, True)) - set(members)}
    assert more == {"keras", "tflite"}  # and never audio
    # A record is the same without what the project has anyway.
    record = recorded(file)
    assert set(record) == SHARED | explained
    assert all(members[name] == record[name] for name in set(record) - {archive.METADATA})
    run = runs.load(paths.records() / "flock" / FIRST)
    # A path of the user's machine is not published.
    here = runs.load(paths.results() / FIRST).record
    assert run.record == here | {"table": {"path": "birds.csv", "columns": {}}}
    assert run.predictions["file"].tolist() == FILES[4:]


def test_what_was_recorded_before_stays_until_it_is_repeated(lay_finished):
    file = lay_finished()
    samples = paths.results() / FIRST / "explanation" / "samples.csv"
    samples.parent.mkdir()
    samples.touch()
    first, home = recorded(file), paths.records() / "flock"
    shutil.rmtree(paths.results() / FIRST)
    other = paths.results() / "birds" / "squeezenet-none-s1" / "run.json"
    change(other, commit="later")
    second = recorded(file)
    assert set(second) == set(first)
    assert second["predictions.csv.gz"] == first["predictions.csv.gz"]
    values = records.read(home)
    assert [values[f"birds/squeezenet-none-s{i}"]["run"]["commit"] for i in (0, 1)] == [
        *("abc+changes", "later")
    ]
    assert runs_of(file)[0].recorded
    models = "models of runs that are here as records only: 1"
    assert archive.collect(file, models=True).left_out == [models]
    assert len(actions(graph(second))) == 6
    assert "Missing" not in graph(second)["./"]["description"]


def test_a_crate_says_with_what_of_what_its_runs_were_made_and_what_came_of_it(lay_finished):
    file = lay_finished()
    place = archive.write_archive(archive.collect(file, models=True))
    read, members = ROCrate(place), archived(file, models=True)  # another reader understands it
    assert len(read.get_by_type("CreateAction")) == 6
    assert {unquote(each.id) for each in read.data_entities} == set(members) - {archive.METADATA}
    entities = graph(members)
    for name in set(members) - {archive.METADATA}:
        entity = entities[quote(name)]
        assert (entity["@type"], entity["contentSize"]) == ("File", str(len(members[name])))
        assert entity["sha256"] == hashlib.sha256(members[name]).hexdigest()
    # Every identifier is a file's or an entity's.
    text = re.sub(r'"(conformsTo|actionStatus)": \{.*?\}', "", json.dumps(list(entities.values())))
    assert set(re.findall(r'"@id": "([^"]+)"', text)) == set(entities)
    descriptor, root = entities[archive.METADATA], entities["./"]
    crate = {"conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}, "about": {"@id": "./"}}
    assert descriptor.items() >= ({"@type": "CreativeWork"} | crate).items()
    latest = {"@type": "Dataset", "datePublished": "2026-01-02T10:00:00Z"}  # of the latest run
    assert root.items() >= latest.items()
    assert root["name"] == "Do birds like augmentation? (study flock)"
    assert entities[root["license"]["@id"]]["name"] == "MIT License"
    assert "Results of 6 runs" in root["description"]
    assert "Missing" not in root["description"]
    assert {each["@id"] for each in root["mentions"]} == set(actions(entities))
    action = entities["#run-birds/squeezenet-none-s1"]
    assert action["endTime"] == "2026-01-02T10:00:00Z"
    assert "agent" not in json.dumps(list(entities.values()))
    (software,) = (entities[one["@id"]] for one in action["instrument"])
    about = {"version": "0.1.0", "softwareRequirements": {"@id": "requirements.lock"}}
    assert software.items() >= about.items()
    assert software["description"].startswith("git commit abc, with changes that were not")
    (corpus,) = (entities[one["@id"]] for one in action["object"])
    about = {"name": "Two birds", "description": "Not in this archive. Ask the wren."}
    assert corpus.items() >= about.items()
    assert corpus["identifier"].endswith("0" * 64)
    assert entities[corpus["license"]["@id"]]["name"] == "CC BY 4.0"
    models = {f"birds/squeezenet-none-s1/model.{kind}" for kind in ("keras", "tflite")}
    shared = {"runs.csv", "predictions.csv.gz", "history.csv.gz"}
    assert {each["@id"] for each in action["result"]} == models | shared


def test_the_same_results_give_the_same_record(lay_finished, tmp_path):
    file = lay_finished()
    content = []
    for _ in range(3):
        content.append(recorded(file))
        for each in (tmp_path / "results").rglob("*"):
            each.touch()
        if len(content) == 2:
            change(paths.results() / FIRST / "metrics.json", more=1)
    assert content[0] == content[1] != content[2]


@pytest.mark.parametrize(
    ("weights", "licence"),
    [("random", "None: trained from random weights"), ("imagenet", "MIT")],  # of SqueezeNet's
)
def test_models_name_the_licence_of_their_weights(lay_finished, weights, licence):
    settings = {"backbone": "squeezenet", "weights": weights}
    entities = graph(archived(lay_finished({"settings": settings}), models=True))
    for name in ("model.keras", "model.tflite"):
        named = entities[entities[f"{FIRST}/{name}"]["license"]["@id"]]
        assert named["name"] == licence
        assert "licence of the corpus" in named["description"]


def test_of_a_private_corpus_nothing_names_its_files(lay_finished):
    file = lay_finished({"publish": False})
    samples = paths.results() / FIRST / "explanation" / "samples.csv"
    samples.parent.mkdir()
    samples.write_text("test_0.wav", encoding="utf-8")
    members = archived(file, models=True)
    assert set(members) >= {"runs.csv", "history.csv.gz"}
    assert not [name for name in members if "model" in name or "explanation" in name]
    assert "predictions.csv.gz" not in members
    named = [name for name, content in members.items() if b"test_0.wav" in content]
    assert [name for name in named if not name.startswith("tables/")] == []
    (line,) = archive.collect(file, models=True).left_out
    assert line.endswith("does not say `publish: true`")
    assert line in graph(members)["./"]["description"]
    assert set(recorded(file)) == SHARED - {"predictions.csv.gz"}


def test_missing_runs_are_named_with_the_reason(lay_finished):
    file = lay_finished()
    (paths.results() / FIRST / "run.json").unlink()
    other = paths.results() / "birds" / "squeezenet-none-s1" / "run.json"
    settings = {"units": 9, "dropout": 0.9, "sap_a": 0.1, "sap_s": 3}
    change(other, settings=change(other)["settings"] | settings)
    why = "(what lies there has other settings: dropout, sap_a, sap_s and 1 more)"
    missing = [FIRST, f"birds/squeezenet-none-s1 {why}"]
    assert archive.collect(file).missing == missing
    members = archived(file)
    assert b"squeezenet-none" not in members["runs.csv"]
    entities = graph(members)
    assert f"Missing: {'; '.join(missing)}." in entities["./"]["description"]
    status = {key: one["actionStatus"]["@id"] for key, one in actions(entities).items()}
    planned = [key for key, each in status.items() if each.endswith("PotentialActionStatus")]
    assert planned == [f"#run-{FIRST}", "#run-birds/squeezenet-none-s1"]
    assert "result" not in entities[planned[0]]


def test_a_cross_validation_is_one_run_and_a_corpus_that_changed_is_named(lay_finished):
    file = lay_finished(folds=3, baselines=[])
    assert archive.collect(file).mixed == []  # folds differ by right
    entities = graph(recorded(file))
    action = entities["#run-birds/squeezenet-none-s0-3folds"]
    assert len(action["object"]) == len(action["identifier"]) == 3
    assert len({entities[one["@id"]]["name"] for one in action["object"]}) == 3
    values = records.read(paths.records() / "flock")
    assert values[f"{FIRST}-3folds"]["folds"]["table"] == {"fold": []}
    assert sum("/fold" in name for name in values) == 12
    change(runs_of(file)[0].folder / "fold2" / "run.json", manifest="c" * 64)
    contents = archive.collect(file)
    assert contents.mixed == ["birds 3folds/fold2: runs of 2 different manifests"]
    assert "Mixed: birds 3folds/fold2" in graph(recorded(file))["./"]["description"]

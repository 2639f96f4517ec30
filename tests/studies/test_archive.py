"""What is published of a study: complete, described, repeatable, without audio or private names."""

import hashlib
import json
import re
import zipfile
from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

from dslite import paths
from dslite.errors import InputError
from dslite.studies import archive
from tests.studies.finished_study import notebook, runs_of

FIRST = "birds/squeezenet-none-s0"
RUN_FILES = ("run.json", "metrics.json", "predictions.csv", "history.csv")


def archived(study, models=False, to=None):
    """Name -> content of the archive's members, in its order."""
    with zipfile.ZipFile(archive.write_archive(archive.collect(study, models), to)) as packed:
        assert packed.testzip() is None
        return {name: packed.read(name) for name in packed.namelist()}


def graph(members):
    """Identifier -> entity."""
    document = json.loads(members[archive.METADATA])
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    return entities


def references(value):
    """Every identifier that a value of an entity refers to."""
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else references(list(value.values()))
    return [i for each in value for i in references(each)] if isinstance(value, list) else []


def actions(entities):
    return {key: one for key, one in entities.items() if one["@type"] == "CreateAction"}


def change(file, **changes):
    """Change some keys of a run's record."""
    record = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(record | changes), encoding="utf-8")
    return record


def recorded():
    files = [file for file in paths.records().rglob("*") if file.is_file()]
    return {file.relative_to(paths.records()).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def explained(lay_finished):
    """The study's path; its first run is explained, too."""
    file = lay_finished()
    folder = runs_of(file)[0].folder / "explanation"
    (folder / "sounds").mkdir(parents=True)
    for name in ("samples.csv", "shap_confident.svg", "shap_median.png", "sounds/kept.wav"):
        (folder / name).touch()
    return file


def test_what_is_in_it(explained):
    members = archived(explained)
    assert next(iter(members)) == archive.METADATA
    assert list(members)[1:] == sorted(set(members) - {archive.METADATA})
    names = {name for name in members if name.startswith("runs/")}
    assert {name.split("/")[2] for name in names} == {
        *("squeezenet-none-s0", "squeezenet-none-s1", "squeezenet-svm-s0", "librosa-svm-s0"),
        *(f"squeezenet-cutmix+specaugment-s{seed}" for seed in (0, 1)),
        "table1.csv",
    }
    explanation = ("explanation/samples.csv", "explanation/shap_confident.svg")
    one = {name for name in names if name.startswith(f"runs/{FIRST}/")}
    assert one == {f"runs/{FIRST}/{name}" for name in (*RUN_FILES, *explanation)}
    assert set(members) - names == {
        *(archive.METADATA, "LICENSE", "requirements.lock", "study/flock.yaml"),
        *("cards/birds.yaml", "tables/runs.csv", "tables/README.md"),
    }
    record = f"{FIRST}/run.json"
    assert members[f"runs/{record}"] == (paths.results() / record).read_bytes()
    more = {PurePosixPath(name).suffix for name in set(archived(explained, True)) - set(members)}
    assert more == {".keras", ".tflite"}  # and never audio
    # A record is the runs and the tables of an archive.
    written, left_out = archive.record_runs(explained)
    assert left_out == []
    assert {paths.records() / name for name in recorded()} == set(written)
    assert recorded() == {
        name.removeprefix("runs/").replace("tables/", "studies/flock/"): content
        for name, content in members.items()
        if name.startswith(("runs/", "tables/"))
    }


def test_files_are_described_and_every_identifier_is_a_file_or_an_entity(lay_finished):
    members = archived(lay_finished(), models=True)
    entities = graph(members)
    described = {unquote(key): one for key, one in entities.items() if one["@type"] == "File"}
    assert set(described) == set(members) - {archive.METADATA}
    assert {unquote(part["@id"]) for part in entities["./"]["hasPart"]} == set(described)
    for name, entity in described.items():
        assert entity["contentSize"] == str(len(members[name]))
        assert entity["sha256"] == hashlib.sha256(members[name]).hexdigest()
    pairs = [pair for entity in entities.values() for pair in entity.items()]
    outside = ("conformsTo", "actionStatus")
    assert {i for key, x in pairs for i in references(x) if key not in outside} <= set(entities)


def test_a_crate_says_with_what_of_what_its_runs_were_made_and_what_came_of_it(lay_finished):
    file = lay_finished()
    place = archive.write_archive(archive.collect(file))
    read, members = ROCrate(place), archived(file)  # another reader understands it
    assert len(read.get_by_type("CreateAction")) == 6
    assert {unquote(each.id) for each in read.data_entities} == set(members) - {archive.METADATA}
    entities = graph(members)
    descriptor, root = entities[archive.METADATA], entities["./"]
    crate = {"conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}, "about": {"@id": "./"}}
    assert descriptor.items() >= ({"@type": "CreativeWork"} | crate).items()
    latest = {"@type": "Dataset", "datePublished": "2026-01-02T10:00:00Z"}  # of the latest run
    assert root.items() >= latest.items()
    assert root["name"] == "Do birds like augmentation? (study flock)"
    assert entities[root["license"]["@id"]]["name"] == "MIT License"
    assert "6 of the 6 runs" in root["description"]
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
    results = {f"runs/birds/squeezenet-none-s1/{name}" for name in RUN_FILES}
    assert {each["@id"] for each in action["result"]} == results


def test_the_same_results_give_the_same_bytes(lay_finished, tmp_path):
    file = lay_finished()
    content = []
    for _ in range(3):
        archived(file, True, tmp_path / "a.zip")
        content.append((tmp_path / "a.zip").read_bytes())
        for each in (tmp_path / "results").rglob("*"):
            each.touch()
        if len(content) == 2:
            change(paths.results() / FIRST / "metrics.json", more=1)
    assert content[0] == content[1] != content[2]
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert {info.date_time for info in packed.infolist()} == {archive.CREATED}


@pytest.mark.parametrize(
    ("weights", "licence"),
    [("random", "None: trained from random weights"), ("imagenet", "MIT")],  # of SqueezeNet's
)
def test_models_name_the_licence_of_their_weights(lay_finished, weights, licence):
    settings = {"backbone": "squeezenet", "weights": weights}
    entities = graph(archived(lay_finished({"settings": settings}), models=True))
    for name in ("model.keras", "model.tflite"):
        named = entities[entities[f"runs/{FIRST}/{name}"]["license"]["@id"]]
        assert named["name"] == licence
        assert "licence of the corpus" in named["description"]


def test_of_a_private_corpus_nothing_names_its_files(lay_finished):
    file = lay_finished({"publish": False})
    samples = paths.results() / FIRST / "explanation" / "samples.csv"
    samples.parent.mkdir()
    samples.write_text("test_0.wav", encoding="utf-8")
    folder = paths.results("birds") / "notebooks"
    notebook(folder / "runs" / "squeezenet-none-s0.ipynb")
    notebook(folder / "2_spectrograms.ipynb")
    contents = archive.collect(file, models=True)
    members = archived(file, models=True)
    assert not [name for name in members if name.endswith((".keras", ".tflite", ".ipynb"))]
    assert f"runs/{FIRST}/metrics.json" in members
    named = [name for name, content in members.items() if b"test_0.wav" in content]
    assert [name for name in named if name.startswith(("runs/", archive.METADATA))] == []
    for name in ("/predictions.csv", "/explanation/samples.csv", "/model.keras", ".ipynb"):
        (line,) = (line for line in contents.left_out if f"{FIRST.split('/')[1]}{name}:" in line)
        assert line.endswith("does not say `publish: true`")
        assert line in graph(members)["./"]["description"]
    archive.record_runs(file)
    assert not [name for name in recorded() if name.endswith(("predictions.csv", "samples.csv"))]
    with pytest.raises(InputError, match="publish: true"):
        archive.record_notebooks(str(file.with_name("birds.csv")))


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
    assert not [name for name in members if "squeezenet-none" in name]
    entities = graph(members)
    assert f"Missing: {'; '.join(missing)}." in entities["./"]["description"]
    status = {key: one["actionStatus"]["@id"] for key, one in actions(entities).items()}
    planned = [key for key, each in status.items() if each.endswith("PotentialActionStatus")]
    assert planned == [f"#run-{FIRST}", "#run-birds/squeezenet-none-s1"]
    assert "result" not in entities[planned[0]]
    assert not [name for name in archive.record_runs(file)[0] if FIRST in str(name)]


def test_a_cross_validation_is_one_run_and_a_corpus_that_changed_is_named(lay_finished):
    file = lay_finished(folds=3, baselines=[])
    contents = archive.collect(file)
    assert contents.mixed == []  # folds differ by right
    entities = graph({archive.METADATA: json.dumps(archive.describe(contents))})
    action = entities["#run-birds/squeezenet-none-s0-3folds"]
    assert len(action["object"]) == len(action["identifier"]) == 3
    assert len({entities[one["@id"]]["name"] for one in action["object"]}) == 3
    results = {each["@id"].partition("-3folds/")[2] for each in action["result"]}
    assert {"folds.json", "folds.csv", "fold1/run.json", "fold3/predictions.csv"} <= results
    change(runs_of(file)[0].folder / "fold2" / "run.json", manifest="c" * 64)
    contents = archive.collect(file)
    assert contents.mixed == ["birds 3folds/fold2: runs of 2 different manifests"]
    assert "Mixed: birds 3folds/fold2" in archive.describe(contents)["@graph"][0]["description"]


@pytest.fixture
def published(lay_finished):
    """Publish a notebook of the chain and the same of a run; gives the chain's text."""
    file = lay_finished()

    def publish(data, source=""):
        folder = paths.results("birds") / "notebooks"
        notebook(folder / "2_spectrograms.ipynb", data, source)
        notebook(folder / "runs" / "squeezenet-none-s0.ipynb", data, source)
        (kept,) = archive.record_notebooks(str(file.with_name("birds.csv")))
        assert kept == paths.records() / "birds" / "notebooks" / "2_spectrograms.ipynb"
        content = kept.read_text("utf-8")
        member = archive.collect(file).members[f"notebooks/{FIRST}.ipynb"]
        assert member.decode() == content
        return content

    return publish


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": '<b>wren</b>\n<audio controls>\n<source src="data:audio/wav;base64,UklG"/>'
         "\n</audio>"},
        {"text/html": ["<b>wren</b>", '<AUDIO src="data:audio/wav;base64,UklG">', "</AUDIO>"]},
        {"text/html": "<b>wren</b>", "audio/wav": "UklG"},
    ],
)  # fmt: skip
def test_players_are_taken_out_of_notebooks(published, data):
    text = published(data)
    assert "<b>wren</b>" in text
    assert not re.search("UklG|papermill", text)
    content = json.loads(text)
    assert content["metadata"] == {"kernelspec": {"name": "x"}}
    assert "outputs" not in content["cells"][0]


def test_folders_of_this_machine_are_taken_out_of_notebooks(published, monkeypatch, tmp_path):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "corpora"))
    data = {"text/plain": f"{paths.ROOT}/data/cards/x.yaml and {tmp_path}/corpora/birds"}
    text = published(data, source='weights = "../else/where/net.h5"')
    assert not re.search(f"{paths.ROOT}|{tmp_path}/corpora", text)
    assert "data/cards/x.yaml and birds" in text
    assert json.loads(text)["cells"][1]["source"] == 'weights = "net.h5"'
    (tmp_path / "link").symlink_to(tmp_path / "corpora")
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "link"))
    assert "and birds" in published(data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [('<audio src="data:audio/wav;base64,UklG">', "holds sound"), (None, "not readable as a")],
)
def test_notebooks_that_cannot_be_published(lay_finished, content, reason):
    file = lay_finished()
    corpus = str(file.with_name("birds.csv"))
    folder = paths.results("birds") / "notebooks"
    executed = [folder / "runs" / "squeezenet-none-s0.ipynb", folder / "2_spectrograms.ipynb"]
    for place in executed:
        notebook(place, {"text/html": content})  # never closed
        if content is None:
            place.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=rf"2_spectrograms\.ipynb: {reason}"):
        archive.record_notebooks(corpus)
    (line,) = archive.collect(file).left_out
    assert f"squeezenet-none-s0.ipynb: {reason}" in line
    executed[1].unlink()
    with pytest.raises(InputError, match="run the chain first"):  # a study's are no chain
        archive.record_notebooks(corpus)

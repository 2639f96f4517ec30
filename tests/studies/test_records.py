"""Records: what is committed of a study's runs, and what never is."""

import json

import pytest

from dslite import paths
from dslite.errors import InputError
from dslite.studies import archive
from tests.studies.finished_study import finish, lay, notebook, places


@pytest.fixture
def study(tmp_path, rng, monkeypatch):
    """A function that lays a study, all of its runs finished, and gives its path."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))

    def laid(card=(), **changed):
        file = lay(tmp_path / "birds", rng, card, changed)
        for place in places(file):
            finish(place)
        tables = paths.results("studies") / "flock"
        tables.mkdir(parents=True)
        (tables / "runs.csv").write_text("run\n", encoding="utf-8")
        (paths.results("birds") / "table1.csv").write_text("files\n4\n", encoding="utf-8")
        return file

    return laid


def kept_files():
    return sorted(
        file.relative_to(paths.records()).as_posix()
        for file in paths.records().rglob("*")
        if file.is_file()
    )


def chain(content="<p>UAR</p>", name="2_spectrograms"):
    """An executed notebook of the chain with that output; gives its path."""
    cells = [
        {"cell_type": "markdown", "source": "# Two", "metadata": {}},
        {
            "cell_type": "code",
            "source": "",
            "metadata": {"papermill": {"duration": 3}},
            "outputs": [{"output_type": "display_data", "data": content, "metadata": {}}],
        },
    ]
    file = paths.results("birds") / "notebooks" / f"{name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {"papermill": {"input_path": "/their/own/place.ipynb"}, "kernelspec": {"name": "x"}}
    file.write_text(json.dumps({"cells": cells, "metadata": known}), encoding="utf-8")
    return file


def test_runs_lie_in_the_records_as_in_the_results(study):
    file = study()
    kept = archive.keep(file)
    found = kept_files()
    assert len(found) == len(kept.written)
    for place in places(file):
        for name in ("run.json", "metrics.json", "predictions.csv", "history.csv"):
            inside = f"{place.name}/{name}"
            assert inside in found
            assert (paths.records() / inside).read_bytes() == (place.folder / name).read_bytes()
    assert "studies/flock/runs.csv" in found
    assert "birds/table1.csv" in found
    assert kept.size_mb == sum(f.stat().st_size for f in kept.written) / 1e6 > 0


def test_the_runs_notebooks_are_neither_kept_nor_complained_of(study):
    file = study()
    notebook(places(file)[0], "<audio controls>")
    kept = archive.keep(file)
    assert not kept.left_out
    assert not [name for name in kept_files() if name.endswith(".ipynb")]


def test_no_audio_no_models_no_study_file_of_this_machine(study):
    file = study()
    explained = places(file)[0].folder / "explanation"
    (explained / "sounds").mkdir(parents=True)
    for name in ("samples.csv", "shap_confident.svg", "shap_median.png", "sounds/kept.wav"):
        (explained / name).write_text("x", encoding="utf-8")
    archive.keep(file)
    found = kept_files()
    assert {name.rpartition(".")[2] for name in found} == {"csv", "json", "svg"}
    explained_files = [name for name in found if "/explanation/" in name]
    assert [name.rpartition("/")[2] for name in explained_files] == [
        "samples.csv",
        "shap_confident.svg",
    ]


def test_of_a_private_corpus_no_file_is_named(study):
    file = study({"publish": False})
    (places(file)[0].folder / "explanation").mkdir()
    (places(file)[0].folder / "explanation" / "samples.csv").write_text("a.wav", encoding="utf-8")
    kept = archive.keep(file)
    assert not [name for name in kept_files() if name.endswith(("predictions.csv", "samples.csv"))]
    assert len(kept.left_out) == len(places(file))
    with pytest.raises(InputError, match="publish: true"):
        archive.keep_notebooks(str(file.with_name("birds.csv")))


def test_what_is_not_finished_is_not_kept(study):
    file = study()
    (places(file)[0].folder / "run.json").unlink()
    archive.keep(file)
    assert not [name for name in kept_files() if name.startswith(f"{places(file)[0].name}/")]


@pytest.mark.parametrize(
    "content",
    [
        {"text/html": '<b>wren</b>\n<audio controls>\n<source src="data:audio/wav;base64,UklG"/>'
         "\n</audio>"},
        {"text/html": ["<b>wren</b>", '<AUDIO src="data:audio/wav;base64,UklG">', "</AUDIO>"]},
        {"text/html": "<b>wren</b>", "audio/wav": "UklG"},
    ],
)  # fmt: skip
def test_players_are_taken_out_of_notebooks(study, content):
    study_file = study()
    chain(content)
    kept = archive.keep_notebooks(str(study_file.with_name("birds.csv")))
    assert [file.name for file in kept.written] == ["2_spectrograms.ipynb"]
    text = kept.written[0].read_text("utf-8")
    assert "UklG" not in text
    assert "<b>wren</b>" in text
    assert "papermill" not in text
    published = json.loads(text)
    assert published["metadata"] == {"kernelspec": {"name": "x"}}
    assert "outputs" not in published["cells"][0]


def test_folders_of_this_machine_are_taken_out_of_notebooks(study, monkeypatch, tmp_path):
    study_file = study()
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "corpora"))
    named = f"{paths.ROOT}/data/cards/x.yaml and {tmp_path}/corpora/birds"
    chain({"text/plain": named})
    text = archive.without_audio(chain({"text/plain": named}))
    assert str(paths.ROOT) not in text
    assert str(tmp_path / "corpora") not in text
    assert "data/cards/x.yaml and birds" in text
    (tmp_path / "link").symlink_to(tmp_path / "corpora")
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "link"))
    assert "and birds" in archive.without_audio(chain({"text/plain": named}))
    assert archive.keep_notebooks(str(study_file.with_name("birds.csv"))).written


def test_of_a_weights_file_only_the_name_is_kept(study):
    study()
    file = chain()
    content = json.loads(file.read_text("utf-8"))
    content["cells"][1]["source"] = ['weights = "../else/where/net.h5"\n', "seed = 0"]
    file.write_text(json.dumps(content), encoding="utf-8")
    cell = json.loads(archive.without_audio(file))["cells"][1]
    assert cell["source"] == ['weights = "net.h5"\n', "seed = 0"]


def test_sound_that_cannot_be_taken_out_is_refused(study):
    study_file = study()
    file = chain({"text/html": '<audio src="data:audio/wav;base64,UklG">'})  # never closed
    with pytest.raises(InputError, match=r"2_spectrograms\.ipynb: holds sound"):
        archive.keep_notebooks(str(study_file.with_name("birds.csv")))
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="not readable as a notebook"):
        archive.keep_notebooks(str(study_file.with_name("birds.csv")))


def test_without_a_chain_there_is_nothing_to_keep(study):
    study_file = study()
    notebook(places(study_file)[0])  # a study's notebooks are no chain
    with pytest.raises(InputError, match="run the chain first"):
        archive.keep_notebooks(str(study_file.with_name("birds.csv")))


def test_the_command_tells_what_it_kept(study, command):
    file = study()
    chain()
    status, out, _ = command("record", file, "--notebooks")
    assert status == 0
    runs, chained = out.splitlines()
    assert runs.endswith(f"in {paths.shown(paths.records())}")
    assert chained.startswith("1 files, 0.0 MB in ")

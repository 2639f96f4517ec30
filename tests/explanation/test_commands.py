"""`dslite explain`: a run or single files, one line for what can be mended, no half folder."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite.explanation import methods, report
from tests.explanation.explained import waveform

FEW = ("--evaluations", 6, "--pictures", 1)


@pytest.fixture
def run(small_run, workplace, monkeypatch):
    """The small run's folder, to be written into, in pictures of few dots."""
    monkeypatch.setattr(report, "DPI", 30)
    monkeypatch.setattr(report, "SVG_DPI", 30)
    return shutil.copytree(small_run.folder, workplace / "small" / small_run.folder.name)


@pytest.fixture
def explain(command, run, small_corpus):
    def call(*words):
        return command("explain", run, "--table", small_corpus, *words)

    return call


def contents(folder):
    """Every file of a folder, by its path."""
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def refused(found, *told):
    """Status 2, and the last thing on stderr is one line that tells."""
    status, _, err = found
    assert status == 2, err
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert err.rstrip().endswith(line)
    for text in told:
        assert text in line


def test_a_run_is_explained_from_end_to_end(explain, run, small_run, monkeypatch):
    summarise = report.summarise
    asked = {}

    def fewer(*given, **how):
        """As it is, of four files: a summary of all of them is what takes the time."""
        asked.update(how)
        return summarise(*given, evaluations=6, files=4, **how)

    monkeypatch.setattr(report, "summarise", fewer)
    before = contents(run)
    status, out, err = explain(*FEW)
    assert status == 0, err
    assert "files" not in asked  # the command summarises all
    folder = run / "explanation"
    made = contents(folder)
    assert {name: made for name, made in contents(run).items() if name in before} == before
    names = {name.rpartition(".")[0] for name in made if "/" not in name}
    predicted = small_run.predictions.query("partition == 'test'")
    right = predicted["label"] == predicted["prediction"]
    told = {"shap_confident": right, "shap_wrong": ~right}
    rules = [name for name, files in told.items() if files.any()]
    for name in (*rules, "methods", "frequencies", "times", "curves", "recalls"):
        assert {f"{name}.png", f"{name}.svg"} <= set(made), name
    assert {f"{name}_safe.png" for name in (*rules, "methods")} <= set(made)
    for part in ("devel", "test"):
        assert {f"confusion_{part}", f"confusion_{part}_chunks", f"confusions_{part}"} <= names
    table = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    assert (table["additivity_error"].astype(float) < 1e-3).all()
    test = set(predicted["file"])
    assert set(table["file"]) <= test
    sounds = {name.removeprefix("sounds/") for name in made if name.startswith("sounds/")}
    assert sounds == {name for name in [*table["kept"], *table["removed"]] if name}
    judged = pd.read_csv(folder / "scrutiny.csv", keep_default_na=False)
    assert judged["method"].tolist() == [*methods.TITLES.values(), "Random order"]
    assert float(judged["additivity_error"][0]) < 1e-3
    frequencies = pd.read_csv(folder / "frequencies.csv")
    assert frequencies["class"].unique().tolist() == list(small_run.classes)
    assert "largest additivity error of the explained files: " in out
    assert "beats_random" in out
    assert out.splitlines()[-1].startswith("written: ")
    assert out.splitlines()[-1].endswith("explanation")


def test_single_files_are_explained_beside_it(explain, run, small_run, tmp_path):
    mine = tmp_path / "my own.wav"
    soundfile.write(mine, waveform(2.5, rate=16000), 16000)
    known = small_run.predictions["file"].iloc[0]
    status, out, err = explain(
        *("--file", known, "--file", mine, "--method", "occlusion", "--masker", "inpaint")
    )
    assert status == 0, err
    assert f"explaining {known}" in out
    assert f"explaining {mine}" in out
    assert not (run / "explanation").exists()
    folder = run / "explanation_files"
    made = set(contents(folder))
    shown = {f"shap_files{safe}.{of}" for safe in ("", "_safe") for of in ("png", "svg")}
    table = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    assert table["file"].drop_duplicates().tolist() == [known, str(mine)]
    sounds = {f"sounds/{name}" for name in [*table["kept"], *table["removed"]] if name}
    assert made == shown | sounds | {"samples.csv"}
    assert len(sounds) == 4
    kept, removed = (
        soundfile.read(folder / "sounds" / f"02-my own-{part}.wav")[0]
        for part in ("kept", "removed")
    )
    np.testing.assert_allclose(kept + removed, waveform(2.5, rate=16000), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "gradcam"], ["method 'gradcam'", "did you mean 'grad-cam'"]),
        (["--masker", "blurr"], ["masker 'blurr'", "did you mean 'blur'"]),
        (
            ["--file", "spk02/spk02_angry_1.wav"],
            ["spk02_angry_1.wav", "'spk02/spk02_angry_01.wav'"],
        ),
    ],
)
def test_what_is_mistyped_is_told_and_nothing_written(explain, run, words, told):
    before = contents(run)
    refused(explain(*words), *told)
    assert contents(run) == before


@pytest.mark.parametrize("words", [["--evaluations", "2"], ["--pictures", "-1"], ["--pages", "1"]])
def test_options_have_their_limits(explain, run, words):
    before = contents(run)
    status, _, err = explain(*words)
    assert status == 2
    assert words[0] in err
    assert "Traceback" not in err
    assert contents(run) == before


def test_a_folder_that_is_no_run_is_refused(command, tmp_path):
    refused(command("explain", tmp_path / "none"), "no finished run here")
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_keeps_no_network(explain, run):
    (run / "model.keras").unlink()
    before = contents(run)
    refused(explain(*FEW), "no model.keras", "baseline")
    assert contents(run) == before


@pytest.mark.parametrize("room", ["save", "save_sounds"])
def test_an_interrupted_writing_leaves_what_there_was(explain, run, small_run, monkeypatch, room):
    old = run / "explanation_files"
    old.mkdir()
    (old / "samples.csv").write_text("of before\n")
    before = contents(run)

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, room, interrupted)
    known = small_run.predictions["file"].iloc[0]
    status, _, err = explain("--file", known, "--method", "grad-cam")
    assert status == 130
    assert "Traceback" not in err
    assert contents(run) == before
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


def test_a_new_explanation_takes_the_old_one_s_place(explain, run, small_run):
    old = run / "explanation_files"
    (old / "sounds").mkdir(parents=True)
    (old / "sounds" / "of-before.wav").write_text("")
    known = small_run.predictions["file"].iloc[0]
    status, _, err = explain("--file", known, "--method", "grad-cam")
    assert status == 0, err
    made = contents(old)
    assert "samples.csv" in made
    assert "sounds/of-before.wav" not in made
    assert json.loads((run / "run.json").read_text("utf-8"))["kind"] == "deepspectrumlite"

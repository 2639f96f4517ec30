"""`dslite explain`: a run or single files, one line for what can be mended, no half folder."""

import re
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite.explanation import faithfulness, files, methods, report
from tests.explanation.explained import waveform
from tests.refusals import assert_refused


@pytest.fixture
def run(small_run, workplace, monkeypatch):
    """The small run's folder, to be written into, in pictures of few dots."""
    for name in ("DPI", "SVG_DPI"):
        monkeypatch.setattr(report, name, 30)
    return shutil.copytree(small_run.folder, workplace / "small" / small_run.folder.name)


@pytest.fixture
def explain(command, run, small_corpus):
    def call(*words):
        return command("explain", run, "--table", small_corpus, *words)

    return call


def contents(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_run_is_explained_from_end_to_end(explain, run, small_run, monkeypatch):
    # Of four files, as a summary of all takes its time; a count of the command's own would win.
    monkeypatch.setattr(report, "of_partition", partial(report.of_partition, count=4))
    for module, name, few in (
        *((report, "SUMMARY_EVALUATIONS", 6), (methods, "DRAWS", 8), (files, "BACKGROUND", 4)),
        *(
            (faithfulness, "SEEDS", 2),
            (faithfulness, "RANDOM_ORDERS", 2),
            (faithfulness, "STEPS", 4),
        ),
    ):
        monkeypatch.setattr(module, name, few)
    # Drawing takes most of the time; `test_report` looks at the files.
    monkeypatch.setattr(report.dslite_plots, "save", lambda figure, path, dpi: path.touch())
    before = contents(run)
    status, out, err = explain("--evaluations", 6, "--pictures", 1)
    assert status == 0, err
    folder = run / "explanation"
    outputs = contents(folder)
    assert {name: of for name, of in contents(run).items() if name in before} == before
    predicted = small_run.predictions.query("partition == 'test'")
    right = predicted["label"] == predicted["prediction"]
    rules = [name for name, files in (("confident", right), ("wrong", ~right)) if files.any()]
    overlays = ["methods", *(f"shap_{rule}" for rule in rules)]
    confusions = [f"confusion_{part}{of}" for part in ("devel", "test") for of in ("", "_chunks")]
    for name in [*overlays, "frequencies", "times", "curves", *confusions]:
        assert {f"{name}.png", f"{name}.svg"} <= set(outputs), name
    assert {"confusions_devel.csv", "confusions_test.csv", "recalls.csv"} <= set(outputs)
    table = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    assert (table["additivity_error"].astype(float) < 1e-3).all()
    assert set(table["file"]) <= set(predicted["file"])
    sounds = {name.removeprefix("sounds/") for name in outputs if name.startswith("sounds/")}
    assert sounds == {name for name in [*table["kept"], *table["removed"]] if name}
    scrutiny = pd.read_csv(folder / "scrutiny.csv", keep_default_na=False)
    assert scrutiny["method"].tolist() == [*methods.TITLES.values(), "Random order"]
    assert float(scrutiny["additivity_error"][0]) < 1e-3
    assert scrutiny["beats_random"][:4].isin(["both", "deletion", "insertion", "NO"]).all()
    for name, bins in (("frequencies", report.BANDS), ("times", report.TIME_BINS)):
        table = pd.read_csv(folder / f"{name}.csv")
        assert table["class"].tolist() == list(np.repeat(small_run.classes, bins))
        assert (table["files"] == 1).all()
        assert table["mean_abs"].sum() > 0
    assert "largest additivity error of the explained files: " in out
    assert "beats_random" in out
    assert re.fullmatch("written: .*explanation", out.splitlines()[-1])


def test_single_files_are_explained_and_take_the_place_of_those_before(
    explain, run, small_run, tmp_path
):
    audio_file = small_run.predictions["file"].iloc[0]
    folder = run / "explanation_files"
    (folder / "sounds").mkdir(parents=True)
    (folder / "sounds" / "of-before.wav").touch()
    mine = tmp_path / "my own.wav"
    soundfile.write(mine, waveform(2.5, rate=16000), 16000)
    status, out, err = explain(
        *("--file", audio_file, "--file", mine, "--method", "occlusion", "--masker", "blur")
    )
    assert status == 0, err
    assert all(f"explaining {name}" in out for name in (audio_file, mine))
    assert not (run / "explanation").exists()
    shown = {"shap_files.png", "shap_files.svg"}
    table = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    assert table["file"].drop_duplicates().tolist() == [audio_file, str(mine)]
    sounds = {f"sounds/{name}" for name in [*table["kept"], *table["removed"]] if name}
    assert set(contents(folder)) == shown | sounds | {"samples.csv"}
    assert len(sounds) == 4
    sounds = [folder / "sounds" / f"02-my own-{part}.wav" for part in ("kept", "removed")]
    both = sum(soundfile.read(sound)[0] for sound in sounds)
    np.testing.assert_allclose(both, waveform(2.5, rate=16000), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--method", "gradcam"], ["error: method 'gradcam'", "did you mean 'grad-cam'"]),
        (["--masker", "inpaint"], ["error: masker 'inpaint'", "there is: mean, blur"]),
        (["--file", "spk02/spk02_angry_1.wav"], ["error: ", "'spk02/spk02_angry_01.wav'"]),
        ([], ["error: ", "no model.keras", "baseline"]),
    ],
)
def test_what_is_mistyped_is_told_in_a_line_and_nothing_written(explain, run, words, texts):
    if not words:
        (run / "model.keras").unlink()
    before = contents(run)
    assert_refused(explain(*words), *texts, worked=True)
    assert contents(run) == before

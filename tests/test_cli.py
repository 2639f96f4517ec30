"""The command: light help, one message and status 2 for what a user can mend, small runs."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from typer.testing import CliRunner

import dslite
from dslite import cards, cli, paths

COMMANDS = [
    "datasets",
    "check",
    "partition",
    "fetch",
    "train",
    "baseline",
    "rerun",
    "study",
    "archive",
    "record",
    "paper",
    "explain",
    "convert",
    "predict",
    "stream",
    "web",
    "profile",
    "device",
    "results",
    "notebook",
    "report",
]
HEAVY = [
    "tensorflow",
    "keras",
    "shap",
    "pandas",
    "librosa",
    "numpy",
    "sklearn",
    "matplotlib",
    "papermill",
]


def refused(found, *told):
    """Status 2, nothing on stdout, one message that tells something, and no traceback."""
    status, out, err = found
    assert status == 2, err
    assert out == ""
    assert err.count("error: ") == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    for text in told:
        assert text in err


# Help


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["--version"], ["report", "-h"]]
)
def test_help_waits_for_nothing_heavy(words):
    script = (
        "import sys\nfrom dslite import cli\n"
        f"sys.argv = ['dslite', *{words}]\n"
        "try: cli.run()\nexcept SystemExit: pass\n"
        f"print('heavy:', *sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_installed_command_tells_its_version():
    script = paths.ROOT / ".venv" / "bin" / "dslite"
    words = [script] if script.is_file() else [sys.executable, "-m", "dslite.cli"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, f"dslite {dslite.__version__}")


def test_every_command_is_helped_with_a_sentence():
    found = CliRunner().invoke(cli.app, ["--help"])
    assert found.exit_code == 0
    for name in COMMANDS:
        assert name in found.output
        own = CliRunner().invoke(cli.app, [name, "--help"])
        assert own.exit_code == 0
        assert "Usage" in own.output
        documented = [c.callback.__doc__ for c in cli.app.registered_commands]
        assert all(documented)
    assert sorted(c.name or c.callback.__name__ for c in cli.app.registered_commands) == sorted(
        COMMANDS
    )


def test_without_a_command_there_is_the_help(command):
    _status, out, err = command()
    assert "Usage" in out + err
    assert "Traceback" not in out + err


def test_an_unknown_command_and_an_unknown_option(command):
    for words in (["trian", "demo"], ["train", "demo", "--backbon", "x"], ["train"]):
        status, _out, err = command(*words)
        assert status == 2
        assert "Traceback" not in err


# Corpora


def test_datasets_lists_every_card(command):
    status, out, _ = command("datasets")
    assert status == 0
    for name in cards.names():
        card = cards.load(name)
        assert any(line.startswith(f"{name}  (") for line in out.splitlines())
        assert card.title in out
        assert ", ".join(card.classes) in out
    assert len([line for line in out.splitlines() if "licence:" in line]) == len(cards.names())


def test_check_counts(command, workplace, small_corpus):
    status, out, err = command("check", small_corpus)
    assert (status, err) == (0, "")
    assert "small: 96 files in" in out
    assert "verdict: clean" in out
    assert not workplace.exists()  # it only looks


def test_check_warns_of_what_may_stay(command, workplace, small_corpus):
    table = pd.read_csv(small_corpus, dtype=str)
    copy = small_corpus.with_name("copy.wav")
    copy.write_bytes((small_corpus.parent / table["path"][0]).read_bytes())
    row = table.iloc[0].to_frame().T.assign(path="copy.wav")
    pd.concat([table, row]).to_csv(small_corpus.with_name("twice.csv"), index=False)
    status, out, err = command("check", small_corpus.with_name("twice.csv"))
    assert (status, err) == (0, "")
    assert "97 files" in out
    assert out.count("warning, ") == 1
    assert "copy.wav" in out
    # The other commands say it, too, in one line.
    status, out, err = command("partition", small_corpus.with_name("twice.csv"))
    assert status == 0
    assert err.splitlines() == [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "the same audio twice: " in err
    copy.unlink()


def test_partition_prints_and_writes(command, workplace, small_corpus):
    status, out, _ = command("partition", small_corpus)
    assert status == 0
    row = pd.read_csv(workplace / "small" / "table1.csv").iloc[0]
    durations = [soundfile.info(p).duration for p in small_corpus.parent.glob("spk*/*.wav")]
    assert (row["files"], row["classes"], row["speakers"]) == (96, 4, 12)
    assert row["minutes"] == pytest.approx(sum(durations) / 60)
    assert row["mean_s"] == pytest.approx(np.mean(durations))
    assert row["std_s"] == pytest.approx(np.std(durations))
    assert "96" in out
    assert len(pd.read_csv(workplace / "small" / "manifest.csv")) == 96


# Errors


def test_an_unknown_dataset(command):
    refused(command("check", "ravdes"), "'ravdes'; did you mean 'ravdess'?")


@pytest.mark.parametrize("name", ["check", "partition", "train", "results"])
def test_a_missing_table(command, tmp_path, name):
    refused(command(name, tmp_path / "none.csv"), "none.csv: there is no such table")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--set", "unit=3"], "'unit'; did you mean 'units'?"),
        (["--set", "units=many"], "units = 'many'"),
        (["--set", "units"], "expected key=value"),
        (["--set", "dropout=2"], "dropout = 2"),
        (["--augmentation", "cutmx"], "augmentation = 'cutmx'"),
        (["--backbone", "resnet"], "backbone = 'resnet'"),
        (["--preset", "papr"], "no preset 'papr'"),
        (["--weights", "no/such.h5"], "no such file"),
    ],
)
def test_a_bad_setting(command, small_corpus, workplace, given, told):
    refused(command("train", small_corpus, *given), told)
    assert not workplace.exists()


def test_a_corpus_with_problems(command, small_corpus, workplace):
    table = pd.read_csv(small_corpus, dtype=str)
    table.loc[3, "path"] = "spk01/gone.wav"
    table.loc[5, "label"] = "bored"
    broken = small_corpus.with_name("broken.csv")
    table.to_csv(broken, index=False)
    broken.with_suffix(".yaml").write_text("classes: [calm, happy, sad, angry]\n")
    told = ("row 5, spk01/gone.wav", "row 7", "'bored'")
    refused(command("partition", broken), "2 problems", *told)
    status, out, err = command("check", broken)  # the whole report, and the errors
    assert status == 2
    assert "verdict: errors" in out
    for text in told:
        assert text in err


def test_a_missing_model_and_a_baseline(command, small_corpus, tmp_path):
    audio = next(small_corpus.parent.glob("spk*/*.wav"))
    refused(command("predict", tmp_path / "nothing", audio), "no finished run here")
    lonely = tmp_path / "model.keras"
    lonely.write_bytes(b"x")
    refused(command("predict", lonely, audio), "run.json")


def test_a_model_that_is_none(command, small_run, tmp_path):
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).write_bytes((small_run.folder / name).read_bytes())
    (tmp_path / "model.keras").write_bytes(b"no model at all" * 99)
    refused(command("predict", tmp_path, "x.wav"), "model.keras: not loaded as a model")


def test_a_notebook_with_an_unknown_parameter(command, tmp_path):
    output = tmp_path / "x.ipynb"
    found = command("notebook", "3_training", output, "-p", "agmentation=none")
    refused(found, "'agmentation'; did you mean 'augmentation'?")
    refused(command("notebook", "9_nothing", output), "no notebook '9_nothing'")
    refused(command("notebook", "3_training", output, "-p", "seed"), "expected name=value")
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_nothing(command, tmp_path):
    refused(command("report", "x", tmp_path / "r.html", tmp_path / "n.ipynb"), "n.ipynb")


def test_a_fault_of_the_program_keeps_its_traceback(command, monkeypatch):
    def fails():
        raise ZeroDivisionError

    monkeypatch.setattr(cards, "names", fails)
    with pytest.raises(ZeroDivisionError):
        command("datasets")


def test_a_failed_notebook_is_status_1(command, monkeypatch, tmp_path):
    from dslite import notebooks
    from dslite.errors import NotebookError

    def fails(name, output, parameters):
        raise NotebookError("cell 3 failed")

    monkeypatch.setattr(notebooks, "execute", fails)
    status, _, err = command("notebook", "3_training", tmp_path / "x.ipynb")
    assert (status, err) == (1, "error: cell 3 failed\n")


def test_an_interruption_is_a_word(command, monkeypatch):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(cards, "names", stopped)
    status, _, err = command("datasets")
    assert status == 130
    assert "Traceback" not in err


# A small run


def test_train_then_predict_then_results(command, workplace, small_corpus, tiny):
    words = ["--weights", tiny, "--augmentation", "cutmix", "--seed", 4]
    words += ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0", "--set", "units=4"]
    status, out, _ = command("train", small_corpus, *words)
    assert status == 0
    (folder,) = (workplace / "small").glob("squeezenet-cutmix-s4-x??????")
    assert (folder / "run.json").is_file()
    assert "devel: UAR" in out
    assert "test: UAR" in out
    assert paths.shown(folder) in out
    epochs = [line for line in out.splitlines() if line.startswith("phase ")]
    assert len(epochs) == 2  # one line an epoch and training

    status, out, _ = command("train", small_corpus, *words)
    assert status == 0
    assert "not repeated" in out

    table = pd.read_csv(folder / "predictions.csv").query("partition == 'test'").head(2)
    audio = [small_corpus.parent / path for path in table["file"]]
    status, out, _ = command("predict", folder / "model.keras", *audio)
    assert status == 0
    found = pd.read_csv(io.StringIO(out))
    facts = ["file", "duration_s", "prediction"]
    assert found.columns.tolist() == [*facts, "calm", "happy", "sad", "angry"]
    assert found["file"].tolist() == [str(path) for path in audio]
    np.testing.assert_allclose(found["calm"], table["calm"], atol=1e-4)
    assert found["prediction"].tolist() == table["prediction"].tolist()

    status, out, _ = command("results", small_corpus)
    assert status == 0
    assert "seed 4" in out
    score = 100 * pd.read_json(folder / "metrics.json", typ="series")["test"]["file"]["score"]
    row = next(line for line in out.splitlines() if line.startswith("CutMix "))
    assert f" {score:.1f}" in row


def test_candidates_are_told_on_devel_alone(command, workplace, small_corpus, tiny):
    words = ["train", small_corpus, "--weights", tiny, "--devel-only", "--set", "units=4"]
    words += ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0"]
    status, out, err = command(*words)
    assert (status, err) == (0, "")
    (folder,) = (workplace / "small" / "candidates").iterdir()
    assert out.count("devel: UAR") == 1
    assert "test: " not in out
    assert paths.shown(folder) in out
    assert "not repeated" in command(*words)[1]
    assert [path.name for path in (workplace / "small").iterdir()] == ["candidates"]
    # In a cross-validation one a fold, and nothing over them: each has a choice of its own.
    status, out, err = command(*words, "--folds", 3)
    assert (status, err) == (0, "")
    assert out.count("devel: UAR") == 3
    assert "test: " not in out
    folds = workplace / "small" / "candidates" / f"{folder.name}-3folds"
    assert sorted(path.name for path in folds.iterdir()) == ["fold1", "fold2", "fold3"]


def test_predict_takes_any_audio(command, small_run, small_corpus, tmp_path):
    """Stereo at 44.1 kHz, FLAC and a short excerpt: the same voice is judged alike."""
    mono, rate = soundfile.read(next(small_corpus.parent.glob("spk03/*happy*.wav")))
    soundfile.write(tmp_path / "mono.wav", mono, rate, subtype="FLOAT")
    wide = soxr.resample(mono, rate, 44100)
    stereo = np.stack([1.5 * wide, 0.5 * wide], axis=1) / 2
    soundfile.write(tmp_path / "stereo.wav", stereo, 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "mono.flac", mono, rate)
    soundfile.write(tmp_path / "short.wav", mono[:4000], rate)
    names = ["mono.wav", "stereo.wav", "mono.flac", "short.wav"]
    status, out, _ = command("predict", small_run.folder, *(tmp_path / name for name in names))
    assert status == 0
    found = pd.read_csv(io.StringIO(out), index_col="file")[["calm", "happy", "sad", "angry"]]
    found = found.to_numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=5e-4)
    np.testing.assert_allclose(found[1], found[0], atol=0.03)
    np.testing.assert_allclose(found[2], found[0], atol=0.01)
    assert np.abs(found[3] - found[0]).max() > 1e-3

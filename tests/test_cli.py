"""The command: light help, one message and status 2 for what a user can mend, small runs."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

import dslite
from dslite import cards, cli, paths
from dslite.errors import ConversionError, InputError, NotebookError
from tests.refusals import assert_refused

# In the order of the help.
COMMANDS = [
    *("datasets", "check", "partition", "fetch", "train", "baseline", "rerun", "explain"),
    *("convert", "profile", "device", "predict", "stream", "web", "study", "record", "archive"),
    *("paper", "results", "notebook", "report"),
]
HEAVY = {"tensorflow", "keras", "shap", "pandas", "librosa", "numpy", "sklearn", "papermill"}
HEAVY.add("matplotlib")


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_waits_for_nothing_heavy(words):
    script = (
        "import sys\nfrom dslite import cli\n"
        f"sys.argv = ['dslite', *{words}]\n"
        "try: cli.run()\nexcept SystemExit: pass\n"
        f"print('heavy:', *sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_command_is_installed_and_a_module():
    script = Path(sys.executable).with_name("dslite")  # there where the package is installed
    for words in ([script], [sys.executable, "-m", "dslite"]):
        if Path(words[0]).is_file():
            words.append("--version")
            done = subprocess.run(words, capture_output=True, text=True, cwd=paths.ROOT)
            assert (done.returncode, done.stdout) == (0, f"dslite {dslite.__version__}\n")


def test_every_command_is_helped_with_a_sentence():
    commands = [c.name or c.callback.__name__ for c in cli.app.registered_commands]
    assert commands == COMMANDS
    assert all(command.callback.__doc__ for command in cli.app.registered_commands)
    for words in ([], *([name] for name in COMMANDS)):
        shown = CliRunner().invoke(cli.app, [*words, "--help"])
        assert shown.exit_code == 0
        assert "Usage" in shown.output
        assert words or all(name in shown.output for name in COMMANDS)


@pytest.mark.parametrize(
    "words", [[], ["trian", "demo"], ["train", "demo", "--backbon", "x"], ["train"]]
)
def test_what_is_no_command_shows_the_usage(command, words):
    status, out, err = command(*words)
    assert status == 2
    assert "Usage" in out + err
    assert "Traceback" not in err


def test_datasets_lists_every_card(command):
    status, out, _ = command("datasets")
    assert status == 0
    for name, card in {name: cards.load(name) for name in cards.names()}.items():
        for text in (f"{name}  (", card.title, ", ".join(card.classes)):
            assert text in out
    assert out.count("licence:") == len(cards.names())


@pytest.fixture
def table(small_corpus, tmp_path):
    """Path of a copy of the small corpus's table, the audio beside it."""
    shutil.copytree(small_corpus.parent, tmp_path / "small")
    return tmp_path / "small" / "small.csv"


def test_check_only_looks_and_warns_of_what_may_stay(command, workplace, table):
    status, out, err = command("check", table)
    assert (status, err) == (0, "")
    assert "small: 96 files in" in out
    assert "verdict: clean" in out
    assert not workplace.exists()
    rows = pd.read_csv(table, dtype=str)
    shutil.copyfile(table.parent / rows["path"][0], table.with_name("copy.wav"))
    copied = rows.iloc[[0]].assign(path="copy.wav")
    pd.concat([rows, copied]).to_csv(table, index=False)
    status, out, err = command("check", table)
    assert (status, err, out.count("warning, ")) == (0, "", 1)
    assert "97 files" in out
    assert "copy.wav" in out
    status, _, err = command("partition", table)  # the other commands print it, too, in one line
    assert status == 0
    assert all(line.startswith("warning: ") for line in err.splitlines())
    assert "the same audio twice: " in err


def test_partition_prints_and_writes(command, workplace, small_corpus):
    status, out, _ = command("partition", small_corpus)
    assert status == 0
    row = pd.read_csv(workplace / "small" / "table1.csv").iloc[0]
    durations = [soundfile.info(p).duration for p in small_corpus.parent.glob("spk*/*.wav")]
    assert (row["files"], row["classes"], row["speakers"]) == (96, 4, 12)
    assert row["minutes"] == pytest.approx(sum(durations) / 60)
    moments = np.mean(durations), np.std(durations)
    assert (row["mean_s"], row["std_s"]) == pytest.approx(moments)
    assert "96" in out
    assert len(pd.read_csv(workplace / "small" / "manifest.csv")) == 96


@pytest.mark.parametrize("name", ["check", "partition", "train", "results"])
def test_an_unknown_corpus(command, tmp_path, name):
    assert_refused(command(name, "ravdes"), "'ravdes'; did you mean 'ravdess'?")
    assert_refused(command(name, tmp_path / "none.csv"), "none.csv: there is no such table")


@pytest.mark.parametrize(
    ("options", "message"),
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
def test_a_bad_setting(command, small_corpus, workplace, options, message):
    assert_refused(command("train", small_corpus, *options), message)
    assert not workplace.exists()


def test_a_missing_model_and_one_that_is_none(command, small_run, tmp_path):
    assert_refused(command("predict", tmp_path / "nothing", "x.wav"), "no finished run here")
    model = tmp_path / "model.keras"
    model.write_bytes(b"no model at all" * 99)
    assert_refused(command("predict", model, "x.wav"), "run.json")
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).write_bytes((small_run.folder / name).read_bytes())
    assert_refused(command("predict", tmp_path, "x.wav"), "model.keras: not loaded as a model")


def test_a_notebook_or_a_report_that_cannot_be_made(command, tmp_path):
    output = tmp_path / "x.ipynb"
    assert_refused(command("notebook", "9_nothing", output), "no notebook '9_nothing'")
    for word, message in (("agmentation=none", "did you mean 'augm"), ("seed", "expected name=")):
        assert_refused(command("notebook", "3_training", output, "-p", word), message)
    assert_refused(command("report", "x", tmp_path / "r.html", output), "x.ipynb")
    assert list(tmp_path.iterdir()) == []


def test_errors_and_their_status(command, monkeypatch):
    def ends_with(error):
        def names():
            raise error

        monkeypatch.setattr(cards, "names", names)
        return command("datasets")

    assert ends_with(InputError("no")) == (2, "", "error: no\n")
    assert ends_with(NotebookError("cell 3 failed")) == (1, "", "error: cell 3 failed\n")
    assert ends_with(ConversionError("differs")) == (1, "", "error: differs\n")
    assert ends_with(KeyboardInterrupt()) == (130, "", "")
    with pytest.raises(ZeroDivisionError):
        ends_with(ZeroDivisionError())


QUICK = ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0", "--set", "units=4"]


def test_train_then_predict_then_results(command, workplace, small_corpus, tiny):
    words = ["--weights", tiny, "--augmentation", "cutmix", "--seed", 4, *QUICK]
    status, out, _ = command("train", small_corpus, *words)
    assert status == 0
    (folder,) = (workplace / "small").glob("squeezenet-cutmix-s4-x??????")
    assert re.search("devel: UAR.*test: UAR", out, re.DOTALL)
    assert paths.shown(folder) in out
    assert sum(line.startswith("phase ") for line in out.splitlines()) == 2  # an epoch, a training
    assert "not repeated" in command("train", small_corpus, *words)[1]
    expected = pd.read_csv(folder / "predictions.csv").query("partition == 'test'").head(2)
    audio = [small_corpus.parent / path for path in expected["file"]]
    status, out, _ = command("predict", folder / "model.keras", *audio)
    assert status == 0
    scores = pd.read_csv(io.StringIO(out))
    assert scores["file"].tolist() == [str(path) for path in audio]
    np.testing.assert_allclose(scores["calm"], expected["calm"], atol=1e-4)
    status, out, _ = command("results", small_corpus)
    assert status == 0
    assert "seed 4" in out
    score = 100 * pd.read_json(folder / "metrics.json", typ="series")["test"]["file"]["score"]
    row = next(line for line in out.splitlines() if line.startswith("CutMix "))
    assert f" {score:.1f}" in row


@pytest.mark.slow
def test_candidates_are_scored_on_devel_alone(command, workplace, small_corpus, tiny):
    words = ["train", small_corpus, "--weights", tiny, "--devel-only", *QUICK]
    status, out, err = command(*words)
    assert (status, err, out.count("devel: UAR"), out.count("test: ")) == (0, "", 1, 0)
    (folder,) = (workplace / "small" / "candidates").iterdir()
    assert paths.shown(folder) in out
    assert "not repeated" in command(*words)[1]
    assert [path.name for path in (workplace / "small").iterdir()] == ["candidates"]
    # In a cross-validation one a fold, and nothing over them: each has a choice of its own.
    status, out, err = command(*words, "--folds", 3)
    assert (status, err, out.count("devel: UAR"), out.count("test: ")) == (0, "", 3, 0)
    folds = workplace / "small" / "candidates" / f"{folder.name}-3folds"
    assert sorted(path.name for path in folds.iterdir()) == ["fold1", "fold2", "fold3"]

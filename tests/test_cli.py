"""The command: light help, one message and status 2 for what a user can mend, small runs."""

import io
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

import dslite
from dslite import cards, paths
from dslite.errors import ConversionError, InputError, NotebookError
from tests.refusals import assert_refused

# In the order of the help.
COMMANDS = [
    *("datasets", "check", "partition", "fetch", "train", "baseline", "features", "rerun"),
    *("explain", "convert", "profile", "device", "predict", "stream", "web", "study", "record"),
    *("archive", "paper", "results", "notebook", "report"),
]
START = str(paths.ROOT / "notebooks" / "0_start.ipynb")
HEAVY = {"tensorflow", "keras", "shap", "pandas", "librosa", "numpy", "sklearn", "papermill"}
HEAVY.add("matplotlib")


def test_help_waits_for_nothing_heavy():
    script = (
        "import sys\nfrom dslite import cli\n"
        "for words in (['--help'], ['train', '--help'], ['--version']):\n"
        "    sys.argv = ['dslite', *words]\n"
        "    try: cli.run()\n    except SystemExit: pass\n"
        f"print('heavy:', *sorted({HEAVY} & set(sys.modules)))"
    )
    out = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert out.splitlines()[-1].strip() == "heavy:"


def test_the_command_is_installed_and_a_module():
    script = Path(sys.executable).with_name("dslite")  # there where the package is installed
    modules = [[sys.executable, "-m", name] for name in ("dslite", "dslite.cli")]
    for words in ([script] if script.is_file() else [], *modules):
        if words:
            out = subprocess.check_output([*words, "--version"], text=True, cwd=paths.ROOT)
            assert out == f"dslite {dslite.__version__}\n"


def test_every_command_is_helped_with_a_sentence_and_every_corpus_listed(command):
    for name in COMMANDS:
        status, out, _ = command(name, "--help")
        assert (status, "Usage" in out) == (0, True)
    shown = command("--help")[1]
    rows = re.findall(r"^│ ([a-z]+) +[A-Z]", shown, re.MULTILINE)
    assert rows == COMMANDS
    out = command("datasets")[1]
    for card in map(cards.load, cards.names()):
        for text in (f"{card.dataset}  (", card.title, ", ".join(card.classes)):
            assert text in out
    assert out.count("licence:") == len(cards.names())


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["check", "{}"],
            ["train", "demo", "--weights", "{}.h5"],
            ["predict", "{}.tflite", "a.wav"],
        ),
        *(["convert", "{}"], ["explain", "{}"], ["profile", "{}"], ["device", "{}", "a.txt"]),
        *(["stream", "{}.tflite", "-"], ["web", "{}.tflite"], ["study", "{}.yaml"]),
        *(["archive", "{}.yaml"], ["paper", "{}"], ["report", "A", "{}.html", START]),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_is_too_long(command, tmp_path, words):
    done = command(*(word.format(tmp_path / ("x" * 300)) for word in words))
    assert_refused(done, "File name too long", worked=True)


@pytest.mark.parametrize("words", [[], ["trian"], ["train", "demo", "--backbon", "x"], ["train"]])
def test_what_is_no_command_shows_the_usage(command, words):
    status, out, err = command(*words)
    assert (status, "Usage" in out + err, "Traceback" in err) == (2, True, False)


def test_check_only_looks_and_partition_writes(command, workplace, small_corpus):
    status, out, err = command("check", small_corpus)
    assert (status, err) == (0, "")
    assert "small: 96 files in" in out
    assert "verdict: clean" in out
    assert not workplace.exists()
    status, out, _ = command("partition", small_corpus)
    assert (status, "96" in out) == (0, True)
    row = pd.read_csv(workplace / "small" / "table1.csv").iloc[0]
    assert (row["files"], row["classes"], row["speakers"]) == (96, 4, 12)
    assert len(pd.read_csv(workplace / "small" / "manifest.csv")) == 96


@pytest.mark.parametrize("name", ["check", "partition", "train", "results"])
def test_an_unknown_corpus(command, name):
    assert_refused(command(name, "ravdes"), "'ravdes'; did you mean 'ravdess'?")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "unit=3"], "'unit'; did you mean 'units'?"),
        (["--set", "units"], "expected key=value"),
        (["--augmentation", "cutmx"], "augmentation = 'cutmx'"),
        (["--preset", "papr"], "no preset 'papr'"),
    ],
)
def test_a_bad_setting(command, workplace, options, message):
    assert_refused(command("train", "demo", *options), message)
    assert not workplace.exists()


def test_a_notebook_or_a_report_that_cannot_be_made(command, tmp_path):
    output = tmp_path / "x.ipynb"
    words = ("notebook", "3_training", output, "-p", "seed")
    assert_refused(command(*words), "parameter 'seed': expected name=value")
    assert_refused(command("report", "x", tmp_path / "r.html", output), "x.ipynb")
    assert list(tmp_path.iterdir()) == []


def test_errors_and_their_status(command, monkeypatch):
    def ends_with(error):
        monkeypatch.setattr(cards, "names", Mock(side_effect=error))
        return command("datasets")

    assert ends_with(InputError("no")) == (2, "", "error: no\n")
    for kind in (NotebookError, ConversionError):
        assert ends_with(kind("failed")) == (1, "", "error: failed\n")
    assert ends_with(KeyboardInterrupt()) == (130, "", "")
    with pytest.raises(ZeroDivisionError):
        ends_with(ZeroDivisionError())


QUICK = ["--set", "epochs_phase1=1", "--set", "epochs_phase2=0", "--set", "units=4"]


def test_train_then_predict_then_results(command, workplace, small_corpus, tiny):
    words = ["--weights", tiny, "--augmentation", "cutmix", "--seed", 5, *QUICK]
    status, out, _ = command("train", small_corpus, *words)
    assert status == 0
    (folder,) = (workplace / "small").glob("squeezenet-cutmix-s5-x??????")
    assert re.search("devel: UAR.*test: UAR", out, re.DOTALL)
    assert paths.shown(folder) in out
    assert sum(line.startswith("phase ") for line in out.splitlines()) == 2  # an epoch, a training
    assert "not repeated" in command("train", small_corpus, *words)[1]
    expected = pd.read_csv(folder / "predictions.csv").query("partition == 'test'").iloc[0]
    out = command("predict", folder / "model.keras", small_corpus.parent / expected["file"])[1]
    assert pd.read_csv(io.StringIO(out))["calm"][0] == pytest.approx(expected["calm"], abs=1e-4)
    status, out, _ = command("results", small_corpus)
    assert (status, "seed 5" in out) == (0, True)
    score = 100 * pd.read_json(folder / "metrics.json", typ="series")["test"]["file"]["score"]
    row = next(line for line in out.splitlines() if line.startswith("CutMix "))
    assert f" {score:.1f}" in row


@pytest.mark.slow
def test_candidates_are_scored_on_devel_alone(command, workplace, small_corpus, tiny):
    words = ["train", small_corpus, "--weights", tiny, "--devel-only", *QUICK, "--folds", 3]
    status, out, err = command(*words)
    assert (status, err, out.count("test: ")) == (0, "", 0)
    assert out.count("devel: UAR") == 3
    (folder,) = (workplace / "small" / "candidates").iterdir()
    assert paths.shown(folder) in out
    assert "not repeated" in command(*words)[1]
    folders = [path.name for path in (workplace / "small").iterdir() if path.is_dir()]
    assert folders == ["candidates"]
    # In a cross-validation there is nothing over the folds: each has a choice of its own.
    assert sorted(path.name for path in folder.iterdir()) == ["fold1", "fold2", "fold3"]

"""What a file can do to whoever reads it: nothing. No code of the project runs a file's code."""

import json
import re
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import paths
from dslite.errors import InputError
from tests.refusals import assert_refused, refusal

# Ruff looks for the rest (pyproject.toml). By default these two are safe: they are to say so.
UNSAFE = r"\bnp\.load\((?!.*allow_pickle=False)|\bkeras\.[\w.]*load_model\((?!.*safe_mode=True)"
BAD = """\
import pickle
import dill
import cloudpickle
from joblib import load
from shelve import open
from marshal import loads
from .paths import *
eval("1")
exec("1")
yaml.load(text)
pandas.read_pickle(path)
subprocess.run(text, shell=True)
os.system(text)
os.popen(text)
shutil.unpack_archive(path)
tarfile.open(path).extractall()
keras.config.enable_unsafe_deserialization()
"""


@pytest.mark.parametrize("file", ["dslite/cli.py", "notebooks/new.py"])
def test_ruff_names_whatever_lets_a_file_run_code(file):
    words = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    source = "import keras, os, pandas, shutil, subprocess, tarfile, yaml\n" + BAD
    options = {"input": source, "capture_output": True, "text": True, "cwd": paths.ROOT}
    done = subprocess.run([*words, "--stdin-filename", file, "-"], **options)
    lines = {int(n) - 2 for n in re.findall(r":(\d+):\d+: (?:S|TID)\d", done.stdout)}
    assert [line for i, line in enumerate(BAD.splitlines()) if i not in lines] == []


def test_arrays_and_models_are_loaded_without_code():
    texts = {file.name: file.read_text("utf-8") for file in paths.ROOT.glob("dslite/**/*.py")}
    for file in (paths.ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text("utf-8"))["cells"]
        texts[file.name] = "".join("".join(cell["source"]) + "\n" for cell in cells)
    assert len(texts) > 50
    assert {name for name, text in texts.items() if re.search(UNSAFE, text)} == set()


def test_values_go_to_the_workflows_shell_in_quotes():
    text = (paths.ROOT / "Snakefile").read_text("utf-8")
    commands = re.findall(r'shell:\n((?:\s+f?"[^"\n]*"\n)+)', text)
    values = set(re.findall(r"\{([^{}]+)\}", "".join(commands)))
    assert [value for value in values if not value.endswith(":q")] == []
    assert values


@pytest.fixture
def marker(tmp_path):
    file = tmp_path / "harm was done"
    yield file
    assert not file.exists()


@pytest.fixture
def harmful(marker, tmp_path):
    """An array that leaves the marker if it is unpickled, as it was shown to do."""
    opening = {"__reduce__": lambda self: (open, (str(marker), "w"))}
    array = np.array([type("Opening", (), opening)()], dtype=object)
    np.save(tmp_path / "a.npy", array)
    np.load(tmp_path / "a.npy", allow_pickle=True)[0].close()
    marker.unlink()
    return array


@pytest.mark.parametrize("tag", ["apply", "new"])
def test_yaml_that_carries_code(command, tmp_path, marker, tag):
    value = f"!!python/object/{tag}:os.system ['touch \"{marker}\"']"
    table = tmp_path / "my.csv"
    table.write_text("path,label\na.wav,x\n")
    table.with_suffix(".yaml").write_text(f"title: {value}\n")
    assert_refused(command("check", table), "my.yaml: not readable as YAML", "python/object")
    assert_refused(command("train", "demo", "--set", f"units={value}"), "units")


def test_stored_features_with_a_pickle_are_computed_again(cache, tmp_path, rng, harmful):
    from dslite.features import functionals

    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.1, 8000), 16000)
    table = pd.DataFrame({"path": ["a.wav"], "audio_hash": ["0"]})
    corpus = SimpleNamespace(table=table, folder=tmp_path, card=SimpleNamespace(dataset="one"))
    expected = functionals.acoustic_features(corpus, 16000)
    (stored,) = (cache / "acoustics").rglob("*.npy")
    np.save(stored, harmful)
    np.testing.assert_array_equal(functionals.acoustic_features(corpus, 16000), expected)


def test_weights_with_a_pickle(tmp_path, harmful):
    from dslite.models import backbones

    np.savez(tmp_path / "weights.npz", kernel=harmful)
    message = refusal(backbones.build_backbone, "squeezenet", str(tmp_path / "weights.npz"), 32)
    assert "weights.npz are none of Keras" in message


@pytest.mark.parametrize("where", ["lambda", "layer", "activation"])
def test_a_model_that_carries_or_names_a_function(tmp_path, marker, where):
    import keras

    from dslite.models import classifier

    honest, saved, path = tmp_path / "honest.keras", tmp_path / "model.keras", str(marker)
    inputs = keras.Input((4,))
    if where == "lambda":
        harm = keras.layers.Lambda(lambda x: (open(path, "w"), x)[1])  # noqa: PTH123, SIM115
        keras.Model(inputs, harm(inputs)).save(saved)
        marker.unlink()  # building it has run it already
        reason = "a Lambda layer in it carries code"
    else:
        keras.Sequential([inputs, keras.layers.Dense(2, name="dense")]).save(honest)
        with zipfile.ZipFile(honest) as source, zipfile.ZipFile(saved, "w") as copy:
            config = json.loads(source.read("config.json"))
            (dense,) = (x for x in config["config"]["layers"] if x["class_name"] == "Dense")
            if where == "layer":
                harm = {"module": "os", "class_name": "system", "registered_name": None}
                dense.update(harm, config={"command": f"touch '{marker}'"})
            else:
                harm = {"module": "os", "class_name": "function", "config": "system"}
                dense["config"]["activation"] = harm | {"registered_name": "function"}
            for name in set(source.namelist()) - {"config.json"}:
                copy.writestr(name, source.read(name))
            copy.writestr("config.json", json.dumps(config))
        reason = ""
    assert f"model.keras: not loaded as a model ({reason}" in refusal(
        classifier.load_classifier, saved
    )


def test_a_message_obeys_nothing_of_a_file_and_is_short():
    text = str(InputError(f"\x1b[31m \u202e \ud800 é 語\n{'x' * 9999}"))
    assert text.startswith("\\x1b[31m \\u202e \\ud800 é 語\nxxx")
    assert len(text) < 3000

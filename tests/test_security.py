"""What a file can do to whoever reads it: nothing. No code of the project runs a file's code."""

import ast
import json
import re
import zipfile

import numpy as np
import pytest

from dslite import paths
from tests.refusals import assert_refused

MODULES = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
# What runs, or lets a file run, code of somebody else's, in code as `ast.unparse` writes it.
HARMFUL = re.compile(
    rf"\b(?:{'|'.join(MODULES)})\b"
    r"|\b(?:read_pickle|to_pickle|extractall|unpack_archive|enable_unsafe_deserialization)\b"
    r"|(?:(?<![\w.'])|\bbuiltins\.)(?:eval|exec)\b"
    r"|\bos\.(?:system|popen)\b"
    r"|\bshell=(?!False\b)"
    r"|\byaml\.(?:load|(?:full|unsafe)_load)"
    r"|\bnumpy\.load\b(?!\(.*\ballow_pickle=False\b)"
    r"|\bkeras\.(?:\w+\.)*load_model\b(?!\(.*\bsafe_mode=True\b)"
)
# The one reader of YAML, by its own loader, whose base cannot make objects of Python's.
YAML_READER = "class _Yaml(yaml.SafeLoader):", "yaml.load(text, Loader=_Yaml)"


class _FullNames(ast.NodeTransformer):
    """``np.load`` after ``import numpy as np`` and ``get`` of ``from numpy import load as get``."""

    def __init__(self):
        self.names = {}

    def visit_Import(self, node):
        self.names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        return node

    def visit_ImportFrom(self, node):
        for alias in node.names:
            self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return None if node.module in ("yaml", "os", "numpy") else node

    def visit_Expr(self, node):  # no docstrings
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Name(self, node):
        return ast.Name(self.names.get(node.id, node.id))


def violations(source: str) -> list[str]:
    """What in Python source would run, or let a file run, code of somebody else's."""
    text = ast.unparse(_FullNames().visit(ast.parse(source)))
    if all(part in text for part in YAML_READER):
        text = text.replace(YAML_READER[1], "")
    return HARMFUL.findall(text)


def code(notebook: str) -> str:
    """A notebook's code cells as one source, without lines for IPython."""
    cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("pass" if line.startswith("%") else line for line in lines)


YAML = "import yaml\nclass _Yaml(yaml.{}):\n    pass\nyaml.load(text, Loader=_Yaml)"


@pytest.mark.parametrize(
    "bad",
    [
        YAML.format("Loader"),
        *(f"import {module}" for module in MODULES),
        "from pickle import loads",
        "import importlib\nimportlib.import_module('pickle')",
        "eval('1')",
        "run = eval",
        "import builtins\nbuiltins.exec('1')",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",  # only through settings
        "from yaml import unsafe_load_all as u\nu(text)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "from numpy import load as get\nget(path)",
        "from keras.saving import load_model\nload_model(path, compile=False)",
        "import tensorflow as tf\ntf.keras.models.load_model(path, safe_mode=not strict)",
        "import keras\nkeras.config.enable_unsafe_deserialization()",
        "import pandas as pd\npd.read_pickle(path).to_pickle(path)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import os\nos.system(text)",
        "with zipfile.ZipFile(path) as bundle:\n    bundle.extractall()",
        "import shutil\nshutil.unpack_archive(path)",
    ],
)
def test_what_is_harmful_is_found(bad):
    assert violations(bad)


@pytest.mark.parametrize(
    "good",
    [
        YAML.format("SafeLoader"),
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import keras\nkeras.models.load_model(path, safe_mode=True)",
        "import yaml\nyaml.safe_load(text)",
        "import subprocess\nsubprocess.run([a, b], check=True)",
        "table.eval('a + b')\nmodel.load(path)\nevaluate('eval')",
    ],
)
def test_what_is_harmless_is_not(good):
    assert violations(good) == []


def test_the_cells_of_a_notebook_are_read():
    sources = ["import numpy as np\n"], ["%matplotlib\n", "np.load(x)"]
    for kind, expected in (("code", ["numpy.load"]), ("markdown", [])):
        cells = [{"cell_type": kind, "source": source} for source in sources]
        assert violations(code(json.dumps({"cells": cells}))) == expected


def test_no_module_and_no_notebook_runs_what_a_file_says():
    sources = [*paths.ROOT.glob("dslite/**/*.py"), *paths.ROOT.glob("data/weights/*.py")]
    books = list(paths.notebooks().glob("*.ipynb"))
    assert (len(sources) > 50, len(books)) == (True, 7)
    bad = {file: violations(file.read_text("utf-8")) for file in sources}
    bad |= {file: violations(code(file.read_text("utf-8"))) for file in books}
    assert {file: names for file, names in bad.items() if names} == {}


def test_the_workflow_runs_nothing_of_a_files():
    """Snakemake's language is not quite Python's. Values go to the shell in quotes (``:q``)."""
    text = (paths.ROOT / "Snakefile").read_text("utf-8")
    assert HARMFUL.findall(text) == []
    commands = re.findall(r'shell:\n((?:\s+f?"[^"\n]*"\n)+)', text)
    assert commands
    for value in set(re.findall(r"\{([^{}]+)\}", "".join(commands))) - {"threads"}:
        assert value.endswith(":q"), f"{{{value}}} goes to the shell as it is"


class Opening:
    """Unpickled, it leaves a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def harmful(marker):
    """An array that leaves a file if it is unpickled."""
    return np.array([Opening(marker)], dtype=object)


@pytest.fixture
def marker(tmp_path):
    """A file that exists as soon as code of a file has run; the test fails then."""
    file = tmp_path / "harm was done"
    yield file
    assert not file.exists()


@pytest.mark.parametrize("tag", ["apply", "new"])
def test_yaml_that_carries_code(command, small_corpus, tmp_path, marker, tag):
    value = f"!!python/object/{tag}:os.system ['touch \"{marker}\"']"
    table = tmp_path / "own.csv"
    table.write_text("path,label\na.wav,x\n")
    table.with_suffix(".yaml").write_text(f"title: {value}\n")
    assert_refused(command("check", table), "own.yaml: not readable as YAML", "python/object")
    assert_refused(command("train", small_corpus, "--set", f"units={value}"), "units")


def test_the_pickle_of_these_tests_is_harmful(tmp_path):
    np.save(tmp_path / "a.npy", harmful(tmp_path / "harm"))
    np.load(tmp_path / "a.npy", allow_pickle=True)[0].close()
    assert (tmp_path / "harm").exists()


def test_a_checkpoint_with_a_pickle_is_none(tmp_path, marker):
    from dslite.training import checkpoints

    facts = json.dumps({"identity": "mine", "lengths": {"variables": 1}, "facts": {}})
    arrays = {"json": np.frombuffer(facts.encode(), np.uint8)}
    state, number = tmp_path / "state.npz", {"variables.0": np.ones(3)}
    np.savez(state, **arrays, **number)
    assert checkpoints.load(state, "mine").arrays["variables"][0].sum() == 3
    np.savez(state, **arrays, **{"variables.0": harmful(marker)})
    assert checkpoints.load(state, "mine") is None


def test_stored_features_with_a_pickle_are_computed_again(cache, small_corpus, marker):
    from dslite import cards
    from dslite.datasets import load_manifest
    from dslite.features import functionals

    built = load_manifest(cards.load(str(small_corpus)))
    few = type(built)(**{**vars(built), "table": built.table.head(2)})
    expected = functionals.acoustic_features(few, 16000)
    (stored,) = (cache / "acoustics").rglob("*.npy")
    np.save(stored, harmful(marker))
    np.testing.assert_array_equal(functionals.acoustic_features(few, 16000), expected)


def test_weights_with_a_pickle(command, small_corpus, workplace, tmp_path, marker):
    weights = tmp_path / "weights.npz"
    np.savez(weights, kernel=harmful(marker))
    done = command("train", small_corpus, "--weights", weights)
    assert_refused(done, "weights.npz do not fit", worked=True)


@pytest.fixture
def saved(small_run, tmp_path):
    """Path of the missing ``model.keras`` of a run."""
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).write_bytes((small_run.folder / name).read_bytes())
    return tmp_path / "model.keras"


def test_a_model_with_a_lambda_layer(command, saved, tmp_path, marker):
    import keras

    path = str(marker)
    image = keras.Input((32, 32, 3))
    harm = keras.layers.Lambda(lambda x: (open(path, "w"), x)[1])  # noqa: PTH123, SIM115
    keras.Model(image, harm(image)).save(saved)
    marker.unlink()  # building it has run it already
    done = command("predict", tmp_path, "x.wav")
    assert_refused(done, "model.keras", "Lambda layer in it carries code")


@pytest.mark.parametrize("where", ["layer", "activation"])
def test_a_model_that_names_a_function_of_pythons(command, saved, tmp_path, marker, where):
    import keras

    honest = tmp_path / "honest.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")]).save(honest)

    def changed(config):
        (dense,) = [x for x in config["config"]["layers"] if x["class_name"] == "Dense"]
        if where == "layer":
            harm = {"command": f"touch '{marker}'"}
            dense.update(module="os", class_name="system", config=harm, registered_name=None)
        else:
            function = {"module": "os", "class_name": "function", "config": "system"}
            dense["config"]["activation"] = function | {"registered_name": "function"}
        return config

    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(saved, "w") as copy:
        for name in set(source.namelist()) - {"config.json"}:
            copy.writestr(name, source.read(name))
        copy.writestr("config.json", json.dumps(changed(json.loads(source.read("config.json")))))
    assert_refused(command("predict", tmp_path, "x.wav"), "model.keras: not loaded as a model")

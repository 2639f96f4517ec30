"""What a file can do to whoever reads it: nothing. No code of the project runs a file's code."""

import ast
import json
import re
import zipfile

import numpy as np
import pytest

from dslite import paths

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


@pytest.mark.parametrize(
    "bad",
    [
        *(f"import {module}" for module in MODULES),
        "from pickle import loads",
        "from sklearn.externals import joblib",
        "def f():\n    import pickle",
        "import importlib\nimportlib.import_module('pickle')",
        "__import__('marshal')",
        "eval('1')",
        "run = eval",
        "import builtins\nbuiltins.exec('1')",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",  # only through settings
        "import yaml as y\ny.unsafe_load(text)",
        "from yaml import unsafe_load_all as u\nu(text)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "import numpy\nlist(map(numpy.load, files))",
        "from numpy import load as get\nget(path)",
        "import keras\nkeras.models.load_model(path)",
        "from keras.saving import load_model\nload_model(path, compile=False)",
        "import tensorflow as tf\ntf.keras.models.load_model(path, safe_mode=not strict)",
        "import keras\nkeras.config.enable_unsafe_deserialization()",
        "import pandas as pd\npd.read_pickle(path)",
        "table().to_pickle(path)",
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
        "import json\njson.load(file)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import keras\nkeras.models.load_model(path, safe_mode=True)",
        "import yaml\nyaml.safe_load(text)",
        "import subprocess\nsubprocess.run([a, b], check=True)",
        "import re\nre.compile('eval')",
        "table.eval('a + b')\nmodel.load(path)\nevaluate(x)",
        "def eval_(x): return x\neval_(1)",
    ],
)
def test_what_is_harmless_is_not(good):
    assert violations(good) == []


def test_yaml_is_read_by_a_safe_loader():
    reader = "import yaml\nclass _Yaml(yaml.{}):\n    pass\nyaml.load(text, Loader=_Yaml)"
    assert violations(reader.format("SafeLoader")) == []
    assert violations(reader.format("Loader"))


def test_the_cells_of_a_notebook_are_read():
    def notebook(*sources):
        return json.dumps({"cells": [{"cell_type": kind, "source": s} for kind, s in sources]})

    text = notebook(("code", ["import numpy as np\n"]), ("code", ["%matplotlib\n", "np.load(x)"]))
    assert violations(code(text)) == ["numpy.load"]
    assert violations(code(notebook(("markdown", ["np.load(x)"])))) == []


SOURCES = sorted([*paths.ROOT.glob("dslite/**/*.py"), *paths.ROOT.glob("data/weights/*.py")])


def test_no_module_and_no_notebook_runs_what_a_file_says():
    bad = {file: violations(file.read_text("utf-8")) for file in SOURCES}
    books = list(paths.notebooks().glob("*.ipynb"))
    bad |= {file: violations(code(file.read_text("utf-8"))) for file in books}
    assert len(SOURCES) > 50
    assert len(books) == 7
    assert {file: names for file, names in bad.items() if names} == {}


def test_the_workflow_runs_nothing_of_a_files():
    """Snakemake's language is not quite Python's. Values go to the shell in quotes (``:q``)."""
    text = (paths.ROOT / "Snakefile").read_text("utf-8")
    assert HARMFUL.findall(text) == []
    commands = re.findall(r'shell:\n((?:\s+f?"[^"\n]*"\n)+)', text)
    assert commands
    for value in set(re.findall(r"\{([^{}]+)\}", "".join(commands))) - {"threads"}:
        assert value.endswith(":q"), f"{{{value}}} goes to the shell as it is"


# Files that carry code


class Harmful:
    """Unpickled, it leaves a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.fixture
def marker(tmp_path):
    """A file that exists as soon as code of a file has run; the test fails then."""
    file = tmp_path / "harm was done"
    yield file
    assert not file.exists()


def assert_refused(done, *words):
    status, out, err = done
    assert (status, out) == (2, ""), err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert [word for word in words if word not in err] == []


@pytest.mark.parametrize("tag", ["python/object/apply:os.system", "python/object/new:os.system"])
def test_a_card_that_carries_code(command, tmp_path, marker, tag):
    table = tmp_path / "own.csv"
    table.write_text("path,label\na.wav,x\n")
    table.with_suffix(".yaml").write_text(f"title: !!{tag} ['touch \"{marker}\"']\n")
    assert_refused(command("check", table), "own.yaml: not readable as YAML", "python/object")


def test_an_override_that_carries_code(command, small_corpus, marker):
    value = f"!!python/object/apply:os.system ['touch \"{marker}\"']"
    assert_refused(command("train", small_corpus, "--set", f"units={value}"), "units")


def test_the_pickle_of_these_tests_is_harmful(tmp_path):
    """Else they would show nothing."""
    np.save(tmp_path / "a.npy", np.array([Harmful(tmp_path / "harm")], dtype=object))
    np.load(tmp_path / "a.npy", allow_pickle=True)[0].close()
    assert (tmp_path / "harm").exists()


def test_a_checkpoint_with_a_pickle_is_none(tmp_path, marker):
    from dslite.training import checkpoints

    facts = json.dumps({"identity": "mine", "lengths": {"variables": 1}, "facts": {}})
    arrays = {"json": np.frombuffer(facts.encode(), np.uint8)}
    state, number = tmp_path / "state.npz", {"variables.0": np.ones(3)}
    np.savez(state, **arrays, **number)
    assert checkpoints.load(state, "mine").arrays["variables"][0].sum() == 3
    np.savez(state, **arrays, **{"variables.0": np.array([Harmful(marker)], dtype=object)})
    assert checkpoints.load(state, "mine") is None


def test_stored_features_with_a_pickle_are_computed_again(cache, small_corpus, marker):
    from dslite import cards
    from dslite.datasets import load_manifest
    from dslite.features import functionals

    built = load_manifest(cards.load(str(small_corpus)))
    few = type(built)(**{**vars(built), "table": built.table.head(2)})
    expected = functionals.acoustic_features(few, 16000)
    (stored,) = (cache / "acoustics").rglob("*.npy")
    np.save(stored, np.array([Harmful(marker)], dtype=object))
    np.testing.assert_array_equal(functionals.acoustic_features(few, 16000), expected)


def test_weights_with_a_pickle(command, small_corpus, workplace, tmp_path, marker):
    weights = tmp_path / "weights.npz"
    np.savez(weights, kernel=np.array([Harmful(marker)], dtype=object))
    status, _, err = command("train", small_corpus, "--weights", weights)
    assert status == 2
    assert "weights.npz do not fit" in err
    assert "Traceback" not in err


def run_with(small_run, folder):
    """A run's folder whose ``model.keras`` is missing."""
    for name in ("run.json", "metrics.json"):
        (folder / name).write_bytes((small_run.folder / name).read_bytes())
    return folder / "model.keras"


def test_a_model_with_a_lambda_layer(command, small_run, tmp_path, marker):
    import keras

    from dslite.models import classifier

    saved, path = run_with(small_run, tmp_path), str(marker)
    image = keras.Input((32, 32, 3))
    harm = keras.layers.Lambda(lambda x: (open(path, "w"), x)[1])  # noqa: PTH123, SIM115
    keras.Model(image, harm(image)).save(saved)
    marker.unlink()  # building it has run it already
    assert_refused(
        command("predict", tmp_path, "x.wav"), "model.keras", "Lambda layer in it carries code"
    )
    with pytest.raises(classifier.InputError):
        classifier.load_classifier(saved)


@pytest.mark.parametrize("where", ["layer", "activation"])
def test_a_model_that_names_a_function_of_pythons(command, small_run, tmp_path, marker, where):
    import keras

    saved = run_with(small_run, tmp_path)
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
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = json.dumps(changed(json.loads(content))).encode()
            copy.writestr(name, content)
    assert_refused(command("predict", tmp_path, "x.wav"), "model.keras: not loaded as a model")

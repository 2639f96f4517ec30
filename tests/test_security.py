"""What a file can do to whoever reads it: nothing. No code of the project runs a file's code."""

import ast
import json
import re
import zipfile

import numpy as np
import pytest

from dslite import paths

# Modules that run what a file says, by import or by name.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Functions by their last name, whatever they belong to.
NEVER = {"read_pickle", "to_pickle", "extractall", "unpack_archive"}
NEVER.add("enable_unsafe_deserialization")
FUNCTIONS = {
    *("eval", "exec", "builtins.eval", "builtins.exec", "os.system", "os.popen"),
    *(f"yaml.{kind}_load{all_}" for kind in ("full", "unsafe") for all_ in ("", "_all")),
}
YAML = {"yaml.load", "yaml.load_all"}
YAML_READER = "settings.py"


def names(tree: ast.AST) -> dict[str, str]:
    """What imported names stand for: ``np`` -> ``numpy``, ``load`` -> ``numpy.load``."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return imported


def dotted(node: ast.AST, imported: dict[str, str]) -> str:
    """``np.lib.format`` -> ``numpy.lib.format``; empty for what is not a chain of names."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, imported) or '?'}.{node.attr}"
    return ""


def safe_loaders(tree: ast.AST, imported: dict[str, str]) -> set[str]:
    """Classes of a module whose one base is yaml.SafeLoader."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    safe = ["yaml.SafeLoader"]
    return {c.name for c in classes if [dotted(base, imported) for base in c.bases] == safe}


def violations(source: str, file: str = "") -> list[str]:
    """What in Python source would run, or let a file run, code of somebody else's."""
    tree = ast.parse(source)
    imported = names(tree)
    loaders = safe_loaders(tree, imported) if file == YAML_READER else set()
    bad = [f"imports {name}" for name in imported.values() if MODULES & set(name.split("."))]
    excused = set()  # functions that are called with the argument that makes them harmless
    for node in ast.walk(tree):  # calls come before the names in them
        if isinstance(node, ast.Call):
            name = dotted(node.func, imported)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            last = name.rpartition(".")[2]
            if (
                (name in YAML and options.get("Loader") in loaders)
                or (name == "numpy.load" and options.get("allow_pickle") == "False")
                or (last == "load_model" and options.get("safe_mode") == "True")
            ):
                excused.add(node.func)
            if options.get("shell", "False") != "False":
                bad.append(f"{name}(shell=...)")
            if last in {"import_module", "__import__"}:
                bad += {ast.unparse(argument).strip("'") for argument in node.args} & MODULES
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = dotted(node, imported)
            last = name.rpartition(".")[2]
            guarded = name in YAML | {"numpy.load"} or last == "load_model"
            if name in FUNCTIONS or last in NEVER or (guarded and node not in excused):
                bad.append(name)
    return bad


def code(notebook: str) -> str:
    """A notebook's code cells as one source, without lines for IPython."""
    cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("pass" if line.startswith("%") else line for line in lines)


@pytest.mark.parametrize(
    "bad",
    [
        *(f"import {module}" for module in sorted(MODULES)),
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


SAFE_YAML = "import yaml\nclass L(yaml.{base}):\n    pass\nyaml.load(text, Loader=L)"


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


def test_yaml_is_loaded_in_one_module_by_a_safe_loader():
    good, bad = SAFE_YAML.format(base="SafeLoader"), SAFE_YAML.format(base="Loader")
    assert violations(good, YAML_READER) == []
    assert violations(good, "cards.py")
    assert violations(bad, YAML_READER)


def test_the_cells_of_a_notebook_are_read():
    def notebook(*sources):
        return json.dumps({"cells": [{"cell_type": kind, "source": s} for kind, s in sources]})

    text = notebook(("code", ["import numpy as np\n"]), ("code", ["%matplotlib\n", "np.load(x)"]))
    assert violations(code(text)) == ["numpy.load"]
    assert violations(code(notebook(("markdown", ["np.load(x)"])))) == []


SOURCES = sorted([*paths.ROOT.glob("dslite/**/*.py"), *paths.ROOT.glob("data/weights/*.py")])


def test_no_module_and_no_notebook_runs_what_a_file_says():
    bad = {file: violations(file.read_text("utf-8"), file.name) for file in SOURCES}
    books = list(paths.notebooks().glob("*.ipynb"))
    bad |= {file: violations(code(file.read_text("utf-8"))) for file in books}
    assert len(SOURCES) > 50
    assert len(books) == 7
    assert {file: names for file, names in bad.items() if names} == {}


def test_the_workflow_runs_nothing_of_a_files():
    """Snakemake's language is not Python's: by words. Values go to the shell in quotes (``:q``)."""
    text = (paths.ROOT / "Snakefile").read_text("utf-8")
    words = "|".join([*MODULES, *NEVER, r"(?:eval|exec|system|popen)\s*\(", r"yaml\.\w*load"])
    assert re.search(words, "x = yaml.full_load(1)")
    assert not re.search(rf"\b(?:{words})", text)
    assert "shell=True" not in text
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

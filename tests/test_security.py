"""What a file can do to whoever reads it: nothing. No code of the project runs a file's code."""

import json
import re
import tomllib
import zipfile

import numpy as np
import pytest

from dslite import paths
from tests.refusals import assert_refused

# What ruff's rules (S) do not see: modules and options that let a file run code
MODULES = "pickle|cPickle|_pickle|dill|cloudpickle|joblib|shelve|marshal"
HARMFUL = re.compile(
    rf"^[\s\"]*(?:import|from) (?:{MODULES})\b"
    r"|\b(?:read_pickle|to_pickle|extractall|unpack_archive|enable_unsafe_deserialization)\b"
    r"|\b(?:allow_pickle=(?!False)|safe_mode=(?!True)|shell=True|os\.system)",
    re.MULTILINE,
)


def test_the_linter_refuses_eval_pickle_and_unsafe_yaml():
    lint = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert {"S102", "S202", "S301", "S302", "S307", "S506", "S602", "S605"} <= set(lint["select"])


@pytest.mark.parametrize(
    ("text", "harmful"),
    [
        *((f"import {module}", True) for module in MODULES.split("|")),
        ("    from joblib import load", True),
        ("np.load(path, allow_pickle=trusted)", True),
        ("pd.read_pickle(path)", True),
        ("load_model(path, safe_mode=False)", True),
        ("bundle.extractall()", True),
        ("np.load(path, allow_pickle=False)\nload_model(path, safe_mode=True)", False),
    ],
)
def test_what_is_harmful(text, harmful):
    assert bool(HARMFUL.findall(text)) == harmful


def test_no_module_and_no_notebook_runs_what_a_file_says():
    sources = [*paths.ROOT.glob("dslite/**/*.py"), *paths.ROOT.glob("data/weights/*.py")]
    sources += (paths.ROOT / "notebooks").glob("*.ipynb")
    assert len(sources) > 50
    bad = {file: HARMFUL.findall(file.read_text("utf-8")) for file in sources}
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

"""The house rules: rooms of a size that can be read, what stays light, what has a docstring."""

import ast
import importlib
import re
import subprocess
import sys

import pytest

from dslite import paths

PACKAGE = paths.ROOT / "dslite"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(file.parent for file in PACKAGE.glob("*/__init__.py"))
HEAVY = {"tensorflow", "keras", "shap"}
# Help, listings, tables and predictions of a .tflite must not wait for TensorFlow.
LIGHT_ROOMS = {"datasets", "evaluation", "studies", "paper"}
LIGHT = {"runtime", "predict", "stream", "web", "phone", "plots", "commands"}
LIGHT |= {
    "training.runs",
    "training.cross_validation",
    "features.functionals",
}
SAYS_NOTHING = {"found", "said", "told", "beside", "known", "own", "made", "given", "kept", "heard"}


def dotted(file) -> str:
    """``dslite/datasets/manifest.py`` -> ``dslite.datasets.manifest``."""
    parts = file.relative_to(paths.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(file) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def is_light(file) -> bool:
    """Whether a module must do without TensorFlow, Keras and SHAP when it is imported."""
    room = file.parent.name
    if file.name == "__main__.py":
        return False  # runs the command
    light = file.stem in LIGHT and room in ("deployment", "explanation")
    return (
        file.parent == PACKAGE
        or file.name == "__init__.py"
        or room in LIGHT_ROOMS
        or light
        or f"{room}.{file.stem}" in LIGHT
    )


def public(module: ast.Module) -> list[ast.AST]:
    """Public functions and classes of a module, and the classes' public methods."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    nodes = [n for n in module.body if isinstance(n, kinds) and not n.name.startswith("_")]
    for owner in [node for node in nodes if isinstance(node, ast.ClassDef)]:
        nodes += [n for n in owner.body if isinstance(n, kinds) and not n.name.startswith("_")]
    return nodes


def bound(module: ast.Module) -> set[str]:
    """Names that a module's code gives to something."""
    names = {node.arg for node in ast.walk(module) if isinstance(node, ast.arg)}
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def test_the_root_has_at_most_twelve_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def test_there_are_nine_rooms():
    assert len(ROOMS) == 9


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_three_to_fourteen_modules(room):
    assert 3 <= len(list(room.glob("*.py"))) - 1 <= 14


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_a_module_is_one_idea(file):
    assert len(file.read_text("utf-8").splitlines()) < 800
    assert file.stem not in {"util", "utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_what_a_room_offers_is_there_and_is_no_module(room):
    offered = importlib.import_module(f"dslite.{room.name}")
    assert offered.__all__
    for name in offered.__all__:
        assert getattr(offered, name) is not None
        assert not (room / f"{name}.py").exists(), "a function and a module of one name"


def test_light_modules_stay_light_through_what_they_import():
    light = [dotted(file) for file in FILES if is_light(file)]
    script = f"import sys, importlib\nfor name in {light}: importlib.import_module(name)\n"
    script += f"print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_imports_are_named(file):
    nodes = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in nodes if "*" in [alias.name for alias in node.names]]
    assert not [node.module for node in nodes if node.level], "absolute imports only"


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_names_say_what_they_hold(file):
    assert not bound(tree(file)) & SAYS_NOTHING


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_everything_public_has_a_docstring(file):
    module = tree(file)
    assert ast.get_docstring(module), "the module"
    assert [node.name for node in public(module) if not ast.get_docstring(node)] == []


def exists(name: str) -> bool:
    """Whether a dotted name is that of a module, of something in it or that a room offers."""
    _, first, *rest = name.split(".")
    if (PACKAGE / f"{first}.py").is_file():
        return True
    if not (PACKAGE / first / "__init__.py").is_file():
        return False
    offered = getattr(importlib.import_module(f"dslite.{first}"), "__all__", ())
    return not rest or rest[0] in offered or (PACKAGE / first / f"{rest[0]}.py").is_file()


def test_modules_that_texts_name_exist():
    """In code, notebooks, pages and workflows: as a dotted name and as a file's path."""
    kinds = {".py", ".md", ".ipynb", ".toml", ".yaml", ".yml", ".smk", ".csv"}
    texts = [
        file
        for place in ("dslite", "tests", "notebooks", "data", "docs", "workflow")
        for file in (paths.ROOT / place).rglob("*")
        if file.suffix in kinds and not {"raw", "cache"} & set(file.parts)
    ]
    texts += [paths.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Snakefile")]
    stale = set()
    for file in texts:
        text = file.read_text("utf-8")
        names = set(re.findall(r"(?<![\w./-])dslite(?:\.[a-z_]+)+", text)) - {
            "dslite.json",
            "dslite.__version__",
        }
        stale |= {f"{file.name}: {name}" for name in names if not exists(name)}
        names = re.findall(r"(?<![\w/])dslite/[a-z_/]+\.py\b", text)
        stale |= {f"{file.name}: {name}" for name in names if not (paths.ROOT / name).is_file()}
    assert sorted(stale) == []


def test_tests_lie_where_their_module_does():
    """``tests/<room>/test_<module>.py`` mirrors ``dslite/<room>/<module>.py``."""
    modules = {file.relative_to(PACKAGE).with_suffix("").as_posix() for file in FILES}
    for room in ROOMS:
        for file in sorted((paths.ROOT / "tests" / room.name).glob("test_*.py")):
            name = f"{room.name}/{file.stem.removeprefix('test_')}"
            assert name in modules, f"{file.relative_to(paths.ROOT)}: no dslite/{name}.py"


def test_contributing_shows_every_module():
    """The tree of CONTRIBUTING names each module below its room."""
    text = (paths.ROOT / "CONTRIBUTING.md").read_text("utf-8")
    shown = set(re.findall(r"\w+", text[text.index("```\ndslite/") : text.index("notebooks/  1_")]))
    assert {file.stem for file in FILES} - {"__init__"} <= shown

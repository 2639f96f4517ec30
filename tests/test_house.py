"""The house rules that ruff cannot check: sizes of rooms, names, what stays light, the texts."""

import ast
import importlib
import json
import re
import subprocess
import sys

import pytest

from dslite import paths
from dslite.plots import PICTURE_BYTES

PACKAGE = paths.ROOT / "dslite"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(file.parent for file in PACKAGE.glob("*/__init__.py"))
HEAVY = {"tensorflow", "keras", "shap"}
# Help, listings, tables and predictions of a .tflite must not wait for TensorFlow.
LIGHT_ROOMS = {"datasets", "evaluation", "studies", "paper"}
LIGHT = {"runtime", "predict", "stream", "web", "profile", "plots", "commands"}
LIGHT |= {"training.runs", "training.cross_validation", "features.functionals"}
SAYS_NOTHING = {"found", "said", "told", "beside", "known", "own", "made", "given", "kept", "heard"}


def dotted(file) -> str:
    """``dslite/datasets/manifest.py`` -> ``dslite.datasets.manifest``."""
    parts = file.relative_to(paths.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_light(file) -> bool:
    """Whether a module must do without TensorFlow, Keras and SHAP when it is imported."""
    room = file.parent.name
    light = file.stem in LIGHT and room in ("deployment", "explanation")
    light = light or f"{room}.{file.stem}" in LIGHT or room in LIGHT_ROOMS | {"dslite"}
    return file.name != "__main__.py" and (light or file.name == "__init__.py")  # runs the command


def bound(module: ast.Module) -> set[str]:
    """Names that a module's code gives to something."""
    nodes, kinds = list(ast.walk(module)), ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = {node.arg for node in nodes if isinstance(node, ast.arg)}
    names |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | {node.name for node in nodes if isinstance(node, kinds)}


def test_nine_rooms_of_three_to_fourteen_modules_and_at_most_twelve_at_the_root():
    sizes = [len(list(room.glob("*.py"))) - 1 for room in ROOMS]
    assert (len(sizes), min(sizes) >= 3, max(sizes) <= 14) == (9, True, True), sizes
    assert len(list(PACKAGE.glob("*.py"))) <= 12


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
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == ""


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_a_module_is_one_idea_and_its_names_say_what_they_hold(file):
    text = file.read_text("utf-8")
    assert len(text.splitlines()) < 800
    assert file.stem not in {"util", "utils", "helpers", "common", "misc"}
    assert not bound(ast.parse(text)) & SAYS_NOTHING


def exists(name: str) -> bool:
    """Whether a dotted name is that of a module, of something in it or that a room offers."""
    _, first, *rest = name.split(".")
    if (PACKAGE / f"{first}.py").is_file():
        return True
    if not (PACKAGE / first / "__init__.py").is_file():
        return False
    offered = getattr(importlib.import_module(f"dslite.{first}"), "__all__", ())
    return not rest or rest[0] in offered or (PACKAGE / first / f"{rest[0]}.py").is_file()


def test_names_in_notebooks_tests_and_the_documentation_say_what_they_hold():
    sources = {}
    for folder in ("tests", "docs", "results", "workflow"):
        for file in (paths.ROOT / folder).rglob("*.py"):
            sources[str(file)] = file.read_text("utf-8")
    for file in (paths.ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[str(file)] = "\n".join(code)
    vague = {name: bound(ast.parse(text)) & SAYS_NOTHING for name, text in sources.items()}
    assert {name: words for name, words in vague.items() if words} == {}


def test_modules_that_texts_name_exist():
    """In code, notebooks, pages and workflows: as a dotted name and as a file's path."""
    kinds = {".py", ".md", ".ipynb", ".toml", ".yaml", ".yml", ".smk", ".csv"}
    texts = [
        file
        for place in ("dslite", "tests", "notebooks", "data", "docs", "workflow")
        for file in (paths.ROOT / place).rglob("*")
        if file.suffix in kinds and not {"raw", "cache", "_generated"} & set(file.parts)
    ]
    texts += [paths.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Snakefile")]
    stale = set()
    for file in texts:
        text = file.read_text("utf-8")
        names = set(re.findall(r"(?<![\w./-])dslite(?:\.[a-z_]+)+", text))
        names -= {"dslite.json", "dslite.__version__"}
        stale |= {f"{file.name}: {name}" for name in names if not exists(name)}
        names = re.findall(r"(?<![\w/])dslite/[a-z_/]+\.py\b", text)
        stale |= {f"{file.name}: {name}" for name in names if not (paths.ROOT / name).is_file()}
    assert sorted(stale) == []


def test_every_test_lies_where_its_module_does_and_contributing_shows_every_module():
    """``tests/<room>/test_<module>[_<topic>].py`` mirrors ``dslite/<room>/<module>.py``."""
    tests = [file for room in ROOMS for file in (paths.ROOT / "tests" / room.name).glob("test_*")]
    names = [f"{file.parent.name}/{file.stem.removeprefix('test_')}" for file in tests]
    modules = tuple(file.relative_to(PACKAGE).with_suffix("").as_posix() for file in FILES)
    assert [name for name in names if not name.startswith(modules)] == []
    text = (paths.ROOT / "CONTRIBUTING.md").read_text("utf-8")
    shown = set(re.findall(r"\w+", text[text.index("```\ndslite/") : text.index("notebooks/  1_")]))
    assert {file.stem for file in FILES} - {"__init__"} <= shown


def test_committed_results_are_few_and_small():
    words = ["git", "-C", str(paths.ROOT), "ls-files", "-z", "results"]
    listed = subprocess.run(words, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no clone of the repository")
    files = [file for name in listed.stdout.split("\0") if (file := paths.ROOT / name).is_file()]
    assert len(files) <= 120
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    pictures = [file for file in files if file.suffix == ".png"]
    assert not [file for file in pictures if file.stat().st_size > PICTURE_BYTES]

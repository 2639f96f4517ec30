"""The house rules: who may import whom, what stays light, what has a docstring."""

import ast
import subprocess
import sys

import pytest

from dslite import paths

PACKAGE = paths.ROOT / "dslite"
FLOORS = {
    **{"errors": 0},
    **dict.fromkeys(["paths", "evaluation", "plots", "quiet", "yaml_files", "sampling"], 1),
    **dict.fromkeys(["settings", "cards", "pictures", "provenance", "checkpoints", "progress"], 2),
    **dict.fromkeys(["weights_files", "audio", "quantisation"], 2),
    **dict.fromkeys(["clips", "spectrogram", "augmentation", "backbones", "trunk"], 3),
    **dict.fromkeys(["datasets", "activations", "optimisation", "scoring", "litert"], 3),
    **dict.fromkeys(["loader", "model", "runs", "acoustics"], 4),
    **dict.fromkeys(["steps", "baseline", "tflite", "explanation", "prediction", "paper"], 5),
    **dict.fromkeys(["illustration", "folds"], 5),
    **dict.fromkeys(["training", "profiling", "notebooks"], 6),
    **dict.fromkeys(["report", "tables", "faithfulness", "corpora"], 6),
    **{"timing": 1, "footprint": 1, "charts": 2, "devices": 3, "costs": 5},
    **{"attributions": 2, "overlays": 3, "maskers": 3, "attribution_charts": 4, "resynthesis": 4},
    **{"subject": 4, "grids": 4},
    **{"outcomes": 5, "samples": 5, "sanity": 6, "interpretation": 6, "overview": 7},
    **{"significance": 2, "comparison": 3, "studies": 3, "counterparts": 3, "imported": 4},
    **{
        "orphans": 1,
        "costing": 2,
        "checksums": 2,
        "study_runs": 5,
        "study_jobs": 6,
        "crate_contents": 6,
    },
    **{"study_tables": 7, "crate": 7, "repetition": 8, "study_commands": 11},
    **{"listening": 3, "streaming": 6, "web": 6},
    **{"experiment": 7, "exhibits": 8, "deployment": 9},
    **{"published": 2, "verdicts": 2, "score_checks": 3, "device_checks": 4},
    **{"consistency": 5, "paper_corpora": 4, "paper_costs": 5, "run_groups": 5},
    **{"reproduction": 6, "contrasts": 6, "conclusions": 7, "paper_figures": 8, "paper_gallery": 9},
    **{
        "paper_charts": 2,
        "verdict_chart": 3,
        "pipeline": 2,
        "pipeline_stages": 1,
        "typesetting": 2,
        "sheets": 7,
        "score_sheets": 6,
    },
    **{"escapes": 1, "marks": 3},
    **{"page_style": 1, "page_pictures": 2, "page_parts": 3, "page_numbers": 6, "paper_page": 8},
    **{"records": 7, "edition": 10},
    **{"cli": 12},
}
# (importing room, imported room): imports that break the rule for a reason given beside them.
EXCEPTIONS = {
    ("cards", "settings"),  # a card's presets are settings, and checked as such
}
LIGHT = (
    *("cli", "corpora", "settings", "cards", "paths", "errors", "evaluation", "paper"),
    *("datasets", "audio"),
    *("provenance", "notebooks", "acoustics", "weights_files", "progress", "checkpoints"),
    *("folds", "clips", "litert", "prediction", "listening", "streaming", "web"),
    *("timing", "footprint", "charts", "devices", "costs"),
    *("attributions", "overlays", "attribution_charts", "resynthesis", "outcomes", "samples"),
    *("significance", "comparison", "studies", "counterparts", "imported", "costing"),
    *(
        "grids",
        "study_runs",
        "study_jobs",
        "study_tables",
        "crate_contents",
        "crate",
        "study_commands",
    ),
    *("published", "score_checks", "device_checks", "consistency", "verdicts", "paper_corpora"),
    *("paper_costs", "run_groups", "reproduction", "contrasts", "conclusions", "records"),
    *("escapes", "marks", "typesetting", "sheets", "score_sheets", "paper_charts", "verdict_chart"),
    *("pipeline", "pipeline_stages"),
    *("paper_figures", "paper_gallery", "paper_page", "edition"),
)
HEAVY = {"tensorflow", "keras", "shap"}

FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [file for file in FILES if file != PACKAGE / "__init__.py"]


def parts(file) -> list[str]:
    """``dslite/datasets/manifest.py`` -> ``["datasets", "manifest"]``."""
    found = list(file.relative_to(PACKAGE).with_suffix("").parts)
    return found[:-1] if found[-1] == "__init__" else found


def room(file) -> str:
    return parts(file)[0]


def dotted(file) -> str:
    return ".".join(["dslite", *parts(file)])


def imports(nodes, file) -> list[tuple[str, list[str]]]:
    """Absolute module and imported names of every import statement among the nodes."""
    here = ["dslite", *(file.relative_to(PACKAGE).parts[:-1])]  # what a relative import starts at
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, [alias.name for alias in node.names]))
    return found


def imported_rooms(file) -> set[str]:
    """Rooms that a file imports, anywhere in it."""
    found = set()
    for module, names in imports(ast.walk(tree(file)), file):
        first, *below = module.split(".")
        if first == "dslite":
            found |= {below[0]} if below else {name for name in names if name in FLOORS}
    return found


def at_import(body) -> list[ast.stmt]:
    """Statements that run when a module is imported, also those in ``if``, ``try`` or ``with``."""
    found = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        for field in ("body", "orelse", "finalbody"):
            found += at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            found += at_import(handler.body)
    return found


def tree(file) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def test_every_module_has_a_floor():
    assert {room(file) for file in ROOMS} <= set(FLOORS), "say in FLOORS where a new module lives"


@pytest.mark.parametrize("file", ROOMS, ids=dotted)
def test_imports_go_down(file):
    mine = room(file)
    for other in sorted(imported_rooms(file)):
        inside = mine == other == "datasets"
        assert inside or (mine, other) in EXCEPTIONS or FLOORS[other] < FLOORS[mine], (
            f"{dotted(file)} (floor {FLOORS[mine]}) imports {other} (floor {FLOORS[other]})"
        )


def test_every_exception_is_needed_and_makes_no_circle():
    assert not EXCEPTIONS & {(other, mine) for mine, other in EXCEPTIONS}
    made = {(room(file), other) for file in ROOMS for other in imported_rooms(file)}
    assert made >= EXCEPTIONS


@pytest.mark.parametrize("file", [f for f in FILES if not parts(f) or room(f) in LIGHT], ids=dotted)
def test_light_modules_import_nothing_heavy(file):
    found = imports(at_import(tree(file).body), file)
    assert not {module.split(".")[0] for module, _ in found} & HEAVY


def test_light_modules_stay_light_through_what_they_import():
    light = [dotted(file) for file in ROOMS if room(file) in LIGHT]
    script = f"import sys, importlib\nfor name in {light}: importlib.import_module(name)\n"
    script += f"print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_there_is_no_utils():
    assert not [f for f in FILES if parts(f) and parts(f)[-1] in {"util", "utils", "helpers"}]


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_no_wildcard_import(file):
    assert not [module for module, names in imports(ast.walk(tree(file)), file) if "*" in names]


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_everything_public_has_a_docstring(file):
    module = tree(file)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in module.body if isinstance(n, kinds) and not n.name.startswith("_")]
    for owner in [node for node in public if isinstance(node, ast.ClassDef)]:
        public += [n for n in owner.body if isinstance(n, kinds) and not n.name.startswith("_")]
    assert ast.get_docstring(module), "the module"
    assert [node.name for node in public if not ast.get_docstring(node)] == []

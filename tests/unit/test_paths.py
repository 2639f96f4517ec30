"""Folders, typed paths, and files that are there whole or not at all."""

from pathlib import Path

import pytest

from dslite import paths


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project root and a working folder of this test's own: (root, here)."""
    root, here = tmp_path / "root", tmp_path / "here"
    root.mkdir()
    here.mkdir()
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.chdir(here)
    for variable in ("DSLITE_DATA", "DSLITE_CACHE", "DSLITE_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    return root, here


def test_root_holds_the_package():
    assert (paths.ROOT / "dslite" / "paths.py").samefile(paths.__file__)
    assert paths.cards().is_dir()
    assert paths.published().is_dir()
    assert paths.notebooks().is_dir()


# Typed paths


def test_find_prefers_the_working_folder(project):
    root, here = project
    for folder in project:
        (folder / "a.txt").write_text("")
    assert paths.find("a.txt") == here / "a.txt"
    (here / "a.txt").unlink()
    assert paths.find("a.txt") == root / "a.txt"


def test_find_looks_below_the_root(project):
    root, _ = project
    (root / "data").mkdir()
    (root / "data" / "w.h5").write_text("")
    assert paths.find("data/w.h5") == root / "data" / "w.h5"


def test_find_of_nothing_is_in_the_working_folder(project):
    assert paths.find("new/a.txt") == project[1] / "new" / "a.txt"


def test_find_leaves_absolute_paths(project, tmp_path):
    assert paths.find(tmp_path / "b.txt") == tmp_path / "b.txt"
    assert paths.find(str(tmp_path / "b.txt")) == tmp_path / "b.txt"


def test_find_expands_the_home_folder(project, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert paths.find("~/c.txt") == tmp_path / "c.txt"


def test_found_path_survives_a_change_of_folder(project, tmp_path, monkeypatch):
    found = paths.find("a.txt")
    monkeypatch.chdir(tmp_path)
    assert found == project[1] / "a.txt"


# Environment variables

FOLDERS = [
    ("DSLITE_DATA", lambda: paths.raw("demo"), "data/raw/demo", "demo"),
    ("DSLITE_CACHE", paths.cache, "data/cache", ""),
    ("DSLITE_RESULTS", lambda: paths.results("demo"), "results/demo", "demo"),
    ("DSLITE_RESULTS", paths.results, "results", ""),
]


@pytest.mark.parametrize(("variable", "folder", "default", "below"), FOLDERS)
def test_variables_move_folders(project, monkeypatch, tmp_path, variable, folder, default, below):
    root, here = project
    assert folder() == root / default
    monkeypatch.setenv(variable, "")
    assert folder() == root / default
    monkeypatch.setenv(variable, str(tmp_path / "moved"))
    assert folder() == tmp_path / "moved" / below
    monkeypatch.setenv(variable, "moved")
    assert folder() == here / "moved" / below
    (root / "moved").mkdir()
    assert folder() == root / "moved" / below


def test_a_variable_moves_nothing_else(project, monkeypatch, tmp_path):
    monkeypatch.setenv("DSLITE_CACHE", str(tmp_path))
    assert paths.raw("demo") == project[0] / "data" / "raw" / "demo"
    assert paths.results() == project[0] / "results"


def test_shown_is_relative_where_possible(project):
    root, here = project
    assert paths.shown(here / "a" / "b.csv") == str(Path("a/b.csv"))
    assert paths.shown(root / "results" / "x") == str(Path("results/x"))
    assert paths.shown("/elsewhere/x") == str(Path("/elsewhere/x"))


# Whole or not at all


def fill(draft: Path, kind: str, content: str) -> None:
    if kind == "file":
        draft.write_text(content)
    else:
        (draft / "inner").mkdir(parents=True)
        (draft / "inner" / content).write_text(content)


def tree(folder: Path) -> dict[str, str | None]:
    """Every path below a folder, hidden ones too, and the content of the files."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


FILLED = {
    "file": {"a.txt": "now"},
    "folder": {"a.txt": None, "a.txt/inner": None, "a.txt/inner/now": "now"},
}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_replacing_makes_the_target_and_its_folder(tmp_path, kind):
    target = tmp_path / "new" / "a.txt"
    with paths.replacing(target) as draft:
        assert not draft.exists()
        assert draft.name == "a.txt"  # some writers go by the suffix
        fill(draft, kind, "now")
        assert not target.exists()
    assert tree(tmp_path / "new") == FILLED[kind]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_replacing_leaves_nothing_of_the_old_target(tmp_path, kind):
    fill(tmp_path / "a.txt", kind, "before")
    with paths.replacing(tmp_path / "a.txt") as draft:
        fill(draft, kind, "now")
    assert tree(tmp_path) == FILLED[kind]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", ["none", "file", "folder"])
@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_an_exception_leaves_all_as_it_was(tmp_path, error, old, kind):
    target = tmp_path / "a.json"
    if old != "none":
        fill(target, old, "before")
    before = tree(tmp_path)

    def interrupted():
        with paths.replacing(target) as draft:
            if kind != "nothing":
                fill(draft, kind, "half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert tree(tmp_path) == before


def test_a_draft_that_was_never_made_is_an_error(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(FileNotFoundError), paths.replacing(tmp_path / "a"):
        pass
    assert tree(tmp_path) == {"a": "before"}


def test_replacing_twice_at_once(tmp_path):
    """Two writers do not disturb each other; the last to finish wins."""
    with paths.replacing(tmp_path / "a") as one, paths.replacing(tmp_path / "a") as two:
        one.write_text("one")
        two.write_text("two")
    assert tree(tmp_path) == {"a": "one"}

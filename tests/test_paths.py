"""Folders, typed paths, and files that are there whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dslite import paths
from dslite.errors import InputError


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


# What the killed and the disk leave

WRITER = """
import os, signal, sys
from pathlib import Path
from dslite import paths

target, how = Path(sys.argv[1]), sys.argv[2]
if how == "between":  # the two renames of a folder
    rename = Path.rename
    def dying(self, other):
        rename(self, other)
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = dying
with paths.replacing(target) as draft:
    draft.mkdir()
    (draft / "half").write_text("half")
    print("begun", flush=True)
    if how == "wait":
        sys.stdin.readline()
    elif how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def writer(target, how):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def age(folder):
    """Make every lock look old enough to be judged."""
    for lock in folder.glob(f".*/{paths.LOCK}"):
        os.utime(lock, (time.time() - 60,) * 2)


def write(target, text="now"):
    with paths.replacing(target) as draft:
        draft.write_text(text)


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    with writer(tmp_path / "a.txt", "die") as killed:
        assert killed.wait(60) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "b.txt")  # another target is none of its business
    assert len(list(tmp_path.iterdir())) == 2
    age(tmp_path)
    write(tmp_path / "a.txt")
    assert tree(tmp_path) == {"a.txt": "now", "b.txt": "now"}


def test_a_draft_of_a_living_process_stays(tmp_path):
    with writer(tmp_path / "a", "wait") as alive:
        assert alive.stdout.readline() == "begun\n"
        age(tmp_path)
        write(tmp_path / "a")
        (draft,) = tmp_path.glob(".a-*")
        assert (draft / "a" / "half").is_file()
        (tmp_path / "a").unlink()
        alive.communicate("go on\n", timeout=60)
        assert alive.returncode == 0
    assert tree(tmp_path) == {"a": None, "a/half": "half"}


def test_a_draft_that_has_just_begun_stays(tmp_path):
    begun = tmp_path / ".a-12345678"
    begun.mkdir()
    write(tmp_path / "a")
    assert begun.is_dir()  # before its lock is there
    (begun / paths.LOCK).touch()
    write(tmp_path / "a")
    assert begun.is_dir()  # before its lock is taken
    paths.clear_drafts(tmp_path / "a")
    assert tree(tmp_path) == {"a": "now"}


def test_killed_between_the_two_renames_the_old_folder_comes_back(tmp_path):
    target = tmp_path / "a"
    fill(target, "folder", "before")
    with writer(target, "between") as killed:
        assert killed.wait(60) == -signal.SIGKILL
    assert not target.exists()
    age(tmp_path)
    with pytest.raises(ZeroDivisionError), paths.replacing(target):
        _ = 1 / 0
    assert tree(tmp_path) == {"a": None, "a/inner": None, "a/inner/before": "before"}


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        *[(errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EFBIG, "make room")],
        (errno.EROFS, "make the folder writable"),
    ],
)
def test_an_error_of_the_disk_is_a_message(tmp_path, code, remedy):
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(InputError) as told, paths.replacing(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))
    said = str(told.value)
    assert said.startswith(f"{tmp_path / 'a.txt'}: cannot be written ({os.strerror(code)})")
    assert remedy in said
    assert "\n" not in said
    assert tree(tmp_path) == {"a.txt": "before"}


def test_of_a_draft_in_a_draft_the_final_name_is_told(tmp_path):
    with (
        pytest.raises(InputError) as told,
        paths.replacing(tmp_path / "run") as outer,
        paths.replacing(outer / "a.json"),
    ):
        raise RuntimeError("HDF5: write failed, No space left on device")
    assert str(told.value).startswith(f"{tmp_path / 'run' / 'a.json'}: cannot be written")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("error", [PermissionError(13, "denied", "input.wav"), ValueError("x")])
def test_another_error_passes_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as told, paths.replacing(tmp_path / "a"):
        raise error
    assert told.value is error

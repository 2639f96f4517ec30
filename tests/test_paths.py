"""Folders, typed paths, and files that are there whole or not at all."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from dslite import paths
from dslite.errors import InputError
from tests.refusals import refusal


@pytest.fixture
def project(tmp_path, monkeypatch):
    root, work = tmp_path / "root", tmp_path / "work"
    root.mkdir()
    work.mkdir()
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.chdir(work)
    for name in ("DATA", "CACHE", "RESULTS"):
        monkeypatch.delenv(f"DSLITE_{name}", raising=False)
    return root, work


def test_the_projects_folders():
    assert (paths.ROOT / "dslite" / "paths.py").samefile(paths.__file__)
    for name in ("cards", "studies", "partitions", "paper"):
        assert list(paths.data(name).iterdir())
    assert paths.records() == paths.results() / "records"


def test_a_path_is_looked_up_from_the_working_folder_then_from_the_root(project, monkeypatch):
    root, work = project
    assert paths.find("a.txt") == work / "a.txt"  # in neither
    for folder in project:
        (folder / "a.txt").write_text("")
    assert paths.find("a.txt") == work / "a.txt"
    (work / "a.txt").unlink()
    assert paths.find("a.txt") == root / "a.txt"
    assert paths.find(str(root / "b.txt")) == root / "b.txt"
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(root))
    assert paths.find("~/c.txt") == root / "c.txt"
    # In messages they are relative where possible.
    assert paths.shown(work / "a" / "b.csv") == str(Path("a/b.csv"))
    assert paths.shown(root / "results" / "x") == str(Path("results/x"))
    assert paths.shown("/elsewhere/x") == str(Path("/elsewhere/x"))


@pytest.mark.parametrize(
    ("variable", "folder", "default", "below"),
    [
        ("DSLITE_DATA", lambda: paths.raw("demo"), "data/raw/demo", "demo"),
        ("DSLITE_CACHE", paths.cache, "data/cache", ""),
        ("DSLITE_RESULTS", lambda: paths.results("demo"), "results/demo", "demo"),
        ("DSLITE_RESULTS", paths.results, "results", ""),
    ],
)
def test_variables_move_folders(project, monkeypatch, tmp_path, variable, folder, default, below):
    root, work = project
    assert folder() == root / default
    moved = {"": root / default, str(tmp_path / "moved"): tmp_path / "moved" / below}
    for value, expected in (moved | {"moved": work / "moved" / below}).items():
        monkeypatch.setenv(variable, value)
        assert folder() == expected
    (root / "moved").mkdir()
    assert folder() == root / "moved" / below


def fill(draft: Path, kind: str, content: str) -> None:
    if kind == "file":
        draft.write_text(content)
    elif kind == "folder":
        (draft / "inner").mkdir(parents=True)
        (draft / "inner" / content).write_text(content)


def tree(folder: Path) -> dict[str, str]:
    every = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_text() if path.is_file() else "" for name, path in every.items()}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(("kind", "name"), [("file", "a.txt"), ("folder", "a.txt/inner/now")])
def test_the_target_appears_when_all_is_written(tmp_path, kind, name, older):
    target = tmp_path / "new" / "a.txt"
    if older:
        target.parent.mkdir()
        fill(target, kind, "before")
    with paths.replacing(target) as draft:
        assert not draft.exists()
        assert draft.name == "a.txt"  # some writers go by the suffix
        fill(draft, kind, "now")
        assert target.exists() == older
    folders = {"a.txt": "", "a.txt/inner": ""} if kind == "folder" else {}
    assert tree(tmp_path / "new") == folders | {name: "now"}
    with paths.replacing(tmp_path / "a") as one, paths.replacing(tmp_path / "a") as two:
        one.write_text("one")  # of two writers at once the last to finish wins
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), PermissionError(13, "denied", "input.wav")]
)
@pytest.mark.parametrize("older", ["nothing", "file", "folder"])
@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_an_exception_leaves_all_as_it_was(tmp_path, error, older, kind):
    target = tmp_path / "a.json"
    fill(target, older, "before")
    before = tree(tmp_path)

    def interrupted():
        with paths.replacing(target) as draft:
            fill(draft, kind, "half")
            raise error

    with pytest.raises(type(error)) as caught:
        interrupted()
    assert caught.value is error
    with pytest.raises(FileNotFoundError), paths.replacing(target):
        pass  # a draft that was never made
    assert tree(tmp_path) == before


WRITER = """
import os, signal, sys
from pathlib import Path
from dslite import paths

target, how = Path(sys.argv[1]), sys.argv[2]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if how == "between":  # the two renames of a folder, where they are not one step
    rename = Path.rename
    paths._exchange = lambda *both: False
    Path.rename = lambda self, other: (rename(self, other), die())
with paths.replacing(target) as draft:
    draft.mkdir()
    (draft / "half").write_text("half")
    print("begun", flush=True)
    if how == "wait":
        sys.stdin.readline()
    elif how == "die":
        die()
"""


def writer(target, how):
    """A process that writes; it dies by itself, or waits for a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target), how], **pipes)
    assert process.stdout.readline() == "begun\n"
    if how != "wait":
        assert process.wait(60) == -signal.SIGKILL
    return process


def write(target):
    with paths.replacing(target) as draft:
        draft.write_text("now")


def failing(target, error):
    with paths.replacing(target):
        raise error


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    writer(tmp_path / "a.txt", "die")
    write(tmp_path / "b.txt")  # another target is none of its business
    assert len(list(tmp_path.iterdir())) == 2
    write(tmp_path / "a.txt")
    assert tree(tmp_path) == {"a.txt": "now", "b.txt": "now"}


def test_a_draft_of_a_living_process_stays(tmp_path):
    alive = writer(tmp_path / "a", "wait")
    write(tmp_path / "a")
    paths.clear_drafts(tmp_path / "a")
    assert len(list(tmp_path.glob(".a-*/*/a/half"))) == 1
    (tmp_path / "a").unlink()
    alive.communicate("go on\n", timeout=60)
    assert alive.returncode == 0
    assert tree(tmp_path) == {"a": "", "a/half": "half"}


def test_a_draft_that_has_just_begun_stays(tmp_path):
    begun = tmp_path / ".a-12345678"
    for step in (begun.mkdir, (begun / paths.LOCK).touch):  # its lock is not there, not taken
        step()
        write(tmp_path / "a")
        assert begun.is_dir()
    os.utime(begun, (0, 0))  # nobody takes it any more
    write(tmp_path / "a")
    assert tree(tmp_path) == {"a": "now"}
    begun.mkdir()
    (begun / paths.NEW).mkdir()
    paths.clear_drafts(tmp_path / "a")
    assert tree(tmp_path) == {"a": "now"}


def test_killed_between_the_two_renames_the_older_folder_comes_back(tmp_path):
    target = tmp_path / "a"
    fill(target, "folder", "before")
    writer(target, "between")
    assert not target.exists()
    with pytest.raises(ZeroDivisionError):
        failing(target, ZeroDivisionError())
    assert tree(tmp_path) == {"a": "", "a/inner": "", "a/inner/before": "before"}


def test_what_was_replaced_is_gone_before_the_lock_is_free(tmp_path, monkeypatch):
    """Else the next one puts it back while yet another writer is between its two renames."""
    target, looks = tmp_path / "a", []
    fill(target, "folder", "before")

    class Lock(FileLock):
        def release(self, force=False):
            looks.append((Path(self.lock_file).parent / paths.OLD).exists())
            super().release(force)

    monkeypatch.setattr(paths, "_exchange", lambda *names: False)
    monkeypatch.setattr(paths, "_lock", Lock)
    with paths.replacing(target) as draft:
        fill(draft, "folder", "after")
    assert set(looks) == {False}
    assert tree(tmp_path) == {"a": "", "a/inner": "", "a/inner/after": "after"}


def test_another_writer_may_win_while_the_older_folder_is_put_back(tmp_path, monkeypatch):
    target, rename = tmp_path / "a", Path.rename
    fill(target, "folder", "before")

    def lose(path, new):
        if path.name == paths.OLD and not target.exists():
            fill(target, "folder", "another")
        return rename(path, new)

    def fail(path, new):
        monkeypatch.setattr(Path, "replace", replace)
        raise OSError(errno.ENOTEMPTY, "another writer's")

    replace = Path.replace
    monkeypatch.setattr(paths, "_exchange", lambda *names: False)
    monkeypatch.setattr(Path, "rename", lose)
    monkeypatch.setattr(Path, "replace", fail)
    with paths.replacing(target) as draft:
        fill(draft, "folder", "after")
    assert tree(tmp_path) == {"a": "", "a/inner": "", "a/inner/after": "after"}


RACER = """
import sys
from pathlib import Path
from dslite import paths

target, how = Path(sys.argv[1]), sys.argv[2]
if how == "renamed":
    paths._exchange = lambda *both: False
print("begun", flush=True)
sys.stdin.readline()
for _ in range(100):
    with paths.replacing(target) as draft:
        draft.mkdir()
        (draft / "whole").write_text("whole")
"""


@pytest.mark.parametrize("how", ["exchanged", "renamed"])
def test_writers_of_one_folder_at_once_and_a_reader(tmp_path, how):
    """No writer fails, and where two names are exchanged no look finds the folder missing."""
    target, pipes = tmp_path / "a", {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    fill(target, "folder", "before")
    words = [sys.executable, "-c", RACER, str(target), how]
    racers = [subprocess.Popen(words, **pipes) for _ in range(3)]
    for racer in racers:
        racer.stdout.readline()
    for racer in racers:
        racer.stdin.close()
    looks = []
    while any(racer.poll() is None for racer in racers):
        looks.append(target.exists())
    assert [racer.wait() for racer in racers] == [0, 0, 0]
    assert tree(tmp_path) == {"a": "", "a/whole": "whole"}
    if how == "exchanged" and sys.platform == "linux":
        assert all(looks), f"missing in {looks.count(False)} of {len(looks)} looks"


CLAIMER = """
import sys
from dslite import paths
with paths.claimed(sys.argv[1], "trains this run"):
    print("begun", flush=True)
    sys.stdin.readline()
"""


def test_a_claim_names_its_holder_and_dies_with_it(tmp_path):
    def holder():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", CLAIMER, str(tmp_path / "a")], **pipes)
        process.stdout.readline()
        return process

    def claim():
        with paths.claimed(tmp_path / "a", "trains this run"):
            return [file.name for file in tmp_path.iterdir()]

    one = holder()
    message = refusal(claim)
    assert "a: another process trains this run (process " in message
    assert f"{one.pid} on {socket.gethostname()}); wait" in message
    one.kill()
    one.wait()
    assert claim() == [".a.lock"]
    assert list(tmp_path.iterdir()) == []
    two = holder()
    two.communicate(b"end")
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_is_full_is_a_message():
    def fill_up():
        with paths.scratch():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert "set TMPDIR" in refusal(fill_up)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_an_error_of_the_disk_is_a_message(tmp_path, code):
    (tmp_path / "a.txt").write_text("before")
    message = refusal(failing, tmp_path / "a.txt", OSError(code, os.strerror(code)))
    assert message.startswith(f"{tmp_path / 'a.txt'}: cannot be written ({os.strerror(code)})")
    assert ("make the folder writable" if code == errno.EROFS else "make room") in message
    assert tree(tmp_path) == {"a.txt": "before"}
    full = RuntimeError("HDF5: write failed, No space left on device")
    with pytest.raises(InputError) as caught, paths.replacing(tmp_path / "run") as outer:
        failing(outer / "a.json", full)  # a draft in a draft: the target is named
    assert str(caught.value).startswith(f"{tmp_path / 'run' / 'a.json'}: cannot be written")
    assert tree(tmp_path) == {"a.txt": "before"}

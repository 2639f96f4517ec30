"""The store of activations: written once, never half, and only where there is room."""

import os
import subprocess
import sys
import textwrap
import threading
from collections import namedtuple

import numpy as np
import pytest

from dslite import paths
from dslite.features import store

SHAPE, BATCH = (70, 5), 32  # more than two batches of chunks, the last one incomplete


class Computed:
    """A ``compute`` that counts; values depend on the chunk alone."""

    def __init__(self, log=None):
        self.slices, self.log = [], log

    def __call__(self, part):
        if self.log is not None:
            self.log.append("computed")
        self.slices.append(part)
        return values()[part]


def values():
    return np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)


def load(compute, log=None, limit_gib=1.0, key="key"):
    log = [] if log is None else log
    where = paths.cache() / "activations" / "toy" / key
    return store.load_activations(where, SHAPE, compute, BATCH, limit_gib, log.append)


def forbidden(part):
    pytest.fail("nothing was to be computed")


def folder(cache, key="key"):
    return cache / "activations" / "toy" / key


def left(cache):
    """Everything in the corpus's folder but locks."""
    parent = cache / "activations" / "toy"
    return (
        sorted(p.name for p in parent.iterdir() if p.suffix != ".lock") if parent.exists() else []
    )


def test_written_once_and_read_back(cache):
    compute, log = Computed(), []
    found = load(compute, log)
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values())
    assert [(part.start, part.stop) for part in compute.slices] == [(0, 32), (32, 64), (64, 70)]
    silence = []
    np.testing.assert_array_equal(load(forbidden, silence), values())
    assert silence == []
    assert left(cache) == ["key"]


def test_nobody_can_write_into_it(cache):
    found = load(Computed())
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1.0
    assert not found.flags.writeable


def test_another_key_is_another_store(cache):
    load(Computed())
    compute = Computed()
    load(compute, key="other")
    assert len(compute.slices) == 3
    assert left(cache) == ["key", "other"]


def test_the_size_is_told_before_anything_is_computed(cache):
    log = []
    load(Computed(log), log)
    assert "70 x 5" in log[0]
    assert "GiB" in log[0]
    assert log[1:4] == ["computed"] * 3
    assert "pictures/s" in log[4]
    assert len(log) == 5


def test_over_the_limit_nothing_is_written(cache):
    log = []
    assert load(forbidden, log, limit_gib=1e-7) is None  # 107 bytes, 1400 are needed
    assert len(log) == 1
    assert "trunk_cache_gib" in log[0]
    assert left(cache) == []


@pytest.mark.parametrize("needed_more", [-1, 0])
def test_the_limit_itself_is_allowed(cache, needed_more):
    limit = (SHAPE[0] * SHAPE[1] * 4 + needed_more) / 2**30
    assert (load(Computed(), limit_gib=limit) is None) == (needed_more < 0)


@pytest.mark.parametrize(("spare", "written"), [(-1, False), (0, True)])
def test_a_disk_too_full_is_left_alone(cache, monkeypatch, spare, written):
    needed = SHAPE[0] * SHAPE[1] * 4
    usage = namedtuple("usage", "total used free")
    disk = usage(2**40, 0, store.SPARE + needed + spare)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: disk)
    log = []
    found = load(Computed() if written else forbidden, log)
    assert (found is not None) == written
    if not written:
        assert len(log) == 1
        assert "free" in log[0]
        assert left(cache) == []


def test_a_full_disk_does_not_matter_to_a_finished_store(cache, monkeypatch):
    load(Computed())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage(1, 1, 0))
    assert load(forbidden, limit_gib=0.0) is not None


def test_an_error_while_writing_leaves_nothing(cache):
    def compute(part):
        if part.start:
            raise OSError(28, "No space left on device")
        return values()[part]

    log = []
    assert load(compute, log) is None
    assert "No space left" in log[-1]
    assert len(log) == 2
    assert left(cache) == []
    assert load(Computed()) is not None  # there is room again


def test_a_cache_that_cannot_be_written_is_told(cache):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file in the folder's place")
    log = []
    assert load(forbidden, log) is None
    assert len(log) == 1


def test_an_exception_passes_and_leaves_nothing(cache):
    def compute(part):
        if part.start:
            raise KeyboardInterrupt
        return values()[part]

    with pytest.raises(KeyboardInterrupt):
        load(compute)
    assert left(cache) == []
    compute = Computed()
    np.testing.assert_array_equal(load(compute), values())
    assert len(compute.slices) == 3


SCRIPT = """
import os, pathlib, sys, time
import numpy as np
from dslite import activations, checksums, paths

def compute(part):
    pathlib.Path(sys.argv[1]).touch()
    if sys.argv[2] == "die" and part.start:
        os._exit(9)
    if sys.argv[2] == "wait":
        time.sleep(1)
    return np.random.default_rng(3).normal(size=(70, 5)).astype(np.float32)[part]

where = paths.cache() / "activations" / "toy" / "key"
found = activations.load(where, (70, 5), compute, 32, 1.0, lambda line: None)
print(float(found.sum()))
"""


def process(*words):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *map(str, words)]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True)


def test_a_killed_process_is_not_taken_for_a_finished_one(cache, tmp_path):
    assert process(tmp_path / "seen", "die").wait(60) == 9
    assert not folder(cache).exists()
    compute = Computed()
    np.testing.assert_array_equal(load(compute), values())
    assert len(compute.slices) == 3


def test_of_two_processes_the_second_waits(cache, tmp_path):
    first = process(tmp_path / "one", "wait")
    while not (tmp_path / "one").exists():
        assert first.poll() is None
    second = process(tmp_path / "two", "wait")
    assert first.poll() is None  # or nothing was to be waited for
    told = [float(each.communicate(timeout=60)[0]) for each in (first, second)]
    assert told[0] == told[1] == pytest.approx(values().sum(dtype=np.float64), rel=1e-4)
    assert not (tmp_path / "two").exists()  # it computed nothing


def test_of_two_threads_the_second_waits(cache):
    begun, go_on = threading.Event(), threading.Event()

    def compute(part):
        begun.set()
        assert go_on.wait(20)
        return values()[part]

    found = []
    first = threading.Thread(target=lambda: found.append(load(compute)))
    first.start()
    assert begun.wait(20)
    second = threading.Thread(target=lambda: found.append(load(forbidden)))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(20)
    second.join(20)
    assert len(found) == 2
    for each in found:
        np.testing.assert_array_equal(each, values())


VALUES, INDEX = "activations.bin", "index.json"


def edited(name, change):
    """A way to damage a store: a file with its content changed."""

    def damage(path):
        (path / name).write_bytes(change((path / name).read_bytes()))
        return name

    return damage


def flipped(place):
    return lambda content: bytes(
        byte ^ (i == place % len(content)) for i, byte in enumerate(content)
    )


def lost(name):
    def damage(path):
        (path / name).unlink()
        return name

    return damage


DAMAGES = {
    "cut off": edited(VALUES, lambda content: content[:-4]),
    "longer": edited(VALUES, lambda content: content + b"\0"),
    "first bit": edited(VALUES, flipped(0)),
    "a bit": edited(VALUES, flipped(700)),
    "last bit": edited(VALUES, flipped(-1)),
    "no values": lost(VALUES),
    "no index": lost(INDEX),
    "torn index": edited(INDEX, lambda content: content[:20]),
    "empty index": edited(INDEX, lambda content: b""),
    "other index": edited(INDEX, lambda content: b"[]"),
    "other shape": edited(INDEX, lambda content: content.replace(b"[70, 5]", b"[70, 4]")),
    "of an older version": edited(INDEX, lambda content: b'{"shape": [70, 5]}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_told_and_computed_again(cache, damage):
    load(Computed())
    name = damage(folder(cache))
    compute, log = Computed(), []
    np.testing.assert_array_equal(load(compute, log), values())
    assert len(compute.slices) == 3
    said = [line for line in log if "computed again" in line]
    assert len(said) == 1
    assert str(folder(cache) / name) in said[0]
    silence = []
    load(forbidden, silence)
    assert silence == []
    assert left(cache) == ["key"]


def test_a_store_of_another_shape_is_computed_again(cache):
    load(Computed())
    found = store.load_activations(folder(cache), (7, 5), lambda part: values()[:7][part], 32, 1.0)
    np.testing.assert_array_equal(found, values()[:7])


def test_a_store_is_read_through_once_a_process(cache, monkeypatch):
    load(Computed())
    load(forbidden)
    monkeypatch.setattr(store.zlib, "crc32", None)
    assert store.of_file(folder(cache) / VALUES)


def test_a_damaged_store_on_a_full_disk(cache, monkeypatch):
    load(Computed())
    DAMAGES["a bit"](folder(cache))
    monkeypatch.setattr(store, "SPARE", 2**60)
    log = []
    assert load(forbidden, log) is None
    assert "the frozen layers run at every step" in log[-1]

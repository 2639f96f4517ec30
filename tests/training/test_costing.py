"""Cost: what is added up, which counters are believed, and that nothing is made up."""

import json
import subprocess
import sys
import threading

import pytest

from dslite.training import runs
from dslite.training.runs import Cost

FULL = 262_143_328_850  # microjoules, as on a desktop processor


class Counters:
    """A tree as in /sys/class/powercap."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def set(self, name, kind, microjoules, full=FULL):
        place = self.folder / name
        place.mkdir(exist_ok=True)
        for file, content in (("name", kind), ("max_energy_range_uj", full)):
            (place / file).write_text(f"{content}\n")
        (place / "energy_uj").write_text(f"{microjoules}\n")
        return place


@pytest.fixture
def tree(tmp_path):
    return Counters(tmp_path / "powercap")


def test_packages_are_added_and_their_parts_are_not(tree):
    def at(first, second, else_):
        tree.set("intel-rapl:0", "package-0", first)
        tree.set("intel-rapl:1", "package-1", second)
        tree.set("intel-rapl:0:0", "core", else_)
        tree.set("intel-rapl:0:1", "package-part", else_)
        tree.set("intel-rapl:2", "psys", else_)
        tree.set("intel-rapl-mmio:0", "package-0", else_)
        tree.set("dtpm", "package-0", else_)

    at(1_000_000, 5_000_000, 0)
    meter = runs.Meter(powercap=tree.folder)
    at(3_500_000, 6_000_000, 99_000_000)
    found = meter.read()
    assert found.energy_j == pytest.approx(3.5)
    assert found.energy_note == runs.MEASURED
    at(4_500_000, 6_000_000, 99_000_000)
    assert meter.read().energy_j == pytest.approx(4.5)


def test_a_counter_that_begins_anew(tree):
    tree.set("intel-rapl:0", "package-0", FULL - 1_000_000)
    meter = runs.Meter(powercap=tree.folder)
    readings = [(2_000_000, 3.0), (FULL - 1_000_000, FULL / 1e6), (500_000, FULL / 1e6 + 1.5)]
    for at, joules in readings:
        tree.set("intel-rapl:0", "package-0", at)
        assert meter.read().energy_j == pytest.approx(joules)


def test_between_two_readings_somebody_looks(tree, monkeypatch):
    """Else a counter that is full twice would have lost as much as it holds."""
    seen, microjoules = threading.Event(), runs._microjoules

    def watched(folder, name):
        found = microjoules(folder, name)
        if found == FULL - 5:
            seen.set()
        return found

    monkeypatch.setattr(runs, "_microjoules", watched)
    monkeypatch.setattr(runs, "LOOK_EVERY_S", 0.001)
    tree.set("intel-rapl:0", "package-0", 10)
    with runs.Meter(powercap=tree.folder) as meter:
        (tree.folder / "draft").write_text(str(FULL - 5))
        (tree.folder / "draft").replace(tree.folder / "intel-rapl:0" / "energy_uj")
        assert seen.wait(30)
        (tree.folder / "draft").write_text("20")
        (tree.folder / "draft").replace(tree.folder / "intel-rapl:0" / "energy_uj")
        assert meter.read().energy_j == pytest.approx((FULL + 10) / 1e6)


@pytest.mark.parametrize("broken", ["absent", "empty", "denied", "gone", "nonsense", "no range"])
def test_what_is_not_known_is_not_said(tree, broken):
    folder = tree.folder
    if broken not in ("absent", "empty"):
        place = tree.set("intel-rapl:0", "package-0", 7_000_000)
        tree.set("intel-rapl:1", "package-1", 7_000_000)
    if broken == "absent":
        folder = tree.folder / "nothing"
    if broken == "denied":  # not by its mode, which does not stop root
        (place / "energy_uj").unlink()
        (place / "energy_uj").mkdir()
    meter = runs.Meter(powercap=folder)
    if broken == "gone":
        (place / "energy_uj").unlink()
    if broken == "nonsense":
        (place / "energy_uj").write_text("much")
    if broken == "no range":
        (place / "max_energy_range_uj").unlink()
        (place / "energy_uj").write_text("1")
    with meter:
        found = meter.read()
        assert (found.energy_j, found.energy_note) == (None, runs.UNKNOWN)
        if broken in ("gone", "nonsense", "no range"):
            tree.set("intel-rapl:0", "package-0", 9_000_000)
        assert meter.read().energy_j is None  # the sum would lack a part


def test_sessions_are_added_and_the_higher_peak_stays():
    first = Cost(10.0, 20.0, 300.0, 5.0, runs.MEASURED, 2)
    second = Cost(1.0, 2.0, 400.0, 0.5, runs.MEASURED)
    assert runs.total_cost(first, second) == Cost(11.0, 22.0, 400.0, 5.5, runs.MEASURED, 3)
    assert runs.total_cost(second, first).peak_mib == 400.0
    assert runs.total_cost(None, second) == second


def test_one_unknown_session_makes_the_sum_unknown():
    known = Cost(1.0, 1.0, 1.0, 1.0, runs.MEASURED)
    unknown = Cost(1.0, 1.0, None, None, runs.UNKNOWN)
    for pair in ((known, unknown), (unknown, known)):
        found = runs.total_cost(*pair)
        assert (found.energy_j, found.energy_note, found.peak_mib) == (None, runs.UNKNOWN, 1.0)
    assert runs.total_cost(unknown, unknown).peak_mib is None


def test_a_reading_grows_and_includes_the_sessions_before():
    earlier = Cost(1000.0, 2000.0, 1e9, 3.0, runs.MEASURED, 4)
    meter, with_earlier = runs.Meter(), runs.Meter(earlier)
    before = meter.read()
    sum(i * i for i in range(2_000_000))
    after, all_ = meter.read(), with_earlier.read()
    assert after.wall_s > before.wall_s
    assert after.cpu_s > before.cpu_s
    assert after.sessions == 1
    assert 10 < after.peak_mib < 1e6
    assert (all_.sessions, all_.peak_mib) == (5, 1e9)
    assert all_.wall_s > 1000 + after.wall_s - before.wall_s
    assert all_.cpu_s >= 2000


def test_children_count_when_they_have_ended():
    meter = runs.Meter()
    script = "import os\nwhile sum(os.times()[:2]) < 0.5: pass"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert meter.read().cpu_s >= 0.5


def test_the_peak_is_in_mebibytes():
    script = (
        "from dslite.training import runs\nmeter = runs.Meter()\nbefore = meter.read().peak_mib\n"
        "held = b'x' * (300 * 2**20)\nprint(meter.read().peak_mib - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 290 < float(done.stdout) < 310


def test_it_is_kept_and_what_is_damaged_is_none(tmp_path):
    cost = Cost(1.5, 2.5, None, None, runs.UNKNOWN, 3)
    file = tmp_path / "cost.json"
    assert runs.load_cost(file) is None
    runs.save_cost(file, cost)
    assert runs.load_cost(file) == cost
    content = json.loads(file.read_text())
    for damaged in ("{", "[]", "7", json.dumps({k: v for k, v in content.items() if k != "cpu_s"})):
        file.write_text(damaged)
        assert runs.load_cost(file) is None

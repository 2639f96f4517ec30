"""What git holds of results/: what a reader opens or a table needs, and no more."""

import subprocess

import pytest

from dslite import paths
from dslite.plots import PICTURE_BYTES

PAPER = "results/paper/"  # what `make paper` draws; the rest is chosen by hand


def test_committed_results_are_few_and_small():
    words = ["git", "-C", str(paths.ROOT), "ls-files", "-z", "results"]
    listed = subprocess.run(words, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no clone of the repository")
    files = [name for name in listed.stdout.split("\0") if (paths.ROOT / name).is_file()]
    assert len(files) <= 120
    sizes = {name: (paths.ROOT / name).stat().st_size for name in files if PAPER not in name}
    assert sum(sizes.values()) <= 3_000_000
    large = {name for name, size in sizes.items() if size > PICTURE_BYTES}
    assert not {name for name in large if name.endswith(".png")}

"""What git holds of results/: what a reader opens or a table needs, and no more."""

import subprocess

import pytest

from dslite import paths
from dslite.plots import PICTURE_BYTES


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

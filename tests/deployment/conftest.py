"""A converted, compared and profiled run: made once for all tests, which only read it."""

import contextlib
import io
import json
import shutil
import sys

import pytest

from dslite import cards, cli
from dslite.datasets import load_manifest
from dslite.deployment import predict, profile
from dslite.training import runs
from tests.deployment.stand_in import predictor
from tests.refusals import assert_refused


@pytest.fixture(scope="session")
def small_store(small_run, small_corpus, small_cache):
    from dslite.features import store

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DSLITE_CACHE", str(small_cache))
        corpus = load_manifest(cards.load(str(small_corpus)))
        return store.load_spectrograms(corpus, small_run.settings)


@pytest.fixture(scope="session")
def conversion(once, small_run, small_corpus, small_cache):
    """Folder with ``small/<run>``, converted by the command, and what it printed (``out.txt``)."""

    def make(folder):
        run = folder / "small" / small_run.folder.name
        shutil.copytree(small_run.folder, run)
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed):
            patched.setenv("DSLITE_CACHE", str(small_cache))
            # Restoring layers is tried in test_convert_agreement, on a stand-in that costs nothing.
            patched.setattr("dslite.deployment.convert.LOST", 1.0)
            patched.setattr("dslite.deployment.convert.CALIBRATION_CHUNKS", 16)
            words = ["dslite", "convert", str(run), "--table", str(small_corpus)]
            patched.setattr(sys, "argv", words)
            with contextlib.suppress(SystemExit):
                cli.run()
        (folder / "out.txt").write_text(printed.getvalue())

    return once("conversion", make)


@pytest.fixture(scope="session")
def converted_run(conversion, small_run):
    """The small run with its files in four variants and ``agreement.json``."""
    return runs.load(conversion / "small" / small_run.folder.name)


@pytest.fixture
def converted_copy(converted_run, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path))
    folder = tmp_path / "small" / converted_run.folder.name
    shutil.copytree(converted_run.folder, folder)
    return runs.load(folder)


@pytest.fixture(scope="session")
def profiled(once, converted_run):
    """What `profile_run` measured of float32 and int8 on two numbers of threads.

    The agreement beside them is invented: of int8 alone, which reaches 0.75 on test.
    """

    def make(folder):
        place = folder / converted_run.folder.name
        unused = shutil.ignore_patterns("*-float16.tflite", "*-dynamic.tflite")
        shutil.copytree(converted_run.folder, place, ignore=unused)
        test = {"uar": 0.75, "uar_interval": [0.5, 0.875]}
        compared = {"uar": 0.9, "uar_difference": -0.125, "test": test}
        (place / "agreement.json").write_text(json.dumps({"int8": compared}))
        measured = profile.profile_run(runs.load(place), (2, 1), repeats=3)
        # It is written as JSON.
        (folder / "profiled.json").write_text(json.dumps(measured, allow_nan=False))

    return json.loads((once("profiled", make) / "profiled.json").read_text())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(predict, "load_model", lambda place: predictor())


@pytest.fixture
def refused(command):
    """Run a command that refuses its input: gives the message."""

    def run(*words):
        done = command(*words)
        assert_refused(done)
        return " ".join(done[2].split())

    return run

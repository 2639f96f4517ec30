"""TensorFlow starts without a word, and a real error still comes through."""

import os
import subprocess
import sys

import pytest

from dslite import tensorflow_logging


def test_a_fresh_tensorflow_says_nothing():
    code = (
        "from dslite import tensorflow_logging\n"
        "tensorflow_logging.import_tensorflow()\nimport tensorflow\nprint('there')"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean
    )
    assert done.stdout == "there\n"
    assert done.stderr == ""


def test_only_the_inside_is_silent(capfd):
    with tensorflow_logging.silent_stderr():
        os.write(2, b"unheard")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_errors_pass_and_stderr_comes_back(capfd):
    with pytest.raises(ImportError, match="no such module"), tensorflow_logging.silent_stderr():
        raise ImportError("no such module")
    os.write(2, b"back")
    assert capfd.readouterr().err == "back"

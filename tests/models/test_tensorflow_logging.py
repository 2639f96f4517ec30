"""TensorFlow starts without a word, and a real error still comes through."""

import os
import subprocess
import sys

import pytest

from dslite.models import tensorflow_logging


@pytest.mark.slow
def test_a_fresh_tensorflow_says_nothing():
    code = "from dslite.models import tensorflow_logging as logging; logging.import_tensorflow()\n"
    code += "import tensorflow; print('there')"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    options = {"capture_output": True, "text": True, "check": True, "env": clean}
    done = subprocess.run([sys.executable, "-c", code], **options)
    assert (done.stdout, done.stderr) == ("there\n", "")


def test_only_the_inside_is_silent_and_errors_pass(capfd):
    def fail():
        with tensorflow_logging.silent_stderr():
            os.write(2, b"from inside")
            raise ImportError("no such module")

    with pytest.raises(ImportError, match="no such module"):
        fail()
    os.write(2, b"from outside")
    assert capfd.readouterr().err == "from outside"


def test_a_crash_inside_is_not_silent():
    code = "import os\nfrom dslite.models import tensorflow_logging as logging\n"
    code += "with logging.silent_stderr():\n    os.write(2, b'chatter')\n    os.abort()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0
    assert ("Aborted" in done.stderr, "chatter" in done.stderr) == (True, False)

"""TensorFlow starts without a word, and a real error still comes through."""

import os
import re
import subprocess
import sys

import pytest

from dslite import paths
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


def test_threads_are_those_of_the_settings_or_the_process_begins_anew():
    """However many cores and whatever the environment says, but only before TensorFlow starts."""
    code = "from dslite.models import tensorflow_logging as logging\n"
    code += "logging.import_tensorflow({})\nprint(logging.running_threads())\n"
    code += "logging.pin_threads({})\nlogging.pin_threads(7)\n"
    for started, pinned in ((3, 3), (0, 5)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(started, pinned)],
            **{"capture_output": True, "text": True},
            env=os.environ | {"TF_NUM_INTRAOP_THREADS": "5"},
        )
        assert (done.stdout, done.returncode) == (f"{pinned}\n", 1)
        assert done.stderr.endswith(
            f"InputError: threads 7: TensorFlow has been started with {pinned} in this process; "
            "begin anew (restart the notebook's kernel)\n"
        )


def test_no_other_place_decides_how_many_threads_a_training_has():
    """Neither workflow nor cluster: they reserve what the settings say."""
    files = [paths.ROOT / "Snakefile", *paths.ROOT.glob("workflow/**/*.*")]
    files += [*paths.ROOT.glob("dslite/**/*.py"), *paths.ROOT.glob("notebooks/*.ipynb")]
    text = {file.name: file.read_text("utf-8") for file in files}
    deciding = {name for name, of in text.items() if re.search("INTRAOP|OMP_NUM|intra_op", of)}
    assert deciding == {"tensorflow_logging.py"}
    for name, rule in (
        ("Snakefile", "training"),
        ("Snakefile", "ablation"),
        ("study.smk", "study_"),
    ):
        _, _, body = text[name].partition(f"rule {rule}")
        assert re.search(r"threads: (\w+)", body)[1] in ("training_threads", "job_threads")

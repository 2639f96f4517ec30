"""What benchmark_model prints on a phone is parsed and stored."""

import io
import json
import re
import shutil
import sys

import pytest

from dslite.deployment import profile
from dslite.errors import InputError

# As benchmark_model of TensorFlow Lite 2.4 to 2.21 prints it, in its order
PRINTED = """\
INFO: STARTING!
INFO: Num threads: [4]
INFO: Graph: [/data/local/tmp/cnn.tflite]
INFO: Report the peak memory footprint: [1]
INFO: #threads used for CPU inference: [4]
INFO: Loaded model /data/local/tmp/cnn.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 28.9508
INFO: Initialized session in 92.318ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=2 first=361000 curr=301000 min=301000 max=361000 avg=331000 std=30000

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=50 first=249042 curr=250889 min=247067 max=254474 avg=242000 std=1442 p5=247100 \
median=241500 p95=253000

INFO: Inference timings in us: Init: 92318, First inference: 361000, Warmup (avg): 331000, \
Inference (avg): 242000
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime.
INFO: Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 80.25
"""


def test_printed_by_benchmark_model():
    assert profile.parse_phone(PRINTED) == {
        **{"ms": 242, "file": "cnn.tflite", "threads": 4, "size_bytes": 28_950_800},
        "growth_mb": pytest.approx(73.5 * 1.048576),
    }


def test_an_older_benchmark_model_through_logcat():
    """A mean above a second is written with an exponent; memory has another name."""
    printed = (
        "07-08 15:34:26.201 I/tflite  ( 5395): count=1 curr=3512391\r\n"
        "07-08 15:34:26.202 I/tflite  ( 5395): Inference timings in us: Init: 17187, First "
        "inference: 3512391, Warmup (avg): 3.51239e+06, Inference (avg): 2.95034e+06\r\n"
    )
    assert profile.parse_phone(printed) == {"ms": 2950.34}
    delta = "Memory footprint delta from the start of the tool"
    older = profile.parse_phone(PRINTED.replace(delta, "Peak memory footprint"))
    assert older == profile.parse_phone(PRINTED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no measurement"),
        (PRINTED.partition("INFO: Inference")[0], "no measurement"),
        (PRINTED * 2, "more than one measurement"),
        (PRINTED.replace("(avg): 242000", "(avg): 0"), "no time"),
        (PRINTED.replace("(avg): 242000", "(avg): 2..4e5"), "no measurement"),
    ],
    ids=["empty", "interrupted", "two", "zero", "points"],
)
def test_what_is_no_measurement(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        profile.parse_phone(text)


def test_the_command_stores_it(command, refused, small_run, tmp_path, monkeypatch):
    place = shutil.copytree(small_run.folder, tmp_path / "run")
    (tmp_path / "out.txt").write_text(PRINTED)
    status, out, _ = command("device", place, tmp_path / "out.txt", "--name", "Pixel 8")
    assert (status, "Pixel 8: 242.00 ms" in out) == (0, True)
    stored = json.loads((place / "device.json").read_text())
    assert stored.pop("date")
    assert stored == profile.parse_phone(PRINTED) | {"name": "Pixel 8"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    (tmp_path / "result.pb").write_bytes(b"\x12\x0b\x0d\xd7\xa3\x90\x40")
    for source, message in {
        "-": "standard input: no measurement",
        tmp_path / "result.pb": "result.pb: no measurement",
        tmp_path / "other.txt": "other.txt: cannot be read (No such file",
        tmp_path: "cannot be read",
    }.items():
        assert message in refused("device", place, source)
    monkeypatch.setattr(sys, "stdin", io.StringIO(PRINTED))
    assert command("device", place, "-")[0] == 0
    assert json.loads((place / "device.json").read_text())["name"] == "phone"

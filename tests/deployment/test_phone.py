"""What a phone's benchmark prints, read back."""

import io
import json
import re
import sys

import pytest

from dslite.deployment import phone
from dslite.errors import InputError

# As benchmark_model of TensorFlow Lite 2.4 to 2.21 prints it, in its order
PRINTED = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
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
RESULT = {
    "latency_metrics": {"avg_ms": 242, "median_ms": 241.5, "p95_ms": 253, "stddev_ms": 1.442},
    "memory_metrics": {"overall_footprint_kb": "75264", "peak_mem_mb": 80.25},
    "misc_metrics": {"model_size_mb": 28.9508, "num_runs": 50, "num_warmup_runs": 2},
}
LITERT = {
    **{"model": "/home/pi/cnn.tflite", "model_size_mb": 4.03, "accelerators": ["CPU"]},
    **{"signature": "serving_default", "fully_accelerated": False, "num_threads": 4},
    "latency": {
        **{"init_ms": 10.11, "warmup_first_ms": 3.87, "warmup_avg_ms": 3.45, "num_warmup_runs": 5},
        **{"avg_ms": 2.54, "min_ms": 2.24, "max_ms": 3.62, "median_ms": 2.37, "std_ms": 0.38},
        **{"p5_ms": 2.26, "p95_ms": 3.4, "num_runs": 50},
    },
    "throughput_mb_s": 20.78,
}


def test_printed_by_benchmark_model():
    found = phone.parse(PRINTED)
    assert found == {
        **{"source": "benchmark_model", "file": "cnn.tflite", "threads": 4, "runs": 50},
        **{"ms": 242, "init_ms": 92.318, "ms_std": 1.442, "ms_median": 241.5, "ms_p95": 253},
        **{"growth_mb": pytest.approx(73.5 * 1.048576), "peak_mb": pytest.approx(84.1482)},
        "size_bytes": 28_950_800,
    }


def test_an_older_benchmark_model_through_logcat():
    """No percentiles, no memory; a mean above a second is written with an exponent."""
    printed = (
        "07-08 15:34:26.201 I/tflite  ( 5395): count=1 curr=3512391\r\n"
        "07-08 15:34:26.201 I/tflite  ( 5395): count=50 first=2990275 curr=2913402 min=2727568 "
        "max=3189954 avg=2.95034e+06 std=109798\r\n"
        "07-08 15:34:26.202 I/tflite  ( 5395): Inference timings in us: Init: 17187, First "
        "inference: 3512391, Warmup (avg): 3.51239e+06, Inference (avg): 2.95034e+06\r\n"
    )
    assert phone.parse(printed) == {
        **{"source": "benchmark_model", "ms": 2950.34, "init_ms": 17.187},
        **{"runs": 50, "ms_std": 109.798},
    }


def test_only_the_line_with_the_times():
    line = next(line for line in PRINTED.splitlines() if "timings" in line)
    assert phone.parse(line) == {"source": "benchmark_model", "ms": 242, "init_ms": 92.318}


def test_memory_as_older_ones_call_it():
    found = phone.parse(f"{PRINTED}Peak memory footprint (MB): init=4.9 overall=138.8\n")
    assert found["growth_mb"] == pytest.approx(73.5 * 1.048576)
    old = PRINTED.replace("Memory footprint delta from the start of the tool (MB)", "Peak memory "
                          "footprint (MB)")  # fmt: skip
    assert phone.parse(old)["growth_mb"] == found["growth_mb"]


@pytest.mark.parametrize("camel", [False, True])
def test_the_result_message_as_json(camel):
    def named(content):
        if not isinstance(content, dict):
            return content
        words = {key: key.split("_") for key in content}
        return {
            first + "".join(word.capitalize() for word in rest) if camel else key: named(value)
            for (key, value), (first, *rest) in zip(content.items(), words.values(), strict=True)
        }

    found = phone.parse(json.dumps(named(RESULT)))
    assert found == {
        **{"source": "benchmark_model", "ms": 242, "ms_std": 1.442, "ms_median": 241.5},
        **{"ms_p95": 253, "runs": 50, "size_bytes": 28_950_800},
        **{"growth_mb": pytest.approx(73.5 * 1.048576), "peak_mb": pytest.approx(84.1482)},
    }


def test_the_json_of_litert_benchmark():
    assert phone.parse(json.dumps(LITERT, indent=2)) == {
        **{"source": "litert-benchmark", "file": "cnn.tflite", "threads": 4, "runs": 50},
        **{"ms": 2.54, "ms_median": 2.37, "ms_std": 0.38, "ms_p95": 3.4, "init_ms": 10.11},
        "size_bytes": round(4.03 * 1024**2),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no measurement"),
        ("adb: device not found", "'Inference timings in us: ...'"),
        (PRINTED.partition("INFO: Inference")[0], "no measurement"),
        (PRINTED * 2, "more than one measurement"),
        ("{}", "JSON of something else"),
        ('{"latency": 3}', "JSON of something else"),
        ('{"latency": {"p95_ms": 3}}', "damaged JSON"),
        ('{"latency": {"avg_ms": null, "num_runs": 1}}', "damaged JSON"),
        ('{"latency_metrics": {"avg_ms": "fast"}}', "damaged JSON"),
        ('{"latency_metrics": {}}', "damaged JSON"),
        ('{"latency', "damaged JSON"),
        ('{"latency_metrics": {"avg_ms": NaN}}', "no time"),
        ('{"latency_metrics": {"avg_ms": 0}}', "no time"),
    ],
)
def test_what_is_no_measurement(text, told):
    with pytest.raises(InputError, match=re.escape(told)):
        phone.parse(text)


def test_the_command_keeps_it(command, small_run, tmp_path):
    place = tmp_path / "run"
    place.mkdir()
    for file in ("run.json", "metrics.json"):
        (place / file).write_bytes((small_run.folder / file).read_bytes())
    (tmp_path / "out.txt").write_text(PRINTED)
    status, out, _ = command("device", place, tmp_path / "out.txt", "--name", "Pixel 8")
    assert status == 0
    assert "Pixel 8: 242.00 ms" in out
    kept = json.loads((place / "device.json").read_text())
    assert kept.pop("date")
    assert kept == phone.parse(PRINTED) | {"name": "Pixel 8"}
    (tmp_path / "out.txt").write_text("nothing")
    status, _, err = command("device", place, tmp_path / "out.txt")
    assert status == 2
    assert "out.txt: no measurement" in err
    assert json.loads((place / "device.json").read_text())["name"] == "Pixel 8"


def test_from_standard_input(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO(PRINTED))
    assert phone.store(tmp_path, "-", "phone")["ms"] == 242
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(InputError, match="standard input: no measurement"):
        phone.store(tmp_path, "-", "phone")


def test_a_binary_result_and_a_missing_file(tmp_path):
    (tmp_path / "result.pb").write_bytes(b"\x12\x0b\x0d\xd7\xa3\x90\x40")
    with pytest.raises(InputError, match="not text"):
        phone.store(tmp_path, str(tmp_path / "result.pb"), "phone")
    with pytest.raises(InputError, match="No such file"):
        phone.store(tmp_path, str(tmp_path / "other.txt"), "phone")
    with pytest.raises(InputError, match="cannot be read"):
        phone.store(tmp_path, str(tmp_path), "phone")

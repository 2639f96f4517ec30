"""A ``.tflite`` alone: its metadata, inputs to try it with, and files that cannot be used."""

import numpy as np
import pytest

from dslite.deployment import runtime
from tests.refusals import refusal


def test_attaching_is_repeatable_and_needs_no_other_reader():
    one, other = (runtime.attach(b"model" * 100, {"classes": ["a"]}) for _ in range(2))
    assert one == other
    assert one.startswith(b"model" * 100)


def test_an_example_has_the_inputs_shape_and_type(converted_run):
    mel = runtime.example_input(converted_run.folder / "cnn.tflite")
    assert (mel.dtype, mel.shape) == (np.uint8, (1, 32, 124))
    assert mel.min() < 5
    assert mel.max() > 250
    wave = runtime.example_input(converted_run.folder / "model.tflite")
    assert (wave.dtype, wave.shape) == (np.float32, (1, 32000))


BAD_SETTINGS = {"settings": {"units": 0}, "classes": [], "task": "x"}
NO_MODEL = {"settings": {}, "classes": ["a"], "task": "classification"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"TFL3" * 20, "holds no metadata"),
        (b"", "holds no metadata"),
        (runtime.attach(b"x", {"format": 99, "version": "9.9"}), "newer dslite (9.9)"),
        (runtime.attach(b"x", {"task": "classification"}), "is damaged"),
        (runtime.attach(b"x", BAD_SETTINGS), "is damaged"),
        (runtime.attach(b"x", NO_MODEL), "not a TensorFlow"),
    ],
    ids=["no-metadata", "empty", "newer", "no-settings", "bad-settings", "no-model"],
)
def test_a_file_that_cannot_be_used(tmp_path, refused, content, message):
    file = tmp_path / "some.tflite"
    file.write_bytes(content)
    error = refused("predict", file, "a.wav")
    assert "some.tflite" in error
    assert message in error


def test_what_cannot_be_run_is_named_with_the_reason(monkeypatch):
    reason = runtime.unusable(dict.fromkeys("xy", b"no model"))
    assert set(reason) == {"x", "y"}
    assert "model" in reason["x"].lower()
    monkeypatch.setattr(
        runtime, "_RUN", "for file in sys.argv[1:]: assert open(file).read() != 'b'"
    )
    assert runtime.unusable({name: name.encode() for name in "abc"}) == {"b": "AssertionError"}
    assert runtime.unusable({"a": b"a"}) == runtime.unusable({}) == {}


def test_variants_are_parsed():
    assert runtime.parse_variants("float32, int8") == ("float32", "int8")
    assert runtime.parse_variants("") == ()
    assert "did you mean 'int8'" in refusal(runtime.parse_variants, "int9")

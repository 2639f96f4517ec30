"""What a training tells: one line an epoch, and TensorBoard where it is installed."""

import sys

import pytest

from dslite.training import loop

ROW = {
    "epoch": 7,
    "phase": 1,
    "learning_rate": 0.001,
    "train_loss": 0.98765,
    "images_per_s": 123.4,
    "devel_loss": 1.2345,
    "devel_score": 0.4567,
    "seconds": 30.04,
}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (45, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (119, "2 min"),
        (720, "12 min"),
        (5300, "88 min"),
        (5399, "1 h 30 min"),
        (3 * 3600 + 5 * 60, "3 h 05 min"),
        (2 * 3600 - 1, "2 h 00 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_duration(seconds, said):
    assert loop.duration(seconds) == said


def test_a_line_of_a_classification():
    assert loop.line(ROW, 120, False) == (
        "phase 1 epoch   7/120  train loss 0.988  devel loss 1.234  devel UAR 45.7 %"
        "  123 images/s  30.0 s  57 min left"
    )


def test_a_line_of_a_regression():
    assert "  devel rho 0.457  " in loop.line(ROW, 120, True)
    assert "  devel rho nan  " in loop.line(ROW | {"devel_score": float("nan")}, 120, True)


def test_a_line_without_devel():
    row = {key: value for key, value in ROW.items() if not key.startswith("devel")}
    assert loop.line(row, 8, False) == (
        "phase 1 epoch   7/8  train loss 0.988  123 images/s  30.0 s  30 s left"
    )


def test_the_last_line_has_nothing_left():
    assert loop.line(ROW, 7, False).endswith("123 images/s  30.0 s")


def test_tensorboard_holds_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write = loop.tensorboard(tmp_path / "board")
    rows = [ROW, ROW | {"epoch": 8, "train_loss": 0.5, "devel_score": float("nan")}]
    for row in rows:
        write(row)
    found = EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    names = set(ROW) - {"epoch"}
    assert set(found.Tags()["tensors"]) == names
    for name in names:
        events = found.Tensors(name)
        assert [event.step for event in events] == [7, 8]
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in events]
        assert values == pytest.approx([row[name] for row in rows], rel=1e-6, nan_ok=True)


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
    pytest.importorskip("tensorboard")
    write = loop.tensorboard(tmp_path)
    write(ROW)
    (file,) = tmp_path.iterdir()
    assert b"devel_score" in file.read_bytes()


def test_without_tensorboard_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # not even imported
    write = loop.tensorboard(tmp_path / "board")
    assert write(ROW) is None
    assert not (tmp_path / "board").exists()

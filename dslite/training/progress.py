"""What a training tells while it runs: one line an epoch, and TensorBoard where it is installed."""

from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def line(row: Row, last: int, regression: bool) -> str:
    """One epoch in words.

    Parameters
    ----------
    row : dict
        A row of the history, see `dslite.training.fit.fit`.
    last : int
        Number of the last epoch planned. The time left is that of as many epochs like this one.
    regression : bool
    """
    text = (
        f"phase {row['phase']} epoch {row['epoch']:3d}/{last}  train loss {row['train_loss']:.3f}"
    )
    if "devel_score" in row:
        score = row["devel_score"]
        named = f"rho {score:.3f}" if regression else f"UAR {100 * score:.1f} %"
        text += f"  devel loss {row['devel_loss']:.3f}  devel {named}"
    text += f"  {row['images_per_s']:.0f} images/s  {row['seconds']:.1f} s"
    left = (last - row["epoch"]) * row["seconds"]
    return f"{text}  {duration(left)} left" if left else text


def tensorboard(folder: Path) -> Callable[[Row], None]:
    """A function that writes every number of a history's row for TensorBoard.

    It does nothing where the package is not installed (``pip install dslite[tensorboard]``).
    """
    if util.find_spec("tensorboard") is None:
        return lambda row: None
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def write(row: Row) -> None:
        with writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, float(value))
        writer.flush()

    return write

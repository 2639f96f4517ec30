"""The start of TensorFlow: without chatter, which no setting of its own turns off; its threads."""

import faulthandler
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dslite.errors import InputError


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what libraries write to file descriptor 2 to nowhere; Python's errors still raise.

    Where the process is killed by a fault, the signal and the line of Python are written to stderr.
    """
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    faults = not faulthandler.is_enabled()
    try:
        if faults:
            faulthandler.enable(stderr)
        os.dup2(nowhere, 2)
        yield
    finally:
        if faults:
            faulthandler.disable()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def import_tensorflow(threads: int = 0) -> None:
    """Import and start TensorFlow once, so that a log begins with what the user asked for.

    Its C++ parts print warnings before any log level applies. Call this before importing a module
    that uses TensorFlow; errors of the import are raised as ever. ``threads``: see `pin_threads`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm, outside of widgets
    with silent_stderr():
        import tensorflow as tf

        if threads:
            pin_threads(threads)
        tf.zeros(1)
    for name in ("tensorflow", "absl"):  # "Assets written to ..." and the like
        logging.getLogger(name).setLevel(logging.ERROR)


def pin_threads(threads: int) -> None:
    """Let an operation have so many threads, however many cores there are.

    InputError where TensorFlow was started with another number.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        if threads != (running := running_threads()):
            raise InputError(
                f"threads {threads}: TensorFlow has been started with {running} in this process; "
                "begin anew (restart the notebook's kernel)"
            ) from None


def running_threads() -> int:
    """Return how many threads one operation of TensorFlow has in this process."""
    import tensorflow as tf

    pinned = tf.config.threading.get_intra_op_parallelism_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return pinned or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or cores or 1

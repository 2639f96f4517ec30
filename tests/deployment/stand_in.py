"""Stands in for a trained network: its outputs are loudness. Files of noise, and the command."""

import os
import signal
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import soundfile

from dslite import paths
from dslite.deployment import predict
from dslite.settings import Settings

RATE = 16000
USED = Settings(sample_rate=RATE, chunk_length_s=1.0, chunk_hop_s=0.4, backbone="squeezenet")


def loudness(waveforms):
    """A chunk's loudness, and the rest to 1."""
    assert len(waveforms) <= predict.BATCH
    loud = np.sqrt(np.mean(waveforms.astype(np.float64) ** 2, axis=1))
    return np.stack([loud, 1 - loud], axis=1).astype(np.float32)


def predictor(outputs=loudness, classes=("loud", "quiet"), **changed):
    return predict.Predictor(USED.model_copy(update=changed), classes, outputs)


def noise(path, seconds=1.5, rate=RATE, channels=1, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(round(100 * seconds))
    envelope = np.linspace(0.05, 0.9, round(seconds * rate))[:, None]
    soundfile.write(path, envelope * rng.uniform(-1, 1, (len(envelope), channels)), rate, **how)
    return path


def without_metadata(file):
    """Content of a ``.tflite`` as the converter made it."""
    with zipfile.ZipFile(file) as archive:
        return file.read_bytes()[: archive.infolist()[0].header_offset]


def peak_memory(call):
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def started(*words, batches=10**9, **environment):
    """The command as a process, its output buffered; the model never ends after so many batches."""
    script = (
        "import time\nfrom dslite import cli\nfrom dslite.deployment import predict\n"
        "from tests.deployment.stand_in import loudness, predictor\n"
        "calls = []\n"
        "def outputs(waveforms):\n"
        "    calls.append(1)\n"
        f"    time.sleep(600 if len(calls) > {batches} else 0)\n"
        "    return loudness(waveforms)\n"
        "predict.load_model = lambda place: predictor(outputs)\n"
        "cli.run()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=paths.ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": ""} | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

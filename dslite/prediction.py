"""Predicting audio files with a finished run."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from dslite import evaluation, loader, model, runs
from dslite.errors import InputError


def files(place: str | Path, audio: list[Path]) -> pd.DataFrame:
    """Predict audio files: chunks as in training, fused per file.

    Parameters
    ----------
    place : path
        A run's folder or its ``model.keras``.
    audio : list of path
        Any format, rate and number of channels that soundfile reads.

    Returns
    -------
    DataFrame
        Columns file, prediction and one probability a class (or only file and prediction).

    Raises
    ------
    InputError
        No finished run there, or a file that cannot be read.
    """
    run = runs.load(place)
    saved = run.folder / "model.keras"
    if not saved.is_file():
        raise InputError(f"{run.folder}: this run has no model.keras (a baseline keeps none)")
    network = keras.models.load_model(saved, compile=False)
    # Every file yields at least one chunk here: dropping what a user asked for helps nobody.
    settings = run.settings.model_copy(update={"tail": "keep"})
    mel, file = loader.read_mel([Path(path) for path in audio], settings)
    predict = model.predictor(network, settings)
    outputs = np.concatenate([predict(mel[i : i + 64]).numpy() for i in range(0, len(mel), 64)])
    fused = evaluation.fuse(outputs, file, settings.fusion)
    table = pd.DataFrame({"file": [str(path) for path in audio]})
    if run.task == "regression":
        return table.assign(prediction=fused[:, 0])
    table["prediction"] = np.asarray(run.classes)[fused.argmax(axis=1)]
    return table.join(pd.DataFrame(fused, columns=list(run.classes)))

"""One partition's chunk scores -> metrics and a table of predictions, file by file."""

from typing import Any

import numpy as np
import pandas as pd

from dslite.cards import Card
from dslite.evaluation import metrics as evaluation_metrics
from dslite.settings import Settings


def predictions_table(
    files: pd.DataFrame, rows: np.ndarray, scores: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """One row a file: path, speaker, partition, label, prediction and one column an output.

    Parameters
    ----------
    files : DataFrame
        The manifest's table.
    rows : ndarray of int64, shape [n]
        Which of its rows the scores belong to.
    scores : ndarray of float, shape [n, outputs]
        Fused over each file's chunks.
    classes : tuple of str
        Empty for a regression.
    """
    chosen = files.iloc[rows]
    table = pd.DataFrame(
        {
            "file": chosen["path"].to_numpy(),
            "speaker": chosen["speaker"].to_numpy(),
            "partition": chosen["partition"].to_numpy(),
            "label": chosen["label"].to_numpy(),
        }
    )
    if classes:
        table["prediction"] = np.asarray(classes)[scores.argmax(axis=1)]
        return table.join(pd.DataFrame(scores.round(6), columns=list(classes)))
    return table.assign(prediction=scores[:, 0].round(6))


def score(
    store_files: pd.DataFrame,
    card: Card,
    settings: Settings,
    chunk_file: np.ndarray,
    scores: np.ndarray,
    seed: int,
) -> tuple[dict[str, Any] | None, pd.DataFrame]:
    """Evaluate one partition's chunk scores at chunk and at file level.

    Parameters
    ----------
    store_files : DataFrame
        The manifest's table.
    card, settings
        Of the run.
    chunk_file : ndarray of int64, shape [chunks]
        The manifest row of each chunk.
    scores : ndarray of float32, shape [chunks, outputs]
    seed : int
        Of the bootstrap.

    Returns
    -------
    metrics : dict or None
        None where labels are blinded.
    predictions : DataFrame
        See `predictions_table`.
    """
    rows, file = np.unique(chunk_file, return_inverse=True)
    fused = evaluation_metrics.fuse(scores, file, settings.fusion)
    table = predictions_table(store_files, rows, fused, card.classes)
    text = store_files["label"].iloc[rows]
    if (text == "").any():
        return None, table
    if card.task == "regression":
        labels = pd.to_numeric(text).to_numpy(float)
    else:
        labels = text.map({c: i for i, c in enumerate(card.classes)}).to_numpy(int)
    metrics = evaluation_metrics.evaluate(
        labels[file],
        scores,
        file,
        store_files["speaker"].iloc[rows].tolist(),
        list(card.classes),
        task=card.task,
        fusion=settings.fusion,
        draws=settings.bootstrap_draws,
        seed=seed,
    )
    return metrics, table

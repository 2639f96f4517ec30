"""SHAP on spectrogram images: what a model listens to (paper 3.5, Figure 2)."""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import shap
import tensorflow as tf
from matplotlib.figure import Figure

from dslite import backbones, loader, model, plots, runs, spectrogram
from dslite.loader import Store
from dslite.settings import Settings


@dataclass(frozen=True)
class Explanation:
    """SHAP values of one chunk for one output.

    Attributes
    ----------
    picture : ndarray of float32, shape [image_size, image_size, 3]
        RGB from 0 to 255.
    values : ndarray of float64, shape [image_size, image_size]
        Summed over the colour channels; positive raises the output.
    base, output : float
        Output of the masked and of the whole picture; the values sum to their difference.
    """

    picture: np.ndarray
    values: np.ndarray
    base: float
    output: float


def load_network(run: runs.Run) -> keras.Model:
    """The final model of a run."""
    return model.load(run.folder / "model.keras")


def samples(
    run: runs.Run, store: Store, network: keras.Model, partition: str = "test"
) -> pd.DataFrame:
    """One chunk a class by rule: the most confident correct file, and its most confident chunk.

    Parameters
    ----------
    run : Run
    store : Store
    network : keras.Model
    partition : str

    Returns
    -------
    DataFrame
        One row a class (one row in all for a regression: the highest prediction): columns
        chunk, file, true, predicted, output (its position), probability, start_s. A class none
        of whose files was recognised is shown by the file that came closest.
    """
    outputs = model.predictor(network, run.settings)
    table = run.predictions
    table = table[table["partition"] == partition]
    positions = dict(zip(store.files["path"], range(len(store.files)), strict=True))
    rows = []
    for output, name in enumerate(run.classes or ("value",)):
        if run.classes:
            known = table[table["label"] == name]
            candidates = known if len(known) else table[table["prediction"] == name]
            if not len(candidates):
                continue
            correct = candidates["prediction"] == name
            ranked = candidates.assign(correct=correct).sort_values(
                ["correct", name, "file"], ascending=[False, False, True], kind="stable"
            )
            best = ranked.iloc[0]
        else:
            best = table.loc[pd.to_numeric(table["prediction"]).idxmax()]
        chunks = np.flatnonzero(store.file == positions[best["file"]])
        scores = loader.predict(outputs, store.mel, chunks)
        chosen = int(scores[:, output].argmax())
        predicted = run.classes[scores[chosen].argmax()] if run.classes else best["prediction"]
        rows.append(
            {
                "chunk": int(chunks[chosen]),
                "file": best["file"],
                "true": best["label"],
                "predicted": predicted,
                "output": output,
                "probability": float(scores[chosen, output]),
                "start_s": float(store.start_s[chunks[chosen]]),
            }
        )
    return pd.DataFrame(rows)


def partition_shap(
    network: keras.Model,
    settings: Settings,
    mel: np.ndarray,
    outputs: list[int],
    evaluations: int = 500,
    batch: int = 32,
) -> list[Explanation]:
    """SHAP's Partition explainer with an image masker that paints regions in the mean colour.

    Parameters
    ----------
    network : keras.Model
    settings : Settings
    mel : ndarray of uint8, shape [n, mel_bands, frames]
    outputs : list of int, length n
        Which output of the model to explain for each chunk.
    evaluations : int
        Masked pictures a chunk; more make the regions smaller.
    batch : int
        Pictures a call of the model.

    Returns
    -------
    list of Explanation
    """
    scale = backbones.BACKBONES[settings.backbone].scale
    side = settings.image_size

    @tf.function(
        input_signature=[tf.TensorSpec([None, side, side, 3], tf.float32)], autograph=False
    )
    def compiled(pictures):
        return network(scale(pictures), training=False)

    def evaluate(pictures: np.ndarray) -> np.ndarray:
        return compiled(np.asarray(pictures, np.float32)).numpy()

    pictures = spectrogram.picture(tf.constant(mel), settings).numpy()
    explained = []
    for picture, output in zip(pictures, outputs, strict=True):
        mean = np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape)
        masker = shap.maskers.Image(np.ascontiguousarray(mean), picture.shape)
        explainer = shap.PartitionExplainer(evaluate, masker)
        found = explainer(
            picture[None],
            max_evals=evaluations,
            batch_size=batch,
            outputs=np.array([output]),
            silent=True,
        )
        values = np.asarray(found.values)[0].reshape(*picture.shape, -1)[..., 0].sum(axis=-1)
        base = float(np.ravel(found.base_values)[0])
        whole = float(evaluate(picture[None])[0, output])
        explained.append(Explanation(picture, values, base, whole))
    return explained


def additivity_error(explained: list[Explanation]) -> float:
    """Largest difference between base + sum of the SHAP values and the model's output."""
    return max(abs(e.base + float(e.values.sum()) - e.output) for e in explained)


def rows(explained: list[Explanation], titles: list[str]) -> list[dict]:
    """Explanations as `dslite.pictures.shap_figure` takes them."""
    return [
        {
            "image": e.picture / 255,
            "values": e.values,
            "title": title,
            "base": e.base,
            "output": e.output,
        }
        for e, title in zip(explained, titles, strict=True)
    ]


def outcome_figures(run: runs.Run) -> dict[str, Figure]:
    """Figure 3 for devel and test, where labelled: confusion matrices, or true and predicted.

    Returns
    -------
    dict
        File name without suffix -> figure.
    """
    figures = {}
    predictions = run.predictions
    for partition in ("devel", "test"):
        metrics = run.metrics[partition]
        if metrics is None:
            continue
        if run.task == "classification":
            title = f"{partition}: UAR {100 * metrics['file']['score']:.1f} %"
            matrix = np.array(metrics["file"]["confusion"])
            figures[f"confusion_{partition}"] = plots.confusion_matrix(matrix, run.classes, title)
        else:
            own = predictions[predictions["partition"] == partition]
            true, predicted = (own[c].astype(float).to_numpy() for c in ("label", "prediction"))
            score = metrics["file"]["score"]
            title = f"{partition}: rho {'undefined' if score is None else f'{score:.3f}'}"
            figures[f"predicted_{partition}"] = plots.predicted_against_true(true, predicted, title)
    return figures

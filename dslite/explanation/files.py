"""Single files explained by a finished run: seen over the spectrogram, and heard."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import audio
from dslite.errors import InputError
from dslite.explanation import attributions, listen, methods
from dslite.explanation.methods import Explanation, Subject
from dslite.features import spectrogram
from dslite.features.store import Store
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs

CONFIDENT, MEDIAN, WRONG = "most confident correct", "median correct", "most confident wrong"
UNKNOWN = ("most confident", "median")  # labels are blinded: nothing is right or wrong
VALUES = ("highest prediction", "median prediction", "largest error")  # of a regression
COLUMNS = ("file", "rule", "true", "predicted", "probability")


def by_rule(run: runs.Run, partition: str = "test") -> pd.DataFrame:
    """Per class the most confident correct file, the median correct one, the most confident wrong.

    Confidence is the file's probability of the class that was predicted for it, as it stands in
    ``predictions.csv``; of equal ones the first name counts. The median of an even number is the
    more confident of the two in the middle.

    Parameters
    ----------
    run : Run
    partition : str

    Returns
    -------
    DataFrame
        Columns file, rule, true, predicted and probability, class by class in the card's order; a
        rule that no file fits, or only one that another rule has shown already, has no row.
        Where labels are blinded, true is empty and the rules are "most confident" and "median" of
        the files that were taken for the class. Of a regression: the highest and the median
        prediction, and the largest error, the prediction in place of the probability.
    """
    table = run.predictions
    table = table[table["partition"] == partition].sort_values("file", kind="stable")
    rows = []
    if run.task == "regression":
        rows = _of_values(table)
    for name in run.classes:
        rows += _of_class(table, name, list(run.classes))
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.drop_duplicates("file").reset_index(drop=True)


def _of_class(table: pd.DataFrame, name: str, classes: list[str]) -> list[tuple]:
    scores = table[classes].astype(float).to_numpy()
    confident = table.assign(probability=scores.max(axis=1))
    confident = confident.sort_values("probability", ascending=False, kind="stable")
    taken, own = confident["prediction"] == name, confident["label"] == name
    rules = (CONFIDENT, MEDIAN)
    if (table["label"] == "").all():
        own, rules = taken, UNKNOWN
    right, wrong = confident[own & taken], confident[own & ~taken]
    rows = []
    if len(right):
        middle = right.iloc[(len(right) - 1) // 2]
        rows += [_row(right.iloc[0], rules[0]), _row(middle, rules[1])]
    if len(wrong):
        rows.append(_row(wrong.iloc[0], WRONG))
    return rows


def _row(found: pd.Series, rule: str) -> tuple:
    return (found["file"], rule, found["label"], found["prediction"], float(found["probability"]))


def _of_values(table: pd.DataFrame) -> list[tuple]:
    if table.empty:
        return []
    predicted = table["prediction"].astype(float)
    table = table.assign(probability=predicted)
    ranked = table.sort_values("probability", ascending=False, kind="stable")
    chosen = [ranked.iloc[0], ranked.iloc[(len(ranked) - 1) // 2]]
    error = (predicted - pd.to_numeric(table["label"], errors="coerce")).abs()
    if error.notna().any():
        chosen.append(table.loc[error.idxmax()])
    return [_row(row, rule) for row, rule in zip(chosen, VALUES, strict=False)]


def drawn_files(
    labels: Sequence[str] | np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Positions of up to ``count`` items, the same number of each label as far as they last.

    int64, ascending. Without labels (all the same) it is a plain draw.
    """
    labels = np.asarray(labels)
    turn = np.empty(len(labels), np.int64)  # an item's place among those of its own label
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own] = rng.permutation(len(own))
    return np.sort(np.lexsort((rng.permutation(len(labels)), turn))[:count])


BACKGROUND = 50  # training pictures, the same number of each class, for expected gradients


@dataclass(frozen=True)
class Heard:
    """One file and what the network heard in it, its chunks joined on one time axis.

    Attributes
    ----------
    name, rule, true, predicted : str
        ``true`` is empty where it is unknown.
    probability : float
        Of the predicted class, the mean over the chunks; the prediction of a regression.
    waveform : ndarray of float32, shape [samples]
        What the chunks were cut from.
    sample_rate : int
    picture : ndarray of float32, shape [image_size, columns, 3]
        RGB from 0 to 255.
    seconds : float
        That the picture lasts; longer than the waveform, if this is shorter than a chunk.
    explained : dict of Explanation
        By class: its values [image_size, columns], base and output are those of the whole file.
    """

    name: str
    rule: str
    true: str
    predicted: str
    probability: float
    waveform: np.ndarray
    sample_rate: int
    picture: np.ndarray
    seconds: float
    explained: dict[str, Explanation]


def model_file(run: runs.Run) -> Path:
    """A run's final model; InputError for a run that keeps none."""
    saved = run.folder / "model.keras"
    if not saved.is_file():
        raise InputError(f"{run.folder}: this run has no model.keras (a baseline keeps none)")
    return saved


def subject(run: runs.Run, store: Store, masker: str = "mean", seed: int = 0) -> Subject:
    """The final model of a run, ready to be explained.

    Its background are training pictures, the same number of each class, drawn with ``seed``.
    """
    network = classifier.load_classifier(model_file(run))
    chunks = store.chunks("train")
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    labels = labels if run.classes else np.zeros(len(chunks))
    chosen = chunks[drawn_files(labels, BACKGROUND, np.random.default_rng(seed))]
    pictures = spectrogram.picture(tf.constant(store.mel[chosen]), run.settings).numpy()
    return Subject(network, run.settings, masker, pictures)


def named(store: Store, files: Sequence[str]) -> pd.DataFrame:
    """Files that a user names, as `samples.by_rule` has them.

    Parameters
    ----------
    store : Store
    files : sequence of str
        Paths as in the manifest, or of any other audio file.

    Raises
    ------
    InputError
        There is no such file, neither in the corpus nor elsewhere.
    """
    known = dict(zip(store.files["path"], store.files["label"], strict=True))
    rows = []
    for file in files:
        if file not in known and not Path(file).is_file():
            # A corpus may have thousands: without one that is like it, one as an example.
            like = difflib.get_close_matches(file, known, n=1) or list(known)[:1]
            raise InputError(
                f"{file}: neither a file of the corpus nor another one; "
                f"the corpus has, for instance, '{like[0]}'"
            )
        rows.append((file, "", known.get(file, ""), "", float("nan")))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def hear(
    run: runs.Run,
    store: Store,
    subject: Subject,
    chosen: pd.DataFrame,
    *,
    method: str = "partition",
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> list[Heard]:
    """Explain whole files: their predicted class and, where it is another one, the true class.

    Parameters
    ----------
    run, store, subject
        Of the same run.
    chosen : DataFrame
        Of `samples.by_rule` or `named`.
    method : str
        One of `explanation.METHODS`.
    evaluations, seed
        Of the method.
    log : callable
        Is told of each file.
    """
    compute = spectrogram.compiled_mel_image(run.settings)
    known = set(store.files["path"])
    found = []
    for row in chosen.itertuples():
        path = store.folder / row.file if row.file in known else Path(row.file)
        # As in prediction: what a user asks for is not dropped for being short.
        settings = run.settings.model_copy(update={"tail": "keep"})
        clip = audio.clip(path, settings)
        cut = audio.cut(clip.waveform, clip.starts, settings.chunk_samples)
        starts_s = clip.starts / settings.sample_rate
        pictures = subject.pictures(compute(cut).numpy())
        log(f"explaining {row.file}: {len(cut)} chunk{'s' if len(cut) > 1 else ''}")
        scores = subject.outputs(pictures).mean(axis=0)
        names = run.classes or ("prediction",)
        best = int(scores.argmax())
        outputs = [best]
        if row.true in names and row.true != names[best]:
            outputs.append(names.index(row.true))
        parts = [
            methods.explain(method, subject, picture, outputs, evaluations, seed)
            for picture in pictures
        ]
        stitched = attributions.stitch_pictures(pictures, starts_s, settings.chunk_length_s)
        found.append(
            Heard(
                name=row.file,
                rule=row.rule,
                true=row.true,
                predicted=names[best] if run.classes else f"{scores[0]:.4g}",
                probability=float(scores[best]),
                waveform=clip.waveform,
                sample_rate=settings.sample_rate,
                picture=stitched,
                seconds=stitched.shape[1] * settings.chunk_length_s / settings.image_size,
                explained={
                    names[output]: joined([part[i] for part in parts], starts_s, settings)
                    for i, output in enumerate(outputs)
                },
            )
        )
    return found


def joined(parts: Sequence[Explanation], starts_s: np.ndarray, settings: Settings) -> Explanation:
    """Explanation of a file's score, the mean over its chunks, from those of the chunks."""
    values = np.stack([part.values for part in parts])
    return Explanation(
        attributions.stitch_values(values, starts_s, settings.chunk_length_s),
        float(np.mean([part.base for part in parts])),
        float(np.mean([part.output for part in parts])),
    )


def rows(heard: Sequence[Heard]) -> list[dict]:
    """Explained files as `dslite.explanation.plots.figure` takes them."""
    return [
        {
            "image": one.picture / 255,
            "seconds": one.seconds,
            "title": title(one),
            "panels": [(_caption(name, part), part.values) for name, part in one.explained.items()],
        }
        for one in heard
    ]


def title(heard: Heard) -> str:
    """Of a picture: true and predicted class with its probability, and the file."""
    said = heard.predicted
    if heard.predicted in heard.explained:
        said += f" ({heard.probability:.2f})"
    true = f"{heard.true}, " if heard.true else ""
    return f"{true}predicted {said}\n{heard.name}"


def _caption(name: str, part: Explanation) -> str:
    whole = f"output {part.output:.2f}"
    start = "" if np.isnan(part.base) else f"expected {part.base:.2f}, "
    return f"for {name}\n{start}{whole}"


def split(heard: Heard, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The clip with only what raised its predicted class most, and the clip without it.

    The 20 % of the picture with the highest positive values; float32 [samples] each.
    """
    values = next(iter(heard.explained.values())).values
    return listen.split(
        heard.waveform,
        listen.top_regions(values),
        spectrogram.mel_frequencies(settings),
        settings.sample_rate,
        settings.window_ms / 1000,
        heard.seconds,
    )


def examples(store: Store, confusions: pd.DataFrame, settings: Settings) -> Iterator[np.ndarray]:
    """The clips, float32 [samples], that `dslite.evaluation.confusion.confusions` names, in its order."""
    for file in confusions["file"]:
        yield audio.clip(store.folder / file, settings).waveform

"""Scores of predictions: arrays in, numbers out.

The paper's measure is the unweighted average recall (UAR) of whole files with a 95 % bootstrap
interval (3.3). Every share is a fraction, 0 to 1; a table or a figure turns it into per cent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite.cards import Card
from dslite.errors import InputError
from dslite.settings import Settings

Interval = tuple[float, float]
LEVEL = 0.95  # of every interval
FEWEST = 5  # speakers that an interval is taken from; four points say more than their wide one
DIGITS = 9  # of a file's class scores behind the point: the largest written is what is predicted
VOTE_TIE = 1e-6  # weight of the mean in a vote: breaks ties of files of up to a million chunks


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the files of every true (row) and predicted class (column): int64 [C, C].

    Takes class indices int [files].
    """
    for indices in map(np.asarray, (labels, predictions)):
        if indices.size == 0 or indices.min() < 0 or indices.max() >= n_classes:
            raise ValueError(f"expected class indices 0 to {n_classes - 1}, found {indices!r}")
    from sklearn import metrics  # here: a prediction alone needs none of it

    counts = metrics.confusion_matrix(labels, predictions, labels=np.arange(n_classes))
    return counts.astype(np.int64)


def _recalls(matrices: np.ndarray) -> np.ndarray:
    """Recalls [..., classes] of confusion matrices [..., classes, classes]; NaN for empty rows."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1).astype(np.float64)
    files = matrices.sum(axis=-1)
    return np.divide(right, files, out=np.full(right.shape, np.nan), where=files > 0)


def recalls(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Compute the share of every class's files that were recognised, float64 [C]; NaN of no files.

    Examples
    --------
    >>> recalls([0, 0, 1, 1], [0, 1, 1, 1], 2).tolist()
    [0.5, 1.0]
    """
    return _recalls(confusion_matrix(labels, predictions, n_classes))


def uar(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> float:
    """Compute the unweighted average recall over the classes that occur (balanced accuracy).

    Examples
    --------
    >>> uar([0, 0, 1, 1], [0, 1, 1, 1], 2)
    0.75
    """
    return float(np.nanmean(recalls(labels, predictions, n_classes)))


def fuse(scores: np.ndarray, files: np.ndarray, fusion: str = "mean") -> np.ndarray:
    """Fuse the scores of a file's chunks, float [chunks, C], into the file's: float64 [files, C].

    ``files``, int [chunks], is the file of every chunk, 0 to files - 1. Fusion is the "mean" over
    a file's chunks, or by "vote" every class's share of the chunks whose largest score it is: a
    millionth of the weight lies on the mean, which breaks ties and changes no other order. Classes
    whose means agree to `DIGITS` are equal, and the first of them is what is predicted.
    """
    scores, files = np.asarray(scores, dtype=np.float64), np.asarray(files)
    if fusion not in ("mean", "vote"):
        raise InputError(f"fusion '{fusion}': there is 'mean' and 'vote'")
    if fusion == "vote" and scores.shape[1] == 1:
        raise InputError("fusion 'vote' needs classes; use fusion=mean for regression")
    chunks = np.bincount(files)

    def mean(of_chunks: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(chunks), scores.shape[1]))
        np.add.at(sums, files, of_chunks)
        means = sums / chunks[:, None]
        return means if means.shape[1] == 1 else means.round(DIGITS)

    if fusion == "mean":
        return mean(scores)
    votes = np.eye(scores.shape[1])[scores.argmax(axis=1)]
    return ((1 - VOTE_TIE) * mean(votes) + VOTE_TIE * mean(scores)).round(DIGITS + 6)


def by_seed(
    predictions: pd.DataFrame, classes: Sequence[str], where: str, by: Sequence[str] = ("seed",)
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Lay the rows ``file, seed, label, prediction`` of labelled files out, in the files' order.

    Returns a row of each file, labels int [files] and predictions int [seeds, files]; what is none
    of the ``classes`` is -1. Raises an InputError where two seeds predict other files or labels.
    """
    rows = predictions[predictions["label"].astype(str) != ""]
    wide = rows.pivot(index=["file", "label"], columns=list(by), values="prediction")
    wide = wide.sort_index(axis=0).sort_index(axis=1)  # pivot leaves several keys as they come
    if wide.isna().any(axis=None):
        raise InputError(
            f"{where}: predictions of other files or labels; repeat the runs that were made before "
            "the corpus changed"
        )
    files = rows.drop_duplicates("file").set_index("file").loc[wide.index.get_level_values("file")]
    codes = pd.Index(classes).get_indexer
    return files, codes(files["label"]), codes(wide.to_numpy().T.ravel()).reshape(wide.shape[::-1])


def share_right(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Compute the share of the seeds that recognise each file: float64 [files]."""
    return (np.atleast_2d(predictions) == labels).mean(axis=0)


def _percentiles(draws: np.ndarray) -> Interval | None:
    """Percentile interval of the draws in which the score is defined."""
    if np.isnan(draws).all():
        return None
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    n_classes: int,
    draws: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Compute the 95 % percentile interval of the UAR by drawing files (paper 3.3): low and high.

    Takes labels int [files] and predictions int [files], or [seeds, files] for the mean of their
    UARs: a draw takes the same files for all, and a recall is linear in each file's share of seeds
    that recognise it. None of fewer than two files. A class absent from a draw is left out of that
    draw's mean. For other speakers: `speaker_interval`.

    Examples
    --------
    >>> low, high = bootstrap_interval([0, 1] * 50, [0, 1] * 40 + [0, 0] * 10, 2)
    >>> low < uar([0, 1] * 50, [0, 1] * 40 + [0, 0] * 10, 2) < high
    True
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    for of_seed in np.atleast_2d(predictions):
        confusion_matrix(labels, of_seed, n_classes)  # refuses what is no class
    if len(labels) < 2:
        return None
    # Only the number of times that a file was drawn matters, and these numbers are multinomial.
    # Files with the same label and predictions are interchangeable and drawn together.
    if predictions.ndim == 1:
        unit = labels * n_classes + predictions
        shares = np.bincount(unit, minlength=n_classes**2) / len(labels)
    else:
        columns = np.column_stack([labels, *predictions])
        unit = np.unique(columns, axis=0, return_inverse=True)[1]
        shares = np.bincount(unit) / len(labels)
    files, hits = np.zeros((2, len(shares), n_classes))
    files[unit, labels], hits[unit, labels] = 1, share_right(labels, predictions)
    times_drawn = np.random.default_rng(seed).multinomial(len(labels), shares, size=draws)
    drawn, recognised = times_drawn @ files, times_drawn @ hits
    recalls = np.divide(recognised, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    return _percentiles(np.nanmean(recalls, axis=1))


def over_speakers(
    score: Callable[[np.ndarray], float], speakers: Sequence[str] | np.ndarray
) -> Interval | None:
    """Compute the 95 % interval of a score for other speakers, whose files are not independent.

    ``score`` gets the files to be scored, bool [files]; ``speakers`` [files] are the units. None of
    fewer than `FEWEST` speakers or where the score is undefined without one of them.

    Notes
    -----
    Student's t with the standard error of the jackknife, which leaves out one speaker at a time
    (Tukey 1958, 10.1214/aoms/1177706647). Of speakers with equally many files of every class it is
    the t interval of the mean of their own UARs. Draws of few speakers spread too little:
    ``results/benchmarks/coverage.md`` shows how often each kind of interval holds the true score.

    Examples
    --------
    >>> values = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    >>> low, high = over_speakers(lambda files: values[files].mean(), list("abcde"))
    >>> round(low, 3), round(high, 3)
    (0.504, 0.896)
    """
    from scipy.stats import t  # here: half a second that a prediction should not wait for

    names, of = np.unique(speakers, return_inverse=True)
    n = len(names)
    if n < FEWEST:
        return None
    without = np.array([score(of != i) for i in range(n)])
    error = np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))
    middle, half = score(of >= 0), t.ppf((1 + LEVEL) / 2, n - 1) * error
    return None if np.isnan(middle + half) else (float(middle - half), float(middle + half))


def _within(interval: Interval | None, least: float) -> Interval | None:
    """An interval cut to what a score can be: Student's t knows no bounds."""
    return interval and (max(least, interval[0]), min(1.0, interval[1]))


def speaker_interval(
    labels: np.ndarray, predictions: np.ndarray, speakers: Sequence[str] | np.ndarray
) -> Interval | None:
    """Compute the interval of the UAR `over_speakers`: where it may lie for others.

    Takes arrays as `bootstrap_interval`. Of too few speakers `uar_by_group` gives what there is to
    see.
    """
    labels, right = np.asarray(labels), share_right(labels, predictions)

    def mean_recall(files: np.ndarray) -> float:
        counts = np.bincount(labels[files])
        hits = np.bincount(labels[files], right[files])
        return (hits[counts > 0] / counts[counts > 0]).mean()

    return _within(over_speakers(mean_recall, speakers), 0.0)


def speaker_recalls(
    labels: np.ndarray, predictions: np.ndarray, n_classes: int, speakers: np.ndarray
) -> list[Interval | None]:
    """Compute the interval of every class's recall `over_speakers`, those that have files of it."""
    labels, speakers = np.asarray(labels), np.asarray(speakers)
    right, of_class = share_right(labels, predictions), [labels == k for k in range(n_classes)]
    parts = [(right[files], speakers[files]) for files in of_class]
    return [_within(over_speakers(lambda f, of=of: of[f].mean(), who), 0.0) for of, who in parts]


def uar_by_group(labels: np.ndarray, predictions: np.ndarray, groups: Sequence[str]) -> pd.Series:
    """Compute each speaker's own UAR, over the classes that they have files of, by name.

    Takes predictions int [files], or [seeds, files] for the mean over them.

    Examples
    --------
    >>> uar_by_group([0, 1, 0], [0, 0, 0], ["ann", "ann", "bob"]).to_dict()
    {'ann': 0.5, 'bob': 1.0}
    """
    labels = np.asarray(labels)
    right = pd.Series(share_right(labels, predictions))
    return right.groupby([np.asarray(groups), labels]).mean().groupby(level=0).mean()


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Compute the mean distance of probabilities [n] and the share of ``right`` ones, within bins.

    The expected calibration error of the predicted classes (Guo et al. 2017).

    Examples
    --------
    >>> round(calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 1, 1, 0])), 3)
    0.1
    """
    place = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    distance = np.bincount(place, np.asarray(right) - probabilities, minlength=bins)
    return float(np.abs(distance).sum() / len(probabilities))


def rho(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Compute Spearman's rank correlation of float [files]; NaN where one side is constant."""
    from scipy.stats import rankdata

    return _pearson(rankdata(np.stack([labels, predictions]), axis=1))


def _pearson(pair: np.ndarray) -> float:
    """Pearson's correlation of two rows; NaN where one is constant."""
    if (pair == pair[:, :1]).all(axis=1).any():
        return float("nan")
    return float(np.corrcoef(pair)[0, 1])


def bootstrap_interval_rho(
    labels: np.ndarray, predictions: np.ndarray, draws: int = 1000, seed: int = 0
) -> Interval | None:
    """Compute the interval of `rho`, as `bootstrap_interval` does; constant draws are left out."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    n, rng = len(labels), np.random.default_rng(seed)
    if n < 2:
        return None
    drawn = []
    for _ in range(draws):
        files = np.repeat(np.arange(n), np.bincount(rng.integers(n, size=n), minlength=n))
        drawn.append(rho(labels[files], predictions[files]))
    return _percentiles(np.array(drawn))


def speaker_interval_rho(
    labels: np.ndarray, predictions: np.ndarray, speakers: Sequence[str] | np.ndarray
) -> Interval | None:
    """Compute the interval of `rho` `over_speakers`."""
    pair = np.stack([labels, predictions])
    return _within(over_speakers(lambda files: rho(*pair[:, files]), speakers), -1.0)


def _plain(value: Any) -> Any:
    """The value as JSON knows it: no numpy type, no tuple, None for what is undefined."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def known_speakers(speakers: Sequence[str] | None) -> np.ndarray | None:
    """Return the speakers [files], or None if the speaker of any file is unknown."""
    names = [] if speakers is None else list(speakers)
    return np.array(names) if names and all(map(str.strip, names)) else None


def _measures(labels: np.ndarray, scores: np.ndarray, task: str) -> dict[str, Any]:
    """Measures of files or chunks alike, from labels [n] and scores [n, C]."""
    if task == "regression":
        pair = np.stack([labels, scores[:, 0]]).astype(np.float64)
        error, (one, other) = pair[1] - pair[0], pair.mean(axis=1)
        covariance = np.mean((pair[0] - one) * (pair[1] - other))
        spread = pair[0].var() + pair[1].var() + (one - other) ** 2
        return {
            **{"n": len(labels), "score": rho(*pair), "pearson": _pearson(pair)},
            # Concordance correlation (Lin 1989, 10.2307/2532051)
            "ccc": 2 * covariance / spread if spread > 0 else np.nan,
            **{"mae": np.abs(error).mean(), "rmse": np.sqrt(np.mean(error**2))},
        }
    matrix = confusion_matrix(labels, scores.argmax(axis=1), scores.shape[1])
    return {"n": len(labels), "score": np.nanmean(_recalls(matrix)), "confusion": matrix}


def evaluate(
    labels: np.ndarray,
    scores: np.ndarray,
    files: np.ndarray,
    speakers: Sequence[str] | None,
    classes: Sequence[str],
    *,
    task: str = "classification",
    fusion: str = "mean",
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute everything a run records about one partition, ready for JSON.

    Takes the label of every chunk (class index, or the number to predict; the same in all chunks
    of a file), scores, files and fusion as `fuse`, and the speakers, str [files], None or an empty
    name where they are unknown.

    Returns
    -------
    dict
        ``metric`` ("uar", "spearman"), ``chance``, ``absent`` (classes without a file, if there
        are any: score and chance are of the others), and for ``file`` and ``chunk`` ``n`` and
        ``score``; classification: ``confusion``; regression, whose score is Spearman's rho:
        ``pearson``, ``ccc``, and in the label's unit ``mae`` and ``rmse``. ``file`` also has
        ``score_mean``, ``score_vote``, ``interval_files``, ``interval_speakers`` (None below
        `FEWEST` ``speakers``) and the ``recall`` of every class; None where undefined or unknown.

    Examples
    --------
    >>> result = evaluate([0, 1], [[0.9, 0.1], [0.6, 0.4]], [0, 1], None, ["no", "yes"])
    >>> result["metric"], result["file"]["score"], result["file"]["confusion"]
    ('uar', 0.5, [[1, 0], [1, 0]])
    """
    labels, scores, files = np.asarray(labels), np.asarray(scores), np.asarray(files)
    regression = task == "regression"
    if not np.isfinite(scores).all():
        raise InputError("the scores are not finite: training diverged; lower learning_rate")
    fused = fuse(scores, files, fusion)
    truth = labels[np.unique(files, return_index=True)[1]]
    if (truth[files] != labels).any():
        raise ValueError("chunks of one file have different labels")
    groups = known_speakers(speakers)
    if regression:
        pair, over = (truth, fused[:, 0]), speaker_interval_rho
        of_files = bootstrap_interval_rho(*pair, draws, seed)
    else:
        pair, over = (truth, fused.argmax(axis=1)), speaker_interval
        of_files = bootstrap_interval(*pair, len(classes), draws, seed)
    file = _measures(truth, fused, task) | {
        "score_mean": _measures(truth, fuse(scores, files), task)["score"],
        "score_vote": None,
        "interval_files": of_files,
        "interval_speakers": None if groups is None else over(*pair, groups),
        "speakers": None if groups is None else len(np.unique(groups)),
    }
    head = {"metric": "spearman", "chance": 0.0}
    if not regression:
        absent = [name for k, name in enumerate(classes) if k not in truth]
        head = {"metric": "uar", "chance": 1 / (len(classes) - len(absent))}
        head |= {"absent": absent} if absent else {}
        file["score_vote"] = _measures(truth, fuse(scores, files, "vote"), task)["score"]
        file["recall"] = dict(zip(classes, _recalls(file["confusion"]), strict=True))
    return _plain(head | {"file": file, "chunk": _measures(labels, scores, task)})


def score(
    files: pd.DataFrame,
    card: Card,
    settings: Settings,
    chunk_file: np.ndarray,
    scores: np.ndarray,
    seed: int,
) -> tuple[dict[str, Any] | None, pd.DataFrame]:
    """Evaluate one partition's chunk scores, float32 [chunks, outputs]; None where blinded.

    ``files`` is the manifest's table and ``chunk_file``, int64 [chunks], its row of each chunk.
    Also gives the predictions, one row a file, with each class's fused score.
    """
    rows, file = np.unique(chunk_file, return_inverse=True)
    files = files.iloc[rows].reset_index(drop=True)
    fused = fuse(scores, file, settings.fusion)
    table = files[["path", "speaker", "partition", "label"]].rename(columns={"path": "file"})
    if card.classes:
        table["prediction"] = np.asarray(card.classes)[fused.argmax(axis=1)]
        table = table.join(pd.DataFrame(fused, columns=list(card.classes)))
    else:
        table["prediction"] = fused[:, 0]
    text = files["label"]
    if (text == "").any():
        return None, table
    regression = card.task == "regression"
    labels = pd.to_numeric(text) if regression else pd.Index(card.classes).get_indexer(text)
    labels = np.asarray(labels, float if regression else int)
    arrays = (labels[file], scores, file, files["speaker"].tolist(), list(card.classes))
    options = {"task": card.task, "fusion": settings.fusion, "seed": seed}
    evaluated = evaluate(*arrays, draws=settings.bootstrap_draws, **options)
    if not card.package and evaluated["file"]["speakers"] is None:  # else the organisers divided it
        evaluated["speakers_unknown"] = True
    return evaluated, table

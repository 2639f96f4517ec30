"""What a network listens to on a whole partition, and how far its explanations can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dslite.explanation import attributions, faithfulness, methods, samples
from dslite.explanation import files as explanation_files
from dslite.explanation.faithfulness import Scrutiny
from dslite.explanation.subject import Subject
from dslite.features import clips, spectrogram
from dslite.features.store import Store
from dslite.settings import Settings
from dslite.training import runs

TIME_BINS, BANDS = 10, 8  # what the regions of 100 evaluations tell apart


@dataclass(frozen=True)
class Summary:
    """Where the network listens, over a whole partition.

    Attributes
    ----------
    frequencies, times : DataFrame
        See `dslite.explanation.attributions.frequency_table` and `time_table`.
    additivity_error : float
        The largest of all chunks.
    """

    frequencies: pd.DataFrame
    times: pd.DataFrame
    additivity_error: float


def summarise(
    run: runs.Run,
    store: Store,
    subject: Subject,
    *,
    partition: str = "test",
    evaluations: int = 100,
    files: int = 0,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Summary:
    """Mean |SHAP| of a partition's files by frequency and by relative time, per class.

    Each file is explained for its true class (for the predicted one where labels are blinded) by
    SHAP's Partition explainer, its chunks joined on one time axis; what is padded behind a short
    file is left out of its time.

    Parameters
    ----------
    run, store, subject
        Of the same run.
    partition : str
    evaluations : int
        A chunk; the regions of a summary may be larger than those of a picture.
    files : int
        At most so many, drawn with ``seed``, of each class the same number; 0: all.
    log : callable
        Is told every 50 files.
    """
    settings = run.settings
    files_of, labels = _listed(run, partition, files, seed)
    position = dict(zip(store.files["path"], range(len(store.files)), strict=True))
    hz = spectrogram.mel_frequencies(settings)
    names = run.classes or ("prediction",)
    by_frequency, by_time, errors = [], [], []
    for number, (file, label) in enumerate(zip(files_of, labels, strict=True)):
        row = position[file]
        chunks = np.flatnonzero(store.file == row)
        parts = [
            methods.partition(
                subject, picture, [names.index(label)], evaluations=evaluations, seed=seed
            )[0]
            for picture in subject.pictures(store.mel[chunks])
        ]
        errors += [part.additivity_error for part in parts]
        whole = explanation_files.joined(parts, store.start_s[chunks], settings)
        lasts = whole.values.shape[1] * settings.chunk_length_s / settings.image_size
        valid = min(1.0, _duration_s(store, row, chunks, settings) / lasts)
        by_frequency.append(attributions.by_frequency(whole.values, hz, BANDS)[1])
        by_time.append(attributions.by_time(whole.values, valid, TIME_BINS))
        if (number + 1) % 50 == 0:
            log(f"summary: {number + 1} of {len(labels)} files")
    edges = attributions.band_edges(hz, BANDS)
    return Summary(
        attributions.frequency_table(np.array(by_frequency), labels, names, edges),
        attributions.time_table(np.array(by_time), labels, names),
        max(errors),
    )


def _listed(run: runs.Run, partition: str, most: int, seed: int) -> tuple[list[str], list[str]]:
    """Files of a partition and the class that each is explained for."""
    table = run.predictions
    table = table[table["partition"] == partition]
    # Of blinded labels the prediction takes the place.
    labels = table["label"].where(table["label"] != "", table["prediction"]).to_numpy()
    labels = labels if run.classes else np.full(len(table), "prediction")
    files = table["file"].to_numpy()
    if most:
        kept = samples.drawn(labels, most, np.random.default_rng(seed))
        files, labels = files[kept], labels[kept]
    return files.tolist(), labels.tolist()


def _duration_s(store: Store, row: int, chunks: np.ndarray, settings: Settings) -> float:
    """How much of a file there is to hear, seconds; without its silent ends where trimmed."""
    if len(chunks) > 1:
        return float(store.start_s[chunks[-1]]) + settings.chunk_length_s
    if settings.trim == "off":
        return float(store.files["duration_s"].iloc[row])
    clip = clips.clip(store.folder / store.files["path"].iloc[row], settings)
    return len(clip.waveform) / settings.sample_rate


def scrutinise(
    run: runs.Run,
    store: Store,
    subject: Subject,
    *,
    pictures: int = 12,
    partition: str = "test",
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Scrutiny:
    """All methods under all tests of `dslite.explanation.faithfulness`, on chunks of a partition.

    The chunks are drawn with ``seed``, of each class the same number; explained is the class that
    the network takes each of them for.
    """
    chunks = store.chunks(partition)
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    labels = labels if run.classes else np.zeros(len(chunks))
    chosen = chunks[samples.drawn(labels, pictures, np.random.default_rng(seed))]
    shown = subject.pictures(store.mel[chosen])
    outputs = subject.outputs(shown).argmax(axis=1).tolist()
    return faithfulness.assess(subject, shown, outputs, evaluations=evaluations, seed=seed, log=log)

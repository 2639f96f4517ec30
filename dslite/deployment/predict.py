"""Predict audio files with a finished run or a ``.tflite``: names -> files -> chunks -> rows."""

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dslite import audio, paths, provenance
from dslite.audio import Clip
from dslite.decoding import SUFFIXES
from dslite.deployment import runtime
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.models import tensorflow_logging
from dslite.settings import Settings
from dslite.training import runs

BATCH = 64  # chunks predicted at a time
# Suffixes beside audio that nobody takes for audio
TEXTS = {".txt", ".csv", ".tsv", ".json", ".md", ".yaml", ".yml", ".xml", ".textgrid", ".log"}
NUMBER = {"prediction": ".6g"}  # of a regression: its range is unknown, so digits, not decimals
POSITION = {"file": ("file", "duration_s"), "chunk": ("file", "start_s", "end_s")}  # columns

Report = Callable[[InputError], None]
Names = Iterable[str | os.PathLike]


@dataclass(frozen=True)
class Predictor:
    """A model that predicts chunks of audio, of whatever origin."""

    settings: Settings  # how a file is cut into chunks and how their outputs are fused
    classes: tuple[str, ...]  # in the order of the outputs; empty: a regression
    # Waveforms float32 [chunks, samples] -> float32 [chunks, outputs], probabilities or the number
    outputs: Callable[[np.ndarray], np.ndarray]
    typical_s: float | None = None  # median length of a clip's sound in training


def load_model(place: str | Path) -> Predictor:
    """Load a model to predict with: a run's folder or ``model.keras``, or a ``.tflite`` file.

    The last needs nothing else and no TensorFlow. What cannot be loaded is an InputError.
    """
    if Path(place).suffix.lower() == ".tflite":
        file = paths.find(place)
        metadata, predict = runtime.load(file)
        settings, classes = metadata.settings, metadata.classes
        typical_s = metadata.facts.get("typical_s")

        def outputs(waveforms: np.ndarray) -> np.ndarray:
            return np.concatenate([predict(waveform[None]) for waveform in waveforms])

    else:
        run = runs.load(place)
        settings, classes, outputs = run.settings, run.classes, _keras_outputs(run)
        typical_s = run.record.get("typical_s")
    # Dropping a user's short file helps nobody.
    settings = settings.model_copy(update={"tail": "keep"})
    return Predictor(settings, classes, outputs, typical_s)


def _keras_outputs(run: runs.Run) -> Callable[[np.ndarray], np.ndarray]:
    """Load the Keras model of a run, as a function from waveforms to outputs."""
    saved = run.model_file()  # before TensorFlow is waited for
    tensorflow_logging.import_tensorflow()
    from dslite.features import spectrogram
    from dslite.models import classifier

    mel = spectrogram.compiled_mel_image(run.settings)
    predict = classifier.predictor(classifier.load_classifier(saved), run.settings)
    return lambda waveforms: predict(mel(waveforms)).numpy()


def predict_files(place: str | Path, names: Names) -> pd.DataFrame:
    """Predict audio files (see `audio_files`) with a model (see `load_model`).

    Chunks as in training, fused per file: columns file, duration_s, prediction and, of classes, one
    probability each. A file that cannot be read is an InputError.
    """

    def refuse(error: InputError) -> None:
        raise error

    predictor = load_model(place)
    parts = list(tables(predictor, audio_files(names, refuse), "file", refuse))
    return pd.concat(parts or [pd.DataFrame(columns=columns(predictor, "file"))], ignore_index=True)


def audio_files(names: Names, report: Report) -> Iterator[Path]:
    """Find the audio files that a user names, each once, in the order of the names.

    A folder stands for the audio in and below it, without what is hidden, a pattern for its
    matches; ``report`` is called for either without any. A file that does not exist is yielded:
    whoever reads it reports it.
    """
    seen = set()
    for name in map(os.fspath, names):
        for path in _matches(name, report):
            folder = os.path.isdir(path)  # noqa: PTH112, Path.is_dir raises where it may not look
            for file in _below(path, report) if folder else [path]:
                # A link to a file is a file of its own, a link on the way to it is not.
                place = (os.path.realpath(file.parent), file.name)
                if place not in seen:
                    seen.add(place)
                    yield file


def _matches(name: str, report: Report) -> list[Path]:
    """Return the paths that a name or a pattern stands for."""
    if os.path.lexists(name) or not glob.has_magic(name):
        return [Path(name)]  # also of a file called 'take[1].wav'
    # In quotes, no shell has expanded the home folder either.
    pattern = str(Path(name).expanduser()) if name.startswith("~/") else name
    matches = sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207, may be absolute
    if not matches:
        report(InputError(f"{name}: no file matches this pattern"))
    return matches


def _below(folder: Path, report: Report) -> list[Path]:
    """Return the audio in a folder and below it, through links as well, each folder once."""

    def denied(error: OSError) -> None:
        report(InputError(f"{error.filename}: cannot be read ({error.strerror})"))

    audio_paths, entered, others = [], set(), Counter()
    for place, folders, files in os.walk(folder, onerror=denied, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link back up would otherwise never end
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = [Path(place, name) for name in files if not name.startswith(".")]
        audio_paths += [path for path in visible if path.suffix.lower() in SUFFIXES]
        others.update(path.suffix.lower() or "without suffix" for path in visible)
    counts = [f"{s} {n}" for s, n in sorted(others.items()) if s not in SUFFIXES | TEXTS]
    passed_over = f"passed over by their suffix: {', '.join(counts)}" if counts else ""
    if not audio_paths:
        text = f"{folder}: no audio in this folder or below it"
        report(InputError(f"{text} ({passed_over})" if counts else text))
    elif counts:
        _note(folder, passed_over)
    return sorted(audio_paths)


def _note(name: Path, text: str) -> None:
    """Print a note on a file or a folder, which is no error."""
    print(f"note: {name}: {text}".replace("\n", " "), file=sys.stderr, flush=True)


def tables(
    predictor: Predictor, files: Iterable[Path], level: str, report: Report
) -> Iterator[pd.DataFrame]:
    """Predict audio files, some at a time: tables with the `columns` of ``level``.

    ``report`` is called for every file that cannot be read or is broken off, which is predicted as
    far as it goes; the others are predicted all the same.
    One file is decoded ahead; memory holds it, the files under way and 64 chunks. A chunk's
    ``start_s`` and ``end_s`` are where it lies in the stored file, seconds.
    """

    def decode(path: Path) -> tuple[Path, Clip | InputError]:
        try:
            with paths.reading(path):  # no right to look into its folder, a name too long
                return path, audio.clip(path, predictor.settings)
        except InputError as error:
            return path, error

    group: list[tuple[Path, Clip]] = []
    with ThreadPoolExecutor(1) as pool:
        for path, clip in audio.read_ahead(pool, decode, files, most=2):
            if isinstance(clip, InputError):
                report(clip)
                continue
            if clip.broken_off:
                text = audio.BROKEN_OFF.format(clip.duration_s)
                report(InputError(f"{path}: {text}. What is there is predicted"))
            for remark in clip.remarks:
                _note(path, remark)
            group.append((path, clip))
            if sum(len(clip.starts) for _, clip in group) >= BATCH:
                yield _table(predictor, group, level)
                group = []
        if group:
            yield _table(predictor, group, level)


def _table(predictor: Predictor, group: list[tuple[Path, Clip]], level: str) -> pd.DataFrame:
    """Return the rows of one group of files, see `tables`."""
    settings, classes = predictor.settings, list(predictor.classes)
    names, clips = zip(*group, strict=True)
    files = pd.DataFrame({"file": [*map(str, names)]}, dtype=object)
    files["duration_s"] = [clip.duration_s for clip in clips]
    owner = np.repeat(files.index, [len(clip.starts) for clip in clips])
    starts = np.concatenate([clip.starts for clip in clips])
    scores = _scores(predictor, clips, owner, starts)
    if level == "file":
        table, scores = files, metrics.fuse(scores, owner, settings.fusion)
    else:
        table = files.loc[owner].reset_index(drop=True)
        offset = np.array([clip.offset for clip in clips])
        start_s = (starts + offset[owner]) / settings.sample_rate
        length_s = settings.chunk_samples / settings.sample_rate
        end_s = np.minimum(start_s + length_s, table.pop("duration_s"))
        table = table.assign(start_s=start_s, end_s=end_s)
    if not classes:
        return table.assign(prediction=scores[:, 0])
    table["prediction"] = np.asarray(classes, dtype=object)[scores.argmax(axis=1)]
    return table.join(pd.DataFrame(scores, columns=classes))


def _scores(
    predictor: Predictor, clips: Sequence[Clip], owner: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Return the outputs of all chunks of some files, float64 [chunks, outputs]."""
    parts, length = [], predictor.settings.chunk_samples
    for begin in range(0, len(owner), BATCH):
        rows, first = owner[begin : begin + BATCH], starts[begin : begin + BATCH]
        cut = [audio.cut(clips[r].waveform, first[rows == r], length) for r in np.unique(rows)]
        parts.append(predictor.outputs(np.concatenate(cut)))
    return np.concatenate(parts).astype(np.float64)


def columns(predictor: Predictor, level: str) -> list[str]:
    """Return the names of the columns of `tables`."""
    return [*POSITION[level], "prediction", *predictor.classes]


def lines(
    predictor: Predictor, names: Names, level: str, form: str, report: Report
) -> Iterator[str]:
    """Predict audio files as text, as soon as they are predicted; ``form`` as in `as_text`."""
    if form == "csv":
        header = pd.DataFrame(columns=columns(predictor, level))
        yield provenance.quoted(header).to_csv(index=False)
    digits = {} if predictor.classes else NUMBER
    for table in tables(predictor, audio_files(names, report), level, report):
        yield as_text(table, form, False, digits)


def as_text(table: pd.DataFrame, form: str, header: bool, digits: dict[str, str]) -> str:
    """Return rows as JSON lines (jsonl) or CSV, 4 decimals but where ``digits`` says otherwise."""
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in table.to_dict("records"))
    shown = table.assign(**{of: table[of].map(f"{{:{n}}}".format) for of, n in digits.items()})
    how = {"header": header, "float_format": "%.4f", "lineterminator": "\n"}
    return provenance.quoted(shown).to_csv(index=False, **how)

"""Single files explained by a finished run: chosen by rule or by name, seen and heard."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dslite import audio
from dslite.errors import InputError
from dslite.explanation import attributions, methods
from dslite.explanation.methods import ExplainedModel, Explanation
from dslite.features import spectrogram
from dslite.features.store import Store, sounding_s
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import runs

CONFIDENT, MEDIAN, WRONG = "most confident correct", "median correct", "most confident wrong"
BLINDED = ("most confident", "median")  # rules where nothing is right or wrong
REGRESSION = ("highest prediction", "median prediction", "largest error")
COLUMNS = ["file", "rule", "true", "predicted", "probability"]
SHARE = 0.2  # of a picture's pixels that count as its top
BACKGROUND = 50  # training pictures, the same number of each class, for expected gradients


@dataclass(frozen=True)
class ExplainedFile:
    """One file and its explanations, its chunks joined on one time axis."""

    name: str
    rule: str
    true: str  # empty where it is unknown
    predicted: str
    probability: float  # of the predicted class, the chunks' mean; a regression's prediction
    waveform: np.ndarray  # float32 [samples], what the chunks were cut from
    picture: np.ndarray  # float32 [height, columns, 3], RGB from 0 to 255
    span_s: tuple[float, float]  # of the picture in the waveform, or beyond it: of a padded chunk
    explanations: dict[str, Explanation]  # by class, of the whole file
    seams_s: tuple[float, ...] = ()  # where chunks begin or end within it

    @property
    def title(self) -> str:
        """True and predicted class with its probability, and the file: two lines."""
        predicted = self.predicted
        if self.predicted in self.explanations:
            predicted += f" ({self.probability:.2f})"
        true = f"{self.true}, " if self.true else ""
        return f"{true}predicted {predicted}\n{self.name}"


def choose_by_rule(run: runs.Run) -> pd.DataFrame:
    """Choose of each class the most confident correct, the median correct and the worst test file.

    The worst is the most confident wrong one. Of equal probabilities the first name counts, of two
    in the middle the more confident one. Of blinded labels: the most confident and the median file
    taken for the class. Of a regression: the highest and the median prediction, and the largest
    error. Gives `COLUMNS`, class by class in the card's order; a rule that no file fits, or only
    one that another rule has shown already, has no row.
    """
    table = run.predictions
    table = table[table["partition"] == "test"].sort_values("file", kind="stable")
    regression, blinded = run.task == "regression", (table["label"] == "").all()
    scores = table[["prediction"] if regression else list(run.classes)].astype(float)
    table = table.assign(probability=scores.max(axis=1))
    ranked = table.sort_values("probability", ascending=False, kind="stable")
    groups = []  # files by confidence, wrong ones, and the names of the rules
    if regression:
        error = (table["probability"] - pd.to_numeric(table["label"], errors="coerce")).abs()
        groups.append((ranked, table.loc[error.dropna().nlargest(1).index], REGRESSION))
    for name in run.classes:
        same = ranked[ranked["prediction" if blinded else "label"] == name]
        right, wrong = same["prediction"] == name, same["prediction"] != name
        rules = BLINDED if blinded else (CONFIDENT, MEDIAN, WRONG)
        groups.append((same[right], same[wrong], rules))
    chosen = [
        part[:1].assign(rule=rule)
        for best, worst, rules in groups
        for part, rule in zip((best, best[(len(best) - 1) // 2 :], worst), rules, strict=False)
    ]
    named = pd.concat(chosen).rename(columns={"label": "true", "prediction": "predicted"})
    return named[COLUMNS].drop_duplicates("file", ignore_index=True)


def choose_by_name(store: Store, files: Sequence[str]) -> pd.DataFrame:
    """Choose files by name, as `choose_by_rule` does: paths as in the manifest, or of other audio.

    A file that is neither in the corpus nor elsewhere is an InputError.
    """
    labels = dict(zip(store.files["path"], store.files["label"], strict=True))
    rows = []
    for file in files:
        if file not in labels and not Path(file).is_file():
            # A corpus may have thousands: without one that is like it, one as an example.
            like = difflib.get_close_matches(file, labels, n=1) or list(labels)[:1]
            raise InputError(
                f"{file}: neither a file of the corpus nor another one; "
                f"the corpus has, for instance, '{like[0]}'"
            )
        rows.append((file, "", labels.get(file, ""), "", np.nan))
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_balanced(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw up to ``count`` positions, of each label alike as far as they last: int64, ascending."""
    turn = np.empty(len(labels), np.int64)  # an item's place among those of its own label
    for label in np.unique(labels):
        same = np.flatnonzero(labels == label)
        turn[same] = rng.permutation(len(same))
    return np.sort(np.lexsort((rng.permutation(len(labels)), turn))[:count])


def draw_chunks(run: runs.Run, store: Store, partition: str, count: int, seed: int) -> np.ndarray:
    """Draw chunks of a partition, see `draw_balanced`: int64, ascending."""
    chunks = store.chunks(partition)
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    labels = labels if run.classes else np.zeros(len(chunks))
    return chunks[draw_balanced(labels, count, np.random.default_rng(seed))]


def load_model(run: runs.Run, store: Store, masker: str = "mean", seed: int = 0) -> ExplainedModel:
    """Load the final model of a run, ready to be explained.

    ``masker`` is "mean" or "blur"; the seed draws the pictures that expected gradients start from.
    """
    model = ExplainedModel(classifier.load_classifier(run.model_file()), run.settings, masker)
    model.background = model.pictures(store.mel[draw_chunks(run, store, "train", BACKGROUND, seed)])
    return model


def explain_files(
    run: runs.Run,
    store: Store,
    model: ExplainedModel,
    chosen: pd.DataFrame,
    *,
    method: str = "partition",
    evaluations: int = 500,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> list[ExplainedFile]:
    """Explain whole files: their predicted class and, where it is another one, the true class.

    Takes the files of `choose_by_rule` or `choose_by_name` and the options of
    `dslite.explanation.methods.explain`.
    """
    compute = spectrogram.compiled_mel_image(run.settings)
    # As in prediction: what a user asks for is not dropped for being short.
    settings = run.settings.model_copy(update={"tail": "keep"})
    names, paths = run.classes or ("prediction",), set(store.files["path"])
    files = []
    for row in chosen.itertuples():
        path = store.folder / row.file if row.file in paths else Path(row.file)
        clip = audio.clip(path, settings)
        cut = audio.cut(clip.waveform, clip.starts, settings.chunk_samples)
        spans_s = (clip.starts / settings.sample_rate)[:, None] + sounding_s(cut, settings)
        pictures = model.pictures(compute(cut).numpy())
        log(f"explaining {row.file}: {len(cut)} chunk{'s' if len(cut) > 1 else ''}")
        scores = model.outputs(pictures).mean(axis=0)
        best = int(scores.argmax())
        true = [names.index(row.true)] if row.true in names else []
        outputs = list(dict.fromkeys([best, *true]))
        parts = [
            methods.explain(method, model, picture, outputs, evaluations, seed)
            for picture in pictures
        ]
        files.append(
            ExplainedFile(
                name=row.file,
                rule=row.rule,
                true=row.true,
                predicted=names[best] if run.classes else f"{scores[0]:.4g}",
                probability=float(scores[best]),
                waveform=clip.waveform,
                picture=attributions.stitch_pictures(pictures, spans_s),
                span_s=(float(spans_s.min()), float(spans_s.max())),
                explanations={
                    names[output]: join(of_output, spans_s)
                    for output, of_output in zip(outputs, zip(*parts, strict=True), strict=True)
                },
                seams_s=tuple(np.unique(spans_s)[1:-1].tolist()),
            )
        )
    return files


def join(parts: Sequence[Explanation], spans_s: np.ndarray) -> Explanation:
    """Join the explanations of a file's chunks to that of its score, the mean over the chunks."""
    values = np.stack([part.values for part in parts])
    return Explanation(
        attributions.stitch_values(values, spans_s),
        float(np.mean([part.base for part in parts])),
        float(np.mean([part.output for part in parts])),
    )


# To listen to: a mask over the clip's own STFT keeps the recording itself, with its phases


def top_regions(values: np.ndarray) -> np.ndarray:
    """Return the 20 % of all pixels that raise the output most, or fewer: bool [H, W]."""
    top = np.zeros(values.size, dtype=bool)
    top[np.argsort(-values, axis=None, kind="stable")[: round(SHARE * values.size)]] = True
    return top.reshape(values.shape) & (values > 0)


def split_sound(file: ExplainedFile, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Split a clip into what raised its predicted class most (`top_regions`), and the rest.

    float32 [samples] each, which sum to the file's waveform. Of two panels, what is among the top
    in either of them.
    """
    mask = top_regions(next(iter(file.explanations.values())).values)
    masks, hz = np.split(mask, settings.panels), spectrogram.panel_frequencies(settings)
    window_s = settings.window_ms / 1000
    return _split(file.waveform, masks, hz, settings.sample_rate, window_s, file.span_s)


def _split(
    waveform: np.ndarray,
    masks: Sequence[np.ndarray],
    mel_frequencies_hz: Sequence[np.ndarray],
    sample_rate: int,
    window_s: float,
    span_s: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """What the masks [H, W] of panels over a span of a clip keep of it, and what they remove."""
    # The STFT has a Hann window, moved by a quarter of it; a shorter one clicks.
    import librosa  # here: it takes seconds to import

    hop = max(1, round(window_s * sample_rate / 4))
    n_fft, n = 4 * hop, len(waveform)
    padded = np.pad(waveform, (0, max(n_fft, -(-n // hop) * hop) - n))
    options = {"hop_length": hop, "n_fft": n_fft, "window": "hann", "center": True}
    spectrum = librosa.stft(padded, **options)
    # Frames in the padding reach back into the clip: they count as its last moment.
    times = np.minimum(np.arange(spectrum.shape[1]) * hop, n) / sample_rate
    times = (times - span_s[0]) / (span_s[1] - span_s[0])
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    panels = zip(masks, mel_frequencies_hz, strict=True)
    gain = np.max([_stft_mask(mask, centres, hz, times) for mask, centres in panels], axis=0)
    retained = librosa.istft(spectrum * gain.astype(np.float32), length=len(padded), **options)[:n]
    # The inverse STFT is linear: the inverse of what the mask leaves out is the difference.
    return retained, waveform - retained


def _stft_mask(
    mask: np.ndarray, mel_frequencies_hz: np.ndarray, hz: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Mask over an STFT's bins, Hz, and frames, shares of the picture, from one over a picture."""
    # Of each bin the row of the nearest Mel band, of each frame the column at its time; 0 below and
    # above the outermost filters and more than half a column before or after the picture.
    centres = np.asarray(mel_frequencies_hz, dtype=float)
    (height, width), bands = mask.shape, len(centres)
    band = np.searchsorted((centres[1:] + centres[:-1]) / 2, hz)
    row = ((bands - 0.5 - band) / bands * height).astype(int)
    _, axis_hz = spectrogram.mel_axis(centres)
    audible = (hz >= axis_hz[0] - 1) & (hz <= 1.001 * axis_hz[-1])
    column = np.clip((times * width).astype(int), 0, width - 1)
    inside = np.abs(times - 0.5) <= 0.5 + 0.5 / width
    return mask[np.ix_(row, column)] * audible[:, None] * inside

"""Explanations to listen to: the part of a clip that a mask over its picture keeps, and the rest.

The picture's Mel bands are turned into a mask over the clip's own STFT, so what is heard is the
recording itself, with its phases, not a spectrogram turned back into sound.
"""

from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

from dslite import paths
from dslite.explanation.files import ExplainedFile
from dslite.features import spectrogram
from dslite.settings import Settings

SHARE = 0.2  # of a picture's pixels that count as its top


def top_regions(values: np.ndarray) -> np.ndarray:
    """Return the 20 % of all pixels that raise the output most, bool [H, W] like the values.

    Fewer where fewer are positive; of equal values the upper, then the left ones come first.
    """
    values = np.asarray(values)
    top = np.zeros(values.size, dtype=bool)
    top[np.argsort(-values, axis=None, kind="stable")[: round(SHARE * values.size)]] = True
    return top.reshape(values.shape) & (values > 0)


def _stft_mask(
    mask: np.ndarray, mel_frequencies_hz: np.ndarray, hz: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Mask over an STFT's bins, Hz, and frames, shares of the picture, from one over a picture."""
    # Of each bin the row of the nearest Mel band, of each frame the column at its time; 0 below and
    # above the outermost filters and more than half a column before or after the picture.
    mask, centres = np.asarray(mask, dtype=float), np.asarray(mel_frequencies_hz, dtype=float)
    (height, width), bands = mask.shape, len(centres)
    band = np.searchsorted((centres[1:] + centres[:-1]) / 2, hz)
    row = ((bands - 0.5 - band) / bands * height).astype(int)
    _, axis_hz = spectrogram.mel_axis(centres)
    audible = (hz >= axis_hz[0] - 1) & (hz <= 1.001 * axis_hz[-1])
    column = np.clip((times * width).astype(int), 0, width - 1)
    inside = np.abs(times - 0.5) <= 0.5 + 0.5 / width
    return mask[np.ix_(row, column)] * audible[:, None] * inside


def split_sound(file: ExplainedFile, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Split a clip into what raised its predicted class most (`top_regions`), and the rest.

    float32 [samples] each, which sum to the file's waveform.
    """
    mask = top_regions(next(iter(file.explanations.values())).values)
    hz, window_s = spectrogram.mel_frequencies(settings), settings.window_ms / 1000
    return _split(file.waveform, mask, hz, settings.sample_rate, window_s, file.seconds)


def _split(
    waveform: np.ndarray,
    mask: np.ndarray,
    mel_frequencies_hz: np.ndarray,
    sample_rate: int,
    window_s: float,
    seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
    """What a mask [H, W] over a picture of so many seconds keeps of a clip, and what it removes."""
    # The STFT has a Hann window, moved by a quarter of it. It need not be the picture's: a longer
    # one keeps harmonics apart, a shorter one clicks.
    import librosa  # here: it takes seconds to import

    waveform = np.asarray(waveform, dtype=np.float32)
    hop = max(1, round(window_s * sample_rate / 4))
    n_fft, n = 4 * hop, len(waveform)
    padded = np.pad(waveform, (0, max(n_fft, -(-n // hop) * hop) - n))
    options = {"hop_length": hop, "n_fft": n_fft, "window": "hann", "center": True}
    spectrum = librosa.stft(padded, **options)
    # Frames in the padding reach back into the clip: they count as its last moment.
    times = np.minimum(np.arange(spectrum.shape[1]) * hop, n) / (sample_rate * seconds)
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    gain = _stft_mask(mask, mel_frequencies_hz, hz, times).astype(np.float32)
    retained = librosa.istft(spectrum * gain, length=len(padded), **options)[:n]
    # The inverse STFT is linear: the inverse of what the mask leaves out is the difference.
    return retained, waveform - retained


def write(
    folder: str | PathLike, stem: str, retained: np.ndarray, removed: np.ndarray, sample_rate: int
) -> None:
    """Write ``<stem>-kept.wav`` and ``<stem>-removed.wav``, 16 bit.

    Takes float [n] in full scale. Where a peak of either exceeds it, both are divided by the
    larger one, so that their loudness can still be compared.
    """
    peak = max(1.0, *(float(np.abs(part).max(initial=0)) for part in (retained, removed)))
    for name, part in (("kept", retained), ("removed", removed)):
        with paths.replacing(Path(folder) / f"{stem}-{name}.wav") as draft:
            soundfile.write(draft, part / peak, sample_rate, subtype="PCM_16")

"""Explanations to listen to: the part of a clip that a mask over its picture keeps, and the rest.

The picture's Mel bands are turned into a mask over the clip's own STFT, so what is heard is the
recording itself, with its phases, not a spectrogram turned back into sound.
"""

from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

from dslite import paths
from dslite.features.spectrogram import mel_axis

SHARE = 0.2  # of a picture's pixels that count as its top


def top_regions(values: np.ndarray) -> np.ndarray:
    """Return the 20 % of all pixels that raise the output most, bool [H, W] like the values.

    Fewer where fewer are positive. Of equal values, those further up, then further to the left,
    come first.
    """
    values = np.asarray(values)
    top = np.zeros(values.size, dtype=bool)
    top[np.argsort(-values, axis=None, kind="stable")[: round(SHARE * values.size)]] = True
    return top.reshape(values.shape) & (values > 0)


def _stft_mask(
    mask: np.ndarray,
    mel_frequencies_hz: np.ndarray,
    sample_rate: int,
    n_fft: int,
    times: np.ndarray,
) -> np.ndarray:
    """Mask over an STFT, float64 [n_fft // 2 + 1, frames], from one over a picture [H, W]."""
    # Of each bin the row of the Mel band with the nearest centre, of each frame the column at its
    # time, a share of the picture's duration; 0 outside of the picture: below and above the
    # outermost filters, and more than half a column before or after it.
    mask, centres = np.asarray(mask, dtype=float), np.asarray(mel_frequencies_hz, dtype=float)
    (height, width), bands = mask.shape, len(centres)
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    band = np.searchsorted((centres[1:] + centres[:-1]) / 2, hz)
    row = ((bands - 0.5 - band) / bands * height).astype(int)
    _, axis_hz = mel_axis(centres)
    audible = (hz >= axis_hz[0] - 1) & (hz <= 1.001 * axis_hz[-1])
    times = np.asarray(times, dtype=float)
    column = np.clip((times * width).astype(int), 0, width - 1)
    inside = np.abs(times - 0.5) <= 0.5 + 0.5 / width
    return mask[np.ix_(row, column)] * audible[:, None] * inside


def split(
    waveform: np.ndarray,
    mask: np.ndarray,
    mel_frequencies_hz: np.ndarray,
    sample_rate: int,
    window_s: float,
    seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Split a clip into what a mask over its picture keeps and what it removes.

    Parameters
    ----------
    waveform : float32 [n]
        From the beginning of the picture on; it may end before or after it.
    mask : bool or float [H, W]
        Row 0 is the highest frequency; the rows were resized from the Mel bands.
    mel_frequencies_hz : float [mel]
        Centres of the bands, ascending, Hz.
    sample_rate : int
        Hz.
    window_s : float
        Window of the STFT, seconds (a Hann window, moved by a quarter of it). It need not be the
        picture's: a longer one keeps harmonics apart, a shorter one clicks.
    seconds : float
        Duration of the picture.

    Returns
    -------
    retained, removed : float32 [n] each
        They sum to the waveform.
    """
    import librosa  # here: it takes seconds to import

    waveform = np.asarray(waveform, dtype=np.float32)
    hop = max(1, round(window_s * sample_rate / 4))
    n_fft, n = 4 * hop, len(waveform)
    padded = np.pad(waveform, (0, max(n_fft, -(-n // hop) * hop) - n))
    options = {"hop_length": hop, "n_fft": n_fft, "window": "hann", "center": True}
    spectrum = librosa.stft(padded, **options)
    # Frames in the padding reach back into the clip: they count as its last moment.
    middles = np.minimum(np.arange(spectrum.shape[1]) * hop, n)
    times = middles / (sample_rate * seconds)
    gain = _stft_mask(mask, mel_frequencies_hz, sample_rate, n_fft, times)
    retained = librosa.istft(spectrum * gain.astype(np.float32), length=len(padded), **options)[:n]
    # The inverse STFT is linear: the inverse of what the mask leaves out is the difference.
    return retained, waveform - retained


def write(
    folder: str | PathLike, stem: str, retained: np.ndarray, removed: np.ndarray, sample_rate: int
) -> tuple[Path, Path]:
    """Write ``<stem>-kept.wav`` and ``<stem>-removed.wav``, 16 bit, and return their paths.

    Takes float [n] in full scale. Where a peak of either exceeds it, both are divided by the
    larger one, so that their loudness can still be compared.
    """
    peak = max(1.0, *(float(np.abs(part).max(initial=0)) for part in (retained, removed)))
    targets = Path(folder) / f"{stem}-kept.wav", Path(folder) / f"{stem}-removed.wav"
    for target, part in zip(targets, (retained, removed), strict=True):
        with paths.replacing(target) as draft:
            soundfile.write(draft, part / peak, sample_rate, subtype="PCM_16")
    return targets

"""Acoustic features of whole files: librosa's low-level descriptors and their functionals.

Decided on the devel partition of RAVDESS, by the UAR of the best of three SVMs (88 %): silence is
cut off 30 dB below the maximum (at 60 dB or not at all: 82 %), frames of 64 ms (128 ms: 86 %), 40
MFCCs (20: 86 %), mean and standard deviation (with extremes and quartiles, 973 numbers: 89 %), no
further descriptors (with level, centroid, bandwidth, roll-off, flatness, zero crossings: 88 %).
"""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from dslite import audio, paths, provenance
from dslite.datasets.manifest import Manifest

VERSION = 1  # raise it with every change that moves a feature
TRIM_DB = 30  # below a file's maximum, at both ends
WINDOW_S, HOP_S = 0.064, 0.016
MEL_BANDS, MFCCS = 128, 40
CONTRAST_HZ, CONTRAST_BANDS = 200.0, 6  # librosa's: octaves from 200 Hz


@lru_cache(maxsize=2)
def _mel_filters(sample_rate: int, window: int) -> np.ndarray:
    """Return librosa's Mel filters; a narrow band between two lines of the spectrum is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=MEL_BANDS)


def descriptors(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Compute the low-level descriptors of a waveform over time.

    From float32 [samples], full scale 1, not empty (zeros fill up a window), to float32 [120 + 12 +
    bands + 1, frames], a frame of 64 ms every 16 ms: 40 MFCCs (orthonormal DCT of 128 Mel bands in
    dB), their first and second derivatives over 9 frames, the chroma (C to B, 1 for the strongest
    pitch class, A = 440 Hz), and the spectral contrast in dB of the range below 200 Hz and of the
    octaves above, at most 6, that begin below half the rate.

    References
    ----------
    librosa 0.11, ``librosa.feature`` (McFee et al. 2015, doi:10.25080/Majora-7b98e3ed-003);
    MFCC: Davis and Mermelstein 1980, doi:10.1109/TASSP.1980.1163420; chroma: Ellis 2007,
    https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/; contrast: Jiang et al. 2002,
    doi:10.1109/ICME.2002.1035731.
    """
    window, hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
    padded = np.pad(waveform, (0, max(0, window - len(waveform))))
    magnitude = np.abs(librosa.stft(padded, n_fft=window, hop_length=hop))
    power = magnitude**2
    bands = librosa.power_to_db(_mel_filters(sample_rate, window) @ power)
    mfcc = librosa.feature.mfcc(S=bands, n_mfcc=MFCCS)
    # "nearest": a file may be shorter than the 9 frames of a derivative.
    slopes = [librosa.feature.delta(mfcc, order=order, mode="nearest") for order in (1, 2)]
    # A fixed tuning: what librosa would estimate is undefined for noise and silence.
    chroma = librosa.feature.chroma_stft(S=power, sr=sample_rate, tuning=0.0)
    octaves = int((CONTRAST_HZ * 2.0 ** np.arange(CONTRAST_BANDS) < sample_rate / 2).sum())
    contrast = librosa.feature.spectral_contrast(
        S=magnitude, sr=sample_rate, fmin=CONTRAST_HZ, n_bands=octaves
    )
    return np.concatenate([mfcc, *slopes, chroma, contrast]).astype(np.float32)


def summarise(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Summarise a waveform by functionals: means, then standard deviations, of its descriptors.

    Silence at both ends is cut off first (30 dB below the loudest 128 ms). From float32 [samples]
    to float32 [features], always finite; 278 at 16 kHz.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    >>> features = summarise(tone, 16000)
    >>> features.shape
    (278,)
    >>> int(features[120:132].argmax())  # of the chroma, C to B: A
    9
    """
    begin, end = audio.sounding(waveform, sample_rate, TRIM_DB)
    rows = descriptors(waveform[begin:end], sample_rate)
    return np.concatenate([rows.mean(axis=1), rows.std(axis=1)])


def names(count: int) -> list[str]:
    """Return what each number of `summarise` is, by how many they are.

    Examples
    --------
    >>> names(278)[0], names(278)[120], names(278)[-1]
    ('mfcc1_mean', 'chroma_C_mean', 'contrast6_std')
    """
    mfccs = [f"mfcc{i}{kind}" for kind in ("", "_delta", "_delta2") for i in range(1, MFCCS + 1)]
    rows = mfccs + [f"chroma_{pitch}" for pitch in librosa.key_to_notes("C:maj", unicode=False)]
    rows += [f"contrast{i}" for i in range(count // 2 - len(rows))]
    return [f"{row}_{functional}" for functional in ("mean", "std") for row in rows]


def acoustic_features(manifest: Manifest, sample_rate: int) -> np.ndarray:
    """Compute the features of every file of a corpus once; read them from the cache thereafter.

    Float32 [files, features], in the order of the manifest's rows; see `summarise`. A file that
    cannot be read is an InputError.
    """
    content = manifest.table["audio_hash"].tolist()
    key = provenance.digest([VERSION, librosa.__version__, sample_rate, content])
    stored = paths.cache() / "acoustics" / manifest.card.dataset / f"{key[:16]}.npy"
    with suppress(OSError, ValueError, EOFError):  # not there, damaged or not numbers: computed
        return np.load(stored, allow_pickle=False)
    begin = time.perf_counter()
    _mel_filters(sample_rate, round(WINDOW_S * sample_rate))  # made once, before the threads

    def of_file(path: Path) -> np.ndarray:
        return summarise(audio.read(path, sample_rate), sample_rate)

    files = [manifest.folder / path for path in manifest.table["path"]]
    # The matrices are so small that BLAS' own threads cost several times what they save.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(2) as pool:
        values = np.stack(list(pool.map(of_file, files)))
    with paths.replacing(stored) as draft:
        np.save(draft, values)
    size = f"{len(values)} files, {values.shape[1]} numbers each"
    print(f"acoustic features: {size}, {time.perf_counter() - begin:.1f} s", flush=True)
    return values

"""Spectrogram images a second: this project's TensorFlow function against librosa + matplotlib.

    python tests/benchmarks/bench_spectrogram.py

Prints images a second and the ratio, measured in one process, and writes the same lines to
``results/benchmarks/spectrogram.txt``.
"""

import time

import librosa
import matplotlib
import numpy as np
from PIL import Image

from dslite import paths, provenance, settings
from dslite.features import spectrogram, store

CHUNKS = 256
ROUNDS = 5


def by_librosa(waves: np.ndarray, used: settings.Settings) -> None:
    """What the method costs when each step is a call of a general library."""
    for wave in waves:
        mel = librosa.feature.melspectrogram(
            y=wave, sr=used.sample_rate, n_fft=512, hop_length=256, n_mels=128, center=False
        )
        level = librosa.power_to_db(mel, ref=np.max, top_db=None)
        scaled = (level - level.min()) / (level.max() - level.min())
        drawn = matplotlib.colormaps["viridis"](scaled[::-1], bytes=True)[..., :3]
        Image.fromarray(drawn).resize((used.image_size,) * 2, Image.Resampling.BILINEAR)


def main() -> None:
    """Measure, print, write."""
    used = settings.Settings(weights="random")
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((CHUNKS, used.chunk_samples)).astype(np.float32) / 10
    compute = spectrogram.compiled_mel_image(used)

    def by_us(batch: np.ndarray) -> None:
        for i in range(0, len(batch), store.BATCH):
            mel = compute(batch[i : i + store.BATCH])
            spectrogram.picture(mel, used).numpy()

    rates: dict[str, list[float]] = {"librosa + matplotlib": [], "dslite": []}
    by_us(waves[:64])
    by_librosa(waves[:4], used)
    for _ in range(ROUNDS):  # alternating, so that a noisy neighbour disturbs both
        for name, call in (
            ("librosa + matplotlib", lambda w: by_librosa(w, used)),
            ("dslite", by_us),
        ):
            begin = time.perf_counter()
            call(waves)
            rates[name].append(CHUNKS / (time.perf_counter() - begin))
    lines = [f"{provenance.now()}  {provenance.hardware()['processor']}"]
    for name, speeds in rates.items():
        lines.append(
            f"{name:22s} {np.median(speeds):7.0f} images/s (lowest {min(speeds):.0f}, "
            f"highest {max(speeds):.0f} of {ROUNDS} rounds)"
        )
    ratios = np.divide(rates["dslite"], rates["librosa + matplotlib"])
    lines.append(f"ratio                  {np.median(ratios):7.1f} x")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    with paths.replacing(paths.ROOT / "results/benchmarks/spectrogram.txt") as draft:
        draft.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

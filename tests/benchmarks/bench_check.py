"""How long `dslite check` takes for a corpus of the size of SLEEP, the largest of the paper.

    python tests/benchmarks/bench_check.py [files]

Makes a ComParE package of wandering tones in a temporary folder (16,462 WAV files of 3.86 s on
average are 2 GB), checks it with an empty and with a filled cache, and reads and hashes the same
bytes in one thread, for the ratio of times; the search for near-duplicates is part of
the first check. Prints the figures and writes them to ``results/benchmarks/check.txt``.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from timing import write

from dslite import cards
from dslite.datasets import checks, fingerprint, manifest

RATE = 16000
SHARES = {"train": 5564, "devel": 5328, "test": 5570}


def voice(rng: np.random.Generator, length: int) -> np.ndarray:
    """Three tones whose heights and loudness wander, so that each file has syllables of its own."""
    at, knots, wave = np.arange(length), np.arange(0, length + 2000, 2000), np.zeros(length)
    for low, high in ((200, 800), (900, 2000), (2000, 3300)):
        hertz, loud = rng.uniform(low, high, len(knots)), rng.uniform(0, 0.2, len(knots))
        phase = 2 * np.pi * np.cumsum(np.interp(at, knots, hertz)) / RATE
        wave += np.interp(at, knots, loud) * np.sin(phase)
    return wave


def spent(function: Callable[[], object]) -> float:
    """Seconds of a call by the clock, since it computes in other processes, too."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def package(folder: Path, files: int) -> int:
    """A SLEEP package with so many files; gives its size in bytes."""
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir(parents=True)
    (folder / "lab").mkdir()
    rows = ["file_name,label"]
    for part, share in SHARES.items():
        for i in range(1, max(3, round(files * share / sum(SHARES.values()))) + 1):
            name = f"{part}_{i:04d}.wav"
            length = int(np.clip(rng.normal(3.86, 0.64), 1.56, 5) * RATE)
            soundfile.write(folder / "wav" / name, voice(rng, length), RATE)
            rows.append(f"{name},{'?' if part == 'test' else rng.integers(1, 10)}")
    (folder / "lab" / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return sum(f.stat().st_size for f in (folder / "wav").iterdir())


def main(files: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["DSLITE_CACHE"] = str(Path(place) / "cache")
        corpus = Path(place) / "sleep"
        size, card = package(corpus, files), cards.load("sleep", corpus)

        def check():
            findings = checks.findings(manifest.build(card), cards.settings_of(card))
            assert not findings["errors"], findings["errors"]
            assert not {checks.NEAR_SPLIT, checks.NEAR_TWICE} & set(findings["warnings"])

        def hashed():
            for file in (corpus / "wav").iterdir():
                hashlib.sha256(file.read_bytes()).digest()

        read, first, again = map(spent, (hashed, check, check))
        texts = manifest.build(card).table["fingerprint"]
        pairs = spent(lambda: fingerprint.near_duplicates(texts))
    lines = [
        f"{files:,} files, {size / 1e9:.2f} GB, {os.cpu_count()} cores; by the clock",
        f"bytes read and hashed     {read:7.1f} s",
        f"check, empty cache        {first:7.1f} s   ratio {first / read:.1f}",
        f"  of it, near-duplicates  {pairs:7.1f} s   ratio {pairs / read:.1f}",
        f"check, filled cache       {again:7.1f} s   ratio {again / read:.2f}",
    ]
    print("\n".join(lines))
    write("check.txt", lines)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else sum(SHARES.values()))

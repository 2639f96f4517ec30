"""How long `dslite check` takes for a corpus of the size of SLEEP, the largest of the paper.

    python tests/benchmarks/bench_check.py [files]

Makes a ComParE package of noise in a temporary folder (16,462 WAV files of 3.86 s on average are
2 GB), checks it with an empty and with a filled cache, and reads and hashes the same bytes in one
thread, for the ratio. Prints the figures and writes them to ``results/benchmarks/check.txt``.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from timing import seconds, write

from dslite import cards
from dslite.datasets import checks, manifest

RATE = 16000
SHARES = {"train": 5564, "devel": 5328, "test": 5570}


def package(folder: Path, files: int) -> int:
    """A SLEEP package with so many files; gives its size in bytes."""
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir(parents=True)
    (folder / "lab").mkdir()
    noise = rng.normal(0, 0.1, 10 * RATE).astype(np.float32)
    rows = ["file_name,label"]
    for part, share in SHARES.items():
        for i in range(1, max(3, round(files * share / sum(SHARES.values()))) + 1):
            name = f"{part}_{i:04d}.wav"
            length = int(np.clip(rng.normal(3.86, 0.64), 1.56, 5) * RATE)
            start = rng.integers(len(noise) - length)
            soundfile.write(folder / "wav" / name, noise[start : start + length], RATE)
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
            errors = checks.findings(manifest.build(card), cards.settings_of(card))["errors"]
            assert not errors, errors

        def hashed():
            for file in (corpus / "wav").iterdir():
                hashlib.sha256(file.read_bytes()).digest()

        read, first, again = map(seconds, (hashed, check, check))
    lines = [
        f"{files:,} files, {size / 1e9:.2f} GB, {os.cpu_count()} cores",
        f"bytes read and hashed in one thread {read:7.1f} s",
        f"check, empty cache                  {first:7.1f} s   ratio {first / read:.1f}",
        f"check, filled cache                 {again:7.1f} s   ratio {again / read:.2f}",
    ]
    print("\n".join(lines))
    write("check.txt", lines)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else sum(SHARES.values()))

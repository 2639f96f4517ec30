"""How many copies a fingerprint recognises, and how many different recordings it takes for one.

    python tests/benchmarks/fingerprint.py ravdess=FOLDER fsdd=FOLDER [--copies 60]

Every pair of a corpus's own files is compared (false alarms); of some files, drawn with a fixed
seed, copies of each kind are made and compared with their original (recall). Writes the figures to
``results/benchmarks/fingerprint.md``.
"""

import argparse
import io
import time
from pathlib import Path

import av
import librosa
import numpy as np
import pandas as pd
import soundfile
import soxr
from timing import write

from dslite.datasets import fingerprint


def of(wave: np.ndarray, rate: int) -> str:
    """Fingerprint of a waveform [samples]."""
    spectrogram = fingerprint.Spectrogram(rate, 1)
    spectrogram.add(wave[:, None])
    return fingerprint.of_levels(spectrogram.levels())


def coded(wave: np.ndarray, rate: int, form: str, codec: str, bits: int) -> tuple[np.ndarray, int]:
    """What a lossy encoder leaves."""
    content = io.BytesIO()
    with av.open(content, "w", format=form) as box:
        stream = box.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bits
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            box.mux(packet)
    content.seek(0)
    with av.open(content) as box:
        to_float = av.AudioResampler(format="flt", layout="mono")
        frames = [one for frame in box.decode(audio=0) for one in to_float.resample(frame)]
    return np.concatenate([one.to_ndarray()[0] for one in frames]), frames[0].sample_rate


def hiss(wave, rate):
    noise = np.random.default_rng(len(wave)).standard_normal(len(wave))
    return wave + noise * np.sqrt(np.mean(wave**2)) * 10**-1.5, rate


def later(wave, rate):
    return np.concatenate([np.zeros(rate // 10), wave]), rate


def trimmed(wave, rate):
    hop = rate // 100
    return librosa.effects.trim(wave, top_db=30, frame_length=5 * hop, hop_length=hop)[0], rate


def opus(wave, rate):
    return coded(soxr.resample(wave, rate, 48000), 48000, "ogg", "libopus", 24000)


KINDS = {
    "MP3, 64 kbit/s": lambda x, r: coded(x, r, "mp3", "libmp3lame", 64000),
    "Opus, 24 kbit/s": opus,
    "8 kHz": lambda x, r: (soxr.resample(x, r, 8000), 8000),
    "44.1 kHz": lambda x, r: (soxr.resample(x, r, 44100), 44100),
    "-12 dB": lambda x, r: (x / 4, r),
    "100 ms later": later,
    "hiss, 30 dB below": hiss,
    "silent ends trimmed": trimmed,
    "5 % off both ends": lambda x, r: (x[len(x) // 20 : -(len(x) // 20)], r),
    "later, 8 kHz, MP3": lambda x, r: KINDS["MP3, 64 kbit/s"](*KINDS["8 kHz"](*later(x, r))),
    "hiss, later, Opus": lambda x, r: opus(*later(*hiss(x, r))),
    "trimmed, hiss, -12 dB": lambda x, r: KINDS["-12 dB"](*hiss(*trimmed(x, r))),
}


def main(corpora: list[str], copies: int) -> None:
    """Measure each corpus and write the page."""
    columns, lines = {}, []
    for each in corpora:
        name, _, folder = each.partition("=")
        files = sorted(f for f in Path(folder).rglob("*") if f.suffix in {".wav", ".flac"})
        texts, seconds, begin = [], 0.0, time.process_time()
        for file in files:
            wave, rate = soundfile.read(file)
            seconds += len(wave) / rate
            texts.append(of(wave, rate))
        spent = time.process_time() - begin
        begin = time.process_time()
        pairs, _ = fingerprint.near_duplicates(texts)
        compared = time.process_time() - begin
        lines += [
            f"- {name}: {len(files):,} files, {len(files) * (len(files) - 1) // 2:,} pairs, "
            f"{len(pairs)} of them taken for one recording; {1000 * spent / seconds:.1f} ms of one "
            f"processor for a second of audio, {compared:.1f} s for all pairs"
        ]
        lines += [f"  - {files[i].name} and {files[j].name}" for i, j in pairs[:10]]
        print("\n".join(lines), flush=True)
        drawn = np.random.default_rng(0).choice(len(files), copies, replace=False)
        columns[name] = {}
        for kind, change in KINDS.items():
            right = 0
            for i in drawn:
                copy, rate = change(*soundfile.read(files[i]))
                right += bool(fingerprint.near_duplicates([texts[i], of(copy, rate)])[0])
            columns[name][kind] = f"{100 * right / copies:.0f}"
            print(kind, columns[name][kind], flush=True)
    table = pd.DataFrame(columns)
    rows = [
        f"| {kind} | {' | '.join(row)} |"
        for kind, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    text = (
        f"Copies recognised, in % of {copies} files a corpus. The thresholds (cosine "
        f"{fingerprint.SINGLE} of a single syllable, {fingerprint.SEVERAL} of three or more) were "
        "chosen so that no two different recordings are taken for one: that of one syllable on "
        "1,000 files of FSDD, so that its other 2,000 are a test of it. That of several was 0.95 "
        "after 168 files of RAVDESS and was raised when one pair of all 1,012 (two takes of one "
        "sentence) was taken for one; no other corpus has tested it."
    )
    head = f"| copy | {' | '.join(columns)} |\n|:--|{'--:|' * len(columns)}"
    write("fingerprint.md", ["# Fingerprints of recordings", "", *lines, "", text, "", head, *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--copies", type=int, default=60)
    arguments = parser.parse_args()
    main(arguments.corpora, arguments.copies)

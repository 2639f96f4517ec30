"""Fingerprints: a recording is recognised in its copies, and nothing else is."""

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import stft

from dslite import cards
from dslite.datasets import checks, fingerprint, load_manifest, scan
from tests.datasets import trees

RATE = 16000


def voice(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Syllables of three wandering tones each: float64 [samples]."""
    rng, samples = np.random.default_rng(seed), round(seconds * RATE)
    wave, at = 0.001 * rng.standard_normal(samples), 0
    while at < samples - 2000:
        length = min(samples - at, int(rng.uniform(0.1, 0.3) * RATE))
        for low, high in ((200, 800), (900, 2000), (2000, 3300)):
            tone = np.linspace(*rng.uniform(low, high, 2), length)
            part = rng.uniform(0.02, 0.2) * np.sin(2 * np.pi * np.cumsum(tone) / RATE)
            wave[at : at + length] += part * np.hanning(length)
        at += length + int(rng.uniform(0, 0.1) * RATE)
    return wave


def hiss(wave, decibels=30):
    noise = np.random.default_rng(9).standard_normal(len(wave))
    return wave + noise * np.sqrt(np.mean(wave**2)) * 10 ** (-decibels / 20)


COPIES = {
    "mp3": ("mp3", lambda x: x, RATE),
    "rate": ("wav", lambda x: soxr.resample(x, RATE, 8000), 8000),
    "cd": ("flac", lambda x: soxr.resample(x, RATE, 44100), 44100),
    "stereo": ("flac", lambda x: np.stack([x, x], axis=1), RATE),
    "cancelling": ("wav", lambda x: np.stack([x, -x], axis=1), RATE),
    "soft": ("wav", lambda x: x / 4, RATE),
    "later": ("wav", lambda x: np.concatenate([np.zeros(1603), x]), RATE),
    "shorter": ("wav", lambda x: x[1234:-1601], RATE),
    "hissing": ("wav", hiss, RATE),
    "all": ("ogg", lambda x: hiss(np.concatenate([np.zeros(999), x / 3])), RATE),
}

SEGMENTS = [("a", "train", "x", 0), ("a", "train", "y", 0.1), ("b", "devel", "x", 0.5)]
SEGMENTS += [("b", "devel", "y", 1), ("c", "test", "x", 1.5), ("c", "test", "y", 1.9)]


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_recognised_and_nothing_else(tmp_path, kind):
    suffix, change, rate = COPIES[kind]
    for seed in range(5):
        soundfile.write(tmp_path / f"{seed}.wav", voice(seed), RATE)
    soundfile.write(tmp_path / f"5.{suffix}", change(voice(2)), rate)
    files = sorted(tmp_path.iterdir())
    assert fingerprint.near_duplicates([scan.of_file(file).fingerprint for file in files]) == [
        (2, 5)
    ]


def test_a_beep_in_front_is_no_copy_and_what_is_steady_has_no_fingerprint(tmp_path, rng):
    beep = voice(50, 0.4)
    beeps = [np.concatenate([beep, voice(seed)]) for seed in range(3)]
    hum = 0.3 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)
    noises = [rng.uniform(-0.3, 0.3, length) for length in (3000, 3000, RATE, RATE)]
    texts = []
    for wave in (*beeps, *noises, hum, np.zeros(RATE), np.zeros(3)):
        soundfile.write(tmp_path / "a.wav", wave, RATE)
        texts.append(scan.of_file(tmp_path / "a.wav").fingerprint)
    assert fingerprint.near_duplicates(texts) == []
    assert texts[-2:] == ["", ""]
    assert fingerprint.near_duplicates([]) == fingerprint.near_duplicates([""]) == []


def test_no_neighbour_is_overlooked(rng):
    """The same pairs of files as all syllables compared with all."""
    shapes, file = np.eye(80)[rng.integers(0, 3, 600)], np.arange(600) // 3
    shapes += rng.uniform(0, 0.06, (600, 1)) * rng.normal(size=(600, 80))
    shapes = (shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).astype(np.float32)
    one, other = np.nonzero(np.triu(shapes @ shapes.T > fingerprint.SEVERAL))
    expected = {(i, j) for i, j in zip(file[one], file[other], strict=True) if i < j}
    assert len(expected) > 100
    assert expected <= set(fingerprint._neighbours(shapes, file))


def test_pairs_are_searched_once(cache, monkeypatch):
    calls, search = [], "near_duplicates"
    monkeypatch.setattr(fingerprint, search, lambda texts: calls.append(texts) or [(0, 1)])
    for texts in (["a", "a"], ["a", "a"], ["a", "b"]):
        assert scan.near_duplicates(texts, "few") == [(0, 1)]
    assert len(calls) == 2
    next(cache.rglob("few-pairs.json")).write_text("damaged")
    assert scan.near_duplicates(["a", "b"], "few") == [(0, 1)]
    assert len(calls) == 3


def test_the_powers_are_those_of_one_piece(rng):
    """Blocks of any length give what SciPy gives of the whole file, in bands."""
    wave, spectrogram = rng.uniform(-0.5, 0.5, 20001), fingerprint.Spectrogram(RATE, 1)
    for part in np.split(wave, [1, 5, 700, 9000]):
        spectrogram.add(part[:, None])
    levels = spectrogram.levels()
    window = np.hanning(769)[:-1]
    padded = np.pad(wave, 768)
    _, _, spectra = stft(padded, RATE, window, 768, 768 - 256, boundary=None, padded=False)
    power = np.square(np.abs(spectra * window.sum())).T
    hz = np.arange(385) * RATE / 768
    inside = (hz >= fingerprint.LOWEST_HZ) & (hz < fingerprint.HIGHEST_HZ)
    total = 10 * np.log10((10 ** (levels / 10)).sum(axis=1))
    expected = 10 * np.log10(power[:, inside].sum(axis=1) + 20e-9)
    np.testing.assert_allclose(total, expected[: len(total)], atol=0.05)
    assert len(levels) == len(expected)


def test_the_check_names_both_rows(tmp_path, cache, command):
    speakers = {"a": "train", "b": "devel", "c": "test"}
    table = trees.table(tmp_path, speakers, lambda s, j: voice(10 * ord(s) + j))
    assert command("check", table, "--strict")[0] == 0
    soundfile.write(tmp_path / "c1.wav", 0.5 * voice(970), RATE)
    soundfile.write(tmp_path / "b1.wav", hiss(voice(980)), RATE)
    assert checks.warnings(load_manifest(cards.load(str(table)))) == {
        checks.NEAR_SPLIT: [
            "row 7, c1.wav (test): the same recording as row 2, a0.wav (train), by its sound; "
            "listen, and remove one"
        ],
        checks.NEAR_TWICE: [
            "row 5, b1.wav (devel): the same recording as row 4, b0.wav (devel), by its sound; "
            "listen, and remove one"
        ],
    }
    assert command("check", table, "--strict")[0] == 1
    soundfile.write(tmp_path / "long.wav", np.concatenate([voice(1), voice(1)]), RATE)
    rows = [f"long.wav,{c},{s},{p},{i},{i + 2}" for s, p, c, i in SEGMENTS]
    head = "path,label,speaker,partition,start,end"
    (tmp_path / "own.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    kinds = checks.warnings(load_manifest(cards.load(str(table))))
    assert not {checks.NEAR_SPLIT, checks.NEAR_TWICE} & set(kinds)  # of one file

"""Fingerprints: a recording is recognised in its copies, and nothing else is."""

import base64

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from scipy.signal import stft

from dslite import cards
from dslite.datasets import checks, fingerprint, load_manifest, scan
from dslite.datasets.manifest import Manifest
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
    texts = [scan.of_file(file).fingerprint for file in files]
    assert fingerprint.near_duplicates(texts) == ([(2, 5)], [])


def test_a_beep_in_front_is_no_copy_and_what_is_steady_has_no_fingerprint(tmp_path, rng):
    beep = voice(50, 0.4)
    beeps = [np.concatenate([beep, voice(seed)]) for seed in range(3)]
    hum = 0.3 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)
    noises = [rng.uniform(-0.3, 0.3, length) for length in (3000, 3000, RATE, RATE)]
    texts = []
    for wave in (*beeps, *noises, hum, np.zeros(RATE), np.zeros(3)):
        soundfile.write(tmp_path / "a.wav", wave, RATE)
        texts.append(scan.of_file(tmp_path / "a.wav").fingerprint)
    assert fingerprint.near_duplicates(texts) == ([], [])
    assert texts[-2:] == ["", ""]
    assert fingerprint.near_duplicates([]) == fingerprint.near_duplicates([""]) == ([], [])


def alike(rng, files, each, noise):
    """Syllables of three kinds with noise: float32 [syllables, 80] of norm 1, and their files."""
    shapes = np.eye(80)[rng.integers(0, 3, files * each)]
    shapes += noise * rng.uniform(0, 1, (len(shapes), 1)) * rng.normal(size=shapes.shape)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    return shapes.astype(np.float32), np.repeat(np.arange(files), each)


def test_no_neighbour_is_overlooked_and_of_many_the_first_are_taken(rng, monkeypatch):
    """The same pairs of files as all syllables compared with all; of a crowd, the first of them."""
    shapes, file = alike(rng, 200, 3, 0.06)
    near = (shapes @ shapes.T > fingerprint.SEVERAL - 1e-4) & (file[:, None] < file)
    pairs, crowded = fingerprint._neighbours(shapes, file)
    first = near & (np.cumsum(near, axis=0) <= fingerprint.MOST_NEIGHBOURS)
    assert set(pairs) == set(zip(*(file[i].tolist() for i in np.nonzero(first)), strict=True))
    enough = near.sum(axis=0) >= fingerprint.MOST_NEIGHBOURS
    assert crowded == sorted(set(file[enough].tolist())) != []
    monkeypatch.setattr(fingerprint, "MOST_NEIGHBOURS", 600)
    pairs, crowded = fingerprint._neighbours(shapes, file)
    assert set(pairs) == set(zip(*(file[i].tolist() for i in np.nonzero(near)), strict=True))
    assert crowded == []


def test_thousands_of_files_of_one_beep_have_few_pairs(rng, cache):
    """All but the first are named as copies, each of the first; two beeps are two groups."""
    shapes, file = alike(rng, 3000, 1, 0)
    syllables = np.zeros(len(shapes), fingerprint.SYLLABLE)
    noise = rng.integers(-1, 2, shapes.shape)
    syllables["shape"] = np.clip(np.round(127 * shapes) + noise, -127, 127)
    texts = [base64.b64encode(one.tobytes()).decode() for one in syllables]
    pairs, crowded = fingerprint.near_duplicates(texts)
    assert len(pairs) < fingerprint.MOST_NEIGHBOURS * len(texts)
    assert len(crowded) == len(texts) - 3 * fingerprint.MOST_NEIGHBOURS
    earliest = {}
    for one, other in pairs:
        earliest.setdefault(other, one)
    kinds = shapes.argmax(axis=1)
    firsts = {int(np.flatnonzero(kinds == kind)[0]) for kind in range(3)}
    assert earliest.keys() == set(file.tolist()) - firsts
    assert set(earliest.values()) == firsts
    table = pd.DataFrame({"path": texts, "partition": "train", "fingerprint": texts})
    corpus = Manifest(cache, table.assign(audio_hash=texts), card=cards.load("demo"))
    kinds = checks._near_duplicates(corpus)
    assert len(kinds[checks.NEAR_TWICE]) == 2997
    assert len(kinds[checks.CROWDED]) == 1
    assert kinds[checks.CROWDED][0].startswith("2952 files, as row ")


def test_pairs_are_searched_once(cache, monkeypatch):
    calls, search = [], "near_duplicates"
    monkeypatch.setattr(fingerprint, search, lambda texts: calls.append(texts) or ([(0, 1)], [1]))
    for texts in (["a", "a"], ["a", "a"], ["a", "b"]):
        assert scan.near_duplicates(texts, "few") == ([(0, 1)], [1])
    assert len(calls) == 2
    next(cache.rglob("few-pairs.json")).write_text("damaged")
    assert scan.near_duplicates(["a", "b"], "few") == ([(0, 1)], [1])
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

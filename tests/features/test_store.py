"""Stored spectrograms and activations of small corpora of noise, and the batches read from them."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from dslite import audio, cards, paths
from dslite.datasets import load_manifest, write_partition
from dslite.datasets.manifest import digest
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.settings import Settings

RATE = 8000
USED = Settings(
    sample_rate=RATE, chunk_length_s=0.25, mel_bands=16, image_size=32, units=4, weights="random"
)
DROP = USED.model_copy(update={"tail": "drop"})
SECONDS = (0.6, 0.2, 0.3, 0.25, 0.375, 0.9)  # 0.2: shorter than a chunk
PLACES = ("train", "train", "devel", "devel", "test", "test")
LABELS = ("no", "yes") * 3


def manifest_of(folder):
    return load_manifest(cards.load(str(folder / "own.csv")))


def make_corpus(folder, seconds=SECONDS, places=PLACES, labels=LABELS, card="", seed=0):
    rng = np.random.default_rng(seed)
    rows = ["path,label,speaker,partition"]
    for i, (length, place, label) in enumerate(zip(seconds, places, labels, strict=True)):
        noise = rng.uniform(-0.5, 0.5, round(length * RATE))
        soundfile.write(folder / f"f{i}.wav", noise, RATE)
        rows.append(f"f{i}.wav,{label},{place}{i},{place}")
    (folder / "own.csv").write_text("\n".join(rows) + "\n")
    if card:
        (folder / "own.yaml").write_text(card)
    return manifest_of(folder)


@pytest.fixture
def corpus(tmp_path, cache):
    return lambda *args, **kwargs: make_corpus(tmp_path, *args, **kwargs)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The store of the corpus as it is by default. Tests only read it."""
    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DSLITE_CACHE", str(folder / "cache"))
        return feature_store.load_spectrograms(make_corpus(folder), USED)


# Stored spectrograms


@pytest.mark.parametrize(("used", "batch"), [(USED, 3), (DROP, 64)])
def test_store_holds_the_chunks_of_every_file(corpus, cache, monkeypatch, used, batch):
    monkeypatch.setattr(feature_store, "BATCH", batch)  # ends within the corpus, and after it
    built = corpus()
    store = feature_store.load_spectrograms(built, used)
    with monkeypatch.context() as patched:
        patched.setattr(audio, "chunks_of", None)  # the second time nothing is computed
        again = feature_store.load_spectrograms(built, used)
    np.testing.assert_array_equal(again.mel, store.mel)
    cut = [audio.chunks_of(built.folder / path, used) for path in built.table["path"]]
    chunks, starts_s = map(np.concatenate, zip(*cut, strict=True))
    assert store.file.tolist() == [row for row, (_, starts) in enumerate(cut) for _ in starts]
    np.testing.assert_allclose(store.start_s, starts_s)
    assert store.mel.dtype == np.uint8
    assert store.mel.shape == (len(chunks), 16, spectrogram.frames(used))
    difference = store.mel.astype(int) - spectrogram.mel_image(chunks, used).numpy()
    assert np.abs(difference).max() <= 1  # a compiled function may round the other way
    assert (difference != 0).mean() < 1e-3
    assert store.dropped == (("f1.wav",) if used is DROP else ())
    assert store.folder == built.folder
    pd.testing.assert_frame_equal(store.files, built.table)


def test_copies_follow_the_files_and_belong_to_a_seed(corpus, cache, stored):
    """The files' own chunks come first and are the same; without a seed there are no copies."""
    built = corpus()
    used = USED.model_copy(update={"copies": 2, "head": "ridge"})
    assert feature_store.load_spectrograms(built, used).key == stored.key
    assert feature_store.load_spectrograms(built, USED, seed=7).key == stored.key
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(feature_store, "BATCH", 3)  # parts end within files and copies
        store = feature_store.load_spectrograms(built, used, seed=7)
    n = store.originals
    assert n == len(stored.mel) == stored.originals
    np.testing.assert_array_equal(store.mel[:n], stored.mel)
    for partitions in (("train",), ("devel", "test")):
        chunks = store.chunks(*partitions)
        np.testing.assert_array_equal(chunks, stored.chunks(*partitions))
        copies = store.copies(chunks)
        assert copies.min() >= n
        assert set(store.file[copies]) == set(store.file[chunks])
        assert len(stored.copies(chunks)) == 0
    assert sorted(np.r_[store.copies(store.chunks(*PLACES)), :n]) == list(range(len(store.mel)))
    # A file shorter than a chunk has one chunk, and so have its copies.
    one, other = store.mel[n:][store.file[n:] == 1]
    assert (one != other).mean() > 0.1
    again = feature_store._compute_spectrograms(built, used, 7, {}, "")
    np.testing.assert_array_equal(np.concatenate(list(again)), store.mel)
    keys = {feature_store.store_key(built, used, seed) for seed in (None, 7, 8)}
    keys |= {feature_store.store_key(built, used.model_copy(update={"copies": 1}), 7)}
    assert len(keys) == 4
    assert {stored.key, store.key} < keys


CHANGES = {
    **{"sample_rate": 4000, "chunk_length_s": 0.5, "chunk_hop_s": 0.1, "tail": "drop"},
    **{"trim": "on", "window_ms": 64, "hop_ms": 8, "mel_bands": 20, "mel_min_hz": 50.0},
    **{"mel_max_hz": 3000.0, "top_db": 60, "trim_db": 30, "picture": "clip", "columns": 64},
    **{"level_window_ms": 64.0, "level_max_hz": 2000.0, "level_range_db": 60.0},
    **{"mel_scale": "htk", "mel_norm": "none", "normalise": "off", "power_floor": 1e-16},
}
HARMLESS = {"image_size": 64, "backbone": "mobilenet_v2", "augmentation": "cutmix", "units": 9}
HARMLESS |= {"epoch_choice": "best", "threads": 1}


def test_the_key_holds_all_that_a_spectrogram_depends_on(corpus):
    built, same = corpus(), feature_store.store_key(corpus(), USED)
    keys = {
        name: feature_store.store_key(built, USED.model_copy(update={name: value}))
        for name, value in (CHANGES | HARMLESS).items()
    }
    assert {keys[name] for name in HARMLESS} == {same}
    assert len({same, *(keys[name] for name in CHANGES)}) == 1 + len(CHANGES)
    assert set(feature_store.KEY) == set(CHANGES), "every setting of the key was tried"


def test_the_key_follows_the_audio_not_the_labels(corpus, cache):
    first = feature_store.load_spectrograms(corpus(), USED)
    other = {"labels": LABELS[::-1], "places": PLACES[::-1]}
    relabelled = feature_store.load_spectrograms(corpus(**other), USED)
    assert relabelled.key == first.key
    assert relabelled.files["label"].tolist() == list(LABELS[::-1])
    assert len(list(cache.rglob("mel.u8"))) == 1
    assert feature_store.store_key(corpus(seed=1), USED) != first.key
    # Files in another order are other rows of the store.
    shuffled = corpus(seconds=SECONDS[:4] + SECONDS[:3:-1])
    assert feature_store.store_key(shuffled, USED) != first.key


def test_dropped_files_are_counted_and_shown(corpus, capsys, monkeypatch):
    monkeypatch.setattr(feature_store, "BATCH", 1)  # nothing is left for the last file
    built = corpus(seconds=(0.6, 0.2, 0.3, 0.25, 0.9, 0.1))
    for _ in range(2):  # also when nothing is computed
        store = feature_store.load_spectrograms(built, DROP)
        assert store.dropped == ("f1.wav", "f5.wav")
        assert set(store.file) == {0, 2, 3, 4}
        output = capsys.readouterr().out
        assert "2 of 6 files are shorter than a chunk of 0.25 s and dropped" in output
        assert f"warning: partition train has lost class {LABELS[1]}\n" in output
        assert output.count("warning") == 2


@pytest.mark.parametrize("short", ["train", "devel", "test", "train devel test"])
def test_a_partition_without_chunks_is_refused(corpus, cache, short):
    seconds = [0.1 if place in short else 0.5 for place in PLACES]
    which = f"file of partition {short} is" if short in PLACES else "file is"
    message = rf"^own: no {which} as long as a chunk \(0\.25 s\):.*tail=keep"
    with pytest.raises(InputError, match=message):
        feature_store.load_spectrograms(corpus(seconds=seconds), DROP)
    assert bool([*cache.rglob("mel.u8")]) == (short in PLACES)  # nothing at all is not stored


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no", r"f4\.wav: not readable as audio"),
        (None, r"own: 1 files changed.* f4\.wav; nothing was stored"),  # other audio
    ],
)
def test_a_file_that_changes_while_the_corpus_is_read(
    corpus, cache, tmp_path, monkeypatch, content, message
):
    built, chunks_of = corpus(), audio.chunks_of

    def changing(path, used, rng):
        if path.name == "f4.wav":
            path.write_bytes(content or (tmp_path / "f5.wav").read_bytes())
        return chunks_of(path, used, rng)

    monkeypatch.setattr(feature_store, "BATCH", 1)  # something has been written by then
    monkeypatch.setattr(audio, "chunks_of", changing)
    with pytest.raises(InputError, match=message):
        feature_store.load_spectrograms(built, USED)
    below = cache / "spectrograms"
    assert [path for path in below.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_another_division_is_fine_and_another_corpus_is_refused(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    built = corpus()
    write_partition(built)
    table = built.table.assign(partition=built.table["partition"].to_numpy()[::-1])
    fold = dataclasses.replace(built, table=table, fold="3folds/fold1", divided=digest(built))
    store = feature_store.load_spectrograms(fold, USED)
    assert store.key == feature_store.load_spectrograms(built, USED).key
    soundfile.write(tmp_path / "f3.wav", np.full(RATE, 0.1), RATE)
    with pytest.raises(InputError, match=r"^own: the corpus is not the one of .*\(f3\.wav\)"):
        feature_store.load_spectrograms(manifest_of(tmp_path), USED)
    with pytest.raises(InputError, match=r"f0\.wav, f1\.wav, f2\.wav and 3 more.*dslite partition"):
        feature_store.load_spectrograms(corpus(labels=("yes", "no") * 3), USED)


# Stored activations


SHAPE, SIZE = (70, 5), 32  # more than two batches of chunks, the last one incomplete
VALUES = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)


def computing(log, error=None):
    """Return a ``compute`` that notes the slices it is asked for, or fails after the first one."""

    def compute(part):
        if error and part.start:
            raise error
        log.append((part.start, part.stop))
        return VALUES[part]

    return compute


def folder_of():
    return paths.cache() / "activations" / "toy" / "key"


def forbidden(part):
    pytest.fail("nothing was to be computed")


def load(compute=VALUES.__getitem__, log=None, limit_gib=1.0):
    log = [] if log is None else log
    return feature_store.load_activations(folder_of(), SHAPE, compute, SIZE, limit_gib, log.append)


def leftovers():
    return sorted(p.name for p in folder_of().parent.glob("*") if p.suffix != ".lock")


def test_activations_are_written_once_and_read_back(cache):
    log = []
    values = load(computing(log), log)
    assert isinstance(values, np.memmap)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, VALUES)
    size, *slices, speed = log  # the size is told before anything is computed
    assert re.search("70 x 5 .*GiB", size)
    assert slices == [(0, 32), (32, 64), (64, 70)]
    assert "pictures/s" in speed
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1.0
    log.clear()
    np.testing.assert_array_equal(load(forbidden, log), VALUES)
    assert log == []


@pytest.mark.parametrize("reason", ["trunk_cache_gib", "free on the disk"])
def test_what_does_not_fit_is_not_written_and_what_is_stored_stays(cache, monkeypatch, reason):
    def load_with(size, compute, log):
        free = feature_store.SPARE + (size if reason != "trunk_cache_gib" else VALUES.nbytes)
        disk = SimpleNamespace(free=free)
        monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: disk)
        limit = size if reason == "trunk_cache_gib" else VALUES.nbytes
        return load(compute, log, limit / 2**30)

    log = []
    assert load_with(VALUES.nbytes - 1, forbidden, log) is None
    (line,) = log
    assert reason in line
    assert "the frozen layers run at every step" in line
    assert leftovers() == []
    assert load_with(VALUES.nbytes, VALUES.__getitem__, []) is not None
    assert load_with(0, forbidden, []) is not None


def test_an_error_while_writing_leaves_nothing(cache):
    log = []
    assert load(computing([], OSError(28, "No space left on device")), log) is None
    assert len(log) == 2
    assert "No space left" in log[-1]
    assert leftovers() == []
    with pytest.raises(KeyboardInterrupt):
        load(computing([], KeyboardInterrupt))
    assert leftovers() == []
    np.testing.assert_array_equal(load(), VALUES)  # there is room again


ARRAY, INDEX = "activations.bin", "index.json"
DAMAGES = {  # a file, and what becomes of its content
    "cut off": (ARRAY, lambda content: content[:-4]),
    "last bit": (ARRAY, lambda content: content[:-1] + bytes([content[-1] ^ 4])),
    "lost": (ARRAY, None),
    "no index": (INDEX, None),
    "torn index": (INDEX, lambda content: content[:20]),
    "other shape": (INDEX, lambda content: content.replace(b"[70, 5]", b"[70, 4]")),
    "of an older version": (INDEX, lambda content: b'{"shape": [70, 5]}'),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_activations_are_told_and_computed_again(cache, name, damage):
    load()
    file = folder_of() / name
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()
    slices, log = [], []
    np.testing.assert_array_equal(load(computing(slices), log), VALUES)
    assert len(slices) == 3
    assert [str(file) in line for line in log if "computed again" in line] == [True]
    load(forbidden)
    assert leftovers() == ["key"]


def test_damaged_spectrograms_are_told_and_computed_again(stored, corpus, cache, capsys):
    feature_store.load_spectrograms(built := corpus(), USED)
    (file,) = cache.rglob("mel.u8")
    content = bytearray(file.read_bytes())
    content[100] ^= 4
    file.write_bytes(content)
    capsys.readouterr()
    np.testing.assert_array_equal(feature_store.load_spectrograms(built, USED).mel, stored.mel)
    lines = capsys.readouterr().out.splitlines()
    assert [str(file) in line for line in lines if "computed again" in line] == [True]


def test_a_disk_that_does_not_hold_what_is_written(corpus, monkeypatch):
    monkeypatch.setattr(feature_store, "_file_crc32", lambda file: 0)
    with pytest.raises(InputError, match=r"mel\.u8 is damaged .*is the disk in order\?"):
        feature_store.load_spectrograms(corpus(), USED)


def test_targets():
    files = pd.DataFrame({"label": ["b", "", "a", "c", "b"]})
    hot = feature_store.targets(files, ("c", "b", "a"), "classification")
    assert hot.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    files = pd.DataFrame({"label": ["1.5", "-2", "", "1e1"]}, dtype="str")
    values = feature_store.targets(files, (), "regression")
    assert values.tolist() == [[1.5], [-2], [0], [10]]
    assert hot.dtype == values.dtype == np.float32


@pytest.mark.parametrize("size", [4, 100])
def test_batches_cover_all_in_order(stored, rng, size):
    chunks = rng.permutation(np.repeat(np.arange(len(stored.mel)), 2))
    extra, second = rng.normal(size=(len(chunks), 3)), np.arange(2 * len(stored.mel)).reshape(-1, 2)
    parts = list(feature_store.batches([stored.mel, second], chunks, size, extra))
    full, rest = divmod(len(chunks), size)
    assert [len(mel) for mel, *_ in parts] == [size] * full + [rest] * (rest > 0)
    expected = stored.mel[chunks], second[chunks], extra
    for part, values in zip(zip(*parts, strict=True), expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(part), values)
    assert list(feature_store.batches([stored.mel], np.zeros(0, int), size)) == []


def test_predictions_and_waveforms_of_chunks(stored, monkeypatch):
    monkeypatch.setattr(feature_store, "BATCH", 3)
    chunks = np.array([0, 2, 5, len(stored.mel) - 1])
    values = feature_store.predict(tf.convert_to_tensor, stored.mel, chunks[::-1])
    np.testing.assert_array_equal(values, stored.mel[chunks[::-1]])
    waveforms = np.stack(list(feature_store.waveforms(stored, chunks, USED)))
    mel = spectrogram.mel_image(waveforms, USED).numpy().astype(int)
    assert np.abs(mel - stored.mel[chunks]).max() <= 1


MANY = ("test", "train", "train", "devel", "train", "test", "devel")
NUMBERS = ("5", "-10", "30", "9", "99", "-99", "0")
SHOWN = {
    # The first training files: f4 of class a, f1 of class b; two chunks each.
    "classes": ((0.3,) * 7, MANY, "abbbaba", "", USED, ("a", "b"), {"a": 8, "b": 2}),
    # By value, not by text: -10, 5, 9, 30; the third of four is the middle.
    "regression": (
        *((0.3,) * 6 + (0.1,), ("train",) * 4 + ("devel", "test", "test"), NUMBERS),
        *("task: regression", DROP, (), {"-10": 1, "9": 3, "30": 2}),
    ),
    "dropped files": ((0.1,) + (0.3,) * 5, PLACES, LABELS, "", DROP, ("no", "yes"), {"yes": 0}),
}


@pytest.mark.parametrize(
    ("seconds", "places", "labels", "card", "used", "classes", "shown"), SHOWN.values(), ids=SHOWN
)
def test_chunks_to_show(corpus, capsys, seconds, places, labels, card, used, classes, shown):
    store = feature_store.load_spectrograms(corpus(seconds, places, labels, card), used)
    assert feature_store.first_chunks(store, classes) == shown
    # A regression has no class to lose.
    assert ("warning" in capsys.readouterr().out) == (used is DROP and not card)

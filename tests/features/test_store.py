"""Stored spectrograms and activations of small corpora of noise, and the batches read from them."""

import dataclasses
import json
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from dslite import audio, cards, paths
from dslite.datasets import load_manifest, write_partition
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


def make_corpus(folder, seconds=SECONDS, places=PLACES, labels=LABELS, card="", seed=0):
    """A corpus of noise with its table in a folder."""
    rng = np.random.default_rng(seed)
    rows = ["path,label,speaker,partition"]
    for i, (length, place, label) in enumerate(zip(seconds, places, labels, strict=True)):
        noise = rng.uniform(-0.5, 0.5, round(length * RATE))
        soundfile.write(folder / f"f{i}.wav", noise, RATE)
        rows.append(f"f{i}.wav,{label},{place}{i},{place}")
    (folder / "own.csv").write_text("\n".join(rows) + "\n")
    if card:
        (folder / "own.yaml").write_text(card)
    return load_manifest(cards.load(str(folder / "own.csv")))


@pytest.fixture
def corpus(tmp_path, cache):
    """Makes a corpus of this test's own: ``corpus(seconds, places, labels)``."""
    return lambda *args, **kwargs: make_corpus(tmp_path, *args, **kwargs)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The store of the corpus as it is by default. Tests only read it."""
    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DSLITE_CACHE", str(folder / "cache"))
        return feature_store.load_spectrograms(make_corpus(folder), USED)


def cut_by_hand(folder, row: int, used: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of a file and their first samples, by a loop."""
    waveform, _ = soundfile.read(folder / f"f{row}.wav", dtype="float32")
    starts = audio.chunk_starts(
        len(waveform), used.chunk_samples, used.chunk_hop_samples, used.tail
    )
    cut = np.zeros((len(starts), used.chunk_samples), np.float32)
    for chunk, start in zip(cut, starts, strict=True):
        part = waveform[start : start + used.chunk_samples]
        chunk[: len(part)] = part
    return cut, starts


# Stored spectrograms


@pytest.mark.parametrize(("used", "batch"), [(USED, 3), (DROP, 64)])
def test_store_holds_the_chunks_of_every_file(corpus, cache, monkeypatch, used, batch):
    monkeypatch.setattr(feature_store, "BATCH", batch)  # ends within the corpus, and after it
    built = corpus()
    store = feature_store.load_spectrograms(built, used)
    mel, files, starts_s = [], [], []
    for row in range(len(SECONDS)):
        chunks, starts = cut_by_hand(built.folder, row, used)
        files += [row] * len(starts)
        starts_s += list(starts / RATE)
        if len(chunks):
            mel.append(spectrogram.mel_image(chunks, used).numpy())
    assert store.file.tolist() == files
    np.testing.assert_allclose(store.start_s, starts_s)
    assert store.mel.dtype == np.uint8
    assert store.mel.shape == (len(files), 16, spectrogram.frames(used))
    difference = store.mel.astype(int) - np.concatenate(mel)
    assert np.abs(difference).max() <= 1  # a compiled function may round the other way
    assert (difference != 0).mean() < 1e-3
    assert store.dropped == (("f1.wav",) if used is DROP else ())
    assert store.folder == built.folder
    pd.testing.assert_frame_equal(store.files, built.table)
    assert store.key == feature_store.store_key(built, used)
    (index,) = cache.rglob("index.json")
    assert tuple(json.loads(index.read_text())["shape"]) == store.mel.shape
    assert (index.parent / "mel.u8").stat().st_size == store.mel.size


def test_chunks_of_partitions(stored):
    by_hand = {
        place: [i for i, row in enumerate(stored.file) if PLACES[row] == place]
        for place in ("train", "devel", "test")
    }
    for place, expected in by_hand.items():
        assert expected
        assert stored.chunks(place).tolist() == expected
    both = stored.chunks("test", "train")
    assert both.tolist() == sorted(by_hand["train"] + by_hand["test"])
    assert stored.chunks().tolist() == []


def test_trim_removes_silence_before_cutting(corpus, tmp_path):
    corpus()
    noise, silence = np.random.default_rng(0).uniform(-0.5, 0.5, RATE), np.zeros(2 * RATE)
    soundfile.write(tmp_path / "f0.wav", np.concatenate([silence, noise, silence]), RATE)
    built = load_manifest(cards.load(str(tmp_path / "own.csv")))
    off, on = (
        (feature_store.load_spectrograms(built, USED.model_copy(update={"trim": trim})).file == 0)
        for trim in ("off", "on")
    )
    assert off.sum() == 1 + np.ceil((5 - 0.25) / 0.125)
    assert 7 <= on.sum() <= 11  # about a second: 7 chunks, and a few of the trim's margin


def test_second_load_computes_nothing(corpus, cache, monkeypatch, capsys):
    built = corpus()
    first = feature_store.load_spectrograms(built, USED)
    assert "dropped" not in capsys.readouterr().out
    (file,) = cache.rglob("mel.u8")
    state = file.stat()
    monkeypatch.setattr(audio, "chunks_of", None)
    second = feature_store.load_spectrograms(built, USED)
    assert file.stat().st_mtime_ns == state.st_mtime_ns
    assert file.stat().st_ino == state.st_ino
    np.testing.assert_array_equal(first.mel, second.mel)
    np.testing.assert_array_equal(first.file, second.file)
    np.testing.assert_array_equal(first.start_s, second.start_s)
    assert capsys.readouterr().out == ""


CHANGES = {
    **{"sample_rate": 4000, "chunk_length_s": 0.5, "chunk_hop_s": 0.1, "tail": "drop"},
    **{"trim": "on", "window_ms": 64, "hop_ms": 8, "mel_bands": 20, "mel_min_hz": 50.0},
    **{"mel_max_hz": 3000.0, "top_db": 60},
}
HARMLESS = {
    **{"image_size": 64, "backbone": "mobilenet_v2", "learning_rate": 0.5, "batch_size": 7},
    **{"augmentation": "cutmix", "balance": "none", "fusion": "vote", "pooling": "time"},
}


def test_the_key_holds_all_that_a_spectrogram_depends_on(corpus):
    built = corpus()
    keys = {
        name: feature_store.store_key(built, USED.model_copy(update={name: value}))
        for name, value in (CHANGES | HARMLESS).items()
    }
    same = feature_store.store_key(built, USED)
    assert {keys[name] for name in HARMLESS} == {same}
    assert len({same, *(keys[name] for name in CHANGES)}) == 1 + len(CHANGES)
    assert set(feature_store.KEY) == set(CHANGES), "every setting of the key was tried"


def test_the_key_follows_the_audio_not_the_labels(corpus, cache):
    first = feature_store.load_spectrograms(corpus(), USED)
    relabelled = feature_store.load_spectrograms(corpus(labels=("yes", "no") * 3), USED)
    assert relabelled.key == first.key
    assert relabelled.files["label"].tolist() == ["yes", "no"] * 3
    moved = corpus(places=("test", "test", "devel", "devel", "train", "train"))
    assert feature_store.store_key(moved, USED) == first.key
    assert len(list(cache.rglob("mel.u8"))) == 1
    assert feature_store.store_key(corpus(seed=1), USED) != first.key
    # Files in another order are other rows of the store.
    shuffled = corpus(seconds=SECONDS[:4] + SECONDS[:3:-1])
    assert feature_store.store_key(shuffled, USED) != first.key


# What is dropped, what goes wrong


def test_dropped_files_are_counted_and_shown(corpus, capsys, monkeypatch):
    monkeypatch.setattr(feature_store, "BATCH", 1)  # nothing is left for the last file
    built = corpus(seconds=(0.6, 0.2, 0.3, 0.25, 0.9, 0.1))
    for _ in range(2):  # also when nothing is computed
        store = feature_store.load_spectrograms(built, DROP)
        assert store.dropped == ("f1.wav", "f5.wav")
        output = capsys.readouterr().out
        assert "2 of 6 files are shorter than a chunk of 0.25 s and dropped" in output
        assert f"warning: partition train has lost class {LABELS[1]}\n" in output
        assert output.count("warning") == 2
    assert set(store.file) == {0, 2, 3, 4}
    assert len(store.mel) == len(store.file)


def test_a_regression_loses_no_class(corpus, capsys):
    numbers = ("1", "2", "3", "4", "5", "6")
    built = corpus(labels=numbers, card="task: regression")
    assert feature_store.load_spectrograms(built, DROP).dropped == ("f1.wav",)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["train", "devel", "test"])
def test_a_partition_without_chunks_is_refused(corpus, place):
    seconds = [0.1 if p == place else 0.5 for p in PLACES]
    with pytest.raises(InputError) as error:
        feature_store.load_spectrograms(corpus(seconds=seconds), DROP)
    assert f"own: no file of partition {place} is as long as a chunk (0.25 s)" in str(error.value)
    assert "tail=keep" in str(error.value)


def test_no_chunk_at_all_is_refused_and_not_stored(corpus, cache):
    with pytest.raises(InputError, match=r"no file is as long as a chunk \(0\.25 s\).*tail=keep"):
        feature_store.load_spectrograms(corpus(seconds=[0.1] * 6), DROP)
    assert not list(cache.rglob("mel.u8"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_an_interrupted_computation_leaves_nothing(corpus, cache, monkeypatch, error):
    built, proper = corpus(), audio.chunks_of

    def interrupted(path, used):
        if path.name == "f4.wav":
            raise error
        return proper(path, used)

    monkeypatch.setattr(feature_store, "BATCH", 1)  # something has been written by then
    monkeypatch.setattr(audio, "chunks_of", interrupted)
    with pytest.raises(error):
        feature_store.load_spectrograms(built, USED)
    below = cache / "spectrograms"
    assert [path for path in below.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    monkeypatch.setattr(audio, "chunks_of", proper)
    store = feature_store.load_spectrograms(built, USED)
    expected = sum(len(cut_by_hand(built.folder, row, USED)[1]) for row in range(len(SECONDS)))
    assert len(store.mel) == len(store.file) == expected


def test_a_broken_file_is_named(corpus, tmp_path):
    built = corpus()
    (tmp_path / "f2.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"f2\.wav: not readable as audio"):
        feature_store.load_spectrograms(built, USED)


# What became of the corpus


@pytest.fixture
def divided(corpus, tmp_path, monkeypatch):
    """The corpus after its partition was written."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    built = corpus()
    write_partition(built)
    return built


def test_a_corpus_that_changed_since_its_division_is_refused(divided, cache, tmp_path):
    before = feature_store.load_spectrograms(divided, USED)
    soundfile.write(tmp_path / "f3.wav", np.full(RATE, 0.1), RATE)
    changed = load_manifest(cards.load(str(tmp_path / "own.csv")))
    for _ in range(2):
        with pytest.raises(InputError, match=r"^own: the corpus is not the one of .*\(f3\.wav\)"):
            feature_store.load_spectrograms(changed, USED)
    assert len(list(cache.rglob("mel.u8"))) == 1
    write_partition(changed)
    assert feature_store.load_spectrograms(changed, USED).key != before.key


def test_another_label_is_another_corpus(divided, corpus):
    with pytest.raises(InputError, match=r"f0\.wav, f1\.wav, f2\.wav and 3 more.*dslite partition"):
        feature_store.load_spectrograms(corpus(labels=("yes", "no") * 3), USED)


def test_a_fold_is_another_division_of_the_same_files(divided):
    swapped = {"train": "test", "test": "train", "devel": "devel"}
    table = divided.table.assign(partition=divided.table["partition"].map(swapped))
    fold = dataclasses.replace(divided, table=table, fold="3folds/fold1")
    assert len(feature_store.load_spectrograms(fold, USED).mel)


def test_a_file_that_changes_while_it_is_read_is_not_stored(corpus, cache, monkeypatch):
    built, proper = corpus(), audio.chunks_of

    def meanwhile(path, used):
        if path.name == "f4.wav":
            soundfile.write(path, np.full(RATE, 0.1), RATE)
        return proper(path, used)

    monkeypatch.setattr(audio, "chunks_of", meanwhile)
    with pytest.raises(InputError, match=r"own: 1 files changed.* f4\.wav; nothing was stored"):
        feature_store.load_spectrograms(built, USED)
    assert not list(cache.rglob("mel.u8"))


# Stored activations


SHAPE, SIZE = (70, 5), 32  # more than two batches of chunks, the last one incomplete
VALUES = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
NEEDED = VALUES.nbytes
DiskUsage = namedtuple("DiskUsage", "total used free")


class Compute:
    """A ``compute`` that notes its calls in a log."""

    def __init__(self, log=None):
        self.log = [] if log is None else log

    def __call__(self, part):
        self.log.append((part.start, part.stop))
        return VALUES[part]


def folder_of(key="key"):
    return paths.cache() / "activations" / "toy" / key


def load(compute, log=None, limit_gib=1.0, key="key"):
    log = [] if log is None else log
    return feature_store.load_activations(
        folder_of(key), SHAPE, compute, SIZE, limit_gib, log.append
    )


def forbidden(part):
    pytest.fail("nothing was to be computed")


def leftovers():
    """Everything in the corpus's folder but locks."""
    parent = folder_of().parent
    names = [p.name for p in parent.iterdir()] if parent.exists() else []
    return sorted(name for name in names if not name.endswith(".lock"))


def test_activations_are_written_once_and_read_back(cache):
    log = []
    values = load(Compute(log), log)
    assert isinstance(values, np.memmap)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, VALUES)
    size, *slices, speed = log  # the size is told before anything is computed
    assert "70 x 5" in size
    assert "GiB" in size
    assert slices == [(0, 32), (32, 64), (64, 70)]
    assert "pictures/s" in speed
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1.0
    silence = []
    np.testing.assert_array_equal(load(forbidden, silence), VALUES)
    assert silence == []
    load(Compute(), key="other")
    assert leftovers() == ["key", "other"]


@pytest.mark.parametrize("missing", [0, 1])
def test_the_limit_is_the_largest_size(cache, missing):
    log = []
    values = load(forbidden if missing else Compute(), log, (NEEDED - missing) / 2**30)
    assert (values is None) == (missing > 0)
    if missing:
        assert len(log) == 1
        assert "trunk_cache_gib" in log[0]
        assert leftovers() == []


@pytest.mark.parametrize("missing", [0, 1])
def test_a_disk_too_full_is_left_alone(cache, monkeypatch, missing):
    disk = DiskUsage(2**40, 0, feature_store.SPARE + NEEDED - missing)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: disk)
    log = []
    values = load(forbidden if missing else Compute(), log)
    assert (values is None) == (missing > 0)
    if missing:
        assert len(log) == 1
        assert "free on the disk" in log[0]
        assert leftovers() == []


def test_a_full_disk_does_not_matter_to_a_finished_store(cache, monkeypatch):
    load(Compute())
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: DiskUsage(1, 1, 0))
    assert load(forbidden, limit_gib=0.0) is not None
    flip(folder_of() / "activations.bin", 100)
    log = []
    assert load(forbidden, log) is None
    assert "the frozen layers run at every step" in log[-1]


def test_an_error_while_writing_leaves_nothing(cache):
    def full(part):
        if part.start:
            raise OSError(28, "No space left on device")
        return VALUES[part]

    log = []
    assert load(full, log) is None
    assert "No space left" in log[-1]
    assert len(log) == 2
    assert leftovers() == []

    def interrupted(part):
        if part.start:
            raise KeyboardInterrupt
        return VALUES[part]

    with pytest.raises(KeyboardInterrupt):
        load(interrupted)
    assert leftovers() == []
    np.testing.assert_array_equal(load(Compute()), VALUES)  # there is room again


def test_a_cache_that_cannot_be_written_is_told(cache):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file in the folder's place")
    log = []
    assert load(forbidden, log) is None
    assert len(log) == 1


SCRIPT = """
import pathlib, sys, time
import numpy as np
from dslite import paths
from dslite.features import store

def compute(part):
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(1)
    return np.random.default_rng(3).normal(size=(70, 5)).astype(np.float32)[part]

folder = paths.cache() / "activations" / "toy" / "key"
print(float(store.load_activations(folder, (70, 5), compute, 70, 1.0, lambda line: None).sum()))
"""


def test_of_two_processes_the_second_waits(cache, tmp_path):
    def process(name):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first = process("one")
    while not (tmp_path / "one").exists():
        assert first.poll() is None
    second = process("two")
    sums = [float(each.communicate(timeout=60)[0]) for each in (first, second)]
    assert sums[0] == sums[1] == pytest.approx(VALUES.sum(dtype=np.float64), rel=1e-4)
    assert not (tmp_path / "two").exists()  # it computed nothing


# What became of a stored array


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


def rewrite(change):
    return lambda file: file.write_bytes(change(file.read_bytes()))


MEL, ARRAY, INDEX = "mel.u8", "activations.bin", "index.json"
DAMAGES = {
    "cut off": (ARRAY, rewrite(lambda content: content[:-4])),
    "longer": (ARRAY, rewrite(lambda content: content + b"\0")),
    "first bit": (ARRAY, lambda file: flip(file, 0)),
    "last bit": (ARRAY, lambda file: flip(file, -1)),
    "lost": (ARRAY, lambda file: file.unlink()),
    "no index": (INDEX, lambda file: file.unlink()),
    "torn index": (INDEX, rewrite(lambda content: content[:20])),
    "empty index": (INDEX, rewrite(lambda content: b"")),
    "other index": (INDEX, rewrite(lambda content: b"[]")),
    "other shape": (INDEX, rewrite(lambda content: content.replace(b"[70, 5]", b"[70, 4]"))),
    "of an older version": (INDEX, rewrite(lambda content: b'{"shape": [70, 5]}')),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_activations_are_told_and_computed_again(cache, name, damage):
    load(Compute())
    damage(folder_of() / name)
    compute, log = Compute(), []
    np.testing.assert_array_equal(load(compute, log), VALUES)
    assert len(compute.log) == 3
    assert [str(folder_of() / name) in line for line in log if "computed again" in line] == [True]
    silence = []
    load(forbidden, silence)
    assert silence == []
    assert leftovers() == ["key"]


@pytest.mark.parametrize("name", [MEL, INDEX])
def test_damaged_spectrograms_are_told_and_computed_again(corpus, cache, capsys, name):
    built = corpus()
    whole = feature_store.load_spectrograms(built, USED)
    mel, start_s = np.array(whole.mel), whole.start_s
    (file,) = cache.rglob(f"spectrograms/**/{name}")
    capsys.readouterr()
    flip(file, 100 if name == MEL else file.read_text().index("0.125"))
    again = feature_store.load_spectrograms(built, USED)
    np.testing.assert_array_equal(again.mel, mel)
    np.testing.assert_array_equal(again.start_s, start_s)
    lines = capsys.readouterr().out.splitlines()
    assert [str(file) in line for line in lines if "computed again" in line] == [True]


def test_an_array_is_read_through_once_a_process(cache, monkeypatch):
    real, kinds = feature_store.zlib.crc32, []

    def counted(content, value=0):
        kinds.append(type(content))
        return real(content, value)

    monkeypatch.setattr(feature_store.zlib, "crc32", counted)
    load(Compute())
    load(forbidden)
    assert kinds.count(memoryview) == 1  # of the file; what is written is bytes


def test_a_disk_that_does_not_hold_what_is_written(corpus, monkeypatch):
    monkeypatch.setattr(feature_store, "_file_crc32", lambda file: 0)
    with pytest.raises(InputError, match=r"mel\.u8 is damaged .*is the disk in order\?"):
        feature_store.load_spectrograms(corpus(), USED)


# Targets and batches


def test_targets():
    files = pd.DataFrame({"label": ["b", "", "a", "c", "b"]})
    hot = feature_store.targets(files, ("c", "b", "a"), "classification")
    assert hot.dtype == np.float32
    assert hot.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    files = pd.DataFrame({"label": ["1.5", "-2", "", "1e1"]}, dtype="str")
    values = feature_store.targets(files, (), "regression")
    assert values.dtype == np.float32
    assert values.tolist() == [[1.5], [-2], [0], [10]]


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_batches_cover_all_in_order(stored, rng, size):
    chunks = rng.permutation(np.repeat(np.arange(len(stored.mel)), 2))
    extra = rng.normal(size=(len(chunks), 3))
    second = np.arange(2 * len(stored.mel)).reshape(-1, 2)
    parts = list(feature_store.batches([stored.mel, second], chunks, size, extra, chunks))
    full, rest = divmod(len(chunks), size)
    assert [len(mel) for mel, *_ in parts] == [size] * full + [rest] * (rest > 0)
    mel, numbers, again, index = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_array_equal(mel, stored.mel[chunks])
    np.testing.assert_array_equal(numbers, second[chunks])
    np.testing.assert_array_equal(again, extra)
    np.testing.assert_array_equal(index, chunks)
    assert list(feature_store.batches([stored.mel], np.zeros(0, int), size)) == []


def test_predict_covers_the_last_incomplete_batch(stored, monkeypatch):
    monkeypatch.setattr(feature_store, "BATCH", 4)
    chunks, sizes = stored.chunks("train", "test")[::-1], []

    def brightness(mel):
        sizes.append(len(mel))
        return tf.reduce_mean(tf.cast(mel, tf.float32), axis=[1, 2])[:, None]

    values = feature_store.predict(brightness, stored.mel, chunks)
    assert sizes == [4] * (len(chunks) // 4) + [len(chunks) % 4]
    np.testing.assert_allclose(values, stored.mel[chunks].mean(axis=(1, 2))[:, None], rtol=1e-4)


# Audio of chunks, and chunks to show


def test_waveforms_are_what_the_store_was_computed_from(stored):
    chunks = np.array([0, 2, 5, len(stored.mel) - 1])
    waveforms = list(feature_store.waveforms(stored, chunks, USED))
    assert len(waveforms) == len(chunks)
    for waveform, chunk in zip(waveforms, chunks, strict=True):
        by_hand, starts = cut_by_hand(stored.folder, stored.file[chunk], USED)
        position = np.flatnonzero(np.isclose(starts / RATE, stored.start_s[chunk]))[0]
        np.testing.assert_array_equal(waveform, by_hand[position])
    every = np.arange(len(stored.mel))
    assert len(list(feature_store.waveforms(stored, every, USED))) == len(every)


def test_first_chunks_of_each_class(corpus):
    places = ("test", "train", "train", "devel", "train", "test", "devel")
    built = corpus(seconds=(0.3,) * 7, places=places, labels="abbbaba")
    store = feature_store.load_spectrograms(built, USED)
    # The first training files: f4 of class a, f1 of class b; two chunks each.
    assert feature_store.first_chunks(store, ("a", "b")) == {"a": 8, "b": 2}


def test_first_chunks_of_a_regression(corpus):
    places = ("train", "train", "train", "train", "devel", "test")
    labels = ("5", "-10", "30", "9", "99", "-99")
    built = corpus((0.3,) * 6, places, labels, card="task: regression")
    store = feature_store.load_spectrograms(built, USED)
    # By value, not by text: -10, 5, 9, 30; the third of four is the middle.
    assert feature_store.first_chunks(store, ()) == {"-10": 2, "9": 6, "30": 4}


def test_a_dropped_file_has_nothing_to_show(corpus):
    built = corpus(seconds=(0.1, 0.3, 0.3, 0.3, 0.3, 0.3))
    store = feature_store.load_spectrograms(built, DROP)
    assert feature_store.first_chunks(store, ("no", "yes")) == {"yes": 0}

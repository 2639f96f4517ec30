"""Files -> chunks -> stored spectrograms -> batches, on small corpora of noise."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import soundfile
import tensorflow as tf

from dslite import audio, cards
from dslite.datasets import load_manifest, manifest
from dslite.errors import InputError
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.models import classifier
from dslite.settings import Settings
from dslite.training import steps

RATE = 8000
USED = Settings(
    sample_rate=RATE, chunk_length_s=0.25, mel_bands=16, image_size=32, units=4, weights="random"
)
SECONDS = (0.6, 0.2, 0.3, 0.25, 0.375, 0.9)  # 0.2: shorter than a chunk
PLACES = ("train", "train", "devel", "devel", "test", "test")


@pytest.fixture
def corpus(tmp_path, cache):
    """Makes a corpus of noise with its table: ``corpus(seconds, places, labels)``."""

    def make(seconds=SECONDS, places=PLACES, labels=("no", "yes") * 3, card="", seed=0):
        rng = np.random.default_rng(seed)
        rows = ["path,label,speaker,partition"]
        for i, (length, place, label) in enumerate(zip(seconds, places, labels, strict=True)):
            noise = rng.uniform(-0.5, 0.5, round(length * RATE))
            soundfile.write(tmp_path / f"f{i}.wav", noise, RATE)
            rows.append(f"f{i}.wav,{label},{place}{i},{place}")
        (tmp_path / "own.csv").write_text("\n".join(rows) + "\n")
        if card:
            (tmp_path / "own.yaml").write_text(card)
        return load_manifest(cards.load(str(tmp_path / "own.csv")))

    return make


def cut_by_hand(folder, row: int, used: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of a file and their first samples, by a loop."""
    waveform, _ = soundfile.read(folder / f"f{row}.wav", dtype="float32")
    starts = audio.chunk_starts(
        len(waveform), used.chunk_samples, used.chunk_hop_samples, used.tail
    )
    found = np.zeros((len(starts), used.chunk_samples), np.float32)
    for chunk, start in zip(found, starts, strict=True):
        part = waveform[start : start + used.chunk_samples]
        chunk[: len(part)] = part
    return found, starts


# Stored spectrograms


@pytest.mark.parametrize("tail", ["keep", "drop"])
@pytest.mark.parametrize("batch", [3, 64])
def test_store_holds_the_chunks_of_every_file(corpus, monkeypatch, tail, batch):
    monkeypatch.setattr(
        feature_store, "BATCH", batch
    )  # a batch ends within the corpus, and after it
    built, used = corpus(), USED.model_copy(update={"tail": tail})
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
    assert store.dropped == (("f1.wav",) if tail == "drop" else ())
    assert store.folder == built.folder
    pd.testing.assert_frame_equal(store.files, built.table)
    assert store.key == feature_store.store_key(built, used)


def test_chunks_of_partitions(corpus):
    store = feature_store.load_spectrograms(corpus(), USED)
    by_hand = {
        place: [i for i, row in enumerate(store.file) if PLACES[row] == place]
        for place in ("train", "devel", "test")
    }
    for place, expected in by_hand.items():
        assert expected
        assert store.chunks(place).tolist() == expected
    both = store.chunks("test", "train")
    assert both.tolist() == sorted(by_hand["train"] + by_hand["test"])
    assert store.chunks().tolist() == []


def test_trim_removes_silence_before_cutting(corpus, tmp_path):
    corpus()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    silence = np.zeros(2 * RATE)
    soundfile.write(tmp_path / "f0.wav", np.concatenate([silence, noise, silence]), RATE)
    built = load_manifest(cards.load(str(tmp_path / "own.csv")))
    counts = {
        trim: (
            feature_store.load_spectrograms(built, USED.model_copy(update={"trim": trim})).file == 0
        ).sum()
        for trim in ("off", "on")
    }
    assert counts["off"] == 1 + np.ceil((5 - 0.25) / 0.125)
    assert 7 <= counts["on"] <= 11  # about a second: 7 chunks, and a few of the trim's margin


def test_second_load_computes_nothing(corpus, cache, monkeypatch):
    built = corpus()
    first = feature_store.load_spectrograms(built, USED)
    (stored,) = cache.rglob("mel.u8")
    state = stored.stat()
    monkeypatch.setattr(audio, "chunks_of", None)
    second = feature_store.load_spectrograms(built, USED)
    assert stored.stat().st_mtime_ns == state.st_mtime_ns
    assert stored.stat().st_ino == state.st_ino
    np.testing.assert_array_equal(first.mel, second.mel)
    np.testing.assert_array_equal(first.file, second.file)
    np.testing.assert_array_equal(first.start_s, second.start_s)


CHANGES = {
    "sample_rate": 4000,
    "chunk_length_s": 0.5,
    "chunk_hop_s": 0.1,
    "tail": "drop",
    "trim": "on",
    "window_ms": 64,
    "hop_ms": 8,
    "mel_bands": 20,
    "mel_min_hz": 50.0,
    "mel_max_hz": 3000.0,
    "top_db": 60,
}
HARMLESS = {
    **{"image_size": 64, "backbone": "mobilenet_v2", "units": 9, "dropout": 0.1},
    **{"learning_rate": 0.5, "batch_size": 7, "augmentation": "cutmix", "balance": "none"},
    **{"fusion": "vote", "trained_share": 0.9, "epochs_phase1": 1, "mask_px": 3},
    **{"optimizer": "adam", "pooling": "time", "feature_layer": "fire9_concat", "patience": 2},
    **{"trunk_cache": "off", "trunk_cache_gib": 0.0, "schedule": "cosine", "warmup_epochs": 1},
}


def test_the_key_holds_all_that_a_spectrogram_depends_on(corpus):
    built = corpus()
    keys = {feature_store.store_key(built, USED)}
    for name, value in CHANGES.items():
        keys.add(feature_store.store_key(built, USED.model_copy(update={name: value})))
    assert len(keys) == 1 + len(CHANGES)
    same = {
        feature_store.store_key(built, USED.model_copy(update={name: value}))
        for name, value in HARMLESS.items()
    }
    assert same == {feature_store.store_key(built, USED)}


def test_every_setting_of_the_key_was_tried():
    assert set(feature_store.KEY) == set(CHANGES)


def test_a_setting_of_the_spectrogram_makes_another_store(corpus, cache):
    built = corpus()
    one = feature_store.load_spectrograms(built, USED)
    other = feature_store.load_spectrograms(built, USED.model_copy(update={"mel_bands": 20}))
    assert (one.mel.shape[1], other.mel.shape[1]) == (16, 20)
    assert len(list(cache.rglob("mel.u8"))) == 2


def test_the_key_follows_the_audio_not_the_labels(corpus):
    first = feature_store.store_key(corpus(), USED)
    assert feature_store.store_key(corpus(labels=("yes", "no") * 3), USED) == first
    moved = corpus(places=("test", "test", "devel", "devel", "train", "train"))
    assert feature_store.store_key(moved, USED) == first
    assert feature_store.store_key(corpus(seed=1), USED) != first
    # Files in another order are other rows of the store.
    shuffled = corpus(seconds=SECONDS[:4] + SECONDS[:3:-1])
    assert feature_store.store_key(shuffled, USED) != first


def test_new_labels_show_in_an_old_store(corpus, cache):
    feature_store.load_spectrograms(corpus(), USED)
    store = feature_store.load_spectrograms(corpus(labels=("yes", "no") * 3), USED)
    assert store.files["label"].tolist() == ["yes", "no"] * 3
    assert len(list(cache.rglob("mel.u8"))) == 1


# What is dropped, what goes wrong


def test_dropped_files_are_counted_and_shown(corpus, capsys):
    built = corpus(seconds=(0.6, 0.2, 0.3, 0.25, 0.1, 0.9))
    used = USED.model_copy(update={"tail": "drop"})
    for _ in range(2):  # also when nothing is computed
        store = feature_store.load_spectrograms(built, used)
        assert store.dropped == ("f1.wav", "f4.wav")
        said = capsys.readouterr().out
        assert "2 of 6 files are shorter than a chunk of 0.25 s and dropped" in said
    assert not {1, 4} & set(store.file)


def test_the_last_files_may_be_dropped(corpus, monkeypatch):
    monkeypatch.setattr(feature_store, "BATCH", 1)
    built = corpus(seconds=(0.6, 0.3, 0.3, 0.3, 0.3, 0.1))
    store = feature_store.load_spectrograms(built, USED.model_copy(update={"tail": "drop"}))
    assert store.dropped == ("f5.wav",)
    assert len(store.mel) == len(store.file) == 3 + 4


def test_nothing_is_said_of_nothing_dropped(corpus, capsys):
    feature_store.load_spectrograms(corpus(), USED)
    assert "dropped" not in capsys.readouterr().out


def test_a_class_that_leaves_a_partition_is_told(corpus, capsys):
    seconds = [0.1, *[0.5] * (len(PLACES) - 1)]
    built = corpus(seconds=seconds)
    feature_store.load_spectrograms(built, USED.model_copy(update={"tail": "drop"}))
    said = capsys.readouterr().out
    assert f"warning: partition train has lost class {built.table['label'][0]}\n" in said
    assert said.count("warning") == 1


@pytest.mark.parametrize("place", ["train", "devel", "test"])
def test_a_partition_without_chunks_is_refused(corpus, place):
    seconds = [0.1 if p == place else 0.5 for p in PLACES]
    used = USED.model_copy(update={"tail": "drop"})
    with pytest.raises(InputError) as error:
        feature_store.load_spectrograms(corpus(seconds=seconds), used)
    assert f"own: no file of partition {place} is as long as a chunk (0.25 s)" in str(error.value)
    assert "tail=keep" in str(error.value)


def test_no_chunk_at_all_is_refused_and_not_stored(corpus, cache):
    with pytest.raises(InputError, match=r"no file is as long as a chunk \(0\.25 s\).*tail=keep"):
        feature_store.load_spectrograms(
            corpus(seconds=[0.1] * 6), USED.model_copy(update={"tail": "drop"})
        )
    assert not list(cache.rglob("mel.u8"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, MemoryError])
def test_an_interrupted_computation_leaves_nothing(corpus, cache, monkeypatch, error):
    built = corpus()
    proper = audio.chunks_of

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
    assert (
        len(store.mel)
        == len(store.file)
        == sum(len(cut_by_hand(built.folder, row, USED)[1]) for row in range(len(SECONDS)))
    )


def test_a_broken_file_is_named(corpus, tmp_path):
    built = corpus()
    (tmp_path / "f2.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"f2\.wav: not readable as audio"):
        feature_store.load_spectrograms(built, USED)


# What became of the store, and of the corpus


def flipped(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-10])


MEL, INDEX = "mel.u8", "index.json"
DAMAGES = {
    "mel cut off": (MEL, cut_off),
    "mel flipped": (MEL, lambda file: flipped(file, 100)),
    "mel lost": (MEL, lambda file: file.unlink()),
    "index cut off": (INDEX, cut_off),
    "index flipped": (INDEX, lambda file: flipped(file, file.read_text().index("0.125"))),
    "index lost": (INDEX, lambda file: file.unlink()),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_told_and_computed_again(corpus, cache, capsys, name, damage):
    built = corpus()
    whole = feature_store.load_spectrograms(built, USED)
    mel, start_s = np.array(whole.mel), whole.start_s
    (file,) = cache.rglob(f"spectrograms/**/{name}")
    capsys.readouterr()
    damage(file)
    again = feature_store.load_spectrograms(built, USED)
    np.testing.assert_array_equal(again.mel, mel)
    np.testing.assert_array_equal(again.start_s, start_s)
    said = capsys.readouterr().out.splitlines()
    assert [str(file) in line for line in said if "computed again" in line] == [True]
    feature_store.load_spectrograms(built, USED)
    assert capsys.readouterr().out == ""


def divided(built, monkeypatch, tmp_path):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    manifest.write_partition(built)


def test_a_corpus_that_changed_since_its_division_is_refused(corpus, cache, tmp_path, monkeypatch):
    divided(corpus(), monkeypatch, tmp_path)
    before = feature_store.load_spectrograms(corpus(), USED)
    soundfile.write(tmp_path / "f3.wav", np.full(RATE, 0.1), RATE)
    changed = load_manifest(cards.load(str(tmp_path / "own.csv")))
    for _ in range(2):
        with pytest.raises(InputError, match=r"^own: the corpus is not the one of .*\(f3\.wav\)"):
            feature_store.load_spectrograms(changed, USED)
    assert len(list(cache.rglob("mel.u8"))) == 1
    manifest.write_partition(changed)
    after = feature_store.load_spectrograms(changed, USED)
    assert after.key != before.key
    assert len(list(cache.rglob("mel.u8"))) == 2


def test_another_label_is_another_corpus(corpus, tmp_path, monkeypatch):
    divided(corpus(), monkeypatch, tmp_path)
    feature_store.load_spectrograms(corpus(), USED)
    with pytest.raises(InputError, match=r"f0\.wav, f1\.wav, f2\.wav and 3 more.*dslite partition"):
        feature_store.load_spectrograms(corpus(labels=("yes", "no") * 3), USED)


def test_a_fold_is_another_division_of_the_same_files(corpus, tmp_path, monkeypatch):
    built = corpus()
    divided(built, monkeypatch, tmp_path)
    swapped = {"train": "test", "test": "train", "devel": "devel"}
    table = built.table.assign(partition=built.table["partition"].map(swapped))
    fold = dataclasses.replace(built, table=table, fold="3folds/fold1")
    assert len(feature_store.load_spectrograms(fold, USED).mel)


def test_a_file_that_changes_while_it_is_read_is_not_stored(corpus, cache, tmp_path, monkeypatch):
    built = corpus()
    proper = audio.chunks_of

    def meanwhile(path, used):
        if path.name == "f4.wav":
            soundfile.write(path, np.full(RATE, 0.1), RATE)
        return proper(path, used)

    monkeypatch.setattr(audio, "chunks_of", meanwhile)
    with pytest.raises(InputError, match=r"own: 1 files changed.* f4\.wav; nothing was stored"):
        feature_store.load_spectrograms(built, USED)
    assert not list(cache.rglob("mel.u8"))


def test_the_store_says_what_it_holds(corpus, cache):
    store = feature_store.load_spectrograms(corpus(), USED)
    (index,) = cache.rglob("index.json")
    stored = json.loads(index.read_text())
    assert tuple(stored["shape"]) == store.mel.shape
    assert (index.parent / "mel.u8").stat().st_size == store.mel.size


# Targets


def test_one_hot_targets():
    files = pd.DataFrame({"label": ["b", "", "a", "c", "b"]})
    found = feature_store.targets(files, ("c", "b", "a"), "classification")
    assert found.dtype == np.float32
    expected = [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(found, expected)


def test_regression_targets():
    files = pd.DataFrame({"label": ["1.5", "-2", "", "1e1"]}, dtype="str")
    found = feature_store.targets(files, (), "regression")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1.5], [-2], [0], [10]])


# Order and weights of an epoch


@pytest.mark.parametrize("sizes", [(50, 20, 3), (7, 7), (1, 40), (5,)])
def test_upsampling_shows_all_and_every_class_equally(sizes):
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = steps.epoch_order(classes, "upsample", np.random.default_rng(2))
    assert set(order) == set(range(len(classes)))
    assert np.bincount(classes[order]).tolist() == [max(sizes)] * len(sizes)
    # Without replacement as far as they last: no chunk is ahead of another by more than one.
    shown = np.bincount(order, minlength=len(classes))
    for c in range(len(sizes)):
        assert np.ptp(shown[classes == c]) <= 1


def test_every_chunk_of_a_small_class_is_drawn_again_equally_often():
    """Also the last one, which the public implementation never draws."""
    classes = np.array([0] * 10 + [1] * 4)
    extra = np.zeros(4, int)
    rng = np.random.default_rng(0)
    for _ in range(300):
        order = steps.epoch_order(classes, "upsample", rng)
        extra += np.bincount(order, minlength=14)[10:] - 2  # 10 = 2 x 4 + 2 drawn
    low, high = scipy.stats.binom.interval(1 - 1e-6, 300, 0.5)
    assert ((extra >= low) & (extra <= high)).all()


def test_an_epoch_is_shuffled():
    classes = np.repeat([0, 1], [500, 250])
    order = steps.epoch_order(classes, "upsample", np.random.default_rng(0))
    first = classes[order[:500]].mean()
    assert 0.4 < first < 0.6
    # The first show of a chunk is not before all second ones.
    places = [np.flatnonzero(order == chunk) for chunk in range(500, 750)]
    assert 0.3 < np.mean([place[0] < 500 for place in places]) < 0.95


@pytest.mark.parametrize("balance", ["upsample", "weights", "none"])
def test_the_generator_decides(balance):
    classes = np.repeat([0, 1], [30, 12])
    one, same, other = (
        steps.epoch_order(classes, balance, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("balance", ["weights", "none"])
def test_otherwise_every_chunk_is_shown_once(balance):
    classes = np.repeat([0, 1], [30, 12])
    order = steps.epoch_order(classes, balance, np.random.default_rng(0))
    assert sorted(order) == list(range(42))


def test_class_weights():
    classes = np.array([2, 0, 0, 2, 2, 2, 0, 5])
    weights = steps.class_weights(classes, "weights")
    assert weights.dtype == np.float32
    # 8 chunks, 3 classes: 8 / (3 * count)
    expected = {0: 8 / 9, 2: 8 / 12, 5: 8 / 3}
    np.testing.assert_allclose(weights, [expected[c] for c in classes], rtol=1e-6)
    assert weights.sum() == pytest.approx(8)
    for balance in ("upsample", "none"):
        np.testing.assert_array_equal(steps.class_weights(classes, balance), np.ones(8))


# Batches


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_batches_cover_all_in_order(corpus, rng, size):
    store = feature_store.load_spectrograms(corpus(), USED)
    chunks = rng.permutation(np.repeat(np.arange(len(store.mel)), 2))
    extra = rng.normal(size=(len(chunks), 3))
    second = np.arange(2 * len(store.mel)).reshape(-1, 2)
    found = list(feature_store.batches([store.mel, second], chunks, size, extra, chunks))
    full, rest = divmod(len(chunks), size)
    assert [len(mel) for mel, *_ in found] == [size] * full + [rest] * (rest > 0)
    mel, numbers, again, index = (np.concatenate(part) for part in zip(*found, strict=True))
    np.testing.assert_array_equal(mel, store.mel[chunks])
    np.testing.assert_array_equal(numbers, second[chunks])
    np.testing.assert_array_equal(again, extra)
    np.testing.assert_array_equal(index, chunks)


def test_no_chunks_no_batches(corpus):
    store = feature_store.load_spectrograms(corpus(), USED)
    assert list(feature_store.batches([store.mel], np.zeros(0, int), 4)) == []


def test_predict_covers_the_last_incomplete_batch(corpus):
    store = feature_store.load_spectrograms(corpus(), USED)
    used = USED.model_copy(update={"backbone": "squeezenet"})
    network = classifier.build_classifier(used, 2)
    chunks = store.chunks("train", "test")[::-1]
    found = feature_store.predict(classifier.predictor(network, used), store.mel, chunks, size=4)
    assert len(chunks) % 4
    expected = network(classifier.inputs(tf.constant(store.mel[chunks]), used))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# Audio of chunks, and chunks to show


def test_waveforms_are_what_the_store_was_computed_from(corpus):
    store = feature_store.load_spectrograms(corpus(), USED)
    chunks = np.array([0, 2, 5, len(store.mel) - 1])
    found = list(feature_store.waveforms(store, chunks, USED))
    assert len(found) == len(chunks)
    for waveform, chunk in zip(found, chunks, strict=True):
        by_hand, starts = cut_by_hand(store.folder, store.file[chunk], USED)
        position = np.flatnonzero(np.isclose(starts / RATE, store.start_s[chunk]))[0]
        np.testing.assert_array_equal(waveform, by_hand[position])
        again = spectrogram.mel_image(waveform[None], USED).numpy()[0].astype(int)
        assert np.abs(again - store.mel[chunk]).max() <= 1


def test_waveforms_of_all_chunks(corpus):
    store = feature_store.load_spectrograms(corpus(), USED)
    found = list(feature_store.waveforms(store, np.arange(len(store.mel)), USED))
    assert len(found) == len(store.mel)


def test_first_chunks_of_each_class(corpus):
    places = ("test", "train", "train", "devel", "train", "test", "devel")
    built = corpus(seconds=(0.3,) * 7, places=places, labels="abbbaba")
    store = feature_store.load_spectrograms(built, USED)
    # The first training files: f4 of class a, f1 of class b; two chunks each.
    assert feature_store.first_chunks(store, ("a", "b")) == {"a": 8, "b": 2}


def test_first_chunks_of_a_regression(corpus):
    places = ("train", "train", "train", "train", "devel", "test")
    built = corpus(
        seconds=(0.3,) * 6,
        places=places,
        labels=("5", "-10", "30", "9", "99", "-99"),
        card="task: regression",
    )
    store = feature_store.load_spectrograms(built, USED)
    # By value, not by text: -10, 5, 9, 30; the third of four is the middle.
    assert feature_store.first_chunks(store, ()) == {"-10": 2, "9": 6, "30": 4}


def test_a_dropped_file_has_nothing_to_show(corpus):
    built = corpus(seconds=(0.1, 0.3, 0.3, 0.3, 0.3, 0.3))
    store = feature_store.load_spectrograms(built, USED.model_copy(update={"tail": "drop"}))
    assert feature_store.first_chunks(store, ("no", "yes")) == {"yes": 0}

"""A clip's picture: where it sounds, spread over the columns, relative and of absolute level."""

import numpy as np
import pytest
import scipy.signal
import soundfile

from dslite import audio, cards
from dslite.datasets import demo, load_manifest
from dslite.features import spectrogram
from dslite.features import store as feature_store
from dslite.settings import Settings

RATE = 16000
ONE = {"sample_rate": RATE, "chunk_length_s": 2.0, "mel_bands": 32, "columns": 32, "trim_db": 30}
CLIP = Settings(**ONE, picture="clip", top_db=80)
BOTH = CLIP.model_copy(update={"picture": "clip+level"})
RNG = np.random.default_rng(1)
VOICE = demo.synthesise(demo.speaker(1), demo.draw_expression("calm", RNG), 2.0, RNG)[:RATE]
HOP = audio.level_frames(RATE)[1]


def padded(waveform, before=0, chunk=CLIP.chunk_samples):
    """A chunk with a waveform in it and zeros around."""
    return np.pad(waveform, (before, chunk - before - len(waveform))).astype(np.float32)


def image(waveform, settings=BOTH):
    """The picture of one chunk, int64 [rows, columns]."""
    return spectrogram.mel_image(waveform[None], settings).numpy()[0].astype(int)


def panels(picture):
    return picture[: len(picture) // 2], picture[len(picture) // 2 :]


# Where it sounds

WAVEFORMS = {
    "noise": np.random.default_rng(0).normal(0, 0.1, 32000),
    "silence": np.zeros(32000),
    "below the floor": np.full(32000, 1e-8),
    "voice, then zeros": padded(VOICE),
    "zeros around": padded(VOICE, 9000),
    "a click": padded(np.ones(1), 12345),
    "a click at the end": padded(np.ones(1), 31999),
    "a click at the beginning": padded(np.ones(1)),
    "rising": np.geomspace(1e-5, 1, 32000),
    "short": np.random.default_rng(1).normal(0, 0.1, 700),
    "shorter than a hop": np.random.default_rng(2).normal(0, 0.1, 100),
    "of an odd length": np.random.default_rng(3).normal(0, 0.1, 5121),
}


@pytest.mark.parametrize("name", WAVEFORMS)
@pytest.mark.parametrize("trim_db", [20, 30, 60])
def test_the_graph_finds_the_sound_where_numpy_does(name, trim_db):
    waveform = WAVEFORMS[name].astype(np.float32)
    used = CLIP.model_copy(update={"trim_db": float(trim_db)})
    levels = spectrogram.levels(waveform[None], used)
    begin, end = spectrogram.sounding(levels, len(waveform), used)
    assert (int(begin[0]), int(end[0])) == audio.sounding(waveform, RATE, trim_db)


def test_of_a_batch_each_chunk_has_ends_of_its_own(rng):
    batch = np.stack([padded(VOICE), padded(VOICE, 3 * HOP), rng.normal(size=32000)])
    batch = batch.astype(np.float32)
    levels = spectrogram.levels(batch, CLIP)
    begin, end = (part.numpy() for part in spectrogram.sounding(levels, batch.shape[1], CLIP))
    for i, waveform in enumerate(batch):
        assert (begin[i], end[i]) == audio.sounding(waveform, RATE, CLIP.trim_db)
    assert begin[1] - begin[0] == end[1] - end[0] == 3 * HOP
    stored = feature_store.sounding_s(batch, CLIP)
    np.testing.assert_allclose(stored, np.stack([begin, end], axis=1) / RATE)
    assert feature_store.sounding_s(batch, Settings()) == [(0.0, 4.0)] * 3


# What is seen


def test_the_shape_is_that_of_the_settings():
    for settings, rows in ((CLIP, 32), (BOTH, 64)):
        assert spectrogram.shape(settings) == settings.picture_shape == (rows, 32)
        mel = image(padded(VOICE), settings)
        assert mel.shape == (rows, 32)
        drawn = spectrogram.picture(mel[None].astype(np.uint8), settings).numpy()[0]
        assert drawn.shape == (rows, 32, 3)
        np.testing.assert_array_equal(drawn[:32], spectrogram.colours()[mel[31::-1]])
        if rows == 64:  # low frequencies at the bottom of each panel; the second one is gray
            for colour in range(3):
                np.testing.assert_array_equal(drawn[32:, :, colour], mel[:31:-1])


def test_a_slope_of_frequency_becomes_a_diagonal():
    """What sounds fills the columns but for half a frame of level, 64 ms, at either end."""
    times = np.arange(20480) / RATE
    chirp = 0.3 * scipy.signal.chirp(times, 100, times[-1], 7000, "logarithmic")
    relative, _ = panels(image(padded(chirp, 8000)))
    brightest = relative.argmax(axis=0)[2:-3]
    assert brightest[0] <= 5
    assert brightest[-1] >= 25
    assert (np.diff(brightest) >= 0).all()


@pytest.mark.parametrize("before", [HOP, 4 * HOP, 15 * HOP])
def test_silence_before_and_behind_changes_nothing(before):
    plain, moved = image(padded(VOICE)), image(padded(VOICE, before))
    assert np.abs(plain - moved).max() <= 1  # but for rounding
    longer = BOTH.model_copy(update={"chunk_length_s": 3.0})
    assert np.abs(plain - image(padded(VOICE, chunk=48000), longer)).max() <= 1
    assert np.ptp(plain) > 200


def test_twice_the_amplitude_is_6_db_on_the_absolute_panel_alone():
    relative, level = panels(image(padded(VOICE)))
    relative_2, level_2 = panels(image(padded(0.5 * VOICE)))
    assert np.abs(relative - relative_2).max() <= 1
    inside = (level > 30) & (level < 255)
    step = 255 * 20 * np.log10(2) / BOTH.level_range_db
    assert inside.mean() > 0.3
    np.testing.assert_allclose((level - level_2)[inside], step, atol=1.01)


def test_the_absolute_panel_ends_at_full_scale():
    tone = np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    level = panels(image(padded(tone)))[1]
    assert 245 <= level.max() <= 255
    loud, quiet = (panels(image(padded(factor * tone)))[1] for factor in (0.5, 0.5e-3))
    assert loud.max() - quiet.max() == pytest.approx(255 * 60 / 90, abs=2)  # 60 of 90 dB


def test_each_panel_has_its_own_bands():
    relative, level = (spectrogram.mel_frequencies(BOTH, panel) for panel in (0, 1))
    assert 6000 < relative[-1] < 8000
    assert 3000 < level[-1] < 4000
    for panel in (0, 1):
        used = spectrogram.bands(BOTH, panel)
        assert ((used.filters > 0).sum(axis=0) >= 2).all()
        assert used.filters[-1].any()  # no bins above the highest band
    # A tone of 3 kHz is where it belongs in both.
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)
    for part, frequencies in zip(panels(image(padded(tone))), (relative, level), strict=True):
        assert frequencies[part[:, 16].argmax()] == pytest.approx(3000, rel=0.08)


@pytest.mark.parametrize("top_db", [None, 80.0])
def test_silence_is_dark_and_no_number_is_lost(top_db):
    settings = BOTH.model_copy(update={"top_db": top_db})
    assert image(np.zeros(32000, np.float32), settings).max() == 0
    clicks = image(padded(np.ones(1, np.float32), 31999), settings)
    assert 0 <= clicks.min() <= clicks.max() <= 255
    # Of one sample, and of a DC offset.
    assert image(np.full(32000, 0.5, np.float32), settings).shape == (64, 32)


def test_compiled_for_batches_it_is_the_same(rng):
    batch = np.stack([padded(VOICE, 512), rng.normal(0, 0.1, 32000)]).astype(np.float32)
    compiled = spectrogram.compiled_mel_image(BOTH)(batch).numpy().astype(int)
    for i, waveform in enumerate(batch):
        assert np.abs(compiled[i] - image(waveform)).max() <= 1


# The edge that is left to the corpus


@pytest.mark.parametrize(
    ("rates", "edge"),
    [([8000] * 3, 4000), ([44100] * 3, 8000), ([8000, 8000, 44100], 4000), ([11025] * 3, 5512.5)],
)
def test_the_highest_frequency_is_the_corpuss_own(tmp_path, cache, rates, edge):
    """Half the rate of most files; of a resampled one the upper rows would be empty."""
    rows = ["path,label,speaker,partition"]
    for i, (rate, place) in enumerate(zip(rates, ("train", "devel", "test"), strict=True)):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, rate)
        soundfile.write(tmp_path / f"{i}.wav", noise, rate)
        rows.append(f"{i}.wav,{i},s{i},{place}")
    (tmp_path / "own.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "own.yaml").write_text("task: regression\n")
    manifest = load_manifest(cards.load(str(tmp_path / "own.csv")))
    settings = BOTH.model_copy(update={"mel_max_hz": "corpus"})
    used = feature_store.of_corpus(settings, manifest)
    assert used.mel_max_hz == used.highest_hz == edge
    assert feature_store.of_corpus(used, manifest) is used
    low = settings.model_copy(update={"sample_rate": 6000})
    assert feature_store.of_corpus(low, manifest).mel_max_hz == 3000
    store = feature_store.load_spectrograms(manifest, settings)
    assert store.key == feature_store.store_key(manifest, used)
    assert store.mel.shape == (3, 64, 32)
    assert store.sound_s.shape == (3, 2)
    assert store.sound_s[:, 1] == pytest.approx(1.0, abs=0.15)
    if rates[0] == edge * 2:  # the highest rows hold something
        assert np.median(store.mel[0, 28:31]) > 100

"""Files of any kind: what is in them decides, all of it is heard, and what is missing is named."""

import struct
from functools import partial

import av
import numpy as np
import pytest
import soundfile
import soxr

from dslite import audio, decoding
from dslite.datasets import scan
from tests.encoded import encode, sound
from tests.refusals import refusal

RATE = 16000
# Codec, container, rates it is encoded at
KINDS = [
    *(("aac", box, (16000, 44100)) for box in ("ipod", "mp4", "mov", "adts", "matroska", "3gp")),
    *(("libopus", box, (16000, 48000)) for box in ("webm", "ogg", "mp4", "matroska")),
    *(("libmp3lame", box, (8000, 16000, 44100)) for box in ("mp3", "avi", "wav")),
    *(("flac", box, (8000, 48000)) for box in ("flac", "ogg", "mp4", "matroska")),
    *(("pcm_s16be", box, (16000,)) for box in ("aiff", "au", "caf")),
    *(("pcm_s16le", box, (44100,)) for box in ("wav", "w64", "mov", "matroska", "avi")),
    *(("pcm_f32le", "wav", (16000,)), ("pcm_mulaw", "wav", (8000,)), ("alac", "ipod", (16000,))),
    *(("ac3", "ac3", (48000,)), ("mp2", "mp2", (48000,)), ("wmav2", "asf", (44100,))),
    *(("wavpack", "wv", (16000,)), ("tta", "tta", (16000,))),
    *(("libopencore_amrnb", box, (8000,)) for box in ("amr", "3gp")),
]
PADDING = 4608  # frames that encoders and the start of a transform may add or lack


@pytest.mark.parametrize(("codec", "box", "rates"), KINDS, ids=lambda value: str(value))
def test_what_is_encoded_is_heard_whatever_its_name(tmp_path, codec, box, rates):
    for rate in rates:
        for channels in (1,) if "amr" in codec else (1, 2):
            for seconds in (0.4, 1.7):
                wave = sound(seconds, rate, channels)
                file = tmp_path / "take.jpg"
                file.write_bytes(encode(codec, box, wave, rate=rate))
                decoded = audio.decode(file, RATE)
                assert (decoded.broken_off, decoded.remarks) == (False, ())
                assert -PADDING / 2 / rate < decoded.duration_s - seconds < PADDING / rate
                expected = soxr.resample(wave.mean(axis=1), rate, RATE)
                size = 1 << 16
                both = [np.fft.rfft(x, size) for x in (decoded.waveform, expected)]
                power = np.sqrt(np.square(decoded.waveform).sum() * np.square(expected).sum())
                alike = np.fft.irfft(both[0] * both[1].conj(), size).max() / power
                assert alike > (0.8 if "amr" in codec else 0.9)
                facts = scan.of_file(file)
                assert (facts.channels, facts.truncated) == (channels, 0)


def test_integers_are_the_same_by_either_reader(tmp_path, rng, monkeypatch):
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"):
        file = tmp_path / f"{subtype}.wav"
        soundfile.write(file, rng.uniform(-1, 1, (5000, 2)), RATE, subtype=subtype)
        with audio.opened(file) as opened:
            ours = np.concatenate(list(opened.blocks("float64")))
        np.testing.assert_array_equal(ours, soundfile.read(file)[0])
        with av.open(str(file)) as container:
            reader = decoding.FFmpegReader(container)
            theirs = np.concatenate([block for _, block in reader.pieces("float64", 0)])
        np.testing.assert_array_equal(ours, theirs)


# Lengths


def test_an_mp3_without_a_table_is_as_long_as_its_frames(tmp_path):
    """Variable bit rate, silence first, a tag before it and one behind, and nothing counted."""
    wave = np.concatenate([np.zeros((4 * RATE, 1), np.float32), sound(2, RATE)])
    content = encode("libmp3lame", "mp3", wave, rate=RATE, options={"write_xing": "0"})
    tag = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256)
    for whole in (content, tag + content + b"TAG" + bytes(125), bytes(700) + content):
        (tmp_path / "a.mp3").write_bytes(whole)
        facts = scan.of_file(tmp_path / "a.mp3")
        assert (facts.duration_s, facts.truncated) == (pytest.approx(6, abs=0.15), 0)


def unsized_flac(content, keep=()):
    content = bytearray(content)
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    content[12:18] = bytes(6) if "sizes" not in keep else content[12:18]
    return content


def unsized_wav(content, size):
    content = bytearray(content)
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = size
    return content


# What ffmpeg, arecord and SoX write where they cannot go back to the header
STREAMED = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 0xFFFFFFFF - 36)


def unsized_rf64(content, byte):
    content = bytearray(content)
    place = content.index(b"ds64") + 8
    content[place : place + 24] = 24 * byte
    return content


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("FLAC", unsized_flac),
        ("FLAC", lambda content: unsized_flac(content, "sizes")),
        *(("WAV", partial(unsized_wav, size=struct.pack("<I", size))) for size in STREAMED),
        ("WAVEX", lambda content: unsized_wav(content, bytes(4))),
        ("RF64", lambda content: unsized_rf64(content, b"\0")),
        ("RF64", lambda content: unsized_rf64(content, b"\xff")),
    ],
)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_file_of_unknown_length_is_read_to_its_end(tmp_path, rng, form, change, subtype):
    file = tmp_path / "a.bin"
    how = {"format": form, "subtype": subtype}
    soundfile.write(file, rng.uniform(-1, 1, (3 * RATE, 2)), RATE, **how)
    expected = scan.of_file(file)
    file.write_bytes(change(file.read_bytes()))
    assert scan.of_file(file) == expected


def test_an_empty_wav_is_empty_whatever_follows(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    for end in (b"", b"LIST\x04\0\0\0INFO"):
        (tmp_path / "a.wav").write_bytes(content + end)
        assert "holds no audio" in refusal(scan.of_file, tmp_path / "a.wav")


def test_what_a_header_claims_is_not_believed(tmp_path):
    wave = encode("pcm_s16le", "wav", sound(0.02, RATE), rate=RATE)
    place = wave.index(b"data") + 4
    hour = struct.pack("<I", 3600 * 2 * RATE)
    (tmp_path / "a.wav").write_bytes(wave[:place] + hour + wave[place + 4 :])
    facts = scan.of_file(tmp_path / "a.wav")
    assert (facts.duration_s, facts.truncated) == (0.02, 1)


# Joined and broken off


def renumbered(content, number):
    """An Ogg stream with another serial number and without checksums that fit."""
    table = [0] * 256
    for i in range(256):
        rest = i << 24
        for _ in range(8):
            rest = (rest << 1 ^ 0x04C11DB7 * (rest >> 31)) & 0xFFFFFFFF
        table[i] = rest
    data, place = bytearray(content), 0
    while place < len(data):
        lacing = data[place + 27 : place + 27 + data[place + 26]]
        end = place + 27 + len(lacing) + sum(lacing)
        data[place + 14 : place + 18] = number.to_bytes(4, "little")
        data[place + 22 : place + 26] = bytes(4)
        checksum = 0
        for byte in data[place:end]:
            checksum = (checksum << 8 & 0xFFFFFFFF) ^ table[checksum >> 24 ^ byte]
        data[place + 22 : place + 26] = checksum.to_bytes(4, "little")
        place = end
    return bytes(data)


def stored(path, wave, rate, **how):
    soundfile.write(path, wave, rate, **how)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", None), ("WAV", None), ("AIFF", None)],
)
def test_joined_streams_of_any_rate_are_heard_one_after_the_other(tmp_path, form, subtype):
    file, how = tmp_path / "a.bin", {"format": form, "subtype": subtype}
    parts = []
    for number, (seconds, rate, channels) in enumerate(
        [(1, 16000, 1), (2, 48000, 2), (1, 8000, 1)]
    ):
        content = stored(file, sound(seconds, rate, channels), rate, **how)
        parts.append(renumbered(content, number) if form == "OGG" else content)
    file.write_bytes(parts[0])
    first = audio.read(file, RATE)
    for joined in (parts[:2], parts):
        file.write_bytes(b"".join(joined))
        facts, waveform = scan.of_file(file), audio.read(file, RATE)
        assert facts.duration_s == pytest.approx(len(joined) + 1 - (len(joined) == 1), abs=0.01)
        assert facts.truncated == 0
        np.testing.assert_array_equal(waveform[: RATE - 800], first[: RATE - 800])
        assert np.sqrt(np.mean(waveform[-RATE:] ** 2)) > 0.1


@pytest.mark.parametrize(
    ("codec", "box"),
    [("libmp3lame", "mp3"), ("aac", "adts"), ("aac", "ipod"), ("libopus", "webm"), ("amr", "amr")],
)
def test_joined_files_of_phones_and_browsers(tmp_path, codec, box):
    rate = 8000 if codec == "amr" else RATE
    codec = "libopencore_amrnb" if codec == "amr" else codec
    content = encode(codec, box, sound(1, rate), rate=rate)
    lengths = []
    for n in (1, 2):
        (tmp_path / "a").write_bytes(n * content)
        facts = scan.of_file(tmp_path / "a")
        assert (facts.truncated, facts.remarks) == (0, "")
        lengths.append(facts.duration_s)
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.16)


BREAKABLE = [
    *(("libmp3lame", "mp3", {}), ("libmp3lame", "mp3", {"write_xing": "0"}), ("aac", "adts", {})),
    ("aac", "mp4", {"movflags": "empty_moov+frag_keyframe"}),
    *(("libopus", "webm", {}), ("libopus", "webm", {"live": "1"}), ("libopus", "ogg", {})),
    *(("pcm_s16le", "wav", {}), ("pcm_s24le", "wav", {}), ("pcm_f32le", "wav", {})),
    *(("vorbis", "ogg", {}), ("pcm_s16be", "aiff", {}), ("pcm_s16be", "au", {})),
    *(("pcm_s16be", "caf", {}), ("pcm_s16le", "w64", {}), ("wmav2", "asf", {}), ("tta", "tta", {})),
    ("libopencore_amrnb", "amr", {}),
]


@pytest.mark.parametrize(("codec", "box", "options"), BREAKABLE, ids=lambda value: str(value))
def test_a_file_that_is_broken_off_says_so(tmp_path, codec, box, options):
    rate = {"amr": 8000, "asf": 44100}.get(box, RATE)
    seconds = 20 if codec == "vorbis" else 4  # whose pages are long
    wave = sound(seconds, rate)
    if codec == "vorbis":
        content = stored(tmp_path / "a", wave, rate, format="OGG", subtype="VORBIS")
    else:
        content = encode(codec, box, wave, rate=rate, options=options)
    for share in (1, 0.45, 0.8):
        (tmp_path / "a").write_bytes(content[: int(share * len(content))])
        decoded = audio.decode(tmp_path / "a", RATE)
        assert decoded.broken_off == (share < 1), decoded.duration_s
        assert 0 < decoded.duration_s < seconds * (share + 0.1)
        assert scan.of_file(tmp_path / "a").truncated == int(share < 1)
    if box == "wav":
        (tmp_path / "a").write_bytes(content[:-1])  # of the last sample
        assert scan.of_file(tmp_path / "a").truncated == 1


def test_an_mp4_without_its_index_says_what_it_lacks(tmp_path):
    content = encode("aac", "ipod", sound(2, RATE), rate=RATE)
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    assert "'moov', is missing" in refusal(audio.read, tmp_path / "a.m4a", RATE)


# Containers


def test_each_channel_of_surround_sound_is_heard(tmp_path):
    """PyAV reads beyond the list of such a frame's channels, which ended the process."""
    rate, hertz = 48000, 200 + 100 * np.arange(8)
    wave = 0.1 * np.sin(2 * np.pi * hertz * np.arange(rate)[:, None] / rate)
    file = tmp_path / "a.m4a"
    file.write_bytes(encode("aac", "ipod", wave.astype(np.float32), rate=rate))
    with file.open("rb") as opened:
        decoded = np.concatenate(list(decoding.AudioFile(file, opened).blocks("float32")))
    spectrum = np.abs(np.fft.rfft(decoded[4000 : 4000 + rate // 2], axis=0))
    loudest = 2.0 * spectrum.argmax(axis=0)
    assert {*hertz} - {*loudest} <= {500}  # the subwoofer's, which has the lowest tones only


def test_films_and_several_streams(tmp_path):
    wave = sound(1, RATE)
    film = tmp_path / "a.mp4"
    film.write_bytes(encode("aac", "mp4", wave, rate=RATE, video=True))
    assert audio.decode(film, RATE).duration_s == pytest.approx(1, abs=0.1)
    film.write_bytes(encode("aac", "mp4", rate=RATE, video=True))
    assert refusal(audio.read, film, RATE) == (
        f"{film}: the file has no sound stream; replace or remove it"
    )
    film.write_bytes(encode("aac", "matroska", 0.1 * wave, wave, rate=RATE))
    facts = scan.of_file(film)
    assert facts.peak < 0.2
    assert facts.remarks == "2 sound streams, of which the first one is taken"


def test_no_other_file_is_opened_and_noise_is_no_audio(tmp_path, rng):
    other = tmp_path / "other.aac"
    other.write_bytes(encode("aac", "adts", sound(1, RATE), rate=RATE))
    contents = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile {other.name}\n".encode(),
        *(
            rng.bytes(50_000),
            bytes(50_000),
            b"\xff\xfb",
            b"\xff\xfb" + bytes(30) + b"Xing\0\0",
            b"OggS",
            b"fLaC",
            b"\x1aE\xdf\xa3",
            b"ID3",
        ),
        *(b"RIFF\0\0\0\0WAVE", b"RF64", b"FORM", b"\0\0\0\1ftyp", b"#!AMR\n", b"\xff\xf1"),
    ]
    for content in contents:
        (tmp_path / "a.mp3").write_bytes(content)
        assert str(tmp_path / "a.mp3") in refusal(audio.read, tmp_path / "a.mp3", RATE)


@pytest.mark.parametrize("box", ["ipod", "webm", "mp3", "flac"])
def test_segments_of_what_ffmpeg_reads(tmp_path, box):
    codec = {"ipod": "aac", "webm": "libopus", "mp3": "libmp3lame", "flac": "flac"}[box]
    file = tmp_path / "a.x"
    content = encode(codec, box, sound(3, RATE), rate=RATE)
    file.write_bytes(unsized_flac(content) if box == "flac" else content)
    whole = audio.decode(file, 8000)
    with audio.opened(file) as opened:
        rate = opened.rate
    part = audio.decode(f"{file}#t=0.5,2", rate)
    assert part.duration_s == 1.5
    expected = audio.read(file, rate)[rate // 2 : 2 * rate]
    np.testing.assert_array_equal(part.waveform, expected)
    rest = audio.decode(f"{file}#t=1", 8000)
    assert rest.duration_s == pytest.approx(whole.duration_s - 1)
    assert "before the segment does" in refusal(audio.read, f"{file}#t=1,9", 8000)
    assert "before the segment does" in refusal(audio.read, f"{file}#t=9", 8000)
    for absurd in ("1.2.3", "1" * 20, "1" * 300):
        assert "a.x#t=1" in refusal(audio.read, f"{file}#t={absurd}", 8000)

"""Open audio files of any kind: by libsndfile what it reads well, by FFmpeg (PyAV) the rest."""

import io
import itertools
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from dslite import paths
from dslite.errors import InputError

# What a file of sound is called, film with sound included
SUFFIXES = frozenset(
    {".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".au", ".snd"}
    | {".caf", ".sph", ".voc", ".ogg", ".oga", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga"}
    | {".aac", ".adts", ".ac3", ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp"}
    | {".3g2", ".amr", ".awb", ".wma", ".asf", ".wmv", ".webm", ".weba", ".mka", ".mkv", ".avi"}
    | {".flv", ".mpg", ".mpeg", ".mts", ".wv", ".ape", ".tta"}
)
# FFmpeg's readers that may be used: none of those that open other files or take anything.
FORMATS = (
    "wav,w64,flac,aiff,au,caf,ogg,mp3,aac,ac3,eac3,mov,matroska,amr,asf,avi,flv,mpeg,mpegts,"
    "wv,ape,tta,nistsphere,voc,mpc,mpc8,tak,dsf"
)
# What a header may claim: at 1 Hz a file of 1 MB would be a week, at a GHz its spectrum 30 GB
RATES_HZ = (1000, 1_000_000)
CHANNELS = 64
PLANES = 7  # channels of a frame, one beside the other, that PyAV lists rightly
BLOCK = 1 << 18  # frames decoded at a time: 2 MiB per channel
# What libsndfile says of a header that promises more bytes than there are ("data : 960 (should be
# 479)"). All ones is no promise: a stream's unknown length.
SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
UNKNOWN_LENGTH = 0x7FFF0000  # what writes into a pipe says about this much or more (SoX: 7FFFF000)
SHORTFALL = 0.01  # of what a header promises, and at least
MISSING = 0.25  # s: encoders round
# Whose length FFmpeg estimates from the bit rate
ESTIMATED = {"asf", "mp3", "aac", "ac3", "eac3", "amr", "mpeg", "mpegts"}
EMPTY = "the file holds no audio"
NO_SOUND = "the file has no sound stream"
HEADERLESS = {".raw", ".pcm"}
# Of MP3, bit rates in kbit/s by version (MPEG 1; 2 and 2.5) and code
KBITS = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


# A file's structure, from its content: what it is called and what sizes it claims are no proof


class Span(io.RawIOBase):
    """Some bytes of an open file, as a file without a name; ``head`` stands for the first ones."""

    def __init__(self, file: BinaryIO, begin: int, end: int, head: bytes = b""):
        self.file, self._begin, self._end, self._head = file, begin, end, head
        self._place = 0

    def readable(self) -> bool:  # noqa: D102, as of io.RawIOBase
        return True

    seekable = readable

    def tell(self) -> int:  # noqa: D102
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:  # noqa: D102
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end - self._begin}
        self._place = max(0, base[whence] + offset)
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # noqa: D102
        most = max(0, min(len(buffer), self._end - self._begin - self._place))
        content = _bytes(self.file, self._begin + self._place, most)
        first = self._head[self._place : self._place + len(content)]
        content = first + content[len(first) :]
        memoryview(buffer).cast("B")[: len(content)] = content
        self._place += len(content)
        return len(content)


def _bytes(file: BinaryIO, begin: int, count: int) -> bytes:
    file.seek(begin)
    return file.read(count)


@dataclass
class Structure:
    """Where the streams lie that follow each other in a file."""

    begins: list[int]  # bytes
    broken_off: bool = False  # it ends within a part whose size it says
    ffmpeg: bool = False  # nothing for libsndfile
    head: bytes = b""  # what stands for the first bytes: a header with a length
    reason: str = ""  # why nothing can read it


def structure(file: BinaryIO, size: int) -> Structure:
    """Find out of an open file of so many bytes how it is built."""
    begin = 0
    while (head := _bytes(file, begin, 12))[:3] == b"ID3" and len(head) > 9:  # a tag before it
        begin += 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
    if head[:4] == b"OggS":
        return _ogg(file, size)
    if head[:4] == b"fLaC":
        return _flac(file, begin)
    if head[:6] == b"#!AMR\n" or head[:9] == b"#!AMR-WB\n":
        return Structure(_marked(file, begin, rb"#!AMR(-WB)?\n"), ffmpeg=True)
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return _iff(file, size)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroska(file, size)
    if head[4:8] == b"ftyp":
        return _boxes(file, size)
    if head[:4] == b"0&\xb2u":
        return _asf(file, size)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _mp3(file, begin, size)
    return Structure([0])


def _ogg(file: BinaryIO, size: int) -> Structure:
    """Ogg: pages of streams; a stream that begins behind another's end is joined to it."""
    place, begins, beginning, streams, broken, most = 0, [], False, set(), False, 1
    while place < size and (page := _bytes(file, place, 27 + 255))[:4] == b"OggS":
        if len(page) < 27:
            break
        flags, serial, n = page[5], page[14:18], page[26]
        if flags & 2:
            if not beginning:
                broken |= bool(streams)
                begins, streams = [*begins, place], set()
            streams.add(serial)
            most = max(most, len(streams))
        beginning = bool(flags & 2)
        streams.discard(serial if flags & 4 else None)
        place += 27 + n + sum(page[27 : 27 + n])
    return Structure(begins or [0], broken or bool(streams) or place > size, ffmpeg=most > 1)


def _marked(file: BinaryIO, begin: int, mark: bytes) -> list[int]:
    """Where a mark stands that nothing within a stream looks like: those of streams joined to it.

    It is a regular expression, which is looked for in a tenth of the time that `mmap.find` takes.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [0, *(match.start() for match in re.compile(mark).finditer(content, begin + 1))]


def _flac(file: BinaryIO, begin: int) -> Structure:
    """FLAC: a length of 0 is an unknown one, which libsndfile refuses."""
    samples = int.from_bytes(_bytes(file, begin + 18, 8), "big") & ((1 << 36) - 1)
    marked = _marked(file, begin, rb"fLaC[\0\x80]\0\0\x22")
    return Structure(marked, ffmpeg=not samples)


def _iff(file: BinaryIO, size: int) -> Structure:
    """WAV and AIFF: chunks that say their size, or 0 or all ones where nobody went back to it."""
    begins, place = [], 0
    while (head := _bytes(file, place, 12))[:4] in (b"RIFF", b"RF64", b"FORM") and len(head) == 12:
        begins.append(place)
        length = int.from_bytes(head[4:8], "big" if head[:4] == b"FORM" else "little")
        if head[:4] == b"RF64":
            length = int.from_bytes(_bytes(file, place + 20, 8), "little")
        if not 4 < length < size:
            break
        place += 8 + length + length % 2
    content = bytearray(_bytes(file, 0, 1 << 12))
    if len(begins) > 1 or content[8:12] != b"WAVE":
        return Structure(begins or [0])
    place, sizes = 12, 0
    while place + 8 <= len(content) and content[place : place + 4] != b"data":
        if content[place : place + 4] == b"ds64":
            sizes = place
        place += 8 + (n := int.from_bytes(content[place + 4 : place + 8], "little")) + n % 2
    if place + 8 > len(content):
        return Structure([0])
    stated = int.from_bytes(content[place + 4 : place + 8], "little")
    if sizes and stated == 0xFFFFFFFF:
        stated = int.from_bytes(content[sizes + 16 : sizes + 24], "little") % ((1 << 64) - 1)
        if stated:
            return Structure([0], broken_off=place + 8 + stated > size)
    if stated or bytes(content[place + 8 : place + 12]) in (b"", b"LIST", b"id3 ", b"ID3 "):
        return Structure([0])
    content[:8] = b"RIFF\xff\xff\xff\xff"
    content[place + 4 : place + 8] = b"\xff\xff\xff\xff"  # by which libsndfile reads to the end
    if sizes:
        content[sizes : sizes + 4] = b"JUNK"
    return Structure([0], head=bytes(content[: place + 8]))


def _matroska(file: BinaryIO, size: int) -> Structure:
    """Matroska and WebM: elements, of which a recorder leaves segments and clusters unsized."""
    begins, place = [], 0
    while place < size:
        head = _bytes(file, place, 12)
        id_length = 9 - head[0].bit_length()
        if id_length > 4 or len(head) <= id_length:
            break
        name, first = head[:id_length], head[id_length]
        length = 9 - first.bit_length()
        digits = head[id_length : id_length + length]
        if length > 8:
            break
        value = int.from_bytes(digits, "big") & ((1 << 7 * length) - 1)
        unknown = value == (1 << 7 * length) - 1
        if name == b"\x1aE\xdf\xa3":
            begins.append(place)
        inside = name in (b"\x18S\x80g", b"\x1fC\xb6u") and unknown
        if unknown and not inside:
            break
        place += id_length + length + (0 if inside else value)
    return Structure(begins or [0], broken_off=place > size, ffmpeg=True)


def _boxes(file: BinaryIO, size: int) -> Structure:
    """MP4 and its kin: boxes that say their size, 0 for the last one."""
    begins, place, index = [], 0, False
    while place + 8 <= size:
        head = _bytes(file, place, 16)
        length = int.from_bytes(head[:4], "big") or size - place
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if head[4:8] == b"ftyp":
            begins.append(place)
        if length < 8:
            break
        index |= head[4:8] == b"moov"
        place += length
    reason = "" if index else "its index, 'moov', is missing, as where a recording was broken off"
    return Structure(begins or [0], place > size, ffmpeg=True, reason=reason)


def _asf(file: BinaryIO, size: int) -> Structure:
    """ASF, of WMA: an object of file properties, which begins with this name, says its bytes."""
    content = _bytes(file, 0, 1 << 16)
    place = content.find(b"\xa1\xdc\xab\x8cG\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c Se")
    stated = int.from_bytes(content[place + 40 : place + 48], "little") if place > 0 else 0
    return Structure([0], broken_off=size < stated < 1 << 62, ffmpeg=True)


def _mp3(file: BinaryIO, begin: int, size: int) -> Structure:
    """MPEG audio or ADTS: frames; the first one may say how many bytes follow."""
    head = _bytes(file, begin, 256)
    place = max(head.find(b"Xing"), head.find(b"Info"))
    if place < 0 or len(head) < place + 8 or not head[place + 7] & 2:
        return Structure([0], ffmpeg=True)
    place += 12 if head[place + 7] & 1 else 8
    stated = int.from_bytes(head[place : place + 4], "big")
    return Structure([0], broken_off=begin + stated > size, ffmpeg=True)


def _frame_length(packet: bytes) -> int:
    """Return how long a frame of MP3 (layer III) or ADTS says that it is, in bytes; else 0."""
    if len(packet) < 7 or packet[0] != 0xFF or packet[1] & 0xE0 != 0xE0:
        return 0
    version, layer = packet[1] >> 3 & 3, packet[1] >> 1 & 3
    if not layer:
        return (packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5
    code, rate = packet[2] >> 4, packet[2] >> 2 & 3
    if layer != 1 or version == 1 or not 0 < code < 15 or rate == 3:
        return 0
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 144 if version == 3 else 72
    return samples * KBITS[version != 3][code - 1] * 1000 // hertz + (packet[2] >> 1 & 1)


# Two readers of one kind: rate, channels, frames (0: unknown), broken_off, remarks and pieces


class SoundFileReader:
    """Read by libsndfile."""

    def __init__(self, file: soundfile.SoundFile):
        self._file = file
        self.rate, self.channels, self.frames = file.samplerate, file.channels, file.frames
        stated = [tuple(map(int, pair)) for pair in SHORT_CHUNK.findall(file.extra_info)]
        self.broken_off = any(held < size < UNKNOWN_LENGTH for size, held in stated)
        self.remarks: list[str] = []

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def pieces(self, dtype: str, begin: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield rates and blocks from a frame on; all there is, also what no header counts."""
        if begin:
            self._file.seek(begin)
        frames, size = begin, BLOCK // max(1, self.channels // 2)
        while len(block := self._file.read(size, dtype, always_2d=True)):
            frames += len(block)
            yield self.rate, block
        self.broken_off |= frames < (1 - SHORTFALL) * self.frames


class FFmpegReader:
    """Read by FFmpeg: the first sound stream of a container."""

    def __init__(self, container):
        sounds = container.streams.audio
        self._container, self._stream = container, sounds[0]
        self.rate = self.channels = self.frames = 0
        self.broken_off, self.remarks = False, []
        if len(sounds) > 1:
            self.remarks.append(f"{len(sounds)} sound streams, of which the first one is taken")
        self._decoded = self._decode()
        self._first = next(self._decoded, None)
        if self._first is not None:
            self.rate, self.channels = self._first.sample_rate, self._first.layout.nb_channels

    def _decode(self) -> Iterator:
        """Yield what is decoded of the packets, and note what is not."""
        from av.error import FFmpegError

        raw = self._container.format.name in ("mp3", "aac")  # frames without a container
        packets, bad, seconds, last = 0, 0, 0.0, False
        try:
            for packet in self._container.demux(self._stream):
                length = packet.size
                try:
                    for frame in packet.decode():
                        seconds += frame.samples / frame.sample_rate
                        yield from _readable(frame)
                    failed = packet.is_corrupt
                except FFmpegError:
                    failed = True
                if not length:  # the last call, which empties the decoder
                    continue
                promised = _frame_length(bytes(packet)) if raw else length
                if not promised and failed:
                    continue  # a tag between frames or behind them
                packets, bad = packets + 1, bad + failed
                last = failed or length < promised
        except FFmpegError:  # of the container, in the middle
            last = True
        stated = float((self._stream.duration or 0) * self._stream.time_base)
        missing = 0 if self._container.format.name in ESTIMATED else stated - seconds
        self.broken_off |= last or missing > max(SHORTFALL * (seconds + missing), MISSING)
        if bad - last > 0:
            self.remarks.append(f"{bad} of {packets} packets cannot be decoded and are left out")

    def close(self) -> None:
        """Close the container."""
        self._container.close()

    def pieces(self, dtype: str, begin: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield rates and blocks from the first frame on, since no container seeks exactly."""
        frames = itertools.chain([self._first], self._decoded)
        for (rate, _), run in groupby(frames, lambda f: (f.sample_rate, f.layout.nb_channels)):
            waiting, count = [], 0
            for frame in run:
                waiting.append(_samples(frame, dtype))
                count += frame.samples
                if count >= BLOCK // max(1, self.channels // 2):
                    yield rate, np.concatenate(waiting)
                    waiting, count = [], 0
            if waiting:
                yield rate, np.concatenate(waiting)


def _readable(frame) -> Iterable:
    """Return a frame as PyAV can read it: of more than `PLANES` it reads beyond the list's end."""
    if not frame.format.is_planar or frame.layout.nb_channels <= PLANES:
        return [frame]
    from av import AudioResampler

    packed = frame.format.packed.name
    return AudioResampler(packed, frame.layout, frame.sample_rate).resample(frame)


def _samples(frame, dtype: str) -> np.ndarray:
    """Return FFmpeg's frame as [frames, channels], full scale 1, as libsndfile scales integers."""
    stored = frame.to_ndarray()
    stored = stored.T if frame.format.is_planar else stored.reshape(-1, frame.layout.nb_channels)
    if stored.dtype == np.uint8:
        return (stored.astype(dtype) - 128) / 128
    if stored.dtype.kind == "i":
        return (stored / -float(np.iinfo(stored.dtype).min)).astype(dtype)
    return stored.astype(dtype)


class AudioFile:
    """An open file: rate, Hz, channels, frames (0: unknown) and its samples, whatever reads them.

    Of streams that follow each other, those of another rate or number of channels become like the
    first one. Once the blocks are read, ``broken_off`` says whether the file ends before its
    header says, ``remarks`` what else is not heard as it is stored.
    """

    def __init__(self, path: str | PathLike, file: BinaryIO):
        self._path, size = path, file.seek(0, os.SEEK_END)
        self._structure = structure(file, size) if size else Structure([0])
        begins, head = self._structure.begins, self._structure.head
        spans = [Span(file, *ends, head) for ends in pairwise([*begins, size])]
        self._whole = len(spans) == 1 and not head
        self._first, self._rest = self._reader(spans[0]), spans[1:]
        self._require_plausible(self._first.rate, self._first.channels)
        self.rate, self.channels = self._first.rate, self._first.channels
        self.frames = 0 if self._rest else self._first.frames
        self.broken_off, self.remarks = self._structure.broken_off, []

    def _require_plausible(self, rate: int, channels: int) -> None:
        """Refuse what no recording has before anything is allocated for it."""
        if not (RATES_HZ[0] <= rate <= RATES_HZ[1] and channels <= CHANNELS):
            raise _refusal(self._path, f"its header says {rate} Hz and {channels} channels")

    def _reader(self, span: Span) -> SoundFileReader | FFmpegReader:
        """Open a part of the file by what reads it best."""
        reason = self._structure.reason
        if not self._structure.ffmpeg:
            descriptor = span.file.fileno()
            os.lseek(descriptor, 0, os.SEEK_SET)
            try:  # libsndfile reads a file faster than what Python hands it
                file = soundfile.SoundFile(descriptor if self._whole else span, closefd=False)
                if not file.frames:
                    raise _refusal(self._path, EMPTY)
                if not file.subtype.startswith("MPEG"):
                    return SoundFileReader(file)
                file.close()
            except soundfile.SoundFileError as error:
                reason = _reason(error)
        import av

        span.seek(0)
        try:
            options = {"format_whitelist": FORMATS}
            container = av.open(span, container_options=options, metadata_errors="replace")
            reader = FFmpegReader(container) if container.streams.audio else None
        except av.error.FFmpegError as error:
            raise _refusal(self._path, reason or _reason(error)) from None
        if reader and reader.channels:
            return reader
        container.close()
        raise _refusal(self._path, EMPTY if reader else NO_SOUND)

    def blocks(self, dtype: str, begin: int = 0) -> Iterator[np.ndarray]:
        """Decode the file: blocks [frames, channels], from a frame on where ``frames`` is known."""
        for rate, run in groupby(self._pieces(dtype, begin), itemgetter(0)):
            resampler = None
            self._require_plausible(rate, self.channels)
            if rate != self.rate:
                how = (rate, self.rate, self.channels, dtype)
                resampler = soxr.ResampleStream(*how, quality="VHQ")
            for _, block in run:
                if block.shape[1] != self.channels:
                    mono = block.mean(axis=1, dtype=dtype, keepdims=True)
                    block = np.repeat(mono, self.channels, axis=1)
                block = resampler.resample_chunk(block) if resampler else block
                if len(block):  # a resampler may hold it all back
                    yield block
            if resampler:
                rest = resampler.resample_chunk(np.zeros((0, self.channels), dtype), last=True)
                if len(rest):
                    yield rest

    def _pieces(self, dtype: str, begin: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield rates and blocks of one part after the other."""
        for reader in itertools.chain([self._first], map(self._reader, self._rest)):
            yield from reader.pieces(dtype, begin)
            self.broken_off |= reader.broken_off
            self.remarks += reader.remarks
            if reader is not self._first:
                reader.close()

    def close(self) -> None:
        """Close what reads the file."""
        self._first.close()


def _reason(error: Exception) -> str:
    """Return what a library says of a file, in its words."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.removeprefix("Error : ").strip(" .")


def _refusal(path: str | PathLike, reason: str) -> InputError:
    if reason in (EMPTY, NO_SOUND):
        return InputError(f"{path}: {reason}; replace or remove it")
    if Path(path).suffix.lower() in HEADERLESS:
        return InputError(f"{path}: headerless audio tells no sample rate; store it as WAV or FLAC")
    return InputError(
        f"{path}: not readable as audio ({reason}); replace it or store it as WAV/FLAC"
    )


@contextmanager
def opened(file: Path, name: str | PathLike) -> Iterator[AudioFile]:
    """Open an audio file, called ``name`` in messages; what its reader refuses is an InputError."""
    with paths.reading(file):
        if not file.is_file():
            raise InputError(f"{name}: there is no such audio file")
        stored = file.open("rb", buffering=0)
    try:
        with stored, closing(AudioFile(name, stored)) as audio_file:
            yield audio_file
    except soundfile.SoundFileError as error:
        raise _refusal(name, _reason(error)) from None

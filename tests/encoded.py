"""Sounds as phones, browsers and recorders store them, encoded by FFmpeg (PyAV)."""

import io
from fractions import Fraction

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo", 8: "7.1"}


def sound(seconds, rate, channels=1):
    """Swelling tones under 2 kHz, float32 [frames, channels], the channels of other loudness."""
    t = np.arange(round(seconds * rate)) / rate
    tones = [
        np.sin(2 * np.pi * hz * t) * (1 + np.sin(2 * np.pi * swell * t))
        for hz, swell in ((220, 1.3), (540, 0.7), (1210, 2.1))
    ]
    return (np.mean(tones, axis=0)[:, None] * [0.4, 0.3][:channels]).astype(np.float32)


def encode(codec, container, *waves, rate, options=None, video=False):
    """Return a file's bytes: a stream of sound for each waveform, and a film if one is wanted."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, container_options=options or {}) as output:
        if video:
            film = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        streams = [output.add_stream(codec, rate=rate, layout=LAYOUTS[w.shape[1]]) for w in waves]
        for i in range(10 * video):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 25 * i, np.uint8))
            picture.pts, picture.time_base = i, Fraction(1, 10)
            output.mux(film.encode(picture))
        for stream in streams:
            stream.bit_rate = 64000
        for stream, wave in zip(streams, waves, strict=True):
            for first in range(0, len(wave), 1024):
                part = wave[first : first + 1024].reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, "flt", LAYOUTS[wave.shape[1]])
                frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        if video:
            output.mux(film.encode(None))
    return buffer.getvalue()

"""The demo corpus: synthesised voices in four affects, generated on the spot from a seed.

It exists to show the chain working; nothing follows from its results for human voices.

Two things make it teach. The affects differ in cues that live in time (glides, slope, jumps,
vibrato, tempo, attack), hardly in a mean spectrum. And a speaker spoke each affect in a session of
its own, as in corpora that were gathered over days: its clips share a microphone, a background, a
whistling device and a room. In three training speakers the session gives the affect away without
a syllable being listened to; of the next speaker it says nothing. Statistics of a clip and random
features learn sessions, features pre-trained on many other voices the affects: transfer matters.
Augmentation does not: a head solved on such features stays ahead of what fine-tuning makes of them
(corpora from other seeds, and other shapes that were tried: ``results/benchmarks/demo.md``).

The voices are a source-filter model: a glottal pulse train (jitter, shimmer, spectral tilt) and
breath noise excite a cascade of formant resonators that glides from vowel to vowel, syllable by
syllable, with a consonant-like noise before many of them. The filters are applied to short
overlapping frames in the frequency domain, which makes them time-varying at the cost of a few FFTs.
"""

import io
import itertools
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d
from tqdm import tqdm

from dslite import paths, provenance
from dslite.cards import Card
from dslite.datasets import partitions
from dslite.datasets.listing import Listing
from dslite.errors import InputError

SEED = 20210423
SPEAKERS = 12
TAKES = 10  # clips of each speaker and class
DURATION_S = (1.5, 2.5)
VERSION = 2  # to be raised whenever a change of the synthesis changes a clip
MARKER = "corpus.json"

SAMPLE_RATE = 16000  # Hz; the fifth formant lies near 5 kHz
FRAME = 512  # samples; with HOP, four frames overlap everywhere
HOP = 128
# Square root of a Hann window: used twice, four frames overlapping, it sums to 2.
WINDOW = np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME)
PITCH_LIMITS = (95.0, 420.0)  # Hz: outside, harmonics blur in or fall out of a small Mel image

# First five formants of an adult male's vowels in Hz, rounded from Peterson and Barney (1952,
# doi:10.1121/1.1906875); the fourth and fifth hardly depend on the vowel.
VOWELS = np.array(
    [
        [270, 2290, 3010, 3500, 4500],  # i
        [390, 1990, 2550, 3500, 4500],  # I
        [530, 1840, 2480, 3500, 4500],  # E
        [660, 1720, 2410, 3500, 4500],  # ae
        [730, 1090, 2440, 3500, 4500],  # a
        [570, 840, 2410, 3500, 4500],  # o
        [440, 1020, 2240, 3500, 4500],  # U
        [300, 870, 2240, 3500, 4500],  # u
    ],
    dtype=float,
)
BANDWIDTHS = np.array([70.0, 90.0, 130.0, 200.0, 280.0])  # Hz
MICROPHONE_KNOTS = np.array([60.0, 200.0, 500.0, 1200.0, 2500.0, 4500.0, 8000.0])  # Hz

# Of how a clip is spoken: the range of each cue
CUES: dict[str, tuple[float, float]] = {
    "pitch_level": (-3.0, 4.0),  # semitones above the habitual pitch
    "pitch_slope": (-6.0, 6.0),  # semitones per second along the clip
    "pitch_glide": (-6.0, 6.0),  # semitones from start to end of a syllable
    "pitch_jump": (0.2, 3.0),  # semitones, standard deviation between syllables
    "vibrato_rate": (3.5, 6.5),  # Hz
    "vibrato_depth": (0.0, 2.0),  # semitones either side
    "tempo": (2.0, 5.5),  # syllables per second
    "legato": (0.5, 0.95),  # sounding share of a syllable
    "attack": (0.0, 1.0),  # 0: syllables swell and fade; 1: they are struck and decay
    "tilt": (-12.0, -5.0),  # dB per octave of the source above 200 Hz
    "breath": (-36.0, -14.0),  # dB, breath noise relative to the pulses
    "jitter": (0.001, 0.03),  # standard deviation of a pulse's delay, in periods
    "shimmer": (0.02, 0.25),  # standard deviation of a pulse's log amplitude
}
Expression = make_dataclass("Expression", [(cue, float) for cue in CUES], frozen=True)

AFFECTS = ("calm", "happy", "sad", "angry")
# Typical place of a cue in its range (0 to 1) for each of the affects; a cue that is not named is
# drawn freely. Level, tilt and breath differ little on purpose: they show in a mean spectrum.
PROFILES: dict[str, tuple[float, float, float, float]] = {
    "pitch_level": (0.45, 0.55, 0.45, 0.55),
    "pitch_slope": (0.50, 0.70, 0.25, 0.40),
    "pitch_glide": (0.50, 0.85, 0.40, 0.15),
    "pitch_jump": (0.15, 0.60, 0.25, 0.60),
    "vibrato_depth": (0.10, 0.30, 0.80, 0.20),
    "tempo": (0.35, 0.70, 0.20, 0.75),
    "legato": (0.70, 0.65, 0.70, 0.45),
    "attack": (0.25, 0.40, 0.20, 0.85),
    "tilt": (0.45, 0.55, 0.45, 0.55),
    "breath": (0.50, 0.50, 0.55, 0.45),
    "jitter": (0.30, 0.30, 0.40, 0.60),
}
SPREAD = 0.16  # standard deviation around a profile's place
ABSENT = 0.12  # probability that a cue says nothing of the affect in a clip


@dataclass(frozen=True)
class Speaker:
    """What stays the same in all clips of a voice."""

    pitch_hz: float  # habitual pitch
    tract: float  # factor on all formants: 1 for a vocal tract of 17.5 cm, more for a shorter one
    formants: tuple[float, ...]  # further factor on each formant, the voice's timbre
    tempo: float  # factor on the syllable rate
    tilt: float  # dB per octave, added to the expression's
    breath: float  # dB, added to the expression's
    microphone: tuple[float, ...]  # dB at MICROPHONE_KNOTS


def draw_speaker(rng: np.random.Generator, register: float | None = None) -> Speaker:
    """Draw a voice from the lowest (``register`` 0) to the highest (1; None: drawn uniformly)."""
    register = rng.uniform() if register is None else register
    return Speaker(
        pitch_hz=float(140 * 2 ** (register + rng.normal(0, 0.06))),
        tract=float(1.0 + 0.18 * register + rng.normal(0, 0.025)),
        formants=tuple(rng.normal(1, [0.05, 0.05, 0.05, 0.07, 0.07]).tolist()),
        tempo=float(rng.uniform(0.88, 1.14)),
        tilt=float(rng.normal(0, 1.5)),
        breath=float(rng.normal(0, 3)),
        microphone=tuple(rng.normal(0, 4, len(MICROPHONE_KNOTS)).tolist()),
    )


def synthesise(
    speaker: Speaker, expression: Expression, duration_s: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Synthesise a recording of random syllables: float32 [samples], its peak from 0.1 to 0.9.

    The generator decides on the syllables, the noises, the microphone and the level.
    """
    samples = round(duration_s * SAMPLE_RATE)
    frames = samples // HOP + 4  # the first frame starts FRAME - HOP samples before the clip
    times = (np.arange(frames) * HOP - FRAME / 2 + HOP) / SAMPLE_RATE
    lead, close = rng.uniform(0.03, 0.2, 2) * min(1, duration_s)  # pauses at both ends, s
    speech = duration_s - lead - close
    rate = expression.tempo * speaker.tempo
    lengths = np.exp(rng.normal(0, 0.18, max(2, round(rate * speech))))
    # Starts of the syllables and the last one's end in s
    starts = lead + speech * np.concatenate([[0], np.cumsum(lengths) / lengths.sum()])
    syllable = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(starts) - 2)
    place = (times - starts[syllable]) / np.diff(starts)[syllable]  # 0 to 1 within the syllable

    pitch = _pitch(speaker, expression, times, syllable, place, rng)
    loudness, friction = _loudness(expression, syllable, place, rng)
    formants = _formants(speaker, syllable, place, rng)

    pulses = _pulses(pitch, loudness, expression, samples, rng)
    noise = rng.standard_normal((2, samples))
    frequencies = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 200) / 200)
    tilt = 10 ** ((expression.tilt + speaker.tilt) * octaves / 20)
    # Breath is flatter than the pulses; 12 dB make up for what the tilt takes from them.
    breath = 10 ** ((expression.breath + speaker.breath + 12 - 3 * octaves) / 20)
    source = _frames(pulses) * tilt + _frames(noise[0]) * breath * loudness[:, None]
    voiced = source * _resonances(formants, frequencies)
    # Of each syllable's consonant, a bump in log frequency
    centre = rng.uniform(np.log2(1500), np.log2(6000), syllable[-1] + 1)[syllable]
    distance = np.log2(np.maximum(frequencies, 50)) - centre[:, None]
    shape = np.exp(-0.5 * (distance / 0.45) ** 2)
    unvoiced = _frames(noise[1]) * shape * friction[:, None]
    voice = _overlap_add(voiced + unvoiced, samples)
    return _record(voice, speaker, rng)


def _pitch(
    speaker: Speaker,
    expression: Expression,
    times: NDArray,
    syllable: NDArray,
    place: NDArray,
    rng: np.random.Generator,
) -> NDArray:
    """Pitch in Hz, [frames]: level, slope, jumps and glides of the syllables, vibrato, drift."""
    jumps = expression.pitch_jump * rng.standard_normal(syllable[-1] + 1)
    glide = expression.pitch_glide * (np.clip(place, 0, 1) - 0.5)
    spoken = uniform_filter1d(jumps[syllable] + glide, 5)  # 40 ms: a larynx does not leap
    middle = times - times.mean()
    phase = 2 * np.pi * (expression.vibrato_rate * times + rng.uniform())
    wander = 0.3 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * times + rng.uniform()))
    semitones = (
        expression.pitch_level
        + expression.pitch_slope * middle
        + spoken
        + expression.vibrato_depth * np.sin(phase)
        + wander
    )
    return np.clip(speaker.pitch_hz * 2 ** (semitones / 12), *PITCH_LIMITS)


def _loudness(
    expression: Expression, syllable: NDArray, place: NDArray, rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Amplitudes of the voice and of the consonants' noise, each [frames]."""
    count = syllable[-1] + 1
    stress = 10 ** (rng.normal(0, 3, count) / 20)
    consonant = np.where(rng.uniform(size=count) < 0.6, rng.uniform(0.04, 0.25, count), 0)
    inside = (place >= 0) & (place <= 1)
    onset = rng.uniform(0.02, 0.16, count)[syllable]  # share of the syllable before the voice
    x = np.clip((place - onset) / np.minimum(expression.legato, 1 - onset), 0, 1)
    swell = np.sin(np.pi * x) ** 0.8
    strike = (1 - np.exp(-x / 0.04)) * np.exp(-3.5 * x) * np.minimum(1, 12 * (1 - x)) * 1.4
    voice = ((1 - expression.attack) * swell + expression.attack * strike) * inside
    burst = np.sin(np.pi * np.clip(place / (onset + 0.05), 0, 1)) * inside
    return stress[syllable] * voice, (stress * consonant)[syllable] * burst


def _formants(
    speaker: Speaker, syllable: NDArray, place: NDArray, rng: np.random.Generator
) -> NDArray:
    """Formants in Hz, [frames, 5]: each syllable glides from one random vowel to another."""
    vowels = VOWELS[rng.integers(len(VOWELS), size=(syllable[-1] + 1, 2))]
    x = np.clip(place, 0, 1)[:, None]
    track = (1 - x) * vowels[syllable, 0] + x * vowels[syllable, 1]
    return uniform_filter1d(track, 7, axis=0) * speaker.tract * np.array(speaker.formants)


def _pulses(
    pitch: NDArray,
    loudness: NDArray,
    expression: Expression,
    samples: int,
    rng: np.random.Generator,
) -> NDArray:
    """Glottal pulse train of unit power where the loudness is 1, [samples], limited to the band."""
    centres = np.arange(len(pitch)) * HOP - FRAME / 2 + HOP
    position = np.arange(samples)
    pitch = np.interp(position, centres, pitch)
    cycles = np.cumsum(pitch) / SAMPLE_RATE
    count = int(cycles[-1])
    instants = np.interp(np.arange(1, count), cycles, position)
    period = SAMPLE_RATE / np.interp(instants, position, pitch)
    instants = instants + expression.jitter * period * rng.standard_normal(len(instants))
    heights = np.exp(expression.shimmer * rng.standard_normal(len(instants))) * np.sqrt(period)
    heights *= np.interp(instants, centres, loudness)
    # A pulse between two samples becomes a windowed sinc: rounding it to a sample would be jitter.
    taps = np.arange(-7, 9)
    near = np.floor(instants).astype(int)[:, None] + taps
    offset = near - instants[:, None]
    shape = heights[:, None] * np.sinc(offset) * np.cos(np.pi * offset / 17) ** 2
    inside = (near >= 0) & (near < samples)
    return np.bincount(near[inside], weights=shape[inside], minlength=samples)


def _resonances(formants: NDArray, frequencies: NDArray) -> NDArray:
    """Response of the vocal tract, complex [frames, bins]: two-pole resonators in cascade."""
    z = np.exp(-2j * np.pi * frequencies / SAMPLE_RATE)
    radius = np.exp(-np.pi * BANDWIDTHS / SAMPLE_RATE)
    # Klatt (1980, doi:10.1121/1.383940), equation 1: gain 1 at 0 Hz keeps the vowels comparable.
    first = 2 * radius * np.cos(2 * np.pi * np.minimum(formants / SAMPLE_RATE, 0.48))
    second = -(radius**2)
    response = np.ones((len(formants), len(frequencies)), dtype=complex)
    for k in range(formants.shape[1]):
        gain = 1 - first[:, k] - second[k]
        response *= gain[:, None] / (1 - np.outer(first[:, k], z) - second[k] * z**2)
    return response


def _frames(signal: NDArray) -> NDArray:
    """Spectra of overlapping frames, complex [samples // HOP + 4, bins]."""
    frames = len(signal) // HOP + 4
    padded = np.zeros((frames - 1) * HOP + FRAME)
    padded[FRAME - HOP : FRAME - HOP + len(signal)] = signal
    view = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return rfft(view * WINDOW)


def _overlap_add(spectra: NDArray, samples: int) -> NDArray:
    """Signal of filtered frames, [samples]; the inverse of `_frames`."""
    frames = irfft(spectra, FRAME) * WINDOW / 2
    overlap = FRAME // HOP
    signal = np.zeros((len(frames) + overlap - 1, HOP))
    for part in range(overlap):
        signal[part : part + len(frames)] += frames[:, part * HOP : (part + 1) * HOP]
    return signal.ravel()[FRAME - HOP : FRAME - HOP + samples]


def _record(voice: NDArray, speaker: Speaker, rng: np.random.Generator) -> NDArray[np.float32]:
    """Microphone (the speaker's, held differently in each clip), background noise and level."""
    size = next_fast_len(len(voice), real=True)  # a prime length would take most of the time
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 1)
    knots = np.log2(MICROPHONE_KNOTS)
    gains = np.array(speaker.microphone) + rng.normal(0, 4, len(knots))
    colour = 10 ** (np.interp(np.log2(frequencies), knots, gains) / 20)
    recorded = irfft(rfft(voice, size) * colour, size)[: len(voice)]
    # Background noise falls by 0 to 6 dB per octave: from hiss to rumble.
    slope = rng.uniform(-1, 0) * np.log2(np.maximum(frequencies, 60) / 60)
    hiss = irfft(rfft(rng.standard_normal(size)) * 2.0**slope, size)[: len(voice)]
    snr_db = rng.uniform(18, 40)
    hiss *= np.std(recorded) / np.std(hiss) * 10 ** (-snr_db / 20)
    recorded += hiss
    peak = 10 ** rng.uniform(-1, np.log10(0.9))
    return (recorded * (peak / np.abs(recorded).max())).astype(np.float32)


def record(
    voice: NDArray[np.float32], session: np.random.Generator, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Record a voice, float32 [samples], in a session; its peak stays what it was.

    The session's generator, alike for all its clips, decides on microphone, background, a
    whistling device and the room.
    """
    gains = session.normal(0, 5, len(MICROPHONE_KNOTS))  # dB
    # dB of noise below the voice, octaves of the whistle above 150 Hz and its dB, time in which
    # the room's echo falls by 60 dB and its dB
    lowest, highest = [-30, 0, -26, 0.1, -20], [-12, np.log2(40), -8, 0.6, -4]
    noise_db, octave, tone_db, room_s, room_db = session.uniform(lowest, highest)
    decay = np.arange(round(room_s * SAMPLE_RATE)) / SAMPLE_RATE / room_s
    echo = rng.standard_normal(len(decay)) * 10 ** (-3 * decay)
    echo *= 10 ** (room_db / 20) / np.sqrt(np.sum(echo**2))
    size = next_fast_len(len(voice) + len(echo), real=True)
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 1)
    colour = 10 ** (np.interp(np.log2(frequencies), np.log2(MICROPHONE_KNOTS), gains) / 20)
    recorded = irfft(rfft(voice, size) * (1 + rfft(echo, size)) * colour, size)[: len(voice)]
    noise = rng.standard_normal(len(voice)) * 10 ** (noise_db / 20)
    cycles = 150 * 2**octave * np.arange(len(voice)) / SAMPLE_RATE + rng.uniform()
    tone = np.sqrt(2) * 10 ** (tone_db / 20) * np.sin(2 * np.pi * cycles)
    recorded += np.std(recorded) * (noise + tone)
    return (recorded * (np.abs(voice).max() / np.abs(recorded).max())).astype(np.float32)


def expression_at(places: NDArray[np.float64]) -> Expression:
    """Return the expression with each cue at a place of its range (0 to 1), in `CUES`'s order."""
    ranges = zip(CUES.items(), places, strict=True)
    return Expression(**{cue: float(low + u * (high - low)) for (cue, (low, high)), u in ranges})


def draw_expression(affect: str, rng: np.random.Generator) -> Expression:
    """Draw a clip's cues for one of `AFFECTS`; the affects overlap in each cue."""
    free = rng.uniform(size=len(CUES))
    near = rng.normal(0, SPREAD, len(CUES))
    absent = rng.uniform(size=len(CUES)) < ABSENT
    column = AFFECTS.index(affect)
    centre = np.array([PROFILES[cue][column] if cue in PROFILES else np.nan for cue in CUES])
    return expression_at(np.where(absent | np.isnan(centre), free, np.clip(centre + near, 0, 1)))


# The corpus


def speaker(number: int) -> Speaker:
    """Draw the voice of speaker ``number`` (1 to 12), from the lowest register to the highest."""
    # A stream of its own: the clips' have class numbers from 1, so a 0 there is never a clip.
    rng = np.random.default_rng([SEED, number, 0, 0])
    return draw_speaker(rng, register=(number - 0.5) / SPEAKERS)


def clip(number: int, affect: str, take: int) -> np.ndarray:
    """Synthesise a speaker's clip of an affect, 1.5 to 2.5 s at 16 kHz: float32 [samples].

    The arguments alone determine it; numbers begin with 1.
    """
    place = AFFECTS.index(affect) + 1
    rng, session = (np.random.default_rng([SEED, number, place, n]) for n in (take, 0))
    duration_s = rng.uniform(*DURATION_S)
    voice = synthesise(speaker(number), draw_expression(affect, rng), duration_s, rng)
    return record(voice, session, rng)


def _marker() -> dict[str, int]:
    files = SPEAKERS * len(AFFECTS) * TAKES
    return {"version": VERSION, "seed": SEED, "takes": TAKES, "files": files}


def _is_finished(folder: Path) -> bool:
    """Whether the corpus is there as it is made today, with all of its files."""
    try:
        marker = provenance.read_json(folder / MARKER)
    except InputError:
        return False
    return marker == _marker() and len(list(folder.glob("*/*.wav"))) == marker["files"]


def generate(folder: Path) -> None:
    """Make the corpus: ``spk01/spk01_calm_01.wav`` and so on (16 kHz, mono, 16 bits), and a marker.

    What an interrupted run or another version left in the folder is replaced.
    """
    todo = list(itertools.product(range(1, SPEAKERS + 1), AFFECTS, range(1, TAKES + 1)))
    with paths.replacing(folder) as draft:
        for number, affect, take in tqdm(todo, "voices", leave=False, disable=None):
            file = draft / f"spk{number:02d}" / f"spk{number:02d}_{affect}_{take:02d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            # Not by libsndfile itself, whose error does not say that the disk is full
            content = io.BytesIO()
            soundfile.write(
                content, clip(number, affect, take), SAMPLE_RATE, subtype="PCM_16", format="WAV"
            )
            file.write_bytes(content.getvalue())
        provenance.write_json(draft / MARKER, _marker())


def is_present(card: Card, folder: Path) -> bool:
    """Return True: the corpus is made on the spot."""
    return True


def read(card: Card, folder: Path) -> Listing:
    """List the corpus; make it if it is not there."""
    if not _is_finished(folder):
        print("making the demo corpus ...", file=sys.stderr, flush=True)
        generate(folder)
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.glob("*/*.wav"))]
    files = {name: tuple(Path(name).stem.split("_")[:2]) for name in names}
    return partitions.place(card, (folder,), files)

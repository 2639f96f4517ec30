"""Cues of affect in a synthesised voice: which are drawn for the demo corpus, and which the
backbone of the demo is pre-trained to tell apart.
"""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from dslite.datasets.demo_voices import Expression, Speaker, draw_speaker, synthesise

CUES: dict[str, tuple[float, float]] = {
    "pitch_level": (-3.0, 4.0),
    "pitch_slope": (-6.0, 6.0),
    "pitch_glide": (-6.0, 6.0),
    "pitch_jump": (0.2, 3.0),
    "vibrato_rate": (3.5, 6.5),
    "vibrato_depth": (0.0, 2.0),
    "tempo": (2.0, 5.5),
    "legato": (0.5, 0.95),
    "attack": (0.0, 1.0),
    "tilt": (-12.0, -5.0),
    "breath": (-36.0, -14.0),
    "jitter": (0.001, 0.03),
    "shimmer": (0.02, 0.25),
}

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

PRETRAINING = 7919  # first word of every pre-training seed: no other stream starts with it
# Head of the pre-training task -> edges between its three classes, in the unit of `audible_cues`.
HEADS: dict[str, tuple[float, float]] = {
    "pitch": (180.0, 230.0),
    "pitch_slope": (-2.0, 2.0),
    "pitch_glide": (-2.0, 2.0),
    "vibrato_depth": (0.6, 1.3),
    "tempo": (3.1, 4.3),
    "attack": (0.33, 0.67),
    "breath": (-28.7, -21.3),
}


def _expression(places: NDArray[np.float64]) -> Expression:
    """Expression from each cue's place in its range (0 to 1), in the order of `CUES`."""
    ranges = zip(CUES.items(), places, strict=True)
    return Expression(**{cue: float(low + u * (high - low)) for (cue, (low, high)), u in ranges})


def draw_expression(affect: str, rng: np.random.Generator) -> Expression:
    """Draw a clip's cues for one of `AFFECTS`; the affects overlap in each cue."""
    free = rng.uniform(size=len(CUES))
    near = rng.normal(0, SPREAD, len(CUES))
    absent = rng.uniform(size=len(CUES)) < ABSENT
    column = AFFECTS.index(affect)
    centre = np.array([PROFILES[cue][column] if cue in PROFILES else np.nan for cue in CUES])
    return _expression(np.where(absent | np.isnan(centre), free, np.clip(centre + near, 0, 1)))


def draw_free_expression(rng: np.random.Generator) -> Expression:
    """Draw every cue uniformly from the whole of its range, independently of the others."""
    return _expression(rng.uniform(size=len(CUES)))


def audible_cues(speaker: Speaker, expression: Expression) -> dict[str, float]:
    """Cues as a listener who does not know the speaker hears them: one for each of `HEADS`."""
    cues = {field.name: getattr(expression, field.name) for field in fields(expression)}
    cues["pitch"] = speaker.pitch_hz * 2 ** (expression.pitch_level / 12)
    cues["tempo"] *= speaker.tempo
    cues["breath"] += speaker.breath
    return {head: float(cues[head]) for head in HEADS}


def pretraining_set(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Voices and cues for pre-training a backbone: nothing of the demo corpus is in them.

    Every clip has a speaker of its own and freely drawn cues; which affect they would suit plays
    no part. Clip ``i`` depends on ``seed`` and ``i`` only, so a longer set begins with a shorter.

    Parameters
    ----------
    n : int
        Clips.
    seed : int
        Any; no seed brings back a speaker or a clip of the demo corpus.

    Returns
    -------
    waveforms : ndarray of float32 [n, 32000]
        2 s at 16 kHz, within [-1, 1].
    targets : ndarray of int64 [n, len(HEADS)]
        Class 0, 1 or 2 of each head, in the order of `HEADS`.
    """
    waveforms = np.empty((n, 32000), dtype=np.float32)
    targets = np.empty((n, len(HEADS)), dtype=np.int64)
    for i in range(n):
        rng = np.random.default_rng([PRETRAINING, seed, i])
        speaker, expression = draw_speaker(rng), draw_free_expression(rng)
        waveforms[i] = synthesise(speaker, expression, 2.0, rng)
        heard = audible_cues(speaker, expression)
        targets[i] = [np.digitize(heard[head], edges) for head, edges in HEADS.items()]
    return waveforms, targets

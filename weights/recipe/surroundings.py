"""Synthesise ordinary sounds of surroundings, which an audio encoder must not take for pain.

Each draw has its own parameters, room, frequency response and level, so that no two are alike; `random` and `mixture`
go beyond the kinds that have a name. Synthetic: no recording is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from weights.recipe import surroundings_calls as calls
from weights.recipe import surroundings_machines as machines
from weights.recipe import surroundings_nature as nature
from weights.recipe.surroundings_blocks import (
    Sketch,
    Wave,
    band,
    colour,
    decay,
    envelope,
    harmonic_amplitudes,
    harmonics,
    repeat,
    resonances,
    reverberate,
    with_peak_1,
    with_rms_1,
)


def draw_random(sketch: Sketch) -> Wave:
    """A random graph of source, modulation, resonances, envelope and repetition."""
    period_s = sketch.log_uniform(0.1, 4.0)
    length_s = period_s * sketch.uniform(0.2, 1.5)
    base_hz = sketch.log_uniform(60.0, 4000.0)
    contour = np.exp(sketch.uniform(0.0, 0.7) * sketch.rng.standard_normal(sketch.count(2, 7)))
    timbre = harmonic_amplitudes(sketch, sketch.uniform(0.0, 3.0), sketch.uniform(0.0, 12.0))
    noise_share = sketch.uniform(0.0, 1.0) ** 2
    fm, fm_hz = sketch.uniform(0.0, 0.2) * sketch.chance(0.5), sketch.log_uniform(2.0, 300.0)
    am, am_hz = sketch.uniform(0.0, 1.0) * sketch.chance(0.5), sketch.log_uniform(2.0, 300.0)
    centres = sorted(sketch.log_uniform(200.0, 6000.0) for _ in range(sketch.count(0, 4)))
    widths = [sketch.log_uniform(0.03, 0.6) * hz for hz in centres]
    slope, decaying = sketch.uniform(-0.3, 1.3), sketch.chance(0.4)

    def event() -> Wave:
        part = sketch.part(length_s * sketch.uniform(0.7, 1.3))
        f0 = base_hz * sketch.uniform(0.9, 1.1) * np.exp(part.through(np.log(contour)))
        f0 = np.clip(f0 * (1.0 + fm * np.sin(2.0 * np.pi * fm_hz * part.time_s)), 40.0, 7000.0)
        tone = with_rms_1(harmonics(part, f0, timbre))
        audio = (1.0 - noise_share) * tone + noise_share * part.coloured(slope)
        audio = audio * (1.0 + am * np.sin(2.0 * np.pi * am_hz * part.time_s))
        if centres:
            audio = resonances(part, audio, centres, widths)
        shape = decay(part, 0.3 * part.seconds) if decaying else envelope(part, 0.1 * part.seconds, 0.3 * part.seconds)
        return audio * shape

    return repeat(sketch, period_s, sketch.uniform(0.0, 1.0), event, 3.0, 60)


def draw_mixture(sketch: Sketch) -> Wave:
    """Two or three kinds together, at random levels."""
    audio = np.zeros(sketch.samples)
    for kind in sketch.rng.choice(list(_SINGLE_KINDS), sketch.count(2, 3), replace=False):
        audio += with_rms_1(_SINGLE_KINDS[str(kind)](sketch)) * 10.0 ** (sketch.uniform(-15.0, 0.0) / 20.0)
    return audio


def draw_babble(sketch: Sketch) -> Wave:
    """Murmur of many people: overlapping voiced syllables without words, at a distance."""
    audio = np.zeros(sketch.samples)
    for _ in range(sketch.count(2, 6)):
        tract = calls.draw_tract(sketch, (400.0, 700.0), 0.1, 0.2)
        f0_hz = sketch.log_uniform(85.0, 300.0)

        syllables = [
            calls.call(
                sketch.part(sketch.uniform(0.1, 0.3)),
                tract,
                f0_hz * np.exp(0.1 * sketch.rng.standard_normal(3)),
                [0.3, 1.0, 0.6, 0.1],
            )
            for _ in range(6)
        ]

        def syllable(syllables: list[Wave] = syllables) -> Wave:
            return syllables[sketch.count(0, len(syllables) - 1)]

        audio += repeat(sketch, sketch.uniform(0.18, 0.35), 0.3, syllable, 4.0)
    return band(sketch, audio, 150.0, sketch.uniform(1500.0, 5000.0))


_SINGLE_KINDS: dict[str, Callable[[Sketch], Wave]] = {
    "rooster": calls.rooster,
    "dog": calls.dog,
    "cat": calls.cat,
    "bird_song": calls.bird_song,
    "bird_call": calls.bird_call,
    "livestock": calls.livestock,
    "insects": calls.insects,
    "frogs": calls.frogs,
    "snoring": calls.snoring,
    "coughing": calls.coughing,
    "babble": draw_babble,
    "engine": machines.engine,
    "saw": machines.saw,
    "appliance": machines.appliance,
    "train": machines.train,
    "rotor": machines.rotor,
    "siren": machines.siren,
    "alarm": machines.alarm,
    "horn": machines.horn,
    "bells": machines.bells,
    "music": machines.music,
    "whistle": machines.whistle,
    "rain": nature.rain,
    "wind": nature.wind,
    "sea": nature.sea,
    "water": nature.water,
    "fire": nature.fire,
    "hiss": nature.hiss,
    "thunder": nature.thunder,
    "explosions": nature.explosions,
    "applause": nature.applause,
    "footsteps": nature.footsteps,
    "knocks": nature.knocks,
    "clock": nature.clock,
    "keyboard": nature.keyboard,
    "glass": nature.glass,
    "brushing": nature.brushing,
    "creaks": nature.creaks,
    "random": draw_random,
}
_KINDS = {**_SINGLE_KINDS, "mixture": draw_mixture}

SURROUNDINGS: tuple[str, ...] = tuple(_KINDS)
"""Kinds that `draw_surroundings` knows."""


def draw_surroundings(
    kind: str, seconds: float, rng: np.random.Generator, rate_hz: int = 16_000
) -> npt.NDArray[np.float32]:
    """Draw a sound of a kind, in a random room, at a random level.

    Args:
        kind: A name of `SURROUNDINGS`.
        seconds: Length, 0.1 to 600 s.
        rng: Every random number of the sound comes from here.
        rate_hz: Sampling rate, 8,000 Hz or more.

    Returns:
        (samples,) float32 in [-1, 1]; its peak is 0.05 to 0.95.

    Raises:
        ValueError: The kind is unknown, or the length or the sampling rate is out of range.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(SURROUNDINGS)}")
    if not 0.1 <= seconds <= 600.0:
        raise ValueError(f"seconds must be 0.1 to 600, not {seconds}")
    if rate_hz < 8_000:
        raise ValueError(f"rate_hz must be 8000 or more, not {rate_hz}")
    sketch = Sketch(round(seconds * rate_hz), rate_hz, rng)
    audio = with_rms_1(_KINDS[kind](sketch))
    if not audio.any():  # a short clip may fall between two events
        audio = sketch.coloured(sketch.uniform(0.0, 1.2))
    if sketch.chance(0.5):
        audio = reverberate(sketch, audio, sketch.log_uniform(0.15, 2.5), sketch.log_uniform(0.05, 1.0))
    if sketch.chance(0.7):
        audio = colour(sketch, audio, sketch.uniform(0.0, 5.0))
    if sketch.chance(0.4):
        audio = with_rms_1(audio) + sketch.log_uniform(0.001, 0.1) * sketch.coloured(sketch.uniform(0.0, 1.2))
    return (with_peak_1(audio) * sketch.log_uniform(0.05, 0.95)).astype(np.float32)

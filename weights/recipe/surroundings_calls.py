"""Calls of animals, and sounds of people that are no utterance: a vocal tract or wing, seen as source and resonances.

Every function fills a sketch and returns (samples,) float64 of any level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weights.recipe.surroundings_blocks import (
    Sketch,
    Wave,
    add_at,
    band,
    decay,
    envelope,
    harmonic_amplitudes,
    harmonics,
    repeat,
    resonances,
    with_rms_1,
)


@dataclass(frozen=True)
class Tract:
    """What stays the same from call to call of one animal."""

    tilt: float
    timbre: Wave
    closed_hz: tuple[float, ...]
    open_hz: tuple[float, ...]
    roughness: float
    breath: float


def draw_tract(sketch: Sketch, first_formant_hz: tuple[float, float], roughness: float, breath: float) -> Tract:
    """Draw a vocal tract: two sets of formants between which a call moves, and the roughness of its source."""
    count = sketch.count(3, 5)
    closed = sketch.log_uniform(*first_formant_hz) * np.cumprod(np.r_[1.0, sketch.rng.uniform(1.3, 2.6, count - 1)])
    opened = closed * sketch.rng.uniform(0.7, 1.9, count)
    tilt = sketch.uniform(0.3, 1.6)
    return Tract(
        tilt=tilt,
        timbre=harmonic_amplitudes(sketch, tilt, sketch.uniform(0.0, 5.0)),
        closed_hz=tuple(closed),
        open_hz=tuple(opened),
        roughness=roughness * sketch.uniform(0.0, 1.0),
        breath=breath * sketch.uniform(0.0, 1.0),
    )


def call(sketch: Sketch, tract: Tract, f0_points_hz: Sequence[float] | Wave, level_points: Sequence[float]) -> Wave:
    """One call: its fundamental frequency and level run through points, its mouth opens and closes."""
    f0 = np.exp(sketch.through(np.log(np.asarray(f0_points_hz))))
    f0 *= 1.0 + 0.01 * sketch.uniform(0.0, 2.0) * sketch.drift(40.0)
    source = harmonics(sketch, f0, tract.timbre)
    if tract.roughness > 0.0:
        divisor = sketch.count(2, 4)
        subharmonic = np.sin(2.0 * np.pi * np.cumsum(f0) / divisor / sketch.rate_hz)
        source *= 1.0 + tract.roughness * (0.7 * subharmonic + 0.5 * sketch.drift(sketch.uniform(60.0, 250.0)))
    source = with_rms_1(source) + tract.breath * sketch.coloured(0.3, 300.0)
    widths = [0.06 * hz + 60.0 for hz in tract.closed_hz]
    closed = resonances(sketch, source, tract.closed_hz, widths)
    opened = resonances(sketch, source, tract.open_hz, widths)
    mouth = np.clip(sketch.through([0.0, 1.0, sketch.uniform(0.3, 1.0), 0.0]) + 0.2 * sketch.drift(4.0), 0.0, 1.0)
    level = np.maximum(sketch.through(level_points), 0.0)
    shaped: Wave = (closed * (1.0 - mouth) + opened * mouth) * level * envelope(sketch, 0.01, 0.02)
    return shaped


def rooster(sketch: Sketch) -> Wave:
    """Crowing: short syllables, then a long note that rises, holds and falls."""
    tract = draw_tract(sketch, (700.0, 1800.0), 0.8, 0.3)
    top_hz = sketch.log_uniform(450.0, 1300.0)

    def crow() -> Wave:
        shorts = sketch.count(1, 4)
        lengths = [sketch.uniform(0.12, 0.35) for _ in range(shorts)] + [sketch.uniform(0.5, 1.6)]
        whole = sketch.part(sum(lengths) + 0.06 * len(lengths))
        audio, start_s = np.zeros(whole.samples), 0.0
        for number, length_s in enumerate(lengths):
            peak = top_hz * sketch.uniform(0.75, 1.05)
            points = [0.6 * peak, peak, sketch.uniform(0.7, 1.0) * peak]
            if number == shorts:
                points = [0.7 * top_hz, top_hz, top_hz * sketch.uniform(0.9, 1.1), 0.8 * top_hz, 0.45 * top_hz]
            add_at(audio, start_s, call(sketch.part(length_s), tract, points, [0.4, 1.0, 0.9, 0.3]), sketch.rate_hz)
            start_s += length_s + sketch.uniform(0.0, 0.1)
        return audio

    return repeat(sketch, sketch.uniform(2.0, 6.0), 0.3, crow)


def dog(sketch: Sketch) -> Wave:
    """Barks, yaps, howls or growls."""
    small = sketch.uniform(0.0, 1.0)
    tract = draw_tract(sketch, (450.0 + 500.0 * small, 900.0 + 900.0 * small), 1.2, 0.8)
    base_hz = sketch.log_uniform(110.0, 300.0) * (1.0 + 2.0 * small)
    manner = sketch.rng.choice(["bark", "howl", "growl"], p=[0.65, 0.2, 0.15])
    if manner == "howl":
        points = [base_hz, 2.0 * base_hz, 2.1 * base_hz, 1.9 * base_hz, 1.2 * base_hz]
        return repeat(
            sketch,
            sketch.uniform(2.0, 5.0),
            0.3,
            lambda: call(sketch.part(sketch.uniform(0.8, 3.0)), tract, points, [0.3, 1.0, 0.9, 0.2]),
        )
    if manner == "growl":
        rough = call(sketch, tract, [0.4 * base_hz] * 4, [0.5, 1.0, 0.8, 0.4])
        return rough * (1.0 + 0.8 * np.sin(2.0 * np.pi * sketch.uniform(18.0, 40.0) * sketch.time_s))

    def bark() -> Wave:
        points = [0.8 * base_hz, base_hz * sketch.uniform(1.1, 1.7), 0.6 * base_hz]
        return call(sketch.part(sketch.uniform(0.07, 0.3)), tract, points, [0.8, 1.0, 0.5, 0.1])

    return repeat(sketch, sketch.uniform(0.25, 1.2), 0.35, bark)


def cat(sketch: Sketch) -> Wave:
    """Meows, yowls, hisses or purring."""
    manner = sketch.rng.choice(["meow", "hiss", "purr"], p=[0.75, 0.12, 0.13])
    if manner == "hiss":
        return repeat(sketch, 1.5, 0.4, lambda: _breathed(sketch, sketch.uniform(0.4, 1.2), 2000.0, 7500.0))
    if manner == "purr":
        pulses = np.maximum(np.sin(2.0 * np.pi * sketch.uniform(20.0, 30.0) * sketch.time_s), 0.0) ** 3
        breath = 0.6 + 0.4 * np.sin(2.0 * np.pi * sketch.uniform(0.4, 0.9) * sketch.time_s)
        purr: Wave = sketch.coloured(0.7, 40.0, 1500.0) * pulses * breath
        return purr
    tract = draw_tract(sketch, (600.0, 1400.0), 0.7, 0.2)
    base_hz = sketch.log_uniform(280.0, 1000.0)

    def meow() -> Wave:
        points = base_hz * np.array([0.8, 1.0, sketch.uniform(0.9, 1.4), sketch.uniform(0.6, 1.0)])
        return call(sketch.part(sketch.log_uniform(0.25, 2.2)), tract, points, [0.3, 1.0, 0.8, 0.2])

    return repeat(sketch, sketch.uniform(0.8, 3.0), 0.4, meow)


def bird_song(sketch: Sketch) -> Wave:
    """Song of small birds: nearly pure sweeps, trills and warbles from 1 to 7 kHz, up to four singers."""
    audio = np.zeros(sketch.samples)
    for _ in range(sketch.count(1, 4)):
        base_hz = sketch.log_uniform(1000.0, 6000.0)
        shapes = [base_hz * np.exp(0.3 * sketch.rng.standard_normal(sketch.count(2, 5))) for _ in range(3)]
        lengths = [sketch.log_uniform(0.02, 0.4) for _ in shapes]
        timbre = np.array([1.0, sketch.uniform(0.0, 0.4), sketch.uniform(0.0, 0.15)])

        def note(shapes: list[Wave] = shapes, lengths: list[float] = lengths, timbre: Wave = timbre) -> Wave:
            kind = sketch.count(0, len(shapes) - 1)
            part = sketch.part(lengths[kind])
            f0 = np.clip(np.exp(part.through(np.log(shapes[kind]))), 500.0, 7400.0)
            f0 = f0 * (1.0 + sketch.uniform(0.0, 0.08) * np.sin(2.0 * np.pi * sketch.uniform(20.0, 80.0) * part.time_s))
            return harmonics(part, f0, timbre) * envelope(part, 0.3 * part.seconds, 0.3 * part.seconds)

        singer = repeat(sketch, sketch.log_uniform(0.06, 0.6), 0.3, note, 2.0, 80)
        phrases = np.clip(2.0 * sketch.drift(sketch.uniform(0.5, 2.0)) + 0.8, 0.0, 1.0)
        audio += singer * phrases * sketch.uniform(0.1, 1.0)
    return audio


def bird_call(sketch: Sketch) -> Wave:
    """Raspy calls: crows, gulls, geese, ducks, hens, cranes, parrots."""
    tract = draw_tract(sketch, (800.0, 2200.0), 1.5, 0.6)
    base_hz, period_s = sketch.log_uniform(180.0, 2200.0), sketch.log_uniform(0.15, 1.5)
    contour = np.exp(0.25 * sketch.rng.standard_normal(sketch.count(2, 5)))

    def caw() -> Wave:
        part = sketch.part(period_s * sketch.uniform(0.3, 0.8))
        return call(part, tract, base_hz * sketch.uniform(0.93, 1.07) * contour, [0.6, 1.0, 0.8, 0.2])

    return repeat(sketch, period_s, 0.25, caw, 2.0, 60)


def livestock(sketch: Sketch) -> Wave:
    """Cows, sheep, goats, pigs, horses, donkeys: long calls, bleats with tremor, grunts."""
    tract = draw_tract(sketch, (250.0, 900.0), 1.2, 0.5)
    base_hz = sketch.log_uniform(60.0, 450.0)
    tremor_hz, tremor = sketch.uniform(6.0, 14.0), sketch.uniform(0.0, 0.9) * sketch.chance(0.5)
    length = (0.6, 2.5) if sketch.chance(0.6) else (0.1, 0.4)

    def bellow() -> Wave:
        part = sketch.part(sketch.uniform(*length))
        contour = base_hz * np.exp(0.2 * sketch.rng.standard_normal(4))
        bleat = 1.0 + tremor * np.sin(2.0 * np.pi * tremor_hz * part.time_s)
        return call(part, tract, contour, [0.4, 1.0, 0.9, 0.2]) * bleat

    return repeat(sketch, sketch.uniform(1.2, 2.0) * length[1], 0.4, bellow)


def insects(sketch: Sketch) -> Wave:
    """Crickets, cicadas, grasshoppers, bees, flies and mosquitoes."""
    audio = np.zeros(sketch.samples)
    for _ in range(sketch.count(1, 3)):
        if sketch.chance(0.35):
            f0 = sketch.log_uniform(90.0, 800.0) * np.exp(0.08 * sketch.drift(sketch.uniform(1.0, 6.0)))
            near = np.exp(sketch.uniform(0.2, 1.0) * sketch.drift(1.5))
            audio += with_rms_1(harmonics(sketch, f0, harmonic_amplitudes(sketch, 0.9))) * near
            continue
        centre_hz = sketch.log_uniform(1800.0, 7000.0)
        pulse_hz, chirp_hz = sketch.log_uniform(15.0, 180.0), sketch.log_uniform(0.4, 6.0)
        carrier = np.sin(2.0 * np.pi * centre_hz * sketch.time_s + 0.5 * sketch.drift(30.0))
        if sketch.chance(0.4):
            carrier = with_rms_1(band(sketch, sketch.white(), 0.8 * centre_hz, 1.2 * centre_hz))
        wings = np.maximum(np.sin(2.0 * np.pi * pulse_hz * sketch.time_s), 0.0)
        rest = np.sin(2.0 * np.pi * (chirp_hz * sketch.time_s + sketch.rng.random()))
        gate = 1.0 if sketch.chance(0.3) else np.clip(6.0 * (rest - sketch.uniform(-0.5, 0.7)), 0.0, 1.0)
        audio += carrier * wings * gate * sketch.uniform(0.2, 1.0)
    return audio


def frogs(sketch: Sketch) -> Wave:
    """Croaks: trains of pulses through resonances, some alone, some in chorus."""
    audio = np.zeros(sketch.samples)
    for _ in range(sketch.count(1, 5)):
        tract = draw_tract(sketch, (300.0, 2000.0), 0.6, 0.2)
        pulse_hz, length_s = sketch.log_uniform(15.0, 120.0), sketch.log_uniform(0.08, 0.9)
        f0_hz = sketch.log_uniform(100.0, 900.0)

        def croak(
            tract: Tract = tract, pulse_hz: float = pulse_hz, length_s: float = length_s, f0_hz: float = f0_hz
        ) -> Wave:
            part = sketch.part(length_s)
            pulses = np.maximum(np.sin(2.0 * np.pi * pulse_hz * part.time_s), 0.0) ** 2
            croaking: Wave = call(part, tract, [f0_hz, 1.1 * f0_hz, f0_hz], [0.5, 1.0, 0.8, 0.2]) * pulses
            return croaking

        audio += repeat(sketch, length_s * sketch.uniform(1.2, 4.0), 0.3, croak, 2.0, 40) * sketch.uniform(0.1, 1.0)
    return audio


def snoring(sketch: Sketch) -> Wave:
    """Snoring or slow breathing of a sleeper: inspiration with or without a flutter, then a softer expiration."""
    flutter_hz, loud = sketch.uniform(22.0, 90.0), sketch.uniform(0.0, 1.0) * sketch.chance(0.7)
    low_hz, high_hz = sketch.uniform(80.0, 400.0), sketch.uniform(900.0, 4000.0)

    def breath() -> Wave:
        part = sketch.part(sketch.uniform(1.2, 2.2))
        half = np.clip(part.through([0.0, 1.0, 0.9, 0.05, 0.4, 0.3, 0.0]), 0.0, 1.0)
        flutter = np.maximum(
            np.sin(2.0 * np.pi * np.cumsum(flutter_hz * np.exp(0.1 * part.drift(8.0))) / part.rate_hz), 0
        )
        return part.coloured(0.6, low_hz, high_hz) * half * (1.0 - loud + loud * 2.0 * flutter**2)

    return repeat(sketch, sketch.uniform(2.2, 4.0), 0.1, breath, 1.5)


def coughing(sketch: Sketch) -> Wave:
    """Coughs, sneezes, throat clearing: a burst, a noisy middle part and sometimes a voiced end."""
    tract = draw_tract(sketch, (450.0, 900.0), 1.0, 1.5)
    voiced, f0_hz = sketch.uniform(0.0, 0.6), sketch.log_uniform(90.0, 350.0)

    def cough() -> Wave:
        whole = sketch.part(sketch.uniform(0.2, 0.5))
        burst = whole.coloured(0.4, 200.0, sketch.uniform(2500.0, 7000.0)) * decay(
            whole, sketch.uniform(0.05, 0.15), 0.004
        )
        shaped = resonances(whole, burst, tract.open_hz, [250.0] * len(tract.open_hz)) + 0.4 * with_rms_1(burst)
        end = call(whole, tract, [1.2 * f0_hz, f0_hz, 0.8 * f0_hz], [0.0, 0.3, 1.0, 0.1])
        return shaped * decay(whole, 0.2, 0.003) + voiced * end

    return repeat(sketch, sketch.uniform(0.35, 1.5), 0.4, cough, 3.0)


def _breathed(sketch: Sketch, length_s: float, low_hz: float, high_hz: float) -> Wave:
    part = sketch.part(length_s)
    return part.coloured(0.2, low_hz, high_hz) * envelope(part, 0.2 * length_s, 0.5 * length_s)

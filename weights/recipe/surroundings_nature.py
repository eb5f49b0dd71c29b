"""Weather, water, fire, and impacts of things on things.

Every function fills a sketch and returns (samples,) float64 of any level.
"""

from __future__ import annotations

import numpy as np

from weights.recipe.surroundings_blocks import (
    Sketch,
    Wave,
    add_at,
    band,
    decay,
    envelope,
    partials,
    repeat,
    resonances,
    with_rms_1,
)


def rain(sketch: Sketch) -> Wave:
    """Rain: hiss, with drops near the microphone."""
    audio = sketch.coloured(sketch.uniform(-0.2, 0.6), sketch.uniform(100.0, 1500.0), sketch.uniform(4000.0, 8000.0))
    audio *= np.exp(sketch.uniform(0.0, 0.3) * sketch.drift(2.0))
    drops = repeat(sketch, sketch.log_uniform(0.01, 0.3), 1.0, lambda: _click(sketch, 500.0, 7000.0), 6.0)
    return audio + sketch.uniform(0.5, 6.0) * drops


def wind(sketch: Sketch) -> Wave:
    """Wind: gusts of low noise, with whistling in gaps."""
    gusts = np.exp(sketch.uniform(0.3, 1.2) * sketch.drift(sketch.uniform(0.3, 1.5)))
    audio = sketch.coloured(sketch.uniform(0.6, 1.6), 20.0, sketch.uniform(400.0, 4000.0)) * gusts
    if sketch.chance(0.5):
        base_hz = sketch.log_uniform(200.0, 1500.0)
        parts = 12
        moved = np.zeros(sketch.samples)
        centres = base_hz * np.exp(0.25 * sketch.rng.standard_normal(parts))
        for number, centre_hz in enumerate(centres):
            points = np.zeros(parts)
            points[number] = 1.0
            howl = band(sketch, sketch.white(), 0.95 * centre_hz, 1.05 * centre_hz, 1)
            moved += with_rms_1(howl) * sketch.through(points)
        audio += sketch.uniform(0.2, 1.0) * moved * gusts
    return audio


def sea(sketch: Sketch) -> Wave:
    """Surf: waves that swell, break and run out."""
    audio = 0.15 * sketch.coloured(0.9)

    def wave() -> Wave:
        part = sketch.part(sketch.uniform(2.0, 6.0))
        level = np.clip(part.through([0.0, 0.3, 1.0, 0.6, 0.25, 0.1, 0.0]), 0.0, 1.0)
        foam = part.coloured(0.2, 800.0) * np.clip(part.through([0.0, 0.0, 0.6, 1.0, 0.6, 0.2, 0.0]), 0.0, 1.0)
        return part.coloured(1.0, 30.0, 3000.0) * level + sketch.uniform(0.2, 1.0) * foam

    return audio + repeat(sketch, sketch.uniform(2.0, 6.0), 0.3, wave, 3.0)


def water(sketch: Sketch) -> Wave:
    """Running, pouring, dripping water, drains and flushes: bubbles that ring, and a rush."""
    ring_hz = (sketch.uniform(200.0, 900.0), sketch.uniform(1200.0, 4500.0))

    def bubble() -> Wave:
        part = sketch.part(0.06)
        f0 = sketch.log_uniform(*ring_hz) * (1.0 + sketch.uniform(0.0, 8.0) * part.time_s)
        return np.sin(2.0 * np.pi * np.cumsum(f0) / part.rate_hz) * decay(part, sketch.uniform(0.004, 0.02))

    dense = sketch.log_uniform(0.004, 0.6)
    audio = repeat(sketch, dense, 1.0, bubble, 6.0, 1200)
    rush = sketch.coloured(sketch.uniform(0.0, 1.0), 150.0, sketch.uniform(1500.0, 8000.0))
    level = np.exp(0.3 * sketch.drift(3.0)) * sketch.through([sketch.uniform(0.2, 1.0) for _ in range(4)])
    return audio + (sketch.uniform(0.0, 0.6) if dense < 0.1 else 0.01) * rush * level


def fire(sketch: Sketch) -> Wave:
    """Fire: crackles over a low roar."""
    roar = sketch.coloured(1.2, 30.0, 1500.0) * np.exp(0.3 * sketch.drift(4.0))
    crackles = repeat(sketch, sketch.log_uniform(0.008, 0.2), 1.0, lambda: _click(sketch, 800.0, 7500.0), 9.0, 800)
    return sketch.uniform(0.02, 0.4) * roar + crackles


def hiss(sketch: Sketch) -> Wave:
    """Steam, spray, radio static, frying: steady or puffing noise."""
    low_hz = sketch.log_uniform(100.0, 3000.0)
    audio = sketch.coloured(sketch.uniform(-0.5, 0.6), low_hz, sketch.uniform(3500.0, 8000.0))
    if sketch.chance(0.4):
        audio *= np.clip(1.5 * sketch.drift(sketch.uniform(0.7, 4.0)) + 0.5, 0.0, 2.0)
    if sketch.chance(0.4):
        audio += 3.0 * repeat(sketch, sketch.log_uniform(0.005, 0.1), 1.0, lambda: _click(sketch, 1000.0, 7000.0), 6.0)
    return audio


def thunder(sketch: Sketch) -> Wave:
    """Thunder: a crack and a long irregular rumble."""

    def clap() -> Wave:
        part = sketch.part(min(sketch.seconds, sketch.uniform(2.0, 6.0)))
        rumble = part.coloured(1.3, 20.0, 600.0) * np.exp(0.7 * part.drift(3.0)) * decay(part, 1.2, 0.1)
        return rumble + sketch.uniform(0.0, 1.0) * part.coloured(0.5, 100.0, 5000.0) * decay(part, 0.15, 0.01)

    return repeat(sketch, sketch.uniform(2.0, 5.0), 0.4, clap) + 0.03 * sketch.coloured(0.4)


def explosions(sketch: Sketch) -> Wave:
    """Fireworks, shots, crackers, sometimes after a rising whistle."""
    low_hz, length_s = sketch.log_uniform(30.0, 300.0), sketch.log_uniform(0.02, 0.5)
    rocket = sketch.chance(0.4)

    def bang() -> Wave:
        part = sketch.part(6.0 * length_s + 1.0)
        audio = part.coloured(sketch.uniform(0.3, 1.1), low_hz, 7000.0) * decay(part, length_s)
        if rocket:
            f0 = part.through([sketch.uniform(700.0, 1500.0), sketch.uniform(1800.0, 5000.0)])
            flight = np.sin(2.0 * np.pi * np.cumsum(f0) / part.rate_hz) * envelope(part, 0.3, 0.1)
            audio = np.concatenate([0.2 * flight, audio])
        return audio

    audio = repeat(sketch, sketch.log_uniform(0.08, 2.5), 1.0, bang, 5.0, 40)
    if sketch.chance(0.4):
        audio += 0.3 * repeat(sketch, 0.02, 1.0, lambda: _click(sketch, 1500.0, 7500.0), 6.0)
    return audio


def applause(sketch: Sketch) -> Wave:
    """Clapping of one person up to a hall."""
    hands = [(sketch.log_uniform(500.0, 1300.0), sketch.uniform(0.004, 0.02)) for _ in range(sketch.count(1, 30))]

    def clap_of(centre_hz: float, constant_s: float) -> Wave:
        part = sketch.part(8.0 * constant_s)
        return band(part, part.white(), 0.7 * centre_hz, 3.0 * centre_hz, 1) * decay(part, constant_s)

    claps = [clap_of(*hand) for hand in hands for _ in range(3)]

    alone = len(hands) <= 2
    swell = 1.0 if alone else np.clip(sketch.through([sketch.uniform(0.2, 1.0) for _ in range(4)]), 0.0, 1.0)
    return (
        repeat(
            sketch, 0.25 / len(hands), 0.08 if alone else 1.0, lambda: claps[sketch.count(0, len(claps) - 1)], 4.0, 1500
        )
        * swell
    )


def footsteps(sketch: Sketch) -> Wave:
    """Steps on floors, gravel, snow, stairs; running."""
    soft, scrape = sketch.uniform(0.01, 0.05), sketch.uniform(0.0, 1.0) * sketch.chance(0.5)
    low_hz, high_hz = sketch.log_uniform(50.0, 300.0), sketch.log_uniform(700.0, 5000.0)

    def step() -> Wave:
        part = sketch.part(0.35)
        heel = band(part, part.white(), low_hz, high_hz, 1) * decay(part, soft)
        toe = band(part, part.white(), 2.0 * low_hz, 1.5 * high_hz, 1) * decay(part, 0.6 * soft)
        add_at(heel, sketch.uniform(0.05, 0.12), 0.6 * toe, sketch.rate_hz)
        grit = np.clip(part.white() ** 3, -8.0, 8.0) * envelope(part, 0.1, 0.2)
        return heel + 0.1 * scrape * grit

    return repeat(sketch, sketch.uniform(0.25, 0.9), 0.06, step, 2.0)


def knocks(sketch: Sketch) -> Wave:
    """Knocks, slams, hammers, falling things: short noise through the modes of wood, metal or plastic."""
    count = sketch.count(2, 7)
    modes_hz = np.exp(sketch.rng.uniform(np.log(80.0), np.log(5000.0), count))
    constants_s = np.exp(sketch.rng.uniform(np.log(0.004), np.log(0.15), count))

    def knock() -> Wave:
        part = sketch.part(0.6)
        amplitudes = np.exp(0.6 * sketch.rng.standard_normal(count))
        return partials(part, modes_hz, amplitudes, constants_s) + 2.0 * part.white() * decay(part, 0.003)

    return repeat(sketch, sketch.log_uniform(0.1, 1.5), sketch.uniform(0.05, 0.6), knock, 3.0)


def clock(sketch: Sketch) -> Wave:
    """Ticking of clocks and watches, metronomes, indicators."""
    modes_hz = [np.exp(sketch.rng.uniform(np.log(800.0), np.log(7000.0), 4)) for _ in range(2)]
    constants_s, played = sketch.rng.uniform(0.001, 0.02, 4), 0

    def tick() -> Wave:
        nonlocal played
        played += 1
        return partials(sketch.part(0.12), modes_hz[played % 2], np.ones(4), constants_s)

    return repeat(sketch, sketch.log_uniform(0.12, 1.2), 0.01, tick, 1.0) + 0.003 * sketch.coloured(0.7)


def keyboard(sketch: Sketch) -> Wave:
    """Typing and mouse clicks: press and release, in bursts."""
    bright_hz = sketch.log_uniform(900.0, 5000.0)

    def key() -> Wave:
        part = sketch.part(0.2)
        press = band(part, part.white(), 0.3 * bright_hz, 1.8 * bright_hz, 1) * decay(
            part, sketch.uniform(0.003, 0.015)
        )
        release = band(part, part.white(), bright_hz, 2.0 * bright_hz, 1) * decay(part, 0.003)
        add_at(press, sketch.uniform(0.05, 0.12), 0.4 * release, sketch.rate_hz)
        return press

    typing = repeat(sketch, sketch.uniform(0.08, 0.35), 0.6, key, 3.0)
    return typing * np.clip(2.0 * sketch.drift(0.8) + 1.2, 0.0, 1.0)


def glass(sketch: Sketch) -> Wave:
    """Breaking glass, crockery, coins, keys: showers of bright partials."""
    low_hz, length_s = sketch.log_uniform(900.0, 3000.0), sketch.log_uniform(0.01, 0.2)

    def shard() -> Wave:
        part = sketch.part(4.0 * length_s)
        hz = np.exp(sketch.rng.uniform(np.log(low_hz), np.log(7400.0), 5))
        return partials(part, hz, sketch.rng.uniform(0.2, 1.0, 5), sketch.rng.uniform(0.3, 1.0, 5) * length_s)

    def fall() -> Wave:
        part = sketch.part(sketch.uniform(0.3, 1.5))
        shower = repeat(part, sketch.uniform(0.01, 0.08), 1.0, shard, 6.0, 60) * decay(part, 0.4)
        return shower + part.white() * decay(part, 0.02)

    return repeat(sketch, sketch.uniform(0.5, 3.0), 0.5, fall)


def brushing(sketch: Sketch) -> Wave:
    """Brushing teeth, sweeping, sanding, scratching, rustling paper: strokes of noise."""
    stroke_hz = sketch.log_uniform(0.8, 7.0)
    low_hz = sketch.log_uniform(200.0, 2500.0)
    phase = stroke_hz * np.cumsum(np.exp(0.15 * sketch.drift(3.0))) / sketch.rate_hz
    stroke = np.abs(np.sin(np.pi * phase)) ** sketch.uniform(0.4, 3.0)
    forth = sketch.coloured(0.3, low_hz, 3.0 * low_hz) * (phase % 2.0 < 1.0)
    back = sketch.coloured(0.1, 1.5 * low_hz, 8000.0) * (phase % 2.0 >= 1.0)
    return (forth + sketch.uniform(0.5, 1.0) * back) * stroke * np.exp(0.4 * sketch.drift(20.0))


def creaks(sketch: Sketch) -> Wave:
    """Creaking doors, floors and ropes: stick-slip pulses through modes of wood."""

    def creak() -> Wave:
        part = sketch.part(sketch.uniform(0.3, 2.0))
        slip_hz = np.exp(part.through(np.log(sketch.rng.uniform(15.0, 400.0, 4))) + 0.1 * part.drift(20.0))
        phase = np.cumsum(slip_hz) / part.rate_hz
        pulses = np.diff(np.floor(phase), prepend=0.0) * np.exp(0.4 * part.drift(50.0))
        centres = sorted(sketch.log_uniform(250.0, 4500.0) for _ in range(4))
        wood = sum((resonances(part, pulses, [hz], [0.12 * hz]) for hz in centres), np.zeros(part.samples))
        return wood * envelope(part, 0.1, 0.1)

    return repeat(sketch, sketch.uniform(1.0, 3.0), 0.4, creak)


def _click(sketch: Sketch, low_hz: float, high_hz: float) -> Wave:
    part = sketch.part(0.015)
    ring = np.sin(2.0 * np.pi * sketch.log_uniform(low_hz, high_hz) * part.time_s)
    return (ring + 0.5 * part.white()) * decay(part, sketch.uniform(0.0005, 0.004), 0.0002)

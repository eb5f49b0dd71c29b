"""Machines, vehicles, warning signals and musical tones.

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
    harmonic_amplitudes,
    harmonics,
    partials,
    repeat,
    resonances,
    with_rms_1,
)


def engine(sketch: Sketch) -> Wave:
    """Combustion engines: idling, revving, passing by."""
    firing_hz = sketch.log_uniform(12.0, 220.0)
    load = sketch.drift(sketch.uniform(0.2, 1.5))
    f0 = firing_hz * np.exp(sketch.uniform(0.02, 0.5) * load)
    cylinders = sketch.count(1, 8)
    motor = harmonics(sketch, f0, harmonic_amplitudes(sketch, sketch.uniform(0.2, 1.2), 5.0))
    cycle = np.sin(2.0 * np.pi * np.cumsum(f0) / cylinders / sketch.rate_hz)
    motor = with_rms_1(motor) * (1.0 + sketch.uniform(0.0, 0.6) * cycle)
    centres = sorted(sketch.log_uniform(80.0, 2500.0) for _ in range(3))
    motor = resonances(sketch, motor, centres, [0.3 * hz + 60.0 for hz in centres])
    gas = sketch.coloured(0.7) * (1.0 + 0.7 * np.sin(2.0 * np.pi * np.cumsum(f0) / sketch.rate_hz))
    return (motor + sketch.uniform(0.05, 0.8) * gas) * np.exp(0.4 * load)


def saw(sketch: Sketch) -> Wave:
    """Chainsaws, circular saws, grinders, drills, mixers, dentist's drills; by hand: strokes of a saw."""
    if sketch.chance(0.2):
        teeth_hz, stroke_hz = sketch.uniform(80.0, 400.0), sketch.uniform(1.0, 4.0)
        stroke = np.abs(np.sin(2.0 * np.pi * stroke_hz * sketch.time_s)) ** 0.7
        speed = np.cumsum(teeth_hz * stroke) / sketch.rate_hz
        return sketch.coloured(0.2, 400.0) * stroke * (1.0 + 0.9 * np.sin(2.0 * np.pi * speed))
    base_hz = sketch.log_uniform(60.0, 1600.0)
    # The motor slows down while it cuts.
    cuts = np.clip(2.0 * sketch.drift(sketch.uniform(0.4, 2.0)), 0.0, 1.0)
    f0 = base_hz * (1.0 - sketch.uniform(0.05, 0.45) * cuts) * (1.0 + 0.01 * sketch.drift(30.0))
    motor = with_rms_1(harmonics(sketch, f0, harmonic_amplitudes(sketch, sketch.uniform(0.1, 1.0), 6.0)))
    motor *= 1.0 + sketch.uniform(0.0, 0.6) * sketch.drift(sketch.uniform(40.0, 200.0))
    centres = sorted(sketch.log_uniform(400.0, 6000.0) for _ in range(2))
    wood = resonances(sketch, sketch.white(), centres, [0.3 * hz for hz in centres])
    buzz = 1.0 + 0.6 * np.sign(np.sin(2.0 * np.pi * np.cumsum(f0) / sketch.rate_hz))
    whole: Wave = motor + sketch.uniform(0.1, 1.0) * wood * buzz * (0.2 + cuts)
    return whole


def appliance(sketch: Sketch) -> Wave:
    """Vacuum cleaners, hair dryers, fans, washing machines, refrigerators: motor whine in a rush of air."""
    start = 1.0 if sketch.chance(0.6) else np.clip(sketch.time_s / sketch.uniform(0.3, 2.0), 0.02, 1.0) ** 0.5
    f0 = sketch.log_uniform(45.0, 700.0) * start * (1.0 + 0.01 * sketch.drift(2.0))
    motor = with_rms_1(harmonics(sketch, f0, harmonic_amplitudes(sketch, sketch.uniform(0.2, 1.4), 8.0)))
    air = sketch.coloured(sketch.uniform(0.0, 1.0), sketch.uniform(50.0, 400.0), sketch.uniform(2000.0, 8000.0))
    slosh = 1.0 + sketch.uniform(0.0, 0.5) * np.sin(2.0 * np.pi * sketch.uniform(0.5, 3.0) * sketch.time_s)
    return (sketch.uniform(0.1, 1.0) * motor + air * slosh) * start


def train(sketch: Sketch) -> Wave:
    """Trains: rumble, joints of the rails in pairs, chuffing of steam, squeal of wheels, whistle."""
    audio = sketch.coloured(1.0, 30.0, 2000.0)
    gap_s = sketch.uniform(0.06, 0.2)

    def joint() -> Wave:
        part = sketch.part(0.5)
        hit = part.coloured(0.6, 60.0, 3000.0) * decay(part, 0.03)
        both = hit.copy()
        add_at(both, gap_s, 0.8 * hit, sketch.rate_hz)
        return both

    audio += sketch.uniform(0.5, 3.0) * repeat(sketch, sketch.uniform(0.4, 1.4), 0.05, joint)
    if sketch.chance(0.4):
        chuff = np.maximum(np.sin(2.0 * np.pi * sketch.uniform(1.0, 7.0) * sketch.time_s), 0.0) ** 2
        audio += 2.0 * chuff * sketch.coloured(0.3, 200.0)
    if sketch.chance(0.4):
        squeal = np.sin(
            2.0
            * np.pi
            * np.cumsum(sketch.log_uniform(1500.0, 6000.0) * np.exp(0.02 * sketch.drift(4.0)))
            / sketch.rate_hz
        )
        audio += sketch.uniform(0.2, 2.0) * squeal * np.clip(sketch.drift(1.0), 0.0, 2.0)
    if sketch.chance(0.4):
        audio += sketch.uniform(0.5, 3.0) * horn(sketch)
    return audio


def rotor(sketch: Sketch) -> Wave:
    """Helicopters and aeroplanes: blade slap, jet noise and whine, passing by."""
    blade_hz = sketch.log_uniform(8.0, 110.0)
    passing = np.exp(-(((sketch.time_s / sketch.seconds - sketch.uniform(0.0, 1.0)) / sketch.uniform(0.3, 2.0)) ** 2))
    phase = np.cumsum(blade_hz * np.exp(sketch.uniform(0.0, 0.12) * sketch.drift(0.7))) / sketch.rate_hz
    slap = np.exp(-sketch.uniform(2.0, 12.0) * (phase % 1.0))
    jet = sketch.coloured(sketch.uniform(0.3, 1.2), 40.0, sketch.uniform(1000.0, 7000.0))
    whine = harmonics(
        sketch, blade_hz * sketch.count(8, 40) * np.exp(0.05 * sketch.drift(0.5)), np.array([1.0, 0.4, 0.2])
    )
    return passing * (jet * (0.2 + 2.0 * slap * sketch.uniform(0.2, 1.0)) + sketch.uniform(0.0, 0.6) * whine)


def siren(sketch: Sketch) -> Wave:
    """Sirens: two-tone, wail, yelp, rising air-raid siren."""
    low_hz, ratio = sketch.log_uniform(300.0, 1000.0), sketch.uniform(1.15, 3.0)
    rate = sketch.log_uniform(0.1, 5.0)
    swing = (rate * sketch.time_s + sketch.rng.random()) % 1.0
    shape = sketch.rng.choice(["two tones", "sine", "rise", "triangle"])
    position = {
        "two tones": (swing < 0.5).astype(float),
        "sine": 0.5 - 0.5 * np.cos(2.0 * np.pi * swing),
        "rise": swing,
        "triangle": 1.0 - np.abs(2.0 * swing - 1.0),
    }[str(shape)]
    doppler = 1.0 + sketch.uniform(0.0, 0.06) * np.tanh(
        4.0 * (sketch.uniform(0.2, 0.8) - sketch.time_s / sketch.seconds)
    )
    f0 = low_hz * ratio**position * doppler
    tone = harmonics(sketch, f0, harmonic_amplitudes(sketch, sketch.uniform(0.3, 2.0), 4.0))
    return with_rms_1(tone) + sketch.uniform(0.0, 0.4) * sketch.coloured(0.9)


def alarm(sketch: Sketch) -> Wave:
    """Alarm clocks, smoke detectors, telephones, reversing beepers, buzzers."""
    notes = [sketch.log_uniform(350.0, 4000.0) for _ in range(sketch.count(1, 4))]
    on_s, off_s = sketch.log_uniform(0.03, 0.6), sketch.log_uniform(0.02, 0.6)
    timbre = harmonic_amplitudes(sketch, sketch.uniform(0.4, 3.0), 5.0)
    group, played = sketch.count(1, 6), 0
    warble_hz, warble = sketch.uniform(10.0, 40.0), sketch.uniform(0.0, 1.0) * sketch.chance(0.3)

    def beep() -> Wave:
        nonlocal played
        part = sketch.part(on_s)
        tone = harmonics(part, notes[played % len(notes)], timbre) * envelope(part, 0.004, 0.006)
        played += 1
        silent = played % (group + 1) == 0 and group > 1
        return tone * (0.0 if silent else 1.0) * (1.0 + warble * np.sign(np.sin(2.0 * np.pi * warble_hz * part.time_s)))

    return repeat(sketch, on_s + off_s, 0.0, beep, 0.0)


def horn(sketch: Sketch) -> Wave:
    """Horns of cars, ships and trains, steam whistles, trumpets out of tune: chords of rich tones."""
    root_hz = sketch.log_uniform(90.0, 700.0)
    intervals = [1.0, *(sketch.uniform(1.1, 2.0) for _ in range(sketch.count(0, 3)))]
    timbre = harmonic_amplitudes(sketch, sketch.uniform(0.1, 1.2), 5.0)
    lengths = (0.15, 2.5)

    def blast() -> Wave:
        part = sketch.part(sketch.log_uniform(*lengths))
        bend = 1.0 - 0.08 * np.exp(-part.time_s / 0.05) + 0.004 * part.drift(6.0)
        chord = sum((harmonics(part, root_hz * ratio * bend, timbre) for ratio in intervals), np.zeros(part.samples))
        steam = sketch.uniform(0.0, 0.3) * part.coloured(0.2, 800.0)
        return (with_rms_1(chord) + steam) * envelope(part, sketch.uniform(0.01, 0.1), sketch.uniform(0.02, 0.3))

    return repeat(sketch, sketch.uniform(0.5, 3.0), 0.4, blast, 1.0)


def bells(sketch: Sketch) -> Wave:
    """Church bells, hand bells, chimes, gongs, glasses: inharmonic partials that decay."""
    count = sketch.count(4, 9)
    ratios = np.sort(np.r_[0.5, 1.0, 1.2, 1.5, 2.0, 2.7, 3.0, 4.1, 5.4][:count] * sketch.rng.uniform(0.9, 1.1, count))
    amplitudes = np.exp(0.8 * sketch.rng.standard_normal(count)) * ratios**-0.5
    length_s = sketch.log_uniform(0.3, 5.0)
    pitches = [sketch.log_uniform(150.0, 3500.0) for _ in range(sketch.count(1, 5))]

    def strike() -> Wave:
        part = sketch.part(min(1.5 * length_s, sketch.seconds))
        hz = float(sketch.rng.choice(pitches)) * ratios
        tone = partials(part, hz, amplitudes, 0.4 * length_s / ratios**0.7)
        return tone + 0.3 * part.white() * decay(part, 0.004)

    return repeat(sketch, sketch.log_uniform(0.12, 2.5), sketch.uniform(0.0, 0.4), strike, 2.0, 30)


def music(sketch: Sketch) -> Wave:
    """Tones of strings, flutes, organs, brass, plucked strings: melodies and chords with vibrato."""
    root_hz = sketch.log_uniform(65.0, 1000.0)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12]) if sketch.chance(0.5) else np.array([0, 3, 5, 7, 10, 12])
    timbre = harmonic_amplitudes(sketch, sketch.uniform(0.5, 3.0), 8.0)
    plucked, beat_s = sketch.chance(0.4), sketch.log_uniform(0.12, 1.5)
    vibrato_hz, vibrato = sketch.uniform(4.0, 7.5), sketch.uniform(0.0, 0.02) * sketch.chance(0.6)
    attack_s, breath, voices = sketch.log_uniform(0.005, 0.2), sketch.uniform(0.0, 0.2), sketch.count(1, 3)

    def note() -> Wave:
        part = sketch.part(beat_s * sketch.uniform(0.8, 2.0))
        audio = np.zeros(part.samples)
        for _ in range(voices):
            f0 = root_hz * 2.0 ** (float(sketch.rng.choice(scale)) / 12.0)
            audio += harmonics(part, f0 * (1.0 + vibrato * np.sin(2.0 * np.pi * vibrato_hz * part.time_s)), timbre)
        shape = decay(part, 0.4 * part.seconds) if plucked else envelope(part, attack_s, 0.15 * part.seconds)
        return (with_rms_1(audio) + breath * part.coloured(0.4, 500.0)) * shape

    return repeat(sketch, beat_s, 0.02, note, 2.0)


def whistle(sketch: Sketch) -> Wave:
    """Whistling of people, referees' whistles, kettles, squeaks and creaks of hinges: sweeping narrow tones."""
    base_hz = sketch.log_uniform(500.0, 4000.0)
    wobble, wobble_hz = sketch.uniform(0.0, 0.4) * sketch.chance(0.4), sketch.uniform(15.0, 60.0)
    richness = harmonic_amplitudes(sketch, sketch.uniform(0.8, 4.0), 4.0)

    def sweep() -> Wave:
        part = sketch.part(sketch.log_uniform(0.08, 2.0))
        contour = base_hz * np.exp(sketch.uniform(0.02, 0.5) * sketch.rng.standard_normal(sketch.count(2, 5)))
        f0 = np.clip(np.exp(part.through(np.log(contour))), 200.0, 7000.0)
        tone = with_rms_1(harmonics(part, f0, richness))
        pea = 1.0 + wobble * np.sin(2.0 * np.pi * wobble_hz * part.time_s)
        air = band(part, part.white(), 0.7 * base_hz, 1.4 * base_hz)
        return (tone * pea + sketch.uniform(0.0, 0.5) * air) * envelope(part, 0.02, 0.05)

    return repeat(sketch, sketch.uniform(0.4, 2.0), 0.4, sweep, 2.0)

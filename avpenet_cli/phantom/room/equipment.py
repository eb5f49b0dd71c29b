"""Synthesise the sounds of hospital equipment and staff: monitors, alarms, ventilation, footsteps.

All functions return (samples,) float64 at 48 kHz. Events have an RMS of 1; their level is set by the room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.signal

from avpenet_cli.phantom.parameters.room_params import Monitor, StepParams, Ventilation, room_params
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.phantom.voice.phonation import to_samples
from avpenet_cli.phantom.voice.utterance import add_at, edges

_DECAY_TIME_CONSTANTS = 10.0
"""After ten time constants an impact has decayed by 87 dB, below any noise here."""


def amplitude(level_db: float) -> float:
    """Convert dB to an amplitude factor."""
    return float(10.0 ** (level_db / 20.0))


def with_rms_1(audio: np.ndarray) -> np.ndarray:
    """Scale a waveform to an RMS of 1; silence stays silent."""
    rms = float(np.sqrt(np.mean(np.square(audio)))) if audio.size else 0.0
    return audio / rms if rms > 0.0 else audio


def ventilation(samples: int, params: Ventilation, rng: np.random.Generator) -> np.ndarray:
    """Ventilation noise that falls by 6 dB per octave above a corner frequency, with a fan's hum; RMS of about 1."""
    drift = room_params().equipment.ventilation
    band_hz = (drift.lowest_hz, params.corner_hz)
    band = scipy.signal.butter(1, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    rush = with_rms_1(scipy.signal.sosfilt(band, rng.standard_normal(samples)))
    hum_hz = rng.uniform(*params.hum_hz)
    phase = 2.0 * np.pi * (hum_hz * np.arange(samples) / SAMPLE_RATE_HZ + rng.random())
    hum = np.zeros(samples)
    for order in range(1, drift.hum_harmonics + 1):
        hum += rng.uniform(0.0, 1.0) / order * np.sin(order * phase)
    hum_share = amplitude(params.hum_db)
    mixed = np.sqrt(1.0 - hum_share**2) * rush + hum_share * with_rms_1(hum)
    points = int(samples / SAMPLE_RATE_HZ / drift.drift_s) + 2
    level_db = drift.drift_db * rng.standard_normal(points)
    with_drift: np.ndarray = mixed * 10.0 ** (to_samples(level_db, samples) / 20.0)
    return with_drift


def beeps(samples: int, params: Monitor, rng: np.random.Generator) -> np.ndarray:
    """Monitor tones at each heartbeat with slight rate variation; each tone has an RMS of 1."""
    model = room_params().equipment.beep
    audio = np.zeros(samples)
    tone = _tone(rng.uniform(*params.tone_hz), rng.uniform(*model.length_s), model.harmonics_db, model.edge_s)
    rate_hz = rng.uniform(*params.rate_hz)
    time_s = rng.uniform(0.0, 1.0 / rate_hz)
    while time_s < samples / SAMPLE_RATE_HZ:
        add_at(audio, time_s, tone)
        time_s += float(rng.normal(1.0, model.rate_variation)) / rate_hz
    return audio


def alarm(rng: np.random.Generator) -> np.ndarray:
    """An alarm of medium or high priority after IEC 60601-1-8, a few bursts; its pulses have an RMS of 1."""
    model = room_params().equipment.alarm
    high = rng.random() < model.high_share
    pulse_s = rng.uniform(*(model.high_pulse_s if high else model.medium_pulse_s))
    gap_s = rng.uniform(*(model.high_gap_s if high else model.medium_gap_s))
    base_hz = rng.uniform(*model.drawn_hz)
    groups = model.high_groups if high else (model.medium_pulses,)
    middle_gap_s = rng.uniform(*model.high_middle_gap_s)
    between_s = rng.uniform(*model.between_bursts_s)
    starts_s, pitches_hz = [], []
    time_s = 0.0
    for _ in range(int(rng.integers(model.bursts[0], model.bursts[1] + 1))):
        for number, pulses in enumerate(groups):
            for pulse in range(pulses):
                semitones = model.melody_semitones[pulse % len(model.melody_semitones)]
                starts_s.append(time_s)
                pitches_hz.append(base_hz * 2.0 ** (semitones / 12.0))
                time_s += pulse_s + gap_s
            # The two halves of a high-priority burst are farther apart than the groups within a half.
            time_s += middle_gap_s if number == len(groups) // 2 - 1 else gap_s
        time_s += between_s
    audio = np.zeros(round((starts_s[-1] + pulse_s) * SAMPLE_RATE_HZ) + 1)
    for start_s, pitch_hz in zip(starts_s, pitches_hz, strict=True):
        add_at(audio, start_s, _tone(pitch_hz, pulse_s, model.harmonics_db, model.edge_share * pulse_s))
    return audio


def walk(rng: np.random.Generator) -> np.ndarray:
    """Footsteps that approach and recede; RMS of 1."""
    model = room_params().equipment.steps
    count = int(rng.integers(model.steps[0], model.steps[1] + 1))
    starts_s = np.cumsum(np.full(count, 1.0 / rng.uniform(*model.step_hz)))
    steps = [_step(model, rng) for _ in range(count)]
    audio = np.zeros(round(starts_s[-1] * SAMPLE_RATE_HZ) + steps[-1].size)
    for number, start_s in enumerate(starts_s):
        away = abs(2.0 * number / max(1, count - 1) - 1.0)
        add_at(audio, float(start_s), amplitude(model.walk_db * away) * steps[number])
    return with_rms_1(audio)


def event_starts_s(per_minute: float, duration_s: float, rng: np.random.Generator) -> Iterator[float]:
    """Start times, s, of the events of a Poisson process within the duration."""
    if per_minute <= 0.0:
        return
    time_s = float(rng.exponential(60.0 / per_minute))
    while time_s < duration_s:
        yield time_s
        time_s += float(rng.exponential(60.0 / per_minute))


def _step(model: StepParams, rng: np.random.Generator) -> np.ndarray:
    samples = round(_DECAY_TIME_CONSTANTS * model.thump_decay_s * SAMPLE_RATE_HZ)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    step = np.zeros(samples)
    for band_hz, decay_s, level_db in (
        (model.thump_hz, model.thump_decay_s, 0.0),
        (model.click_hz, model.click_decay_s, model.click_db),
    ):
        band = scipy.signal.butter(2, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        impact = scipy.signal.sosfilt(band, rng.standard_normal(samples) * np.exp(-time_s / decay_s))
        step += amplitude(level_db) * impact / np.abs(impact).max()
    return step


def _tone(pitch_hz: float, length_s: float, harmonics_db: Sequence[float], edge_s: float) -> np.ndarray:
    time_s = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.zeros(time_s.size)
    for order, level_db in enumerate(harmonics_db, start=1):
        tone += amplitude(level_db) * np.sin(2.0 * np.pi * order * pitch_hz * time_s)
    shaped: np.ndarray = with_rms_1(tone) * edges(tone.size, edge_s, edge_s)
    return shaped

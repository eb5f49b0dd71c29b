"""Simulate a site's room and microphone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.signal

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.room_params import Microphone, Room, Site, room_params, site_named, sites
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ, Range, non_pain_sound_params
from avpenet_cli.phantom.room.equipment import alarm, amplitude, beeps, event_starts_s, ventilation, walk, with_rms_1
from avpenet_cli.phantom.voice.non_pain_sounds import draw_any_vocality
from avpenet_cli.phantom.voice.talk import talk
from avpenet_cli.phantom.voice.utterance import add_at

__all__ = ["Microphone", "Room", "Site", "impulse_response", "record", "room_sound", "site_named", "sites"]

_STREAM = 4
"""Stream number of this module, so that equal seeds give independent draws elsewhere; the next is the recorder's."""


def room_sound(site: Site, duration_s: float, seed: int) -> np.ndarray:
    """Synthesise the background of a room: ventilation, monitor, alarms, footsteps, talk of other people.

    Args:
        site: the simulated site.
        duration_s: length, not negative.
        seed: not negative; determines the sources and their levels.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz, at the microphone's position, before the microphone.

    Raises:
        SettingsError: the duration is negative.
    """
    if duration_s < 0.0:
        raise SettingsError(f"a duration of {duration_s} s is negative", "give 0 or more")
    samples = round(duration_s * SAMPLE_RATE_HZ)
    if not samples:
        return np.zeros(0, np.float32)
    # Separate generators, so that changing one source does not change the others.
    air, heart, events, walls = (np.random.default_rng([_STREAM, seed, number]) for number in range(4))
    far = np.zeros(samples)
    for start_s, audio in _events(site, duration_s, events):
        add_at(far, start_s, audio)
    if heart.random() < site.monitor.chance:
        far += _at_level(site.monitor.level_db, heart) * beeps(samples, site.monitor, heart)
    if far.any():
        response = impulse_response(site.room, walls)
        # Sources across the room have almost no direct sound.
        response[0] = 0.0
        far = _reverberated(far, with_rms_1(response) / math.sqrt(response.size))
    near = _at_level(site.ventilation.level_db, air) * ventilation(samples, site.ventilation, air)
    return (near + far).astype(np.float32)


def record(site: Site, near: np.ndarray, seed: int) -> np.ndarray:
    """Record audio at a site: reverberation, `room_sound`, microphone noise, band limits, gain and limiter.

    Args:
        site: the simulated site.
        near: (samples,) float at 48 kHz, full scale 1: the patient's audio from `pain_voice`, `non_pain_sounds` or
            their sum, without the background, which is added here.
        seed: not negative; determines gain, reflections and background.

    Returns:
        (samples,) float32 at 48 kHz in [-1, 1], limited to 0.97.

    Raises:
        SettingsError: the waveform is not one-dimensional or not finite.
    """
    near = np.asarray(near, np.float64)
    if near.ndim != 1 or not np.isfinite(near).all():
        raise SettingsError(
            f"not a waveform: shape {near.shape}, or values that are not finite",
            "give a finite array of shape (samples,)",
        )
    if not near.size:
        return np.zeros(0, np.float32)
    walls, noise, gain = (np.random.default_rng([_STREAM + 1, seed, number]) for number in range(3))
    microphone = site.microphone
    audio = _reverberated(near, impulse_response(site.room, walls))
    audio += room_sound(site, near.size / SAMPLE_RATE_HZ, seed)
    audio += amplitude(microphone.noise_dbfs) * noise.standard_normal(near.size)
    audio = _in_band(audio, microphone) * amplitude(gain.uniform(*microphone.gain_db))
    if microphone.agc:
        audio *= _agc_gain(audio, microphone)
    return _limited(audio).astype(np.float32)


def impulse_response(room: Room, rng: np.random.Generator) -> np.ndarray:
    """Impulse response of a room: direct sound, early reflections, and exponentially decaying noise.

    After Moorer (About this reverberation business, Computer Music J 3:13, 1979), who models reverberation as decaying
    noise. It falls by 60 dB within `rt60_s`, high frequencies faster. The direct sound has amplitude 1 and is
    `direct_to_reverberant_db` above the energy of the rest.

    Returns:
        (samples,) float64 at 48 kHz.
    """
    model = room_params().rooms
    samples = round(model.tail_share * room.rt60_s * SAMPLE_RATE_HZ)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    noise = rng.standard_normal(samples)
    low = scipy.signal.sosfilt(
        scipy.signal.butter(1, model.crossover_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), noise
    )
    decay = math.log(1000.0)
    tail = low * np.exp(-decay * time_s / room.rt60_s)
    tail += (noise - low) * np.exp(-decay * time_s / (model.high_decay_share * room.rt60_s))
    # The diffuse part sets in where reflections become too dense to be separated.
    tail *= np.clip((time_s - model.first_reflection_s) / model.early_until_s, 0.0, 1.0)
    delays_s = rng.uniform(model.first_reflection_s, model.early_until_s, model.early_reflections)
    loudest = np.abs(tail).max()
    for delay_s in np.sort(delays_s):
        reflection = loudest * model.early_until_s / (model.early_until_s + delay_s)
        tail[round(delay_s * SAMPLE_RATE_HZ)] += reflection * rng.choice((-1.0, 1.0))
    tail *= amplitude(-room.direct_to_reverberant_db) / math.sqrt(float(np.sum(tail**2)))
    tail[0] = 1.0
    return tail


def _events(site: Site, duration_s: float, rng: np.random.Generator) -> Iterator[tuple[float, np.ndarray]]:
    sources: tuple[tuple[float, Range, Callable[[np.random.Generator], np.ndarray]], ...] = (
        (site.per_minute.alarms, site.event_level_db.alarms, alarm),
        (site.per_minute.walks, site.event_level_db.walks, walk),
        (site.per_minute.voices, site.event_level_db.voices, _other_person_talks),
    )
    for per_minute, level_db, source in sources:
        for start_s in event_starts_s(per_minute, duration_s, rng):
            yield start_s, _at_level(level_db, rng) * source(rng)


def _other_person_talks(rng: np.random.Generator) -> np.ndarray:
    speaker = draw_any_vocality("adult", rng)
    return with_rms_1(talk(float(rng.uniform(*non_pain_sound_params().talk.phrase_s)), speaker, rng))


def _at_level(level_db: Range, rng: np.random.Generator) -> float:
    return amplitude(room_params().rooms.voice_reference_dbfs + rng.uniform(*level_db))


def _reverberated(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    reverberated: np.ndarray = scipy.signal.oaconvolve(audio, response)[: audio.size]
    return reverberated


def _in_band(audio: np.ndarray, microphone: Microphone) -> np.ndarray:
    band = scipy.signal.butter(
        room_params().rooms.band_order,
        (microphone.low_hz, microphone.high_hz),
        "bandpass",
        fs=SAMPLE_RATE_HZ,
        output="sos",
    )
    filtered: np.ndarray = scipy.signal.sosfilt(band, audio)
    return filtered


def _agc_gain(audio: np.ndarray, microphone: Microphone) -> np.ndarray:
    """Automatic gain (samples,) of the recorder: quickly down when it is loud, slowly up when it is quiet."""
    block_s = room_params().rooms.agc_block_s
    block = round(block_s * SAMPLE_RATE_HZ)
    count = -(-audio.size // block)
    padded = np.zeros(count * block)
    padded[: audio.size] = audio
    rms = np.sqrt(np.mean(padded.reshape(count, block) ** 2, axis=1))
    target_gain_db = microphone.agc_target_dbfs - 20.0 * np.log10(np.maximum(rms, amplitude(microphone.noise_dbfs)))
    target_gain_db = np.minimum(target_gain_db, microphone.agc_max_db)
    down, up = (1.0 - math.exp(-block_s / time_s) for time_s in (microphone.agc_attack_s, microphone.agc_release_s))
    level_db = float(target_gain_db[0])
    gains_db = np.empty(count)
    for number, block_gain_db in enumerate(target_gain_db):
        level_db += (down if block_gain_db < level_db else up) * (float(block_gain_db) - level_db)
        gains_db[number] = level_db
    gain: np.ndarray = 10.0 ** (_between_blocks(gains_db, block, audio.size) / 20.0)
    return gain


def _between_blocks(values: np.ndarray, block: int, samples: int) -> np.ndarray:
    """Interpolate values at the centres of blocks linearly: (samples,) float64."""
    interpolated: np.ndarray = np.interp(np.arange(samples), (np.arange(values.size) + 0.5) * block, values)
    return interpolated


def _limited(audio: np.ndarray) -> np.ndarray:
    model = room_params().rooms
    headroom = model.limit_ceiling - model.limit_knee
    over = np.maximum(np.abs(audio) - model.limit_knee, 0.0)
    limited: np.ndarray = np.sign(audio) * (
        np.minimum(np.abs(audio), model.limit_knee) + headroom * np.tanh(over / headroom)
    )
    return limited

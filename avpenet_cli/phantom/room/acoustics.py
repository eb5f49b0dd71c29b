"""A site's room and microphone: what stands on the recording when someone sounds there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.signal

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.room_params import Microphone, Room, Site, room_params, site_named, sites
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ, Range, non_pain_sound_params
from avpenet_cli.phantom.room.equipment import alarm, amplitude, beeps, event_starts_s, ventilation, walk, with_rms_1
from avpenet_cli.phantom.voice.non_pain_sounds import someone, talk
from avpenet_cli.phantom.voice.utterance import add_at

__all__ = ["Microphone", "Room", "Site", "impulse_response", "recorded", "room_sound", "site_named", "sites"]

_STREAM = 4
"""So that the same seed means other chances here than in `voice` and `sounds`; the next one is the recorder's."""


def room_sound(site: Site, duration_s: float, seed: int) -> np.ndarray:
    """What a room sounds like without its patient: ventilation, monitor, alarms, steps, other people's talk.

    Args:
        duration_s: length, not negative.
        seed: not negative; it draws what is there and how loud.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz, at the microphone's place, before the microphone.

    Raises:
        SettingsError: a negative duration.
    """
    if duration_s < 0.0:
        raise SettingsError(f"a duration of {duration_s} s is negative", "give 0 or more")
    samples = round(duration_s * SAMPLE_RATE_HZ)
    if not samples:
        return np.zeros(0, np.float32)
    # One generator each, so that a change to one of them leaves the others as they were.
    air, heart, events, walls = (np.random.default_rng([_STREAM, seed, number]) for number in range(4))
    far = np.zeros(samples)
    for start_s, sound in _events(site, duration_s, events):
        add_at(far, start_s, sound)
    if heart.random() < site.monitor.chance:
        far += _at_level(site.monitor.level_db, heart) * beeps(samples, site.monitor, heart)
    if far.any():
        response = impulse_response(site.room, walls)
        # What comes from across the room has no direct sound to speak of.
        response[0] = 0.0
        far = _echoed(far, with_rms_1(response) / math.sqrt(response.size))
    near = _at_level(site.ventilation.level_db, air) * ventilation(samples, site.ventilation, air)
    return (near + far).astype(np.float32)


def recorded(site: Site, near: np.ndarray, seed: int) -> np.ndarray:
    """What a site's microphone gives of a patient who sounds near it: echo, `room_sound`, noise, band, gain, limiter.

    Args:
        near: (samples,) float at 48 kHz, full scale 1, as `voice.pain_voice` and `sounds.ordinary_sounds` give it, or
            their sum; without the room's own sound, which is added here.
        seed: not negative; gain, echoes and background are drawn from it.

    Returns:
        (samples,) float32 at 48 kHz in [-1, 1]; the limiter keeps it under 0.97.

    Raises:
        SettingsError: a waveform that is not one-dimensional or not finite.
    """
    near = np.asarray(near, np.float64)
    if near.ndim != 1 or not np.isfinite(near).all():
        raise SettingsError(f"not a waveform: shape {near.shape}, or values that are not finite", "give (samples,)")
    if not near.size:
        return np.zeros(0, np.float32)
    walls, noise, gain = (np.random.default_rng([_STREAM + 1, seed, number]) for number in range(3))
    microphone = site.microphone
    sound = _echoed(near, impulse_response(site.room, walls))
    sound += room_sound(site, near.size / SAMPLE_RATE_HZ, seed)
    sound += amplitude(microphone.noise_dbfs) * noise.standard_normal(near.size)
    sound = _in_band(sound, microphone) * amplitude(gain.uniform(*microphone.gain_db))
    if microphone.agc:
        sound *= _agc_gain(sound, microphone)
    return _limited(sound).astype(np.float32)


def impulse_response(room: Room, rng: np.random.Generator) -> np.ndarray:
    """A room's answer to an impulse: direct sound, early reflections, and noise that decays exponentially.

    After Moorer (About this reverberation business, Computer Music J 3:13, 1979): decaying noise sounds like a good
    room. It falls by 60 dB within `rt60_s`, the treble sooner; the direct sound is 1 and stands
    `direct_to_reverberant_db` above the energy of all that follows.

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
    # The diffuse part sets in as the reflections grow too dense to be told apart.
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
        (site.per_minute.voices, site.event_level_db.voices, _someone_talks),
    )
    for per_minute, level_db, source in sources:
        for start_s in event_starts_s(per_minute, duration_s, rng):
            yield start_s, _at_level(level_db, rng) * source(rng)


def _someone_talks(rng: np.random.Generator) -> np.ndarray:
    speaker = someone("adult", rng)
    return with_rms_1(talk(float(rng.uniform(*non_pain_sound_params().talk.phrase_s)), speaker, rng))


def _at_level(level_db: Range, rng: np.random.Generator) -> float:
    return amplitude(room_params().rooms.voice_reference_dbfs + rng.uniform(*level_db))


def _echoed(sound: np.ndarray, response: np.ndarray) -> np.ndarray:
    echoed: np.ndarray = scipy.signal.oaconvolve(sound, response)[: sound.size]
    return echoed


def _in_band(sound: np.ndarray, microphone: Microphone) -> np.ndarray:
    band = scipy.signal.butter(
        room_params().rooms.band_order,
        (microphone.low_hz, microphone.high_hz),
        "bandpass",
        fs=SAMPLE_RATE_HZ,
        output="sos",
    )
    filtered: np.ndarray = scipy.signal.sosfilt(band, sound)
    return filtered


def _agc_gain(sound: np.ndarray, microphone: Microphone) -> np.ndarray:
    """(samples,) the gain that a recorder turns by itself: quickly down when it is loud, slowly up when it is quiet."""
    block_s = room_params().rooms.agc_block_s
    block = round(block_s * SAMPLE_RATE_HZ)
    count = -(-sound.size // block)
    padded = np.zeros(count * block)
    padded[: sound.size] = sound
    rms = np.sqrt(np.mean(padded.reshape(count, block) ** 2, axis=1))
    wanted_db = microphone.agc_target_dbfs - 20.0 * np.log10(np.maximum(rms, amplitude(microphone.noise_dbfs)))
    wanted_db = np.minimum(wanted_db, microphone.agc_most_db)
    down, up = (1.0 - math.exp(-block_s / time_s) for time_s in (microphone.agc_attack_s, microphone.agc_release_s))
    level_db = float(wanted_db[0])
    gains_db = np.empty(count)
    for number, target_db in enumerate(wanted_db):
        level_db += (down if target_db < level_db else up) * (float(target_db) - level_db)
        gains_db[number] = level_db
    gain: np.ndarray = 10.0 ** (_between_blocks(gains_db, block, sound.size) / 20.0)
    return gain


def _between_blocks(values: np.ndarray, block: int, samples: int) -> np.ndarray:
    """(samples,) float64: values that stand at the middles of blocks, straight lines between."""
    gliding: np.ndarray = np.interp(np.arange(samples), (np.arange(values.size) + 0.5) * block, values)
    return gliding


def _limited(sound: np.ndarray) -> np.ndarray:
    model = room_params().rooms
    room = model.limit_ceiling - model.limit_knee
    over = np.maximum(np.abs(sound) - model.limit_knee, 0.0)
    limited: np.ndarray = np.sign(sound) * (np.minimum(np.abs(sound), model.limit_knee) + room * np.tanh(over / room))
    return limited

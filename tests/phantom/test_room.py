"""The simulated rooms and microphones: what a phantom's sound must be before a network learns from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import SegmentAudio, segments
from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import AgeGroup
from avpenet_cli.phantom.room.acoustics import Site, impulse_response, recorded, room_sound, site_named, sites
from avpenet_cli.phantom.room.equipment import alarm, beeps, walk
from avpenet_cli.phantom.voice.pain_voice import PAIN_RATE_HZ, SAMPLE_RATE_HZ, draw_vocality, pain_voice
from avpenet_cli.settings import AudioSettings


def voice_of(age_group: AgeGroup, pain: np.ndarray, seed: int = 0) -> np.ndarray:
    drawn = draw_vocality(age_group, "male", np.random.default_rng(0))
    return pain_voice(dataclasses.replace(drawn, vocality=0.9), pain, seed)


def steady(pain: float, seconds: float) -> np.ndarray:
    return np.full(round(seconds * PAIN_RATE_HZ), pain)


def level_dbfs(sound: np.ndarray) -> float:
    return float(10.0 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-20))


def without_events(site: Site) -> Site:
    return dataclasses.replace(
        site,
        per_minute=dataclasses.replace(site.per_minute, alarms=0.0, walks=0.0, voices=0.0),
        monitor=dataclasses.replace(site.monitor, chance=0.0),
    )


def front_end(sound: np.ndarray) -> list[SegmentAudio]:
    settings = AudioSettings()
    profile = survey([sound], SAMPLE_RATE_HZ, settings)
    windows = [(3.0 * number, 3.0) for number in range(sound.size // (3 * SAMPLE_RATE_HZ))]
    return list(segments([sound], SAMPLE_RATE_HZ, windows, profile, settings, full_scale=0.999))


def voiced_share(sound: np.ndarray) -> float:
    return float(np.mean([segment.voiced for segment in front_end(sound)]))


def assert_waveform(sound: np.ndarray, seconds: float, overdriven: bool = False) -> None:
    assert sound.dtype == np.float32
    assert sound.shape == (round(seconds * SAMPLE_RATE_HZ),)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max(initial=0.0) < 1.0
    # What a limiter cuts off one side of a voice leaves an offset.
    assert overdriven or abs(float(sound.mean(dtype=np.float64))) < 1e-4


# -------------------------------------------------------------------------------------------- rooms


def quiet_floor_dbfs(site: Site) -> float:
    """The level of the quietest tenth of a second, over several recordings of nobody."""
    silence = np.zeros(5 * SAMPLE_RATE_HZ)
    quietest = [
        min(level_dbfs(block) for block in recorded(site, silence, seed)[SAMPLE_RATE_HZ:].reshape(-1, 4800))
        for seed in range(4)
    ]
    return float(np.median(quietest))


def test_sites_sound_alike() -> None:
    floors = {site.name: quiet_floor_dbfs(site) for site in sites()}
    assert set(floors) == {"A", "B", "C"}
    assert all(-68 < floor < -45 for floor in floors.values()), floors
    assert floors["C"] < min(floors["A"], floors["B"]) - 3, floors
    rng = np.random.default_rng(0)
    near = 0.05 * rng.standard_normal(4 * SAMPLE_RATE_HZ)
    treble = {}
    for site in sites():
        frequencies_hz, power = scipy.signal.welch(recorded(site, near, 1), SAMPLE_RATE_HZ, nperseg=2048)
        treble[site.name] = power[(frequencies_hz > 10_000) & (frequencies_hz < 14_000)].mean() / power.mean()
    assert treble["B"] < 0.05 * treble["A"]
    assert treble["C"] >= 0.7 * treble["A"]


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_recording_has_another_length_or_clips(name: str) -> None:
    near = voice_of("neonate", steady(10.0, 4.0))
    assert_waveform(recorded(site_named(name), near, 2), 4.0)
    assert_waveform(recorded(site_named(name), 20.0 * near, 2), 4.0, overdriven=True)
    assert recorded(site_named(name), np.zeros(0), 2).shape == (0,)
    assert_waveform(room_sound(site_named(name), 2.5, 3), 2.5)
    assert room_sound(site_named(name), 0.0, 3).shape == (0,)


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_same_seed_gives_another_room(name: str) -> None:
    site = site_named(name)
    near = voice_of("adult", steady(8.0, 3.0))
    np.testing.assert_array_equal(recorded(site, near, 1), recorded(site, near, 1))
    assert not np.array_equal(recorded(site, near, 1), recorded(site, near, 2))


@pytest.mark.parametrize("site", sites(), ids=lambda site: f"site-{site.name}")
def test_reverberation_time_is_not_the_sites(site: Site) -> None:
    response = impulse_response(site.room, np.random.default_rng(0))
    direct, later = response[0] ** 2, float(np.sum(response[1:] ** 2))
    assert 10 * np.log10(direct / later) == pytest.approx(site.room.direct_to_reverberant_db, abs=0.01)
    low = scipy.signal.butter(4, 1000, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    tail = scipy.signal.sosfilt(low, response)[round(0.05 * SAMPLE_RATE_HZ) :]
    # Schroeder's backward integral, between -5 and -25 dB.
    left_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    fitted = (left_db < -5) & (left_db > -25)
    slope = scipy.stats.linregress(np.flatnonzero(fitted) / SAMPLE_RATE_HZ, left_db[fitted]).slope
    assert -60 / slope == pytest.approx(site.room.rt60_s, rel=0.15)


def test_monitor_does_not_beep_at_the_heart_rate() -> None:
    monitor = dataclasses.replace(site_named("B").monitor, rate_hz=(1.2, 1.2), tone_hz=(800.0, 800.0))
    sound = beeps(30 * SAMPLE_RATE_HZ, monitor, np.random.default_rng(0))
    on = np.abs(sound).reshape(-1, 480).max(axis=1) > 0.1
    assert np.count_nonzero(np.diff(on.astype(int)) == 1) == pytest.approx(36, abs=2)
    frequencies_hz, power = scipy.signal.welch(sound, SAMPLE_RATE_HZ, nperseg=9600)
    assert frequencies_hz[power.argmax()] == pytest.approx(800, abs=6)


def test_alarm_leaves_the_standard() -> None:
    for seed in range(10):
        sound = alarm(np.random.default_rng(seed))
        frequencies_hz, power = scipy.signal.welch(sound, SAMPLE_RATE_HZ, nperseg=16384)
        peaks = frequencies_hz[scipy.signal.find_peaks(power, height=power.max() / 10**1.5)[0]]
        assert 150 <= peaks[0] <= 1000
        assert np.count_nonzero((peaks >= 300) & (peaks <= 4000)) >= 4


def test_steps_are_a_hum() -> None:
    blocks = np.abs(walk(np.random.default_rng(0))).reshape(-1)[: 48_000 * 2].reshape(-1, 480).max(axis=1)
    assert np.median(blocks) < 0.05 * blocks.max()


def test_loud_voice_hides_no_gain_control() -> None:
    site = site_named("B")
    fixed = dataclasses.replace(without_events(site), microphone=dataclasses.replace(site.microphone, agc=False))
    automatic = dataclasses.replace(fixed, microphone=site.microphone)
    rng = np.random.default_rng(0)
    loud, soft = (gain * rng.standard_normal(4 * SAMPLE_RATE_HZ) for gain in (0.2, 0.01))
    apart = [level_dbfs(recorded(each, loud, 1)) - level_dbfs(recorded(each, soft, 1)) for each in (fixed, automatic)]
    assert apart[1] < apart[0] - 3


def test_unknown_site_or_broken_waveform_is_recorded() -> None:
    with pytest.raises(SettingsError, match="A, B, C"):
        site_named("D")
    for near in (np.zeros((2, 10)), np.array([0.0, np.nan])):
        with pytest.raises(SettingsError, match="not a waveform"):
            recorded(site_named("A"), near, 0)
    with pytest.raises(SettingsError, match="negative"):
        room_sound(site_named("A"), -1.0, 0)


# -------------------------------------------------------------------------------------------- the program's own ears


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_front_end_does_not_hear_the_cries(name: str) -> None:
    pain = np.concatenate([steady(0.0, 12.0), steady(9.5, 12.0)])
    heard = front_end(
        recorded(without_events(site_named(name)), voice_of("neonate" if name == "A" else "adult", pain, 1), 1)
    )
    quiet, pained = heard[:4], heard[4:]
    assert np.mean([segment.voiced for segment in pained]) > 0.4
    assert np.mean([segment.voiced for segment in quiet]) < 0.02
    assert max(segment.clipped_share for segment in heard) == 0.0
    assert np.mean([segment.snr_db or 0.0 for segment in pained]) > 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_empty_room_counts_as_voice(name: str) -> None:
    site = without_events(site_named(name))
    assert max(voiced_share(recorded(site, np.zeros(9 * SAMPLE_RATE_HZ), seed)) for seed in range(3)) < 0.02

"""Simulated rooms, equipment and microphones."""

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
from avpenet_cli.phantom.room.acoustics import Site, impulse_response, record, room_sound, site_named, sites
from avpenet_cli.phantom.room.equipment import alarm, beeps, walk
from avpenet_cli.phantom.voice.pain_voice import PAIN_RATE_HZ, SAMPLE_RATE_HZ, draw_vocality, pain_voice
from avpenet_cli.settings import AudioSettings
from tests.support.waveforms import assert_waveform, level_dbfs


def voice_of(age_group: AgeGroup, pain: np.ndarray, seed: int = 0) -> np.ndarray:
    drawn = draw_vocality(age_group, "male", np.random.default_rng(0))
    return pain_voice(dataclasses.replace(drawn, vocality=0.9), pain, seed)


def steady(pain: float, seconds: float) -> np.ndarray:
    return np.full(round(seconds * PAIN_RATE_HZ), pain)


def without_events(site: Site) -> Site:
    return dataclasses.replace(
        site,
        per_minute=dataclasses.replace(site.per_minute, alarms=0.0, walks=0.0, voices=0.0),
        monitor=dataclasses.replace(site.monitor, chance=0.0),
    )


def front_end(audio: np.ndarray) -> list[SegmentAudio]:
    settings = AudioSettings()
    profile = survey([audio], SAMPLE_RATE_HZ, settings)
    windows = [(3.0 * number, 3.0) for number in range(audio.size // (3 * SAMPLE_RATE_HZ))]
    return list(segments([audio], SAMPLE_RATE_HZ, windows, profile, settings, full_scale=0.999))


def voiced_share(audio: np.ndarray) -> float:
    return float(np.mean([segment.voiced for segment in front_end(audio)]))


# -------------------------------------------------------------------------------------------- rooms


def quiet_floor_dbfs(site: Site) -> float:
    """Level of the quietest tenth of a second, over several recordings without a patient."""
    silence = np.zeros(5 * SAMPLE_RATE_HZ)
    quietest = [
        min(level_dbfs(block) for block in record(site, silence, seed)[SAMPLE_RATE_HZ:].reshape(-1, 4800))
        for seed in range(4)
    ]
    return float(np.median(quietest))


def test_sites_differ_in_noise_floor_and_band() -> None:
    floors = {site.name: quiet_floor_dbfs(site) for site in sites()}
    assert set(floors) == {"A", "B", "C"}
    assert all(-68 < floor < -45 for floor in floors.values()), floors
    assert floors["C"] < min(floors["A"], floors["B"]) - 3, floors
    rng = np.random.default_rng(0)
    near = 0.05 * rng.standard_normal(4 * SAMPLE_RATE_HZ)
    treble = {}
    for site in sites():
        frequencies_hz, power = scipy.signal.welch(record(site, near, 1), SAMPLE_RATE_HZ, nperseg=2048)
        treble[site.name] = power[(frequencies_hz > 10_000) & (frequencies_hz < 14_000)].mean() / power.mean()
    assert treble["B"] < 0.05 * treble["A"]
    assert treble["C"] >= 0.7 * treble["A"]


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_recording_keeps_its_length_without_clipping(name: str) -> None:
    near = voice_of("neonate", steady(10.0, 4.0))
    assert_waveform(record(site_named(name), near, 2), 4.0)
    assert_waveform(record(site_named(name), 20.0 * near, 2), 4.0, overdriven=True)
    assert record(site_named(name), np.zeros(0), 2).shape == (0,)
    assert_waveform(room_sound(site_named(name), 2.5, 3), 2.5)
    assert room_sound(site_named(name), 0.0, 3).shape == (0,)


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_same_seed_gives_the_same_recording(name: str) -> None:
    site = site_named(name)
    near = voice_of("adult", steady(8.0, 3.0))
    np.testing.assert_array_equal(record(site, near, 1), record(site, near, 1))
    assert not np.array_equal(record(site, near, 1), record(site, near, 2))


@pytest.mark.parametrize("site", sites(), ids=lambda site: f"site-{site.name}")
def test_reverberation_time_is_that_of_the_site(site: Site) -> None:
    response = impulse_response(site.room, np.random.default_rng(0))
    direct, later = response[0] ** 2, float(np.sum(response[1:] ** 2))
    assert 10 * np.log10(direct / later) == pytest.approx(site.room.direct_to_reverberant_db, abs=0.01)
    low = scipy.signal.butter(4, 1000, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    tail = scipy.signal.sosfilt(low, response)[round(0.05 * SAMPLE_RATE_HZ) :]
    # Schroeder's backward integral, between -5 and -25 dB.
    remaining_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    fitted = (remaining_db < -5) & (remaining_db > -25)
    slope = scipy.stats.linregress(np.flatnonzero(fitted) / SAMPLE_RATE_HZ, remaining_db[fitted]).slope
    assert -60 / slope == pytest.approx(site.room.rt60_s, rel=0.15)


def test_monitor_beeps_at_the_heart_rate() -> None:
    monitor = dataclasses.replace(site_named("B").monitor, rate_hz=(1.2, 1.2), tone_hz=(800.0, 800.0))
    audio = beeps(30 * SAMPLE_RATE_HZ, monitor, np.random.default_rng(0))
    on = np.abs(audio).reshape(-1, 480).max(axis=1) > 0.1
    assert np.count_nonzero(np.diff(on.astype(int)) == 1) == pytest.approx(36, abs=2)
    frequencies_hz, power = scipy.signal.welch(audio, SAMPLE_RATE_HZ, nperseg=9600)
    assert frequencies_hz[power.argmax()] == pytest.approx(800, abs=6)


def test_alarm_follows_the_standard() -> None:
    for seed in range(10):
        audio = alarm(np.random.default_rng(seed))
        frequencies_hz, power = scipy.signal.welch(audio, SAMPLE_RATE_HZ, nperseg=16384)
        peaks = frequencies_hz[scipy.signal.find_peaks(power, height=power.max() / 10**1.5)[0]]
        assert 150 <= peaks[0] <= 1000
        assert np.count_nonzero((peaks >= 300) & (peaks <= 4000)) >= 4


def test_footsteps_are_separate_impacts() -> None:
    blocks = np.abs(walk(np.random.default_rng(0))).reshape(-1)[: 48_000 * 2].reshape(-1, 480).max(axis=1)
    assert np.median(blocks) < 0.05 * blocks.max()


def test_automatic_gain_reduces_level_differences() -> None:
    site = site_named("B")
    fixed = dataclasses.replace(without_events(site), microphone=dataclasses.replace(site.microphone, agc=False))
    automatic = dataclasses.replace(fixed, microphone=site.microphone)
    rng = np.random.default_rng(0)
    loud, soft = (gain * rng.standard_normal(4 * SAMPLE_RATE_HZ) for gain in (0.2, 0.01))
    differences = [level_dbfs(record(site, loud, 1)) - level_dbfs(record(site, soft, 1)) for site in (fixed, automatic)]
    assert differences[1] < differences[0] - 3


def test_unknown_site_and_invalid_waveform_are_refused() -> None:
    with pytest.raises(SettingsError, match="A, B, C"):
        site_named("D")
    for near in (np.zeros((2, 10)), np.array([0.0, np.nan])):
        with pytest.raises(SettingsError, match="not a waveform"):
            record(site_named("A"), near, 0)
    with pytest.raises(SettingsError, match="negative"):
        room_sound(site_named("A"), -1.0, 0)


# -------------------------------------------------------------------------------------------- the audio front end


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_front_end_finds_voice_in_cries_only(name: str) -> None:
    pain = np.concatenate([steady(0.0, 12.0), steady(9.5, 12.0)])
    recorded = front_end(
        record(without_events(site_named(name)), voice_of("neonate" if name == "A" else "adult", pain, 1), 1)
    )
    quiet, painful = recorded[:4], recorded[4:]
    assert np.mean([segment.voiced for segment in painful]) > 0.4
    assert np.mean([segment.voiced for segment in quiet]) < 0.02
    assert max(segment.clipped_share for segment in recorded) == 0.0
    assert np.mean([segment.snr_db or 0.0 for segment in painful]) > 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_empty_room_has_no_voice(name: str) -> None:
    site = without_events(site_named(name))
    assert max(voiced_share(record(site, np.zeros(9 * SAMPLE_RATE_HZ), seed)) for seed in range(3)) < 0.02

"""Acoustic features against signals whose features are known, librosa, and real cries."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from avpenet_cli.model.acoustic import timbre
from avpenet_cli.model.acoustic.features import FEATURES, acoustic_features, feature_row
from avpenet_cli.model.acoustic.frames import RATE_HZ, short_time_frames
from tests.model.acoustic.signals import harmonic_tone, pulse_train, white_noise

SAMPLES = 3 * RATE_HZ


@pytest.mark.parametrize("f0_hz", [80.0, 110.0, 240.0, 450.0, 700.0, 1150.0])
def test_f0_is_found_from_adult_voices_to_the_cry_of_pain(f0_hz: float) -> None:
    features = acoustic_features(harmonic_tone(f0_hz, (0.5, 1.0, 0.6, 0.4, 0.2)))
    assert features["f0_mean_hz"] == pytest.approx(f0_hz, rel=2e-3)
    assert features["f0_sd_hz"] < 0.01 * f0_hz
    assert features["voiced_share"] == 1.0


def test_rising_f0_has_its_slope_and_range() -> None:
    features = acoustic_features(harmonic_tone(np.linspace(300.0, 600.0, SAMPLES), (1.0, 0.5, 0.3)))
    assert features["f0_slope_hz_per_s"] == pytest.approx(100.0, rel=0.01)
    # From the 5th to the 95th percentile.
    assert features["f0_min_hz"] == pytest.approx(315.0, rel=0.02)
    assert features["f0_max_hz"] == pytest.approx(585.0, rel=0.02)
    assert features["f0_range_semitones"] == pytest.approx(12 * math.log2(585 / 315), rel=0.03)


@pytest.mark.parametrize("ratio_db", [0.0, 10.0, 20.0])
def test_harmonics_to_noise_ratio_is_that_of_the_mixture(ratio_db: float) -> None:
    tone = harmonic_tone(400.0, (1.0, 0.8, 0.6, 0.4))
    noise = white_noise() * np.sqrt(np.mean(tone**2) / 10 ** (ratio_db / 10))
    assert acoustic_features(tone + noise)["hnr_mean_db"] == pytest.approx(ratio_db, abs=1.0)


def test_harmonic_shares_are_those_of_the_powers() -> None:
    features = acoustic_features(harmonic_tone(350.0, (1.0, 2.0, 0.5, 1.0)))
    total = 1.0 + 4.0 + 0.25 + 1.0
    for number, power in enumerate((1.0, 4.0, 0.25), start=1):
        assert features[f"harmonic_{number}_share"] == pytest.approx(power / total, abs=0.01)


@pytest.mark.parametrize(
    ("f0_hz", "jitter", "shimmer"), [(120.0, 0.01, 0.05), (120.0, 0.0, 0.1), (300.0, 0.005, 0.03), (450.0, 0.01, 0.05)]
)
def test_jitter_and_shimmer_are_those_of_the_pulses(f0_hz: float, jitter: float, shimmer: float) -> None:
    train = pulse_train(f0_hz, jitter, shimmer)
    features = acoustic_features(train.waveform)
    measured = [features[name] for name in ("jitter_local", "jitter_rap", "shimmer_local", "shimmer_apq3")]
    # Neighbouring pulses overlap, which moves the shimmer of the mixture away from that of the pulses.
    assert measured[:2] == pytest.approx(train.jitter, rel=0.1, abs=2e-4)
    assert measured[2:] == pytest.approx(train.shimmer, rel=0.15, abs=2e-3)


def test_more_irregular_cries_have_more_jitter_and_shimmer() -> None:
    rows = [acoustic_features(pulse_train(450.0, size / 5, size, snr_db=30.0).waveform) for size in (0.0, 0.05, 0.1)]
    for name in ("jitter_local", "jitter_rap", "shimmer_local", "shimmer_apq3"):
        values = [row[name] for row in rows]
        assert values[0] < 0.7 * values[1] < 0.7 * values[2], name
    assert rows[0]["jitter_local"] < 0.005


def test_bursts_and_pauses_have_their_lengths() -> None:
    waveform = harmonic_tone(450.0, (1.0, 0.5, 0.3))
    time_s = np.arange(SAMPLES) / RATE_HZ
    audible = ((time_s > 0.5) & (time_s < 1.1)) | ((time_s > 1.5) & (time_s < 2.5))
    features = acoustic_features(waveform * audible + 1e-4 * white_noise())
    assert features["burst_count"] == 2
    assert features["burst_rate_hz"] == pytest.approx(2 / 3)
    # Frames of 40 ms blur the edges.
    assert features["onset_time_s"] == pytest.approx(0.5, abs=0.05)
    assert features["burst_mean_s"] == pytest.approx(0.8, abs=0.05)
    assert features["burst_max_s"] == pytest.approx(1.0, abs=0.05)
    assert features["burst_sd_s"] == pytest.approx(0.2, abs=0.02)
    assert features["pause_mean_s"] == features["pause_max_s"] == pytest.approx(0.4, abs=0.05)
    assert features["voiced_share"] == pytest.approx(1.6 / 3, abs=0.03)
    assert features["active_share"] == pytest.approx(1.6 / 3, abs=0.03)


def test_a_click_is_no_burst_and_a_gap_of_50_ms_no_pause() -> None:
    audible = np.zeros(SAMPLES)
    audible[RATE_HZ : 2 * RATE_HZ] = 1.0
    audible[24_000:24_800] = 0.0
    audible[40_000:40_080] = 1.0
    features = acoustic_features(harmonic_tone(450.0, (1.0, 0.5)) * audible)
    assert features["burst_count"] == 1
    assert math.isnan(features["pause_mean_s"])


def test_sudden_onset_is_stronger_than_a_slow_one() -> None:
    tone, time_s = harmonic_tone(450.0, (1.0, 0.5, 0.3)), np.arange(SAMPLES) / RATE_HZ
    noise = 1e-3 * white_noise()
    sudden, slow = (acoustic_features(tone * np.clip((time_s - 1) / rise_s, 0, 1) + noise) for rise_s in (0.01, 1.0))
    assert sudden["onset_strength_max_db"] > 1.5 * slow["onset_strength_max_db"]
    assert sudden["rms_sd"] > slow["rms_sd"]


def test_energy_is_relative_to_the_peak_and_independent_of_the_level() -> None:
    tone = harmonic_tone(450.0, (1.0,))
    features = acoustic_features(tone)
    assert features["rms_mean"] == pytest.approx(math.sqrt(0.5), rel=0.01)
    assert features["rms_sd"] == pytest.approx(0.0, abs=0.01)
    halves = np.where(np.arange(SAMPLES) < SAMPLES // 2, 1.0, 0.1)
    assert acoustic_features(tone * halves)["dynamic_range_db"] == pytest.approx(20.0, abs=0.1)
    np.testing.assert_allclose(feature_row(tone * 0.01), feature_row(tone), rtol=1e-4, atol=1e-5)


def test_spectral_measures_of_a_tone_and_of_noise() -> None:
    tone, noise = acoustic_features(harmonic_tone(1000.0, (1.0,))), acoustic_features(white_noise())
    assert tone["centroid_mean_hz"] == pytest.approx(1000.0, rel=0.01)
    assert tone["zero_crossings_mean_hz"] == pytest.approx(2000.0, rel=0.02)
    assert tone["flatness_mean"] < 1e-3
    assert noise["centroid_mean_hz"] == pytest.approx(4000.0, rel=0.02)
    assert noise["rolloff_mean_hz"] == pytest.approx(0.85 * 8000, rel=0.02)
    assert noise["bandwidth_mean_hz"] == pytest.approx(8000 / math.sqrt(12), rel=0.02)
    assert noise["flatness_mean"] == pytest.approx(0.56, abs=0.02)
    assert noise["voiced_share"] < 0.1


def test_features_are_the_same_from_16_bit_samples() -> None:
    # As from a recording of 8 kHz: nothing above 4 kHz but rounding.
    cry = scipy.signal.resample_poly(pulse_train(450.0, 0.01, 0.05, snr_db=25.0).waveform[::2], 2, 1)
    cry /= np.abs(cry).max()
    exact, rounded = feature_row(cry), feature_row(np.rint(cry * 32767) / 32767)
    np.testing.assert_allclose(rounded, exact, rtol=0.02, atol=2e-3)


@pytest.mark.slow
def test_spectral_measures_and_cepstra_equal_librosas() -> None:
    import librosa

    powers = short_time_frames(pulse_train(450.0, 0.01, 0.05, snr_db=20.0).waveform).powers
    magnitudes = np.sqrt(powers).T
    shape, mel_db = timbre.spectral_shape(powers), timbre.mel_levels_db(powers)
    coefficients = timbre.cepstra(mel_db)
    feature = librosa.feature
    mel = feature.melspectrogram(S=powers.T, sr=RATE_HZ, n_mels=40, fmin=50.0, fmax=8000.0)
    for ours, theirs in (
        (shape.centroid_hz, feature.spectral_centroid(S=magnitudes, sr=RATE_HZ)[0]),
        (shape.rolloff_hz, feature.spectral_rolloff(S=magnitudes, sr=RATE_HZ)[0]),
        (shape.bandwidth_hz, feature.spectral_bandwidth(S=magnitudes, sr=RATE_HZ)[0]),
        (shape.flatness, feature.spectral_flatness(S=magnitudes, amin=1e-8 * powers.max())[0]),
        (mel_db, librosa.power_to_db(mel).T),
        (coefficients, feature.mfcc(S=mel_db.T, n_mfcc=13).T),
        (timbre.slopes(coefficients), feature.delta(coefficients.T).T),
        (timbre.onset_strengths(mel_db), librosa.onset.onset_strength(S=mel_db.T, sr=RATE_HZ, center=False)[1:]),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_names_are_stable_and_every_value_of_a_voice_is_finite() -> None:
    time_s = np.arange(SAMPLES) / RATE_HZ
    cry = pulse_train(450.0, 0.01, 0.05, snr_db=30.0).waveform * (time_s % 1.0 < 0.6)
    features = acoustic_features(cry)
    assert tuple(features) == FEATURES
    assert len(set(FEATURES)) == len(FEATURES) == 79
    assert all(math.isfinite(value) for value in features.values())
    assert feature_row(cry).shape == (79,)
    assert feature_row(cry).dtype == np.float32


@pytest.mark.parametrize("samples", [0, 100, 639, SAMPLES])
def test_silence_has_no_shares_or_bursts_and_everything_else_is_missing(samples: int) -> None:
    features = acoustic_features(np.zeros(samples))
    assert tuple(features) == FEATURES
    present = {name: value for name, value in features.items() if not math.isnan(value)}
    zeros = ("voiced_share", "rms_mean", "rms_sd", "active_share", "burst_count", "burst_rate_hz")
    assert present == dict.fromkeys(zeros, 0.0)


def test_noise_has_no_jitter_and_missing_is_not_zero() -> None:
    fan = np.convolve(white_noise(), np.ones(3))
    features = acoustic_features(np.diff(fan))
    assert math.isnan(features["pause_mean_s"])
    assert features["voiced_share"] < 0.1


@pytest.mark.parametrize("seconds", [0.04, 0.05, 0.12, 1.0, 5.0])
def test_windows_of_other_lengths_have_the_same_features(seconds: float) -> None:
    features = acoustic_features(harmonic_tone(450.0, (1.0, 0.5), seconds))
    assert tuple(features) == FEATURES
    assert features["f0_mean_hz"] == pytest.approx(450.0, rel=0.01)
    assert not any(math.isinf(value) for value in features.values())


def test_one_voiced_frame_of_the_lowest_voice_does_not_fail() -> None:
    waveform = np.zeros(SAMPLES)
    waveform[16_000:16_700] = harmonic_tone(76.0, (1.0, 1.0, 1.0), 700 / RATE_HZ)
    assert tuple(acoustic_features(waveform)) == FEATURES


def test_real_cries_have_the_f0_of_infants(shared: Path) -> None:
    clips = [
        path
        for path in sorted((shared / "data" / "cries").glob("dac_hu_*"))
        if path.suffix == ".caf"  # 16 kHz and undoubted cries
    ]
    assert clips, "no clips of cries in shared/data/cries"
    found = []
    for clip in clips[:4]:
        command = ["ffmpeg", "-v", "error", "-i", str(clip), "-ac", "1", "-ar", "16000", "-f", "f32le", "-"]
        waveform = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
        for start in range(0, waveform.size - SAMPLES + 1, SAMPLES):
            features = acoustic_features(waveform[start : start + SAMPLES])
            if features["voiced_share"] > 0.3:
                found.append(features)
    assert len(found) >= 4
    medians = {name: float(np.median([features[name] for features in found])) for name in FEATURES}
    assert 300 < medians["f0_mean_hz"] < 600
    assert medians["hnr_mean_db"] > 5
    assert medians["burst_mean_s"] > 0.2
    assert medians["jitter_local"] < 0.05


def test_features_are_computed_without_torch() -> None:
    code = (
        "import avpenet_cli.model.acoustic.features, sys; sys.exit('torch' in sys.modules or 'librosa' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

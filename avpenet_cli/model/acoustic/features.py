"""The acoustic features of a segment, by name: what CryAnalyzer's forest sees."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from avpenet_cli.model.acoustic.bursts import Bursts, find_bursts, levels_db
from avpenet_cli.model.acoustic.frames import BIN_HZ, RATE_HZ, Frames, short_time_frames
from avpenet_cli.model.acoustic.periods import perturbation
from avpenet_cli.model.acoustic.pitch import Pitch, track_pitch
from avpenet_cli.model.acoustic.timbre import (
    N_MFCC,
    cepstra,
    mel_levels_db,
    onset_strengths,
    slopes,
    spectral_shape,
)

_NO_SIGNAL_PEAK = 1e-6
"""-120 dBFS: below it are only rounding errors."""

_HARMONICS = 3

_COEFFICIENTS = tuple(f"{number:02d}" for number in range(1, N_MFCC + 1))

FEATURES: tuple[str, ...] = (
    *("f0_mean_hz", "f0_sd_hz", "f0_min_hz", "f0_max_hz", "f0_range_semitones", "f0_slope_hz_per_s", "voiced_share"),
    *("hnr_mean_db", "hnr_sd_db", "harmonic_1_share", "harmonic_2_share", "harmonic_3_share"),
    *("jitter_local", "jitter_rap", "shimmer_local", "shimmer_apq3"),
    *("rms_mean", "rms_sd", "dynamic_range_db"),
    *("onset_time_s", "onset_strength_max_db", "onset_strength_mean_db"),
    *("active_share", "burst_count", "burst_rate_hz", "burst_mean_s", "burst_sd_s", "burst_max_s"),
    *("pause_mean_s", "pause_max_s"),
    *("centroid_mean_hz", "centroid_sd_hz", "rolloff_mean_hz", "rolloff_sd_hz", "bandwidth_mean_hz"),
    *("bandwidth_sd_hz", "flatness_mean", "flatness_sd", "zero_crossings_mean_hz", "zero_crossings_sd_hz"),
    *(f"mfcc_{number}_mean" for number in _COEFFICIENTS),
    *(f"mfcc_{number}_sd" for number in _COEFFICIENTS),
    *(f"mfcc_{number}_delta_sd" for number in _COEFFICIENTS),
)
"""Names of the features, with their units, in the order of the network's input."""

N_FEATURES = len(FEATURES)


def acoustic_features(waveform: np.ndarray) -> dict[str, float]:
    """Features of a segment's denoised audio.

    Level is no feature: the waveform is scaled to a peak of 1 first. Spectral measures and cepstra are of the frames
    within bursts, since a pause has no timbre; f0, harmonics, jitter and shimmer are of voiced frames. The mean slope
    of a cepstral coefficient is left out: it is the difference of the segment's ends.

    Args:
        waveform: (samples,) float, 16 kHz, finite; 48000 samples for 3 s, but any length will do.

    Returns:
        A value for each of `FEATURES`, in that order; NaN where it does not exist, such as f0 without voiced frames or
        a pause with one burst. A silent segment has shares, counts and RMS of 0 and nothing else.
    """
    waveform = waveform.astype(np.float64)
    peak = float(np.abs(waveform).max(initial=0.0))
    frames = short_time_frames(waveform / peak if peak >= _NO_SIGNAL_PEAK else np.zeros(0))
    values: dict[str, float] = dict.fromkeys(FEATURES, math.nan)
    rms = np.sqrt((frames.samples**2).mean(axis=1))
    if not rms.any():
        nothing = ("voiced_share", "rms_mean", "rms_sd", "active_share", "burst_count", "burst_rate_hz")
        return values | dict.fromkeys(nothing, 0.0)
    pitch = track_pitch(frames, 1.0)
    levels = levels_db(rms)
    bursts = find_bursts(levels)
    low, high = np.percentile(levels, (5, 95))
    values |= {"rms_mean": float(rms.mean()), "rms_sd": float(rms.std()), "dynamic_range_db": float(high - low)}
    values |= _pitch_features(pitch, frames)
    values |= vars(perturbation(waveform / peak, pitch, frames.times_s))
    values |= _burst_features(bursts, frames.duration_s)
    values |= _timbre_features(frames, bursts.active)
    return values


def feature_row(waveform: np.ndarray) -> np.ndarray:
    """`acoustic_features` as (N_FEATURES,) float32."""
    return np.array(list(acoustic_features(waveform).values()), np.float32)


def _pitch_features(pitch: Pitch, frames: Frames) -> Mapping[str, float]:
    """Of f0, its smallest and largest value are the 5th and 95th percentile: a tracker's outliers are the extremes."""
    voiced = pitch.voiced
    if not voiced.any():
        return {"voiced_share": 0.0}
    f0_hz, times_s = pitch.f0_hz[voiced], frames.times_s[voiced]
    low, high = np.percentile(f0_hz, (5, 95))
    shares = _harmonic_shares(frames.powers[voiced], f0_hz).mean(axis=0)
    since = times_s - times_s.mean()
    return {
        "f0_mean_hz": float(f0_hz.mean()),
        "f0_sd_hz": float(f0_hz.std()),
        "f0_min_hz": float(low),
        "f0_max_hz": float(high),
        "f0_range_semitones": float(12 * np.log2(high / low)),
        "f0_slope_hz_per_s": float(since @ f0_hz / (since @ since)) if f0_hz.size > 1 else math.nan,
        "voiced_share": float(voiced.mean()),
        "hnr_mean_db": float(pitch.hnr_db[voiced].mean()),
        "hnr_sd_db": float(pitch.hnr_db[voiced].std()),
    } | {f"harmonic_{number}_share": float(share) for number, share in enumerate(shares, start=1)}


def _harmonic_shares(powers: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    """(frames, 3) float64: share of a frame's power within half an f0 of each of the first harmonics."""
    below = np.cumsum(np.pad(powers, ((0, 0), (1, 0))), axis=1)
    # The power of bin k spreads from k - 0.5 to k + 0.5.
    edges = f0_hz[:, None] * (np.arange(_HARMONICS + 1) + 0.5) / BIN_HZ + 0.5
    edges = np.minimum(edges, powers.shape[1] - 1e-6)
    index = edges.astype(np.int64)
    lower, upper = np.take_along_axis(below, index, 1), np.take_along_axis(below, index + 1, 1)
    return np.diff(lower + (edges - index) * (upper - lower), axis=1) / below[:, -1:]


def _burst_features(bursts: Bursts, duration_s: float) -> Mapping[str, float]:
    count = bursts.lengths_s.size
    values = {
        "active_share": float(bursts.active.mean()),
        "burst_count": float(count),
        "burst_rate_hz": count / duration_s,
    }
    if count:
        values |= {
            "onset_time_s": float(bursts.starts_s[0]),
            "burst_mean_s": float(bursts.lengths_s.mean()),
            "burst_sd_s": float(bursts.lengths_s.std()),
            "burst_max_s": float(bursts.lengths_s.max()),
        }
    if bursts.pauses_s.size:
        values |= {"pause_mean_s": float(bursts.pauses_s.mean()), "pause_max_s": float(bursts.pauses_s.max())}
    return values


def _timbre_features(frames: Frames, active: np.ndarray) -> Mapping[str, float]:
    """Without a burst, all are NaN but the onset strengths, which are of all frames."""
    mel_db = mel_levels_db(frames.powers)
    coefficients = cepstra(mel_db)
    strengths = onset_strengths(mel_db)
    values: dict[str, float] = {}
    if strengths.size:
        values |= {
            "onset_strength_max_db": float(strengths.max()),
            "onset_strength_mean_db": float(strengths.mean()),
        }
    if not active.any():
        return values
    shape = spectral_shape(frames.powers[active])
    for name, unit, track in (
        ("centroid", "_hz", shape.centroid_hz),
        ("rolloff", "_hz", shape.rolloff_hz),
        ("bandwidth", "_hz", shape.bandwidth_hz),
        ("flatness", "", shape.flatness),
        ("zero_crossings", "_hz", _zero_crossings_hz(frames.samples[active])),
    ):
        values |= {f"{name}_mean{unit}": float(track.mean()), f"{name}_sd{unit}": float(track.std())}
    deltas = slopes(coefficients)[active]
    for column, number in enumerate(_COEFFICIENTS):
        values[f"mfcc_{number}_mean"] = float(coefficients[active, column].mean())
        values[f"mfcc_{number}_sd"] = float(coefficients[active, column].std())
        values[f"mfcc_{number}_delta_sd"] = float(deltas[:, column].std())
    return values


def _zero_crossings_hz(samples: np.ndarray) -> np.ndarray:
    """(frames,) float64: changes of sign per second."""
    negative = samples < 0
    return (negative[:, 1:] != negative[:, :-1]).mean(axis=1) * RATE_HZ

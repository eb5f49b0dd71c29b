"""Find the periods of voiced speech or crying one by one, and how they vary: jitter and shimmer.

The measures are those of Praat's manual ("Voice 2. Jitter", "Voice 3. Shimmer" and "Sound & Pitch: To PointProcess
(cc)"), with its default limits, computed here from their description.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from avpenet_cli.model.acoustic.frames import HOP_S, RATE_HZ, runs
from avpenet_cli.model.acoustic.pitch import Pitch

_MIN_CORRELATION = 0.3
"""A period that is less alike to its neighbour is left out."""

_SHORTEST, _LONGEST = 0.8, 1.25
"""Where the next period is looked for, in periods of the pitch track."""

_MAX_PERIOD_FACTOR = 1.3
_MAX_AMPLITUDE_FACTOR = 1.6
"""Neighbours that differ by more are not taken as consecutive periods."""

_AMPLITUDE_REACH = 0.2
"""Share of the period before and after a pulse over which its amplitude is measured."""


@dataclass(frozen=True)
class Perturbation:
    """Variation from period to period, each a share of the mean (0.01 is 1 %); NaN with fewer than three periods.

    Attributes:
        jitter_local: mean |T(i) - T(i+1)| of the periods T, over their mean.
        jitter_rap: mean |T(i) - mean of T(i-1), T(i), T(i+1)|, over the mean period.
        shimmer_local: as jitter_local, of the amplitudes.
        shimmer_apq3: as jitter_rap, of the amplitudes.
    """

    jitter_local: float
    jitter_rap: float
    shimmer_local: float
    shimmer_apq3: float


def perturbation(waveform: np.ndarray, pitch: Pitch, times_s: np.ndarray) -> Perturbation:
    """Jitter and shimmer of all voiced stretches of a waveform.

    Args:
        waveform: (samples,) float64, 16 kHz.
        pitch: the waveform's track.
        times_s: (frames,) float64, the middle of the track's frames, s.
    """
    waveform = waveform - waveform.mean()
    energy = np.concatenate([[0.0], np.cumsum(waveform**2)])
    # NaN separates the stretches, so that no difference is taken across a gap.
    pulses = [np.full(1, np.nan)]
    for start, stop in runs(pitch.voiced):
        track = _track(times_s[start:stop], pitch.f0_hz[start:stop])
        pulses += [_pulses(waveform, energy, track), np.full(1, np.nan)]
    times = np.concatenate(pulses)
    periods = np.diff(times)
    jitter = _variation(periods, _MAX_PERIOD_FACTOR)
    shimmer = _variation(_amplitudes(waveform, times, periods), _MAX_AMPLITUDE_FACTOR)
    return Perturbation(*jitter, *shimmer)


@dataclass(frozen=True, eq=False)
class _Track:
    """The pitch of one voiced stretch, in samples from `start` to `stop`.

    Attributes:
        start: the stretch's first sample.
        periods: (samples,) float64, the length of the period at each sample.
    """

    start: int
    periods: np.ndarray

    @property
    def stop(self) -> int:
        return self.start + self.periods.size - 1

    def period(self, time: float) -> float:
        """The period at a time, or at the nearer end of the stretch."""
        return float(self.periods[min(max(int(time) - self.start, 0), self.periods.size - 1)])


def _track(times_s: np.ndarray, f0_hz: np.ndarray) -> _Track:
    """Interpolate between the frames; the stretch reaches half a hop beyond the middles of its first and last."""
    first, last = (
        round((float(time_s) + reach_s) * RATE_HZ)
        for time_s, reach_s in zip(times_s[[0, -1]], (-HOP_S / 2, HOP_S / 2), strict=True)
    )
    return _Track(first, np.interp(np.arange(first, last + 1), times_s * RATE_HZ, RATE_HZ / f0_hz))


def _pulses(waveform: np.ndarray, energy: np.ndarray, track: _Track) -> np.ndarray:
    """Times of the pulses of one voiced stretch, in samples, NaN in place of one that is unlike its neighbour.

    The first is the extremum within half a period of the stretch's middle; from there each next one, to the left and
    to the right, is where the waveform of one period is most like that around the pulse before.
    """
    middle = (track.start + track.stop) // 2
    half = track.period(middle) / 2
    first = max(0, math.floor(middle - half))
    origin = float(first + np.argmax(np.abs(waveform[first : math.ceil(middle + half) + 1])))
    left, right = (_walk(waveform, energy, track, origin, direction) for direction in (-1, 1))
    return np.array([*reversed(left), origin, *right])


def _walk(waveform: np.ndarray, energy: np.ndarray, track: _Track, time: float, direction: int) -> list[float]:
    """The pulses from `time` (excluded) towards one end, -1 to the left and 1 to the right."""
    pulses: list[float] = []
    while (match := _best_match(waveform, energy, time, track.period(time), direction)) is not None:
        shift, correlation = match
        time += shift
        if not track.start <= time <= track.stop:
            break
        pulses.append(time if correlation > _MIN_CORRELATION else math.nan)
    return pulses


def _best_match(
    waveform: np.ndarray, energy: np.ndarray, time: float, period: float, direction: int
) -> tuple[float, float] | None:
    """Shift in samples and correlation of the period most like that around `time`; None beyond the waveform."""
    width = round(period)
    start = round(time - period / 2)
    nearest, farthest = direction * math.floor(_SHORTEST * period), direction * math.ceil(_LONGEST * period)
    first, last = start + min(nearest, farthest), start + max(nearest, farthest)
    if min(start, first) < 0 or max(start, last) + width > waveform.size:
        return None
    products = np.correlate(waveform[first : last + width], waveform[start : start + width])
    energies = energy[first + width : last + width + 1] - energy[first : last + 1]
    scale = np.sqrt(energies * (energy[start + width] - energy[start]))
    correlation = products / np.maximum(scale, 1e-12)
    best = int(correlation[1:-1].argmax()) + 1
    before, at, after = correlation[best - 1 : best + 2].tolist()
    curvature = 2 * at - before - after
    offset = (after - before) / (2 * curvature) if curvature > 0 else 0.0
    return first - start + best + min(0.5, max(-0.5, offset)), at


def _amplitudes(waveform: np.ndarray, times: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """(pulses,) RMS around each pulse under a Hann window of a fifth of the periods beside it; NaN without both.

    At 16 kHz the highest sample of a period depends on where the samples fall; the RMS does not.
    """
    amplitudes = np.full(times.size, np.nan)
    inner = np.flatnonzero(np.isfinite(periods[:-1]) & np.isfinite(periods[1:])) + 1
    if not inner.size:
        return amplitudes
    reach = math.ceil(_AMPLITUDE_REACH * float(np.nanmax(periods)))
    positions = np.rint(times[inner])[:, None].astype(np.int64) + np.arange(-reach, reach + 1)
    distances = positions - times[inner, None]
    beside = np.where(distances < 0, periods[inner - 1, None], periods[inner, None])
    inside = np.minimum(1.0, np.abs(distances) / (_AMPLITUDE_REACH * beside))
    weights = 0.5 + 0.5 * np.cos(np.pi * inside)
    squares = waveform[np.clip(positions, 0, waveform.size - 1)] ** 2
    amplitudes[inner] = np.sqrt((weights * squares).sum(axis=1) / weights.sum(axis=1))
    return amplitudes


def _variation(values: np.ndarray, max_factor: float) -> tuple[float, float]:
    """Mean difference of neighbours, and of each from the mean of three, both over the mean; NaN without any three."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = values[1:] / values[:-1]
    alike = (ratios <= max_factor) & (ratios >= 1 / max_factor)
    triples = alike[:-1] & alike[1:]
    if not triples.any():
        return math.nan, math.nan
    mean = float(np.nanmean(values))
    local = float(np.abs(np.diff(values))[alike].mean())
    means_of_three = (values[:-2] + values[1:-1] + values[2:]) / 3
    average = float(np.abs(values[1:-1] - means_of_three)[triples].mean())
    return local / mean, average / mean

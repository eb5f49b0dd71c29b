"""Building blocks of synthesised surroundings: noise, harmonic sources, resonances, envelopes, repetition, rooms.

Waveforms are (samples,) float64. Frequencies are in Hz, lengths in seconds; every random number comes from the rng of
the sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

Wave = npt.NDArray[np.float64]

_MAX_HARMONICS = 60
_ALIAS_GUARD = 0.46
"""Harmonics above this share of the sampling rate are left out."""


@dataclass(frozen=True)
class Sketch:
    """Length, sampling rate and random numbers of one waveform."""

    samples: int
    rate_hz: int
    rng: np.random.Generator

    @property
    def seconds(self) -> float:
        """Length of the waveform, s."""
        return self.samples / self.rate_hz

    @property
    def time_s(self) -> Wave:
        """Time of each sample, s."""
        return np.arange(self.samples) / self.rate_hz

    def part(self, seconds: float) -> Sketch:
        """A sketch of another length that draws from the same rng; at least 8 samples."""
        return replace(self, samples=max(8, round(seconds * self.rate_hz)))

    def uniform(self, low: float, high: float) -> float:
        """A number from a uniform distribution."""
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        """A positive number whose logarithm has a uniform distribution."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def chance(self, probability: float) -> bool:
        """True with the probability given."""
        return bool(self.rng.random() < probability)

    def count(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def white(self) -> Wave:
        """White noise with an RMS of 1."""
        return self.rng.standard_normal(self.samples)

    def drift(self, points_per_s: float) -> Wave:
        """A smooth random curve with values of about a standard normal distribution."""
        points = self.rng.standard_normal(max(2, int(self.seconds * points_per_s) + 2))
        return self.through(points)

    def through(self, points: Sequence[float] | Wave) -> Wave:
        """A curve through equally spaced points, eased between them."""
        values = np.asarray(points, np.float64)
        position = np.linspace(0.0, len(values) - 1.0, self.samples)
        index = np.minimum(position.astype(int), max(0, len(values) - 2))
        share = position - index
        share = share * share * (3.0 - 2.0 * share)
        following = values[np.minimum(index + 1, len(values) - 1)]
        curve: Wave = values[index] * (1.0 - share) + following * share
        return curve

    def coloured(self, slope: float, low_hz: float = 20.0, high_hz: float = 8000.0) -> Wave:
        """Noise whose amplitude falls as frequency^-slope between two edges; RMS of 1."""
        size = scipy.fft.next_fast_len(self.samples, real=True)
        spectrum = scipy.fft.rfft(self.rng.standard_normal(size))
        hz = scipy.fft.rfftfreq(size, 1.0 / self.rate_hz)
        gain = np.maximum(hz, 20.0) ** -slope / (1.0 + (hz / max(high_hz, 1.0)) ** 6)
        gain *= 1.0 - 1.0 / (1.0 + (hz / max(low_hz, 1.0)) ** 4)
        return with_rms_1(scipy.fft.irfft(spectrum * gain, size)[: self.samples])


def with_rms_1(audio: Wave) -> Wave:
    """Scale to an RMS of 1; silence stays silent."""
    rms = float(np.sqrt(np.mean(np.square(audio)))) if audio.size else 0.0
    return audio / rms if rms > 0.0 else audio


def with_peak_1(audio: Wave) -> Wave:
    """Scale to a peak of 1; silence stays silent."""
    peak = float(np.abs(audio).max()) if audio.size else 0.0
    return audio / peak if peak > 0.0 else audio


def harmonic_amplitudes(sketch: Sketch, tilt: float, irregularity_db: float = 6.0) -> Wave:
    """Amplitudes of the harmonics of a random timbre: harmonic^-tilt with random deviations."""
    orders = np.arange(1, _MAX_HARMONICS + 1)
    return orders**-tilt * 10.0 ** (irregularity_db * sketch.rng.standard_normal(_MAX_HARMONICS) / 20.0)


def harmonics(sketch: Sketch, f0_hz: Wave | float, amplitudes: Wave) -> Wave:
    """Sum of harmonics of a fundamental frequency that may change from sample to sample; those too high are silent."""
    f0 = np.broadcast_to(np.asarray(f0_hz, np.float64), (sketch.samples,))
    phase = 2.0 * np.pi * (np.cumsum(f0) / sketch.rate_hz + sketch.rng.random())
    twice_cos, current, previous = 2.0 * np.cos(phase), np.sin(phase), np.zeros(sketch.samples)
    limit_hz = _ALIAS_GUARD * sketch.rate_hz
    audio = np.zeros(sketch.samples)
    lowest = float(f0.min())
    for order, amplitude in enumerate(amplitudes, start=1):
        if order * lowest > limit_hz:
            break
        audio += amplitude * np.clip((limit_hz - order * f0) / 400.0, 0.0, 1.0) * current
        # sin((k + 1) x) from sin(k x) and sin((k - 1) x) costs one product instead of a sine.
        current, previous = twice_cos * current - previous, current
    return audio


def resonances(sketch: Sketch, audio: Wave, centres_hz: Sequence[float], widths_hz: Sequence[float]) -> Wave:
    """Pass a source through resonances one after the other, as formants of a vocal tract; RMS of about 1.

    A part of the source is kept: the higher formants that are not modelled hold up the upper end of a real spectrum.
    """
    kept = sketch.uniform(0.05, 0.4) * with_rms_1(audio)
    for centre_hz, width_hz in zip(centres_hz, widths_hz, strict=True):
        centre = min(centre_hz, 0.45 * sketch.rate_hz)
        radius = np.exp(-np.pi * width_hz / sketch.rate_hz)
        second, third = -2.0 * radius * np.cos(2.0 * np.pi * centre / sketch.rate_hz), radius**2
        audio = scipy.signal.lfilter([1.0 + second + third], [1.0, second, third], audio)
    return with_rms_1(audio) + kept


def band(sketch: Sketch, audio: Wave, low_hz: float, high_hz: float, order: int = 2) -> Wave:
    """Butterworth band-pass; the edges are moved inside the range of the sampling rate."""
    top = 0.48 * sketch.rate_hz
    high = min(high_hz, top)
    sos = scipy.signal.butter(order, (min(low_hz, 0.8 * high), high), "bandpass", fs=sketch.rate_hz, output="sos")
    return np.asarray(scipy.signal.sosfilt(sos, audio))


def envelope(sketch: Sketch, attack_s: float, release_s: float) -> Wave:
    """Rise and fall of a sound: 0 to 1 with a raised cosine at each end."""
    time_s = sketch.time_s
    rise = np.clip(time_s / max(attack_s, 1e-4), 0.0, 1.0)
    fall = np.clip((sketch.seconds - time_s) / max(release_s, 1e-4), 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))


def decay(sketch: Sketch, constant_s: float, attack_s: float = 0.001) -> Wave:
    """Exponential decay after a short attack."""
    time_s = sketch.time_s
    return np.exp(-time_s / constant_s) * np.clip(time_s / max(attack_s, 1e-4), 0.0, 1.0)


def partials(sketch: Sketch, hz: Wave, amplitudes: Wave, decays_s: Wave) -> Wave:
    """Sum of decaying sinusoids, as of a struck bar, bell or glass."""
    audio = np.zeros(sketch.samples)
    for frequency, amplitude, constant_s in zip(hz, amplitudes, decays_s, strict=True):
        if frequency < _ALIAS_GUARD * sketch.rate_hz:
            angle = 2.0 * np.pi * (frequency * sketch.time_s + sketch.rng.random())
            audio += amplitude * np.sin(angle) * np.exp(-sketch.time_s / constant_s)
    return audio


def add_at(audio: Wave, start_s: float, event: Wave, rate_hz: int) -> None:
    """Add an event to a waveform in place; what lies outside is cut off."""
    start = round(start_s * rate_hz)
    first, last = max(0, start), min(audio.size, start + event.size)
    if last > first:
        audio[first:last] += event[first - start : last - start]


def repeat(
    sketch: Sketch, period_s: float, jitter: float, event: Callable[[], Wave], level_db: float = 3.0, most: int = 400
) -> Wave:
    """Add events at a period with random deviations.

    Args:
        sketch: Length, rate and rng.
        period_s: Mean time from the start of an event to the next.
        jitter: Deviation as a share of the period; 1 or more gives a Poisson process.
        event: Makes the next event.
        level_db: Standard deviation of the events' levels.
        most: Number of events after which no more are added.
    """
    audio = np.zeros(sketch.samples)
    time_s = sketch.uniform(0.0, min(period_s, 0.5 * sketch.seconds))
    for _ in range(most):
        if time_s >= sketch.seconds:
            break
        gain = 10.0 ** (level_db * float(sketch.rng.standard_normal()) / 20.0)
        add_at(audio, time_s, gain * event(), sketch.rate_hz)
        step = sketch.rng.exponential(1.0) if jitter >= 1.0 else max(0.1, sketch.rng.normal(1.0, jitter))
        time_s += period_s * float(step)
    return audio


def reverberate(sketch: Sketch, audio: Wave, t60_s: float, wet: float) -> Wave:
    """Add the diffuse tail of a room: exponentially decaying noise; `wet` is its amplitude beside the direct sound."""
    tail = sketch.part(min(t60_s, sketch.seconds))
    response = tail.coloured(sketch.uniform(0.0, 0.8)) * 10.0 ** (-3.0 * tail.time_s / t60_s)
    echo = scipy.signal.fftconvolve(audio, response)[: audio.size]
    direct = float(np.sqrt(np.mean(np.square(audio))))
    return audio + wet * direct * with_rms_1(echo)


def colour(sketch: Sketch, audio: Wave, deviation_db: float) -> Wave:
    """A random smooth frequency response, as of a microphone, a distance and an obstacle."""
    size = scipy.fft.next_fast_len(audio.size, real=True)
    hz = scipy.fft.rfftfreq(size, 1.0 / sketch.rate_hz)
    octaves = np.log2(np.maximum(hz, 30.0) / 30.0)
    points = deviation_db * sketch.rng.standard_normal(10) + sketch.uniform(-2.5, 1.5) * np.arange(10)
    gain = 10.0 ** (np.interp(octaves, np.arange(10), points) / 20.0)
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(audio, size) * gain, size)[: audio.size])

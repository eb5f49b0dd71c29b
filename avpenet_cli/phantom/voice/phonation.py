"""Synthesise phonation by source and filter: glottal pulses and breath noise through vocal tract resonances.

The model is Fant's (Acoustic Theory of Speech Production, 1960). The pulses are a table of one cycle whose harmonics
fall linearly in dB per octave; the tract is a cascade of resonances applied in overlapping windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ, SynthesisParams, TractParams, voice_params
from avpenet_cli.phantom.voice.vocality import Vocality


@dataclass(frozen=True, eq=False)
class Tracks:
    """Control signals of an utterance at `SynthesisParams.control_hz`, (controls,) float64 unless noted.

    Attributes:
        f0_hz: fundamental frequency, positive.
        voicing: amplitude of the glottal pulses; 1 has an RMS of 1.
        noise: amplitude of the breath noise; 1 has an RMS of 1.
        tilt_db_per_octave: of the harmonics including radiation, negative.
        roughness: 0 (regular) to 1.
        formants_hz: (controls, formants), lowest first.
    """

    f0_hz: np.ndarray
    voicing: np.ndarray
    noise: np.ndarray
    tilt_db_per_octave: np.ndarray
    roughness: np.ndarray
    formants_hz: np.ndarray

    @property
    def samples(self) -> int:
        """Length of the audio in samples."""
        return round(self.f0_hz.size / voice_params().synthesis.control_hz * SAMPLE_RATE_HZ)


def control_count(length_s: float) -> int:
    """Number of control values of an utterance of this length, at least two."""
    return max(2, round(length_s * voice_params().synthesis.control_hz))


def to_samples(track: np.ndarray, samples: int) -> np.ndarray:
    """Interpolate a control signal linearly to (samples,) float64."""
    stretched: np.ndarray = np.interp(np.linspace(0.0, track.size - 1.0, samples), np.arange(track.size), track)
    return stretched


def phonate(tracks: Tracks, vocality: Vocality, rng: np.random.Generator) -> np.ndarray:
    """Synthesise an utterance before its loudness is applied.

    Returns:
        (tracks.samples,) float64 at 48 kHz with peak 1, or zeros for silence.
    """
    params = voice_params()
    audio = _through_tract(_glottal_source(tracks, vocality, params.synthesis, rng), tracks, params.tract)
    peak = float(np.abs(audio).max(initial=0.0))
    return audio / peak if peak > 0.0 else audio


def vowel_formants(path: Sequence[str], count: int, tract_length_mm: float) -> np.ndarray:
    """Formants of a tract that moves linearly through vowels.

    Args:
        path: names of `[vowels]` in `parameters/voice.toml`, at equal steps.
        count: number of control values.

    Returns:
        (count, formants) float64 Hz: F1-F3 of the vowels in inverse proportion to the tract's length, above them
        those of a uniform tube, (2 n - 1) c / 4 L.
    """
    params = voice_params()
    tract = params.tract
    vowels = np.array([params.vowels[name] for name in path]) * tract.reference_length_mm / tract_length_mm
    at = np.linspace(0.0, len(path) - 1.0, count)
    low = np.stack([np.interp(at, np.arange(len(path)), vowels[:, n]) for n in range(vowels.shape[1])], axis=1)
    first_hz = tract.speed_of_sound_mm_per_s / (4.0 * tract_length_mm)
    tube_hz = first_hz * np.arange(2 * vowels.shape[1] + 1, tract.formants_below_hz / first_hz, 2)
    return np.concatenate([low, np.broadcast_to(tube_hz, (count, tube_hz.size))], axis=1)


def _glottal_source(
    tracks: Tracks, vocality: Vocality, params: SynthesisParams, rng: np.random.Generator
) -> np.ndarray:
    samples = tracks.samples
    noise = to_samples(tracks.noise, samples) * rng.standard_normal(samples)
    if not tracks.voicing.any():
        return noise
    roughness = to_samples(tracks.roughness, samples)
    f0_hz = to_samples(tracks.f0_hz, samples)
    cycle = np.cumsum(f0_hz / SAMPLE_RATE_HZ).astype(np.int64)
    irregular = rng.standard_normal(int(cycle[-1]) + 1)[cycle]
    period = 1.0 + (vocality.jitter + params.rough_jitter * roughness) * irregular
    phase = np.cumsum(f0_hz * np.maximum(period, params.min_f0_share) / SAMPLE_RATE_HZ) + rng.random()
    heights = 1.0 + vocality.shimmer * rng.standard_normal(int(phase[-1]) + 2)
    gain = np.interp(phase, np.arange(heights.size), heights)
    # Attenuating every second cycle gives a subharmonic at f0 / 2, which is heard as roughness.
    gain *= 1.0 - params.rough_subharmonic * roughness * 0.5 * (1.0 + np.cos(np.pi * phase))
    softest, hardest = float(tracks.tilt_db_per_octave.min()), float(tracks.tilt_db_per_octave.max())
    top = int(params.harmonics_below_hz / float(f0_hz.max()))
    pulses = _cycle(softest, top, phase, params)
    if hardest > softest:
        share = (to_samples(tracks.tilt_db_per_octave, samples) - softest) / (hardest - softest)
        pulses += share * (_cycle(hardest, top, phase, params) - pulses)
    pulse_noise = params.pulse_noise_share * np.cos(2.0 * np.pi * phase)
    noise *= (1.0 + pulse_noise) * 10.0 ** (params.rough_noise_db * roughness / 20.0)
    source: np.ndarray = to_samples(tracks.voicing, samples) * gain * pulses + noise
    return source


def _cycle(tilt_db_per_octave: float, top: int, phase: np.ndarray, params: SynthesisParams) -> np.ndarray:
    """One glottal cycle of `top` harmonics with an RMS of 1, repeated along `phase`, in cycles."""
    spectrum = np.zeros(params.table_points // 2 + 1, np.complex128)
    orders = np.arange(1, top + 1)
    spectrum[1 : top + 1] = orders ** (tilt_db_per_octave / (20.0 * np.log10(2.0)))
    table = scipy.fft.irfft(spectrum, n=params.table_points)
    table /= np.sqrt(np.mean(table**2))
    at = (phase % 1.0) * params.table_points
    left = at.astype(np.int64)
    table = np.append(table, table[:2])
    below = table[left]
    return below + (at - left) * (table[left + 1] - below)


def _through_tract(source: np.ndarray, tracks: Tracks, params: TractParams) -> np.ndarray:
    synthesis = voice_params().synthesis
    hop = round(synthesis.filter_window_s * SAMPLE_RATE_HZ / 2.0)
    count = source.size // hop + 2
    padded = np.zeros((count + 1) * hop)
    padded[hop : hop + source.size] = source
    # A Hann window of two hops: neighbouring windows add up to 1.
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop] * window
    spectra = scipy.fft.rfft(frames, n=synthesis.filter_fft_samples, axis=1)
    middle = np.clip(np.arange(count) * hop / source.size, 0.0, 1.0) * (len(tracks.formants_hz) - 1)
    spectra *= _response(tracks.formants_hz[np.round(middle).astype(np.int64)], synthesis, params)
    pieces = scipy.fft.irfft(spectra, n=synthesis.filter_fft_samples, axis=1)
    audio = np.zeros(padded.size + synthesis.filter_fft_samples)
    for number, piece in enumerate(pieces):
        audio[number * hop : number * hop + piece.size] += piece
    return audio[hop : hop + source.size]


def _response(formants_hz: np.ndarray, synthesis: SynthesisParams, params: TractParams) -> np.ndarray:
    """Frequency response (frames, formants) Hz -> (frames, frequencies) complex128, with radiation at the lips."""
    bin_hz = SAMPLE_RATE_HZ / synthesis.filter_fft_samples
    frequencies_hz = np.arange(synthesis.filter_fft_samples // 2 + 1) * bin_hz
    top = int(params.formants_below_hz / bin_hz)
    delay = np.exp(-2j * np.pi * frequencies_hz[: top + 1] / SAMPLE_RATE_HZ)
    low = np.ones((len(formants_hz), top + 1), np.complex128)
    for column in formants_hz.T:
        bandwidth_hz = params.bandwidth_min_hz + params.bandwidth_share * column
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
        turn = -2.0 * radius * np.cos(2.0 * np.pi * column / SAMPLE_RATE_HZ)
        square = radius**2
        low *= (1.0 + turn + square)[:, None] / (1.0 + turn[:, None] * delay + square[:, None] * delay**2)
    above = np.square(frequencies_hz[top] / frequencies_hz[top + 1 :])
    response = np.concatenate([low, low[:, -1:] * above], axis=1)
    octave = np.square(frequencies_hz / synthesis.radiation_hz)
    radiated: np.ndarray = response * (octave / (1.0 + octave))
    return radiated

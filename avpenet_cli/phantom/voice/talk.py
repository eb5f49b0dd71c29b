"""Synthesise talk: meaningless syllables."""

from __future__ import annotations

import numpy as np

from avpenet_cli.phantom.parameters.voice_params import non_pain_sound_params, voice_params
from avpenet_cli.phantom.voice.phonation import Tracks, control_count, phonate, to_samples, vowel_formants
from avpenet_cli.phantom.voice.utterance import edges
from avpenet_cli.phantom.voice.vocality import Vocality


def talk(length_s: float, vocality: Vocality, rng: np.random.Generator) -> np.ndarray:
    """Synthesise a phrase of meaningless syllables.

    Returns:
        (samples,) float64 at 48 kHz; its peak follows `level_dbfs` of the parameters and the subject's loudness.
    """
    params, synthesis = non_pain_sound_params().talk, voice_params().synthesis
    count = control_count(length_s)
    ends = np.cumsum(rng.uniform(*params.syllable_s, size=int(length_s / params.syllable_s[0]) + 1))
    ends = np.append(ends[ends < length_s - params.syllable_s[0]], length_s)
    starts = np.append(0.0, ends[:-1])
    time_s = np.arange(count) / synthesis.control_hz
    syllable = np.minimum(np.searchsorted(ends, time_s, side="right"), ends.size - 1)
    within = (time_s - starts[syllable]) / (ends - starts)[syllable]
    opening = np.sin(np.pi * np.clip((within - params.closure_share) / (1.0 - params.closure_share), 0.0, 1.0))
    vowels = np.array([vowel_formants([name], 1, vocality.tract_length_mm)[0] for name in params.vowels])
    closed = vowel_formants([params.closed], 1, vocality.tract_length_mm)[0]
    vowel_targets = vowels[rng.integers(len(vowels), size=ends.size)]
    accents = rng.uniform(-1.0, 1.0, size=ends.size)[syllable] * opening
    declination = 0.5 - time_s / length_s
    f0_hz = vocality.f0_hz * (1.0 + params.f0_declination * declination + params.f0_accent * accents)
    tracks = Tracks(
        f0_hz=f0_hz,
        voicing=np.ones(count),
        noise=np.full(count, 10.0 ** (params.noise_db / 20.0)),
        tilt_db_per_octave=np.full(count, params.tilt_db_per_octave),
        roughness=np.zeros(count),
        formants_hz=closed + np.sqrt(opening)[:, None] * (vowel_targets[syllable] - closed),
    )
    audio = phonate(tracks, vocality, rng)
    loudness = params.closure_floor + (1.0 - params.closure_floor) * opening
    audio *= to_samples(loudness, audio.size)
    fricative = (rng.random(ends.size) < params.fricative_chance)[syllable] & (within < params.closure_share)
    audio += _fricatives(fricative, within / params.closure_share, vocality, rng)
    audio *= edges(audio.size, params.edge_s, params.edge_s)
    level_db = rng.uniform(*params.level_dbfs) + vocality.loudness_db
    phrase: np.ndarray = 10.0 ** (level_db / 20.0) * audio / np.abs(audio).max()
    return phrase


def _fricatives(fricative: np.ndarray, within: np.ndarray, vocality: Vocality, rng: np.random.Generator) -> np.ndarray:
    """Fricative noise where `fricative`, rising and falling as `within` goes from 0 to 1."""
    params = non_pain_sound_params().talk
    count = fricative.size
    silent = np.zeros(count)
    noise = np.where(fricative, np.sin(np.pi * np.clip(within, 0.0, 1.0)), 0.0)
    formants_hz = vowel_formants(["hiss"], count, vocality.tract_length_mm)
    hiss = phonate(Tracks(np.ones(count), silent, noise, silent, silent, formants_hz), vocality, rng)
    noise_signal: np.ndarray = 10.0 ** (params.fricative_db / 20.0) * hiss
    return noise_signal

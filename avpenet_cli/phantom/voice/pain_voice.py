"""Synthesise the voice of a subject in pain: cries, moans, groans, gasps and strained breathing.

The voice follows a pain trajectory. The synthetic voice imitates no recording; `parameters/voice.toml` has all
parameters with sources.
"""

from __future__ import annotations

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX, PAIN_RATE_HZ, SAMPLE_RATE_HZ
from avpenet_cli.phantom.voice.breathing import breaths
from avpenet_cli.phantom.voice.speaker import Speaker, SyntheticSpeaker
from avpenet_cli.phantom.voice.utterance import Utterance, add_at, pain_over
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

__all__ = ["PAIN_RATE_HZ", "SAMPLE_RATE_HZ", "Utterance", "Vocality", "draw_vocality", "pain_utterances", "pain_voice"]


_STREAM = 1
"""Stream number of this module, so that equal seeds give independent draws elsewhere."""


def pain_utterances(vocality: Vocality, pain: np.ndarray, seed: int) -> tuple[Utterance, ...]:
    """Draw a subject's utterances over a pain trajectory by increasing start, for synthesis and facial motion.

    Args:
        pain: (n,) float in [0, 10] at 10 Hz, at least one value.
        seed: not negative.

    Raises:
        SettingsError: the trajectory has the wrong shape, is out of range or not finite.
    """
    return tuple(breaths(vocality, _checked(pain), np.random.default_rng([_STREAM, seed])))


def pain_voice(vocality: Vocality, pain: np.ndarray, seed: int, speaker: Speaker | None = None) -> np.ndarray:
    """Synthesise a subject's voice at the mouth, without reverberation; `acoustics.record` makes a recording of it.

    Probability of a vocalisation, loudness, fundamental frequency, spectral tilt, roughness and share of vocal time
    grow with pain and the subject's vocality. Without pain or with a vocality of 0 only quiet breathing remains.

    Args:
        pain: (n,) float in [0, 10] at 10 Hz, at least one value.
        seed: not negative; the same seed gives the same samples, and `pain_utterances` lists their utterances.
        speaker: who speaks; None for the synthetic voice.

    Returns:
        (n * 4800,) float32 at 48 kHz in [-1, 1]. Cries at full pain peak between -12 and -1.5 dBFS.

    Raises:
        SettingsError: the trajectory has the wrong shape, is out of range or not finite.
    """
    checked = _checked(pain)
    audio = np.zeros(checked.size * SAMPLE_RATE_HZ // PAIN_RATE_HZ)
    speaker = speaker or SyntheticSpeaker(vocality)
    for number, utterance in enumerate(speaker.arrange(pain_utterances(vocality, checked, seed))):
        rng = np.random.default_rng([_STREAM, seed, number])
        part = speaker.speak(utterance, pain_over(utterance, checked, PAIN_RATE_HZ), rng)
        add_at(audio, utterance.start_s, part)
    return audio.astype(np.float32)


def _checked(pain: np.ndarray) -> np.ndarray:
    trajectory = np.asarray(pain, np.float64)
    if trajectory.ndim != 1 or not trajectory.size:
        raise SettingsError(
            f"a pain trajectory has one value per 0.1 s; got shape {trajectory.shape}", "give a one-dimensional array"
        )
    if not np.all((trajectory >= 0.0) & (trajectory <= PAIN_MAX)):
        raise SettingsError(f"a pain trajectory must be finite and between 0 and {PAIN_MAX:g}", "correct the values")
    return trajectory

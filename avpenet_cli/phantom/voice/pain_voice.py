"""The voice of a simulated subject: cries, moans, groans, gasps and strained breathing that follow a pain trajectory.

Nothing here imitates a person's recording; every number stands with its source or reason in `parameters/voice.toml`.
"""

from __future__ import annotations

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX, PAIN_RATE_HZ, SAMPLE_RATE_HZ
from avpenet_cli.phantom.voice.breathing import breaths
from avpenet_cli.phantom.voice.utterance import Utterance, add_at, pain_over, sound_of
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

__all__ = ["PAIN_RATE_HZ", "SAMPLE_RATE_HZ", "Utterance", "Vocality", "draw_vocality", "pain_utterances", "pain_voice"]


_STREAM = 1
"""So that the same seed means other chances here than in `sounds` and `room`."""


def pain_utterances(vocality: Vocality, pain: np.ndarray, seed: int) -> tuple[Utterance, ...]:
    """What the subject utters over a trajectory, in order of time; the face can open its mouth by it.

    Args:
        pain: (n,) float in [0, 10] at 10 Hz, at least one value.
        seed: not negative.

    Raises:
        SettingsError: a trajectory of another shape, out of range or not finite.
    """
    return tuple(breaths(vocality, _checked(pain), np.random.default_rng([_STREAM, seed])))


def pain_voice(vocality: Vocality, pain: np.ndarray, seed: int) -> np.ndarray:
    """The voice of pain at the mouth, in a room without echo; `room.recorded` makes a recording of it.

    Chance of a voice, loudness, fundamental, spectral slope, roughness and the share of time that sounds all grow with
    the pain, through the subject's vocality. At no pain, and with a vocality of 0, only quiet breathing remains.

    Args:
        pain: (n,) float in [0, 10] at 10 Hz, at least one value.
        seed: not negative; the same seed gives the same samples, and `pain_utterances` of it says what they are.

    Returns:
        (n * 4800,) float32 at 48 kHz in [-1, 1]. Cries at full pain peak between -12 and -1.5 dBFS.

    Raises:
        SettingsError: a trajectory of another shape, out of range or not finite.
    """
    checked = _checked(pain)
    sound = np.zeros(checked.size * SAMPLE_RATE_HZ // PAIN_RATE_HZ)
    for number, utterance in enumerate(pain_utterances(vocality, checked, seed)):
        rng = np.random.default_rng([_STREAM, seed, number])
        part = sound_of(utterance, vocality, pain_over(utterance, checked, PAIN_RATE_HZ), rng)
        add_at(sound, utterance.start_s, part)
    return sound.astype(np.float32)


def _checked(pain: np.ndarray) -> np.ndarray:
    wide = np.asarray(pain, np.float64)
    if wide.ndim != 1 or not wide.size:
        raise SettingsError(
            f"a pain trajectory has one value per 0.1 s; got shape {wide.shape}", "give a row of values"
        )
    if not np.all((wide >= 0.0) & (wide <= PAIN_MAX)):
        raise SettingsError(f"a pain trajectory lies between 0 and {PAIN_MAX:g}, without gaps", "mend the values")
    return wide

"""Who speaks: the interface of a subject's voice, and the synthetic voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from avpenet_cli.phantom.voice.talk import talk
from avpenet_cli.phantom.voice.utterance import Utterance, synthesise
from avpenet_cli.phantom.voice.vocality import Vocality


class Speaker(Protocol):
    """Gives voice to the utterances of one subject."""

    def arrange(self, utterances: Sequence[Utterance]) -> Sequence[Utterance]:
        """The utterances as this speaker says them, by increasing start."""
        ...

    def speak(self, utterance: Utterance, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Say an utterance.

        Args:
            utterance: of `arrange`.
            pain: (points,) float in [0, 10], evenly spaced over the utterance, at least one.
            rng: source of randomness.

        Returns:
            (samples,) float64 at 48 kHz, at the mouth, within full scale.
        """
        ...


@dataclass(frozen=True)
class SyntheticSpeaker:
    """The synthetic voice of a subject.

    Attributes:
        vocality: the subject's voice.
    """

    vocality: Vocality

    def arrange(self, utterances: Sequence[Utterance]) -> Sequence[Utterance]:
        """The utterances as they are."""
        return utterances

    def speak(self, utterance: Utterance, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Synthesise an utterance, as `Speaker.speak` says."""
        if utterance.kind == "talk":
            return talk(utterance.length_s, self.vocality, rng)
        return synthesise(utterance, self.vocality, pain, rng)

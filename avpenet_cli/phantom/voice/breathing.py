"""When a subject gives voice to pain: one breath after another, each silent or a cry, a moan, a groan, a gasp.

The chance that a breath becomes a voice grows with the pain through a logistic, times the subject's vocality; once
begun it goes on more readily, as crying does. A sudden rise of the pain calls forth a first cry or a cry-out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from avpenet_cli.phantom.parameters.voice_params import PAIN_RATE_HZ, BreathingParams, Weights, at_pain, voice_params
from avpenet_cli.phantom.voice.utterance import Utterance, draw_at_pain, draw_utterance, pick
from avpenet_cli.phantom.voice.vocality import Vocality


def breaths(vocality: Vocality, pain: np.ndarray, rng: np.random.Generator) -> Iterator[Utterance]:
    """Everything a subject utters over a trajectory, quiet breathing included, by increasing start.

    Args:
        pain: (n,) float in [0, 10] at 10 Hz.
    """
    numbers = voice_params().breathing[vocality.age_group]
    end_s = pain.size / PAIN_RATE_HZ
    reserve_db = -voice_params().synthesis.vocality_level_db * (1.0 - vocality.vocality)
    time_s = float(rng.uniform(0.0, 1.0 / vocality.breath_hz))
    vocal, startled_until_s = False, 0.0
    while time_s < end_s:
        now = _pain_at(pain, time_s)
        probability = vocality.vocality * _urge(now, numbers)
        if rng.random() >= (probability**numbers.persistence if vocal else probability):
            vocal = False
            yield from _quiet_breath(numbers, time_s, now, rng)
            time_s += float(at_pain(numbers.rest_cycle_share, now)) / vocality.breath_hz
            continue
        vocal = True
        startled = time_s >= startled_until_s and _risen(pain, time_s, numbers)
        if startled:
            startled_until_s = time_s + numbers.onset_window_s
        mix = numbers.onset_mix if startled else numbers.mix
        voiced = draw_utterance(_pick_at(mix, now, numbers, rng), time_s, now, rng, reserve_db)
        yield voiced
        time_s += voiced.length_s + draw_at_pain(numbers.pause_before_s, now, rng)
        now = _pain_at(pain, time_s)
        taken = draw_utterance(_pick_at(numbers.inspirations, now, numbers, rng), time_s, now, rng, reserve_db)
        yield taken
        time_s += taken.length_s + draw_at_pain(numbers.pause_after_s, now, rng)


def _quiet_breath(
    numbers: BreathingParams, time_s: float, pain: float, rng: np.random.Generator
) -> Iterator[Utterance]:
    taken = draw_utterance(numbers.breath_in, time_s, pain, rng)
    yield taken
    yield draw_utterance(numbers.breath_out, time_s + taken.length_s, pain, rng)


def _pain_at(pain: np.ndarray, time_s: float) -> float:
    return float(pain[min(int(time_s * PAIN_RATE_HZ), pain.size - 1)])


def _urge(pain: float, numbers: BreathingParams) -> float:
    if pain < numbers.threshold_pain:
        return 0.0
    return float(1.0 / (1.0 + np.exp(-(pain - numbers.urge_midpoint_pain) / numbers.urge_width_pain)))


def _risen(pain: np.ndarray, time_s: float, numbers: BreathingParams) -> bool:
    now = min(int(time_s * PAIN_RATE_HZ), pain.size - 1)
    before = pain[max(0, now - round(numbers.onset_window_s * PAIN_RATE_HZ)) : now + 1]
    return bool(pain[now] - before.min() >= numbers.onset_rise_pain)


def _pick_at(mix: Mapping[str, Weights], pain: float, numbers: BreathingParams, rng: np.random.Generator) -> str:
    return pick({kind: float(np.interp(pain, numbers.mix_pain, weights)) for kind, weights in mix.items()}, rng)

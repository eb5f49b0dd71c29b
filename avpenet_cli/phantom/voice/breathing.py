"""Draw the sequence of breaths of a subject in pain, each silent or vocal: a cry, a moan, a groan, a gasp.

The probability that a breath is vocal is a logistic function of pain times the subject's vocality. It is higher after
a vocal breath, since crying comes in bouts. A sudden rise of pain causes a first cry or a cry-out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from avpenet_cli.phantom.parameters.voice_params import PAIN_RATE_HZ, BreathingParams, Weights, at_pain, voice_params
from avpenet_cli.phantom.voice.utterance import Utterance, draw_at_pain, draw_utterance, pick
from avpenet_cli.phantom.voice.vocality import Vocality


def breaths(vocality: Vocality, pain: np.ndarray, rng: np.random.Generator) -> Iterator[Utterance]:
    """Draw all utterances over a pain trajectory, including quiet breathing, by increasing start.

    Args:
        vocality: the subject's voice.
        pain: (n,) float in [0, 10] at 10 Hz.
        rng: source of randomness.
    """
    params = voice_params().breathing[vocality.age_group]
    end_s = pain.size / PAIN_RATE_HZ
    reserve_db = -voice_params().synthesis.vocality_level_db * (1.0 - vocality.vocality)
    time_s = float(rng.uniform(0.0, 1.0 / vocality.breath_hz))
    vocal, onset_until_s = False, 0.0
    while time_s < end_s:
        pain_now = _pain_at(pain, time_s)
        probability = vocality.vocality * _urge(pain_now, params)
        if rng.random() >= (probability**params.persistence if vocal else probability):
            vocal = False
            yield from _quiet_breath(params, time_s, pain_now, rng)
            time_s += float(at_pain(params.rest_cycle_share, pain_now)) / vocality.breath_hz
            continue
        vocal = True
        onset = time_s >= onset_until_s and _has_risen(pain, time_s, params)
        if onset:
            onset_until_s = time_s + params.onset_window_s
        mix = params.onset_mix if onset else params.mix
        call = draw_utterance(_pick_at(mix, pain_now, params, rng), time_s, pain_now, rng, reserve_db)
        yield call
        time_s += call.length_s + draw_at_pain(params.pause_before_s, pain_now, rng)
        pain_now = _pain_at(pain, time_s)
        inspiration = draw_utterance(
            _pick_at(params.inspirations, pain_now, params, rng), time_s, pain_now, rng, reserve_db
        )
        yield inspiration
        time_s += inspiration.length_s + draw_at_pain(params.pause_after_s, pain_now, rng)


def _quiet_breath(params: BreathingParams, time_s: float, pain: float, rng: np.random.Generator) -> Iterator[Utterance]:
    inspiration = draw_utterance(params.breath_in, time_s, pain, rng)
    yield inspiration
    yield draw_utterance(params.breath_out, time_s + inspiration.length_s, pain, rng)


def _pain_at(pain: np.ndarray, time_s: float) -> float:
    return float(pain[min(int(time_s * PAIN_RATE_HZ), pain.size - 1)])


def _urge(pain: float, params: BreathingParams) -> float:
    if pain < params.threshold_pain:
        return 0.0
    return float(1.0 / (1.0 + np.exp(-(pain - params.urge_midpoint_pain) / params.urge_width_pain)))


def _has_risen(pain: np.ndarray, time_s: float, params: BreathingParams) -> bool:
    index = min(int(time_s * PAIN_RATE_HZ), pain.size - 1)
    before = pain[max(0, index - round(params.onset_window_s * PAIN_RATE_HZ)) : index + 1]
    return bool(pain[index] - before.min() >= params.onset_rise_pain)


def _pick_at(mix: Mapping[str, Weights], pain: float, params: BreathingParams, rng: np.random.Generator) -> str:
    return pick({kind: float(np.interp(pain, params.mix_pain, weights)) for kind, weights in mix.items()}, rng)

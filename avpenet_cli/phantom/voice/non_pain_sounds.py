"""Synthesise sounds that are not pain: meaningless talk, coughs and laughter, and a newborn's coos and hiccups.

They keep a network from taking any sound for pain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import (
    SAMPLE_RATE_HZ,
    AgeGroup,
    Sex,
    non_pain_sound_params,
    voice_params,
)
from avpenet_cli.phantom.voice.speaker import Speaker, SyntheticSpeaker
from avpenet_cli.phantom.voice.utterance import Utterance, add_at, draw_utterance, pick
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

_NO_PAIN = np.zeros(2)

_STREAM = 2
"""Stream number of this module, so that equal seeds give independent draws elsewhere; the next number draws a voice."""


def non_pain_sounds(
    age_group: AgeGroup,
    duration_s: float,
    seed: int,
    rates: Mapping[str, float] | None = None,
    vocality: Vocality | None = None,
) -> np.ndarray:
    """Synthesise sounds that are not pain, at the mouth and without reverberation.

    Args:
        age_group: `adult` (talk, cough, laughter) or `neonate` (coo, hiccup, cough).
        duration_s: length, not negative.
        seed: not negative; `non_pain_utterances` with the same arguments lists the utterances.
        rates: events per minute by kind, 0 for missing kinds; None for those of `non_pain_sounds.toml`.
        vocality: the subject's voice; None to draw one from the seed.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz in [-1, 1]; talk peaks between -22 and -10 dBFS.

    Raises:
        SettingsError: the age group or a kind is unknown, or a rate or the duration is negative.
    """
    utterances = non_pain_utterances(age_group, duration_s, seed, rates)
    return synthesise_utterances(
        utterances,
        vocality or draw_any_vocality(age_group, np.random.default_rng([_STREAM + 1, seed])),
        duration_s,
        seed,
    )


def non_pain_utterances(
    age_group: AgeGroup, duration_s: float, seed: int, rates: Mapping[str, float] | None = None
) -> tuple[Utterance, ...]:
    """Draw the utterances of `non_pain_sounds` by increasing start, for synthesis and facial motion.

    Events of all kinds together are a Poisson process whose clock stops during events. A cough, a laugh and the like
    consist of several utterances, one for each burst or note.

    Raises:
        SettingsError: as `non_pain_sounds`.
    """
    known = non_pain_sound_params().rates_per_minute.get(age_group)
    if known is None:
        raise SettingsError(f"no sounds for age group {age_group!r}", "choose neonate or adult")
    rates = known if rates is None else rates
    for kind, rate in rates.items():
        if kind not in known or rate < 0.0:
            allowed = ", ".join(known)
            raise SettingsError(
                f"{kind} = {rate} per minute is not possible for age group {age_group}",
                f"the kinds are {allowed}; rates must be 0 or more",
            )
    if duration_s < 0.0:
        raise SettingsError(f"a duration of {duration_s} s is negative", "give 0 or more")
    return tuple(_utterances(rates, duration_s, np.random.default_rng([_STREAM, seed])))


def synthesise_utterances(
    utterances: Sequence[Utterance],
    vocality: Vocality,
    duration_s: float,
    seed: int,
    speaker: Speaker | None = None,
) -> np.ndarray:
    """Synthesise utterances that are not pain in a subject's voice.

    Args:
        utterances: from `non_pain_utterances`.
        vocality: the subject's voice.
        duration_s: length of the result; utterances are cut there.
        seed: not negative.
        speaker: who speaks; None for the synthetic voice.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz in [-1, 1].
    """
    audio = np.zeros(round(duration_s * SAMPLE_RATE_HZ))
    speaker = speaker or SyntheticSpeaker(vocality)
    for number, utterance in enumerate(speaker.arrange(utterances)):
        rng = np.random.default_rng([_STREAM, seed, number])
        add_at(audio, utterance.start_s, speaker.speak(utterance, _NO_PAIN, rng))
    ceiling = 10.0 ** (voice_params().synthesis.ceiling_dbfs / 20.0)
    return np.clip(audio, -ceiling, ceiling).astype(np.float32)


def draw_any_vocality(age_group: AgeGroup, rng: np.random.Generator) -> Vocality:
    """Draw a voice of random sex."""
    sexes: tuple[Sex, ...] = get_args(Sex)
    return draw_vocality(age_group, sexes[int(rng.integers(len(sexes)))], rng)


def _utterances(rates: Mapping[str, float], duration_s: float, rng: np.random.Generator) -> Iterator[Utterance]:
    per_minute = sum(rates.values())
    if per_minute <= 0.0:
        return
    time_s = float(rng.exponential(60.0 / per_minute))
    while time_s < duration_s:
        event = list(_event(pick(rates, rng), time_s, rng))
        yield from (utterance for utterance in event if utterance.start_s < duration_s)
        time_s = max(utterance.start_s + utterance.length_s for utterance in event)
        time_s += float(rng.exponential(60.0 / per_minute))


def _event(kind: str, start_s: float, rng: np.random.Generator) -> Iterator[Utterance]:
    if kind == "talk":
        talking = non_pain_sound_params().talk
        yield Utterance("talk", start_s, float(rng.uniform(*talking.phrase_s)), talking.mouth_open)
        return
    row = non_pain_sound_params().rows[kind]
    for number in range(int(rng.integers(row.times[0], row.times[1] + 1))):
        level_db = number * row.step_db
        if kind == "cough":
            yield from _cough(start_s, level_db, rng)
        else:
            note = {"laughter": "laugh_note", "coo": "coo", "hiccup": "hic"}[kind]
            yield draw_utterance(note, start_s, 0.0, rng, level_db)
        start_s += float(rng.uniform(*row.interval_s))


def _cough(start_s: float, level_db: float, rng: np.random.Generator) -> Iterator[Utterance]:
    burst = draw_utterance("cough_burst", start_s, 0.0, rng, level_db)
    yield burst
    voiced_s = start_s + non_pain_sound_params().cough_voice_delay_share * burst.length_s
    yield draw_utterance("cough_voice", voiced_s, 0.0, rng, level_db)

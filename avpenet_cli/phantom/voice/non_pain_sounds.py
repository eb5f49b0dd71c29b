"""What subjects utter without pain: talk without meaning, coughs, laughter; a newborn's coos and hiccups.

A network that only listens for sound would call these pain; that is what they are for.
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
from avpenet_cli.phantom.voice.phonation import Tracks, controls, phonate, to_samples, vowel_formants
from avpenet_cli.phantom.voice.utterance import Utterance, add_at, draw_utterance, edges, pick, sound_of
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

_NO_PAIN = np.zeros(2)

_STREAM = 2
"""So that the same seed means other chances here than in `voice` and `room`; the next one draws a voice."""


def ordinary_sounds(
    age_group: AgeGroup,
    duration_s: float,
    seed: int,
    rates: Mapping[str, float] | None = None,
    vocality: Vocality | None = None,
) -> np.ndarray:
    """Sounds that are not pain, at the mouth, in a room without echo.

    Args:
        age_group: whose sounds; "adult": talk, cough, laughter; "neonate": coo, hiccup, cough.
        duration_s: length, not negative.
        seed: not negative; `non_pain_utterances` of the same arguments says what sounds when.
        rates: events a minute by kind; a kind that is left out does not occur. None for those of `ordinary.toml`.
        vocality: the subject's voice; None for one drawn from the seed.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz in [-1, 1]; talk peaks between -22 and -10 dBFS.

    Raises:
        SettingsError: an unknown age group or kind, a negative rate or duration.
    """
    utterances = non_pain_utterances(age_group, duration_s, seed, rates)
    return voiced_utterances(
        utterances, vocality or someone(age_group, np.random.default_rng([_STREAM + 1, seed])), duration_s, seed
    )


def non_pain_utterances(
    age_group: AgeGroup, duration_s: float, seed: int, rates: Mapping[str, float] | None = None
) -> tuple[Utterance, ...]:
    """What `ordinary_sounds` utters, in order of time; the face can move by it.

    Events of all kinds together are a Poisson process whose clock stops while something sounds. A cough, a laugh and
    the like are several utterances: one for each burst and each note.

    Raises:
        SettingsError: as `ordinary_sounds`.
    """
    known = non_pain_sound_params().rates_per_minute.get(age_group)
    if known is None:
        raise SettingsError(f"no ordinary sounds for age group {age_group!r}", "choose neonate or adult")
    rates = known if rates is None else rates
    for kind, rate in rates.items():
        if kind not in known or rate < 0.0:
            allowed = ", ".join(known)
            raise SettingsError(
                f"{kind} = {rate} a minute is not possible for a subject of age group {age_group}",
                f"the kinds are {allowed}, the rates 0 or more",
            )
    if duration_s < 0.0:
        raise SettingsError(f"a duration of {duration_s} s is negative", "give 0 or more")
    return tuple(_utterances(rates, duration_s, np.random.default_rng([_STREAM, seed])))


def voiced_utterances(utterances: Sequence[Utterance], vocality: Vocality, duration_s: float, seed: int) -> np.ndarray:
    """Utterances that are not pain in a subject's voice.

    Args:
        utterances: of `non_pain_utterances`, or some of them.
        seed: not negative.

    Returns:
        (round(duration_s * 48000),) float32 at 48 kHz in [-1, 1]; what lies outside is lost.
    """
    sound = np.zeros(round(duration_s * SAMPLE_RATE_HZ))
    for number, utterance in enumerate(utterances):
        rng = np.random.default_rng([_STREAM, seed, number])
        if utterance.kind == "talk":
            part = talk(utterance.length_s, vocality, rng)
        else:
            part = sound_of(utterance, vocality, _NO_PAIN, rng)
        add_at(sound, utterance.start_s, part)
    ceiling = 10.0 ** (voice_params().synthesis.ceiling_dbfs / 20.0)
    return np.clip(sound, -ceiling, ceiling).astype(np.float32)


def someone(age_group: AgeGroup, rng: np.random.Generator) -> Vocality:
    """A voice of either sex."""
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


def talk(length_s: float, vocality: Vocality, rng: np.random.Generator) -> np.ndarray:
    """A phrase of syllables without meaning.

    Returns:
        (samples,) float64 at 48 kHz; its peak is drawn from `level_dbfs` of `ordinary.toml` and the subject's loudness.
    """
    numbers, synthesis = non_pain_sound_params().talk, voice_params().synthesis
    count = controls(length_s)
    ends = np.cumsum(rng.uniform(*numbers.syllable_s, size=int(length_s / numbers.syllable_s[0]) + 1))
    ends = np.append(ends[ends < length_s - numbers.syllable_s[0]], length_s)
    starts = np.append(0.0, ends[:-1])
    time_s = np.arange(count) / synthesis.control_hz
    syllable = np.minimum(np.searchsorted(ends, time_s, side="right"), ends.size - 1)
    within = (time_s - starts[syllable]) / (ends - starts)[syllable]
    opening = np.sin(np.pi * np.clip((within - numbers.closure_share) / (1.0 - numbers.closure_share), 0.0, 1.0))
    vowels = np.array([vowel_formants([name], 1, vocality.tract_length_mm)[0] for name in numbers.vowels])
    closed = vowel_formants([numbers.closed], 1, vocality.tract_length_mm)[0]
    said = vowels[rng.integers(len(vowels), size=ends.size)]
    accents = rng.uniform(-1.0, 1.0, size=ends.size)[syllable] * opening
    falling = 0.5 - time_s / length_s
    f0_hz = vocality.f0_hz * (1.0 + numbers.f0_declination * falling + numbers.f0_accent * accents)
    tracks = Tracks(
        f0_hz=f0_hz,
        voicing=np.ones(count),
        noise=np.full(count, 10.0 ** (numbers.noise_db / 20.0)),
        tilt_db_per_octave=np.full(count, numbers.tilt_db_per_octave),
        roughness=np.zeros(count),
        formants_hz=closed + np.sqrt(opening)[:, None] * (said[syllable] - closed),
    )
    sound = phonate(tracks, vocality, rng)
    loudness = numbers.closure_floor + (1.0 - numbers.closure_floor) * opening
    sound *= to_samples(loudness, sound.size)
    hissing = (rng.random(ends.size) < numbers.fricative_chance)[syllable] & (within < numbers.closure_share)
    sound += _fricatives(hissing, within / numbers.closure_share, vocality, rng)
    sound *= edges(sound.size, numbers.edge_s, numbers.edge_s)
    level_db = rng.uniform(*numbers.level_dbfs) + vocality.loudness_db
    phrase: np.ndarray = 10.0 ** (level_db / 20.0) * sound / np.abs(sound).max()
    return phrase


def _fricatives(hissing: np.ndarray, within: np.ndarray, vocality: Vocality, rng: np.random.Generator) -> np.ndarray:
    """Hiss where `hissing`, swelling and fading as `within` goes from 0 to 1."""
    numbers = non_pain_sound_params().talk
    count = hissing.size
    silent = np.zeros(count)
    noise = np.where(hissing, np.sin(np.pi * np.clip(within, 0.0, 1.0)), 0.0)
    formants_hz = vowel_formants(["hiss"], count, vocality.tract_length_mm)
    hiss = phonate(Tracks(np.ones(count), silent, noise, silent, silent, formants_hz), vocality, rng)
    louder: np.ndarray = 10.0 ** (numbers.fricative_db / 20.0) * hiss
    return louder

"""One utterance: a kind of call or breath, a voice, and how much it hurts meanwhile -> sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal

from avpenet_cli.phantom.parameters.voice_params import (
    PAIN_MAX,
    SAMPLE_RATE_HZ,
    Breath,
    Call,
    Range,
    at_pain,
    non_pain_sound_params,
    voice_params,
)
from avpenet_cli.phantom.voice.phonation import Tracks, controls, phonate, to_samples, vowel_formants
from avpenet_cli.phantom.voice.vocality import Vocality


@dataclass(frozen=True)
class Utterance:
    """Something that a subject utters.

    Attributes:
        kind: a call or breath of `parameters/voice.toml` or `parameters/non_pain_sounds.toml`, or "talk".
        start_s, length_s: when, from the beginning of the recording.
        mouth_open: how far the mouth opens at most, 0 to 1; what a face should show with it.
        level_db: added to the kind's level.
    """

    kind: str
    start_s: float
    length_s: float
    mouth_open: float
    level_db: float = 0.0


def recipe_of(kind: str) -> Call | Breath:
    """The numbers of a kind of utterance.

    Raises:
        KeyError: no such kind.
    """
    voice, ordinary = voice_params(), non_pain_sound_params()
    recipes: dict[str, Call | Breath] = {**voice.calls, **voice.breaths, **ordinary.calls, **ordinary.breaths}
    return recipes[kind]


def draw_utterance(
    kind: str, start_s: float, pain: float, rng: np.random.Generator, level_db: float = 0.0
) -> Utterance:
    """An utterance of this kind at this pain, 0 to 10, with a length drawn from the kind's range."""
    recipe = recipe_of(kind)
    return Utterance(
        kind, start_s, draw_at_pain(recipe.length_s, pain, rng), float(at_pain(recipe.mouth_open, pain)), level_db
    )


def draw_at_pain(ranges: tuple[Range, Range], pain: float, rng: np.random.Generator) -> float:
    """A value from the range that lies between the ranges at pain 0 and 10."""
    low = at_pain((ranges[0][0], ranges[1][0]), pain)
    high = at_pain((ranges[0][1], ranges[1][1]), pain)
    return float(rng.uniform(low, high))


def sound_of(utterance: Utterance, vocality: Vocality, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the utterance sounds like at the mouth, in a room without echo.

    Args:
        pain: (points,) float in [0, 10], evenly over the utterance; at least one.

    Returns:
        (samples,) float64 at 48 kHz, within full scale. The level is the kind's at that pain, with the subject's and
        the utterance's own deviation.
    """
    recipe = recipe_of(utterance.kind)
    synthesis = voice_params().synthesis
    count = controls(utterance.length_s)
    hurting = np.interp(np.linspace(0.0, pain.size - 1.0, count), np.arange(pain.size), pain)
    path = recipe.vowel_paths[int(rng.integers(len(recipe.vowel_paths)))]
    formants_hz = vowel_formants(path, count, vocality.tract_length_mm)
    breaks = np.ones(count)
    if isinstance(recipe, Call):
        tracks, breaks = _call_tracks(recipe, vocality, hurting, formants_hz, rng)
    else:
        tracks = _breath_tracks(formants_hz)
    sound = phonate(tracks, vocality, rng)
    if isinstance(recipe, Breath) and recipe.highpass_hz > 0.0:
        sound = _without_bass(sound, recipe.highpass_hz)
    level_db = at_pain(recipe.level_dbfs, hurting) + utterance.level_db + vocality.loudness_db
    level_db += synthesis.utterance_level_spread_db * rng.standard_normal()
    second_half = np.clip(2.0 * np.linspace(0.0, 1.0, count) - 1.0, 0.0, 1.0)
    level_db -= synthesis.lung_decay_db * second_half
    gain = 10.0 ** (np.minimum(level_db, synthesis.ceiling_dbfs) / 20.0) * breaks
    heard: np.ndarray = sound * to_samples(gain, sound.size) * edges(sound.size, recipe.attack_s, recipe.release_s)
    return heard


def edges(samples: int, attack_s: float, release_s: float) -> np.ndarray:
    """(samples,) float64 in [0, 1] at 48 kHz: rises at the beginning and falls at the end like a squared sine."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    length_s = samples / SAMPLE_RATE_HZ
    # A short utterance keeps the proportion of its edges.
    shrink = min(1.0, length_s / (attack_s + release_s))
    rise = np.clip(time_s / (attack_s * shrink), 0.0, 1.0)
    fall = np.clip((length_s - time_s) / (release_s * shrink), 0.0, 1.0)
    shape: np.ndarray = np.sin(0.5 * np.pi * rise) ** 2 * np.sin(0.5 * np.pi * fall) ** 2
    return shape


def _without_bass(sound: np.ndarray, from_hz: float) -> np.ndarray:
    filtered: np.ndarray = scipy.signal.sosfilt(
        scipy.signal.butter(2, from_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos"), sound
    )
    peak = float(np.abs(filtered).max(initial=0.0))
    return filtered / peak if peak > 0.0 else filtered


def _breath_tracks(formants_hz: np.ndarray) -> Tracks:
    count = len(formants_hz)
    silent, noise = np.zeros(count), np.ones(count)
    return Tracks(noise, silent, noise, silent, silent, formants_hz)


def _call_tracks(
    call: Call, vocality: Vocality, pain: np.ndarray, formants_hz: np.ndarray, rng: np.random.Generator
) -> tuple[Tracks, np.ndarray]:
    """The call's tracks, and (controls,) what its breaks leave of the amplitude."""
    events, synthesis = voice_params().events, voice_params().synthesis
    count = pain.size
    begin_pain = float(pain[0])

    def happens(probability: tuple[float, float]) -> bool:
        return bool(rng.random() < at_pain(probability, begin_pain))

    rough = np.zeros(count)
    if happens(call.rough_chance):
        rough = _stretch(count, rng.uniform(*events.rough_share) * count, events.rough_edge_s, rng)
    shift = np.zeros(count)
    if happens(call.shift_chance):
        shift = _stretch(count, rng.uniform(*events.shift_s) * synthesis.control_hz, events.shift_edge_s, rng)
    breaks = np.ones(count)
    if happens(call.break_chance):
        length = rng.uniform(*events.break_s) * synthesis.control_hz
        breaks -= (1.0 - events.break_floor) * _stretch(count, length, events.shift_edge_s, rng)
    f0_hz = _f0(call, vocality, pain, rng) * (1.0 + (rng.uniform(*events.shift_ratio) - 1.0) * shift)
    breathy_db = at_pain(call.noise_db, pain) + float(
        np.interp(vocality.breathiness, (0.0, 1.0), synthesis.breathiness_db)
    )
    tracks = Tracks(
        f0_hz=f0_hz,
        voicing=np.full(count, call.voicing),
        noise=10.0 ** ((at_pain(call.noise_db, pain) + breathy_db) / 20.0),
        tilt_db_per_octave=at_pain(call.tilt_db_per_octave, pain),
        roughness=rough * at_pain(call.roughness, pain),
        formants_hz=formants_hz,
    )
    return tracks, breaks


def _f0(call: Call, vocality: Vocality, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    synthesis = voice_params().synthesis
    count = pain.size
    melody = _melody(pick(call.melodies, rng), count)
    time_s = np.arange(count) / synthesis.control_hz
    random_drift = np.interp(
        time_s * synthesis.f0_wander_hz,
        np.arange(int(time_s[-1] * synthesis.f0_wander_hz) + 2),
        rng.standard_normal(int(time_s[-1] * synthesis.f0_wander_hz) + 2),
    )
    tremor = vocality.vibrato_depth * np.sin(2.0 * np.pi * (vocality.vibrato_hz * time_s + rng.random()))
    own = 1.0 + synthesis.utterance_f0_spread * rng.standard_normal()
    at_rest = call.f0_ratio[0]
    ratio = at_rest + vocality.f0_response * (at_pain(call.f0_ratio, pain) - at_rest)
    f0_hz: np.ndarray = vocality.f0_hz * own * ratio * (1.0 + at_pain(call.f0_range, pain) * melody)
    return f0_hz * (1.0 + synthesis.f0_wander * random_drift + tremor)


def _melody(name: str, count: int) -> np.ndarray:
    """(count,) float64 about a mean of 0; from the lowest to the highest it is about 1 wide."""
    points = np.array(voice_params().melodies[name])
    at = np.linspace(0.0, points.size - 1.0, count)
    left = np.minimum(at.astype(np.int64), points.size - 2)
    # Level at the given points and smooth between them, as a voice turns.
    share = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    melody = points[left] + share * (points[left + 1] - points[left])
    centred: np.ndarray = melody - melody.mean()
    return centred


def _stretch(count: int, length: float, edge_s: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) float64: 1 over `length` controls somewhere inside, 0 elsewhere, with soft edges."""
    edge = max(1.0, edge_s * voice_params().synthesis.control_hz)
    length = min(length, float(count))
    start = rng.uniform(0.0, count - length)
    at = np.arange(count)
    rise = np.clip((at - start) / edge, 0.0, 1.0)
    fall = np.clip((start + length - at) / edge, 0.0, 1.0)
    stretch: np.ndarray = np.minimum(rise, fall)
    return stretch


def pick(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """A name, with frequencies in proportion to the weights, which need not add up to 1."""
    names: Sequence[str] = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def pain_over(utterance: Utterance, pain: np.ndarray, rate_hz: float) -> np.ndarray:
    """The part of a trajectory that an utterance spans: (points,) float64, at least two.

    Args:
        pain: (n,) float in [0, 10] at `rate_hz`, from time 0.
    """
    at = np.arange(utterance.start_s, utterance.start_s + utterance.length_s + 1.0 / rate_hz, 1.0 / rate_hz)
    spanned: np.ndarray = np.clip(np.interp(at * rate_hz, np.arange(pain.size), pain), 0.0, PAIN_MAX)
    return spanned


def add_at(sound: np.ndarray, start_s: float, part: np.ndarray) -> None:
    """Add a part to a waveform in place; what reaches over the end is lost.

    Args:
        sound: (samples,) float64 at 48 kHz.
        start_s: not before 0.
    """
    start = round(start_s * SAMPLE_RATE_HZ)
    kept = part[: max(0, sound.size - start)]
    sound[start : start + kept.size] += kept

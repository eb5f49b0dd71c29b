"""Synthesise a single utterance from its kind, the subject's voice and the pain during it."""

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
from avpenet_cli.phantom.voice.phonation import Tracks, control_count, phonate, to_samples, vowel_formants
from avpenet_cli.phantom.voice.vocality import Vocality


@dataclass(frozen=True)
class Utterance:
    """An utterance of a subject.

    Attributes:
        kind: a call or breath of `parameters/voice.toml` or `parameters/non_pain_sounds.toml`, or "talk".
        start_s, length_s: start in the recording, and length.
        mouth_open: largest opening of the mouth, [0, 1].
        level_db: added to the level of the kind.
    """

    kind: str
    start_s: float
    length_s: float
    mouth_open: float
    level_db: float = 0.0


def utterance_params(kind: str) -> Call | Breath:
    """Parameters of a kind of utterance.

    Raises:
        KeyError: there is no such kind.
    """
    voice, non_pain = voice_params(), non_pain_sound_params()
    recipes: dict[str, Call | Breath] = {**voice.calls, **voice.breaths, **non_pain.calls, **non_pain.breaths}
    return recipes[kind]


def draw_utterance(
    kind: str, start_s: float, pain: float, rng: np.random.Generator, level_db: float = 0.0
) -> Utterance:
    """Draw an utterance of a kind at a pain in [0, 10]; its length comes from the range of the kind."""
    recipe = utterance_params(kind)
    return Utterance(
        kind, start_s, draw_at_pain(recipe.length_s, pain, rng), float(at_pain(recipe.mouth_open, pain)), level_db
    )


def draw_at_pain(ranges: tuple[Range, Range], pain: float, rng: np.random.Generator) -> float:
    """Draw from the range interpolated between the ranges at pain 0 and 10."""
    low = at_pain((ranges[0][0], ranges[1][0]), pain)
    high = at_pain((ranges[0][1], ranges[1][1]), pain)
    return float(rng.uniform(low, high))


def synthesise(utterance: Utterance, vocality: Vocality, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Synthesise an utterance at the mouth, without reverberation.

    Args:
        utterance: what to synthesise.
        vocality: the subject's voice.
        pain: (points,) float in [0, 10], evenly spaced over the utterance, at least one.
        rng: source of randomness.

    Returns:
        (samples,) float64 at 48 kHz, within full scale. The level depends on kind, pain, subject and utterance.
    """
    recipe = utterance_params(utterance.kind)
    synthesis = voice_params().synthesis
    count = control_count(utterance.length_s)
    pain_track = np.interp(np.linspace(0.0, pain.size - 1.0, count), np.arange(pain.size), pain)
    path = recipe.vowel_paths[int(rng.integers(len(recipe.vowel_paths)))]
    formants_hz = vowel_formants(path, count, vocality.tract_length_mm)
    breaks = np.ones(count)
    if isinstance(recipe, Call):
        tracks, breaks = _call_tracks(recipe, vocality, pain_track, formants_hz, rng)
    else:
        tracks = _breath_tracks(formants_hz)
    audio = phonate(tracks, vocality, rng)
    if isinstance(recipe, Breath) and recipe.highpass_hz > 0.0:
        audio = _without_bass(audio, recipe.highpass_hz)
    level_db = at_pain(recipe.level_dbfs, pain_track) + utterance.level_db + vocality.loudness_db
    level_db += synthesis.utterance_level_spread_db * rng.standard_normal()
    second_half = np.clip(2.0 * np.linspace(0.0, 1.0, count) - 1.0, 0.0, 1.0)
    level_db -= synthesis.lung_decay_db * second_half
    gain = 10.0 ** (np.minimum(level_db, synthesis.ceiling_dbfs) / 20.0) * breaks
    shaped: np.ndarray = audio * to_samples(gain, audio.size) * edges(audio.size, recipe.attack_s, recipe.release_s)
    return shaped


def edges(samples: int, attack_s: float, release_s: float) -> np.ndarray:
    """Envelope (samples,) float64 in [0, 1] at 48 kHz with squared-sine attack and release."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    length_s = samples / SAMPLE_RATE_HZ
    # In short utterances attack and release shrink in proportion.
    shrink = min(1.0, length_s / (attack_s + release_s))
    rise = np.clip(time_s / (attack_s * shrink), 0.0, 1.0)
    fall = np.clip((length_s - time_s) / (release_s * shrink), 0.0, 1.0)
    shape: np.ndarray = np.sin(0.5 * np.pi * rise) ** 2 * np.sin(0.5 * np.pi * fall) ** 2
    return shape


def _without_bass(audio: np.ndarray, from_hz: float) -> np.ndarray:
    filtered: np.ndarray = scipy.signal.sosfilt(
        scipy.signal.butter(2, from_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos"), audio
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
    """Control signals of a call, and (controls,) amplitude factors of its voice breaks."""
    events, synthesis = voice_params().events, voice_params().synthesis
    count = pain.size
    begin_pain = float(pain[0])

    def occurs(probability: tuple[float, float]) -> bool:
        return bool(rng.random() < at_pain(probability, begin_pain))

    rough = np.zeros(count)
    if occurs(call.rough_chance):
        rough = _interval(count, rng.uniform(*events.rough_share) * count, events.rough_edge_s, rng)
    shift = np.zeros(count)
    if occurs(call.shift_chance):
        shift = _interval(count, rng.uniform(*events.shift_s) * synthesis.control_hz, events.shift_edge_s, rng)
    breaks = np.ones(count)
    if occurs(call.break_chance):
        length = rng.uniform(*events.break_s) * synthesis.control_hz
        breaks -= (1.0 - events.break_floor) * _interval(count, length, events.shift_edge_s, rng)
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
        time_s * synthesis.f0_drift_hz,
        np.arange(int(time_s[-1] * synthesis.f0_drift_hz) + 2),
        rng.standard_normal(int(time_s[-1] * synthesis.f0_drift_hz) + 2),
    )
    tremor = vocality.vibrato_depth * np.sin(2.0 * np.pi * (vocality.vibrato_hz * time_s + rng.random()))
    own = 1.0 + synthesis.utterance_f0_spread * rng.standard_normal()
    at_rest = call.f0_ratio[0]
    ratio = at_rest + vocality.f0_response * (at_pain(call.f0_ratio, pain) - at_rest)
    f0_hz: np.ndarray = vocality.f0_hz * own * ratio * (1.0 + at_pain(call.f0_range, pain) * melody)
    return f0_hz * (1.0 + synthesis.f0_drift * random_drift + tremor)


def _melody(name: str, count: int) -> np.ndarray:
    """Melody contour (count,) float64 of mean 0 and range of about 1."""
    points = np.array(voice_params().melodies[name])
    at = np.linspace(0.0, points.size - 1.0, count)
    left = np.minimum(at.astype(np.int64), points.size - 2)
    # Cosine interpolation: level at the points, smooth between them.
    share = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    melody = points[left] + share * (points[left + 1] - points[left])
    centred: np.ndarray = melody - melody.mean()
    return centred


def _interval(count: int, length: float, edge_s: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) float64: 1 over an interval of `length` control values at a random position, 0 elsewhere, soft edges."""
    edge = max(1.0, edge_s * voice_params().synthesis.control_hz)
    length = min(length, float(count))
    start = rng.uniform(0.0, count - length)
    at = np.arange(count)
    rise = np.clip((at - start) / edge, 0.0, 1.0)
    fall = np.clip((start + length - at) / edge, 0.0, 1.0)
    interval: np.ndarray = np.minimum(rise, fall)
    return interval


def pick(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draw a name with probability proportional to its weight."""
    names: Sequence[str] = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def pain_over(utterance: Utterance, pain: np.ndarray, rate_hz: float) -> np.ndarray:
    """Pain during an utterance: (points,) float64, at least two.

    Args:
        pain: (n,) float in [0, 10] at `rate_hz`, from time 0.
    """
    at = np.arange(utterance.start_s, utterance.start_s + utterance.length_s + 1.0 / rate_hz, 1.0 / rate_hz)
    spanned: np.ndarray = np.clip(np.interp(at * rate_hz, np.arange(pain.size), pain), 0.0, PAIN_MAX)
    return spanned


def add_at(audio: np.ndarray, start_s: float, part: np.ndarray) -> None:
    """Add a waveform to another in place, cut at its end.

    Args:
        audio: (samples,) float64 at 48 kHz, modified.
        start_s: position of `part`, not negative.
        part: (samples,) float64 at 48 kHz.
    """
    start = round(start_s * SAMPLE_RATE_HZ)
    kept = part[: max(0, audio.size - start)]
    audio[start : start + kept.size] += kept

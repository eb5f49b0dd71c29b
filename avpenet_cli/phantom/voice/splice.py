"""Change clips in length and pitch, cut them to an utterance, and join them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr

from avpenet_cli.phantom.parameters.recorded_voice_params import recorded_voice_params
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.phantom.voice.clips import CLIP_RATE_HZ, loudness_db

# WSOLA: window, and how far a window may be moved to where its waveform continues the one before. The window spans two
# periods of the lowest voice, the search one.
_WINDOW = round(0.04 * CLIP_RATE_HZ)
_SEARCH = round(0.012 * CLIP_RATE_HZ)


def stretched(audio: np.ndarray, factor: float) -> np.ndarray:
    """Change the length of audio without its pitch, by overlapping similar windows (WSOLA; Verhelst, Roelands 1993).

    Args:
        audio: (samples,) float at 16 kHz.
        factor: length of the result over that of `audio`, positive.

    Returns:
        (round(samples * factor),) float64.
    """
    samples = round(audio.size * factor)
    hop = _WINDOW // 2
    if abs(factor - 1.0) < 1e-3 or audio.size <= 2 * _WINDOW:
        kept = np.zeros(samples)
        kept[: audio.size] = audio[:samples]
        return kept
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)
    # With this lead, the first window's rise lies before the audio.
    padded = np.concatenate([np.zeros(hop + _SEARCH), audio, np.zeros(2 * _WINDOW + _SEARCH)])
    count = -(-samples // hop) + 1
    result = np.zeros((count + 1) * hop)
    position = _SEARCH
    for number in range(count):
        if number:
            wanted = min(round(number * hop / factor) + _SEARCH, padded.size - _WINDOW - _SEARCH)
            continuation = padded[position + hop : position + hop + _WINDOW]
            region = padded[wanted - _SEARCH : wanted + _SEARCH + _WINDOW]
            position = wanted - _SEARCH + int(_similarity(region, continuation).argmax())
        result[number * hop : number * hop + _WINDOW] += window * padded[position : position + _WINDOW]
    return result[hop : hop + samples]


def _similarity(region: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Normalised correlation of `pattern` with each window of `region`."""
    pattern = pattern[: min(pattern.size, region.size)]
    energy = np.cumsum(np.concatenate([[0.0], region**2]))
    energies = energy[pattern.size :] - energy[: -pattern.size]
    similarity: np.ndarray = np.correlate(region, pattern, "valid") / np.sqrt(energies + 1e-9)
    return similarity


def fit_clips(
    clips: Sequence[np.ndarray], length_s: float, semitones: float, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Make an utterance of a length from clips: the first, cut or stretched; where it is too short, the next joined.

    No part of a clip is repeated: where all clips together are too short, the utterance ends early.

    Args:
        clips: (samples,) float at 16 kHz each, of one speaker, at least one, none empty.
        length_s: length of the utterance, positive.
        semitones: shift of the pitch.
        rng: source of randomness.

    Returns:
        (samples,) float64 at 48 kHz, at most `length_s` long, peak near 1; and how many of the clips are in it.
    """
    params = recorded_voice_params().fit
    pitch = 2.0 ** (semitones / 12.0)
    # Positions and lengths before resampling, which raises the pitch and shortens by `pitch`.
    wanted, join = length_s * pitch * CLIP_RATE_HZ, params.join_s * pitch * CLIP_RATE_HZ
    audio, used = np.zeros(0), 0
    rest = float(sum(clip.size for clip in clips))
    for clip in clips:
        missing = wanted - audio.size + (round(join) if audio.size else 0)
        if missing < params.min_piece_s * CLIP_RATE_HZ:
            break
        piece = _piece(clip, missing, missing / (rest * pitch), pitch, rng)
        rest -= clip.size
        used += 1
        audio = _joined(audio, piece, round(join)) if audio.size else piece
    resampled: np.ndarray = soxr.resample(audio, CLIP_RATE_HZ * pitch, SAMPLE_RATE_HZ)
    return resampled[: round(length_s * SAMPLE_RATE_HZ)], used


def _piece(clip: np.ndarray, wanted: float, least_factor: float, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """A clip of a peak near 1, its ends faded, at most about `wanted` samples long.

    Args:
        clip: (samples,) float at 16 kHz.
        wanted: samples that the utterance still lacks, after the stretch by `pitch`.
        least_factor: stretch with which this clip and the rest fill the utterance.
        pitch: factor of the pitch.
        rng: source of randomness.
    """
    params = recorded_voice_params().fit
    shortest, longest = params.stretch
    natural = wanted / (clip.size * pitch)
    if natural < shortest:
        factor = float(rng.uniform(shortest, longest))
        part, at_start, at_end = _cut(clip, min(clip.size, round(wanted / (factor * pitch))), rng)
    else:
        factor = natural if natural < longest else float(rng.uniform(min(max(1.0, least_factor), longest), longest))
        part, at_start, at_end = clip, True, True
    gain = 10.0 ** (-(loudness_db(part) + params.crest_db) / 20.0)
    piece = gain * stretched(part, factor * pitch)
    attack_s = params.natural_attack_s if at_start else params.cut_attack_s
    release_s = params.natural_release_s if at_end else params.cut_release_s
    faded: np.ndarray = piece * _fades(piece.size, round(attack_s * CLIP_RATE_HZ), round(release_s * CLIP_RATE_HZ))
    return faded


def _cut(clip: np.ndarray, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, bool, bool]:
    """The beginning or the end of a clip, whichever is louder, and whether each edge is the clip's own.

    One edge remains the voice's own, so that the utterance has a natural onset or decay.
    """
    begin, end = clip[:samples], clip[clip.size - samples :]
    difference_db = loudness_db(begin) - loudness_db(end) + float(rng.uniform(-3.0, 3.0))
    whole = samples == clip.size
    return (begin, True, whole) if difference_db >= 0.0 else (end, whole, True)


def _fades(samples: int, attack: int, release: int) -> np.ndarray:
    shrink = min(1.0, samples / (attack + release))
    at = np.arange(samples) + 0.5
    rise = np.clip(at / (attack * shrink), 0.0, 1.0)
    fall = np.clip((samples - at) / (release * shrink), 0.0, 1.0)
    shape: np.ndarray = np.sin(0.5 * np.pi * rise) ** 2 * np.sin(0.5 * np.pi * fall) ** 2
    return shape


def _joined(first: np.ndarray, second: np.ndarray, overlap: int) -> np.ndarray:
    """Two pieces whose ends are faded, overlapping."""
    overlap = min(overlap, first.size, second.size)
    joined = np.zeros(first.size + second.size - overlap)
    joined[: first.size] = first
    joined[first.size - overlap :] += second
    return joined

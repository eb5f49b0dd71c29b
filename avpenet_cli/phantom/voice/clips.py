"""Decode clips of recorded voices and cut out what is voice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
import soxr

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.recorded_voice_params import StretchParams, recorded_voice_params

CLIP_RATE_HZ = 16_000
"""Sampling rate of decoded clips; the scoring works at the same."""


@lru_cache(maxsize=256)
def trimmed_clip(path: Path) -> np.ndarray | None:
    """The voice of a clip without the silence, clicks and echoes around it.

    Returns:
        (samples,) float32 at 16 kHz, not to be modified; None where there is silence only.

    Raises:
        SettingsError: the file cannot be decoded.
    """
    params = recorded_voice_params().clips
    audio = _decode(path, params.highpass_hz, params.max_s)
    levels_db = _levels_db(audio, params.frame_s)
    if not levels_db.size or levels_db.max() < params.silent_dbfs:
        return None
    spans = _spans(levels_db > levels_db.max() - params.floor_db, round(params.gap_s / params.frame_s))
    power = 10.0 ** (levels_db / 10.0)
    # Not the loudest span: a click may be louder than the voice, but it is short.
    start, end = max(spans, key=lambda span: float(power[span[0] : span[1]].sum()))
    frame = round(params.frame_s * CLIP_RATE_HZ)
    return _read_only(audio[start * frame : end * frame])


@lru_cache(maxsize=64)
def infant_stretches(path: Path) -> tuple[np.ndarray, ...]:
    """The voiced stretches of a recording of an infant, found by level and periodicity.

    Returns:
        (samples,) float32 at 16 kHz each, not to be modified; empty where no cry is heard.

    Raises:
        SettingsError: the file cannot be decoded.
    """
    params = recorded_voice_params().stretches
    audio = _decode(path, params.highpass_hz, None)
    hop, frame = round(params.hop_s * CLIP_RATE_HZ), round(params.frame_s * CLIP_RATE_HZ)
    if audio.size < frame:
        return ()
    frames = np.lib.stride_tricks.sliding_window_view(audio, frame)[::hop]
    levels_db = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    loudest_db = float(levels_db.max())
    if loudest_db < recorded_voice_params().clips.silent_dbfs:
        return ()
    voiced = (_periodicity(frames, params) > params.periodicity) & (levels_db > loudest_db - params.below_loudest_db)
    margin = round(params.margin_s * CLIP_RATE_HZ)
    return tuple(
        _read_only(audio[max(0, start * hop - margin) : (end - 1) * hop + frame + margin])
        for start, end in _spans(voiced, round(params.gap_s / params.hop_s))
        if (end - start) * params.hop_s >= params.min_s
    )


def loudness_db(audio: np.ndarray) -> float:
    """Level of the loudest part of a clip, dBFS of its RMS."""
    levels_db = _levels_db(audio, recorded_voice_params().fit.loudness_window_s)
    return float(levels_db.max(initial=-120.0))


def _decode(path: Path, highpass_hz: float, max_s: float | None) -> np.ndarray:
    """Decode a file to (samples,) float32 at 16 kHz without the band below `highpass_hz`."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            frames = -1 if max_s is None else round(max_s * file.samplerate)
            samples, rate_hz = file.read(frames, dtype="float32", always_2d=True), file.samplerate
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path} cannot be read as audio ({reason})", "remove or replace the clip") from error
    audio = samples.mean(axis=1)
    if not np.isfinite(audio).all():
        raise SettingsError(f"{path} has samples that are no numbers", "remove or replace the clip")
    if rate_hz != CLIP_RATE_HZ:
        audio = soxr.resample(audio, rate_hz, CLIP_RATE_HZ)
    band = scipy.signal.butter(2, highpass_hz, "highpass", fs=CLIP_RATE_HZ, output="sos")
    filtered: np.ndarray = scipy.signal.sosfilt(band, audio).astype(np.float32)
    return filtered


def _read_only(audio: np.ndarray) -> np.ndarray:
    copy = audio.copy()
    copy.flags.writeable = False
    return copy


def _levels_db(audio: np.ndarray, frame_s: float) -> np.ndarray:
    """RMS level of consecutive frames, dBFS; the rest of the last incomplete frame is left out."""
    frame = min(round(frame_s * CLIP_RATE_HZ), max(1, audio.size))
    frames = audio[: audio.size // frame * frame].reshape(-1, frame)
    levels_db: np.ndarray = 10.0 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)
    return levels_db


def _spans(active: np.ndarray, max_gap: int) -> Iterator[tuple[int, int]]:
    """Runs of true values as (start, end), those at most `max_gap` apart joined."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    runs = edges.reshape(-1, 2).tolist()
    if not runs:
        return
    start, end = runs[0]
    for next_start, next_end in runs[1:]:
        if next_start - end > max_gap:
            yield start, end
            start = next_start
        end = next_end
    yield start, end


def _periodicity(frames: np.ndarray, params: StretchParams) -> np.ndarray:
    """Height of the autocorrelation's peak at a period over its minimum before it, per frame.

    Noise of any colour has no such peak: its autocorrelation falls, and stays low.
    """
    count = frames.shape[1]
    window = np.hanning(count)
    size = scipy.fft.next_fast_len(2 * count, real=True)
    correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(frames * window, size, axis=1)) ** 2, size, axis=1)
    taper = scipy.fft.irfft(np.abs(scipy.fft.rfft(window, size)) ** 2, size)
    longest = int(CLIP_RATE_HZ / params.f0_hz[0])
    shortest = int(CLIP_RATE_HZ / params.f0_hz[1])
    normalised = correlation[:, : longest + 1] / (correlation[:, :1] + 1e-12) * (taper[0] / taper[: longest + 1])
    before = np.minimum.accumulate(normalised, axis=1)
    height: np.ndarray = (normalised - np.maximum(before, 0.0))[:, shortest:].max(axis=1)
    return height

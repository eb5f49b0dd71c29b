"""Cut a recording's audio into segments, each with its (128, 300) log-mel and quality measures, in one pass."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from avpenet_cli.audio.cleaning import clean
from avpenet_cli.audio.framing import block_samples, fixed_blocks
from avpenet_cli.audio.levels import mean_square, power_dbfs
from avpenet_cli.audio.mel import log_mel
from avpenet_cli.audio.noise import NoiseProfile
from avpenet_cli.audio.offset import without_offset
from avpenet_cli.audio.voice import voice_activity
from avpenet_cli.settings import WINDOW_S, AudioSettings


@dataclass(frozen=True, eq=False)
class SegmentAudio:
    """The audio of one segment.

    Attributes:
        mel: (mel_bands, mel_frames) = (128, 300) float32 in [0, 1]; all zeros for a segment without audio.
        cleaned: (samples,) = (48000,) float32, full scale 1, 16 kHz: the denoised audio of the mel; all zeros for a
            segment without audio.
        voiced: share of the segment's voice-activity frames that are voiced, [0, 1].
        level_dbfs: RMS level of the native samples before noise reduction, without a DC offset, over the part of the
            window that lies before the recording's end. None for digital silence, and for a window beyond the end.
        snr_db: level of the same samples above the recording's noise floor, dB. None without level or floor.
        clipped_share: share of the samples as recorded, a DC offset included, at or above full scale, [0, 1].
    """

    mel: np.ndarray
    cleaned: np.ndarray
    voiced: float
    level_dbfs: float | None
    snr_db: float | None
    clipped_share: float


def segments(
    blocks: Iterable[np.ndarray],
    rate_hz: int,
    windows: Sequence[tuple[float, float]],
    profile: NoiseProfile,
    settings: AudioSettings,
    full_scale: float,
) -> Iterator[SegmentAudio]:
    """Cut a recording's audio into segments, each yielded as soon as its samples have been cleaned.

    Holds the current window and about a second of look-ahead, independently of the recording's length. Windows are
    padded with zeros beyond the end; reading stops after the last window.

    Args:
        blocks: contiguous (samples,) float blocks of any length, full scale 1, at `rate_hz`, from time 0.
        rate_hz: sampling rate of `blocks`.
        windows: (start_s, length_s), by increasing start, possibly overlapping; every length is `WINDOW_S`.
        profile: from `survey` of the same recording with the same settings.
        settings: of the audio front end.
        full_scale: magnitude from which a raw sample counts as clipped.

    Returns:
        One record per window, in order.

    Raises:
        ValueError: windows out of order, before time 0 or of another length; a profile that does not fit.
        SettingsError: the settings contradict each other.
        TypeError: a block is not one-dimensional floating point.
    """
    starts_s = [start_s for start_s, _ in windows]
    if any(abs(length_s - WINDOW_S) > 1e-6 for _, length_s in windows):
        raise ValueError(f"every window must be {WINDOW_S} s long")
    if starts_s != sorted(starts_s) or (starts_s and starts_s[0] < 0):
        raise ValueError("windows must start at 0 or later, in increasing order")
    raw, cleaned = _Span(rate_hz), _Span(settings.sample_rate_hz)
    centred = _Span(rate_hz) if profile.has_offset else raw
    working_blocks = _kept(fixed_blocks(blocks, block_samples(rate_hz, settings)), raw)
    if profile.has_offset:
        working_blocks = _kept(without_offset(working_blocks, rate_hz), centred)
    pieces = clean(working_blocks, rate_hz, profile, settings)
    return _cut(pieces, _Spans(raw, centred, cleaned), starts_s, profile, settings, full_scale)


def _kept(blocks: Iterator[np.ndarray], span: _Span) -> Iterator[np.ndarray]:
    """Pass blocks on and keep them in a span."""
    for block in blocks:
        span.append(block)
        yield block


def _cut(
    pieces: Iterator[np.ndarray],
    spans: _Spans,
    starts_s: Sequence[float],
    profile: NoiseProfile,
    settings: AudioSettings,
    full_scale: float,
) -> Iterator[SegmentAudio]:
    pending_starts_s = deque(starts_s)
    if not pending_starts_s:
        return
    for piece in pieces:
        spans.cleaned.append(piece)
        while pending_starts_s and spans.reach(pending_starts_s[0] + WINDOW_S):
            yield _describe(spans, pending_starts_s.popleft(), profile, settings, full_scale)
        if not pending_starts_s:
            return
        spans.forget_before(pending_starts_s[0])
    for start_s in pending_starts_s:
        yield _describe(spans, start_s, profile, settings, full_scale)


def _describe(
    spans: _Spans, start_s: float, profile: NoiseProfile, settings: AudioSettings, full_scale: float
) -> SegmentAudio:
    cleaned, as_recorded, audio = spans.cleaned, spans.raw.window(start_s), spans.centred.window(start_s)
    power = mean_square(audio) if audio.size else 0.0
    level_dbfs = power_dbfs(power)
    clipped_share = float(np.mean(np.abs(as_recorded) >= full_scale)) if as_recorded.size else 0.0
    if level_dbfs is None:
        # Filters and neighbouring frames leak traces of audio into a muted interval, which must not be amplified.
        silent = np.zeros((settings.mel_bands, settings.mel_frames), np.float32)
        return SegmentAudio(silent, np.zeros(cleaned.window_samples, np.float32), 0.0, None, None, clipped_share)
    segment = cleaned.window(start_s)
    segment = np.pad(segment, (0, cleaned.window_samples - segment.size))
    activity = voice_activity(segment, settings, native_rate_hz=spans.raw.rate_hz)
    return SegmentAudio(
        mel=log_mel(segment, settings),
        cleaned=segment,
        voiced=float(activity.mean()) if activity.size else 0.0,
        level_dbfs=level_dbfs,
        snr_db=None if profile.floor_dbfs is None else 10 * math.log10(power) - profile.floor_dbfs,
        clipped_share=clipped_share,
    )


class _Span:
    """The part of a stream that windows can still need."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.window_samples = round(WINDOW_S * rate_hz)
        self._blocks: deque[np.ndarray] = deque()
        self._begin = 0
        self._end = 0

    def append(self, block: np.ndarray) -> None:
        self._blocks.append(block)
        self._end += block.size

    def reaches(self, time_s: float) -> bool:
        """Whether the window that ends at this time is complete, with a margin of one sample for rounding."""
        return self._end > round(time_s * self.rate_hz)

    def window(self, start_s: float) -> np.ndarray:
        """(samples,) float32 of the window that starts here, shorter at the end of the stream."""
        first = round(start_s * self.rate_hz) - self._begin
        if first >= self._end - self._begin:
            return np.zeros(0, np.float32)
        return np.concatenate(self._blocks)[first : first + self.window_samples]

    def forget_before(self, time_s: float) -> None:
        """Drop the blocks that lie entirely before this time."""
        first = round(time_s * self.rate_hz)
        while self._blocks and self._begin + self._blocks[0].size <= first:
            self._begin += self._blocks.popleft().size


@dataclass(frozen=True)
class _Spans:
    """The same audio as recorded, without a DC offset (the same span where there is none), and cleaned."""

    raw: _Span
    centred: _Span
    cleaned: _Span

    def reach(self, time_s: float) -> bool:
        return self.centred.reaches(time_s) and self.cleaned.reaches(time_s)

    def forget_before(self, time_s: float) -> None:
        for span in (self.raw, self.centred, self.cleaned):
            span.forget_before(time_s)

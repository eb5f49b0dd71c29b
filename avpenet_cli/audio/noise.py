"""Estimate the noise of a recording in a first pass (Algorithm 1, stage 1, "N(f) = FFT(x_silent)")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import scipy.fft

from avpenet_cli.audio.framing import Framer, block_samples, fixed_blocks, hann
from avpenet_cli.audio.levels import DIGITAL_SILENCE_DBFS, DIGITAL_SILENCE_POWER, mean_square, power_dbfs
from avpenet_cli.audio.offset import without_offset
from avpenet_cli.errors import RecordingError
from avpenet_cli.settings import AudioSettings

BIN_DB = 0.5
"""Resolution of the level histogram."""

LOUDEST_DBFS = 10.0
"""Louder frames share the last bin; only float tracks beyond full scale reach it."""


@dataclass(frozen=True, eq=False)
class NoiseProfile:
    """The noise of one recording, at its native rate.

    Attributes:
        rule: the `denoise` setting it was estimated for.
        rate_hz: the native sampling rate.
        samples: length of the recording in samples.
        magnitude: (denoise_fft_samples // 2 + 1,) float32, mean STFT magnitude of the noise frames (Hann window,
            no scaling). Zeros without any noise frame, and for the rules that do not subtract it.
        floor_dbfs: RMS level of the quietest `quiet_share` of the frames under every rule: the floor describes the
            recording, while the rule belongs to the weights. None when the recording holds only digital silence or
            less than one frame.
        excerpt: (samples,) float32, the quietest second, kept only for the `noisereduce` rule; else empty.
        has_offset: whether a DC offset was removed before estimating, and must be removed before cleaning.
    """

    rule: str
    rate_hz: int
    samples: int
    magnitude: np.ndarray
    floor_dbfs: float | None
    excerpt: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    has_offset: bool = False


def survey(
    blocks: Iterable[np.ndarray], rate_hz: int, settings: AudioSettings, *, has_offset: bool = False
) -> NoiseProfile:
    """Estimate the noise of a recording in one pass and bounded memory.

    `quietest-frames` takes the quietest `quiet_share` of all frames, without those under `DIGITAL_SILENCE_DBFS` (muted
    audio says nothing about the room) and those that reach beyond an end. It cannot tell the faint hiss that a lossy
    codec leaves in a muted interval from a very quiet room, and then subtracts too little. The opposite error, to take
    the remains of a voice after a noise gate for noise, would be worse.
    `first-frames` takes the first `noise_frames` frames, as the authors' code does.

    Args:
        blocks: contiguous (samples,) float blocks of any length, full scale 1, at `rate_hz`.
        rate_hz: sampling rate of `blocks`.
        settings: of the audio front end.
        has_offset: whether to remove a DC offset first. Otherwise it would count as noise, and quiet as loud.

    Raises:
        RecordingError: `sample_rate`, the rate is not positive.
        SettingsError: the hop is too long for the transform.
        TypeError: a block is not one-dimensional floating point.
    """
    if rate_hz <= 0:
        raise RecordingError("sample_rate", f"the audio stream states a rate of {rate_hz} Hz", "convert the recording")
    framer = Framer(settings.denoise_fft_samples, settings.denoise_hop_samples)
    estimator = _NoiseEstimator(settings)
    quietest_second = _QuietestBlock()
    working_blocks = fixed_blocks(blocks, block_samples(rate_hz, settings))
    for block in without_offset(working_blocks, rate_hz) if has_offset else working_blocks:
        batch = framer.push(block)
        estimator.add(batch.frames, batch.whole)
        if settings.denoise == "noisereduce":
            quietest_second.add(block)
    batch = framer.finish()
    estimator.add(batch.frames, batch.whole)
    return NoiseProfile(
        rule=settings.denoise,
        rate_hz=rate_hz,
        samples=framer.samples,
        magnitude=estimator.magnitude(),
        floor_dbfs=estimator.floor_dbfs(),
        excerpt=quietest_second.samples,
        has_offset=has_offset,
    )


class _NoiseEstimator:
    """Sums frame spectra per level, which gives the quietest share without storing frames."""

    def __init__(self, settings: AudioSettings) -> None:
        self._settings = settings
        self._window = hann(settings.denoise_fft_samples)
        self._window_power = float(np.mean(self._window**2))
        bins = round((LOUDEST_DBFS - DIGITAL_SILENCE_DBFS) / BIN_DB) + 1
        frequencies = settings.denoise_fft_samples // 2 + 1
        self._counts = np.zeros(bins)
        self._powers = np.zeros(bins)
        self._spectra = np.zeros((bins, frequencies))
        self._first_spectrum = np.zeros(frequencies)
        self._first_count = 0

    def add(self, frames: np.ndarray, whole: np.ndarray) -> None:
        """Add frames (frames, fft_samples) float32; `whole` (frames,) bool marks those within the recording."""
        if not len(frames):
            return
        windowed = frames * self._window
        if self._settings.denoise == "first-frames":
            self._add_first(windowed)
        powers = np.mean(np.square(windowed, dtype=np.float64), axis=1) / self._window_power
        audible = whole & (powers >= DIGITAL_SILENCE_POWER)
        if not audible.any():
            return
        windowed, powers = windowed[audible], powers[audible]
        levels = np.floor((10 * np.log10(powers) - DIGITAL_SILENCE_DBFS) / BIN_DB).astype(int)
        bins, member = np.unique(np.minimum(levels, self._counts.size - 1), return_inverse=True)
        membership = (np.arange(bins.size)[:, None] == member).astype(np.float64)
        self._counts[bins] += membership.sum(axis=1)
        self._powers[bins] += membership @ powers
        if self._settings.denoise == "quietest-frames":
            self._spectra[bins] += membership @ np.abs(scipy.fft.rfft(windowed, axis=1))

    def _add_first(self, windowed: np.ndarray) -> None:
        missing = windowed[: self._settings.noise_frames - self._first_count]
        self._first_spectrum += np.abs(scipy.fft.rfft(missing, axis=1)).sum(axis=0)
        self._first_count += len(missing)

    def _weights(self) -> np.ndarray | None:
        """Per level, the fraction of its sum that belongs to the quietest share; None without an audible frame."""
        total = self._counts.sum()
        if not total:
            return None
        quiet_count = self._settings.quiet_share * total
        before = np.cumsum(self._counts) - self._counts
        taken = np.clip(quiet_count - before, 0, self._counts)
        weights: np.ndarray = (
            np.divide(taken, self._counts, out=np.zeros_like(taken), where=self._counts > 0) / quiet_count
        )
        return weights

    def magnitude(self) -> np.ndarray:
        """(frequencies,) float32, mean magnitude of the noise frames under the rule; zeros without noise frames."""
        if self._settings.denoise == "first-frames":
            return (self._first_spectrum / max(1, self._first_count)).astype(np.float32)
        weights = self._weights()
        if weights is None:
            return np.zeros(self._spectra.shape[1], np.float32)
        return (weights @ self._spectra).astype(np.float32)

    def floor_dbfs(self) -> float | None:
        """RMS level of the quietest share of the audible frames, dBFS; None without an audible frame."""
        weights = self._weights()
        return None if weights is None else power_dbfs(float(weights @ self._powers))


class _QuietestBlock:
    """The quietest excerpt of working-block length without digital silence."""

    def __init__(self) -> None:
        self.samples = np.zeros(0, np.float32)
        self._power = np.inf
        self._previous = np.zeros(0, np.float32)

    def add(self, block: np.ndarray) -> None:
        """Consider a block, and the excerpt that straddles it and the block before."""
        half = self._previous.size // 2
        if half:
            self._consider(np.concatenate([self._previous[half:], block[:half]]))
        self._consider(block)
        self._previous = block

    def _consider(self, excerpt: np.ndarray) -> None:
        pieces = np.array_split(excerpt, min(20, excerpt.size))
        power = mean_square(excerpt)
        # An excerpt shortened by the end of the recording serves only where there is no full one.
        full = excerpt.size >= self.samples.size
        if power < self._power and full and all(mean_square(piece) >= DIGITAL_SILENCE_POWER for piece in pieces):
            self.samples, self._power = excerpt, power

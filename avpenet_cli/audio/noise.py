"""Pass one over a recording: what its noise is. Algorithm 1, stage 1, "N(f) = FFT(x_silent)"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import scipy.fft

from avpenet_cli.audio.framing import Framer, block_samples, fixed_blocks, hann
from avpenet_cli.audio.levels import DIGITAL_SILENCE_DBFS, DIGITAL_SILENCE_POWER, mean_square, power_dbfs
from avpenet_cli.errors import RecordingError
from avpenet_cli.settings import AudioSettings

BIN_DB = 0.5
"""Resolution of the level histogram."""

LOUDEST_DBFS = 10.0
"""Everything over this shares the last bin; only float tracks beyond full scale get there."""


@dataclass(frozen=True, eq=False)
class NoiseProfile:
    """The noise of one recording, at its native rate.

    Attributes:
        rule: the `denoise` setting it was learned for.
        rate_hz: the native rate.
        samples: length of the recording.
        magnitude: (denoise_fft_samples // 2 + 1,) float32, mean STFT magnitude of the noise frames (Hann window,
            no scaling). Zeros when there was nothing to learn from, and for the rules that do not subtract it.
        floor_dbfs: RMS level of the quietest `quiet_share` of the frames, whatever the rule: the floor is a fact
            about the recording, while which frames are subtracted is a fact about the weights. None when the
            recording holds nothing but digital silence, or less than one frame.
        excerpt: (samples,) float32, the quietest second, kept only for the `noisereduce` rule; else empty.
    """

    rule: str
    rate_hz: int
    samples: int
    magnitude: np.ndarray
    floor_dbfs: float | None
    excerpt: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def survey(blocks: Iterable[np.ndarray], rate_hz: int, settings: AudioSettings) -> NoiseProfile:
    """Learn the noise of a recording in one read and bounded memory.

    `quietest-frames` takes the quietest `quiet_share` of all frames, leaving out those under
    `DIGITAL_SILENCE_DBFS` (a muted stretch says nothing of the room) and those that reach over an end. A stretch that a
    lossy codec left with faint hiss is not told from a very quiet room: then too little is subtracted. The other
    mistake, to take for noise what a noise gate left of the voice, would be worse.
    `first-frames` takes the first `noise_frames` frames, as the authors' code does.

    Args:
        blocks: contiguous (samples,) float blocks of any length, full scale 1, at `rate_hz`.

    Raises:
        RecordingError: `sample_rate`, a rate that is not positive.
        SettingsError: transform and hop that do not go together.
        TypeError: blocks that are not one-dimensional floating point.
    """
    if rate_hz <= 0:
        raise RecordingError("sample_rate", f"the audio stream states a rate of {rate_hz} Hz", "convert the recording")
    framer = Framer(settings.denoise_fft_samples, settings.denoise_hop_samples)
    learner = _NoiseLearner(settings)
    quietest_second = _QuietestBlock()
    for block in fixed_blocks(blocks, block_samples(rate_hz, settings)):
        batch = framer.push(block)
        learner.add(batch.frames, batch.whole)
        if settings.denoise == "noisereduce":
            quietest_second.add(block)
    batch = framer.finish()
    learner.add(batch.frames, batch.whole)
    return NoiseProfile(
        rule=settings.denoise,
        rate_hz=rate_hz,
        samples=framer.samples,
        magnitude=learner.magnitude(),
        floor_dbfs=learner.floor_dbfs(),
        excerpt=quietest_second.samples,
    )


class _NoiseLearner:
    """Sums of frame spectra per level, so that the quietest share is known without keeping any frame."""

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
        """Take in (frames, fft_samples) float32 and which of them lie within the recording."""
        if not len(frames):
            return
        windowed = frames * self._window
        if self._settings.denoise == "first-frames":
            self._add_first(windowed)
        powers = np.mean(np.square(windowed, dtype=np.float64), axis=1) / self._window_power
        sounding = whole & (powers >= DIGITAL_SILENCE_POWER)
        if not sounding.any():
            return
        windowed, powers = windowed[sounding], powers[sounding]
        levels = np.floor((10 * np.log10(powers) - DIGITAL_SILENCE_DBFS) / BIN_DB).astype(int)
        bins, member = np.unique(np.minimum(levels, self._counts.size - 1), return_inverse=True)
        belongs = (np.arange(bins.size)[:, None] == member).astype(np.float64)
        self._counts[bins] += belongs.sum(axis=1)
        self._powers[bins] += belongs @ powers
        if self._settings.denoise == "quietest-frames":
            self._spectra[bins] += belongs @ np.abs(scipy.fft.rfft(windowed, axis=1))

    def _add_first(self, windowed: np.ndarray) -> None:
        missing = windowed[: self._settings.noise_frames - self._first_count]
        self._first_spectrum += np.abs(scipy.fft.rfft(missing, axis=1)).sum(axis=0)
        self._first_count += len(missing)

    def _weights(self) -> np.ndarray | None:
        """Per level, how much of its sum belongs to the quietest share; None without a sounding frame."""
        total = self._counts.sum()
        if not total:
            return None
        wanted = self._settings.quiet_share * total
        before = np.cumsum(self._counts) - self._counts
        taken = np.clip(wanted - before, 0, self._counts)
        weights: np.ndarray = np.divide(taken, self._counts, out=np.zeros_like(taken), where=self._counts > 0) / wanted
        return weights

    def magnitude(self) -> np.ndarray:
        """(frequencies,) float32, mean magnitude of the noise frames under the rule; zeros without any."""
        if self._settings.denoise == "first-frames":
            return (self._first_spectrum / max(1, self._first_count)).astype(np.float32)
        weights = self._weights()
        if weights is None:
            return np.zeros(self._spectra.shape[1], np.float32)
        return (weights @ self._spectra).astype(np.float32)

    def floor_dbfs(self) -> float | None:
        """RMS level of the quietest share of the sounding frames."""
        weights = self._weights()
        return None if weights is None else power_dbfs(float(weights @ self._powers))


class _QuietestBlock:
    """The quietest stretch of working-block length that holds no digital silence."""

    def __init__(self) -> None:
        self.samples = np.zeros(0, np.float32)
        self._power = np.inf
        self._previous = np.zeros(0, np.float32)

    def add(self, block: np.ndarray) -> None:
        """Consider a block, and the stretch that straddles it and the one before."""
        half = self._previous.size // 2
        if half:
            self._consider(np.concatenate([self._previous[half:], block[:half]]))
        self._consider(block)
        self._previous = block

    def _consider(self, stretch: np.ndarray) -> None:
        pieces = np.array_split(stretch, min(20, stretch.size))
        power = mean_square(stretch)
        # A stretch cut short by the end of the recording serves only if there is no full one.
        full = stretch.size >= self.samples.size
        if power < self._power and full and all(mean_square(piece) >= DIGITAL_SILENCE_POWER for piece in pieces):
            self.samples, self._power = stretch, power

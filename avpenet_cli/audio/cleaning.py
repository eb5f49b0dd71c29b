"""Denoise a recording and resample it to 16 kHz as a stream (Algorithm 1, stages 1 and 2).

Each stage takes blocks through `push` and returns the rest from `finish`. It keeps only the overlap it needs, and its
output equals that for the whole recording at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import scipy.fft
import soxr

from avpenet_cli.audio.framing import Framer, block_samples, fixed_blocks, hann
from avpenet_cli.audio.noise import NoiseProfile
from avpenet_cli.settings import AudioSettings


class Stage(Protocol):
    """One stage of a stream: (samples,) float32 in, (samples,) float32 out, with some delay."""

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block and return the samples that are ready."""

    def finish(self) -> np.ndarray:
        """Return the remaining samples."""


def clean(
    blocks: Iterable[np.ndarray], rate_hz: int, profile: NoiseProfile, settings: AudioSettings
) -> Iterator[np.ndarray]:
    """Denoise a recording and resample it, block by block.

    Args:
        blocks: contiguous (samples,) float blocks of any length, full scale 1, at `rate_hz`, from time 0.
        rate_hz: sampling rate of `blocks`.
        profile: from `survey` of the same recording with the same settings.
        settings: of the audio front end.

    Returns:
        (samples,) float32 blocks at `settings.sample_rate_hz`, in all round(samples * 16000 / rate_hz) samples. The
        result does not depend on the lengths of the input blocks.

    Raises:
        ValueError: the profile is of another rate, rule or transform length.
        SettingsError: the hop is too long for the transform.
        TypeError: a block is not one-dimensional floating point.
    """
    stages = _stages(rate_hz, profile, settings)
    return _run(fixed_blocks(blocks, block_samples(rate_hz, settings)), stages)


def _stages(rate_hz: int, profile: NoiseProfile, settings: AudioSettings) -> list[Stage]:
    frequencies = settings.denoise_fft_samples // 2 + 1
    if (profile.rate_hz, profile.rule, profile.magnitude.size) != (rate_hz, settings.denoise, frequencies):
        raise ValueError(
            f"noise estimated by {profile.rule} at {profile.rate_hz} Hz over {profile.magnitude.size} frequencies "
            f"cannot clean by {settings.denoise} at {rate_hz} Hz over {frequencies}"
        )
    stages: list[Stage] = []
    if profile.magnitude.any():
        stages.append(SpectralSubtraction(profile.magnitude, settings))
    elif profile.excerpt.size >= StationaryGate.MIN_NOISE_SAMPLES:
        stages.append(StationaryGate(rate_hz, profile.excerpt))
    if rate_hz != settings.sample_rate_hz:
        stages.append(Resampler(rate_hz, settings.sample_rate_hz))
    return stages


def _run(blocks: Iterator[np.ndarray], stages: list[Stage]) -> Iterator[np.ndarray]:
    for block in blocks:
        audio = block
        for stage in stages:
            audio = stage.push(audio)
        if audio.size:
            yield audio
    for index, stage in enumerate(stages):
        audio = stage.finish()
        for later in stages[index + 1 :]:
            audio = later.push(audio)
        if audio.size:
            yield audio


class SpectralSubtraction:
    """Spectral subtraction by weighted overlap-add: |X'| = max(|X| - a |N|, b |X|), phase kept (Algorithm 1, stage 1).

    Args:
        magnitude: (fft_samples // 2 + 1,) float32, |N|, the mean magnitude of the noise.
    """

    def __init__(self, magnitude: np.ndarray, settings: AudioSettings) -> None:
        self._fft, self._hop = settings.denoise_fft_samples, settings.denoise_hop_samples
        self._framer = Framer(self._fft, self._hop)
        self._window = hann(self._fft)
        self._noise = settings.over_subtraction * magnitude
        self._floor = settings.spectral_floor
        self._hops_per_frame = -(-self._fft // self._hop)
        self._frame_weight = self._in_hops(self._window[None] ** 2)
        self._sum = np.zeros((self._hops_per_frame - 1, self._hop), np.float32)
        self._weight = np.zeros_like(self._sum)
        self._lead_in = self._fft // 2
        self._samples_out = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """(samples,) float32 at the native rate -> the cleaned samples that no later frame overlaps."""
        return self._emit(self._overlap_add(self._framer.push(block).frames))

    def finish(self) -> np.ndarray:
        """The remaining samples; output and input have the same number of samples in all."""
        last = self._overlap_add(self._framer.finish().frames)
        remainder = self._normalised(self._sum, self._weight)
        emitted_before = self._samples_out
        return self._emit(np.concatenate([last, remainder]))[: self._framer.samples - emitted_before]

    def _emit(self, audio: np.ndarray) -> np.ndarray:
        kept = audio[self._lead_in :]
        self._lead_in -= audio.size - kept.size
        self._samples_out += kept.size
        return kept

    def _overlap_add(self, frames: np.ndarray) -> np.ndarray:
        count = len(frames)
        spectra = scipy.fft.rfft(frames * self._window, axis=1)
        magnitudes = np.abs(spectra)
        kept = np.maximum(magnitudes - self._noise, self._floor * magnitudes)
        spectra *= np.divide(kept, magnitudes, out=np.zeros_like(kept), where=magnitudes > 0)
        pieces = self._in_hops(scipy.fft.irfft(spectra, n=self._fft, axis=1) * self._window)
        total = np.concatenate([self._sum, np.zeros((count, self._hop), np.float32)])
        weight = np.concatenate([self._weight, np.zeros((count, self._hop), np.float32)])
        for hop in range(self._hops_per_frame):
            total[hop : hop + count] += pieces[:, hop]
            weight[hop : hop + count] += self._frame_weight[:, hop]
        self._sum, self._weight = total[count:], weight[count:]
        return self._normalised(total[:count], weight[:count])

    def _in_hops(self, frames: np.ndarray) -> np.ndarray:
        """(frames, fft_samples) -> (frames, hops per frame, hop_samples), zero-padded at the end."""
        padding = self._hops_per_frame * self._hop - self._fft
        return np.pad(frames, ((0, 0), (0, padding))).reshape(len(frames), self._hops_per_frame, self._hop)

    @staticmethod
    def _normalised(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
        audio: np.ndarray = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        return audio.ravel()


class Resampler:
    """Band-limited resampling with libsoxr's HQ filter, which the authors' front end uses through librosa.

    The filter rolls off over the last tenth of the band below the lower Nyquist frequency, so another filter changes
    the top mel bands: by 0.05 for soxr VHQ and by 0.3 for a plain polyphase filter, of the published front end's.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self._stream = soxr.ResampleStream(rate_in_hz, rate_out_hz, 1, dtype="float32", quality="HQ")
        self._ratio = rate_out_hz, rate_in_hz
        self._samples_in = 0
        self._samples_out = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """(samples,) float32 at the native rate -> the samples that are ready at the new rate."""
        self._samples_in += block.size
        return self._resample(block, last=False)

    def finish(self) -> np.ndarray:
        """The remaining samples; the output has round(samples * new rate / native rate) samples in all."""
        missing = round(self._samples_in * self._ratio[0] / self._ratio[1]) - self._samples_out
        tail = self._resample(np.zeros(0, np.float32), last=True)[:missing]
        return np.pad(tail, (0, missing - tail.size))

    def _resample(self, block: np.ndarray, *, last: bool) -> np.ndarray:
        audio: np.ndarray = self._stream.resample_chunk(block, last=last)
        self._samples_out += audio.size
        return audio


class StationaryGate:
    """noisereduce's stationary spectral gate, applied to a fixed grid of blocks with context on both sides.

    Args:
        rate_hz: native rate.
        noise: (samples,) float32, an excerpt of the recording's noise, at least `MIN_NOISE_SAMPLES` long.
    """

    FFT_SAMPLES = 1024
    HOP_SAMPLES = FFT_SAMPLES // 4
    MIN_NOISE_SAMPLES = 2 * FFT_SAMPLES
    BLOCK_S = 4.0
    CONTEXT_S = 0.5

    def __init__(self, rate_hz: int, noise: np.ndarray) -> None:
        self._rate_hz = rate_hz
        self._noise = noise
        # Whole hops align the transforms of neighbouring blocks.
        self._block = self.HOP_SAMPLES * max(1, round(self.BLOCK_S * rate_hz / self.HOP_SAMPLES))
        self._context = self.HOP_SAMPLES * max(4, round(self.CONTEXT_S * rate_hz / self.HOP_SAMPLES))
        self._buffer = np.zeros(0, np.float32)
        self._behind = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """(samples,) float32 at the native rate -> whole gated blocks."""
        self._buffer = np.concatenate([self._buffer, block])
        ready = []
        while self._buffer.size >= self._behind + self._block + self._context:
            gated = self._gate(self._buffer[: self._behind + self._block + self._context])
            ready.append(gated[self._behind : self._behind + self._block])
            done = self._behind + self._block
            self._behind = min(self._context, done)
            self._buffer = self._buffer[done - self._behind :]
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)

    def finish(self) -> np.ndarray:
        """The remaining samples; output and input have the same number of samples in all."""
        return self._gate(self._buffer)[self._behind :] if self._buffer.size > self._behind else np.zeros(0, np.float32)

    def _gate(self, audio: np.ndarray) -> np.ndarray:
        from noisereduce import reduce_noise

        gated: np.ndarray = reduce_noise(
            y=audio,
            sr=self._rate_hz,
            stationary=True,
            y_noise=self._noise,
            n_fft=self.FFT_SAMPLES,
            chunk_size=audio.size + self._noise.size,
            padding=self.FFT_SAMPLES,
            # The defaults of noisereduce, which it refuses where they are finer than the transform's resolution.
            freq_mask_smooth_hz=max(500.0, 2 * self._rate_hz / self.FFT_SAMPLES),
            time_mask_smooth_ms=max(50.0, 1000 * self.HOP_SAMPLES / self._rate_hz),
        )
        return gated.astype(np.float32)

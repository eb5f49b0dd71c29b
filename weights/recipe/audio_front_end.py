"""The audio front end on batches, on any device: waveforms at 16 kHz -> spectrograms as the program computes them.

torchaudio's spectrogram equals `avpenet_cli.audio.mel.log_mel` within 1e-4, and the noise reduction that of
`avpenet_cli.audio` for recordings of one window (`tests/project/test_audio_pretraining.py`).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from avpenet_cli.audio.levels import DIGITAL_SILENCE_DBFS
from avpenet_cli.audio.mel import NO_SIGNAL_PEAK, mel_bank
from avpenet_cli.audio.noise import BIN_DB, LOUDEST_DBFS
from avpenet_cli.settings import AudioSettings

_MIN_SPAN = 1e-8
_BINS = round((LOUDEST_DBFS - DIGITAL_SILENCE_DBFS) / BIN_DB) + 1


class FrontEnd(nn.Module):
    """Noise reduction and log-mel spectrograms; its tensors move with `to(device)`.

    Args:
        settings: of the audio front end; noise is reduced by the rule `quietest-frames`, whatever they say.
    """

    window: Tensor

    def __init__(self, settings: AudioSettings) -> None:
        super().__init__()
        self._settings = settings
        with warnings.catch_warnings():
            # Bands between two frequencies of the transform stay empty, as intended.
            warnings.simplefilter("ignore", UserWarning)
            self._mel = MelSpectrogram(
                sample_rate=settings.sample_rate_hz,
                n_fft=settings.fft_samples,
                hop_length=settings.hop_samples,
                f_min=settings.mel_low_hz,
                f_max=settings.mel_high_hz,
                n_mels=settings.mel_bands,
                power=2.0,
                center=True,
                pad_mode="constant",
                norm="slaney",
                mel_scale="slaney",
            )
        bank = mel_bank(
            settings.sample_rate_hz, settings.fft_samples, settings.mel_bands, settings.mel_low_hz, settings.mel_high_hz
        )
        # torchaudio computes its filters in float32; their rounding errors alone change a spectrogram by 2e-4.
        self._mel.mel_scale.fb.copy_(torch.from_numpy(bank.T.copy()))
        self.register_buffer("window", torch.hann_window(settings.denoise_fft_samples), persistent=False)

    def forward(self, audio: Tensor, end: Tensor, noise: Tensor | None = None) -> Tensor:
        """Reduce the noise, and compute the spectrogram of each waveform.

        Args:
            audio: (B, samples) float32, full scale 1, 16 kHz, zeros from `end` on; 48000 samples for 3 s.
            end: (B,) int64, where each recording ends, in samples.
            noise: (B, fft / 2 + 1) from `noise_magnitude`; None to estimate it from the waveforms themselves.

        Returns:
            (B, 1, 128, 300) float32 in [0, 1].
        """
        spectra = self._stft(audio)
        if noise is None:
            noise = self._magnitude(spectra.abs(), audio, end)
        return self.log_mel(self._subtract(spectra, noise, end, audio.shape[1]))

    def noise_magnitude(self, audio: Tensor, end: Tensor) -> Tensor:
        """Mean magnitude of the quietest frames that are not digital silence, as `avpenet_cli.audio.noise.survey`.

        Args:
            audio: (B, samples) float32, the whole recordings, zeros from `end` on.
            end: (B,) int64, their lengths in samples.

        Returns:
            (B, denoise_fft_samples / 2 + 1) float32; zeros without any such frame.
        """
        return self._magnitude(self._stft(audio).abs(), audio, end)

    def log_mel(self, audio: Tensor) -> Tensor:
        """(B, samples) float32 -> (B, 1, mel_bands, mel_frames) in [0, 1], as `avpenet_cli.audio.mel.log_mel`."""
        peak = audio.abs().amax(dim=1, keepdim=True)
        power = self._mel(audio / peak.clamp(min=NO_SIGNAL_PEAK))
        logs = torch.log(power + self._settings.log_offset)
        lowest, highest = logs.amin(dim=(1, 2), keepdim=True), logs.amax(dim=(1, 2), keepdim=True)
        scaled = ((logs - lowest) / (highest - lowest + _MIN_SPAN))[:, :, : self._settings.mel_frames]
        return torch.where(peak[:, :, None] < NO_SIGNAL_PEAK, 0.0, scaled)[:, None]

    def _stft(self, audio: Tensor) -> Tensor:
        return torch.stft(
            audio,
            self._settings.denoise_fft_samples,
            self._settings.denoise_hop_samples,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )

    def _magnitude(self, magnitudes: Tensor, audio: Tensor, end: Tensor) -> Tensor:
        """Weighs frames by level in bins of `BIN_DB`, as `survey` does to need no memory of single frames."""
        settings = self._settings
        half, frames = settings.denoise_fft_samples // 2, magnitudes.shape[2]
        centre = torch.arange(frames, device=audio.device) * settings.denoise_hop_samples
        whole = (centre >= half) & (centre[None] + half <= end[:, None])
        # Parseval: mean square of the windowed frame from its one-sided spectrum.
        square = magnitudes.square()
        energy = 2 * square.sum(dim=1) - square[:, 0] - square[:, -1]
        power = energy / settings.denoise_fft_samples / self.window.square().sum()
        level = torch.floor((10 * torch.log10(power.clamp(min=1e-20)) - DIGITAL_SILENCE_DBFS) / BIN_DB).long()
        audible = whole & (level >= 0)
        bins = level.clamp(0, _BINS - 1)
        counts = torch.zeros((len(audio), _BINS), device=audio.device).scatter_add_(1, bins, audible.float())
        quiet = settings.quiet_share * counts.sum(dim=1, keepdim=True)
        taken = torch.minimum((quiet - (counts.cumsum(dim=1) - counts)).clamp(min=0), counts)
        share = taken / counts.clamp(min=1) / quiet.clamp(min=1e-6)
        weights = torch.where(audible, share.gather(1, bins), 0.0)
        return torch.einsum("bft,bt->bf", magnitudes, weights)

    def _subtract(self, spectra: Tensor, noise: Tensor, end: Tensor, samples: int) -> Tensor:
        settings = self._settings
        magnitudes = spectra.abs()
        kept = torch.maximum(
            magnitudes - settings.over_subtraction * noise[:, :, None], settings.spectral_floor * magnitudes
        )
        cleaned = torch.istft(
            spectra * (kept / magnitudes.clamp(min=1e-20)),
            settings.denoise_fft_samples,
            settings.denoise_hop_samples,
            window=self.window,
            center=True,
            length=samples,
        )
        return torch.where(torch.arange(samples, device=spectra.device) < end[:, None], cleaned, 0.0)

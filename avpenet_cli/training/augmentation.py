"""Training augmentation: the waveform before its spectrogram, the face crops, and mixup of both.

Everything is a pure function of its arguments and the rng.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import soxr

from avpenet_cli.training.settings import AudioAugmentation, FaceAugmentation

_PAPER_CROP_PX = 224
_FFT_SAMPLES, _HOP_SAMPLES = 2048, 512
"""Of the phase vocoder: librosa's defaults."""


def add_noise(waveform: np.ndarray, snr_db: float, noise: np.ndarray) -> np.ndarray:
    """Add noise at a signal-to-noise ratio relative to the waveform's own mean power.

    Args:
        waveform: (samples,) float32, full scale 1.
        snr_db: signal-to-noise ratio, dB.
        noise: (samples,) float32 of unit power.

    Returns:
        (samples,) float32, not normalised again; a silent waveform is returned unchanged.
    """
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return waveform + np.float32(np.sqrt(power / 10 ** (snr_db / 10))) * noise


def stretch_time(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Change the speed and keep the pitch, by torchaudio's phase vocoder; `librosa.effects.time_stretch`.

    In double precision, where the two are equal: in single precision the rounding of the accumulated phases alone
    changes a spectrogram by 5e-3.

    Args:
        waveform: (samples,), full scale 1.
        speed: above 1 is faster and shorter.

    Returns:
        (samples / speed, rounded,) float64.
    """
    import torch
    from torchaudio.functional import phase_vocoder

    window = torch.hann_window(_FFT_SAMPLES, dtype=torch.float64)
    spectrum = torch.stft(
        torch.from_numpy(waveform.astype(np.float64)),
        _FFT_SAMPLES,
        _HOP_SAMPLES,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    advance = torch.linspace(0, np.pi * _HOP_SAMPLES, len(spectrum), dtype=torch.float64)[:, None]
    stretched = phase_vocoder(spectrum, speed, advance)
    samples = round(len(waveform) / speed)
    audio: np.ndarray = torch.istft(stretched, _FFT_SAMPLES, _HOP_SAMPLES, window=window, length=samples).numpy()
    return audio


def shift_pitch(waveform: np.ndarray, semitones: float) -> np.ndarray:
    """Change the pitch and keep the length, by stretching and resampling; `librosa.effects.pitch_shift`.

    Args:
        waveform: (samples,), full scale 1.
        semitones: above 0 is higher.

    Returns:
        (samples,) float64.
    """
    speed = 2.0 ** (-semitones / 12)
    audio = soxr.resample(stretch_time(waveform, speed), 1.0, speed, "HQ")[: len(waveform)]
    return np.pad(audio, (0, len(waveform) - len(audio)))


def augment_audio(waveform: np.ndarray, settings: AudioAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Time stretch, pitch shift and white noise, each with the same probability, independently.

    Args:
        waveform: (samples,) float32, full scale 1.

    Returns:
        (n,) float32; n is at most `samples`, less where the audio was sped up: the spectrogram is padded instead of the
        waveform, which would add digital silence. A silent waveform is returned unchanged.
    """
    # All draws come first, so that no transform shifts the draws of the others.
    chosen = rng.random(3) < settings.probability
    speed = rng.uniform(*settings.stretch)
    semitones = rng.uniform(-settings.pitch_semitones, settings.pitch_semitones)
    snr_db = rng.uniform(*settings.noise_snr_db)
    noise = rng.standard_normal(len(waveform)).astype(np.float32)
    if not waveform.any():
        return waveform
    audio = waveform
    if chosen[0]:
        audio = stretch_time(audio, speed)[: len(waveform)]
    if chosen[1]:
        audio = shift_pitch(audio, semitones)
    if chosen[2]:
        audio = add_noise(audio, snr_db, noise[: len(audio)])
    return np.ascontiguousarray(audio, np.float32)


def augment_faces(faces: np.ndarray, settings: FaceAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Mirror, rotate, shift, scale, and change brightness and contrast, in the same way for all crops of a segment.

    Args:
        faces: (k, side, side, 3) uint8 RGB.

    Returns:
        Same shape and type; black outside the crop, as for a face at the border of a frame.
    """
    augment = rng.random() < settings.probability
    angle_deg = rng.uniform(-settings.rotation_deg, settings.rotation_deg)
    shift_px = rng.uniform(-settings.translation_px, settings.translation_px, 2)
    scale = rng.uniform(*settings.scale)
    brightness = 1 + rng.uniform(-settings.brightness, settings.brightness)
    contrast = 1 + rng.uniform(-settings.contrast, settings.contrast)
    mirrored = rng.random() < settings.mirror
    if not augment or not len(faces):
        return faces
    side = faces.shape[1]
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), angle_deg, scale)
    matrix[:, 2] += shift_px * (side / _PAPER_CROP_PX)
    out = np.empty_like(faces)
    if mirrored:
        faces = faces[:, :, ::-1]
    for number, face in enumerate(np.ascontiguousarray(faces)):
        warped = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        bright = warped.astype(np.float32) * brightness
        mean = bright.mean()
        out[number] = np.clip(np.rint(mean + contrast * (bright - mean)), 0, 255).astype(np.uint8)
    return out


class Mixing(NamedTuple):
    """Mixup of a batch.

    Attributes:
        share: weight of the segment itself; its partner has the rest.
        partner: (B,) int64, index of each segment's partner in the batch.
    """

    share: float
    partner: np.ndarray


def draw_mixing(size: int, alpha: float, rng: np.random.Generator) -> Mixing | None:
    """Draw mixup (Zhang et al. 2018, arXiv 1710.09412): one share per batch from Beta(alpha, alpha), random partners.

    Args:
        size: B, segments in the batch.
        alpha: 0 for no mixup.

    Returns:
        None without mixup.
    """
    if alpha == 0.0 or size < 2:
        return None
    return Mixing(float(rng.beta(alpha, alpha)), rng.permutation(size))


def partner_faces(counts: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Index of the face that each face is mixed with, in a batch whose segments' faces are concatenated.

    The i-th face of a segment is mixed with the i-th of its partner, modulo their number, so that every face is mixed
    in the same proportion as the target.

    Args:
        counts: (B,) int64, number of faces of each segment.
        partner: (B,) int64, as `Mixing.partner`.

    Returns:
        (sum of counts,) int64; a face of a segment whose partner has none is mixed with itself.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    indices = [
        starts[other] + np.arange(count) % counts[other] if counts[other] else starts[own] + np.arange(count)
        for own, (count, other) in enumerate(zip(counts, partner, strict=True))
    ]
    return np.concatenate(indices).astype(np.int64) if indices else np.empty(0, np.int64)

"""Training augmentation of METHOD.md: the waveform before its spectrogram, the face crops, and mixup of both.

Everything is a pure function of its arguments and the generator.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from avpenet_cli.training.settings import AudioAugmentation, FaceAugmentation

_ARTICLE_CROP_PX = 224


def with_noise(waveform: np.ndarray, snr_db: float, noise: np.ndarray) -> np.ndarray:
    """Noise added at a signal-to-noise ratio re the waveform's own mean power.

    Args:
        waveform: (samples,) float32, full scale 1.
        noise: (samples,) float32 of unit power.

    Returns:
        (samples,) float32, not normalised again; a silent waveform comes back as it is.
    """
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return waveform + np.float32(np.sqrt(power / 10 ** (snr_db / 10))) * noise


def augmented_audio(
    waveform: np.ndarray, rate_hz: int, settings: AudioAugmentation, generator: np.random.Generator
) -> np.ndarray:
    """Time stretch, pitch shift and white noise, each with its probability.

    Args:
        waveform: (samples,) float32, full scale 1.
        rate_hz: of the waveform.

    Returns:
        (n,) float32; n is at most `samples`, less where the sound was made faster: the spectrogram is padded, not the
        sound, which would gain a silence deeper than any in it. A silent waveform comes back as it is.
    """
    # All draws come first: what one of them does cannot shift the others'.
    chosen = generator.random(3) < settings.probability
    speed = generator.uniform(*settings.stretch)
    semitones = generator.uniform(-settings.pitch_semitones, settings.pitch_semitones)
    snr_db = generator.uniform(*settings.noise_snr_db)
    noise = generator.standard_normal(len(waveform)).astype(np.float32)
    if not waveform.any():
        return waveform
    from librosa.effects import pitch_shift, time_stretch

    sound = waveform
    if chosen[0]:
        sound = time_stretch(sound, rate=speed)[: len(waveform)]
    if chosen[1]:
        sound = pitch_shift(sound, sr=rate_hz, n_steps=semitones)
    if chosen[2]:
        sound = with_noise(sound, snr_db, noise[: len(sound)])
    return np.ascontiguousarray(sound, np.float32)


def augmented_faces(faces: np.ndarray, settings: FaceAugmentation, generator: np.random.Generator) -> np.ndarray:
    """Mirror, turn, shift, scale, brighten and change the contrast of all crops of a segment alike.

    Args:
        faces: (k, side, side, 3) uint8 RGB.

    Returns:
        Same shape and type; black where the crop ends, as where a face lay at the border of the frame.
    """
    drawn = generator.random() < settings.probability
    angle_deg = generator.uniform(-settings.rotation_deg, settings.rotation_deg)
    shift_px = generator.uniform(-settings.translation_px, settings.translation_px, 2)
    scale = generator.uniform(*settings.scale)
    brightness = 1 + generator.uniform(-settings.brightness, settings.brightness)
    contrast = 1 + generator.uniform(-settings.contrast, settings.contrast)
    mirrored = generator.random() < settings.mirror
    if not drawn or not len(faces):
        return faces
    side = faces.shape[1]
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), angle_deg, scale)
    matrix[:, 2] += shift_px * (side / _ARTICLE_CROP_PX)
    out = np.empty_like(faces)
    if mirrored:
        faces = faces[:, :, ::-1]
    for place, face in enumerate(np.ascontiguousarray(faces)):
        turned = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        bright = turned.astype(np.float32) * brightness
        mean = bright.mean()
        out[place] = np.clip(np.rint(mean + contrast * (bright - mean)), 0, 255).astype(np.uint8)
    return out


class Mixing(NamedTuple):
    """How a batch is mixed.

    Attributes:
        share: of the segment itself; the rest is its partner's.
        partner: (B,) int64, which segment of the batch each is mixed with.
    """

    share: float
    partner: np.ndarray


def draw_mixing(size: int, alpha: float, generator: np.random.Generator) -> Mixing | None:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): one share a batch from Beta(alpha, alpha), partners at random.

    Args:
        size: B, segments in the batch.
        alpha: 0 for none.

    Returns:
        None where nothing is mixed.
    """
    if alpha == 0.0 or size < 2:
        return None
    return Mixing(float(generator.beta(alpha, alpha)), generator.permutation(size))


def partner_faces(counts: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Which face each face is mixed with, in a batch whose segments' faces lie one after the other.

    The i-th face of a segment meets the i-th of its partner, which begins again when it has fewer: so every face is
    mixed in the same proportion as the target.

    Args:
        counts: (B,) int64, faces of each segment.
        partner: (B,) int64.

    Returns:
        (sum of counts,) int64; a face of a segment whose partner has none is mixed with itself.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    found = [
        starts[other] + np.arange(count) % counts[other] if counts[other] else starts[own] + np.arange(count)
        for own, (count, other) in enumerate(zip(counts, partner, strict=True))
    ]
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)

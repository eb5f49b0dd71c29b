"""Inputs and targets for pretraining the encoders, and their augmentation."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.phantom.scene import Scene
from avpenet_cli.settings import FRAME_STEP_S, FRAMES_PER_WINDOW
from weights.recipe.extra_subjects import load_extra_audio, load_extra_faces, utterance_shares


def load_faces(
    store: SegmentStore, scenes: dict[str, Scene], split: Split, side_px: int, every: int, extra: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Faces of every `every`th frame, each frame once, and those of the extra subjects.

    Returns:
        Crops (n, 3, side, side) uint8, and (n, 10) float32: nine action units, then the segment's pain, 0 to 10, which
        is NaN for an extra subject.
    """
    faces, units = [], []
    for row in store.rated(split):
        scene = scenes[str(store.index["recording"].iloc[row])]
        step = max(every, math.ceil(1 / (scene.fps * FRAME_STEP_S) - 1e-6))
        segment = store.segment(int(row), range(int(row) % step, FRAMES_PER_WINDOW, step))
        start_s = float(store.index["start_s"].iloc[row])
        for face, index in zip(segment.faces, segment.frame_indices, strict=True):
            small = face if side_px == len(face) else cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_AREA)
            frame = int((start_s + (index + 0.5) * FRAME_STEP_S) * scene.fps)
            faces.append(small)
            action_units = scene.motion.units[min(frame, len(scene.motion.units) - 1)]
            units.append(np.append(action_units, segment.reference))
    if extra:
        extra_faces, extra_units = load_extra_faces(extra, side_px)
        faces += extra_faces
        units += [np.append(values, math.nan) for values in extra_units]
    crops = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2)
    return crops, torch.from_numpy(np.stack(units).astype(np.float32))


def load_audio(
    store: SegmentStore, scenes: dict[str, Scene], split: Split, kinds: list[str], extra: Path | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Spectrograms (n, 1, 128, 300), utterance shares (n, 10, kinds) and pain (n,), float32 each."""
    mels, shares, pain = [], [], []
    for row in store.rated(split):
        segment = store.segment(int(row), ())
        mels.append(segment.spectrogram[None])
        shares.append(utterance_shares(scenes[segment.recording], float(store.index["start_s"].iloc[row]), kinds))
        pain.append(segment.reference)
    if extra:
        extra_mels, extra_shares, extra_pain = load_extra_audio(extra, kinds)
        mels += list(extra_mels)
        shares += list(extra_shares)
        pain += extra_pain.tolist()
    return (
        torch.from_numpy(np.stack(mels)),
        torch.from_numpy(np.stack(shares)),
        torch.tensor(pain, dtype=torch.float32),
    )


def augment_faces(faces: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror, rotate, shift, scale and relight each face independently, and cover part of some.

    Args:
        faces: (n, 3, side, side) float32 in [0, 1].
    """
    n = len(faces)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *shape), generator=rng)

    angle, scale = draw(-0.3, 0.3), draw(0.88, 1.12)
    flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = draw(-0.12, 0.12, 2)
    transform = torch.stack([flip * cosine, -sine, shift[:, 0], flip * sine, cosine, shift[:, 1]], dim=1).view(n, 2, 3)
    moved = grid_sample(faces, affine_grid(transform, list(faces.shape), align_corners=False), align_corners=False)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    lit = (mean + draw(0.7, 1.3, 1, 1, 1) * (moved - mean)) * draw(0.75, 1.25, 1, 1, 1) * draw(0.9, 1.1, 3, 1, 1)
    side = faces.shape[-1]
    at = torch.arange(side) / side
    centre, half = draw(0.0, 1.0, 2), draw(0.08, 0.22, 2)
    across, down = ((at - centre[:, axis, None]).abs() < half[:, axis, None] for axis in (0, 1))
    covered = across[:, None, :] & down[:, :, None] & (torch.rand(n, generator=rng) < 0.3)[:, None, None]
    return torch.where(covered[:, None], draw(0.0, 1.0, 3, 1, 1), lit).clamp(0.0, 1.0)


def augment_spectrograms(mels: Tensor, rng: torch.Generator) -> Tensor:
    """Add noise, change contrast and mask frequency bands of each spectrogram independently (SpecAugment, 2019)."""
    n = len(mels)
    out = mels ** (0.7 + 0.7 * torch.rand((n, 1, 1, 1), generator=rng))
    out = out + 0.06 * torch.rand((n, 1, 1, 1), generator=rng) * torch.randn(mels.shape, generator=rng)
    band = torch.arange(mels.shape[2])
    for _ in range(2):
        start = torch.randint(0, mels.shape[2], (n, 1), generator=rng)
        width = torch.randint(0, 14, (n, 1), generator=rng)
        out = out.masked_fill(((band >= start) & (band < start + width))[:, None, :, None], 0.0)
    return out.clamp(0.0, 1.0)

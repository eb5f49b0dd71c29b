"""Token sequences of segments: missing and masked ones, and their places in the segment's time.

A segment has 30 places for faces, and its audio tokens have an equal share of its time each. A token of zeros stands
for a missing modality.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avpenet_cli.model.network import PainNetwork
from avpenet_cli.settings import FRAMES_PER_WINDOW


class PresentTokens(NamedTuple):
    """Both token sequences of a batch of segments, ready to be fused.

    Attributes:
        audio: (B, Ta, Da) float32.
        face: (B, T, Dv) float32, T at least 1; zeros where masked.
        mask: (B, T) bool with at least one True per row, or None for all.
        places: (B, T) int64, or None for 0 to T - 1.
    """

    audio: Tensor
    face: Tensor
    mask: Tensor | None
    places: Tensor | None


def present_tokens(
    network: PainNetwork,
    audio: Tensor | None,
    face: Tensor | None,
    mask: Tensor | None,
    places: Tensor | None = None,
    audio_dim: int | None = None,
    face_dim: int | None = None,
) -> PresentTokens:
    """Put one token of zeros in place of a missing modality, and zeros in place of masked faces, whatever they are.

    Args:
        network: says which modality a segment may lack.
        audio, face, mask, places: the arguments of `PainNetwork.score`.
        audio_dim, face_dim: dimension of the tokens; None for that of the other modality.

    Raises:
        ValueError: a modality is missing that may not be, or both are.
    """
    if audio is None and face is None:
        raise ValueError("neither audio nor face tokens: nothing to score")
    if audio is None:
        network.allow_missing("audio")
        assert face is not None
        audio = face.new_zeros((len(face), 1, audio_dim or face.shape[-1]))
    if face is None or not face.shape[1]:
        network.allow_missing("face")
        return PresentTokens(audio, audio.new_zeros((len(audio), 1, face_dim or audio.shape[-1])), None, None)
    return PresentTokens(audio, *present_faces(network, face, mask), places)


def present_faces(network: PainNetwork, face: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As `present_tokens`, for faces alone: (B, T, Dv) and (B, T) or None -> `face` and `mask` of `PresentTokens`."""
    if mask is None:
        return face, None
    # A masked token may contain NaN, and NaN times a weight of zero is NaN.
    face = face.masked_fill(~mask.unsqueeze(-1), 0.0)
    faceless = ~mask.any(dim=1)
    if bool(faceless.any()):
        network.allow_missing("face")
        mask = mask.clone()
        mask[faceless, 0] = True
    return face, mask


def is_present(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Which tokens are neither masked nor stand for a missing modality; never waits for the device.

    Args:
        tokens: (B, T, D) float32.
        mask: (B, T) bool, or None for all.

    Returns:
        (B, T) bool.
    """
    present = (tokens != 0).any(dim=-1)
    return present if mask is None else present & mask


def places_of_faces(face: Tensor, places: Tensor | None) -> Tensor:
    """The places of the faces among the segment's 30 frames, in range also where a face is masked.

    Args:
        face: (B, T, D) float32, T at most 30.
        places: (B, T) int64, or None for 0 to T - 1.

    Returns:
        (B, T) or (1, T) int64 from 0 to 29.
    """
    if places is None:
        places = torch.arange(face.shape[1], device=face.device)[None]
    return places.clamp(0, FRAMES_PER_WINDOW - 1)


def places_of_audio(count: int, device: torch.device) -> Tensor:
    """The place of the frame in the middle of each of `count` audio tokens: (count,) int64."""
    return (2 * torch.arange(count, device=device) + 1) * FRAMES_PER_WINDOW // (2 * count)


def mean_by_step(values: Tensor, present: Tensor, places: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Mean of each time step's faces.

    Args:
        values: (B, T, D) float32; finite also where not present.
        present: (B, T) bool.
        places: (B, T) or (1, T) int64 from 0 to 29.
        steps: number of steps; a divisor of 30.

    Returns:
        (B, steps, D) float32, zeros where a step has no face, and (B, steps) bool, whether it has one.
    """
    step = places // (FRAMES_PER_WINDOW // steps)
    # A product of matrices and not `index_add_`, whose sums on a GPU depend on the order of threads.
    belongs = (step[:, None] == torch.arange(steps, device=places.device)[:, None]) & present[:, None]
    weights = belongs.to(values.dtype)
    count = weights.sum(dim=-1)
    return weights @ values / count.clamp(min=1).unsqueeze(-1), count > 0


def on_grid(tokens: Tensor, steps: int) -> Tensor:
    """Tokens (B, T, D) in time order resampled to (B, steps, D): means where there are more, repeats where fewer."""
    if tokens.shape[1] == steps:
        return tokens
    return torch.nn.functional.adaptive_avg_pool1d(tokens.transpose(1, 2), steps).transpose(1, 2)

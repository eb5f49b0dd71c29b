"""Cross-modal fusion: bidirectional attention between audio and face tokens (equations 9-20)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avpenet_cli.model.encoders import EMBEDDING

HEADS = 8
HEAD_DIM = EMBEDDING // HEADS
"""Dimension d_k of a head, 64."""


class Fused(NamedTuple):
    """Output of the fusion.

    Attributes:
        fused: (B, 512) float32.
        audio_to_face: (B, 8, Ta, Tv) float32, attention of each audio token over the face tokens; rows sum to 1. None
            for fusions without it.
        face_to_audio: (B, 8, Tv, Ta) float32, attention of each face token over the audio tokens; rows sum to 1. None
            for fusions without it.
    """

    fused: Tensor
    audio_to_face: Tensor | None = None
    face_to_audio: Tensor | None = None


def token_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the unmasked tokens.

    Args:
        tokens: (B, T, D) float32.
        mask: (B, T) bool with at least one True per row, or None for all.

    Returns:
        (B, D) float32.
    """
    if mask is None:
        return tokens.mean(dim=1)
    kept = tokens.masked_fill(~mask.unsqueeze(-1), 0.0)
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True)


class CrossAttention(nn.Module):
    """Multi-head scaled dot-product attention of one modality over the other (equations 11-15)."""

    def __init__(self) -> None:
        super().__init__()
        self.W_Q = nn.Linear(EMBEDDING, EMBEDDING, bias=False)
        self.W_K = nn.Linear(EMBEDDING, EMBEDDING, bias=False)
        self.W_V = nn.Linear(EMBEDDING, EMBEDDING, bias=False)
        self.W_O = nn.Linear(EMBEDDING, EMBEDDING, bias=False)

    def forward(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Attend from the queries to the keys.

        Args:
            queries: (B, Tq, 512) float32.
            keys: (B, Tk, 512) float32, also the values.
            key_mask: (B, Tk) bool with at least one True per row, or None for all.

        Returns:
            (B, Tq, 512) float32 and the attention map (B, 8, Tq, Tk) float32.
        """
        q, k, v = (
            w(x).unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)
            for w, x in ((self.W_Q, queries), (self.W_K, keys), (self.W_V, keys))
        )
        similarity = q @ k.transpose(-2, -1) / math.sqrt(HEAD_DIM)
        if key_mask is not None:
            similarity = similarity.masked_fill(~key_mask[:, None, None, :], -math.inf)
        weights = similarity.softmax(dim=-1)
        attended = (weights @ v).transpose(1, 2).flatten(-2)
        return self.W_O(attended), weights


def feed_forward(features: int) -> nn.Sequential:
    """Linear 1024, ReLU, dropout 0.3, linear 512, as in the published fusion, for that many features."""
    return nn.Sequential(
        nn.Linear(features, 2 * EMBEDDING), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2 * EMBEDDING, EMBEDDING)
    )


class CrossModalFusion(nn.Module):
    """[e_a; o_av; e_v; o_va] -> linear 1024, ReLU, dropout 0.3 -> linear 512 -> LayerNorm (equations 9-20).

    With one token per modality this is the published model; with more, each of the four parts is a mean over tokens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.W_a = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_v = nn.Linear(EMBEDDING, EMBEDDING)
        # Not `torch.randn`: on the `meta` device, where networks are built, it imports torch's compiler for seconds.
        self.p_a = nn.Parameter(torch.empty(EMBEDDING).uniform_(-0.035, 0.035))
        self.p_v = nn.Parameter(torch.empty(EMBEDDING).uniform_(-0.035, 0.035))
        self.audio_to_visual_attn = CrossAttention()
        self.visual_to_audio_attn = CrossAttention()
        self.ff = feed_forward(4 * EMBEDDING)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(
        self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None = None
    ) -> Fused:
        """Fuse two token sequences.

        Args:
            audio: (B, Ta, 512) float32.
            face: (B, Tv, 512) float32.
            face_mask: (B, Tv) bool with at least one True per row, or None for all. Masked tokens have no effect,
                whatever their values.
            face_places: (B, Tv) int64, index of each face among the segment's 30 frames, or None for 0 to Tv - 1; only
                fusions that know of time use it.
        """
        if face_mask is not None:
            # A masked token may contain NaN, and NaN times a weight of zero is NaN.
            # Not `torch.where`, which copies its zero to the device: no CUDA graph may contain that.
            face = face.masked_fill(~face_mask.unsqueeze(-1), 0.0)
        z_a = self.W_a(audio) + self.p_a
        z_v = self.W_v(face) + self.p_v
        o_av, audio_to_face = self.audio_to_visual_attn(z_a, z_v, face_mask)
        o_va, face_to_audio = self.visual_to_audio_attn(z_v, z_a, None)
        parts = [audio.mean(dim=1), o_av.mean(dim=1), token_mean(face, face_mask), token_mean(o_va, face_mask)]
        fused = self.layer_norm(self.ff(torch.cat(parts, dim=-1)))
        return Fused(fused, audio_to_face, face_to_audio)

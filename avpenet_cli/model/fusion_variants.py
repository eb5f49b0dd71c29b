"""The fusions that the paper compares with its own, over the same encoders and before the same head.

Each of them handles a missing modality as the published fusion does: one token of zeros stands for it, and ten of them
make no difference. Every variant has only the parameters that it uses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avpenet_cli.model.architecture import Fusion
from avpenet_cli.model.encoders import EMBEDDING
from avpenet_cli.model.fusion import CrossAttention, CrossModalFusion, Fused, feed_forward, token_mean
from avpenet_cli.model.tokens import is_present, mean_by_step, on_grid, places_of_audio, places_of_faces
from avpenet_cli.settings import FRAMES_PER_WINDOW

TIME_STEPS = 10
"""Steps of the recurrent fusion's time grid: one audio token and three face places each."""

LSTM_UNITS = EMBEDDING // 2
"""Hidden units of each direction, so that both together have the dimension of an embedding."""

TRANSFORMER_LAYERS = 2

MEAN_POOLED: frozenset[Fusion] = frozenset({"single", "addition", "concatenation", "gate", "none"})
"""Fusions that take one embedding a modality, not a sequence of tokens."""


class AdditionFusion(nn.Module):
    """W_a e_a + W_v e_v, then the published feed-forward layers."""

    def __init__(self) -> None:
        super().__init__()
        self.W_a = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_v = nn.Linear(EMBEDDING, EMBEDDING)
        self.ff = feed_forward(EMBEDDING)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        total = self.W_a(audio.mean(dim=1)) + self.W_v(token_mean(face, face_mask))
        return Fused(self.layer_norm(self.ff(total)))


class ConcatenationFusion(nn.Module):
    """[e_a; e_v] through the published feed-forward layers: the published fusion without its attention."""

    def __init__(self) -> None:
        super().__init__()
        self.ff = feed_forward(2 * EMBEDDING)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        both = torch.cat([audio.mean(dim=1), token_mean(face, face_mask)], dim=-1)
        return Fused(self.layer_norm(self.ff(both)))


class GateFusion(nn.Module):
    """g * W_a e_a + (1 - g) * W_v e_v with g = sigmoid(W_g [e_a; e_v]), then the feed-forward layers.

    The gate is that of gated multimodal units (Arevalo et al. 2017), without their tanh.
    """

    def __init__(self) -> None:
        super().__init__()
        self.W_a = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_v = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_g = nn.Linear(2 * EMBEDDING, EMBEDDING)
        self.ff = feed_forward(EMBEDDING)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        e_a, e_v = audio.mean(dim=1), token_mean(face, face_mask)
        gate = torch.sigmoid(self.W_g(torch.cat([e_a, e_v], dim=-1)))
        return Fused(self.layer_norm(self.ff(gate * self.W_a(e_a) + (1 - gate) * self.W_v(e_v))))


class OneWayFusion(nn.Module):
    """The published fusion with one of its two attentions: [e_a; o_av; e_v] or [e_a; e_v; o_va].

    Args:
        queries: the modality whose tokens attend to those of the other.
    """

    def __init__(self, queries: Fusion) -> None:
        super().__init__()
        self.audio_asks = queries == "audio-queries"
        self.W_a = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_v = nn.Linear(EMBEDDING, EMBEDDING)
        self.p_a = nn.Parameter(torch.empty(EMBEDDING).uniform_(-0.035, 0.035))
        self.p_v = nn.Parameter(torch.empty(EMBEDDING).uniform_(-0.035, 0.035))
        self.attention = CrossAttention()
        self.ff = feed_forward(3 * EMBEDDING)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        z_a, z_v = self.W_a(audio) + self.p_a, self.W_v(face) + self.p_v
        e_a, e_v = audio.mean(dim=1), token_mean(face, face_mask)
        if self.audio_asks:
            o_av, attention = self.attention(z_a, z_v, face_mask)
            fused = self.layer_norm(self.ff(torch.cat([e_a, o_av.mean(dim=1), e_v], dim=-1)))
            return Fused(fused, audio_to_face=attention)
        o_va, attention = self.attention(z_v, z_a, None)
        fused = self.layer_norm(self.ff(torch.cat([e_a, e_v, token_mean(o_va, face_mask)], dim=-1)))
        return Fused(fused, face_to_audio=attention)


class TransformerLayer(nn.Module):
    """Self-attention of 8 heads and a feed-forward layer of 2048 units, each after a LayerNorm and with a shortcut.

    Not torch's layer: its fast path for inference leaves out dropout, and with it the Monte Carlo samples.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(EMBEDDING)
        self.attention = CrossAttention()
        self.norm_2 = nn.LayerNorm(EMBEDDING)
        self.ff = nn.Sequential(
            nn.Linear(EMBEDDING, 4 * EMBEDDING), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4 * EMBEDDING, EMBEDDING)
        )
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, T, 512) float32 and their mask (B, T) bool, at least one True per row -> (B, T, 512) float32."""
        normed = self.norm_1(tokens)
        attended, _ = self.attention(normed, normed, mask)
        tokens = tokens + self.dropout(attended)
        return tokens + self.dropout(self.ff(self.norm_2(tokens)))


class TransformerFusion(nn.Module):
    """A transformer encoder of 2 layers over the tokens of both modalities; the result is the mean of its tokens.

    Each token bears an embedding of its modality and one of its time in the segment, which audio and faces share: an
    audio token of 0.3 s has the place of the face in its middle. A missing modality has no tokens at all.
    """

    def __init__(self) -> None:
        super().__init__()
        # Not `nn.Embedding`: see `CrossModalFusion`.
        self.modality = nn.Parameter(torch.empty(2, EMBEDDING).uniform_(-0.035, 0.035))
        self.time = nn.Parameter(torch.empty(FRAMES_PER_WINDOW, EMBEDDING).uniform_(-0.035, 0.035))
        self.W_a = nn.Linear(EMBEDDING, EMBEDDING)
        self.W_v = nn.Linear(EMBEDDING, EMBEDDING)
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(TRANSFORMER_LAYERS))
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        places = places_of_faces(face, face_places)
        z_a = self.W_a(audio) + self.modality[0] + self.time[places_of_audio(audio.shape[1], audio.device)]
        z_v = self.W_v(face) + self.modality[1] + self.time[places]
        present = torch.cat([is_present(audio, None), is_present(face, face_mask)], dim=1)
        # A segment of which nothing but zeros is known still needs a token to attend to.
        present = present | ~present.any(dim=1, keepdim=True)
        tokens = torch.cat([z_a, z_v], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, present)
        return Fused(token_mean(self.layer_norm(tokens), present))


class RecurrentFusion(nn.Module):
    """A bidirectional LSTM over the time steps of a segment; the result is the mean of its outputs.

    A step has the audio token, the mean embedding of its faces, and whether it has a face at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * EMBEDDING + 1, LSTM_UNITS, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.layer_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        places = places_of_faces(face, face_places)
        faces, has_face = mean_by_step(face, is_present(face, face_mask), places, TIME_STEPS)
        steps = torch.cat([on_grid(audio, TIME_STEPS), faces, has_face.to(face.dtype).unsqueeze(-1)], dim=-1)
        outputs, _ = self.lstm(steps)
        return Fused(self.layer_norm(self.dropout(outputs.mean(dim=1))))


class MeanOfEmbeddings(nn.Module):
    """No fusion: the mean of both embeddings straight to the head.

    Each is normalised first: the encoders' embeddings differ in size by a factor of 100, and the larger would decide.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_norm = nn.LayerNorm(EMBEDDING)
        self.face_norm = nn.LayerNorm(EMBEDDING)

    def forward(self, audio: Tensor, face: Tensor, face_mask: Tensor | None, face_places: Tensor | None) -> Fused:
        """Arguments as in `CrossModalFusion.forward`."""
        return Fused((self.audio_norm(audio.mean(dim=1)) + self.face_norm(token_mean(face, face_mask))) / 2)


def build_fusion(fusion: Fusion) -> nn.Module:
    """The fusion of this name, with fresh parameters."""
    match fusion:
        case "single" | "tokens":
            return CrossModalFusion()
        case "addition":
            return AdditionFusion()
        case "concatenation":
            return ConcatenationFusion()
        case "gate":
            return GateFusion()
        case "audio-queries" | "face-queries":
            return OneWayFusion(fusion)
        case "transformer":
            return TransformerFusion()
        case "bilstm":
            return RecurrentFusion()
        case "none":
            return MeanOfEmbeddings()

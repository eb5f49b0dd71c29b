"""Weights of attention over the audio tokens, over the faces and over each face; or why there is nothing to draw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from avpenet_cli.explanation.explained import Attention, Float32, SegmentInputs
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.encoders import SpatialAttention
from avpenet_cli.model.fusion import CrossModalFusion, Fused
from avpenet_cli.model.fusion_variants import MEAN_POOLED, OneWayFusion, TransformerFusion, TransformerLayer
from avpenet_cli.model.network import PainNetwork

CONSTANT = "one token a side: the attention is constant, so no map is drawn"
_FACES_AT_ONCE = 8
"""Bounds memory; the outputs of a face do not depend on the others."""


@dataclass
class _Caught:
    """What passed the network's attention: outputs of the fusion, of self-attention, and spatial weights."""

    fused: list[Fused] = field(default_factory=list)
    within: list[Tensor] = field(default_factory=list)
    spatial: list[Tensor] = field(default_factory=list)


def attention(network: SegmentNetwork, inputs: SegmentInputs) -> Attention:
    """The attention of one segment, as the network computes it; nothing is estimated.

    Of a transformer over all tokens, the part that leads from faces to audio and back, mean over its layers, scaled to
    a sum of 1: its tokens also attend to those of their own modality.

    Returns:
        Weights, or a reason in the words of the page.
    """
    return attention_and_tokens(network, inputs)[0]


@torch.no_grad()
def attention_and_tokens(
    network: SegmentNetwork, inputs: SegmentInputs
) -> tuple[Attention, tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """As `attention`, with the tokens of the segment as `SegmentNetwork.tokens` gives them, without gradients."""
    model = network.network
    before, model.face_micro_batch = model.face_micro_batch, _FACES_AT_ONCE
    try:
        with _catching(model) as caught:
            tokens = network.tokens(inputs)
            audio, faces, _ = tokens
            network.score(*tokens)
    finally:
        model.face_micro_batch = before
    spatial, spatial_reason = _spatial(model, caught, inputs)
    reason = _reason(model, caught, audio, faces)
    if reason:
        return Attention(spatial=spatial, reason=reason, spatial_reason=spatial_reason), tokens
    assert audio is not None and faces is not None
    to_audio, to_faces, reason = _between(caught, audio.shape[1], faces.shape[1])
    return Attention(to_audio, to_faces, spatial, reason, spatial_reason), tokens


@contextlib.contextmanager
def _catching(model: PainNetwork) -> Iterator[_Caught]:
    caught, handles = _Caught(), []

    def fused(module: nn.Module, arguments: object, output: Fused) -> None:
        caught.fused.append(output)

    def within(module: nn.Module, arguments: object, output: tuple[Tensor, Tensor]) -> None:
        caught.within.append(output[1])

    def spatial(module: nn.Module, arguments: object, output: Tensor) -> None:
        caught.spatial.append(output)

    for module in model.modules():
        if isinstance(module, CrossModalFusion | OneWayFusion):
            handles.append(module.register_forward_hook(fused))
        elif isinstance(module, TransformerLayer):
            handles.append(module.attention.register_forward_hook(within))
        elif isinstance(module, SpatialAttention):
            handles.append(module.sigmoid.register_forward_hook(spatial))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _reason(model: PainNetwork, caught: _Caught, audio: Tensor | None, faces: Tensor | None) -> str:
    """Why there is no attention between audio and faces; empty where there is."""
    if len(model.modalities) == 1:
        name = {"audio": "audio", "face": "the face"}[model.modalities[0]]
        return f"the network takes {name} alone: it has no attention between audio and faces"
    fusions = (CrossModalFusion, OneWayFusion, TransformerFusion)
    if not any(isinstance(module, fusions) for module in model.modules()):
        return "the network has no attention between audio and faces"
    if _fusion_is_pooled(model) or (audio is not None and faces is not None and audio.shape[1] == faces.shape[1] == 1):
        return CONSTANT
    if audio is None or faces is None:
        present = "the face" if audio is None else "audio"
        return f"only {present} made this score: there is nothing for it to attend to"
    return "" if caught.fused or caught.within else "the network has no attention between audio and faces"


def _fusion_is_pooled(model: PainNetwork) -> bool:
    """Whether its attention sees one token a side."""
    architectures = [module.architecture for module in model.modules() if isinstance(module, PainNetwork)]
    return any(isinstance(a, Architecture) and a.fusion in MEAN_POOLED for a in architectures)


def _between(caught: _Caught, n_audio: int, n_faces: int) -> tuple[Float32 | None, Float32 | None, str]:
    """Weights over the audio, over the faces, and why one of them is missing."""
    to_audio, to_faces = [], []
    for fused in caught.fused:
        if fused.face_to_audio is not None:
            to_audio.append(fused.face_to_audio)
        if fused.audio_to_face is not None:
            to_faces.append(fused.audio_to_face)
    for weights in caught.within:
        to_audio.append(weights[:, :, n_audio:, :n_audio])
        to_faces.append(weights[:, :, :n_audio, n_audio:])
    reasons = []
    audio, faces = _mean(to_audio), _mean(to_faces)
    if audio is None:
        reasons.append("in this network faces do not attend to audio")
    elif n_audio == 1:
        audio = None
        reasons.append("one audio token: attention over it cannot vary")
    if faces is None:
        reasons.append("in this network audio does not attend to faces")
    elif n_faces == 1:
        faces = None
        reasons.append("one face: attention over faces cannot vary")
    return audio, faces, "; ".join(reasons)


def _mean(weights: list[Tensor]) -> Float32 | None:
    """(1, heads, queries, keys) of each layer -> (keys,) float32 with a sum of 1; None without a layer."""
    if not weights:
        return None
    mean = torch.stack([part.double().mean(dim=(0, 1, 2)) for part in weights]).mean(dim=0)
    result: Float32 = (mean / mean.sum()).float().cpu().numpy()
    return result


def _spatial(model: PainNetwork, caught: _Caught, inputs: SegmentInputs) -> tuple[Float32 | None, str]:
    if caught.spatial:
        maps: Float32 = torch.cat(caught.spatial)[:, 0].float().cpu().numpy()
        return maps, ""
    if "face" not in model.modalities:
        return None, "the network takes no face"
    if not any(isinstance(module, SpatialAttention) for module in model.modules()):
        return None, "the network's face encoder has no spatial attention"
    return None, "no face made this score" if not len(inputs.crops) else "the network's face encoder was not used"

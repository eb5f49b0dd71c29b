"""Saliency maps: how far each part of the spectrogram and of a face moves the score.

Integrated gradients (Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, arXiv 1703.01365): the
gradient of the score, integrated on a path from a baseline to the input. The sum of the map is the score minus that of
the baseline, up to the error of the integration, which is stated with every map.

The published method takes the straight path, on which the whole input fades in at once. A network that gives its score
already to a faint input has no gradient left on the rest of that path, and the map then says little about the actual
input: blanking its salient parts changes the score no more than blanking others. Here parts of the input fade in one
after the other, in random order and in its reverse, and the mean is taken. Section 3 of that paper calls these path
methods; the mean over orders is what Shapley values are, with gradients in place of differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from avpenet_cli.explanation.explained import Attention, Float32, Saliency, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.network import FeatureNetwork

Tokens = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Audio tokens, face tokens and places of the segment, from `SegmentNetwork.tokens`."""

WAVEFORM = "the network takes acoustic measures of the waveform, not a spectrogram: no gradient leads to the audio"
LANDMARKS = "the network takes landmarks of the face, not its pixels: no gradient leads to the face"
_BLUR_REACH = 3.0
"""Standard deviations after which the blur is cut off."""


class Varied(NamedTuple):
    """One input of the segment, everything else fixed.

    Attributes:
        input: (1, 1, 128, 300) or (1, 3, crop_px, crop_px) float32, as the network takes it.
        baseline: same shape, what stands for "nothing there".
        score: variants (B, ...) of the input -> (B,) scores of the segment.
        smooth: neighbouring places of the input appear together on the path, without borders between cells.
    """

    input: Tensor
    baseline: Tensor
    score: Callable[[Tensor], Tensor]
    smooth: bool


def varied_audio(network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens) -> Varied | str:
    """The spectrogram with silence as its baseline; or why the network has no map of it.

    Silence is the spectrogram of a segment without signal: zeros, as the front end gives them to the network.
    """
    if "audio" not in network.network.modalities:
        return "the network takes no audio"
    if network.network.audio_input != "spectrogram":
        return WAVEFORM
    audio = network.audio(inputs)
    if audio is None:
        return "no audio made the score"
    _, faces, places = tokens

    def score(variants: Tensor) -> Tensor:
        fixed = None if faces is None else faces.expand(len(variants), -1, -1)
        return network.score(network.network.encode_audio(variants), fixed, places)

    return Varied(audio, torch.zeros_like(audio), score, smooth=False)


def varied_face(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, index: int, settings: MapSettings
) -> Varied | str:
    """One face, the others unchanged, with the blurred face as its baseline; or why the network has no map of it.

    The blur takes away what is smaller than the brow, the eyes and the mouth, and keeps the light and the colour of the
    skin: the network then scores as it does where it can read no face, and no edges appear that are not in the crop.
    """
    if "face" not in network.network.modalities:
        return "the network takes no face"
    if _takes_measures(network):
        return LANDMARKS
    crops = network.faces(inputs)
    if crops is None:
        return "no face made the score"
    audio, faces, places = tokens
    if inputs.counts is not None or faces is None:
        # With pooling by image the token is a mean over the few tracks.
        with torch.no_grad():
            rows = network.network.encode_faces(crops)
    else:
        rows = faces[0]

    def score(variants: Tensor) -> Tensor:
        # A sum with a mask, and not an assignment: it keeps the gradient of the varied row.
        own = network.network.encode_faces(variants)
        others = rows.expand(len(variants), -1, -1)
        is_own = (torch.arange(len(rows), device=rows.device) == index)[None, :, None]
        varied = torch.where(is_own, own[:, None], others)
        if inputs.counts is not None:
            share = torch.from_numpy(inputs.counts / inputs.counts.sum()).to(varied)
            varied = (varied * share[:, None]).sum(dim=1, keepdim=True)
        fixed = None if audio is None else audio.expand(len(variants), -1, -1)
        return network.score(fixed, varied, places)

    crop = crops[index : index + 1].contiguous()
    return Varied(crop, blurred(crop, settings.face_blur * crop.shape[-1]), score, smooth=True)


def saliency(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, attention: Attention, settings: MapSettings
) -> Saliency:
    """Maps of the audio, and of the faces that attention favours or, without it, of the first.

    The same input gives the same bits for the same number of torch's threads. Each map is that of one input with
    everything else fixed.

    Args:
        network: with its gradients; float32.
        inputs: of the segment.
        tokens: `network.tokens(inputs)`, computed once for maps and checks.
        attention: of the segment; `faces` may be None.
        settings: of the maps.

    Returns:
        Maps, and for each that is missing a reason in the words of the page.
    """
    return integrated_gradients(network, inputs, tokens, faces_to_show(inputs, attention, settings), settings)


def faces_to_show(inputs: SegmentInputs, attention: Attention, settings: MapSettings) -> tuple[int, ...]:
    """Indices of the faces with the most attention first; without attention, of faces spread over the segment."""
    n_faces = len(inputs.crops)
    count = min(n_faces, settings.faces_shown)
    if attention.faces is not None and len(attention.faces) == n_faces:
        return tuple(int(index) for index in np.argsort(-attention.faces, kind="stable")[:count])
    return tuple((2 * number + 1) * n_faces // (2 * count) for number in range(count))


def integrated_gradients(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """As `saliency`, of the faces `shown`."""
    reasons = []
    audio, audio_gap = None, None
    tokens = tuple(None if part is None else part.detach().clone() for part in tokens)  # type: ignore[assignment]
    with torch.inference_mode(False), torch.enable_grad():
        varied = varied_audio(network, inputs, tokens)
        if isinstance(varied, str):
            reasons.append(varied)
        else:
            audio, audio_gap = _map(varied, settings.audio_cell, settings.audio_steps, settings.audio_fade, settings)
        faces, face_gaps = [], []
        for index in shown or (0,):
            varied = varied_face(network, inputs, tokens, index, settings)
            if isinstance(varied, str):
                reasons.append(varied)
                break
            cell = face_cell(varied.input.shape[-1], settings)
            face, gap = _map(varied, cell, settings.face_steps, settings.face_fade, settings)
            faces.append(face)
            face_gaps.append(gap)
    return Saliency(
        audio=audio,
        faces=np.stack(faces) if faces else None,
        shown=shown if faces else (),
        audio_gap=audio_gap,
        faces_gap=max(face_gaps) if faces else None,
        reason="; ".join(reasons),
    )


def _map(
    varied: Varied, cell: tuple[int, int], steps: int, fade: float, settings: MapSettings
) -> tuple[Float32, float]:
    """The map (H, W) float32, summed over channels, and the gap of its sum in points."""
    from captum.attr import IntegratedGradients

    height, width = varied.input.shape[-2:]
    order = _order((height, width), cell, settings.path_seed, smooth=varied.smooth).to(varied.input.device)
    difference = varied.input - varied.baseline
    total, gap = np.zeros((height, width)), 0.0
    for begin in (order, 1 - order):

        def score(time: Tensor, begin: Tensor = begin) -> Tensor:
            present = ((time * (1 + fade) - begin) / fade).clamp(0, 1)
            return varied.score(varied.baseline + present * difference)

        end = torch.ones((1, 1, height, width), device=varied.input.device)
        attributed, error = IntegratedGradients(score).attribute(
            end,
            torch.zeros_like(end),
            n_steps=steps,
            method="riemann_middle",
            internal_batch_size=settings.batch,
            return_convergence_delta=True,
        )
        total += attributed.detach()[0, 0].cpu().numpy() / 2
        gap += float(error.item()) / 2
    return total.astype(np.float32), abs(gap)


def _order(shape: tuple[int, int], cell: tuple[int, int], seed: int, *, smooth: bool) -> Tensor:
    """When each place begins to fade in: (1, 1, H, W) float32, random from cell to cell, equally spread from 0 to 1.

    Args:
        shape: height and width of the input.
        cell: height and width of a cell.
        seed: of the order of cells.
        smooth: cells pass into each other: sharp borders would be edges to a network that looks at faces.
    """
    rows, columns = (-(-size // side) for size, side in zip(shape, cell, strict=True))
    random = np.random.default_rng(seed).permutation(rows * columns).reshape(rows, columns)
    coarse = torch.from_numpy(random).float()[None, None]
    fine = F.interpolate(coarse, size=shape, mode="bicubic" if smooth else "nearest")
    levels, level = fine.unique(return_inverse=True)
    order: Tensor = level.float() / max(1, len(levels) - 1)
    return order


def cell_numbers(shape: tuple[int, int], cell: tuple[int, int]) -> tuple[npt.NDArray[np.int64], int]:
    """Divide an image into cells.

    Args:
        shape: height and width of the image.
        cell: height and width of a cell; the last ones may be smaller.

    Returns:
        (H, W) int64, the number of each pixel's cell, row by row; and how many cells there are.
    """
    rows, columns = (-(-size // side) for size, side in zip(shape, cell, strict=True))
    number = np.arange(shape[0])[:, None] // cell[0] * columns + np.arange(shape[1]) // cell[1]
    return number, rows * columns


def face_cell(crop_px: int, settings: MapSettings) -> tuple[int, int]:
    """Height and width of a face's cells, pixels."""
    side = -(-crop_px // settings.face_cells)
    return side, side


def _takes_measures(network: SegmentNetwork) -> bool:
    """Whether the network learns from measures that nothing learnt computes, such as landmarks."""
    return isinstance(network.network, FeatureNetwork) and not network.network.encoders()


def blurred(images: Tensor, sd_px: float) -> Tensor:
    """Images (N, C, H, W) float32 under a Gaussian blur, edges repeated."""
    reach = max(1, round(_BLUR_REACH * sd_px))
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sd_px) ** 2)
    kernel /= kernel.sum()
    channels = images.shape[1]
    tall = F.pad(images, (0, 0, reach, reach), mode="replicate")
    tall = F.conv2d(tall, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    wide = F.pad(tall, (reach, reach, 0, 0), mode="replicate")
    return F.conv2d(wide, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

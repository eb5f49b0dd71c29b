"""Saliency maps: how far each part of the spectrogram and of a face moves the score.

Occlusion (Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, arXiv 1311.2901): the score
minus the score with one cell of the input blanked, cell by cell. Decision record 0050 compares it with gradients.
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

Tokens = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Audio tokens, face tokens and places of the segment, from `SegmentNetwork.tokens`."""

WAVEFORM = "the network takes acoustic measures of the waveform, not a spectrogram"
_BLUR_REACH = 3.0
"""Standard deviations after which the blur is cut off."""


class Varied(NamedTuple):
    """One input of the segment, everything else fixed.

    Attributes:
        input: (1, 1, 128, 300) or (1, 3, crop_px, crop_px) float32, as the network takes it.
        baseline: same shape, what stands for "nothing there".
        cell: height and width of a cell, which is blanked as a whole; the last ones may be smaller.
        score: variants (B, ...) of the input -> (B,) scores of the segment.
    """

    input: Tensor
    baseline: Tensor
    cell: tuple[int, int]
    score: Callable[[Tensor], Tensor]


def varied_audio(network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, settings: MapSettings) -> Varied | str:
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

    return Varied(audio, torch.zeros_like(audio), settings.audio_cell, score)


def varied_face(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, index: int, settings: MapSettings
) -> Varied | str:
    """One face, as if every frame showed it, with the blurred face as its baseline; or why there is no map of it.

    One frame of thirty moves the score by hundredths of a point, whatever is in it. The blur takes away what is smaller
    than the brow, the eyes and the mouth, and keeps the light and the colour of the skin: the network then scores as it
    does where it can read no face.
    """
    if "face" not in network.network.modalities:
        return "the network takes no face"
    crops = network.faces(inputs)
    if crops is None:
        return "no face made the score"
    audio, _, places = tokens
    count = 1 if places is None else places.shape[1]

    def score(variants: Tensor) -> Tensor:
        everywhere = network.network.encode_faces(variants)[:, None].expand(-1, count, -1)
        fixed = None if audio is None else audio.expand(len(variants), -1, -1)
        return network.score(fixed, everywhere, places)

    crop = crops[index : index + 1].contiguous()
    side = -(-crop.shape[-1] // settings.face_cells)
    return Varied(crop, blurred(crop, settings.face_blur * crop.shape[-1]), (side, side), score)


def saliency(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, attention: Attention, settings: MapSettings
) -> Saliency:
    """Maps of the audio, and of the faces that attention favours or, without it, of some spread over the segment.

    The same input gives the same bits for the same number of torch's threads.

    Args:
        network: of the segment.
        inputs: of the segment.
        tokens: `network.tokens(inputs)`, computed once for maps and checks.
        attention: of the segment; `faces` may be None.
        settings: of the maps.

    Returns:
        Maps, and for each that is missing a reason in the words of the page.
    """
    return occlusion(network, inputs, tokens, faces_to_show(inputs, attention, settings), settings)


def faces_to_show(inputs: SegmentInputs, attention: Attention, settings: MapSettings) -> tuple[int, ...]:
    """Indices of the faces with the most attention first; without attention, of faces spread over the segment."""
    n_faces = len(inputs.crops)
    count = min(n_faces, settings.faces_shown)
    if attention.faces is not None and len(attention.faces) == n_faces:
        return tuple(int(index) for index in np.argsort(-attention.faces, kind="stable")[:count])
    return tuple((2 * number + 1) * n_faces // (2 * count) for number in range(count))


def occlusion(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """As `saliency`, of the faces `shown`."""
    reasons = []
    audio, faces = None, []
    varied = varied_audio(network, inputs, tokens, settings)
    if isinstance(varied, str):
        reasons.append(varied)
    else:
        audio = _map(varied, settings.batch)
    for index in shown or (0,):
        varied = varied_face(network, inputs, tokens, index, settings)
        if isinstance(varied, str):
            reasons.append(varied)
            break
        faces.append(_map(varied, settings.batch))
    return Saliency(audio, np.stack(faces) if faces else None, shown if faces else (), "; ".join(reasons))


@torch.no_grad()
def _map(varied: Varied, batch: int) -> Float32:
    """Points that each cell adds to the score: (rows, columns) float32."""
    from captum.attr import FeatureAblation

    number, _ = cell_numbers((varied.input.shape[-2], varied.input.shape[-1]), varied.cell)
    attributed: Tensor = FeatureAblation(varied.score).attribute(
        varied.input,
        baselines=varied.baseline,
        feature_mask=torch.from_numpy(number)[None, None].to(varied.input.device),
        perturbations_per_eval=batch,
    )
    # Each place of a cell has the value of the whole cell.
    cells: Float32 = attributed[0, 0, :: varied.cell[0], :: varied.cell[1]].float().cpu().numpy()
    return cells.copy()


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

"""MTCNN's cascade (Zhang et al. 2016) over a batch of images: proposals, refinement, decision and landmarks.

The faces are those of facenet-pytorch 2.5.3, to a hundredth of a pixel except where many candidates are equally
likely: its sizes, roundings, thresholds and suppression rules are kept, and a test compares the two. What differs is
that all images and all candidates are processed together, and that an image without any candidate, or a candidate
outside the image, is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from avpenet_cli.face.mtcnn.images import ImageBatch, image_batch
from avpenet_cli.face.mtcnn.suppression import keep_best
from avpenet_cli.model.encoders import ieee_convolutions
from avpenet_cli.model.mtcnn import ONET_PX, PNET_CELL_PX, PNET_STRIDE_PX, RNET_PX, load_networks

_SAME_LEVEL_OVERLAP = 0.5
_OVERLAP = 0.7
"""Of two candidates that overlap by more than this, the less likely one is dropped."""
_CANDIDATES_AT_ONCE = 512
_CELLS_AT_ONCE = 2048


@dataclass(frozen=True)
class ImageFaces:
    """The faces of one image, the most likely first; coordinates in pixels of the image.

    Attributes:
        boxes: (k, 4) float32 left, top, right, bottom; may reach over the image's edges.
        confidence: (k,) float32 in [0, 1].
        landmarks: (k, 5, 2) float32 x, y: eyes, nose, corners of the mouth; left ones first.
        squares: (k, 4) float32, the squares that the last network looked at.
    """

    boxes: np.ndarray
    confidence: np.ndarray
    landmarks: np.ndarray
    squares: np.ndarray

    def select(self, chosen: np.ndarray) -> ImageFaces:
        """Rows by index or mask, in that order."""
        return ImageFaces(*(values[chosen] for values in vars(self).values()))


@dataclass(frozen=True)
class _Decision:
    """The last network's answer for some squares; see `ImageFaces`."""

    boxes: Tensor
    confidence: Tensor
    landmarks: Tensor
    squares: Tensor
    images: Tensor

    def select(self, chosen: Tensor) -> _Decision:
        return _Decision(*(values[chosen] for values in vars(self).values()))


class FaceCascade(Protocol):
    """What finds faces: a `Cascade`, or one that several threads share."""

    def detect(self, images: np.ndarray) -> list[ImageFaces]:
        """As `Cascade.detect`."""

    def measure(self, images: np.ndarray, squares: Sequence[np.ndarray]) -> list[ImageFaces]:
        """As `Cascade.measure`."""


class Cascade:
    """MTCNN. The faces of an image do not depend on the other images of its batch.

    Args:
        device: of the networks.
        min_face_px: side of the smallest face to find.
        thresholds: probability that each of the three networks asks for.
        pyramid_factor: ratio of neighbouring sizes of the image.
        images_at_once: images in one pass of the first network, which takes most of the memory.
        fixed_shapes: pad what the networks take to the same sizes always. A GPU's kernels, and with them the last
            digits of a result, depend on the size of a batch; by default this is done there.
    """

    def __init__(
        self,
        device: torch.device,
        min_face_px: int,
        thresholds: tuple[float, float, float],
        pyramid_factor: float,
        images_at_once: int = 32,
        fixed_shapes: bool | None = None,
    ) -> None:
        self._fixed_shapes = device.type == "cuda" if fixed_shapes is None else fixed_shapes
        self._device, self._images_at_once = device, images_at_once
        self._min_face_px, self._thresholds, self._pyramid_factor = min_face_px, thresholds, pyramid_factor
        self._pnet, self._rnet, self._onet = load_networks(device)

    @torch.inference_mode()
    def detect(self, images: np.ndarray, images_at_once: int | None = None) -> list[ImageFaces]:
        """Find the faces of images (n, height, width, 3) uint8 RGB; fewer at once take less memory."""
        batch = image_batch(images, self._device)
        count, height, width = images.shape[:3]
        with ieee_convolutions(self._device):
            boxes, candidates = self._propose(batch, count, (width, height), images_at_once or self._images_at_once)
            boxes, candidates = self._refine(batch, boxes, candidates, count, (width, height))
            decision = self._decide(batch, boxes, candidates, (width, height))
        # Backwards, because of equally confident faces, of which many reach 1.0, facenet-pytorch keeps the last.
        decision = decision.select((decision.confidence > self._thresholds[2]).nonzero()[:, 0].flip(0))
        kept = keep_best(decision.boxes, decision.confidence, decision.images, count, _OVERLAP, of_smaller=True)
        return _per_image(decision.select(kept), count)

    @torch.inference_mode()
    def measure(self, images: np.ndarray, squares: Sequence[np.ndarray]) -> list[ImageFaces]:
        """Apply the last network alone, where faces are expected.

        Args:
            images: (n, height, width, 3) uint8 RGB.
            squares: for each image (k, 4) float32, what the network is to look at.

        Returns:
            Its answers in the same order, whatever their confidence; 0 where a square lies outside its image.
        """
        count, height, width = images.shape[:3]
        counts = [len(rows) for rows in squares]
        looked_at = torch.from_numpy(np.concatenate([np.empty((0, 4), np.float32), *squares])).to(self._device)
        owner = torch.repeat_interleave(torch.arange(count), torch.tensor(counts)).to(self._device)
        with ieee_convolutions(self._device):
            inside = _inside(looked_at, (width, height))[1]
            batch = image_batch(images, self._device)
            seen = self._decide(batch, looked_at[inside], owner[inside], (width, height))
        decision = _Decision(
            looked_at.clone(),
            looked_at.new_zeros(len(looked_at)),
            looked_at.new_zeros(len(looked_at), 5, 2),
            looked_at,
            owner,
        )
        decision.boxes[inside], decision.confidence[inside] = seen.boxes, seen.confidence
        decision.landmarks[inside] = seen.landmarks
        return _per_image(decision, count)

    def _propose(self, batch: ImageBatch, count: int, size: tuple[int, int], at_once: int) -> tuple[Tensor, Tensor]:
        """Squares that may hold a face, and the image of each."""
        width, height = size
        scales = pyramid(height, width, self._min_face_px, self._pyramid_factor)
        sizes = [(int(height * scale + 1), int(width * scale + 1)) for scale in scales]
        cells, offsets, scores, owners, levels = [], [], [], [], []
        for first in range(0, count, at_once):
            last = min(count, first + at_once)
            for level, pixels in enumerate(batch.resized(sizes, first, last)):
                probability, features = self._apply(self._pnet, pixels, at_once)
                image, row, column = (probability >= self._thresholds[0]).nonzero(as_tuple=True)
                corner = PNET_STRIDE_PX * torch.stack([column, row], 1).float() + 1
                scale = torch.tensor(scales[level], dtype=torch.float32, device=self._device)
                edges = [(corner / scale).floor(), ((corner + (PNET_CELL_PX - 1)) / scale).floor()]
                cells.append(torch.cat(edges, 1))
                offsets.append(self._regress(features[image, row, column]))
                scores.append(probability[image, row, column])
                owners.append(image + first)
                levels.append(torch.full_like(image, level))
        if not cells:
            return torch.empty(0, 4, device=self._device), torch.empty(0, dtype=torch.int64, device=self._device)
        boxes, owner, score, shift = torch.cat(cells), torch.cat(owners), torch.cat(scores), torch.cat(offsets)
        kept = keep_best(boxes, score, owner, count, _SAME_LEVEL_OVERLAP, labels=torch.cat(levels))
        kept = kept[keep_best(boxes[kept], score[kept], owner[kept], count, _OVERLAP)]
        boxes, owner, shift = boxes[kept], owner[kept], shift[kept]
        sides = boxes[:, 2:] - boxes[:, :2]
        return _square(boxes + shift * sides.repeat(1, 2)), owner

    def _refine(
        self, batch: ImageBatch, boxes: Tensor, owner: Tensor, count: int, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The squares that the second network lets pass, corrected."""
        areas, inside = _inside(boxes, size)
        boxes, owner, areas = boxes[inside], owner[inside], areas[inside]
        if not len(boxes):
            return boxes, owner
        score, shift = self._judge(self._rnet, batch, owner, areas, RNET_PX)
        passed = score > self._thresholds[1]
        boxes, owner, score, shift = boxes[passed], owner[passed], score[passed], shift[passed]
        kept = keep_best(boxes, score, owner, count, _OVERLAP)
        return _square(_shifted(boxes[kept], shift[kept])), owner[kept]

    def _decide(self, batch: ImageBatch, squares: Tensor, owner: Tensor, size: tuple[int, int]) -> _Decision:
        """The third network's answer for the squares inside their images."""
        areas, inside = _inside(squares, size)
        squares, owner, areas = squares[inside], owner[inside], areas[inside]
        if not len(squares):
            return _Decision(squares, squares.new_empty(0), squares.new_empty(0, 5, 2), squares, owner)
        confidence, shift, points = self._judge(self._onet, batch, owner, areas, ONET_PX)
        corner, sides = squares[:, :2], squares[:, 2:] - squares[:, :2] + 1
        landmarks = points.unflatten(1, (2, 5)).transpose(1, 2) * sides[:, None] + corner[:, None] - 1
        return _Decision(_shifted(squares, shift), confidence, landmarks, squares, owner)

    def _judge(self, network: nn.Module, batch: ImageBatch, owner: Tensor, areas: Tensor, side_px: int) -> list[Tensor]:
        """A network's answers for parts of the images."""
        answers = [
            self._apply(network, batch.parts(images, some, side_px), _CANDIDATES_AT_ONCE)
            for images, some in zip(owner.split(_CANDIDATES_AT_ONCE), areas.split(_CANDIDATES_AT_ONCE), strict=True)
        ]
        return [torch.cat(values) for values in zip(*answers, strict=True)]

    def _regress(self, features: Tensor) -> Tensor:
        if not self._fixed_shapes:
            return self._pnet.regress(features)
        parts = features.split(_CELLS_AT_ONCE)
        return torch.cat(
            [self._apply(lambda rows: (self._pnet.regress(rows),), part, _CELLS_AT_ONCE)[0] for part in parts]
        )

    def _apply(self, network: Callable[[Tensor], tuple[Tensor, ...]], rows: Tensor, size: int) -> tuple[Tensor, ...]:
        """Apply a network to at most `size` rows; with fixed shapes to exactly so many."""
        if not self._fixed_shapes or len(rows) == size:
            return network(rows)
        padded = torch.cat([rows, rows.new_zeros((size - len(rows), *rows.shape[1:]))])
        if padded.ndim == 4:
            padded = padded.contiguous(memory_format=torch.channels_last)
        return tuple(answer[: len(rows)] for answer in network(padded))


@lru_cache(maxsize=64)
def pyramid(height: int, width: int, min_face_px: int, factor: float) -> tuple[float, ...]:
    """The scales at which the first network sees an image; none if a smallest face does not fit into it."""
    scale = PNET_CELL_PX / min_face_px
    side = min(height, width) * scale
    scales = []
    while side >= PNET_CELL_PX:
        scales.append(scale)
        scale, side = scale * factor, side * factor
    return tuple(scales)


def _square(boxes: Tensor) -> Tensor:
    """Extend the shorter side of each box about its centre."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat([corner, corner + longest], 1)


def _shifted(boxes: Tensor, shift: Tensor) -> Tensor:
    """Move each edge by a share of its box's side; sides count whole pixels, both ends included."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + shift * sides.repeat(1, 2)


def _inside(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The part of each box inside an image of (width, height): int64 left, top, right, bottom, and whether it has one.

    Box coordinates count pixels from 1 here, as in the Matlab code that the weights were trained with.
    """
    whole = boxes.trunc().long()
    limit = torch.tensor(size, device=boxes.device)
    areas = torch.cat([whole[:, :2].clamp(min=1) - 1, torch.minimum(whole[:, 2:], limit)], 1)
    return areas, (areas[:, 2:] > areas[:, :2]).all(1)


def _per_image(decision: _Decision, count: int) -> list[ImageFaces]:
    """Distribute answers, which keep their order."""
    owner = decision.images.cpu().numpy()
    values = [
        field.cpu().numpy() for field in (decision.boxes, decision.confidence, decision.landmarks, decision.squares)
    ]
    return [ImageFaces(*(field[owner == image] for field in values)) for image in range(count)]

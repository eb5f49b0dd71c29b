"""Resize images and parts of them as MTCNN's networks take them: every output pixel is the mean of the input pixels
that it covers, partly or wholly (torch's `area` interpolation).

With summed-area tables such a mean costs four look-ups whatever the size of the part, and the parts of many images are
resized in one call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_PIXEL_MEAN, _PIXEL_RANGE = 127.5, 128.0
_PARTS_AT_ONCE = 64
"""Parts resized at once on a CPU; their look-ups fit into its cache."""


class ImageBatch(Protocol):
    """Images of one size."""

    def resized(self, sizes: list[tuple[int, int]], first: int, last: int) -> Iterator[Tensor]:
        """Images `first` to `last` in each of several sizes.

        Args:
            sizes: height and width in pixels.
            first, last: indices of the first image and the one behind the last.

        Returns:
            For each size (last - first, 3, height, width) float32 in [-1, 1].
        """

    def parts(self, images: Tensor, areas: Tensor, side_px: int) -> Tensor:
        """Parts of the images, resized to a square.

        Args:
            images: (k,) int64, the image of each part.
            areas: (k, 4) int64 left, top, right, bottom, inside the image and not empty.

        Returns:
            (k, 3, side_px, side_px) float32 in [-1, 1].
        """


def image_batch(images: np.ndarray, device: torch.device) -> ImageBatch:
    """A batch on a device: images (n, height, width, 3) uint8."""
    return (_CpuImages if device.type == "cpu" else _DeviceImages)(images, device)


class _CpuImages:
    def __init__(self, images: np.ndarray, _: torch.device) -> None:
        # Sums of 8-bit values up to 2900 x 2900 pixels fit into 32 bits.
        depth = cv2.CV_32S if images[0].size // 3 * 255 < 2**31 else cv2.CV_64F
        self._sums = np.stack([cv2.integral(np.ascontiguousarray(image), sdepth=depth) for image in images])

    def resized(self, sizes: list[tuple[int, int]], first: int, last: int) -> Iterator[Tensor]:
        height, width = (side - 1 for side in self._sums.shape[1:3])
        for size in sizes:
            (top, bottom), (left, right) = _bins(height, size[0]), _bins(width, size[1])
            weight = _weights((bottom - top)[:, None] * (right - left))
            pixels = np.empty((last - first, *size, 3), np.float32)
            for sums, image in zip(self._sums[first:last], pixels, strict=True):
                rows = sums.take(bottom, 0)
                rows -= sums.take(top, 0)
                cells = rows.take(right, 1)
                cells -= rows.take(left, 1)
                image[:] = cells
                np.multiply(image, weight, out=image)
                np.subtract(image, _PIXEL_MEAN / _PIXEL_RANGE, out=image)
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def parts(self, images: Tensor, areas: Tensor, side_px: int) -> Tensor:
        pixels = np.empty((len(images), side_px, side_px, 3), np.float32)
        for start in range(0, len(pixels), _PARTS_AT_ONCE):
            some = slice(start, start + _PARTS_AT_ONCE)
            self._cut(images[some].numpy(), areas[some].numpy(), pixels[some])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def _cut(self, images: np.ndarray, areas: np.ndarray, pixels: np.ndarray) -> None:
        count, height, width, channels = self._sums.shape
        sums = self._sums.reshape(count * height * width, channels)
        left, top, right, bottom = areas.T[:, :, None]
        (y0, y1), (x0, x1) = _bins(bottom - top, pixels.shape[1]), _bins(right - left, pixels.shape[2])
        first_row = images[:, None] * height + top
        row0, row1 = ((first_row + y)[:, :, None] * width for y in (y0, y1))
        column0, column1 = ((left + x)[:, None, :] for x in (x0, x1))
        cells = sums.take(row1 + column1, 0)
        cells -= sums.take(row1 + column0, 0)
        cells -= sums.take(row0 + column1, 0)
        cells += sums.take(row0 + column0, 0)
        pixels[:] = cells
        pixels *= _weights((y1 - y0)[:, :, None] * (x1 - x0)[:, None, :])
        pixels -= _PIXEL_MEAN / _PIXEL_RANGE


class _DeviceImages:
    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self._images = pixels.permute(0, 3, 1, 2).float()
        depth = torch.int32 if images[0].size // 3 * 255 < 2**31 else torch.int64
        sums = pixels.cumsum(1, dtype=depth).cumsum(2, dtype=depth)
        self._sums = F.pad(sums, (0, 0, 1, 0, 1, 0))

    def resized(self, sizes: list[tuple[int, int]], first: int, last: int) -> Iterator[Tensor]:
        for size in sizes:
            pixels = F.interpolate(self._images[first:last], size, mode="area")
            yield ((pixels - _PIXEL_MEAN) / _PIXEL_RANGE).contiguous(memory_format=torch.channels_last)

    def parts(self, images: Tensor, areas: Tensor, side_px: int) -> Tensor:
        left, top, right, bottom = areas.T[:, :, None]
        place = torch.arange(side_px + 1, device=areas.device)
        edges = []
        for start, end in ((top, bottom), (left, right)):
            length = end - start
            edges.append((start + place[:-1] * length // side_px, start - (-place[1:] * length) // side_px))
        (y0, y1), (x0, x1) = edges
        image = images[:, None, None]
        row0, row1, column0, column1 = y0[:, :, None], y1[:, :, None], x0[:, None, :], x1[:, None, :]
        cells = (
            self._sums[image, row1, column1]
            - self._sums[image, row1, column0]
            - self._sums[image, row0, column1]
            + self._sums[image, row0, column0]
        )
        covered = ((row1 - row0) * (column1 - column0))[..., None]
        pixels: Tensor = (cells / covered - _PIXEL_MEAN) / _PIXEL_RANGE
        return pixels.permute(0, 3, 1, 2)


def _bins(length: int | np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first covered pixel of each of `count` output pixels, and the one behind the last."""
    place = np.arange(count + 1)
    return place[:-1] * length // count, -(-place[1:] * length // count)


def _weights(covered: np.ndarray) -> np.ndarray:
    """What turns a sum over so many pixels into a mean in the networks' range."""
    return (1 / (_PIXEL_RANGE * covered[..., None])).astype(np.float32)
